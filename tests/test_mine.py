"""The learner's own library: what comes along from a notebook, what is written, and what `mine` gives."""

import importlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import autograder
from autograder import mine as mine_first_imported_as_a_name
from autograder.exercise import exercises
from autograder.slicing import ran_before, slice_source, uses
from autograder.verdict import run
from autograder.workspace import MARKER

library = importlib.import_module("autograder.mine")
mine = library.mine

SOFTMAX = """
import numpy as np

def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)
"""
LOOKUP = """
from autograder import check, mine
import numpy as np

def soft_lookup(query, keys, values, temperature=1.0):
    weights = mine.softmax(keys @ query / temperature)
    return weights @ values, weights
"""
X = np.array([[0.5, 1.0, -2.0], [3.0, 0.0, 1.0]])
SHARES = np.exp(X) / np.exp(X).sum(-1, keepdims=True)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """A kernel that has not used the library yet."""
    for name in ("NBGRADER_EXECUTION", "ATTENTION_STANDINS"):
        monkeypatch.delenv(name, raising=False)

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == "my_attention"]:
            del sys.modules[name]
        for store in (library._loaded, library._said, library._places, library._stopped, mine._known):
            store.clear()
        library._held_back.clear()

    forget()
    yield forget
    forget()


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / MARKER).touch()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def shell(workspace, monkeypatch):
    """A real IPython, in this process."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(workspace.parent / "ipython"))
    before = sys.displayhook, sys.excepthook
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.events.register("post_run_cell", library._note_cell)
    made.run = lambda *cells: [made.run_cell(cell, store_history=True) for cell in cells][-1]
    made.run("from autograder import check, mine")
    yield made
    InteractiveShell.clear_instance()
    sys.displayhook, sys.excepthook = before


def keep(workspace, source, name="softmax"):
    return library.save(exercises()[name], None, [source], workspace)


def have(workspace, *sources):
    """A library with answers in it."""
    for source in sources:
        name = re.search(r"def (\w+)", source)[1]
        assert keep(workspace, source, name).startswith(f"mine.{name} is now your own code"), name


def variant(number):
    """A right answer that differs in its text."""
    return SOFTMAX.replace("e /", f"{number} * e / {number} /")


def file_of(workspace, name="softmax"):
    return workspace / "my_attention" / f"{name}.py"


def in_a_process(code, folder, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(autograder.__file__).parents[1])} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


# --- what comes along ------------------------------------------------------------------------------------------------

# what it shows: (cells, an expression and its value, texts that must not come along)
JOURNEYS = {
    "a function": (["def f(x): return x + 1"], "f(1) == 2", ()),
    "a coroutine": (["async def f(x): return x + 1"], "f(1).close() is None", ()),
    "a class with its base": (
        ["class A:\n    n = 2", "class f(A):\n    def g(self): return self.n"],
        "f().g() == 2",
        (),
    ),
    "a lambda": (["k = 3", "f = lambda x: k * x"], "f(2) == 6", ()),
    "a decorated function": (
        [
            "import functools",
            "def twice(g):\n    @functools.wraps(g)\n    def h(x): return g(g(x))\n    return h",
            "@twice\ndef f(x): return x + 1",
        ],
        "f(1) == 3",
        (),
    ),
    "a partial": (
        ["from functools import partial", "def g(a, x): return a * x", "f = partial(g, 5)"],
        "f(2) == 10",
        (),
    ),
    "a factory's product": (["def make(n):\n    return lambda x: x + n", "f = make(4)"], "f(1) == 5", ()),
    "an instance": (["class G:\n    def __call__(self, x): return -x", "f = G()"], "f(1) == -1", ()),
    "helpers of other cells": (
        ["def f(x): return g(x) + 1", "def h(x): return x", "def g(x): return h(x)"],
        "f(1) == 2",
        (),
    ),
    "a constant that an unpacking binds": (
        ["(a, *b), c = (1, 2, 3), 4", "def f(): return a, b, c"],
        "f() == (1, [2, 3], 4)",
        (),
    ),
    "an annotated constant": (["n: int = 3\nm: int", "def f(): return n"], "f() == 3", ("m: int",)),
    "a walrus": (["(n := 3)", "def f(): return n"], "f() == 3", ()),
    "a constant two statements share a line with": (["a = 1; b = 2", "def f(): return b"], "f() == 2", ("a =",)),
    "an import under another name": (
        ["from math import exp as e, log\nimport json", "def f(): return e(0)"],
        "f() == 1",
        ("log", "json"),
    ),
    "a dotted import": (["import os\nimport os.path", "def f(): return os.path.join('a')"], "f() == 'a'", ()),
    "an import that a redefinition follows": (
        ["from math import exp", "old = exp", "def exp(x): return -old(x)", "def f(): return exp(0)"],
        "f() == -1",
        (),
    ),
    "a star import": (
        ["from math import *\nfrom string import *", "def f(): return floor(2.5)"],
        "f() == 2",
        ("string",),
    ),
    "a star import that hides a builtin": (
        ["from numpy import *", "def f(): return sum([[1, 2]], axis=-1)[0]"],
        "f() == 3",
        (),
    ),
    "only the latest definition": (["def f(): return wrong", "wrong = 1", "def f(): return 2"], "f() == 2", ("wrong",)),
    "an old definition that the new one calls": (
        ["def f(x): return x", "old = f", "def f(x): return old(x) + 1"],
        "f(1) == 2",
        (),
    ),
    "a class that extends its old self": (
        ["class f:\n    a = 1", "class f(f):\n    b = 2"],
        "(f.a, f.b) == (1, 2)",
        (),
    ),
    "a value made while another helper was current": (
        ["def g(): return 1", "n = g()", "def g(): return 2", "def f(): return n, g()"],
        "f() == (1, 2)",
        (),
    ),
    "a helper inside a helper made early": (
        ["k = 1", "def g(): return k", "n = g()", "k = 2", "def f(): return n"],
        "f() == 1",
        (),
    ),
    "a table that grows": (
        ["T = []", "T.append(1)\nT += [2]\nT[0] = 5\nfor i in range(2):\n    T.insert(0, i)", "def f(): return T"],
        "f() == [1, 0, 5, 2]",
        (),
    ),
    "a table filled by a procedure": (
        ["T = {}", "def fill():\n    for i in range(2):\n        T[i] = i", "fill()", "def f(): return T"],
        "f() == {0: 0, 1: 1}",
        (),
    ),
    "a registry filled by a decorator": (
        [
            "R = {}",
            "def reg(g):\n    R[g.__name__] = g\n    return g",
            "@reg\ndef a(): return 7",
            "def f(): return R['a']()",
        ],
        "f() == 7",
        (),
    ),
    "a counter that a procedure raises": (
        ["n = 0", "def bump():\n    global n\n    n += 1", "bump()\nbump()", "def f(): return n"],
        "f() == 2",
        (),
    ),
    "an array changed by a function": (
        ["import numpy as np\nM = np.zeros((2, 2))", "np.fill_diagonal(M, 1)", "def f(): return M.trace()"],
        "f() == 2",
        (),
    ),
    "an attribute of the function": (["def f(): return f.n", "f.n = 3", "f.n += 1"], "f() == 4", ()),
    "a method put into a class": (["class f:\n    pass", "def g(self): return 8", "f.g = g"], "f().g() == 8", ()),
    "either branch": (
        ["if len('a'):\n    def g(): return 1\nelse:\n    def g(): return 2", "def f(): return g()"],
        "f() == 1",
        (),
    ),
    "a branch that was not taken": (["n = 1", "if len(''):\n    n = 2", "def f(): return n"], "f() == 1", ()),
    "a guarded import": (
        ["try:\n    import no_such_module as m\nexcept ImportError:\n    m = None", "def f(): return m"],
        "f() is None",
        (),
    ),
    "a value bound under with": (
        ["import io\nwith io.StringIO('a') as s:\n    n = s.read()", "def f(): return n"],
        "f() == 'a'",
        (),
    ),
    "a match": (["match (1, 2):\n    case (a, b):\n        n = a + b", "def f(): return n"], "f() == 3", ()),
    "names that are local only": (
        ["x = y = z = 1 / 1", "def f(x):\n    y = 2\n    return [z for z in (x, y)]"],
        "f(1) == [1, 2]",
        ("1 / 1",),
    ),
    "a global that a nested function reads": (
        ["n = 4", "def f():\n    def g():\n        return n\n    return g()"],
        "f() == 4",
        (),
    ),
    "a class attribute is not the global of its name": (
        ["n = 1", "class f:\n    n = 2\n    def g(self): return n"],
        "f().g() == 1",
        (),
    ),
    "magics": (
        ["%matplotlib inline\nk = 1\n!true", "%%time\ndef g(): return k", "def f(): return g()"],
        "f() == 1",
        ("get_ipython",),
    ),
    "a cell that is not Python": (["%%html\n<b>", "def (", "def f(): return 1"], "f() == 1", ()),
    "a cell that awaits": (["await thing", "def f(): return 1"], "f() == 1", ("await",)),
    "the future": (["from __future__ import annotations", "def f(x: Nowhere): return 1"], "f(1) == 1", ()),
    "nothing that only looks": (
        [
            "T = [1]",
            "noise = 1\nif T:\n    T.append(2)\n    print(T, noise)\n    plt.plot(T)",
            "T.index(1)\ncheck('f', T)\ndisplay(T)\nfig = plt.figure()",
            "def f(): return T",
        ],
        "f() == [1, 2]",
        ("print", "plt", "check", "display", "index", "fig", "noise"),
    ),
    "display itself": (["def f(x):\n    display(x)\n    return x"], "display and f", ()),
}


@pytest.mark.parametrize("what", JOURNEYS)
def test_it_survives_the_journey(what):
    cells, expression, absent = JOURNEYS[what]
    source = slice_source(cells, "f")
    names = {}
    exec(compile(source, what, "exec", dont_inherit=True), names)
    assert eval(expression, names), source
    assert [text for text in absent if text in source] == []


def test_a_module_reads_as_if_written_by_hand():
    cells = [
        "import numpy as np\nfrom math import sqrt\nfrom math import exp\nimport json",
        "# not about shift\n\n# the largest score becomes 0\n# so that exp stays finite\n"
        "def shift(x):\n    return x - max(x)  # keep",
        "a, b = 1, 2\nc = 3",
        "def f(x):\n    return np.exp(shift(x)) * exp(a) * sqrt(c)",
        "def f(x):\n    return np.exp(shift(x)) * exp(a) * sqrt(c)",
    ]
    assert slice_source(cells, "f") == (
        "from math import exp, sqrt\n\nimport numpy as np\n\n\n"
        "# the largest score becomes 0\n# so that exp stays finite\ndef shift(x):\n    return x - max(x)  # keep\n\n\n"
        "a, b = 1, 2\nc = 3\n\n\n"
        "def f(x):\n    return np.exp(shift(x)) * exp(a) * sqrt(c)\n"
    )


@pytest.mark.parametrize(
    "line",
    ["from autograder import check, mine", "from autograder.mine import mine", "from autograder import mine as m"],
)
def test_mine_becomes_the_plain_package(line):
    name = "m" if line.endswith("as m") else "mine"
    source = slice_source([line, f"def f(x): return {name}.softmax(x)"], "f")
    assert source.startswith(f"import my_attention as {name}\n")
    inside = slice_source([f"def f(x):\n    {line.replace('check, ', '')}\n    return {name}.softmax(x)"], "f")
    assert f"    import my_attention as {name}\n" in inside
    assert uses(source) == uses(inside) == {"softmax"}


def test_a_name_that_no_cell_defines_is_said():
    with pytest.raises(LookupError, match="no cell defines f"):
        slice_source(["def g(): pass", "print(f)"], "f")


def test_of_a_cell_that_raised_only_the_part_before_ran():
    cell = "def g(): return 1\n\ng = lambda: 2\nwith open('a'):\n    1 / 0\ndef g(): return 3"
    assert ran_before(cell, 5) == "def g(): return 1\n\ng = lambda: 2\n"
    assert ran_before(cell, 1) == ""
    assert ran_before(cell, 3, through=True).endswith("g = lambda: 2\n")


# --- what is written -------------------------------------------------------------------------------------------------


def test_a_pass_is_kept_as_a_readable_module(workspace):
    assert keep(workspace, SOFTMAX) == "mine.softmax is now your own code: my_attention/softmax.py"
    text = file_of(workspace).read_text()
    assert text.startswith('"""softmax, as written in notebook 01_what_is_attention when its check passed in full.\n')
    assert re.search(r"^# checksum of the lines below: [0-9a-f]{16}$", text, re.M)
    assert text.endswith(SOFTMAX.strip().replace("np\n\ndef", "np\n\n\ndef") + "\n")
    assert "from .softmax import softmax" in (workspace / "my_attention" / "__init__.py").read_text()


