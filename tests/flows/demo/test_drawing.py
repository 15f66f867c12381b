import numpy as np
import pytest

from flows.demo.captions import Scene
from flows.demo.concepts import TOPICS
from flows.demo.drawing import SHAPES, draw_scene


def scene(topic, colour="red", second=None):
    return Scene(topic, "thing", colour, "small", "lying", "at night", second)


def test_every_topic_has_a_shape():
    assert set(SHAPES) == {topic.name for topic in TOPICS}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_pictures_are_small_repeatable_and_show_colour(topic):
    red, again = (draw_scene(scene(topic), np.random.default_rng(0)) for _ in range(2))
    assert red.shape == (64, 64, 3)
    assert red.dtype == np.uint8
    np.testing.assert_array_equal(red, again)
    blue = draw_scene(scene(topic, "blue"), np.random.default_rng(0))
    assert (red != blue).any()


def test_topics_and_second_things_look_different():
    pictures = [draw_scene(scene(topic), np.random.default_rng(0)).tobytes() for topic in TOPICS]
    assert len(set(pictures)) == len(TOPICS)
    with_second = draw_scene(scene(TOPICS[0], second=TOPICS[1]), np.random.default_rng(0))
    assert with_second.tobytes() != pictures[0]
