"""The demo cohort: made-up participants in NSD's layout, with planted truth beside them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from app.embedding import Encoder
from app.errors import InputError
from flows.demo import layout
from flows.demo.anatomy import Anatomy, grow_anatomy
from flows.demo.captions import Scene, caption_scene, draw_scenes
from flows.demo.design import Design, draw_design
from flows.demo.drawing import draw_scene
from flows.demo.responses import (
    Drives,
    compute_drives,
    draw_tuning,
    noise_patterns,
    simulate_sessions,
)
from flows.demo.truth import write_truth
from flows.demo.varied import grow_varied_anatomy, responses_of

MARKER = "demo-cohort.json"
Kind = Literal["varied", "plain"]
VERSIONS: dict[Kind, int] = {"varied": 1, "plain": 5}
"""Raised whenever the same configuration of a kind would give other files."""

CAPTIONS: dict[Kind, int] = {"varied": 3, "plain": 5}
"""Captions an image has where the configuration does not say."""

NAMELESS = 24
"""Things that pictures of the varied cohort have and captions do not tell."""

Progress = Callable[[str, float], None]
"""Called with what was done and the share of all work that is done."""


@dataclass(frozen=True)
class CohortConfig:
    """Size and seed of a cohort.

    Attributes
    ----------
    participants : int
        1 to 8, as many as NSD's tables have room for.
    images, shared : int
        Images a participant sees, and how many of them all participants see.
    repeats : int
        Times each image is shown to a participant.
    trials_per_session : int
        The last session takes what is left.
    captions : int or None
        Captions an image has, 1 to 5; None for those of the kind.
    seed : int
    kind : {"varied", "plain"}
        Varied: patches of 20 to 500 voxels that overlap, a concept that voxels respond less to,
        and clumps of voxels that answer reliably to what no word describes
        (`flows.demo.varied`). Plain: patches of one size that do not overlap, and none of these.
    """

    participants: int = 4
    images: int = 1200
    shared: int = 300
    repeats: int = 3
    trials_per_session: int = 750
    captions: int | None = None
    seed: int = 0
    kind: Kind = "varied"

    @property
    def captions_each(self) -> int:
        """Captions an image has."""
        return CAPTIONS[self.kind] if self.captions is None else self.captions

    def check(self) -> None:
        """Refuse sizes that make no cohort.

        Raises
        ------
        InputError
        """
        if self.kind not in get_args(Kind):
            raise InputError(
                f"cohort configuration: kind is {self.kind!r}",
                hint=f"give one of {', '.join(get_args(Kind))}",
            )
        limits = {
            "participants": (1, layout.NSD_PARTICIPANTS),
            "images": (2, 10_000),
            "shared": (0, self.images),
            "repeats": (1, 10),
            "trials_per_session": (2, 10_000),
            "captions": (1, 5),
        }
        for name, (low, high) in limits.items():
            value = self.captions_each if name == "captions" else getattr(self, name)
            if not low <= value <= high:
                raise InputError(
                    f"cohort configuration: {name} is {value}",
                    hint=f"give a number from {low} to {high}",
                )


def write_cohort(
    root: Path,
    truth: Path,
    config: CohortConfig,
    encoder: Encoder,
    on_progress: Progress | None = None,
    *,
    shuffle: bool = False,
) -> None:
    """Write a cohort and its truth; at once where both are there already.

    Both folders are written aside and renamed at the end, so that neither is ever half there. A
    cohort of another configuration that stands in their place is replaced.

    Parameters
    ----------
    root : Path
        Folder that gets ``nsddata``, ``nsddata_betas`` and ``nsddata_stimuli``.
    truth : Path
        Folder that gets the planted truth; not inside ``root``, nor around it.
    config : CohortConfig
    encoder : Encoder
        Gives captions the meaning that responses depend on.
    on_progress : callable, optional
    shuffle : bool
        Shuffle each participant's stimuli against their responses, images staying whole: noise
        ceilings stay, and nothing can be decoded.

    Raises
    ------
    InputError
        The configuration makes no cohort, the folders lie inside each other, or one of them holds
        something else.
    """
    config.check()
    root, truth = root.resolve(), truth.resolve()
    if root.is_relative_to(truth) or truth.is_relative_to(root):
        raise InputError(
            f"cohort {root} and truth {truth} lie inside each other",
            hint="give the truth a folder of its own",
        )
    marker = _marker(config, encoder, shuffle)
    if _read_marker(root) == marker and _read_marker(truth) == marker:
        return
    for folder in (root, truth):
        if folder.exists() and _read_marker(folder) is None:
            raise InputError(
                f"{folder} exists and is no demo cohort", hint="give a folder that does not exist"
            )

    aside = {folder: folder.with_name(f".{folder.name}.partial") for folder in (root, truth)}
    for partial in aside.values():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / MARKER).write_text(marker)
    report = on_progress or (lambda what, share: None)
    planted = _write_files(aside[root], config, encoder, report, shuffle=shuffle)
    # Of a plain cohort nothing varies, and nothing is told.
    responses = responses_of(config.kind) if config.kind == "varied" else None
    write_truth(aside[truth], planted, shuffled=shuffle, responses=responses)
    for folder, partial in aside.items():
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    report("cohort written", 1.0)


def _marker(config: CohortConfig, encoder: Encoder, shuffle: bool) -> str:
    sizes = asdict(config) | {"captions": config.captions_each}
    if config.kind == "plain":
        del sizes["kind"]
    made_from = sizes | {
        "version": VERSIONS[config.kind],
        "encoder": encoder.name,
        "weights": encoder.checksum,
        "shuffle": shuffle,
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return json.dumps({"configuration": digest}) + "\n"


def _read_marker(folder: Path) -> str | None:
    path = folder / MARKER
    return path.read_text() if path.is_file() else None


def _write_files(
    root: Path, config: CohortConfig, encoder: Encoder, report: Progress, *, shuffle: bool
) -> dict[str, np.ndarray]:
    """Write everything but the truth; return the planted voxels by participant."""
    seeds = np.random.SeedSequence(config.seed)
    streams = seeds.spawn(3 + config.participants)
    design_rng, scene_rng, picture_rng, *participant_rngs = map(np.random.default_rng, streams)
    design = draw_design(
        participants=config.participants,
        images=config.images,
        shared=config.shared,
        repeats=config.repeats,
        trials_per_session=config.trials_per_session,
        rng=design_rng,
    )
    layout.write_experiment(root, design)
    scenes = _assign_scenes(design, config, scene_rng)
    captions = [caption_scene(scene, config.captions_each, scene_rng) for scene in scenes]
    images = np.stack([draw_scene(scene, picture_rng) for scene in scenes])
    layout.write_stimuli(root, design, images, captions)
    report("stimuli drawn", 0.1)
    grow, nameless = grow_anatomy, None
    if config.kind == "varied":
        grow = grow_varied_anatomy
        nameless = np.random.default_rng(seeds.spawn(1)[0]).standard_normal((len(images), NAMELESS))
    drives = compute_drives(captions, images, encoder, nameless)
    report("captions encoded", 0.6)

    planted = {}
    for participant, rng in enumerate(participant_rngs):
        anatomy = grow(participant, config.participants, rng)
        _write_participant(root, design, participant, anatomy, drives, rng, shuffle=shuffle)
        layout.write_responses(root, design, participant, rng)
        label = layout.label_of(participant)
        planted[label] = anatomy.planted
        report(f"{label} written", 0.6 + 0.4 * (participant + 1) / config.participants)
    return planted


def _assign_scenes(design: Design, config: CohortConfig, rng: np.random.Generator) -> list[Scene]:
    """One scene an image id; topics are balanced within the shared images and each one's own."""
    scenes: dict[int, Scene] = {}
    own = design.subject_ids[:, config.shared :]
    for ids in (design.shared_ids, *own):
        scenes.update(zip(ids.tolist(), draw_scenes(len(ids), rng), strict=True))
    return [scenes[image] for image in sorted(scenes)]


