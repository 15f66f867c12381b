"""CPU time of commands that only read, from their start to their answer, beside their libraries.

The catalog has one small data set; its server is up. Of each, the least of several
runs in turn, user and system time of the command's own process.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
from sqlalchemy import make_url
from sqlalchemy.orm import Session

from app.database.embedded import start_server
from app.database.engine import make_engine
from app.database.migrate import upgrade
from app.store import ArtefactStore
from tests.app.published import publish, write_table

ROUNDS = 7
COMMANDS = (
    ("--help",),
    ("datasets",),
    ("runs",),
    ("concepts",),
    ("search", "face"),
    ("run", "nosuch"),
)
SDC = "from app.cli import main; main()"
LIBRARIES = "import typer, pydantic_settings, numpy, psycopg, sqlalchemy.orm, pgvector.sqlalchemy"


def measure() -> Iterator[str]:
    """A line for each command."""
    with tempfile.TemporaryDirectory(prefix="sdc-bench-") as folder:
        home = Path(folder)
        url = start_server(home)
        name = "bench"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        own = make_url(url).set(database=name).render_as_string(hide_password=False)
        engine = make_engine(own)
        upgrade(engine)
        table = write_table(home / "words.csv")
        with Session(engine) as session, session.begin():
            publish(session, f"vectors:{table}", ArtefactStore(str(home / "store")))
        engine.dispose()
        environment = os.environ | {"SDC_HOME": str(home), "SDC_DATABASE_URL": own}
        asked: dict[str, list[str]] = {
            "the libraries alone": [sys.executable, "-c", LIBRARIES],
            **{f"sdc {' '.join(each)}": [sys.executable, "-c", SDC, *each] for each in COMMANDS},
        }
        least = dict.fromkeys(asked, float("inf"))
        for _ in range(ROUNDS):
            for what, command in asked.items():
                least[what] = min(least[what], cpu_seconds(command, environment))
    bare = least["the libraries alone"]
    for what, seconds in least.items():
        yield f"{what}: {seconds:.2f} s of CPU, {seconds / bare:.2f} times the libraries"


def cpu_seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    """User and system time of a process of its own, without those that it starts and leaves."""
    nothing = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, nothing, number) for number in range(3)]
    try:
        process = os.posix_spawn(command[0], command, environment, file_actions=actions)
    finally:
        os.close(nothing)
    _, status, used = os.wait4(process, 0)
    code = os.waitstatus_to_exitcode(status)
    # What fails early is quick.
    if code != (2 if "nosuch" in command else 0):
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return used.ru_utime + used.ru_stime
