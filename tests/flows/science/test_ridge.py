import numpy as np
import pytest

from flows.science.metrics import top_k
from flows.science.ridge import ALPHAS, fit_ridge, ridge_path


def simulate(
    trials: int, voxels: int, *, signal: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((8, voxels))
    parts = []
    for size in (trials, 60):
        y = rng.standard_normal((size, 8)).astype(np.float32) + 1
        y /= np.linalg.norm(y, axis=1, keepdims=True)
        x = signal * y @ mixing + rng.standard_normal((size, voxels)) + 0.3
        parts += [x.astype(np.float32), y]
    return parts[0], parts[1], parts[2], parts[3]


def literal(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """The normal equations with an intercept column that is not penalised."""
    design = np.column_stack([x.astype(float), np.ones(len(x))])
    ridge = penalty * np.eye(design.shape[1])
    ridge[-1, -1] = 0
    solution = np.linalg.solve(design.T @ design + ridge, design.T @ y)
    return solution[:-1].T, solution[-1]


@pytest.mark.parametrize(("trials", "voxels"), [(100, 20), (30, 50), (40, 40)])
@pytest.mark.parametrize("alpha", [10.0, 1e4])
def test_equals_the_normal_equations(trials: int, voxels: int, alpha: float) -> None:
    x, y, x_validation, y_validation = simulate(trials, voxels)
    decoder = fit_ridge(x, y, x_validation, y_validation, alphas=[alpha])
    weight, bias = literal(x, y, alpha * voxels / 1000)
    np.testing.assert_allclose(decoder.parameters["weight"], weight, atol=1e-5)
    np.testing.assert_allclose(decoder.parameters["bias"], bias, atol=1e-5)


@pytest.mark.parametrize(("trials", "voxels"), [(400, 60), (60, 150)])
def test_one_factorisation_a_penalty_tells_what_the_decomposition_does(
    trials: int, voxels: int
) -> None:
    data = simulate(trials, voxels, signal=0.5)
    exact, single = ridge_path(*data), ridge_path(*data, decomposed=0)
    tried = np.isfinite(single.validation_top1)
    expected = np.array(exact.validation_cosine)[tried]
    np.testing.assert_allclose(np.array(single.validation_cosine)[tried], expected, atol=1e-4)
    assert single.alpha == exact.alpha
    # The largest first, and two beyond the best.
    assert tried.tolist() == [alpha >= single.alpha / 10.1 for alpha in ALPHAS]
    for name in ("weight", "bias"):
        expected = exact.decoder.parameters[name]
        np.testing.assert_allclose(single.decoder.parameters[name], expected, atol=1e-4)


def test_a_penalty_too_small_for_single_precision_is_never_chosen() -> None:
    x, y, x_validation, y_validation = simulate(60, 20)
    # Two voxels of one response leave the smallest eigenvalue to the penalty alone.
    x[:, 1], x_validation[:, 1] = x[:, 0], x_validation[:, 0]
    data = (1000 * x, y, 1000 * x_validation, y_validation)
    fit = ridge_path(*data, alphas=(1e-30, 1e6), decomposed=0)
    assert np.isnan(fit.validation_top1[0])
    assert fit.alpha == 1e6
    with pytest.raises(ValueError, match="too small for this many trials and voxels"):
        ridge_path(*data, alphas=(1e-30,), decomposed=0)


@pytest.mark.parametrize("voxels", [30, 300])
def test_the_penalty_is_the_one_that_validates_best(voxels: int) -> None:
    x, y, x_validation, y_validation = simulate(150, voxels, signal=0.5)
    fit = ridge_path(x, y, x_validation, y_validation)
    assert fit.alphas == ALPHAS
    assert len(fit.validation_top1) == len(ALPHAS)
    scores = []
    for alpha in ALPHAS:
        single = fit_ridge(x, y, x_validation, y_validation, [alpha]).predict(x_validation)
        top1 = top_k(single, y_validation, np.arange(60), ks=(1,))[1]
        scores.append((top1, float((single * y_validation).sum(axis=1).mean())))
    np.testing.assert_allclose(fit.validation_top1, [top1 for top1, _ in scores])
    np.testing.assert_allclose(fit.validation_cosine, [cosine for _, cosine in scores], atol=1e-5)
    assert fit.alpha == ALPHAS[scores.index(max(scores))]
    assert (
        fit.decoder.predict(x_validation).tobytes()
        == fit_ridge(x, y, x_validation, y_validation, [fit.alpha]).predict(x_validation).tobytes()
    )


def test_the_order_of_the_penalties_does_not_matter() -> None:
    data = simulate(80, 30, signal=0.5)
    assert ridge_path(*data).alpha == ridge_path(*data, alphas=ALPHAS[::-1]).alpha


def test_repeated_validation_images_are_one_of_the_pool() -> None:
    x, y, x_validation, y_validation = simulate(100, 30)
    once = ridge_path(x, y, x_validation, y_validation)
    twice = ridge_path(x, y, np.tile(x_validation, (2, 1)), np.tile(y_validation, (2, 1)))
    np.testing.assert_allclose(once.validation_top1, twice.validation_top1)


def test_planted_truth_and_null() -> None:
    x, y, x_validation, y_validation = simulate(500, 60)
    assert max(ridge_path(x, y, x_validation, y_validation).validation_top1) > 0.5
    x, y, x_validation, y_validation = simulate(500, 60, signal=0)
    decoder = fit_ridge(x, y, x_validation, y_validation)
    fresh = simulate(500, 60, signal=0, seed=5)
    # 60 queries at a chance of 1/60: more than 6 hits come once in 12,000 draws.
    assert top_k(decoder.predict(fresh[2]), fresh[3], np.arange(60), ks=(1,))[1] <= 0.1


def test_the_inputs_are_left_as_they_were() -> None:
    data = simulate(50, 20)
    before = [array.copy() for array in data]
    fit_ridge(*data)
    doubles = [array.astype(np.float64) for array in data]
    fit_ridge(*doubles)
    for kept, array, double in zip(before, data, doubles, strict=True):
        np.testing.assert_array_equal(kept, array)
        np.testing.assert_array_equal(kept, double)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alphas": []}, r"penalties must be positive and finite, not \[\]"),
        ({"alphas": [1.0, 0.0]}, "penalties must be positive"),
        ({"x": np.full((50, 20), np.nan)}, "x holds 1000 NaN or infinite values"),
        ({"x": np.ones((50, 20))}, "x: all 50 trials are identical"),
        ({"x_validation": np.ones((60, 19))}, r"x_validation of shape \(60, 19\)"),
        ({"y": np.ones((50, 8))}, "all 50 training trials have one target"),
        ({"y": np.zeros((50, 8))}, "50 of 50 training target vectors are zero"),
        ({"y": np.ones((49, 8))}, r"50 training trials have targets of shape \(49,\)"),
        (
            {"x_validation": np.ones((0, 20)), "y_validation": np.ones((0, 8))},
            "there are no validation trials",
        ),
    ],
)
def test_refuses(change: dict[str, object], message: str) -> None:
    names = ("x", "y", "x_validation", "y_validation")
    arguments = dict(zip(names, simulate(50, 20), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        fit_ridge(**arguments)  # type: ignore[arg-type]
