"""Floating-point operations of the matrix products that each stage needs.

A product of (a, b) and (b, c) is 2abc operations. Whatever else a stage does, such as noise, norms,
softmaxes, Adam's steps and gathers, is not counted: against the rate of a bare product, what is
achieved says how much of the time products take.
"""

from flows.science.decoder import DecoderConfig
from flows.science.masks import MaskConfig


def decoder_flops(
    config: DecoderConfig,
    *,
    batch: int,
    steps: int,
    evaluations: int,
    voxels: int,
    dimension: int,
    validation: int,
    pool: int,
) -> float:
    """Training of a linear decoder.

    A step: the prediction and the weights' gradient, ``4 B V D``, and the scores and their
    gradient, ``4 B^2 D``. An evaluation: the prediction of all P validation trials and their
    cosines with the pool of M images, ``2 P V D + 2 P M D``.

    Raises
    ------
    ValueError
        The decoder is not linear.
    """
    if config.kind != "linear":
        raise ValueError(f"only a linear decoder's operations are counted, not a {config.kind}'s")
    step = 4.0 * batch * voxels * dimension + 4.0 * batch**2 * dimension
    evaluation = 2.0 * validation * dimension * (voxels + pool)
    return steps * step + evaluations * evaluation


def reduction_flops(
    *, batch: int, steps: int, components: int, dimension: int, starts: int
) -> float:
    """The reduction, each start looking for K directions of D dimensions.

    A step of a start: the responses of predictions and targets, and the weights' gradient,
    ``8 B D K``; the distances and the gradients of both sides, ``6 B^2 K``. What judges the rows
    once, after the last step, is left out.
    """
    step = 8.0 * batch * dimension * components + 6.0 * batch**2 * components
    return starts * steps * step


def mask_flops(
    config: MaskConfig,
    *,
    fitted: int,
    trials: int,
    held_out: int,
    voxels: int,
    dimension: int,
    varying: int,
    chosen: int,
    members: int,
) -> float:
    """The masks of a linear decoder.

    A step of C masks on N trials: the response and the length, and the gradients of both,
    ``8 N V C``. Setting out: the decoded vectors and their tilt, ``4 N V D`` a partition. First the
    whole path of L prices on the fitted trials, then the chosen ones on all trials. Judging: the
    decoded vector of each hard mask from its members alone, ``2 H M D`` of M members on H held-out
    trials, once each.

    Parameters
    ----------
    config : MaskConfig
    fitted, trials, held_out : int
        Trials that the path is fitted on, all of them, and those that it is judged on.
    voxels, dimension : int
    varying : int
        Components that have a path.
    chosen : int
        Components that have a point of it.
    members : int
        Members of all hard masks that were judged, summed.
    """
    draws = config.draws if 0 < config.part < voxels else 1
    steps = draws * config.snapshots[-1]

    def passed(trials: int, masks: int) -> float:
        return 8.0 * steps * trials * voxels * masks + 4.0 * draws * trials * voxels * dimension

    path = passed(fitted, varying * len(config.lambdas))
    last = passed(trials, chosen) if chosen else 0.0
    return path + last + 2.0 * held_out * members * dimension
