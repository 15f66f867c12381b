"""What becomes of runs that were published before there were claims, and of labs' views."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from app.database.engine import make_engine
from app.database.migrate import current_revision, downgrade, upgrade
from app.errors import UnavailableError
from flows.science.statistics import benjamini_hochberg

BEFORE, AFTER = "0021", "0022"

# Two participants, three components of a run, two regions of one atlas and one of another.
RUN = """
INSERT INTO catalog.dataset
    (id, slug, title, layout, source_uri, licence, citation, fingerprint, configuration)
VALUES (1, 'd', '', '', '', '', '', '', '{}');
INSERT INTO catalog.encoder (id, name, spec, dimension, checksum, sees_images, text_mean)
VALUES (1, 'e', 'e', 2, '', false, '[0,0]');
INSERT INTO catalog.term (encoder_id, text, vector) VALUES (1, 'face', '[1,0]');
INSERT INTO catalog.subject
    (id, dataset_id, label, grid, affine, n_trials, n_sessions, report, artefacts)
SELECT id, 1, 's' || id, '{1,1,1}', '{0}', 0, 0, '{}', '{}' FROM generate_series(1, 2) AS id;
INSERT INTO catalog.region (id, dataset_id, atlas, name)
VALUES (1, 1, 'floc', 'FFA'), (2, 1, 'floc', 'PPA'), (3, 1, 'streams', 'ventral');
INSERT INTO catalog.run
    (id, dataset_id, encoder_id, key, method, configuration, code_version, seed, device, timings,
     metrics, parents)
VALUES (1, 1, 1, 'k', 'masks', '{}', '', 0, '', '{}',
        '{"concepts": {"found": 3, "shared": 1}, "shared_minimum": 2}', '{}'),
       (2, 1, 1, 'l', 'masks', '{}', '', 0, '', '{}', '{}', '{}');
UPDATE catalog.dataset SET current_run_id = 1;
INSERT INTO catalog.component
    (id, run_id, encoder_id, index, label, terms, vector, shared, p_value, q_value, agreement,
     agreement_p, reason)
VALUES (1, 1, 1, 0, 'face', '{}', '[1,0]', true, 0.001, 0.0030000000000000001, 0.5, 0.001, NULL),
       (2, 1, 1, 1, 'body', '{}', '[0,1]', false, 0.1, 0.15, 0.1, 0.1, 'masks do not agree'),
       (3, 1, 1, 2, 'odd', '{}', '[1,1]', false, NULL, NULL, NULL, NULL, 'untested');
INSERT INTO catalog.component_subject
    (component_id, subject_id, r_unmasked, r_soft, r_hard, p_value, q_value, n_voxels, decodes,
     reason)
VALUES (1, 1, 0.5, 0.4, 0.3, 0.0009990009990009990, 0.0019980019980019980, 3, true, NULL),
       (1, 2, 0.5, 0.4, 0.3, 0.002, 0.003, 3, true, NULL),
       (2, 1, 0.1, 0.1, 0.1, 0.7, 0.8, 3, false, NULL),
       (2, 2, 0.1, NULL, NULL, NULL, NULL, 0, false, 'no voxel is in it'),
       (3, 1, NULL, NULL, NULL, NULL, NULL, 0, false, 'no voxel is in it');
"""
OVERLAPS = [
    (component, subject, region, p)
    for (subject, component), row in zip(
        [(1, 1), (1, 2), (2, 1)],
        [(0.001, 0.2, 0.03), (0.04, 0.9, 0.04), (0.011, 0.02, 0.6)],
        strict=True,
    )
    for region, p in enumerate(row, start=1)
]
KEY = "component_id, subject_id, region_id"
TABLES = {
    "component": "id",
    "component_subject": "component_id, subject_id",
    "component_region": KEY,
    "run": "id",
}
SCHEMA = """
SELECT concat_ws(' ', table_name, ordinal_position, column_name, data_type, is_nullable,
                 column_default)
