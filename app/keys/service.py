"""Making, checking and revoking keys; embargoes; the audit."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.access import NOBODY, Access, access_of, restrict
from app.database.models import ApiKey
from app.errors import ForbiddenError, InputError, NotFoundError, UnauthorisedError
from app.keys import repository
from app.keys.schemas import (
    AuditEntry,
    EmbargoAnswer,
    KeyAnswer,
    KeyList,
    KeyWanted,
    NewKey,
    Scope,
)
from app.paging import PAGE, Page, check_limit, page_of, read_cursor
from app.runs.service import require_dataset
from app.settings import get_settings

PREFIX = "sdc_"
_SECRET = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
# A key is marked as used once in this time, so that reading does not write at every request.
_NOTED = timedelta(minutes=5)


def check_key(session: Session, secret: str | None) -> Access:
    """What the bearer of a key may do.

    Parameters
    ----------
    session : Session
        The caller commits: the key is marked as used.
    secret : str, optional
        As it was told when the key was made; None for nobody's.

    Raises
    ------
    UnauthorisedError
        It is no key, has expired, or was revoked; which of these is not told.
    """
    if secret is None:
        return NOBODY
    key = None
    if _SECRET.fullmatch(secret):
        key = repository.find_by_hash(session, _hash(secret))
    now = datetime.now(UTC)
    if key is None or key.revoked_at or (key.expires_at is not None and key.expires_at <= now):
        raise UnauthorisedError(
            "the key is not valid: it is none, has expired, or was revoked",
            hint="ask for a new one; `sdc keys create` makes them",
        )
    if key.last_used_at is None or now - key.last_used_at > _NOTED:
        key.last_used_at = now
        session.flush()
    return Access(f"key {key.id} ({key.name})", frozenset(key.scopes), frozenset(key.datasets))


def secret_of(authorization: str | None) -> str | None:
    """The key in an ``Authorization`` header; None where there is no such header.

    What is no bearer's is taken for a key that is none, so that whoever sent it is told, and does
    not pass for nobody.
    """
    if authorization is None:
        return None
    scheme, _, secret = authorization.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else authorization


def admit(session: Session, secret: str | None) -> Access:
    """Let the bearer of a key read, and restrict the session to what they may see.

    Raises
    ------
    UnauthorisedError
        The key is not valid, or none was given where the setting ``reading_needs_key`` wants one.
    ForbiddenError
        It has not the scope ``read`` there.
    """
    access = check_key(session, secret)
    restrict(session, access)
    if get_settings().reading_needs_key:
        require_scope(access, "read")
    return access


def require_scope(access: Access, scope: Scope) -> None:
    """Refuse who does not have a scope; ``admin`` has all.

    Raises
    ------
    UnauthorisedError
        No key was given.
    ForbiddenError
        The key has not this scope.
    """
    if access.scopes & {scope, "admin"}:
        return
    if access is NOBODY:
        raise UnauthorisedError(
            "a key is needed",
            hint="give one as SDC_KEY, or over HTTP as `Authorization: Bearer sdc_...`",
        )
    raise ForbiddenError(
        f"the key has not the scope {scope}",
        hint=f"it has {', '.join(sorted(access.scopes))}; ask for another one",
    )


def wanted_key(
    name: str, scopes: Sequence[str], datasets: Sequence[str], days: int | None
) -> KeyWanted:
    """What a key is to be, checked.

    Raises
    ------
    InputError
        A scope is unknown, or name or days cannot be used.
    """
    try:
        return KeyWanted.model_validate(
            {"name": name, "scopes": scopes, "datasets": datasets, "days": days}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            hint="see `sdc keys create --help`",
        ) from None


def create_key(session: Session, wanted: KeyWanted, actor: str) -> NewKey:
    """Make a key. Its secret is in the answer, and nowhere else.

    Parameters
    ----------
    session : Session
        The caller commits.
    wanted : KeyWanted
    actor : str
        Who makes it, for the audit.

    Raises
    ------
    NotFoundError
        There is no such dataset.
    """
    for slug in wanted.datasets:
        require_dataset(session, slug)
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        name=wanted.name,
        sha256=_hash(secret),
        scopes=sorted(set(wanted.scopes)),
        datasets=sorted(set(wanted.datasets)),
        created_at=datetime.now(UTC),
        expires_at=None if wanted.days is None else datetime.now(UTC) + timedelta(days=wanted.days),
    )
    session.add(key)
    session.flush()
    detail = {"name": key.name, "scopes": key.scopes, "datasets": key.datasets}
    repository.add_audit(session, actor, "create key", str(key.id), detail)
    return NewKey(key=secret, **_told(key).model_dump())


def list_keys(session: Session) -> KeyList:
    """All keys, the newest first, without their secrets."""
    return KeyList(keys=[_told(key) for key in repository.list_keys(session)])


def revoke_key(session: Session, key_id: int, actor: str) -> KeyAnswer:
    """Make a key invalid, for good; one that is stays as it is.

    Raises
    ------
    NotFoundError
        There is no such key.
    """
    key = repository.find_key(session, key_id) if 0 < key_id < 2**31 else None
    if key is None:
        raise NotFoundError(f"there is no key {key_id}", hint="`sdc keys list` tells their ids")
    if key.revoked_at is None:
        key.revoked_at = datetime.now(UTC)
        session.flush()
        repository.add_audit(session, actor, "revoke key", str(key.id), {"name": key.name})
    return _told(key)


def set_embargo(session: Session, dataset: str, embargoed: bool, actor: str) -> EmbargoAnswer:
    """Hide a dataset from everybody without its scope, or show it again.

    Raises
    ------
    NotFoundError
        There is no such dataset.
    """
    row = require_dataset(session, dataset)
    if row.embargoed != embargoed:
        row.embargoed = embargoed
        session.flush()
        action = "embargo dataset" if embargoed else "lift embargo"
        repository.add_audit(session, actor, action, row.slug, {})
    return EmbargoAnswer(dataset=row.slug, embargoed=row.embargoed)


def list_audit(
    session: Session, *, cursor: str | None = None, limit: int = PAGE
) -> Page[AuditEntry]:
    """Changes to the catalog, the oldest first.

    Raises
    ------
    InputError
        `limit` or cursor cannot be used.
    """
    check_limit(limit)
    rows, total = repository.list_audit(session, read_cursor(cursor), limit + 1)
    items = [AuditEntry.model_validate(row, from_attributes=True) for row in rows]
    return page_of(items, [item.id for item in items], total, limit)


def actor_of(session: Session) -> str:
    """Who a session's changes are recorded for."""
    access = access_of(session)
    return "unknown" if access is None else access.actor


def _hash(secret: str) -> str:
    # 256 random bits cannot be guessed, so that a slow hash would protect nothing more.
    return hashlib.sha256(secret.encode()).hexdigest()


def _told(key: ApiKey) -> KeyAnswer:
    fields: dict[str, Any] = {name: getattr(key, name) for name in KeyAnswer.model_fields}
    return KeyAnswer(**fields)
