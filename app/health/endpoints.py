"""What a supervisor asks."""

from fastapi import APIRouter
from pydantic import BaseModel

from app.dependencies import ReadingSession
from app.problems import MEDIA_TYPE, Problem

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The service is well."""

    status: str = "ok"


@router.get("/healthz")
def is_alive() -> Health:
    """The process answers; nothing else is looked at."""
    return Health()


@router.get(
    "/readyz",
    responses={
        503: {
            "description": "The database is unreachable, or at another migration.",
            "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        }
    },
)
def is_ready(_session: ReadingSession) -> Health:
    """The database is reachable, and at this version's migration."""
    return Health()
