"""Python in a process of its own: what it sends and logs is a process's, not a test's."""

import os
import subprocess
import sys

# From stdin, and under a name that is no file's: tracebacks would show a script's own words, as
# Python 3.13 does those of -c.
_READ = "import sys; exec(compile(sys.stdin.read(), '<script>', 'exec'))"


def run_python(script: str, **environment: str) -> tuple[str, list[str]]:
    """What a script prints, and the lines that it writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", _READ],
        input=script,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), done.stderr.splitlines()
