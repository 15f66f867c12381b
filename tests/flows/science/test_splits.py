import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flows.science.splits import Rotation, rotated_folds, rotation_groups, split_by_image


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
        r"keeps no image to train on: of 3 images seen, \d are test and \d "
        r"validation \(asked for 2 and 2\)"
    )
    with pytest.raises(ValueError, match=f"^participant 2 of 2 {message}"):
        split(exposures)
    with pytest.raises(ValueError, match=f"^sub-07 {message}"):
        split_by_image(
            exposures,
            np.zeros(9, dtype=bool),
            n_test=2,
            n_validation=2,
            seed=0,
            labels=["sub-03", "sub-07"],
        )


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


def groups(
    images: list[list[int]],
    sessions: list[list[int]],
    settled: list[int] | None = None,
    seed: int = 0,
) -> Rotation:
    """`rotation_groups` of lists, whose images are all that occur or are settled."""
    count = max(max(max(each) for each in images) + 1, len(settled or []))
    return rotation_groups(
        [np.array(each) for each in images],
        [np.array(each) for each in sessions],
        count,
        seed=seed,
        settled=None if settled is None else np.array(settled),
        labels=[f"sub-{number:02d}" for number in range(len(images))],
    )


def blocks(runs: int, stimuli: int = 4, first: int = 0) -> tuple[list[int], list[int]]:
    """Images and sessions of a block design: each run shows stimuli of its own, once."""
    runs_ = range(first, first + runs)
    return (
        [run * stimuli + each for run in runs_ for each in range(stimuli)],
        [run + 1 for run in runs_ for _ in range(stimuli)],
    )


def test_runs_of_a_block_design_are_tested_in_turn() -> None:
    images, sessions = blocks(12)
    found = groups([images], [sessions])
    assert (found.count, found.unit) == (12, "runs")
    assert found.runs == tuple((run,) for run in range(1, 13))
    np.testing.assert_array_equal(found.group, np.arange(48) // 4)


def test_many_runs_are_taken_together_as_they_follow_each_other() -> None:
    images, sessions = blocks(30)
    found = groups([images], [sessions])
    assert found.count == 12
    assert sorted(map(len, found.runs)) == [2] * 6 + [3] * 6
    assert [run for together in found.runs for run in together] == list(range(1, 31))
    for group, together in enumerate(found.runs):
        assert {sessions[image] for image in np.flatnonzero(found.group == group)} == set(together)


def test_a_participant_whose_last_run_is_missing_is_in_every_group() -> None:
    images, sessions = blocks(12)
    found = groups([images, images[:44]], [sessions, sessions[:44]])
    assert found.runs == (*((run,) for run in range(1, 11)), (11, 12))
    assert len(np.unique(found.group[images[:44]])) == found.count == 11


@pytest.mark.parametrize("runs", [2, 1])
def test_few_runs_leave_too_little_to_train_on_and_images_are_drawn(runs: int) -> None:
    images, sessions = blocks(runs, stimuli=20)
    found = groups([images], [sessions])
    assert (found.count, found.unit, found.runs) == (5, "images", ())
    assert groups([blocks(3)[0]], [blocks(3)[1]]).unit == "runs"


def test_an_image_of_two_sessions_is_drawn() -> None:
    images, sessions = blocks(8)
    found = groups([[*images, 0]], [[*sessions, 8]])
    assert found.unit == "images"
    # So it is where participants saw it in sessions of different numbers.
    assert groups([images, images], [sessions, sessions[::-1]]).unit == "images"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_groups_of_images_are_balanced_for_every_participant(data: st.DataObject) -> None:
    common, own = data.draw(st.integers(0, 40)), data.draw(st.integers(5, 40))
    participants, seed = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 3))
    images, sessions = [], []
    for number in range(participants):
        first = common + number * own
        seen = [*range(common), *range(first, first + own)]
        # Twice, in sessions of its own, so that no run holds an image alone.
        images.append(seen * 2)
        sessions.append([1] * len(seen) + [2] * len(seen))
    found = groups(images, sessions, seed=seed)
    assert (found.count, found.unit) == (5, "images")
    for seen in images:
        held = np.bincount(found.group[np.unique(seen)], minlength=5)
        assert held.min() >= 1
        assert held.max() - held.min() <= 2
    again = groups(images, sessions, seed=seed)
    np.testing.assert_array_equal(found.group, again.group)


