"""The checks all encoders share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.embedding.encoder import check_image, encode_captions, unit_rows
from app.errors import InputError

rows = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 6)),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


@given(rows)
def test_unit_rows_keep_direction_and_refuse_zero(vectors: np.ndarray) -> None:
    before = vectors.copy()
    lengths = [sum(float(v) ** 2 for v in row) ** 0.5 for row in vectors]
    if min(lengths) == 0:
        with pytest.raises(InputError, match=f"vector {lengths.index(0)} has no direction"):
            unit_rows(vectors)
    else:
        unit = unit_rows(vectors)
        assert unit.dtype == np.float32
        expected = [[v / length for v in row] for row, length in zip(vectors, lengths, strict=True)]
        np.testing.assert_allclose(unit, expected, atol=1e-6)
    np.testing.assert_array_equal(vectors, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_rows_are_counted_and_the_first_named(bad: float) -> None:
    vectors = np.ones((5, 3))
    vectors[[2, 4], 1] = bad
    with pytest.raises(InputError, match=r"text 2 has no direction.*\(2 of 5 are\)"):
        unit_rows(vectors, "text")


def test_no_rows_stay_no_rows() -> None:
    assert unit_rows(np.empty((0, 7))).shape == (0, 7)


def test_a_stimulus_is_the_normalised_mean_of_its_captions_each_asked_once() -> None:
    table = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.6, 0.8]}
    asked: list[str] = []

    def encode(texts):
        asked.extend(texts)
        return np.array([table[text] for text in texts], np.float32)

    got = encode_captions(encode, [["a", "b"], ["c"], ["b", "b", "a"]])
    expected = [[0.5**0.5, 0.5**0.5], [0.6, 0.8], [1 / 5**0.5, 2 / 5**0.5]]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert sorted(asked) == ["a", "b", "c"]


def test_stimuli_without_captions_are_counted_before_anything_is_encoded() -> None:
    def encode(texts):
        raise AssertionError("nothing is to be encoded")

    with pytest.raises(InputError, match="2 of 4 stimuli have no caption, the first is index 1"):
        encode_captions(encode, [["a"], [], ["b"], []])


def test_captions_that_cancel_have_no_mean() -> None:
    with pytest.raises(InputError, match="stimulus 0 has no direction"):
        encode_captions(
            lambda texts: np.array([[1, 0], [-1, 0]], np.float32)[: len(texts)], [["a", "b"]]
        )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"image 7 is .*not uint8"):
        check_image(image, 7)
