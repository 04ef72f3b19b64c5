"""Grading a class: read everything, run in parallel, record one after another, and say what became of each.

Whatever one submission is or does costs only itself. What is recorded is also written to a file at once, so that a run
that was interrupted goes on where it was.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.api import Gradebook
from tqdm import tqdm

from autograder.grading import gradebook as books
from autograder.grading.assignment import Assignment
from autograder.grading.intake import Submission
from autograder.grading.limits import Limits
from autograder.grading.secret import course_secret
from autograder.grading.submission import Graded, grade
from autograder.record import write_whole
from autograder.report import to_json

GRADED, PARTIAL, PROBLEM = "graded", "partial", "problem"


@dataclass
class Outcome:
    """What became of one submission.

    state:   graded (every exercise was judged), partial (some were not: crashed, hung, not handed in), or problem
             (nothing could be graded).
    digest:  of what was handed in; with --resume the same is not graded again.
    reasons: why not all is well, and what was noticed.
    """

    student: str
    state: str
    score: float
    max_score: float
    digest: str
    reasons: list[str] = field(default_factory=list)
    exercises: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Course:
    """Where a course keeps what a class hands in: the database, and the folder that git ignores."""

    root: Path
    database: str
    name: str = "attention"

    @property
    def folder(self) -> Path:
        """The folder that git ignores."""
        return self.root / "course"


def grade_class(
    course: Course,
    assignment: Assignment,
    submissions: Iterable[Submission],
    *,
    jobs: int,
    resume: bool = False,
    sandboxed: bool = True,
    limits: Limits | None = None,
) -> list[Outcome]:
    """Grade every submission and return what became of each, in the order of the students' names.

    jobs:   how many run at a time.
    resume: leave out what was graded before and is still the same.
    Raises UnknownAssignment if the gradebook does not know the assignment.
    """
    secret = course_secret(course.folder)
    with Gradebook(course.database, course.name) as gradebook:
        books.know(gradebook, assignment.slug)
        todo = sorted(submissions, key=lambda one: one.student)
        known = _earlier(course, assignment) if resume else {}
        done = [known[one.student] for one in todo if _same(known.get(one.student), one)]
        left = [one for one in todo if not _same(known.get(one.student), one)]
        with ThreadPoolExecutor(max_workers=jobs) as pool, _bar(len(left), assignment.slug) as bar:
            running: dict[Future[Graded], Submission] = {}
            for one in left:
                running[
                    pool.submit(
                        grade,
                        assignment,
                        one.student,
                        one.cells,
                        secret,
                        limits,
                        notes=_notes(one),
                        sandboxed=sandboxed,
                    )
                ] = one
            try:
                for future in as_completed(running):
                    outcome = _record(course, gradebook, assignment, running.pop(future), future)
                    done.append(outcome)
                    _append(course, assignment, outcome)
                    bar.set_postfix_str(f"{outcome.student}: {outcome.state}")
                    bar.update()
            except BaseException:
                for future in running:
                    future.cancel()
                raise
    return sorted(done, key=lambda one: one.student)


def _notes(one: Submission) -> list[str]:
    return [*one.notes, *([f"nothing could be read: {one.problem}"] if one.problem else [])]


def _record(
    course: Course, gradebook: Gradebook, assignment: Assignment, one: Submission, future: Future[Graded]
) -> Outcome:
    """Save one result in the gradebook and beside it; a failure of ours is recorded as one, over the old result."""
    most = float(sum(exercise.points for exercise in assignment.judged.values()))
    outcome = Outcome(one.student, PROBLEM, 0.0, most, digest(one))
    try:
        books.enrol(gradebook, assignment.slug, one.student)
        _keep(course, assignment, one)
        graded = future.result()
        _write_notebook(course, assignment, one.student, graded)
        books.save(gradebook, assignment.slug, one.student, graded.notebook)
    except Exception as error:
        books.supersede(gradebook, assignment.slug, one.student)
        outcome.reasons = [f"the grader failed ({type(error).__name__}: {error}); the old result no longer stands"]
        return outcome
    unjudged = {
        name: verdict
        for name, verdict in graded.verdicts.items()
        if verdict.status in ("missing", "crashed", "timeout", "not_run")
    }
    reasons = [f"{name}: {verdict.note}" for name, verdict in unjudged.items()]
    if len(unjudged) == len(graded.verdicts) and one.problem:
        reasons = []
    outcome.state = GRADED if not unjudged else PROBLEM if len(unjudged) == len(graded.verdicts) else PARTIAL
    outcome.score, outcome.seconds = float(graded.score), graded.seconds
    outcome.reasons = [*reasons, *graded.notes]
    outcome.exercises = [to_json(verdict) | {"score": verdict.score} for verdict in graded.verdicts.values()]
    return outcome


def _keep(course: Course, assignment: Assignment, one: Submission) -> None:
    """Put what was handed in where nbgrader looks for it; another version that lies there is kept beside the folder."""
    path = course.folder / "submitted" / one.student / assignment.slug / f"{assignment.slug}.ipynb"
    if not one.data or (path.is_file() and not path.is_symlink() and path.read_bytes() == one.data):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        earlier = course.folder / "earlier" / one.student / assignment.slug
        earlier.mkdir(parents=True, exist_ok=True)
        path.rename(earlier / f"{time.strftime('%Y%m%d-%H%M%S')}-{time.monotonic_ns()}.ipynb")
    path.write_bytes(one.data)


def _write_notebook(course: Course, assignment: Assignment, student: str, graded: Graded) -> None:
    """Put the graded notebook where nbgrader's feedback and formgrader look for it."""
    folder = course.folder / "autograded" / student / assignment.slug
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{assignment.slug}.ipynb"
    if path.exists():
        path.chmod(0o644)
    write_whole(path, nbformat.writes(graded.notebook) + "\n")


