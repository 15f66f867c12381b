"""Tests of the compose file, the image and what reads them."""

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.settings import Settings
from tests.docker.loading import ROOT, load_stack

stack = load_stack()
COMPOSE = ROOT / "docker" / "compose.yaml"
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file as compose reads it, with the variables of containers."""
    read: dict[str, Any] = stack.filled_in(yaml.safe_load(COMPOSE.read_text()), {})
    return read


def test_it_is_what_the_compose_specification_takes() -> None:
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(COMPOSE)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_check_finds_what_is_none(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("read_only: true", "read_only: [1]"))
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(wrong)),
        ],
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 1


def test_services_are_those_of_a_whole_catalog(compose: dict[str, Any]) -> None:
    commands = {name: one.get("command", [])[:2] for name, one in compose["services"].items()}
    assert commands == {
        "postgres": [],
        "migrate": ["sdc", "db"],
        "prefect": ["sdc", "prefect"],
        "api": ["sdc", "serve"],
        "worker": ["sdc", "worker"],
        "worker-gpu": ["sdc", "worker"],
        "backup": ["sdc", "backup"],
    }


def test_all_are_hardened_and_those_that_go_on_are_asked_how_they_are(
    compose: dict[str, Any],
) -> None:
    for name, one in compose["services"].items():
        assert one["read_only"], name
        assert one["security_opt"] == ["no-new-privileges:true"]
        goes_on = one["restart"] == "unless-stopped"
        assert goes_on == ("healthcheck" in one), name
        assert one["cap_drop"] == ["ALL"]
        assert one["user"] == ("999:999" if name == stack.POSTGRES else "10001:10001")
        assert {"memory", "pids"} <= one["deploy"]["resources"]["limits"].keys()
        assert one["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
        assert one["stop_grace_period"]
        assert one.get("init", name == stack.POSTGRES), name
    assert compose["services"]["migrate"]["restart"].startswith("on-failure")


def test_homes_and_models_are_volumes_and_no_memory(compose: dict[str, Any]) -> None:
    """Mirrors and restores are as large as data sets, and weights are fetched once."""
    homes = {}
    for name, one in compose["services"].items():
        if name == stack.POSTGRES:
            continue
        mounted = dict(volume.split(":")[:2] for volume in one["volumes"])
        homes[name] = next(key for key, at in mounted.items() if at == "/var/lib/catalog")
        assert one["environment"]["SDC_HOME"].startswith("/var/lib/catalog/")
        assert set(mounted) - {"./incoming"} <= compose["volumes"].keys()
        if name in {"api", "worker", "worker-gpu"}:
            assert mounted["models"] == "/var/lib/models"
        assert all(each.partition(":")[0] == "/tmp" for each in one["tmpfs"])  # noqa: S108
    assert homes["worker"] != homes["worker-gpu"] != homes["api"] != homes["prefect"]
    assert "HF_HOME=/var/lib/models/" in DOCKERFILE


def test_each_reaches_only_what_it_asks(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert compose["networks"]["data"] == {"internal": True}
    assert services["postgres"]["networks"] == ["data"]
    assert "ports" not in services["postgres"]
    on_control = {name for name, one in services.items() if "control" in one["networks"]}
    assert on_control == {"prefect", "worker", "worker-gpu"}


def test_a_server_that_is_being_made_is_not_well(compose: dict[str, Any]) -> None:
    """It listens at its socket alone."""
    test = compose["services"]["postgres"]["healthcheck"]["test"]
    assert test[test.index("-h") + 1] == "127.0.0.1"


def test_workers_of_each_kind_have_an_image_and_a_pool_of_their_own(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    targets = {name: one["build"]["target"] for name, one in services.items() if "build" in one}
    assert targets.pop("worker-gpu") == "cuda"
    assert set(targets.values()) == {"cpu"}
    images = {one["image"] for name, one in services.items() if name in targets}
    assert services["worker-gpu"]["image"] not in images
    pools = [
        services[name]["command"][services[name]["command"].index("--pool") + 1]
        for name in ("worker", "worker-gpu")
    ]
    assert pools == ["sdc", "sdc-gpu"]


def test_images_of_others_are_named_by_their_digest(compose: dict[str, Any]) -> None:
    named = [compose["services"]["postgres"]["image"]]
    named += re.findall("^ARG PYTHON_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE)
    assert len(named) == 2
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", each) for each in named)


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not there")
@pytest.mark.parametrize("file", ["Dockerfile", "stand-ins/postgres.Dockerfile"])
def test_a_linter_finds_no_fault_with_dockerfiles(file: str) -> None:
    asked = subprocess.run(
        ["hadolint", str(COMPOSE.parent / file)], capture_output=True, text=True, check=False
    )
    assert (asked.returncode, asked.stdout) == (0, "")


SCRIPTS = ["make-secrets", "postgres/roles.sh", "stand-ins/postgres-entrypoint"]


@pytest.mark.parametrize("file", SCRIPTS)
def test_scripts_are_programs(file: str) -> None:
    script = COMPOSE.parent / file
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(script)], check=True)


def test_nothing_is_open_to_a_network(compose: dict[str, Any]) -> None:
    for one in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", []))


def test_secrets_are_files_and_stand_in_no_environment(compose: dict[str, Any]) -> None:
    assert all(secret.keys() == {"file"} for secret in compose["secrets"].values())
    for name, one in compose["services"].items():
        told = " ".join(f"{key}={value}" for key, value in one.get("environment", {}).items())
        assert "postgresql://" not in told
        assert not re.search(r"PASSWORD=", told), name
        if name != stack.POSTGRES:
            further = {
                "api": ["sdc_reader_url"],
                "backup": ["sdc_backup_key"],
                **{key: ["sdc_prefect_auth"] for key in ["prefect", "worker", "worker-gpu"]},
            }
            assert one["secrets"] == ["sdc_database_url", *further.get(name, [])]


def test_settings_in_it_are_settings(compose: dict[str, Any], monkeypatch: Any) -> None:
    known = {f"SDC_{name.upper()}" for name in Settings.model_fields}
    read_elsewhere = {"SDC_SECRETS", "SDC_LISTEN", "SDC_PORT"}
    read_elsewhere |= {"SDC_PREFECT_LISTEN", "SDC_PREFECT_PORT"}
    for one in compose["services"].values():
        named = {key for key in one.get("environment", {}) if key.startswith("SDC_")}
        assert named <= known | read_elsewhere
        for key, value in one.get("environment", {}).items():
            monkeypatch.setenv(key, value)
        monkeypatch.delenv("SDC_SECRETS", raising=False)
        Settings()


def test_the_stack_starts_the_same_commands_with_its_own_places(tmp_path: Path) -> None:
    contained = stack.read_services({})
    services = stack.read_services(stack.variables_of(tmp_path, 8001, 4201, 8081))
    assert list(services) == list(contained)
    for name, service in services.items():
        places = {"/var/lib/": f"{tmp_path}/", "8080": "8081"}
        expected = contained[name].command
        for old, new in places.items():
            expected = [word.replace(old, new) for word in expected]
        assert service.command == expected
        told = " ".join([*service.environment.values(), *service.health])
        assert "/var/lib" not in told
        assert "0.0.0.0" not in told  # noqa: S104
        assert "prefect:" not in told
    assert services["api"].environment["SDC_PORT"] == "8001"
    order = list(services)
    assert order.index("migrate") < order.index("worker") > order.index("prefect")


def test_variables_are_filled_in_as_compose_does() -> None:
    told = {"a": ["${X:-1}/${Y}", 2], "b": "$X ${Z:-}"}
    assert stack.filled_in(told, {"X": "x"}) == {"a": ["x/", 2], "b": "$X "}
    assert stack.filled_in(told, {"X": "", "Y": "y"}) == {"a": ["1/y", 2], "b": "$X "}


def test_what_ends_badly_is_told_by_its_name(tmp_path: Path) -> None:
    started = stack.Stack(tmp_path, stack.variables_of(tmp_path, 8001, 4201, 8081))
    started.services["migrate"].command[:] = [sys.executable, "-c", "raise SystemExit(3)"]
    for name in ("prefect", "worker"):
        started.services[name].command[:] = ["/bin/sleep", "30"]
    try:
        with pytest.raises(SystemExit) as caught:
            started.start(set())
        assert str(caught.value) == "error: migrate ended with 3"
    finally:
        started.stop()
    assert all(process.poll() is not None for process in started.processes.values())


def test_secrets_are_made_once_and_are_not_alike(tmp_path: Path) -> None:
    script = COMPOSE.parent / "make-secrets"
    made = []
    for name in ("one", "other"):
        subprocess.run([str(script), str(tmp_path / name)], check=True)
        made.append((tmp_path / name / "sdc_password").read_text())
        url = (tmp_path / name / "sdc_database_url").read_text()
        assert url == f"postgresql://sdc:{made[-1]}@postgres:5432/sdc"
        reader = (tmp_path / name / "reader_password").read_text()
        url = (tmp_path / name / "sdc_reader_url").read_text()
        assert url == f"postgresql://catalog_reader:{reader}@postgres:5432/sdc"
        assert len({made[-1], reader, (tmp_path / name / "postgres_password").read_text()}) == 3
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    assert made[0] != made[1]
    assert len(made[0]) == 48
    keys = [(tmp_path / name / "sdc_backup_key").read_text() for name in ("one", "other")]
    assert keys[0] != keys[1]
    assert len(keys[0]) == 64
    logins = [(tmp_path / name / "sdc_prefect_auth").read_text() for name in ("one", "other")]
    assert logins[0] != logins[1]
    assert re.fullmatch("sdc:[0-9a-f]{64}", logins[0])
    subprocess.run([str(script), str(tmp_path / "one")], check=True)
    assert (tmp_path / "one" / "sdc_password").read_text() == made[0]


def test_the_image_holds_what_is_there_and_runs_as_nobody_special() -> None:
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines()
    stages = dict(
        re.findall(r"^FROM (?:\S+) AS (\S+)\n((?:(?!FROM ).*\n)*)", DOCKERFILE, re.MULTILINE)
    )
    assert list(stages) == ["builder", "built-cpu", "built-cuda", "runtime", "cuda", "cpu"]
    assert "USER 10001:10001" in stages["runtime"]
    for name in ("runtime", "cuda", "cpu"):
        assert "pip" not in stages[name]
    assert "git-annex" in stages["runtime"]
    assert "org.opencontainers.image.version" in stages["runtime"]
    assert "COPY --from=built-cuda" in stages["cuda"]
    assert "COPY --from=built-cpu" in stages["cpu"]


def test_what_images_install_is_pinned() -> None:
    """All that this Python has of the product's own needs, and what torch brings with CUDA."""
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines}
    assert len(pinned) == len(lines)
    needed, asked = set(), ["sdc-catalog"]
    while asked:
        name = canonicalize_name(asked.pop())
        if name in needed:
            continue
        needed.add(name)
        for line in distribution(name).requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                asked.append(wanted.name)
    assert needed - pinned == {"sdc-catalog"}
    assert {"setuptools", "triton", "cuda-toolkit", "nvidia-cublas", "nvidia-nccl-cu13"} <= pinned


