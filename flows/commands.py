"""The commands of ``sdc`` that fill the catalog; `app.cli` finds them as entry points."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import BaseModel

from app.errors import InputError
from app.ingestions.addresses import whole
from app.settings import get_settings
from app.threads import take_free_cores
from flows.prefect_home import configure_prefect, unwatched

if TYPE_CHECKING:
    from flows.config import IngestConfig

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file of settings.", dir_okay=False)
]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="NAME=VALUE", help="One setting; repeatable.")
]
Json = dict[str, Any]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def ingest(
    path: Annotated[
        str, typer.Argument(help="A folder, a dataset.toml, or a URL: s3://, https:// and others.")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Validate without writing anything.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Replace one of this name that did not only grow, and its runs."
        ),
    ] = False,
    queue: Annotated[
        bool, typer.Option("--queue", help="Leave it to `sdc worker`, and return.")
    ] = False,
    schedule: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Again and again: '0 3 * * *', or every 30m, 6h, 1d."),
    ] = None,
    timezone: Annotated[str, typer.Option(help="Whose clock --schedule means.")] = "UTC",
    then_run: Annotated[
        bool, typer.Option("--then-run", help="With --queue or --schedule: run the pipeline next.")
    ] = False,
    run_set: Annotated[
        list[str], typer.Option(metavar="NAME=VALUE", help="A setting of that run; repeatable.")
    ] = [],  # noqa: B006
    config: ConfigFile = None,
    set_: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Read a lab's data into the catalog."""
    take_free_cores()
    from flows.config import IngestConfig, read_config, read_values

    chosen = read_config(IngestConfig, config, set_)
    later = queue or schedule is not None
    if check:
        words = [word for setting in set_ for word in ("--set", setting)]
        _check(path, chosen, [*(["--config", str(config)] if config else []), *words], as_json)
        return
    if (then_run or run_set) and not later:
        raise InputError("--then-run is for later", hint="add --queue, or `sdc run` afterwards")
    if run_set and not then_run:
        raise InputError("--run-set is given, and no run", hint="add --then-run")
    if later:
        wanted: Json = {
            "source": whole(path),
            "options": read_values(config, set_),
            "replace": replace,
            "then_run": then_run,
            "run_options": read_values(None, run_set),
        }
        _leave(wanted, schedule, timezone, as_json)
        return
    _prepare()
    from flows.ingest import ingest_dataset

    with _working():
        result = ingest_dataset(whole(path), chosen, replace=replace)
    _print(result, as_json)


def _check(path: str, config: "IngestConfig", options: list[str], as_json: bool) -> None:
    """Tell what a source brings, what a first ingestion and run would choose, and what is next."""
    from flows.choices import gather_choices, next_command
    from flows.folds import assign_folds
    from flows.sources import check_source, open_source

    source = open_source(path, **config.source)
    facts = asdict(check_source(source))
    choices = gather_choices(source, config, assign_folds(source, config))
    told = {"choices": choices, "next": next_command(source, path, options)}
    if as_json:
        # `folds` counts the stimuli of the data set's own split.
        _print(facts | {"split": choices["folds"], "encoder": choices["encoder"]} | told, as_json)
        return
    # What the data set has of its own is empty mostly, and is told by the choice of folds.
    _print({name: value for name, value in facts.items() if name != "folds"} | told, as_json)


def _leave(wanted: Json, schedule: str | None, timezone: str, as_json: bool) -> None:
    """Leave an ingestion to whoever works on the queue: once, or on a schedule."""
    from app.commands import actor, own_session
    from app.ingestions.schemas import IngestionWanted
    from app.ingestions.service import ask_ingestion
    from app.schedules.schemas import ScheduleWanted
    from app.schedules.service import make_schedule
    from flows.intervals import seconds_of

    _migrate()
    with own_session() as session:
        if schedule is None:
            request = IngestionWanted.model_validate(wanted)
            answer: BaseModel = ask_ingestion(session, request, actor(), "command")
        else:
            cron = " " in schedule.strip() or schedule.startswith("@")
            when = {"cron": schedule} if cron else {"every_s": seconds_of(schedule)}
            planned = ScheduleWanted.model_validate(wanted | when | {"timezone": timezone})
            answer = make_schedule(session, planned, actor())
    _print(answer.model_dump(mode="json"), as_json)


