import numpy as np
import pytest

from tests.benchmarks.fresh_process import run_afresh
from tests.benchmarks.nsd_participant import Share, measure
from tests.benchmarks.stored_participant import ParticipantSize

SMALL = ParticipantSize(
    in_mask=260,
    voxels=200,
    images=300,
    fold=60,
    trials_per_session=100,
    dimension=8,
    components=8,
    regions=2,
)


@pytest.mark.slow
def test_a_small_participant_is_trained_and_masked() -> None:
    lines = list(measure(SMALL, Share(steps=400)))
    told = "\n".join(lines)
    assert lines[0].startswith("200 of 260 voxels, 900 trials in sessions of 100")
    assert "train_subject (at most 400 of 2,000 steps)" in told
    assert "8 components, 8 lambdas, 10 of 50 steps (longer ones), 1 of 4 draws" in told
    assert told.count("extrapolated to") == 2
    # Of 60 images chance is 0.017.
    (top1,) = (line for line in lines if "top-1" in line)
    assert float(top1.split("decoder ")[1].split(",")[0]) > 0.1
    assert "  8 of 8 components have a mask" in lines
    assert any(line.startswith("locate_subject: ") for line in lines)
    assert any(line.startswith("interval_regions (200 draws, 2 regions): ") for line in lines)
    assert lines[-1].endswith("within the target of 8 GB")


def test_peak_memory_is_that_of_the_process_alone() -> None:
    """Not of the one that started it."""
    here = np.ones(500 << 17)
    small, large = run_afresh(np.full, 1, 2.0), run_afresh(np.full, 60 << 17, 2.0)
    assert len(small.result) == 1
    assert large.seconds > 0
    assert 55 << 20 < large.peak - small.peak < 70 << 20
    assert small.peak < here.nbytes
