"""Tests of how pictures are decoded, of stimuli and uploads alike."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app import pictures
from app.errors import InputError
from app.upload_memory import upload_work

# Those of stimuli.
KINDS = (*pictures.FORMATS, "TIFF")


def read_picture(file: BytesIO, name: str) -> np.ndarray:
    with upload_work() as work:
        return pictures.read_picture(file, name, work=work).pixels


def read(content: bytes) -> pictures.Picture:
    return pictures.read_picture(BytesIO(content), "p", formats=KINDS)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def tiff(values: np.ndarray, *, photometric: int = 1, bits: int | None = None) -> bytes:
    """Greys as a TIFF file, written out by hand: Pillow writes no picture whose white is 0."""
    kinds = {"u": 1, "i": 2, "f": 3}
    height, width = values.shape
    data = values.tobytes()
    tags = [
        *((256, width), (257, height), (258, bits or 8 * values.itemsize), (259, 1)),
        *((262, photometric), (273, 8 + 2 + 12 * 10 + 4), (277, 1), (278, height)),
        *((279, len(data)), (339, kinds[values.dtype.kind])),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data


def png(depth: int, colour: int, row: bytes, clear: bytes, width: int) -> bytes:
    """A row of pixels as a PNG file, written out by hand, some of them transparent by value."""
    header = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", clear), (b"IDAT", zlib.compress(b"\0" + row))]
    chunks = [(name, data) for name, data in chunks if data]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (*chunks, (b"IEND", b""))
    )


def greys(found: pictures.Picture) -> list[int]:
    """A row of greys."""
    assert (found.pixels == found.pixels[..., :1]).all()
    return list(found.pixels[0, :, 0])


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


SIXTEEN = np.array([[0, 257, 1000, 32768, 65535]], np.uint16)
EIGHT = [0, 1, 4, 128, 255]


@pytest.mark.parametrize(
    "content",
    [
        saved(Image.fromarray(SIXTEEN), "PNG"),
        saved(Image.fromarray(SIXTEEN), "TIFF"),
        saved(Image.fromarray(SIXTEEN), "TIFF", compression="tiff_lzw"),
        saved(Image.fromarray(SIXTEEN.astype(">u2")), "TIFF"),
        tiff(65535 - SIXTEEN, photometric=0),
        tiff((SIXTEEN / 65535).astype(np.float32)),
        tiff((SIXTEEN / 257).astype(np.float32)),
        tiff((1 - SIXTEEN / 65535).astype(np.float32), photometric=0),
    ],
)
def test_greys_of_more_than_8_bits_are_scaled(content: bytes) -> None:
    """Of which Pillow alone makes white but for the darkest 255, or black."""
    assert greys(read(content)) == EIGHT


def test_12_bits_are_scaled_by_their_range() -> None:
    """Three bytes hold two of them: 0xFFF, 0x800."""
    content = tiff(np.array([[0xFF, 0xF8, 0x00]], np.uint8), bits=12)
    content = content.replace(
        struct.pack("<HHII", 256, 4, 1, 3), struct.pack("<HHII", 256, 4, 1, 2)
    )
    assert greys(read(content)) == [255, 128]


def test_16_bit_colours_are_scaled() -> None:
    row = struct.pack(">6H", 0, 32768, 65535, 257, 256, 514)
    found = read(png(16, 2, row, b"", 2))
    assert found.pixels.tolist() == [[[0, 128, 255], [1, 1, 2]]]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.float32([[-0.5, 1]]), "values from -0.5 to 1"),
        (np.float32([[0, 1.2]]), "values from 0 to 1.2"),
        (np.float32([[0, 15]]), "values from 0 to 15"),
        (np.float32([[0, 256]]), "values from 0 to 256"),
        (np.float32([[0, np.nan]]), "values from nan to nan"),
        (np.float32([[0, np.inf]]), "values from 0 to inf"),
        (np.int16([[0, 500]]), "whole numbers that are signed or of 32 bits"),
        (np.uint32([[0, 500]]), "whole numbers that are signed or of 32 bits"),
    ],
)
def test_values_that_do_not_tell_what_is_white(values: np.ndarray, told: str) -> None:
    with pytest.raises(InputError, match=f"^p holds {told}.*nobody tells what is white") as caught:
        read(tiff(values))
    assert "8 bits a channel" in caught.value.hint
    with pytest.raises(InputError, match="nobody tells"):
        pictures.is_transparent(BytesIO(tiff(values)), "p", formats=KINDS)


def test_dim_pictures_of_0_to_255() -> None:
    assert greys(read(tiff(np.float32([[0, 1, 16]])))) == [0, 1, 16]
    assert greys(read(tiff(np.float32([[0, 0.004, 0.004]])))) == [0, 1, 1]


UPRIGHT = np.zeros((2, 3, 3), np.uint8)
UPRIGHT[0] = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
# How a camera stores it, by the value of EXIF's orientation (EXIF 2.32, table 9).
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.swapaxes(0, 1),
    6: UPRIGHT.swapaxes(0, 1)[::-1],
    7: UPRIGHT.swapaxes(0, 1)[::-1, ::-1],
    8: UPRIGHT.swapaxes(0, 1)[:, ::-1],
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "palette", "grey"])
def test_pictures_are_turned_upright(orientation: int, kind: str) -> None:
    image = Image.fromarray(STORED[orientation])
    expected = UPRIGHT
    if kind == "palette":
        image = image.quantize(4)
    if kind == "grey":
        image = Image.fromarray(STORED[orientation][..., 0].astype(np.uint16) * 257)
        expected = np.repeat(UPRIGHT[..., :1], 3, axis=2)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    kind = kind if kind in KINDS else "PNG"
    np.testing.assert_array_equal(read(saved(image, kind, exif=exif, **options)).pixels, expected)


def test_a_portrait_of_a_camera_stands() -> None:
    """A JPEG of 32 x 16 cells that says that its right side is up; the left half is white."""
    stored = np.zeros((16, 32), np.uint8)
    stored[:, :16] = 255
    exif = Image.Exif()
    exif[274] = 8
    found = read(saved(Image.fromarray(stored), "JPEG", exif=exif)).pixels
    assert found.shape == (32, 16, 3)
    assert (found[16:] > 250).all()
    assert (found[:16] < 5).all()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"\0" * 9])
def test_damaged_exif_is_left_out(exif: bytes) -> None:
    np.testing.assert_array_equal(
        read(saved(Image.fromarray(COLOURS), "PNG", exif=exif)).pixels, COLOURS
    )


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_parts_are_put_on_mid_grey(kind: str) -> None:
    """Each pixel by its alpha, as 255 x (1 - a) is hidden; black is what Pillow alone shows."""
    alpha = np.array([[0, 255, 128, 51, 0]] * 4, np.uint8)
    content = saved(
        Image.fromarray(np.dstack([COLOURS, alpha])),
        kind,
        **({"lossless": True, "exact": True} if kind == "WEBP" else {}),
    )
    found = read(content)
    part = alpha[..., None] / 255
    np.testing.assert_allclose(found.pixels, COLOURS * part + 128 * (1 - part), atol=0.51)
    assert found.transparent
    assert pictures.is_transparent(BytesIO(content), "p", formats=KINDS)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_that_hides_nothing(mode: str) -> None:
    content = saved(Image.new(mode, (2, 2), "white"), "PNG")
    found = read(content)
    assert (found.pixels == 255).all()
    assert not found.transparent
    assert not pictures.is_transparent(BytesIO(content), "p")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(1, 0, b"\x80", struct.pack(">H", 1), 2), [128, 0]),
        (png(2, 0, b"\xd0", struct.pack(">H", 3), 2), [128, 85]),
        (png(4, 0, b"\xf3", struct.pack(">H", 15), 2), [128, 51]),
        (png(8, 0, b"\xff\x03", struct.pack(">H", 255), 2), [128, 3]),
        (png(16, 0, b"\xff\xff\x03\x03", struct.pack(">H", 65535), 2), [128, 3]),
        (png(8, 2, b"\7\7\7\0\0\0", struct.pack(">3H", 7, 7, 7), 2), [128, 0]),
        (png(16, 2, b"\x80\0" * 3 + bytes(6), struct.pack(">3H", *[32768] * 3), 2), [128, 0]),
        (saved(Image.new("LA", (2, 1), (9, 0)), "PNG"), [128, 128]),
        (saved(Image.new("La", (2, 1), (0, 0)).convert("LA"), "TIFF"), [128, 128]),
    ],
)
def test_what_is_transparent_by_its_value(content: bytes, expected: list[int]) -> None:
    """PNG tells it in the bits that it is stored in."""
    found = read(content)
    assert greys(found) == expected
    assert found.transparent


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
@pytest.mark.parametrize("clear", [None, 1])
def test_palettes(kind: str, clear: int | None) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([250, 10, 20, 30, 240, 50])
    image.putdata([0, 1])
    options = {} if clear is None else {"transparency": clear}
    found = read(saved(image, kind, **options))
    second = [30, 240, 50] if clear is None else [128, 128, 128]
    assert found.pixels.tolist() == [[[250, 10, 20], second]]
    assert found.transparent == (clear is not None)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks(kind: str) -> None:
    """Cyan, magenta, yellow, black and no ink; Adobe's JPEG files have them the other way round."""
    inks = np.zeros((16, 80, 4), np.uint8)
    for place in range(4):
        inks[:, 16 * place : 16 * (place + 1), place] = 255
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = read(saved(Image.fromarray(inks, "CMYK"), kind, **options)).pixels
    expected = [[0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 0, 0], [255, 255, 255]]
    np.testing.assert_allclose(found[8, 8::16], expected, atol=3)
    assert not read(saved(Image.fromarray(inks, "CMYK"), kind, **options)).transparent


