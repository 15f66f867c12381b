"""How answers look to a person who asked in a terminal.

Of schemas the names alone are used here: one kind of answer is printed, and all of them take time
to load.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from app.concepts.claims import CLAIMS
from app.console import Cell, note, print_facts, print_line, print_table

if TYPE_CHECKING:
    from app.concepts.claims import Prevalence
    from app.concepts.schemas import (
        ConceptAnswer,
        ConceptHit,
        ConceptSummary,
        Example,
        SimilarAnswer,
        Stability,
    )
    from app.datasets.schemas import DatasetList
    from app.doctor.schemas import Report
    from app.garbage.schemas import Garbage
    from app.ingestions.schemas import IngestionAnswer, LogLine
    from app.keys.schemas import KeyList, NewKey
    from app.maps.schemas import MapAnswer
    from app.networks.schemas import NetworkAnswer
    from app.paging import Page
    from app.regions.schemas import Millimetres, PeakPlace, RegionAnswer, Space
    from app.runs.schemas import RunList
    from app.schedules.schemas import ScheduleList
    from app.search.schemas import FoundConcept, SearchAnswer
    from app.terms.schemas import TermsReport
    from app.triggers.schemas import TriggerList
    from app.validation.schemas import CategoryResult, ValidationAnswer
    from app.voxels.schemas import VoxelsAnswer

SHOWN_REGIONS = 20
SHOWN_EDGES = 20
CONCEPT_COLUMNS = ("concept", "label", "similarity", "shared", "subjects", "q", "stable")


def print_search(answer: SearchAnswer) -> None:
    """Whether anything is near, concepts with the region to name first, regions per participant."""
    missed = _print_miss(answer, "this run")
    print_line(
        f"{_asked(answer)} in {answer.dataset}, run {answer.run} ({answer.method}), "
        f"{answer.encoder}"
    )
    _print_unmeasured(answer)
    _print_warnings(answer.warnings)
    if missed:
        print_line("the nearest concepts, none of them near:")
    print_line()
    print_table(
        (*CONCEPT_COLUMNS, "region"),
        [(*_hit(each), _where(each)) for each in answer.concepts],
    )
    print_line()
    if answer.regions:
        print_regions(answer.regions)
        if answer.weaker_regions:
            print_line("others carry none of them: --json tells these as weaker_regions")
        return
    print_line("no region carries any of them at the run's level of q")
    if answer.place is not None:
        print_line(f"the nearest is strongest {_place(answer.place)}")
    if answer.weaker_regions:
        print_line()
        print_line("the best of the others, which are no finding:")
        print_regions(answer.weaker_regions)


def print_regions(regions: Sequence[RegionAnswer]) -> None:
    """Regions per participant, a line each."""
    print_table(
        (
            *("subject", "atlas", "region", "score", "AUC", "q", "voxels", "responds"),
            *("peak mm", "space"),
        ),
        [
            (
                *(each.subject, each.atlas, each.region, each.score, each.auc),
                *(each.q_value, each.n_voxels, each.responds),
                *_peak(each.peak_mm, each.space),
            )
            for each in regions
        ],
    )


def print_voxels(answer: VoxelsAnswer) -> None:
    """Whether any concept is near, then voxels, one a line."""
    _print_miss(answer, "this run" if len(answer.runs) == 1 else "these runs")
    print_line(f"{_asked(answer)} in {', '.join(answer.datasets)}, {answer.encoder}")
    _print_unmeasured(answer)
    _print_warnings(answer.warnings)
    if not answer.exact:
        print_line("through an index, which finds nearly all of the nearest")
    print_line()
    print_table(
        ("voxel", "dataset", "run", "subject", "similarity", "mm", "space", "regions"),
        [
            (
                *(each.id, each.dataset, each.run, each.subject, each.similarity),
                *_peak(each.mni_mm or each.native_mm, "MNI" if each.mni_mm else "native"),
                ", ".join(each.regions) or None,
            )
            for each in answer.voxels
        ],
    )


def print_map(answer: MapAnswer) -> None:
    """Concepts, then how many voxels of each participant the map covered."""
    print_line(
        f"{answer.map} ({answer.space}) in {answer.dataset}, run {answer.run} ({answer.method}), "
        f"{answer.encoder}; {answer.permutations} surrogate maps"
    )
    print_line()
    print_table(
        ("concept", "label", "correlation", "p", "q", "shared", "by subject"),
        [
            (
                *(each.id, each.label, each.correlation, each.p_value, each.q_value),
                _verdict(each.shared),
                ", ".join(f"{one.subject} {one.correlation:.3f}" for one in each.subjects),
            )
            for each in answer.concepts
        ],
    )
    print_line()
    print_table(("subject", "voxels covered"), list(answer.voxels.items()))
    _print_warnings(answer.warnings)


def print_ingestions(items: Sequence[IngestionAnswer], total: int) -> None:
    """Ingestions that were asked for, a line each."""
    print_table(
        ("id", "state", "dataset", "source", "attempt", "asked", "run", "what"),
        [
            (
                each.id,
                each.state,
                each.dataset,
                each.source,
                each.attempt,
                f"{each.created_at:%Y-%m-%d %H:%M}",
                each.run,
                each.error or each.progress,
            )
            for each in items
        ],
    )
    if total > len(items):
        note(f"{total - len(items)} more; --limit tells more of them")


def print_ingestion(answer: IngestionAnswer, lines: Sequence[LogLine]) -> None:
    """An ingestion that was asked for, and the last lines of its log."""
    facts = answer.model_dump(mode="json")
    told = {
        name: json.dumps(value) if isinstance(value, dict) else value
        for name, value in facts.items()
        if value not in (None, "", {})
    }
    print_facts(told)
    if lines:
        print_line()
        for line in lines:
            print_line(f"{line.at:%Y-%m-%d %H:%M:%S} {line.level} {line.message}")


def print_triggers(answer: TriggerList) -> None:
    """Triggers, a line each."""
    print_table(
        ("id", "kind", "folder", "then run", "settles in s"),
        [
            (each.id, each.kind, each.source, each.then_run, each.settle_s)
            for each in answer.triggers
        ],
    )


def print_schedules(answer: ScheduleList) -> None:
    """Schedules, a line each."""
    print_table(
        ("id", "source", "when", "next", "then run"),
        [
            (
                each.id,
                each.source,
                f"{each.cron} ({each.timezone})" if each.cron else f"every {each.every_s} s",
                f"{each.next_at:%Y-%m-%d %H:%M}" if each.next_at else None,
                each.then_run,
            )
            for each in answer.schedules
        ],
    )


def print_new_key(answer: NewKey) -> None:
    """A key's secret, alone on standard output; what it is for beside it."""
    until = "for ever" if answer.expires_at is None else f"until {answer.expires_at:%Y-%m-%d}"
    note(f"key {answer.id} ({', '.join(answer.scopes)}) holds {until}; it is shown this once:")
    print_line(answer.key)


