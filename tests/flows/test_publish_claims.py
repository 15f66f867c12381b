"""Columns that a run's claims are published in, made of what stages found."""

import numpy as np
import pytest

from flows.publish_claims import (
    component_columns,
    correct_by_atlas,
    stability_columns,
    subject_columns,
)
from flows.science.statistics import benjamini_hochberg

NAN = np.nan
# Of four components: all claims hold; one fails; one was not measured; one of each.
CLAIMS = {
    "decodable": [1, 1, 1, -1],
    "specific": [1, 0, 1, 0],
    "agreeing": [1, 1, 1, 1],
    "stable": [1, 1, -1, 1],
    "shared": [1, 0, -1, 0],
}
COMPARISON = {name: np.array(values, dtype=np.int8) for name, values in CLAIMS.items()} | {
    "p": np.array([0.01, 0.02, 0.03, NAN]),
    "q": np.array([0.02, 0.03, 0.04, NAN]),
    "specific_p": np.array([0.001, 0.3, 0.002, 0.4]),
    "specific_q": np.array([0.002, 0.4, 0.004, 0.4]),
    "agreement": np.array([0.5, 0.4, 0.3, 0.2]),
    "agreement_p": np.array([0.01, 0.01, 0.01, 0.01]),
    "agreement_q": np.array([0.01, 0.01, 0.01, 0.01]),
    "start_cosine": np.array([0.1, 0.2, 0.3, 0.4]),
    "replicated": np.array([2, 1, -1, 0], dtype=np.int8),
    "prevalence": np.array([0.9, 0.5, NAN, 0.0]),
    "prevalence_low": np.array([0.6, 0.2, NAN, 0.0]),
    "prevalence_high": np.array([1.0, 0.8, NAN, 0.3]),
    "decodes": np.array([[1, 0, 1, 0], [1, 0, 1, 0]]),
    "p_test": np.array([[0.001, 0.5, NAN, 0.7], [0.002, 0.6, 0.003, 0.8]]),
    "q_test": np.array([[0.002, 0.6, NAN, 0.8], [0.004, 0.7, 0.006, 0.9]]),
    "specific_p_subject": np.array([[0.01, 0.5, 0.02, 0.6], [0.02, 0.4, 0.01, 0.7]]),
    "replication_r": np.array([[0.4, 0.1, NAN, 0.0], [0.3, 0.2, NAN, 0.1]]),
    "replication_p": np.array([[0.01, 0.4, NAN, 0.5], [0.02, 0.3, NAN, 0.4]]),
}
REASONS = [
    {},
    {"specific": "no better than mixtures"},
    {"stable": "one seed alone"},
    {"decodable": "too few images", "specific": "no better than mixtures"},
]
MASKS = {
    name: np.array(values, dtype=np.float32)
    for name, values in {
        "r_unmasked": [0.5, 0.4, 0.3, 0.2],
        "r_soft": [0.45, 0.35, 0.25, 0.15],
        "r_hard": [0.4, 0.3, 0.2, 0.1],
        "p_unmasked": [0.001, 0.01, 0.02, 0.03],
        "p_soft": [0.002, 0.02, 0.03, 0.04],
        "p_hard": [0.001, 0.5, NAN, 0.7],
        "r_low": [0.3, 0.2, 0.1, NAN],
        "r_high": [0.5, 0.4, 0.3, NAN],
        "r_normalised": [0.8, 0.7, 0.6, NAN],
        "lam": [1, 2, 3, 4],
    }.items()
}


def test_claims_reasons_and_statistics_become_columns() -> None:
    rows = component_columns(COMPARISON, REASONS, 4)
    assert [row["shared"] for row in rows] == [True, False, None, False]
    assert [row["stable"] for row in rows] == [True, True, None, True]
    assert [row["decodable"] for row in rows] == [True, True, True, None]
    assert [row["reasons"] for row in rows] == REASONS
    # What fails is told before what was not measured.
    assert [row["reason"] for row in rows] == [
        None,
        "no better than mixtures",
        "one seed alone",
        "no better than mixtures",
    ]
    assert [row["p_value"] for row in rows] == [0.01, 0.02, 0.03, None]
    assert [row["replicated"] for row in rows] == [2, 1, None, 0]
    assert [row["prevalence_high"] for row in rows] == [1.0, 0.8, None, 0.3]
    for name in ("q", "specific_p", "specific_q", "agreement", "agreement_q", "start_cosine"):
        expected = [None if np.isnan(each) else each for each in COMPARISON[name].tolist()]
        assert [row["q_value" if name == "q" else name] for row in rows] == expected


@pytest.mark.parametrize("missing", ["decodable", "specific", "agreeing", "stable"])
def test_nothing_is_shared_where_a_claim_was_not_measured(missing: str) -> None:
    found = {name: array for name, array in COMPARISON.items() if name != missing}
    (row, *_) = component_columns(found, REASONS, 4)
    assert (row["shared"], row[missing]) == (None, None)
    assert row["reasons"] == {missing: "not measured"}
    assert row["reason"] == "not measured"


def test_a_stage_that_knows_no_claims_shares_nothing() -> None:
    older = {"p": np.array([0.01]), "q": np.array([0.01]), "shared": np.array([1], np.uint8)}
    (row,) = component_columns(older | {"agreement": np.array([0.5])}, [None], 1)
    assert row["shared"] is None
    assert (row["p_value"], row["q_value"], row["agreement"]) == (None, None, 0.5)
    assert row["reasons"] == dict.fromkeys(
        ("decodable", "specific", "agreeing", "stable"), "not measured"
    )


def test_one_reason_may_go_for_all_claims() -> None:
    (row,) = component_columns({}, ["one participant alone"], 1)
    assert (row["shared"], row["reason"]) == (None, "one participant alone")
    assert set(row["reasons"].values()) == {"one participant alone"}


def test_a_failure_without_a_reason_is_told_as_one() -> None:
    (_, row, *_) = component_columns(COMPARISON, [{}] * 4, 4)
    assert row["reasons"] == {"specific": "does not hold"}


def test_a_participants_columns() -> None:
    rows = subject_columns(MASKS, COMPARISON, 0, np.array([True, True, True, False]))
    assert [row["decodes"] for row in rows] == [True, False, None, None]
    assert [row["p_value"] for row in rows] == [0.001, 0.5, None, None]
    assert [row["q_value"] for row in rows] == [0.002, 0.6, None, None]
    first, last = rows[0], rows[3]
    assert first["r_hard"] == pytest.approx(0.4)
    assert (first["r_low"], first["r_high"]) == pytest.approx((0.3, 0.5))
    assert (first["r_normalised"], first["p_soft"]) == pytest.approx((0.8, 0.002))
    assert (first["specific_p"], first["replication_r"], first["replication_p"]) == (
        0.01,
        0.4,
        0.01,
    )
    # What has no mask has what all voxels decode.
    assert (last["r_unmasked"], last["p_unmasked"]) == pytest.approx((0.2, 0.03))
    assert (last["r_hard"], last["r_soft"], last["p_soft"]) == (None, None, None)
    (second, *_) = subject_columns(MASKS, COMPARISON, 1, np.ones(4, dtype=bool))
    assert (second["p_value"], second["replication_r"]) == (0.002, 0.3)


def test_a_test_of_the_decoder_is_none_of_the_mask() -> None:
    older = {name: array for name, array in MASKS.items() if name[:2] != "p_"}
    rows = subject_columns(older, COMPARISON, 1, np.ones(4, dtype=bool))
    assert [row["p_unmasked"] for row in rows] == [0.002, 0.6, 0.003, 0.8]
    for row in rows:
        assert (row["p_value"], row["q_value"], row["decodes"]) == (None, None, None)


def test_stability_with_and_without_its_chance() -> None:
    arrays = {
        "component_cosine": np.array([0.9, NAN]),
        "component_dice": np.array([0.5, NAN]),
        "component_seeds": np.array([2, 0]),
    }
    assert stability_columns(arrays, 2) == [
        {
            "stability_cosine": 0.9,
            "stability_dice": 0.5,
            "stability_chance": None,
            "stability_seeds": 2,
        },
        {
            "stability_cosine": None,
            "stability_dice": None,
            "stability_chance": None,
            "stability_seeds": 0,
        },
    ]
    rows = stability_columns(arrays | {"component_chance": np.array([0.3, 0.2])}, 2)
    assert [row["stability_chance"] for row in rows] == [0.3, 0.2]


def test_regions_of_an_atlas_are_a_family() -> None:
    p = np.random.default_rng(0).uniform(0, 0.2, (5, 7))
    p[1] = NAN
    atlases = ["a", "b", "a", "a", "b", "c", "c"]
    q = correct_by_atlas(p, atlases)
    for atlas in "abc":
        columns = [at for at, each in enumerate(atlases) if each == atlas]
        np.testing.assert_array_equal(q[:, columns], benjamini_hochberg(p[:, columns]))
    assert np.isnan(q[1]).all()
    assert not np.allclose(q, benjamini_hochberg(p), equal_nan=True)
