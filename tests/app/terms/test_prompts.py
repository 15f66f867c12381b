from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.database.models import Encoder, Term
from app.embedding.text_reading import TextReading
from app.errors import InputError
from app.failures import as_catalog_error
from app.settings import get_settings
from app.terms import repository
from app.terms.prompts import (
    MOST_BYTES,
    check_templates,
    clean_text,
    ensure_prompts,
    prompt_direction,
)
from app.terms.repository import EmbeddedPrompt
from tests.app.conftest import Counts
from tests.app.published import Published

LONGEST = 1000
READ = EmbeddedPrompt(np.ones(8, np.float32), TextReading(tokens=1, tokens_read=1))


@given(st.text(st.characters(codec=None), max_size=LONGEST + 50))
def test_a_clean_text_is_one_that_the_database_takes(text: str) -> None:
    try:
        cleaned = clean_text(text)
    except InputError:
        assert not text.strip() or len(text) > LONGEST or not storable(text)
        return
    assert cleaned == cleaned.strip() == text.strip()
    assert 0 < len(cleaned) <= LONGEST
    assert storable(cleaned)


def storable(text: str) -> bool:
    """Whether PostgreSQL holds the text: UTF-8 without NUL."""
    return "\0" not in text.encode(errors="replace").decode() and not any(
        0xD800 <= ord(each) <= 0xDFFF for each in text
    )


def test_the_longest_text_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clean_text(" " + "x" * (LONGEST - 1)) == "x" * (LONGEST - 1)
    monkeypatch.setenv("SDC_PROMPT_LENGTH", "4")
    get_settings.cache_clear()
    try:
        assert clean_text("face") == "face"
        with pytest.raises(InputError, match="the prompt has 5 characters") as caught:
            clean_text("faces")
        assert caught.value.hint == "4 are the most, the setting SDC_PROMPT_LENGTH"
    finally:
        monkeypatch.undo()
        get_settings.cache_clear()


def test_what_the_database_could_not_index_is_refused(
    session: Session, published: Published
) -> None:
    """A thousand characters can have four thousand bytes."""
    encoder = session.scalar(select(Encoder))
    rare = "".join(chr(0x20000 + 41 * each) for each in range(LONGEST))
    assert clean_text(rare) == rare
    with pytest.raises(InputError, match="has 4,002 bytes with its template") as caught:
        prompt_direction(session, encoder, rare)
    assert "2,600 are the most" in caught.value.hint
    most = rare[: (MOST_BYTES - 8) // 4]
    repository.add_prompts(session, encoder.id, {(most, "12345{}"): READ})
    assert ensure_prompts(session, encoder, [most], ["12345{}"]).added == 0


def test_templates_are_used_once_each() -> None:
    assert check_templates(["a {}", "{}", "a {}"]) == ("a {}", "{}")


def test_storing_what_somebody_stored_meanwhile_leaves_theirs(
    session: Session, published: Published
) -> None:
    encoder = session.scalar(select(Encoder))
    before = list(session.scalar(select(Term.vector).where(Term.text == "dog")))
    repository.add_prompts(session, encoder.id, {("dog", "{}"): READ})
    assert list(session.scalar(select(Term.vector).where(Term.text == "dog"))) == before


def of_bytes(number: int) -> str:
    """A text of that many bytes, which no compression makes shorter."""
    random = np.random.default_rng(0)
    text = "".join(map(chr, random.integers(0x4E00, 0x9FA5, number // 3)))
    return text + "x" * (number - len(text.encode()))


def test_the_index_takes_the_longest_prompt_and_template(
    session: Session, published: Published
) -> None:
    encoder = session.scalar(select(Encoder))
    text, template = of_bytes(MOST_BYTES - 100), "x" * 98 + "{}"
    repository.add_prompts(session, encoder.id, {(text, template): READ})
    assert ensure_prompts(session, encoder, [text], [template]).added == 0
    with pytest.raises(DBAPIError, match="index row size") as caught, session.begin_nested():
        repository.add_prompts(session, encoder.id, {(of_bytes(MOST_BYTES + 200), template): READ})
    assert isinstance(as_catalog_error(caught.value), InputError)


def test_a_longer_one_is_refused_and_nothing_stored(
    session: Session, published: Published, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    encoder = session.scalar(select(Encoder))
    long = of_bytes(MOST_BYTES - 1)
    with pytest.raises(InputError, match="has 2,601 bytes with its template") as caught:
        ensure_prompts(session, encoder, ["the dog", long])
    assert caught.value.hint == "2,600 are the most that can be stored: ask in fewer words"
    session.commit()
    assert count_rows() == before


def test_a_prompt_is_a_unit_vector(session: Session, published: Published) -> None:
    direction = prompt_direction(session, session.scalar(select(Encoder)), "dog")
    assert direction.shape == (8,)
    assert float(direction @ direction) == pytest.approx(1)
