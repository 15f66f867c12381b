import numpy as np
import pytest

from tests.support.cohorts.records import PlantedCohort
from tests.support.cohorts.recovery import (
    carried_directions,
    readout,
    recovery,
    regression_directions,
)
from tests.support.cohorts.stimuli import standard, unit


def _random(cohort: PlantedCohort, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centred = cohort.vectors - cohort.vectors.mean(axis=0)
    return np.asarray(rng.standard_normal((count, len(centred))) @ centred)


def _masks(cohort: PlantedCohort, components: int) -> list[np.ndarray]:
    """Perfect masks of the first components, none of the others."""
    masks = []
    for one in cohort.participants:
        mask = np.zeros((components, one.x.shape[1]))
        mask[: len(one.planted)] = one.planted
        masks.append(mask)
    return masks


def test_perfect_components_and_masks_are_found(captions: PlantedCohort) -> None:
    components = np.vstack([carried_directions(captions), _random(captions, 40)])
    judged = recovery(captions, components, _masks(captions, len(components)))
    for row, concept in enumerate(judged["concepts"]):
        assert concept["name"] == captions.concepts[row]
        assert concept["component"] == row
        assert concept["cosine"] == pytest.approx(1)
        assert concept["score_r"] > 0.99
        assert concept["cosine_anchor"] > 0.6
        assert concept["found"]
        for value, carried in zip(concept["auc"], captions.carriers[:, row], strict=True):
            assert value == 1 if carried else np.isnan(value)
    assert [one["planted"] for one in judged["components"]] == [True] * 5 + [False] * 40
    assert 0.2 < judged["chance"] < 0.7


def test_opposite_mixed_and_random_components_are_not_planted(captions: PlantedCohort) -> None:
    carried = carried_directions(captions)
    components = np.vstack([-carried, unit(carried[:2]).sum(axis=0)[None], _random(captions, 40)])
    judged = recovery(captions, components)
    assert not any(one["planted"] for one in judged["components"])
    assert all(one["found"] is None and one["auc"] is None for one in judged["concepts"])


def test_a_mask_elsewhere_is_not_found(captions: PlantedCohort) -> None:
    carried = carried_directions(captions)
    masks = [1 - mask for mask in _masks(captions, len(carried))]
    judged = recovery(captions, carried, masks)
    assert not any(concept["found"] for concept in judged["concepts"])


def test_length_and_the_part_along_the_mean_do_not_count(clip: PlantedCohort) -> None:
    carried = carried_directions(clip)
    mean = clip.vectors.mean(axis=0)
    moved = 7 * (carried + 3 * mean)
    first, second = recovery(clip, carried), recovery(clip, moved)
    for one, other in zip(first["components"], second["components"], strict=True):
        assert one["planted"]
        assert one["cosine"] == pytest.approx(other["cosine"], abs=1e-6)


def test_carried_directions_give_each_drive_alone(clip: PlantedCohort) -> None:
    """Against the slow way: predict targets from drives, and the drive from the predictions."""
    drive = standard(clip.drive.astype(np.float64))
    targets = clip.vectors - clip.vectors.mean(axis=0, dtype=np.float64)
    predicted = drive @ np.linalg.inv(drive.T @ drive) @ drive.T @ targets
    r = np.corrcoef((predicted @ carried_directions(clip).T).T, drive.T)[:5, 5:]
    np.testing.assert_allclose(np.diag(r), 1, atol=1e-6)
    scores = predicted @ carried_directions(clip)[0]
    np.testing.assert_allclose(scores / scores.std(), drive[:, 0], atol=1e-6)


def test_regression_directions_tell_drives_of_stimuli_left_out(clip: PlantedCohort) -> None:
    """The penalty is the best of those tried, by refitting without each of some stimuli."""
    drive = standard(clip.drive.astype(np.float64))
    targets = clip.vectors - clip.vectors.mean(axis=0, dtype=np.float64)
    found = regression_directions(clip)

    def fit(rows: np.ndarray, penalty: float) -> np.ndarray:
        x, y = targets[rows], drive[rows, 0]
        x, y = x - x.mean(axis=0), y - y.mean()
        return np.asarray(x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), y))

    everything = np.arange(len(drive))
    weights = {penalty: fit(everything, penalty) for penalty in 10.0 ** np.arange(-3, 3.1, 0.5)}
    errors = {}
    for penalty in weights:
        told = [
            (targets[n] - targets[everything != n].mean(axis=0))
            @ fit(everything[everything != n], penalty)
            + drive[everything != n, 0].mean()
            for n in range(0, len(drive), 8)
        ]
        errors[penalty] = float(np.mean((drive[::8, 0] - told) ** 2))
    cosines = {
        penalty: float(unit(weight[None])[0] @ found[0]) for penalty, weight in weights.items()
    }
    chosen = max(cosines, key=lambda penalty: cosines[penalty])
    assert cosines[chosen] == pytest.approx(1, abs=1e-6)
    # Some stimuli are not all: next to the best is as good.
    best = min(errors, key=lambda penalty: errors[penalty])
    assert abs(np.log10(chosen / best)) <= 0.51


def test_a_readout_of_shuffled_voxels_tells_nothing(captions: PlantedCohort) -> None:
    from dataclasses import replace

    rng = np.random.default_rng(0)
    people = tuple(
        replace(one, x=one.x[rng.permutation(len(one.x))]) for one in captions.participants
    )
    told = readout(replace(captions, participants=people))
    assert abs(np.nanmean(told)) < 0.1
