"""What components are least like, where a vocabulary is as small as can be."""

from pathlib import Path

import numpy as np
import pytest

from app.database.engine import open_session
from app.embedding import load_encoder
from app.encoders.service import register_encoder
from flows.publish_negations import farthest_terms

COMPONENTS = np.array([[1, 0.2, 0], [0, -1, 0.1]], dtype=np.float32)


@pytest.mark.usefixtures("catalog")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"only": (1, 0, 0)}, [[], []]),
        ({"up": (2, 1, 0), "down": (2, -1, 0)}, [["down", "up"], ["up", "down"]]),
        # On a cone: by plain cosines all three are near to the first component.
        (
            {"left": (9, -1, 0), "right": (9, 1, 0), "front": (9, 0, 3)},
            [["front", "left"], ["right", "front"]],
        ),
    ],
)
def test_words_are_ranked_by_how_they_differ_from_their_mean(
    tmp_path: Path, words: dict[str, tuple[float, ...]], expected: list[list[str]]
) -> None:
    table = tmp_path / "words.csv"
    rows = [f"{word},{','.join(map(str, vector))}" for word, vector in words.items()]
    table.write_text("\n".join(["name,0,1,2", *rows]) + "\n")
    with open_session() as session:
        encoder = register_encoder(session, load_encoder(f"vectors:{table}"), f"vectors:{table}")
        assert farthest_terms(session, COMPONENTS, encoder, 2) == expected


@pytest.mark.usefixtures("catalog")
@pytest.mark.parametrize(
    ("among", "expected"),
    [
        (["up", "left"], [["left", "up"], ["up", "left"]]),
        (["up", "unknown"], [["up"], ["up"]]),
        ([], [[], []]),
    ],
)
def test_the_words_to_rank_can_be_named(
    tmp_path: Path, among: list[str], expected: list[list[str]]
) -> None:
    table = tmp_path / "words.csv"
    table.write_text("name,0,1,2\nup,2,1,0\ndown,2,-1,0\nleft,1,0,-2\n")
    with open_session() as session:
        encoder = register_encoder(session, load_encoder(f"vectors:{table}"), f"vectors:{table}")
        assert farthest_terms(session, COMPONENTS, encoder, 2, among=among) == expected
