"""Concepts: the components of a run, one by one and beside each other."""
