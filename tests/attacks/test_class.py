"""A class in one run of `attention grade`: honest, broken and hostile work, each with the right outcome."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from html import escape

import nbformat
import pytest
from attacks import ATTACKS, source
from nbgrader.api import Gradebook
from slim import RIGHT, ROOT, SLUG, WRONG, slim, submission

from autograder.exercise import find

pytestmark = pytest.mark.usefixtures("sandbox_here")

FULL = find("softmax").points
WARNS = "import warnings, sys\nwarnings.warn('careful')\nprint('to stderr', file=sys.stderr)\nprint('halfway')\n"
PLOTS = "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()\n"
HELPS = "def shifted(x, axis):\n    return np.exp(x - x.max(axis=axis, keepdims=True))\ndef softmax(x, axis=-1):\n    e = shifted(x, axis)\n    return e / e.sum(axis=axis, keepdims=True)\n"


def notebook(softmax, **others):
    return nbformat.v4.new_notebook(cells=submission(softmax, **others))


def changed(softmax, change):
    """A submission whose cells were changed as a list."""
    made = notebook(softmax)
    made.cells = change(made.cells)
    return made


def text(made):
    return nbformat.writes(made).encode()


def _without(cells, *names):
    return [cell for cell in cells if cell.id not in names]


def _bare(cells):
    for cell in cells:
        cell.metadata, cell["id"] = {}, f"x{cells.index(cell)}"
    return cells


def _tagged(cells):
    for cell in cells:
        cell.metadata["tags"] = ["skip-execution", "experiment", "raises-exception"]
        cell.metadata.get("nbgrader", {}).update(points=1000, grade=False, solution=True)
    return cells


def _twice(cells):
    return [copy for cell in cells for copy in ([cell, cell] if cell.id == "check_softmax" else [cell])]


def _imports_more(cells):
    cells[0].source += "\nimport functools, itertools"
    return cells


def _old(made):
    cells = [
        {"cell_type": "code", "input": cell.source, "metadata": cell.metadata, "outputs": [], "language": "python"}
        for cell in made.cells
    ]
    return json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}).encode()


def _retyped(cells):
    """The check as the text of a markdown cell, and the answer at the end."""
    for cell in cells:
        if cell.id == "check_softmax":
            cell.cell_type = "markdown"
    return [*_without(cells, "softmax"), *(cell for cell in cells if cell.id == "softmax")]


def _edited(cells):
    for cell in cells:
        if cell.id == "check_softmax":
            cell.source = "print('all right')\n7"
            cell.metadata.nbgrader.update(points=70, grade_id="check_softmax_2", locked=False)
    return cells


def _of_another_time(cells):
    for cell in cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader["schema_version"] = 1
            cell.metadata.nbgrader.pop("task", None)
    return cells


def _waits(cells):
    """A cell before the answer asks a question that nobody answers."""
    return [cells[0], nbformat.v4.new_code_cell("name = input('who are you? ')"), *cells[1:]]


def _document(made, **changes):
    """A notebook as JSON, with changes to the document that nbformat itself would not write."""
    document = json.loads(nbformat.writes(made)) | changes
    return json.dumps(document).encode()


def _without_ids(made):
    cells = json.loads(nbformat.writes(made))["cells"]
    return _document(made, cells=[{k: v for k, v in cell.items() if k != "id"} for cell in cells], nbformat_minor=4)


def _zip(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.ipynb", content)
    return data.getvalue()


RIGHT_FILE = text(notebook(RIGHT))
# student: (file name, bytes, points of softmax, state)
HONEST = {
    "ana": (f"{SLUG}.ipynb", RIGHT_FILE, FULL, "graded"),
    "bo wrong": (f"{SLUG}.ipynb", text(notebook(WRONG)), None, "graded"),
    "Çağla Öztürk": (f"{SLUG}.ipynb", text(notebook(WARNS + RIGHT)), FULL, "graded"),
    "王小明": (f"{SLUG}.ipynb", text(notebook(PLOTS + RIGHT)), FULL, "graded"),
    "helper": (f"{SLUG}.ipynb", text(notebook(HELPS)), FULL, "graded"),
    "magic": (f"{SLUG}.ipynb", text(notebook("%matplotlib widget\n!ls\n" + RIGHT)), FULL, "graded"),
    "renamed": ("p1 (1).ipynb", RIGHT_FILE, FULL, "graded"),
    "zipped": ("work.zip", _zip(**{"deep/er/p1": RIGHT_FILE}), FULL, "graded"),
    "imports": (f"{SLUG}.ipynb", text(changed(RIGHT, _imports_more)), FULL, "graded"),
    "untouched": (f"{SLUG}.ipynb", text(nbformat.v4.new_notebook(cells=slim().notebook.cells)), 0, "graded"),
}
BROKEN = {
    "cut off": (f"{SLUG}.ipynb", RIGHT_FILE[:900], 0, "problem"),
    "empty": (f"{SLUG}.ipynb", b"", 0, "problem"),
    "not a notebook": (f"{SLUG}.ipynb", b"\x89PNG\r\n\x1a\n" * 100, 0, "problem"),
    "bom": (f"{SLUG}.ipynb", b"\xef\xbb\xbf" + RIGHT_FILE, FULL, "graded"),
    "format 3": (f"{SLUG}.ipynb", _old(notebook(RIGHT)), FULL, "graded"),
    "check deleted": (
        f"{SLUG}.ipynb",
        text(changed(RIGHT, lambda cells: _without(cells, "check_softmax"))),
        FULL,
        "graded",
    ),
    "check twice": (f"{SLUG}.ipynb", text(changed(RIGHT, _twice)), FULL, "graded"),
    "answer deleted": (f"{SLUG}.ipynb", text(changed(RIGHT, lambda cells: _without(cells, "softmax"))), 0, "partial"),
    "metadata stripped": (f"{SLUG}.ipynb", text(changed(RIGHT, _bare)), FULL, "graded"),
    "syntax": (f"{SLUG}.ipynb", text(notebook("def softmax(x, axis=-1:\n")), 0, "graded"),
}
HOSTILE = {
    "tags": (f"{SLUG}.ipynb", text(changed(WRONG, _tagged)), None, "graded"),
    "exits": (f"{SLUG}.ipynb", text(notebook("import os; os._exit(0)")), 0, "partial"),
    "loops": (f"{SLUG}.ipynb", text(notebook("def softmax(x, axis=-1):\n    while True: pass")), 0, "partial"),
    "bombs": (f"{SLUG}.ipynb", text(notebook("import os\nwhile True: os.fork()")), 0, "partial"),
    "fills": (f"{SLUG}.ipynb", text(notebook("x = []\nwhile True: x.append(bytearray(64 << 20))")), 0, "partial"),
    "prints": (f"{SLUG}.ipynb", text(notebook("for _ in range(10**5): print('x' * 1000)" + WRONG)), None, "graded"),
    "deep": (f"{SLUG}.ipynb", b"[" * 100_000, 0, "problem"),
    **{
        name: (f"{SLUG}.ipynb", text(notebook(source(ATTACKS[name]))), None, "graded")
        for name in ("ast_transformer", "references_imported", "run_patched")
    },
}
UNUSUAL = {
    "schema of 2015": (f"{SLUG}.ipynb", text(changed(RIGHT, _of_another_time)), FULL, "graded"),
    "no ids": (f"{SLUG}.ipynb", _without_ids(notebook(RIGHT)), FULL, "graded"),
    "format 5": (f"{SLUG}.ipynb", _document(notebook(RIGHT), nbformat=5), FULL, "graded"),
    "kernel of another language": (
        f"{SLUG}.ipynb",
        _document(notebook(RIGHT), metadata={"kernelspec": {"name": "cobol", "display_name": "COBOL 60"}}),
        FULL,
        "graded",
    ),
    "check retyped and moved": (f"{SLUG}.ipynb", text(changed(RIGHT, _retyped)), FULL, "graded"),
    "check edited": (f"{SLUG}.ipynb", text(changed(WRONG, _edited)), None, "graded"),
    "waits for an answer": (f"{SLUG}.ipynb", text(changed(RIGHT, _waits)), FULL, "graded"),
    "one long line": (f"{SLUG}.ipynb", text(notebook(f"print('x' * 20_000_000){RIGHT}")), FULL, "graded"),
    "too large": (f"{SLUG}.ipynb", b'{"cells": [], "x": "' + b"x" * (33 << 20) + b'"}', 0, "problem"),
    "our names": (f"{SLUG}.ipynb", text(notebook(f"t = check = exercise = probe = names = 0{RIGHT}")), FULL, "graded"),
    "leaves files": (f"{SLUG}.ipynb", text(notebook(f"open('left.txt', 'w').write('x'){RIGHT}")), FULL, "graded"),
}
# A result that says it is nothing, everything, or equal to whatever it is compared with.
ODD = {
    name: (f"{SLUG}.ipynb", text(notebook(f"def softmax(x, axis=-1):\n    return {result}")), 0, "graded")
    for name, result in {
        "zero as a result": "np.float64(0.0)",
        "not a number": "x * np.nan",
        "more than all": "10**6",
        "equal to all": "type('Any', (), {'__eq__': lambda *a: True, '__array__': lambda *a, **k: 1 / 0})()",
    }.items()
}
SCRIPT = "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'><svg onload='window.hit = 3'></svg>"
SHOWS = f"""
from IPython.display import HTML, Javascript, Markdown, SVG, display
s = {SCRIPT!r}
display(HTML(s), Markdown(s), Javascript("window.hit = 4"), SVG("<svg xmlns='http://www.w3.org/2000/svg' onload='window.hit = 5'/>"))
display({{"text/html": s, "text/latex": s, "image/svg+xml": s, "image/png": s, "text/plain": s}}, raw=True)
print(s)
import sys; print(s, file=sys.stderr)
def softmax(x, axis=-1):
    print(s)
    raise ValueError(s)
