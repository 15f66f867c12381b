"""Opening files whose formats can name other files, which are then read in their place.

HDF5 has links to datasets of other files, datasets put together from several files, and values
that lie in files of any kind; GIFTI has arrays that lie elsewhere. Such a file leads out of the
folders that reading is confined to (`flows.sources.confinement`), and breaks where it is copied
without the others: none is read, whoever asks.
"""

from pathlib import Path
from typing import Any
from xml.parsers import expat

import h5py
import nibabel
from nibabel.gifti.util import gifti_encoding_codes

from app.errors import InputError
from flows.sources.fetching import require_file

# Kinds of images that nibabel reads and that are known to name no file but their own.
_KINDS = (".nii", ".nii.gz", ".gii", ".hdr", ".img", ".mgh", ".mgz")
_INSIDE = {gifti_encoding_codes.code[name] for name in ("ASCII", "B64BIN", "B64GZ")}
_HINT = "write it again with all of its data inside"


def find_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset | None:
    """A dataset of an open HDF5 file, all of which lies in this file; None where there is none.

    Parameters
    ----------
    path : Path
        Of the file, for errors.
    file : h5py.File
    name : str
        ``/`` between the groups that lead to it.

    Raises
    ------
    InputError
        A link leads to it, or its values lie in other files. Nothing of these was opened.
    """
    at: Any = file
    for part in name.split("/"):
        if part in ("", "."):
            continue
        link = at.get(part, getlink=True) if isinstance(at, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise InputError(f"{path}: {name} is a link and holds no data", hint=_HINT)
        at = at[part]
    if not isinstance(at, h5py.Dataset):
        return None
    if at.is_virtual or at.external:
        raise InputError(f"{path}: the data of {name} lie in other files", hint=_HINT)
    return at


def load_image(path: Path) -> Any:
    """An image, as `nibabel.load` gives it, all of whose data lie in files that may be read.

    Raises
    ------
    InputError
        A file is missing or lies where reading is not allowed, the kind is unknown, or a GIFTI
        file names others.
    """
    require_file(path)
    name = path.name.lower()
    if not name.endswith(_KINDS):
        raise InputError(f"{path}: unknown kind of image", hint=f"give one of {', '.join(_KINDS)}")
    if name.endswith(".gii"):
        gifti_shapes(path)
    image: Any = nibabel.load(path)
    # Of a pair the other file may be a link.
    for holder in image.file_map.values():
        if holder.filename is not None:
            require_file(Path(holder.filename))
    return image


def stored_header(image: Any) -> Any:
    """The header of a loaded image as it stands in the file.

    nibabel mends headers that it loads: what it takes for a mistake can be told of this one alone.
    """
    holder = image.file_map.get("header", image.file_map["image"])
    with holder.get_prepare_fileobj("rb") as file:
        return type(image.header).from_fileobj(file, check=False)


def gifti_shapes(path: Path) -> list[tuple[int, ...]]:
    """Shapes of the data arrays of a GIFTI file, all of which are in the file itself.

    Raises
    ------
    InputError
        The file is missing, an array lies elsewhere or in an encoding that GIFTI does not have,
        or the file defines entities, with which a few bytes can stand for many.
    expat.ExpatError, KeyError, ValueError
        It is damaged or foreign.
    """
    require_file(path)
    shapes: list[tuple[int, ...]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name != "DataArray":
            return
        encoding = attributes.get("Encoding", "B64GZ")
        # nibabel takes several names for each encoding.
        if gifti_encoding_codes.code.get(encoding) not in _INSIDE:
            raise InputError(
                f"{path}: its data lie in another file or are encoded as none that is known",
                hint=_HINT,
            )
        dimensions = range(int(attributes["Dimensionality"]))
        shapes.append(tuple(int(attributes[f"Dim{place}"]) for place in dimensions))

    def refuse_entity(*_: object) -> None:
        raise InputError(f"{path}: it defines XML entities", hint="write it again without them")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EntityDeclHandler = refuse_entity
    with path.open("rb") as file:
        parser.ParseFile(file)
    return shapes
