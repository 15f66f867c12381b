"""PostgreSQL's own programs that write a database to a file, and read it back."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.database.embedded import brought_programs
from app.database.models import SCHEMA
from app.errors import UnavailableError
from app.psql import without_password

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Programs:
    """A folder of PostgreSQL's client programs, all of one major version."""

    folder: Path
    major: int


def find_programs(at_least: int) -> Programs:
    """The client programs of the lowest version that is high enough: on the path, or brought.

    Parameters
    ----------
    at_least : int
        Major version of what they talk to.

    Raises
    ------
    UnavailableError
        There are none of this version or a later one.
    """
    on_path = shutil.which("pg_dump")
    folders = [brought_programs(), *([Path(on_path).parent] if on_path else [])]
    found = [Programs(folder, major) for folder in folders if (major := _major(folder)) is not None]
    fitting = [each for each in found if each.major >= at_least]
    if not fitting:
        known = ", ".join(str(each.major) for each in found) or "none"
        raise UnavailableError(
            f"no pg_dump and pg_restore of PostgreSQL {at_least} or later are here (found: "
            f"{known})",
            hint=f"install PostgreSQL's client programs, version {at_least} or later",
        )
    return min(fitting, key=lambda each: each.major)


def dump(programs: Programs, url: str, snapshot: str, file: Path) -> None:
    """Write the catalog's schema and rows to a file of pg_dump's custom format.

    Parameters
    ----------
    programs : Programs
    url : str
        ``postgresql://`` URL.
    snapshot : str
        Name of an exported snapshot; the rows are those that it sees.
    file : Path

    Raises
    ------
    UnavailableError
        pg_dump fails.
    """
    bare, environment = without_password(url)
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL's, and no shell
        [
            str(programs.folder / "pg_dump"),
            *("--format=custom", "--compress=1", "--no-owner", "--no-password"),
            *(f"--schema={SCHEMA}", f"--snapshot={snapshot}", f"--file={file}", bare),
        ],
        env=environment,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise UnavailableError(
            f"the database cannot be dumped: {_reason(done.stderr)}",
            hint="the role must own the catalog; `sdc doctor` tells more",
        )


def load(
    programs: Programs, url: str, file: Path, before: Iterable[str], after: Iterable[str]
) -> None:
    """Load the rows of a dump in one transaction, between statements of the caller's.

    Parameters
    ----------
    programs : Programs
    url : str
        ``postgresql://`` URL of a database that has the dump's tables.
    file : Path
        Of `dump`.
    before, after : iterable of str
        SQL statements.

    Raises
    ------
    UnavailableError
        The dump cannot be read, or the database refuses something; nothing is changed then.
    """
    bare, environment = without_password(url)
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(  # noqa: S603 - as above
            [
                str(programs.folder / "psql"),
                *("--no-psqlrc", "--quiet", "--no-password", "--output=/dev/null"),
                *("--set=ON_ERROR_STOP=1", "--file=-", bare),
            ],
            env=environment,
            stdin=subprocess.PIPE,
            stderr=said,
        ) as psql,
    ):
        try:
            unread = _feed(programs, file, psql.stdin, before, after)
        except BrokenPipeError:
            unread = None
        psql.communicate()
        said.seek(0)
        refused = said.read()
    if unread is None and psql.returncode == 0:
        return
    raise UnavailableError(
        f"the database cannot take the backup: {_reason(unread or refused)}",
        hint="nothing of it was restored; mend that, and restore again",
    )


def _feed(
    programs: Programs,
    file: Path,
    script: IO[bytes] | None,
    before: Iterable[str],
    after: Iterable[str],
) -> bytes | None:
    """Write the whole script; what pg_restore complained of where it failed."""
    assert script is not None  # noqa: S101 - a pipe was asked for
    script.write(_statements(["BEGIN", *before]))
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(  # noqa: S603 - as above
            [
                str(programs.folder / "pg_restore"),
                *("--data-only", f"--schema={SCHEMA}", "--file=-", str(file)),
            ],
            stdout=subprocess.PIPE,
            stderr=said,
        ) as restore,
    ):
        assert restore.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in restore.stdout:
            # A setting that servers before 17 do not know, and that changes nothing here.
            if line.startswith(b"SET transaction_timeout"):
                break
            script.write(line)
            if line.startswith(b"COPY "):
                break
        shutil.copyfileobj(restore.stdout, script, _BLOCK)
        restore.wait()
        said.seek(0)
        complaint = said.read()
    if restore.returncode:
        # Without its end the transaction is rolled back.
        return complaint or b"pg_restore failed"
    script.write(_statements([*after, "COMMIT"]))
    script.flush()
    return None


def _statements(statements: Iterable[str]) -> bytes:
    return "".join(f"{statement};\n" for statement in statements).encode()


def _major(folder: Path) -> int | None:
    try:
        told = subprocess.run(  # noqa: S603 - as above
            [str(folder / "pg_dump"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    if not all((folder / name).is_file() for name in ("pg_restore", "psql")):
        return None
    found = re.search(r"\) (\d+)", told)
    return int(found[1]) if found else None


def _reason(stderr: bytes) -> str:
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    faults = [line for line in lines if "error:" in line.lower()]
    first = (faults or lines or ["no reason was told"])[0]
    return " ".join(re.sub(r"^.*?(ERROR|error|FATAL):", "", first).split())
