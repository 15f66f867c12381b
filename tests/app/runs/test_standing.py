"""Tests of when a run is held back, and of promoting it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from app.database.engine import open_session
from app.database.models import Audit, Dataset
from app.errors import NotFoundError
from app.runs.service import promote_run
from app.runs.standing import fall_between
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.conftest import Sdc
from tests.app.published import Published, publish

SHARES = st.floats(0.01, 1)


def metrics(**participants: dict[str, float]) -> dict[str, Any]:
    return {"decoders": {name: {"pool": 50} | one for name, one in participants.items()}}


def test_the_metric_that_fell_most_is_told() -> None:
    before = metrics(a={"top1": 0.2, "top10": 0.6}, b={"top1": 0.4, "top10": 0.8})
    after = metrics(a={"top1": 0.2, "top10": 0.5}, b={"top1": 0.2, "top10": 0.6})
    fall = fall_between(3, before, after, 0.1)
    assert fall is not None
    assert str(fall) == "top1 fell from 0.300 in run 3 to 0.200"


def test_no_more_than_may_be_is_no_fall() -> None:
    before, after = metrics(a={"top1": 0.5}), metrics(a={"top1": 0.46})
    assert fall_between(3, before, after, 0.1) is None
    assert fall_between(3, before, after, 0.05) is not None
    assert fall_between(3, before, metrics(a={"top1": 0.0}), 1.0) is None


def test_what_is_no_accuracy_is_not_compared() -> None:
    more = {"top1_interval": [0.1, 0.9], "against_ridge": {"difference": 0.1}}
    before, after = metrics(a={"top1": 0.5} | more), metrics(a={"top1": 0.5} | more)
    assert fall_between(3, before, after, 0.1) is None


@given(SHARES, SHARES, st.floats(0, 1))
def test_what_rose_never_falls(one: float, other: float, largest: float) -> None:
    low, high = sorted((one, other))
    assert fall_between(1, metrics(a={"top1": low}), metrics(a={"top1": high}), largest) is None


@pytest.mark.parametrize(
    "after",
    [
        {},
        metrics(b={"top1": 0.0}),
        metrics(a={"top10": 0.0}),
        metrics(a={"top1": 0.0, "pool": 51}),
        metrics(a={"top1": 0.0}, b={"top1": 0.0}),
    ],
)
def test_what_cannot_be_compared_is_no_fall(after: dict[str, Any]) -> None:
    assert fall_between(1, metrics(a={"top1": 0.5}), after, 0.1) is None


@pytest.fixture
def two(own_published: Published, own_table: Path) -> tuple[Published, Published]:
    """Two runs of one dataset, of which the second answers."""
    with open_session() as session, session.begin():
        store = ArtefactStore(get_settings().store_url)
        return own_published, publish(session, f"vectors:{own_table}", store, slug="another")


def test_a_run_is_promoted_and_the_audit_tells(two: tuple[Published, Published], sdc: Sdc) -> None:
    run, slug = two[0].run, two[0].dataset
    with open_session() as session, session.begin():
        dataset = session.scalar(select(Dataset).where(Dataset.slug == slug))
        assert dataset is not None
        dataset.current_run_id = None
    told = json.loads(sdc("runs", "--promote", run, "--dataset", slug, "--json").stdout)
    assert [each["current"] for each in told["runs"]] == [True]
    with open_session() as session:
        entry = session.scalar(select(Audit).where(Audit.action == "promote run"))
        assert entry is not None
        assert (entry.subject, entry.detail) == (str(run), {"before": None})
    sdc("runs", "--promote", run)
    with open_session() as session:
        entries = session.scalars(select(Audit).where(Audit.action == "promote run")).all()
        assert len(entries) == 1


def test_a_run_that_is_none(own_published: Published) -> None:
    with open_session() as session, pytest.raises(NotFoundError) as caught:
        promote_run(session, 99, "a test")
    assert caught.value.message == "there is no run 99"
