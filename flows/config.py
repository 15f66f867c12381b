"""What a run and an ingestion can be told; `--profile published` holds the papers' values."""

import math
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from app.errors import InputError
from app.terms.prompts import clean_text
from app.texts import read_text
from flows.science.decoder import PUBLISHED, DecoderConfig
from flows.science.masks import MaskConfig
from flows.science.network import NetworkConfig
from flows.science.precision import Precision
from flows.science.reduction import ReductionConfig
from flows.science.voxel_clusters import ClusterConfig

Method = Literal["masks", "clusters"]
Start = Literal["auto", "ridge", "drawn"]
Config = TypeVar("Config", bound=BaseModel)

# Groups of stimuli, starts and partitions of voxels are drawn by seeds of their own, counted up
# from a run's: seeds that lie closer would share draws, and agree for that reason alone.
SEED_STRIDE = 1000


class IngestConfig(BaseModel):
    """How a dataset is split, standardised and thinned out (METHOD.md 0).

    Attributes
    ----------
    n_test, n_validation : int, optional
        Images per participant in the test and the validation fold, where the dataset does not
        bring folds of its own. By default 1,000 and 1,000, where that leaves every participant at
        least half of its images to train on; else a quarter and an eighth of the images of the
        participant with the fewest.
    folds : {"auto", "single", "rotated"}
        One split, or every stimulus tested in turn (`flows.science.splits.rotation_groups`). By
        default folds rotate where no `n_test` is given and one split, the dataset's own too,
        would test fewer than 30 stimuli of some participant.
    noise_ceiling : float
        Percent that a voxel's noise ceiling must exceed. Of no account where folds rotate: every
        trial is a test trial once, and test trials may not choose voxels.
    zscore : {"train", "all"}
        Trials that a session's mean and standard deviation come from; all where folds rotate.
    seed : int
        Of the split's draw.
    keep_folds : bool
        Whether stimuli keep the folds that they have in the catalog, where the dataset was
        ingested with this seed, and with these numbers as far as they are given: what was held
        out stays held out while a dataset grows, and sessions that are there already are not
        read again.
    source : dict
        Options of the source, such as ``sessions`` or ``captions``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_test: int | None = Field(default=None, ge=2)
    n_validation: int | None = Field(default=None, ge=2)
    folds: Literal["auto", "single", "rotated"] = "auto"
    noise_ceiling: float = Field(default=5.0, ge=0, lt=100)
    zscore: Literal["train", "all"] = "train"
    seed: int = 0
    keep_folds: bool = True
    source: dict[str, Any] = Field(default_factory=dict)


class StatisticsConfig(BaseModel):
    """Permutations and levels.

    Attributes
    ----------
    permutations : int
        Of stimuli against responses, of a region's place, and of pairings of participants.
    level : float
        Largest false discovery rate at which a component counts as decodable or shared, and an
        overlap of two masks as more than chance.
    participants : float
        Share of the participants that must decode a component for it to be shared.
    stimuli : int
        Stimuli kept for each component: best, worst, and farthest.
    mixtures : int
        Random mixtures of the run's components that each of them is held against.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    permutations: int = Field(default=1000, ge=99)
    level: float = Field(default=0.05, gt=0, lt=1)
    participants: float = Field(default=0.5, gt=0, le=1)
    stimuli: int = Field(default=10, ge=1)
    mixtures: int = Field(default=1000, ge=99)

    @model_validator(mode="after")
    def _level_can_be_reached(self) -> "StatisticsConfig":
        if (1 + self.permutations) * self.level < 1:
            raise ValueError(
                f"no p of {self.permutations} permutations can reach the level {self.level:g}: "
                f"permutations must be at least {math.ceil(1 / self.level) - 1}"
            )
        return self


