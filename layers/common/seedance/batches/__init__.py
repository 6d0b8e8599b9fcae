"""Batches: the rows of a manifest, from the file to the results."""
