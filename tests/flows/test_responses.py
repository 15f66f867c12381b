"""Sessions of trials, of artefacts that tell them and of older ones that do not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.store import ArtefactStore
from flows.responses import load_mean_responses, load_responses, load_trial_sessions

FOLDS = ["train", "test", "train", "test", "train"]
IMAGE = np.array([0, 1, 3, 2, 4, 1, 3, 0, 1])
# The second session was left out; the third has four trials, the fourth two.
SESSION = np.array([1, 1, 1, 3, 3, 3, 3, 4, 4])


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(str(tmp_path))


def artefacts(store: ArtefactStore, *, told: bool) -> dict[str, Any]:
    """References as ingestion writes them, of betas that count the trials."""
    voxels = {"kept": np.arange(2), "noise_ceiling": np.zeros(2), "image": IMAGE}
    betas = np.arange(len(IMAGE), dtype=np.float16)
    sessions = [np.stack([betas[one == SESSION]] * 2) for one in np.unique(SESSION)]
    return {
        "voxels": store.put(voxels | ({"session": SESSION} if told else {})).model_dump(),
        "sessions": [store.put({"betas": each}).model_dump() for each in sessions],
    }


@pytest.mark.parametrize(("told", "numbers"), [(True, [1, 3, 4]), (False, [1, 2, 3])])
@pytest.mark.parametrize("fold", ["train", "test", "validation"])
def test_sessions_go_with_the_trials_that_are_loaded(
    store: ArtefactStore, fold: str, told: bool, numbers: list[int]
) -> None:
    references = artefacts(store, told=told)
    x, image = load_responses(store, references, FOLDS, fold)
    found = load_trial_sessions(store, references, FOLDS, fold)
    trials = x[:, 0].astype(int)
    np.testing.assert_array_equal(image, IMAGE[trials])
    number_of = dict(zip((1, 3, 4), numbers, strict=True))
    assert found.tolist() == [number_of[SESSION[trial]] for trial in trials]
    assert found.dtype == np.int64


def test_mean_responses_are_of_each_stimulus_shown(store: ArtefactStore) -> None:
    given = artefacts(store, told=True)
    means, shown = load_mean_responses(store, given, FOLDS, "train")
    assert shown.tolist() == [0, 2, 4]
    # Betas count the trials: of each stimulus those at its places.
    expected = [np.flatnonzero(image == IMAGE).mean() for image in shown]
    np.testing.assert_allclose(means, np.stack([expected] * 2, axis=1))
