"""The concepts that a place carries."""

import math
from collections import defaultdict

from sqlalchemy.orm import Session

from app.concepts.claims import claims_of
from app.concepts.service import check_k
from app.errors import InputError, NotFoundError
from app.masks.response import response_of
from app.observing.traces import traced
from app.places import repository
from app.places.schemas import (
    BallShare,
    PlaceAnswer,
    PlaceConcept,
    RegionConcept,
    RegionConceptsAnswer,
)
from app.regions.repository import Overlap, list_overlaps
from app.regions.schemas import Space
from app.regions.service import (
    REGION_FAMILY,
    group_order,
    region_overlap,
    require_owner,
    require_region,
)
from app.runs.service import choose_run, choose_run_for

FARTHEST_MM = 1000.0
LARGEST_MM = 100.0


@traced
def search_place(
    session: Session,
    centre: tuple[float, float, float],
    radius: float,
    space: Space,
    *,
    dataset: str | None = None,
    run: int | None = None,
    subject: str | None = None,
    k: int = 10,
) -> PlaceAnswer:
    """The k concepts whose masks take most of a ball.

    A mask's coverage is the sum of its members' weights inside the ball over the number of voxels
    that were kept there; a concept's is the mean over all participants who have voxels there.

    Parameters
    ----------
    session : Session
    centre : tuple of float
        mm.
    radius : float
        mm.
    space : {"MNI", "native"}
        Native mm are one participant's own, who must be named.
    dataset, run, subject, k
        As `app.search.service.search`.

    Raises
    ------
    InputError
        Numbers are out of range, or several datasets could answer.
    ConflictError
        Native mm without a participant.
    NotFoundError
        There is no such dataset, run or participant, or no voxel was kept there.
    """
    check_k(k)
    if not all(math.isfinite(each) and abs(each) <= FARTHEST_MM for each in centre):
        raise InputError(f"{centre} is no place in a brain", hint="x, y and z are mm")
    if not 0 < radius <= LARGEST_MM:
        raise InputError(
            f"the radius is {radius:g} mm", hint=f"it is more than 0, and {LARGEST_MM:g} at most"
        )
    require_owner(space, subject)
    chosen = choose_run_for(session, dataset, run, subject)
    voxels = repository.voxels_in_ball(session, chosen.run.id, centre, radius, space, subject)
    if not voxels:
        raise NotFoundError(
            f"no voxel was kept within {radius:g} mm of {centre} ({space})",
            hint="take a larger radius, or see the view catalog.voxels",
        )
    shares: dict[int, list[BallShare]] = defaultdict(list)
    components = {}
    for row in repository.masks_in_ball(session, chosen.run.id, centre, radius, space, subject):
        components[row.Component.id] = row.Component
        shares[row.Component.id].append(
            BallShare(
                subject=row.label,
                n_voxels=row.n_voxels,
                coverage=row.weight / voxels[row.label],
                nearest_mm=row.nearest,
                responds=response_of(row.response_sign),
            )
        )
    concepts = [
        PlaceConcept(
            id=component,
            label=components[component].label,
            **claims_of(components[component]),
            coverage=sum(each.coverage for each in told) / len(voxels),
            subjects=told,
        )
        for component, told in shares.items()
    ]
    concepts.sort(key=lambda each: (-each.coverage, each.id))
    return PlaceAnswer(
        centre_mm=centre,
        radius_mm=radius,
        space=space,
        **chosen.names,
        voxels=voxels,
        concepts=concepts[:k],
    )


@traced
def search_region(
    session: Session,
    atlas: str,
    region: str,
    *,
    dataset: str | None = None,
    run: int | None = None,
    k: int = 10,
) -> RegionConceptsAnswer:
    """The k concepts that a region carries, in the order of `app.regions.service.rank_overlaps`.

    Raises
    ------
    InputError
        `k` is out of range, or several datasets could answer.
    NotFoundError
        There is no such dataset, run, atlas or region.
    """
    check_k(k)
    chosen = choose_run(session, dataset, run)
    require_region(session, chosen.dataset, atlas, region)
    components = repository.run_components(session, chosen.run.id)
    overlaps: dict[int, list[Overlap]] = defaultdict(list)
    for overlap in list_overlaps(session, list(components), atlas=atlas, region=region):
        overlaps[overlap.component].append(overlap)
    ordered = sorted(overlaps.items(), key=lambda item: (*group_order(item[1]), item[0]))
    return RegionConceptsAnswer(
        atlas=atlas,
        region=region,
        **chosen.names,
        q_family=REGION_FAMILY,
        concepts=[
            RegionConcept(
                id=component,
                label=components[component].label,
                **claims_of(components[component]),
                auc=-group_order(members)[1],
                subjects=[region_overlap(each) for each in members],
            )
            for component, members in ordered[:k]
        ],
    )
