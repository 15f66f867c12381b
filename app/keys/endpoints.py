"""Keys, embargoes and the audit, over HTTP; an ``admin`` key is needed for all of it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.dependencies import AdminSession
from app.keys import service
from app.keys.schemas import AuditEntry, EmbargoAnswer, KeyAnswer, KeyList, KeyWanted, NewKey
from app.paging import PAGE, Page

router = APIRouter(tags=["administration"])

KeyId = Annotated[int, Path(description="A key's id.")]
Slug = Annotated[str, Path(description="A dataset's name.")]


@router.post("/keys", status_code=201)
def create_key(session: AdminSession, wanted: KeyWanted) -> NewKey:
    """Make a key. Its secret is told this once."""
    return service.create_key(session, wanted, service.actor_of(session))


@router.get("/keys")
def list_keys(session: AdminSession) -> KeyList:
    """All keys, the newest first, without their secrets."""
    return service.list_keys(session)


@router.delete("/keys/{key_id}")
def revoke_key(session: AdminSession, key_id: KeyId) -> KeyAnswer:
    """Make a key invalid, for good."""
    return service.revoke_key(session, key_id, service.actor_of(session))


@router.put("/datasets/{dataset}/embargo")
def embargo(session: AdminSession, dataset: Slug) -> EmbargoAnswer:
    """Hide a dataset from everybody without its scope."""
    return service.set_embargo(session, dataset, True, service.actor_of(session))


@router.delete("/datasets/{dataset}/embargo")
def lift_embargo(session: AdminSession, dataset: Slug) -> EmbargoAnswer:
    """Show a dataset again."""
    return service.set_embargo(session, dataset, False, service.actor_of(session))


@router.get("/audit")
def list_audit(
    session: AdminSession,
    cursor: Annotated[str | None, Query(max_length=100, description="`next` of a page.")] = None,
    limit: Annotated[int, Query(ge=1, description="Items a page.")] = PAGE,
) -> Page[AuditEntry]:
    """Changes to the catalog, the oldest first."""
    return service.list_audit(session, cursor=cursor, limit=limit)
