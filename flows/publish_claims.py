"""What stages found of claims, as the columns that a run is published in."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.concepts.claims import CLAIMS, first_reason
from flows.publish_dataset import nullable
from flows.science.statistics import Floats, benjamini_hochberg

Json = dict[str, Any]
Arrays = dict[str, NDArray[Any]]
Reasons = Mapping[str, str] | str | None

# Column of the catalog: array of the stage. What a stage did not measure is null.
OF_COMPONENT = {
    "p_value": "p",
    "q_value": "q",
    **{
        name: name
        for name in (
            *("specific_p", "specific_q", "agreement", "agreement_p", "agreement_q"),
            *("start_cosine", "prevalence", "prevalence_low", "prevalence_high"),
        )
    },
}
OF_STABILITY = {f"stability_{name}": f"component_{name}" for name in ("cosine", "dice", "chance")}
OF_DECODER = {"r_unmasked": "r_unmasked", "p_unmasked": "p_unmasked", "penalty": "lam"}
OF_MASK = {name: name for name in ("r_soft", "r_hard", "p_soft", "r_low", "r_high", "r_normalised")}
OF_TESTS = {
    "specific_p": "specific_p_subject",
    "replication_r": "replication_r",
    "replication_p": "replication_p",
}

NOT_MEASURED, DOES_NOT_HOLD = "not measured", "does not hold"


def component_columns(comparison: Arrays, reasons: Sequence[Reasons], count: int) -> list[Json]:
    """Columns of each component: its claims, why they fail, and the statistics that they rest on.

    Parameters
    ----------
    comparison : dict of ndarray
        Of `flows.compare.compare_subjects`: (K,) statistics by the names of `OF_COMPONENT`, and
        (K,) claims and ``shared``, 1 for yes, 0 for no, -1 where not measured. Any may be missing.
    reasons : sequence of dict, str or None
        Of each component, for each claim that fails or was not measured, why; or why none could
        be measured.
    count : int
        K.

    Returns
    -------
    list of dict
        ``shared`` is never true unless all four claims hold.
    """
    columns = _columns(comparison, OF_COMPONENT, count)
    if "decodable" not in comparison:
        # These p are of the decoders over all voxels and of agreement together.
        columns |= dict.fromkeys(("p_value", "q_value"), [None] * count)
    replicated = _columns(comparison, {"replicated": "replicated"}, count)["replicated"]
    verdicts = {name: _verdicts(comparison, name, count) for name in ("shared", *CLAIMS)}
    found = []
    for index in range(count):
        values = {name: verdicts[name][index] for name in CLAIMS}
        told = _by_claim(reasons[index])
        why = {
            name: told.get(name, NOT_MEASURED if value is None else DOES_NOT_HOLD)
            for name, value in values.items()
            if value is not True
        }
        known = "shared" not in comparison or verdicts["shared"][index] is not None
        again = replicated[index]
        found.append(
            {name: values_of[index] for name, values_of in columns.items()}
            | values
            | {
                "shared": _all_of(values.values()) if known else None,
                "reason": first_reason(values, why),
                "reasons": why,
                "replicated": None if again is None or again < 0 else int(again),
            }
        )
    return found


def stability_columns(stability: Arrays, count: int) -> list[Json]:
    """Columns of each component that tell how far other seeds find it.

    Parameters
    ----------
    stability : dict of ndarray
        Of `flows.stability.compare_seeds`.
    count : int
        K.
    """
    columns = _columns(stability, OF_STABILITY, count)
    return [
        {name: values[index] for name, values in columns.items()}
        | {"stability_seeds": int(stability["component_seeds"][index])}
        for index in range(count)
    ]


def subject_columns(
    masks: Arrays, comparison: Arrays, row: int, usable: NDArray[np.bool_]
) -> list[Json]:
    """Columns of each component in one participant: correlations, their p, and what is tested.

    Parameters
    ----------
    masks : dict of ndarray
        Of `flows.mask.mask_subject`, the participant's.
    comparison : dict of ndarray
        Of `flows.compare.compare_subjects`: (S, K) ``decodes``, ``p_test``, ``q_test`` (of the hard
        mask) and what `OF_TESTS` names.
    row : int
        The participant's.
    usable : ndarray
        (K,) bool, whose mask counts for something; a mask that does not has no statistics.

    Returns
    -------
    list of dict
        ``decodes`` is null where the hard mask was not tested.
    """
    count = len(usable)
    tests = {name: values[row] for name, values in comparison.items() if values.ndim == 2}
    columns = _columns(masks, OF_DECODER, count) | _columns(tests, OF_TESTS, count)
    of_mask = _columns(masks, OF_MASK, count) | _columns(
        tests, {"p_value": "p_test", "q_value": "q_test"}, count
    )
    if "p_hard" not in masks:
        # Then the test was of the decoder over all voxels, and none of the mask.
        columns["p_unmasked"] = of_mask["p_value"]
        of_mask |= dict.fromkeys(("p_value", "q_value"), [None] * count)
    decodes = _verdicts(tests, "decodes", count)
    return [
        {name: values[index] for name, values in columns.items()}
        | {name: values[index] if usable[index] else None for name, values in of_mask.items()}
        | {
            "decodes": decodes[index]
            if usable[index] and of_mask["q_value"][index] is not None
            else None
        }
        for index in range(count)
    ]


def correct_by_atlas(p: NDArray[np.floating], atlases: Sequence[str]) -> Floats:
    """q of one participant's masks on regions, a family an atlas.

    Parameters
    ----------
    p : ndarray
        (K, R), NaN where nothing was tested.
    atlases : sequence of str
        (R,) atlas of each region.

    Returns
    -------
    ndarray
        (K, R) Benjamini-Hochberg q over all components and the regions of one atlas.
    """
    q = np.full(p.shape, np.nan)
    named = np.array(atlases)
    for atlas in set(atlases):
        inside = named == atlas
        q[:, inside] = benjamini_hochberg(p[:, inside])
    return q


def _by_claim(reason: Reasons) -> Mapping[str, str]:
    if isinstance(reason, str):
        return dict.fromkeys(CLAIMS, reason)
    return reason or {}


def _columns(arrays: Arrays, names: Mapping[str, str], count: int) -> dict[str, list[Any]]:
    """Column by column the values of an array, null where there is none."""
    return {
        column: nullable(arrays[name]) if name in arrays else [None] * count
        for column, name in names.items()
    }


def _verdicts(arrays: Arrays, name: str, count: int) -> list[bool | None]:
    if name not in arrays:
        return [None] * count
    return [None if value < 0 else bool(value) for value in arrays[name].astype(np.int64).tolist()]


def _all_of(values: Any) -> bool | None:
    """Whether all hold: no where one does not, and not known where one is not known."""
    told = list(values)
    if False in told:
        return False
    return None if None in told else True
