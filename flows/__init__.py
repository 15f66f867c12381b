"""What fills the catalog: Prefect flows, readers of data layouts, and the numerics."""

import os

# Read when torch is loaded, so it is said here, before any module of this package loads it. Threads
# that spin while they wait for each other take the cores from tasks beside them: two processes of
# two threads each took ten times as long on two cores as they do when threads sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
