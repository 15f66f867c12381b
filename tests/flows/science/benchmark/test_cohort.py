import numpy as np
import pytest

from flows.science.benchmark.cohort import Cohort, Scale

SMALL = Scale(participants=2, voxels=300, trials=360, dimension=16, components=4, held_out=30)


def test_the_default_is_the_size_of_nsd() -> None:
    scale = Scale()
    assert (scale.participants, scale.voxels, scale.trials) == (8, 18_000, 27_000)
    assert (scale.dimension, scale.components, scale.images) == (512, 128, 9000)


def test_folds_share_no_image_and_show_each_three_times() -> None:
    cohort = Cohort(SMALL, seed=0, device="cpu")
    images = [cohort.images_of(fold) for fold in ("train", "validation", "test")]
    assert [len(fold) for fold in images] == [180, 90, 90]
    shown, times = np.unique(np.concatenate(images), return_counts=True)
    assert len(shown) == SMALL.images
    assert set(times) == {3}


def test_responses_are_drawn_alike_each_time_and_apart_for_each_fold_and_participant() -> None:
    cohort = Cohort(SMALL, seed=0, device="cpu")
    first = cohort.responses(0, "validation")
    assert first.shape == (90, 300)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, cohort.responses(0, "validation"))
    np.testing.assert_array_equal(
        first, Cohort(SMALL, seed=0, device="cpu").responses(0, "validation")
    )
    for other in (
        cohort.responses(1, "validation"),
        cohort.responses(0, "test"),
        Cohort(SMALL, seed=1, device="cpu").responses(0, "validation"),
    ):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.1


def test_some_voxels_tell_the_images_and_the_others_do_not() -> None:
    cohort = Cohort(SMALL, seed=0, device="cpu")
    x = cohort.responses(0, "train").reshape(-1, 3, 300)
    # Variance of the means of three showings: noise alone leaves a third.
    explained = x.mean(axis=1).var(axis=0)
    assert 0.2 < (explained > 0.45).mean() < 0.4


def test_sizes_that_cannot_be_split_are_refused() -> None:
    with pytest.raises(ValueError, match="20 trials show 6 images 3 times: too few"):
        Scale(trials=20, held_out=9)
    with pytest.raises(ValueError, match="at least one of everything"):
        Scale(voxels=0)
