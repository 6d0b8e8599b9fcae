"""Notifications for people and machines."""
