"""Where an image lies, as its header tells: one reading for uploads and for sources alike."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError

SCANNER = 1
# NIFTI_XFORM_UNKNOWN to NIFTI_XFORM_TEMPLATE_OTHER of nifti1.h.
_CODES = range(6)
# Half a voxel: beyond it programs that go by the one or the other name other voxels.
_SAME_VOXEL = 0.5
_MOST_OBLIQUE = 1e6
_HINT = "set both from the image that it was made of, or the code of the wrong one to 0"


@dataclass(frozen=True, eq=False)
class ImageAffine:
    """From voxels to mm.

    Attributes
    ----------
    matrix : ndarray
        (4, 4), 0-based voxel index to mm.
    known : bool
        Whether the header tells it. Where not, the matrix is nibabel's convention: voxels of the
        header's size around 0 mm, and left and right are not known.
    """

    matrix: NDArray[np.float64]
    known: bool


def image_affine(header: Any, name: str) -> ImageAffine:
    """The affine of an image's header.

    The sform counts where both are told, as in nibabel, FSL and SPM. The two may differ where
    the qform tells the place in the scanner and the sform, under a code of its own, one that the
    image was aligned to; they are then of one handedness.

    Parameters
    ----------
    header
        nibabel's, of NIfTI-1, NIfTI-2, a pair of files, Analyze or MGH. nibabel's loader sets codes
        that it does not know to 0: of a loaded image the header as it is stored is wanted.
    name : str
        Of the file, for errors.

    Raises
    ------
    InputError
        A code is none that NIfTI defines, sform and qform contradict each other, or the affine is
        not finite or not invertible.
    """
    from nibabel.spatialimages import HeaderDataError

    try:
        # Damaged headers overflow on the way.
        with np.errstate(all="ignore"):
            if "sform_code" not in header:
                # Analyze tells sizes of voxels alone.
                is_mgh = hasattr(header, "get_affine")
                matrix = header.get_affine() if is_mgh else header.get_best_affine()
                return ImageAffine(_usable(matrix, name), is_mgh)
            sform, qform = (_code(header, form, name) for form in ("sform", "qform"))
            if abs(header["pixdim"][0]) != 1:
                # NIfTI: a qfac of 0 stands for 1. nibabel's loader takes all others so.
                header = header.copy()
                header["pixdim"][0] = 1
            matrix = _usable(header.get_best_affine(), name)
            if sform > 0 and qform > 0:
                _require_agreement(header, matrix, sform, qform, name)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):
        raise _unusable(name) from None
    return ImageAffine(matrix, sform > 0 or qform > 0)


def require_known(affine: ImageAffine, name: str) -> None:
    """Raise `InputError` where a header does not tell the place that it is asked for."""
    if not affine.known:
        raise InputError(
            f"{name} does not tell where it lies: its sform and qform codes are 0",
            hint="set the code of its affine, 4 for MNI152 and 1 for the scanner",
        )


def farthest_shift(
    one: NDArray[np.floating], other: NDArray[np.floating], shape: tuple[int, ...]
) -> float:
    """How far apart two affines put a voxel of a grid at most, in mm.

    Parameters
    ----------
    one, other : ndarray
        (4, 4).
    shape : tuple of int
        Voxels along three axes; the farthest is one of the corners.
    """
    corners = np.array([[*corner, 1] for corner in product(*((0, size - 1) for size in shape[:3]))])
    shifts = corners @ (np.asarray(one) - np.asarray(other)).T
    return float(np.linalg.norm(shifts[:, :3], axis=1).max())


def voxel_size(matrix: NDArray[np.floating]) -> float:
    """The smallest of a voxel's three sizes in mm."""
    return float(np.linalg.norm(matrix[:3, :3], axis=0).min())


def _code(header: Any, form: str, name: str) -> int:
    code = int(header[f"{form}_code"])
    if code not in _CODES:
        raise InputError(
            f"{name}: its {form} code is {code}, which NIfTI does not define",
            hint="set it to 1 (scanner), 2 (aligned to another image), 3 (Talairach), 4 (MNI152), "
            "5 (another template) or 0 (none)",
        )
    return code


def _require_agreement(
    header: Any, matrix: NDArray[np.float64], sform: int, qform: int, name: str
) -> None:
    from nibabel.spatialimages import HeaderDataError

    try:
        other = np.asarray(header.get_qform(), dtype=float)
        # A qform cannot tell shears: of the sform what one can tell is compared.
        rigid = header.copy()
        rigid.set_qform(matrix, qform)
        told = np.asarray(rigid.get_qform(), dtype=float)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):
        # A qform that nobody can read contradicts nothing.
        return
    shape = tuple(int(size) for size in header["dim"][1:4])
    shift = farthest_shift(told, other, shape)
    if shift <= _SAME_VOXEL * voxel_size(matrix):
        return
    one_hand = np.linalg.det(matrix[:3, :3]) * np.linalg.det(other[:3, :3]) > 0
    if not one_hand:
        raise InputError(f"{name}: its sform and qform swap left and right", hint=_HINT)
    if sform == qform or qform != SCANNER:
        raise InputError(
            f"{name}: its sform (code {sform}) and qform (code {qform}) put a voxel up to "
            f"{shift:.1f} mm apart",
            hint=_HINT,
        )


def _usable(matrix: Any, name: str) -> NDArray[np.float64]:
    affine = np.asarray(matrix, dtype=float)
    if np.isfinite(affine).all() and np.linalg.cond(affine[:3, :3]) < _MOST_OBLIQUE:
        return affine
    raise _unusable(name)


def _unusable(name: str) -> InputError:
    return InputError(
        f"{name} has an affine that is not finite or not invertible", hint="mend its sform or qform"
    )
