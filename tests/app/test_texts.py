"""Texts from elsewhere: their encodings, what cannot be stored, one form of names."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InputError
from app.texts import find_unstorable, known_names, one_form, read_text, require_storable, texts_in

E_NFC, E_NFD = "caf\u00e9", "cafe\u0301"


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"\xef\xbb\xbfa\xc3\xa9\r\n")
    assert read_text(path) == "a\u00e9\r\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a\nb\u00fc".encode("latin-1"), "line 2: cannot be read as text: byte 0xfc"),
        ("a".encode("utf-16"), "line 1: cannot be read as text: byte 0xff"),
        # Half a surrogate pair, as some programs write it.
        (b"a\r\n\xed\xa0\xbd", "line 2: cannot be read as text: byte 0xed"),
    ],
)
def test_other_encodings(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "t"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_text(path)
    assert caught.value.message.startswith(f"{path}, {told}")
    assert caught.value.hint == "save it as UTF-8"


@given(st.text(st.characters(exclude_categories=[])))
def test_what_can_be_stored_is_utf_8_without_nul(text: str) -> None:
    try:
        storable = b"\0" not in text.encode()
    except UnicodeEncodeError:
        storable = False
    found = find_unstorable(text)
    assert (found is None) == storable
    if found is not None:
        assert find_unstorable(text[: found[0]]) is None
        assert find_unstorable(text[found[0]]) is not None


def test_the_place_is_told() -> None:
    with pytest.raises(InputError, match=r"^x, character 3: a NUL \(U\+0000\), which cannot"):
        require_storable("ab\0", "x")
    with pytest.raises(InputError, match=r"^x, character 1: half a surrogate pair \(U\+D83D\)"):
        require_storable("\ud83d\0", "x")
    require_storable("\U0001f600 caf\u00e9", "x")


def test_texts_of_lists_and_tables() -> None:
    value = {"a": [1, "x", {"b": "y"}], "c": None, "d": {}}
    told = [(place, text) for place, text in texts_in(value) if not place.startswith("the key")]
    assert told == [("a[1]", "x"), ("a[2].b", "y")]
    assert [text for place, text in texts_in(value) if place.startswith("the key")] == [
        *("a", "b", "c", "d")
    ]


def test_names_that_look_like_what_is_asked_are_told() -> None:
    assert known_names(["a", E_NFC], "b") == f"known: a, {E_NFC}"
    told = known_names(["a", E_NFC], E_NFD)
    assert told == (
        f"known: a, {E_NFC}; '{E_NFD}' is in another form of Unicode (NFC, NFD) than there: copy it"
    )


def test_names_have_one_form() -> None:
    assert E_NFC != E_NFD
    assert one_form(E_NFC) == one_form(E_NFD) == E_NFC
