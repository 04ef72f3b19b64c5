"""The one training loop of the course: Adam, seeds, early stop, and plain records of what happened."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from autograder.workspace import find_workspace

SHOW_AFTER = 2.0  # seconds; what takes less needs no progress bar
# Any of these says that outputs are kept or compared, where a bar would differ from run to run.
RECORDED = ("CI", "NBGRADER_EXECUTION", "ATTENTION_STANDINS", "PYTEST_VERSION", "PYTEST_CURRENT_TEST")


@dataclass(frozen=True)
class Record:
    """One step: its number from 1, its loss (one number, or one for each seed), and the metric where it was taken."""

    step: int
    loss: float | tuple[float, ...]
    metric: float | None = None


def train(
    model: Any,
    loss_fn: Callable[[Any, Any], torch.Tensor],
    batches: Iterable[Any] | Callable[[np.random.Generator], Iterable[Any]],
    *,
    steps: int | None = None,
    epochs: int | None = None,
    lr: float | Callable[[int], float] = 1e-3,
    seed: int = 0,
    clip: float | None = None,
    metric: Callable[[], float] | None = None,
    every: int = 100,
    patience: int | None = None,
    enough: float | None = None,
    label: str = "training",
) -> list[Record]:
    """Train in place with Adam and return one Record a step.

    model:    a module, or its parameters: a list or a dict of tensors that require a gradient.
    loss_fn:  loss_fn(model, batch) → a scalar; or (S,) for S models trained side by side along a leading axis of every
              parameter. Their losses are summed, so that each gets its own gradient.
    batches:  what one epoch goes over: a list; or a function of a generator, to give each epoch a new order.
    steps, epochs: when to stop, whichever comes first; at least one is given.
    lr:       Adam's rate, or a function of the step from 1.
    clip:     largest norm of the gradient of all parameters together (so not for models side by side).
    metric:   taken every `every` steps, larger is better. Training stops after `patience` times without a new best, and
              once it reaches `enough`.
    The same call on the same start gives the same records: torch's generator is seeded, and torch runs on one thread.
    Raises ValueError without a limit, without batches, and for a loss that is not finite.
    """
    if steps is None and epochs is None:
        raise ValueError(f"{label}: give steps or epochs, or it never ends")
    if metric is None and not (patience is None and enough is None):
        raise ValueError(f"{label}: patience and enough watch a metric, and none was given")
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    module = isinstance(model, torch.nn.Module)
    parameters = list(model.parameters() if module else model.values() if isinstance(model, dict) else model)
    optimizer = torch.optim.Adam(parameters, lr=0.0)
    records: list[Record] = []
    best, waited = -float("inf"), 0
    stream = itertools.islice(_stream(batches, epochs, seed, label), steps)
    with _bar(label, steps, epochs * len(batches) if epochs and isinstance(batches, Sized) else None) as bar:
        for step, batch in enumerate(stream, 1):
            losses = loss_fn(model, batch)
            if not losses.isfinite().all():
                raise ValueError(f"{label}: the loss at step {step} is {losses.tolist()}; try a smaller lr or clip=1.0")
            optimizer.param_groups[0]["lr"] = lr(step) if callable(lr) else lr
            optimizer.zero_grad()
            losses.sum().backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            bar.update()
            score = float(metric()) if metric is not None and step % every == 0 else None
            records.append(Record(step, tuple(losses.tolist()) if losses.ndim else losses.item(), score))
            if score is not None:
                best, waited = (score, 0) if score > best else (best, waited + 1)
                if waited == patience or (enough is not None and score >= enough):
                    break
    return records


def shows_progress() -> bool:
    """Whether someone watches: a terminal, or a kernel in the learner's workspace; never where outputs are recorded."""
    recorded = any(os.environ.get(name) for name in RECORDED)
    return not recorded and (find_workspace(Path.cwd()) is not None if _in_kernel() else sys.stderr.isatty())


def _bar(label: str, *totals: int | None) -> tqdm:
    """A bar for the smaller total. In a kernel it is on stdout: stderr costs an nbgrader test cell its points."""
    total = min((one for one in totals if one is not None), default=None)
    file = sys.stdout if _in_kernel() else sys.stderr
    return tqdm(total=total, desc=label, disable=not shows_progress(), file=file, delay=SHOW_AFTER, leave=False)


def _in_kernel() -> bool:
    return type(sys.stdout).__module__.startswith("ipykernel")


def _stream(batches: Any, epochs: int | None, seed: int, label: str) -> Iterator[Any]:
    """The batches of all epochs; without a number of epochs they never end."""
    rng = np.random.default_rng(seed)
    for _ in itertools.count() if epochs is None else range(epochs):
        empty = True
        for batch in batches(rng) if callable(batches) else batches:
            empty = False
            yield batch
        if empty:
            raise ValueError(f"{label}: an epoch has no batches; give a list or a function, an iterator runs out")
