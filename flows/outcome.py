"""What came of a run, in a few words: how much is shared, and why the rest is not."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from app.concepts.claims import CLAIMS

Json = dict[str, Any]


def tell_outcome(labels: Sequence[str], masks: Sequence[Json], comparison: Json) -> Json:
    """Components found and shared, and the reasons of what counts for nothing.

    Parameters
    ----------
    labels : sequence of str
        Participants.
    masks : sequence of dict
        What `flows.mask.mask_subject` returned of each.
    comparison : dict
        What `flows.compare.compare_subjects` returned.

    Returns
    -------
    dict
        ``found`` and ``shared`` components; where there are any, ``not_shared``, how many for
        which reason (of the first claim that fails or was not measured), and by participant
        ``without_mask`` and ``untested``, likewise.
    """
    reasons = [_first(reason) for reason in comparison["reasons"]]
    by_participant = {
        "without_mask": [mask["reasons"] for mask in masks],
        "untested": comparison["untested"],
    }
    told: Json = {"found": len(reasons), "shared": reasons.count(None)}
    if counted := _count(reasons):
        told["not_shared"] = counted
    for name, rows in by_participant.items():
        counts = {
            label: counted
            for label, row in zip(labels, rows, strict=True)
            if (counted := _count(row))
        }
        if counts:
            told[name] = counts
    return told


def _first(reason: Json | str | None) -> str | None:
    """Why a component is not shared: of the first of its claims that there is a reason of."""
    if not isinstance(reason, dict):
        return reason
    return next((reason[claim] for claim in CLAIMS if claim in reason), None)


def _count(reasons: Iterable[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(reason for reason in reasons if reason is not None).items()))
