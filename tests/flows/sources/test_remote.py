"""Tests of sources behind URLs: a real S3 endpoint, a real web server, a real file URL."""

import functools
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from app.errors import CatalogError, InputError, UnavailableError
from app.settings import get_settings
from flows.ingest import ingest_dataset
from flows.sources import check_source, open_source
from flows.sources.confinement import reading_within
from flows.sources.mirrors import mirror
from tests.conftest import forget_settings
from tests.flows.planted import write_planted
from tests.flows.test_ingest import counts

FOLDS: dict[str, Any] = {"n_test": 20, "n_validation": 20}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that tests read and none changes."""
    return write_planted(tmp_path_factory.mktemp("remote") / "planted")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """URL of an S3 server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(catalog: Path, endpoint: str, planted: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket that holds the data set below ``lab/planted``."""
    secrets = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in (secrets | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    import s3fs

    # Connections outlive what they are configured by.
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = boto3.resource("s3").Bucket(f"bucket-{os.urandom(6).hex()}")
    bucket.create()
    for file in planted.iterdir():
        bucket.upload_file(str(file), f"lab/planted/{file.name}")
    bucket.upload_file(str(planted / "words.csv"), "lab/planted/unused/large.bin")
    return bucket


@pytest.fixture
def web(catalog: Path, planted: Path) -> Iterator[str]:
    """URL of a web server that lists the folders of the data set's parent."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(planted.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def fetched(folder: Path) -> set[str]:
    """Names of a mirror's files that have been fetched."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_reads_alike(url: str, planted: Path) -> None:
    there, here = open_source(url), open_source(planted)
    assert check_source(there).participants == check_source(here).participants
    for participant in here.participants():
        np.testing.assert_array_equal(there.betas(participant, 2), here.betas(participant, 2))
    assert (there.description.uri, there.description.slug) == (url, "planted")


def test_s3_is_read_as_a_folder_is_and_only_what_is_needed(bucket: Any, planted: Path) -> None:
    url = f"s3://{bucket.name}/lab/planted"
    tree = mirror(url)
    assert fetched(tree) == set()
    assert_reads_alike(url, planted)
    assert "p0_2.npy" in fetched(tree)
    assert "unused/large.bin" not in fetched(tree)
    assert "words.csv" not in fetched(tree)


def test_a_web_server_is_read_as_a_folder_is(web: str, planted: Path) -> None:
    assert_reads_alike(f"{web}/planted", planted)
    source = open_source(f"{web}/planted/dataset.toml")
    assert source.participants() == ["p0", "p1"]


def test_a_file_url_is_the_folder_itself(catalog: Path, planted: Path) -> None:
    assert_reads_alike(f"file://{planted}", planted)
    assert not (catalog / "mirrors").exists()


def test_what_changes_is_another_file_and_what_does_not_is_fetched_once(
    bucket: Any, planted: Path, tmp_path: Path
) -> None:
    url = f"s3://{bucket.name}/lab/planted"

    def fingerprints() -> list[str]:
        source = open_source(url)
        return [source.fingerprint("p0", session) for session in (1, 2, 3)]

    before = fingerprints()
    tree = mirror(url)
    open_source(url).betas("p0", 1)
    kept = (tree / "p0_1.npy").resolve().stat().st_ino
    assert fingerprints() == before
    changed = np.load(planted / "p0_2.npy")
    changed[0, 0] += 1
    np.save(tmp_path / "changed.npy", changed)
    bucket.upload_file(str(tmp_path / "changed.npy"), "lab/planted/p0_2.npy")
    after = fingerprints()
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert (mirror(url) / "p0_1.npy").resolve().stat().st_ino == kept
    np.testing.assert_array_equal(open_source(url).betas("p0", 2), changed)


def test_a_bucket_is_ingested_and_again_changes_nothing(
    flows_home: Path, bucket: Any, planted: Path
) -> None:
    url = f"s3://{bucket.name}/lab/planted"
    assert ingest_dataset(url, FOLDS)["changed"]
    assert not ingest_dataset(url, FOLDS)["changed"]


def test_a_bucket_that_vanishes_in_mid_read_changes_nothing(
    flows_home: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.sources.manifest import ManifestSource

    url, literal = f"s3://{bucket.name}/lab/planted", ManifestSource.betas

    def vanish(self: ManifestSource, participant: str, session: int) -> np.ndarray:
        if session == 2:
            bucket.objects.all().delete()
            bucket.delete()
            # What has been fetched can be read whether there is a bucket or not.
            shutil.rmtree(mirror_home() / "objects")
            (mirror_home() / "objects").mkdir()
        return literal(self, participant, session)

    monkeypatch.setattr(ManifestSource, "betas", vanish)
    before = counts()
    with pytest.raises(CatalogError) as caught:
        ingest_dataset(url, FOLDS)
    assert caught.value.message.startswith(f"{url}: p0_2.npy is not there, or may not be read")
    assert counts() == before


def mirror_home() -> Path:
    (home,) = (get_settings().home / "mirrors").iterdir()
    return home


def test_a_server_that_is_away_may_come_back(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError) as caught:
        mirror("http://127.0.0.1:1/planted")
    assert caught.value.message.startswith("http://127.0.0.1:1/planted cannot be read")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://{bucket}/nothing", "s3://{bucket}/nothing is not there, or may not be read"),
        ("s3://no-such-bucket-at-all/x", "s3://no-such-bucket-at-all/x"),
        ("nonsense://x/y", "nonsense://x/y: Protocol not known: nonsense"),
    ],
)
def test_what_is_not_there_is_told(bucket: Any, url: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        open_source(url.format(bucket=bucket.name))
    assert caught.value.message.startswith(message.format(bucket=bucket.name))


def test_names_lead_nowhere_else(bucket: Any) -> None:
    bucket.put_object(Key="lab/evil/../../../escaped", Body=b"x")
    bucket.put_object(Key="lab/evil/dataset.toml", Body=b"")
    with pytest.raises(InputError) as caught:
        mirror(f"s3://{bucket.name}/lab/evil")
    assert "leads out of the folder" in caught.value.message
    assert not list(get_settings().home.rglob("escaped"))


def test_a_remote_manifest_names_nothing_on_this_machine(
    bucket: Any, planted: Path, tmp_path: Path
) -> None:
    text = (planted / "dataset.toml").read_text()
    changed = text.replace('"mask.nii.gz"', json.dumps(str(planted / "mask.nii.gz")))
    bucket.put_object(Key="lab/planted/dataset.toml", Body=changed.encode())
    with pytest.raises(InputError) as caught:
        check_source(open_source(f"s3://{bucket.name}/lab/planted"))
    assert "leads out of this folder" in caught.value.message


def test_a_mirror_that_somebody_made_up_is_none(catalog: Path, web: str, tmp_path: Path) -> None:
    """Or else whoever may write a folder could have any URL fetched."""
    home = tmp_path / "mirrors" / "x"
    (home / "objects").mkdir(parents=True)
    place = f"{web}/planted/words.csv"
    index = {"url": web, "files": {"a": {"place": place, "size": 1, "version": ""}}}
    (home / "index.json").write_text(json.dumps(index))
    (tmp_path / "dataset.toml").symlink_to(home / "objects" / "abc")
    with pytest.raises(InputError) as caught:
        open_source(tmp_path)
    assert caught.value.message == f"{tmp_path}: no data set of a known layout"


def test_a_confined_request_reads_a_mirror_and_nothing_else(
    bucket: Any, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.ingestions.service import confine

    url = f"s3://{bucket.name}/lab"
    monkeypatch.setenv("SDC_INGEST_URLS", json.dumps([url]))
    forget_settings()
    assert confine(f"{url}/planted") == f"{url}/planted"
    with reading_within([get_settings().home / "mirrors"]):
        check_source(open_source(f"{url}/planted"))
    for outside in (
        f"s3://{bucket.name}",
        f"s3://{bucket.name}/lab2",
        f"{url}/../other",
        f"{url}/%2e%2e/other",
        f"simplecache::{url}/planted",
        "http://127.0.0.1/x",
        f"file://{planted}",
    ):
        with pytest.raises(InputError) as caught:
            confine(outside)
        assert caught.value.message == f"{outside}: no URL that requests may read"
