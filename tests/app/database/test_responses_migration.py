"""What becomes of masks that were published before responses were measured, and of labs' views."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from app.database.engine import make_engine
from app.database.migrate import current_revision, downgrade, upgrade
from app.errors import UnavailableError

BEFORE, AFTER = "0022", "0023"

# One participant's mask of one component, of two voxels, held against one region.
RUN = """
INSERT INTO catalog.dataset
    (id, slug, title, layout, source_uri, licence, citation, fingerprint, configuration)
VALUES (1, 'd', '', '', '', '', '', '', '{}');
INSERT INTO catalog.encoder (id, name, spec, dimension, checksum, sees_images, text_mean)
VALUES (1, 'e', 'e', 2, '', false, '[0,0]');
INSERT INTO catalog.subject
    (id, dataset_id, label, grid, affine, n_trials, n_sessions, report, artefacts)
VALUES (1, 1, 's1', '{2,1,1}', '{0}', 0, 0, '{}', '{}');
INSERT INTO catalog.region (id, dataset_id, atlas, name) VALUES (1, 1, 'floc', 'FFA');
INSERT INTO catalog.run
    (id, dataset_id, encoder_id, key, method, configuration, code_version, seed, device, timings,
     metrics, parents)
VALUES (1, 1, 1, 'k', 'masks', '{}', '', 0, '', '{}', '{}', '{}');
UPDATE catalog.dataset SET current_run_id = 1;
INSERT INTO catalog.voxel (id, subject_id, index, i, j, k, x, y, z)
OVERRIDING SYSTEM VALUE VALUES (1, 1, 0, 0, 0, 0, 0, 0, 0), (2, 1, 1, 1, 0, 0, 2, 0, 0);
INSERT INTO catalog.component (id, run_id, encoder_id, index, label, terms, vector, shared)
VALUES (1, 1, 1, 0, 'face', '{}', '[1,0]', NULL);
INSERT INTO catalog.component_subject (component_id, subject_id, r_hard, n_voxels, decodes)
VALUES (1, 1, 0.3, 2, true);
INSERT INTO catalog.component_voxel (component_id, voxel_id, weight) VALUES (1, 1, 0.9), (1, 2, 1);
INSERT INTO catalog.component_region
    (component_id, subject_id, region_id, auc, dice, p_value, q_value, n_voxels)
VALUES (1, 1, 1, 0.8, 0.5, 0.01, 0.02, 1);
"""
SCHEMA = """
SELECT concat_ws(' ', table_name, ordinal_position, column_name, data_type, is_nullable,
                 column_default)
FROM information_schema.columns WHERE table_schema = 'catalog'
UNION ALL
SELECT concat_ws(' ', conname, pg_get_constraintdef(oid)) FROM pg_constraint
WHERE connamespace = 'catalog'::regnamespace
UNION ALL
SELECT concat_ws(' ', relname, reloptions, relacl, pg_get_viewdef(oid),
                 obj_description(oid, 'pg_class'))
FROM pg_class WHERE relnamespace = 'catalog'::regnamespace AND relkind = 'v'
UNION ALL
SELECT concat_ws(' ', attrelid::regclass, attname, col_description(attrelid, attnum))
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'catalog'::regnamespace AND relkind = 'v' AND attnum > 0
ORDER BY 1
"""
VIEWS = ("concepts", "concept_regions", "concept_subjects", "concept_voxels")


@pytest.fixture
def before(empty_database: str) -> Iterator[Engine]:
    """A catalog with a run as it was before responses were measured."""
    engine = make_engine(empty_database)
    upgrade(engine, BEFORE)
    execute(engine, RUN)
    yield engine
    engine.dispose()


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def shown(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of the views, by its columns' names."""
    with engine.connect() as connection:
        return {
            view: [
                dict(row)
                for row in connection.execute(
                    text(f"SELECT * FROM catalog.{view} ORDER BY 1, 2, 3, 4, 5, 6")  # noqa: S608
                ).mappings()
            ]
            for view in VIEWS
        }


def test_of_an_older_mask_responses_are_not_known(before: Engine) -> None:
    was = shown(before)
    upgrade(before, AFTER)
    now = shown(before)
    assert now["concepts"] == was["concepts"]
    for view, new in (
        ("concept_regions", ["response_sign"]),
        ("concept_subjects", ["n_needed", "response_sign"]),
        ("concept_voxels", ["needed"]),
    ):
        assert now[view] == [row | dict.fromkeys(new) for row in was[view]]
        for row in now[view]:
            assert list(row)[-len(new) :] == new


