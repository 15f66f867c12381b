"""Executes the notebook of the documentation: `python -m tests.notebook [URL]`."""

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "catalog.ipynb"
PARAMETERS = "parameters"
EXECUTED = "executed_sha256"


def execute(notebook: Any) -> Any:
    """Run all cells in a kernel of its own, and note what was run.

    Raises
    ------
    CellExecutionError
        A cell fails.
    """
    search_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False)
    # Not over TCP, where others on the machine could listen.
    client.create_kernel_manager().transport = "ipc"
    client.execute(env=os.environ | {"PYTHONPATH": search_path}, cwd=str(ROOT))
    notebook.metadata[EXECUTED] = digest(notebook)
    return notebook


def digest(notebook: Any) -> str:
    """What tells the sources of all code cells from others."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def parameters_of(notebook: Any) -> Any:
    """The cell whose variables say what is asked, and where."""
    (cell,) = [cell for cell in notebook.cells if PARAMETERS in cell.metadata.get("tags", [])]
    return cell


def main() -> None:
    """Execute the notebook and store it with its outputs; nothing is stored where a cell fails.

    Another URL than the notebook's own is asked without being stored.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cell = parameters_of(notebook)
    own = cell.source
    if len(sys.argv) > 1:
        cell.source = f"{own}\nURL = {sys.argv[1]!r}"
    execute(notebook)
    cell.source = own
    notebook.metadata[EXECUTED] = digest(notebook)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
