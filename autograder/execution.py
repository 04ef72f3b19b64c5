"""Running a notebook in a kernel of this very interpreter, and refusing outputs that another machine would not give."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.notebooknode import NotebookNode

import autograder
from autograder.exercise import Exercise
from autograder.report import status_words
from autograder.verdict import Verdict

TIMEOUT = 300  # seconds a cell may take; a training notebook is to take 120 in all


class ExecutionError(Exception):
    """A cell failed; `cell` is its place in the notebook."""

    def __init__(self, cell: int, message: str):
        super().__init__(message)
        self.cell = cell


class ThisInterpreter(AsyncKernelManager):
    """Starts the interpreter that runs the build, whichever kernels the user has installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def execute(notebook: NotebookNode, folder: Path, timeout: int | None = None) -> None:
    """Run a notebook top to bottom in `folder` and leave its outputs in it.

    timeout: seconds a cell may take; TIMEOUT if None.
    Raises ExecutionError for the first cell that fails, hangs or ends the kernel.
    """
    timeout = timeout or TIMEOUT
    client = NotebookClient(
        notebook,
        kernel_manager_class=ThisInterpreter,
        timeout=timeout,
        startup_timeout=120,
        iopub_timeout=60,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,  # else a busy machine cuts one cell's lines into several outputs
    )
    started = [-1]
    client.on_cell_start = lambda cell, cell_index: started.append(cell_index)
    try:
        client.execute(env=_environment())
    except CellExecutionError as error:
        raise ExecutionError(started[-1], f"{error.ename}: {error.evalue}") from None
    except CellTimeoutError:
        raise ExecutionError(started[-1], f"still running after {timeout} s") from None
    except DeadKernelError:
        raise ExecutionError(started[-1], "the kernel died") from None


def _environment() -> dict[str, str]:
    """The environment of the kernel: nothing of the learner's, sets in one order, no terminal to draw progress on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATTENTION_", "NBGRADER_"))}
    packages = [str(Path(autograder.__file__).resolve().parent.parent), kept.get("PYTHONPATH", "")]
    kept.update(
        PYTHONPATH=os.pathsep.join(filter(None, packages)), PYTHONHASHSEED="0", TERM="dumb", ATTENTION_STANDINS="1"
    )
    return kept


def faults(notebook: NotebookNode, exercises: dict[str, Exercise], root: Path) -> Iterator[tuple[int, str]]:
    """Yield the place of each cell whose outputs cannot be kept, and why.

    exercises: the exercise that each check cell judges, by the cell's id.
    """
    places = (str(root), str(Path.home()), tempfile.gettempdir() + os.sep)
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            text = _text(output)
            if output.output_type == "error":
                yield index, f"it ends in {output.ename}: {output.evalue}"
            if output.get("name") == "stderr":
                yield index, f"it writes to stderr, for which nbgrader gives 0: {text.strip().splitlines()[-1][:120]}"
            if any("widget" in kind for kind in output.get("data", {})):
                yield index, "it stores a widget, empty without its kernel; draw progress only in a terminal"
            if "image/png" in output.get("data", {}) and not output.metadata.get("image/png", {}).get("alt"):
                yield index, "it shows a figure without alt text; make it and plots.show(fig, alt=…) it in one cell"
            if re.search(r"\bat 0x[0-9a-f]{6,}", text):
                yield index, "it shows a memory address, another in every run; end the cell with something readable"
            if any(len(place) > 2 and place in text for place in places):
                yield index, "it shows a path of this machine"
        if cell.id in exercises:
            yield from ((index, text) for text in _not_passed(cell, exercises[cell.id]))


def _not_passed(cell: NotebookNode, exercise: Exercise) -> Iterator[str]:
    """Say so if a check cell does not show a pass with all the points, which is what nbgrader would read."""
    results = [output.data for output in cell.outputs if output.output_type == "execute_result"]
    got = results[0].get("text/plain", "").strip() if len(results) == 1 else "nothing"
    passed = escape(status_words(Verdict(exercise, "passed", ())))
    if _number(got) != exercise.points:
        yield f"the model answer of {exercise.id} earns {got} of {exercise.points} points; mend it or the record"
    elif passed not in results[0].get("text/html", ""):  # a prediction has its points also when it is wrong
        yield f"the model answer of {exercise.id} is not right, no report of {passed!r}; mend it or the record"


def _text(output: NotebookNode) -> str:
    """What a reader or nbval sees of an output as text: the stream, or the text forms of a result."""
    if output.output_type == "stream":
        return output.text
    return "\n".join(str(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
