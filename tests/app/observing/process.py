"""Python in a process of its own: what it sends and logs is a process's, not a test's."""

import os
import subprocess
import sys


def run_python(script: str, **environment: str) -> tuple[str, list[str]]:
    """What a script prints, and the lines that it writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), done.stderr.splitlines()
