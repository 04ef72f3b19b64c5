"""A short notebook to attack: the exercises of notebook 01 without its prose, given cells and experiments."""

import copy
from pathlib import Path

import nbformat

from autograder.grading.assignment import Assignment, is_answer, is_check
from autograder.grading.limits import MIB, Limits
from autograder.grading.submission import Graded, grade

SLUG = "01_what_is_attention"
ROOT = Path(__file__).resolve().parents[2]
RELEASE = nbformat.read(ROOT / "notebooks" / SLUG / f"{SLUG}.ipynb", as_version=4)
SECRET = b"a secret that no submission sees"
LIMITS = Limits(memory=700 * MIB, processes=64, exercise=6, cell=6, given=6, total=60, restarts=4)

WRONG = """
def softmax(x, axis=-1):
    e = np.exp(x)
    return e / e.sum()
"""
RIGHT = """
def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)
"""


def _kept(cell):
    return "from autograder import" in cell.source or is_answer(cell) or is_check(cell)


def slim():
    """The assignment with nothing but imports, answers and checks."""
    notebook = copy.deepcopy(RELEASE)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code" and _kept(cell)]
    return Assignment(SLUG, notebook)


def submission(softmax, **others):
    """The cells of a submission with these answers; the rest is as it was released."""
    cells = copy.deepcopy(slim().notebook.cells)
    for cell in cells:
        if cell.id in {"softmax": softmax, **others}:
            cell.source = {"softmax": softmax, **others}[cell.id]
    return cells


def graded(cells, student="mallory", limits=LIMITS) -> Graded:
    """Grade cells as a submission of the short notebook."""
    return grade(slim(), student, cells, SECRET, limits)
