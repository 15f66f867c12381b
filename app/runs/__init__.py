"""Runs: published passes of the pipeline, one of them current."""
