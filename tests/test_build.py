"""The build, on a miniature course: what it makes, what it refuses, and that nbgrader would make the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import autograder.build
from autograder import execution, release
from autograder.build import BuildError, build
from autograder.exercise import Check, Exercise, exercises, take_answer
from autograder.notebook import as_bytes, source_notebook
from autograder.regions import MarkerError, answered, regions, released
from autograder.script import read_script

REPO = Path(__file__).resolve().parent.parent
SLUG = "01_what_is_attention"

HEADER = """\
# %% [markdown]
# # A small notebook

# %%
import numpy as np

from autograder import check, reflect

scores = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])

# %%
def softmax(x, axis=-1):
    \"\"\"Turn scores into weights that sum to 1 along an axis.\"\"\"
    ### BEGIN SOLUTION
    raised = np.exp(x - x.max(axis=axis, keepdims=True))
    return raised / raised.sum(axis=axis, keepdims=True)
    ### END SOLUTION

# %%
check("softmax", softmax)

# %%
### BEGIN SOLUTION
#: equal_scores = ...  # your prediction: a tuple of 5 floats
equal_scores = (0.2, 0.2, 0.2, 0.2, 0.2)
### END SOLUTION

# %%
check("equal_scores", equal_scores)

# %% tags=["experiment"]
total = float(scores.sum())
scores = scores + total
"""

# Two more kinds, which the refusals need and which are never run.
WHOLE = (
    HEADER
    + """
# %%
def mended(x):
    \"\"\"Return x doubled; as given it is not.\"\"\"
    ### BEGIN SOLUTION
    #: return x + x + x
    return x + x
    ### END SOLUTION

# %%
check("mended", mended)

# %%
### BEGIN SOLUTION
#: reflection_90 = \"\"\"
#:
#: \"\"\"
reflection_90 = \"\"\"
A weighted average hands over the values of what it attends to.
\"\"\"
### END SOLUTION

# %%
reflect("reflection_90", reflection_90)
"""
)


def record(name, kind, notebook=SLUG, **more):
    checks = (Check("holds", 2, "what must hold"),)
    return Exercise(name, kind, notebook, 5, 1, f"{name}(x)", "Somewhere", ("", "", ""), checks, **more)


EXTRA = (
    record("mended", "B"),
    record("reflection_90", "R", call=take_answer),
    record("elsewhere", "I", "02_queries_keys_values"),
)


def real(*names):
    return {name: exercises()[name] for name in names}


@pytest.fixture
def whole_table():
    return real("softmax", "equal_scores") | {exercise.id: exercise for exercise in EXTRA}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one small notebook that can be run; its folder's name is one that patterns trip over."""
    root = tmp_path / "my course (2)"
    (root / "solutions").mkdir(parents=True)
    (root / "nbgrader_config.py").write_bytes((REPO / "nbgrader_config.py").read_bytes())
    write(root, HEADER)
    table = real("softmax", "equal_scores")
    monkeypatch.setattr(autograder.build, "exercises", lambda: table)
    return root


def write(root, text, slug=SLUG):
    (root / "solutions" / f"{slug}.py").write_text(text, encoding="utf-8")


def source_of(root):
    return root / "solutions" / SLUG / f"{SLUG}.ipynb"


def release_of(root):
    return root / "notebooks" / SLUG / f"{SLUG}.ipynb"


def kept(root):
    return {path: path.read_bytes() for path in sorted(root.rglob("*.ipynb"))}


def cells_of(path):
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


# What a script is refused for: a name, what to put in the place of what, where the problem is, and what is said of it.

