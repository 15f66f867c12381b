from dataclasses import dataclass, replace

import numpy as np
import pytest
import scipy.stats
import torch

from flows.science.decoder import PUBLISHED, Decoder, DecoderConfig, History, train_decoder
from flows.science.metrics import pearson, top_k
from flows.science.ridge import fit_ridge

FAST = DecoderConfig(learning_rate=3e-3, steps=300, evaluate_every=50, noise=0.5)


@dataclass
class Data:
    """Trials whose responses are a linear map of the image's vector, plus noise."""

    x: np.ndarray
    y: np.ndarray
    target: np.ndarray
    x_validation: np.ndarray
    target_validation: np.ndarray
    x_test: np.ndarray
    target_test: np.ndarray


def simulate(
    *, signal: float = 1.0, images: int = 300, repeats: int = 2, voxels: int = 80, seed: int = 0
) -> Data:
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((images + 200, 16)).astype(np.float32)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    mixing = rng.standard_normal((16, voxels))
    folds = (
        np.repeat(np.arange(images), repeats),
        np.repeat(np.arange(images, images + 100), 2),
        np.arange(images + 100, images + 200),
    )
    parts = []
    for target in folds:
        noise = rng.standard_normal((len(target), voxels))
        parts += [(signal * y[target] @ mixing + noise).astype(np.float32), target]
    return Data(parts[0], y, *parts[1:])


def train(
    data: Data, config: DecoderConfig = FAST, *, seed: int = 0, **options: object
) -> tuple[Decoder, History]:
    return train_decoder(
        data.x,
        data.y,
        data.target,
        data.x_validation,
        data.target_validation,
        config,
        seed=seed,
        device="cpu",
        **options,  # type: ignore[arg-type]
    )


def test_top1(decoder: Decoder, data: Data) -> float:
    pool, own = np.unique(data.target_test, return_inverse=True)
    return top_k(decoder.predict(data.x_test), data.y[pool], own, ks=(1,))[1]


test_top1.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "config",
    [FAST, replace(PUBLISHED["mlp"], hidden=64, learning_rate=3e-3, steps=300)],
    ids=["linear", "mlp"],
)
def test_planted_truth_is_decoded(config: DecoderConfig) -> None:
    data = simulate()
    decoder, history = train(data, config)
    assert decoder.kind == config.kind
    # Chance is 0.01 among the 100 test images.
    assert test_top1(decoder, data) > 0.5
    r = pearson(decoder.predict(data.x_test), data.y[data.target_test])
    assert np.median(r) > 0.6
    assert history.train_loss[-1] < history.train_loss[0]
    assert history.pool == 100
    assert history.batch == 128
    assert history.note == ""


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffled_stimuli_leave_chance(seed: int) -> None:
    data = simulate(seed=seed)
    rng = np.random.default_rng(seed)
    shuffled = replace(
        data,
        target=rng.permutation(data.target),
        target_validation=rng.permutation(data.target_validation),
    )
    decoder, _ = train(shuffled, seed=seed)
    hits = round(100 * test_top1(decoder, data))
    assert hits <= scipy.stats.binom.ppf(0.999, 100, 1 / 100)


def test_noise_responses_leave_chance() -> None:
    data = simulate(signal=0)
    decoder, history = train(data)
    assert round(100 * test_top1(decoder, data)) <= scipy.stats.binom.ppf(0.999, 100, 1 / 100)
    assert max(history.validation_top1) < 0.06


def test_history_says_what_the_returned_decoder_does() -> None:
    data = simulate(signal=0.5)
    decoder, history = train(data)
    assert history.step == [50, 100, 150, 200, 250, 300]
    best = history.step.index(history.best_step)
    pool, own = np.unique(data.target_validation, return_inverse=True)
    predicted = decoder.predict(data.x_validation)
    top1 = top_k(predicted, data.y[pool], own, ks=(1,))[1]
    assert history.validation_top1[best] == pytest.approx(top1)
    scores = torch.from_numpy(predicted @ data.y[pool].T / FAST.temperature)
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(own)).item()
    assert history.validation_loss[best] == pytest.approx(loss, rel=1e-4)


def restless() -> tuple[Data, DecoderConfig]:
    """A learning rate so high that validation goes up and down."""
    config = replace(FAST, noise=2.0, learning_rate=0.05, evaluate_every=5, patience=1000)
    return simulate(signal=0.5, images=60, repeats=1), config


