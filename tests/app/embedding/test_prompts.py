"""Prompt templates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.embedding.prompts import AS_TYPED, ENSEMBLE, bare_name, embed_prompt
from app.errors import InputError


class Letters:
    """An encoder whose vectors count letters, so that every text has its own."""

    name = spec = "letters"
    dimension = 27
    checksum = ""
    sees_images = False

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode_texts(self, texts):
        self.asked += texts
        counts = [
            [1 + text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz "]
            for text in texts
        ]
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)

    def encode_images(self, images):
        raise NotImplementedError

    def encode_stimuli(self, captions, images):
        raise NotImplementedError


def test_as_typed_is_the_default_and_changes_nothing() -> None:
    encoder = Letters()
    vector, templates = embed_prompt(encoder, "A  {0} Face!")
    assert templates == AS_TYPED == ("{}",)
    assert encoder.asked == ["A  {0} Face!"]
    np.testing.assert_allclose(vector, encoder.encode_texts(["A  {0} Face!"])[0], atol=1e-6)


@given(text=st.text(min_size=1).filter(str.strip), templates=st.permutations(ENSEMBLE))
def test_an_ensemble_is_the_normalised_mean_of_its_templates(
    text: str, templates: list[str]
) -> None:
    encoder = Letters()
    vector, used = embed_prompt(encoder, text, templates)
    assert used == tuple(templates)
    assert encoder.asked == [each.split("{}")[0] + text for each in templates]
    total = sum(encoder.encode_texts([prompt])[0] for prompt in list(encoder.asked))
    np.testing.assert_allclose(vector, total / np.sqrt((total**2).sum()), atol=1e-6)
    assert vector.shape == (27,)


def test_other_braces_in_a_template_are_text() -> None:
    encoder = Letters()
    embed_prompt(encoder, "a {face}", ["{0.name} {b} of {}"])
    assert encoder.asked == ["{0.name} {b} of a {face}"]


@given(st.text(min_size=1).filter(str.strip))
def test_something_is_left_of_every_name(text: str) -> None:
    assert bare_name(text).strip() == bare_name(text) != ""


@pytest.mark.parametrize(
    ("text", "templates", "message"),
    [
        ("  ", AS_TYPED, "the prompt is empty"),
        ("a face", (), "no prompt template was given"),
        ("a face", ("{}", "a photo"), "prompt template 'a photo' must hold {} once"),
        ("a face", ("{} and {}",), "prompt template '{} and {}' must hold {} once"),
    ],
)
def test_unusable_prompts_are_refused_before_anything_is_encoded(text, templates, message) -> None:
    encoder = Letters()
    with pytest.raises(InputError) as raised:
        embed_prompt(encoder, text, templates)
    assert raised.value.message == message
    assert encoder.asked == []


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("dog", "dog"),
        ("A  Dog", "dog"),
        ("a photo of a dog", "dog"),
        ("A close-up photo of the DOG ", "dog"),
        ("an image of traffic lights", "traffic lights"),
        ("another dog", "another dog"),
        ("a", "a"),
        ("the a-frame", "a-frame"),
        ("a photo of", "photo of"),
    ],
)
def test_bare_names(text: str, bare: str) -> None:
    assert bare_name(text) == bare


@given(st.sampled_from(ENSEMBLE), st.sampled_from(["", "a ", "an ", "the "]))
def test_every_template_is_undone(template: str, article: str) -> None:
    assert bare_name(template.replace("{}", article + "fire truck")) == "fire truck"
