"""How sure it is that a prompt is near to any of some concepts: a p over a vocabulary.

Every prompt has a nearest concept. Whether that one is near is told by what unrelated words get,
and a vocabulary holds related ones too: words for what the concepts are about lie far out above.
Hence the *mirrored* null. A concept's similarities with unrelated words scatter about their median
as far above it as below, and what is below holds no related word; so each word gives, of all
concepts, the largest distance that it lies *below* their medians, and these are what the largest
distance of an unrelated prompt *above* them is like. The words' own values are taken, not a
distribution fitted to them, and all concepts of one word together, so that the best of many
correlated concepts is held against the best of as many. Where a large part of the vocabulary is
related, it raises the medians, and p is too large rather than too small.

References
----------
Efron 2004, "Large-scale simultaneous hypothesis testing: the choice of a null hypothesis", JASA 99
(the null from the middle of what was measured); Barber & Candes 2015, "Controlling the false
discovery rate via knockoffs", Annals of Statistics 43 (the mirrored half); Westfall & Young 1993,
"Resampling-based multiple testing" (the largest of correlated statistics).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import InputError

FEWEST_WORDS = 100


@dataclass(frozen=True)
class BestMatchNull:
    """What the best similarity of an unrelated prompt is held against.

    Attributes
    ----------
    medians : array (K,), float64
        Of each concept's similarities with the vocabulary.
    maxima : array (n,), float64
        Each word's largest distance below the medians, ascending.
    """

    medians: NDArray[np.float64]
    maxima: NDArray[np.float64]


def mirrored_null(similarity: NDArray[np.floating]) -> BestMatchNull:
    """The null of the best match, from a vocabulary whose words may be related to concepts.

    Parameters
    ----------
    similarity : array (n, K)
        Of n words with K concepts, cosines.

    Raises
    ------
    InputError
        There are fewer than `FEWEST_WORDS` words, no concept, or values that are not finite.
    """
    values = np.asarray(similarity, np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(
            f"similarities of shape {values.shape} are not of words with concepts",
            hint="give a row for each word, a column for each concept",
        )
    if len(values) < FEWEST_WORDS:
        raise InputError(
            f"a vocabulary of {len(values)} words is too small to tell what unrelated ones get",
            hint=f"at least {FEWEST_WORDS} are needed",
        )
    if not np.isfinite(values).all():
        raise InputError("similarities are not finite", hint="vectors of length 0 give such")
    medians = np.median(values, axis=0)
    return BestMatchNull(medians, np.sort((medians - values).max(axis=1)))


def best_match_p(similarity: NDArray[np.floating], null: BestMatchNull) -> float:
    """The p of a prompt's best similarity, against what unrelated words get.

    Parameters
    ----------
    similarity : array (K,)
        Of the prompt with the concepts that `null` is of, in their order.
    null : BestMatchNull

    Returns
    -------
    float
        From 1 / (n + 1) to 1: the share of n words, and the prompt, whose mirrored best is at
        least as large.
    """
    best = float((np.asarray(similarity, np.float64) - null.medians).max())
    words = len(null.maxima)
    as_large = words - int(np.searchsorted(null.maxima, best, side="left"))
    return (1 + as_large) / (1 + words)
