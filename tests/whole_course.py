"""Solve the whole course in one workspace, as a learner does who errs nowhere, and let what was written translate.

    python tests/whole_course.py FOLDER [--experiments]

FOLDER becomes a workspace; it must not exist yet or be empty. Each released notebook gets the model answers in its
solution cells and runs in a kernel of its own, so every later one uses the earlier answers through `mine`. Last,
`translate.py` trains and runs a transformer made of the learner's library `my_attention` alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.notebooknode import NotebookNode

from autograder.execution import ThisInterpreter
from autograder.exercise import Exercise, exercises
from autograder.grading.assignment import exercise_of, is_answer
from autograder.grading.experiments import is_experiment
from autograder.material.corpus import corpus
from autograder.record import Record, write_whole
from autograder.solutions import model_answer
from autograder.workspace import open_workspace, released_notebooks

TRANSLATE = Path(__file__).with_name("translate.py")
OWN = ("ATTENTION_WORKSPACE", "ATTENTION_STANDINS", "NBGRADER_EXECUTION")  # would make it somebody else's run


class Unsolved(Exception):
    """The course cannot be gone through with its own answers; the message says where it stopped."""


def solve(folder: Path, *, experiments: bool = False) -> Iterator[tuple[str, float]]:
    """Answer every notebook in order; yields each slug with the seconds it took.

    experiments: whether the cells that train or measure run as well; no answer needs one.
    Raises Unsolved for a cell that fails, an exercise that does not pass or is not kept, and a stand-in that was used.
    """
    workspace = open_workspace(folder).path
    for slug in released_notebooks():
        start = time.monotonic()
        shown = _play(workspace / f"{slug}.ipynb", experiments)
        if "stand-in from the course" in shown:
            raise Unsolved(f"{slug} used a stand-in although all before it is solved:\n{shown}")
        _all_passed(workspace, [each for each in exercises().values() if each.notebook == slug])
        yield slug, time.monotonic() - start


def translate(folder: Path, updates: int) -> subprocess.CompletedProcess[str]:
    """Run translate.py where only the learner's library can be imported, not the course, on the course's corpus."""
    data = corpus(train=12000)
    pairs = {"train": data.train, "test": data.test[:200]}
    corpus_file = folder / "corpus.json"
    write_whole(corpus_file, json.dumps({name: [(p.source, p.target) for p in some] for name, some in pairs.items()}))
    env = {name: value for name, value in os.environ.items() if name not in OWN} | {"PYTHONPATH": str(folder)}
    command = [sys.executable, str(TRANSLATE), str(corpus_file), str(updates)]
    return subprocess.run(command, cwd=folder.parent, env=env, capture_output=True, text=True, check=False)


def solved(path: Path) -> NotebookNode:
    """A released notebook, or a learner's copy, with the model answers in its solution cells."""
    book = nbformat.read(path, as_version=4)
    for cell in filter(is_answer, book.cells):
        cell.source = model_answer(exercises()[exercise_of(cell)])
    return book


def _play(path: Path, experiments: bool) -> str:
    """Answer the learner's copy of a notebook and run it; returns all text that its cells showed."""
    book = solved(path)
    if not experiments:
        book.cells = [cell for cell in book.cells if not is_experiment(cell)]
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(book, kernel_manager_class=ThisInterpreter, timeout=300, resources=resources)
    try:
        client.execute(env={name: value for name, value in os.environ.items() if name not in OWN})
    except CellExecutionError as error:
        raise Unsolved(f"{path.name}: {error}") from None
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or str(output.get("data", {}).get("text/html", "")) for output in outputs)


def _all_passed(workspace: Path, expected: list[Exercise]) -> None:
    record = Record(workspace)
    for exercise in expected:
        if not record.entry(exercise.id).passed:
            raise Unsolved(f"{exercise.id} of {exercise.notebook} has not passed: {record.entry(exercise.id)}")
        if not exercise.takes_value and not (workspace / "my_attention" / f"{exercise.id}.py").is_file():
            raise Unsolved(f"{exercise.id} of {exercise.notebook} passed and is not in my_attention")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experiments", action="store_true", help="also run the cells that train or measure")
    parser.add_argument("--updates", type=int, default=2000, help="how long the last transformer is trained")
    asked = parser.parse_args()
    if asked.folder.exists() and any(asked.folder.iterdir()):
        parser.error(f"{asked.folder} is not empty; name a new folder, nothing was changed")
    try:
        for slug, seconds in solve(asked.folder, experiments=asked.experiments):
            print(f"{slug}: solved in {seconds:.0f} s", flush=True)
    except Unsolved as error:
        print(error, file=sys.stderr)
        return 1
    done = translate(asked.folder, asked.updates)
    print(done.stdout + done.stderr, end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
