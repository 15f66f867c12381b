"""Prompt templates: a text as typed, or the mean over several ways to say it."""

import re
from collections.abc import Sequence

from app.embedding.encoder import Encoder, Vectors, unit_rows
from app.embedding.text_reading import SLOT
from app.errors import InputError

AS_TYPED: tuple[str, ...] = (SLOT,)
# Without articles, because people type "a face" and "the sea" as well as "faces".
ENSEMBLE: tuple[str, ...] = (
    SLOT,
    "a photo of {}",
    "a close-up photo of {}",
    "a picture of {}",
    "an image of {}",
    "a photo showing {}",
    "a scene with {}",
)

_LEADING_TEMPLATE = re.compile(
    "|".join(re.escape(each.removesuffix(SLOT)) for each in ENSEMBLE if each != SLOT)
)
_LEADING_ARTICLE = re.compile(r"(a|an|the)\s+")


def embed_prompt(
    encoder: Encoder, text: str, templates: Sequence[str] = AS_TYPED
) -> tuple[Vectors, tuple[str, ...]]:
    """Encode a query by one or more templates.

    Averaging over templates is the prompt ensemble of Radford et al. 2021 (arXiv 2103.00020,
    section 3.1.4).

    Parameters
    ----------
    encoder : Encoder
    text : str
        What was typed.
    templates : sequence of str
        Each holds ``{}`` once, where the text goes: `AS_TYPED`, `ENSEMBLE` or one's own.

    Returns
    -------
    vector : array (D,), float32
        Normalised mean of the templates' unit vectors.
    templates : tuple of str
        The templates used, for the answer to say.

    Raises
    ------
    InputError
        The text is empty, no template is given, or one does not hold ``{}`` once.
    """
    if not text.strip():
        raise InputError("the prompt is empty", hint="give at least one word")
    if not templates:
        raise InputError("no prompt template was given", hint='as typed is "{}"')
    for template in templates:
        if template.count(SLOT) != 1:
            raise InputError(
                f"prompt template {template!r} must hold {{}} once",
                hint='for example "a photo of {}"',
            )
    vectors = encoder.encode_texts([template.replace(SLOT, text) for template in templates])
    return unit_rows(vectors.mean(axis=0, keepdims=True), "prompt")[0], tuple(templates)


def bare_name(text: str) -> str:
    """Reduce a prompt to the thing it names: "A photo of a Dog" becomes "dog".

    Folds case and white space, and takes off a leading template of `ENSEMBLE` and an article,
    where a name follows them.
    """
    rest = " ".join(text.casefold().split())
    if match := _LEADING_TEMPLATE.match(rest):
        rest = rest[match.end() :]
    if match := _LEADING_ARTICLE.match(rest):
        rest = rest[match.end() :]
    return rest
