"""The cohorts that tests of their generators look at; each is drawn once."""

import pytest

from tests.support.cohorts.objects import find_clip_names
from tests.support.cohorts.planting import caption_cohort, clip_cohort
from tests.support.cohorts.records import PlantedCohort
from tests.support.cohorts.small import SMALL_CAPTIONS, SMALL_CLIP


@pytest.fixture(scope="session")
def captions() -> PlantedCohort:
    """A small caption cohort of three participants."""
    return caption_cohort(5, 3, config=SMALL_CAPTIONS)


@pytest.fixture(scope="session")
def clip_names() -> None:
    """Skip where the CLIP vectors of names are not there."""
    if find_clip_names() is None:
        pytest.skip("no CLIP vectors of names in shared/data beside the checkout")


@pytest.fixture(scope="session")
def clip(clip_names: None) -> PlantedCohort:
    """A small CLIP cohort of three participants."""
    return clip_cohort(5, 3, config=SMALL_CLIP)
