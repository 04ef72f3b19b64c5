"""The command `attention`: its verdicts, its exit codes, and what it says when it is used wrongly."""

import ast
import json
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from autograder.exercise import exercises
from autograder.record import Record
from autograder.solutions import model_answer
from autograder.workspace import MARKER

REPO = Path(__file__).resolve().parent.parent

RIGHT = """
import numpy as np
def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)
"""
SWALLOWS = """
def softmax(x, axis=-1):
    while True:
        try:
            while True: pass
        except BaseException: pass
"""
THREAD = """
import threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
def softmax(x, axis=-1): return x
"""
LIAR = """
print('{"status": "passed"}')
def softmax(x, axis=-1):
    print('{}')
    return x
"""


def _body(body, before=""):
    return f"{before}\ndef softmax(x, axis=-1):\n    {body}\n"


# exercise, file, exit code, status
ANSWERS = {
    "right": ("softmax", RIGHT, 0, "passed"),
    "overflow": ("softmax", RIGHT.replace(" - x.max(axis, keepdims=True)", ""), 1, "partial"),
    "nonsense": ("softmax", _body("return x"), 1, "wrong"),
    "stub": ("softmax", _body("raise NotImplementedError"), 1, "not_attempted"),
    "error": ("softmax", _body("return x / undefined"), 1, "error"),
    "syntax": ("softmax", "def softmax(x:\n", 1, "error"),
    "import": ("softmax", "import no_such_module\n", 1, "error"),
    "missing": ("softmax", "def soft_max(x):\n    return x\n", 1, "error"),
    "not callable": ("softmax", "softmax = 3\n", 1, "error"),
    "exit on import": ("softmax", "raise SystemExit(0)\n", 1, "error"),
    "hard exit on import": ("softmax", "import os\nos._exit(0)\n", 1, "error"),
    "hard exit in the call": ("softmax", _body("os._exit(0)", "import os"), 1, "error"),
    "segfault": ("softmax", _body("ctypes.string_at(0)", "import ctypes"), 1, "error"),
    "endless": ("softmax", _body("while True: pass"), 1, "timeout"),
    "endless import": ("softmax", "while True: pass\n", 1, "timeout"),
    "swallows everything": ("softmax", SWALLOWS, 1, "timeout"),
    "prints JSON": ("softmax", LIAR, 1, "wrong"),
    "leaves a thread": ("softmax", THREAD, 1, "wrong"),
    "prediction": ("equal_scores", "equal_scores = [0.2] * 5\n", 0, "passed"),
    "wrong prediction": ("equal_scores", "equal_scores = (1.0,) * 5\n", 1, "wrong"),
    "no prediction": ("equal_scores", "equal_scores = ...\n", 1, "not_attempted"),
}


