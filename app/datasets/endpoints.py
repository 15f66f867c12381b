"""Datasets, over HTTP."""

from fastapi import APIRouter

from app.datasets import service
from app.datasets.schemas import DatasetList
from app.dependencies import ReadingSession

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.get("")
def list_datasets(session: ReadingSession) -> DatasetList:
    """All datasets, published or not, by name."""
    return service.list_datasets(session)
