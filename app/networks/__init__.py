"""Networks: which concepts belong together in one participant."""
