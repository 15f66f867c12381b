"""The vocabulary of an encoder: the words that components are labelled with."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from app.embedding.encoder import Encoder
from app.embedding.vectors import VectorTable
from app.embedding.vocabulary import load_vocabulary

BATCH = 256

Progress = Callable[[int, int], object]


def vocabulary_of(encoder: Encoder) -> list[str]:
    """The words an encoder's components are labelled with.

    A table knows nothing but its own names; every other encoder takes the built-in vocabulary.
    """
    if isinstance(encoder, VectorTable):
        return list(dict.fromkeys(name.strip() for name in encoder.names if name.strip()))
    return load_vocabulary()


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
    batches = []
    for start in range(0, len(texts), BATCH):
        if on_progress:
            on_progress(start, len(texts))
        batches.append(encoder.encode_texts(texts[start : start + BATCH]))
    if on_progress:
        on_progress(len(texts), len(texts))
    return np.concatenate(batches)
