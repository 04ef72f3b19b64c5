"""What several test files share."""

import os
import shutil

import pytest
from toys import TOYS

from autograder import exercise as table

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def toys(monkeypatch):
    """The toy course in the place of the real one."""
    visible = {name: pair[0] for name, pair in TOYS.items()}
    hidden = {name: pair[1] for name, pair in TOYS.items()}
    monkeypatch.setattr(table, "exercises", lambda: visible)
    monkeypatch.setattr(table, "_references", lambda module: hidden)
    return TOYS


@pytest.fixture(scope="module")
def browser():
    """A Chromium, driven by Playwright; where CI runs there must be one."""
    command = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if command is None:
        reason = "no Chromium here: on Debian or Ubuntu, apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=command, args=list(FLAGS))
        yield chromium
        chromium.close()


# Files whose tests share something slow to make, which each process would make anew.
TOGETHER = ("test_class", "test_nbgrader", "test_lab", "test_learner", "test_index")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Keep what shares something slow in one process: an exercise's known mistakes, a class, a server."""
    for item in items:
        exercise = getattr(item, "callspec", None) and item.callspec.params.get("exercise")
        name = getattr(exercise, "id", None) or (item.path.stem if item.path.stem in TOGETHER else None)
        if name:
            item.add_marker(pytest.mark.xdist_group(name))
