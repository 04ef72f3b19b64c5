"""Diagnosis by outcome: which known misconception gives the learner's numbers.

A misconception shows in facets: the result (numbers, shape or error), the dtype kept or lost, the inputs changed.
It is named when the learner's outcomes equal the wrong implementation's, on every case, in each facet in which that
implementation differs from the reference. If none explains everything, one that explains all of a single check is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograder.calling import Outcome
from autograder.compare import difference
from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Case, Exercise, Misconception, Reference


def diagnose(tables: Sequence[tuple[Misconception, Table]], failing: Sequence[str]) -> list[tuple[Misconception, str]]:
    """Return the misconceptions that give the learner's outcomes, each with the first failing check it explains.

    tables:  each wrong implementation beside the learner's answer; a misconception may have several.
    failing: names of the checks that fail, in order.
    """
    found: dict[str, tuple[Misconception, str]] = {}
    for misconception, table in tables:
        if table.explains_all():
            check = next((name for name in failing if table.explains(name)), failing[0])
            found.setdefault(misconception.name, (misconception, check))
    if found:
        return list(found.values())
    for check in failing:
        for misconception, table in tables:
            if table.explains(check) and table.fits(check):
                found.setdefault(misconception.name, (misconception, check))
    return list(found.values())


class Table:
    """How one wrong implementation relates to the reference and to the learner's answer, case by case and facet."""

    def __init__(
        self,
        exercise: Exercise,
        reference: Reference,
        cases: Sequence[Case],
        wanted: Sequence[Outcome],
        got: Sequence[Outcome],
        wrong: Sequence[Outcome],
    ) -> None:
        self.exercise, self.reference, self.cases = exercise, reference, cases
        # One row a case: (differs from the reference, equals the learner's) per facet.
        self.rows = [self._row(*row) for row in zip(cases, wanted, got, wrong, strict=True)]
        self.facets = {facet for row in self.rows for facet, (differs, _) in row.items() if differs}
        self.evidence = [self._is_specific(a, b) for a, b in zip(got, wrong, strict=True)]

    def _row(self, case: Case, wanted: Outcome, got: Outcome, wrong: Outcome) -> dict[str, tuple[bool, bool]]:
        row = {"value": (not self._same_value(case, wrong, wanted), self._same_value(case, wrong, got))}
        if case.check == KEEPS_DTYPE:
            row["dtype"] = (_dtypes(wrong.value) != _dtypes(wanted.value), _dtypes(wrong.value) == _dtypes(got.value))
        row["mutation"] = (wrong.mutated != wanted.mutated, wrong.mutated == got.mutated)
        return row

    def explains_all(self) -> bool:
        """Whether the wrong implementation's outcomes are the learner's on every case, in each of its facets."""
        if not self.facets:
            return False
        return self._supported(range(len(self.rows))) and all(
            same for row in self.rows for facet, (_, same) in row.items() if facet in self.facets
        )

    def explains(self, check: str) -> bool:
        """Whether the wrong implementation differs from the reference in what this check judges."""
        if check == INPUTS_UNCHANGED:
            return "mutation" in self.facets
        judged = ("dtype", "value") if check == KEEPS_DTYPE else ("value",)
        return any(row[facet][0] for i, row in self._of(check) for facet in judged if facet in row)

    def fits(self, check: str) -> bool:
        """Whether it gives the learner's outcome on every case of this check."""
        if check == INPUTS_UNCHANGED:
            return all(row["mutation"][1] for row in self.rows)
        facets = ("dtype",) if check == KEEPS_DTYPE and "dtype" in self.facets else ("value",)
        rows = self._of(check)
        return self._supported([i for i, _ in rows]) and all(row[facet][1] for _, row in rows for facet in facets)

    def _of(self, check: str) -> list[tuple[int, dict[str, tuple[bool, bool]]]]:
        return [(i, row) for i, row in enumerate(self.rows) if self.cases[i].check == check]

    def _supported(self, indices: Any) -> bool:
        """An error of the same type alone proves little: some differing case must match in numbers, shape or words."""
        differing = [i for i in indices if self.rows[i]["value"][0]]
        return not differing or any(self.evidence[i] for i in differing)

    @staticmethod
    def _is_specific(got: Outcome, wrong: Outcome) -> bool:
        if wrong.error is None or got.error is None:
            return True
        return wrong.error.message == got.error.message

    def _same_value(self, case: Case, expected: Outcome, got: Outcome) -> bool:
        if expected.error or got.error:
            return bool(expected.error and got.error) and expected.error.type == got.error.type  # type: ignore[union-attr]
        a, b = expected.value, got.value
        try:
            if self.reference.view is not None:
                a, b = self.reference.view(case, a), self.reference.view(case, b)
            if self.reference.agree is not None:
                return self.reference.agree(case, a, b) is None
        except Exception:  # a view or rule may not stand what a wrong answer returns; compare the results as they are
            a, b = expected.value, got.value
        return difference(_blur(a), _blur(b), names=self.exercise.returns, relative=case.relative) is None


def _blur(value: Any) -> Any:
    """Read what is not finite as NaN: whether an overflow ends as inf or NaN is an accident of the order of steps."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return np.where(np.isfinite(value), value, np.nan).astype(value.dtype)
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
