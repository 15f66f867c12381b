"""Faulty BIDS derivatives: each is refused in one line, and nothing is changed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest

from flows.sources import check_source, open_source
from flows.sources.base import Source
from tests.flows.sources.bids_tree import (
    AFFINE,
    DESCRIPTION,
    GRID,
    SHOWN,
    SPACE,
    atlas_file,
    beta_file,
    brain,
    event_file,
    func,
    mask_file,
    stem,
    write_bids_tree,
    write_events,
    write_glmsingle_tree,
    write_json,
)
from tests.flows.sources.faults import refused
from tests.flows.sources.manifest_tree import replace
from tests.flows.sources.nsd_tree import write_image

Alter = Callable[[Path], None]
TYPED = "glmsingle/TYPED_FITHRF_GLMDENOISE_RR"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bids")
    write_bids_tree(folder / "statmap")
    write_glmsingle_tree(folder / "glmsingle")
    return folder


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(written / "statmap", tmp_path / "betas"))


@pytest.fixture
def glmsingle(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written / "glmsingle", tmp_path / "glmsingle"))


def read_all(root: Path, **options: object) -> Source:
    source = open_source(root, **options)
    check_source(source)
    source.betas("sub-01", 1)
    return source


def description(**changes: object) -> Alter:
    """Alter `dataset_description.json`; None removes a key."""

    def alter(root: Path) -> None:
        changed = {k: v for k, v in (DESCRIPTION | changes).items() if v is not None}
        write_json(root / "dataset_description.json", changed)

    return alter


def remove(*names: str) -> Alter:
    def alter(root: Path) -> None:
        for name in names:
            (root / name).unlink()

    return alter


def write(name: str, content: str) -> Alter:
    return lambda root: (root / name).write_text(content)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (remove("dataset_description.json"), ["dataset_description.json", "no such file"]),
        (description(DatasetType="raw"), ["DatasetType is 'raw', not 'derivative'"]),
        (description(DatasetType=None), ["DatasetType is 'raw', not 'derivative'"]),
        (description(Name=None), ["dataset_description.json: Name: missing key"]),
        (description(BIDSVersion=""), ["dataset_description.json: BIDSVersion"]),
        (description(Name="..."), ["Name gives no slug"]),
        (description(License=None), ["License gives no licence"]),
        (description(Authors=None), ["HowToAcknowledge gives no citation"]),
        (write("dataset_description.json", "{"), ["dataset_description.json: no valid JSON"]),
        (write("dataset_description.json", "[]"), ["dataset_description.json: no JSON object"]),
    ],
)
def test_a_faulty_description(root: Path, alter: Alter, words: list[str]) -> None:
    alter(root)
    refused(root, lambda: open_source(root), str(root / "dataset_description.json"), *words)


def _no_sidecar(root: Path) -> None:
    (root / "task-things_stat-effect_statmap.json").unlink()


def _foreign_sidecar(root: Path) -> None:
    path = root / "task-things_stat-effect_statmap.json"
    path.rename(path.with_name("task-things_run-1_stat-effect_statmap.json"))


def _two_sidecars(root: Path) -> None:
    write_json(root / "statmap.json", {})
    write_json(root / "stat-effect_statmap.json", {})


def _bad_scale(root: Path) -> None:
    write_json(root / "task-things_stat-effect_statmap.json", {"Scale": "percent"})


def _broken_sidecar(root: Path) -> None:
    (root / "task-things_stat-effect_statmap.json").write_text('{"Scale": 1')


def _one_trial_less(root: Path) -> None:
    write_events(event_file(root, "01", "02", 2), SHOWN[2][:1])


def _no_events(root: Path) -> None:
    event_file(root, "02", "10", 1).unlink()


def _two_events(root: Path) -> None:
    path = event_file(root, "01", "01", 1)
    shutil.copy(path, path.with_name(path.name.replace("_run", "_acq-b_run")))


def _no_column(root: Path) -> None:
    replace(event_file(root, "01", "01", 1), "stim_file", "picture")


def _no_onset(root: Path) -> None:
    replace(event_file(root, "01", "01", 1), "\n4\t2", "\nn/a\t2")


def _late_onset(root: Path) -> None:
    replace(event_file(root, "01", "01", 1), "\n0\t2", "\n20\t2")


def _broken_image(root: Path) -> None:
    path = beta_file(root, "01", "01", 1)
    path.write_bytes(path.read_bytes()[:60])


def _cut_image(root: Path) -> None:
    path = beta_file(root, "01", "01", 1)
    write_image(path, np.random.default_rng(0).random((*GRID, 3)).astype(np.float32), AFFINE)
    path.write_bytes(path.read_bytes()[:-40])


def _one_volume(root: Path) -> None:
    write_image(beta_file(root, "01", "01", 1), np.ones(GRID, np.float32), AFFINE)


def _other_grid(root: Path) -> None:
    write_image(beta_file(root, "01", "01", 1), np.ones((4, 3, 3, 3), np.float32), AFFINE)


def _other_affine(root: Path) -> None:
    write_image(beta_file(root, "01", "01", 1), np.ones((*GRID, 3), np.float32), 2 * AFFINE)


def _no_mask(root: Path) -> None:
    mask_file(root, "02").unlink()


def _mask_of_another_space(root: Path) -> None:
    mask_file(root, "01").rename(mask_file(root, "01", "T1w"))


def _empty_mask(root: Path) -> None:
    write_image(mask_file(root, "01"), np.zeros(GRID, np.uint8), AFFINE)


def _two_masks(root: Path) -> None:
    path = func(root, "01", "01") / f"sub-01_ses-01_space-{SPACE}_desc-brain_mask.nii.gz"
    write_image(path, np.ones((4, 3, 3), np.uint8), AFFINE)


def _two_atlases(root: Path) -> None:
    path = atlas_file(root)
    values = np.asanyarray(nibabel.load(path).dataobj).copy()
    values[2, 1, 1] = 7
    write_image(path.with_name(path.name.replace("_space", "_run-1_space")), values, AFFINE)


def _nameless_atlas(root: Path) -> None:
    path = atlas_file(root)
    path.rename(path.with_name(path.name.replace("_atlas-floc", "")))


def _no_names(root: Path) -> None:
    (root / "atlas-floc_dseg.tsv").unlink()


def _unnamed_label(root: Path) -> None:
    (root / "atlas-floc_dseg.tsv").write_text("index\tname\n1\tFFA\n")


def _atlas_of_another_grid(root: Path) -> None:
    write_image(atlas_file(root), np.ones((4, 3, 3), np.int16), AFFINE)


def _two_spaces(root: Path) -> None:
    path = beta_file(root, "01", "01", 1)
    shutil.copy(path, beta_file(root, "01", "01", 1, "T1w"))


def _two_tasks(root: Path) -> None:
    path = beta_file(root, "01", "01", 1)
    shutil.copy(path, path.with_name(path.name.replace("things", "rest")))


def _two_of_a_run(root: Path) -> None:
    path = beta_file(root, "01", "01", 1)
    shutil.copy(path, path.with_name(path.name.replace("_stat", "_desc-b_stat")))


def _all_runs_and_one(root: Path) -> None:
    path = beta_file(root, "01", "01", 1)
    shutil.copy(path, path.with_name(path.name.replace("_run-01", "")))


def _events_of_all_runs_and_one(root: Path) -> None:
    path = beta_file(root, "01", "01", 1)
    path.rename(path.with_name(path.name.replace("_run-01", "")))
    beta_file(root, "01", "01", 2).unlink()
    events = event_file(root, "01", "01", 1)
    events.rename(events.with_name(events.name.replace("_run-01", "")))


def _events_of_another_run(root: Path) -> None:
    path = event_file(root, "01", "01", 1)
    path.rename(path.with_name(path.name.replace("_run-01", "_run-07")))


def _two_kinds(root: Path) -> None:
    write_image(func(root, "01", "01") / "betas_session01.nii.gz", np.ones((*GRID, 5)), AFFINE)


def _foreign_name(root: Path) -> None:
    path = beta_file(root, "01", "01", 1)
    path.rename(path.with_name(path.name.replace("sub-01", "sub-02")))


def _no_session(root: Path) -> None:
    path = beta_file(root, "01", "01", 1)
    shutil.copy(path, root / "sub-01/func" / path.name.replace("_ses-01", ""))


def _session_word(root: Path) -> None:
    for path in sorted(func(root, "01", "02").iterdir()):
        path.rename(path.with_name(path.name.replace("ses-02", "ses-last")))
    (root / "sub-01/ses-02").rename(root / "sub-01/ses-last")


def _session_number_twice(root: Path) -> None:
    for path in sorted(func(root, "01", "02").iterdir()):
        path.rename(path.with_name(path.name.replace("ses-02", "ses-1")))
    (root / "sub-01/ses-02").rename(root / "sub-01/ses-1")


def _bare_participant(root: Path) -> None:
    (root / "sub-03/anat").mkdir(parents=True)


def _no_betas(root: Path) -> None:
    for path in sorted(root.rglob("*_statmap.nii.gz")):
        path.unlink()


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (_no_sidecar, [f"{stem('01', '01', 1)}_space-{SPACE}_stat-effect_statmap.json", "no such"]),
        (_foreign_sidecar, ["run-02", "statmap.json: no such file, nor one to inherit"]),
        (_two_sidecars, ["statmap.json", "applies to", "too"]),
        (_bad_scale, ["task-things_stat-effect_statmap.json: Scale is 'percent'"]),
        (_broken_sidecar, ["task-things_stat-effect_statmap.json: no valid JSON"]),
        (_one_trial_less, ["ses-02", "run-02", "2 betas", "has 1 trials of sub-01, session 2"]),
        (_no_events, ["sub-02_ses-10_task-things_run-01_events.tsv: no such file"]),
        (_two_events, ["run-01_events.tsv", "acq-b", "of the same run"]),
        (_no_column, ["run-01_events.tsv: no column stim_file"]),
        (_no_onset, ["run-01_events.tsv, line 4", "onset is empty"]),
        (_late_onset, ["run-01_events.tsv, line 4", "onset 4 comes after 20"]),
        (_broken_image, ["run-01", "statmap.nii.gz", "as NIfTI"]),
        (_cut_image, ["run-01", "statmap.nii.gz", "as NIfTI"]),
        (_one_volume, ["run-01", "3 axes"]),
        (_other_grid, ["run-01", "4x3x3", "sub-01 have 4x3x2", "desc-brain_mask.nii.gz"]),
        (
            _other_affine,
            [
                "run-01",
                "by an affine that puts its voxels up to",
                "desc-brain_mask.nii.gz of sub-01",
            ],
        ),
        (_no_mask, ["sub-02", "no *_desc-brain_mask.nii.gz of its space"]),
        (_mask_of_another_space, ["sub-01", "no *_desc-brain_mask.nii.gz of its space"]),
        (_empty_mask, ["sub-01", "mask.nii.gz: the mask of sub-01 is empty"]),
        (_two_masks, ["desc-brain_mask.nii.gz", "4x3x3", "4x3x2"]),
        (_two_atlases, ["dseg.nii.gz", "run-1", "at 1 voxels", "both are of the atlas floc"]),
        (_nameless_atlas, ["dseg.nii.gz", "tells no atlas"]),
        (_no_names, ["atlas-floc_dseg.tsv: no such file"]),
        (_unnamed_label, ["dseg.nii.gz", "label 7 is not in", "atlas-floc_dseg.tsv"]),
        (_atlas_of_another_grid, ["dseg.nii.gz", "4x3x3", "sub-01 have 4x3x2"]),
        (_two_spaces, ["2 spaces: MNI152NLin6Asym, T1w"]),
        (_two_tasks, ["2 tasks: rest, things"]),
        (_two_of_a_run, ["run-01", "desc-b", "of the same run"]),
        (_all_runs_and_one, ["run-01", "holds betas of the same run"]),
        (_events_of_all_runs_and_one, ["run-02_events.tsv", "holds events of the same run"]),
        (_events_of_another_run, ["sub-01_ses-01_task-things_run-01_events.tsv: no such file"]),
        (_two_kinds, ["several kinds of betas", "statmap, glmsingle"]),
        (_foreign_name, ["does not begin with sub-01_ses-01_"]),
        (_no_session, ["no session, where others of sub-01 have one"]),
        (_session_word, ["ses-last", "no session number of its own"]),
        (_session_number_twice, ["ses-1", "no session number of its own"]),
        (_bare_participant, ["sub-03: no betas"]),
        (_no_betas, ["no betas below"]),
        (remove("stimuli/stimuli.tsv"), ["stimuli.tsv", "no such file"]),
        (write("stimuli/stimuli.tsv", "stimulus_id\ncat.png\n"), ["no stimulus dog.png"]),
        (write("stimuli/stimuli.tsv", "stimulus\ncat.png\n"), ["no column stimulus_id"]),
        (remove("stimuli/cat.png"), ["stimuli/cat.png", "no such file"]),
    ],
)
def test_faulty_files(root: Path, alter: Alter, words: list[str]) -> None:
    alter(root)
    refused(root, lambda: read_all(root), str(root), *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"session": "01"}, ["options of a BIDS source", "session: unknown key"]),
        ({"betas": "npy"}, ["options of a BIDS source: betas"]),
        ({"slug": "Things!"}, ["options of a BIDS source: slug"]),
        ({"betas": "glmsingle"}, ["no glmsingle betas, there are: statmap"]),
        ({"space": "T1w"}, ["no space T1w"]),
        ({"task": "rest"}, ["no task rest"]),
        ({"entities": {"desc": "smooth"}}, ["no betas with desc smooth"]),
        ({"sessions": ["03"]}, ["no session 03"]),
        ({"sessions": ["01", "01"]}, ["session 01 is chosen twice"]),
        ({"sessions": []}, ["options of a BIDS source: sessions"]),
        ({"participants": ["sub-09"]}, ["no participant sub-09"]),
        ({"stimulus_column": "stimulus"}, ["no column stimulus"]),
        ({"stimulus_column": "trial_type"}, ["3 betas", "has 6 trials"]),
        ({"ignore": ["cat.png", "dog.png", "owl.png"]}, ["3 betas", "has 0 trials"]),
        ({"raw": "absent"}, ["absent: no such folder"]),
    ],
)
def test_faulty_options(root: Path, options: dict[str, object], words: list[str]) -> None:
    refused(root, lambda: read_all(root, **options), *words)


def test_participants_and_sessions_that_are_not_there(root: Path) -> None:
    source = open_source(root)
    for ask in (source.grid, source.mask, source.trials, source.regions, source.maps, source.mni):
        refused(root, lambda ask=ask: ask("sub-03"), "no participant sub-03")
    refused(root, lambda: source.betas("sub-02", 2), "sub-02 has no session 2")
    refused(root, lambda: source.image("emu.png"), "stimuli.tsv", "no stimulus emu.png")


def test_pictures_stay_in_their_folder(root: Path) -> None:
    replace(root / "stimuli/stimuli.tsv", "train\tcat.png", "train\t../cat.png")
    refused(root, lambda: open_source(root).image("cat.png"), "'../cat.png' leads out")


def _flat_betas(root: Path) -> None:
    with h5py.File(func(root, "01", "01") / f"{TYPED}.hdf5", "r+") as file:
        flat = file["betasmd"][:][brain()][:, None, None]
        del file["betasmd"]
        file["betasmd"] = flat


def _no_dataset(root: Path) -> None:
    with h5py.File(func(root, "01", "01") / f"{TYPED}.hdf5", "r+") as file:
        del file["betasmd"]


def _pickled(root: Path) -> None:
    for path in sorted(root.rglob("*.hdf5")):
        path.rename(path.with_suffix(".npy"))


def _a_trial_more(root: Path) -> None:
    write_events(event_file(root, "01", "01", 1), [*SHOWN[1], "owl.png"])


def _tasks(root: Path) -> None:
    path = event_file(root, "01", "01", 1)
    shutil.copy(path, path.with_name(path.name.replace("things", "other")))


def _no_events_at_all(root: Path) -> None:
    for run in (1, 2):
        event_file(root, "01", "01", run).unlink()


def _mask_spaces(root: Path) -> None:
    write_image(mask_file(root, "01", "T1w"), brain().astype(np.uint8), AFFINE)


def _no_masks(root: Path) -> None:
    for subject in ("01", "02"):
        mask_file(root, subject).unlink()


def _session_of_another(root: Path) -> None:
    for path in sorted(root.rglob("*.hdf5")):
        path.unlink()
    for folder in sorted(root.glob("sub-*/ses-*/func")):
        write_image(folder / "betas_session03.nii.gz", np.ones((*GRID, 5), np.float32), AFFINE)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (_flat_betas, [f"{TYPED}.hdf5", "grid 22x1x1, the mask has 4x3x2"]),
        (_no_dataset, [f"{TYPED}.hdf5", "no dataset betasmd"]),
        (_pickled, [f"{TYPED}.npy", "pickles"]),
        (_a_trial_more, [f"{TYPED}.hdf5", "5 betas", "has 6 trials of sub-01, session 1"]),
        (_tasks, ["2 tasks: other, things"]),
        (_no_events_at_all, ["sub-01_ses-01_task-*_events.tsv: no such file"]),
        (_mask_spaces, ["2 spaces: MNI152NLin6Asym, T1w"]),
        (_no_masks, ["no *_desc-brain_mask.nii.gz"]),
        (_session_of_another, ["betas_session03.nii.gz", "session 3 by its name, 1 by its folder"]),
    ],
)
def test_faulty_outputs_of_glmsingle(glmsingle: Path, alter: Alter, words: list[str]) -> None:
    alter(glmsingle)
    refused(glmsingle, lambda: read_all(glmsingle), str(glmsingle), *words)
