"""Carry a learner's work from an old copy of a notebook into a new version of it. Pure: notebooks in, a notebook out.

A copy is stamped with a digest of each cell as it was given, so that what the learner changed can be told apart from
what the course changed, also when both did.
"""

from __future__ import annotations

import copy
import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

Cell = dict[str, Any]
Notebook = dict[str, Any]

STAMP = "attention"  # the key in the notebook's metadata


class Unreadable(ValueError):
    """This is not a notebook; the message says why."""


@dataclass(frozen=True)
class Carried:
    """A new version with the learner's work in it.

    answers: grade ids of the answers carried over. kept: how many cells of the learner's own came along, given cells
    they had edited among them.
    """

    notebook: Notebook
    answers: tuple[str, ...]
    kept: int


def source_of(cell: Cell) -> str:
    """A cell's source as one string; the file format also allows a list of lines."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def digest(cell: Cell) -> str:
    """A short digest of a cell's type and source; blank lines at its end do not count."""
    return hashlib.sha256(f"{cell['cell_type']}\n{source_of(cell).rstrip()}".encode()).hexdigest()[:16]


def checked(data: Any) -> Notebook:
    """The same data, if it has the structure of a notebook of format 4.

    Raises Unreadable otherwise.
    """
    if not isinstance(data, dict) or not isinstance(data.get("cells"), list):
        raise Unreadable("it has no list of cells")
    for cell in data["cells"]:
        source = cell.get("source", "") if isinstance(cell, dict) else None
        lines = source if isinstance(source, list) else [source]
        if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
            raise Unreadable("one of its cells has no type")
        if not all(isinstance(line, str) for line in lines):
            raise Unreadable("the source of one of its cells is not text")
        if not isinstance(cell.get("metadata", {}), dict):
            raise Unreadable("the metadata of one of its cells are not a table")
    if not isinstance(data.get("metadata", {}), dict):
        raise Unreadable("its metadata are not a table")
    return data


def stamped(released: Notebook) -> Notebook:
    """A copy of a released notebook that says in its metadata what its cells were."""
    out = copy.deepcopy(released)
    cells = {cell.get("id", f"cell-{n}"): digest(cell) for n, cell in enumerate(out["cells"])}
    out.setdefault("metadata", {})[STAMP] = {"cells": cells}
    return out


def given(notebook: Notebook) -> dict[str, str]:
    """Digests of the cells as they were given, by cell id; empty if the copy carries no stamp."""
    stamp = notebook.get("metadata", {}).get(STAMP)
    cells = stamp.get("cells") if isinstance(stamp, dict) else None
    return {str(key): str(value) for key, value in cells.items()} if isinstance(cells, dict) else {}


def is_current(old: Notebook, released: Notebook) -> bool:
    """Whether a copy was made from this very version."""
    return bool(given(old)) and given(old) == given(stamped(released))


def answer_id(cell: Cell) -> str | None:
    """The grade id of a solution cell, None for any other cell."""
    data = cell.get("metadata", {}).get("nbgrader")
    if isinstance(data, dict) and data.get("solution") is True and isinstance(data.get("grade_id"), str):
        return data["grade_id"]
    return None


def carry_over(old: Notebook, released: Notebook) -> Carried:
    """Put a learner's answers and own cells into a fresh copy of a newer version.

    old:      the learner's copy. released: the version the course has now.
    An answer goes into the solution cell with its grade id; one left as it was given is not carried. A cell of the
    learner's own, a given cell they edited, a second copy of an answer and the answer to an exercise that no longer
    exists become extra cells after the cell they followed.
    """
    new = stamped(released)
    before = given(old)
    # Without a stamp, cells equal to the new version's are the only ones known to be the course's.
    unchanged = set(before.values()) or {digest(cell) for cell in new["cells"]}
    targets = {answer_id(cell): cell for cell in new["cells"] if answer_id(cell)}
    places = {cell.get("id"): cell for cell in new["cells"] if cell.get("id")}
    by_content = {digest(cell): cell for cell in new["cells"]}
    chosen = _chosen_answers(old["cells"], targets, unchanged)
    extras: dict[int, list[Cell]] = {}  # by id() of the new cell they follow; 0 is the top
    anchor, answers, kept = 0, [], 0
    for cell in old["cells"]:
        grade_id = answer_id(cell)
        counts = grade_id is not None and cell is chosen.get(grade_id)
        if grade_id is not None and counts:
            target = targets[grade_id]
            anchor = id(target)
            if digest(cell) not in unchanged:
                target["source"] = source_of(cell)
                answers.append(grade_id)
            continue
        counterpart = by_content.get(digest(cell)) or (places.get(cell.get("id")) if grade_id is None else None)
        if counterpart is not None:
            anchor = id(counterpart)
        if digest(cell) in unchanged or digest(cell) in by_content or not source_of(cell).strip():
            continue
        extras.setdefault(anchor, []).append(_own(cell))
        kept += 1
    new["cells"] = extras.get(0, []) + [each for cell in new["cells"] for each in (cell, *extras.get(id(cell), ()))]
    _make_ids_unique(new["cells"])
    return Carried(new, tuple(answers), kept)


def _chosen_answers(cells: list[Cell], targets: dict, unchanged: set[str]) -> dict[str, Cell]:
    """The cell that counts for each grade id: the first that was worked on, else the first."""
    chosen: dict[str, Cell] = {}
    for cell in cells:
        grade_id = answer_id(cell)
        if grade_id not in targets or grade_id is None:
            continue
        if grade_id not in chosen or (digest(chosen[grade_id]) in unchanged and digest(cell) not in unchanged):
            chosen[grade_id] = cell
    return chosen


def _own(cell: Cell) -> Cell:
    """A cell as the learner's own: ungraded, editable, without outputs."""
    out = copy.deepcopy(cell)
    dropped = ("nbgrader", "deletable", "editable")
    out["metadata"] = {key: value for key, value in out.get("metadata", {}).items() if key not in dropped}
    if out["cell_type"] == "code":
        out.update(outputs=[], execution_count=None)
    return out


def _make_ids_unique(cells: list[Cell]) -> None:
    course = {cell["id"] for cell in cells if "id" in cell}
    seen: set[str] = set()
    for cell in cells:
        if cell.get("id") in seen or "id" not in cell:
            cell["id"] = next(name for name in iter(lambda: uuid.uuid4().hex[:8], None) if name not in course | seen)
        seen.add(cell["id"])
