"""The words that concepts are labelled with where a lab brings none of its own."""

from importlib.resources import files


def load_vocabulary() -> list[str]:
    """Read the built-in vocabulary.

    Returns
    -------
    list of str
        About 1,200 everyday English nouns and short noun phrases for what photographs show, of
        all kinds alike (people, animals, food, places, vehicles, tools, weather, events …), so
        that no kind of label is likelier for being listed more. Sorted, distinct, lower case.
    """
    return files("app.embedding").joinpath("vocabulary.txt").read_text("utf-8").splitlines()
