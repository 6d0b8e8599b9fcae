"""The provider: what it is sent, what it answers, and what that means."""
