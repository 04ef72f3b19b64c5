"""When a submission needs the experiments, which are left out of a graded run.

No model answer needs one, which the build sees to. A student may still use a name there that only an experiment binds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from nbformat.notebooknode import NotebookNode

from autograder.names import parse

EXPERIMENT = "experiment"
_UNDEFINED = re.compile(r"name '(\w+)' is not defined")


def is_experiment(cell: NotebookNode) -> bool:
    """Whether a cell of the release trains or measures, and nothing graded depends on it."""
    return EXPERIMENT in cell.metadata.get("tags", [])


def missed(notebook: NotebookNode, errors: Iterable[tuple[str, str]]) -> list[str]:
    """The names that errors say are undefined, and that an experiment binds.

    errors: the type and the message of each error, as they came from inside.
    """
    wanted = {name for kind, message in errors if kind == "NameError" for name in _UNDEFINED.findall(message)}
    bound: set[str] = set()
    for cell in notebook.cells:
        if wanted and cell.cell_type == "code" and is_experiment(cell):
            try:
                _, defines, _ = parse(cell.source)
            except (SyntaxError, ValueError):  # a student's own cell with this tag, and a magic in it
                continue
            bound |= defines
    return sorted(wanted & bound)
