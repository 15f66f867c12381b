"""docs/manifest.md: its example is a data set that works, and no key goes without a word."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from flows.sources import check_source, open_source
from flows.sources.manifest_schema import (
    DatasetTable,
    Manifest,
    ParticipantTable,
    RegionTable,
    ResponseTable,
    StimuliTable,
)
from tests.flows.sources.manifest_tree import AFFINE, write_series_tree
from tests.flows.sources.nsd_tree import write_hdf5_betas, write_image

TEXT = (Path(__file__).parents[3] / "docs/manifest.md").read_text()
BLOCKS = re.findall(r"```(toml|csv)\n(.*?)```", TEXT, re.DOTALL)
GRID = (4, 3, 2)


def test_the_example_is_a_data_set(tmp_path: Path) -> None:
    (_, manifest), (_, trials), (_, stimuli), _ = BLOCKS
    betas = np.ones((*GRID, 2), np.int16)
    for label in ("sub-01", "sub-02"):
        write_image(tmp_path / label / "mask.nii.gz", np.ones(GRID, np.uint8))
        (tmp_path / label / "trials.csv").write_text(trials)
    for session, name in enumerate(["first", "second"], start=1):
        write_image(tmp_path / f"sub-01/betas_session{session:02d}.nii.gz", betas)
        write_hdf5_betas(tmp_path / f"sub-02/{name}.h5", 300 * betas)
    labels = np.zeros(GRID, np.int16)
    labels[0], labels[1] = 1, 2
    for side in ("lh", "rh"):
        write_image(tmp_path / f"sub-01/{side}.floc.nii.gz", labels)
    write_image(tmp_path / "sub-01/faces_t.nii.gz", np.ones(GRID, np.float32))
    write_image(tmp_path / "sub-01/MNI-to-func.nii.gz", np.full((*GRID, 3), 91, np.float32))
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "pictures/cat.png")
    (tmp_path / "stimuli.csv").write_text(stimuli)
    (tmp_path / "dataset.toml").write_text(manifest)
    source = open_source(tmp_path)
    report = check_source(source)
    assert [(one.trials, one.regions, one.mni) for one in report.participants] == [
        (4, 2, 1.0),
        (4, 0, 1.0),
    ]
    assert (report.stimuli, report.captions, report.pictures) == (2, 3, True)
    assert report.folds == {"train": 1, "test": 1}
    np.testing.assert_allclose(source.betas("sub-02", 2), 1, rtol=1e-6)


def test_the_example_of_time_series_is_one(tmp_path: Path) -> None:
    series = write_series_tree(tmp_path)
    write_image(tmp_path / "run-1.nii.gz", np.concatenate([series] * 3, axis=-1), AFFINE)
    write_image(tmp_path / "run-2.nii.gz", np.concatenate([series] * 3, axis=-1), AFFINE)
    manifest = (tmp_path / "dataset.toml").read_text()
    head = manifest[: manifest.index("[timeseries]")]
    (tmp_path / "dataset.toml").write_text(head + BLOCKS[-1][1])
    assert check_source(open_source(tmp_path)).participants[0].trials == 3


@pytest.mark.parametrize(
    "model", [Manifest, DatasetTable, ParticipantTable, RegionTable, ResponseTable, StimuliTable]
)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    for key in model.model_fields:
        assert f"`{key}`" in TEXT or f"`[{key}]`" in TEXT or f"`[[{key}]]`" in TEXT, key
