"""The flow that works on an ingestion which was asked for, and tells the catalog how it goes."""

import _thread
import logging
import os
import platform
import signal
import threading
import time
from contextlib import nullcontext
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed

from app.database.engine import open_session
from app.errors import CatalogError, StorageError, UnavailableError
from app.failures import as_catalog_error
from app.ingestions import queue
from app.ingestions.queue import Taken
from app.ingestions.service import confine, confine_encoder
from app.observing.context import bind
from app.observing.logs import configure_logs
from app.observing.traces import configure_traces
from app.settings import get_settings
from flows.config import IngestConfig, RunConfig
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.progress import listening
from flows.sources import open_source
from flows.sources.confinement import reading_within
from flows.sources.mirrors import FOLDER
from flows.telling import Event, tell

BEAT_S = 5.0
# SIGINT is ignored by what a script starts in the background, and would not interrupt it.
INTERRUPT = signal.SIGUSR2
# Is in the environment of a process that a worker has started for a flow.
FLOW_RUN = "PREFECT__FLOW_RUN_ID"

Json = dict[str, Any]
logger = logging.getLogger(__name__)


@flow(name="ingestion", persist_result=False)
def work_on_ingestion(request: int, attempt: int) -> Json | State[Any]:
    """Work on a request of the catalog's queue.

    Parameters
    ----------
    request : int
        Its id.
    attempt : int
        The start that this is; one that was begun already, or given up, is left alone.

    Returns
    -------
    dict or State
        What became of it; Prefect is told a failure as a state, since the catalog has it already.
    """
    if FLOW_RUN in os.environ:
        configure_logs(get_settings())
        configure_traces()
    bind(ingestion=str(request))
    with open_session() as session, session.begin():
        taken = queue.begin(session, request, attempt)
    if taken is None:
        return Cancelled(message=f"attempt {attempt} of ingestion {request} is not wanted any more")
    holder = Holder(taken)
    try:
        with holder:
            result = _work(taken, holder)
    except KeyboardInterrupt:
        if holder.lost == "":
            raise
        return _stopped(taken, holder.lost)
    except Exception as error:
        return _failed(taken, error)
    with open_session() as session, session.begin():
        queue.add_line(session, taken.id, taken.attempt, "INFO", "done")
        queue.end_done(session, taken, changed=result["changed"], run=result["run"])
    logger.info("ingestion %d of %s is done", taken.id, taken.source)
    return result


class Holder:
    """Holds a request while it is worked on: renews its lease, and keeps what it tells.

    Where the request is to be cancelled, or is no longer held, the main thread is interrupted.

    Attributes
    ----------
    lost : str
        Why the work was interrupted: ``cancel``, ``no`` (longer held), or nothing.
    """

    def __init__(self, taken: Taken) -> None:
        self.lost = ""
        self._taken = taken
        self._stages: dict[str, float] = {}
        self._progress = ""
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._listening = listening(self._hear)

    def __enter__(self) -> "Holder":
        self._tell("INFO", f"attempt {self._taken.attempt} begins on {platform.node()}")
        self._listening.__enter__()
        self._handled = signal.signal(INTERRUPT, signal.default_int_handler)
        self._beating.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listening.__exit__(None, None, None)
        self._beating.join()
        signal.signal(INTERRUPT, self._handled)

    def _hear(self, stage: str, done: int, total: int, _detail: str) -> None:
        """Keep how far a stage is, and a line of the log when it is done."""
        self._progress = f"{stage} {done}/{total}"
        began = self._stages.setdefault(stage, time.monotonic())
        if done >= total and began >= 0:
            self._stages[stage] = -1.0
            self._tell("INFO", f"{stage}: done after {time.monotonic() - began:.1f} s")

    def tell_choices(self, ingested: Json) -> None:
        """Keep what an ingestion chose, and warns of, a line each, and what comes next, if any."""
        for name, line in ingested["choices"].items():
            self._tell("INFO", f"{name.replace('_', ' ')}: {line}")
        for warning in ingested["warnings"]:
            self._tell("WARNING", warning)
        if not self._taken.then_run:
            self._tell("INFO", f"next: {ingested['next']}")

    def _tell(self, level: str, message: str) -> None:
        logger.info(message)
        with open_session() as session, session.begin():
            queue.add_line(session, self._taken.id, self._taken.attempt, level, message)

    def _beat(self) -> None:
        until = time.monotonic() + queue.LEASE.total_seconds()
        while not self._ended.wait(BEAT_S):
            try:
                with open_session() as session, session.begin():
                    held = queue.renew(session, self._taken, self._progress)
                until = time.monotonic() + queue.LEASE.total_seconds()
            except Exception:
                # A database that comes back within the lease has lost nothing.
                logger.warning("the lease cannot be renewed", exc_info=True)
                held = "yes" if time.monotonic() < until else "no"
            if held != "yes" and not self._ended.is_set():
                self.lost = held
                _thread.interrupt_main(INTERRUPT)
                return


def _work(taken: Taken, holder: Holder) -> Json:
    settings = get_settings()
    roots = [*settings.ingest_roots, settings.home / FOLDER] if taken.confined else None
    source = confine(taken.source) if taken.confined else taken.source
    with nullcontext() if roots is None else reading_within(roots):
        options = IngestConfig.model_validate(taken.options)
        slug = open_source(source, **options.source).description.slug
        with open_session() as session, session.begin():
            queue.may_write(session, taken, slug)
            queue.note_dataset(session, taken, slug)
        ingested = ingest_dataset(source, options, replace=taken.replace)
        holder.tell_choices(ingested)
    result: Json = {"dataset": slug, "changed": ingested["changed"], "run": None}
    if taken.then_run:
        if taken.confined:
            confine_encoder(taken.run_options)
        run = run_pipeline(slug, RunConfig.model_validate(taken.run_options))
        result |= {"run": run["run"], "changed": ingested["changed"] or run["changed"]}
    return result


def worth_another_try(error: Exception) -> bool:
    """Whether what failed could succeed minutes later, with nothing done about it.

    What could do so within seconds has been tried again already (`flows.retries`).
    """
    known = as_catalog_error(error)
    if isinstance(known, StorageError):
        return "disk is full" not in known.message
    return isinstance(known, UnavailableError) or isinstance(error, ConnectionError | TimeoutError)


def _failed(taken: Taken, error: Exception) -> State[Any]:
    known = as_catalog_error(error)
    if known is None:
        logger.error("ingestion %d met what nobody foresaw", taken.id, exc_info=error)
        known = CatalogError(f"{type(error).__name__}: {error}", hint="see the worker's log")
    with open_session() as session, session.begin():
        queue.add_line(session, taken.id, taken.attempt, "ERROR", str(known))
        again = queue.end_failed(session, taken, known, may_pass=worth_another_try(error))
        level = logging.WARNING if again else logging.ERROR
        outcome = "is tried again" if again else "failed"
        logger.log(level, "ingestion %d of %s %s: %s", taken.id, taken.source, outcome, known)
        if again:
            queue.add_line(session, taken.id, taken.attempt, "INFO", "it is tried again")
    if not again:
        tell(Event("failed", taken.source, str(known), ingestion=taken.id))
    return Failed(message=str(known))


def _stopped(taken: Taken, why: str) -> State[Any]:
    if why == "no":
        return Cancelled(message="another process has taken the request over")
    with open_session() as session, session.begin():
        queue.add_line(session, taken.id, taken.attempt, "INFO", "cancelled")
        queue.end_cancelled(session, taken)
    return Cancelled(message="cancelled by request")
