"""Publication of a run's maps: what every voxel of a participant says of every component."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.database.copying import copy_rows
from app.database.models import ComponentMap
from app.store import Artefact
from flows.catalog import SubjectTables
from flows.stages import get_store

Json = dict[str, Any]


def write_maps(
    session: Session,
    subject: SubjectTables,
    trained: Json,
    located: Json,
    rows: NDArray[np.float32],
    ids: Sequence[int],
) -> None:
    """Write one participant's maps of all components.

    Parameters
    ----------
    session : Session
    subject : SubjectTables
    trained : dict
        What `flows.train.train_subject` returned.
    located : dict
        What `flows.locate.locate_subject` returned; of clusters, their masks.
    rows : ndarray
        (K, D) components.
    ids : sequence of int
        (K,) row ids of the components.
    """
    if not len(ids):
        return
    store = get_store()
    place = store.get(Artefact.model_validate(located["masks"]))
    pattern = None
    if trained.get("patterns") is not None:
        told = store.get(Artefact.model_validate(trained["patterns"]))["patterns"]
        pattern = rows @ told.T
    copy_rows(
        session,
        ComponentMap,
        {
            "component_id": list(ids),
            "subject_id": subject.id,
            "voxel_id": np.broadcast_to(subject.voxel_ids, (len(ids), len(subject.voxel_ids))),
            "weight": place["soft"],
            "needed": place.get("needed"),
            "pattern": pattern,
        },
    )
