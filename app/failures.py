"""What libraries raise, told as the catalog's own errors."""

from tomllib import TOMLDecodeError

import psycopg
from psycopg import errors
from pydantic import ValidationError
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import (
    BusyError,
    CatalogError,
    InputError,
    StorageError,
    TooSlowError,
    UnavailableError,
)


def as_catalog_error(error: Exception) -> CatalogError | None:
    """The one line that a user should see for an error; None where it is no known failure.

    Parameters
    ----------
    error : Exception
        Anything that a command or a request raised.
    """
    match error:
        case CatalogError():
            return error
        case DBAPIError(orig=psycopg.Error() as cause):
            return _database_error(cause, error)
        case psycopg.Error():
            return _database_error(error, None)
        case PoolTimeout():
            return BusyError(
                "all connections to the database are in use", hint="ask again", retry_after_s=5
            )
        case ArgumentError():
            return InputError(
                "SDC_DATABASE_URL is no PostgreSQL URL",
                hint="it looks like postgresql://user@host:5432/database",
            )
        case ValidationError(title="Settings"):
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            return InputError(
                f"the setting SDC_{name.upper()} cannot be used: {first['msg']}",
                hint=f"mend it, or {name} in settings.toml of SDC_HOME",
            )
        case TOMLDecodeError():
            return InputError(f"settings.toml in SDC_HOME is no TOML: {error}", hint="mend it")
        case UnicodeError():
            return InputError(f"a text is not valid Unicode: {error}", hint="use UTF-8")
    return None


def _database_error(cause: psycopg.Error, error: DBAPIError | None) -> CatalogError | None:
    reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    match cause:
        case errors.QueryCanceled():
            return TooSlowError(
                "the database query took too long and was stopped",
                hint="ask for less, or raise SDC_STATEMENT_TIMEOUT_S",
            )
        case errors.DiskFull() | errors.OutOfMemory():
            return StorageError(f"the database server: {reason}", hint="free some of it")
        case errors.InsufficientPrivilege() | errors.ReadOnlySqlTransaction():
            return UnavailableError(
                f"the database refuses: {reason}", hint="use a role that may write the catalog"
            )
        case psycopg.DataError() | errors.ProgramLimitExceeded():
            return InputError(f"the database cannot take a value: {reason}")
        case psycopg.OperationalError():
            if isinstance(error, OperationalError):
                from app.database.engine import get_engine, unreachable

                return unreachable(error, get_engine())
            return UnavailableError(f"the database server: {reason}", hint="run `sdc doctor`")
    return None
