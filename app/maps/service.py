"""The concepts that a map of the brain carries."""

from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control
from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.concepts.claims import claims_of
from app.concepts.service import check_k
from app.errors import ConflictError, InputError, NotFoundError
from app.maps import repository
from app.maps.correlation import Correlations, Covered, correlate
from app.maps.nifti import BrainMap, read_map
from app.maps.schemas import MapAnswer, MapConcept, MapShare
from app.masks.response import response_of
from app.observing.traces import traced
from app.places.repository import run_components
from app.regions.schemas import Space
from app.regions.service import SIGNIFICANT, require_owner
from app.runs.service import ChosenRun, choose_run_for
from app.texts import known_names
from app.upload_memory import upload_work

Ids = NDArray[np.int_]

PERMUTATIONS = 999
FEWEST_PERMUTATIONS, MOST_PERMUTATIONS = 99, 4999
LARGEST_SEED = 2**31 - 1
MAP_FAMILY = (
    "map q: Benjamini-Hochberg over the run's components that have a mask among the voxels covered"
)
_FEWEST_VOXELS = 10
# Of the largest value: what interpolation makes of equal ones.
_EQUAL = 1e-9


@traced
def search_map(
    session: Session,
    file: BinaryIO,
    name: str,
    space: Space = "MNI",
    *,
    image: BinaryIO | None = None,
    dataset: str | None = None,
    run: int | None = None,
    subject: str | None = None,
    k: int = 10,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> MapAnswer:
    """The k concepts whose masks go best with a map, see `app.maps.correlation.correlate`.

    Parameters
    ----------
    session : Session
    file : file
        NIfTI, see `app.maps.nifti.read_map`. It is sampled at the voxels' mm by its affine; what
        lies outside of its grid or is not finite is left out.
    name : str
        What the answer calls it.
    space : {"MNI", "native"}
        Native mm are one participant's own, who must be named.
    image : file, optional
        The `.img` of a pair of files, whose `.hdr` is `file`.
    dataset, run, subject, k
        As `app.search.service.search`; the mean is over this participant alone.
    permutations : int
        Surrogate maps, 99 to 4,999.
    seed : int
        Of the surrogates.

    Raises
    ------
    InputError
        The file cannot be read, covers too few voxels or has one value in all, numbers are out of
        range, or several datasets could answer.
    ConflictError
        Native mm without a participant, or nobody's places in MNI space are known.
    NotFoundError
        There is no such dataset, run or participant.
    TooLargeError, BusyError
        There is no memory for the map, see `app.upload_memory`.
    """
    check_k(k)
    if not FEWEST_PERMUTATIONS <= permutations <= MOST_PERMUTATIONS:
        raise InputError(
            f"permutations is {permutations}",
            hint=f"ask for {FEWEST_PERMUTATIONS} to {MOST_PERMUTATIONS:,}",
        )
    if not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"the seed is {seed}", hint=f"it is 0 to {LARGEST_SEED}")
    require_owner(space, subject)
    chosen = choose_run_for(session, dataset, run, subject)
    with upload_work() as work:
        brain_map = read_map(file, name, work, image)
        return _answer(session, chosen, brain_map, name, space, subject, k, permutations, seed)


def _answer(
    session: Session,
    chosen: ChosenRun,
    brain_map: BrainMap,
    name: str,
    space: Space,
    subject: str | None,
    k: int,
    permutations: int,
    seed: int,
) -> MapAnswer:
    components = run_components(session, chosen.run.id)
    ids = np.array(sorted(components))
    voxels, covered = _cover(session, chosen, brain_map, name, space, subject, ids)
    found = correlate(list(covered.values()), permutations=permutations, seed=seed)
    signs = repository.mask_signs(session, chosen.run.id)
    tested = np.flatnonzero(np.isfinite(found.p))
    q_values = false_discovery_control(found.p[tested])
    concepts = [
        MapConcept(
            id=int(ids[at]),
            label=components[ids[at]].label,
            **claims_of(components[ids[at]]),
            correlation=float(found.mean[at]),
            p_value=float(found.p[at]),
            q_value=float(q_value),
            subjects=_shares(covered, found, int(at), int(ids[at]), signs),
        )
        for at, q_value in zip(tested, q_values, strict=True)
    ]
    concepts.sort(key=lambda each: (each.q_value >= SIGNIFICANT, -each.correlation, each.id))
    return MapAnswer(
        map=name,
        space=space,
        **chosen.names,
        permutations=permutations,
        seed=seed,
        q_family=MAP_FAMILY,
        voxels=voxels,
        warnings=_warnings(brain_map, name),
        concepts=concepts[:k],
    )


