"""Diagnosis by outcome: which known misconception gives the learner's numbers.

A misconception shows in facets: the result (numbers, shape or error), the dtype kept or lost, the inputs changed.
It is named when the learner's outcomes equal the wrong implementation's, on every case, in each facet in which that
implementation differs from the reference. If none explains everything, one that explains all of a single check is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograder.calling import CaughtError, Outcome, call_case
from autograder.compare import difference
from autograder.exercise import (
    DIFFERENTIABLE,
    INPUTS_UNCHANGED,
    KEEPS_DTYPE,
    Case,
    Exercise,
    Misconception,
    Reference,
    Seed,
)
from autograder.plain import Unreadable

VALUE, DTYPE, MUTATION = "value", "dtype", "mutation"


@dataclass(frozen=True)
class Seen:
    """An outcome as it is compared: its result as the exercise views it, and what else can tell two answers apart."""

    result: Any
    blurred: Any  # the result with everything that is not finite as NaN
    error: CaughtError | None
    dtypes: tuple | str
    mutated: tuple[str, ...]


def see(reference: Reference, case: Case, outcome: Outcome) -> Seen:
    """Prepare an outcome for being compared with those of others."""
    result = outcome.value
    if reference.view is not None and outcome.error is None and case.check != DIFFERENTIABLE:
        try:
            result = reference.view(case, result)
        except Exception:  # a view may not stand what a wrong answer returns; compare the results as they are
            result = outcome.value
    return Seen(result, _blur(result), outcome.error, _dtypes(outcome.value), outcome.mutated)


class Comparison:
    """How outcomes of one exercise are compared, case by case and facet by facet."""

    def __init__(self, exercise: Exercise, reference: Reference, cases: Sequence[Case]) -> None:
        self.exercise, self.reference, self.cases = exercise, reference, cases

    def facets(self, index: int) -> tuple[str, ...]:
        """What a case can show."""
        return (VALUE, DTYPE, MUTATION) if self.cases[index].check == KEEPS_DTYPE else (VALUE, MUTATION)

    def same(self, index: int, facet: str, expected: Seen, got: Seen) -> bool:
        """Whether two outcomes of a case are the same in a facet."""
        if facet == MUTATION:
            return expected.mutated == got.mutated
        if facet == DTYPE:  # a mistake that ends in an error shows nothing here, and an error shows no mistake
            return expected.error is not None or (got.error is None and expected.dtypes == got.dtypes)
        if expected.error is not None and got.error is not None:
            return expected.error.type == got.error.type
        if expected.error is not None or got.error is not None:
            return False
        case = self.cases[index]
        if self.reference.agree is not None and case.check != DIFFERENTIABLE:
            try:
                return self.reference.agree(case, expected.result, got.result) is None
            except Exception:  # a rule may not stand what a wrong answer returns
                pass
        if isinstance(expected.result, Unreadable):
            return isinstance(got.result, Unreadable) and expected.result == got.result
        found = difference(expected.blurred, got.blurred, names=self.exercise.returns, relative=case.relative)
        return found is None


class Mistake:
    """A wrong implementation: what it gives on each case, called when it is asked for, and where that is wrong."""

    def __init__(
        self, comparison: Comparison, misconception: Misconception, wrong: Any, wanted: Sequence[Seen]
    ) -> None:
        self.comparison, self.misconception, self.wrong, self.wanted = comparison, misconception, wrong, wanted
        self._seen: dict[int, Seen] = {}
        self._differs: dict[int, set[str]] = {}

    def seen(self, index: int) -> Seen:
        """What it gives on a case."""
        if index not in self._seen:
            case = self.comparison.cases[index]
            outcome = call_case(self.comparison.exercise, self.wrong, case)
            self._seen[index] = see(self.comparison.reference, case, outcome)
        return self._seen[index]

    def differs(self, index: int) -> set[str]:
        """The facets of a case in which it differs from the reference."""
        if index not in self._differs:
            mine, right, same = self.seen(index), self.wanted[index], self.comparison.same
            self._differs[index] = {f for f in self.comparison.facets(index) if not same(index, f, mine, right)}
        return self._differs[index]

    def explains(self, got: Sequence[Seen]) -> bool:
        """Whether these are the learner's outcomes on every case, in each facet in which they are wrong at all."""
        return self._fits(got, range(len(got)), {VALUE, DTYPE, MUTATION})

    def explains_check(self, check: str, got: Sequence[Seen]) -> bool:
        """Whether it is wrong in what a check judges, and gives the learner's outcome on every case of that check."""
        if check == INPUTS_UNCHANGED:
            return self._fits(got, range(len(got)), {MUTATION})
        indices = self._of(check)
        if any(isinstance(item, Seed) for i in indices for item in self.comparison.cases[i].inputs):
            return False  # a likeness of draws on one check alone is too weak to name a mistake
        return self._fits(got, indices, {VALUE, DTYPE})

    def shows_in(self, check: str) -> bool:
        """Whether it is wrong in what a check judges."""
        if check == INPUTS_UNCHANGED:
            return any(MUTATION in self.differs(i) for i in range(len(self.wanted)))
        return any(self.differs(i) - {MUTATION} for i in self._of(check))

    def checks(self) -> set[str]:
        """The names of the checks in which it shows."""
        return {check.name for check in self.comparison.exercise.checks if self.shows_in(check.name)}

    def _of(self, check: str) -> list[int]:
        return [i for i, case in enumerate(self.comparison.cases) if case.check == check]

    def _fits(self, got: Sequence[Seen], indices: Iterable[int], facets: set[str]) -> bool:
        """Stops at the first case that tells the two apart, so that few cases of few mistakes are ever run."""
        wrong_in: set[str] = set()  # facets in which the mistake differs from the reference so far
        unlike_in: set[str] = set()  # facets in which the learner's outcome is not the mistake's so far
        proven = False
        for i in indices:
            for facet in facets.intersection(self.comparison.facets(i)):
                if facet in self.differs(i):
                    wrong_in.add(facet)
                    proven = proven or facet != VALUE or self._is_specific(self.seen(i), got[i])
                if not self.comparison.same(i, facet, self.seen(i), got[i]):
                    unlike_in.add(facet)
            if wrong_in & unlike_in:
                return False
        return bool(wrong_in) and proven

    @staticmethod
    def _is_specific(wrong: Seen, got: Seen) -> bool:
        """An error of the same type alone proves little: numbers, a shape, or the error's words must agree as well."""
        return wrong.error is None or got.error is None or wrong.error.message == got.error.message


