"""The numerics on a machine that has torch, numpy and scipy and nothing else."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]

# Refuses whatever else is installed, as where it is not; what torch needs, torch alone may import.
CODE = """
import importlib.abc, importlib.util, pkgutil, sys

NEEDED = set(sys.argv[1].split(","))
OURS = {"flows", "numpy", "scipy", "torch"}


def importer():
    frame = sys._getframe(2)
    while "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return frame.f_globals.get("__name__", "")


class Bare(importlib.abc.MetaPathFinder):
    def __init__(self, finders):
        self.finders = finders

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top == "flows":
            there = name == "flows" or name.startswith("flows.science")
        # One module of the standard library is in no list of it.
        elif top in sys.stdlib_module_names or top in OURS or top.startswith("_sysconfigdata"):
            there = True
        else:
            ours = importer().partition(".")[0] in ("flows", "__main__")
            there = top in NEEDED and not ours
        specs = (each.find_spec(name, path, target) for each in self.finders if there)
        return next((spec for spec in specs if spec is not None), None)


sys.meta_path[:] = [Bare(sys.meta_path[:])]
for name in ("nibabel", "prefect", "app.settings", "flows.train", "sympy"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} is not refused")

import flows.science

names = [each.name for each in pkgutil.walk_packages(flows.science.__path__, "flows.science.")]
assert len(names) > 25
for name in names:
    importlib.import_module(name)

from flows.science.benchmark.__main__ import main
from flows.science.voxel_clusters import ClusterConfig, cluster_voxels

import numpy as np

rng = np.random.default_rng(0)
centres = rng.normal(size=(3, 16))
vectors = [np.repeat(centres, 5, axis=0) + 0.05 * rng.normal(size=(15, 16)) for _ in range(5)]
found = cluster_voxels(vectors, ClusterConfig(), device="cpu")
assert len(found.centroids) == 3, found

small = "--participants 2 --voxels 60 --trials 360 --dimension 16 --components 4 --held-out 30"
raise SystemExit(main([*small.split(), "--steps", "30", "--matmul-size", "64", "--json"]))
"""


def needed_by_torch() -> set[str]:
    """Top-level modules of the distributions that torch requires, and of those they require."""
    modules: dict[str, set[str]] = {}
    for module, owners in metadata.packages_distributions().items():
        for owner in owners:
            modules.setdefault(owner.lower().replace("_", "-"), set()).add(module)
    waiting, seen = ["torch"], set()
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name not in seen and name in modules:
            seen.add(name)
            required = [Requirement(line) for line in metadata.requires(name) or []]
            waiting += [
                each.name
                for each in required
                if each.marker is None or each.marker.evaluate({"extra": ""})
            ]
    return set().union(*(modules[name] for name in seen))


def test_every_module_and_the_whole_method_run_with_torch_numpy_and_scipy_alone() -> None:
    needed = needed_by_torch()
    assert "sympy" in needed
    assert "nibabel" not in needed
    done = subprocess.run(
        [sys.executable, "-c", CODE, ",".join(sorted(needed))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"usable_masks"' in done.stdout
