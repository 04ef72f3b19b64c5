"""A release: what nbgrader makes of a source notebook, read back for anything that would give an answer away."""

from __future__ import annotations

import ast
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder.regions import regions

CONFIG = "nbgrader_config.py"
TELLING = 20  # characters; a shorter line of an answer may stand in a given cell by chance

# What a learner's notebook has no business to name.
HIDDEN = ("autograder.references", "autograder.standins", "autograder.verdict", "reference_of", "gradebook.db")


class ReleaseError(Exception):
    """nbgrader refused to make a release; the message is its own."""


def make_releases(sources: Mapping[str, bytes], root: Path) -> dict[str, bytes]:
    """Run nbgrader's own generate_assignment on source notebooks, by slug, in a folder that is thrown away.

    root: the course, whose `nbgrader_config.py` says how.
    Returns the released notebooks, by slug.
    Raises ReleaseError if nbgrader fails on one.
    """
    from nbgrader.converters import GenerateAssignment, NbGraderException
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader(CONFIG, path=str(root)).load_config()
    released = {}
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        config.CourseDirectory.root = folder
        # As `--no-db` does: the notebook is the same, and making a database takes seconds.
        config.GenerateAssignment.no_database, config.SaveCells.enabled = True, False
        for slug, source in sources.items():
            notebook = Path(folder, config.CourseDirectory.source_directory, slug, f"{slug}.ipynb")
            notebook.parent.mkdir(parents=True)
            notebook.write_bytes(source)
            log, kept = logging.Logger("release"), _Kept()
            log.addHandler(kept)
            course = CourseDirectory(config=config, log=log, assignment_id=slug)
            try:
                GenerateAssignment(coursedir=course, config=config, log=log).start()
            except NbGraderException:
                raise ReleaseError(f"nbgrader cannot release {slug}: {'; '.join(kept.lines)}") from None
            released[slug] = Path(folder, config.CourseDirectory.release_directory, slug, f"{slug}.ipynb").read_bytes()
            shutil.rmtree(notebook.parent)
    return released


class _Kept(logging.Handler):
    """Keeps the last line of every error, which of a traceback is the error itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage().strip().splitlines()[-1])


def leaks(source: NotebookNode, release: bytes) -> Iterator[tuple[str, str]]:
    """Read a release back; yield the id of each cell that gives something away, and what it is.

    source:  the notebook that it was made from.
    release: the bytes of its file.
    """
    notebook = nbformat.reads(release.decode(), as_version=4)
    if "jupytext" in notebook.metadata:
        yield "", "it is paired by jupytext, which would put the answers back"
    if [cell.id for cell in notebook.cells] != [cell.id for cell in source.cells]:
        yield "", "its cells are not those of the source"
    answers = {cell.id: _answer_lines(cell) for cell in source.cells if cell.cell_type == "code"}
    code = [cell.source for cell in source.cells if cell.cell_type == "code"]
    # Code to complete or to repair is shown on purpose, even where it has a line of another answer.
    given = {_squeezed(line) for text in code for region in regions(text) for line in region.stub}
    telling = {line for lines in answers.values() for line in lines - given if len(line) >= TELLING}
    names = _hidden_names() - _defined(notebook)
    for cell in notebook.cells:
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield cell.id, "an output is left in it"
        text = cell.source + json.dumps([cell.metadata, cell.get("attachments", {})], ensure_ascii=False)
        for marker in re.findall(r"(?:BEGIN|END)\s+(?:SOLUTION|HIDDEN TESTS|MARK SCHEME)", text):
            yield cell.id, f"the marker {marker!r} is left in it"
        lines = {_squeezed(line) for line in cell.source.split("\n")}
        shown = lines & answers.get(cell.id, set()) | {line for line in telling if line in _squeezed(cell.source)}
        for line in sorted(shown):
            yield cell.id, f"it shows a line of an answer, `{line}`"
        for name in sorted(name for name in HIDDEN if name in text) + sorted(names & set(re.findall(r"\w+", text))):
            yield cell.id, f"it names {name}, from the hidden half of the exercises"


def _answer_lines(cell: NotebookNode) -> set[str]:
    """The lines of a cell's answers that say something and are not shown on purpose."""
    found = {line for region in regions(cell.source) for line in region.solution}
    lines = cell.source.split("\n")
    for region in reversed(regions(cell.source)):
        lines[region.begin : region.end + 1] = region.stub
    shown = {_squeezed(line) for line in lines}
    return {line for line in map(_squeezed, found) if re.search(r"\w\W*\w", line)} - shown


def _squeezed(line: str) -> str:
    return " ".join(line.split())


@cache
def _hidden_names() -> frozenset[str]:
    """Names of the functions that only the hidden modules define: accepted and wrong answers, cases."""
    import autograder.references
    from autograder.exercise import exercises

    names: set[str] = set()
    for module in Path(autograder.references.__file__).parent.glob("nb*.py"):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        names |= {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return frozenset(name for name in names - set(exercises()) if "_" in name.strip("_"))


def _defined(notebook: NotebookNode) -> set[str]:
    """Names that the released code binds itself, as a variable, a function or an argument: those are its own."""
    names: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    names.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names.add(node.id)
                elif isinstance(node, ast.arg):
                    names.add(node.arg)
                elif isinstance(node, ast.alias):
                    names.add((node.asname or node.name).split(".")[0])
    return names
