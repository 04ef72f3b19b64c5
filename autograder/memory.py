"""How much memory a call takes: for the checks of notebooks 10 and 11, beside the learner's code.

tracemalloc sees the buffers of NumPy and not those of torch, so an answer that computed in torch is not measured, and
says so.
"""

from __future__ import annotations

import contextlib
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Taken:
    """What a call returned, and what it took.

    peak:   the most bytes held at once during the call, on top of what was there before.
    unseen: why the peak does not count; empty if it does.
    """

    out: Any
    peak: int
    unseen: str


def measure(call: Callable[[], Any]) -> Taken:
    """Call, and measure; tracing that was on before stays on."""
    traced_before = tracemalloc.is_tracing()
    if not traced_before:
        tracemalloc.start()
    try:
        with _torch_watched() as torch_used:
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            out = call()
            stopped = not tracemalloc.is_tracing()
            peak = max(tracemalloc.get_traced_memory()[1] - held, 0)
    finally:
        if not traced_before:
            tracemalloc.stop()
    unseen = "torch was used" if torch_used else "tracemalloc was stopped" if stopped else ""
    return Taken(out, peak, f"{unseen}, and tracemalloc sees the buffers of NumPy alone" if unseen else "")


@contextlib.contextmanager
def _torch_watched() -> Iterator[list[bool]]:
    """A list that is no longer empty once torch has computed something; torch is not imported for it."""
    used: list[bool] = []
    if "torch" not in sys.modules:
        yield used
        if "torch" in sys.modules:  # imported by the call itself, which is hardly for nothing
            used.append(True)
        return
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            used.append(True)
            return func(*args, **(kwargs or {}))

    with Watch():
        yield used
