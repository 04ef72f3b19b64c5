"""A written reflection: the learner's text, kept, with the model answer beside it once there is one to compare."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from autograder.exercise import Exercise, find


@dataclass(frozen=True)
class Reflection:
    """A learner's text and what to hold it against."""

    exercise: Exercise
    text: str
    model: str | None

    @property
    def written(self) -> bool:
        """Whether there is a text."""
        return bool(self.text.strip())

    def __str__(self) -> str:
        if not self.written:
            return f"{self.exercise.id} · write your answer between the quotes, then run both cells"
        parts = [f"{self.exercise.id} · your answer", "", self.text.strip()]
        if self.model:
            parts += ["", "one good answer", "", self.model]
        parts += ["", "does yours say", *(f"  – {check.wanted}" for check in self.exercise.checks)]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        if not self.written:
            return {"text/plain": str(self), "text/html": f"<div><i>{escape(str(self))}</i></div>"}
        columns = [_column("your answer", self.text.strip(), "#0072B2")]
        if self.model:
            columns.append(_column("one good answer", self.model, "#009E73"))
        rubric = "".join(f"<li>{escape(check.wanted)}</li>" for check in self.exercise.checks)
        html = (
            f'<div style="display:flex;gap:1.5em;flex-wrap:wrap;line-height:1.5">{"".join(columns)}</div>'
            f'<div style="margin-top:.5em">Does yours say:<ul style="margin:.2em 0">{rubric}</ul></div>'
        )
        return {"text/plain": str(self), "text/html": html}


def _column(title: str, text: str, colour: str) -> str:
    paragraphs = "".join(f'<p style="margin:.3em 0">{escape(part)}</p>' for part in text.split("\n\n"))
    style = f"flex:1 1 18em;border-left:4px solid {colour};padding-left:.8em"
    return f'<div style="{style}"><b>{title}</b>{paragraphs}</div>'


def reflection(exercise_id: str, text: Any) -> Reflection:
    """Show a reflection beside its model answer; recorded as done once there is a text.

    Raises UnknownExercise for an unknown id, TypeError if the text is not a string.
    """
    from autograder.record import current
    from autograder.solutions import model_text

    exercise = find(exercise_id)
    if text is ...:
        text = ""
    if not isinstance(text, str):
        raise TypeError(f"{exercise_id} is {type(text).__name__}; write the answer as one string between the quotes")
    shown = Reflection(exercise, text, model_text(exercise) if text.strip() else None)
    record = current()
    if record is not None and shown.written:
        record.note_check(exercise, "passed", 0)
    return shown
