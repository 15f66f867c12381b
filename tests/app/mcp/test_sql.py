import re

import pytest

from app.database.reader import READER
from tests.app.conftest import SharedCatalog
from tests.app.mcp.conftest import Ask, call, environment, fault, over_stdio, with_client
from tests.app.published import Published


def test_sql_is_read_as_the_reader(ask: Ask, published: Published) -> None:
    statement = "SELECT session_user, component_id FROM catalog.search_concepts('face', 2)"
    answer = ask("sql", statement=statement).structured_content
    assert [each["name"] for each in answer["columns"]] == ["session_user", "component_id"]
    assert answer["rows"][0] == [READER, published.components["face"]]
    assert (len(answer["rows"]), answer["truncated"]) == (2, False)


def test_every_view_and_function_that_the_description_names_is_there(
    url: str, ask_http: Ask
) -> None:
    tools = with_client(url, lambda client: client.list_tools()).tools
    (told,) = [tool.description for tool in tools if tool.name == "sql"]
    (views,) = re.findall(r"Views of the schema catalog: ([^.]+)\.", told)
    (functions,) = re.findall(r"Functions: (.+?)\.", " ".join(told.split()))
    names = "SELECT relname FROM pg_class WHERE relnamespace = 'catalog'::regnamespace"
    there = ask_http("sql", statement=f"{names} AND relkind = 'v'").structured_content
    assert sorted(re.split(r",\s+", views)) == sorted(row[0] for row in there["rows"])
    for view in re.split(r",\s+", views):
        assert not ask_http("sql", statement=f"TABLE catalog.{view}").is_error
    there = ask_http(
        "sql",
        statement="SELECT proname || '(' || array_to_string(proargnames[:pronargs], ', ') || ')'"
        " FROM pg_proc WHERE pronamespace = 'catalog'::regnamespace AND proretset"
        " AND has_function_privilege(oid, 'EXECUTE')",
    ).structured_content
    named = re.findall(r"\w+\([^)]*\)", functions)
    assert sorted(named) == sorted(row[0] for row in there["rows"])


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT 1; DROP TABLE catalog.dataset", "there are several statements (give one SELECT,"),
        ("COMMIT; DROP TABLE catalog.dataset", 'syntax error at or near "COMMIT"'),
        ("DELETE FROM catalog.dataset", 'syntax error at or near "DELETE"'),
        ("SELECT * FROM catalog.dataset", "permission denied for table dataset"),
        ("SELECT * FROM catalog.search_concepts('quasar', 5)", "sdc terms add"),
    ],
)
def test_what_is_refused_is_one_line(ask: Ask, statement: str, message: str) -> None:
    assert message in fault(ask("sql", statement=statement))


def test_settings_limit_rows_and_time(settings_of_shared: dict[str, str]) -> None:
    own = settings_of_shared | {"SDC_SQL_ROWS": "3", "SDC_STATEMENT_TIMEOUT_S": "0.5"}
    server = over_stdio(own)
    many = call(server, "sql", {"statement": "SELECT generate_series(1, 5)"}).structured_content
    assert (many["rows"], many["truncated"]) == ([[1], [2], [3]], True)
    slow = call(server, "sql", {"statement": "SELECT pg_sleep(30)"})
    assert fault(slow).startswith("the statement took too long and was stopped (ask for less: 0.5")


def test_a_server_whose_reader_is_not_told_says_what_to_set(shared_catalog: SharedCatalog) -> None:
    own = environment(shared_catalog.home, shared_catalog.url)
    del own["SDC_READER_URL"]
    server = over_stdio(own)
    assert "set SDC_READER_URL" in fault(call(server, "sql", {"statement": "SELECT 1"}))
    assert not call(server, "datasets", {}).is_error
