from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from app.database.models import Component, ComponentRegion, Dataset, Encoder, Run, Term
from app.embedding.prompts import ENSEMBLE
from app.errors import CatalogError, ConflictError, InputError, NotFoundError
from app.search.service import search
from app.store import ArtefactStore
from tests.app.conftest import Counts
from tests.app.published import CONCEPTS, REGIONS, Published, publish, write_table

PROMPTS = ("face", "a photo of a dog", "pizza", "kitchen")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_concepts_agree_with_the_sql_function(
    session: Session, published: Published, prompt: str
) -> None:
    answer = search(session, prompt)
    rows = session.execute(
        text("SELECT * FROM catalog.search_concepts(:prompt)"), {"prompt": prompt}
    ).all()
    assert [each.id for each in answer.concepts] == [row.component_id for row in rows]
    assert [each.similarity for each in answer.concepts] == pytest.approx(
        [row.similarity for row in rows], abs=1e-6
    )
    for concept, row in zip(answer.concepts, rows, strict=True):
        assert (concept.label, concept.shared) == (row.label, row.shared)
        assert (concept.p_value, concept.q_value) == (row.p_value, row.q_value)
        assert (answer.dataset, answer.run, answer.encoder, answer.method) == (
            row.dataset,
            row.run_id,
            row.encoder,
            row.method,
        )


@pytest.mark.parametrize("prompt", PROMPTS)
def test_regions_agree_with_the_sql_function(
    session: Session, published: Published, prompt: str
) -> None:
    answer = search(session, prompt)
    rows = session.execute(
        text("SELECT * FROM catalog.search_regions(:prompt)"), {"prompt": prompt}
    ).all()
    told_of = [*answer.regions, *answer.weaker_regions][:10]
    assert 0 < len(answer.regions) < len(rows) == len(told_of) == 10
    for told, row in zip(told_of, rows, strict=True):
        assert (told.subject, told.atlas, told.region) == (row.subject, row.atlas, row.region)
        assert told.score == pytest.approx(row.score, abs=1e-6)
        assert (told.auc, told.p_value) == (row.auc, row.p_value)
        assert (told.q_value, told.n_voxels) == (row.q_value, row.n_voxels)


@pytest.mark.parametrize(("word", "region"), list(zip(CONCEPTS, REGIONS, strict=True)))
def test_each_word_finds_its_concept_and_its_region(
    session: Session, published: Published, word: str, region: str
) -> None:
    answer = search(session, f"a photo of a {word}")
    assert answer.concepts[0].id == published.components[word]
    assert answer.concepts[0].regions[0].region == region
    assert [each.region for each in answer.regions[:2]] == [region, region]
    assert {each.subject for each in answer.regions[:2]} == {"subj01", "subj02"}


def test_similarity_is_of_the_centred_prompt(session: Session, published: Published) -> None:
    answer = search(session, "pizza")
    encoder = session.scalar(select(Encoder))
    stored = session.scalar(select(Term.vector).where(Term.text == "pizza"))
    for concept in answer.concepts:
        vector = session.get_one(Component, concept.id).vector
        direction = np.subtract(stored, encoder.text_mean)
        expected = np.dot(vector, direction) / np.linalg.norm(vector) / np.linalg.norm(direction)
        assert concept.similarity == pytest.approx(expected, abs=1e-6)
        assert concept.direction == ("positive" if expected >= 0 else "negative")
    assert {each.direction for each in answer.concepts} == {"positive", "negative"}


def test_a_concept_in_the_middle_of_the_cone_would_answer_everything_without_centring(
    session: Session, published: Published
) -> None:
    encoder = session.scalar(select(Encoder))
    hub = Component(
        run_id=published.run,
        encoder_id=encoder.id,
        index=99,
        label="hub",
        terms=[],
        vector=np.divide(encoder.text_mean, np.linalg.norm(encoder.text_mean)),
        shared=None,
    )
    session.add(hub)
    session.flush()
    vectors = {each.id: each.vector for each in session.scalars(select(Component))}
    for word in CONCEPTS:
        prompt = session.scalar(select(Term.vector).where(Term.text == word))
        assert max(vectors, key=lambda each: np.dot(vectors[each], prompt)) == hub.id
        assert search(session, word).concepts[0].id == published.components[word]


def test_k_cuts_concepts_and_regions(session: Session, published: Published) -> None:
    whole = search(session, "dog")
    answer = search(session, "dog", k=2)
    assert answer.concepts == whole.concepts[:2]
    assert len(answer.regions) == 2
    alone = search(session, "dog", k=1)
    assert {each.region for each in alone.regions} == {"pSTS"}
    assert [each.id for each in alone.concepts] == [published.components["animal"]]


