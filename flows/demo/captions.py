"""Scenes and their captions, drawn from a small seeded grammar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flows.demo.concepts import CONCEPTS, TOPICS
from flows.demo.topics import FILLERS, Topic

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "pink", "purple", "orange")
SETTINGS = (
    "in the bright sun", "at night", "on a rainy day", "in the morning light", "in the shade",
    "on a gravel path", "in front of a brick wall", "by a window", "on the grass",
    "behind a fence", "in the snow", "in thick fog", "on a wooden deck", "under a lamp",
    "in autumn", "at dawn", "in a museum", "at a market", "in a workshop", "under a tree",
)  # fmt: skip
QUALITIES = (
    "small", "large", "old", "new", "strange", "beautiful", "dusty", "shiny", "plain", "blurry",
)  # fmt: skip
BESIDE = ("next to", "beside", "in front of", "close to")
SECOND_TOPIC_SHARE = 0.4
FILLER_SHARE = 0.12


@dataclass(frozen=True)
class Scene:
    """What one picture shows.

    Attributes
    ----------
    topic, second : Topic
        The main topic, and a second one or None.
    noun, second_noun : str
        Which thing of either topic; ``second_noun`` is empty without a second topic.
    colour, quality, doing, setting : str
        Details that the captions tell and the drawing shows where it can.
    """

    topic: Topic
    noun: str
    colour: str
    quality: str
    doing: str
    setting: str
    second: Topic | None = None
    second_noun: str = ""


def pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def draw_scenes(n: int, rng: np.random.Generator) -> list[Scene]:
    """Draw scenes whose concepts are as evenly frequent as n allows, in random order.

    Parameters
    ----------
    n : int
        How many.
    rng : numpy.random.Generator
    """
    fillers = round(n * FILLER_SHARE)
    main = [CONCEPTS[i % len(CONCEPTS)].topic for i in range(n - fillers)]
    main += [FILLERS[i % len(FILLERS)] for i in range(fillers)]
    return [_draw_scene(main[i], rng) for i in rng.permutation(n)]


def _draw_scene(topic: Topic, rng: np.random.Generator) -> Scene:
    second = None
    if rng.random() < SECOND_TOPIC_SHARE:
        others = [other for other in TOPICS if other is not topic]
        second = others[int(rng.integers(len(others)))]
    return Scene(
        topic=topic,
        noun=pick(topic.nouns, rng),
        colour=pick(COLOURS, rng),
        quality=pick(QUALITIES, rng),
        doing=pick(topic.doings, rng),
        setting=pick(SETTINGS, rng),
        second=second,
        second_noun=pick(second.nouns, rng) if second is not None else "",
    )


def with_article(phrase: str) -> str:
    """``"old dog"`` -> ``"an old dog"``."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def caption_scene(scene: Scene, n: int, rng: np.random.Generator) -> list[str]:
    """Write n captions that paraphrase each other, as COCO's five do.

    Every caption names the main thing; colour, doing, setting and second thing each appear in some.

    Parameters
    ----------
    scene : Scene
    n : int
        1 to 5.
    rng : numpy.random.Generator
    """
    coloured = scene.topic.phrase.format(noun=scene.noun, colour=scene.colour)
    plain = f"{scene.quality} {scene.noun}"
    second = f"{pick(BESIDE, rng)} {with_article(scene.second_noun)}" if scene.second else ""
    pair = f"and {with_article(scene.second_noun)}" if scene.second else scene.doing
    sentences = [
        f"{with_article(coloured)} {scene.doing} {scene.setting}",
        f"{with_article(plain)} {pair}",
        f"there is {with_article(scene.noun)} {scene.doing} {second}",
        f"{with_article(coloured)} {second or scene.setting}",
        f"{with_article(plain)} {scene.setting}",
    ]
    order = rng.permutation(len(sentences))[:n]
    return [_sentence(sentences[i]) for i in order]


def _sentence(words: str) -> str:
    text = " ".join(words.split())
    return f"{text[0].upper()}{text[1:]}."
