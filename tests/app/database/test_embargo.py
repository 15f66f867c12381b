"""An embargoed dataset shows nowhere but to the members of the role that owns the tables."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from tests.app.database.conftest import (
    FOREIGN,
    HIDDEN,
    OPEN,
    READER,
    UNHEARD,
    Embargoed,
    login,
)

VIEWS = (
    *("concept_regions", "concept_subjects", "concept_voxels", "concepts"),
    *("run_subjects", "run_verdicts"),
    *("runs", "subjects", "voxels", "concept_maps"),
)
SEARCHES = ("search_concepts", "search_regions", "search_voxels")
ALL = {OPEN, HIDDEN, FOREIGN}


def datasets(connection: psycopg.Connection, source: str) -> set[str]:
    query = f"SELECT DISTINCT dataset FROM catalog.{source}"  # noqa: S608
    return {name for (name,) in connection.execute(query)}


@pytest.fixture
def analyst(embargoed: Embargoed) -> Iterator[psycopg.Connection]:
    """A user of a lab: may read the catalog, and has a schema of its own."""
    with psycopg.connect(embargoed.owner, autocommit=True) as owner:
        owner.execute(
            "CREATE ROLE analyst LOGIN; GRANT catalog_reader TO analyst;"
            "CREATE SCHEMA AUTHORIZATION analyst"
        )
        with psycopg.connect(login(embargoed.owner, "analyst"), autocommit=True) as connection:
            yield connection
        owner.execute("DROP OWNED BY analyst; DROP ROLE analyst")


@pytest.fixture
def colleague(embargoed: Embargoed) -> Iterator[psycopg.Connection]:
    """A member of the role that owns the tables, and no superuser."""
    with psycopg.connect(embargoed.owner, autocommit=True) as owner:
        owner.execute("CREATE ROLE colleague LOGIN; GRANT postgres TO colleague")
        url = login(embargoed.owner, "colleague")
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection
        owner.execute("DROP ROLE colleague")


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_shows_it(reader: psycopg.Connection, owner: psycopg.Connection, view: str) -> None:
    assert datasets(reader, view) == {OPEN}
    assert datasets(owner, view) == ALL
    query = f"SELECT count(*) FROM catalog.{view}"  # noqa: S608
    told = owner.execute(f"{query} WHERE dataset = %s", [OPEN]).fetchone()
    assert reader.execute(query).fetchone() == told


@pytest.mark.parametrize("function", SEARCHES)
@pytest.mark.parametrize("word", ["face", "a street"])
def test_no_search_finds_it(
    reader: psycopg.Connection, owner: psycopg.Connection, function: str, word: str
) -> None:
    assert datasets(reader, f"{function}('{word}', 1000)") == {OPEN}
    for slug in ALL:
        assert datasets(owner, f"{function}('{word}', 1000, '{slug}')") == {slug}


@pytest.mark.parametrize("function", SEARCHES)
def test_it_cannot_be_named(
    reader: psycopg.Connection, owner: psycopg.Connection, function: str
) -> None:
    """Nor does the choice among encoders that the owner has to make tell a reader of it."""
    told = []
    for slug in (HIDDEN, FOREIGN, "lab-nowhere"):
        with pytest.raises(errors.NoDataFound, match="has a published run") as caught:
            reader.execute(f"SELECT * FROM {function}('face', 5, %s)", [slug])  # noqa: S608
        told.append(str(caught.value).replace(slug, "..."))
    assert len(set(told)) == 1
    with pytest.raises(errors.AmbiguousParameter, match="several encoders can answer") as refused:
        owner.execute(f"SELECT * FROM catalog.{function}('face', 5)")  # noqa: S608
    hint = f"name one as the third argument: {', '.join(sorted(ALL))}"
    assert refused.value.diag.message_hint == hint


@pytest.mark.parametrize("function", SEARCHES)
def test_it_takes_no_place_among_the_first(reader: psycopg.Connection, function: str) -> None:
    (number,) = reader.execute(f"SELECT count(*) FROM {function}('face', 5)").fetchone()  # noqa: S608
    assert number == 5


@pytest.mark.parametrize("which", ["hidden", "foreign"])
def test_its_components_have_no_terms(
    reader: psycopg.Connection, owner: psycopg.Connection, embargoed: Embargoed, which: str
) -> None:
    query = "SELECT * FROM catalog.nearest_terms(%s)"
    for component in getattr(embargoed, which).components.values():
        assert reader.execute(query, [component]).fetchall() == []
        assert len(owner.execute(query, [component]).fetchall()) == 10
    assert reader.execute(query, [0]).fetchall() == []


@pytest.mark.parametrize("function", SEARCHES)
def test_a_prompt_of_its_encoder_alone_is_unknown(
    reader: psycopg.Connection, owner: psycopg.Connection, function: str
) -> None:
    told = []
    for prompt in (UNHEARD, "a prompt of no space"):
        with pytest.raises(errors.NoDataFound) as caught:
            reader.execute(f"SELECT * FROM {function}(%s)", [prompt])  # noqa: S608
        error = caught.value.diag
        fields = (error.message_primary, error.message_detail, error.message_hint, error.context)
        told.append([field and field.replace(prompt, "...") for field in fields])
    assert told[0] == told[1]
    assert told[0][:3] == [
        'the prompt "..." has no vector yet',
        None,
        "run: sdc terms add '...'",
    ]
    source = f"{function}('{UNHEARD}', 1000, '{FOREIGN}')"
    assert datasets(owner, source) == {FOREIGN}


@pytest.mark.parametrize("view", VIEWS)
def test_no_error_of_a_condition_tells_of_it(reader: psycopg.Connection, view: str) -> None:
    # Fails on any row of another dataset, and is cheaper than the guard.
    condition = (
        f"CASE dataset WHEN '{OPEN}' THEN true ELSE 1 / (length(dataset) - length(dataset)) = 0 END"
    )
    rows = reader.execute(f"SELECT * FROM catalog.{view} WHERE {condition}").fetchall()  # noqa: S608
    assert rows


@pytest.mark.parametrize("view", [view for view in VIEWS if view.startswith("concept")])
def test_no_error_of_a_condition_tells_of_its_components(
    reader: psycopg.Connection, embargoed: Embargoed, view: str
) -> None:
    known = list(embargoed.open.components.values())
    condition = (
        "CASE WHEN component_id = ANY (%s) THEN true"
        " ELSE 1 / (length(label) - length(label)) = 0 END"
    )
    query = f"SELECT * FROM catalog.{view} WHERE {condition}"  # noqa: S608
    assert reader.execute(query, [known]).fetchall()


def test_a_reader_by_membership_sees_no_more(analyst: psycopg.Connection) -> None:
    assert datasets(analyst, "concepts") == {OPEN}
    assert datasets(analyst, "search_concepts('face', 1000)") == {OPEN}
    with pytest.raises(errors.InsufficientPrivilege):
        analyst.execute("SELECT FROM catalog.dataset")


def test_functions_of_that_name_elsewhere_are_not_asked(analyst: psycopg.Connection) -> None:
    analyst.execute(
        "CREATE FUNCTION analyst.pg_has_role(name, oid, text) RETURNS boolean"
        " LANGUAGE sql RETURN true;"
        "CREATE FUNCTION analyst.may_read(boolean) RETURNS boolean LANGUAGE sql RETURN true;"
        "CREATE FUNCTION analyst.btrim(text) RETURNS text LANGUAGE sql RETURN 1 / 0;"
        "SET search_path = analyst, pg_catalog, public"
    )
    assert datasets(analyst, "concepts") == {OPEN}
    assert datasets(analyst, "search_concepts('face', 1000)") == {OPEN}


def test_members_of_the_owner_see_it(colleague: psycopg.Connection) -> None:
    assert datasets(colleague, "concepts") == ALL
    for slug in ALL:
        assert datasets(colleague, f"search_voxels('face', 1000, '{slug}')") == {slug}


def test_a_superuser_that_reads_as_the_reader_sees_what_the_reader_sees(
    owner: psycopg.Connection,
) -> None:
    owner.execute(f"SET SESSION AUTHORIZATION {READER}")
    assert datasets(owner, "concepts") == {OPEN}


def test_an_embargo_that_ends_shows_everything(embargoed: Embargoed) -> None:
    with (
        psycopg.connect(embargoed.owner) as owner,
        owner.transaction(force_rollback=True),
    ):
        owner.execute("UPDATE catalog.dataset SET embargoed = false WHERE slug = %s", [HIDDEN])
        owner.execute(f"SET SESSION AUTHORIZATION {READER}")
        assert datasets(owner, "concepts") == {OPEN, HIDDEN}
        assert datasets(owner, "search_concepts('face', 1000)") == {OPEN, HIDDEN}
