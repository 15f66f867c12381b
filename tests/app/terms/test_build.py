"""Building the large vocabulary: what is added, embedded once, and kept where it is interrupted."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.database.models import Encoder, Term
from app.embedding.encoder import unit_rows
from app.embedding.text_reading import TextReading
from app.embedding.vocabulary import load_vocabulary
from app.encoders.service import nearest_terms, register_encoder
from app.terms import service, vocabulary
from app.terms.prompts import ensure_prompts
from app.terms.service import add_terms, build_vocabulary
from tests.app.conftest import Counts
from tests.app.published import Published

SPEC = "letters:24"
EVERYDAY = ["dog", *(f"gadget {index:03d}" for index in range(600))]


class Letters:
    """An encoder of how often a text holds each letter, which can run out of luck."""

    name = spec = SPEC
    dimension = 24
    checksum = "c" * 64
    sees_images = False

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.calls_left = 1000

    def read_text(self, text: str, template: str = "{}") -> TextReading:
        return TextReading(tokens=1, tokens_read=1)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise KeyboardInterrupt
        self.asked += texts
        counts = np.ones((len(texts), self.dimension), np.float32)
        for row, each in enumerate(texts):
            np.add.at(counts[row], [ord(letter) % self.dimension for letter in each], 1)
        return unit_rows(counts)


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Letters:
    model = Letters()
    monkeypatch.setattr(service, "load_encoder", lambda spec, device: model)
    monkeypatch.setattr(service, "load_stored_encoder", lambda row: model)
    monkeypatch.setattr(vocabulary, "load_everyday_terms", lambda: list(EVERYDAY))
    return model


@pytest.fixture
def registered(own_session: Session, letters: Letters) -> Encoder:
    """The encoder as a published run leaves it: with the words that label, and no more."""
    row = register_encoder(own_session, letters, SPEC)
    own_session.commit()
    letters.asked.clear()
    return row


def stored_words(session: Session) -> set[str]:
    return set(session.scalars(select(Term.text).where(Term.in_vocabulary)))


def test_a_build_adds_the_everyday_terms_and_keeps_the_mean(
    own_session: Session, letters: Letters, registered: Encoder, count_rows: Callable[[], Counts]
) -> None:
    words, mean = load_vocabulary(), list(registered.text_mean)
    (told,) = build_vocabulary(own_session, encoder=SPEC).encoders
    own_session.commit()
    assert (told.encoder, told.added, told.known) == (SPEC, 600, len(words))
    assert told.seconds >= 0
    assert stored_words(own_session) == {*words, *EVERYDAY}
    assert letters.asked == EVERYDAY[1:]
    own_session.expire_all()
    assert list(own_session.scalar(select(Encoder.text_mean))) == mean
    before = count_rows()
    (again,) = build_vocabulary(own_session, encoder=SPEC).encoders
    own_session.commit()
    assert (again.added, again.known) == (0, len(words) + 600)
    assert len(letters.asked) == 600
    assert count_rows() == before


def test_a_build_of_a_new_encoder_gives_it_the_mean_that_a_run_would(
    own_session: Session, letters: Letters
) -> None:
    committed: list[int] = []
    (told,) = build_vocabulary(
        own_session, encoder=SPEC, on_batch=lambda: committed.append(len(letters.asked))
    ).encoders
    words = load_vocabulary()
    assert (told.added, told.known) == (len(words) + 600, 0)
    assert committed == [len(words), *(len(words) + done for done in (256, 512, 600))]
    own_session.expire_all()
    mean = letters.encode_texts(words).mean(axis=0)
    np.testing.assert_allclose(own_session.scalar(select(Encoder.text_mean)), mean, atol=1e-6)


def test_an_interrupted_build_goes_on_where_its_last_batch_was_kept(
    own_session: Session, letters: Letters, registered: Encoder
) -> None:
    letters.calls_left = 1
    with pytest.raises(KeyboardInterrupt):
        build_vocabulary(own_session, encoder=SPEC, on_batch=own_session.commit)
    own_session.rollback()
    assert stored_words(own_session) == {*load_vocabulary(), *EVERYDAY[:257]}
    letters.calls_left = 1000
    (told,) = build_vocabulary(own_session, encoder=SPEC, on_batch=own_session.commit).encoders
    assert (told.added, told.known) == (600 - 256, len(load_vocabulary()) + 256)
    assert letters.asked == EVERYDAY[1:]
    assert stored_words(own_session) == {*load_vocabulary(), *EVERYDAY}


def test_an_interrupted_build_of_a_new_encoder_goes_on(
    own_session: Session, letters: Letters
) -> None:
    first = -(-len(load_vocabulary()) // vocabulary.BATCH)
    letters.calls_left = first + 2
    with pytest.raises(KeyboardInterrupt):
        build_vocabulary(own_session, encoder=SPEC, on_batch=own_session.commit)
    own_session.rollback()
    letters.calls_left = 1000
    (told,) = build_vocabulary(own_session, encoder=SPEC, on_batch=own_session.commit).encoders
    assert (told.added, told.known) == (600 - 512, len(load_vocabulary()) + 512)
    assert sorted(letters.asked) == sorted({*load_vocabulary(), *EVERYDAY})


def test_where_nobody_commits_on_the_way_an_interrupted_build_leaves_nothing(
    own_session: Session,
    letters: Letters,
    registered: Encoder,
    count_rows: Callable[[], Counts],
) -> None:
    before = count_rows()
    letters.calls_left = 2
    with pytest.raises(KeyboardInterrupt):
        build_vocabulary(own_session, encoder=SPEC)
    own_session.rollback()
    assert count_rows() == before


def test_a_prompt_asked_before_keeps_its_vector(
    own_session: Session, letters: Letters, registered: Encoder
) -> None:
    ensure_prompts(own_session, registered, ["gadget 007"], ("{}", "a photo of {}"), model=letters)
    own_session.execute(
        text("UPDATE catalog.term SET vector = :v WHERE text = 'gadget 007' AND template = '{}'"),
        {"v": str([1.0, *[0.0] * 23])},
    )
    letters.asked.clear()
    (told,) = build_vocabulary(own_session, encoder=SPEC).encoders
    assert told.added == 600
    assert "gadget 007" not in letters.asked
    rows = own_session.execute(
        select(Term.template, Term.in_vocabulary, Term.vector)
        .where(Term.text == "gadget 007")
        .order_by(Term.template)
    ).all()
    assert [(row.template, row.in_vocabulary) for row in rows] == [
        ("a photo of {}", False),
        ("{}", True),
    ]
    assert list(rows[1].vector) == [1.0, *[0.0] * 23]


def test_what_was_built_is_a_prompt_that_needs_no_encoder(
    own_session: Session, letters: Letters, registered: Encoder
) -> None:
    build_vocabulary(own_session, encoder=SPEC)
    letters.asked.clear()
    (told,) = add_terms(own_session, ["gadget 100", "dog"], actor="a test", encoder=SPEC).encoders
    assert (told.added, told.known) == (0, 2)
    ensure_prompts(own_session, registered, ["a new one"], model=letters)
    ensure_prompts(own_session, registered, ["a new one"], model=letters)
    assert letters.asked == ["a new one"]


def test_the_nearest_terms_draw_on_what_was_built_and_labels_do_not(
    own_session: Session, letters: Letters, registered: Encoder
) -> None:
    words = vocabulary.vocabulary_of(letters)
    asked = letters.encode_texts(["gadget 123"]) - np.array(registered.text_mean)
    before = nearest_terms(own_session, asked, registered, 5, among=words)
    assert nearest_terms(own_session, asked, registered, 5) == before
    build_vocabulary(own_session, encoder=SPEC)
    (nearest,) = nearest_terms(own_session, asked, registered, 5)
    assert "gadget 123" in nearest
    assert nearest_terms(own_session, asked, registered, 5, among=words) == before


def test_a_table_has_its_own_names_alone(own_session: Session, own_published: Published) -> None:
    (told,) = build_vocabulary(own_session).encoders
    assert (told.added, told.known) == (0, 18)
    assert own_session.scalar(select(func.count(Term.id))) == 18