def print_keys(answer: KeyList) -> None:
    """Keys, one a line."""
    print_table(
        ("key", "name", "scopes", "datasets", "made", "expires", "revoked", "last used"),
        [
            (
                each.id,
                each.name,
                ", ".join(each.scopes),
                ", ".join(each.datasets) or None,
                *(
                    None if day is None else f"{day:%Y-%m-%d}"
                    for day in (
                        *(each.created_at, each.expires_at),
                        *(each.revoked_at, each.last_used_at),
                    )
                ),
            )
            for each in answer.keys
        ],
    )


def print_similar(answer: SimilarAnswer) -> None:
    """The concepts near to one."""
    print_line(
        f"near to concept {answer.id} ({answer.label}), run {answer.run} ({answer.method}), "
        f"{answer.encoder}"
    )
    print_line()
    print_table(
        (*CONCEPT_COLUMNS, "dataset", "run", "method"),
        [(*_hit(each), each.dataset, each.run, each.method) for each in answer.concepts],
    )


def print_concepts(answer: Page[ConceptSummary]) -> None:
    """Concepts of a list, a line each."""
    print_table(
        ("concept", "label", "dataset", "run", "shared", *CLAIMS, "subjects", "q", "reason"),
        [
            (
                *(each.id, each.label, each.dataset, each.run, _verdict(each.shared)),
                *(_verdict(getattr(each, claim)) for claim in CLAIMS),
                *(each.subjects, each.q_value, each.reason),
            )
            for each in answer.items
        ],
    )
    if answer.next is not None:
        note(f"{answer.total} in all; --cursor {answer.next} tells the next of them")


