"""The API's calls, in modules that load only what a call needs, and their answers."""
