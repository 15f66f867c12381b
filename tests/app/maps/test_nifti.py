"""Tests of maps that are uploaded: what is read, and what is refused."""

import gzip
import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.analyze import AnalyzeImage
from nibabel.freesurfer import MGHImage
from nibabel.nifti1 import Nifti1Pair
from numpy.testing import assert_allclose, assert_array_equal

from app.errors import InputError
from app.maps.nifti import BrainMap, read_map
from app.settings import get_settings
from app.upload_memory import upload_work
from tests.app.maps.volumes import AFFINE, ramp, with_extension, written

CELLS = np.argwhere(np.ones((4, 5, 6)))
CENTRES = CELLS @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def read(content: bytes, image: bytes | None = None) -> BrainMap:
    with upload_work() as work:
        voxels = None if image is None else BytesIO(image)
        return read_map(BytesIO(content), "m.nii", work, voxels)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i2", "<i4", "<f4", "<f8", ">f4", ">i2"])
def test_values_at_the_cells(version: int, packed: bool, kind: str) -> None:
    values = ramp().round().astype(kind)
    found = read(written(values, version=version, packed=packed)).at(CENTRES)
    assert_allclose(found, values.ravel(), atol=1e-9)


def test_between_cells_against_a_literal_version() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 5, 6))
    values[1, 2, 3] = np.nan
    values[3, 0, 0] = np.inf
    oblique = AFFINE.copy()
    oblique[:3, :3] = oblique[:3, :3] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    image = read(written(values, oblique))
    # To a thousandth, so that it is no matter of rounding whether a cell has a share in them.
    cells = rng.uniform(-0.5, 5.5, (400, 3)).round(3)
    cells[:60] = np.round(cells[:60])
    found = image.at(cells @ oblique[:3, :3].T + oblique[:3, 3])
    expected = np.full(len(cells), np.nan)
    for number, cell in enumerate(cells):
        if all(0 <= each <= size - 1 for each, size in zip(cell, values.shape, strict=True)):
            total = 0.0
            for i, j, k in np.ndindex(values.shape):
                weight = np.prod(np.maximum(1 - np.abs(cell - [i, j, k]), 0))
                total += weight * values[i, j, k] if weight > 1e-10 else 0.0
            expected[number] = total if np.isfinite(total) else np.nan
    assert 50 < np.isfinite(expected).sum() < 350
    assert_allclose(found, expected, atol=1e-6)


def test_what_is_not_finite_spoils_no_neighbour_that_it_has_no_share_in() -> None:
    values = ramp()
    values[0, 0, 0] = np.nan
    found = read(written(values)).at(CENTRES)
    assert np.isnan(found[0])
    assert_array_equal(found[1:], values.ravel()[1:])


def test_places_on_the_edge_by_single_precision_are_inside() -> None:
    affine = np.diag([0.7, 0.7, 0.7, 1.0])
    places = np.array([[0.7 * 9, 0.7 * 9, 0.7 * 9], [-0.001, 0, 0]], dtype=np.float32)
    found = read(written(ramp((10, 10, 10)), affine)).at(places)
    assert found[0] == ramp((10, 10, 10))[-1, -1, -1]
    assert np.isnan(found[1])


def test_a_last_axis_of_one_is_left_out() -> None:
    assert_array_equal(read(written(ramp((4, 5, 6, 1)))).stored, ramp())


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [(2.0, 1.0, 2 * ramp() + 1), (0.0, 5.0, ramp()), (np.nan, np.nan, ramp())],
)
def test_scaling(slope: float, intercept: float, expected: np.ndarray) -> None:
    """A slope of 0 or that is no number says that there is none."""
    content = written(ramp(), scl_slope=slope, scl_inter=intercept)
    assert_allclose(read(content).at(CENTRES), expected.ravel())


def test_values_that_overflow_are_left_out() -> None:
    found = read(written(ramp().astype("f8") * 1e305, scl_slope=1e30, scl_inter=0)).at(CENTRES)
    assert np.isnan(found[1:]).all()
    assert found[0] == 0