PROSE_OF_121_WORDS = "# " + "word " * 121
GIVEN_OF_13_LINES = "\n".join(f"x{i} = {i}" for i in range(13))
BEGIN = "    ### BEGIN SOLUTION\n    raised"
END = '    ### END SOLUTION\n\n# %%\ncheck("softmax"'
MENDED = WHOLE[WHOLE.index("# %%\ndef mended") : WHOLE.index("# %%\n### BEGIN SOLUTION\n#: refl")]
SOFTMAX = HEADER[HEADER.index("# %%\ndef softmax") : HEADER.index("# %%\n### BEGIN")]
CHECK = 'check("softmax", softmax)'
TAG = '# %% tags=["experiment"]'

REFUSALS = {
    # markers
    "misspelt_begin": (BEGIN, BEGIN.replace("SOLUTION", "SOLUTON"), "SOLUTON", "looks like a marker"),
    "lower_case": (BEGIN, BEGIN.replace("BEGIN SOLUTION", "begin solution"), "### begin", "looks like a marker"),
    "one_hash": (BEGIN, BEGIN.replace("###", "#"), "    # BEGIN", "looks like a marker"),
    "plural": (BEGIN, BEGIN.replace("SOLUTION", "SOLUTIONS"), "SOLUTIONS", "looks like a marker"),
    "glued": (BEGIN, BEGIN.replace("### ", "###"), "###BEGIN", "looks like a marker"),
    "underscore": (BEGIN, BEGIN.replace("BEGIN ", "BEGIN_"), "BEGIN_", "looks like a marker"),
    "other_word": (BEGIN, BEGIN.replace("BEGIN", "START"), "START", "looks like a marker"),
    "misspelt_end": (END, END.replace("SOLUTION", "SOLUTOIN"), "SOLUTOIN", "looks like a marker"),
    "end_after_code": (END, "    x = 1  ### END SOLUTION\n" + END, "x = 1", "looks like a marker"),
    "in_a_string": ("along an axis.", "BEGIN SOLUTION", "1 BEGIN", "looks like a marker"),
    "in_given_code": ("scores = np", "# BEGIN SOLUTION\nscores = np", "# BEGIN", "looks like a marker"),
    "nested": ("    return raised /", "    ### BEGIN SOLUTION\n    return raised /", 16, "inside a region"),
    "never_closed": (END, END.replace("    ### END SOLUTION\n", ""), "    ### BEGIN", "never closed"),
    "closes_nothing": (BEGIN, "    raised", "    ### END", "closes nothing"),
    "indented_apart": (END, END.lstrip(), "### END", "indented unlike"),
    "in_prose": ("# # A small", "# ### BEGIN SOLUTION\n# # A small", "# ### BEGIN", "in prose"),
    "hidden_tests": ("scores = np", "### BEGIN HIDDEN TESTS\nscores = np", "HIDDEN TESTS", "does not use"),
    "autotest": ("scores = np", "### AUTOTEST scores\nscores = np", "AUTOTEST", "does not use"),
    # exercises and their checks
    "unknown_id": (CHECK, 'check("sofmax", softmax)', 'check("sofmax"', "did you mean softmax"),
    "solution_of_no_exercise": ("def softmax(", "def sofmax(", "def sofmax", "did you mean softmax"),
    "solution_of_nothing": ("def mended(x):", "if True:", "if True", "defines nothing"),
    "two_definitions": ("def mended(x):", "y = 1\ndef mended(x):", "y = 1", "defines mended, y"),
    "check_of_another": (CHECK, 'check("mended", mended)', 'check("mended"', "one of the names is wrong"),
    "no_check": ("# %%\n" + CHECK, "", "def softmax", "softmax has no check cell"),
    "prose_between": ("# %%\n" + CHECK, "# %% [markdown]\n# So.\n\n# %%\n" + CHECK, "def softmax", "no check cell"),
    "check_alone": ("\n# %%\nimport", "\n# %%\n" + CHECK + "\n\n# %%\nimport", CHECK, "without its solution"),
    "defined_twice": (TAG, SOFTMAX + TAG, 32, "a second time (first on line 12)"),
    "not_there": (MENDED, "", 1, "mended is in the exercise table but not here"),
    "another_notebook": (TAG, MENDED.replace("mended", "elsewhere") + TAG, "def elsewhere", "belongs to 02_queries"),
    "check_buried": (CHECK, CHECK + "\nprint(1)", CHECK, "alone"),
    "check_silenced": (CHECK, CHECK + ";", CHECK, "alone"),
    "check_kept": (CHECK, "seen = " + CHECK, CHECK, "alone"),
    "check_of_other_thing": (CHECK, 'check("softmax", scores)', 'check("softmax", scores)', "alone"),
    "check_in_solution": ("    raised = ", f"    {CHECK}\n    raised = ", CHECK, "alone"),
    "check_for_reflect": ('reflect("refl', 'check("refl', 'check("refl', "use `reflect`"),
    "reflect_for_check": ('check("mended', 'reflect("mended', 'reflect("mended', "use `check`"),
    # forms and stubs
    "value_for_function": ("def mended(x):\n", "mended = 1\nif mended:\n", "mended = 1", "wants a def"),
    "function_for_value": ("equal_scores = (0.2, 0.2, 0.2, 0.2, 0.2)", "def equal_scores(): pass", 23, "an assignment"),
    "no_stub": ("#: equal_scores = ...  # your prediction: a tuple of 5 floats\n", "", 23, "needs `#: ` lines"),
    "stub_of_other_name": ("#: equal_scores = ...", "#: equal_score = ...", 23, "does not define equal_scores"),
    "broken_stub": ("#: return x + x + x", "#: return x + (x", "def mended", "not plain Python"),
    "reflection_with_words": ('#:\n#: """', '#: Because.\n#: """', 47, "as an empty text"),
    # experiments
    "answer_needs_experiment": ("return x + x\n", "return total\n", "def mended", "needs total, which comes from"),
    "answer_needs_it_indirectly": (
        "# %%\ndef mended(x):\n",
        "# %%\nhalf = total / 2\n\n# %%\ndef mended(x, y=half):\n",
        "def mended",
        "needs half, which comes from the experiment on line 32",
    ),
    "given_needs_experiment": (
        MENDED,
        f"# %%\nprint(total)\n\n{MENDED}",
        "print(total)",
        "tag this cell experiment too",
    ),
    "given_adds_to_it": (MENDED, f"# %%\ntotal += 1\n\n{MENDED}", "total += 1", "tag this cell experiment too"),
    "given_loops_over_it": (
        MENDED,
        f"# %%\nfor x in range(3):\n    total = total + x\n\n{MENDED}",
        "for x",
        "needs total",
    ),
    "answer_needs_its_import": (
        "# %%\ndef mended(x):\n",
        f"{TAG}\nimport math\n\n# %%\ndef mended(x, y=math.pi):\n",
        "def mended",
        "needs math",
    ),
    "answer_needs_what_it_changed": (
        "return x + x\n    ### END",
        "return x + scores\n    ### END",
        "def mended",
        "needs scores",
    ),
    # given code
    "given_calls_the_learner": ("total = float(", "total = (softmax, ", "total =", "use mine.softmax"),
    "given_rebinds": ("total = float", "equal_scores = total = float", "equal_scores = total", "rebinds equal_scores"),
    "magic": ("scores = np", "%matplotlib inline\nscores = np", "%matplotlib", "not plain Python"),
    "shell": ("scores = np", "# !ls\nscores = np", "# !ls", "not plain Python"),
    # style
    "long_prose": ("# # A small notebook", PROSE_OF_121_WORDS, "# word", "121 words"),
    "long_given": ("scores = scores + total", GIVEN_OF_13_LINES, "total =", "14 lines"),
    # cells and files
    "typed_metadata": ("# %%\ndef", '# %% nbgrader={"grade": true}\ndef', "# %% nbgrader", "nbgrader typed on a cell"),
    "unknown_tag": ('["experiment"]', '["experimnt"]', "experimnt", "the tags are experiment"),
    "tagged_solution": ("# %%\ndef", TAG + "\ndef", TAG, "remove the tag"),
    "empty_cell": (TAG, "# %%\n\n" + TAG, 31, "an empty cell"),
    "raw_cell": ("# %% [markdown]", "# %% [raw]", "# %% [raw]", "a raw cell"),
    "no_first_marker": ("# %% [markdown]\n# # A small notebook", "x = 1", 1, "start every cell"),
    "paired": (
        "# %% [markdown]",
        "# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb,py\n# ---\n\n# %% [markdown]",
        1,
        "pairs this script",
    ),
}


