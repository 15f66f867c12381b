from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from app.database.reader import READER, SqlColumn, read_sql, reader_url
from app.errors import CatalogError, InputError, UnavailableError
from app.settings import get_settings
from tests.app.conftest import Counts
from tests.app.published import Published
from tests.conftest import forget_settings

Set = Callable[..., None]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Sets environment variables of settings, and has them read."""

    def change(**variables: Any) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"SDC_{name.upper()}", str(value))
        get_settings.cache_clear()

    return change


@pytest.fixture
def reader(published: Published, settings: Set) -> Published:
    """The shared catalog, whose reader can log in."""
    url = get_settings().database_url
    assert url is not None
    settings(reader_url=_with_user(url.get_secret_value(), READER))
    return published


def test_rows_columns_and_who_asks(reader: Published) -> None:
    answer = read_sql("SELECT session_user AS who, current_user::text, 1 AS one;", rows=5)
    assert answer.columns == [
        SqlColumn(name="who", type="name"),
        SqlColumn(name="current_user", type="text"),
        SqlColumn(name="one", type="int4"),
    ]
    assert (answer.rows, answer.truncated) == ([[READER, READER, 1]], False)


def test_views_and_functions_are_read(reader: Published) -> None:
    found = read_sql("SELECT component_id FROM catalog.search_concepts('face', 1)", rows=5)
    assert found.rows == [[reader.components["face"]]]
    found = read_sql("TABLE catalog.runs -- the newest", rows=5)
    assert [row[0] for row in found.rows] == [reader.run]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'[0.1,2]'::vector", [0.1, 2]),
        ("'[0.5,-2]'::halfvec", [0.5, -2]),
        ("ARRAY['[1,2]'::vector]", [[1, 2]]),
        ("ARRAY[[1, 2], [3, NULL]]", [[1, 2], [3, None]]),
        ("'2026-01-02'::date", "2026-01-02"),
        ("'infinity'::timestamptz", "infinity"),
        ("'2026-01-02 03:04'::timestamp", "2026-01-02 03:04:00"),
        ("ARRAY['2026-01-02'::date]", ["2026-01-02"]),
        ("'1 month'::interval", "1 mon"),
        ("1.5::numeric", 1.5),
        ("'NaN'::float8", "NaN"),
        ("'-Infinity'::numeric", "-Infinity"),
        ("true", True),
        ("NULL", None),
        ("'{\"a\": [1, null]}'::jsonb", {"a": [1, None]}),
        ("'\\x00ff'::bytea", "\\x00ff"),
        ("int4range(1, 3)", "[1, 3)"),
        ("ROW(1, 'a')", ["1", "a"]),
        ("100 % 7", 2),
    ],
)
def test_values_are_json(reader: Published, expression: str, value: object) -> None:
    answer = read_sql(f"SELECT {expression}", rows=1)
    assert answer.rows == [[value]]
    assert answer.model_validate_json(answer.model_dump_json()) == answer


@pytest.mark.parametrize(("there", "truncated"), [(2, False), (3, False), (4, True)])
def test_more_rows_are_cut_off_and_told(reader: Published, there: int, truncated: bool) -> None:
    answer = read_sql(f"SELECT generate_series(1, {there})", rows=3)
    assert answer.rows == [[number] for number in range(1, min(there, 3) + 1)]
    assert answer.truncated is truncated


def test_a_huge_result_is_not_computed_to_its_end(reader: Published, settings: Set) -> None:
    settings(statement_timeout_s=5)
    huge = "SELECT repeat('x', n) FROM (SELECT generate_series(1, 1000000000) AS n) AS numbers"
    answer = read_sql(huge, rows=10)
    assert (len(answer.rows), answer.truncated) == (10, True)


def test_a_huge_row_is_not_told(reader: Published) -> None:
    wide = (
        "SELECT repeat('x', CASE WHEN n = 1 THEN 1 ELSE 5000000 END) FROM generate_series({}, 9) n"
    )
    answer = read_sql(wide.format(1), rows=5)
    assert (answer.rows, answer.truncated) == ([["x"]], True)
    assert str(_refusal(wide.format(2))) == (
        "the first row has 5,000,004 bytes (read less of it: 4,000,000 are the most)"
    )


FORMS = "(give one SELECT, WITH, VALUES or TABLE)"
SEVERAL = f"there are several statements {FORMS}"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (" ", f"the statement is empty {FORMS}"),
        ("SELECT '\0'", "the statement is not valid text (use UTF-8 without NUL)"),
        ("SELECT '\ud800'", "the statement is not valid text (use UTF-8 without NUL)"),
        ("SELECT 1; DROP TABLE catalog.dataset", SEVERAL),
        ("SELECT 1; SELECT 2", SEVERAL),
        ("SELECT 1; COMMIT; DROP TABLE catalog.dataset", SEVERAL),
        ("COMMIT; DROP TABLE catalog.dataset", f'syntax error at or near "COMMIT" {FORMS}'),
        ("SET ROLE postgres", f'syntax error at or near "SET" {FORMS}'),
        ("SET statement_timeout = 0; SELECT 1", f'syntax error at or near "SET" {FORMS}'),
        ("DROP TABLE catalog.dataset", f'syntax error at or near "DROP" {FORMS}'),
        ("DELETE FROM catalog.runs", f'syntax error at or near "DELETE" {FORMS}'),
        ("COPY catalog.runs TO STDOUT", f'syntax error at or near "COPY" {FORMS}'),
        ("SELECT 1 INTO catalog.mine", "the statement cannot be run: "),
        (
            "WITH gone AS (DELETE FROM catalog.dataset RETURNING *) SELECT * FROM gone",
            "the statement cannot be run: ",
        ),
        ("SELECT * FROM catalog.runs FOR UPDATE", "the statement cannot be run: "),
        (
            "SELECT * FROM catalog.dataset",
            "permission denied for table dataset (the catalog's views and search functions",
        ),
        ("SELECT pg_read_file('/etc/passwd')", "permission denied for function pg_read_file ("),
        ("SELECT set_config('role', 'postgres', false)", "permission denied to set role"),
        (
            "SELECT set_config('transaction_read_only', 'off', true)",
            "transaction read-write mode must be set before any query",
        ),
        ("SELECT lo_create(0)", "the statement cannot be run: "),
        ("SELECT nothing FROM catalog.runs", 'column "nothing" does not exist (mend the stat'),
        ("SELECT 1/0", "the statement cannot be run: division by zero (mend the statement)"),
        ("SELECT * FROM catalog.search_concepts('quasar', 5)", "sdc terms add"),
        ("SELECT $1", "requires 1 (write values into the statement)"),
    ],
)
def test_what_is_refused(
    reader: Published, count_rows: Callable[[], Counts], statement: str, message: str
) -> None:
    before = count_rows()
    told = _refusal(statement)
    assert isinstance(told, InputError)
    assert message in str(told)
    assert "\n" not in str(told)
    assert count_rows() == before


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_sleep(30)",
        "SELECT set_config('statement_timeout', '0', false), pg_sleep(30)",
        "SELECT set_config('statement_timeout', '0', false), pg_sleep(n * 15 - 15)"
        " FROM generate_series(1, 3) n",
        "SELECT pg_sleep(0.2) FROM generate_series(1, 4)",
    ],
)
def test_a_statement_is_stopped_in_time(reader: Published, settings: Set, statement: str) -> None:
    settings(statement_timeout_s=0.3)
    told = _refusal(statement)
    assert isinstance(told, UnavailableError)
    assert str(told).startswith("the statement took too long and was stopped (ask for less: 0.3 s")


def test_the_roles_own_limit_holds_where_it_is_lower(reader: Published, settings: Set) -> None:
    limit = "SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'"
    settings(statement_timeout_s=3600)
    (own,) = read_sql(limit, rows=1).rows
    settings(statement_timeout_s=0.7)
    assert 0 < read_sql(limit, rows=1).rows[0][0] <= 700
    assert 25_000 < own[0] <= 30_000


def test_one_statement_leaves_nothing_to_the_next(reader: Published) -> None:
    read_sql("SELECT set_config('search_path', 'pg_temp', false)", rows=1)
    assert read_sql("SELECT current_setting('search_path')", rows=1).rows != [["pg_temp"]]


def test_another_server_needs_to_be_told_how_the_reader_logs_in(published: Published) -> None:
    told = _refusal("SELECT 1")
    assert isinstance(told, UnavailableError)
    assert str(told) == (
        "nothing tells how catalog_reader logs in to the server of SDC_DATABASE_URL (set"
        " SDC_READER_URL, such as postgresql://catalog_reader:PASSWORD@host:5432/database)"
    )


def test_the_embedded_server_knows_its_reader(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = get_settings().database_url
    assert url is not None
    monkeypatch.delenv("SDC_DATABASE_URL")
    monkeypatch.setattr("app.database.embedded.start_server", lambda home: url.get_secret_value())
    forget_settings()
    assert make_url(reader_url(get_settings())).username == READER
    assert read_sql("SELECT session_user", rows=1).rows == [[READER]]


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (None, "SDC_READER_URL logs in as postgres, who may write the catalog"),
        ("nobody_at_all", 'role "nobody_at_all" does not exist (`sdc db upgrade` makes'),
    ],
)
def test_who_else_may_not_log_in(
    reader: Published, settings: Set, user: str | None, message: str
) -> None:
    url = get_settings().database_url
    assert url is not None
    plain = url.get_secret_value()
    settings(reader_url=_with_user(plain, user) if user else plain)
    told = _refusal("SELECT 1")
    assert isinstance(told, UnavailableError)
    assert message in str(told)


def test_a_member_of_the_readers_role_reads_in_a_read_only_transaction(
    reader: Published, settings: Set
) -> None:
    url = get_settings().database_url
    assert url is not None
    name = f"analyst_{uuid4().hex[:12]}"
    with psycopg.connect(url.get_secret_value(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE {READER}")
        settings(reader_url=_with_user(url.get_secret_value(), name))
        asked = "SELECT session_user, current_setting('transaction_read_only') FROM catalog.runs"
        assert read_sql(asked, rows=1).rows == [[name, "on"]]
        told = _refusal("SELECT set_config('transaction_read_only', 'off', true)")
        assert "must be set before any query" in str(told)
        connection.execute(f"DROP ROLE {name}")


def test_an_unreachable_server_keeps_its_password(published: Published, settings: Set) -> None:
    settings(reader_url="postgresql://who:secret@127.0.0.1:1/nowhere")
    told = _refusal("SELECT 1")
    assert isinstance(told, UnavailableError)
    assert "127.0.0.1/nowhere cannot be reached as who" in str(told)
    assert "secret" not in str(told)
    settings(reader_url="mysql://who:secret@127.0.0.1/nowhere")
    told = _refusal("SELECT 1")
    assert isinstance(told, InputError)
    assert str(told).startswith("SDC_READER_URL is no PostgreSQL URL")


def test_a_lost_connection_is_told(reader: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: object) -> None:
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr("app.database.reader._read", lose)
    told = _refusal("SELECT 1")
    assert isinstance(told, UnavailableError)
    assert str(told) == "the database server: the connection is lost (run `sdc doctor`)"


def _refusal(statement: str) -> CatalogError:
    with pytest.raises(CatalogError) as refused:
        read_sql(statement, rows=5)
    return refused.value


def _with_user(url: str, user: str) -> str:
    return make_url(url).set(username=user).render_as_string(hide_password=False)
