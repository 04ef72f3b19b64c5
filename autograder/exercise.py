"""What an exercise is: two frozen records under one id, and the registry that finds them.

The visible half (`Exercise`, in `autograder/exercises/`) may be read by a learner and runs beside their code.
The hidden half (`Reference`, in `autograder/references/`) never enters a notebook, the student bundle or the sandbox.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

Kind = Literal["I", "P", "B", "T", "V", "R"]

KINDS: dict[str, str] = {
    "I": "implement",
    "P": "predict",
    "B": "repair",
    "T": "write the test",
    "V": "draw",
    "R": "reflect",
}

# Three checks earn points only once the exercise's first check holds: a function that returns nonsense has not "kept"
# anything. Only the cases of the first judge precision; the second is judged from every case and has none of its own.
KEEPS_DTYPE = "keeps_dtype"
INPUTS_UNCHANGED = "inputs_unchanged"
# Its cases judge, instead of the results, the gradients that flow from them to the float tensors given.
DIFFERENTIABLE = "differentiable"


class UnknownExercise(LookupError):
    """No exercise has this id; the message names the nearest ones."""


@dataclass(frozen=True)
class Seed:
    """An input that becomes `numpy.random.default_rng(value)` beside the learner's code."""

    value: int


@dataclass(frozen=True)
class Built:
    """An input that is code: `Exercise.builders[name](**params)`, built beside the learner's code."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One thing that must hold, with its own share of the points.

    name:   what must hold, as an identifier: `rows_sum_to_one`.
    points: whole points.
    wanted: the same as a sentence a learner reads after "wanted".
    """

    name: str
    points: int
    wanted: str


def call_answer(answer: Any, inputs: tuple, keywords: Mapping[str, Any]) -> Any:
    """Drive an answer the usual way: call it. A record may name another function instead."""
    if not callable(answer):
        raise TypeError(f"a function is wanted, this is {type(answer).__name__}")
    return answer(*inputs, **keywords)


def take_answer(answer: Any, inputs: tuple, keywords: Mapping[str, Any]) -> Any:
    """Drive a prediction: the answer itself is the result."""
    return answer


@dataclass(frozen=True)
class Exercise:
    """The visible half of an exercise.

    id:         the Python name the learner defines, unique in the course.
    kind:       one letter of `KINDS`.
    notebook:   the notebook's slug, `01_what_is_attention`.
    minutes:    a fair guess for someone meeting the idea.
    difficulty: 1 to 3.
    contract:   one line per argument and result, with shapes; the first line is the signature.
    section:    the heading of the notebook that explains what the exercise needs.
    hints:      three: a question that points at the right quantity; the plan with shapes; the line with one hole.
    checks:     what is judged, in order, with the points of each.
    axes:       names of the axes of each argument and result, as in `{"q": "... Tq D", "weights": "... Tq Tk"}`.
    returns:    names of the results when there are several.
    library:    `"torch"` turns array inputs into tensors.
    builders:   what `Built` inputs may name.
    call:       `(answer, inputs, keywords) -> outputs`; outputs must be plain data.
    measures:   checks that grade memory: there, outputs are a dict whose `"peak"` is a number of bytes. A graded run
                calls them in a process of their own, and takes what was seen from outside if that is more.
    """

    id: str
    kind: Kind
    notebook: str
    minutes: int
    difficulty: int
    contract: str
    section: str
    hints: tuple[str, str, str]
    checks: tuple[Check, ...]
    axes: Mapping[str, str] = field(default_factory=dict)
    returns: tuple[str, ...] = ()
    library: Literal["numpy", "torch"] = "numpy"
    builders: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    call: Callable[[Any, tuple, Mapping[str, Any]], Any] = call_answer
    measures: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """The most an answer can earn."""
        return sum(check.points for check in self.checks)

    @property
    def takes_value(self) -> bool:
        """Whether the answer is a value (a prediction, a text) rather than something to call."""
        return self.kind in ("P", "R")


