"""The learner's record: a small plain file in the workspace.

It says of each exercise what the last check found, the best points so far, how many checks and hints there were, and
whether the model answer was shown. Only checks under a workspace are recorded. Two kernels may write at once (a lock
file), and a crash leaves the old record or the new one (written beside, then renamed). A record that cannot be read is
set aside under another name, never deleted.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from autograder.exercise import Exercise
from autograder.verdict import Verdict

NAME = "progress.json"
VERSION = 1


@dataclass(frozen=True)
class Entry:
    """What is recorded of one exercise.

    status: of the last check. points: the best so far. checks, hints: how many. shown: whether the model answer was
    asked for before a pass. prediction: for predictions, whether the first one was right.
    """

    status: str = "not_attempted"
    points: int = 0
    checks: int = 0
    hints: int = 0
    shown: bool = False
    passed: bool = False
    prediction: bool | None = None


class Record:
    """The record of one workspace."""

    def __init__(self, workspace: Path) -> None:
        self.path = workspace / NAME
        self.set_aside: Path | None = None  # where an unreadable record went

    def entries(self) -> dict[str, Entry]:
        """Every entry by exercise id; an unreadable file is set aside and counts as empty."""
        try:
            return self._parse(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError):
            with contextlib.suppress(FileNotFoundError):  # another kernel may have set it aside in the meantime
                self.set_aside = set_aside(self.path)
            return {}

    @staticmethod
    def _parse(text: str) -> dict[str, Entry]:
        known = {field.name for field in fields(Entry)}
        found = json.loads(text)["exercises"]
        return {name: Entry(**{k: v for k, v in entry.items() if k in known}) for name, entry in found.items()}

    def entry(self, exercise_id: str) -> Entry:
        """The entry of one exercise, blank if there is none yet."""
        return self.entries().get(exercise_id, Entry())

    def note_check(self, exercise: Exercise, status: str, points: int) -> Entry:
        """Record what a check found; points never fall, and a pass stays one."""

        def update(entry: Entry) -> Entry:
            if status == "not_attempted":
                return replace(entry, status=entry.status if entry.checks else status)
            right = status == "passed"
            first = right if exercise.kind == "P" and entry.prediction is None else entry.prediction
            return replace(
                entry,
                status=status,
                points=max(entry.points, points),
                checks=entry.checks + 1,
                passed=entry.passed or right or exercise.kind in ("P", "R"),
                prediction=first,
            )

        return self._change(exercise.id, update)

    def note_hint(self, exercise_id: str, count: int) -> Entry:
        """Record that `count` hints have been seen."""
        return self._change(exercise_id, lambda entry: replace(entry, hints=max(entry.hints, count)))

    def note_shown(self, exercise_id: str) -> Entry:
        """Record that the model answer was shown before a pass."""
        return self._change(exercise_id, lambda entry: replace(entry, shown=True))

    def _change(self, exercise_id: str, update: Any) -> Entry:
        with self._locked():
            entries = self.entries()
            entries[exercise_id] = update(entries.get(exercise_id, Entry()))
            data = {"version": VERSION, "exercises": {name: asdict(entry) for name, entry in sorted(entries.items())}}
            write_whole(self.path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
            return entries[exercise_id]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with FileLock(self.path.with_name(f".{NAME}.lock"), timeout=10):
            yield


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Rename a file to a dated name beside it that does not exist yet; returns the new path."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        target = path.with_name(f"{path.stem}.aside-{stamp}{suffix}{path.suffix}")
        if not target.exists():
            path.rename(target)
            return target
    raise FileExistsError(f"a thousand copies of {path} were set aside within a second")


def graded() -> bool:
    """Whether this is an instructor's run: then nothing is recorded and nothing comes from the learner's library."""
    return bool(os.environ.get("NBGRADER_EXECUTION") or os.environ.get("ATTENTION_STANDINS"))


def current(look_around: bool = False) -> Record | None:
    """The record of the workspace above the current folder; None outside one and in graded runs.

    look_around: elsewhere too, the workspace that `attention lab` opens, for commands typed anywhere.
    """
    from autograder.workspace import MARKER, WorkspaceError, default_workspace, find_workspace

    if graded():
        return None
    workspace = find_workspace(Path.cwd())
    if workspace is None and look_around:
        with contextlib.suppress(WorkspaceError):
            workspace = default_workspace()
    return Record(workspace) if workspace and (workspace / MARKER).is_file() else None


def remember_file(verdict: Verdict, path: Path) -> Verdict:
    """Record the verdict on an answer file where the command runs in a workspace; a passed one joins the library."""
    return remember(verdict, None, [path.read_text(encoding="utf-8", errors="replace")])


def remember(verdict: Verdict, answer: Any, cells: list[str] | None = None) -> Verdict:
    """Record a verdict where there is a workspace, and return it with a line on what was kept.

    cells: the source that defines the answer; None is what ran in this kernel.
    """
    record = current()
    if record is None:
        return verdict
    exercise = verdict.exercise
    try:
        entry = record.note_check(exercise, verdict.status, verdict.points)
    except (OSError, TimeoutError) as error:  # a full disk or a lock that stays: the verdict still stands
        return replace(verdict, note=f"{verdict.note} (not recorded: {error})".strip())
    notes = [verdict.note] if verdict.note else []
    if record.set_aside:
        notes.append(f"the record could not be read; it is kept as {record.set_aside.name}, and a new one begins")
    if exercise.kind == "P" and verdict.status != "not_attempted":
        made = [found.prediction for found in record.entries().values() if found.prediction is not None]
        if entry.checks > 1:
            notes.append("the first prediction is the one that counts")
        notes.append(f"{sum(made)} of {len(made)} predictions as measured so far")
    if verdict.status == "passed" and not exercise.takes_value:
        from autograder.mine import save, save_passed

        workspace = record.path.parent
        line = save(exercise, answer, cells, workspace) if cells else save_passed(exercise, answer, workspace)
        notes += [line] if line else []
    return replace(verdict, note=" · ".join(notes))
