"""Tests of the search among voxels, against numpy on the same vectors."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import DatabaseError
from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from app.database import models
from app.database.copying import copy_rows
from app.database.engine import get_engine, open_session
from app.embedding import load_encoder
from app.embedding.centring import centre
from app.errors import CatalogError, ConflictError, InputError, NotFoundError
from app.settings import get_settings
from app.store import ArtefactStore
from app.terms.prompts import sum_of_directions
from app.voxels.indexing import create_index
from app.voxels.service import search_voxels
from tests.app.conftest import SharedCatalog
from tests.app.published import (
    ATLAS,
    CONCEPTS,
    REGIONS,
    SUBJECTS,
    VOXELS_A_REGION,
    Published,
    publish,
    write_table,
)

EVERY = len(SUBJECTS) * len(REGIONS) * VOXELS_A_REGION


def scatter(session: Session, run: int) -> dict[tuple[str, int], NDArray[np.float32]]:
    """Give every voxel a direction of its own; what is stored, by participant and index."""
    random = np.random.default_rng(5)
    rows = session.scalars(select(models.VoxelVector).where(models.VoxelVector.run_id == run)).all()
    vectors = random.standard_normal((len(rows), 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    labels = {row.id: row.label for row in session.scalars(select(models.Subject))}
    for row, vector in zip(rows, vectors, strict=True):
        row.vector = vector.astype(np.float32)
    session.flush()
    return {
        (labels[row.subject_id], row.index): vector.astype(np.float32)
        for row, vector in zip(rows, vectors, strict=True)
    }


def places(session: Session, subject: str | None = None) -> dict[int, tuple[str, int]]:
    """Participant and index of every voxel, by its id."""
    rows = session.execute(select(models.Voxel, models.Subject.label).join(models.Subject))
    return {
        voxel.id: (label, voxel.index)
        for voxel, label in rows
        if subject is None or label == subject
    }


@pytest.mark.parametrize("subject", [None, *SUBJECTS])
@pytest.mark.parametrize("region", [None, "PPA"])
@pytest.mark.parametrize("k", [1, 7, 1000])
def test_the_answer_is_that_of_a_scan(
    own_session: Session, own_published: Published, subject: str | None, region: str | None, k: int
) -> None:
    vectors = scatter(own_session, own_published.run)
    where = {} if region is None else {"atlas": ATLAS, "region": region}
    answer = search_voxels(
        own_session, "face", plus=["food"], minus=["body"], subject=subject, k=k, **where
    )
    encoder = own_session.get_one(models.Run, own_published.run).encoder_id
    row = own_session.get_one(models.Encoder, encoder)
    asked = sum_of_directions(own_session, row, ["face", "food"], ["body"]).vector
    inside = {
        voxel: place
        for voxel, place in places(own_session, subject).items()
        if region is None or place[1] // VOXELS_A_REGION == REGIONS.index(region)
    }
    similarity = {voxel: float(vectors[place] @ asked) for voxel, place in inside.items()}
    expected = sorted(similarity, key=lambda voxel: -similarity[voxel])[:k]
    assert [each.id for each in answer.voxels] == expected
    np.testing.assert_allclose(
        [each.similarity for each in answer.voxels],
        [similarity[voxel] for voxel in expected],
        atol=1e-3,
    )
    assert answer.exact


@pytest.mark.parametrize("word", CONCEPTS)
def test_a_word_finds_the_voxels_of_its_concept(session: Session, word: str) -> None:
    answer = search_voxels(session, word, k=EVERY)
    own = answer.voxels[: len(SUBJECTS) * VOXELS_A_REGION]
    assert {each.ijk[0] for each in own} == {CONCEPTS.index(word)}
    assert {tuple(each.regions) for each in own} == {(f"{ATLAS}:{REGIONS[CONCEPTS.index(word)]}",)}
    assert min(each.similarity for each in own) == pytest.approx(1, abs=0.01)
    negated = search_voxels(session, word, k=EVERY, negate=True)
    assert [-each.similarity for each in reversed(negated.voxels)] == pytest.approx(
        [each.similarity for each in answer.voxels], abs=1e-5
    )


def test_all_is_told_of_a_voxel(session: Session, published: Published) -> None:
    (found,) = search_voxels(session, "house", subject="subj02", k=1).voxels
    voxel = session.get_one(models.Voxel, found.id)
    assert found.model_dump(exclude={"id", "similarity"}) == {
        "dataset": published.dataset,
        "run": published.run,
        "method": "masks",
        "subject": "subj02",
        "ijk": (2, voxel.j, 0),
        "native_mm": (4.0, 2.0 * voxel.j, 0.0),
        "mni_mm": (-36.0, 2.0 * voxel.j - 40, -40.0),
        "noise_ceiling": 20.0,
        "regions": [f"{ATLAS}:PPA"],
    }


def test_sql_and_service_agree(session: Session, published: Published) -> None:
    query = "SELECT voxel_id, similarity FROM catalog.search_voxels(:q, 12, :d, :s, :r)"
    asked = {"q": "food", "d": published.dataset, "s": "subj01", "r": f"{ATLAS}:EBA"}
    for leave in ({}, {"s": None}, {"r": None}, {"s": None, "r": None}):
        rows = session.execute(text(query), asked | leave).all()
        given = asked | leave
        where = {} if given["r"] is None else {"atlas": ATLAS, "region": "EBA"}
        answer = search_voxels(session, "food", subject=given["s"], k=12, **where)
        assert [(row.voxel_id, pytest.approx(row.similarity)) for row in rows] == [
            (each.id, each.similarity) for each in answer.voxels
        ]
        assert rows


def publish_other(session: Session, catalog: SharedCatalog, slug: str, **table: int) -> Published:
    """One more dataset, of the same encoder or of another."""
    path = catalog.home / f"{slug}.csv"
    spec = f"vectors:{write_table(path, **table) if table else catalog.table}"
    return publish(session, spec, ArtefactStore(str(catalog.home / "store")), slug=slug)


def test_all_datasets_of_an_encoder_are_asked(
    session: Session, shared_catalog: SharedCatalog, published: Published
) -> None:
    publish_other(session, shared_catalog, "lab-b")
    answer = search_voxels(session, "face", k=20)
    assert answer.datasets == [published.dataset, "lab-b"]
    assert {each.dataset for each in answer.voxels} == {published.dataset, "lab-b"}
    assert {each.ijk[0] for each in answer.voxels} == {0}
    alone = search_voxels(session, "face", dataset="lab-b", k=20)
    assert {each.dataset for each in alone.voxels} == {"lab-b"}


@pytest.mark.parametrize("indexed", [False, True])
def test_datasets_asked_at_once_answer_as_one_after_the_other(
    own_session: Session, own_published: Published, own_table: Path, indexed: bool
) -> None:
    store = ArtefactStore(get_settings().store_url)
    other = publish(own_session, f"vectors:{own_table}", store, slug="lab-b")
    scatter(own_session, own_published.run)
    scatter(own_session, other.run)
    if indexed:
        create_index(own_session, own_published.run)
        create_index(own_session, other.run)
    # The prompt is kept, so that asking again writes nothing.
    search_voxels(own_session, "face")
    own_session.commit()
    engine = get_engine()
    assert isinstance(engine.pool, QueuePool)
    engine.dispose()
    with engine.connect() as connection, Session(connection) as alone:
        expected = search_voxels(alone, "face", k=30)
    assert engine.pool.checkedin() == 1
    with open_session() as session:
        answer = search_voxels(session, "face", k=30)
    assert answer == expected
    assert engine.pool.checkedin() == 2
    assert {each.dataset for each in answer.voxels} == {own_published.dataset, "lab-b"}
    assert answer.exact != indexed


def test_datasets_of_several_encoders_are_not_compared(
    session: Session, shared_catalog: SharedCatalog, published: Published
) -> None:
    other = publish_other(session, shared_catalog, "lab-c", dimension=8, seed=3)
    with pytest.raises(InputError, match="several encoders") as raised:
        search_voxels(session, "face")
    assert other.encoder in (raised.value.hint or "")
    alone = search_voxels(session, "face", dataset="lab-c", k=EVERY)
    assert (alone.encoder, {each.run for each in alone.voxels}) == (other.encoder, {other.run})
    encoder = load_encoder(f"vectors:{shared_catalog.home / 'lab-c.csv'}")
    row = session.scalars(select(models.Encoder).where(models.Encoder.name == other.encoder)).one()
    asked = centre(encoder.encode_texts(["face"]), row.text_mean)[0]
    direction = sum_of_directions(session, row, ["face"]).vector
    np.testing.assert_allclose(asked, direction, atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"k": 0}, InputError, "k is 0"),
        ({"text": " "}, InputError, "the prompt is empty"),
        ({"atlas": ATLAS}, ConflictError, "one of them is missing"),
        ({"region": "EBA"}, ConflictError, "one of them is missing"),
        ({"subject": "nobody"}, NotFoundError, "the dataset lab-a has no subject 'nobody'"),
        ({"atlas": ATLAS, "region": "V9"}, NotFoundError, "V9"),
        ({"dataset": "lab-x"}, NotFoundError, "no dataset 'lab-x'"),
        ({"run": 99}, NotFoundError, "there is no run 99"),
    ],
)
def test_bad_questions(
    session: Session, asked: dict[str, object], error: type[CatalogError], message: str
) -> None:
    with pytest.raises(error, match=message):
        search_voxels(session, **({"text": "face"} | asked))  # type: ignore[arg-type]


def test_a_run_without_vectors_of_voxels(own_session: Session, own_published: Published) -> None:
    """As one whose decoders are no linear ones."""
    own_session.execute(delete(models.VoxelVector))
    with pytest.raises(NotFoundError, match="no voxel that was asked for has a vector"):
        search_voxels(own_session, "face")


def test_nobody_of_several_datasets_has_the_participant(
    session: Session, shared_catalog: SharedCatalog
) -> None:
    publish_other(session, shared_catalog, "lab-b")
    message = "no dataset has the subject 'nobody' and the region floc:V9"
    with pytest.raises(NotFoundError, match=message):
        search_voxels(session, "face", subject="nobody", atlas=ATLAS, region="V9")


@pytest.mark.parametrize("length", [0.5, 2.0, 0.0, float("nan")])
def test_a_vector_of_another_length_is_refused(
    own_session: Session, own_published: Published, length: float
) -> None:
    own_session.execute(delete(models.VoxelVector))
    vector = np.zeros((1, 8), dtype=np.float32)
    vector[0, 0] = length
    with pytest.raises(DatabaseError, match=r"ck_voxel_vector_unit|NaN not allowed"):
        copy_rows(
            own_session,
            models.VoxelVector,
            {
                "run_id": own_published.run,
                "subject_id": own_published.subjects["subj01"],
                "index": [0],
                "encoder_id": own_session.get_one(models.Run, own_published.run).encoder_id,
                "vector": vector,
            },
        )