@dataclass(frozen=True)
class Case:
    """One call of an answer: the named check it belongs to, and plain inputs.

    relative: compare by relative error alone, for results whose values are tiny.
    mentions: strings that the message of a wanted error must contain.
    """

    check: str
    inputs: tuple = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    relative: bool = False
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Misconception:
    """A wrong answer worth naming.

    name:     an identifier, unique in its exercise; `a+b` for two mistakes made together.
    sentence: what the numbers show, in words that are true of any answer giving these numbers.
    wrong:    the wrong implementation (or value), or several that show the same mistake.
    look_at:  the heading to go back to; empty means the exercise's own section.
    """

    name: str
    sentence: str
    wrong: Any
    look_at: str = ""

    @property
    def parts(self) -> frozenset[str]:
        """The names of the mistakes that are made together here; empty for a single one."""
        return frozenset(self.name.split("+")) if "+" in self.name else frozenset()

    @property
    def variants(self) -> tuple:
        """Every wrong answer that shows this mistake; a list holds several, anything else is one."""
        return tuple(self.wrong) if isinstance(self.wrong, list) else (self.wrong,)


@dataclass(frozen=True)
class Reference:
    """The hidden half of an exercise.

    reference:      a right answer (for predictions the value itself).
    accepted:       other right answers, written differently; at least two.
    misconceptions: wrong answers with their sentences.
    cases:          `(numpy Generator) -> iterable of Case`; small and seeded.
    view:           `(case, plain result) -> plain`: what is compared, when that is not the result itself.
    agree:          `(case, wanted, got) -> str | None`: None, or what is wrong; replaces comparing values,
                    for answers judged by a property or by their distribution.
    """

    id: str
    reference: Any
    accepted: tuple
    misconceptions: tuple[Misconception, ...]
    cases: Callable[[Any], Iterable[Case]]
    view: Callable[[Case, Any], Any] | None = None
    agree: Callable[[Case, Any, Any], str | None] | None = None


def _records(package: str, kind: type) -> dict[str, Any]:
    """Collect the module-level tuples `EXERCISES` / `REFERENCES` of every module in a package, by id."""
    found: dict[str, Any] = {}
    parent = importlib.import_module(package)
    for module in sorted(m.name for m in pkgutil.iter_modules(parent.__path__)):
        loaded = importlib.import_module(f"{package}.{module}")
        for record in getattr(loaded, kind.__name__.upper() + "S", ()):
            if record.id in found:
                raise ValueError(f"{package}.{module} defines {record.id!r}, which another module defines too")
            found[record.id] = record
    return found


@cache
def exercises() -> dict[str, Exercise]:
    """Every exercise's visible half, by id, in the order of the notebooks."""
    return _records("autograder.exercises", Exercise)


def find(exercise_id: str) -> Exercise:
    """The exercise with this id.

    Raises UnknownExercise, naming the nearest ids, if there is none.
    """
    table = exercises()
    if isinstance(exercise_id, str) and exercise_id in table:
        return table[exercise_id]
    raise UnknownExercise(f"no exercise is called {exercise_id!r}; {nearest(exercise_id, table)}")


def nearest(name: Any, known: Iterable[str]) -> str:
    """A clause that names what was probably meant."""
    close = difflib.get_close_matches(str(name).lower(), list(known), n=3, cutoff=0.5)
    return "did you mean " + " or ".join(close) + "?" if close else "`attention status` lists them all"


@cache
def _references(module: str) -> dict[str, Reference]:
    loaded = importlib.import_module(f"autograder.references.{module}")
    return {record.id: record for record in loaded.REFERENCES}


def reference_of(exercise: Exercise) -> Reference:
    """The hidden half, imported on first use.

    Raises UnknownExercise for a reflection: a written answer has none, it is read by people.
    """
    if exercise.kind == "R":
        raise UnknownExercise(
            f"{exercise.id} is a written answer, which no program judges; "
            f'reflect("{exercise.id}", {exercise.id}) shows it beside a model answer'
        )
    return _references(f"nb{exercise.notebook}")[exercise.id]
