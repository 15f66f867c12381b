from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from app.concepts.claims import CLAIMS
from app.concepts.service import concept_terms, list_concepts, show_concept, similar_concepts
from app.database.models import (
    Component,
    ComponentNegation,
    ComponentSubject,
    Dataset,
    Encoder,
    Run,
)
from app.errors import ConflictError, InputError, NotFoundError
from app.store import ArtefactStore
from tests.app.published import (
    CHANCE,
    CONCEPTS,
    N_NEEDED,
    PREVALENCE,
    REASONS,
    REGIONS,
    RESPONDS,
    SHARED,
    STABILITY,
    UNMASKED,
    UNMEASURED,
    VERDICTS,
    VOXELS_A_REGION,
    WHY_UNSHARED,
    Published,
    publish,
    write_table,
)


def test_a_concept_is_told_with_all_that_is_known(session: Session, published: Published) -> None:
    answer = show_concept(session, published.components["animal"])
    assert (answer.dataset, answer.run, answer.current) == ("lab-a", published.run, True)
    assert (answer.encoder, answer.method, answer.index) == (published.encoder, "masks", 5)
    assert answer.terms[0] == "animal"
    assert answer.label == ", ".join(answer.terms)
    assert answer.shared is False
    assert (answer.decodable, answer.specific, answer.agreeing, answer.stable) == VERDICTS["animal"]
    assert (answer.reason, answer.reasons) == (WHY_UNSHARED, REASONS["animal"])
    assert (answer.prevalence, answer.replicated) == (None, None)
    assert answer.subjects == ["subj01"]
    assert (answer.p_value, answer.q_value) == (0.2, 0.2)
    assert (answer.specific_p, answer.specific_q) == (0.003, 0.005)
    assert (answer.agreement, answer.agreement_p, answer.agreement_q) == (None, None, None)
    assert answer.start_cosine == 0.15
    assert [each.subject for each in answer.statistics] == ["subj01", "subj02"]
    assert [each.decodes for each in answer.statistics] == [True, False]
    assert answer.statistics[0].peak_mm == (-30, -40, -40)
    assert answer.statistics[0].space == "MNI"
    first = answer.statistics[0]
    assert (first.r_hard, first.r_low, first.r_high, first.r_normalised) == (0.4, 0.3, 0.5, 0.8)
    assert (first.p_unmasked, first.p_soft, first.p_value) == (0.002, 0.003, 0.001)
    assert (first.specific_p, first.replication_r, first.replication_p) == (0.004, None, None)
    assert (first.n_voxels, first.n_needed, first.responds) == (VOXELS_A_REGION, N_NEEDED, "more")
    for region in answer.regions:
        assert region.auc_low == pytest.approx(region.auc - 0.05)
        assert region.auc_high == pytest.approx(min(1, region.auc + 0.05))
    assert {(each.subject, each.region) for each in answer.regions} == {
        (subject, region) for subject in published.subjects for region in REGIONS
    }
    assert [each.region for each in answer.regions[:2]] == ["pSTS", "pSTS"]
    assert [each.stimulus for each in answer.best] == ["animal-1", "letter-1"]
    assert [each.score for each in answer.best] == [1, 0.5]
    assert [each.stimulus for each in answer.worst] == ["house-1", "food-1"]
    assert answer.worst[0].captions == ["house"]
    assert answer.negation.terms == ["body"]
    (far,) = answer.negation.stimuli
    assert (far.stimulus, far.captions, far.similarity) == ("body-1", ["body"], -0.4)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_responses_are_told_beside_what_the_decoder_needs(
    session: Session, published: Published, concept: str
) -> None:
    answer = show_concept(session, published.components[concept])
    expected = RESPONDS[concept]
    assert [each.responds for each in answer.statistics] == [expected, expected]
    needed = None if expected is None else N_NEEDED
    assert [each.n_needed for each in answer.statistics] == [needed, needed]
    assert {each.responds for each in answer.regions} == {expected}


