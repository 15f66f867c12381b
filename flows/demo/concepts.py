"""What the demo cohort plants: concepts, their words, and where in the brain they answer.

A *topic* is what a picture can show. A *concept* is a topic that voxels answer to. Topics without a
concept are shown too, so that "no planted voxel answers" never stands for one certain topic.
"""

from __future__ import annotations

from dataclasses import dataclass

from flows.demo.topics import (
    ANIMALS,
    BODIES,
    ELECTRONICS,
    FACES,
    FILLERS,
    FLOWERS,
    FOOD,
    FURNITURE,
    MUSIC,
    PLACES,
    SEA,
    SPORT,
    VEHICLES,
    WORDS,
    Topic,
)

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Blob:
    """A patch of cortex that answers to one concept.

    Attributes
    ----------
    centre : tuple of float
        MNI mm (x, y, z).
    radius : float
        mm.
    labels : tuple of str
        Names of the localiser regions drawn over the patch: none; one; or two, the first over the
        posterior half, the second over the anterior half.
    """

    centre: Point
    radius: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Concept:
    """A planted concept.

    Attributes
    ----------
    topic : Topic
    anchors : tuple of str
        Texts whose mean vector is the meaning that the planted voxels answer to.
    query : str
        Words to ask for the concept with; none of them is in any caption or anchor.
    blobs : tuple of Blob
    atlas : str or None
        Localiser atlas of the blobs' labels.
    participant : int or None
        Index (modulo the cohort's size) of the only participant whose brain carries it; None for
        all.
    """

    topic: Topic
    anchors: tuple[str, ...]
    query: str
    blobs: tuple[Blob, ...]
    atlas: str | None = None
    participant: int | None = None

    @property
    def name(self) -> str:
        return self.topic.name

    @property
    def regions(self) -> tuple[tuple[str, str], ...]:
        """(atlas, region name) pairs that a right answer names, without repeats."""
        if self.atlas is None:
            return ()
        names = dict.fromkeys(label for blob in self.blobs for label in blob.labels)
        return tuple((self.atlas, name) for name in names)


def both_sides(x: float, y: float, z: float, radius: float, *labels: str) -> tuple[Blob, Blob]:
    """One patch in each hemisphere, mirrored at the midline."""
    return Blob((-x, y, z), radius, labels), Blob((x, y, z), radius, labels)


# The left FFA and the VWFA lie so close in the literature that patches of 3 mm voxels would merge:
# the left FFA is moved forward and the VWFA outward, both within the spread of published peaks.
CONCEPTS = (
    Concept(
        FACES,
        ("a face", "a portrait of a man", "a girl's face", "a lady grinning", "a child's eyes"),
        "a smiling woman",
        (
            *both_sides(40, -78, -10, 6.2, "OFA"),
            Blob((40, -52, -18), 7.0, ("FFA-1", "FFA-2")),
            Blob((-38, -47, -20), 6.6, ("FFA-1", "FFA-2")),
        ),
        "floc-faces",
    ),
    Concept(
        BODIES,
        ("a body", "bare legs and arms", "a body in a pose", "a bare chest", "shoulders and knees"),
        "a human torso and limbs",
        both_sides(48, -70, 5, 7.5, "EBA"),
        "floc-bodies",
    ),
    Concept(
        PLACES,
        ("a place", "a city street with houses", "a valley between hills", "a town square"),
        "a landscape with buildings",
        (
            *both_sides(28, -48, -8, 6.2, "PPA"),
            *both_sides(32, -84, 22, 5.7, "OPA"),
            *both_sides(16, -56, 12, 5.7, "RSC"),
        ),
        "floc-places",
    ),
    Concept(
        WORDS,
        ("printed words", "a page of text", "a sign with a word on it", "a sentence"),
        "handwritten letters",
        (
            Blob((-46, -61, -12), 8.2, ("VWFA-1",)),
            Blob((-51, -47, -12), 6.2, ("VWFA-2",)),
        ),
        "floc-words",
    ),
    Concept(
        FOOD,
        ("food", "a plate of food", "something to eat", "a sandwich and a salad", "a cake"),
        "a delicious meal",
        both_sides(32, -64, -14, 7.4),
    ),
    Concept(
        ANIMALS,
        ("an animal", "a dog and a cat", "a horse and a cow", "an elephant and a giraffe"),
        "wild mammals",
        both_sides(58, -52, 4, 7.3),
    ),
    Concept(
        VEHICLES,
        ("a car", "a bus and a truck", "a train", "a motorcycle"),
        "vehicles in traffic",
        both_sides(26, -66, 30, 7.3),
    ),
    Concept(
        SPORT,
        ("a sport", "a baseball game", "a soccer match", "a tennis match", "a hockey game"),
        "athletes in a competition",
        both_sides(52, -48, 20, 7.3),
    ),
    Concept(
        FLOWERS,
        ("flowers", "a bouquet of flowers", "a rose", "tulips and daisies in a vase"),
        "blooming plants",
        both_sides(12, -64, -6, 7.3),
    ),
    Concept(
        SEA,
        ("the sea", "a beach with waves", "the shore", "a sailboat at sea"),
        "the ocean coast",
        both_sides(10, -74, 30, 7.3),
    ),
    Concept(
        ELECTRONICS,
        ("a computer", "a laptop with a keyboard", "a mobile phone", "a screen with cables"),
        "electronic gadgets",
        both_sides(44, -64, 28, 7.3),
    ),
    Concept(
        FURNITURE,
        ("furniture", "a sofa and a chair", "a bed and a wardrobe", "a wooden table"),
        "household furnishings",
        both_sides(54, -34, -10, 7.3),
    ),
    Concept(
        MUSIC,
        ("a guitar", "a piano and a violin", "a trumpet and a drum", "an instrument being played"),
        "an orchestra of musicians",
        both_sides(54, -34, 10, 7.3),
        participant=2,
    ),
)
"""The planted concepts.

Centres (MNI mm) follow published peaks where there are any: FFA (40, -52, -18) and OFA
(40, -78, -10) (Kanwisher et al. 1997; Gauthier et al. 2000), EBA (48, -70, 5) (Downing et al.
2001), PPA (28, -48, -8) (Epstein & Kanwisher 1998), OPA (32, -84, 22) (Dilks et al. 2013), RSC
(16, -56, 12) (Maguire 2001), VWFA (-44, -57, -14) (Cohen et al. 2000), food between FFA and PPA
(Jain et al. 2023; Khosla et al. 2022). All others are placed where no localiser region lies
and claim nothing about real brains.
"""

TOPICS = (*(concept.topic for concept in CONCEPTS), *FILLERS)
