"""The learner's record: what is kept, what two kernels and a crash do to it, and the table made from it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import autograder
from autograder.exercise import exercises
from autograder.overview import overview
from autograder.record import NAME, Record, write_whole
from autograder.workspace import MARKER


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    (tmp_path / MARKER).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    return tmp_path


def wrong(x, axis=-1):
    return x


def right(x, axis=-1):
    import numpy as np

    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def test_checks_in_a_workspace_are_recorded_and_points_never_fall(workspace):
    autograder.check("softmax", wrong)
    autograder.check("softmax", right)
    autograder.check("softmax", wrong)
    entry = Record(workspace).entry("softmax")
    assert (entry.status, entry.points, entry.checks, entry.passed) == ("wrong", exercises()["softmax"].points, 3, True)


def test_nothing_is_written_outside_a_workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    autograder.check("softmax", wrong)
    autograder.hint("softmax")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_in_an_instructors_run(workspace, monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    autograder.check("softmax", wrong)
    autograder.hint("softmax")
    assert [path.name for path in workspace.iterdir()] == [MARKER]


def test_a_stub_is_no_attempt(workspace):
    def stub(x, axis=-1):
        raise NotImplementedError

    autograder.check("softmax", stub)
    assert Record(workspace).entry("softmax").checks == 0


def test_the_first_prediction_is_the_one_that_counts(workspace):
    first = autograder.check("equal_scores", (1.0,) * 5)
    second = autograder.check("equal_scores", (0.2,) * 5)
    assert "0 of 1 predictions as measured so far" in first.note
    assert "the first prediction is the one that counts" in second.note and "0 of 1" in second.note
    assert overview(Record(workspace)).predictions == (0, 1)


def test_hints_go_on_where_they_stopped_in_another_kernel(workspace):
    hints = exercises()["softmax"].hints
    assert autograder.hint("softmax").text == hints[0]
    code = "import autograder; print(autograder.hint('softmax').text)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == hints[1]
    )
    assert [autograder.hint("softmax").text for _ in range(2)] == [hints[2], hints[2]]
    assert Record(workspace).entry("softmax").hints == 3


def test_show_me_is_remembered_only_before_a_pass(workspace):
    autograder.hint("softmax", show_me=True)
    assert Record(workspace).entry("softmax").shown
    autograder.check("softmax", right)
    assert "model answer" in autograder.hint("softmax").title


@pytest.mark.parametrize("content", ["", "{", '{"exercises": 3}', '{"exercises": {"softmax": []}}', "[]", "\x00\xff"])
def test_a_record_that_cannot_be_read_is_set_aside_and_said(workspace, content):
    (workspace / NAME).write_text(content, encoding="latin-1")
    verdict = autograder.check("softmax", right)
    assert verdict.status == "passed" and "could not be read" in verdict.note
    kept = [path for path in workspace.iterdir() if ".aside-" in path.name]
    assert [path.read_text(encoding="latin-1") for path in kept] == [content]
    assert Record(workspace).entry("softmax").passed


def test_a_record_of_a_later_version_keeps_what_is_known(workspace):
    entry = {"status": "passed", "points": 6, "passed": True, "a_later_field": 1}
    (workspace / NAME).write_text(json.dumps({"version": 9, "exercises": {"softmax": entry, "of_later": entry}}))
    autograder.check("equal_scores", (0.2,) * 5)
    assert Record(workspace).entry("softmax").passed and Record(workspace).entry("of_later").passed


NOTE_MANY = """
import sys
from pathlib import Path
from autograder.exercise import exercises
from autograder.record import Record
record = Record(Path(sys.argv[1]))
for _ in range(40):
    record.note_check(exercises()["softmax"], "wrong", 0)
"""


def test_two_kernels_at_once_lose_no_check(workspace):
    children = [subprocess.Popen([sys.executable, "-c", NOTE_MANY, str(workspace)]) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    assert Record(workspace).entry("softmax").checks == 80


def test_a_kill_in_the_middle_of_writing_leaves_a_whole_record(workspace):
    Record(workspace).note_check(exercises()["equal_scores"], "passed", 1)
    child = subprocess.Popen([sys.executable, "-c", NOTE_MANY.replace("range(40)", "range(10**6)"), str(workspace)])
    deadline = time.monotonic() + 30
    while Record(workspace).entry("softmax").checks < 20 and time.monotonic() < deadline:
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    entries = Record(workspace).entries()
    assert entries["softmax"].checks >= 20 and entries["equal_scores"].passed
    Record(workspace).note_check(exercises()["softmax"], "passed", 6)  # the dead kernel's lock does not hold
    assert Record(workspace).entry("softmax").passed


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "record"
    target.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        write_whole(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_record_that_cannot_be_written_does_not_cost_the_verdict(workspace, monkeypatch):
    monkeypatch.setattr("autograder.record.write_whole", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    verdict = autograder.check("softmax", right)
    assert verdict.status == "passed" and "not recorded: disk full" in verdict.note


def test_threads_of_one_kernel_lose_no_check(workspace):
    record = Record(workspace)
    threads = [
        threading.Thread(
            target=lambda: [Record(workspace).note_check(exercises()["softmax"], "wrong", 0) for _ in range(10)]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert record.entry("softmax").checks == 40


def test_the_table_says_what_is_next_and_how_long_it_takes(workspace):
    autograder.check("softmax", right)
    table = overview(Record(workspace))
    first = table.rows[0]
    assert first.number == "01" and first.points == exercises()["softmax"].points and first.next_id != "softmax"
    rest = [e for e in exercises().values() if e.notebook == first.notebook and e.id != "softmax"]
    assert first.minutes_left == sum(exercise.minutes for exercise in rest)
    assert f"next: {first.next_id} in notebook 01" in str(table)
    html = autograder.progress()._repr_mimebundle_()["text/html"]
    assert first.title in html and "<script" not in html


REFLECTIONS = [exercise for exercise in exercises().values() if exercise.kind == "R"]


@pytest.mark.parametrize("exercise", REFLECTIONS, ids=lambda exercise: exercise.id)
def test_a_reflection_keeps_the_text_and_then_shows_the_model_answer(exercise, workspace):
    blank = autograder.reflect(exercise.id, "  \n")
    assert blank.model is None and not Record(workspace).entry(exercise.id).passed
    own = "because <b>weights</b> are & remain an average"
    shown = autograder.reflect(exercise.id, own)
    assert shown.model and len(shown.model) > 80
    assert own in str(shown) and shown.model in str(shown)
    html = shown._repr_mimebundle_()["text/html"]
    assert "&lt;b&gt;weights&lt;/b&gt; are &amp; remain" in html and "<b>weights" not in html
    assert all(check.wanted in str(shown) for check in exercise.checks)
    assert Record(workspace).entry(exercise.id).passed


def test_a_reflection_that_is_no_text_is_refused_with_what_to_do():
    if not REFLECTIONS:
        pytest.skip("no notebook has a reflection yet")
    with pytest.raises(TypeError, match="one string between the quotes"):
        autograder.reflect(REFLECTIONS[0].id, 3)