def test_of_clusters_no_response_is_told(
    session: Session, published: Published, store: ArtefactStore
) -> None:
    spec = session.get_one(Encoder, 1).spec
    other = publish(session, spec, store, slug="lab-b", method="clusters")
    answer = show_concept(session, other.components["face"])
    assert [(each.n_needed, each.responds) for each in answer.statistics] == [(None, None)] * 2


def test_responses_are_each_participants_own(session: Session, published: Published) -> None:
    component = published.components["face"]
    session.execute(
        update(ComponentSubject)
        .where(
            ComponentSubject.component_id == component,
            ComponentSubject.subject_id == published.subjects["subj02"],
        )
        .values(response_sign=-1)
    )
    answer = show_concept(session, component)
    told = {"subj01": "more", "subj02": "less"}
    assert {each.subject: each.responds for each in answer.statistics} == told
    assert all(each.responds == told[each.subject] for each in answer.regions)


def test_similar_concepts_are_ranked_by_cosine(session: Session, published: Published) -> None:
    own = published.components["food"]
    answer = similar_concepts(session, own)
    vectors = {
        id_: np.array(session.get_one(Component, id_).vector)
        for id_ in published.components.values()
    }
    cosines = {
        id_: vector @ vectors[own] / np.linalg.norm(vector) / np.linalg.norm(vectors[own])
        for id_, vector in vectors.items()
        if id_ != own
    }
    assert [each.id for each in answer.concepts] == sorted(cosines, key=lambda id_: -cosines[id_])
    for each in answer.concepts:
        assert each.similarity == pytest.approx(cosines[each.id], abs=1e-6)
        assert each.direction == ("positive" if each.similarity >= 0 else "negative")
    assert [each.id for each in similar_concepts(session, own, k=2).concepts] == [
        each.id for each in answer.concepts[:2]
    ]


def test_similar_concepts_are_found_in_datasets_of_the_same_encoder_alone(
    session: Session, published: Published, store: ArtefactStore, tmp_path
) -> None:
    spec = session.get_one(Encoder, 1).spec
    same = publish(session, spec, store, slug="lab-b")
    write_table(tmp_path / "other.csv", dimension=12)
    publish(session, f"vectors:{tmp_path / 'other.csv'}", store, slug="lab-c")
    answer = similar_concepts(session, published.components["food"], k=100)
    assert answer.concepts[0].id == same.components["food"]
    assert answer.concepts[0].similarity == pytest.approx(1)
    assert {each.dataset for each in answer.concepts} == {"lab-a", "lab-b"}
    assert len(answer.concepts) == 2 * len(CONCEPTS) - 1
    narrowed = similar_concepts(session, published.components["food"], dataset="lab-b")
    assert {each.run for each in narrowed.concepts} == {same.run}


def test_similar_concepts_of_one_participant_or_run(
    session: Session, published: Published, store: ArtefactStore
) -> None:
    """The same dataset's older run, and another dataset, whose participants have the same names."""
    spec = session.get_one(Encoder, 1).spec
    other = publish(session, spec, store, slug="lab-b")
    face, animal = published.components["face"], other.components["animal"]

    def found(**asked: Any) -> set[int]:
        return {each.id for each in similar_concepts(session, face, k=100, **asked).concepts}

    everything = {*published.components.values(), *other.components.values()} - {face}
    undecoded = {published.components["animal"], animal}
    assert found() == everything
    assert found(subject="subj01") == everything
    assert found(subject="subj02") == everything - undecoded
    assert found(subject="nobody") == set()
    assert found(run=other.run) == set(other.components.values())
    assert found(run=other.run, subject="subj02") == set(other.components.values()) - {animal}
    assert found(dataset="lab-b", run=other.run) == found(dataset="lab-b") == found(run=other.run)
    session.scalars(select(Dataset).where(Dataset.slug == "lab-b")).one().current_run_id = None
    session.flush()
    assert found() == set(published.components.values()) - {face}
    assert found(dataset="lab-b") == set()
    assert found(run=other.run) == set(other.components.values())


