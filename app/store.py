"""The artefact store: arrays that do not belong in a database, addressed by their content."""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from app.errors import StorageError
from app.private import FILE_MODE, private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, BinaryIO

_BLOCK = 1 << 22

# Folder beside the artefacts where flows remember results, which refer to artefacts.
RESULTS = "results"
# How old a file may look although it has just been put again.
RENEWED_AFTER = timedelta(hours=1)

_ASIDE = ".writing-"
_ADDRESS = re.compile(r"[0-9a-f]{2}/([0-9a-f]{64})\.safetensors")


class Artefact(BaseModel):
    """A reference to one stored file of named arrays, small enough to pass between tasks.

    Attributes
    ----------
    sha256 : str
        Checksum of the file, and its address.
    size : int
        Bytes.
    """

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int

    @property
    def path(self) -> str:
        """Where the file lies, relative to the store's root."""
        return f"{self.sha256[:2]}/{self.sha256}.safetensors"


def artefacts_in(tree: Any) -> "Iterator[Artefact]":
    """The references to artefacts anywhere in a JSON value."""
    if isinstance(tree, dict):
        if tree.keys() == {"sha256", "size"}:
            yield Artefact.model_validate(tree)
            return
        tree = list(tree.values())
    if isinstance(tree, list):
        for each in tree:
            yield from artefacts_in(each)


@dataclass(frozen=True)
class StoredFile:
    """A file that lies in a store.

    Attributes
    ----------
    address : str
        Where, as the store's file system names it.
    kind : {"artefact", "result", "aside"}
        What it is; an aside is an artefact that is being written, or was when its writer ended.
    size : int
        Bytes.
    modified : datetime
        When it was put, to `RENEWED_AFTER`.
    sha256 : str, optional
        Of an artefact.
    """

    address: str
    kind: Literal["artefact", "result", "aside"]
    size: int
    modified: datetime
    sha256: str | None = None


