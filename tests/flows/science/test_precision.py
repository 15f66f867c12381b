"""bfloat16 products: what they may change, stated and checked on planted data."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flows.science import checks, decoder, masks
from flows.science.decoder import PUBLISHED, Decoder, DecoderConfig, train_decoder
from flows.science.masks import MaskConfig, MaskFit, fit_masks, masked_correlations
from flows.science.metrics import dice, pearson, top_k
from flows.science.precision import Precision, add_product, product_type, products_in
from flows.science.reduction import ReductionConfig, reduce_contrastively

# What docs/method.md states of bfloat16 against float32.
TOP1_WITHIN = 0.01
COMPONENT_COSINE = 0.99
MASK_DICE = 0.98
MASK_DICE_TRAINED = 0.94
R_WITHIN = 0.05

VOXELS, DIMENSIONS, CONCEPTS = 400, 32, 8
LINEAR = DecoderConfig(learning_rate=3e-4, steps=600, evaluate_every=50)
MLP = replace(PUBLISHED["mlp"], hidden=64, learning_rate=1e-3, steps=600, evaluate_every=50)


def planted() -> dict[str, np.ndarray]:
    """Folds (x, image) of a participant whose voxels answer to one of eight concepts, or to none.

    Images hold some of the concepts each: directions of equal right, mixed at random, would leave
    components to chance, and any rounding would decide between them.
    """
    rng = np.random.default_rng(4)
    concepts = np.linalg.qr(rng.normal(size=(DIMENSIONS, DIMENSIONS)))[0][:CONCEPTS]
    share = rng.exponential(size=(1000, CONCEPTS)) * (rng.random((1000, CONCEPTS)) < 0.5)
    y = share @ concepts + 0.2 * rng.normal(size=(1000, DIMENSIONS))
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    tuning = concepts[np.arange(VOXELS) % CONCEPTS].T * 2 * (np.arange(VOXELS) < VOXELS // 2)
    data = {"y": y.astype(np.float32)}
    for name, images in (("train", (0, 600)), ("validation", (600, 800)), ("test", (800, 1000))):
        image = np.repeat(np.arange(*images), 3)
        x = y[image] @ tuning + rng.normal(size=(len(image), VOXELS))
        data |= {f"x_{name}": x.astype(np.float32), name: image}
    return data


DATA = planted()


def trained(precision: Precision, config: DecoderConfig = LINEAR) -> Decoder:
    found, _ = train_decoder(
        DATA["x_train"],
        DATA["y"],
        DATA["train"],
        DATA["x_validation"],
        DATA["validation"],
        config,
        seed=0,
        device="cpu",
        precision=precision,
    )
    return found


def masked(
    precision: Precision,
    decoder: Decoder,
    components: np.ndarray,
    lambdas: tuple[float, ...] = (5.0,),
) -> MaskFit:
    return fit_masks(
        DATA["x_validation"],
        DATA["y"][DATA["validation"]],
        DATA["validation"],
        decoder,
        components,
        MaskConfig(lambdas=lambdas),
        seed=0,
        device="cpu",
        precision=precision,
    )


def reduced(decoder: Decoder) -> np.ndarray:
    image = DATA["validation"]
    return reduce_contrastively(
        DATA["y"][image],
        decoder.predict(DATA["x_validation"]),
        image,
        ReductionConfig(components=CONCEPTS, starts=4),
        seed=0,
        device="cpu",
    ).components


def top1(decoder: Decoder) -> float:
    pool, own = np.unique(DATA["test"], return_inverse=True)
    return top_k(decoder.predict(DATA["x_test"]), DATA["y"][pool], own, ks=(1,))[1]


@pytest.mark.parametrize("config", [LINEAR, MLP], ids=["linear", "mlp"])
def test_a_decoder_tells_as_much(config: DecoderConfig) -> None:
    exact, rounded = trained("float32", config), trained("bfloat16", config)
    weight = exact.parameters["weight"]
    # It did compute otherwise, and weights are no bfloat16 numbers.
    assert not np.array_equal(weight, rounded.parameters["weight"])
    kept = torch.from_numpy(rounded.parameters["weight"])
    assert not torch.equal(kept, kept.bfloat16().float())
    assert top1(exact) > 0.3
    assert abs(top1(rounded) - top1(exact)) <= TOP1_WITHIN
    r = pearson(exact.predict(DATA["x_test"]), rounded.predict(DATA["x_test"]), axis=1)
    assert r.min() > 0.98


def test_components_and_masks_are_the_same_ones() -> None:
    exact, rounded = trained("float32"), trained("bfloat16")
    components, others = reduced(exact), reduced(rounded)
    cosine = components @ others.T
    assert sorted(cosine.argmax(axis=1)) == list(range(CONCEPTS))
    assert cosine.max(axis=1).min() >= COMPONENT_COSINE
    matched = others[cosine.argmax(axis=1)]
    first = masked("float32", exact, components)
    assert first.usable.all()
    # The masks' products alone, and then those of training too.
    for model, rows, least in (
        (exact, components, MASK_DICE),
        (rounded, matched, MASK_DICE_TRAINED),
    ):
        found = masked("bfloat16", model, rows)
        assert found.usable.all()
        assert not np.array_equal(first.soft, found.soft)
        overlap = [dice(a, b) for a, b in zip(first.members, found.members, strict=True)]
        assert np.mean(overlap) >= least


def test_masks_of_a_path_tell_as_much_where_the_choice_differs() -> None:
    """Of two points of the path that are nearly tied rounding may take the other."""
    decoder = trained("float32")
    components = reduced(decoder)
    test = DATA["x_test"], DATA["y"][DATA["test"]]
    r = []
    for precision in ("float32", "bfloat16"):
        found = masked(precision, decoder, components, (2.0, 5.0, 10.0))
        r.append(masked_correlations(*test, decoder, components, found.soft)["hard"])
    assert np.abs(r[0] - r[1]).max() <= R_WITHIN


def test_masks_of_a_network_are_the_same_ones() -> None:
    network = trained("float32", replace(MLP, hidden=16))
    component = reduced(network)[:2]
    found = [masked(precision, network, component) for precision in ("float32", "bfloat16")]
    assert found[0].usable.all()
    assert not np.array_equal(found[0].soft, found[1].soft)
    for a, b in zip(found[0].members, found[1].members, strict=True):
        assert dice(a, b) >= 0.9


def test_products_are_rounded_and_sums_are_not() -> None:
    left, right = torch.tensor([[1 + 2**-12]]), torch.tensor([[1.0]])
    offset = torch.tensor([[2**-12]])
    assert add_product(offset, left, right).item() == 1 + 2**-11
    assert add_product(offset, left.bfloat16(), right).item() == 1 + 2**-12
    assert add_product(offset, left.bfloat16(), right, alpha=-1).item() == 2**-12 - 1
    with products_in(torch.bfloat16, torch.device("cpu")):
        assert (left @ right).dtype == torch.bfloat16
    with products_in(torch.float32, torch.device("cpu")):
        assert (left @ right).item() == 1 + 2**-12


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown precision 'half': use 'float32' or 'bfloat16'"):
        product_type("half")


def test_data_go_to_the_device_once_whatever_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, ...]] = []

    def counted(array: np.ndarray, device: torch.device) -> torch.Tensor:
        sent.append(array.shape)
        return checks.on_device(array, device)

    monkeypatch.setattr(decoder, "on_device", counted)
    monkeypatch.setattr(masks, "on_device", counted)
    found = trained("float32", replace(LINEAR, steps=100))
    assert sent.count(DATA["x_train"].shape) == 1
    assert sent.count(DATA["x_validation"].shape) == 1
    assert len(sent) == 6
    sent.clear()
    masked("float32", found, reduced(found))
    assert sent.count(DATA["x_validation"].shape) == 1
