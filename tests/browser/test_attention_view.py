"""The attention view in a browser: as a page without network, without script, and as an output in JupyterLab."""

import json

import numpy as np
import pytest

from autograder.material.view import view_attention

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("attention view")]

TOKENS = ["she", "dropped", "the", "<b>it</b>"]
MAPS = np.random.default_rng(0).dirichlet(np.ones(4), size=(2, 3, 4))


def page_of(browser, tmp_path, *views, script=True):
    """A window on a page that holds some views, cut off from every network; what it asks for is noted."""
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><meta charset=utf-8>" + "".join(view._repr_html_() for view in views), "utf-8")
    context = browser.new_context(java_script_enabled=script, offline=True)
    window = context.new_page()
    window.asked, window.errors = [], []
    window.on("request", lambda request: window.asked.append(request.url))
    window.on("pageerror", lambda error: window.errors.append(str(error)))
    window.goto(path.as_uri())
    return window


def widths(view):
    found = view.locator("path").evaluate_all("all => all.map(path => +path.getAttribute('stroke-width'))")
    return np.reshape(found, (len(TOKENS), -1)) / 6


def table(view):
    return np.reshape([float(text) for text in view.locator("td:not(:empty)").all_text_contents()], (len(TOKENS), -1))


def test_layers_and_heads_are_chosen_without_network_and_lines_and_table_follow(browser, tmp_path):
    window = page_of(browser, tmp_path, view_attention(TOKENS, MAPS))
    view = window.locator(".attention-view")
    view.locator("select.layer").select_option("1")
    view.locator("select.head").select_option("2")
    assert np.allclose(widths(view), MAPS[1, 2], atol=0.002)
    assert np.allclose(table(view), MAPS[1, 2], atol=0.006)
    assert "layer 1, head 2" in view.locator("[role=status]").inner_text()
    view.locator("select.head").select_option("mean")
    assert np.allclose(widths(view), MAPS[1].mean(axis=0), atol=0.002)
    assert len(window.asked) == 1
    assert not window.errors


def test_a_token_shows_its_row_or_column_to_pointer_and_keyboard(browser, tmp_path):
    window = page_of(browser, tmp_path, view_attention(TOKENS, MAPS))
    view = window.locator(".attention-view")
    view.locator(".q rect").nth(1).hover()
    shown = [float(text) for text in view.locator(".n").all_text_contents()]
    assert np.allclose(shown, MAPS[0, 0, 1], atol=0.006)
    window.mouse.move(0, 0)
    assert view.locator(".n").all_text_contents() == [""] * 4
    view.locator("select.layer").focus()
    said = []
    for key in ("Tab", "Tab", "ArrowDown", "End", "ArrowLeft"):
        window.keyboard.press(key)
        said.append(window.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert said[0] is None  # the other list
    # The keys come first in the page, so that lines lie over them.
    starts = ["she is read by", "dropped is read by", "<b>it</b> is read by", "<b>it</b> reads"]
    assert [text[: len(start)] for text, start in zip(said[1:], starts, strict=True)] == starts
    shown = [float(text) for text in view.locator(".n").all_text_contents()]
    assert np.allclose(shown, MAPS[0, 0, 3], atol=0.006)


def test_two_views_on_a_page_do_not_disturb_each_other_even_if_they_are_the_same(browser, tmp_path):
    same, other = (
        view_attention(TOKENS, MAPS),
        view_attention((["la", "casa", "es", "."], ["a", "b"]), MAPS[0, :, :, :2]),
    )
    window = page_of(browser, tmp_path, same, same, other)
    views = [window.locator(".attention-view").nth(n) for n in range(3)]
    views[0].locator("select.head").select_option("1")
    for view, wanted in zip(views, (MAPS[0, 1], MAPS[0, 0], MAPS[0, 0, :, :2]), strict=True):
        assert np.allclose(widths(view), wanted, atol=0.01)
        assert view.locator("select.head").is_visible()


def test_without_script_there_is_a_picture_of_one_map_and_a_table(browser, tmp_path):
    window = page_of(browser, tmp_path, view_attention(TOKENS, MAPS, layer=1), script=False)
    view = window.locator(".attention-view")
    assert view.locator("select").count() == 0
    box = view.locator("img").bounding_box()
    assert box["width"] > 500 and box["height"] > 100
    view.locator("summary").click()
    assert view.locator("table").is_visible()
    assert np.allclose(table(view), MAPS[1, 0], atol=0.006)


SOURCE = """import numpy as np
from autograder.material.view import view_attention
maps = np.random.default_rng(0).dirichlet(np.ones(4), size=(2, 3, 4))
view_attention(["she", "dropped", "the", "<b>it</b>"], maps)"""


def notebook(html):
    output = {"output_type": "execute_result", "data": {"text/html": html, "text/plain": "a view"}}
    output |= {"metadata": {}, "execution_count": 1}
    cell = {"cell_type": "code", "id": "view", "source": SOURCE, "outputs": [output], "metadata": {}}
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return {"cells": [cell | {"execution_count": 1}], "metadata": spec, "nbformat": 4, "nbformat_minor": 5}


def test_jupyterlab_shows_picture_and_table_untrusted_and_the_whole_view_once_the_cell_is_run(lab, page):
    stored = view_attention(TOKENS, MAPS)._repr_html_()
    (lab.workspace / "view.ipynb").write_text(json.dumps(notebook(stored)))
    page.goto(lab.page("lab/tree/view.ipynb") + "&reset")
    cell = page.locator(".jp-Notebook .jp-CodeCell").first
    output = cell.locator(".jp-OutputArea-output")
    output.locator("td").first.wait_for(state="attached")
    untrusted = output.locator("td:not(:empty)").all_text_contents()
    assert np.allclose(np.reshape([float(text) for text in untrusted], (4, 4)), MAPS[0, 0], atol=0.006)
    assert output.locator("b", has_text="it").count() == output.locator("select").count() == 0
    assert output.locator("img").evaluate("image => image.naturalWidth") > 500
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    view = output.locator(".attention-view[data-live]")
    view.wait_for()
    view.locator("select.head").select_option("2")
    assert np.allclose(widths(view), MAPS[0, 2], atol=0.002)
    # Keys that move within the view do not reach the notebook, where D D deletes a cell.
    view.locator(".q").first.focus()
    for key in ("ArrowDown", "d", "d", "ArrowDown"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.dataset.i") == "2"
    assert page.locator(".jp-Notebook .jp-CodeCell").count() == 1
