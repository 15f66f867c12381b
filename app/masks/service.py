"""Masks as NIfTI volumes, on surfaces as CIFTI-2, and as tables, with where they come from."""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.concepts.service import require_component
from app.database.models import Component, ComponentMap, ComponentSubject, Subject
from app.errors import ConflictError, NotFoundError
from app.masks import repository
from app.masks.maps import MAPS, MapName
from app.masks.response import Response, response_of
from app.observing.traces import traced
from app.runs.service import ChosenRun, choose_run
from app.texts import known_names
from app.volumes import cell_centres, voxel_of_cells

Progress = Callable[[str, int, int], object]
Space = Literal["native", "MNI"]
TableFormat = Literal["csv", "parquet"]

# The 2 mm grid that FSL, SPM and nilearn draw MNI152 on.
MNI_SHAPE = (91, 109, 91)
MNI_MM = 2.0
MNI_AFFINE = np.array([[-2, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]], dtype=float)

VOLUME, SURFACE = ".nii.gz", ".dscalar.nii"

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_COMMENT = 6  # NIfTI's extension code for plain text.


@dataclass(frozen=True)
class MaskFile:
    """A file to hand out."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True)
class _Mask:
    component: Component
    subject: Subject
    chosen: ChosenRun
    responds: Response | None
    statistics: ComponentSubject
    # Whether the participant's own mm are those of MNI152.
    native_is_mni: bool
    # Of a region's voxels, which are the same for all components.
    region: str | None = None

    @property
    def title(self) -> str:
        what = f"component {self.component.id}" if self.region is None else f"region {self.region}"
        return f"sdc run {self.chosen.run.id} {what}"

    @property
    def provenance(self) -> dict[str, Any]:
        if self.region is not None:
            return self.chosen.provenance | {"subject": self.subject.label, "region": self.region}
        return self.chosen.provenance | {
            "component": self.component.id,
            "label": self.component.label,
            "subject": self.subject.label,
            "responds": self.responds,
        }

    def file_name(self, *rest: str) -> str:
        words = (
            self.chosen.dataset.slug,
            f"run-{self.chosen.run.id}",
            f"component-{self.component.id}",
            self.subject.label,
            *rest,
        )
        return "_".join(_UNSAFE.sub("-", word) for word in words)


@traced
def mask_volume(session: Session, component_id: int, subject: str, space: Space) -> MaskFile:
    """A participant's mask, each member with its weight, as a gzipped NIfTI volume.

    On a surface, in its native space, it is a CIFTI-2 file (dscalar) of both hemispheres.

    Parameters
    ----------
    session : Session
    component_id : int
    subject : str
        The participant's label.
    space : {"native", "MNI"}
        The grid that the responses came on, or MNI152 at 2 mm: each of its cells shows the
        voxel that it lies in.

    Returns
    -------
    MaskFile
        Dataset, run, encoder, licence and the rest of `provenance` are in a text extension of
        the header, or in CIFTI's own metadata.

    Raises
    ------
    NotFoundError
        No such component, or its run has no such participant.
    ConflictError
        There is no mask of the participant, or its places in MNI space are not known.
    """
    mask = _require_mask(session, component_id, subject)
    image = _image(mask, _weights(session, mask, space), space)
    suffix = _suffix(mask, space)
    return MaskFile(
        name=mask.file_name(f"space-{space}", f"mask{suffix}"),
        media_type="application/gzip" if suffix == VOLUME else "application/octet-stream",
        content=image,
    )


@traced
def map_volume(
    session: Session, component_id: int, subject: str, name: MapName, space: Space
) -> MaskFile:
    """A component's map in a participant as `mask_volume` gives masks; NaN where there is no voxel.

    Parameters
    ----------
    session : Session
    component_id : int
    subject : str
        The participant's label, whether or not there is a mask.
    name : {"weight", "needed", "pattern"}
        The soft mask, 0 to 1, whose members have 0.5 or more; how far the decoder needs each voxel,
        0 to 1; the decoder's pattern along the component, above 0 where a voxel responds more.
    space : {"native", "MNI"}

    Raises
    ------
    NotFoundError
        No such component, or its run has no such participant.
    ConflictError
        There is no such map, or the places in MNI space are not known.
    """
    mask = _require_subject(session, component_id, subject)
    volume = _all_voxels(session, mask, _require_map(session, mask, name), name, space)
    suffix = _suffix(mask, space)
    return MaskFile(
        name=mask.file_name(f"space-{space}", f"{name}{suffix}"),
        media_type="application/gzip" if suffix == VOLUME else "application/octet-stream",
        content=_image(mask, volume, space),
    )


@dataclass(frozen=True)
class MaskVolumes:
    """A mask as 0 and 1, and maps by name; files of one suffix."""

    members: bytes
    maps: dict[MapName, bytes]
    suffix: str
    provenance: dict[str, Any]


def mask_volumes(session: Session, component_id: int, subject: str, space: Space) -> MaskVolumes:
    """A participant's mask, and those maps of all voxels that there are.

    Of a run that was published before maps were stored, ``weight`` has the mask's members alone.

    Raises
    ------
    NotFoundError, ConflictError
        As `mask_volume`.
    """
    mask = _require_mask(session, component_id, subject)
    weights = _weights(session, mask, space)
    maps: dict[MapName, bytes] = {"weight": _image(mask, weights, space)}
    if (found := repository.find_map(session, mask.component.id, mask.subject.id)) is not None:
        maps = {
            name: _image(mask, _all_voxels(session, mask, found, name, space), space)
            for name in MAPS
            if getattr(found, name) is not None
        }
    return MaskVolumes(
        members=_image(mask, (weights > 0).astype(np.uint8), space),
        maps=maps,
        suffix=_suffix(mask, space),
        provenance=mask.provenance,
    )


@dataclass(frozen=True)
class RegionVolume:
    """A region's voxels among those that the catalog has of a participant, as 0 and 1."""

    atlas: str
    region: str
    content: bytes
    suffix: str


