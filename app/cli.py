"""The command line, `sdc`: thin commands over the services that the API calls too."""

import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from app import console
from app.errors import CatalogError, InputError, UnavailableError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

PLUGINS = "sdc.commands"
DEBUG = "--debug"
# What typer returns after Ctrl-C.
INTERRUPTED = 130

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Dataset = Annotated[str | None, typer.Option(help="Name of a dataset; see `sdc datasets`.")]
Encoder = Annotated[str | None, typer.Option(help="Name or spec of an encoder.")]
Many = Annotated[int, typer.Option("-k", help="How many, 1 to 1,000.")]
Component = Annotated[int, typer.Argument(help="A concept's id, as `sdc search` tells it.")]


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
app.add_typer(terms_app, name="terms")
app.add_typer(database_app, name="db")


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error.")] = False,
) -> None:
    """A catalog of shared decodable concepts: brain responses, asked in words."""
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
    with _session() as session:
        answer = service.search(
            session,
            text,
            dataset=dataset,
            run=run,
            subject=subject,
            atlas=atlas,
            k=k,
            templates=template or (ENSEMBLE if ensemble else AS_TYPED),
        )
    console.print_json(answer) if as_json else print_search(answer)


@app.command()
def similar(
    component: Component, dataset: Dataset = None, k: Many = 10, as_json: AsJson = False
) -> None:
    """Find the concepts nearest to a concept."""
    from app.answers import print_similar
    from app.concepts.service import similar_concepts

    with _session() as session:
        answer = similar_concepts(session, component, dataset=dataset, k=k)
    console.print_json(answer) if as_json else print_similar(answer)


@app.command()
def show(component: Component, as_json: AsJson = False) -> None:
    """Tell everything about one concept."""
    from app.answers import print_concept
    from app.concepts.service import show_concept

    with _session() as session:
        answer = show_concept(session, component)
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
    with _session() as session:
        answer = service.network(session, subject, dataset=dataset, run=run)
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

    with _session() as session:
        answer = list_datasets(session)
    console.print_json(answer) if as_json else print_datasets(answer)


@app.command()
def runs(dataset: Dataset = None, as_json: AsJson = False) -> None:
    """List the published runs; a star marks those that answer."""
    from app.answers import print_runs
    from app.runs.service import list_runs

    with _session() as session:
        answer = list_runs(session, dataset)
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
    with _session() as session:
        answer = service.validate(
            session, dataset=dataset, run=run, subject=subject, atlas=atlas, prompt=prompt
        )
        views = service.mask_views(session, answer) if figure else {}
    if figure is not None:
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
    """Store an encoder's vocabulary, the words that concepts are labelled with."""
    from app.answers import print_terms
    from app.terms.service import build_vocabulary

    progress = console.stage_progress()
    with _session() as session:
        answer = build_vocabulary(
            session,
            dataset=dataset,
            encoder=encoder,
            on_progress=lambda done, total: progress("embedding the vocabulary", done, total),
        )
    console.print_json(answer) if as_json else print_terms(answer)


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


@contextmanager
def _session() -> "Iterator[Session]":
    """A session whose queries stop in time; what they did is kept where nothing failed."""
    from app.database.engine import limited_session

    with limited_session() as session:
        yield session


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
