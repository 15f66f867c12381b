from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.database.engine import open_session
from app.database.models import Encoder, Term
from app.errors import CatalogError, ConflictError, InputError, NotFoundError
from app.settings import get_settings
from app.store import ArtefactStore
from app.terms.prompts import ensure_prompts
from app.terms.service import add_terms, build_vocabulary
from tests.app.conftest import Counts
from tests.app.published import Published, publish, write_table

SEARCH = text("SELECT component_id FROM catalog.search_concepts(:prompt, 1)")


def test_added_terms_can_be_asked_in_sql(session: Session, published: Published) -> None:
    report = add_terms(
        session, ["a photo of a dog", " the sign ", "a photo of a dog"], actor="a test"
    )
    assert [each.model_dump(exclude={"seconds"}) for each in report.encoders] == [
        {"encoder": published.encoder, "added": 2, "known": 0, "warnings": []}
    ]
    assert session.scalar(SEARCH, {"prompt": "the sign"}) == published.components["letter"]
    again = add_terms(session, ["a photo of a dog", "face"], actor="a test")
    assert [(each.added, each.known) for each in again.encoders] == [(0, 2)]


def test_the_error_of_the_sql_function_names_the_command_that_helps(
    session: Session, published: Published
) -> None:
    with pytest.raises(Exception, match="has no vector yet") as caught:
        session.scalar(SEARCH, {"prompt": "a photo of it's dog"})
    assert "sdc terms add 'a photo of it''s dog'" in str(caught.value)


def test_without_a_choice_every_encoder_in_use_gets_the_text(
    session: Session, published: Published, store: ArtefactStore, tmp_path: Path
) -> None:
    other = write_table(tmp_path / "other.csv", dimension=12, seed=5)
    second = publish(session, f"vectors:{other}", store, slug="lab-b")
    report = add_terms(session, ["the dog"], actor="a test")
    assert [each.encoder for each in report.encoders] == sorted([published.encoder, second.encoder])
    assert (
        add_terms(session, ["the face"], dataset="lab-b", actor="a test").encoders[0].encoder
        == second.encoder
    )
    counts = session.execute(
        select(Term.text, func.count())
        .where(Term.text.in_(["the dog", "the face"]))
        .group_by(Term.text)
    )
    assert dict(counts.all()) == {"the dog": 2, "the face": 1}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"texts": []}, InputError, "no text"),
        ({"texts": ["the face", " "]}, InputError, "text 2 is empty"),
        ({"texts": ["the face", "x" * 1001]}, InputError, "text 2 has 1001 characters"),
        ({"texts": ["the face", "quasar"]}, NotFoundError, "no vector for 'quasar'"),
        ({"texts": ["the face"], "dataset": "lab-z"}, NotFoundError, "no dataset 'lab-z'"),
        ({"texts": ["the face"], "encoder": "lab-z"}, NotFoundError, "no encoder 'lab-z'"),
    ],
)
def test_all_or_nothing(
    session: Session,
    published: Published,
    count_rows: Callable[[], Counts],
    options: dict[str, object],
    error: type[CatalogError],
    message: str,
) -> None:
    before = count_rows()
    with pytest.raises(error, match=message):
        add_terms(session, **options, actor="a test")
    session.commit()
    assert count_rows() == before


def test_building_again_adds_what_is_missing_and_keeps_the_mean(
    own_session: Session, own_published: Published
) -> None:
    encoder = own_session.scalar(select(Encoder))
    mean = list(encoder.text_mean)
    own_session.execute(text("DELETE FROM catalog.term WHERE text IN ('dog', 'pizza')"))
    add_terms(own_session, ["pizza"], actor="a test")
    report = build_vocabulary(own_session)
    assert [(each.added, each.known) for each in report.encoders] == [(2, 16)]
    assert [(each.added, each.known) for each in build_vocabulary(own_session).encoders] == [
        (0, 18)
    ]
    own_session.expire_all()
    assert own_session.scalar(select(func.count(Term.id)).where(Term.in_vocabulary)) == 18
    assert list(own_session.scalar(select(Encoder.text_mean))) == mean


def test_building_for_a_new_encoder_registers_it(
    own_session: Session, catalog: Path, own_table: Path
) -> None:
    steps: list[tuple[int, int]] = []
    report = build_vocabulary(
        own_session,
        encoder=f"vectors:{own_table}",
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert [(each.added, each.known) for each in report.encoders] == [(18, 0)]
    assert steps[-1] == (18, 18)
    again = build_vocabulary(own_session, encoder=f"vectors:{own_table}")
    assert [(each.added, each.known) for each in again.encoders] == [(0, 18)]


def test_building_refuses_other_weights(
    own_session: Session,
    own_published: Published,
    own_table: Path,
    count_rows: Callable[[], Counts],
) -> None:
    before = count_rows()
    write_table(own_table, seed=4)
    with pytest.raises(ConflictError, match="weights"):
        build_vocabulary(own_session)
    own_session.commit()
    assert count_rows() == before


def test_building_an_encoder_of_no_known_form(
    own_session: Session, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    with pytest.raises(InputError, match="unknown encoder 'word2vec'"):
        build_vocabulary(own_session, encoder="word2vec")
    own_session.commit()
    assert count_rows() == before


def test_two_who_ask_the_same_at_once_store_it_once(
    own_session: Session, own_published: Published
) -> None:
    encoder = own_session.scalar(select(Encoder))
    assert get_settings().home.is_dir()
    with open_session() as other, other.begin():
        ensure_prompts(other, encoder, ["the dog"])
        missing = own_session.scalar(select(Term.id).where(Term.text == "the dog"))
        assert missing is None
    with own_session.begin_nested():
        assert ensure_prompts(own_session, encoder, ["the dog"]).added == 0
    own_session.commit()
    assert own_session.scalar(select(func.count()).where(Term.text == "the dog")) == 1
