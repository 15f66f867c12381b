"""The file of a backup: a tar archive whose parts and their checksums its first member names."""

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from app.backups.schemas import Manifest, Part
from app.errors import InputError, StorageError
from app.store import Artefact, ArtefactStore

FORMAT = 1
DUMP = "catalog.dump"
MANIFEST = "manifest.json"
# The manifest tells every checksum but its own.
CHECKSUM = f"{MANIFEST}.sha256"
STORE = "store/"

_BLOCK = 1 << 20
_MOST_MANIFEST = 1 << 28

Progress = Callable[[str, int, int], object]


def part_of(artefact: Artefact) -> Part:
    """An artefact's place in a backup."""
    return Part(name=STORE + artefact.path, size=artefact.size, sha256=artefact.sha256)


def dump_part(dump: Path) -> Part:
    """The dump's place in a backup."""
    with dump.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(name=DUMP, size=dump.stat().st_size, sha256=checksum)


def write_archive(
    file: Path, manifest: Manifest, dump: Path, store: ArtefactStore, on_progress: Progress
) -> None:
    """Write a backup's parts into a file, in the manifest's order.

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
        for done, part in enumerate(manifest.parts):
            on_progress("copying", done, len(manifest.parts))
            if part.name == DUMP:
                with dump.open("rb") as source:
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
            if part.name != DUMP
        ]

    def read(self, artefact: Artefact) -> IO[bytes]:
        """An artefact's file, from its start."""
        return self._open(part_of(artefact).name)

    def write_dump(self, target: Path) -> None:
        """Write the dump into a file.

        Raises
        ------
        InputError
            It is no longer what it was when the backup was checked.
        """
        with self._open(DUMP) as source, target.open("wb") as written:
            shutil.copyfileobj(source, written, _BLOCK)
        if dump_part(target) not in self.manifest.parts:
            raise _altered(self.file, DUMP)

    def _open(self, name: str) -> IO[bytes]:
        source = self._archive.extractfile(self._members[name])
        assert source is not None  # noqa: S101 - none but regular files pass the check
        return source


@contextmanager
def open_archive(file: Path, on_progress: Progress) -> Iterator[Archive]:
    """A backup, after every part of it was held against its checksum.

    Nothing is extracted by a name that the file tells: a part's name is a constant, or follows
    from its checksum.

    Raises
    ------
    InputError
        It cannot be read, is no backup, is of a later format, or is cut or altered.
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
            manifest = _check(file, archive, on_progress)
        except (OSError, tarfile.TarError) as error:
            raise InputError(
                f"{file} is cut or altered: {error}", hint="take another backup"
            ) from error
        yield Archive(file, archive, manifest)


def _check(file: Path, archive: tarfile.TarFile, on_progress: Progress) -> Manifest:
    manifest = _read_manifest(file, archive)
    names = [part.name for part in manifest.parts]
    if names.count(DUMP) != 1 or len(set(names)) != len(names):
        raise _altered(file, MANIFEST)
    for done, part in enumerate(manifest.parts):
        on_progress("checking", done, len(names))
        if part.name != DUMP and part != part_of(Artefact(sha256=part.sha256, size=part.size)):
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


def _read_manifest(file: Path, archive: tarfile.TarFile) -> Manifest:
    told, line = (_small(file, archive, name) for name in (MANIFEST, CHECKSUM))
    if line != f"{hashlib.sha256(told).hexdigest()}  {MANIFEST}\n".encode():
        raise _altered(file, MANIFEST)
    try:
        manifest = Manifest.model_validate_json(told)
    except ValidationError as error:
        raise InputError(
            f"the manifest of {file} cannot be used: {error.errors()[0]['msg']}",
            hint="give a file that `sdc backup` wrote, or upgrade this installation",
        ) from error
    if manifest.format > FORMAT:
        raise InputError(
            f"{file} is a backup of format {manifest.format}, this code knows {FORMAT}",
            hint="it was made by a newer version: upgrade this installation",
        )
    return manifest


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
