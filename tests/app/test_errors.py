"""Messages of errors: one line, whatever they repeat."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from app.errors import CatalogError, InputError


@given(st.text(), st.text())
def test_a_message_is_one_line_without_control_characters(message: str, hint: str) -> None:
    error = InputError(message, hint=hint)
    for told in (error.message, error.hint, str(error)):
        assert len(told.splitlines()) <= 1
        assert "\x1b" not in told
    clean = "".join(char for char in message if char.isprintable())
    assert "".join(char for char in InputError(clean).message) == clean


def test_what_is_repeated_can_be_recognised() -> None:
    error = CatalogError("a\nb\x1b[2J\u2028ü: no folder")
    assert error.message == r"a b\x1b[2J\u2028ü: no folder"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - made in this line
