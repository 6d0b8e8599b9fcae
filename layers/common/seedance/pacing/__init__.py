"""When the provider is asked: the calendar of requests, and how long videos take."""
