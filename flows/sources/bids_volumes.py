"""Where a BIDS derivative's betas lie that are volumes: mask, grid, regions, MNI."""

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from app.errors import InputError
from flows.sources.base import Grid, RegionMask
from flows.sources.bids_atlases import label_table, name_atlases
from flows.sources.bids_files import NIFTI, BidsFile, BidsFiles
from flows.sources.ctab import read_labels, region_masks
from flows.sources.transforms import grid_coordinates
from flows.sources.volumes import (
    is_nifti,
    read_mask,
    require_affine,
    require_grid,
    require_voxels,
)


class BidsVolumes:
    """One participant's volumes.

    Parameters
    ----------
    files : BidsFiles
    participant : str
    betas : sequence of BidsFile
        All that are read of the participant.
    space : str, optional
        Their label of the space, None for none.
    tasks : collection
        Of all betas that are read; an atlas of another task is another's.
    """

    def __init__(
        self,
        files: BidsFiles,
        participant: str,
        betas: Sequence[BidsFile],
        space: str | None,
        tasks: Collection[str | None],
    ) -> None:
        self._all = files
        self._participant = participant
        self._betas = betas
        self._space = space
        self._tasks = {None, *tasks}

    @property
    def grid(self) -> Grid:
        """Shape and affine are the mask's."""
        mask, affine = self._mask
        return Grid(cast(tuple[int, int, int], mask.shape), affine)

    @property
    def mask(self) -> np.ndarray:
        """Where all brain masks are finite and not zero: bool (X, Y, Z)."""
        return self._mask[0]

    @property
    def mask_rule(self) -> str:
        """Which brain masks `mask` goes by."""
        first, *others = [file.path.name for file in self.files]
        if not others:
            return f"where {first} is finite and not zero"
        return f"where {first} and {len(others)} more are finite and not zero"

    @cached_property
    def files(self) -> list[BidsFile]:
        """The brain masks that go with the betas."""
        masks = self._of_space(suffix="mask", desc="brain")
        used: dict[Path, BidsFile] = {}
        for betas in self._betas:
            entities = {k: v for k, v in betas.named.items() if k not in ("desc", "stat")}
            fitting = {mask.path: mask for mask in masks if mask.agrees(entities)}
            if not fitting:
                raise InputError(
                    f"{betas.path}: no *_desc-brain_mask.nii.gz of its space goes with it",
                    hint="give one in func, of the betas' space",
                )
            used |= fitting
        return [used[path] for path in sorted(used)]

    def require_place(self, path: Path) -> None:
        """Raise `InputError` where an image's affine is not the grid's."""
        if is_nifti(path):
            require_affine(path, self.grid.affine, self._participant)

    def regions(self) -> list[RegionMask]:
        """Of every `*_dseg` in `func` of the betas' space and task."""
        files = [
            file
            for file in self._of_space(suffix="dseg")
            if file.get("task") in self._tasks or self._tasks == {None}
        ]
        masks = []
        for name, file in sorted(name_atlases([file] for file in files).items()):
            table = label_table(self._all, file[0])
            masks += region_masks(
                name,
                [file[0].path],
                read_labels(table),
                named_by=str(table),
                grid=self.grid.shape,
                participant=self._participant,
            )
        return masks

    def mni(self) -> np.ndarray | None:
        """By the affine, where the label of the space begins with MNI."""
        if self._space is None or not self._space.startswith("MNI"):
            return None
        return grid_coordinates(self.grid)

    @cached_property
    def _mask(self) -> tuple[np.ndarray, np.ndarray]:
        first, *others = self.files
        mask, affine = read_mask(first.path)
        for other in others:
            members, _ = read_mask(other.path)
            require_grid(
                other.path, members.shape, cast(tuple[int, int, int], mask.shape), self._participant
            )
            require_affine(other.path, affine, self._participant)
            mask &= members
        require_voxels(first.path, mask, self._participant)
        return mask, affine

    def _of_space(self, **entities: str) -> list[BidsFile]:
        return self._all.find(
            extension=NIFTI,
            subject=self._participant.removeprefix("sub-"),
            space=self._space,
            datatype="func",
            **entities,
        )
