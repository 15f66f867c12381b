"""Cosine similarity, computed by the database."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Float


def cosine_similarity(
    column: Any, other: "NDArray[np.float32] | ColumnElement[Any]"
) -> ColumnElement[float]:
    """Cosine of a vector column with a vector or with another such column, between -1 and 1."""
    similarity: ColumnElement[float] = 1 - column.op("<=>", return_type=Float())(other)
    return similarity


def vector_difference(column: Any, other: Any) -> ColumnElement[Any]:
    """One vector column minus another, itself a vector."""
    difference: ColumnElement[Any] = column.op("-", return_type=column.type)(other)
    return difference
