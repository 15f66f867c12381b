"""Haxby et al. (2001) as `nilearn.datasets.fetch_haxby` lays it out, a folder `haxby2001`."""

import hashlib
from itertools import groupby
from pathlib import Path
from typing import Any

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
from flows.sources.choices import choose_participants, require_participant
from flows.sources.fetching import is_named
from flows.sources.grids import onto
from flows.sources.haxby_options import HaxbyOptions
from flows.sources.runs import (
    Block,
    Session,
    TrialTable,
    one_a_volume,
    pick_session,
    require_signal,
    require_trials,
    responses,
    split_volumes,
)
from flows.sources.signal import require_percent
from flows.sources.tables import Row, read_table
from flows.sources.validation import validated
from flows.sources.volumes import Series, image_grid, read_mask, require_voxels

_REST = "rest"
# Atlas and region of each file of a participant: nested masks lie in atlases of their own.
_REGIONS = {
    "mask4_vt": ("vt", "vt"),
    "mask8_face_vt": ("faces", "face"),
    "mask8b_face_vt": ("faces", "face_little"),
    "mask8_house_vt": ("houses", "house"),
    "mask8b_house_vt": ("houses", "house_little"),
}
_PERCENT_HINT = "fetch the time series again: their means must not have been taken off"
# What an encoder of text cannot read.
_CAPTIONS = {"scrambledpix": "scrambled picture"}


def is_haxby(folder: Path) -> bool:
    """Whether a folder holds participants as `fetch_haxby` leaves them."""
    return any(folder.glob("subj[0-9]/labels.txt"))


