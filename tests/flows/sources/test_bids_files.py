"""Names of BIDS files, and what files inherit."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sources.bids_files import BidsFiles, read_json
from tests.flows.sources.faults import refused

LABEL = st.from_regex(r"[a-zA-Z0-9]{1,8}", fullmatch=True)


@given(subject=LABEL, session=LABEL, task=LABEL, run=st.integers(1, 999), space=LABEL, desc=LABEL)
@settings(max_examples=10, deadline=None)
def test_names_give_their_entities_back(
    tmp_path_factory: pytest.TempPathFactory,
    subject: str,
    session: str,
    task: str,
    run: int,
    space: str,
    desc: str,
) -> None:
    # What the folders above the data set are called tells nothing of a file.
    root = tmp_path_factory.mktemp("bids") / "sub-above_task-above"
    place = root / f"sub-{subject}/ses-{session}/func"
    place.mkdir(parents=True)
    name = (
        f"sub-{subject}_ses-{session}_task-{task}_run-{run:03d}_space-{space}_desc-{desc}"
        "_stat-effect_statmap.nii.gz"
    )
    (place / name).touch()
    (place / ".hidden_statmap.nii.gz").touch()
    (root / "notes.txt").touch()
    (root / "derivatives/sub-01").mkdir(parents=True)
    (root / "derivatives/sub-01/sub-01_statmap.nii.gz").touch()
    (file,) = BidsFiles(root).find(extension=(".nii.gz",), suffix="statmap")
    assert file.named == {
        "subject": subject,
        "session": session,
        "task": task,
        "run": str(run),
        "space": space,
        "desc": desc,
        "stat": "effect",
    }


def test_what_applies_is_of_the_same_suffix_and_lies_above(tmp_path: Path) -> None:
    place = tmp_path / "sub-01/ses-1/func"
    for folder, name in [
        (tmp_path, "statmap.json"),
        (tmp_path, "task-a_bold.json"),
        (tmp_path, "task-b_statmap.json"),
        (tmp_path / "sub-01", "sub-01_statmap.json"),
        (tmp_path / "sub-02", "sub-02_statmap.json"),
        (place, "sub-01_ses-1_task-a_statmap.json"),
        (place, "sub-01_ses-1_task-a_run-2_statmap.json"),
        (place, "sub-01_ses-1_task-a_run-1_statmap.nii.gz"),
        (place.parent / "anat", "sub-01_ses-1_statmap.json"),
    ]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    files = BidsFiles(tmp_path)
    (file,) = files.find(extension=(".nii.gz",), suffix="statmap")
    assert [one.path.name for one in files.inherited(file, ".json")] == [
        "statmap.json",
        "sub-01_statmap.json",
        "sub-01_ses-1_task-a_statmap.json",
    ]
    (tmp_path / "sub-01_statmap.json").touch()
    again = BidsFiles(tmp_path)
    refused(tmp_path, lambda: again.inherited(file, ".json"), "statmap.json beside it applies")


@given(st.binary(max_size=40) | st.text(alphabet='[]{}:,"1aé\\', max_size=20).map(str.encode))
@settings(max_examples=100, deadline=None)
def test_any_sidecar_is_an_object_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("json") / "statmap.json"
    path.write_bytes(content)
    try:
        valid = isinstance(json.loads(content), dict)
    except ValueError:
        valid = False
    if valid:
        assert read_json(path) == json.loads(content)
    else:
        refused(path.parent, lambda: read_json(path), str(path))


def test_a_sidecar_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "statmap.json"
    path.write_text("[" * 200_000)
    refused(tmp_path, lambda: read_json(path), str(path), "no valid JSON")
    refused(tmp_path, lambda: read_json(tmp_path / "absent.json"), "absent.json", "no such file")
