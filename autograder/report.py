"""A `Verdict` in words: HTML for a notebook, text for a terminal, JSON for a program.

Every learner-facing sentence is here or on its exercise.
"""

from __future__ import annotations

from html import escape
from typing import Any

from autograder.pictures import side_by_side
from autograder.verdict import UNJUDGED, CheckResult, Diagnosis, Fault, Verdict
from autograder.wording import error_line

STATUS = {
    "passed": "passed",
    "partial": "partly there",
    "wrong": "not yet",
    "not_attempted": "not attempted",
    "error": "stopped by an error",
    "timeout": "did not return",
    "missing": "no answer handed in",
    "crashed": "ended its process",
    "not_run": "not run",
}
# Okabe and Ito's palette, told apart by colour-blind readers and legible on light and dark.
COLOUR = {"passed": "#009E73", "partial": "#C98A00", "not_attempted": "#8A8A8A"}
NOT_YET = "#D55E00"

MARKS = {True: "✓", False: "✗"}


def status_words(verdict: Verdict) -> str:
    """The status as a learner reads it."""
    if verdict.exercise.kind == "P" and verdict.status in ("passed", "wrong", "partial", "error"):
        return "prediction noted" + (": the measurement agrees" if verdict.status == "passed" else "")
    return STATUS[verdict.status]


