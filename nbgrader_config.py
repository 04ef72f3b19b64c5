"""Where nbgrader finds this course and keeps what a class hands in. Every nbgrader command reads this file.

    nbgrader generate_assignment 01_what_is_attention --force
    nbgrader release_assignment  01_what_is_attention
    nbgrader collect             01_what_is_attention
    nbgrader autograde           01_what_is_attention
    nbgrader generate_feedback   01_what_is_attention
    nbgrader export

Submissions, grades and feedback are kept in course/ beside this file, which git ignores. Two things can be elsewhere:

ATTENTION_GRADEBOOK  database URL, for example postgresql+psycopg2://name@host/grades, which needs
                     pip install psycopg2-binary; by default SQLite in course/
ATTENTION_EXCHANGE   folder that students and instructors share; by default in course/, for one machine
"""

import os
import sysconfig
from pathlib import Path

from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import ClearSolutions

from autograder.grading.stubs import ClearToStubs

c = get_config()  # type: ignore[name-defined]  # noqa: F821 (nbgrader provides it)

# nbgrader makes its database with the command `alembic`, which is beside Python even where no environment is active.
os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])

root = Path(__file__).resolve().parent
course = root / "course"
(course / "exchange").mkdir(parents=True, exist_ok=True)  # neither SQLite nor `nbgrader list` makes its folder

# One folder per notebook in each of these. `solutions` and `notebooks` come from `attention build`. They are relative,
# since nbgrader reads them as patterns and escapes only the root.
c.CourseDirectory.course_id = "attention"
c.CourseDirectory.root = str(root)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "notebooks"
c.CourseDirectory.submitted_directory = "course/submitted"
c.CourseDirectory.autograded_directory = "course/autograded"
c.CourseDirectory.feedback_directory = "course/feedback"
c.CourseDirectory.solution_directory = "course/solution"
c.CourseDirectory.db_url = os.environ.get("ATTENTION_GRADEBOOK") or f"sqlite:///{course / 'gradebook.db'}"
c.Exchange.root = os.environ.get("ATTENTION_EXCHANGE") or str(course / "exchange")
c.ExportPlugin.to = str(course / "grades.csv")

# The release: nbgrader's own steps, but with stubs that name the exercise and the `#: ` lines of the scripts.
steps = GenerateAssignment.class_traits()["preprocessors"].default()
c.GenerateAssignment.preprocessors = [ClearToStubs if step is ClearSolutions else step for step in steps]

# Grading: a submission is read in whatever state it is, rebuilt from the release, run in a sandbox, and judged here.
# Where there can be no sandbox, `nbgrader autograde` stops and says why.
c.Autograde.exporter_class = "autograder.grading.glue.Read"
c.Autograde.sanitize_preprocessors = []
c.Autograde.autograde_preprocessors = [
    "autograder.grading.glue.Judge",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Judge.root = str(root)
c.Judge.folder = course.name

# `nbgrader validate` runs a notebook as it is, in a kernel of whoever types it: meant for one's own work.
c.Execute.timeout = 300
c.Execute.startup_timeout = 120
c.Execute.iopub_timeout = 60
c.Execute.skip_cells_with_tag = "experiment"
