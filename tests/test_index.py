"""The page that JupyterLab opens with, and the defaults it is started with."""

import json
import os
import threading

import pytest

from autograder import lab
from autograder.exercise import exercises
from autograder.lab import Index, arguments, environment, page, title
from autograder.overview import Row
from autograder.workspace import Opened

TITLES = {"01_first": "What is attention?", "02_second": "Queries | keys", "03_third": ""}


def row(notebook, done, total=4, next_id="softmax"):
    return Row(notebook, 3 * done, 3 * total, done, total, 5 * (total - done), next_id if done < total else "")


@pytest.fixture(autouse=True)
def minutes(monkeypatch):
    """The toy notebooks' exercises take their minutes from the real table, which does not know them."""
    one = next(iter(exercises().values()))
    table = {slug: type(one)(**{**vars(one), "id": slug, "notebook": slug, "minutes": 20}) for slug in TITLES}
    monkeypatch.setattr(lab, "exercises", lambda: table)


def line(text, slug):
    return next(each for each in text.splitlines() if each.startswith("|") and f"({slug}.ipynb)" in each)


def test_a_newcomer_is_sent_to_the_first_notebook_and_sees_what_each_takes():
    text = page(TITLES, [row("01_first", 0), row("02_second", 0)])
    assert "**Start with [01 · What is attention?](01_first.ipynb)**, exercise `softmax`." in text
    assert (
        line(text, "01_first") == "| 01 | [What is attention?](01_first.ipynb) | □□□□□□□□□□ 0 of 4 | 0 of 12 | 20 min |"
    )


def test_someone_on_the_way_is_sent_on_and_sees_what_is_left():
    text = page(TITLES, [row("01_first", 4), row("02_second", 2)])
    assert "**Go on with [02 · Queries \\| keys](02_second.ipynb)**" in text
    assert line(text, "01_first").endswith("| ■■■■■■■■■■ 4 of 4 | 12 of 12 | done |")
    assert line(text, "02_second").endswith("| ■■■■■□□□□□ 2 of 4 | 6 of 12 | 10 min left |")


def test_when_everything_is_done_the_page_says_so():
    assert "Every exercise is done." in page(TITLES, [row(slug, 4) for slug in TITLES])


def test_a_notebook_without_exercises_or_heading_is_listed_by_its_name():
    assert line(page(TITLES, []), "03_third") == "| 03 | [third](03_third.ipynb) | | | |"


def test_notes_about_the_workspace_stand_on_the_page():
    note = "there is a newer version of 01_first: `attention update 01` brings it"
    assert f"> {note}" in page(TITLES, [], [note])


@pytest.mark.parametrize(
    ("heading", "wanted"),
    [
        ("# 01 · What is attention?", "What is attention?"),
        ("intro\n\n# 20: The clinic\n## more", "The clinic"),
        ("## no first heading", ""),
        (["# 04 · Additive\n", "attention"], "Additive"),
    ],
)
def test_the_title_is_the_first_heading_without_its_number(heading, wanted):
    comment = {"cell_type": "code", "source": "# 99 · a comment"}
    assert title({"cells": [comment, {"cell_type": "markdown", "source": heading}]}) == wanted


def test_the_page_is_written_again_when_a_check_was_recorded(tmp_path, monkeypatch):
    slug = "01_first"
    (tmp_path / "notebooks" / slug).mkdir(parents=True)
    notebook = {"cells": [{"cell_type": "markdown", "source": "# 01 · First"}]}
    (tmp_path / "notebooks" / slug / f"{slug}.ipynb").write_text(json.dumps(notebook))
    monkeypatch.setattr(lab, "REFRESH_SECONDS", 0.01)
    written = threading.Event()
    index = Index(Opened(tmp_path, (), ()), tmp_path / "notebooks")
    index.write()
    assert "[First](01_first.ipynb)" in (tmp_path / "index.md").read_text()
    monkeypatch.setattr(index, "write", written.set)
    started = threading.Event()
    stamp = index._stamp
    monkeypatch.setattr(index, "_stamp", lambda: (stamp(), started.set())[0])
    threading.Thread(target=index.keep_current, daemon=True).start()
    assert started.wait(5)
    assert not written.is_set()
    (tmp_path / "progress.json").write_text("{}")
    assert written.wait(5)


def test_the_learner_s_defaults_stand_before_the_user_s_own_and_leave_them_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "theirs")
    variables = environment(tmp_path)
    ours, theirs = variables["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert theirs == "theirs"
    assert ours == str(tmp_path / ".jupyter")
    files = sorted(str(path.relative_to(ours)) for path in (tmp_path / ".jupyter").rglob("*") if path.is_file())
    assert files == [
        "jupyter_server_config.json",
        "labconfig/default_setting_overrides.json",
        "labconfig/page_config.json",
    ]


def test_every_extension_that_is_switched_off_exists(tmp_path):
    """A misspelt name would switch nothing off, in silence."""
    from jupyter_core.paths import jupyter_config_path, jupyter_path
    from jupyter_server.extension.config import ExtensionConfigManager
    from jupyterlab_server.config import get_federated_extensions

    installed = set(get_federated_extensions([folder + "/labextensions" for folder in jupyter_path()]))
    assert {name for name in lab._LAB_EXTENSIONS_OFF if not name.startswith("@jupyterlab/")} <= installed
    enabled = set(ExtensionConfigManager(read_config_path=jupyter_config_path()).get_jpserver_extensions())
    assert set(lab._SERVER_EXTENSIONS_OFF) <= enabled


def test_jupyterlab_opens_at_the_index_of_the_workspace(tmp_path):
    out = arguments(tmp_path, 9001, open_browser=False)
    for wanted in (
        f"--ServerApp.root_dir={tmp_path}",
        "--ServerApp.port=9001",
        "--LabApp.default_url=/lab/tree/index.md",
        "--no-browser",
    ):
        assert wanted in out
    assert "--no-browser" not in arguments(tmp_path, 9001, open_browser=True)
