"""The functions of prompts that miss come and go."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.database.engine import make_engine
from app.database.migrate import downgrade, upgrade

BEFORE, AFTER = "0023", "0024"
FUNCTIONS = """
SELECT oid::regprocedure::text AS name, pg_get_functiondef(oid) AS body, proacl::text AS rights,
       obj_description(oid, 'pg_proc') AS comment
FROM pg_proc WHERE pronamespace = 'catalog'::regnamespace ORDER BY 1
"""


@pytest.fixture
def catalog_engine(empty_database: str) -> Iterator[Engine]:
    engine = make_engine(empty_database)
    yield engine
    engine.dispose()


def functions(engine: Engine) -> dict[str, tuple[str, str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(text(FUNCTIONS)).all()
    return {row.name: (" ".join(row.body.split()), row.rights, row.comment) for row in rows}


def test_searches_come_and_go(catalog_engine: Engine) -> None:
    upgrade(catalog_engine, BEFORE)
    before = functions(catalog_engine)
    upgrade(catalog_engine, AFTER)
    after = functions(catalog_engine)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {
        "catalog.match_prompt(text,text)",
        "catalog.search_regions(text,integer,text)",
        "catalog.search_regions(text,integer)",
    }
    # Who may call them is who might before; the new one is called as they are.
    rights = {name: told[1] for name, told in after.items()}
    assert (
        rights["catalog.match_prompt(text,text)"] == rights["catalog.search_regions(text,integer)"]
    )
    downgrade(catalog_engine, BEFORE)
    assert functions(catalog_engine) == before
