"""The file of a backup: a tar archive whose parts and their checksums its first member names."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from pydantic import BaseModel, ValidationError

from app.backups.schemas import Manifest, Part, TableRows
from app.backups.signature import FILE as KEY_FILE
from app.backups.signature import is_signed, sign
from app.errors import InputError, StorageError
from app.store import Artefact, ArtefactStore

FORMAT = 2
MANIFEST = "manifest.json"
# The manifest tells every checksum but its own, and who made it is told by what signs it.
CHECKSUM = f"{MANIFEST}.sha256"
SIGNATURE = f"{MANIFEST}.hmac"
STORE = "store/"
TABLES = "tables/"

_BLOCK = 1 << 20
_MOST_MANIFEST = 1 << 28

Progress = Callable[[str, int, int], object]


def part_of(artefact: Artefact) -> Part:
    """An artefact's place in a backup."""
    return Part(name=STORE + artefact.path, size=artefact.size, sha256=artefact.sha256)


def table_name(table: TableRows) -> str:
    """The name of a table's rows in a backup."""
    return f"{TABLES}{table.name}.copy.gz"


def table_part(table: TableRows, rows: Path) -> Part:
    """A table's place in a backup."""
    with rows.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(name=table_name(table), size=rows.stat().st_size, sha256=checksum)


def write_archive(
    file: Path,
    manifest: Manifest,
    rows: Mapping[str, Path],
    key: bytes,
    store: ArtefactStore,
    on_progress: Progress,
) -> None:
    """Write a backup's parts into a file, in the manifest's order.

    Parameters
    ----------
    file : Path
    manifest : Manifest
    rows : mapping
        Name of a part to the file of a table's rows.
    key : bytes
        What the manifest is signed with.
    store : ArtefactStore
        Where the other parts are.
    on_progress : callable

    Raises
    ------
    StorageError
        An artefact is missing or damaged.
    """
    told = manifest.model_dump_json(indent=2).encode()
    checksum = hashlib.sha256(told).hexdigest()
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, MANIFEST, len(told), io.BytesIO(told))
        line = f"{checksum}  {MANIFEST}\n".encode()
        _add(archive, CHECKSUM, len(line), io.BytesIO(line))
        signature = sign(key, told).encode()
        _add(archive, SIGNATURE, len(signature), io.BytesIO(signature))
        for done, part in enumerate(manifest.parts):
            on_progress("copying", done, len(manifest.parts))
            if part.name in rows:
                with rows[part.name].open("rb") as source:
                    _add(archive, part.name, part.size, source)
                continue
            with store.stream(Artefact(sha256=part.sha256, size=part.size)) as (source, size):
                reader = _Reader(source)
                if size == part.size:
                    _add(archive, part.name, size, reader)
            if reader.digest.hexdigest() != part.sha256:
                raise StorageError(
                    f"artefact {part.sha256[:12]} in {store.url} is damaged: its bytes are not "
                    "those that were stored",
                    hint="restore the store from a backup, or run the stage again",
                )
        on_progress("copying", len(manifest.parts), len(manifest.parts))


class Archive:
    """A backup that was read once from end to end and found whole."""

    def __init__(self, file: Path, archive: tarfile.TarFile, manifest: Manifest) -> None:
        self.file, self.manifest = file, manifest
        self._archive = archive
        self._members = {member.name: member for member in archive.getmembers()}

    @property
    def artefacts(self) -> list[Artefact]:
        """What belongs into the store."""
        return [
            Artefact(sha256=part.sha256, size=part.size)
            for part in self.manifest.parts
            if part.name.startswith(STORE)
        ]

    def read(self, artefact: Artefact) -> IO[bytes]:
        """An artefact's file, from its start."""
        return self._open(part_of(artefact).name)

    @contextmanager
    def open_rows(self, table: TableRows) -> Iterator[IO[bytes]]:
        """A table's rows, from their start.

        Raises
        ------
        InputError
            They cannot be unpacked, or are no longer what they were when the backup was checked.
        """
        name = table_name(table)
        if name not in self._members:
            raise _altered(self.file, name)
        reader = _Reader(self._open(name))
        try:
            with gzip.GzipFile(fileobj=cast(IO[bytes], reader)) as rows:
                yield cast(IO[bytes], rows)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _altered(self.file, name) from error
        while reader.read(_BLOCK):
            pass
        if not any(
            part.name == name and part.sha256 == reader.digest.hexdigest()
            for part in self.manifest.parts
        ):
            raise _altered(self.file, name)

    def _open(self, name: str) -> IO[bytes]:
        source = self._archive.extractfile(self._members[name])
        assert source is not None  # noqa: S101 - none but regular files pass the check
        return source


