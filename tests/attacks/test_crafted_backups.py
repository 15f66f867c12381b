"""Backups that others made, or altered: nothing of them is run, and none is taken unasked."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.backups import service
from app.backups.archive import CHECKSUM, MANIFEST, SIGNATURE
from app.database import migrate
from app.database.engine import get_engine
from app.settings import get_settings
from tests.app.conftest import Counts, Sdc
from tests.conftest import forget_settings

Manifest = dict[str, Any]
Change = Callable[[Manifest, dict[str, bytes]], None]
PROGRAM = "COPY (SELECT 1) TO PROGRAM 'touch {marker}'"


@pytest.fixture
def file(catalog: Path, sdc: Sdc) -> Path:
    """A backup of an empty catalog."""
    path = catalog / "catalog.sdc"
    made = sdc("backup", path)
    assert made.exit_code == 0, made.stderr
    return path


@pytest.fixture
def empty(
    file: Path, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The home of another catalog, without a schema, whose user is a superuser."""
    home = tmp_path / "new"
    monkeypatch.setenv("SDC_HOME", str(home))
    monkeypatch.setenv("SDC_DATABASE_URL", empty_database)
    forget_settings()
    yield home
    get_engine().dispose()
    forget_settings()


def crafted(file: Path, change: Change, signature: bytes | None = None) -> Path:
    """A backup with other parts and another manifest, all of whose checksums are right."""
    with tarfile.open(file) as old:
        parts = {
            member.name: (old.extractfile(member) or io.BytesIO()).read()
            for member in old.getmembers()
        }
    manifest = json.loads(parts[MANIFEST])
    rows = {
        table["name"]: gzip.decompress(parts[f"tables/{table['name']}.copy.gz"])
        for table in manifest["tables"]
    }
    change(manifest, rows)
    for part in manifest["parts"]:
        name = part["name"].removeprefix("tables/").removesuffix(".copy.gz")
        content = gzip.compress(rows.get(name, b""))
        parts[part["name"]] = content
        part.update(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    told = json.dumps(manifest).encode()
    parts[MANIFEST] = told
    parts[CHECKSUM] = f"{hashlib.sha256(told).hexdigest()}  {MANIFEST}\n".encode()
    parts[SIGNATURE] = parts[SIGNATURE] if signature is None else signature
    target = file.with_name("crafted.sdc")
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as new:
        for name in (MANIFEST, CHECKSUM, SIGNATURE, *(each["name"] for each in manifest["parts"])):
            member = tarfile.TarInfo(name)
            member.size = len(parts[name])
            new.addfile(member, io.BytesIO(parts[name]))
    return target


def nothing(_manifest: Manifest, _rows: dict[str, bytes]) -> None:
    """The backup as it is, with another signature."""


def a_key(manifest: Manifest, rows: dict[str, bytes]) -> None:
    """A key of an administrator, which the attacker has."""
    (table,) = (each for each in manifest["tables"] if each["name"] == "api_key")
    values = {
        **dict.fromkeys(table["columns"], "\\N"),
        "id": "1",
        "name": "x",
        "sha256": "0" * 64,
        "scopes": "{admin}",
        "datasets": "{}",
        "created_at": "2026-01-01 00:00:00+00",
    }
    rows["api_key"] = "\t".join(values[name] for name in table["columns"]).encode() + b"\n"
    table["rows"] = 1


@pytest.mark.parametrize("signature", [None, b"", b"0" * 64, b"\xff" * 64])
@pytest.mark.parametrize("change", [nothing, a_key])
def test_what_is_not_signed_is_not_taken(
    file: Path, empty: Path, sdc: Sdc, change: Change, signature: bytes | None
) -> None:
    refused = crafted(file, change, signature)
    result = sdc("restore", refused)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {refused} is not signed with this catalog's key (")
    assert "backup.key" in result.stderr
    assert "--trust" in result.stderr
    assert migrate.current_revision(get_engine()) is None
    assert not empty.exists()


def test_the_key_of_another_catalog_does_not_do(file: Path, empty: Path, sdc: Sdc) -> None:
    empty.mkdir()
    (empty / "backup.key").write_text("f" * 64)
    assert "is not signed with this catalog's key" in sdc("restore", file).stderr
    assert migrate.current_revision(get_engine()) is None
    (empty / "backup.key").write_text("short")
    assert "is no key for backups" in sdc("restore", file).stderr


def test_the_key_is_its_owner_s_alone_and_in_no_backup(
    file: Path, empty: Path, sdc: Sdc, catalog: Path
) -> None:
    key = catalog / "backup.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_bytes() not in file.read_bytes()
    empty.mkdir()
    (empty / "backup.key").write_bytes(key.read_bytes())
    assert sdc("restore", file).exit_code == 0


def test_what_is_trusted_is_taken(
    file: Path, empty: Path, sdc: Sdc, count_rows: Callable[[], Counts]
) -> None:
    result = sdc("restore", crafted(file, a_key), "--trust")
    assert result.exit_code == 0, result.stderr
    assert count_rows()["api_key"] == 1


def of_first(manifest: Manifest, **changes: object) -> None:
    """Change the first table of a manifest, whose part is named after it."""
    before = f"tables/{manifest['tables'][0]['name']}.copy.gz"
    manifest["tables"][0].update(changes)
    for part in manifest["parts"]:
        if part["name"] == before:
            part["name"] = f"tables/{manifest['tables'][0]['name']}.copy.gz"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda manifest, _: of_first(manifest, name="x; COPY (SELECT 1) TO PROGRAM 'id'"),
            "the manifest of",
        ),
        (lambda manifest, _: of_first(manifest, name="pg_authid"), "tables are not those"),
        (
            lambda manifest, _: of_first(manifest, columns=["id) FROM PROGRAM 'id' --"]),
            "tables are not those",
        ),
        (
            lambda manifest, _: manifest["sequences"][0].update(name="x'); SELECT 1 --"),
            "the manifest of",
        ),
        (lambda manifest, _: manifest["sequences"][0].update(name="x"), "sequences are not those"),
        (lambda manifest, _: manifest.update(tables=manifest["tables"][:-1]), "is no backup"),
    ],
)
def test_names_are_the_catalog_s_own(
    file: Path,
    empty: Path,
    sdc: Sdc,
    count_rows: Callable[[], Counts],
    change: Change,
    told: str,
) -> None:
    result = sdc("restore", crafted(file, change), "--trust")
    assert result.exit_code == 2
    assert told in result.stderr
    if migrate.current_revision(get_engine()) is not None:
        assert set(count_rows().values()) == {0}


