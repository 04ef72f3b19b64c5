"""Where there can be no sandbox nothing is graded by accident, and what is graded without one says so."""

import os
import subprocess
import sys

import pytest
from slim import LIMITS, RIGHT, ROOT, SECRET, SLUG, slim, submission

from autograder.exercise import find
from autograder.grading import sandbox
from autograder.grading.glue import UNSANDBOXED, refuse_without_sandbox
from autograder.grading.submission import grade


@pytest.fixture
def no_bwrap(tmp_path, monkeypatch):
    """A PATH on which there is everything but bubblewrap."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(UNSANDBOXED, raising=False)


@pytest.fixture
def forbidden(tmp_path, monkeypatch):
    """A bubblewrap that may not make namespaces, as on Ubuntu 24.04 or in a container."""
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    monkeypatch.delenv(UNSANDBOXED, raising=False)


def test_without_bubblewrap_grading_stops_and_says_how_to_get_it(no_bwrap):
    assert "apt-get install bubblewrap" in sandbox.problem()
    with pytest.raises(Exception, match=r"apt-get install bubblewrap.*ATTENTION_UNSANDBOXED=1"):
        refuse_without_sandbox()
    with pytest.raises(sandbox.NoSandbox, match="bubblewrap"):
        grade(slim(), "ana", submission(RIGHT), SECRET, LIMITS)


def test_a_forbidden_bubblewrap_is_told_apart_with_the_cause_and_the_remedy(forbidden):
    said = sandbox.problem()
    assert "uid map: Permission denied" in said
    assert "apparmor_restrict_unprivileged_userns" in said and "container" in said


def test_the_command_ends_with_the_reason_and_exit_code_2(no_bwrap):
    command = [sys.executable, "-m", "autograder.cli", "grade", SLUG]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "apt-get install bubblewrap" in done.stderr and "--unsandboxed" in done.stderr


def test_without_a_sandbox_on_purpose_it_grades_and_says_so(no_bwrap):
    found = grade(slim(), "ana", submission(RIGHT), SECRET, LIMITS, sandboxed=False)
    assert found.verdicts["softmax"].points == find("softmax").points
    assert "it was run without the sandbox: its results rest on trust" in found.notes
    shown = next(cell for cell in found.notebook.cells if cell.id.startswith("check_")).outputs[0].data["text/html"]
    assert "without the sandbox" in shown
