import os
import subprocess
import sys
from pathlib import Path

import pytest

from app import threads
from app.threads import COUNT, PASSIVE, free_cores, given_cores, share_cores, take_free_cores

ROOT = Path(__file__).resolve().parents[2]
SAID = {*PASSIVE, COUNT}
TELL = "import os, sys; print('torch' in sys.modules, *(os.environ.get(n) for n in {names}))"


def told(script: str, **said: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in SAID}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean | {"PYTHONPATH": str(ROOT)} | said,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "PASSIVE 1000 0"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None None"),
        ({"GOMP_SPINCOUNT": "7"}, "PASSIVE 7 0"),
    ],
)
def test_the_command_line_waits_asleep_unless_told_otherwise(
    said: dict[str, str], expected: str
) -> None:
    script = f"""
import sys
sys.argv = ['sdc', '--help']
from app.cli import main
try:
    main()
except SystemExit:
    pass
{TELL.format(names=tuple(PASSIVE))}
"""
    assert told(script, **said) == f"False {expected}"


@pytest.mark.parametrize("count", [None, "3"])
def test_an_encoder_is_loaded_with_threads_that_sleep(count: str | None) -> None:
    """By the command line, servers or a notebook; torch reads both when it is loaded."""
    script = f"""
from app.embedding import load_encoder, _LOADERS
def look(*_):
    {TELL.format(names=("OMP_WAIT_POLICY", COUNT))}
_LOADERS['caption'] = look
load_encoder('caption:any')
"""
    said = {} if count is None else {COUNT: count}
    assert told(script, **said) == f"False PASSIVE {count or given_cores()}"


@pytest.mark.parametrize("command", [["run", "lab"], ["ingest", "/nowhere"], ["demo"]])
def test_what_computes_takes_the_cores_that_are_free_before_torch_is_loaded(
    command: list[str],
) -> None:
    script = f"""
import sys
import app.threads, flows.commands
def look(*_):
    {TELL.format(names=("OMP_WAIT_POLICY",))}
    sys.exit()
flows.commands.take_free_cores = look
flows.commands._require_dataset = lambda slug: None
sys.argv = ['sdc', *{command}]
from app.cli import main
main()
"""
    assert told(script) == "False PASSIVE"


@pytest.mark.parametrize(
    ("cores", "all_cores", "busy", "expected"),
    [(4, 4, 0.0, 4), (4, 4, 1.2, 3), (4, 4, 9.0, 1), (2, 8, 5.0, 2), (1, 8, 0.0, 1)],
)
def test_cores_that_others_compute_on_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, cores: int, all_cores: int, busy: float, expected: int
) -> None:
    monkeypatch.setattr(threads, "given_cores", lambda: cores)
    monkeypatch.setattr(os, "cpu_count", lambda: all_cores)
    monkeypatch.setattr(threads, "_busy_cores", lambda: busy)
    assert free_cores() == expected
    environment: dict[str, str] = {}
    take_free_cores(environment)
    assert environment == {COUNT: str(expected)}
    environment = {COUNT: "7"}
    take_free_cores(environment)
    share_cores(2, environment)
    assert environment == {COUNT: "7"}


def test_what_is_busy_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(threads, "_BUSY", stat)
    assert threads._busy_cores() == 0.0
    tick = os.sysconf("SC_CLK_TCK")
    clock = iter([10.0, 12.0])
    ticks = iter([100, 100 + tick])
    monkeypatch.setattr(threads.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(threads.time, "sleep", lambda _: None)
    # In two seconds one was idle: of four cores, half a core.
    monkeypatch.setattr(threads, "_idle_ticks", lambda: next(ticks))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert threads._busy_cores() == pytest.approx(3.5)


def test_ticks_are_those_of_idle_cores_and_of_waits_for_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  1 2 4 8 16 32 64\ncpu0 1 1 1 1 1 1\n")
    monkeypatch.setattr(threads, "_BUSY", stat)
    assert threads._idle_ticks() == 8 + 16


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu.max": "nonsense"}, 8),
    ],
)
def test_a_container_has_the_cores_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(threads, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert given_cores() == expected


def test_processes_that_serve_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "given_cores", lambda: 8)
    for processes, expected in ((1, "8"), (3, "2"), (99, "1")):
        environment: dict[str, str] = {}
        share_cores(processes, environment)
        assert environment == {COUNT: expected}
