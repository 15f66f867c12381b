"""Vectors of prompts that nobody has a key for: remembered by this process, the last ones asked."""

from collections import OrderedDict
from threading import Lock

from app.settings import get_settings
from app.terms.repository import EmbeddedPrompt


class RememberedVectors:
    """Vectors by what they are of; of more than the setting ``prompt_cache``, the last used."""

    def __init__(self) -> None:
        self._vectors: OrderedDict[tuple[str, ...], EmbeddedPrompt] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._vectors)

    def find(self, name: tuple[str, ...]) -> EmbeddedPrompt | None:
        """A vector, None where it is not remembered."""
        with self._lock:
            if name in self._vectors:
                self._vectors.move_to_end(name)
            return self._vectors.get(name)

    def keep(self, name: tuple[str, ...], prompt: EmbeddedPrompt) -> None:
        """Remember a vector, and forget the one that was used longest ago where they are many."""
        with self._lock:
            self._vectors[name] = prompt
            self._vectors.move_to_end(name)
            while len(self._vectors) > get_settings().prompt_cache:
                self._vectors.popitem(last=False)

    def forget(self) -> None:
        """Forget all."""
        with self._lock:
            self._vectors.clear()


remembered = RememberedVectors()
