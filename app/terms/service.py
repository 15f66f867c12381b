"""Adding to the texts that the catalog has vectors of."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.database.models import Encoder
from app.embedding import load_encoder
from app.encoders.service import choose_encoders, find_encoder, register_encoder
from app.encoders.stored import load_stored_encoder
from app.errors import InputError
from app.settings import get_settings
from app.terms import repository
from app.terms.prompts import clean_text, ensure_prompts
from app.terms.schemas import TermsAdded, TermsReport
from app.terms.vocabulary import Progress, embed_texts, vocabulary_of


def add_terms(
    session: Session,
    texts: Sequence[str],
    *,
    dataset: str | None = None,
    encoder: str | None = None,
) -> TermsReport:
    """Give texts a vector, so that SQL can ask them; all of them, or none.

    Parameters
    ----------
    session : Session
        The caller commits.
    texts : sequence of str
    dataset : str, optional
        Take the encoder of this dataset's current run.
    encoder : str, optional
        Take this one. With neither, every encoder that a current run uses gets the texts.

    Raises
    ------
    InputError
        A text cannot be used, there is none, or both dataset and encoder are named.
    NotFoundError
        No such dataset or encoder, or a table of vectors does not hold a text.
    ConflictError
        An encoder's weights are not those of the stored vectors.
    """
    if not texts:
        raise InputError("no text was given", hint="name some, or a file with --file")
    cleaned = [clean_text(text, f"text {number}") for number, text in enumerate(texts, start=1)]
    distinct = list(dict.fromkeys(cleaned))
    answers = []
    for row in choose_encoders(session, dataset, encoder):
        added = ensure_prompts(session, row, distinct)
        answers.append(TermsAdded(encoder=row.name, added=added, known=len(distinct) - added))
    return TermsReport(encoders=answers)


def build_vocabulary(
    session: Session,
    *,
    dataset: str | None = None,
    encoder: str | None = None,
    on_progress: Progress | None = None,
) -> TermsReport:
    """Store the vocabulary of encoders, as far as it is not stored yet.

    The mean of an encoder's texts stays what it was when the encoder came into the catalog:
    otherwise the same question would get another answer afterwards.

    Parameters
    ----------
    session : Session
        The caller commits.
    dataset : str, optional
        Take the encoder of this dataset's current run.
    encoder : str, optional
        Name or spec; one that the catalog does not know is registered. With neither, every
        encoder that a current run uses.
    on_progress : callable, optional
        Called with (done, total) for each encoder.

    Raises
    ------
    ConflictError, InputError, NotFoundError, UnavailableError
        As `add_terms`, and as `app.embedding.load_encoder`.
    """
    if encoder is not None and dataset is None and find_encoder(session, encoder) is None:
        model = load_encoder(encoder, device=get_settings().device)
        row = register_encoder(session, model, encoder, on_progress=on_progress)
        total = repository.count_terms(session, row.id)
        return TermsReport(encoders=[TermsAdded(encoder=row.name, added=total, known=0)])
    return TermsReport(
        encoders=[
            _complete(session, row, on_progress)
            for row in choose_encoders(session, dataset, encoder)
        ]
    )


def _complete(session: Session, row: Encoder, on_progress: Progress | None) -> TermsAdded:
    model = load_stored_encoder(row)
    words = vocabulary_of(model)
    stored = repository.vocabulary_texts(session, row.id)
    missing = [word for word in words if word not in stored]
    if missing:
        vectors = embed_texts(model, missing, on_progress)
        repository.add_vocabulary(
            session,
            [
                {"encoder_id": row.id, "text": word, "vector": vector, "in_vocabulary": True}
                for word, vector in zip(missing, vectors, strict=True)
            ],
        )
    return TermsAdded(encoder=row.name, added=len(missing), known=len(words) - len(missing))
