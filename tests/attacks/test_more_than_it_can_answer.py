"""Many at once, requests that never end, and prompts without end."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from sqlalchemy import text

from app.api import make_api
from app.capacity import LINE, connections
from app.database.engine import get_engine, open_session
from app.embedding import Encoder
from app.embedding.text_reading import TextReading
from app.keys.service import create_key, wanted_key
from app.presence import LOOK_S
from app.settings import get_settings
from app.terms import prompts
from app.terms.remembered import remembered
from tests.app.conftest import Counts, Sdc
from tests.app.published import Published
from tests.attacks.test_requests_that_pretend import served
from tests.conftest import forget_settings

CLIENTS = 64
# Long enough for what a test does in it, however slow the machine is.
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def remembers_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that other tests asked, and a rate that no test meets by accident."""
    monkeypatch.setenv("SDC_REQUESTS_PER_MINUTE", "100000")
    remembered.forget()
    yield
    remembered.forget()
    get_settings.cache_clear()


def set_to(monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"SDC_{name.upper()}", str(value))
    forget_settings()


def ask_together(url: str, headers: dict[str, str]) -> Counter[tuple[int, bool]]:
    """Statuses of many who ask at the same time, twice each, and whether told when again."""

    def ask(_: int) -> list[tuple[int, bool]]:
        with httpx.Client(timeout=PATIENCE_S, headers=headers) as client:
            answers = [client.get(f"{url}/v1/search", params={"q": "face"}) for _ in range(2)]
        return [(each.status_code, "retry-after" in each.headers) for each in answers]

    with ThreadPoolExecutor(CLIENTS) as clients:
        return Counter(one for each in clients.map(ask, range(CLIENTS)) for one in each)


@pytest.fixture
def key(own_published: Published) -> dict[str, str]:
    """A header with a key: it is looked up, so that the request has a connection from there on."""
    with open_session() as session, session.begin():
        made = create_key(session, wanted_key("test", ["read"], [], 1), "a test").key
    return {"Authorization": f"Bearer {made}"}


def test_many_clients_at_once_are_answered_or_told_when_to_ask_again(
    key: dict[str, str], sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(sdc, monkeypatch) as url:
        answers = ask_together(url, key)
        assert sum(answers.values()) == 2 * CLIENTS
        assert {*answers} <= {(200, False), (503, True)}
        # The line has room for most of them.
        assert answers[200, False] >= CLIENTS
        with get_engine().connect() as connection:
            idle = text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND state = 'idle in transaction'"
            )
            assert connection.scalar(idle) == 0


def test_a_server_of_one_place_is_as_well(
    key: dict[str, str], sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, requests_at_once=1)
    with served(sdc, monkeypatch) as url:
        answers = ask_together(url, key)
        assert {*answers} <= {(200, False), (503, True)}
        assert answers[200, False] > 0


@contextmanager
def hold_all(url: str, number: int) -> Iterator[list[threading.Thread]]:
    """Requests that wait for a lock of the database, as long as the block is worked on."""
    database = get_settings().database_url
    assert database is not None
    with psycopg.connect(database.get_secret_value()) as owner:
        owner.execute("LOCK TABLE catalog.dataset IN ACCESS EXCLUSIVE MODE")
        waiting = [
            threading.Thread(target=httpx.get, args=(f"{url}/v1/datasets",), kwargs={"timeout": 60})
            for _ in range(number)
        ]
        for each in waiting:
            each.start()
        yield waiting
        owner.rollback()
    for each in waiting:
        each.join()


def test_beyond_the_line_all_are_told_at_once_and_health_still_answers(
    own_published: Published, sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, requests_at_once=1)
    # Whoever comes into the line before it is full is told so soon.
    monkeypatch.setattr("app.capacity.WAIT_S", 1.0)
    with served(sdc, monkeypatch) as url, hold_all(url, 1 + LINE):
        until = time.monotonic() + PATIENCE_S
        while (refused := httpx.get(f"{url}/v1/runs", timeout=PATIENCE_S)).status_code != 503:
            assert time.monotonic() < until
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["detail"].endswith("the setting SDC_REQUESTS_AT_ONCE")
        for path in ("/healthz", "/readyz"):
            assert httpx.get(f"{url}{path}", timeout=PATIENCE_S).status_code == 200


