"""Stimuli with their target vectors, and how strongly each shows what is planted."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from app.embedding import Encoder, load_encoder
from tests.support.cohorts.objects import GROUPS, SCENES, NameTable, load_clip_names
from tests.support.cohorts.scenes import TOPICS, draw_scenes

CAPTION_ENCODER = "caption:all-MiniLM-L6-v2"

UNSPOKEN = 0.3
"""Standard deviation of what a stimulus shows of a concept and its target vector does not say."""

MIN_GROUP = 4
"""Names a group needs to be planted; people alone have fewer."""

IMAGE_PART = 0.22
"""Length of the random part of a stimulus' CLIP vector, next to its objects' of about 0.9."""


@dataclass(frozen=True, eq=False)
class Stimuli:
    """What I stimuli are.

    Attributes
    ----------
    vectors : ndarray
        (I, D) float32 unit vectors.
    captions : tuple of str
    topic : ndarray
        (I,) what each shows first.
    concepts : tuple of str
        (C,) names.
    directions : ndarray
        (C, D) unit vectors in the centred space.
    evidence : ndarray
        (I, C) how strongly each stimulus shows each concept, in standard deviations.
    terms, term_vectors
        As in `PlantedCohort`.
    """

    vectors: NDArray[np.float32]
    captions: tuple[str, ...]
    topic: NDArray[np.int64]
    concepts: tuple[str, ...]
    directions: NDArray[np.float32]
    evidence: NDArray[np.float64]
    terms: tuple[str, ...]
    term_vectors: NDArray[np.float32]


def unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows at length 1."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / length, dtype=np.float64)


def standard(columns: NDArray[np.floating]) -> NDArray[np.float64]:
    """Columns at mean 0 and variance 1; constant columns become 0."""
    centred = columns - columns.mean(axis=0)
    spread = centred.std(axis=0)
    varies = spread > 1e-9
    return np.asarray(np.where(varies, centred / np.where(varies, spread, 1), 0), dtype=np.float64)


def caption_stimuli(count: int, concepts: int, rng: np.random.Generator) -> Stimuli:
    """Scenes whose targets are the MiniLM vectors of their captions.

    Which topics are planted is drawn. A concept's direction is the mean vector of its nouns with
    the mean over all topics taken off, so that it hangs on no stimulus.

    Parameters
    ----------
    count : int
        I.
    concepts : int
        C, at most the number of topics.
    rng : numpy.random.Generator
    """
    scenes = draw_scenes(count, rng)
    planted = rng.permutation(len(TOPICS))[:concepts]
    vectors = _encoder().encode_texts(scenes.captions)
    nouns = _noun_vectors()
    ends = np.cumsum([len(topic.nouns) for topic in TOPICS])[:-1]
    anchors = np.stack([part.mean(axis=0) for part in np.split(nouns.astype(np.float64), ends)])
    directions = unit(anchors - anchors.mean(axis=0))[planted]
    return Stimuli(
        vectors=vectors,
        captions=scenes.captions,
        topic=scenes.topic,
        concepts=tuple(TOPICS[row].name for row in planted),
        directions=directions.astype(np.float32),
        evidence=_evidence(vectors, directions, scenes.amount[:, planted], 0.25, rng),
        terms=tuple(noun for topic in TOPICS for noun in topic.nouns),
        term_vectors=nouns,
    )


@cache
def _encoder() -> Encoder:
    return load_encoder(CAPTION_ENCODER)


@cache
def _noun_vectors() -> NDArray[np.float32]:
    """Vectors of all topics' nouns, one topic after another."""
    return _encoder().encode_texts([noun for topic in TOPICS for noun in topic.nouns])


