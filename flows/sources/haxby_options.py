"""What can be chosen when nilearn's `haxby2001` is opened."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flows.sources.base import Fold
from flows.sources.manifest_schema import ResponseTable

_Runs = list[Annotated[int, Field(ge=0)]]
# Seconds a volume, as nilearn gives it (`t_r`).
_TR = 2.5


class HaxbyOptions(BaseModel):
    """Options of `flows.sources.haxby.HaxbySource`.

    Attributes
    ----------
    lag : int
        Volumes from a block's labels to its response. None by default: in this distribution the
        labels stand where the responses are.
    unit : {"block", "volume"}
        One trial a block (the mean of its volumes), or one trial a volume.
    high_pass : float
        Hz; slower drifts are removed with the linear one.
    test_runs, validation_runs : list of int
        Runs as in `labels.txt`, from 0; the others train.
    mask : {"brain", "vt"}
        Voxels to read: `mask.nii.gz`, or the participant's ventral temporal cortex
        (`mask4_vt.nii.gz`).
    participants : list of str
        Default: every `subjN` that has labels.
    slug, title, licence, citation : str
        What the catalog says; the licence is what nilearn's description says of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lag: Annotated[int, Field(ge=0)] = 0
    unit: Literal["block", "volume"] = "block"
    high_pass: Annotated[float, Field(gt=0)] | None = None
    test_runs: _Runs = [11]
    validation_runs: _Runs = [9, 10]
    mask: Literal["brain", "vt"] = "brain"
    participants: list[str] | None = None
    slug: str = "haxby"
    title: str = "Faces and objects in ventral temporal cortex"
    licence: str = "unknown (so says nilearn's description of haxby2001)"
    citation: str = (
        "Haxby, J. V., Gobbini, M. I., Furey, M. L., Ishai, A., Schouten, J. L. and Pietrini, P. "
        "Distributed and overlapping representations of faces and objects in ventral temporal "
        "cortex. Science 293, 2425-2430 (2001)."
    )

    @model_validator(mode="after")
    def _one_fold_a_run(self) -> Self:
        if twice := set(self.test_runs) & set(self.validation_runs):
            raise ValueError(f"run {min(twice)} is in test_runs and in validation_runs")
        return self

    @property
    def response(self) -> ResponseTable:
        """How time series become responses."""
        return ResponseTable(lag=self.lag, unit=self.unit, tr=_TR, high_pass=self.high_pass)

    @property
    def named_runs(self) -> set[int]:
        """Runs that have a fold of their own."""
        return {*self.test_runs, *self.validation_runs}

    def fold_of(self, run: int) -> Fold:
        """The fold of a run's blocks."""
        if run in self.test_runs:
            return "test"
        return "validation" if run in self.validation_runs else "train"