@pytest.mark.parametrize(
    "evil",
    [
        b"\\.\n\\! touch {marker}\n",
        b"\\.\nCOPY (SELECT 1) TO PROGRAM 'touch {marker}';\n",
        b"1\t'); COPY (SELECT 1) TO PROGRAM 'touch {marker}'; --\n",
    ],
)
def test_rows_are_values_and_no_statements(
    file: Path,
    empty: Path,
    tmp_path: Path,
    sdc: Sdc,
    count_rows: Callable[[], Counts],
    evil: bytes,
) -> None:
    marker = tmp_path / "ran"

    def change(_manifest: Manifest, rows: dict[str, bytes]) -> None:
        for name in rows:
            rows[name] = evil.replace(b"{marker}", str(marker).encode())

    result = sdc("restore", crafted(file, change), "--trust")
    # COPY takes a dot for the end, and reads nothing of what follows.
    if not evil.startswith(b"\\."):
        assert result.exit_code == 1
        assert "the database cannot take the backup: " in result.stderr
    assert set(count_rows().values()) == {0}
    assert not marker.exists()


def test_rows_are_taken_in_by_a_role_that_may_write_rows_alone(
    file: Path, empty: Path, tmp_path: Path, sdc: Sdc, count_rows: Callable[[], Counts]
) -> None:
    """Even a check that somebody gave a catalog runs nothing as its superuser."""
    migrate.upgrade(get_engine())
    marker = tmp_path / "ran"
    url = get_settings().database_url
    assert url is not None
    with psycopg.connect(url.get_secret_value(), autocommit=True) as connection:
        program = PROGRAM.format(marker=marker).replace("'", "''")
        connection.execute(
            "CREATE FUNCTION public.harmless(text) RETURNS boolean LANGUAGE plpgsql AS"
            f" $$BEGIN EXECUTE '{program}'; RETURN true; END$$"
        )
        connection.execute("ALTER TABLE catalog.api_key ADD CHECK (public.harmless(name))")
    result = sdc("restore", crafted(file, a_key), "--trust")
    assert result.exit_code == 1
    assert "permission denied to COPY to or from an external program" in result.stderr
    assert set(count_rows().values()) == {0}
    assert not marker.exists()
    with psycopg.connect(url.get_secret_value()) as connection:
        left = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'sdc\\_restore\\_%'"
        assert connection.execute(left).fetchone() == (0,)


def test_a_backup_of_the_format_that_held_sql_is_refused(file: Path, empty: Path, sdc: Sdc) -> None:
    old = crafted(file, lambda manifest, _: manifest.update(format=1))
    for words in ((), ("--trust",)):
        result = sdc("restore", old, *words)
        assert result.exit_code == 2
        assert "is a backup of format 1, this code knows 2" in result.stderr
    assert migrate.current_revision(get_engine()) is None
    assert not empty.exists()


def test_no_program_is_needed(catalog: Path, sdc: Sdc, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object, **_: object) -> None:
        raise AssertionError(f"a program was started: {words}")

    monkeypatch.setattr("subprocess.Popen", refuse)
    service.backup(catalog / "x.sdc", get_settings(), lambda *_: None)