@pytest.mark.parametrize(("old", "new", "at", "says"), REFUSALS.values(), ids=REFUSALS)
def test_a_script_is_refused_with_the_line_and_the_reason(tmp_path, whole_table, old, new, at, says):
    assert old in WHOLE
    text = WHOLE.replace(old, new, 1)
    path = tmp_path / f"{SLUG}.py"
    path.write_text(text, encoding="utf-8")
    _, problems = read_script(path, whole_table)
    lines = text.split("\n")
    wanted = at if isinstance(at, int) else next(number for number, line in enumerate(lines, 1) if at in line)
    told = "\n".join(map(str, problems))
    assert any(problem.line == wanted and says in problem.text for problem in problems), told
    assert len({problem.line for problem in problems}) == len(problems), f"one mistake, told twice on a line:\n{told}"


def test_the_whole_small_script_is_accepted(tmp_path, whole_table):
    path = tmp_path / f"{SLUG}.py"
    path.write_text(WHOLE, encoding="utf-8")
    cells, problems = read_script(path, whole_table)
    assert not problems
    roles = "prose given solution check solution check experiment solution check solution reflect"
    assert [cell.role for cell in cells] == roles.split()


SOUND = {
    "experiment_imports_again": ("total = float", "import numpy as np\ntotal = float"),
    "given_binds_the_name_anew": (MENDED, f"# %%\ntotal = 1\nprint(total)\n\n{MENDED.replace('x + x', 'total')}"),
    "given_loops_with_the_name": (MENDED, f"# %%\nfor total in range(3):\n    print(total)\n\n{MENDED}"),
    "given_binds_it_in_a_branch": (MENDED, f"# %%\nif True:\n    total = 1\n    print(total)\n\n{MENDED}"),
    "given_function_has_its_own": (MENDED, f"# %%\ndef f(total):\n    return total\n\n{MENDED}"),
}


