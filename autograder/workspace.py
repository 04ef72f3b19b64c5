"""The learner's workspace: their own copies of the notebooks, which the course never overwrites and never loses.

It is a folder with a marker file. Every file is written beside its name and renamed, so a crash leaves the old one or
the new one. What is replaced goes to `earlier/` first, under a dated name. A lock file keeps two commands apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from autograder.carry import Notebook, Unreadable, carry_over, checked, is_current, stamped
from autograder.record import write_whole

MARKER = ".attention"
EARLIER = "earlier"
ROOT = Path(__file__).resolve().parent.parent
LOCK_SECONDS = 10.0

_MARKER_TEXT = "This folder is a workspace of the attention course: your copies, your progress, your own library.\n"


class WorkspaceError(Exception):
    """Something about the workspace cannot be done; the message says what, why and the next step."""


@dataclass(frozen=True)
class Opened:
    """A workspace that is ready: where it is, the notebooks put there just now, and what there is to say."""

    path: Path
    new: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """What became of a learner's copy: where it is, where the earlier one went, and the sentence that says so."""

    path: Path
    earlier: Path | None
    message: str

    def __str__(self) -> str:
        return self.message


def find_workspace(start: Path) -> Path | None:
    """The nearest folder at or above `start` that holds the marker file, None if there is none."""
    here = Path(start).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / MARKER).is_file()), None)


def default_workspace() -> Path:
    """Where the workspace is, or would be made.

    In this order: the variable ATTENTION_WORKSPACE, the workspace above the current folder, `workspace/` beside the
    notebooks.
    """
    named = os.environ.get("ATTENTION_WORKSPACE")
    if named:
        return Path(named).expanduser().resolve()
    return find_workspace(Path.cwd()) or notebooks_folder().parent / "workspace"


def notebooks_folder() -> Path:
    """The folder of released notebooks: beside the package, or above the current folder.

    Raises WorkspaceError if there is none.
    """
    for folder in (ROOT, Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks").is_dir():
            return folder / "notebooks"
    raise WorkspaceError(
        f"there is no folder notebooks/ in {ROOT} or above {Path.cwd()}; run this in the folder of the course"
    )


def released_notebooks(notebooks: Path | None = None) -> dict[str, Path]:
    """The released notebooks that exist, by slug, in order."""
    folder = notebooks or notebooks_folder()
    found = sorted(folder.glob("[0-9][0-9]_*/[0-9][0-9]_*.ipynb"))
    return {path.stem: path for path in found if path.stem == path.parent.name}


def open_workspace(workspace: Path | None = None, notebooks: Path | None = None) -> Opened:
    """Make the workspace if there is none and put copies of the unopened notebooks into it.

    workspace: where; None is `default_workspace()`. notebooks: the released ones; None is `notebooks_folder()`.
    A copy that exists is left alone. One that cannot be read is set aside, and a fresh one takes its place.
    Raises WorkspaceError if the folder cannot be used.
    """
    folder = (workspace or default_workspace()).expanduser().resolve()
    released = released_notebooks(notebooks)
    _refuse_course_folders(folder)
    with _explained("cannot make the workspace", folder, "choose another place with --workspace"):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / MARKER).exists():
            write_whole(folder / MARKER, _MARKER_TEXT)
    new, notes = [], []
    with _locked(folder), _explained("cannot write to the workspace", folder, "make room or choose another place"):
        _sweep(folder, released)
        for slug, path in released.items():
            target = folder / path.name
            try:
                copy = _read(target)
            except FileNotFoundError:
                _place(target, stamped(read_notebook(path)))
                new.append(slug)
            except Unreadable as error:
                earlier = _set_aside(target)
                _place(target, stamped(read_notebook(path)))
                notes.append(
                    f"{target.name} could not be read ({error}); it is kept as {_shown(earlier)}, a fresh copy"
                )
                notes[-1] += " took its place"
            else:
                if not is_current(copy, read_notebook(path)):
                    notes.append(f"there is a newer version of {slug}: `attention update {slug[:2]}` brings it")
    return Opened(folder, tuple(new), tuple(notes))


def reset(notebook: str, workspace: Path | None = None, notebooks: Path | None = None) -> Change:
    """Set the learner's copy of a notebook aside and put a fresh one in its place.

    notebook: `03`, `3` or the slug.
    Raises WorkspaceError if there is no such notebook or no workspace.
    """
    folder, slug, path = _chosen(notebook, workspace, notebooks)
    target = folder / path.name
    with _locked(folder), _explained("cannot reset", target, "nothing of yours was changed"):
        earlier = _keep_copy(target)
        _place(target, stamped(read_notebook(path)))
    said = f"{slug}: a fresh copy is in {_shown(target)}"
    return Change(target, earlier, f"{said}; yours is kept as {_shown(earlier)}. {_REOPEN}" if earlier else said)


