"""Real fMRI (Haxby et al. 2001): 8-way decoding of held-out runs, rotated over all twelve."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from app.embedding import load_encoder
from flows.science.decoder import DecoderConfig, train_decoder
from flows.science.metrics import top_k
from flows.science.noise import zscore
from flows.science.ridge import fit_ridge
from flows.sources import open_source
from tests.flows.sources.haxby import find_haxby_slice, write_haxby_manifest

RUNS = 12


def measure() -> Iterator[str]:
    """Top-1 over all blocks of all held-out runs; the two runs before each validate."""
    found = find_haxby_slice()
    if found is None:
        yield "skipped: no haxby_slice beside the checkout"
        return
    encoder = load_encoder("caption:all-MiniLM-L6-v2")
    hits = {"decoder": 0.0, "ridge": 0.0}
    for test in range(RUNS):
        validation = ((test - 2) % RUNS, (test - 1) % RUNS)
        with TemporaryDirectory() as folder:
            write_haxby_manifest(Path(folder), found, test_run=test, validation_runs=validation)
            right = _decode(Path(folder), encoder)
        for name, share in right.items():
            hits[name] += share / RUNS
    yield "block averages, 12 runs of 8 blocks, each run held out once; chance 0.125"
    yield f"decoder top-1 {hits['decoder']:.3f}, ridge {hits['ridge']:.3f}"


def _decode(folder: Path, encoder: object) -> dict[str, float]:
    source = open_source(folder)
    (subject,) = source.participants()
    trials = source.trials(subject)
    stimuli = {stimulus.key: stimulus for stimulus in source.stimuli()}
    sessions = np.unique(trials.session)
    # Runs are whole folds: each is standardised by its own trials, without their labels.
    betas = [source.betas(subject, int(session)) for session in sessions]
    x = np.concatenate([zscore(each, np.ones(len(each), dtype=bool)) for each in betas])
    fold = np.array([stimuli[key].fold for key in trials.stimulus])
    captions = [stimuli[key].captions for key in trials.stimulus]
    y = encoder.encode_stimuli(captions, None)  # type: ignore[attr-defined]
    pool, row = np.unique(y, axis=0, return_inverse=True)
    row = row.ravel()
    train, check, test = (fold == name for name in ("train", "validation", "test"))
    decoder, _ = train_decoder(
        x[train],
        pool,
        row[train],
        x[check],
        row[check],
        DecoderConfig(steps=1000),
        seed=0,
        device="cpu",
    )
    ridge = fit_ridge(x[train], pool[row[train]], x[check], pool[row[check]])
    return {
        name: top_k(model.predict(x[test]), pool, row[test], (1,))[1]
        for name, model in (("decoder", decoder), ("ridge", ridge))
    }
