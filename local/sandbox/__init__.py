"""A stand-in for the provider: a real HTTP server with real videos, built from its documents alone.

It imports nothing of the pipeline: shared models would hide shared mistakes. Where the documents leave
a choice, the code says "made up". `running()` is for tests, `serve()` for a command line.
"""

from local.sandbox.inprocess import Sandbox, running
from local.sandbox.server import main, serve
from local.sandbox.state import Config

__all__ = ["Config", "Sandbox", "main", "running", "serve"]