"""


def _with_scripts(cells):
    made = nbformat.v4.new_markdown_cell(f"{SCRIPT}\n\n```\n{SCRIPT}\n```\n[x](javascript:window.hit=6)")
    return [made, *cells, nbformat.v4.new_code_cell(f"# {SCRIPT}\nraise RuntimeError({SCRIPT!r})"), made]


HOSTILE["scripts"] = (f"{SLUG}.ipynb", text(changed(SHOWS, _with_scripts)), 0, "graded")
CLASS = HONEST | BROKEN | UNUSUAL | ODD | HOSTILE
NOTHING = ["nothing", "linked"]  # two more: an empty folder, and a link to somebody else's work


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of one short assignment, known to its gradebook, and a folder of what a class handed in."""
    root = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "nbgrader_config.py", root)
    kept = {cell.id for cell in slim().notebook.cells}
    full = nbformat.read(ROOT / "solutions" / SLUG / f"{SLUG}.ipynb", as_version=4)
    full.cells = [cell for cell in full.cells if cell.id in kept]
    (root / "solutions" / SLUG).mkdir(parents=True)
    nbformat.write(full, root / "solutions" / SLUG / f"{SLUG}.ipynb")
    inbox = root / "inbox"
    for student, (name, data, *_) in CLASS.items():
        (inbox / student).mkdir(parents=True)
        (inbox / student / name).write_bytes(data)
    (inbox / "ana" / "scratch.ipynb").write_bytes(text(nbformat.v4.new_notebook()))
    (inbox / "ana" / "notes.txt").write_text("mine")
    (inbox / "nothing").mkdir()
    (inbox / "linked").mkdir()
    (inbox / "linked" / f"{SLUG}.ipynb").symlink_to(inbox / "ana" / f"{SLUG}.ipynb")
    os.mkfifo(inbox / "ana" / "pipe.ipynb")
    command(root, sys.executable, "-m", "nbgrader", "generate_assignment", SLUG)
    return root


