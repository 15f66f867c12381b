"""The demo cohort's planted truth: for tests to judge recovery by, read by no stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from app.errors import InputError
from flows.demo.concepts import CONCEPTS

TRUTH_FILE = "truth.json"


@dataclass(frozen=True)
class PlantedConcept:
    """One planted concept.

    Attributes
    ----------
    name : str
    kind : {"shared", "single"}
    participants : tuple of str
        Labels of those who carry it.
    query : str
        Words to ask for it with, none of which its captions use.
    regions : tuple of (atlas, region name)
        Empty where it lies in no named region.
    responds : {"more", "less"}
        Whether its voxels respond more or less to what shows it than to other stimuli.
    voxels : dict
        Participant -> how many voxels carry it, of those in `participants`.
    """

    name: str
    kind: Literal["shared", "single"]
    participants: tuple[str, ...]
    query: str
    regions: tuple[tuple[str, str], ...]
    responds: Literal["more", "less"]
    voxels: dict[str, int]


@dataclass(frozen=True)
class Truth:
    """What a cohort was planted with.

    Attributes
    ----------
    concepts : tuple of PlantedConcept
    planted : dict
        Participant -> (C, X, Y, Z) bool, in the order of ``concepts``.
    shuffled : bool
        Whether stimuli were shuffled against responses, so that nothing can be recovered.
    """

    concepts: tuple[PlantedConcept, ...]
    planted: dict[str, np.ndarray]
    shuffled: bool


def write_truth(
    folder: Path,
    planted: Mapping[str, np.ndarray],
    *,
    shuffled: bool,
    responses: Sequence[Literal["more", "less"]] | None = None,
) -> None:
    """Write the truth of a cohort into an existing folder.

    Parameters
    ----------
    folder : Path
    planted : mapping
        Participant -> (C, X, Y, Z) bool in the order of ``CONCEPTS``.
    shuffled : bool
    responses : sequence of {"more", "less"}, optional
        How voxels respond to each of ``CONCEPTS``. Without, the file tells neither responses,
        which are all more, nor sizes.
    """
    labels = sorted(planted)
    concepts = []
    for row, concept in enumerate(CONCEPTS):
        carriers = [label for label in labels if planted[label][row].any()]
        told: dict[str, Any] = {
            "name": concept.name,
            "kind": "shared" if concept.participant is None else "single",
            "participants": carriers,
            "query": concept.query,
            "regions": [list(region) for region in concept.regions],
        }
        if responses is not None:
            told["responds"] = responses[row]
            told["voxels"] = {label: int(planted[label][row].sum()) for label in carriers}
        concepts.append(told)
    document = {"participants": labels, "shuffled": shuffled, "concepts": concepts}
    (folder / TRUTH_FILE).write_text(json.dumps(document, indent=2) + "\n")
    for label in labels:
        np.savez_compressed(folder / f"{label}.npz", planted=planted[label])


def load_truth(folder: Path) -> Truth:
    """Read a cohort's truth.

    Raises
    ------
    InputError
        The folder holds no truth.
    """
    path = folder / TRUTH_FILE
    if not path.is_file():
        raise InputError(f"no truth in {folder}", hint="write the demo cohort first")
    document = json.loads(path.read_text())
    planted = {}
    for label in document["participants"]:
        with np.load(folder / f"{label}.npz", allow_pickle=False) as arrays:
            planted[label] = arrays["planted"]
    concepts = tuple(
        PlantedConcept(
            name=each["name"],
            kind=each["kind"],
            participants=tuple(each["participants"]),
            query=each["query"],
            regions=tuple((atlas, name) for atlas, name in each["regions"]),
            responds=each.get("responds", "more"),
            voxels={label: int(planted[label][row].sum()) for label in each["participants"]},
        )
        for row, each in enumerate(document["concepts"])
    )
    return Truth(concepts, planted, document["shuffled"])
