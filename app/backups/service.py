"""The whole catalog in one file, and back."""

import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.backups import repository
from app.backups.archive import (
    FORMAT,
    Progress,
    dump_part,
    open_archive,
    part_of,
    write_archive,
)
from app.backups.programs import dump, find_programs, load
from app.backups.schemas import Manifest
from app.database import references
from app.database.engine import get_engine
from app.database.migrate import (
    bring_to,
    current_revision,
    head_revision,
    knows,
    require_current,
    require_server,
    upgrade,
)
from app.doctor.repository import pgvector_version, server_version
from app.errors import ConflictError, InputError
from app.files import file_aside
from app.runs.service import ChosenRun
from app.settings import Settings
from app.store import Artefact, ArtefactStore

DISTRIBUTION = "sdc-catalog"


def backup(file: Path, settings: Settings, on_progress: Progress) -> Manifest:
    """Write the catalog and the artefacts that it refers to into one file.

    The rows are those of one snapshot; artefacts never change, and are copied after it.

    Parameters
    ----------
    file : Path
        A file there is replaced, when the new one is whole.
    settings : Settings
    on_progress : callable
        Called with (stage, steps done, steps in all).

    Raises
    ------
    InputError
        The file cannot be written.
    StorageError
        The disk is full, or an artefact is missing or damaged.
    UnavailableError
        The database is unreachable or at another migration, or there is no pg_dump for it.
    """
    engine = get_engine()
    require_current(engine)
    store = ArtefactStore(settings.store_url)
    # None but the owner may read keys' hashes, and datasets under embargo.
    with (
        file_aside(file, mode=0o600) as aside,
        tempfile.TemporaryDirectory(prefix=".writing-", dir=aside.parent) as folder,
    ):
        dumped = Path(folder) / "catalog.dump"
        with (
            engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
            Session(connection) as session,
        ):
            snapshot = repository.export_snapshot(session)
            major, server = server_version(connection)
            programs = find_programs(major)
            on_progress("dumping the database", 0, 1)
            dump(programs, _url(engine), snapshot, dumped)
            on_progress("dumping the database", 1, 1)
            artefacts = _artefacts(session, store)
            manifest = Manifest(
                format=FORMAT,
                made_at=datetime.now(UTC),
                version=version(DISTRIBUTION),
                revision=head_revision(),
                postgres=server,
                pgvector=pgvector_version(connection) or "",
                pg_dump=programs.major,
                runs=[ChosenRun(*row).provenance for row in repository.list_runs(session)],
                parts=[dump_part(dumped), *map(part_of, artefacts)],
            )
        write_archive(aside, manifest, dumped, store, on_progress)
    return manifest


def restore(file: Path, settings: Settings, on_progress: Progress) -> Manifest:
    """Fill an empty catalog from a backup.

    The schema, its role and what that may read are made by the migrations, as in every catalog;
    rows come from the backup, in the order in which they lay. Indexes of runs do not:
    `app.voxels.indexing.index_runs` makes them.

    Parameters
    ----------
    file : Path
        What `backup` wrote.
    settings : Settings
    on_progress : callable
        As in `backup`.

    Raises
    ------
    InputError
        The file is no backup, is cut or altered, or of a newer version; nothing is changed.
    ConflictError
        The catalog is not empty; nothing is changed.
    StorageError
        The disk is full, or the store cannot be written.
    UnavailableError
        The database is unreachable, cannot hold the catalog, or refuses the rows.
    """
    engine = get_engine()
    require_server(engine)
    _require_empty(engine)
    with open_archive(file, on_progress) as archive:
        manifest = archive.manifest
        if not knows(manifest.revision):
            raise InputError(
                f"{file} is at migration {manifest.revision}, this code at {head_revision()}",
                hint="it was made by a newer version: upgrade this installation",
            )
        programs = find_programs(manifest.pg_dump)
        store = ArtefactStore(settings.store_url)
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".restoring-", dir=settings.home) as folder:
            dumped = Path(folder) / "catalog.dump"
            archive.write_dump(dumped)
            artefacts = archive.artefacts
            for done, artefact in enumerate(artefacts):
                on_progress("filling the store", done, len(artefacts))
                if not store.exists(artefact):
                    with archive.read(artefact) as source:
                        store.put_file(source, artefact)
            on_progress("filling the store", len(artefacts), len(artefacts))
            on_progress("filling the database", 0, 1)
            bring_to(engine, manifest.revision)
            with engine.begin() as connection:
                before, after = repository.loading_statements(connection, store.url)
            load(programs, _url(engine), dumped, before, after)
            on_progress("filling the database", 1, 1)
    upgrade(engine)
    engine.dispose()
    return manifest


def _require_empty(engine: Engine) -> None:
    found = current_revision(engine)
    if found is not None and not knows(found):
        require_current(engine)
    with engine.connect() as connection:
        filled = repository.first_filled(connection)
    if filled is not None:
        raise ConflictError(
            f"the catalog is not empty: {filled} has rows",
            hint="restore into a new SDC_HOME, or an empty database",
        )


def _artefacts(session: Session, store: ArtefactStore) -> list[Artefact]:
    """What has to be there, and what runs were computed from where the store still has it."""
    needed = references.decoder_artefacts(session)
    needed |= {each.sha256 for each in references.ingested_artefacts(session)}
    further = {
        address
        for address in references.parent_artefacts(session)
        if store.exists(Artefact(sha256=address, size=0))
    }
    found = []
    for address in sorted(needed | further):
        with store.stream(Artefact(sha256=address, size=0)) as (_, size):
            found.append(Artefact(sha256=address, size=size))
    return found


def _url(engine: Engine) -> str:
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
