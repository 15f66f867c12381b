"""Participants' networks, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.dependencies import ReadingSession
from app.immutable import UNCHANGED, tagged_answer
from app.networks import service
from app.networks.schemas import NetworkAnswer
from app.parameters import DatasetName, RunId
from app.patterns import NO_NUL

router = APIRouter(prefix="/networks", tags=["networks"])


@router.get("/{subject:path}", response_model=NetworkAnswer, responses=UNCHANGED)
def show_network(
    session: ReadingSession,
    request: Request,
    subject: Annotated[
        str, Path(description="A participant's label.", examples=["subj01"], pattern=NO_NUL)
    ],
    dataset: DatasetName = None,
    run: RunId = None,
) -> Response:
    """Which concepts belong together in one participant, in communities."""
    return tagged_answer(request, service.network(session, subject, dataset=dataset, run=run))
