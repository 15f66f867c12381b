"""Masks as NIfTI volumes, on surfaces as CIFTI-2, and as tables, with where they come from."""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.concepts.service import require_component
from app.database.models import Component, Subject
from app.errors import ConflictError, NotFoundError
from app.masks import repository
from app.masks.response import Response, response_of
from app.observing.traces import traced
from app.runs.service import ChosenRun, choose_run
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

    @property
    def provenance(self) -> dict[str, Any]:
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


@dataclass(frozen=True)
class MaskVolumes:
    """A mask as 0 and 1, and its members' weights; files of one suffix."""

    members: bytes
    weights: bytes
    suffix: str
    provenance: dict[str, Any]


def mask_volumes(session: Session, component_id: int, subject: str, space: Space) -> MaskVolumes:
    """A participant's mask twice: who is a member, and by how much.

    Raises
    ------
    NotFoundError, ConflictError
        As `mask_volume`.
    """
    mask = _require_mask(session, component_id, subject)
    weights = _weights(session, mask, space)
    return MaskVolumes(
        members=_image(mask, (weights > 0).astype(np.uint8), space),
        weights=_image(mask, weights, space),
        suffix=_suffix(mask, space),
        provenance=mask.provenance,
    )


@traced
def mask_table(session: Session, component_id: int, subject: str, kind: TableFormat) -> MaskFile:
    """The members of a participant's mask, as CSV or parquet.

    Places are mm, native and MNI, noise ceilings fractions; `needed` is how far the decoder needs
    the voxel, null where that is not told apart. Every row names run, component and participant;
    parquet's metadata hold the rest of where it comes from.

    Raises
    ------
    NotFoundError, ConflictError
        As `mask_volume`.
    """
    import polars

    mask = _require_mask(session, component_id, subject)
    rows = repository.voxels_with_weight(session, component_id, mask.subject.id, members=True)
    columns = {
        "voxel_id": polars.Int64,
        **dict.fromkeys(("i", "j", "k"), polars.Int32),
        **dict.fromkeys(("x", "y", "z", "mni_x", "mni_y", "mni_z"), polars.Float32),
        **dict.fromkeys(("noise_ceiling", "weight", "needed"), polars.Float32),
    }
    table = polars.DataFrame(
        [tuple(row) for row in rows], schema=columns, orient="row"
    ).with_columns(
        run=polars.lit(mask.chosen.run.id),
        component=polars.lit(component_id),
        subject=polars.lit(mask.subject.label),
    )
    # New columns come last, for programs that count on the places of those before.
    table = table.select(polars.exclude("needed"), "needed")
    out = BytesIO()
    if kind == "csv":
        table.write_csv(out)
        return MaskFile(mask.file_name("voxels.csv"), "text/csv", out.getvalue())
    told = {name: str(value) for name, value in mask.provenance.items()}
    table.write_parquet(out, metadata=told)
    return MaskFile(
        mask.file_name("voxels.parquet"), "application/vnd.apache.parquet", out.getvalue()
    )


def _weights(session: Session, mask: _Mask, space: Space) -> NDArray[np.float32]:
    """Weights on the participant's grid, or on that of MNI152."""
    rows = repository.voxels_with_weight(session, mask.component.id, mask.subject.id, members=False)
    weight = np.array([row.weight or 0.0 for row in rows], dtype=np.float32)
    if space == "MNI":
        return _in_mni(mask, rows, weight)
    volume = np.zeros(mask.subject.grid, dtype=np.float32)
    volume[tuple(np.array([(row.i, row.j, row.k) for row in rows]).T)] = weight
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
    told = f"sdc run {mask.chosen.run.id} component {mask.component.id}"
    image = cifti.Cifti2Image(values.reshape(1, -1), (cifti.ScalarAxis([told]), left + right))
    provenance = {"Provenance": json.dumps(mask.provenance)}
    image.header.matrix.metadata = cifti.Cifti2MetaData(provenance)
    return bytes(image.to_bytes())


def _gzipped_nifti(
    mask: _Mask, volume: NDArray[Any], affine: NDArray[np.float64], space: Space
) -> bytes:
    from nibabel.nifti1 import Nifti1Extension, Nifti1Image

    image = Nifti1Image(volume, affine)  # type: ignore[no-untyped-call]
    # Aligned to MNI152 (4), or to the scanner (1), as NIfTI numbers what coordinates mean.
    code = 4 if space == "MNI" else 1
    image.header.set_xyzt_units("mm", "sec")  # type: ignore[no-untyped-call]
    image.set_sform(affine, code)  # type: ignore[no-untyped-call]
    image.set_qform(affine, code)  # type: ignore[no-untyped-call]
    told = f"sdc run {mask.chosen.run.id} component {mask.component.id}"
    image.header["descrip"] = told.encode()
    extension = Nifti1Extension(_COMMENT, json.dumps(mask.provenance).encode())
    image.header.extensions.append(extension)
    # Without a time, so that the same mask is the same bytes.
    return gzip.compress(image.to_bytes(), mtime=0)


def _require_mask(session: Session, component_id: int, label: str) -> _Mask:
    component = require_component(session, component_id)
    chosen = choose_run(session, run=component.run_id)
    found = repository.find_subject(session, component.id, label)
    if found is None:
        known = ", ".join(repository.component_subjects(session, component.id))
        raise NotFoundError(
            f"the run of component {component_id} has no subject {label!r}", hint=f"known: {known}"
        )
    subject, statistics = found
    if not statistics.n_voxels:
        raise ConflictError(
            f"{label} has no mask of component {component_id}: "
            f"{statistics.reason or 'no voxel is in it'}",
            hint="ask for another participant",
        )
    return _Mask(component, subject, chosen, response_of(statistics.response_sign))


def _in_mni(mask: _Mask, rows: Any, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    places = np.array([(row.mni_x, row.mni_y, row.mni_z) for row in rows], dtype=float)
    known = np.isfinite(places).all(axis=1)
    if not known.any():
        raise ConflictError(
            f"it is not known where the voxels of {mask.subject.label} lie in MNI space",
            hint="ask for the native space",
        )
    nearest = voxel_of_cells(places[known], cell_centres(MNI_SHAPE, MNI_AFFINE), MNI_MM)
    volume: NDArray[np.float32] = np.where(nearest >= 0, weight[known][nearest], 0).reshape(
        MNI_SHAPE
    )
    return volume
