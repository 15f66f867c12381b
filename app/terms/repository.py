"""Queries on terms."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database.models import Encoder, Term
from app.embedding.prompts import AS_TYPED
from app.embedding.text_reading import TextReading
from app.search.similarity import cosine_similarity, vector_difference

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class EmbeddedPrompt:
    """A prompt in a template, embedded.

    Attributes
    ----------
    vector : array (D,), float32
    reading : TextReading or None
        What of it the encoder reads; None where that was not looked at, since it was stored by an
        earlier version.
    """

    vector: Vectors
    reading: TextReading | None


def find_prompts(
    session: Session, encoder_id: int, texts: Sequence[str], templates: Sequence[str]
) -> dict[tuple[str, str], EmbeddedPrompt]:
    """Some texts in some templates, as far as they are stored, by text and template."""
    rows = session.execute(
        select(
            Term.text,
            Term.template,
            Term.vector,
            Term.in_vocabulary,
            Term.tokens,
            Term.tokens_read,
            Term.unknown_words,
            Term.spelt_words,
        ).where(Term.encoder_id == encoder_id, Term.text.in_(texts), Term.template.in_(templates))
    )
    return {
        (row.text, row.template): EmbeddedPrompt(np.asarray(row.vector), _reading(row))
        for row in rows
    }


def add_prompts(
    session: Session, encoder_id: int, prompts: Mapping[tuple[str, str], EmbeddedPrompt]
) -> None:
    """Store prompts by text and template; what somebody else stored meanwhile stays as it is."""
    rows = [
        {
            "encoder_id": encoder_id,
            "text": text,
            "template": template,
            "vector": prompt.vector,
            **_columns(prompt.reading),
        }
        for (text, template), prompt in prompts.items()
    ]
    session.execute(insert(Term).on_conflict_do_nothing(), rows)


def add_readings(
    session: Session, encoder_id: int, readings: Mapping[tuple[str, str], TextReading]
) -> None:
    """Store what the encoder reads of prompts that are stored, by text and template."""
    for (text, template), reading in readings.items():
        session.execute(
            update(Term)
            .where(Term.encoder_id == encoder_id, Term.text == text, Term.template == template)
            .values(**_columns(reading))
        )


def _reading(row: Any) -> TextReading | None:
    if row.tokens is not None:
        unknown, spelt = tuple(row.unknown_words), tuple(row.spelt_words)
        return TextReading(row.tokens, row.tokens_read, unknown, spelt)
    # Words of the vocabulary are there to be known.
    return TextReading(1, 1) if row.in_vocabulary else None


def _columns(reading: TextReading | None) -> dict[str, Any]:
    if reading is None:
        return {}
    return {
        "tokens": reading.tokens,
        "tokens_read": reading.tokens_read,
        "unknown_words": list(reading.unknown_words),
        "spelt_words": list(reading.spelt_words),
    }


def add_vocabulary(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Store vocabulary terms; a prompt that was asked meanwhile becomes one."""
    statement = insert(Term).on_conflict_do_update(
        index_elements=[Term.encoder_id, Term.text, Term.template], set_={"in_vocabulary": True}
    )
    session.execute(statement, list(rows))


def vocabulary_texts(session: Session, encoder_id: int) -> set[str]:
    """Texts of an encoder's stored vocabulary."""
    return set(
        session.scalars(select(Term.text).where(Term.encoder_id == encoder_id, Term.in_vocabulary))
    )


def adopt_prompts(session: Session, encoder_id: int, texts: Sequence[str]) -> set[str]:
    """Make vocabulary terms of those texts that were asked as typed; which they are."""
    return set(
        session.scalars(
            update(Term)
            .where(
                Term.encoder_id == encoder_id,
                Term.text.in_(texts),
                Term.template == AS_TYPED[0],
                ~Term.in_vocabulary,
            )
            .values(in_vocabulary=True)
            .returning(Term.text)
        )
    )


def list_vocabulary(
    session: Session, encoder_id: int, among: Collection[str] | None = None
) -> tuple[list[str], Vectors]:
    """Texts of an encoder's stored vocabulary, in their order, and their vectors (n, D)."""
    query = select(Term.text, Term.vector).where(Term.encoder_id == encoder_id, Term.in_vocabulary)
    if among is not None:
        query = query.where(Term.text.in_(among))
    rows = session.execute(query.order_by(Term.text)).all()
    return [row.text for row in rows], np.array([row.vector for row in rows], dtype=np.float32)


def oldest_vocabulary(session: Session, encoder_id: int, most: int) -> Vectors:
    """Vectors (n, D) of the vocabulary terms that an encoder has had the longest, at most so many.

    They stay the same when the vocabulary grows; ``catalog.match_prompt`` takes the same.
    """
    rows = session.scalars(
        select(Term.vector)
        .where(Term.encoder_id == encoder_id, Term.in_vocabulary)
        .order_by(Term.id)
        .limit(most)
    ).all()
    return np.array(rows, dtype=np.float32)


def nearest_terms(
    session: Session,
    encoder_id: int,
    vector: Vectors,
    k: int,
    among: Collection[str] | None = None,
) -> Sequence[Row[str, float]]:
    """The k vocabulary terms nearest to a vector, the texts' mean off, best first; text, cosine."""
    similarity = cosine_similarity(vector_difference(Term.vector, Encoder.text_mean), vector)
    query = (
        select(Term.text, similarity.label("similarity"))
        .join(Encoder, Encoder.id == Term.encoder_id)
        .where(Term.encoder_id == encoder_id, Term.in_vocabulary)
    )
    if among is not None:
        query = query.where(Term.text.in_(among))
    return session.execute(query.order_by(similarity.desc(), Term.text).limit(k)).all()
