import numpy as np

from flows.mask import decodability


def categories(
    seed: int, *, decoded: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ten stimuli of each of 12 categories, of one vector each, told by category in any case."""
    rng = np.random.default_rng(seed)
    y = np.repeat(rng.normal(size=(12, 40)), 10, axis=0).astype(np.float32)
    image = np.repeat(np.arange(120), 2)
    own = y if decoded else np.repeat(rng.normal(size=(12, 40)), 10, axis=0)
    predicted = (own[image] + rng.normal(size=(240, 40))).astype(np.float32)
    return y, image, predicted, np.linalg.qr(rng.normal(size=(40, 30)))[0].T.astype(np.float32)


def test_stimuli_of_one_vector_are_one_image() -> None:
    """Answers that go by category, but not by the component, are no sign of decoding it."""
    p = np.concatenate(
        [decodability(*categories(seed, decoded=False), 199, seed) for seed in range(20)]
    )
    assert len(p) == 600
    assert 0.02 <= (p < 0.05).mean() <= 0.07


def test_categories_that_are_told_right_are_decodable() -> None:
    p = decodability(*categories(0, decoded=True), 199, 0)
    assert (p < 0.05).mean() > 0.9


def test_two_distinct_vectors_are_too_few() -> None:
    y, image, predicted, rows = categories(0, decoded=True)
    p = decodability(y, image[:40], predicted[:40], rows, 99, 0)
    assert p.shape == (30,)
    assert np.isnan(p).all()
