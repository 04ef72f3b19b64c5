"""The attention view: what it takes, what it refuses, and what its HTML holds for those without script."""

import base64
import re
import socket
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from autograder.material.plots import COLOURS
from autograder.material.view import KEY, MAX_PAIRS, QUERY, view_attention

TOKENS = ["she", "dropped", "it"]
WEIGHTS = np.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25], [0.0, 0.0, 1.0]])


class Reader(HTMLParser):
    """The tags of an HTML text with their attributes, and its text by tag."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        self.texts.append((self._open[-1] if self._open else "", data))

    def of(self, tag):
        return [text for at, text in self.texts if at == tag]


def picture_of(*args, **kwargs):
    """The SVG inside the image."""
    (image,) = (attrs for tag, attrs in Reader(html_of(*args, **kwargs)).tags if tag == "img")
    kind, _, data = image["src"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert image["alt"]
    svg = base64.b64decode(data).decode("utf-8")
    ElementTree.fromstring(svg)  # a browser shows nothing of what is not XML
    return svg


def html_of(*args, **kwargs):
    return view_attention(*args, **kwargs)._repr_html_()


@pytest.mark.parametrize(
    "weights",
    [
        WEIGHTS,
        WEIGHTS.tolist(),
        WEIGHTS.astype(np.float32),
        torch.tensor(WEIGHTS, requires_grad=True),
        WEIGHTS[None],
        torch.tensor(WEIGHTS)[None, None],
    ],
    ids=["numpy", "lists", "float32", "torch with gradient", "heads", "layers and heads"],
)
def test_one_map_gives_one_view_however_it_is_given(weights):
    assert html_of(TOKENS, weights) == html_of(TOKENS, WEIGHTS)


def test_the_html_is_the_same_in_every_run_and_another_for_other_weights_or_tokens():
    names = [
        re.search(r'data-view="(\w+)"', html_of(tokens, weights)).group(1)
        for tokens, weights in (
            (TOKENS, WEIGHTS),
            (TOKENS, WEIGHTS),
            (TOKENS, WEIGHTS[::-1]),
            (["a", "b", "c"], WEIGHTS),
        )
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_the_text_is_short_and_says_what_there_is():
    view = view_attention((["la", "casa"], TOKENS), np.full((2, 4, 2, 3), 1 / 3))
    assert repr(view) == "attention view: 2 layers × 4 heads, 2 queries × 3 keys"


def test_the_table_holds_every_weight_for_those_without_script():
    reader = Reader(html_of(TOKENS, WEIGHTS))
    assert [float(text) for text in reader.of("td")] == WEIGHTS.ravel().tolist()
    assert reader.of("th") == TOKENS * 2
    assert [attrs["scope"] for tag, attrs in reader.tags if tag == "th"] == ["col"] * 3 + ["row"] * 3


def test_the_picture_names_what_each_query_reads():
    reader = Reader(picture_of(TOKENS, WEIGHTS))
    queries = [attrs for tag, attrs in reader.tags if tag == "g" and attrs["class"] == "q"]
    assert [attrs["aria-label"] for attrs in queries] == [
        "she reads she 0.70, dropped 0.20, it 0.10",
        "dropped reads dropped 0.50, she 0.25, it 0.25",
        "it reads it 1.00, she 0.00, dropped 0.00",
    ]
    assert all(attrs["tabindex"] == "0" for attrs in queries)


def test_lines_grow_with_the_weight_on_one_scale_for_every_map():
    reader = Reader(picture_of(TOKENS, WEIGHTS))
    widths = [float(attrs["stroke-width"]) for tag, attrs in reader.tags if tag == "path"]
    assert np.allclose(widths, 6 * WEIGHTS.ravel(), atol=0.06)
    faint = [attrs for tag, attrs in Reader(picture_of(TOKENS, 0.1 * WEIGHTS)).tags if tag == "path"]
    assert max(float(attrs["stroke-width"]) for attrs in faint) <= 0.61


def test_the_map_that_is_shown_first_can_be_chosen():
    maps = np.stack([WEIGHTS, WEIGHTS[::-1]])[None].repeat(2, axis=0)
    reader = Reader(html_of(TOKENS, maps, layer=1, head=1))
    assert [float(text) for text in reader.of("td")] == WEIGHTS[::-1].ravel().tolist()
    assert "weights of layer 1, head 1: rows are queries, columns keys" in reader.of("caption")
    for wrong in ({"layer": 2}, {"head": 2}, {"head": -1}):
        with pytest.raises(ValueError, match="counted from 0"):
            view_attention(TOKENS, maps, **wrong)


def test_a_pair_of_lists_is_queries_and_keys_and_a_list_of_two_texts_is_not():
    reader = Reader(html_of((["la", "casa"], TOKENS), np.full((2, 3), 1 / 3)))
    assert reader.of("th") == [*TOKENS, "la", "casa"]
    assert Reader(html_of(["la", "casa"], np.eye(2))).of("th") == ["la", "casa"] * 2
    assert Reader(html_of([("la", "casa"), ["a"]], np.ones((2, 1)))).of("th") == ["a", "la", "casa"]


@pytest.mark.parametrize(
    ("tokens", "weights", "words"),
    [
        (TOKENS, np.eye(4), "for 3 queries and 3 keys"),
        ((["a", "b"], TOKENS), np.full((3, 2), 0.5), "for 2 queries and 3 keys"),
        (TOKENS, np.ones(3), "for 3 queries and 3 keys"),
        ([1, 2, 3], WEIGHTS, "a list of texts"),
        ([], np.zeros((0, 0)), "a list of texts"),
        (TOKENS, 5 * WEIGHTS, "are they scores"),
        (TOKENS, np.full((3, 3), np.nan), "are they scores"),
        (["a"] * 101, np.zeros((101, 101)), f"{MAX_PAIRS}"),
        (["a"] * 90, np.zeros((12, 12, 90, 90)), "choose some"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_the_reason(tokens, weights, words):
    with pytest.raises(ValueError, match=words):
        view_attention(tokens, weights)


NASTY = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a'b&amp;]]></title>"]


def test_tokens_are_text_and_never_markup():
    page, picture = html_of(NASTY, WEIGHTS), picture_of(NASTY, WEIGHTS)
    assert Reader(page).of("th") == NASTY * 2
    page_tags = {"div", "style", "img", "details", "summary", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    for html, allowed in ((page, page_tags | {"script"}), (picture, {"svg", "style", "text", "g", "rect", "path"})):
        assert {tag for tag, _ in Reader(html).tags} <= allowed
        assert not any(name.startswith("on") for _, attrs in Reader(html).tags for name in attrs)
    assert page.count("<script") == page.count("</script") == 1


def test_what_cannot_be_seen_is_written_out():
    odd = ["a\nb", "\x00", "\u200b\ud800"]
    assert Reader(html_of(odd, WEIGHTS)).of("th") == ["a\\nb", "\\x00", "\\u200b\\ud800"] * 2
    assert picture_of(odd, WEIGHTS)


def test_nothing_is_fetched_from_anywhere(monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    html, name_of_the_format = html_of(TOKENS, WEIGHTS), ' xmlns="http://www.w3.org/2000/svg"'
    outside = re.compile(r"https?:|//[a-z]|import |import\(|require|fetch|url\(|src=\"(?!data:)|href=")
    assert not outside.search(re.sub(r"base64,[^\"]*", "", html))
    assert not outside.search(picture_of(TOKENS, WEIGHTS).replace(name_of_the_format, ""))


def test_the_colours_are_those_of_the_course():
    assert (QUERY, KEY) == (COLOURS["query"], COLOURS["key"])
