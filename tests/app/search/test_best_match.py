import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import InputError
from app.search.best_match import FEWEST_WORDS, best_match_p, mirrored_null


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def literal_p(words: NDArray[np.float64], prompt: NDArray[np.float64]) -> float:
    """The p from its definition, word by word and concept by concept."""
    medians = [sorted(column) for column in words.T.tolist()]
    half = len(words) // 2
    middle = [
        each[half] if len(words) % 2 else (each[half - 1] + each[half]) / 2 for each in medians
    ]
    best = max(value - centre for value, centre in zip(prompt, middle, strict=True))
    as_large = 0
    for word in words.tolist():
        below = max(centre - value for value, centre in zip(word, middle, strict=True))
        as_large += below >= best
    return (1 + as_large) / (1 + len(words))


@pytest.mark.parametrize("words", [100, 101, 250])
@pytest.mark.parametrize("concepts", [1, 7])
def test_p_is_that_of_the_definition(words: int, concepts: int) -> None:
    random = np.random.default_rng(words + concepts)
    # Rounded, so that ties occur.
    similarity = random.normal(0.02, 0.1, (words, concepts)).round(2)
    null = mirrored_null(similarity)
    for shift in (-0.3, 0.0, 0.1, 0.2, 0.5):
        prompt = random.normal(shift, 0.05, concepts).round(2)
        assert best_match_p(prompt, null) == literal_p(similarity, prompt)


def test_related_words_make_no_unrelated_prompt_look_near() -> None:
    """Concepts that are correlated, and a third of the words near to one of them."""
    random = np.random.default_rng(3)
    concepts = unit(random.standard_normal((12, 64)) + 0.5 * random.standard_normal(64))
    words = random.standard_normal((1000, 64))
    words[:333] += 8 * concepts[random.integers(0, 12, 333)]
    null = mirrored_null(unit(words) @ concepts.T)
    p = [best_match_p(each, null) for each in unit(random.standard_normal((2000, 64))) @ concepts.T]
    # They raise the medians, and lie below those of other concepts: p is too large, not too small.
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.less_equal(p, level)) < level


def test_p_is_uniform_where_no_word_is_related() -> None:
    random = np.random.default_rng(4)
    concepts = unit(random.standard_normal((12, 64)))
    null = mirrored_null(unit(random.standard_normal((1000, 64))) @ concepts.T)
    p = [best_match_p(each, null) for each in unit(random.standard_normal((4000, 64))) @ concepts.T]
    for level in (0.01, 0.05, 0.2, 0.5):
        assert np.mean(np.less_equal(p, level)) == pytest.approx(level, abs=0.35 * level)


def test_a_prompt_near_to_one_concept_is_found_among_related_words() -> None:
    random = np.random.default_rng(5)
    concepts = unit(random.standard_normal((12, 64)))
    words = random.standard_normal((1000, 64))
    words[:333] += 8 * concepts[random.integers(0, 12, 333)]
    null = mirrored_null(unit(words) @ concepts.T)
    near = unit(random.standard_normal((200, 64)) + 8 * concepts[random.integers(0, 12, 200)])
    p = [best_match_p(each, null) for each in near @ concepts.T]
    assert np.mean(np.less_equal(p, 0.05)) > 0.95
    # What lies opposite to every concept is near to none.
    assert best_match_p(-concepts.sum(axis=0) @ concepts.T, null) == 1.0


def test_what_a_concept_has_in_common_with_all_words_is_no_nearness() -> None:
    random = np.random.default_rng(6)
    similarity = random.normal(0.0, 0.05, (500, 3))
    similarity[:, 1] += 0.4
    null = mirrored_null(similarity)
    assert best_match_p(np.array([0.0, 0.4, 0.0]), null) > 0.8
    assert best_match_p(np.array([0.4, 0.4, 0.0]), null) == pytest.approx(1 / 501)


@pytest.mark.parametrize(
    ("similarity", "message"),
    [
        (np.zeros((FEWEST_WORDS - 1, 2)), f"a vocabulary of {FEWEST_WORDS - 1} words is too small"),
        (np.zeros((0, 2)), "a vocabulary of 0 words is too small"),
        (np.zeros((200, 0)), r"similarities of shape \(200, 0\)"),
        (np.zeros(200), r"similarities of shape \(200,\)"),
        (np.full((200, 2), np.nan), "similarities are not finite"),
    ],
)
def test_what_tells_nothing_is_refused(similarity: NDArray[np.float64], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mirrored_null(similarity)
