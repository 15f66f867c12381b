"""Ingestions that are asked for: queued here, worked on by ``sdc worker``."""