def command(root, *arguments):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(root / "config"),
        "JUPYTER_DATA_DIR": str(root / "data"),
    }
    return subprocess.run(
        arguments, cwd=root, env=environment, capture_output=True, text=True, timeout=580, check=False
    )


def attention(root, *arguments):
    return command(root, sys.executable, "-m", "autograder.cli", *arguments)


@pytest.fixture(scope="module")
def run(course):
    done = attention(course, "grade", SLUG, "inbox", "--csv", "out.csv", "--json", "out.json")
    assert (course / "out.json").exists(), done.stdout + done.stderr
    return done


def outcomes(course):
    return {one["student"]: one for one in json.loads((course / "out.json").read_text())}


def scores(course, student):
    with Gradebook(f"sqlite:///{course / 'course' / 'gradebook.db'}") as gradebook:
        grades = gradebook.find_submission_notebook(SLUG, SLUG, student).grades
        return {grade.name: (grade.auto_score, grade.needs_manual_grade) for grade in grades}


def test_every_submission_has_an_outcome_and_the_exit_code_says_that_not_all_is_well(course, run):
    assert run.returncode == 1
    assert set(outcomes(course)) == set(CLASS) | set(NOTHING)
    assert f"{len(CLASS) + len(NOTHING)} submissions" in run.stdout


@pytest.mark.parametrize("student", CLASS)
def test_the_outcome_is_the_right_one(course, run, student):
    _, _, wanted, state = CLASS[student]
    found = outcomes(course)[student]
    assert found["state"] == state, found["reasons"]
    assert state == "graded" or found["reasons"]
    points = {one["exercise"]: one["points"] for one in found["exercises"]}["softmax"]
    wrong = {one["exercise"]: one["points"] for one in outcomes(course)["bo wrong"]["exercises"]}["softmax"]
    assert points == (wrong if wanted is None else wanted)
    assert scores(course, student)["check_softmax"] == (float(points), False)


@pytest.mark.parametrize("student", NOTHING)
def test_nothing_handed_in_is_no_points_and_a_reason(course, run, student):
    found = outcomes(course)[student]
    assert (found["state"], found["score"]) == ("problem", 0.0)
    assert "nothing was handed in" in str(found["reasons"]) or "link" in str(found["reasons"])


