"""What all parts of a run need: the dataset, what was configured, and where it is worked on."""

from dataclasses import dataclass
from typing import Any

from flows.catalog import DatasetTables
from flows.config import RunConfig
from flows.science.splits import rotated_folds

Json = dict[str, Any]


@dataclass(frozen=True)
class RunContext:
    """What all parts of a run need.

    Attributes
    ----------
    dataset : DatasetTables
    config : RunConfig
        Its encoder named.
    vectors : dict
        Reference to the stimuli's vectors, centred where the run is.
    tables : list of dict
        A participant each, reference to places and regions of the voxels.
    device : str
    """

    dataset: DatasetTables
    config: RunConfig
    vectors: Json
    tables: list[Json]
    device: str

    @property
    def labels(self) -> list[str]:
        """Participants."""
        return [subject.label for subject in self.dataset.subjects]

    @property
    def voxels(self) -> list[Json]:
        """References to the voxels that participants have, with their noise ceilings."""
        return [subject.artefacts["voxels"] for subject in self.dataset.subjects]


def fitting_folds(dataset: DatasetTables) -> list[str]:
    """Folds that components and masks are found with: of folds that rotate, everything is used."""
    return dataset.folds if dataset.rotation is None else ["train"] * len(dataset.keys)


def testing_folds(dataset: DatasetTables) -> list[list[str]]:
    """Folds of each rotation; one where folds do not rotate."""
    if dataset.rotation is None:
        return [dataset.folds]
    return [rotated_folds(dataset.rotation, group) for group in sorted(set(dataset.rotation))]
