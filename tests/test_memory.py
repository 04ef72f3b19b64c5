"""Memory is measured where it can be seen, and an answer that keeps it elsewhere does not pass for a small one."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch

from autograder.exercise import exercises, reference_of
from autograder.memory import measure
from autograder.verdict import run

MEASURED = [
    exercise
    for exercise in exercises().values()
    if "memory" in {check.name for check in exercise.checks} and exercise.kind == "I"
]


def test_the_peak_is_what_was_held_at_once():
    before = np.ones(1 << 20)
    taken = measure(lambda: (np.ones(1 << 20), [np.ones(1 << 19).sum() for _ in range(8)])[0])
    assert 8 << 20 <= taken.peak - (4 << 20) < 9 << 20
    assert len(taken.out) == len(before) and taken.unseen == ""
    assert not tracemalloc.is_tracing()


def test_tracing_that_was_on_stays_on_and_what_was_there_does_not_count():
    tracemalloc.start()
    try:
        kept = np.ones(1 << 22)
        assert measure(lambda: np.ones(1 << 10)).peak < 1 << 20 < kept.nbytes
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("call", "reason"),
    [(lambda: torch.ones(1 << 20).sum().item(), "torch was used"), (tracemalloc.stop, "tracemalloc was stopped")],
)
def test_a_peak_that_cannot_be_seen_does_not_count(call, reason):
    assert measure(call).unseen.startswith(reason)


def test_torch_that_the_call_itself_imports_is_noticed():
    code = "from autograder.memory import measure\nprint(measure(lambda: __import__('torch').ones(3)).unseen)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("torch was used")


def test_an_error_of_the_call_is_not_swallowed_and_ends_the_tracing():
    with pytest.raises(ZeroDivisionError):
        measure(lambda: 1 / 0)
    assert not tracemalloc.is_tracing()


@pytest.mark.parametrize("exercise", MEASURED, ids=lambda exercise: exercise.id)
def test_an_answer_that_computes_in_torch_earns_nothing_for_its_memory(exercise):
    reference = reference_of(exercise).reference

    def in_torch(*arguments, **keywords):
        torch.ones(2).sum()
        return reference(*arguments, **keywords)

    verdict = run(exercise.id, in_torch)
    failing = {result.check.name for result in verdict.checks if not result.passed}
    assert "memory" in failing and failing <= {"memory", "memory_follows_the_size"}
    assert "torch was used" in str(verdict)
