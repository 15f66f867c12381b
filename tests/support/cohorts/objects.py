"""Object names with real CLIP vectors: groups of related names, and scenes they stand in together.

The vectors lie beside the checkout and are read there. They are data for tests, never shipped.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_ROOT = Path(__file__).parents[3]
_FILE = "clip_text_vit_b32/clip_text_vit_b32.npz"


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(","))


GROUPS: dict[str, tuple[str, ...]] = {
    "people": _names("person, Person"),
    "animals": _names(
        "cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, Deer, Camel, Antelope, "
        "Donkey, Lion, Monkey, Rabbit, Yak, Pig"
    ),
    "birds": _names("bird, Wild Bird, Duck, Pigeon, Goose, Penguin, Swan, Parrot, Chicken"),
    "sea animals": _names("Other Fish, Goldfish, Dolphin, Seal, Jellyfish, Crab, Lobster, Shrimp"),
    "meals": _names(
        "sandwich, hot dog, pizza, donut, cake, Hamburger, French Fries, Pasta, Sushi, Steak, "
        "Dumpling, Baozi, Spring Rolls, Noddles, Sausage, Pie, Cookies, Dessert, Ice cream, Rice, "
        "Bread, Cheese, Meatball"
    ),
    "fruit and vegetables": _names(
        "banana, apple, orange, broccoli, carrot, Tomato, Lemon, Strawberry, Grape, Potato, "
        "Cucumber, Pear, Onion, Watermelon, Cabbage, Peach, Pineapple, Mango, Lettuce, Garlic, "
        "Plum, Kiwi fruit, Cherry, Avocado, Mushroom, Eggplant, Papaya, Radish, Corn, Pumpkin"
    ),
    "vehicles": _names(
        "car, bus, truck, motorcycle, bicycle, train, SUV, Van, Pickup Truck, Sports Car, Scooter, "
        "Heavy Truck, Fire Truck, Ambulance, Tricycle, Rickshaw, Carriage, Formula 1"
    ),
    "boats": _names("boat, Sailboat, Ship, Paddle, Lifesaver, surfboard, Fishing Rod"),
    "aircraft": _names("airplane, Helicopter, Hot air balloon, kite"),
    "furniture": _names(
        "chair, couch, bed, dining table, bench, Desk, Cabinet/shelf, Stool, Nightstand, "
        "Coffee Table, Side Table, Pillow, Carpet, Lamp"
    ),
    "clothing": _names(
        "Sneakers, Other Shoes, Hat, Gloves, Leather Shoes, Boots, Belt, Slippers, Sandals, "
        "High Heels, tie, Bow Tie, Hanger"
    ),
    "jewellery": _names("Bracelet, Necklace, Ring, Watch, Glasses, Wallet/Purse"),
    "electronics": _names(
        "laptop, tv, mouse, keyboard, cell phone, remote, Monitor/TV, Camera, Speaker, Tablet, "
        "Printer, Projector, Computer Box, Router/modem, Head Phone, Telephone, Calculator"
    ),
    "ball games": _names(
        "sports ball, baseball bat, baseball glove, tennis racket, Soccer, Baseball, Basketball, "
        "Volleyball, American Football, Tennis, Golf Ball, Golf Club, Hockey Stick, Table Tennis"
    ),
    "winter sports": _names("skis, snowboard, Skiboard, Skating and Skiing shoes, Curling"),
    "kitchenware": _names(
        "fork, knife, spoon, bowl, cup, wine glass, bottle, Plate, Pot, Kettle, Teapot, Jug, "
        "Chopsticks, Blender, Rice Cooker, Cutting/chopping Board, Toaster, microwave, oven"
    ),
    "plants": _names("potted plant, Potted Plant, Flower, vase, Vase"),
    "instruments": _names(
        "Drum, Guitar, Cymbal, Piano, Violin, Saxophone, Cello, Trumpet, Flute, Trombone, Tuba"
    ),
    "stationery": _names(
        "book, Pen/Pencil, Folder, Notepaper, Stapler, Eraser, Marker, Pencil Case, scissors, "
        "Tape, Tape Measure/ Ruler, Blackboard/Whiteboard, Paint Brush"
    ),
    "tools": _names(
        "Hammer, Pliers, Screwdriver, Electric Drill, Chainsaw, Shovel, Ladder, Broom, Mop"
    ),
    "bathroom": _names(
        "toilet, sink, Bathtub, Faucet, Towel, Toiletry, Toilet Paper, toothbrush, Showerhead, "
        "Urinal, Soap, hair drier, Comb"
    ),
    "street signs": _names(
        "traffic light, stop sign, parking meter, fire hydrant, Street Lights, Traffic Sign, "
        "Traffic cone, Crosswalk Sign, Speed Limit Sign"
    ),
}  # fmt: skip
"""Names as the table spells them."""

SCENES: tuple[tuple[str, ...], ...] = (
    ("vehicles", "street signs", "people"),
    ("kitchenware", "meals", "fruit and vegetables"),
    ("meals", "kitchenware", "furniture", "people"),
    ("furniture", "electronics", "plants", "animals"),
    ("bathroom", "clothing"),
    ("animals", "plants", "birds"),
    ("boats", "birds", "people", "sea animals"),
    ("ball games", "people", "clothing"),
    ("winter sports", "people", "clothing"),
    ("instruments", "people", "electronics"),
    ("stationery", "electronics", "furniture"),
    ("clothing", "jewellery", "people"),
    ("tools", "vehicles"),
    ("aircraft", "people", "birds"),
    ("fruit and vegetables", "people", "street signs"),
    ("jewellery", "stationery", "plants"),
    ("sea animals", "meals", "kitchenware"),
    ("instruments", "furniture", "aircraft"),
)
"""Groups that are seen together."""


@dataclass(frozen=True)
class NameTable:
    """(n,) names and their (n, 512) float64 unit vectors."""

    names: tuple[str, ...]
    vectors: NDArray[np.float64]

    def rows(self, names: tuple[str, ...]) -> NDArray[np.intp]:
        """Rows of some names; of a name that stands twice, the first."""
        return np.array([self.names.index(name) for name in names], dtype=np.intp)


def find_clip_names() -> Path | None:
    """The table's file: below `SDC_TEST_DATA`, else `shared/data` in or beside the checkout."""
    given = os.environ.get("SDC_TEST_DATA")
    places = [Path(given)] if given else [_ROOT / "shared/data", _ROOT.parent / "shared/data"]
    return next((place / _FILE for place in places if (place / _FILE).is_file()), None)


def load_clip_names() -> NameTable:
    """Read the table.

    Raises
    ------
    FileNotFoundError
        It is not there; tests ask `find_clip_names` first and skip.
    """
    path = find_clip_names()
    if path is None:
        raise FileNotFoundError(f"no {_FILE} in shared/data beside the checkout")
    with np.load(path, allow_pickle=False) as table:
        names, vectors = table["name"].tolist(), table["vector"].astype(np.float64)
    return NameTable(tuple(names), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
