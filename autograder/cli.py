"""The command `attention`: thin; every command calls one function elsewhere and prints what it returns.

Exit codes: 0 done or passed, 1 not yet right, 2 used wrongly, 3 the program's own fault.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import click

NOT_YET, MISUSED, OUR_FAULT = 1, 2, 3

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def fail(message: str, code: int = MISUSED) -> NoReturn:
    """Say what went wrong on stderr and leave."""
    click.echo(f"attention: {message}", err=True)
    sys.exit(code)


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="attention-course", prog_name="attention")
def cli() -> None:
    """A course on attention in notebooks whose checks name the misconception behind a wrong answer.

    Learners: lab, status, hint, try, watch, reset, update, doctor. Instructors: grade. Maintainers: build.
    """


@cli.command("lab")
@click.option("--port", type=int, default=8888, show_default=True, help="Port; the next free one if taken.")
@click.option("--workspace", type=click.Path(path_type=Path, file_okay=False), help="Folder of your copies.")
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening it.")
def lab_command(port: int, workspace: Path | None, no_browser: bool) -> None:
    """Open the course in JupyterLab, in a workspace of your own copies.

    Notebooks you have not opened yet are copied there; one that exists is never overwritten.
    """
    from autograder.lab import start

    sys.exit(start(port=port, workspace=workspace, open_browser=not no_browser))


@cli.command("try")
@click.argument("exercise_id", metavar="ID")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Other seeds give other inputs.")
@click.option("--time-limit", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Seconds.")
def try_command(exercise_id: str, file: Path, as_json: bool, seed: int, time_limit: float) -> None:
    """Judge the object named ID that the Python file FILE defines.

    It runs in a process of its own. Exit code 0 when it passes, 1 when not yet. In a workspace the verdict is recorded
    and a passed answer joins your library, as in a notebook.

    \b
    Example: attention try softmax answer.py
    """
    verdict = _attempt(exercise_id, file, seed, time_limit)
    _print_verdict(verdict, as_json)
    sys.exit(0 if verdict else NOT_YET)


def _attempt(exercise_id: str, file: Path, seed: int, time_limit: float) -> Any:
    from autograder.attempt import attempt
    from autograder.record import remember_file

    try:
        return remember_file(attempt(exercise_id, file, seed=seed, time_limit=time_limit), file)
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")


def _print_verdict(verdict: Any, as_json: bool) -> None:
    from autograder.report import to_json, to_text

    click.echo(json.dumps(to_json(verdict), ensure_ascii=False, indent=2) if as_json else to_text(verdict))


@cli.command("watch")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--time-limit", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Seconds.")
def watch_command(file: Path, seed: int, time_limit: float) -> None:
    """Judge every exercise that FILE defines, again each time the file is saved. Ctrl-C ends it."""
    from autograder.watch import changes, defined_exercises

    for _ in changes(file):
        click.clear()
        found = defined_exercises(file)
        click.echo(f"{file} · {time.strftime('%H:%M:%S')}")
        if not found:
            click.echo("it defines no exercise's name yet; `attention status` lists them")
        for exercise_id in found:
            click.echo()
            _print_verdict(_attempt(exercise_id, file, seed, time_limit), False)


@cli.command("status")
@click.argument("notebook", required=False, metavar="[NN]")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def status_command(notebook: str | None, as_json: bool) -> None:
    """Show the notebooks, your points, what is next; with NN the exercises of one notebook."""
    from autograder.overview import as_data, details, overview
    from autograder.record import current

    record = current(look_around=True)
    if as_json:
        click.echo(json.dumps(as_data(record), indent=2))
        return
    if notebook is None:
        click.echo(str(overview(record)))
        return
    text = details(record, notebook)
    if text is None:
        fail(f"there is no notebook {notebook}; `attention status` lists them")
    click.echo(text)


@cli.command("hint")
@click.argument("exercise_id", metavar="ID")
@click.option("--show-me", is_flag=True, help="Show the model answer.")
def hint_command(exercise_id: str, show_me: bool) -> None:
    """Show the next hint for an exercise, one at a time."""
    from autograder.hints import next_hint

    click.echo(next_hint(exercise_id, show_me, look_around=True).for_terminal())


@cli.command("reset")
@click.argument("notebook", metavar="NN")
def reset_command(notebook: str) -> None:
    """Set your copy of notebook NN aside under a dated name and take a fresh one."""
    from autograder.workspace import reset

    click.echo(reset(notebook))


@cli.command("update")
@click.argument("notebook", metavar="NN")
def update_command(notebook: str) -> None:
    """Take the current version of notebook NN and carry your answers over; the old copy is kept."""
    from autograder.workspace import update

    click.echo(update(notebook))


@cli.command("doctor")
def doctor_command() -> None:
    """Check the installation and say what to do about what is missing."""
    from autograder.doctor import examine

    findings = examine()
    for finding in findings:
        click.echo(str(finding))
    sys.exit(NOT_YET if any(finding.needed and not finding.ok for finding in findings) else 0)


@cli.command("grade")
@click.argument("assignment")
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--student", "students", multiple=True, metavar="NAME", help="Only this student; may be given again.")
@click.option("--resume", is_flag=True, help="Leave out what was graded before and is still the same.")
@click.option("--jobs", type=click.IntRange(min=1), default=None, help="How many run at a time; one per processor.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the results there too.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="The same for a program.")
@click.option(
    "--unsandboxed", is_flag=True, help="Run submissions as yourself, without protection. For trusted classes."
)
def grade_command(
    assignment: str,
    sources: tuple[Path, ...],
    students: tuple[str, ...],
    resume: bool,
    jobs: int | None,
    csv_file: Path | None,
    json_file: Path | None,
    unsandboxed: bool,
) -> None:
    """Grade a class: run every submission of ASSIGNMENT in a sandbox and record the verdicts in nbgrader's gradebook.

    SOURCES are folders with one entry per student (a folder, a notebook, a zip file), or the zip file of an LMS;
    without any, what nbgrader collected. Exit code 1 if a submission could not be graded whole.

    \b
    Example: attention grade 01_what_is_attention downloads/
    """
    from autograder.grading.command import Misused, run

    try:
        outcomes = run(Path.cwd(), assignment, sources, students, resume=resume, jobs=jobs, sandboxed=not unsandboxed)
    except Misused as error:
        fail(str(error))
    from autograder.grading.batch import GRADED, table, write_csv, write_json

    if csv_file:
        write_csv(csv_file, outcomes)
    if json_file:
        write_json(json_file, outcomes)
    for line in table(outcomes):
        click.echo(line)
    sys.exit(0 if all(outcome.state == GRADED for outcome in outcomes) else NOT_YET)


@cli.command("build")
@click.argument("notebooks", nargs=-1, metavar="[NN]...")
@click.option("--check", "check_only", is_flag=True, help="Change nothing; fail if a notebook is stale.")
@click.option("--force", is_flag=True, help="Execute again where nothing changed.")
def build_command(notebooks: tuple[str, ...], check_only: bool, force: bool) -> None:
    """Make the source and release notebooks from solutions/NN_slug.py (maintainers)."""
    from autograder.build import BuildError, build

    try:
        lines = build(notebooks, check=check_only, force=force)
    except BuildError as error:
        fail(str(error), NOT_YET)
    for line in lines:
        click.echo(line)


def main() -> None:
    """Run the command; turn known faults into one line and unknown ones into exit code 3."""
    from autograder.exercise import UnknownExercise

    try:
        cli(prog_name="attention")
    except UnknownExercise as error:
        fail(str(error.args[0]))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from autograder.workspace import WorkspaceError

        if isinstance(error, WorkspaceError):
            fail(str(error))
        traceback.print_exc()
        fail("this is a fault of the program, not of what you did; please report the lines above", OUR_FAULT)


if __name__ == "__main__":
    main()