@contextmanager
def open_archive(
    file: Path, on_progress: Progress, key: bytes | None, *, trust: bool = False
) -> Iterator[Archive]:
    """A backup, after every part of it was held against its checksum.

    Nothing is extracted by a name that the file tells: a part's name is that of a table of the
    catalog, or follows from its checksum.

    Parameters
    ----------
    file : Path
    on_progress : callable
    key : bytes, optional
        What it must be signed with.
    trust : bool
        Take it whoever made it.

    Raises
    ------
    InputError
        It cannot be read, is no backup, is of another format, is cut or altered, or
        is not signed with the key.
    """
    try:
        opened = tarfile.open(file, "r:")  # noqa: SIM115 - closed below
    except (OSError, tarfile.TarError) as error:
        reason = getattr(error, "strerror", None)
        raise InputError(
            f"{file} cannot be read: {reason}" if reason else f"{file} is no backup",
            hint="give a file that `sdc backup` wrote",
        ) from error
    with opened as archive:
        try:
            manifest = _check(file, archive, on_progress, None if trust else _Signer(key))
        except (OSError, tarfile.TarError) as error:
            raise InputError(
                f"{file} is cut or altered: {error}", hint="take another backup"
            ) from error
        yield Archive(file, archive, manifest)


@dataclass(frozen=True)
class _Signer:
    """Who must have signed; nobody can have where there is no key."""

    key: bytes | None


def _check(
    file: Path, archive: tarfile.TarFile, on_progress: Progress, signer: _Signer | None
) -> Manifest:
    manifest = _read_manifest(file, archive, signer)
    names = [part.name for part in manifest.parts]
    tables = [table_name(table) for table in manifest.tables]
    if names[: len(tables)] != tables or len(set(names)) != len(names):
        raise _altered(file, MANIFEST)
    for done, part in enumerate(manifest.parts):
        on_progress("checking", done, len(names))
        if done >= len(tables) and part != part_of(Artefact(sha256=part.sha256, size=part.size)):
            raise _altered(file, MANIFEST)
        member = _next(file, archive, part.name)
        source = archive.extractfile(member)
        assert source is not None  # noqa: S101 - `_next` gives regular files alone
        reader = _Reader(source)
        while reader.read(_BLOCK):
            pass
        if (member.size, reader.digest.hexdigest()) != (part.size, part.sha256):
            raise _altered(file, part.name)
    last = archive.getmembers()[-1]
    if archive.next() is not None or file.stat().st_size != _length(last):
        raise _altered(file, "what follows the last part")
    on_progress("checking", len(names), len(names))
    return manifest


def _read_manifest(file: Path, archive: tarfile.TarFile, signer: _Signer | None) -> Manifest:
    told, line = (_small(file, archive, name) for name in (MANIFEST, CHECKSUM))
    if line != f"{hashlib.sha256(told).hexdigest()}  {MANIFEST}\n".encode():
        raise _altered(file, MANIFEST)
    _require_known_format(file, told)
    signature = _small(file, archive, SIGNATURE)
    if signer and not (signer.key and is_signed(signer.key, told, signature)):
        raise InputError(
            f"{file} is not signed with this catalog's key",
            hint=f"give SDC_BACKUP_KEY, or SDC_HOME the file {KEY_FILE} of the home that made it; "
            "where you know who made it, `sdc restore --trust` takes it as it is",
        )
    try:
        manifest = Manifest.model_validate_json(told)
    except ValidationError as error:
        raise InputError(
            f"the manifest of {file} cannot be used: {error.errors()[0]['msg']}",
            hint="give a file that `sdc backup` wrote, or upgrade this installation",
        ) from error
    return manifest


def _require_known_format(file: Path, told: bytes) -> None:
    try:
        found = _Format.model_validate_json(told).format
    except ValidationError as error:
        raise InputError(
            f"the manifest of {file} cannot be used: {error.errors()[0]['msg']}",
            hint="give a file that `sdc backup` wrote",
        ) from error
    if found != FORMAT:
        raise InputError(
            f"{file} is a backup of format {found}, this code knows {FORMAT}",
            hint="it was made by a newer version: upgrade this installation"
            if found > FORMAT
            else "restore it with the version that made it, upgrade that, and back up again",
        )


class _Format(BaseModel):
    format: int


def _small(file: Path, archive: tarfile.TarFile, name: str) -> bytes:
    member = _next(file, archive, name)
    source = archive.extractfile(member)
    if source is None or member.size > _MOST_MANIFEST:
        raise _altered(file, name)
    return source.read()


def _next(file: Path, archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    member = archive.next()
    if member is None or member.name != name or member.type != tarfile.REGTYPE:
        raise _altered(file, name)
    return member


def _altered(file: Path, part: str) -> InputError:
    return InputError(
        f"{file} is no backup, or is cut or altered: {part} is not what was written",
        hint="take another backup",
    )


def _length(last: tarfile.TarInfo) -> int:
    """Bytes of an archive, by its last member: two empty blocks, in whole records."""
    blocks = -(-last.size // tarfile.BLOCKSIZE)
    end = last.offset_data + (blocks + 2) * tarfile.BLOCKSIZE
    return -(-end // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _add(archive: tarfile.TarFile, name: str, size: int, source: "IO[bytes] | _Reader") -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    archive.addfile(member, source)


class _Reader:
    """Reads a file, and takes its checksum on the way."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        self.digest.update(block)
        return block
