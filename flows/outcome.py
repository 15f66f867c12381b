"""What came of a run, in a few words: how much is shared, and why the rest is not."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from app.store import Artefact
from flows.publish_claims import component_columns
from flows.stages import get_store

Json = dict[str, Any]


def tell_outcome(labels: Sequence[str], masks: Sequence[Json], comparison: Json) -> Json:
    """Components found and shared, and the reasons of what counts for nothing.

    Parameters
    ----------
    labels : sequence of str
        Participants.
    masks : sequence of dict
        What `flows.locate.locate_subject` returned of each.
    comparison : dict
        What `flows.compare.compare_subjects` returned.

    Returns
    -------
    dict
        ``found`` and ``shared`` components; where there are any, ``not_shared``, how many for
        which reason (the one that the catalog tells of a component), and by participant
        ``without_mask`` and ``untested``, likewise.
    """
    verdicts = get_store().get(Artefact.model_validate(comparison["comparison"]))
    components = component_columns(verdicts, comparison["reasons"], len(comparison["reasons"]))
    by_participant = {
        "without_mask": [mask["reasons"] for mask in masks],
        "untested": comparison["untested"],
    }
    told: Json = {
        "found": len(components),
        "shared": sum(component["shared"] is True for component in components),
    }
    if counted := _count(component["reason"] for component in components):
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


def _count(reasons: Iterable[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(reason for reason in reasons if reason is not None).items()))
