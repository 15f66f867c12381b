from dataclasses import replace

import numpy as np
import pytest
import torch

from flows.science import reduction
from flows.science.clustering import leaf_order
from flows.science.reduction import ReductionConfig, reduce_contrastively

FAST = ReductionConfig(components=4, steps=600, learning_rate=1e-2, batch=64)


def simulate(seed: int = 0, carried: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets in 40 dimensions, of which the predictions carry the first few alone."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(400), 2)
    y = rng.normal(size=(400, 40))[image]
    yhat = rng.normal(size=y.shape)
    yhat[:, :carried] = y[:, :carried] + 0.3 * rng.normal(size=(len(y), carried))
    scale = np.sqrt(y.shape[1])
    return (y / scale).astype(np.float32), (yhat / scale).astype(np.float32), image


def carried_share(components: np.ndarray, carried: int = 5) -> float:
    return float(np.linalg.norm(components[:, :carried], axis=1).mean())


def reduce(
    y: np.ndarray, yhat: np.ndarray, image: np.ndarray, config: ReductionConfig = FAST
) -> np.ndarray:
    return reduce_contrastively(y, yhat, image, config, seed=3, device="cpu")


def test_components_lie_in_what_predictions_carry() -> None:
    y, yhat, image = simulate()
    components = reduce(y, yhat, image)
    assert components.shape == (4, 40)
    assert components.dtype == np.float32
    # Chance is sqrt(5 / 40) = 0.35.
    assert carried_share(components) > 0.9


def test_shuffled_predictions_prefer_nothing() -> None:
    y, yhat, image = simulate()
    shuffled = yhat[np.random.default_rng(1).permutation(len(yhat))]
    assert carried_share(reduce(y, shuffled, image)) < 0.55


def test_rows_are_unit_and_in_leaf_order() -> None:
    components = reduce(*simulate(), replace(FAST, components=12, steps=30))
    assert np.allclose(np.linalg.norm(components, axis=1), 1, atol=1e-6)
    # Once in order, ordering them again moves nothing.
    assert leaf_order(components).tolist() == list(range(len(components)))


def test_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    y, yhat, image = simulate()
    config = replace(FAST, steps=40)
    first = reduce_contrastively(y, yhat, image, config, seed=3, device="cpu")
    again = reduce_contrastively(y, yhat, image, config, seed=3, device="cpu")
    other = reduce_contrastively(y, yhat, image, config, seed=4, device="cpu")
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_one_step_is_the_literal_one() -> None:
    """All trials in one batch, so that the first step has no choice of rows."""
    y, yhat, _ = simulate()
    y, yhat = y[::2][:50], yhat[::2][:50]
    config = ReductionConfig(components=3, steps=1, learning_rate=0.1, batch=50)
    found = reduce_contrastively(y, yhat, np.arange(50), config, seed=5, device="cpu")

    weight = torch.randn(3, 40, generator=torch.Generator().manual_seed(5), requires_grad=True)
    z = [torch.nn.functional.leaky_relu(weight @ torch.tensor(row), 0.05) for row in y]
    zhat = [torch.nn.functional.leaky_relu(weight @ torch.tensor(row), 0.05) for row in yhat]
    loss = torch.zeros(())
    for i in range(50):
        rows = torch.stack([-(zhat[i] - z[j]).square().sum() for j in range(50)])
        columns = torch.stack([-(zhat[j] - z[i]).square().sum() for j in range(50)])
        loss = loss - (rows.log_softmax(0)[i] + columns.log_softmax(0)[i]) / 100
    optimiser = torch.optim.Adam([weight], lr=0.1)
    loss.backward()
    optimiser.step()
    literal = torch.nn.functional.normalize(weight.detach(), dim=1).numpy()
    assert np.allclose(found, literal[leaf_order(literal)], atol=1e-4)


def test_pairs_of_one_image_are_no_negatives() -> None:
    y, yhat, image = simulate()
    y, yhat, image = y[:200], yhat[:200], image[:200]
    config = ReductionConfig(components=2, steps=5, learning_rate=0.1, batch=50)
    told_apart = reduce_contrastively(y, yhat, np.arange(200), config, seed=0, device="cpu")
    same = reduce_contrastively(y, yhat, image, config, seed=0, device="cpu")
    assert not np.allclose(told_apart, same, atol=1e-3)


def test_batch_shrinks_to_the_images() -> None:
    y, yhat, image = simulate()
    few = image < 10
    components = reduce(y[few], yhat[few], image[few], replace(FAST, steps=5))
    assert np.isfinite(components).all()


def test_progress_ends_at_the_last_step() -> None:
    calls: list[tuple[int, int, dict[str, float]]] = []
    reduce_contrastively(
        *simulate(),
        replace(FAST, steps=7),
        seed=0,
        device="cpu",
        on_progress=lambda *call: calls.append(call),  # type: ignore[arg-type]
    )
    assert calls[-1][:2] == (7, 7)
    assert np.isfinite(calls[-1][2]["loss"])


def test_what_cannot_be_reduced_is_refused() -> None:
    y, yhat, image = simulate()
    too_large = "larger than the data can carry: at most"
    with pytest.raises(ValueError, match=f"components is 41, {too_large} 40"):
        reduce(y, yhat, image, replace(FAST, components=41))
    with pytest.raises(
        ValueError, match=f"components is {FAST.components}, {too_large} 3, .* of 3 d"
    ):
        reduce(y[:6], yhat[:6], image[:6])
    with pytest.raises(ValueError, match=f"drawn is 41, {too_large} 40"):
        reduce(y, yhat, image, replace(FAST, drawn=41))
    # Many images, and many dimensions, of which they span three.
    flat = (y[:, :3] @ np.eye(3, y.shape[1])).astype(np.float32)
    with pytest.raises(ValueError, match=f"components is {FAST.components}, {too_large} 3"):
        reduce(flat, yhat, image)
    with pytest.raises(ValueError, match="at least 2 images"):
        reduce(y[:2], yhat[:2], image[:2])
    broken = yhat.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="predictions hold values that are not finite"):
        reduce(y, broken, image)
    with pytest.raises(ValueError, match="do not match"):
        reduce(y, yhat[:-1], image)
    with pytest.raises(ValueError, match="components, steps and starts >= 1"):
        replace(FAST, components=0)


