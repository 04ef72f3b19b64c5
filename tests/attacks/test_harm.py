"""What a submission can reach, use up or leave behind: nothing outside its sandbox, and no more than its limits."""

import os
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from slim import LIMITS, RIGHT, ROOT, SECRET, SLUG, graded, slim, submission

from autograder.exercise import find
from autograder.grading.assignment import Assignment
from autograder.grading.kernel import Kernel
from autograder.grading.running import _environment, _staged
from autograder.grading.sandbox import COURSE, HOME, INPUTS, SCRATCH
from autograder.grading.submission import grade

pytestmark = pytest.mark.usefixtures("sandbox_here")


@pytest.fixture
def kernel(tmp_path):
    """A sandboxed kernel as a submission of notebook 01 has it."""
    environment = _environment(COURSE, INPUTS, HOME, SCRATCH)
    with Kernel(LIMITS, environment, {_staged(SLUG): COURSE, tmp_path: INPUTS}) as one:
        yield one


def printed(ran):
    return "".join(output.get("text", "") for output in ran.outputs)


# What it sees


@pytest.mark.parametrize(
    "path",
    [
        ROOT,
        ROOT / "solutions",
        ROOT / "autograder",
        ROOT / "course",
        ROOT / ".git",
        "/etc/passwd",
        "/etc/shadow",
        "/var",
        "/home",
        "/sys",
    ],
)
def test_a_place_of_the_machine_is_not_there(kernel, path):
    said = printed(kernel.run(f"import os; print(os.path.exists({str(path)!r}) and os.listdir({str(path)!r}))", 6))
    # The interpreter may lie in the course's own folder, as .venv does; then that alone is there.
    parts = {*Path(sys.prefix).parts, *Path(sys.base_prefix).resolve().parts}
    assert said.strip() in {"False", "[]", *(f"['{part}']" for part in parts)}


@pytest.mark.parametrize(
    "module",
    [
        f"autograder.references.nb{SLUG}",
        f"autograder.standins.nb{SLUG}",
        "autograder.grading",
        "autograder.grading.secret",
    ],
)
def test_the_hidden_half_cannot_be_imported(kernel, module):
    assert kernel.run(f"import {module}", 6).error[0] == "ModuleNotFoundError"


def test_no_file_inside_holds_a_reference_or_a_solution(kernel):
    code = (
        "import os, sys\nfound = []\n"
        "for top in ('/course', '/learner', '/inputs', '/tmp', '/etc', '/root', '/home', '/opt'):\n"
        "    for place, folders, names in os.walk(top):\n"
        "        folders[:] = [f for f in folders if os.path.join(place, f) not in (sys.prefix, sys.base_prefix)]\n"
        "        for name in names:\n"
        "            if name.endswith(('.py', '.pyc', '.ipynb', '.db', '.json')):\n"
        "                data = open(os.path.join(place, name), 'rb').read()\n"
        "                if b'Misconception(' in data and b'Reference(' in data or b'BEGIN SOLUTION' in data and b'def softmax' in data:\n"
        "                    found.append(os.path.join(place, name))\n"
        "print(found)"
    )
    assert printed(kernel.run(code, 20)).strip() == "[]"


def test_it_has_no_environment_of_ours(kernel):
    names = printed(kernel.run("import os; print(sorted(os.environ))", 6))
    ours = set(os.environ) - set(_environment("", "", "", "")) - {"PWD", "LC_CTYPE", "JPY_PARENT_PID"}
    assert [name for name in ours if f"'{name}'" in names] == []


def test_it_has_no_open_files_of_ours(kernel):
    code = (
        "import os\nfor n in os.listdir('/proc/self/fd'):\n    try: print(os.readlink(f'/proc/self/fd/{n}'))\n"
        "    except OSError: pass"
    )
    for target in printed(kernel.run(code, 6)).split("\n"):
        known = ("socket:", "pipe:", "anon_inode:", "/dev/null", "/proc/", "/memfd:", "/tmp/ipython", ":memory:")
        assert not target or target.startswith(known), target


def test_it_sees_no_process_but_its_own(kernel):
    said = printed(kernel.run("import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))", 6))
    assert len(said.split(",")) < 8
    assert str(os.getpid()) not in said.replace("[", "").replace("]", "").split(", ")


@pytest.mark.parametrize("address", ["('127.0.0.1', 22)", "('1.1.1.1', 53)", "('localhost', 80)"])
def test_there_is_no_network(kernel, address):
    assert kernel.run(f"import socket; socket.create_connection({address}, timeout=2)", 6).error is not None


def test_it_has_no_rights_to_take(kernel):
    code = "print([l for l in open('/proc/self/status') if l.startswith('CapEff')]); import os; print(os.getuid())"
    assert "0000000000000000" in printed(kernel.run(code, 6)) and "1000" in printed(
        kernel.run("import os; print(os.getuid())", 6)
    )
    for code in (
        "import os; os.setuid(0)",
        "import ctypes, os\nassert ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0",
        "import ctypes\nassert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))",
    ):
        assert kernel.run(code, 6).error is not None, code


@pytest.mark.parametrize(
    "path",
    [
        "/x",
        "/usr/x",
        "/etc/x",
        "/course/autograder/x.py",
        "/course/autograder/__init__.py",
        "/inputs/x",
        "/dev/x",
        "/proc/x",
    ],
)
def test_it_can_write_nowhere_but_in_its_own_folders(kernel, path):
    assert kernel.run(f"open({path!r}, 'a').write('x')", 6).error is not None