def _warnings(brain_map: BrainMap, name: str) -> list[str]:
    if not brain_map.looks_like_labels():
        return []
    why = (
        "by its header" if brain_map.called_labels else "as it looks: it holds whole numbers alone"
    )
    return [
        f"{name} is an image of labels, {why}. Their order means nothing, and nor does a "
        "correlation with it: send one region at a time, as a mask of 0 and 1."
    ]


def _cover(
    session: Session,
    chosen: ChosenRun,
    brain_map: BrainMap,
    name: str,
    space: Space,
    subject: str | None,
    ids: Ids,
) -> tuple[dict[str, int], dict[str, Covered]]:
    """How many voxels of each participant a map covers, and what it is there, where that tells."""
    voxels: dict[str, int] = {}
    covered: dict[str, Covered] = {}
    known = 0
    subjects = repository.run_subjects(session, chosen.run.id)
    if subject is not None and subject not in subjects.values():
        raise NotFoundError(
            f"run {chosen.run.id} has no subject {subject!r}",
            hint=known_names(subjects.values(), subject),
        )
    for subject_id, label in subjects.items():
        if subject not in {None, label}:
            continue
        rows = repository.voxel_places(session, subject_id, space)
        known += len(rows)
        table = np.array([tuple(row) for row in rows], dtype=float).reshape(-1, 4)
        values = brain_map.at(table[:, 1:])
        inside = np.isfinite(values)
        voxels[label] = int(inside.sum())
        if voxels[label] < _FEWEST_VOXELS:
            continue
        # Any unit does for a correlation, and squares of this one are finite.
        values = values[inside] / (np.abs(values[inside]).max() or 1.0)
        if np.ptp(values) <= _EQUAL:
            continue
        there = table[inside, 0].astype(int)
        members = repository.mask_members(session, chosen.run.id, int(there[0]), int(there[-1]))
        covered[label] = Covered(
            places=table[inside, 1:], values=values, weights=_weights(members, there, ids)
        )
    if not known:
        raise ConflictError(
            "it is not known where the voxels lie in MNI space",
            hint="ask for the native space of a subject",
        )
    if not covered:
        most = max(voxels.values())
        if most < _FEWEST_VOXELS:
            raise InputError(
                f"{name} covers {most} voxels of a participant ({space})",
                hint=f"it takes {_FEWEST_VOXELS}: are its affine and the space right?",
            )
        raise InputError(
            f"{name} has one value at all voxels that it covers",
            hint="send a map that differs between places",
        )
    return voxels, covered


def _weights(
    members: Sequence[Row[int, int, float]], voxels: Ids, components: Ids
) -> NDArray[np.float32]:
    """Weights (V, K) of masks' members among some voxels; ids of both ascend."""
    weights = np.zeros((len(voxels), len(components)), dtype=np.float32)
    if members:
        component, voxel, weight = np.array([tuple(row) for row in members]).T
        at = np.searchsorted(voxels, voxel)
        there = np.isin(voxel, voxels)
        weights[at[there], np.searchsorted(components, component[there])] = weight[there]
    return weights


def _shares(
    covered: Mapping[str, Covered],
    found: Correlations,
    at: int,
    component: int,
    signs: Mapping[tuple[int, str], int | None],
) -> list[MapShare]:
    return [
        MapShare(
            subject=label,
            correlation=float(found.each[number, at]),
            n_voxels=int(np.count_nonzero(each.weights[:, at])),
            responds=response_of(signs.get((component, label))),
        )
        for number, (label, each) in enumerate(covered.items())
        if np.isfinite(found.each[number, at])
    ]
