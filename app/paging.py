"""Lists told page by page: what was told last says where the next page begins."""

import base64
import binascii
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

from app.errors import InputError, NotFoundError
from app.settings import get_settings

Item = TypeVar("Item")
PAGE = 50


class Page(BaseModel, Generic[Item]):
    """A part of a list."""

    items: list[Item]
    total: int = Field(description="Items on all pages together.")
    next: str | None = Field(description="Cursor of the next page; null on the last one.")


def check_limit(limit: int) -> None:
    """Refuse pages that are too long.

    Raises
    ------
    InputError
        `limit` is above the setting ``page_limit``.
    """
    most = get_settings().page_limit
    if not 1 <= limit <= most:
        raise InputError(
            f"limit is {limit}",
            hint=f"ask for 1 to {most:,} items a page, the setting SDC_PAGE_LIMIT",
        )


def write_cursor(last: int) -> str:
    """A cursor behind the item with this id."""
    return base64.urlsafe_b64encode(f"after:{last}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> int:
    """The id behind which a page begins, 0 without a cursor.

    Raises
    ------
    NotFoundError
        It is no cursor of ours.
    """
    if cursor is None:
        return 0
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        word, last = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split(":")
        if word == "after" and last.isascii() and last.isdigit() and int(last) < 2**63:
            return int(last)
    except (ValueError, binascii.Error):
        pass
    raise NotFoundError(
        "the cursor is none of this catalog's", hint="take `next` of a page as it is"
    )


def page_of(items: list[Item], ids: list[int], total: int, limit: int) -> Page[Item]:
    """A page of what a query for ``limit + 1`` rows found.

    Parameters
    ----------
    items : list
        One more than `limit` where there is a next page.
    ids : list of int
        Of each item.
    total : int
    limit : int
    """
    more = len(items) > limit
    return Page(
        items=items[:limit], total=total, next=write_cursor(ids[limit - 1]) if more else None
    )
