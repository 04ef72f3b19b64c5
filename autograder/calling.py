"""Calling an answer on the inputs of its cases, and writing down plainly what came of each call.

This half runs beside the learner's code (in their kernel, or in the grading sandbox). It knows inputs, not results.
"""

from __future__ import annotations

import contextlib
import copy
import io
import linecache
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autograder.exercise import DIFFERENTIABLE, Built, Case, Exercise, Seed
from autograder.gradients import gradients_of
from autograder.plain import to_plain

PACKAGE = str(Path(__file__).parent) + "/"
MAX_TEXT = 2_000


@dataclass(frozen=True)
class CaughtError:
    """An exception of the learner's code: its type, the names it may be caught by, its message, their frames."""

    type: str
    bases: tuple[str, ...]
    message: str
    frames: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What one call gave, as plain data.

    value:    the result, or None beside an error.
    error:    the exception that ended the call.
    mutated:  names of the arguments that are not as they were before the call.
    printed:  what the call wrote to stdout or stderr, cut.
    warnings: the Python warnings it caused, each once.
    """

    value: Any = None
    error: CaughtError | None = None
    mutated: tuple[str, ...] = ()
    printed: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether the call was stopped from outside before it returned."""
        return self.error is not None and self.error.type == "KeyboardInterrupt"

    def to_plain(self) -> dict[str, Any]:
        """The outcome as a plain value, for `plain.dumps`."""
        error = self.error and (self.error.type, self.error.bases, self.error.message, self.error.frames)
        return {
            "value": self.value,
            "error": error,
            "mutated": self.mutated,
            "printed": self.printed,
            "warnings": self.warnings,
        }

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Outcome:
        """Read what `to_plain` gave."""
        return cls(**{**data, "error": data["error"] and CaughtError(*data["error"])})


def argument_names(exercise: Exercise) -> list[str]:
    """The names of the arguments, in order, from the signature in the contract's first line."""
    signature = exercise.contract.partition("\n")[0].partition("→")[0]
    inside = signature.partition("(")[2].rpartition(")")[0]
    return [part.partition("=")[0].strip() for part in inside.split(",") if part.strip()]


def call_cases(exercise: Exercise, answer: Any, cases: Iterable[Case]) -> list[Outcome]:
    """Call an answer on every case, in order; an interrupt ends the rest unrun, each saying so."""
    outcomes: list[Outcome] = []
    for case in cases:
        if outcomes and outcomes[-1].interrupted:
            outcomes.append(outcomes[-1])
        else:
            outcomes.append(call_case(exercise, answer, case))
    return outcomes


def call_case(exercise: Exercise, answer: Any, case: Case, build: Callable[[Built], Any] | None = None) -> Outcome:
    """Call an answer once, on copies of the case's inputs, with its output and warnings captured.

    build: makes the inputs that are code; None is the exercise's own builders.
    """
    inputs = tuple(realise(item, exercise, build) for item in case.inputs)
    keywords = {name: realise(item, exercise, build) for name, item in case.keywords.items()}
    printed = io.StringIO()
    value: Any = None
    error: CaughtError | None = None
    with warnings.catch_warnings(record=True) as caught, _threads(exercise):
        warnings.simplefilter("always")
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                if case.check == DIFFERENTIABLE:
                    found = gradients_of(exercise.call, answer, inputs, keywords, argument_names(exercise))
                else:
                    found = exercise.call(answer, inputs, keywords)
                value = to_plain(found)
            except (Exception, SystemExit, GeneratorExit, KeyboardInterrupt) as exception:
                error = caught_error(exception)
    named = dict(zip(argument_names(exercise), zip(case.inputs, inputs, strict=True), strict=False))
    named |= {name: (case.keywords[name], keywords[name]) for name in keywords}
    return Outcome(
        value=value,
        error=error,
        mutated=tuple(name for name, (before, after) in named.items() if not _unchanged(before, after)),
        printed=printed.getvalue()[:MAX_TEXT],
        warnings=tuple(dict.fromkeys(f"{w.category.__name__}: {w.message}"[:200] for w in caught)),
    )


def _threads(exercise: Exercise) -> contextlib.AbstractContextManager[None]:
    """One thread for torch: cases are small, and where cores are shared a second one makes them many times slower."""
    if exercise.library != "torch":
        return contextlib.nullcontext()
    from autograder.material.threads import one_thread

    return one_thread()


def realise(item: Any, exercise: Exercise, build: Callable[[Built], Any] | None = None) -> Any:
    """Turn a plain input into what the learner's function receives: a fresh copy, generator, tensor or callable."""
    if isinstance(item, Seed):
        return np.random.default_rng(item.value)
    if isinstance(item, Built):
        if build is not None:
            return build(item)
        builder: Callable[..., Any] = exercise.builders[item.name]
        return builder(**{name: realise(value, exercise) for name, value in item.params.items()})
    if isinstance(item, np.ndarray):
        array = item.copy()
        if exercise.library == "torch":
            import torch

            return torch.from_numpy(array)
        return array
    if isinstance(item, (tuple, list)):
        return type(item)(realise(part, exercise, build) for part in item)
    if isinstance(item, dict):
        return {key: realise(part, exercise, build) for key, part in item.items()}
    return copy.deepcopy(item)


def _unchanged(before: Any, after: Any) -> bool:
    if isinstance(before, (Seed, Built)):
        return True  # a generator is meant to advance
    return same(before, to_plain(after))


def same(a: Any, b: Any) -> bool:
    """Whether two plain values are the same to the last bit, NaN equal to NaN."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return (
            isinstance(a, np.ndarray)
            and isinstance(b, np.ndarray)
            and (a.dtype, a.shape) == (b.dtype, b.shape)
            and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        )
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (Seed, Built)):
        return True
    return type(a) is type(b) and (a == b or a != a)


def caught_error(exception: BaseException) -> CaughtError:
    """Write an exception down, with the frames that are the learner's own."""
    frames = []
    for frame in traceback.extract_tb(exception.__traceback__):
        if not _is_theirs(frame.filename):
            continue
        where = Path(frame.filename).name
        where = "" if "ipykernel" in frame.filename or where.startswith("<") else f"{where}, "
        source = frame.line or linecache.getline(frame.filename, frame.lineno or 0).strip()
        frames.append(f"{where}line {frame.lineno} in {frame.name}: {source}"[:300])
    try:
        message = str(exception)[:MAX_TEXT]
    except Exception:
        message = "(its message cannot be read)"
    bases = tuple(cls.__name__ for cls in type(exception).__mro__ if cls not in (object, BaseException, Exception))
    return CaughtError(type(exception).__name__, bases, message, tuple(frames[-6:]))


def _is_theirs(filename: str) -> bool:
    if filename.startswith(PACKAGE):
        # Learners' kernels and answer files live elsewhere; the references and the build's checks live here.
        return False
    return "site-packages" not in filename and "/lib/python3" not in filename and not filename.startswith("<frozen")
