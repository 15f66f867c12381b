"""The built-in vocabulary."""

import re

from app.embedding.vocabulary import load_vocabulary


def test_it_is_a_sorted_list_of_distinct_lower_case_names() -> None:
    words = load_vocabulary()
    assert 900 <= len(words) <= 1200
    assert words == sorted(set(words))
    assert [word for word in words if not re.fullmatch(r"[a-z]+([ '-]+[a-z]+)*", word)] == []
    assert max(len(word.split()) for word in words) <= 3


def test_it_covers_what_photographs_show() -> None:
    words = set(load_vocabulary())
    assert {
        *("person", "face", "hand", "crowd", "dog", "bird", "giraffe", "food", "pizza", "fruit"),
        *("kitchen", "bedroom", "street", "beach", "forest", "building", "train", "airplane"),
        *("boat", "chair", "hammer", "shirt", "tennis racket", "surfing", "stop sign", "text"),
        *("wood", "snow", "rain", "flower", "guitar", "laptop", "teddy bear", "wedding"),
    } <= words


def test_each_call_gives_a_list_of_its_own() -> None:
    load_vocabulary().clear()
    assert load_vocabulary()
