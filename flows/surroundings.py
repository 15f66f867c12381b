"""What the environment says to libraries before they are loaded: this module loads none of them."""

import os
from typing import Any

from distributed import WorkerPlugin

from flows.prefect_home import QUIET

# Threads that spin while they wait for each other are quickest where they have the cores to
# themselves; beside other tasks they take the cores from these: two processes of two threads each
# took ten times as long on two cores as they do when waiting threads sleep. It is read when torch
# is loaded.
BESIDE_OTHERS = {"OMP_WAIT_POLICY": "PASSIVE"}


def expect_tasks_side_by_side() -> None:
    """Let threads of this process sleep while they wait, unless the environment says otherwise."""
    for variable, value in BESIDE_OTHERS.items():
        os.environ.setdefault(variable, value)


class GoodNeighbour(WorkerPlugin):
    """Makes Dask workers, those that come later too, call nobody and leave each other the cores."""

    name = "sdc-good-neighbour"

    def setup(self, worker: Any) -> None:
        """Set in a worker's environment what it does not set itself."""
        for variable, value in (QUIET | BESIDE_OTHERS).items():
            os.environ.setdefault(variable, value)
