"""What a run's encoder does not read of captions, and what it refuses."""

from pathlib import Path

import pytest

from app.errors import InputError
from flows.train import embed_stimuli

MINILM = "caption:all-MiniLM-L6-v2"


def embed(captions: list[list[str]]) -> list[str]:
    keys = [f"s{index}" for index in range(len(captions))]
    told = embed_stimuli.function("", {}, "", MINILM, keys, captions)
    warnings: list[str] = told["warnings"]
    return warnings


def test_a_run_tells_what_is_not_read_of_captions(store_home: Path) -> None:
    assert embed([["a dog"], ["a face 😀", "a face"]]) == [
        'the encoder does not know all words of 1 of 3 captions, such as "😀"'
    ]
    assert embed([["a dog"], ["a face"]]) == []


def test_a_stimulus_whose_captions_say_nothing_is_named(store_home: Path) -> None:
    """All such stimuli had one vector, and the run went on."""
    with pytest.raises(InputError, match="no word of the captions of stimulus s1") as caught:
        embed([["a dog"], ["🍕", "😀"]])
    assert "caption it in words" in (caught.value.hint or "")
