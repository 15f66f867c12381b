"""Files that are named before they are there, and are fetched when they are first opened.

Two kinds of links stand for such files: those of git-annex, and those of a mirror
(`flows.sources.mirrors`). Both lead nowhere until their content has been fetched, and both bear in
the name that they lead to what the content is.
"""

import os
import subprocess
from pathlib import Path

from app.errors import InputError, UnavailableError
from app.settings import get_settings
from app.texts import one_form
from flows.sources.confinement import confined, is_confined
from flows.sources.mirrors import fetch, is_mirrored

_ANNEX = ".git/annex/objects/"
_ANNEX_WAIT_S = 24 * 3600


def require_file(path: Path) -> None:
    """See that a file may be read, and fetch it where it is named and not there.

    Whoever opens a file of a source asks here first.

    Raises
    ------
    InputError
        There is no such file, it lies out of where reading is confined to
        (`flows.sources.confinement`), or it may not be fetched.
    UnavailableError
        Where it lies cannot be reached.
    """
    confined(path)
    if path.is_file():
        return
    target = _target(path)
    if target is not None and is_mirrored(target):
        fetch(target)
    elif target is not None and _ANNEX in target.as_posix():
        _get_from_annex(path)
    else:
        raise missing_file(path)


def is_named(path: Path) -> bool:
    """Whether there is such a file, or a link that stands for it."""
    if path.is_file():
        return True
    target = _target(path)
    return target is not None and (is_mirrored(target) or _ANNEX in target.as_posix())


def content_name(path: Path) -> str | None:
    """The name that says what a link's content is; None where a file is no such link."""
    target = _target(path)
    if target is not None and (is_mirrored(target) or _ANNEX in target.as_posix()):
        return target.name
    return None


def as_spelt(path: Path) -> Path:
    """A path as its folders spell it, whose names may have another form of Unicode (NFC, NFD).

    macOS writes names decomposed, and who types them writes them composed. A path that is there
    is as it is, and so is one that is not there in any form, or in several.
    """
    if str(path).isascii() or os.path.lexists(path) or path == path.parent:
        return path
    parent = as_spelt(path.parent)
    try:
        alike = [name for name in os.listdir(parent) if one_form(name) == one_form(path.name)]
    except OSError:
        alike = []
    return parent / (alike[0] if len(alike) == 1 else path.name)


def missing_file(path: Path) -> InputError:
    """The error for a file that is not there."""
    return InputError(f"{path}: no such file", hint="fetch it or correct the path")


def _target(path: Path) -> Path | None:
    """What a link leads to; None where it is none."""
    try:
        return Path(os.path.normpath(path.parent / path.readlink()))
    except OSError:
        return None


def _get_from_annex(path: Path) -> None:
    # What git does in a repository is said by the repository's own configuration.
    if is_confined() and not get_settings().ingest_annex:
        raise InputError(
            f"{path} is of git-annex and not here, and requests may not have it fetched",
            hint="run `git annex get` there, or set SDC_INGEST_ANNEX if repositories are trusted",
        )
    command = ["git", "-C", str(path.parent), "annex", "get", "--quiet", "--", path.name]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_ANNEX_WAIT_S, check=False
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is of git-annex and not here", hint="install git and git-annex"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"git-annex does not get {path}", hint="try again") from error
    if done.returncode != 0 or not path.is_file():
        told = (done.stderr or done.stdout).strip().splitlines()
        raise UnavailableError(
            f"git-annex cannot get {path}: {told[-1].strip() if told else 'it does not say why'}",
            hint="see `git annex whereis` there",
        )
