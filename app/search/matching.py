"""Whether any concept of a run is near to a prompt: what every answer to one tells."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.concepts.repository import run_vectors
from app.embedding.encoder import unit_rows
from app.regions.service import level_of
from app.runs.service import ChosenRun
from app.search.best_match import FEWEST_WORDS, BestMatchNull, best_match_p, mirrored_null
from app.search.schemas import Match
from app.terms.repository import oldest_vocabulary
from app.terms.suggestions import near_words

# The vocabulary's oldest words: `sdc terms build` adds newer ones, and changes no answer.
WORDS = 1000
# A word is near to a prompt where three of four words have no nearer neighbour than that.
NEIGHBOURS = 0.25
REMEMBERED = 32

OF_PICTURES = "the vocabulary that a match is measured against is of words, and a picture was asked"
NO_CONCEPTS = "the run has no concepts"
FEW_WORDS = (
    "the encoder's vocabulary has {words} words, and at least {fewest} are needed to tell what "
    "unrelated prompts get"
)


@dataclass(frozen=True)
class _Yardstick:
    """What a run's prompts are held against.

    Attributes
    ----------
    concepts : array (K, D), float32
        Unit rows.
    null : BestMatchNull
    neighbour : float
        Cosine from which a word is near to a prompt.
    """

    concepts: NDArray[np.float32]
    null: BestMatchNull
    neighbour: float


_lock = Lock()
_remembered: "OrderedDict[tuple[Any, ...], _Yardstick]" = OrderedDict()


def match_fields(
    session: Session,
    runs: Sequence[ChosenRun],
    direction: NDArray[np.float32],
    texts: Sequence[str],
) -> dict[str, Any]:
    """The fields `match` and `match_reason` of an answer: a match, or why there is none.

    What a run's prompts are held against is computed once a process, and remembered for the
    `REMEMBERED` questions that were asked last; a published run never changes.

    Parameters
    ----------
    session : Session
    runs : sequence of ChosenRun
        Of one encoder, at least one: the concepts of all of them are looked among.
    direction : array (D,), float32
        Where the prompt points, a unit vector, the texts' mean taken off.
    texts : sequence of str
        The prompts that it is made of, as typed.
    """
    yardstick = _yardstick(session, runs)
    if isinstance(yardstick, str):
        return {"match": None, "match_reason": yardstick}
    p_value = best_match_p(yardstick.concepts @ direction, yardstick.null)
    matched = p_value <= min(level_of(each.run) for each in runs)
    words = (
        []
        if matched
        else near_words(session, runs[0].encoder.id, texts, direction, yardstick.neighbour)
    )
    return {
        "match": Match(matched=matched, p_value=p_value, nearest_words=words),
        "match_reason": None,
    }


def _yardstick(session: Session, runs: Sequence[ChosenRun]) -> "_Yardstick | str":
    asked = tuple((each.run.id, each.run.key, each.run.published_at) for each in runs)
    key = (str(session.get_bind().engine.url), asked)
    with _lock:
        if key in _remembered:
            _remembered.move_to_end(key)
            return _remembered[key]
    found = _measure(session, runs)
    if isinstance(found, _Yardstick):
        with _lock:
            _remembered[key] = found
            while len(_remembered) > REMEMBERED:
                _remembered.popitem(last=False)
    return found


def _measure(session: Session, runs: Sequence[ChosenRun]) -> "_Yardstick | str":
    found = [run_vectors(session, each.run.id) for each in runs]
    if not any(map(len, found)):
        return NO_CONCEPTS
    concepts = np.concatenate([each for each in found if len(each)])
    encoder = runs[0].encoder
    vectors = oldest_vocabulary(session, encoder.id, WORDS)
    words = vectors - np.asarray(encoder.text_mean, np.float32) if len(vectors) else vectors
    # The word that the mean itself is, where there is one, points nowhere.
    words = words[np.linalg.norm(words, axis=1) > 1e-6] if len(words) else words
    if len(words) < FEWEST_WORDS:
        return FEW_WORDS.format(words=len(words), fewest=FEWEST_WORDS)
    words, concepts = unit_rows(words), unit_rows(concepts)
    among = words @ words.T
    np.fill_diagonal(among, -1.0)
    neighbour = float(np.quantile(among.max(axis=1), NEIGHBOURS))
    return _Yardstick(concepts, mirrored_null(words @ concepts.T), neighbour)
