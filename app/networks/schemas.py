"""What is told about a participant's network."""

from pydantic import BaseModel, Field

from app.concepts.claims import Claims
from app.concepts.schemas import NamedConcept
from app.masks.response import RESPONDS, Response


class NetworkNode(Claims, NamedConcept):
    """A concept that the participant has a mask of."""

    n_voxels: int = Field(description="Members of the participant's mask.")
    responds: Response | None = Field(description=RESPONDS)
    community: int = Field(description="From 1, larger communities first.")
    strength: float = Field(
        description="How firmly it belongs: the weights of its edges to its community, summed."
    )


class NetworkEdge(BaseModel):
    """Two concepts whose masks overlap beyond chance, or whose directions are near."""

    source: int
    target: int
    dice: float
    cosine: float
    weight: float = Field(description="Mean of Dice and cosine, a cosine below 0 counting as 0.")
    p_value: float = Field(description="Of the masks' overlap; hypergeometric.")
    q_value: float


class NetworkAnswer(BaseModel):
    """One participant's semantic network in one run."""

    subject: str
    dataset: str
    run: int
    encoder: str
    method: str
    q_family: str
    nodes: list[NetworkNode] = Field(description="By community, the firmest first.")
    edges: list[NetworkEdge] = Field(description="The heaviest first.")
