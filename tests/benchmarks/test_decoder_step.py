import re

import numpy as np
import torch

from tests.benchmarks import decoder_step


def test_every_size_is_told_with_its_ratio() -> None:
    title, *lines = decoder_step.measure(voxels=(40, 80), dimension=16, rounds=3, steps=2)
    assert "3 rounds of 2 steps" in title
    assert [line.partition(" voxels")[0] for line in lines] == ["40", "80"]
    for line in lines:
        low, high = map(float, re.search(r"from ([\d.]+) to ([\d.]+)", line).groups())
        assert 0 < low <= high


def test_the_bare_products_are_those_of_a_step() -> None:
    x = np.random.default_rng(0).standard_normal((6, 9), dtype=np.float32)
    bare = decoder_step.BareProducts(x, 4)
    assert bare.seconds(2) > 0
    trials = torch.from_numpy(x)
    torch.testing.assert_close(bare.decoded, trials @ bare.weight.T)
    torch.testing.assert_close(bare.gradient, bare.slope.T @ trials)
