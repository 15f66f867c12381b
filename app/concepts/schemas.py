"""What is told about concepts."""

from typing import Literal

from pydantic import BaseModel, Field

from app.concepts.claims import Claims
from app.masks.response import RESPONDS, Response
from app.regions.schemas import Millimetres, RegionOverlap, Space
from app.runs.schemas import OfRun

SUBJECTS = "Participants in whom the voxels that the decoder needs decode it."


class Stability(BaseModel):
    """How far other seeds find a concept: means over them, and over participants."""

    cosine: float | None = Field(
        description="Of its scores over the stimuli with its partner's of each other seed."
    )
    dice: float | None = Field(description="Of its masks with its partner's.")
    seeds: int = Field(description="Other seeds that found a partner of it.")
    chance: float | None = Field(default=None, description="Cosine that unmatched concepts reach.")


class StabilityChance(BaseModel):
    """What the run's stability is to be held against."""

    cosine: float | None = Field(
        description="Of the next best matching: the best chooses among high cosines too."
    )
    dice: float | None = Field(description="Of masks whose components are not matched.")


class NamedConcept(BaseModel):
    """A concept's id and name."""

    id: int
    label: str


class ListedConcept(NamedConcept):
    """A concept with its words, and where it comes from."""

    terms: list[str]
    dataset: str
    run: int
    encoder: str
    method: str


# Fields come in the order of the bases from the last one on: what it is, what is claimed of it,
# and what that rests on.
class ConceptSummary(Claims, ListedConcept):
    """A concept in a list."""

    subjects: list[str] = Field(description=SUBJECTS)
    p_value: float | None = Field(description="Of being decodable.")
    q_value: float | None
    stability: Stability | None


class NearConcept(NamedConcept):
    """A concept, and how near it is to something."""

    similarity: float = Field(description="Cosine, between -1 and 1.")
    direction: Literal["positive", "negative"]


class ConceptHit(Claims, NearConcept):
    """A concept found by its nearness to something."""

    subjects: list[str] = Field(description=SUBJECTS)
    p_value: float | None = Field(description="Of being decodable.")
    q_value: float | None
    stability: Stability | None


class SimilarConcept(ConceptHit):
    """A concept near to another one."""

    dataset: str
    run: int
    method: str


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
    decodes: bool | None = Field(
        description="Whether the voxels that the decoder needs decode it; null where that was not "
        "tested."
    )
    r_unmasked: float | None = Field(
        description="Correlation over test images of the response decoded from all voxels."
    )
    r_soft: float | None = Field(
        description="As `r_unmasked`, from all voxels by how far the decoder needs them."
    )
    r_hard: float | None = Field(
        description="As `r_unmasked`, from the voxels that the decoder needs alone."
    )
    r_low: float | None = Field(
        description="Lower end of the 95 % interval of `r_hard`, by bootstrap over images."
    )
    r_high: float | None = Field(description="Upper end of that interval.")
    r_normalised: float | None = Field(
        description="`r_hard` over the noise ceiling that the test repeats give; may exceed 1."
    )
    p_unmasked: float | None
    p_soft: float | None
    p_value: float | None = Field(description="Of `r_hard`.")
    q_value: float | None = Field(
        description="Of `p_value`, over all of the run's concepts and participants."
    )
    specific_p: float | None = Field(
        description="Of being more than a mixture of the run's concepts, by what voxels are tuned "
        "to and by what those that the decoder needs tell."
    )
    replication_r: float | None = Field(
        description="Of the concept that was sought without this participant, in this participant."
    )
    replication_p: float | None
    penalty: float | None
    n_voxels: int = Field(description="Members of the mask: voxels that respond to it.")
    n_needed: int | None = Field(
        description="Voxels that the decoder needs to tell it; null where they are the mask's "
        "members: of clusters, and in runs published before responses were measured."
    )
    responds: Response | None = Field(description=RESPONDS)
    peak_mm: Millimetres | None
    space: Space | None
    reason: str | None = Field(
        description="Why there is no mask of it, or it was not tested; where it was, why all "
        "voxels count as needed, and none were chosen on held-out stimuli."
    )


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


class ConceptAnswer(Claims, ListedConcept):
    """Everything that is known of one concept."""

    current: bool
    index: int
    subjects: list[str] = Field(description=SUBJECTS)
    p_value: float | None = Field(description="Of being decodable.")
    q_value: float | None
    specific_p: float | None
    specific_q: float | None
    agreement: float | None = Field(description="Mean correlation of participants' masks.")
    agreement_p: float | None
    agreement_q: float | None
    stability: Stability | None
    stability_chance: StabilityChance | None
    replicated: int | None = Field(
        description="Participants in whom it is found again when it is sought without them."
    )
    start_cosine: float | None = Field(
        description="Largest cosine with a direction that the search for concepts began with."
    )
    q_family: str
    statistics: list[SubjectStatistics]
    regions: list[RegionOverlap]
    best: list[Example] = Field(description="Test stimuli by what the participants' brains tell.")
    worst: list[Example] = Field(description="Likewise, the other end.")
    negation: Negation
