"""What a supervisor asks."""

from fastapi import APIRouter
from pydantic import BaseModel

from app.problems import MEDIA_TYPE, Problem
from app.reading import reading_session

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
            "model": Problem,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    },
)
def is_ready() -> Health:
    """The database is reachable, and at this version's migration."""
    with reading_session():
        return Health()
