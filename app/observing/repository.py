"""Queries on how much the catalog holds."""

from sqlalchemy import Float, cast, func, select, text
from sqlalchemy.orm import Session

from app.database.models import Dataset, Run, Subject


def estimated_rows(session: Session) -> dict[str, int]:
    """Rows of each table of the catalog, as the server's own statistics estimate them.

    Of datasets, and of what has a few rows for each, there are those alone that anybody may see,
    counted: an estimate would tell of an embargo.
    """
    rows = session.execute(
        text(
            "SELECT relname, greatest(n_live_tup, 0) AS estimate FROM pg_stat_user_tables"
            " WHERE schemaname = 'catalog' ORDER BY relname"
        )
    )
    found = {row.relname: row.estimate for row in rows}
    found["dataset"] = session.scalar(
        select(func.count()).select_from(Dataset).where(Dataset.embargoed.is_(False))
    )
    for model in (Run, Subject):
        counted = (
            select(func.count())
            .select_from(model)
            .join(Dataset, Dataset.id == model.dataset_id)
            .where(Dataset.embargoed.is_(False))
        )
        found[model.__tablename__] = session.scalar(counted)
    return found


def count_current(session: Session) -> int:
    """How many datasets that anybody may see have a current run."""
    count = select(func.count(Dataset.current_run_id)).where(Dataset.embargoed.is_(False))
    return session.scalar(count) or 0


def stage_seconds(session: Session) -> list[tuple[str, float, int]]:
    """Seconds that each stage took in all runs together, and in how many it was timed."""
    timed = func.jsonb_each_text(Run.timings).table_valued("key", "value").lateral()
    rows = session.execute(
        select(timed.c.key, func.sum(cast(timed.c.value, Float)), func.count())
        .select_from(Run)
        .join(timed, text("true"))
        .group_by(timed.c.key)
        .order_by(timed.c.key)
    )
    return [(stage, seconds, runs) for stage, seconds, runs in rows]
