"""What an encoder does not know or read of a prompt: the same told by every interface."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from app.api import make_api
from app.client import Catalog
from app.database.engine import open_session
from app.database.models import Encoder, Term
from app.encoders import service as encoders
from app.errors import InputError
from app.keys.service import create_key, wanted_key
from app.search.service import search
from app.settings import get_settings
from app.store import ArtefactStore
from app.terms.prompts import ensure_prompts
from app.terms.remembered import remembered
from app.terms.service import add_terms
from app.voxels.service import search_voxels
from tests.app.conftest import Counts, Sdc
from tests.app.mcp.conftest import environment, over_stdio, with_client
from tests.app.published import CONCEPTS, Published, publish
from tests.app.serving import serving

MINILM = "caption:all-MiniLM-L6-v2"
ONE = "a face 😀"
UNKNOWN = (
    'the encoder knows no word of "😀": any others that it does not know would give the same answer'
)
LONG = "a dog " * 127 + "a"
SHOWN = LONG[:40]
CUT = f'only the first 256 of 257 tokens of "{SHOWN}…" count, the encoder does not read the rest'
REFUSED = f'the encoder {MINILM} knows no word of "🍕"'


@pytest.fixture
def of_sentences(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    """A run of the sentence encoder, with few words."""
    monkeypatch.setattr(encoders, "vocabulary_of", lambda encoder: [*CONCEPTS, "tree", "car"])
    remembered.forget()
    with open_session() as session, session.begin():
        published = publish(session, MINILM, ArtefactStore(get_settings().store_url))
    yield published
    remembered.forget()


def test_every_interface_warns_alike(of_sentences: Published, sdc: Sdc) -> None:
    def warned(words: str) -> list[str]:
        result = sdc("search", words, "--json")
        assert result.exit_code == 0, result.output
        told: list[str] = json.loads(result.stdout)["warnings"]
        return told

    assert warned(ONE) == [UNKNOWN]
    assert warned(LONG) == [CUT]
    assert warned("a face") == warned("face") == []
    for words, line in ((ONE, UNKNOWN), (LONG, CUT)):
        assert f"warning: {line}\n" in sdc("search", words).stdout
        assert f"warning: {line}\n" in sdc("voxels", words).stdout
        assert json.loads(sdc("voxels", words, "--json").stdout)["warnings"] == [line]
    client = TestClient(make_api())
    for path in ("/v1/search", "/v1/search/voxels"):
        answer = client.get(path, params={"q": LONG, "plus": ONE, "minus": "body"}).json()
        assert answer["warnings"] == [CUT, UNKNOWN]
    body = {"questions": [{"query": ONE}, {"query": "face"}]}
    answers = client.post("/v1/search", json=body).json()["answers"]
    assert [each["warnings"] for each in answers] == [[UNKNOWN], []]
    with serving() as url, Catalog(url) as catalog:
        assert catalog.search(ONE).warnings == [UNKNOWN]
        assert catalog.search_voxels(LONG).warnings == [CUT]
    own = environment(get_settings().home, os.environ["SDC_DATABASE_URL"])

    async def by_tools(server: Any) -> list[Any]:
        told = [await server.call_tool(tool, {"prompt": ONE}) for tool in ("search", "regions")]
        statement = f"SELECT * FROM catalog.read_prompt('{ONE}')"  # noqa: S608
        return [*told, await server.call_tool("sql", {"statement": statement})]

    *told, rows = (each.structured_content for each in with_client(over_stdio(own), by_tools))
    assert [each["warnings"] for each in told] == [[UNKNOWN], [UNKNOWN]]
    assert rows["rows"] == [[MINILM, 5, 5, ["😀"], []]]


def test_what_it_knows_nothing_of_is_refused_by_every_interface(
    of_sentences: Published, sdc: Sdc, count_rows: Callable[[], Counts]
) -> None:
    before = count_rows()
    for words in (("search", "🍕"), ("voxels", "🍕"), ("terms", "add", "🍕", "a face")):
        result = sdc(*words)
        assert (result.exit_code, result.stdout) == (2, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"error: {REFUSED}")
        assert "ask in words" in line
    for words in (("--plus", "🍕"), ("--minus", "🍕"), ("--ensemble",)):
        asked = ("face", *words) if len(words) > 1 else ("🍕", *words)
        assert REFUSED in sdc("search", *asked).stderr
    client = TestClient(make_api())
    for path in ("/v1/search", "/v1/search/voxels"):
        response = client.get(path, params={"q": "🍕"})
        assert (response.status_code, response.json()["detail"]) == (422, REFUSED)
    with serving() as url, Catalog(url) as catalog, pytest.raises(InputError) as caught:
        catalog.search("🍕")
    assert caught.value.message == REFUSED
    assert count_rows() == before
    with open_session() as session, pytest.raises(Exception, match="has no vector yet"):
        session.execute(text("SELECT * FROM catalog.search_concepts('🍕', 1)")).all()


def test_warnings_are_stored_with_the_prompt(
    of_sentences: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks again is told again, without the encoder."""
    templates = ("{}", "a photo of {}", "a picture of {}")
    with open_session() as session, session.begin():
        first = search(session, ONE, templates=templates, minus=[LONG])
    monkeypatch.setattr("app.terms.prompts.load_stored_encoder", None)
    with open_session() as session:
        again = search(session, ONE, templates=templates, minus=[LONG])
        assert again.warnings == first.warnings
        assert [each.id for each in again.concepts] == [each.id for each in first.concepts]
        # Of templates, that which is cut most.
        assert again.warnings == [UNKNOWN, CUT.replace("257", "260")]
        assert search_voxels(session, ONE, templates=templates).warnings == [UNKNOWN]


