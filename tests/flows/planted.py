"""A small data set whose responses tell its stimuli well, and that a test can make poorer."""

import csv
from pathlib import Path

import numpy as np

from tests.flows.sources.nsd_tree import write_image

GRID = (10, 10, 6)
# Voxels of 6 mm, so that each is a bin of its own where masks are compared.
AFFINE = np.array([[6.0, 0, 0, -15], [0, 6, 0, -15], [0, 0, 6, -9], [0, 0, 0, 1]])
DIMENSION, TOPICS = 24, 8
STIMULI = [f"word{number:03d}" for number in range(120)]
SHOWINGS = 3
# How far a topic moves its voxels, in standard deviations of the noise, and the length of what a
# stimulus has of its own: with less noise mixtures of topics are told as well as topics are.
GAIN, OWN = 1.2, 0.2


def write_planted(
    folder: Path,
    participants: int = 2,
    *,
    space: str = "MNI",
    stimuli: int = len(STIMULI),
    constant: int = 0,
    shuffled: bool = False,
) -> Path:
    """A data set with a manifest; each voxel answers to one topic of the stimuli.

    Parameters
    ----------
    participants : int
    space : {"MNI", "native"}
        Without MNI participants have no places in common.
    stimuli : int
        How many each participant sees, three times.
    constant : int
        Voxels of the first participant that never change.
    shuffled : bool
        Whether responses are to other stimuli, drawn for each participant.

    Returns
    -------
    Path
        The folder, with ``words.csv``, a table for a ``vectors:`` encoder, inside.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    vectors = write_words(folder / "words.csv", rng)
    write_image(folder / "mask.nii.gz", np.ones(GRID, np.uint8), AFFINE)
    write_image(folder / "region.nii.gz", (np.indices(GRID)[0] < 2).astype(np.uint8), AFFINE)
    shown = np.concatenate([rng.permutation(stimuli) for _ in range(SHOWINGS)])
    rows = [f"{STIMULI[one]},{1 + trial // stimuli}" for trial, one in enumerate(shown)]
    (folder / "trials.csv").write_text("\n".join(["stimulus,session", *rows]) + "\n")
    (folder / "stimuli.csv").write_text(
        "\n".join(["stimulus,captions", *(f"{word},{word}" for word in STIMULI[:stimuli])]) + "\n"
    )
    manifest = [
        '[dataset]\nslug = "planted"\ntitle = "Planted"\nlicence = "CC0-1.0"\ncitation = "nobody"',
        '[stimuli]\ntable = "stimuli.csv"',
    ]
    for number in range(participants):
        # Neighbours in the mask's order answer to the same topic: masks are patches.
        topic = np.arange(np.prod(GRID)) * TOPICS // np.prod(GRID)
        answered = rng.permutation(stimuli)[shown] if shuffled else shown
        clean = GAIN * vectors[answered][:, topic]
        betas = (clean + rng.normal(size=clean.shape)).astype(np.float32)
        if number == 0:
            betas[:, :constant] = 7
        for session in range(SHOWINGS):
            part = betas[session * stimuli : (session + 1) * stimuli]
            np.save(folder / f"p{number}_{session + 1}.npy", part)
        manifest.append(
            f'[[participants]]\nlabel = "p{number}"\nmask = "mask.nii.gz"\nspace = "{space}"\n'
            f'betas = "p{number}_*.npy"\ntrials = "trials.csv"\n'
            '[[participants.regions]]\natlas = "floc-faces"\nfile = "region.nii.gz"\n'
            "labels = { FFA = 1 }"
        )
    (folder / "dataset.toml").write_text("\n".join(manifest) + "\n")
    return folder


def write_words(path: Path, rng: np.random.Generator | None = None) -> np.ndarray:
    """A table for a ``vectors:`` encoder of all stimuli; their unit vectors, (words, dimension).

    Each stimulus is of one topic, an axis of the space; all axes but the topics' are what it has of
    its own, and no voxel answers to them.
    """
    rng = rng or np.random.default_rng(0)
    vectors: np.ndarray = rng.normal(scale=OWN / DIMENSION**0.5, size=(len(STIMULI), DIMENSION))
    vectors[np.arange(len(STIMULI)), np.arange(len(STIMULI)) % TOPICS] += 1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", *range(DIMENSION)])
        table.writerows([word, *vector] for word, vector in zip(STIMULI, vectors, strict=True))
    return vectors
