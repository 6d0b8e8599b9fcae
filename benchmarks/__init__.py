"""Benchmarks against common alternatives. Each module is a command and writes one section of docs/benchmarks.md."""
