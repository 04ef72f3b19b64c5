"""Hints one at a time, and the model answer on request."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from autograder.exercise import Exercise, find

# Hints shown in this process, where no workspace keeps the record.
_shown: dict[str, int] = {}


@dataclass(frozen=True)
class Hint:
    """One step of help: a hint, or the model answer."""

    exercise: Exercise
    title: str
    text: str
    is_code: bool = False
    next_step: str = ""

    def __str__(self) -> str:
        lines = [f"{self.exercise.id} · {self.title}", "", self.text]
        return "\n".join([*lines, "", self.next_step] if self.next_step else lines)

    __repr__ = __str__

    def for_terminal(self) -> str:
        """The same, with the commands of a shell for the next step."""
        text = str(self).replace(
            f'hint("{self.exercise.id}", show_me=True)', f"attention hint {self.exercise.id} --show-me"
        )
        return text.replace(f'hint("{self.exercise.id}")', f"attention hint {self.exercise.id}")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        tag = "pre" if self.is_code else "div"
        body = f'<{tag} style="margin:.3em 0">{escape(self.text)}</{tag}>'
        after = f'<div style="opacity:.75">{escape(self.next_step)}</div>' if self.next_step else ""
        html = (
            '<div role="note" style="border-left:4px solid #E69F00;padding:.35em .9em;margin:.3em 0;line-height:1.5">'
            f"<div><code>{escape(self.exercise.id)}</code> · <b>{escape(self.title)}</b></div>{body}{after}</div>"
        )
        return {"text/html": html, "text/plain": str(self)}


def next_hint(exercise_id: str, show_me: bool = False, look_around: bool = False) -> Hint:
    """Return the next hint that this learner has not seen; after the third, the third again.

    show_me:     return the model answer instead; also given without asking once the check has passed.
    look_around: keep count in the learner's workspace also from outside it.
    """
    from autograder.record import current

    exercise, record = find(exercise_id), current(look_around)
    entry = record.entry(exercise_id) if record else None
    if show_me or (entry is not None and entry.passed and exercise.kind != "P"):
        if record is not None and not (entry and entry.passed):
            record.note_shown(exercise_id)
        return _model_answer(exercise)
    seen = entry.hints if entry else _shown.get(exercise_id, 0)
    step = min(seen, len(exercise.hints) - 1)
    _shown[exercise_id] = step + 1
    if record is not None:
        record.note_hint(exercise_id, step + 1)
    last = step == len(exercise.hints) - 1
    again = f'hint("{exercise_id}") again says more'
    answer = f'hint("{exercise_id}", show_me=True) shows the model answer'
    return Hint(
        exercise, f"hint {step + 1} of {len(exercise.hints)}", exercise.hints[step], last, answer if last else again
    )


def _model_answer(exercise: Exercise) -> Hint:
    from autograder.solutions import model_answer

    source = model_answer(exercise)
    if source is None:
        text = "the model answers are not part of this copy of the course; the hints and the section are"
        return Hint(exercise, "no model answer here", text)
    return Hint(exercise, "the model answer, one of several right ones", source, True)
