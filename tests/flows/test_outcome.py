"""What is told of a run: how much is shared, and why the rest is not."""

from typing import Any

import numpy as np
import pytest

from app.concepts.claims import CLAIMS
from flows.outcome import tell_outcome
from flows.publish_claims import component_columns
from tests.flows.stored import arrays, put

Json = dict[str, Any]

pytestmark = pytest.mark.usefixtures("store_home")

# Of five components: all claims hold; one fails; one was not measured; one of each; none measured.
VERDICTS = {
    "decodable": [1, 1, 1, -1, -1],
    "specific": [1, 0, 1, 0, -1],
    "agreeing": [1, 1, 1, 1, -1],
    "stable": [1, 1, -1, 1, -1],
    "shared": [1, 0, -1, 0, -1],
}
REASONS: list[Json] = [
    {},
    {"specific": "no better than mixtures"},
    {"stable": "one seed alone"},
    {"decodable": "too few images", "specific": "no better than mixtures"},
    dict.fromkeys(CLAIMS, "one participant alone"),
]


def comparison(
    verdicts: dict[str, list[int]], reasons: list[Json], untested: list[list[str | None]]
) -> Json:
    rows = {name: np.array(values, dtype=np.int8) for name, values in verdicts.items()}
    return {"comparison": put(**rows), "reasons": reasons, "untested": untested}


def test_reasons_are_counted_as_the_catalog_tells_them() -> None:
    found = comparison(VERDICTS, REASONS, [[None] * 5])
    told = tell_outcome(["subj01"], [{"reasons": [None] * 5}], found)
    # Of the fourth: what fails comes before what was not measured.
    assert told == {
        "found": 5,
        "shared": 1,
        "not_shared": {
            "no better than mixtures": 2,
            "one participant alone": 1,
            "one seed alone": 1,
        },
    }
    columns = component_columns(arrays(found["comparison"]), REASONS, 5)
    reasons = [column["reason"] for column in columns if column["reason"] is not None]
    assert told["not_shared"] == {reason: reasons.count(reason) for reason in reasons}


def test_what_has_no_reason_is_not_shared_for_that() -> None:
    """A stage that knew no claims told no reasons either."""
    found = comparison({"shared": [1, 1]}, [{}, {}], [[None, None]])
    told = tell_outcome(["subj01"], [{"reasons": [None, None]}], found)
    assert told == {"found": 2, "shared": 0, "not_shared": {"not measured": 2}}


def test_participants_without_masks_or_tests_are_told_by_name() -> None:
    masks = [{"reasons": [None] * 5}, {"reasons": ["empty", None, "empty", "too wide", None]}]
    untested = [[None, None, "too few images", None, None], [None] * 5]
    told = tell_outcome(["subj01", "subj02"], masks, comparison(VERDICTS, REASONS, untested))
    assert told["without_mask"] == {"subj02": {"empty": 2, "too wide": 1}}
    assert told["untested"] == {"subj01": {"too few images": 1}}


def test_nothing_found_is_told_in_numbers_alone() -> None:
    found = comparison({name: [] for name in VERDICTS}, [], [[]])
    assert tell_outcome(["subj01"], [{"reasons": []}], found) == {"found": 0, "shared": 0}