def region_volumes(session: Session, component_id: int, subject: str) -> list[RegionVolume]:
    """A participant's regions on the grid of the responses, by atlas and name.

    Any component of a run gives the same.

    Raises
    ------
    NotFoundError
        No such component, or its run has no such participant.
    """
    mask = _require_subject(session, component_id, subject)
    names = repository.regions_of_voxels(session, mask.subject.id)
    rows = repository.voxels_with_weight(session, component_id, mask.subject.id, members=False)
    members: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        for name in names.get(row.voxel_id, ()):
            members.setdefault(name, []).append(place)
    grid = np.array([(row.i, row.j, row.k) for row in rows])
    volumes = []
    for name, inside in sorted(members.items()):
        volume = np.zeros(mask.subject.grid, dtype=np.uint8)
        volume[tuple(grid[inside].T)] = 1
        atlas, _, region = name.partition(":")
        content = _image(replace(mask, region=name), volume, "native")
        volumes.append(RegionVolume(atlas, region, content, _suffix(mask, "native")))
    return volumes


@traced
def mask_table(
    session: Session,
    component_id: int,
    subject: str,
    kind: TableFormat,
    *,
    every: bool = False,
) -> MaskFile:
    """The members of a participant's mask, or all voxels, as CSV or parquet.

    Places are mm, native and MNI, noise ceilings fractions; `needed` is how far the decoder needs
    the voxel, null where that is not told apart; `pattern` the decoder's pattern along the
    component, null of runs published before maps were stored; `regions` those that the voxel is
    in, each as atlas:region, parted in CSV by a vertical bar. Every row names run, component and
    participant; parquet's metadata hold the rest of where it comes from.

    Parameters
    ----------
    session : Session
    component_id : int
    subject : str
    kind : {"csv", "parquet"}
    every : bool
        All voxels that the run was computed on, with the soft mask as their weights; the mask's
        members have 0.5 or more.

    Raises
    ------
    NotFoundError, ConflictError
        As `mask_volume`, and where all voxels are asked for and there are no maps.
    """
    import polars

    mask = (_require_subject if every else _require_mask)(session, component_id, subject)
    rows = repository.voxels_with_weight(session, component_id, mask.subject.id, members=not every)
    found = repository.find_map(session, component_id, mask.subject.id)
    if every:
        found = _require_map(session, mask, "weight")
    columns = {
        "voxel_id": polars.Int64,
        **dict.fromkeys(("i", "j", "k"), polars.Int32),
        **dict.fromkeys(("x", "y", "z", "mni_x", "mni_y", "mni_z"), polars.Float32),
        **dict.fromkeys(("noise_ceiling", "weight", "needed"), polars.Float32),
    }
    table = polars.DataFrame([tuple(row) for row in rows], schema=columns, orient="row")
    maps = polars.DataFrame(
        {"voxel_id": found.voxel_id} | {name: getattr(found, name) for name in MAPS}
        if found is not None
        else None,
        schema={"voxel_id": polars.Int64, **dict.fromkeys(MAPS, polars.Float32)},
    )
    # Of all voxels the maps tell weights, of members alone the mask does.
    own = table.drop("weight", "needed") if every else table
    table = own.join(
        maps if every else maps.select("voxel_id", "pattern"),
        on="voxel_id",
        how="inner" if every else "left",
        maintain_order="left",
    )
    names = repository.regions_of_voxels(session, mask.subject.id)
    table = table.with_columns(
        run=polars.lit(mask.chosen.run.id),
        component=polars.lit(component_id),
        subject=polars.lit(mask.subject.label),
        regions=polars.Series(
            [names.get(voxel, []) for voxel in table["voxel_id"]],
            dtype=polars.List(polars.String),
        ),
    )
    # New columns come last, for programs that count on the places of those before.
    new = ("needed", "pattern", "regions")
    table = table.select(polars.exclude(*new), *new)
    out = BytesIO()
    if kind == "csv":
        table.with_columns(polars.col("regions").list.join("|")).write_csv(out)
        return MaskFile(mask.file_name("voxels.csv"), "text/csv", out.getvalue())
    told = {name: str(value) for name, value in mask.provenance.items()}
    table.write_parquet(out, metadata=told)
    return MaskFile(
        mask.file_name("voxels.parquet"), "application/vnd.apache.parquet", out.getvalue()
    )