def run(
    dataset: Annotated[
        str | None, typer.Argument(help="Name of a dataset in the catalog.", show_default=False)
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Settings with a name; --config and --set come after."),
    ] = None,
    profiles: Annotated[
        bool, typer.Option("--profiles", help="List the profiles, and run nothing.")
    ] = False,
    config: ConfigFile = None,
    set_: Settings = [],  # noqa: B006
    method: Annotated[
        Literal["masks", "clusters"] | None,
        typer.Option(help="How concepts and their voxels are found; else as configured: masks."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Publish components that are not found again, marked so."),
    ] = False,
    promote: Annotated[
        bool,
        typer.Option(
            "--promote", help="Let it answer even if it found nothing or decodes worse than before."
        ),
    ] = False,
    runner: Annotated[
        Literal["local", "threads", "dask"],
        typer.Option(help="Where participants are computed; it changes no result."),
    ] = "local",
    dask_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a Dask scheduler: tcp://HOST:8786.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the pipeline on a dataset and publish its concepts."""
    if profiles:
        _list_profiles(as_json)
        return
    if dataset is None:
        raise InputError("no dataset is named", hint="sdc run DATASET; `sdc datasets` lists them")
    _require_dataset(dataset)
    # Before torch is loaded, which settings are checked with.
    take_free_cores()
    from flows.config import RunConfig, checked, read_values
    from flows.profiles import DEFAULT, with_profile

    method_ = [] if method is None else [f"method={method}"]
    values = with_profile(profile or DEFAULT, read_values(config, [*set_, *method_]))
    chosen = checked(RunConfig, values, str(config) if config else "--set")
    _require_runner(runner, dask_address)
    _prepare()
    from flows.pipeline import run_pipeline
    from flows.runners import task_runner

    flow = run_pipeline.with_options(task_runner=task_runner(runner, dask_address))
    with _working():
        result = flow(dataset, chosen, force=force, promote=promote)
    _print_run(result, as_json)


def demo(
    seeds: Annotated[
        int, typer.Option(help="Seeds whose results are compared; each takes half a minute.", min=1)
    ] = 2,
    cohort: Annotated[
        Literal["varied", "plain"],
        typer.Option(
            help="varied: patches of 20 to 500 voxels that overlap, one of them suppressed, and "
            "tuning that means nothing. plain: patches of one size, and none of these."
        ),
    ] = "varied",
    as_json: AsJson = False,
) -> None:
    """Make the demo cohort, run the whole pipeline on it, and ask it five questions."""
    take_free_cores()
    _prepare()
    from flows.demo.cohort import CohortConfig
    from flows.demo.show import show_demo

    with _working():
        shown = show_demo(get_settings().home / "demo", seeds, CohortConfig(kind=cohort))
    if as_json:
        result = asdict(shown) | {"answers": [each.model_dump() for each in shown.answers]}
        _print(result, as_json)
        return
    from app.answers import print_search
    from app.console import print_line, print_table

    for answer in shown.answers:
        print_line()
        print_search(answer.model_copy(update={"regions": answer.regions[:5]}))
    print_line()
    print_table(
        ("planted", "asked as", "found", "mask AUC per participant", "responds", "first region"),
        [
            (
                one.concept,
                one.query,
                "yes" if one.recovered else "no",
                " ".join(f"{value:.2f}" for value in one.aucs.values()),
                one.response_told,
                (one.region or "-") if one.region_right is not None else "(none planted)",
            )
            for one in shown.recovery
        ],
    )
    print_line()
    print_line(shown.summary)


def _require_dataset(slug: str) -> None:
    """Refuse a name that the catalog does not have before what computes is loaded."""
    from app.commands import own_session
    from app.runs.service import require_dataset

    _migrate()
    with own_session() as session:
        require_dataset(session, slug)


def _list_profiles(as_json: bool) -> None:
    from app.console import print_table
    from flows.profiles import PROFILES, settings_of

    rows = [(name, each.description, settings_of(name)) for name, each in PROFILES.items()]
    if as_json:
        names = ("name", "description", "settings")
        _print({"profiles": [dict(zip(names, row, strict=True)) for row in rows]}, as_json)
        return
    print_table(
        ("profile", "what it is", "settings"),
        [
            (name, told, ", ".join(_settings(settings)) or "as in flows/config.py")
            for name, told, settings in rows
        ],
    )


def _settings(values: Mapping[str, Any], under: str = "") -> Iterator[str]:
    """Nested values as ``--set`` takes them."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{under}{name}.")
        else:
            yield f"{under}{name}={_toml(value)}"


def _toml(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _require_runner(runner: str, dask_address: str | None) -> None:
    """Refuse a runner that cannot be used before anything is started or migrated."""
    if runner == "dask" and dask_address is None:
        raise InputError(
            "--runner dask has no scheduler", hint="give --dask-address tcp://HOST:8786"
        )
    if runner != "dask" and dask_address is not None:
        raise InputError(
            f"--dask-address is given, and the runner is {runner}", hint="add --runner dask"
        )
    if dask_address is not None:
        from flows.cluster import check_address, require_scheduler

        # What Dask has to say is told by the one line of an error.
        if "--debug" not in sys.argv:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)
        require_scheduler(check_address(dask_address))


def _prepare() -> None:
    """A migrated catalog and a Prefect that keeps to itself, before Prefect is imported."""
    configure_prefect(get_settings(), verbose="--debug" in sys.argv)
    _migrate()


def _migrate() -> None:
    from app.database.engine import get_engine
    from app.database.migrate import current_revision, upgrade

    engine = get_engine()
    # The embedded catalog is set up unasked; a server's is for its administrator to migrate.
    if get_settings().database_url is None and current_revision(engine) is None:
        upgrade(engine)


@contextmanager
def _working() -> Iterator[None]:
    """Flows of the block tell how far they are."""
    from app.console import stage_progress
    from flows.progress import listening

    with unwatched(), listening(stage_progress()):
        yield


def _print_run(result: Json, as_json: bool) -> None:
    """What came of a run: its facts, and at the end what it is worth and what to do next."""
    if as_json:
        _print(result, as_json)
        return
    from app.console import print_line

    last = ("verdict", "warnings", "next")
    _print({name: value for name, value in result.items() if name not in last}, as_json)
    print_line()
    print_line(f"verdict: {result['verdict']}")
    for warning in result["warnings"]:
        print_line(f"warning: {warning}")
    print_line(f"next: {result['next']}")


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, indent=2, default=str))
        return
    from app.console import print_facts

    print_facts(result)
