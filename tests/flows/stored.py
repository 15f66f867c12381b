"""Arrays in the store that a test's stages read and write."""

from typing import Any

import numpy as np

from app.store import Artefact
from flows.stages import get_store

Json = dict[str, Any]


def put(**arrays: np.ndarray) -> Json:
    """A reference to arrays."""
    return get_store().put(arrays).model_dump()


def arrays(reference: Json) -> dict[str, np.ndarray]:
    """What a reference stands for."""
    return get_store().get(Artefact.model_validate(reference))
