"""How well masks along a path predict held-out images, and which one is taken."""

import numpy as np
import torch
from numpy.typing import NDArray

from flows.science.mask_descent import Parts, masked_response
from flows.science.metrics import pearson

# Distinct images on either side of the split that a path is judged on: an r of fewer says nothing.
FEWEST_IMAGES = 8
INFEASIBLE = "no feasible mask on the path"


class HeldOutPath:
    """Held-out record of each column's best snapshot.

    Parameters
    ----------
    x : torch.Tensor
        (N, V) held-out responses.
    z : ndarray
        (N, K) true component responses.
    directions : torch.Tensor
        (K, D) components.
    parts : sequence
        The trials that each decoder tells, and its layers.
    owner : ndarray
        (C,) component of each column.
    threshold : float
        Weight from which a voxel is a member.

    Attributes
    ----------
    r, step, size : ndarray
        (C,) held-out r of the best hard mask (NaN before there is one), its step and its
        number of members.
    response : ndarray
        (N, C) its decoded responses.
    """

    def __init__(
        self,
        x: torch.Tensor,
        z: NDArray[np.float32],
        directions: torch.Tensor,
        parts: Parts,
        owner: NDArray[np.intp],
        threshold: float,
    ) -> None:
        self.x, self.truth = x, z[:, owner]
        self.directions, self.parts = directions, parts
        self.owner, self.threshold = owner, threshold
        self.r = np.full(len(owner), np.nan)
        self.step = np.zeros(len(owner), dtype=np.int64)
        self.size = np.zeros(len(owner), dtype=np.int64)
        self.response = np.zeros(self.truth.shape, dtype=np.float32)

    def visit(self, step: int, masks: torch.Tensor) -> None:
        """Judge the hard masks of a step."""
        members = (masks >= self.threshold).T
        for column in members.any(dim=1).nonzero()[:, 0].tolist():
            direction = self.directions[int(self.owner[column])]
            weights = members[column].to(self.x.dtype)
            response = masked_response(self.x, weights, direction, self.parts).cpu().numpy()
            r, so_far = float(pearson(self.truth[:, column], response)), self.r[column]
            if r > so_far or np.isnan(so_far):
                self.r[column], self.step[column] = r, step
                self.size[column] = int(weights.sum())
                self.response[:, column] = response

    def summary(self) -> dict[str, float]:
        """What to tell of it while it runs."""
        defined = self.r[np.isfinite(self.r)]
        return {"held_out_r": float(defined.mean()) if len(defined) else float("nan")}


def choose(
    r: NDArray[np.float64],
    own_error: NDArray[np.float64],
    paired_error: NDArray[np.float64],
    size: NDArray[np.int64],
    n_voxels: int,
) -> tuple[int, str | None]:
    """Point of one component's path: fewest members within one standard error of the best.

    Parameters
    ----------
    r, own_error : ndarray
        (L,) held-out r and its standard error; NaN where undefined.
    paired_error : ndarray
        (L,) standard error of the difference to the best.
    size : ndarray
        (L,) members.
    n_voxels : int

    Returns
    -------
    int
        Index into the path, -1 where there is a reason.
    str or None
        Why none is chosen. A best r that does not reach twice its standard error is none: a
        mask that predicts nothing has no members to report.
    """
    if not size.any():
        return -1, "empty"
    defined = np.where(np.isfinite(r) & (size > 0), r, -np.inf)
    best = int(defined.argmax())
    if not defined[best] > 2 * own_error[best]:
        return -1, INFEASIBLE
    within = (defined >= defined[best] - paired_error) & (size < n_voxels)
    if not within.any():
        return -1, "full"
    return int(np.where(within, size, n_voxels).argmin()), None


def leave_one_image_out(
    a: NDArray[np.float32], b: NDArray[np.float32], image: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Pearson r (I, C) of columns with each image's trials left out, from running sums."""
    left = np.asarray(a - a.mean(axis=0), dtype=np.float64)
    right = np.asarray(b - b.mean(axis=0), dtype=np.float64)
    label = np.unique(image, return_inverse=True)[1].ravel()
    trials = np.bincount(label).astype(np.float64)
    remaining = (len(left) - trials)[:, None]

    def without(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.zeros((len(trials), values.shape[1]))
        np.add.at(sums, label, values)
        return np.asarray((values.sum(axis=0) - sums) / remaining)

    mean_left, mean_right = without(left), without(right)
    variance = (without(left**2) - mean_left**2) * (without(right**2) - mean_right**2)
    covariance = without(left * right) - mean_left * mean_right
    scale = np.sqrt(np.maximum(variance, 0))
    return np.where(scale > 0, covariance / np.where(scale > 0, scale, 1), np.nan)


def jackknife(left_out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard error (C,) of a statistic from its values with one of I images left out."""
    count = len(left_out)
    return np.asarray(np.sqrt((count - 1) * left_out.var(axis=0)))


def too_few_to_hold_out(image: NDArray[np.integer], holdout: float) -> str | None:
    """Why no path can be judged on a share of so few distinct images; None where it can."""
    distinct = len(np.unique(image))
    held = round(holdout * distinct)
    if min(held, distinct - held) >= FEWEST_IMAGES:
        return None
    return (
        f"{distinct} distinct vectors are too few to choose a price: of a share of {holdout:.2g} "
        f"held out, {FEWEST_IMAGES} must be on either side"
    )


def split_images(
    image: NDArray[np.integer], holdout: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to fit on and rows held out; no image is in both.

    Raises
    ------
    ValueError
        There are too few images (`too_few_to_hold_out`).
    """
    if few := too_few_to_hold_out(image, holdout):
        raise ValueError(few)
    distinct = np.unique(image)
    drawn = np.random.default_rng(seed).permutation(distinct)[: round(holdout * len(distinct))]
    held = np.isin(image, drawn)
    return np.flatnonzero(~held), np.flatnonzero(held)
