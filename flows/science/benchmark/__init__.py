"""How long the numerics take at the size of a data set, on the device that is at hand.

Run as ``python -m flows.science.benchmark``. torch, numpy and scipy are all it needs: a machine
with a GPU and a copy of this package can run it.
"""
