"""Tests of the queue's end for those who work on it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database.engine import open_session
from app.database.models import Dataset, IngestionLog, IngestionRequest
from app.errors import CatalogError, ForbiddenError, InputError, UnavailableError
from app.ingestions import queue
from app.ingestions.queue import Taken
from app.ingestions.schemas import IngestionWanted
from app.ingestions.service import ask_ingestion, cancel_ingestion
from tests.app.published import Published

SOMETHING = UnavailableError("it is away")


@pytest.fixture
def session(own_session: Session) -> Session:
    return own_session


def ask(session: Session, source: str = "/data") -> int:
    return ask_ingestion(session, IngestionWanted(source=source), "a test", "command").id


def row(session: Session, request: int) -> IngestionRequest:
    session.expire_all()
    found = session.get(IngestionRequest, request)
    assert found is not None
    return found


def begun(session: Session, request: int, attempt: int = 1) -> Taken:
    taken = queue.begin(session, request, attempt)
    assert taken is not None
    return taken


def pass_time(session: Session, by: timedelta = queue.LEASE) -> None:
    """Let all leases be as old as if that time had passed."""
    session.execute(
        update(IngestionRequest).values(
            lease_until=IngestionRequest.lease_until - by,
            not_before=IngestionRequest.not_before - by,
        )
    )


def test_those_who_waited_longest_come_first_and_each_is_taken_once(catalog: Path) -> None:
    with open_session() as one, open_session() as other:
        first, second = ask(one), ask(one)
        one.commit()
        got = queue.next_due(one), queue.next_due(other)
        assert [each.id for each in got if each] == [first, second]
        with open_session() as third:
            assert queue.next_due(third) is None


def test_what_is_to_wait_is_not_due(session: Session) -> None:
    row(session, ask(session)).not_before = datetime.now(UTC) + timedelta(minutes=1)
    session.flush()
    assert queue.next_due(session) is None


def test_an_attempt_is_begun_once(session: Session) -> None:
    request = ask(session)
    taken = begun(session, request)
    assert (taken.id, taken.source, taken.confined, taken.datasets) == (
        request,
        "/data",
        False,
        None,
    )
    assert queue.begin(session, request, 1) is None
    assert queue.begin(session, request, 2) is None
    assert row(session, request).state == "running"


def test_what_was_cancelled_while_it_waited_is_not_begun(session: Session) -> None:
    request = ask(session)
    cancel_ingestion(session, request, "a test")
    assert queue.begin(session, request, 1) is None


def test_a_lease_is_renewed_and_tells_of_a_cancellation(session: Session) -> None:
    request = ask(session)
    taken = begun(session, request)
    pass_time(session)
    assert queue.renew(session, taken, "reading 1/4") == "yes"
    assert queue.recover_lost(session) == []
    assert row(session, request).progress == "reading 1/4"
    assert cancel_ingestion(session, request, "a test").state == "running"
    assert queue.renew(session, taken, "") == "cancel"
    assert queue.end_cancelled(session, taken)
    assert row(session, request).state == "cancelled"


def test_whose_process_is_gone_is_queued_again_a_few_times(session: Session) -> None:
    request = ask(session)
    waits = []
    for attempt in (1, 2, 3):
        taken = begun(session, request, attempt)
        assert queue.recover_lost(session) == []
        pass_time(session)
        session.commit()
        assert queue.recover_lost(session) == [request]
        session.flush()
        # What comes back from the dead changes nothing.
        assert queue.renew(session, taken, "") == "no"
        assert not queue.end_done(session, taken, changed=True, run=None)
        assert not queue.end_failed(session, taken, SOMETHING, may_pass=True)
        found = row(session, request)
        waits.append((found.state, (found.not_before - datetime.now(UTC)).total_seconds()))
        session.execute(update(IngestionRequest).values(not_before=datetime.now(UTC)))
    assert [state for state, _ in waits] == ["queued", "queued", "failed"]
    assert waits[0][1] == pytest.approx(20, abs=5)
    assert waits[1][1] == pytest.approx(40, abs=5)
    assert found.error == "the process that worked on it is gone"
    told = session.scalars(select(IngestionLog.message).order_by(IngestionLog.id)).all()
    assert told == ["its process is gone"] * 3


def test_a_lost_one_that_was_to_be_cancelled_is(session: Session) -> None:
    request = ask(session)
    begun(session, request)
    cancel_ingestion(session, request, "a test")
    pass_time(session)
    session.commit()
    queue.recover_lost(session)
    session.flush()
    assert row(session, request).state == "cancelled"


@pytest.mark.parametrize(
    ("error", "may_pass", "state", "attempt"),
    [(InputError("it is broken"), False, "failed", 1), (SOMETHING, True, "queued", 2)],
)
def test_what_may_pass_is_tried_again_and_what_cannot_fails_at_once(
    session: Session, error: CatalogError, may_pass: bool, state: str, attempt: int
) -> None:
    request = ask(session)
    again = queue.end_failed(session, begun(session, request), error, may_pass=may_pass)
    session.flush()
    found = row(session, request)
    assert (again, found.state, found.attempt) == (may_pass, state, attempt)
    assert found.error == error.message


def test_what_was_handed_on_is_looked_after_when_it_is_old(session: Session) -> None:
    request = ask(session)
    queue.mark_submitted(row(session, request), "a flow run")
    session.commit()
    minute = timedelta(minutes=1)
    assert queue.submitted(session, minute) == []
    pass_time(session, minute)
    session.commit()
    (old,) = queue.submitted(session, minute)
    assert (old.id, old.flow_run) == (request, "a flow run")
    assert queue.give_back(old)
    session.flush()
    found = row(session, request)
    assert (found.state, found.attempt, found.flow_run) == ("queued", 2, None)


def test_an_embargoed_data_set_is_not_everybodys_to_write(
    own_published: Published, own_session: Session
) -> None:
    own_session.execute(update(Dataset).values(embargoed=True))
    taken = begun(own_session, ask(own_session))
    slug = own_published.dataset
    queue.may_write(own_session, taken, slug)
    for datasets in (frozenset[str](), frozenset({"another"})):
        outsider = Taken(**vars(taken) | {"datasets": datasets})
        queue.may_write(own_session, outsider, "a new one")
        with pytest.raises(ForbiddenError) as caught:
            queue.may_write(own_session, outsider, slug)
        assert caught.value.message == (
            f"/data: a data set of the name {slug} is not this key's to write"
        )
    queue.may_write(own_session, Taken(**vars(taken) | {"datasets": frozenset({slug})}), slug)


def test_lines_are_kept_as_the_database_can_hold_them(session: Session) -> None:
    request = ask(session)
    queue.add_line(session, request, 1, "INFO", "a\x00b" + "x" * 5000)
    session.flush()
    (line,) = session.scalars(select(IngestionLog.message))
    assert line == "ab" + "x" * 1998
