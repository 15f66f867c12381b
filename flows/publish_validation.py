"""Publication of what masks have in common with localisers."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from app.database.models import ComponentAtlas, Encoder, Run
from app.embedding import Encoder as Model
from app.store import Artefact
from app.validation.service import validate_run
from flows.catalog import SubjectTables
from flows.config import Probe
from flows.publish_dataset import nullable
from flows.stages import get_store

Json = dict[str, Any]


def write_atlases(
    session: Session, subject: SubjectTables, validated: Json, mask: Json, ids: list[int]
) -> None:
    """Write how each of a participant's usable masks lies on each atlas, and on its t-map.

    Parameters
    ----------
    validated : dict
        What `flows.validate.validate_subject` returned.
    mask : dict
        What `flows.locate.locate_subject` returned.
    ids : list of int
        Row id of each component.
    """
    found = get_store().get(Artefact.model_validate(validated["overlap"]))
    for column, (atlas, map_name) in enumerate(
        zip(validated["atlases"], validated["maps"], strict=True)
    ):
        size = int(found["size"][column])
        # A region of no voxels overlaps with nothing, which is no measured Dice of 0.
        dice = found["dice"][:, column] if size else np.full(len(ids), np.nan)
        auc, p, rho = (nullable(found[name][:, column]) for name in ("auc", "p", "rho"))
        session.add_all(
            ComponentAtlas(
                component_id=component,
                subject_id=subject.id,
                atlas=atlas,
                auc=auc[index],
                dice=nullable(dice)[index],
                p_value=p[index],
                n_voxels=int(found["inside"][index, column]),
                n_region=size,
                map=map_name,
                rho=rho[index],
            )
            for index, component in enumerate(ids)
            if mask["reasons"][index] is None
        )
    session.flush()


def write_validation(
    session: Session, run: Run, space: Encoder, encoder: Model, probes: Iterable[Probe]
) -> None:
    """Ask for each category in its words, and write how what is found lies on its localiser.

    Parameters
    ----------
    run : Run
        Its components and their overlaps have been written.
    space : Encoder
        The encoder's row.
    encoder : Encoder
        As it was loaded.
    """
    asked = [(probe.category, probe.prompt, probe.atlas) for probe in probes]
    validate_run(session, run, space, asked, model=encoder)
