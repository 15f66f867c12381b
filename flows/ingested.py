"""What ingestion found out about a participant, before it is written."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = dict[str, Any]


@dataclass(frozen=True)
class IngestedSubject:
    """What ingestion found out about a participant.

    Attributes
    ----------
    label : str
    coordinates : ndarray
        (V, 3) voxel indices i, j, k of the voxels kept, in C order.
    noise_ceiling : ndarray
        (V,) percent, NaN where it could not be estimated.
    report : dict
        Counts of voxels read, dropped and kept.
    artefacts : dict
        References to the sessions' betas, to the voxels kept, and, where there are some, to the
        localiser maps at these voxels.
    """

    label: str
    coordinates: NDArray[np.int64]
    noise_ceiling: NDArray[np.float32]
    report: Json
    artefacts: Json
