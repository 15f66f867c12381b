"""The table of stimuli that a data set brings: captions, folds and pictures."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np

from app import pictures
from app.errors import InputError
from flows.sources.base import Fold, Stimulus
from flows.sources.fetching import require_file
from flows.sources.tables import Row, read_table

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
# Those of uploads, and TIFF.
_PICTURES = (*pictures.FORMATS, "TIFF")
# Beyond it Pillow itself opens none; one picture is decoded at a time.
_MOST_PIXELS = 178_956_970


@dataclass(frozen=True)
class StimulusRow:
    """A line of the stimulus table; None where it says nothing."""

    captions: tuple[str, ...]
    shared: bool | None
    fold: Fold | None
    image: str | None


class StimulusTable:
    """Stimuli by key.

    Parameters
    ----------
    path : Path
    key : str
        The column of the keys.
    captions : sequence of str
        Columns of captions, separated by a vertical bar; the first that says something counts.

    Raises
    ------
    InputError
        The file or the column `key` is missing, a key is missing or stands twice, or a cell is
        wrong.
    """

    def __init__(self, path: Path, *, key: str, captions: Collection[str]) -> None:
        self.path = path
        self._rows: dict[str, StimulusRow] = {}
        for row in read_table(path, columns=(key,)):
            name = row.required(key)
            if name in self._rows:
                hint = "give each stimulus one line"
                if not name.isascii():
                    hint += "; forms of Unicode (NFC, NFD) are no difference"
                raise row.fault(f"{key} {name} stands twice", hint=hint)
            words = next(filter(None, map(row.text, captions)), "")
            each = (" ".join(caption.split()) for caption in words.split("|"))
            self._rows[name] = StimulusRow(
                captions=tuple(filter(None, each)),
                shared=_truth(row, "shared"),
                fold=fold_of(row),
                image=row.text("image") or None,
            )

    def row(self, key: str) -> StimulusRow:
        """What the table says of a stimulus, which must have a line."""
        if key not in self._rows:
            raise InputError(
                f"{self.path}: no stimulus {key}",
                hint="every stimulus of the trials needs a line in this table",
            )
        return self._rows[key]

    def folds(self) -> dict[str, Fold]:
        """Folds by stimulus, of those that have one."""
        return {key: row.fold for key, row in self._rows.items() if row.fold is not None}

    def stimuli(
        self, seen: Mapping[str, Collection[str]], folds: Mapping[str, Fold]
    ) -> list[Stimulus]:
        """Stimuli that were seen, sorted by key.

        Where the table does not say so, what every one of several participants saw is shared.

        Parameters
        ----------
        seen : mapping
            Keys by participant.
        folds : mapping
            Folds by stimulus: all of them, or none.

        Raises
        ------
        InputError
            A stimulus has no line, or has no fold where others have one.
        """
        shown = [set(keys) for keys in seen.values()]
        everyone = set.intersection(*shown) if len(shown) > 1 else set()
        stimuli = []
        for key in sorted(set().union(*shown)):
            row = self.row(key)
            shared = key in everyone if row.shared is None else row.shared
            stimuli.append(Stimulus(key, row.captions, shared, folds.get(key)))
        unassigned = [stimulus.key for stimulus in stimuli if stimulus.fold is None]
        if unassigned and len(unassigned) < len(stimuli):
            raise InputError(
                f"{self.path}: {unassigned[0]} has no fold, others have one",
                hint="give every stimulus a fold, or none",
            )
        return stimuli


def read_picture(path: Path) -> np.ndarray:
    """A picture as uint8 (H, W, 3), see `app.pictures.read_picture`.

    Raises
    ------
    InputError
        The file is missing or no picture that can be used.
    """
    require_file(path)
    return pictures.read_picture(
        path, str(path), formats=_PICTURES, most_pixels=_MOST_PIXELS
    ).pixels


def is_transparent(path: Path) -> bool:
    """Whether parts of a picture are transparent, see `app.pictures.is_transparent`.

    Raises
    ------
    InputError
        As `read_picture`.
    """
    require_file(path)
    return pictures.is_transparent(path, str(path), formats=_PICTURES, most_pixels=_MOST_PIXELS)


def fold_of(row: Row) -> Fold | None:
    """The cell `fold`, None where it is empty."""
    value = row.text("fold")
    if value and value not in get_args(Fold):
        raise row.fault(f"fold is {value!r}", hint=f"folds are {', '.join(get_args(Fold))}")
    return cast(Fold, value) if value else None


def _truth(row: Row, column: str) -> bool | None:
    value = row.text(column).lower()
    if value and value not in _TRUTH:
        raise row.fault(f"{column} is {value!r}", hint="write true or false")
    return _TRUTH.get(value)
