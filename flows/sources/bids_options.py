"""What can be chosen when a BIDS derivative of betas is opened."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

BetaKind = Literal["statmap", "betas", "glmsingle"]


class BidsOptions(BaseModel):
    """Options of `flows.sources.bids.BidsSource`.

    Attributes
    ----------
    betas : {"statmap", "betas", "glmsingle"}
        Which files are the responses, where a derivative holds more than one kind.
    space : str
        Label of the space, "native" for files without one; needed where there are several.
    task : str
        Needed where there are several.
    entities : dict
        Values that the names of the betas must have, by pybids' names of entities
        (`{"desc": "typed"}`), where they choose one of several files of a run.
    stimulus_column : str
        The column of `events.tsv` that tells the stimulus. A row without a value there (`n/a`)
        is no trial.
    ignore : list of str
        Values of that column that are no trials either, such as "rest".
    sessions : list of str
        Labels of the sessions to read, numbered from 1 in this order; default: all, numbered by
        the number at the end of each label.
    participants : list of str
        Default: every `sub-*`.
    raw : path
        The data set that holds `events.tsv` files and `stimuli`; default: the derivative.
    resample : bool
        Whether an atlas that lies on other voxels than the betas is taken by the nearest one.
    slug, title, licence, citation : str
        Default: what `dataset_description.json` says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    betas: BetaKind | None = None
    space: str | None = None
    task: str | None = None
    entities: dict[str, str] = {}
    stimulus_column: Annotated[str, Field(min_length=1)] = "stim_file"
    ignore: list[str] = []
    sessions: Annotated[list[str], Field(min_length=1)] | None = None
    participants: list[str] | None = None
    raw: Path | None = None
    resample: bool = False
    slug: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] | None = None
    title: str | None = None
    licence: str | None = None
    citation: str | None = None

    @field_validator("entities")
    @classmethod
    def _run_without_zeros(cls, entities: dict[str, str]) -> dict[str, str]:
        return {key: v.lstrip("0") if key == "run" else v for key, v in entities.items()}
