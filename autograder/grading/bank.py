"""Implementations for the tests that learners write, answering from outside the sandbox: arrays in, arrays out.

In the sandbox they would lie open: their names and their code say which are right. Here they are numbers, in an order
of their own, and all that a test can do is call them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autograder import plain
from autograder.calling import realise
from autograder.exercise import Built, Exercise
from autograder.plain import to_plain

MAX_REQUEST = 4 << 20  # bytes
MAX_AXIS = 256
MAX_SIZE = 1 << 16  # numbers in one array
MAX_CALLS = 20_000
PATIENCE = 10.0  # seconds for one side of a call


class Bank(threading.Thread):
    """Serves calls at a socket until it is closed; a context manager."""

    def __init__(self, path: Path, exercise: Exercise, members: list[Built]) -> None:
        super().__init__(name="bank", daemon=True)
        self._exercise, self._members, self._calls = exercise, members, 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = path
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))
        self._socket.listen(16)

    def __enter__(self) -> Bank:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.join(2 * PATIENCE)
        self._path.unlink(missing_ok=True)

    def run(self) -> None:
        """Answer one call after another."""
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(PATIENCE)
                connection.sendall(plain.dumps(self._answer(connection)))

    def _answer(self, connection: socket.socket) -> dict[str, Any]:
        self._calls += 1
        try:
            if self._calls > MAX_CALLS:
                raise RuntimeError(f"called more than {MAX_CALLS} times")
            handle, arguments, keywords = plain.loads(_read(connection))
            _small(arguments, keywords)
            built = self._members[handle]
            function = self._exercise.builders[built.name](**_realised(built.params, self._exercise))
            given = _realised(keywords, self._exercise)
            with np.errstate(all="ignore"):
                value = function(*(realise(item, self._exercise) for item in arguments), **given)
            return {"value": to_plain(value), "error": None}
        except Exception as error:  # whatever a test's arguments lead to is the test's to hear of
            return {"value": None, "error": (type(error).__name__, str(error)[:500])}


def _realised(items: Any, exercise: Exercise) -> dict[str, Any]:
    return {str(name): realise(item, exercise) for name, item in items.items()}


def _read(connection: socket.socket) -> bytes:
    parts, size = [], 0
    while part := connection.recv(1 << 16):
        size += len(part)
        if size > MAX_REQUEST:
            raise ValueError(f"arguments of more than {MAX_REQUEST} bytes")
        parts.append(part)
    return b"".join(parts)


def _small(*items: Any) -> None:
    for array in _arrays(items):
        if array.size > MAX_SIZE or max(array.shape, default=0) > MAX_AXIS:
            raise ValueError(f"an array of shape {array.shape}; here an axis has at most {MAX_AXIS} entries")


def _arrays(item: Any) -> Iterator[np.ndarray]:
    if isinstance(item, np.ndarray):
        yield item
    elif isinstance(item, (tuple, list)):
        for part in item:
            yield from _arrays(part)
    elif isinstance(item, dict):
        yield from _arrays(list(item.values()))
