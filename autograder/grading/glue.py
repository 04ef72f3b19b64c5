"""Where nbgrader meets the sandbox: the parts that `nbgrader_config.py` puts into `nbgrader autograde`.

nbgrader reads a submission twice. The first time, `Read` takes it in whatever state it is and keeps its cells; the
second time, `Judge` rebuilds, runs and judges them, and saves the scores.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters import NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Unicode

from autograder.grading import gradebook as books
from autograder.grading import sandbox
from autograder.grading.assignment import assignment
from autograder.grading.intake import Unreadable, read_file, read_notebook
from autograder.grading.rebuild import readable
from autograder.grading.secret import course_secret
from autograder.grading.submission import grade

UNSANDBOXED = "ATTENTION_UNSANDBOXED"  # set to 1: run submissions without a sandbox, as the person who grades
KEPT = "attention"  # the metadata in which a submission's cells wait


def refuse_without_sandbox() -> None:
    """Raise NbGraderException where submissions cannot be run safely, unless that was asked for."""
    if os.environ.get(UNSANDBOXED) == "1":
        return
    reason = sandbox.problem()
    if reason:
        raise NbGraderException(f"{reason}. To run submissions without protection, as yourself: {UNSANDBOXED}=1")


class Read(NotebookExporter):
    """Reads what was handed in without trusting any of it; a file that is no notebook is one without answers."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        refuse_without_sandbox()
        super().__init__(*args, **keywords)

    def from_filename(self, filename: str, resources: dict | None = None, **keywords: Any) -> tuple[Any, dict]:
        """Read a submission, or on nbgrader's second pass what the first wrote."""
        if not getattr(self.parent, "_sanitizing", False):
            return super().from_filename(filename, resources, **keywords)
        data, notes, cells = read_file(Path(filename)), [], []
        try:
            if isinstance(data, str):
                raise Unreadable(data)
            cells = readable(read_notebook(data))
        except Unreadable as error:
            notes.append(f"what was handed in could not be read: {error}")
        notebook = nbformat.v4.new_notebook(metadata={KEPT: {"cells": cells, "notes": notes}})
        return self.from_notebook_node(notebook, resources, **keywords)


class Judge(NbGraderPreprocessor):
    """Rebuilds, runs and judges a submission, and saves its scores: one step, so that they are saved whole."""

    root = Unicode(help="The folder of the course.").tag(config=True)
    folder = Unicode("course", help="The folder in it that git ignores.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Return the graded notebook in the place of what was read."""
        about = resources["nbgrader"]
        student, slug = about["student"], about["assignment"]
        kept = nb.metadata.get(KEPT, {})
        secret = course_secret(Path(self.root) / self.folder)
        with Gradebook(about["db_url"]) as gradebook:
            try:
                cells, notes = kept.get("cells", []), kept.get("notes", [])
                posed = assignment(Path(self.root), slug)
                graded = grade(posed, student, cells, secret, notes=notes, sandboxed=os.environ.get(UNSANDBOXED) != "1")
                books.save(gradebook, slug, student, graded.notebook)
            except BaseException:
                books.supersede(gradebook, slug, student)
                raise
        return graded.notebook, resources
