"""Scenes told in a caption: other topics, other words and another grammar than the demo's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAIN, SECOND, THIRD = 1.0, 0.6, 0.4
"""How much of a scene its first, second and third thing are."""


@dataclass(frozen=True)
class Topic:
    """What a scene can show.

    Attributes
    ----------
    name : str
    nouns, doings : tuple of str
    related : tuple of str
        Names of topics that often stand beside it.
    """

    name: str
    nouns: tuple[str, ...]
    doings: tuple[str, ...]
    related: tuple[str, ...]


def _topic(name: str, nouns: str, doings: str, related: str) -> Topic:
    return Topic(
        name, tuple(nouns.split(", ")), tuple(doings.split(", ")), tuple(related.split(", "))
    )


TOPICS = (
    _topic(
        "children",
        "toddler, schoolboy, little girl, baby, group of kids, pair of twins, infant, boy scout",
        "laughing out loud, running around, holding hands, taking a nap, crying for its mother",
        "toys, desserts, snow",
    ),
    _topic(
        "birds",
        "sparrow, parrot, owl, flock of pigeons, eagle, seagull, flamingo, duck, robin, peacock",
        "spreading its wings, perched up high, pecking at seeds, building a nest, singing",
        "boats, forest, sky",
    ),
    _topic(
        "farm animals",
        "goat, pig, donkey, flock of hens, calf, lamb, rooster, herd of cattle, mule, piglet",
        "chewing hay, resting in the barn, waiting to be milked, standing in mud, being herded",
        "fields, birds",
    ),
    _topic(
        "aircraft",
        "airplane, helicopter, jumbo jet, fighter jet, glider, propeller plane, airliner, biplane",
        "taking off, landing on the runway, flying in formation, boarding passengers, taxiing",
        "sky, trains",
    ),
    _topic(
        "boats",
        "sailing boat, canoe, ferry, yacht, rowing boat, fishing trawler, kayak, cargo ship, barge",
        "moored at the pier, crossing the harbour, drifting slowly, under full sail, being rowed",
        "birds, fish, sky",
    ),
    _topic(
        "fruit",
        "bunch of bananas, apple, bowl of oranges, pineapple, slice of melon, bunch of grapes, "
        "pear, basket of peaches, lemon, handful of cherries",
        "cut in half, freshly washed, ripe and juicy, piled up high, peeled",
        "desserts, kitchen, market",
    ),
    _topic(
        "desserts",
        "cupcake, apple pie, ice cream cone, cheesecake, birthday cake, brownie, waffle, "
        "chocolate mousse, tray of cookies, cream tart",
        "dusted with sugar, topped with icing, with a candle on it, melting, with one bite gone",
        "fruit, kitchen, children",
    ),
    _topic(
        "bathroom",
        "bathtub, toilet bowl, washbasin, shower cabin, stack of towels, toothbrush, bar of soap, "
        "medicine cabinet",
        "with running water, wiped clean, with white tiles, splashed all over, with a leaking pipe",
        "clothing, bedroom",
    ),
    _topic(
        "snow",
        "skier, snowboarder, snowman, ski lift, sled, ice rink, ski jumper, snow slope, figure "
        "skater, snowmobile",
        "racing downhill, covered in powder, in the freezing cold, jumping high, sliding along",
        "forest, clothing, children",
    ),
    _topic(
        "tools",
        "claw hammer, set of wrenches, cordless drill, circular saw, pair of pliers, chisel, "
        "screwdriver, workbench, tape measure, axe",
        "ready for use, hanging on hooks, rusting away, cutting a plank, with a broken handle",
        "office, trains",
    ),
    _topic(
        "clothing",
        "wedding gown, denim jacket, pair of boots, silk scarf, wool sweater, striped shirt, "
        "raincoat, pair of gloves, evening dress, suit and tie",
        "neatly folded, on a hanger, with shiny buttons, being ironed, on display",
        "bedroom, bathroom, market",
    ),
    _topic(
        "churches",
        "cathedral, chapel, monastery, bell tower, temple, mosque, altar, basilica, pagoda, shrine",
        "with stained glass, with a golden dome, rising above the roofs, lit by candles, in ruins",
        "sky, stage",
    ),
    _topic(
        "insects",
        "butterfly, bee, spider, beetle, dragonfly, swarm of ants, ladybird, caterpillar, wasp, "
        "grasshopper",
        "crawling along, collecting nectar, caught in a web, seen from very close, buzzing",
        "forest, fruit, fields",
    ),
    _topic(
        "trains",
        "steam locomotive, freight train, subway train, railway station, tram, railway track, "
        "commuter train, signal box",
        "arriving on time, crossing a viaduct, stopped at the platform, blowing smoke, derailed",
        "tools, aircraft",
    ),
    _topic(
        "forest",
        "pine forest, oak tree, birch wood, jungle, mossy log, hollow trunk, fern, clearing",
        "full of shadows, after a storm, losing its leaves, with a narrow trail, in spring",
        "insects, birds, snow",
    ),
    _topic(
        "office",
        "desktop computer, stack of files, laptop, photocopier, swivel chair, meeting room, "
        "keyboard, spreadsheet on a screen, printer",
        "switched on, with sticky notes, jammed with paper, shared by colleagues, out of date",
        "tools, bedroom",
    ),
    _topic(
        "stage",
        "rock band, violinist, jazz trio, choir, grand piano, drummer, opera singer, guitarist, "
        "brass band",
        "playing a solo, tuning up, in front of an audience, taking a bow, rehearsing a song",
        "churches, children",
    ),
    _topic(
        "kitchen",
        "frying pan, gas stove, kettle, chopping board, chef, dishwasher, set of knives, oven, "
        "mixing bowl",
        "full of steam, greased with butter, boiling over, stirring a sauce, scrubbed clean",
        "fruit, desserts, market",
    ),
    _topic(
        "toys",
        "rag doll, toy train, teddy bear, jigsaw puzzle, rocking horse, set of building blocks, "
        "yo-yo, toy robot, kite",
        "scattered around, wrapped as a present, with a missing piece, wound up, well loved",
        "children, bedroom",
    ),
    _topic(
        "fish",
        "goldfish, shark, coral reef, school of tuna, jellyfish, aquarium, dolphin, octopus, "
        "sea turtle",
        "swimming in circles, deep under water, caught in a net, gliding past, coming up for air",
        "boats, market",
    ),
    _topic(
        "bedroom",
        "double bed, bunk bed, pillow, armchair, wardrobe, sofa, chest of drawers, bedside lamp",
        "with a quilt on it, not yet made, pushed to the wall, with soft cushions, for two",
        "clothing, toys, office",
    ),
    _topic(
        "market",
        "market stall, shop window, supermarket shelf, street vendor, shopping cart, cash "
        "register, crowd of shoppers",
        "open for business, offering bargains, selling out, piled with goods, closing early",
        "fruit, fish, clothing",
    ),
    _topic(
        "sky",
        "thunder cloud, full moon, rainbow, sunset, starry night, shooting star, dark sky",
        "over the horizon, glowing faintly, at dusk, seen through a telescope, before the rain",
        "aircraft, birds, churches",
    ),
    _topic(
        "fields",
        "wheat field, tractor, hay bale, vineyard, meadow, orchard, ploughed field, scarecrow",
        "at harvest time, after the rain, stretching far away, in the heat, full of poppies",
        "farm animals, insects, sky",
    ),
)  # fmt: skip

_LOOKS = ("tiny", "huge", "faded", "bright red", "grey", "wooden", "blue", "ordinary", "wet",
          "striped", "pale", "pretty", "worn", "modern", "yellow")  # fmt: skip
_WHERE = ("in Italy", "near the river", "this morning", "on a Sunday", "behind the house",
          "in black and white", "up close", "from a distance", "in the background",
          "in the evening light", "on the left", "out of focus", "under a bridge")  # fmt: skip
_LINKS = ("and", "with", "beside", "behind", "not far from")


@dataclass(frozen=True)
class Scenes:
    """I scenes of T topics.

    Attributes
    ----------
    captions : tuple of str
        (I,), all different.
    amount : ndarray
        (I, T) how much of each topic a scene shows, 0 for none.
    topic : ndarray
        (I,) the first topic of each.
    """

    captions: tuple[str, ...]
    amount: NDArray[np.float64]
    topic: NDArray[np.int64]


def draw_scenes(count: int, rng: np.random.Generator) -> Scenes:
    """Draw scenes of one to three topics; some topics are more frequent, some go together.

    Parameters
    ----------
    count : int
    rng : numpy.random.Generator
    """
    row = {topic.name: number for number, topic in enumerate(TOPICS)}
    often = rng.lognormal(0, 0.35, len(TOPICS))
    often /= often.sum()
    captions: dict[str, None] = {}
    amount = np.zeros((count, len(TOPICS)))
    first = np.zeros(count, dtype=np.int64)
    for scene in range(count):
        first[scene] = rng.choice(len(TOPICS), p=often)
        shown = [int(first[scene])]
        for _ in range(int(rng.choice(3, p=[0.45, 0.4, 0.15]))):
            near = [row[name] for name in TOPICS[shown[0]].related]
            other = int(rng.choice(near) if rng.random() < 0.6 else rng.integers(len(TOPICS)))
            if other not in shown:
                shown.append(other)
        for part, number in zip((MAIN, SECOND, THIRD), shown, strict=False):
            amount[scene, number] = part * rng.lognormal(0, 0.15)
        text = _tell(shown, rng)
        while text in captions:
            text = _tell(shown, rng)
        captions[text] = None
    return Scenes(tuple(captions), amount, first)


def _tell(shown: Sequence[int], rng: np.random.Generator) -> str:
    """One sentence: the first thing at length, the others by their nouns."""

    def pick(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))]

    main = TOPICS[shown[0]]
    text = f"{pick(_LOOKS)} {pick(main.nouns)}" if rng.random() < 0.6 else pick(main.nouns)
    text = f"{_article(text)} {pick(main.doings)}"
    for other in shown[1:]:
        text += f" {pick(_LINKS)} {_article(pick(TOPICS[other].nouns))}"
    if rng.random() < 0.4:
        text += f" {pick(_WHERE)}"
    return f"{text[0].upper()}{text[1:]}."


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
