"""The embedded server: what it is started with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from app.database.embedded import BUFFERS_MB

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
        Path(folder).chmod(0o755)
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
        Path(folder).chmod(0o755)
        command = [sys.executable, "-c", START, folder]
        started = subprocess.run(command, capture_output=True, text=True, check=True)
    # More than PostgreSQL's default of 128 MB, and never more than a quarter of the machine.
    assert 128 < int(started.stdout) <= BUFFERS_MB
    assert not started.stderr


def test_a_first_start_that_was_killed_is_made_again() -> None:
    with TemporaryDirectory(prefix="sdc-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
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
