"""Measure what a learner waits for: `check` per exercise, `import autograder`, `attention lab` to a usable notebook.

    make bench                          or: python benchmarks/bench.py [--only ID ...] [--repeats 15] [--no-lab]

Prints tables and writes benchmarks/results.json. Targets are shown, not asserted: a busy machine is no fault.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
CHECK_P95_MS = 100.0
DRAWS_P95_MS = 1500.0  # where many draws or memory are judged, that is, where the reference has its own judging code
IMPORT_MS = 150.0
LAB_SECONDS = 120.0  # give up after


def percentile(values: list[float], share: float) -> float:
    """The smallest measured value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def timed(call: Callable[[], Any], repeats: int) -> list[float]:
    """Milliseconds of each of `repeats` calls, after one that is not counted."""
    call()
    out = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        out.append(1000 * (time.perf_counter() - begin))
    return out


def measure_checks(only: list[str], repeats: int) -> list[dict[str, Any]]:
    """Median and p95 of judging a right answer and a wrong one, which also has to be diagnosed."""
    from autograder.exercise import exercises, reference_of
    from autograder.verdict import run

    rows = []
    for exercise in exercises().values():
        if (only and exercise.id not in only) or exercise.kind == "R":
            continue
        reference = reference_of(exercise)
        answers = {"right": reference.reference}
        if reference.misconceptions:
            answers["wrong"] = reference.misconceptions[0].variants[0]
        for kind, answer in answers.items():
            begin = time.perf_counter()
            run(exercise.id, answer)
            first = 1000 * (time.perf_counter() - begin)
            times = timed(partial(run, exercise.id, answer), repeats)
            row = {"exercise": exercise.id, "notebook": exercise.notebook, "answer": kind, "first_ms": first}
            row |= {"median_ms": statistics.median(times), "p95_ms": percentile(times, 0.95), "repeats": repeats}
            row["target_ms"] = DRAWS_P95_MS if reference.agree else CHECK_P95_MS
            rows.append(row)
    return rows


def import_time(module: str, repeats: int) -> dict[str, Any]:
    """Milliseconds that `import module` takes in a fresh process, and whether torch or matplotlib came with it."""
    code = (
        f"import sys, time; begin = time.perf_counter(); import {module}; "
        "print(1000 * (time.perf_counter() - begin), 'torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    times, heavy = [], set()
    for n in range(repeats + 1):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        heavy |= {name for name, there in zip(("torch", "matplotlib"), out[1:], strict=True) if there == "True"}
        if n:  # the first fills the file cache
            times.append(float(out[0]))
    return {"module": module, "median_ms": statistics.median(times), "max_ms": max(times), "loads": sorted(heavy)}


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure_lab() -> dict[str, Any]:
    """Seconds from `attention lab` to the served page, and to an idle kernel of the first notebook."""
    with tempfile.TemporaryDirectory() as folder:
        workspace, runtime, port = Path(folder) / "workspace", Path(folder) / "runtime", free_port()
        command = [sys.executable, "-m", "autograder.cli", "lab", "--no-browser"]
        begin = time.perf_counter()
        lab = subprocess.Popen(
            [*command, "--port", str(port), "--workspace", str(workspace)],
            env=os.environ | {"JUPYTER_RUNTIME_DIR": str(runtime)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            server = _until(lambda: json.loads(next(runtime.glob("jpserver-*.json")).read_text()), lab)
            _until(lambda: _request(server, "lab/tree/index.md"), lab)
            page = time.perf_counter() - begin
            name = next(path.name for path in sorted(workspace.glob("[0-9][0-9]_*.ipynb")))
            wanted = {"path": name, "type": "notebook", "name": name, "kernel": {"name": "python3"}}
            kernel = json.loads(_request(server, "api/sessions", wanted))["kernel"]["id"]
            _wait_for_kernel(next(runtime.glob(f"kernel-{kernel}.json")))
            return {"notebook": name, "page_s": page, "kernel_idle_s": time.perf_counter() - begin}
        finally:
            lab.terminate()
            lab.wait(timeout=30)


def _wait_for_kernel(connection: Path) -> None:
    """Return once the kernel answers and is idle; its server says so only to a browser that listens."""
    from jupyter_client.blocking import BlockingKernelClient

    client = BlockingKernelClient(connection_file=str(connection))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=LAB_SECONDS)
    finally:
        client.stop_channels()


def _request(server: dict[str, Any], path: str, data: dict[str, Any] | None = None) -> bytes:
    body = json.dumps(data).encode() if data is not None else None
    request = urllib.request.Request(server["url"] + path, data=body)
    request.add_header("Authorization", f"token {server['token']}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def _until(attempt: Callable[[], Any], process: subprocess.Popen) -> Any:
    """Try until it works; give up when the process has ended or time is over."""
    end = time.monotonic() + LAB_SECONDS
    while True:
        try:
            return attempt()
        except (StopIteration, ValueError, OSError):
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.02)


def report(results: dict[str, Any]) -> None:
    """Print the tables."""
    if results["checks"]:
        width = max(len(row["exercise"]) for row in results["checks"])
        print(f"{'check':<{width}}  answer   first  median     p95  target ms")
        for row in results["checks"]:
            times = f"{row['first_ms']:7.1f} {row['median_ms']:7.1f} {row['p95_ms']:7.1f}"
            target = f"{row['target_ms']:6.0f}  {_mark(row['p95_ms'], row['target_ms'])}"
            print(f"{row['exercise']:<{width}}  {row['answer']:<6} {times}  {target}")
        over = sum(row["p95_ms"] > row["target_ms"] for row in results["checks"])
        print(f"{len(results['checks'])} measured, {over} over the target\n")
    for row in results["imports"]:
        target = IMPORT_MS if row["module"] == "autograder" else None
        mark = f"{_mark(row['median_ms'], target)} (target {target:.0f} ms)" if target else ""
        loads = f"  loads {', '.join(row['loads'])}" if row["loads"] else ""
        print(f"import {row['module']:<12} {row['median_ms']:7.1f} ms  {mark}{loads}")
    lab = results["lab"]
    if lab:
        print(f"attention lab     {lab['page_s']:5.1f} s to the index, {lab['kernel_idle_s']:.1f} s to an idle kernel")


def _mark(value: float, target: float) -> str:
    return "ok" if value <= target else "over"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure what a learner waits for.")
    parser.add_argument("--only", nargs="*", default=[], metavar="ID", help="these exercises only")
    parser.add_argument("--repeats", type=int, default=15, help="timed calls of each check")
    parser.add_argument("--no-lab", action="store_true", help="leave JupyterLab out")
    options = parser.parse_args()
    results: dict[str, Any] = {
        "machine": {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()},
        "imports": [import_time(module, 7) for module in ("numpy", "autograder")],
        "lab": None if options.no_lab else measure_lab(),
        "checks": measure_checks(options.only, options.repeats),
    }
    report(results)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"written to {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")


if __name__ == "__main__":
    main()
