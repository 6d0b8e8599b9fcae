"""A stand-in for the provider: a real HTTP server with real videos, built only from the provider's documents.

It imports nothing from the pipeline, because shared models would hide shared mistakes. Where the documents leave
something open, the code says "made up". `running()` is for tests, `serve()` for the command line.
"""

from local.sandbox.inprocess import Sandbox, running
from local.sandbox.server import main, serve
from local.sandbox.state import Config

__all__ = ["Config", "Sandbox", "main", "running", "serve"]
