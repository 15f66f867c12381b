import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.special import ndtri

from flows.science import response_maps as module
from flows.science.metrics import auc
from flows.science.response_maps import (
    area_interval,
    deviations,
    find_responding_voxels,
    remaining_noise,
    response_maps,
    signs,
    smoother,
    soft_weights,
    standing_out,
)
from flows.science.statistics import benjamini_hochberg
from tests.flows.science.fields import ball, voxel_cloud


def lattice(edge: int, step: float = 1.8) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(edge) * step] * 3, indexing="ij"), -1).reshape(-1, 3)


def literal_maps(scores: np.ndarray, responses: np.ndarray) -> np.ndarray:
    found = np.zeros((scores.shape[1], responses.shape[1]))
    for k, score in enumerate(np.maximum(scores, 0).T):
        for v, response in enumerate(responses.T):
            if np.ptp(score) > 0 and np.ptp(response) > 0:
                found[k, v] = np.corrcoef(score, response)[0, 1]
    return found


def literal_smoother(places: np.ndarray, widths: float = 0.75) -> np.ndarray:
    """Every pair of voxels on its own."""
    known = ~np.isnan(places).any(axis=1)
    distance = np.linalg.norm(places[:, None] - places, axis=2)
    positive = np.where(distance > 0, distance, np.inf)
    # Places that several voxels share count once.
    _, first = np.unique(places[known], axis=0, return_index=True)
    nearest = np.nanmin(positive[known][first], axis=1)
    width = widths * np.median(nearest)
    found = np.eye(len(places))
    for a in np.flatnonzero(known):
        for b in np.flatnonzero(known):
            near = distance[a, b] <= 3 * width
            found[a, b] = np.exp(-((distance[a, b] / width) ** 2) / 2) if near else 0
    return found / found.sum(axis=1, keepdims=True)


