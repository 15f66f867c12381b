"""The words that the catalog knows where a lab brings none of its own."""

from importlib.resources import files


def load_vocabulary() -> list[str]:
    """Read the words that concepts are labelled with.

    Returns
    -------
    list of str
        About 1,200 everyday English nouns and short noun phrases for what photographs show, of
        all kinds alike (people, animals, food, places, vehicles, tools, weather, events …), so
        that no kind of label is likelier for being listed more. Sorted, distinct, lower case.
    """
    return files("app.embedding").joinpath("vocabulary.txt").read_text("utf-8").splitlines()


def load_everyday_terms() -> list[str]:
    """Read the large list, which `sdc terms build` adds.

    Returns
    -------
    list of str
        More than 10,000 English names of what can be pictured, the commonest first. Distinct, lower
        case. `app.embedding.gather_everyday` made it and tells the rule; tools, animals and plants
        are many in it, which is why no label is chosen from it.
    """
    return files("app.embedding").joinpath("everyday.txt").read_text("utf-8").splitlines()