@pytest.mark.parametrize(("old", "new"), SOUND.values(), ids=SOUND)
def test_names_that_only_look_like_an_experiments_are_accepted(tmp_path, whole_table, old, new):
    assert old in WHOLE
    path = tmp_path / f"{SLUG}.py"
    path.write_text(WHOLE.replace(old, new, 1).replace("return x + x\n", "return np.add(x, x)\n"), encoding="utf-8")
    assert read_script(path, whole_table)[1] == []


def test_a_script_that_is_not_utf8_is_refused(tmp_path, whole_table):
    path = tmp_path / f"{SLUG}.py"
    path.write_bytes(WHOLE.replace("A small", "Un pas à").encode("latin-1"))
    _, (problem, *_) = read_script(path, whole_table)
    assert (problem.line, problem.text) == (2, "not UTF-8; save it as UTF-8")


@pytest.mark.parametrize(
    "comment", ["# the end", "# begin with the last key", "# (B, H, Tq, D)", "# no answer depends on it"]
)
def test_an_ordinary_comment_is_no_marker(comment):
    assert regions(f"x = 1  {comment}\n{comment}") == []


def test_a_region_is_released_as_its_stub_and_answered_as_its_solution():
    first = "        ### BEGIN SOLUTION\n        #: y = ____\n        #:\n        #: return y\n        return 1\n"
    second = "        ### BEGIN SOLUTION\n        return 2\n        ### END SOLUTION"
    cell = f"class Head:\n    def f(self):\n{first}        ### END SOLUTION\n\n    def g(self):\n{second}"
    assert released(cell, "Head") == (
        "class Head:\n    def f(self):\n        y = ____\n\n        return y\n\n    def g(self):\n"
        '        raise NotImplementedError("Head is yours to write")'
    )
    assert answered(cell) == "class Head:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2"


