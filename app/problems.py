"""Errors as problem details (RFC 9457), the same for every part of the API."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.errors import BusyError, CatalogError
from app.failures import as_catalog_error
from app.observing.context import HEADER, bound
from app.wording import of_requests

MEDIA_TYPE = "application/problem+json"
MOST_FAULTS = 20
PATHS = "all paths are told at /docs and /openapi.json"
logger = logging.getLogger(__name__)


class Fault(BaseModel):
    """One part of a request that cannot be used."""

    where: str = Field(description="Path of the part, such as query.k.")
    message: str


class Problem(BaseModel):
    """Why a request was not answered."""

    type: str = Field(default="about:blank", description="The status says what kind it is.")
    title: str
    status: int
    detail: str
    hint: str | None = Field(default=None, description="What to do about it.")
    errors: list[Fault] | None = Field(
        default=None, description=f"Misformed parts of the request, the first {MOST_FAULTS}."
    )


def problem_response(
    status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """A response that tells a problem.

    Parameters
    ----------
    status : int
        Of HTTP.
    detail : str
        One line that names what is at fault.
    headers : dict, optional
    **more
        ``hint`` and ``errors`` of `Problem`.
    """
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, **more)
    return JSONResponse(
        problem.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE
    )


def problem_of(error: CatalogError) -> JSONResponse:
    """The response that tells an error of the catalog."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    if isinstance(error, BusyError):
        headers = {"Retry-After": str(error.retry_after_s)}
    return problem_response(
        error.status, error.message, headers=headers, hint=of_requests(error.hint) or None
    )


def tell_problems(api: FastAPI) -> None:
    """Make an application tell every error as a problem."""

    @api.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else {}
        if error.status_code == 405:
            # Of one route alone is what the router tells, and a path can have several.
            headers["Allow"] = ", ".join(_methods(request))
        # No service says 404 so: no route has this path.
        more = {"hint": PATHS} if error.status_code == 404 else {}
        return problem_response(error.status_code, str(error.detail), headers=headers, **more)

    @api.exception_handler(RequestValidationError)
    def misformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        # What was given is left out: it may be long, or secret.
        faults = [
            Fault(where=".".join(map(str, each["loc"])), message=each["msg"])
            for each in error.errors()[:MOST_FAULTS]
        ]
        first = faults[0]
        return problem_response(422, f"{first.where}: {first.message}", errors=faults)

    @api.exception_handler(Exception)
    @api.exception_handler(CatalogError)
    def failed(_request: Request, error: Exception) -> JSONResponse:
        known = as_catalog_error(error)
        if known is not None:
            return problem_of(known)
        logger.error("a request failed", exc_info=error)
        return problem_response(
            500,
            "the catalog failed to answer",
            # Whatever passes here has passed by what names the other answers.
            headers={HEADER: bound().get("request_id", "")},
            hint="its log tells why, by the X-Request-ID; the request may be fine",
        )


def _methods(request: Request) -> list[str]:
    """Methods of all routes of a request's path."""
    return sorted(
        {
            method
            for route in request.app.routes
            if route.matches(request.scope)[0] != Match.NONE
            for method in getattr(route, "methods", None) or ()
        }
    )
