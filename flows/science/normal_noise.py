"""Normal noise, drawn by several threads and yet the same for any number of them."""

from concurrent.futures import ThreadPoolExecutor

import torch

# Fixed: a number that followed the machine's cores would make the draws the machine's own.
_PARTS = 4


class NormalNoise:
    """Standard normal noise of one shape, drawn again and again.

    PyTorch draws on one core from a CPU's generator; for a decoder of many voxels that takes a
    quarter of the time of its products. So the noise is cut into parts, each with a generator
    of its own, which the threads that PyTorch may use draw beside each other. On another
    device one generator draws it all.

    Parameters
    ----------
    like : torch.Tensor
        Of the shape, type and device of the noise.
    seed : int
        The same seed draws the same values, whatever the number of threads.
    """

    def __init__(self, like: torch.Tensor, seed: int) -> None:
        self._values = torch.empty_like(like, memory_format=torch.contiguous_format)
        place = like.device
        parts = self._values.view(-1).chunk(_PARTS if place.type == "cpu" else 1)
        # Not counted up from the seed: one run's second part would be the next run's first.
        seeds = torch.randint(2**62, (len(parts),), generator=torch.Generator().manual_seed(seed))
        self._parts = [
            (part, torch.Generator(place).manual_seed(own))
            for part, own in zip(parts, seeds.tolist(), strict=True)
        ]
        threads = min(len(parts), torch.get_num_threads())
        self._threads = ThreadPoolExecutor(threads) if threads > 1 else None

    def draw(self) -> torch.Tensor:
        """Noise that holds until the next draw, which overwrites it."""
        fill = map if self._threads is None else self._threads.map
        for _ in fill(_fill, self._parts):
            pass
        return self._values


def _fill(part: tuple[torch.Tensor, torch.Generator]) -> None:
    values, generator = part
    values.normal_(generator=generator)
