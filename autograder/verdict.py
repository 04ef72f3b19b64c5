"""Judging what came of the calls: outcomes and references in, a `Verdict` out. Pure: no printing, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from autograder.calling import CaughtError, Outcome, call_cases
from autograder.compare import difference
from autograder.diagnose import Comparison, Mistake, Seen, diagnose, see
from autograder.exercise import (
    DIFFERENTIABLE,
    INPUTS_UNCHANGED,
    KEEPS_DTYPE,
    Case,
    Check,
    Exercise,
    Reference,
    find,
    reference_of,
)
from autograder.facts import facts
from autograder.plain import PLACEHOLDER, Unreadable, describe
from autograder.wording import called, describe_result, error_line

NOT_ATTEMPTED = "NotImplementedError"
UNJUDGED = ("not_attempted", "timeout", "missing", "crashed", "not_run")  # of these nothing is judged
UNTOUCHED = "untouched"  # the misconception of a repair exercise that is the code as given


@dataclass(frozen=True)
class Fault:
    """Why a check does not hold, on the first case that shows it.

    kind:    error, timeout, structure, shape, dtype, finite, values or unchanged.
    called:  the call, with dtype and shape of each argument.
    wanted, got: what should have come back there, and what did.
    facts:   what else the numbers show.
    arrays:  the wanted and received array, for a picture.
    outcome: what the learner's call left besides a result: error, printed text, warnings.
    """

    kind: str
    called: str
    wanted: str
    got: str
    facts: tuple[str, ...] = ()
    arrays: tuple[np.ndarray, np.ndarray] | None = None
    outcome: Outcome = field(default_factory=Outcome)


@dataclass(frozen=True)
class CheckResult:
    """One named check, judged."""

    check: Check
    fault: Fault | None = None
    waits: bool = False  # judged only once the exercise's first check holds

    @property
    def passed(self) -> bool:
        """Whether it holds and its points are earned."""
        return self.fault is None and not self.waits

    @property
    def points(self) -> int:
        """Points earned."""
        return self.check.points if self.passed else 0


@dataclass(frozen=True)
class Diagnosis:
    """A known misconception that gives the learner's numbers, and the first check it explains."""

    name: str
    message: str
    look_at: str
    check: str


@dataclass(frozen=True)
class Verdict:
    """What a check found: status, points, one result per named check, and why.

    status: passed, partial, wrong, not_attempted, error or timeout; in graded runs also missing (no answer was handed
    in), crashed (it ended its process) and not_run.
    """

    exercise: Exercise
    status: str
    checks: tuple[CheckResult, ...]
    diagnoses: tuple[Diagnosis, ...] = ()
    note: str = ""  # one line for the status itself: an answer file that cannot be read, a time limit
    final: bool = False  # given by an instructor's run: nothing is tried again, so no hint is offered

    @property
    def points(self) -> int:
        """Points earned."""
        return 0 if self.status in UNJUDGED else sum(result.points for result in self.checks)

    @property
    def max_points(self) -> int:
        """Points that can be earned."""
        return self.exercise.points

    @property
    def score(self) -> int:
        """Points for the gradebook: a prediction is worth its points whichever way it turns out."""
        taken = self.exercise.kind == "P" and self.status in ("passed", "partial", "wrong")
        return self.max_points if taken else self.points

    def __bool__(self) -> bool:
        return self.status == "passed"

    def __str__(self) -> str:
        from autograder.report import to_text

        return to_text(self)

    __repr__ = __str__

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """HTML for people; as text just the points, which nbgrader reads as the score."""
        from autograder.report import to_html

        return {"text/html": to_html(self), "text/plain": str(self.score)}


def run(exercise_id: str, answer: Any, seed: int = 0) -> Verdict:
    """Call an answer and judge it, both here and now. Raises UnknownExercise for an unknown id."""
    exercise = find(exercise_id)
    return judge(exercise, call_cases(exercise, answer, cases_of(exercise_id, seed)), seed)


@lru_cache(maxsize=64)
def cases_of(exercise_id: str, seed: int) -> tuple[Case, ...]:
    """The cases of an exercise; the same seed gives the same cases."""
    rng = np.random.default_rng([seed, *exercise_id.encode()])
    return tuple(reference_of(find(exercise_id)).cases(rng))


