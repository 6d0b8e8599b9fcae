"""Pictures and videos: the two buckets, and what an image file is."""
