"""Cohorts so small that a test draws them at once; of the kinds that the large ones are."""

from dataclasses import replace

from tests.support.cohorts.designs import DesignConfig
from tests.support.cohorts.planting import CAPTIONS, CLIP, CohortConfig
from tests.support.cohorts.responses import ResponseConfig

_DESIGN = DesignConfig(pool=170, train=150, validation=30, test=40, trials_per_session=90)

SMALL_CAPTIONS: CohortConfig = replace(
    CAPTIONS, concepts=4, voxels=600, patch=(20, 140), design=_DESIGN
)
SMALL_CLIP: CohortConfig = replace(
    CLIP,
    concepts=4,
    voxels=600,
    patch=(20, 140),
    design=_DESIGN,
    responses=ResponseConfig(ceiling=0.15),
)