def test_what_lies_beside_a_notebook_is_noted_and_what_a_run_writes_is_gone(course, run):
    reasons = outcomes(course)["ana"]["reasons"]
    assert {"scratch.ipynb: a notebook of something else", "notes.txt: not a notebook"} <= set(reasons)
    assert not [path for path in course.rglob("left.txt")]


def test_a_release_that_changed_after_it_was_handed_in_is_graded_as_it_is_now(course, run):
    path = course / "notebooks" / SLUG / f"{SLUG}.ipynb"
    before = path.read_bytes()
    changed = nbformat.reads(before.decode(), as_version=4)
    changed.cells.insert(1, nbformat.v4.new_code_cell("ADDED = 1"))
    nbformat.write(changed, path)
    try:
        done = attention(course, "grade", SLUG, "inbox", "--student", "imports")
    finally:
        path.write_bytes(before)
    assert done.returncode == 0, done.stdout + done.stderr
    assert scores(course, "imports")["check_softmax"] == (float(FULL), False)


def test_a_wrong_answer_is_diagnosed_and_no_value_is_shown(course, run):
    (softmax,) = [one for one in outcomes(course)["bo wrong"]["exercises"] if one["exercise"] == "softmax"]
    assert softmax["diagnoses"]
    assert not [check for check in softmax["checks"] if "called" in check["message"] or "= 0." in check["message"]]


def test_the_page_of_the_class_names_its_misconceptions_and_shows_names_as_text(course, run):
    html = (course / "course" / "results" / f"{SLUG}.html").read_text(encoding="utf-8")
    (softmax,) = [one for one in outcomes(course)["bo wrong"]["exercises"] if one["exercise"] == "softmax"]
    assert escape(softmax["diagnoses"][0]["message"]) in html
    assert f"{len(CLASS) + len(NOTHING)} submissions" in html and "cut off" in html
    assert "<script" not in html


def test_the_csv_is_a_row_per_student(course, run):
    with (course / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(CLASS) | set(NOTHING)
    assert rows["王小明"]["softmax"] == str(FULL)


def test_resume_leaves_out_what_is_the_same_and_grades_what_is_new(course, run):
    before = (course / "course" / "results" / f"{SLUG}.jsonl").read_text().count("\n")
    (course / "inbox" / "bo wrong" / f"{SLUG}.ipynb").write_bytes(RIGHT_FILE)
    attention(
        course, "grade", SLUG, "inbox", "--resume", "--student", "bo wrong", "--student", "ana", "--student", "helper"
    )
    lines = (course / "course" / "results" / f"{SLUG}.jsonl").read_text().splitlines()
    assert len(lines) == before + 1 and json.loads(lines[-1])["student"] == "bo wrong"
    assert scores(course, "bo wrong")["check_softmax"] == (float(FULL), False)
    earlier = list((course / "course" / "earlier" / "bo wrong").rglob("*.ipynb"))
    assert len(earlier) == 1, "the version before is kept"


def test_a_regrade_supersedes_the_old_result_also_when_it_is_worse(course, run):
    (course / "inbox" / "helper" / f"{SLUG}.ipynb").write_bytes(b"{")
    attention(course, "grade", SLUG, "inbox", "--student", "helper")
    assert scores(course, "helper")["check_softmax"] == (0.0, False)


def test_no_script_of_a_students_runs_on_the_feedback_page(course, run, browser):
    done = command(course, sys.executable, "-m", "nbgrader", "generate_feedback", SLUG, "--student", "scripts")
    assert done.returncode == 0, done.stderr
    page = browser.new_page()
    page.goto((course / "course" / "feedback" / "scripts" / SLUG / f"{SLUG}.html").as_uri())
    page.wait_for_timeout(500)
    assert page.evaluate("window.hit === undefined")
    assert "window.hit = 1" in page.inner_text("body"), "their text is shown as text"
    assert "ValueError" in page.inner_text("body")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', `<img src=x onerror='window.hit = 9'>`)")
    page.wait_for_timeout(500)
    assert page.evaluate("window.hit === 9"), "a script would have been seen to run"
    page.close()


def test_the_secret_is_the_owners_alone_and_stays(course, run):
    path = course / "course" / "secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text()) == 64


def test_what_is_used_wrongly_is_said(course, run):
    for arguments, said in (
        (["99_nothing", "inbox"], "no assignment is called"),
        ([SLUG, "inbox", "--student", "nobody"], "nothing was handed in by nobody"),
    ):
        done = attention(course, "grade", *arguments)
        assert done.returncode == 2 and said in done.stderr
