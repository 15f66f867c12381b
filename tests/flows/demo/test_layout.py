"""Every file is read back literally, as a reader of NSD's manual would."""

import csv
import json

import h5py
import nibabel as nib
import numpy as np
import pytest
from scipy.io import loadmat

from flows.demo.anatomy import grow_anatomy
from flows.demo.layout import write_anatomy
from flows.demo.truth import load_truth

BETAS = "nsddata_betas/ppdata/{}/func1pt8mm/betas_fithrf_GLMdenoise_RR"
EXPERIMENT = "nsddata/experiments/nsd"


@pytest.fixture(scope="module")
def design(cohort):
    root, _ = cohort
    return loadmat(root / EXPERIMENT / "nsd_expdesign.mat")


@pytest.fixture(scope="module")
def table(cohort):
    root, _ = cohort
    with (root / EXPERIMENT / "nsd_stim_info_merged.csv").open() as file:
        return list(csv.DictReader(file))


def read_sessions(root, label):
    """(sessions) list of (T, X, Y, Z) int16, whichever format the files have."""
    folder = root / BETAS.format(label)
    sessions = []
    for path in sorted(folder.glob("betas_session*")):
        if path.suffix == ".hdf5":
            with h5py.File(path) as file:
                sessions.append(file["betas"][:].transpose(0, 3, 2, 1))
        else:
            sessions.append(np.moveaxis(np.asarray(nib.load(path).dataobj), 3, 0))
    return sessions


def test_design_has_nsds_shapes_and_1_based_ids(design, small):
    order, ids, shared = design["masterordering"], design["subjectim"], design["sharedix"]
    assert order.shape == (1, 234)
    assert ids.shape == (2, 78)
    assert shared.shape == (1, 26)
    assert sorted(np.unique(order)) == list(range(1, 79))
    assert (np.bincount(order[0].astype(int))[1:] == small.repeats).all()
    assert (order[0][1:] != order[0][:-1]).all()
    both = set(ids[0]) & set(ids[1])
    assert both == set(shared[0])
    assert set(ids.ravel()) == set(range(1, 131))


def test_stimulus_table_is_0_based_and_agrees_with_the_design(design, table):
    assert [int(row["nsdId"]) for row in table] == list(range(130))
    assert sum(row["shared1000"] == "True" for row in table) == 26
    order, ids = design["masterordering"][0].astype(int), design["subjectim"].astype(int)
    for subject in (0, 1):
        for trial in (1, 57, 234):
            row = table[ids[subject, order[trial - 1] - 1] - 1]
            shown = [int(row[f"subject{subject + 1}_rep{r}"]) for r in range(3)]
            assert trial in shown
            assert shown == sorted(shown)
    assert all(row["subject8"] == "0" and row["subject8_rep2"] == "0" for row in table)


def test_captions_and_pictures_belong_to_the_table(cohort, table):
    root, _ = cohort
    folder = root / "nsddata_stimuli/stimuli/nsd"
    with h5py.File(folder / "nsd_stimuli.hdf5") as file:
        assert file["imgBrick"].shape == (130, 64, 64, 3)
        assert file["imgBrick"].dtype == np.uint8
    found = {}
    for split in ("train2017", "val2017"):
        document = json.loads((folder / f"annotations/captions_{split}.json").read_text())
        for annotation in document["annotations"]:
            found.setdefault((split, annotation["image_id"]), []).append(annotation["caption"])
    assert set(found) == {(row["cocoSplit"], int(row["cocoId"])) for row in table}
    assert all(len(captions) == 2 for captions in found.values())


def test_betas_are_int16_and_both_formats_have_their_axes(cohort):
    root, _ = cohort
    first = root / BETAS.format("subj01")
    shape = nib.load(first / "ncsnr.nii.gz").shape
    with h5py.File(first / "betas_session03.hdf5") as file:
        assert file["betas"].shape == (34, *shape[::-1])
        assert file["betas"].dtype == np.int16
    second = root / BETAS.format("subj02")
    image = nib.load(second / "betas_session01.nii.gz")
    assert image.shape == (*nib.load(second / "ncsnr.nii.gz").shape, 100)
    assert image.get_data_dtype() == np.int16
    assert image.dataobj.slope == 1


@pytest.mark.parametrize("label", ["subj01", "subj02"])
def test_betas_are_percent_signal_change_in_the_brain_alone(cohort, label):
    root, _ = cohort
    brain = np.isfinite(nib.load(root / BETAS.format(label) / "ncsnr.nii.gz").get_fdata())
    for session in read_sessions(root, label):
        assert (session[:, ~brain] == 0).all()
        percent = session[:, brain] / 300
        assert 0.3 < percent.mean() < 2
        assert 1 < percent.std() < 3
        assert (session[:, brain].std(axis=0) > 0).all()


