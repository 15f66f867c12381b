"""The flows as Prefect's deployments, which its schedules, its page and its workers know."""

from collections.abc import Collection
from datetime import timedelta
from inspect import signature
from typing import Any

from prefect import Flow, flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.client.schemas.sorting import DeploymentSort
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.exceptions import ObjectNotFound, ParameterTypeError
from prefect.types.entrypoint import EntrypointType

from app.errors import InputError
from flows.asked import work_on_ingestion
from flows.config import IngestConfig, RunConfig
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.telling import Email

Json = dict[str, Any]

# Prefect's work pools; workers with a GPU have one of their own.
POOL = "sdc"
GPU_POOL = "sdc-gpu"
POOLS = (POOL, GPU_POOL)
_PAGE = 200
# What a worker starts for a run. It has no variables, so that no run and no deployment brings a
# command, an environment or a folder of its own. The command is named, or else Prefect starts
# another process before it that looks for what is to be installed.
JOB: Json = {
    "job_configuration": {"command": "python -m prefect.engine", "stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}
# Of the queue's own flow, in each pool: ``sdc worker`` starts it, and people have no need to.
ASKED = {POOL: "ingestion/asked", GPU_POOL: "ingestion/asked-gpu"}


@flow(name="ingest-and-run", persist_result=False)
def ingest_and_run(
    path: str,
    options: IngestConfig | None = None,
    run_options: RunConfig | None = None,
    *,
    replace: bool = False,
) -> Json:
    """Ingest the dataset at a path, and run the pipeline on it.

    Parameters
    ----------
    path : str
        What `flows.sources.open_source` opens.
    options, run_options
        Of `ingest_dataset` and of `run_pipeline`.
    replace : bool
        Whether a dataset of the same name with other content, and its runs, may be replaced.

    Returns
    -------
    dict
        What `run_pipeline` returns.
    """
    ingested = ingest_dataset(path, options, replace=replace)
    result: Json = run_pipeline(ingested["dataset"], run_options)
    return result


FLOWS: dict[str, Flow[..., Any]] = {
    "ingest": ingest_dataset,
    "run": run_pipeline,
    "both": ingest_and_run,
}


def deploy_flows(
    name: str = "sdc",
    *,
    which: Collection[str] | None = None,
    pool: str = POOL,
    cron: str | None = None,
    interval: timedelta | None = None,
    event: str | None = None,
    parameters: Json | None = None,
) -> list[str]:
    """Register the flows with the Prefect server; again, it brings them up to date.

    Parameters
    ----------
    name : str
        Of the deployments; each schedule with parameters of its own needs one.
    which : collection of {"ingest", "run", "both"}, optional
        Some of the flows; all by default.
    pool : {"sdc", "sdc-gpu"}
        Whose workers work on them.
    cron : str, optional
    interval : timedelta, optional
        When it runs by itself.
    event : str, optional
        Name of a Prefect event that starts it; the event's payload holds ``path``, or ``slug`` for
        ``run``.
    parameters : dict, optional
        What it is run with.

    Returns
    -------
    list of str
        Names of the deployments, ``flow/deployment``.

    Raises
    ------
    InputError
        The parameters are none that the flow takes.
    """
    with get_client(sync_client=True) as client:
        for each in POOLS:
            _require_pool(client, each)
    Email.register_type_and_schema()
    deployments = [
        _deployment(work_on_ingestion, asked.partition("/")[2], each)
        for each, asked in ASKED.items()
    ]
    for key in FLOWS if which is None else which:
        if parameters:
            _check_parameters(FLOWS[key], parameters)
        deployments.append(
            _deployment(
                FLOWS[key],
                name,
                pool,
                cron=cron,
                interval=interval,
                parameters=parameters,
                triggers=[_on_event(event, "slug" if key == "run" else "path")] if event else None,
            )
        )
    for deployment in deployments:
        deployment.apply()
    return [f"{each.flow_name}/{each.name}" for each in deployments]


def _deployment(chosen: Flow[..., Any], name: str, pool: str, **schedule: Any) -> RunnerDeployment:
    return RunnerDeployment.from_flow(
        chosen,
        name,
        work_pool_name=pool,
        entrypoint_type=EntrypointType.MODULE_PATH,
        **schedule,
    )


def _on_event(event: str, parameter: str) -> DeploymentEventTrigger:
    template = {"__prefect_kind": "jinja", "template": f"{{{{ event.payload.{parameter} }}}}"}
    return DeploymentEventTrigger(
        name=f"on {event}", expect={event}, parameters={parameter: template}
    )


def _check_parameters(chosen: Any, parameters: Json) -> None:
    try:
        # What an event will say is not known yet.
        first = next(iter(signature(chosen.fn).parameters))
        chosen.validate_parameters({first: ""} | parameters)
    except ParameterTypeError as error:
        raise InputError(
            f"{chosen.name}: {' '.join(str(error).split())}",
            hint="see docs/ingestions.md for what the flow takes",
        ) from error


def _require_pool(client: SyncPrefectClient, name: str) -> None:
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=JOB))
        return
    if pool.base_job_template != JOB:
        _take_back_commands(client, name)
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=JOB))


def _take_back_commands(client: SyncPrefectClient, pool: str) -> None:
    """Let deployments bring none any more, as those of an older version did."""
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    offset = 0
    while known := client.read_deployments(
        work_pool_filter=in_pool, limit=_PAGE, offset=offset, sort=DeploymentSort.NAME_ASC
    ):
        for each in known:
            if each.job_variables:
                client.update_deployment(each.id, DeploymentUpdate(job_variables={}))
        offset += _PAGE
