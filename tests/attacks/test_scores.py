"""A wrong answer with any attack scores what the wrong answer scores."""

import contextlib
import copy

import nbformat
import pytest
from attacks import ATTACKS, source
from slim import RIGHT, WRONG, graded, slim, submission

from autograder.execution import ExecutionError, execute
from autograder.exercise import find
from autograder.grading.assignment import is_check

pytestmark = pytest.mark.usefixtures("sandbox_here")


@pytest.fixture(scope="module")
def wrong_score():
    return graded(submission(WRONG)).score


def test_a_right_answer_earns_all_points_and_the_wrong_one_fewer(wrong_score):
    assert graded(submission(RIGHT)).verdicts["softmax"].points == find("softmax").points
    assert wrong_score < find("softmax").points


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_earns_nothing(name, wrong_score):
    found = graded(submission(source(ATTACKS[name])))
    assert found.score <= wrong_score
    assert set(found.verdicts) == set(slim().judged)
    for cell in found.notebook.cells:
        if is_check(cell):
            (output,) = cell.outputs
            assert output.output_type == "execute_result"
            assert 0 <= float(output.data["text/plain"]) <= cell.metadata.nbgrader.points


PLAIN = [name for name, attack in ATTACKS.items() if attack.plain]


def on_plain_nbgrader(answer, folder):
    """The score that nbgrader as it comes reads from the check cell, after the submission's own kernel ran it."""
    from nbgrader.utils import determine_grade

    notebook = nbformat.v4.new_notebook(cells=copy.deepcopy(submission(answer)))
    with contextlib.suppress(ExecutionError):
        execute(notebook, folder, timeout=60)
    (cell,) = [cell for cell in notebook.cells if cell.id == "check_softmax"]
    return determine_grade(cell)[0]


@pytest.mark.parametrize("name", PLAIN)
def test_the_attack_works_where_the_check_runs_in_the_submissions_own_kernel(name, tmp_path, wrong_score):
    assert on_plain_nbgrader(source(ATTACKS[name]), tmp_path) > wrong_score


def test_a_wrong_answer_without_an_attack_does_not(tmp_path, wrong_score):
    assert on_plain_nbgrader(WRONG, tmp_path) == wrong_score