FORMS = {
    "a lambda": "softmax = lambda x, axis=-1: np.exp(x - x.max(axis, keepdims=True)) / "
    "np.exp(x - x.max(axis, keepdims=True)).sum(axis, keepdims=True)",
    "a class": SOFTMAX.replace("def softmax(", "def body(") + "class softmax:\n    def __new__(cls, x, axis=-1):\n"
    "        return body(x, axis)",
    "an instance": SOFTMAX.replace("def softmax(", "def body(") + "class Soft:\n    def __call__(self, x, axis=-1):\n"
    "        return body(x, axis)\n\nsoftmax = Soft()",
    "a partial": SOFTMAX.replace("def softmax(x, axis=-1)", "def body(low, x, axis=-1)")
    + "import functools\nsoftmax = functools.partial(body, 0)",
    "a decorated function": "import functools\n\ndef as_array(f):\n    @functools.wraps(f)\n    def g(x, axis=-1):\n"
    "        return f(np.asarray(x), axis)\n    return g\n" + SOFTMAX.replace("def soft", "@as_array\ndef soft"),
    "a dataclass under the future": "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
    "@dataclass\nclass Soft:\n    low: int = 0\n    def __call__(self, x, axis=-1):\n        return body(x, axis)\n"
    + SOFTMAX.replace("def softmax(", "def body(")
    + "softmax = Soft()",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_answer_is_kept_and_used(workspace, form):
    assert "is now your own code" in keep(workspace, "import numpy as np\n" + FORMS[form])
    assert np.allclose(mine.softmax(X), SHARES)
    assert plain(workspace)["own"] == [0.5, 0.5]


def test_the_same_answer_again_rewrites_nothing(workspace):
    have(workspace, SOFTMAX)
    before = {path: path.stat().st_mtime_ns for path in (workspace / "my_attention").iterdir()}
    assert keep(workspace, SOFTMAX + "\n\ncheck('softmax', softmax)\n") is None
    assert {path: path.stat().st_mtime_ns for path in (workspace / "my_attention").iterdir()} == before


def test_versions_within_one_second_are_all_kept(workspace, monkeypatch):
    monkeypatch.setattr(library.time, "strftime", lambda form: "20260102-030405")
    lines = [keep(workspace, variant(number)) for number in (1, 2, 4)]
    assert lines[2].endswith("the version before is in my_attention/earlier/softmax-20260102-030405-2.py")
    kept = sorted((workspace / "my_attention" / "earlier").iterdir())
    assert [path.name for path in kept] == ["softmax-20260102-030405-2.py", "softmax-20260102-030405.py"]
    assert ["2 * e" in path.read_text() for path in kept] == [True, False]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def softmax(x, axis=-1): return helper(x)", "fails (NameError: name 'helper' is not defined)"),
        ("softmax = helper(3)", "cannot be defined (NameError: name 'helper' is not defined)"),
        ("def softmax(x, axis=-1): return x", "does not pass its check (sums_to_one, "),
        ("def softmax(x, axis=-1): return get_ipython()", "fails (NameError: name 'get_ipython' is not defined)"),
        ("raise SystemExit(3)\nsoftmax = exit()", "cannot be defined (SystemExit: None)"),
        ("x = 1", "no cell defines softmax"),
        ("from autograder import mine\nsoftmax = mine.softmax", "it uses mine.softmax, which would be itself"),
    ],
)
def test_what_does_not_pass_alone_is_not_kept_and_the_line_says_why(workspace, source, reason):
    line = keep(workspace, source)
    assert line.startswith("not kept in my_attention: ") and reason in line
    assert not (workspace / "my_attention").exists()


