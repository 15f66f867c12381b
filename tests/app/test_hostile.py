"""Whatever is sent: no request fails the server, changes a row, or takes much memory."""

import json
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api import make_api
from app.database.engine import open_session
from app.keys.service import create_key, wanted_key
from app.settings import get_settings
from tests.app.conftest import Counts
from tests.app.operations import Asked, operations_of, parameters_of, requests_to, send
from tests.app.published import Published
from tests.app.serving import serving

# Of each, the first few are tried always, and all of them where there is time.
FEW = 4
TEXTS = (
    "'; DROP TABLE catalog.dataset CASCADE; --",
    "\u202eecaf\u202c وجه 👩🏽‍🚒\0",
    "顔" * 1000,
    "' OR '1'='1",
    "x') UNION SELECT pg_sleep(100)::text --",
    "👩🏽‍🚒🧠" * 40,
    "顔" * 1001,
    "%_%\\",
    "{}{0.__class__}%(x)s$1:x",
    "",
    " \t\r\n\u3000",
    "../../../etc/passwd",
    "x\r\nSet-Cookie: a=b",
)
NUMBERS = ("NaN", "9" * 5000, str(2**63), "", "-Infinity", "1e999", "-1", "0x10", "१", "1_0")
# Bytes that are no UTF-8, and half of an escape.
ESCAPES = ("%ff%fe", "%ed%a0%80", "%", "%00", "%c0%80", "%f5%80%80%80", "%zz")
VALUES: tuple[Any, ...] = (
    *("face\ud800", [[{"": {"\ud800": 1}}]], 10**400, float("nan")),
    *("\udfff", None, True, [], {}, [[[[]]]], float("inf"), -float("inf"), 1e308, -1, 0, *TEXTS),
)
# What is no JSON that can be read, or too much of it.
CONTENTS = {
    "deep": b"[" * 1_000_000,
    "deep inside": b'{"questions": [{"query": ' * 50_000,
    "many": b'{"questions": [' + b",".join([b"{}"] * 100_000) + b"]}",
    "many faults": b'{"questions": [' + b",".join([b"{}"] * 1000) + b"]}",
    "a long number": b'{"questions": [{"query": "face"}], "k": ' + b"9" * 5000 + b"}",
    "no UTF-8": b'{"questions": [{"query": "\xff\xfe"}]}',
    "NUL": b"\0",
    "nothing": b"",
    "UTF-16": '{"questions": [{"query": "face"}]}'.encode("utf-16"),
}
ALL = operations_of(make_api().openapi())
PLACES = [
    (operation, where, name)
    for operation, described in ALL.items()
    for where, name, is_text in parameters_of(described)
    if is_text
]
JSON = {"content-type": "application/json"}
BODIES = [
    operation
    for operation, described in ALL.items()
    if "application/json" in described.get("requestBody", {}).get("content", {})
]
MB = 1_000_000

thoroughly = pytest.mark.parametrize(
    "few", [pytest.param(FEW, id="few"), pytest.param(None, id="all", marks=pytest.mark.slow)]
)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests come from one address, which may ask as often as it likes."""
    monkeypatch.setenv("SDC_REQUESTS_PER_MINUTE", "10000000")
    # Without one no hook answers at all, and says so.
    monkeypatch.setenv("SDC_HOOK_SECRET", "something random")
    get_settings.cache_clear()


def check(response: Response) -> None:
    """The answer is one, or a problem that is the request's own, told in a line."""
    told = f"{response.request.url!s:.200}: {response.text:.300}"
    assert response.status_code < 500, told
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json", told
        problem = response.json()
        assert problem["detail"], told
        assert "\n" not in problem["detail"], told
        assert len(problem.get("errors") or []) <= 20, told


def with_value(asked: Asked, where: str, name: str, value: str) -> Asked:
    """A request with one of its parameters replaced."""
    changed = deepcopy(asked)
    if where == "path":
        # A path without the segment is another operation's.
        changed.path[name] = quote(value, safe="") or "%20"
    else:
        changed.query[name] = value
    return changed


def test_every_operation_has_a_case(published: Published) -> None:
    assert set(requests_to(published)) == set(ALL)


@thoroughly
@pytest.mark.parametrize("operation", ALL)
def test_parameters_take_anything(
    client: TestClient,
    published: Published,
    count_rows: Callable[[], Counts],
    operation: str,
    few: int | None,
) -> None:
    before = count_rows()
    asked = requests_to(published)[operation]
    for where, name, is_text in parameters_of(ALL[operation]):
        for value in (TEXTS if is_text else NUMBERS)[:few]:
            check(send(client, operation, with_value(asked, where, name, value)))
    for escape in ESCAPES[:few]:
        method, _, path = operation.partition(" ")
        inside = path.format(**dict.fromkeys(asked.path, escape))
        names = [name for where, name, _ in parameters_of(ALL[operation]) if where == "query"]
        query = "&".join(f"{name}={escape}" for name in [*names, escape])
        check(client.request(method, f"{inside}?{query}", json=asked.body, files=asked.files))
    assert count_rows() == before


@given(place=st.sampled_from(PLACES), value=st.text())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_parameters_take_any_text(
    client: TestClient, published: Published, place: tuple[str, str, str], value: str
) -> None:
    operation, where, name = place
    asked = requests_to(published)[operation]
    check(send(client, operation, with_value(asked, where, name, value)))


