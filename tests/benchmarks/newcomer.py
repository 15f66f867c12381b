"""What a newcomer's set becomes: check, ingest, run and search, with no option but the encoder.

Sets as a lab brings them who has just read the docs (`tests.flows.newcomer`): 160 pictures of ten
categories, 320 trials a participant, of which two categories are carried, as betas of three
participants or as time series of two; and the same with nothing planted. The seed that tests use is
not among these.
"""

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.fresh_process import run_afresh
from tests.flows.newcomer import PLANTED, SLUG, Form, write_newcomer

NAME = "newcomer"
SEEDS = (1, 2, 3, 4, 5)
FORMS: tuple[Form, ...] = ("betas", "timeseries")
LEVEL = 0.05


def measure() -> Iterator[str]:
    """Each seed, planted and not, in either form."""
    for form in FORMS:
        for planted in (True, False):
            for seed in SEEDS:
                with TemporaryDirectory(prefix="sdc-bench-", ignore_cleanup_errors=True) as folder:
                    told: str = run_afresh(go_through, form, planted, seed, folder).result
                held = "two planted" if planted else "nothing planted"
                yield f"{form}, {held}, seed {seed}: {told}"


def go_through(form: Form, planted: bool, seed: int, folder: str) -> str:
    """The chain of commands in a catalog of its own, and what it came to."""
    os.environ["SDC_HOME"] = str(Path(folder) / "home")
    data = write_newcomer(Path(folder) / "data", form, planted=planted, seed=seed)
    _sdc("ingest", "--check", data)
    _sdc("ingest", data)
    run = _sdc("run", SLUG, "--set", "encoder=caption:all-MiniLM-L6-v2")
    concepts = _sdc("concepts", "--run", run["run"])["items"]
    told = [run["verdict"]]
    if planted:
        told += [_of(name, _sdc("search", f"a {name}", "--run", run["run"])) for name in PLANTED]
    others = [
        each["label"]
        for each in concepts
        if each["shared"] and not (planted and any(name in each["label"] for name in PLANTED))
    ]
    told.append(f"others called shared: {len(others)}")
    return "; ".join(told)


def _of(name: str, answer: dict[str, Any]) -> str:
    """Whether a planted concept is the first answer, in its region, and shared."""
    concept = next(iter(answer["concepts"]), None)
    if concept is None or name not in concept["label"]:
        return f"{name} not found"
    first = next(iter(answer["regions"]), {"region": None, "q_value": 1.0})
    right = first["region"] == PLANTED[name] and first["q_value"] <= LEVEL
    shared = {True: "shared", False: "not shared", None: "not known to be shared"}
    return (
        f"{name} found, first region {'right' if right else 'wrong'}, {shared[concept['shared']]}"
    )


def _sdc(*words: object) -> Any:
    """What a command that succeeds tells."""
    # What it imports reads the settings.
    from typer.testing import CliRunner

    from app.cli import app

    with contextlib.redirect_stderr(io.StringIO()):
        result = CliRunner().invoke(app, [*map(str, words), "--json"])
    if result.exit_code:
        raise RuntimeError(f"sdc {' '.join(map(str, words))}: {result.output}")
    return json.loads(result.stdout)
