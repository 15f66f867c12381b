"""What becomes of passwords that earlier versions stored in addresses of sources."""

import pytest
from sqlalchemy import Engine, text

from app.database.engine import make_engine
from app.database.migrate import downgrade, upgrade
from app.urls import require_no_login

BEFORE, AFTER = "0027", "0028"
PASSWORD = "hunter2"  # noqa: S105
URL = f"https://me:{PASSWORD}@data.example/faces?at=a@b"
CHAIN = f"simplecache::s3://{PASSWORD}@bucket/faces"
BARE, BARE_CHAIN = "https://data.example/faces?at=a@b", "simplecache::s3://bucket/faces"
UNTOUCHED = "/data/who@where/faces://"

ROWS = f"""
INSERT INTO catalog.dataset
    (id, slug, title, layout, source_uri, licence, citation, fingerprint, configuration)
VALUES (1, 'd', 'mail me@lab.org', '', '{URL}', '', '', '', '{{"source": {{"at": "{CHAIN}"}}}}'),
       (2, 'e', '', '', '{UNTOUCHED}', '', '', '', '{{"mail": "me@lab.org"}}');
INSERT INTO catalog.ingestion (dataset_id, source_uri, fingerprint, report, started_at)
VALUES (1, '{CHAIN}', '', '{{}}', now());
INSERT INTO catalog.ingestion_schedule
    (source, options, replace, then_run, run_options, actor, confined, every_s, timezone)
VALUES ('{URL}', '{{}}', false, false, '{{}}', 'a', false, 60, 'UTC');
INSERT INTO catalog.ingestion_trigger
    (source, options, replace, then_run, run_options, actor, confined, kind, settle_s)
VALUES ('{URL}', '{{}}', false, false, '{{}}', 'a', false, 'webhook', 1);
INSERT INTO catalog.ingestion_request
    (id, source, options, replace, then_run, run_options, actor, confined, trigger, error)
OVERRIDING SYSTEM VALUE
VALUES (1, '{URL}', '{{"captions": "{URL}", "mail": "me@lab.org"}}', false, false, '{{}}', 'a',
        false, 'manual', 'no {URL} here, nor {CHAIN}');
INSERT INTO catalog.ingestion_log (request_id, attempt, level, message)
VALUES (1, 1, 'ERROR', 'reading {URL}');
INSERT INTO catalog.audit (actor, action, subject, detail)
VALUES ('me@lab.org', 'ask', '1', '{{"source": "{URL}"}}');
"""  # noqa: S608


@pytest.fixture
def engine(empty_database: str) -> Engine:
    return make_engine(empty_database)


def every_value(engine: Engine) -> str:
    with engine.connect() as connection:
        tables = connection.scalars(
            text(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'catalog'"
                " AND table_type = 'BASE TABLE'"
            )
        ).all()
        return "\n".join(
            str(row)
            for table in tables
            for row in connection.execute(text(f"SELECT * FROM catalog.{table}")).all()  # noqa: S608
        )


def test_they_are_taken_out_and_nothing_else_is(engine: Engine) -> None:
    upgrade(engine, BEFORE)
    with engine.begin() as connection:
        connection.exec_driver_sql(ROWS.replace("%", "%%"))
    assert every_value(engine).count(PASSWORD) == 11
    upgrade(engine, AFTER)
    told = every_value(engine)
    assert PASSWORD not in told
    require_no_login(told)
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT source_uri, configuration, title FROM catalog.dataset ORDER BY id")
        ).all()
        assert [tuple(row) for row in rows] == [
            (BARE, {"source": {"at": BARE_CHAIN}}, "mail me@lab.org"),
            (UNTOUCHED, {"mail": "me@lab.org"}, ""),
        ]
        request = connection.execute(
            text("SELECT source, options, error FROM catalog.ingestion_request")
        ).one()
        options = {"captions": BARE, "mail": "me@lab.org"}
        assert tuple(request) == (BARE, options, f"no {BARE} here, nor {BARE_CHAIN}")
        assert connection.scalar(text("SELECT actor FROM catalog.audit")) == "me@lab.org"
    downgrade(engine, BEFORE)
    upgrade(engine)
    assert every_value(engine) == told
    engine.dispose()
