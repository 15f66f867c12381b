"""Answers that a client may keep: it asks whether they changed, and is told so in a line."""

import hashlib

from fastapi import Request, Response


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
