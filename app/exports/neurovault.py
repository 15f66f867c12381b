"""A run as a collection of NeuroVault's: MNI maps, and the fields that its upload takes."""

import csv
import json
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.concepts.claims import Claims, claims_of
from app.errors import ConflictError
from app.exports import repository
from app.exports.bids import bids_name
from app.masks.response import response_of
from app.masks.service import Progress, mask_volume
from app.runs.service import ChosenRun

COLUMNS = (
    *("file", "name", "description", "map_type", "modality", "analysis_level"),
    *("number_of_subjects", "target_template_image", "is_thresholded"),
    *("cognitive_paradigm_cogatlas", "cognitive_paradigm_short_description"),
)


def write_neurovault(
    session: Session, chosen: ChosenRun, folder: Path, on_progress: Progress
) -> None:
    """Write maps, ``images.csv`` and ``collection.json`` into an empty folder.

    Raises
    ------
    ConflictError
        Of some participant it is not known where voxels lie in MNI space.
    """
    unknown = [
        row.Subject.label
        for row in repository.list_subjects(session, chosen.dataset.id)
        if not row.mni
    ]
    if unknown:
        raise ConflictError(
            f"NeuroVault takes maps in MNI space, and it is not known where the voxels of "
            f"{', '.join(unknown)} lie there",
            hint="export with --format bids, which has the native space",
        )
    masks = repository.list_masks(session, chosen.run.id)
    images: list[dict[str, Any]] = []
    for done, (statistics, component, label) in enumerate(masks):
        on_progress("writing maps", done, len(masks))
        volume = mask_volume(session, component.id, label, "MNI").content
        told = {"component": component.id, "label": component.label, "subject": label}
        told["responds"] = response_of(statistics.response_sign)
        told |= Claims(**claims_of(component)).model_dump()
        file = f"{bids_name(label)}_{len(images):04d}_concept-{component.id}.nii.gz"
        (folder / file).write_bytes(volume)
        images.append(
            {
                "file": file,
                "name": f"{component.label} ({label}, concept {component.id})",
                "description": json.dumps(chosen.provenance | told, sort_keys=True),
                # A mask with weights: a region of interest, and no statistic of NeuroVault's.
                "map_type": "R",
                "modality": "fMRI-BOLD",
                "analysis_level": "S",
                "number_of_subjects": 1,
                "target_template_image": "GenericMNI",
                "is_thresholded": True,
                # The Cognitive Atlas's id of the task; no catalog tells what people did.
                "cognitive_paradigm_cogatlas": "",
                "cognitive_paradigm_short_description": "looking at pictures",
            }
        )
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(images)
    collection = {
        "name": f"Shared decodable concepts of {chosen.dataset.title}",
        "description": f"Licence: {chosen.dataset.licence}. Cite: {chosen.dataset.citation}.",
        "provenance": chosen.provenance,
    }
    (folder / "collection.json").write_text(json.dumps(collection, indent=2) + "\n", "utf-8")
    on_progress("writing maps", len(masks), len(masks))
