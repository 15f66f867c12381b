"""Pictures, decoded by one function: stimuli and uploads of one file are one array.

What files hold besides 8-bit red, green and blue is turned into that, by rules that docs/sources.md
tells ("Pictures"), and is never clipped.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from app.embedding.encoder import Image
from app.errors import InputError
from app.upload_memory import UploadWork

# The kinds that browsers and stimulus sets use; others have decoders that few people try.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 50_000_000
# What is behind transparent parts: of all greys the one that is nearest to any.
MID_GREY = (128, 128, 128)
# Bytes that a pixel takes while it is decoded and encoded, measured for each kind and mode: 11 to
# 15, 18 where parts are transparent, and 22 of WEBP.
_PER_PIXEL, _PER_CLEAR_PIXEL, _PER_WEBP_PIXEL = 16, 20, 24
_DAMAGED = (OSError, SyntaxError, ValueError, Pillow.DecompressionBombWarning)
# What Pillow raises at EXIF that is damaged.
_BAD_EXIF = (*_DAMAGED, AttributeError, KeyError, OverflowError, TypeError, struct.error)
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
# Where the brightest of floating-point values lies between, white may be 1 or 255.
_WHITE, _DIMMEST = 1, 16
_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
# PNG tells its transparent colour as it is stored, and Pillow looks for it in what it has made 8
# bits of.
_STORED: dict[str, Callable[[int], int]] = {
    "L;2": lambda sample: sample * 85,
    "L;4": lambda sample: sample * 17,
    "RGB;16B": lambda sample: sample >> 8,
}
_AT_ONCE = 1 << 20
_HINT = "save it as PNG or JPEG with 8 bits a channel"


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as encoders take it.

    Attributes
    ----------
    pixels : ndarray
        uint8 (H, W, 3), upright.
    transparent : bool
        Whether parts of it let through what is behind, which is mid grey.
    """

    pixels: Image
    transparent: bool


def read_picture(
    file: BinaryIO | Path,
    name: str,
    *,
    formats: tuple[str, ...] = FORMATS,
    most_pixels: int = MOST_PIXELS,
    work: UploadWork | None = None,
) -> Picture:
    """A picture as 8-bit RGB, its first frame where it has several.

    It is turned upright by its EXIF. 16-bit greys are scaled by their type's range, 0 to 65,535.
    Floating-point values are of 0 to 1, or of 0 to 255 where one is beyond 16. Transparent parts
    are put on mid grey.

    Parameters
    ----------
    file : file or Path
    name : str
        For errors.
    formats : tuple of str
        Pillow's names of the kinds that are taken.
    most_pixels : int
        Of a picture; they are counted before any is decoded.
    work : UploadWork, optional
        What its memory is taken from, before any pixel is decoded.

    Raises
    ------
    InputError
        It is no picture of a known kind, is damaged, has too many pixels, or its values do not
        tell what is black and what is white.
    TooLargeError, BusyError
        There is no memory for it.
    """
    with _opened(file, name, formats, most_pixels) as opened:
        if work is not None:
            work.take(opened.width * opened.height * _bytes_of_pixel(opened), name)
        return _decode(opened, name)


def is_transparent(
    file: BinaryIO | Path,
    name: str,
    *,
    formats: tuple[str, ...] = FORMATS,
    most_pixels: int = MOST_PIXELS,
) -> bool:
    """Whether parts of a picture are transparent; its pixels are decoded where only they tell.

    Raises
    ------
    InputError
        As `read_picture`, but for damage behind the header of one whose header tells all.
    """
    with _opened(file, name, formats, most_pixels) as opened:
        unlike = opened.has_transparency_data or opened.mode in (*_SIXTEEN_BITS, "I", "F")
        return unlike and _decode(opened, name).transparent


