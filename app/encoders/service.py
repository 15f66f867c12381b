"""The encoders of the catalog: registration, choice, and the words nearest to a vector."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.database.copying import copy_rows
from app.database.models import Encoder as EncoderRow
from app.database.models import Term
from app.embedding import Encoder
from app.embedding.centring import mean_vector
from app.encoders import repository
from app.encoders.stored import absolute_spec, require_same_encoder
from app.errors import InputError, NotFoundError
from app.runs.service import choose_run
from app.terms import repository as terms
from app.terms.vocabulary import Progress, embed_texts, vocabulary_of


def register_encoder(
    session: Session, encoder: Encoder, spec: str, *, on_progress: Progress | None = None
) -> EncoderRow:
    """The row of an encoder; one that is new comes with its vocabulary and its texts' mean.

    Parameters
    ----------
    session : Session
        The caller commits.
    encoder : Encoder
        As it was loaded.
    spec : str
        What it was loaded from; paths in it are stored absolute.
    on_progress : callable, optional
        Called with (done, total) while the vocabulary is embedded.

    Returns
    -------
    Encoder
        The row, with an id.

    Raises
    ------
    ConflictError
        The name stands for another dimension or other weights in the catalog.
    """
    spec = absolute_spec(spec)
    row = repository.find_encoder(session, encoder.name)
    if row is None:
        words = vocabulary_of(encoder)
        vectors = embed_texts(encoder, words, on_progress)
        row = repository.add_encoder(
            session,
            {
                "name": encoder.name,
                "spec": spec,
                "dimension": encoder.dimension,
                "checksum": encoder.checksum,
                "sees_images": encoder.sees_images,
                "text_mean": mean_vector(vectors),
            },
        )
        if row is not None:
            copy_rows(
                session,
                Term,
                {
                    "encoder_id": row.id,
                    "text": words,
                    "template": "{}",
                    "vector": vectors,
                    "in_vocabulary": True,
                },
            )
            return row
        # Another process registered it while this one was embedding.
        row = require_encoder(session, encoder.name)
    require_same_encoder(row, encoder)
    # The same weights from another place: the old place may be gone.
    row.spec = spec
    return row


def find_encoder(session: Session, name: str) -> EncoderRow | None:
    """The encoder of this name or spec, None where there is none."""
    return repository.find_encoder(session, name) or repository.find_encoder(
        session, absolute_spec(name)
    )


def require_encoder(session: Session, name: str) -> EncoderRow:
    """The encoder of this name or spec.

    Raises
    ------
    NotFoundError
        There is none; the hint lists those that exist.
    """
    row = find_encoder(session, name)
    if row is None:
        known = ", ".join(each.name for each in repository.list_encoders(session))
        raise NotFoundError(
            f"no encoder {name!r} is in the catalog",
            hint=f"known: {known}" if known else "add it: sdc terms build --encoder SPEC",
        )
    return row


def choose_encoders(
    session: Session, dataset: str | None = None, encoder: str | None = None
) -> list[EncoderRow]:
    """The encoder named, that of a dataset's current run, or all that current runs use.

    Raises
    ------
    InputError
        Both are named.
    NotFoundError
        There is no such dataset or encoder, or nothing has been published.
    """
    if dataset is not None and encoder is not None:
        raise InputError("both a dataset and an encoder are named", hint="name one of them")
    if encoder is not None:
        return [require_encoder(session, encoder)]
    if dataset is not None:
        return [choose_run(session, dataset).encoder]
    used = repository.encoders_in_use(session)
    if not used:
        raise NotFoundError(
            "no encoder is in use: nothing has been published yet",
            hint="name one with --encoder",
        )
    return used


def nearest_terms(
    session: Session,
    components: NDArray[np.floating],
    encoder: EncoderRow,
    k: int,
    among: Collection[str] | None = None,
) -> list[list[str]]:
    """The vocabulary terms that lie nearest to components, the texts' mean taken off.

    Parameters
    ----------
    session : Session
    components : array (K, D)
        Directions in the encoder's space.
    encoder : Encoder
        The row of their encoder.
    k : int
        Terms a component.
    among : collection of str, optional
        Rank these alone.

    Returns
    -------
    list of list of str
        K lists, best first; with all terms, ``catalog.nearest_terms`` gives the same of a published
        component.
    """
    vectors: Sequence[NDArray[np.float32]] = list(np.asarray(components, np.float32))
    return [
        [row.text for row in terms.nearest_terms(session, encoder.id, vector, k, among)]
        for vector in vectors
    ]