def test_similar_concepts_that_cannot_be_had(
    session: Session, published: Published, store: ArtefactStore, tmp_path: Path
) -> None:
    write_table(tmp_path / "other.csv", dimension=12)
    foreign = publish(session, f"vectors:{tmp_path / 'other.csv'}", store, slug="lab-c")
    face = published.components["face"]
    for asked, error, message in (
        ({"run": foreign.run}, ConflictError, f"run {foreign.run} .* space of vectors:other"),
        ({"dataset": "lab-c"}, ConflictError, f"run {foreign.run} .* space of vectors:other"),
        ({"run": 99}, NotFoundError, "there is no run 99"),
        ({"dataset": "lab-c", "run": published.run}, InputError, "is of the dataset lab-a, not"),
        ({"dataset": "lab-x"}, NotFoundError, "no dataset 'lab-x'"),
        ({"dataset": "lab-a", "subject": "nobody"}, NotFoundError, "no subject 'nobody'"),
        ({"run": published.run, "subject": "nobody"}, NotFoundError, "no subject 'nobody'"),
    ):
        with pytest.raises(error, match=message):
            similar_concepts(session, face, **asked)


@pytest.mark.parametrize("k", [1, 5, 100])
def test_terms_are_those_of_the_sql_function(
    session: Session, published: Published, k: int
) -> None:
    query = text("SELECT term, similarity FROM catalog.nearest_terms(:id, :k)")
    for concept, component in published.components.items():
        answer = concept_terms(session, component, k=k)
        expected = session.execute(query, {"id": component, "k": k}).all()
        assert [(each.term, each.similarity) for each in answer.terms] == [*map(tuple, expected)]
        assert (answer.id, answer.terms[0].term) == (component, concept)
        assert len(answer.terms) == min(k, 18)
    assert (answer.dataset, answer.run) == ("lab-a", published.run)
    assert (answer.encoder, answer.method) == (published.encoder, "masks")


def test_terms_of_an_older_run(session: Session, published: Published) -> None:
    component = published.components["food"]
    before = concept_terms(session, component)
    session.get_one(Dataset, 1).current_run_id = None
    session.flush()
    assert concept_terms(session, component) == before
    for id_, k, error, message in (
        (99, 10, NotFoundError, "there is no component 99"),
        (component, 0, InputError, "k is 0"),
        (component, 1001, InputError, "k is 1001"),
    ):
        with pytest.raises(error, match=message):
            concept_terms(session, id_, k=k)


def test_each_hit_tells_its_own_runs_method(
    session: Session, published: Published, store: ArtefactStore
) -> None:
    spec = session.get_one(Encoder, 1).spec
    other = publish(session, spec, store, slug="lab-b", method="clusters")
    answer = similar_concepts(session, published.components["food"], k=100)
    assert answer.method == "masks"
    assert {(each.run, each.method) for each in answer.concepts} == {
        (published.run, "masks"),
        (other.run, "clusters"),
    }
    assert show_concept(session, other.components["food"]).method == "clusters"
    assert similar_concepts(session, other.components["food"], k=1).method == "clusters"


def test_a_run_from_before_negations_has_none(session: Session, published: Published) -> None:
    component = session.get_one(Component, published.components["face"])
    component.negations = []
    session.execute(delete(ComponentNegation))
    negation = show_concept(session, component.id).negation
    assert (negation.terms, negation.stimuli) == ([], [])


def test_a_concept_of_an_older_run_says_so(session: Session, published: Published) -> None:
    session.get_one(Dataset, 1).current_run_id = None
    session.flush()
    assert not show_concept(session, published.components["face"]).current
    assert len(similar_concepts(session, published.components["face"]).concepts) == 5


