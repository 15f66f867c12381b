import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from app.database.engine import get_engine
from app.database.migrate import downgrade
from app.doctor.schemas import Check
from app.doctor.service import examine
from app.settings import get_settings
from app.store import ArtefactStore
from tests.app.conftest import Counts, Sdc
from tests.app.published import Published, write_table

NAMES = [
    *("server", "pgvector", "migration", "encoders", "encoder", "artefacts"),
    *("store", "disk", "access"),
]


def diagnose(*, deep: bool = False) -> dict[str, Check]:
    """Faults by the first word of their name, after a look at the names of all checks."""
    report = examine(get_settings(), deep=deep)
    assert report.ok == all(check.ok for check in report.checks)
    for check in report.checks:
        assert check.detail
        assert check.ok or check.hint
        assert "\n" not in check.detail + check.hint
    return {check.name.split()[0]: check for check in report.checks if not check.ok}


def test_a_sound_installation(own_published: Published, count_rows: Callable[[], Counts]) -> None:
    before = count_rows()
    report = examine(get_settings())
    assert report.ok
    assert [check.name.split()[0] for check in report.checks] == NAMES
    told = {check.name.split()[0]: check.detail for check in report.checks}
    assert told["server"].startswith("PostgreSQL 1")
    assert told["artefacts"] == "4 of current runs unchanged, 2 of ingestions present"
    assert count_rows() == before


def test_an_unreachable_server_leaves_the_other_checks_running(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_DATABASE_URL", "postgresql://who:secret@127.0.0.1:1/nowhere")
    get_settings.cache_clear()
    get_engine.cache_clear()
    report = examine(get_settings())
    assert [check.name for check in report.checks if check.ok] == ["store", "disk", "access"]
    assert "cannot be reached" in report.checks[0].detail
    assert "secret" not in report.model_dump_json()
    assert [check.name for check in report.checks] == [n for n in NAMES if n != "encoder"]


def test_a_url_that_is_none(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("SDC_DATABASE_URL", "mysql://somewhere")
        get_settings.cache_clear()
        get_engine.cache_clear()
        assert "no PostgreSQL URL" in diagnose()["server"].detail
    get_settings.cache_clear()


def test_another_migration(own_published: Published) -> None:
    downgrade(get_engine(), "0001")
    faults = diagnose()
    assert set(faults) == {"migration", "encoders", "artefacts"}
    assert "at migration 0001" in faults["migration"].detail
    assert "sdc db upgrade" in faults["migration"].hint


def test_a_catalog_that_was_never_migrated(own_published: Published) -> None:
    downgrade(get_engine())
    with get_engine().begin() as connection:
        connection.execute(text("DROP EXTENSION vector CASCADE"))
    faults = diagnose()
    assert set(faults) == {"pgvector", "migration", "encoders", "artefacts"}
    # The embedded server brings it: nobody is to install anything.
    assert "this database does not use it yet" in faults["pgvector"].detail
    assert "sdc db upgrade" in faults["pgvector"].hint
    assert "install" not in faults["pgvector"].hint


def test_a_server_without_the_extension(
    own_published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    downgrade(get_engine())
    with get_engine().begin() as connection:
        connection.execute(text("DROP EXTENSION vector CASCADE"))
    monkeypatch.setattr("app.doctor.repository.pgvector_offered", lambda _: None)
    fault = diagnose()["pgvector"]
    assert "the server has no extension" in fault.detail
    assert "install pgvector 0.8.4" in fault.hint


def test_an_extension_that_is_too_old(own_published: Published) -> None:
    with get_engine().begin() as connection:
        connection.execute(
            text("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
        )
    faults = diagnose()
    assert set(faults) == {"pgvector"}
    assert "pgvector 0.7.4" in faults["pgvector"].detail
    assert "0.8.4" in faults["pgvector"].hint


def test_encoders_weights_that_are_gone_or_changed(
    own_published: Published, own_table: Path
) -> None:
    write_table(own_table, seed=8)
    assert "weights" in diagnose()["encoder"].detail
    own_table.unlink()
    assert "does not exist" in diagnose()["encoder"].detail


def test_an_artefact_that_is_missing_or_damaged(own_published: Published) -> None:
    with get_engine().connect() as connection:
        address = connection.scalar(text("SELECT min(masks_sha256) FROM catalog.decoder"))
    (file,) = Path(get_settings().store_url).rglob(f"{address}.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "damaged" in diagnose()["artefacts"].detail
    file.unlink()
    faults = diagnose()
    assert set(faults) == {"artefacts"}
    assert address[:12] in faults["artefacts"].detail


def test_betas_that_are_missing(own_published: Published) -> None:
    with get_engine().connect() as connection:
        address = connection.scalar(
            text("SELECT artefacts->'sessions'->0->>'sha256' FROM catalog.subject LIMIT 1")
        )
    (file,) = Path(get_settings().store_url).rglob(f"{address}.safetensors")
    file.unlink()
    assert set(diagnose()) == {"artefacts"}


def damage(address: str) -> None:
    (file,) = Path(get_settings().store_url).rglob(f"{address}.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_deep_look_tells_every_artefact_that_is_damaged(
    own_published: Published, sdc: Sdc
) -> None:
    with get_engine().connect() as connection:
        betas = connection.scalar(
            text("SELECT artefacts->'sessions'->0->>'sha256' FROM catalog.subject ORDER BY id")
        )
        masks = connection.scalar(text("SELECT min(masks_sha256) FROM catalog.decoder"))
    store = ArtefactStore(get_settings().store_url)
    of_a_stage = store.put({"x": np.arange(9.0)}).sha256
    report = examine(get_settings(), deep=True)
    assert report.ok
    assert "all 7 read, and unchanged" in [check.detail for check in report.checks]
    damage(betas)
    # The quick look asks whether betas are there.
    assert not diagnose()
    damage(of_a_stage)
    damage(masks)
    faults = diagnose(deep=True)
    assert set(faults) == {"artefacts"}
    told = faults["artefacts"].detail
    assert told.startswith("3 of 7 artefacts cannot be used: ")
    assert f"{betas[:12]} of subj01 of lab-a: " in told
    assert f"{masks[:12]} of run {own_published.run} of lab-a: " in told
    assert f"{of_a_stage[:12]} of a stage of a run: " in told
    assert told.count("damaged") == 3
    result = sdc("doctor", "--deep")
    assert result.exit_code == 1
    assert betas[:12] in result.stdout


def test_a_store_that_cannot_be_written(own_published: Published) -> None:
    store = Path(get_settings().store_url)
    shutil.rmtree(store)
    store.write_text("a file where a folder should be")
    faults = diagnose()
    assert {"store", "artefacts"} == set(faults)
    assert str(store) in faults["store"].detail


def test_too_little_disk(own_published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDC_MIN_FREE_DISK_GB", "1e9")
    get_settings.cache_clear()
    faults = diagnose()
    assert set(faults) == {"disk"}
    assert "less than 1e+09 GB" in faults["disk"].detail
    assert "free some disk" in faults["disk"].hint
