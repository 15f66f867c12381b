"""Whether responses can be percent signal change."""

from pathlib import Path

import numpy as np

from app.errors import InputError

# All deoxyhaemoglobin gone, the signal would rise by 8 % (Davis et al. 1998) to 22 % (Hoge et al.
# 1999), as calibrated fMRI estimates it: single voxels of vessels and edges may be noisier, but
# half of all responses beyond it are in another unit.
MOST_PERCENT = 25.0
_VALUES = 4_000_000


def require_percent(betas: np.ndarray, path: Path, participant: str, *, hint: str) -> np.ndarray:
    """Responses, which must be of a size that percent signal change can have.

    Parameters
    ----------
    betas : np.ndarray
        (trials, voxels); zeros and what is not finite do not count.
    hint : str
        What to do where they are of another unit.

    Raises
    ------
    InputError
        Half of them are beyond 25 %.
    """
    # Some trials of many tell.
    some = betas[:: max(1, betas.size // _VALUES)]
    counted = some[np.isfinite(some) & (some != 0)]
    typical = float(np.median(np.abs(counted))) if counted.size else 0.0
    if typical > MOST_PERCENT:
        raise InputError(
            f"{path}: half of the responses of {participant} are beyond {typical:,.0f} % signal "
            f"change, and a brain's reach {MOST_PERCENT:.0f} % at most: they are in another unit",
            hint=hint,
        )
    return betas
