"""How a stage is run: remembered by its inputs, and run again where its artefacts are gone."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, ParamSpec, TypeVar, cast

from prefect import Task, task

from app.embedding import Encoder, load_encoder
from app.settings import get_settings
from app.store import ArtefactStore
from flows.caching import result_key, still_there

P = ParamSpec("P")
R = TypeVar("R")


@lru_cache(maxsize=1)
def store_at(url: str) -> ArtefactStore:
    """The store at a URL; one a process, so that checked files are not checked twice."""
    return ArtefactStore(url)


def get_store() -> ArtefactStore:
    """The store that the settings name."""
    return store_at(get_settings().store_url)


@lru_cache(maxsize=2)
def encoder_at(spec: str, device: str) -> Encoder:
    """The encoder of a spec; weights are read once a process."""
    return load_encoder(spec, device=device)


def stage(name: str, *ignored: str) -> Callable[[Callable[P, R]], "Stage[P, R]"]:
    """Make a function a stage: a Prefect task whose result is remembered and checked.

    Parameters
    ----------
    name : str
        The task's name.
    *ignored : str
        Parameters that do not change the result.
    """

    def decorate(function: Callable[P, R]) -> "Stage[P, R]":
        return Stage(
            task(
                name=name,
                persist_result=True,
                result_serializer="json",
                cache_key_fn=result_key(*ignored),
            )(function)
        )

    return decorate


class Stage(Generic[P, R]):
    """A stage of the pipeline; its results are small and refer to artefacts in the store."""

    def __init__(self, wrapped: Task[P, R]) -> None:
        self.task = wrapped

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The stage's result, remembered where the same inputs have been worked on before."""
        result = self.task(*args, **kwargs)
        if still_there(get_store(), result):
            return result
        again = cast("Task[Any, Any]", self.task.with_options(refresh_cache=True))
        return cast("R", again(*args, **kwargs))
