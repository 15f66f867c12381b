import numpy as np
import pytest
from scipy import stats

from flows.science import specificity
from flows.science.metrics import pearson
from flows.science.specificity import (
    add,
    directions_beside,
    draw_mixtures,
    draw_pairs,
    mix,
    mixture_sums,
    relative_sparseness,
    tuning,
    voxel_p,
)
from flows.science.statistics import benjamini_hochberg
from flows.science.stats.tails import permutation_p

DIMENSIONS = 24


def simulate(
    seed: int, *, images: int = 200, planted: int = 4, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Targets of two trials an image, predictions, images, and the directions that drive them.

    Brains answer to a direction's upper side alone, and predictions carry that.
    """
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((DIMENSIONS, DIMENSIONS)))[0][:planted]
    amount = (rng.random((images, planted)) < 0.25) * rng.uniform(0.5, 1.5, (images, planted))
    y = amount @ directions + 0.25 * rng.standard_normal((images, DIMENSIONS))
    y -= y.mean(axis=0)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    drive = np.maximum(y @ directions.T, 0)
    image = np.repeat(np.arange(images), 2)
    yhat = ((drive - drive.mean(axis=0)) @ directions)[image]
    yhat += scale * 0.6 * rng.standard_normal(yhat.shape) / np.sqrt(DIMENSIONS)
    yhat /= np.linalg.norm(yhat, axis=1, keepdims=True)
    return y[image].astype(np.float32), yhat.astype(np.float32), image, directions


def literal(
    y: np.ndarray, yhat: np.ndarray, unit: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """r of unit means, direction by direction."""
    found = []
    for direction in directions:
        z, zhat = (np.maximum(rows.astype(float) @ direction, 0) for rows in (y, yhat))
        means = [[values[unit == one].mean() for one in np.unique(unit)] for values in (z, zhat)]
        found.append(np.corrcoef(*means)[0, 1])
    return np.array(found)


def p_against_mixtures(
    y: np.ndarray, yhat: np.ndarray, unit: np.ndarray, components: np.ndarray, seed: int
) -> np.ndarray:
    mixtures = mix(draw_mixtures(len(components), 499, seed), components)
    null, own = (
        mixture_sums(y, yhat, unit, each).correlations() for each in (mixtures, components)
    )
    return permutation_p(own, null)


def test_correlations_are_the_literal_ones() -> None:
    y, yhat, image, _ = simulate(0)
    directions = np.random.default_rng(1).standard_normal((7, DIMENSIONS))
    sums = mixture_sums(y, yhat, image, directions)
    assert sums.count == 200
    assert sums.moments.shape == (5, 7)
    expected = literal(y, yhat, image, directions)
    np.testing.assert_allclose(sums.correlations(), expected, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_sums_of_parts_add_up_to_those_of_all() -> None:
    y, yhat, image, _ = simulate(0)
    directions = np.random.default_rng(1).standard_normal((7, DIMENSIONS))
    whole = mixture_sums(y, yhat, image, directions)
    parts = []
    for images in (np.arange(50), np.arange(50, 60), np.arange(60, 200)):
        rows = np.isin(image, images)
        parts.append(mixture_sums(y[rows], yhat[rows], image[rows] - images.min(), directions))
    added = add(parts)
    assert added.count == whole.count
    np.testing.assert_allclose(added.moments, whole.moments, rtol=1e-6)
    np.testing.assert_allclose(added.correlations(), literal(y, yhat, image, directions), atol=1e-5)


def test_a_part_without_trials_adds_nothing() -> None:
    y, yhat, image, _ = simulate(0)
    directions = np.eye(3, DIMENSIONS)
    none = mixture_sums(y[:0], yhat[:0], image[:0], directions)
    assert none.count == 0
    whole = mixture_sums(y, yhat, image, directions)
    np.testing.assert_array_equal(add([none, whole]).moments, whole.moments)
    assert (none.correlations() == 0).all()


def test_blocks_of_directions_are_the_same_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    y, yhat, image, _ = simulate(0)
    directions = np.random.default_rng(1).standard_normal((7, DIMENSIONS))
    whole = mixture_sums(y, yhat, image, directions)
    monkeypatch.setattr(specificity, "_ENTRIES", 2 * len(y))
    np.testing.assert_allclose(
        mixture_sums(y, yhat, image, directions).moments, whole.moments, rtol=1e-6
    )


def test_sums_of_each_mask_have_their_own_correlations() -> None:
    """Sums may have further axes: one a component, whose mask made the predictions."""
    y, yhat, image, _ = simulate(0)
    directions = np.random.default_rng(1).standard_normal((7, DIMENSIONS))
    others = np.random.default_rng(2).permuted(yhat, axis=0)
    each = [mixture_sums(y, told, image, directions) for told in (yhat, others)]
    both = specificity.Sums(each[0].count, np.stack([one.moments for one in each], axis=1))
    np.testing.assert_allclose(both.correlations(), [one.correlations() for one in each])


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_a_direction_along_which_nothing_changes_has_no_correlation(offset: float) -> None:
    y, yhat, image, _ = simulate(0)
    directions = np.eye(2, DIMENSIONS)
    y[:, 0] = offset
    found = mixture_sums(y, yhat, image, directions).correlations()
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[1] == pytest.approx(literal(y, yhat, image, directions[1:])[0], abs=1e-5)
    yhat[:, 0] = offset
    assert mixture_sums(y, yhat, image, directions).correlations()[0] == 0


def test_mixtures_are_drawn_by_their_seed_alike_in_every_direction() -> None:
    coefficients = draw_mixtures(5, 4000, 3)
    assert coefficients.shape == (4000, 5)
    np.testing.assert_array_equal(coefficients, draw_mixtures(5, 4000, 3))
    assert (coefficients != draw_mixtures(5, 4000, 4)).any()
    # A coefficient's standard error is 0.016, a covariance's as much.
    np.testing.assert_allclose(coefficients.mean(axis=0), 0, atol=0.07)
    np.testing.assert_allclose(np.cov(coefficients.T), np.eye(5), atol=0.1)


def test_mixtures_are_unit_directions_of_the_components_space() -> None:
    rng = np.random.default_rng(0)
    components = rng.standard_normal((3, DIMENSIONS))
    coefficients = draw_mixtures(3, 6, 0)
    mixed = mix(coefficients, components)
    np.testing.assert_allclose(np.linalg.norm(mixed, axis=1), 1)
    for row, weights in zip(mixed, coefficients, strict=True):
        direction = sum(weight * each for weight, each in zip(weights, components, strict=True))
        assert pearson(row, direction) == pytest.approx(1)
    assert not mix(np.zeros((1, 3)), components).any()
    assert not mix(coefficients, np.zeros((3, DIMENSIONS))).any()


def test_random_directions_are_told_no_better_than_mixtures_of_them() -> None:
    """As a test p is even a little too large: mixtures hold a part of every component."""
    share, decodable = [], []
    for seed in range(40):
        y, yhat, image, _ = simulate(seed)
        rng = np.random.default_rng(seed)
        components = mix(rng.standard_normal((16, DIMENSIONS)), np.eye(DIMENSIONS))
        p = p_against_mixtures(y, yhat, image, components, seed)
        share.append((p < 0.05).mean())
        decodable.append(literal(y, yhat, image, components[:3]).mean())
    # The standard error over cohorts is 0.006.
    assert 0.015 < np.mean(share) < 0.07
    # By chance r of 200 images lies beyond 0.14 once in 20: that they are decodable says nothing.
    assert np.mean(decodable) > 0.25


def test_one_sided_directions_are_told_better_than_mixtures_of_them_and_others() -> None:
    for seed in range(5):
        y, yhat, image, planted = simulate(seed)
        rng = np.random.default_rng(seed)
        others = mix(rng.standard_normal((8, DIMENSIONS)), np.eye(DIMENSIONS))
        p = p_against_mixtures(y, yhat, image, np.concatenate([planted, others]), seed)
        assert (p[:4] < 0.05).all()
        assert (p[4:] > 0.05).all()


def test_nothing_is_specific_where_predictions_tell_nothing() -> None:
    share = []
    for seed in range(40):
        y, _, image, planted = simulate(seed)
        other = simulate(seed + 1000)[1]
        share.append((p_against_mixtures(y, other, image, planted, seed) < 0.05).mean())
    assert np.mean(share) < 0.12


def respond(
    seed: int, *, concepts: int = 6, images: int = 400, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores along concepts that are correlated, and 10 voxels that answer to each, 20 to none.

    Concepts differ by a factor of 6 in how much of their voxels' responses they make.
    """
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((images, 1))
    scores = rng.standard_normal((images, concepts)) + 0.3 * common
    gain = np.repeat(np.geomspace(0.5, 3, concepts), 10)
    told = np.repeat(scores, 10, axis=1) * gain
    told += noise * rng.standard_normal(told.shape)
    return scores, np.concatenate([told, rng.standard_normal((images, 20))], axis=1)


def test_tuning_is_the_literal_one() -> None:
    scores, responses = respond(0)
    directions = np.random.default_rng(1).standard_normal((5, 6))
    standard = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    expected = []
    for direction in directions:
        r = np.array([np.corrcoef(standard @ direction, voxel)[0, 1] for voxel in responses.T])
        best = np.argsort(-r)[:5]
        multiple = []
        for voxel in responses.T[best]:
            design = np.column_stack([standard, np.ones(len(standard))])
            fitted = design @ np.linalg.lstsq(design, voxel, rcond=None)[0]
            multiple.append(np.corrcoef(fitted, voxel)[0, 1])
        expected.append(r[best].sum() / sum(multiple))
    np.testing.assert_allclose(tuning(scores, responses, directions), expected, atol=2e-3)


def test_voxels_are_tuned_to_concepts_however_well_they_tell_them_and_not_to_mixtures() -> None:
    scores, responses = respond(0)
    own = tuning(scores, responses, np.eye(6))
    assert own.min() > 0.9
    pairs = tuning(scores, responses, draw_pairs(6, 200, 0))
    assert 0.7 < np.median(pairs) < 0.85
    assert pairs.max() < own.min()


def literal_sparseness(
    scores: np.ndarray,
    responses: np.ndarray,
    coefficients: np.ndarray,
    turns: np.ndarray | None = None,
) -> np.ndarray:
    """Each turned direction's scores, its map, voxel by voxel, and the skewness of that map."""
    standard = (scores - scores.mean(axis=0)) / scores.std(axis=0)

    def skewness(along: np.ndarray) -> float:
        of_voxels = np.corrcoef(along, responses.T)[0, 1:]
        return abs(float(stats.skew(of_voxels)))

    found = []
    for direction in coefficients:
        along = standard @ direction
        along /= along.std()
        beside = []
        for axis in standard.T if turns is None else turns @ standard.T:
            off = axis - (axis @ along) / len(along) * along
            if off.std() < 1e-3:
                continue
            off /= off.std()
            for sign in (1, -1):
                turned = np.cos(np.pi / 6) * along + sign * np.sin(np.pi / 6) * off
                beside.append(skewness(turned))
        found.append(skewness(along) / max(beside))
    return np.array(found)


def plant(
    seed: int, *, share: float = 0.05, concepts: int = 12, images: int = 300, voxels: int = 400
) -> tuple[np.ndarray, np.ndarray]:
    """Scores along concepts, and voxels of which a share, drawn anew, answers to each."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((images, concepts)) + 0.3 * rng.standard_normal((images, 1))
    patches = rng.random((concepts, voxels)) < share
    gains = rng.uniform(0.5, 1.5, (concepts, 1)) * rng.uniform(0.7, 1.3, patches.shape)
    return scores, scores @ (patches * gains) + rng.standard_normal((images, voxels))


def test_sparseness_is_the_literal_one() -> None:
    scores, responses = plant(0, voxels=60, images=80, concepts=4, share=0.2)
    directions = np.concatenate([np.eye(4), np.random.default_rng(1).standard_normal((5, 4))])
    expected = literal_sparseness(scores, responses, directions)
    np.testing.assert_allclose(relative_sparseness(scores, responses, directions), expected)
    assert np.ptp(expected) > 0.3


def test_concepts_are_sparser_than_what_lies_beside_them_and_mixtures_are_not() -> None:
    scores, responses = plant(0)
    assert relative_sparseness(scores, responses, np.eye(12)).min() > 0.9
    pairs = draw_pairs(12, 200, 0)
    assert np.quantile(relative_sparseness(scores, responses, pairs), 0.95) < 0.9
    random = draw_mixtures(12, 200, 0)
    assert np.median(relative_sparseness(scores, responses, random)) < 0.6


def test_what_voxels_answer_less_to_is_as_sparse() -> None:
    scores, responses = plant(0)
    directions = np.concatenate([np.eye(12), draw_pairs(12, 20, 0)])
    np.testing.assert_allclose(
        relative_sparseness(scores, responses, -directions),
        relative_sparseness(scores, responses, directions),
    )


def test_blocks_of_tuned_voxels_and_of_maps_are_the_same_as_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, responses = plant(0)
    directions = draw_mixtures(12, 11, 0)
    whole = [each(scores, responses, directions) for each in (tuning, relative_sparseness)]
    monkeypatch.setattr(specificity, "_ENTRIES", 3 * responses.shape[1])
    parts = [each(scores, responses, directions) for each in (tuning, relative_sparseness)]
    np.testing.assert_allclose(parts, whole)


def test_a_component_on_the_direction_is_nothing_to_turn_to() -> None:
    """As where a component is found twice, or the components of a run sum to another."""
    scores, responses = plant(0, concepts=4)
    found = relative_sparseness(scores, responses, np.eye(4))
    twice = np.column_stack([scores, scores[:, 0]])
    np.testing.assert_allclose(relative_sparseness(twice, responses, np.eye(5)[:4]), found)
    assert np.isnan(relative_sparseness(scores[:, :1], responses, np.eye(1))).all()
    # Of the difference of the two nothing is left but rounding.
    difference = np.array([[1.0, 0, 0, 0, -1]])
    assert np.isnan(relative_sparseness(twice, responses, difference)).all()
    assert np.isnan(tuning(twice, responses, difference)).all()
    nearly = np.column_stack([scores[:, 0], scores[:, 0] + 1e-4 * scores[:, 1]])
    assert np.isnan(relative_sparseness(nearly, responses, np.eye(2))).all()


def test_sparseness_of_what_does_not_vary_is_unknown() -> None:
    scores, responses = plant(0, concepts=4)
    flat = scores.copy()
    flat[:, 1] = 3
    found = relative_sparseness(flat, responses, np.eye(4))
    assert np.isnan(found[1])
    # Nor does it lie beside the others.
    np.testing.assert_allclose(
        np.delete(found, 1),
        relative_sparseness(np.delete(scores, 1, axis=1), responses, np.eye(3)),
    )
    assert np.isnan(relative_sparseness(scores, responses * 0, np.eye(4))).all()
    assert np.isnan(relative_sparseness(scores, responses[:, :1], np.eye(4))).all()
    # Constant voxels answer to nothing, as most do.
    half = responses.copy()
    half[:, ::2] = 2
    assert np.isfinite(relative_sparseness(scores, half, np.eye(4))).all()


def test_pairs_are_sums_of_two_in_equal_parts() -> None:
    pairs = draw_pairs(4, 4000, 0)
    assert set(np.unique(pairs)) == {0, 1}
    assert (pairs.sum(axis=1) == 2).all()
    # 6 of them, all as likely.
    counts = np.unique(pairs, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert counts.min() > 550
    np.testing.assert_array_equal(pairs, draw_pairs(4, 4000, 0))
    assert (pairs != draw_pairs(4, 4000, 1)).any()


def test_differences_of_two_go_either_way() -> None:
    pairs = draw_pairs(4, 4000, 0, sign=-1)
    assert (np.sort(pairs, axis=1) == [-1, 0, 0, 1]).all()
    counts = np.unique(pairs, axis=0, return_counts=True)[1]
    assert len(counts) == 12
    assert counts.min() > 250


def literal_combined(own: np.ndarray, others: np.ndarray) -> float:
    """Each rank counted one by one; no tail is fitted to fewer than 200."""
    both = np.concatenate([own[:, None], others], axis=1)
    total = np.zeros(both.shape[1])
    for values in both:
        total += [-np.log((values >= value - 1e-6).mean()) for value in values]
    return float((total >= total[0] - 1e-6).mean())


def test_both_witnesses_are_combined_by_their_ranks() -> None:
    scores, responses = respond(0, noise=4)
    responses = responses[:, ::2]
    found = voxel_p(scores, responses, mixtures=80, seed=3)
    kinds = [
        draw_pairs(6, 80, 3),
        draw_pairs(6, 80, 3, sign=-1),
        draw_mixtures(6, 80, 3),
    ]
    witnesses = (tuning, relative_sparseness)
    own = np.array([each(scores, responses, np.eye(6)) for each in witnesses])
    expected = np.zeros((3, 6))
    for kind in kinds:
        against = np.array([each(scores, responses, kind) for each in witnesses])
        for k in range(6):
            if (kind != 0).all():
                # None of all is turned to the component whose place it takes.
                turns = np.delete(np.eye(6), k, axis=0)
                others = against.copy()
                others[1] = literal_sparseness(scores, responses, kind, turns)
            else:
                others = against[:, kind[:, k] == 0]
            for row in range(2):
                reached = (others[row] >= own[row, k] - 1e-6).sum()
                p = (1 + reached) / (1 + others.shape[1])
                expected[row, k] = max(expected[row, k], p)
            expected[2, k] = max(expected[2, k], literal_combined(own[:, k], others))
    np.testing.assert_allclose([found.tuned, found.sparse, found.combined], expected)
    assert len(set(found.combined)) > 2


# Of 24 components there are 276 pairs, too few distinct ones to fit a tail to.
@pytest.mark.parametrize(("components", "most"), [(24, 0.05 / 24), (48, 1e-4), (128, 1e-4)])
def test_one_concept_among_many_components_can_be_told(components: int, most: float) -> None:
    """By the mixtures that a run draws, surer than their ranks tell, and no other with it."""
    rng = np.random.default_rng(6)
    scores = rng.standard_normal((400, components))
    responses = rng.standard_normal((400, 500))
    responses[:, :30] += 2 * scores[:, :1]
    found = voxel_p(scores, responses, mixtures=1000, seed=0).combined
    assert found[0] < most <= 0.05 / components
    q = benjamini_hochberg(found)
    assert np.flatnonzero(q < 0.05).tolist() == [0]


def test_concepts_are_more_than_mixtures_and_mixtures_are_not() -> None:
    """Also where mixtures are told far better: of strong concepts, beside a weak one."""
    for seed in range(10):
        scores, responses = respond(seed)
        assert (voxel_p(scores, responses, mixtures=499, seed=seed).combined < 0.01).all()
        sums = np.array([scores[:, a] + scores[:, b] for a in range(6) for b in range(a)]).T
        for among in (sums, sums[:, [0, 5, 9, 14]]):
            p = voxel_p(np.concatenate([scores, among], axis=1), responses, mixtures=499, seed=seed)
            assert (p.combined[:6] < 0.01).all()
            assert (p.combined[6:] > 0.05).all()


@pytest.mark.parametrize("share", [0.04, 0.2])
def test_concepts_pass_and_a_mixture_in_the_place_of_one_does_not(share: float) -> None:
    """Places may be few voxels each, or so large that a voxel carries two concepts or three."""
    missed, mixed = [], []
    for seed in range(8):
        scores, responses = plant(seed, share=share)
        missed.append(voxel_p(scores, responses, mixtures=299, seed=seed).combined > 0.05)
        scores[:, 11] = scores[:, 0] + scores[:, 1]
        p = voxel_p(scores, responses, mixtures=299, seed=seed)
        mixed.append(p.combined[11])
    assert np.mean(missed) < 0.05
    assert min(mixed) > 0.01
    assert np.mean(np.array(mixed) < 0.05) < 0.3


def test_where_no_voxel_is_tuned_to_one_concept_sparseness_tells_them() -> None:
    """Each voxel carries four of 12: the five best carry others as well."""
    tuned, both = [], []
    for seed in range(5):
        p = voxel_p(*plant(seed, share=0.33), mixtures=299, seed=seed)
        tuned.append((p.tuned <= 0.05).mean())
        both.append((p.combined <= 0.05).mean())
    assert np.mean(tuned) < 0.8
    assert np.mean(both) > 0.9


def test_a_concept_that_voxels_answer_less_to_is_one_too() -> None:
    suppressed = []
    for seed in range(5):
        scores, responses = plant(seed)
        scores[:, 3] *= -1
        p = voxel_p(scores, responses, mixtures=499, seed=seed)
        suppressed.append(p.combined[3])
        assert p.tuned[3] > 0.5
        assert (np.delete(p.combined, 3) < 0.05).all()
    assert max(suppressed) < 0.05


def test_a_concept_whose_voxels_never_answer_is_none() -> None:
    scores, responses = plant(0, concepts=12)
    scores[:, 5] = np.random.default_rng(1).standard_normal(len(scores))
    p = voxel_p(scores, responses, mixtures=299, seed=0)
    assert p.combined[5] > 0.2
    rng = np.random.default_rng(2)
    scores, _ = plant(0)
    patches = np.kron(np.eye(12), np.ones(20))
    silent = scores @ patches + rng.standard_normal((len(scores), 240))
    silent[:, 100:120] = 1
    p = voxel_p(scores, silent, mixtures=299, seed=0)
    assert p.combined[5] > 0.2
    assert (np.delete(p.combined, 5) < 0.05).all()


def test_random_directions_and_voxels_of_noise_are_tuned_to_nothing() -> None:
    """Also where there are few of them, and so few sums of two to hold them against."""
    share = {4: [], 12: []}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        scores, responses = respond(seed)
        for count, found in share.items():
            random = scores @ rng.standard_normal((6, count))
            p = voxel_p(random, responses, mixtures=299, seed=seed)
            found.append((p.combined < 0.05).mean())
        noise = rng.standard_normal(responses.shape)
        p = voxel_p(scores, noise, mixtures=299, seed=seed)
        share[12].append((p.combined < 0.05).mean())
    assert np.mean(share[12]) < 0.1
    assert np.mean(share[4]) < 0.1


def small_design(
    seed: int, *, concepts: int, images: int = 160
) -> tuple[np.random.Generator, np.ndarray, np.ndarray, np.ndarray]:
    """Concepts among pictures of 10 categories: generator, directions, targets and responses."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((40, 40)))[0][:concepts]
    amount = (rng.random((images, concepts)) < 0.25) * rng.uniform(0.5, 1.5, (images, concepts))
    category = 0.4 * rng.standard_normal((10, 40))
    y = amount @ directions + category[rng.integers(10, size=images)]
    y += 0.25 * rng.standard_normal(y.shape)
    responses = rng.standard_normal((images, 300))
    scores = (y - y.mean(axis=0)) @ directions.T
    responses[:, : 40 * concepts] += 2 * np.repeat(scores / scores.std(axis=0), 40, axis=1)
    return rng, directions, y, responses


def p_beside(y: np.ndarray, responses: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    wide = np.concatenate([rows, directions_beside(rows, y)])
    p = voxel_p(y @ wide.T, responses, mixtures=299, seed=seed, count=len(rows))
    assert len(p.combined) == len(rows)
    return p.combined


@pytest.mark.parametrize("concepts", [1, 2, 4])
def test_few_components_are_told_by_other_directions_of_the_stimuli(concepts: int) -> None:
    """And neither random directions nor components of voxels of noise are."""
    shares = {"planted": [], "random": [], "noise": []}
    for seed in range(25):
        rng, rows, y, responses = small_design(seed, concepts=concepts)
        shares["planted"].append(p_beside(y, responses, rows, seed) < 0.05)
        random = mix(rng.standard_normal((concepts, 40)), np.eye(40))
        shares["random"].append(p_beside(y, responses, random, seed) < 0.05)
        noise = rng.standard_normal(responses.shape)
        shares["noise"].append(p_beside(y, noise, rows, seed) < 0.05)
    assert np.mean(shares["planted"]) > 0.95
    assert np.mean(shares["random"]) < 0.1
    assert np.mean(shares["noise"]) < 0.1


def test_directions_beside_are_axes_of_what_components_leave() -> None:
    _, rows, y, _ = small_design(0, concepts=3)
    rows = mix(rows + 0.2 * rows[::-1], np.eye(40))
    found = directions_beside(rows, y)
    assert found.shape == (5, 40)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    centred = y - y.mean(axis=0)
    scores = centred @ rows.T
    fitted = scores @ np.linalg.lstsq(scores, centred, rcond=None)[0]
    axes, variance, _ = np.linalg.svd(centred - fitted, full_matrices=False)
    beside = centred @ found.T
    # Scores go with the axis of their place alone, and with no component.
    cosine = (axes[:, :5].T @ beside) / np.linalg.norm(beside, axis=0)
    np.testing.assert_allclose(np.abs(cosine), np.eye(5), atol=1e-6)
    np.testing.assert_allclose(scores.T @ beside, 0, atol=1e-8)
    assert (np.diff(variance[:5]) < 0).all()


def test_no_direction_lies_beside_many_components_or_where_stimuli_do_not_differ() -> None:
    _, rows, y, _ = small_design(0, concepts=4)
    assert directions_beside(np.eye(40)[:8], y).shape == (0, 40)
    assert directions_beside(np.eye(40)[:7], y).shape == (1, 40)
    # Four categories differ in three directions, of which the first two components are two.
    categories = y[np.arange(len(y)) % 4]
    assert directions_beside(rows[:2], categories).shape == (1, 40)
    assert directions_beside(rows[:3], categories).shape == (0, 40)
    assert directions_beside(rows[:2], y * 0).shape == (0, 40)


def test_what_cannot_be_held_against_mixtures_has_no_p() -> None:
    scores, responses = respond(0)
    few = voxel_p(scores[:, :2], responses, mixtures=99, seed=0)
    assert np.isnan([few.tuned, few.sparse, few.combined]).all()
    flat = scores.copy()
    flat[:, 1] = 3
    found = voxel_p(flat, responses, mixtures=99, seed=0)
    for p in (found.tuned, found.sparse, found.combined):
        assert np.isnan(p[1])
        assert np.isfinite(np.delete(p, 1)).all()
    assert np.isfinite(tuning(scores, responses[:, :2], np.eye(6))).all()
    alone = voxel_p(scores, responses[:, :1], mixtures=99, seed=0)
    assert np.isfinite(alone.tuned).all()
    assert np.isnan([alone.sparse, alone.combined]).all()


def test_tuning_of_what_does_not_match_is_refused() -> None:
    scores, responses = respond(0)
    with pytest.raises(ValueError, match="do not match"):
        tuning(scores[1:], responses, np.eye(6))
    with pytest.raises(ValueError, match="do not match"):
        tuning(scores, responses, np.eye(5))
    with pytest.raises(ValueError, match="do not match"):
        relative_sparseness(scores, responses, np.eye(5))
    with pytest.raises(ValueError, match="do not match"):
        voxel_p(scores[1:, :2], responses, mixtures=9, seed=0)
    responses[3, 4] = np.nan
    for each in (tuning, relative_sparseness):
        with pytest.raises(ValueError, match="not finite"):
            each(scores, responses, np.eye(6))
    with pytest.raises(ValueError, match="not finite"):
        voxel_p(scores, responses, mixtures=9, seed=0)


def test_inputs_are_left_as_they_were() -> None:
    y, yhat, image, planted = simulate(0)
    before = [each.copy() for each in (y, yhat, image, planted)]
    mixture_sums(y, yhat, image, planted)
    for kept, array in zip(before, (y, yhat, image, planted), strict=True):
        np.testing.assert_array_equal(kept, array)
    scores, responses = respond(0)
    before = [scores.copy(), responses.copy()]
    voxel_p(scores, responses, mixtures=9, seed=0)
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(responses, before[1])
