"""The embedded server: what it is started with, where, and until when."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
import pytest
from sqlalchemy import text

from app.database.embedded import BUFFERS_MB
from app.database.engine import get_engine
from app.settings import get_settings
from tests.app.database.servers import at_work, server_of, use_server, wait_until

# In a process of its own, with which the server ends.
START = """
import sys
from pathlib import Path
import psycopg
from app.database.embedded import start_server

home = Path(sys.argv[1]) / "home"
url = start_server(home)
assert start_server(home) == url
with psycopg.connect(url) as connection:
    query = "SELECT setting::int * 8 / 1024 FROM pg_settings WHERE name = 'shared_buffers'"
    print(*connection.execute(query).fetchone())
"""


# Kills the server and all that belongs to it, and then itself, as a machine does that fails.
KILL = """
import contextlib
import os
import signal
import sys
from pathlib import Path
import psutil
import psycopg
from app.database.embedded import start_server

home = Path(sys.argv[1]) / "home"
with psycopg.connect(start_server(home), autocommit=True) as connection:
    connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
server = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
children = psutil.Process(server).children()
os.kill(server, signal.SIGKILL)
for child in children:
    # Those that have seen their server die may be gone already.
    with contextlib.suppress(psutil.NoSuchProcess):
        child.kill()
os.kill(os.getpid(), signal.SIGKILL)
"""

AGAIN = """
import sys
from pathlib import Path
import psycopg
from app.database.embedded import start_server

home = Path(sys.argv[1]) / "home"
with psycopg.connect(start_server(home)) as connection:
    print(*connection.execute("SELECT seven FROM kept").fetchone())
"""


def test_a_server_that_was_killed_recovers_and_stops_with_its_last_user() -> None:
    with TemporaryDirectory(prefix="sdc-") as folder:
        killed = subprocess.run([sys.executable, "-c", KILL, folder], check=False)
        assert killed.returncode == -signal.SIGKILL
        left = Path(folder, "home", "postgres", "postmaster.pid")
        # By now the number may be that of a process which has nothing to do with it.
        left.write_text("\n".join(["1", *left.read_text().splitlines()[1:]]) + "\n")
        again = [sys.executable, "-c", AGAIN, folder]
        started = subprocess.run(again, capture_output=True, text=True, check=True)
        assert started.stdout == "7\n"
        assert not left.exists()


def test_a_new_server_has_room_for_a_participants_vectors() -> None:
    with TemporaryDirectory(prefix="sdc-") as folder:
        command = [sys.executable, "-c", START, folder]
        started = subprocess.run(command, capture_output=True, text=True, check=True)
    # More than PostgreSQL's default of 128 MB, and never more than a quarter of the machine.
    assert 128 < int(started.stdout) <= BUFFERS_MB
    assert not started.stderr


def test_a_first_start_that_was_killed_is_made_again() -> None:
    with TemporaryDirectory(prefix="sdc-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        first = subprocess.Popen([sys.executable, "-c", START, folder], start_new_session=True)
        begun = home / "postgres.new" / "PG_VERSION"
        while not begun.exists():
            assert first.poll() is None
            time.sleep(0.001)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        assert not (home / "postgres").exists()
        again = subprocess.run(
            [sys.executable, "-c", START, folder], capture_output=True, text=True, check=False
        )
        assert (again.returncode, again.stderr) == (0, "")
        assert not begun.parent.exists()
        assert (home / "postgres" / "PG_VERSION").exists()


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="sdc-", ignore_cleanup_errors=True) as name:
        yield Path(name).resolve()


# What work with other servers leaves in a shell, each of which leads elsewhere or to an error.
ELSEWHERE = {
    "PGHOST": "192.0.2.1",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "somebody",
    "PGDATABASE": "nowhere",
    "PGPASSWORD": "of another",
    "PGOPTIONS": "-c no_such_setting=1",
    "PGSERVICE": "no-such-service",
    "PGSSLMODE": "verify-full",
    "PGGSSENCMODE": "require",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGCLIENTENCODING": "SQL_ASCII",
    "PGTARGETSESSIONATTRS": "standby",
    "PGDATESTYLE": "German",
    "PGTZ": "Asia/Kathmandu",
    "PGDATA": "/nowhere",
    "LC_ALL": "xx_YY.UTF-8",
    "LANG": "xx_YY.UTF-8",
}
SHOW = """
import asyncio, json, sys
from pathlib import Path
import asyncpg, psycopg
from sqlalchemy import make_url
from app.database.embedded import start_server
from app.database.engine import make_engine

url = start_server(Path(sys.argv[1]))
shown = ["lc_messages", "client_encoding", "datestyle", "data_directory"]
with psycopg.connect(url) as connection:
    told = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in shown}
    told["upper"] = connection.execute("SELECT upper('\u00e9\u00df')").fetchone()[0]
with make_engine(url).connect() as connection:
    told["engine"] = connection.exec_driver_sql("SELECT current_database()").scalar()

