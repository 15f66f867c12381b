"""What may pass is tried again, after longer and longer waits; what cannot pass fails at once."""

import errno
import logging
from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

import psycopg
from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from sqlalchemy.exc import DBAPIError

from app.errors import CatalogError
from app.settings import get_settings

R = TypeVar("R")

log = logging.getLogger(__name__)

# Beginnings of SQLSTATE (PostgreSQL's manual, appendix A): no connection; rolled back for the sake
# of another transaction; too many connections; locked; the server goes down or comes up.
_PASSING_STATES = ("08", "40", "53300", "55P03", "57P01", "57P02", "57P03")
# What a network or a file system over one may answer now and not a little later.
_PASSING_ERRORS = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
    errno.ESTALE,
}
# As a share of a wait, how much longer or shorter it may be: those who failed together do not come
# back together.
_JITTER = 0.3


def may_pass(error: BaseException | None) -> bool:
    """Whether doing the same again may go well.

    An error of the catalog's own is judged by what caused it: a server that does not answer may
    answer soon, and a device, package or migration that is missing stays missing.

    Parameters
    ----------
    error : BaseException or None
    """
    match error:
        case CatalogError():
            return may_pass(error.__cause__)
        case DBAPIError():
            return error.connection_invalidated or may_pass(error.orig)
        case psycopg.OperationalError(sqlstate=None):
            # No answer of a server: there is none, or the connection was lost.
            return True
        case psycopg.Error(sqlstate=str(state)):
            return state.startswith(_PASSING_STATES)
        case ConnectionError() | TimeoutError():
            return True
        case OSError():
            return error.errno in _PASSING_ERRORS
    return False


class RetryOptions(TypedDict):
    """Options of a Prefect task."""

    retries: int
    retry_delay_seconds: list[float]
    retry_jitter_factor: float
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]


def retry_options() -> RetryOptions:
    """How a task is tried again, by the settings `retries` and `retry_delay_s`."""
    settings = get_settings()
    return {
        "retries": settings.retries,
        "retry_delay_seconds": [
            settings.retry_delay_s * 2**attempt for attempt in range(settings.retries)
        ],
        "retry_jitter_factor": _JITTER,
        "retry_condition_fn": _is_worth_it,
    }


def persevere(name: str, work: Callable[[], R]) -> R:
    """Do what is done wholly or not at all, and again where it failed by what may pass.

    It may have been done although it failed, where the answer to a commit was lost: the work has to
    look for what is there already.

    Parameters
    ----------
    name : str
        Of the task that Prefect shows.
    work : callable
        Opens its own connections, since those of a failed try may be lost.

    Raises
    ------
    Exception
        What the last try raised.
    """
    persevering = task(name=name, persist_result=False, cache_policy=NO_CACHE, **retry_options())
    return persevering(work)()


def _is_worth_it(task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    error: Any = state.data
    if not may_pass(error):
        return False
    log.warning("%s is tried again after: %s", task.name, str(error).strip().splitlines()[0])
    return True
