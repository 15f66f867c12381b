"""Where a BIDS derivative's betas lie that are surfaces: mesh, vertices, regions, MNI."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from app.errors import InputError
from flows.sources.base import RegionMask, Surface
from flows.sources.bids_atlases import label_table, name_atlases
from flows.sources.bids_files import BidsFile, BidsFiles
from flows.sources.ctab import label_masks, read_labels
from flows.sources.grids import require_agreement
from flows.sources.surfaces import (
    HEMISPHERES,
    CiftiSeries,
    GiftiSeries,
    SurfaceSeries,
    is_cifti,
    read_cifti_labels,
    read_gifti_labels,
    read_vertices,
)
from flows.sources.templates import to_mni152

BETAS = (".dscalar.nii", ".dtseries.nii", ".func.gii")
SEGMENTATIONS = (".dlabel.nii", ".label.gii")
# The meshes whose vertices correspond between participants.
TEMPLATES = ("fsLR", "fsaverage")
# What betas were brought to the surface along is between the white surface and the pial one.
_SURFACES = ("midthickness", "white", "pial")
_PACKAGED = 10_242


class BidsSurfaces:
    """One participant's surfaces; see `flows.sources.bids_volumes.BidsVolumes`.

    Places are those of the participant's own surface where there is one, else the template's.
    """

    def __init__(
        self,
        files: BidsFiles,
        participant: str,
        betas: Sequence[tuple[BidsFile, SurfaceSeries]],
        space: str | None,
    ) -> None:
        self._all = files
        self._participant = participant
        self._first, self._series = betas[0]
        self._space = space or ""
        if not self._space.startswith(TEMPLATES):
            raise InputError(
                f"{self._first.path}: surfaces of the space {space or '(none)'}, on which vertices "
                "of participants do not correspond",
                hint="bring the betas to fsLR or fsaverage, and say so by space-",
            )

    @cached_property
    def grid(self) -> Surface:
        """The mesh, with the places of its vertices."""
        vertices = self._template if self._own is None else self._own
        if vertices is None:
            raise InputError(
                f"{self._first.path}: it is not known where the {self._size} vertices of "
                f"{self._name} lie",
                hint=f"add tpl-{self._name}_hemi-L_midthickness.surf.gii and hemi-R beside "
                "dataset_description.json, or the participant's own surfaces in anat",
            )
        return Surface(self._name, vertices, self._series.left_out)

    @property
    def mask(self) -> np.ndarray:
        """Vertices that the betas cover: bool (2, N, 1)."""
        return self._series.covered

    @property
    def mask_rule(self) -> str:
        """Which vertices `mask` holds."""
        return f"the vertices of {self._name} that the betas cover"

    @cached_property
    def files(self) -> list[BidsFile]:
        """Those that tell which vertices are read: the first of CIFTI's."""
        return [self._first] if isinstance(self._series, CiftiSeries) else []

    def regions(self) -> list[RegionMask]:
        """Of every `*_dseg` in `func` of the betas' space."""
        found = self._all.find(
            extension=SEGMENTATIONS,
            subject=self._participant.removeprefix("sub-"),
            space=self._space,
            datatype="func",
            suffix="dseg",
        )
        masks = []
        for name, segmentations in sorted(name_atlases(pair_hemispheres(found)).items()):
            first, what = segmentations[0][0], f"the atlas {name}"
            labels = [(files[0].path, *self._labels(files)) for files in segmentations]
            values = require_agreement([(path, each) for path, each, _ in labels], what)
            table, names = str(first.path), labels[0][2]
            if self._all.inherited(first, ".tsv"):
                table = str(label_table(self._all, first))
                names = read_labels(Path(table))
            elif others := [path for path, _, own in labels if own != names]:
                raise InputError(
                    f"{others[0]}: names labels otherwise than {first.path}, both of {what}",
                    hint="keep one of them, or add a *_dseg.tsv",
                )
            masks += label_masks(name, [(first.path, values)], names, named_by=table)
        return masks

    def _labels(self, files: list[BidsFile]) -> tuple[np.ndarray, dict[int, str]]:
        paths = [file.path for file in files]
        read = read_cifti_labels if is_cifti(paths[0]) else read_gifti_labels
        values, names = read(*paths)
        if values.shape != self.mask.shape:
            raise InputError(
                f"{paths[0]}: a mesh of {values.shape[1]} vertices, the betas of "
                f"{self._participant} have {self._size}",
                hint="give the atlas on the betas' mesh",
            )
        return values, names

    def mni(self) -> np.ndarray | None:
        """MNI mm of the template's vertices, float32 (2, N, 1, 3)."""
        template = self._template
        if template is None:
            return None
        return to_mni152(self._space, template[:, :, None])

    @property
    def _size(self) -> int:
        return int(self.mask.shape[1])

    @property
    def _name(self) -> str:
        density = self._first.get("den")
        # CIFTI's density counts the brain places of both hemispheres, not a mesh's vertices.
        if density is None or is_cifti(self._first.path):
            return self._space
        return f"{self._space}_den-{density}"

    @cached_property
    def _template(self) -> np.ndarray | None:
        files = [f for f in self._surfaces if f.path.name.startswith(f"tpl-{self._space}_")]
        if (vertices := self._of_mesh(files)) is not None:
            return vertices
        if self._space.startswith("fsaverage") and self._size == _PACKAGED:
            return _packaged_fsaverage5()
        return None

    @cached_property
    def _own(self) -> np.ndarray | None:
        return self._of_mesh(
            [
                file
                for file in self._surfaces
                if f"sub-{file.get('subject')}" == self._participant
                and file.get("space") == self._space
            ]
        )

    @cached_property
    def _surfaces(self) -> list[BidsFile]:
        return [file for file in self._all.files if file.get("extension") == ".surf.gii"]

    def _of_mesh(self, files: list[BidsFile]) -> np.ndarray | None:
        """Places on the first of the kinds of surfaces that has as many vertices as the betas."""
        for kind in _SURFACES:
            for pair in pair_hemispheres(file for file in files if file.get("suffix") == kind):
                left, right = (file.path for file in pair)
                if (vertices := read_vertices(left, right)).shape[1] == self._size:
                    return vertices
        return None