def to_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as the stable JSON of `attention try --json`."""
    return {
        "exercise": verdict.exercise.id,
        "status": verdict.status,
        "points": verdict.points,
        "max_points": verdict.max_points,
        "checks": [
            {
                "name": result.check.name,
                "passed": result.passed,
                "points": result.points,
                "max_points": result.check.points,
                "message": _message(verdict, result),
            }
            for result in verdict.checks
        ],
        "diagnoses": [{"name": found.name, "message": found.message} for found in verdict.diagnoses],
    }


def _message(verdict: Verdict, result: CheckResult) -> str:
    if result.fault:
        return "\n".join(f"{label}: {text}" for label, text in lines(verdict, result))
    if result.waits:
        return _waits(verdict)
    return ""


def _waits(verdict: Verdict) -> str:
    if verdict.status == "not_attempted":
        return "not attempted"
    if verdict.status in UNJUDGED:
        return verdict.note
    return f"judged once {verdict.exercise.checks[0].name} holds"


def _tail(verdict: Verdict, result: CheckResult) -> str:
    return _waits(verdict) if result.waits and verdict.status not in UNJUDGED else ""


def _failing(verdict: Verdict) -> list[CheckResult]:
    return [result for result in verdict.checks if result.fault]


def lines(verdict: Verdict, result: CheckResult) -> list[tuple[str, str]]:
    """The labelled lines of a check that does not hold; a line with nothing true to say is left out."""
    fault = result.fault
    if fault is None:
        return []
    if verdict.exercise.kind == "P" and not fault.outcome.error:
        found = [("you said", fault.got), ("measured", fault.wanted)]
        found += [("because", diagnosis.message) for diagnosis in verdict.diagnoses]
        return found
    found = [
        ("called", fault.called),
        ("wanted", "; here ".join(text for text in (result.check.wanted, fault.wanted) if text)),
        ("got", fault.got or _error_text(fault)),
        *(("seen", fact) for fact in fault.facts),
    ]
    error = fault.outcome.error
    if error is not None:
        found += [("at", frame) for frame in error.frames]
    found += [("warned", warning) for warning in fault.outcome.warnings[:2]]
    if fault.outcome.printed.strip():
        found.append(("printed", _cut(fault.outcome.printed.strip())))
    for diagnosis in _explaining(verdict, result):
        found.append(("because", diagnosis.message))
        if diagnosis.look_at:
            found.append(("look at", f"“{diagnosis.look_at}” above"))
    return [(label, text) for label, text in found if text]


def _explaining(verdict: Verdict, result: CheckResult) -> list[Diagnosis]:
    return [diagnosis for diagnosis in verdict.diagnoses if diagnosis.check == result.check.name]


def _error_text(fault: Fault) -> str:
    error = fault.outcome.error
    return "" if error is None else error_line(error)


def _cut(text: str, most: int = 300) -> str:
    return text if len(text) <= most else text[:most] + " …"


def _hint(verdict: Verdict) -> str:
    if verdict.status == "passed" or verdict.exercise.kind == "P" or verdict.final:
        return ""
    return f'hint("{verdict.exercise.id}") gives one hint at a time'


def to_text(verdict: Verdict) -> str:
    """The verdict for a terminal."""
    exercise = verdict.exercise
    out = [f"{exercise.id} · {status_words(verdict)}{_points(verdict)}"]
    out += [f"  {verdict.note}"] if verdict.note else []
    if exercise.kind == "P":
        return "\n".join(out + [_labelled(*line) for result in verdict.checks for line in lines(verdict, result)])
    if verdict.status == "not_attempted":
        return "\n".join(out)
    width = max(len(result.check.name) for result in verdict.checks)
    shown = [result for result in _failing(verdict) if _explaining(verdict, result)] or _failing(verdict)[:1]
    for result in verdict.checks:
        mark = "·" if result.waits else MARKS[result.passed]
        short = "" if result in shown or not result.fault else result.fault.got
        tail = _tail(verdict, result) or _cut(short.partition("\n")[0], 60)
        out.append(f"  {mark} {result.check.name:<{width}}  {result.points} of {result.check.points}  {tail}".rstrip())
    for result in shown:
        out += ["", f"{exercise.id} · {result.check.name} · not yet"]
        out += [_labelled(label, text) for label, text in lines(verdict, result)]
    if _hint(verdict):
        out += ["", f"attention hint {exercise.id} gives one hint at a time"]
    return "\n".join(out)


def _points(verdict: Verdict) -> str:
    """Nothing for a prediction: it is not a mark that is won or lost."""
    return "" if verdict.exercise.kind == "P" else f" · {verdict.points} of {verdict.max_points} points"


def _labelled(label: str, text: str) -> str:
    first, *rest = text.splitlines() or [""]
    return "\n".join([f"  {label:<8} {first}", *(f"  {'':<8} {line}" for line in rest)])


def to_html(verdict: Verdict) -> str:
    """The verdict for a notebook: no scripts, no network, colours that stand on light and dark."""
    colour = COLOUR.get(verdict.status, NOT_YET)
    if verdict.exercise.kind == "P" and verdict.status == "wrong":
        colour = COLOUR["partial"]
    parts = [
        f'<div role="group" aria-label="{escape(verdict.exercise.id)}: {escape(status_words(verdict))}" '
        f'style="border-left:4px solid {colour};padding:.35em .9em;margin:.3em 0;line-height:1.5">',
        f'<div><b style="color:{colour}">{escape(status_words(verdict))}</b> · '
        f"<code>{escape(verdict.exercise.id)}</code>{_points(verdict)}</div>",
    ]
    if verdict.note:
        parts.append(f"<div>{escape(verdict.note)}</div>")
    if verdict.status != "not_attempted":
        parts += [_check_list(verdict)] if verdict.exercise.kind != "P" else []
        parts += [_block(verdict, result, folded=index > 0) for index, result in enumerate(_failing(verdict))]
    if hint := _hint(verdict):
        parts.append(f'<div style="opacity:.75;margin-top:.4em">{_code(hint)}</div>')
    return "".join(parts) + "</div>"


def _code(hint: str) -> str:
    call, _, rest = escape(hint, quote=False).partition(")")
    return f"<code>{call})</code>{rest}"


def _check_list(verdict: Verdict) -> str:
    rows = []
    for result in verdict.checks:
        waiting = result.waits and not result.fault
        mark, colour = (
            ("·", "#8A8A8A") if waiting else (MARKS[result.passed], COLOUR["passed"] if result.passed else NOT_YET)
        )
        tail = (
            f' <span style="opacity:.75">{escape(_waits(verdict))}</span>'
            if waiting and verdict.status not in UNJUDGED
            else ""
        )
        rows.append(
            f'<span style="white-space:nowrap;margin-right:1.2em"><b style="color:{colour}">{mark}</b> '
            f"{escape(result.check.name.replace('_', ' '))} {result.points}/{result.check.points}{tail}</span> "
        )
    return f'<div style="margin:.15em 0">{"".join(rows)}</div>'


def _block(verdict: Verdict, result: CheckResult, *, folded: bool) -> str:
    rows = []
    for label, text in lines(verdict, result):
        strong = "background:rgba(213,94,0,.13);" if label == "because" else ""
        body = f"<b>{escape(text)}</b>" if label == "because" else escape(text)
        if label in ("called", "at", "printed", "warned"):
            body = f'<code style="white-space:pre-wrap;background:none">{escape(text)}</code>'
        rows.append(
            f'<div style="display:flex;{strong}padding:.05em .3em">'
            f'<div style="flex:0 0 5em;opacity:.7">{label}</div><div style="flex:1 1 0;min-width:0">{body}</div></div>'
        )
    fault = result.fault
    picture = side_by_side(*fault.arrays) if fault is not None and fault.arrays is not None else ""
    inside = "".join(rows) + picture
    title = escape(result.check.name.replace("_", " "))
    if folded:
        return f'<details style="margin:.2em 0"><summary style="cursor:pointer">{title}</summary>{inside}</details>'
    return f'<div style="margin:.35em 0"><div style="margin-left:.3em"><b>{title}</b></div>{inside}</div>'