FROM information_schema.columns WHERE table_schema = 'catalog' AND table_name <> 'component_subject'
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
UNION ALL
SELECT concat_ws(' ', pg_get_functiondef(oid), proacl, obj_description(oid, 'pg_proc'))
FROM pg_proc WHERE pronamespace = 'catalog'::regnamespace
ORDER BY 1
"""


@pytest.fixture
def before(empty_database: str) -> Iterator[Engine]:
    """A catalog with a run as it was before there were claims."""
    engine = make_engine(empty_database)
    upgrade(engine, BEFORE)
    with engine.begin() as connection:
        connection.execute(text(RUN))
        for (component, subject, region, p), q in zip(OVERLAPS, _q("subject"), strict=True):
            connection.execute(
                text(
                    "INSERT INTO catalog.component_region (component_id, subject_id, region_id,"
                    " auc, dice, p_value, q_value, n_voxels)"
                    " VALUES (:component, :subject, :region, 0.6, 0.1, :p, :q, 1)"
                ),
                {"component": component, "subject": subject, "region": region, "p": p, "q": q},
            )
    yield engine
    engine.dispose()


def _q(family: str) -> list[float]:
    """The q of each overlap, of a family a participant, or a family a participant and atlas."""
    families: dict[Any, list[int]] = {}
    for at, (_, subject, region, _p) in enumerate(OVERLAPS):
        families.setdefault((subject, region == 3 and family == "atlas"), []).append(at)
    q = [0.0] * len(OVERLAPS)
    for members in families.values():
        found = benjamini_hochberg([OVERLAPS[at][3] for at in members])  # type: ignore[arg-type]
        for at, value in zip(members, found.tolist(), strict=True):
            q[at] = value
    return q


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def told(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of what the migration changes."""
    with engine.connect() as connection:
        return {
            table: [
                dict(row)
                for row in connection.execute(
                    text(f"SELECT * FROM catalog.{table} ORDER BY {key}")  # noqa: S608
                ).mappings()
            ]
            for table, key in TABLES.items()
        }


