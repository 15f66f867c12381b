"""What the environment says to libraries of Dask's workers, before they are loaded."""

import os
from typing import Any

from distributed import WorkerPlugin

from app.threads import wait_asleep
from flows.prefect_home import QUIET


class GoodNeighbour(WorkerPlugin):
    """Makes Dask workers, those that come later too, call nobody and leave each other the cores."""

    name = "sdc-good-neighbour"

    def setup(self, worker: Any) -> None:
        """Set in a worker's environment what it does not set itself."""
        wait_asleep()
        for variable, value in QUIET.items():
            os.environ.setdefault(variable, value)
