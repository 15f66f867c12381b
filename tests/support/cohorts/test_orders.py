import numpy as np
import pytest

from tests.support.cohorts.orders import autocorrelated, blocked, shuffled
from tests.support.cohorts.records import PlantedCohort, PlantedParticipant
from tests.support.cohorts.recovery import readout, recovery
from tests.support.cohorts.stimuli import standard


def _drive_r(cohort: PlantedCohort, one: PlantedParticipant, planted: np.ndarray) -> float:
    """Mean absolute correlation of planted voxels with their drive."""
    drive = standard(cohort.drive[one.image].astype(np.float64))
    r = np.abs(drive.T @ standard(one.x.astype(np.float64)) / len(drive))
    return float(r[planted].mean())


def test_shuffled_stimuli_tell_nothing_and_repeats_stay(captions: PlantedCohort) -> None:
    other = shuffled(captions, 0)
    assert other.shuffled
    assert not other.carriers.any()
    for number, (one, before) in enumerate(
        zip(other.participants, captions.participants, strict=True)
    ):
        np.testing.assert_array_equal(one.x, before.x)
        np.testing.assert_array_equal(captions.fold[one.image], captions.fold[before.image])
        assert (one.image != before.image).mean() > 0.9
        # Trials of one stimulus were trials of one stimulus.
        assert len(set(zip(one.image, before.image, strict=True))) == len(set(before.image))
        np.testing.assert_allclose(
            other.estimated_ceiling(number), captions.estimated_ceiling(number), rtol=1e-4
        )
        assert _drive_r(captions, before, before.planted) > 2.5 * _drive_r(
            captions, one, before.planted
        )
    assert (other.participants[0].image != shuffled(captions, 1).participants[0].image).any()
    first, second = other.participants[:2]
    both = np.intersect1d(captions.participants[0].image, captions.participants[1].image)
    becomes = [
        {int(was): int(now) for was, now in zip(before.image, one.image, strict=True)}
        for one, before in zip((first, second), captions.participants[:2], strict=True)
    ]
    assert np.mean([becomes[0][each] == becomes[1][each] for each in both.tolist()]) < 0.2


def test_nothing_is_planted_in_a_shuffled_cohort(captions: PlantedCohort) -> None:
    judged = recovery(shuffled(captions, 0), captions.directions)
    assert not any(one["planted"] for one in judged["components"])


@pytest.mark.parametrize("reorder", [blocked, autocorrelated])
def test_other_orders_keep_trials_and_what_is_planted(
    captions: PlantedCohort, reorder: type[object]
) -> None:
    other: PlantedCohort = reorder(captions)  # type: ignore[call-arg, assignment]
    for one, before in zip(other.participants, captions.participants, strict=True):
        np.testing.assert_array_equal(one.session, before.session)
        for session in np.unique(one.session):
            rows = one.session == session
            np.testing.assert_array_equal(np.sort(one.image[rows]), np.sort(before.image[rows]))
        assert (one.image != before.image).any()
        same = one.session[1:] == one.session[:-1]
        lags = [np.median((x[1:] * x[:-1])[same].mean(axis=0)) for x in (one.x, before.x)]
        assert lags[0] > lags[1] + 0.05
    assert np.nanmedian(readout(other)) > 0.8 * np.nanmedian(readout(captions))


def test_blocks_are_of_one_topic(captions: PlantedCohort) -> None:
    one = blocked(captions).participants[0]
    for session in np.unique(one.session):
        topic = captions.topic[one.image[one.session == session]]
        assert (np.diff(topic) != 0).sum() == len(set(topic)) - 1


def test_similar_stimuli_follow_each_other(captions: PlantedCohort) -> None:
    centred = captions.vectors - captions.vectors.mean(axis=0)

    def following(one: PlantedParticipant) -> float:
        return float((centred[one.image[1:]] * centred[one.image[:-1]]).sum(axis=1).mean())

    assert abs(following(captions.participants[0])) < 0.05
    assert following(autocorrelated(captions).participants[0]) > 0.1


def test_a_null_cohort_can_have_an_order_too(captions: PlantedCohort) -> None:
    null = blocked(shuffled(captions, 3))
    assert null.shuffled
    assert null.name == f"{captions.name}-shuffled-blocked"
    planted = captions.participants[0].planted
    assert _drive_r(null, null.participants[0], planted) < 0.1
