"""Triggers: folders that are watched, and webhooks that other systems call."""
