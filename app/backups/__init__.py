"""Backups: the whole catalog as one file, and a catalog from such a file."""
