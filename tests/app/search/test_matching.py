"""Whether a prompt is near to a concept, asked of a catalog with a vocabulary of its own."""

from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from app.database.copying import copy_rows
from app.database.models import Component, Encoder, Run, Term
from app.search import matching
from app.search.best_match import best_match_p, mirrored_null
from app.search.regions import find_regions
from app.search.service import search
from app.terms.repository import oldest_vocabulary
from app.voxels.service import search_voxels
from tests.app.published import CONE, Published

DIMENSION, WORDS = 8, 400


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_remembered", OrderedDict())


@pytest.fixture
def add_words(session: Session, published: Published) -> Callable[..., None]:
    """Adds words that are related to nothing, or a term with a given vector."""
    encoder = session.scalar(select(Encoder.id))

    def add(number: int, seed: int = 0, *, start: int = 0) -> None:
        random = np.random.default_rng(seed)
        vectors = random.standard_normal((number, DIMENSION))
        vectors[:, 0] += CONE
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        rows = {
            "encoder_id": encoder,
            "text": [f"{word(start + index)}" for index in range(number)],
            "template": "{}",
            "vector": vectors.astype(np.float32),
            "in_vocabulary": True,
        }
        copy_rows(session, Term, rows)

    return add


def word(index: int) -> str:
    """A word of letters alone, unlike others in spelling."""
    return "".join(chr(97 + int(digit) * 2) * 3 for digit in f"{index:04}")


def add_prompt(
    session: Session, prompt: str, vector: NDArray[np.float64], *, in_vocabulary: bool = False
) -> None:
    """Store a prompt whose vector, of unit length, lies in a direction from the texts' mean."""
    encoder = session.scalar(select(Encoder))
    mean, ahead = np.asarray(encoder.text_mean, np.float64), vector / np.linalg.norm(vector)
    along = mean @ ahead
    at = mean + (np.sqrt(along**2 + 1 - mean @ mean) - along) * ahead
    session.add(
        Term(
            encoder_id=encoder.id,
            text=prompt,
            template="{}",
            vector=at.astype(np.float32),
            in_vocabulary=in_vocabulary,
        )
    )
    session.flush()


def concept_vectors(session: Session) -> NDArray[np.float64]:
    rows = session.scalars(select(Component.vector).order_by(Component.id)).all()
    return np.array(rows, dtype=np.float64)


@pytest.fixture
def far(session: Session, published: Published) -> Iterator[NDArray[np.float64]]:
    """A direction that no concept points in."""
    vectors = concept_vectors(session)
    return -vectors.sum(axis=0)


def test_a_prompt_near_to_a_concept_matches(
    session: Session, published: Published, add_words: Callable[..., None]
) -> None:
    add_words(WORDS)
    answer = search(session, "face")
    assert answer.match is not None
    assert answer.match.matched is True
    assert answer.match.p_value <= 0.05
    assert (answer.match.nearest_words, answer.match_reason) == ([], None)


def test_p_is_that_of_all_concepts_and_the_oldest_words(
    session: Session, published: Published, add_words: Callable[..., None]
) -> None:
    add_words(WORDS)
    encoder = session.scalar(select(Encoder))
    words = np.array(
        session.scalars(select(Term.vector).where(Term.in_vocabulary).order_by(Term.id)).all()
    ) - np.asarray(encoder.text_mean)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    concepts = concept_vectors(session)
    concepts /= np.linalg.norm(concepts, axis=1, keepdims=True)
    null = mirrored_null(words @ concepts.T)
    for prompt in ("dog", "pizza", word(3), word(77)):
        vector = np.asarray(session.scalar(select(Term.vector).where(Term.text == prompt)))
        direction = vector - np.asarray(encoder.text_mean)
        direction /= np.linalg.norm(direction)
        answer = search(session, prompt, k=1)
        assert answer.match.p_value == pytest.approx(best_match_p(concepts @ direction, null))


def test_a_prompt_far_from_every_concept_misses_and_is_still_answered(
    session: Session,
    published: Published,
    add_words: Callable[..., None],
    far: NDArray[np.float64],
) -> None:
    add_words(WORDS)
    add_prompt(session, "quantum physics", far)
    answer = search(session, "quantum physics")
    assert answer.match.matched is False
    assert answer.match.p_value > 0.2
    assert len(answer.concepts) == 6


def test_a_misspelt_prompt_is_offered_words_spelt_alike(
    session: Session,
    published: Published,
    add_words: Callable[..., None],
    far: NDArray[np.float64],
) -> None:
    add_words(WORDS)
    add_prompt(session, "hous", far)
    assert search(session, "hous").match.nearest_words == ["house"]


