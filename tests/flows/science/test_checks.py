import warnings

import numpy as np
import pytest
import torch

from flows.science.checks import check_responses, check_targets, on_device


def test_responses_that_are_not_finite_are_counted() -> None:
    x = np.ones((6, 4), dtype=np.float32)
    x[1, [0, 2]] = np.nan
    x[5, 2] = -np.inf
    with pytest.raises(
        ValueError, match="x_test holds 3 NaN or infinite values, in 2 of 6 trials and 2 of 4"
    ):
        check_responses("x_test", x)


@pytest.mark.parametrize(("shape", "n_voxels"), [((5,), None), ((5, 4), 3), ((5, 4, 1), 4)])
def test_responses_of_another_shape_are_refused(
    shape: tuple[int, ...], n_voxels: int | None
) -> None:
    with pytest.raises(ValueError, match=r"x of shape .* is not \(trials, "):
        check_responses("x", np.zeros(shape), n_voxels)


def test_read_only_and_transposed_responses_reach_torch_without_a_warning() -> None:
    x = np.arange(6, dtype=np.float64).reshape(2, 3).T
    x.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked = check_responses("x", x)
        tensor = on_device(checked, torch.device("cpu"))
    # torch warns once a process: the flag tells where an earlier warning hides the next.
    assert checked.flags.writeable
    assert checked.flags.c_contiguous
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == x.tolist()


def test_on_the_cpu_memory_is_shared() -> None:
    x = np.zeros((2, 2), dtype=np.float32)
    assert on_device(check_responses("x", x), torch.device("cpu")).data_ptr() == x.ctypes.data


def unusable() -> np.ndarray:
    y = np.eye(3)
    y[1] = 0
    y[2, 0] = np.nan
    return y


@pytest.mark.parametrize(
    ("target", "n_trials", "y", "message"),
    [
        ([], 0, np.eye(3), "there are no validation trials"),
        ([0, 1], 3, np.eye(3), r"3 validation trials have targets of shape \(2,\)"),
        ([0, 3], 2, np.eye(3), "validation targets name rows outside"),
        ([0, -1], 2, np.eye(3), "validation targets name rows outside"),
        ([0, 1, 2, 2], 4, unusable(), "2 of 3 validation target vectors are zero or not finite"),
    ],
)
def test_targets_are_refused(target: list[int], n_trials: int, y: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_targets("validation", np.array(target, dtype=int), n_trials, y)


def test_a_bad_vector_that_no_trial_uses_does_no_harm() -> None:
    assert check_targets("training", np.zeros(2, dtype=np.int16), 2, unusable()).dtype == np.int64


def test_read_only_responses_become_writable() -> None:
    x = np.ones((2, 3), dtype=np.float32)
    x.flags.writeable = False
    assert check_responses("x", x).flags.writeable
    assert not x.flags.writeable
