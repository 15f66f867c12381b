"""Tests of uploaded pictures."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app import pictures
from app.embedding.encoder import Image as Pixels
from app.errors import InputError
from app.upload_memory import upload_work


def read_picture(file: BytesIO, name: str) -> Pixels:
    with upload_work() as work:
        return pictures.read_picture(file, name, work)


COLOURS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def written(kind: str, mode: str = "RGB") -> bytes:
    out = BytesIO()
    Image.fromarray(COLOURS).convert(mode).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("BMP", "RGB"), ("PNG", "RGBA")])
def test_pictures_are_read_as_rgb(kind: str, mode: str) -> None:
    np.testing.assert_array_equal(read_picture(BytesIO(written(kind, mode)), "p"), COLOURS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_every_kind_has_its_shape(kind: str) -> None:
    found = read_picture(BytesIO(written(kind)), "p")
    assert (found.shape, found.dtype) == ((4, 5, 3), np.uint8)


def huge_png(width: int, height: int) -> bytes:
    """A few bytes that say that they are a large picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "p is no picture that can be read"),
        (b"<svg/>", "p is no picture that can be read"),
        (written("PNG")[:-30], "p cannot be read: "),
        (huge_png(8000, 7000), "p has 8000 x 7000 pixels"),
        (huge_png(10_000, 10_000), "p cannot be read: "),
        (huge_png(60_000, 60_000), "p cannot be read: "),
    ],
)
def test_what_is_no_picture(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_picture(BytesIO(content), "p")


@settings(max_examples=300)
@given(st.sampled_from(["PNG", "GIF", "BMP", "JPEG", "WEBP"]), st.data())
def test_damage_is_an_error_of_the_input(kind: str, data: st.DataObject) -> None:
    content = bytearray(written(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_picture(BytesIO(bytes(content)), "p")
    except InputError:
        return
    assert found.ndim == 3
