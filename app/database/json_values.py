"""PostgreSQL's values as JSON has them."""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types import TypeInfo
from psycopg.types.string import TextLoader
from pydantic import JsonValue

# As PostgreSQL writes them: Python has no infinite date, and no month as a length of time.
AS_TEXT = (
    *("date", "time", "timetz", "timestamp", "timestamptz", "interval"),
    *("uuid", "inet", "cidr", "bytea"),
)
VECTORS = ("vector", "halfvec")


class VectorLoader(Loader):
    """Loads pgvector's dense vectors as lists, with the digits that PostgreSQL tells."""

    def load(self, data: Buffer) -> list[float]:
        """One vector."""
        numbers: list[float] = json.loads(bytes(data))
        return numbers


def load_json_values(connection: psycopg.Connection) -> None:
    """Make a connection read dates, identifiers and vectors as what JSON can hold."""
    for name in AS_TEXT:
        connection.adapters.register_loader(name, TextLoader)
    for name in VECTORS:
        if (info := TypeInfo.fetch(connection, name)) is not None:
            info.register(connection)
            connection.adapters.register_loader(info.oid, VectorLoader)


def as_json(value: Any) -> JsonValue:
    """A value that a connection read, as JSON has it.

    Numbers that JSON lacks are told in words, as PostgreSQL tells them: NaN, Infinity.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float() | Decimal():
            return _number(float(value))
        case Mapping():
            return {str(key): as_json(each) for key, each in value.items()}
        case list() | tuple():
            return [as_json(each) for each in value]
    return str(value)


def _number(value: float) -> JsonValue:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
