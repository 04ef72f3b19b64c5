"""What a learner meets: the index, a notebook opened from it, a wrong answer diagnosed, a right one passed."""

import json
import textwrap

import pytest

pytestmark = pytest.mark.browser

INDEX = ".jp-MarkdownViewer table a"

# One exercise of a notebook: a wrong answer nobody would write on purpose, and a right one.
SOFTMAX = (
    "01_what_is_attention",
    "softmax",
    """
    import numpy as np
    def softmax(x, axis=-1):
        e = np.exp(x - x.max())
        return e / e.sum()
    """,
    """
    import numpy as np
    def softmax(x, axis=-1):
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)
    """,
)
ATTENTION = (
    "03_scaled_dot_product_attention",
    "scaled_dot_product_attention",
    """
    import numpy as np
    def scaled_dot_product_attention(q, k, v, mask=None):
        scores = q @ np.swapaxes(k, -1, -2)
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        highest = scores.max(axis=-1, keepdims=True)
        e = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
        total = e.sum(axis=-1, keepdims=True)
        weights = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
        return weights @ v, weights
    """,
    """
    import math
    import numpy as np
    def scaled_dot_product_attention(q, k, v, mask=None):
        scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        highest = scores.max(axis=-1, keepdims=True)
        e = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
        total = e.sum(axis=-1, keepdims=True)
        weights = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
        return weights @ v, weights
    """,
)


def diagnoses_of(exercise_id, source):
    """What the engine says about an answer outside any notebook."""
    from autograder.verdict import run

    names = {}
    exec(textwrap.dedent(source), names)
    return [diagnosis.message for diagnosis in run(exercise_id, names[exercise_id]).diagnoses]


def place_of(notebook, grade_id):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    ids = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in cells]
    return ids.index(grade_id)


def open_index(lab, page):
    """Go where `attention lab` sends the browser, as someone who has never been there."""
    page.goto(lab.page("lab/tree/index.md") + "&reset")
    page.locator(INDEX).first.wait_for()
    page.wait_for_load_state("networkidle")


def wait_for_kernel(page):
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()


def run_all_above(page):
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").click()
    page.locator(".lm-Menu-itemLabel", has_text="Run All Above Selected Cell").click()


def test_the_index_opens_without_news_and_without_instructors_panels(lab, page):
    open_index(lab, page)
    titles = page.locator(INDEX).all_inner_texts()
    assert len(titles) == len(list(lab.workspace.glob("[0-9][0-9]_*.ipynb"))) > 0
    page.locator("#jp-main-statusbar").wait_for()
    assert page.locator(".jp-Dialog").count() == 0
    assert page.locator(".Toastify__toast").count() == 0
    menus = page.locator(".lm-MenuBar-itemLabel").all_inner_texts()
    assert "File" in menus
    assert not [menu for menu in menus if "grader" in menu.lower()]
    page.keyboard.press("Control+Shift+C")
    search = page.locator(".lm-CommandPalette-input:visible")
    search.fill("theme")
    page.locator(".lm-CommandPalette-item").first.wait_for()
    for word in ("nbgrader", "formgrader", "assignment list", "jupytext"):
        search.fill(word)
        page.locator(".lm-CommandPalette-emptyMessage").wait_for()


def test_the_user_s_own_jupyter_settings_still_hold_and_are_left_alone(lab, page):
    open_index(lab, page)
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    settings = sorted(path.name for path in (lab.jupyter / "lab" / "user-settings").rglob("*") if path.is_file())
    assert settings == ["themes.jupyterlab-settings"]
    assert not [path for path in lab.jupyter.glob("*.json") if "nbgrader" in path.read_text()]


def test_the_kernel_is_the_one_of_this_environment_and_runs_in_the_workspace(lab, page):
    answer = page.request.get(lab.page("api/kernelspecs"))
    assert "python3" in answer.json()["kernelspecs"]
    listing = page.request.get(lab.page("api/contents/")).json()["content"]
    assert {"index.md"} | {path.name for path in lab.workspace.glob("*.ipynb")} <= {entry["name"] for entry in listing}


@pytest.mark.parametrize(("slug", "exercise_id", "wrong", "right"), [SOFTMAX, ATTENTION], ids=["01", "03"])
def test_a_wrong_answer_is_diagnosed_and_a_right_one_passes(lab, page, slug, exercise_id, wrong, right):
    open_index(lab, page)
    page.locator(f'{INDEX}[href*="{slug}"]').first.click()
    wait_for_kernel(page)
    place = place_of(lab.workspace / f"{slug}.ipynb", exercise_id)
    cells = page.locator(".jp-NotebookPanel:visible .jp-Notebook .jp-Cell")
    answer, check = cells.nth(place), cells.nth(place + 1)
    report = check.locator(".jp-OutputArea-output div[role=group]")

    def submit(source):
        answer.scroll_into_view_if_needed()
        answer.locator(".cm-content").click()
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(textwrap.dedent(source).strip())
        page.keyboard.press("Control+Enter")
        check.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")

    expected = diagnoses_of(exercise_id, wrong)
    assert expected
    answer.locator(".cm-content").click()
    run_all_above(page)
    submit(wrong)
    report.filter(has_text="not yet").wait_for()
    shown = report.inner_text()
    for sentence in expected:
        assert sentence in shown
    submit(right)
    report.filter(has_text="passed").wait_for()
    assert report.locator("text=because").count() == 0
    record = json.loads((lab.workspace / "progress.json").read_text())["exercises"][exercise_id]
    assert record["passed"]
    assert record["checks"] == 2
    _until(page, lambda: "1 of " in _row(lab.workspace / "index.md", slug))


def _row(index, slug):
    return next(line for line in index.read_text().splitlines() if line.startswith("| ") and slug in line)


def _until(page, holds, tries=100):
    while not holds():
        tries -= 1
        assert tries, "this did not come true in time"
        page.wait_for_timeout(100)
