"""Where a BIDS derivative's betas lie that are volumes: mask, grid, regions, MNI."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from app.errors import InputError
from flows.sources.base import Grid, RegionMask
from flows.sources.bids_atlases import label_table, name_atlases
from flows.sources.bids_files import NIFTI, BidsFile, BidsFiles
from flows.sources.ctab import label_masks, read_labels
from flows.sources.grids import labels_onto, onto, require_agreement
from flows.sources.templates import is_template, require_in_mni152, to_mni152
from flows.sources.transforms import grid_coordinates
from flows.sources.volumes import Series, read_mask, read_volume, require_voxels


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
    resample : bool
        Whether atlases of other voxels are taken by the nearest one.
    """

    def __init__(
        self,
        files: BidsFiles,
        participant: str,
        betas: Sequence[BidsFile],
        space: str | None,
        tasks: Collection[str | None],
        *,
        resample: bool = False,
    ) -> None:
        self._all = files
        self._participant = participant
        self._betas = betas
        self._space = space
        self._tasks = {None, *tasks}
        self._resample = resample

    @property
    def grid(self) -> Grid:
        """Shape and affine are the mask's."""
        return self._mask[1]

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

    def place(self, series: Series) -> Series:
        """Betas on the grid, by where their image lies; an `InputError` where that is elsewhere."""
        return series.on(self.grid, self._participant)

    def regions(self) -> list[RegionMask]:
        """Of every `*_dseg` in `func` of the betas' space and task."""
        files = [
            file
            for file in self._of_space(suffix="dseg")
            if file.get("task") in self._tasks or self._tasks == {None}
        ]
        masks = []
        for name, segmentations in sorted(name_atlases([file] for file in files).items()):
            first = segmentations[0][0]
            table = label_table(self._all, first)
            values = require_agreement(
                [self._labels(file.path) for (file,) in segmentations], f"the atlas {name}"
            )
            masks += label_masks(
                name, [(first.path, values)], read_labels(table), named_by=str(table)
            )
        return masks

    def _labels(self, path: Path) -> tuple[Path, np.ndarray]:
        values, own = read_volume(path)
        return path, labels_onto(values, own, self.grid, self._participant, resample=self._resample)

    def mni(self) -> np.ndarray | None:
        """By the affine, where the space is one of MNI152, or MNI305."""
        return to_mni152(self._space, grid_coordinates(self.grid))

    @cached_property
    def _mask(self) -> tuple[np.ndarray, Grid]:
        first, *others = self.files
        mask, grid = read_mask(first.path)
        for other in others:
            members, own = read_mask(other.path)
            mask &= onto(members, own, grid, self._participant)
        require_voxels(first.path, mask, self._participant)
        grid = replace(grid, space=self._space)
        if self._space is not None and is_template(self._space):
            require_in_mni152(grid, mask, self._participant)
        return mask, grid

    def _of_space(self, **entities: str) -> list[BidsFile]:
        return self._all.find(
            extension=NIFTI,
            subject=self._participant.removeprefix("sub-"),
            space=self._space,
            datatype="func",
            **entities,
        )
