"""What a run's encoder does not read of captions, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from app.errors import InputError, NotFoundError
from app.store import Artefact
from flows.stages import get_store
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


def test_a_table_has_stimuli_without_captions_by_their_keys(store_home: Path) -> None:
    """What a data set with neither captions nor pictures is told to be given."""
    table = store_home / "stimuli.csv"
    table.write_text("name,0,1\ns0,1,0\ns1,0,1\na dog,0.6,0.8\n")
    told = embed_stimuli.function("", {}, "", f"vectors:{table}", ["s0", "s1"], [[], ["a dog"]])
    vectors = get_store().get(Artefact.model_validate(told["vectors"]))["vectors"]
    np.testing.assert_allclose(vectors, [[1, 0], [0.6, 0.8]], atol=1e-6)
    with pytest.raises(NotFoundError, match="no vector for 's2'"):
        embed_stimuli.function("", {}, "", f"vectors:{table}", ["s0", "s2"], [[], []])
