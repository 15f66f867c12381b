"""Descent of many voxel masks at once: their objective, its gradient, and the steps."""

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from flows.science.model import Layers, apply_layers
from flows.science.precision import add_product, products_in

# Below this share of its length at the start, a decoded vector's linearised length says nothing.
_SHORTEST = 0.05
_TINY = 1e-12

Gradient = Callable[[torch.Tensor], torch.Tensor]
# Which trials each decoder tells: rows (n,), and its layers. Where every trial is told by a decoder
# that never saw its stimulus there are several.
Parts = Sequence[tuple[torch.Tensor, Layers]]


class LinearObjective:
    """Gradient of -pearson(z, zhat) with respect to masks, for a linear decoder.

    A component w collapses the decoder f(x) = W x + b to the vector ``W^T w`` of V gains, so
    all columns share one product. The decoded vector's length, by which the response is
    divided, differs for each mask; exact, it would cost D products. It is linearised where
    masks start, at m = 0.5: with unit vectors u_i of f(x_i / 2), ``||f(x_i * m)||`` is about
    ``u_i . f(x_i * m)``, linear in m, which costs one product more each way. Dropping the
    length, or keeping it fixed, would save those and give other masks from the first steps on.
    On planted data hard masks overlap the literal ones by a Dice of 0.91 to 1 up to 100 steps
    (fixed or dropped: 0.6 to 0.9) and of 0.67 to 0.95 at 200. After that they drift apart, as
    the linearisation ends and the objective, blind to a mask's scale, decides little.

    Parameters
    ----------
    x : torch.Tensor
        (N, V) responses.
    z : torch.Tensor
        (N, K) true component responses.
    directions : torch.Tensor
        (K, D) components.
    parts : sequence
        The trials that each decoder tells, and its one layer, ``weight`` (D, V), ``bias`` (D,).
    owner : torch.Tensor
        (C,) component of each mask.
    dtype : torch.dtype
        Number type of the products of each step.
    """

    def __init__(
        self,
        x: torch.Tensor,
        z: torch.Tensor,
        directions: torch.Tensor,
        parts: Parts,
        owner: torch.Tensor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.truth = _standard(z)[0][:, owner]
        self.tilt = torch.empty(x.shape, dtype=dtype, device=x.device)
        self.tilt_offset = torch.empty(len(x), 1, device=x.device)
        self.shortest = torch.empty(len(x), 1, device=x.device)
        # One product for all decoders: their trials side by side, filled up to the same number.
        most = max(len(rows) for rows, _ in parts)
        self.x = torch.zeros(len(parts), most, x.shape[1], dtype=dtype, device=x.device)
        self.place = torch.empty(len(x), dtype=torch.int64, device=x.device)
        gains, offsets = [], []
        for number, (rows, ((weight, bias),)) in enumerate(parts):
            own = x[rows]
            start = apply_layers(own / 2, [(weight, bias)])
            length = start.norm(dim=1, keepdim=True).clamp_min(_TINY)
            unit = start / length
            self.tilt[rows] = (unit @ weight).mul_(own).to(dtype)
            self.tilt_offset[rows] = (unit @ bias)[:, None]
            self.shortest[rows] = _SHORTEST * length
            self.x[number, : len(rows)] = own.to(dtype)
            self.place[rows] = number * most + torch.arange(len(rows), device=x.device)
            gains.append((directions @ weight).T[:, owner])
            offsets.append((directions @ bias)[owner])
        self.gain, self.offset = torch.stack(gains), torch.stack(offsets)[:, None]

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """Gradient (V, C) at masks (V, C)."""
        length = add_product(self.tilt_offset, self.tilt, mask)
        free = length > self.shortest
        length = torch.maximum(length, self.shortest)
        told = (self.x @ (mask * self.gain).to(self.x.dtype)).float() + self.offset
        response = told.flatten(0, 1)[self.place].div_(length)
        slope = _slope(self.truth, response.relu()).mul_(response > 0).div_(length)
        spread = torch.zeros_like(told).flatten(0, 1)
        spread[self.place] = slope
        back = self.x.transpose(1, 2) @ spread.view_as(told).to(self.x.dtype)
        gradient = (back.float() * self.gain).sum(0)
        slope.mul_(response).mul_(free)
        return add_product(gradient, self.tilt.T, slope, alpha=-1).neg_()


class NetworkObjective:
    """The same gradient for any decoder, exact, by autograd and one mask at a time."""

    def __init__(
        self,
        x: torch.Tensor,
        z: torch.Tensor,
        directions: torch.Tensor,
        parts: Parts,
        owner: torch.Tensor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.x, self.truth = x, _standard(z)[0]
        self.directions, self.parts, self.dtype = directions, parts, dtype
        self.owner: list[int] = owner.tolist()

    def __call__(self, mask: torch.Tensor) -> torch.Tensor:
        """Gradient (V, C) at masks (V, C)."""
        gradient = torch.empty_like(mask)
        for column, component in enumerate(self.owner):
            weights = mask[:, column].clone().requires_grad_()
            with products_in(self.dtype, mask.device):
                told = [apply_layers(self.x[rows] * weights, layers) for rows, layers in self.parts]
            order = torch.cat([rows for rows, _ in self.parts]).argsort()
            decoded = functional.normalize(torch.cat(told)[order].float())
            response = (decoded @ self.directions[component]).relu()[:, None]
            loss = -(self.truth[:, [component]] * _standard(response)[0]).sum()
            (gradient[:, column],) = torch.autograd.grad(loss, weights)
        return gradient


def descend(
    gradient: Gradient,
    shape: tuple[int, int],
    lam: torch.Tensor,
    learning_rate: float,
    snapshots: Sequence[int],
    visit: Callable[[int, torch.Tensor], bool],
) -> None:
    """Step masks down ``-r + lam * mean(m)`` by Adam, from 0.5 and clamped to [0, 1].

    Parameters
    ----------
    gradient : callable
        Of -r at masks (V, C).
    shape : tuple of int
        (V, C).
    lam : torch.Tensor
        (C,) price of each mask's mean weight; the masks lie on its device.
    learning_rate : float
    snapshots : sequence of int
        Rising steps after which `visit` is called; the last ends the descent.
    visit : callable
        Given the step and the live masks, which it must copy to keep; True ends the descent.
    """
    mask = torch.full(shape, 0.5, device=lam.device)
    mean, square = torch.zeros_like(mask), torch.zeros_like(mask)
    price = lam / shape[0]
    for step in range(1, snapshots[-1] + 1):
        slope = gradient(mask).add_(price)
        mean.lerp_(slope, 0.1)
        square.mul_(0.999).addcmul_(slope, slope, value=0.001)
        scale = (square / (1 - 0.999**step)).sqrt_().add_(1e-8)
        mask.addcdiv_(mean, scale, value=-learning_rate / (1 - 0.9**step)).clamp_(0, 1)
        if step in snapshots and visit(step, mask):
            return


def masked_predictions(x: torch.Tensor, mask: torch.Tensor, parts: Parts) -> torch.Tensor:
    """f(x * m) at length 1, (N, D), exactly; voxels of weight 0 are never touched.

    Parameters
    ----------
    x : torch.Tensor
        (N, V) responses.
    mask : torch.Tensor
        (V,) weights.
    parts : sequence
        The trials that each decoder tells, and its layers.
    """
    kept = mask.nonzero()[:, 0]
    dimension = parts[0][1][-1][1].shape[0]
    predicted = torch.empty(len(x), dimension, device=x.device)
    members = x[:, kept]
    for rows, ((weight, bias), *further) in parts:
        layers = [(weight[:, kept] * mask[kept], bias), *further]
        predicted[rows] = functional.normalize(apply_layers(members[rows], layers))
    return predicted


def masked_response(
    x: torch.Tensor, mask: torch.Tensor, direction: torch.Tensor, parts: Parts
) -> torch.Tensor:
    """relu(f(x * m) w), (N,), of a component ``direction`` (D,); see `masked_predictions`."""
    return (masked_predictions(x, mask, parts) @ direction).relu()


def _standard(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns centred and at length 1, and the length they had; constant ones become zero."""
    centred = values - values.mean(dim=0)
    length = centred.norm(dim=0).clamp_min(_TINY)
    return centred / length, length


def _slope(truth: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    """d pearson / d response, given the truth's standardised columns."""
    unit, length = _standard(response)
    correlation = (truth * unit).sum(dim=0)
    return (truth - unit.mul_(correlation)).div_(length)
