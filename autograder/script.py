"""Reading a solution script: its cells with their roles and exercises, or every reason to refuse it, by line.

About 300 lines: each rule of the course's cell forms stands here once, next to the sentence that refuses it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jupytext

from autograder.exercise import Exercise, nearest
from autograder.names import parse
from autograder.regions import MarkerError, refuse_lookalike, regions, released

Role = Literal["prose", "given", "experiment", "solution", "check", "reflect"]

MARKER = re.compile(r"^# %%")
EXPERIMENT = "experiment"
TAGS = (EXPERIMENT, "nbval-ignore-output")
MAX_WORDS, MAX_LINES = 120, 12  # of a prose cell, of a given cell


@dataclass(frozen=True)
class Problem:
    """Why a file is refused: where, what, why, and the next step."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Cell:
    """A cell of a script.

    role:     what it is for; `given` is code that stands there for the learner.
    line:     the line of the script on which its source starts, counted from 1.
    exercise: the exercise that it answers, checks or reflects on.
    defines, uses: the names it binds at top level, and those it needs from elsewhere.
    """

    role: Role
    source: str
    line: int
    tags: tuple[str, ...] = ()
    exercise: Exercise | None = None
    defines: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()


class _Refusal(Exception):
    """A problem with one cell; `line` is counted from 0 within it."""

    def __init__(self, text: str, line: int = 0):
        super().__init__(text)
        self.line = line


def read_script(path: Path, table: Mapping[str, Exercise]) -> tuple[list[Cell], list[Problem]]:
    """Read a script; the notebook is its file's stem.

    table: every exercise by id.
    Returns its cells and all that is wrong with it; the cells are of use only if nothing is.
    """
    cells: list[Cell] = []
    problems: list[Problem] = []
    raw, faults = _raw_cells(path)
    problems += [Problem(path, line, text) for line, text in faults]
    for kind, source, line, metadata in raw:
        try:
            cells.append(_cell(kind, source, line, metadata, table))
        except (_Refusal, MarkerError) as refusal:
            problems.append(Problem(path, line + refusal.line, str(refusal)))
            # Its names count all the same, so that one mistake is not reported twice.
            cells.append(Cell("given", "", line))
    if not problems:
        rules = (_pairs, _complete, _own_names, _experiments)
        problems += [Problem(path, line, text) for rule in rules for line, text in rule(cells, table, path.stem)]
    return cells, sorted(problems, key=lambda problem: problem.line)


