from pathlib import Path

import numpy as np
import pytest

from flows.sources.signal import require_percent
from tests.flows.sources.faults import refused

RNG = np.random.default_rng(1)


def test_percent_passes_and_its_300_fold_does_not(tmp_path: Path) -> None:
    percent = RNG.normal(0, 2, (40, 500)).astype(np.float32)
    # Veins and edges, and what lies outside of the brain.
    percent[:, :50] *= 40
    percent[:, 50:80] = np.nan
    percent[:, 80:100] = 0
    path = tmp_path / "betas.nii"
    assert require_percent(percent, path, "sub-01", hint="scale") is percent
    error = refused(
        tmp_path,
        lambda: require_percent(300 * percent, path, "sub-01", hint="give scale"),
        "betas.nii",
        "sub-01",
        "% signal change",
        "25 % at most",
    )
    assert error.hint == "give scale"


@pytest.mark.parametrize("value", [0, np.nan, 25])
def test_nothing_and_the_limit_itself_pass(tmp_path: Path, value: float) -> None:
    betas = np.full((3, 4), value, np.float32)
    assert require_percent(betas, tmp_path, "sub-01", hint="x") is betas


def test_large_sessions_are_judged_by_some_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.sources.signal._VALUES", 10)
    betas = np.full((50, 7), 600.0, np.float32)
    refused(tmp_path, lambda: require_percent(betas, tmp_path, "sub-01", hint="x"), "600 %")
