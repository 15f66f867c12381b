"""Ingestion of the NSD layout into a real catalog: what is kept, and what bad input leaves."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from scipy.io import loadmat, savemat
from sqlalchemy import func, select

from app.database.engine import open_session
from app.database.models import (
    Base,
    Dataset,
    Encoder,
    Ingestion,
    Region,
    Run,
    Stimulus,
    Subject,
    Voxel,
)
from app.errors import CatalogError, ConflictError, InputError
from app.store import Artefact
from flows.ingest import ingest_dataset
from flows.responses import load_responses
from flows.science.noise import noise_ceiling, zscore
from flows.sources import open_source
from flows.sources.base import Source
from flows.sources.manifest import ManifestSource
from flows.sources.nsd import NsdSource
from flows.stages import get_store
from tests.flows.planted import write_planted

OPTIONS = {"n_test": 20, "n_validation": 20, "source": {"slug": "small", "trials_per_session": 100}}
PREPARED = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"


@pytest.fixture
def cohort(small_cohort: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(small_cohort, tmp_path / "nsd"))


@pytest.fixture
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of fewer voxels than the cohort has, and of another number in each place."""
    monkeypatch.setattr("flows.ingest.SESSION_BLOCK", 61)
    monkeypatch.setattr("flows.ingest.VOXEL_BLOCK", 97)


def counts() -> dict[str, int]:
    """Rows of every table of the catalog."""
    with open_session() as session:
        return {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
        }


def add_run() -> None:
    """A run of nothing, which is all that keeps a dataset from being replaced."""
    with open_session() as session, session.begin():
        dataset = session.scalars(select(Dataset)).one()
        encoder = Encoder(
            name="e", spec="e", dimension=2, checksum="", sees_images=False, text_mean=np.zeros(2)
        )
        session.add(encoder)
        session.flush()
        told = ("configuration", "timings", "metrics", "parents")
        run = Run(
            dataset_id=dataset.id,
            encoder_id=encoder.id,
            key="k",
            method="masks",
            code_version="",
            seed=0,
            device="cpu",
            **{name: {} for name in told},
        )
        session.add(run)
        session.flush()
        dataset.current_run_id = run.id


