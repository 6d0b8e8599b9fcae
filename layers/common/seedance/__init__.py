"""Product images and prompts in, videos out: what every function of the pipeline shares.

The modules here are the use cases, named like the functions that run them, and what several of them share. Each
folder is a subject. docs/architecture.md has the picture; tests/infrastructure/test_house_rules.py says which folder
may import which.
"""
