from pathlib import Path

import pytest

from app.settings import Settings, find_home


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SDC_HOME", "SDC_DATABASE_URL", "SDC_STORE", "SDC_SECRETS"):
        monkeypatch.delenv(name, raising=False)


def test_home_is_the_nearest_folder_at_or_above(tmp_path: Path) -> None:
    (tmp_path / "lab" / ".sdc").mkdir(parents=True)
    (tmp_path / ".sdc").mkdir()
    deep = tmp_path / "lab" / "study" / "code"
    deep.mkdir(parents=True)
    assert find_home(deep) == tmp_path / "lab" / ".sdc"
    assert find_home(tmp_path / "lab") == tmp_path / "lab" / ".sdc"
    assert find_home(tmp_path) == tmp_path / ".sdc"


def test_home_is_the_environments_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".sdc").mkdir()
    monkeypatch.setenv("SDC_HOME", str(tmp_path / "elsewhere"))
    assert find_home(tmp_path) == tmp_path / "elsewhere"


def test_home_is_the_users_data_folder_where_there_is_none(tmp_path: Path) -> None:
    assert find_home(tmp_path).name == "sdc"


def test_the_environment_comes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_HOME", str(tmp_path))
    (tmp_path / "settings.toml").write_text('store = "from-file"\ndevice = "cuda"\n')
    monkeypatch.setenv("SDC_STORE", "from-environment")
    settings = Settings()
    assert settings.store_url == "from-environment"
    assert settings.device == "cuda"


def test_secrets_are_files_between_the_environment_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "sdc_database_url").write_text("postgresql://one:secret@host/sdc\n")
    (secrets / "sdc_store").write_text("from-secret")
    (secrets / "anothers").write_text("is let be")
    (tmp_path / "settings.toml").write_text('store = "from-file"\ndevice = "cuda"\n')
    monkeypatch.setenv("SDC_HOME", str(tmp_path))
    monkeypatch.setenv("SDC_SECRETS", str(secrets))
    settings = Settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://one:secret@host/sdc"
    assert (settings.store, settings.device) == ("from-secret", "cuda")
    monkeypatch.setenv("SDC_STORE", "from-environment")
    assert Settings().store == "from-environment"


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "mps", "CPU"])
def test_what_is_no_device_is_refused(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setenv("SDC_DEVICE", device)
    with pytest.raises(ValueError, match=f"'{device}' is no device: use cpu, cuda or cuda:N"):
        Settings()


def test_the_databases_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDC_DATABASE_URL", "postgresql://me:hunter2@host/db")
    assert "hunter2" not in repr(Settings())
