"""Attacks by another user of the same machine, who is a real one: `nobody`."""

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psycopg
import pytest
from sqlalchemy import make_url

from app.database.embedded import brought_programs
from app.doctor.service import examine
from app.private import runtime_folder
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.database.servers import ROOT, use_server

OTHER = "nobody"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def as_another(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as another user."""
    user = pwd.getpwnam(OTHER)
    return subprocess.run(
        command,
        cwd="/",
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def asks(address: str, user: str) -> "subprocess.CompletedProcess[str]":
    """What another user gets who asks a server as one of its roles."""
    url = f"postgresql://{user}:@/postgres?host={address}"
    command = "COPY (SELECT 1) TO PROGRAM 'touch /tmp/run-by-another'"
    return as_another(str(brought_programs() / "psql"), url, "-Atc", command)


@pytest.fixture(params=["home", "a very long name " * 9], ids=["short", "long"])
def home(request: pytest.FixtureRequest) -> Iterator[Path]:
    with TemporaryDirectory(prefix="sdc-attack-", ignore_cleanup_errors=True) as name:
        above = Path(name).resolve() / request.param.strip()
        above.mkdir(mode=0o700)
        yield above / "home"


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    """The folder by which clients reach the server of a home, which is up."""
    with use_server(home) as user:
        assert user.stdout is not None
        yield str(make_url(user.stdout.readline().strip()).query["host"])
        user.communicate("")


@pytest.mark.parametrize("role", ["postgres", "catalog_reader"])
def test_nobody_else_logs_in(home: Path, address: str, role: str) -> None:
    assert as_another("ls", address).returncode != 0
    assert "Permission denied" in asks(address, role).stderr
    # Somebody opens all folders, and the socket itself: the server asks the system who it is.
    opened = home / "postgres"
    for folder in (opened, *opened.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)
    (opened / ".s.PGSQL.5432").chmod(0o777)
    refused = asks(str(opened), role)
    assert refused.returncode != 0
    if len(str(opened)) < 90:
        assert "Peer authentication failed" in refused.stderr
    link = Path(opened.root, "tmp", f"sdc-attack-{os.getpid()}")
    link.symlink_to(opened)
    try:
        assert "Peer authentication failed" in asks(str(link), role).stderr
        # Who owns it gets in by the same way.
        psycopg.connect(f"postgresql://postgres:@/sdc?host={link}").close()
    finally:
        link.unlink()


def test_no_folder_above_changes_who_may_enter_it(home: Path) -> None:
    above = [folder for folder in home.parents if folder.exists()]
    programs = [brought_programs(), *brought_programs().parents]
    brought_programs().parents[2].chmod(0o755)
    modes = {folder: folder.stat().st_mode for folder in (*above, *programs)}
    assert stat.S_IMODE(modes[home.parent]) == 0o700
    with use_server(home) as user:
        user.communicate("")
        assert user.returncode == 0
    assert {folder: folder.stat().st_mode for folder in modes} == modes
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_programs_that_root_alone_may_enter_are_copied_and_not_opened(home: Path) -> None:
    """As where the virtual environment lies below root's own folder."""
    packages = home.parent / "packages"
    packages.mkdir()
    installed = brought_programs().parents[1]
    for folder in (installed, installed.with_name(f"{installed.name}.libs")):
        subprocess.run(["cp", "-a", str(folder), str(packages)], check=True)
    with use_server(home, PYTHONPATH=str(packages)) as user:
        assert user.stdout is not None
        assert user.stdout.readline().startswith("postgresql://")
        server = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
        runs = Path(os.readlink(f"/proc/{server}/exe"))
        assert runs.name == "postgres"
        assert not runs.is_relative_to(ROOT)
        assert not runs.is_relative_to(home.parent)
        user.communicate("")
        assert user.returncode == 0
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700
    assert not runs.exists()


def test_a_runtime_folder_that_another_made_first_is_not_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = home.parent.parent / "tmp"
    temporary.mkdir(mode=0o755)
    home.parent.parent.chmod(0o755)
    temporary.chmod(0o1777)
    name = temporary / f"sdc-{os.getuid()}"
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    for squat in (
        f"mkdir -m 700 {name}",
        f"mkdir -m 777 {name}",
        f"ln -s {temporary} {name}",
    ):
        assert as_another("sh", "-c", squat).returncode == 0
        runtime_folder.cache_clear()
        found = runtime_folder()
        assert found != name
        assert (found.stat().st_uid, stat.S_IMODE(found.stat().st_mode)) == (os.getuid(), 0o700)
        subprocess.run(["rm", "-r", str(name)], check=True)
    # What others may enter is none, either, though it is this user's.
    name.mkdir(mode=0o755)
    runtime_folder.cache_clear()
    assert runtime_folder() != name
    name.chmod(0o700)
    runtime_folder.cache_clear()
    assert runtime_folder() == name
    runtime_folder.cache_clear()


def test_what_is_stored_is_nobody_elses(home: Path) -> None:
    stored = ArtefactStore(str(home / "store"))
    stored.put({"betas": np.ones(3)})
    for path in (home / "store", *(home / "store").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    home.parent.chmod(0o755)
    home.parent.parent.chmod(0o755)
    assert as_another("find", str(home / "store"), "-name", "*.safetensors").stdout == ""


def test_the_doctor_tells_what_others_may(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDC_HOME", str(home))
    monkeypatch.setenv("SDC_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    ArtefactStore(str(home / "store")).put({"betas": np.ones(3)})

    def access() -> tuple[bool, str, str]:
        get_settings.cache_clear()
        (check,) = [one for one in examine(get_settings()).checks if one.name == "access"]
        return check.ok, check.detail, check.hint

    try:
        home.chmod(0o700)
        assert access()[0]
        for folder, mode, may in (
            (home, 0o755, "read and enter"),
            (home / "store", 0o770, "write"),
        ):
            folder.chmod(mode)
            ok, detail, hint = access()
            assert not ok
            assert may in detail
            assert str(folder) in detail
            assert subprocess.run(hint, shell=True, check=True).returncode == 0  # noqa: S602
            assert access()[0]
    finally:
        get_settings.cache_clear()


def test_the_doctor_looks_at_the_embedded_server(home: Path) -> None:
    code = """
import sys
from app.database.embedded import start_server
from app.doctor.service import examine
from app.settings import get_settings
home = get_settings().home
start_server(home)
def look():
    print([check.detail for check in examine(get_settings()).checks if check.name == "access"][0])
look()
rules = home / "postgres" / "pg_hba.conf"
before = rules.read_text()
rules.write_text("local all all trust\\n")
look()
rules.write_text(before)
(home / "postgres").chmod(0o750)
look()
"""
    asked = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("SDC_")}
        | {"SDC_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    well, trust, entered = asked.stdout.splitlines()
    assert well.startswith("nobody else may enter")
    assert "pg_hba.conf admits others" in trust
    assert "others may read and enter" in entered