def test_what_other_seeds_find_is_told(session: Session, published: Published) -> None:
    shown = {name: show_concept(session, id_) for name, id_ in published.components.items()}
    for name, answer in shown.items():
        assert answer.stability is not None
        expected = STABILITY | ({"dice": None} if name == UNMASKED else {})
        assert answer.stability.model_dump() == expected
        assert answer.stability_chance is not None
        assert answer.stability_chance.model_dump() == CHANCE
    told = {answer.id: answer.stability for answer in shown.values()}
    for near in similar_concepts(session, published.components["face"]).concepts:
        assert near.stability == told[near.id]


def test_a_run_that_compared_no_seeds_has_no_stability(
    session: Session, published: Published
) -> None:
    face = session.get_one(Component, published.components["face"])
    face.stability_cosine = face.stability_dice = face.stability_seeds = None
    run = session.get_one(Run, published.run)
    run.metrics = {"top1": 0.5}
    session.flush()
    shown = show_concept(session, face.id)
    assert (shown.stability, shown.stability_chance) == (None, None)
    near = similar_concepts(session, published.components["body"]).concepts
    assert [each.stability is None for each in near] == [each.id == face.id for each in near]


def test_claims_stand_beside_shared_wherever_it_is_told(
    session: Session, published: Published
) -> None:
    name_of = {id_: name for name, id_ in published.components.items()}
    listed = list_concepts(session).items
    near = similar_concepts(session, published.components["face"]).concepts
    shown = [show_concept(session, id_) for id_ in name_of]
    for each in (*listed, *near, *shown):
        name = name_of[each.id]
        assert (each.decodable, each.specific, each.agreeing, each.stable) == VERDICTS[name]
        verdict = True if name in SHARED else None if name == UNMEASURED else False
        assert each.shared is verdict
        assert each.reasons == REASONS[name]
        assert each.reason == next(iter(REASONS[name].values()), None)
        told = each.prevalence and tuple(each.prevalence.model_dump().values())
        assert told == PREVALENCE.get(name)


def test_who_was_not_tested_neither_decodes_nor_fails_to(
    session: Session, published: Published
) -> None:
    face = published.components["face"]
    session.get_one(ComponentSubject, (face, published.subjects["subj02"])).decodes = None
    session.flush()
    shown = show_concept(session, face)
    assert [each.decodes for each in shown.statistics] == [True, None]
    assert shown.subjects == ["subj01"]
    assert face not in {each.id for each in list_concepts(session, subject="subj02").items}


@pytest.mark.parametrize("claim", ["shared", "decodable", "specific", "agreeing", "stable"])
def test_a_filter_finds_what_was_measured(
    session: Session, published: Published, claim: str
) -> None:
    verdicts = {
        name: {
            "shared": False if False in found else None if None in found else True,
            **dict(zip(CLAIMS, found, strict=True)),
        }[claim]
        for name, found in VERDICTS.items()
    }
    for wanted in (True, False):
        page = list_concepts(session, **{claim: wanted})  # type: ignore[arg-type]
        expected = {published.components[name] for name, it in verdicts.items() if it is wanted}
        assert {each.id for each in page.items} == expected
        assert page.total == len(expected)
    assert list_concepts(session, **{claim: None}).total == len(CONCEPTS)  # type: ignore[arg-type]


def test_filters_hold_together(session: Session, published: Published) -> None:
    found = list_concepts(session, decodable=True, specific=True, shared=False).items
    assert [each.id for each in found] == [published.components["food"]]


@pytest.mark.parametrize("component", [0, -1, 999, 2**40])
def test_an_unknown_component(session: Session, published: Published, component: int) -> None:
    for ask in (show_concept, similar_concepts):
        with pytest.raises(NotFoundError, match=f"no component {component} "):
            ask(session, component)


def test_similar_refuses_what_it_cannot_do(session: Session, published: Published) -> None:
    with pytest.raises(InputError, match="k is 0"):
        similar_concepts(session, published.components["face"], k=0)
    with pytest.raises(NotFoundError, match="no dataset 'lab-z'"):
        similar_concepts(session, published.components["face"], dataset="lab-z")
