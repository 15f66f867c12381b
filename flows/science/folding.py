"""Groups of stimuli that decoders are fitted without in turn, and stimuli drawn again."""

import numpy as np
from numpy.typing import NDArray

# Decoders that are fitted without a group each; more cost more, and learn from little more.
GROUPS = 5
# Runs of a block design are groups of their own, as far as there are no more.
_MOST_RUNS = 12
LEFT_OUT = "left out"


def cross_fitting_groups(
    image: NDArray[np.integer],
    session: NDArray[np.integer],
    validation: NDArray[np.bool_],
    *,
    seed: int,
    groups: int = GROUPS,
) -> NDArray[np.int64]:
    """Group of each trial; all trials of a stimulus are of one group.

    The validation stimuli are group 0, so that what is chosen on them was fitted without them. The
    others are dealt out at random; where every stimulus was shown in one session alone, as the
    blocks of a category are, whole sessions are groups, since blocks of a session are alike. A
    single session is one where the validation stimuli are of others, and half as many at least.

    Parameters
    ----------
    image, session : ndarray
        (N,) what each trial showed, and when.
    validation : ndarray
        (I,) bool, by stimulus.
    seed : int
        Of the draw.
    groups : int
        Groups in all, at least 2.

    Returns
    -------
    ndarray
        (N,) numbers from 0 without a gap; 0 is of the validation stimuli where there are some.

    Raises
    ------
    ValueError
        There are fewer than two stimuli to tell apart.
    """
    shown = np.unique(image)
    if len(shown) < 2:
        raise ValueError(f"{len(shown)} stimulus is too few to leave some out: 2 are needed")
    group = np.full(len(validation), -1, dtype=np.int64)
    held = shown[validation[shown]]
    group[held] = 0
    rest = shown[~validation[shown]]
    first = 1 if len(held) else 0
    pairs = np.unique(np.stack([image, session]), axis=1)
    once = pairs.shape[1] == len(shown)
    sessions = np.unique(session[np.isin(image, rest)])
    # One session beside that of the validation stimuli is the other half of three runs of which
    # one tests.
    halves = (
        len(held) >= len(rest) / 2 and not np.isin(session[np.isin(image, held)], sessions).any()
    )
    if once and len(sessions) and (len(sessions) >= 2 or halves):
        of_session = np.empty(len(validation), dtype=np.int64)
        of_session[pairs[0]] = pairs[1]
        count = min(len(sessions), _MOST_RUNS)
        parts = np.array_split(sessions, count)
        number = {int(each): index for index, part in enumerate(parts) for each in part}
        group[rest] = [first + number[int(of_session[stimulus])] for stimulus in rest]
    elif len(rest):
        count = max(1, min(groups - first, len(rest)))
        dealt = np.random.default_rng(seed).permutation(len(rest)) % count
        group[rest] = first + dealt
    return np.asarray(group[image])


def draw_again(folds: list[str], seed: int) -> list[str]:
    """Folds of stimuli of which those that are not test were drawn with replacement.

    Parameters
    ----------
    folds : list of str
        (I,) fold of each stimulus.
    seed : int

    Returns
    -------
    list of str
        `LEFT_OUT` where a stimulus was not drawn, about 37 % of train and validation.
    """
    drawn = np.array(folds, dtype=object)
    rng = np.random.default_rng(seed)
    for fold in ("train", "validation"):
        own = np.flatnonzero(drawn == fold)
        if len(own):
            missing = np.setdiff1d(own, rng.choice(own, len(own)))
            drawn[missing] = LEFT_OUT
    return [str(each) for each in drawn]
