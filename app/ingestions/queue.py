"""The queue's other end: who works on ingestions takes, holds and ends them here.

A request that is worked on has a lease, which its process renews; where the process is gone the
lease runs out, and the request is queued again. Every step names the attempt that it belongs to:
a process that was thought dead finds that it no longer holds the request, and changes nothing.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from app.database.models import Dataset, IngestionLog, IngestionRequest
from app.errors import CatalogError, ForbiddenError
from app.ingestions.service import queue_again
from app.settings import get_settings

LEASE = timedelta(seconds=60)
# Doubled at each further try.
FIRST_WAIT = timedelta(seconds=20)
LONGEST_WAIT = timedelta(minutes=30)
# Longest message that is kept.
MESSAGE = 2000

Held = Literal["yes", "cancel", "no"]


@dataclass(frozen=True)
class Taken:
    """What a process that has begun to work on a request needs to know of it."""

    id: int
    attempt: int
    source: str
    options: dict[str, Any]
    replace: bool
    then_run: bool
    run_options: dict[str, Any]
    confined: bool
    datasets: frozenset[str] | None


def next_due(session: Session) -> IngestionRequest | None:
    """The request that is to be submitted next, locked; None where nothing waits.

    Requests that another process has locked are passed over.
    """
    return session.scalar(
        select(IngestionRequest)
        .where(IngestionRequest.state == "queued", IngestionRequest.not_before <= func.now())
        .order_by(IngestionRequest.not_before, IngestionRequest.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def submitted(session: Session, older_than: timedelta) -> list[IngestionRequest]:
    """Requests that were handed on some time ago and that nobody has begun, locked."""
    query = (
        select(IngestionRequest)
        .where(
            IngestionRequest.state == "submitted",
            IngestionRequest.lease_until < func.now() - older_than,
        )
        .order_by(IngestionRequest.id)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(query))


def mark_submitted(request: IngestionRequest, flow_run: str) -> None:
    """Note that a request was handed on to be worked on."""
    request.state = "submitted"
    request.flow_run = flow_run
    request.lease_until = func.now()


def begin(session: Session, request_id: int, attempt: int) -> Taken | None:
    """Begin to work on a request; None where this attempt has been begun or given up already."""
    request = session.scalar(
        update(IngestionRequest)
        .where(*_is(request_id, attempt), IngestionRequest.state.in_(("queued", "submitted")))
        .values(state="running", lease_until=func.now() + LEASE, started_at=func.now())
        .returning(IngestionRequest)
    )
    if request is None:
        return None
    return Taken(
        id=request.id,
        attempt=request.attempt,
        source=request.source,
        options=request.options,
        replace=request.replace,
        then_run=request.then_run,
        run_options=request.run_options,
        confined=request.confined,
        datasets=None if request.datasets is None else frozenset(request.datasets),
    )


def renew(session: Session, taken: Taken, progress: str) -> Held:
    """Hold a request for another while; whether it is still held, and is not to be cancelled."""
    asked = session.scalar(
        update(IngestionRequest)
        .where(*_runs(taken))
        .values(lease_until=func.now() + LEASE, progress=progress)
        .returning(IngestionRequest.cancel_asked)
    )
    if asked is None:
        return "no"
    return "cancel" if asked else "yes"


def may_write(session: Session, taken: Taken, slug: str) -> None:
    """Refuse to touch an embargoed data set for somebody who may not see it.

    Raises
    ------
    ForbiddenError
        The name is such a data set's.
    """
    embargoed = session.scalar(select(Dataset.embargoed).where(Dataset.slug == slug))
    if embargoed and taken.datasets is not None and slug not in taken.datasets:
        raise ForbiddenError(
            f"{taken.source}: a data set of the name {slug} is not this key's to write",
            hint="give it a slug of its own, or ask for a key that names this one",
        )


def note_dataset(session: Session, taken: Taken, slug: str) -> None:
    """Record which data set a request is about."""
    session.execute(update(IngestionRequest).where(*_runs(taken)).values(dataset=slug))


def end_done(session: Session, taken: Taken, *, changed: bool, run: int | None) -> bool:
    """Record that a request is done; whether it was still held."""
    return _end(session, taken, state="done", changed=changed, run_id=run, progress="")


def end_cancelled(session: Session, taken: Taken) -> bool:
    """Record that a request was cancelled while it was worked on; whether it was still held."""
    return _end(session, taken, state="cancelled")


def end_failed(session: Session, taken: Taken, error: CatalogError, *, may_pass: bool) -> bool:
    """Record a failure; whether the request is queued again.

    Parameters
    ----------
    may_pass : bool
        Whether trying again later could help; it is tried ``ingestion_tries`` times in all.
    """
    request = session.scalar(select(IngestionRequest).where(*_runs(taken)).with_for_update())
    if request is None:
        return False
    return _fail(request, error, may_pass=may_pass)


def recover_lost(session: Session) -> list[int]:
    """Queue requests again whose process is gone, or give them up; the ids of these requests."""
    query = (
        select(IngestionRequest)
        .where(IngestionRequest.state == "running", IngestionRequest.lease_until < func.now())
        .with_for_update(skip_locked=True)
    )
    lost = list(session.scalars(query))
    for request in lost:
        if request.cancel_asked:
            request.state = "cancelled"
            request.finished_at = func.now()
        else:
            add_line(session, request.id, request.attempt, "WARNING", "its process is gone")
            _fail(request, WORKER_LOST, may_pass=True)
    return [request.id for request in lost]


def give_back(request: IngestionRequest) -> bool:
    """Queue a request again that was handed on and never begun, or give it up."""
    return _fail(request, WORKER_LOST, may_pass=True)


def add_line(session: Session, request_id: int, attempt: int, level: str, message: str) -> None:
    """Add a line to what a request told."""
    session.add(
        IngestionLog(
            request_id=request_id,
            attempt=attempt,
            level=level,
            message=message.replace("\x00", "")[:MESSAGE],
        )
    )


WORKER_LOST = CatalogError(
    "the process that worked on it is gone", hint="see the worker's log, and try it again"
)


def _fail(request: IngestionRequest, error: CatalogError, *, may_pass: bool) -> bool:
    if may_pass and request.tries < get_settings().ingestion_tries:
        wait = min(FIRST_WAIT * 2 ** (request.tries - 1), LONGEST_WAIT)
        queue_again(request)
        request.tries += 1
        request.not_before = func.now() + wait
        again = True
    else:
        request.state = "failed"
        request.lease_until = None
        request.finished_at = func.now()
        again = False
    request.error, request.hint = error.message[:MESSAGE], error.hint
    return again


def _end(session: Session, taken: Taken, **values: Any) -> bool:
    ended = session.scalar(
        update(IngestionRequest)
        .where(*_runs(taken))
        .values(lease_until=None, finished_at=func.now(), error=None, hint=None, **values)
        .returning(IngestionRequest.id)
    )
    return ended is not None


def _is(request_id: int, attempt: int) -> tuple[ColumnElement[bool], ...]:
    return IngestionRequest.id == request_id, IngestionRequest.attempt == attempt


def _runs(taken: Taken) -> tuple[ColumnElement[bool], ...]:
    return (*_is(taken.id, taken.attempt), IngestionRequest.state == "running")
