"""The vocabulary of an encoder: the words that label components, and the many more to be asked."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app.embedding.encoder import Encoder
from app.embedding.vectors import VectorTable
from app.embedding.vocabulary import load_everyday_terms, load_vocabulary

BATCH = 256

Progress = Callable[[int, int], object]


def vocabulary_of(encoder: Encoder) -> list[str]:
    """The words an encoder's components are labelled with.

    A table knows nothing but its own names; every other encoder takes the built-in vocabulary.
    """
    if isinstance(encoder, VectorTable):
        return list(dict.fromkeys(name.strip() for name in encoder.names if name.strip()))
    return load_vocabulary()


def full_vocabulary_of(encoder: Encoder) -> list[str]:
    """The words of `vocabulary_of` and the everyday terms; a table has its names alone."""
    words = vocabulary_of(encoder)
    if isinstance(encoder, VectorTable):
        return words
    return list(dict.fromkeys([*words, *load_everyday_terms()]))


def embed_texts(
    encoder: Encoder, texts: Sequence[str], on_progress: Progress | None = None
) -> NDArray[np.float32]:
    """Embed many texts as typed.

    Parameters
    ----------
    encoder : Encoder
    texts : sequence of str
        n of them, at least one.
    on_progress : callable, optional
        Called with (done, n).

    Returns
    -------
    array (n, D), float32
        Unit rows.
    """
    return np.concatenate([vectors for _, vectors in embed_batches(encoder, texts, on_progress)])


def embed_batches(
    encoder: Encoder, texts: Sequence[str], on_progress: Progress | None = None
) -> Iterator[tuple[Sequence[str], NDArray[np.float32]]]:
    """Embed many texts as typed, a batch at a time; the next once the last has been dealt with.

    Parameters
    ----------
    encoder : Encoder
    texts : sequence of str
        n of them.
    on_progress : callable, optional
        Called with (done, n).

    Yields
    ------
    texts : sequence of str
        At most `BATCH`.
    vectors : array (len(texts), D), float32
        Unit rows.
    """
    for start in range(0, len(texts), BATCH):
        if on_progress:
            on_progress(start, len(texts))
        batch = texts[start : start + BATCH]
        yield batch, encoder.encode_texts(batch)
    if on_progress and texts:
        on_progress(len(texts), len(texts))
