"""nbgrader's step that takes the answers out of a release, with the stubs of this course."""

from __future__ import annotations

from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import ClearSolutions

from autograder.regions import regions, released


class ClearToStubs(ClearSolutions):
    """Put a region's `#: ` lines, or a NotImplementedError that names the exercise, in the place of its answer."""

    def _replace_solution_region(self, cell: NotebookNode, language: str) -> bool:
        # nbgrader calls this for every cell and, where it returns False, blanks the whole of a solution cell.
        if cell.cell_type != "code" or not regions(cell.source):
            return False
        cell.source = released(cell.source, cell.metadata.get("nbgrader", {}).get("grade_id", "this"))
        return True