def run(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_an_older_run_claims_nothing(before: Engine) -> None:
    upgrade(before, AFTER)
    found = told(before)
    reason = "published before mask-level claims were measured: run again"
    claims = ("decodable", "specific", "agreeing", "stable")
    for component in found["component"]:
        assert [component[name] for name in ("shared", *claims)] == [None] * 5
        assert (component["p_value"], component["q_value"]) == (None, None)
        assert component["reason"] == reason
        assert component["reasons"] == dict.fromkeys(claims, reason)
    assert [each["agreement_p"] for each in found["component"]] == [0.001, 0.1, None]
    subjects = found["component_subject"]
    assert [each["p_unmasked"] for each in subjects] == [
        0.000999000999000999,
        0.002,
        0.7,
        None,
        None,
    ]
    for each in subjects:
        assert (each["p_value"], each["q_value"], each["decodes"]) == (None, None, None)
    assert subjects[3]["reason"] == "no voxel is in it"
    metrics = found["run"][0]["metrics"]
    assert metrics == {
        "concepts_before_claims": {"found": 3, "shared": 1},
        "shared_minimum": 2,
    }
    assert [each["reproducible"] for each in found["run"]] == [None, None]
    assert (
        rows(before, "SELECT shared, subjects, reason FROM catalog.concepts")
        == [(None, [], reason)] * 3
    )
    assert rows(before, "SELECT shared, stable FROM catalog.search_concepts('face', 1)") == [
        (None, None)
    ]


def test_regions_are_corrected_an_atlas_each(before: Engine) -> None:
    upgrade(before, AFTER)
    found = {
        (each["component_id"], each["subject_id"], each["region_id"]): each["q_value"]
        for each in told(before)["component_region"]
    }
    expected = dict(zip((each[:3] for each in OVERLAPS), _q("atlas"), strict=True))
    assert found == expected
    assert list(expected.values()) != _q("subject")


def test_all_of_it_comes_back(before: Engine) -> None:
    was, schema = told(before), rows(before, SCHEMA)
    columns = "SELECT * FROM information_schema.columns WHERE table_schema = 'catalog'"
    known = {tuple(row[2:8]) for row in rows(before, columns)}
    upgrade(before, AFTER)
    assert told(before) != was
    downgrade(before, BEFORE)
    assert told(before) == was
    assert rows(before, SCHEMA) == schema
    assert {tuple(row[2:8]) for row in rows(before, columns)} == known
    upgrade(before, AFTER)
    downgrade(before, BEFORE)
    assert told(before) == was


def test_of_newer_runs_what_was_not_measured_fails(before: Engine) -> None:
    upgrade(before, AFTER)
    run(
        before,
        """
        INSERT INTO catalog.component
            (id, run_id, encoder_id, index, label, terms, vector, shared, decodable, specific,
             agreeing, stable, p_value, q_value, reason)
        VALUES (4, 2, 1, 0, '', '{}', '[1,0]', true, true, true, true, true, 0.01, 0.02, NULL),
               (5, 2, 1, 1, '', '{}', '[1,0]', NULL, true, true, true, NULL, 0.03, 0.04, 'unknown');
        INSERT INTO catalog.component_subject
            (component_id, subject_id, n_voxels, p_value, q_value, decodes)
        VALUES (4, 1, 3, 0.001, 0.002, true), (5, 1, 0, NULL, NULL, NULL)
        """,
    )
    downgrade(before, BEFORE)
    assert rows(
        before,
        "SELECT shared, q_value, reason FROM catalog.component WHERE run_id = 2 ORDER BY id",
    ) == [(True, 0.02, None), (False, 0.04, "unknown")]
    assert rows(
        before,
        "SELECT q_value, decodes FROM catalog.component_subject WHERE component_id > 3 ORDER BY 1",
    ) == [(0.002, True), (None, False)]


@pytest.mark.parametrize(
    ("shared", "claims"),
    [
        ("true", "true, true, true, NULL"),
        ("true", "true, false, true, true"),
        ("true", "NULL, NULL, NULL, NULL"),
        ("false", "true, true, true, true"),
        ("false", "true, true, NULL, true"),
    ],
)
def test_shared_is_never_said_of_what_its_claims_do_not_bear(
    before: Engine, shared: str, claims: str
) -> None:
    upgrade(before, AFTER)
    columns = "shared, decodable, specific, agreeing, stable"
    statement = f"UPDATE catalog.component SET ({columns}) = ({shared}, {claims})"  # noqa: S608
    with pytest.raises(IntegrityError, match="shared_by_claims"):
        run(before, statement)
    for allowed in ("NULL, true, true, NULL, true", "false, NULL, false, true, true"):
        run(before, statement.replace(f"{shared}, {claims}", allowed))


LABS = """
CREATE VIEW public.listed WITH (security_barrier) AS
    SELECT component_id, shared, reason FROM catalog.concepts;
CREATE VIEW public.found AS
    SELECT found.*, listed.reason AS why
    FROM catalog.search_concepts('face', 2) AS found JOIN public.listed USING (component_id)
    WHERE label LIKE '%o%' OR label LIKE '%e';
CREATE VIEW public.over_both AS
    SELECT label, why, n_voxels FROM public.found
    LEFT JOIN catalog.concept_regions USING (component_id, label);
COMMENT ON VIEW public.found IS 'it''s ours';
COMMENT ON COLUMN public.found.why IS 'a reason';
GRANT SELECT ON public.found TO pg_monitor WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION catalog.search_concepts(text, int) TO pg_monitor;
ALTER VIEW public.listed OWNER TO pg_read_all_data
"""
LABS_AS_SQL = """
SELECT relname, relowner, reloptions::text, relacl::text, attname,
       obj_description(oid, 'pg_class'), col_description(oid, attnum),
       has_function_privilege('pg_monitor', 'catalog.search_concepts(text,int)', 'EXECUTE')
FROM pg_class JOIN pg_attribute ON attrelid = oid
WHERE relname IN ('listed', 'found', 'over_both') AND attnum > 0 ORDER BY relname, attnum
"""


def test_views_of_a_lab_outlive_both_ways(before: Engine) -> None:
    run(before, LABS)
    was = rows(before, LABS_AS_SQL)
    shown = rows(before, "SELECT component_id, similarity FROM public.found")
    assert len(shown) == 2
    for change in (upgrade, downgrade, upgrade):
        change(before, BEFORE if change is downgrade else AFTER)
        assert rows(before, LABS_AS_SQL) == was
        assert rows(before, "SELECT component_id, similarity FROM public.found") == shown
        assert len(rows(before, "SELECT * FROM public.over_both")) == 7


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ("SELECT stable FROM catalog.concepts", "labs shows columns that the other version does"),
        ("SELECT prevalence FROM catalog.search_concepts('x', 1)", "labs shows columns that"),
        ("SELECT r_low FROM catalog.concept_subjects", "labs shows comes from catalog.concept_sub"),
    ],
)
def test_a_view_of_what_is_new_is_not_dropped_unasked(
    before: Engine, view: str, message: str
) -> None:
    upgrade(before, AFTER)
    run(before, f"CREATE VIEW public.labs AS {view}")
    with pytest.raises(UnavailableError, match=message) as caught:
        downgrade(before, BEFORE)
    assert "drop it" in caught.value.hint
    assert current_revision(before) == AFTER
    assert len(rows(before, "SELECT stable FROM catalog.concepts")) == 3


def test_what_a_lab_keeps_of_a_search_is_not_dropped_unasked(before: Engine) -> None:
    run(
        before,
        "CREATE MATERIALIZED VIEW public.kept AS SELECT * FROM catalog.search_concepts('face', 1)",
    )
    with pytest.raises(UnavailableError, match="what kept keeps comes from"):
        upgrade(before, AFTER)
    assert current_revision(before) == BEFORE
    assert len(rows(before, "SELECT * FROM public.kept")) == 1
