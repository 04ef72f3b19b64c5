"""One sandboxed kernel as the runner sees it: run a cell, get its outputs cut to size, or learn how it ended."""

from __future__ import annotations

import queue
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.blocking import BlockingKernelClient
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import output_from_msg

from autograder.grading.limits import MIB, Limits
from autograder.grading.provisioner import kernel_manager, wait_for_sockets
from autograder.probe import BANK, OUTCOMES

START = 60.0  # seconds a kernel may take to listen
MESSAGE = 48 * MIB  # bytes of one message; a larger one ends the connection
QUEUED = 16  # messages that wait to be read


@dataclass
class Ran:
    """What became of one cell.

    ended:    "" if it came to an end, "timeout", or "crashed".
    reason:   of a crash, in words.
    outputs:  for people, cut to the limit.
    outcomes: what a probe sent, in order, as text that is not to be trusted.
    error:    the name and message of an exception that ended the cell.
    """

    ended: str = ""
    reason: str = ""
    outputs: list[NotebookNode] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    error: tuple[str, str] | None = None


class Kernel:
    """A kernel in a sandbox of its own; a context manager that leaves nothing behind."""

    def __init__(
        self,
        limits: Limits,
        environment: Mapping[str, str],
        read_only: Mapping[Path, str],
        sandboxed: bool = True,
    ) -> None:
        self._limits, self._environment, self._read_only = limits, environment, read_only
        self._sandboxed = sandboxed

    def __enter__(self) -> Kernel:
        # The paths of the sockets may have about a hundred characters.
        self._shared = Path(tempfile.mkdtemp(prefix="att-")).resolve()
        self._context = zmq.Context()
        # Defaults of the sockets made from it: the largest message, how many may wait, no second connection.
        for option, value in (
            (zmq.MAXMSGSIZE, MESSAGE),
            (zmq.RCVHWM, QUEUED),
            (zmq.RECONNECT_IVL, -1),
            (zmq.LINGER, 0),
        ):
            self._context.setsockopt(option, value)
        environment = dict(self._environment) | {BANK: str(self.bank)}
        self._manager = kernel_manager(self._shared, self._limits, environment, self._read_only, self._sandboxed)
        self._client: BlockingKernelClient | None = None
        try:
            self._manager.start_kernel()
            wait_for_sockets(self._shared, self._manager, START)
            self._client = BlockingKernelClient(context=self._context)
            self._client.load_connection_info(self._manager.get_connection_info())
            self._client.start_channels(stdin=False, hb=False)
            self._client.wait_for_ready(timeout=START)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._client is not None:
            self._client.stop_channels()
        if self._manager.has_kernel:
            self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()
        self._context.destroy(linger=0)
        shutil.rmtree(self._shared, ignore_errors=True)

    @property
    def shared(self) -> Path:
        """The folder of its sockets."""
        return self._shared

    @property
    def bank(self) -> Path:
        """Where a bank of implementations may listen."""
        return self._shared / "bank"

    @property
    def pid(self) -> int:
        """The process that everything in the sandbox comes from."""
        provisioner: Any = self._manager.provisioner
        return provisioner.pid

    @property
    def _watchdog(self) -> Any:
        return getattr(self._manager.provisioner, "watchdog", None)

    def run(self, code: str, seconds: float, *, tick: Callable[[], None] = lambda: None) -> Ran:
        """Run one cell for at most so long, and return what became of it; after a timeout the kernel is of no more use.

        tick: called while it waits.
        """
        client = self._client
        assert client is not None
        ran, size, until = Ran(), 0, time.monotonic() + seconds
        request = client.execute(code, allow_stdin=False, store_history=False)
        while True:
            tick()
            try:
                message = client.get_iopub_msg(timeout=0.1)
            except queue.Empty:
                message = None
            except Exception as error:  # bytes that are no message, signed or not: from inside, anything may come
                return self._crashed(ran, f"the kernel sent what is no message ({type(error).__name__})")
            if time.monotonic() > until:
                ran.ended = "timeout"
                return ran
            if message is None:
                if not self._manager.is_alive():
                    return self._crashed(ran, "the kernel died")
                continue
            if not isinstance(message, dict) or message.get("parent_header", {}).get("msg_id") != request:
                continue
            kind, content = message.get("msg_type", ""), message.get("content", {})
            if kind == "status" and content.get("execution_state") == "idle":
                return ran
            size = self._take(ran, kind, content, message, size)

    def _take(self, ran: Ran, kind: str, content: dict[str, Any], message: dict[str, Any], size: int) -> int:
        """Add one message to what is kept, up to the limits; returns the bytes of output so far."""
        if kind == "display_data" and OUTCOMES in content.get("data", {}):
            text = content["data"][OUTCOMES]
            if isinstance(text, str) and sum(map(len, ran.outcomes)) + len(text) <= self._limits.result:
                ran.outcomes.append(text)
            return size
        if kind not in ("stream", "display_data", "execute_result", "error"):
            return size
        if kind == "error":
            ran.error = (str(content.get("ename"))[:200], str(content.get("evalue"))[:2000])
        length = len(repr(content))
        if size + length > self._limits.output:
            if size <= self._limits.output:
                note = f"\n[cut: a cell may show {self._limits.output // 1024} KiB]\n"
                ran.outputs.append(NotebookNode(output_type="stream", name="stdout", text=note))
            return self._limits.output + 1
        try:
            output = output_from_msg(message)
        except (KeyError, ValueError, TypeError):
            return size
        last = ran.outputs[-1] if ran.outputs else None
        if kind == "stream" and last is not None and last.get("name") == output.get("name"):
            last.text += output.text
        else:
            ran.outputs.append(output)
        return size + length

    def _crashed(self, ran: Ran, otherwise: str) -> Ran:
        # A watch that kills says why a moment later than the death is seen.
        if self._watchdog is not None:
            self._watchdog.join(0.3)
        ran.ended, ran.reason = "crashed", (self._watchdog.reason if self._watchdog is not None else "") or otherwise
        return ran