def _raw_cells(path: Path) -> tuple[list[tuple[str, str, int, dict]], list[tuple[int, str]]]:
    """Read the file with jupytext and find the line on which each cell starts."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return [], [(path.read_bytes()[: error.start].count(b"\n") + 1, "not UTF-8; save it as UTF-8")]
    lines = text.split("\n")
    notebook = jupytext.reads(text, fmt="py:percent")
    faults = []
    if "formats" in notebook.metadata.get("jupytext", {}):
        faults.append(
            (1, "the header pairs this script with a notebook; remove `formats`, the build makes the notebook")
        )
    markers = [number for number, line in enumerate(lines) if MARKER.match(line)]
    if len(markers) != len(notebook.cells):
        first = next((n for n, line in enumerate(lines, 1) if line.startswith("#%%")), 1)
        text = f"{len(notebook.cells)} cells but {len(markers)} lines that start with `# %%`; start every cell with one"
        return [], [*faults, (first, text)]
    cells = []
    for cell, start, end in zip(notebook.cells, markers, [*markers[1:], len(lines)], strict=True):
        blank = next((i for i, line in enumerate(lines[start + 1 : end]) if line.strip()), 0)
        cells.append((cell.cell_type, cell.source.strip("\n"), start + 2 + blank, dict(cell.metadata)))
    return cells, faults


def _cell(kind: str, source: str, line: int, metadata: dict, table: Mapping[str, Exercise]) -> Cell:
    metadata.pop("lines_to_next_cell", None)  # jupytext's own note on spacing
    tags = tuple(metadata.pop("tags", ()))
    if metadata:
        raise _Refusal(f"{', '.join(metadata)} typed on a cell; remove it, the build derives metadata", -1)
    for tag in tags:
        if tag not in TAGS:
            raise _Refusal(f"no tag is called {tag!r}; the tags are {', '.join(TAGS)}", -1)
    if not source.strip():
        raise _Refusal("an empty cell; remove it", -1)
    if kind != "code":
        return _prose(kind, source, line, tags)
    tree, defines, uses = _parse(source)
    judged = _judged(source, tree, table)
    if judged:
        return Cell(judged[0], source, line, tags, judged[1], defines, uses)
    if regions(source):
        if tags:
            raise _Refusal(f"a solution cell tagged {', '.join(tags)}; remove the tag", -1)
        return Cell("solution", source, line, (), _solved(source, tree, defines, table), defines, uses)
    length = source.count("\n") + 1
    if length > MAX_LINES:
        raise _Refusal(
            f"a given cell of {length} lines, more than {MAX_LINES} are not read; split it or use autograder.material"
        )
    return Cell("experiment" if EXPERIMENT in tags else "given", source, line, tags, None, defines, uses)


def _prose(kind: str, source: str, line: int, tags: tuple[str, ...]) -> Cell:
    if kind != "markdown":
        raise _Refusal(f"a {kind} cell; use code or [markdown]", -1)
    if EXPERIMENT in tags:
        raise _Refusal("a prose cell tagged experiment; the tag is for code", -1)
    for number, text in enumerate(source.split("\n")):
        if re.search(r"\b(BEGIN|END)\s+SOLUTION\b", text, re.IGNORECASE):
            raise _Refusal(
                "a solution marker in prose, where no answer is hidden; put the answer in a code cell", number
            )
    words = sum(any(c.isalnum() for c in word) for word in source.split())
    if words > MAX_WORDS:
        raise _Refusal(f"a prose cell of {words} words, more than {MAX_WORDS} are not read; split it or cut it")
    return Cell("prose", source, line, tags)


def _parse(source: str) -> tuple[ast.Module, frozenset[str], frozenset[str]]:
    """The syntax tree, the names bound at top level, and the names needed from elsewhere."""
    for number, line in enumerate(source.split("\n")):
        refuse_lookalike(number, line)
    try:
        return parse(source)
    except SyntaxError as error:
        text = f"not plain Python ({error.msg}); magics and shell lines are not used"
        raise _Refusal(text, (error.lineno or 1) - 1) from None


def _judged(source: str, tree: ast.Module, table: Mapping[str, Exercise]) -> tuple[Role, Exercise] | None:
    """Whether a cell is a `check` or `reflect` cell, and of which exercise."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name not in ("check", "reflect") or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        called = str(node.args[0].value)
        if called not in table:
            raise _Refusal(f"{name}({called!r}): no exercise has this id; {nearest(called, table)}", node.lineno - 1)
        if source.strip() != f'{name}("{called}", {called})':
            text = f'`{name}` in a cell with something else; its cell holds `{name}("{called}", {called})` alone'
            raise _Refusal(f"{text}, since nbgrader reads the points from its result", node.lineno - 1)
        exercise = table[called]
        wanted = "reflect" if exercise.kind == "R" else "check"
        if name != wanted:
            raise _Refusal(f"{called} is of kind {exercise.kind}; use `{wanted}`", node.lineno - 1)
        return ("reflect" if name == "reflect" else "check"), exercise
    return None


def _solved(source: str, tree: ast.Module, defines: frozenset[str], table: Mapping[str, Exercise]) -> Exercise:
    """The exercise that a solution cell answers, once it has the form that its kind wants."""
    body = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    imported = {alias.asname or alias.name for node in imports for alias in node.names}
    own = sorted(defines - imported)
    known = [name for name in own if name in table]
    if not known:
        raise _Refusal(
            f"a solution cell that defines {', '.join(own) or 'nothing'}; {nearest((own or [''])[0], table)}"
        )
    if len(own) != 1:
        raise _Refusal(f"a solution cell that defines {', '.join(own)}; one cell defines one exercise and nothing else")
    exercise = table[own[0]]
    forms = (ast.Assign, ast.AnnAssign) if exercise.takes_value else (ast.FunctionDef, ast.ClassDef)
    if not all(isinstance(node, forms) for node in body):
        wanted = (
            "an assignment in a region at top level"
            if exercise.takes_value
            else "a def or class with its region inside"
        )
        raise _Refusal(f"{exercise.id} is of kind {exercise.kind} and wants {wanted}")
    stub = released(source, exercise.id)
    try:
        shown, stub_defines, _ = _parse(stub)
    except _Refusal as refusal:
        raise _Refusal(f"what the release shows for {exercise.id} is {refusal}; mend its `#: ` lines") from None
    if exercise.id not in stub_defines:
        raise _Refusal(f"what the release shows does not define {exercise.id}; mend its `#: ` lines")
    if exercise.kind == "R":
        value = getattr(shown.body[-1], "value", None)
        if not (isinstance(value, ast.Constant) and isinstance(value.value, str) and not value.value.strip()):
            raise _Refusal(f"the release must show {exercise.id} as an empty text; mend its `#: ` lines")
    return exercise


