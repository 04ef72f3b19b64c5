"""A source notebook: what a script's cells become, with the metadata that nbgrader needs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder.script import Cell

# Fixed, so that a notebook does not say which Python or Jupyter it was built with.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}


def source_notebook(cells: list[Cell]) -> NotebookNode:
    """Make the notebook that nbgrader calls the source, without outputs; the same cells always give the same."""
    notebook = nbformat.v4.new_notebook(metadata=METADATA)
    notebook.nbformat_minor = 5
    taken: dict[str, int] = {}
    for cell in cells:
        graded = _nbgrader(cell)
        metadata: dict = {"tags": list(cell.tags)} if cell.tags else {}
        if graded:
            metadata["nbgrader"] = graded
        make = nbformat.v4.new_markdown_cell if cell.role == "prose" else nbformat.v4.new_code_cell
        name = graded["grade_id"] if graded else hashlib.sha256(f"{cell.role}\n{cell.source}".encode()).hexdigest()[:12]
        taken[name] = taken.get(name, 0) + 1
        unique = name if taken[name] == 1 else f"{name}-{taken[name]}"
        notebook.cells.append(make(cell.source, metadata=metadata, id=unique))
    return notebook


def _nbgrader(cell: Cell) -> dict | None:
    """nbgrader's metadata of a cell. Given cells have none: a learner may change them, and grading keeps the change."""
    if cell.exercise is None or cell.role == "reflect":
        return None
    by_hand = cell.exercise.kind == "R"
    check = cell.role == "check"
    metadata = {
        "grade": check or by_hand,
        "grade_id": f"check_{cell.exercise.id}" if check else cell.exercise.id,
        "locked": check,
        "schema_version": 3,
        "solution": not check,
        "task": False,
    }
    if metadata["grade"]:
        metadata["points"] = cell.exercise.points
    return metadata


def as_bytes(notebook: NotebookNode) -> bytes:
    """The content of the notebook's file."""
    return (nbformat.writes(notebook) + "\n").encode()


def without_outputs(path: Path) -> NotebookNode | None:
    """A stored notebook as the build makes it before running it; None if it cannot be read."""
    try:
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    except (OSError, ValueError, nbformat.ValidationError):
        return None
    for cell in notebook.get("cells", []):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def was_run(path: Path) -> bool:
    """Whether a stored notebook has been run from its first code cell to its last."""
    cells = nbformat.read(path, as_version=4).cells
    return all(cell.execution_count for cell in cells if cell.cell_type == "code")
