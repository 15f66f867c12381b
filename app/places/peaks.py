"""Where in the brain a concept is, in place of regions that do not carry it."""

from sqlalchemy.orm import Session

from app.concepts.repository import subject_statistics
from app.places.anatomy import ATLAS, FARTHEST_MM, anatomical_label
from app.regions.repository import peak_of
from app.regions.schemas import PeakPlace

NATIVE = "native mm are the participant's own, and no atlas tells what lies there"
NOTHING_NEAR = f"no label of {ATLAS} lies within {FARTHEST_MM:g} mm"


def peak_place(session: Session, component_id: int, subject: str | None = None) -> PeakPlace | None:
    """Where a concept's mask is strongest, in the participant whose voxels decode it best.

    Parameters
    ----------
    session : Session
    component_id : int
    subject : str, optional
        In this participant.

    Returns
    -------
    PeakPlace or None
        None where no participant has a mask with a peak.

    Raises
    ------
    UnavailableError
        The package with the anatomical atlas is not installed.
    """
    known = [
        (row, label, voxel)
        for row, label, voxel in subject_statistics(session, component_id)
        if voxel is not None and subject in (None, label)
    ]
    if not known:
        return None
    # Those who decode it first, then by how well; a figure that was not measured comes last.
    _, label, voxel = min(
        known,
        key=lambda each: (
            each[0].decodes is not True,
            -(each[0].r_hard if each[0].r_hard is not None else -1.0),
            each[1],
        ),
    )
    peak = peak_of(voxel)
    told = PeakPlace(subject=label, component=component_id, **dict(peak))
    if peak.space != "MNI" or peak.peak_mm is None:
        return told.model_copy(update={"reason": NATIVE})
    x = peak.peak_mm[0]
    named = anatomical_label(peak.peak_mm)
    return told.model_copy(
        update={
            "hemisphere": None if x == 0 else "left" if x < 0 else "right",
            "atlas": ATLAS,
            "label": None if named is None else named.name,
            "distance_mm": None if named is None else named.distance_mm,
            "reason": NOTHING_NEAR if named is None else None,
        }
    )
