"""What the API's endpoints ask for: a session that sees what the request's key may see."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.access import NOBODY, access_of, restrict
from app.errors import UnauthorisedError
from app.keys.service import check_key, require_scope
from app.rates import Rates
from app.reading import reading_session
from app.settings import get_settings


def _secret(request: Request) -> str | None:
    """What was given as a key; what is no bearer's is no key, and not nobody's."""
    given = request.headers.get("authorization")
    if given is None:
        return None
    scheme, _, secret = given.partition(" ")
    return secret if scheme.lower() == "bearer" else given


def _reading(request: Request) -> Iterator[Session]:
    rates: Rates = request.app.state.rates
    with reading_session() as session:
        address = request.client.host if request.client else "unknown"
        try:
            access = check_key(session, _secret(request))
        except UnauthorisedError:
            rates.count(address)
            raise
        rates.count(address if access is NOBODY else access.actor)
        restrict(session, access)
        if get_settings().reading_needs_key:
            require_scope(access, "read")
        yield session


# The function's scope: what could not be committed must not have been answered already.
ReadingSession = Annotated[Session, Depends(_reading, scope="function")]


def _administering(session: ReadingSession) -> Session:
    require_scope(access_of(session) or NOBODY, "admin")
    return session


AdminSession = Annotated[Session, Depends(_administering, scope="function")]
