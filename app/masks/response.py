"""In which direction the voxels of a mask respond, as answers tell it."""

from typing import Literal

Response = Literal["more", "less"]

# Weight from which a voxel stands out.
MEMBER = 0.5
RESPONDS = (
    "Whether the mask's voxels respond more or less to the concept than to other stimuli; null "
    "where there is no mask, of clusters, and in runs published before responses were measured."
)


def response_of(sign: int | None) -> Response | None:
    """The word for a ``component_subject.response_sign`` of 1 or -1."""
    if sign is None:
        return None
    return "more" if sign > 0 else "less"
