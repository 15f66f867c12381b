import numpy as np
import pytest

from flows.science.consensus import agree_on_directions


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def starts_of(
    planted: np.ndarray, found_by: list[int], *, starts: int = 10, noise: float = 0.02
) -> np.ndarray:
    """(starts, L, D): each planted direction in so many of the starts, other rows at random."""
    rng = np.random.default_rng(0)
    count, dimension = planted.shape
    rows = rng.standard_normal((starts, count + 2, dimension))
    for direction, by in zip(planted, found_by, strict=True):
        for start in rng.permutation(starts)[:by]:
            # In any place: which row found it says nothing.
            free = np.flatnonzero(~np.isclose(np.linalg.norm(rows[start], axis=1), 1, atol=0.2))
            rows[start, free[0]] = unit(direction + noise * rng.standard_normal(dimension))
        rng.shuffle(rows, axis=1)
    return unit(rows)


PLANTED = np.linalg.qr(np.random.default_rng(1).standard_normal((200, 4)))[0].T


def test_directions_that_enough_starts_found_are_joined_the_most_frequent_first() -> None:
    rows = starts_of(PLANTED, [6, 10, 4, 3])
    found = agree_on_directions(rows, alike=0.7, recurrence=0.4)
    assert found.recurrence.tolist() == [1.0, 0.6, 0.4]
    assert found.directions.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal((found.directions @ PLANTED.T).argmax(axis=1), [1, 0, 2])
    assert np.diag(found.directions @ PLANTED[[1, 0, 2]].T).min() > 0.99


def test_each_is_the_mean_of_its_members() -> None:
    rows = starts_of(PLANTED, [6, 10, 4, 0], noise=0.04)
    found = agree_on_directions(rows, alike=0.5, recurrence=0.4)
    assert found.member.shape == rows.shape[:2]
    assert set(np.unique(found.member)) == {-1, 0, 1, 2}
    for number, direction in enumerate(found.directions):
        members = rows[found.member == number]
        np.testing.assert_allclose(direction, unit(members.mean(axis=0)), atol=1e-6)
        # A mean of many is nearer to what was planted than any of them.
        nearest = PLANTED[(PLANTED @ direction).argmax()]
        assert direction @ nearest > (members @ nearest).max()


def test_values_are_averaged_over_members() -> None:
    rows = starts_of(PLANTED, [6, 10, 4, 3])
    found = agree_on_directions(rows, alike=0.7, recurrence=0.4)
    values = np.random.default_rng(2).random(rows.shape[:2])
    expected = [values[found.member == each].mean() for each in range(3)]
    np.testing.assert_allclose(found.mean_of(values), expected)


def test_a_start_that_finds_a_direction_twice_counts_once() -> None:
    rows = starts_of(PLANTED[:1], [3])
    twice = rows.copy()
    start, row = np.argwhere(rows @ PLANTED[0] > 0.9)[0]
    twice[start, (row + 1) % rows.shape[1]] = rows[start, row]
    for each in (rows, twice):
        found = agree_on_directions(each, alike=0.7, recurrence=0.3)
        assert found.recurrence.tolist() == [0.3]
        assert not len(agree_on_directions(each, alike=0.7, recurrence=0.35).directions)
    assert (found.member == 0).sum() == 4


@pytest.mark.parametrize(("cosine", "count"), [(0.8, 1), (0.6, 2)])
def test_near_doubles_are_one(cosine: float, count: int) -> None:
    """Average linkage leaves groups apart whose rows are less alike than their means are."""
    rng = np.random.default_rng(3)
    direction, other = np.linalg.qr(rng.standard_normal((300, 2)))[0].T
    double = cosine * direction + np.sqrt(1 - cosine**2) * other
    # Rows scatter by so much that single ones of both groups have a mean cosine below 0.7.
    scatter = unit(rng.standard_normal((8, 2, 300)))
    rows = unit(np.stack([direction, double])[None] + 0.5 * scatter)
    assert (rows[:, 0] @ rows[:, 1].T).mean() < 0.7
    found = agree_on_directions(rows, alike=0.7, recurrence=0.4)
    assert len(found.directions) == count
    assert (found.member >= 0).all()
    if count == 1:
        assert found.directions[0] @ unit(direction + double) > 0.98


def test_random_directions_agree_on_nothing() -> None:
    rows = unit(np.random.default_rng(4).standard_normal((24, 32, 100)))
    found = agree_on_directions(rows, alike=0.7, recurrence=0.1)
    assert found.directions.shape == (0, 100)
    assert found.recurrence.shape == (0,)
    assert (found.member == -1).all()
    assert found.mean_of(np.ones((24, 32))).shape == (0,)


def test_one_start_alone_keeps_all_of_its_rows() -> None:
    rows = unit(np.random.default_rng(5).standard_normal((1, 6, 20)))
    found = agree_on_directions(rows, alike=0.7, recurrence=0.4)
    np.testing.assert_allclose(found.directions, rows[0], atol=1e-6)
    assert found.member.tolist() == [list(range(6))]


def test_two_starts_must_agree_whatever_the_share() -> None:
    rows = starts_of(PLANTED, [2, 1, 1, 1], starts=2)
    found = agree_on_directions(rows, alike=0.7, recurrence=1e-9)
    assert len(found.directions) == 1
    assert found.directions[0] @ PLANTED[0] > 0.95


@pytest.mark.parametrize("recurrence", [0.3, 0.6, 0.7])
def test_a_share_of_the_starts_is_not_missed_by_rounding(recurrence: float) -> None:
    rows = starts_of(PLANTED[:1], [round(10 * recurrence)])
    assert len(agree_on_directions(rows, alike=0.7, recurrence=recurrence).directions) == 1


def test_rows_are_left_as_they_were() -> None:
    rows = starts_of(PLANTED, [6, 10, 4, 3])
    before = rows.copy()
    agree_on_directions(rows, alike=0.7, recurrence=0.4)
    np.testing.assert_array_equal(rows, before)


def test_rows_that_do_not_count_are_in_no_direction() -> None:
    rows = starts_of(PLANTED[:2], [6, 6])
    usable = rows @ PLANTED[0] < 0.9
    found = agree_on_directions(rows, alike=0.7, recurrence=0.4, usable=usable)
    assert len(found.directions) == 1
    assert found.directions[0] @ PLANTED[1] > 0.9
    assert (found.member[~usable] == -1).all()
    assert (found.member == 0).sum() == 6
    none = agree_on_directions(rows, alike=0.7, recurrence=0.4, usable=np.zeros_like(usable))
    assert none.directions.shape == (0, rows.shape[2])
    assert (none.member == -1).all()