def test_the_qform_where_there_is_no_sform() -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += 7
    content = written(ramp(), moved, sform_code=0, srow_x=[9, 9, 9, 9])
    assert_allclose(read(content).at(CENTRES + 7), ramp().ravel(), rtol=1e-5)


def test_extensions_are_skipped() -> None:
    found = read(with_extension(written(ramp()), 56)).at(CENTRES)
    assert_array_equal(found, ramp().ravel())


def pair() -> bytes:
    image = Nifti1Pair(ramp(), AFFINE)
    return image.header.binaryblock


def analyze() -> bytes:
    return AnalyzeImage(ramp(), AFFINE).header.binaryblock


def mgh() -> bytes:
    return MGHImage(ramp(), AFFINE).to_bytes()


COLOURS = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
NOT_3D = "m.nii is no 3-D volume: its dimensions are "
NO_AFFINE = "m.nii has an affine that is not finite or not invertible"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "m.nii is no NIfTI file"),
        (b"x" * 1000, "m.nii is no NIfTI file"),
        (written(ramp())[:300], "m.nii is no NIfTI file"),
        (written(ramp(), version=2)[:400], "m.nii is cut off"),
        (written(ramp(), magic=b"nope"), "m.nii is no NIfTI file"),
        (mgh(), "m.nii is no NIfTI file"),
        (gzip.compress(mgh()), "m.nii is no NIfTI file"),
        (analyze(), "m.nii is no NIfTI file"),
        (pair(), "m.nii is the header of a pair of files"),
        (written(ramp())[:-1], "m.nii is cut off"),
        (written(ramp(), packed=True)[:-200], "m.nii is cut off"),
        (written(ramp(), packed=True)[:-1], "m.nii is cut off"),
        (written(ramp(), packed=True)[:-8] + bytes(8), "m.nii cannot be unpacked: "),
        (b"\x1f\x8b" + b"x" * 50, "m.nii cannot be unpacked: "),
        (gzip.compress(written(ramp(), packed=True)), "m.nii is no NIfTI file"),
        (written(ramp((4, 5, 6, 2))), NOT_3D + "4 x 5 x 6 x 2"),
        (written(ramp((4, 5, 6, 1, 3))), NOT_3D + "4 x 5 x 6 x 1 x 3"),
        (written(ramp((20, 6))), NOT_3D + "20 x 6"),
        (written(ramp(), dim=[3, 4, 0, 6, 1, 1, 1, 1]), NOT_3D + "4 x 0 x 6"),
        (written(ramp(), dim=[3, -1, 1, 1, 1, 1, 1, 1]), NOT_3D + "-1 x 1 x 1"),
        (written(ramp(), dim=[9, 4, 5, 6, 1, 1, 1, 1]), NOT_3D + "not told"),
        (written(COLOURS), "m.nii holds voxels of type RGB"),
        (written(ramp().astype(complex)), "m.nii holds voxels of type complex128"),
        (written(ramp(), datatype=1536), "m.nii holds voxels of type float128"),
        (written(ramp(), datatype=1), "m.nii holds voxels of type binary"),
        (written(ramp(), datatype=4242), "m.nii holds voxels of type <unknown code 4242>"),
        (written(ramp(), code=0), "m.nii does not tell where it lies"),
        (
            written(ramp(), qoffset_x=AFFINE[0, 3] + 1.1),
            "m.nii: its sform (code 4) and qform (code",
        ),
        (written(ramp(), srow_x=[-2, 0, 0, 10]), "m.nii: its sform and qform swap left and right"),
        (written(ramp(), srow_x=[0, 0, 0, 0]), NO_AFFINE),
        (written(ramp(), srow_x=[np.nan, 0, 0, 0]), NO_AFFINE),
        (written(ramp(), srow_x=[0, 0, 0, np.inf]), NO_AFFINE),
        (written(ramp(), sform_code=0, quatern_b=9.0), NO_AFFINE),
        (written(ramp(), sform_code=0, pixdim=[1, 0, 0, 0, 0, 0, 0, 0]), NO_AFFINE),
        (written(ramp(), scl_slope=2.0, scl_inter=np.nan), "m.nii has an scl_inter that is not"),
        (written(ramp(), vox_offset=12), "m.nii has its data at byte 12"),
        (written(ramp(), vox_offset=np.nan), "m.nii has its data at byte nan"),
        (written(ramp(), version=2, vox_offset=2**62), "m.nii has its data at byte 4.6"),
        (with_extension(written(ramp()), 16_000_000), "m.nii has its data at byte 1.6"),
    ],
)
def test_what_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read(content)
    assert refused.value.message.startswith(message)
    assert refused.value.hint
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("packed", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("offset", [0, 16])
def test_a_pair_of_files(packed: tuple[bool, bool], offset: int) -> None:
    made = Nifti1Pair(ramp(), AFFINE)
    made.header["vox_offset"] = offset
    header = made.header.binaryblock
    image = bytes(offset) + ramp().tobytes(order="F")
    files = [
        gzip.compress(each) if pack else each
        for each, pack in zip((header, image), packed, strict=True)
    ]
    assert_array_equal(read(*files).at(CENTRES), ramp().ravel())
    with pytest.raises(InputError, match=r"m\.nii is cut off"):
        read(files[0], image[:-1])
    with pytest.raises(InputError, match=r"m\.nii is the header of a pair of files"):
        read(files[0])
    with pytest.raises(InputError, match=r"m\.nii is no header of a pair of files"):
        read(written(ramp()), image)


def test_what_is_an_image_of_labels() -> None:
    labels = np.arange(120).reshape(4, 5, 6) % 7
    for kind in ("u1", "i2", "f4"):
        assert read(written(labels.astype(kind))).looks_like_labels()
    assert read(written(labels.astype("i2"), intent_code=1002)).called_labels
    # A mask, one region of any number, and maps of real numbers, whole ones below 0 among them.
    for other in (labels == 3, 1035 * (labels == 3), labels - 3, labels + 0.5):
        assert not read(written(other.astype("f4"))).looks_like_labels()
    assert not read(written(labels.astype("i2"), scl_slope=0.1)).looks_like_labels()


def test_size_is_judged_by_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes that say that they are many, and many that say so, cost no memory."""
    monkeypatch.setenv("SDC_MAP_MVOXELS", "0.001")
    get_settings.cache_clear()
    large = written(np.zeros((100, 100, 100), dtype=np.float32), packed=True)
    assert len(large) < 10_000
    huge = written(ramp(), version=2, dim=[3, 2**40, 2**40, 2**40, 1, 1, 1, 1])
    tracemalloc.start()
    for content, told in ((large, "100 x 100 x 100"), (huge, f"{2**40} x {2**40}")):
        with pytest.raises(InputError, match=f"m.nii has {told}.* voxels, more than 0.001 mill"):
            read(content)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    get_settings.cache_clear()


def test_no_more_is_unpacked_than_the_header_tells() -> None:
    """What follows the volume, however well it was packed, is not looked at."""
    bomb = gzip.compress(written(ramp()) + bytes(200_000_000), compresslevel=1)
    image = gzip.compress(ramp().tobytes(order="F") + bytes(200_000_000), compresslevel=1)
    header = gzip.compress(pair() + bytes(200_000_000), compresslevel=1)
    tracemalloc.start()
    assert_array_equal(read(bomb).stored, ramp())
    assert_array_equal(read(header, image).stored, ramp())
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(data=st.data(), version=st.sampled_from([1, 2]), packed=st.booleans())
def test_damage_is_an_error_of_the_input(data: st.DataObject, version: int, packed: bool) -> None:
    content = bytearray(written(ramp(), version=version))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    damaged = bytes(content[:end] if data.draw(st.booleans()) else content)
    damaged = gzip.compress(damaged) if packed else damaged
    try:
        found = read(damaged).at(CENTRES)
    except InputError:
        return
    assert found.shape == (len(CENTRES),)
    assert not np.isinf(found).any()
