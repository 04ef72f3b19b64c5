"""The truth about an assignment: the cells of its released notebook, in order, and what each is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder.exercise import Exercise, exercises


@dataclass(frozen=True)
class Assignment:
    """A released notebook: `slug` names it and `notebook` is its content, without a student's work."""

    slug: str
    notebook: NotebookNode

    @property
    def exercises(self) -> dict[str, Exercise]:
        """Its exercises by id, in order, the written ones too."""
        return {name: exercise for name, exercise in exercises().items() if exercise.notebook == self.slug}

    @property
    def judged(self) -> dict[str, Exercise]:
        """Those that a program judges."""
        return {name: exercise for name, exercise in self.exercises.items() if exercise.kind != "R"}


def grade_id(cell: Mapping[str, Any]) -> str:
    """The name nbgrader knows a cell by; empty for a cell that it does not. The cell may be anybody's."""
    metadata = cell.get("metadata")
    found = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return str(found.get("grade_id", "")) if isinstance(found, dict) else ""


def is_answer(cell: NotebookNode) -> bool:
    """Whether a learner writes in this cell of a release."""
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def is_check(cell: NotebookNode) -> bool:
    """Whether this cell of a release is a check that a program judges."""
    found = cell.metadata.get("nbgrader", {})
    return bool(found.get("grade")) and not found.get("solution")


def exercise_of(cell: NotebookNode) -> str:
    """The id of the exercise that an answer or a check cell of a release belongs to."""
    # Only a check's name has the prefix added; an exercise may itself be called check_something.
    return grade_id(cell).removeprefix("check_") if is_check(cell) else grade_id(cell)


def assignment(root: Path, slug: str) -> Assignment:
    """Read an assignment of a course.

    Raises FileNotFoundError, naming what there is, if there is no such release.
    """
    path = root / "notebooks" / slug / f"{slug}.ipynb"
    if not path.is_file():
        there = sorted(one.name for one in (root / "notebooks").glob("[0-9][0-9]_*"))
        raise FileNotFoundError(f"no assignment is called {slug!r}; there are {', '.join(there) or 'none'}")
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _read(path: Path, stamp: int) -> Assignment:
    return Assignment(path.stem, nbformat.read(path, as_version=4))
