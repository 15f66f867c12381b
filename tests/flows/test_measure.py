"""Whether masks tell components of test stimuli: planted categories, and none."""

from typing import Any

import numpy as np
import pytest

from flows.measure import choose_order, join_predictions, replicate_subject, tune_subject
from flows.measure import test_subject as measure_subject
from tests.flows.stored import arrays, put

FREE = {"kind": "free", "reason": ""}
Json = dict[str, Any]

pytestmark = pytest.mark.usefixtures("store_home")


def categories(seed: int, *, decoded: bool) -> tuple[np.ndarray, Json, Json]:
    """Ten stimuli of each of 12 categories, of one vector each, told by category in any case."""
    rng = np.random.default_rng(seed)
    y = np.repeat(rng.normal(size=(12, 40)), 10, axis=0).astype(np.float32)
    image = np.repeat(np.arange(120), 2)
    own = y if decoded else np.repeat(rng.normal(size=(12, 40)), 10, axis=0)
    predicted = (own[image] + rng.normal(size=(240, 40))).astype(np.float32)
    rows = np.linalg.qr(rng.normal(size=(40, 30)))[0].T.astype(np.float32)
    return image, put(vectors=y), responses(y, image, predicted, rows)


def responses(y: np.ndarray, image: np.ndarray, predicted: np.ndarray, rows: np.ndarray) -> Json:
    """What a participant's responses to a rotation's test stimuli would be."""
    told = np.maximum(predicted @ rows.T, 0)
    return {
        "responses": put(
            position=np.arange(len(image)),
            image=image,
            session=np.zeros(len(image), dtype=np.int64),
            truth=np.maximum(y[image] @ rows.T, 0),
            unmasked=told,
            soft=told,
            hard=told,
            mixture_sums=np.ones((5, len(rows), 99)),
            units=np.array([12]),
            found=rows.any(axis=1).astype(np.uint8),
        )
    }


def told_by(parts: list[Json], vectors: Json, count: int = 30, seed: int = 0) -> Json:
    names = ("tuned_p", "sparse_p", "voxel_p")
    tuned = {"tuned": put(**{name: np.full(count, 0.01) for name in names})}
    return measure_subject.function(
        "p0", parts, tuned, [None] * count, vectors, FREE, 199, 0.05, seed
    )


def test_stimuli_of_one_vector_are_one_image() -> None:
    """Answers that go by category, but not by the component, are no sign of decoding it."""
    p = []
    for seed in range(20):
        _, vectors, told = categories(seed, decoded=False)
        p.append(arrays(told_by([told], vectors, seed=seed)["tests"])["p_hard"])
    assert np.size(p) == 600
    assert 0.02 <= (np.array(p) < 0.05).mean() <= 0.07


def test_categories_that_are_told_right_are_decodable() -> None:
    _, vectors, told = categories(0, decoded=True)
    result = told_by([told], vectors)
    found = arrays(result["tests"])
    assert (found["p_hard"] < 0.05).mean() > 0.9
    assert result["untested"] == [None] * 30
    known = np.isfinite(found["r_low"])
    assert known.sum() >= 20
    assert (found["r_low"] <= found["r_hard"])[known].all()
    assert (found["r_hard"] <= found["r_high"])[known].all()


def test_both_what_voxels_and_what_a_mask_tell_must_be_specific() -> None:
    _, vectors, told = categories(0, decoded=True)
    found = arrays(told_by([told], vectors)["tests"])
    assert {"tuned_p", "sparse_p", "voxel_p", "own_p"} <= set(found)
    np.testing.assert_array_equal(found["specific_p"], np.maximum(found["voxel_p"], found["own_p"]))


