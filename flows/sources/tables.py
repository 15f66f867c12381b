"""Tables of sources: those of `app.tables`, fetched where they are not there yet."""

from collections.abc import Collection
from pathlib import Path

from app import tables
from app.tables import Row
from flows.sources.fetching import require_file

__all__ = ["Row", "read_lines", "read_table"]


def read_table(path: Path, *, columns: Collection[str], delimiter: str | None = None) -> list[Row]:
    """Rows of a table, see `app.tables.read_table`.

    Raises
    ------
    InputError
        The file is missing, or the table is faulty.
    """
    require_file(path)
    return tables.read_table(path, columns=columns, delimiter=delimiter)


def read_lines(path: Path) -> list[str]:
    """The lines of a text, see `app.tables.read_lines`.

    Raises
    ------
    InputError
        The file is missing, or holds other bytes than UTF-8.
    """
    require_file(path)
    return tables.read_lines(path)
