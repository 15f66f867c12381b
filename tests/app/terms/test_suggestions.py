import pytest

from app.terms.suggestions import MOST_LOOKED_UP, MOST_WORDS, spelt_alike, words_of

VOCABULARY = ("cat", "elephant", "flower", "food", "guitar", "horse", "house", "police", "table")


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("hous", ["house"]),
        ("HOUSS", ["house"]),
        ("a flowr in a hous", ["flower", "house"]),
        ("elefant", ["elephant"]),
        ("polise car", ["police"]),
        # Known words are spelt right, however near others are.
        ("house", []),
        ("hose", []),
        # Too short, no letters, nothing like it.
        *(("ct", []), ("h0us3", []), ("1234", []), ("%%%%", []), ("asdfghjkl", []), ("", [])),
        *(("花", []), ("x" * 1000, [])),
    ],
)
def test_words_that_nobody_knows_are_offered_those_spelt_alike(
    prompt: str, words: list[str]
) -> None:
    assert spelt_alike([prompt], VOCABULARY, {"hose", "car"}) == words


def test_every_prompt_is_looked_at_and_no_word_is_told_twice() -> None:
    assert spelt_alike(["hous", "tabel", "hous houss"], VOCABULARY) == ["house", "table"]


def test_few_are_looked_up_and_few_are_told() -> None:
    many = [f"hous{letter}" for letter in "abcdefghij"]
    assert len(spelt_alike(["hous"], many)) == MOST_WORDS
    late = " ".join(["zzz" + chr(97 + at) for at in range(MOST_LOOKED_UP)])
    assert spelt_alike([f"{late} flowr"], VOCABULARY) == []


def test_terms_are_taken_apart_into_words() -> None:
    assert words_of(["Police car", "hot-dog", "TV 2"]) == {"police", "car", "hot", "dog", "tv"}
