"""Uploaded pictures, read within bounds."""

from typing import BinaryIO

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from app.embedding.encoder import Image
from app.errors import InputError

# The kinds that browsers and stimulus sets use; others have decoders that few people try.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 50_000_000
_DAMAGED = (OSError, SyntaxError, ValueError, Pillow.DecompressionBombWarning)


def read_picture(file: BinaryIO, name: str) -> Image:
    """A picture as 8-bit RGB, its first frame where it has several.

    Parameters
    ----------
    file : file
    name : str
        For errors.

    Returns
    -------
    ndarray
        uint8 (H, W, 3).

    Raises
    ------
    InputError
        It is no picture of a known kind, is damaged, or has more than 50 million pixels, which
        are counted before any is unpacked.
    """
    try:
        with Pillow.open(file, formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise InputError(
                    f"{name} has {width} x {height} pixels", hint=f"{MOST_PIXELS:,} are the most"
                )
            return np.asarray(opened.convert("RGB"))
    except UnidentifiedImageError:
        raise InputError(
            f"{name} is no picture that can be read", hint=f"send one of {', '.join(FORMATS)}"
        ) from None
    except (*_DAMAGED, Pillow.DecompressionBombError) as error:
        raise InputError(f"{name} cannot be read: {error}", hint="send it whole") from None
