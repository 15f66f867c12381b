import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flows.science.splits import split_by_image


def split(exposures, shared=None, n_test=2, n_validation=2, seed=0):  # type: ignore[no-untyped-def]
    exposures = np.asarray(exposures)
    shared = np.zeros(exposures.shape[1], dtype=bool) if shared is None else shared
    return split_by_image(exposures, shared, n_test=n_test, n_validation=n_validation, seed=seed)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_folds_partition_and_every_participant_gets_its_share(data: st.DataObject) -> None:
    participants, images = data.draw(st.integers(1, 4)), data.draw(st.integers(3, 40))
    exposures = data.draw(hnp.arrays(np.int64, (participants, images), elements=st.integers(0, 4)))
    shared = data.draw(hnp.arrays(bool, images))
    n_test, n_validation = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    seed = data.draw(st.integers(0, 5))
    before = exposures.copy()
    try:
        fold = split(exposures, shared, n_test, n_validation, seed)
    except ValueError as error:
        # Only overlaps can use up the images of someone who saw more than the folds hold.
        too_few = participants > 1 or (exposures > 0).sum() <= n_test + n_validation
        if not too_few or "keeps no image to train on" not in str(error):
            raise
        return
    assert fold.shape == (images,)
    assert set(fold) <= {"train", "validation", "test"}
    for seen in exposures > 0:
        assert (seen & (fold == "test")).sum() >= n_test
        assert (seen & (fold == "validation")).sum() >= n_validation
        assert (seen & (fold == "train")).any()
    # Neither the call before nor how the arrays lie in memory has a say.
    again = split(np.asfortranarray(exposures.astype(np.int16)), shared, n_test, n_validation, seed)
    np.testing.assert_array_equal(fold, again)
    np.testing.assert_array_equal(exposures, before)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_one_participant_tests_on_the_most_repeated_images(data: st.DataObject) -> None:
    counts = data.draw(hnp.arrays(np.int64, st.integers(8, 40), elements=st.integers(1, 5)))
    shared = data.draw(hnp.arrays(bool, len(counts)))
    fold = split(counts[None], shared, n_test=4, n_validation=2)
    useful = np.minimum(counts, 3)
    for better, worse in (("test", "validation"), ("validation", "train")):
        assert useful[fold == better].min() >= useful[fold == worse].max()
    assert (fold == "test").sum() == 4
    assert (fold == "validation").sum() == 2
    left_out = (useful == useful[fold == "test"].min()) & shared & (fold != "test")
    taken = (useful == useful[fold == "test"].min()) & ~shared & (fold == "test")
    assert not (left_out.any() and taken.any()), "shared images come first"


def nsd_like(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """4 participants, 30 shared images, 100 own ones each; two of them stopped early."""
    rng = np.random.default_rng(seed)
    exposures = np.zeros((4, 430), dtype=int)
    exposures[:, :30] = 3
    for participant in range(4):
        own = slice(30 + 100 * participant, 130 + 100 * participant)
        exposures[participant, own] = 3
        if participant > 1:
            exposures[participant] -= rng.integers(0, 2, 430) * (exposures[participant] > 0)
    return exposures, np.arange(430) < 30


def test_participants_share_their_test_images() -> None:
    exposures, shared = nsd_like()
    fold = split(exposures, shared, n_test=30, n_validation=20)
    np.testing.assert_array_equal(fold == "test", shared)
    for seen in exposures > 0:
        assert (seen & (fold == "validation")).sum() == 20
        assert (exposures.max(axis=0)[seen & (fold == "validation")] == 3).all()


def test_shared_images_that_most_completed_come_first() -> None:
    exposures, shared = nsd_like()
    fold = split(exposures, shared, n_test=10, n_validation=5)
    complete = (exposures >= 3).sum(axis=0)
    test = fold == "test"
    assert test.sum() == 10
    assert shared[test].all()
    assert complete[test].min() >= complete[shared & ~test].max()


def test_an_image_two_participants_saw_does_not_overfill_a_fold() -> None:
    exposures = np.zeros((2, 30), dtype=int)
    exposures[0, :20] = 3
    exposures[1, 10:] = 3
    for seed in range(10):
        fold = split(exposures, n_test=8, n_validation=0, seed=seed)
        assert [(seen & (fold == "test")).sum() for seen in exposures > 0] == [8, 8]


def test_the_seed_draws() -> None:
    exposures = np.full((1, 50), 3)
    folds = {tuple(split(exposures, n_test=10, seed=seed)) for seed in range(5)}
    assert len(folds) == 5


def test_a_participant_without_training_images_is_named() -> None:
    exposures = np.zeros((2, 9), dtype=int)
    exposures[0] = 3
    exposures[1, :3] = 1
    message = (
        r"participant 1 keeps no image to train on: of 3 images seen, \d are test and \d "
        r"validation \(asked for 2 and 2\)"
    )
    with pytest.raises(ValueError, match=message):
        split(exposures)


@pytest.mark.parametrize(
    ("exposures", "shared", "n_test", "message"),
    [
        (np.ones((2, 5)), np.zeros(4, dtype=bool), 1, r"\(2, 5\) do not match \(4,\)"),
        (np.ones(5), np.zeros(5, dtype=bool), 1, r"\(5,\) do not match"),
        (np.ones((1, 5)), np.zeros(5, dtype=bool), -1, "cannot be negative"),
        (-np.ones((1, 5)), np.zeros(5, dtype=bool), 1, "cannot be negative"),
    ],
)
def test_refuses(exposures, shared, n_test, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        split(exposures.astype(int), shared, n_test)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_settled_images_keep_their_fold_and_count(data: st.DataObject) -> None:
    before = data.draw(st.integers(12, 30))
    after = before + data.draw(st.integers(0, 20))
    counts = data.draw(hnp.arrays(np.int64, after, elements=st.integers(1, 4)))
    first = split(counts[None, :before], seed=1)
    settled = np.concatenate([first, np.full(after - before, "")])
    grown = split_by_image(
        counts[None], np.zeros(after, bool), n_test=4, n_validation=2, seed=1, settled=settled
    )
    np.testing.assert_array_equal(grown[:before], first)
    # Two more test images come from the new ones, as far as there are any.
    assert (grown == "test").sum() == 2 + min(2, after - before)
    assert (grown == "validation").sum() == 2


def test_what_is_all_settled_stays_whatever_the_seed() -> None:
    counts = np.full((2, 30), 3)
    shared = np.arange(30) < 10
    fold = split(counts, shared, seed=1)
    for seed in (1, 2):
        again = split_by_image(
            counts, shared, n_test=2, n_validation=2, seed=seed, settled=np.asarray(fold)
        )
        np.testing.assert_array_equal(again, fold)