def test_uploads_are_no_tiff() -> None:
    with pytest.raises(InputError, match="p is no picture that can be read"):
        pictures.read_picture(BytesIO(saved(Image.new("L", (2, 2)), "TIFF")), "p")


def test_no_pixel_is_decoded_of_too_large_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    for look in (pictures.read_picture, pictures.is_transparent):
        with pytest.raises(InputError, match="p has 5 x 4 pixels"):
            look(BytesIO(written("PNG", "RGBA")), "p", most_pixels=19)
    assert not pictures.is_transparent(BytesIO(written("PNG")), "p", most_pixels=20)


def oriented(kind: str) -> bytes:
    exif = Image.Exif()
    exif[274], exif[271] = 6, "a camera"
    return saved(Image.fromarray(COLOURS), kind, exif=exif)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF"]), st.data())
def test_damaged_orientation_is_an_error_of_the_input(kind: str, data: st.DataObject) -> None:
    content = bytearray(oriented(kind))
    start = max(content.find(b"Exif"), content.find(b"EXIF"), content.find(b"eXIf"), 0)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(start, min(start + 60, len(content) - 1)))
        content[at] = data.draw(st.integers(0, 255))
    if kind == "PNG":
        # Damage that a checksum shows would stop at it.
        size = int.from_bytes(content[start - 4 : start], "big")
        end = start + 4 + size
        content[end : end + 4] = struct.pack(">I", zlib.crc32(content[start:end]))
    try:
        found = read(bytes(content)).pixels
    except InputError:
        return
    assert found.ndim == 3


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
