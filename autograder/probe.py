"""The inside of a graded run: calls an answer on inputs it was given, and sends out what came of each call, unjudged.

Nothing that this module does or sends is trusted: it runs in the submission's own kernel, and the submission may have
changed it. What is right is known only to whoever reads what it sends.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autograder import plain
from autograder.attempt import case_from_plain
from autograder.calling import call_case, realise
from autograder.exercise import Built, Case, Exercise, find

INPUTS = "ATTENTION_INPUTS"  # the folder with one file of cases per exercise; set in graded runs only
BANK = "ATTENTION_BANK"  # the socket at which the implementations answer that a written test is tried on
OUTCOMES = "application/vnd.attention.outcomes+json"


class Later:
    """What a check shows in a graded run."""

    def __init__(self, exercise_id: str) -> None:
        self.exercise_id = exercise_id

    def __repr__(self) -> str:
        return f"{self.exercise_id} is judged after this run"


def is_graded_apart() -> bool:
    """Whether this kernel only calls answers, and verdicts are made elsewhere."""
    return INPUTS in os.environ


def probe(exercise_id: str, names: Mapping[str, Any]) -> None:
    """Call the answer that stands under the exercise's name on its inputs, and send one frame for each call.

    names: where the answer is looked up: the notebook's globals.
    The first frame says whether there is an answer.
    """
    exercise = find(exercise_id)
    _send({"defined": exercise_id in names})
    if exercise_id not in names:
        return
    for data in plain.loads(Path(os.environ[INPUTS], f"{exercise_id}.json").read_bytes()):
        case = case_from_plain(data)
        call = functools.partial(_called, exercise, names[exercise_id], case)
        _send(_apart(call) if case.check in exercise.measures else call())


def _called(exercise: Exercise, answer: Any, case: Case) -> dict[str, Any]:
    return call_case(exercise, answer, case, build=_remote(exercise)).to_plain()


def _apart(call: Callable[[], Any]) -> Any:
    """What a call gives in a forked process, where its memory can be told from the kernel's."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        try:
            with os.fdopen(send, "wb") as pipe:
                pipe.write(plain.dumps(call()))
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        raise RuntimeError("the process in which memory is measured ended before its call did")
    return plain.loads(data)


def _send(frame: Any) -> None:
    from IPython.display import display

    display({OUTCOMES: plain.dumps(frame).decode()}, raw=True)


def _remote(exercise: Exercise) -> Any:
    """How inputs that are code are made: for a written test they answer from outside, nameless; else, here."""
    if exercise.kind != "T":
        return None
    return lambda built: Remote(exercise, built)


class Remote:
    """An implementation that runs elsewhere: arrays go out, what it returns or raises comes back."""

    def __init__(self, exercise: Exercise, built: Built) -> None:
        self._exercise, self._handle = exercise, built.params["handle"]

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        request = [self._handle, plain.to_plain(arguments), plain.to_plain(keywords)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(os.environ[BANK])
            connection.sendall(plain.dumps(request) + b"\n")
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as reply:
                answer = plain.loads(reply.read())
        if answer["error"] is not None:
            kind, message = answer["error"]
            raise _ERRORS.get(kind, RuntimeError)(message)
        return realise(answer["value"], self._exercise)


_ERRORS = {error.__name__: error for error in (ValueError, TypeError, IndexError, ZeroDivisionError, RuntimeError)}
