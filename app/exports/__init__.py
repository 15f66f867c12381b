"""Exports of one run, in the forms that other programs read."""
