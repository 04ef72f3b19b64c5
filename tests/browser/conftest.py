"""A real JupyterLab, started by `attention lab` in a workspace and Jupyter home of its own, and a Chromium to look."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 120


@dataclass(frozen=True)
class Lab:
    """A running `attention lab`: its address with the token, its workspace, and the Jupyter home it found."""

    url: str
    token: str
    workspace: Path
    jupyter: Path

    def page(self, path):
        return f"{self.url}{path}?token={self.token}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser):
    """`attention lab`, for a user who has a Jupyter configuration already: they like it dark."""
    folder = tmp_path_factory.mktemp("lab")
    theme = folder / "jupyter" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    theme.mkdir(parents=True)
    (theme / "themes.jupyterlab-settings").write_text('{"theme": "JupyterLab Dark"}')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hidden = ("NBGRADER_EXECUTION", "ATTENTION_STANDINS", "ATTENTION_WORKSPACE", "JUPYTER_CONFIG_PATH")
    places = {"JUPYTER_CONFIG_DIR": "jupyter", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {name: str(folder / place) for name, place in places.items()}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "autograder.cli", "lab", "--no-browser", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--workspace", str(folder / "mine")],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            server = _server(folder / "runtime", process)
            if server is None:
                pytest.fail(f"attention lab did not start:\n{(folder / 'log').read_text()}")
            yield Lab(server["url"], server["token"], folder / "mine", folder / "jupyter")
        finally:
            process.terminate()
            process.wait(timeout=60)


def _server(runtime, process):
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        for path in runtime.glob("jpserver-*.json"):
            try:
                return json.loads(path.read_text())
            except ValueError:  # being written
                continue
        time.sleep(0.1)
    return None


@pytest.fixture
def page(browser, lab, request, tmp_path):
    """A fresh browser window; when the test fails, the picture of what it saw is named."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    window = context.new_page()
    window.set_default_timeout(60_000)
    yield window
    folder = Path(os.environ.get("ATTENTION_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    window.screenshot(path=folder / f"{request.node.name.partition('[')[0]}.png")
    context.close()
