"""A planted cohort as a data set with a manifest (docs/manifest.md), for the whole pipeline."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from tests.support.cohorts.records import PlantedCohort, PlantedParticipant

TABLE = "vectors.npz"


def write_manifest(
    cohort: PlantedCohort, folder: Path, *, encoder_table: bool = True, folds: bool = True
) -> Path:
    """Write the cohort: betas a session, tables, masks and regions in MNI space.

    Betas are in percent: every voxel has a mean and a scale, every session changes both a little.
    Standardising a session gives the cohort's responses back where folds are the cohort's own.

    Parameters
    ----------
    folder : Path
        Made; it must not exist.
    encoder_table : bool
        Whether to write ``vectors.npz`` beside the manifest, a table for the encoder
        ``vectors:PATH``: vectors of captions, and of words to name components with.
    folds : bool
        Whether the table of stimuli has the cohort's folds; without, an ingestion draws its own.

    Returns
    -------
    Path
        ``dataset.toml``.
    """
    folder.mkdir(parents=True)
    sections = [
        f'[dataset]\nslug = "{re.sub("[^a-z0-9-]+", "-", cohort.name)}"\n'
        f'title = "Planted cohort {cohort.name}"\nlicence = "CC0-1.0"\ncitation = "nobody"',
        '[stimuli]\ntable = "stimuli.csv"',
    ]
    seen = np.unique(np.concatenate([one.image for one in cohort.participants]))
    _write_rows(
        folder / "stimuli.csv",
        ["stimulus", "captions", *(["fold"] if folds else [])],
        (
            [cohort.stimuli[n], cohort.captions[n], *([cohort.fold[n]] if folds else [])]
            for n in seen
        ),
    )
    for number, one in enumerate(cohort.participants):
        sections.append(_write_participant(cohort, one, number, folder))
    if encoder_table:
        _write_table(cohort, folder / TABLE)
    manifest = folder / "dataset.toml"
    manifest.write_text("\n\n".join(sections) + "\n")
    return manifest


def rows_of(participant: PlantedParticipant, voxel: NDArray[np.integer]) -> NDArray[np.intp]:
    """Rows of the participant's voxels at some (n, 3) indices, such as those that were kept.

    Raises
    ------
    KeyError
        A voxel is not the participant's.
    """
    row = {tuple(place): number for number, place in enumerate(participant.voxel.tolist())}
    return np.array([row[tuple(place)] for place in voxel.tolist()], dtype=np.intp)


def _write_participant(
    cohort: PlantedCohort, one: PlantedParticipant, number: int, folder: Path
) -> str:
    """Files of one participant; its section of the manifest."""
    place = folder / one.label
    place.mkdir()
    rng = np.random.default_rng(number)
    voxels = one.x.shape[1]
    mean, scale = rng.normal(0.5, 0.4, voxels), rng.lognormal(np.log(1.5), 0.25, voxels)
    for session in np.unique(one.session):
        gain = scale * rng.lognormal(0, 0.06, voxels)
        offset = mean + rng.normal(0, 0.2, voxels)
        betas = offset + gain * one.x[one.session == session]
        np.save(place / f"betas_session{session:02d}.npy", betas.astype(np.float32))
    _write_rows(
        place / "trials.csv",
        ["stimulus", "session"],
        ([cohort.stimuli[n], s] for n, s in zip(one.image, one.session, strict=True)),
    )
    _write_volume(place / "mask.nii.gz", one, np.ones(voxels))
    section = [
        f'[[participants]]\nlabel = "{one.label}"\nmask = "{one.label}/mask.nii.gz"\n'
        f'betas = "{one.label}/betas_session*.npy"\ntrials = "{one.label}/trials.csv"\n'
        'space = "MNI"'
    ]
    for atlas in dict.fromkeys(atlas for atlas, _ in one.region_names):
        labels: list[str] = []
        values = np.zeros(voxels)
        for members, (of, name) in zip(one.regions, one.region_names, strict=True):
            if of == atlas:
                labels.append(f'"{name}" = {len(labels) + 1}')
                values[members] = len(labels)
        _write_volume(place / f"{atlas}.nii.gz", one, values)
        section.append(
            f'[[participants.regions]]\natlas = "{atlas}"\nfile = "{one.label}/{atlas}.nii.gz"\n'
            f"labels = {{ {', '.join(labels)} }}"
        )
    return "\n".join(section)


def _write_volume(path: Path, one: PlantedParticipant, values: NDArray[np.floating]) -> None:
    """Whole numbers at the participant's voxels, 0 elsewhere; the header says that it is MNI."""
    volume = np.zeros(one.shape, dtype=np.int16)
    volume[tuple(one.voxel.T)] = values
    image = nibabel.Nifti1Image(volume, one.affine)  # type: ignore[no-untyped-call]
    image.set_sform(one.affine, code="mni")  # type: ignore[no-untyped-call]
    image.set_qform(one.affine, code="mni")  # type: ignore[no-untyped-call]
    nibabel.save(image, path)


def _write_table(cohort: PlantedCohort, path: Path) -> None:
    rows = dict(zip(cohort.terms, cohort.term_vectors, strict=True))
    # Stimuli of one caption have one vector.
    rows.update(zip(cohort.captions, cohort.vectors, strict=True))
    np.savez(path, name=np.array(list(rows)), vector=np.stack(list(rows.values())))


def _write_rows(path: Path, header: list[str], rows: Iterable[list[object]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)
