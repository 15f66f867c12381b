"""Garbage: what lies in the artefact store and nothing refers to any more."""
