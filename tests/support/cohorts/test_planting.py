from dataclasses import fields, replace

import numpy as np
import pytest

from tests.support.cohorts.blocks import block_cohort, many_categories_cohort
from tests.support.cohorts.designs import DesignConfig, draw_folds, draw_seen, draw_trials
from tests.support.cohorts.objects import GROUPS, SCENES, load_clip_names
from tests.support.cohorts.planting import (
    caption_cohort,
    clip_cohort,
    laboratory_cohort,
)
from tests.support.cohorts.records import FOLDS, PlantedCohort
from tests.support.cohorts.recovery import readout
from tests.support.cohorts.small import SMALL_CAPTIONS, SMALL_CLIP
from tests.support.cohorts.stimuli import standard


@pytest.fixture(params=["captions", "clip"])
def cohort(request: pytest.FixtureRequest) -> PlantedCohort:
    found: PlantedCohort = request.getfixturevalue(request.param)
    return found


def test_shapes_and_folds_fit_together(cohort: PlantedCohort) -> None:
    stimuli, concepts = len(cohort.vectors), len(cohort.concepts)
    assert cohort.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(cohort.vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(cohort.directions, axis=1), 1, rtol=1e-5)
    assert len(set(cohort.captions)) == len(set(cohort.stimuli)) == stimuli
    assert cohort.drive.shape == (stimuli, concepts)
    assert (cohort.fold == "test").sum() == 40
    assert (cohort.fold == "validation").sum() == 30
    assert cohort.terms
    assert cohort.term_vectors.shape == (len(cohort.terms), cohort.vectors.shape[1])
    for number, one in enumerate(cohort.participants):
        trials, voxels = one.x.shape
        assert one.x.dtype == np.float32
        assert np.isfinite(one.x).all()
        assert one.image.shape == one.session.shape == (trials,)
        assert one.planted.shape == (concepts, voxels)
        assert one.mni.shape == (voxels, 3)
        assert one.regions.shape == (len(one.region_names), voxels)
        assert len(set(one.region_names)) == len(one.region_names)
        shown = np.bincount(one.image, minlength=stimuli)
        assert set(shown[cohort.fold == "test"]) == {3}
        assert set(shown[cohort.fold == "validation"]) == {2}
        assert set(shown[cohort.fold == "train"]) <= {0, 1, 2, 3}
        assert (shown[cohort.fold == "train"] > 0).sum() == 150
        assert sum(len(cohort.trials(number, fold)) for fold in FOLDS) == trials
        assert (np.diff(one.session) >= 0).all()
        assert (np.diff(one.image) != 0).all()


def test_sessions_are_standardised_by_their_training_trials(cohort: PlantedCohort) -> None:
    for one in cohort.participants:
        trains = cohort.fold[one.image] == "train"
        for session in np.unique(one.session):
            x = one.x[trains & (one.session == session)]
            np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-4)
            np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-4)


def test_a_seed_gives_the_same_cohort_and_another_another(cohort: PlantedCohort) -> None:
    make, config = (
        (clip_cohort, SMALL_CLIP) if cohort.vectors.shape[1] == 512 else
        (caption_cohort, SMALL_CAPTIONS)
    )  # fmt: skip
    again, other = make(5, 3, config=config), make(6, 3, config=config)
    np.testing.assert_array_equal(again.vectors, cohort.vectors)
    assert again.captions == cohort.captions
    for one, same, different in zip(
        cohort.participants, again.participants, other.participants, strict=True
    ):
        for field in fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(same, field.name))
        assert (
            one.planted.shape != different.planted.shape or (one.planted != different.planted).any()
        )
    assert other.concepts != cohort.concepts


def test_one_concept_is_a_single_participants(cohort: PlantedCohort) -> None:
    assert cohort.carriers.sum(axis=0).tolist() == [3, 3, 3, 3, 1]
    assert cohort.shared.tolist() == [True] * 4 + [False]


def test_many_participants_share_what_most_of_them_carry() -> None:
    few = replace(
        SMALL_CAPTIONS,
        voxels=60,
        patch=(5, 10),
        design=DesignConfig(pool=20, train=20, validation=5, test=5),
    )
    carriers = caption_cohort(1, 8, config=few).carriers.sum(axis=0)
    assert carriers.tolist() == [6, 8, 8, 6, 1]


