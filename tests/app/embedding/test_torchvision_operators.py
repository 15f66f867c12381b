"""torchvision beside a torch it was not built for."""

import subprocess
import sys


def in_fresh_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


ENSURE = """
import sys
from app.embedding import torchvision_operators as module
module.ensure_torchvision(); module.ensure_torchvision()
"""


def test_torchvision_imports_afterwards() -> None:
    done = in_fresh_python(ENSURE + "import torchvision.transforms, open_clip")
    assert (done.returncode, done.stderr) == (0, "")


def test_operators_are_defined_only_where_they_are_missing() -> None:
    works = in_fresh_python("import torchvision").returncode == 0
    done = in_fresh_python(ENSURE + "print(module._library is None)")
    assert done.stdout.strip() == str(works), done.stderr


def test_a_missing_torchvision_is_left_alone() -> None:
    code = """
import importlib.util as util
found = util.find_spec
util.find_spec = lambda name, *rest: None if name == "torchvision" else found(name, *rest)
"""
    done = in_fresh_python(code + ENSURE + "print('torchvision' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr
