from dataclasses import replace
from functools import cache
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from flows.science import claims
from flows.science.claims import (
    NAMES,
    NO,
    UNKNOWN,
    YES,
    Claims,
    Evidence,
    judge,
    partial_conjunction,
)
from flows.science.statistics import benjamini_hochberg, correlation_test
from flows.science.stats.prevalence import prevalence

NAN = float("nan")


@pytest.fixture
def each_prevalence_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many cohorts have the same few counts of participants."""
    monkeypatch.setattr(claims, "prevalence", cache(prevalence))


def evidence(participants: int = 4, count: int = 3) -> Evidence:
    """Everything holds of every component."""
    return Evidence(
        usable=np.ones((participants, count), dtype=bool),
        p_hard=np.full((participants, count), 1e-4),
        specific_p=np.full((participants, count), 1e-3),
        agreement=np.full(count, 0.5),
        agreement_p=np.full(count, 0.001),
        cosine=np.full(count, 0.9),
        chance=np.full(count, 0.2),
        replication_cosine=np.full((participants, count), 0.9),
        replication_p=np.full((participants, count), 0.001),
    )


def judged(given: Evidence, minimum: int = 2, why: str = "") -> Claims:
    return judge(given, minimum=minimum, level=0.05, cosine=0.75, why_untested=why)


def change(given: Evidence, name: str, where: object, value: object) -> Evidence:
    """The same, but for some entries of one of its arrays."""
    array = getattr(given, name).copy()
    array[where] = value
    return replace(given, **{name: array})


def test_where_everything_holds_all_is_claimed_and_no_reason_given() -> None:
    found = judged(evidence())
    for name in (*NAMES, "shared"):
        assert found.verdicts[name].tolist() == [YES] * 3
        assert found.verdicts[name].dtype == np.int8
    assert found.reasons == [{}] * 3
    assert found.decodes.tolist() == [[YES] * 3] * 4
    assert found.replicated.tolist() == [4] * 3


FEW_TESTED = "could be tested in fewer than 2 participants"
TELL_IN_FEW = "masks tell it in fewer than 2 participants"
FEW_MASKS = "fewer than 2 participants have a mask of it"
UNTESTED = "too few test stimuli"
NO_BETTER = "no more than a mixture of the run's other components"
NOT_AGAIN = "other seeds and draws of the stimuli do not find it again"


@pytest.mark.parametrize(
    ("name", "where", "value", "claim", "verdict", "reason"),
    [
        # One participant alone tells it; three fail.
        ("p_hard", np.s_[1:, 1], 0.6, "decodable", NO, TELL_IN_FEW),
        ("p_hard", np.s_[1:, 1], NAN, "decodable", UNKNOWN, UNTESTED),
        ("usable", np.s_[1:, 1], False, "decodable", NO, FEW_MASKS),
        ("specific_p", np.s_[1:, 1], 0.6, "specific", NO, NO_BETTER),
        ("specific_p", np.s_[1:, 1], NAN, "specific", UNKNOWN, UNTESTED),
        ("usable", np.s_[1:, 1], False, "specific", NO, FEW_MASKS),
        (
            "agreement_p",
            1,
            0.3,
            "agreeing",
            NO,
            "masks agree no better than unrelated ones",
        ),
        (
            "agreement_p",
            1,
            NAN,
            "agreeing",
            UNKNOWN,
            "its masks cannot be compared: one has all voxels, or none",
        ),
        (
            "agreement",
            1,
            NAN,
            "agreeing",
            UNKNOWN,
            "masks cannot be compared: too few places in common, or too few decode it",
        ),
        ("cosine", 1, 0.7, "stable", NO, NOT_AGAIN),
        ("cosine", 1, NAN, "stable", NO, NOT_AGAIN),
        ("chance", 1, 0.95, "stable", NO, NOT_AGAIN),
        (
            "replication_cosine",
            np.s_[1:, 1],
            0.5,
            "stable",
            NO,
            "found again without them in fewer than 2 participants",
        ),
        (
            "replication_p",
            np.s_[1:, 1],
            NAN,
            "stable",
            UNKNOWN,
            "found again without them, which could not be tested in enough participants",
        ),
    ],
)
def test_what_one_measure_tells_against_a_claim(
    name: str, where: object, value: object, claim: str, verdict: int, reason: str
) -> None:
    given = change(evidence(), name, where, value)
    if name == "agreement":
        given = change(given, "agreement_p", where, NAN)
    found = judged(given, why=UNTESTED)
    assert found.verdicts[claim].tolist() == [YES, verdict, YES]
    assert found.reasons[1][claim] == reason
    # A verdict that is not yes is told why, and the other components are not touched.
    untrue = {each for each in NAMES if found.verdicts[each][1] != YES}
    assert set(found.reasons[1]) == untrue
    assert found.reasons[0] == found.reasons[2] == {}
    assert found.verdicts["shared"].tolist() == [YES, verdict, YES]


def test_masks_of_one_participant_agree_with_none() -> None:
    given = change(evidence(), "usable", np.s_[1:, 1], False)
    given = change(change(given, "agreement", 1, NAN), "agreement_p", 1, NAN)
    found = judged(given)
    assert found.verdicts["agreeing"].tolist() == [YES, NO, YES]
    assert found.reasons[1]["agreeing"] == FEW_MASKS
    assert found.verdicts["shared"][1] == NO


@pytest.mark.parametrize("told", [True, False])
def test_where_stimuli_differ_in_two_directions_there_are_no_mixtures(told: bool) -> None:
    found = judge(
        Evidence(
            usable=np.ones((4, 2), dtype=bool),
            p_hard=np.full((4, 2), 0.001),
            specific_p=np.full((4, 2), 0.001 if told else NAN),
            agreement=np.ones(2),
            agreement_p=np.full(2, 0.001),
            cosine=np.ones(2),
            chance=np.zeros(2),
            replication_cosine=np.ones((4, 2)),
            replication_p=np.full((4, 2), 0.001),
        ),
        minimum=2,
        level=0.05,
        cosine=0.75,
    )
    assert found.verdicts["specific"].tolist() == [YES if told else UNKNOWN] * 2
    assert found.verdicts["shared"].tolist() == [YES if told else UNKNOWN] * 2
    no_mixtures = "stimuli differ in fewer than 3 directions: there are no mixtures"
    assert found.reasons[0].get("specific") == (None if told else no_mixtures)


def test_without_a_reason_of_its_own_an_untested_mask_is_told_so() -> None:
    given = change(evidence(), "p_hard", np.s_[1:, 1], NAN)
    assert judged(given).reasons[1]["decodable"] == FEW_TESTED


@pytest.mark.parametrize(
    ("missing", "participants", "reason"),
    [
        (("cosine", "chance"), 4, "no further seed was tried"),
        (
            ("replication_cosine", "replication_p"),
            4,
            "too few participants: it cannot be sought without one of them",
        ),
        (
            ("replication_cosine", "replication_p"),
            1,
            "one participant alone: it cannot be sought without them",
        ),
    ],
)
def test_what_was_never_sought_again_is_unknown(
    missing: tuple[str, ...], participants: int, reason: str
) -> None:
    given = replace(evidence(participants), **dict.fromkeys(missing))
    found = judged(given, min(2, participants))
    assert found.verdicts["stable"].tolist() == [UNKNOWN] * 3
    assert all(each["stable"] == reason for each in found.reasons)
    assert (found.verdicts["shared"] == UNKNOWN).all()
    assert found.replicated.tolist() == ([-1] * 3 if "replication_p" in missing else [4] * 3)


def test_what_fails_outweighs_what_was_not_sought() -> None:
    given = change(replace(evidence(), replication_cosine=None, replication_p=None), "cosine", 1, 0)
    assert judged(given).verdicts["stable"].tolist() == [UNKNOWN, NO, UNKNOWN]
    given = change(replace(evidence(), cosine=None, chance=None), "replication_p", np.s_[:, 1], 1)
    assert judged(given).verdicts["stable"].tolist() == [UNKNOWN, NO, UNKNOWN]


def with_verdicts(wanted: tuple[int, ...]) -> Evidence:
    """Evidence of one component for these verdicts, beside some of which all holds."""
    given = evidence(4, 4)
    p = {YES: 1e-4, NO: 0.8, UNKNOWN: NAN}
    for name, verdict in zip(("p_hard", "specific_p"), wanted[:2], strict=True):
        given = change(given, name, np.s_[:, 0], p[verdict])
    given = change(given, "agreement_p", 0, p[wanted[2]])
    if wanted[3] == NO:
        return change(given, "cosine", 0, 0)
    if wanted[3] == UNKNOWN:
        return replace(given, cosine=None, chance=None)
    return given


@pytest.mark.parametrize("wanted", list(product((YES, NO, UNKNOWN), repeat=4)))
def test_shared_is_no_where_one_is_and_never_yes_where_something_is_unknown(
    wanted: tuple[int, ...],
) -> None:
    found = judged(with_verdicts(wanted))
    assert tuple(int(found.verdicts[name][0]) for name in NAMES) == wanted
    expected = NO if NO in wanted else UNKNOWN if UNKNOWN in wanted else YES
    assert found.verdicts["shared"][0] == expected
    assert set(found.reasons[0]) == {
        name for name, verdict in zip(NAMES, wanted, strict=True) if verdict != YES
    }


def test_one_participant_can_decode_but_shares_with_nobody() -> None:
    given = replace(
        evidence(1),
        agreement=np.full(3, NAN),
        agreement_p=np.full(3, NAN),
        replication_cosine=None,
        replication_p=None,
    )
    found = judged(given, 1)
    assert found.verdicts["decodable"].tolist() == [YES] * 3
    assert found.verdicts["specific"].tolist() == [YES] * 3
    for name in ("agreeing", "stable", "shared"):
        assert found.verdicts[name].tolist() == [UNKNOWN] * 3
    assert found.reasons[0]["agreeing"] == "one participant alone: masks agree with none"
    np.testing.assert_allclose(found.p, 1e-4)
    assert (found.prevalence == 1).all()


def literal_conjunction(p: list[float], minimum: int) -> float:
    """ "At least u participants" holds where no S - u + 1 of them can all be without an effect."""
    if sum(not np.isnan(each) for each in p) < minimum:
        return NAN
    known = [1.0 if np.isnan(each) else each for each in p]
    return max(
        min(
            1.0,
            *(
                len(together) / number * each
                for number, each in enumerate(sorted(together), start=1)
            ),
        )
        for needed in range(1, minimum + 1)
        for together in combinations(known, len(p) - needed + 1)
    )


@pytest.mark.parametrize("minimum", [1, 2, 3, 5])
def test_partial_conjunction_equals_the_literal_one(minimum: int) -> None:
    rng = np.random.default_rng(minimum)
    p = rng.random((5, 200)) ** 4
    p[rng.random(p.shape) < 0.2] = NAN
    found = partial_conjunction(p, minimum)
    expected = [literal_conjunction(column.tolist(), minimum) for column in p.T]
    np.testing.assert_allclose(found, expected)
    assert np.isnan(found).any() == (minimum > 1)


def test_the_conjunction_of_all_is_the_largest_p_and_of_one_that_of_simes() -> None:
    p = np.array([[0.001], [0.002], [0.01]])
    assert partial_conjunction(p, 3).tolist() == [0.01]
    np.testing.assert_allclose(partial_conjunction(p, 1), 0.003)
    # Three alike say as much together as one of them.
    np.testing.assert_allclose(partial_conjunction(np.full((3, 1), 0.02), 2), 0.02)


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_participants_who_depend_on_each_other_make_p_no_smaller(shared: float) -> None:
    """Where fewer than u carry it, p lies below its level no more often than that."""
    rng = np.random.default_rng(3)
    z = np.sqrt(shared) * rng.normal(size=(1, 20000)) + np.sqrt(1 - shared) * rng.normal(
        size=(8, 20000)
    )
    z[:3] += 6
    p = stats.norm.sf(z)
    for level in (0.05, 0.01):
        assert (partial_conjunction(p, 4) < level).mean() <= level + 0.004


def test_the_conjunction_is_monotone() -> None:
    # Two of three cannot be surer than one of three.
    p = np.array([[0.02], [0.021], [0.5]])
    assert partial_conjunction(p, 1) == pytest.approx(0.0315)
    assert partial_conjunction(p, 2) == pytest.approx(0.042)
    few = np.array([[0.03], [0.03], [0.03], [0.9]])
    assert partial_conjunction(few, 2) >= partial_conjunction(few, 1)


def test_families_are_components_and_for_single_tests_all_of_them() -> None:
    rng = np.random.default_rng(0)
    given = replace(
        evidence(4, 6), p_hard=rng.random((4, 6)) ** 3, specific_p=rng.random((4, 6)) ** 3
    )
    given = change(given, "usable", (0, 2), False)
    found = judged(given)
    p_hard = np.where(given.usable, given.p_hard, NAN)
    specific_p = np.where(given.usable, given.specific_p, NAN)
    np.testing.assert_allclose(found.q_test, benjamini_hochberg(p_hard))
    np.testing.assert_allclose(found.q, benjamini_hochberg(partial_conjunction(p_hard, 2)))
    np.testing.assert_allclose(
        found.specific_q, benjamini_hochberg(partial_conjunction(specific_p, 2))
    )
    np.testing.assert_allclose(found.agreement_q, benjamini_hochberg(given.agreement_p))
    assert found.decodes[0, 2] == UNKNOWN
    told = found.q_test <= 0.05
    np.testing.assert_array_equal(found.decodes == YES, told)


def test_a_mask_that_counts_for_nothing_tells_nothing_whatever_its_p() -> None:
    given = change(evidence(), "usable", np.s_[0, :], False)
    found = judged(given)
    assert np.isnan(found.q_test[0]).all()
    assert (found.decodes[0] == UNKNOWN).all()
    # Three of four tell it; the one without a mask is one in whom it is not told.
    assert (found.prevalence < 0.8).all()
    np.testing.assert_allclose(
        found.prevalence, judged(change(evidence(), "p_hard", np.s_[0, :], 0.9)).prevalence
    )


def test_prevalence_is_of_those_who_were_tested() -> None:
    given = change(evidence(), "p_hard", np.s_[0, 0], NAN)
    given = change(given, "p_hard", np.s_[2:, 1], 0.5)
    found = judged(given)
    assert found.prevalence[0] == 1
    # Three of three tell less than four of four do.
    assert found.prevalence_low[0] < found.prevalence_low[2]
    assert found.prevalence[1] == pytest.approx((0.5 - 0.05) / 0.95)
    assert (found.prevalence_low <= found.prevalence).all()
    assert (found.prevalence <= found.prevalence_high).all()
    nobody = judged(change(evidence(), "p_hard", np.s_[:, 1], NAN))
    assert np.isnan(
        [nobody.prevalence[1], nobody.prevalence_low[1], nobody.prevalence_high[1]]
    ).all()


@pytest.mark.usefixtures("each_prevalence_once")
@pytest.mark.parametrize("participants", [1, 4, 8])
def test_of_null_p_few_cohorts_claim_anything(participants: int) -> None:
    rng = np.random.default_rng(participants)
    minimum = max(1, participants // 2)
    nothing = replace(evidence(participants, 20), cosine=None, chance=None, replication_p=None)
    claimed: dict[str, list[bool]] = {"decodable": [], "specific": []}
    single = []
    for _ in range(400):
        given = replace(
            nothing,
            p_hard=rng.random((participants, 20)),
            specific_p=rng.random((participants, 20)),
        )
        found = judged(given, minimum)
        for name, told in claimed.items():
            told.append(bool((found.verdicts[name] == YES).any()))
        single.append(bool((found.decodes == YES).any()))
    for told in (*claimed.values(), single):
        # Of 400 cohorts 0.05 has a standard error of 0.011.
        assert np.mean(told) <= 0.05 + 2.5 * 0.011


@pytest.mark.usefixtures("each_prevalence_once")
def test_true_effects_are_claimed_and_nulls_beside_them_are_not() -> None:
    rng = np.random.default_rng(0)
    false, found = [], []
    for _ in range(200):
        p = rng.random((4, 20))
        p[:3, :5] = 1e-5 * rng.random((3, 5))
        # One participant alone tells the next five.
        p[0, 5:10] = 1e-5
        verdict = judged(replace(evidence(4, 20), p_hard=p)).verdicts["decodable"] == YES
        found.append(verdict[:5].all())
        false.append(verdict[5:].sum() / max(verdict.sum(), 1))
    assert all(found)
    assert np.mean(false) <= 0.05


def test_one_perfect_component_of_many_can_be_decodable() -> None:
    """Eight participants and 128 components at 1,000 permutations: four must decode it."""
    rng = np.random.default_rng(0)
    z = np.maximum(rng.normal(size=(100, 128)), 0)
    p_test = []
    for participant in range(8):
        zhat = rng.normal(size=z.shape)
        if participant < 4:
            zhat[:, 5] = z[:, 5] + 0.3 * rng.normal(size=100)
        tested = correlation_test(z, zhat, np.arange(100), permutations=1000, seed=participant)
        p_test.append(tested[1])
    given = replace(evidence(8, 128), p_hard=np.array(p_test))
    found = judged(given, 4)
    assert np.flatnonzero(found.verdicts["shared"] == YES).tolist() == [5]
    assert np.flatnonzero(found.decodes[:, 5] == YES).tolist() == [0, 1, 2, 3]
    # At the floor of counted p nothing would be.
    counted = replace(given, p_hard=np.maximum(p_test, 1 / 1001))
    assert (judged(counted, 4).verdicts["shared"] == NO).all()


def test_more_participants_than_there_are_cannot_be_asked_for() -> None:
    for minimum in (0, 5):
        with pytest.raises(ValueError, match="minimum must lie between 1 and 4 participants"):
            judged(evidence(), minimum)


def test_the_evidence_is_left_as_it_was() -> None:
    given = change(evidence(), "usable", (0, 0), False)
    before = {name: np.copy(value) for name, value in vars(given).items()}
    judged(given)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(given, name), value)