@pytest.mark.parametrize("text", ["%", "_", "\\", "' OR '1'='1"])
def test_a_text_is_sought_as_it_stands(client: TestClient, text: str) -> None:
    assert client.get("/v1/components", params={"text": text}).json()["total"] == 0


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all that a body holds, the body itself among it."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from paths_in(value[key], (*path, key))


def replaced(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A body with what lies at a path replaced."""
    if not path:
        return value
    changed = deepcopy(body)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@thoroughly
@pytest.mark.parametrize("operation", BODIES)
def test_bodies_take_anything(
    own_published: Published, count_rows: Callable[[], Counts], operation: str, few: int | None
) -> None:
    """With a key that may do all, so that nothing is refused for want of one."""
    with open_session() as session, session.begin():
        key = create_key(session, wanted_key("x", ["admin"], [], 1), "a test").key
    asked = requests_to(own_published)[operation]
    before = count_rows()
    made = 0
    with TestClient(make_api(), raise_server_exceptions=False) as client:
        for path in paths_in(asked.body):
            for value in VALUES[:few]:
                response = client.request(
                    *operation.split(" "),
                    content=json.dumps(replaced(asked.body, path, value)),
                    headers=JSON | {"authorization": f"Bearer {key}"},
                )
                check(response)
                made += response.status_code == 201
    # What can name a key makes one, and is recorded.
    assert count_rows() == before | {name: before[name] + made for name in ("api_key", "audit")}
    assert operation == "POST /v1/keys" or not made


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("operation", BODIES)
def test_what_is_no_body(
    client: TestClient, count_rows: Callable[[], Counts], operation: str, content: str
) -> None:
    before = count_rows()
    response = client.request(*operation.split(" "), content=CONTENTS[content], headers=JSON)
    check(response)
    assert 400 <= response.status_code < 500 or content == "UTF-16"
    assert count_rows() == before


@pytest.mark.parametrize("charset", ["utf-8", "unicode_escape", "punycode", "hex", "x" * 1000])
def test_names_of_uploads(client: TestClient, charset: str) -> None:
    for name in (rb"\ud800.png", b"\xff\0", b"x" * 100_000, b"'; --", b"../../p.png"):
        head = b'--x\r\ncontent-disposition: form-data; name="image"; filename="' + name + b'"'
        check(
            client.post(
                "/v1/search/image",
                content=head + b"\r\n\r\n\r\n--x--\r\n",
                headers={"content-type": f"multipart/form-data; boundary=x; charset={charset}"},
            )
        )


def sent(url: str, head: bytes, body: Iterator[bytes]) -> tuple[int, bytes]:
    """How much a server takes before it hangs up or the body ends, and what it answers."""
    where = urlsplit(url)
    number = 0
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.settimeout(30)
        try:
            connection.sendall(head)
            for piece in body:
                connection.sendall(piece)
                number += len(piece)
        except ConnectionError:
            pass
        try:
            answer = connection.recv(65536)
        except ConnectionError:
            answer = b""
    return number, answer


def chunks(piece: bytes, count: int) -> Iterator[bytes]:
    """Pieces as HTTP sends a body whose length is not told."""
    for _ in range(count):
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


HANGS_UP = b"400"
FORM = b"Content-Type: multipart/form-data; boundary=x\r\n"
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="p.png"\r\n\r\n'
POST = b"POST /v1/search%s HTTP/1.1\r\nHost: x\r\n%s\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
TOLD = b"Content-Length: 200000000\r\n"
APPLICATION_JSON = b"Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        (b"GET /v1/search?q=", lambda: iter([b"a" * MB] * 200), HANGS_UP),
        (b"GET /v1/datasets HTTP/1.1\r\nX: ", lambda: iter([b"a" * MB] * 200), HANGS_UP),
        (POST % (b"", APPLICATION_JSON + TOLD), lambda: iter([b'"' + b"a" * MB] * 200), b"413"),
        (POST % (b"", APPLICATION_JSON + CHUNKED), lambda: chunks(b"a" * MB, 200), b"413"),
        (POST % (b"", CHUNKED), lambda: chunks(b'{"questions":' + b"[" * MB, 200), b"413"),
        (POST % (b"/image", FORM + CHUNKED), lambda: chunks(PART + b"a" * MB, 200), b"413"),
    ],
    ids=["query", "header", "length told", "chunked", "chunked, of no type", "upload"],
)
def test_200_mb_are_refused(
    published: Published,
    count_rows: Callable[[], Counts],
    monkeypatch: pytest.MonkeyPatch,
    head: bytes,
    body: Callable[[], Iterator[bytes]],
    status: bytes,
) -> None:
    monkeypatch.setenv("SDC_UPLOAD_MB", "8")
    get_settings.cache_clear()
    before = count_rows()
    with serving() as url:
        tracemalloc.start()
        number, answer = sent(url, head, body())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as again:
            again.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert again.recv(100).startswith(b"HTTP/1.1 200")
    if status == HANGS_UP:
        assert number < 50 * MB
        # What was sent to nobody may take the answer with it.
        assert not answer or answer.startswith(b"HTTP/1.1 400")
    else:
        assert answer.startswith(b"HTTP/1.1 " + status)
    assert most < 20 * MB
    assert count_rows() == before
