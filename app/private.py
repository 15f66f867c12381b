"""Files and folders that are nobody else's."""

import contextlib
import os
import stat
import tempfile
from functools import lru_cache
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private_folder(folder: Path) -> Path:
    """Make a folder that its owner alone may enter, where there is none; one there stays as it is.

    Parameters
    ----------
    folder : Path
        Folders above it are made as the user's mask says, and those that are there are left alone.

    Raises
    ------
    OSError
        It is a file, or cannot be made.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return folder


def open_to_others(path: Path) -> str | None:
    """What others than its owner may do with a file or folder; None where that is nothing."""
    mode = path.stat().st_mode
    if not mode & _OTHERS:
        return None
    may = [
        word
        for word, bits in (
            ("read", stat.S_IRGRP | stat.S_IROTH),
            ("write", stat.S_IWGRP | stat.S_IWOTH),
            ("enter" if stat.S_ISDIR(mode) else "run", stat.S_IXGRP | stat.S_IXOTH),
        )
        if mode & bits
    ]
    return f"{' and '.join(may)} (mode {stat.S_IMODE(mode):04o})"


@lru_cache(maxsize=1)
def runtime_folder() -> Path:
    """This user's own folder for what lives as long as processes do; its path is short.

    ``sdc`` in the user's run-time folder, else ``sdc-UID`` in the temporary one, where whoever came
    first may have made one of that name: then it is one of a name that nobody can guess.

    Raises
    ------
    OSError
        None can be made.
    """
    user = os.getuid()
    for base in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{user}"):
        # As an absolute path: others' are none, says the standard.
        if base and Path(base).is_absolute() and len(base) < 60 and _is_ours(Path(base)):
            with contextlib.suppress(OSError):
                folder = private_folder(Path(base) / "sdc")
                if _is_ours(folder):
                    return folder
    temporary = Path(tempfile.gettempdir())
    if len(str(temporary)) > 60 or not temporary.is_dir():
        temporary = Path("/tmp")  # noqa: S108 - what is made there is ours alone
    folder = temporary / f"sdc-{user}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        if _is_ours(folder):
            return folder
    return Path(tempfile.mkdtemp(prefix=f"sdc-{user}-", dir=temporary))


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder, no link to one, of this user's and of nobody else."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & _OTHERS
    )
