"""Where a learner stands: one row a notebook, points, what is next, minutes left."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from autograder.exercise import KINDS, Exercise, exercises
from autograder.record import Entry, Record
from autograder.report import STATUS


@dataclass(frozen=True)
class Row:
    """One notebook's line in the table."""

    notebook: str
    points: int
    max_points: int
    done: int
    total: int
    minutes_left: int
    next_id: str

    @property
    def number(self) -> str:
        """`01`."""
        return self.notebook[:2]

    @property
    def title(self) -> str:
        """`What is attention`."""
        return self.notebook[3:].replace("_", " ")


@dataclass(frozen=True)
class Progress:
    """Where a learner stands: one row a notebook, and what is next."""

    rows: tuple[Row, ...]
    predictions: tuple[int, int] = (0, 0)  # right, made
    by_hand: int = 0  # points of written reflections, which a reader gives
    note: str = ""

    @property
    def next(self) -> Row | None:
        """The first notebook with something left to do."""
        return next((row for row in self.rows if row.next_id), None)

    def __str__(self) -> str:
        lines = [self.note] if self.note else []
        width = max((len(row.title) for row in self.rows), default=0)
        for row in self.rows:
            bar = "█" * round(10 * row.done / row.total) if row.total else ""
            points = f"{row.points}/{row.max_points} points"
            left = f"{row.minutes_left} min left" if row.next_id else "done"
            lines.append(f"{row.number}  {row.title:<{width}}  {bar:·<10}  {points:>14}  {left}")
        return "\n".join([*lines, "", *self._closing()])

    __repr__ = __str__

    def _closing(self) -> list[str]:
        points, most = sum(row.points for row in self.rows), sum(row.max_points for row in self.rows)
        out = [f"{points} of {most} points"]
        if self.predictions[1]:
            out.append(f"{self.predictions[0]} of {self.predictions[1]} predictions as measured")
        if self.by_hand:
            out.append(f"{self.by_hand} points for what you wrote are given by a reader")
        if self.next:
            out.append(f"next: {self.next.next_id} in notebook {self.next.number}")
        return out

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        head = "".join(f'<th style="text-align:left">{name}</th>' for name in ("", "notebook", "", "points", "left"))
        body = []
        for row in self.rows:
            share = 100 * row.done / row.total if row.total else 0
            full = f'<div style="width:{share:.0f}%;height:100%;background:#009E73"></div>'
            bar = (
                f'<div role="img" aria-label="{row.done} of {row.total} done" '
                f'style="width:8em;height:.7em;background:rgba(128,128,128,.25)">{full}</div>'
            )
            left = f"{row.minutes_left} min, next <code>{escape(row.next_id)}</code>" if row.next_id else "done"
            cells = (row.number, escape(row.title), bar, f"{row.points}/{row.max_points}", left)
            body.append("<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>")
        closing = " · ".join(map(escape, self._closing()))
        note = f"<div>{escape(self.note)}</div>" if self.note else ""
        html = f"{note}<table><tr>{head}</tr>{''.join(body)}</table><div>{closing}</div>"
        return {"text/html": html, "text/plain": str(self)}


def overview(record: Record | None) -> Progress:
    """Make the table of all notebooks from a record (or from none)."""
    entries = record.entries() if record else {}
    notebooks: dict[str, list[Exercise]] = {}
    for exercise in exercises().values():
        notebooks.setdefault(exercise.notebook, []).append(exercise)
    rows = []
    for notebook, group in sorted(notebooks.items()):
        found = [(exercise, entries.get(exercise.id, Entry())) for exercise in group]
        left = [exercise for exercise, entry in found if not entry.passed]
        rows.append(
            Row(
                notebook=notebook,
                points=sum(entry.points for _, entry in found),
                max_points=sum(exercise.points for exercise in group),
                done=len(found) - len(left),
                total=len(found),
                minutes_left=sum(exercise.minutes for exercise in left),
                next_id=left[0].id if left else "",
            )
        )
    made = [entry.prediction for entry in entries.values() if entry.prediction is not None]
    written = [exercise for exercise in exercises().values() if exercise.kind == "R"]
    by_hand = sum(exercise.points for exercise in written if entries.get(exercise.id, Entry()).passed)
    return Progress(tuple(rows), (sum(made), len(made)), by_hand, _note(record))


def _note(record: Record | None) -> str:
    if record is None:
        return "nothing is recorded here: `attention lab` opens the course in a workspace that keeps your progress"
    if record.set_aside:
        return f"the record could not be read; it is kept as {record.set_aside.name}, and a new one begins"
    return ""


def details(record: Record | None, notebook: str) -> str | None:
    """The exercises of one notebook, a line each; None if no notebook has this number or slug."""
    entries = record.entries() if record else {}
    group = [e for e in exercises().values() if notebook in (e.notebook, e.notebook[:2], e.notebook[:2].lstrip("0"))]
    if not group:
        return None
    width = max(len(exercise.id) for exercise in group)
    lines = [group[0].notebook]
    for exercise in group:
        entry = entries.get(exercise.id, Entry())
        status = STATUS[entry.status] if entry.checks else STATUS["not_attempted"]
        points = f"{entry.points}/{exercise.points}"
        hints = f"  {entry.hints} hints" if entry.hints else ""
        what = f"{KINDS[exercise.kind]}, {exercise.minutes} min"
        lines.append(f"  {exercise.id:<{width}}  {points:>6}  {status:<18} {what}{hints}")
    return "\n".join(lines)


def as_data(record: Record | None) -> dict[str, Any]:
    """Notebooks and exercises as plain data, for programs."""
    entries = record.entries() if record else {}
    return {
        "notebooks": [asdict(row) for row in overview(record).rows],
        "exercises": {name: asdict(entries.get(name, Entry())) for name in exercises()},
    }
