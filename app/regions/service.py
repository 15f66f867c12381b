"""The regions there are, and which of them to name first."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from sqlalchemy.orm import Session

from app.database.models import Dataset, Run
from app.errors import ConflictError, NotFoundError
from app.paging import PAGE, Page, check_limit, page_of, read_cursor
from app.regions import repository
from app.regions.repository import Overlap
from app.regions.schemas import RegionAnswer, RegionOverlap, RegionSummary, Space
from app.runs.service import require_dataset, require_subject
from app.texts import known_names

SIGNIFICANT = 0.05
REGION_FAMILY = (
    "region q: Benjamini-Hochberg over all components x regions of one atlas, in one participant "
    "of the run"
)


def level_of(run: Run) -> float:
    """The q, and the p, up to which a run calls something found."""
    statistics = run.configuration.get("statistics")
    level = statistics.get("level") if isinstance(statistics, dict) else None
    return float(level) if isinstance(level, int | float) else SIGNIFICANT


def list_regions(
    session: Session,
    *,
    dataset: str | None = None,
    atlas: str | None = None,
    subject: str | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
) -> Page[RegionSummary]:
    """The regions of datasets, in the order they came into the catalog.

    Parameters
    ----------
    session : Session
    dataset, atlas : str, optional
        Of this dataset, of this atlas alone.
    subject : str, optional
        Where this participant has voxels, with theirs alone.
    cursor : str, optional
        Where the page before ended.
    limit : int
        Regions a page.

    Raises
    ------
    NotFoundError
        There is no such dataset, or it has no such atlas or participant; or the cursor is none.
    InputError
        `limit` cannot be used.
    """
    check_limit(limit)
    after = read_cursor(cursor)
    if dataset is not None:
        where = require_dataset(session, dataset)
        if atlas is not None:
            require_atlas(session, where, atlas)
        if subject is not None:
            require_subject(session, where, subject)
    rows, total = repository.list_regions(
        session, dataset=dataset, atlas=atlas, subject=subject, after=after, limit=limit + 1
    )
    ids = [row.Region.id for row in rows]
    voxels = repository.count_voxels(session, ids, subject)
    items = [
        RegionSummary(
            dataset=row.slug,
            atlas=row.Region.atlas,
            region=row.Region.name,
            voxels=voxels.get(row.Region.id, {}),
        )
        for row in rows
    ]
    return page_of(items, ids, total, limit)


def require_owner(space: Space, subject: str | None) -> None:
    """Refuse native mm of nobody.

    Raises
    ------
    ConflictError
        No participant is named.
    """
    if space == "native" and subject is None:
        raise ConflictError(
            "native mm are each participant's own, and none is named", hint="name the subject"
        )


def require_atlas(session: Session, dataset: Dataset, atlas: str) -> None:
    """Refuse an atlas that the dataset does not have.

    Raises
    ------
    NotFoundError
        The hint lists those that it has.
    """
    known = repository.atlases(session, dataset.id)
    if atlas not in known:
        raise NotFoundError(
            f"the dataset {dataset.slug} has no atlas {atlas!r}",
            hint=known_names(known, atlas) if known else "it has no regions",
        )


def require_region(session: Session, dataset: Dataset, atlas: str, region: str) -> None:
    """Refuse a region that the dataset's atlas does not have.

    Raises
    ------
    NotFoundError
        The hint lists those that it has, or the dataset's atlases.
    """
    require_atlas(session, dataset, atlas)
    known = repository.regions(session, dataset.id, atlas)
    if region not in known:
        raise NotFoundError(
            f"the atlas {atlas} of {dataset.slug} has no region {region!r}",
            hint=known_names(known, region),
        )


def rank_overlaps(overlaps: Iterable[Overlap], regions: int | None = None) -> list[Overlap]:
    """One concept's overlaps, from the region that a scientist would name first.

    Regions come in the order of their mean AUC over the participants whose brains decode the
    concept (over all where none does), after those that are significant (q < 0.05) in at least
    half of these participants. Within a region, significant participants come first, then the
    larger AUC.

    Parameters
    ----------
    overlaps : iterable of Overlap
        Of one component.
    regions : int, optional
        How many regions to keep, with all their participants.
    """
    groups: dict[tuple[str, str], list[Overlap]] = defaultdict(list)
    for overlap in overlaps:
        groups[overlap.atlas, overlap.region].append(overlap)
    ordered = sorted(groups.items(), key=lambda item: (*group_order(item[1]), item[0]))
    return [
        overlap
        for _, members in ordered[:regions]
        for overlap in sorted(
            members, key=lambda each: (each.q_value >= SIGNIFICANT, -each.auc, each.subject)
        )
    ]


def apart_by_level(
    ranked: Iterable[Overlap], level: float, regions: int | None = None
) -> tuple[list[Overlap], list[Overlap]]:
    """Overlaps of regions that carry a concept (q at most the run's level), and the others.

    Parameters
    ----------
    ranked : iterable of Overlap
        As `rank_overlaps` gives them; both lists keep their order.
    level : float
    regions : int, optional
        How many regions to keep of either, with all their participants there.
    """
    carrying: list[Overlap] = []
    weaker: list[Overlap] = []
    for overlap in ranked:
        (carrying if overlap.q_value <= level else weaker).append(overlap)
    return _of_first_regions(carrying, regions), _of_first_regions(weaker, regions)


def _of_first_regions(overlaps: list[Overlap], regions: int | None) -> list[Overlap]:
    names = list(dict.fromkeys((each.atlas, each.region) for each in overlaps))[:regions]
    return [each for each in overlaps if (each.atlas, each.region) in names]


def best_regions(
    overlaps: Iterable[Overlap], similarity: Mapping[int, float]
) -> list[RegionAnswer]:
    """Each participant's regions, by how well they carry what was asked, best first.

    A region's score is ``similarity x (2 AUC - 1)``, the best over the concepts of positive
    similarity; ``catalog.search_regions`` computes the same.

    Parameters
    ----------
    overlaps : iterable of Overlap
    similarity : mapping of int to float
        Of each component with the prompt.
    """
    best: dict[tuple[str, str, str], tuple[float, Overlap]] = {}
    for overlap in sorted(overlaps, key=lambda each: each.component):
        if similarity[overlap.component] <= 0:
            continue
        score = similarity[overlap.component] * (2 * overlap.auc - 1)
        place = (overlap.subject, overlap.atlas, overlap.region)
        if place not in best or score > best[place][0]:
            best[place] = (score, overlap)
    ordered = sorted(best.items(), key=lambda item: (-item[1][0], item[0]))
    return [region_answer(overlap, score) for _, (score, overlap) in ordered]


def region_answer(overlap: Overlap, score: float) -> RegionAnswer:
    """An overlap with its score for a prompt."""
    return RegionAnswer(
        subject=overlap.subject,
        atlas=overlap.atlas,
        region=overlap.region,
        score=score,
        auc=overlap.auc,
        auc_low=overlap.auc_low,
        auc_high=overlap.auc_high,
        p_value=overlap.p_value,
        q_value=overlap.q_value,
        n_voxels=overlap.n_voxels,
        responds=overlap.responds,
        **dict(overlap.peak),
    )


def region_overlap(overlap: Overlap) -> RegionOverlap:
    """An overlap as it stands, asked by nobody's words."""
    return RegionOverlap(
        subject=overlap.subject,
        atlas=overlap.atlas,
        region=overlap.region,
        auc=overlap.auc,
        auc_low=overlap.auc_low,
        auc_high=overlap.auc_high,
        dice=overlap.dice,
        p_value=overlap.p_value,
        q_value=overlap.q_value,
        n_voxels=overlap.n_voxels,
        responds=overlap.responds,
        **dict(overlap.peak),
    )


def group_order(members: Sequence[Overlap]) -> tuple[bool, float]:
    """What a concept's overlaps with one region are ordered by, the best first.

    Whether fewer than half of the participants who decode the concept (of all, where none does)
    are significant, then their mean AUC, negated.
    """
    judges = [each for each in members if each.decodes] or members
    significant = sum(each.q_value < SIGNIFICANT for each in judges)
    return 2 * significant < len(judges), -fmean(each.auc for each in judges)
