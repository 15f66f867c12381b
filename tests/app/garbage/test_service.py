"""What the store may lose, and what it keeps whoever is at work."""

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import fsspec
import numpy as np
import pytest
from sqlalchemy import text, update

from app.database.engine import open_session
from app.database.models import Dataset
from app.doctor.service import examine
from app.errors import ConflictError
from app.garbage.schemas import Garbage
from app.garbage.service import at_work, collect_garbage
from app.settings import get_settings
from app.store import RESULTS, Artefact, ArtefactStore
from tests.app.conftest import Counts, Sdc
from tests.app.published import Published

DAY = 24 * 3600.0


@pytest.fixture
def own_store(own_published: Published) -> ArtefactStore:
    """The store of the test's own catalog, all of it ten days old."""
    store = ArtefactStore(get_settings().store_url)
    age(Path(store.url), 10)
    return store


def age(path: Path, days: float) -> None:
    """Make a file, or all files of a folder, look as old as that."""
    then = time.time() - days * DAY
    for each in [path, *path.rglob("*")]:
        if each.is_file():
            os.utime(each, (then, then))


def orphan(store: ArtefactStore, seed: int = 0, days: float = 10) -> Path:
    """An artefact that nothing refers to."""
    made = store.put({"orphan": np.random.default_rng(seed).random(100)})
    path = Path(store.url) / made.path
    age(path, days)
    return path


def remember(store: ArtefactStore, name: str, *artefacts: str, days: float) -> Path:
    """A remembered result that refers to artefacts."""
    path = Path(store.url) / RESULTS / name
    path.parent.mkdir(exist_ok=True)
    told = ", ".join(f'"a{n}": {{"sha256": "{each}"}}' for n, each in enumerate(artefacts))
    path.write_text(f'{{"metadata": {{}}, "result": {{{told}}}}}')
    age(path, days)
    return path


def files(store: ArtefactStore) -> set[Path]:
    return {path for path in Path(store.url).rglob("*") if path.is_file()}


def collect(
    store: ArtefactStore, *, days: float = 1, remembered: float = 30, dry_run: bool = False
) -> Garbage:
    with open_session() as session, session.begin():
        return collect_garbage(
            session,
            store,
            older_than=timedelta(days=days),
            remembered_for=timedelta(days=remembered),
            dry_run=dry_run,
        )


def test_what_nothing_refers_to_goes_and_the_rest_stays(
    own_store: ArtefactStore, count_rows: Callable[[], Counts]
) -> None:
    before, rows = files(own_store), count_rows()
    lost = [orphan(own_store, seed) for seed in range(3)]
    young = orphan(own_store, 7, days=0.5)
    foreign = Path(own_store.url) / "README"
    foreign.write_text("not ours")
    age(foreign, 100)
    size = sum(path.stat().st_size for path in lost)
    told = collect(own_store, dry_run=True)
    assert files(own_store) == before | {*lost, young, foreign}
    assert told.dry_run
    assert (told.artefacts, told.results, told.unfinished, told.bytes) == (3, 0, 0, size)
    done = collect(own_store)
    assert done == told.model_copy(update={"dry_run": False})
    assert done.kept == len(before) + 1
    assert files(own_store) == before | {young, foreign}
    assert count_rows() == rows
    assert examine(get_settings()).ok
    assert collect(own_store).bytes == 0


def test_older_runs_keep_theirs(own_store: ArtefactStore) -> None:
    before = files(own_store)
    with open_session() as session, session.begin():
        session.execute(update(Dataset).values(current_run_id=None))
    assert collect(own_store).bytes == 0
    assert files(own_store) == before


def test_a_run_keeps_what_it_came_from(own_store: ArtefactStore) -> None:
    parent, deep = orphan(own_store, 1), orphan(own_store, 2)
    with open_session() as session, session.begin():
        session.execute(
            text(
                "UPDATE catalog.run SET parents ="
                " jsonb_build_object('vectors', :one, 'networks', jsonb_build_object('p0', :two))"
            ).bindparams(one=parent.stem, two=deep.stem)
        )
    assert collect(own_store).artefacts == 0
    assert parent.exists()
    assert deep.exists()


