"""What is told about validation."""

from pydantic import BaseModel, Field

from app.concepts.claims import Claims
from app.masks.response import RESPONDS, Response
from app.runs.schemas import OfRun


class RegionResult(BaseModel):
    """How one participant's mask lies on one region of a category."""

    region: str
    auc: float
    dice: float
    p_value: float
    q_value: float
    n_voxels: int = Field(description="Members of the mask inside the region.")
    n_region: int = Field(description="Voxels of the region that were kept.")


class SubjectResult(BaseModel):
    """How one participant's mask lies on all regions of a category together, and on each."""

    subject: str
    decodes: bool | None = Field(
        description="Whether the voxels that the participant's decoder needs decode the concept on "
        "trials unseen; where they do not, how the mask lies says nothing of the concept. Null: "
        "not tested."
    )
    responds: Response | None = Field(description=RESPONDS)
    auc: float | None = Field(description="Area under the curve, of all voxels' responses.")
    dice: float | None = Field(description="Of the mask.")
    p_value: float | None = Field(description="Of the AUC, by placing the regions elsewhere.")
    q_value: float | None
    rho: float | None = Field(description="Spearman's, of all voxels' responses with the t-map.")
    map: str | None = Field(description="The t-map's name.")
    n_voxels: int | None
    n_region: int | None
    reason: str | None = Field(description="Why something could not be measured.")
    regions: list[RegionResult]


class Category(BaseModel):
    """A category, and the concept that its prompt finds."""

    category: str
    prompt: str
    atlas: str
    component: int | None
    label: str | None


# Fields come in the order of the bases from the last one on.
class CategoryResult(Claims, Category):
    """One category: the concept that its prompt finds, in every participant."""

    reason: str | None = Field(
        description="Why the prompt found nothing; else why what it found is not shared, of the "
        "first claim that fails or else was not measured."
    )
    similarity: float | None = Field(description="Of prompt and concept: cosine.")
    subjects: list[SubjectResult]


class ValidationAnswer(OfRun):
    """The concepts that words find, held against the regions that localisers found."""

    choice: str = Field(description="How each category's concept was chosen.")
    q_family: str = Field(description="What the q values are corrected over.")
    categories: list[CategoryResult]
