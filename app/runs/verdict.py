"""What a run is worth, in words: one sentence first, then what to mind."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.runs.schemas import Claimed, ConceptCounts, ParticipantReport

Json = dict[str, Any]

NOTHING = "this run found nothing"
NO_CEILING = "noise_ceiling"


def tell_verdict(concepts: ConceptCounts, nothing: str = "") -> str:
    """What came of a run, in one sentence.

    Parameters
    ----------
    concepts : ConceptCounts
    nothing : str
        Why a run ended without any component.
    """
    found, shared = concepts.found, concepts.shared
    if found == 0:
        return f"{NOTHING}: {nothing or 'no component was found'}"
    each = "its one concept is" if found == 1 else f"none of its {found} concepts is"
    if concepts.carried == 0:
        told = f"{each} not" if found == 1 else each
        return f"{NOTHING}: {told} carried by any participant"
    counted = _counted(found, "concept")
    if shared.holds:
        whose = "shared by participants"
        return f"{counted}, {shared.holds} {whose}" if found > 1 else f"{counted}, {whose}"
    if shared.fails:
        none = "none shared" if found > 1 else "not shared"
        return f"{counted}, {none}: {_first(shared, found)}"
    return f"{counted}, not known whether participants share any: {_first(shared, found)}"


def tell_warnings(
    concepts: ConceptCounts, participants: Sequence[ParticipantReport], further: Iterable[str]
) -> list[str]:
    """What to mind of a run, a sentence each; the gravest first.

    Parameters
    ----------
    concepts : ConceptCounts
    participants : sequence of ParticipantReport
    further : iterable of str
        What one finding alone could not show, and what the encoder did not read of captions, as
        the run told it.
    """
    return [
        *_of_decoders(participants),
        *_of_ceilings(participants),
        *_of_components(concepts, len(participants)),
        *(line for each in participants for line in _of_masks(each)),
        *further,
    ]


def _of_decoders(participants: Sequence[ParticipantReport]) -> list[str]:
    lines = []
    for one in participants:
        told = one.decoder
        if told is None or told.above_chance is None:
            why = one.missing.get("decoder", "its accuracy has no interval, or no known chance")
            lines.append(f"it is not known whether {one.subject} decodes anything: {why}")
        elif not told.above_chance:
            lines.append(
                f"this run tells nothing of {one.subject}: its decoder is not above chance"
            )
        elif told.against_ridge is not None and told.against_ridge.high < 0:
            lines.append(f"the decoder of {one.subject} does worse than ridge")
    return lines


def _of_ceilings(participants: Sequence[ParticipantReport]) -> list[str]:
    """A line for each reason that participants have no noise ceiling for, older runs left out."""
    without: dict[str, list[str]] = {}
    for one in participants:
        why = one.missing.get(NO_CEILING)
        if why is not None and one.voxels is not None:
            without.setdefault(why, []).append(one.subject)
    return [
        f"no noise ceiling: {why}"
        if len(whose) == len(participants)
        else f"no noise ceiling of {', '.join(whose)}: {why}"
        for why, whose in without.items()
    ]


def _of_components(concepts: ConceptCounts, participants: int) -> list[str]:
    found = concepts.found
    if found == 0:
        return []
    lines = []
    if concepts.found_again is None:
        lines.append("it was not measured whether components are found again")
    elif concepts.found_again == 0:
        lines.append("components were not found again by other seeds")
    elif concepts.found_again < found / 2:
        lines.append(
            f"of {found} components {concepts.found_again} were found again by other seeds"
        )
    if participants == 1:
        lines.append("one participant: whether a concept is shared cannot be told")
    return lines


def _of_masks(one: ParticipantReport) -> list[str]:
    """A line where a participant has masks of fewer than half of the concepts, or untested ones."""
    masks, lines = one.masks, []
    if masks.feasible < masks.of / 2:
        why = f" ({_most(masks.without)})" if masks.without else ""
        lines.append(f"masks: {masks.feasible} of {masks.of} feasible in {one.subject}{why}")
    if masks.untested:
        lines.append(f"masks of {one.subject} were not tested: {_most(masks.untested)}")
    return lines


def _first(claimed: Claimed, found: int) -> str:
    reason, count = max(claimed.reasons.items(), key=lambda each: each[1])
    return reason if count == found else f"{reason} ({count} of {found})"


def _most(reasons: Mapping[str, int]) -> str:
    return ", ".join(
        f"{reason}: {count}"
        for reason, count in sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
