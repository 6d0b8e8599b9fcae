"""Entry point of `python -m local.sandbox`."""

from local.sandbox.server import main

main()
