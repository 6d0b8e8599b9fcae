"""Turns product images and prompts into videos: the code that all functions of the pipeline share.

The modules here are the use cases, named after the functions that run them, and code that several of them share. Each
folder covers one subject. docs/architecture.md gives an overview. tests/infrastructure/test_house_rules.py defines
which folder may import which.
"""

__version__ = "0.1.0"
