from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.sources import check_source, open_source
from flows.sources.checks import ParticipantReport
from flows.sources.volumes import Series
from tests.flows.sources.faults import refused, snapshot
from tests.flows.sources.manifest_tree import MASK, write_manifest_tree, write_series_tree
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