def test_subject_and_atlas_narrow_the_regions(session: Session, published: Published) -> None:
    answer = search(session, "dog", subject="subj02", atlas="floc")
    whole = search(session, "dog", k=100)
    for field in ("regions", "weaker_regions"):
        told = getattr(answer, field)
        of_concepts = [each for found in answer.concepts for each in getattr(found, field)]
        assert {each.subject for each in [*told, *of_concepts]} == {"subj02"}
        assert told == [each for each in getattr(whole, field) if each.subject == "subj02"]
    assert len(answer.regions) + len(answer.weaker_regions) == len(REGIONS)


def test_regions_are_told_apart_by_the_level_of_the_run(
    session: Session, published: Published
) -> None:
    """A region that carries one concept is not told again for another that it does not carry."""
    answer = search(session, "dog", k=6)
    assert {each.q_value <= 0.05 for each in answer.regions} == {True}
    assert {each.q_value > 0.05 for each in answer.weaker_regions} == {True}
    named = [
        (each.subject, each.atlas, each.region)
        for each in [*answer.regions, *answer.weaker_regions]
    ]
    assert len(named) == len(set(named))
    run = session.get_one(Run, published.run)
    run.configuration = {**run.configuration, "statistics": {"level": 0.9}}
    session.flush()
    rows = session.execute(text("SELECT * FROM catalog.search_regions('dog', 100)")).all()
    lax = search(session, "dog", k=100)
    assert len(lax.regions) == len(rows) > len(answer.regions)
    assert lax.weaker_regions == []


def test_where_no_region_carries_a_concept_its_place_is_told(
    session: Session, published: Published
) -> None:
    dog = published.components["animal"]
    session.execute(update(ComponentRegion).values(q_value=0.06))
    answer = search(session, "dog", k=1)
    assert answer.regions == answer.concepts[0].regions == []
    assert [each.region for each in answer.weaker_regions] == ["pSTS"]
    place = answer.place
    assert place == answer.concepts[0].place
    assert (place.component, place.subject, place.space) == (dog, "subj01", "MNI")
    session.execute(
        update(ComponentRegion).where(ComponentRegion.component_id != dog).values(q_value=0.05)
    )
    answer = search(session, "dog", k=2)
    assert answer.place is None
    assert [each.place is None for each in answer.concepts] == [False, True]


def test_peaks_are_in_mni_where_there_is_a_transform_and_native_elsewhere(
    session: Session, published: Published, store: ArtefactStore
) -> None:
    publish(session, session.scalar(select(Encoder.spec)), store, slug="lab-b", mni=False)
    there = search(session, "face", dataset="lab-a").regions[0]
    assert (there.space, there.peak_mm) == ("MNI", (-40, -40, -40))
    here = search(session, "face", dataset="lab-b").regions[0]
    assert (here.space, here.peak_mm) == ("native", (0, 0, 0))


def test_a_prompt_is_embedded_once_and_is_no_vocabulary(
    session: Session, published: Published
) -> None:
    search(session, "  a photo of a dog ")
    rows = session.scalars(select(Term).where(Term.text == "a photo of a dog")).all()
    assert [(row.template, row.in_vocabulary) for row in rows] == [("{}", False)]
    session.scalar(select(Encoder)).spec = "vectors:/nowhere.csv"
    assert search(session, "a photo of a dog").query == "a photo of a dog"


def test_the_ensemble_is_the_mean_of_its_templates(session: Session, published: Published) -> None:
    answer = search(session, "dog", templates=ENSEMBLE)
    assert answer.prompt == list(ENSEMBLE)
    stored = session.scalars(select(Term.template).where(Term.text == "dog")).all()
    assert sorted(stored) == sorted(ENSEMBLE)
    # The table takes templates off again: every template of a word has the word's own vector.
    plain = search(session, "dog")
    assert [each.similarity for each in answer.concepts] == pytest.approx(
        [each.similarity for each in plain.concepts], abs=1e-6
    )


def test_encoders_are_never_mixed(
    session: Session, published: Published, store: ArtefactStore, tmp_path: Path
) -> None:
    other = write_table(tmp_path / "other.csv", dimension=12, seed=5)
    second = publish(session, f"vectors:{other}", store, slug="lab-b")
    with pytest.raises(InputError, match="several datasets") as caught:
        search(session, "face")
    assert "lab-a, lab-b" in caught.value.hint
    for wanted in (published, second):
        answer = search(session, "face", dataset=wanted.dataset)
        assert (answer.encoder, answer.run) == (wanted.encoder, wanted.run)
        assert {each.id for each in answer.concepts} == set(wanted.components.values())