def print_concept(answer: ConceptAnswer) -> None:
    """Everything about one concept; the regions that say most of it alone."""
    print_facts(
        {
            "concept": answer.id,
            "label": answer.label,
            "terms": answer.terms,
            "negations": answer.negation.terms,
            "dataset": answer.dataset,
            "run": f"{answer.run}{'' if answer.current else ' (an older one)'}",
            "method": answer.method,
            "encoder": answer.encoder,
            "shared": _verdict(answer.shared),
            "subjects that decode it": answer.subjects,
        }
        | _prevalence(answer.prevalence)
        | _stability(answer)
        | ({"reason": answer.reason} if answer.reason else {})
    )
    print_line()
    print_table(("claim", "holds", "p", "q", "figure", "reason"), _claims(answer))
    print_line()
    print_table(
        (
            *("subject", "decodes", "r hard", "95 %", "r normalised", "p", "q", "r soft", "p soft"),
            *("r unmasked", "p unmasked", "p specific", "r without", "p without"),
            *("voxels", "responds", "voxels needed", "peak mm", "space", "reason"),
        ),
        [
            (
                *(each.subject, _verdict(each.decodes), each.r_hard),
                *(_interval(each.r_low, each.r_high), each.r_normalised),
                *(each.p_value, each.q_value, each.r_soft, each.p_soft),
                *(each.r_unmasked, each.p_unmasked, each.specific_p),
                *(each.replication_r, each.replication_p),
                *(each.n_voxels, each.responds, each.n_needed),
                *_peak(each.peak_mm, each.space),
                each.reason,
            )
            for each in answer.statistics
        ],
    )
    print_line()
    print_table(
        (
            *("subject", "atlas", "region", "AUC", "95 %", "Dice", "p", "q", "voxels"),
            *("responds", "peak mm", "space"),
        ),
        [
            (
                *(each.subject, each.atlas, each.region, each.auc),
                *(_interval(each.auc_low, each.auc_high), each.dice),
                *(each.p_value, each.q_value, each.n_voxels, each.responds),
                *_peak(each.peak_mm, each.space),
            )
            for each in answer.regions[:SHOWN_REGIONS]
        ],
    )
    if len(answer.regions) > SHOWN_REGIONS:
        print_line(f"and {len(answer.regions) - SHOWN_REGIONS} more: --json tells all")
    for title, examples in (("best", answer.best), ("worst", answer.worst)):
        print_line()
        print_table((f"{title} stimuli", "score", "captions"), _examples(examples))
    print_line()
    print_table(
        ("farthest stimuli", "similarity", "captions"),
        [
            (each.stimulus, each.similarity, _first(each.captions))
            for each in answer.negation.stimuli
        ],
    )


def print_network(answer: NetworkAnswer) -> None:
    """Communities with their concepts, then the strongest edges alone."""
    communities = {node.community for node in answer.nodes}
    print_line(
        f"{answer.subject} in {answer.dataset}, run {answer.run} ({answer.method}), "
        f"{answer.encoder}: "
        f"{len(answer.nodes)} concepts, {len(answer.edges)} edges, {len(communities)} communities"
    )
    print_line()
    print_table(
        ("community", "concept", "label", "shared", "voxels", "responds", "strength"),
        [
            (
                *(each.community, each.id, each.label, _verdict(each.shared)),
                *(each.n_voxels, each.responds, each.strength),
            )
            for each in answer.nodes
        ],
    )
    print_line()
    label = {node.id: node.label for node in answer.nodes}
    print_table(
        ("concept", "label", "concept", "label", "weight", "Dice", "q", "cosine"),
        [
            (
                *(each.source, label[each.source], each.target, label[each.target]),
                *(each.weight, each.dice, each.q_value, each.cosine),
            )
            for each in answer.edges[:SHOWN_EDGES]
        ],
    )
    if len(answer.edges) > SHOWN_EDGES:
        print_line(f"and {len(answer.edges) - SHOWN_EDGES} more: --json tells all")


