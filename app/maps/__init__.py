"""Which concepts a map of the brain carries."""
