import numpy as np
import pytest
from scipy.stats import false_discovery_control
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database import models
from app.errors import ConflictError, NotFoundError
from app.search.service import search
from app.validation.schemas import CategoryResult, SubjectResult
from app.validation.service import mask_views, validate, validate_run
from tests.app.published import Published
from tests.app.validation.conftest import WORDLESS, add_localisers


def of_subject(one: CategoryResult, label: str) -> SubjectResult:
    (found,) = [each for each in one.subjects if each.subject == label]
    return found


def test_what_was_stored_is_told_in_the_order_of_the_categories(
    localised: Published, own_session: Session
) -> None:
    answer = validate(own_session)
    assert (answer.dataset, answer.run) == ("lab-a", localised.run)
    assert answer.encoder == localised.encoder
    assert "by text alone" in answer.choice
    assert "Benjamini-Hochberg over all categories x participants" in answer.q_family
    # There are no place regions, and of those nothing is told.
    assert [each.category for each in answer.categories] == ["faces", "words", "cars"]
    faces = answer.categories[0]
    assert (faces.prompt, faces.atlas) == ("portrait", "floc-faces")
    assert (faces.component, faces.shared) == (localised.components["face"], True)
    words, cars = answer.categories[1:]
    assert (words.shared, words.decodable, words.stable) == (None, True, None)
    assert words.reason == words.reasons["stable"] == "other seeds have no masks of it"
    assert (cars.shared, cars.decodable, cars.reasons, cars.prevalence) == (None, None, {}, None)
    assert faces.label is not None
    assert faces.label.startswith("face, ")
    subject = of_subject(faces, "subj01")
    assert (subject.auc, subject.dice, subject.n_voxels, subject.n_region) == (1, 1, 5, 5)
    assert (subject.rho, subject.map, subject.reason) == (0.4, "floc_facestval", None)
    assert [part.region for part in subject.regions] == ["FFA-1", "FFA-2"]
    assert [part.n_voxels for part in subject.regions] == [3, 2]
    assert [part.dice for part in subject.regions] == [pytest.approx(2 * 3 / 8), 2 * 2 / 7]
    # The mask's strongest voxels are those of FFA-1.
    assert subject.regions[0].auc == 1 > subject.regions[1].auc


def test_the_concept_is_the_one_that_a_search_finds(
    localised: Published, own_session: Session
) -> None:
    for one in validate(own_session).categories[:2]:
        (found,) = search(own_session, one.prompt, k=1).concepts
        assert (one.component, one.similarity) == (found.id, pytest.approx(found.similarity))


def test_a_prompt_without_a_vector_is_told_with_its_reason(
    localised: Published, own_session: Session
) -> None:
    cars = validate(own_session).categories[2]
    assert (cars.component, cars.similarity, cars.subjects) == (None, None, [])
    assert cars.reason == f"{localised.encoder} has no vector for 'a car'"
    stored = own_session.scalars(
        select(models.Validation).where(models.Validation.category == "cars")
    ).one()
    assert (stored.subject_id, stored.component_id, stored.reason) == (None, None, cars.reason)


def test_a_participant_without_voxels_of_the_atlas_has_its_rho_alone(
    localised: Published, own_session: Session
) -> None:
    words = validate(own_session).categories[1]
    subject = of_subject(words, WORDLESS)
    assert (subject.auc, subject.dice, subject.p_value, subject.q_value) == (None,) * 4
    assert (subject.rho, subject.regions) == (0.4, [])
    assert subject.reason == f"no voxel kept of {WORDLESS} lies in floc-words"


def test_an_unusable_mask_is_told_with_its_reason(
    own_published: Published, own_session: Session
) -> None:
    add_localisers(own_session, own_published)
    face, subject = own_published.components["face"], own_published.subjects["subj02"]
    key = {"component_id": face, "subject_id": subject}
    own_session.execute(
        update(models.ComponentSubject).filter_by(**key).values(reason="the mask is empty")
    )
    for table in (models.ComponentAtlas, models.ComponentRegion):
        own_session.query(table).filter_by(**key).delete()
    run = own_session.get_one(models.Run, own_published.run)
    encoder = own_session.get_one(models.Encoder, run.encoder_id)
    validate_run(own_session, run, encoder, [("faces", "face", "floc-faces")])
    (faces,) = validate(own_session).categories
    broken, whole = of_subject(faces, "subj02"), of_subject(faces, "subj01")
    assert (broken.auc, broken.rho, broken.reason) == (None, None, "the mask is empty")
    assert broken.regions == []
    # One test was made, so that its p is its q.
    assert whole.q_value == whole.p_value == 0.001


def test_whose_brain_decodes_the_concept_is_told(
    localised: Published, own_session: Session
) -> None:
    key = {
        "component_id": localised.components["face"],
        "subject_id": localised.subjects["subj02"],
    }
    own_session.execute(update(models.ComponentSubject).filter_by(**key).values(decodes=False))
    stored = validate(own_session).categories[:2]
    assert [[each.decodes for each in one.subjects] for one in stored] == [
        [True, False],
        [True, True],
    ]
    own_session.execute(update(models.ComponentSubject).filter_by(**key).values(decodes=None))
    assert [each.decodes for each in validate(own_session).categories[0].subjects] == [True, None]
    own_session.execute(update(models.ComponentSubject).filter_by(**key).values(decodes=False))
    (asked,) = validate(own_session, prompt="face", atlas="floc-words").categories
    assert {each.subject: each.decodes for each in asked.subjects} == {
        "subj01": True,
        "subj02": False,
    }
    own_session.execute(update(models.ComponentSubject).filter_by(**key).values(response_sign=-1))
    faces, words = validate(own_session).categories[:2]
    assert [each.responds for each in faces.subjects] == ["more", "less"]
    assert [each.responds for each in words.subjects] == [None, None]


