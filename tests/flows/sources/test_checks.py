from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.sources import check_source, open_source
from flows.sources.checks import ParticipantReport
from flows.sources.volumes import Series
from tests.flows.sources.faults import refused, snapshot
from tests.flows.sources.manifest_tree import MASK, replace, write_manifest_tree, write_series_tree
from tests.flows.sources.nsd_tree import GRIDS, TRIALS_PER_SESSION, NsdTree, write_image


def test_report_of_an_nsd_tree(tree: NsdTree) -> None:
    before = snapshot(tree.root)
    report = check_source(open_source(tree.root, trials_per_session=TRIALS_PER_SESSION))
    assert snapshot(tree.root) == before
    mask = tree.masks["subj01"]
    assert report.participants[0] == ParticipantReport(
        label="subj01",
        shape=GRIDS["subj01"],
        voxels=int(mask.sum()),
        sessions=(1, 2),
        trials=12,
        stimuli=4,
        most_repeats=4,
        regions=5,
        atlases=("floc-faces", "nsdgeneral", "prf-visualrois"),
        maps=("floc_bodiestval", "floc_facestval"),
        mni=1 - 1 / mask.sum(),
    )
    assert [one.label for one in report.participants] == ["subj01", "subj02"]
    assert (report.stimuli, report.shared, report.captioned, report.captions) == (6, 2, 6, 12)
    assert report.pictures
    assert report.folds == {}
    assert report.warnings == ()


def test_betas_that_are_cut_off_show(tree: NsdTree) -> None:
    path = tree.session("subj02", 2, "nii.gz")
    path.write_bytes(path.read_bytes()[:-200])
    source = open_source(tree.root, trials_per_session=TRIALS_PER_SESSION)
    refused(tree.root, lambda: check_source(source), str(path), "cannot be read as NIfTI")


def test_one_volume_of_whole_betas_is_read(tree: NsdTree, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, int | None]] = []
    whole = Series.read

    def watched(
        self: Series, mask: np.ndarray, start: int = 0, stop: int | None = None, **more: Any
    ) -> np.ndarray:
        read.append((start, stop))
        return whole(self, mask, start, stop, **more)

    monkeypatch.setattr(Series, "read", watched)
    check_source(open_source(tree.root, trials_per_session=TRIALS_PER_SESSION))
    # Of HDF5 the last one too, which a compressed image's end stands for.
    assert read == [(0, 1), (5, 6)] * 2 + [(0, 1)] * 2


def test_warnings_say_what_cannot_be_computed(tmp_path: Path) -> None:
    folder = write_manifest_tree(tmp_path)
    (folder / "stimuli.csv").write_text("stimulus,captions\ncat,a cat\ndog,\nowl,\n")
    report = check_source(open_source(folder))
    assert report.participants[0].voxels == MASK.sum()
    assert report.participants[0].mni is None
    assert set(report.warnings) == {
        "a: no regions",
        "b: no regions",
        "a: no transform to MNI, so that there are no MNI coordinates",
        "b: no transform to MNI, so that there are no MNI coordinates",
        "2 of 3 stimuli have no caption and no picture (the first: dog): no encoder can embed "
        "them but a table of their vectors (encoder=vectors:PATH)",
    }


def test_stimuli_without_captions_are_told_though_they_have_pictures(tree: NsdTree) -> None:
    for file in tree.root.rglob("captions_*.json"):
        file.unlink()
    report = check_source(open_source(tree.root, trials_per_session=TRIALS_PER_SESSION))
    assert (report.captioned, report.pictures) == (0, True)
    (told,) = report.warnings
    assert told.startswith("all stimuli have no caption (the first: ")
    assert told.endswith(
        "): encoders of pictures alone can embed them, whose weights a run has to fetch or find on "
        "its machine"
    )


def write_pictures(folder: Path) -> None:
    """A portrait, a picture that is half transparent, and one of 16 bits."""
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (3, 2), "teal").save(folder / "cat.jpg", exif=exif)
    clear = np.full((2, 4, 4), 255, np.uint8)
    clear[:, 2:] = 0
    Image.fromarray(clear).save(folder / "dog.png")
    Image.fromarray(np.uint16([[0, 32768, 65535]])).save(folder / "owl.tif")
    (folder / "stimuli.csv").write_text(
        "stimulus,captions,image\ncat,a,cat.jpg\ndog,b,dog.png\nowl,c,owl.tif\n"
    )


def test_what_becomes_of_pictures_is_told(tmp_path: Path) -> None:
    folder = write_manifest_tree(tmp_path)
    write_pictures(folder)
    source = open_source(folder)
    told = [text for text in check_source(source).warnings if "pictures" in text]
    assert told == [
        "1 of 3 pictures have transparent parts, which are read as mid grey (the first: dog, "
        f"{folder / 'dog.png'})"
    ]
    assert source.image("cat").shape == (3, 2, 3)
    assert source.image("dog")[0, :, 0].tolist() == [255, 255, 128, 128]
    assert source.image("owl")[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cat.jpg", "no such file"),
        ("dog.png", "is no picture that can be read"),
        ("owl.tif", "holds values from 0 to 700"),
        ("owl.jpg", "no such file"),
    ],
)
def test_pictures_that_cannot_be_used_show_at_once(tmp_path: Path, name: str, told: str) -> None:
    """Not the first one alone."""
    folder = write_manifest_tree(tmp_path)
    write_pictures(folder)
    if name == "cat.jpg":
        (folder / name).unlink()
    elif name == "dog.png":
        (folder / name).write_bytes(b"<html>")
    elif name == "owl.tif":
        Image.fromarray(np.float32([[0, 700]])).save(folder / name)
    else:
        replace(folder / "stimuli.csv", "owl.tif", name)
    source = open_source(folder)
    refused(folder, lambda: check_source(source), str(folder / name), told)


def test_folds_and_few_repeats(tmp_path: Path) -> None:
    write_series_tree(tmp_path)
    report = check_source(open_source(tmp_path))
    assert report.folds == {"train": 1, "test": 1}
    assert any("noise ceiling" in text for text in report.warnings)


def test_regions_of_all_voxels_and_of_none_are_told(tree: NsdTree) -> None:
    roi = tree.functional("subj01") / "roi"
    everywhere = np.ones(GRIDS["subj01"], np.int16)
    write_image(roi / "nsdgeneral.nii.gz", everywhere)
    outside = np.where(tree.masks["subj01"], 0, 1).astype(np.int16)
    outside[~tree.masks["subj01"]] = np.resize([1, 2], int((outside > 0).sum()))
    write_image(roi / "floc-faces.nii.gz", outside)
    report = check_source(open_source(tree.root, trials_per_session=TRIALS_PER_SESSION))
    assert report.participants[0].everywhere == ("nsdgeneral:nsdgeneral",)
    assert set(report.participants[0].nowhere) == {"floc-faces:OFA", "floc-faces:FFA-1"}
    names = ", ".join(report.participants[0].nowhere)
    assert report.warnings == (
        "subj01: all voxels of the mask lie in nsdgeneral:nsdgeneral, so that no component is "
        "compared with it",
        f"subj01: no voxels of the mask lie in {names}, so that no component is compared with it",
    )
