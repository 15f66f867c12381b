"""Tests of handing the queue on to a real Prefect server."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from sqlalchemy import func, update

from app.database.engine import open_session
from app.database.models import IngestionRequest
from app.errors import InputError
from app.ingestions.schemas import IngestionWanted
from app.ingestions.service import ask_ingestion
from flows.deployments import ASKED, GPU_POOL, POOL, POOLS, deploy_flows
from flows.dispatch import UNBEGUN, dispatch_once


@pytest.fixture
def prefect(flows_home: Path) -> Iterator[SyncPrefectClient]:
    """A client of a Prefect server that knows the flows."""
    deploy_flows(which=())
    with get_client(sync_client=True) as client:
        yield client


def ask(count: int = 1) -> list[int]:
    with open_session() as session, session.begin():
        wanted = IngestionWanted(source="/data")
        return [ask_ingestion(session, wanted, "a test", "command").id for _ in range(count)]


def row(request: int) -> IngestionRequest:
    with open_session() as session:
        found = session.get(IngestionRequest, request)
        assert found is not None
        return found


def flow_run(client: SyncPrefectClient, request: int) -> UUID:
    return client.read_flow_run(UUID(str(row(request).flow_run))).id


def test_all_that_is_due_is_handed_on_with_its_id_and_attempt(prefect: SyncPrefectClient) -> None:
    first, second = ask(2)
    assert dispatch_once() == 2
    assert dispatch_once() == 0
    for request in (first, second):
        assert row(request).state == "submitted"
        made = prefect.read_flow_run(flow_run(prefect, request))
        assert made.parameters == {"request": request, "attempt": 1}


def test_what_was_handed_on_just_before_a_death_is_not_handed_on_twice(
    prefect: SyncPrefectClient,
) -> None:
    (request,) = ask()
    dispatch_once()
    made = flow_run(prefect, request)
    with open_session() as session, session.begin():
        session.execute(update(IngestionRequest).values(state="queued", flow_run=None))
    assert dispatch_once() == 1
    assert flow_run(prefect, request) == made


def test_another_catalogs_request_of_the_same_id_is_another(prefect: SyncPrefectClient) -> None:
    (request,) = ask()
    dispatch_once()
    made = flow_run(prefect, request)
    with open_session() as session, session.begin():
        older = IngestionRequest.created_at - timedelta(days=1)
        session.execute(update(IngestionRequest).values(state="queued", created_at=older))
    assert dispatch_once() == 1
    assert flow_run(prefect, request) != made


@pytest.mark.parametrize(("over", "attempt"), [(False, 1), (True, 2)])
def test_who_waits_long_is_looked_after(
    prefect: SyncPrefectClient, over: bool, attempt: int
) -> None:
    (request,) = ask()
    dispatch_once()
    made = flow_run(prefect, request)
    if over:
        prefect.set_flow_run_state(made, Crashed(), force=True)
    with open_session() as session, session.begin():
        long = UNBEGUN + timedelta(seconds=5)
        session.execute(update(IngestionRequest).values(lease_until=func.now() - long))
    dispatch_once()
    found = row(request)
    assert (found.attempt, found.state) == (attempt, "queued" if over else "submitted")


def test_flows_are_registered_with_their_schedule_and_brought_up_to_date(
    prefect: SyncPrefectClient,
) -> None:
    asked = list(ASKED.values())
    assert deploy_flows() == [*asked, "ingest/sdc", "run/sdc", "ingest-and-run/sdc"]
    parameters = {"path": "/data", "options": {"n_test": 20}}
    for cron in ("0 3 * * *", "0 4 * * *"):
        made = deploy_flows("night", which=("both",), cron=cron, parameters=parameters)
        assert made == [*asked, "ingest-and-run/night"]
        stored = prefect.read_deployment_by_name("ingest-and-run/night")
        assert [each.schedule.cron for each in stored.schedules] == [cron]  # type: ignore[union-attr]
        assert stored.parameters["options"]["n_test"] == 20
    deploy_flows("often", which=("run",), interval=timedelta(hours=6), parameters={"slug": "x"})
    stored = prefect.read_deployment_by_name("run/often")
    assert stored.schedules[0].schedule.interval == timedelta(hours=6)  # type: ignore[union-attr]
    schema = stored.parameter_openapi_schema
    assert schema is not None
    assert {"RunConfig", "MaskConfig"} <= set(schema["definitions"])


def test_parameters_that_are_none_register_nothing(prefect: SyncPrefectClient) -> None:
    with pytest.raises(InputError) as caught:
        deploy_flows("wrong", which=("ingest",), parameters={"path": "/x", "options": {"y": 1}})
    assert "options.y: Extra inputs are not permitted" in caught.value.message
    with pytest.raises(ObjectNotFound):
        prefect.read_deployment_by_name("ingest/wrong")


def work_in(client: SyncPrefectClient, pool: str) -> None:
    """A worker of a pool that is up."""
    client.send_worker_heartbeat(pool, "one", heartbeat_interval_seconds=60)


def stop_work_in(client: SyncPrefectClient, *pools: str) -> None:
    """No worker of these pools has been there."""
    for pool in pools:
        client.delete_work_pool(pool)
    deploy_flows(which=())


@pytest.mark.parametrize(
    ("up", "then_run", "expected"),
    [
        ((), True, POOL),
        ((POOL,), True, POOL),
        ((GPU_POOL,), False, GPU_POOL),
        ((POOL, GPU_POOL), True, GPU_POOL),
        ((POOL, GPU_POOL), False, POOL),
    ],
)
def test_what_trains_goes_to_workers_with_a_gpu_where_there_are_any(
    prefect: SyncPrefectClient, up: tuple[str, ...], then_run: bool, expected: str
) -> None:
    stop_work_in(prefect, *POOLS)
    for pool in up:
        work_in(prefect, pool)
    with open_session() as session, session.begin():
        wanted = IngestionWanted(source="/data", then_run=then_run)
        request = ask_ingestion(session, wanted, "a test", "command").id
    assert dispatch_once() == 1
    assert prefect.read_flow_run(flow_run(prefect, request)).work_pool_name == expected


@pytest.mark.parametrize("others", [True, False])
def test_what_waits_for_workers_who_are_gone_goes_to_others(
    prefect: SyncPrefectClient, others: bool
) -> None:
    stop_work_in(prefect, *POOLS)
    (request,) = ask()
    dispatch_once()
    waiting = flow_run(prefect, request)
    if others:
        work_in(prefect, GPU_POOL)
    with open_session() as session, session.begin():
        long = UNBEGUN + timedelta(seconds=5)
        session.execute(update(IngestionRequest).values(lease_until=func.now() - long))
    dispatch_once()
    state = prefect.read_flow_run(waiting).state
    assert state is not None
    assert state.is_cancelled() == others
    assert row(request).state == ("queued" if others else "submitted")
    if others:
        with open_session() as session, session.begin():
            session.execute(update(IngestionRequest).values(not_before=func.now()))
        assert dispatch_once() == 1
        assert prefect.read_flow_run(flow_run(prefect, request)).work_pool_name == GPU_POOL
