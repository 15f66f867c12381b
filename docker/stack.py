"""The services of compose.yaml on one machine, without containers.

The very commands of the file are started, in the order that it says, with the environment that it
gives: its variables are filled in for loopback and one folder. PostgreSQL is the embedded server;
what profiles hold is left out, but for those that are named.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from sqlalchemy import make_url

from app.database.embedded import start_server
from app.database.reader import READER

COMPOSE = Path(__file__).with_name("compose.yaml")
POSTGRES = "postgres"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
HEALTHY_WITHIN_S = 180.0
GRACE_S = 30.0


@dataclass(frozen=True)
class Service:
    """A service of the compose file, its variables filled in.

    Attributes
    ----------
    name : str
    command : list of str
    environment : dict
    after : dict
        Services that come first, and what is to be waited for of each.
    health : list of str
        A command that ends with 0 when it is well; empty where it has none.
    profiles : list of str
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    after: dict[str, str]
    health: list[str]
    profiles: list[str] = field(default_factory=list)


def filled_in(value: Any, variables: Mapping[str, str]) -> Any:
    """A value of the file with its ``${NAME:-default}`` filled in, as compose does."""
    match value:
        case str():
            return _VARIABLE.sub(lambda m: variables.get(m[1]) or m[2] or "", value)
        case dict():
            return {name: filled_in(each, variables) for name, each in value.items()}
        case list():
            return [filled_in(each, variables) for each in value]
    return value


def read_services(variables: Mapping[str, str], path: Path = COMPOSE) -> dict[str, Service]:
    """The services of a compose file that run commands of ours, in the order of their start."""
    told = filled_in(yaml.safe_load(path.read_text()), variables)["services"]
    services = {
        name: Service(
            name=name,
            command=list(map(str, one["command"])),
            environment={key: str(value) for key, value in one.get("environment", {}).items()},
            after={
                other: how["condition"]
                for other, how in one.get("depends_on", {}).items()
                if other != POSTGRES
            },
            health=list(map(str, one.get("healthcheck", {}).get("test", [])))[1:],
            profiles=one.get("profiles", []),
        )
        for name, one in told.items()
        if name != POSTGRES
    }
    return {name: services[name] for name in _ordered(services)}


def _ordered(services: Mapping[str, Service]) -> Iterator[str]:
    left = dict(services)
    while left:
        ready = [name for name, one in left.items() if not set(one.after) & set(left)]
        if not ready:
            raise SystemExit(f"error: {COMPOSE} has services that wait for each other")
        for name in ready:
            del left[name]
            yield name


class Stack:
    """Services that are up.

    Parameters
    ----------
    folder : Path
        Where state and secrets are kept.
    variables : mapping
        Of the compose file.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.services = read_services(variables)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._folder = folder

    def start(self, profiles: set[str]) -> None:
        """Start all services, each when those that it waits for are done or well."""
        for service in self.services.values():
            if service.profiles and not profiles.intersection(service.profiles):
                continue
            for other, condition in service.after.items():
                self._wait(self.services[other], condition)
            print(f"{service.name}: {' '.join(service.command)}", flush=True)
            self.processes[service.name] = subprocess.Popen(
                service.command, env=self.environment(service), start_new_session=True
            )
        for service in self.services.values():
            if service.name in self.processes and service.health:
                self._wait(service, "service_healthy")

    def environment(self, service: Service) -> dict[str, str]:
        """What a service finds in its environment."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **service.environment, "PATH": path}

    def ended(self) -> str | None:
        """The name of a service that has ended although it should go on; None where all are up."""
        for name, process in self.processes.items():
            if process.poll() is not None and self.services[name].health:
                return name
        return None

    def stop(self) -> None:
        """Stop all services, the last one first."""
        for process in reversed(self.processes.values()):
            process.terminate()
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _wait(self, service: Service, condition: str) -> None:
        process = self.processes[service.name]
        until = time.monotonic() + HEALTHY_WITHIN_S
        while time.monotonic() < until:
            code = process.poll()
            if condition == "service_completed_successfully":
                if code == 0:
                    return
            elif code is None and self._is_well(service):
                return
            if code is not None:
                raise SystemExit(f"error: {service.name} ended with {code}")
            time.sleep(0.2)
        raise SystemExit(f"error: {service.name} is not well after {HEALTHY_WITHIN_S:.0f} s")

    def _is_well(self, service: Service) -> bool:
        asked = subprocess.run(service.health, env=self.environment(service), check=False)
        return asked.returncode == 0


def variables_of(folder: Path, port: int, prefect_port: int, worker_port: int) -> dict[str, str]:
    """Values of the compose file's variables for one machine."""
    return {
        "SDC_STACK": str(folder),
        "SDC_SECRETS": str(folder / "secrets"),
        "SDC_INCOMING": str(folder / "incoming"),
        "SDC_LISTEN": "127.0.0.1",
        "SDC_PORT": str(port),
        "SDC_PREFECT_HOST": "127.0.0.1",
        "SDC_PREFECT_PORT": str(prefect_port),
        "SDC_WORKER_PORT": str(worker_port),
    }


def main() -> None:
    """Start the stack, and stop it when told to or when a service ends."""
    parser = argparse.ArgumentParser(description="The whole service, on loopback.")
    parser.add_argument("--folder", type=Path, default=Path(".sdc/stack"))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--prefect-port", type=int, default=4200)
    parser.add_argument("--worker-port", type=int, default=8080)
    parser.add_argument("--profile", action="append", default=[])
    options = parser.parse_args()
    folder = options.folder.resolve()
    for name in ("secrets", "incoming", "store", "home", "backups"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = folder / "secrets" / "sdc_database_url"
    secret.touch(mode=0o600)
    # The server is up for as long as this process is.
    secret.write_text(url := start_server(folder / "home"))
    reader = folder / "secrets" / "sdc_reader_url"
    reader.touch(mode=0o600)
    reader.write_text(make_url(url).set(username=READER).render_as_string(hide_password=False))

    def told(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, told)
    variables = variables_of(folder, options.port, options.prefect_port, options.worker_port)
    stack = Stack(folder, variables)
    try:
        stack.start(set(options.profile))
        print(
            f"up: API http://127.0.0.1:{options.port}/docs, "
            f"Prefect http://127.0.0.1:{options.prefect_port}\n"
            f"sources lie below {folder / 'incoming'}; a key is made with\n"
            f"SDC_HOME={folder / 'home'} SDC_SECRETS={folder / 'secrets'} "
            "sdc keys create NAME --scope ingest",
            flush=True,
        )
        while (ended := stack.ended()) is None:
            time.sleep(1)
        raise SystemExit(f"error: {ended} has ended")
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        stack.stop()


if __name__ == "__main__":
    main()
