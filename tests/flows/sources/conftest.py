"""Trees of data that the readers' tests share."""

from pathlib import Path

import pytest

from tests.flows.sources.nsd_tree import NsdTree, write_nsd_tree


@pytest.fixture
def tree(tmp_path: Path) -> NsdTree:
    return write_nsd_tree(tmp_path / "nsd")
