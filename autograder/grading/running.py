"""Running a rebuilt submission in the sandbox, and collecting what came of each answer. Nothing is judged here.

A cell that hangs or ends its kernel costs only itself: the rest goes on in a fresh kernel, in which the cells before it
are run again, without it.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_output

from autograder import plain
from autograder.attempt import case_to_plain
from autograder.calling import CaughtError, Outcome
from autograder.exercise import Built, Case, Exercise
from autograder.grading import sandbox
from autograder.grading.assignment import Assignment, exercise_of, is_answer, is_check
from autograder.grading.bank import Bank
from autograder.grading.experiments import is_experiment, missed
from autograder.grading.half import font_list, stage
from autograder.grading.kernel import Kernel, Ran
from autograder.grading.limits import Limits
from autograder.grading.meter import Meter
from autograder.grading.rebuild import EXTRA
from autograder.probe import INPUTS
from autograder.verdict import cases_of

MATPLOTLIB = re.compile(r"^([ \t]*)%matplotlib\b.*$", re.MULTILINE)


@dataclass
class Answered:
    """What came of one answer.

    status:   "called", "undefined" (there is no such name), "timeout", "crashed" or "not_run".
    outcomes: one per case, if it was called; of one that hung or crashed those before.
    note:     why, where it did not end well.
    error:    what ended the cell that was to define it.
    """

    status: str = "not_run"
    outcomes: list[Outcome] = field(default_factory=list)
    note: str = ""
    error: tuple[str, str] | None = None


@dataclass
class Executed:
    """A submission after its run: its notebook with outputs, what came of each answer, and what was noticed."""

    notebook: NotebookNode
    answers: dict[str, Answered]
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def execute(
    assignment: Assignment,
    notebook: NotebookNode,
    seed: int,
    limits: Limits | None = None,
    *,
    sandboxed: bool = True,
) -> Executed:
    """Run a rebuilt notebook and return what came of every answer in it.

    Raises sandbox.NoSandbox if there can be none; nothing that a submission does raises.
    """
    limits = limits or Limits()
    started = time.monotonic()
    done = Executed(notebook, {name: Answered() for name in assignment.judged})
    with tempfile.TemporaryDirectory(prefix="attention-inputs-") as folder:
        inputs = Path(folder, "inputs")
        inputs.mkdir()
        posed = {name: _pose(exercise, seed) for name, exercise in assignment.judged.items()}
        state = _Run(assignment, done, posed, inputs, limits, started, sandboxed)
        state.go_on()
        names = missed(notebook, state.all_errors())
        if names:
            done = Executed(notebook, {name: Answered() for name in assignment.judged})
            done.notes.append(f"run with the experiments, since an answer uses {', '.join(names)} from one")
            _Run(assignment, done, posed, inputs, limits, started, sandboxed, skip=False).go_on()
    done.seconds = time.monotonic() - started
    return done


@dataclass(frozen=True)
class Posed:
    """The cases of an exercise as they were put.

    order:    the number of the case that was put first, second, …
    bank:     the implementations behind the handles.
    measured: the numbers of the cases whose memory is graded.
    data:     the file of inputs.
    """

    order: tuple[int, ...]
    bank: tuple[Built, ...]
    measured: frozenset[int]
    data: bytes


def _pose(exercise: Exercise, seed: int) -> Posed:
    """Draw an exercise's inputs for the sandbox. A test that a learner wrote gets its bank shuffled and nameless."""
    cases = cases_of(exercise.id, seed)
    order = list(range(len(cases)))
    bank: list[Built] = []
    if exercise.kind == "T":
        np.random.default_rng([seed, 1]).shuffle(order)
    sent = [_nameless(cases[index], bank) if exercise.kind == "T" else cases[index] for index in order]
    # The check that a case belongs to is nobody's business inside, but that gradients are asked for is needed there.
    data = plain.dumps([case_to_plain(case) for case in sent])
    measured = frozenset(index for index in order if cases[index].check in exercise.measures)
    return Posed(tuple(order), tuple(bank), measured, data)


def _nameless(case: Case, bank: list[Built]) -> Case:
    def hidden(item: Any) -> Any:
        if isinstance(item, Built):
            bank.append(item)
            return Built("bank", {"handle": len(bank) - 1})
        if isinstance(item, (tuple, list)):
            return type(item)(map(hidden, item))
        return item

    keywords = {name: hidden(item) for name, item in case.keywords.items()}
    return replace(case, check="", inputs=hidden(case.inputs), keywords=keywords)