def clip_stimuli(count: int, concepts: int, rng: np.random.Generator) -> Stimuli:
    """Stimuli that show two to four named objects; targets from these names' CLIP vectors.

    A stimulus' vector is the weighted mean of its objects' vectors and a random part of its own,
    half of it within the span of the names. So vectors lie on CLIP's narrow cone. Which groups
    of names are planted is drawn; a concept's direction is the mean of its names' vectors with the
    mean over all names taken off. A stimulus shows a concept as far as it shows its names, each
    as typical as the name is near to the direction.

    Parameters
    ----------
    count : int
        I.
    concepts : int
        C.
    rng : numpy.random.Generator

    Raises
    ------
    FileNotFoundError
        The table of names is not there.
    """
    table = load_clip_names()
    weights, topic = _draw_objects(table, count, rng)
    objects = weights @ table.vectors
    centred = table.vectors - table.vectors.mean(axis=0)
    within = unit(rng.standard_normal((count, len(centred))) @ centred)
    beyond = unit(rng.standard_normal(objects.shape))
    random = IMAGE_PART * np.sqrt(0.5) * (within + beyond)
    vectors = unit(objects + random).astype(np.float32)

    names, directions = group_directions(table)
    able = [
        row for row, name in enumerate(names) if len(GROUPS[name]) >= MIN_GROUP or name == "people"
    ]
    planted = rng.permutation(able)[:concepts]
    amount = np.zeros((count, concepts))
    for column, row in enumerate(planted):
        members = table.rows(GROUPS[names[row]])
        typical = unit(centred[members]) @ directions[row]
        amount[:, column] = weights[:, members] @ (typical / typical.mean())
    return Stimuli(
        vectors=vectors,
        captions=_list_objects(table, weights),
        topic=topic,
        concepts=tuple(names[row] for row in planted),
        directions=directions[planted].astype(np.float32),
        evidence=_evidence(vectors, directions[planted], amount, 0.5, rng),
        terms=table.names,
        term_vectors=table.vectors.astype(np.float32),
    )


def group_directions(table: NameTable) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names of all groups and the (G, D) unit directions from the mean of all names to theirs."""
    centred = table.vectors - table.vectors.mean(axis=0)
    means = [centred[table.rows(members)].mean(axis=0) for members in GROUPS.values()]
    return tuple(GROUPS), unit(np.stack(means))


def _draw_objects(
    table: NameTable, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(I, names) weights that sum to 1, and the (I,) group of each stimulus' main object."""
    rows = [table.rows(members) for members in GROUPS.values()]
    number = {name: row for row, name in enumerate(GROUPS)}
    weights = np.zeros((count, len(table.names)))
    topic = np.zeros(count, dtype=np.int64)
    for stimulus in range(count):
        scene = SCENES[int(rng.integers(len(SCENES)))]
        heavy = 0.0
        for _ in range(int(rng.choice([2, 3, 4], p=[0.35, 0.4, 0.25]))):
            away = rng.random() < 0.1
            group = (
                int(rng.integers(len(rows))) if away else number[scene[rng.integers(len(scene))]]
            )
            weight = rng.gamma(2.0)
            weights[stimulus, rng.choice(rows[group])] += weight
            if weight > heavy:
                heavy, topic[stimulus] = weight, group
    return weights / weights.sum(axis=1, keepdims=True), topic


def _list_objects(table: NameTable, weights: NDArray[np.float64]) -> tuple[str, ...]:
    """A text a stimulus: its objects, the greatest first, and its number, as objects recur."""
    texts = []
    for stimulus, row in enumerate(weights):
        shown = np.argsort(-row, kind="stable")[: int((row > 0).sum())]
        texts.append(f"{', '.join(table.names[n] for n in shown)} (picture {stimulus})")
    return tuple(texts)


def _evidence(
    vectors: NDArray[np.floating],
    directions: NDArray[np.floating],
    amount: NDArray[np.floating],
    shown: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """How strongly each stimulus shows each concept (I, C).

    Partly by where its vector lies, partly (`shown`) by what it shows, and by what is unspoken: a
    brain answers to the stimulus, of which the target vector is a description.
    """
    centred = vectors - vectors.mean(axis=0)
    by_vector = standard(unit(centred) @ directions.T)
    unspoken = rng.standard_normal(amount.shape)
    return np.asarray(
        standard((1 - shown) * by_vector + shown * standard(amount) + UNSPOKEN * unspoken)
    )
