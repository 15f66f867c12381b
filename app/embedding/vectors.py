"""The encoder of precomputed vectors: a table of names and what another program made of them."""

import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.embedding.checksum import arrays_checksum
from app.embedding.encoder import Image, Vectors, check_texts, encode_captions, unit_rows
from app.embedding.prompts import bare_name
from app.embedding.text_reading import SLOT, TextReading
from app.errors import ConflictError, InputError, NotFoundError
from app.tables import read_cells
from app.texts import one_form

NAMES_TOLD = 5
# As of `app.terms.suggestions`: one letter wrong, missing or swapped in a word of four or more.
SPELT_ALIKE = 0.8
_WORD = re.compile(r"\w+")
# They are in many names, and tell none of them.
_LITTLE_WORDS = frozenset(
    [
        *("a", "an", "and", "are", "at", "by", "for", "from", "in", "is", "it", "its"),
        *("of", "on", "or", "s", "the", "their", "to", "with"),
    ]
)


class VectorTable:
    """Vectors looked up by name; docs/tables.md has the format. Implements `app.embedding.Encoder`.

    Its `name` is ``vectors:STEM@CHECKSUM`` (eight digits): the same on every machine that holds
    the same table, wherever the file lies, and another one as soon as a value changes.

    Parameters
    ----------
    path : str or Path
        ``.npz`` with `name` (n,) str, `vector` (n, D) and optionally `source` (n,) str; or
        ``.csv`` with a header, a column `name`, optionally `source`, and the D values in the
        remaining columns in their order.

    Attributes
    ----------
    names : list of str
        All n rows' names; where one occurs twice, a look-up finds the first.
    sources : list of str
        Where each row comes from; empty strings where the table does not say.
    vectors : array (n, D), float32
        Unit rows.

    Raises
    ------
    InputError
        The file is missing, is no such table, or holds a zero or non-finite vector.
    """

    sees_images = False

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.names, raw, self.sources = _read(path)
        try:
            self.vectors = unit_rows(raw)
        except InputError as error:
            raise InputError(f"{path}: {error.message}", hint=error.hint) from None
        self.dimension = self.vectors.shape[1]
        self.checksum = arrays_checksum(
            {
                "name": np.array(self.names),
                "source": np.array(self.sources),
                "vector": raw,
            }
        )
        self.name = f"vectors:{path.stem}@{self.checksum[:8]}"
        self.spec = f"vectors:{path}"
        # From last to first, so that the first of several rows of a name is the one that stays.
        rows = list(enumerate(self.names))[::-1]
        self._exact = {one_form(name): row for row, name in rows}
        self._folded = {one_form(name).casefold(): row for row, name in rows}
        self._bare = {bare_name(one_form(name)): row for row, name in rows}

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Look texts up: float32 (n, D), unit rows.

        A text is found as written, else without regard to case, else by what is left without a
        leading "a photo of" (or another template of `prompts.ENSEMBLE`) and article.

        Raises
        ------
        InputError
            A text is empty.
        NotFoundError
            A text is not in the table.
        """
        check_texts(texts)
        return self.vectors[[self._row(text) for text in texts]]

    def read_text(self, text: str, template: str = SLOT) -> TextReading:
        """Tell that a text in a template is one name, which counts whole.

        Raises
        ------
        NotFoundError
            It is not in the table.
        """
        self._row(template.replace(SLOT, text))
        return TextReading(tokens=1, tokens_read=1)

    def encode_images(self, images: Iterable[Image]) -> Vectors:
        """Refuse: a table has no image side.

        Raises
        ------
        ConflictError
            Always.
        """
        raise ConflictError(
            f"{self.name} is a table of names, it cannot encode images",
            hint="use an open_clip encoder",
        )

    def encode_stimuli(
        self, captions: Sequence[Sequence[str]], images: Iterable[Image] | None
    ) -> Vectors:
        """Encode stimuli by their captions: the normalised mean of each one's caption vectors.

        `images` is not read.

        Raises
        ------
        InputError
            A stimulus has no caption.
        NotFoundError
            A caption is not in the table.
        """
        return encode_captions(self.encode_texts, captions)

    def _row(self, text: str) -> int:
        text = one_form(text)
        for table, key in (
            (self._exact, text),
            (self._folded, text.casefold()),
            (self._bare, bare_name(text)),
        ):
            if key in table:
                return table[key]
        near = self._near(bare_name(text))
        raise NotFoundError(
            f"{self.name} has no vector for {text!r}",
            hint=f"the closest names are {', '.join(near)}"
            if near
            else "only names in the table can be asked",
        )

    def _near(self, text: str) -> list[str]:
        """Names that share most words with a text, else words that are spelt alike; few at most.

        Names are not compared letter by letter: "face" is in "Human face", and not like "faucet".
        """
        words_of = self._words
        asked = set(_words(text))
        known = set().union(*words_of.values())
        for word in asked - known:
            asked |= set(get_close_matches(word, sorted(known), NAMES_TOLD, SPELT_ALIKE))
        shared = {name: len(words & asked) for name, words in words_of.items() if words & asked}
        best = sorted(shared, key=lambda name: (-shared[name], len(words_of[name])))
        return [self.names[self._bare[name]] for name in best[:NAMES_TOLD]]

    @cached_property
    def _words(self) -> dict[str, set[str]]:
        """Words of each bare name, in the table's order."""
        return {name: set(_words(name)) for name in reversed(self._bare)}


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if word not in _LITTLE_WORDS]


