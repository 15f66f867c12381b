"""Making triggers, and asking for what they bring."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr, ValidationError
from sqlalchemy.orm import Session

from app.access import access_of
from app.database.models import IngestionRequest, IngestionTrigger
from app.errors import InputError, NotFoundError, UnauthorisedError, UnavailableError
from app.ingestions.addresses import below, is_below_url, is_url
from app.ingestions.repository import find_by_key
from app.ingestions.schemas import IngestionAnswer, IngestionWanted, Trigger
from app.ingestions.service import asked_of, checked, queue, told
from app.keys.repository import add_audit
from app.settings import get_settings
from app.triggers import repository
from app.triggers.arrivals import arrived, states_in
from app.triggers.schemas import (
    Arrival,
    NewTrigger,
    Received,
    TriggerAnswer,
    TriggerList,
    TriggerWanted,
)
from app.triggers.signatures import SIGN_IT, WRONG_OR_MISSING, derived_secret, message_id
from app.urls import require_no_login

# Seconds from one look at a watched folder to the next; less where it is to settle sooner.
LOOK_S = 15
# No one is told whether there is such a webhook.
_NOBODYS = "no webhook"

logger = logging.getLogger(__name__)


def make_trigger(session: Session, wanted: TriggerWanted, actor: str) -> NewTrigger:
    """Watch a folder, or let another system call a webhook; the caller commits.

    Raises
    ------
    InputError
        The folder lies where it may not, or an option is none; nothing is made.
    UnavailableError
        A webhook is wanted, and the setting ``hook_secret`` is not there.
    """
    if wanted.kind == "webhook":
        _master()
    work = IngestionWanted(**wanted.model_dump(include=set(IngestionWanted.model_fields)))
    trigger = IngestionTrigger(
        **checked(session, work, actor),
        kind=wanted.kind,
        settle_s=wanted.settle_s,
        seen={},
        look_at=datetime.now(UTC) if wanted.kind == "watch" else None,
    )
    session.add(trigger)
    session.flush()
    session.refresh(trigger)
    detail = {"source": trigger.source, "kind": trigger.kind}
    add_audit(session, actor, "make trigger", str(trigger.id), detail)
    secret = _secret(trigger) if wanted.kind == "webhook" else None
    return NewTrigger(**_told(trigger).model_dump(), secret=secret)


def list_triggers(session: Session) -> TriggerList:
    """Triggers that have not ended, the oldest first; of a key, those that it made."""
    rows = repository.list_triggers(session, access_of(session))
    return TriggerList(triggers=[_told(row) for row in rows])


def end_trigger(session: Session, trigger_id: int, actor: str) -> TriggerAnswer:
    """End a trigger; what it has asked for already is not cancelled.

    Raises
    ------
    NotFoundError
        There is no such trigger.
    """
    trigger = None
    if 0 < trigger_id < 2**31:
        trigger = repository.find_trigger(session, trigger_id, access_of(session))
    if trigger is None:
        raise NotFoundError(
            f"there is no trigger {trigger_id}", hint="`sdc triggers` tells their ids"
        )
    if trigger.ended_at is None:
        trigger.ended_at = datetime.now(UTC)
        session.flush()
        add_audit(session, actor, "end trigger", str(trigger.id), {"source": trigger.source})
    return _told(trigger)


def receive(session: Session, trigger_id: int, headers: Mapping[str, str], body: bytes) -> Received:
    """Take a message that a webhook's secret signs: a data set has arrived.

    A message that comes again, by its id, leads to the same ingestion.

    Parameters
    ----------
    session : Session
        The caller commits.
    trigger_id : int
    headers : mapping of str to str
        Names in lower case.
    body : bytes
        JSON of an `Arrival`.

    Raises
    ------
    UnauthorisedError
        There is no such webhook, or the signature is missing, wrong or old.
    InputError
        The message says nothing that can be used, or names what lies elsewhere.
    """
    trigger = None
    if 0 < trigger_id < 2**31:
        trigger = repository.find_trigger(session, trigger_id, None)
    is_there = trigger is not None and trigger.kind == "webhook" and trigger.ended_at is None
    # Held against some secret all the same: whoever sends must not learn that there is none.
    secret = _secret(trigger) if trigger and is_there else derived_secret(_master(), _NOBODYS)
    identity = message_id(secret, headers, body)
    if trigger is None or not is_there:
        raise UnauthorisedError(WRONG_OR_MISSING, hint=SIGN_IT)
    try:
        arrival = Arrival.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the message"
        raise InputError(f"{where}: {first['msg']}", hint='send {"source": PATH}') from None
    source = _below(trigger, arrival.source)
    answer = _ask(session, trigger, source, "webhook", f"webhook {trigger.id} {identity}")
    return Received(ingestion=answer.id, state=answer.state)


def look_once(session: Session) -> bool:
    """Look at the watched folder whose turn it is; False where there is none. The caller commits.

    A folder that cannot be listed is looked at again later.
    """
    trigger = repository.next_to_watch(session)
    if trigger is None:
        return False
    now = datetime.now(UTC)
    trigger.look_at = now + timedelta(seconds=min(LOOK_S, max(1, trigger.settle_s // 2)))
    try:
        states = states_in(trigger.source)
    except OSError as error:
        logger.warning("the watched folder %s cannot be listed: %s", trigger.source, error)
        return True
    trigger.seen, ready = arrived(trigger.seen, states, now, timedelta(seconds=trigger.settle_s))
    for path, state in ready.items():
        _ask(session, trigger, path, "watch", f"watch {trigger.id} {path} {state}")
    return True


def _ask(
    session: Session, trigger: IngestionTrigger, source: str, kind: Trigger, key: str
) -> IngestionAnswer:
    if (before := find_by_key(session, key)) is not None:
        return told(before)
    asked = asked_of(trigger) | {"source": source}
    return queue(session, IngestionRequest(trigger=kind, key=key, **asked))


def _below(trigger: IngestionTrigger, source: str) -> str:
    """A path in a trigger's folder, links followed; or a URL."""
    require_no_login(source)
    if is_url(trigger.source):
        found = source if is_below_url(source, trigger.source) else None
    else:
        found = below(source, [Path(trigger.source).resolve()])
    if found is None:
        raise InputError(
            f"{source} lies outside the webhook's folder",
            hint=f"name what lies below {trigger.source}",
        )
    return found


def _secret(trigger: IngestionTrigger) -> str:
    return derived_secret(_master(), f"webhook {trigger.id} {trigger.created_at.timestamp():.6f}")


def _master() -> SecretStr:
    master = get_settings().hook_secret
    if master is None:
        raise UnavailableError(
            "webhooks have no secret here", hint="set SDC_HOOK_SECRET to some random text"
        )
    return master


def _told(trigger: IngestionTrigger) -> TriggerAnswer:
    return TriggerAnswer.model_validate(trigger, from_attributes=True)
