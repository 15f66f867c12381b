"""Tests of search by a map, against the truth of the published catalog."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import false_discovery_control
from sqlalchemy.orm import Session

from app.database.engine import open_session
from app.errors import CatalogError
from app.maps.schemas import MapAnswer
from app.maps.service import MAP_FAMILY, search_map
from app.masks.service import mask_volume
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.conftest import Counts
from tests.app.maps.volumes import in_mni, written
from tests.app.published import (
    CONCEPTS,
    REASONS,
    REGIONS,
    RESPONDS,
    SHARED,
    VERDICTS,
    VOXELS_A_REGION,
    Published,
    publish,
)

NATIVE = np.diag([2.0, 2.0, 2.0, 1.0])
GRID = (len(REGIONS), VOXELS_A_REGION, 1)


def ask(session: Session, content: bytes, *space: Any, **asked: Any) -> MapAnswer:
    asked = {"permutations": 199} | asked
    return search_map(session, BytesIO(content), "m.nii", *space, **asked)


@pytest.mark.parametrize("concept", CONCEPTS)
@pytest.mark.parametrize("space", ["native", "MNI"])
def test_a_mask_that_comes_back_finds_its_own_concept(
    session: Session, published: Published, concept: str, space: Any
) -> None:
    component = published.components[concept]
    content = mask_volume(session, component, "subj01", space).content
    answer = ask(session, content, space, subject="subj01" if space == "native" else None)
    first, *rest = answer.concepts
    assert (first.id, len(rest)) == (component, len(CONCEPTS) - 1)
    claims = (first.decodable, first.specific, first.agreeing, first.stable)
    assert (claims, first.reasons) == (VERDICTS[concept], REASONS[concept])
    assert (first.shared is True) == (concept in SHARED)
    assert first.correlation == pytest.approx(1, abs=1e-5)
    assert first.p_value == min(each.p_value for each in answer.concepts)
    assert max(each.correlation for each in rest) < 0
    told = {"native": ["subj01"], "MNI": ["subj01", "subj02"]}[space]
    assert [each.subject for each in first.subjects] == told
    assert answer.voxels == dict.fromkeys(told, len(REGIONS) * VOXELS_A_REGION)


def test_an_image_of_labels_is_told_as_one(session: Session) -> None:
    labels = np.arange(np.prod(GRID)).reshape(GRID[:2]) % 4
    (warning,) = ask(session, in_mni(labels)).warnings
    assert "m.nii is an image of labels" in warning
    assert "one region at a time" in warning
    assert ask(session, in_mni(labels == 2)).warnings == []


def test_correlations_are_of_the_voxels_covered(session: Session, published: Published) -> None:
    values = np.random.default_rng(0).normal(size=GRID[:2]).astype(np.float32)
    values[0, :2] = np.nan
    answer = ask(session, in_mni(values), k=6)
    covered = np.isfinite(values)
    assert answer.voxels == {"subj01": 28, "subj02": 28}
    for each in answer.concepts:
        at = list(published.components.values()).index(each.id)
        weights = np.zeros(GRID[:2])
        weights[at] = np.linspace(1, 0.6, VOXELS_A_REGION)
        expected = np.corrcoef(values[covered], weights[covered])[0, 1]
        assert each.correlation == pytest.approx(expected, abs=1e-5)
        for one in each.subjects:
            assert one.correlation == pytest.approx(expected, abs=1e-5)
            assert one.n_voxels == (3 if at == 0 else 5)
            assert one.responds == RESPONDS[CONCEPTS[at]]
    p_values = {each.id: each.p_value for each in answer.concepts}
    assert [each.q_value for each in answer.concepts] == pytest.approx(
        false_discovery_control([p_values[each.id] for each in answer.concepts])
    )
    assert (answer.dataset, answer.run) == (published.dataset, published.run)
    assert (answer.encoder, answer.method) == (published.encoder, "masks")
    assert (answer.q_family, answer.permutations, answer.seed) == (MAP_FAMILY, 199, 0)
    r = [(each.q_value >= 0.05, -each.correlation) for each in answer.concepts]
    assert r == sorted(r)
    assert ask(session, in_mni(values), k=2).concepts == answer.concepts[:2]


def test_a_concept_without_a_mask_among_the_voxels_is_left_out(
    session: Session, published: Published
) -> None:
    values = np.random.default_rng(0).normal(size=GRID[:2])
    values[2] = np.nan
    told = {each.id for each in ask(session, in_mni(values)).concepts}
    assert told == set(published.components.values()) - {published.components["house"]}


def test_one_participant_in_mni_space(session: Session, published: Published) -> None:
    values = np.random.default_rng(0).normal(size=GRID[:2])
    answer = ask(session, in_mni(values), subject="subj02")
    assert answer.voxels == {"subj02": 30}
    assert {one.subject for each in answer.concepts for one in each.subjects} == {"subj02"}


@pytest.mark.parametrize("scale", [1e-310, 1e300])
def test_units_of_a_map_do_not_matter(session: Session, published: Published, scale: float) -> None:
    values = np.random.default_rng(0).normal(size=GRID)
    plain, scaled = (
        ask(session, written(each, NATIVE), "native", subject="subj01")
        for each in (values, values * scale)
    )
    assert [each.id for each in plain.concepts] == [each.id for each in scaled.concepts]
    assert [each.p_value for each in plain.concepts] == [each.p_value for each in scaled.concepts]


def test_a_seed_gives_the_same_answer(session: Session, published: Published) -> None:
    content = in_mni(np.random.default_rng(0).normal(size=GRID[:2]))
    one, again, other = (ask(session, content, seed=seed) for seed in (3, 3, 4))
    assert one == again
    assert [each.correlation for each in one.concepts] == pytest.approx(
        [each.correlation for each in other.concepts]
    )
    assert [each.p_value for each in one.concepts] != [each.p_value for each in other.concepts]


FLAT = np.zeros(GRID, dtype=np.float32)
NOISE = np.random.default_rng(0).normal(size=GRID)
FAR = np.array([[2.0, 0, 0, 500], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
FEW = np.where(np.arange(30).reshape(GRID) < 9, NOISE, np.nan)
HERE = {"space": "native", "subject": "subj01"}


@pytest.mark.parametrize(
    ("content", "asked", "message"),
    [
        (written(FLAT, NATIVE), HERE, "m.nii has one value at all voxels that it covers"),
        (written(FLAT + 7.1, NATIVE), HERE, "m.nii has one value at all voxels that it covers"),
        (written(NOISE * np.nan, NATIVE), HERE, "m.nii covers 0 voxels of a participant (native)"),
        (written(NOISE, FAR), HERE, "m.nii covers 0 voxels of a participant (native)"),
        (written(FEW, NATIVE), HERE, "m.nii covers 9 voxels of a participant (native)"),
        (written(NOISE, NATIVE), {}, "m.nii covers 0 voxels of a participant (MNI)"),
        (written(NOISE, NATIVE), {"space": "native"}, "native mm are each participant's own"),
        (b"x", HERE, "m.nii is no NIfTI file"),
        (b"x", HERE | {"k": 0}, "k is 0"),
        (b"x", HERE | {"permutations": 98}, "permutations is 98"),
        (b"x", HERE | {"permutations": 5000}, "permutations is 5000"),
        (b"x", HERE | {"seed": -1}, "the seed is -1"),
        (b"x", HERE | {"run": 10**9}, f"there is no run {10**9}"),
        (b"x", HERE | {"dataset": "lab-x"}, "no dataset 'lab-x' is in the catalog"),
        (b"x", HERE | {"subject": "x"}, "the dataset lab-a has no subject 'x'"),
    ],
)
def test_what_is_refused(
    session: Session,
    published: Published,
    count_rows: Callable[[], Counts],
    content: bytes,
    asked: dict[str, Any],
    message: str,
) -> None:
    before = count_rows()
    with pytest.raises(CatalogError) as refused:
        ask(session, content, **asked)
    assert refused.value.message.startswith(message)
    assert refused.value.hint
    assert refused.value.status < 500
    assert count_rows() == before


def test_places_that_nobody_knows(catalog: Path, own_table: Path) -> None:
    """Without MNI coordinates the native space answers, and the other says why it does not."""
    content = written(NOISE, NATIVE)
    with open_session() as session, session.begin():
        publish(session, f"vectors:{own_table}", ArtefactStore(get_settings().store_url), mni=False)
        assert ask(session, content, "native", subject="subj01").voxels == {"subj01": 30}
        with pytest.raises(CatalogError, match="it is not known where the voxels lie in MNI"):
            ask(session, content)
