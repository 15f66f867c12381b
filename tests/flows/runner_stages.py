"""Stages that tell where they run; workers of the tests' clusters import them."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.errors import InputError
from flows.progress import report
from flows.stages import get_store, stage

Json = dict[str, Any]


@stage("tell")
def tell(label: str) -> Json:
    """Say which process computes, and how."""
    report(f"telling {label}", 1, 2)
    report(f"telling {label}", 2, 2)
    return {
        "process": os.getpid(),
        "threads": torch.get_num_threads(),
        "quiet": os.environ.get("DO_NOT_TRACK"),
        "waits": os.environ.get("OMP_WAIT_POLICY"),
        "settings": sorted(name for name in os.environ if name.startswith("SDC_")),
        "store": get_store().url,
        "made": get_store().put({"label": np.frombuffer(label.encode(), np.uint8)}).model_dump(),
    }


@stage("refuse")
def refuse(label: str) -> Json:
    """Find an input at fault."""
    report(f"refusing {label}", 1, 1)
    raise InputError(f"{label} is at fault", hint="mend it")


@stage("hold")
def hold(folder: str) -> Json:
    """Note the process, and hold on until a file `go` is there."""
    Path(folder, "running").write_text(str(os.getpid()))
    while not Path(folder, "go").exists():
        time.sleep(0.05)
    return {"process": os.getpid()}


@stage("break-down")
def break_down(label: str) -> Json:
    """Take the process down."""
    os._exit(1)
