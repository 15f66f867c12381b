"""How a judged run looks in a terminal: what it is worth first."""

from app.concepts.claims import CLAIMS
from app.console import Cell, print_line, print_table
from app.runs.schemas import (
    Accuracy,
    Claimed,
    ConceptCounts,
    LearningPoint,
    MaskCounts,
    ParticipantReport,
    RunReport,
    VoxelCounts,
)


def print_run(answer: RunReport) -> None:
    """Verdict, warnings, concepts counted, then tables of participants."""
    print_line(f"verdict: {answer.verdict}")
    for warning in answer.warnings:
        print_line(f"warning: {warning}")
    if answer.held_back:
        print_line(f"not made current: {answer.held_back}")
    print_line()
    place = "current" if answer.current else "not current"
    print_line(
        f"run {answer.run} of {answer.dataset} ({place}; {answer.method}), {answer.encoder}, "
        f"seed {answer.seed}, {answer.published_at.isoformat(' ', 'minutes')}"
    )
    _print_concepts(answer.concepts)
    _print_participants(answer.participants)


def _print_concepts(told: ConceptCounts) -> None:
    print_line(
        f"{told.found} concepts found, {_or_unknown(told.carried)} of them carried by a participant"
    )
    if told.found_again is not None:
        print_line(
            f"{told.found_again} found again by {told.seeds} other seeds: cosine "
            f"{_figure(told.cosine)}, by chance {_figure(told.cosine_by_chance)}, with the start "
            f"of the search {_figure(told.start_cosine)}"
        )
    print_line()
    claims = [(name, getattr(told, name)) for name in (*CLAIMS, "shared")]
    print_table(
        ("claim", "holds", "fails", "not measured", "why not"),
        [(name, each.holds, each.fails, each.not_measured, _why(each)) for name, each in claims],
    )


def _print_participants(participants: list[ParticipantReport]) -> None:
    print_line()
    print_table(
        (
            *("subject", "trials", "test trials", "voxels", "dropped"),
            *("noise ceiling %", "above threshold"),
        ),
        [
            (
                each.subject,
                each.trials.development if each.trials else None,
                each.trials.test if each.trials else None,
                each.voxels.kept if each.voxels else None,
                _dropped(each.voxels),
                each.noise_ceiling.median
                if each.noise_ceiling
                else f"none: {each.missing['noise_ceiling']}",
                each.noise_ceiling.above if each.noise_ceiling else None,
            )
            for each in participants
        ],
    )
    print_line()
    print_table(
        ("subject", "accuracy", "decoder", "95 %", "ridge", "chance", "above chance"),
        [row for each in participants for row in _accuracies(each)],
    )
    curves = [(each.subject, point) for each in participants for point in each.learning_curve or []]
    if curves:
        print_line()
        print_table(
            ("subject", "share of trials", "trials", "pairwise accuracy of ridge", "95 %"),
            [(subject, *_point(point)) for subject, point in curves],
        )
    print_line()
    print_table(
        ("subject", "masks", "decoding", "of", "without", "untested"),
        [(each.subject, *_masks(each.masks)) for each in participants],
    )


def _accuracies(one: ParticipantReport) -> list[tuple[Cell, ...]]:
    if one.decoder is None:
        return [(one.subject, f"none: {one.missing['decoder']}", *[None] * 5)]
    rows: list[tuple[str, Accuracy]] = list(one.decoder.top.items())
    if one.decoder.pairwise is not None:
        rows.insert(0, ("pairwise", one.decoder.pairwise))
    return [
        (
            *(one.subject, name, told.decoder, _interval(told.low, told.high)),
            *(told.ridge, told.chance),
            one.decoder.above_chance if number == 0 else None,
        )
        for number, (name, told) in enumerate(rows)
    ]


def _point(point: LearningPoint) -> tuple[Cell, ...]:
    told: Cell = f"none: {point.reason}" if point.accuracy is None else point.accuracy
    return (point.share, point.trials, told, _interval(point.low, point.high))


def _masks(told: MaskCounts) -> tuple[Cell, ...]:
    return (
        *(told.feasible, told.decoding, told.of),
        *(_listed(told.without), _listed(told.untested)),
    )


def _dropped(told: VoxelCounts | None) -> str | None:
    if told is None:
        return None
    return _listed(told.dropped) or f"none of {told.in_mask}"


def _why(claimed: Claimed) -> str | None:
    return _listed(claimed.reasons)


def _listed(counts: dict[str, int]) -> str | None:
    return "; ".join(f"{reason}: {count}" for reason, count in counts.items()) or None


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:.2f} to {high:.2f}"


def _figure(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"


def _or_unknown(value: int | None) -> str:
    return "it is not known how many" if value is None else str(value)
