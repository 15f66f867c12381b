"""Which files of the store are garbage.

An artefact stays where the catalog or a remembered result refers to it. A remembered result stays
while it is young, and where it costs nothing: where the catalog refers to all that it does. A file
stays whatever it is as long as the process that put it may still be at work.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.orm import Session

from app.database.engine import open_session
from app.errors import ConflictError
from app.garbage import repository
from app.garbage.schemas import Garbage
from app.store import RENEWED_AFTER, ArtefactStore, StoredFile

P = ParamSpec("P")
R = TypeVar("R")

# Whatever format results are remembered in, this is how they name an artefact.
_SHA256 = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@contextmanager
def at_work() -> Iterator[None]:
    """Keep what this process has put into the store and what it remembers, while the block runs.

    A killed process keeps nothing: what tells of its work ends with its connection.

    Raises
    ------
    UnavailableError
        The database is unreachable, or at another migration.
    """
    session = open_session()
    try:
        repository.announce_work(session.connection())
        yield
    finally:
        # Closed and not given back: the lock is its transaction's. Its server may be gone by now.
        session.invalidate()


def works(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function one that is at work while it runs.

    Where it goes to another machine it is pickled, which `at_work` itself as a decorator is not.
    """

    @wraps(function)
    def at_its_work(*args: P.args, **kwargs: P.kwargs) -> R:
        with at_work():
            return function(*args, **kwargs)

    return at_its_work


def collect_garbage(
    session: Session,
    store: ArtefactStore,
    *,
    older_than: timedelta,
    remembered_for: timedelta,
    dry_run: bool = False,
) -> Garbage:
    """Delete what nothing in the catalog and no useful result refers to.

    Flows that are at work lose nothing; one that would begin waits. Commit after it.

    Parameters
    ----------
    session : Session
    store : ArtefactStore
        The catalog's; another catalog's artefacts would all be garbage.
    older_than : timedelta
        Files that were put later are not looked at.
    remembered_for : timedelta
        How long results are remembered whose artefacts the catalog does not have.
    dry_run : bool
        Whether to count only.

    Raises
    ------
    ConflictError
        There is garbage, and nothing that the catalog refers to: it may be another's store.
    StorageError
        The store cannot be read or written.
    """
    now = datetime.now(UTC)
    limit = now - older_than
    alone = repository.keep_work_off(session)
    if not alone:
        since = repository.work_since(session)
        limit = min(limit, since - RENEWED_AFTER) if since else datetime.min.replace(tzinfo=UTC)
    files = list(store.files())
    artefacts = [file for file in files if file.kind == "artefact"]
    referred = repository.referred(session)
    needed = set(referred)
    garbage = [file for file in files if file.kind == "aside" and file.modified < limit]
    for file in files:
        if file.kind == "result":
            named = {each.decode() for each in _SHA256.findall(store.read_result(file))}
            old = file.modified < min(limit, now - remembered_for)
            if not alone or not old or (named and named <= referred):
                needed |= named
            else:
                garbage.append(file)
    garbage += [file for file in artefacts if file.modified < limit and file.sha256 not in needed]
    if garbage and not any(file.sha256 in referred for file in artefacts):
        raise ConflictError(
            f"the catalog refers to nothing that is in the store {store.url}",
            hint="check SDC_STORE and SDC_DATABASE_URL; a store that is all garbage is deleted "
            "as a folder",
        )
    if not dry_run:
        garbage = [file for file in garbage if store.remove(file)]
    return _count(garbage, len(artefacts), dry_run=dry_run)


def _count(garbage: list[StoredFile], artefacts: int, *, dry_run: bool) -> Garbage:
    kinds = [file.kind for file in garbage]
    return Garbage(
        dry_run=dry_run,
        artefacts=kinds.count("artefact"),
        results=kinds.count("result"),
        unfinished=kinds.count("aside"),
        bytes=sum(file.size for file in garbage),
        kept=artefacts - kinds.count("artefact"),
    )
