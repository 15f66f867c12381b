"""Adding to the texts that the catalog has vectors of."""

from collections.abc import Callable, Sequence
from time import perf_counter

from sqlalchemy.orm import Session

from app.database.models import Encoder
from app.embedding import Encoder as Model
from app.embedding import load_encoder
from app.encoders.service import choose_encoders, find_encoder, register_encoder
from app.encoders.stored import load_stored_encoder
from app.errors import InputError
from app.keys.repository import add_audit
from app.settings import get_settings
from app.terms import repository
from app.terms.prompts import clean_text, ensure_prompts
from app.terms.schemas import TermsAdded, TermsReport
from app.terms.vocabulary import Progress, embed_batches, full_vocabulary_of


def add_terms(
    session: Session,
    texts: Sequence[str],
    *,
    actor: str,
    dataset: str | None = None,
    encoder: str | None = None,
) -> TermsReport:
    """Give texts a vector, so that SQL can ask them; all of them, or none.

    Parameters
    ----------
    session : Session
        The caller commits.
    texts : sequence of str
    actor : str
        Who adds them, for the audit.
    dataset : str, optional
        Take the encoder of this dataset's current run.
    encoder : str, optional
        Take this one. With neither, every encoder that a current run uses gets the texts.

    Raises
    ------
    InputError
        A text cannot be used, an encoder knows no word of one, there is none, or both dataset and
        encoder are named.
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
        started = perf_counter()
        ensured = ensure_prompts(session, row, distinct)
        added = ensured.added
        if added:
            add_audit(session, actor, "add terms", row.name, {"added": added})
        answers.append(_added(row, added, len(distinct) - added, started, ensured.warnings))
    return TermsReport(encoders=answers)


def build_vocabulary(
    session: Session,
    *,
    dataset: str | None = None,
    encoder: str | None = None,
    on_progress: Progress | None = None,
    on_batch: Callable[[], object] | None = None,
) -> TermsReport:
    """Store the vocabulary and the everyday terms of encoders, as far as they are not stored yet.

    The mean of an encoder's texts stays what it was when the encoder came into the catalog, and so
    does the list that labels are chosen from: otherwise the same question would get another answer
    afterwards. A table of vectors cannot embed a text, so its own names are its whole vocabulary.

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
    on_batch : callable, optional
        Called whenever a batch of terms is stored; a caller that commits there can be interrupted
        and loses one batch at most.

    Raises
    ------
    ConflictError, InputError, NotFoundError, UnavailableError
        As `add_terms`, and as `app.embedding.load_encoder`.
    """
    if encoder is not None and dataset is None and find_encoder(session, encoder) is None:
        started = perf_counter()
        model = load_encoder(encoder, device=get_settings().device)
        row = register_encoder(session, model, encoder, on_progress=on_progress)
        if on_batch:
            on_batch()
        total = sum(_complete(session, row, model, on_progress, on_batch))
        return TermsReport(encoders=[_added(row, total, 0, started)])
    answers = []
    for row in choose_encoders(session, dataset, encoder):
        started = perf_counter()
        model = load_stored_encoder(row)
        added, known = _complete(session, row, model, on_progress, on_batch)
        answers.append(_added(row, added, known, started))
    return TermsReport(encoders=answers)


def _complete(
    session: Session,
    row: Encoder,
    model: Model,
    on_progress: Progress | None,
    on_batch: Callable[[], object] | None,
) -> tuple[int, int]:
    """Store what an encoder's vocabulary lacks: how many terms were added, and how many known."""
    words = full_vocabulary_of(model)
    stored = repository.vocabulary_texts(session, row.id)
    missing = [word for word in words if word not in stored]
    adopted = repository.adopt_prompts(session, row.id, missing)
    unknown = [word for word in missing if word not in adopted]
    for texts, vectors in embed_batches(model, unknown, on_progress):
        repository.add_vocabulary(
            session,
            [
                {"encoder_id": row.id, "text": word, "vector": vector, "in_vocabulary": True}
                for word, vector in zip(texts, vectors, strict=True)
            ],
        )
        if on_batch:
            on_batch()
    return len(missing), len(words) - len(missing)


def _added(
    row: Encoder, added: int, known: int, started: float, warnings: Sequence[str] = ()
) -> TermsAdded:
    seconds = round(perf_counter() - started, 3)
    return TermsAdded(
        encoder=row.name, added=added, known=known, seconds=seconds, warnings=list(warnings)
    )
