"""The learner's copies: placed, never overwritten, reset, updated with the answers carried over, never lost."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from autograder import workspace as module
from autograder.carry import carry_over, digest, source_of, stamped
from autograder.workspace import MARKER, WorkspaceError, find_workspace, open_workspace, reset, update

SLUG = "03_scaled_dot_product_attention"
NAME = f"{SLUG}.ipynb"


def cell(source, id, kind="code", grade_id=None, solution=True):
    out = {"cell_type": kind, "id": id, "metadata": {}, "source": source}
    if kind == "code":
        out |= {"outputs": [], "execution_count": None}
    if grade_id:
        out["metadata"]["nbgrader"] = {"grade_id": grade_id, "solution": solution, "grade": not solution}
    return out


def book(*cells):
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "python3"}}, "cells": list(cells)}


STUB = "def scores(q, k):\n    raise NotImplementedError('scores is yours to write')"
ANSWER = "def scores(q, k):\n    return q @ k.T"
FIRST = (
    cell("# 03 · Scaled dot-product attention", "intro", "markdown"),
    cell("import numpy as np", "given"),
    cell(STUB, "scores", grade_id="scores"),
    cell('check("scores", scores)', "check_scores", grade_id="check_scores", solution=False),
    cell("Read the result.", "close", "markdown"),
)


@pytest.fixture
def course(tmp_path):
    """A folder of released notebooks with one notebook in it."""
    folder = tmp_path / "course" / "notebooks"
    release(folder, book(*FIRST))
    return folder


@pytest.fixture
def mine(tmp_path, course):
    """A workspace into which the notebook was put."""
    return open_workspace(tmp_path / "mine", course).path


def release(folder, notebook, slug=SLUG):
    path = folder / slug / f"{slug}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def sources(path):
    return [source_of(each) for each in read(path)["cells"]]


def edit(path, change):
    """What a learner does: open, change cells, save as Jupyter does."""
    notebook = read(path)
    change(notebook["cells"])
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")


def solve(cells, answer=ANSWER):
    cells[2]["source"] = answer.splitlines(keepends=True)


def earlier(folder):
    return sorted((folder / "earlier").glob("*")) if (folder / "earlier").exists() else []


# Opening


def test_a_notebook_that_was_not_opened_is_put_into_the_workspace(tmp_path, course):
    opened = open_workspace(tmp_path / "mine", course)
    assert opened.new == (SLUG,)
    assert opened.notes == ()
    assert sources(opened.path / NAME) == [source_of(each) for each in FIRST]
    assert (opened.path / MARKER).is_file()


def test_a_copy_that_exists_is_never_overwritten(mine, course):
    edit(mine / NAME, solve)
    before = (mine / NAME).read_bytes()
    assert open_workspace(mine, course).new == ()
    assert (mine / NAME).read_bytes() == before


def test_a_newer_version_is_announced_but_not_brought(mine, course):
    release(course, book(*FIRST, cell("One more thing.", "more", "markdown")))
    opened = open_workspace(mine, course)
    assert opened.notes == (f"there is a newer version of {SLUG}: `attention update 03` brings it",)
    assert "One more thing." not in sources(mine / NAME)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"", "it is empty"),
        (b'{"cells": [', "it is not JSON: line 1"),
        (b"\xff\xfe\x00", "it is not UTF-8 text"),
        (b"[" * 200_000, "it is n"),
        (b"[]", "it has no list of cells"),
        (b'{"cells": [1]}', "one of its cells has no type"),
        (b'{"cells": [{"cell_type": "code", "source": 3}]}', "the source of one of its cells is not text"),
        (b'{"cells": [{"cell_type": "code", "metadata": 3}]}', "the metadata of one of its cells are not a table"),
        (b'{"cells": [], "metadata": 3}', "its metadata are not a table"),
    ],
)
def test_a_copy_that_cannot_be_read_is_said_and_kept_byte_for_byte(mine, course, damage, reason):
    (mine / NAME).write_bytes(damage)
    (note,) = open_workspace(mine, course).notes
    assert reason in note
    assert "a fresh copy took its place" in note
    (kept,) = earlier(mine)
    assert kept.name in note
    assert kept.read_bytes() == damage
    assert sources(mine / NAME) == [source_of(each) for each in FIRST]


def test_a_marker_above_or_here_is_found_and_none_elsewhere(mine, tmp_path):
    deeper = mine / "my_attention" / "earlier"
    deeper.mkdir(parents=True)
    assert find_workspace(deeper) == find_workspace(mine) == mine.resolve()
    assert find_workspace(tmp_path) is None


def test_a_folder_that_happens_to_have_the_marker_s_name_is_no_marker(tmp_path):
    (tmp_path / MARKER).mkdir()
    assert find_workspace(tmp_path) is None


def test_the_course_s_own_folders_and_those_above_are_refused(course):
    for folder in (module.ROOT, module.ROOT.parent, module.ROOT / "notebooks", module.ROOT / "solutions" / "x"):
        with pytest.raises(WorkspaceError, match="cannot be the workspace"):
            open_workspace(folder, course)
        assert not (folder / MARKER).exists()


def test_a_file_in_the_place_of_the_workspace_is_explained(tmp_path, course):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(WorkspaceError, match=r"cannot make the workspace .*File exists.*--workspace"):
        open_workspace(tmp_path / "taken", course)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_damaged_release_is_the_course_s_fault_and_named(tmp_path, course):
    (course / SLUG / NAME).write_text("{")
    with pytest.raises(WorkspaceError, match=r"the course's own .* is damaged"):
        open_workspace(tmp_path / "mine", course)


def test_the_usual_place_is_named_by_the_variable_then_found_above_then_beside_the_notebooks(mine, course, monkeypatch):
    monkeypatch.setattr(module, "notebooks_folder", lambda: course)
    monkeypatch.chdir(course)
    assert module.default_workspace() == course.parent / "workspace"
    monkeypatch.chdir(mine)
    assert module.default_workspace() == mine.resolve()
    monkeypatch.setenv("ATTENTION_WORKSPACE", str(course / "elsewhere"))
    assert module.default_workspace() == (course / "elsewhere").resolve()


# Reset


@pytest.mark.parametrize("name", ["03", "3", SLUG, NAME])
def test_reset_gives_a_fresh_copy_and_keeps_the_old_one(mine, course, name):
    edit(mine / NAME, solve)
    before = (mine / NAME).read_bytes()
    change = reset(name, mine, course)
    assert change.earlier.read_bytes() == before
    assert sources(mine / NAME) == [source_of(each) for each in FIRST]
    assert str(change) == change.message
    assert change.earlier.name in change.message
    assert "Reload Notebook from Disk" in change.message


def test_resets_within_one_second_never_clobber_an_earlier_copy(mine, course, monkeypatch):
    monkeypatch.setattr(module.time, "strftime", lambda form: "20260101-120000")
    for n in range(4):
        edit(mine / NAME, lambda cells, n=n: solve(cells, f"answer = {n}"))
        reset("03", mine, course)
    assert [path.name for path in earlier(mine)] == [
        f"{SLUG}-20260101-120000-2.ipynb",
        f"{SLUG}-20260101-120000-3.ipynb",
        f"{SLUG}-20260101-120000-4.ipynb",
        f"{SLUG}-20260101-120000.ipynb",
    ]
    assert sorted(sources(path)[2] for path in earlier(mine)) == [f"answer = {n}" for n in range(4)]


def test_reset_without_a_copy_just_gives_one(mine, course):
    (mine / NAME).unlink()
    change = reset("03", mine, course)
    assert change.earlier is None
    assert (mine / NAME).exists()


def test_an_unknown_notebook_is_refused_with_those_there_are(mine, course):
    for command in (reset, update):
        with pytest.raises(WorkspaceError, match="there is no notebook '07'; notebooks: 03"):
            command("07", mine, course)


def test_without_a_workspace_the_next_step_is_named(tmp_path, course):
    for command in (reset, update):
        with pytest.raises(WorkspaceError, match=r"there is no workspace in .*`attention lab` makes one"):
            command("03", tmp_path / "nowhere", course)


# Update

NEWER = (
    cell("# 03 · Scaled dot-product attention", "intro", "markdown"),
    cell("import math\nimport numpy as np", "given-2"),
    cell("A new paragraph.", "new", "markdown"),
    cell(STUB + "\n    # reworded", "scores", grade_id="scores"),
    cell('check("scores", scores)', "check_scores", grade_id="check_scores", solution=False),
    cell("def scale(d): raise NotImplementedError", "scale", grade_id="scale"),
    cell("Read the result.", "close", "markdown"),
)


def test_update_brings_the_new_version_with_the_answers_in_it(mine, course):
    edit(mine / NAME, solve)
    before = (mine / NAME).read_bytes()
    release(course, book(*NEWER))
    change = update("03", mine, course)
    wanted = [source_of(each) for each in NEWER]
    wanted[3] = ANSWER
    assert sources(mine / NAME) == wanted
    assert change.earlier.read_bytes() == before
    assert "1 answer and 0 cells of your own carried over" in change.message
    assert open_workspace(mine, course).notes == ()


def test_a_stub_that_was_left_alone_becomes_the_new_stub(mine, course):
    release(course, book(*NEWER))
    update("03", mine, course)
    assert sources(mine / NAME)[3] == source_of(NEWER[3])


def test_cells_of_the_learner_s_own_stay_after_the_cell_they_followed(mine, course):
    def add(cells):
        solve(cells)
        cells.insert(5, cell("last = 1", "own3"))
        cells.insert(3, cell("trial = 2", "own2"))
        cells.insert(3, cell("trial = 1", "own1"))
        cells.insert(0, cell("my notes", "own0", "markdown"))

    edit(mine / NAME, add)
    release(course, book(*NEWER))
    assert "4 cells of your own" in update("03", mine, course).message
    got = sources(mine / NAME)
    assert got[0] == "my notes"
    assert got[got.index(ANSWER) + 1 :][:2] == ["trial = 1", "trial = 2"]
    assert got[-2:] == ["Read the result.", "last = 1"]


def test_an_edited_given_cell_is_kept_after_the_canonical_one(mine, course):
    edit(mine / NAME, lambda cells: cells[1].update(source="import numpy as np\nimport math"))
    release(course, book(*FIRST[:4], cell("Closing words, reworded.", "close-2", "markdown")))
    update("03", mine, course)
    assert sources(mine / NAME)[1:3] == ["import numpy as np", "import numpy as np\nimport math"]


def test_an_answer_to_an_exercise_that_is_gone_becomes_a_cell_of_the_learner_s_own(mine, course):
    edit(mine / NAME, solve)
    release(course, book(FIRST[0], FIRST[1], FIRST[4]))
    update("03", mine, course)
    (kept,) = [each for each in read(mine / NAME)["cells"] if source_of(each) == ANSWER]
    assert "nbgrader" not in kept["metadata"]


def test_of_two_copies_of_an_answer_the_one_that_was_worked_on_counts_and_none_is_lost(mine, course):
    def twice(cells):
        cells.insert(3, cell(ANSWER, "copy", grade_id="scores"))
        cells.insert(4, cell("def scores(q, k): return 0", "copy2", grade_id="scores"))

    edit(mine / NAME, twice)
    release(course, book(*NEWER))
    update("03", mine, course)
    graded = [each for each in read(mine / NAME)["cells"] if each["metadata"].get("nbgrader", {}).get("solution")]
    assert source_of(graded[0]) == ANSWER
    assert len(graded) == 2
    assert "def scores(q, k): return 0" in sources(mine / NAME)


def test_update_of_the_current_version_changes_nothing(mine, course):
    edit(mine / NAME, solve)
    before = (mine / NAME).read_bytes()
    assert "nothing changed" in update("03", mine, course).message
    assert (mine / NAME).read_bytes() == before
    assert earlier(mine) == []


def test_update_of_a_copy_without_a_stamp_carries_the_answers_and_loses_no_cell(mine, course):
    notebook = book(*FIRST[:2], cell(ANSWER, "scores", grade_id="scores"), *FIRST[3:], cell("own = 1", "own"))
    (mine / NAME).write_text(json.dumps(notebook))
    release(course, book(*NEWER))
    update("03", mine, course)
    got = sources(mine / NAME)
    assert got[got.index("A new paragraph.") + 1] == ANSWER
    assert got[-1] == "own = 1"
    assert got.count('check("scores", scores)') == 1


def test_update_of_a_copy_that_cannot_be_read_says_so_and_keeps_it(mine, course):
    (mine / NAME).write_text("{")
    release(course, book(*NEWER))
    change = update("03", mine, course)
    assert "could not be read" in change.message
    assert "no answer was carried over" in change.message
    assert change.earlier.read_text() == "{"
    assert sources(mine / NAME) == [source_of(each) for each in NEWER]


def test_update_without_a_copy_just_gives_one(mine, course):
    (mine / NAME).unlink()
    assert update("03", mine, course).earlier is None
    assert (mine / NAME).exists()


def test_ids_stay_unique_when_a_cell_of_the_learner_s_own_has_one_the_new_version_uses():
    old = stamped(book(*FIRST))
    old["cells"].append(cell("own = 1", "new"))
    new = carry_over(old, book(*NEWER)).notebook
    ids = [each["id"] for each in new["cells"]]
    assert len(set(ids)) == len(ids)
    assert ids[2] == "new"


def test_a_save_by_jupyter_does_not_count_as_an_edit():
    saved = cell(["import numpy as np\n", "x = 1\n"], "a")
    assert digest(saved) == digest(cell("import numpy as np\nx = 1", "b"))


# Two at once, and the power cut


def python(code, *arguments, **environment):
    """A Python process of its own that runs `code` with this package."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(module.ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_that_reset_at_once_lose_no_copy(mine, course):
    edit(mine / NAME, solve)
    code = """
        import sys
        from pathlib import Path
        from autograder.workspace import open_workspace, reset
        mine, course = map(Path, sys.argv[1:])
        for _ in range(5):
            reset("03", mine, course)
            open_workspace(mine, course)
    """
    running = [python(code, mine, course) for _ in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    kept = [sources(path)[2] for path in earlier(mine)]
    assert len(kept) == 10
    assert kept.count(ANSWER) == 1
    assert sources(mine / NAME)[2] == STUB


def test_two_processes_that_open_a_new_workspace_at_once_both_find_it_ready(tmp_path, course):
    code = """
        import sys
        from pathlib import Path
        from autograder.workspace import open_workspace
        print(len(open_workspace(Path(sys.argv[1]), Path(sys.argv[2])).new))
    """
    running = [python(code, tmp_path / "mine", course) for _ in range(2)]
    ends = [process.communicate(timeout=60) for process in running]
    assert sorted(out.strip() for out, _ in ends) == ["0", "1"], ends
    assert sources(tmp_path / "mine" / NAME)[2] == STUB


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("command", ["reset", "update"])
@pytest.mark.parametrize("moment", [1, 2])
def test_a_kill_in_the_middle_of_a_write_leaves_the_old_copy_whole(mine, course, command, moment):
    edit(mine / NAME, solve)
    before = (mine / NAME).read_bytes()
    release(course, book(*NEWER))
    code = """
        import os, signal, sys
        from pathlib import Path
        import autograder.workspace as workspace

        writes, sync = [], os.fsync
        def cut(handle):
            writes.append(handle)
            if len(writes) == int(sys.argv[3]):
                os.ftruncate(handle, 10)
                os.kill(os.getpid(), signal.SIGKILL)
            sync(handle)
        os.fsync = cut
        getattr(workspace, sys.argv[4])("03", Path(sys.argv[1]), Path(sys.argv[2]))
    """
    process = python(code, mine, course, moment, command)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert (mine / NAME).read_bytes() == before
    assert all(path.read_bytes() == before for path in earlier(mine) if path.suffix == ".ipynb")
    open_workspace(mine, course)
    left = [path for path in mine.rglob("*.tmp")]
    assert left == []
    assert ANSWER in sources(update("03", mine, course).path)


def test_a_command_that_finds_another_at_work_says_so(mine, course, monkeypatch):
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    with module._locked(mine):
        holder = python(
            """
            import sys
            from pathlib import Path
            import autograder.workspace as workspace
            workspace.LOCK_SECONDS = 0.05
            try:
                workspace.reset("03", Path(sys.argv[1]), Path(sys.argv[2]))
            except workspace.WorkspaceError as error:
                print(error)
            """,
            mine,
            course,
        )
        out, errors = holder.communicate(timeout=60)
    assert "another command is at work" in out, errors


def test_a_full_disk_is_explained_and_changes_nothing(mine, course, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    edit(mine / NAME, solve)
    before = (mine / NAME).read_bytes()
    monkeypatch.setattr(module, "write_whole", full)
    with pytest.raises(WorkspaceError, match="No space left on device; nothing of yours was changed"):
        reset("03", mine, course)
    assert (mine / NAME).read_bytes() == before


def test_names_of_earlier_copies_carry_the_date(mine, course):
    today = time.strftime("%Y%m%d")
    assert f"-{today}-" in reset("03", mine, course).earlier.name
