import numpy as np
import torch

from flows.science.mask_descent import descend
from flows.science.mask_parts import fit_parts
from flows.science.masks import PUBLISHED_MASKS, MaskConfig, fit_masks
from flows.science.metrics import auc
from flows.science.ridge import fit_ridge

LAM = torch.tensor([1.0, 2.0])
DESCENT = {"learning_rate": 1e-2, "snapshots": (5, 10), "seed": 0}


def pull(voxels: torch.Tensor) -> object:
    """A gradient that draws voxel v to weight 1 where v is even, to 0 where it is odd."""
    wanted = (voxels % 2 == 0).float()[:, None]
    return lambda mask: mask - wanted


def test_all_voxels_together_are_one_plain_descent() -> None:
    together = fit_parts(pull, 12, LAM, part=0, draws=3, **DESCENT)
    seen: dict[int, torch.Tensor] = {}

    def keep(step: int, mask: torch.Tensor) -> bool:
        seen[step] = mask.clone()
        return False

    descend(pull(torch.arange(12)), (12, 2), LAM, 1e-2, (5, 10), keep)
    assert together.keys() == seen.keys()
    for step, mask in seen.items():
        torch.testing.assert_close(together[step], mask)


def test_every_voxel_is_in_one_part_of_each_partition() -> None:
    visits = torch.zeros(103)

    def noting(voxels: torch.Tensor) -> object:
        visits[voxels] += 1
        assert 15 <= len(voxels) <= 25
        return pull(voxels)

    calls: list[tuple[int, int]] = []
    fit_parts(
        noting,
        103,
        LAM,
        part=20,
        draws=3,
        on_part=lambda done, total: calls.append((done, total)),
        **DESCENT,
    )
    assert (visits == 3).all()
    assert calls == [(done, 15) for done in range(1, 16)]


def test_weights_are_relative_to_the_largest_of_a_part_and_averaged() -> None:
    masks = fit_parts(pull, 40, LAM, part=10, draws=2, **DESCENT)[10]
    assert float(masks.max()) == 1.0
    assert (masks[::2] > masks[1::2]).all()


def test_the_same_seed_gives_the_same_partitions() -> None:
    first = fit_parts(pull, 40, LAM, part=10, draws=2, **DESCENT)[10]
    again = fit_parts(pull, 40, LAM, part=10, draws=2, **DESCENT)[10]
    assert torch.equal(first, again)


def redundant(seed: int, signal: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sixty of 600 voxels carry the first direction of the targets, and all tell much the same."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(500), 3)
    y = rng.normal(size=(500, 20))
    y = (y / np.linalg.norm(y, axis=1, keepdims=True)).astype(np.float32)
    x = rng.normal(size=(len(image), 600))
    x[:, :60] += signal * 4 * np.maximum(y[image, :1], 0) ** 2 * 4
    return x.astype(np.float32), y[image], image, np.arange(600) < 60


def masks_of(config: MaskConfig, signal: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    x, y, image, planted = redundant(0, signal)
    x -= x.mean(axis=0)
    decoder = fit_ridge(x[:750], y[:750], x[750:900], y[750:900])
    component = np.eye(1, 20, dtype=np.float32)
    fit = fit_masks(x[750:], y[750:], image[750:], decoder, component, config, seed=0, device="cpu")
    return fit.soft, planted


def test_parts_name_all_voxels_that_carry_where_one_mask_names_some() -> None:
    in_parts, planted = masks_of(MaskConfig())
    together, _ = masks_of(PUBLISHED_MASKS)
    assert auc(in_parts.T, planted)[0] > 0.97
    assert auc(in_parts.T, planted)[0] > auc(together.T, planted)[0] + 0.1
