"""What every encoder offers, and the few checks that all of them share."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.embedding.text_reading import SLOT, TextReading
from app.errors import InputError

Vectors = NDArray[np.float32]
Image = NDArray[np.uint8]


class Encoder(Protocol):
    """Turns texts, and where it can pictures, into unit vectors of one space.

    Attributes
    ----------
    name : str
        Names the encoder in the catalog, the same on every machine: the spec where that is a
        public name, else ``KIND:STEM@CHECKSUM`` with the file's stem and the checksum's first
        eight digits, because a path means nothing elsewhere.
    spec : str
        What `load_encoder` loads it from, with the path where there is one.
    dimension : int
        D, the length of its vectors.
    checksum : str
        sha256 of the weights.
    sees_images : bool
        Whether `encode_images` works.
    """

    name: str
    spec: str
    dimension: int
    checksum: str
    sees_images: bool

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: float32 (n, D), unit rows.

        Raises
        ------
        InputError
            A text is empty.
        """
        ...

    def read_text(self, text: str, template: str = SLOT) -> TextReading:
        """Tell what of a text in a template is read: whether its words are known, what is cut.

        Raises
        ------
        NotFoundError
            The encoder is a table, and the text is not in it.
        """
        ...

    def encode_images(self, images: Iterable[Image]) -> Vectors:
        """Encode pictures, uint8 (H, W, 3) each: float32 (n, D), unit rows.

        Raises
        ------
        ConflictError
            The encoder has no image side.
        InputError
            A picture is not uint8 (H, W, 3).
        """
        ...

    def encode_stimuli(
        self, captions: Sequence[Sequence[str]], images: Iterable[Image] | None
    ) -> Vectors:
        """Encode stimuli, in the way that is this encoder's own: float32 (n, D), unit rows.

        An encoder with an image side takes the pictures, one without takes the normalised mean
        of each stimulus' caption vectors (Doerig et al. 2025, Nature Machine Intelligence).

        Raises
        ------
        InputError
            A stimulus lacks what the encoder needs, its picture or its captions.
        """
        ...


def unit_rows(vectors: NDArray[np.floating], what: str = "vector") -> Vectors:
    """Scale each row to length 1.

    Parameters
    ----------
    vectors : array (n, D)
    what : str
        What a row is, for the error.

    Returns
    -------
    array (n, D), float32

    Raises
    ------
    InputError
        A row is zero or not finite, so that it has no direction.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if bad.size:
        raise InputError(
            f"{what} {bad[0]} has no direction, it is zero or not finite"
            f" ({bad.size} of {len(rows)} are)",
            hint="mend or leave out such vectors",
        )
    unit: Vectors = (rows / norms).astype(np.float32)
    return unit


def check_texts(texts: Sequence[str]) -> None:
    """Refuse texts that say nothing.

    Raises
    ------
    InputError
        A text is empty or white space alone.
    """
    for index, text in enumerate(texts):
        if not text.strip():
            raise InputError(f"text {index} is empty", hint="give at least one word")


def check_image(image: Image, index: int) -> None:
    """Refuse what is not a picture.

    Raises
    ------
    InputError
        `image` is not uint8 (H, W, 3), or holds no pixel.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"image {index} is {image.dtype} {image.shape}, not uint8 (H, W, 3)",
            hint="give pictures as 8-bit RGB arrays",
        )


def encode_captions(
    encode_texts: Callable[[Sequence[str]], Vectors], captions: Sequence[Sequence[str]]
) -> Vectors:
    """Take the normalised mean of each stimulus' caption vectors.

    Parameters
    ----------
    encode_texts : callable
        Texts to unit rows; asked once for each distinct caption.
    captions : sequence of sequences of str
        The captions of each of n stimuli.

    Returns
    -------
    array (n, D), float32, unit rows

    Raises
    ------
    InputError
        A stimulus has no caption.
    """
    bare = [index for index, each in enumerate(captions) if not each]
    if bare:
        raise InputError(
            f"{len(bare)} of {len(captions)} stimuli have no caption, the first is index {bare[0]}",
            hint="this encoder reads text alone: give every stimulus a caption,"
            " or use an encoder that sees images",
        )
    distinct = sorted({caption for each in captions for caption in each})
    row = {caption: index for index, caption in enumerate(distinct)}
    vectors = encode_texts(distinct)
    means = np.empty((len(captions), vectors.shape[1]))
    for index, each in enumerate(captions):
        means[index] = vectors[[row[caption] for caption in each]].mean(axis=0, dtype=np.float64)
    return unit_rows(means, "stimulus")