@dataclass
class _Run:
    """A run with its restarts: which cells are through, which must not be run again."""

    assignment: Assignment
    done: Executed
    posed: dict[str, Posed]
    inputs: Path
    limits: Limits
    started: float
    sandboxed: bool
    skip: bool = True  # whether experiments are left out
    fatal: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)  # checks
    shown: set[str] = field(default_factory=set)  # cells whose outputs are kept
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)  # by exercise: what ended its answer cell

    def go_on(self) -> None:
        """Run every cell, in as many kernels as it takes and the limits allow."""
        for _ in range(self.limits.restarts + 1):
            if self.go():
                return
        self.done.notes.append(f"the kernel ended {self.limits.restarts + 1} times; what came after was not run")

    def all_errors(self) -> list[tuple[str, str]]:
        """What ended answers, where they were defined and where they were called."""
        called = [one.error for answered in self.done.answers.values() for one in answered.outcomes if one.error]
        return [*self.errors.values(), *((error.type, error.message) for error in called)]

    def go(self) -> bool:
        """Run every cell in one kernel; False if that kernel ended before the last."""
        course, fonts = _staged(self.assignment.slug), font_list()
        shown = {course: sandbox.COURSE, self.inputs: sandbox.INPUTS}
        if fonts is not None:
            shown[fonts] = f"{sandbox.SCRATCH}/matplotlib/{fonts.name}"
        environment = _environment(sandbox.COURSE, sandbox.INPUTS, sandbox.HOME, sandbox.SCRATCH)
        if not self.sandboxed:
            home = tempfile.mkdtemp(dir=self.inputs.parent)
            environment = _environment(str(course), str(self.inputs), home, home)
        try:
            with Kernel(self.limits, environment, shown, self.sandboxed) as kernel:
                return all(self._cell(kernel, cell) for cell in self.done.notebook.cells)
        except (TimeoutError, RuntimeError) as error:
            if isinstance(error, sandbox.NoSandbox):
                raise
            self.done.notes.append(f"a kernel did not start: {error}")
            return False

    def _cell(self, kernel: Kernel, cell: NotebookNode) -> bool:
        """Run one cell; False if the kernel is of no more use."""
        skipped = self.skip and is_experiment(cell)
        if cell.cell_type != "code" or skipped or cell.id in self.fatal or not cell.source.strip():
            return True
        left = self.limits.total - (time.monotonic() - self.started)
        if left <= 0:
            self._note_once(f"it ran for {self.limits.total:g} s in all; what came after was not run")
            return True
        if is_check(cell):
            return exercise_of(cell) in self.finished or self._check(kernel, exercise_of(cell), left)
        own = is_answer(cell) or EXTRA in cell.metadata.get("tags", [])
        seconds = min(self.limits.cell if own else self.limits.given, left)
        # A window or a widget has no screen here, and asking for one would end the cell that defines the answer.
        ran = kernel.run(MATPLOTLIB.sub(r"\1%matplotlib inline", cell.source), seconds)
        if cell.id not in self.shown:
            self.shown.add(cell.id)
            cell.outputs = [*ran.outputs, *([_ending(ran)] if ran.ended else [])]
        if is_answer(cell) and ran.error is not None:
            self.errors[exercise_of(cell)] = ran.error
        if not ran.ended:
            return True
        self.fatal.add(cell.id)
        if is_answer(cell):
            name = exercise_of(cell)
            if name in self.done.answers:
                self.done.answers[name] = Answered(ran.ended, note=_why(ran, seconds))
                self.finished.add(name)
        else:
            which = "a cell of the student's own" if own else "a given cell, which calls the answers,"
            self._note_once(f"{which} was stopped ({_why(ran, seconds)}); the rest was run without it")
        return False

    def _check(self, kernel: Kernel, name: str, left: float) -> bool:
        exercise, posed = self.assignment.judged[name], self.posed[name]
        code = f'__import__("autograder.probe", fromlist=["probe"]).probe("{name}", globals())'
        # There for this call alone: no other cell, also of a later kernel, knows on what the answer is called.
        inputs = self.inputs / f"{name}.json"
        inputs.write_bytes(posed.data)
        with ExitStack() as stack:
            if posed.bank:
                stack.enter_context(Bank(kernel.bank, exercise, list(posed.bank)))
            meter = stack.enter_context(Meter(kernel.pid)) if posed.measured else None
            ran = kernel.run(code, min(self.limits.exercise, left))
        inputs.unlink()
        self.finished.add(name)
        answered = self._answered(exercise, posed, ran)
        if meter is not None:
            _measure(answered.outcomes, posed, meter.peak)
        self.done.answers[name] = answered
        return not ran.ended

    def _answered(self, exercise: Exercise, posed: Posed, ran: Ran) -> Answered:
        count = len(posed.order)
        try:
            frames = [plain.loads(text.encode("utf-8", "surrogatepass")) for text in ran.outcomes]
            defined = not frames or bool(frames[0]["defined"])
            outcomes = [_outcome(frame) for frame in frames[1:]]
        except (plain.NotPlain, TypeError, KeyError, AttributeError, ValueError):
            return Answered("crashed", note="what it sent back cannot be read")
        if frames and not defined:
            return Answered("undefined", error=self.errors.get(exercise.id))
        if len(outcomes) > count:
            return Answered("crashed", note="it sent back more than what was asked; none of it is used")
        if ran.ended or len(outcomes) < count:
            status = ran.ended or "crashed"
            why = _why(ran, self.limits.exercise)
            if not ran.ended:
                # Without a crash it is the probe itself that was kept from its work, or results too large to send.
                why = f"{ran.error[0]}: {ran.error[1]}" if ran.error else "it did not send back every result"
            return Answered(status, _in_order(posed, outcomes) if exercise.kind != "T" else [], why)
        return Answered("called", _in_order(posed, outcomes))

    def _note_once(self, note: str) -> None:
        if note not in self.done.notes:
            self.done.notes.append(note)


