"""Writing a graded notebook into nbgrader's gradebook, whole or not at all."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from nbformat.notebooknode import NotebookNode
from nbgrader import utils
from nbgrader.api import Gradebook, MissingEntry


class UnknownAssignment(LookupError):
    """The gradebook has not heard of an assignment; the message says how it does."""


def know(gradebook: Gradebook, slug: str) -> None:
    """Raise UnknownAssignment unless the gradebook knows the assignment."""
    try:
        gradebook.find_notebook(slug, slug)
    except MissingEntry:
        raise UnknownAssignment(
            f"the gradebook does not know {slug}; first run: nbgrader generate_assignment {slug} --force"
        ) from None


def save(gradebook: Gradebook, slug: str, student: str, notebook: NotebookNode) -> None:
    """Save every score of a graded notebook in one transaction, in the place of what was there.

    What a person gave by hand stays, and is marked to be looked at again, as nbgrader does it.
    """
    try:
        for cell in notebook.cells:
            if utils.is_grade(cell):
                _score(gradebook.find_grade(name_of(cell), slug, slug, student), cell)
            if utils.is_solution(cell):
                comment = gradebook.find_comment(name_of(cell), slug, slug, student)
                untouched = cell.metadata.nbgrader.get("checksum") == utils.compute_checksum(cell)
                comment.auto_comment = "No response." if untouched else None
        gradebook.db.commit()
    except BaseException:
        gradebook.db.rollback()
        raise


def name_of(cell: NotebookNode) -> str:
    """The name nbgrader knows a graded cell by."""
    return cell.metadata.nbgrader.grade_id


def _score(grade: Any, cell: NotebookNode) -> None:
    score, _ = utils.determine_grade(cell)
    grade.auto_score = None if score is None else min(max(float(score), 0.0), float(grade.max_score))
    grade.needs_manual_grade = grade.manual_score is not None or grade.auto_score is None


def supersede(gradebook: Gradebook, slug: str, student: str) -> None:
    """Take back the scores of a submission whose grading failed: none stands, and all ask for a person."""
    try:
        for grade in gradebook.find_submission_notebook(slug, slug, student).grades:
            grade.auto_score, grade.needs_manual_grade = None, True
        gradebook.db.commit()
    except BaseException:
        gradebook.db.rollback()
        raise


def enrol(gradebook: Gradebook, slug: str, student: str, when: datetime | None = None) -> None:
    """Make sure that the gradebook has the student and a submission of theirs."""
    with gradebook.db.no_autoflush:  # nbgrader fills in a submission piece by piece, of which SQLAlchemy would warn
        gradebook.update_or_create_student(student)
        if when is None:
            gradebook.update_or_create_submission(slug, student)
        else:
            gradebook.update_or_create_submission(slug, student, timestamp=when)
