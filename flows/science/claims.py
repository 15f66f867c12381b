"""What is claimed of a component: decodable, specific, agreeing, stable, and shared.

Each claim excludes something. Decodable: what a mask tells by chance. Specific: directions that are
told as well as any other of the space that brains carry. Agreeing: masks that lie anywhere.
Stable: directions that a seed, a draw of stimuli, or one participant has brought up. A concept that
is shared has all four.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.science.specificity import FEWEST
from flows.science.statistics import Floats, benjamini_hochberg
from flows.science.stats.prevalence import prevalence

NAMES = ("decodable", "specific", "agreeing", "stable")
_NO_MIXTURES = f"stimuli differ in fewer than {FEWEST} directions: there are no mixtures"
YES, NO, UNKNOWN = 1, 0, -1

Verdicts = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Claims:
    """Verdicts on K components: `YES`, `NO`, or `UNKNOWN` where something was not measured.

    Attributes
    ----------
    verdicts : dict
        By claim, and ``"shared"``, (K,) int8.
    reasons : list of dict
        (K,) why a claim does not hold or was not measured, by claim.
    p, q : ndarray
        (K,) of "enough participants' masks tell it" (partial conjunction; Benjamini-Hochberg over
        components).
    specific_p, specific_q : ndarray
        (K,) of "enough participants tell it better than mixtures", likewise.
    agreement_q : ndarray
        (K,).
    q_test : ndarray
        (S, K) of each participant's hard masks, over participants and components.
    decodes : ndarray
        (S, K) int8, whether a participant's hard mask tells the component.
    replicated : ndarray
        (K,) participants in whom the component was found again without them; -1 if unmeasured.
    prevalence, prevalence_low, prevalence_high : ndarray
        (K,) share of such participants whose masks tell it, and its 95 % interval.
    """

    verdicts: dict[str, Verdicts]
    reasons: list[dict[str, str]]
    p: Floats
    q: Floats
    specific_p: Floats
    specific_q: Floats
    agreement_q: Floats
    q_test: Floats
    decodes: Verdicts
    replicated: NDArray[np.int64]
    prevalence: Floats
    prevalence_low: Floats
    prevalence_high: Floats


@dataclass(frozen=True, eq=False)
class Evidence:
    """What claims are judged by, of S participants and K components.

    Attributes
    ----------
    usable : ndarray
        (S, K) bool, whether there is a mask.
    p_hard, specific_p : ndarray
        (S, K) of `flows.science.statistics.correlation_test` on hard masks, and against mixtures;
        NaN where not tested.
    agreement, agreement_p : ndarray
        (K,) of `flows.science.sharing.agreement_test`.
    cosine, chance : ndarray or None
        (K,) mean cosine with the component that other seeds and other draws of the stimuli find
        in its place, and what unmatched ones reach; NaN where it has no partner. None where no
        seed was repeated.
    replication_cosine, replication_p : ndarray or None
        (S, K) cosine with what was sought without a participant, and how surely that participant
        tells what was found. None where it was not sought.
    """

    usable: NDArray[np.bool_]
    p_hard: Floats
    specific_p: Floats
    agreement: Floats
    agreement_p: Floats
    cosine: Floats | None
    chance: Floats | None
    replication_cosine: Floats | None
    replication_p: Floats | None


def judge(
    evidence: Evidence, *, minimum: int, level: float, cosine: float, why_untested: str = ""
) -> Claims:
    """Judge every claim of every component.

    Parameters
    ----------
    evidence : Evidence
    minimum : int
        u, participants of whom a claim about participants must hold; at most S.
    level : float
        Of q, and of a single participant's p in a replication.
    cosine : float
        From which a component that was sought again is the same one.
    why_untested : str
        Why masks have no p, for the reasons.

    Returns
    -------
    Claims

    Raises
    ------
    ValueError
        `minimum` lies outside 1 to S.

    References
    ----------
    Benjamini and Heller 2008, Biometrics 64, 1215 (partial conjunction); Ince et al. 2021, eLife
    10, e62461 (prevalence).
    """
    participants, count = evidence.p_hard.shape
    if not 1 <= minimum <= participants:
        raise ValueError(f"minimum must lie between 1 and {participants} participants")
    reasons: list[dict[str, str]] = [{} for _ in range(count)]
    p_hard = np.where(evidence.usable, evidence.p_hard, np.nan)
    q_test = benjamini_hochberg(p_hard)
    decodes = np.where(np.isnan(q_test), UNKNOWN, q_test <= level).astype(np.int8)
    verdicts: dict[str, Verdicts] = {}

    p = partial_conjunction(p_hard, minimum)
    q = benjamini_hochberg(p)
    enough = (decodes == YES).sum(axis=0) >= minimum
    verdicts["decodable"] = _of_participants(
        "decodable",
        np.asarray(q <= level) & enough,
        evidence.usable,
        evidence.p_hard,
        minimum,
        reasons,
        few=f"masks tell it in fewer than {minimum} participants",
        untested=why_untested,
    )
    specific_p = partial_conjunction(
        np.where(evidence.usable, evidence.specific_p, np.nan), minimum
    )
    specific_q = benjamini_hochberg(specific_p)
    verdicts["specific"] = _of_participants(
        "specific",
        np.asarray(specific_q <= level),
        evidence.usable,
        evidence.specific_p,
        minimum,
        reasons,
        few="no more than a mixture of the run's other components",
        untested=why_untested
        or (_NO_MIXTURES if count < FEWEST and np.isnan(evidence.specific_p).all() else ""),
    )
    agreement_q = benjamini_hochberg(evidence.agreement_p)
    verdicts["agreeing"] = _agreeing(evidence, agreement_q, participants, level, reasons)
    verdicts["stable"], replicated = _stable(evidence, minimum, level, cosine, reasons)
    told = np.stack([verdicts[name] for name in NAMES])
    verdicts["shared"] = np.where(
        (told == NO).any(axis=0), NO, np.where((told == UNKNOWN).any(axis=0), UNKNOWN, YES)
    ).astype(np.int8)

    share = [
        prevalence(int((p_hard[tested, k] <= level).sum()), int(tested.sum()), level=level)
        if (tested := np.isfinite(p_hard[:, k]) | ~evidence.usable[:, k]).any()
        else None
        for k in range(count)
    ]

    def told_share(name: str) -> Floats:
        return np.array([np.nan if each is None else getattr(each, name) for each in share])

    return Claims(
        verdicts=verdicts,
        reasons=reasons,
        p=p,
        q=q,
        specific_p=specific_p,
        specific_q=specific_q,
        agreement_q=agreement_q,
        q_test=q_test,
        decodes=decodes,
        replicated=replicated,
        prevalence=told_share("estimate"),
        prevalence_low=told_share("low"),
        prevalence_high=told_share("high"),
    )


def partial_conjunction(p: NDArray[np.floating], minimum: int) -> Floats:
    """p of "at least u of S participants", by Simes over all but the u - 1 smallest p.

    ``min over i of (S - u + 1) / i * p_(u - 1 + i)``, made monotone in u. Many participants with
    small p count for more than u alone, and dependence among participants, who saw the same
    stimuli, does no harm where it is positive.

    Parameters
    ----------
    p : ndarray
        (S, K); NaN, not tested, counts as 1.
    minimum : int
        u.

    Returns
    -------
    ndarray
        (K,); NaN where fewer than u participants were tested.

    References
    ----------
    Benjamini and Heller 2008, Biometrics 64, 1215; Simes 1986, Biometrika 73, 751.
    """
    participants = len(p)
    ordered = np.sort(np.nan_to_num(np.asarray(p, dtype=np.float64), nan=1.0), axis=0)
    found = np.zeros(p.shape[1])
    for needed in range(1, minimum + 1):
        left = participants - needed + 1
        factors = left / np.arange(1, left + 1)
        found = np.maximum(found, (factors[:, None] * ordered[needed - 1 :]).min(axis=0))
    return np.where(np.isfinite(p).sum(axis=0) >= minimum, np.minimum(found, 1), np.nan)


def _of_participants(
    name: str,
    holds: NDArray[np.bool_],
    usable: NDArray[np.bool_],
    p: Floats,
    minimum: int,
    reasons: list[dict[str, str]],
    *,
    few: str,
    untested: str,
) -> Verdicts:
    """Verdicts on a claim that enough participants' masks must bear out."""
    masked, tested = usable.sum(axis=0), (usable & np.isfinite(p)).sum(axis=0)
    verdict = np.where(holds, YES, NO).astype(np.int8)
    for index in np.flatnonzero(~holds):
        if masked[index] < minimum:
            reasons[index][name] = f"fewer than {minimum} participants have a mask of it"
        elif tested[index] < minimum:
            verdict[index] = UNKNOWN
            reasons[index][name] = (
                untested or f"could be tested in fewer than {minimum} participants"
            )
        else:
            reasons[index][name] = few
    return verdict


