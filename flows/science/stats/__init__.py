"""Permutation tests near their floor, orders that may be exchanged, intervals and prevalence."""
