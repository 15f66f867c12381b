"""The command line, `sdc`: thin commands over the services that the API calls too."""

import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from app import console
from app.errors import CatalogError, InputError, UnavailableError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.client import Catalog, MapOptions, SearchOptions, ValidationOptions

PLUGINS = "sdc.commands"
DEBUG = "--debug"
# What typer returns after Ctrl-C.
INTERRUPTED = 130

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Dataset = Annotated[str | None, typer.Option(help="Name of a dataset; see `sdc datasets`.")]
Encoder = Annotated[str | None, typer.Option(help="Name or spec of an encoder.")]
Many = Annotated[int, typer.Option("-k", help="How many, 1 to 1,000.")]
Component = Annotated[int, typer.Argument(help="A concept's id, as `sdc search` tells it.")]


# What a server can be asked for.
REMOTE = ("datasets", "network", "runs", "search", "search-map", "show", "similar", "validate")

Answer = TypeVar("Answer")

_server: ContextVar[str | None] = ContextVar("server", default=None)
_key: ContextVar[str | None] = ContextVar("key", default=None)


class CatalogGroup(TyperGroup):
    """Commands, those of other packages among them; every fault is one line and a status."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands."""
        return [*super().list_commands(ctx), *sorted(_plugins())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name; another package is imported when its command is asked for."""
        if (own := super().get_command(ctx, cmd_name)) is not None:
            return own
        plugin = _plugins().get(cmd_name)
        if plugin is None:
            return None
        try:
            function = plugin.load()
        except (ImportError, AttributeError) as error:
            raise UnavailableError(
                f"the command {cmd_name} ({plugin.value}) cannot be loaded: {error}",
                hint="install the package again",
            ) from error
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(cmd_name)(function)
        return typer.main.get_command(single)

    def main(self, args: Sequence[str] | None = None, *_: Any, **options: Any) -> Any:
        """Run one command and end the process with its status."""
        debug, words = _take_debug(list(sys.argv[1:] if args is None else args))
        try:
            result = super().main(words, prog_name="sdc", standalone_mode=False)
            sys.stdout.flush()
        except BrokenPipeError:
            # What reads has gone; Python would complain about it once more while it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except Exception as error:
            console.stage_progress().stop()
            if debug:
                traceback.print_exc()
            sys.exit(_report(error, debug))
        finally:
            console.stage_progress().stop()
        if result == INTERRUPTED:
            console.note("error: interrupted")
            sys.exit(1)
        sys.exit(result if isinstance(result, int) else 0)


app = typer.Typer(cls=CatalogGroup, add_completion=False, pretty_exceptions_enable=False)
terms_app = typer.Typer(help="Texts with their vectors: the vocabulary and prompts.")
database_app = typer.Typer(help="The catalog's database.")
keys_app = typer.Typer(help="Keys to the REST API.")
app.add_typer(terms_app, name="terms")
app.add_typer(keys_app, name="keys")
app.add_typer(database_app, name="db")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error.")] = False,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Ask the catalog that `sdc serve` serves there."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="SDC_KEY", help="A key to the server; better given as SDC_KEY."),
    ] = None,
) -> None:
    """A catalog of shared decodable concepts: brain responses, asked in words."""
    _server.set(server)
    _key.set(key)
    if server is not None and context.invoked_subcommand not in {None, *REMOTE}:
        raise InputError(
            f"`sdc {context.invoked_subcommand}` works on this machine's catalog alone",
            hint=f"leave out --server; it serves {', '.join(REMOTE)}",
        )
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def search(
    text: Annotated[str, typer.Argument(help='What to look for, such as "a photo of a face".')],
    dataset: Dataset = None,
    run: Annotated[int | None, typer.Option(help="An older run's id.")] = None,
    subject: Annotated[str | None, typer.Option(help="Regions of this participant alone.")] = None,
    atlas: Annotated[str | None, typer.Option(help="Regions of this atlas alone.")] = None,
    k: Many = 10,
    plus: Annotated[list[str] | None, typer.Option(help="A prompt to add; repeatable.")] = None,
    minus: Annotated[
        list[str] | None, typer.Option(help="A prompt to take off; repeatable.")
    ] = None,
    negate: Annotated[
        bool, typer.Option("--negate", help="Ask for what is least like it.")
    ] = False,
    template: Annotated[
        list[str] | None, typer.Option(help='A way to say it, such as "a photo of {}".')
    ] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average over several ways to say it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find the concepts nearest to a text, and the brain regions that carry them."""
    from app.answers import print_search
    from app.embedding.prompts import AS_TYPED, ENSEMBLE
    from app.search import service

    if template and ensemble:
        raise InputError("both --template and --ensemble are given", hint="choose one of them")
    asked: SearchOptions = {
        "dataset": dataset,
        "run": run,
        "subject": subject,
        "atlas": atlas,
        "k": k,
        "plus": plus or [],
        "minus": minus or [],
        "negate": negate,
        "templates": template or (ENSEMBLE if ensemble else AS_TYPED),
    }
    answer = _ask(
        lambda session: service.search(session, text, **asked),
        lambda catalog: catalog.search(text, **asked),
    )
    console.print_json(answer) if as_json else print_search(answer)


@app.command("search-map")
def search_map(
    file: Annotated[Path, typer.Argument(help="A NIfTI file, .nii or .nii.gz, one 3-D volume.")],
    dataset: Dataset = None,
    run: Annotated[int | None, typer.Option(help="An older run's id.")] = None,
    subject: Annotated[str | None, typer.Option(help="Masks of this participant alone.")] = None,
    native: Annotated[
        bool, typer.Option("--native", help="Its mm are the subject's own, not MNI.")
    ] = False,
    k: Many = 10,
    permutations: Annotated[
        int, typer.Option(help="Surrogate maps for the p values, 99 to 4,999.")
    ] = 999,
    seed: Annotated[int, typer.Option(help="Of the surrogates.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Find the concepts whose masks go best with a map of the brain."""
    from app.answers import print_map
    from app.maps import service

    volume = _bytes(file)
    asked: MapOptions = {
        "space": "native" if native else "MNI",
        "dataset": dataset,
        "run": run,
        "subject": subject,
        "k": k,
        "permutations": permutations,
        "seed": seed,
    }
    answer = _ask(
        lambda session: service.search_map(session, io.BytesIO(volume), file.name, **asked),
        lambda catalog: catalog.search_map(volume, file.name, **asked),
    )
    console.print_json(answer) if as_json else print_map(answer)


@app.command()
def similar(
    component: Component, dataset: Dataset = None, k: Many = 10, as_json: AsJson = False
) -> None:
    """Find the concepts nearest to a concept."""
    from app.answers import print_similar
    from app.concepts.service import similar_concepts

    answer = _ask(
        lambda session: similar_concepts(session, component, dataset=dataset, k=k),
        lambda catalog: catalog.similar(component, dataset=dataset, k=k),
    )
    console.print_json(answer) if as_json else print_similar(answer)


@app.command()
def show(component: Component, as_json: AsJson = False) -> None:
    """Tell everything about one concept."""
    from app.answers import print_concept
    from app.concepts.service import show_concept

    answer = _ask(
        lambda session: show_concept(session, component),
        lambda catalog: catalog.concept(component),
    )
    console.print_json(answer) if as_json else print_concept(answer)


@app.command()
def network(
    subject: Annotated[str, typer.Argument(help="A participant, as `sdc datasets` tells them.")],
    dataset: Dataset = None,
    run: Annotated[int | None, typer.Option(help="An older run's id.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw it to this .png file.")] = None,
    graphml: Annotated[Path | None, typer.Option(help="Write it to this file as GraphML.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell which concepts belong together in one participant, in communities."""
    from app.answers import print_network
    from app.files import require_png
    from app.networks import service

    if figure is not None:
        require_png(figure)
    answer = _ask(
        lambda session: service.network(session, subject, dataset=dataset, run=run),
        lambda catalog: catalog.network(subject, dataset=dataset, run=run),
    )
    if graphml is not None:
        from app.networks.graph import write_graphml

        write_graphml(answer, graphml)
        console.note(f"wrote {graphml}")
    if figure is not None:
        from app.networks.figure import write_figure

        write_figure(answer, figure)
        console.note(f"wrote {figure}")
    console.print_json(answer) if as_json else print_network(answer)


@app.command()
def datasets(as_json: AsJson = False) -> None:
    """List the datasets."""
    from app.answers import print_datasets
    from app.datasets.service import list_datasets

    answer = _ask(list_datasets, lambda catalog: catalog.datasets())
    console.print_json(answer) if as_json else print_datasets(answer)


@app.command()
def runs(dataset: Dataset = None, as_json: AsJson = False) -> None:
    """List the published runs; a star marks those that answer."""
    from app.answers import print_runs
    from app.runs.service import list_runs

    answer = _ask(
        lambda session: list_runs(session, dataset), lambda catalog: catalog.runs(dataset)
    )
    console.print_json(answer) if as_json else print_runs(answer)


@app.command()
def validate(
    dataset: Annotated[
        str | None, typer.Argument(help="Name of a dataset; see `sdc datasets`.")
    ] = None,
    run: Annotated[int | None, typer.Option(help="An older run's id.")] = None,
    subject: Annotated[str | None, typer.Option(help="Tell of this participant alone.")] = None,
    atlas: Annotated[str | None, typer.Option(help="Tell of this atlas alone.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Hold what this finds against --atlas instead.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw it to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hold the concepts that words find against the regions that localisers found."""
    from app.answers import print_validation
    from app.files import require_png
    from app.validation import service

    if figure is not None:
        require_png(figure)
        if _server.get() is not None:
            raise InputError("a server draws no figures", hint="leave out --figure, or --server")
    asked: ValidationOptions = {
        "dataset": dataset,
        "run": run,
        "subject": subject,
        "atlas": atlas,
        "prompt": prompt,
    }
    answer = _ask(
        lambda session: service.validate(session, **asked),
        lambda catalog: catalog.validation(**asked),
    )
    if figure is not None:
        with _session() as session:
            views = service.mask_views(session, answer)
        from app.validation.figure import write_figure

        write_figure(answer, views, figure)
        console.note(f"wrote {figure}")
    console.print_json(answer) if as_json else print_validation(answer)


@app.command()
def mcp(
    http: Annotated[
        bool, typer.Option("--http", help="Over HTTP, not on stdin and stdout.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address that HTTP listens at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Its port; 0 takes a free one.", min=0, max=65535)
    ] = 8300,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that clients may reach it by; repeatable.")
    ] = None,
) -> None:
    """Let language models ask the catalog, over the Model Context Protocol."""
    from app.mcp.server import serve_http, serve_stdio

    serve_http(host, port, allow_host or []) if http else serve_stdio()


@terms_app.command("add")
def terms_add(
    text: Annotated[list[str] | None, typer.Argument(help="Texts to give a vector.")] = None,
    dataset: Dataset = None,
    encoder: Encoder = None,
    file: Annotated[
        Path | None, typer.Option(help="UTF-8 file of texts, one a line; - is stdin.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give texts a vector, so that SQL can ask them."""
    from app.answers import print_terms
    from app.terms.service import add_terms

    texts = [*(text or []), *(_lines(file) if file else [])]
    with _session() as session:
        answer = add_terms(session, texts, dataset=dataset, encoder=encoder)
    console.print_json(answer) if as_json else print_terms(answer)


@terms_app.command("build")
def terms_build(dataset: Dataset = None, encoder: Encoder = None, as_json: AsJson = False) -> None:
    """Give over 10,000 everyday terms a vector; a build that was stopped goes on from there."""
    from app.answers import print_terms
    from app.terms.service import build_vocabulary

    progress = console.stage_progress()
    with _session() as session:
        answer = build_vocabulary(
            session,
            dataset=dataset,
            encoder=encoder,
            on_progress=lambda done, total: progress("embedding the vocabulary", done, total),
            on_batch=session.commit,
        )
    console.print_json(answer) if as_json else print_terms(answer)


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What it is for, such as a person or a program.")],
    scope: Annotated[
        list[str], typer.Option(help="read, ingest or admin; repeatable.", show_default=False)
    ],
    dataset: Annotated[
        list[str] | None, typer.Option(help="An embargoed dataset that it sees; repeatable.")
    ] = None,
    days: Annotated[int, typer.Option(help="How long it holds; 0 for ever.", min=0)] = 365,
    as_json: AsJson = False,
) -> None:
    """Make a key to the REST API; its secret is shown this once."""
    from app.answers import print_new_key
    from app.keys.service import create_key, wanted_key

    wanted = wanted_key(name, scope, dataset or [], days or None)
    with _session() as session:
        answer = create_key(session, wanted, _actor())
    console.print_json(answer) if as_json else print_new_key(answer)


@keys_app.command("list")
def keys_list(as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    from app.answers import print_keys
    from app.keys.service import list_keys

    with _session() as session:
        answer = list_keys(session)
    console.print_json(answer) if as_json else print_keys(answer)


@keys_app.command("revoke")
def keys_revoke(
    key: Annotated[int, typer.Argument(help="Its id, as `sdc keys list` tells it.")],
    as_json: AsJson = False,
) -> None:
    """Make a key invalid, for good."""
    from app.answers import print_keys
    from app.keys.schemas import KeyList
    from app.keys.service import revoke_key

    with _session() as session:
        answer = revoke_key(session, key, _actor())
    console.print_json(answer) if as_json else print_keys(KeyList(keys=[answer]))


@app.command()
def embargo(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset; see `sdc datasets`.")],
    lift: Annotated[bool, typer.Option("--lift", help="Show it again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hide a dataset from every key that does not name it, and from the SQL role of readers."""
    from app.keys.service import set_embargo

    with _session() as session:
        answer = set_embargo(session, dataset, not lift, _actor())
    if as_json:
        console.print_json(answer)
    else:
        state = "embargoed" if answer.embargoed else "open"
        console.print_line(f"{answer.dataset} is {state}")


@database_app.command("upgrade")
def database_upgrade() -> None:
    """Make the catalog's schema, or bring it to this version."""
    from app.database.engine import get_engine
    from app.database.migrate import current_revision, upgrade

    engine = get_engine()
    before = current_revision(engine)
    upgrade(engine)
    after = current_revision(engine)
    console.print_line(f"at {after}" if before == after else f"from {before or 'none'} to {after}")


@database_app.command("url")
def database_url(
    password: Annotated[bool, typer.Option("--password", help="Show the password.")] = False,
) -> None:
    """Print the URL that other programs reach the catalog by."""
    from sqlalchemy import make_url

    from app.database import engine
    from app.settings import get_settings

    settings = get_settings()
    url = make_url(engine.database_url(settings))
    console.print_line(url.render_as_string(hide_password=not password))
    if settings.database_url is None:
        console.note("the embedded server is up while an sdc process holds it, as `sdc db shell`")


@database_app.command("shell", context_settings={"ignore_unknown_options": True})
def database_shell(
    arguments: Annotated[list[str] | None, typer.Argument(help="Arguments of psql's.")] = None,
) -> None:
    """Open psql on the catalog."""
    from app.database.engine import database_url
    from app.psql import run_psql
    from app.settings import get_settings

    status = run_psql(database_url(get_settings()), arguments or [])
    raise typer.Exit(1 if status else 0)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check everything that the catalog leans on."""
    from app.answers import print_report
    from app.doctor.service import examine
    from app.settings import get_settings

    report = examine(get_settings())
    console.print_json(report) if as_json else print_report(report)
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=0, max=65535)] = 8000,
) -> None:
    """Serve the REST API."""
    import uvicorn

    from app.api import make_api
    from app.database.engine import open_session

    # A database that cannot be used is told here, and not at the first question.
    open_session().close()
    uvicorn.run(make_api(), host=host, port=port, access_log=False)


def _ask(here: "Callable[[Session], Answer]", there: "Callable[[Catalog], Answer]") -> Answer:
    """The answer of this machine's catalog, or of the server that --server names."""
    server = _server.get()
    if server is None:
        with _session() as session:
            return here(session)
    from app.client import Catalog

    with Catalog(server, key=_key.get()) as catalog:
        return there(catalog)


@contextmanager
def _session() -> "Iterator[Session]":
    from app.reading import reading_session

    with reading_session() as session:
        yield session


def _actor() -> str:
    """Who the audit names for what this process changes."""
    from getpass import getuser

    try:
        return f"command line ({getuser()})"
    except (OSError, KeyError):
        return f"command line (user {os.getuid()})"


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=PLUGINS)}


def _take_debug(words: list[str]) -> tuple[bool, list[str]]:
    """Whether --debug was given, anywhere before a lone ``--``; and the words without it."""
    end = words.index("--") if "--" in words else len(words)
    return DEBUG in words[:end], [word for word in words[:end] if word != DEBUG] + words[end:]


def _lines(file: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}", hint="give a UTF-8 text file") from None
    return [line for line in text.splitlines() if line.strip()]


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error}", hint="give a file") from None


def _report(error: Exception, debug: bool) -> int:
    """Print an error as its one line, and tell the exit status."""
    if isinstance(error, typer.Abort):
        console.note("error: interrupted")
        return 1
    if isinstance(error, typer.TyperException):
        place = getattr(getattr(error, "ctx", None), "command_path", "sdc")
        console.note(f"error: {' '.join(error.format_message().split())} (see `{place} --help`)")
        return error.exit_code
    from app.failures import as_catalog_error

    known = as_catalog_error(error)
    if known is not None:
        console.print_error(known)
        return known.exit_code
    hint = "" if debug else f"{DEBUG} shows the traceback"
    console.print_error(CatalogError(f"{type(error).__name__}: {error}", hint=hint))
    return 1


def main() -> None:
    """The console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A caption that the terminal's encoding lacks is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()


if __name__ == "__main__":
    main()
