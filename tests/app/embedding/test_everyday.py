"""The list of everyday terms, and how it is made."""

import re
import unicodedata

from app.embedding.gather_everyday import LIST, REFUSED, gather_everyday
from app.embedding.vocabulary import load_everyday_terms, load_vocabulary


def test_it_holds_more_than_ten_thousand_distinct_plain_names() -> None:
    terms = load_everyday_terms()
    assert len(terms) >= 10_000
    assert len(set(terms)) == len(terms)
    assert [term for term in terms if term != term.strip() or term != term.lower()] == []
    assert [term for term in terms if any(unicodedata.category(c)[0] == "C" for c in term)] == []
    assert [term for term in terms if not re.fullmatch(r"[a-z]+([ '-][a-z]+)*", term)] == []


def test_it_covers_what_people_ask_for() -> None:
    assert {
        *("dog", "horse", "goldfish", "coffee cup", "teapot", "colander", "bicycle", "fire engine"),
        *("kitchen", "living room", "lighthouse", "suspension bridge", "sunflower", "oak"),
        *("pizza", "strawberry", "wedding", "baseball game", "nurse", "surgeon", "wineglass"),
        *("running shoe", "acoustic guitar", "school bus", "traffic light", "golden retriever"),
    } <= set(load_everyday_terms())


def test_it_holds_nothing_refused() -> None:
    assert {"shit", "nude", "pussy", "negro"} <= REFUSED
    words = {word for term in load_everyday_terms() for word in re.split("[ '-]", term)}
    assert words & REFUSED == set()
    assert {word for term in load_vocabulary() for word in term.split()} & REFUSED == set()


def test_the_commonest_come_first() -> None:
    place = {term: index for index, term in enumerate(load_everyday_terms())}
    assert place["dog"] < place["giraffe"] < place["trombone"] < place["colander"]


def test_a_name_is_as_rare_as_its_rarest_word() -> None:
    place = {term: index for index, term in enumerate(load_everyday_terms())}
    assert place["ice"] < place["ice floe"] == place["floe"] + 1


def test_animals_bring_one_name_and_things_all() -> None:
    terms = set(load_everyday_terms())
    assert {"dog", "sofa", "couch", "lounge"} <= terms
    assert {"domestic dog", "canis familiaris"} & terms == set()


def test_nobody_is_a_term_for_where_they_come_from() -> None:
    assert {"mexican", "ethiopian", "semite", "parisian"} & set(load_everyday_terms()) == set()


def test_the_packages_give_the_list_that_is_stored() -> None:
    assert LIST.read_text("utf-8").splitlines() == gather_everyday()


def test_its_licence_stands_beside_it() -> None:
    licence = LIST.with_name("everyday.LICENSE.txt").read_text("utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in licence


def test_the_documentation_tells_its_size() -> None:
    told = (LIST.parents[2] / "docs" / "method.md").read_text("utf-8")
    everyday, words = load_everyday_terms(), load_vocabulary()
    for size in (len(words), len(everyday), len({*words, *everyday})):
        assert f"{size:,}" in told


def test_each_call_gives_a_list_of_its_own() -> None:
    load_everyday_terms().clear()
    assert load_everyday_terms()