def test_voxels_are_tuned_to_what_drives_them() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(size=(200, 6)).astype(np.float32)
    folds = ["train"] * 150 + ["validation"] * 30 + ["test"] * 20
    image = np.repeat(np.arange(200), 2)
    betas = np.kron(np.eye(5), np.ones((20, 1))) @ y[image, :5].T
    betas = (betas + rng.normal(size=betas.shape)).astype(np.float32)
    # Of test stimuli nothing may be seen.
    betas[:, image >= 180] = np.nan
    artefacts = {
        "voxels": put(kept=np.arange(100), image=image),
        "sessions": [put(betas=betas[:, :200]), put(betas=betas[:, 200:])],
    }
    components = put(components=np.eye(6, dtype=np.float32))
    tuned = tune_subject.function("p0", artefacts, put(vectors=y), components, folds, 499, 0)[
        "tuned"
    ]
    found = arrays(tuned)
    assert set(found) == {"tuned_p", "sparse_p", "voxel_p"}
    assert (found["voxel_p"][:5] < 0.05).all()
    for p in found.values():
        assert p[:5].max() < p[5]
        assert p[5] > 0.05


def test_two_distinct_vectors_are_too_few() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(rng.normal(size=(2, 40)), 10, axis=0).astype(np.float32)
    image = np.arange(20)
    rows = np.linalg.qr(rng.normal(size=(40, 3)))[0].T.astype(np.float32)
    result = told_by([responses(y, image, y[image], rows)], put(vectors=y), 3)
    assert np.isnan(arrays(result["tests"])["p_hard"]).all()
    assert set(result["untested"]) == {"2 distinct test images are too few: p cannot reach 0.05"}


def test_a_component_that_one_rotation_missed_is_tested_with_the_others() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(60, 40)).astype(np.float32)
    rows = np.linalg.qr(rng.normal(size=(40, 3)))[0].T.astype(np.float32)
    missed = rows.copy()
    missed[1] = 0
    first, second = np.arange(30), np.arange(30, 60)
    noisy = y + rng.normal(size=y.shape).astype(np.float32)
    parts = [
        responses(y, first, noisy[first], rows),
        responses(y, second, noisy[second], missed),
    ]
    vectors = put(vectors=y)
    found = arrays(told_by(parts, vectors, 3)["tests"])
    truth, told = (np.maximum(values @ rows.T, 0) for values in (y, noisy))
    for column, images in ((0, slice(60)), (1, first), (2, slice(60))):
        r = np.corrcoef(truth[images, column], told[images, column])[0, 1]
        assert found["r_hard"][column] == pytest.approx(r, abs=1e-5)


def test_predictions_of_rotations_are_joined_as_they_come() -> None:
    parts = [
        put(
            test=np.full((2, 3), number, np.float32),
            ridge=np.full((2, 3), -number, np.float32),
            image_test=np.array([2 * number, 2 * number + 1]),
            session_test=np.array([number, number]),
        )
        for number in range(3)
    ]
    joined = arrays(join_predictions.function(parts)["predictions"])
    assert joined["image_test"].tolist() == list(range(6))
    assert joined["session_test"].tolist() == [0, 0, 1, 1, 2, 2]
    assert joined["test"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert joined["ridge"][:, 0].tolist() == [0, 0, -1, -1, -2, -2]


def test_a_participant_without_test_trials_has_no_order() -> None:
    y = np.random.default_rng(2).normal(size=(10, 4)).astype(np.float32)
    artefacts = {"voxels": put(image=np.arange(10), session=np.zeros(10, dtype=np.int64))}
    told = choose_order.function("p0", artefacts, put(vectors=y), [["train"] * 10], 0)
    assert told == {"kind": "free", "reason": "there are no test trials"}


def test_what_was_sought_without_a_participant_is_tested_in_this_one() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=(40, 20)).astype(np.float32)
    image = np.repeat(np.arange(40), 2)
    rows = np.linalg.qr(rng.normal(size=(20, 3)))[0].T.astype(np.float32)
    told = y[image] + rng.normal(size=(80, 20)).astype(np.float32)
    # The second direction is not carried, the third was not found.
    told -= np.outer(told @ rows[1], rows[1])
    told += np.outer(rng.normal(size=80), rows[1]).astype(np.float32)
    rows[2] = 0
    predictions = put(test=told, image_test=image, session_test=np.zeros(80, dtype=np.int64))
    result = replicate_subject.function(
        "p0", predictions, put(vectors=y), put(components=rows), FREE, 199, 0
    )
    found = arrays(result["replication"])
    assert found["p"][0] <= 0.01
    assert found["p"][1] > 0.05
    assert np.isnan(found["p"][2])
