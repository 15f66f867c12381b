"""The whole pipeline with three seeds: the same bytes each time, and what other seeds find."""

import json
from collections import defaultdict
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
from flows.mask import mask_subject
from flows.pipeline import run_pipeline
from flows.reduce import reduce_components
from flows.science.metrics import dice
from flows.stages import Stage, get_store
from flows.train import train_subject
from tests.conftest import forget_settings
from tests.flows.test_ingest import OPTIONS
from tests.flows.test_validate import SMALL

# Other tests compare the bytes of runs, and seeds, on less.
pytestmark = pytest.mark.slow

RUN = SMALL | {"stability": {"seeds": 3}}
FURTHER = [1000, 2000]
SUBJECTS = 2
COMPONENTS = 6
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
def homes(
    server_url: str,
    template_database: str,
    prefect_server: str,
    small_cohort: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """Makes homes with nothing but the small cohort ingested."""
    from tests.flows.conftest import home_of_a_module

    @contextmanager
    def home() -> Iterator[Path]:
        folder = tmp_path_factory.mktemp("home")
        with home_of_a_module(folder, server_url, template_database, prefect_server):
            ingest_dataset(str(small_cohort), OPTIONS)
            yield folder

    return home


@pytest.fixture(scope="module")
def first(homes: Any) -> Finished:
    """A run with three seeds."""
    with homes():
        return finish(RUN)


def finish(options: dict[str, Any]) -> Finished:
    """Run the pipeline and take down what it leaves."""
    with pytest.MonkeyPatch.context() as patch:
        sent: list[tuple[str, dict[str, Any]]] = []
        send = Stage._send

        def spy(stage: Stage[Any, Any], given: dict[str, Any], **again: bool) -> Any:
            sent.append((stage.function.__name__, given))
            return send(stage, given, **again)

        patch.setattr(Stage, "_send", spy)
        result = run_pipeline("small", options)
    assert result["changed"]
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
            found=search(session, "a photo of a dog", k=COMPONENTS),
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


def test_the_same_seed_gives_the_same_bytes(homes: Any, first: Finished) -> None:
    with homes():
        second = finish(RUN)
    assert first.store != second.store
    assert first.artefacts == second.artefacts
    assert len(first.artefacts) > 20
    for name, rows in first.rows.items():
        assert rows == second.rows[name], name
    assert len(first.rows["catalog.component"]) == COMPONENTS
    assert first.found == second.found
    assert first.shown == second.shown


def test_further_seeds_are_tasks_that_are_told_by_references(first: Finished) -> None:
    again = [each for each in first.sent if each[0] in ("train_again", "mask_again")]
    assert sorted({(name, given["label"], given["seed"]) for name, given in again}) == sorted(
        (name, label, seed)
        for name in ("train_again", "mask_again")
        for label in ("subj01", "subj02")
        for seed in FURTHER
    )
    assert len(again) == 2 * SUBJECTS * len(FURTHER)
    reduced = [given["seed"] for name, given in first.sent if name == "reduce_components"]
    assert reduced == [0, *FURTHER]
    assert max(len(json.dumps(given)) for _, given in first.sent) < 10_000
    assert first.timings["repeat"] > 0


def repeats_of(finished: Finished) -> list[dict[str, Any]]:
    """What further seeds found, as the stage that compares them was told."""
    (given,) = [given for name, given in finished.sent if name == "compare_seeds"]
    return list(given["repeats"])


def test_a_further_seed_finds_what_a_run_with_that_seed_does(
    first: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stages of a run, given another seed: they test what they find, and find the same."""
    monkeypatch.setenv("SDC_STORE", str(first.store))
    forget_settings()
    repeat, seed = repeats_of(first)[0], {"seed": FURTHER[0]}
    given: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, inputs in first.sent:
        given[name].append(inputs)
    trained = [train_subject.function(**each | seed) for each in given["train_subject"]]
    again = [each["decoder"]["decoder"] for each in given["mask_again"][:SUBJECTS]]
    assert [each["decoder"] for each in trained] == again
    assert [each["initial"] for each in trained] == [
        each["initial"] for each in given["train_again"][:SUBJECTS]
    ]
    assert all(each["initial"] for each in trained)
    predictions = {"predictions": [each["predictions"] for each in trained]}
    reduced = reduce_components.function(**given["reduce_components"][0] | seed | predictions)
    assert reduced["components"] == repeat["components"]
    decoder = {"decoder": {name: trained[0][name] for name in ("decoder", "kind")}}
    own = given["mask_subject"][0]
    masked = mask_subject.function(**own | seed | decoder | reduced)
    fit = arrays(first, masked["masks"])
    members = fit["soft"] >= masked["threshold"]
    usable = np.array([reason is None for reason in masked["reasons"]])
    bits = arrays(first, repeat["masks"][0])["members"]
    told = np.unpackbits(bits, axis=1, count=members.shape[1])
    assert told.any()
    np.testing.assert_array_equal(told, members & usable[:, None])
    forget_settings()


def test_what_is_stored_is_a_literal_comparison(first: Finished) -> None:
    own = np.array([each.vector for each in first.components])
    masks = [
        next(given for name, given in first.sent if name == "compare_seeds")["masks"][row]
        for row in range(SUBJECTS)
    ]
    soft = [arrays(first, each["masks"])["soft"] for each in masks]
    cosine = np.empty((len(FURTHER), COMPONENTS))
    overlap = np.full((len(FURTHER), SUBJECTS, COMPONENTS), np.nan)
    for row, repeat in enumerate(repeats_of(first)):
        others = arrays(first, repeat["components"])["components"]
        similarity = own @ others.T
        _, partner = linear_sum_assignment(-similarity)
        cosine[row] = similarity[np.arange(COMPONENTS), partner]
        for participant, bits in enumerate(repeat["masks"]):
            count = soft[participant].shape[1]
            again = np.unpackbits(arrays(first, bits)["members"], axis=1, count=count)
            for index, reason in enumerate(masks[participant]["reasons"]):
                other = again[partner[index]].astype(bool)
                if reason is None and other.any():
                    overlap[row, participant, index] = dice(soft[participant][index] >= 0.5, other)
    assert np.isfinite(overlap).any()
    stored = arrays(first, first.parents["stability"])
    np.testing.assert_allclose(stored["cosine"], cosine, atol=1e-6)
    np.testing.assert_allclose(stored["dice"], overlap)
    for index, component in enumerate(first.components):
        known = overlap[:, :, index][np.isfinite(overlap[:, :, index])]
        expected = pytest.approx(known.mean()) if len(known) else None
        assert component.stability_dice == expected
        assert component.stability_cosine == pytest.approx(cosine[:, index].mean(), abs=1e-6)
        assert component.stability_seeds == len(FURTHER)
    told = first.metrics["stability"]
    assert told["seeds"] == FURTHER
    assert told["cosine"]["mean"] == pytest.approx(cosine.mean(), abs=1e-6)
    assert told["cosine"]["median"] == pytest.approx(np.median(cosine), abs=1e-6)
    assert told["dice"]["mean"] == pytest.approx(overlap[np.isfinite(overlap)].mean())
    assert 0 < told["masks_again"] <= 1


def test_every_answer_tells_it_beside_the_concept(first: Finished) -> None:
    stored = {
        each.id: Stability(
            cosine=each.stability_cosine, dice=each.stability_dice, seeds=each.stability_seeds
        )
        for each in first.components
    }
    for answer in (first.shown, first.found.concepts, first.similar.concepts):
        assert {each.id: each.stability for each in answer}.items() <= stored.items()
    assert len(first.found.concepts) == COMPONENTS
    told = first.metrics["stability"]
    for each in first.shown:
        assert each.stability_chance is not None
        assert each.stability_chance.cosine == told["cosine"]["runner_up"]
        assert each.stability_chance.dice == told["dice"]["others"]
    assert first.view == [
        (each.stability_cosine, each.stability_dice, each.stability_seeds)
        for each in first.components
    ]