class ArtefactStore:
    """Content-addressed safetensors files below an fsspec URL.

    A file is written aside, flushed to disk and renamed, so that a killed process leaves no half
    artefact under an address; what is read back is checked against its address.

    Parameters
    ----------
    url : str
        Folder or fsspec URL (``file://``, ``s3://`` …).
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._local = isinstance(self._fs, LocalFileSystem)
        self._cache: Path | None = None

    def put(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Artefact:
        """Store named arrays.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            Any shapes; numeric dtypes.

        Returns
        -------
        Artefact
            The reference; storing the same arrays again gives the same one.

        Raises
        ------
        StorageError
            The disk is full or cannot be written.
        """
        with self._storage_errors("write to"), self._aside() as aside:
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, aside)
            artefact = Artefact(sha256=_sha256(aside), size=aside.stat().st_size)
            self._move_in(aside, artefact)
        return artefact

    def get(self, artefact: Artefact) -> dict[str, np.ndarray[Any, Any]]:
        """All arrays of an artefact, in memory.

        Raises
        ------
        StorageError
            The file is missing or its bytes are not those that were stored.
        """
        with self.open(artefact) as arrays:
            return {name: arrays.get_tensor(name) for name in arrays.keys()}  # noqa: SIM118

    @contextmanager
    def open(self, artefact: Artefact) -> "Iterator[Any]":
        """An artefact's file, memory-mapped: ``get_tensor(name)``, ``get_slice(name)[a:b]``.

        Raises
        ------
        StorageError
            The file is missing or its bytes are not those that were stored.
        """
        path = self._verified(artefact)
        with self._storage_errors("read"):
            file = safe_open(path, framework="numpy")
        with file as arrays:
            yield arrays

    @contextmanager
    def stream(self, artefact: Artefact) -> "Iterator[tuple[BinaryIO, int]]":
        """An artefact's file as it lies there, unchecked, from its start; and its size in bytes.

        Raises
        ------
        StorageError
            The file is missing or cannot be read.
        """
        address = self._address(artefact)
        with self._storage_errors("read"), self._fs.open(address, "rb") as file:
            yield file, int(self._fs.size(address))

    def put_file(self, source: "IO[bytes]", artefact: Artefact) -> None:
        """Store a file whose address is known, such as one that `stream` gave.

        Raises
        ------
        StorageError
            Its bytes are not those of the address, the disk is full or cannot be written.
        """
        with self._storage_errors("write to"), self._aside() as aside:
            with aside.open("wb") as written:
                shutil.copyfileobj(source, written, _BLOCK)
            if _sha256(aside) != artefact.sha256:
                raise StorageError(
                    f"artefact {artefact.sha256[:12]} is damaged: its bytes are not those of its "
                    "address",
                    hint="take it from where it is whole",
                )
            self._move_in(aside, artefact)

    def exists(self, artefact: Artefact) -> bool:
        """Whether the artefact's file is there, unread."""
        return bool(self._fs.exists(self._address(artefact)))

    def size(self) -> int:
        """Bytes of all that lies in the store.

        Raises
        ------
        StorageError
            The store cannot be listed.
        """
        with self._storage_errors("list"):
            return int(self._fs.du(self._root)) if self._fs.exists(self._root) else 0

    def files(self) -> "Iterator[StoredFile]":
        """Artefacts, remembered results and what lies aside; files of others are passed over.

        Raises
        ------
        StorageError
            The store cannot be read.
        """
        with self._storage_errors("read"):
            for address in sorted(self._fs.find(self._root)):
                name = address.removeprefix(self._root).lstrip("/")
                address_of = _ADDRESS.fullmatch(name)
                if address_of is None and not name.startswith((_ASIDE, f"{RESULTS}/")):
                    continue
                try:
                    size, modified = int(self._fs.size(address)), self._fs.modified(address)
                except FileNotFoundError:
                    continue
                if address_of is not None:
                    yield StoredFile(address, "artefact", size, modified, address_of[1])
                else:
                    kind: Literal["result", "aside"] = (
                        "aside" if name.startswith(_ASIDE) else "result"
                    )
                    yield StoredFile(address, kind, size, modified)

    def read_result(self, file: StoredFile) -> bytes:
        """The bytes of a remembered result; none where it has gone meanwhile."""
        with self._storage_errors("read"):
            try:
                return bytes(self._fs.cat_file(file.address))
            except FileNotFoundError:
                return b""

    def remove(self, file: StoredFile) -> bool:
        """Delete a file that nobody has put again since it was listed; tell whether it was.

        Raises
        ------
        StorageError
            The store cannot be written.
        """
        with self._storage_errors("delete from"):
            try:
                if self._fs.modified(file.address) != file.modified:
                    return False
                self._fs.rm_file(file.address)
            except FileNotFoundError:
                return False
        return True

    def check(self) -> None:
        """Write, read back and delete a small file.

        Raises
        ------
        StorageError
            The store cannot be used.
        """
        with self.probe() as probe:
            self.get(probe)

    @contextmanager
    def probe(self) -> "Iterator[Artefact]":
        """A small artefact like no other, which is there while the block runs.

        Raises
        ------
        StorageError
            The store cannot be written.
        """
        probe = self.put({"probe": np.frombuffer(os.urandom(32), dtype=np.uint8)})
        try:
            yield probe
        finally:
            with self._storage_errors("delete from"):
                self._fs.rm(self._address(probe))

    def _address(self, artefact: Artefact) -> str:
        return f"{self._root}/{artefact.path}"

    @contextmanager
    def _aside(self) -> "Iterator[Path]":
        if self._local:
            private_folder(Path(self._root))
        handle, name = tempfile.mkstemp(prefix=_ASIDE, dir=self._root if self._local else None)
        os.close(handle)
        aside = Path(name)
        try:
            yield aside
        finally:
            aside.unlink(missing_ok=True)

    def _move_in(self, aside: Path, artefact: Artefact) -> None:
        address = self._address(artefact)
        if self._renewed(address):
            return
        if not self._local:
            self._fs.put_file(str(aside), address)
            return
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        target = Path(address)
        private_folder(target.parent)
        aside.chmod(FILE_MODE)
        aside.replace(target)

    def _renewed(self, address: str) -> bool:
        """Whether a file is there and is known to have been put lately, so that none removes it."""
        try:
            if datetime.now(UTC) - self._fs.modified(address) < RENEWED_AFTER:
                return True
            if not self._local:
                return False
            now = time.time()
            os.utime(address, (now, now))
        except FileNotFoundError:
            return False
        return True

    def _verified(self, artefact: Artefact) -> Path:
        with self._storage_errors("read"):
            if self._local:
                path = Path(self._address(artefact))
            else:
                self._cache = self._cache or Path(tempfile.mkdtemp(prefix="sdc-store-"))
                path = self._cache / artefact.sha256
                if not path.exists():
                    self._fs.get_file(self._address(artefact), str(path))
            stat = path.stat()
            if _remembered_sha256(str(path), stat.st_size, stat.st_mtime_ns) != artefact.sha256:
                raise StorageError(
                    f"artefact {artefact.sha256[:12]} in {self.url} is damaged: its bytes are not "
                    "those that were stored",
                    hint="restore the store from a backup, or run the stage again",
                )
        return path

    @contextmanager
    def _storage_errors(self, verb: str) -> "Iterator[None]":
        try:
            yield
        except FileNotFoundError as error:
            raise StorageError(
                f"cannot {verb} the artefact store {self.url}: a file is missing ({error})",
                hint="check SDC_STORE, or restore the store from a backup",
            ) from error
        except (OSError, SafetensorError) as error:
            full = getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error)
            raise StorageError(
                f"cannot {verb} the artefact store {self.url}: "
                + ("the disk is full" if full else str(error)),
                hint="free some disk and start again: finished work is kept" if full else "",
            ) from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


# Size and time of change stand in the key so that a file changed meanwhile is read again, and one
# that many tasks open is read once.
@lru_cache(maxsize=4096)
def _remembered_sha256(path: str, size: int, mtime_ns: int) -> str:
    return _sha256(Path(path))
