"""Uploaded pictures, read within bounds."""

from typing import BinaryIO

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from app.embedding.encoder import Image
from app.errors import InputError
from app.upload_memory import UploadWork

# The kinds that browsers and stimulus sets use; others have decoders that few people try.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 50_000_000
# Bytes that a pixel takes while it is decoded and encoded, measured for each kind and mode: 11 to
# 14, and 22 where a WEBP file has alpha.
_PER_PIXEL, _PER_WEBP_PIXEL = 16, 24
_DAMAGED = (OSError, SyntaxError, ValueError, Pillow.DecompressionBombWarning)


def read_picture(file: BinaryIO, name: str, work: UploadWork) -> Image:
    """A picture as 8-bit RGB, its first frame where it has several.

    Parameters
    ----------
    file : file
    name : str
        For errors.
    work : UploadWork
        What its memory is taken from, before any pixel is decoded.

    Returns
    -------
    ndarray
        uint8 (H, W, 3).

    Raises
    ------
    InputError
        It is no picture of a known kind, is damaged, or has more than 50 million pixels, which
        are counted before any is unpacked.
    TooLargeError, BusyError
        There is no memory for it.
    """
    try:
        with Pillow.open(file, formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise InputError(
                    f"{name} has {width} x {height} pixels", hint=f"{MOST_PIXELS:,} are the most"
                )
            per_pixel = _PER_WEBP_PIXEL if opened.format == "WEBP" else _PER_PIXEL
            work.take(width * height * per_pixel, name)
            return np.asarray(opened.convert("RGB"))
    except UnidentifiedImageError:
        raise InputError(
            f"{name} is no picture that can be read", hint=f"send one of {', '.join(FORMATS)}"
        ) from None
    except (*_DAMAGED, Pillow.DecompressionBombError) as error:
        raise InputError(f"{name} cannot be read: {error}", hint="send it whole") from None
