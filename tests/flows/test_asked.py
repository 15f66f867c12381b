"""Tests of the flow that works on what was asked for."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from app.access import Access, restrict
from app.database.engine import open_session
from app.database.models import Dataset, IngestionLog, IngestionRequest
from app.errors import CatalogError, ConflictError, InputError, StorageError, UnavailableError
from app.ingestions import queue
from app.ingestions.schemas import IngestionWanted
from app.ingestions.service import ask_ingestion, cancel_ingestion
from flows import asked
from flows.asked import work_on_ingestion, worth_another_try
from flows.ingest import ingest_dataset
from flows.progress import listening
from tests.conftest import forget_settings
from tests.flows.planted import write_planted
from tests.flows.test_ingest import counts as all_counts

FOLDS: dict[str, Any] = {"n_test": 20, "n_validation": 20}
OUTSIDER = Access("key 7 (a test)", frozenset({"ingest"}))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that tests read and none changes."""
    return write_planted(tmp_path_factory.mktemp("asked") / "planted")


def ask(source: Path, access: Access | None = None, **wanted: Any) -> int:
    with open_session() as session, session.begin():
        if access is not None:
            restrict(session, access)
        asked = IngestionWanted(source=str(source), options=FOLDS, **wanted)
        return ask_ingestion(session, asked, OUTSIDER.actor, "request").id


def work(request: int, attempt: int = 1) -> str:
    """The name of the state in which an attempt ends."""
    return str(work_on_ingestion(request, attempt, return_state=True).name)


def counts() -> dict[str, int]:
    """Rows of the tables that hold data and results."""
    asking = {"catalog.audit", "catalog.ingestion_log", "catalog.ingestion_request"}
    return {name: count for name, count in all_counts().items() if name not in asking}


def row(request: int) -> IngestionRequest:
    with open_session() as session:
        found = session.get(IngestionRequest, request)
        assert found is not None
        return found


def log(request: int) -> list[str]:
    with open_session() as session:
        query = select(IngestionLog.message).where(IngestionLog.request_id == request)
        return list(session.scalars(query.order_by(IngestionLog.id)))


def test_what_limits_it_is_logged(flows_home: Path, tmp_path: Path) -> None:
    path = write_planted(tmp_path / "planted") / "stimuli.csv"
    path.write_text(path.read_text().replace("word005,word005", "word005,"))
    assert work(ask(path.parent)) == "Completed"
    with open_session() as session:
        warned = select(IngestionLog.message).where(IngestionLog.level == "WARNING")
        (line,) = session.scalars(warned)
    assert "have no caption and no picture (the first: word005)" in line


def test_what_is_asked_for_is_done_once_and_tells_how(flows_home: Path, planted: Path) -> None:
    request = ask(planted)
    assert work(request) == "Completed"
    found = row(request)
    assert (found.state, found.dataset, found.changed) == ("done", "planted", True)
    assert (found.run_id, found.error, found.lease_until) == (None, None, None)
    assert found.started_at is not None
    assert found.finished_at is not None
    assert found.finished_at > found.started_at
    told = log(request)
    assert told[0].startswith("attempt 1 begins on ")
    assert any(line.startswith("reading p1: done after ") for line in told)
    assert any(line.startswith("noise ceiling: from ") for line in told)
    assert told[-2:] == ["next: sdc run planted", "done"]
    before = counts()
    assert work(request) == "Cancelled"
    assert (row(request).state, counts()) == ("done", before)
    again = ask(planted)
    assert work(again) == "Completed"
    assert row(again).changed is False


def test_a_fault_of_the_data_fails_at_once_with_its_line(
    flows_home: Path, planted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = counts()
    request = ask(planted / "nothing")
    assert work(request) == "Failed"
    # Whoever runs the worker reads its log.
    (told,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert told.name == "flows.asked"
    assert told.getMessage().startswith(
        f"ingestion {request} of {planted / 'nothing'} failed: {planted / 'nothing'}: no data set"
    )
    found = row(request)
    assert (found.state, found.attempt) == ("failed", 1)
    assert found.error == f"{planted / 'nothing'}: no data set of a known layout"
    assert found.hint
    assert counts() == before


def test_what_may_pass_is_queued_again(
    flows_home: Path, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = flows_home / "gone"
    gone.write_text("a file where a folder should be")
    monkeypatch.setenv("SDC_STORE", str(gone / "store"))
    forget_settings()
    request = ask(planted)
    assert work(request) == "Failed"
    found = row(request)
    assert (found.state, found.attempt, found.tries) == ("queued", 2, 2)
    assert str(gone) in str(found.error)
    assert log(request)[-1] == "it is tried again"
    monkeypatch.delenv("SDC_STORE")
    forget_settings()
    assert work(request, attempt=2) == "Completed"
    assert row(request).state == "done"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("x"), False),
        (ConflictError("x"), False),
        (CatalogError("x"), False),
        (ValueError("x"), False),
        (UnavailableError("x"), True),
        (StorageError("the store cannot be read"), True),
        (StorageError("x cannot be written: the disk is full"), False),
        (ConnectionResetError("x"), True),
        (TimeoutError("x"), True),
        (MemoryError("x"), False),
    ],
)
def test_what_may_pass(error: Exception, expected: bool) -> None:
    assert worth_another_try(error) is expected


