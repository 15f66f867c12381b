"""Rows in bulk: PostgreSQL's binary COPY."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection, Select, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.database.models import SCHEMA, Base

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_ELEMENTS = {"vector": ">f4", "halfvec": ">f2"}
# PostgreSQL's numbers of the types of an array's elements, and numpy's names of these.
_ARRAYS = {"real[]": (700, ">f4"), "bigint[]": (20, ">i8")}
# Before the first row and after the last one.
_HEADER, _TRAILER = 19, 2


def copy_rows(session: Session, model: type[Base], columns: dict[str, Any]) -> int:
    """Write columns of values into a model's table by binary COPY, in the session's transaction.

    Parameters
    ----------
    session : Session
        Its transaction takes the rows; the caller commits.
    model : type
        The table's model.
    columns : dict
        Column name to a sequence of n values, or to one value for all rows. Columns of vectors and
        of arrays of numbers take an array of shape (n, D). At least one column is a sequence.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    ValueError
        Columns differ in length.
    """
    table = cast(Table, model.__table__)
    kinds = [table.c[name].type.compile(_DIALECT).lower() for name in columns]
    values = [_prepare(kind, value) for kind, value in zip(kinds, columns.values(), strict=True)]
    lengths = {len(value) for value in values if not isinstance(value, _Constant)}
    if len(lengths) != 1:
        raise ValueError(f"columns of {table.name} differ in length: {sorted(lengths)}")
    n = lengths.pop()
    rows = zip(
        *(value.repeat(n) if isinstance(value, _Constant) else value for value in values),
        strict=True,
    )
    statement = sql.SQL("COPY {}.{} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(SCHEMA),
        sql.Identifier(table.name),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
    )
    session.flush()
    _copy(session.connection(), statement, kinds, rows)
    return n


def read_rows(
    session: Session, query: Select[*tuple[Any, ...]], columns: dict[str, str]
) -> NDArray[Any]:
    """Rows of a query by binary COPY.

    Parameters
    ----------
    session : Session
    query : Select
        Of columns that are of fixed size and never null.
    columns : dict
        Name of each of its columns to a numpy type of the size that the database's has.

    Returns
    -------
    ndarray
        (n,) structured, with a field a column.

    Raises
    ------
    ValueError
        A type is not of its column's size, or a value is null.
    """
    row: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in columns.items():
        row += [(f"size of {name}", ">i4"), (name, np.dtype(kind).newbyteorder(">").str)]
    compiled = query.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True})
    session.flush()
    driver = session.connection().connection.driver_connection
    assert driver is not None  # noqa: S101 - a checked-out connection has its driver's
    statement = f"COPY ({compiled}) TO STDOUT (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        data = b"".join(copy)[_HEADER:-_TRAILER]
    kinds = np.dtype(row)
    if len(data) % kinds.itemsize:
        raise ValueError(f"rows are not of {list(columns.values())}, or a value is null")
    rows = np.frombuffer(data, kinds)
    for name in columns:
        if (rows[f"size of {name}"] != kinds[name].itemsize).any():
            raise ValueError(f"{name} is not of the size of {columns[name]}, or null")
    return rows


class _Constant:
    def __init__(self, value: object) -> None:
        self.value = value

    def repeat(self, n: int) -> Iterable[object]:
        return (self.value for _ in range(n))


class _Vectors:
    """Vectors as pgvector reads them: dimension, an unused int16, the elements, big-endian.

    They are made when their row is sent, so that the server works on the rows before meanwhile.
    """

    BLOCK = 256

    def __init__(self, element: str, vectors: NDArray[Any]) -> None:
        self.element, self.vectors = element, vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[bytes]:
        head = struct.pack(">HH", self.vectors.shape[1], 0)
        for start in range(0, len(self), self.BLOCK):
            for vector in self.vectors[start : start + self.BLOCK].astype(self.element):
                yield head + vector.tobytes()


class _NumberArrays:
    """Arrays of numbers as PostgreSQL reads them, made when their row is sent.

    Number of dimensions, whether there are nulls, type of the elements, length, first subscript;
    then every element behind its size; big-endian.
    """

    def __init__(self, oid: int, element: str, values: NDArray[Any]) -> None:
        self.oid, self.element, self.values = oid, np.dtype(element), values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[bytes]:
        size = self.values.shape[1]
        # An array without elements has no dimension.
        shape = struct.pack(">iiIii", 1, 0, self.oid, size, 1)
        head = shape if size else struct.pack(">iiI", 0, 0, self.oid)
        row = np.empty(size, dtype=[("size", ">i4"), ("value", self.element)])
        row["size"] = self.element.itemsize
        for values in self.values:
            row["value"] = values
            yield head + row.tobytes()


def _prepare(kind: str, value: Any) -> "Sequence[object] | _Vectors | _NumberArrays | _Constant":
    if value is None or np.isscalar(value):
        return _Constant(value)
    if kind in _ELEMENTS:
        return _Vectors(_ELEMENTS[kind], np.asarray(value))
    if kind in _ARRAYS:
        return _NumberArrays(*_ARRAYS[kind], np.asarray(value))
    # Binary COPY knows Python's numbers, and not numpy's.
    return value.tolist() if isinstance(value, np.ndarray) else list(value)


def _copy(
    connection: Connection,
    statement: sql.Composed,
    types: list[str],
    rows: Iterable[Sequence[object]],
) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - a checked-out connection has its driver's
    # The server keeps a statement's rows for the triggers that check them: on disk, were they more.
    driver.execute("SET LOCAL work_mem = '64MB'")
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        # Binary COPY sends no types, so vectors and arrays go as the bytes that they are.
        copy.set_types(["bytea" if kind in _ELEMENTS | _ARRAYS else kind for kind in types])
        for row in rows:
            copy.write_row(row)
