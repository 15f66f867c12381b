"""The Natural Scenes Dataset as it lies on disk (NSD data manual; METHOD.md "NSD on disk")."""

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import InputError
from flows.sources.base import (
    Description,
    Grid,
    RegionMask,
    Stimulus,
    Trials,
    count_repeats,
    path_state,
)
from flows.sources.captions import read_coco_captions
from flows.sources.choices import choose_participants, require_participant
from flows.sources.ctab import read_labels, region_masks
from flows.sources.fetching import is_named
from flows.sources.grids import onto
from flows.sources.nsd_design import N_STIMULI, Design, read_coco_ids, read_design
from flows.sources.nsd_options import NsdOptions
from flows.sources.runs import pick_session
from flows.sources.signal import require_percent
from flows.sources.transforms import read_mni
from flows.sources.validation import validated
from flows.sources.volumes import (
    Series,
    describe,
    image_grid,
    is_nifti,
    open_dataset,
    read_volume,
)

_SESSION_FILE = re.compile(r"betas_session(\d+)\.(hdf5|nii\.gz)")
_KEY = re.compile(r"nsd(\d{5,})")
_SPACES = {"func1pt8mm": "func1pt8", "func1mm": "func1pt0"}
_PERCENT_SCALE = 300
_PERCENT_HINT = "store whole numbers, percent x 300, or percent as floating-point numbers"


