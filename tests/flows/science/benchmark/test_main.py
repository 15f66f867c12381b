"""The benchmark's command, at a size that takes a second."""

import json

import pytest
import torch

from flows.science.benchmark.__main__ import main
from flows.science.benchmark.rate import matmul_rates

SIZES = {
    "participants": 2,
    "voxels": 90,
    "trials": 720,
    "dimension": 16,
    "components": 4,
    "held-out": 60,
    "matmul-size": 64,
}
TINY = [f"--{name}={size}" for name, size in SIZES.items()]
STAGES = ["generate", "train", "predict", "reduce", "mask"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_measures_every_stage(capsys: pytest.CaptureFixture[str], precision: str) -> None:
    assert main([*TINY, "--steps", "40", "--precision", precision, "--json"]) == 0
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert report["scale"]["participants"] == 2
    assert report["precision"] == precision
    assert set(report["matmul_flop_per_s"]) == {"float32", "bfloat16"}
    assert [each["stage"] for each in report["stages"]] == STAGES
    for each in report["stages"]:
        assert each["seconds"] > 0
        assert each["peak_bytes"] > 0
        if each["stage"] in ("train", "reduce", "mask"):
            assert each["precision"] == ("float32" if each["stage"] == "reduce" else precision)
            rate = each["flop"] / each["seconds"]
            assert each["flop_per_s"] == pytest.approx(rate)
            assert each["share_of_matmul"] == pytest.approx(
                rate / report["matmul_flop_per_s"][each["precision"]]
            )
    assert len(report["top1"]) == len(report["usable_masks"]) == 2
    assert "participant 2 masked" in told.err


def test_the_work_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    larger = ["--voxels=300", "--trials=1800", "--participants=1", "--steps=1500"]
    assert main([*TINY, *larger, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert min(report["top1"]) > 5 * report["chance"]
    assert report["found_components"] > 0
    assert min(report["usable_masks"]) > 0


def test_it_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--steps", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("cpu (")
    assert "TF32 off" in lines[1]
    assert [line.split()[0] for line in lines[4:9]] == STAGES
    assert lines[3].split()[:2] == ["stage", "seconds"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--trials", "30"], "30 trials show 10 images 3 times: too few"),
        (["--device", "nonsense"], "unknown device 'nonsense'"),
    ],
)
def test_what_it_cannot_do_is_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main([*TINY, *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert told in printed.err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_tells_tf32_too() -> None:
    before = torch.get_float32_matmul_precision()
    assert set(matmul_rates(torch.device("cuda"), 512)) == {"float32", "bfloat16", "tf32"}
    assert torch.get_float32_matmul_precision() == before
