"""How many of a run's concepts are what is claimed, and why the others are not."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from app.concepts.claims import CLAIMS
from app.database.models import Component, ComponentSubject
from app.runs.schemas import Claimed, ConceptCounts, MaskCounts

Json = dict[str, Any]


def count_concepts(
    components: Sequence[Component], masks: Sequence[ComponentSubject], metrics: Json
) -> ConceptCounts:
    """What came of a run's concepts.

    Parameters
    ----------
    components : sequence of Component
    masks : sequence of ComponentSubject
        Of these components, in all participants.
    metrics : dict
        `Run.metrics`.
    """
    stability = metrics.get("stability", {})
    cosine = stability.get("cosine", {})
    report = metrics.get("components", {})
    starts = [one.start_cosine for one in components if one.start_cosine is not None]
    return ConceptCounts(
        found=len(components),
        carried=_carried(components, masks),
        **{claim: _of_claim(components, claim) for claim in CLAIMS},
        shared=_claimed(
            (one.shared for one in components), (one.reason for one in components if not one.shared)
        ),
        found_again=report.get("found_again", stability.get("found_again")),
        seeds=len(stability["seeds"]) if "seeds" in stability else None,
        cosine=cosine.get("mean"),
        cosine_by_chance=cosine.get("runner_up"),
        start_cosine=sum(starts) / len(starts) if starts else None,
    )


def count_masks(masks: Sequence[ComponentSubject]) -> MaskCounts:
    """What came of one participant's masks of all concepts."""
    usable = [one for one in masks if has_mask(one)]
    return MaskCounts(
        feasible=len(usable),
        decoding=sum(one.decodes is True for one in usable),
        of=len(masks),
        without=_count(one.reason for one in masks if not has_mask(one)),
        untested=_count(one.reason for one in usable if one.decodes is None),
    )


def has_mask(one: ComponentSubject) -> bool:
    """Whether any voxel is known to be needed; of clusters, and before that was told, to be in."""
    return (one.n_voxels if one.n_needed is None else one.n_needed) > 0


def _carried(components: Sequence[Component], masks: Sequence[ComponentSubject]) -> int | None:
    """Components that some mask decodes; None where there is none, and a mask was not tested."""
    carried = {one.component_id for one in masks if one.decodes}
    if not carried and any(has_mask(one) and one.decodes is None for one in masks):
        return None
    # Rows that say nothing of participants are those of a run that has lost them.
    if components and not masks:
        return None
    return len(carried)


def _of_claim(components: Sequence[Component], claim: str) -> Claimed:
    return _claimed(
        (getattr(one, claim) for one in components),
        (one.reasons.get(claim) for one in components if not getattr(one, claim)),
    )


def _claimed(values: Iterable[bool | None], reasons: Iterable[str | None]) -> Claimed:
    told = list(values)
    return Claimed(
        holds=told.count(True),
        fails=told.count(False),
        not_measured=told.count(None),
        reasons=_count(each or "no reason is known" for each in reasons),
    )


def _count(reasons: Iterable[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(reason for reason in reasons if reason is not None).items()))
