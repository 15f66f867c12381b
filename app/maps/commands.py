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
    file: Annotated[
        Path, typer.Argument(help="NIfTI, one 3-D volume: .nii, .nii.gz, or .hdr and .img, either.")
    ],
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

    header, voxels = _pair(file)
    volume = _bytes(header)
    image = None if voxels is None else _bytes(voxels)
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
        lambda session: service.search_map(
            session,
            io.BytesIO(volume),
            file.name,
            image=None if image is None else io.BytesIO(image),
            **asked,
        ),
        lambda catalog: catalog.search_map(volume, file.name, image=image, **asked),
    )
    console.print_json(answer) if as_json else print_map(answer)


def _pair(file: Path) -> tuple[Path, Path | None]:
    """A file by itself, or the header and the voxels of a pair that one of the two stands for."""
    for packed in ("", ".gz"):
        for kind in (".hdr", ".img"):
            if file.name.endswith(kind + packed):
                stem = file.name.removesuffix(kind + packed)
                return file.with_name(f"{stem}.hdr{packed}"), file.with_name(f"{stem}.img{packed}")
    return file, None


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error}", hint="give a file") from None
