"""Texts that come from elsewhere: how they are read, what cannot be stored, and one form of names.

PostgreSQL holds no NUL, and UTF-8 no half of a surrogate pair, which JSON can write and which
stands for bytes of file names that are no UTF-8. Letters with marks have two forms in Unicode (NFC
and NFD), which look alike: names are compared in the first.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from app.errors import InputError

# No other characters end a line, as some do for `str.splitlines`: they are found in captions.
LINE_END = re.compile(r"\r\n|\r|\n")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def read_text(path: Path) -> str:
    """A UTF-8 file of text, without its byte order mark.

    Raises
    ------
    InputError
        It cannot be read, or holds other bytes, whose line is told.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror or error}", hint="give a file of text"
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = len(LINE_END.findall(before.decode("utf-8", "replace"))) + 1
        raise InputError(
            f"{path}, line {line}: cannot be read as text: byte 0x{content[error.start]:02x} is no "
            "UTF-8",
            hint="save it as UTF-8",
        ) from error


def find_unstorable(text: str) -> tuple[int, str] | None:
    """The first character that the database cannot hold: its place from 0, and what it is."""
    found = _UNSTORABLE.search(text)
    if found is None:
        return None
    code = ord(found[0])
    return found.start(), f"half a surrogate pair (U+{code:04X})" if code else "a NUL (U+0000)"


def require_storable(text: str, where: str, *, hint: str = "take it out, or mend it") -> None:
    """Raise `InputError` where a text cannot be stored.

    Parameters
    ----------
    where : str
        What the text is, for the message.
    """
    if (found := find_unstorable(text)) is not None:
        place, what = found
        raise InputError(
            f"{where}, character {place + 1}: {what}, which cannot be stored", hint=hint
        )


def texts_in(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """All texts of lists and tables, keys among them, and their places: ``participants[0].label``.

    Parameters
    ----------
    value
        As JSON or TOML are read.
    """
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, each in value.items():
            inner = f"{place}.{key}" if place else str(key)
            yield f"the key {inner!a}", str(key)
            yield from texts_in(each, inner)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from texts_in(each, f"{place}[{number}]")


def one_form(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which names are stored and compared."""
    return unicodedata.normalize("NFC", name)


def known_names(known: Iterable[str], asked: str) -> str:
    """A hint that lists names, one of which may look like the one that was asked for."""
    names = list(known)
    listed = f"known: {', '.join(names)}"
    if asked not in names and one_form(asked) in map(one_form, names):
        listed += f"; {asked!r} is in another form of Unicode (NFC, NFD) than there: copy it"
    return listed