@pytest.mark.parametrize("label", ["subj01", "subj02"])
def test_ncsnr_is_that_of_the_written_betas(cohort, design, label):
    root, _ = cohort
    stored = nib.load(root / BETAS.format(label) / "ncsnr.nii.gz").get_fdata()
    brain = np.isfinite(stored)
    scored = []
    for session in read_sessions(root, label):
        values = session[:, brain] / 300
        scored.append((values - values.mean(axis=0)) / values.std(axis=0))
    trials = np.concatenate(scored)
    order = design["masterordering"][0].astype(int)
    repeats = np.stack([trials[order == image] for image in range(1, 79)])
    noise = repeats.var(axis=1, ddof=1).mean(axis=0)
    signal = np.maximum(0, trials.var(axis=0) - noise)
    np.testing.assert_allclose(stored[brain], np.sqrt(signal / noise), atol=0.02)


@pytest.mark.parametrize("label", ["subj01", "subj02"])
def test_regions_have_names_and_lie_around_the_planted_voxels(cohort, label):
    root, truth_folder = cohort
    truth = load_truth(truth_folder)
    roi = root / "nsddata/ppdata" / label / "func1pt8mm/roi"
    for row, concept in enumerate(truth.concepts):
        if not concept.regions:
            continue
        atlas = concept.regions[0][0]
        table = root / "nsddata/freesurfer" / label / f"label/{atlas}.mgz.ctab"
        numbers = {line.split()[1]: int(line.split()[0]) for line in table.read_text().splitlines()}
        merged, left, right = (
            np.asarray(nib.load(roi / f"{side}{atlas}.nii.gz").dataobj)
            for side in ("", "lh.", "rh.")
        )
        assert merged.min() == -1
        np.testing.assert_array_equal(merged, np.maximum(left, right))
        assert not ((left > -1) & (right > -1)).any()
        region = np.isin(merged, [numbers[name] for _, name in concept.regions])
        assert all((merged == numbers[name]).sum() >= 10 for _, name in concept.regions)
        planted = truth.planted[label][row]
        dice = 2 * (region & planted).sum() / (region.sum() + planted.sum())
        assert 0.65 < dice < 0.97


def test_transform_holds_1_based_mni_voxels_counted_from_the_right(cohort):
    root, truth_folder = cohort
    truth = load_truth(truth_folder)
    row = [concept.name for concept in truth.concepts].index("words")
    for label, planted in truth.planted.items():
        path = root / "nsddata/ppdata" / label / "transforms/MNI-to-func1pt8.nii.gz"
        voxels = nib.load(path).get_fdata()
        assert voxels.shape == (*planted.shape[1:], 3)
        inside = voxels[..., 0] != 9999
        brain = np.isfinite(nib.load(root / BETAS.format(label) / "R2.nii.gz").get_fdata())
        np.testing.assert_array_equal(inside, brain)
        template = np.array([[-1, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]])
        mm = nib.affines.apply_affine(template, voxels[planted[row]] - 1)
        assert np.linalg.norm(mm.mean(axis=0) - [-47, -57, -12]) < 6


def test_localiser_maps_are_high_on_the_planted_voxels(cohort):
    root, truth_folder = cohort
    truth = load_truth(truth_folder)
    row = [concept.name for concept in truth.concepts].index("faces")
    folder = root / "nsddata/ppdata/subj01/func1pt8mm"
    t = nib.load(folder / "floc_facestval.nii.gz").get_fdata()
    planted = truth.planted["subj01"][row]
    brain = np.isfinite(t)
    assert t[planted].mean() > 3
    assert abs(t[brain & ~planted].mean()) < 0.5


def test_behaviour_has_one_row_a_trial(cohort, design):
    root, _ = cohort
    path = root / "nsddata/ppdata/subj02/behav/responses.tsv"
    with path.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    order, ids = design["masterordering"][0].astype(int), design["subjectim"].astype(int)
    assert [int(row["73KID"]) for row in rows] == ids[1, order - 1].tolist()
    assert [int(row["10KID"]) for row in rows] == order.tolist()
    assert [int(row["SESSION"]) for row in rows] == [1] * 100 + [2] * 100 + [3] * 34
    assert sum(row["ISOLD"] == "0" for row in rows) == 78
    assert {int(row["RUN"]) for row in rows[:100]} == set(range(1, 13))
    assert rows[0]["TRIAL"] == "1"


def test_participants_have_grids_of_their_own(cohort):
    root, _ = cohort
    images = [nib.load(root / BETAS.format(s) / "R2.nii.gz") for s in ("subj01", "subj02")]
    assert not np.array_equal(images[0].affine, images[1].affine)
    assert all(np.allclose(image.header.get_zooms(), 3) for image in images)


def test_transform_takes_every_voxel_to_its_own_place(tmp_path):
    anatomy = grow_anatomy(0, 1, np.random.default_rng(0))
    write_anatomy(tmp_path, "subj01", anatomy)
    path = tmp_path / "nsddata/ppdata/subj01/transforms/MNI-to-func1pt8.nii.gz"
    voxels = nib.load(path).get_fdata()[anatomy.brain]
    x, y, z = voxels.T
    mm = np.stack([91 - x, y - 127, z - 73], axis=1)
    np.testing.assert_allclose(mm, anatomy.mni[anatomy.brain], atol=1e-3)
