"""Small drawn pictures of scenes: plain shapes on varied backgrounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from flows.demo.captions import Scene

SIZE = 64
Pen = ImageDraw.ImageDraw
Colour = tuple[int, int, int]
SKIN: Colour = (224, 172, 130)
DARK: Colour = (40, 40, 40)
GREEN: Colour = (40, 120, 50)


def draw_scene(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Draw a scene: its main topic large, its second topic small and aside.

    Parameters
    ----------
    scene : Scene
    rng : numpy.random.Generator
        Decides place, size and background; none of them depends on the topic.

    Returns
    -------
    numpy.ndarray
        (64, 64, 3) uint8.
    """
    image = Image.fromarray(_background(rng))
    pen = ImageDraw.Draw(image)
    x, y = (int(v) for v in rng.integers(24, 41, 2))
    size = int(rng.integers(15, 21))
    if scene.second is not None:
        corner = (x + SIZE // 2) % SIZE, (y + SIZE // 2) % SIZE
        SHAPES[scene.second.name](pen, *corner, size // 2, _random_colour(rng))
    rgb = ImageColor.getrgb(scene.colour)
    SHAPES[scene.topic.name](pen, x, y, size, (rgb[0], rgb[1], rgb[2]))
    return np.asarray(image)


def _random_colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(v) for v in rng.integers(30, 226, 3))
    return red, green, blue


def _background(rng: np.random.Generator) -> np.ndarray:
    """A grey-level ramp in a random direction, tinted a little, with grain: (64, 64, 3) uint8."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    ramp = rng.uniform(20, 90) * (np.cos(angle) * rows + np.sin(angle) * columns)
    level = rng.uniform(70, 190) + rng.uniform(-25, 25, 3)
    grain = rng.normal(0, rng.uniform(1, 8), (SIZE, SIZE))
    shades: np.ndarray = np.clip(level + (ramp + grain)[..., None], 0, 255).astype(np.uint8)
    return shades


def _disc(pen: Pen, x: float, y: float, radius: float, fill: Colour) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _bar(pen: Pen, x: float, y: float, width: float, height: float, fill: Colour) -> None:
    pen.rectangle((x - width, y - height, x + width, y + height), fill=fill)


def _face(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _disc(pen, x, y, r, SKIN)
    pen.pieslice((x - r, y - r, x + r, y + r), 180, 360, fill=fill)
    for side in (-1, 1):
        _disc(pen, x + side * r * 0.4, y + r * 0.1, r * 0.15, DARK)
    pen.arc((x - r * 0.5, y, x + r * 0.5, y + r * 0.8), 20, 160, fill=DARK)


def _body(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _disc(pen, x, y - r * 0.8, r * 0.25, SKIN)
    _bar(pen, x, y - r * 0.1, r * 0.3, r * 0.45, SKIN)
    for side in (-1, 1):
        pen.line((x, y - r * 0.4, x + side * r, y - r * 0.7), fill=SKIN, width=3)
        pen.line((x, y + r * 0.3, x + side * r * 0.5, y + r), fill=fill, width=4)


def _place(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    for i, height in enumerate((0.6, 1.0, 0.75)):
        left = x + (i - 1.5) * r * 0.8
        pen.rectangle((left, y - height * r * 0.6, left + r * 0.7, y + r), fill=(150, 140, 130))
        roof = (left, y - height * r * 0.6, left + r * 0.7, y - height * r * 0.6)
        pen.polygon((*roof, left + r * 0.35, y - height * r * 1.1), fill=fill)


def _words(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _bar(pen, x, y, r, r * 0.8, (245, 245, 240))
    for i in range(4):
        line = y - r * 0.5 + i * r * 0.33
        for j in range(3 - i % 2):
            start = x - r * 0.8 + j * r * 0.6
            pen.line((start, line, start + r * 0.4, line), fill=fill, width=2)


def _food(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _disc(pen, x, y, r, fill)
    _disc(pen, x, y, r * 0.75, (222, 184, 100))
    for angle in range(0, 360, 72):
        dx, dy = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        _disc(pen, x + dx * r * 0.4, y + dy * r * 0.4, r * 0.15, (180, 40, 30))


def _animal(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    pen.ellipse((x - r, y - r * 0.4, x + r * 0.6, y + r * 0.4), fill=fill)
    _disc(pen, x + r * 0.75, y - r * 0.4, r * 0.3, fill)
    for leg in (-0.7, -0.4, 0.1, 0.4):
        pen.line((x + leg * r, y, x + leg * r, y + r), fill=fill, width=2)
    pen.line((x - r, y, x - r * 1.2, y - r * 0.5), fill=fill, width=2)


def _vehicle(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _bar(pen, x, y, r, r * 0.45, fill)
    _bar(pen, x, y - r * 0.2, r * 0.7, r * 0.15, (190, 220, 235))
    for side in (-0.6, 0.6):
        _disc(pen, x + side * r, y + r * 0.5, r * 0.25, DARK)


def _sport(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _bar(pen, x, y, r, r * 0.7, (70, 150, 70))
    pen.line((x, y - r * 0.7, x, y + r * 0.7), fill=(255, 255, 255))
    for dx, dy in ((-0.6, -0.3), (-0.4, 0.4), (0.5, 0.3), (0.6, -0.4)):
        _disc(pen, x + dx * r, y + dy * r, r * 0.15, fill)
    _disc(pen, x, y, r * 0.1, (255, 255, 255))


def _flower(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    pen.line((x, y, x, y + r), fill=GREEN, width=2)
    for angle in range(0, 360, 60):
        dx, dy = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        _disc(pen, x + dx * r * 0.45, y - r * 0.2 + dy * r * 0.45, r * 0.3, fill)
    _disc(pen, x, y - r * 0.2, r * 0.25, (250, 210, 60))


def _sea(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _bar(pen, x, y + r * 0.5, r, r * 0.5, fill)
    for i in range(3):
        for j in range(3):
            left, top = x - r + j * r * 0.66, y + i * r * 0.33
            pen.arc((left, top, left + r * 0.66, top + r * 0.4), 180, 360, fill=(255, 255, 255))
    pen.polygon((x, y - r, x, y, x + r * 0.6, y), fill=(245, 245, 245))


def _electronics(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _bar(pen, x, y - r * 0.2, r, r * 0.6, DARK)
    _bar(pen, x, y - r * 0.2, r * 0.85, r * 0.45, fill)
    _bar(pen, x, y + r * 0.7, r * 0.9, r * 0.15, (120, 120, 125))


def _furniture(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _bar(pen, x, y + r * 0.1, r, r * 0.25, fill)
    _bar(pen, x - r * 0.8, y - r * 0.4, r * 0.2, r * 0.6, fill)
    for side in (-0.8, 0.8):
        pen.line((x + side * r, y, x + side * r, y + r), fill=(100, 65, 35), width=3)


def _music(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _disc(pen, x - r * 0.3, y + r * 0.4, r * 0.5, fill)
    _disc(pen, x, y - r * 0.1, r * 0.35, fill)
    pen.line((x, y, x + r * 0.8, y - r), fill=DARK, width=3)
    _disc(pen, x - r * 0.2, y + r * 0.3, r * 0.15, DARK)


def _clothing(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    _bar(pen, x, y, r * 0.5, r * 0.8, fill)
    for side in (-1, 1):
        pen.line((x, y - r * 0.7, x + side * r, y), fill=fill, width=5)


def _bathroom(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    pen.pieslice((x - r, y - r, x + r, y + r), 0, 180, fill=(240, 240, 245), outline=fill)
    _bar(pen, x - r * 0.7, y - r * 0.4, r * 0.1, r * 0.4, (150, 150, 160))


def _tools(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    pen.line((x - r, y + r, x + r * 0.5, y - r * 0.5), fill=fill, width=4)
    _bar(pen, x + r * 0.5, y - r * 0.6, r * 0.4, r * 0.25, (110, 110, 120))


def _weather(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    pen.arc((x - r, y - r, x + r, y + r), 180, 360, fill=fill, width=4)
    for dx in (-0.5, 0.0, 0.5):
        _disc(pen, x + dx * r, y + r * 0.3, r * 0.35, (215, 215, 225))


def _toys(pen: Pen, x: int, y: int, r: int, fill: Colour) -> None:
    pen.polygon((x, y - r, x + r * 0.6, y, x, y + r * 0.5, x - r * 0.6, y), fill=fill)
    pen.line((x, y + r * 0.5, x - r * 0.3, y + r), fill=DARK)


SHAPES: dict[str, Callable[[Pen, int, int, int, Colour], None]] = {
    "faces": _face,
    "bodies": _body,
    "places": _place,
    "words": _words,
    "food": _food,
    "animals": _animal,
    "vehicles": _vehicle,
    "sport": _sport,
    "flowers": _flower,
    "sea": _sea,
    "electronics": _electronics,
    "furniture": _furniture,
    "music": _music,
    "clothing": _clothing,
    "bathroom": _bathroom,
    "tools": _tools,
    "weather": _weather,
    "toys": _toys,
}
