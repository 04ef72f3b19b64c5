"""Points for little memory are not to be had by lying about it: it is seen from outside."""

import copy

import nbformat
import pytest
from slim import LIMITS, ROOT, SECRET

from autograder.grading.assignment import Assignment, is_answer, is_check
from autograder.grading.submission import grade

pytestmark = pytest.mark.usefixtures("sandbox_here")

SLUG = "10_quadratic_cost"
FULL = """
import math
import numpy as np

def chunked_attention(q, k, v, chunk):
    q, k, v = np.asarray(q), np.asarray(k), np.asarray(v)
    scores = q @ k.T * np.asarray(1 / math.sqrt(q.shape[-1]), dtype=q.dtype)
    scores -= scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores)
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights @ v
"""
RIGHT = """
import math
import numpy as np

def chunked_attention(q, k, v, chunk):
    q, k, v = np.asarray(q), np.asarray(k), np.asarray(v)
    out = np.empty((len(q), v.shape[-1]), dtype=np.result_type(q, v))
    for start in range(0, len(q), chunk):
        scores = q[start : start + chunk] @ k.T * np.asarray(1 / math.sqrt(q.shape[-1]), dtype=q.dtype)
        scores -= scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores)
        out[start : start + chunk] = weights / weights.sum(axis=-1, keepdims=True) @ v
    return out
"""
# What makes the measurement beside the answer report nothing.
LIES = {
    "tracemalloc always says zero": "import tracemalloc\ntracemalloc.get_traced_memory = lambda: (0, 0)\n",
    "the course's own measuring is replaced": """
import autograder.exercises.nb10_quadratic_cost as visible
from autograder.memory import Taken
visible.measure = lambda call: Taken(call(), 0, "")
""",
    "no process of its own, since fork is replaced": """
import os, tracemalloc
tracemalloc.get_traced_memory = lambda: (0, 0)
from autograder import probe
probe._apart = lambda call: call()
""",
}
# Room that lies ready before the call, so that the call itself takes none.
READY = """
ROOM = np.ones((4096, 4096), np.float32)

def chunked_attention(q, k, v, chunk):
    q, k, v = np.asarray(q), np.asarray(k), np.asarray(v)
    scores = ROOM if len(q) == 4096 else np.empty((len(q), len(k)), q.dtype)
    np.matmul(q, k.T, out=scores)
    scores *= np.asarray(1 / math.sqrt(q.shape[-1]), dtype=q.dtype)
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores @ v
"""


def graded(answer):
    """The verdict of `chunked_attention`, of a notebook that holds nothing else."""
    notebook = nbformat.read(ROOT / "notebooks" / SLUG / f"{SLUG}.ipynb", as_version=4)
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "from autograder import" in cell.source
        or ("chunked_attention" in cell.id and (is_answer(cell) or is_check(cell)))
    ]
    cells = copy.deepcopy(notebook.cells)
    for cell in cells:
        if cell.id == "chunked_attention":
            cell.source = answer
    return grade(Assignment(SLUG, notebook), "mallory", cells, SECRET, LIMITS).verdicts["chunked_attention"]


def held(verdict):
    return {result.check.name: result.passed for result in verdict.checks}


def test_an_answer_that_takes_little_earns_all_points():
    verdict = graded(RIGHT)
    assert verdict.points == verdict.exercise.points


def test_an_answer_that_holds_all_scores_loses_the_points_for_memory_alone():
    assert [name for name, passed in held(graded(FULL)).items() if not passed] == ["memory", "memory_follows_the_size"]


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_no_lie_about_memory_is_believed(lie):
    assert not held(graded(FULL + lie))["memory"]


def test_room_that_lay_ready_is_seen_when_it_is_used():
    assert not held(graded(FULL + READY + LIES["tracemalloc always says zero"]))["memory"]
