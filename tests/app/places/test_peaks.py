import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.database.models import ComponentSubject, Voxel
from app.places.peaks import NATIVE, NOTHING_NEAR, peak_places
from app.regions.schemas import PeakPlace
from tests.app.published import Published

# Of subj01 in the fixture's run, by voxel: the face's peak.
FFA = (40.0, -52.0, -18.0)


def peak_place(session: Session, component: int, subject: str | None = None) -> PeakPlace | None:
    return peak_places(session, [component], subject).get(component)


def put(session: Session, published: Published, subject: str, **values: object) -> None:
    session.execute(
        update(ComponentSubject)
        .where(
            ComponentSubject.component_id == published.components["face"],
            ComponentSubject.subject_id == published.subjects[subject],
        )
        .values(**values)
    )


def move_peaks(session: Session, x: float | None, y: float | None, z: float | None) -> None:
    session.execute(update(Voxel).values(mni_x=x, mni_y=y, mni_z=z))
    session.expire_all()


def test_it_is_told_in_the_participant_who_decodes_it_best(
    session: Session, published: Published
) -> None:
    face = published.components["face"]
    move_peaks(session, *FFA)
    put(session, published, "subj02", r_hard=0.6)
    place = peak_place(session, face)
    assert place is not None
    assert place.model_dump() == {
        "peak_mm": FFA,
        "space": "MNI",
        "subject": "subj02",
        "component": face,
        "hemisphere": "right",
        "atlas": "AAL3",
        "label": "Fusiform_R",
        "distance_mm": 0.0,
        "reason": None,
    }
    # Who decodes it comes before who does so better, on paper.
    put(session, published, "subj02", decodes=False)
    assert peak_place(session, face).subject == "subj01"
    put(session, published, "subj01", decodes=None, r_hard=None)
    assert peak_place(session, face).subject == "subj02"
    assert peak_place(session, face, "subj01").subject == "subj01"


@pytest.mark.parametrize(("x", "side"), [(-40.0, "left"), (0.0, None), (0.5, "right")])
def test_hemispheres_are_told_in_mni(
    session: Session, published: Published, x: float, side: str | None
) -> None:
    move_peaks(session, x, -52.0, -18.0)
    assert peak_place(session, published.components["face"]).hemisphere == side


def test_native_mm_stand_alone_and_say_so(session: Session, published: Published) -> None:
    move_peaks(session, None, None, None)
    place = peak_place(session, published.components["face"])
    assert place.space == "native"
    assert place.peak_mm is not None
    assert (place.hemisphere, place.atlas, place.label, place.distance_mm) == (None,) * 4
    assert place.reason == NATIVE


def test_a_place_that_no_label_is_near_to_says_so(session: Session, published: Published) -> None:
    move_peaks(session, 0.0, 0.0, 200.0)
    place = peak_place(session, published.components["face"])
    assert (place.atlas, place.label, place.reason) == ("AAL3", None, NOTHING_NEAR)


def test_without_a_mask_there_is_no_place(session: Session, published: Published) -> None:
    put(session, published, "subj01", peak_voxel_id=None)
    assert peak_place(session, published.components["face"], "subj01") is None
    assert peak_place(session, published.components["face"]).subject == "subj02"
    put(session, published, "subj02", peak_voxel_id=None)
    assert peak_place(session, published.components["face"]) is None


def test_several_concepts_are_told_at_once(session: Session, published: Published) -> None:
    several = [published.components[name] for name in ("face", "animal")]
    assert peak_places(session, several) == {each: peak_place(session, each) for each in several}
    assert peak_places(session, []) == {}