class HaxbySource:
    """`flows.sources.base.Source` over nilearn's `haxby2001`.

    A run (`chunks` of `labels.txt`, counted from 0) is a session: run r is session r + 1. A block
    of a category is a stimulus of its own, `face-run00`, so that a split by stimulus is one by
    run; its caption is the category. Rest makes no trial. Which pictures a block showed is not in
    the files, so that there are captions and no pictures.

    Parameters
    ----------
    root : Path
        The folder that holds `subj1` and so on, and `mask.nii.gz`.
    **options
        See `HaxbyOptions`.
    """

    def __init__(self, root: Path, **options: Any) -> None:
        self._root = root.resolve()
        self._options = validated(
            HaxbyOptions,
            options,
            where="options of a Haxby source",
            hint=f"known: {', '.join(HaxbyOptions.model_fields)}",
        )
        chosen = self._options
        self.description = Description(
            chosen.slug, chosen.title, "haxby", self._root.as_uri(), chosen.licence, chosen.citation
        )
        self._labels: dict[str, list[Row]] = {}
        self._masks: dict[str, np.ndarray] = {}

    def participants(self) -> list[str]:
        """See `Source.participants`."""
        found = [path.parent.name for path in self._root.glob("subj[0-9]/labels.txt")]
        return choose_participants(self._root, found, self._options.participants)

    def grid(self, participant: str) -> Grid:
        """See `Source.grid`; shape and affine are those of the time series."""
        return image_grid(self._series(participant).path, axes=4)

    def mask(self, participant: str) -> np.ndarray:
        """See `Source.mask`; nilearn has one brain mask for all participants."""
        if participant not in self._masks:
            path = self._mask_file(participant)
            mask, own = read_mask(path)
            mask = onto(mask, own, self.grid(participant), participant)
            require_voxels(path, mask, participant)
            self._masks[participant] = mask
        return self._masks[participant]

    def mask_rule(self, participant: str) -> str:
        """See `Source.mask_rule`."""
        name = self._mask_file(participant).relative_to(self._root)
        return f"where {name.as_posix()} is finite and not zero"

    def trials(self, participant: str) -> Trials:
        """See `Source.trials`; `unit = "volume"` makes every volume of a block a trial."""
        table, sessions = self._trials(participant), self._sessions(participant)
        require_signal(sessions, self._options.response, participant)
        require_trials(table, sessions, participant)
        return Trials(table.stimulus, table.session, count_repeats(table.stimulus))

    def betas(self, participant: str, session: int) -> np.ndarray:
        """See `Source.betas`."""
        data = pick_session(self._sessions(participant), participant, session)
        volumes = data.series.read(self.mask(participant), data.start, data.stop)
        betas = responses(volumes, self._trials(participant), session, self._options.response)
        return require_percent(betas, data.series.path, participant, hint=_PERCENT_HINT)

    def probe(self, participant: str, session: int) -> None:
        """See `Source.probe`; time series are in any unit."""
        data = pick_session(self._sessions(participant), participant, session)
        data.series.probe(self.mask(participant))

    def fingerprint(self, participant: str, session: int) -> str:
        """See `Source.fingerprint`; time series, labels and mask, and how they are read."""
        data = pick_session(self._sessions(participant), participant, session)
        files = [data.series.path, self._label_file(participant), self._mask_file(participant)]
        lines = [path_state(path, self._root) for path in files]
        lines.append(self._options.response.model_dump_json())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def regions(self, participant: str) -> list[RegionMask]:
        """See `Source.regions`; ventral temporal cortex and what in it answers to a category."""
        masks = []
        for name, (atlas, region) in _REGIONS.items():
            path = self._folder(participant) / f"{name}.nii.gz"
            if is_named(path):
                members, own = read_mask(path)
                members = onto(members, own, self.grid(participant), participant)
                masks.append(RegionMask(atlas, region, members))
        return masks

    def maps(self, participant: str) -> dict[str, np.ndarray]:
        """See `Source.maps`; there are none."""
        require_participant(self._root, self.participants(), participant)
        return {}

    def mni(self, participant: str) -> np.ndarray | None:
        """See `Source.mni`; the data set brings no transform."""
        require_participant(self._root, self.participants(), participant)
        return None

    def stimuli(self) -> list[Stimulus]:
        """See `Source.stimuli`; what every one of several participants saw is shared."""
        tables = [self._trials(participant) for participant in self.participants()]
        self._require_runs()
        seen = [set(table.stimulus.tolist()) for table in tables]
        everyone = set.intersection(*seen) if len(seen) > 1 else set()
        folds = {key: fold for table in tables for key, fold in table.folds.items()}
        stimuli = []
        for key in sorted(folds):
            category = key.rpartition("-")[0]
            caption = _CAPTIONS.get(category, category)
            stimuli.append(Stimulus(key, (caption,), key in everyone, folds[key]))
        return stimuli

    def picture_file(self, key: str) -> Path | None:
        """See `Source.picture_file`; there is none."""
        return None

    def image(self, key: str) -> np.ndarray | None:
        """See `Source.image`; which picture a block showed is not known."""
        return None

    def _folder(self, participant: str) -> Path:
        require_participant(self._root, self.participants(), participant)
        return self._root / participant

    def _label_file(self, participant: str) -> Path:
        return self._folder(participant) / "labels.txt"

    def _mask_file(self, participant: str) -> Path:
        if self._options.mask == "vt":
            return self._folder(participant) / "mask4_vt.nii.gz"
        return self._root / "mask.nii.gz"

    def _series(self, participant: str) -> Series:
        return Series(self._folder(participant) / "bold.nii.gz", "XYZT")

    def _rows(self, participant: str) -> list[Row]:
        if participant not in self._labels:
            self._labels[participant] = read_table(
                self._label_file(participant), columns=("labels", "chunks"), delimiter=" "
            )
        return self._labels[participant]

    def _sessions(self, participant: str) -> dict[int, Session]:
        rows, series = self._rows(participant), self._series(participant)
        numbers = [_run(row) + 1 for row in rows]
        length, _ = series.size()
        path = self._label_file(participant)
        return split_volumes(path, rows, numbers, [series], [length], participant)

    def _trials(self, participant: str) -> TrialTable:
        lag = self._options.lag
        blocks: list[Block] = []
        folds: dict[str, Fold] = {}
        for run, of_run in groupby(self._rows(participant), key=_run):
            volume = lag
            for category, block in groupby(of_run, key=lambda row: row.required("labels")):
                length = len(list(block))
                if category != _REST:
                    key = f"{category}-run{run:02d}"
                    folds[key] = self._options.fold_of(run)
                    blocks.append((run + 1, volume, volume + length, key))
                volume += length
        path = self._label_file(participant)
        if not blocks:
            raise InputError(f"{path}: no block of a category", hint="fetch the file again")
        if self._options.unit == "volume":
            blocks = one_a_volume(blocks)
        return TrialTable.of(path, sorted(blocks), folds)

    def _require_runs(self) -> None:
        there = {_run(row) for label in self.participants() for row in self._rows(label)}
        if unknown := self._options.named_runs - there:
            raise InputError(
                f"{self._root}: no run {min(unknown)}, of test_runs or validation_runs",
                hint=f"there are: {', '.join(map(str, sorted(there)))}",
            )


def _run(row: Row) -> int:
    return row.integer("chunks", least=0)
