"""What is tried again, how often, and that nothing is published twice."""

import errno
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import OperationalError

from app.database.engine import get_engine, open_session
from app.errors import ConflictError, InputError, StorageError, UnavailableError
from flows import ingest, pipeline
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.retries import may_pass, persevere, retry_options
from flows.stages import stage
from tests.conftest import forget_settings
from tests.flows.planted import write_planted
from tests.flows.test_ingest import counts
from tests.flows.test_run_faults import FOLDS, RUN


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def of_sqlalchemy(cause: psycopg.Error) -> OperationalError:
    return OperationalError("SELECT 1", {}, cause)


PASSING = [
    psycopg.OperationalError("the connection is lost"),
    of_sqlalchemy(psycopg.OperationalError("connection refused")),
    of_sqlalchemy(errors.AdminShutdown("terminating connection")),
    of_sqlalchemy(errors.CannotConnectNow("the database system is starting up")),
    of_sqlalchemy(errors.DeadlockDetected("deadlock detected")),
    caused(
        UnavailableError("the database cannot be reached"), psycopg.OperationalError("no answer")
    ),
    caused(StorageError("cannot read the store"), ConnectionResetError()),
    caused(StorageError("cannot read the store"), OSError(errno.ESTALE, "stale file handle")),
    TimeoutError(),
    ConnectionRefusedError(),
]
LASTING = [
    InputError("the input is at fault"),
    ConflictError("the dataset was replaced"),
    UnavailableError("the device is not there"),
    StorageError("artefact 0123 is damaged"),
    caused(StorageError("the disk is full"), OSError(errno.ENOSPC, "no space left on device")),
    caused(StorageError("a file is missing"), FileNotFoundError()),
    OSError(errno.ENOSPC, "no space left on device"),
    PermissionError(errno.EACCES, "permission denied"),
    of_sqlalchemy(errors.DiskFull("could not extend file")),
    of_sqlalchemy(errors.QueryCanceled("statement timeout")),
    errors.UniqueViolation("duplicate key"),
    ValueError("a mistake in the program"),
]
TRIES = 4


@pytest.fixture
def no_waits(flows_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SDC_RETRIES", str(TRIES - 1))
    monkeypatch.setenv("SDC_RETRY_DELAY_S", "0")
    forget_settings()
    return flows_home


# A stage of a module goes by its name; what it raises is told beside.
raised: list[Exception] = []
tried: list[Exception] = []


@stage("fail")
def fail(successes_after: int, attempt: int) -> dict[str, int]:
    """Raise what a test wants, until it was tried often enough."""
    if len(tried) < successes_after:
        tried.append(raised[0])
        raise raised[0]
    return {"tries": len(tried) + 1}


def tries_of(error: Exception) -> int:
    def work() -> None:
        tried.append(error)
        raise error

    tried.clear()
    with pytest.raises(type(error)) as caught:
        persevere("work", work)
    assert str(caught.value) == str(error)
    return len(tried)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass(error: Exception) -> None:
    assert may_pass(error)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_cannot_pass(error: Exception) -> None:
    assert not may_pass(error)


def test_work_is_tried_as_often_as_its_error_deserves(no_waits: Path) -> None:
    assert tries_of(PASSING[1]) == TRIES
    assert tries_of(PASSING[5]) == TRIES
    assert tries_of(LASTING[0]) == 1
    assert tries_of(LASTING[4]) == 1
    assert tries_of(LASTING[11]) == 1


def test_stages_are_tried_as_often_as_their_error_deserves(no_waits: Path) -> None:
    for number, (error, expected) in enumerate([(PASSING[6], TRIES), (LASTING[0], 1)]):
        raised[:], tried[:] = [error], []
        with pytest.raises(type(error)):
            fail(99, number)
        assert len(tried) == expected
    raised[:], tried[:] = [PASSING[6]], []
    assert fail(2, 9) == {"tries": 3}


def test_waits_double(no_waits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDC_RETRY_DELAY_S", "0.5")
    forget_settings()
    assert retry_options()["retry_delay_seconds"] == [0.5, 1, 2]
    assert retry_options()["retry_jitter_factor"] > 0


def test_what_was_published_although_the_answer_was_lost_is_not_published_twice(
    no_waits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is lost when the commit is done and before anyone hears of it."""
    planted = write_planted(tmp_path / "planted")
    for module, name in ((ingest, "publish_dataset"), (pipeline, "publish_run")):
        literal = getattr(module, name)
        calls: list[str] = []

        def lost(*args: object, _do=literal, _calls=calls, **kwargs: object) -> object:
            done = _do(*args, **kwargs)
            _calls.append("done")
            if len(_calls) == 1:
                with open_session() as session:
                    session.connection().connection.driver_connection.close()
                    session.connection().exec_driver_sql("SELECT 1")
            return done

        monkeypatch.setattr(module, name, lost)
        if module is ingest:
            assert ingest_dataset(str(planted), FOLDS)["changed"]
            assert (counts()["catalog.dataset"], counts()["catalog.ingestion"]) == (1, 1)
        else:
            assert run_pipeline("planted", RUN | {"encoder": f"vectors:{planted / 'words.csv'}"})[
                "changed"
            ]
            assert (counts()["catalog.run"], counts()["catalog.component"]) == (1, 8)
        assert len(calls) == 2
    get_engine().dispose()
