import numpy as np
import pytest

from flows.science.folding import GROUPS, LEFT_OUT, cross_fitting_groups, draw_again


def groups_of(
    image: np.ndarray,
    session: np.ndarray | None = None,
    validation: list[int] | None = None,
    seed: int = 0,
    **options: int,
) -> np.ndarray:
    held = np.zeros(int(np.max(image)) + 3, dtype=bool)
    held[validation or []] = True
    # One after the other, each repeat in another session.
    shown = np.arange(len(image)) // 7 if session is None else session
    return cross_fitting_groups(image, shown, held, seed=seed, **options)


IMAGE = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 3))


def test_all_trials_of_a_stimulus_are_of_one_group() -> None:
    group = groups_of(IMAGE)
    for stimulus in range(40):
        assert len(set(group[stimulus == IMAGE])) == 1
    # Forty stimuli, dealt out evenly.
    assert np.bincount(group).tolist() == [24] * GROUPS


def test_validation_stimuli_are_the_first_group_and_none_else() -> None:
    held = [3, 17, 20]
    group = groups_of(IMAGE, validation=held)
    assert set(IMAGE[group == 0]) == set(held)
    assert sorted(set(group)) == list(range(GROUPS))


def test_a_seed_deals_them_out_alike_and_another_otherwise() -> None:
    np.testing.assert_array_equal(groups_of(IMAGE, seed=5), groups_of(IMAGE, seed=5))
    assert (groups_of(IMAGE, seed=5) != groups_of(IMAGE, seed=6)).any()
    assert set(groups_of(IMAGE, groups=3)) == {0, 1, 2}


def test_whole_sessions_are_groups_where_every_stimulus_was_shown_in_one() -> None:
    session = np.repeat([4, 1, 9], 8)
    image = np.arange(24)
    group = groups_of(image, session)
    assert [set(group[session == each]) for each in (1, 4, 9)] == [{0}, {1}, {2}]
    # Repeats within a session are no second one.
    np.testing.assert_array_equal(groups_of(image.repeat(2), session.repeat(2)), group.repeat(2))
    # A session whose stimuli all validate is no further group.
    group = groups_of(image, session, validation=list(range(8)))
    assert [set(group[session == each]) for each in (4, 1, 9)] == [{0}, {1}, {2}]


def test_two_runs_of_which_one_validates_are_a_group_each() -> None:
    session = np.repeat([2, 5], 8)
    group = groups_of(np.arange(16), session, validation=list(range(8, 16)))
    assert [set(group[session == each]) for each in (5, 2)] == [{0}, {1}]
    # A few validation stimuli are too little to train on, and some of the same run no other run.
    for few in ([15], list(range(4, 12))):
        assert len(set(groups_of(np.arange(16), session, validation=few))) > 2


def test_many_sessions_are_grouped_in_order() -> None:
    session = np.repeat(np.arange(30), 4)
    group = groups_of(np.arange(120), session)
    assert sorted(set(group)) == list(range(12))
    by_session = group[::4]
    np.testing.assert_array_equal(group, by_session.repeat(4))
    assert (np.diff(by_session) >= 0).all()
    assert np.bincount(by_session).max() - np.bincount(by_session).min() <= 1


def test_one_repeat_in_another_session_ends_groups_of_sessions() -> None:
    session = np.repeat([0, 1, 2], 8)
    image = np.arange(24)
    image[23] = 0
    group = groups_of(image, session)
    assert group[23] == group[0]
    assert sorted(set(group)) == list(range(GROUPS))


def test_one_session_alone_is_dealt_out() -> None:
    assert sorted(set(groups_of(np.arange(20), np.zeros(20, dtype=int)))) == list(range(GROUPS))


def test_numbers_have_no_gap_however_few_the_stimuli() -> None:
    for count in range(2, 8):
        for held in ([], [0], [0, 1]):
            group = groups_of(np.arange(count).repeat(2), validation=held)
            assert sorted(set(group)) == list(range(group.max() + 1))
    # Stimuli that were never shown make no group.
    assert groups_of(np.array([5, 5, 9, 9])).max() == 1


def test_one_stimulus_is_too_few() -> None:
    with pytest.raises(ValueError, match="1 stimulus is too few to leave some out: 2 are needed"):
        groups_of(np.array([3, 3, 3]))


FOLDS = ["train"] * 300 + ["validation"] * 200 + ["test"] * 50


def test_what_is_drawn_again_leaves_a_third_out_and_the_test_fold_alone() -> None:
    drawn = draw_again(FOLDS, 0)
    assert len(drawn) == len(FOLDS)
    for before, after in zip(FOLDS, drawn, strict=True):
        assert after in (before, LEFT_OUT)
    assert drawn[500:] == ["test"] * 50
    for own in (drawn[:300], drawn[300:500]):
        # (1 - 1/n)^n is nearly 1/e; its standard deviation is 0.02 of 300, 0.024 of 200.
        assert own.count(LEFT_OUT) / len(own) == pytest.approx(np.exp(-1), abs=0.08)


def test_a_seed_draws_alike_and_another_otherwise() -> None:
    assert draw_again(FOLDS, 1) == draw_again(FOLDS, 1)
    assert draw_again(FOLDS, 1) != draw_again(FOLDS, 2)
    assert FOLDS.count(LEFT_OUT) == 0


def test_folds_that_hold_nothing_are_no_fault() -> None:
    assert draw_again(["test", "test"], 0) == ["test", "test"]
    # The one there is is drawn.
    assert draw_again(["validation", "test"], 0) == ["validation", "test"]
