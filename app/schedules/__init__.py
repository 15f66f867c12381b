"""Schedules: ingestions that are asked for again and again."""
