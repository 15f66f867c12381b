"""A data set of any layout, described by a `dataset.toml` (docs/manifest.md)."""

import hashlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from app.errors import InputError
from flows.sources.base import (
    Description,
    Fold,
    Grid,
    RegionMask,
    Stimulus,
    Trials,
    count_repeats,
    path_state,
)
from flows.sources.choices import require_participant
from flows.sources.ctab import read_labels, region_masks
from flows.sources.grids import onto
from flows.sources.manifest_schema import ParticipantTable, ResponseTable, read_manifest, resolve
from flows.sources.manifest_sessions import find_sessions
from flows.sources.manifest_tables import read_trials
from flows.sources.runs import (
    Session,
    TrialTable,
    pick_session,
    require_signal,
    require_trials,
    responses,
)
from flows.sources.signal import require_percent
from flows.sources.stimulus_table import StimulusTable, read_picture
from flows.sources.templates import NATIVE, require_in_mni152, to_mni152
from flows.sources.transforms import grid_coordinates, read_mni
from flows.sources.volumes import read_mask, read_volume, require_voxels

_SCALE_HINT = "give the key scale, the factor to percent: 1/300 for NSD's whole numbers"


class ManifestSource:
    """`flows.sources.base.Source` over the files that a `dataset.toml` names.

    Parameters
    ----------
    path : Path
        The manifest.
    """

    def __init__(self, path: Path) -> None:
        # A link that stands for the manifest is read where it lies.
        self._path = path.parent.resolve() / path.name
        self._folder = self._path.parent
        self._manifest = read_manifest(self._path)
        about = self._manifest.dataset
        self.description = Description(
            about.slug, about.title, "manifest", self._path.as_uri(), about.licence, about.citation
        )
        self._tables = {one.label: one for one in self._manifest.participants}
        self._masks: dict[str, tuple[np.ndarray, Grid]] = {}
        self._trial_tables: dict[str, TrialTable] = {}
        self._found: dict[str, dict[int, Session]] = {}

    def participants(self) -> list[str]:
        """See `Source.participants`."""
        return sorted(self._tables)

    def grid(self, participant: str) -> Grid:
        """See `Source.grid`; shape and affine are the mask's."""
        return self._mask(participant)[1]

    def mask(self, participant: str) -> np.ndarray:
        """See `Source.mask`; where the mask's image is finite and not zero."""
        return self._mask(participant)[0]

    def mask_rule(self, participant: str) -> str:
        """See `Source.mask_rule`."""
        return f"where {self._table(participant).mask} is finite and not zero"

    def trials(self, participant: str) -> Trials:
        """See `Source.trials`; `unit = "volume"` makes every volume of a block a trial."""
        one = self._table(participant)
        table = self._trials(participant)
        sessions = self._sessions(participant)
        for session in sessions.values():
            session.series.require_mask(self.mask(participant))
        if (response := self._response(one)) is not None:
            require_signal(sessions, response, participant)
        if one.betas is not None:
            for number, session in sessions.items():
                planned = int((table.session == number).sum())
                if session.length != planned:
                    raise InputError(
                        f"{session.series.path}: {session.length} betas, but {table.path} has "
                        f"{planned} trials of {participant}, session {number}",
                        hint="give one row of the table for each volume, in the volumes' order",
                    )
        require_trials(table, sessions, participant)
        return Trials(table.stimulus, table.session, count_repeats(table.stimulus))

    def betas(self, participant: str, session: int) -> np.ndarray:
        """See `Source.betas`."""
        data = self._session(participant, session)
        volumes = data.series.read(self.mask(participant), data.start, data.stop)
        response = self._response(self._table(participant))
        if response is None:
            betas = self._scaled(participant, volumes)
        else:
            betas = responses(volumes, self._trials(participant), session, response)
        return require_percent(betas, data.series.path, participant, hint=_SCALE_HINT)

    def probe(self, participant: str, session: int) -> None:
        """See `Source.probe`; time series are in any unit."""
        data = self._session(participant, session)
        first = data.series.probe(self.mask(participant))
        if self._table(participant).betas is not None:
            first = self._scaled(participant, first)
            require_percent(first, data.series.path, participant, hint=_SCALE_HINT)

    def fingerprint(self, participant: str, session: int) -> str:
        """See `Source.fingerprint`; data, mask, trials, and how the manifest has them read.

        Of the tables what they say of this session, so that it stays the same when others come.
        """
        one, data = self._table(participant), self._session(participant, session)
        files = [data.series.path, self._file(one.mask)]
        lines = [path_state(path, self._folder) for path in files]
        lines.append(f"volumes {data.start} to {data.stop}")
        trials = self._trials(participant)
        rows = trials.session == session
        lines += [str(trials.stimulus[rows].tolist())]
        lines += [str(each[rows].tolist()) for each in (trials.start, trials.stop)]
        lines.append(one.model_dump_json(include={"scale", "dataset", "axes"}))
        if (response := self._response(one)) is not None:
            lines.append(response.model_dump_json())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def regions(self, participant: str) -> list[RegionMask]:
        """See `Source.regions`."""
        masks = []
        for region in self._table(participant).regions:
            if isinstance(region.labels, str):
                labels: dict[int, str] | None = read_labels(self._file(region.labels))
                named_by = str(self._file(region.labels))
            elif region.labels is not None:
                labels = {value: name for name, value in region.labels.items()}
                named_by = f"the labels of {region.atlas} in {self._path}"
            else:
                labels, named_by = None, f"labels to the entry {region.atlas} in {self._path}"
            files = [region.file] if isinstance(region.file, str) else region.file
            masks += region_masks(
                region.atlas,
                [self._file(name) for name in files],
                labels,
                named_by=named_by,
                grid=self.grid(participant),
                participant=participant,
                resample=self._table(participant).resample,
            )
        return masks

    def maps(self, participant: str) -> dict[str, np.ndarray]:
        """See `Source.maps`."""
        maps = {}
        for name, file in self._table(participant).maps.items():
            path = self._file(file)
            values, own = read_volume(path)
            maps[name] = onto(values, own, self.grid(participant), participant).astype(np.float32)
        return maps

    def mni(self, participant: str) -> np.ndarray | None:
        """See `Source.mni`; from the transform, or from the affine of a template's space."""
        one = self._table(participant)
        if one.mni is None:
            return to_mni152(one.space, grid_coordinates(self.grid(participant)))
        return read_mni(self._file(one.mni), self.grid(participant), participant)

    def stimuli(self) -> list[Stimulus]:
        """See `Source.stimuli` and `StimulusTable.stimuli`."""
        seen = {label: self.trials(label).stimulus.tolist() for label in self.participants()}
        return self._stimulus_table.stimuli(seen, self._folds())

    def picture_file(self, key: str) -> Path | None:
        """See `Source.picture_file`; pictures lie in the manifest's folder."""
        name = self._stimulus_table.row(key).image
        return None if name is None else resolve(self._folder, name, absolute=False)

    def image(self, key: str) -> np.ndarray | None:
        """See `Source.image`."""
        path = self.picture_file(key)
        return None if path is None else read_picture(path)

    def _response(self, one: ParticipantTable) -> ResponseTable | None:
        return None if one.timeseries is None else self._manifest.timeseries

    def _file(self, name: str) -> Path:
        return resolve(self._folder, name)

    def _table(self, participant: str) -> ParticipantTable:
        require_participant(self._path, self.participants(), participant)
        return self._tables[participant]

    def _mask(self, participant: str) -> tuple[np.ndarray, Grid]:
        if participant not in self._masks:
            one = self._table(participant)
            path = self._file(one.mask)
            mask, grid = read_mask(path)
            require_voxels(path, mask, participant)
            if one.space != NATIVE:
                grid = replace(grid, space=one.space)
                require_in_mni152(grid, mask, participant)
            self._masks[participant] = (mask, grid)
        return self._masks[participant]

    def _scaled(self, participant: str, volumes: np.ndarray) -> np.ndarray:
        scale = self._table(participant).scale
        betas = volumes.astype(np.float32)
        return betas if scale is None else betas * np.float32(scale)

    def _trials(self, participant: str) -> TrialTable:
        if participant not in self._trial_tables:
            one = self._table(participant)
            table = read_trials(self._file(one.trials), response=self._response(one))
            self._trial_tables[participant] = table
        return self._trial_tables[participant]

    def _sessions(self, participant: str) -> dict[int, Session]:
        if participant not in self._found:
            grid = self.grid(participant)
            found = find_sessions(self._folder, self._table(participant))
            self._found[participant] = {
                number: replace(session, series=session.series.on(grid, participant))
                for number, session in found.items()
            }
        return self._found[participant]

    def _session(self, participant: str, session: int) -> Session:
        return pick_session(self._sessions(participant), participant, session)

    @cached_property
    def _stimulus_table(self) -> StimulusTable:
        path = self._file(self._manifest.stimuli.table)
        return StimulusTable(path, key="stimulus", captions=("captions", "category"))

    def _folds(self) -> dict[str, Fold]:
        """Folds by stimulus, from the stimulus table and all tables of trials."""
        folds = self._stimulus_table.folds()
        for participant in self.participants():
            table = self._trials(participant)
            for key, fold in table.folds.items():
                if folds.setdefault(key, fold) != fold:
                    raise InputError(
                        f"{table.path}: {key} is in fold {fold}, elsewhere in {folds[key]}",
                        hint="the split is by stimulus: give each one fold",
                    )
        return folds
