"""Runs of both methods on one cohort, side by side in one catalog."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect import flow
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from app.cli import app
from app.client import Catalog
from app.concepts.service import show_concept, similar_concepts
from app.database.engine import open_session
from app.database.models import (
    Component,
    ComponentSubject,
    ComponentVoxel,
    Decoder,
    Encoder,
    Run,
    Stimulus,
    StimulusVector,
    Subject,
    Term,
    Voxel,
)
from app.embedding.vocabulary import load_everyday_terms, load_vocabulary
from app.encoders.service import nearest_terms
from app.errors import InputError
from app.networks.service import network
from app.runs.report import show_run
from app.runs.service import list_runs
from app.search.service import search
from app.store import Artefact
from app.terms import vocabulary
from app.terms.service import build_vocabulary
from app.validation.service import validate
from flows.catalog import load_dataset
from flows.config import RunConfig
from flows.fit import cluster_all, to_average, train_all
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.publish import TERMS
from flows.responses import load_responses
from flows.run_context import RunContext, fitting_folds
from flows.science.voxel_clusters import ClusterConfig, cluster_voxels, mean_weights
from flows.stages import get_store
from flows.train import centre_stimuli, development_folds, embed_dataset
from tests.app.serving import serving
from tests.flows.conftest import home_of_a_module
from tests.flows.test_ingest import OPTIONS, counts
from tests.flows.test_network import assert_network_is_that_of_the_masks
from tests.flows.test_validate import SMALL
from tests.flows.through_the_client import assert_the_client_answers_as_the_services, told_of

Json = dict[str, Any]

EVERYDAY = load_everyday_terms()[:500]
# Of so few stimuli and participants no radius tells more than turned participants do.
CLUSTERS = ClusterConfig(eps=0.5, min_neighbours=1)
# Drawn decoders of so few trials lie farther apart.
WIDE = ClusterConfig(eps=0.9, min_neighbours=1)
BY_CLUSTERS = SMALL | {
    "method": "clusters",
    "clusters": {"eps": CLUSTERS.eps, "min_neighbours": CLUSTERS.min_neighbours},
    "stability": {"seeds": 2},
}


@dataclass(frozen=True)
class BothRuns:
    """Ids of two runs of one dataset; that of clusters came last, and is the current one."""

    masks: int
    clusters: int


@pytest.fixture(scope="module")
def both(
    server_url: str,
    template_database: str,
    prefect_server: str,
    small_cohort: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[BothRuns]:
    folder = tmp_path_factory.mktemp("methods")
    with home_of_a_module(folder, server_url, template_database, prefect_server):
        # Few voxels, so that the region tests are quick.
        ingest_dataset(str(small_cohort), OPTIONS | {"noise_ceiling": 25.0})
        masks = run_pipeline("small", SMALL)["run"]
        # The second run is published where the catalog knows more terms than labels come from.
        with pytest.MonkeyPatch.context() as patch, open_session() as session, session.begin():
            patch.setattr(vocabulary, "load_everyday_terms", lambda: EVERYDAY)
            build_vocabulary(session)
        yield BothRuns(masks=masks, clusters=run_pipeline("small", BY_CLUSTERS)["run"])


@pytest.mark.slow
def test_the_same_questions_are_answered_by_each_run_with_its_method(both: BothRuns) -> None:
    methods = {both.masks: "masks", both.clusters: "clusters"}
    with open_session() as session:
        listed = {each.run: (each.method, each.current) for each in list_runs(session).runs}
        assert listed == {both.masks: ("masks", False), both.clusters: ("clusters", True)}
        for run, method in methods.items():
            answer = search(session, "a face", run=run)
            assert (answer.run, answer.method) == (run, method)
            assert answer.concepts
            shown = show_concept(session, answer.concepts[0].id)
            assert (shown.run, shown.method) == (run, method)
            assert shown.best
            assert network(session, "subj01", run=run).method == method
            validated = validate(session, run=run)
            assert validated.method == method
            assert len(validated.categories) == 4
        # So small a cohort gives masks of few components; its clusters have members in any case.
        # Of words that a component is told by, for those that point away have no regions.
        current = search(session, _components(session, both.clusters)[0].terms[0])
        assert current.run == both.clusters
        assert current.regions
        # From an older run's concept, those of the current one are near, of another method.
        older = search(session, "a face", run=both.masks).concepts[0].id
        near = similar_concepts(session, older, k=100)
        assert near.method == "masks"
        others = session.scalars(select(Component).where(Component.id != older)).all()
        assert any(each.run_id == both.clusters for each in others)
        assert {(each.id, each.run, each.method) for each in near.concepts} == {
            (each.id, each.run_id, methods[each.run_id]) for each in others
        }
        for view in ("runs", "concepts", "concept_regions", "concept_voxels"):
            rows = session.execute(text(f"SELECT DISTINCT run_id, method FROM catalog.{view}"))  # noqa: S608
            assert [tuple(row) for row in rows] == [(both.clusters, "clusters")]


@pytest.mark.slow
def test_from_data_to_the_client_the_answers_stay_the_same(both: BothRuns) -> None:
    """The whole house: what the flows published of a small cohort, served and asked over HTTP."""
    with open_session() as session, serving() as url:
        told = told_of(session, both.clusters)
        assert_the_client_answers_as_the_services(url, session, told)
        with Catalog(url) as catalog:
            assert catalog.search("a face").run == both.clusters
            older = catalog.search("a face", run=both.masks)
            assert older == search(session, "a face", run=both.masks)
            (dataset,) = catalog.datasets().datasets
            assert (dataset.dataset, dataset.subjects) == ("small", ["subj01", "subj02"])
            assert {each.run for each in catalog.runs().runs} == {both.masks, both.clusters}


def test_components_are_centroids_and_masks_the_members(both: BothRuns) -> None:
    with open_session() as session:
        decoders = session.execute(
            select(Decoder, Subject.label)
            .join(Subject, Subject.id == Decoder.subject_id)
            .where(Decoder.run_id == both.clusters)
            .order_by(Subject.label)
        ).all()
        found = cluster_voxels(
            [_patterns(row.label, row.Decoder) for row in decoders], CLUSTERS, device="cpu"
        )
        components = _components(session, both.clusters)
        assert len(components) >= 2
        np.testing.assert_allclose(
            np.array([component.vector for component in components]), found.centroids, atol=1e-6
        )
        for participant, row in enumerate(decoders):
            for component, expected in zip(components, found.members[participant], strict=True):
                index = session.scalars(
                    select(Voxel.index)
                    .join(ComponentVoxel, ComponentVoxel.voxel_id == Voxel.id)
                    .where(
                        Voxel.subject_id == row.Decoder.subject_id,
                        ComponentVoxel.component_id == component.id,
                        ComponentVoxel.weight == 1,
                    )
                ).all()
                assert sorted(index) == np.flatnonzero(expected).tolist()
                told = session.get_one(ComponentSubject, (component.id, row.Decoder.subject_id))
                assert (told.penalty, told.n_voxels) == (None, expected.sum())
                assert told.r_soft == told.r_hard
                assert (told.reason is None) == bool(expected.any())
                assert (told.p_value is None) == (told.reason is not None)
        timings = session.get_one(Run, both.clusters).timings
        assert "cluster" in timings
        assert "reduce" not in timings
    assert_network_is_that_of_the_masks("subj01")


def _patterns(label: str, decoder: Decoder) -> np.ndarray:
    """(V, D) what a participant's decoder reads out, of all trials that are not test."""
    dataset = load_dataset("small")
    (subject,) = [each for each in dataset.subjects if each.label == label]
    folds = development_folds(fitting_folds(dataset))
    x, _ = load_responses(get_store(), subject.artefacts, folds, "development")
    tensors = get_store().get(Artefact(sha256=decoder.artefact_sha256, size=0))
    return np.cov(x.T, dtype=np.float64) @ tensors["weight"].T


