import numpy as np
import pytest
import torch

from flows.science.model import Decoder, apply_layers, check_kind

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


LINEAR = Decoder("linear", {"weight": normal(4, 6), "bias": normal(4)})
MLP = Decoder(
    "mlp",
    {
        "hidden_weight": normal(9, 6),
        "hidden_bias": normal(9),
        "weight": normal(4, 9),
        "bias": normal(4),
    },
)


def literal(decoder: Decoder, x: np.ndarray) -> np.ndarray:
    p = decoder.parameters
    if decoder.kind == "mlp":
        x = x @ p["hidden_weight"].T + p["hidden_bias"]
        x = np.where(x > 0, x, 0.01 * x)
    return x @ p["weight"].T + p["bias"]


@pytest.mark.parametrize("decoder", [LINEAR, MLP], ids=["linear", "mlp"])
@pytest.mark.parametrize("trials", [0, 1, 5000])
def test_predictions_are_unit_vectors_of_the_layers(decoder: Decoder, trials: int) -> None:
    x = normal(trials, 6)
    expected = literal(decoder, x)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    predicted = decoder.predict(x)
    assert predicted.dtype == np.float32
    assert (decoder.n_voxels, decoder.dimension) == (6, 4)
    np.testing.assert_allclose(predicted, expected, atol=1e-5)


@pytest.mark.parametrize("decoder", [LINEAR, MLP], ids=["linear", "mlp"])
def test_tensors_round_trip_exactly(decoder: Decoder) -> None:
    again = Decoder.from_tensors(decoder.kind, decoder.tensors())
    assert again.kind == decoder.kind
    assert again.tensors().keys() == decoder.tensors().keys()
    for name, array in decoder.tensors().items():
        assert again.tensors()[name].tobytes() == array.tobytes()


def test_voxel_vectors_of_a_linear_decoder_are_its_weights() -> None:
    np.testing.assert_array_equal(LINEAR.voxel_vectors(), LINEAR.parameters["weight"].T)


def test_voxel_vectors_of_an_mlp_are_the_mean_jacobian() -> None:
    x = normal(50, 6)
    layers = MLP.layers(torch.device("cpu"))
    jacobians = [
        torch.autograd.functional.jacobian(lambda row: apply_layers(row[None], layers)[0], row)
        for row in torch.from_numpy(x)
    ]
    expected = torch.stack(jacobians).mean(0).T.numpy()
    np.testing.assert_allclose(MLP.voxel_vectors(x), expected, atol=1e-4)


def test_voxel_vectors_of_an_mlp_want_responses() -> None:
    for x in (None, normal(0, 6)):
        with pytest.raises(ValueError, match="voxel vectors of an MLP depend on the responses"):
            MLP.voxel_vectors(x)


def test_layers_are_copies() -> None:
    before = LINEAR.parameters["weight"].copy()
    LINEAR.layers(torch.device("cpu"))[0][0].zero_()
    np.testing.assert_array_equal(LINEAR.parameters["weight"], before)


def test_responses_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x of shape \(2, 5\) is not \(trials, 6 voxels\)"):
        LINEAR.predict(normal(2, 5))
    x = normal(2, 6)
    x[0, 3] = np.nan
    for refuse in (LINEAR.predict, MLP.predict, MLP.voxel_vectors):
        with pytest.raises(ValueError, match="x holds 1 NaN or infinite values, in 1 of 2"):
            refuse(x)


@pytest.mark.parametrize("kind", ["Linear", "", "ridge"])
def test_unknown_kinds_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"unknown kind of decoder '{kind}'"):
        check_kind(kind)
    with pytest.raises(ValueError, match="unknown kind"):
        Decoder.from_tensors(kind, LINEAR.tensors())


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("mlp", {}, "a mlp decoder has tensors .*'hidden_bias'.*, not"),
        ("linear", {"extra": normal(1)}, "a linear decoder has tensors"),
        ("linear", {"bias": normal(3)}, "'weight' and 'bias' do not fit together"),
        ("linear", {"weight": normal(4)}, "'weight' and 'bias' do not fit together"),
        ("linear", {"weight": np.ones((4, 6))}, "'weight' must be finite float32"),
        ("linear", {"bias": np.full(4, np.nan, "f4")}, "'bias' must be finite float32"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    kind: str, change: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Decoder.from_tensors(kind, LINEAR.tensors() | change)


def test_layers_of_an_mlp_must_meet() -> None:
    with pytest.raises(ValueError, match="'weight' and 'bias' do not fit together"):
        Decoder.from_tensors("mlp", MLP.tensors() | {"weight": normal(4, 8)})