def diagnose(
    mistakes: Sequence[Mistake], got: Sequence[Seen], failing: Sequence[str]
) -> list[tuple[Misconception, str]]:
    """Return the misconceptions that give the learner's outcomes, each with the first failing check it explains.

    mistakes: the known wrong implementations; a misconception may have several.
    failing:  names of the checks that fail, in order.
    """
    found: dict[str, tuple[Misconception, str]] = {}
    explained: set[str] = set()
    for mistake in mistakes:
        if mistake.misconception.name not in found and mistake.explains(got):
            shown = [name for name in failing if mistake.shows_in(name)]
            explained.update(shown)
            if shown:  # otherwise it shows only in what waits for something else
                found[mistake.misconception.name] = (mistake.misconception, shown[0])
    for check in failing:
        if check in explained:
            continue
        matching = [mistake for mistake in mistakes if mistake.explains_check(check, got)]
        reach = {id(mistake): len(mistake.checks()) for mistake in matching}
        names = {mistake.misconception.name for mistake in matching}
        for mistake in matching:
            # Of two that look alike here, the one that shows in more checks says more than these numbers show, and so
            # does a combination, `a+b`, of which one half explains them.
            if mistake.misconception.parts & names:
                continue
            if reach[id(mistake)] == min(reach.values()):
                found.setdefault(mistake.misconception.name, (mistake.misconception, check))
    return list(found.values())


def _blur(value: Any) -> Any:
    """Read what is not finite as NaN: whether an overflow ends as inf or NaN is an accident of the order of steps."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        finite = np.isfinite(value)
        return value if finite.all() else np.where(finite, value, np.nan).astype(value.dtype)
    if isinstance(value, float):
        return value if np.isfinite(value) else float("nan")
    if isinstance(value, (tuple, list)):
        return type(value)(map(_blur, value))
    if isinstance(value, dict):
        return {key: _blur(item) for key, item in value.items()}
    return value


def _dtypes(value: Any) -> tuple | str:
    if isinstance(value, np.ndarray):
        return value.dtype.name
    if isinstance(value, (tuple, list)):
        return tuple(map(_dtypes, value))
    if isinstance(value, dict):
        return tuple((str(key), _dtypes(item)) for key, item in value.items())
    return type(value).__name__