def _pairs(cells: list[Cell], table: Mapping[str, Exercise], slug: str) -> Iterator[tuple[int, str]]:
    """Every solution is followed at once by its check, every check follows its solution, each once."""
    seen: dict[str, int] = {}
    for index, cell in enumerate(cells):
        if cell.exercise is None:
            continue
        name = cell.exercise.id
        if cell.role != "solution":
            before = cells[index - 1] if index else None
            if before is None or before.role != "solution":
                yield cell.line, f"{cell.role} of {name} without its solution cell; put it right after that cell"
            elif before.exercise != cell.exercise:
                other = before.exercise.id if before.exercise else "another name"
                yield cell.line, f"{cell.role} of {name} after a cell that defines {other}; one of the names is wrong"
            continue
        if name in seen:
            yield cell.line, f"{name} is defined a second time (first on line {seen[name]}); remove one"
        seen.setdefault(name, cell.line)
        if cell.exercise.notebook != slug:
            yield cell.line, f"{name} belongs to {cell.exercise.notebook}; move it there or change its record"
        after = cells[index + 1] if index + 1 < len(cells) else None
        if after is None or after.role not in ("check", "reflect"):
            wanted = "reflect" if cell.exercise.kind == "R" else "check"
            yield cell.line, f'{name} has no check cell; put `{wanted}("{name}", {name})` in the next cell'


def _complete(cells: list[Cell], table: Mapping[str, Exercise], slug: str) -> Iterator[tuple[int, str]]:
    """Every exercise of the notebook in the table has its solution cell."""
    solved = {cell.exercise.id for cell in cells if cell.role == "solution" and cell.exercise}
    for exercise in table.values():
        if exercise.notebook == slug and exercise.id not in solved:
            yield 1, f"{exercise.id} is in the exercise table but not here; write its solution and check cells"


def _own_names(cells: list[Cell], table: Mapping[str, Exercise], slug: str) -> Iterator[tuple[int, str]]:
    """Given code neither rebinds an exercise's name nor calls a learner's function other than through `mine`."""
    own = {name for name, exercise in table.items() if exercise.notebook == slug}
    functions = {name for name in own if not table[name].takes_value}
    for cell in cells:
        if cell.role in ("given", "experiment"):
            for name in sorted(cell.defines & own):
                yield cell.line, f"a given cell rebinds {name}, the learner's answer; use another name"
            for name in sorted((cell.uses - cell.defines) & functions):
                yield cell.line, f"a given cell uses {name}, which a learner may not have written; use mine.{name}"


def _experiments(cells: list[Cell], table: Mapping[str, Exercise], slug: str) -> Iterator[tuple[int, str]]:
    """No answer and no check needs a name that an experiment made: graded runs skip experiments."""
    made: dict[str, int] = {}  # name → line of the experiment that it comes from
    sound: set[str] = set()  # names that are there without experiments
    for cell in cells:
        needed = {name: made[name] for name in sorted(cell.uses) if name in made}
        if cell.exercise:
            for name, line in needed.items():
                text = f"{cell.exercise.id} needs {name}, which comes from the experiment on line {line}"
                yield cell.line, f"{text}; graded runs skip experiments: define {name} in a given cell"
        elif cell.role == "given":
            for name, line in needed.items():
                text = f"a given cell needs {name}, which comes from the experiment on line {line}"
                yield cell.line, f"{text}; graded runs skip experiments: tag this cell {EXPERIMENT} too"
        if cell.role == "experiment" or (needed and not cell.exercise):  # a given cell fails without what it needs
            source = min([cell.line, *needed.values()])
            again = _imports(cell) & sound  # importing once more gives the same thing
            made |= {name: source for name in cell.defines - again}
            sound -= cell.defines - again
        else:
            made = {name: line for name, line in made.items() if name not in cell.defines}
            sound |= cell.defines


def _imports(cell: Cell) -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {(alias.asname or alias.name).split(".")[0] for node in nodes for alias in node.names}
