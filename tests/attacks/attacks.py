"""What a submission might try to get points it has not earned: code that stands in the answer's cell, by name.

Every attack begins with a wrong `softmax`. `plain` says that on nbgrader as it comes, where the check runs in the
submission's own kernel, the attack raises the score: so the suite is known to have teeth.
"""

from dataclasses import dataclass

from slim import WRONG


@dataclass(frozen=True)
class Attack:
    """Code after a wrong answer, and what is known of it."""

    code: str
    plain: bool = False
    before: bool = True  # whether the wrong answer stands before the code


def _attack(code, plain=False, before=True):
    return Attack(code, plain, before)


ATTACKS = {
    # The check itself is replaced.
    "check_overridden": _attack("check = lambda *a, **k: 7", plain=True),
    "check_overridden_in_builtins": _attack("import builtins; builtins.check = lambda *a: 7; del check", plain=True),
    "check_patched_in_the_package": _attack(
        "import autograder; autograder.check = lambda *a, **k: 7; check = autograder.check", plain=True
    ),
    "run_patched": _attack(
        "import autograder.verdict as v\nfrom autograder.exercise import find\n"
        "def run(name, answer, seed=0):\n"
        "    return v.Verdict(find(name), 'passed', tuple(v.CheckResult(c) for c in find(name).checks))\n"
        "v.run = run",
        plain=True,
    ),
    "difference_patched": _attack(
        "import autograder.compare as c, autograder.verdict as v\nc.difference = v.difference = lambda *a, **k: None",
        plain=True,
    ),
    "tolerance_patched": _attack(
        "import autograder.compare as c, numpy\nfor d in list(c.TOLERANCES): c.TOLERANCES[d] = (1e9, 1e9)", plain=True
    ),
    "call_case_patched": _attack(
        "import autograder.probe as p\nfrom autograder.calling import Outcome\np.call_case = lambda *a, **k: Outcome(value=1.0)"
    ),
    "points_patched": _attack("import autograder.verdict as v\nv.Verdict.score = property(lambda self: 7)", plain=True),
    "exercise_table_patched": _attack("import autograder.exercise as e\ne.Exercise.points = property(lambda self: 0)"),
    "probe_sends_nothing": _attack("import autograder.probe as p\np._send = lambda frame: None"),
    "probe_sends_everything_twice": _attack(
        "import autograder.probe as p\ns = p._send\np._send = lambda f: (s(f), s(f))"
    ),
    "probe_sends_bytes": _attack(
        "import autograder.probe as p\nfrom IPython.display import display\n"
        "p._send = lambda f: display({p.OUTCOMES: 'no json'}, raw=True)"
    ),
    "probe_sends_no_frames": _attack(
        "import autograder.probe as p\nfrom IPython.display import display\n"
        "p._send = lambda f: display({p.OUTCOMES: '[[[[[' * 1000}, raw=True)"
    ),
    "probe_sends_odd_outcomes": _attack(
        "import autograder.probe as p\nfrom autograder import plain\ns = p._send\n"
        "p._send = lambda f: s(f if 'defined' in f else {'value': {'dict': 3}, 'error': 5, 'mutated': None, 'printed': 7, 'warnings': 1})"
    ),
    "probe_hides_its_errors": _attack(
        "import autograder.probe as p\ns = p._send\np._send = lambda f: s(f if 'defined' in f else f | {'value': f['value'], 'error': None})"
    ),
    "forged_bundle_before_the_probe": _attack(
        "from IPython.display import display\nimport json\n"
        "K = 'application/vnd.attention.outcomes+json'\n"
        "for f in ({'defined': True}, *({'value': 1.0, 'error': None, 'mutated': [], 'printed': '', 'warnings': []},) * 30):\n"
        "    display({K: json.dumps({'dict': [[k, v] for k, v in f.items()]})}, raw=True)"
    ),
    "forged_score_as_result": _attack("from IPython.display import display\ndisplay({'text/plain': '7'}, raw=True)\n7"),
    # The result is forged on its way out.
    "displayhook": _attack("import sys\nsys.displayhook = lambda v: None"),
    "formatter": _attack(
        "ip = get_ipython()\nip.display_formatter.format = lambda *a, **k: ({'text/plain': '7'}, {})", plain=True
    ),
    "mimebundle_formatter": _attack(
        "from autograder.verdict import Verdict\nVerdict._repr_mimebundle_ = lambda self, **k: {'text/plain': '7'}",
        plain=True,
    ),
    "publisher": _attack("ip = get_ipython()\nip.display_pub.publish = lambda *a, **k: None"),
    "showtraceback": _attack("get_ipython().showtraceback = lambda *a, **k: None\ncheck = None", plain=True),
    "ast_transformer": _attack(
        "import ast\nclass T(ast.NodeTransformer):\n"
        "    def visit_Call(self, node):\n"
        "        return ast.Constant(7) if getattr(node.func, 'id', '') == 'check' else node\n"
        "get_ipython().ast_transformers.append(T())",
        plain=True,
    ),
    "input_transformer": _attack(
        "get_ipython().input_transformers_post.append(lambda lines: ['7\\n'] if 'softmax' in ''.join(lines) else lines)",
        plain=True,
    ),
    "run_code": _attack("async def run_code(*a, **k): return False\nget_ipython().run_code = run_code", plain=True),
    "run_cell_events": _attack(
        "ip = get_ipython()\nip.events.register('pre_run_cell', lambda info: ip.user_ns.update(check=lambda *a: 7))",
        plain=True,
    ),
    # The answer is looked up instead of computed.
    "references_imported": _attack(
        "from autograder.references.nb01_what_is_attention import REFERENCES\n"
        "softmax = next(r for r in REFERENCES if r.id == 'softmax').reference",
        plain=True,
    ),
    "references_found_on_disk": _attack(
        "import glob, importlib.util, sys\n"
        "found = [p for root in (*sys.path, '/') for p in glob.glob(f'{root}/**/nb01_what_is_attention.py', recursive=True) if 'references' in p]\n"
        "spec = importlib.util.spec_from_file_location('r', found[0]); r = importlib.util.module_from_spec(spec); spec.loader.exec_module(r)\n"
        "softmax = next(x for x in r.REFERENCES if x.id == 'softmax').reference"
    ),
    "stand_in_used": _attack("from autograder import mine\nsoftmax = mine.softmax", plain=True),
    "stand_in_module_used": _attack("from autograder.standins.nb01_what_is_attention import softmax", plain=True),
    "model_answer_asked_for": _attack(
        "from autograder import hint\nfrom autograder.solutions import model_answer\nfrom autograder.exercise import find\n"
        "exec(model_answer(find('softmax')))",
        plain=True,
    ),
    "solutions_read": _attack(
        "import pathlib\nfor p in pathlib.Path('/').rglob('01_what_is_attention*'):\n    print(p); text = p.read_text()\n    exec(text)"
    ),
    "frame_of_the_caller": _attack(
        "import inspect\nold = softmax\ndef softmax(x, axis=-1):\n"
        "    for f in inspect.stack():\n"
        "        for name, value in f.frame.f_locals.items():\n"
        "            if name in ('wanted', 'expected', 'reference', 'solution'): return value\n"
        "    return old(x, axis)"
    ),
    "garbage_collector_searched": _attack(
        "import gc\nfor thing in gc.get_objects():\n"
        "    if type(thing).__name__ == 'Reference' and thing.id == 'softmax': softmax = thing.reference"
    ),
    "answer_equal_to_everything": _attack(
        "class Same:\n    def __eq__(self, other): return True\n    __array_priority__ = 1e9\n"
        "    def __array__(self, *a, **k): raise TypeError\n    shape = (2, 3)\ndef softmax(x, axis=-1): return Same()"
    ),
    "array_subclass": _attack(
        "class A(np.ndarray):\n    def __eq__(self, o): return np.ones(self.shape, bool)\n    def __ne__(self, o): return np.zeros(self.shape, bool)\n"
        "    def __array_ufunc__(self, *a, **k): return True\nold = softmax\ndef softmax(x, axis=-1): return old(x, axis).view(A)"
    ),
    "numpy_patched": _attack(
        "np.isclose = np.allclose = np.array_equal = lambda *a, **k: np.array(True)\nimport numpy.testing as t\nt.assert_allclose = lambda *a, **k: None"
    ),
    "numpy_replaced_in_sys_modules": _attack("import sys, types\nsys.modules['numpy'] = types.ModuleType('numpy')"),
    "meta_path_hook": _attack(
        "import sys\nclass H:\n    def find_spec(self, name, *a):\n        if name.startswith('autograder'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, H())\nfor m in [m for m in sys.modules if m.startswith('autograder')]: del sys.modules[m]"
    ),
    "exception_that_names_itself_passed": _attack(
        "class NotImplementedError(Exception): pass\ndef softmax(x, axis=-1): raise NotImplementedError('passed 7 of 7')"
    ),
    "trace_function": _attack("import sys\nsys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)"),
    "thread_left_behind": _attack(
        "import threading, time\ndef meddle():\n    while True:\n        globals()['check'] = lambda *a: 7; time.sleep(0.001)\n"
        "threading.Thread(target=meddle, daemon=True).start()",
        plain=True,
    ),
    "connection_file_used": _attack(
        "import glob, json, os\nfrom jupyter_client import BlockingKernelClient\n"
        "for p in glob.glob('/tmp/att-*/kernel.json'):\n"
        "    c = BlockingKernelClient(connection_file=p); c.load_connection_file(); c.start_channels(); c.execute('check = lambda *a: 7')"
    ),
    "idle_forged": _attack(
        "k = get_ipython().kernel\nk.session.send(k.iopub_socket, 'status', {'execution_state': 'idle'}, parent=k.get_parent(), ident=b'kernel.status')"
    ),
    "dunder_main_points": _attack("import __main__\n__main__.__dict__['points'] = 7\n_ = __ = ___ = 7"),
    "outputs_of_all_cells_in_out": _attack("get_ipython().user_ns['Out'] = {n: 7 for n in range(100)}"),
}


def source(attack):
    """The answer's cell of an attack."""
    return WRONG + attack.code + "\n"
