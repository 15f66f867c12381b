"""What the API's endpoints ask for: a session that sees what the request's key may see."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session

from app.access import NOBODY, access_of, restrict
from app.errors import UnauthorisedError
from app.keys.service import check_key, require_scope
from app.rates import Rates
from app.reading import reading_session
from app.settings import get_settings

_bearer = HTTPBearer(auto_error=False, description="A key, see `sdc keys create`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _reading(request: Request, credentials: Credentials) -> Iterator[Session]:
    rates: Rates = request.app.state.rates
    with reading_session() as session:
        address = request.client.host if request.client else "unknown"
        try:
            access = check_key(session, credentials.credentials if credentials else None)
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
