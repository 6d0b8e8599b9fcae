"""Where `seedance` and `python -m cli` begin."""

import sys


def main() -> None:
    """Run the command. Ctrl-C is no error, not even in the half second in which libraries load."""
    try:
        from cli.main import app  # noqa: PLC0415

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
