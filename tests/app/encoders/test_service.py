from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.database.models import Encoder, Term
from app.embedding import load_encoder
from app.embedding.centring import centre
from app.embedding.vocabulary import load_vocabulary
from app.encoders.service import choose_encoders, nearest_terms, register_encoder, require_encoder
from app.encoders.stored import absolute_spec
from app.errors import ConflictError, InputError, NotFoundError
from app.search.service import search
from tests.app.conftest import Counts
from tests.app.published import CONCEPTS, Published, write_table


def test_a_table_brings_its_names_and_their_mean(own_session: Session, own_table: Path) -> None:
    encoder = load_encoder(f"vectors:{own_table}")
    steps: list[tuple[int, int]] = []
    row = register_encoder(
        own_session,
        encoder,
        encoder.spec,
        on_progress=lambda done, total: steps.append((done, total)),
    )
    own_session.commit()
    terms = own_session.scalars(select(Term).where(Term.encoder_id == row.id)).all()
    names = [line.partition(",")[0] for line in own_table.read_text().splitlines()[1:]]
    assert sorted(term.text for term in terms) == sorted(names)
    assert all(term.in_vocabulary and term.template == "{}" for term in terms)
    rows = np.array([term.vector for term in terms])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(row.text_mean, rows.mean(axis=0), atol=1e-6)
    assert (row.name, row.dimension, row.checksum) == (encoder.name, 8, encoder.checksum)
    assert steps[-1] == (len(names), len(names))


def test_a_name_that_occurs_twice_is_one_term(own_session: Session, tmp_path: Path) -> None:
    table = tmp_path / "twice.csv"
    table.write_text("name,0,1\ndog,1,0\n dog ,0,1\n ,1,1\ncat,0,1\n")
    row = register_encoder(own_session, load_encoder(f"vectors:{table}"), f"vectors:{table}")
    terms = dict(own_session.execute(select(Term.text, Term.vector)).all())
    assert {name: list(map(float, vector)) for name, vector in terms.items()} == {
        "dog": [1, 0],
        "cat": [0, 1],
    }
    np.testing.assert_allclose(row.text_mean, [0.5, 0.5])


def test_registering_again_finds_the_row(
    own_session: Session, own_table: Path, count_rows: Callable[[], Counts], tmp_path: Path
) -> None:
    first = register_encoder(own_session, load_encoder(f"vectors:{own_table}"), "vectors:words")
    own_session.commit()
    before = count_rows()
    moved = tmp_path / "elsewhere" / "words.csv"
    moved.parent.mkdir()
    moved.write_bytes(own_table.read_bytes())
    again = register_encoder(own_session, load_encoder(f"vectors:{moved}"), f"vectors:{moved}")
    own_session.commit()
    assert again.id == first.id
    assert again.spec == f"vectors:{moved}"
    assert count_rows() == before


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("checksum", "f" * 64, "weights"), ("dimension", 9, "dimension")],
)
def test_a_known_name_with_other_weights_or_dimension_is_refused(
    own_session: Session,
    own_table: Path,
    count_rows: Callable[[], Counts],
    column: str,
    value: object,
    said: str,
) -> None:
    encoder = load_encoder(f"vectors:{own_table}")
    register_encoder(own_session, encoder, encoder.spec)
    own_session.commit()
    before, stored = count_rows(), own_session.scalar(select(Encoder.text_mean))
    setattr(encoder, column, value)
    with pytest.raises(ConflictError, match=f"{said} {value}, not ") as caught:
        register_encoder(own_session, encoder, encoder.spec)
    own_session.commit()
    assert encoder.name in caught.value.message
    assert count_rows() == before
    own_session.expire_all()
    assert list(own_session.scalar(select(Encoder.text_mean))) == list(stored)


def test_paths_are_stored_absolute(
    own_session: Session, own_table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own_table.parent)
    spec = f"vectors:{own_table.name}"
    row = register_encoder(own_session, load_encoder(spec), spec)
    assert row.spec == f"vectors:{own_table}"
    (own_table.parent / "openai").touch()
    checkpoint = own_table.parent / "weights.pt"
    checkpoint.touch()
    assert absolute_spec("open_clip:ViT-B-32:openai") == "open_clip:ViT-B-32:openai"
    assert absolute_spec("open_clip:ViT-B-32:weights.pt") == f"open_clip:ViT-B-32:{checkpoint}"
    assert absolute_spec("caption:all-MiniLM-L6-v2") == "caption:all-MiniLM-L6-v2"


