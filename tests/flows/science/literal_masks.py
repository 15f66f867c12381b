"""The published mask procedure, word for word: the yardstick of the fast one."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from flows.science.model import Decoder, apply_layers


def literal_masks(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    decoder: Decoder,
    components: NDArray[np.floating],
    lam: float,
    steps: int,
    learning_rate: float = 2e-3,
) -> NDArray[np.float32]:
    """Soft masks (K, V): one component at a time, the whole decoder called at every step."""
    responses, targets = torch.tensor(x), torch.tensor(y)
    layers = decoder.layers(torch.device("cpu"))
    masks = []
    for component in torch.tensor(components):
        mask = torch.full((x.shape[1],), 0.5, requires_grad=True)
        optimiser = torch.optim.Adam([mask], lr=learning_rate)
        z = torch.relu(targets @ component)
        for _ in range(steps):
            decoded = functional.normalize(apply_layers(responses * mask, layers))
            zhat = torch.relu(decoded @ component)
            loss = -torch.corrcoef(torch.stack([z, zhat]))[0, 1] + lam * mask.mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            with torch.no_grad():
                mask.clamp_(0, 1)
        masks.append(mask.detach().numpy())
    return np.stack(masks)
