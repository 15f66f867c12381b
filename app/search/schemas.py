"""The answer to a question in words."""

from pydantic import BaseModel, Field

from app.concepts.schemas import ConceptHit
from app.regions.schemas import RegionAnswer


class FoundConcept(ConceptHit):
    """A concept that a prompt found, with the regions that carry it."""

    regions: list[RegionAnswer]


class SearchAnswer(BaseModel):
    """Concepts and regions that a prompt found, best first."""

    query: str
    encoder: str
    run: int
    dataset: str
    method: str = Field(description="How the run found its concepts: masks or clusters.")
    prompt: list[str] = Field(description="Templates that the query was put into.")
    q_family: str = Field(description="What the q values are corrected over.")
    concepts: list[FoundConcept]
    regions: list[RegionAnswer]


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