def digest(one: Submission) -> str:
    """What identifies a submission's content."""
    content = json.dumps([one.problem, one.cells], sort_keys=True, default=str)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def latest(course: Course, assignment: Assignment) -> list[Outcome]:
    """The last outcome of every student, of this run or an earlier one, by name."""
    return [outcome for _, outcome in sorted(_earlier(course, assignment).items())]


def _same(earlier: Outcome | None, one: Submission) -> bool:
    return earlier is not None and earlier.digest == digest(one) and earlier.state != PROBLEM


# --- results in files ------------------------------------------------------------------------------------------------


def _log(course: Course, assignment: Assignment) -> Path:
    return course.folder / "results" / f"{assignment.slug}.jsonl"


def _append(course: Course, assignment: Assignment, outcome: Outcome) -> None:
    path = _log(course, assignment)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(outcome), ensure_ascii=True) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _earlier(course: Course, assignment: Assignment) -> dict[str, Outcome]:
    """The last result of every student; a line that was cut off in the middle is passed over."""
    found: dict[str, Outcome] = {}
    path = _log(course, assignment)
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                outcome = Outcome(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[outcome.student] = outcome
    return found


def write_csv(path: Path, outcomes: list[Outcome]) -> None:
    """One row per student: state, score, the points of every exercise, reasons."""
    names = list(dict.fromkeys(found["exercise"] for outcome in outcomes for found in outcome.exercises))
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["student", "state", "score", "max_score", *names, "reasons"])
        for outcome in outcomes:
            points = {found["exercise"]: found["score"] for found in outcome.exercises}
            cells = [outcome.student, outcome.state, outcome.score, outcome.max_score]
            # A spreadsheet would run a cell that begins with one of these as a formula.
            cells = [f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" else cell for cell in cells]
            rows.writerow([*cells, *(points.get(name, "") for name in names), "; ".join(outcome.reasons)])


def write_json(path: Path, outcomes: list[Outcome]) -> None:
    """All that is known of each submission, for a program."""
    path.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n", encoding="utf-8")


def table(outcomes: list[Outcome]) -> Iterator[str]:
    """The closing table: a line per submission that a person should look at, and the sums."""
    width = max((len(outcome.student) for outcome in outcomes), default=7)
    for outcome in outcomes:
        score = f"{outcome.score:g} of {outcome.max_score:g}"
        why = "; ".join(outcome.reasons)[:200]
        yield f"  {outcome.state:<8} {outcome.student:<{width}}  {score:>10}  {why}".rstrip()
    counts = {state: sum(outcome.state == state for outcome in outcomes) for state in (GRADED, PARTIAL, PROBLEM)}
    yield f"{len(outcomes)} submissions: " + ", ".join(f"{count} {state}" for state, count in counts.items())


def _bar(total: int, label: str) -> tqdm:
    return tqdm(total=total, desc=label, unit="submission", file=sys.stderr, disable=total == 0)
