"""Cohorts as files."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from tests.support.cohorts.records import PlantedCohort, PlantedParticipant

_TEXTS = ("name", "stimuli", "captions", "concepts", "shuffled", "terms", "truth")
_PLAIN = ("label", "shape", "region_names")


def save_cohort(cohort: PlantedCohort, path: Path) -> Path:
    """Write a cohort as .npz, responses in half precision; nothing in it is a pickle."""
    arrays = {
        one.name: getattr(cohort, one.name)
        for one in fields(cohort)
        if one.name not in (*_TEXTS, "participants")
    }
    about = {name: getattr(cohort, name) for name in _TEXTS}
    about["participants"] = []
    for number, participant in enumerate(cohort.participants):
        about["participants"].append({name: getattr(participant, name) for name in _PLAIN})
        for one in fields(participant):
            if one.name not in _PLAIN:
                arrays[f"{number}.{one.name}"] = getattr(participant, one.name)
        arrays[f"{number}.x"] = participant.x.astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, about=np.array(json.dumps(about)), **arrays)
    return path


def load_cohort(path: Path) -> PlantedCohort:
    """Read a cohort; its responses have come through half precision."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads(str(arrays.pop("about")))
    people = []
    for number, plain in enumerate(about.pop("participants")):
        own = {
            name.removeprefix(f"{number}."): arrays.pop(name)
            for name in list(arrays)
            if name.startswith(f"{number}.")
        }
        own["x"] = own["x"].astype(np.float32)
        people.append(
            PlantedParticipant(
                label=plain["label"],
                shape=tuple(plain["shape"]),
                region_names=tuple((atlas, name) for atlas, name in plain["region_names"]),
                **own,
            )
        )
    for name in ("stimuli", "captions", "concepts", "terms"):
        about[name] = tuple(about[name])
    return PlantedCohort(participants=tuple(people), **arrays, **about)
