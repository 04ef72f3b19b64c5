"""The whole course with the model answers: it leaves a library that translates, and earns all points in the sandbox."""

import re

import nbformat
import pytest
from whole_course import solve, solved, translate

from autograder.exercise import exercises
from autograder.grading.assignment import Assignment
from autograder.grading.submission import grade
from autograder.workspace import released_notebooks

UPDATES = 600  # a quarter of what notebook 19 takes: enough for about half of the sentences


def test_every_notebook_is_solved_on_what_came_before_and_the_library_translates_without_the_course(tmp_path):
    folder = tmp_path / "workspace"
    assert [slug for slug, _ in solve(folder)] == list(released_notebooks())

    done = translate(folder, UPDATES)
    assert done.returncode == 0, done.stderr
    *_, made_of, exact = done.stdout.splitlines()
    assert {"transformer", "encoder_layer", "decoder_layer", "multi_head_attention"} <= set(re.findall(r"\w+", made_of))
    assert float(re.search(r"exactly right: ([\d.]+)", exact)[1]) > 0.4, done.stdout


@pytest.mark.parametrize("slug", list(released_notebooks()))
def test_the_model_answers_of_a_notebook_earn_every_point_in_the_sandbox(slug):
    path = released_notebooks()[slug]
    found = grade(Assignment(slug, nbformat.read(path, as_version=4)), "ana", solved(path).cells, b"secret" * 6)
    assert {name: verdict.score for name, verdict in found.verdicts.items()} == {
        each.id: each.points for each in exercises().values() if each.notebook == slug and each.kind != "R"
    }
    assert found.notes == []
