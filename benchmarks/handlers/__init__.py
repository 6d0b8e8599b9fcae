"""What the pipeline's functions are measured against at a cold start: the same work, written as is usual."""
