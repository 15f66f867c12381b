"""Two ways to solve one ridge regression for many penalties: exact, and small in memory."""

from typing import Protocol

import torch

# Columns of the matrix of inner products that are made at once.
_BLOCK = 1024


class RidgeSolver(Protocol):
    """Solutions of ``|Y - X W|^2 + penalty * |W|^2``, X and Y less their means."""

    thorough: bool
    """Whether a further penalty costs next to nothing."""

    def validate(self, penalty: float) -> torch.Tensor | None:
        """Predictions (P, D) of the validation trials, less the targets' mean, if solvable."""

    def weight(self, penalty: float) -> torch.Tensor:
        """W (V, D)."""


class GroupSolver(Protocol):
    """The same solutions, and what each trial has to do with them: for leaving trials out."""

    targets: torch.Tensor
    """(N, D) less their mean."""
    mean: torch.Tensor
    """(V,) of the responses."""

    def prepare(self, penalty: float) -> bool:
        """Make ready for a penalty; False where the precision does not allow it."""

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Some trials' responses (n, V), less the mean of all."""

    def influence(self, penalty: float, rows: torch.Tensor) -> torch.Tensor:
        """``(X^T X + penalty)^-1 X_rows^T`` (V, n), of a penalty that has been prepared."""

    def remainder(self, penalty: float, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``I - X_rows (X^T X + penalty)^-1 X_rows^T`` (n, n), and ``Y_rows - X_rows W`` (n, D).

        Where there are fewer trials than voxels no voxel has a part in it: with K = X X^T it is
        ``penalty (K + penalty)^-1`` of these rows, and the same times Y.
        """

    def weight(self, penalty: float) -> torch.Tensor:
        """W (V, D), of a penalty that has been prepared."""


class Decomposed:
    """By one eigendecomposition, in double precision, of X^T X or X X^T, whichever is smaller.

    W = basis diag(1 / (values + penalty)) loads, whichever side is decomposed. LAPACK wants four
    matrices of that size, and its time goes with their cube: for some thousand trials or voxels.

    Parameters
    ----------
    x : torch.Tensor
        (N, V) responses.
    y : torch.Tensor
        (N, D) targets less their mean, double.
    x_validation : torch.Tensor, optional
        (P, V), for `validate`.
    """

    thorough = True

    def __init__(
        self, x: torch.Tensor, y: torch.Tensor, x_validation: torch.Tensor | None = None
    ) -> None:
        responses = x.double()
        mean = responses.mean(0)
        responses -= mean
        self.responses, self.targets, self.mean = responses, y, mean
        self.rotation: torch.Tensor | None = None
        if len(x) < x.shape[1]:
            values, self.rotation = torch.linalg.eigh(responses @ responses.T)
            self.basis, self.loads = responses.T @ self.rotation, self.rotation.T @ y
        else:
            values, self.basis = torch.linalg.eigh(responses.T @ responses)
            self.loads = self.basis.T @ (responses.T @ y)
        self.values = values.clamp(min=0)[:, None]
        if x_validation is not None:
            self.projected = (x_validation.double() - mean) @ self.basis

    def validate(self, penalty: float) -> torch.Tensor:
        """As `RidgeSolver.validate`."""
        told: torch.Tensor = self.projected @ (self.loads / (self.values + penalty))
        return told

    def weight(self, penalty: float) -> torch.Tensor:
        """As `RidgeSolver.weight`."""
        weight: torch.Tensor = self.basis @ (self.loads / (self.values + penalty))
        return weight

    def prepare(self, penalty: float) -> bool:
        """As `GroupSolver.prepare`."""
        return True

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """As `GroupSolver.rows`."""
        return self.responses[rows]

    def influence(self, penalty: float, rows: torch.Tensor) -> torch.Tensor:
        """As `GroupSolver.influence`."""
        spread = (
            self.rotation[rows].T if self.rotation is not None else self.basis.T @ self.rows(rows).T
        )
        influence: torch.Tensor = self.basis @ (spread / (self.values + penalty))
        return influence

    def remainder(self, penalty: float, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `GroupSolver.remainder`."""
        if self.rotation is not None:
            own = self.rotation[rows]
            kept = penalty / (self.values + penalty)
            return own @ (kept * own.T), own @ (kept * self.loads)
        return _by_voxel(self, penalty, rows)


class Factorised:
    """By a Cholesky factorisation for each penalty, in single precision.

    Beside the responses, of which no copy is made, there are in memory the matrix of inner
    products, its lower triangle filled, its factor, and the solutions found so far.

    Parameters
    ----------
    x : torch.Tensor
        (N, V) float32 responses.
    y : torch.Tensor
        (N, D) targets less their mean.
    x_validation : torch.Tensor, optional
        (P, V), for `validate`.
    """

    thorough = False

    def __init__(
        self, x: torch.Tensor, y: torch.Tensor, x_validation: torch.Tensor | None = None
    ) -> None:
        self.x, self.x_validation, self.targets = x, x_validation, y
        self.mean = x.mean(0)
        self.by_voxel = x.shape[1] <= len(x)
        targets = y.float()
        # The targets have no mean, so that the responses' makes no difference here.
        self.loads = x.T @ targets if self.by_voxel else targets
        self.products = self._inner_products()
        self.diagonal = self.products.diagonal().clone()
        # As LAPACK lays matrices out: otherwise torch would factorise a copy.
        self.factor = torch.empty_like(self.products).T
        self.solved: dict[float, torch.Tensor] = {}
        self.prepared: float | None = None
        self.failed = torch.empty((), dtype=torch.int32, device=x.device)

    def _inner_products(self) -> torch.Tensor:
        x, mean = self.x, self.mean
        size = min(x.shape)
        products = torch.zeros(size, size, device=x.device)
        for start in range(0, size, _BLOCK):
            stop = min(start + _BLOCK, size)
            rows = products[start:stop, :stop]
            # One factor without its mean is enough where the sum runs over trials.
            if self.by_voxel:
                rows.copy_((x[:, start:stop] - mean[start:stop]).T @ x[:, :stop])
            else:
                centred = x[start:stop] - mean
                rows.copy_(centred @ x[:stop].T).sub_((centred @ mean)[:, None])
        return products

    def validate(self, penalty: float) -> torch.Tensor | None:
        """As `RidgeSolver.validate`; None where single precision cannot solve it."""
        if self.x_validation is None or not self.prepare(penalty):
            return None
        return (self.x_validation - self.mean) @ self.weight(penalty)

    def weight(self, penalty: float) -> torch.Tensor:
        """As `RidgeSolver.weight`, of a penalty that has been validated or prepared."""
        solved = self.solved[penalty]
        return solved if self.by_voxel else self.x.T @ solved

    def prepare(self, penalty: float) -> bool:
        """As `GroupSolver.prepare`; factorises where another penalty came in between."""
        if self.prepared == penalty:
            return True
        self.products.diagonal().copy_(self.diagonal + penalty)
        torch.linalg.cholesky_ex(self.products, out=(self.factor, self.failed))
        self.prepared = None if self.failed else penalty
        if self.failed:
            return False
        self.solved[penalty] = torch.cholesky_solve(self.loads, self.factor)
        return True

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """As `GroupSolver.rows`."""
        return self.x[rows] - self.mean

    def influence(self, penalty: float, rows: torch.Tensor) -> torch.Tensor:
        """As `GroupSolver.influence`."""
        self._require(penalty)
        if self.by_voxel:
            return torch.cholesky_solve(self.rows(rows).T.contiguous(), self.factor)
        solved = self._inverse(rows)
        influence: torch.Tensor = self.x.T @ solved - torch.outer(self.mean, solved.sum(0))
        return influence

    def remainder(self, penalty: float, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `GroupSolver.remainder`."""
        self._require(penalty)
        if self.by_voxel:
            return _by_voxel(self, penalty, rows)
        return penalty * self._inverse(rows)[rows], penalty * self.solved[penalty][rows]

    def _inverse(self, rows: torch.Tensor) -> torch.Tensor:
        """(N, n) columns of the inverse of what has been factorised."""
        own = torch.zeros(len(self.x), len(rows), device=self.x.device)
        own[rows, torch.arange(len(rows), device=self.x.device)] = 1
        return torch.cholesky_solve(own, self.factor)

    def _require(self, penalty: float) -> None:
        if not self.prepare(penalty):
            raise ValueError(f"the penalty {penalty:g} is too small for single precision")


def _by_voxel(
    solver: GroupSolver, penalty: float, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`GroupSolver.remainder` where there are fewer voxels than trials."""
    responses = solver.rows(rows)
    hat = responses @ solver.influence(penalty, rows)
    weight = solver.weight(penalty).to(hat.dtype)
    eye = torch.eye(len(rows), dtype=hat.dtype, device=hat.device)
    return eye - hat, solver.targets[rows].to(hat.dtype) - responses @ weight
