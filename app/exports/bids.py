"""A run as a BIDS derivative: masks and weights of every participant, with sidecars."""

import csv
import json
import re
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.concepts.claims import CLAIMS, Claims, claims_of
from app.database.models import Component
from app.errors import ConflictError
from app.exports import repository
from app.masks.repository import native_is_mni
from app.masks.response import MEMBER, response_of
from app.masks.service import MNI_MM, Progress, RegionVolume, Space, mask_volumes, region_volumes
from app.runs.service import ChosenRun

BIDS_VERSION = "1.10.0"
# BIDS names a task in every functional file; what was done beside looking, no catalog tells.
TASK = "pictures"
# The specification has no name for maps of statistics yet; tools write this one.
IGNORED = ("*_statmap.nii.gz", "*_statmap.json")
SPACES: dict[Space, str] = {"native": "scanner", "MNI": "MNI152NLin6Asym_res-2"}
# Of participants whose data came in MNI space.
NATIVE_IN_MNI = "MNI152NLin6Asym_res-native"
README = """\
# {title}

Shared decodable concepts of the dataset {dataset}, run {run} ({method}), encoder {encoder}.

For each participant and each concept whose mask has a voxel there are a mask (0 and 1) and maps
of all voxels that the run was computed on, NaN elsewhere: `stat-weight`, the soft mask (0 to 1;
members have 0.5 or more), `stat-needed`, how far the decoder needs each voxel (0 to 1), and
`stat-pattern`, the decoder's pattern along the concept (in any unit, above 0 where a voxel responds
more). They lie on the grid of the responses (`space-scanner`; `{native_in_mni}` where
these came in MNI space; of a surface its mesh, as CIFTI-2) and, where it is known, in MNI space at
2 mm. `descriptions.tsv` tells which concept each `desc` is,
and the sidecars which run a file comes from. Runs published before maps were stored have
`stat-weight` alone, of the mask's members, 0 elsewhere.

Each participant's regions are masks with `label`, the region, and `desc`, the atlas; their sidecars
tell both as the catalog names them. `Regions` in the sidecar of `stat-weight` has the areas under
the curve, which these maps and masks give again.

A mask holds the voxels that respond more, or less, to the concept than to other stimuli
(`Responds`), and weights are in the order of their responses. `R`, `PValue` and `Decodes` are of
the voxels that the decoder needs to tell it (`VoxelsNeeded`), which may be others. Where `Responds`
is null the two were not told apart.

- Licence: {licence}
- Please cite: {citation}
- Code version: {code_version}
"""


def write_bids(session: Session, chosen: ChosenRun, folder: Path, on_progress: Progress) -> None:
    """Write the derivative into an empty folder.

    Raises
    ------
    ConflictError
        Two participants have one name in BIDS, which takes letters and digits alone.
    """
    subjects = repository.list_subjects(session, chosen.dataset.id)
    names = {row.Subject.label: bids_name(row.Subject.label) for row in subjects}
    if len(set(names.values())) < len(names) or not all(names.values()):
        raise ConflictError(
            f"participants of {chosen.dataset.slug} would have one name in BIDS, or none: "
            + ", ".join(names),
            hint="BIDS takes letters and digits alone; export parquet instead",
        )
    surfaces = {row.Subject.label: row.Subject.surface for row in subjects if row.Subject.surface}
    _write_description(chosen, folder, set(surfaces.values()))
    components = repository.list_components(session, chosen.run.id)
    _write_table(
        folder / "descriptions.tsv",
        ["desc_id", "description"],
        [[f"desc-{_desc(each.id)}", each.label] for each in components],
    )
    _write_table(
        folder / "participants.tsv",
        ["participant_id", "label"],
        [[f"sub-{name}", label] for label, name in names.items()],
    )
    _write_json(
        folder / "participants.json",
        {
            "participant_id": {"Description": "The participant, as files name them."},
            "label": {"Description": "The participant, as the catalog names them."},
        },
    )
    own = {
        row.Subject.label: row.Subject.surface
        or (NATIVE_IN_MNI if native_is_mni(session, row.Subject.id) else SPACES["native"])
        for row in subjects
    }
    in_mni = {row.Subject.label for row in subjects if row.mni}
    # Of the decoder's masks; members of a cluster have a weight of 1, and met no threshold.
    threshold = chosen.run.configuration.get("masks", {}).get("threshold")
    masks = repository.list_masks(session, chosen.run.id)
    for done, (statistics, component, label) in enumerate(masks):
        on_progress("writing masks", done, len(masks))
        place = folder / f"sub-{names[label]}" / "func"
        place.mkdir(parents=True, exist_ok=True)
        responds = response_of(statistics.response_sign)
        does = f"respond {responds}" if responds else "belong"
        members = f"voxels that {does} to the concept {component.label!r}"
        spaces: tuple[Space, ...] = ("native", "MNI") if label in in_mni else ("native",)
        for space in spaces:
            volumes = mask_volumes(session, component.id, label, space)
            surface = surfaces.get(label) if space == "native" else None
            named = own[label] if space == "native" else SPACES[space]
            stem = f"sub-{names[label]}_task-{TASK}_space-{named}_desc-{_desc(component.id)}"
            sidecar = {
                "Description": f"The {members}.",
                "Type": "ROI",
                **_space(space, own[label], surface),
                "Threshold": MEMBER if responds else threshold,
                "Voxels": statistics.n_voxels,
                "Responds": responds,
                "VoxelsNeeded": statistics.n_needed,
                "R": statistics.r_hard,
                "RInterval95": [statistics.r_low, statistics.r_high],
                "PValue": statistics.p_value,
                "QValue": statistics.q_value,
                "Decodes": statistics.decodes,
                **_claims(component),
                "Provenance": volumes.provenance,
            }
            (place / f"{stem}_mask{volumes.suffix}").write_bytes(volumes.members)
            _write_json(place / f"{stem}_mask.json", sidecar)
            overlaps = repository.list_overlaps(session, component.id, label)
            told: dict[str, dict[str, Any]] = {
                "weight": {
                    "Description": f"Soft mask: the {members} have {MEMBER:g} or more.",
                    "Range": [0, 1],
                    "Regions": overlaps,
                },
                "needed": {
                    "Description": "How far the decoder needs each voxel to tell the concept "
                    f"{component.label!r}.",
                    "Range": [0, 1],
                },
                "pattern": {
                    "Description": f"The decoder's pattern along the concept {component.label!r}: "
                    "covariance of each voxel's responses with what is decoded of it."
                },
            }
            for name, content in volumes.maps.items():
                file = f"{stem}_stat-{name}_statmap"
                (place / f"{file}{volumes.suffix}").write_bytes(content)
                _write_json(place / f"{file}.json", sidecar | {"Units": "arbitrary"} | told[name])
    first = {label: component.id for _, component, label in reversed(masks)}
    for label, component_id in first.items():
        place, surface = folder / f"sub-{names[label]}" / "func", surfaces.get(label)
        stem = f"sub-{names[label]}_task-{TASK}_space-{own[label]}"
        for each in region_volumes(session, component_id, label):
            _write_region(each, place, stem, _space("native", own[label], surface))
    on_progress("writing masks", len(masks), len(masks))


