"""One submission from what was handed in to verdicts: rebuild, run, judge. Every way of grading goes through here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_output

from autograder.grading.assignment import Assignment, is_answer, is_check
from autograder.grading.clean import clean
from autograder.grading.judging import show, verdicts
from autograder.grading.limits import Limits
from autograder.grading.rebuild import EXTRA, rebuild
from autograder.grading.running import Answered, Executed, answers_of, execute
from autograder.grading.secret import seed_of
from autograder.verdict import Verdict


def _quiet(output: NotebookNode) -> NotebookNode:
    """An error of a given cell in one line: it calls answers, and one of them failed, which its check explains."""
    if output.output_type != "error":
        return output
    return new_output("stream", name="stdout", text=f"This cell uses an answer above; it ended in {output.ename}.\n")


@dataclass
class Graded:
    """A graded submission.

    notebook: rebuilt and run, with the verdicts in its check cells and nothing in it that a page would run.
    verdicts: by exercise id, without hidden values.
    notes:    what was noticed.
    seconds:  how long the run took.
    """

    notebook: NotebookNode
    verdicts: dict[str, Verdict]
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def score(self) -> int:
        """Points earned, of what a program judges."""
        return sum(verdict.score for verdict in self.verdicts.values())


def grade(
    assignment: Assignment,
    student: str,
    cells: Sequence[Any],
    secret: bytes,
    limits: Limits | None = None,
    *,
    notes: Sequence[str] = (),
    sandboxed: bool = True,
) -> Graded:
    """Grade a submission; whatever it holds or does, every exercise gets a verdict.

    cells: of what was handed in, not to be trusted; none of them is graded too, with 0 points.
    notes: what was noticed before.
    sandboxed: False runs it as whoever grades, with nothing between; feedback says so.
    Raises sandbox.NoSandbox if there can be no sandbox here.
    """
    rebuilt = rebuild(assignment, cells)
    seed = seed_of(secret, student, assignment.slug, answers_of(rebuilt.notebook))
    if set(assignment.exercises) <= rebuilt.missing:
        done = Executed(rebuilt.notebook, {name: Answered() for name in assignment.judged})
    else:
        done = execute(assignment, rebuilt.notebook, seed, limits, sandboxed=sandboxed)
    found = verdicts(done, assignment.judged, rebuilt.missing, seed)
    said = [*notes, *rebuilt.notes, *done.notes]
    if not sandboxed:
        said.append("it was run without the sandbox: its results rest on trust")
    for cell in done.notebook.cells:
        if cell.cell_type == "code":
            # What a check cell printed is the student's function speaking; the verdict alone stands there.
            cell.outputs = [] if is_check(cell) else clean(cell.get("outputs", []))
            if not is_answer(cell) and EXTRA not in cell.metadata.get("tags", []):
                cell.outputs = [_quiet(output) for output in cell.outputs]
    show(done, found, said)
    return Graded(done.notebook, found, said, done.seconds)