def test_nbgrader_itself_refuses_a_region_that_the_build_would_refuse():
    from nbformat.v4 import new_code_cell

    from autograder.grading.stubs import ClearToStubs

    cell = new_code_cell("### BEGIN SOLUTON\nx = 1\n### END SOLUTION")
    with pytest.raises(MarkerError, match="looks like a marker"):
        ClearToStubs()._replace_solution_region(cell, "python")


def test_files_that_would_reach_a_learner_are_refused(course):
    for path in (source_of(course).with_suffix(".py"), release_of(course).with_suffix(".py"), course / "jupytext.toml"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(BuildError) as refused:
        build(root=course)
    assert [str(problem).partition(": ")[0] for problem in refused.value.problems] == [
        f"solutions/{SLUG}/{SLUG}.py:1",
        f"notebooks/{SLUG}/{SLUG}.py:1",
        "jupytext.toml:1",
    ]


def test_what_there_is_no_script_for_is_said(course, tmp_path):
    with pytest.raises(BuildError, match=rf"solutions/01_what_is_atention.py:1: no such script; did you mean {SLUG}"):
        build(["01_what_is_atention"], root=course)
    (course / "solutions" / "2-queries.py").touch()
    with pytest.raises(BuildError, match=r"solutions/2-queries\.py:1: not named NN_slug\.py"):
        build(root=course)
    with pytest.raises(BuildError, match="solutions:1: no such folder"):
        build(root=tmp_path / "nowhere")


def test_every_problem_of_every_script_is_told_at_once_and_nothing_is_written(course):
    text = HEADER.replace("BEGIN SOLUTION", "BEGIN SOLUTON")
    write(course, text)
    write(course, text, "02_queries_keys_values")
    with pytest.raises(BuildError) as refused:
        build(root=course)
    assert len({problem.path for problem in refused.value.problems}) == 2
    assert kept(course) == {}


# The release, read back


LINE = "    raised = np.exp(x - x.max(axis=axis, keepdims=True))"
LAST = "scores = scores + total"

LEAKS = {
    "answer_in_given_code": (TAG, f"# %%\nx, axis = scores, 0\n{LINE.strip()}\n\n{TAG}", "`raised = np.exp(x"),
    "answer_in_prose": ("# # A small notebook", f"# Write `{LINE.strip()}` here", "shows a line of an answer"),
    "accepted_answer_by_name": ("# # A small notebook", "# `softmax_by_loops` does it", "names softmax_by_loops"),
    "hidden_module": (LAST, "import autograder.references", "names autograder.references"),
}


@pytest.mark.parametrize(("old", "new", "says"), LEAKS.values(), ids=LEAKS)
def test_a_release_that_gives_something_away_is_refused(course, old, new, says):
    write(course, HEADER.replace(old, new, 1))
    with pytest.raises(BuildError, match=rf"solutions/{SLUG}.py:\d+: the release of this cell is refused") as refused:
        build(root=course, execute=False)
    assert says in str(refused.value)
    assert kept(course) == {}


HARMLESS = {
    "short_line_of_an_answer": (BEGIN, "    ### BEGIN SOLUTION\n    total = float(0)\n    raised"),
    "line_in_the_stub_of_another_exercise": ("#: equal_scores = ...", f"#: {LINE.strip()}\n#: equal_scores = ..."),
    "given_function_of_a_hidden_name": (LAST, "def softmax_by_loops(x):\n    return x"),
}


@pytest.mark.parametrize(("old", "new"), HARMLESS.values(), ids=HARMLESS)
def test_a_release_that_gives_nothing_away_is_made(course, old, new):
    write(course, HEADER.replace(old, new, 1))
    assert build(root=course, execute=False)


@pytest.fixture
def pair(tmp_path, whole_table):
    """A source notebook and the bytes of its release."""
    path = tmp_path / f"{SLUG}.py"
    path.write_text(WHOLE, encoding="utf-8")
    cells, _ = read_script(path, whole_table)
    source = source_notebook(cells)
    return source, release.make_releases({SLUG: as_bytes(source)}, REPO)[SLUG]


def test_the_release_of_a_sound_script_gives_nothing_away(pair):
    source, released_bytes = pair
    assert list(release.leaks(source, released_bytes)) == []


def tamper(index, **changes):
    return lambda notebook: notebook.cells[index].update(changes)


TAMPERED = {
    "paired by jupytext": lambda notebook: notebook.metadata.update(jupytext={"formats": "ipynb,py"}),
    "not those of the source": lambda notebook: notebook.cells.pop(),
    "an output is left": tamper(1, execution_count=1),
    "`raised = np.exp(x": tamper(2, source=f"def softmax(x):\n{LINE}"),
    "`equal_scores = (0.2": tamper(4, source="equal_scores = (0.2, 0.2, 0.2, 0.2, 0.2)"),
    "line of an answer, `return x + x`": tamper(7, source="def mended(x):\n    return x + x"),
    "the marker 'BEGIN HIDDEN TESTS'": tamper(1, source="### BEGIN HIDDEN TESTS\nx = 1"),
    "names autograder.standins": tamper(0, metadata={"note": "autograder.standins"}),
}


@pytest.mark.parametrize(("says", "spoil"), TAMPERED.items(), ids=TAMPERED)
def test_reading_back_finds_what_nbgrader_left_in(pair, says, spoil):
    source, released_bytes = pair
    notebook = nbformat.reads(released_bytes.decode(), as_version=4)
    spoil(notebook)
    assert any(says in text for _, text in release.leaks(source, as_bytes(notebook)))


def test_the_kinds_are_released_with_their_stubs_points_and_locks(pair):
    cells = {cell.id: cell for cell in nbformat.reads(pair[1].decode(), as_version=4).cells}
    assert cells["softmax"].source.endswith('    raise NotImplementedError("softmax is yours to write")')
    assert cells["equal_scores"].source == "equal_scores = ...  # your prediction: a tuple of 5 floats"
    assert cells["mended"].source.endswith("    return x + x + x")
    assert cells["reflection_90"].source == 'reflection_90 = """\n\n"""'
    points = {name: cell.metadata.nbgrader.get("points") for name, cell in cells.items() if "nbgrader" in cell.metadata}
    assert points == {
        "softmax": None,
        "check_softmax": exercises()["softmax"].points,
        "equal_scores": None,
        "check_equal_scores": exercises()["equal_scores"].points,
        "mended": None,
        "check_mended": 2,
        "reflection_90": 2,
    }
    by_hand = cells["reflection_90"].metadata.nbgrader
    assert by_hand.solution and by_hand.grade and not by_hand.locked
    checks = {"check_softmax", "check_equal_scores", "check_mended"}
    assert {name for name, cell in cells.items() if cell.metadata.get("editable") is False} == checks
    assert {name for name, cell in cells.items() if cell.metadata.get("nbgrader", {}).get("locked")} == checks


# Running


def test_outputs_that_another_machine_would_not_give_are_refused(tmp_path):
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    def shows(text, kind="text/plain", **more):
        return new_code_cell("x", outputs=[new_output("execute_result", {kind: text, **more}, execution_count=1)])

    exercise = exercises()["softmax"]
    cells = [
        shows("<Axes at 0x7f1200aa>"),
        shows(f"{tmp_path}/answers"),
        shows("{}", "application/vnd.jupyter.widget-view+json"),
        new_code_cell("x", outputs=[new_output("stream", name="stderr", text="a.py:1: UserWarning: so\n")]),
        new_code_cell("x", outputs=[new_output("error", ename="ValueError", evalue="so", traceback=[])]),
        shows(str(exercise.points - 1)),
        shows("nan"),
        new_code_cell("x"),
        shows(f"{exercise.points}", **{"text/html": "<b>prediction noted</b>"}),
        shows(f"{exercise.points}.0", **{"text/html": "<b>passed</b>"}),
        shows("0.25"),
        new_code_cell("x", outputs=[new_output("display_data", {"image/png": "aGk="})]),
        new_code_cell(
            "x", outputs=[new_output("display_data", {"image/png": "aGk="}, metadata={"image/png": {"alt": "a"}})]
        ),
    ]
    wanted = "memory address|path of this|a widget|stderr|ValueError: so|earns|earns nan|earns nothing|is not right"
    wanted += "|without alt text"
    checks = {cells[index].id: exercise for index in (5, 6, 7, 8, 9)}
    told = list(execution.faults(new_notebook(cells=cells), checks, tmp_path))
    assert [index for index, _ in told] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 11]
    assert all(part in text for part, (_, text) in zip(wanted.split("|"), told, strict=True)), told


