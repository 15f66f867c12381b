"""docs/sources.md: its examples are data sets that work, and no option goes without a word."""

import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel
from typer.testing import CliRunner

from app.cli import app
from flows.sources import check_source, open_source
from flows.sources.bids_options import BidsOptions
from flows.sources.haxby_options import HaxbyOptions
from flows.sources.nsd_options import NsdOptions
from tests.flows.sources.nilearn_tree import RUNS, write_haxby_tree
from tests.flows.sources.nilearn_tree import write_labels as write_runs
from tests.flows.sources.nsd_tree import write_image
from tests.flows.sources.surface_tree import (
    PLACES,
    N,
    write_cifti,
    write_gifti,
    write_labels,
    write_surface,
)

TEXT = (Path(__file__).parents[3] / "docs/sources.md").read_text()
GRID = (3, 2, 2)
COMMANDS = re.findall(r"^sdc (ingest --check .*)$", TEXT, re.MULTILINE)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


def write_example(root: Path, paths: str) -> None:
    """The files of a listing, the tables and sidecars as they are shown."""
    described, sidecar = blocks("json")
    events, stimuli, labels = blocks("tsv")
    trials = len(re.findall("picture", events))
    for name in paths.split():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        runs = 2 if "glmsingle" in name or "betas_session" in name else 1
        betas = np.ones((*GRID, runs * trials), np.float32)
        if name.endswith("_mask.nii.gz"):
            write_image(path, np.ones(GRID, np.uint8))
        elif name.endswith("_dseg.nii.gz"):
            write_image(path, np.indices(GRID)[0].astype(np.int16))
        elif name.endswith(".surf.gii"):
            write_surface(path, PLACES[0])
        elif name.endswith(".label.gii"):
            write_labels(path, np.arange(N) % 3, {0: "???", 1: "FFA", 2: "PPA"})
        elif name.endswith(".func.gii"):
            write_gifti(path, np.full((trials, N), 3))
        elif name.endswith(".dscalar.nii"):
            write_cifti(path, np.full((trials, 2, N), 3))
        elif name.endswith(".nii.gz"):
            write_image(path, 3 * betas)
        elif name.endswith(".hdf5"):
            with h5py.File(path, "w") as file:
                file["betasmd"] = betas
        elif name.endswith(".png"):
            Image.new("RGB", (2, 2)).save(path)
        else:
            suffix = path.name.rpartition("_")[2]
            path.write_text(
                {
                    "description.json": described,
                    "statmap.json": sidecar,
                    "events.tsv": events,
                    "stimuli.tsv": stimuli,
                    "dseg.tsv": labels,
                }[suffix]
            )


def test_the_example_of_a_derivative_is_one(tmp_path: Path) -> None:
    write_example(tmp_path / "betas", blocks("text")[0])
    source = open_source(tmp_path / "betas")
    report = check_source(source)
    (one,) = report.participants
    assert (one.label, one.sessions, one.trials, one.atlases) == ("sub-01", (1, 2), 4, ("floc",))
    assert (one.regions, one.mni) == (2, 1.0)
    assert (report.captions, report.pictures) == (3, True)
    assert report.description.slug == "photographs-of-things"
    np.testing.assert_allclose(source.betas("sub-01", 2), 0.03, rtol=1e-6)


def test_the_example_of_surfaces_is_one(tmp_path: Path) -> None:
    write_example(tmp_path / "surfaces", blocks("text")[1])
    source = open_source(tmp_path / "surfaces")
    first, second = check_source(source).participants
    assert (first.surface, first.voxels, first.left_out) == ("fsLR_den-32k", 2 * N, 0)
    assert (second.surface, second.left_out > 0) == ("fsLR", True)
    assert (first.mni, second.mni, first.regions) == (1.0, 1.0, 2)
    for label in source.participants():
        np.testing.assert_allclose(source.betas(label, 1), 0.03, rtol=1e-6)


def test_the_example_of_glmsingle_is_one(tmp_path: Path) -> None:
    write_example(tmp_path / "glmsingle", blocks("text")[2])
    report = check_source(open_source(tmp_path / "glmsingle"))
    assert [(one.label, one.trials, one.mni) for one in report.participants] == [
        ("sub-01", 4, None),
        ("sub-02", 4, None),
    ]


def test_the_commands_of_the_examples_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_example(tmp_path / "betas", blocks("text")[0])
    write_example(tmp_path / "surfaces", blocks("text")[1])
    write_example(tmp_path / "glmsingle", blocks("text")[2])
    write_haxby_tree(tmp_path / "haxby2001")
    for labels in sorted((tmp_path / "haxby2001").glob("subj?/labels.txt")):
        # The distribution has twelve runs.
        names = [line.split()[0] for line in labels.read_text().splitlines()[1:]]
        runs = np.arange(len(names)) * 12 // len(names)
        assert len(names) > 12 * 3 > RUNS
        write_runs(labels, list(zip(names, runs.tolist(), strict=True)))
    monkeypatch.chdir(tmp_path)
    names = [command.split()[2] for command in COMMANDS]
    assert names == ["haxby2001", "betas", "surfaces", "glmsingle"]
    for command in COMMANDS:
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("options", [NsdOptions, HaxbyOptions, BidsOptions])
def test_every_option_is_documented(options: type[BaseModel]) -> None:
    titles = {NsdOptions: "## The Natural", HaxbyOptions: "## Haxby", BidsOptions: "## A BIDS"}
    section = TEXT[TEXT.index(titles[options]) :].split("\n## ")[0]
    for name in options.model_fields:
        assert re.search(rf"^\|.*`{name}`.*\|", section, re.MULTILINE), name
