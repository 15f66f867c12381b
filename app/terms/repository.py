"""Queries on terms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database.models import Encoder, Term
from app.search.similarity import cosine_similarity, vector_difference

Vectors = NDArray[np.float32]


def find_vectors(
    session: Session, encoder_id: int, texts: Sequence[str], templates: Sequence[str]
) -> dict[tuple[str, str], Vectors]:
    """Stored vectors of some texts in some templates, by text and template."""
    rows = session.execute(
        select(Term.text, Term.template, Term.vector).where(
            Term.encoder_id == encoder_id, Term.text.in_(texts), Term.template.in_(templates)
        )
    )
    return {(text, template): np.asarray(vector) for text, template, vector in rows}


def add_prompts(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Store prompts; those that somebody else stored meanwhile stay as they are."""
    session.execute(insert(Term).on_conflict_do_nothing(), list(rows))


def add_vocabulary(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Store vocabulary terms; a prompt that was asked before becomes one."""
    statement = insert(Term).on_conflict_do_update(
        index_elements=[Term.encoder_id, Term.text, Term.template], set_={"in_vocabulary": True}
    )
    session.execute(statement, list(rows))


def vocabulary_texts(session: Session, encoder_id: int) -> set[str]:
    """Texts of an encoder's stored vocabulary."""
    return set(
        session.scalars(select(Term.text).where(Term.encoder_id == encoder_id, Term.in_vocabulary))
    )


def list_vocabulary(session: Session, encoder_id: int) -> tuple[list[str], Vectors]:
    """Texts of an encoder's stored vocabulary, in their order, and their vectors (n, D)."""
    rows = session.execute(
        select(Term.text, Term.vector)
        .where(Term.encoder_id == encoder_id, Term.in_vocabulary)
        .order_by(Term.text)
    ).all()
    return [row.text for row in rows], np.array([row.vector for row in rows], dtype=np.float32)


def count_terms(session: Session, encoder_id: int) -> int:
    """How many terms an encoder has."""
    return session.scalar(select(func.count()).where(Term.encoder_id == encoder_id)) or 0


def nearest_terms(session: Session, encoder_id: int, vector: Vectors, k: int) -> list[str]:
    """The k vocabulary terms nearest to a vector, the texts' mean off, best first."""
    similarity = cosine_similarity(vector_difference(Term.vector, Encoder.text_mean), vector)
    return list(
        session.scalars(
            select(Term.text)
            .join(Encoder, Encoder.id == Term.encoder_id)
            .where(Term.encoder_id == encoder_id, Term.in_vocabulary)
            .order_by(similarity.desc(), Term.text)
            .limit(k)
        )
    )
