from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch

from flows.science.mask_descent import (
    LinearObjective,
    NetworkObjective,
    Parts,
    descend,
    masked_response,
)
from flows.science.mask_path import choose, jackknife, leave_one_image_out, split_images
from flows.science.masks import (
    PUBLISHED_MASKS,
    MaskConfig,
    MaskFit,
    fit_masks,
    masked_correlations,
)
from flows.science.metrics import auc, dice, pearson
from flows.science.model import Decoder, apply_layers
from flows.science.ridge import fit_ridge
from tests.flows.science.literal_masks import literal_masks

VOXELS, DIMENSIONS, COMPONENTS = 150, 24, 4
# All voxels together, the early steps alone: a small problem of 150 voxels is one part.
TOGETHER = MaskConfig(snapshots=(50, 100, 200), learning_rate=2e-3, part=0)
PATH = replace(TOGETHER, lambdas=(0.5, 1.0, 2.0))
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Data:
    """Each component drives its own voxels; a quarter of all carries nothing known."""

    x: np.ndarray
    y: np.ndarray
    image: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    decoder: Decoder
    components: np.ndarray
    truth: np.ndarray


@cache
def simulate(*, signal: float = 0.25, images: int = 600, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    components = np.linalg.qr(rng.normal(size=(DIMENSIONS, COMPONENTS)))[0].T.astype(np.float32)
    truth = np.zeros((COMPONENTS, VOXELS), dtype=bool)
    for component in range(COMPONENTS):
        truth[component, component * 15 : (component + 1) * 15] = True
    mixing = signal * truth.T.astype(float) @ components
    other = rng.normal(size=(VOXELS, DIMENSIONS))
    other -= other @ components.T @ components
    mixing[60:110] = signal * other[60:110] / np.linalg.norm(other[60:110], axis=1, keepdims=True)

    def trials(count: int, repeats: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = np.repeat(np.arange(count), repeats)
        y = rng.normal(size=(count, DIMENSIONS))[image]
        x = y @ mixing.T + rng.normal(size=(len(y), VOXELS))
        unit = y / np.linalg.norm(y, axis=1, keepdims=True)
        return x.astype(np.float32), unit.astype(np.float32), image

    x, y, _ = trials(600, 2)
    decoder = fit_ridge(x[:1000], y[:1000], x[1000:], y[1000:])
    x_fit, y_fit, image = trials(images, 2)
    x_test, y_test, _ = trials(300, 1)
    return Data(x_fit, y_fit, image, x_test, y_test, decoder, components, truth)


@cache
def fitted(signal: float = 0.25) -> MaskFit:
    return fit(simulate(signal=signal), PATH)


def fit(data: Data, config: MaskConfig, *, decoder: Decoder | None = None) -> MaskFit:
    return fit_masks(
        data.x,
        data.y,
        data.image,
        decoder or data.decoder,
        data.components,
        config,
        seed=0,
        device="cpu",
    )


def parts_of(decoder: Decoder, trials: int) -> Parts:
    """One decoder for all trials."""
    return [(torch.arange(trials), decoder.layers(CPU))]


def objective(
    data: Data, *decoders: Decoder, told_by: np.ndarray | None = None
) -> LinearObjective | NetworkObjective:
    kind = LinearObjective if decoders[0].kind == "linear" else NetworkObjective
    parts = (
        parts_of(decoders[0], len(data.x))
        if told_by is None
        else [
            (torch.from_numpy(np.flatnonzero(told_by == number)), decoder.layers(CPU))
            for number, decoder in enumerate(decoders)
        ]
    )
    return kind(
        torch.tensor(data.x),
        torch.tensor(np.maximum(data.y @ data.components.T, 0)),
        torch.tensor(data.components),
        parts,
        torch.arange(COMPONENTS),
    )


def fast_masks(gradient: LinearObjective | NetworkObjective, lam: float, steps: int) -> np.ndarray:
    kept: list[torch.Tensor] = []

    def keep(_: int, masks: torch.Tensor) -> bool:
        kept.append(masks.clone())
        return False

    prices = torch.full((COMPONENTS,), lam)
    descend(gradient, (VOXELS, COMPONENTS), prices, 2e-3, [steps], keep)
    return kept[0].numpy().T


def overlap(masks: np.ndarray, others: np.ndarray) -> float:
    return float(np.mean([dice(a >= 0.5, b >= 0.5) for a, b in zip(masks, others, strict=True)]))


def network(data: Data) -> Decoder:
    """The linear decoder as an MLP: two hidden units of opposite sign carry each dimension."""
    weight, bias = (data.decoder.parameters[name] for name in ("weight", "bias"))
    eye = np.eye(DIMENSIONS, dtype=np.float32)
    return Decoder(
        "mlp",
        {
            "hidden_weight": np.concatenate([weight, -weight]),
            "hidden_bias": np.concatenate([bias, -bias]),
            "weight": np.concatenate([eye, -eye], axis=1) / np.float32(1.01),
            "bias": np.zeros(DIMENSIONS, dtype=np.float32),
        },
    )


@pytest.mark.parametrize(("lam", "steps"), [(0.1, 50), (0.3, 50), (0.3, 100), (1.0, 100)])
def test_hard_masks_agree_with_the_literal_procedure(lam: float, steps: int) -> None:
    data = simulate()
    literal = literal_masks(data.x, data.y, data.decoder, data.components, lam, steps)
    fast = fast_masks(objective(data, data.decoder), lam, steps)
    assert overlap(fast, literal) >= 0.9
    assert pearson(fast, literal, axis=1).mean() > 0.95


def test_dropping_or_fixing_the_length_agrees_less() -> None:
    data = simulate()
    literal = literal_masks(data.x, data.y, data.decoder, data.components, 0.1, 50)
    agreement = {}
    for name in ("linearised", "fixed", "dropped"):
        gradient = objective(data, data.decoder)
        assert isinstance(gradient, LinearObjective)
        if name != "linearised":
            gradient.tilt = torch.zeros_like(gradient.tilt)
            raw = apply_layers(gradient.x[0], data.decoder.layers(CPU)).norm(dim=1, keepdim=True)
            gradient.tilt_offset = raw if name == "fixed" else torch.ones_like(raw)
        agreement[name] = overlap(fast_masks(gradient, 0.1, 50), literal)
    assert agreement["linearised"] > max(agreement["fixed"], agreement["dropped"]) + 0.02


def test_gradient_is_that_of_the_whole_procedure_where_masks_start() -> None:
    """There the linearised length is exact, and so must the gradient be."""
    data = simulate()
    mask = torch.full((VOXELS, COMPONENTS), 0.5)
    found = objective(data, data.decoder)(mask)
    weights = mask.clone().requires_grad_()
    for component, direction in enumerate(torch.tensor(data.components)):
        decoded = torch.nn.functional.normalize(
            torch.tensor(data.x) * weights[:, component] @ data.decoder.layers(CPU)[0][0].T
            + data.decoder.layers(CPU)[0][1]
        )
        z = torch.relu(torch.tensor(data.y) @ direction)
        (-torch.corrcoef(torch.stack([z, torch.relu(decoded @ direction)]))[0, 1]).backward()
    assert weights.grad is not None
    assert torch.allclose(found, weights.grad, atol=1e-6, rtol=1e-3)


def test_gradient_elsewhere_is_that_of_its_own_objective() -> None:
    data = simulate()
    linear = objective(data, data.decoder)
    assert isinstance(linear, LinearObjective)
    mask = torch.rand((VOXELS, COMPONENTS), generator=torch.Generator().manual_seed(0))
    weights = mask.double().requires_grad_()
    length = linear.tilt.double() @ weights + linear.tilt_offset.double()
    length = torch.maximum(length, linear.shortest.double())
    told = linear.x[0].double() @ (weights * linear.gain[0]) + linear.offset[0]
    zhat = torch.relu(told / length)
    z = torch.relu(torch.tensor(data.y) @ torch.tensor(data.components).T).double()
    for component in range(COMPONENTS):
        pair = torch.stack([z[:, component], zhat[:, component]])
        (-torch.corrcoef(pair)[0, 1]).backward(retain_graph=True)
    assert weights.grad is not None
    assert torch.allclose(linear(mask).double(), weights.grad, atol=1e-6, rtol=1e-3)


def test_network_and_linear_paths_agree_on_one_decoder() -> None:
    data = simulate()
    deep = network(data)
    assert np.allclose(deep.predict(data.x_test), data.decoder.predict(data.x_test), atol=1e-4)
    masks = [fast_masks(objective(data, each), 0.3, 30) for each in (data.decoder, deep)]
    assert overlap(*masks) > 0.95
    assert np.abs(masks[0] - masks[1]).mean() < 0.002


def test_masks_of_a_network_are_fitted_whole() -> None:
    data = simulate()
    config = replace(TOGETHER, lambdas=(1.0,), snapshots=(50,))
    deep, linear = fit(data, config, decoder=network(data)), fit(data, config)
    assert deep.usable.all()
    assert overlap(deep.soft, linear.soft) > 0.9


def test_planted_voxels_are_recovered() -> None:
    data, found = simulate(), fitted()
    assert found.reason == [None] * COMPONENTS
    for component in range(COMPONENTS):
        assert auc(found.soft[[component]].T, data.truth[component])[0] > 0.9
        # Fifteen of 150 voxels are planted: one member in ten would be by chance.
        members = found.members[component]
        assert data.truth[component][members].mean() > 0.5


def test_hard_masks_predict_unseen_trials_better_than_others_of_their_size() -> None:
    data, found = simulate(), fitted()
    shuffled = np.random.default_rng(0).permuted(found.soft, axis=1)
    r, chance = (
        masked_correlations(data.x_test, data.y_test, data.decoder, data.components, soft)
        for soft in (found.soft, shuffled)
    )
    assert (found.members.sum(axis=1) < VOXELS / 4).all()
    assert (r["hard"] > np.nan_to_num(chance["hard"]) + 0.2).all()
    assert (r["hard"] > 0.7 * r["unmasked"]).all()
    assert (r["soft"] > r["unmasked"] - 0.1).all()


def test_null_masks_predict_nothing_unseen() -> None:
    data = simulate(signal=0.0)
    found = fitted(0.0)
    soft = np.random.default_rng(0).uniform(size=found.soft.shape).astype(np.float32)
    soft[found.usable] = found.soft[found.usable]
    r = masked_correlations(data.x_test, data.y_test, data.decoder, data.components, soft)
    # The standard error of a null r of 300 trials is 0.058.
    assert np.nanmax(np.abs(r["hard"])) < 0.2
    assert np.nanmax(found.path) < 0.3
    assert "no feasible mask on the path" in found.whole


def test_the_same_seed_gives_the_same_bytes() -> None:
    data = simulate()
    config = replace(TOGETHER, lambdas=(0.3,), snapshots=(50,))
    assert fit(data, config).soft.tobytes() == fit(data, config).soft.tobytes()


def test_a_path_in_chunks_is_the_path_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    data = simulate()
    config = replace(TOGETHER, lambdas=(0.3, 1.0), snapshots=(50,))
    whole = fit(data, config)
    monkeypatch.setattr("flows.science.masks._ENTRIES", VOXELS * 2)
    parts = fit(data, config)
    assert np.allclose(whole.soft, parts.soft, atol=1e-5)
    assert np.allclose(whole.path, parts.path, atol=1e-6)


def test_empty_full_and_constant_are_reasons_and_no_masks() -> None:
    data = simulate()
    empty = fit(data, replace(TOGETHER, lambdas=(1e6,), snapshots=(50,)))
    assert empty.reason == ["empty"] * COMPONENTS
    full = fit(data, replace(TOGETHER, lambdas=(0.0,), snapshots=(1,), threshold=0.4))
    assert full.reason == ["full"] * COMPONENTS
    shifted = replace(data, y=np.abs(data.y), components=-np.abs(data.components))
    constant = fit(shifted, replace(TOGETHER, lambdas=(0.3,), snapshots=(20,)))
    assert constant.reason == ["constant response"] * COMPONENTS
    for found in (empty, full, constant):
        assert not found.usable.any()
        assert not found.members.any()
        assert not found.soft.any()
        assert np.isnan(found.lam).all()


def test_responses_that_are_all_alike_give_a_reason_and_no_mask() -> None:
    data = simulate()
    alike = replace(data, x=np.repeat(data.x[:1], len(data.x), axis=0))
    for config in (TOGETHER, replace(TOGETHER, part=20, draws=2)):
        found = fit(alike, replace(config, lambdas=(0.3, 1.0), snapshots=(20,)))
        assert set(found.reason) <= {"empty", "no feasible mask on the path"}
        assert not found.soft.any()
    r = masked_correlations(alike.x, alike.y, data.decoder, data.components, found.soft)
    assert np.isnan(r["hard"]).all()


def test_voxels_that_never_change_are_no_members() -> None:
    data = simulate()
    x = data.x.copy()
    x[:, :10] = 0
    found = fit(replace(data, x=x), replace(TOGETHER, lambdas=(0.3,), snapshots=(50,)))
    assert found.usable.all()
    assert not found.members[:, :10].any()


def test_of_too_few_images_all_voxels_are_taken() -> None:
    data = simulate()
    config = MaskConfig(lambdas=(0.3, 1.0), snapshots=(20, 50), part=50, draws=2)
    found = fit(replace(data, image=data.image % 22), config)
    assert found.reason == [None] * COMPONENTS
    assert {"22 distinct vectors are too few" in (why or "") for why in found.whole} == {True}
    assert np.isnan(found.lam).all()
    assert np.isnan(found.path).all()
    assert (found.soft == 1).all()
    assert found.members.all()
    assert fit(replace(data, image=data.image % 23), config).whole == [None] * COMPONENTS


def test_what_one_side_of_the_split_does_not_show_is_whole_and_the_others_chosen() -> None:
    data = simulate()
    config = replace(TOGETHER, lambdas=(0.3, 1.0), snapshots=(50,))
    held = split_images(data.image, config.holdout, 0)[1]
    y = data.y.copy()
    shown = np.maximum(y @ data.components[0], 0)
    # Nothing of the first component is left on the side that judges.
    y[held] -= np.outer(shown[held], data.components[0])
    expected = (np.ptp(np.maximum(y @ data.components.T, 0)[held], axis=0) > 1e-6).tolist()
    assert expected == [False] + [True] * (COMPONENTS - 1)
    y[held] -= 1e-3 * data.components[0]
    found = fit(replace(data, y=y), config)
    assert found.reason == [None] * COMPONENTS
    assert [why is None for why in found.whole] == expected
    assert found.whole[0] == "constant response on the vectors held out, or on all others"
    assert found.members[0].all()
    assert (found.members[1:].sum(axis=1) < VOXELS).all()


def test_reasons_do_not_touch_the_other_components() -> None:
    data = simulate()
    config = replace(TOGETHER, lambdas=(0.3,), snapshots=(50,))
    y = np.concatenate([data.y, np.full((len(data.y), 1), -0.1, dtype=np.float32)], axis=1)
    weight, bias = data.decoder.parameters["weight"], data.decoder.parameters["bias"]
    wider = Decoder(
        "linear",
        {
            "weight": np.concatenate([weight, np.zeros((1, VOXELS), dtype=np.float32)]),
            "bias": np.append(bias, np.float32(0)),
        },
    )
    components = np.zeros((COMPONENTS + 1, DIMENSIONS + 1), dtype=np.float32)
    components[0, -1] = 1
    components[1:, :-1] = data.components
    found = fit_masks(data.x, y, data.image, wider, components, config, seed=0, device="cpu")
    assert found.reason == ["constant response", *[None] * COMPONENTS]
    assert np.allclose(found.soft[1:], fit(data, config).soft, atol=1e-4)


def test_snapshots_are_copies() -> None:
    """A mask taken at step 50 is the same whether or not other masks go on to 400."""
    data, found = simulate(), fitted()
    gradient = objective(data, data.decoder)
    alone = fast_masks(gradient, float(found.lam[0]), int(found.step[0]))
    assert np.allclose(found.soft[0], alone[0], atol=1e-5)
    steps = (50, 400)
    late = fit(data, replace(TOGETHER, lambdas=(0.3,), snapshots=steps))
    early = fit(data, replace(TOGETHER, lambdas=(0.3,), snapshots=steps[:1]))
    at_first = late.step == steps[0]
    assert at_first.any()
    assert np.array_equal(late.soft[at_first], early.soft[at_first])


def test_the_path_rises_in_sparsity_with_lambda() -> None:
    size = fitted().path_size
    assert (np.diff(size, axis=1) <= 0).all()
    assert (size[:, 0] > size[:, -1]).all()


def test_choice_is_the_sparsest_within_one_paired_error() -> None:
    r = np.array([0.50, 0.49, 0.47, 0.30, np.nan])
    own, size = np.full(5, 0.1), np.array([90, 50, 20, 5, 0])
    picks = [choose(r, own, np.full(5, e), size, 100) for e in (0.0, 0.01, 0.03, 0.25)]
    assert picks == [(0, None), (1, None), (2, None), (3, None)]


def test_choice_says_why_there_is_none() -> None:
    r, error = np.array([0.5, 0.3]), np.array([0.05, 0.05])
    assert choose(r, error, error, np.array([0, 0]), 9) == (-1, "empty")
    assert choose(r, error, error, np.array([9, 4]), 9) == (-1, "full")
    assert choose(r, error, error * 9, np.array([9, 4]), 9) == (1, None)
    weak = (-1, "no feasible mask on the path")
    assert choose(r / 10, error, error, np.array([5, 4]), 9) == weak
    assert choose(-r, error, error, np.array([5, 4]), 9) == weak
    assert choose(r * np.nan, error, error, np.array([5, 4]), 9) == weak


def test_jackknife_matches_leaving_images_out_one_by_one() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 12, 60)
    a, b = rng.normal(size=(2, 60, 3)).astype(np.float32)
    literal = np.array([pearson(a[image != i], b[image != i]) for i in np.unique(image)])
    found = leave_one_image_out(a, b, image)
    assert np.allclose(found, literal, atol=1e-6)
    count = len(literal)
    squares = ((literal - literal.mean(axis=0)) ** 2).sum(axis=0)
    assert np.allclose(jackknife(found), np.sqrt((count - 1) / count * squares), atol=1e-6)


def test_paired_error_is_smaller_than_that_of_r() -> None:
    """Two noisy decoders of one truth: their r rise and fall together."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 1)).astype(np.float32)
    common = z + rng.normal(size=(200, 1))
    zhat = (common + 0.2 * rng.normal(size=(200, 2))).astype(np.float32)
    left_out = leave_one_image_out(np.repeat(z, 2, axis=1), zhat, np.arange(200))
    paired = jackknife(left_out[:, [0]] - left_out)
    assert paired[0] == 0
    assert paired[1] < jackknife(left_out)[1] / 2


def test_no_image_is_on_both_sides() -> None:
    image = np.repeat(np.arange(30), 3)
    fit_rows, held = split_images(image, 1 / 3, seed=1)
    assert not set(image[fit_rows]) & set(image[held])
    assert len(fit_rows) + len(held) == 90
    assert len(set(image[held])) == 10


def test_correlations_are_those_of_the_decoder_called_whole() -> None:
    data = simulate()
    soft = np.random.default_rng(0).uniform(size=(COMPONENTS, VOXELS)).astype(np.float32)
    soft[0] = 0
    r = masked_correlations(data.x_test, data.y_test, data.decoder, data.components, soft)
    for k, component in enumerate(data.components):
        z = np.maximum(data.y_test @ component, 0)
        masks = {"unmasked": np.ones(VOXELS), "soft": soft[k], "hard": soft[k] >= 0.5}
        for name, mask in masks.items():
            zhat = np.maximum(data.decoder.predict(data.x_test * mask) @ component, 0)
            if k == 0 and name != "unmasked":
                assert np.isnan(r[name][k])
            else:
                assert r[name][k] == pytest.approx(float(pearson(z, zhat)), abs=1e-4)


def test_masked_response_ignores_what_lies_in_unweighted_voxels() -> None:
    data = simulate()
    mask = torch.zeros(VOXELS)
    mask[:10] = 0.7
    direction, parts = torch.tensor(data.components[0]), parts_of(data.decoder, len(data.x_test))
    x = torch.tensor(data.x_test)
    expected = masked_response(x, mask, direction, parts)
    x[:, 10:] = 99
    assert torch.equal(masked_response(x, mask, direction, parts), expected)


def decoders_of(data: Data, count: int = 3) -> tuple[list[Decoder], np.ndarray]:
    """Decoders that differ, and which of them tells each trial, all of an image the same."""
    rng = np.random.default_rng(5)
    made = []
    for _ in range(count):
        weight, bias = (data.decoder.parameters[name] for name in ("weight", "bias"))
        noise = rng.standard_normal(weight.shape).astype(np.float32) * weight.std()
        made.append(Decoder("linear", {"weight": weight + noise, "bias": bias}))
    return made, rng.integers(0, count, int(data.image.max()) + 1)[data.image]


def literal_gradient(
    data: Data, decoders: list[Decoder], told_by: np.ndarray, mask: torch.Tensor
) -> torch.Tensor:
    """Gradient of -r with each trial told by its own decoder, one trial after the other."""
    weights = mask.clone().double().requires_grad_()
    layers = [
        [(weight.double(), bias.double()) for weight, bias in each.layers(CPU)] for each in decoders
    ]
    x, y = torch.tensor(data.x).double(), torch.tensor(data.y).double()
    for component, direction in enumerate(torch.tensor(data.components).double()):
        zhat = []
        for trial, number in zip(x, told_by, strict=True):
            decoded = apply_layers((trial * weights[:, component])[None], layers[number])[0]
            zhat.append(torch.relu(decoded / decoded.norm() @ direction))
        z = torch.relu(y @ direction)
        (-torch.corrcoef(torch.stack([z, torch.stack(zhat)]))[0, 1]).backward()
    assert weights.grad is not None
    return weights.grad


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_each_trial_is_told_by_its_own_decoder(kind: str) -> None:
    data = simulate(images=60)
    decoders, told_by = decoders_of(data)
    mask = torch.full((VOXELS, COMPONENTS), 0.5)
    expected = literal_gradient(data, decoders, told_by, mask)
    if kind == "mlp":
        decoders = [network(replace(data, decoder=each)) for each in decoders]
    found = objective(data, *decoders, told_by=told_by)(mask)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=2e-3)
    # That of one decoder for all is another one.
    assert (objective(data, decoders[0])(mask) - found).abs().max() > 10 * 1e-6


def test_masks_of_several_decoders_are_those_of_the_literal_procedure() -> None:
    data = simulate(images=150)
    decoders, told_by = decoders_of(data)
    literal = torch.full((VOXELS, COMPONENTS), 0.5)
    mean, square = torch.zeros_like(literal), torch.zeros_like(literal)
    for step in range(1, 6):
        slope = literal_gradient(data, decoders, told_by, literal).float() + 0.3 / VOXELS
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        scale = (square / (1 - 0.999**step)).sqrt() + 1e-8
        literal = (literal - 0.05 * mean / (1 - 0.9**step) / scale).clamp(0, 1)
    found = fit_masks(
        data.x,
        data.y,
        data.image,
        decoders,
        data.components,
        replace(TOGETHER, lambdas=(0.3,), snapshots=(5,), learning_rate=0.05),
        seed=0,
        device="cpu",
        told_by=told_by,
    )
    assert found.usable.all()
    assert pearson(found.soft, literal.numpy().T, axis=1).min() > 0.97
    assert overlap(found.soft, literal.numpy().T) > 0.9


def test_several_decoders_that_are_one_give_the_masks_of_one() -> None:
    data = simulate()
    config = replace(TOGETHER, lambdas=(0.3,), snapshots=(50,))
    told_by = data.image % 3
    found = fit_masks(
        data.x,
        data.y,
        data.image,
        [data.decoder] * 3,
        data.components,
        config,
        seed=0,
        device="cpu",
        told_by=told_by,
    )
    alone = fit(data, config)
    assert found.reason == alone.reason
    np.testing.assert_allclose(found.soft, alone.soft, atol=1e-3)
    np.testing.assert_allclose(found.path, alone.path, atol=1e-4)


def test_trials_that_no_decoder_tells_are_refused() -> None:
    data = simulate()
    rows = (data.x, data.y, data.image)
    rest = (data.components, TOGETHER)
    for told_by in (np.full(len(data.x), 2), np.full(len(data.x), -1), np.zeros(3, dtype=int)):
        with pytest.raises(ValueError, match=r"each of 1200 trials must be told by one of 2"):
            fit_masks(*rows, [data.decoder] * 2, *rest, seed=0, device="cpu", told_by=told_by)
    with pytest.raises(ValueError, match="decoders of different kinds or sizes"):
        fit_masks(*rows, [data.decoder, network(data)], *rest, seed=0, device="cpu")


def test_the_published_masks_are_of_single_trials() -> None:
    assert MaskConfig().averaged
    published = PUBLISHED_MASKS
    assert not published.averaged
    assert (published.lambdas, published.snapshots, published.part) == ((5.0,), (1000,), 0)


def test_bad_input_is_refused_by_name() -> None:
    data = simulate()
    broken = data.x.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="x holds 1 NaN"):
        fit(replace(data, x=broken), MaskConfig())
    with pytest.raises(ValueError, match="y of shape"):
        fit(replace(data, y=data.y[:-1]), MaskConfig())
    with pytest.raises(ValueError, match="components of shape"):
        fit(replace(data, components=data.components[:, 1:]), MaskConfig())
    with pytest.raises(ValueError, match="images of shape"):
        fit(replace(data, image=data.image[1:]), MaskConfig())
    with pytest.raises(ValueError, match="15 distinct vectors are too few to choose a price"):
        split_images(data.image % 15, 1 / 3, 0)
    with pytest.raises(ValueError, match="masks of shape"):
        masked_correlations(data.x, data.y, data.decoder, data.components, np.ones((1, VOXELS)))


@pytest.mark.parametrize(
    "bad",
    [
        {"lambdas": ()},
        {"lambdas": (-1.0,)},
        {"snapshots": ()},
        {"snapshots": (50, 50)},
        {"holdout": 1.0},
        {"threshold": 0.0},
        {"learning_rate": 0.0},
    ],
)
def test_bad_settings_are_refused_by_name(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        MaskConfig(**bad)  # type: ignore[arg-type]
