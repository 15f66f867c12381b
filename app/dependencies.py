"""What the API's endpoints ask for: a session that sees what the request's key may see."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.access import NOBODY, access_of
from app.admission import address_of, admit_counted
from app.keys.service import require_scope, secret_of
from app.presence import watching
from app.reading import reading_session


async def _placed(request: Request) -> AsyncIterator[None]:
    """Hold one of the server's places; the body has been read, however slowly it came."""
    async with request.app.state.capacity.place(), watching(request):
        yield


_Placed = Annotated[None, Depends(_placed, scope="function")]


def _reading(request: Request, _place: _Placed) -> Iterator[Session]:
    secret = secret_of(request.headers.get("authorization"))
    with reading_session() as session:
        admit_counted(session, secret, address_of(request), request.app.state.rates)
        yield session


# The function's scope: what could not be committed must not have been answered already.
ReadingSession = Annotated[Session, Depends(_reading, scope="function")]


def _anybodys(request: Request, _place: _Placed) -> Iterator[Session]:
    with reading_session() as session:
        request.app.state.rates.count(address_of(request))
        yield session


# For what is let in by other means than a key.
AnybodysSession = Annotated[Session, Depends(_anybodys, scope="function")]


def _ingesting(session: ReadingSession) -> Session:
    require_scope(access_of(session) or NOBODY, "ingest")
    return session


IngestingSession = Annotated[Session, Depends(_ingesting, scope="function")]


def _administering(session: ReadingSession) -> Session:
    require_scope(access_of(session) or NOBODY, "admin")
    return session


AdminSession = Annotated[Session, Depends(_administering, scope="function")]