def attention(*arguments, cwd=None):
    command = [sys.executable, "-m", "autograder.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_file_gets_the_documented_json_and_exit_code(case, tmp_path):
    exercise_id, source, code, status = ANSWERS[case]
    file = tmp_path / "answer.py"
    file.write_text(source)
    limit = ["--time-limit", "2"] if status == "timeout" else []
    done = attention("try", exercise_id, file, "--json", *limit)
    verdict = json.loads(done.stdout)
    exercise = exercises()[exercise_id]
    assert (verdict["status"], done.returncode) == (status, code), done.stdout + done.stderr
    assert list(verdict) == ["exercise", "status", "points", "max_points", "checks", "diagnoses"]
    assert verdict["exercise"] == exercise_id and verdict["max_points"] == exercise.points
    assert [check["name"] for check in verdict["checks"]] == [check.name for check in exercise.checks]
    assert sum(check["points"] for check in verdict["checks"]) == verdict["points"]
    assert (verdict["points"] == exercise.points) == (status == "passed")
    assert all(list(check) == ["name", "passed", "points", "max_points", "message"] for check in verdict["checks"])
    if status in ("wrong", "error", "partial"):
        assert any(check["message"] for check in verdict["checks"])


# One exercise of each notebook: that every model answer passes in its notebook is seen by the build and by nbval.
LAST = {exercise.notebook: name for name, exercise in exercises().items() if exercise.kind not in "PR"}


def _answer_file(notebook):
    """The imports of a notebook and its model answers."""
    cells = nbformat.read(REPO / "solutions" / notebook / f"{notebook}.ipynb", as_version=4).cells
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    imports = [
        ast.unparse(node) for tree in trees for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    mine = [exercise for exercise in exercises().values() if exercise.notebook == notebook and exercise.kind != "R"]
    return "\n".join([*imports, *map(model_answer, mine)]) + "\n"


@pytest.mark.parametrize("name", LAST.values())
def test_a_file_of_a_notebooks_model_answers_passes(name, tmp_path):
    file = tmp_path / "answer.py"
    file.write_text(_answer_file(exercises()[name].notebook))
    done = attention("try", name, file, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["points"] == exercises()[name].points


def test_a_written_answer_is_not_judged_and_says_so(tmp_path):
    file = tmp_path / "answer.py"
    file.write_text("reflection_01 = 'text'\n")
    done = attention("try", "reflection_01", file)
    assert done.returncode == 2 and "written answer" in done.stderr


def test_the_mistake_is_named_in_words_and_as_json(tmp_path):
    file = tmp_path / "answer.py"
    file.write_text(ANSWERS["overflow"][1])
    done = attention("try", "softmax", file)
    assert done.returncode == 1 and "because" in done.stdout and "called" in done.stdout
    verdict = json.loads(attention("try", "softmax", file, "--json").stdout)
    assert [found["name"] for found in verdict["diagnoses"]] and verdict["diagnoses"][0]["message"]


def test_a_file_that_lacks_the_name_says_what_it_has(tmp_path):
    file = tmp_path / "answer.py"
    file.write_text(ANSWERS["missing"][1])
    out = attention("try", "softmax", file).stdout
    assert "answer.py defines no softmax; it defines soft_max; did you mean soft_max?" in out


def test_helpers_beside_the_answer_file_can_be_imported(tmp_path):
    (tmp_path / "helpers_of_mine.py").write_text("from numpy import exp\n")
    file = tmp_path / "answer.py"
    file.write_text(
        "from helpers_of_mine import exp\ndef softmax(x, axis=-1):\n    e = exp(x - x.max(axis, keepdims=True))\n"
        "    return e / e.sum(axis, keepdims=True)\nif __name__ == '__main__':\n    raise SystemExit('not now')\n"
    )
    assert attention("try", "softmax", file).returncode == 0


def test_in_a_workspace_an_answer_file_counts_as_a_check_does(tmp_path):
    (tmp_path / MARKER).touch()
    file = tmp_path / "answer.py"
    file.write_text(ANSWERS["nonsense"][1])
    assert attention("try", "softmax", file, cwd=tmp_path).returncode == 1
    file.write_text(RIGHT)
    assert "mine.softmax is now your own code" in attention("try", "softmax", file, cwd=tmp_path).stdout
    entry = Record(tmp_path).entry("softmax")
    assert entry.passed and entry.checks == 2
    assert "def softmax" in (tmp_path / "my_attention" / "softmax.py").read_text()


MISUSED = [
    (["try", "sofmax", "{file}"], "did you mean softmax"),
    (["try", "softmax", "nowhere.py"], "nowhere.py"),
    (["try", "softmax"], "FILE"),
    (["try", "softmax", "{file}", "--seed", "-1"], "--seed"),
    (["hint", "sofmax"], "did you mean softmax"),
    (["status", "77"], "no notebook 77"),
    (["nonsense"], "nonsense"),
]


@pytest.mark.parametrize(
    ("arguments", "words"), MISUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_use_is_exit_code_2_and_one_clear_line(arguments, words, tmp_path):
    file = tmp_path / "answer.py"
    file.write_text("softmax = 1\n")
    done = attention(*(part.format(file=file) for part in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr


def test_a_fault_of_the_program_is_exit_code_3_with_its_traceback(monkeypatch, capsys):
    from autograder import cli

    monkeypatch.setattr(sys, "argv", ["attention", "status"])
    monkeypatch.setattr("autograder.overview.overview", lambda record: 1 / 0)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 3
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["lab", "try", "status", "hint", "build", "reset", "update", "doctor", "watch"])
def test_every_command_explains_itself(command):
    done = attention(command, "--help")
    assert done.returncode == 0
    assert "Usage: attention" in done.stdout and len(done.stdout.splitlines()) > 4


def test_hints_come_one_at_a_time_and_the_model_answer_only_on_request(tmp_path):
    exercise = exercises()["softmax"]
    first = attention("hint", "softmax", cwd=tmp_path).stdout
    assert exercise.hints[0] in first and exercise.hints[1] not in first and exercise.hints[2] not in first


def test_status_without_a_workspace_says_where_the_record_would_be(tmp_path):
    done = attention("status", cwd=tmp_path)
    assert done.returncode == 0
    assert "attention lab" in done.stdout and "01" in done.stdout
    assert "softmax" in attention("status", "01", cwd=tmp_path).stdout


def test_doctor_finds_this_installation_in_order():
    done = attention("doctor")
    assert "ok       python" in done.stdout and "numpy" in done.stdout
    assert done.returncode == 0, done.stdout


def test_watch_judges_the_file_again_when_it_is_saved(tmp_path):
    file = tmp_path / "answer.py"
    file.write_text(ANSWERS["nonsense"][1])
    command = [sys.executable, "-u", "-m", "autograder.cli", "watch", str(file)]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    seen = []
    try:
        deadline = time.monotonic() + 40
        for line in watcher.stdout:
            seen.append(line)
            if "softmax · not yet" in line and len(seen) < 5:
                file.write_text(ANSWERS["right"][1])
            if "softmax · passed" in line or time.monotonic() > deadline:
                break
    finally:
        watcher.kill()
        watcher.wait()
    assert any("softmax · not yet" in line for line in seen) and "softmax · passed" in seen[-1]


def test_importing_the_package_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys, autograder; print([m for m in ('torch', 'matplotlib', 'jupytext', 'IPython') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
