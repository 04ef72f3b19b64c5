"""The model answers, read from the solution scripts where they stand; a student bundle has none."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

from autograder.exercise import Exercise
from autograder.regions import BEGIN, answered

ROOT = Path(__file__).resolve().parent.parent


def script_of(exercise: Exercise, root: Path = ROOT) -> Path:
    """The script that holds an exercise's notebook."""
    return root / "solutions" / f"{exercise.notebook}.py"


def model_answer(exercise: Exercise, root: Path = ROOT) -> str | None:
    """The source of an exercise's model answer, without markers and stub lines; None where there is no script."""
    script = script_of(exercise, root)
    if not script.is_file():
        return None
    for cell in _code_cells(script.read_text(encoding="utf-8")):
        if BEGIN in cell:
            source = answered(cell).strip("\n")
            if exercise.id in _bound(source):
                return source
    return None


def model_text(exercise: Exercise, root: Path = ROOT) -> str | None:
    """The model text of a reflection: the string that its cell assigns."""
    source = model_answer(exercise, root)
    if source is None:
        return None
    assigned = [node.value for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return textwrap.dedent(ast.literal_eval(assigned[-1])).strip()


def _code_cells(script: str) -> list[str]:
    """The code cells of a percent script; jupytext, with which the build reads it, takes long to import."""
    parts = re.split(r"^# %%", script, flags=re.MULTILINE)[1:]
    return [part.partition("\n")[2] for part in parts if not part.partition("\n")[0].strip().startswith("[markdown]")]


def _bound(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names
