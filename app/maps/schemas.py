"""What is told about maps."""

from pydantic import BaseModel, Field

from app.regions.schemas import Space


class MapShare(BaseModel):
    """How a map goes with one participant's mask of a concept."""

    subject: str
    correlation: float = Field(description="Pearson's r over the voxels covered.")
    n_voxels: int = Field(description="Members of the mask among the voxels covered.")


class MapConcept(BaseModel):
    """A concept that a map carries."""

    id: int
    label: str
    shared: bool
    correlation: float = Field(description="Mean over the participants told.")
    p_value: float = Field(description="One-sided: as high a correlation, of surrogate maps.")
    q_value: float
    subjects: list[MapShare]


class MapAnswer(BaseModel):
    """The concepts that a map carries: significantly first, then by correlation."""

    map: str = Field(description="The file's name.")
    space: Space
    dataset: str
    run: int
    encoder: str
    method: str = Field(description="How the run found its concepts: masks or clusters.")
    permutations: int
    seed: int
    q_family: str = Field(description="What the q values are corrected over.")
    voxels: dict[str, int] = Field(
        description="Voxels that the map covers, by participant; 0 where it is not known where "
        "they lie. Who has fewer than 10, or all of one value, has no part in any correlation."
    )
    concepts: list[MapConcept]
