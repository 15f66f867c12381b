"""Where headers say that images lie, against affines that are written out by hand."""

import nibabel
import numpy as np
import pytest
from nibabel.spm2analyze import Spm2AnalyzeImage

from app.errors import InputError
from app.image_affine import farthest_shift, image_affine

RAS = np.array([[2.0, 0, 0, -8], [0, 3, 0, -6], [0, 0, 4, -2], [0, 0, 0, 1]])
LAS = np.array([[-2.0, 0, 0, 8], [0, 3, 0, -6], [0, 0, 4, -2], [0, 0, 0, 1]])
SHAPE = (9, 5, 2)


def image(
    sform: np.ndarray, sform_code: int, qform: np.ndarray, qform_code: int
) -> nibabel.Nifti1Image:
    made = nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), RAS)
    made.set_qform(qform, qform_code)
    made.set_sform(sform, sform_code)
    return made


@pytest.mark.parametrize("version", [nibabel.Nifti1Image, nibabel.Nifti2Image, nibabel.Nifti1Pair])
@pytest.mark.parametrize(("codes", "told"), [((1, 1), RAS), ((4, 0), RAS), ((0, 1), LAS)])
def test_the_sform_counts_then_the_qform(
    version: type, codes: tuple[int, int], told: np.ndarray
) -> None:
    made = version(np.zeros(SHAPE, np.int16), RAS)
    made.set_qform(LAS if codes == (0, 1) else RAS, codes[1])
    made.set_sform(RAS, codes[0])
    affine = image_affine(made.header, "x.nii")
    assert affine.known
    np.testing.assert_allclose(affine.matrix, told, atol=1e-5)


def test_codes_of_0_tell_no_place() -> None:
    assert not image_affine(image(RAS, 0, RAS, 0).header, "x.nii").known
    assert not image_affine(Spm2AnalyzeImage(np.zeros(SHAPE, np.int16), RAS).header, "x.img").known


@pytest.mark.parametrize("code", [-32768, -1, 6, 16, 32767])
@pytest.mark.parametrize("form", ["sform", "qform"])
@pytest.mark.parametrize("other", [0, 1])
def test_codes_that_nifti_does_not_define(form: str, code: int, other: int) -> None:
    header = image(RAS, other, RAS, other).header
    header[f"{form}_code"] = code
    with pytest.raises(InputError, match=f"x.nii: its {form} code is {code}, which NIfTI does not"):
        image_affine(header, "x.nii")


@pytest.mark.parametrize("code", range(1, 6))
def test_codes_that_nifti_defines(code: int) -> None:
    header = image(RAS, 0, RAS, 0).header
    for form in ("sform", "qform"):
        header[f"{form}_code"] = code
        assert image_affine(header, "x.nii").known


def test_a_qfac_of_0_stands_for_1() -> None:
    header = image(RAS, 0, RAS, 2).header
    header["pixdim"][0] = 0
    np.testing.assert_allclose(image_affine(header, "x.nii").matrix, RAS, atol=1e-5)
    assert header["pixdim"][0] == 0


def test_an_mgh_image_tells_its_place() -> None:
    made = nibabel.MGHImage(np.zeros(SHAPE, np.float32), RAS)
    affine = image_affine(made.header, "x.mgz")
    assert affine.known
    np.testing.assert_allclose(affine.matrix, RAS, atol=1e-5)


@pytest.mark.parametrize("shift", [0.9, 1.1])
def test_forms_that_disagree(shift: float) -> None:
    """Half a voxel of 2 mm is 1 mm."""
    moved = RAS.copy()
    moved[0, 3] += shift
    made = image(RAS, 2, moved, 2)
    if shift < 1:
        np.testing.assert_array_equal(image_affine(made.header, "x.nii").matrix, RAS)
        return
    with pytest.raises(
        InputError, match=r"x.nii: its sform \(code 2\) and qform \(code 2\).*1\.1 mm"
    ):
        image_affine(made.header, "x.nii")


def test_an_alignment_beside_the_scanners_place() -> None:
    moved = RAS.copy()
    moved[:3, 3] += 30
    np.testing.assert_array_equal(image_affine(image(RAS, 4, moved, 1).header, "x").matrix, RAS)
    with pytest.raises(InputError, match="mm apart"):
        image_affine(image(RAS, 1, moved, 4).header, "x")
    with pytest.raises(InputError, match="swap left and right"):
        image_affine(image(RAS, 4, LAS, 1).header, "x")


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_an_affine_that_is_no_affine(value: float) -> None:
    made = image(RAS, 1, RAS, 0)
    made.header["srow_x"] = value
    with pytest.raises(InputError, match="not finite or not invertible"):
        image_affine(made.header, "x.nii")


def test_shears_are_of_the_sform_alone() -> None:
    """Which a qform cannot tell: it has the nearest affine that it can."""
    sheared = RAS @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    told = image_affine(image(sheared, 4, sheared, 4).header, "x").matrix
    np.testing.assert_allclose(told, sheared, rtol=1e-6)
    moved = sheared.copy()
    moved[0, 3] += 5
    with pytest.raises(InputError, match="mm apart"):
        image_affine(image(sheared, 4, moved, 4).header, "x")


def test_the_farthest_corner() -> None:
    """LAS and RAS about 0 mm: the first voxel is at -8 mm by the one, at 8 mm by the other."""
    assert farthest_shift(RAS, LAS, SHAPE) == 16
