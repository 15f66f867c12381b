"""Hands what the catalog's queue holds on to Prefect, whose workers work on it."""

import logging
import threading
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, WorkPoolStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from app.database.engine import open_session
from app.database.models import IngestionRequest
from app.ingestions import queue
from app.schedules.service import ask_due
from app.triggers.service import look_once
from flows.deployments import ASKED, GPU_POOL, POOL

PAUSE_S = 1.0
# How long a request may wait at Prefect before somebody looks whether it is still there.
UNBEGUN = timedelta(seconds=60)

logger = logging.getLogger(__name__)


def dispatch_until(stop: threading.Event, pause_s: float = PAUSE_S) -> None:
    """Hand on what is due, again and again, until told to stop.

    What cannot be reached for a while is asked again: nothing that waits is lost.
    """
    while not stop.is_set():
        try:
            dispatched = dispatch_once()
        except Exception as error:
            logger.warning("the queue cannot be worked on now: %s", error)
            dispatched = 0
        if not dispatched:
            stop.wait(pause_s)


def dispatch_once() -> int:
    """Hand on all that is due now; how many requests these were.

    Several processes may do so at once: each request is locked while it is handed on, and Prefect
    makes one flow run of an attempt however often it is told.
    """
    with open_session() as session, session.begin():
        ask_due(session)
    looking = True
    while looking:
        with open_session() as session, session.begin():
            looking = look_once(session)
    with open_session() as session, session.begin():
        for request in queue.recover_lost(session):
            logger.warning("ingestion %d was left by its process", request)
    with get_client(sync_client=True) as client:
        _look_after_unbegun(client)
        count = 0
        while _hand_on(client):
            count += 1
    return count


def _hand_on(client: SyncPrefectClient) -> bool:
    """Hand on the request that is next; False where none is due."""
    with open_session() as session, session.begin():
        request = queue.next_due(session)
        if request is None:
            return False
        deployment = client.read_deployment_by_name(ASKED[_pool_for(client, request)])
        made = client.create_flow_run_from_deployment(
            deployment.id,
            name=f"ingestion-{request.id}-{request.attempt}",
            parameters={"request": request.id, "attempt": request.attempt},
            # Where this process dies before its transaction is committed, the next one gets the
            # same flow run; another catalog's request of that id gets its own.
            idempotency_key=f"ingestion-{request.id}-{request.attempt}-{request.created_at}",
        )
        queue.mark_submitted(request, str(made.id))
    return True


def _look_after_unbegun(client: SyncPrefectClient) -> None:
    """Give back requests whose flow run ended, or vanished, before it began to work on them."""
    with open_session() as session, session.begin():
        for request in queue.submitted(session, UNBEGUN):
            if _is_over(client, request):
                logger.warning("ingestion %d was never begun", request.id)
                queue.give_back(request)
            else:
                queue.mark_submitted(request, str(request.flow_run))


def _is_over(client: SyncPrefectClient, request: IngestionRequest) -> bool:
    try:
        run = client.read_flow_run(UUID(str(request.flow_run)))
    except ObjectNotFound:
        return True
    if run.state is None:
        return False
    return run.state.is_final() or (run.state.is_scheduled() and _is_left(client, run, request))


def _is_left(client: SyncPrefectClient, run: FlowRun, request: IngestionRequest) -> bool:
    """Take back a flow run that waits for workers who are gone, where others could work on it."""
    pool = _pool_for(client, request)
    if pool == run.work_pool_name or not _has_workers(client, pool):
        return False
    if _has_workers(client, str(run.work_pool_name)):
        return False
    logger.warning("nobody works on what %s holds, %s takes it", run.work_pool_name, pool)
    client.set_flow_run_state(run.id, Cancelled(message="its pool has no workers"))
    return True


def _pool_for(client: SyncPrefectClient, request: IngestionRequest) -> str:
    """The pool of the workers that suit a request; another one's where these are not there.

    Decoders are trained on a GPU where there is one, and it is not kept busy by reading files.
    """
    pools = (GPU_POOL, POOL) if request.then_run else (POOL, GPU_POOL)
    return next((pool for pool in pools if _has_workers(client, pool)), POOL)


def _has_workers(client: SyncPrefectClient, pool: str) -> bool:
    try:
        return client.read_work_pool(pool).status == WorkPoolStatus.READY
    except ObjectNotFound:
        return False