def test_patches_lie_in_both_hemispheres_overlap_and_differ_in_size(cohort: PlantedCohort) -> None:
    for one in cohort.participants:
        left = one.mni[:, 0] < 0
        sizes = one.planted[one.carries].sum(axis=1)
        assert sizes.min() >= 20
        assert sizes.max() <= 140
        assert sizes.max() > 2 * sizes.min()
        assert one.planted[one.carries][:, left].any(axis=1).all()
        assert one.planted[one.carries][:, ~left].any(axis=1).all()
    assert any((one.planted.sum(axis=0) > 1).any() for one in cohort.participants)


def test_a_concept_lies_at_the_same_place_in_all_and_not_at_the_same_voxels(
    cohort: PlantedCohort,
) -> None:
    first, second = cohort.participants[:2]
    middles = [
        np.array([one.mni[row & (one.mni[:, 0] > 0)].mean(axis=0) for row in one.planted[:4]])
        for one in (first, second)
    ]
    apart = np.linalg.norm(middles[0][:, None] - middles[1][None], axis=-1)
    assert np.diag(apart).max() < 14
    assert (apart.argmin(axis=1) == np.arange(4)).all()
    assert first.shape == second.shape
    assert not np.allclose(first.affine, second.affine)
    # The second's first axis runs from right to left.
    assert first.affine[0, 0] > 0 > second.affine[0, 0]


def test_noise_ceilings_are_as_in_brains(cohort: PlantedCohort) -> None:
    for number, one in enumerate(cohort.participants):
        found = cohort.estimated_ceiling(number)
        assert 5 < np.median(found[one.tuning != "none"]) < 20
        assert 5 < np.median(100 * one.ceiling[one.tuning == "concept"]) < 20
        assert (one.ceiling[one.tuning == "none"] == 0).all()
        assert np.median(found[one.tuning == "none"]) < 5
        assert {"concept", "meaning", "picture", "none"} == set(one.tuning)
        np.testing.assert_array_equal(one.tuning == "concept", one.planted.any(axis=0))


def test_voxels_answer_to_what_is_planted_in_them(cohort: PlantedCohort) -> None:
    """By single-trial correlation with the drive: some are driven, some suppressed, none else."""
    for one in cohort.participants:
        drive = standard(cohort.drive[one.image].astype(np.float64))
        r = drive.T @ standard(one.x.astype(np.float64)) / len(drive)
        plain = np.abs(r[:, one.tuning == "none"]).mean()
        for concept in np.flatnonzero(one.carries):
            inside = r[concept, one.planted[concept]]
            assert np.abs(inside).mean() > 2.5 * plain
            alone = r[concept, one.planted[concept] & (one.planted.sum(axis=0) == 1)]
            assert (alone > 0).mean() > 0.65
        single = one.planted.any(axis=0)
        assert (r[:, single] < -0.1).any()


def test_planted_drives_are_told_by_their_voxels(cohort: PlantedCohort) -> None:
    told = readout(cohort)
    np.testing.assert_array_equal(np.isnan(told), ~cohort.carriers)
    assert np.nanmedian(told) > 0.5
    assert np.nanmin(told) > 0.1


def test_single_voxels_answer_to_the_leading_components(cohort: PlantedCohort) -> None:
    """Reliable, and nothing that neighbours have in common."""
    one = cohort.participants[0]
    centred = cohort.vectors - cohort.vectors.mean(axis=0)
    scores = standard(centred @ np.linalg.svd(centred, full_matrices=False)[2][:25].T)
    x = standard(one.x.astype(np.float64))
    r = np.abs(scores[one.image].T @ x / len(x)).max(axis=0)
    assert r[one.tuning == "meaning"].mean() > 1.3 * r[one.tuning == "none"].mean()


def test_noise_is_correlated_in_time_and_among_neighbours(cohort: PlantedCohort) -> None:
    one = cohort.participants[0]
    plain = np.flatnonzero(one.tuning == "none")
    x = standard(one.x[:, plain].astype(np.float64))
    same = one.session[1:] == one.session[:-1]
    lag = (x[1:] * x[:-1])[same].mean()
    assert 0.1 < lag < 0.4
    distance = np.linalg.norm(one.mni[plain][:, None] - one.mni[plain][None], axis=-1)
    alike = x.T @ x / len(x)
    near, far = alike[(distance > 0) & (distance < 4)], alike[distance > 40]
    assert near.mean() > far.mean() + 0.1


