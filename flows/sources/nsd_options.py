"""What can be chosen when an NSD tree is opened."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Number = Annotated[int, Field(ge=1)]
SessionChoice = _Number | Annotated[list[_Number], Field(min_length=1)]


class NsdOptions(BaseModel):
    """Options of `flows.sources.nsd.NsdSource`.

    Attributes
    ----------
    sessions : int, list of int, or either by participant
        A count n means sessions 1 to n; default: all on disk, which must have no gap.
    betas : str
        Space and preparation, a folder below `nsddata_betas/ppdata/subjXX`.
    captions : path or list of paths
        COCO annotation files; default: those in
        `nsddata_stimuli/stimuli/nsd/annotations`, where there are any.
    participants : list of str
        Default: every `subjXX` below `nsddata_betas/ppdata`.
    atlases : list of str
        Names of ROI volumes to read; default: all.
    trials_per_session : int
    resample : bool
        Whether an atlas that lies on other voxels than the betas is taken by the nearest one.
    slug, title, licence, citation : str
        For a data set other than NSD that has NSD's layout.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sessions: SessionChoice | dict[str, SessionChoice] | None = None
    betas: str = "func1pt8mm/betas_fithrf_GLMdenoise_RR"
    captions: Path | list[Path] | None = None
    participants: list[str] | None = None
    atlases: list[str] | None = None
    trials_per_session: int = Field(750, ge=1)
    resample: bool = False
    slug: str = "nsd"
    title: str = "Natural Scenes Dataset"
    licence: str = "NSD Data Access Agreement (accepted by whoever fetched the data)"
    citation: str = (
        "Allen, E. J., St-Yves, G., Wu, Y. et al. A massive 7T fMRI dataset to bridge cognitive "
        "neuroscience and artificial intelligence. Nat Neurosci 25, 116-126 (2022)."
    )

    def sessions_of(self, participant: str, *, last: int) -> list[int]:
        """Numbers of the sessions to read, rising; `last` is the highest on disk."""
        choice = self.sessions
        if isinstance(choice, dict):
            choice = choice.get(participant)
        if isinstance(choice, list):
            return sorted(set(choice))
        return list(range(1, (choice or last) + 1))
