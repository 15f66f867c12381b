"""What a stage remembers, and where."""

from pathlib import Path

import fsspec
import pytest

from app.settings import get_settings
from flows.stages import get_store
from tests.conftest import forget_settings
from tests.flows.runner_stages import tell


def test_results_are_remembered_beside_the_artefacts(flows_home: Path) -> None:
    first = tell("one")
    assert tell("one") == first
    remembered = list((Path(get_store().url) / "results").iterdir())
    assert len(remembered) == 1
    assert remembered[0].name.startswith("tell-")


def test_results_are_remembered_in_a_store_that_is_no_folder(
    flows_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_STORE", "memory://stages")
    forget_settings()
    assert get_settings().store_url == "memory://stages"
    first = tell("one")
    files = fsspec.filesystem("memory").find("/stages")
    assert [file for file in files if "/results/tell-" in file]
    assert tell("one") == first
    # Where the artefact is gone, the stage runs again.
    artefact = next(file for file in files if file.endswith(".safetensors"))
    fsspec.filesystem("memory").rm(artefact)
    assert tell("one") == first
    assert fsspec.filesystem("memory").exists(artefact)
