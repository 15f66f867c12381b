"""The embedded server: what it is started with."""

import subprocess
import sys
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


def test_a_new_server_has_room_for_a_participants_vectors() -> None:
    with TemporaryDirectory(prefix="sdc-") as folder:
        Path(folder).chmod(0o755)
        command = [sys.executable, "-c", START, folder]
        started = subprocess.run(command, capture_output=True, text=True, check=True)
    # More than PostgreSQL's default of 128 MB, and never more than a quarter of the machine.
    assert 128 < int(started.stdout) <= BUFFERS_MB
    assert not started.stderr