def test_an_answer_that_would_wait_for_itself_is_not_kept(workspace):
    have(workspace, SOFTMAX)
    have(workspace, LOOKUP)
    circle = (
        "from autograder import mine\ndef softmax(x, axis=-1):\n    mine.soft_lookup\n" + SOFTMAX.partition("):\n")[2]
    )
    assert "it uses mine.soft_lookup, which uses mine.softmax" in keep(workspace, "import numpy as np\n" + circle)
    assert "soft_lookup" not in file_of(workspace).read_text()


def test_predictions_are_not_kept(workspace):
    assert keep(workspace, "equal_scores = (0.2,) * 5", "equal_scores") is None
    assert not (workspace / "my_attention").exists()


def test_a_file_edited_by_hand_stays_and_the_new_version_goes_beside_it(workspace, capsys):
    have(workspace, SOFTMAX)
    edited = file_of(workspace).read_text() + "\nEDITED = True\n"
    file_of(workspace).write_text(edited)
    line = keep(workspace, variant(1))
    assert line == (
        "my_attention/softmax.py was edited by hand and stays as it is; "
        "this version is in my_attention/passed/softmax.py"
    )
    assert file_of(workspace).read_text() == edited
    assert "1 * e" in (workspace / "my_attention" / "passed" / "softmax.py").read_text()
    assert keep(workspace, variant(1)) is None
    keep(workspace, variant(2))
    assert len(list((workspace / "my_attention" / "earlier").glob("softmax-*.py"))) == 1
    assert np.allclose(mine.softmax(X), SHARES) and mine.softmax(X) is not None
    assert capsys.readouterr().out == (
        "mine.softmax: yours, my_attention/softmax.py, edited by hand since its check passed\n"
    )


