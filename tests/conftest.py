"""What several test files share."""

import pytest
from toys import TOYS

from autograder import exercise as table


@pytest.fixture
def toys(monkeypatch):
    """The toy course in the place of the real one."""
    visible = {name: pair[0] for name, pair in TOYS.items()}
    hidden = {name: pair[1] for name, pair in TOYS.items()}
    monkeypatch.setattr(table, "exercises", lambda: visible)
    monkeypatch.setattr(table, "_references", lambda module: hidden)
    return TOYS
