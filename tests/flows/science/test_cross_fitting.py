import numpy as np
import pytest

from flows.science.cross_fitting import CrossFit, cross_fit_ridge
from flows.science.metrics import top_k

ALPHA = 1e3


def simulate(
    images: int, voxels: int, *, signal: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Responses of each image twice, targets, and groups of images."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), 2)
    y = rng.standard_normal((images, 8)).astype(np.float32) + 1
    y = (y / np.linalg.norm(y, axis=1, keepdims=True))[image]
    x = signal * y @ rng.standard_normal((8, voxels)) + rng.standard_normal((2 * images, voxels))
    return x.astype(np.float32), y, rng.integers(0, 3, images)[image]


def literal(x: np.ndarray, y: np.ndarray, keep: np.ndarray, penalty: float) -> np.ndarray:
    """Weights (V, D) fitted on some trials, centred by their own means."""
    own, targets = x[keep].astype(float), y[keep].astype(float)
    own, targets = own - own.mean(axis=0), targets - targets.mean(axis=0)
    products = own.T @ own + penalty * np.eye(x.shape[1])
    return np.linalg.solve(products, own.T @ targets)


@pytest.mark.parametrize(("images", "voxels"), [(60, 20), (20, 70)])
@pytest.mark.parametrize("decomposed", [2048, 0])
def test_equals_fits_that_never_saw_the_group(images: int, voxels: int, decomposed: int) -> None:
    x, y, group = simulate(images, voxels)
    found = cross_fit_ridge(x, y, group, [ALPHA], decomposed=decomposed)
    penalty = ALPHA * voxels / 1000
    assert found.groups.tolist() == [0, 1, 2]
    for one, decoder in zip(found.groups, found.without, strict=True):
        weight = literal(x, y, group != one, penalty)
        np.testing.assert_allclose(decoder.parameters["weight"], weight.T, atol=2e-5)
        rows = group == one
        expected = (x[rows] - x[~rows].mean(axis=0)) @ weight + y.mean(axis=0)
        np.testing.assert_allclose(found.predicted[rows], expected, atol=1e-4)
        np.testing.assert_allclose(decoder.predict(x[rows]), _unit(expected), atol=1e-4)
    everything = literal(x, y, np.ones(len(x), dtype=bool), penalty)
    np.testing.assert_allclose(found.decoder.parameters["weight"], everything.T, atol=2e-5)


def test_the_penalty_is_that_of_the_best_predictions_out_of_their_group() -> None:
    x, y, group = simulate(80, 40, signal=0.3)
    found = cross_fit_ridge(x, y, group)
    tried = np.flatnonzero(np.isfinite(found.cosine))
    alone = [cross_fit_ridge(x, y, group, [found.alphas[index]]) for index in tried]
    scores = [_cosine(each.predicted, y) for each in alone]
    assert found.alpha == found.alphas[tried[int(np.argmax(scores))]]
    assert found.alpha not in (found.alphas[0], found.alphas[-1])
    np.testing.assert_allclose(np.array(found.cosine)[tried], scores, atol=1e-5)


def test_nothing_is_told_of_targets_that_responses_do_not_carry() -> None:
    hits = []
    for seed in range(10):
        x, y, group = simulate(40, 300, signal=0, seed=seed)
        hits.append(_top1(cross_fit_ridge(x, y, group, [1.0]), y))
    # In-sample predictions of 300 voxels would find nearly every image; chance is 1 in 40.
    assert np.mean(hits) < 0.06


@pytest.mark.parametrize(("images", "voxels"), [(10, 40), (20, 8)])
def test_of_few_trials_noise_is_told_at_chance(images: int, voxels: int) -> None:
    """Centred by the means of all trials, left-out ones too, it was told beyond chance."""
    better = []
    for seed in range(120):
        x, y, _ = simulate(images, voxels, signal=0, seed=seed)
        image = np.repeat(np.arange(images), 2)
        told = cross_fit_ridge(x, y, image, [ALPHA]).predicted
        cosine = _unit(told) @ _unit(y[::2]).T
        own = cosine[np.arange(len(x)), image]
        better.append(np.sum(own[:, None] > cosine) / (len(x) * (images - 1)))
    assert abs(np.mean(better) - 0.5) < 3 * np.std(better) / np.sqrt(len(better))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _top1(found: CrossFit, y: np.ndarray) -> float:
    pool, own = np.unique(y, axis=0, return_inverse=True)
    return float(top_k(found.predicted, pool, own.ravel(), (1,))[1])


def _cosine(predicted: np.ndarray, y: np.ndarray) -> float:
    length = np.linalg.norm(predicted, axis=1) * np.linalg.norm(y, axis=1)
    return float(np.mean((predicted * y).sum(axis=1) / length))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": np.zeros(120, dtype=int)}, "two groups"),
        ({"group": np.zeros(7, dtype=int)}, "a group for each of 120 trials"),
        ({"alphas": []}, "positive and finite"),
        ({"y": np.ones((120, 8), dtype=np.float32)}, "one target"),
        ({"x": np.full((120, 20), np.nan, dtype=np.float32)}, "finite"),
    ],
)
def test_refuses(change: dict[str, np.ndarray], message: str) -> None:
    x, y, group = simulate(60, 20)
    arguments = {"x": x, "y": y, "group": group, "alphas": [ALPHA]} | change
    with pytest.raises(ValueError, match=message):
        cross_fit_ridge(**arguments)  # type: ignore[arg-type]
