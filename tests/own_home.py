"""The tests' own home: whatever runs them, the user's catalog and settings are left alone.

Imported before anything else, since libraries read the environment when they are loaded.
"""

import atexit
import os
import pwd
import shutil
import sys
import tempfile
from pathlib import Path

# What a test may be told by whoever runs it.
KEPT = {"SDC_TEST_DATA"}
FOREIGN = ("SDC_", "PREFECT_", "PG", "OTEL_")
ROOT = Path(__file__).parents[1]
# The user's real one, whatever the environment says.
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
# Python's own, and what is tested.
_OURS = tuple(f"{path}{os.sep}" for path in (ROOT, sys.prefix, sys.base_prefix))
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.symlink", "os.link", "os.chmod", "os.rmdir"}

written: list[str] = []


def move_in() -> Path:
    """Let this process and all that it starts have a home of their own, which ends with it."""
    own = Path(tempfile.mkdtemp(prefix="sdc-tests-home-"))
    process = os.getpid()

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(own, ignore_errors=True)

    atexit.register(remove)
    for name in list(os.environ):
        if name.startswith(FOREIGN) and name not in KEPT:
            del os.environ[name]
    (own / "run").mkdir(mode=0o700)
    os.environ |= {
        "HOME": str(own),
        "SDC_HOME": str(own / "sdc"),
        "XDG_RUNTIME_DIR": str(own / "run"),
        **{f"XDG_{kind}_HOME": str(own / kind.lower()) for kind in ("DATA", "CONFIG", "STATE")},
        "XDG_CACHE_HOME": str(own / "cache"),
    }
    return own


OWN = move_in()


def watch_writing() -> None:
    """Remember what this process writes in the user's home."""
    home = f"{HOME}{os.sep}"

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & _WRITES:
                return
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike):
            return
        place = os.path.abspath(path)
        if place.startswith(home) and not place.startswith(_OURS):
            written.append(f"{event} {place}")

    sys.addaudithook(look)


def seen() -> dict[str, tuple[int, int]]:
    """What lies where the product keeps its own, and when it was changed last."""
    places = (
        *(HOME / name for name in (".prefect", ".sdc", ".local/share/sdc", ".cache/sdc")),
        *(HOME / name for name in (".config/sdc", ".local/state/sdc", "nilearn_data")),
        *(folder / ".sdc" for folder in (ROOT, *ROOT.parents)),
    )
    found = {}
    for place in places:
        for path in (place, *(place.iterdir() if place.is_dir() else ())):
            try:
                told = path.lstat()
            except FileNotFoundError:
                continue
            found[str(path)] = (told.st_ino, told.st_mtime_ns)
    return found


def changed(before: dict[str, tuple[int, int]]) -> list[str]:
    """What was written outside since then."""
    after = seen()
    return [path for path in before | after if before.get(path) != after.get(path)] + written
