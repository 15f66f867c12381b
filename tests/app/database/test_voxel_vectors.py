"""What the database itself holds of voxels' vectors: whose they are, and when they go."""

from collections.abc import Callable

import numpy as np
import pytest
from psycopg.errors import CheckViolation, ForeignKeyViolation
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.database.copying import copy_rows
from app.database.engine import open_session
from app.database.models import Dataset, Decoder, Encoder, Run, Subject, Voxel, VoxelVector
from tests.app.conftest import Counts
from tests.app.published import CONCEPTS, REGIONS, SUBJECTS, VOXELS_A_REGION, Published

VOXELS = len(REGIONS) * VOXELS_A_REGION


def write(session: Session, published: Published, index: list[int], **columns: object) -> None:
    """Write vectors as if the first participant had none yet."""
    run = session.get_one(Run, published.run)
    session.execute(delete(VoxelVector))
    own = {
        "run_id": run.id,
        "subject_id": published.subjects["subj01"],
        "index": index,
        "encoder_id": run.encoder_id,
        "vector": np.full((len(index), 8), 8**-0.5),
    }
    copy_rows(session, VoxelVector, own | columns)


def add_encoder(session: Session) -> int:
    encoder = Encoder(
        name="other", spec="other", dimension=8, checksum="", sees_images=False, text_mean=[0] * 8
    )
    session.add(encoder)
    session.flush()
    return encoder.id


def count(session: Session, *where: object) -> int:
    return session.scalar(select(func.count()).select_from(VoxelVector).where(*where)) or 0


