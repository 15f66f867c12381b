"""Centring, on planted cones and on real CLIP vectors."""

import os
from pathlib import Path

import numpy as np
import pytest

from app.embedding import load_encoder
from app.embedding.centring import centre, mean_vector
from app.errors import InputError

DATA = Path(
    os.environ.get("SDC_TEST_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")
)
CLIP = DATA / "clip_text_vit_b32" / "clip_text_vit_b32.npz"

Side = tuple[list[str], np.ndarray]


def test_the_mean_is_that_of_directions() -> None:
    vectors = np.array([[3.0, 0.0], [0.0, 0.5]])
    np.testing.assert_allclose(mean_vector(vectors), [0.5, 0.5])


def test_centred_rows_are_unit_rows_of_the_difference() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 5)) + 4
    before = vectors.copy()
    mean = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    expected = []
    for row in vectors:
        rest = [a - b for a, b in zip(row, mean, strict=True)]
        length = sum(v * v for v in rest) ** 0.5
        expected.append([v / length for v in rest])
    got = centre(vectors, mean)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_array_equal(vectors, before)


def test_faults_are_named() -> None:
    with pytest.raises(InputError, match="no vectors to average"):
        mean_vector(np.empty((0, 3)))
    with pytest.raises(InputError, match=r"mean of shape \(4,\) does not fit .* \(2, 3\)"):
        centre(np.ones((2, 3)), np.ones(4))
    with pytest.raises(InputError, match="does not fit"):
        centre(np.ones(3), np.ones(3))


def test_what_rounding_leaves_of_a_mean_is_no_direction() -> None:
    for row in np.random.default_rng(1).normal(size=(20, 384)).astype(np.float32):
        alone = row[np.newaxis] / np.linalg.norm(row)
        with pytest.raises(InputError, match="centred vector 0 has no direction"):
            centre(alone, mean_vector(alone))


@pytest.fixture(scope="module")
def sides() -> tuple[Side, Side]:
    """Names and real CLIP vectors of the COCO and the Objects365 categories."""
    if not CLIP.is_file():
        pytest.skip(f"no {CLIP}; set SDC_TEST_DATA to the folder of the test data")
    table = load_encoder(f"vectors:{CLIP}")

    def side(source: str) -> Side:
        rows = [row for row, each in enumerate(table.sources) if each == source]
        return [table.names[row].casefold() for row in rows], table.vectors[rows]

    return side("coco"), side("objects365")


def centred(vectors: np.ndarray) -> np.ndarray:
    return centre(vectors, mean_vector(vectors))


def share_right(one: Side, other: Side) -> float:
    """Share of names in both lists whose nearest vector on the other side has the same name."""
    right = []
    for (names, vectors), (others, pool) in ((one, other), (other, one)):
        nearest = [others[index] for index in (vectors @ pool.T).argmax(axis=1)]
        right += [a == b for a, b in zip(names, nearest, strict=True) if a in others]
    assert len(right) == 140
    return float(np.mean(right))


def test_real_lists_find_each_others_names(sides: tuple[Side, Side]) -> None:
    (coco, a), (objects, b) = sides
    share = share_right((coco, centred(a)), (objects, centred(b)))
    print(f"same name nearest after centring: {share:.1%}")
    assert share >= 0.8


def test_real_vectors_of_other_words_for_a_thing_are_nearest(sides: tuple[Side, Side]) -> None:
    """Names that only COCO has, whose vectors are not a copy of one in the other list."""
    (coco, a), (objects, b) = sides
    same = {
        "bird": "wild bird",
        "handbag": "handbag/satchel",
        "suitcase": "luggage",
        "skis": "skiboard",
        "sports ball": "other balls",
        "bowl": "bowl/basin",
        "orange": "orange/tangerine",
        "tv": "monitor/tv",
        "teddy bear": "stuffed toy",
        "hair drier": "hair dryer",
    }
    assert set(same) == set(coco) - set(objects)
    nearest = (centred(a) @ centred(b).T).argmax(axis=1)
    right = [name for name in same if objects[nearest[coco.index(name)]] == same[name]]
    print(f"synonym nearest after centring: {len(right)} of {len(same)}")
    assert len(right) >= 8


def test_centring_opens_the_narrow_cone_of_real_vectors(sides: tuple[Side, Side]) -> None:
    _, (_, vectors) = sides
    off_diagonal = ~np.eye(len(vectors), dtype=bool)
    assert (vectors @ vectors.T)[off_diagonal].min() > 0.5
    assert abs((centred(vectors) @ centred(vectors).T)[off_diagonal].mean()) < 0.01


@pytest.mark.parametrize(("offset", "gap", "at_most"), [(0.8, 0.82, 0.99), (1.5, 1.13, 0.85)])
def test_a_gap_between_the_sides_costs_matches_and_centring_restores_them(
    sides: tuple[Side, Side], offset: float, gap: float, at_most: float
) -> None:
    """Cones planted on real vectors.

    Each side gets an offset of its own, as the towers of CLIP do, and noise of about the size of
    the content (length 0.5; the centred vectors have 0.45), because a picture says other things
    than a word. An offset of 0.8 gives the distance between means that Liang et al. 2022
    measured for CLIP, 0.82.
    """
    raw, restored, without_gap = [], [], []
    for seed in range(5):
        chance = np.random.default_rng(seed)
        cones, plain = [], []
        for names, vectors in sides:
            noisy = vectors + 0.5 / 512**0.5 * chance.normal(size=vectors.shape)
            direction = chance.normal(size=512)
            cone = noisy + offset * direction / np.linalg.norm(direction)
            cones.append((names, cone / np.linalg.norm(cone, axis=1, keepdims=True)))
            plain.append((names, noisy / np.linalg.norm(noisy, axis=1, keepdims=True)))
        distance = np.linalg.norm(mean_vector(cones[0][1]) - mean_vector(cones[1][1]))
        assert distance == pytest.approx(gap, abs=0.05)
        raw.append(share_right(*cones))
        restored.append(share_right(*[(names, centred(vectors)) for names, vectors in cones]))
        without_gap.append(share_right(*plain))
    print(
        f"gap {gap}: as they are {np.mean(raw):.3f}, each side's mean off {np.mean(restored):.3f},"
        f" had there been no gap {np.mean(without_gap):.3f}"
    )
    assert np.mean(raw) < at_most
    assert np.mean(restored) > np.mean(without_gap) - 0.005
