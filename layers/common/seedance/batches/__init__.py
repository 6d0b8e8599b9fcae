"""A manifest's rows, from the file to the results."""
