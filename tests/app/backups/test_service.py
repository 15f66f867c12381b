"""Backups of a catalog, restored on an empty server: the same answers, or nothing at all."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.backups import service
from app.backups.archive import CHECKSUM, MANIFEST, SIGNATURE, open_archive
from app.backups.signature import sign
from app.database import migrate
from app.database.engine import get_engine, make_engine
from app.errors import InputError
from app.settings import get_settings
from app.store import ArtefactStore
from app.voxels.indexing import index_runs
from tests.app.conftest import Counts, Sdc
from tests.app.database.conftest import READER, login, new_database
from tests.app.published import publish, write_table
from tests.conftest import forget_settings

QUESTIONS = (
    ("search", "a smiling woman", "--dataset", "lab-a"),
    ("search", "food", "--minus", "face", "--dataset", "lab-b"),
    ("voxels", "face", "--dataset", "lab-a"),
    *(("datasets",), ("runs",), ("network", "subj01", "--dataset", "lab-a")),
    ("show", "1"),
    ("similar", "8"),
)
VIEWS = (
    *("run_subjects", "run_verdicts"),
    *("runs", "subjects", "voxels"),
    *("concepts", "concept_subjects", "concept_regions", "concept_voxels", "concept_maps"),
)
KEY = "k" * 64
# Where rows lie, whatever the index that a query would take.
ORDER = "SELECT run_id, subject_id, index FROM catalog.voxel_vector ORDER BY ctid"
GUARDS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated::text
FROM pg_constraint WHERE connamespace = 'catalog'::regnamespace
UNION ALL SELECT tgrelid::regclass::text, tgname, tgenabled::text, '' FROM pg_trigger
WHERE NOT tgisinternal
UNION ALL SELECT oid::regclass::text, relkind::text, relacl::text, '' FROM pg_class
WHERE relnamespace = 'catalog'::regnamespace
UNION ALL SELECT oid::regprocedure::text, '', proacl::text, '' FROM pg_proc
WHERE pronamespace = 'catalog'::regnamespace
ORDER BY 1, 2, 3
"""


@dataclass(frozen=True)
class BackedUp:
    """A catalog of two datasets, one embargoed, and a backup of it."""

    url: str
    home: Path
    file: Path


def settle(patch: pytest.MonkeyPatch, url: str, home: Path) -> None:
    """Make a database and a home folder those of this process."""
    patch.setenv("SDC_HOME", str(home))
    patch.setenv("SDC_DATABASE_URL", url)
    patch.setenv("SDC_BACKUP_KEY", KEY)
    forget_settings()


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def backed_up(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackedUp]:
    home = tmp_path_factory.mktemp("backed-up")
    table = write_table(home / "words.csv")
    with new_database(server_url) as url, pytest.MonkeyPatch.context() as patch:
        settle(patch, url, home)
        migrate.upgrade(get_engine())
        with Session(get_engine()) as session, session.begin():
            for slug in ("lab-a", "lab-b"):
                publish(session, f"vectors:{table}", ArtefactStore(str(home / "store")), slug=slug)
            # An order that neither a key nor an id tells.
            session.execute(
                text(
                    "CREATE TEMPORARY TABLE moved ON COMMIT DROP AS SELECT * FROM"
                    " catalog.voxel_vector ORDER BY md5(run_id || ' ' || subject_id || index::text)"
                )
            )
            session.execute(text("TRUNCATE catalog.voxel_vector"))
            session.execute(text("INSERT INTO catalog.voxel_vector SELECT * FROM moved"))
            session.execute(text("UPDATE catalog.dataset SET embargoed = slug = 'lab-b'"))
        patch.setenv("SDC_INDEX_FROM", "0")
        get_settings.cache_clear()
        assert index_runs() == [1, 2]
        file = home / "catalog.sdc"
        service.backup(file, get_settings(), lambda *_: None)
        get_engine().dispose()
        yield BackedUp(url, home, file)
    forget_settings()


@pytest.fixture
def asked(backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackedUp]:
    """The catalog that was backed up, as this process's."""
    settle(monkeypatch, backed_up.url, backed_up.home)
    yield backed_up
    get_engine().dispose()
    forget_settings()


