"""The keys of `dataset.toml`; docs/manifest.md explains them with an example."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from app.errors import InputError
from app.texts import one_form, read_text
from flows.sources.fetching import as_spelt, content_name, require_file
from flows.sources.mirrors import is_in_mirror
from flows.sources.templates import MNI152, NATIVE, is_template
from flows.sources.validation import validated

_Name = Annotated[str, Field(min_length=1)]
# Names of files are as they are; what others refer to has one form.
_Label = Annotated[str, Field(min_length=1), AfterValidator(one_form)]
_Files = _Name | Annotated[list[_Name], Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetTable(_Table):
    """`[dataset]`: what the catalog says about the data set."""

    slug: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    title: _Name
    licence: _Name
    citation: _Name


class StimuliTable(_Table):
    """`[stimuli]`: the CSV file of stimuli."""

    table: _Name


class ResponseTable(_Table):
    """`[timeseries]`: how time series become responses.

    Attributes
    ----------
    lag : int
        Volumes from a block's start to its response.
    unit : {"block", "volume"}
        One trial a block (the mean of its volumes), or one trial a volume.
    tr : float
        Seconds a volume; needed for `high_pass` alone.
    high_pass : float
        Hz; slower drifts are removed with the linear one.
    """

    lag: Annotated[int, Field(ge=0)]
    unit: Literal["block", "volume"] = "block"
    tr: Annotated[float, Field(gt=0)] | None = None
    high_pass: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _needs_tr(self) -> Self:
        if self.high_pass is not None and self.tr is None:
            raise ValueError("high_pass needs tr, the seconds of a volume")
        return self


class RegionTable(_Table):
    """One of `regions`: the label volume or volumes of an atlas."""

    atlas: _Label
    file: _Files
    labels: _Name | dict[str, int] | None = None

    @field_validator("labels")
    @classmethod
    def _one_name_a_value(cls, labels: str | dict[str, int] | None) -> str | dict[str, int] | None:
        if isinstance(labels, dict) and len(set(labels.values())) < len(labels):
            raise ValueError("two names have one value")
        return labels


class ParticipantTable(_Table):
    """One `[[participants]]`."""

    label: _Label
    mask: _Name
    trials: _Name
    betas: _Files | None = None
    timeseries: _Files | None = None
    volumes: _Name | None = None
    scale: float | None = None
    dataset: _Name = "/betas"
    axes: str | None = None
    regions: list[RegionTable] = []
    maps: dict[_Label, _Name] = {}
    mni: _Name | None = None
    space: str = NATIVE
    resample: bool = False

    @field_validator("space")
    @classmethod
    def _known_space(cls, space: str) -> str:
        if space not in (NATIVE, MNI152) and not is_template(space):
            raise ValueError(
                f'{space!r} is neither "native" nor "MNI" nor a template\'s name in BIDS, such as '
                "MNI152NLin2009cAsym or MNI305"
            )
        return space

    @field_validator("maps", mode="before")
    @classmethod
    def _one_map_a_name(cls, maps: object) -> object:
        if isinstance(maps, dict) and len({one_form(str(name)) for name in maps}) < len(maps):
            raise ValueError("two maps have one name, in two forms of Unicode (NFC, NFD)")
        return maps

    @field_validator("axes")
    @classmethod
    def _permutation(cls, axes: str | None) -> str | None:
        if axes is not None and "".join(sorted(axes)) not in ("TXYZ", "TV"):
            raise ValueError(f"{axes!r} is no order of the letters TXYZ or TV")
        return axes

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.betas is None) == (self.timeseries is None):
            raise ValueError("give either betas or timeseries")
        if self.betas is not None and self.volumes is not None:
            raise ValueError("volumes goes with timeseries")
        if self.timeseries is not None and self.scale is not None:
            raise ValueError("scale goes with betas: time series become percent by themselves")
        if self.mni is not None and self.space != NATIVE:
            raise ValueError(f'give either mni or space = "{self.space}"')
        atlases = [region.atlas for region in self.regions]
        if twice := {atlas for atlas in atlases if atlases.count(atlas) > 1}:
            raise ValueError(f"atlas {min(twice)} stands twice: list its files in one entry")
        return self


class Manifest(_Table):
    """The whole file."""

    dataset: DatasetTable
    stimuli: StimuliTable
    timeseries: ResponseTable | None = None
    participants: Annotated[list[ParticipantTable], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        labels = [participant.label for participant in self.participants]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(f"participant {min(twice)} stands twice")
        if self.timeseries is None and any(one.timeseries for one in self.participants):
            raise ValueError("participants with timeseries need a [timeseries] table")
        return self


def read_manifest(path: Path) -> Manifest:
    """`dataset.toml`, checked.

    Raises
    ------
    InputError
        The file is missing or no TOML, or a key is unknown, missing or wrong.
    """
    hint = "docs/manifest.md has every key and an example"
    try:
        require_file(path)
        content = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: no valid TOML: {error}", hint=hint) from error
    return validated(Manifest, content, where=str(path), hint=hint)


def resolve(folder: Path, name: str, *, absolute: bool = True) -> Path:
    """A path of the manifest: below its folder, or absolute where that is allowed.

    A name that is there in another form of Unicode alone is found.

    Raises
    ------
    InputError
        A relative path, or a link in it, leads out of the folder.
    """
    mirrored = is_in_mirror(folder)
    if Path(name).is_absolute() and absolute and not mirrored:
        return as_spelt(Path(name))
    # Links that stand for files lead where these are kept.
    path = as_spelt(Path(os.path.normpath(folder / name)))
    if content_name(path) is None:
        path = path.resolve()
    if not path.is_relative_to(folder):
        raise InputError(
            f"{folder}: path {name!r} leads out of this folder",
            hint="write the absolute path"
            if absolute and not mirrored
            else "move the file into the folder",
        )
    return path
