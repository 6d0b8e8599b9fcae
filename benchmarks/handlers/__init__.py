"""Handlers that the pipeline's cold starts are compared with: the same work, written in the usual way."""
