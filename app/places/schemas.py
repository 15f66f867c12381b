"""What is told about places."""

from pydantic import BaseModel, Field

from app.concepts.claims import Claims
from app.concepts.schemas import NamedConcept
from app.masks.response import RESPONDS, Response
from app.regions.schemas import RegionOverlap, Space
from app.runs.schemas import OfRun


class BallShare(BaseModel):
    """How much of a ball one participant's mask of a concept takes."""

    subject: str
    n_voxels: int = Field(description="Members of the mask inside the ball.")
    coverage: float = Field(description="Their weights' sum over the voxels kept in the ball.")
    nearest_mm: float = Field(description="Distance of the nearest member from the centre.")
    responds: Response | None = Field(description=RESPONDS)


class PlaceConcept(Claims, NamedConcept):
    """A concept that a ball carries."""

    coverage: float = Field(description="Mean over all participants who have voxels there.")
    subjects: list[BallShare]


class Ball(BaseModel):
    """The place that is asked about."""

    centre_mm: tuple[float, float, float]
    radius_mm: float
    space: Space


# Fields come in the order of the bases from the last one on: what was asked, then who answers.
class PlaceAnswer(OfRun, Ball):
    """The concepts that a ball carries, by coverage."""

    voxels: dict[str, int] = Field(description="Voxels kept in the ball, by participant.")
    concepts: list[PlaceConcept]


class RegionConcept(Claims, NamedConcept):
    """A concept by what a region carries of it."""

    auc: float = Field(description="Mean over participants who decode it, over all if none does.")
    subjects: list[RegionOverlap]


class NamedRegion(BaseModel):
    """The region that is asked about."""

    atlas: str
    region: str


class RegionConceptsAnswer(OfRun, NamedRegion):
    """The concepts that a region carries, those it carries significantly first, then by AUC."""

    q_family: str
    concepts: list[RegionConcept]