def _space(space: Space, own: str, surface: str | None) -> dict[str, str]:
    """What a sidecar tells of the space of a file."""
    if space == "MNI":
        return {
            "SpatialReference": "MNI152NLin6Asym",
            "Resolution": f"{MNI_MM:g} mm isotropic",
        }
    if own == NATIVE_IN_MNI:
        return {
            "SpatialReference": "MNI152NLin6Asym",
            "Resolution": "The grid of the responses.",
        }
    return {"SpatialReference": surface or "orig"}


def _write_region(region: RegionVolume, place: Path, stem: str, space: dict[str, str]) -> None:
    """Write a participant's region as a mask, whose sidecar tells its own name."""
    label, atlas = bids_name(region.region) or "region", bids_name(region.atlas) or "atlas"
    number = 1
    file = place / f"{stem}_label-{label}_desc-{atlas}_mask.json"
    # Names that differ in other signs alone would be one.
    while file.exists():
        number += 1
        file = place / f"{stem}_label-{label}{number}_desc-{atlas}_mask.json"
    file.with_suffix(region.suffix).write_bytes(region.content)
    _write_json(
        file,
        {
            "Description": f"Voxels of the region {region.region} of the atlas {region.atlas}, "
            "among those that the catalog has.",
            "Type": "ROI",
            **space,
            "Atlas": region.atlas,
            "Region": region.region,
        },
    )


def bids_name(label: str) -> str:
    """A participant's label with the letters and digits that BIDS takes."""
    return re.sub(r"[^A-Za-z0-9]", "", label.removeprefix("sub-"))


def _claims(component: Component) -> dict[str, Any]:
    """Whether participants share a concept, by which claims, and why not."""
    told = Claims(**claims_of(component))
    return {
        **{name.capitalize(): getattr(told, name) for name in ("shared", *CLAIMS)},
        "Reason": told.reason,
        "Reasons": told.reasons,
        "Prevalence": told.prevalence and told.prevalence.model_dump(),
    }


def _desc(component_id: int) -> str:
    return f"concept{component_id}"


def _write_description(chosen: ChosenRun, folder: Path, surfaces: set[str]) -> None:
    told = chosen.provenance
    _write_json(
        folder / "dataset_description.json",
        {
            "Name": f"Shared decodable concepts of {chosen.dataset.title}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "License": chosen.dataset.licence,
            "HowToAcknowledge": f"Cite {chosen.dataset.citation}",
            "GeneratedBy": [
                {
                    "Name": "sdc",
                    "Version": chosen.run.code_version,
                    "Description": f"run {chosen.run.id}, {chosen.run.method}, "
                    f"encoder {chosen.encoder.name}",
                }
            ],
            "SourceDatasets": [
                {"URL": chosen.dataset.source_uri, "Version": chosen.dataset.fingerprint}
            ],
        },
    )
    (folder / "README.md").write_text(
        README.format(title=chosen.dataset.title, native_in_mni=f"space-{NATIVE_IN_MNI}", **told),
        encoding="utf-8",
    )
    # Nor has it one for masks on surfaces.
    on_surfaces = (f"*_space-{surface}_*" for surface in sorted(surfaces))
    ignored = (*IGNORED, *on_surfaces, "provenance.json")
    (folder / ".bidsignore").write_text("\n".join(ignored) + "\n")


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_table(file: Path, columns: list[str], rows: list[list[str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
