"""The API's page in a browser: Swagger UI, which loads nothing from elsewhere."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

PAGE = "/docs"
# Of the package's files: what it is served as.
_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
# Paths are relative: a proxy may serve the API below a path of its own.
_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Catalog of shared decodable concepts</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon.png">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
})
"""

router = APIRouter()


class Welcome(BaseModel):
    """Where to go from here."""

    title: str = "Catalog of shared decodable concepts"
    page: str = PAGE
    document: str = "/openapi.json"
    ready: str = "/readyz"


@router.get("/", include_in_schema=False)
def welcome() -> Welcome:
    """What is served here."""
    return Welcome()


@router.get(PAGE, include_in_schema=False)
def page() -> HTMLResponse:
    """The page."""
    return HTMLResponse(_HTML)


@router.get(f"{PAGE}/start.js", include_in_schema=False)
def start() -> Response:
    """What starts Swagger UI; a script of the page's own would need leave to run there."""
    return Response(_START, media_type="text/javascript")


def _serve(name: str, media_type: str) -> None:
    @router.get(f"{PAGE}/{name}", include_in_schema=False)
    def file() -> Response:
        content = files("fastapi_offline").joinpath("static", name).read_bytes()
        return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=86400"})


for _name, _media_type in _FILES.items():
    _serve(_name, _media_type)
