"""Tests of the client, against the API served for real."""

import asyncio
import gzip
import json
import socket
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.client import AsyncCatalog, Catalog
from app.concepts.service import (
    concept_terms,
    list_concepts,
    show_concept,
    similar_concepts,
)
from app.database.engine import get_engine, open_session
from app.datasets.service import list_datasets
from app.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    TooSlowError,
    UnauthorisedError,
    UnavailableError,
)
from app.keys.service import create_key, wanted_key
from app.maps.service import search_map
from app.networks.service import network
from app.places.service import search_place, search_region
from app.regions.schemas import RegionSummary
from app.runs.report import show_run
from app.runs.service import list_runs
from app.search.schemas import Question
from app.search.service import search
from app.settings import get_settings
from app.terms.schemas import TermsReport
from app.voxels.service import search_voxels
from tests.app.conftest import Sdc
from tests.app.maps.volumes import in_mni
from tests.app.published import REGIONS, SHARED, VOXELS_A_REGION, Published
from tests.app.serving import serving

MAP = in_mni(np.random.default_rng(0).normal(size=(6, 5)))


@pytest.fixture
def url(published: Published) -> Iterator[str]:
    """Where the API is served."""
    with serving() as url:
        yield url


CALLS: dict[str, tuple[Callable[[Session, Published], Any], Callable[[Any, Published], Any]]] = {
    "search": (
        lambda session, _: search(
            session, "food", k=3, minus=["face"], negate=True, templates=("{}",), subject="subj01"
        ),
        lambda catalog, _: catalog.search(
            "food", k=3, minus=["face"], negate=True, templates=("{}",), subject="subj01"
        ),
    ),
    "concept": (
        lambda session, published: show_concept(session, published.components["face"]),
        lambda catalog, published: catalog.concept(published.components["face"]),
    ),
    "similar": (
        lambda session, published: similar_concepts(session, published.components["face"], k=2),
        lambda catalog, published: catalog.similar(published.components["face"], k=2),
    ),
    "concepts": (
        lambda session, _: list_concepts(session, decodable=True, stable=False, limit=1),
        lambda catalog, _: catalog.concept_page(decodable=True, stable=False, limit=1),
    ),
    "similar in": (
        lambda session, published: similar_concepts(
            session, published.components["face"], run=published.run, subject="subj02"
        ),
        lambda catalog, published: catalog.similar(
            published.components["face"], run=published.run, subject="subj02"
        ),
    ),
    "voxels": (
        lambda session, _: search_voxels(
            session, "food", k=3, plus=["dog"], negate=True, atlas="floc", region="EBA"
        ),
        lambda catalog, _: catalog.search_voxels(
            "food", k=3, plus=["dog"], negate=True, atlas="floc", region="EBA"
        ),
    ),
    "terms": (
        lambda session, published: concept_terms(session, published.components["face"], k=3),
        lambda catalog, published: catalog.terms(published.components["face"], 3),
    ),
    "place": (
        lambda session, _: search_place(session, (-40, -40, -40), 5, "MNI", subject="subj02"),
        lambda catalog, _: catalog.search_place((-40, -40, -40), radius=5, subject="subj02"),
    ),
    "region": (
        lambda session, _: search_region(session, "floc", "food patch", k=2),
        lambda catalog, _: catalog.search_region("floc", "food patch", k=2),
    ),
    "map": (
        lambda session, _: search_map(
            session, BytesIO(MAP), "m.nii.gz", subject="subj02", k=2, permutations=99, seed=3
        ),
        lambda catalog, _: catalog.search_map(
            MAP, "m.nii.gz", subject="subj02", k=2, permutations=99, seed=3
        ),
    ),
    "datasets": (lambda session, _: list_datasets(session), lambda catalog, _: catalog.datasets()),
    "runs": (
        lambda session, _: list_runs(session, "lab-a"),
        lambda catalog, _: catalog.runs("lab-a"),
    ),
    "run": (
        lambda session, published: show_run(session, published.run),
        lambda catalog, published: catalog.show_run(published.run),
    ),
    "network": (
        lambda session, _: network(session, "subj01", dataset="lab-a"),
        lambda catalog, _: catalog.network("subj01", dataset="lab-a"),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_both_clients_answer_as_the_service(
    url: str, session: Session, published: Published, name: str
) -> None:
    here, there = CALLS[name]
    expected = here(session, published)

    async def awaited() -> Any:
        async with AsyncCatalog(url) as catalog:
            return await there(catalog, published)

    with Catalog(url) as catalog:
        assert there(catalog, published) == expected
    assert asyncio.run(awaited()) == expected


def test_lists_files_and_batches(url: str, published: Published) -> None:
    component = published.components["face"]

    async def awaited() -> tuple[list[int], list[RegionSummary], bytes, bytes, list[str]]:
        async with AsyncCatalog(url) as catalog:
            return (
                [each.id async for each in catalog.concepts(shared=True, limit=2)],
                [each async for each in catalog.regions(subject="subj01", limit=4)],
                await catalog.mask(component, "subj01", "MNI"),
                await catalog.voxels(component, "subj01", "csv"),
                [each.query for each in (await catalog.search_all(["face", "food"], k=1)).answers],
            )

    with Catalog(url) as catalog:
        ids = [each.id for each in catalog.concepts(shared=True, limit=2)]
        regions = list(catalog.regions(subject="subj01", limit=4))
        mask = catalog.mask(component, "subj01", "MNI")
        voxels = catalog.voxels(component, "subj01", "csv")
        told = catalog.search_all([Question(query="face"), "food"], k=1)
    assert ids == [published.components[name] for name in SHARED]
    assert [each.region for each in regions] == list(REGIONS)
    assert regions[0].voxels == {"subj01": VOXELS_A_REGION}
    assert mask.startswith(b"\x1f\x8b")
    assert voxels.startswith(b"voxel_id,")
    queries = [each.query for each in told.answers]
    assert asyncio.run(awaited()) == (ids, regions, mask, voxels, queries)


def test_terms_are_added_with_a_key(own_published: Published) -> None:
    with open_session() as session, session.begin():
        key = create_key(session, wanted_key("test", ["ingest"], [], 30), "a test").key
    with serving() as url:
        with Catalog(url) as catalog, pytest.raises(UnauthorisedError, match="a key is needed"):
            catalog.add_terms(["the dog"])
        with Catalog(url, key=key) as catalog:
            (told,) = catalog.add_terms(["the dog", "face"], "lab-a").encoders
            with pytest.raises(InputError, match=r"texts\.0: String should match pattern"):
                catalog.add_terms([" "])

        async def awaited() -> TermsReport:
            async with AsyncCatalog(url, key=key) as catalog:
                return await catalog.add_terms(["the dog", "the face"])

        (again,) = asyncio.run(awaited()).encoders
    assert (told.added, told.known) == (again.added, again.known) == (1, 1)


def test_errors_are_the_service_s(url: str, published: Published) -> None:
    with Catalog(url) as catalog:
        with pytest.raises(NotFoundError) as missing:
            catalog.search("face", dataset="lab-x")
        assert missing.value.hint == "known: lab-a"
        with pytest.raises(InputError, match=r"query\.k: Input should be greater"):
            catalog.search("face", k=0)
        with pytest.raises(InputError, match=r"questions: List should have at least 1 item"):
            catalog.search_all([])
        with pytest.raises(ConflictError, match="reads no pictures"):
            catalog.search_picture(PNG, "p.png")
        with pytest.raises(NotFoundError, match="no subject 'a/b'"):
            catalog.network("a/b")


def test_a_question_that_takes_too_long(
    own_published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDC_STATEMENT_TIMEOUT_S", "0.1")
    get_settings.cache_clear()
    with serving() as url, Catalog(url) as catalog, get_engine().begin() as connection:
        connection.execute(text("LOCK TABLE catalog.dataset IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(TooSlowError, match="took too long") as caught:
            catalog.datasets()
    assert "SDC_STATEMENT_TIMEOUT_S" in caught.value.hint


# One white point.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080000000"
    "03a7e9b550000000a49444154789c63f80f0001010100"
    "1bb6ee560000000049454e44ae426082"
)


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host", "http://"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(InputError, match="is no URL of a server"):
        Catalog(url)


def test_where_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Catalog(url) as catalog, pytest.raises(UnavailableError, match="cannot be reached"):
        catalog.datasets()


def test_where_something_else_listens(url: str) -> None:
    with Catalog(f"{url}/elsewhere") as catalog, pytest.raises(NotFoundError):
        catalog.datasets()
    with Catalog(f"{url}/docs#") as catalog, pytest.raises((UnavailableError, NotFoundError)):
        catalog.datasets()


@pytest.mark.parametrize(
    "words",
    [
        ("search", "face", "-k", "2", "--plus", "food"),
        ("show", "1"),
        ("concepts", "--limit", "2"),
        ("concepts", "--not-shared", "--agreeing"),
        ("similar", "1", "-k", "2"),
        ("similar", "1", "--dataset", "lab-a", "--run", "1", "--subject", "subj02"),
        ("datasets",),
        ("runs",),
        ("runs", "1"),
        ("network", "subj01"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_the_command_line_asks_a_server(
    url: str, sdc: Sdc, words: tuple[str, ...], form: tuple[str, ...]
) -> None:
    here, there = sdc(*words, *form), sdc("--server", url, *words, *form)
    assert here.exit_code == there.exit_code == 0
    assert there.stdout == here.stdout


def test_a_map_is_sent_to_a_server(url: str, sdc: Sdc, tmp_path: Path) -> None:
    file = tmp_path / "m.nii.gz"
    file.write_bytes(MAP)
    here, there = (sdc(*words, "search-map", file) for words in ((), ("--server", url)))
    assert here.exit_code == there.exit_code == 0
    assert there.stdout == here.stdout
    file.write_bytes(MAP[:-9])
    here, there = (sdc(*words, "search-map", file) for words in ((), ("--server", url)))
    assert here.exit_code == there.exit_code == 2
    assert there.stderr == here.stderr
    assert here.stderr == "error: m.nii.gz is cut off: its data end too soon (send it whole)\n"


def test_either_file_of_a_pair_stands_for_both(url: str, sdc: Sdc, tmp_path: Path) -> None:
    (tmp_path / "m.nii.gz").write_bytes(MAP)
    whole = gzip.decompress(MAP)
    (tmp_path / "m.hdr").write_bytes(whole[:108] + bytes(4) + whole[112:344] + b"ni1\0")
    (tmp_path / "m.img").write_bytes(whole[352:])
    expected = json.loads(sdc("search-map", tmp_path / "m.nii.gz", "--json").stdout)
    for words in ((), ("--server", url)):
        for name in ("m.hdr", "m.img"):
            told = sdc(*words, "search-map", tmp_path / name, "--json")
            assert told.exit_code == 0, told.stderr
            assert json.loads(told.stdout) == expected | {"map": name}
    (tmp_path / "m.img").unlink()
    told = sdc("search-map", tmp_path / "m.hdr")
    assert told.exit_code == 2
    assert "m.img cannot be read" in told.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("doctor",), "`sdc doctor` works on this machine's catalog alone"),
        (("terms", "add", "x"), "`sdc terms` works on this machine's catalog alone"),
        (("validate", "--figure", "x.png"), "a server draws no figures"),
        (("search", "face", "--run", "99"), "there is no run 99"),
    ],
)
def test_what_a_server_does_not_do(
    url: str, sdc: Sdc, words: tuple[str, ...], message: str
) -> None:
    result = sdc("--server", url, *words)
    assert result.exit_code == 2
    assert message in result.stderr
