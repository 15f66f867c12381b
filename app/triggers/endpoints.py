"""Triggers, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from app.dependencies import AnybodysSession, IngestingSession
from app.keys.service import actor_of
from app.terms.endpoints import INGESTION
from app.triggers import service
from app.triggers.schemas import (
    Arrival,
    NewTrigger,
    Received,
    TriggerAnswer,
    TriggerList,
    TriggerWanted,
)

router = APIRouter(prefix="/triggers", tags=[INGESTION])
hooks_router = APIRouter(prefix="/hooks", tags=["hooks"])

TriggerId = Annotated[int, Path(description="A trigger's id.")]


@router.post("", status_code=201)
def make_trigger(session: IngestingSession, wanted: TriggerWanted) -> NewTrigger:
    """Watch a folder, or let another system call a webhook."""
    return service.make_trigger(session, wanted, actor_of(session))


@router.get("")
def list_triggers(session: IngestingSession) -> TriggerList:
    """Triggers that the key made and that have not ended, the oldest first; all for `admin`."""
    return service.list_triggers(session)


@router.delete("/{trigger_id}")
def end_trigger(session: IngestingSession, trigger_id: TriggerId) -> TriggerAnswer:
    """End a trigger; what it has asked for already is not cancelled."""
    return service.end_trigger(session, trigger_id, actor_of(session))


async def _body(request: Request) -> bytes:
    return await request.body()


@hooks_router.post(
    "/{trigger_id}",
    status_code=202,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": Arrival.model_json_schema()}},
        },
        "parameters": [
            {"in": "header", "name": name, "required": True, "schema": {"type": "string"}}
            for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        ],
    },
)
def receive(
    session: AnybodysSession,
    trigger_id: TriggerId,
    request: Request,
    body: Annotated[bytes, Depends(_body)],
) -> Received:
    """Take a message that the webhook's secret signs (Standard Webhooks); it needs no key."""
    return service.receive(session, trigger_id, request.headers, body)