def test_unions_are_one_family_and_single_regions_another(
    localised: Published, own_session: Session
) -> None:
    everyone = [each for one in validate(own_session).categories for each in one.subjects]
    unions = [(each.p_value, each.q_value) for each in everyone if each.p_value is not None]
    parts = [(part.p_value, part.q_value) for each in everyone for part in each.regions]
    assert (len(unions), len(parts)) == (3, 5)
    for family in (unions, parts):
        p, q = np.array(family, dtype=float).T
        np.testing.assert_allclose(q, false_discovery_control(p))


def test_a_participant_alone_keeps_the_q_of_all(localised: Published, own_session: Session) -> None:
    whole = validate(own_session)
    alone = validate(own_session, subject="subj01", dataset="lab-a", run=localised.run)
    assert [len(one.subjects) for one in alone.categories] == [1, 1, 0]
    for one, other in zip(alone.categories, whole.categories, strict=True):
        assert one.subjects == [each for each in other.subjects if each.subject == "subj01"]


def test_a_prompt_of_ones_own_is_held_against_any_atlas(
    localised: Published, own_session: Session
) -> None:
    before = own_session.query(models.Validation).count()
    answer = validate(own_session, prompt=" a dancer ", atlas="floc-faces")
    assert "of this prompt and atlas" in answer.q_family
    (one,) = answer.categories
    assert (one.prompt, one.component) == ("a dancer", localised.components["body"])
    assert [each.dice for each in one.subjects] == [0, 0]
    # Both fail alike: 0.7 twice has a q of 0.7.
    assert [each.q_value for each in one.subjects] == [0.7, 0.7]
    assert own_session.query(models.Validation).count() == before
    # Of an atlas that masks were held against region by region, and not as a whole.
    (other,) = validate(own_session, prompt="a dancer", atlas="floc").categories
    assert {each.auc for each in other.subjects} == {None}
    assert {len(each.regions) for each in other.subjects} == {6}


def test_an_atlas_alone_narrows_what_was_stored(localised: Published, own_session: Session) -> None:
    answer = validate(own_session, atlas="floc-words")
    assert [each.category for each in answer.categories] == ["words", "cars"]


def test_what_there_is_to_draw(localised: Published, own_session: Session) -> None:
    answer = validate(own_session)
    views = mask_views(own_session, answer)
    assert sorted(views) == [
        (category, subject) for category in ("faces", "words") for subject in ("subj01", "subj02")
    ]
    view = views["faces", "subj01"]
    assert view.is_mni
    assert view.places.shape == (30, 3)
    np.testing.assert_allclose(view.weight[:5], np.linspace(1, 0.6, 5), atol=1e-6)
    assert not view.weight[5:].any()
    assert np.flatnonzero(view.inside).tolist() == [0, 1, 2, 3, 4]
    assert not views["words", WORDLESS].inside.any()


def test_without_mni_what_is_drawn_is_native(localised: Published, own_session: Session) -> None:
    place = select(models.Voxel).where(models.Voxel.subject_id == localised.subjects["subj01"])
    voxel = own_session.scalars(place.order_by(models.Voxel.index)).first()
    assert voxel is not None
    # One voxel that the transform does not reach is left out, and the others stay in MNI space.
    voxel.mni_x = None
    own_session.flush()
    view = mask_views(own_session, validate(own_session))["faces", "subj01"]
    assert (view.is_mni, len(view.places)) == (True, 29)
    own_session.execute(update(models.Voxel).values(mni_x=None, mni_y=None, mni_z=None))
    own_session.expire_all()
    view = mask_views(own_session, validate(own_session))["faces", "subj01"]
    assert (view.is_mni, len(view.places)) == (False, 30)
    assert view.places.min() == 0


def test_a_run_that_was_held_against_nothing(
    own_published: Published, own_session: Session
) -> None:
    with pytest.raises(NotFoundError, match="was held against regions") as caught:
        validate(own_session)
    assert "sdc run lab-a" in caught.value.hint
    with pytest.raises(NotFoundError, match="was held against regions"):
        validate(own_session, prompt="face", atlas="floc")


def test_a_dataset_without_localisers(own_published: Published, own_session: Session) -> None:
    add_localisers(own_session, own_published)
    with pytest.raises(
        NotFoundError,
        match="no localiser regions in this dataset: lab-a has the atlases floc, floc-faces",
    ) as caught:
        validate(own_session)
    assert "--prompt TEXT --atlas ATLAS" in caught.value.hint
    own_session.query(models.ComponentAtlas).delete()
    own_session.query(models.Region).delete()
    with pytest.raises(NotFoundError, match="lab-a has no regions at all"):
        validate(own_session)


def test_bad_questions(localised: Published, own_session: Session) -> None:
    with pytest.raises(ConflictError, match="no atlas to hold it against") as caught:
        validate(own_session, prompt="face")
    assert "floc, floc-faces, floc-words" in caught.value.hint
    with pytest.raises(NotFoundError, match="is held against the atlas floc"):
        validate(own_session, atlas="floc")
    with pytest.raises(NotFoundError, match="no vector for 'quasar'"):
        validate(own_session, prompt="quasar", atlas="floc")