def _agreeing(
    evidence: Evidence,
    q: Floats,
    participants: int,
    level: float,
    reasons: list[dict[str, str]],
) -> Verdicts:
    holds = np.asarray(q <= level)
    verdict = np.where(holds, YES, NO).astype(np.int8)
    for index in np.flatnonzero(~holds):
        if participants == 1:
            verdict[index], why = UNKNOWN, "one participant alone: masks agree with none"
        elif np.isnan(evidence.agreement[index]):
            if (evidence.usable[:, index].sum()) < 2:
                why = "fewer than 2 participants have a mask of it"
            else:
                verdict[index] = UNKNOWN
                why = "masks cannot be compared: too few places in common, or too few decode it"
        elif np.isnan(evidence.agreement_p[index]):
            verdict[index] = UNKNOWN
            why = "its masks cannot be compared: one has all voxels, or none"
        else:
            why = "masks agree no better than unrelated ones"
        reasons[index]["agreeing"] = why
    return verdict


def _stable(
    evidence: Evidence,
    minimum: int,
    level: float,
    cosine: float,
    reasons: list[dict[str, str]],
) -> tuple[Verdicts, NDArray[np.int64]]:
    """Verdicts, and participants in whom a component was found again without them."""
    participants, count = evidence.p_hard.shape
    again = np.full(count, UNKNOWN, dtype=np.int8)
    replicated = np.full(count, -1, dtype=np.int64)
    without = np.full(count, UNKNOWN, dtype=np.int8)
    if evidence.cosine is not None and evidence.chance is not None:
        found = np.nan_to_num(evidence.cosine, nan=-1.0)
        again = ((found >= cosine) & (found > np.nan_to_num(evidence.chance, nan=-1.0))).astype(
            np.int8
        )
    if evidence.replication_cosine is not None and evidence.replication_p is not None:
        same = np.nan_to_num(evidence.replication_cosine, nan=-1.0) >= cosine
        untested = np.isnan(evidence.replication_p)
        told = np.nan_to_num(evidence.replication_p, nan=1.0) <= level
        replicated = (same & told).sum(axis=0).astype(np.int64)
        possible = (same & (told | untested)).sum(axis=0)
        without = np.where(
            replicated >= minimum, YES, np.where(possible < minimum, NO, UNKNOWN)
        ).astype(np.int8)
        # Where nothing could be tested in anyone, no number of participants is known.
        replicated = np.where((same & untested).any(axis=0) & (replicated == 0), -1, replicated)
    verdict = np.where(
        (again == NO) | (without == NO),
        NO,
        np.where((again == UNKNOWN) | (without == UNKNOWN), UNKNOWN, YES),
    ).astype(np.int8)
    for index in np.flatnonzero(verdict != YES):
        if again[index] == NO:
            why = "other seeds and draws of the stimuli do not find it again"
        elif without[index] == NO:
            why = f"found again without them in fewer than {minimum} participants"
        elif again[index] == UNKNOWN:
            why = "no further seed was tried"
        elif evidence.replication_p is not None:
            why = "found again without them, which could not be tested in enough participants"
        elif participants == 1:
            why = "one participant alone: it cannot be sought without them"
        else:
            why = "too few participants: it cannot be sought without one of them"
        reasons[index]["stable"] = why
    return verdict, replicated
