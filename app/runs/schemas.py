"""What is told about runs."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class OfRun(BaseModel):
    """What an answer out of a run names."""

    dataset: str
    run: int
    encoder: str
    method: str = Field(description="How the run found its concepts: masks or clusters.")


class RunAnswer(BaseModel):
    """One published run."""

    run: int
    dataset: str
    current: bool
    encoder: str
    method: str
    components: int
    shared: int = Field(description="Components that participants share.")
    not_measured: int = Field(
        description="Components of which it is not known whether participants share them."
    )
    reproducible: bool | None = Field(
        description="Whether its components are found again above chance; false only where it was "
        "published all the same, null where that was not measured."
    )
    seed: int
    device: str
    code_version: str
    published_at: datetime
    metrics: dict[str, Any] = Field(
        description="What was measured of the run, by name; `decoders` has each participant's "
        "top-k accuracies with the 95 % interval of top-1, and the paired test against ridge."
    )


class Claimed(BaseModel):
    """Of how many concepts a claim holds, and why not of the others."""

    holds: int
    fails: int
    not_measured: int
    reasons: dict[str, int] = Field(
        description="Of those of which it does not hold or was not measured, how many for which "
        "reason."
    )


class ConceptCounts(BaseModel):
    """What came of a run's concepts."""

    found: int
    carried: int | None = Field(
        description="Concepts that some participant's mask decodes; null where none is known to, "
        "and not all were tested."
    )
    decodable: Claimed
    specific: Claimed
    agreeing: Claimed
    stable: Claimed
    shared: Claimed = Field(
        description="Whether all four claims hold; a concept's reason is that of the first claim "
        "that fails, or else was not measured."
    )
    found_again: int | None = Field(
        description="How many are found again above chance by further seeds; null where that was "
        "not measured."
    )
    seeds: int | None = Field(description="How many further seeds sought them.")
    cosine: float | None = Field(
        description="Cosine of their scores with those of their partners of other seeds, mean."
    )
    cosine_by_chance: float | None = Field(
        description="The same of the next best matching, which is what chance gives."
    )
    start_cosine: float | None = Field(
        description="Largest cosine of each with a direction that the search began with, mean: "
        "near 1, the search has hardly moved."
    )


class TrialCounts(BaseModel):
    """Trials of a participant."""

    development: int = Field(description="Trials that decoders and masks were fitted on.")
    test: int = Field(description="Trials that they were tested on; of all rotations together.")


class VoxelCounts(BaseModel):
    """Which voxels of a participant a run used, as ingestion chose them."""

    in_mask: int
    kept: int
    dropped: dict[str, int] = Field(description="Voxels that were left out, by reason.")
    rule: str | None = Field(description="Which voxels are kept, in words.")


class NoiseCeiling(BaseModel):
    """How much of the responses' variance pictures can explain, in percent."""

    median: float = Field(description="Over the voxels that were kept.")
    threshold: float | None = Field(description="The setting noise_ceiling.")
    above: float | None = Field(
        description="Share of the usable voxels whose noise ceiling is above the threshold."
    )


class Accuracy(BaseModel):
    """How often a decoder, and ridge beside it, finds a test trial's stimulus among the nearest."""

    decoder: float
    low: float | None = Field(description="Lower end of the 95 % interval, over stimuli.")
    high: float | None
    ridge: float | None
    chance: float | None = Field(description="What guessing gives; null where it is not known.")


class AgainstRidge(BaseModel):
    """The decoder's top-1 against ridge's, on the same test trials."""

    gained: int = Field(description="Trials that it finds and ridge does not.")
    lost: int
    p_value: float = Field(description="Exact McNemar p.")
    difference: float
    low: float = Field(description="Lower end of the difference's 95 % interval, over stimuli.")
    high: float


class DecoderReport(BaseModel):
    """How a participant's decoder does on test trials."""

    pool: int | None = Field(description="Distinct vectors that a trial's own is sought among.")
    top: dict[str, Accuracy] = Field(description="By depth: top1, top5, top10, top50.")
    pairwise: Accuracy | None = Field(
        description="How often a prediction is nearer to its own stimulus than to another one; "
        "chance is 0.5, whatever the pool. Ridge's was not measured."
    )
    above_chance: bool | None = Field(
        description="Whether the interval of the pairwise accuracy, or where that was not measured "
        "that of top-1, lies above chance; null where neither was."
    )
    against_ridge: AgainstRidge | None


class LearningPoint(BaseModel):
    """How ridge does that has seen a share of the development trials."""

    share: float = Field(description="Of the stimuli, and about that of their trials.")
    trials: int
    stimuli: int
    accuracy: float | None = Field(
        description="Pairwise accuracy of trials whose stimulus was left out; chance is 0.5."
    )
    low: float | None = Field(description="Lower end of the 95 % interval, over stimuli.")
    high: float | None
    reason: str | None = Field(description="Why it was not measured.")


class MaskCounts(BaseModel):
    """Masks of a participant."""

    feasible: int = Field(description="Concepts that the participant has a mask of.")
    decoding: int = Field(description="Masks that decode their concept on test trials.")
    of: int = Field(description="Concepts.")
    without: dict[str, int] = Field(description="Concepts without a mask, by reason.")
    untested: dict[str, int] = Field(description="Masks that were not tested, by reason.")


class ParticipantReport(BaseModel):
    """What a run can tell of one participant; what is null has its reason in `missing`."""

    subject: str
    trials: TrialCounts | None
    voxels: VoxelCounts | None
    noise_ceiling: NoiseCeiling | None
    decoder: DecoderReport | None
    learning_curve: list[LearningPoint] | None
    masks: MaskCounts
    missing: dict[str, str] = Field(description="Why a field is null, by its name.")


class Judgement(BaseModel):
    """What a run is worth, in words and in numbers."""

    verdict: str = Field(description="What came of it, in one sentence.")
    warnings: list[str] = Field(description="What to mind, a sentence each.")
    concepts: ConceptCounts
    participants: list[ParticipantReport]

    @property
    def found_nothing(self) -> bool:
        """Whether no component was found, or none that any participant carries."""
        return self.concepts.carried == 0


class RunReport(RunAnswer, Judgement):
    """One published run, judged."""

    held_back: str | None = Field(
        description="Why it was not made current when it was published; null where it was."
    )


class RunList(BaseModel):
    """Published runs, newest first within each dataset."""

    runs: list[RunAnswer]
