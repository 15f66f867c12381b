"""What every reader of a data layout gives: the protocol and its plain records."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from app.errors import InputError
from flows.sources.fetching import content_name

Fold = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Grid:
    """A participant's voxel grid, or an image's.

    Attributes
    ----------
    shape : tuple of int
        Voxels along X, Y, Z.
    affine : np.ndarray
        (4, 4), 0-based voxel index to native mm.
    path : Path
        The image that tells it, for messages.
    known : bool
        Whether that image's header tells where it lies. Where not, left and right are not known.
    space : str, optional
        The label of the space that its mm are said to be of, None for the participant's own.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    path: Path = Path("the grid")
    known: bool = True
    space: str | None = None

    def places(self, index: np.ndarray) -> np.ndarray:
        """Native mm of some voxels: (..., 3) 0-based indices to (..., 3)."""
        mm: np.ndarray = index @ self.affine[:3, :3].T + self.affine[:3, 3]
        return mm


@dataclass(frozen=True)
class Surface:
    """A participant's vertices as a grid: i is the hemisphere (0 left, 1 right), j the vertex.

    Attributes
    ----------
    name : str
        Of the mesh, such as ``fsLR_den-32k``.
    vertices : np.ndarray
        (2, N, 3) native mm.
    left_out : int
        Brain places of the files that are no vertices of the cortex, and are not read.
    """

    name: str
    vertices: np.ndarray
    left_out: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(2, N, 1)."""
        return 2, self.vertices.shape[1], 1

    def places(self, index: np.ndarray) -> np.ndarray:
        """Native mm of some vertices: (..., 3) 0-based indices to (..., 3)."""
        mm: np.ndarray = self.vertices[index[..., 0], index[..., 1]]
        return mm


@dataclass(frozen=True)
class Trials:
    """A participant's trials in acquisition order: the rows of session s are its betas' rows.

    Attributes
    ----------
    stimulus : np.ndarray
        (N,) str, keys of the stimuli.
    session : np.ndarray
        (N,) int, 1-based.
    repeat : np.ndarray
        (N,) int, how often this participant had seen the stimulus before.
    """

    stimulus: np.ndarray
    session: np.ndarray
    repeat: np.ndarray


@dataclass(frozen=True)
class RegionMask:
    """One region of an atlas on a participant's grid; `members` is bool (X, Y, Z)."""

    atlas: str
    name: str
    members: np.ndarray


@dataclass(frozen=True)
class Stimulus:
    """A picture that was shown; `fold` is set where the data set brings its own split."""

    key: str
    captions: tuple[str, ...]
    shared: bool
    fold: Fold | None


@dataclass(frozen=True)
class Description:
    """What the catalog stores about a data set as a whole."""

    slug: str
    title: str
    layout: str
    uri: str
    licence: str
    citation: str


class Source(Protocol):
    """One data set on disk, read lazily: never more than one session of betas in memory.

    Every method raises `app.errors.InputError` for a fault in the data, naming the file,
    participant or session. Nothing is z-scored here, and NaN is passed on as it is.
    """

    description: Description

    def participants(self) -> list[str]:
        """Labels, sorted."""
        ...

    def grid(self, participant: str) -> Grid | Surface:
        """Shape and affine of the participant's volumes, or the mesh of its surfaces."""
        ...

    def mask(self, participant: str) -> np.ndarray:
        """Voxels to read: bool (X, Y, Z), never empty."""
        ...

    def mask_rule(self, participant: str) -> str:
        """Which file or rule `mask` goes by, in a few words."""
        ...

    def trials(self, participant: str) -> Trials:
        """The trials of all sessions, checked against the headers of the sessions' files."""
        ...

    def betas(self, participant: str, session: int) -> np.ndarray:
        """Responses of one session.

        Returns
        -------
        np.ndarray
            float32 (trials of the session, voxels of the mask), percent signal change; the
            voxels in C order of (X, Y, Z).
        """
        ...

    def probe(self, participant: str, session: int) -> None:
        """Look at the first and the last volume of each file of a session.

        Truncated and foreign files show, and responses that are no percent signal change.
        """
        ...

    def fingerprint(self, participant: str, session: int) -> str:
        """Hex digest that changes when the session's files or their reading change.

        Names, sizes and modification times are hashed; no data is read.
        """
        ...

    def regions(self, participant: str) -> list[RegionMask]:
        """Regions of all atlases; the same (atlas, name) never twice."""
        ...

    def maps(self, participant: str) -> dict[str, np.ndarray]:
        """Continuous localiser t-maps by name, float32 (X, Y, Z)."""
        ...

    def mni(self, participant: str) -> np.ndarray | None:
        """MNI mm of every voxel, or None without a transform.

        Returns
        -------
        np.ndarray or None
            float32 (X, Y, Z, 3), NaN where unknown.
        """
        ...

    def stimuli(self) -> list[Stimulus]:
        """All stimuli that any participant saw, sorted by key."""
        ...

    def picture_file(self, key: str) -> Path | None:
        """The file that is a stimulus's picture and nothing else; None where there is none."""
        ...

    def image(self, key: str) -> np.ndarray | None:
        """The picture, uint8 (H, W, 3), or None where the source has none of it."""
        ...


def count_repeats(stimulus: np.ndarray) -> np.ndarray:
    """How often each entry occurred before its own place.

    Parameters
    ----------
    stimulus : np.ndarray
        (N,) keys in acquisition order.

    Returns
    -------
    np.ndarray
        (N,) int, 0 at each first showing.
    """
    order = np.argsort(stimulus, kind="stable")
    ordered = stimulus[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.zeros(0, bool)
    place = np.arange(len(ordered))
    starts = np.maximum.accumulate(np.where(first, place, 0))
    repeats = np.empty(len(ordered), np.int64)
    repeats[order] = place - starts
    return repeats


def path_state(path: Path, root: Path) -> str:
    """One line of a file's name (below `root` where it lies there), size and modification time.

    Of a link that stands for a file: what it says of the content.
    """
    below = path.relative_to(root) if path.is_relative_to(root) else path
    # Names of files may be no UTF-8.
    name = os.fsencode(below.as_posix()).decode("utf-8", "backslashreplace")
    if (content := content_name(path)) is not None:
        return f"{name} {content}"
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path}: no such file", hint="fetch it or correct the path") from error
    return f"{name} {state.st_size} {state.st_mtime_ns}"