@pytest.fixture
def empty(empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server without a schema, and a home without a store, as this process's."""
    settle(monkeypatch, empty_database, tmp_path / "new")
    yield empty_database
    get_engine().dispose()
    forget_settings()


def shown(url: str, view: str) -> list[str]:
    """What a view shows, in whatever order it does."""
    return sorted(map(repr, rows(url, f"TABLE catalog.{view}")))


def untouched(home: Path) -> bool:
    """Whether neither a schema nor a store was made."""
    return migrate.current_revision(get_engine()) is None and not (home / "new" / "store").exists()


def test_a_restored_catalog_gives_the_same_answers(
    asked: BackedUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sdc: Sdc, server_url: str
) -> None:
    monkeypatch.setenv("SDC_INDEX_FROM", "0")
    get_settings.cache_clear()
    answers = {words: sdc(*words, "--json") for words in QUESTIONS}
    assert {each.exit_code for each in answers.values()} == {0}
    told = {name: shown(asked.url, name) for name in VIEWS}
    assert all(told.values())
    guards, order = rows(asked.url, GUARDS), rows(asked.url, ORDER)
    assert order != sorted(order)
    # The questions left prompts behind them, which are a part of the catalog.
    file = tmp_path / "again.sdc"
    assert sdc("backup", file).exit_code == 0
    get_engine().dispose()
    with new_database(server_url) as url:
        settle(monkeypatch, url, tmp_path / "new")
        restored = sdc("restore", file)
        assert restored.exit_code == 0, restored.stderr
        assert restored.stdout.startswith(f"restored {file}: 2 runs, 6 artefacts, ")
        for words, answer in answers.items():
            assert sdc(*words, "--json").stdout == answer.stdout
        assert {name: shown(url, name) for name in VIEWS} == told
        assert rows(url, GUARDS) == guards
        assert rows(url, ORDER) == order
        reader = login(url, READER)
        assert rows(reader, "SELECT DISTINCT dataset FROM catalog.concepts") == [("lab-a",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows(reader, "TABLE catalog.api_key")
        store = tmp_path / "new" / "store"
        (uri,) = {
            str(row[0]).rsplit("/", 2)[0]
            for row in rows(url, "SELECT artefact_uri FROM catalog.decoder")
        }
        assert uri == str(store)
        # Numbers of new rows go on where the old ones ended.
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO catalog.region (dataset_id, atlas, name) VALUES (1, 'new', 'new')"
            )
        report = json.loads(sdc("doctor", "--json").stdout)
        assert {each["name"]: each["ok"] for each in report["checks"]}["artefacts"]
        get_engine().dispose()
    forget_settings()


def test_a_backup_names_its_parts_and_where_they_come_from(backed_up: BackedUp) -> None:
    with tarfile.open(backed_up.file) as archive:
        manifest = json.loads((archive.extractfile(MANIFEST) or io.BytesIO()).read())
        for part in manifest["parts"]:
            content = (archive.extractfile(part["name"]) or io.BytesIO()).read()
            assert len(content) == part["size"]
            assert hashlib.sha256(content).hexdigest() == part["sha256"]
    assert manifest["revision"] == migrate.head_revision()
    assert [(run["dataset"], run["licence"], run["citation"]) for run in manifest["runs"]] == [
        ("lab-a", "CC0", "Nobody, 2024"),
        ("lab-b", "CC0", "Nobody, 2024"),
    ]
    assert backed_up.file.stat().st_mode & 0o777 == 0o600


def test_where_an_artefact_is_damaged_the_older_backup_stays(
    asked: BackedUp, tmp_path: Path, sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(asked.home / "store", store)
    monkeypatch.setenv("SDC_STORE", str(store))
    get_settings.cache_clear()
    (damaged, *_) = sorted(store.rglob("*.safetensors"))
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    file = tmp_path / "catalog.sdc"
    file.write_bytes(b"the older one")
    result = sdc("backup", file)
    assert result.exit_code == 1
    assert f"artefact {damaged.stem[:12]} in {store} is damaged" in result.stderr
    damaged.unlink()
    assert "a file is missing" in sdc("backup", file).stderr
    assert file.read_bytes() == b"the older one"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["catalog.sdc", "store"]


def test_a_catalog_that_is_not_empty_is_left_as_it_is(
    asked: BackedUp, sdc: Sdc, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    result = sdc("restore", asked.file)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the catalog is not empty: catalog.")
    assert count_rows() == before


def test_a_migrated_catalog_without_rows_is_filled(
    backed_up: BackedUp, empty: str, sdc: Sdc
) -> None:
    migrate.upgrade(get_engine())
    assert sdc("restore", backed_up.file).exit_code == 0
    assert rows(empty, "SELECT count(*) FROM catalog.component") == [(12,)]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_byte_of_a_part_changes_unseen(
    backed_up: BackedUp, tmp_path: Path, data: st.DataObject
) -> None:
    whole = backed_up.file.read_bytes()
    with tarfile.open(backed_up.file) as archive:
        parts = [(each.offset_data, each.size) for each in archive.getmembers()]
    start, size = data.draw(st.sampled_from(parts))
    # A part, or the header before it.
    place = data.draw(st.integers(start - 512, start + size - 1))
    altered = bytearray(whole)
    altered[place] ^= data.draw(st.integers(1, 255))
    file = tmp_path / "altered.sdc"
    file.write_bytes(altered)
    with (
        pytest.raises(InputError, match=str(file)),
        open_archive(file, lambda *_: None, KEY.encode()),
    ):
        pass
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with (
        pytest.raises(InputError, match=str(file)),
        open_archive(file, lambda *_: None, KEY.encode()),
    ):
        pass


def test_an_altered_backup_names_the_part_and_changes_nothing(
    backed_up: BackedUp, empty: str, sdc: Sdc, tmp_path: Path
) -> None:
    with tarfile.open(backed_up.file) as archive:
        members = archive.getmembers()
    for member in (members[0], members[3], members[-1]):
        altered = bytearray(backed_up.file.read_bytes())
        altered[member.offset_data + member.size // 2] ^= 1
        file = tmp_path / "altered.sdc"
        file.write_bytes(altered)
        result = sdc("restore", file)
        assert result.exit_code == 2
        assert f"{member.name} is not what was written" in result.stderr
        assert untouched(tmp_path)
    for file in (tmp_path / "nowhere", tmp_path, Path(__file__)):
        result = sdc("restore", file)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {file} ")
        assert result.stderr.count("\n") == 1
    assert untouched(tmp_path)


def rewritten(file: Path, target: Path, change: Callable[[dict[str, object]], None]) -> Path:
    """A backup with another manifest, whose checksum is right."""
    with tarfile.open(file) as old, tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as new:
        for member in old.getmembers():
            content = (old.extractfile(member) or io.BytesIO()).read()
            if member.name == MANIFEST:
                manifest = json.loads(content)
                change(manifest)
                told = content = json.dumps(manifest).encode()
            if member.name == CHECKSUM:
                content = f"{hashlib.sha256(told).hexdigest()}  {MANIFEST}\n".encode()
            if member.name == SIGNATURE:
                content = sign(KEY.encode(), told).encode()
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"revision": "9999"}, "is at migration 9999, this code at "),
        ({"format": 3}, "is a backup of format 3, this code knows 2"),
        ({"format": 1}, "is a backup of format 1, this code knows 2"),
        ({"parts": []}, "manifest.json is not what was written"),
        ({"made_at": "soon"}, "the manifest of "),
        (
            {"parts": [{"name": "../../etc/passwd", "size": 1, "sha256": "0" * 64}]},
            "the manifest of ",
        ),
    ],
)
def test_manifests_that_cannot_be_used(
    backed_up: BackedUp,
    empty: str,
    sdc: Sdc,
    tmp_path: Path,
    change: dict[str, object],
    message: str,
) -> None:
    file = rewritten(backed_up.file, tmp_path / "other.sdc", lambda told: told.update(change))
    result = sdc("restore", file)
    assert result.exit_code == 2
    assert message in result.stderr
    assert untouched(tmp_path)


def test_a_link_in_the_place_of_a_part_is_refused(
    backed_up: BackedUp, empty: str, sdc: Sdc, tmp_path: Path
) -> None:
    file = tmp_path / "linked.sdc"
    with tarfile.open(backed_up.file) as old, tarfile.open(file, "w") as new:
        for member in old.getmembers():
            content = old.extractfile(member)
            if member.name.startswith("store/"):
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
            new.addfile(member, content)
    result = sdc("restore", file)
    assert result.exit_code == 2
    assert "store/" in result.stderr
    assert untouched(tmp_path)


def test_what_the_database_refuses_leaves_no_row(
    backed_up: BackedUp, empty: str, sdc: Sdc, count_rows: Callable[[], Counts]
) -> None:
    migrate.upgrade(get_engine())
    with get_engine().begin() as connection:
        connection.execute(text("ALTER TABLE catalog.term ADD CONSTRAINT none CHECK (text = '')"))
    result = sdc("restore", backed_up.file)
    assert result.exit_code == 1
    assert "the database cannot take the backup: " in result.stderr
    assert "violates check constraint" in result.stderr
    assert set(count_rows().values()) == {0}


@pytest.mark.slow
def test_a_backup_of_an_older_schema_is_brought_to_this_one(
    server_url: str, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an earlier version would have written it."""
    with new_database(server_url) as url, monkeypatch.context() as patch:
        engine = make_engine(url)
        migrate.upgrade(engine, "0010")
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO catalog.encoder"
                    " (name, spec, dimension, checksum, sees_images, text_mean)"
                    " VALUES ('e', 'e', 3, '', false, '[0,0,0]')"
                )
            )
        engine.dispose()
        settle(patch, url, tmp_path / "old")
        patch.setattr(service, "require_current", lambda _: None)
        patch.setattr(service, "head_revision", lambda: "0010")
        service.backup(tmp_path / "old.sdc", get_settings(), lambda *_: None)
        get_engine().dispose()
    forget_settings()
    migrate.upgrade(get_engine())
    assert service.restore(tmp_path / "old.sdc", get_settings(), lambda *_: None)
    assert migrate.current_revision(get_engine()) == migrate.head_revision()
    assert rows(empty, "SELECT name FROM catalog.encoder") == [("e",)]
