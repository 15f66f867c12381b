"""The demo's experiment: who sees which image, when, and which number it has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Design:
    """The experiment of a cohort of S participants with I images each, J in all.

    Attributes
    ----------
    subject_ids : numpy.ndarray
        (S, I) 1-based image ids; the shared ones come first, in the same order for all.
    shared_ids : numpy.ndarray
        (H,) 1-based ids of images that all participants see, ascending.
    master_ordering : numpy.ndarray
        (N,) 1-based columns of ``subject_ids``, one a trial, the same for all.
    coco_ids : numpy.ndarray
        (J,) COCO ids, row = image id - 1.
    validation_split : numpy.ndarray
        (J,) bool, image comes from COCO's val2017 rather than train2017.
    trials_per_session : int
    """

    subject_ids: np.ndarray
    shared_ids: np.ndarray
    master_ordering: np.ndarray
    coco_ids: np.ndarray
    validation_split: np.ndarray
    trials_per_session: int

    @property
    def session(self) -> np.ndarray:
        """(N,) 1-based session of each trial."""
        return np.arange(self.master_ordering.size) // self.trials_per_session + 1

    def trial_ids(self, participant: int) -> np.ndarray:
        """(N,) 1-based image id of each of a participant's trials."""
        ids: np.ndarray = self.subject_ids[participant, self.master_ordering - 1]
        return ids


def draw_design(
    *,
    participants: int,
    images: int,
    shared: int,
    repeats: int,
    trials_per_session: int,
    rng: np.random.Generator,
) -> Design:
    """Draw a design in which every participant sees each of their images ``repeats`` times.

    Parameters
    ----------
    participants, images, shared, repeats, trials_per_session : int
        ``images`` counts a participant's images, the shared ones included.
    rng : numpy.random.Generator
    """
    own = images - shared
    total = shared + participants * own
    ids = rng.permutation(total) + 1
    shared_ids = np.sort(ids[:shared])
    own_ids = ids[shared:].reshape(participants, own)
    subject_ids = np.concatenate([np.tile(shared_ids, (participants, 1)), own_ids], axis=1)
    coco_ids = np.sort(rng.choice(np.arange(1000, 580_000), total, replace=False))
    return Design(
        subject_ids=subject_ids,
        shared_ids=shared_ids,
        master_ordering=_spread(images, repeats, rng),
        coco_ids=coco_ids,
        validation_split=rng.random(total) < 0.05,
        trials_per_session=trials_per_session,
    )


def _spread(images: int, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """Random order over the whole experiment, no image twice in a row."""
    order = rng.permutation(np.tile(np.arange(1, images + 1), repeats))
    while (same := np.flatnonzero(order[1:] == order[:-1]) + 1).size:
        partner = rng.integers(0, order.size, same.size)
        for a, b in zip(same, partner, strict=True):
            order[a], order[b] = order[b], order[a]
    return order
