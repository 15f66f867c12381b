"""Maps of a component in a participant: a value of every voxel that a run was computed on."""

from typing import Literal

# The soft mask, how far the decoder needs each voxel, and the decoder's pattern.
MapName = Literal["weight", "needed", "pattern"]
MAPS: tuple[MapName, ...] = ("weight", "needed", "pattern")
