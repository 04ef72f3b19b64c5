"""What a notebook imports. Importing it loads neither torch nor matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autograder.hints import Hint
    from autograder.mine import mine
    from autograder.overview import Progress
    from autograder.probe import Later
    from autograder.reflection import Reflection
    from autograder.verdict import Verdict

__all__ = ["check", "hint", "mine", "progress", "reflect"]


class AutograderError(RuntimeError):
    """The autograder itself failed; the learner's answer is not at fault."""


def check(exercise_id: str, answer: Any, *, seed: int = 0) -> Verdict | Later:
    """Judge an answer and return the verdict, which a notebook shows as a report.

    exercise_id: the exercise's id, which is the name the answer is defined under.
    answer:      the function, class or value itself.
    seed:        other seeds give other inputs.
    Raises UnknownExercise, naming the nearest ids, if there is no such exercise or no program judges it.

    >>> check("softmax", softmax)                                      # doctest: +SKIP
    """
    from autograder.probe import Later, is_graded_apart

    if is_graded_apart():
        return Later(exercise_id)
    from autograder.exercise import find, reference_of
    from autograder.record import remember
    from autograder.verdict import run

    reference_of(find(exercise_id))
    try:
        verdict = run(exercise_id, answer, seed)
    except Exception as error:
        raise AutograderError(
            f"the autograder failed while judging {exercise_id} ({type(error).__name__}: {error}); "
            "this is not a fault of your answer: please report it with the lines above"
        ) from error
    return remember(verdict, answer)


def hint(exercise_id: str, show_me: bool = False) -> Hint:
    """Return the next hint for an exercise, one step at a time.

    show_me: the model answer instead; once the check has passed, a plain call gives it too.
    Raises UnknownExercise, naming the nearest ids, if there is no such exercise.
    """
    from autograder.hints import next_hint

    return next_hint(exercise_id, show_me)


def progress() -> Progress:
    """Return the table of all notebooks: points, what is next, minutes left."""
    from autograder.overview import overview
    from autograder.record import current

    return overview(current())


def reflect(exercise_id: str, text: str) -> Reflection:
    """Return a written reflection with the model answer beside it, once there is a text to compare."""
    from autograder.reflection import reflection

    return reflection(exercise_id, text)


def __getattr__(name: str) -> Any:
    if name == "mine":
        from autograder.mine import mine

        return mine
    raise AttributeError(f"module 'autograder' has no attribute {name!r}")
