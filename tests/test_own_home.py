"""The tests' own home: what is told as written outside of it."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from app.settings import find_home
from tests import own_home

TEST = """
import subprocess, sys
from pathlib import Path
def test_writes():
    {statement}
"""


def test_what_has_no_home_of_its_own_gets_the_tests(tmp_path: Path) -> None:
    inside = [os.environ["HOME"], os.environ["SDC_HOME"], Path.home(), find_home(tmp_path)]
    inside += [platformdirs.user_data_dir("sdc"), platformdirs.user_cache_dir("sdc")]
    shown = "from app.settings import get_settings; print(get_settings().home)"
    told = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    for path in (*inside, told.stdout.strip()):
        assert Path(path).is_relative_to(own_home.OWN)
    assert not own_home.OWN.is_relative_to(own_home.HOME)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("pass", ""),
        ("Path({home!r}, 'reads').exists()", ""),
        ("Path({home!r}, 'writes').write_text('x')", "writes"),
        ("Path({home!r}, 'makes').mkdir()", "makes"),
        # One that the test starts makes a catalog where it lies by default.
        (
            "subprocess.run(['mkdir', '-p', {home!r} + '/.local/share/sdc/postgres'], check=True)",
            ".local/share/sdc",
        ),
    ],
)
@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_test_that_writes_into_the_users_home_fails_all(
    tmp_path: Path, statement: str, told: str, processes: str
) -> None:
    home = tmp_path / "user"
    (home / ".local" / "share" / "sdc").mkdir(parents=True)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "test_one.py").write_text(TEST.format(statement=statement.format(home=str(home))))
    # The suite's own, in whose place the user's home is another.
    conftest = (Path(own_home.__file__).parent / "conftest.py").read_text()
    (checkout / "conftest.py").write_text(
        "import pwd\n"
        "known = pwd.getpwuid\n"
        "def elsewhere(user):\n"
        "    told = known(user)\n"
        f"    return pwd.struct_passwd((*told[:5], {str(home)!r}, told[6]))\n"
        "pwd.getpwuid = elsewhere\n" + conftest
    )
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", processes, "-p", "no:cacheprovider", "."],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(own_home.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == (1 if told else 0), ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout
    assert ("written outside of the tests' own home" in ended.stdout) == bool(told)
    assert told in ended.stdout