@flow(name="decoders-to-average", persist_result=False)
def _to_average(start: str) -> tuple[list[list[Json]], list[list[Json]], Json]:
    """What is averaged for each participant, every seed's decoders, and the clusters of the one."""
    dataset = load_dataset("small")
    config = RunConfig.model_validate(
        BY_CLUSTERS
        | {"clusters": {"eps": WIDE.eps, "min_neighbours": 1}, "start": start, "seed": 3}
    )
    folds = fitting_folds(dataset)
    vectors = embed_dataset(dataset, config.encoder)["vectors"]
    context = RunContext(dataset, config, centre_stimuli(vectors, folds)["vectors"], [], "cpu")
    alone = [train_all(context, folds, seed) for seed in (config.seed, *config.further_seeds)]
    chosen = to_average(context, alone[0], folds)
    return chosen, alone, cluster_all(context, chosen)


@pytest.mark.usefixtures("both")
def test_decoders_that_start_from_a_draw_are_averaged_over_the_seeds() -> None:
    several, alone, found = _to_average("drawn")
    assert several == [list(own) for own in zip(*alone, strict=True)]
    drawn = [[each["decoder"]["sha256"] for each in own] for own in several]
    assert all(first != second for first, second in drawn)
    store = get_store()
    patterns = [
        mean_weights([store.get(Artefact(**each["patterns"]))["patterns"] for each in own])
        for own in several
    ]
    expected = cluster_voxels(patterns, WIDE, device="cpu")
    assert found["count"] == len(expected.centroids) >= 1
    np.testing.assert_allclose(
        store.get(Artefact(**found["components"]))["components"], expected.centroids, atol=1e-6
    )
    one, _, _ = _to_average("auto")
    assert [len(own) for own in one] == [1, 1]


