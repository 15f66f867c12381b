"""Which spaces have MNI152 millimetres, and which."""

from pathlib import Path

import numpy as np
import pytest

from flows.sources.base import Grid
from flows.sources.templates import is_template, require_in_mni152, to_mni152
from tests.flows.sources.faults import refused

PLACES = np.array([[10.0, -20, 35], [-40, 0, 5]])


@pytest.mark.parametrize(
    "space",
    [
        *("MNI", "MNI152", "MNI152Lin", "MNI152NLin6Sym", "MNI152NLin6Asym", "MNI152NLin6ASym"),
        *(f"MNI152NLin2009{part}{kind}" for part in "abc" for kind in ("Sym", "Asym")),
        "fsLR",
    ],
)
def test_variants_of_mni152_are_as_they_are(space: str) -> None:
    mm = to_mni152(space, PLACES)
    assert mm is not None
    np.testing.assert_array_equal(mm, PLACES.astype(np.float32))


@pytest.mark.parametrize("space", ["MNI305", "fsaverage", "fsaverage5"])
def test_mni305_is_brought_by_freesurfers_matrix(space: str) -> None:
    """(10, -20, 35) by the matrix, worked out by hand."""
    mm = to_mni152(space, PLACES)
    assert mm is not None
    np.testing.assert_allclose(mm[0], [10.6941, -18.4064, 36.1385], atol=1e-4)


@pytest.mark.parametrize(
    "space",
    [
        *("MNIInfant", "MNIInfant+1", "MNIPediatricAsym", "MNIPediatricAsym+3", "MNIColin27"),
        *("IXI549Space", "ICBM452AirSpace", "Talairach", "NIHPD", "UNCInfant", "MNI152alike"),
        *("T1w", "fsnative", "individual", None),
    ],
)
def test_other_spaces_have_none(space: str | None) -> None:
    assert to_mni152(space, PLACES) is None


def test_templates_that_are_known() -> None:
    assert all(map(is_template, ("MNI152Lin", "MNI305", "MNIColin27", "MNIInfant+1")))
    assert not any(map(is_template, ("T1w", "fsnative", "lab")))


def test_a_mask_that_cannot_be_in_mni152(tmp_path: Path) -> None:
    mask = np.ones((91, 109, 91), bool)
    fsl = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
    path = tmp_path / "mask.nii"
    require_in_mni152(Grid(mask.shape, fsl, path, space="MNI152NLin6Asym"), mask, "sub-01")
    # Voxels that are counted from 0 are no millimetres.
    counted = Grid(mask.shape, np.diag([2.0, 2, 2, 1]), path, space="MNI")
    refused(
        tmp_path, lambda: require_in_mni152(counted, mask, "sub-01"), "mask.nii", "sub-01", "MNI"
    )
    silent = Grid(mask.shape, fsl, path, known=False, space="MNI")
    refused(
        tmp_path,
        lambda: require_in_mni152(silent, mask, "sub-01"),
        "mask.nii does not tell where it lies",
        "sub-01 is said to be in MNI",
    )
