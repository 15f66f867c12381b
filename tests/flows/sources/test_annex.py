"""Tests of data sets whose files git-annex has elsewhere."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.errors import InputError, UnavailableError
from flows.sources import check_source, open_source
from flows.sources.confinement import reading_within
from tests.conftest import forget_settings
from tests.flows.planted import write_planted

Git = Callable[..., str]

pytestmark = pytest.mark.skipif(
    shutil.which("git-annex") is None, reason="git-annex is not installed: apt install git-annex"
)


@pytest.fixture
def git(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """Runs git, as nobody in particular."""
    for name, value in {
        "HOME": str(tmp_path),
        "GIT_AUTHOR_NAME": "a test",
        "GIT_AUTHOR_EMAIL": "test@lab.example",
        "GIT_COMMITTER_NAME": "a test",
        "GIT_COMMITTER_EMAIL": "test@lab.example",
        "GIT_CONFIG_NOSYSTEM": "1",
    }.items():
        monkeypatch.setenv(name, value)

    def run(folder: Path, *words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def clone(git: Git, tmp_path: Path) -> Path:
    """A clone that knows all files and has none of their content."""
    origin = write_planted(tmp_path / "origin")
    git(origin, "init", "--quiet")
    git(origin, "annex", "init", "--quiet", "origin")
    git(origin, "annex", "add", "--quiet", "--force-large", ".")
    git(origin, "commit", "--quiet", "-m", "data")
    git(tmp_path, "clone", "--quiet", str(origin), str(tmp_path / "clone"))
    git(tmp_path / "clone", "annex", "init", "--quiet", "clone")
    return tmp_path / "clone"


def present(clone: Path) -> set[str]:
    return {path.name for path in clone.iterdir() if path.is_file()}


def test_files_are_got_when_they_are_opened(clone: Path, tmp_path: Path) -> None:
    assert present(clone) == set()
    there, here = open_source(clone), open_source(tmp_path / "origin")
    before = there.fingerprint("p0", 1)
    assert check_source(there).participants == check_source(here).participants
    np.testing.assert_array_equal(there.betas("p1", 3), here.betas("p1", 3))
    assert {"dataset.toml", "p1_3.npy"} <= present(clone)
    assert "words.csv" not in present(clone)
    assert there.fingerprint("p0", 1) == before


def test_the_fingerprint_is_of_the_content(clone: Path, git: Git, tmp_path: Path) -> None:
    before = open_source(clone).fingerprint("p0", 1)
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", str(tmp_path / "origin"), str(other))
    assert open_source(other).fingerprint("p0", 1) == before


def test_what_nobody_has_is_told(clone: Path, git: Git, tmp_path: Path) -> None:
    open_source(clone).trials("p0")
    shutil.rmtree(tmp_path / "origin" / ".git" / "annex" / "objects", ignore_errors=True)
    os.system(f"chmod -R u+w {tmp_path / 'origin'}; rm -rf {tmp_path / 'origin'}")  # noqa: S605
    with pytest.raises(UnavailableError) as caught:
        open_source(clone).betas("p1", 3)
    assert caught.value.message.startswith(f"git-annex cannot get {clone}/")


def test_requests_have_nothing_fetched_unless_repositories_are_trusted(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading_within([clone]):
        with pytest.raises(InputError) as caught:
            open_source(clone)
        assert "requests may not have it fetched" in caught.value.message
        assert present(clone) == set()
        monkeypatch.setenv("SDC_INGEST_ANNEX", "true")
        forget_settings()
        assert open_source(clone).participants() == ["p0", "p1"]
