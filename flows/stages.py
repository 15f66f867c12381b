"""How a stage is run: remembered by its inputs, wherever its task runs, run again where its
artefacts are gone, and tried again where it failed by what may pass."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, update_wrapper
from inspect import signature
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

import fsspec
import torch
from fsspec.implementations.local import LocalFileSystem
from prefect import Task, task
from prefect.filesystems import RemoteFileSystem
from prefect.futures import PrefectFuture

from app.embedding import Encoder, load_encoder
from app.errors import UnavailableError
from app.private import private_folder
from app.settings import get_settings
from app.store import RESULTS, ArtefactStore
from flows.caching import digest, result_key, still_there
from flows.progress import listening
from flows.retries import retry_options
from flows.threads import use_threads

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Place:
    """What a task has to know of the process that sent it; it changes no result.

    Attributes
    ----------
    store : str
        URL of the artefact store.
    threads : int
        Threads that a task computes with, the same wherever it runs: their number decides the
        order of sums, and with it the last bits of a result.
    topic : str, optional
        Where a Dask worker tells how far it is.
    """

    store: str
    threads: int
    topic: str | None = None


_store_url: ContextVar[str | None] = ContextVar("store_url", default=None)


@lru_cache(maxsize=1)
def store_at(url: str) -> ArtefactStore:
    """The store at a URL; one a process, so that checked files are not checked twice."""
    return ArtefactStore(url)


def get_store() -> ArtefactStore:
    """The store of the task that is being run, else the one that the settings name."""
    return store_at(_store_url.get() or get_settings().store_url)


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
        return Stage(function, name, ignored)

    return decorate


class Stage(Generic[P, R]):
    """A stage of the pipeline; its results are small and refer to artefacts in the store."""

    def __init__(self, function: Callable[P, R], name: str, ignored: tuple[str, ...]) -> None:
        update_wrapper(self, function)
        self.function = function
        self._qualname = function.__qualname__
        self._task: Task[..., R] = task(
            name=name,
            persist_result=True,
            result_serializer="json",
            cache_key_fn=result_key(*ignored),
        )(_run_stage)

    def __reduce__(self) -> str:
        # To another process goes the stage's name, and never its code.
        return self._qualname

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The stage's result, remembered where the same inputs have been worked on before."""
        inputs = self._inputs(*args, **kwargs)
        result = self._task_of()(self, inputs, _here())
        if still_there(get_store(), result):
            return result
        return self._task_of(refresh=True)(self, inputs, _here())

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> "Pending[P, R]":
        """Start the stage where the flow's task runner says; `gather` waits for several.

        The runner of a flow that names none works in this process, and is done on return.
        """
        inputs = self._inputs(*args, **kwargs)
        return Pending(self, inputs, self._send(inputs))

    def _send(self, inputs: dict[str, Any], *, refresh: bool = False) -> PrefectFuture[R]:
        return self._task_of(refresh=refresh).submit(self, inputs, _here())

    def _inputs(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        bound = signature(self.function).bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def _task_of(self, *, refresh: bool = False) -> "Task[..., R]":
        return self._task.with_options(
            refresh_cache=refresh,
            result_storage=_results_at(get_store().url),
            **retry_options(),
        )


@dataclass(frozen=True)
class Pending(Generic[P, R]):
    """A stage that has been started on some inputs."""

    stage: Stage[P, R]
    inputs: dict[str, Any]
    future: PrefectFuture[R]

    def result(self) -> R:
        """What the stage found, as `gather` has it."""
        return gather([self])[0]


def gather(started: Iterable[Pending[P, R]]) -> list[R]:
    """Results of stages that were started, in their order.

    Where artefacts of remembered results are gone, those stages run again, all at once.

    Raises
    ------
    CatalogError
        What the first of them that failed raised; what the others finish is remembered.
    """
    pending = list(started)
    results = [each.future.result() for each in pending]
    again = {
        index: each.stage._send(each.inputs, refresh=True)
        for index, each in enumerate(pending)
        if not still_there(get_store(), results[index])
    }
    for index, future in again.items():
        results[index] = future.result()
    return results


def _run_stage(stage: Stage[..., R], inputs: dict[str, Any], place: Place) -> R:
    """Run a stage in whichever process its task was sent to."""
    use_threads(place.threads)
    with _at(place):
        return stage.function(**inputs)


@contextmanager
def _at(place: Place) -> Iterator[None]:
    token = _store_url.set(place.store)
    try:
        if place.topic is None:
            yield
        else:
            # Not imported where nothing runs on a cluster.
            from flows.cluster import relay

            with listening(relay(place.topic)):
                yield
    finally:
        _store_url.reset(token)


def _here() -> Place:
    return Place(store=get_store().url, threads=torch.get_num_threads())


@lru_cache(maxsize=1)
def _results_at(url: str) -> Path | RemoteFileSystem:
    """Where results are remembered: beside the artefacts, which all machines of a run see."""
    filesystem, root = fsspec.core.url_to_fs(url)
    if isinstance(filesystem, LocalFileSystem):
        try:
            return private_folder(private_folder(Path(root)) / RESULTS)
        except OSError as error:
            raise UnavailableError(
                f"the folder {root} cannot be used: {error.strerror}",
                hint="mend it, or let SDC_STORE name another",
            ) from error
    storage = RemoteFileSystem(basepath=f"{url.rstrip('/')}/{RESULTS}")
    # Prefect takes storage of this kind only where its server knows it.
    storage.save(f"sdc-results-{digest(url)}", overwrite=True)
    return storage
