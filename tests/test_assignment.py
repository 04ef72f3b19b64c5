"""The cells of every release belong to its exercises, by whatever name an exercise goes."""

import nbformat
import pytest

from autograder.grading.assignment import Assignment, exercise_of, is_answer, is_check
from autograder.grading.rebuild import rebuild
from autograder.workspace import released_notebooks

RELEASES = [Assignment(slug, nbformat.read(path, as_version=4)) for slug, path in released_notebooks().items()]
every_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.slug)


@every_release
def test_each_exercise_has_one_answer_cell_and_what_is_judged_one_check(release):
    cells = release.notebook.cells
    assert sorted(exercise_of(cell) for cell in cells if is_answer(cell)) == sorted(release.exercises)
    assert sorted(exercise_of(cell) for cell in cells if is_check(cell)) == sorted(release.judged)


@every_release
def test_where_nothing_is_handed_in_every_exercise_is_missing(release):
    assert rebuild(release, []).missing == set(release.exercises)
