"""The command: ``python -m flows.science.benchmark --help``."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, get_args

import torch

from flows.science.benchmark.cohort import Scale
from flows.science.benchmark.rate import matmul_rates
from flows.science.benchmark.stages import Outcome, run_stages
from flows.science.device import device_name, resolve_device
from flows.science.precision import Precision

_HELP = {
    "participants": "how many",
    "voxels": "of each participant",
    "trials": "of each participant in all folds, three an image",
    "dimension": "of the embedding space",
    "components": "planted and sought",
    "held_out": "images of the test fold, and of the validation fold",
}


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and print a table, or JSON; the command's exit status."""
    arguments = vars(_parser().parse_args(words))
    as_json = arguments.pop("json")
    size = arguments.pop("matmul_size")
    run = {name: arguments.pop(name) for name in ("device", "precision", "steps", "seed")}
    try:
        scale = Scale(**arguments)
        place = resolve_device(run["device"])
        rates = matmul_rates(place, size or (8192 if place.type == "cuda" else 1024))
        outcome = run_stages(scale, told=lambda line: print(line, file=sys.stderr), **run)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report = {
        "device": device_name(run["device"]),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "scale": asdict(scale),
        "precision": run["precision"],
        "steps": run["steps"],
        "seed": run["seed"],
        "matmul_flop_per_s": rates,
        "stages": _stages(outcome, rates),
        "top1": outcome.top1,
        "chance": outcome.chance,
        "found_components": outcome.found,
        "usable_masks": outcome.masks,
    }
    print(json.dumps(report, indent=2) if as_json else _table(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.science.benchmark",
        description="Time training, reduction and masks of a made-up cohort.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    for each in fields(Scale):
        option = f"--{each.name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=each.default, help=_HELP[each.name])
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="of the products of training and masks",
    )
    parser.add_argument("--steps", type=int, help="at most so many of each stage, else all")
    parser.add_argument("--seed", type=int, default=0, help="of the cohort and of all draws")
    parser.add_argument(
        "--matmul-size", type=int, help="edge of the matrices whose product is timed"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _stages(outcome: Outcome, rates: dict[str, float]) -> list[dict[str, Any]]:
    return [
        asdict(each)
        | {
            "flop_per_s": each.flop / each.seconds,
            "share_of_matmul": each.flop / each.seconds / rates[each.precision],
        }
        if each.flop
        else asdict(each)
        for each in outcome.measures
    ]


def _table(report: dict[str, Any]) -> str:
    sizes = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in report["scale"].items())
    rates = ", ".join(
        f"{name} {rate / 1e12:.3g} TFLOP/s" for name, rate in report["matmul_flop_per_s"].items()
    )
    lines = [
        f"{report['device']}, torch {report['torch']}, {report['threads']} threads; {sizes}",
        f"products of training and masks in {report['precision']}, TF32 off; matrix product alone: "
        f"{rates}",
        "",
        f"{'stage':<10}"
        + "".join(
            f"{name:>12}" for name in ("seconds", "peak GB", "TFLOP", "TFLOP/s", "of product")
        ),
    ]
    for each in report["stages"]:
        line = f"{each['stage']:<10}{each['seconds']:>12.2f}{each['peak_bytes'] / 1e9:>12.2f}"
        if each["flop"]:
            line += f"{each['flop'] / 1e12:>12.3g}{each['flop_per_s'] / 1e12:>12.3g}"
            line += f"{each['share_of_matmul']:>12.1%}"
        lines.append(line)
    top1 = sum(report["top1"]) / len(report["top1"])
    lines += [
        "",
        f"mean top-1 {top1:.3f} (chance {report['chance']:.3g}), components found "
        f"{report['found_components']} of {report['scale']['components']}, usable masks "
        f"{sum(report['usable_masks'])} of "
        f"{report['scale']['participants'] * report['scale']['components']}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