FAILURES = [
    ("raise ValueError('so')", "ValueError: so"),
    ("while True: pass", "still running after 2 s"),
    ("import os; os._exit(3)", "the kernel died"),
    ("import sys; print('so', file=sys.stderr)", "writes to stderr"),
]


@pytest.mark.parametrize(("code", "says"), FAILURES, ids=["error", "hang", "death", "stderr"])
def test_a_notebook_that_fails_keeps_what_is_stored_and_names_the_line(course, monkeypatch, code, says):
    build(root=course, execute=False)
    before = kept(course)
    write(course, HEADER.replace("scores = scores + total", f"scores = scores + total\n{code}"))
    monkeypatch.setattr(execution, "TIMEOUT", 2)
    with pytest.raises(BuildError) as refused:
        build(root=course)
    (problem,) = refused.value.problems
    assert (str(problem.path), problem.line) == (f"solutions/{SLUG}.py", 32)
    assert says in problem.text
    assert kept(course) == before


def test_building_runs_the_source_once_and_building_again_changes_no_byte(course, monkeypatch):
    write(course, HEADER.replace("scores = scores + total", 'print("one", flush=True)\nprint("two")'))
    (course / ".attention").touch()  # even under a workspace, a build records nothing
    (built,) = build(root=course)
    assert built.executed
    assert built.changed == (source_of(course), release_of(course))
    first = kept(course)
    cells = cells_of(source_of(course))
    assert float(cells["check_softmax"].outputs[0].data["text/plain"]) == exercises()["softmax"].points
    assert [output.text for output in list(cells.values())[-1].outputs] == ["one\ntwo\n"]
    assert cells_of(release_of(course))["check_softmax"].outputs == []
    stored = json.loads(first[source_of(course)])
    assert stored["metadata"]["kernelspec"]["name"] == "python3"
    assert "version" not in stored["metadata"]["language_info"]
    assert all("execution" not in cell["metadata"] for cell in stored["cells"])

    (forced,) = build(root=course, force=True)
    assert (forced.executed, forced.changed) == (True, ())
    monkeypatch.setattr(execution, "execute", lambda *_: pytest.fail("run again without a change"))
    (again,) = build(["1"], root=course)
    assert (again.executed, again.changed) == (False, ())
    assert build(root=course, check=True)
    assert kept(course) == first
    files = {path.relative_to(course).as_posix() for path in course.rglob("*") if path.is_file()}
    made = {f"{folder}/{SLUG}/{SLUG}.ipynb" for folder in ("solutions", "notebooks")}
    assert files == made | {f"solutions/{SLUG}.py", "nbgrader_config.py", ".attention"}


