"""Changes of jobs' states, for programs: events on EventBridge, and signed webhooks."""
