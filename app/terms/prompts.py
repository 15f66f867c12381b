"""Prompts: texts that people ask, embedded once and then kept."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.database.models import Encoder
from app.embedding import Encoder as Model
from app.embedding.centring import centre
from app.embedding.encoder import unit_rows
from app.embedding.prompts import AS_TYPED, SLOT, embed_prompt
from app.encoders.stored import load_stored_encoder
from app.errors import ConflictError, InputError
from app.settings import get_settings
from app.terms import repository

Vector = NDArray[np.float32]
# What PostgreSQL takes into an index, a page's third, with the encoder beside it.
MOST_BYTES = 2600


def clean_text(text: str, what: str = "the prompt") -> str:
    """A text without the white space around it.

    Raises
    ------
    InputError
        Nothing is left, it is longer than the setting ``prompt_length``, or the database cannot
        hold it.
    """
    stripped = text.strip()
    if not stripped:
        raise InputError(f"{what} is empty", hint="give at least one word")
    most = get_settings().prompt_length
    if len(text) > most:
        raise InputError(
            f"{what} has {len(text)} characters",
            hint=f"{most:,} are the most, the setting prompt_length",
        )
    if "\0" in stripped or not _encodes(stripped):
        raise InputError(f"{what} is not valid text: {stripped!a}", hint="use UTF-8 without NUL")
    return stripped


def check_batch(number: int, what: str) -> None:
    """Refuse more prompts than one request may bring.

    Raises
    ------
    InputError
        They are more than the setting ``prompt_batch``.
    """
    most = get_settings().prompt_batch
    if number > most:
        raise InputError(
            f"there are {number:,} {what}",
            hint=f"{most:,} at once are the most, the setting prompt_batch",
        )


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Templates as they are used: each once, in their order.

    Raises
    ------
    InputError
        There is none, or one does not hold ``{}`` once.
    """
    if not templates:
        raise InputError("no prompt template was given", hint='as typed is "{}"')
    for template in templates:
        if clean_text(template, "a prompt template").count(SLOT) != 1:
            raise InputError(
                f"prompt template {template!r} must hold {{}} once",
                hint='for example "a photo of {}"',
            )
    return tuple(dict.fromkeys(templates))


def prompt_direction(
    session: Session,
    encoder: Encoder,
    text: str,
    templates: Sequence[str] = AS_TYPED,
    *,
    model: Model | None = None,
) -> Vector:
    """Where a prompt points in an encoder's space, the texts' mean taken off.

    Stored vectors are taken; what is missing is embedded and stored, one term a template. The
    caller commits.

    Parameters
    ----------
    session : Session
    encoder : Encoder
        The encoder's row.
    text : str
    templates : sequence of str
        The prompt is the normalised mean over them.
    model : Encoder, optional
        The encoder itself, where the caller has it loaded.

    Returns
    -------
    array (D,), float32
        Unit vector.

    Raises
    ------
    InputError
        Text or templates cannot be used.
    NotFoundError
        The encoder is a table and has no such name.
    ConflictError
        The encoder's weights are not those of the stored vectors.
    UnavailableError
        The weights cannot be had.
    """
    text, templates = clean_text(text), check_templates(templates)
    ensure_prompts(session, encoder, [text], templates, model=model)
    stored = repository.find_vectors(session, encoder.id, [text], templates)
    vectors = np.stack([stored[text, template] for template in templates])
    prompt = unit_rows(vectors.mean(axis=0, keepdims=True), "prompt")
    direction: Vector = centre(prompt, encoder.text_mean)[0]
    return direction


def sum_of_directions(
    session: Session,
    encoder: Encoder,
    added: Sequence[str],
    taken: Sequence[str] = (),
    templates: Sequence[str] = AS_TYPED,
) -> Vector:
    """Where prompts point together: unit vectors each, so that every one counts alike.

    Parameters
    ----------
    session, encoder, templates
        As `prompt_direction`.
    added, taken : sequence of str
        Prompts whose directions are added, and taken off.

    Returns
    -------
    array (D,), float32
        Unit vector.

    Raises
    ------
    ConflictError
        The prompts cancel each other, or as `prompt_direction`.
    InputError, NotFoundError, UnavailableError
        As `prompt_direction`.
    """
    total = np.zeros(encoder.dimension)
    for each in added:
        total += prompt_direction(session, encoder, each, templates)
    for each in taken:
        total -= prompt_direction(session, encoder, each, templates)
    length = float(np.linalg.norm(total))
    # Directions that cancel leave rounding, which is none.
    if length < 1e-5:
        raise ConflictError(
            f"{' + '.join(added)} - {' - '.join(taken)} leaves nothing",
            hint="take off something else than what was added",
        )
    direction: Vector = (total / length).astype(np.float32)
    return direction


def ensure_prompts(
    session: Session,
    encoder: Encoder,
    texts: Sequence[str],
    templates: Sequence[str] = AS_TYPED,
    *,
    model: Model | None = None,
) -> int:
    """Embed and store what has no vector yet, in every template.

    Returns
    -------
    int
        How many vectors were added; none of them makes a vocabulary term.

    Raises
    ------
    ConflictError, InputError, NotFoundError, UnavailableError
        As `prompt_direction`, or a text and its template are too long to be stored; nothing is
        stored then.
    """
    for text in texts:
        _require_storable(text, templates)
    stored = repository.find_vectors(session, encoder.id, texts, templates)
    missing = [
        (text, template)
        for text in dict.fromkeys(texts)
        for template in templates
        if (text, template) not in stored
    ]
    if not missing:
        return 0
    model = model or load_stored_encoder(encoder)
    rows = [
        {
            "encoder_id": encoder.id,
            "text": text,
            "template": template,
            "vector": embed_prompt(model, text, (template,))[0],
        }
        for text, template in missing
    ]
    repository.add_prompts(session, rows)
    return len(rows)


def _require_storable(text: str, templates: Sequence[str]) -> None:
    size = len(text.encode()) + max(len(template.encode()) for template in templates)
    if size > MOST_BYTES:
        raise InputError(
            f"the prompt {text[:20]!r}... has {size:,} bytes with its template",
            hint=f"{MOST_BYTES:,} are the most that can be stored: ask in fewer words",
        )


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
