"""What the demo's pictures can show, and the words their captions use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """What a picture can show, and the words that its captions use.

    Attributes
    ----------
    name : str
    nouns : tuple of str
        Nouns without an article; each starts a noun phrase that takes "a" or "an".
    doings : tuple of str
        What such a thing does or how it lies; follows the noun.
    phrase : str
        How noun and colour go together, with the fields ``{noun}`` and ``{colour}``.
    """

    name: str
    nouns: tuple[str, ...]
    doings: tuple[str, ...]
    phrase: str


def _topic(name: str, nouns: str, doings: str, phrase: str = "{colour} {noun}") -> Topic:
    """A topic from lists of words, separated by commas."""
    return Topic(name, tuple(nouns.split(", ")), tuple(doings.split(", ")), phrase)


FACES = _topic(
    "faces",
    "man's face, girl's face, bearded man, boy with freckles, lady with glasses, child's "
    "face, portrait of a man, grandmother, teenage girl, portrait of a lady",
    "looking at the camera, with closed eyes, grinning, with raised eyebrows, frowning, with "
    "rosy cheeks, staring ahead, with painted lips",
    "{noun} in a {colour} hat",
)
BODIES = _topic(
    "bodies",
    "dancer's body, pair of bare legs, bare back, pair of crossed arms, pair of feet, slim "
    "body, yoga pose, pair of shoulders, bare chest, pair of knees",
    "stretching, bending over, lying down, balancing on tiptoe, leaning sideways, kneeling, "
    "standing upright, twisting",
    "{noun} in {colour} tights",
)
PLACES = _topic(
    "places",
    "city street, stone church, valley, town square, courtyard, village, castle, mountain "
    "pass, bridge, skyline, canyon, row of houses",
    "stretching into the distance, seen from above, with nobody in it, with tall towers, "
    "between steep hills, with an arched gate, lined with lanterns, with a long alley",
    "{noun} with {colour} roofs",
)
WORDS = _topic(
    "words",
    "poster with words, page of text, sentence, printed word, street sign with a name, book "
    "page, newspaper headline, label with words, note with text, alphabet chart",
    "spelling a name, in bold type, in capital type, with a spelling error, in a foreign "
    "language, quoting a poem, listing names, saying stop",
    "{noun} in {colour} ink",
)
FOOD = _topic(
    "food",
    "pizza, sandwich, salad, chocolate cake, bowl of soup, burger, plate of sushi, pancake, "
    "plate of pasta, steak, doughnut, omelette",
    "topped with cheese, cut into slices, covered with sauce, ready to eat, with melted "
    "butter, half eaten, sprinkled with herbs, fresh from the oven",
    "{noun} on a {colour} plate",
)
ANIMALS = _topic(
    "animals",
    "dog, cat, horse, elephant, giraffe, zebra, cow, sheep, bear, rabbit, monkey, lion",
    "grazing, licking its paw, sleeping, wagging its tail, sniffing, drinking, feeding its "
    "young, scratching its ear",
)
VEHICLES = _topic(
    "vehicles",
    "bus, truck, car, train, motorcycle, van, taxi, tram, scooter, tractor, jeep, fire engine",
    "parked, driving fast, turning left, with its headlights on, with a flat tyre, waiting to "
    "start, being towed, with an open door",
)
SPORT = _topic(
    "sport",
    "baseball game, tennis match, soccer game, basketball game, hockey game, rugby match, "
    "volleyball game, cricket match, golf tournament, football match",
    "in the final minute, with a swing and a miss, before the kick, after a goal, with a tied "
    "score, with a referee watching, in the first inning, during a serve",
    "{noun} between teams in {colour}",
)
FLOWERS = _topic(
    "flowers",
    "rose, bouquet of tulips, sunflower, daisy, bunch of lilies, orchid, vase of flowers, "
    "poppy, wreath of flowers, peony, iris, carnation",
    "with open petals, freshly picked, wilting, with green leaves, covered in dew, tied with "
    "a ribbon, in full colour, with a long stem",
)
SEA = _topic(
    "sea",
    "sea wave, sandy beach, rolling surf, sea bay, tide pool, rocky shore, tide, coral "
    "reef, sea cave, sea cliff",
    "breaking in foam, at high tide, under gulls, washed by salt spray, glittering, with a "
    "far horizon, in rough water, in calm water",
    "{noun} with {colour} water",
)
ELECTRONICS = _topic(
    "electronics",
    "laptop, keyboard, computer monitor, mobile phone, tablet computer, printer, television, "
    "computer mouse, game console, router, webcam, digital camera",
    "plugged in, with a cracked screen, showing a menu, with tangled cables, charging, "
    "switched off, running a program, with blinking lights",
)
FURNITURE = _topic(
    "furniture",
    "sofa, wooden chair, armchair, bed, dresser, bookshelf, bench, coffee table, wardrobe, "
    "stool, cabinet, desk",
    "with soft cushions, with carved legs, pushed against the wall, with drawers, made of "
    "oak, freshly polished, covered by a blanket, with a broken hinge",
)
MUSIC = _topic(
    "music",
    "guitar, grand piano, violin, trumpet, drum set, cello, flute, saxophone, accordion, "
    "harp, banjo, clarinet",
    "being played, with broken strings, being tuned, in its case, on a stage, ready for a "
    "concert, beside its bow, playing a song",
)

FILLERS = (
    _topic(
        "clothing",
        "jacket, dress, pair of shoes, sweater, necktie, raincoat, scarf, skirt",
        "on a hanger, neatly folded, with shiny buttons, with striped sleeves, for sale",
    ),
    _topic(
        "bathroom",
        "toilet, bathtub, sink, shower stall, mirror, bath towel, soap dish",
        "with a dripping tap, freshly cleaned, with white tiles, out of order, steaming",
    ),
    _topic(
        "tools",
        "hammer, saw, wrench, power drill, shovel, screwdriver, axe, ladder",
        "covered in rust, with a worn handle, in a toolbox, ready for repairs, leaning",
    ),
    _topic(
        "weather",
        "rainbow, storm cloud, sunset, bolt of lightning, starry sky, snow storm",
        "filling the sky, far away, fading slowly, over open land, growing darker",
        "{noun} in a {colour} sky",
    ),
    _topic(
        "toys",
        "teddy bear, kite, doll, toy block, balloon, puppet, spinning top",
        "for sale, with a torn seam, wrapped as a gift, on a string, left behind",
    ),
)
"""Topics that no voxel is planted for."""