def read_literally(
    source: Source, participant: str, fold: dict[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """All of a participant's responses, standardised, and their noise ceilings."""
    trials = source.trials(participant)
    training = np.array([fold[key] == "train" for key in trials.stimulus])
    z = np.concatenate(
        [
            zscore(source.betas(participant, number), training[trials.session == number])
            for number in np.unique(trials.session)
        ]
    )
    image = np.unique(trials.stimulus, return_inverse=True)[1]
    return z, noise_ceiling(z, image, training)


def test_what_is_kept_is_what_a_literal_reading_keeps(
    flows_home: Path, small_cohort: Path, few_at_a_time: None
) -> None:
    result = ingest_dataset(str(small_cohort), OPTIONS)
    assert result["changed"]
    source = open_source(small_cohort, **OPTIONS["source"])
    with open_session() as session:
        stimuli = session.scalars(select(Stimulus)).all()
        fold = {stimulus.key: stimulus.fold for stimulus in stimuli}
        subjects = session.scalars(select(Subject).order_by(Subject.label)).all()
        assert [subject.label for subject in subjects] == ["subj01", "subj02"]
        for subject in subjects:
            trials, mask = source.trials(subject.label), source.mask(subject.label)
            z, ceiling = read_literally(source, subject.label, fold)
            kept = np.nan_to_num(ceiling) > 5
            voxels = session.scalars(
                select(Voxel).where(Voxel.subject_id == subject.id).order_by(Voxel.index)
            ).all()
            places = np.array([(voxel.i, voxel.j, voxel.k) for voxel in voxels])
            # Half precision on disk moves the few voxels that lie on the threshold.
            assert abs(len(voxels) - kept.sum()) <= 2
            common = kept & np.isin(
                np.ravel_multi_index(np.argwhere(mask).T, mask.shape),
                np.ravel_multi_index(places.T, mask.shape),
            )
            assert common.sum() >= kept.sum() - 2
            affine = source.grid(subject.label).affine
            native = nibabel.affines.apply_affine(affine, places)
            stored = np.array([(voxel.x, voxel.y, voxel.z) for voxel in voxels])
            np.testing.assert_allclose(stored, native, atol=1e-3)
            mni = source.mni(subject.label)
            assert mni is not None
            np.testing.assert_allclose(
                np.array([(v.mni_x, v.mni_y, v.mni_z) for v in voxels], dtype=float),
                mni[tuple(places.T)],
                atol=1e-3,
            )
            keys = sorted(fold)
            x, shown = load_responses(
                get_store(), subject.artefacts, [fold[key] for key in keys], "test"
            )
            assert [keys[i] for i in shown] == [
                key for key in trials.stimulus if fold[key] == "test"
            ]
            columns = np.searchsorted(
                np.ravel_multi_index(np.argwhere(mask).T, mask.shape),
                np.ravel_multi_index(places.T, mask.shape),
            )
            np.testing.assert_allclose(
                [voxel.noise_ceiling for voxel in voxels], ceiling[columns], atol=0.02
            )
            wanted = np.array([fold[key] == "test" for key in trials.stimulus])
            np.testing.assert_allclose(x, z[wanted][:, columns], atol=5e-3)
        assert session.scalar(select(func.count(Region.id))) > 15
        assert {stimulus.fold for stimulus in stimuli} == {"train", "validation", "test"}


def test_captions_that_are_given_later_have_no_session_read_again(
    flows_home: Path, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [
        file.rename(tmp_path / file.name)
        for file in sorted((cohort / "nsddata_stimuli").rglob("captions_*.json"))
    ]
    assert files
    without = ingest_dataset(str(cohort), OPTIONS)
    (warning,) = [each for each in without["warnings"] if "caption" in each]
    assert warning.startswith("all stimuli have no caption")
    read = note_reading(monkeypatch, NsdSource)
    source = OPTIONS["source"] | {"captions": [str(file) for file in files]}
    captioned = ingest_dataset(str(cohort), OPTIONS | {"source": source})
    assert (captioned["changed"], read) == (True, [])
    assert not any("caption" in each for each in captioned["warnings"])
    with open_session() as session:
        captions = session.scalars(select(Stimulus.captions)).all()
        sessions = [each["sessions"] for each in session.scalars(select(Subject.artefacts))]
    assert all(captions)
    assert captioned["report"] == without["report"]
    # Nor where those that are there are called by their names or numbers.
    source |= {"participants": ["subj01", "subj02"], "sessions": len(sessions[0])}
    assert ingest_dataset(str(cohort), OPTIONS | {"source": source})["changed"]
    assert read == []


def test_localiser_maps_are_kept_at_the_voxels_kept(flows_home: Path, cohort: Path) -> None:
    file = cohort / "nsddata/ppdata/subj01/func1pt8mm/floc_facestval.nii.gz"
    image = nibabel.load(file)
    t = np.asarray(image.dataobj).copy()
    ingest_dataset(str(cohort), OPTIONS)
    before = _stored_maps("subj01")
    place = tuple(before[1][7])
    t[place] = np.nan
    nibabel.save(nibabel.Nifti1Image(t, image.affine), file)
    assert ingest_dataset(str(cohort), OPTIONS)["changed"]
    maps, places = _stored_maps("subj01")
    assert sorted(maps) == [
        *("floc_bodiestval", "floc_facestval", "floc_placestval", "floc_wordtval"),
    ]
    np.testing.assert_array_equal(places, before[1])
    np.testing.assert_array_equal(maps["floc_facestval"], t[tuple(places.T)])
    assert np.isnan(maps["floc_facestval"][7])
    assert np.isfinite(np.delete(maps["floc_facestval"], 7)).all()
    np.testing.assert_array_equal(maps["floc_wordtval"], before[0]["floc_wordtval"])
    assert not ingest_dataset(str(cohort), OPTIONS)["changed"]


def test_data_without_maps_have_none(flows_home: Path, cohort: Path) -> None:
    for file in cohort.rglob("*tval.nii.gz"):
        file.unlink()
    ingest_dataset(str(cohort), OPTIONS)
    with open_session() as session:
        artefacts = session.scalars(select(Subject.artefacts)).all()
    assert [sorted(each) for each in artefacts] == [["sessions", "voxels"]] * 2


def _stored_maps(label: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A participant's maps in the store, and the places (V, 3) of the voxels kept."""
    with open_session() as session:
        subject = session.scalars(select(Subject).where(Subject.label == label)).one()
        places = session.execute(
            select(Voxel.i, Voxel.j, Voxel.k)
            .where(Voxel.subject_id == subject.id)
            .order_by(Voxel.index)
        ).all()
    maps = get_store().get(Artefact.model_validate(subject.artefacts["maps"]))
    return maps, np.array([tuple(place) for place in places])


def test_the_same_data_again_changes_nothing(flows_home: Path, small_cohort: Path) -> None:
    ingest_dataset(str(small_cohort), OPTIONS)
    before = counts()
    assert not ingest_dataset(str(small_cohort), OPTIONS)["changed"]
    assert counts() == before


def test_what_was_read_before_a_fault_is_not_read_again(
    flows_home: Path, cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = cohort / PREPARED / "betas_session03.hdf5"
    whole = last.read_bytes()
    _nan_session(cohort, 3)
    with pytest.raises(InputError, match="session 3"):
        ingest_dataset(str(cohort), OPTIONS)
    last.write_bytes(whole)
    read = note_reading(monkeypatch, NsdSource)
    ingest_dataset(str(cohort), OPTIONS)
    assert ("subj01", 3) in read
    assert ("subj01", 1) not in read


def note_reading(monkeypatch: pytest.MonkeyPatch, source: type[Any]) -> list[tuple[str, int]]:
    """Participants and sessions whose betas are read from now on."""
    read: list[tuple[str, int]] = []
    literal = source.betas

    def noted(self: Any, participant: str, session: int) -> np.ndarray:
        read.append((participant, session))
        return np.asarray(literal(self, participant, session))

    monkeypatch.setattr(source, "betas", noted)
    return read


@pytest.mark.parametrize("keep", [True, False])
def test_a_new_session_is_read_and_those_before_are_not(
    flows_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    planted = write_planted(tmp_path / "planted", participants=1)
    trials, stimuli, last = (planted / name for name in ("trials.csv", "stimuli.csv", "p0_3.npy"))
    lines = trials.read_text().splitlines(keepends=True)
    trials.write_text("".join(line for line in lines if not line.endswith(",3\n")))
    last.rename(tmp_path / "later.npy")
    options = {"n_test": 20, "n_validation": 20, "keep_folds": keep}
    ingest_dataset(str(planted), options)
    before = folds()
    # What the new session shows nobody has seen, so that a fresh draw is another one.
    news = [line.replace("word", "new") if line.endswith(",3\n") else line for line in lines]
    trials.write_text("".join(news))
    told = stimuli.read_text().splitlines(keepends=True)
    stimuli.write_text("".join([*told, *(line.replace("word", "new") for line in told[1:])]))
    (tmp_path / "later.npy").rename(last)
    read = note_reading(monkeypatch, ManifestSource)
    assert ingest_dataset(str(planted), options)["changed"]
    assert read == [("p0", each) for each in ((3,) if keep else (1, 2, 3))]
    after = folds()
    assert len(after) == 2 * len(before)
    assert (before.items() <= after.items()) == keep
    assert not ingest_dataset(str(planted), options)["changed"]


def folds() -> dict[str, str]:
    """The fold of each stimulus in the catalog."""
    with open_session() as session:
        return {row.key: row.fold for row in session.execute(select(Stimulus.key, Stimulus.fold))}


def test_unusable_voxels_are_dropped_counted_and_reported(
    flows_home: Path, cohort: Path, few_at_a_time: None
) -> None:
    mask = np.argwhere(open_source(cohort, **OPTIONS["source"]).mask("subj01"))
    constant = mask[10]
    with h5py.File(cohort / PREPARED / "betas_session02.hdf5", "r+") as file:
        betas = file["betas"][:]
        betas[:, constant[2], constant[1], constant[0]] = 77
        file["betas"][:] = betas
    # Only floating-point betas can hold a NaN.
    broken = mask[20]
    with h5py.File(cohort / PREPARED / "betas_session01.hdf5", "r+") as file:
        betas = file["betas"][:].astype(np.float32) / 300
        betas[3, broken[2], broken[1], broken[0]] = np.nan
        del file["betas"]
        file["betas"] = betas
    report = ingest_dataset(str(cohort), OPTIONS)["report"]
    assert (report["subj01"]["constant"], report["subj01"]["not_finite"]) == (1, 1)
    assert (report["subj02"]["constant"], report["subj02"]["not_finite"]) == (0, 0)
    with open_session() as session:
        fold = {row.key: row.fold for row in session.scalars(select(Stimulus))}
        kept = session.execute(
            select(Voxel.i, Voxel.j, Voxel.k, Voxel.noise_ceiling)
            .join(Subject)
            .where(Subject.label == "subj01")
        ).all()
        _, ceiling = read_literally(open_source(cohort, **OPTIONS["source"]), "subj01", fold)
        expected = {tuple(place): value for place, value in zip(mask, ceiling, strict=True)}
        assert {tuple(constant), tuple(broken)}.isdisjoint(tuple(row[:3]) for row in kept)
        for row in kept:
            assert row.noise_ceiling == pytest.approx(expected[tuple(row[:3])], abs=0.02)
        stored = session.scalars(select(Ingestion.report)).one()
        assert stored == report


def _remove_session(cohort: Path) -> None:
    (cohort / PREPARED / "betas_session02.hdf5").unlink()


def _truncate(cohort: Path) -> None:
    path = cohort / PREPARED / "betas_session02.hdf5"
    path.write_bytes(path.read_bytes()[:5000])


def _foreign(cohort: Path) -> None:
    path = cohort / PREPARED / "betas_session02.hdf5"
    path.unlink()
    with h5py.File(path, "w") as file:
        file["weights"] = np.zeros((3, 3))


def _other_grid(cohort: Path, name: str = "roi/floc-faces") -> None:
    path = cohort / f"nsddata/ppdata/subj01/func1pt8mm/{name}.nii.gz"
    image = nibabel.load(path)
    values = np.asarray(image.dataobj)[:-1]
    nibabel.save(nibabel.Nifti1Image(values, image.affine, dtype=values.dtype), path)


def _other_map_grid(cohort: Path) -> None:
    _other_grid(cohort, "floc_wordtval")


def _nan_session(cohort: Path, session: int = 2) -> None:
    with h5py.File(cohort / PREPARED / f"betas_session{session:02d}.hdf5", "r+") as file:
        shape = file["betas"].shape
        del file["betas"]
        file["betas"] = np.full(shape, np.nan, dtype=np.float32)


def _lengthen(change: int) -> Callable[[Path], None]:
    def alter(cohort: Path) -> None:
        path = cohort / PREPARED / "betas_session02.hdf5"
        with h5py.File(path, "r+") as file:
            betas = file["betas"][:]
            del file["betas"]
            file["betas"] = (
                betas[:change] if change < 0 else np.concatenate([betas, betas[:change]])
            )

    return alter


def _ids(change: Callable[[np.ndarray], None]) -> Callable[[Path], None]:
    def alter(cohort: Path) -> None:
        path = cohort / "nsddata/experiments/nsd/nsd_expdesign.mat"
        design = {name: value for name, value in loadmat(path).items() if name[0] != "_"}
        change(design["subjectim"])
        savemat(path, design)

    return alter


def _too_large(ids: np.ndarray) -> None:
    ids[0, 5] = 99_999


def _from_zero(ids: np.ndarray) -> None:
    ids -= 1


def _unnamed_label(cohort: Path) -> None:
    path = cohort / "nsddata/freesurfer/subj01/label/floc-faces.mgz.ctab"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "FFA-1" not in line))


def _empty_mask(cohort: Path) -> None:
    for name in ("ncsnr", "R2"):
        path = cohort / PREPARED / f"{name}.nii.gz"
        image = nibabel.load(path)
        nibabel.save(
            nibabel.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine), path
        )


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (_remove_session, ["subj01", "session"]),
        (_truncate, ["betas_session02.hdf5"]),
        (_foreign, ["betas_session02.hdf5"]),
        (_other_grid, ["floc-faces"]),
        (_other_map_grid, ["floc_wordtval", "grid", "subj01"]),
        (_nan_session, ["subj01 session 2", "NaN"]),
        (_lengthen(-1), ["99", "100"]),
        (_lengthen(1), ["101", "100"]),
        (_ids(_too_large), ["99999"]),
        (_ids(_from_zero), ["0"]),
        (_unnamed_label, ["floc-faces"]),
        (_empty_mask, ["mask"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_the_catalog_as_it_was(
    flows_home: Path, cohort: Path, alter: Callable[[Path], None], words: list[str]
) -> None:
    before = counts()
    alter(cohort)
    with pytest.raises(InputError) as caught:
        ingest_dataset(str(cohort), OPTIONS)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert counts() == before


def test_duplicate_participants_leave_the_catalog_as_it_was(flows_home: Path, cohort: Path) -> None:
    options = OPTIONS | {"source": OPTIONS["source"] | {"participants": ["subj01", "subj01"]}}
    before = counts()
    with pytest.raises(InputError, match="subj01"):
        ingest_dataset(str(cohort), options)
    assert counts() == before


def test_too_large_folds_leave_the_catalog_as_it_was(flows_home: Path, cohort: Path) -> None:
    before = counts()
    with pytest.raises(InputError) as caught:
        ingest_dataset(str(cohort), OPTIONS | {"n_test": 70})
    assert "lower n_test" in caught.value.hint
    assert counts() == before


def test_other_content_under_a_name_with_runs_needs_a_word(
    flows_home: Path, small_cohort: Path
) -> None:
    ingest_dataset(str(small_cohort), OPTIONS)
    add_run()
    before = counts()
    with pytest.raises(ConflictError, match="another small, with 1 published run") as caught:
        ingest_dataset(str(small_cohort), OPTIONS | {"seed": 1})
    assert "--replace" in caught.value.hint
    assert counts() == before
    assert ingest_dataset(str(small_cohort), OPTIONS | {"seed": 1}, replace=True)["changed"]
    assert counts()["catalog.run"] == 0


def test_a_dataset_that_is_ingested_anew_stays_embargoed(
    flows_home: Path, small_cohort: Path
) -> None:
    ingest_dataset(str(small_cohort), OPTIONS)
    with open_session() as session, session.begin():
        dataset = session.scalars(select(Dataset)).one()
        assert not dataset.embargoed
        dataset.embargoed = True
    assert ingest_dataset(str(small_cohort), OPTIONS | {"seed": 1})["changed"]
    with open_session() as session:
        assert session.scalars(select(Dataset)).one().embargoed


def test_artefacts_are_checked_when_they_are_read(flows_home: Path, small_cohort: Path) -> None:
    ingest_dataset(str(small_cohort), OPTIONS)
    with open_session() as session:
        subject = session.scalars(select(Subject)).first()
        folds = sorted(session.scalars(select(Stimulus.key)).all())
    assert subject is not None
    artefact = Artefact.model_validate(subject.artefacts["sessions"][0])
    path = Path(get_store().url) / artefact.path
    data = bytearray(path.read_bytes())
    data[-5] ^= 255
    path.write_bytes(data)
    with pytest.raises(CatalogError, match="is damaged"):
        load_responses(get_store(), subject.artefacts, ["test"] * len(folds), "test")
