"""Who is let in over a network: by their key, and as often as their rate allows."""

from functools import partial

from sqlalchemy.orm import Session
from starlette.requests import Request

from app.access import NOBODY, Access
from app.errors import ForbiddenError, UnauthorisedError
from app.keys.service import admit
from app.rates import Rates
from app.terms.budget import limit_embeddings


def address_of(request: Request) -> str:
    """Where a request comes from, as far as its connection tells."""
    return request.client.host if request.client else "unknown"


def admit_counted(session: Session, secret: str | None, address: str, rates: Rates) -> Access:
    """Let the bearer of a key read, see `app.keys.service.admit`, and count the request.

    Parameters
    ----------
    session : Session
    secret : str, optional
        The key; None for nobody's.
    address : str
        Where the request comes from: what counts where no key does.
    rates : Rates

    Raises
    ------
    UnauthorisedError, ForbiddenError
        The key is not valid, has not the scope, or reading needs one.
    TooManyRequestsError
        It is more than the setting ``requests_per_minute``.
    """
    try:
        access = admit(session, secret)
    except (UnauthorisedError, ForbiddenError):
        rates.count(address)
        raise
    asker = address if access is NOBODY else access.actor
    rates.count(asker)
    limit_embeddings(session, partial(rates.count, asker), may_store=access is not NOBODY)
    return access