def update(notebook: str, workspace: Path | None = None, notebooks: Path | None = None) -> Change:
    """Bring the current version of a notebook and carry the learner's answers and own cells over.

    notebook: `03`, `3` or the slug. The copy as it was is kept in `earlier/`.
    Raises WorkspaceError if there is no such notebook or no workspace.
    """
    folder, slug, path = _chosen(notebook, workspace, notebooks)
    target = folder / path.name
    with _locked(folder), _explained("cannot update", target, "nothing of yours was changed"):
        released = read_notebook(path)
        try:
            old = _read(target)
        except FileNotFoundError:
            _place(target, stamped(released))
            return Change(target, None, f"{slug}: a fresh copy is in {_shown(target)}")
        except Unreadable as error:
            earlier = _keep_copy(target)
            _place(target, stamped(released))
            why = f"your copy could not be read ({error}), so no answer was carried over"
            return Change(
                target, earlier, f"{slug}: {why}; it is kept as {_shown(earlier)}, a fresh one took its place"
            )
        if is_current(old, released):
            return Change(target, None, f"{slug}: your copy is of the current version already; nothing changed")
        carried = carry_over(old, released)
        earlier = _keep_copy(target)
        _place(target, carried.notebook)
    answers = f"{len(carried.answers)} answer{'s' * (len(carried.answers) != 1)}"
    cells = f"{carried.kept} cell{'s' * (carried.kept != 1)} of your own"
    return Change(
        target,
        earlier,
        f"{slug}: the current version is in {_shown(target)} with {answers} and {cells} carried over; "
        f"the copy as it was is kept as {_shown(earlier)}. {_REOPEN}",
    )


_REOPEN = "If it is open in JupyterLab: File, Reload Notebook from Disk"


def _chosen(notebook: str, workspace: Path | None, notebooks: Path | None) -> tuple[Path, str, Path]:
    released = released_notebooks(notebooks)
    wanted = Path(notebook).name.removesuffix(".ipynb")
    slug = next((slug for slug in released if wanted in (slug, slug[:2], slug[:2].lstrip("0"))), None)
    if slug is None:
        have = ", ".join(name[:2] for name in released) or "none yet"
        raise WorkspaceError(f"there is no notebook {notebook!r}; notebooks: {have}")
    folder = (workspace or default_workspace()).expanduser().resolve()
    if not (folder / MARKER).is_file():
        raise WorkspaceError(f"there is no workspace in {folder}; `attention lab` makes one")
    return folder, slug, released[slug]


def _refuse_course_folders(folder: Path) -> None:
    """A marker in or above the course's own folders would make the repository a workspace."""
    own = [ROOT / name for name in ("notebooks", "solutions", "autograder", "tests", ".git")]
    if ROOT.is_relative_to(folder) or any(folder.is_relative_to(part) for part in own):
        raise WorkspaceError(
            f"{folder} cannot be the workspace: it is a folder of the course itself or lies above it; "
            "choose another place with --workspace"
        )


def _read(path: Path) -> Notebook:
    try:
        return checked(json.loads(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        what = "it is empty" if not path.stat().st_size else f"it is not JSON: line {error.lineno}, {error.msg}"
        raise Unreadable(what) from None
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None


def read_notebook(path: Path) -> Notebook:
    """A notebook of the course itself.

    Raises WorkspaceError if the file is damaged.
    """
    try:
        return _read(path)
    except Unreadable as error:
        raise WorkspaceError(f"the course's own {path} is damaged: {error}; fetch the course again") from None


def _place(path: Path, notebook: Notebook) -> None:
    """Write a notebook the way Jupyter does, whole or not at all."""
    write_whole(path, json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _earlier_name(path: Path) -> Path:
    folder = path.parent / EARLIER
    folder.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{path.stem}-{stamp}{f'-{n}' if n > 1 else ''}{path.suffix}" for n in range(1, 10_000))
    return next(folder / name for name in names if not (folder / name).exists())


def _set_aside(path: Path) -> Path:
    """Move a file to `earlier/` under a dated name that was free."""
    return path.rename(_earlier_name(path))


def _keep_copy(path: Path) -> Path | None:
    """Copy a file to `earlier/` under a dated name that was free, byte for byte; None if there is no file.

    A copy rather than a move: a crash before the new version is in place leaves the learner's own where it was.
    """
    if not path.exists():
        return None
    target = _earlier_name(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as out:
            out.write(path.read_bytes())
            out.flush()
            os.fsync(out.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def _sweep(folder: Path, released: dict[str, Path]) -> None:
    """Remove half-written files that a killed command left; the lock is held, so nobody is writing them."""
    for slug in released:
        for left in (*folder.glob(f".{slug}.ipynb.*.tmp"), *(folder / EARLIER).glob(f".{slug}-*.tmp")):
            left.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / f"{MARKER}.lock", timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise WorkspaceError(f"another command is at work in {folder}; try again when it is done") from None


@contextlib.contextmanager
def _explained(doing: str, path: Path, then: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(f"{doing} ({path}): {error.strerror or error}; {then}") from error


def _shown(path: Path | None) -> str:
    """A path as short as it can be said from the current folder."""
    if path is not None and path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    return str(path)
