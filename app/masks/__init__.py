"""One participant's mask of one concept, as files."""
