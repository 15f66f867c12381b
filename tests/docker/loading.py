"""Loads docker/stack.py, which is no module of a package: another package has the folder's name."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def load_stack() -> ModuleType:
    """The script as a module."""
    spec = spec_from_file_location("sdc_stack", ROOT / "docker" / "stack.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