def test_links_lead_nowhere(kernel):
    code = "import os\nos.symlink('/etc/passwd', '/learner/l'); os.symlink('../../../etc/shadow', '/learner/m')\nprint(os.path.exists('/learner/l'), os.path.exists('/learner/m'))"
    assert printed(kernel.run(code, 6)).strip() == "False False"


# What it uses up

HOGS = {
    "memory": ("x = []\nwhile True: x.append(bytearray(32 << 20))", "ran out of memory"),
    "memory_in_children": (
        "import os\nfor _ in range(8):\n    if os.fork() == 0:\n        x = [bytearray(200 << 20)]; import time; time.sleep(60)\nimport time; time.sleep(60)",
        "ran out of memory",
    ),
    "fork_bomb": ("import os\nwhile True: os.fork()", ""),
    "threads": (
        "import threading, time\nfor _ in range(1000): threading.Thread(target=time.sleep, args=(60,)).start()\ntime.sleep(60)",
        "",
    ),
    "sockets_folder": (
        "import os\nd = os.path.dirname(os.environ['ATTENTION_BANK'])\nfor i in range(10**9): open(f'{d}/{i}', 'w').write('x' * 1000)",
        "filled the folder",
    ),
    "killed_kernel": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the kernel died"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "the kernel died"),
    "exit": ("import os; os._exit(0)", "the kernel died"),
}


@pytest.mark.parametrize("name", HOGS)
def test_what_uses_too_much_is_ended_and_the_reason_said(kernel, name):
    code, reason = HOGS[name]
    ran = kernel.run(code, 20)
    assert ran.ended == "crashed" and reason in ran.reason


def test_a_loop_is_stopped_also_one_that_swallows_interrupts(kernel):
    started = time.monotonic()
    ran = kernel.run("while True:\n    try:\n        while True: pass\n    except BaseException: pass", 3)
    assert ran.ended == "timeout" and time.monotonic() - started < 10


@pytest.mark.parametrize("folder", ["/learner", "/tmp", "/dev/shm"])
def test_a_private_folder_is_of_bounded_size(kernel, folder):
    code = f"for i in range(10**6):\n    open('{folder}/' + str(i), 'wb').write(bytes(8 << 20))"
    ran = kernel.run(code, 20)
    assert ran.error is not None and ran.error[0] == "OSError"


def test_a_file_and_open_files_are_bounded(kernel):
    assert kernel.run("f = open('/tmp/big', 'wb')\nwhile True: f.write(bytes(1 << 20))", 20).error[0] == "OSError"
    assert kernel.run("x = [open('/dev/null') for _ in range(10**5)]", 20).error[0] == "OSError"


@pytest.mark.parametrize(
    "code",
    [
        "print('x' * 10**8)",
        "for _ in range(10**6): print('x' * 100)",
        "import sys\nfor _ in range(10**5): sys.stderr.write('y' * 1000)",
    ],
)
def test_what_it_prints_is_cut(kernel, code):
    ran = kernel.run(code, 6)
    assert len(str(ran.outputs)) < 2 * LIMITS.output
    assert "cut" in printed(ran) or ran.ended


def test_it_waits_for_no_one(kernel):
    assert kernel.run("input('name? ')", 6).error[0] == "StdinNotImplementedError"


def test_nothing_is_left_behind(tmp_path):
    before = {process.pid for process in psutil.process_iter()}
    environment = _environment(COURSE, INPUTS, HOME, SCRATCH)
    with Kernel(LIMITS, environment, {_staged(SLUG): COURSE, tmp_path: INPUTS}) as kernel:
        kernel.run("import subprocess; subprocess.Popen(['sleep', '987'], start_new_session=True)", 6)
        kernel.run(
            "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        import time; time.sleep(986)",
            2,
        )
    time.sleep(0.5)
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid not in before
        and "sleep" in str(process.info["cmdline"])
        and "98" in str(process.info["cmdline"])
    ]
    assert left == []
    assert not kernel.shared.exists()


# Its neighbours


@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(1)",
        "while True: pass",
        "import os\nwhile True: os.fork()",
        "x = []\nwhile True: x.append(bytearray(64 << 20))",
    ],
)
def test_one_exercise_that_ends_the_kernel_costs_only_itself(code):
    indented = code.replace("\n", "\n    ")
    found = graded(submission(f"def softmax(x, axis=-1):\n    {indented}", equal_scores="equal_scores = (0.2,) * 5"))
    assert found.verdicts["softmax"].status in ("crashed", "timeout") and found.verdicts["softmax"].note
    assert found.verdicts["equal_scores"].status == "passed"


def test_the_next_submission_is_graded_as_if_nothing_was():
    graded(submission("import os\nwhile True: os.fork()"))
    assert graded(submission(RIGHT)).verdicts["softmax"].points == find("softmax").points


# What it may need


def test_an_answer_that_uses_a_name_of_an_experiment_is_run_with_the_experiments():
    experiment = nbformat.v4.new_code_cell("LIMIT = 1e4", metadata={"tags": ["experiment"]})
    notebook = slim().notebook
    notebook.cells.insert(1, experiment)
    cells = submission(RIGHT.replace("    e = np", "    assert LIMIT\n    e = np", 1))
    found = grade(Assignment(SLUG, notebook), "mallory", cells, SECRET, LIMITS)
    assert found.verdicts["softmax"].status == "passed"
    assert "run with the experiments, since an answer uses LIMIT from one" in found.notes


def test_a_name_that_nothing_binds_costs_no_second_run():
    found = graded(submission(RIGHT.replace("np.exp", "nq.exp")))
    assert found.verdicts["softmax"].points == 0
    assert not [note for note in found.notes if "experiments" in note]
