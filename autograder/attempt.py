"""Judging an answer file: the answer is called in a process of its own, with a time limit; the verdict is made here.

The child knows the visible half of the exercise and the inputs. Plain data goes to it and comes back.
"""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from autograder import plain
from autograder.calling import CaughtError, Outcome, call_case, caught_error
from autograder.exercise import Case, find, nearest

INTERRUPTED = Outcome(error=CaughtError("KeyboardInterrupt", ("KeyboardInterrupt",), ""))
TIME_LIMIT = 60.0  # seconds; importing torch alone takes some


def attempt(exercise_id: str, path: Path, *, seed: int = 0, time_limit: float = TIME_LIMIT) -> Any:
    """Judge the object named `exercise_id` that a Python file defines; returns a Verdict.

    Raises UnknownExercise for an unknown id and OSError if the file cannot be read.
    """
    from autograder.verdict import cases_of, judge, timed_out, unreadable

    exercise = find(exercise_id)
    path.read_bytes()
    cases = cases_of(exercise_id, seed)
    request = {"exercise": exercise_id, "path": str(path.resolve()), "cases": [case_to_plain(case) for case in cases]}
    frames, ended = _run_child(request, time_limit)
    if not frames:
        if ended is None:
            return timed_out(exercise, f"{path.name} still ran after {time_limit:g} s, before {exercise_id} was called")
        return unreadable(exercise, CaughtError("SystemExit", (), f"{path.name} ended the process ({_exit(ended)})"))
    if frames[0] is not None:
        return unreadable(exercise, CaughtError(*frames[0]))
    outcomes = [Outcome.from_plain(frame) for frame in frames[1:]]
    missing = len(cases) - len(outcomes)
    if missing and ended is None:
        outcomes += [INTERRUPTED] * missing
    elif missing:
        died = CaughtError("SystemExit", ("SystemExit",), f"the call ended the whole process ({_exit(ended)})")
        outcomes += [Outcome(error=died)] * missing
    return judge(exercise, outcomes, seed)


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def _run_child(request: dict[str, Any], time_limit: float) -> tuple[list[Any], int | None]:
    """Return the frames that the child wrote whole, and its exit code, None if the time limit ended it."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "frames"
        results.touch()
        child = subprocess.Popen(
            [sys.executable, "-m", "autograder.attempt", str(results)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        code: int | None = None
        try:
            with contextlib.suppress(BrokenPipeError):
                child.communicate(plain.dumps(request), timeout=time_limit)
            code = child.returncode
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill_tree(child)
        lines = results.read_bytes().split(b"\n")
    frames = []
    for line in lines[:-1]:  # the last piece has no newline: empty, or cut off in the middle
        frames.append(plain.loads(line))
    return frames, code


def _kill_tree(child: subprocess.Popen) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def case_to_plain(case: Case) -> dict[str, Any]:
    """What the calling half needs of a case, as a plain value."""
    return {"check": case.check, "inputs": case.inputs, "keywords": dict(case.keywords)}


def case_from_plain(data: dict[str, Any]) -> Case:
    """Read what `case_to_plain` gave."""
    return Case(**data)


def _child(results: Path) -> None:
    """Load the answer file, call the answer on every case, append one frame a line."""
    request = plain.loads(sys.stdin.buffer.read())
    exercise = find(request["exercise"])
    answer, error = _load(Path(request["path"]), exercise.id)
    with results.open("ab") as out:

        def write(value: Any) -> None:
            out.write(plain.dumps(value) + b"\n")
            out.flush()

        write(error and (error.type, error.bases, error.message, error.frames))
        if error is None:
            for data in request["cases"]:
                write(call_case(exercise, answer, case_from_plain(data)).to_plain())
    os._exit(0)  # threads that the answer left behind do not keep the process


def _load(path: Path, name: str) -> tuple[Any, CaughtError | None]:
    sys.path.insert(0, str(path.parent))
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            names = runpy.run_path(str(path), run_name="answer")
    except (Exception, SystemExit, KeyboardInterrupt) as exception:
        return None, caught_error(exception)
    if name in names:
        return names[name], None
    defined = [key for key in names if not key.startswith("_")]
    what = f"{path.name} defines no {name}"
    what += f"; it defines {', '.join(defined[:8])}" if defined else "; it defines nothing"
    close = nearest(name, defined)
    return None, CaughtError("NameError", ("NameError",), f"{what}; {close}" if close.startswith("did you") else what)


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
