"""Rebuilding a submission: the released notebook with the student's answers in it, and their own cells between.

The assignment is the truth, the submission only supplies answers. So nothing that was deleted, copied, moved, tagged or
rewritten in the notebook changes what is judged or for how many points; what was noticed is said.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder.grading.assignment import Assignment, exercise_of, grade_id, is_answer, is_check

EXTRA = "student"  # the tag of a cell that the release does not have
MAX_CELL = 200_000  # characters; a longer cell is no answer
MAX_EXTRA = 300  # cells


@dataclass
class Rebuilt:
    """A notebook that is as it was released but for the student's answers and additions, and what was noticed."""

    notebook: NotebookNode
    notes: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)  # exercises without an answer cell


def rebuild(assignment: Assignment, cells: Sequence[Any]) -> Rebuilt:
    """Put the answers among a submission's cells, which may be anything, into the assignment's notebook."""
    theirs = readable(cells)
    made = Rebuilt(copy.deepcopy(assignment.notebook))
    released = {cell.id: cell for cell in made.notebook.cells}
    by_name = {grade_id(cell): cell for cell in released.values() if grade_id(cell)}
    answers: dict[str, str] = {}
    extras: dict[str, list[NotebookNode]] = {}
    after = ""  # the cell of the release that a cell of theirs follows
    checks = set()
    for cell in theirs:
        own = by_name.get(grade_id(cell)) or by_name.get(str(cell.get("id"))) or released.get(str(cell.get("id")))
        if own is not None and is_answer(own) and _untouched(answers.get(own.id), own):
            answers.pop(own.id)
        if own is None or (is_answer(own) and own.id in answers):
            defined = _answers_anew(cell, by_name, answers) if own is None else None
            if own is not None and not _untouched(cell.source, own):
                made.notes.append(f"{exercise_of(own)} was answered in two cells; the first counts, the other is kept")
            if defined is not None:
                answers[defined.id], after = cell.source, defined.id
                made.notes.append(f"the cell of {exercise_of(defined)} had lost its name; found by what it defines")
            else:
                extras.setdefault(after, []).append(_extra(cell))
            continue
        after = own.id
        if is_answer(own):
            answers[own.id] = cell.source
        elif is_check(own):
            if own.id in checks:
                made.notes.append(f"the check of {exercise_of(own)} was there twice; one counts")
            elif cell.source.strip() != own.source.strip():
                made.notes.append(f"the check of {exercise_of(own)} was changed; it is as it was released again")
            checks.add(own.id)
        elif cell.cell_type == "code" and cell.source.strip() != own.source.strip():
            # Someone adds an import to a given cell: the cell runs as it was given, then as they have it.
            extras.setdefault(own.id, []).append(_extra(cell))
    _assemble(made, answers, extras)
    for cell in released.values():
        if is_check(cell) and cell.id not in checks and theirs:
            made.notes.append(f"the check of {exercise_of(cell)} was gone; it is there again")
    return made


def _untouched(source: str | None, released: NotebookNode) -> bool:
    return source is not None and source.strip() == released.source.strip()


def _assemble(made: Rebuilt, answers: dict[str, str], extras: dict[str, list[NotebookNode]]) -> None:
    cells = list(extras.get("", []))
    count = len(cells)
    for cell in made.notebook.cells:
        if is_answer(cell):
            if cell.id in answers:
                cell.source = answers[cell.id]
            else:
                made.missing.add(exercise_of(cell))
        cells.append(cell)
        cells += extras.get(cell.id, [])
        count += len(extras.get(cell.id, []))
    if count > MAX_EXTRA:
        made.notes.append(f"{count} cells were added; the first {MAX_EXTRA} are kept")
        added = iter(range(count))
        cells = [cell for cell in cells if EXTRA not in cell.metadata.get("tags", []) or next(added) < MAX_EXTRA]
    for number, cell in enumerate(cells):
        if EXTRA in cell.metadata.get("tags", []):
            cell["id"] = f"{EXTRA}-{number}"
    made.notebook.cells = cells


def readable(cells: Sequence[Any]) -> list[NotebookNode]:
    """The cells that are cells, with nothing but type, source, id and nbgrader's name."""
    found = []
    for cell in cells if isinstance(cells, (list, tuple)) else []:
        if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
            continue
        source = cell.get("source", "")
        if isinstance(source, list):
            source = "".join(part for part in source if isinstance(part, str))
        if not isinstance(source, str):
            continue
        if len(source) > MAX_CELL:
            source = f"raise RuntimeError('a cell of {len(source)} characters was left out; {MAX_CELL} are read')"
        # Half a surrogate pair can be written in JSON and cannot be sent to a kernel.
        source = source.encode("utf-8", "replace").decode()
        name = grade_id(cell)
        kept = NotebookNode(cell_type=cell["cell_type"], source=source, id=str(cell.get("id", ""))[:64])
        kept.metadata = NotebookNode(nbgrader=NotebookNode(grade_id=name)) if name else NotebookNode()
        found.append(kept)
    return found


def _answers_anew(cell: NotebookNode, by_name: dict[str, NotebookNode], answers: dict[str, str]) -> NotebookNode | None:
    """The answer cell of the release that a nameless cell stands for: it defines just what that one is to define."""
    if cell.cell_type != "code":
        return None
    try:
        body = ast.parse(cell.source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    names = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    names |= {
        target.id
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for name in names:
        own = by_name.get(name)
        if own is not None and is_answer(own) and own.id not in answers:
            return own
    return None


def _extra(cell: NotebookNode) -> NotebookNode:
    """A student's own cell: no graded name, no output, and text as plain text, which no page can take for markup."""
    if cell.cell_type == "code":
        return nbformat.v4.new_code_cell(cell.source, metadata={"tags": [EXTRA]})
    fence = "`" * 3
    while fence in cell.source:
        fence += "`"
    return nbformat.v4.new_markdown_cell(f"{fence}text\n{cell.source}\n{fence}", metadata={"tags": [EXTRA]})
