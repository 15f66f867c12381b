"""The stage that reduces what decoders tell to components: what it refuses, and on null data."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from app.errors import InputError
from app.store import Artefact
from flows.reduce import again, check_components, forced, reduce_components, require_components
from flows.science.reduction import ReductionConfig
from flows.stages import get_store
from tests.flows.stored import put

IMAGES, DIMENSION = 60, 24
FOLDS = ["train"] * 40 + ["validation"] * 10 + ["test"] * 10
FEW = ReductionConfig(components=6, steps=60, starts=6)
Json = dict[str, Any]

pytestmark = pytest.mark.usefixtures("store_home")


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def vectors() -> np.ndarray:
    return unit(np.random.default_rng(0).normal(size=(IMAGES, DIMENSION)))


def reduced(
    told: np.ndarray,
    config: ReductionConfig = FEW,
    seed: int = 0,
    searches: list[Json] | None = None,
) -> Json:
    """What is found in one participant whose decoder tells these of all stimuli."""
    predictions = put(development=told, image_development=np.arange(IMAGES))
    return reduce_components.function(
        put(vectors=vectors()), [predictions], FOLDS, asdict(config), seed, "cpu", searches
    )


def test_one_answer_to_all_trials_is_no_component() -> None:
    """A decoder of a large penalty tells its intercept, and hardly anything of a trial."""
    rng = np.random.default_rng(1)
    answer = unit(rng.normal(size=(1, DIMENSION)))
    told = unit(answer + 1e-3 * rng.normal(size=(IMAGES, DIMENSION)))
    found = reduced(told)
    rows = get_store().get(Artefact.model_validate(found["components"]))["components"]
    assert not len(rows) or np.abs(rows @ answer[0]).max() < 0.7


def test_test_stimuli_have_no_part() -> None:
    rng = np.random.default_rng(3)
    told = unit(vectors() + 0.3 * rng.normal(size=(IMAGES, DIMENSION)))
    other = told.copy()
    other[50:] = unit(rng.normal(size=(10, DIMENSION)))
    assert reduced(told) == reduced(other)


def test_more_components_than_stimuli_or_dimensions_are_refused() -> None:
    check_components(put(vectors=vectors()), FOLDS, ReductionConfig(components=DIMENSION))
    check_components(put(vectors=vectors()), FOLDS, ReductionConfig())
    with pytest.raises(
        InputError, match=r"reduction\.components is 25, larger than the data"
    ) as no:
        check_components(put(vectors=vectors()), FOLDS, ReductionConfig(components=25))
    assert f"set reduction.components to {DIMENSION} at most" in no.value.hint


def test_none_found_again_is_one_line_that_names_what_was_tried() -> None:
    none = {"count": 0, "curve": [{"components": 4}, {"components": 6}]}
    with pytest.raises(InputError, match="these components are not reproducible: of 24") as caught:
        require_components(none, ReductionConfig())
    assert "looking for 4, 6 directions" in caught.value.message
    assert "\n" not in str(caught.value)
    assert "--force" in caught.value.hint
    require_components(none | {"count": 1}, ReductionConfig())


def test_forced_takes_what_two_starts_find() -> None:
    rng = np.random.default_rng(4)
    told = unit(vectors() + rng.normal(size=(IMAGES, DIMENSION)))
    plain = reduced(told)
    settings, searches = forced(FEW, plain)
    assert settings["recurrence"] < 1 / FEW.starts
    assert searches == [{"components": FEW.components, "steps": FEW.steps}]
    assert reduced(told, ReductionConfig(**settings), searches=searches)["count"] >= plain["count"]


def test_forced_looks_for_as_many_as_learnt_most() -> None:
    curve = [
        {"components": number, "steps": 10, "kept": 2, "found": found, "drawn": 3.0}
        for number, found in ((4, 1.0), (6, 2.5), (8, 2.0))
    ]
    assert forced(ReductionConfig(), {"curve": curve})[1] == [{"components": 6, "steps": 300}]


def test_what_is_sought_again_has_half_the_starts() -> None:
    settings = again(ReductionConfig(starts=24))
    assert settings["starts"] == 12
    assert settings["resample"]
    assert again(ReductionConfig(components=4, starts=1))["starts"] == 1


def test_stimuli_that_were_drawn_are_not_drawn_again() -> None:
    assert not again(ReductionConfig(), drawn=True)["resample"]


def test_searches_of_a_run_are_made_again() -> None:
    rng = np.random.default_rng(3)
    told = unit(vectors() + 0.3 * rng.normal(size=(IMAGES, DIMENSION)))
    first = reduced(told)
    assert reduced(told, searches=first["searches"])["searches"] == first["searches"]
