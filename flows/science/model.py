"""A trained decoder, as it is stored and used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from flows.science.checks import check_responses

Kind = Literal["linear", "mlp"]
Layers = Sequence[tuple[torch.Tensor, torch.Tensor]]

_SLOPE = 0.01
NAMES: Mapping[str, tuple[str, ...]] = {
    "linear": ("weight", "bias"),
    "mlp": ("hidden_weight", "hidden_bias", "weight", "bias"),
}
_TRIAL_BLOCK = 2048


@dataclass(frozen=True, eq=False)
class Decoder:
    """A trained decoder: its kind and its layers' weights.

    Parameters
    ----------
    kind : {"linear", "mlp"}
    parameters : mapping of str to ndarray
        float32: ``weight`` (D, V), ``bias`` (D,) of a linear one; ``hidden_weight`` (H, V),
        ``hidden_bias`` (H,), ``weight`` (D, H), ``bias`` (D,) of an MLP.

    Raises
    ------
    ValueError
        For an unknown kind, or tensors whose names, types, shapes or values do not fit it.
    """

    kind: Kind
    parameters: Mapping[str, NDArray[np.float32]]

    def __post_init__(self) -> None:
        check_kind(self.kind)
        names = NAMES[self.kind]
        if set(self.parameters) != set(names):
            raise ValueError(
                f"a {self.kind} decoder has tensors {sorted(names)}, not {sorted(self.parameters)}"
            )
        for name, array in self.parameters.items():
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError(f"decoder tensor {name!r} must be finite float32")
        width = None
        for weight, bias in self._pairs():
            shape = self.parameters[weight].shape
            if (
                len(shape) != 2
                or self.parameters[bias].shape != shape[:1]
                or width not in (None, shape[1])
            ):
                raise ValueError(f"decoder tensors {weight!r} and {bias!r} do not fit together")
            width = shape[0]

    @property
    def n_voxels(self) -> int:
        """Number of voxels, V."""
        return int(self.parameters[NAMES[self.kind][0]].shape[1])

    @property
    def dimension(self) -> int:
        """Dimension of the embedding space, D."""
        return len(self.parameters["bias"])

    def predict(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Decode responses.

        Parameters
        ----------
        x : ndarray
            (N, V) z-scored responses.

        Returns
        -------
        ndarray
            (N, D) float32 unit rows.

        Raises
        ------
        ValueError
            Where the number of voxels differs or a response is not finite.
        """
        x = check_responses("x", x, self.n_voxels)
        layers = self.layers(torch.device("cpu"))
        decoded = np.empty((len(x), self.dimension), dtype=np.float32)
        with torch.no_grad():
            for start in range(0, len(x), _TRIAL_BLOCK):
                rows = slice(start, start + _TRIAL_BLOCK)
                raw = apply_layers(torch.from_numpy(x[rows]), layers)
                decoded[rows] = functional.normalize(raw).numpy()
        return decoded

    def voxel_vectors(self, x: NDArray[np.floating] | None = None) -> NDArray[np.float32]:
        """What each voxel adds to the decoded vector, before that is normalised.

        Parameters
        ----------
        x : ndarray, optional
            (N, V) responses at which an MLP is linearised; a linear decoder needs none.

        Returns
        -------
        ndarray
            (V, D) float32: for a linear decoder its weights, for an MLP the mean over `x` of
            the Jacobian. Given the sign of a hidden unit the MLP is linear, so that mean is
            one product of both weights with each unit's mean slope between them: exact, and
            no Jacobian of a single trial is ever built.

        Raises
        ------
        ValueError
            Where an MLP is given no responses, or those given do not fit.
        """
        weight = self.parameters["weight"]
        if self.kind == "linear":
            return weight.T.copy()
        if x is None or len(x) == 0:
            raise ValueError("voxel vectors of an MLP depend on the responses: none were given")
        x = check_responses("x", x, self.n_voxels)
        hidden, bias = self.parameters["hidden_weight"], self.parameters["hidden_bias"]
        active = np.zeros(len(bias))
        for start in range(0, len(x), _TRIAL_BLOCK):
            active += (x[start : start + _TRIAL_BLOCK] @ hidden.T + bias > 0).sum(axis=0)
        slope = _SLOPE + (1 - _SLOPE) * active / len(x)
        return np.asarray(((weight * slope.astype(np.float32)) @ hidden).T, dtype=np.float32)

    def layers(self, device: torch.device) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Weights and biases, first layer first, as copies for `apply_layers`."""
        return [
            (
                torch.tensor(self.parameters[weight], device=device),
                torch.tensor(self.parameters[bias], device=device),
            )
            for weight, bias in self._pairs()
        ]

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """What to store, by name; `from_tensors` gives the same decoder back."""
        return dict(self.parameters)

    @classmethod
    def from_tensors(cls, kind: str, tensors: Mapping[str, NDArray[np.float32]]) -> "Decoder":
        """Decoder of a kind from stored tensors; errors are those of the class."""
        return cls(check_kind(kind), dict(tensors))

    def _pairs(self) -> list[tuple[str, str]]:
        names = NAMES[self.kind]
        return list(zip(names[::2], names[1::2], strict=True))


def apply_layers(x: torch.Tensor, layers: Layers) -> torch.Tensor:
    """Decode (N, V) responses to (N, D) vectors that are not yet normalised."""
    return apply_further_layers(functional.linear(x, *layers[0]), layers[1:])


def apply_further_layers(x: torch.Tensor, layers: Layers) -> torch.Tensor:
    """What the layers after the first make of its output."""
    for weight, bias in layers:
        x = functional.linear(functional.leaky_relu(x, _SLOPE), weight, bias)
    return x


def check_kind(kind: str) -> Kind:
    """The kind, or ValueError where there is none of that name."""
    if kind == "linear":
        return "linear"
    if kind == "mlp":
        return "mlp"
    raise ValueError(f"unknown kind of decoder {kind!r}: use 'linear' or 'mlp'")
