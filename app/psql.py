"""PostgreSQL's own terminal on the catalog."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import make_url

from app.database.embedded import brought_programs
from app.errors import UnavailableError


def run_psql(url: str, arguments: Sequence[str] = ()) -> int:
    """Run psql on a database until it ends.

    Parameters
    ----------
    url : str
        ``postgresql://`` URL.
    arguments : sequence of str
        Further arguments of psql's.

    Returns
    -------
    int
        psql's exit status.

    Raises
    ------
    UnavailableError
        There is no psql.
    """
    bare, environment = without_password(url)
    # Ctrl-C is psql's: it stops a query there, and must not end the process that holds the server.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.run(  # noqa: S603 - the arguments are the user's own
            [str(find_psql()), bare, *arguments], env=environment, check=False
        ).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """A URL for a command line, and the environment that tells its password.

    Command lines can be read by everybody on the machine.

    Parameters
    ----------
    url : str
        ``postgresql://`` URL.
    """
    parsed = make_url(url)
    environment = dict(os.environ)
    if parsed.password is not None:
        environment["PGPASSWORD"] = str(parsed.password)
    return parsed._replace(password=None).render_as_string(hide_password=False), environment


def find_psql() -> Path:
    """The psql on the path, else the one that the embedded server brings.

    Raises
    ------
    UnavailableError
        There is none.
    """
    if found := shutil.which("psql"):
        return Path(found)
    brought = brought_programs() / "psql"
    if not brought.is_file():
        raise UnavailableError("there is no psql", hint="install PostgreSQL's client programs")
    return brought
