"""What prompts a request may have embedded, which takes longer than all else, and stored."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from app.errors import InputError
from app.settings import get_settings

_KEY = "embeddings"


class _Budget:
    def __init__(self, count: Callable[[int], None], may_store: bool) -> None:
        self.may_store = may_store
        self._spent = 0
        self._count = count

    def spend(self, number: int) -> None:
        most = get_settings().embed_limit
        if self._spent + number > most:
            raise InputError(
                f"{self._spent + number:,} prompts of this request are to be embedded, those in "
                "several templates counted for each",
                hint=f"{most:,} at once are the most, the setting SDC_EMBED_LIMIT: ask in several "
                "requests",
            )
        self._count(number)
        self._spent += number


def limit_embeddings(session: Session, count: Callable[[int], None], *, may_store: bool) -> None:
    """Let what a session has embedded be no more than the setting ``embed_limit``.

    Parameters
    ----------
    session : Session
        Of one request.
    count : callable
        Told how many are to be embedded, before they are: it may refuse.
    may_store : bool
        Whether their vectors are stored.
    """
    session.info[_KEY] = _Budget(count, may_store)


def may_store(session: Session) -> bool:
    """Whether what a session has embedded is stored; one without a limit stores it."""
    budget: _Budget | None = session.info.get(_KEY)
    return budget is None or budget.may_store


def spend_embeddings(session: Session, number: int) -> None:
    """Take note that prompts are to be embedded; a session without a limit may embed any number.

    Raises
    ------
    InputError
        It is more than one request may have embedded.
    TooManyRequestsError
        It is more than one asker may have in a minute.
    """
    budget: _Budget | None = session.info.get(_KEY)
    if budget is not None:
        budget.spend(number)
