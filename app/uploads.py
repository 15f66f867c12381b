"""Bodies of requests, bounded before anything reads them whole."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import problem_response
from app.settings import get_settings


class BodyLimit:
    """Middleware that refuses a body larger than the setting ``upload_mb``.

    What the request says of its length is refused at once; a body that comes in pieces, or says
    less than it is, as soon as it is too long.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body counted."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = int(get_settings().upload_mb * 1e6)
        detail = f"the body is larger than {most / 1e6:g} MB, the setting upload_mb"
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > most:
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
