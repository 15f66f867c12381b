"""Participants' networks, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.dependencies import ReadingSession
from app.networks import service
from app.networks.schemas import NetworkAnswer
from app.parameters import DatasetName, RunId
from app.patterns import NO_NUL

router = APIRouter(prefix="/networks", tags=["networks"])


@router.get("/{subject:path}")
def show_network(
    session: ReadingSession,
    subject: Annotated[
        str, Path(description="A participant's label.", examples=["subj01"], pattern=NO_NUL)
    ],
    dataset: DatasetName = None,
    run: RunId = None,
) -> NetworkAnswer:
    """Which concepts belong together in one participant, in communities."""
    return service.network(session, subject, dataset=dataset, run=run)