def test_threads_and_connections_are_of_one_size(
    own_published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anyio.to_thread import current_default_thread_limiter

    set_to(monkeypatch, requests_at_once=3)
    api = make_api()

    @api.get("/threads")
    async def threads() -> float:
        return current_default_thread_limiter().total_tokens

    with TestClient(api) as client:
        assert client.get("/threads").json() == connections() == 7
    pool = get_engine().pool
    assert pool.size() + pool._max_overflow == 7  # type: ignore[attr-defined]


def until_ended(url: str, *parts: bytes) -> bytes:
    """What a connection is told that sends parts of a request, until the server ends it."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as asked:
        told = b""
        with suppress(ConnectionError):
            for part in parts:
                asked.sendall(part)
                time.sleep(0.05)
            while block := asked.recv(65536):
                told += block
    return told


HEAD = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], b""),
        ([b"GET /v1/da"], b""),
        ([b"GET /v1/runs HTTP/1.1\r\n", *(b"X-%d: 1\r\n" % each for each in range(9))], b""),
        ([HEAD + b"Content-Length: 90\r\n\r\n", b'{"questions":'], b"HTTP/1.1 408 "),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"], b"HTTP/1.1 408 "),
    ],
)
def test_requests_that_never_end_are_ended(
    own_published: Published,
    sdc: Sdc,
    monkeypatch: pytest.MonkeyPatch,
    parts: list[bytes],
    expected: bytes,
) -> None:
    set_to(monkeypatch, slow_request_s=0.3)
    with served(sdc, monkeypatch) as url:
        told = until_ended(url, *parts)
    assert told.startswith(expected)
    assert bool(told) is bool(expected)


def test_a_half_sent_second_request_is_ended_too(
    own_published: Published, sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, slow_request_s=0.3)
    with served(sdc, monkeypatch) as url:
        whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        told = until_ended(url, whole, b"GET /healthz HT")
    assert told.count(b"HTTP/1.1 200 ") == 1


def test_those_who_send_slowly_take_no_place(
    own_published: Published, sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, requests_at_once=1)
    with served(sdc, monkeypatch) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        slow = [socket.create_connection((host, int(port))) for _ in range(9)]
        for each in slow:
            each.sendall(HEAD + b"Content-Length: 90\r\n\r\n{")
        try:
            assert httpx.get(f"{url}/v1/datasets", timeout=PATIENCE_S).status_code == 200
        finally:
            for each in slow:
                each.close()


class CountingEncoder:
    """Vectors of texts by their hash; counts what it embeds, and can wait at each."""

    def __init__(self, like: Encoder) -> None:
        self.name, self.dimension, self.checksum = like.name, like.dimension, like.checksum
        self.embedded = 0
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def read_text(self, text: str, template: str = "{}") -> TextReading:
        return TextReading(tokens=1, tokens_read=1)

    def encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        self.begun.set()
        self.go_on.wait(PATIENCE_S)
        self.embedded += len(texts)
        rows = np.stack(
            [
                np.random.default_rng(list(each.encode())).standard_normal(self.dimension)
                for each in texts
            ]
        )
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def encoder(own_published: Published, monkeypatch: pytest.MonkeyPatch) -> CountingEncoder:
    """Takes the place of the published run's encoder."""
    load = prompts.load_stored_encoder
    made: dict[str, CountingEncoder] = {}

    def loaded(row: Any) -> CountingEncoder:
        return made.setdefault("one", CountingEncoder(load(row)))

    monkeypatch.setattr(prompts, "load_stored_encoder", loaded)
    from app.encoders.repository import list_encoders

    with open_session() as session:
        return loaded(list_encoders(session)[0])


def many(questions: int, further: int, templates: int) -> dict[str, Any]:
    """A request of the kind that took ten minutes."""
    return {
        "questions": [
            {
                "query": f"thing {number}",
                "plus": [f"more {number} {each}" for each in range(further // 2)],
                "minus": [f"less {number} {each}" for each in range(further // 2)],
            }
            for number in range(questions)
        ],
        "templates": [f"{each} {{}}" for each in range(templates)],
    }


def test_the_limit_counts_what_is_embedded(
    encoder: CountingEncoder, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    client = TestClient(make_api())
    refused = client.post("/v1/search", json=many(2, 20, 20))
    assert refused.status_code == 422
    assert "420 prompts of this request are to be embedded" in refused.json()["detail"]
    assert "the setting SDC_EMBED_LIMIT" in refused.json()["hint"]
    assert encoder.embedded == 0
    assert client.post("/v1/search", json=many(2, 4, 2)).status_code == 200
    assert encoder.embedded == 20
    assert count_rows() == before


def test_several_questions_have_one_limit(
    encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, embed_limit=25)
    client = TestClient(make_api())
    assert client.post("/v1/search", json=many(3, 4, 2)).status_code == 422
    assert encoder.embedded == 20
    # What is known already is not counted again.
    assert client.post("/v1/search", json=many(3, 4, 2)).status_code == 200
    assert encoder.embedded == 30


def test_what_is_embedded_counts_as_requests_of_the_minute(
    encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, requests_per_minute=30)
    client = TestClient(make_api())
    assert client.post("/v1/search", json=many(2, 4, 2)).status_code == 200
    refused = client.post("/v1/search", json=many(4, 4, 2))
    assert refused.status_code == 429
    assert encoder.embedded == 20


def test_what_nobody_asks_is_remembered_for_a_while_and_not_stored(
    encoder: CountingEncoder, count_rows: Callable[[], Counts], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, prompt_cache=2)
    before = count_rows()
    client = TestClient(make_api())

    def ask(what: str) -> Any:
        response = client.get("/v1/search", params={"q": what})
        assert response.status_code == 200
        return response.json()

    first = ask("zebra one")
    assert (ask("zebra one"), encoder.embedded) == (first, 1)
    ask("zebra two")
    ask("zebra one")
    ask("zebra three")
    assert (len(remembered), encoder.embedded) == (2, 3)
    # Two was used longest ago.
    ask("zebra one")
    assert encoder.embedded == 3
    ask("zebra two")
    assert encoder.embedded == 4
    for path in ("/v1/search/voxels", "/v1/components"):
        name = "text" if path == "/v1/components" else "q"
        client.get(path, params={name: "zebra four"})
    assert count_rows() == before


def test_what_a_key_asks_is_stored(
    encoder: CountingEncoder, key: dict[str, str], count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()["term"]
    client = TestClient(make_api())
    asked = {"q": "zebra one"}
    first = client.get("/v1/search", params=asked).json()
    assert client.get("/v1/search", params=asked, headers=key).json() == first
    assert (count_rows()["term"], encoder.embedded) == (before + 1, 1)


def test_work_ends_with_its_client(
    encoder: CountingEncoder, sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(sdc, monkeypatch) as url:
        for method, path, words in (
            ("POST", "/v1/search", {"json": many(1, 20, 8)}),
            ("GET", "/v1/search", {"params": {"q": "x", "plus": [f"y{n}" for n in range(10)]}}),
        ):
            encoder.embedded = 0
            encoder.begun.clear()
            encoder.go_on.clear()
            asking = httpx.Client(timeout=0.5)
            with pytest.raises(httpx.ReadTimeout):
                asking.request(method, f"{url}{path}", **words)
            asking.close()
            assert encoder.begun.is_set()
            # The server looks now and then whether its client is there.
            time.sleep(4 * LOOK_S)
            encoder.go_on.set()
            assert httpx.get(f"{url}/v1/datasets", timeout=PATIENCE_S).status_code == 200
            until = time.monotonic() + PATIENCE_S
            while encoder.embedded < 1:
                assert time.monotonic() < until
            time.sleep(2 * LOOK_S)
            assert encoder.embedded == 1
