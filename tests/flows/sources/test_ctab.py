from pathlib import Path

import numpy as np
import pytest

from flows.sources.base import Grid, RegionMask
from flows.sources.ctab import read_labels, region_masks
from tests.flows.sources.faults import refused
from tests.flows.sources.nsd_tree import AFFINE, write_image

GRID = (3, 2, 2)


def masks(files: list[Path], labels: dict[int, str] | None) -> list[RegionMask]:
    grid = Grid(GRID, AFFINE)
    return region_masks("A", files, labels, named_by="A.ctab", grid=grid, participant="subj01")


def test_colour_tables_and_csv_name_values(tmp_path: Path) -> None:
    table = tmp_path / "A.mgz.ctab"
    table.write_text("# comment\n0 Unknown\n  1\tV1v 10 20 30 0\n\n2 area 5 of Brodmann\n3 IPS 0\n")
    expected = {0: "Unknown", 1: "V1v", 2: "area 5 of Brodmann", 3: "IPS 0"}
    assert read_labels(table) == expected
    csv = tmp_path / "A.csv"
    csv.write_text("name,value\nV1v,1\n")
    assert read_labels(csv) == {1: "V1v"}


@pytest.mark.parametrize(
    ("content", "words"),
    [("V1v 1\n", ["line 1", "'V1v 1'"]), ("1 a\n1 b\n", ["line 2", "label 1", "twice"])],
)
def test_a_faulty_colour_table_is_refused(tmp_path: Path, content: str, words: list[str]) -> None:
    path = tmp_path / "A.ctab"
    path.write_text(content)
    refused(tmp_path, lambda: read_labels(path), str(path), *words)
    refused(tmp_path, lambda: read_labels(tmp_path / "no.ctab"), "no.ctab", "no such file")


def test_a_region_is_the_union_of_the_files(tmp_path: Path) -> None:
    left, right = np.full(GRID, -1, np.int16), np.zeros(GRID, np.int16)
    left[0, 0, 0] = left[1, 1, 1] = 2
    right[1, 1, 1], right[2, 0, 1] = 1, 2
    files = [tmp_path / "lh.nii.gz", tmp_path / "rh.nii.gz"]
    write_image(files[0], left)
    write_image(files[1], right)
    two, one = masks(files, {0: "Unknown", 1: "one", 2: "two", 3: "nowhere"})
    assert (two.atlas, two.name, one.name) == ("A", "two", "one")
    assert np.argwhere(two.members).tolist() == [[0, 0, 0], [1, 1, 1], [2, 0, 1]]
    assert np.argwhere(one.members).tolist() == [[1, 1, 1]]


def test_a_plain_mask_needs_no_names(tmp_path: Path) -> None:
    values = np.zeros(GRID, np.float32)
    values[0], values[1] = 1, np.nan
    write_image(tmp_path / "m.nii", values)
    (region,) = masks([tmp_path / "m.nii"], None)
    assert region.name == "A"
    np.testing.assert_array_equal(region.members, values == 1)


def test_labels_without_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "roi.nii"
    values = np.zeros(GRID, np.int16)
    values[0], values[1] = 1, 7
    write_image(path, values)
    refused(tmp_path, lambda: masks([path], {1: "one"}), str(path), "label 7", "not in A.ctab")
    refused(tmp_path, lambda: masks([path], None), str(path), "label 7", "no label table")
    write_image(path, np.full(GRID, 1.5, np.float32))
    refused(tmp_path, lambda: masks([path], {1: "one"}), str(path), "1.5")


def test_another_grid_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "roi.nii"
    write_image(path, np.zeros((2, 3, 2), np.int16))
    refused(tmp_path, lambda: masks([path], {}), str(path), "2x3x2", "subj01", "3x2x2")