@contextmanager
def _opened(
    file: BinaryIO | Path, name: str, formats: tuple[str, ...], most_pixels: int
) -> Iterator[Any]:
    """A picture of which nothing but its header is read."""
    try:
        with Pillow.open(file, formats=formats) as opened:
            width, height = opened.size
            if width * height > most_pixels:
                raise InputError(
                    f"{name} has {width} x {height} pixels", hint=f"{most_pixels:,} are the most"
                )
            yield opened
    except UnidentifiedImageError:
        raise InputError(
            f"{name} is no picture that can be read", hint=f"give one of {', '.join(formats)}"
        ) from None
    except (*_DAMAGED, Pillow.DecompressionBombError) as error:
        raise InputError(
            f"{name} cannot be read: {error}", hint=f"give it whole, or {_HINT}"
        ) from None


def _bytes_of_pixel(opened: Any) -> int:
    if opened.format == "WEBP":
        return _PER_WEBP_PIXEL
    return _PER_CLEAR_PIXEL if opened.has_transparency_data else _PER_PIXEL


def _decode(opened: Any, name: str) -> Picture:
    stored = str(opened.tile[0].args) if opened.tile else ""
    opened.load()
    colour = opened.info.get("transparency")
    if colour is not None and stored in _STORED:
        scale = _STORED[stored]
        opened.info["transparency"] = (
            tuple(map(scale, colour)) if isinstance(colour, tuple) else scale(colour)
        )
    # Of one that is damaged nobody knows which way is up.
    with suppress(*_BAD_EXIF):
        ImageOps.exif_transpose(opened, in_place=True)
    picture = _in_eight_bits(opened, name)
    if picture.has_transparency_data:
        # Pillow has no way from premultiplied greys to colours.
        picture = picture.convert("LA") if picture.mode == "La" else picture
        clear = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        if clear.getextrema()[3][0] < 255:
            behind = Pillow.new("RGB", clear.size, MID_GREY)
            behind.paste(clear, mask=clear)
            return Picture(np.asarray(behind), transparent=True)
    return Picture(np.asarray(picture.convert("RGB")), transparent=False)


def _in_eight_bits(picture: Any, name: str) -> Any:
    """The picture, its greys scaled to 8 bits where they have more: Pillow would clip them."""
    tags = getattr(picture, "tag_v2", {})
    # Before Pillow 11.3 PNG's 16 bits came as 32.
    if picture.mode in _SIXTEEN_BITS or (picture.mode == "I" and picture.format == "PNG"):
        values = np.asarray(picture)
        bits = tags.get(_TIFF_BITS, (16,))[0]
        white = float((1 << bits) - 1)
    elif picture.mode == "F":
        values = np.asarray(picture)
        white = _white_of(values, name)
    elif picture.mode == "I":
        raise InputError(
            f"{name} holds whole numbers that are signed or of 32 bits, of which nobody tells "
            "what is white",
            hint=_HINT,
        )
    else:
        return picture
    greys = _scale(values, white)
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        # Which Pillow minds in 8 bits alone.
        np.subtract(255, greys, out=greys)
    made = Pillow.fromarray(greys)
    if isinstance(clear := picture.info.get("transparency"), int):
        made.putalpha(Pillow.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return made


def _white_of(values: NDArray[Any], name: str) -> float:
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= _WHITE:
        return 1.0
    if low >= 0 and _DIMMEST <= high <= 255:
        return 255.0
    raise InputError(
        f"{name} holds values from {low:.7g} to {high:.7g}, of which nobody tells what is white",
        hint=f"write values of 0 to 1, or of 0 to 255 ({_DIMMEST} at least); or {_HINT}",
    )


def _scale(values: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Values of 0 to white as whole numbers of 0 to 255, some at a time."""
    flat = np.ascontiguousarray(values).reshape(-1)
    greys = np.empty(len(flat), np.uint8)
    for start in range(0, len(flat), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        greys[some] = np.rint(flat[some] * (255 / white))
    return greys.reshape(values.shape)
