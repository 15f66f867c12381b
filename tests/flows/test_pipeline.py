"""The whole pipeline with three seeds: the same bytes each time, and what other seeds find."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sqlalchemy import DateTime, select, text

from app.concepts.schemas import ConceptAnswer, SimilarAnswer, Stability
from app.concepts.service import show_concept, similar_concepts
from app.database.engine import open_session
from app.database.models import Base, Component, Run
from app.search.schemas import SearchAnswer
from app.search.service import search
from app.store import Artefact, ArtefactStore
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.reduce import reduce_components
from flows.science.folding import LEFT_OUT, draw_again
from flows.science.metrics import dice
from flows.stages import Stage, get_store
from tests.conftest import forget_settings
from tests.flows.planted import write_planted
from tests.flows.test_run_faults import FOLDS
from tests.flows.test_run_faults import RUN as ONE_SEED

# Other tests compare the bytes of runs, and seeds, on less.
pytestmark = pytest.mark.slow

FURTHER = [1000, 2000]
SEEDS = [0, *FURTHER]
SUBJECTS = 2
COMPONENTS = 8
# What tells when and where a run was, and how long it took; nothing of what it found.
ASIDE = {"timings", "artefact_uri"}

Rows = dict[str, list[tuple[str, ...]]]


@dataclass(frozen=True)
class Finished:
    """A run in a home of its own: all that it left, and what is answered of it."""

    rows: Rows
    artefacts: set[str]
    sent: list[tuple[str, dict[str, Any]]]
    metrics: dict[str, Any]
    timings: dict[str, float]
    parents: dict[str, Any]
    components: list[Component]
    store: Path
    shown: list[ConceptAnswer]
    found: SearchAnswer
    similar: SimilarAnswer
    view: list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that tells its components well enough for further seeds to find them again."""
    return write_planted(tmp_path_factory.mktemp("pipeline") / "planted")


@pytest.fixture(scope="module")
def run(planted: Path) -> dict[str, Any]:
    """Options of a run with three seeds."""
    return ONE_SEED | {
        "encoder": f"vectors:{planted / 'words.csv'}",
        "stability": {"seeds": len(SEEDS)},
    }


