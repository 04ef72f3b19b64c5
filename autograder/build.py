"""The build: solution scripts in, executed source notebooks and nbgrader releases out."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder.exercise import exercises, nearest
from autograder.notebook import METADATA, as_bytes, source_notebook, was_run, without_outputs
from autograder.script import Cell, Problem, read_script

ROOT = Path(__file__).resolve().parent.parent
SLUG = re.compile(r"\d\d_[a-z0-9_]+")


class BuildError(Exception):
    """A script or notebook is refused. Each problem is one line: file, line, what, why and the next step."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True)
class Built:
    """What came of one script.

    changed:  the notebooks that were written, since their content changed.
    executed: whether the notebook was run, rather than kept with its outputs.
    seconds:  how long it took.
    """

    slug: str
    changed: tuple[Path, ...]
    executed: bool
    seconds: float

    def __str__(self) -> str:
        ran = f"run in {self.seconds:.0f} s, " if self.executed else ""
        return f"{self.slug}: {ran}{' and '.join(path.parts[-3] for path in self.changed) or 'nothing'} changed"


@dataclass(frozen=True)
class _Course:
    """The files of a course, each named as a reader at its root would name it."""

    root: Path

    def script(self, slug: str) -> Path:
        return self.root / "solutions" / f"{slug}.py"

    def source(self, slug: str) -> Path:
        return self.root / "solutions" / slug / f"{slug}.ipynb"

    def release(self, slug: str) -> Path:
        return self.root / "notebooks" / slug / f"{slug}.ipynb"

    def problem(self, path: Path, line: int, text: str) -> Problem:
        return Problem(path.relative_to(self.root) if path.is_relative_to(self.root) else path, line, text)


def build(
    slugs: Iterable[str] | None = None,
    check: bool = False,
    execute: bool = True,
    root: Path | None = None,
    *,
    force: bool = False,
) -> list[Built]:
    """Make the notebooks of a course from its scripts, or check that they are what their scripts give.

    slugs:   `03` or the whole slug; None or none of them is every script.
    check:   write and run nothing; raise BuildError with every notebook whose cells or metadata differ.
             Outputs are not compared: that is nbval's part.
    execute: run the notebooks whose cells changed; without it these are stored without outputs.
    root:    the course; by default the one that this package stands in.
    force:   run also those whose cells did not change, after a change to the package.
    Raises BuildError with every problem found. Nothing of a refused notebook is written.
    """
    from autograder.release import ReleaseError, leaks, make_releases

    course = _Course((root or ROOT).resolve())
    slugs = list(slugs or ())
    chosen = _chosen(course, slugs)
    _refuse(problem for slug in chosen for problem in _strays(course, slug))
    scripts, problems = {}, []
    for slug in chosen:
        scripts[slug], faults = read_script(course.script(slug), exercises())
        problems += [course.problem(fault.path, fault.line, fault.text) for fault in faults]
    _refuse(problems)
    sources = {slug: source_notebook(cells) for slug, cells in scripts.items()}
    try:
        releases = make_releases({slug: as_bytes(source) for slug, source in sources.items()}, course.root)
    except ReleaseError as error:
        raise BuildError([Problem(course.root / "nbgrader_config.py", 1, str(error))]) from None
    for slug, source in sources.items():
        lines = {node.id: cell.line for node, cell in zip(source.cells, scripts[slug], strict=True)}
        for cell_id, text in leaks(source, releases[slug]):
            text = f"the release of this cell is refused: {text}; keep it out, or change the answer"
            problems.append(course.problem(course.script(slug), lines.get(cell_id, 1), text))
    _refuse(problems)
    if check:
        stale = [problem for slug in chosen for problem in _stale(course, slug, sources[slug], releases[slug])]
        _refuse([*stale, *(_orphans(course, chosen) if not slugs else ())])
        return [Built(slug, (), False, 0.0) for slug in chosen]
    built = []
    for slug in chosen:
        try:
            built.append(_write(course, slug, scripts[slug], sources[slug], releases[slug], execute, force))
        except BuildError as error:  # the others are built all the same
            problems += error.problems
    _refuse(problems)
    return built


def _refuse(problems: Iterable[Problem]) -> None:
    found = list(problems)
    if found:
        raise BuildError(found)


