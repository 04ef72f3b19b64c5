"""Solution regions: where a cell's model answer stands, and what the released cell shows in its place."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

BEGIN, END, STUB = "### BEGIN SOLUTION", "### END SOLUTION", "#:"

# Other regions that nbgrader knows. The judge stands outside the notebook, so the course has no use for them.
FOREIGN = ("HIDDEN TESTS", "MARK SCHEME", "AUTOTEST")


class MarkerError(ValueError):
    """A marker is misspelt, unbalanced or out of place; `line` is its place in the cell, counted from 0."""

    def __init__(self, line: int, message: str):
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Region:
    """One model answer: the lines between a pair of markers.

    begin, end: the markers' places in the cell, counted from 0.
    indent:     the whitespace before both markers.
    solution:   the lines that are the answer.
    stub:       what the release shows instead, from the lines that start with `#: `; empty if there are none.
    """

    begin: int
    end: int
    indent: str
    solution: tuple[str, ...]
    stub: tuple[str, ...]


def regions(source: str) -> list[Region]:
    """Find the solution regions of a cell.

    Raises MarkerError for a marker that is nested, unbalanced, or that nbgrader would read differently.
    """
    found: list[Region] = []
    lines = source.split("\n")
    begin = None
    for number, line in enumerate(lines):
        refuse_lookalike(number, line)
        if line.strip() == BEGIN:
            if begin is not None:
                raise MarkerError(number, f"`{BEGIN}` inside a region; close the first with `{END}`")
            begin = number
        elif line.strip() == END:
            if begin is None:
                raise MarkerError(number, f"`{END}` closes nothing; put `{BEGIN}` before the answer")
            found.append(_region(lines, begin, number))
            begin = None
    if begin is not None:
        raise MarkerError(begin, f"`{BEGIN}` is never closed, so the release would lose the cell; add `{END}`")
    return found


def _region(lines: list[str], begin: int, end: int) -> Region:
    indent, closing = (lines[i][: len(lines[i]) - len(lines[i].lstrip())] for i in (begin, end))
    if indent != closing:
        raise MarkerError(end, f"`{END}` is indented unlike its `{BEGIN}`; indent both alike")
    solution, stub = [], []
    for line in lines[begin + 1 : end]:
        text = line.lstrip()
        if text.startswith(STUB):
            shown = text.removeprefix(STUB)
            stub.append((line[: len(line) - len(text)] + shown.removeprefix(" ")).rstrip())
        else:
            solution.append(line)
    return Region(begin, end, indent, tuple(solution), tuple(stub))


def released(source: str, name: str) -> str:
    """Return a solution cell as the release shows it.

    name: the exercise's id, for the sentence of the stub.
    Raises MarkerError as `regions` does, and for a region at top level that says nothing to show instead.
    """
    lines = source.split("\n")
    for region in reversed(regions(source)):
        shown = list(region.stub)
        if not shown:
            if not region.indent:
                raise MarkerError(region.begin, f"this region needs `{STUB} ` lines that say what the release shows")
            shown = [f'{region.indent}raise NotImplementedError("{name} is yours to write")']
        lines[region.begin : region.end + 1] = shown
    return "\n".join(lines)


def answered(source: str) -> str:
    """Return a solution cell as its author would run it: without markers and stub lines."""
    lines = source.split("\n")
    for region in reversed(regions(source)):
        lines[region.begin : region.end + 1] = region.solution
    return "\n".join(lines)


def refuse_lookalike(number: int, line: str) -> None:
    """Raise MarkerError if a line looks like a marker but is not exactly one.

    nbgrader lets a misspelt marker pass in silence, and the answer goes out with the release.
    """
    if line.strip() in (BEGIN, END):
        return
    upper = line.upper()
    for name in FOREIGN:
        if name in upper and (name == "AUTOTEST" or re.search(rf"\b(BEGIN|END)\s+{name}\b", upper)):
            raise MarkerError(
                number, f"`{line.strip()}` is a region of nbgrader's that this course does not use; remove it"
            )
    meant = _meant(line)
    if meant:
        raise MarkerError(
            number,
            f"`{line.strip()}` looks like a marker, but nbgrader would release the answer; "
            f"write `{meant}` on a line of its own",
        )


def _meant(line: str) -> str | None:
    """The marker that a line tries to be."""
    for marker in (BEGIN, END):
        if marker.strip("# ") in line:
            return marker
    comment = re.search(r"(#+)[\W_]*([^#]*)", line)
    words = re.findall(r"[A-Z]+", comment.group(2).upper()) if comment else []
    if not comment or not 1 <= len(words) <= 3:
        return None
    likeness = {marker: _like("".join(words), marker.strip("# ").replace(" ", "")) for marker in (BEGIN, END)}
    begins = any(_like(word, name) >= 0.7 for word in words for name in ("BEGIN", "START"))
    ends = any(_like(word, name) >= 0.7 for word in words for name in ("END", "STOP"))
    answers = any(_like(word, "SOLUTION") >= 0.7 or word in ("SOL", "SOLN", "ANSWER") for word in words)
    short = len(words) == 1 and len(comment.group(1)) >= 3 and (begins or ends)
    if (answers and (begins or ends)) or short:
        return BEGIN if begins else END
    best = max(likeness, key=lambda marker: likeness[marker])
    return best if likeness[best] >= 0.78 else None


def _like(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()
