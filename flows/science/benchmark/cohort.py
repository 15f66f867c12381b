"""A made-up cohort of any size, drawn on the device, one fold of one participant at a time."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from flows.science.device import resolve_device

Fold = Literal["train", "validation", "test"]
FOLDS: tuple[Fold, ...] = ("train", "validation", "test")

SHOWINGS = 3
# Standard deviation of what an image does to a voxel that carries something, where noise has 1.
_SIGNAL = 0.5
# Share of the voxels that carry something.
_CARRYING = 0.3


@dataclass(frozen=True)
class Scale:
    """How large a cohort is; the defaults are about NSD's.

    Attributes
    ----------
    participants : int
    voxels : int
        V of each participant.
    trials : int
        Of each participant in all folds; every image is shown three times.
    dimension : int
        D.
    components : int
        K, planted and sought.
    held_out : int
        Images of the test fold, and of the validation fold; the rest train.
    """

    participants: int = 8
    voxels: int = 18_000
    trials: int = 27_000
    dimension: int = 512
    components: int = 128
    held_out: int = 1000

    def __post_init__(self) -> None:
        if min(self.participants, self.voxels, self.dimension, self.components) < 1:
            raise ValueError(f"a cohort needs at least one of everything, not {self}")
        if self.held_out < 9 or self.images < 2 * self.held_out + 2:
            raise ValueError(
                f"{self.trials} trials show {self.images} images {SHOWINGS} times: too few to hold "
                f"out twice {self.held_out}, of which there must be 9, and train on 2"
            )

    @property
    def images(self) -> int:
        """Distinct images."""
        return self.trials // SHOWINGS


class Cohort:
    """Participants whose voxels answer to planted directions, and noise.

    Parameters
    ----------
    scale : Scale
    seed : int
        The same seed gives the same cohort on one device.
    device : str or torch.device
        Where numbers are drawn, as `resolve_device` takes it.
    """

    def __init__(self, scale: Scale, *, seed: int, device: str | torch.device) -> None:
        self.scale, self.seed = scale, seed
        self.device = resolve_device(device)
        draw = self._generator(0)
        shape = (scale.images, scale.dimension)
        self._vectors = functional.normalize(torch.randn(shape, generator=draw, device=self.device))
        self._directions = functional.normalize(
            torch.randn(scale.components, scale.dimension, generator=draw, device=self.device)
        )
        self.vectors: NDArray[np.float32] = self._vectors.cpu().numpy()
        self.directions: NDArray[np.float32] = self._directions.cpu().numpy()

    def images_of(self, fold: Fold) -> NDArray[np.int64]:
        """(N,) image that each trial of a fold shows."""
        held = self.scale.held_out
        start, stop = {
            "test": (0, held),
            "validation": (held, 2 * held),
            "train": (2 * held, self.scale.images),
        }[fold]
        return np.repeat(np.arange(start, stop), SHOWINGS)

    def responses(self, participant: int, fold: Fold) -> NDArray[np.float32]:
        """(N, V) responses of one participant; each call draws them anew, and alike."""
        draw = self._generator(1 + participant)
        voxels = self.scale.voxels
        carried = torch.randint(
            self.scale.components, (voxels,), generator=draw, device=self.device
        )
        carries = torch.rand(voxels, generator=draw, device=self.device) < _CARRYING
        # A product of two unit vectors of D dimensions has a standard deviation of D^-1/2.
        strength = _SIGNAL * self.scale.dimension**0.5 * carries
        tuning = self._directions[carried].T * strength
        noise = self._generator(1 + participant, 1 + FOLDS.index(fold))
        shown = self._vectors[torch.from_numpy(self.images_of(fold)).to(self.device)]
        told = shown @ tuning
        told += torch.randn(told.shape, generator=noise, device=self.device)
        responses: NDArray[np.float32] = told.cpu().numpy()
        return responses

    def _generator(self, *path: int) -> torch.Generator:
        state = np.random.SeedSequence([self.seed, *path]).generate_state(1, np.uint64)
        return torch.Generator(self.device).manual_seed(int(state[0] >> 1))
