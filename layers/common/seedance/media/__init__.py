"""Images and videos: the two buckets and the file formats."""