def test_runs_of_both_methods_answer_side_by_side(
    session: Session, published: Published, store: ArtefactStore
) -> None:
    spec = session.scalar(select(Encoder.spec))
    other = publish(session, spec, store, slug="lab-b", method="clusters")
    methods = {published.run: "masks", other.run: "clusters"}
    for wanted in (published, other):
        answer = search(session, "face", dataset=wanted.dataset)
        assert (answer.run, answer.method) == (wanted.run, methods[wanted.run])
        assert answer.concepts[0].id == wanted.components["face"]
    for source in (
        *("catalog.runs", "catalog.concepts", "catalog.concept_regions", "catalog.concept_voxels"),
        *(f"catalog.search_{each}('face', 40)" for each in ("concepts", "regions", "voxels")),
    ):
        rows = session.execute(text(f"SELECT DISTINCT run_id, method FROM {source}"))  # noqa: S608
        assert dict(tuple(row) for row in rows) == methods, source
    negations = "SELECT negations FROM catalog.concepts WHERE component_id = :id"
    for each in (published, other):
        assert session.scalar(text(negations), {"id": each.components["face"]}) == ["house"]


def test_an_older_run_answers_by_its_id(session: Session, published: Published) -> None:
    old = session.get_one(Run, published.run)
    columns = {each.name: getattr(old, each.name) for each in Run.__table__.c if each.name != "id"}
    new = Run(**columns | {"key": "newer"})
    session.add(new)
    session.flush()
    session.scalar(select(Dataset)).current_run_id = new.id
    assert search(session, "face").concepts == []
    assert (
        search(session, "face", run=published.run).concepts[0].id == (published.components["face"])
    )
    with pytest.raises(NotFoundError, match="no run 999"):
        search(session, "face", run=999)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"text": "  "}, InputError, "prompt is empty"),
        ({"text": "x" * 1001}, InputError, "1001 characters"),
        ({"text": "nul\0nul"}, InputError, "not valid text"),
        ({"text": "half \ud800"}, InputError, "not valid text"),
        ({"k": 0}, InputError, "k is 0"),
        ({"k": -3}, InputError, "k is -3"),
        ({"k": 1001}, InputError, "k is 1001"),
        ({"dataset": "lab-z"}, NotFoundError, "no dataset 'lab-z'"),
        ({"subject": "subj99"}, NotFoundError, "no subject 'subj99'"),
        ({"atlas": "Glasser"}, NotFoundError, "no atlas 'Glasser'"),
        ({"run": 2**40}, NotFoundError, "no run"),
        ({"templates": ()}, InputError, "no prompt template"),
        ({"templates": ("a photo",)}, InputError, "must hold {} once"),
        ({"templates": ("{} and {}",)}, InputError, "must hold {} once"),
        ({"text": "quasar"}, NotFoundError, "no vector for 'quasar'"),
    ],
)
def test_what_cannot_be_asked_is_said_and_nothing_is_stored(
    session: Session,
    published: Published,
    count_rows: Callable[[], Counts],
    options: dict[str, Any],
    error: type[CatalogError],
    message: str,
) -> None:
    before = count_rows()
    with pytest.raises(error) as caught:
        search(session, **{"text": "face"} | options)
    session.commit()
    assert message in caught.value.message
    assert "\n" not in str(caught.value)
    assert count_rows() == before


@pytest.mark.parametrize(("dimension", "what"), [(8, "weights"), (12, "dimension")])
def test_other_weights_than_the_stored_ones_are_refused(
    own_published: Published,
    own_session: Session,
    own_table: Path,
    count_rows: Callable[[], Counts],
    dimension: int,
    what: str,
) -> None:
    before = count_rows()
    write_table(own_table, dimension=dimension, seed=9)
    with pytest.raises(ConflictError, match=f"{what} .*, not ") as caught:
        search(own_session, "a photo of a dog")
    own_session.commit()
    assert own_published.encoder in caught.value.message
    assert count_rows() == before


def test_nothing_published_says_what_to_run(own_session: Session) -> None:
    with pytest.raises(NotFoundError, match="nothing has been published") as caught:
        search(own_session, "face")
    assert "sdc run" in caught.value.hint
