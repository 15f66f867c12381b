import numpy as np
import pytest

from flows.demo.anatomy import VISUAL_AREAS, grow_anatomy
from flows.demo.captions import caption_scene, draw_scenes
from flows.demo.concepts import CONCEPTS
from flows.demo.drawing import draw_scene
from flows.demo.responses import (
    compute_drives,
    draw_tuning,
    noise_patterns,
    picture_statistics,
    receptive_fields,
    simulate_sessions,
)


@pytest.fixture(scope="module")
def scenes():
    return draw_scenes(300, np.random.default_rng(1))


@pytest.fixture(scope="module")
def images(scenes):
    rng = np.random.default_rng(2)
    return np.stack([draw_scene(scene, rng) for scene in scenes])


@pytest.fixture(scope="module")
def drives(scenes, images, encoder):
    rng = np.random.default_rng(3)
    return compute_drives([caption_scene(s, 2, rng) for s in scenes], images, encoder)


@pytest.fixture(scope="module")
def anatomies():
    return [grow_anatomy(p, 4, np.random.default_rng([4, p])) for p in range(4)]


def test_a_concepts_drive_is_high_for_its_images_alone(scenes, drives):
    main = np.array([scene.topic.name for scene in scenes])
    second = np.array([scene.second.name if scene.second else "" for scene in scenes])
    for column, concept in enumerate(CONCEPTS):
        drive = drives.concepts[:, column]
        absent = (main != concept.name) & (second != concept.name)
        assert drive[main == concept.name].mean() > 1.5
        assert abs(drive[absent].mean()) < 0.5
        also = drive[second == concept.name].mean()
        assert drive[absent].mean() < also < drive[main == concept.name].mean()


def test_drive_follows_meaning_and_not_words(images, encoder):
    """A text in words that no caption uses drives the concept it means."""
    captions = [[concept.anchors[0]] for concept in CONCEPTS] + [
        [f"a photo of {concept.query}"] for concept in CONCEPTS
    ]
    drive = compute_drives(captions, images[: len(captions)], encoder).concepts[len(CONCEPTS) :]
    right = (drive.argmax(axis=0) == np.arange(len(CONCEPTS))).sum()
    assert right >= len(CONCEPTS) - 2


def test_further_meaning_holds_nothing_of_the_concepts(drives):
    r = drives.concepts.T.astype(float) @ drives.meaning / len(drives.meaning)
    assert np.abs(r).max() < 1e-4
    assert drives.meaning.std(axis=0).min() > 0


def test_picture_statistics_are_those_of_their_cell(images):
    before = picture_statistics(images)
    changed = images.copy()
    changed[0, :16, 48:] = 255
    after = picture_statistics(changed)
    moved = np.abs(after - before)[0].max(axis=-1) > 0.5
    assert moved[0, 3]
    assert moved.sum() <= 2


def test_early_visual_voxels_see_the_other_side_and_their_half():
    areas = np.array([1 + list(VISUAL_AREAS).index(name) for name in ("V1v", "V1d")])
    fields = receptive_fields(areas.repeat(50), np.full(100, -10.0), np.random.default_rng(0))
    seen = (fields != 0).any(axis=-1)
    assert not seen[:, :, :2].any()
    assert not seen[:50, 2:].any()
    assert not seen[50:, :2].any()


def test_every_brain_is_its_own_and_has_enough_planted_voxels(anatomies):
    assert len({anatomy.brain.shape for anatomy in anatomies}) > 1
    for participant, anatomy in enumerate(anatomies):
        sizes = anatomy.planted.sum(axis=(1, 2, 3))
        for size, concept in zip(sizes, CONCEPTS, strict=True):
            if concept.participant in (None, participant):
                assert 60 < size < 280
            else:
                assert size == 0
        kinds = [*anatomy.planted, anatomy.visual > 0, anatomy.distributed]
        assert np.sum(kinds, axis=0).max() == 1
        assert not np.any(kinds, axis=0)[~anatomy.brain].any()
        assert (anatomy.brain & ~np.any(kinds, axis=0)).sum() > 3000


def test_planted_patches_lie_where_the_concept_says(anatomies):
    for row, concept in enumerate(CONCEPTS):
        for anatomy in anatomies:
            voxels = anatomy.mni[anatomy.planted[row]]
            if not len(voxels):
                continue
            centres = np.array([blob.centre for blob in concept.blobs])
            distance = np.linalg.norm(voxels[:, None] - centres, axis=-1)
            assert distance.min(axis=1).max() < 16
            assert (np.bincount(distance.argmin(axis=1), minlength=len(centres)) > 5).all()


def test_betas_reach_the_drawn_noise_ceiling(anatomies, drives):
    rng = np.random.default_rng(5)
    anatomy = anatomies[2]
    tuning = draw_tuning(anatomy, drives, rng)
    shown = rng.permutation(np.tile(np.arange(300), 3))
    sessions = list(simulate_sessions(tuning, noise_patterns(anatomy, rng), shown, 300, rng))
    z = np.concatenate([(s - s.mean(axis=0)) / s.std(axis=0) for s in sessions])
    repeats = z[np.argsort(shown, kind="stable")].reshape(300, 3, -1)
    noise = repeats.var(axis=1, ddof=1).mean(axis=0)
    ceiling = 100 * np.maximum(0, z.var(axis=0) - noise)
    planted = anatomy.planted.any(axis=0)[anatomy.brain]
    answers = tuning.ceiling > 0
    assert abs(ceiling[planted].mean() - 100 * tuning.ceiling[planted].mean()) < 1.5
    assert np.corrcoef(ceiling, tuning.ceiling)[0, 1] > 0.8
    assert np.median(ceiling[~answers]) < 1
    assert 2500 < answers.sum() < 0.5 * answers.size
    assert (ceiling[answers] < 30).mean() > 0.8
    assert 8 < np.median(ceiling[planted]) < 30


def test_noise_is_smooth(anatomies):
    anatomy = anatomies[0]
    patterns = noise_patterns(anatomy, np.random.default_rng(6))
    np.testing.assert_allclose((patterns**2).sum(axis=0), 1, rtol=1e-4)
    index = np.full(anatomy.brain.shape, -1)
    index[anatomy.brain] = np.arange(anatomy.brain.sum())
    pairs = np.stack([index[:-1].ravel(), index[1:].ravel()])
    near = pairs[:, (pairs >= 0).all(axis=0)]
    beside = (patterns[:, near[0]] * patterns[:, near[1]]).sum(axis=0).mean()
    apart = (patterns[:, near[0]] * patterns[:, near[1][::-1]]).sum(axis=0).mean()
    assert beside > 0.5
    assert abs(apart) < 0.1
