"""The answer to a question in words."""

from typing import Annotated

from pydantic import BaseModel, Field

from app.concepts.schemas import ConceptHit
from app.patterns import K_LIMIT, NO_NUL, PROMPT_BATCH, PROMPT_LENGTH
from app.regions.schemas import RegionAnswer
from app.terms.schemas import Text


class FoundConcept(ConceptHit):
    """A concept that a prompt found, with the regions that carry it."""

    regions: list[RegionAnswer]


class SearchAnswer(BaseModel):
    """Concepts and regions that a prompt found, best first."""

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
    concepts: list[FoundConcept]
    regions: list[RegionAnswer]


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


class RegionsAnswer(BaseModel):
    """Regions that carry a text or a concept, best first."""

    query: str | None
    component: int | None
    label: str | None = Field(description="Of the component.")
    dataset: str
    run: int
    encoder: str
    method: str = Field(description="How the run found its concepts: masks or clusters.")
    q_family: str = Field(description="What the q values are corrected over.")
    regions: list[RegionAnswer]
