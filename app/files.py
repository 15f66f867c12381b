"""Files that users ask for."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import ConflictError, InputError, StorageError

PNG = ".png"


def require_png(file: Path) -> None:
    """Refuse a file that a picture cannot be written to, before any work is done.

    Raises
    ------
    InputError
        The name does not end in ``.png``, or there is no such folder.
    """
    if file.suffix.lower() != PNG:
        raise InputError(f"{file} is no name of a PNG file", hint=f"give a name that ends in {PNG}")
    if not file.absolute().parent.is_dir():
        raise InputError(
            f"{file} cannot be written: there is no folder {file.parent}",
            hint="make the folder, or give another file",
        )


def write_file(file: Path, content: bytes) -> None:
    """Write a file aside and rename it, so that nobody meets half of it; one there is replaced.

    Raises
    ------
    InputError, StorageError
        As `file_aside`.
    """
    with file_aside(file) as aside:
        aside.write_bytes(content)


@contextmanager
def file_aside(file: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """An empty file that takes the place of `file` at the block's end, whole and on the disk.

    Nobody meets half of it; one there is replaced. Where the block fails nothing has changed.

    Parameters
    ----------
    file : Path
    mode : int
        Who may read and write it.

    Raises
    ------
    InputError
        The path is no file, or its folder does not exist or cannot be written.
    StorageError
        The disk is full.
    """
    aside = None
    try:
        target = Path(os.path.realpath(file))
        # Renaming onto a device or a pipe would replace it.
        if target.exists() and not target.is_file():
            raise InputError(f"{file} is no file", hint="give the name of a file")
        handle, name = tempfile.mkstemp(prefix=".writing-", dir=target.parent)
        os.close(handle)
        aside = Path(name)
        yield aside
        _flush(aside)
        aside.chmod(mode)
        aside.replace(target)
        _flush(target.parent)
    except OSError as error:
        hint = "give a file in a folder that exists and can be written"
        raise _unwritten(file, error, hint) from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` at the block's end, whole and on the disk.

    Folders around it that are not there are made. Where the block fails nothing has changed.

    Parameters
    ----------
    folder : Path
        One that is not there, or is empty.

    Raises
    ------
    ConflictError
        It is there and not empty.
    InputError
        It is a file, or a folder around it is one or cannot be written.
    StorageError
        The disk is full.
    """
    aside = None
    made: list[Path] = []
    try:
        target = Path(os.path.realpath(folder))
        if target.is_dir() and any(target.iterdir()):
            raise ConflictError(f"{folder} is not empty", hint="give a folder that is not there")
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is no folder")
        for around in reversed([each for each in target.parents if not each.exists()]):
            around.mkdir(exist_ok=True)
            made.append(around)
        aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
        yield aside
        for each in (*sorted(aside.rglob("*")), aside):
            _flush(each)
        aside.chmod(0o755)
        aside.replace(target)
        for each in (*reversed(made), target.parent):
            _flush(each)
        made.clear()
    except OSError as error:
        hint = "give a new folder inside of one that can be written"
        raise _unwritten(folder, error, hint) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
        for around in reversed(made):
            # Somebody else may have put something there meanwhile.
            with suppress(OSError):
                around.rmdir()


def _unwritten(path: Path, error: OSError, hint: str) -> InputError | StorageError:
    """Why a file or folder cannot be written."""
    if error.errno == errno.ENOSPC:
        return StorageError(f"{path} cannot be written: the disk is full", hint="free some disk")
    return InputError(f"{path} cannot be written: {error.strerror or error}", hint=hint)


def _flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
