"""The whole house on the demo cohort: what was planted is found, and in noise nothing is."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

import numpy as np
import pytest
from sqlalchemy import func, select

from app.database.engine import open_session
from app.database.models import Component, Dataset, Decoder, Subject
from app.search.service import search
from app.validation.service import validate
from flows.config import StabilityConfig
from flows.demo.cohort import CohortConfig, write_cohort
from flows.demo.recovery import ConceptRecovery, planted_voxels, soft_masks
from flows.demo.show import ENCODER, INGEST, RUN, run_demo
from flows.demo.truth import load_truth
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.stages import encoder_at, get_store
from tests.flows.conftest import home_of_a_module
from tests.flows.test_network import assert_network_is_that_of_the_masks
from tests.readme import differences, read_blocks, run_block

pytestmark = pytest.mark.slow

PLAIN = CohortConfig(kind="plain")
# What README shows. No setting was chosen on the varied cohort, where much is missed: so many
# must not become fewer.
FOUND = {"varied": 6, "plain": 12}
SHARED = {"varied": 5, "plain": 11}
# Participants in whom the four concepts of named regions are measured, of sixteen.
MEASURED = {"varied": 15, "plain": 16}
# What some of these tests are about needs no further seed.
ONE_SEED = RUN.model_copy(update={"stability": StabilityConfig(seeds=1)})


class Demo(NamedTuple):
    """The kind of a cohort, and what was found of it."""

    kind: str
    recovery: list[ConceptRecovery]


@pytest.fixture(scope="module", params=["varied", "plain"])
def demo(
    request: pytest.FixtureRequest,
    server_url: str,
    template_database: str,
    prefect_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Demo]:
    """A run of the demo."""
    folder = tmp_path_factory.mktemp("demo")
    with home_of_a_module(folder, server_url, template_database, prefect_server):
        _, recovery = run_demo(folder / "demo", CohortConfig(kind=request.param))
        yield Demo(request.param, recovery)


def test_every_shared_concept_is_found_by_other_words(demo: Demo) -> None:
    shared = [found for found in demo.recovery if len(found.aucs) > 1]
    assert len(shared) == 12
    missed = {found.concept: found.aucs for found in shared if not found.recovered}
    assert len(shared) - len(missed) >= FOUND[demo.kind], missed


def test_the_first_region_is_right(demo: Demo) -> None:
    named = [found for found in demo.recovery if found.region_right is not None]
    assert {found.concept for found in named} == {"faces", "bodies", "places", "words"}
    assert all(found.region_right for found in named), named


def test_concepts_chosen_by_words_lie_on_the_localisers(demo: Demo) -> None:
    with open_session() as session:
        categories = validate(session).categories
    assert [one.category for one in categories] == ["faces", "bodies", "places", "words"]
    measured = [each for one in categories for each in one.subjects if each.auc is not None]
    assert len(measured) >= MEASURED[demo.kind]
    for one in categories:
        assert len(one.subjects) == 4
        for each in one.subjects:
            if each.auc is None:
                continue
            assert each.auc > 0.8, (one.category, each)
            assert each.q_value is not None
            assert each.q_value < 0.05, (one.category, each)
            assert each.rho is not None
            # A smaller patch has fewer of all voxels, whose order counts.
            assert each.rho > (0.03 if demo.kind == "varied" else 0.05), (one.category, each)


def test_readmes_examples_are_what_its_commands_print(demo: Demo) -> None:
    """But for figures, see `tests.readme.differences`."""
    if demo.kind != "varied":
        pytest.skip("README asks the cohort that `sdc demo` makes")
    for block in read_blocks():
        for example, printed in zip(block, run_block(block), strict=True):
            assert not differences(example, printed), example.command


def test_one_participants_concept_is_not_called_shared(demo: Demo) -> None:
    (single,) = [found for found in demo.recovery if len(found.aucs) == 1]
    assert single.shared is not True


def test_responses_are_those_that_were_planted(demo: Demo) -> None:
    found = [each for each in demo.recovery if each.recovered]
    assert all(each.response_right for each in found), found


def test_what_is_called_shared_was_planted(demo: Demo) -> None:
    assert_shared_is_planted(demo.recovery, SHARED[demo.kind])


@pytest.mark.parametrize("seed", [1, 2])
def test_another_cohort_is_recovered_as_well(flows_home: Path, tmp_path: Path, seed: int) -> None:
    """The settings were chosen on the cohort that the demo shows; these were not looked at."""
    _, recovery = run_demo(tmp_path / "demo", CohortConfig(kind="plain", seed=seed))
    shared = [found for found in recovery if len(found.aucs) > 1]
    assert not [found for found in shared if not found.recovered]
    assert all(found.region_right is not False for found in shared)
    assert not any(found.shared for found in recovery if len(found.aucs) == 1 and found.recovered)
    assert_shared_is_planted(recovery, SHARED["plain"])


def assert_shared_is_planted(recovery: list[ConceptRecovery], least: int) -> None:
    """So many planted concepts are called shared, and 80 % of what is called so is planted."""
    planted = {
        found.component
        for found in recovery
        if len(found.aucs) > 1 and found.recovered and found.shared
    }
    assert len(planted) >= least
    with open_session() as session:
        shared = set(session.scalars(select(Component.id).where(Component.shared)))
        cosines = {
            each.id: each.stability_cosine or 0.0 for each in session.scalars(select(Component))
        }
    assert len(planted & shared) >= 0.8 * len(shared)
    assert all(cosines[component] >= 0.8 for component in planted)


def test_the_decoder_is_above_chance_and_not_below_ridge(demo: Demo) -> None:
    with open_session() as session:
        metrics = session.scalars(select(Decoder.metrics)).all()
    assert len(metrics) == 4
    for each in metrics:
        assert each["pool"] == 300
        assert each["test"]["top1"] >= 20 / each["pool"]
    # Single participants can go either way: 900 queries leave a standard error of 1.5 %. No setting
    # was chosen on the varied cohort, where the mean has half of that to go.
    decoder, ridge = (
        sum(each[name]["top1"] for each in metrics) / len(metrics) for name in ("test", "ridge")
    )
    assert decoder >= ridge - (0.0075 if demo.kind == "varied" else 0)


def test_every_network_is_that_of_the_masks(demo: Demo) -> None:
    with open_session() as session:
        labels = session.scalars(select(Subject.label)).all()
    assert len(labels) == 4
    for label in labels:
        assert_network_is_that_of_the_masks(label)


def test_clusters_name_planted_voxels(flows_home: Path, tmp_path: Path) -> None:
    """Figures of docs/method.md: clusters of the demo's decoders, asked in the same words."""
    write_cohort(tmp_path / "cohort", tmp_path / "truth", PLAIN, encoder_at(ENCODER, "cpu"))
    ingested = ingest_dataset(
        str(tmp_path / "cohort"), INGEST.model_dump() | {"source": {"slug": "demo"}}
    )
    by_clusters = ONE_SEED.model_dump(mode="json") | {"method": "clusters"}
    run_pipeline(ingested["dataset"], by_clusters)
    truth = load_truth(tmp_path / "truth")
    with open_session() as session:
        clusters = session.scalar(select(func.count(Component.id)))
        members = soft_masks(session, get_store(), "demo")
        planted = planted_voxels(session, "demo", truth)
        precision, recall = {}, {}
        for row, concept in enumerate(truth.concepts):
            if concept.kind == "single":
                continue
            # Clusters are not chosen by what they hold, but by the words, and by being decoded.
            answer = search(session, concept.query, k=3)
            for shown in [each for each in answer.concepts if each.decodable][:1]:
                index = session.get_one(Component, shown.id).index
                own = np.concatenate([members[label][index] > 0 for label in planted])
                true = np.concatenate([voxels[row] for voxels in planted.values()])
                precision[concept.name] = (own & true).sum() / own.sum()
                recall[concept.name] = (own & true).sum() / true.sum()
    told = {name: (round(p, 2), round(recall[name], 2)) for name, p in precision.items()}
    print(clusters, told)
    assert len(told) >= 6, told
    assert median(precision.values()) > 0.5, told


@pytest.mark.parametrize("kind", ["varied", "plain"])
def test_nothing_is_shared_where_stimuli_are_shuffled(
    flows_home: Path, tmp_path: Path, kind: Literal["varied", "plain"]
) -> None:
    write_cohort(
        tmp_path / "cohort",
        tmp_path / "truth",
        CohortConfig(kind=kind),
        encoder_at(ENCODER, "cpu"),
        shuffle=True,
    )
    ingested = ingest_dataset(
        str(tmp_path / "cohort"), INGEST.model_dump() | {"source": {"slug": "null"}}
    )
    told = run_pipeline(ingested["dataset"], RUN)
    assert told["verdict"].startswith("this run found nothing")
    with open_session() as session:
        assert session.scalar(select(func.count(Component.id))) == 0
        assert session.scalar(select(Dataset.current_run_id)) is None
