"""Tests of pages and cursors."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InputError
from app.paging import check_limit, page_of, read_cursor, write_cursor
from app.settings import get_settings


@given(st.integers(0, 2**63 - 1))
def test_cursors_are_read_as_they_were_written(last: int) -> None:
    assert read_cursor(write_cursor(last)) == last


@given(st.text())
def test_anything_else_is_refused_or_a_place(text: str) -> None:
    with suppress(InputError):
        assert 0 <= read_cursor(text) < 2**63


def test_no_cursor_is_the_beginning() -> None:
    assert read_cursor(None) == 0


@pytest.mark.parametrize(("found", "following"), [(3, True), (2, False), (0, False)])
def test_a_page_knows_whether_another_follows(found: int, following: bool) -> None:
    items = list(range(1, found + 1))
    page = page_of(items, items, 9, 2)
    assert page.items == items[:2]
    assert page.total == 9
    assert page.next == (write_cursor(2) if following else None)


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_pages_are_bounded(limit: int) -> None:
    assert get_settings().page_limit == 500
    with pytest.raises(InputError, match=f"limit is {limit}"):
        check_limit(limit)