class Probe(BaseModel):
    """A category of a localiser, and the words that stand for it.

    Attributes
    ----------
    category : str
    prompt : str
        The component is the one that these words find; its regions have no say in the choice.
    atlas : str
        The atlas whose regions the component's masks are held against.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    category: str = Field(min_length=1)
    prompt: str
    atlas: str = Field(min_length=1)

    @field_validator("prompt")
    @classmethod
    def _can_be_asked(cls, prompt: str) -> str:
        return clean_text(prompt)


class ValidationConfig(BaseModel):
    """What masks are held against, to see whether they lie where other studies found a category.

    Attributes
    ----------
    probes : tuple of Probe
        The defaults are the categories of NSD's functional localiser; their prompts were chosen
        before any result was seen, and are not to be tuned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    probes: tuple[Probe, ...] = (
        Probe(category="faces", prompt="a face", atlas="floc-faces"),
        Probe(category="bodies", prompt="a body", atlas="floc-bodies"),
        Probe(category="places", prompt="a place", atlas="floc-places"),
        Probe(category="words", prompt="written words", atlas="floc-words"),
    )

    @field_validator("probes")
    @classmethod
    def _one_a_category(cls, probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
        categories = [probe.category for probe in probes]
        if twice := {name for name in categories if categories.count(name) > 1}:
            raise ValueError(f"the category {min(twice)} stands twice")
        return probes


class StabilityConfig(BaseModel):
    """How far other seeds, other stimuli and other participants find the same.

    Attributes
    ----------
    seeds : int
        The run's own seed and as many further ones, for each of which components and masks are
        sought again on stimuli drawn with replacement; 1 measures nothing.
    cosine : float
        Of its scores over the stimuli, from which a component that is sought again is the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int = Field(default=2, ge=1)
    cosine: float = Field(default=0.8, gt=0, lt=1)


class RunConfig(BaseModel):
    """Everything that determines a run's results, beside the data.

    Attributes
    ----------
    encoder : str
        As `app.embedding.load_encoder` takes it; ``"auto"`` is one that the dataset's stimuli can
        be embedded with (`flows.encoder_choice`).
    method : {"masks", "clusters"}
        How components and the voxels that carry them are found: directions that predictions are
        reduced to, with a mask of each (the 2023 paper), or clusters of voxels that several
        participants' decoders read alike (the 2025 paper). `reduction` and `masks` are of the one,
        `clusters` of the other.
    seed : int
    centred : bool
        Whether the stimuli's mean is taken off their vectors before anything else: one space for
        decoders, components, masks, statistics and labels. What all stimuli have in common tells
        no two apart, and CLIP's vectors lie on a narrow cone around it.
    start : {"auto", "ridge", "drawn"}
        What a linear decoder's training starts from: the ridge solution, kept as it is unless
        training betters it on held-out stimuli by more than twice its standard error ("auto") or
        at all ("ridge"), or a random draw, as published. An MLP starts from a draw.
    precision : {"float32", "bfloat16"}
        Number type of the large products of training and masks. bfloat16 is quicker on GPUs that
        have it, and changes results within the bounds that docs/method.md states.
    decoder, reduction, masks, clusters, network, statistics, validation, stability
        Settings of the stages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = "auto"
    method: Method = "masks"
    seed: int = 0
    centred: bool = True
    start: Start = "auto"
    precision: Precision = "float32"
    decoder: DecoderConfig = DecoderConfig()
    reduction: ReductionConfig = ReductionConfig()
    masks: MaskConfig = MaskConfig()
    clusters: ClusterConfig = ClusterConfig()
    network: NetworkConfig = NetworkConfig()
    statistics: StatisticsConfig = StatisticsConfig()
    validation: ValidationConfig = ValidationConfig()
    stability: StabilityConfig = StabilityConfig()

    @field_validator("decoder", mode="before")
    @classmethod
    def _published_for_its_kind(cls, value: object) -> object:
        # The MLP was published with settings of its own, and has no ridge solution to refine.
        if not isinstance(value, dict) or value.get("kind") != "mlp":
            return value
        return asdict(PUBLISHED["mlp"]) | value

    @property
    def further_seeds(self) -> list[int]:
        """The seeds beside the run's own: ``seed + 1000``, ``seed + 2000`` and so on."""
        return [self.seed + SEED_STRIDE * number for number in range(1, self.stability.seeds)]

    @property
    def drawn(self) -> bool:
        """Whether decoders start from a draw, so that those of different seeds differ."""
        return self.start == "drawn" or self.decoder.kind != "linear"

    @model_validator(mode="after")
    def _clusters_of_weights(self) -> "RunConfig":
        if self.method == "clusters" and self.decoder.kind != "linear":
            raise InputError(
                f"method clusters cannot use a decoder of kind {self.decoder.kind}: it compares "
                "voxels by the weights that a linear one has for each, or by their patterns",
                hint="set decoder.kind to linear, or use method masks",
            )
        return self


def read_config(kind: type[Config], file: Path | None, settings: list[str]) -> Config:
    """A configuration from a TOML file and ``name.part=value`` settings, which come last.

    Raises
    ------
    InputError
        The file is no TOML, or a name or value is none that `kind` knows.
    """
    return checked(kind, read_values(file, settings), str(file) if file else "--set")


def read_values(file: Path | None, settings: list[str]) -> dict[str, Any]:
    """What a TOML file and ``name.part=value`` settings say, before anybody has checked it.

    Raises
    ------
    InputError
        The file is no TOML, or a setting has no value.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(read_text(file))
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{file}: {error}", hint="give a readable TOML file") from error
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: no value", hint="write --set name=value")
        *parents, leaf = name.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        try:
            place[leaf] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            place[leaf] = value
    return values


def checked(kind: type[Config], values: dict[str, Any], place: str) -> Config:
    """A configuration from values.

    Parameters
    ----------
    kind : type
    values : dict
    place : str
        Where they come from, for an error that concerns them all.

    Raises
    ------
    InputError
        A name or value is none that `kind` knows.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or place
        raise InputError(
            f"{where}: {first['msg']}", hint=f"it is one of {', '.join(kind.model_fields)}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(str(error)) from error
