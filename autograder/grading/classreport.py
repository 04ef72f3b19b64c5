"""A page for the instructor: how far the class is with each exercise, and which misconceptions it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape

from autograder.grading.batch import GRADED, Outcome
from autograder.report import STATUS

COLOURS = {
    "passed": "#009E73",
    "partial": "#E69F00",
    "wrong": "#D55E00",
    "error": "#D55E00",
    "not_attempted": "#999999",
}
OTHER = "#56B4E9"
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "td,th{text-align:left;padding:.25em .8em .25em 0;vertical-align:top}"
    ".bar{display:flex;width:22em;height:1.1em;border-radius:3px;overflow:hidden}"
    "h2{margin-top:1.6em}small{opacity:.75}"
)


def page(title: str, outcomes: list[Outcome]) -> str:
    """The report as one HTML page, without scripts; whatever came from a student is shown as text.

    title:    of the assignment.
    outcomes: of the latest run of each student.
    """
    scored = [outcome.score / outcome.max_score for outcome in outcomes if outcome.max_score]
    mean = f"{sum(scored) / len(scored):.0%}" if scored else "–"
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>',
        f"<h1>{escape(title)}</h1><p>{len(outcomes)} submissions, {mean} of the points on average.</p>",
        _legend(),
        "<h2>Exercises</h2><table>",
        *(_exercise(name, outcomes) for name in _names(outcomes)),
        "</table><h2>Misconceptions</h2>",
        *_misconceptions(outcomes),
        "<h2>To look at</h2>",
        *_to_look_at(outcomes),
    ]
    return "".join(parts) + "</html>\n"


def _names(outcomes: list[Outcome]) -> list[str]:
    return list(dict.fromkeys(found["exercise"] for outcome in outcomes for found in outcome.exercises))


def _legend() -> str:
    names = {**{status: STATUS[status] for status in ("passed", "partial", "wrong", "not_attempted")}, "": "not judged"}
    marks = (f'<span style="color:{COLOURS.get(key, OTHER)}">■</span> {escape(text)}' for key, text in names.items())
    return f"<p><small>{' &nbsp; '.join(marks)}</small></p>"


def _exercise(name: str, outcomes: list[Outcome]) -> str:
    counts = Counter(
        found["status"] for outcome in outcomes for found in outcome.exercises if found["exercise"] == name
    )
    total = sum(counts.values())
    pieces = "".join(
        f'<div title="{escape(STATUS[status])}: {count}" style="width:{100 * count / total:.1f}%;'
        f'background:{COLOURS.get(status, OTHER)}"></div>'
        for status, count in sorted(counts.items(), key=lambda item: list(STATUS).index(item[0]))
    )
    passed = f"{counts['passed']} of {total} passed"
    bar = f'<div class="bar" role="img" aria-label="{passed}">{pieces}</div>'
    return f"<tr><td><code>{escape(name)}</code><td>{bar}<td>{passed}"


def _misconceptions(outcomes: list[Outcome]) -> Iterator[str]:
    """What was diagnosed, the most common first, with who shows it."""
    holders: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        for found in outcome.exercises:
            for diagnosis in found["diagnoses"]:
                holders.setdefault((found["exercise"], diagnosis["message"]), []).append(outcome.student)
    if not holders:
        yield "<p>None was found.</p>"
        return
    yield "<table><tr><th>students<th>exercise<th>what their numbers show<th>who"
    for (exercise, message), students in sorted(holders.items(), key=lambda item: (-len(item[1]), item[0])):
        who = ", ".join(students[:8]) + (f" and {len(students) - 8} more" if len(students) > 8 else "")
        cells = (
            str(len(students)),
            f"<code>{escape(exercise)}</code>",
            escape(message),
            f"<small>{escape(who)}</small>",
        )
        yield "<tr>" + "".join(f"<td>{cell}" for cell in cells)
    yield "</table>"


def _to_look_at(outcomes: list[Outcome]) -> Iterator[str]:
    odd = [outcome for outcome in outcomes if outcome.state != GRADED or outcome.reasons]
    if not odd:
        yield "<p>Nothing: every submission was graded whole.</p>"
        return
    yield "<table>"
    for outcome in odd:
        why = "; ".join(outcome.reasons)
        yield f"<tr><td>{escape(outcome.student)}<td>{escape(outcome.state)}<td><small>{escape(why)}</small>"
    yield "</table>"
