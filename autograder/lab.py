"""JupyterLab for a learner: opened in the workspace, at the index, without news, without instructors' panels.

The user's own Jupyter configuration is neither changed nor lost: ours stands before it, in a folder of the workspace.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from autograder.carry import Notebook, source_of
from autograder.exercise import exercises
from autograder.overview import Row, overview
from autograder.record import Record, write_whole
from autograder.workspace import Opened, WorkspaceError, open_workspace, read_notebook, released_notebooks

INDEX = "index.md"
REFRESH_SECONDS = 2.0

# Extensions that are installed because nbgrader and jupytext are, and that only an author or instructor needs.
# Pairing a notebook with jupytext would bring its model answers back.
_LAB_EXTENSIONS_OFF = (
    "@jupyter/nbgrader",
    "jupyterlab-jupytext",
    "@jupyterlab/apputils-extension:announcements",
    "@jupyterlab/extensionmanager-extension",
)
_SERVER_EXTENSIONS_OFF = (
    "jupyterlab_jupytext",
    "nbgrader.server_extensions.assignment_list",
    "nbgrader.server_extensions.course_list",
    "nbgrader.server_extensions.formgrader",
    "nbgrader.server_extensions.validate_assignment",
)
_DEFAULT_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},
}


def start(
    port: int = 8888, workspace: Path | None = None, open_browser: bool = True, notebooks: Path | None = None
) -> int:
    """Open the course in JupyterLab and stay until it ends; returns the exit code.

    port:         where to listen; the next free one if it is taken.
    workspace:    the folder of the learner's copies; None is the usual place.
    open_browser: without it the address is only printed.
    notebooks:    the released notebooks; None is the course's.
    Raises WorkspaceError if the workspace cannot be used.
    """
    opened = open_workspace(workspace, notebooks)
    index = Index(opened, notebooks)
    index.write()
    print(f"your notebooks: {opened.path}")
    for note in opened.notes:
        print(note)
    print("Ctrl-C here ends JupyterLab", flush=True)
    threading.Thread(target=index.keep_current, name="index", daemon=True).start()
    os.environ.update(environment(opened.path))
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(arguments(opened.path, port, open_browser))
    return 0


def arguments(workspace: Path, port: int, open_browser: bool) -> list[str]:
    """The command line of JupyterLab."""
    out = [
        f"--ServerApp.root_dir={workspace}",
        f"--ServerApp.port={port}",
        f"--LabApp.default_url=/lab/tree/{INDEX}",
        f"--LabApp.workspaces_dir={workspace / '.jupyter' / 'workspaces'}",
        "--LabApp.news_url=None",
        "--Application.log_level=WARN",
    ]
    if not open_browser:
        out.append("--no-browser")
    if _can_encrypt():  # without it each kernel opens with a warning on the learner's terminal
        out.append("--KernelManager.transport_encryption=auto")
    if getattr(os, "geteuid", lambda: 1)() == 0:  # in a container one is root, and Jupyter would refuse
        out.append("--allow-root")
    return out


def _can_encrypt() -> bool:
    import zmq
    from jupyter_client.manager import KernelManager

    return "transport_encryption" in KernelManager.class_traits() and zmq.has("curve")


def environment(workspace: Path) -> dict[str, str]:
    """Write the learner's defaults into the workspace and return the variables that make Jupyter read them first."""
    folder = workspace / ".jupyter"
    disabled = {"disabledExtensions": dict.fromkeys(_LAB_EXTENSIONS_OFF, True)}
    server = {"ServerApp": {"jpserver_extensions": dict.fromkeys(_SERVER_EXTENSIONS_OFF, False)}}
    files = {
        "labconfig/page_config.json": disabled,
        "labconfig/default_setting_overrides.json": _DEFAULT_SETTINGS,
        "jupyter_server_config.json": server,
    }
    try:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(folder / name, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise WorkspaceError(f"cannot write JupyterLab's defaults ({folder}): {error.strerror}; make room") from error
    theirs = os.environ.get("JUPYTER_CONFIG_PATH")
    return {
        "JUPYTER_CONFIG_PATH": os.pathsep.join([str(folder), *([theirs] if theirs else [])]),
        # A kernel named python3 in the user's home would otherwise stand in for the one of this environment.
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


class Index:
    """The page that JupyterLab opens with: what there is, how far along, what is next."""

    def __init__(self, opened: Opened, notebooks: Path | None = None) -> None:
        self.path = opened.path / INDEX
        self.notes = opened.notes
        self.titles = {slug: title(read_notebook(path)) for slug, path in released_notebooks(notebooks).items()}
        self.record = Record(opened.path)

    def write(self) -> None:
        """Write the page as the record stands now."""
        write_whole(self.path, page(self.titles, overview(self.record).rows, self.notes))

    def keep_current(self) -> None:
        """Write the page again whenever the record has changed, for as long as the process lives."""
        seen = self._stamp()
        pause = threading.Event()
        while not pause.wait(REFRESH_SECONDS):
            now = self._stamp()
            if now != seen:
                seen = now
                try:
                    self.write()
                except OSError:  # a full disk: the page grows old, nothing else is lost
                    continue

    def _stamp(self) -> int:
        try:
            return self.record.path.stat().st_mtime_ns
        except OSError:
            return 0


def title(notebook: Notebook) -> str:
    """The first heading of a notebook, without its number; empty if there is none."""
    for cell in notebook["cells"]:
        for line in source_of(cell).splitlines() if cell["cell_type"] == "markdown" else ():
            if line.startswith("# "):
                return line[2:].strip().lstrip("0123456789").lstrip(" ·.:-").strip()
    return ""


def page(titles: dict[str, str], rows: Iterable[Row], notes: Iterable[str] = ()) -> str:
    """The index as Markdown.

    titles: of the notebooks that exist, by slug. rows: where the learner stands, one row a notebook.
    """
    standing = {row.notebook: row for row in rows}
    minutes: dict[str, int] = {}
    for exercise in exercises().values():
        minutes[exercise.notebook] = minutes.get(exercise.notebook, 0) + exercise.minutes
    names = {slug: _escaped(text or slug[3:].replace("_", " ")) for slug, text in titles.items()}
    lines = ["# Attention, one notebook at a time", ""]
    following = next((standing[slug] for slug in titles if slug in standing and standing[slug].next_id), None)
    if following is not None:
        slug = following.notebook
        verb = "Go on with" if following.done else "Start with"
        lines += [f"**{verb} [{slug[:2]} · {names[slug]}]({slug}.ipynb)**, exercise `{following.next_id}`.", ""]
    elif titles:
        lines += ["Every exercise is done.", ""]
    for note in notes:
        lines += [f"> {note}", ""]
    lines += ["| | notebook | exercises | points | time |", "|---|:---|:---|---:|---:|"]
    for slug in titles:
        row = standing.get(slug)
        link = f"[{names[slug]}]({slug}.ipynb)"
        if row is None:
            lines.append(f"| {slug[:2]} | {link} | | | |")
            continue
        bar = "■" * round(10 * row.done / row.total) + "□" * (10 - round(10 * row.done / row.total))
        time = "done" if not row.next_id else f"{row.minutes_left} min left" if row.done else f"{minutes[slug]} min"
        exercised = f"{bar} {row.done} of {row.total}"
        lines.append(f"| {slug[:2]} | {link} | {exercised} | {row.points} of {row.max_points} | {time} |")
    lines += ["", *_CLOSING, ""]
    return "\n".join(lines)


_CLOSING = (
    "Click a title to open it. Shift+Enter runs a cell; `check` under an exercise says what holds and what does not.",
    "Close and open this page to see what your last checks changed.",
    "",
    "These are your own copies, and your answers stay in this folder. At a terminal in the course's folder,",
    "`attention reset 03` sets your copy of notebook 03 aside and gives a fresh one; `attention update 03` brings",
    "a newer version and carries your answers over. What either replaces is kept in `earlier/`.",
)


def _escaped(text: str) -> str:
    return "".join("\\" + character if character in "\\[]|*_`<" else character for character in text)