def test_saving_a_file_with_an_editor_is_no_edit(workspace):
    have(workspace, SOFTMAX)
    file_of(workspace).write_bytes(file_of(workspace).read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert "passed/" not in keep(workspace, variant(1))


BREAKAGES = {
    "half written": lambda text: text[: len(text) // 2 + 60],
    "a syntax error": lambda text: text + "\ndef (\n",
    "not UTF-8": lambda text: text.encode() + b"\xff\xfe",
    "an error on import": lambda text: text + "\n1 / 0\n",
    "an exit on import": lambda text: text + "\nraise SystemExit\n",
    "without the name": lambda text: text.replace("softmax(", "sofmax("),
    "empty": lambda text: "",
}


@pytest.mark.parametrize("how", BREAKAGES)
def test_a_broken_file_is_said_stands_aside_and_is_never_overwritten(workspace, capsys, fresh, how):
    have(workspace, SOFTMAX)
    have(workspace, KERNEL)
    broken = BREAKAGES[how](file_of(workspace).read_text())
    broken = broken if isinstance(broken, bytes) else broken.encode()
    file_of(workspace).write_bytes(broken)
    fresh()
    assert mine.softmax.__module__ == "autograder.standins.nb01_what_is_attention"
    assert mine.softmax is mine.softmax
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.startswith("mine.softmax: a stand-in from the course, since my_attention/softmax.py ")
    assert mine.kernel_attention.__module__ == "my_attention.kernel_attention"
    assert "edited by hand and stays" in keep(workspace, variant(1))
    assert file_of(workspace).read_bytes() == broken


KERNEL = """
import numpy as np

def kernel_attention(x_q, x_k, y, sigma):
    s = -((x_q[:, None] - x_k) ** 2) / (2 * sigma**2)
    e = np.exp(s - s.max(-1, keepdims=True))
    weights = e / e.sum(-1, keepdims=True)
    return weights @ y, weights
"""


def test_a_module_that_uses_a_broken_one_stands_aside_too(workspace, capsys, fresh):
    have(workspace, SOFTMAX)
    have(workspace, LOOKUP)
    file_of(workspace).write_text("def (")
    fresh()
    assert mine.soft_lookup.__module__.startswith("autograder.standins")
    assert (
        "since my_attention/softmax.py, which it uses, cannot be imported: SyntaxError, line 1"
        in capsys.readouterr().out
    )


def test_a_changed_or_lost_init_is_written_anew_and_the_changed_one_kept(workspace, fresh):
    have(workspace, SOFTMAX)
    init = workspace / "my_attention" / "__init__.py"
    whole = init.read_text()
    for text in ("import (", None):
        init.unlink() if text is None else init.write_text(text)
        fresh()
        assert mine.softmax.__module__ == "my_attention.softmax"
        assert init.read_text() == whole
    assert [path.read_text() for path in (workspace / "my_attention" / "earlier").iterdir()] == ["import ("]


def test_a_folder_that_cannot_be_written_is_said_and_the_check_stands(workspace):
    (workspace / "my_attention").write_text("a file")
    assert keep(workspace, SOFTMAX).startswith("not kept in my_attention: ")


def test_a_lock_that_stays_is_said(workspace, monkeypatch):
    monkeypatch.setattr(library, "LOCK_SECONDS", 0.05)
    with library.FileLock(workspace / library.LOCK):
        assert "lock" in keep(workspace, SOFTMAX)


SAVE_MANY = """
import sys
from pathlib import Path
from autograder.exercise import exercises
from autograder.mine import save
text, first = {text!r}, int(sys.argv[1]) if len(sys.argv) > 1 else {first}
for number in range(first, first + {count}):
    line = save(exercises()["softmax"], None, [text.replace("e /", f"{{number}} * e / {{number}} /")], Path("."))
    print(line, flush=True)
"""


def test_two_processes_that_save_at_once_lose_nothing(workspace):
    codes = [SAVE_MANY.format(text=SOFTMAX, first=first, count=8) for first in (1, 101)]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda code: in_a_process(code, workspace), codes))
    assert [one.stderr for one in done] == ["", ""]
    assert all("is now your own code" in line for one in done for line in one.stdout.splitlines())
    files = [file_of(workspace), *(workspace / "my_attention" / "earlier").iterdir()]
    numbers = sorted(int(re.search(r"(\d+) \* e", path.read_text())[1]) for path in files)
    assert numbers == [*range(1, 9), *range(101, 109)]
    assert not any(library._Stored.read(path).edited for path in files)


