"""Which images train, validate and test."""

import numpy as np
from numpy.typing import NDArray

# Three showings are what the noise ceiling and the published protocols count on; a fourth
# makes an image no better a test image.
_ENOUGH = 3


def split_by_image(
    exposures: NDArray[np.integer],
    shared: NDArray[np.bool_],
    *,
    n_test: int,
    n_validation: int,
    seed: int,
    settled: NDArray[np.str_] | None = None,
) -> NDArray[np.str_]:
    """Assign every image to one fold, the same for all participants.

    Each participant gets `n_test` test images among those it saw, then `n_validation`
    validation images; all others train. Images seen at least three times come first (or the
    most repeated there are), among them the shared ones, and then by a seeded draw. Shared
    images that the most participants saw three times are settled before any other, so that
    the folds of different participants hold the same images where they can. What one
    participant's fold holds counts for every other who saw it: a participant can so meet
    test images that it saw less than three times, and, where participants overlap without
    being marked shared, a few images more than asked.

    Parameters
    ----------
    exposures : ndarray
        (S, I) integer, how often each participant saw each image. The images' order is part
        of the input: give them sorted by key.
    shared : ndarray
        (I,) bool, images meant for every participant.
    n_test, n_validation : int
        Images per participant and fold.
    seed : int
        Seed of the draw.
    settled : ndarray, optional
        (I,) folds that images have already and keep; an empty text where one is to be found.
        What they hold counts towards `n_test` and `n_validation`.

    Returns
    -------
    ndarray
        (I,) of ``"train"``, ``"validation"`` or ``"test"``.

    Raises
    ------
    ValueError
        Where shapes do not match, a count is negative, or a participant keeps no image to
        train on.

    References
    ----------
    METHOD.md 0.
    """
    exposures = np.asarray(exposures)
    shared = np.asarray(shared, dtype=bool)
    if exposures.ndim != 2 or shared.shape != exposures.shape[1:]:
        raise ValueError(
            f"exposures of shape {exposures.shape} do not match {shared.shape} shared flags"
        )
    if min(n_test, n_validation) < 0 or exposures.min(initial=0) < 0:
        raise ValueError("numbers of images and of showings cannot be negative")
    draw = np.random.default_rng(seed).permutation(exposures.shape[1])
    fold = np.full(exposures.shape[1], "train", dtype="<U10")
    free = np.ones(len(fold), dtype=bool)
    if settled is not None:
        free = np.asarray(settled) == ""
        fold[~free] = settled[~free]
    for name, size in (("test", n_test), ("validation", n_validation)):
        _fill(fold, name, size, exposures, shared, draw, free)

    for participant, seen in enumerate(exposures > 0):
        if not (seen & (fold == "train")).any():
            test, validation = (int((seen & (fold == f)).sum()) for f in ("test", "validation"))
            raise ValueError(
                f"participant {participant} keeps no image to train on: of {int(seen.sum())} "
                f"images seen, {test} are test and {validation} validation "
                f"(asked for {n_test} and {n_validation})"
            )
    return fold


def _fill(
    fold: NDArray[np.str_],
    name: str,
    size: int,
    exposures: NDArray[np.integer],
    shared: NDArray[np.bool_],
    draw: NDArray[np.integer],
    free: NDArray[np.bool_],
) -> None:
    """Give every participant `size` images of the fold, in place, among those that are free."""
    complete = (exposures >= _ENOUGH).sum(axis=0)
    common = np.flatnonzero(shared & (complete > 0) & (fold == "train") & free)
    common = common[np.lexsort((draw[common], -complete[common]))]
    already = int((shared & (complete > 0) & (fold == name)).sum())
    fold[common[: max(0, size - already)]] = name

    seen = exposures > 0
    for participant in range(len(exposures)):
        held = (seen & (fold == name)).sum(axis=1)
        candidates = np.flatnonzero(seen[participant] & (fold == "train") & free)
        # An image that another participant with a full fold also saw would overfill that fold.
        crowded = seen[held >= size].any(axis=0)
        order = np.lexsort(
            (
                draw[candidates],
                ~shared[candidates],
                crowded[candidates],
                -np.minimum(exposures[participant, candidates], _ENOUGH),
            )
        )
        missing = max(0, size - int(held[participant]))
        fold[candidates[order[:missing]]] = name