def test_views_show_what_is_published_from_here_on(before: Engine) -> None:
    upgrade(before, AFTER)
    execute(before, "UPDATE catalog.component_subject SET n_needed = 7, response_sign = -1")
    execute(before, "UPDATE catalog.component_voxel SET needed = 0.25 WHERE voxel_id = 2")
    query = "SELECT n_voxels, n_needed, response_sign FROM catalog.concept_subjects"
    assert rows(before, query) == [(2, 7, -1)]
    assert rows(before, "SELECT region, response_sign FROM catalog.concept_regions") == [
        ("FFA", -1)
    ]
    query = "SELECT voxel_id, weight, needed FROM catalog.concept_voxels ORDER BY 1"
    assert rows(before, query) == [(1, pytest.approx(0.9), None), (2, 1, 0.25)]


def test_a_mask_responds_more_or_less(before: Engine) -> None:
    upgrade(before, AFTER)
    with pytest.raises(IntegrityError, match="response_sign"):
        execute(before, "UPDATE catalog.component_subject SET response_sign = 0")
    assert rows(before, "SELECT response_sign FROM catalog.component_subject") == [(None,)]


def test_all_of_it_comes_back(before: Engine) -> None:
    was, schema = shown(before), rows(before, SCHEMA)
    for _ in range(2):
        upgrade(before, AFTER)
        assert rows(before, SCHEMA) != schema
        execute(before, "UPDATE catalog.component_subject SET n_needed = 7, response_sign = -1")
        downgrade(before, BEFORE)
        assert shown(before) == was
        assert rows(before, SCHEMA) == schema


def test_no_comment_speaks_of_hard_masks_any_more(before: Engine) -> None:
    query = """
    SELECT description FROM pg_description JOIN pg_class ON pg_class.oid = objoid
    WHERE relnamespace = 'catalog'::regnamespace AND description ~* '(hard|soft) mask'
    """
    assert rows(before, query)
    upgrade(before, AFTER)
    assert rows(before, query) == []


LABS = """
CREATE VIEW public.places WITH (security_barrier) AS
    SELECT component_id, voxel_id, weight FROM catalog.concept_voxels;
CREATE VIEW public.over_all AS
    SELECT places.*, auc, subjects.n_voxels AS members
    FROM public.places
    JOIN catalog.concept_regions USING (component_id)
    JOIN catalog.concept_subjects AS subjects USING (component_id)
    WHERE subjects.label LIKE 'f%e';
COMMENT ON VIEW public.places IS 'it''s ours, 100 %';
COMMENT ON COLUMN public.over_all.members IS 'how many';
GRANT SELECT ON public.places TO pg_monitor WITH GRANT OPTION;
GRANT SELECT ON catalog.concept_subjects TO pg_monitor;
ALTER VIEW public.places OWNER TO pg_read_all_data
"""
LABS_AS_SQL = """
SELECT relname, relowner, reloptions::text, relacl::text, attname,
       obj_description(oid, 'pg_class'), col_description(oid, attnum),
       has_table_privilege('pg_monitor', 'catalog.concept_subjects', 'SELECT')
FROM pg_class JOIN pg_attribute ON attrelid = oid
WHERE relname IN ('places', 'over_all') AND attnum > 0 ORDER BY relname, attnum
"""


def test_views_of_a_lab_outlive_both_ways(before: Engine) -> None:
    execute(before, LABS)
    was = rows(before, LABS_AS_SQL)
    told = rows(before, "SELECT * FROM public.over_all ORDER BY voxel_id")
    assert told == [(1, 1, pytest.approx(0.9), 0.8, 2), (1, 2, 1, 0.8, 2)]
    for change in (upgrade, downgrade, upgrade):
        change(before, BEFORE if change is downgrade else AFTER)
        assert rows(before, LABS_AS_SQL) == was
        assert rows(before, "SELECT * FROM public.over_all ORDER BY voxel_id") == told


@pytest.mark.parametrize(
    "query",
    [
        "SELECT n_needed FROM catalog.concept_subjects",
        "SELECT response_sign FROM catalog.concept_regions",
        "SELECT needed FROM catalog.concept_voxels",
    ],
)
def test_a_view_of_what_is_new_is_not_dropped_unasked(before: Engine, query: str) -> None:
    upgrade(before, AFTER)
    execute(before, f"CREATE VIEW public.labs AS {query}")
    was = rows(before, "SELECT * FROM public.labs")
    with pytest.raises(UnavailableError, match="labs shows columns that the other ver") as caught:
        downgrade(before, BEFORE)
    assert "drop it" in caught.value.hint
    assert current_revision(before) == AFTER
    assert rows(before, "SELECT * FROM public.labs") == was


def test_what_a_lab_keeps_of_a_view_is_not_dropped_unasked(before: Engine) -> None:
    execute(before, "CREATE MATERIALIZED VIEW public.kept AS SELECT * FROM catalog.concept_voxels")
    upgrade(before, AFTER)
    with pytest.raises(UnavailableError, match="what kept keeps comes from"):
        downgrade(before, BEFORE)
    assert current_revision(before) == AFTER
    assert len(rows(before, "SELECT * FROM public.kept")) == 2