class NsdSource:
    """`flows.sources.base.Source` over an NSD tree.

    A stimulus' key is `nsd` and its 0-based nsdId in five digits, as in NSD's own file names.
    Betas are stored as whole numbers, percent signal change x 300; floating-point betas, and
    NIfTI images whose header scales, are taken for percent as they are.

    The mask is where `ncsnr` (else `R2`) beside the betas is finite, or not zero where all of it
    is finite; without them, where the first volume of the first session is not zero.

    Parameters
    ----------
    root : Path
        The folder that holds `nsddata`, `nsddata_betas` and `nsddata_stimuli`.
    **options
        See `NsdOptions`.
    """

    def __init__(self, root: Path, **options: Any) -> None:
        self._root = root.resolve()
        self._options = validated(
            NsdOptions,
            options,
            where="options of an NSD source",
            hint=f"known: {', '.join(NsdOptions.model_fields)}",
        )
        chosen = self._options
        self.description = Description(
            chosen.slug, chosen.title, "nsd", self._root.as_uri(), chosen.licence, chosen.citation
        )
        self._space = chosen.betas.split("/")[0]
        self._experiment = self._root / "nsddata/experiments/nsd"
        self._stimuli_folder = self._root / "nsddata_stimuli/stimuli/nsd"
        self._masks: dict[str, np.ndarray] = {}
        self._grids: dict[str, Grid] = {}

    def participants(self) -> list[str]:
        """See `Source.participants`."""
        folder = self._root / "nsddata_betas/ppdata"
        found = sorted(path.name for path in folder.glob("subj[0-9][0-9]") if path.is_dir())
        return choose_participants(folder, found, self._options.participants)

    def grid(self, participant: str) -> Grid:
        """See `Source.grid`; the affine is that of a NIfTI image of the space.

        HDF5 tells no place: its voxels are taken to be stored as those of `ncsnr` beside it.
        """
        if participant not in self._grids:
            self._grids[participant] = self._read_grid(participant)
        return self._grids[participant]

    def _read_grid(self, participant: str) -> Grid:
        first = self._first(participant)
        folder = self._prepared(participant) / self._options.betas
        beside = [folder / "ncsnr.nii.gz", folder / "R2.nii.gz", *sorted(folder.glob("*.nii.gz"))]
        space = self._functional(participant)
        candidates = [*beside, space / "brainmask.nii.gz", *sorted(space.glob("roi/*.nii.gz"))]
        for path in candidates:
            if is_named(path):
                grid = image_grid(path, axes=4)
                if not is_nifti(first.path) and grid.shape != (shape := first.size()[1]):
                    raise InputError(
                        f"{path}: grid {describe(grid.shape)}, the betas of {participant} have "
                        f"{describe(shape)} ({first.path})",
                        hint="fetch both in one space",
                    )
                return grid
        raise InputError(
            f"{folder}: no NIfTI image of {participant} gives the affine",
            hint="fetch ncsnr.nii.gz beside the betas, or an image of the roi folder",
        )

    def mask(self, participant: str) -> np.ndarray:
        """See `Source.mask`."""
        if participant not in self._masks:
            self._masks[participant] = self._read_mask(participant)
        return self._masks[participant]

    def mask_rule(self, participant: str) -> str:
        """See `Source.mask_rule`."""
        if (path := self._mask_image(participant)) is not None:
            return f"where {path.name} holds a brain voxel"
        return "where the first volume of the betas holds a brain voxel: no ncsnr or R2 is there"

    def trials(self, participant: str) -> Trials:
        """See `Source.trials`; repeats count showings in sessions that are not read, too."""
        shown = self._design.shown(participant)
        per_session = self._options.trials_per_session
        session = np.arange(len(shown)) // per_session + 1
        series = self._sessions(participant)
        for number, file in series.items():
            file = file.on(self.grid(participant), participant)
            length, shape = file.size()
            planned = int((session == number).sum())
            if length != planned:
                raise InputError(
                    f"{file.path}: {length} betas, but {self._design.path.name} has {planned} "
                    f"trials for {participant}, session {number}",
                    hint=f"betas and design must agree, {per_session} trials a session",
                )
            if shape != self.grid(participant).shape:
                raise InputError(
                    f"{file.path}: grid {describe(shape)}, other sessions of {participant} have "
                    f"{describe(self.grid(participant).shape)}",
                    hint="all sessions must lie on one grid",
                )
        read = np.isin(session, list(series))
        stimulus = np.array([_key(image) for image in shown])
        return Trials(stimulus[read], session[read], count_repeats(shown)[read])

    def betas(self, participant: str, session: int) -> np.ndarray:
        """See `Source.betas`; the file is read once."""
        series = self._session(participant, session)
        betas = series.read(self.mask(participant), integers_over=_PERCENT_SCALE)
        return require_percent(betas, series.path, participant, hint=_PERCENT_HINT)

    def probe(self, participant: str, session: int) -> None:
        """See `Source.probe`."""
        series = self._session(participant, session)
        first = series.probe(self.mask(participant), integers_over=_PERCENT_SCALE)
        require_percent(first, series.path, participant, hint=_PERCENT_HINT)

    def fingerprint(self, participant: str, session: int) -> str:
        """See `Source.fingerprint`; the session's betas, the mask's image and the design."""
        files = [self._session(participant, session).path, self._design_file]
        if (image := self._mask_image(participant)) is not None:
            files.append(image)
        lines = [path_state(path, self._root) for path in files]
        lines.append(f"trials_per_session {self._options.trials_per_session}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def regions(self, participant: str) -> list[RegionMask]:
        """See `Source.regions`.

        Names come from `nsddata/freesurfer/subjXX/label/NAME.mgz.ctab`, for the atlases that NSD
        drew in the volume (thalamus, MTL) from `nsddata/templates/NAME.ctab`.
        """
        folder = self._functional(participant) / "roi"
        atlases: dict[str, list[Path]] = {}
        for path in sorted(folder.glob("*.nii.gz")):
            name = path.name.removesuffix(".nii.gz")
            if not name.endswith("tval"):
                atlases.setdefault(re.sub(r"^[lr]h\.", "", name), []).append(path)
        chosen = sorted(atlases) if self._options.atlases is None else self._options.atlases
        masks = []
        for atlas in chosen:
            if atlas not in atlases:
                raise InputError(
                    f"{folder}: no atlas {atlas}", hint=f"there are: {', '.join(atlases)}"
                )
            files = atlases[atlas]
            merged = folder / f"{atlas}.nii.gz"
            tables = [
                self._root / "nsddata/freesurfer" / participant / "label" / f"{atlas}.mgz.ctab",
                self._root / "nsddata/templates" / f"{atlas}.ctab",
            ]
            table = next((path for path in tables if is_named(path)), None)
            masks += region_masks(
                atlas,
                [merged] if merged in files else files,
                read_labels(table) if table else None,
                named_by=str(table or tables[0]),
                grid=self.grid(participant),
                participant=participant,
                resample=self._options.resample,
            )
        return masks

    def maps(self, participant: str) -> dict[str, np.ndarray]:
        """See `Source.maps`; every `*tval.nii.gz` in the space's folder and its `roi`."""
        space = self._functional(participant)
        maps = {}
        for path in [*sorted(space.glob("roi/*tval.nii.gz")), *sorted(space.glob("*tval.nii.gz"))]:
            values, own = read_volume(path)
            values = onto(values, own, self.grid(participant), participant)
            maps[path.name.removesuffix(".nii.gz")] = values.astype(np.float32)
        return maps

    def mni(self, participant: str) -> np.ndarray | None:
        """See `Source.mni` and `flows.sources.transforms`."""
        folder = self._root / "nsddata/ppdata" / participant / "transforms"
        space = _SPACES.get(self._space, self._space)
        for name in (f"MNI-to-{space}.nii.gz", f"{space}-to-MNI.nii.gz"):
            if is_named(folder / name):
                return read_mni(folder / name, self.grid(participant), participant)
        return None

    def stimuli(self) -> list[Stimulus]:
        """See `Source.stimuli`; NSD brings no split."""
        seen = {key for label in self.participants() for key in self.trials(label).stimulus}
        shared = {_key(image) for image in self._design.shared}
        captions = self._captions(seen)
        return [Stimulus(key, captions.get(key, ()), key in shared, None) for key in sorted(seen)]

    def picture_file(self, key: str) -> Path | None:
        """See `Source.picture_file`; all pictures are in one file."""
        return None

    def image(self, key: str) -> np.ndarray | None:
        """See `Source.image`; `imgBrick` row = nsdId."""
        if not is_named(self._picture_file):
            return None
        with open_dataset(self._picture_file, "imgBrick") as pictures:
            match = _KEY.fullmatch(key)
            if match is None or int(match[1]) >= len(pictures):
                raise InputError(
                    f"{self._picture_file}: no picture {key}", hint="keys are nsd00000, nsd00001, …"
                )
            if pictures.dtype != np.uint8 or pictures.shape[3:] != (3,):
                raise InputError(
                    f"{self._picture_file}: imgBrick holds {pictures.dtype} of shape "
                    f"{describe(pictures.shape)}, no pictures of 8-bit red, green and blue",
                    hint="write it again as uint8 (pictures, H, W, 3)",
                )
            return np.asarray(pictures[int(match[1])])

    @property
    def _design_file(self) -> Path:
        return self._experiment / "nsd_expdesign.mat"

    @property
    def _picture_file(self) -> Path:
        return self._stimuli_folder / "nsd_stimuli.hdf5"

    @cached_property
    def _design(self) -> Design:
        most, counted_by = N_STIMULI, "NSD's pictures"
        if is_named(self._picture_file):
            with open_dataset(self._picture_file, "imgBrick") as pictures:
                most, counted_by = len(pictures), f"pictures in {self._picture_file}"
        return read_design(self._design_file, n_stimuli=most, counted_by=counted_by)

    def _captions(self, keys: set[str]) -> dict[str, tuple[str, ...]]:
        given = self._options.captions
        if given is None:
            files = sorted((self._stimuli_folder / "annotations").glob("captions_*2017.json"))
        else:
            files = given if isinstance(given, list) else [given]
        if not files:
            return {}
        table = self._experiment / "nsd_stim_info_merged.csv"
        coco = {_key(nsd_id + 1): coco_id for nsd_id, coco_id in read_coco_ids(table).items()}
        if unknown := sorted(keys - set(coco)):
            raise InputError(
                f"{table}: no row for {unknown[0]}, which was shown",
                hint="stimulus table and design must be of one version",
            )
        captions = read_coco_captions(files, {coco[key] for key in keys})
        return {key: captions.get(coco[key], ()) for key in keys}

    def _prepared(self, participant: str) -> Path:
        require_participant(self._root, self.participants(), participant)
        return self._root / "nsddata_betas/ppdata" / participant

    def _functional(self, participant: str) -> Path:
        return self._root / "nsddata/ppdata" / participant / self._space

    def _sessions(self, participant: str) -> dict[int, Series]:
        folder = self._prepared(participant) / self._options.betas
        found: dict[int, Series] = {}
        # In this order the HDF5 file of a session that has both replaces the NIfTI image: it is
        # read many times faster.
        for path in sorted(folder.glob("betas_session*"), key=lambda path: not is_nifti(path)):
            if match := _SESSION_FILE.fullmatch(path.name):
                axes = "TZYX" if match[2] == "hdf5" else "XYZT"
                found[int(match[1])] = Series(path, axes)
        wanted = self._options.sessions_of(participant, last=max(found, default=1))
        for number in wanted:
            if number not in found:
                raise InputError(
                    f"{folder}: no file of {participant}, session {number} "
                    f"(betas_session{number:02d}.hdf5 or .nii.gz)",
                    hint="fetch it, or choose the sessions that are there",
                )
        return {number: found[number] for number in wanted}

    def _session(self, participant: str, session: int) -> Series:
        series = pick_session(self._sessions(participant), participant, session)
        return series.on(self.grid(participant), participant)

    def _first(self, participant: str) -> Series:
        return next(iter(self._sessions(participant).values()))

    def _mask_image(self, participant: str) -> Path | None:
        folder = self._prepared(participant) / self._options.betas
        images = (folder / "ncsnr.nii.gz", folder / "R2.nii.gz")
        return next((path for path in images if is_named(path)), None)

    def _read_mask(self, participant: str) -> np.ndarray:
        grid = self.grid(participant)
        if (path := self._mask_image(participant)) is not None:
            values, own = read_volume(path)
            values = onto(values, own, grid, participant)
        else:
            first = self._first(participant).on(grid, participant)
            path, shape = first.path, grid.shape
            values = first.read(np.ones(shape, bool), 0, 1).reshape(shape)
        # Where NaN marks what lies outside the brain, a zero is a brain voxel without signal.
        inside = np.isfinite(values)
        mask: np.ndarray = inside if not inside.all() else values != 0
        if not mask.any():
            raise InputError(
                f"{path}: the mask of {participant} is empty, no voxel is finite and not zero",
                hint="fetch the image again",
            )
        return mask


def _key(image: int) -> str:
    """The stimulus key of a 1-based 73k id."""
    return f"nsd{image - 1:05d}"