def _read(path: Path) -> tuple[list[str], NDArray[np.float32], list[str]]:
    readers = {".npz": _read_npz, ".csv": _read_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} is no table of vectors", hint="give an .npz or a .csv file")
    if not path.is_file():
        raise InputError(f"{path} does not exist", hint="give the path of an .npz or a .csv file")
    return reader(path)


def _read_npz(path: Path) -> tuple[list[str], NDArray[np.float32], list[str]]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            arrays: dict[str, NDArray[Any]] = {
                key: archive[key] for key in ("name", "vector", "source") if key in archive
            }
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read as .npz: {error}",
            hint="save name and vector with numpy.savez, name as a str array",
        ) from None
    for key in ("name", "vector"):
        if key not in arrays:
            raise InputError(f"{path} has no array {key!r}", hint="save name and vector")
    name, vector = arrays["name"], arrays["vector"]
    source = arrays.get("source", np.full(name.shape, ""))
    fits = (
        name.dtype.kind == source.dtype.kind == "U"
        and vector.dtype.kind == "f"
        and vector.ndim == 2
        and name.shape == source.shape == vector.shape[:1]
        and vector.size > 0
    )
    if not fits:
        raise InputError(
            f"{path} holds name {name.dtype} {name.shape}, source {source.dtype} {source.shape},"
            f" vector {vector.dtype} {vector.shape}",
            hint="name and source are str (n,), vector is float (n, D), n and D at least 1",
        )
    return name.tolist(), vector.astype(np.float32), source.tolist()


def _read_csv(path: Path) -> tuple[list[str], NDArray[np.float32], list[str]]:
    names: list[str] = []
    sources: list[str] = []
    values: list[list[float]] = []
    lines = read_cells(path)
    _, header = next(lines, (1, []))
    columns = [i for i, each in enumerate(header) if each not in ("name", "source")]
    if "name" not in header or not columns:
        raise InputError(
            f"{path} needs a header with a column 'name' and columns of values",
            hint="for example name,0,1,2",
        )
    at, whence = header.index("name"), header.index("source") if "source" in header else None
    for number, cells in lines:
        names.append(cells[at])
        sources.append("" if whence is None else cells[whence])
        try:
            values.append([float(cells[i]) for i in columns])
        except ValueError:
            wrong = next(i for i in columns if not _is_number(cells[i]))
            raise InputError(
                f"{path}, line {number}, column {header[wrong]}: {cells[wrong]!r} is no number",
                hint="one row a name, one number a cell",
            ) from None
    if not names:
        raise InputError(f"{path} holds no row", hint="one row a name")
    return names, np.array(values, np.float32), sources


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
