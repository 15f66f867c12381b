"""Datasets: what labs brought into the catalog."""
