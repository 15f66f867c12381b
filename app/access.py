"""What a session may see: embargoed datasets are hidden from it, as if they were not there."""

from dataclasses import dataclass

from sqlalchemy import event, or_
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from app.database.models import Dataset

_KEY = "access"


@dataclass(frozen=True)
class Access:
    """Who asks, and what they may see.

    Parameters
    ----------
    actor : str
        Named in the audit.
    scopes : frozenset of str
        ``read``, ``ingest``, ``admin``.
    datasets : frozenset of str
        Names of the embargoed datasets that are shown.
    """

    actor: str
    scopes: frozenset[str] = frozenset()
    datasets: frozenset[str] = frozenset()

    @property
    def sees_all(self) -> bool:
        """Whether no embargo holds."""
        return "admin" in self.scopes


NOBODY = Access("nobody")


def restrict(session: Session, access: Access) -> None:
    """Hide from a session's queries, from now on, the datasets that `access` may not see.

    Every query that has to do with a dataset joins its row, and so finds nothing of one that is
    hidden: no concept, no count, no name in a hint. A session that was never restricted, as the
    command line's and the flows' are, sees all.
    """
    session.info[_KEY] = access
    # What was read before might be answered from memory.
    session.expunge_all()


def access_of(session: Session) -> Access | None:
    """What a session was restricted to; None where it sees all."""
    found: Access | None = session.info.get(_KEY)
    return found


@event.listens_for(Session, "do_orm_execute")
def _hide(state: ORMExecuteState) -> None:
    access = access_of(state.session)
    if access is None or access.sees_all or not state.is_select:
        return
    state.statement = state.statement.options(
        with_loader_criteria(
            Dataset,
            or_(Dataset.embargoed.is_(False), Dataset.slug.in_(sorted(access.datasets))),
            include_aliases=True,
        )
    )
