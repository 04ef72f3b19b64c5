"""What one submission may use. One record, read by the sandbox, the watchdog and the runner."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of one submission; times in seconds, sizes in bytes.

    memory:     resident memory of all its processes together.
    processes:  processes and threads at one time, all together.
    cpu:        processor time of one process.
    exercise:   wall time of one check: all calls of one answer.
    cell:       wall time of a cell that the student wrote.
    given:      wall time of a cell of the release; those that train are not run.
    total:      wall time of the whole submission, restarts included.
    file:       size of one file it writes.
    disk:       size of each of its private folders (they are in memory).
    open_files: open files of one process.
    output:     bytes that one cell may print or show; what is more is cut.
    result:     bytes that one check may send back.
    restarts:   fresh kernels after a crash or a hang.
    """

    memory: int = 3072 * MIB
    processes: int = 256
    cpu: int = 600
    exercise: float = 60.0
    cell: float = 60.0
    given: float = 30.0
    total: float = 900.0
    file: int = 64 * MIB
    disk: int = 128 * MIB
    open_files: int = 512
    output: int = MIB // 2
    result: int = 32 * MIB
    restarts: int = 12
