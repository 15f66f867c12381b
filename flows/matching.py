"""Components that were sought again, matched one to one to those of a run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from app.store import Artefact
from flows.science.stability import NO_PARTNER, cosines
from flows.science.statistics import Floats
from flows.stages import get_store, stage

Json = dict[str, Any]


@stage("match-components")
def match_components(own: Json, others: Json, vectors: Json, cosine: float) -> Json:
    """Other components in the order of a run's own, matched one to one.

    Parameters
    ----------
    own, others : dict
        References to ``components`` (K, D) and (L, D).
    vectors : dict
        Reference to the stimuli's ``vectors``, whose scores are compared.
    cosine : float
        From which two components are one (`flows.science.stability.cosines`).

    Returns
    -------
    dict
        ``components``: reference to ``components`` (K, D), a row of zeros where there is no
        partner; ``partner`` (K,) the row that each is, -1 for none; ``cosine`` (K,) with the best
        partner, whether near enough or not; -1 without one.
    """
    store = get_store()
    rows = store.get(Artefact.model_validate(own))["components"]
    found = store.get(Artefact.model_validate(others))["components"]
    matched = np.zeros_like(rows)
    told = np.full(len(rows), -1.0)
    taken = np.full(len(rows), NO_PARTNER)
    if len(found):
        table = cosines(rows, found, store.get(Artefact.model_validate(vectors))["vectors"])
        partner = match(table)
        known = np.flatnonzero(partner != NO_PARTNER)
        told[known] = table[known, partner[known]]
        near = known[told[known] >= cosine]
        matched[near], taken[near] = found[partner[near]], partner[near]
    return {
        "components": store.put({"components": matched}).model_dump(),
        "partner": [int(row) for row in taken],
        "cosine": [float(value) for value in told],
    }


def match(similarity: Floats, *, without: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Partners, one to one, of highest total similarity (Hungarian assignment).

    Parameters
    ----------
    similarity : ndarray
        (K, L) in [-1, 1].
    without : ndarray, optional
        (K,) partners that are not given: what then comes out is the next best matching.

    Returns
    -------
    ndarray
        (K,) columns; -1 where there is none left.

    References
    ----------
    Kuhn 1955, Naval Research Logistics Quarterly 2, 83.
    """
    table = similarity.copy()
    taken = np.zeros(table.shape, dtype=bool)
    if without is not None:
        paired = np.flatnonzero(without != NO_PARTNER)
        taken[paired, without[paired]] = True
        # No gain in all other pairs together makes up for one of these.
        table[taken] = -2 * max(table.shape) - 1
    partner = np.full(len(table), NO_PARTNER, dtype=np.int64)
    rows, columns = linear_sum_assignment(table, maximize=True)
    partner[rows] = np.where(taken[rows, columns], NO_PARTNER, columns)
    return partner
