"""What is told of voxels."""

from pydantic import BaseModel, Field

from app.regions.schemas import Millimetres
from app.search.schemas import Matched


class FoundVoxel(BaseModel):
    """A voxel that a prompt found."""

    id: int = Field(description="The voxel's id, the same as in SQL.")
    dataset: str
    run: int
    method: str = Field(description="How the run found its concepts: masks or clusters.")
    subject: str
    similarity: float = Field(
        description="Cosine of the voxel's decoder weights with the prompt, -1 to 1."
    )
    ijk: tuple[int, int, int] = Field(description="Its indices on the participant's grid.")
    native_mm: Millimetres
    mni_mm: Millimetres | None = Field(description="Null where the place in MNI is not known.")
    noise_ceiling: float | None = Field(description="Percent of the variance, 0 to 100.")
    regions: list[str] = Field(description="Those that it belongs to, each as atlas:region.")


class VoxelsAsked(BaseModel):
    """What was asked, and whom."""

    query: str
    plus: list[str] = Field(description="Prompts whose directions were added to the query's.")
    minus: list[str] = Field(description="Prompts whose directions were taken off.")
    negated: bool = Field(description="Whether what is least like it was asked for.")
    prompt: list[str] = Field(description="Templates that the query was put into.")
    encoder: str
    datasets: list[str] = Field(description="Datasets whose runs were asked.")
    runs: list[int] = Field(description="Runs that were asked, in the order of the datasets.")
    exact: bool = Field(
        description="Whether all of the nearest are there, inside of an indexed run's"
        " participant but for what four standard deviations leave; through an index of a whole"
        " run nearly all are."
    )


# Fields come in the order of the bases from the last one on: what was asked, then what was found.
class VoxelsAnswer(Matched, VoxelsAsked):
    """Voxels that a prompt found, best first."""

    voxels: list[FoundVoxel]
