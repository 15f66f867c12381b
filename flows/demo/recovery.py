"""How well a run on the demo cohort recovered what was planted. No stage reads this."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.models import Component, Dataset, Decoder, Subject, Voxel
from app.masks.response import MEMBER
from app.search.service import search
from app.store import Artefact, ArtefactStore
from flows.demo.truth import PlantedConcept, Truth
from flows.science.metrics import auc

Arrays = dict[str, NDArray[Any]]

CONCEPTS_ASKED = 3
GOOD_AUC = 0.9
GOOD_RECALL = 0.5
PARTICIPANTS = 0.75


@dataclass(frozen=True)
class ConceptRecovery:
    """How one planted concept was found again by its query.

    Attributes
    ----------
    concept, query : str
    component : int
        Id of the component, among the first three answers, whose masks match best.
    label : str
    aucs : dict
        Participant -> AUC of the component's soft mask against the planted voxels.
    recalls : dict
        Participant -> share of the planted voxels that are members of the component's mask.
    recovered : bool
        AUC of at least 0.9, and at least half of the planted voxels members, in at least three
        quarters of the participants that carry it. Of a hundred directions that mean nothing
        some order a concept's voxels well by chance; that they name them is rare.
    region : str or None
        The component's first region.
    region_right : bool or None
        None where the concept lies in no named region.
    planted_response : {"more", "less"}
        How the planted voxels respond to the concept.
    responses : dict
        Participant -> whether the component's mask responds "more" or "less"; empty where the run's
        method does not tell.
    response_right : bool or None
        Whether the mask responds as was planted, in at least three quarters of the participants
        that carry it; None where the run's method does not tell.
    shared : bool or None
        Whether the catalog calls the component shared, None where that was not measured; of a
        component that does not match what was planted this says nothing about the planted concept.
    """

    concept: str
    query: str
    component: int
    label: str
    aucs: dict[str, float]
    recalls: dict[str, float]
    recovered: bool
    region: str | None
    region_right: bool | None
    planted_response: str
    responses: dict[str, str]
    response_right: bool | None
    shared: bool | None

    @property
    def response_told(self) -> str:
        """How the mask responds, and what was planted where that is something else."""
        if not self.responses:
            return "-"
        told = "/".join(dict.fromkeys(self.responses.values()))
        if self.recovered and told != self.planted_response:
            told += f" (planted: {self.planted_response})"
        return told


def judge_recovery(
    session: Session, store: ArtefactStore, slug: str, truth: Truth
) -> list[ConceptRecovery]:
    """Ask for every planted concept in other words, and hold the masks against the truth.

    Parameters
    ----------
    session : Session
    store : ArtefactStore
    slug : str
        The demo's dataset.
    truth : Truth

    Returns
    -------
    list of ConceptRecovery
        In the order of ``truth.concepts``.
    """
    masks = _masks(session, store, slug)
    planted = planted_voxels(session, slug, truth)
    found = []
    for row, concept in enumerate(truth.concepts):
        answer = search(session, concept.query, dataset=slug, k=CONCEPTS_ASKED)
        judged = [
            _judge(session, concept, shown, masks, {s: p[row] for s, p in planted.items()})
            for shown in answer.concepts
        ]
        found.append(max(judged, key=lambda one: (one.recovered, np.mean(list(one.aucs.values())))))
    return found


def _judge(
    session: Session,
    concept: PlantedConcept,
    shown: Any,
    masks: dict[str, Arrays],
    planted: dict[str, NDArray[np.bool_]],
) -> ConceptRecovery:
    index = session.scalars(select(Component.index).where(Component.id == shown.id)).one()
    aucs = {
        subject: float(auc(masks[subject]["soft"][index][:, None], planted[subject])[0])
        for subject in concept.participants
    }
    recalls = {
        subject: float((masks[subject]["soft"][index] >= MEMBER)[planted[subject]].mean())
        for subject in aucs
    }
    good = sum(aucs[each] >= GOOD_AUC and recalls[each] >= GOOD_RECALL for each in aucs)
    responses = {
        subject: "less" if masks[subject]["sign"][index] < 0 else "more"
        for subject in aucs
        if "sign" in masks[subject]
    }
    right = sum(told == concept.responds for told in responses.values())
    enough = ceil(PARTICIPANTS * len(aucs))
    first = shown.regions[0] if shown.regions else None
    return ConceptRecovery(
        concept=concept.name,
        query=concept.query,
        component=shown.id,
        label=shown.label,
        aucs=aucs,
        recalls=recalls,
        recovered=good >= enough,
        region=f"{first.atlas}:{first.region}" if first else None,
        region_right=(first is not None and (first.atlas, first.region) in concept.regions)
        if concept.regions
        else None,
        planted_response=concept.responds,
        responses=responses,
        response_right=right >= enough if responses else None,
        shared=shown.shared,
    )


def soft_masks(session: Session, store: ArtefactStore, slug: str) -> dict[str, NDArray[np.float32]]:
    """Participant -> (K, V) soft masks of the dataset's current run."""
    return {label: masks["soft"] for label, masks in _masks(session, store, slug).items()}


def _masks(session: Session, store: ArtefactStore, slug: str) -> dict[str, Arrays]:
    """Participant -> the arrays of `flows.locate.locate_subject` of the dataset's current run."""
    rows = session.execute(
        select(Subject.label, Decoder.masks_sha256)
        .join(Decoder, Decoder.subject_id == Subject.id)
        .join(Dataset, Dataset.current_run_id == Decoder.run_id)
        .where(Dataset.slug == slug)
    )
    return {label: store.get(Artefact(sha256=sha256, size=0)) for label, sha256 in rows}


def planted_voxels(session: Session, slug: str, truth: Truth) -> dict[str, NDArray[np.bool_]]:
    """Participant -> (C, V) bool, whether each kept voxel was planted with each concept."""
    planted = {}
    for label, volumes in truth.planted.items():
        places = np.array(
            session.execute(
                select(Voxel.i, Voxel.j, Voxel.k)
                .join(Subject, Subject.id == Voxel.subject_id)
                .join(Dataset, Dataset.id == Subject.dataset_id)
                .where(Dataset.slug == slug, Subject.label == label, Voxel.kept)
                .order_by(Voxel.i, Voxel.j, Voxel.k)
            ).all()
        )
        planted[label] = volumes[:, places[:, 0], places[:, 1], places[:, 2]]
    return planted
