"""Betas as a BIDS derivative: per-trial images, or what GLMsingle wrote (docs/sources.md)."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import InputError
from flows.sources.base import (
    Grid,
    RegionMask,
    Stimulus,
    Surface,
    Trials,
    count_repeats,
    path_state,
)
from flows.sources.bids_atlases import not_inherited
from flows.sources.bids_betas import (
    choose,
    find_betas,
    number_sessions,
    order_runs,
    require_name,
    series_of,
)
from flows.sources.bids_description import DESCRIPTION_NAME, read_description
from flows.sources.bids_events import find_events, read_events
from flows.sources.bids_files import NIFTI, BidsFile, BidsFiles, read_json
from flows.sources.bids_options import BidsOptions
from flows.sources.bids_surfaces import BETAS as SURFACES
from flows.sources.bids_surfaces import BidsSurfaces, pair_hemispheres, series_of_surfaces
from flows.sources.bids_volumes import BidsVolumes
from flows.sources.choices import choose_participants, require_participant
from flows.sources.confinement import confined
from flows.sources.fetching import is_named
from flows.sources.manifest_schema import resolve
from flows.sources.runs import pick_session
from flows.sources.signal import require_percent
from flows.sources.stimulus_table import StimulusTable, read_picture
from flows.sources.surfaces import SurfaceSeries
from flows.sources.validation import validated
from flows.sources.volumes import Series

_NATIVE = "native"
# The factor from stored values to percent signal change, a key of our own in the sidecar.
_SCALE = "Scale"
_SCALE_HINT = (
    "give Scale, the factor to percent, in a JSON sidecar; NSD's whole numbers, which GLMsingle "
    "does not write, need 1/300"
)


@dataclass(frozen=True)
class _Part:
    """Betas of a run, or of all runs of a session, with what tells of them."""

    files: list[BidsFile]
    series: Series | SurfaceSeries
    events: list[BidsFile]
    sidecars: list[list[BidsFile]]


def is_bids(folder: Path) -> bool:
    """Whether a folder looks like a BIDS data set, complete or not."""
    return is_named(folder / DESCRIPTION_NAME) or any(folder.glob("sub-*/"))


class BidsSource:
    """`flows.sources.base.Source` over a BIDS derivative that holds betas.

    A participant is called `sub-XX`. A session holds all its runs, in order; what lies in no
    `ses-*` folder is session 1. Betas are volumes, whose mask is where all brain masks of their
    space that go with them agree, or surfaces (GIFTI, CIFTI-2), whose vertices are all read.

    Parameters
    ----------
    root : Path
        The folder that holds `dataset_description.json`.
    **options
        See `BidsOptions`.
    """

    def __init__(self, root: Path, **options: Any) -> None:
        self._root = root.resolve()
        self._options = validated(
            BidsOptions,
            options,
            where="options of a BIDS source",
            hint=f"known: {', '.join(BidsOptions.model_fields)}",
        )
        self.description = read_description(self._root, self._options)
        self._files = BidsFiles(self._root)
        self._raw = self._files
        if (raw := self._options.raw) is not None:
            confined(raw)
            if not raw.is_dir():
                raise InputError(f"{raw}: no such folder", hint="correct the option raw")
            self._raw = BidsFiles(raw.resolve())
        self._places: dict[str, BidsVolumes | BidsSurfaces] = {}
        self._parts: dict[str, dict[int, list[_Part]]] = {}

    def participants(self) -> list[str]:
        """See `Source.participants`; every `sub-*` must have betas, or others be chosen."""
        found = [path.name for path in self._root.glob("sub-*/")]
        chosen = choose_participants(self._root, found, self._options.participants)
        have = {f"sub-{file.get('subject')}" for file in self._betas}
        for label in chosen:
            if label not in have:
                raise InputError(
                    f"{self._root / label}: no betas of this space, task and kind",
                    hint="fetch them, or choose others by the option participants",
                )
        return chosen

    def grid(self, participant: str) -> Grid | Surface:
        """See `Source.grid`; the masks' shape and affine, or the betas' mesh."""
        return self._lie(participant).grid

    def mask(self, participant: str) -> np.ndarray:
        """See `Source.mask`; where all brain masks are finite and not zero, all vertices."""
        return self._lie(participant).mask

    def mask_rule(self, participant: str) -> str:
        """See `Source.mask_rule`."""
        return self._lie(participant).mask_rule

    def trials(self, participant: str) -> Trials:
        """See `Source.trials`; events and betas must agree in number."""
        lie = self._lie(participant)
        stimuli, sessions = [], []
        for number, parts in self._sessions(participant).items():
            for part in parts:
                for file in part.files:
                    require_name(file, number)
                self._placed(participant, part).require_mask(lie.mask)
                _scale(part)
                shown = self._shown(part)
                length, _ = part.series.size()
                if length != len(shown):
                    raise InputError(
                        f"{part.series.path}: {length} betas, but "
                        f"{', '.join(file.path.name for file in part.events)} has {len(shown)} "
                        f"trials of {participant}, session {number}",
                        hint="give one volume a trial, in the order of the events; the options "
                        "stimulus_column and ignore tell which events are trials",
                    )
                stimuli += shown
                sessions += [number] * length
        if not stimuli:
            raise InputError(
                f"{self._root}: no trials of {participant}", hint="give events with a stimulus"
            )
        keys = np.array(stimuli)
        return Trials(keys, np.array(sessions), count_repeats(keys))

    def betas(self, participant: str, session: int) -> np.ndarray:
        """See `Source.betas`; values times `Scale` of the sidecar, GLMsingle's as they are."""
        parts = pick_session(self._sessions(participant), participant, session)
        mask = self.mask(participant)
        return np.concatenate(
            [
                _percent(self._placed(participant, part).read(mask), part, participant)
                for part in parts
            ]
        )

    def probe(self, participant: str, session: int) -> None:
        """See `Source.probe`."""
        mask = self.mask(participant)
        for part in pick_session(self._sessions(participant), participant, session):
            _percent(self._placed(participant, part).probe(mask), part, participant)

    def fingerprint(self, participant: str, session: int) -> str:
        """See `Source.fingerprint`; betas, sidecars, events and masks, and which are trials."""
        parts = pick_session(self._sessions(participant), participant, session)
        files = [
            file for part in parts for file in (*part.files, *chain(*part.sidecars), *part.events)
        ] + self._lie(participant).files
        lines = [path_state(file.path, self._root) for file in files]
        lines.append(self._options.model_dump_json(include={"stimulus_column", "ignore"}))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def regions(self, participant: str) -> list[RegionMask]:
        """See `Source.regions`; every `*_dseg` in `func` of the betas' space and task.

        An atlas is called by `atlas`, else `seg`, else `desc` of the name.
        """
        return self._lie(participant).regions()

    def maps(self, participant: str) -> dict[str, np.ndarray]:
        """See `Source.maps`; none are read."""
        require_participant(self._root, self.participants(), participant)
        return {}

    def mni(self, participant: str) -> np.ndarray | None:
        """See `Source.mni`; by an affine to a space called MNI, or by a template's surface."""
        return self._lie(participant).mni()

    def stimuli(self) -> list[Stimulus]:
        """See `Source.stimuli` and `StimulusTable.stimuli`."""
        seen = {label: self.trials(label).stimulus.tolist() for label in self.participants()}
        return self._stimulus_table.stimuli(seen, self._stimulus_table.folds())

    def picture_file(self, key: str) -> Path | None:
        """See `Source.picture_file`; pictures lie in `stimuli`."""
        name = self._stimulus_table.row(key).image
        return None if name is None else resolve(self._pictures, name, absolute=False)

    def image(self, key: str) -> np.ndarray | None:
        """See `Source.image`."""
        path = self.picture_file(key)
        return None if path is None else read_picture(path)

    @property
    def _pictures(self) -> Path:
        return (self._raw.root / "stimuli").resolve()

    @cached_property
    def _stimulus_table(self) -> StimulusTable:
        path = self._raw.root / "stimuli" / "stimuli.tsv"
        return StimulusTable(path, key="stimulus_id", captions=("caption",))

    @cached_property
    def _found(self) -> tuple[str, list[BidsFile]]:
        return find_betas(self._files, self._options)

    @cached_property
    def _space(self) -> str | None:
        kind, betas = self._found
        # GLMsingle's own names tell no space: what lies beside does.
        files = self._brain_masks if kind == "glmsingle" else betas
        spaces = [file.get("space") for file in files]
        return choose(self._root, "space", spaces, self._options.space, none=_NATIVE)

    @cached_property
    def _betas(self) -> list[BidsFile]:
        kind, betas = self._found
        numbers = self._numbers
        return [
            file
            for file in betas
            if (kind == "glmsingle" or file.get("space") == self._space)
            and (self._options.sessions is None or file.get("session") in numbers)
        ]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        labels = [label for file in self._found[1] if (label := file.get("session"))]
        return dict(number_sessions(self._root, labels, self._options.sessions))

    @cached_property
    def _brain_masks(self) -> list[BidsFile]:
        masks = self._files.find(extension=NIFTI, suffix="mask", desc="brain", datatype="func")
        if not masks:
            raise InputError(
                f"{self._root}: no *_desc-brain_mask.nii.gz below sub-*/func or sub-*/ses-*/func",
                hint="give one for each participant, in the space of the betas",
            )
        return masks

    def _lie(self, participant: str) -> BidsVolumes | BidsSurfaces:
        """Where the participant's betas lie."""
        if participant not in self._places:
            parts = [part for of in self._sessions(participant).values() for part in of]
            if self._on_surfaces:
                self._places[participant] = BidsSurfaces(
                    self._files,
                    participant,
                    [(p.files[0], p.series) for p in parts if not isinstance(p.series, Series)],
                    self._space,
                )
            else:
                self._places[participant] = BidsVolumes(
                    self._files,
                    participant,
                    [part.files[0] for part in parts],
                    self._space,
                    {file.get("task") for file in self._betas},
                    resample=self._options.resample,
                )
        return self._places[participant]

    def _placed(self, participant: str, part: _Part) -> Series | SurfaceSeries:
        """A part's betas on the participant's grid."""
        lie = self._lie(participant)
        if isinstance(lie, BidsVolumes) and isinstance(part.series, Series):
            return lie.place(part.series)
        return part.series

    def _sessions(self, participant: str) -> dict[int, list[_Part]]:
        if participant not in self._parts:
            require_participant(self._root, self.participants(), participant)
            self._parts[participant] = self._read_sessions(participant)
        return self._parts[participant]

    def _read_sessions(self, participant: str) -> dict[int, list[_Part]]:
        mine = [file for file in self._betas if f"sub-{file.get('subject')}" == participant]
        by_number: dict[int, list[BidsFile]] = {}
        for file in mine:
            label = file.get("session")
            if label is None and any(other.get("session") for other in mine):
                raise InputError(
                    f"{file.path}: no session, where others of {participant} have one",
                    hint="move it into the folder of its session",
                )
            by_number.setdefault(self._numbers[label] if label else 1, []).append(file)
        return {number: self._order(files) for number, files in sorted(by_number.items())}

    def _order(self, files: list[BidsFile]) -> list[_Part]:
        """Parts of a session in order of their runs."""
        groups = pair_hemispheres(files) if self._on_surfaces else [[file] for file in files]
        by_first = {group[0]: group for group in groups}
        return [self._part(by_first[file]) for file in order_runs(by_first)]

    def _part(self, files: list[BidsFile]) -> _Part:
        sidecars = []
        for file in files:
            of_file = self._files.inherited(file, ".json")
            if not of_file and self._found[0] != "glmsingle":
                raise not_inherited(file, ".json", f"give {file.path.name} its JSON sidecar")
            sidecars.append(of_file)
        events = find_events(self._raw, files[0], self._options.task)
        series = series_of_surfaces(files) if self._on_surfaces else series_of(files[0])
        return _Part(files, series, events, sidecars)

    @cached_property
    def _on_surfaces(self) -> bool:
        kinds = {file.get("extension") in SURFACES for file in self._betas}
        if len(kinds) > 1:
            raise InputError(
                f"{self._root}: both volumes and surfaces of the space {self._space}",
                hint="choose by the option entities: --set source.entities.extension=.func.gii",
            )
        return kinds == {True}

    def _shown(self, part: _Part) -> list[str]:
        options = self._options
        return [
            stimulus
            for file in part.events
            for stimulus in read_events(
                file.path, column=options.stimulus_column, ignore=options.ignore
            )
        ]


def _percent(stored: np.ndarray, part: _Part, participant: str) -> np.ndarray:
    """Stored values as percent signal change, which they must be."""
    betas = stored.astype(np.float32) * np.float32(_scale(part))
    return require_percent(betas, part.series.path, participant, hint=_SCALE_HINT)


def _scale(part: _Part) -> float:
    """`Scale` of the nearest sidecar that has it, the same for both hemispheres."""
    scales = [_scale_of(sidecars) for sidecars in part.sidecars] or [1.0]
    if len(set(scales)) > 1:
        raise InputError(
            f"{part.files[0].path}: {_SCALE} is {scales[0]:g} left and {scales[1]:g} right",
            hint="give both hemispheres one sidecar",
        )
    return scales[0]


def _scale_of(sidecars: list[BidsFile]) -> float:
    scale = 1.0
    for sidecar in sidecars:
        value = read_json(sidecar.path).get(_SCALE, scale)
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not (numeric and value and math.isfinite(value)):
            raise InputError(
                f"{sidecar.path}: {_SCALE} is {value!r}",
                hint="give the factor from the stored values to percent signal change",
            )
        scale = float(value)
    return scale
