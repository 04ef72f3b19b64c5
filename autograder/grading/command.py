"""What `attention grade` does between its options and its table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click
from traitlets.config import PyFileConfigLoader

from autograder.grading import sandbox, sources
from autograder.grading.assignment import Assignment, assignment
from autograder.grading.batch import Course, Outcome, grade_class, latest
from autograder.grading.classreport import page
from autograder.grading.gradebook import UnknownAssignment
from autograder.grading.intake import Submission
from autograder.record import write_whole

CONFIG = "nbgrader_config.py"


class Misused(ValueError):
    """The command cannot do what was asked; the message says why and what to do."""


def run(
    here: Path,
    slug: str,
    places: Sequence[Path],
    students: Sequence[str],
    *,
    resume: bool,
    jobs: int | None,
    sandboxed: bool,
) -> list[Outcome]:
    """Grade what lies in `places`, or what nbgrader collected, in the course at or above a folder.

    Raises Misused.
    """
    course = find_course(here)
    try:
        posed = assignment(course.root, slug)
    except FileNotFoundError as error:
        raise Misused(str(error)) from None
    _preflight(sandboxed)
    found = _merged(posed, course, places)
    if students:
        absent = sorted(set(students) - {one.student for one in found})
        if absent:
            there = ", ".join(sorted(one.student for one in found)[:10]) or "none"
            raise Misused(f"nothing was handed in by {', '.join(absent)}; there are {there}")
        found = [one for one in found if one.student in students]
    if not found:
        raise Misused(f"there are no submissions of {slug}; name a folder, or collect them: nbgrader collect {slug}")
    try:
        done = grade_class(course, posed, found, jobs=jobs or os.cpu_count() or 1, resume=resume, sandboxed=sandboxed)
    except (UnknownAssignment, PermissionError, ValueError) as error:
        raise Misused(str(error)) from error
    report = course.folder / "results" / f"{slug}.html"
    write_whole(report, page(slug, latest(course, posed)))
    click.echo(f"the class at a glance: {report.relative_to(course.root)}", err=True)
    return done


def _preflight(sandboxed: bool) -> None:
    if not sandboxed:
        click.secho("submissions run WITHOUT a sandbox: they can read and change what you can", fg="red", err=True)
        return
    reason = sandbox.problem()
    if reason:
        raise Misused(f"{reason}. --unsandboxed runs submissions without protection, as yourself")


def _merged(posed: Assignment, course: Course, places: Sequence[Path]) -> list[Submission]:
    """Submissions by student; where two places have one, the later place counts and says so."""
    found: dict[str, Submission] = {}
    all_of_them = [one for place in places for one in sources.given(place, posed)]
    for one in all_of_them or ([] if places else sources.collected(course.root, posed)):
        if one.student in found:
            one.notes.append("handed in more than once; the last place named counts")
        found[one.student] = one
    return list(found.values())


def find_course(here: Path) -> Course:
    """The course at or above a folder, with the gradebook that its nbgrader_config.py names.

    Raises Misused if there is none.
    """
    for root in (here, *here.parents):
        if (root / CONFIG).is_file() and (root / "notebooks").is_dir():
            config = PyFileConfigLoader(CONFIG, path=str(root)).load_config()
            return Course(root, config.CourseDirectory.db_url, config.CourseDirectory.course_id)
    raise Misused(f"there is no {CONFIG} in {here} or above it; run this in the folder of the course")