def test_the_seed_draws_groups() -> None:
    images, sessions = [*range(40)] * 2, [1] * 40 + [2] * 40
    drawn = {tuple(groups([images], [sessions], seed=seed).group) for seed in range(5)}
    assert len(drawn) == 5


def test_settled_groups_of_runs_stay_and_a_new_run_is_a_group_of_its_own() -> None:
    images, sessions = blocks(8)
    settled = groups([images], [sessions]).group.tolist()
    more, later = blocks(2, first=8)
    found = groups([images + more], [sessions + later], [*settled, *[-1] * 8])
    np.testing.assert_array_equal(found.group[:32], settled)
    assert found.group[32:].tolist() == [8] * 4 + [9] * 4
    # One that somebody lacks, and the 13th, go to the smallest group.
    lacking = groups([images + more, images], [sessions + later, sessions], [*settled, *[-1] * 8])
    assert (lacking.count, lacking.group[32:].tolist()) == (8, [0] * 4 + [1] * 4)
    images, sessions = blocks(13)
    settled = [*(np.arange(48) // 4).tolist(), *[-1] * 4]
    assert groups([images], [sessions], settled).group[48:].tolist() == [0] * 4


def test_settled_groups_of_images_stay_and_new_images_fill_the_smallest() -> None:
    images = [*range(20)] * 2
    settled = groups([images], [[1] * 20 + [2] * 20]).group
    more = [*range(28)]
    found = groups([images + more], [[1] * 20 + [2] * 20 + [3] * 28], [*settled, *[-1] * 8])
    np.testing.assert_array_equal(found.group[:20], settled)
    held = np.bincount(found.group)
    assert held.max() - held.min() <= 1
    # What was drawn by image stays so, though each image stands in a session of its own.
    images, sessions = blocks(8)
    drawn = (np.arange(32) % 5).tolist()
    assert groups([images], [sessions], drawn).unit == "images"


def test_who_saw_too_little_to_be_tested_in_turn_is_named() -> None:
    message = r"^sub-01 saw 4 images, which fill 4 of the 5 groups .* 5 are needed$"
    with pytest.raises(ValueError, match=message):
        groups([[*range(20)] * 2, [0, 1, 2, 3]], [[1] * 20 + [2] * 20, [1] * 4])
    with pytest.raises(ValueError, match="1 of 3 images were shown to nobody"):
        groups([[0, 2, 2]], [[1, 1, 2]])


@given(st.lists(st.integers(0, 6), min_size=3, max_size=40).filter(lambda g: len(set(g)) > 2))
def test_every_stimulus_is_tested_once_and_validates_once(rotation: list[int]) -> None:
    rotations = [rotated_folds(rotation, group) for group in sorted(set(rotation))]
    for stimulus, group in enumerate(rotation):
        held = [folds[stimulus] for folds in rotations]
        assert held.count("test") == held.count("validation") == 1
        assert rotations[sorted(set(rotation)).index(group)][stimulus] == "test"
    for folds in rotations:
        assert set(folds) == {"train", "validation", "test"}


def test_the_next_group_validates_unless_another_is_named() -> None:
    rotation = [0, 1, 2, 3, 3]
    assert rotated_folds(rotation, 0) == ["test", "validation", "train", "train", "train"]
    assert rotated_folds(rotation, 3) == ["validation", "train", "train", "test", "test"]
    assert rotated_folds(rotation, 0, 2) == ["test", "train", "validation", "train", "train"]


@pytest.mark.parametrize(
    ("rotation", "chosen", "message"),
    [
        ([0, 1, 1], (0,), "2 rotation groups are too few"),
        ([0, 1, 2], (3,), r"no stimulus is of rotation group 3: there are \[0, 1, 2\]"),
        ([0, 1, 2], (0, 3), "no stimulus is of rotation group 3"),
        ([0, 1, 2], (1, 1), "rotation group 1 cannot both test and validate"),
    ],
)
def test_a_rotation_that_cannot_be(
    rotation: list[int], chosen: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rotated_folds(rotation, *chosen)
