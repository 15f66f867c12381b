from collections.abc import Iterator
from itertools import product

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text, update
from sqlalchemy.exc import IntegrityError

from app.database.engine import make_engine
from app.database.migrate import (
    current_revision,
    downgrade,
    head_revision,
    require_current,
    upgrade,
)
from app.database.models import Base, Subject
from app.errors import UnavailableError

LEFT = "SELECT count(*) FROM pg_namespace WHERE nspname = 'catalog'"


def test_upgrade_downgrade_to_nothing_upgrade_again(empty_database: str) -> None:
    engine = make_engine(empty_database)
    assert current_revision(engine) is None
    upgrade(engine)
    assert current_revision(engine) == head_revision()
    downgrade(engine)
    with engine.connect() as connection:
        assert connection.scalar(text(LEFT)) == 0
    assert current_revision(engine) is None
    upgrade(engine)
    require_current(engine)
    engine.dispose()


# Two participants' vectors in two runs. Voxels are written from the last to the first, so that
# neither their ids nor the order of the rows tell their index.
AT_0002 = """
INSERT INTO catalog.dataset
    (id, slug, title, layout, source_uri, licence, citation, fingerprint, configuration)
VALUES (1, 'd', '', '', '', '', '', '', '{}');
INSERT INTO catalog.encoder (id, name, spec, dimension, checksum, sees_images, text_mean)
VALUES (1, 'e', 'e', 3, '', false, '[0,0,0]'), (2, 'f', 'f', 3, '', false, '[0,0,0]');
INSERT INTO catalog.subject
    (id, dataset_id, label, grid, affine, n_trials, n_sessions, report, artefacts)
SELECT id, 1, 's' || id, '{1,1,1}', '{0}', 0, 0, '{}', '{}' FROM generate_series(1, 2) AS id;
INSERT INTO catalog.run
    (id, dataset_id, encoder_id, key, method, configuration, code_version, seed, device, timings,
     metrics, parents)
SELECT id, 1, 3 - id, id, '', '{}', '', 0, '', '{}', '{}', '{}' FROM generate_series(1, 2) AS id;
INSERT INTO catalog.decoder
    (run_id, subject_id, kind, metrics, artefact_uri, artefact_sha256, masks_sha256)
SELECT run.id, subject.id, 'linear', '{}', '', '', '' FROM catalog.run, catalog.subject;
INSERT INTO catalog.voxel (subject_id, index, i, j, k, x, y, z)
SELECT subject, index, index, 0, 0, 0, 0, 0
FROM generate_series(2, 1, -1) AS subject, generate_series(4, 0, -1) AS index;
INSERT INTO catalog.voxel_vector (run_id, voxel_id, encoder_id, vector)
SELECT run.id, voxel.id, encoder_id, format('[%s,%s,%s]', run.id, subject_id, index)::halfvec
FROM catalog.run, catalog.voxel;
"""

VECTORS_0002 = """
SELECT run_id, voxel_id, encoder_id, vector::text FROM catalog.voxel_vector ORDER BY 1, 2
"""
VECTORS = """
SELECT run_id, subject_id, index, encoder_id, vector::text FROM catalog.voxel_vector
ORDER BY 1, 2, 3
"""
DECODERS = "SELECT DISTINCT run_id, encoder_id FROM catalog.decoder ORDER BY 1"

COMPONENT_0002 = """
UPDATE catalog.run SET method = 'masks';
INSERT INTO catalog.component (run_id, encoder_id, index, label, terms, vector, shared)
VALUES (1, 2, 0, '', '{}', '[1,0,0]', true)
"""

COMMENTS = """
SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
WHERE relnamespace = 'catalog'::regnamespace AND relkind = 'v' ORDER BY 1
"""

SCHEMA_AS_SQL = """
SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'catalog'::regnamespace
UNION ALL
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT concat_ws(' ', pg_get_functiondef(oid), obj_description(oid, 'pg_proc'))
FROM pg_proc WHERE pronamespace = 'catalog'::regnamespace
UNION ALL
SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable)
FROM information_schema.columns WHERE table_schema = 'catalog'
ORDER BY 1
"""


