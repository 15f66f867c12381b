"""What the atlases of a BIDS derivative are called, and the tables that name their regions."""

from collections.abc import Iterable
from pathlib import Path

from app.errors import InputError
from flows.sources.bids_files import BidsFile, BidsFiles


def name_atlases(segmentations: Iterable[list[BidsFile]]) -> dict[str, list[list[BidsFile]]]:
    """Segmentations by the atlas that they are of: `atlas`, else `seg`, else `desc` of the name.

    fMRIPrep writes an atlas once for each run: all of one name must hold the same.

    Parameters
    ----------
    segmentations : iterable of list of BidsFile
        The file, or the files of the two hemispheres, of each.

    Raises
    ------
    InputError
        A name tells no atlas.
    """
    atlases: dict[str, list[list[BidsFile]]] = {}
    for files in segmentations:
        file = files[0]
        name = file.get("atlas") or file.get("segmentation") or file.get("desc")
        if name is None:
            raise InputError(
                f"{file.path}: the name tells no atlas", hint="add atlas-NAME or seg-NAME"
            )
        atlases.setdefault(name, []).append(files)
    return atlases


def label_table(files: BidsFiles, file: BidsFile) -> Path:
    """The table that names a segmentation's regions.

    Raises
    ------
    InputError
        There is none.
    """
    tables = files.inherited(file, ".tsv")
    if not tables:
        raise not_inherited(file, ".tsv", "name the regions in the columns index and name")
    return tables[-1].path


def not_inherited(file: BidsFile, extension: str, hint: str) -> InputError:
    """What to raise where a file lacks one beside it that BIDS asks for."""
    stem = file.path.name.removesuffix(file.get("extension") or "")
    name = stem + extension
    return InputError(f"{file.path.with_name(name)}: no such file, nor one to inherit", hint=hint)
