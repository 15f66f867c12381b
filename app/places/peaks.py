"""Where in the brain a concept is, in place of regions that do not carry it."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.places import repository
from app.places.anatomy import ATLAS, FARTHEST_MM, anatomical_label
from app.regions.repository import peak_of
from app.regions.schemas import Peak, PeakPlace

NATIVE = "native mm are the participant's own, and no atlas tells what lies there"
NOTHING_NEAR = f"no label of {ATLAS} lies within {FARTHEST_MM:g} mm"


def peak_places(
    session: Session, components: Sequence[int], subject: str | None = None
) -> dict[int, PeakPlace]:
    """Where concepts' masks are strongest, in the participant whose voxels decode each best.

    Parameters
    ----------
    session : Session
    components : sequence of int
        Ids.
    subject : str, optional
        In this participant.

    Returns
    -------
    dict of int to PeakPlace
        By the component's id; without those of which no participant has a mask with a peak.

    Raises
    ------
    UnavailableError
        The package with the anatomical atlas is not installed.
    """
    # Those who decode it first, then by how well; a figure that was not measured comes last.
    rows = sorted(
        repository.mask_peaks(session, components, subject) if components else [],
        key=lambda each: (
            each[0].decodes is not True,
            -(each[0].r_hard if each[0].r_hard is not None else -1.0),
            each[1],
        ),
    )
    places: dict[int, PeakPlace] = {}
    for mask, label, voxel in rows:
        if mask.component_id not in places:
            places[mask.component_id] = _place(mask.component_id, label, peak_of(voxel))
    return places


def _place(component: int, subject: str, peak: Peak) -> PeakPlace:
    told = PeakPlace(subject=subject, component=component, **dict(peak))
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