def _chosen(course: _Course, slugs: list[str]) -> list[str]:
    """The slugs to build, in order."""
    folder = course.root / "solutions"
    if not folder.is_dir():
        raise BuildError([Problem(folder, 1, "no such folder; run this in a clone of the course")])
    scripts = sorted(path for path in folder.glob("*.py") if path.name != "conftest.py")
    misnamed = [path for path in scripts if not SLUG.fullmatch(path.stem)]
    _refuse(course.problem(path, 1, "not named NN_slug.py, so no notebook comes of it; rename it") for path in misnamed)
    known = [path.stem for path in scripts]
    if not slugs:
        return known
    chosen = []
    for wanted in slugs:
        found = [slug for slug in known if wanted in (slug, slug[:2], slug[:2].lstrip("0"))]
        if not found:
            raise BuildError([course.problem(folder / f"{wanted}.py", 1, f"no such script; {nearest(wanted, known)}")])
        chosen += found
    return sorted(set(chosen))


def _strays(course: _Course, slug: str) -> Iterator[Problem]:
    """Files that nbgrader or jupytext would carry into the hands of a learner."""
    for notebook in (course.source(slug), course.release(slug)):
        for path in sorted(notebook.parent.rglob("*")):
            if path.is_file() and path != notebook and ".ipynb_checkpoints" not in path.parts:
                yield course.problem(path, 1, "nbgrader would hand this file out with the notebook; move it elsewhere")
    for folder in (course.root, course.root / "solutions", course.root / "notebooks", course.release(slug).parent):
        for name in ("jupytext.toml", ".jupytext.toml", "jupytext.yml", ".jupytext", ".jupytext.py"):
            if (folder / name).exists():
                yield course.problem(folder / name, 1, "pairing would put the answers into the releases; remove it")


def _stale(course: _Course, slug: str, source: NotebookNode, release: bytes) -> Iterator[Problem]:
    """Stored notebooks that are not what their script gives."""
    again = f"run `attention build {slug[:2]}`"
    path = course.source(slug)
    stored = without_outputs(path)
    if stored != source:
        yield course.problem(path, 1, f"{_differs(path, stored, source)}; {again}")
    elif not was_run(path):
        yield course.problem(path, 1, f"stored without its outputs; {again}")
    path = course.release(slug)
    if not path.is_file() or path.read_bytes().replace(b"\r\n", b"\n") != release.replace(b"\r\n", b"\n"):
        wanted = nbformat.reads(release.decode(), as_version=4)
        yield course.problem(path, 1, f"{_differs(path, without_outputs(path), wanted)}; {again}")


def _orphans(course: _Course, slugs: list[str]) -> Iterator[Problem]:
    """Stored notebooks that no script gives any more."""
    for folder in ("solutions", "notebooks"):
        for path in sorted((course.root / folder).glob("*/*.ipynb")):
            if path not in [notebook(slug) for slug in slugs for notebook in (course.source, course.release)]:
                yield course.problem(path, 1, "no script gives this notebook; remove it")


def _differs(path: Path, stored: NotebookNode | None, wanted: NotebookNode) -> str:
    if stored is None:
        return "cannot be read" if path.is_file() else "is missing"
    cells = stored.get("cells", [])
    if len(cells) != len(wanted.cells):
        return f"has {len(cells)} cells where its script gives {len(wanted.cells)}"
    for number, (one, other) in enumerate(zip(cells, wanted.cells, strict=True), 1):
        if one != other:
            return f"differs from its script, first in cell {number} ({other.id})"
    return "differs from its script in the notebook's metadata, its outputs or its spacing"


def _write(
    course: _Course, slug: str, cells: list[Cell], source: NotebookNode, release: bytes, execute: bool, force: bool
) -> Built:
    from autograder.execution import ExecutionError, faults
    from autograder.execution import execute as run

    start = time.monotonic()
    path = course.source(slug)
    path.parent.mkdir(parents=True, exist_ok=True)
    unchanged = without_outputs(path) == source
    executed = execute and (force or not unchanged or not was_run(path))
    if executed:

        def problem(place: int, text: str) -> Problem:
            return course.problem(course.script(slug), cells[max(place, 0)].line, text)

        try:
            run(source, path.parent)
        except ExecutionError as error:
            raise BuildError([problem(error.cell, f"this cell fails when the notebook is run: {error}")]) from None
        source.metadata = nbformat.from_dict(METADATA)
        pairs = zip(source.cells, cells, strict=True)
        checked = {node.id: cell.exercise for node, cell in pairs if cell.role == "check" and cell.exercise}
        _refuse(problem(place, text) for place, text in faults(source, checked, course.root))
    changed = []
    if (executed or not unchanged) and _replace(path, as_bytes(source)):
        changed.append(path)
    if _replace(course.release(slug), release):
        changed.append(course.release(slug))
    return Built(slug, tuple(changed), executed, time.monotonic() - start)


def _replace(path: Path, content: bytes) -> bool:
    """Write a file whole or not at all, and only if its content changes; returns whether it did."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not beside it: nbgrader would hand out what a killed build leaves in an assignment folder.
    part = path.parent.parent / f".{path.name}.{os.getpid()}.part"
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    return True
