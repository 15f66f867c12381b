"""What is told about concepts."""

from typing import Literal

from pydantic import BaseModel, Field

from app.regions.schemas import Millimetres, RegionOverlap, Space
from app.runs.schemas import OfRun


class Stability(BaseModel):
    """How far other seeds find a concept: means over them, and over participants."""

    cosine: float | None = Field(description="With its partner of each other seed.")
    dice: float | None = Field(description="Of its masks with its partner's.")
    seeds: int = Field(description="Other seeds that found a partner of it.")


class StabilityChance(BaseModel):
    """What the run's stability is to be held against."""

    cosine: float | None = Field(
        description="Of the next best matching: the best chooses among high cosines too."
    )
    dice: float | None = Field(description="Of masks whose components are not matched.")


class ConceptSummary(BaseModel):
    """A concept in a list."""

    id: int
    label: str
    terms: list[str]
    dataset: str
    run: int
    encoder: str
    method: str
    shared: bool
    subjects: list[str] = Field(description="Participants whose brains decode it.")
    p_value: float | None
    q_value: float | None
    reason: str | None
    stability: Stability | None


class ConceptHit(BaseModel):
    """A concept found by its nearness to something."""

    id: int
    label: str
    similarity: float = Field(description="Cosine, between -1 and 1.")
    direction: Literal["positive", "negative"]
    shared: bool
    subjects: list[str] = Field(description="Participants whose brains decode it.")
    p_value: float | None
    q_value: float | None
    stability: Stability | None


class SimilarConcept(ConceptHit):
    """A concept near to another one."""

    dataset: str
    run: int
    method: str


class NamedConcept(BaseModel):
    """The concept that is asked about."""

    id: int
    label: str


# Fields come in the order of the bases from the last one on: what was asked, then who answers.
class SimilarAnswer(OfRun, NamedConcept):
    """The concepts nearest to one concept, in its encoder's space."""

    concepts: list[SimilarConcept]


class NearTerm(BaseModel):
    """A word of the vocabulary near to a concept."""

    term: str
    similarity: float = Field(description="Cosine, the texts' mean taken off.")


class ConceptTermsAnswer(OfRun, NamedConcept):
    """The words of its encoder's vocabulary that lie nearest to one concept, best first."""

    terms: list[NearTerm]


class SubjectStatistics(BaseModel):
    """How well one participant's brain carries a concept, and by which voxels."""

    subject: str
    decodes: bool
    r_unmasked: float | None
    r_soft: float | None
    r_hard: float | None
    p_value: float | None
    q_value: float | None
    penalty: float | None
    n_voxels: int
    peak_mm: Millimetres | None
    space: Space | None
    reason: str | None


class Example(BaseModel):
    """A stimulus that brains tell most or least of a concept in."""

    stimulus: str
    captions: list[str]
    score: float


class FarStimulus(BaseModel):
    """A stimulus among those farthest from a concept."""

    stimulus: str
    captions: list[str]
    similarity: float = Field(description="Cosine, the stimuli's mean taken off.")


class Negation(BaseModel):
    """What a concept is least like, by cosine in the encoder's space alone.

    Words and stimuli are ranked apart, the farthest first, each with its side's mean taken off.
    Both are empty where the run was published before negations were.
    """

    terms: list[str]
    stimuli: list[FarStimulus]


class ConceptAnswer(BaseModel):
    """Everything that is known of one concept."""

    id: int
    label: str
    terms: list[str]
    dataset: str
    run: int
    current: bool
    encoder: str
    method: str
    index: int
    shared: bool
    subjects: list[str]
    p_value: float | None
    q_value: float | None
    agreement: float | None
    agreement_p: float | None
    reason: str | None
    stability: Stability | None
    stability_chance: StabilityChance | None
    q_family: str
    statistics: list[SubjectStatistics]
    regions: list[RegionOverlap]
    best: list[Example] = Field(description="Test stimuli by what the participants' brains tell.")
    worst: list[Example] = Field(description="Likewise, the other end.")
    negation: Negation
