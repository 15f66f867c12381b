"""A Dask cluster: whether it is there, whether its workers can do the work, how far they are."""

import asyncio
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import torch
from distributed import Client, Security, get_worker
from distributed.core import rpc

from app.errors import CatalogError, InputError, UnavailableError
from app.store import Artefact, ArtefactStore
from flows.caching import code_version
from flows.progress import Listener
from flows.science.device import device_name

Json = dict[str, Any]

SCHEMES = ("tcp", "tls")
CONNECT_S = 5.0
REACH_S = 5.0
TELL_EVERY_S = 0.25


def check_address(address: str) -> str:
    """A scheduler's address as Dask takes it.

    Raises
    ------
    InputError
        It is no ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
    """
    try:
        parts = urlsplit(address)
        complete = parts.scheme in SCHEMES and parts.hostname and parts.port
        bare = parts.netloc and not (parts.path or parts.query or parts.fragment or parts.username)
    except ValueError:
        complete = bare = False
    if not (complete and bare):
        raise InputError(
            f"{address!r} is no address of a Dask scheduler",
            hint="it looks like tcp://HOST:8786, as `dask scheduler` prints it",
        )
    return address


def require_scheduler(address: str) -> None:
    """Make sure that a scheduler answers.

    Raises
    ------
    UnavailableError
        Nobody answers at the address, or somebody who is no Dask scheduler.
    """
    arguments = Security().get_connection_args("client")
    if address.startswith("tls:") and arguments.get("ssl_context") is None:
        raise UnavailableError(
            f"{address} asks for TLS, and Dask has no certificates",
            hint="name them in its configuration, distributed.comm.tls",
        )
    # In a thread of its own, since the caller's may be running an event loop already.
    with ThreadPoolExecutor(1) as thread:
        kind = thread.submit(asyncio.run, _kind_of_server(address, arguments)).result()
    if kind is None:
        raise UnavailableError(
            f"no Dask scheduler answers at {address}",
            hint="start one with `dask scheduler`, or mend the address",
        )
    if kind != "Scheduler":
        raise UnavailableError(
            f"what answers at {address} is a Dask {kind.lower()}",
            hint="give the scheduler's address",
        )


async def _kind_of_server(address: str, arguments: Json) -> str | None:
    """What kind of Dask server answers at an address; None where none does in time."""
    try:
        async with (
            asyncio.timeout(CONNECT_S),
            rpc(address, timeout=CONNECT_S, connection_args=arguments) as server,
        ):
            return str((await server.identity())["type"])
    # Bytes of another protocol are read as sizes and headers, so that anything may be raised.
    except Exception:
        return None


def examine_workers(client: Client, store: ArtefactStore, device: str, api_url: str) -> Json:
    """Make sure that every worker can do what this process would do.

    Returns
    -------
    dict
        ``workers``, how many there are, and ``device``, the names of what they compute on.

    Raises
    ------
    UnavailableError
        There is no worker, or one has other code, sees another store, lacks the device, or does
        not reach Prefect's server.
    """
    address = client.scheduler_info()["address"]
    with store.probe() as probe:
        answers = client.run(
            _examine, store.url, probe.model_dump(), device, api_url, on_error="return"
        )
    if not answers:
        raise UnavailableError(
            f"the Dask scheduler at {address} has no workers",
            hint=f"start some: dask worker {address}",
        )
    for worker, answer in answers.items():
        if isinstance(answer, CatalogError):
            raise UnavailableError(f"the Dask worker {worker}: {answer.message}", hint=answer.hint)
        if isinstance(answer, BaseException):
            raise UnavailableError(
                f"the Dask worker {worker} cannot run the pipeline: {answer}",
                hint="install the same version of this package where workers run",
            )
        for name, here in _versions().items():
            if answer[name] != here:
                raise UnavailableError(
                    f"the Dask worker {worker} has another {name} than this process: "
                    f"{answer[name]}, not {here}",
                    hint="install the same versions where workers run, and start them again",
                )
    devices = sorted({answer["device"] for answer in answers.values()})
    return {"workers": len(answers), "device": ", ".join(devices)}


def relay(topic: str) -> Listener:
    """A listener on a worker that tells what it hears under a topic of the cluster's."""
    worker = get_worker()
    told: dict[str, float] = {}

    def tell(stage: str, done: int, total: int, detail: str = "") -> None:
        now = time.monotonic()
        if done < total and now - told.get(stage, -TELL_EVERY_S) < TELL_EVERY_S:
            return
        told[stage] = now
        worker.log_event(topic, [stage, done, total, detail])

    return tell


def _examine(store_url: str, probe: Json, device: str, api_url: str) -> Json:
    """What a worker says of itself."""
    store = ArtefactStore(store_url)
    store.get(Artefact.model_validate(probe))
    store.check()
    try:
        name = device_name(device)
    except ValueError as error:
        raise UnavailableError(str(error), hint="set SDC_DEVICE to one that is there") from error
    try:
        httpx.get(f"{api_url}/health", timeout=REACH_S)
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"it does not reach Prefect's server at {api_url}: {error}",
            hint="start `prefect server start --host 0.0.0.0` where all reach it, and set "
            "PREFECT_API_URL",
        ) from error
    return {"device": name} | _versions()


def _versions() -> dict[str, str]:
    return {
        "code version": code_version(),
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
