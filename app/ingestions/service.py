"""Asking for ingestions, and seeing what becomes of them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from app.access import Access, access_of
from app.database.models import AskedIngestion, IngestionRequest
from app.embedding.spec import files_of
from app.errors import ConflictError, InputError, NotFoundError
from app.ingestions import repository
from app.ingestions.addresses import below, is_below_url, is_url
from app.ingestions.options import check_options
from app.ingestions.schemas import (
    IngestionAnswer,
    IngestionLogAnswer,
    IngestionWanted,
    LogLine,
    State,
    Trigger,
)
from app.keys.repository import add_audit
from app.paging import PAGE, Page, check_limit, page_of, read_cursor
from app.settings import get_settings
from app.urls import require_no_login

TAIL = 100
_WAITING = ("queued", "submitted")


def ask_ingestion(
    session: Session, wanted: IngestionWanted, actor: str, trigger: Trigger
) -> IngestionAnswer:
    """Queue an ingestion; ``sdc worker`` works on it.

    Parameters
    ----------
    session : Session
        The caller commits. Where it is restricted, sources are confined to ``ingest_roots``.
    wanted : IngestionWanted
    actor : str
        Who asks, for the audit.
    trigger : Trigger
        What made them ask.

    Raises
    ------
    InputError
        The source lies where it may not, or an option is none; nothing is queued.
    """
    request = IngestionRequest(trigger=trigger, **checked(session, wanted, actor))
    return queue(session, request)


def queue(session: Session, request: IngestionRequest) -> IngestionAnswer:
    """Add a request that has been checked, and record who asked for it."""
    session.add(request)
    session.flush()
    detail = {"source": request.source, "replace": request.replace, "run": request.then_run}
    add_audit(session, request.actor, "ask ingestion", str(request.id), detail)
    return told(request)


def checked(session: Session, wanted: IngestionWanted, actor: str) -> dict[str, object]:
    """The columns of what is asked for, once it is known to be possible.

    Raises
    ------
    InputError
        The source lies where it may not, or an option is none.
    """
    access = access_of(session)
    source = wanted.source
    require_no_login(source)
    if access is not None:
        source = confine(source)
        confine_encoder(wanted.run_options)
    check_options(wanted.options, wanted.run_options)
    if wanted.run_options and not wanted.then_run:
        raise InputError("run_options are given, and no run", hint="add then_run, or leave them")
    return wanted.model_dump() | {
        "source": source,
        "actor": actor,
        "confined": access is not None,
        "datasets": _writable(access),
    }


def confine(source: str) -> str:
    """A source that a request may read: a path with its links followed, or a URL.

    Raises
    ------
    InputError
        It lies in none of the folders of the setting ``ingest_roots``, or of ``ingest_urls``.
    """
    if is_url(source):
        return _confine_url(source)
    roots = [root.expanduser().resolve() for root in get_settings().ingest_roots]
    if (resolved := below(source, roots)) is None:
        raise InputError(
            f"{source}: no folder that requests may read",
            hint="give a full path below one of the folders of the setting SDC_INGEST_ROOTS",
        )
    return resolved


def confine_encoder(run_options: Mapping[str, Any]) -> None:
    """Refuse an encoder whose files lie where a request may not read.

    Raises
    ------
    InputError
        It names a file in none of the folders of the setting ``ingest_roots``.
    """
    for file in files_of(str(run_options.get("encoder", ""))):
        confine(file)


def _confine_url(source: str) -> str:
    if not any(is_below_url(source, root) for root in get_settings().ingest_urls):
        raise InputError(
            f"{source}: no URL that requests may read",
            hint="give one below one of the setting SDC_INGEST_URLS",
        )
    return source


def get_ingestion(session: Session, request_id: int) -> IngestionAnswer:
    """One ingestion that was asked for.

    Raises
    ------
    NotFoundError
        There is none of this id that may be seen.
    """
    return told(_require(session, request_id))


def list_ingestions(
    session: Session,
    *,
    state: State | None = None,
    dataset: str | None = None,
    cursor: str | None = None,
    limit: int = PAGE,
) -> Page[IngestionAnswer]:
    """Ingestions that were asked for, the newest first.

    Raises
    ------
    InputError, NotFoundError
        `limit` or `cursor` cannot be used.
    """
    check_limit(limit)
    rows, total = repository.list_requests(
        session, access_of(session), read_cursor(cursor), limit + 1, state=state, dataset=dataset
    )
    items = [told(row) for row in rows]
    return page_of(items, [item.id for item in items], total, limit)


def tail_log(session: Session, request_id: int, lines: int = TAIL) -> IngestionLogAnswer:
    """The last lines of what an ingestion told.

    Raises
    ------
    NotFoundError
        There is no such ingestion.
    InputError
        `lines` is less than 1 or more than the setting ``page_limit``.
    """
    check_limit(lines)
    request = _require(session, request_id)
    rows = repository.last_lines(session, request_id, lines)
    return IngestionLogAnswer(
        id=request.id,
        state=request.state,
        lines=[LogLine.model_validate(row, from_attributes=True) for row in rows],
    )


def cancel_ingestion(session: Session, request_id: int, actor: str) -> IngestionAnswer:
    """Cancel an ingestion: one that waits at once, one that is worked on within seconds.

    Raises
    ------
    NotFoundError
        There is no such ingestion.
    ConflictError
        It has ended already.
    """
    request = _require(session, request_id, lock=True)
    if request.state in _WAITING:
        request.state = "cancelled"
        request.finished_at = func.now()
    elif request.state == "running":
        request.cancel_asked = True
    elif request.state != "cancelled":
        raise ConflictError(
            f"ingestion {request_id} is {request.state} already",
            hint="only what waits or is worked on can be cancelled",
        )
    return _changed(session, request, actor, "cancel ingestion")


def retry_ingestion(session: Session, request_id: int, actor: str) -> IngestionAnswer:
    """Queue an ingestion again that failed or was cancelled.

    Raises
    ------
    NotFoundError
        There is no such ingestion.
    ConflictError
        It waits, is worked on, or is done.
    """
    request = _require(session, request_id, lock=True)
    if request.state not in {"failed", "cancelled"}:
        raise ConflictError(
            f"ingestion {request_id} is {request.state}",
            hint="only what failed or was cancelled can be tried again",
        )
    queue_again(request)
    request.tries = 1
    request.not_before = func.now()
    return _changed(session, request, actor, "retry ingestion")


def queue_again(request: IngestionRequest) -> None:
    """Make a request wait for its next attempt; whoever holds the lease of this one loses it."""
    request.state = "queued"
    request.attempt += 1
    request.flow_run = request.lease_until = request.finished_at = None
    request.error = request.hint = request.changed = None
    request.cancel_asked = False
    request.progress = ""


def told(request: IngestionRequest) -> IngestionAnswer:
    """A request as it is told."""
    fields = {
        name: getattr(request, name)
        for name in IngestionAnswer.model_fields
        if name not in {"schedule", "run"}
    }
    return IngestionAnswer(**fields, schedule=request.schedule_id, run=request.run_id)


def asked_of(row: AskedIngestion) -> dict[str, object]:
    """The columns that a schedule and what it asks for have in common."""
    names = (*IngestionWanted.model_fields, "actor", "confined", "datasets")
    return {name: getattr(row, name) for name in names}


def _writable(access: Access | None) -> list[str] | None:
    if access is None or access.sees_all:
        return None
    return sorted(access.datasets)


def _require(session: Session, request_id: int, *, lock: bool = False) -> IngestionRequest:
    request = None
    if 0 < request_id < 2**31:
        request = repository.find_request(session, request_id, access_of(session), lock=lock)
    if request is None:
        raise NotFoundError(
            f"there is no ingestion {request_id}", hint="`sdc ingestions` tells their ids"
        )
    return request


def _changed(
    session: Session, request: IngestionRequest, actor: str, action: str
) -> IngestionAnswer:
    session.flush()
    session.refresh(request)
    add_audit(session, actor, action, str(request.id), {"source": request.source})
    return told(request)
