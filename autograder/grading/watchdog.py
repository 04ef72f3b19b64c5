"""A thread that looks at everything a sandbox runs, and kills all of it once it uses more than it may.

The limits that Linux keeps by process (`ulimit`) do not see a thousand small ones, and cgroups are not to be had
everywhere; the sum over the tree of processes is. Killing bubblewrap kills the sandbox whole: its first process goes,
and with it, in the kernel, every other process of its namespace.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import psutil

from autograder.grading.limits import MIB, Limits

INTERVAL = 0.05  # seconds between two looks
SHARED_FILES = 64  # entries of the shared folder; it holds five sockets and a file
SHARED_BYTES = 4 * MIB


class Watchdog(threading.Thread):
    """Watches one sandbox until it ends; `reason` then says why it was killed, or is empty."""

    def __init__(self, pid: int, shared: Path, limits: Limits) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.reason = ""
        self.peak = 0
        self._process, self._shared, self._limits = psutil.Process(pid), shared, limits
        self._ended = threading.Event()

    def stop(self) -> None:
        """End the watch."""
        self._ended.set()

    def run(self) -> None:
        """Look until the sandbox is gone or the watch is stopped."""
        while not self._ended.wait(INTERVAL):
            try:
                reason = self._too_much()
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                return
            if reason:
                self.reason = reason
                self.kill()
                return

    def kill(self) -> None:
        """End every process of the sandbox."""
        with contextlib.suppress(psutil.Error):
            for process in [*self._process.children(recursive=False), self._process]:
                process.kill()

    def _too_much(self) -> str:
        tree = self._process.children(recursive=True)
        memory = tasks = 0
        for process in tree[: 2 * self._limits.processes]:
            with contextlib.suppress(psutil.Error):
                memory += process.memory_info().rss
                tasks += process.num_threads()
        self.peak = max(self.peak, memory)
        if memory > self._limits.memory:
            return f"ran out of memory: it used more than {self._limits.memory // MIB} MiB"
        if max(tasks, len(tree)) > self._limits.processes:
            return f"started more than {self._limits.processes} processes and threads"
        return self._shared_too_full()

    def _shared_too_full(self) -> str:
        size = 0
        with os.scandir(self._shared) as entries:
            for count, entry in enumerate(entries):
                if count >= SHARED_FILES:
                    return "filled the folder of its sockets"
                with contextlib.suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_size
                    if entry.is_dir(follow_symlinks=False):
                        return "made folders where its sockets are"
        return "filled the folder of its sockets" if size > SHARED_BYTES else ""