async def ask():
    # As Prefect's server does.
    connection = await asyncpg.connect(url)
    told["asyncpg"] = await connection.fetchval("SELECT current_user")
    await connection.close()

asyncio.run(ask())
print(json.dumps(told))
"""


@pytest.mark.parametrize("name", ["My lab's #1, 50% & more+", "x" * 200])
def test_any_folder_and_what_other_work_left_in_the_environment(folder: Path, name: str) -> None:
    """Names that shells, URLs and lists of PostgreSQL's read in a way of their own."""
    home = folder / name / "home"
    asked = subprocess.run(
        [sys.executable, "-c", SHOW, str(home)],
        env=os.environ | ELSEWHERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    told = json.loads(asked.stdout)
    assert told["lc_messages"] == "C"
    assert told["client_encoding"] == "UTF8"
    assert told["datestyle"] == "ISO, MDY"
    assert told["upper"] == "\u00c9\u00df"
    assert (told["engine"], told["asyncpg"]) == ("sdc", "postgres")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_server_ends_with_its_last_user_whatever_ends_that(
    initialised: Path, end: signal.Signals
) -> None:
    first, second = use_server(initialised), use_server(initialised)
    assert first.stdout is not None
    assert second.stdout is not None
    assert first.stdout.readline() == second.stdout.readline() != ""
    first.send_signal(end)
    first.communicate()
    time.sleep(0.5)
    assert at_work(initialised)
    second.send_signal(end)
    second.communicate()
    wait_until(lambda: not at_work(initialised))
    assert not (initialised / "postgres" / "postmaster.pid").exists()


@pytest.fixture(scope="module")
def initialised() -> Iterator[Path]:
    """A home whose server has been made, and is down."""
    with TemporaryDirectory(prefix="sdc-", ignore_cleanup_errors=True) as name:
        home = Path(name).resolve() / "home"
        use_server(home).communicate("")
        assert not at_work(home)
        yield home


def test_a_server_that_is_killed_is_started_again_while_it_is_used(initialised: Path) -> None:
    with use_server(initialised) as user:
        assert user.stdout is not None
        url = user.stdout.readline().strip()
        killed = server_of(initialised)
        # What has just begun and ends is not tried again.
        time.sleep(1.2)
        killed.kill()

        def another_answers() -> bool:
            try:
                psycopg.connect(url).close()
                return server_of(initialised).pid != killed.pid
            except (psycopg.OperationalError, psutil.NoSuchProcess, FileNotFoundError):
                return False

        wait_until(another_answers)
        user.communicate("")
    assert not at_work(initialised)


def test_a_server_whose_keeper_is_killed_ends_and_the_next_connection_starts_it(
    initialised: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_HOME", str(initialised))
    monkeypatch.delenv("SDC_DATABASE_URL", raising=False)
    get_settings.cache_clear()
    get_engine.cache_clear()
    try:
        for _ in range(2):
            with get_engine().connect() as connection:
                assert connection.scalar(text("SELECT 1")) == 1
            server = server_of(initialised)
            keeper = server.parent()
            assert keeper is not None
            assert "keeper.py" in " ".join(keeper.cmdline())
            keeper.kill()
            wait_until(lambda: not at_work(initialised))
        with get_engine().connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        get_engine().dispose()
    finally:
        get_settings.cache_clear()
        get_engine.cache_clear()


def test_a_home_that_was_copied_while_its_server_was_up(initialised: Path, folder: Path) -> None:
    """Its locks name a server that is at work, but elsewhere."""
    copied = folder / "copied"
    with use_server(initialised) as user:
        assert user.stdout is not None
        user.stdout.readline()
        subprocess.run(["cp", "-a", str(initialised), str(copied)], check=True)
        assert (copied / "postgres" / ".s.PGSQL.5432.lock").exists()
        with use_server(copied) as other:
            assert other.stdout is not None
            assert str(copied) in other.stdout.readline()
            assert at_work(copied)
            other.communicate("")
        user.communicate("")
    assert not at_work(copied)


def test_a_server_that_does_not_start_says_why_in_one_line(folder: Path, initialised: Path) -> None:
    home = folder / "home"
    shutil.copytree(initialised, home, ignore=shutil.ignore_patterns(".s.*"))
    subprocess.run(["chown", "-R", "--reference", initialised / "postgres", home], check=True)
    with (home / "postgres" / "postgresql.auto.conf").open("a") as settings:
        settings.write("shared_buffers = 'many'\n")
    asked = subprocess.run(
        [sys.executable, "-m", "app.cli", "db", "upgrade"],
        env={k: v for k, v in os.environ.items() if k != "SDC_DATABASE_URL"}
        | {"SDC_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode != 0
    (line,) = asked.stderr.splitlines()
    assert "does not start" in line
    assert "postgresql.auto.conf" in line
    assert str(home / "postgres" / "log") in line
