"""The provider's API: requests, responses and what they mean."""
