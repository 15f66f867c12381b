"""What is told about maps."""

from pydantic import BaseModel, Field

from app.concepts.claims import Claims
from app.concepts.schemas import NamedConcept
from app.masks.response import RESPONDS, Response
from app.regions.schemas import Space
from app.runs.schemas import OfRun


class MapShare(BaseModel):
    """How a map goes with one participant's mask of a concept."""

    subject: str
    correlation: float = Field(description="Pearson's r over the voxels covered.")
    n_voxels: int = Field(description="Members of the mask among the voxels covered.")
    responds: Response | None = Field(description=RESPONDS)


class MapConcept(Claims, NamedConcept):
    """A concept that a map carries."""

    correlation: float = Field(description="Mean over the participants told.")
    p_value: float = Field(description="One-sided: as high a correlation, of surrogate maps.")
    q_value: float
    subjects: list[MapShare]


class NamedMap(BaseModel):
    """The map that is asked about."""

    map: str = Field(description="The file's name.")
    space: Space


# Fields come in the order of the bases from the last one on: what was asked, then who answers.
class MapAnswer(OfRun, NamedMap):
    """The concepts that a map carries: significantly first, then by correlation."""

    permutations: int
    seed: int
    q_family: str = Field(description="What the q values are corrected over.")
    voxels: dict[str, int] = Field(
        description="Voxels that the map covers, by participant; 0 where it is not known where "
        "they lie. Who has fewer than 10, or all of one value, has no part in any correlation."
    )
    warnings: list[str] = Field(description="What to mind, a sentence each.")
    concepts: list[MapConcept]