def series_of_surfaces(files: list[BidsFile]) -> SurfaceSeries:
    """The betas of one CIFTI file or of GIFTI's two hemispheres."""
    if len(files) == 1:
        return CiftiSeries(files[0].path)
    return GiftiSeries(files[0].path, files[1].path)


def pair_hemispheres(files: Iterable[BidsFile]) -> list[list[BidsFile]]:
    """CIFTI files one by one, GIFTI files left and right together, in the order of the left.

    Raises
    ------
    InputError
        A GIFTI file is of no hemisphere, or the other one is missing.
    """
    groups: dict[tuple[object, ...], dict[str | None, BidsFile]] = {}
    for file in files:
        entities = {key: v for key, v in file.entities.items() if key != "hemi"}
        key = (file.path.parent, *sorted(entities.items()))
        groups.setdefault(key, {})[file.get("hemi")] = file
    pairs = []
    for group in groups.values():
        if set(group) == {None} and is_cifti(group[None].path):
            pairs.append([group[None]])
        elif set(group) == set(HEMISPHERES):
            pairs.append([group[side] for side in HEMISPHERES])
        else:
            there = next(iter(group.values())).path
            raise InputError(
                f"{there}: without the other hemisphere",
                hint="give two files that differ in hemi-L and hemi-R alone",
            )
    return pairs


def _packaged_fsaverage5() -> np.ndarray:
    """Middle of fsaverage5's white and pial surfaces, which nilearn brings along."""
    from nilearn.datasets import load_fsaverage

    meshes = load_fsaverage("fsaverage5")
    middle = [
        (meshes["white_matter"].parts[side].coordinates + meshes["pial"].parts[side].coordinates)
        / 2
        for side in ("left", "right")
    ]
    return np.stack(middle).astype(float)
