"""Ingestions, over HTTP; a key with the scope ``ingest`` is needed for all of it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.dependencies import IngestingSession
from app.ingestions import service
from app.ingestions.schemas import IngestionAnswer, IngestionLogAnswer, IngestionWanted, State
from app.keys.service import actor_of
from app.paging import PAGE, Page
from app.parameters import Cursor, DatasetFilter, Limit
from app.patterns import PAGE_LIMIT
from app.terms.endpoints import INGESTION

router = APIRouter(prefix="/ingestions", tags=[INGESTION])

RequestId = Annotated[int, Path(description="An ingestion's id.")]
Lines = Annotated[int, PAGE_LIMIT, Query(ge=1, description="Lines, at most.")]
StateFilter = Annotated[State | None, Query(description="In this state alone.")]


@router.post("", status_code=202)
def ask_ingestion(
    session: IngestingSession, wanted: IngestionWanted, response: Response
) -> IngestionAnswer:
    """Queue an ingestion; `Location` tells where to see what becomes of it."""
    answer = service.ask_ingestion(session, wanted, actor_of(session), "request")
    response.headers["Location"] = f"/v1/ingestions/{answer.id}"
    return answer


@router.get("")
def list_ingestions(
    session: IngestingSession,
    state: StateFilter = None,
    dataset: DatasetFilter = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Page[IngestionAnswer]:
    """Ingestions that were asked for, the newest first."""
    return service.list_ingestions(
        session, state=state, dataset=dataset, cursor=cursor, limit=limit
    )


@router.get("/{request_id}")
def show_ingestion(session: IngestingSession, request_id: RequestId) -> IngestionAnswer:
    """One ingestion that was asked for."""
    return service.get_ingestion(session, request_id)


@router.get("/{request_id}/log")
def tail_log(
    session: IngestingSession, request_id: RequestId, tail: Lines = service.TAIL
) -> IngestionLogAnswer:
    """The last lines of what an ingestion told, the oldest first."""
    return service.tail_log(session, request_id, tail)


@router.post("/{request_id}/cancel")
def cancel_ingestion(session: IngestingSession, request_id: RequestId) -> IngestionAnswer:
    """Cancel an ingestion: one that waits at once, one that is worked on within seconds."""
    return service.cancel_ingestion(session, request_id, actor_of(session))


@router.post("/{request_id}/retry")
def retry_ingestion(session: IngestingSession, request_id: RequestId) -> IngestionAnswer:
    """Queue an ingestion again that failed or was cancelled."""
    return service.retry_ingestion(session, request_id, actor_of(session))
