"""nbgrader, plainly: a class of five goes through every command, and each score and page is as it should be."""

import contextlib
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from html import unescape
from pathlib import Path

import nbformat
import numpy as np
import pytest

from autograder.exercise import exercises, reference_of
from autograder.grading import sandbox
from autograder.grading.glue import UNSANDBOXED
from autograder.regions import answered
from autograder.verdict import run

REPO = Path(__file__).resolve().parent.parent
SLUG = "01_what_is_attention"
NOTEBOOK = f"{SLUG}.ipynb"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nbgrader has no exchange on Windows")

# Runs each command as the shell would, in a process of its own, but imports nbgrader only once: that takes seconds.
# The commands of a group run at the same time.
DRIVER = """
import json, os, sys
from pathlib import Path
from nbgrader.apps import NbGraderApp
logs = Path(sys.argv[1])
for group in json.load(sys.stdin):
    running = {}
    for name, folder, argv in group:
        child = os.fork()
        if not child:
            out = os.open(logs / name, os.O_WRONLY | os.O_CREAT)
            os.dup2(out, 1), os.dup2(out, 2)
            os.chdir(folder)
            sys.argv = ["nbgrader", *argv]
            NbGraderApp.launch_instance()
            sys.exit()
        running[child] = name
    for child, name in running.items():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (logs / f"{name}.code").write_text(str(code))
"""

WRONG_SOFTMAX = """
def softmax(x, axis=-1):
    e = np.exp(x - x.max())
    return e / e.sum()
"""
# Right along the last axis, whichever is named, and it warns and prints, for which stock nbgrader gives 0.
HALF_SOFTMAX = """
def softmax(x, axis=-1):
    import sys, warnings
    warnings.warn("half way")
    print("so far", file=sys.stderr)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
"""
CUT_SOFTMAX = """
def softmax(x, axis=-1):
    e = np.exp(x - x.max(
"""
TABLE = {name: exercise for name, exercise in exercises().items() if exercise.notebook == SLUG}
BY_HAND = {name for name, exercise in TABLE.items() if exercise.kind == "R"}
JUDGED = set(TABLE) - BY_HAND


def right(name, source):
    warning = "import warnings\nwarnings.warn('a library warns')\n" if name == "softmax" else ""
    return warning + answered(source)


# What each student writes, by exercise id; None leaves the cell as it was released.
CLASS = {
    "right": right,
    "half": lambda name, source: HALF_SOFTMAX if name == "softmax" else None,
    "untouched": lambda name, source: None,
    "wrong": lambda name, source: (
        WRONG_SOFTMAX
        if name == "softmax"
        else f"{name} = 'no idea'"
        if TABLE[name].takes_value
        else f"def {name}(*args, **kwargs):\n    return 0.0"
    ),
    "broken": lambda name, source: CUT_SOFTMAX if name == "softmax" else right(name, source),
}


def points(name):
    return TABLE[name].points


def half_points():
    """What the engine gives for HALF_SOFTMAX when it is called here: something, not all."""
    names = {"np": np}
    exec(HALF_SOFTMAX, names)
    earned = run("softmax", names["softmax"]).score
    assert 0 < earned < points("softmax")
    return earned


WANTED = {
    "right": {name: points(name) for name in JUDGED},
    "half": {name: half_points() if name == "softmax" else 0 for name in JUDGED},
    "untouched": dict.fromkeys(JUDGED, 0),
    # A prediction has its points whichever way it turns out.
    "wrong": {name: points(name) if TABLE[name].kind == "P" else 0 for name in JUDGED},
    "broken": {name: 0 if name == "softmax" else points(name) for name in JUDGED},
}


def submission(release, source, write):
    """The released notebook with a student's cells."""
    answers = {cell.id: cell.source for cell in nbformat.read(source, as_version=4).cells}
    notebook = nbformat.read(release, as_version=4)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = (write(cell.id, answers[cell.id]) or cell.source).strip()
    return notebook


