"""What the API's endpoints ask for: a session that sees what the request's key may see."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.access import NOBODY, access_of
from app.errors import UnauthorisedError
from app.keys.service import admit, require_scope, secret_of
from app.rates import Rates
from app.reading import reading_session


def _reading(request: Request) -> Iterator[Session]:
    rates: Rates = request.app.state.rates
    with reading_session() as session:
        address = request.client.host if request.client else "unknown"
        try:
            access = admit(session, secret_of(request.headers.get("authorization")))
        except UnauthorisedError:
            rates.count(address)
            raise
        rates.count(address if access is NOBODY else access.actor)
        yield session


# The function's scope: what could not be committed must not have been answered already.
ReadingSession = Annotated[Session, Depends(_reading, scope="function")]


def _administering(session: ReadingSession) -> Session:
    require_scope(access_of(session) or NOBODY, "admin")
    return session


AdminSession = Annotated[Session, Depends(_administering, scope="function")]
