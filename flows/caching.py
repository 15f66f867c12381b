"""What makes a stage's result reusable: the same inputs and the same code."""

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import flows
from app.store import ArtefactStore, artefacts_in

KEY_LENGTH = 32


def digest(value: object) -> str:
    """A short, stable checksum of anything that JSON can write."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


@lru_cache(maxsize=1)
def code_version() -> str:
    """Checksum of the code that computes results: all of ``flows`` but the demo cohort's maker."""
    root = Path(flows.__file__).parent
    code = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if "demo" not in path.relative_to(root).parts:
            code.update(path.read_bytes())
    return code.hexdigest()[:KEY_LENGTH]


def result_key(*ignored: str) -> Callable[[Any, dict[str, Any]], str]:
    """A Prefect cache key made of a stage's name, code and inputs, which are small references.

    Parameters
    ----------
    *ignored : str
        Parameters that do not change the result.
    """

    def key(context: Any, parameters: dict[str, Any]) -> str:
        inputs = {
            name: value for name, value in parameters["inputs"].items() if name not in ignored
        }
        return f"{context.task.name}-{digest([code_version(), inputs])}"

    return key


def still_there(store: ArtefactStore, value: object) -> bool:
    """Whether every artefact that a remembered result refers to is in the store."""
    return all(store.exists(artefact) for artefact in artefacts_in(value))
