"""Upkeep: hold and release jobs, search for lost ones, try ended ones again, and answer questions about the stack."""