def test_what_the_image_installs_holds_all_that_is_run(tmp_path: Path) -> None:
    """The package as pip installs it from the copied files alone, and not from a checkout."""
    source = tmp_path / "src"
    source.mkdir()
    # Each target copies them.
    for name in set(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)):
        for each in name.split():
            copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
            copy(ROOT / each, source / each)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--target", str(tmp_path / "installed"), str(source)),
        ],
        check=True,
        capture_output=True,
    )
    installed = tmp_path / "installed"
    for module in ("app/embedding/vocabulary.txt", "migrations/versions/0001_tables.py"):
        assert (installed / module).is_file()
    shown = subprocess.run(
        [sys.executable, "-c", "from app.database.migrate import head_revision as h; print(h())"],
        env=os.environ | {"PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() >= "0013"


@pytest.mark.parametrize("with_cuda", [True, False])
def test_the_image_without_cuda_is_not_built_with_it(tmp_path: Path, with_cuda: bool) -> None:
    """By the program of the Dockerfile, beside packages that are there and one that is not."""
    stage = DOCKERFILE[DOCKERFILE.index("AS built-cpu") : DOCKERFILE.index("AS built-cuda")]
    (checked,) = re.findall(r"&& (python -c .+)$", stage, re.MULTILINE)
    if with_cuda:
        (tmp_path / "nvidia_cublas-13.1.dist-info").mkdir()
        told = tmp_path / "nvidia_cublas-13.1.dist-info" / "METADATA"
        told.write_text("Metadata-Version: 2.1\nName: nvidia-cublas\nVersion: 13.1\n")
    done = subprocess.run(
        ["/bin/sh", "-c", checked],
        env={"PATH": f"{Path(sys.executable).parent}:/bin", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == int(with_cuda)
    told_lines = done.stderr.splitlines()
    assert len(told_lines) == int(with_cuda)
    assert not told_lines or "TORCH_CPU_OPTIONS" in told_lines[0]


@pytest.mark.parametrize("well", [True, False])
def test_the_probe(well: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/readyz"
        asked = subprocess.Popen([sys.executable, "-m", "app.health.probe", url], cwd=ROOT)
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            status = b"200 OK" if well else b"503 No"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        assert asked.wait(20) == (0 if well else 1)
    gone = subprocess.run([sys.executable, "-m", "app.health.probe", url], cwd=ROOT, check=False)
    assert gone.returncode == 1
