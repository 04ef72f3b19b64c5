"""The gradebook in PostgreSQL: the same commands, the same scores."""

import csv
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from autograder.grading.glue import UNSANDBOXED
from autograder.grading.sandbox import problem

REPO = Path(__file__).resolve().parent.parent
SLUG = "01_what_is_attention"
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(scope="module")
def database():
    """The URL of an empty database on a server of its own, which listens at a socket in a private folder."""
    pytest.importorskip("psycopg2")
    if not PROGRAMS:
        pytest.skip("no PostgreSQL server here; on Debian or Ubuntu: sudo apt-get install postgresql")
    # PostgreSQL refuses to run as root; its package brings a user for it.
    root = os.getuid() == 0
    as_user = ["runuser", "-u", "postgres", "--"] if root else []
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        if root:
            os.chown(folder, *pwd.getpwnam("postgres")[2:4])

        def run(program, *options):
            # Into a file: a pipe would stay open as long as the server runs.
            with Path(folder, "said").open("w") as said:
                command = [*as_user, str(PROGRAMS[-1] / program), *options]
                subprocess.run(command, cwd=folder, stdout=said, stderr=said, check=True)

        data = f"{folder}/data"
        run("initdb", "--pgdata", data, "--auth", "trust", "--username", "course", "--no-sync")
        run("pg_ctl", "--pgdata", data, "--options", f"-k {folder} -c listen_addresses=''", "--wait", "start")
        try:
            run("createdb", "--host", folder, "--username", "course", "grades")
            yield f"postgresql+psycopg2://course@/grades?host={folder}"
        finally:
            run("pg_ctl", "--pgdata", data, "--mode", "immediate", "--wait", "stop")


@pytest.fixture
def course(tmp_path):
    for part in ("solutions", "notebooks"):
        shutil.copytree(REPO / part / SLUG, tmp_path / part / SLUG)
    shutil.copy(REPO / "nbgrader_config.py", tmp_path)
    for student, part in (("ana", "solutions"), ("bo", "notebooks")):
        (tmp_path / "in" / student).mkdir(parents=True)
        shutil.copy(REPO / part / SLUG / f"{SLUG}.ipynb", tmp_path / "in" / student)
    return tmp_path


def test_a_class_is_graded_and_exported_from_postgresql(course, database):
    environment = os.environ | {"ATTENTION_GRADEBOOK": database, "PYTHONPATH": str(REPO)}
    if problem() is not None:  # the database is to be seen here, not the sandbox
        environment[UNSANDBOXED] = "1"

    def run(*command):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=course, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        assert "SAWarning" not in done.stderr
        return done.stdout

    run("nbgrader", "generate_assignment", SLUG, "--force")
    unsandboxed = ["--unsandboxed"] if UNSANDBOXED in environment else []
    for _ in range(2):  # a regrade takes the place of what was there
        run("autograder.cli", "grade", SLUG, "in", *unsandboxed)
    run("nbgrader", "export")
    assert not list((course / "course").glob("*.db"))
    with (course / "course" / "grades.csv").open(newline="") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"ana", "bo"}
    assert float(rows["bo"]["score"]) == 0
    # All but the reflection, which a person grades.
    assert float(rows["ana"]["score"]) == float(rows["ana"]["max_score"]) - 4
