"""What has arrived in a watched folder.

A data set counts as arrived when its manifest, or a file ``_SUCCESS``, is there and nothing of it
has changed for a while.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any

import fsspec

MARKERS = frozenset({"dataset.toml", "_SUCCESS"})

Seen = dict[str, dict[str, Any]]


def states_in(folder: str) -> dict[str, str]:
    """The state of every data set directly in a folder (a path or an fsspec URL) that is marked.

    Returns
    -------
    dict of str to str
        Checksums of all names, sizes and times of change, by path; no data is read.

    Raises
    ------
    OSError
        The folder cannot be listed.
    """
    filesystem, root = fsspec.core.url_to_fs(folder)
    # What was listed before may be remembered.
    filesystem.invalidate_cache()
    prefix = root.rstrip("/") + "/"
    files: dict[str, list[str]] = {}
    marked = set()
    for path, told in sorted(filesystem.find(root, detail=True).items()):
        name, slash, rest = path.removeprefix(prefix).partition("/")
        if not slash:
            continue
        changed = told.get("mtime") or told.get("LastModified") or told.get("ETag") or ""
        files.setdefault(name, []).append(f"{rest}\0{told.get('size')}\0{changed}")
        if rest in MARKERS:
            marked.add(name)
    base = folder.rstrip("/")
    return {
        f"{base}/{name}": hashlib.sha256("\n".join(files[name]).encode()).hexdigest()
        for name in sorted(marked)
    }


def arrived(
    seen: Seen, states: dict[str, str], now: datetime, settle: timedelta
) -> tuple[Seen, dict[str, str]]:
    """What is to be remembered of a look, and what has arrived since those before.

    Parameters
    ----------
    seen : dict
        What was remembered of the look before: ``state``, ``since`` and ``asked`` of each path.
    states : dict of str to str
        What is there now, see `states_in`.
    now : datetime
    settle : timedelta
        How long a state must have lasted.

    Returns
    -------
    seen : dict
    arrived : dict of str to str
        States by path that are to be asked for; they are remembered as asked.
    """
    remembered: Seen = {}
    ready = {}
    for path, state in states.items():
        before = seen.get(path, {})
        since = before.get("since") if before.get("state") == state else None
        one = {
            "state": state,
            "since": since or now.isoformat(),
            "asked": before.get("asked"),
        }
        lasted = now - datetime.fromisoformat(str(one["since"]))
        if lasted >= settle and one["asked"] != state:
            one["asked"] = ready[path] = state
        remembered[path] = one
    return remembered, ready
