"""The answer to a question in words."""

from typing import Annotated

from pydantic import BaseModel, Field

from app.concepts.schemas import ConceptHit
from app.patterns import K_LIMIT, NO_NUL, PROMPT_BATCH, PROMPT_LENGTH
from app.regions.schemas import PeakPlace, RegionAnswer
from app.terms.schemas import Text

CARRY = "Those that carry a concept: their q is at most the run's level (0.05 if not set)."
WEAKER = "The others, whose q is above that level: no finding."
PLACE = "Where the nearest concept's mask is strongest, if no region carries any; else null."
MATCH = "Whether a concept of the run is near to the prompt; null where that was not measured."
MATCH_REASON = "Why it was not measured; null where it was."
WARNINGS = (
    "What to mind, a sentence each: words that the encoder does not know, or knows by their letters"
    " alone, and how much of a prompt is beyond what it reads; transparent parts of a picture."
)


class Match(BaseModel):
    """Whether any concept of a run is near to a prompt."""

    matched: bool = Field(description="Whether the p is at most the run's level.")
    p_value: float = Field(
        description="Of the best similarity, against the best that unrelated words get."
    )
    nearest_words: list[str] = Field(
        description="Where nothing matched: words of the vocabulary that are near to the prompt, "
        "in spelling or else in meaning, to ask with instead; may be none."
    )


class Matched(BaseModel):
    """An answer to a prompt, which may be near to nothing."""

    match: Match | None = Field(description=MATCH)
    match_reason: str | None = Field(description=MATCH_REASON)
    warnings: list[str] = Field(default=[], description=WARNINGS)


class FoundConcept(ConceptHit):
    """A concept that a prompt found, with the regions that carry it."""

    regions: list[RegionAnswer] = Field(description=CARRY)
    weaker_regions: list[RegionAnswer] = Field(description=WEAKER)
    place: PeakPlace | None = Field(
        description="Where its mask is strongest, if no region carries it; else null."
    )


# Fields come in the order of the bases from the last one on: what was asked, then what was found.
class SearchAsked(BaseModel):
    """What was asked, and whom."""

    query: str
    plus: list[str] = Field(
        default=[], description="Prompts whose directions were added to the query's."
    )
    minus: list[str] = Field(default=[], description="Prompts whose directions were taken off.")
    negated: bool = Field(default=False, description="Whether what is least like it was asked for.")
    encoder: str
    run: int
    dataset: str
    method: str = Field(description="How the run found its concepts: masks or clusters.")
    prompt: list[str] = Field(
        default=[], description="Templates that the query was put into; none for a picture."
    )
    q_family: str = Field(description="What the q values are corrected over.")


class SearchAnswer(Matched, SearchAsked):
    """Concepts and regions that a prompt found, best first."""

    concepts: list[FoundConcept]
    regions: list[RegionAnswer] = Field(description=CARRY)
    weaker_regions: list[RegionAnswer] = Field(description=WEAKER)
    place: PeakPlace | None = Field(description=PLACE)


Name = Annotated[str, Field(pattern=NO_NUL)]
# One place for the text, and nothing else in braces.
Template = Annotated[str, PROMPT_LENGTH, Field(pattern=r"^[^\x00{}]*\{\}[^\x00{}]*$")]


class Question(BaseModel):
    """A prompt, and what is added to it or taken off."""

    query: Text = Field(examples=["food"])
    plus: list[Text] = Field(default=[], max_length=10)
    minus: list[Text] = Field(default=[], max_length=10, examples=[["person"]])
    negate: bool = False


class Questions(BaseModel):
    """Several questions to one run."""

    questions: Annotated[list[Question], PROMPT_BATCH, Field(min_length=1)]
    dataset: Name | None = None
    run: int | None = None
    subject: Name | None = None
    atlas: Name | None = None
    k: Annotated[int, K_LIMIT, Field(ge=1)] = 10
    templates: list[Template] = Field(default=["{}"], min_length=1, max_length=20)


class SearchAnswers(BaseModel):
    """An answer to each question, in their order."""

    answers: list[SearchAnswer]


class RegionsAsked(BaseModel):
    """The text or the concept that was asked for, and whom."""

    query: str | None
    component: int | None
    label: str | None = Field(description="Of the component.")
    dataset: str
    run: int
    encoder: str
    method: str = Field(description="How the run found its concepts: masks or clusters.")
    q_family: str = Field(description="What the q values are corrected over.")


class RegionsAnswer(Matched, RegionsAsked):
    """Regions that carry a text or a concept, best first."""

    regions: list[RegionAnswer] = Field(description=CARRY)
    weaker_regions: list[RegionAnswer] = Field(description=WEAKER)
    place: PeakPlace | None = Field(description=PLACE)