def planted(
    seed: int, *, noise: float = 1.0, voxels: int = 1500
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores (300, 4), responses, places, members (3, V): driven, suppressed, small; then none.

    What voxels answer to besides is neither theirs alone nor white: 20 courses that all share.
    """
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(300, 4))
    places = voxel_cloud(voxels, rng)
    # Of a sheet that was thinned out at random: lattice neighbours are often missing.
    members = np.array([ball(places, int(rng.integers(voxels)), size) for size in (150, 80, 40)])
    responses = noise * rng.normal(size=(300, voxels))
    responses += rng.normal(size=(300, 20)) @ rng.normal(size=(20, voxels)) / 20
    for sign, score, member in zip((1, -1, 1), scores.T, members, strict=False):
        responses[:, member] += sign * np.maximum(score, 0)[:, None]
    return scores, responses.astype(np.float32), places, members


def test_maps_match_correlations_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores, responses = rng.normal(size=(40, 5)), rng.normal(size=(40, 23)) * 10.0
    responses += scores[:, :1] + 300
    scores[:, 2], responses[:, 4] = -np.abs(scores[:, 2]), 0.1
    expected = literal_maps(scores, responses)
    assert np.allclose(response_maps(scores, responses), expected, atol=1e-6)
    assert not expected[2].any()
    assert not response_maps(scores, responses)[2].any()
    assert not response_maps(scores, responses)[:, 4].any()
    monkeypatch.setattr(module, "_RESPONSE_BLOCK", 7 * 40)
    assert np.allclose(response_maps(scores, responses), expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_maps_depend_on_no_unit(scale: float) -> None:
    rng = np.random.default_rng(1)
    scores, responses = rng.normal(size=(30, 3)), rng.normal(size=(30, 4))
    expected = response_maps(scores, responses)
    assert np.allclose(response_maps(scores * scale, responses), expected, atol=1e-6)
    assert np.allclose(response_maps(scores, responses * scale), expected, atol=1e-6)


def test_smoother_matches_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    places = voxel_cloud(150, rng) + rng.normal(0, 0.1, (150, 3))
    places[[3, 140]] = np.nan
    places[20, 1] = np.nan
    places[[30, 31, 32]] = places[33]
    expected = literal_smoother(places)
    assert np.allclose(smoother(places).toarray(), expected)
    assert np.array_equal(expected[20], np.eye(150)[20])
    assert np.allclose(smoother(places, 1.5).toarray(), literal_smoother(places, 1.5))
    monkeypatch.setattr(module, "_VOXEL_BLOCK", 32)
    assert np.allclose(smoother(places).toarray(), expected)


def test_smoother_of_a_lattice_is_the_kernel() -> None:
    smooth = smoother(lattice(7))
    assert np.allclose(smooth.sum(axis=1), 1)
    middle = smooth.toarray()[7**3 // 2]
    # One voxel, 6 at distance 1, 12 at 1.41, 8 at 1.73, 6 at 2, 24 at 2.24.
    assert (middle > 0).sum() == 57
    weight = np.exp(-np.array([0, 1, 2, 3, 4, 5]) / 2 / 0.75**2)
    assert np.isclose(middle.max(), 1 / (weight @ [1, 6, 12, 8, 6, 24]))


@pytest.mark.parametrize(
    "places",
    [
        np.empty((0, 3)),
        np.zeros((1, 3)),
        np.full((4, 3), np.nan),
        np.array([[1.0, 2, 3], [np.nan] * 3]),
        np.full((4, 3), 2.5),
    ],
    ids=["none", "one", "unknown", "one known", "one place"],
)
def test_without_neighbours_nothing_is_smoothed(places: np.ndarray) -> None:
    assert np.array_equal(smoother(places).toarray(), np.eye(len(places)))


def test_voxels_that_all_share_their_places_in_pairs_are_smoothed() -> None:
    places = np.repeat(lattice(4), 2, axis=0)
    smooth = smoother(places).toarray()
    assert np.allclose(smooth, literal_smoother(places))
    assert np.allclose(smooth[0::2], smooth[1::2])


def test_places_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"places must be a \(V, 3\) array, not \(4, 2\)"):
        smoother(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="places hold infinite values"):
        smoother(np.full((4, 3), np.inf))
    for width in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="the width of the smoothing must be above 0"):
            smoother(np.zeros((4, 3)), width)


def test_bulk_is_told_apart_from_a_fifth_that_stands_out() -> None:
    rng = np.random.default_rng(3)
    maps = rng.normal(0.05, 0.02, (2, 20_000))
    maps[0, :4000] += 0.3
    found = deviations(maps)
    # 15 deviations of the others' own; a fifth shifts the median by a third of a deviation, and
    # widens what half of the voxels span.
    assert 10 < found[0, :4000].mean() < 15
    assert abs(found[1].mean()) < 0.02
    assert abs(found[1].std() - 1) < 0.02
    for row, own in zip(maps, found, strict=True):
        spread = 1.4826 * np.median(np.abs(row - np.median(row)))
        assert np.allclose(own, (row - np.median(row)) / spread)


def test_voxels_with_few_neighbours_count_by_their_noise() -> None:
    rng = np.random.default_rng(11)
    places = voxel_cloud(2000, rng)
    places[:200] = np.nan
    smooth = smoother(places)
    noise = remaining_noise(smooth)
    assert np.allclose(noise, np.linalg.norm(smooth.toarray(), axis=1))
    assert np.allclose(noise[:200], 1)
    maps = (smooth @ (0.2 + 0.1 * rng.normal(size=(2000, 300)))).T
    for some in (slice(0, 200), slice(200, 2000), noise > 0.6, noise < 0.4):
        assert abs(deviations(maps, noise)[:, some].std() - 1) < 0.06
    assert deviations(maps)[:, :200].std() > 1.5


def test_noise_of_each_voxel_must_be_told() -> None:
    for noise in (np.ones(2), np.array([1.0, 0, 1]), np.array([1.0, np.nan, 1])):
        with pytest.raises(ValueError, match=r"maps \(2, 3\) need one noise above 0 each voxel"):
            deviations(np.ones((2, 3)), noise)


def test_a_map_without_spread_has_no_deviations() -> None:
    maps = np.array([[0.3, 0.3, 0.3, 0.3, 0.9], [0.0] * 5, [0.1, 0.2, 0.3, 0.4, 0.9]])
    maps[0, :4] *= 1 + np.array([0, 1, -1, 2]) * 1e-16
    found = deviations(maps)
    assert not found[:2].any()
    assert found[2].any()
    assert deviations(np.empty((0, 5))).shape == (0, 5)
    assert deviations(np.empty((2, 0))).shape == (2, 0)
    with pytest.raises(ValueError, match="maps hold values that are not finite"):
        deviations(np.array([[np.nan, 1.0]]))


def test_standing_out_is_benjamini_and_hochberg_on_one_side() -> None:
    rng = np.random.default_rng(4)
    deviation = rng.normal(size=(4, 500))
    deviation[0, :60] += 4
    deviation[1, :60] -= 4
    sign = np.array([1, -1, 1, -1])
    found = standing_out(deviation, sign, 0.05)
    for own, row in zip(found, deviation * sign[:, None], strict=True):
        assert np.array_equal(own, benjamini_hochberg(stats.norm.sf(row)) <= 0.05)
    assert found[0].sum() > 40
    assert np.array_equal(found[1], standing_out(-deviation, sign * -1, 0.05)[1])
    assert standing_out(deviation, sign, 0.001).sum() < found.sum()


def test_sign_follows_most_of_what_stands_out() -> None:
    rng = np.random.default_rng(5)
    deviation = rng.normal(size=(4, 1000))
    deviation[0, :50] += 8
    deviation[0, 50:70] -= 8
    deviation[1] = -deviation[0]
    # More voxels below the median, none of which stands out.
    deviation[2, :400] -= 0.5
    assert signs(deviation).tolist() == [1, -1, 1, 1]
    assert signs(deviation).dtype == np.int8


@settings(deadline=None)
@given(
    deviation=arrays(
        np.float64,
        st.tuples(st.integers(0, 3), st.integers(0, 30)),
        elements=st.one_of(
            st.floats(-60, 60),
            # Ties, and neighbours in floating point of what may be the smallest that stands out.
            st.integers(-2, 3).map(lambda steps: 4.1 + steps * np.spacing(4.1)),
            st.sampled_from([0.0, 2.0, 3.0, 1e-300, 1e30]),
        ),
    ),
    level=st.sampled_from([1e-6, 0.01, 0.1, 0.49]),
    data=st.data(),
)
def test_half_a_weight_is_what_stands_out(
    deviation: np.ndarray, level: float, data: st.DataObject
) -> None:
    sign = np.array(
        data.draw(
            st.lists(st.sampled_from([-1, 1]), min_size=len(deviation), max_size=len(deviation))
        ),
        dtype=np.int8,
    )
    soft = soft_weights(deviation, sign, level)
    hard = standing_out(deviation, sign, level)
    for stored in (soft, soft.astype(np.float32)):
        assert np.array_equal(stored >= 0.5, hard)
        assert (stored >= 0).all()
        assert (stored < 1).all()
    own = deviation * sign[:, None]
    assert not soft[own <= 0].any()
    for row, weight in zip(own, soft, strict=True):
        assert (np.diff(weight[np.argsort(row)]) >= 0).all()


def test_weights_of_neighbours_in_floating_point_keep_their_order() -> None:
    steps = 5.0 + np.arange(-3000, 3000) * np.spacing(5.0)
    deviation = np.concatenate([steps, [3.9], np.zeros(20)])[None]
    soft = soft_weights(deviation, np.array([1]))[0]
    assert (np.diff(soft[:6000]) >= 0).all()


def test_weights_are_told_by_the_smallest_that_stands_out() -> None:
    deviation = np.array([[0.1, 0.5, 9.0, 6.0, 5.0, -7.0], [1.0, 2.0, 0.0, -1.0, 0.5, 2.5]])
    soft = soft_weights(deviation, np.array([1, 1]))
    assert np.allclose(soft[0], [0.1 / 5.1, 0.5 / 5.5, 9 / 14, 6 / 11, 0.5, 0])
    alone = stats.norm.isf(0.01 / 6)
    above = np.maximum(deviation[1], 0)
    assert np.allclose(soft[1], above / (above + alone))


def test_a_voxel_that_nearly_stands_out_is_below_half_in_float32() -> None:
    needed = -ndtri(0.01 / 6)
    for part in (1e-12, 1e-10, 1e-8):
        deviation = np.array([[needed * (1 - part), 0, 1, -1, 0.5, 0.2]])
        assert not standing_out(deviation, np.array([1])).any()
        assert soft_weights(deviation, np.array([1])).astype(np.float32).max() < 0.5


def test_wider_deviations_order_what_does_not_stand_out() -> None:
    deviation = np.array([[9.0, 6.0, 5.0, 0.5, -1.0, 0.1]])
    wider = np.array([[1.0, 2.0, 8.0, 3.0, 20.0, -4.0]])
    soft = soft_weights(deviation, np.array([1]), 0.01, wider)
    assert np.allclose(soft, [[9 / 14, 6 / 11, 0.5, 3 / 23, 0.5, 0]])
    assert (soft >= 0.5).tolist() == standing_out(deviation, np.array([1])).tolist()
    turned = soft_weights(-deviation, np.array([-1]), 0.01, -wider)
    assert np.array_equal(turned, soft)
    with pytest.raises(ValueError, match=r"deviations \(1, 6\) and wider ones \(1, 5\) do not"):
        soft_weights(deviation, np.array([1]), 0.01, wider[:, :5])


@pytest.mark.parametrize("level", [0.0, 0.5, -1.0, np.nan])
def test_levels_that_tell_nothing_are_refused(level: float) -> None:
    deviation, sign = np.ones((1, 3)), np.array([1])
    for make in (standing_out, soft_weights):
        with pytest.raises(ValueError, match=r"level must lie between 0 and 0\.5"):
            make(deviation, sign, level)
    with pytest.raises(ValueError, match=r"level must lie between 0 and 0\.5"):
        signs(deviation, level)
    with pytest.raises(ValueError, match=r"level must lie between 0 and 0\.5"):
        find_responding_voxels(*planted(0)[:3], level=level)


@pytest.mark.parametrize("sign", [[1], [1, 0], [1, 2], [[1, 1]]])
def test_signs_must_be_one_each(sign: list[int]) -> None:
    with pytest.raises(ValueError, match=r"deviations \(2, 3\) need one sign of 1 or -1"):
        standing_out(np.ones((2, 3)), np.array(sign))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_patches_are_found_with_their_signs(seed: int) -> None:
    scores, responses, places, members = planted(seed)
    found = find_responding_voxels(scores, responses, places)
    assert found.sign.tolist() == [1, -1, 1, 1]
    for k, member in enumerate(members):
        hard = found.soft[k] >= 0.5
        assert (hard & member).sum() >= 0.8 * hard.sum()
        assert (hard & member).sum() >= 0.6 * member.sum()
        assert auc(found.soft[k][:, None], member)[0] > 0.97
    assert (found.soft[3] >= 0.5).sum() <= 3
    assert np.array_equal(found.soft >= 0.5, standing_out(found.deviation, found.sign))


def test_a_wider_order_finds_single_voxels_within_a_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, responses, places, members = planted(12)
    rng = np.random.default_rng(12)
    silent = members[0] & (rng.random(len(places)) < 0.3)
    responses[:, silent] = rng.normal(size=(300, silent.sum()))
    wide = find_responding_voxels(scores, responses, places)
    ends = area_interval(scores, responses, places, wide.sign, members, seed=0, draws=40)
    monkeypatch.setattr(module, "ORDER_WIDTH", module.WIDTH)
    narrow = find_responding_voxels(scores, responses, places)
    assert np.array_equal(wide.soft >= 0.5, narrow.soft >= 0.5)
    assert np.array_equal(wide.deviation, narrow.deviation)
    areas = [auc(found.soft[:1].T, members[0])[0] for found in (narrow, wide)]
    assert areas[1] > areas[0] + 0.005
    plain = area_interval(scores, responses, places, wide.sign, members, seed=0, draws=40)
    assert ends[0][0, 0] > plain[0][0, 0]
    assert ends[1][0, 0] > plain[1][0, 0]


def test_neighbours_of_what_responds_strongly_do_not_stand_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(21)
    places = np.argwhere(np.ones((12, 12, 12))) * 2.0
    patch = np.all(places < 6, axis=1)
    scores = rng.normal(size=(200, 1))
    responses = 6 * np.outer(np.maximum(scores, 0), patch) + rng.normal(size=(200, len(places)))
    hard = find_responding_voxels(scores, responses, places).soft[0] >= 0.5
    assert (hard & patch).sum() == patch.sum() == 27
    assert (hard & ~patch).sum() <= 9
    monkeypatch.setattr(module, "OWN", -np.inf)
    loose = find_responding_voxels(scores, responses, places).soft[0] >= 0.5
    assert (loose & ~patch).sum() > 2 * (hard & ~patch).sum() + 5


def test_draws_of_the_stimuli_as_they_are_have_the_area_of_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is drawn is in the order of what is given out."""
    scores, responses, places, members = planted(13)
    responses[:, ::50] = 0.1

    class Once:
        def multinomial(self, count: int, share: np.ndarray, size: int) -> np.ndarray:
            return np.ones((size, count), dtype=int)

    monkeypatch.setattr(module.np.random, "default_rng", lambda seed: Once())
    found = find_responding_voxels(scores, responses, places)
    low, high = area_interval(scores, responses, places, found.sign, members, seed=0, draws=2)
    expected = np.array([auc(found.soft.T, member) for member in members]).T
    assert np.allclose(low, expected, atol=2e-5)
    assert np.array_equal(low, high)


def test_smoothing_finds_what_noise_hides() -> None:
    scores, responses, places, members = planted(3, noise=4.0)
    smooth = find_responding_voxels(scores, responses, places)
    rough = find_responding_voxels(scores, responses, np.full_like(places, np.nan))
    for k in range(3):
        rates = [(found.soft[k][members[k]] >= 0.5).mean() for found in (smooth, rough)]
        assert rates[0] > rates[1] + 0.1


def test_noise_stands_out_nowhere() -> None:
    rng = np.random.default_rng(6)
    places = voxel_cloud(3000, rng)
    smooth = smoother(places)
    voxels, maps = 0, 0
    for _ in range(5):
        # Noise that neighbours share, and that all voxels share.
        noise = rng.normal(size=(200, 3000)) + 2 * (smooth @ rng.normal(size=(3000, 200))).T
        noise += rng.normal(size=(200, 5)) @ rng.normal(size=(5, 3000)) / 4
        hard = find_responding_voxels(rng.normal(size=(200, 20)), noise, places).soft >= 0.5
        voxels += hard.sum()
        maps += hard.any(axis=1).sum()
    assert voxels <= 3e-5 * 5 * 20 * 3000
    assert maps <= 6


def test_voxels_that_do_not_vary_are_no_part_of_the_bulk() -> None:
    scores, responses, places, _ = planted(7)
    rng = np.random.default_rng(7)
    order = rng.permutation(2 * len(places))
    # As many again, between the others, that do not vary.
    widened = np.hstack([responses, np.full_like(responses, 0.1)])[:, order]
    where = np.vstack([places, places + 0.9])[order]
    varies = order < len(places)
    found = find_responding_voxels(scores, widened, where)
    expected = find_responding_voxels(scores, responses[:, order[varies]], places[order[varies]])
    for name in ("maps", "deviation", "soft"):
        assert np.allclose(getattr(found, name)[:, varies], getattr(expected, name))
        assert not getattr(found, name)[:, ~varies].any()
    assert np.array_equal(found.sign, expected.sign)


@pytest.mark.parametrize(
    ("stimuli", "components", "voxels"),
    [(1, 2, 30), (0, 2, 30), (40, 0, 30), (40, 2, 1), (40, 2, 0)],
)
def test_too_little_of_anything_gives_empty_masks(
    stimuli: int, components: int, voxels: int
) -> None:
    rng = np.random.default_rng(8)
    scores, responses = rng.normal(size=(stimuli, components)), rng.normal(size=(stimuli, voxels))
    places = rng.normal(size=(voxels, 3))
    found = find_responding_voxels(scores, responses, places)
    assert found.maps.shape == found.deviation.shape == found.soft.shape == (components, voxels)
    assert not (found.soft >= 0.5).any()
    assert (found.sign == 1).all()
    regions = np.zeros((2, voxels), dtype=bool)
    regions[0, : voxels // 2] = True
    for end in area_interval(scores, responses, places, found.sign, regions, seed=0, draws=3):
        assert end.shape == (components, 2)
        assert np.isnan(end[:, 1]).all()
        assert np.isnan(end[:, 0]).all() == (stimuli < 2 or voxels < 2 or not components)


def test_what_does_not_match_or_is_not_finite_is_refused() -> None:
    scores, responses, places = np.ones((4, 2)), np.ones((4, 5)), np.ones((5, 3))
    sign, regions = np.array([1, 1]), np.ones((1, 5), dtype=bool)
    with pytest.raises(ValueError, match=r"scores \(3, 2\) and responses \(4, 5\) do not match"):
        response_maps(scores[:3], responses)
    with pytest.raises(ValueError, match=r"responses \(4, 5\) and places \(4, 3\) do not match"):
        find_responding_voxels(scores, responses, places[:4])
    with pytest.raises(ValueError, match=r"responses \(4, 5\) and regions \(1, 4\) do not match"):
        area_interval(scores, responses, places, sign, regions[:, :4], seed=0)
    with pytest.raises(ValueError, match=r"0 draws do not make an interval of mass 0\.95"):
        area_interval(scores, responses, places, sign, regions, seed=0, draws=0)
    with pytest.raises(ValueError, match="5 draws do not make an interval of mass 95"):
        area_interval(scores, responses, places, sign, regions, seed=0, draws=5, mass=95)
    with pytest.raises(ValueError, match="need one sign of 1 or -1 each component"):
        area_interval(scores, responses, places, sign[:1], regions, seed=0)
    for name in ("scores", "responses"):
        given = {"scores": scores.copy(), "responses": responses.copy()}
        given[name][2, 1] = np.nan
        message = f"{name} hold values that are not finite"
        with pytest.raises(ValueError, match=message):
            response_maps(**given)
        with pytest.raises(ValueError, match=message):
            find_responding_voxels(**given, places=places)
        with pytest.raises(ValueError, match=message):
            area_interval(**given, places=places, sign=sign, regions=regions, seed=0)


def literal_deviations(row: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    noise = np.sqrt((kernel**2).sum(axis=1))
    beyond = (row - np.median(row)) / noise
    spread = 1.4826 * np.median(np.abs(beyond))
    return np.asarray(beyond / spread) if spread > 0 else np.zeros(len(row))


def literal_standing_out(deviation: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's procedure, from the largest p down."""
    p = stats.norm.sf(deviation)
    order = np.argsort(p)
    passed = np.flatnonzero(p[order] <= 0.01 * np.arange(1, len(p) + 1) / len(p))
    out = np.zeros(len(p), dtype=bool)
    out[order[: passed[-1] + 1 if len(passed) else 0]] = True
    return out


def literal_interval(
    scores: np.ndarray,
    responses: np.ndarray,
    places: np.ndarray,
    sign: np.ndarray,
    regions: np.ndarray,
    seed: int,
    draws: int,
) -> np.ndarray:
    """Draws as repeated rows, each of which is correlated, smoothed and ranked on its own."""
    rng = np.random.default_rng(seed)
    count = len(scores)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    # Voxels that do not vary have no neighbours.
    live = np.ptp(responses, axis=0) > 0
    alone = np.eye(len(live))
    kernels = [alone] + [
        literal_smoother(np.where(live[:, None], places, np.nan), width) for width in (0.75, 1.25)
    ]
    areas = []
    for times in drawn:
        rows = np.repeat(np.arange(count), times)
        raw = literal_maps(scores[rows], responses[rows]) * sign[:, None]
        weights = np.zeros(raw.shape)
        for k, row in enumerate(raw):
            own, narrow, wide = (
                literal_deviations((row @ kernel.T)[live], kernel[live]) for kernel in kernels
            )
            out = literal_standing_out(np.where(own * np.sign(narrow) >= 1, narrow, 0))
            weights[k, live] = np.where(out, 1000 + narrow, np.maximum(wide, 0))
        areas.append([auc(weights.T, region) for region in regions])
    return np.quantile(np.array(areas).transpose(0, 2, 1), [0.025, 0.975], axis=0)


def test_interval_matches_repeated_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    places = voxel_cloud(60, rng)
    places[5] = np.nan
    scores, responses = rng.normal(size=(25, 3)), rng.normal(5, 1, (25, 60))
    responses[:, :15] += np.maximum(scores[:, :1], 0)
    # A voxel of two values, and one that does not vary in many draws.
    responses[:, 40] = responses[:, 40] > 5
    responses[:, 41] = 1 / 3
    responses[7, 41] = 9
    responses[:, 42] = 0.1
    scores[:, 2] = -1
    scores[[3, 4], 2] = 1
    regions = np.zeros((4, 60), dtype=bool)
    regions[0, :15] = regions[1, 10:50] = regions[2] = True
    sign = np.array([1, -1, 1])
    given = (scores, responses, places, sign, regions)
    expected = literal_interval(*given, seed=3, draws=40)
    found = np.array(area_interval(*given, seed=3, draws=40))
    assert np.isnan(found[:, :, 2:]).all()
    assert np.allclose(found[:, :, :2], expected[:, :, :2], atol=2e-4)
    monkeypatch.setattr(module, "_MAP_BLOCK", 7 * 3 * 60)
    monkeypatch.setattr(module, "_RESPONSE_BLOCK", 11 * 25)
    again = np.array(area_interval(*given, seed=3, draws=40))
    assert np.allclose(again[:, :, :2], found[:, :, :2], atol=2e-4)


def test_interval_is_narrow_about_a_planted_patch_and_about_chance_elsewhere() -> None:
    scores, responses, places, members = planted(10)
    found = find_responding_voxels(scores, responses, places)
    low, high = area_interval(scores, responses, places, found.sign, members, seed=0, draws=60)
    assert (low <= high).all()
    for k in range(3):
        assert low[k, k] > 0.9
    assert low[3].max() < 0.5 < high[3].min()
    same = area_interval(scores, responses, places, found.sign, members, seed=0, draws=60)
    assert np.array_equal(same[0], low)
    other = area_interval(scores, responses, places, found.sign, members, seed=1, draws=60)
    assert not np.array_equal(other[0], low)
