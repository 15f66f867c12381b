"""Prompts: texts that people ask, embedded once and then kept, or remembered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.database.models import Encoder
from app.embedding import Encoder as Model
from app.embedding.centring import centre
from app.embedding.encoder import unit_rows
from app.embedding.prompts import AS_TYPED, embed_prompt
from app.embedding.text_reading import SLOT, TextReading, reading_warnings, require_words
from app.encoders.stored import load_stored_encoder
from app.errors import ConflictError, InputError
from app.presence import require_client
from app.settings import get_settings
from app.terms import repository
from app.terms.budget import may_store, spend_embeddings
from app.terms.remembered import remembered
from app.terms.repository import EmbeddedPrompt

Vector = NDArray[np.float32]
# By text and template.
Prompts = dict[tuple[str, str], EmbeddedPrompt]
# What PostgreSQL takes into an index, a page's third, with the encoder beside it.
MOST_BYTES = 2600
NOT_LOOKED_AT = (
    "whether the encoder reads all of {text!r} was not looked at when it was stored: "
    "add it again to its terms"
)


@dataclass(frozen=True)
class AskedDirection:
    """Where prompts point, and what to mind of it.

    Attributes
    ----------
    vector : array (D,), float32
        Unit vector, the texts' mean taken off.
    warnings : list of str
        Words that the encoder does not know, and what it does not read, a sentence each.
    """

    vector: Vector
    warnings: list[str]


@dataclass(frozen=True)
class EnsuredPrompts:
    """What became of prompts that are to be stored.

    Attributes
    ----------
    added : int
        Vectors that were; none of them makes a vocabulary term.
    warnings : list of str
        As of `AskedDirection`.
    """

    added: int
    warnings: list[str]


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
            hint=f"{most:,} are the most, the setting SDC_PROMPT_LENGTH",
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
            hint=f"{most:,} at once are the most, the setting SDC_PROMPT_BATCH",
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

    Stored vectors are taken; what is missing is embedded, one term a template. It is
    stored, and the caller commits; of who asks over a network without a key it is remembered in
    this process for a while, so that strangers fill no table.

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
        Text or templates cannot be used, or the encoder knows no word of the text.
    NotFoundError
        The encoder is a table and has no such name.
    ConflictError
        The encoder's weights are not those of the stored vectors.
    TooManyRequestsError
        It is more than one request, or one asker in a minute, may have embedded.
    UnavailableError
        The weights cannot be had, or whoever asked has gone.
    """
    text, templates = clean_text(text), check_templates(templates)
    prompts = _embedded_prompts(session, encoder, [text], templates, model)
    return _direction(encoder, text, templates, prompts)


def sum_of_directions(
    session: Session,
    encoder: Encoder,
    added: Sequence[str],
    taken: Sequence[str] = (),
    templates: Sequence[str] = AS_TYPED,
) -> AskedDirection:
    """Where prompts point together: unit vectors each, so that every one counts alike.

    Parameters
    ----------
    session, encoder, templates
        As `prompt_direction`.
    added, taken : sequence of str
        Prompts whose directions are added, and taken off.

    Returns
    -------
    AskedDirection

    Raises
    ------
    ConflictError
        The prompts cancel each other, or as `prompt_direction`.
    InputError, NotFoundError, UnavailableError
        As `prompt_direction`.
    """
    templates = check_templates(templates)
    added, taken = [clean_text(each) for each in added], [clean_text(each) for each in taken]
    # All at once: what is too much is refused before any of it is done.
    prompts = _embedded_prompts(session, encoder, [*added, *taken], templates)
    total = np.zeros(encoder.dimension)
    for each in added:
        total += _direction(encoder, each, templates, prompts)
    for each in taken:
        total -= _direction(encoder, each, templates, prompts)
    length = float(np.linalg.norm(total))
    # Directions that cancel leave rounding, which is none.
    if length < 1e-5:
        raise ConflictError(
            f"{' + '.join(added)} - {' - '.join(taken)} leaves nothing",
            hint="take off something else than what was added",
        )
    return AskedDirection((total / length).astype(np.float32), _warnings(prompts, [*added, *taken]))


