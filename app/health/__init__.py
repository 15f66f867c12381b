"""Whether the service is up, and whether it can answer."""
