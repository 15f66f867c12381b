"""What of a text an encoder reads: whether it knows the words, and how many of its tokens count.

An encoder makes a vector of any text. One of symbols that it has no token for is the same vector
whatever the symbols, a word that it knows the letters of alone says little, and what is beyond its
context is left out. None of that shows in a vector.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.errors import InputError

# Where a text goes in a template.
SLOT = "{}"
# Of a word: the text of each of its tokens, None of one that stands for whatever is not known.
WordTokens = Callable[[str], Sequence[str | None]]

_LETTERS = re.compile(r"\w+")
# More are counted.
MOST_NAMED = 5
_MOST_CHARACTERS = 40


@dataclass(frozen=True)
class TextReading:
    """What of a text an encoder reads.

    Attributes
    ----------
    tokens : int
        Of the whole text, with those that the encoder puts around every text.
    tokens_read : int
        Of these, those that its vector is made of: the first ones.
    unknown_words : tuple of str
        Words, in the text's order, with a part that the encoder has no token for.
    spelt_words : tuple of str
        Words that it knows by their single letters alone, or by bytes of these.
    says_nothing : bool
        No token of a word is known: every such text of as many tokens gets one vector.
    """

    tokens: int
    tokens_read: int
    unknown_words: tuple[str, ...] = ()
    spelt_words: tuple[str, ...] = ()
    says_nothing: bool = False


def read_words(
    text: str,
    template: str,
    *,
    count: Callable[[str], int],
    most_tokens: int | None,
    tokens_of: WordTokens,
) -> TextReading:
    """Tell what of a text in a template is read, by how its words are cut into tokens.

    Where an encoder cuts a word into known parts, as it does with rare words of its language and
    with most words of others that are written in the same letters, nothing is told.

    Parameters
    ----------
    text, template : str
        `says_nothing` and `spelt_words` are of the text alone.
    count : callable
        The tokens of a whole text, before it is cut, with those around every text.
    most_tokens : int, optional
        How many of them the encoder reads; None is all.
    tokens_of : callable
        A word's tokens, without those around every text.
    """
    unknown: list[str] = []
    spelt: list[str] = []
    any_token = any_known = False
    for word in dict.fromkeys(text.split()):
        found = tokens_of(word)
        any_token = any_token or bool(found)
        any_known = any_known or any(each and _has_letters(each) for each in found)
        if None in found:
            unknown.append(word)
        elif any(_is_spelt(part, tokens_of) for part in _LETTERS.findall(word)):
            spelt.append(word)
    letters = [each for each in text if each.isalnum()]
    if len(letters) == 1 and letters[0].isalpha() and not unknown:
        spelt = [text.strip()]
    around = [each for each in template.replace(SLOT, " ").split() if None in tokens_of(each)]
    tokens = count(template.replace(SLOT, text))
    return TextReading(
        tokens=tokens,
        tokens_read=tokens if most_tokens is None else min(tokens, most_tokens),
        unknown_words=tuple(dict.fromkeys([*unknown, *around])),
        spelt_words=tuple(spelt),
        says_nothing=not any_token or (bool(unknown) and not any_known),
    )


def require_words(encoder: str, text: str, reading: TextReading) -> None:
    """Refuse a text of which an encoder knows nothing.

    Raises
    ------
    InputError
        The reading says nothing.
    """
    if reading.says_nothing:
        raise InputError(
            f"the encoder {encoder} knows no word of {_quoted(text)}",
            hint="all such texts would get the same answer: ask in words, of the language that "
            "the encoder was trained on",
        )


def reading_warnings(text: str, reading: TextReading) -> list[str]:
    """What to mind of an answer to a text, a sentence each; none where all of it was read."""
    warnings = []
    if reading.unknown_words:
        warnings.append(
            f"the encoder knows no word of {_listed(reading.unknown_words)}: "
            "any others that it does not know would give the same answer"
        )
    if reading.spelt_words:
        warnings.append(
            f"the encoder reads {_listed(reading.spelt_words)} by letters alone, "
            "not as a word that it knows"
        )
    if reading.tokens_read < reading.tokens:
        warnings.append(
            f"only the first {reading.tokens_read} of {reading.tokens} tokens of {_quoted(text)} "
            "count, the encoder does not read the rest"
        )
    return warnings


def caption_warnings(
    keys: Sequence[str],
    captions: Sequence[Sequence[str]],
    read: Callable[[str], TextReading],
) -> list[str]:
    """What to mind of stimuli that are embedded by their captions, a sentence each.

    Parameters
    ----------
    keys : sequence of str
        Of n stimuli.
    captions : sequence of sequences of str
        Theirs.
    read : callable
        As `read_text` of an encoder.

    Raises
    ------
    InputError
        The encoder knows no word of any caption of a stimulus.
    """
    readings = {each: read(each) for each in dict.fromkeys(c for of in captions for c in of)}
    for key, of in zip(keys, captions, strict=True):
        if of and all(readings[each].says_nothing for each in of):
            raise InputError(
                f"the encoder knows no word of the captions of stimulus {key}: {_listed(of)}",
                hint="all such stimuli would get one vector: caption it in words, of the language "
                "that the encoder was trained on",
            )
    unknown = [each for each, reading in readings.items() if reading.unknown_words]
    cut = [each for each, reading in readings.items() if reading.tokens_read < reading.tokens]
    warnings = []
    if unknown:
        warnings.append(
            f"the encoder does not know all words of {len(unknown)} of {len(readings)} captions, "
            f"such as {_quoted(readings[unknown[0]].unknown_words[0])}"
        )
    if cut:
        warnings.append(
            f"the encoder does not read the end of {len(cut)} of {len(readings)} captions, "
            f"it reads {readings[cut[0]].tokens_read} tokens; one is {_quoted(cut[0])}"
        )
    return warnings


def _is_spelt(part: str, tokens_of: WordTokens) -> bool:
    """Whether a word of letters has a token, or more, for each."""
    if len(part) < 2 or not any(each.isalpha() for each in part):
        return False
    return len(tokens_of(part)) >= len(part)


def _has_letters(token: str) -> bool:
    return any(each.isalnum() for each in token)


def _listed(words: Sequence[str]) -> str:
    more = len(words) - MOST_NAMED
    named = ", ".join(_quoted(each) for each in words[:MOST_NAMED])
    return f"{named} and {more} more" if more > 0 else named


def _quoted(text: str) -> str:
    shown = text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"
    # What has no shape of its own, such as a zero-width space, is told by its number.
    return f'"{shown}"' if shown.isprintable() else ascii(shown)
