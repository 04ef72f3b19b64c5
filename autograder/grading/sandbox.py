"""The bubblewrap command line: what a submission's kernel sees of the machine, and what it may use.

It sees the system and the interpreter read-only, the learner's half of the course, its inputs, and private folders in
memory. It has no network, no environment, no other process to look at, and dies whole with its first process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from autograder.grading.limits import Limits

HOME = "/learner"  # the working folder; also the home
COURSE = "/course"  # the learner's half of `autograder`
INPUTS = "/inputs"  # one file of inputs per exercise
SCRATCH = "/tmp"

NOT_INSTALLED = (
    "submissions run in a sandbox made by bubblewrap, and there is no program `bwrap` here. Debian and Ubuntu: "
    "sudo apt-get install bubblewrap. It needs Linux; on another system grade in a virtual machine or a container"
)
FORBIDDEN = (
    "bubblewrap is installed but may not make a sandbox here ({reason}). Ubuntu 24.04 forbids user namespaces to "
    "programs without an AppArmor profile: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give bwrap a "
    "profile. In a container: run it with --security-opt seccomp=unconfined, or allow unprivileged user namespaces"
)


class NoSandbox(RuntimeError):
    """Submissions cannot be run safely here; the message says why and what to do."""


def problem() -> str | None:
    """Why there can be no sandbox here, with what to do about it; None if there can."""
    if shutil.which("bwrap") is None:
        return NOT_INSTALLED
    with tempfile.TemporaryDirectory() as folder:
        command = wrap([sys.executable, "-c", "pass"], Path(folder), Limits(), {})
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return FORBIDDEN.format(reason=str(error))
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return FORBIDDEN.format(reason=lines[-1] if lines else f"exit code {done.returncode}")
    return None


def wrap(
    command: Sequence[str],
    shared: Path,
    limits: Limits,
    environment: Mapping[str, str],
    *,
    read_only: Mapping[Path, str] | None = None,
) -> list[str]:
    """The command that runs `command` in the sandbox.

    shared:    the one folder that can be written from inside and seen from outside, at the same place in both.
    read_only: files and folders to show, and where.
    Raises NoSandbox if there is no bubblewrap.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise NoSandbox(NOT_INSTALLED)
    options = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
    options += ["--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "course", "--clearenv"]
    for name, value in environment.items():
        options += ["--setenv", name, value]
    options += ["--proc", "/proc", "--dev", "/dev"]
    for folder in (HOME, SCRATCH, "/dev/shm"):
        options += ["--size", str(limits.disk), "--tmpfs", folder]
    options += [*_system(), *_interpreter()]  # after the scratch folder: the course may lie in the machine's own /tmp
    for path, inside in (read_only or {}).items():
        options += ["--ro-bind", str(path), inside]
    options += ["--bind", str(shared), str(shared), "--chdir", HOME]
    options += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [bwrap, *options, "--", *limited(command, limits)]


def _system() -> list[str]:
    """The programs and libraries of the system, laid out as here; of /etc only what programs cannot do without."""
    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        path = Path(name)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            options += ["--ro-bind", name, name]
    for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "fonts", "localtime"):
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return options


def _interpreter() -> list[str]:
    """This Python with its packages, without the course: an installed copy of it would hold the answers."""
    options: list[str] = []
    shown: list[Path] = []
    for prefix in dict.fromkeys(Path(p).resolve() for p in (sys.base_prefix, sys.prefix)):
        if not any(prefix.is_relative_to(folder) for folder in [Path("/usr"), *shown]):
            options += ["--ro-bind", str(prefix), str(prefix)]
            shown.append(prefix)
    for packages in dict.fromkeys(Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")):
        for entry in [packages / "autograder", *packages.glob("*attention_course*")]:
            if entry.is_dir():
                options += ["--size", "4096", "--tmpfs", str(entry), "--remount-ro", str(entry)]
            elif entry.exists():
                options += ["--ro-bind", os.devnull, str(entry)]
    return options


def limited(command: Sequence[str], limits: Limits) -> list[str]:
    """The command under the limits that the kernel keeps by process. They are hard: nothing inside can raise them."""
    # ulimit counts files in blocks of 512 bytes in sh; core files would be written where the crash was.
    script = f"ulimit -c 0 -n {limits.open_files} -t {limits.cpu} -f {limits.file // 512}"
    parts = script.split(" -")
    return ["/bin/sh", "-c", "; ".join(f"ulimit -{part}" for part in parts[1:]) + '; exec "$@"', "sh", *command]
