"""How what was recovered is judged and told, without a run."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from flows.demo.recovery import ConceptRecovery, _judge
from flows.demo.show import _summary
from flows.demo.truth import PlantedConcept

MEMBERS = [0.9, 0.8]
PLANTED = np.array([True, True, False, False])
CONCEPT = PlantedConcept(
    name="vehicles",
    kind="shared",
    participants=("a", "b", "c", "d"),
    query="vehicles in traffic",
    regions=(),
    responds="less",
    voxels=dict.fromkeys("abcd", 2),
)


def judged(signs: str, concept: PlantedConcept = CONCEPT) -> ConceptRecovery:
    """Of a component whose masks are right, with a sign a participant."""
    session = SimpleNamespace(scalars=lambda _: SimpleNamespace(one=lambda: 1))
    shown = SimpleNamespace(id=7, label="bus", regions=[], shared=True)
    masks = {
        label: {
            "soft": np.array([[0, 0, 1, 1], [*MEMBERS, 0.1, 0]]),
            "sign": np.array([1, {"+": 1, "-": -1}[sign]]),
        }
        for label, sign in zip("abcd", signs, strict=True)
    }
    return _judge(session, concept, shown, masks, dict.fromkeys("abcd", PLANTED))


@pytest.mark.parametrize(
    ("signs", "right", "told"),
    [
        ("----", True, "less"),
        ("---+", True, "less/more (planted: less)"),
        ("--++", False, "less/more (planted: less)"),
        ("++++", False, "more (planted: less)"),
    ],
)
def test_the_sign_is_held_against_the_truth(signs: str, right: bool, told: str) -> None:
    found = judged(signs)
    assert found.recovered
    assert found.response_right is right
    assert found.response_told == told
    assert list(found.aucs.values()) == [1, 1, 1, 1]
    assert found.planted_response == "less"


@pytest.mark.parametrize(("members", "found"), [([0.9, 0.8], True), ([0.9, 0.4], True),
                                               ([0.45, 0.4], False)])  # fmt: skip
def test_a_mask_that_orders_voxels_well_and_names_few_has_not_found_them(
    monkeypatch: pytest.MonkeyPatch, members: list[float], found: bool
) -> None:
    monkeypatch.setattr("tests.flows.demo.test_telling.MEMBERS", members)
    one = judged("----")
    assert list(one.aucs.values()) == [1, 1, 1, 1]
    assert set(one.recalls.values()) == {np.mean(np.array(members) >= 0.5)}
    assert one.recovered is found


def test_a_concept_of_voxels_that_respond_more_is_right_where_its_mask_does() -> None:
    assert judged("++++", replace(CONCEPT, responds="more")).response_right
    assert not judged("----", replace(CONCEPT, responds="more")).response_right


def test_of_what_was_not_found_the_sign_is_told_and_not_compared() -> None:
    assert replace(judged("++++"), recovered=False).response_told == "more"
    nothing = replace(judged("++++"), responses={}, response_right=None)
    assert nothing.response_told == "-"


def test_the_summary_tells_of_the_suppressed_concept() -> None:
    single = replace(judged("++++"), concept="music", aucs={"a": 1.0}, planted_response="more")
    found = judged("---+")
    text = _summary([found, single])
    assert text.endswith(
        "alone: called shared; vehicles was planted with voxels that respond less: told so in 3 "
        "of 4 participants"
    )
    assert _summary([replace(found, recovered=False), single]).endswith("respond less: not found")
    assert "less" not in _summary([judged("++++", replace(CONCEPT, responds="more")), single])