def print_validation(answer: ValidationAnswer) -> None:
    """A line a category, then every participant, then every region."""
    from app.regions.service import SIGNIFICANT

    print_line(
        f"{answer.dataset}, run {answer.run} ({answer.method}), {answer.encoder}; {answer.choice}"
    )
    print_line()
    print_table(
        (
            *("category", "prompt", "atlas", "concept", "label", "similarity", "shared"),
            *("AUC", "Dice", "rho", f"q < {SIGNIFICANT:g}", "reason"),
        ),
        [_category(each) for each in answer.categories],
    )
    print_line()
    print_table(
        (
            *("category", "subject", "decodes", "responds", "AUC", "Dice", "p", "q", "rho"),
            *("t-map", "voxels", "of region", "reason"),
        ),
        [
            (
                *(one.category, each.subject, _verdict(each.decodes), each.responds),
                *(each.auc, each.dice, each.p_value, each.q_value, each.rho, each.map),
                *(each.n_voxels, each.n_region, each.reason),
            )
            for one in answer.categories
            for each in one.subjects
        ],
    )
    print_line()
    print_table(
        ("category", "subject", "region", "AUC", "Dice", "p", "q", "voxels", "of region"),
        [
            (
                *(one.category, each.subject, part.region, part.auc, part.dice),
                *(part.p_value, part.q_value, part.n_voxels, part.n_region),
            )
            for one in answer.categories
            for each in one.subjects
            for part in each.regions
        ],
    )


def print_datasets(answer: DatasetList) -> None:
    """All datasets."""
    print_table(
        (
            "dataset",
            "title",
            "subjects",
            "stimuli",
            "atlases",
            "run",
            "method",
            "encoder",
            "licence",
        ),
        [
            (
                *(each.dataset, each.title, each.subjects, each.stimuli),
                *(each.atlases, each.run, each.method, each.encoder, each.licence),
            )
            for each in answer.datasets
        ],
    )


def print_runs(answer: RunList) -> None:
    """All runs, the current ones marked."""
    print_table(
        (
            *("run", "current", "dataset", "encoder", "method", "concepts", "shared"),
            *("not measured", "reproducible", "seed", "published"),
        ),
        [
            (
                *(each.run, "*" if each.current else "", each.dataset, each.encoder, each.method),
                *(each.components, each.shared, each.not_measured),
                *(_verdict(each.reproducible), each.seed),
                each.published_at.isoformat(" ", "minutes"),
            )
            for each in answer.runs
        ],
    )


def print_terms(answer: TermsReport) -> None:
    """What was added."""
    print_table(
        ("encoder", "added", "known already", "seconds"),
        [(each.encoder, each.added, each.known, each.seconds) for each in answer.encoders],
    )
    for each in answer.encoders:
        _print_warnings(each.warnings)


def print_report(report: Report) -> None:
    """A line a check: fine, or the fault and what to do."""
    for check in report.checks:
        hint = f" ({check.hint})" if check.hint else ""
        print_line(f"{'ok   ' if check.ok else 'fault'}  {check.name}: {check.detail}{hint}")


def print_garbage(garbage: Garbage) -> None:
    """What was deleted, or would be, in one line."""
    print_line(
        f"{'would delete' if garbage.dry_run else 'deleted'} {garbage.artefacts} artefacts, "
        f"{garbage.results} remembered results and {garbage.unfinished} unfinished files: "
        f"{garbage.bytes / 1e6:.1f} MB ({garbage.kept} artefacts stay)"
    )


def _asked(answer: SearchAnswer | VoxelsAnswer) -> str:
    """The question as it was understood."""
    asked = f'"{answer.query}"'
    asked += "".join(f' + "{each}"' for each in answer.plus)
    asked += "".join(f' - "{each}"' for each in answer.minus)
    if answer.negated:
        asked = f"not ({asked})"
    return asked if answer.prompt == ["{}"] else f"{asked} as {', '.join(answer.prompt)}"


def _print_miss(answer: SearchAnswer | VoxelsAnswer, where: str) -> bool:
    """Say that nothing is near, where nothing is, and what to ask instead; whether it was so."""
    if answer.match is None or answer.match.matched:
        return False
    asked = _asked(answer)
    quoted = f"'{answer.query}'" if asked == f'"{answer.query}"' else asked
    print_line(f"no concept of {where} is near to {quoted} (p {answer.match.p_value:.2f})")
    if answer.match.nearest_words:
        print_line(f"words that are near to it: {', '.join(answer.match.nearest_words)}")
    print_line()
    return True


def _print_unmeasured(answer: SearchAnswer | VoxelsAnswer) -> None:
    if answer.match_reason is not None:
        print_line(f"whether a concept is near to it was not measured: {answer.match_reason}")