def test_a_kernel_killed_while_it_writes_leaves_whole_files(workspace):
    have(workspace, SOFTMAX)
    for delay in (0.0, 0.003, 0.006, 0.01):
        child = subprocess.Popen(
            [sys.executable, "-c", SAVE_MANY.format(text=SOFTMAX, first=1 + int(delay * 1e6), count=1000)],
            cwd=workspace,
            env=os.environ | {"PYTHONPATH": str(Path(autograder.__file__).parents[1])},
            stdout=subprocess.PIPE,
        )
        child.stdout.readline()  # it is writing now
        deadline = time.monotonic() + delay
        while time.monotonic() < deadline:
            pass
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        for path in (workspace / "my_attention").rglob("*.py"):
            assert not library._Stored.read(path).edited, path
            compile(path.read_text(), str(path), "exec")
    assert keep(workspace, variant(1.5)) is not None, "the lock is free again"
    assert not list((workspace / "my_attention").rglob("*.tmp")), "what the killed kernel left is swept"


@pytest.mark.parametrize("at", ["earlier", "softmax.py", "__init__.py"])
def test_stopped_before_any_rename_the_old_version_is_whole(workspace, monkeypatch, at):
    have(workspace, SOFTMAX)
    have(workspace, KERNEL)
    file_of(workspace, "kernel_attention").unlink()  # so that __init__.py must change as well
    before, real = file_of(workspace).read_bytes(), Path.replace

    def stop(self, target):
        if (Path(target).parent.name if at == "earlier" else Path(target).name) == at:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    assert keep(workspace, variant(1)) == "not kept in my_attention: interrupted"
    monkeypatch.undo()
    now = library._Stored.read(file_of(workspace))
    assert not now.edited and (file_of(workspace).read_bytes() == before) == (at != "__init__.py")


