"""Bodies of requests, bounded before anything reads them whole."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import problem_response
from app.settings import get_settings

MOST_DIGITS = 20


class BodyLimit:
    """Middleware that refuses a body larger than the setting ``upload_mb``, or ``json_mb``.

    Files are written to disk as they come; all else is read whole, and takes many times its length
    once it is read, so that less of it is let in. What the request says of its length is refused at
    once; a body that comes in pieces, or says less than it is, as soon as it is too long.
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
        detail = f"the body is larger than {most / 1e6:g} MB, the setting {setting}"
        told = headers.get(b"content-length", b"0").lstrip(b"0")
        # Python refuses to make a number of thousands of digits.
        if told.isdigit() and (len(told) > MOST_DIGITS or int(told) > most):
            await problem_response(413, detail)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413, detail)
            return message

        await self.app(scope, counted, send)
