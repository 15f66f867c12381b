from dataclasses import replace

import numpy as np
import pytest

from flows.config import RunConfig
from tests.benchmarks import curves, recovery, simulation
from tests.benchmarks.simulation import CohortSize, draw_cohort, found, nearest

SMALL = CohortSize(
    participants=2,
    concepts=3,
    topics=8,
    dimension=24,
    images=200,
    validation=100,
    grid=(6, 6, 6),
    patch=15,
    ceiling=40.0,
)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default settings, but for as few components and starts as a small cohort needs."""
    reduction = replace(RunConfig().reduction, components=12, starts=4, recurrence=0.5)
    monkeypatch.setattr(
        simulation, "RUN", RunConfig().model_copy(update={"reduction": reduction}), raising=True
    )


@pytest.mark.usefixtures("quick")
def test_planted_voxels_are_recovered_by_all_ways() -> None:
    aucs = recovery.compare(draw_cohort(SMALL, 0), 0)
    assert list(aucs) == [
        recovery.OURS,
        recovery.PCA,
        recovery.HARD,
        recovery.CUT,
        recovery.RIDGE,
    ]
    assert all(each.shape == (2, 3) for each in aucs.values())
    # So few voxels are two parts of a mask: this is no measure of the method.
    assert aucs[recovery.OURS].mean() > 0.75
    assert aucs[recovery.RIDGE].mean() > 0.75


@pytest.mark.usefixtures("quick")
def test_recovery_tells_every_way_and_the_differences() -> None:
    lines = list(recovery.measure(SMALL, seeds=(0,)))
    assert "2 participants, 216 voxels, 600 training trials, 3 planted concepts" in lines[0]
    for name in (recovery.OURS, recovery.PCA, recovery.HARD, recovery.CUT, recovery.RIDGE):
        assert sum(line.startswith(f"{name}: mean AUC") for line in lines) == 1
    assert sum(" - " in line and "ahead for" in line for line in lines) == 3


@pytest.mark.usefixtures("quick")
def test_curves_are_two_tables() -> None:
    size = replace(SMALL, participants=3)
    lines = list(curves.measure(size, ceilings=(40.0, 20.0), participants=(3, 2), few=2, seed=0))
    rows = [line.split(" | ") for line in lines[1:]]
    assert [row[0] for row in rows[0::3]] == [
        "median noise ceiling, estimated",
        "participants",
    ]
    assert [row[0].strip() for row in rows[4:]] == ["3", "2"]
    ceilings = [float(row[0].rstrip(" %")) for row in rows[1:3]]
    assert ceilings == pytest.approx([40, 20], rel=0.15)
    assert all(row[2].endswith(" of 3") for row in (*rows[1:3], *rows[4:]))
    # Two participants are the same cohort in both tables.
    assert rows[1][1:] == rows[5][1:]


def test_a_cohort_is_what_it_was_asked_to_be() -> None:
    cohort = draw_cohort(replace(SMALL, ceiling=20.0), 1)
    for one in cohort.participants:
        assert one.planted.sum(axis=1).tolist() == [15, 15, 15]
        assert one.planted.sum(axis=0).max() == 1
        assert one.answers[one.planted.any(axis=0)].all()
        assert one.noise_ceiling == pytest.approx(20, rel=0.2)
        assert not set(one.image) & set(one.image_validation)
    first, second = cohort.participants
    assert not set(first.image) & set(second.image)
    assert set(first.image_validation) == set(second.image_validation)
    np.testing.assert_allclose(np.linalg.norm(cohort.vectors, axis=1), 1, rtol=1e-5)


def test_voxels_that_carry_a_concept_answer_to_it() -> None:
    cohort = draw_cohort(SMALL, 2)
    cosine = (cohort.vectors - cohort.vectors.mean(axis=0)) @ cohort.directions.T
    for one in cohort.participants:
        drive = cosine[one.image]
        r = np.corrcoef(np.maximum(drive, 0).T, one.x.T)[:3, 3:]
        inside = [abs(row[member]).mean() for row, member in zip(r, one.planted, strict=True)]
        outside = abs(r[:, ~one.planted.any(axis=0)]).mean()
        assert min(inside) > 3 * outside


def test_found_wants_three_quarters_of_the_participants() -> None:
    aucs = np.array([[0.95, 0.95], [0.95, 0.95], [0.95, 0.5], [0.5, 0.5]])
    assert found(aucs) == 1
    assert found(aucs[:2]) == 2


def test_the_nearest_component_is_by_cosine() -> None:
    components = np.array([[3.0, 0], [0, 0.1], [-1, 0]])
    assert nearest(components, np.array([[0.1, 1], [-1, 0.5]])).tolist() == [1, 2]


def test_a_cut_keeps_the_highest() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [3.0, 2.0, 1.0]])
    members = np.array([[True, True, False], [False, False, True]])
    assert recovery._cut(scores, members).tolist() == [[0, 1, 1], [1, 0, 0]]