def _outcome(frame: Any) -> Outcome:
    """Read what the inside says of one call, field by field: anything may be there."""
    error = frame["error"]
    if error is not None:
        kind, bases, message, frames = error
        lines = tuple(str(line)[:300] for line in tuple(frames)[:6])
        error = CaughtError(str(kind)[:100], tuple(map(str, tuple(bases)[:30])), str(message)[:2000], lines)
    strings = [tuple(str(item)[:200] for item in tuple(frame[name])[:20]) for name in ("mutated", "warnings")]
    return Outcome(frame["value"], error, strings[0], str(frame["printed"])[:2000], strings[1])


def _in_order(posed: Posed, outcomes: list[Outcome]) -> list[Outcome]:
    """Outcomes in the order of the cases, as far as there are any."""
    placed: dict[int, Outcome] = dict(zip(posed.order, outcomes, strict=False))
    return [placed[index] for index in range(len(posed.order)) if index in placed]


def _measure(outcomes: list[Outcome], posed: Posed, peak: int) -> None:
    """Let no outcome claim less memory than was seen from outside."""
    for index in posed.measured:
        value = outcomes[index].value if index < len(outcomes) else None
        if isinstance(value, dict) and not (isinstance(value.get("peak"), int) and value["peak"] >= peak):
            value["peak"] = peak


def _why(ran: Ran, seconds: float) -> str:
    return f"still ran after {seconds:g} s" if ran.ended == "timeout" else ran.reason


def _ending(ran: Ran) -> NotebookNode:
    text = "stopped: it ran too long" if ran.ended == "timeout" else ran.reason
    return new_output("error", ename="Stopped", evalue=text, traceback=[text])


def _environment(course: str, inputs: str, home: str, scratch: str) -> dict[str, str]:
    scripts = str(Path(sys.executable).parent)
    return {
        INPUTS: inputs,
        "ATTENTION_STANDINS": "1",
        "HOME": home,
        "IPYTHONDIR": f"{scratch}/ipython",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": f"{scratch}/matplotlib",
        "NBGRADER_EXECUTION": "autograde",
        "OMP_NUM_THREADS": "1",
        "PATH": os.pathsep.join([scripts, "/usr/bin", "/bin"]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": course,
        "TERM": "dumb",
    }


@functools.cache
def _staged(slug: str) -> Path:
    """The learner's half for a notebook, made once for the life of this process."""
    folder = Path(tempfile.mkdtemp(prefix="attention-half-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    stage(slug, folder)
    return folder


def answers_of(notebook: NotebookNode) -> bytes:
    """What of a rebuilt notebook can change a verdict, as bytes: every code cell that is not as it was released."""
    sources: Sequence[str] = [cell.source for cell in notebook.cells if cell.cell_type == "code" and not is_check(cell)]
    return "\0".join(sources).encode("utf-8", "surrogatepass")