def _print_warnings(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print_line(f"warning: {warning}")


def _hit(hit: ConceptHit) -> tuple[Cell, ...]:
    found = (hit.id, hit.label, hit.similarity, _verdict(hit.shared), hit.subjects, hit.q_value)
    return (*found, _dice_of_seeds(hit.stability))


def _where(found: FoundConcept) -> str | None:
    """The region to name first, or the place where no region carries the concept."""
    if found.regions:
        return _named(found.regions[0])
    return None if found.place is None else f"none; {_place(found.place)}"


def _place(place: PeakPlace) -> str:
    """A peak's mm and what lies there, in words."""
    mm, space = _peak(place.peak_mm, place.space)
    told = f"at {mm} {space} mm in {place.subject}"
    if place.label is None:
        return told
    near = "in" if not place.distance_mm else f"{place.distance_mm:.0f} mm from"
    return f"{told}, {near} {place.label} ({place.atlas})"


def _named(region: RegionAnswer) -> str:
    less = " (responds less)" if region.responds == "less" else ""
    return f"{region.atlas}:{region.region}{less}"


def _verdict(holds: bool | None) -> Cell:
    return "not measured" if holds is None else holds


def _claims(answer: ConceptAnswer) -> list[tuple[Cell, ...]]:
    """A line a claim: whether it holds, how sure that is, what it rests on, and why not."""
    stability = answer.stability
    found = [
        f"cosine {stability.cosine:.2f}" if stability and stability.cosine is not None else None,
        f"chance {stability.chance:.2f}" if stability and stability.chance is not None else None,
        None
        if answer.replicated is None
        else f"found again in {answer.replicated} of {len(answer.statistics)} participants",
    ]
    figures: dict[str, tuple[Cell, ...]] = {
        "decodable": (
            *(answer.p_value, answer.q_value),
            f"{len(answer.subjects)} of {len(answer.statistics)} participants",
        ),
        "specific": (answer.specific_p, answer.specific_q, None),
        "agreeing": (
            *(answer.agreement_p, answer.agreement_q),
            None if answer.agreement is None else f"correlation {answer.agreement:.2f}",
        ),
        "stable": (None, None, ", ".join(each for each in found if each) or None),
    }
    return [
        (claim, _verdict(getattr(answer, claim)), *figures[claim], answer.reasons.get(claim))
        for claim in CLAIMS
    ]


def _prevalence(found: Prevalence | None) -> dict[str, Cell]:
    if found is None:
        return {}
    interval = _interval(found.low, found.high)
    return {"prevalence": f"{found.estimate:.2f}" + (f" ({interval})" if interval else "")}


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:.2f} to {high:.2f}"


def _dice_of_seeds(stability: Stability | None) -> Cell:
    """Mask Dice with other seeds' masks, and how many seeds that is the mean of."""
    if stability is None:
        return None
    dice = "-" if stability.dice is None else f"{stability.dice:.2f}"
    return f"{dice} ({stability.seeds})"


def _stability(answer: ConceptAnswer) -> dict[str, Cell]:
    told, chance = answer.stability, answer.stability_chance
    if told is None or chance is None:
        return {}
    return {
        "other seeds that find it": told.seeds,
        "cosine with theirs": told.cosine,
        "Dice with their masks": told.dice,
        "cosine of the next best matching": chance.cosine,
        "Dice of masks not matched": chance.dice,
    }


def _category(one: CategoryResult) -> tuple[Cell, ...]:
    from app.regions.service import SIGNIFICANT

    tested = [each.q_value for each in one.subjects if each.q_value is not None]
    significant = sum(q < SIGNIFICANT for q in tested)
    return (
        *(one.category, one.prompt, one.atlas, one.component, one.label, one.similarity),
        None if one.component is None else _verdict(one.shared),
        *(_mean([getattr(each, name) for each in one.subjects]) for name in ("auc", "dice", "rho")),
        f"{significant} of {len(tested)}" if tested else None,
        one.reason,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _peak(peak: Millimetres | None, space: Space | None) -> tuple[Cell, Cell]:
    return (None if peak is None else " ".join(f"{each:.0f}" for each in peak), space)


def _examples(examples: Sequence[Example]) -> list[tuple[Cell, ...]]:
    return [(each.stimulus, each.score, _first(each.captions)) for each in examples]


def _first(captions: Sequence[str]) -> str | None:
    return captions[0] if captions else None
