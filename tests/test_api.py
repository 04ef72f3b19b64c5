"""What a notebook imports, used wrongly."""

import subprocess
import sys

import pytest

import autograder
from autograder.exercise import UnknownExercise, exercises


@pytest.mark.parametrize(
    "call", [lambda name: autograder.check(name, 1), autograder.hint, lambda name: autograder.reflect(name, "")]
)
def test_an_unknown_id_names_the_nearest(call):
    with pytest.raises(UnknownExercise, match="no exercise is called 'sofmax'; did you mean softmax"):
        call("sofmax")


@pytest.mark.parametrize("wrong", [None, 3, len, ["softmax"]])
def test_an_id_that_is_no_text_is_refused(wrong):
    with pytest.raises(UnknownExercise, match="no exercise is called"):
        autograder.check(wrong, 1)


def test_a_reflection_is_not_judged_and_says_so():
    written = next((exercise for exercise in exercises().values() if exercise.kind == "R"), None)
    if written is None:
        pytest.skip("no notebook has a reflection yet")
    with pytest.raises(UnknownExercise, match=f'reflect\\("{written.id}"'):
        autograder.check(written.id, "text")


def test_a_fault_of_the_autograder_says_that_it_is_one(monkeypatch):
    monkeypatch.setattr("autograder.verdict.cases_of", lambda *args: 1 / 0)
    with pytest.raises(autograder.AutograderError, match="not a fault of your answer"):
        autograder.check("softmax", len)


def test_what_is_exported_exists():
    for name in ("check", "hint", "progress", "reflect"):
        assert callable(getattr(autograder, name))
    with pytest.raises(AttributeError):
        _ = autograder.nothing


def test_a_check_loads_nothing_of_the_build_or_the_grading():
    code = (
        "import sys, autograder; autograder.check('equal_scores', (0.2,) * 5); autograder.hint('softmax'); "
        "autograder.progress(); autograder.mine; "
        "print([m for m in sys.modules if m.startswith('autograder.') and m.split('.')[1] in "
        "('grading', 'build', 'release', 'script', 'cli', 'execution', 'lab')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
