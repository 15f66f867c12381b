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
    open_archive,
    part_of,
    table_part,
    write_archive,
)
from app.backups.schemas import Manifest
from app.backups.signature import known_key, signing_key
from app.backups.tables import read_tables, sequence_states, write_tables
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

    The rows are those of one snapshot; artefacts never change, and are copied after it. The file
    is signed with the catalog's key, which is made where there is none and is not in the file.

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
        The database is unreachable or at another migration.
    """
    engine = get_engine()
    require_current(engine)
    store = ArtefactStore(settings.store_url)
    key = signing_key(settings)
    # None but the owner may read keys' hashes, and datasets under embargo.
    with (
        file_aside(file, mode=0o600) as aside,
        tempfile.TemporaryDirectory(prefix=".writing-", dir=aside.parent) as folder,
    ):
        with (
            engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
            Session(connection) as session,
        ):
            written = write_tables(
                connection, Path(folder), lambda *done: on_progress("reading the tables", *done)
            )
            parts = {table_part(table, path): path for table, path in written}
            artefacts = _artefacts(session, store)
            manifest = Manifest(
                format=FORMAT,
                made_at=datetime.now(UTC),
                version=version(DISTRIBUTION),
                revision=head_revision(),
                postgres=server_version(connection)[1],
                pgvector=pgvector_version(connection) or "",
                runs=[ChosenRun(*row).provenance for row in repository.list_runs(session)],
                tables=[table for table, _ in written],
                sequences=sequence_states(connection),
                parts=[*parts, *map(part_of, artefacts)],
            )
        rows = {part.name: path for part, path in parts.items()}
        write_archive(aside, manifest, rows, key, store, on_progress)
    return manifest


def restore(
    file: Path, settings: Settings, on_progress: Progress, *, trust: bool = False
) -> Manifest:
    """Fill an empty catalog from a backup.

    The schema, its role and what that may read are made by the migrations, as in every catalog;
    rows come from the backup, in the order in which they lay, and nothing but rows: no statement
    of it is run. Indexes of runs do not: `app.voxels.indexing.index_runs` makes them.

    Parameters
    ----------
    file : Path
        What `backup` wrote.
    settings : Settings
    on_progress : callable
        As in `backup`.
    trust : bool
        Take a backup that is not signed with this catalog's key.

    Raises
    ------
    InputError
        The file is no backup, is cut or altered, not signed, or of another version; nothing is
        changed.
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
    with open_archive(file, on_progress, known_key(settings), trust=trust) as archive:
        manifest = archive.manifest
        if not knows(manifest.revision):
            raise InputError(
                f"{file} is at migration {manifest.revision}, this code at {head_revision()}",
                hint="it was made by a newer version: upgrade this installation",
            )
        store = ArtefactStore(settings.store_url)
        artefacts = archive.artefacts
        for done, artefact in enumerate(artefacts):
            on_progress("filling the store", done, len(artefacts))
            if not store.exists(artefact):
                with archive.read(artefact) as source:
                    store.put_file(source, artefact)
        on_progress("filling the store", len(artefacts), len(artefacts))
        bring_to(engine, manifest.revision)
        with engine.begin() as connection, repository.unguarded(connection, store.url):
            read_tables(
                connection,
                manifest.tables,
                manifest.sequences,
                archive.open_rows,
                lambda *done: on_progress("filling the database", *done),
            )
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
