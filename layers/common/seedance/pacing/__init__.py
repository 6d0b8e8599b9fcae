"""When to call the provider: the calendar of requests and the expected duration of videos."""
