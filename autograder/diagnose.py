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

from autograder.calling import CaughtError, Outcome
from autograder.compare import difference
from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Case, Exercise, Misconception, Reference

VALUE, DTYPE, MUTATION = "value", "dtype", "mutation"


@dataclass(frozen=True)
class Seen:
    """An outcome as it is compared: its result as the exercise views it, and what else can tell two answers apart."""

    result: Any
    blurred: Any  # the result with everything that is not finite as NaN
    error: CaughtError | None
    dtypes: tuple | str
    mutated: tuple[str, ...]


def see(reference: Reference, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> list[Seen]:
    """Prepare the outcomes of an answer for being compared with those of others."""
    return [_see(reference, case, outcome) for case, outcome in zip(cases, outcomes, strict=True)]


def _see(reference: Reference, case: Case, outcome: Outcome) -> Seen:
    result = outcome.value
    if reference.view is not None and outcome.error is None:
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
        if facet == DTYPE:
            return expected.dtypes == got.dtypes
        if expected.error or got.error:
            return bool(expected.error and got.error) and expected.error.type == got.error.type  # type: ignore[union-attr]
        case = self.cases[index]
        if self.reference.agree is not None:
            try:
                return self.reference.agree(case, expected.result, got.result) is None
            except Exception:  # a rule may not stand what a wrong answer returns
                pass
        found = difference(expected.blurred, got.blurred, names=self.exercise.returns, relative=case.relative)
        return found is None


class Mistake:
    """A wrong implementation: its outcomes, and where they differ from the reference's."""

    def __init__(
        self, comparison: Comparison, misconception: Misconception, wanted: Sequence[Seen], seen: Sequence[Seen]
    ) -> None:
        self.comparison, self.misconception, self.seen = comparison, misconception, seen
        self.differs = [
            {facet for facet in comparison.facets(i) if not comparison.same(i, facet, seen[i], wanted[i])}
            for i in range(len(seen))
        ]
        self.facets = set().union(*self.differs)
        # Where it differs is looked at first: there an answer of another kind is told apart soonest.
        self.order = sorted(range(len(seen)), key=lambda i: not self.differs[i])

    def explains(self, got: Sequence[Seen]) -> bool:
        """Whether these are the learner's outcomes on every case, in each facet in which they differ at all."""
        return bool(self.facets) and self._fits(got, self.order, self.facets)

    def shows_in(self, check: str) -> bool:
        """Whether it differs from the reference in what a check judges."""
        if check == INPUTS_UNCHANGED:
            return MUTATION in self.facets
        return any(self.differs[i] - {MUTATION} for i in self._of(check))

    def explains_check(self, check: str, got: Sequence[Seen]) -> bool:
        """Whether it differs in what a check judges, and gives the learner's outcome on every case of that check."""
        if not self.shows_in(check):
            return False
        if check == INPUTS_UNCHANGED:
            return self._fits(got, self.order, {MUTATION})
        facets = {DTYPE} if check == KEEPS_DTYPE and DTYPE in self.facets else {VALUE}
        return self._fits(got, self._of(check), facets)

    def _of(self, check: str) -> list[int]:
        return [i for i in self.order if self.comparison.cases[i].check == check]

    def _fits(self, got: Sequence[Seen], indices: Iterable[int], facets: set[str]) -> bool:
        proven = VALUE not in facets
        for i in indices:
            for facet in facets.intersection(self.comparison.facets(i)):
                if not self.comparison.same(i, facet, self.seen[i], got[i]):
                    return False
            proven = proven or (VALUE in self.differs[i] and self._is_specific(self.seen[i], got[i]))
        return proven

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
    for mistake in mistakes:
        if mistake.misconception.name not in found and mistake.explains(got):
            check = next((name for name in failing if mistake.shows_in(name)), failing[0])
            found[mistake.misconception.name] = (mistake.misconception, check)
    if found:
        return list(found.values())
    for check in failing:
        for mistake in mistakes:
            if mistake.misconception.name not in found and mistake.explains_check(check, got):
                found[mistake.misconception.name] = (mistake.misconception, check)
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
    return value


def _dtypes(value: Any) -> tuple | str:
    if isinstance(value, np.ndarray):
        return value.dtype.name
    if isinstance(value, (tuple, list)):
        return tuple(map(_dtypes, value))
    return type(value).__name__