# --- from a notebook -------------------------------------------------------------------------------------------------


def test_a_check_in_a_notebook_keeps_what_the_cells_made(shell, workspace, capsys):
    shell.run(
        "import numpy as np\ntemperature = 1", "%%time\ndef shift(x, axis):\n    return x - x.max(axis, keepdims=True)"
    )
    shell.run(
        "def softmax(x, axis=-1):\n    e = np.exp(shift(x, axis) / temperature)\n"
        "    return e / e.sum(axis, keepdims=True)"
    )
    verdict = shell.run('check("softmax", softmax)').result
    assert "mine.softmax is now your own code: my_attention/softmax.py" in verdict.note
    assert "def shift" in file_of(workspace).read_text() and "temperature = 1" in file_of(workspace).read_text()
    assert np.allclose(mine.softmax(X), SHARES)
    assert mine.softmax.__module__ == "my_attention.softmax"


def test_what_a_cell_did_after_it_raised_is_not_taken(shell, workspace):
    shell.run(SOFTMAX.replace("softmax", "good"), "one = 1\n1 / 0\none = 2\ndef good(x, axis=-1): return x")
    shell.run("def softmax(x, axis=-1): return one * good(x, axis)", 'check("softmax", softmax)')
    assert "one = 1" in file_of(workspace).read_text() and "return x\n" not in file_of(workspace).read_text()


def test_what_comes_after_the_check_in_its_cell_is_not_taken(shell, workspace):
    shell.run(SOFTMAX + 'check("softmax", softmax)\ndef softmax(x, axis=-1): return x')
    assert "return e / e.sum" in file_of(workspace).read_text()


@pytest.mark.parametrize(
    "cell",
    [
        SOFTMAX.replace("softmax", "attempt_2") + '\ncheck("softmax", attempt_2)',
        SOFTMAX.replace("softmax", "raw") + '\nfrom functools import partial\ncheck("softmax", partial(raw))',
        SOFTMAX.replace("softmax", "raw") + '\nautograder.check("softmax", lambda x, axis=-1: raw(x, axis))',
    ],
)
def test_an_answer_checked_under_another_name_is_kept_under_the_exercises(shell, workspace, cell):
    shell.run("def softmax(x, axis=-1):\n    raise NotImplementedError", "import autograder", cell)
    assert run("softmax", mine.softmax) and mine.softmax.__module__ in ("my_attention.softmax", "functools")
    assert "\nsoftmax = " in file_of(workspace).read_text()


def test_an_answer_that_needs_ipython_is_not_kept(shell, workspace):
    shell.run("import numpy as np", SOFTMAX.replace("    e = ", "    get_ipython()\n    e = "))
    verdict = shell.run('check("softmax", softmax)').result
    assert verdict and "name 'get_ipython' is not defined" in verdict.note
    assert not (workspace / "my_attention").exists()


def test_a_wrong_answer_is_not_kept(shell, workspace):
    shell.run("def softmax(x, axis=-1): return x", 'check("softmax", softmax)')
    assert not (workspace / "my_attention").exists()


def test_a_note_that_comes_while_an_answer_is_judged_is_shown_after_the_cell(shell, capsys):
    shell.run(LOOKUP)
    verdict = shell.run('check("soft_lookup", soft_lookup)').result
    assert verdict and all("stand-in" not in str(result) for result in verdict.checks)
    assert capsys.readouterr().out.count("mine.softmax: a stand-in from the course") == 1