def test_files_of_killed_writers_go_by_their_age(own_store: ArtefactStore) -> None:
    old, young = (Path(own_store.url) / f".writing-{name}" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    age(old, 2)
    assert collect(own_store).unfinished == 1
    assert not old.exists()
    assert young.exists()
    assert collect(own_store, days=0).unfinished == 1
    assert not young.exists()


def test_results_keep_what_they_refer_to_while_they_are_of_use(own_store: ArtefactStore) -> None:
    in_use, forgotten = orphan(own_store, 1), orphan(own_store, 2)
    young = remember(own_store, "train-young", in_use.stem, days=20)
    old = remember(own_store, "train-old", forgotten.stem, days=40)
    with open_session() as session:
        from app.garbage.repository import referred

        published = sorted(referred(session))[0]
    free = remember(own_store, "read-session-old", published, days=400)
    told = collect(own_store)
    assert (told.artefacts, told.results) == (1, 1)
    assert {path.exists() for path in (in_use, young, free)} == {True}
    assert {path.exists() for path in (forgotten, old)} == {False}
    assert collect(own_store, remembered=0).artefacts == 1
    assert not in_use.exists()
    assert free.exists()


def test_flows_at_work_keep_what_they_remember_and_what_they_put(own_store: ArtefactStore) -> None:
    remembered, before = orphan(own_store, 1), orphan(own_store, 2)
    result = remember(own_store, "train-old", remembered.stem, days=400)
    with at_work():
        put = orphan(own_store, 3, days=0)
        aside = Path(own_store.url) / ".writing-now"
        aside.write_bytes(b"half")
        told = collect(own_store, days=0, remembered=0)
        assert (told.artefacts, told.results, told.unfinished) == (1, 0, 0)
        assert {path.exists() for path in (remembered, result, put, aside)} == {True}
        assert not before.exists()
    told = collect(own_store, days=0, remembered=0)
    assert (told.artefacts, told.results, told.unfinished) == (2, 1, 1)


def test_flows_whose_start_is_not_told_keep_everything(
    own_store: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.garbage import repository

    lost = orphan(own_store)
    with at_work(), open_session() as session:
        assert repository.work_since(session) is not None
        monkeypatch.setattr(repository, "work_since", lambda _: None)
        assert collect(own_store).artefacts == 0
    assert lost.exists()


def test_who_begins_to_work_waits_for_the_collection(own_store: ArtefactStore) -> None:
    begun = threading.Event()

    def work() -> None:
        with at_work():
            begun.set()

    worker = threading.Thread(target=work)
    with open_session() as session, session.begin():
        collect_garbage(
            session, own_store, older_than=timedelta(days=1), remembered_for=timedelta(days=1)
        )
        worker.start()
        assert not begun.wait(0.5)
    worker.join(30)
    assert begun.is_set()


def test_what_is_put_again_is_young_again(own_store: ArtefactStore) -> None:
    path = orphan(own_store, 5)
    assert orphan_again(own_store, 5) == path
    assert collect(own_store).artefacts == 0
    assert own_store.get(Artefact(sha256=path.stem, size=0))


def orphan_again(store: ArtefactStore, seed: int) -> Path:
    made = store.put({"orphan": np.random.default_rng(seed).random(100)})
    return Path(store.url) / made.path


def test_what_is_put_again_while_garbage_is_listed_stays(
    own_store: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = orphan(own_store, 5)
    remove = ArtefactStore.remove

    def late(store: ArtefactStore, file: object) -> bool:
        orphan_again(own_store, 5)
        return remove(store, file)

    monkeypatch.setattr(ArtefactStore, "remove", late)
    assert collect(own_store).artefacts == 0
    assert path.exists()


def test_the_store_of_another_catalog_is_refused(
    own_store: ArtefactStore, tmp_path: Path, sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ArtefactStore(str(tmp_path / "other"))
    paths = [orphan(other, seed) for seed in range(2)]
    with pytest.raises(ConflictError, match="refers to nothing that is in the store") as caught:
        collect(other)
    assert "SDC_STORE" in caught.value.hint
    monkeypatch.setenv("SDC_STORE", other.url)
    get_settings.cache_clear()
    result = sdc("gc")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert all(path.exists() for path in paths)


def test_a_store_that_is_not_there_has_no_garbage(catalog: Path) -> None:
    assert collect(ArtefactStore(str(catalog / "nowhere"))).kept == 0


def test_a_store_that_is_no_folder(own_store: ArtefactStore) -> None:
    memory = ArtefactStore("memory://garbage")
    for path in files(own_store):
        memory.put(own_store.get(Artefact(sha256=path.stem, size=0)))
    lost = memory.put({"orphan": np.arange(5)})
    assert collect(memory).artefacts == 0
    for file in fsspec.filesystem("memory").store.values():
        file.modified -= timedelta(days=2)
    memory.put({"orphan": np.arange(5)})
    assert collect(memory).artefacts == 0
    for file in fsspec.filesystem("memory").store.values():
        file.modified -= timedelta(days=2)
    assert collect(memory).artefacts == 1
    assert not memory.exists(lost)


def test_on_the_command_line(own_store: ArtefactStore, sdc: Sdc) -> None:
    path = orphan(own_store)
    told = sdc("gc", "--dry-run")
    assert told.exit_code == 0
    assert told.stdout.startswith("would delete 1 artefacts, 0 remembered results and 0 unfin")
    assert path.exists()
    done = Garbage.model_validate_json(sdc("gc", "--json").stdout)
    assert (done.dry_run, done.artefacts) == (False, 1)
    assert not path.exists()
    for words in (("--older-than", "-1"), ("--remembered", "nan"), ("--older-than", "1e300")):
        refused = sdc("gc", *words)
        assert (refused.exit_code, refused.stdout) == (2, ""), words
        assert refused.stderr.count("\n") == 1
