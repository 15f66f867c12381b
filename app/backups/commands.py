"""Backups, on the command line."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app import console

if TYPE_CHECKING:
    from app.backups.schemas import Manifest


def backup(
    file: Annotated[
        Path,
        typer.Argument(
            help="The file to write, one there is replaced; or a folder, for a file of this time."
        ),
    ],
) -> None:
    """Write the whole catalog, database and artefacts, into one file."""
    from app.backups import service
    from app.settings import get_settings

    if file.is_dir():
        file /= f"catalog-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.sdc"
    manifest = service.backup(file, get_settings(), console.stage_progress())
    console.print_line(f"wrote {file}: {_told(manifest)}")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `sdc backup` wrote.")],
    trust: Annotated[
        bool,
        typer.Option(
            help="Take a backup that another catalog signed: its keys and requests become yours."
        ),
    ] = False,
) -> None:
    """Fill an empty catalog from a backup."""
    from app.backups import service
    from app.settings import get_settings
    from app.voxels.indexing import index_runs

    manifest = service.restore(file, get_settings(), console.stage_progress(), trust=trust)
    console.print_line(f"restored {file}: {_told(manifest)}")
    index_runs(console.stage_progress())


def _told(manifest: "Manifest") -> str:
    artefacts = len(manifest.parts) - len(manifest.tables)
    size = sum(part.size for part in manifest.parts) / 1e6
    return (
        f"{len(manifest.runs)} runs, {artefacts} artefacts, {size:.1f} MB, "
        f"migration {manifest.revision}"
    )
