import json
from types import SimpleNamespace

import numpy as np
import pytest

from flows.demo.anatomy import grow_anatomy
from flows.demo.captions import caption_scene, draw_scenes
from flows.demo.cohort import CohortConfig, _marker
from flows.demo.concepts import CONCEPTS
from flows.demo.drawing import draw_scene
from flows.demo.responses import compute_drives, draw_tuning
from flows.demo.truth import load_truth, write_truth
from flows.demo.varied import VARIED, blobs_of, grow_varied_anatomy, responses_of

NAMES = [concept.name for concept in CONCEPTS]
SUPPRESSED = NAMES.index("vehicles")
# What the code made of the default configuration before a cohort had a kind.
PLAIN_MARKER = (
    '{"configuration": "c30f01bdd5f5b320fcdaa1b2a4156611322cb4fa9287652fe258930d69f56537"}\n'
)


@pytest.fixture(scope="module")
def anatomies():
    return [grow_varied_anatomy(p, 4, np.random.default_rng([4, p])) for p in range(4)]


@pytest.fixture(scope="module")
def drives(encoder):
    rng = np.random.default_rng(1)
    scenes = draw_scenes(300, rng)
    images = np.stack([draw_scene(scene, rng) for scene in scenes])
    captions = [caption_scene(scene, 2, rng) for scene in scenes]
    return compute_drives(captions, images, encoder, rng.standard_normal((300, 24)))


def test_patches_have_20_to_500_voxels_and_overlap(anatomies):
    assert {VARIED[name].voxels for name in NAMES} >= {20, 500}
    for participant, anatomy in enumerate(anatomies):
        carried = [c.participant in (None, participant) for c in CONCEPTS]
        sizes = anatomy.planted.sum(axis=(1, 2, 3))
        assert (sizes[np.logical_not(carried)] == 0).all()
        # Patches of one concept may share a few voxels, as the two of words do.
        assert 18 <= sizes[carried].min() <= 24
        assert 480 <= sizes[carried].max() <= 500
        several = anatomy.planted.sum(axis=0) > 1
        assert 0.03 < several.sum() / anatomy.planted.any(axis=0).sum() < 0.2
        for name in ("faces", "food", "animals", "sport", "vehicles", "sea"):
            assert anatomy.planted[NAMES.index(name)][several].any(), name


def test_kinds_of_voxels_do_not_overlap_and_lie_in_the_brain(anatomies):
    for anatomy in anatomies:
        kinds = [anatomy.planted.any(axis=0), anatomy.visual > 0]
        kinds += [anatomy.distributed, anatomy.arbitrary]
        assert np.sum(kinds, axis=0).max() == 1
        assert not np.any(kinds, axis=0)[~anatomy.brain].any()
        assert all(kind.sum() > 400 for kind in kinds)
        assert (anatomy.brain & ~np.any(kinds, axis=0)).sum() > 3000


def test_concepts_of_named_regions_lie_where_they_did(anatomies):
    for row, concept in enumerate(CONCEPTS):
        if concept.regions:
            assert blobs_of(row) == concept.blobs
        for anatomy in anatomies:
            voxels = anatomy.mni[anatomy.planted[row]]
            if len(voxels):
                centres = np.array([blob.centre for blob in blobs_of(row)])
                distance = np.linalg.norm(voxels[:, None] - centres, axis=-1)
                assert distance.min(axis=1).max() < 22
                assert (np.bincount(distance.argmin(axis=1), minlength=len(centres)) > 5).all()


def test_voxels_respond_as_was_planted(anatomies, drives):
    anatomy = anatomies[2]
    tuning = draw_tuning(anatomy, drives, np.random.default_rng(5))
    r = drives.concepts.T @ tuning.signal / len(drives.concepts)
    planted = anatomy.planted[:, anatomy.brain]
    for row in range(len(CONCEPTS)):
        own = r[row][planted[row]].mean()
        assert own < -0.4 if row == SUPPRESSED else own > 0.4, NAMES[row]
    both = planted[SUPPRESSED] & planted[NAMES.index("sea")]
    assert r[SUPPRESSED][both].mean() < -0.2
    assert r[NAMES.index("sea")][both].mean() > 0.2


def test_arbitrary_voxels_answer_reliably_to_no_concept_and_as_their_neighbours(anatomies, drives):
    anatomy = anatomies[0]
    tuning = draw_tuning(anatomy, drives, np.random.default_rng(6))
    arbitrary = anatomy.arbitrary[anatomy.brain]
    planted = anatomy.planted.any(axis=0)[anatomy.brain]
    assert abs(tuning.ceiling[arbitrary].mean() - tuning.ceiling[planted].mean()) < 0.02
    r = drives.concepts.T @ tuning.signal / len(drives.concepts)
    assert np.abs(r[:, arbitrary]).mean() < 0.08
    offered = np.column_stack([drives.meaning, drives.nameless])
    design = np.column_stack([np.ones(len(offered)), offered])
    left = tuning.signal - design @ np.linalg.lstsq(design, tuning.signal, rcond=None)[0]
    explained = 1 - left.var(axis=0)
    assert explained[arbitrary].mean() > 0.55
    assert explained[planted].mean() < 0.25
    index = np.full(anatomy.brain.shape, -1)
    index[anatomy.arbitrary] = np.flatnonzero(arbitrary)
    pairs = np.stack([index[:-1].ravel(), index[1:].ravel()])
    near = pairs[:, (pairs >= 0).all(axis=0)]
    alike = (tuning.signal[:, near[0]] * tuning.signal[:, near[1]]).mean(axis=0)
    assert alike.mean() > 0.3


def test_truth_tells_responses_and_sizes_of_the_varied_cohort(cohort):
    truth = load_truth(cohort[1])
    assert [c.responds for c in truth.concepts] == list(responses_of("varied"))
    assert [c.name for c in truth.concepts if c.responds == "less"] == ["vehicles"]
    for row, concept in enumerate(truth.concepts):
        assert concept.voxels == {
            label: truth.planted[label][row].sum() for label in concept.participants
        }
    document = json.loads((cohort[1] / "truth.json").read_text())
    told = {each["name"]: each for each in document["concepts"]}
    assert told["vehicles"]["responds"] == "less"
    assert told["animals"]["voxels"]["subj01"] > 400


def test_a_plain_cohort_is_what_it_was(tmp_path):
    """Of version 5: files that were written before there was another kind are kept."""
    encoder = SimpleNamespace(name="caption", checksum="none")
    assert _marker(CohortConfig(kind="plain"), encoder, False) == PLAIN_MARKER
    assert CohortConfig(kind="plain").captions_each == 5
    anatomy = grow_anatomy(0, 4, np.random.default_rng([4, 0]))
    sizes = [165, 123, 203, 125, 122, 102, 114, 114, 120, 127, 113, 110, 0]
    assert anatomy.planted.sum(axis=(1, 2, 3)).tolist() == sizes
    assert [int((anatomy.visual > 0).sum()), int(anatomy.distributed.sum())] == [612, 1805]
    assert not anatomy.arbitrary.any()
    assert set(responses_of("plain")) == {"more"}
    write_truth(tmp_path, {"subj01": anatomy.planted}, shuffled=False)
    document = json.loads((tmp_path / "truth.json").read_text())
    keys = {"name", "kind", "participants", "query", "regions"}
    assert all(set(each) == keys for each in document["concepts"])
    loaded = load_truth(tmp_path).concepts[0]
    assert loaded.responds == "more"
    assert loaded.voxels == {"subj01": 165}
