"""Makes the list of everyday terms, `everyday.txt`, from two installed packages.

Run as ``python -m app.embedding.gather_everyday``. The names are those that WordNet 3.0 gives to
the things which ImageNet has many pictures of, as timm lists them; how common a word is, open_clip
knows: the pairs of letters of CLIP's tokenizer stand in the order of how often they occur in texts.
`everyday.LICENSE.txt` holds the licences. The same versions give the same list.
"""

import gzip
import re
from importlib.util import find_spec
from pathlib import Path
from string import ascii_lowercase

LIST = Path(__file__).with_name("everyday.txt")

# Words come no rarer than "colander" and "trellis".
RAREST = 150_000

# WordNet numbers its synsets one lexicographer's file after another.
_ANIMALS = ("n01310000", "n02670000")
_PERSONS = ("n09600000", "n10900000")
_PLANTS = ("n11500000", "n13240000")

_NAME = re.compile(r"[a-z]+([ '-][a-z]+)*")
_BETWEEN_WORDS = re.compile(r"[ '-]")

# A name is left out where one of its words is here: obscene or demeaning, in whatever sense.
REFUSED = frozenset(LIST.with_name("everyday_refused.txt").read_text("utf-8").split())


def gather_everyday() -> list[str]:
    """Names of what can be pictured, the commonest first.

    Taken are the names of the 11,821 synsets of ImageNet-12k, which have 500 pictures and more.
    Of a person, the reviewed synsets of ImageNet's winter 2021 release alone (Yang et al. 2020,
    "Towards Fairer Datasets", FAT*, section 3) and their first name; of animals and plants the
    first name, since the others are a region's or Latin; of all else every name. A name with a
    capital letter is taken where it comes first. Left out are names with a word in `REFUSED`, and
    those with a word that is rarer than the first `RAREST` of CLIP's.

    Returns
    -------
    list of str
        Distinct, lower case; ordered by their rarest word, then by length.
    """
    lists = _folder_of("timm") / "data" / "_info"
    pictured = set((lists / "imagenet12k_synsets.txt").read_text("utf-8").split())
    reviewed = set((lists / "imagenet21k_miil_w21_synsets.txt").read_text("utf-8").split())
    commonness = _word_ranks()
    ranks: dict[str, int] = {}
    for line in (lists / "imagenet_synset_to_lemma.txt").read_text("utf-8").splitlines():
        synset, _, names = line.partition("\t")
        person = _within(synset, _PERSONS)
        if synset not in pictured or (person and synset not in reviewed):
            continue
        one = person or _within(synset, _ANIMALS) or _within(synset, _PLANTS)
        for place, name in enumerate(names.split(", ")):
            if place and (one or name != name.lower()):
                continue
            term = name.lower()
            words = set(_BETWEEN_WORDS.split(term))
            rank = max(commonness.get(word, RAREST) for word in words)
            if _NAME.fullmatch(term) and rank < RAREST and not words & REFUSED:
                ranks[term] = rank
    return sorted(ranks, key=lambda term: (ranks[term], len(term), term))


def _word_ranks() -> dict[str, int]:
    """Place of each whole word among the merges of CLIP's tokenizer."""
    merges = gzip.decompress(
        (_folder_of("open_clip") / "bpe_simple_vocab_16e6.txt.gz").read_bytes()
    )
    ranks = dict.fromkeys(ascii_lowercase, 0)
    for rank, line in enumerate(merges.decode("utf-8").splitlines()[1:]):
        word, end, _ = line.replace(" ", "").partition("</w>")
        if end:
            ranks.setdefault(word, rank)
    return ranks


def _folder_of(package: str) -> Path:
    """Where a package is installed; importing these would take seconds."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"error: {package} is not installed: pip install '.[dev]'")
    return Path(spec.submodule_search_locations[0])


def _within(synset: str, bounds: tuple[str, str]) -> bool:
    first, last = bounds
    return first <= synset < last


def main() -> None:
    """Write the list anew."""
    LIST.write_text("".join(f"{term}\n" for term in gather_everyday()), encoding="utf-8")


if __name__ == "__main__":
    main()
