"""Designs that hardly carry anything: each run ends in a clear line, or with its reasons stored."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from app.database.engine import open_session
from app.database.models import Component, ComponentSubject, Run
from flows.config import RunConfig
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from tests.benchmarks.small_designs import category_of, five_categories, svm_accuracies
from tests.flows.planted import AFFINE, GRID, write_planted
from tests.flows.sources.nsd_tree import write_image
from tests.flows.test_ingest import counts
from tests.flows.test_poor_data import answer, ingest, refused, run, sdc
from tests.support.cohorts.blocks import shuffle_within_runs
from tests.support.cohorts.manifest import TABLE, write_manifest
from tests.support.cohorts.objects import find_clip_names
from tests.support.cohorts.records import PlantedCohort

DIMENSION = 24
QUICK = """
decoder = { steps = 20, evaluate_every = 10 }
reduction = { steps = 100, starts = 6 }
masks = { lambdas = [1.0, 3.0], draws = 1 }
statistics = { permutations = 199, mixtures = 199 }
"""


def write_blocks(
    folder: Path, categories: int, runs: int, *, participants: int = 2, blocks: int = 2
) -> Path:
    """Each run shows every category in some blocks, each a stimulus of its own, one trial a block.

    Every voxel answers to one category. The data set's name is ``planted``.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"category{number}" for number in range(categories)]
    vectors = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))[0][:categories]
    with (folder / "words.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", *range(DIMENSION)])
        table.writerows([name, *vector] for name, vector in zip(names, vectors, strict=True))
    write_image(folder / "mask.nii.gz", np.ones(GRID, np.uint8), AFFINE)
    stimuli, rows, shown = ["stimulus,captions"], ["stimulus,session"], []
    for number in range(runs):
        order = rng.permutation(np.repeat(np.arange(categories), blocks))
        for place, each in enumerate(order):
            key = f"run{number:02d}-block{place:02d}"
            stimuli.append(f"{key},{names[each]}")
            rows.append(f"{key},{number + 1}")
            shown.append(each)
    (folder / "stimuli.csv").write_text("\n".join(stimuli) + "\n")
    (folder / "trials.csv").write_text("\n".join(rows) + "\n")
    manifest = [
        '[dataset]\nslug = "planted"\ntitle = "Planted"\nlicence = "CC0-1.0"\ncitation = "nobody"',
        '[stimuli]\ntable = "stimuli.csv"',
    ]
    answers = np.arange(np.prod(GRID)) * categories // np.prod(GRID)
    for one in range(participants):
        betas = (np.array(shown)[:, None] == answers) + rng.normal(size=(len(shown), answers.size))
        for number, part in enumerate(np.split(betas, runs), start=1):
            np.save(folder / f"p{one}_{number:02d}.npy", part.astype(np.float32))
        manifest.append(
            f'[[participants]]\nlabel = "p{one}"\nmask = "mask.nii.gz"\nspace = "MNI"\n'
            f'betas = "p{one}_*.npy"\ntrials = "trials.csv"'
        )
    (folder / "dataset.toml").write_text("\n".join(manifest) + "\n")
    encoder = f'encoder = "vectors:{folder / "words.csv"}"\n'
    (folder / "run.toml").write_text(encoder + QUICK)
    return folder


def components() -> list[Component]:
    with open_session() as session:
        return list(session.scalars(select(Component)).all())


def test_a_block_design_rotates_from_ingestion_to_its_claims(
    flows_home: Path, tmp_path: Path
) -> None:
    """Each run is tested by what was found without it; statistics are of all runs together."""
    folder = write_blocks(tmp_path / "blocks", 6, 4, participants=4, blocks=4)
    report = ingest_dataset(str(folder), {})
    assert report["changed"]
    told = answer(*run(folder))["concepts"]
    assert told["found"] >= 4
    with open_session() as session:
        metrics = session.scalars(select(Run.metrics)).one()
    assert metrics["components"]["rotations"] == 4
    assert {order["kind"] for order in metrics["components"]["orders"].values()} == {"within_run"}
    with open_session() as session:
        rows = session.scalars(select(ComponentSubject)).all()
    # Six vectors, however many blocks: all voxels are tested.
    tested = [one for one in rows if one.decodes is not None]
    assert len(tested) >= 16
    assert {(one.penalty, one.n_needed) for one in tested} == {(None, int(np.prod(GRID)))}
    assert all("6 distinct vectors are too few to choose a price" in one.reason for one in tested)
    found = components()
    assert sum(one.decodable is True for one in found) >= 4
    assert all(one.reasons is not None for one in found if one.shared is not True)


def test_of_two_categories_nothing_is_specific_and_why_is_stored(
    flows_home: Path, tmp_path: Path
) -> None:
    folder = write_blocks(tmp_path / "two", 2, 6)
    ingest_dataset(str(folder), {})
    told = answer(*run(folder))["concepts"]
    assert told["shared"] == 0
    for one in components():
        assert one.specific is not True
        assert one.reasons["specific"]


