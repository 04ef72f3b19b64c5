"""Judging an answer file again whenever it is saved, for people who live in an editor."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path

from autograder.exercise import exercises

INTERVAL = 0.3  # seconds between two looks at the file


def changes(path: Path, interval: float = INTERVAL) -> Iterator[None]:
    """Yield at once, then each time the file has changed; a file that is gone for a moment is waited for."""
    seen: tuple[int, int] | None = None
    while True:
        try:
            found = path.stat()
        except FileNotFoundError:  # editors replace a file by renaming another over it
            found = None
        if found is not None and (found.st_mtime_ns, found.st_size) != seen:
            seen = (found.st_mtime_ns, found.st_size)
            yield
        time.sleep(interval)


def defined_exercises(path: Path) -> list[str]:
    """The exercises whose names a Python file binds at its top level, in the course's order.

    A file that does not parse may be a name half written: then every exercise whose name occurs in it.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return [name for name in exercises() if name in text]
    bound = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
        bound |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return [name for name in exercises() if name in bound]