def test_without_execution_the_source_has_no_outputs_and_the_check_says_so(course):
    build(root=course, execute=False)
    assert not any(cell.get("outputs") for cell in cells_of(source_of(course)).values())
    with pytest.raises(BuildError, match=rf"solutions/{SLUG}/{SLUG}.ipynb:1: stored without its outputs"):
        build(root=course, check=True)


def edit(path, change):
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)


def set_points(notebook):
    notebook.cells[3].metadata.nbgrader.points = 9


def add_orphan(root):
    (root / "notebooks" / "09_gone").mkdir()
    (root / "notebooks" / "09_gone" / "09_gone.ipynb").touch()


STALE = {
    "missing": (lambda root: release_of(root).unlink(), ["notebooks"], "is missing"),
    "not_json": (lambda root: source_of(root).write_text("{"), ["solutions"], "cannot be read"),
    "edited_cell": (lambda root: edit(release_of(root), tamper(0, source="# B")), ["notebooks"], "first in cell 1"),
    "edited_points": (lambda root: edit(source_of(root), set_points), ["solutions"], "first in cell 4 (check_softmax)"),
    "lost_cell": (lambda root: edit(source_of(root), lambda nb: nb.cells.pop()), ["solutions"], "has 6 cells"),
    "other_kernel": (
        lambda root: edit(release_of(root), lambda nb: nb.metadata.kernelspec.update(name="r")),
        ["notebooks"],
        "metadata",
    ),
    "edited_script": (
        lambda root: write(root, HEADER.replace("A small", "Another")),
        ["solutions", "notebooks"],
        "first in cell 1",
    ),
    "no_script": (add_orphan, ["notebooks"], "no script gives this notebook"),
}


