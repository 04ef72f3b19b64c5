"""The tests' own power: with a fault planted in the engine, the tests generated from the table fail."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from planted import FAULTS

HERE = Path(__file__).parent


def _run(fault):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "planted", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # Of the table one exercise will do: a fault of the engine does not depend on which.
    command += ["-o", "addopts=", "test_exercises.py", "test_compare.py", "test_verdict.py"]
    command += ["-k", "(test_exercises and softmax and not jacobian) or test_compare or test_verdict"]
    environment = os.environ | {"PLANTED_FAULT": fault, "PYTHONPATH": str(HERE)}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    return subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault):
    done = _run(fault)
    assert done.returncode == 1, done.stdout[-2000:]
    assert re.search(r"\b1 failed", done.stdout), done.stdout[-2000:]
