"""Trees behind URLs (``s3://``, ``https://`` …), as folders of links that are fetched when opened.

A mirror lies in the home folder: ``tree/`` has a link for every remote file, which leads to
``objects/NAME``; the name is a checksum of the file's place, size and version, so that a file that
has changed is another object, and one that has not is not fetched again.
"""

import errno
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from app.errors import CatalogError, InputError, UnavailableError
from app.files import file_aside
from app.private import FILE_MODE, private_folder
from app.settings import get_settings
from app.urls import require_no_login

FOLDER = "mirrors"
_OBJECTS, _TREE, _INDEX = "objects", "tree", "index.json"


@dataclass(frozen=True)
class RemoteFile:
    """A file behind a URL: its place in the file system, its size in bytes, and its version."""

    place: str
    size: int
    version: str

    @property
    def name(self) -> str:
        """What its object is called."""
        text = json.dumps([self.place, self.size, self.version])
        return hashlib.sha256(text.encode()).hexdigest()


def mirror(url: str) -> Path:
    """The tree behind a URL as a folder; its files are fetched by `fetch`.

    Parameters
    ----------
    url : str
        As fsspec takes it; how it is reached is said by fsspec's own environment variables, such
        as ``FSSPEC_S3_ENDPOINT_URL``, and by those of the service. One of a ``.toml`` file stands
        for the folder that holds it.

    Returns
    -------
    Path
        The folder, or the file in it; of ``file://`` the path itself.

    Raises
    ------
    InputError
        The kind of URL is unknown, there is nothing behind it, or names in it lead out of it.
    UnavailableError
        What it names cannot be reached or read.
    """
    require_no_login(url)
    folder_url, _, leaf = url.rstrip("/").rpartition("/")
    if not leaf.endswith(".toml"):
        folder_url, leaf = url.rstrip("/"), ""
    filesystem, root = _open(folder_url)
    if isinstance(filesystem, LocalFileSystem):
        return Path(root) / leaf
    home = get_settings().home / FOLDER / hashlib.sha256(folder_url.encode()).hexdigest()[:16]
    private_folder(home)
    with _alone(home):
        files = _list(filesystem, root, folder_url)
        index = {
            "url": folder_url,
            "files": {name: vars(file) for name, file in sorted(files.items())},
        }
        written = home / _INDEX
        if not written.exists() or json.loads(written.read_text()) != index:
            _grow_tree(home, files)
            with file_aside(written, mode=FILE_MODE) as aside:
                aside.write_text(json.dumps(index))
    return home / _TREE / leaf


def is_mirrored(target: Path) -> bool:
    """Whether a path is the place of an object of a mirror of ours."""
    home = target.parent.parent
    return target.parent.name == _OBJECTS and home.parent.resolve() == _folder()


def is_in_mirror(path: Path) -> bool:
    """Whether a path lies in a mirror's tree."""
    return _folder() in path.resolve().parents


def _folder() -> Path:
    return (get_settings().home / FOLDER).resolve()


def fetch(target: Path) -> None:
    """Fetch a mirror's object.

    Raises
    ------
    InputError
        The file is gone or has changed since it was listed.
    UnavailableError
        It cannot be read.
    """
    home = target.parent.parent
    index = json.loads((home / _INDEX).read_text())
    by_name = {file.name: file for file in (RemoteFile(**one) for one in index["files"].values())}
    if (file := by_name.get(target.name)) is None:
        raise InputError(f"{target} is of a list that is old", hint="ingest it again")
    filesystem, _ = _open(index["url"])
    told = f"{index['url']}: {PurePosixPath(file.place).name}"
    with file_aside(target, mode=FILE_MODE) as aside, _faults(told):
        if _described(file.place, filesystem.info(file.place)) != file:
            raise InputError(f"{told} has changed since it was listed", hint="ingest it again")
        filesystem.get_file(file.place, str(aside))
        if aside.stat().st_size != file.size:
            raise UnavailableError(
                f"{told} was cut short: {aside.stat().st_size} of {file.size} bytes came",
                hint="try again",
            )


def _open(url: str) -> tuple[Any, str]:
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise InputError(
            f"{url}: {error}", hint="give a path, or a URL such as s3://BUCKET/FOLDER"
        ) from error
    # What was listed before may be remembered.
    filesystem.invalidate_cache()
    return filesystem, str(root)


def _list(filesystem: Any, root: str, url: str) -> dict[str, RemoteFile]:
    """All files below a place, by their names relative to it."""
    with _faults(url):
        found = filesystem.find(root, detail=True)
        if not found:
            # Which passes over what it cannot list.
            filesystem.ls(root)
    files = {}
    for place, described in found.items():
        name = place.removeprefix(root).strip("/")
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or "\\" in name or name != "/".join(parts):
            raise InputError(
                f"{url}: the name {name!r} leads out of the folder", hint="rename or remove it"
            )
        if described.get("size") is None:
            with _faults(url):
                described = filesystem.info(place)
        files[name] = _described(place, described)
    if not files:
        raise InputError(
            f"{url}: nothing is there",
            hint="correct the URL; over https the server has to list its folders",
        )
    return files


def _described(place: str, told: dict[str, Any]) -> RemoteFile:
    version = told.get("ETag") or told.get("mtime") or told.get("LastModified") or ""
    return RemoteFile(place, int(told.get("size") or 0), str(version))


def _grow_tree(home: Path, files: dict[str, RemoteFile]) -> None:
    """Put a new tree of links in the place of the old one."""
    private_folder(home / _OBJECTS)
    fresh, old = home / "tree.new", home / "tree.old"
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir()
    for name, file in files.items():
        link = fresh / name
        link.parent.mkdir(parents=True, exist_ok=True)
        up = "/".join([".."] * len(PurePosixPath(name).parts))
        link.symlink_to(f"{up}/{_OBJECTS}/{file.name}")
    if (home / _TREE).exists():
        (home / _TREE).rename(old)
    fresh.rename(home / _TREE)
    shutil.rmtree(old, ignore_errors=True)
    needed = {file.name for file in files.values()}
    for kept in (home / _OBJECTS).iterdir():
        if kept.name not in needed:
            kept.unlink()


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep other processes from changing a mirror meanwhile."""
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _faults(told: str) -> Iterator[None]:
    try:
        yield
    except CatalogError:
        raise
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise InputError(
            f"{told} is not there, or may not be read ({_reason(error)})",
            hint="correct the URL, or the credentials in the environment",
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        # Of the many libraries behind fsspec each has errors of its own.
        raise UnavailableError(
            f"{told} cannot be read ({_reason(error)})", hint="try again when it can be reached"
        ) from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