class Course:
    """A copy of the course in a folder of its own, whose name is one that patterns trip over."""

    def __init__(self, folder):
        self.root = folder / "my course (2)"
        for part in ("solutions", "notebooks"):
            shutil.copytree(REPO / part / SLUG, self.root / part / SLUG)
        shutil.copy(REPO / "nbgrader_config.py", self.root)
        self.course = self.root / "course"
        self.logs = folder / "logs"
        self.logs.mkdir()
        # Students who submit at the same moment on one machine would each try to make it.
        (folder / "data" / "nbgrader_cache" / "attention").mkdir(parents=True)
        self.environment = os.environ | {
            "PYTHONPATH": str(REPO),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "ATTENTION_EXCHANGE": str(folder / "exchange"),
        }
        if sandbox.problem() is not None:  # then the rest of nbgrader's way is still to be seen
            self.environment[UNSANDBOXED] = "1"
        self.exchange = folder / "exchange"
        self.told = {}

    def run(self, *groups):
        """Run groups of nbgrader commands in order; what each said is kept in `told`, by its words."""
        work = [[(f"{i}-{j}", str(folder), argv) for j, (folder, argv) in enumerate(g)] for i, g in enumerate(groups)]
        driver = [sys.executable, "-c", DRIVER, str(self.logs)]
        subprocess.run(driver, input=json.dumps(work), text=True, env=self.environment, check=True)
        for name, _, argv in [command for group in work for command in group]:
            text = (self.logs / name).read_text()
            self.told[" ".join(argv)] = text
            assert (self.logs / f"{name}.code").read_text() == "0", f"nbgrader {' '.join(argv)}\n{text}"

    def page(self, student):
        return (self.course / "feedback" / student / SLUG / f"{SLUG}.html").read_text()

    def autograded(self, student):
        notebook = nbformat.read(self.course / "autograded" / student / SLUG / NOTEBOOK, as_version=4)
        return {cell.id: cell for cell in notebook.cells}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The class after every command of a term, from the release to the exported grades."""
    folder = tmp_path_factory.mktemp("class")
    course = Course(folder)
    root, release = course.root, course.root / "notebooks" / SLUG / NOTEBOOK
    course.released = release.read_bytes()
    students = {name: folder / "homes" / name for name in CLASS}
    for name, write in CLASS.items():
        (students[name] / SLUG).mkdir(parents=True)
        shutil.copy(root / "nbgrader_config.py", students[name])
        notebook = submission(release, root / "solutions" / SLUG / NOTEBOOK, write)
        if name == "untouched":
            next(cell for cell in notebook.cells if cell.id == "check_softmax").metadata.tags = ["skip-execution"]
        nbformat.write(notebook, students[name] / SLUG / NOTEBOOK)
    course.students = students
    validated = [str(students[name] / SLUG / NOTEBOOK) for name in ("right", "untouched")]
    course.run(
        [(root, ["generate_assignment", SLUG, "--force"])],
        [(root, ["release_assignment", SLUG])],
        [(home, ["submit", SLUG, "--student", name]) for name, home in students.items()],
        [(root, ["list"]), (root, ["list", "--inbound"]), (root, ["collect", SLUG])],
        # Two validations at a time can take the same port for their kernels.
        [(root, ["autograde", SLUG]), (root, ["validate", validated[0]])],
        [(root, ["generate_feedback", SLUG]), (root, ["export"]), (root, ["validate", validated[1]])],
        [(root, ["release_feedback", SLUG])],
    )
    return course


def scores(course, student):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course.course / 'gradebook.db'}") as gradebook:
        grades = gradebook.find_submission_notebook(SLUG, SLUG, student).grades
        return {grade.name: (grade.auto_score, grade.max_score, grade.needs_manual_grade) for grade in grades}


@pytest.mark.parametrize("student", CLASS)
def test_every_score_in_the_gradebook_is_the_verdict_of_its_check(graded, student):
    found = scores(graded, student)
    judged = {f"check_{name}": (float(earned), float(points(name)), False) for name, earned in WANTED[student].items()}
    assert {name: grade for name, grade in found.items() if name.startswith("check_")} == judged
    written = student in ("right", "wrong", "broken")
    by_hand = {name: (None if written else 0.0, float(points(name)), written) for name in BY_HAND}
    assert {name: grade for name, grade in found.items() if not name.startswith("check_")} == by_hand


def test_the_exported_grades_are_the_sums(graded):
    with (graded.course / "grades.csv").open(newline="") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert {name: float(row["raw_score"]) for name, row in rows.items()} == {
        name: float(sum(earned.values())) for name, earned in WANTED.items()
    }
    assert {float(row["max_score"]) for row in rows.values()} == {float(sum(map(points, TABLE)))}
    assert not (graded.root / "grades.csv").exists()


def words(page):
    """What a reader sees of a page."""
    body = re.sub(r"<(style|script).*?</\1>", " ", page[page.index("<body") :], flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.mark.parametrize("student", CLASS)
def test_the_feedback_page_shows_every_score_and_the_total(graded, student):
    page = words(graded.page(student))
    assert f"{SLUG} (Score: {sum(WANTED[student].values()):.1f} / {sum(map(points, TABLE)):.1f})" in page
    for name, earned in WANTED[student].items():
        assert f"Grade cell: check_{name} Score: {earned:.1f} / {points(name):.1f}" in page


def test_the_feedback_page_says_why(graded):
    pages = {student: words(graded.page(student)) for student in CLASS}
    assert "not attempted · softmax" in pages["untouched"]
    assert "Traceback (most recent call last)" not in pages["untouched"]
    wrong = re.sub(r"\s+", " ", pages["wrong"])
    assert "not yet · softmax" in wrong
    diagnosis = run("softmax", lambda x, axis=-1: np.exp(x - x.max()) / np.exp(x - x.max()).sum()).diagnoses[0]
    assert diagnosis.name in {mistake.name for mistake in reference_of(TABLE["softmax"]).misconceptions}
    assert diagnosis.message in wrong
    assert "partly there · softmax" in pages["half"]
    assert "SyntaxError" in pages["broken"]
    assert "passed · softmax" in pages["right"]
    assert "not attempted" not in pages["right"]


def test_a_warning_of_the_learner_never_reaches_the_graded_cell(graded):
    for student in ("right", "half"):
        outputs = graded.autograded(student)["check_softmax"].outputs
        assert [output.output_type for output in outputs] == ["execute_result"]
    assert any(output.get("name") == "stderr" for output in graded.autograded("right")["softmax"].outputs)


def test_a_graded_run_skips_experiments_and_meets_no_error(graded):
    cells = graded.autograded("right").values()
    experiments = [cell for cell in cells if "experiment" in cell.metadata.get("tags", [])]
    assert experiments and not any(cell.outputs for cell in experiments)
    assert not [output for cell in cells for output in cell.get("outputs", []) if output.output_type == "error"]


def test_a_check_cell_tagged_to_be_skipped_is_run_all_the_same(graded):
    """nbgrader gives full points to a check cell without a result, and by default nbclient skips cells of this tag."""
    assert "tags" not in graded.autograded("untouched")["check_softmax"].metadata
    assert graded.autograded("untouched")["check_softmax"].outputs


def test_the_build_and_nbgrader_release_the_same_bytes(graded):
    assert (graded.root / "notebooks" / SLUG / NOTEBOOK).read_bytes() == graded.released
    assert (graded.exchange / "attention" / "outbound" / SLUG / NOTEBOOK).read_bytes() == graded.released


def test_the_exchange_lists_what_was_released_and_handed_in(graded):
    assert f"attention {SLUG}" in graded.told["list"]
    for student in CLASS:
        assert f"attention {student} {SLUG}" in graded.told["list --inbound"]
        assert (graded.course / "submitted" / student / SLUG / NOTEBOOK).is_file()


def test_feedback_is_released_for_every_student(graded):
    assert len(list((graded.exchange / "attention" / "feedback").glob("*.html"))) == len(CLASS)


def test_validate_praises_the_right_notebook_and_names_the_unsolved_cells(graded):
    told = {
        name: graded.told[f"validate {home / SLUG / NOTEBOOK}"]
        for name, home in graded.students.items()
        if name in ("right", "untouched")
    }
    assert "Success! Your notebook passes all the tests." in told["right"]
    assert f"VALIDATION FAILED ON {len(TABLE)} CELL(S)!" in told["untouched"]


@pytest.fixture
def server(graded):
    """The address of a Jupyter server with nbgrader's extensions, started in the course as an instructor would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--ServerApp.port={port}", "--ServerApp.token=", "--ServerApp.disable_check_xsrf=True", "--allow-root"]
    command = [sys.executable, "-m", "jupyter", "server", "--no-browser", *options]
    environment = graded.environment | {"JUPYTER_RUNTIME_DIR": str(graded.logs / "runtime")}
    log = (graded.logs / "server").open("w")
    process = subprocess.Popen(command, cwd=graded.root, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/api", timeout=5):
                break
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def fetch(address, **form):
    body = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(address, body, timeout=120) as reply:
        return json.load(reply)


def test_the_jupyterlab_extensions_serve_the_same_course(graded, server):
    (assignment,) = fetch(f"{server}/formgrader/api/assignments")
    assert (assignment["name"], assignment["num_submissions"]) == (SLUG, len(CLASS))
    assert assignment["max_score"] == sum(map(points, TABLE))
    submissions = fetch(f"{server}/formgrader/api/submissions/{SLUG}")
    assert {one["student"]: one["score"] for one in submissions} == {
        name: float(sum(earned.values())) for name, earned in WANTED.items()
    }
    listed = fetch(f"{server}/assignments?course_id=attention")
    assert listed["success"] and SLUG in {one["assignment_id"] for one in listed["value"]}
    validated = fetch(f"{server}/assignments/validate", path=f"solutions/{SLUG}/{NOTEBOOK}")
    assert validated == {"success": True, "value": {}}


def test_formgraders_button_grades_by_the_same_path(graded, server):
    notebook = graded.course / "autograded" / "half" / SLUG / NOTEBOOK
    notebook.unlink()
    pressed = fetch(f"{server}/formgrader/api/submission/{SLUG}/half/autograde", pressed="yes")
    assert pressed["success"], pressed
    assert scores(graded, "half")["check_softmax"][0] == WANTED["half"]["softmax"]
    (output,) = graded.autograded("half")["check_softmax"].outputs
    assert 'aria-label="softmax: partly there"' in output.data["text/html"]


def test_nothing_of_the_class_lies_outside_the_ignored_folder(graded):
    assert {path.name for path in graded.root.iterdir()} == {"solutions", "notebooks", "nbgrader_config.py", "course"}
