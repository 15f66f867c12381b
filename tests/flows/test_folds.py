"""How many stimuli test by default, when folds rotate, and what a dataset that grows keeps."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from app.errors import InputError
from flows.config import IngestConfig
from flows.folds import Folds, KnownFolds, assign_folds
from flows.science.splits import split_by_image
from flows.sources.base import Fold, Source
from tests.flows.shown import pictures, shown


def lab_sized(participants: int = 3, images: int = 160) -> Source:
    """Each of some participants sees the same pictures twice."""
    return shown({f"sub-{n:02d}": [pictures(images)] * 2 for n in range(1, participants + 1)})


def block_design(runs: int, participants: int = 2, folds: dict[str, Fold] | None = None) -> Source:
    """Every run shows eight categories once, each a stimulus of its own."""
    sessions = [[f"category{n}-run{run:02d}" for n in range(8)] for run in range(runs)]
    return shown({f"sub-{n:02d}": sessions for n in range(1, participants + 1)}, folds)


def own_split(runs: int) -> dict[str, Fold]:
    """The last run tests, the two before validate."""
    by_run: list[Fold] = [*["train"] * (runs - 3), *["validation"] * 2, "test"]
    return {f"category{n}-run{run:02d}": fold for run, fold in enumerate(by_run) for n in range(8)}


def assign(source: Source, known: KnownFolds | None = None, **options: Any) -> Folds:
    return assign_folds(source, IngestConfig.model_validate(options), known)


def known(folds: Folds) -> KnownFolds:
    """Folds as the catalog gives them back."""
    return KnownFolds(folds.fold, folds.rotation, (folds.n_test, folds.n_validation))


def sizes(folds: Folds) -> tuple[int, int, int]:
    counted = Counter(folds.fold.values())
    return counted["test"], counted["validation"], counted["train"]


def test_a_lab_sized_set_is_split_by_shares() -> None:
    found = assign(lab_sized())
    assert sizes(found) == (40, 20, 100)
    assert (found.design, found.n_test, found.n_validation) == ("single", 40, 20)
    assert found.told == (
        "40 test, 20 validation, 100 training images a participant "
        "(shares: 1,000 and 1,000 do not fit 160 images)"
    )


@pytest.mark.parametrize(
    ("images", "expected"),
    [(4000, (1000, 1000)), (3999, (1000, 500)), (122, (31, 15)), (118, (30, 15))],
)
def test_the_published_numbers_hold_where_half_is_left_to_train_on(
    images: int, expected: tuple[int, int]
) -> None:
    found = assign(lab_sized(1, images))
    assert (found.n_test, found.n_validation) == expected
    assert sizes(found) == (*expected, images - sum(expected))
    assert ("shares" in found.told) == (images < 4000)


def test_shares_are_of_the_participant_with_the_fewest_images() -> None:
    many, few = pictures(5000), pictures(200, first=5000)
    found = assign(shown({"sub-01": [many], "sub-02": [few]}))
    assert (found.n_test, found.n_validation) == (50, 25)
    assert sizes(found) == (100, 50, 5050)
    assert "50 test, 25 validation, 125 to 4,925 training images" in found.told


def test_explicit_numbers_mean_what_they_did() -> None:
    source = lab_sized()
    found = assign(source, n_test=20, n_validation=10)
    drawn = split_by_image(
        np.full((3, 160), 2), np.ones(160, dtype=bool), n_test=20, n_validation=10, seed=0
    )
    assert list(found.fold.values()) == drawn.tolist()
    # Fewer than rotation would ask for, but asked for.
    assert found.design == "single"
    assert found.told.endswith("130 training images a participant (as configured)")
    # One of them alone leaves the other to the shares.
    assert assign(source, n_validation=30).n_test == 40
    assert assign(source, n_test=60).n_validation == 20


def test_a_block_design_with_a_small_split_of_its_own_rotates() -> None:
    source = block_design(12, folds=own_split(12))
    found = assign(source)
    assert found.rotation is not None
    assert found.told == "rotated over 12 runs, since one split would test 8 stimuli"
    for key, group in found.rotation.items():
        assert key.endswith(f"run{group:02d}")
        # What reads one split alone finds the first rotation.
        expected = {0: "test", 1: "validation"}.get(group, "train")
        assert found.fold[key] == expected
    single = assign(source, folds="single")
    assert single.fold == own_split(12)
    assert single.told == (
        "8 test, 16 validation, 72 training stimuli a participant (the data set's own)"
    )


def test_a_split_of_its_own_that_is_large_enough_stays() -> None:
    keys = pictures(60)
    folds: dict[str, Fold] = {
        key: "test" if n < 30 else "validation" if n < 40 else "train" for n, key in enumerate(keys)
    }
    found = assign(shown({"sub-01": [keys]}, folds))
    assert (found.fold, found.design) == (folds, "single")
    # It is told by the participant who saw the fewest of them.
    fewer = assign(shown({"sub-01": [keys], "sub-02": [keys[1:]]}, folds))
    assert fewer.told == "rotated over 5 groups of images, since one split would test 29 stimuli"


def test_few_images_are_tested_in_turn() -> None:
    found = assign(lab_sized(images=100))
    assert found.rotation is not None
    assert Counter(found.rotation.values()) == dict.fromkeys(range(5), 20)
    assert found.told == "rotated over 5 groups of images, since one split would test 25 stimuli"


def test_rotation_can_be_asked_for() -> None:
    found = assign(block_design(30), folds="rotated")
    assert found.told == "rotated over 12 groups of 30 runs, as configured"
    assert assign(lab_sized(), folds="rotated").design == "rotated"
    assert assign(lab_sized(images=100), folds="single").design == "single"


def test_too_little_to_rotate_keeps_the_split_of_its_own() -> None:
    folds: dict[str, Fold] = {"a": "test", "b": "validation", "c": "train"}
    found = assign(shown({"sub-01": [["a", "b", "c"]]}, folds))
    assert (found.fold, found.design) == (folds, "single")


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            {"n_test": 100, "n_validation": 70},
            "sub-01 keeps no image to train on: of 160 images seen, 100 are test and 60 validation "
            "(asked for 100 and 70)",
            "lower n_test or n_validation",
        ),
        ({}, "sub-04 keeps no image to train on: of 3 images seen", "show every participant more"),
        (
            {"folds": "rotated"},
            "sub-04 saw 3 images, which fill 3 of the 5 groups that are tested in turn",
            "leave that participant out",
        ),
    ],
)
def test_participants_are_named_by_their_labels(
    options: dict[str, Any], message: str, hint: str
) -> None:
    seen = {f"sub-{n:02d}": [pictures(160)] * 2 for n in (1, 2, 3)}
    if "n_test" not in options:
        seen["sub-04"] = [pictures(3, first=500)]
    with pytest.raises(InputError) as caught:
        assign(shown(seen), **options)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint


def test_a_split_of_its_own_is_of_all_stimuli_or_none() -> None:
    with pytest.raises(InputError, match="1 of 3 stimuli have no fold"):
        assign(shown({"sub-01": [["a", "b", "c"]]}, {"a": "test", "b": "train"}))


def test_a_dataset_that_grows_keeps_what_it_held_out() -> None:
    before = assign(lab_sized())
    grown = {f"sub-{n:02d}": [pictures(160)] * 2 + [pictures(160, first=160)] for n in (1, 2, 3)}
    after = assign(shown(grown), known(before))
    assert before.fold.items() <= after.fold.items()
    assert (after.n_test, after.n_validation) == (40, 20)
    assert sizes(after) == (40, 20, 260)
    assert after.told.endswith("(as the catalog has them)")
    again = assign(shown(grown), known(after))
    assert again == after


def test_numbers_that_were_asked_for_once_stay_where_nothing_is_new() -> None:
    """They leave a third to train on, which is not asked about again."""
    before = assign(lab_sized(images=60), n_test=20, n_validation=20)
    after = assign(lab_sized(images=60), known(before))
    assert (after.fold, after.n_test, after.n_validation) == (before.fold, 20, 20)


def test_a_newcomer_with_few_images_gets_shares_and_nobody_else_new_folds() -> None:
    before = assign(lab_sized())
    seen = {f"sub-{n:02d}": [pictures(160)] * 2 for n in (1, 2, 3)}
    seen["sub-04"] = [pictures(48, first=1000)]
    after = assign(shown(seen), known(before))
    assert before.fold.items() <= after.fold.items()
    assert sizes(after) == (40 + 12, 20 + 6, 100 + 30)
    assert "shares: 40 and 20 do not fit 48 images" in after.told


def test_what_rotates_goes_on_rotating_as_it_did() -> None:
    before = assign(block_design(8))
    after = assign(block_design(10), known(before))
    assert before.rotation is not None
    assert after.rotation is not None
    assert before.rotation.items() <= after.rotation.items()
    assert set(after.rotation.values()) == set(range(10))
    assert after.told == "rotated over 10 runs, as the catalog has them"
    # With many more images too, one split of which would be large enough by now.
    few = assign(lab_sized(images=100))
    many = assign(lab_sized(images=400), known(few))
    assert few.rotation is not None
    assert many.rotation is not None
    assert few.rotation.items() <= many.rotation.items()
