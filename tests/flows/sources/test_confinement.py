"""Tests that who is confined reads nothing elsewhere, whatever names it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import InputError
from flows.sources import check_source, open_source
from flows.sources.confinement import reading_within
from tests.flows.sources.bids_tree import write_bids_tree
from tests.flows.sources.manifest_tree import write_manifest_tree
from tests.flows.sources.nsd_tree import write_nsd_tree

SMALL = {"trials_per_session": 6}


def refused(inside: Path, named: str, act: Callable[[], object]) -> None:
    with reading_within([inside]), pytest.raises(InputError) as caught:
        act()
    assert caught.value.message == f"{named} lies outside the folders that requests may read"


@pytest.mark.parametrize("name", ["mask.nii.gz", "one.h5", "two.npy", "trials.csv", "stimuli.csv"])
def test_a_manifest_by_full_names(tmp_path: Path, name: str) -> None:
    inside = write_manifest_tree(tmp_path / "inside")
    shutil.copytree(inside, tmp_path / "outside")
    with reading_within([inside]):
        check_source(open_source(inside))
    manifest = inside / "dataset.toml"
    other = tmp_path / "outside" / name
    manifest.write_text(manifest.read_text().replace(f'"{name}"', f'"{other}"'))
    refused(inside, str(other), lambda: check_source(open_source(inside)))
    check_source(open_source(inside))


def test_a_link_in_a_tree(tmp_path: Path) -> None:
    tree = write_nsd_tree(tmp_path / "inside")
    linked = tree.session("subj01", 2)
    shutil.move(linked, tmp_path / "outside.hdf5")
    linked.symlink_to(tmp_path / "outside.hdf5")
    refused(tree.root, str(linked), lambda: check_source(open_source(tree.root, **SMALL)))
    check_source(open_source(tree.root, **SMALL))


def test_an_option_of_files(tmp_path: Path) -> None:
    tree = write_nsd_tree(tmp_path / "inside")
    outside = tmp_path / "captions.json"
    outside.write_text("{}")
    options = SMALL | {"captions": str(outside)}
    refused(tree.root, str(outside), lambda: open_source(tree.root, **options).stimuli())


def test_an_option_of_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "inside"
    write_bids_tree(root)
    outside = tmp_path / "raw"
    outside.mkdir()
    refused(root, str(outside), lambda: open_source(root, raw=str(outside)))
