from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from app.embedding import load_encoder
from flows.sources import check_source, open_source
from tests.support.cohorts.manifest import rows_of, write_manifest
from tests.support.cohorts.participants import standardise
from tests.support.cohorts.records import PlantedCohort
from tests.support.cohorts.storage import load_cohort, save_cohort


@pytest.fixture(scope="module")
def written(captions: PlantedCohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_manifest(captions, tmp_path_factory.mktemp("cohort") / "data")


def test_a_manifest_is_read_and_complete(captions: PlantedCohort, written: Path) -> None:
    report = check_source(open_source(written))
    assert report.warnings == ()
    assert report.description.slug == "captions-5"
    assert report.stimuli == report.captioned == len(captions.vectors)
    assert report.folds == {
        fold: int((captions.fold == fold).sum()) for fold in dict.fromkeys(captions.fold)
    }
    for told, one in zip(report.participants, captions.participants, strict=True):
        assert told.label == one.label
        assert told.voxels == one.x.shape[1]
        assert told.trials == len(one.image)
        assert told.most_repeats == 3
        assert told.regions == len(one.regions)
        assert told.atlases == ("localiser", "parcels")
        assert told.mni == 1.0


def test_what_is_read_is_what_was_planted(captions: PlantedCohort, written: Path) -> None:
    source = open_source(written)
    for one in captions.participants:
        trials = source.trials(one.label)
        assert trials.stimulus.tolist() == [captions.stimuli[n] for n in one.image]
        np.testing.assert_array_equal(trials.session, one.session)
        np.testing.assert_array_equal(np.argwhere(source.mask(one.label)), one.voxel)
        mni = source.mni(one.label)
        assert mni is not None
        np.testing.assert_allclose(mni[tuple(one.voxel.T)], one.mni, atol=1e-3)
        betas = np.concatenate(
            [source.betas(one.label, session) for session in np.unique(one.session).tolist()]
        )
        assert 0.5 < np.median(betas.std(axis=0)) < 4
        scored = standardise(betas, one.session, captions.fold[one.image] == "train")
        np.testing.assert_allclose(scored, one.x, atol=2e-3)
        for region, (atlas, name), members in zip(
            source.regions(one.label), one.region_names, one.regions, strict=True
        ):
            assert (region.atlas, region.name) == (atlas, name)
            np.testing.assert_array_equal(region.members[tuple(one.voxel.T)], members)


@pytest.mark.parametrize("kind", ["captions", "clip"])
def test_the_table_gives_the_cohorts_vectors(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cohort: PlantedCohort = request.getfixturevalue(kind)
    manifest = write_manifest(cohort, tmp_path / "data")
    encoder = load_encoder(f"vectors:{manifest.parent / 'vectors.npz'}")
    captions = [one.captions for one in open_source(manifest).stimuli()]
    np.testing.assert_allclose(encoder.encode_stimuli(captions, None), cohort.vectors, atol=1e-6)
    np.testing.assert_allclose(
        encoder.encode_texts(list(cohort.terms)), cohort.term_vectors, atol=1e-6
    )


def test_folds_and_the_table_can_be_left_out(captions: PlantedCohort, tmp_path: Path) -> None:
    manifest = write_manifest(captions, tmp_path / "data", encoder_table=False, folds=False)
    assert not (manifest.parent / "vectors.npz").exists()
    assert check_source(open_source(manifest)).folds == {}
    with pytest.raises(FileExistsError):
        write_manifest(captions, tmp_path / "data")


def test_kept_voxels_are_found_by_their_indices(captions: PlantedCohort) -> None:
    one = captions.participants[1]
    kept = np.array([7, 3, 200])
    np.testing.assert_array_equal(rows_of(one, one.voxel[kept]), kept)
    with pytest.raises(KeyError):
        rows_of(one, np.array([[99, 0, 0]]))


def test_a_stored_cohort_comes_back(captions: PlantedCohort, tmp_path: Path) -> None:
    stored = load_cohort(save_cohort(replace(captions, shuffled=True), tmp_path / "one.npz"))
    assert stored.shuffled
    for field in fields(captions):
        if field.name not in ("participants", "shuffled"):
            np.testing.assert_array_equal(
                getattr(stored, field.name), getattr(captions, field.name)
            )
    for one, before in zip(stored.participants, captions.participants, strict=True):
        for field in fields(before):
            if field.name != "x":
                np.testing.assert_array_equal(getattr(one, field.name), getattr(before, field.name))
        assert one.x.dtype == np.float32
        np.testing.assert_allclose(one.x, before.x, atol=4e-3)
