"""A call and a result in words, as a learner would read them in a report."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograder.calling import CaughtError, argument_names
from autograder.exercise import Built, Case, Exercise, Seed
from autograder.plain import describe


def describe_result(exercise: Exercise, value: Any) -> str:
    """A wanted result in words: its parts by name, each with dtype and axes."""
    if isinstance(value, tuple) and len(value) == len(exercise.returns):
        named = zip(exercise.returns, value, strict=True)
        return ", ".join(f"{name} {describe(part, exercise.axes.get(name, ''))}" for name, part in named)
    return describe(value, exercise.axes.get("result", ""))


def called(exercise: Exercise, case: Case) -> str:
    """The call of a case as a learner would read it: `softmax(x, axis=1), x float64 (2, 3, 4)`."""
    if exercise.takes_value:
        return ""
    described, shown = [], []
    for name, value in zip(argument_names(exercise), case.inputs, strict=False):
        if isinstance(value, np.ndarray) and value.size > 6:
            shown.append(name)
            described.append(f"{name} {describe(value, exercise.axes.get(name, ''))}")
        else:
            shown.append(f"{name}={_short(value)}" if isinstance(value, (bool, int, float)) else _short(value))
    for name, value in case.keywords.items():
        if isinstance(value, np.ndarray) and value.size > 6:
            shown.append(f"{name}={name}")
            described.append(f"{name} {describe(value, exercise.axes.get(name, ''))}")
        else:
            shown.append(f"{name}={_short(value)}")
    return f"{exercise.id}({', '.join(shown)})" + "".join(", " + text for text in described)


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        kind = "" if value.dtype in (np.float64, np.bool_, np.int64) else f", {value.dtype.name}"
        shown = np.round(value.astype(float), 4) if value.dtype.kind == "f" else value
        return f"array({shown.tolist()}{kind})"
    if isinstance(value, Seed):
        return "rng"
    if isinstance(value, Built):
        return "f"
    return describe(value)


def error_line(error: CaughtError) -> str:
    """An exception in one line: its type and its message."""
    return f"{error.type}: {error.message}" if error.message else error.type
