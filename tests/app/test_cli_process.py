import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.database.migrate import head_revision
from app.settings import get_settings
from tests.app.published import Published

ROOT = Path(__file__).resolve().parents[2]


def run_sdc(*words: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line as a process of its own; `code` runs after it ended."""
    script = f"""
import sys
from app.cli import main
try:
    main()
finally:
    {code or "pass"}
"""
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_unreachable_server_is_one_line_without_the_password() -> None:
    result = run_sdc("datasets", SDC_DATABASE_URL="postgresql://who:secret@127.0.0.1:1/nowhere")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "127.0.0.1/nowhere cannot be reached" in result.stderr
    assert "secret" not in result.stderr


def test_a_setting_that_cannot_be_used(published: Published) -> None:
    result = run_sdc("datasets", SDC_STATEMENT_TIMEOUT_S="soon")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "the setting SDC_STATEMENT_TIMEOUT_S cannot be used" in result.stderr


@pytest.mark.parametrize("words", [("--help",), ("terms", "add", "--help")])
def test_help_loads_no_library_that_answers(words: tuple[str, ...]) -> None:
    heavy = "('torch', 'numpy', 'sqlalchemy', 'fastapi', 'httpx', 'mcp')"
    code = f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    result = run_sdc(*words, code=code)
    assert (result.returncode, result.stderr) == (0, "[]\n")
    assert "Usage: sdc" in result.stdout


def test_a_stored_prompt_loads_no_encoder(published: Published) -> None:
    heavy = "print([m for m in ('torch', 'transformers', 'open_clip', 'prefect', 'scipy',"
    heavy += " 'fastapi', 'httpx')"
    heavy += " if m in sys.modules], file=sys.stderr)"
    result = run_sdc("search", "face", "--json", code=heavy, SDC_HOME=str(get_settings().home))
    assert (result.returncode, result.stderr) == (0, "[]\n")
    assert json.loads(result.stdout)["concepts"][0]["id"] == published.components["face"]


@pytest.mark.parametrize("words", [("run", "nosuch"), ("run", "nosuch", "--set", "seed=2")])
def test_a_dataset_that_is_not_there_is_told_before_what_computes_is_loaded(
    published: Published, words: tuple[str, ...]
) -> None:
    heavy = "('torch', 'prefect', 'nibabel', 'scipy', 'distributed', 'transformers')"
    code = f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    result = run_sdc(*words, code=code)
    assert result.returncode == 2
    refused, loaded = result.stderr.splitlines()
    assert refused.startswith("error: no dataset 'nosuch' is in the catalog (known: lab-a")
    assert loaded == "[]"


@pytest.mark.parametrize("words", [("datasets",), ("runs",), ("concepts",), ("show", "1")])
def test_a_command_that_reads_loads_what_it_needs(
    published: Published, words: tuple[str, ...]
) -> None:
    """Each of these takes a tenth of a second or more of a command's first half."""
    heavy = "('torch', 'alembic', 'rich', 'opentelemetry', 'scipy', 'fastapi', 'httpx', 'prefect')"
    code = f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    result = run_sdc(*words, code=code)
    assert (result.returncode, result.stderr.splitlines()[-1]) == (0, "[]")


def test_a_reader_that_goes_away_is_no_traceback(published: Published) -> None:
    script = "from app.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "search", "face", "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 1


def test_an_embedded_server_starts_without_a_word(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path(folder.anchor):
            folder.chmod(folder.stat().st_mode | 0o055)
    environment = {"SDC_HOME": str(tmp_path), "SDC_DATABASE_URL": ""}
    script = "import os; os.environ.pop('SDC_DATABASE_URL', None)\nfrom app.cli import main; main()"

    def embedded(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, *words],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    upgraded = embedded("db", "upgrade")
    assert (upgraded.stdout, upgraded.stderr) == (f"from none to {head_revision()}\n", "")
    shell = embedded("db", "shell", "-Atc", "SELECT count(*) FROM catalog.dataset")
    assert (shell.returncode, shell.stdout, shell.stderr) == (0, "0\n", "")
    assert embedded("db", "shell", "-c", "SELECT nonsense").returncode == 1
    url = embedded("db", "url")
    assert url.stdout.startswith("postgresql://")
    assert "embedded server" in url.stderr
