"""Where the tasks of a flow run: in this process, in threads of it, or on a Dask cluster.

A runner changes no result, so it is no part of a run's configuration; a flow is told by
``run_pipeline.with_options(task_runner=task_runner("dask", "tcp://127.0.0.1:8786"))``.
"""

import os
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar, cast
from uuid import uuid4

import torch
from distributed import KilledWorker
from prefect import Task
from prefect.client.schemas.objects import RunInput
from prefect.context import FlowRunContext
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_API_URL,
    get_current_settings,
    temporary_settings,
)
from prefect.task_engine import run_task_sync
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect_dask.client import PrefectDaskClient
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from app.errors import UnavailableError
from app.threads import COUNT, free_cores
from flows.cluster import CONNECT_S, examine_workers, require_scheduler
from flows.progress import report
from flows.science.device import device_name
from flows.stages import get_store
from flows.surroundings import GoodNeighbour
from flows.threads import use_threads

R = TypeVar("R")

RunnerName = Literal["local", "threads", "dask"]
# A cluster that starts its workers anew has this long before a run gives up.
WORKERLESS_S = 60.0


def task_runner(name: RunnerName, address: str | None = None) -> TaskRunner[Any]:
    """The task runner of a name.

    Parameters
    ----------
    name : {"local", "threads", "dask"}
    address : str, optional
        Where the Dask scheduler listens; for ``dask`` alone.
    """
    if name == "dask":
        return ClusterRunner(address=address, client_kwargs={"timeout": CONNECT_S})
    if name == "threads":
        chosen = get_current_settings().tasks.runner.thread_pool_max_workers
        return ThreadPoolTaskRunner(max_workers=chosen or os.cpu_count())
    return InProcessRunner()


@dataclass(frozen=True)
class Site:
    """Where a run's tasks run, as the run records it.

    Attributes
    ----------
    runner : str
    workers : int
        Tasks that can run at a time; on a cluster, of one thread a worker.
    threads : int
        Threads that each task computes with.
    device : str
        Names of the hardware.
    """

    runner: str
    workers: int
    threads: int
    device: str

    def summary(self) -> dict[str, Any]:
        """All but the device, which a run has a column for."""
        return {name: value for name, value in asdict(self).items() if name != "device"}


def examine_site(device: str) -> Site:
    """Look where the current flow's tasks will run, before any does.

    Raises
    ------
    UnavailableError
        The device is not there, or the cluster cannot be used.
    """
    # A worker's flow begins in a process that was told nothing.
    said = torch.get_num_threads()
    threads = said if COUNT in os.environ else min(said, free_cores())
    # What the flow computes itself has to end in the same bits too.
    use_threads(threads)
    context = FlowRunContext.get()
    runner = context.task_runner if context else InProcessRunner()
    if isinstance(runner, ClusterRunner):
        return Site(runner="dask", threads=threads, **runner.examine(device))
    try:
        name = device_name(device)
    except ValueError as error:
        raise UnavailableError(str(error), hint="set SDC_DEVICE to one that is there") from error
    if isinstance(runner, ThreadPoolTaskRunner):
        return Site("threads", runner._max_workers, threads, name)
    return Site("local", 1, threads, name)


