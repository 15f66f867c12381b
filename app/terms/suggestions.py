"""Words of the vocabulary to ask with instead, where a prompt finds nothing."""

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.embedding.vocabulary import load_everyday_terms
from app.terms import repository

MOST_WORDS = 5
# Shorter words are spelt like too many others.
FEWEST_LETTERS = 3
# Share of letters that two words have in common, in their order: one wrong, missing or swapped in a
# word of four or more (Ratcliff & Metzener 1988, `difflib.SequenceMatcher.ratio`).
SPELT_ALIKE = 0.8
MOST_LOOKED_UP = 10
_WORD = re.compile(r"[^\W\d_]+")


def near_words(
    session: Session,
    encoder_id: int,
    texts: Sequence[str],
    direction: NDArray[np.float32],
    nearness: float,
) -> list[str]:
    """Words of an encoder's vocabulary that are near to prompts, in spelling or else in meaning.

    Parameters
    ----------
    session : Session
    encoder_id : int
    texts : sequence of str
        The prompts, as typed.
    direction : array (D,), float32
        Where they point together.
    nearness : float
        The cosine from which a word counts as near in meaning.

    Returns
    -------
    list of str
        At most `MOST_WORDS`, the nearest first. Where a prompt has a word that is neither in the
        vocabulary nor among the everyday terms, and that is spelt like some of the vocabulary,
        those: what an encoder makes of a misspelt word is nothing to go by. None where nothing is
        near.
    """
    vocabulary = repository.vocabulary_texts(session, encoder_id)
    spelt = spelt_alike(texts, sorted(words_of(vocabulary)), _everyday_words())
    if spelt:
        return spelt
    near = repository.nearest_terms(session, encoder_id, direction, MOST_WORDS)
    return [row.text for row in near if row.similarity >= nearness]


def spelt_alike(
    texts: Sequence[str], vocabulary: Sequence[str], known: Collection[str] = ()
) -> list[str]:
    """Words that are spelt like words of prompts that nobody knows.

    Parameters
    ----------
    texts : sequence of str
    vocabulary : sequence of str
        Words that may be offered, lower case.
    known : collection of str
        Further words that are spelt right.

    Returns
    -------
    list of str
        At most `MOST_WORDS`: of each unknown word the closest, in the order of the prompts.
    """
    offered = set(vocabulary)
    unknown = [
        word
        for word in dict.fromkeys(word for text in texts for word in _WORD.findall(text.lower()))
        if len(word) >= FEWEST_LETTERS and word not in offered and word not in known
    ]
    near = [
        close
        for word in unknown[:MOST_LOOKED_UP]
        for close in get_close_matches(word, vocabulary, MOST_WORDS, SPELT_ALIKE)
    ]
    return list(dict.fromkeys(near))[:MOST_WORDS]


def words_of(texts: Collection[str]) -> set[str]:
    """The single words of terms, lower case."""
    return {word for text in texts for word in _WORD.findall(text.lower())}


@lru_cache(maxsize=1)
def _everyday_words() -> frozenset[str]:
    return frozenset(words_of(load_everyday_terms()))