def test_vectors_of_voxels_are_taken(own_session: Session, own_published: Published) -> None:
    vectors = np.array([[0.5, -2, 1e-4, 1 / 3, 0, 1, 2, 3], np.arange(8)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    write(own_session, own_published, [VOXELS - 1, 0], vector=vectors)
    stored = own_session.scalars(select(VoxelVector).order_by(VoxelVector.index.desc())).all()
    assert [row.index for row in stored] == [VOXELS - 1, 0]
    found = np.array([row.vector for row in stored])
    np.testing.assert_array_equal(found, vectors.astype(np.float16))


def test_a_vector_without_its_voxel_is_refused(
    own_session: Session, own_published: Published, count_rows: Callable[[], Counts]
) -> None:
    before, subject = count_rows(), own_published.subjects["subj01"]
    # One stray in a statement of good rows.
    message = f"voxel {VOXELS} of subject {subject}, which does not exist"
    with pytest.raises(ForeignKeyViolation, match=message):
        write(own_session, own_published, [0, VOXELS, 1])
    own_session.rollback()
    assert count_rows() == before


def test_another_participants_voxel_of_that_index_does_not_count(
    own_session: Session, own_published: Published, count_rows: Callable[[], Counts]
) -> None:
    before, subject = count_rows(), own_published.subjects["subj02"]
    own_session.execute(delete(Voxel).where(Voxel.subject_id == subject, Voxel.index == VOXELS - 1))
    with pytest.raises(ForeignKeyViolation, match=f"voxel {VOXELS - 1} of subject {subject}"):
        write(own_session, own_published, [VOXELS - 1], subject_id=subject)
    own_session.rollback()
    assert count_rows() == before


def test_a_vector_without_its_decoder_is_refused(
    own_session: Session, own_published: Published, count_rows: Callable[[], Counts]
) -> None:
    before, subject = count_rows(), own_published.subjects["subj01"]
    own_session.execute(delete(Decoder).where(Decoder.subject_id == subject))
    with pytest.raises(ForeignKeyViolation, match=r"a decoder of run .*which does not exist"):
        write(own_session, own_published, [0])
    own_session.rollback()
    assert count_rows() == before


def test_a_vector_of_another_encoder_than_its_decoders_is_refused(
    own_session: Session, own_published: Published, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    other = add_encoder(own_session)
    with pytest.raises(ForeignKeyViolation, match=f"encoder {other}, which does not exist"):
        write(own_session, own_published, [0], encoder_id=other)
    own_session.rollback()
    assert count_rows() == before


def test_a_decoder_keeps_run_subject_and_encoder(
    own_session: Session, own_published: Published, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    other = add_encoder(own_session)
    own_session.execute(delete(VoxelVector))
    with pytest.raises(IntegrityError, match="stay as they are"):
        own_session.execute(update(Decoder).values(encoder_id=other))
    own_session.rollback()
    assert count_rows() == before


def test_a_voxel_vector_of_another_dimension_is_refused(
    own_session: Session, own_published: Published, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    with pytest.raises(CheckViolation, match="3 dimensions cannot belong to encoder"):
        write(own_session, own_published, [0], vector=np.eye(3)[:1])
    own_session.rollback()
    assert count_rows() == before


def test_a_change_is_checked_as_well(
    own_session: Session, own_published: Published, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    other = add_encoder(own_session)
    with pytest.raises(IntegrityError, match=f"encoder {other}, which does not exist"):
        own_session.execute(update(VoxelVector).values(encoder_id=other))
    own_session.rollback()
    with pytest.raises(IntegrityError, match="3 dimensions cannot belong to encoder"):
        own_session.execute(update(VoxelVector).values(vector=np.eye(3)[0]))
    own_session.rollback()
    assert count_rows() == before


def test_a_decoder_cannot_go_before_its_new_vectors_are_committed(
    own_session: Session, own_published: Published
) -> None:
    # Without rows of before, whose removal would wait for each other.
    own_session.execute(delete(VoxelVector))
    own_session.commit()
    write(own_session, own_published, [0])
    with open_session() as other:
        other.execute(text("SET LOCAL lock_timeout = '100ms'"))
        with pytest.raises(OperationalError, match="lock timeout"):
            other.execute(delete(Decoder))


def test_a_participants_vectors_go_with_it_and_the_others_stay(
    own_session: Session, own_published: Published
) -> None:
    gone, left = (own_published.subjects[label] for label in SUBJECTS)
    own_session.execute(delete(Subject).where(Subject.id == gone))
    assert count(own_session) == count(own_session, VoxelVector.subject_id == left) == VOXELS


def test_a_runs_vectors_go_with_it_and_the_voxels_stay(
    own_session: Session, own_published: Published
) -> None:
    own_session.execute(delete(Run).where(Run.id == own_published.run))
    assert count(own_session) == 0
    assert own_session.scalar(select(func.count(Voxel.id))) == 2 * VOXELS


def test_a_datasets_vectors_go_with_it(own_session: Session, own_published: Published) -> None:
    own_session.execute(delete(Dataset))
    assert count(own_session) == 0


def test_a_voxels_vectors_go_with_it(own_session: Session, own_published: Published) -> None:
    subject = own_published.subjects["subj02"]
    own_session.execute(delete(Voxel).where(Voxel.subject_id == subject, Voxel.index.in_([3, 4])))
    assert count(own_session) == 2 * VOXELS - 2
    assert count(own_session, VoxelVector.subject_id == subject, VoxelVector.index.in_([3, 4])) == 0


@pytest.mark.parametrize("word", CONCEPTS)
def test_the_sql_function_finds_the_voxels_of_a_word(
    session: Session, published: Published, word: str
) -> None:
    number = VOXELS_A_REGION * len(SUBJECTS)
    rows = session.execute(
        text("SELECT * FROM catalog.search_voxels(:word, :k)"), {"word": word, "k": number}
    ).all()
    place = CONCEPTS.index(word)
    expected = session.execute(
        select(Voxel.id, Subject.label, Voxel.y)
        .join(Subject, Subject.id == Voxel.subject_id)
        .where(Voxel.i == place)
        .order_by(Voxel.id)
    ).all()
    assert [(row.voxel_id, row.subject, row.y) for row in rows] == list(map(tuple, expected))
    assert len(rows) == number
