"""Files that users ask for."""

import errno
import os
import tempfile
from pathlib import Path

from app.errors import InputError, StorageError

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
        aside = Path(name)
        with os.fdopen(handle, "wb") as written:
            written.write(content)
            written.flush()
            os.fsync(written.fileno())
        aside.chmod(0o644)
        aside.replace(target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StorageError(
                f"{file} cannot be written: the disk is full", hint="free some disk"
            ) from error
        raise InputError(
            f"{file} cannot be written: {error.strerror or error}",
            hint="give a file in a folder that exists and can be written",
        ) from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)
