"""Real fMRI (Haxby et al. 2001): 8-way decoding of held-out runs, rotated over all twelve."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from app.embedding import Encoder, load_encoder
from flows.science.decoder import DecoderConfig
from flows.science.folding import cross_fitting_groups
from flows.science.model import Decoder
from flows.science.noise import zscore
from flows.science.stats.intervals import paired_test
from flows.sources import open_source
from flows.train import TrainingTrials, fit_decoder
from tests.flows.sources.haxby import find_haxby_slice, write_haxby_manifest

RUNS = 12


def measure() -> Iterator[str]:
    """Top-1 over all blocks of all held-out runs, and the paired test of both decoders."""
    found = find_haxby_slice()
    if found is None:
        yield "skipped: no haxby_slice beside the checkout"
        return
    encoder = load_encoder("caption:all-MiniLM-L6-v2")
    rotations = []
    for test in range(RUNS):
        with TemporaryDirectory() as folder:
            write_haxby_manifest(Path(folder), found, test_run=test, validation_runs=())
            rotations.append(_decode(Path(folder), encoder))
    kept = [each for each, _, _ in rotations]
    decoder, ridge = (np.concatenate([each[place] for each in rotations]) for place in (1, 2))
    yield f"block averages, {RUNS} runs, each held out once; {len(decoder)} blocks; chance 0.125"
    yield f"decoder as a run makes it: top-1 {decoder.mean():.3f} (kept: {_counted(kept)})"
    yield f"ridge on the same trials: top-1 {ridge.mean():.3f}"
    versus = paired_test(decoder, ridge, np.arange(len(decoder)), seed=0)
    yield (
        f"decoder against ridge: {versus.gained} gained, {versus.lost} lost, McNemar p "
        f"{versus.p:.3f}; difference {versus.difference:+.3f} "
        f"({versus.low:+.3f} to {versus.high:+.3f})"
    )


def _counted(kept: list[str]) -> str:
    return ", ".join(f"{name} {kept.count(name)} times" for name in sorted(set(kept)))


def _decode(folder: Path, encoder: Encoder) -> tuple[str, NDArray[np.bool_], NDArray[np.bool_]]:
    """What was kept, and whether the decoder and ridge find each block of the test run."""
    source = open_source(folder)
    (subject,) = source.participants()
    trials = source.trials(subject)
    stimuli = {stimulus.key: stimulus for stimulus in source.stimuli()}
    sessions = np.unique(trials.session)
    # Runs are whole folds: each is standardised by its own trials, without their labels.
    betas = [source.betas(subject, int(session)) for session in sessions]
    x = np.concatenate([zscore(each, np.ones(len(each), dtype=bool)) for each in betas])
    test = np.array([stimuli[key].fold == "test" for key in trials.stimulus])
    y = encoder.encode_stimuli([stimuli[key].captions for key in trials.stimulus], None)
    centred = y - y[~test].mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    pool, row = np.unique(centred.astype(np.float32), axis=0, return_inverse=True)
    row = row.ravel()
    # A block is a stimulus of its own, so that runs are groups.
    block = np.arange(int((~test).sum()))
    group = cross_fitting_groups(
        block, trials.session[~test], np.zeros(len(block), dtype=bool), seed=0
    )
    fitted = fit_decoder(
        subject,
        TrainingTrials(pool, row[~test], x[~test], block, group),
        DecoderConfig(),
        "auto",
        seed=0,
        device="cpu",
        precision="float32",
    )

    def hits(decoder: Decoder) -> NDArray[np.bool_]:
        return np.asarray((decoder.predict(x[test]) @ pool.T).argmax(axis=1) == row[test])

    return fitted.kept, hits(fitted.decoder), hits(fitted.ridge)
