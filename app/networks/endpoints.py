"""Participants' networks, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.dependencies import ReadingSession
from app.networks import service
from app.networks.schemas import NetworkAnswer

router = APIRouter(prefix="/networks", tags=["networks"])


@router.get("/{subject:path}")
def show_network(
    session: ReadingSession,
    subject: Annotated[str, Path(description="A participant's label.", examples=["subj01"])],
    dataset: Annotated[
        str | None, Query(description="Needed where several have a current run.")
    ] = None,
    run: Annotated[
        int | None, Query(description="An older run, instead of the current one.")
    ] = None,
) -> NetworkAnswer:
    """Which concepts belong together in one participant, in communities."""
    return service.network(session, subject, dataset=dataset, run=run)
