"""The catalog service: what is stored, and how it is asked."""
