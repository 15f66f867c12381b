"""The same run in this process, in threads and on a Dask cluster; and clusters that fail."""

import json
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle
import psycopg
import pytest
from prefect import Flow, flow
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_DATABASE_CONNECTION_URL,
    temporary_settings,
)
from prefect.task_runners import TaskRunner
from sqlalchemy import make_url, select
from typer.testing import CliRunner

from app.cli import app
from app.database.engine import get_engine, open_session
from app.database.models import Component, Decoder, Run
from app.errors import InputError, UnavailableError
from flows import runners
from flows.ingest import ingest_dataset
from flows.pipeline import run_pipeline
from flows.progress import listening
from flows.runners import examine_site, task_runner
from flows.stages import Stage, gather, get_store
from tests.conftest import forget_settings
from tests.flows.dask_cluster import ROOT, Cluster, dask_cluster
from tests.flows.planted import write_planted
from tests.flows.runner_stages import break_down, hold, refuse, tell
from tests.flows.test_ingest import counts

FOLDS = {"n_test": 20, "n_validation": 20}
RUN = {
    "decoder": {"steps": 120, "evaluate_every": 20},
    "reduction": {"components": 8, "steps": 100, "starts": 6},
    "masks": {"lambdas": [1.0, 3.0], "draws": 1},
    "statistics": {"permutations": 99, "mixtures": 99},
    "stability": {"seeds": 2},
}
# Stages of a run of two participants and one further seed, and how often each is sent.
SENT = {
    # With all participants, by the further seed, and without each participant.
    "reduce_components": 4,
    # Of each participant, by both seeds; decoders and masks are the run's own seed's alone.
    "locate_subject": 4,
    **dict.fromkeys(
        (
            "train_subject",
            "mask_subject",
            "interval_regions",
            "choose_order",
            "respond_subject",
            "tune_subject",
            "test_subject",
            "measure_decoder",
            "replicate_subject",
            "place_regions",
            "link_subject",
            "validate_subject",
        ),
        2,
    ),
    "compare_seeds": 1,
    "compare_subjects": 1,
}
Reports = list[tuple[str, int, int]]


@pytest.mark.parametrize("whole", [ingest_dataset, run_pipeline])
def test_flows_can_be_sent_where_their_stages_run(whole: Flow[..., Any]) -> None:
    """Prefect sends a task's flow along: what cannot be pickled runs on no cluster."""
    again = cloudpickle.loads(cloudpickle.dumps(whole))
    assert again.name == whole.name


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers."""
    with dask_cluster(tmp_path_factory.mktemp("dask"), 2, OMP_NUM_THREADS="1") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two participants, whose components further seeds find again."""
    return write_planted(tmp_path_factory.mktemp("runners") / "planted")


