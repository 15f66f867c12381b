"""The notebook of the documentation: that it runs, and that it shows what was run."""

import ast
from copy import deepcopy
from typing import Any

import nbformat
import pytest

from tests.app.published import ATLAS, Published
from tests.app.serving import serving
from tests.app.validation.conftest import localise
from tests.notebook import EXECUTED, NOTEBOOK, digest, execute, parameters_of

# What the notebook asks of the demo's catalog, asked of the tests' own.
OWN = {
    "PROMPT": "portrait",
    "PLUS": "food",
    "MINUS": "letter",
    "QUESTIONS": ["a smiling woman", "pizza", "dog"],
    "SUBJECT": "subj02",
    "ATLAS": ATLAS,
    "REGION": "PPA",
}


@pytest.fixture(scope="module")
def notebook() -> Any:
    """As it is stored; read it, and copy it to run it."""
    return nbformat.read(NOTEBOOK, as_version=4)


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook: Any) -> list[Any]:
    return [output for cell in code_of(notebook) for output in cell.outputs]


def test_it_is_a_notebook(notebook: Any) -> None:
    nbformat.validate(notebook)


def test_its_outputs_are_those_of_its_cells(notebook: Any) -> None:
    """It was run whole and in order, and no cell was touched since."""
    assert notebook.metadata[EXECUTED] == digest(notebook)
    code = code_of(notebook)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for output in outputs_of(notebook):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
    silent = [cell for cell in code if not cell.outputs]
    assert silent == [parameters_of(notebook), code[-1]]


def test_a_changed_cell_is_noticed(notebook: Any) -> None:
    changed = deepcopy(notebook)
    code_of(changed)[-1].source += " "
    assert digest(changed) != changed.metadata[EXECUTED]


def test_it_asks_through_the_client_alone(notebook: Any) -> None:
    imported = [
        node.module
        for cell in code_of(notebook)
        for node in ast.walk(compile_of(cell.source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("app", "flows"))
    ]
    assert imported == ["app.client", "app.errors"]


def compile_of(source: str) -> ast.AST:
    """A cell's syntax; it may await at its top."""
    return compile(source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_every_cell_runs_on_another_catalog(own_published: Published, notebook: Any) -> None:
    localise(own_published)
    copy = deepcopy(notebook)
    for cell in code_of(copy):
        cell.outputs = []
    cell = parameters_of(copy)
    names = {
        name.id
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Assign)
        for target in node.targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    assert names == {"URL", *OWN}
    with serving() as url:
        cell.source = "\n".join(
            f"{name} = {value!r}" for name, value in (OWN | {"URL": url}).items()
        )
        execute(copy)
    told = str(outputs_of(copy))
    assert not [each for each in outputs_of(copy) if each.get("name") == "stderr"]
    assert "run 1 of lab-a in the space of vectors:words@" in told
    assert "no dataset 'nowhere' is in the catalog (known: lab-a)" in told
    assert "6 concepts, 2 shared, 2 of them found again" in told
    assert "image/png" in told
