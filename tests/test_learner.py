"""A learner's way through the released notebooks: wrong, hinted, right, reset, and what is theirs afterwards.

Each run opens the learner's own copy in the workspace, as JupyterLab would, and executes it in a fresh kernel there.
"""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from nbclient import NotebookClient

from autograder.execution import ThisInterpreter
from autograder.exercise import exercises
from autograder.record import Record
from autograder.solutions import model_answer
from autograder.workspace import open_workspace, released_notebooks, reset

NOTEBOOKS = list(released_notebooks())
FIRST_THREE = NOTEBOOKS[:3]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    for name in ("NBGRADER_EXECUTION", "ATTENTION_STANDINS", "ATTENTION_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return open_workspace(tmp_path / "workspace").path


def of(notebook, kinds="IBTVPR"):
    return [exercise for exercise in exercises().values() if exercise.notebook == notebook and exercise.kind in kinds]


def play(workspace, notebook, answers=(), extra=()):
    """Write answers into the learner's copy, run it, and return the scores of its check cells and all text shown.

    answers: source by exercise id. extra: (exercise id, source) of cells that the learner adds before its check.
    """
    path = workspace / f"{notebook}.ipynb"
    book = nbformat.read(path, as_version=4)
    answers, extra = dict(answers), dict(extra)
    cells = []
    for cell in book.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution") and name in answers:
            cell.source = answers[name]
        if cell.source.startswith("check(") and cell.source.split('"')[1] in extra:
            cells.append(nbformat.v4.new_code_cell(extra[cell.source.split('"')[1]]))
        cells.append(cell)
    book.cells = cells
    NotebookClient(
        book, kernel_manager_class=ThisInterpreter, timeout=120, resources={"metadata": {"path": str(workspace)}}
    ).execute()
    nbformat.write(book, path)
    scores, shown = {}, []
    for cell in book.cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or "".join(output.get("data", {}).get("text/html", ""))
            shown.append(text)
            if cell.source.startswith("check(") and output.output_type == "execute_result":
                scores[cell.source.split('"')[1]] = float(output.data["text/plain"])
    return scores, "\n".join(shown)


def wrong_source(exercise):
    if exercise.takes_value:
        return f"{exercise.id} = 'no idea'"
    return f"def {exercise.id}(*args, **kwargs):\n    return None"


def right_answers(notebook):
    return {exercise.id: model_answer(exercise) for exercise in of(notebook)}


@pytest.mark.parametrize("notebook", FIRST_THREE)
def test_the_untouched_notebook_runs_through_and_scores_nothing(workspace, notebook):
    scores, shown = play(workspace, notebook)
    assert scores == {exercise.id: 0 for exercise in of(notebook, "IBTVP")}
    assert "NotImplementedError" not in shown
    assert not any(entry.checks for entry in Record(workspace).entries().values())
    assert not list((workspace / "my_attention").glob("*.py")) if (workspace / "my_attention").exists() else True


@pytest.mark.parametrize("notebook", FIRST_THREE)
def test_wrong_then_hinted_then_right_then_reset(workspace, notebook):
    implement = of(notebook, "IBTV")
    scores, _ = play(workspace, notebook, {exercise.id: wrong_source(exercise) for exercise in of(notebook, "IBTVP")})
    record = Record(workspace)
    assert all(scores[exercise.id] == 0 for exercise in implement)
    assert all(record.entry(exercise.id).status in ("wrong", "error") for exercise in implement)

    first = implement[0]
    _, shown = play(workspace, notebook, extra={first.id: f'hint("{first.id}")'})
    assert first.hints[0].split("`")[0][:30] in shown or record.entry(first.id).hints == 1

    scores, shown = play(workspace, notebook, right_answers(notebook))
    assert scores == {exercise.id: exercise.points for exercise in of(notebook, "IBTVP")}
    for exercise in of(notebook):
        entry = record.entry(exercise.id)
        assert entry.passed, exercise.id
        if exercise.kind in "IBTV":
            assert entry.points == exercise.points
            assert (workspace / "my_attention" / f"{exercise.id}.py").is_file()
    assert record.entry(first.id).hints == 2, "the cell with the hint ran twice"
    assert "one good answer" in shown

    change = reset(notebook[:2], workspace)
    assert change.earlier is not None and first.id in change.earlier.read_text(encoding="utf-8")
    scores, _ = play(workspace, notebook)
    assert set(scores.values()) == {0}
    assert all(record.entry(exercise.id).passed for exercise in of(notebook)), "a reset copy takes nothing back"


def test_the_library_is_a_plain_module_anywhere(workspace, tmp_path):
    for notebook in FIRST_THREE:
        play(workspace, notebook, right_answers(notebook))
    names = [exercise.id for notebook in FIRST_THREE for exercise in of(notebook, "IBTV")]
    listed = ", ".join(f"library.{name}" for name in names)
    code = "import sys; sys.modules['autograder'] = None; import my_attention as library\n"
    code += f"print([callable(f) for f in [{listed}]])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(workspace)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("True") == len(names), done.stderr


def test_later_cells_run_on_what_the_learner_wrote(workspace):
    notebook = FIRST_THREE[0]
    marked = model_answer(exercises()["softmax"]) + "\n\n\nsoftmax.by = 'the learner'\n"
    play(workspace, notebook, {"softmax": marked}, {"softmax": "pass"})
    code = "from autograder import mine; print(mine.softmax.__module__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=workspace, capture_output=True, text=True, check=True)
    assert "my_attention" in done.stdout


def test_two_kernels_at_once_both_leave_their_mark(workspace):
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(play, workspace, notebook, right_answers(notebook)) for notebook in FIRST_THREE[:2]]
        scores = {name: score for future in both for name, score in future.result()[0].items()}
    record = Record(workspace)
    for name, score in scores.items():
        assert score == exercises()[name].points and record.entry(name).passed
    import_all = "import my_attention, json; print(json.dumps(sorted(my_attention.__all__)))"
    done = subprocess.run([sys.executable, "-c", import_all], cwd=workspace, capture_output=True, text=True, check=True)
    for notebook in FIRST_THREE[:2]:
        assert all(f'"{exercise.id}"' in done.stdout for exercise in of(notebook, "IBTV"))


CHECK_FOR_EVER = """
import math
import numpy
import autograder
source = '''{source}'''
names = {{"np": numpy, "math": math}}
exec(compile(source, "cell", "exec"), names)
while True:
    autograder.check("softmax", names["softmax"])
"""


def test_a_kernel_killed_while_it_records_leaves_everything_whole(workspace):
    code = CHECK_FOR_EVER.format(source=model_answer(exercises()["softmax"]).replace("'''", '"""'))
    child = subprocess.Popen([sys.executable, "-c", code], cwd=workspace, stdout=subprocess.DEVNULL)
    record = Record(workspace)
    while record.entry("softmax").checks < 15 and child.poll() is None:
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert record.entry("softmax").passed and record.set_aside is None
    scores, _ = play(workspace, FIRST_THREE[0], {"softmax": model_answer(exercises()["softmax"])})
    assert scores["softmax"] == exercises()["softmax"].points
