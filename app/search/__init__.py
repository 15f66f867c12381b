"""The catalog asked in words."""
