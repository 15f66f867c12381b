"""Regions: how concepts' masks overlap with named regions."""
