"""Encoders: the spaces that the catalog's vectors belong to."""
