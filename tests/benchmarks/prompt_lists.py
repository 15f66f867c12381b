"""Prompts that the demo's concepts should answer to, and prompts that none of them should.

The development lists are what the rule of `app.search.best_match` was chosen on. The final lists
were written when it stood, before it was tried on any of them: no setting may be chosen on them.
"""

DEVELOPMENT_PARAPHRASES = {
    "faces": (
        "a smiling woman",
        "someone's facial expression",
        "a close-up of an old man",
        "a baby's face",
        "a selfie",
    ),
    "bodies": (
        "a human torso and limbs",
        "naked legs",
        "a muscular body",
        "a ballerina stretching",
        "bare feet",
    ),
    "places": (
        "a landscape with buildings",
        "an old town",
        "houses along a road",
        "a mountain village",
        "a cathedral square",
    ),
    "words": (
        "handwritten letters",
        "written language",
        "a printed page",
        "some text in a book",
        "a word on a signboard",
    ),
    "food": (
        "a delicious meal",
        "something tasty for dinner",
        "fast food",
        "baked dessert",
        "a dish with meat and vegetables",
    ),
    "animals": (
        "wild mammals",
        "a pet dog",
        "farm animals",
        "a creature with fur",
        "zoo animals",
    ),
    "vehicles": (
        "vehicles in traffic",
        "an automobile",
        "public transport",
        "a lorry on the road",
        "cars on a highway",
    ),
    "sport": (
        "athletes in a competition",
        "a ball game",
        "players on a field",
        "a championship game",
        "a team sport",
    ),
    "flowers": (
        "blooming plants",
        "garden blossoms",
        "a bunch of roses",
        "spring petals",
        "a florist's bouquet",
    ),
    "sea": (
        "the ocean coast",
        "waves on the shore",
        "a seaside view",
        "surf at the beach",
        "salt water and sand",
    ),
    "electronics": (
        "electronic gadgets",
        "a computing device",
        "a personal computer on a desk",
        "consumer electronics",
        "a smartphone screen",
    ),
    "furniture": (
        "household furnishings",
        "a couch in the living room",
        "a place to sit",
        "a wooden cupboard",
        "bedroom furniture",
    ),
}
# Strings that mean nothing, then words for what no concept of the demo is about.
DEVELOPMENT_UNRELATED = (
    *("asdfghjkl", "xqzt", "q", "zzzzzz", "blorf", "lkjhgf dsa", "fnord grumple", "1234567"),
    *("vvvvv kkkk", "trxmpl", "e", "%%%%", "oiuytrewq", "glabberwok zint", "aaaaaaaa", "nmnmnm"),
    *("plugh xyzzy", "jj", "hgfdsa poiuy", "wexolp"),
    *("quantum physics", "tax law", "justice", "inflation", "a mathematical theorem", "democracy"),
    *("jealousy", "the French Revolution", "photosynthesis", "a bank loan", "gravity"),
    *("a court ruling", "philosophy of mind", "insomnia", "monday", "a hammer"),
    *("a kidney transplant", "string theory", "statistics", "nostalgia", "a divorce"),
    *("electricity bill", "algebra", "an earthquake", "vaccination", "patience", "probability"),
    *("a parliament vote", "toothache", "chemistry"),
)

FINAL_PARAPHRASES = {
    "faces": (
        "a man with a beard",
        "grinning teenagers",
        "portrait photograph of a child",
        "a pair of eyes and a nose",
    ),
    "bodies": (
        "arms and shoulders",
        "a person's back and hips",
        "someone's skin and belly",
        "a gymnast's physique",
    ),
    "places": (
        "a quiet street in the city",
        "stone walls and towers",
        "a view over rooftops",
        "a castle in a valley",
        "an empty alley",
    ),
    "words": ("a note in ink", "newspaper print", "a sentence in a notebook", "the alphabet"),
    "food": ("breakfast", "lunch on a plate", "a bowl of noodles", "pastries and sweets"),
    "animals": (
        "a kitten",
        "livestock grazing",
        "a lion or a tiger",
        "four-legged beasts",
        "a herd of antelopes",
    ),
    "vehicles": (
        "a delivery van",
        "a motorbike",
        "a rush-hour bus",
        "a train with passengers",
    ),
    "sport": (
        "a basketball match",
        "scoring a goal",
        "a referee's whistle",
        "a tennis tournament",
    ),
    "flowers": ("a daisy", "tulips", "a floral arrangement", "an orchid in a pot"),
    "sea": ("the Atlantic", "a rocky bay", "low tide", "boats near a cliff"),
    "electronics": (
        "a laptop",
        "a digital camera",
        "a television set",
        "a keyboard and a mouse",
    ),
    "furniture": ("an armchair", "a dining table", "a chest of drawers", "a comfortable sofa"),
}
FINAL_UNRELATED = (
    *("qwertz", "mxyzptlk", "b", "ooooo", "snorgle", "fghjk rtyu", "drindle vasp", "90210 77"),
    *("wwww", "krblpt", "z", "????", "zxcvbnm", "flimmer quorz", "hhhhhhhh", "pqpqpq"),
    *("yabba frobnitz", "uu", "tgbnhy ujm", "zolvex"),
    *("thermodynamics", "copyright", "honesty", "unemployment", "a differential equation"),
    *("monarchy", "guilt", "the Roman Empire", "evolution", "mortgage interest", "magnetism"),
    *("a prison sentence", "ethics", "migraine", "Tuesday afternoon", "a screwdriver"),
    *("heart surgery", "relativity", "a correlation coefficient", "homesickness"),
    *("an inheritance", "a gas bill", "geometry", "a hurricane", "an antibiotic", "ambition"),
    *("randomness", "an election campaign", "asthma", "a molecule"),
)