def test_two_real_kernels_in_one_workspace_share_the_library(workspace, monkeypatch):
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("PYTHONPATH", str(Path(autograder.__file__).parents[1]))
    pairs = [start_new_kernel(kernel_name="python3", cwd=str(workspace)) for _ in range(2)]
    shown = []

    def tell(client, code):
        outputs = []
        reply = client.execute_interactive(
            code, timeout=60, store_history=True, output_hook=lambda message: outputs.append(message["content"])
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        text = "".join(output.get("text", "") for output in outputs)
        shown.append(text)
        return text

    try:
        (_, first), (_, second) = pairs
        assert "a stand-in" in tell(second, "from autograder import mine; f = mine.softmax")
        tell(first, "from autograder import check, mine")
        tell(first, SOFTMAX)
        tell(first, 'check("softmax", softmax)')
        assert tell(second, "print(mine.softmax.__module__, mine.softmax is f)") == "my_attention.softmax False\n"
        tell(second, LOOKUP + '\nassert check("soft_lookup", soft_lookup)')
        assert tell(first, "print(mine)").startswith("mine: 2 of your own (softmax, soft_lookup)")
    finally:
        for manager, client in pairs:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


# --- mine ------------------------------------------------------------------------------------------------------------


def test_mine_is_one_object_however_it_is_imported(workspace):
    have(workspace, SOFTMAX)
    code = (
        "import autograder, sys\nassert 'autograder.mine' not in sys.modules\n{}\n"
        "from autograder import mine\nfrom autograder.mine import mine as again\n"
        "assert mine.softmax is again.softmax is autograder.mine.softmax\n"
        "assert repr(mine) == repr(again) and dir(mine) == dir(again)\nprint('same')"
    )
    for first in ("from autograder.mine import save_passed", "autograder.mine", "import autograder.mine"):
        done = in_a_process(code.format(first), workspace)
        assert done.stdout == "same\n", done.stderr
    assert mine_first_imported_as_a_name.softmax is mine.softmax


def test_no_exercise_is_hidden_by_a_name_of_the_module():
    assert not set(exercises()) & set(vars(library))


def test_a_stand_in_is_said_once_in_a_workspace(workspace, capsys):
    for _ in range(3):
        assert np.allclose(mine.softmax(X), SHARES)
    assert capsys.readouterr().out == (
        'mine.softmax: a stand-in from the course, as check("softmax", …) has not passed yet\n'
    )
    assert [path.name for path in workspace.iterdir()] == [MARKER], "reading writes nothing"


def test_outside_a_workspace_it_is_a_stand_in_in_silence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert np.allclose(mine.softmax(X), SHARES)
    assert capsys.readouterr().out == ""
    assert repr(mine).startswith("mine: ") and "stand-ins from the course" in repr(mine)


@pytest.mark.parametrize("variable", ["NBGRADER_EXECUTION", "ATTENTION_STANDINS"])
def test_in_a_graded_run_it_is_a_stand_in_in_silence(workspace, monkeypatch, capsys, variable):
    have(workspace, SOFTMAX)
    assert mine.softmax.__module__ == "my_attention.softmax"
    monkeypatch.setenv(variable, "1")
    assert mine.softmax.__module__.startswith("autograder.standins")
    assert capsys.readouterr().out == ""


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(AttributeError, match=r"mine has no 'sofmax'.*did you mean softmax"):
        _ = mine.sofmax
    assert not hasattr(mine, "_repr_html_") and not hasattr(mine, "__array__")


def test_a_prediction_is_nothing_to_use():
    with pytest.raises(AttributeError, match="not a function or class"):
        _ = mine.equal_scores


@pytest.mark.parametrize("left", ["no module", "no name"])
def test_a_notebook_without_stand_ins_asks_for_the_check(workspace, monkeypatch, left):
    name = "autograder.standins.nb01_what_is_attention"
    importlib.import_module(name)
    if left == "no name":
        monkeypatch.delattr(sys.modules[name], "softmax")
    else:
        real = importlib.import_module

        def missing(wanted, *rest):
            if wanted == name:
                raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted)
            return real(wanted, *rest)

        monkeypatch.setattr(library.importlib, "import_module", missing)
    with pytest.raises(AttributeError, match=r'mine.softmax: pass check\("softmax", …\) first'):
        _ = mine.softmax


def test_mine_cannot_be_written_to():
    with pytest.raises(AttributeError, match="cannot be set"):
        mine.softmax = len


def test_dir_and_repr_say_what_is_there(workspace):
    assert {"softmax", "soft_lookup"} <= set(dir(mine)) and "equal_scores" not in dir(mine)
    assert repr(mine).startswith("mine: 0 of your own (none yet); ")
    have(workspace, SOFTMAX)
    assert repr(mine).startswith("mine: 1 of your own (softmax); ")


def test_it_is_read_anew_when_the_file_changed(workspace):
    have(workspace, SOFTMAX)
    first = mine.softmax
    assert mine.softmax is first
    have(workspace, variant(1))
    assert mine.softmax is not first and "1 * e" in inspect.getsource(mine.softmax)
    done = in_a_process(SAVE_MANY.format(text=SOFTMAX, first=7, count=1), workspace)
    assert done.returncode == 0, done.stderr
    assert (
        "7 * e" in inspect.getsource(mine.softmax)
        or mine.softmax.__code__.co_consts[1:] != first.__code__.co_consts[1:]
    )
    file_of(workspace).write_text(file_of(workspace).read_text().replace("7 * e / 7", "9 * e / 9"))
    assert 9 in mine.softmax.__code__.co_consts


def test_a_module_sees_the_new_version_of_one_it_uses_also_when_it_took_it_on_import(workspace):
    early = "from autograder import mine\nsoft = mine.softmax\n" + LOOKUP.replace("mine.softmax(", "soft(")
    have(workspace, SOFTMAX)
    have(workspace, early)
    before = mine.softmax
    assert mine.soft_lookup.__globals__["soft"] is before
    file_of(workspace).write_text(file_of(workspace).read_text() + "\nMARK = 1\n")
    lookup = mine.soft_lookup
    assert lookup.__globals__["soft"] is mine.softmax is not before


