"""From what came of a submission's answers to verdicts, and to what nbgrader and the student are shown of them."""

from __future__ import annotations

import threading
from dataclasses import replace
from html import escape

from nbformat.v4 import new_output

from autograder.calling import CaughtError, Outcome
from autograder.exercise import Exercise
from autograder.grading.assignment import exercise_of, is_check
from autograder.grading.running import Answered, Executed
from autograder.report import to_html
from autograder.verdict import CheckResult, Fault, Verdict, judge, unjudged, unreadable
from autograder.wording import error_line

# Calling a reference catches what it prints and warns, which Python does for a whole process at a time.
_one_at_a_time = threading.Lock()


def verdicts(done: Executed, exercises: dict[str, Exercise], missing: set[str], seed: int) -> dict[str, Verdict]:
    """Judge every answer of a run, by exercise id; every exercise gets a verdict, whatever came of it.

    missing: exercises whose answer cell was not handed in.
    """
    with _one_at_a_time:
        judged = {
            name: _judge(exercise, done.answers[name], name in missing, seed) for name, exercise in exercises.items()
        }
    return {name: replace(without_values(verdict), final=True) for name, verdict in judged.items()}


def _judge(exercise: Exercise, answered: Answered, missing: bool, seed: int) -> Verdict:
    if missing:
        return unjudged(exercise, "missing", "the cell of this exercise was not in what was handed in")
    if answered.status == "not_run":
        return unjudged(exercise, "not_run", answered.note or "the run ended before it came to this exercise")
    if answered.status in ("timeout", "crashed"):
        return unjudged(exercise, answered.status, answered.note)
    if answered.status == "undefined":
        kind, message = answered.error or ("NameError", f"no cell defines {exercise.id}")
        return unreadable(exercise, CaughtError(kind, (kind,), message))
    try:
        return judge(exercise, answered.outcomes, seed)
    except Exception as error:
        # Outcomes come from inside and may be anything; that a rule trips over one is no reason to lose a class.
        return unjudged(exercise, "crashed", f"its results could not be judged ({type(error).__name__})")


def without_values(verdict: Verdict) -> Verdict:
    """The verdict as feedback may show it: what held and why not, without inputs, wanted values or received ones."""
    return replace(verdict, checks=tuple(map(_without_values, verdict.checks)))


def _without_values(result: CheckResult) -> CheckResult:
    fault = result.fault
    if fault is None:
        return result
    error = fault.outcome.error
    if error is not None:
        got = error_line(error)
    elif fault.kind in ("shape", "dtype", "unchanged"):
        got = fault.got
    elif fault.kind == "finite":
        got = "results that are not finite"
    elif fault.kind == "structure":
        got = "a result of another kind"
    else:
        got = "other results"
    outcome = Outcome(error=error and replace(error, message=""), warnings=fault.outcome.warnings)
    return replace(result, fault=Fault(fault.kind, "", "", got, outcome=outcome))


def show(done: Executed, found: dict[str, Verdict], notes: list[str]) -> None:
    """Put the verdicts into the check cells of the notebook, as the one output that nbgrader takes the score from."""
    first = True
    for cell in done.notebook.cells:
        if not is_check(cell) or exercise_of(cell) not in found:
            continue
        verdict = found[exercise_of(cell)]
        html = to_html(verdict)
        if first and notes:
            html = f"{_noticed(notes)}{html}"
        first = False
        data = {"text/plain": str(verdict.score), "text/html": html}
        cell.outputs = [new_output("execute_result", data=data, execution_count=1)]
        cell.execution_count = 1


def _noticed(notes: list[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f'<div style="opacity:.85">What was noticed about this submission:<ul style="margin:.2em 0">{items}</ul></div>'
    )
