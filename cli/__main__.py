"""Entry point of `seedance` and `python -m cli`."""

import sys


def main() -> None:
    """Run the command. Ctrl-C prints no traceback, even while the libraries are still loading (half a second)."""
    try:
        from cli.main import app  # noqa: PLC0415

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