def test_the_best_weights_are_returned_not_the_last() -> None:
    data, config = restless()
    decoder, history = train(data, config)
    assert history.best_step < config.steps
    assert not history.stopped_early
    stopped_at_best, short = train(data, replace(config, steps=history.best_step))
    assert short.best_step == history.best_step
    assert decoder.tensors()["weight"].tobytes() == stopped_at_best.tensors()["weight"].tobytes()
    assert decoder.tensors()["bias"].tobytes() == stopped_at_best.tensors()["bias"].tobytes()


def test_the_best_is_the_highest_top1_then_the_lowest_loss() -> None:
    data, config = restless()
    for seed in range(3):
        _, history = train(data, config, seed=seed)
        scores = zip(history.validation_top1, history.validation_loss, history.step, strict=True)
        best = min(scores, key=lambda score: (-score[0], score[1], score[2]))
        assert history.best_step == best[2]


def test_the_last_weights_are_kept_where_validation_trials_are_to_stay_unseen() -> None:
    data, config = restless()
    decoder, history = train(data, replace(config, patience=1), keep="last")
    assert not history.stopped_early
    assert history.step[-1] == config.steps
    best, other = train(data, config)
    assert other.best_step < config.steps
    name = "weight"
    assert decoder.tensors()[name].tobytes() != best.tensors()[name].tobytes()
    # Whatever the validation trials say of it.
    rng = np.random.default_rng(0)
    shuffled = replace(data, target_validation=rng.permutation(data.target_validation))
    again, _ = train(shuffled, config, keep="last")
    for each, tensor in decoder.tensors().items():
        assert tensor.tobytes() == again.tensors()[each].tobytes()


