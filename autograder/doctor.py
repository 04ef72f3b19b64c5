"""Checking an installation: what is there, what is missing, and what to do about each."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from autograder.material.optional import MODELS, missing

DISTRIBUTION = "attention-course"


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    needed: whether the course does not work without it; otherwise it is an extra.
    advice: what to do when it is not there.
    """

    name: str
    ok: bool
    found: str
    advice: str = ""
    needed: bool = True

    def __str__(self) -> str:
        mark = "ok     " if self.ok else "missing" if self.needed else "extra  "
        line = f"{mark}  {self.name:<18} {self.found}"
        return line if self.ok else f"{line}\n{'':28} {self.advice}"


def examine() -> list[Finding]:
    """Look at Python, the packages, the kernel, the optional models and the sandbox."""
    return [_python(), *_packages(), _kernel(), *_models(), _sandbox()]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), found, "install Python 3.11 or newer; make .venv anew")


def _packages() -> Iterator[Finding]:
    for line in importlib.metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        advice = f'python -m pip install "{requirement}" (with -c constraints.txt for the tested version)'
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(requirement.name, False, "not installed", advice)
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        yield Finding(requirement.name, fits, version if fits else f"{version}, wanted {requirement.specifier}", advice)


def _kernel() -> Finding:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return Finding("kernel", False, "no kernel named python3", "python -m ipykernel install --sys-prefix")
    # Jupyter puts the running interpreter in the place of a bare name.
    command = sys.executable if spec.argv[0].startswith("python") else spec.argv[0]
    advice = "the kernel runs another Python; in this environment run: python -m ipykernel install --sys-prefix"
    return Finding("kernel", Path(command).resolve() == Path(sys.executable).resolve(), command, advice)


def _models() -> Iterator[Finding]:
    for model in MODELS:
        reason = missing(model)
        found = "not installed" if reason else "installed"
        advice = f"optional, for {model.notebooks}: {model.command}"
        yield Finding(model.module.replace("_", "-"), reason is None, found, advice, needed=False)


def _sandbox() -> Finding:
    from autograder.grading.sandbox import problem

    command, reason = shutil.which("bwrap"), problem()
    found = "not installed" if command is None else "no sandbox" if reason else command
    return Finding("bubblewrap", reason is None, found, f"only instructors need it: {reason}", needed=False)