@pytest.fixture(scope="module")
def homes(
    server_url: str,
    template_database: str,
    prefect_server: str,
    planted: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """Makes homes with nothing but the planted data set ingested."""
    from tests.flows.conftest import home_of_a_module

    @contextmanager
    def home() -> Iterator[Path]:
        folder = tmp_path_factory.mktemp("home")
        with home_of_a_module(folder, server_url, template_database, prefect_server):
            ingest_dataset(str(planted), FOLDS)
            yield folder

    return home


@pytest.fixture(scope="module")
def first(homes: Any, run: dict[str, Any]) -> Finished:
    """A run with three seeds."""
    with homes():
        return finish(run)


def finish(options: dict[str, Any]) -> Finished:
    """Run the pipeline and take down what it leaves."""
    with pytest.MonkeyPatch.context() as patch:
        sent: list[tuple[str, dict[str, Any]]] = []
        send = Stage._send

        def spy(stage: Stage[Any, Any], given: dict[str, Any], **again: bool) -> Any:
            sent.append((stage.function.__name__, given))
            return send(stage, given, **again)

        patch.setattr(Stage, "_send", spy)
        result = run_pipeline("planted", options)
    assert result["changed"]
    assert result["encoder"] == options["encoder"]
    assert result["concepts"]
    store = Path(get_store().url)
    with open_session() as session:
        run = session.scalars(select(Run).where(Run.id == result["run"])).one()
        components = list(
            session.scalars(
                select(Component).where(Component.run_id == run.id).order_by(Component.index)
            )
        )
        finished = Finished(
            rows=all_rows(session),
            artefacts={path.stem for path in store.rglob("*.safetensors")},
            sent=sent,
            metrics=run.metrics,
            timings=run.timings,
            parents=run.parents,
            components=components,
            store=store,
            shown=[show_concept(session, each.id) for each in components],
            found=search(session, "word000", k=COMPONENTS),
            similar=similar_concepts(session, components[0].id, k=COMPONENTS),
            view=[
                tuple(row)
                for row in session.execute(
                    text(
                        "SELECT stability_cosine, stability_dice, stability_seeds"
                        " FROM catalog.concepts ORDER BY index"
                    )
                )
            ],
        )
        session.expunge_all()
    return finished


def all_rows(session: Any) -> Rows:
    """Every row of the catalog as text, but for times and places."""
    rows = {}
    for name, table in Base.metadata.tables.items():
        columns = [
            column
            for column in table.columns
            if column.name not in ASIDE and not isinstance(column.type, DateTime)
        ]
        found = session.execute(select(*columns).order_by(*table.primary_key.columns))
        rows[name] = [tuple(map(str, row)) for row in found]
    return rows


def arrays(finished: Finished, reference: dict[str, Any] | str) -> dict[str, np.ndarray]:
    """An artefact of a run whose home has been left."""
    sha256 = reference if isinstance(reference, str) else reference["sha256"]
    return ArtefactStore(str(finished.store)).get(Artefact(sha256=sha256, size=0))


def test_the_same_seed_gives_the_same_bytes(
    homes: Any, run: dict[str, Any], first: Finished
) -> None:
    with homes():
        second = finish(run)
    assert first.store != second.store
    assert first.artefacts == second.artefacts
    assert len(first.artefacts) > 20
    for name, rows in first.rows.items():
        assert rows == second.rows[name], name
    assert len(first.rows["catalog.component"]) == len(first.components) >= 2
    assert first.found == second.found
    assert first.shown == second.shown


def given_to(finished: Finished, stage: str) -> list[dict[str, Any]]:
    """What each task of a stage was told, in the order in which they were sent."""
    return [given for name, given in finished.sent if name == stage]


def test_further_seeds_are_tasks_that_are_told_by_references(first: Finished) -> None:
    # What starts from a ridge solution is trained once: a seed would change nothing.
    assert [each["label"] for each in given_to(first, "train_subject")] == ["p0", "p1"]
    # Masks of what is sought again are the voxels that respond: no decoder is asked what it needs.
    assert [each["label"] for each in given_to(first, "mask_subject")] == ["p0", "p1"]
    located = [each["label"] for each in given_to(first, "locate_subject")]
    assert located == ["p0", "p1"] * len(SEEDS)
    # Once a seed, and once without each participant.
    reduced = given_to(first, "reduce_components")
    assert [each["seed"] for each in reduced] == [*SEEDS, *[0] * SUBJECTS]
    told = [len(each["predictions"]) for each in reduced]
    assert told == [SUBJECTS] * len(SEEDS) + [SUBJECTS - 1] * SUBJECTS
    assert max(len(json.dumps(given)) for _, given in first.sent) < 10_000
    assert first.timings["repeat"] > 0


def repeats_of(finished: Finished) -> list[dict[str, Any]]:
    """What further seeds found, as the stage that compares them was told."""
    (given,) = given_to(finished, "compare_seeds")
    return list(given["repeats"])


def test_a_further_seed_finds_what_its_own_draw_of_stimuli_gives(
    first: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_STORE", str(first.store))
    forget_settings()
    own, *again = given_to(first, "reduce_components")[: len(SEEDS)]
    located = given_to(first, "locate_subject")[SUBJECTS:]
    for number, (repeat, reduced) in enumerate(zip(repeats_of(first), again, strict=True)):
        folds = draw_again(own["folds"], FURTHER[number])
        # Some stimuli are left out, and none that is test comes in.
        assert folds != own["folds"]
        assert all(new in (old, LEFT_OUT) for new, old in zip(folds, own["folds"], strict=True))
        assert reduced["folds"] == folds
        for given in located[SUBJECTS * number : SUBJECTS * (number + 1)]:
            assert given["folds"] == folds
            assert given["components"] == repeat["components"]
        # As many directions are looked for, of which fewer may be found by enough starts.
        assert reduced["config"]["components"] == COMPONENTS
        found = reduce_components.function(
            **own | {"folds": folds, "seed": FURTHER[number], "config": reduced["config"]}
        )
        assert found["components"] == repeat["components"]
    forget_settings()


def test_what_is_stored_is_a_literal_comparison(first: Finished) -> None:
    own = np.array([each.vector for each in first.components])
    (compared,) = given_to(first, "compare_seeds")
    masks = [members_of(first, each) for each in compared["masks"]]
    vectors = np.unique(arrays(first, compared["vectors"])["vectors"], axis=0)
    cosine = np.full((len(FURTHER), len(own)), np.nan)
    overlap = np.full((len(FURTHER), SUBJECTS, len(own)), np.nan)
    for row, repeat in enumerate(repeats_of(first)):
        others = arrays(first, repeat["components"])["components"]
        both = np.concatenate([own, others]) @ vectors.T
        similarity = np.corrcoef(both)[: len(own), len(own) :]
        again = [members_of(first, each) for each in repeat["masks"]]
        rows, partners = linear_sum_assignment(-similarity)
        for index, partner in zip(rows.tolist(), partners.tolist(), strict=True):
            cosine[row, index] = similarity[index, partner]
            for participant in range(SUBJECTS):
                mask, other = masks[participant][index], again[participant][partner]
                if mask.any() and other.any():
                    overlap[row, participant, index] = dice(mask, other)
    assert np.isfinite(cosine).any()
    assert np.isfinite(overlap).any()
    stored = arrays(first, first.parents["stability"])
    np.testing.assert_allclose(stored["cosine"], cosine, atol=1e-6)
    np.testing.assert_allclose(stored["dice"], overlap)
    for index, component in enumerate(first.components):
        assert component.stability_dice == mean_of_known(overlap[:, :, index])
        assert component.stability_cosine == mean_of_known(cosine[:, index])
        assert component.stability_seeds == np.isfinite(cosine[:, index]).sum()
    told = first.metrics["stability"]
    assert told["seeds"] == FURTHER
    assert told["cosine"]["mean"] == mean_of_known(cosine)
    assert told["cosine"]["median"] == pytest.approx(np.nanmedian(cosine), abs=1e-6)
    assert told["dice"]["mean"] == mean_of_known(overlap)
    assert 0 < told["masks_again"] <= 1


def members_of(finished: Finished, mask: dict[str, Any]) -> np.ndarray:
    """(K, V) hard masks of a participant, none where a mask counts for nothing."""
    usable = np.array([reason is None for reason in mask["reasons"]])
    members = arrays(finished, mask["masks"])["soft"] >= mask["threshold"]
    return np.asarray(members & usable[:, None])


def mean_of_known(values: np.ndarray) -> Any:
    """What a stored mean is to be, None where nothing was measured."""
    known = values[np.isfinite(values)]
    return pytest.approx(known.mean(), abs=1e-6) if len(known) else None


def test_every_answer_tells_it_beside_the_concept(first: Finished) -> None:
    stored = {
        each.id: Stability(
            cosine=each.stability_cosine,
            dice=each.stability_dice,
            seeds=each.stability_seeds,
            chance=each.stability_chance,
        )
        for each in first.components
    }
    for answer in (first.shown, first.found.concepts, first.similar.concepts):
        assert {each.id: each.stability for each in answer}.items() <= stored.items()
    assert len(first.found.concepts) == len(first.components)
    told = first.metrics["stability"]
    for each in first.shown:
        assert each.stability_chance is not None
        assert each.stability_chance.cosine == told["cosine"]["runner_up"]
        assert each.stability_chance.dice == told["dice"]["others"]
    assert first.view == [
        (each.stability_cosine, each.stability_dice, each.stability_seeds)
        for each in first.components
    ]