@pytest.fixture(scope="module")
def ingested(
    server_url: str,
    template_database: str,
    prefect_server: str,
    planted: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """Name of a catalog with a data set and no run, and the store that belongs to it."""
    from tests.flows.conftest import home_of_a_module

    home = tmp_path_factory.mktemp("ingested")
    with home_of_a_module(home, server_url, template_database, prefect_server):
        ingest_dataset(str(planted), FOLDS)
        database = get_engine().url.database
    assert database is not None
    shutil.rmtree(home / "store" / "results")
    return database, home / "store"


@pytest.fixture
def fresh(
    ingested: tuple[str, Path], server_url: str, prefect_server: str, tmp_path: Path
) -> Callable[[], Any]:
    """Makes homes of their own, in which nothing but the ingestion has been done."""
    from tests.flows.conftest import _prefect_at

    @contextmanager
    def home() -> Iterator[Path]:
        name = f"runner_{uuid4().hex[:12]}"
        folder = tmp_path / name
        shutil.copytree(ingested[1], folder / "store")
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {ingested[0]}")
        url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
        with pytest.MonkeyPatch.context() as patch, _prefect_at(prefect_server):
            patch.setenv("SDC_HOME", str(folder))
            patch.setenv("SDC_DATABASE_URL", url)
            forget_settings()
            yield folder
            get_engine().dispose()
        forget_settings()

    return home


@contextmanager
def heard() -> Iterator[Reports]:
    """What is reported while the block runs."""
    reports: Reports = []
    with listening(lambda stage, done, total, _: reports.append((stage, done, total))):
        yield reports


@contextmanager
def sent() -> Iterator[list[tuple[str, Any]]]:
    """Names and inputs of the stages that are submitted while the block runs."""
    inputs: list[tuple[str, Any]] = []
    send = Stage._send

    def spy(stage: Stage[Any, Any], given: dict[str, Any], **options: bool) -> Any:
        inputs.append((stage.function.__name__, given))
        return send(stage, given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "_send", spy)
        yield inputs


def run_with(runner: TaskRunner[Any], planted: Path) -> dict[str, Any]:
    """Run the pipeline in a home where nothing is remembered; everything that it found."""
    store = Path(get_store().url)
    before = set(store.rglob("*.safetensors"))
    with heard() as reports, sent() as inputs:
        options = RUN | {"encoder": f"vectors:{planted / 'words.csv'}"}
        result = run_pipeline.with_options(task_runner=runner)("planted", options)
    assert result["changed"]
    # References are what travels: nothing but JSON, and little of it.
    assert Counter(name for name, _ in inputs) == SENT
    assert max(len(json.dumps(each)) for _, each in inputs) < 10_000
    # Computed, not remembered: each stage was heard of under way, and made what was not there.
    for label in ("p0", "p1"):
        assert any(s == f"training {label}" and 0 < d < t for s, d, t in reports)
        assert (f"masking {label}", 1, 1) in reports
    with open_session() as session:
        run = session.scalars(select(Run)).one()
        decoders = session.scalars(select(Decoder).order_by(Decoder.subject_id)).all()
        components = session.scalars(select(Component).order_by(Component.index)).all()
        found = {
            "key": run.key,
            "parents": run.parents,
            "configuration": run.configuration,
            "decoders": [(each.artefact_sha256, each.masks_sha256) for each in decoders],
            "metrics": [each.metrics for each in decoders],
            "components": [
                (each.label, each.p_value, each.shared, tuple(each.vector)) for each in components
            ],
        }
        site = run.metrics["site"]
    checksums = set(re.findall("[0-9a-f]{64}", json.dumps([found["decoders"], found["parents"]])))
    # Two decoders, masks and networks; vectors, components, comparison, and what a seed finds.
    assert len(checksums) == 10
    made = {path.stem for path in set(store.rglob("*.safetensors")) - before}
    assert checksums <= made
    return found | {"made": made, "site": site}


def on(runner: TaskRunner[Any], stage: Stage[[str], Any], *labels: str) -> list[Any]:
    """Results of a stage on some labels, in a flow with a runner."""

    @flow(name="on-a-runner", persist_result=False, task_runner=runner)
    def work() -> list[Any]:
        examine_site("cpu")
        return gather(stage.submit(label) for label in labels)

    return work()


@pytest.mark.slow
def test_a_cluster_finds_the_same_bytes_and_a_killed_worker_loses_nothing(
    fresh: Callable[[], Any], cluster: Cluster, planted: Path
) -> None:
    with fresh():
        local = run_with(task_runner("local"), planted)
    with fresh(), killing_a_worker_in_mid_training(cluster) as killed:
        survived = run_with(task_runner("dask", cluster.address), planted)
    assert len(killed) == 1
    assert told_apart(local, survived) == [("local", 1), ("dask", 2)]
    assert survived == local


@pytest.mark.slow
def test_every_runner_finds_the_same_bytes(
    fresh: Callable[[], Any], cluster: Cluster, planted: Path
) -> None:
    cluster.add_workers(2)
    with fresh():
        local = run_with(task_runner("local"), planted)
    with fresh():
        threads = run_with(task_runner("threads"), planted)
    with fresh():
        dask = run_with(task_runner("dask", cluster.address), planted)
    sites = told_apart(local, threads, dask)
    assert sites == [("local", 1), ("threads", os.cpu_count()), ("dask", 2)]
    assert threads == local
    assert dask == local


def told_apart(*found: dict[str, Any]) -> list[tuple[str, int]]:
    """Takes from what runs found where each was computed: runner and workers."""
    sites = [each.pop("site") for each in found]
    return [(site["runner"], site["workers"]) for site in sites]


@contextmanager
def killing_a_worker_in_mid_training(cluster: Cluster) -> Iterator[list[int]]:
    """Kill one of the two workers as soon as both are heard to train."""
    training: dict[str, bool] = {}
    killed: list[int] = []
    both = threading.Event()

    def listen(stage: str, done: int, total: int, _: str) -> None:
        if stage.startswith("training "):
            training[stage] = 0 < done < total
            if list(training.values()) == [True, True]:
                both.set()

    def kill() -> None:
        with cluster.client() as client:
            processes = client.run(os.getpid)
            if both.wait(120):
                busy = [worker for worker, tasks in client.processing().items() if tasks]
                assert len(busy) == 2
                os.kill(processes[busy[0]], signal.SIGKILL)
                killed.append(processes[busy[0]])

    thread = threading.Thread(target=kill)
    thread.start()
    with listening(listen):
        yield killed
    thread.join()


def test_a_worker_needs_no_settings_and_hears_no_secret(flows_home: Path, cluster: Cluster) -> None:
    cluster.add_workers(2)
    secrets = {
        PREFECT_API_DATABASE_CONNECTION_URL: "postgresql+asyncpg://prefect:canary-1@db/prefect",
        PREFECT_API_AUTH_STRING: "admin:canary-2",
    }
    with temporary_settings(secrets), heard() as reports:
        first, second = on(task_runner("dask", cluster.address), tell, "one", "two")
    assert os.getpid() not in (first["process"], second["process"])
    assert first["store"] == second["store"] == get_store().url
    assert first["settings"] == []
    assert first["quiet"] == "1"
    assert first["waits"] == "PASSIVE"
    assert {("telling one", 2, 2), ("telling two", 2, 2)} <= set(reports)
    assert "canary" not in cluster.logs()


def test_what_one_runner_found_another_remembers(flows_home: Path, cluster: Cluster) -> None:
    cluster.add_workers(2)
    dask = task_runner("dask", cluster.address)
    found = on(dask, tell, "one", "two")
    assert on(task_runner("local"), tell, "one", "two") == found
    assert on(task_runner("threads"), tell, "one", "two") == found
    # An artefact that is gone is made again, and no other.
    (gone,) = Path(get_store().url).rglob(f"{found[1]['made']['sha256']}.safetensors")
    gone.unlink()
    again = on(task_runner("local"), tell, "one", "two")
    assert again[0] == found[0]
    assert again[1] == found[1] | {
        name: again[1][name] for name in ("process", "quiet", "settings", "waits")
    }
    assert again[1]["process"] == os.getpid()
    assert gone.exists()


def test_threads_of_a_task_are_as_many_wherever_it_runs(
    flows_home: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    cluster.add_workers(2)
    here = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (there,) = on(task_runner("dask", cluster.address), tell, "two threads")
    finally:
        torch.set_num_threads(here)
    assert there["threads"] == 2


@pytest.mark.parametrize("name", ["local", "threads", "dask"])
def test_an_error_of_a_task_is_the_users_one_line(
    flows_home: Path, cluster: Cluster, name: Any
) -> None:
    cluster.add_workers(2)
    runner = task_runner(name, cluster.address if name == "dask" else None)
    with heard() as reports, pytest.raises(InputError) as caught:
        on(runner, refuse, "subj01", "subj02")
    assert str(caught.value) == "subj01 is at fault (mend it)"
    if name == "local":
        assert reports == [("refusing subj01", 1, 1)]


def refused(runner: TaskRunner[Any]) -> str:
    """The line with which a run is refused that leaves the catalog as it was."""
    before = counts()
    with pytest.raises(UnavailableError) as caught:
        run_pipeline.with_options(task_runner=runner)("planted", RUN)
    assert counts() == before
    assert get_engine().url.database is not None
    return one_line(str(caught.value))


def one_line(text: str) -> str:
    """A text that is one line."""
    assert text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["dask", "--dask-address", "tcp://127.0.0.1:1"], 1, "no Dask scheduler answers at tcp"),
        (["dask"], 2, "give --dask-address"),
        (["local", "--dask-address", "tcp://127.0.0.1:1"], 2, "add --runner dask"),
        (["dask", "--dask-address", "127.0.0.1:8786"], 2, "no address of a Dask scheduler"),
        (["dask", "--dask-address", "tcp://127.0.0.1"], 2, "no address of a Dask scheduler"),
        (["dask", "--dask-address", "tcp://host:99999"], 2, "no address of a Dask scheduler"),
        (["dask", "--dask-address", "tcp://me@host:1"], 2, "no address of a Dask scheduler"),
        (["dask", "--dask-address", "tls://127.0.0.1:1"], 1, "no certificates"),
        (["dusk"], 2, "'local', 'threads', 'dask'"),
    ],
)
def test_a_runner_that_cannot_be_used(
    fresh: Callable[[], Any], words: list[str], status: int, told: str
) -> None:
    with fresh() as home:
        before = counts()
        files = set(home.rglob("*"))
        result = CliRunner().invoke(app, ["run", "planted", "--runner", *words])
        assert result.exit_code == status
        assert result.stdout == ""
        assert told in one_line(result.stderr.removesuffix("\n"))
        assert counts() == before
        assert set(home.rglob("*")) == files