def test_strangers_are_warned_again_too(
    of_sentences: Published, count_rows: Callable[[], Counts]
) -> None:
    """Their prompts are remembered, not stored."""
    before = count_rows()
    client = TestClient(make_api())
    asked = {"q": ONE}
    first, again = (client.get("/v1/search", params=asked).json() for _ in range(2))
    assert first == again
    assert again["warnings"] == [UNKNOWN]
    assert count_rows() == before


def test_terms_are_added_with_warnings(of_sentences: Published, sdc: Sdc) -> None:
    with open_session() as session, session.begin():
        key = create_key(session, wanted_key("test", ["ingest"], [], 30), "a test").key
    client = TestClient(make_api(), headers={"Authorization": f"Bearer {key}"})
    (told,) = client.post("/v1/terms", json={"texts": [ONE, "the dog"]}).json()["encoders"]
    assert (told["added"], told["warnings"]) == (2, [UNKNOWN])
    assert f"warning: {UNKNOWN}\n" in sdc("terms", "add", ONE).stdout
    refused = client.post("/v1/terms", json={"texts": ["the cat", "🍕"]})
    assert (refused.status_code, refused.json()["detail"]) == (422, REFUSED)


def test_sql_tells_what_is_read_of_stored_prompts(of_sentences: Published) -> None:
    with open_session() as session, session.begin():
        row = session.scalar(select(Encoder))
        assert row is not None
        ensure_prompts(session, row, [ONE, LONG, "лицо"])
        query = text("SELECT * FROM catalog.read_prompt(:prompt)")

        def read(prompt: str) -> list[tuple[Any, ...]]:
            return [tuple(each) for each in session.execute(query, {"prompt": prompt})]

        assert read(ONE) == [(MINILM, 5, 5, ["😀"], [])]
        assert read(f" {LONG} ") == [(MINILM, 257, 256, [], [])]
        assert read("лицо") == [(MINILM, 6, 6, [], ["лицо"])]
        # A word of the vocabulary.
        assert read("face") == [(MINILM, None, None, None, None)]
        with pytest.raises(Exception, match="sdc terms add '🍕'"):
            read("🍕")


def test_prompts_of_earlier_versions_say_that_nobody_looked(own: Session) -> None:
    row = own.scalar(select(Encoder))
    assert row is not None
    ensure_prompts(own, row, [ONE])
    nothing = {"tokens": None, "tokens_read": None, "unknown_words": None, "spelt_words": None}
    own.execute(update(Term).where(Term.text == ONE).values(nothing))
    (warning,) = search(own, ONE).warnings
    assert warning == (
        f"whether the encoder reads all of {ONE!r} was not looked at when it was stored: "
        "add it again to its terms"
    )
    (told,) = add_terms(own, [ONE], actor="a test").encoders
    assert (told.added, told.known, told.warnings) == (0, 1, [UNKNOWN])
    assert search(own, ONE).warnings == [UNKNOWN]


@pytest.fixture
def own(of_sentences: Published) -> Iterator[Session]:
    with open_session() as session:
        yield session
