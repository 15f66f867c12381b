"""Names of template spaces, and which of their millimetres are those of MNI152.

The names are BIDS' standard template identifiers (its appendix on coordinate systems) and
TemplateFlow's. Templates of other brains (Colin27, infants, children, animals), or of another
normalisation (SPM12's IXI549Space, Talairach), differ from MNI152 by millimetres that no affine
tells: there are no MNI152 millimetres of them.
"""

import re

import numpy as np

from app.errors import InputError
from flows.sources.base import Grid

MNI152, NATIVE = "MNI", "native"
# FreeSurfer's matrix from fsaverage's coordinates (MNI305) to MNI152 (its wiki, CoordinateSystems).
MNI305_TO_MNI152 = np.array(
    [
        [0.9975, -0.0073, 0.0176, -0.0429],
        [0.0146, 1.0009, -0.0024, 1.5496],
        [-0.0130, -0.0093, 0.9971, 1.1840],
    ]
)
_AS_THEY_ARE = re.compile(r"MNI152(Lin|NLin6A?Sym|NLin2009[abc]A?Sym)?|fsLR\w*", re.IGNORECASE)
_FROM_305 = re.compile(r"MNI305|fsaverage\w*", re.IGNORECASE)
_OTHERS = re.compile(
    r"MNI\w*\+?\w*|ICBM452\w*|IXI549Space|NIHPD\w*|OASIS30\w*|Talairach|UNC\w*|Fischer344|"
    r"WHS\w*|NKI|PNC\w*|dhcp\w*",
    re.IGNORECASE,
)
# MNI152 as FSL's 1 mm image has it, in mm: nothing of the template lies outside.
_BOX = np.array([[-91.0, -126, -72], [91, 92, 110]])
_LEAST_INSIDE = 0.5


def is_template(space: str) -> bool:
    """Whether a label of a space names a template that is known, MNI152 or another."""
    return any(names.fullmatch(space) for names in (_AS_THEY_ARE, _FROM_305, _OTHERS))


def has_mni152(space: str | None) -> bool:
    """Whether millimetres of a space are those of MNI152, or are brought there by a matrix."""
    if space is None:
        return False
    return space == MNI152 or any(n.fullmatch(space) for n in (_AS_THEY_ARE, _FROM_305))


def to_mni152(space: str | None, mm: np.ndarray) -> np.ndarray | None:
    """MNI152 mm of places in a space.

    Parameters
    ----------
    space : str, optional
        BIDS' label, or `MNI` for MNI152.
    mm : np.ndarray
        (..., 3).

    Returns
    -------
    np.ndarray or None
        float32 (..., 3), None where the space has no MNI152 millimetres.
    """
    if not has_mni152(space):
        return None
    if _FROM_305.fullmatch(str(space)):
        mm = mm @ MNI305_TO_MNI152[:, :3].T + MNI305_TO_MNI152[:, 3]
    return mm.astype(np.float32)


def require_in_mni152(grid: Grid, mask: np.ndarray, participant: str) -> None:
    """Raise `InputError` where a grid that is said to be in a space of MNI152 cannot be.

    Its header tells no place, or most of the mask lies outside of the template.

    Parameters
    ----------
    mask : np.ndarray
        bool (X, Y, Z).
    """
    if not grid.known:
        raise InputError(
            f"{grid.path} does not tell where it lies, its sform and qform codes are 0, and "
            f"{participant} is said to be in {grid.space}",
            hint="set the code of its affine, 4 for MNI152, or leave the space out",
        )
    mm = to_mni152(grid.space, grid.places(np.argwhere(mask)))
    if mm is None:
        return
    inside = ((mm >= _BOX[0]) & (mm <= _BOX[1])).all(axis=1).mean()
    if inside < _LEAST_INSIDE:
        raise InputError(
            f"{grid.path}: {1 - inside:.0%} of the mask of {participant} lie outside of MNI152, "
            f"and it is said to be in {grid.space}",
            hint="correct the affine, or leave the space out: MNI152 ends 91 mm left and right",
        )
