"""Bodies of requests, bounded before anything reads them whole."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.patience import BYTES_PER_S
from app.presence import BODY_READ
from app.problems import problem_response
from app.settings import get_settings

MOST_DIGITS = 20


class BodyLimit:
    """Middleware that refuses a body larger than the setting ``upload_mb``, or ``json_mb``.

    Files are written to disk as they come; all else is read whole, and takes many times its length
    once it is read, so that less of it is let in. What the request says of its length is refused at
    once; a body that comes in pieces, or says less than it is, as soon as it is too long. One that
    does not come, or takes longer than the setting ``slow_request_s`` allows, is not waited for.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body counted."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        uploads = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        setting = "upload_mb" if uploads else "json_mb"
        most = int(getattr(get_settings(), setting) * 1e6)
        detail = f"the body is larger than {most / 1e6:g} MB, the setting SDC_{setting.upper()}"
        told = headers.get(b"content-length", b"0").lstrip(b"0")
        # Python refuses to make a number of thousands of digits.
        if told.isdigit() and (len(told) > MOST_DIGITS or int(told) > most):
            await problem_response(413, detail)(scope, receive, send)
            return
        patience = get_settings().slow_request_s
        received, began, complete = 0, asyncio.get_running_loop().time(), False

        async def counted() -> Message:
            nonlocal received, complete
            if complete:
                # What comes now is that the client leaves, and may come late.
                return await receive()
            until = began + patience + received / BYTES_PER_S
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, "the body did not come in time", headers={"Connection": "close"}
                ) from None
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413, detail)
            complete = not message.get("more_body", False)
            scope[BODY_READ] = complete
            return message

        await self.app(scope, counted, send)
