"""Regions, over HTTP."""

from fastapi import APIRouter, Request, Response

from app.dependencies import ReadingSession
from app.immutable import UNCHANGED, tagged_answer
from app.paging import PAGE, Page
from app.parameters import AtlasName, Cursor, DatasetFilter, Limit, SubjectName
from app.regions import service
from app.regions.schemas import RegionSummary

router = APIRouter(prefix="/regions", tags=["regions"])


@router.get("", response_model=Page[RegionSummary], responses=UNCHANGED)
def list_regions(
    session: ReadingSession,
    request: Request,
    dataset: DatasetFilter = None,
    atlas: AtlasName = None,
    subject: SubjectName = None,
    cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Response:
    """The regions of datasets, and how many voxels of each participant lie there."""
    answer = service.list_regions(
        session, dataset=dataset, atlas=atlas, subject=subject, cursor=cursor, limit=limit
    )
    return tagged_answer(request, answer)
