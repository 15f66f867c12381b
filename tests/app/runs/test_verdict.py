"""Sentences that say what a run is worth."""

from typing import Any

import pytest

from app.concepts.claims import CLAIMS
from app.runs.schemas import Claimed, ConceptCounts, DecoderReport, MaskCounts, ParticipantReport
from app.runs.verdict import tell_verdict, tell_warnings

NO_TESTS = "there are no test trials of two stimuli"


def claimed(holds: int, fails: int = 0, unknown: int = 0, **reasons: int) -> Claimed:
    return Claimed(holds=holds, fails=fails, not_measured=unknown, reasons=reasons)


def concepts(shared: Claimed, carried: int | None = 1, **fields: Any) -> ConceptCounts:
    found = shared.holds + shared.fails + shared.not_measured
    unmeasured = dict.fromkeys(("cosine", "cosine_by_chance", "start_cosine"))
    claims = dict.fromkeys(CLAIMS, claimed(found))
    told = {"found_again": found, "seeds": 1} | unmeasured | claims | fields
    return ConceptCounts(found=found, carried=carried, shared=shared, **told)


def participant(subject: str = "sub-01", *, above: bool | None = True, **fields: Any) -> Any:
    decoder = DecoderReport(pool=2, top={}, pairwise=None, above_chance=above, against_ridge=None)
    empty = dict.fromkeys(("trials", "voxels", "noise_ceiling", "learning_curve"))
    masks = MaskCounts(feasible=12, decoding=12, of=12, without={}, untested={})
    told = empty | {"decoder": decoder, "masks": masks, "missing": {}} | fields
    return ParticipantReport(subject=subject, **told)


@pytest.mark.parametrize(
    ("counted", "sentence"),
    [
        (concepts(claimed(6, 2, few=2)), "8 concepts, 6 shared by participants"),
        (concepts(claimed(1)), "1 concept, shared by participants"),
        (concepts(claimed(0, 3, mixture=3)), "3 concepts, none shared: mixture"),
        (concepts(claimed(0, 3, 1, few=1, mixture=3)), "4 concepts, none shared: mixture (3 of 4)"),
        (concepts(claimed(0, 1, few=1)), "1 concept, not shared: few"),
        (
            concepts(claimed(0, 0, 2, alone=2)),
            "2 concepts, not known whether participants share any: alone",
        ),
        (
            concepts(claimed(0, 8, few=8), carried=0),
            "this run found nothing: none of its 8 concepts is carried by any participant",
        ),
        (
            concepts(claimed(0, 1, few=1), carried=0),
            "this run found nothing: its one concept is not carried by any participant",
        ),
        (
            concepts(claimed(0, 8, few=8), carried=None),
            "8 concepts, none shared: few",
        ),
        (concepts(claimed(0), carried=0), "this run found nothing: no component was found"),
    ],
)
def test_one_sentence_says_what_came_of_a_run(counted: ConceptCounts, sentence: str) -> None:
    assert tell_verdict(counted) == sentence


def test_why_there_is_no_component_is_told() -> None:
    none = concepts(claimed(0), carried=0)
    assert tell_verdict(none, "no start agreed") == "this run found nothing: no start agreed"


def test_nothing_is_to_be_minded_of_a_good_run() -> None:
    assert tell_warnings(concepts(claimed(3)), [participant("a"), participant("b")], []) == []


@pytest.mark.parametrize(
    ("counted", "participants", "line"),
    [
        (
            concepts(claimed(3)),
            [participant("sub-03", above=False)],
            "this run tells nothing of sub-03: its decoder is not above chance",
        ),
        (
            concepts(claimed(3)),
            [participant(decoder=None, missing={"decoder": NO_TESTS})],
            f"it is not known whether sub-01 decodes anything: {NO_TESTS}",
        ),
        (
            concepts(claimed(3), found_again=0),
            [participant()],
            "components were not found again by other seeds",
        ),
        (
            concepts(claimed(3), found_again=None),
            [participant()],
            "it was not measured whether components are found again",
        ),
        (
            concepts(claimed(3)),
            [participant()],
            "one participant: whether a concept is shared cannot be told",
        ),
        (
            concepts(claimed(12)),
            [
                participant(
                    "sub-02",
                    masks=MaskCounts(
                        feasible=3, decoding=2, of=12, without={"empty": 1, "full": 8}, untested={}
                    ),
                )
            ],
            "masks: 3 of 12 feasible in sub-02 (full: 8, empty: 1)",
        ),
        (
            concepts(claimed(12)),
            [
                participant(
                    masks=MaskCounts(
                        feasible=12, decoding=0, of=12, without={}, untested={"few images": 12}
                    )
                )
            ],
            "masks of sub-01 were not tested: few images: 12",
        ),
    ],
)
def test_what_is_to_be_minded(
    counted: ConceptCounts, participants: list[ParticipantReport], line: str
) -> None:
    assert line in tell_warnings(counted, participants, [])


def test_noise_ceilings_that_all_lack_are_told_once() -> None:
    voxels = {"in_mask": 9, "kept": 9, "dropped": {}, "rule": None}
    why = {"noise_ceiling": "every image was shown once"}
    without = [participant(name, voxels=voxels, missing=why) for name in ("a", "b")]
    counted = concepts(claimed(3))
    assert tell_warnings(counted, without, []) == ["no noise ceiling: every image was shown once"]
    assert tell_warnings(counted, [*without, participant("c")], []) == [
        "no noise ceiling of a, b: every image was shown once"
    ]
