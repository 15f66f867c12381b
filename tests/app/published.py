"""A small published run, consistent in itself, for tests of everything that reads."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.concepts.claims import CLAIMS
from app.database import models
from app.database.copying import copy_rows
from app.embedding import load_encoder
from app.embedding.centring import centre
from app.encoders.service import nearest_terms, register_encoder
from app.store import ArtefactStore

CONCEPTS = ("face", "body", "house", "food", "letter", "animal")
REGIONS = ("FFA", "EBA", "PPA", "food patch", "VWFA", "pSTS")
ATLAS = "floc"
SUBJECTS = ("subj01", "subj02")
# The concept of whose masks other seeds have none, and what is made up of the others.
UNMASKED = "letter"
STABILITY = {"cosine": 0.9, "dice": 0.75, "seeds": 2, "chance": 0.35}
CHANCE = {"cosine": 0.3, "dice": 0.1}
# The concept that one participant's mask does not decode.
UNSHARED = "animal"
WHY_UNSHARED = "decodable in too few participants"
# What is claimed of each concept, in the claims' order; None was not measured.
VERDICTS: dict[str, tuple[bool | None, bool | None, bool | None, bool | None]] = {
    "face": (True, True, True, True),
    "body": (True, True, True, True),
    "house": (True, False, True, False),
    "food": (True, True, False, True),
    "letter": (True, True, True, None),
    "animal": (False, True, None, True),
}
REASONS = {
    "face": {},
    "body": {},
    "house": {"specific": "no better than mixtures", "stable": "other seeds do not find it"},
    "food": {"agreeing": "masks do not agree"},
    "letter": {"stable": "other seeds have no masks of it"},
    "animal": {"decodable": WHY_UNSHARED, "agreeing": "there is one mask alone"},
}
SHARED = ("face", "body")
UNMEASURED = "letter"
# Share of participants in whom each is found that is sought without them, with its interval.
PREVALENCE = {"face": (0.9, 0.4, 1.0), "body": (0.9, 0.4, 1.0), "house": (0.5, 0.1, 0.9)}
AGAINST_RIDGE = {
    "gained": 3,
    "lost": 1,
    "p_value": 0.6,
    "difference": 0.02,
    "low": -0.01,
    "high": 0.05,
}
VOXELS_A_REGION = 5
WEIGHTS = np.linspace(1, 0.6, VOXELS_A_REGION)
# Weights in the mask that a decoder needs, of voxels that respond; one that it needs does not.
NEEDED = (0.875, 0.75, 0.5, 0.25, 0.0)
N_NEEDED = 4
# The concept that voxels respond less to, and the one of which responses were not measured.
LESS = "food"
UNLOCATED = "letter"
RESPONDS = {**dict.fromkeys(CONCEPTS, "more"), LESS: "less", UNLOCATED: None}
COMMUNITIES = (("face", "body", "animal"), ("house", "food"), ("letter",))
# Dice, p, q and cosine of what is linked, made up like all statistics here.
LINKS = {
    ("face", "body"): (0.4, 0.001, 0.01, 0.2),
    ("face", "animal"): (0.0, 1.0, 1.0, 0.8),
    ("house", "food"): (0.2, 0.002, 0.02, -0.1),
}
# Made up too: each concept is least like the word and the stimulus of the one after the next.
NEGATION_OF = {concept: CONCEPTS[index - 4] for index, concept in enumerate(CONCEPTS)}
# How far the words of the table lie from the origin together: a narrow cone, as CLIP's texts.
CONE = 3.0

SYNONYMS = {
    "face": ("a smiling woman", "portrait"),
    "body": ("a dancer", "arms and legs"),
    "house": ("a street", "kitchen"),
    "food": ("pizza", "a bowl of fruit"),
    "letter": ("a page of text", "sign"),
    "animal": ("dog", "a herd of cows"),
}


@dataclass(frozen=True)
class Published:
    """What was written: names to ids."""

    dataset: str
    run: int
    encoder: str
    components: dict[str, int]
    subjects: dict[str, int]
    regions: dict[str, int]


def write_table(path: Path, *, dimension: int = 8, seed: int = 0) -> Path:
    """A table of words for a ``vectors:`` encoder: six concepts on a narrow cone."""
    random = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *range(dimension)])
        for axis, concept in enumerate(CONCEPTS, start=1):
            for word in (concept, *SYNONYMS[concept]):
                vector = 0.15 * random.standard_normal(dimension)
                vector[0] += CONE
                vector[axis] += 1
                writer.writerow([word, *vector])
    return path


def publish(
    session: Session,
    spec: str,
    store: ArtefactStore,
    *,
    slug: str = "lab-a",
    mni: bool = True,
    method: str = "masks",
) -> Published:
    """Write a dataset of two participants and make a run of six concepts its current one.

    Each concept's vector is the direction of its word, and its mask the voxels of one region.
    """
    encoder = load_encoder(spec)
    space = register_encoder(session, encoder, spec)
    dataset = _dataset(slug)
    session.add(dataset)
    session.flush()
    regions = {name: _region(dataset.id, name) for name in REGIONS}
    session.add_all(regions.values())
    stimuli = [
        models.Stimulus(
            dataset_id=dataset.id, key=f"{concept}-1", shared=True, fold="test", captions=[concept]
        )
        for concept in CONCEPTS
    ]
    session.add_all(stimuli)
    run = models.Run(
        dataset_id=dataset.id,
        encoder_id=space.id,
        key=f"key of {slug}",
        method=method,
        configuration={"components": len(CONCEPTS)},
        code_version="0.1.0",
        seed=7,
        device="cpu",
        timings={"train": 1.5},
        reproducible=True,
        metrics={
            "top1": 0.5,
            "decoders": {
                label: {"top1": 0.5, "top1_interval": [0.4, 0.6], "against_ridge": AGAINST_RIDGE}
                for label in SUBJECTS
            },
            "stability": {
                "cosine": {"runner_up": CHANCE["cosine"]},
                "dice": {"others": CHANCE["dice"]},
            },
        },
        parents={},
    )
    session.add(run)
    session.flush()
    vectors = centre(encoder.encode_texts(CONCEPTS), space.text_mean)
    terms = nearest_terms(session, vectors, space, 3)
    components = [
        models.Component(
            run_id=run.id,
            encoder_id=space.id,
            index=index,
            label=", ".join(terms[index]),
            terms=terms[index],
            negations=[NEGATION_OF[concept]],
            vector=vectors[index],
            **_claims(concept),
            p_value=0.001 * (index + 1) if concept != UNSHARED else 0.2,
            q_value=0.002 * (index + 1) if concept != UNSHARED else 0.2,
            specific_p=0.4 if concept == "house" else 0.003,
            specific_q=0.4 if concept == "house" else 0.005,
            agreement=None if concept == UNSHARED else 0.6,
            agreement_p={"food": 0.3, UNSHARED: None}.get(concept, 0.01),
            agreement_q={"food": 0.3, UNSHARED: None}.get(concept, 0.02),
            start_cosine=0.15,
            stability_cosine=STABILITY["cosine"],
            stability_dice=None if concept == UNMASKED else STABILITY["dice"],
            stability_seeds=STABILITY["seeds"],
            stability_chance=STABILITY["chance"],
        )
        for index, concept in enumerate(CONCEPTS)
    ]
    session.add_all(components)
    session.flush()
    subjects = {
        label: _subject(session, dataset.id, run, label, components, regions, store, mni)
        for label in SUBJECTS
    }
    for index, component in enumerate(components):
        session.add(
            models.ComponentNegation(
                component_id=component.id,
                rank=1,
                stimulus_id=stimuli[CONCEPTS.index(NEGATION_OF[CONCEPTS[index]])].id,
                similarity=-0.4,
            )
        )
        for rank, which in ((1, index), (2, index - 1), (-1, index - 3), (-2, index - 2)):
            session.add(
                models.ComponentStimulus(
                    component_id=component.id,
                    rank=rank,
                    stimulus_id=stimuli[which].id,
                    score=1.0 / rank,
                )
            )
    dataset.current_run_id = run.id
    session.flush()
    return Published(
        dataset=slug,
        run=run.id,
        encoder=space.name,
        components=dict(zip(CONCEPTS, (each.id for each in components), strict=True)),
        subjects=subjects,
        regions={name: region.id for name, region in regions.items()},
    )


def _claims(concept: str) -> dict[str, Any]:
    verdicts, reasons = VERDICTS[concept], REASONS[concept]
    prevalence, low, high = PREVALENCE.get(concept, (None, None, None))
    return {
        **dict(zip(CLAIMS, verdicts, strict=True)),
        "shared": False if False in verdicts else None if None in verdicts else True,
        "reason": next(iter(reasons.values()), None),
        "reasons": reasons,
        "replicated": None if prevalence is None else round(2 * prevalence),
        "prevalence": prevalence,
        "prevalence_low": low,
        "prevalence_high": high,
    }


def _dataset(slug: str) -> models.Dataset:
    return models.Dataset(
        slug=slug,
        title=f"Pictures in {slug}",
        layout="manifest",
        source_uri=f"/data/{slug}",
        licence="CC0",
        citation="Nobody, 2024",
        fingerprint=f"fingerprint of {slug}",
        configuration={},
    )


def _region(dataset: int, name: str) -> models.Region:
    return models.Region(dataset_id=dataset, atlas=ATLAS, name=name)


def _subject(
    session: Session,
    dataset: int,
    run: models.Run,
    label: str,
    components: list[models.Component],
    regions: dict[str, models.Region],
    store: ArtefactStore,
    mni: bool,
) -> int:
    random = np.random.default_rng(SUBJECTS.index(label))
    number = len(REGIONS) * VOXELS_A_REGION
    betas = store.put({"betas": random.standard_normal((4, number)).astype(np.float32)})
    subject = models.Subject(
        dataset_id=dataset,
        label=label,
        grid=[len(REGIONS), VOXELS_A_REGION, 1],
        affine=np.diag([2.0, 2.0, 2.0, 1.0]).ravel().tolist(),
        n_trials=4,
        n_sessions=1,
        report={},
        artefacts={"sessions": [betas.model_dump()]},
    )
    session.add(subject)
    session.flush()
    weights = store.put({"weights": random.standard_normal((number, 8)).astype(np.float32)})
    masks = store.put({"soft": random.random((len(components), number)).astype(np.float32)})
    session.add(
        models.Decoder(
            run_id=run.id,
            subject_id=subject.id,
            encoder_id=run.encoder_id,
            kind="linear",
            metrics={"top1": 0.5},
            artefact_uri=f"{store.url}/{weights.path}",
            artefact_sha256=weights.sha256,
            masks_sha256=masks.sha256,
        )
    )
    i, j = (each.ravel() for each in np.indices((len(REGIONS), VOXELS_A_REGION)))
    place = {"x": 2.0 * i, "y": 2.0 * j, "z": np.zeros(number)}
    copy_rows(
        session,
        models.Voxel,
        {"subject_id": subject.id, "index": np.arange(number), "i": i, "j": j, "k": 0 * i}
        | place
        | {f"mni_{axis}": value - 40 if mni else None for axis, value in place.items()}
        | {"noise_ceiling": np.full(number, 20.0)},
    )
    ids = list(
        session.scalars(
            select(models.Voxel.id)
            .where(models.Voxel.subject_id == subject.id)
            .order_by(models.Voxel.index)
        )
    )
    voxels = np.array(ids).reshape(len(REGIONS), VOXELS_A_REGION)
    copy_rows(
        session,
        models.VoxelRegion,
        {
            "voxel_id": ids,
            "region_id": np.repeat([each.id for each in regions.values()], VOXELS_A_REGION),
        },
    )
    copy_rows(
        session,
        models.VoxelVector,
        {
            "run_id": run.id,
            "subject_id": subject.id,
            "index": np.arange(number),
            "encoder_id": run.encoder_id,
            "vector": np.repeat([each.vector for each in components], VOXELS_A_REGION, axis=0),
        },
    )
    # Of all voxels; other numbers are drawn as before.
    chance = np.random.default_rng(100 + SUBJECTS.index(label))
    soft = chance.uniform(0, 0.4, (len(components), number))
    for own, component in enumerate(components):
        soft[own, own * VOXELS_A_REGION : (own + 1) * VOXELS_A_REGION] = WEIGHTS
        located = run.method == "masks" and CONCEPTS[own] != UNLOCATED
        decodes = not (CONCEPTS[own] == UNSHARED and label == SUBJECTS[1])
        session.add(
            models.ComponentSubject(
                component_id=component.id,
                subject_id=subject.id,
                r_unmasked=0.5,
                r_soft=0.45,
                r_hard=0.4,
                r_low=0.3,
                r_high=0.5,
                r_normalised=0.8,
                p_unmasked=0.002,
                p_soft=0.003,
                p_value=0.001 if decodes else 0.8,
                q_value=0.002 if decodes else 0.9,
                specific_p=0.004,
                replication_r=0.35 if CONCEPTS[own] in PREVALENCE else None,
                replication_p=0.005 if CONCEPTS[own] in PREVALENCE else None,
                penalty=1.0,
                n_voxels=VOXELS_A_REGION,
                n_needed=N_NEEDED if located else None,
                response_sign=(-1 if CONCEPTS[own] == LESS else 1) if located else None,
                peak_voxel_id=int(voxels[own, 0]),
                decodes=decodes,
            )
        )
        session.flush()
        copy_rows(
            session,
            models.ComponentVoxel,
            {
                "component_id": component.id,
                "voxel_id": voxels[own].tolist(),
                "weight": WEIGHTS,
                "needed": list(NEEDED) if located else None,
            },
        )
        needed = np.zeros((1, number))
        needed[0, own * VOXELS_A_REGION : (own + 1) * VOXELS_A_REGION] = NEEDED
        copy_rows(
            session,
            models.ComponentMap,
            {
                "component_id": [component.id],
                "subject_id": subject.id,
                "voxel_id": np.array([ids]),
                "weight": soft[own : own + 1],
                "needed": needed if located else None,
                "pattern": chance.standard_normal((1, number)),
            },
        )
        aucs = [
            float(random.uniform(0.9, 0.99) if at == own else random.uniform(0.3, 0.6))
            for at in range(len(regions))
        ]
        session.add_all(
            models.ComponentRegion(
                component_id=component.id,
                subject_id=subject.id,
                region_id=region.id,
                auc=aucs[at],
                auc_low=aucs[at] - 0.05,
                auc_high=min(1.0, aucs[at] + 0.05),
                dice=1.0 if at == own else 0.0,
                p_value=0.001 if at == own else 0.7,
                q_value=0.004 if at == own else 0.8,
                n_voxels=VOXELS_A_REGION if at == own else 0,
                peak_voxel_id=int(voxels[own, 0]) if at == own else None,
            )
            for at, region in enumerate(regions.values())
        )
    _network(session, subject.id, dict(zip(CONCEPTS, components, strict=True)))
    session.flush()
    return subject.id


def _network(session: Session, subject: int, components: dict[str, models.Component]) -> None:
    strength = dict.fromkeys(CONCEPTS, 0.0)
    for (first, second), (dice, p, q, cosine) in LINKS.items():
        weight = (dice + max(cosine, 0)) / 2
        strength[first] += weight
        strength[second] += weight
        session.add(
            models.ComponentEdge(
                component_a_id=components[first].id,
                component_b_id=components[second].id,
                subject_id=subject,
                dice=dice,
                p_value=p,
                q_value=q,
                cosine=cosine,
                weight=weight,
            )
        )
    session.add_all(
        models.ComponentCommunity(
            component_id=components[concept].id,
            subject_id=subject,
            community=number,
            strength=strength[concept],
        )
        for number, members in enumerate(COMMUNITIES, start=1)
        for concept in members
    )


def bring_to_a_surface(session: Session, mesh: str = "fsLR_den-32k") -> int:
    """Lay all voxels that are published on a mesh, half of the regions in each hemisphere.

    Returns
    -------
    int
        Vertices of a hemisphere. The voxel (i, j) becomes vertex (i // 2) * VOXELS_A_REGION + j
        of hemisphere i % 2.
    """
    vertices = (len(REGIONS) + 1) // 2 * VOXELS_A_REGION + 3
    session.execute(update(models.Subject).values(affine=None, surface=mesh, grid=[2, vertices, 1]))
    vertex = func.div(models.Voxel.i, 2) * VOXELS_A_REGION + models.Voxel.j
    session.execute(update(models.Voxel).values(i=models.Voxel.i % 2, j=vertex))
    session.commit()
    return vertices
