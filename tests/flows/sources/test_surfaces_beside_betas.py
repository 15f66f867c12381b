"""Surfaces that are of the other hemisphere, in another unit, cut off, or written once a run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from flows.sources import check_source, open_source
from tests.flows.sources.faults import refused
from tests.flows.sources.surface_tree import (
    ATLAS_NAMES,
    atlas,
    cifti_file,
    gifti_file,
    label_file,
    template_file,
    write_cifti_tree,
    write_gifti,
    write_gifti_tree,
    write_labels,
)


@pytest.fixture
def gifti(tmp_path: Path) -> Path:
    root = tmp_path / "gifti"
    root.mkdir()
    write_gifti_tree(root)
    return root


@pytest.fixture
def cifti(tmp_path: Path) -> Path:
    root = tmp_path / "cifti"
    root.mkdir()
    write_cifti_tree(root)
    return root


def _say(path: Path, structure: str, *, of_array: bool) -> None:
    image = nibabel.load(path)
    place = image.darrays[0].meta if of_array else image.meta
    place["AnatomicalStructurePrimary"] = structure
    nibabel.save(image, path)


def _betas(root: Path) -> Path:
    return gifti_file(root, "01", "02", 2, "L")


def _labels(root: Path) -> Path:
    return label_file(root, "L")


def _template(root: Path) -> Path:
    return template_file(root, "L")


@pytest.mark.parametrize("of_array", [False, True])
@pytest.mark.parametrize("file", [_betas, _labels, _template])
def test_a_file_of_the_other_hemisphere(
    gifti: Path, file: Callable[[Path], Path], of_array: bool
) -> None:
    path = file(gifti)
    expected = open_source(gifti).betas("sub-01", 2)
    _say(path, "CortexLeft", of_array=of_array)
    assert check_source(open_source(gifti))
    np.testing.assert_array_equal(open_source(gifti).betas("sub-01", 2), expected)
    _say(path, "CortexRight", of_array=of_array)
    source = open_source(gifti)
    refused(gifti, lambda: check_source(source), str(path), "hemisphere L", "CortexRight")


def test_one_atlas_a_run_on_surfaces(gifti: Path) -> None:
    expected = [(each.name, each.members.tolist()) for each in open_source(gifti).regions("sub-01")]
    copies = []
    for side in "LR":
        path = label_file(gifti, side)
        copies.append(path.with_name(path.name.replace("_hemi", "_task-things_run-1_hemi")))
        shutil.copy(path, copies[-1])
    told = open_source(gifti).regions("sub-01")
    assert [(each.name, each.members.tolist()) for each in told] == expected
    write_labels(copies[0], atlas()[0], ATLAS_NAMES | {3: "OFA"})
    write_labels(copies[1], atlas()[1], ATLAS_NAMES | {3: "OFA"})
    source = open_source(gifti)
    refused(gifti, lambda: check_source(source), "names labels otherwise", "the atlas floc")
    write_labels(copies[0], atlas()[0][::-1], ATLAS_NAMES)
    write_labels(copies[1], atlas()[1], ATLAS_NAMES)
    source = open_source(gifti)
    refused(gifti, lambda: check_source(source), copies[0].name, "both are of the atlas floc")


def test_surfaces_in_another_unit(gifti: Path) -> None:
    path = _betas(gifti)
    values = np.stack([array.data for array in nibabel.load(path).darrays])
    for side in "LR":
        write_gifti(gifti_file(gifti, "01", "02", 2, side), 300 * values)
    source = open_source(gifti)
    refused(gifti, lambda: check_source(source), str(path), "sub-01", "another unit")
    refused(gifti, lambda: source.betas("sub-01", 2), str(path), "another unit")


def test_surfaces_that_are_cut_off_show(gifti: Path, cifti: Path) -> None:
    for root, path in ((gifti, _betas(gifti)), (cifti, cifti_file(cifti, "02", "10", 1))):
        path.write_bytes(path.read_bytes()[:-30])
        source = open_source(root)
        refused(root, lambda source=source: check_source(source), str(path), "cannot be read as")