def _write_participant(
    root: Path,
    design: Design,
    participant: int,
    anatomy: Anatomy,
    drives: Drives,
    rng: np.random.Generator,
    *,
    shuffle: bool,
) -> None:
    """Write a participant's regions, transform, betas, and the maps that come from the betas."""
    label = layout.label_of(participant)
    layout.write_anatomy(root, label, anatomy)
    tuning = draw_tuning(anatomy, drives.of(design.subject_ids[participant] - 1), rng)
    patterns = noise_patterns(anatomy, rng)
    column = design.master_ordering - 1
    answered = rng.permutation(len(tuning.signal))[column] if shuffle else column
    # The last participant's betas are NIfTI, so that a cohort has both of NSD's formats.
    nifti = participant == len(design.subject_ids) - 1
    reliability = Reliability(tuning.signal.shape)
    sessions = simulate_sessions(tuning, patterns, answered, design.trials_per_session, rng)
    for number, betas in enumerate(sessions, start=1):
        layout.write_betas(root, label, number, betas, anatomy, nifti=nifti)
        reliability.add(betas, column[design.session == number])
    folder = layout.betas_folder(root, label)
    layout.write_brain_map(folder / "ncsnr.nii.gz", reliability.ncsnr(), anatomy)
    layout.write_brain_map(folder / "R2.nii.gz", reliability.r_squared(), anatomy)


class Reliability:
    """Signal and noise variance over repeats, gathered session by session (METHOD.md 0).

    Parameters
    ----------
    shape : tuple of int
        (images, voxels).
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._sum = np.zeros(shape, dtype=np.float32)
        self._count = np.zeros(shape[0])
        self._squares = np.zeros(shape[1])

    def add(self, betas: np.ndarray, image: np.ndarray) -> None:
        """Take in a session's betas (T, V), z-scored here, and the image (T,) of each trial."""
        z = (betas - betas.mean(axis=0)) / betas.std(axis=0)
        for trial, row in zip(z, image, strict=True):
            self._sum[row] += trial
        self._count += np.bincount(image, minlength=self._count.size)
        self._squares += (z**2).sum(axis=0)

    def _within(self) -> np.ndarray:
        between = self._sum**2 / np.maximum(self._count, 1)[:, None]
        within: np.ndarray = self._squares - between.sum(axis=0, dtype=np.float64)
        return within

    def ncsnr(self) -> np.ndarray:
        """(V,) signal over noise standard deviation, 0 where noise explains all variance."""
        freedom = max(float(self._count.sum() - (self._count > 0).sum()), 1.0)
        noise = self._within() / freedom
        signal = np.maximum(0, self._squares / self._count.sum() - noise)
        ratio: np.ndarray = np.sqrt(signal / np.maximum(noise, 1e-9))
        return ratio

    def r_squared(self) -> np.ndarray:
        """(V,) percent of trial variance that the images' mean answers explain."""
        explained: np.ndarray = 100 * (1 - self._within() / self._squares)
        return explained
