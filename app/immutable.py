"""Answers that a client may keep: it asks whether they changed, and is told so in a line."""

import hashlib
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the client has, by its If-None-Match, is the same."}
}


def tagged_answer(request: Request, answer: BaseModel) -> Response:
    """An answer as JSON, `tagged`."""
    return tagged(request, answer.model_dump_json().encode(), "application/json")


def tagged(
    request: Request, content: bytes, media_type: str, headers: dict[str, str] | None = None
) -> Response:
    """An answer with its ETag, or 304 where the client has it already.

    Parameters
    ----------
    request : Request
    content : bytes
    media_type : str
    headers : dict, optional
    """
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    # Kept, but asked for each time: what may be read can change where what is read does not.
    fixed = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = [each.strip().removeprefix("W/") for each in _asked(request)]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=fixed)
    return Response(content, media_type=media_type, headers=fixed | (headers or {}))


def _asked(request: Request) -> list[str]:
    return request.headers.get("if-none-match", "").split(",")
