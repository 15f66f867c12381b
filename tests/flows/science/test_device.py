import pytest
import torch

from flows.science.device import resolve_device


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_never_replaced_in_silence(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is not there: this machine has 0 usable GPUs"):
        resolve_device(name)


def test_a_gpu_beyond_the_last_is_refused() -> None:
    beyond = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=f"'{beyond}' is not there"):
        resolve_device(beyond)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_is_there_is_used() -> None:
    assert resolve_device("cuda:0") == torch.device("cuda", 0)


@pytest.mark.parametrize("name", ["gpu", "", "mps", "cuda:x"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown device '{name}': use 'cpu', 'cuda'"):
        resolve_device(name)
