"""Validation: how the concepts that words find lie on the functional localisers."""
