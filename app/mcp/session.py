"""How tools reach the catalog, in the name of whoever calls them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server.mcpserver import Context
from sqlalchemy.orm import Session

from app.database.reader import SqlAnswer, read_sql
from app.keys.service import admit, secret_of
from app.reading import reading_session
from app.settings import get_settings

Call = Context[Any, Any]


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
def open_reader(key: str | None) -> Iterator[Session]:
    """A session for the services, in the name of a key's owner.

    Parameters
    ----------
    key : str, optional
        As `caller_key` tells it.

    Raises
    ------
    UnauthorisedError, ForbiddenError
        The key is not valid, or reading needs one.
    """
    with reading_session() as session:
        admit(session, key)
        yield session


def read_statement(key: str | None, statement: str) -> SqlAnswer:
    """What a statement reads; the role that runs it sees no embargoed dataset, whatever the key.

    Parameters
    ----------
    key : str, optional
        As `caller_key` tells it.
    statement : str
        See `app.database.reader.read_sql`.

    Raises
    ------
    UnauthorisedError, ForbiddenError
        The key is not valid, or reading needs one.
    """
    with open_reader(key):
        pass
    return read_sql(statement, rows=get_settings().sql_rows)
