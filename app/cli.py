"""The command line, `sdc`: thin commands over the services that the API calls too."""

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from app import console
from app.backups.commands import backup, restore
from app.commands import ask_server
from app.concepts.commands import concepts, show, similar
from app.database.commands import database_app
from app.datasets.commands import datasets
from app.doctor.commands import doctor
from app.errors import CatalogError, InputError, UnavailableError
from app.exports.commands import export
from app.garbage.commands import gc
from app.ingestions.commands import ingestion, ingestions
from app.keys.commands import embargo, keys_app
from app.loopback import never_proxy_loopback
from app.maps.commands import search_map
from app.mcp.commands import mcp
from app.networks.commands import network
from app.runs.commands import runs
from app.schedules.commands import schedules
from app.search.commands import search
from app.terms.commands import terms_app
from app.threads import wait_asleep
from app.triggers.commands import triggers
from app.validation.commands import validate
from app.voxels.commands import voxels

PLUGINS = "sdc.commands"
DEBUG = "--debug"
# What typer returns after Ctrl-C.
INTERRUPTED = 130

# What a server can be asked for.
REMOTE = (
    *("concepts", "datasets", "ingestion", "ingestions", "network", "runs", "schedules"),
    *("search", "search-map", "show", "similar", "validate", "voxels"),
)


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
    ask_server(server, key)
    if server is not None and context.invoked_subcommand not in {None, *REMOTE}:
        raise InputError(
            f"`sdc {context.invoked_subcommand}` works on this machine's catalog alone",
            hint=f"leave out --server; it serves {', '.join(REMOTE)}",
        )
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def serve(
    host: Annotated[
        str, typer.Option(envvar="SDC_LISTEN", help="Address to listen at.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="SDC_PORT", help="Port to listen at.", min=0, max=65535)
    ] = 8000,
    workers: Annotated[
        int, typer.Option(envvar="SDC_WORKERS", help="Processes that serve.", min=1, max=256)
    ] = 1,
) -> None:
    """Serve the REST API."""
    from app.serving import serve_api

    # Told to stop it has served well.
    with suppress(Terminated):
        serve_api(host, port, workers)


app.command("search-map")(search_map)
for command in (
    *(search, voxels, concepts, similar, show, network, datasets, runs, validate),
    *(
        ingestions,
        ingestion,
        schedules,
        triggers,
        mcp,
        embargo,
        export,
        backup,
        restore,
        doctor,
        gc,
        serve,
    ),
):
    app.command()(command)


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=PLUGINS)}


def _take_debug(words: list[str]) -> tuple[bool, list[str]]:
    """Whether --debug was given, anywhere before a lone ``--``; and the words without it."""
    end = words.index("--") if "--" in words else len(words)
    return DEBUG in words[:end], [word for word in words[:end] if word != DEBUG] + words[end:]


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


class Terminated(SystemExit):
    """This process was told to end, and does what there is to do before."""


def end_well_when_told() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: what it started is ended first."""

    def told(number: int, _frame: FrameType | None) -> None:
        # Told again it ends at once.
        signal.signal(number, signal.SIG_DFL)
        raise Terminated(128 + number)

    for each in (signal.SIGTERM, signal.SIGHUP):
        # One that is ignored, as by nohup, stays so.
        if signal.getsignal(each) == signal.SIG_DFL:
            signal.signal(each, told)


def main() -> None:
    """The console script."""
    end_well_when_told()
    wait_asleep()
    never_proxy_loopback()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A caption that the terminal's encoding lacks is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()


if __name__ == "__main__":
    main()