def _weights(session: Session, mask: _Mask, space: Space) -> NDArray[np.float32]:
    """Weights of members on the participant's grid, or on that of MNI152; 0 elsewhere."""
    rows = repository.voxels_with_weight(session, mask.component.id, mask.subject.id, members=False)
    weight = np.array([row.weight or 0.0 for row in rows], dtype=np.float32)
    return _laid_out(mask, rows, weight, space, 0)


def _all_voxels(
    session: Session, mask: _Mask, found: ComponentMap, name: MapName, space: Space
) -> NDArray[np.float32]:
    """A map on the participant's grid, or on that of MNI152; NaN where the run had no voxel."""
    rows = repository.voxels_with_weight(session, mask.component.id, mask.subject.id, members=False)
    told = dict(zip(found.voxel_id, getattr(found, name), strict=True))
    values = np.array([told.get(row.voxel_id, np.nan) for row in rows], dtype=np.float32)
    return _laid_out(mask, rows, values, space, np.nan)


def _laid_out(
    mask: _Mask, rows: Any, values: NDArray[np.float32], space: Space, elsewhere: float
) -> NDArray[np.float32]:
    if space == "MNI":
        return _in_mni(mask, rows, values, elsewhere)
    volume = np.full(mask.subject.grid, elsewhere, dtype=np.float32)
    volume[tuple(np.array([(row.i, row.j, row.k) for row in rows]).T)] = values
    return volume


def _suffix(mask: _Mask, space: Space) -> str:
    return VOLUME if space == "MNI" or mask.subject.surface is None else SURFACE


def _image(mask: _Mask, values: NDArray[Any], space: Space) -> bytes:
    if _suffix(mask, space) == SURFACE:
        return _cifti(mask, values[..., 0])
    affine = MNI_AFFINE if space == "MNI" else np.reshape(mask.subject.affine or [], (4, 4))
    return _gzipped_nifti(mask, values, affine, space)