@pytest.fixture
def built(course, monkeypatch):
    """The course as if built: run by hand, so that no kernel is needed."""

    def number(notebook):
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for count, cell in enumerate(code, 1):
            cell.execution_count = count

    build(root=course, execute=False)
    edit(source_of(course), number)
    monkeypatch.setattr(execution, "execute", lambda *_: pytest.fail("a check runs nothing"))
    assert build(root=course, check=True)
    return course


@pytest.mark.parametrize(("spoil", "where", "says"), STALE.values(), ids=STALE)
def test_the_check_lists_every_stale_notebook_and_runs_and_writes_nothing(built, spoil, where, says):
    spoil(built)
    before = kept(built)
    with pytest.raises(BuildError) as refused:
        build(root=built, check=True)
    assert [problem.path.parts[0] for problem in refused.value.problems] == where
    assert all(says in problem.text for problem in refused.value.problems), str(refused.value)
    assert kept(built) == before


def test_the_check_leaves_outputs_to_nbval(built):
    edit(source_of(built), lambda nb: nb.cells[1].outputs.append(nbformat.v4.new_output("stream", text="hello")))
    assert build(root=built, check=True)


def test_a_cell_keeps_its_id_when_another_cell_changes(built):
    before = list(cells_of(release_of(built)))
    write(built, HEADER.replace("A small", "Another"))
    build(root=built, execute=False)
    after = list(cells_of(release_of(built)))
    assert before[1:] == after[1:]
    assert before[0] != after[0]


def test_a_crash_while_writing_leaves_the_old_notebook_whole(built, monkeypatch):
    before = kept(built)
    write(built, HEADER.replace("A small", "Another"))

    def crash(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="disk full"):
        build(root=built, execute=False)
    assert kept(built) == before
    assert not list(built.rglob("*.part"))


def test_nbgrader_generate_assignment_gives_the_same_bytes(built):
    before = release_of(built).read_bytes()
    release_of(built).unlink()
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", SLUG, "--no-db", "--force"]
    environment = os.environ | {"PYTHONPATH": str(REPO), "JUPYTER_CONFIG_DIR": str(built / "jupyter")}
    run = subprocess.run(command, cwd=built, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert release_of(built).read_bytes() == before
