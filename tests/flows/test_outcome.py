"""What is told at the end of a run: how much is shared, and why the rest is not."""

from typing import Any

from app.concepts.claims import CLAIMS
from app.database.models import Component, ComponentSubject
from app.runs.counting import count_concepts, count_masks
from app.runs.schemas import Judgement, ParticipantReport
from flows.outcome import next_command, tell_outcome

Json = dict[str, Any]

# Of five components: all claims hold; one fails; one was not measured; one of each; none measured.
VERDICTS: list[tuple[bool | None, ...]] = [
    (True, True, True, True, True),
    (True, False, True, True, False),
    (True, True, True, None, None),
    (None, False, True, True, False),
    (None, None, None, None, None),
]
WHY = (None, "no better than mixtures", "one seed alone", "no better than mixtures", "alone")
EMPTY = dict.fromkeys(("trials", "voxels", "noise_ceiling", "decoder", "learning_curve"))


def component(number: int) -> Component:
    *claims, shared = VERDICTS[number]
    told = dict(zip(CLAIMS, claims, strict=True))
    reasons = {name: str(WHY[number]) for name, value in told.items() if not value}
    return Component(id=number, **told, shared=shared, reason=WHY[number], reasons=reasons)


def mask(
    number: int, subject: int, *, needed: int = 3, decodes: bool | None = True, why: str = ""
) -> ComponentSubject:
    return ComponentSubject(
        component_id=number,
        subject_id=subject,
        n_voxels=5,
        n_needed=needed,
        decodes=decodes,
        reason=why or None,
    )


def judge(components: list[Component], masks: dict[str, list[ComponentSubject]]) -> Judgement:
    everywhere = [one for own in masks.values() for one in own]
    return Judgement(
        verdict="",
        warnings=[],
        concepts=count_concepts(components, everywhere, {}),
        participants=[
            ParticipantReport(subject=label, masks=count_masks(own), **EMPTY, missing={})
            for label, own in masks.items()
        ],
    )


def test_reasons_are_counted_as_the_catalog_tells_them() -> None:
    components = [component(number) for number in range(5)]
    judged = judge(components, {"a": [mask(number, 1) for number in range(5)]})
    assert tell_outcome(judged) == {
        "found": 5,
        "shared": 1,
        "not_shared": {"no better than mixtures": 2, "alone": 1, "one seed alone": 1},
    }
    specific = judged.concepts.specific
    assert (specific.holds, specific.fails, specific.not_measured) == (2, 2, 1)
    assert specific.reasons == {"no better than mixtures": 2, "alone": 1}


def test_participants_without_masks_or_tests_are_told_by_name() -> None:
    own = [
        mask(0, 1),
        mask(1, 1, needed=0, decodes=None, why="empty"),
        mask(2, 1, decodes=None, why="too few images"),
        mask(3, 1, decodes=False),
    ]
    masks = {"a": own, "b": [mask(number, 2) for number in range(4)]}
    judged = judge([component(number) for number in range(4)], masks)
    told = tell_outcome(judged)
    assert told["without_mask"] == {"a": {"empty": 1}}
    assert told["untested"] == {"a": {"too few images": 1}}
    first = judged.participants[0].masks
    assert (first.feasible, first.decoding, first.of) == (3, 1, 4)


def test_clusters_have_members_and_need_none() -> None:
    found = [mask(0, 1), mask(1, 1)]
    for one, voxels in zip(found, (7, 0), strict=True):
        one.n_needed, one.n_voxels = None, voxels
    found[1].reason = "none of its voxels"
    assert count_masks(found).feasible == 1


def test_nothing_found_is_told_in_numbers_alone() -> None:
    judged = judge([], {"a": []})
    assert tell_outcome(judged) == {"found": 0, "shared": 0}
    assert judged.found_nothing


def test_what_is_carried_counts_each_concept_once() -> None:
    components = [component(0), component(1)]
    carried = {"a": [mask(0, 1), mask(1, 1, decodes=False)], "b": [mask(0, 2), mask(1, 2)]}
    assert judge(components, carried).concepts.carried == 2
    one = {"a": [mask(0, 1), mask(1, 1, decodes=None)]}
    assert judge(components, one).concepts.carried == 1
    none = {"a": [mask(0, 1, decodes=False), mask(1, 1, needed=0, decodes=None)]}
    assert judge(components, none).found_nothing
    # What was not tested may carry it: that is not nothing.
    untested = {"a": [mask(0, 1, decodes=False), mask(1, 1, decodes=None)]}
    assert judge(components, untested).concepts.carried is None
    assert not judge(components, untested).found_nothing


def test_the_next_command_fits_what_came_of_it() -> None:
    good = judge([component(0)], {"a": [mask(0, 1)]})
    nothing = judge([], {"a": []})
    told = next_command("lab", 3, good, held_back=False)
    assert told == "sdc search 'a photo of a face' --dataset lab; sdc runs 3"
    for judged in (good, nothing):
        assert "sdc runs --promote 3" in next_command("lab", 3, judged, held_back=True)
    # One that was promoted all the same has nothing to search for.
    assert next_command("lab", 3, nothing, held_back=False) == "sdc runs 3"
