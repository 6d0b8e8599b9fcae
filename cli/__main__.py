"""Entry point of `seedance` and `python -m cli`."""

import io
import sys


def main() -> None:
    """Run the command. Ctrl-C prints no traceback, even while the libraries are still loading (half a second)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may not be UTF-8, or not fit the terminal
    try:
        from cli.main import app  # noqa: PLC0415

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
