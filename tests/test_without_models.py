"""The notebooks that read a real model, where none is installed: every cell runs, and a line says what is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from autograder.material import optional

SOLUTIONS = Path(__file__).resolve().parent.parent / "solutions"
READS_A_MODEL = re.compile(r"^ *from autograder\.material import .*\b(encoder|translation)\b", re.MULTILINE)
NOTEBOOKS = [path.stem for path in sorted(SOLUTIONS.glob("*.py")) if READS_A_MODEL.search(path.read_text("utf-8"))]


def test_the_notebooks_that_read_a_model_are_found():
    assert {name[:2] for name in NOTEBOOKS} == {"07", "11", "13", "14", "15", "16", "17"}


@pytest.mark.parametrize("slug", NOTEBOOKS)
def test_a_notebook_runs_without_the_models_and_says_what_is_missing(slug, tmp_path):
    absent = str(tmp_path / "absent")
    environment = os.environ | {model.variable: absent for model in optional.MODELS} | {"ATTENTION_STANDINS": "1"}
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--output-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(SOLUTIONS / slug / f"{slug}.ipynb")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=570,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [
        output.get("text", "")
        for cell in nbformat.read(tmp_path / f"{slug}.ipynb", as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    assert any("pip install --no-deps" in text and absent in text for text in outputs)
