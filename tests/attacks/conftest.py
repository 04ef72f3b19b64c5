"""What the attacks need: a sandbox to attack."""

import os

import pytest

from autograder.grading.sandbox import problem


@pytest.fixture(scope="session")
def sandbox_here():
    """A sandbox can be made; where CI runs there must be one, elsewhere what needs it is skipped."""
    reason = problem()
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"no sandbox here: {reason}")
    pytest.skip(f"no sandbox here: {reason}")