def test_terms_that_were_built_are_near_and_label_nothing(both: BothRuns) -> None:
    extra = set(EVERYDAY) - set(load_vocabulary())
    nearest = text("SELECT term FROM catalog.nearest_terms(:id, 50)")
    with open_session() as session:
        assert extra < set(session.scalars(select(Term.text).where(Term.in_vocabulary)))
        components = _components(session, both.clusters)
        assert all(
            extra.isdisjoint([*component.terms, *component.negations]) for component in components
        )
        assert any(
            extra & set(session.scalars(nearest, {"id": component.id})) for component in components
        )


@pytest.mark.parametrize("method", ["masks", "clusters"])
def test_negations_are_the_farthest_words_and_stimuli(both: BothRuns, method: str) -> None:
    with open_session() as session:
        encoder = session.scalars(select(Encoder)).one()
        words = load_vocabulary()
        rows = session.execute(
            select(Stimulus.key, StimulusVector.vector).join(
                StimulusVector, StimulusVector.stimulus_id == Stimulus.id
            )
        ).all()
        centred = np.array([row.vector for row in rows]) - np.asarray(encoder.stimulus_mean)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        for component in _components(session, getattr(both, method)):
            vector = np.asarray(component.vector)
            told = show_concept(session, component.id)
            (ranked,) = nearest_terms(session, vector[None], encoder, len(words), among=words)
            assert len(ranked) == len(words)
            assert told.terms == ranked[:TERMS]
            assert told.negation.terms == ranked[: -TERMS - 1 : -1]
            cosine = dict(
                zip(
                    (row.key for row in rows),
                    centred @ vector / np.linalg.norm(vector),
                    strict=True,
                )
            )
            farthest = sorted(cosine.values())[:10]
            assert [each.similarity for each in told.negation.stimuli] == pytest.approx(
                farthest, abs=1e-5
            )
            for each in told.negation.stimuli:
                assert each.similarity == pytest.approx(cosine[each.stimulus], abs=1e-5)
                assert each.captions


def test_the_same_run_again_changes_nothing(both: BothRuns) -> None:
    before = counts()
    again = run_pipeline("small", BY_CLUSTERS)
    known = {
        "run": both.clusters,
        "dataset": "small",
        "changed": False,
        "encoder": BY_CLUSTERS["encoder"],
        "encoder_reason": "as configured",
    }
    assert known.items() <= again.items()
    with open_session() as session:
        judged = show_run(session, both.clusters)
    assert (again["verdict"], again["warnings"]) == (judged.verdict, judged.warnings)
    assert counts() == before


def test_another_seed_finds_clusters_again(both: BothRuns) -> None:
    with open_session() as session:
        components = _components(session, both.clusters)
        assert {each.stability_seeds for each in components} <= {0, 1}
        again = [each for each in components if each.stability_seeds]
        assert again
        told = session.get_one(Run, both.clusters).metrics["stability"]
        assert told["cosine"]["mean"] == pytest.approx(
            np.mean([each.stability_cosine for each in again]), abs=1e-6
        )
        # The same decoders but for their draws: more is found again than chance would find.
        assert told["cosine"]["mean"] > told["cosine"]["runner_up"]
        assert told["dice"]["mean"] > told["dice"]["others"]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"decoder": {"kind": "mlp"}}, "cannot use a decoder of kind mlp", "decoder.kind"),
        ({"clusters": {}}, "small has 2 participants", "lower clusters.min_neighbours"),
        (
            {"clusters": {"eps": 0.01, "min_neighbours": 1}},
            "there is no cluster",
            "raise clusters.eps",
        ),
    ],
)
def test_what_cannot_be_clustered_is_one_line_and_changes_nothing(
    both: BothRuns, options: dict[str, Any], message: str, hint: str
) -> None:
    before = counts()
    with pytest.raises(InputError, match=message) as caught:
        run_pipeline("small", BY_CLUSTERS | options)
    assert "\n" not in str(caught.value)
    assert hint in caught.value.hint
    assert "method masks" in caught.value.hint
    assert counts() == before


@pytest.mark.parametrize(
    "words", [("--set", "method=masks", "--method", "clusters"), ("--set", "method=clusters")]
)
def test_the_command_takes_the_method_over_what_is_set(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.commands._require_dataset", lambda slug: None)
    result = CliRunner().invoke(app, ["run", "small", "--set", "decoder.kind=mlp", *words])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: method clusters cannot use a decoder of kind mlp")
    assert result.stderr.count("\n") == 1


def test_the_command_knows_no_other_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.commands._require_dataset", lambda slug: None)
    for words in (("--method", "magic"), ("--set", "method=magic")):
        result = CliRunner().invoke(app, ["run", "small", *words])
        assert result.exit_code == 2
        assert "'masks' or 'clusters'" in result.stderr or "'masks', 'clusters'" in result.stderr
        assert result.stderr.count("\n") == 1


def _components(session: Session, run: int) -> list[Component]:
    query = select(Component).where(Component.run_id == run).order_by(Component.index)
    return list(session.scalars(query))
