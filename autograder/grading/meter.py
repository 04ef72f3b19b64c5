"""How much memory the calls of one check take, seen from outside the sandbox.

`memory.py` measures beside the answer, with tools that the answer could change. Here nothing of the inside is asked:
the probe forks for a call whose memory is graded, and Linux says of each process which pages are its own. What lay
ready before, in the kernel, is no help: a forked process that writes to such pages gets copies of its own.
"""

from __future__ import annotations

import contextlib
import threading

import psutil

from autograder.grading.limits import MIB

INTERVAL = 0.004  # seconds between two looks
# What a call takes besides its arrays: the pages of Python objects that it touches, the results it sends.
SLACK = 24 * MIB


class Meter(threading.Thread):
    """Watches the processes below one for as long as the context is open; `peak` is then the most that was added."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="meter", daemon=True)
        self.most = 0
        self._root = psutil.Process(pid)
        self._ended = threading.Event()
        self._before = {process.pid: _resident(process) for process in self._root.children(recursive=True)}

    def __enter__(self) -> Meter:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self.join()

    @property
    def peak(self) -> int:
        """Bytes that the calls held at once, at least: what was seen, less the slack."""
        return max(0, self.most - SLACK)

    def run(self) -> None:
        """Look until the context is left or the processes are gone."""
        while not self._ended.wait(INTERVAL):
            try:
                tree = self._root.children(recursive=True)
            except psutil.Error:
                return
            self.most = max(self.most, sum(map(self._added, tree)))

    def _added(self, process: psutil.Process) -> int:
        """Of a process that was there before, what it grew by; of a new one, the pages that it shares with none."""
        if process.pid in self._before:
            return max(0, _resident(process) - self._before[process.pid])
        with contextlib.suppress(psutil.Error):
            return process.memory_full_info().uss
        return 0


def _resident(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss
    return 0
