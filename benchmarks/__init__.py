"""Measurements against the ways that people usually do it; each module is a command and writes one table."""