def test_one_run_alone_is_told_by_check_and_runs_or_is_refused_in_one_line(
    flows_home: Path, tmp_path: Path
) -> None:
    folder = write_blocks(tmp_path / "one", 5, 1, blocks=8)
    result = sdc("ingest", str(folder), "--check")
    assert result.exit_code == 0, result.stderr
    ingest_dataset(str(folder), {})
    told = answer(*run(folder))["concepts"]
    assert told["found"] >= 1
    assert all(one.reasons is not None for one in components() if one.shared is not True)


def test_stimuli_of_one_vector_are_refused_in_one_line(flows_home: Path, tmp_path: Path) -> None:
    folder = write_blocks(tmp_path / "same", 1, 6, blocks=8)
    ingest_dataset(str(folder), {})
    line = refused(run(folder), 2)
    assert "all stimuli have one and the same vector" in line


def test_what_carries_nothing_is_published_so_and_forced_is_marked(
    flows_home: Path, tmp_path: Path
) -> None:
    folder = write_planted(tmp_path / "nothing", 2, shuffled=True)
    ingest(folder)
    words = run(folder, 'reduction.components="auto"')
    told = answer(*words)
    assert told["verdict"].startswith("this run found nothing: these components are not reprod")
    assert (told["concepts"], told["held_back"]) == ({"found": 0, "shared": 0}, told["verdict"])
    # That nothing is above chance is told of each participant, with no other claim.
    for label in ("p0", "p1"):
        why = f"this run tells nothing of {label}: its decoder is not above chance"
        assert why in told["warnings"]
    assert told["next"].startswith(f"sdc runs {told['run']} (why); sdc runs --promote")
    forced = answer(*words, "--force")
    assert forced["concepts"]["shared"] == 0
    # By chance a mask may decode, of which it is known that nothing was found again.
    assert forced["verdict"].startswith("this run found nothing") or not forced["held_back"]
    with open_session() as session:
        metrics = session.get_one(Run, forced["run"]).metrics
    assert metrics["components"]["reproducible"] is not True


def test_without_a_further_seed_nothing_is_called_shared(flows_home: Path, tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "once", 2)
    ingest(folder)
    told: Any = answer(*run(folder, "stability.seeds=1"))
    assert told["concepts"]["shared"] == 0
    found = components()
    assert {one.shared for one in found} <= {None, False}
    assert None in {one.stable for one in found}
    assert "no further seed was tried" in {one.reasons.get("stable") for one in found}


def test_the_published_profile_says_what_small_data_can_carry(
    flows_home: Path, tmp_path: Path
) -> None:
    folder = write_planted(tmp_path / "small", 2)
    ingest(folder)
    before = counts()
    words = ["run", "planted", "--profile", "published", "--set"]
    result = sdc(*words, f'encoder="vectors:{folder / "words.csv"}"')
    assert result.exit_code == 2
    assert "reduction.components is 128, larger than the data can carry" in result.stderr
    assert counts() == before


def test_a_run_tells_which_encoder_and_why(flows_home: Path, tmp_path: Path) -> None:
    folder = write_planted(tmp_path / "why", 2)
    ingest(folder)
    told = answer(*run(folder))
    assert told["encoder"].startswith("vectors:")
    assert told["encoder_reason"]


@pytest.mark.slow
@pytest.mark.skipif(find_clip_names() is None, reason="needs CLIP vectors of names")
def test_categories_that_a_linear_machine_tells_are_decoded(
    flows_home: Path, tmp_path: Path
) -> None:
    """Five categories, three runs of 15 trials, four participants; nothing is set."""
    cohort = five_categories(21)
    assert 0.8 <= np.mean(svm_accuracies(cohort)) <= 0.96
    claims = run_by_default(cohort, tmp_path / "cohort")
    decoded = [each for each in claims if each.decodable and each.participants >= 3]
    assert len({category_of(each.vector, cohort) for each in decoded}) >= 4
    # Of no component it is said that it could not be tested.
    assert all(each.untested == 0 for each in claims)


@pytest.mark.slow
@pytest.mark.skipif(find_clip_names() is None, reason="needs CLIP vectors of names")
def test_where_the_labels_of_blocks_were_exchanged_nothing_is_decoded(
    flows_home: Path, tmp_path: Path
) -> None:
    cohort = shuffle_within_runs(five_categories(21), 21)
    assert np.mean(svm_accuracies(cohort)) < 0.5
    assert not any(each.decodable for each in run_by_default(cohort, tmp_path / "cohort"))


@dataclass(frozen=True)
class Claimed:
    """A component, in how many participants it is decoded, and in how many it is not tested."""

    vector: Any
    decodable: bool | None
    participants: int
    untested: int


def run_by_default(cohort: PlantedCohort, folder: Path) -> list[Claimed]:
    manifest = write_manifest(cohort, folder, folds=False)
    slug = ingest_dataset(str(folder), {})["dataset"]
    run_pipeline(slug, RunConfig(encoder=f"vectors:{manifest.parent / TABLE}"))
    with open_session() as session:
        rows = session.execute(
            select(Component, ComponentSubject.decodes).join(
                ComponentSubject, ComponentSubject.component_id == Component.id
            )
        ).all()
    told: dict[int, list[Any]] = {}
    for component, decodes in rows:
        told.setdefault(component.id, [component]).append(decodes)
    return [
        Claimed(component.vector, component.decodable, decoded.count(True), decoded.count(None))
        for component, *decoded in told.values()
    ]
