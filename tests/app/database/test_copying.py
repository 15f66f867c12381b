from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, delete, func, select, text
from sqlalchemy.orm import Session

from app.database import copying
from app.database.copying import copy_rows, read_rows
from app.database.models import (
    Component,
    ComponentMap,
    Dataset,
    Encoder,
    Subject,
    Term,
    Voxel,
)
from app.store import ArtefactStore
from tests.app.published import publish, write_table


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    session = Session(engine)
    dataset = Dataset(
        slug="d",
        title="",
        layout="",
        source_uri="",
        licence="",
        citation="",
        fingerprint="",
        configuration={},
    )
    encoder = Encoder(
        name="e", spec="e", dimension=3, checksum="", sees_images=False, text_mean=np.zeros(3)
    )
    session.add_all([dataset, encoder])
    session.flush()
    session.add(
        Subject(
            dataset_id=dataset.id,
            label="s",
            grid=[1, 1, 1],
            affine=[0.0] * 16,
            n_trials=0,
            n_sessions=0,
            report={},
            artefacts={},
        )
    )
    session.flush()
    yield session
    session.close()


def test_values_of_all_kinds_come_back(session: Session) -> None:
    subject = session.scalar(select(Subject.id))
    written = copy_rows(
        session,
        Voxel,
        {
            "subject_id": subject,
            "index": np.arange(3),
            "i": np.array([1, 2, 3]),
            "j": 7,
            "k": [4, 5, 6],
            "x": np.array([0.5, -1.5, 2.5]),
            "y": 0.0,
            "z": 1,
            "mni_x": [None, 1.0, 2.0],
            "noise_ceiling": None,
        },
    )
    assert written == 3
    rows = session.scalars(select(Voxel).order_by(Voxel.index)).all()
    assert [(v.i, v.j, v.k, v.x, v.y, v.z, v.mni_x, v.noise_ceiling) for v in rows] == [
        (1, 7, 4, 0.5, 0.0, 1.0, None, None),
        (2, 7, 5, -1.5, 0.0, 1.0, 1.0, None),
        (3, 7, 6, 2.5, 0.0, 1.0, 2.0, None),
    ]


def test_vectors_come_back(session: Session) -> None:
    encoder = session.scalar(select(Encoder.id))
    vectors = np.array([[1, 2, 3], [-4, 5.5, 6]], dtype=np.float64)
    copy_rows(session, Term, {"encoder_id": encoder, "text": ["a", "b"], "vector": vectors})
    stored = session.scalars(select(Term.vector).order_by(Term.text)).all()
    np.testing.assert_array_equal(np.array(stored), vectors)


def test_every_vector_comes_back_with_its_row(session: Session) -> None:
    encoder = session.scalar(select(Encoder.id))
    number = 2 * copying._Vectors.BLOCK + 1
    texts = [f"{row:04}" for row in range(number)]
    vectors = np.arange(3 * number).reshape(number, 3)
    copy_rows(session, Term, {"encoder_id": encoder, "text": texts, "vector": vectors})
    stored = session.execute(select(Term.text, Term.vector).order_by(Term.id)).all()
    assert [row.text for row in stored] == texts
    np.testing.assert_array_equal([row.vector for row in stored], vectors)


def test_columns_of_different_length_write_nothing(session: Session) -> None:
    encoder = session.scalar(select(Encoder.id))
    with pytest.raises(ValueError, match=r"term differ in length: \[1, 2\]"):
        copy_rows(session, Term, {"encoder_id": encoder, "text": ["a"], "vector": np.ones((2, 3))})
    assert session.scalars(select(Term.id)).all() == []


def test_rows_are_the_sessions_transaction(session: Session) -> None:
    encoder = session.scalar(select(Encoder.id))
    copy_rows(session, Term, {"encoder_id": encoder, "text": ["a"], "vector": np.ones((1, 3))})
    session.rollback()
    assert session.scalars(select(Term.id)).all() == []


def test_rows_that_are_read_are_those_that_were_written(session: Session) -> None:
    subject = session.scalar(select(Subject.id))
    random = np.random.default_rng(0)
    places = random.standard_normal((500, 3)).astype(np.float32)
    index = random.permutation(500)
    columns = {axis: places[:, n] for n, axis in enumerate("xyz")}
    copy_rows(
        session, Voxel, {"subject_id": subject, "index": index, **dict.fromkeys("ijk", 0)} | columns
    )
    session.add(Voxel(subject_id=subject, index=500, i=-3, j=2, k=1, x=1, y=2, z=3, kept=False))
    kinds = {"id": "i8", "index": "i4", "i": "i4", "x": "f4", "z": "f4", "kept": "?"}
    query = select(*(getattr(Voxel, name) for name in kinds)).order_by(Voxel.index)
    rows = read_rows(session, query, kinds)
    expected = np.array([tuple(row) for row in session.execute(query)], dtype=np.float32)
    for column, name in enumerate(kinds):
        np.testing.assert_array_equal(rows[name], expected[:, column])
    np.testing.assert_array_equal(rows["x"][index], places[:, 0])
    assert rows["i"][-1] == -3
    assert not rows["kept"][-1]
    assert len(read_rows(session, query.where(Voxel.index < 0), kinds)) == 0


@pytest.mark.parametrize(
    ("column", "kind"), [("index", "i8"), ("noise_ceiling", "f4"), ("x", "f8")]
)
def test_rows_of_another_size_are_refused(session: Session, column: str, kind: str) -> None:
    subject = session.scalar(select(Subject.id))
    # Seven rows of four bytes each are as long as five of eight.
    copy_rows(
        session,
        Voxel,
        {"subject_id": subject, "index": np.arange(7), **dict.fromkeys("ijkxyz", 0)},
    )
    with pytest.raises(ValueError, match="null"):
        read_rows(session, select(getattr(Voxel, column)), {column: kind})


def test_arrays_of_numbers_come_back(engine: Engine, tmp_path: Path) -> None:
    """As PostgreSQL reads them itself, with none, one and many elements, and a null column."""
    with Session(engine) as session:
        store = ArtefactStore(str(tmp_path / "store"))
        words = write_table(tmp_path / "words.csv")
        publish(session, f"vectors:{words}", store)
        session.execute(delete(ComponentMap))
        ids = session.scalars(select(Component.id).order_by(Component.id)).all()
        subject = session.scalar(select(func.min(Subject.id)))
        for component, size in zip(ids, (0, 1, 3), strict=False):
            voxels = 2**40 + np.arange(size)
            weight = np.array([-0.1, np.inf, 3.4e38], np.float32)[:size]
            written = copy_rows(
                session,
                ComponentMap,
                {
                    "component_id": [component],
                    "subject_id": subject,
                    "voxel_id": voxels[None],
                    "weight": weight[None],
                    "needed": None,
                    "pattern": weight[None].astype(float),
                },
            )
            found = session.get_one(ComponentMap, (component, subject))
            assert (written, found.voxel_id, found.needed) == (1, voxels.tolist(), None)
            np.testing.assert_array_equal(np.float32(found.weight), weight)
            assert found.pattern == found.weight
            lengths = session.execute(
                text(
                    "SELECT cardinality(weight), array_ndims(voxel_id) FROM catalog.component_map"
                    " WHERE component_id = :id"
                ),
                {"id": component},
            ).one()
            assert tuple(lengths) == (size, 1 if size else None)
