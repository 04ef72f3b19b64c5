"""A Jupyter kernel provisioner that starts kernels in the sandbox: entry point `attention-sandbox`.

A kernel is given to it by its kernelspec's metadata, as Jupyter does it; `kernel_manager` makes a manager of that kind.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Bool, Dict, Unicode

from autograder.grading.limits import Limits
from autograder.grading.sandbox import limited, wrap
from autograder.grading.watchdog import Watchdog

NAME = "attention-sandbox"
ARGV = [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"]
# Nothing, so that a submission can neither read a history nor a profile, nor leave one.
ARGV += ["--HistoryManager.enabled=False", "--IPKernelApp.exec_files=[]"]


class SandboxProvisioner(LocalProvisioner):
    """Starts a kernel under bubblewrap, watches what it uses, and kills it whole.

    The connection file and the sockets lie in one private folder, `shared`, at the same place inside and outside. An
    interrupt is a message (`interrupt_mode`), since a signal would meet bubblewrap instead of the kernel.
    """

    shared = Unicode(help="The folder of the sockets.").tag(config=True)
    read_only = Dict(help="What else is shown: path outside → path inside.").tag(config=True)
    environment = Dict(help="The kernel's environment variables, all of them.").tag(config=True)
    limits = Dict(help="The fields of autograder.grading.limits.Limits.").tag(config=True)
    sandboxed = Bool(True, help="False runs the kernel as whoever grades, with nothing between.").tag(config=True)
    watchdog: Watchdog | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Write the connection file and wrap the kernel's command."""
        kwargs = await super().pre_launch(**kwargs)
        if not self.sandboxed:
            return kwargs | {"cmd": limited(kwargs["cmd"], self._limits())}
        shown = {Path(path): inside for path, inside in self.read_only.items()}
        kwargs["cmd"] = wrap(kwargs["cmd"], Path(self.shared), self._limits(), self.environment, read_only=shown)
        return kwargs

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start it without our environment, files or terminal, and start the watch."""
        kwargs |= {"env": {"PATH": os.defpath}, "cwd": "/"}
        if not self.sandboxed:
            kwargs |= {"env": self.environment, "cwd": self.environment["HOME"]}
        kwargs |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        info = await super().launch_kernel(cmd, **kwargs)
        assert self.process is not None
        self.watchdog = Watchdog(self.process.pid, Path(self.shared), self._limits())
        self.watchdog.start()
        return info

    async def cleanup(self, restart: bool = False) -> None:
        """Stop the watch."""
        if self.watchdog is not None:
            self.watchdog.stop()
        await super().cleanup(restart)

    def _limits(self) -> Limits:
        return Limits(**self.limits)


def kernel_manager(
    shared: Path, limits: Limits, environment: Mapping[str, str], read_only: Mapping[Path, str], sandboxed: bool
) -> KernelManager:
    """A manager of one kernel, not yet started."""
    config = {
        "sandboxed": sandboxed,
        "shared": str(shared),
        "limits": asdict(limits),
        "environment": dict(environment),
        "read_only": {str(path): inside for path, inside in read_only.items()},
    }
    provisioner = {"kernel_provisioner": {"provisioner_name": NAME, "config": config}}
    spec = KernelSpec(
        argv=ARGV, display_name="course", language="python", interrupt_mode="message", metadata=provisioner
    )
    manager = KernelManager(transport="ipc", ip=str(shared / "k"), connection_file=str(shared / "kernel.json"))
    manager._kernel_spec = spec  # a spec of our own, whichever kernels are installed
    return manager


def wait_for_sockets(shared: Path, manager: KernelManager, seconds: float) -> None:
    """Wait until the kernel listens, and see that what it listens at are sockets of this run, not links to others.

    The submission's code has not run yet: what is there is ipykernel's.
    Raises TimeoutError, or OSError if something else lies there.
    """
    until = time.monotonic() + seconds
    names = [f"k-{getattr(manager, f'{channel}_port')}" for channel in ("shell", "iopub", "stdin", "hb", "control")]
    for name in names:
        path = shared / name
        while not os.path.lexists(path):
            if time.monotonic() > until or not manager.has_kernel or not manager.is_alive():
                raise TimeoutError("the kernel did not start")
            time.sleep(0.02)
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(f"{name} is not a socket")