def test_a_pass_turns_the_stand_in_that_a_saved_module_uses_into_ones_own(workspace, capsys):
    have(workspace, LOOKUP)
    q, keys = np.ones(2), np.eye(2)
    assert np.allclose(mine.soft_lookup(q, keys, keys)[1], [0.5, 0.5])
    assert "mine.softmax: a stand-in" in capsys.readouterr().out
    have(workspace, SOFTMAX)
    assert mine.soft_lookup.__globals__["mine"].softmax is mine.softmax
    assert mine.softmax.__module__ == "my_attention.softmax"


def test_a_plain_import_gives_the_same_code(workspace, monkeypatch):
    have(workspace, SOFTMAX)
    own = mine.softmax
    monkeypatch.syspath_prepend(str(workspace))
    import my_attention

    assert my_attention.softmax is own
    have(workspace, variant(1))
    assert my_attention.softmax is own or mine.softmax is my_attention.softmax
    assert mine.softmax is my_attention.softmax


def test_the_folder_of_another_workspace_is_not_mixed_in(workspace, tmp_path, monkeypatch):
    have(workspace, SOFTMAX)
    first = mine.softmax
    other = tmp_path / "other"
    other.mkdir()
    (other / MARKER).touch()
    have(other, variant(1))
    monkeypatch.chdir(other)
    assert 1 in mine.softmax.__code__.co_consts and mine.softmax is not first
    assert str(workspace) not in sys.path and str(other) not in sys.path


PLAIN = """
import json, sys
sys.modules["autograder"] = None  # as if it were not installed
import numpy as np
import my_attention
from my_attention import softmax
out = {"own": np.round(softmax(np.zeros(2)), 6).tolist()}
for name in sys.argv[1:]:
    try:
        out[name] = callable(getattr(my_attention, name))
    except AttributeError as error:
        out[name] = str(error)
out["version"] = getattr(softmax, "version", "")
out["all"] = sorted(my_attention.__all__)
print(json.dumps(out))
"""


def plain(workspace, *names):
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, *names],
        cwd=workspace.parent,
        env={**os.environ, "PYTHONPATH": str(workspace)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_a_plain_package_without_the_course(workspace):
    have(workspace, SOFTMAX)
    have(workspace, LOOKUP)
    have(workspace, KERNEL)
    with file_of(workspace, "kernel_attention").open("a") as out:
        out.write("\n1 / 0\n")
    found = plain(workspace, "soft_lookup", "kernel_attention", "qk_ov")
    assert found["own"] == [0.5, 0.5] and found["soft_lookup"] is True
    assert found["kernel_attention"].endswith(
        "kernel_attention.py cannot be imported: ZeroDivisionError: division by zero"
    )
    assert found["qk_ov"] == "my_attention has no qk_ov: its check has not passed yet"
    assert found["all"] == ["soft_lookup", "softmax"]


def test_a_module_that_came_after_the_init_is_found(workspace):
    have(workspace, SOFTMAX)
    init = (workspace / "my_attention" / "__init__.py").read_text()
    have(workspace, KERNEL)
    (workspace / "my_attention" / "__init__.py").write_text(init)  # as a crash between the two writes leaves it
    assert plain(workspace, "kernel_attention")["kernel_attention"] is True


def test_two_versions_of_one_size_in_one_second_are_told_apart(workspace):
    have(workspace, SOFTMAX + "\nsoftmax.version = 'old'\n")
    plain(workspace)  # leaves a compiled file behind
    when = file_of(workspace).stat().st_mtime_ns
    have(workspace, SOFTMAX + "\nsoftmax.version = 'new'\n")
    os.utime(file_of(workspace), ns=(when, when))
    assert plain(workspace)["version"] == "new"


def test_with_the_course_the_package_falls_back_on_stand_ins(workspace):
    have(workspace, SOFTMAX)
    done = in_a_process("import my_attention; print(my_attention.soft_lookup.__module__)", workspace)
    assert done.stdout.splitlines() == [
        "mine.soft_lookup: a stand-in from the course, as its check has not passed yet",
        "autograder.standins.nb01_what_is_attention",
    ]


def test_importing_the_course_loads_none_of_this():
    code = "import autograder, sys; print([m for m in ('autograder.mine', 'filelock', 'IPython') if m in sys.modules])"
    assert in_a_process(code, Path(autograder.__file__).parents[1]).stdout == "[]\n"


def test_reading_a_name_again_is_quick(workspace):
    have(workspace, SOFTMAX)
    _ = mine.softmax
    rounds = []
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(50):
            _ = mine.softmax
        rounds.append((time.perf_counter() - began) / 50)
    assert min(rounds) < 200e-6, "a stat and two lookups"
