"""The learner's half of `autograder`: the package without what is right, as it stands in the sandbox."""

from __future__ import annotations

import compileall
import shutil
from pathlib import Path

import matplotlib

import autograder

PACKAGE = Path(autograder.__file__).parent
HIDDEN = ("references", "grading", "__pycache__")


def stage(slug: str, target: Path) -> None:
    """Copy the learner's half for a notebook into `target/autograder`.

    Stand-ins are answers: only those of earlier notebooks come along.
    """

    def left_out(folder: str, names: list[str]) -> list[str]:
        if Path(folder) == PACKAGE / "standins":
            names = [name for name in names if name != "__init__.py"]
            return [name for name in names if name in HIDDEN or name[2:4] >= slug[:2]]
        return [name for name in names if name in HIDDEN]

    shutil.copytree(PACKAGE, target / "autograder", ignore=left_out)
    compileall.compile_dir(target / "autograder", quiet=2)


def font_list() -> Path | None:
    """matplotlib's list of this machine's fonts, which takes seconds to make anew; None if there is none yet."""
    found = sorted(Path(matplotlib.get_cachedir()).glob("fontlist-*.json"))
    return found[-1] if found else None