def test_a_lost_database_may_pass(catalog: Path) -> None:
    with open_session() as session:
        session.connection().connection.driver_connection.close()  # type: ignore[union-attr]
        with pytest.raises(OperationalError) as caught:
            session.execute(select(1))
    assert worth_another_try(caught.value)


def test_a_manifest_leads_no_request_out_of_its_folders(
    flows_home: Path, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "incoming"
    own = write_planted(root / "planted")
    manifest = own / "dataset.toml"
    text = manifest.read_text()
    manifest.write_text(text.replace('"mask.nii.gz"', f'"{planted / "mask.nii.gz"}"', 1))
    assert manifest.read_text() != text
    monkeypatch.setenv("SDC_INGEST_ROOTS", json.dumps([str(root)]))
    forget_settings()
    before = counts()
    confined, free = ask(own, OUTSIDER), ask(own)
    assert work(confined) == "Failed"
    assert row(confined).error == (
        f"{planted / 'mask.nii.gz'} lies outside the folders that requests may read"
    )
    assert counts() == before
    assert work(free) == "Completed"


def test_a_link_that_was_changed_since_leads_nowhere(
    flows_home: Path, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_INGEST_ROOTS", json.dumps([str(tmp_path)]))
    forget_settings()
    place = tmp_path / "data"
    place.mkdir()
    request = ask(place, OUTSIDER)
    place.rmdir()
    place.symlink_to(planted)
    assert work(request) == "Failed"
    assert row(request).error == f"{place}: no folder that requests may read"


def test_an_embargoed_data_set_is_not_replaced_by_who_may_not_see_it(
    flows_home: Path, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_INGEST_ROOTS", json.dumps([str(planted.parent)]))
    forget_settings()
    ingest_dataset(str(planted), FOLDS | {"seed": 1})
    with open_session() as session, session.begin():
        session.execute(update(Dataset).values(embargoed=True))
    before = counts()
    request = ask(planted, OUTSIDER, replace=True)
    assert work(request) == "Failed"
    assert "is not this key's to write" in str(row(request).error)
    assert row(request).dataset is None
    assert counts() == before


@pytest.fixture
def in_the_background() -> Iterator[None]:
    """SIGINT ignored, as it is for what a script starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_background")
@pytest.mark.parametrize(
    ("interrupt", "state", "attempt"), [("cancel", "cancelled", 1), ("lose", "queued", 2)]
)
def test_what_is_cancelled_or_lost_stops_in_mid_work(
    flows_home: Path,
    planted: Path,
    monkeypatch: pytest.MonkeyPatch,
    interrupt: str,
    state: str,
    attempt: int,
) -> None:
    monkeypatch.setattr(asked, "BEAT_S", 0.05)
    request = ask(planted)
    before = counts()
    seen: list[str] = []

    def meddle(stage: str, *_: object) -> None:
        if not seen:
            seen.append(stage)
            with open_session() as session, session.begin():
                MEDDLERS[interrupt](session, request)
            until = time.monotonic() + 30
            while time.monotonic() < until:
                time.sleep(0.01)

    with listening(meddle):
        assert work(request) == "Cancelled"
    found = row(request)
    assert (found.state, found.attempt) == (state, attempt)
    assert counts() == before


def _lose(session: Any, request: int) -> None:
    session.execute(update(IngestionRequest).values(lease_until=IngestionRequest.created_at))
    assert queue.recover_lost(session) == [request]


MEDDLERS: dict[str, Callable[[Any, int], Any]] = {
    "cancel": lambda session, request: cancel_ingestion(session, request, "a test"),
    "lose": _lose,
}