def test_vectors_lie_on_the_cone_of_clip(clip: PlantedCohort) -> None:
    cosine = clip.vectors @ clip.vectors.T
    pairs = cosine[np.triu_indices(len(cosine), 1)]
    assert pairs.mean() > 0.7
    assert pairs.max() < 0.999
    # Away from the cone's axis nothing is positive for all.
    centred = clip.vectors - clip.vectors.mean(axis=0)
    assert 0.2 < (centred @ clip.directions.T > 0).mean() < 0.8
    assert np.abs(centred).max() > 0


def test_captions_are_on_a_wide_cone_and_what_they_were_embedded_from(
    captions: PlantedCohort,
) -> None:
    from tests.support.cohorts.stimuli import _encoder

    cosine = captions.vectors @ captions.vectors.T
    assert cosine[np.triu_indices(len(cosine), 1)].mean() < 0.4
    alone = _encoder().encode_stimuli([[text] for text in captions.captions[:3]], None)
    np.testing.assert_allclose(alone, captions.vectors[:3], atol=1e-5)


def test_stimuli_of_a_concept_lie_in_its_direction(cohort: PlantedCohort) -> None:
    centred = cohort.vectors - cohort.vectors.mean(axis=0)
    r = np.corrcoef((centred @ cohort.directions.T).T, cohort.drive.T)
    concepts = len(cohort.concepts)
    across = r[:concepts, concepts:]
    assert np.diag(across).min() > 0.5
    assert np.diag(across).max() < 0.97


@pytest.mark.usefixtures("clip_names")
def test_names_of_groups_are_the_tables_and_stand_once() -> None:
    table = load_clip_names()
    members = [name for group in GROUPS.values() for name in group]
    assert len(set(members)) == len(members)
    assert set(members) <= set(table.names)
    assert {group for scene in SCENES for group in scene} == set(GROUPS)
    assert len(table.names) == 445


@pytest.mark.usefixtures("clip_names")
def test_a_laboratorys_cohort_is_small() -> None:
    cohort = laboratory_cohort(1)
    assert len(cohort.vectors) == 160
    assert [len(one.image) for one in cohort.participants] == [320] * 3
    assert cohort.shared.sum() == 5
    assert np.nanmedian(readout(cohort)) > 0.5


@pytest.mark.usefixtures("clip_names")
def test_blocks_are_one_category_each_in_every_run() -> None:
    cohort = block_cohort(1)
    assert len(cohort.participants) == 4
    assert len(np.unique(cohort.vectors, axis=0)) == 5
    assert cohort.fold.tolist() == ["train"] * 5 + ["validation"] * 5 + ["test"] * 5
    for one in cohort.participants:
        assert len(one.image) == 5 * 3 * 15
        assert (np.diff(one.image) != 0).sum() == 14
        assert set(np.bincount(one.image)) == {15}
        np.testing.assert_array_equal(one.session, one.image // 5 + 1)
        assert one.mni[:, 2].max() < 6
    assert np.median(readout(cohort)) > 0.5


@pytest.mark.usefixtures("clip_names")
def test_many_categories_are_one_participants() -> None:
    cohort = many_categories_cohort(1)
    assert len(cohort.participants) == 1
    assert len(np.unique(cohort.vectors, axis=0)) == len(set(cohort.captions)) == 81
    assert not cohort.shared.any()
    assert len(cohort.concepts) == 12
    with pytest.raises(ValueError, match="500 categories asked of"):
        block_cohort(1, 1, categories=500)


def test_repeats_are_as_they_were_asked_for() -> None:
    rng = np.random.default_rng(0)
    design = DesignConfig(pool=100, train=80, validation=10, test=10, repeats=(0.25, 0.5, 0.25))
    fold = draw_folds(design, rng)
    seen = draw_seen(design, fold, 3, rng)
    assert [len(one) for one in seen] == [80] * 3
    assert len(np.unique(np.concatenate(seen))) == 100
    image, session = draw_trials(design, fold, seen[0], rng)
    assert set(image[fold[image] == "train"]) == set(seen[0])
    shown = np.bincount(image, minlength=120)
    assert np.bincount(shown[fold == "train"]).tolist() == [20, 20, 40, 20]
    assert len(image) == 20 + 80 + 60 + 20 + 30
    assert session.max() == 1
