"""What came of a run, in a few words, out of its judgement (`app.runs.report`)."""

from typing import Any

from app.runs.schemas import Judgement

Json = dict[str, Any]


def tell_outcome(judged: Judgement) -> Json:
    """Components found and shared, and the reasons of what counts for nothing.

    Returns
    -------
    dict
        ``found`` and ``shared`` components; where there are any, ``not_shared``, how many for
        which reason (the one that the catalog tells of a component), and by participant
        ``without_mask`` and ``untested``, likewise.
    """
    told: Json = {"found": judged.concepts.found, "shared": judged.concepts.shared.holds}
    if judged.concepts.shared.reasons:
        told["not_shared"] = judged.concepts.shared.reasons
    for name, field in (("without_mask", "without"), ("untested", "untested")):
        counts = {
            one.subject: counted
            for one in judged.participants
            if (counted := getattr(one.masks, field))
        }
        if counts:
            told[name] = counts
    return told


def next_command(dataset: str, run: int, judged: Judgement, *, held_back: bool) -> str:
    """What to do with a run that was published, as a command and what it is for."""
    if judged.found_nothing and held_back:
        return f"sdc runs {run} (why); sdc runs --promote {run} (let it answer all the same)"
    if held_back:
        return f"sdc runs {run}; sdc runs --promote {run} (let it answer all the same)"
    if judged.concepts.found == 0:
        return f"sdc runs {run}"
    return f"sdc search 'a photo of a face' --dataset {dataset}; sdc runs {run}"
