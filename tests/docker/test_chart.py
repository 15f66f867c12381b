"""Tests of the chart for Kubernetes and of the Apptainer definition, against the compose file.

Charts are rendered by helm, and what comes out is held against the schemas of Kubernetes by
kubeconform or kubernetes-validate, where these are there.
"""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.docker.loading import ROOT, load_stack

stack = load_stack()
CHART = ROOT / "docker" / "chart"
APPTAINER = (ROOT / "docker" / "apptainer.def").read_text()
# All that the chart can make.
WHOLE: dict[str, Any] = {
    "incoming": {"existingClaim": "data"},
    "api": {"ingress": {"enabled": True, "host": "catalog.lab.org", "tlsSecret": "tls"}},
    "workers": {"gpu": {"replicas": 2, "runtimeClassName": "nvidia"}},
    "backup": {"enabled": True, "existingClaim": "backups"},
}
KUBERNETES = "1.31"

needs_helm = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not there")


def render(tmp_path: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects that the chart makes."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    done = subprocess.run(
        ["helm", "template", "lab", str(CHART), "--values", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is said of the pods of each object that has any, by the object's name."""
    found = {}
    for each in objects:
        spec = each["spec"].get("jobTemplate", each).get("spec", each["spec"])
        if "template" in spec:
            found[each["metadata"]["name"]] = spec["template"]["spec"]
    return found


def test_versions_are_the_projects() -> None:
    told = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert told["appVersion"] == told["version"] == project


def test_values_are_those_of_their_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    jsonschema.validate(values | WHOLE, schema)
    documented = (ROOT / "docs" / "deployment.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.+?)^```", documented, re.MULTILINE | re.DOTALL)
    jsonschema.validate(values | yaml.safe_load(example), schema)
    with pytest.raises(jsonschema.ValidationError, match="wrokers"):
        jsonschema.validate(values | {"wrokers": {}}, schema)


@needs_helm
def test_helm_finds_no_fault() -> None:
    done = subprocess.run(["helm", "lint", str(CHART)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_helm
@pytest.mark.parametrize("values", [{}, WHOLE, {"store": {"url": "s3://lab/store"}}])
def test_all_that_it_makes_is_what_kubernetes_takes(tmp_path: Path, values: dict[str, Any]) -> None:
    checkers = [name for name in ("kubeconform", "kubernetes-validate") if shutil.which(name)]
    if not checkers:
        pytest.skip("neither kubeconform nor kubernetes-validate is there")
    objects = render(tmp_path, values)
    file = tmp_path / "objects.yaml"
    options = {
        "kubeconform": ["-strict"],
        "kubernetes-validate": ["--strict", "--kubernetes-version", KUBERNETES],
    }[checkers[0]]
    for faulty in (False, True):
        if faulty:
            objects[-1]["spec"]["nosuch"] = 1
        file.write_text(yaml.safe_dump_all(objects))
        done = subprocess.run(
            [checkers[0], *options, str(file)], capture_output=True, text=True, check=False
        )
        assert bool(done.returncode) == faulty, done.stdout + done.stderr


@needs_helm
def test_services_are_those_of_the_compose_file(tmp_path: Path) -> None:
    """The same commands, with the same settings and secrets, but for Kubernetes' own ways."""
    composed = stack.filled_in(yaml.safe_load(stack.COMPOSE.read_text()), {})["services"]
    made = pods(render(tmp_path, WHOLE))
    names = {"worker": "lab-worker-cpu", "worker-gpu": "lab-worker-gpu"}
    assert set(made) == {names.get(name, f"lab-{name}") for name in composed} - {"lab-postgres"}
    for name, one in composed.items():
        if name == stack.POSTGRES:
            continue
        pod = made[names.get(name, f"lab-{name}")]
        (container,) = pod["containers"]
        assert container["command"] == list(map(str, one["command"])), name
        environment = {each["name"]: each["value"] for each in container["env"]}
        own = {"SDC_SECRETS", "PREFECT_API_URL"}
        for key in set(one["environment"]) - own:
            assert environment[key] == one["environment"][key], (name, key)
        assert environment["PREFECT_API_URL"] == "http://lab-prefect:4200/api"
        volumes = {each["name"]: each for each in pod["volumes"]}
        secrets = [each["key"] for each in volumes["secrets"]["secret"]["items"]]
        assert secrets == one["secrets"], name
        assert environment["SDC_SECRETS"] == next(
            each["mountPath"] for each in container["volumeMounts"] if each["name"] == "secrets"
        )
        assert {each["name"] for each in container["volumeMounts"]} == set(volumes)


@needs_helm
def test_pods_may_do_nothing_beyond_their_work(tmp_path: Path) -> None:
    for pod in pods(render(tmp_path, WHOLE)).values():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        assert all("medium" not in each.get("emptyDir", {}) for each in pod["volumes"])


@needs_helm
def test_gpus_are_asked_for_by_their_workers_alone(tmp_path: Path) -> None:
    made = pods(render(tmp_path, WHOLE))
    for name, pod in made.items():
        (container,) = pod["containers"]
        gpus = container["resources"]["limits"].get("nvidia.com/gpu")
        assert (gpus == 1) == (name == "lab-worker-gpu")
        assert container["image"].startswith("sdc-catalog-cuda:" if gpus else "sdc-catalog:")
    assert "lab-worker-gpu" not in pods(render(tmp_path, {}))


@needs_helm
def test_prefects_port_is_open_to_workers_alone(tmp_path: Path) -> None:
    objects = render(tmp_path, WHOLE)
    (policy,) = [each for each in objects if each["kind"] == "NetworkPolicy"]
    (allowed,) = policy["spec"]["ingress"]
    (who,) = allowed["from"]
    assert who["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"
    (ingress,) = [each for each in objects if each["kind"] == "Ingress"]
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"]["name"] == "lab-api"
    (api,) = pods(objects)["lab-api"]["containers"]
    hosts = next(each["value"] for each in api["env"] if each["name"] == "SDC_ALLOWED_HOSTS")
    assert json.loads(hosts) == ["catalog.lab.org"]


def sections() -> dict[str, str]:
    """The sections of the Apptainer definition, and its header as ``header``."""
    header, *parts = re.split(r"^%", APPTAINER, flags=re.MULTILINE)
    found = {"header": header}
    for part in parts:
        name, _, body = part.partition("\n")
        found[name.strip()] = body
    return found


def test_the_apptainer_definition_starts_from_the_image_as_its_user() -> None:
    told = sections()
    header = dict(
        line.split(": ", 1)
        for line in told["header"].splitlines()
        if not line.startswith("#") and line
    )
    assert header == {"Bootstrap": "docker-archive", "From": "{{ ARCHIVE }}"}
    known = {"arguments", "labels", "environment", "runscript", "startscript", "test", "help"}
    assert set(told) == {"header"} | known
    for name in ("environment", "runscript", "startscript", "test"):
        subprocess.run(["sh", "-n"], input=told[name], text=True, check=True)
        if shutil.which("shellcheck"):
            checked = subprocess.run(
                ["shellcheck", "--shell", "sh", "-"],
                input=told[name],
                capture_output=True,
                text=True,
                check=False,
            )
            assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("given", [{}, {"SDC_HOME": "/scratch/it's mine", "HF_HOME": "/weights"}])
def test_in_apptainer_what_is_written_lies_with_the_user(given: dict[str, str]) -> None:
    """With the image's own variables, or those of the host, set before."""
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    image = dict(re.findall(r"^ +([A-Z_]+)=(/\S+)", dockerfile, re.MULTILINE))
    named = ("SDC_HOME", "SDC_STORE", "HF_HOME", "XDG_CACHE_HOME")
    told = subprocess.run(
        ["sh", "-euc", sections()["environment"] + "\nenv"],
        env={name: image[name] for name in named} | {"HOME": "/home/ada", "PATH": "/bin"} | given,
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split("=", 1) for line in told.stdout.splitlines() if "=" in line)
    home = given.get("SDC_HOME", "/home/ada/.local/share/sdc")
    assert {name: found[name] for name in named} == {
        "SDC_HOME": home,
        "SDC_STORE": f"{home}/store",
        "HF_HOME": given.get("HF_HOME", "/home/ada/.cache/huggingface"),
        "XDG_CACHE_HOME": "/home/ada/.cache",
    }


@pytest.mark.skipif(shutil.which("apptainer") is None, reason="apptainer is not there")
def test_apptainer_reads_the_definition(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *("apptainer", "build", "--build-arg", f"ARCHIVE={tmp_path / 'none.tar'}"),
            *(str(tmp_path / "x.sif"), str(ROOT / "docker" / "apptainer.def")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    # It comes as far as the image, which is not there.
    assert "none.tar" in done.stderr
