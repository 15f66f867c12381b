"""What prompts are read as comes into a catalog that has prompts, and goes."""

from sqlalchemy import text

from app.database.engine import make_engine
from app.database.migrate import downgrade, upgrade

BEFORE, AFTER = "0028", "0029"
ROWS = """
INSERT INTO catalog.encoder (id, name, spec, dimension, checksum, sees_images, text_mean)
OVERRIDING SYSTEM VALUE VALUES (1, 'e', 'e', 2, 'c', false, '[0,0]');
INSERT INTO catalog.term (encoder_id, text, vector, in_vocabulary)
VALUES (1, 'face', '[1,0]', true), (1, 'a face', '[1,1]', false);
"""
READ = "catalog.read_prompt(text,text)"


def test_it_comes_into_a_catalog_with_prompts_and_goes(empty_database: str) -> None:
    engine = make_engine(empty_database)
    upgrade(engine, BEFORE)
    with engine.begin() as connection:
        connection.execute(text(ROWS))
        before = connection.execute(text("SELECT * FROM catalog.term ORDER BY id")).all()
    upgrade(engine, AFTER)
    with engine.begin() as connection:
        after = connection.execute(text("SELECT * FROM catalog.term ORDER BY id")).all()
        assert [tuple(row) for row in after] == [(*row, None, None, None, None) for row in before]
        rights = "SELECT proname, proacl::text FROM pg_proc WHERE oid = CAST(:name AS regprocedure)"
        (like,) = connection.execute(text(rights), {"name": "catalog.match_prompt(text,text)"})
        (told,) = connection.execute(text(rights), {"name": READ})
        assert told.proacl == like.proacl
    downgrade(engine, BEFORE)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM catalog.term ORDER BY id")).all() == before
        assert connection.scalar(text(f"SELECT to_regprocedure('{READ}')")) is None
    engine.dispose()