@pytest.mark.slow
def test_nobody_listens_where_a_flow_is_sent(fresh: Callable[[], Any]) -> None:
    with fresh():
        line = refused(task_runner("dask", "tcp://127.0.0.1:1"))
    assert line.startswith("no Dask scheduler answers at tcp://127.0.0.1:1")


@pytest.mark.slow
def test_what_listens_is_no_scheduler(fresh: Callable[[], Any], cluster: Cluster) -> None:
    cluster.add_workers(1)
    with cluster.client() as client:
        worker = next(iter(client.scheduler_info()["workers"]))
    with socket.create_server(("127.0.0.1", 0)) as silent, fresh():
        nobody = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        assert "no Dask scheduler answers" in refused(task_runner("dask", nobody))
        assert f"at {worker} is a Dask worker" in refused(task_runner("dask", worker))


def test_a_worker_that_sees_another_store(
    fresh: Callable[[], Any], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.add_workers(1)
    with fresh():
        # Each process has a memory of its own.
        monkeypatch.setenv("SDC_STORE", "memory://runners")
        forget_settings()
        line = refused(task_runner("dask", cluster.address))
    assert "the Dask worker tcp://127.0.0.1" in line
    assert "artefact store memory://runners: a file is missing" in line


def test_a_worker_is_told_how_to_wait_before_it_loads_torch(
    fresh: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise UnavailableError("no further", hint="")

    monkeypatch.setattr(runners, "examine_workers", stop)
    with dask_cluster(tmp_path, 1, OMP_NUM_THREADS="1") as cluster, fresh():
        assert "no further" in refused(task_runner("dask", cluster.address))
        asked = (
            "__import__('os').environ.get('OMP_WAIT_POLICY'), 'torch' in __import__('sys').modules"
        )
        with cluster.client() as client:
            # A builtin, so that to be asked loads nothing.
            told = client.run(eval, asked)
    assert list(told.values()) == [("PASSIVE", False)]


def test_a_worker_of_another_version(fresh: Callable[[], Any], tmp_path: Path) -> None:
    for package in ("app", "flows"):
        shutil.copytree(ROOT / package, tmp_path / "other" / package)
    with (tmp_path / "other" / "flows" / "mask.py").open("a") as code:
        code.write("# another version\n")
    environment = {"PYTHONPATH": str(tmp_path / "other"), "OMP_NUM_THREADS": "1"}
    with dask_cluster(tmp_path, 1, **environment) as cluster, fresh():
        line = refused(task_runner("dask", cluster.address))
    assert "has another code version than this process" in line


@pytest.mark.slow
def test_a_cluster_without_workers_and_a_task_that_takes_workers_down(
    fresh: Callable[[], Any], tmp_path: Path
) -> None:
    allowed = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1", "OMP_NUM_THREADS": "1"}
    with dask_cluster(tmp_path, 0, **allowed) as cluster, fresh():
        runner = task_runner("dask", cluster.address)
        assert "has no workers" in refused(runner)
        cluster.add_workers(2)
        with pytest.raises(UnavailableError, match="2 workers of the Dask cluster died of one"):
            on(runner, break_down, "one")


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["all workers", "the scheduler"])
def test_a_cluster_that_is_lost_in_mid_run(
    fresh: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setattr(runners, "WORKERLESS_S", 2.0)
    with dask_cluster(tmp_path, 1, OMP_NUM_THREADS="1") as cluster, fresh():

        def lose() -> None:
            while not (running := tmp_path / "running").exists() or not running.read_text():
                time.sleep(0.05)
            worker = int(running.read_text())
            os.kill(worker if lost == "all workers" else cluster.scheduler.pid, signal.SIGKILL)

        thread = threading.Thread(target=lose)
        thread.start()
        with pytest.raises(UnavailableError) as caught:
            on(task_runner("dask", cluster.address), hold, str(tmp_path))
        thread.join()
    told = {"all workers": "has lost all its workers", "the scheduler": "let go of a task"}
    assert told[lost] in one_line(str(caught.value))
    assert "finished work is kept" in caught.value.hint
