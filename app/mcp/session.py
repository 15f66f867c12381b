"""How tools reach the catalog, in the name of whoever calls them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server.mcpserver import Context
from sqlalchemy.orm import Session

from app.admission import address_of, admit_counted
from app.database.reader import SqlAnswer, read_sql
from app.keys.service import admit, secret_of
from app.rates import Rates
from app.reading import reading_session
from app.settings import get_settings

Call = Context[Any, Any]

_rates = Rates()


def caller_key(call: Call) -> str | None:
    """The key that a call comes with; None where it has none.

    Over HTTP it is the bearer token of the call's own request, never a key of the server's; on
    stdin and stdout it is ``SDC_KEY``, for the process belongs to its one client.
    """
    if call.headers is None:
        key = get_settings().key
        return key.get_secret_value() if key else None
    return secret_of(call.headers.get("authorization"))


@contextmanager
def open_reader(call: Call) -> Iterator[Session]:
    """A session for the services, in the name of the owner of a call's key.

    Parameters
    ----------
    call : Context
        It counts where it came over HTTP, as requests to the REST API do.

    Raises
    ------
    UnauthorisedError, ForbiddenError
        The key is not valid, or reading needs one.
    TooManyRequestsError
        It is more than the setting ``requests_per_minute``.
    """
    key, request = caller_key(call), call.request_context.request
    with reading_session() as session:
        if request is None:
            admit(session, key)
        else:
            admit_counted(session, key, address_of(request), _rates)
        yield session


def read_statement(call: Call, statement: str) -> SqlAnswer:
    """What a statement reads; the role that runs it sees no embargoed dataset, whatever the key.

    Parameters
    ----------
    call : Context
        As `open_reader`.
    statement : str
        See `app.database.reader.read_sql`.

    Raises
    ------
    UnauthorisedError, ForbiddenError, TooManyRequestsError
        As `open_reader`.
    """
    with open_reader(call):
        pass
    return read_sql(statement, rows=get_settings().sql_rows)