def test_components_lie_in_the_span_of_few_distinct_targets() -> None:
    rng = np.random.default_rng(5)
    distinct = rng.standard_normal((8, 60)).astype(np.float32)
    distinct /= np.linalg.norm(distinct, axis=1, keepdims=True)
    image = np.repeat(np.arange(8), 10)
    yhat = distinct[image] + 0.1 * rng.standard_normal((80, 60)).astype(np.float32)
    config = ReductionConfig(components=5, steps=50, batch=8)
    found = reduce_contrastively(distinct[image], yhat, image, config, seed=0, device="cpu")
    basis = np.linalg.qr(distinct.T)[0]
    np.testing.assert_allclose(np.linalg.norm(found @ basis, axis=1), 1, atol=1e-5)


def test_joined_starts_are_nearer_to_what_is_carried() -> None:
    y, yhat, image = simulate()
    short = replace(FAST, components=6, steps=150)
    alone = carried_share(reduce(y, yhat, image, short))
    joined = reduce(y, yhat, image, replace(short, starts=6))
    assert joined.shape == (6, 40)
    assert np.allclose(np.linalg.norm(joined, axis=1), 1, atol=1e-5)
    assert carried_share(joined) > alone


def test_less_of_a_small_start_stays_as_it_was_drawn() -> None:
    y, yhat, image = simulate()
    rest = np.random.default_rng(2).normal(size=(2, len(y), 160)).astype(np.float32)
    y, yhat = np.hstack([y, 0.05 * rest[0]]), np.hstack([yhat, 0.05 * rest[1]])
    config = replace(FAST, steps=200, learning_rate=5e-3, centred=True)
    large = carried_share(reduce(y, yhat, image, config))
    small = carried_share(reduce(y, yhat, image, replace(config, scale=0.01)))
    assert small > large + 0.2


def test_an_own_start_is_that_of_the_participants_trials_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    y, yhat, image = simulate()
    who = np.arange(len(y)) % 2
    rows = replace(FAST, steps=20, components=5)
    monkeypatch.setattr(reduction, "_joined", lambda found, _: found)
    config = replace(rows, own_starts=1)
    found = reduce_contrastively(y, yhat, image, config, seed=3, device="cpu", participant=who)
    alone = [
        reduce_contrastively(
            y[who == one], yhat[who == one], image[who == one], rows, seed=4 + one, device="cpu"
        )
        for one in (0, 1)
    ]
    expected = np.concatenate([reduce(y, yhat, image, rows), *alone])
    similarity = found @ expected.T
    # Each of the rows once, in an order of their own.
    assert sorted(similarity.argmax(axis=1).tolist()) == list(range(15))
    np.testing.assert_allclose(similarity.max(axis=1), 1, atol=1e-5)


def test_centred_is_blind_to_what_all_have_in_common() -> None:
    y, yhat, image = simulate()
    config = replace(FAST, steps=20, centred=True)
    moved = reduce(y + 0.5, yhat - 0.25, image, config)
    np.testing.assert_allclose(reduce(y, yhat, image, config), moved, atol=1e-3)


def test_own_starts_need_to_know_the_participant() -> None:
    y, yhat, image = simulate()
    config = replace(FAST, steps=5, own_starts=1)
    with pytest.raises(ValueError, match="the participant of all 800 trials"):
        reduce(y, yhat, image, config)
    alone = np.where(np.arange(len(y)) == 0, 9, 1)
    with pytest.raises(ValueError, match="at least 2 images of each participant"):
        reduce_contrastively(y, yhat, image, config, seed=0, device="cpu", participant=alone)
    with pytest.raises(ValueError, match="own_starts cannot be negative"):
        replace(FAST, own_starts=-1)
    with pytest.raises(ValueError, match="scale > 0"):
        replace(FAST, scale=0)
