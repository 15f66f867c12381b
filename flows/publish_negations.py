"""Publication of what components are least like: words and stimuli, ranked apart."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.database.models import ComponentNegation, Encoder
from app.terms.repository import list_vocabulary
from flows.science.negations import least_similar

Floats = NDArray[np.float32]

# A unit vector that equals the mean differs from it by rounding, which is no direction.
_ROUNDING = 1e-6


def farthest_terms(
    session: Session,
    components: Floats,
    encoder: Encoder,
    count: int,
    among: Collection[str] | None = None,
) -> list[list[str]]:
    """The vocabulary terms of lowest cosine to components, the texts' mean taken off.

    Parameters
    ----------
    session : Session
    components : array (K, D)
        Directions in the encoder's space.
    encoder : Encoder
        The row of their encoder.
    count : int
        Terms a component.
    among : collection of str, optional
        Rank these alone.

    Returns
    -------
    list of list of str
        One a component, the farthest first: the other end of the order that
        `app.encoders.service.nearest_terms` begins.
    """
    texts, vectors = list_vocabulary(session, encoder.id, among)
    if not texts:
        return [[] for _ in components]
    index, _ = _farthest(vectors, np.asarray(encoder.text_mean), components, count)
    return [[texts[place] for place in row] for row in index.tolist()]


def write_far_stimuli(
    session: Session,
    ids: list[int],
    components: Floats,
    stimulus_ids: list[int],
    vectors: Floats,
    encoder: Encoder,
    count: int,
) -> None:
    """Write the stimuli of lowest cosine to components, the stimuli's mean taken off.

    All the dataset's stimuli are ranked, of whatever fold: no brain's answer is used.

    Parameters
    ----------
    ids : list of int
        Row id of each component.
    vectors : ndarray
        (I, D) of the stimuli whose row ids are `stimulus_ids`.
    encoder : Encoder
        Its stimuli's mean is known.
    """
    mean = np.asarray(encoder.stimulus_mean, dtype=np.float32)
    index, cosine = _farthest(vectors, mean, components, count)
    session.add_all(
        ComponentNegation(
            component_id=component,
            rank=rank,
            stimulus_id=stimulus_ids[place],
            similarity=similarity,
        )
        for component, places, similarities in zip(
            ids, index.tolist(), cosine.tolist(), strict=True
        )
        for rank, (place, similarity) in enumerate(zip(places, similarities, strict=True), start=1)
    )
    session.flush()


def _farthest(
    vectors: Floats, mean: Floats, components: Floats, count: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(K, n) rows of lowest cosine and their cosines, without a row that is the mean itself."""
    centred = vectors - mean
    pointing = np.flatnonzero(np.linalg.norm(centred, axis=1) > _ROUNDING)
    if not len(pointing):
        return np.empty((len(components), 0), dtype=np.intp), np.empty((len(components), 0))
    index, cosine = least_similar(centred[pointing], components, min(count, len(pointing)))
    return pointing[index], cosine
