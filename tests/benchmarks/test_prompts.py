from types import SimpleNamespace
from typing import Any

from tests.benchmarks import prompt_lists
from tests.benchmarks.prompts import judge


def answering(p_values: dict[str, float]) -> Any:
    def ask(text: str) -> Any:
        p = p_values.get(text, 0.9)
        words = ["house"] if text == "hous" else []
        match = SimpleNamespace(matched=p <= 0.05, p_value=p, nearest_words=words)
        return SimpleNamespace(match=match, match_reason=None)

    return ask


def test_shares_are_counted_and_the_wrong_ones_named() -> None:
    ask = answering({"a": 0.01, "x": 0.001, "y": 0.04, "z": 0.06})
    unrelated, paraphrases, misspelt = judge(ask, ["a", "b", "c", "d"], {"one": ("x", "y", "z")})
    assert unrelated == "4 nonsense and unrelated prompts: 1 told as matched (25%): 'a' (0.010)"
    assert paraphrases == (
        "3 paraphrases of 1 planted concepts: 2 matched (67%); missed: 'z' (0.060)"
    )
    assert misspelt == "4 misspelt words: 1 are offered the word that was meant, first"


def flat(lists: dict[str, tuple[str, ...]]) -> list[str]:
    return [text for told in lists.values() for text in told]


def test_final_lists_are_fifty_each_and_none_of_development() -> None:
    paraphrases = flat(prompt_lists.FINAL_PARAPHRASES)
    assert len(set(prompt_lists.FINAL_UNRELATED)) == len(set(paraphrases)) == 50
    known = {*prompt_lists.DEVELOPMENT_UNRELATED, *flat(prompt_lists.DEVELOPMENT_PARAPHRASES)}
    assert not known & {*prompt_lists.FINAL_UNRELATED, *paraphrases}