@lru_cache(maxsize=64)
def wanted_outcomes(exercise_id: str, seed: int) -> list[Outcome]:
    """What the reference gives on the cases."""
    exercise = find(exercise_id)
    return call_cases(exercise, reference_of(exercise).reference, cases_of(exercise_id, seed))


@lru_cache(maxsize=64)
def known_mistakes(exercise_id: str, seed: int) -> list[Mistake]:
    """The known wrong answers, each to be called on the cases of a seed when a diagnosis asks for it."""
    exercise = find(exercise_id)
    reference = reference_of(exercise)
    comparison = Comparison(exercise, reference, cases_of(exercise_id, seed))
    wanted = _see_all(reference, comparison.cases, wanted_outcomes(exercise_id, seed))
    return [
        Mistake(comparison, misconception, wrong, wanted)
        for misconception in reference.misconceptions
        for wrong in misconception.variants
    ]


def _see_all(reference: Reference, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> list[Seen]:
    return [see(reference, case, outcome) for case, outcome in zip(cases, outcomes, strict=True)]


def judge(exercise: Exercise, outcomes: Sequence[Outcome], seed: int = 0) -> Verdict:
    """Judge the outcomes of an answer's calls on the cases of a seed."""
    reference, cases = reference_of(exercise), cases_of(exercise.id, seed)
    if any(outcome.interrupted for outcome in outcomes):
        return timed_out(exercise, "interrupted before it returned; does a loop ever end?", cases, outcomes)
    if all(_is_stub(exercise, outcome) for outcome in outcomes):
        return not_attempted(exercise)
    wanted = wanted_outcomes(exercise.id, seed)
    faults = [judge_case(exercise, reference, case, *pair) for case, *pair in zip(cases, wanted, outcomes, strict=True)]
    results = _gate(tuple(_check_result(exercise, check, cases, faults, outcomes) for check in exercise.checks))
    if all(result.passed for result in results):
        return Verdict(exercise, "passed", results)
    failing = [result.check.name for result in results if result.fault]
    known = diagnose(known_mistakes(exercise.id, seed), _see_all(reference, cases, outcomes), failing)
    diagnoses = tuple(
        Diagnosis(found.name, found.sentence, found.look_at or exercise.section, check) for found, check in known
    )
    if any(diagnosis.name == UNTOUCHED for diagnosis in diagnoses):
        return not_attempted(exercise)
    first = next(result.fault for result in results if result.fault)
    earned = any(result.points for result in results)
    return Verdict(exercise, "partial" if earned else "error" if first.kind == "error" else "wrong", results, diagnoses)


def _is_stub(exercise: Exercise, outcome: Outcome) -> bool:
    if exercise.takes_value:
        if isinstance(outcome.value, str):
            return not outcome.value.strip()
        return outcome.value is None or (isinstance(outcome.value, Unreadable) and outcome.value == PLACEHOLDER)
    if outcome.error is None or outcome.error.type != NOT_ATTEMPTED:
        return False
    # A stub of another exercise that this answer calls is an error of this one, and is named.
    frames = outcome.error.frames
    return len(frames) <= 1 or f" in {exercise.id}:" in frames[-1]


def _gate(results: tuple[CheckResult, ...]) -> tuple[CheckResult, ...]:
    """Let the checks that hold for any nonsense wait until the exercise's first check holds."""
    if results[0].passed:
        return results
    waiting = (KEEPS_DTYPE, INPUTS_UNCHANGED, DIFFERENTIABLE)
    return tuple(
        CheckResult(result.check, waits=True) if result.check.name in waiting else result for result in results
    )


def not_attempted(exercise: Exercise) -> Verdict:
    """The verdict on an exercise that is still as it was given."""
    return Verdict(exercise, "not_attempted", tuple(CheckResult(check, waits=True) for check in exercise.checks))


def timed_out(exercise: Exercise, note: str, cases: Sequence[Case] = (), outcomes: Sequence[Outcome] = ()) -> Verdict:
    """The verdict on an answer that did not return in time; the call that hung is named when it is known."""
    hung = next((case for case, outcome in zip(cases, outcomes, strict=False) if outcome.interrupted), None)
    if hung:
        note = f"{called(exercise, hung)}: {note}"
    return unjudged(exercise, "timeout", note)


def unjudged(exercise: Exercise, status: str, note: str) -> Verdict:
    """The verdict on an answer of which there is nothing to judge, with why."""
    return Verdict(exercise, status, tuple(CheckResult(check, waits=True) for check in exercise.checks), note=note)


def unreadable(exercise: Exercise, error: CaughtError) -> Verdict:
    """The verdict on an answer file that fails before the answer exists."""
    fault = Fault("error", "", exercise.contract.partition("\n")[0], "", outcome=Outcome(error=error))
    results = tuple(CheckResult(check, fault) for check in exercise.checks[:1])
    return Verdict(exercise, "error", results + tuple(CheckResult(check, waits=True) for check in exercise.checks[1:]))


def judge_case(exercise: Exercise, reference: Reference, case: Case, wanted: Outcome, got: Outcome) -> Fault | None:
    """Compare one outcome with the wanted one: runs, structure, shape, dtype, finite, values."""
    call = called(exercise, case)
    if wanted.error is not None:
        return _judge_error(call, case, wanted.error, got)
    if got.error is not None:
        return Fault("error", call, describe_result(exercise, wanted.value), error_line(got.error), outcome=got)
    value, result = wanted.value, got.value
    if case.check == DIFFERENTIABLE:
        return _judge_gradients(exercise, call, value, got)
    if reference.view is not None:
        value = reference.view(case, value)
        try:
            result = reference.view(case, result)
        except Exception:  # a view may meet anything a learner returned
            return Fault("structure", call, describe_result(exercise, wanted.value), describe(result), outcome=got)
    if reference.agree is not None:
        try:
            wrong = reference.agree(case, value, result)
        except Exception:  # as above
            return Fault("structure", call, describe_result(exercise, wanted.value), describe(result), outcome=got)
        return Fault("values", call, "", wrong, outcome=got) if wrong else None
    if exercise.kind == "P":
        agrees = difference(value, result) is None
        return None if agrees else Fault("values", "", describe(wanted.value), describe(got.value))
    found = difference(
        value,
        result,
        names=exercise.returns,
        axes=dict(exercise.axes),
        relative=case.relative,
        dtypes=case.check == KEEPS_DTYPE,
    )
    if found is None:
        return None
    shown = facts(*found.arrays) if found.arrays is not None else ()
    return Fault(found.kind, call, found.wanted, found.got, shown, found.arrays, got)


def _judge_gradients(exercise: Exercise, call: str, wanted: Any, got: Outcome) -> Fault | None:
    if isinstance(got.value, Unreadable):
        return Fault("structure", call, "", f"a result {got.value.what}", outcome=got)
    # What is lost in precision is judged elsewhere; here it is whether the gradients flow.
    found = difference(_coarse(wanted), _coarse(got.value))
    return Fault(found.kind, call, found.wanted, found.got, (), found.arrays, got) if found else None


def _coarse(gradients: Any) -> Any:
    if not isinstance(gradients, dict):
        return gradients
    return {name: array.astype(np.float32) for name, array in gradients.items()}


def _judge_error(call: str, case: Case, wanted: CaughtError, got: Outcome) -> Fault | None:
    ask = f"a {wanted.type}" + (f" whose message names {' and '.join(case.mentions)}" if case.mentions else "")
    if got.error is None:
        return Fault("structure", call, ask, f"no error; the result is {describe(got.value)}", outcome=got)
    if wanted.type not in got.error.bases:
        return Fault("error", call, ask, error_line(got.error), outcome=got)
    if all(text in got.error.message for text in case.mentions):
        return None
    return Fault("structure", call, ask, error_line(got.error), outcome=Outcome(printed=got.printed))


def _check_result(
    exercise: Exercise,
    check: Check,
    cases: Sequence[Case],
    faults: Sequence[Fault | None],
    outcomes: Sequence[Outcome],
) -> CheckResult:
    if check.name == INPUTS_UNCHANGED:
        for case, outcome in zip(cases, outcomes, strict=True):
            if outcome.mutated:
                names = " and ".join(outcome.mutated)
                return CheckResult(
                    check, Fault("unchanged", called(exercise, case), "", f"{names} changed", outcome=outcome)
                )
        return CheckResult(check)
    own = [fault for case, fault in zip(cases, faults, strict=True) if case.check == check.name]
    if not own:
        raise ValueError(f"{exercise.id}: no case belongs to the check {check.name!r}")
    return CheckResult(check, next((fault for fault in own if fault), None))