class InProcessRunner(TaskRunner[PrefectConcurrentFuture[Any]]):
    """One task after the other, in the thread that submits them.

    A task is done when `submit` returns, and what it raised is raised there, so that nothing
    comes after a task that failed.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def duplicate(self) -> "InProcessRunner":
        """Another such runner."""
        return type(self)()

    def submit(
        self,
        task: Task[..., R],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[RunInput]] | None = None,
    ) -> PrefectConcurrentFuture[R]:
        """Run a task."""
        task_run_id = uuid4()
        done: Future[Any] = Future()
        done.set_result(
            run_task_sync(
                task,
                task_run_id=task_run_id,
                parameters=parameters,
                wait_for=wait_for,
                dependencies=dependencies,
            )
        )
        return PrefectConcurrentFuture(task_run_id=task_run_id, wrapped_future=done)


class ClusterRunner(DaskTaskRunner):
    """Tasks on a Dask cluster that is up already.

    Beyond what prefect-dask does, its tasks tell how far they are, no database's address goes to
    the workers, and what can go wrong with a cluster ends in one clear line.
    """

    _topic: str | None = None

    @property
    def client(self) -> PrefectDaskClient:
        """The connection to the scheduler, made when it is first asked for."""
        if self._client is None:
            require_scheduler(str(self.address))
            client = super().client
            self._topic = f"sdc-progress-{uuid4().hex}"
            client.subscribe_topic(self._topic, _Reporter(copy_context()))
        return cast("PrefectDaskClient", self._client)

    def examine(self, device: str) -> dict[str, Any]:
        """``workers`` and ``device`` of a cluster that can do the work; see `examine_workers`."""
        # First of all: to be examined, a worker loads what reads its environment. One that cannot
        # load the plugin is examined all the same, and told apart there.
        with suppress(Exception):
            self.client.register_plugin(GoodNeighbour())
        return examine_workers(self.client, get_store(), device, _api_url())

    def submit(  # type: ignore[override]
        self,
        task: Task[..., R],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[RunInput]] | None = None,
    ) -> "ClusterFuture[R]":
        """Send a task to the cluster."""
        client = self.client
        place = replace(parameters["place"], topic=self._topic)
        # Prefect hands its settings on with each task: a worker needs the server's address, and
        # has no business with its database.
        with temporary_settings(
            {PREFECT_API_URL: _api_url()}, restore_defaults={PREFECT_API_DATABASE_CONNECTION_URL}
        ):
            sent: PrefectDaskFuture[R] = super().submit(
                cast("Any", task),
                parameters | {"place": place},
                cast("Any", wait_for),
                dependencies,
            )
        return ClusterFuture(sent.task_run_id, sent.wrapped_future, client)


class ClusterFuture(PrefectDaskFuture[R]):
    """A task on a Dask cluster; its result is fetched once, and forgotten by the cluster."""

    def __init__(self, task_run_id: Any, wrapped_future: Any, client: PrefectDaskClient) -> None:
        super().__init__(task_run_id=task_run_id, wrapped_future=wrapped_future)
        self._client = client

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:
        """The task's result.

        Raises
        ------
        UnavailableError
            The cluster is gone, or none of its workers outlived the task.
        CatalogError
            What the task raised.
        """
        try:
            self._wait_for_workers()
            return super().result(timeout, raise_on_failure)
        except KilledWorker as error:
            raise UnavailableError(
                f"{1 + error.allowed_failures} workers of the Dask cluster died of one task",
                hint="give them more memory and run again: finished work is kept",
            ) from error
        except CancelledError as error:
            reason = getattr(error, "reason", "cancelled")
            raise UnavailableError(
                f"the Dask scheduler at {_address(self._client)} let go of a task ({reason})",
                hint="see that it is up and run again: finished work is kept",
            ) from error
        finally:
            # What the client holds on to is computed anew where the worker that has it dies.
            self._wrapped_future.release()

    def _wait_for_workers(self) -> None:
        """Wait until the task is done, for as long as there are workers that could do it."""
        workerless = False
        while True:
            try:
                self._wrapped_future.exception(timeout=WORKERLESS_S / 2)
            except TimeoutError:
                none = not self._client.scheduler_info()["workers"]
                if workerless and none:
                    raise UnavailableError(
                        f"the Dask cluster at {_address(self._client)} has lost all its workers",
                        hint="start some and run again: finished work is kept",
                    ) from None
                workerless = none
            else:
                return


def _address(client: PrefectDaskClient) -> str:
    return str(client.scheduler_info()["address"])


class _Reporter:
    """Reports here what tasks on workers tell, to those who listen where it was made."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, event: tuple[float, list[Any]]) -> None:
        _, (stage, done, total, detail) = event
        self._context.run(report, stage, done, total, detail)


def _api_url() -> str:
    """Address of the Prefect server that this process uses."""
    if chosen := PREFECT_API_URL.value():
        return str(chosen)
    # The one that Prefect started for this process alone; there is one a process.
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()
    server.start()
    return server.api_url
