"""A published run whose masks were held against two localisers, in a catalog of the test's own."""

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import models
from app.database.engine import open_session
from app.validation.service import validate_run
from tests.app.published import CONCEPTS, REGIONS, SUBJECTS, VOXELS_A_REGION, Published

# Which voxels of a concept's patch are which region; the first is told of in two regions.
LOCALISERS = {
    "floc-faces": {"FFA-1": ("face", [0, 1, 2]), "FFA-2": ("face", [3, 4])},
    "floc-words": {"VWFA": ("letter", [0, 1, 2, 3])},
}
MAPS = {"floc-faces": "floc_facestval", "floc-words": "floc_wordtval"}
PROBES = (
    ("faces", "portrait", "floc-faces"),
    ("words", "a page of text", "floc-words"),
    ("cars", "a car", "floc-words"),
    ("places", "house", "floc-places"),
)
# The participant of whom no voxel lies in the word region.
WORDLESS = SUBJECTS[1]


@pytest.fixture
def localised(own_published: Published) -> Published:
    """The run, held against localisers."""
    localise(own_published)
    return own_published


def localise(published: Published) -> None:
    """Store overlaps of every mask of a run, and its categories, `PROBES`.

    The table of words does not hold "a car", and there are no place regions.
    """
    with open_session() as session, session.begin():
        add_localisers(session, published)
        run = session.get_one(models.Run, published.run)
        encoder = session.get_one(models.Encoder, run.encoder_id)
        validate_run(session, run, encoder, PROBES)


def add_localisers(session: Session, published: Published) -> None:
    """Write the regions of `LOCALISERS`, and what every concept's mask has in common with them."""
    dataset = session.scalars(
        select(models.Dataset).where(models.Dataset.slug == published.dataset)
    ).one()
    weight = np.linspace(1, 0.6, VOXELS_A_REGION)
    for atlas, parts in LOCALISERS.items():
        regions = {
            name: models.Region(dataset_id=dataset.id, atlas=atlas, name=name) for name in parts
        }
        session.add_all(regions.values())
        session.flush()
        for label, subject in published.subjects.items():
            voxels = np.array(
                session.scalars(
                    select(models.Voxel.id)
                    .where(models.Voxel.subject_id == subject)
                    .order_by(models.Voxel.index)
                ).all()
            ).reshape(len(REGIONS), VOXELS_A_REGION)
            inside = {}
            for name, (concept, which) in parts.items():
                member = np.zeros(voxels.shape, dtype=bool)
                if (atlas, label) != ("floc-words", WORDLESS):
                    member[CONCEPTS.index(concept), which] = True
                inside[name] = member
                session.add_all(
                    models.VoxelRegion(voxel_id=int(voxel), region_id=regions[name].id)
                    for voxel in voxels[member]
                )
            for own, concept in enumerate(CONCEPTS):
                soft = np.zeros(voxels.shape)
                soft[own] = weight
                component = published.components[concept]
                for name, member in inside.items():
                    if member.any():
                        numbers = _overlap(soft, member)
                        del numbers["n_region"]
                        session.add(
                            models.ComponentRegion(
                                component_id=component,
                                subject_id=subject,
                                region_id=regions[name].id,
                                q_value=0.5,
                                **numbers,
                            )
                        )
                session.add(
                    models.ComponentAtlas(
                        component_id=component,
                        subject_id=subject,
                        atlas=atlas,
                        map=MAPS[atlas],
                        rho=0.4 if concept in ("face", "letter") else -0.1,
                        **_overlap(soft, np.any(list(inside.values()), axis=0)),
                    )
                )
    session.flush()


def _overlap(soft: np.ndarray, member: np.ndarray) -> dict[str, float | int | None]:
    if not member.any():
        nothing = {"auc": None, "dice": None, "p_value": None}
        return nothing | {"n_voxels": 0, "n_region": 0}
    pairs = np.subtract.outer(soft[member], soft[~member])
    auc = float(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    hard = soft >= 0.5
    common = int((hard & member).sum())
    return {
        "auc": auc,
        "dice": 2 * common / int(hard.sum() + member.sum()),
        "p_value": 0.001 if auc > 0.9 else 0.7,
        "n_voxels": common,
        "n_region": int(member.sum()),
    }
