"""What participants share: masks that agree, and every claim judged."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.store import Artefact
from flows.config import StatisticsConfig
from flows.science.claims import YES, Evidence, judge
from flows.science.sharing import agreement_test
from flows.science.stats.tails import unreachable
from flows.stages import get_store, stage

Json = dict[str, Any]


def fewest_participants(share: float, participants: int) -> int:
    """Participants of whom a claim must hold: a share of them, two at least where there are two."""
    return min(participants, max(2, int(np.ceil(share * participants))))


def cannot_reach(
    components: int, atlases: Sequence[Sequence[str]], config: StatisticsConfig
) -> list[str]:
    """What one true finding alone could not show with so many permutations, a line each.

    Parameters
    ----------
    components : int
        K.
    atlases : sequence of sequence of str
        For each participant the atlas of each of its regions.
    config : StatisticsConfig
    """
    participants = len(atlases)
    minimum = fewest_participants(config.participants, participants)
    regions = Counter(each for own in atlases for each in set(own))
    largest = {name: max(own.count(name) for own in map(list, atlases)) for name in regions}
    tests = components * (participants - minimum + 1)
    return [
        *unreachable(config.level, config.permutations, {"decodable": tests}),
        *unreachable(config.level, config.mixtures, {"specific": tests}),
        *unreachable(
            config.level,
            config.permutations,
            {f"regions of {name}": components * count for name, count in sorted(largest.items())},
        ),
    ]


@stage("compare-subjects")
def compare_subjects(
    components: Json,
    masks: list[Json],
    tests: list[Json],
    tables: list[Json],
    stability: Json | None,
    replications: list[Json] | None,
    replication_cosine: list[list[float]] | None,
    participants: float,
    level: float,
    cosine: float,
    permutations: int,
    seed: int,
) -> Json:
    """Judge every component's claims (`flows.science.claims`).

    Parameters
    ----------
    components : dict
        Reference to ``components`` and, of the masks' method, ``start_cosine``.
    masks, tests : list of dict
        A participant each, what `flows.locate.locate_subject` and `flows.measure.test_subject`
        told.
    tables : list of dict
        References to ``mni`` (V, 3) and ``side`` (V,).
    stability : dict, optional
        What `flows.stability.compare_seeds` told.
    replications : list of dict, optional
        A participant each, what `flows.measure.replicate_subject` told.
    replication_cosine : list of list of float, optional
        (S, K) cosine of each component with what was sought without a participant.
    participants : float
        Share of the participants of whom a claim must hold.

    Returns
    -------
    dict
        ``comparison``, a reference to all figures and verdicts; ``reasons``, by component and
        claim; by participant ``untested``; and the ``minimum`` of participants.
    """
    store = get_store()
    found = store.get(Artefact.model_validate(components))
    fits = [store.get(Artefact.model_validate(mask["masks"])) for mask in masks]
    told = [store.get(Artefact.model_validate(test["tests"])) for test in tests]
    usable = np.array([[reason is None for reason in mask["reasons"]] for mask in masks])
    p_hard = np.array([each["p_hard"] for each in told], dtype=np.float64)
    specific = np.array([each["specific_p"] for each in told], dtype=np.float64)
    minimum = fewest_participants(participants, len(masks))
    decodes = usable & (np.nan_to_num(p_hard, nan=1.0) <= level)
    places = [store.get(Artefact.model_validate(table)) for table in tables]
    agreement, agreement_p = agreement_test(
        # Voxels that respond less in one participant do not agree with such as respond more.
        [(fit["soft"] * fit["sign"][:, None] if "sign" in fit else fit["soft"]).T for fit in fits],
        [place["mni"] for place in places],
        decodes,
        permutations=permutations,
        seed=seed,
        level=level,
        pool=usable,
        sides=[place["side"] for place in places],
        threshold=masks[0]["threshold"],
    )
    again = store.get(Artefact.model_validate(stability["stability"])) if stability else None
    replicated = (
        [store.get(Artefact.model_validate(each["replication"])) for each in replications]
        if replications is not None
        else None
    )
    why = [reason for test in tests for reason in test["untested"] if reason is not None]
    claims = judge(
        Evidence(
            usable=usable,
            p_hard=p_hard,
            specific_p=specific,
            agreement=agreement,
            agreement_p=agreement_p,
            cosine=again["component_found"] if again else None,
            chance=again["component_chance"] if again else None,
            replication_cosine=None
            if replication_cosine is None
            else np.array(replication_cosine, dtype=np.float64),
            replication_p=None if replicated is None else np.array([r["p"] for r in replicated]),
        ),
        minimum=minimum,
        level=level,
        cosine=cosine,
        why_untested=why[0] if why else "",
    )
    missing = np.full(len(agreement), np.nan)
    nowhere = np.full(p_hard.shape, np.nan)
    arrays = {
        "agreement": agreement,
        "agreement_p": agreement_p,
        "p_test": np.where(usable, p_hard, np.nan),
        "specific_p_subject": np.where(usable, specific, np.nan),
        "replication_r": nowhere if replicated is None else np.array([r["r"] for r in replicated]),
        "replication_p": nowhere if replicated is None else np.array([r["p"] for r in replicated]),
        "start_cosine": found.get("start_cosine", missing),
        "decodes": claims.decodes,
    }
    arrays |= {
        name: getattr(claims, name)
        for name in (
            *("p", "q", "specific_p", "specific_q", "agreement_q", "q_test", "replicated"),
            *("prevalence", "prevalence_low", "prevalence_high"),
        )
    }
    return {
        "comparison": store.put(arrays | claims.verdicts).model_dump(),
        "reasons": claims.reasons,
        "shared": int((claims.verdicts["shared"] == YES).sum()),
        "untested": [test["untested"] for test in tests],
        "minimum": minimum,
    }