def ensure_prompts(
    session: Session,
    encoder: Encoder,
    texts: Sequence[str],
    templates: Sequence[str] = AS_TYPED,
    *,
    model: Model | None = None,
) -> EnsuredPrompts:
    """Embed and store what has no vector yet, in every template.

    Of prompts that an earlier version stored it is looked at what the encoder reads.

    Returns
    -------
    EnsuredPrompts

    Raises
    ------
    ConflictError, InputError, NotFoundError, UnavailableError
        As `prompt_direction`, or a text and its template are too long to be stored; nothing is
        stored then.
    TooManyRequestsError
        As `app.terms.budget`.
    """
    known = _stored_prompts(session, encoder, texts, templates)
    unread = [key for key, prompt in known.items() if prompt.reading is None]
    if unread:
        model = model or load_stored_encoder(encoder)
        readings = {key: _read(model, *key) for key in unread}
        repository.add_readings(session, encoder.id, readings)
        known |= {key: replace(known[key], reading=each) for key, each in readings.items()}
    missing = _missing(known, texts, templates)
    added = _embed(session, encoder, missing, model) if missing else {}
    if added:
        repository.add_prompts(session, encoder.id, added)
    return EnsuredPrompts(len(added), _warnings(known | added, texts))


def _embedded_prompts(
    session: Session,
    encoder: Encoder,
    texts: Sequence[str],
    templates: Sequence[str],
    model: Model | None = None,
) -> Prompts:
    """Texts in templates: stored, remembered or embedded now."""
    known = _stored_prompts(session, encoder, texts, templates)
    found: Prompts = {}
    for text, template in _missing(known, texts, templates):
        if (prompt := remembered.find(_cached_as(encoder, text, template))) is not None:
            found[text, template] = prompt
    missing = _missing(known | found, texts, templates)
    if missing:
        found |= _embed(session, encoder, missing, model)
    if found and may_store(session):
        repository.add_prompts(session, encoder.id, found)
    else:
        for (text, template), prompt in found.items():
            remembered.keep(_cached_as(encoder, text, template), prompt)
    return known | found


def _direction(encoder: Encoder, text: str, templates: Sequence[str], prompts: Prompts) -> Vector:
    """Unit vector (D,) of a prompt's mean over templates, the texts' mean taken off."""
    vectors = np.stack([prompts[text, template].vector for template in templates])
    prompt = unit_rows(vectors.mean(axis=0, keepdims=True), "prompt")
    direction: Vector = centre(prompt, encoder.text_mean)[0]
    return direction


def _warnings(prompts: Mapping[tuple[str, str], EmbeddedPrompt], texts: Sequence[str]) -> list[str]:
    """What to mind of texts in all their templates: of these, the one that is cut most."""
    told: list[str] = []
    for text in dict.fromkeys(texts):
        found = [prompt.reading for (asked, _), prompt in prompts.items() if asked == text]
        readings = [each for each in found if each is not None]
        if len(readings) < len(found):
            told.append(NOT_LOOKED_AT.format(text=text))
        if readings:
            longest = max(readings, key=lambda each: each.tokens - each.tokens_read)
            told += reading_warnings(
                text,
                replace(
                    longest,
                    unknown_words=_each_once(each.unknown_words for each in readings),
                    spelt_words=_each_once(each.spelt_words for each in readings),
                ),
            )
    return list(dict.fromkeys(told))


def _each_once(words: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for each in words for word in each))


def _stored_prompts(
    session: Session, encoder: Encoder, texts: Sequence[str], templates: Sequence[str]
) -> Prompts:
    for text in texts:
        _require_storable(text, templates)
    return repository.find_prompts(session, encoder.id, texts, templates)


def _missing(
    known: Prompts, texts: Sequence[str], templates: Sequence[str]
) -> list[tuple[str, str]]:
    """Texts and templates that have no vector, each once."""
    return [
        (text, template)
        for text in dict.fromkeys(texts)
        for template in templates
        if (text, template) not in known
    ]


def _cached_as(encoder: Encoder, text: str, template: str) -> tuple[str, ...]:
    # Of whichever catalog: the same weights embed alike.
    return encoder.name, encoder.checksum, text, template


def _embed(
    session: Session, encoder: Encoder, wanted: Sequence[tuple[str, str]], model: Model | None
) -> Prompts:
    """Texts in templates, embedded one after the other as long as somebody waits for them."""
    spend_embeddings(session, len(wanted))
    model = model or load_stored_encoder(encoder)
    # What it knows nothing of is refused before anything is embedded, which takes longer.
    readings = {key: _read(model, *key) for key in wanted}
    prompts = {}
    for (text, template), reading in readings.items():
        require_client()
        vector = embed_prompt(model, text, (template,))[0]
        prompts[text, template] = EmbeddedPrompt(vector, reading)
    return prompts


def _read(model: Model, text: str, template: str) -> TextReading:
    """What an encoder reads of a text in a template.

    Raises
    ------
    InputError
        It knows no word of the text, whatever stands around it.
    NotFoundError
        It is a table, and has no such name.
    """
    reading = model.read_text(text, template)
    require_words(model.name, text, reading)
    return reading


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
