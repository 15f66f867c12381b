"""What is told about regions."""

from typing import Literal

from pydantic import BaseModel, Field

from app.masks.response import RESPONDS, Response

Millimetres = tuple[float, float, float]
Space = Literal["MNI", "native"]


class RegionSummary(BaseModel):
    """A region in a list."""

    dataset: str
    atlas: str
    region: str
    voxels: dict[str, int] = Field(
        description="Voxels that were kept there, by participant; of those who have some."
    )


class Peak(BaseModel):
    """Where a mask is strongest: MNI mm where the participant has a transform, else native mm."""

    peak_mm: Millimetres | None
    space: Space | None


class PeakPlace(Peak):
    """Where a concept's mask is strongest, told where no region carries the concept."""

    subject: str = Field(description="The participant whose voxels decode it best.")
    component: int = Field(description="The concept's id.")
    hemisphere: Literal["left", "right"] | None = Field(
        default=None, description="Null in native mm, and on the midline."
    )
    atlas: str | None = Field(default=None, description="Of the label; null in native mm.")
    label: str | None = Field(
        default=None, description="What the atlas calls the place, or the nearest that it names."
    )
    distance_mm: float | None = Field(
        default=None, description="From the peak to the label; 0 inside."
    )
    reason: str | None = Field(default=None, description="Why there is no label.")


class RegionAnswer(BaseModel):
    """A region of one participant, by how well it carries a concept."""

    subject: str
    atlas: str
    region: str
    score: float = Field(description="similarity x (2 AUC - 1)")
    auc: float = Field(
        description="Area under the curve, the voxels in the order of their responses as a guess "
        "at the region's; chance is 0.5."
    )
    auc_low: float | None = Field(description="Lower end of its 95 % interval.")
    auc_high: float | None = Field(description="Upper end of that interval.")
    p_value: float
    q_value: float
    n_voxels: int = Field(description="Members of the concept's mask inside the region.")
    responds: Response | None = Field(description=RESPONDS)
    peak_mm: Millimetres | None
    space: Space | None


class RegionOverlap(BaseModel):
    """How one participant's mask of a concept overlaps with a region."""

    subject: str
    atlas: str
    region: str
    auc: float = Field(
        description="Area under the curve, the voxels in the order of their responses as a guess "
        "at the region's; chance is 0.5."
    )
    auc_low: float | None = Field(description="Lower end of its 95 % interval.")
    auc_high: float | None = Field(description="Upper end of that interval.")
    dice: float
    p_value: float
    q_value: float
    n_voxels: int = Field(description="Members of the mask inside the region.")
    responds: Response | None = Field(description=RESPONDS)
    peak_mm: Millimetres | None
    space: Space | None