def test_nearest_terms_agree_with_the_sql_function(session: Session, published: Published) -> None:
    row = require_encoder(session, published.encoder)
    ids = list(published.components.values())
    vectors = np.array(
        session.execute(text("SELECT vector::real[] FROM catalog.component ORDER BY id"))
        .scalars()
        .all()
    )
    told = nearest_terms(session, vectors, row, 4)
    for component, terms in zip(ids, told, strict=True):
        query = text("SELECT term FROM catalog.nearest_terms(:id, 4)")
        assert terms == list(session.scalars(query, {"id": component}))
    assert [terms[0] for terms in told] == list(CONCEPTS)


def test_nearest_terms_take_the_mean_off(session: Session, published: Published) -> None:
    row = require_encoder(session, published.encoder)
    mean = np.array(row.text_mean)
    table = {
        name: np.array(vector) for name, vector in session.execute(select(Term.text, Term.vector))
    }
    probe = np.random.default_rng(1).standard_normal((5, 8)) + 2 * mean
    for vector, terms in zip(probe, nearest_terms(session, probe, row, 18), strict=True):
        scores = {name: centre(each[None], mean)[0] @ vector for name, each in table.items()}
        assert terms == sorted(scores, key=lambda name: -scores[name])
        assert terms != sorted(table, key=lambda name: -(table[name] @ vector))


def test_real_clip_words_lie_on_a_cone_and_are_found_off_it(
    own_session: Session, real_data: Path
) -> None:
    spec = f"vectors:{real_data / 'clip_text_vit_b32' / 'clip_text_vit_b32.npz'}"
    encoder = load_encoder(spec)
    row = register_encoder(own_session, encoder, spec)
    assert own_session.scalar(select(func.count(Term.id))) == 445
    assert np.linalg.norm(row.text_mean) > 0.8
    words = ["dog", "airplane", "pizza"]
    found = nearest_terms(own_session, centre(encoder.encode_texts(words), row.text_mean), row, 3)
    assert [terms[0] for terms in found] == words


def test_the_caption_encoder_answers_in_words_of_the_vocabulary(
    own_session: Session, count_rows: Callable[[], Counts]
) -> None:
    spec = "caption:all-MiniLM-L6-v2"
    encoder = load_encoder(spec)
    row = register_encoder(own_session, encoder, spec)
    assert own_session.scalar(select(func.count(Term.id))) == len(load_vocabulary())
    asked = ["a puppy plays in the garden", "a plane takes off"]
    found = nearest_terms(own_session, centre(encoder.encode_texts(asked), row.text_mean), row, 5)
    assert any("dog" in term or "puppy" in term for term in found[0])
    assert any("plane" in term for term in found[1])


def test_choice(session: Session, published: Published) -> None:
    (row,) = choose_encoders(session)
    assert row.name == published.encoder
    assert choose_encoders(session, dataset="lab-a") == [row]
    assert choose_encoders(session, encoder=published.encoder) == [row]
    assert choose_encoders(session, encoder=row.spec) == [row]
    with pytest.raises(InputError, match="both a dataset and an encoder"):
        choose_encoders(session, "lab-a", published.encoder)
    with pytest.raises(NotFoundError, match="no encoder 'nobody'") as caught:
        choose_encoders(session, encoder="nobody")
    assert published.encoder in caught.value.hint


def test_an_unpublished_catalog_has_no_encoder_in_use(own_session: Session) -> None:
    with pytest.raises(NotFoundError, match="no encoder is in use"):
        choose_encoders(own_session)


def test_a_changed_table_is_another_encoder(
    own_published: Published, own_session: Session, own_table: Path
) -> None:
    write_table(own_table, seed=3)
    encoder = load_encoder(f"vectors:{own_table}")
    row = register_encoder(own_session, encoder, encoder.spec)
    assert row.name != own_published.encoder
    assert search(own_session, "face").encoder == own_published.encoder
