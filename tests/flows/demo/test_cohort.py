import hashlib
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from app.errors import InputError
from flows.demo.cohort import CohortConfig, Reliability, write_cohort
from flows.demo.truth import load_truth
from flows.sources import check_source, open_source

TINY = CohortConfig(
    participants=1, images=20, shared=10, repeats=2, trials_per_session=25, captions=1
)


def contents(folder):
    """Checksum of every file by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_seed_gives_the_same_bytes(tmp_path, encoder):
    for name in ("a", "b"):
        write_cohort(tmp_path / name / "nsd", tmp_path / name / "truth", TINY, encoder)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_another_kind_replaces_the_cohort(tmp_path, encoder):
    root, truth = tmp_path / "nsd", tmp_path / "truth"
    write_cohort(root, truth, TINY, encoder)
    varied = contents(tmp_path)
    write_cohort(root, truth, replace(TINY, kind="plain"), encoder)
    plain = contents(tmp_path)
    changed = {name for name in varied.keys() & plain.keys() if varied[name] != plain[name]}
    assert {"truth/truth.json", "truth/subj01.npz", "nsd/demo-cohort.json"} <= changed
    # Both show the same pictures in the same order.
    assert "nsd/nsddata/experiments/nsd/nsd_expdesign.mat" in plain.keys() - changed


def test_another_seed_gives_other_betas_and_replaces_the_cohort(tmp_path, encoder):
    root, truth = tmp_path / "nsd", tmp_path / "truth"
    write_cohort(root, truth, TINY, encoder)
    before = contents(root)
    write_cohort(root, truth, replace(TINY, seed=1), encoder)
    after = contents(root)
    betas = next(name for name in before if "betas_session01" in name)
    assert before[betas] != after[betas]
    assert not list(tmp_path.glob(".*"))


def test_second_call_touches_nothing(tmp_path, encoder):
    root, truth = tmp_path / "nsd", tmp_path / "truth"
    write_cohort(root, truth, TINY, encoder)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    said = []
    write_cohort(root, truth, TINY, encoder, lambda what, share: said.append(what))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    assert not said


def test_lost_truth_is_written_again(tmp_path, encoder):
    root, truth = tmp_path / "nsd", tmp_path / "truth"
    write_cohort(root, truth, TINY, encoder)
    (truth / "demo-cohort.json").unlink()
    (truth / "truth.json").unlink()
    (truth / "subj01.npz").unlink()
    truth.rmdir()
    shares = []
    write_cohort(root, truth, TINY, encoder, lambda what, share: shares.append(share))
    assert load_truth(truth).planted["subj01"].any()
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_truth_is_in_its_own_folder_alone(cohort):
    root, truth = cohort
    assert {path.name for path in truth.iterdir()} == {
        "demo-cohort.json",
        "subj01.npz",
        "subj02.npz",
        "truth.json",
    }
    planted = load_truth(truth).planted
    assert not list(root.rglob("*truth*"))
    assert not list(root.rglob("*.npz"))
    for path in root.rglob("*.nii.gz"):
        values = np.asarray(nib.load(path).dataobj)
        same = [row for row in planted[_label(path)] if row.shape == values.shape[:3]]
        assert not any(np.array_equal(np.nan_to_num(values) > 0, row) for row in same if row.any())


def _label(path):
    return next(part for part in path.parts if part.startswith("subj"))


def test_the_source_reads_it(cohort):
    root, truth = cohort
    source = open_source(root, trials_per_session=100)
    check_source(source)
    planted = load_truth(truth).planted
    assert source.participants() == sorted(planted)
    for label, voxels in planted.items():
        assert source.grid(label).shape == voxels.shape[1:]
        read = source.mask(label)[voxels.any(axis=0)]
        assert read.mean() > 0.8


def test_truth_tells_shared_from_single(cohort):
    concepts = {concept.name: concept for concept in load_truth(cohort[1]).concepts}
    assert len(concepts) == 13
    assert concepts["faces"].regions == (
        ("floc-faces", "OFA"),
        ("floc-faces", "FFA-1"),
        ("floc-faces", "FFA-2"),
    )
    assert sum(not c.regions for c in concepts.values() if c.kind == "shared") >= 5
    single = [concept for concept in concepts.values() if concept.kind == "single"]
    assert [concept.name for concept in single] == ["music"]
    assert len(single[0].participants) == 1
    assert all(
        c.participants == ("subj01", "subj02") for c in concepts.values() if c.kind == "shared"
    )


def test_truth_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no truth in"):
        load_truth(tmp_path)


@pytest.mark.parametrize("kind", ["varied", "plain"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_shuffling_breaks_the_tie_to_concepts_and_keeps_reliability(
    tmp_path, encoder, shuffle, kind
):
    config = replace(TINY, images=130, shared=65, trials_per_session=100, kind=kind)
    root, truth = tmp_path / "nsd", tmp_path / "truth"
    write_cohort(root, truth, config, encoder, shuffle=shuffle)
    assert load_truth(truth).shuffled is shuffle
    source = open_source(root, trials_per_session=100)
    mask = source.mask("subj01")
    planted = load_truth(truth).planted["subj01"]
    trials = source.trials("subj01")
    betas = np.concatenate([source.betas("subj01", s) for s in np.unique(trials.session)])
    stimuli = {stimulus.key: stimulus.captions for stimulus in source.stimuli()}
    row = [c.name for c in load_truth(truth).concepts].index("food")
    shown = np.array([food_in(stimuli[str(key)]) for key in trials.stimulus])
    answer = betas[:, planted[row][mask]].mean(axis=1)
    contrast = (answer[shown].mean() - answer[~shown].mean()) / answer.std()
    if shuffle:
        assert abs(contrast) < 0.6
    else:
        assert contrast > 1
    pairs = np.stack([betas[trials.stimulus == key][:2] for key in stimuli])
    voxels = planted.any(axis=0)[mask]
    first, second = pairs[:, 0][:, voxels], pairs[:, 1][:, voxels]
    r = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(first.T, second.T, strict=True)])
    assert r > 0.08


def food_in(captions):
    words = " ".join(captions).lower()
    nouns = ("pizza", "sandwich", "salad", "cake", "soup", "burger", "sushi", "pasta", "steak")
    return any(noun in words for noun in nouns)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"participants": 0}, "participants is 0"),
        ({"participants": 9}, "participants is 9"),
        ({"shared": 21}, "shared is 21"),
        ({"captions": 6}, "captions is 6"),
        ({"repeats": 0}, "repeats is 0"),
        ({"trials_per_session": 1}, "trials_per_session is 1"),
        ({"kind": "colourful"}, "kind is 'colourful'"),
    ],
)
def test_impossible_sizes_are_refused_and_nothing_is_written(tmp_path, encoder, change, named):
    with pytest.raises(InputError, match=named):
        write_cohort(tmp_path / "nsd", tmp_path / "truth", replace(TINY, **change), encoder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("root", "truth"), [("a", "a/truth"), ("a/nsd", "a"), ("a", "a")])
def test_truth_inside_the_cohort_is_refused(tmp_path, encoder, root, truth):
    with pytest.raises(InputError, match="lie inside each other"):
        write_cohort(tmp_path / root, tmp_path / truth, TINY, encoder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["nsd", "truth"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, encoder, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=f"{name} exists and is no demo cohort"):
        write_cohort(tmp_path / "nsd", tmp_path / "truth", TINY, encoder)
    assert contents(tmp_path).keys() == {f"{name}/thesis.txt"}


def test_reliability_finds_a_known_noise_ceiling():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((400, 2))
    image = rng.permutation(np.repeat(np.arange(400), 3))
    share = np.array([0.0, 0.3])
    betas = np.sqrt(share) * signal[image] + np.sqrt(1 - share) * rng.standard_normal((1200, 2))
    reliability = Reliability((400, 2))
    for part in (slice(0, 500), slice(500, 1200)):
        reliability.add(betas[part] * 2 + 5, image[part])
    ncsnr = reliability.ncsnr()
    np.testing.assert_allclose(ncsnr**2 / (1 + ncsnr**2), share, atol=0.05)
    assert reliability.r_squared()[1] > reliability.r_squared()[0] > 25