def test_a_prompt_spelt_right_is_offered_words_of_like_meaning(
    session: Session,
    published: Published,
    add_words: Callable[..., None],
    far: NDArray[np.float64],
) -> None:
    add_words(WORDS)
    add_prompt(session, "xylophone", far, in_vocabulary=True)
    # An everyday term, which no vocabulary holds here.
    add_prompt(session, "abacus", far)
    words = search(session, "abacus").match.nearest_words
    assert words[0] == "xylophone"
    assert 1 <= len(words) <= 5


def test_sums_and_negations_are_measured_as_what_they_are(
    session: Session,
    published: Published,
    add_words: Callable[..., None],
    far: NDArray[np.float64],
) -> None:
    add_words(WORDS)
    add_prompt(session, "nothing", far)
    assert search(session, "face", plus=["house"]).match.matched
    assert not search(session, "nothing", minus=["face"]).match.matched
    # What is least like nothing of the run is like all of it.
    assert search(session, "nothing", negate=True).match.p_value < 0.5
    assert search(session, "face", negate=True).match.p_value > 0.05


def test_the_level_is_the_runs(
    session: Session, published: Published, add_words: Callable[..., None]
) -> None:
    add_words(WORDS)
    assert search(session, "face").match.matched
    run = session.get_one(Run, published.run)
    run.configuration = {"statistics": {"level": 0.001}}
    session.flush()
    assert not search(session, "face").match.matched


@pytest.mark.parametrize("missing", ["all", "some"])
def test_a_small_or_empty_vocabulary_is_not_measured(
    session: Session, published: Published, missing: str
) -> None:
    search(session, "face")
    if missing == "all":
        session.execute(update(Term).values(in_vocabulary=False))
    answer = search(session, "face")
    words = 0 if missing == "all" else 18
    assert answer.match is None
    assert answer.match_reason == (
        f"the encoder's vocabulary has {words} words, and at least 100 are needed to tell what "
        "unrelated prompts get"
    )
    assert answer.concepts


def test_a_run_without_concepts_is_not_measured(
    session: Session, published: Published, add_words: Callable[..., None]
) -> None:
    add_words(WORDS)
    session.execute(delete(Component))
    answer = search(session, "face")
    assert (answer.match, answer.match_reason) == (None, "the run has no concepts")
    assert (answer.concepts, answer.regions, answer.place) == ([], [], None)


def test_words_that_come_later_change_no_answer(
    session: Session,
    published: Published,
    add_words: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matching, "WORDS", 200)
    add_words(182)
    before = search(session, "dog").match
    matching._remembered.clear()
    add_words(500, seed=9, start=1000)
    assert search(session, "dog").match == before
    assert len(oldest_vocabulary(session, session.scalar(select(Encoder.id)), 10_000)) == 700


def test_what_a_run_is_held_against_is_remembered_and_bounded(
    session: Session,
    published: Published,
    add_words: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_words(WORDS)
    looked: list[int] = []
    measure = matching._measure
    monkeypatch.setattr(matching, "_measure", lambda *asked: looked.append(1) or measure(*asked))
    monkeypatch.setattr(matching, "REMEMBERED", 1)
    search(session, "face")
    search(session, "dog")
    assert len(looked) == len(matching._remembered) == 1
    session.get_one(Run, published.run).key = "another"
    session.flush()
    search(session, "face")
    assert (len(looked), len(matching._remembered)) == (2, 1)


@pytest.mark.parametrize("prompt", ["face", "pizza", word(5), word(123), "quantum physics"])
def test_every_way_to_ask_tells_the_same(
    session: Session,
    published: Published,
    add_words: Callable[..., None],
    far: NDArray[np.float64],
    prompt: str,
) -> None:
    add_words(WORDS)
    add_prompt(session, "quantum physics", far)
    match = search(session, prompt).match
    assert find_regions(session, prompt=prompt).match == match
    assert search_voxels(session, prompt).match == match
    rows = session.execute(text("SELECT * FROM catalog.match_prompt(:prompt)"), {"prompt": prompt})
    ((dataset, run, encoder, matched, p_value, reason),) = rows.all()
    assert (dataset, run, encoder) == (published.dataset, published.run, published.encoder)
    assert (matched, p_value, reason) == (match.matched, pytest.approx(match.p_value), None)


@pytest.mark.parametrize("missing", ["words", "concepts"])
def test_sql_gives_the_same_reason(
    session: Session, published: Published, add_words: Callable[..., None], missing: str
) -> None:
    if missing == "concepts":
        add_words(WORDS)
        session.execute(delete(Component))
    rows = session.execute(text("SELECT * FROM catalog.match_prompt('face', 'lab-a')")).all()
    assert [(each.matched, each.p_value) for each in rows] == [(None, None)]
    assert [each.reason for each in rows] == [search(session, "face").match_reason]