@pytest.fixture
def at_0002(empty_database: str) -> Iterator[Engine]:
    """A catalog as it was before vectors belonged to decoders, with rows."""
    engine = make_engine(empty_database)
    upgrade(engine, "0002")
    with engine.begin() as connection:
        connection.execute(text(AT_0002))
    yield engine
    engine.dispose()


def rows_of(engine: Engine, query: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_vectors_move_to_decoders_and_back(at_0002: Engine) -> None:
    before, schema = rows_of(at_0002, VECTORS_0002), rows_of(at_0002, SCHEMA_AS_SQL)
    assert len(before) == 20
    upgrade(at_0002, "0003")
    assert rows_of(at_0002, VECTORS) == [
        (run, subject, index, 3 - run, f"[{run},{subject},{index}]")
        for run, subject, index in product((1, 2), (1, 2), range(5))
    ]
    assert rows_of(at_0002, DECODERS) == [(1, 2), (2, 1)]
    downgrade(at_0002, "0002")
    assert rows_of(at_0002, VECTORS_0002) == before
    assert rows_of(at_0002, SCHEMA_AS_SQL) == schema


def test_methods_and_negations_come_and_go(at_0002: Engine) -> None:
    upgrade(at_0002, "0005")
    schema, comments = rows_of(at_0002, SCHEMA_AS_SQL), rows_of(at_0002, COMMENTS)
    with at_0002.begin() as connection:
        connection.execute(text(COMPONENT_0002))
        connection.execute(text("UPDATE catalog.dataset SET current_run_id = 1"))
    upgrade(at_0002, "0006")
    told = "SELECT negations, method FROM catalog.concepts"
    assert rows_of(at_0002, told) == [([], "masks")]
    assert rows_of(at_0002, COMMENTS) == comments
    downgrade(at_0002, "0005")
    assert rows_of(at_0002, SCHEMA_AS_SQL) == schema
    assert rows_of(at_0002, COMMENTS) == comments


CONCEPTS = """
SELECT pg_get_viewdef('catalog.concepts'::regclass) || obj_description('catalog.concepts'::regclass)
"""


def test_stability_comes_and_goes(empty_database: str) -> None:
    engine = make_engine(empty_database)
    upgrade(engine, "0006")
    view, schema = rows_of(engine, CONCEPTS), rows_of(engine, SCHEMA_AS_SQL)
    upgrade(engine, "0007")
    told = "SELECT stability_cosine, stability_dice, stability_seeds FROM catalog.concepts"
    assert rows_of(engine, told) == []
    downgrade(engine, "0006")
    assert rows_of(engine, CONCEPTS) == view
    assert rows_of(engine, SCHEMA_AS_SQL) == schema
    engine.dispose()


STIMULUS = """
INSERT INTO catalog.stimulus (dataset_id, key, shared, fold, captions)
VALUES (1, 'a', true, 'test', '{}')
"""


def test_rotation_groups_come_and_go(at_0002: Engine) -> None:
    upgrade(at_0002, "0020")
    schema = rows_of(at_0002, SCHEMA_AS_SQL)
    with at_0002.begin() as connection:
        connection.execute(text(STIMULUS))
    upgrade(at_0002, "0021")
    told = "SELECT key, fold, rotation FROM catalog.stimulus"
    assert rows_of(at_0002, told) == [("a", "test", None)]
    change = "UPDATE catalog.stimulus SET rotation = :group"
    with at_0002.begin() as connection:
        connection.execute(text(change), {"group": 0})
    with (
        pytest.raises(IntegrityError, match="ck_stimulus_rotation"),
        at_0002.begin() as connection,
    ):
        connection.execute(text(change), {"group": -1})
    downgrade(at_0002, "0020")
    assert rows_of(at_0002, SCHEMA_AS_SQL) == schema
    assert rows_of(at_0002, "SELECT key, fold FROM catalog.stimulus") == [("a", "test")]


def test_migrations_make_what_the_models_say(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == "catalog",
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_another_migration_is_refused_with_the_command_that_mends_it(engine: Engine) -> None:
    downgrade(engine, "0001")
    with pytest.raises(UnavailableError, match="at migration 0001") as caught:
        require_current(engine)
    assert "sdc db upgrade" in caught.value.hint
    assert current_revision(engine) == "0001"


def test_a_newer_migration_asks_for_a_newer_installation(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'f00d'"))
    with pytest.raises(UnavailableError, match="at migration f00d") as caught:
        require_current(engine)
    assert "newer version" in caught.value.hint


def test_unreachable_server_is_one_line_without_the_password() -> None:
    engine = make_engine("postgresql://someone:secret@127.0.0.1:1/nowhere")
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1/nowhere") as caught:
        upgrade(engine)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def server_without_pgvector(empty_database: str) -> Engine:
    """A server whose list of extensions hides pgvector, as one without the package would."""
    engine = create_engine(
        empty_database.replace("postgresql://", "postgresql+psycopg://"),
        connect_args={"options": "-csearch_path=hiding,pg_catalog,public"},
    )
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA hiding"))
        connection.execute(
            text(
                "CREATE VIEW hiding.pg_available_extensions AS "
                "SELECT * FROM pg_catalog.pg_available_extensions WHERE name <> 'vector'"
            )
        )
    return engine


def test_a_server_without_pgvector_is_refused(server_without_pgvector: Engine) -> None:
    with pytest.raises(UnavailableError, match="no pgvector") as caught:
        upgrade(server_without_pgvector)
    assert "0.8.4" in caught.value.hint
    with server_without_pgvector.connect() as connection:
        assert connection.scalar(text(LEFT)) == 0
    server_without_pgvector.dispose()


def test_a_vector_of_another_dimension_is_refused_by_the_database(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO catalog.encoder (name, spec, dimension, checksum, sees_images,"
                " text_mean) VALUES ('e', 'e', 3, '', false, '[0,0,0]')"
            )
        )
    statement = text(
        "INSERT INTO catalog.term (encoder_id, text, vector)"
        " SELECT id, 'word', '[1,2]' FROM catalog.encoder"
    )
    refused = pytest.raises(IntegrityError, match="2 dimensions cannot belong to encoder e")
    with refused, engine.begin() as connection:
        connection.execute(statement)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM catalog.term")) == 0


VIEWS_AS_SQL = """
SELECT relname, reloptions::text, relacl::text, pg_get_viewdef(oid), attname,
       atttypid::regtype::text, obj_description(oid, 'pg_class'), col_description(oid, attnum)
FROM pg_class JOIN pg_attribute ON attrelid = oid
WHERE relnamespace = 'catalog'::regnamespace AND relkind = 'v' AND attnum > 0
ORDER BY relname, attnum
"""
ON_A_SURFACE = """
INSERT INTO catalog.subject
    (id, dataset_id, label, grid, surface, n_trials, n_sessions, report, artefacts)
VALUES (3, 1, 's3', '{2,163842,1}', 'fsaverage', 0, 0, '{}', '{}');
INSERT INTO catalog.voxel (subject_id, index, i, j, k, x, y, z)
VALUES (3, 0, 1, 163841, 0, 1, 2, 3);
UPDATE catalog.dataset SET current_run_id = 1;
INSERT INTO catalog.decoder
    (run_id, subject_id, encoder_id, kind, metrics, artefact_uri, artefact_sha256, masks_sha256)
VALUES (1, 3, 2, 'linear', '{}', '', '', '')
"""

VIEWS_OF_A_LAB = """
CREATE VIEW public.theirs WITH (security_barrier) AS
    SELECT subject, i::text AS i FROM catalog.voxels;
CREATE VIEW public.ours AS
    SELECT theirs.subject, count(*) AS n, max(grid[1]) AS wide
    FROM public.theirs JOIN catalog.subjects USING (subject) GROUP BY 1;
COMMENT ON VIEW public.ours IS 'it''s ours, 100 %';
COMMENT ON COLUMN public.theirs.i IS 'an index';
GRANT SELECT ON public.ours TO pg_monitor WITH GRANT OPTION;
ALTER VIEW public.theirs OWNER TO pg_read_all_data
"""
OURS_AS_SQL = """
SELECT relname, relowner, reloptions::text, relacl::text, pg_get_viewdef(oid), attname,
       obj_description(oid, 'pg_class'), col_description(oid, attnum)
FROM pg_class JOIN pg_attribute ON attrelid = oid
WHERE relname IN ('ours', 'theirs') AND attnum > 0 ORDER BY relname, attnum
"""


def test_surfaces_come_and_go(at_0002: Engine) -> None:
    upgrade(at_0002, "0015")
    with at_0002.begin() as connection:
        connection.execute(text("GRANT SELECT ON catalog.voxels TO PUBLIC"))
    views, schema = rows_of(at_0002, VIEWS_AS_SQL), rows_of(at_0002, SCHEMA_AS_SQL)
    voxels = rows_of(at_0002, "SELECT * FROM catalog.voxel ORDER BY id")
    upgrade(at_0002, "0016")
    assert rows_of(at_0002, "SELECT * FROM catalog.voxel ORDER BY id") == voxels
    kept = {(row[0], *row[2:5]) for row in views if row[0] != "subjects"}
    assert kept <= {(row[0], *row[2:5]) for row in rows_of(at_0002, VIEWS_AS_SQL)}
    with at_0002.begin() as connection:
        connection.execute(text(ON_A_SURFACE))
    vertex = "SELECT i, j, k, x FROM catalog.voxels WHERE subject = 's3'"
    assert rows_of(at_0002, vertex) == [(1, 163841, 0, 1.0)]
    shown = "SELECT surface, affine FROM catalog.subjects ORDER BY subject"
    assert rows_of(at_0002, shown) == [(None, [0.0])] * 2 + [("fsaverage", None)]
    with pytest.raises(IntegrityError, match="contains null values"):
        downgrade(at_0002, "0015")
    with at_0002.begin() as connection:
        connection.execute(text("DELETE FROM catalog.subject WHERE id = 3"))
    downgrade(at_0002, "0015")
    assert rows_of(at_0002, VIEWS_AS_SQL) == views
    assert rows_of(at_0002, SCHEMA_AS_SQL) == schema


def test_a_participant_has_an_affine_or_a_surface(at_0002: Engine) -> None:
    upgrade(at_0002)
    for column, value in (("affine", None), ("surface", "fsLR")):
        with (
            pytest.raises(IntegrityError, match="affine_or_surface"),
            at_0002.begin() as connection,
        ):
            connection.execute(update(Subject).where(Subject.id == 1).values({column: value}))


def test_views_of_a_lab_outlive_the_change_of_what_they_show(at_0002: Engine) -> None:
    upgrade(at_0002, "0015")
    with at_0002.begin() as connection:
        connection.execute(text(VIEWS_OF_A_LAB))
    read = "SELECT * FROM public.ours"
    before, shown = rows_of(at_0002, OURS_AS_SQL), rows_of(at_0002, read)
    for change in (upgrade, lambda engine: downgrade(engine, "0015"), upgrade):
        change(at_0002)
        assert rows_of(at_0002, OURS_AS_SQL) == before
        assert rows_of(at_0002, read) == shown


def test_what_a_lab_keeps_of_a_view_is_not_dropped_unasked(at_0002: Engine) -> None:
    upgrade(at_0002, "0015")
    with at_0002.begin() as connection:
        connection.execute(
            text("CREATE MATERIALIZED VIEW public.kept AS SELECT i, j, k FROM catalog.voxels")
        )
    with pytest.raises(UnavailableError, match="what kept keeps comes from views"):
        upgrade(at_0002)
    assert current_revision(at_0002) == "0015"
    assert rows_of(at_0002, "SELECT * FROM public.kept") == []