def test_patience_stops_training() -> None:
    data, config = restless()
    _, patient = train(data, config)
    decoder, history = train(data, replace(config, patience=3))
    assert history.stopped_early
    assert history.step[-1] - history.best_step == 3 * config.evaluate_every
    assert history.step == patient.step[: len(history.step)]
    assert history.validation_loss == patient.validation_loss[: len(history.step)]
    assert isinstance(decoder, Decoder)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_seed_gives_the_same_bytes(kind: str) -> None:
    data = simulate()
    config = replace(FAST, kind=kind, hidden=32, steps=60)  # type: ignore[arg-type]
    first, history = train(data, config, seed=3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second, again = train(data, config, seed=3)
    other, _ = train(data, config, seed=4)
    assert history == again
    for name, array in first.tensors().items():
        assert array.tobytes() == second.tensors()[name].tobytes()
        assert array.tobytes() != other.tensors()[name].tobytes()
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not ours to turn"


def test_the_inputs_are_left_as_they_were() -> None:
    data = simulate()
    before = (data.x.copy(), data.y.copy(), data.x_validation.copy())
    train(data, replace(FAST, steps=10))
    for kept, array in zip(before, (data.x, data.y, data.x_validation), strict=True):
        np.testing.assert_array_equal(kept, array)


def test_target_length_does_not_matter() -> None:
    data = simulate()
    config = replace(FAST, steps=50)
    _, unit = train(data, config)
    _, long = train(replace(data, y=4 * data.y), config)
    assert unit.validation_loss == pytest.approx(long.validation_loss, rel=1e-4)


def test_repeats_in_a_batch_are_no_negatives() -> None:
    data = simulate(signal=20, images=10, repeats=4)
    config = replace(FAST, noise=0.0, batch=40, steps=200, learning_rate=1e-2)
    _, history = train(data, config)
    # Taken for negatives, an image's own four trials alone would hold the loss above log 4.
    assert history.train_loss[-1] < np.log(4) / 2


def test_a_batch_larger_than_the_data_shrinks_and_says_so() -> None:
    data = simulate(images=40, repeats=1)
    _, history = train(data, replace(FAST, steps=20))
    assert history.batch == 40
    assert history.note == "batch of 128 shrunk to the 40 training trials there are"
    assert np.isfinite(history.train_loss).all()


def test_progress_is_told_at_each_evaluation() -> None:
    seen = []
    _, history = train(
        simulate(), replace(FAST, steps=120), on_progress=lambda *told: seen.append(told)
    )
    assert [(step, steps) for step, steps, _ in seen] == [(50, 120), (100, 120), (120, 120)]
    assert [metrics["validation_top1"] for *_, metrics in seen] == history.validation_top1
    assert [metrics["train_loss"] for *_, metrics in seen] == history.train_loss


def test_learning_rate_drops_at_its_epochs() -> None:
    data = simulate()
    # 600 trials in batches of 100 make 6 steps an epoch.
    config = replace(FAST, batch=100, steps=24, evaluate_every=6, noise=0.0, patience=100)
    _, steady = train(data, config)
    _, dropped = train(data, replace(config, drop_epochs=(2, 3)))
    assert dropped.validation_loss[:2] == steady.validation_loss[:2]
    moved = np.abs(np.diff(dropped.validation_loss)) / np.abs(np.diff(steady.validation_loss))
    assert moved[0] == 1
    assert 0.02 < moved[1] < 0.3
    assert moved[2] < 0.04


def test_a_warm_start_is_never_left_worse() -> None:
    data = simulate(signal=0.6)
    ridge = fit_ridge(
        data.x, data.y[data.target], data.x_validation, data.y[data.target_validation]
    )
    config = replace(FAST, learning_rate=1e-4, steps=100)
    warm, history = train(data, config, initial=ridge)
    cold, cold_history = train(data, config)
    assert history.step[0] == 0
    assert np.isnan(history.train_loss[0])
    pool, own = np.unique(data.target_validation, return_inverse=True)
    start = top_k(ridge.predict(data.x_validation), data.y[pool], own, ks=(1,))[1]
    assert history.validation_top1[0] == pytest.approx(start)
    assert max(history.validation_top1) >= start > max(cold_history.validation_top1)
    assert test_top1(warm, data) > test_top1(cold, data)


def drawn(n_voxels: int, dimension: int, size: float = 1.0) -> Decoder:
    """A linear start whose weights have the size of a drawn one, times `size`."""
    weight = np.random.default_rng(8).uniform(-1, 1, (dimension, n_voxels))
    weight *= size * (3 * n_voxels) ** -0.5 / np.sqrt((weight**2).mean())
    bias = size * np.full(dimension, 0.01)
    return Decoder("linear", {"weight": weight.astype("f4"), "bias": bias.astype("f4")})


def test_steps_equal_a_literal_training() -> None:
    data = simulate(images=30, repeats=2)
    config = replace(FAST, noise=0.0, batch=60, steps=25, evaluate_every=25)
    start = drawn(80, 16)
    decoder, history = train(data, config, initial=start)
    assert history.best_step == 25

    layer = torch.nn.Linear(80, 16)
    layer.load_state_dict({k: torch.tensor(v) for k, v in start.tensors().items()})
    optimiser = torch.optim.Adam(layer.parameters(), lr=config.learning_rate, foreach=False)
    vectors = torch.from_numpy(data.y[data.target])
    for _ in range(25):
        decoded = layer(torch.from_numpy(data.x))
        scores = (
            torch.cosine_similarity(decoded[:, None], vectors[None], dim=2) / config.temperature
        )
        loss = torch.zeros(())
        for i, own in enumerate(data.target):
            others = np.flatnonzero(data.target != own).tolist()
            for logits in (scores[i], scores[:, i]):
                loss = loss + torch.logsumexp(logits[[i, *others]], 0) - scores[i, i]
        optimiser.zero_grad()
        (loss / (2 * len(data.target))).backward()
        optimiser.step()
    np.testing.assert_allclose(
        decoder.parameters["weight"], layer.weight.detach().numpy(), atol=1e-4
    )
    np.testing.assert_allclose(decoder.parameters["bias"], layer.bias.detach().numpy(), atol=1e-4)


def test_the_size_of_a_warm_start_does_not_matter() -> None:
    data = simulate()
    config = replace(FAST, learning_rate=1e-4, steps=60, evaluate_every=20)
    _, usual = train(data, config, initial=drawn(80, 16))
    _, small = train(data, config, initial=drawn(80, 16, size=1e-4))
    assert small.validation_loss == pytest.approx(usual.validation_loss, rel=1e-4)


def test_noise_is_added_at_its_size() -> None:
    data = simulate(signal=0.4)
    still = replace(FAST, noise=0.0, learning_rate=1e-30, steps=400, evaluate_every=400)
    start = fit_ridge(
        data.x, data.y[data.target], data.x_validation, data.y[data.target_validation]
    )
    rng = np.random.default_rng(0)
    for size in (0.5, 3.0):
        _, noisy = train(data, replace(still, noise=size), initial=start)
        # The same noise, added beforehand to many copies of the trials, whose batches hold
        # a few more repeats and so slightly fewer negatives.
        x = np.tile(data.x, (20, 1))
        x += size * rng.standard_normal(x.shape).astype(np.float32)
        _, beforehand = train(
            replace(data, x=x, target=np.tile(data.target, 20)), still, initial=start
        )
        assert noisy.train_loss[1] == pytest.approx(beforehand.train_loss[1], rel=0.05)


def test_images_with_one_vector_share_a_hit() -> None:
    data = simulate(signal=20)
    data.y[301::2] = data.y[300::2]
    for repeat in (0, 1):
        data.x_validation[2 + repeat :: 4] = data.x_validation[repeat::4]
    _, history = train(data)
    assert history.validation_top1[-1] == pytest.approx(0.5)


def test_a_warm_start_must_fit() -> None:
    data = simulate()
    ridge = fit_ridge(
        data.x[:, :-1],
        data.y[data.target],
        data.x_validation[:, :-1],
        data.y[data.target_validation],
    )
    with pytest.raises(ValueError, match=r"initial decoder is linear, 79 voxels to 16 .* 80 to 16"):
        train(data, initial=ridge)


def with_nan(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[3, :2] = np.nan
    return x


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {"x": with_nan(d.x)}, "x holds 2 NaN or infinite values, in 1 of 600 trials"),
        (lambda d: {"x": np.ones_like(d.x)}, "x: all 600 trials are identical"),
        (lambda d: {"x_validation": with_nan(d.x_validation)}, "x_validation holds 2 NaN"),
        (lambda d: {"x_validation": d.x_validation[:, 1:]}, r"x_validation of shape \(200, 79\)"),
        (
            lambda d: {"x_validation": d.x_validation[:0], "target_validation": np.arange(0)},
            "there are no validation trials",
        ),
        (lambda d: {"x": d.x[:0], "target": d.target[:0]}, "there are no training trials"),
        (lambda d: {"target": np.zeros_like(d.target)}, "all 600 training trials have one target"),
        (lambda d: {"y": np.zeros_like(d.y)}, "300 of 300 training target vectors are zero"),
        (lambda d: {"target": d.target + 400}, "training targets name rows outside"),
    ],
)
def test_refuses(change, message) -> None:  # type: ignore[no-untyped-def]
    data = simulate()
    told = []
    with pytest.raises(ValueError, match=message):
        train(replace(data, **change(data)), on_progress=lambda *args: told.append(args))
    assert told == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_refused() -> None:
    d = simulate()
    with pytest.raises(ValueError, match="'cuda' is not there"):
        train_decoder(
            d.x, d.y, d.target, d.x_validation, d.target_validation, FAST, seed=0, device="cuda"
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_decodes_as_the_cpu_does() -> None:
    d = simulate()
    decoder, _ = train_decoder(
        d.x, d.y, d.target, d.x_validation, d.target_validation, FAST, seed=0, device="cuda"
    )
    assert test_top1(decoder, d) > 0.5


def test_divergence_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"training diverged by step 50: the learning rate 1e\+38"):
        train(simulate(), replace(FAST, learning_rate=1e38))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "cnn"}, "unknown kind of decoder 'cnn'"),
        ({"temperature": 0.0}, "temperature must be positive, not 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive, not nan"),
        ({"steps": 0}, "steps must be positive"),
        ({"evaluate_every": 0}, "evaluate_every must be positive"),
        ({"hidden": 0}, "hidden must be positive"),
        ({"batch": 1}, "batch must be at least 2, not 1"),
        ({"noise": -1.0}, "noise cannot be negative"),
        ({"patience": 0}, "patience must be at least 1"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**change)  # type: ignore[arg-type]


def test_the_published_settings() -> None:
    """They stay what they are, whatever is done by default."""
    linear, mlp = PUBLISHED["linear"], PUBLISHED["mlp"]
    assert linear.patience == mlp.patience == 10
    assert linear.evaluate_every == mlp.evaluate_every == 100
    assert (linear.temperature, linear.steps, linear.noise, linear.batch) == (0.03, 5000, 1, 128)
    assert linear.drop_epochs == ()
    assert linear.learning_rate == mlp.learning_rate == 1e-4
    assert (mlp.temperature, mlp.steps, mlp.noise, mlp.hidden) == (1, 1500, 0, 5000)
    assert mlp.drop_epochs == (3, 6, 9)