def _cifti(mask: _Mask, values: NDArray[Any]) -> bytes:
    """(2, N) values of the vertices of both hemispheres."""
    # nibabel tells no types of its CIFTI-2.
    cifti: Any = import_module("nibabel.cifti2")
    size = values.shape[1]
    left, right = (
        cifti.BrainModelAxis.from_surface(np.arange(size), size, f"Cortex{side}")
        for side in ("Left", "Right")
    )
    image = cifti.Cifti2Image(values.reshape(1, -1), (cifti.ScalarAxis([mask.title]), left + right))
    provenance = {"Provenance": json.dumps(mask.provenance)}
    image.header.matrix.metadata = cifti.Cifti2MetaData(provenance)
    return bytes(image.to_bytes())


def _gzipped_nifti(
    mask: _Mask, volume: NDArray[Any], affine: NDArray[np.float64], space: Space
) -> bytes:
    from nibabel.nifti1 import Nifti1Extension, Nifti1Image

    image = Nifti1Image(volume, affine)  # type: ignore[no-untyped-call]
    # Aligned to MNI152 (4), or to the scanner (1), as NIfTI numbers what coordinates mean.
    code = 4 if space == "MNI" or mask.native_is_mni else 1
    image.header.set_xyzt_units("mm", "sec")  # type: ignore[no-untyped-call]
    image.set_sform(affine, code)  # type: ignore[no-untyped-call]
    image.set_qform(affine, code)  # type: ignore[no-untyped-call]
    image.header["descrip"] = mask.title.encode()
    extension = Nifti1Extension(_COMMENT, json.dumps(mask.provenance).encode())
    image.header.extensions.append(extension)
    # Without a time, so that the same mask is the same bytes.
    return gzip.compress(image.to_bytes(), mtime=0)


def _require_mask(session: Session, component_id: int, label: str) -> _Mask:
    mask = _require_subject(session, component_id, label)
    if not mask.statistics.n_voxels:
        raise ConflictError(
            f"{label} has no mask of component {component_id}: "
            f"{mask.statistics.reason or 'no voxel is in it'}",
            hint="ask for another participant",
        )
    return mask


def _require_subject(session: Session, component_id: int, label: str) -> _Mask:
    component = require_component(session, component_id)
    chosen = choose_run(session, run=component.run_id)
    found = repository.find_subject(session, component.id, label)
    if found is None:
        known = repository.component_subjects(session, component.id)
        raise NotFoundError(
            f"the run of component {component_id} has no subject {label!r}",
            hint=known_names(known, label),
        )
    subject, statistics = found
    return _Mask(
        component,
        subject,
        chosen,
        response_of(statistics.response_sign),
        statistics,
        native_is_mni=repository.native_is_mni(session, subject.id),
    )


def _require_map(session: Session, mask: _Mask, name: MapName) -> ComponentMap:
    found = repository.find_map(session, mask.component.id, mask.subject.id)
    run = mask.chosen.run
    if found is None:
        raise ConflictError(
            f"run {run.id} was published before maps of all voxels were stored",
            hint=f"run again: sdc run {mask.chosen.dataset.slug}",
        )
    if getattr(found, name) is None:
        raise ConflictError(
            f"there is no map {name} of component {mask.component.id} in {mask.subject.label}: "
            + (
                "clusters do not tell needed voxels"
                if name == "needed"
                else "its decoder is not linear"
            ),
            hint="ask for the map weight",
        )
    return found


def _in_mni(
    mask: _Mask, rows: Any, values: NDArray[np.float32], elsewhere: float
) -> NDArray[np.float32]:
    places = np.array([(row.mni_x, row.mni_y, row.mni_z) for row in rows], dtype=float)
    known = np.isfinite(places).all(axis=1)
    if not known.any():
        raise ConflictError(
            f"it is not known where the voxels of {mask.subject.label} lie in MNI space",
            hint="ask for the native space",
        )
    nearest = voxel_of_cells(places[known], cell_centres(MNI_SHAPE, MNI_AFFINE), MNI_MM)
    fill = np.float32(elsewhere)
    volume: NDArray[np.float32] = np.where(nearest >= 0, values[known][nearest], fill)
    return volume.reshape(MNI_SHAPE)
