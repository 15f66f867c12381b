from pathlib import Path

import pytest

from app.psql import find_psql, run_psql


def test_the_password_stays_off_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stub = tmp_path / "psql"
    stub.write_text('#!/bin/sh\necho "$@" "$PGPASSWORD"\nexit 3\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_psql("postgresql://who:p%40ss@host/db", ["-c", "SELECT 1"]) == 3
    assert capfd.readouterr().out == "postgresql://who@host/db -c SELECT 1 p@ss\n"


def test_the_embedded_servers_own_psql_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_psql().name == "psql"
    assert find_psql().is_file()
