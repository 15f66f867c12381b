"""Search by a map of the brain, on the command line."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app import console
from app.commands import AsJson, Dataset, Many, OldRun, ask
from app.errors import InputError

if TYPE_CHECKING:
    from app.client import MapOptions


def search_map(
    file: Annotated[Path, typer.Argument(help="A NIfTI file, .nii or .nii.gz, one 3-D volume.")],
    dataset: Dataset = None,
    run: OldRun = None,
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
    answer = ask(
        lambda session: service.search_map(session, io.BytesIO(volume), file.name, **asked),
        lambda catalog: catalog.search_map(volume, file.name, **asked),
    )
    console.print_json(answer) if as_json else print_map(answer)


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error}", hint="give a file") from None
