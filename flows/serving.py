"""The commands of ``sdc`` that keep running or register what does; entry points of `app.cli`."""

import logging
import os
import re
import sys
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer

from app.errors import InputError, UnavailableError
from app.settings import get_settings
from flows.intervals import seconds_of

# Where `sdc prefect` listens, and where workers look for it.
PREFECT_PORT = 4200
WAIT_S = 120.0
# The work pools of `flows.deployments`, which is not loaded to show help.
Pool = Literal["sdc", "sdc-gpu"]


def prefect(
    host: Annotated[
        str, typer.Option(envvar="SDC_PREFECT_LISTEN", help="Address to listen at.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(envvar="SDC_PREFECT_PORT", help="Port to listen at.", min=1, max=65535),
    ] = PREFECT_PORT,
) -> None:
    """Serve Prefect, with its page, on the catalog's PostgreSQL server.

    Its login is in prefect.auth of SDC_HOME, unless SDC_PREFECT_AUTH says another.
    """
    from flows.prefect_home import serve_prefect_on
    from flows.worker import run_until, stop_when_told

    # By the name that clients have for it they ask, and it must know that.
    asked = urlsplit(os.environ.pop("PREFECT_API_URL", "")).hostname
    settings = get_settings()
    serve_prefect_on(settings)
    _configure()
    # Where browsers ask, whatever name they have for this server and whatever stands before it.
    os.environ.setdefault("PREFECT_UI_API_URL", "/api")
    # The page is made ready beside Prefect's own files, which may be nobody's to write.
    page = settings.home / "prefect" / "page"
    os.environ.setdefault("PREFECT_UI_STATIC_DIRECTORY", str(page))
    names = [*settings.allowed_hosts, *([asked] if asked else [])]
    command = [
        *(sys.executable, "-m", "flows.prefect_server", "--host", host, "--port", str(port)),
        *("--parent", str(os.getpid())),
        *(word for name in names for word in ("--name", name)),
    ]
    code = run_until(command, stop_when_told())
    if code:
        raise UnavailableError(f"the Prefect server ended with {code}", hint="is the port taken?")


def worker(
    limit: Annotated[int, typer.Option(help="Ingestions at a time.", min=1)] = 1,
    dispatch: Annotated[
        bool, typer.Option(help="Whether this worker looks after the catalog's queue, too.")
    ] = True,
    health_port: Annotated[
        int | None, typer.Option(help="Answer at /health on this port.", min=1, max=65535)
    ] = None,
    pool: Annotated[
        Pool, typer.Option(help="Whose work it does: sdc-gpu is for workers with a GPU.")
    ] = "sdc",
) -> None:
    """Work on the ingestions and runs that were asked for, until told to stop."""
    from app.observing.logs import configure_logs
    from flows.worker import require_login, require_server, work

    configure_logs(get_settings())
    url = _serve_at()
    _configure()
    require_server(url, WAIT_S)
    require_login(url)
    from flows.deployments import deploy_flows

    deploy_flows(which=())
    logging.getLogger("flows").info("working on what the queue holds, through %s", url)
    work(limit=limit, pool=pool, dispatch=dispatch, health_port=health_port)


def deploy(
    flow: Annotated[
        Literal["ingest", "run", "both"] | None,
        typer.Argument(help="What runs on a schedule; without one all three are registered."),
    ] = None,
    target: Annotated[
        str | None, typer.Argument(help="What it is run on: a path, or a dataset's name for run.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the deployment.")] = "sdc",
    cron: Annotated[str | None, typer.Option(help="When it runs, such as '0 3 * * *'.")] = None,
    interval: Annotated[str | None, typer.Option(help="Or how often: 30m, 6h, 1d.")] = None,
    event: Annotated[
        str | None,
        typer.Option(help="Or on which Prefect event; its payload says the path, or the slug."),
    ] = None,
    set_: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="A setting of the ingestion.")
    ] = [],  # noqa: B006
    run_set: Annotated[
        list[str], typer.Option(metavar="NAME=VALUE", help="A setting of the run.")
    ] = [],  # noqa: B006
    pool: Annotated[Pool, typer.Option(help="Whose workers work on it.")] = "sdc",
) -> None:
    """Register the flows with Prefect, for its page and its schedules."""
    from app.schedules.rhythm import next_time

    if flow is None and (target or cron or interval or event or set_ or run_set):
        raise InputError("no flow is named", hint="say which: sdc deploy ingest|run|both TARGET")
    if (cron or interval) and target is None:
        raise InputError(f"nothing is named that {flow} should be run on", hint="add TARGET")
    if sum(each is not None for each in (cron, interval, event)) > 1:
        raise InputError("several of --cron, --interval and --event", hint="give one of them")
    if event is not None and target is not None:
        raise InputError(f"{target} is named, and --event", hint="the event says what to run on")
    if event is not None and not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", event):
        raise InputError(f"{event!r} is no name of an event", hint="such as lab.dataset.arrived")
    if cron:
        from datetime import UTC, datetime

        next_time(cron, None, "UTC", datetime.now(UTC))
    every = None if interval is None else timedelta(seconds=seconds_of(interval))
    parameters = _parameters(flow, target, set_, run_set)
    from app.console import print_line
    from flows.worker import require_login, require_server

    url = _serve_at()
    _configure()
    require_server(url, 5.0)
    require_login(url)
    from flows.deployments import deploy_flows

    which = None if flow is None else (flow,)
    for made in deploy_flows(
        name,
        which=which,
        pool=pool,
        cron=cron,
        interval=every,
        event=event,
        parameters=parameters,
    ):
        print_line(made)


def _parameters(
    flow: str | None, target: str | None, set_: list[str], run_set: list[str]
) -> dict[str, object]:
    from flows.asked_options import check_options
    from flows.config import read_values

    if flow is None:
        return {}
    if flow == "run" and set_:
        raise InputError("--set is of an ingestion", hint="use --run-set for a run")
    if flow == "ingest" and run_set:
        raise InputError("--run-set is of a run", hint="use `sdc deploy both`, or leave it out")
    parameters: dict[str, object] = {}
    if target is not None:
        parameters["slug" if flow == "run" else "path"] = target
    ingest, run = read_values(None, set_), read_values(None, run_set)
    check_options(ingest, run)
    if flow != "run":
        parameters |= {"options": ingest}
    if flow != "ingest":
        parameters |= {"options" if flow == "run" else "run_options": run}
    return parameters


def _serve_at() -> str:
    return os.environ.setdefault("PREFECT_API_URL", f"http://127.0.0.1:{PREFECT_PORT}/api")


def _configure() -> None:
    from flows.prefect_home import configure_prefect

    configure_prefect(get_settings(), verbose="--debug" in sys.argv)
