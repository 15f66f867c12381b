import re

import numpy as np
import pytest

from flows.demo.captions import caption_scene, draw_scenes, with_article
from flows.demo.concepts import CONCEPTS, TOPICS

COMMON = {"a", "an", "and", "in", "with", "of", "the", "on"}


def stems(text):
    """Words without their endings; "smiles", "smiling" and "smile" are one."""
    words = set(re.findall(r"[a-z]+", text.lower())) - COMMON
    return {re.sub(r"(ings?|ed|er|ers|es|s|e|ian|ians)$", "", word) for word in words}


@pytest.fixture(scope="module")
def written():
    rng = np.random.default_rng(0)
    scenes = draw_scenes(2500, rng)
    return scenes, [caption_scene(scene, 5, rng) for scene in scenes]


def test_stems_join_the_forms_of_a_word():
    assert stems("smiling") == stems("smiles") == stems("smile")


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.name)
def test_no_query_word_is_in_any_caption_or_anchor(concept, written):
    words = set().union(*(stems(" ".join(each)) for each in written[1]))
    words |= set().union(*(stems(" ".join(each.anchors)) for each in CONCEPTS))
    assert not stems(concept.query) & words


def test_captions_of_an_image_differ_and_all_name_the_main_thing(written):
    for scene, captions in zip(*written, strict=True):
        assert len(set(captions)) == 5
        assert all(scene.noun in caption for caption in captions)
        assert all(caption[0].isupper() and caption.endswith(".") for caption in captions)
        assert not any("  " in caption or "{" in caption for caption in captions)
        if scene.second is not None:
            assert sum(scene.second_noun in caption for caption in captions) >= 2


def test_articles():
    assert with_article("old dog") == "an old dog"
    assert with_article("dog") == "a dog"


def test_topics_are_evenly_frequent(written):
    names = [scene.topic.name for scene in written[0]]
    counts = {topic.name: names.count(topic.name) for topic in TOPICS}
    planted = [counts[concept.name] for concept in CONCEPTS]
    assert max(planted) - min(planted) <= 1
    assert min(counts.values()) > 0
    assert 0.3 < np.mean([scene.second is not None for scene in written[0]]) < 0.5


def test_captions_vary(written):
    flat = [caption for captions in written[1] for caption in captions]
    assert len(set(flat)) > 0.85 * len(flat)
