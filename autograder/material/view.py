"""An attention view that needs neither a kernel nor a network: tokens on two sides, a line for each weight.

Without script it is a picture of one map, as an image that sanitisers of notebooks let through, and the same map as a
table. Script puts the picture's SVG in place of the image and adds the choice of layer and head, and the row or column
of the token that the pointer or the keyboard is at.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from autograder.material.view_script import SCRIPT

MAX_PAIRS = 10_000  # lines of one map: more are not seen apart, and make a page slow
MAX_WEIGHTS = 1_000_000  # numbers in the page
STEP, TOP, LEFT, RIGHT, SIDE = 22, 30, 150, 420, 56  # pixels: between tokens, above them, of the two sides, for numbers
MOST_NAMED = 3  # keys that a query's description names
QUERY, KEY = "#0072B2", "#D55E00"  # as in plots.COLOURS, which would bring matplotlib

Tokens = Sequence[str]


class AttentionView:
    """A view that a notebook shows as HTML; as text it is one line."""

    def __init__(self, html: str, text: str) -> None:
        self.html, self.text = html, text

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def view_attention(
    tokens: Tokens | tuple[Tokens, Tokens], weights: Any, *, layer: int = 0, head: int = 0
) -> AttentionView:
    """Show where each query reads, head by head.

    tokens:  the texts of a self-attention, T of them; or a pair, those of the queries (Tq) and of the keys (Tk).
    weights: (Tq, Tk), (H, Tq, Tk) or (layers, H, Tq, Tk) numbers from 0 to 1, NumPy, torch or nested lists.
    layer, head: which map is shown first, counted from 0.
    Raises ValueError if tokens and weights do not fit, a weight is not in 0 … 1, or there is too much to show.
    """
    q_tokens, k_tokens = _two_sides(tokens)
    maps = _four_axes(weights, len(q_tokens), len(k_tokens))
    n_layers, n_heads = maps.shape[:2]
    for name, value, count in (("layer", layer, n_layers), ("head", head, n_heads)):
        if not 0 <= value < count:
            raise ValueError(f"viewing attention: {name} {value} of {count}; they are counted from 0")
    thousandths = np.rint(1000 * maps).astype(int)
    data = json.dumps(
        {"shape": maps.shape, "at": [layer, head], "weights": thousandths.ravel().tolist()}, separators=(",", ":")
    )
    name = hashlib.sha256(f"{q_tokens!r}{k_tokens!r}{data}".encode("utf-8", "replace")).hexdigest()[:12]
    shown, title = thousandths[layer, head] / 1000, f"layer {layer}, head {head}"
    sides = [_printable(token) for token in q_tokens], [_printable(token) for token in k_tokens]
    picture = base64.b64encode(_picture(*sides, shown, title, name).encode()).decode()
    html = (
        f'<div class="attention-view" data-view="{name}" role="group" aria-label="attention view">'
        f"<style>{_style(name)}</style>"
        f'<div class="say" role="status">{title}</div>'
        '<div class="row">Without script this one map is shown; in JupyterLab, trusting the notebook lets it run.</div>'
        f'<img alt="lines from queries to keys, {title}; the table below has the numbers" '
        f'src="data:image/svg+xml;base64,{picture}"/>{_table(*sides, shown, title)}</div>'
        f"<script>({SCRIPT.strip()})({json.dumps(name)},{data})</script>"
    )
    sizes = f"{n_layers} layers × {n_heads} heads, {len(q_tokens)} queries × {len(k_tokens)} keys"
    return AttentionView(html, f"attention view: {sizes}")


def _two_sides(tokens: Any) -> tuple[list[str], list[str]]:
    items = list(tokens)
    pair = len(items) == 2 and not any(isinstance(item, str) for item in items)
    sides = [list(item) for item in items] if pair else [items, items]
    for side in sides:
        if not side or not all(isinstance(token, str) for token in side):
            raise ValueError("viewing attention: tokens are a list of texts, or a pair of such lists (queries, keys)")
    return sides[0], sides[1]


def _four_axes(weights: Any, n_q: int, n_k: int) -> np.ndarray:
    detached = weights.detach().cpu() if hasattr(weights, "detach") else weights
    maps = np.asarray(detached, dtype=float)
    if maps.ndim not in (2, 3, 4) or maps.shape[-2:] != (n_q, n_k) or maps.size == 0:
        raise ValueError(
            f"viewing attention: weights {maps.shape} for {n_q} queries and {n_k} keys; wanted ({n_q}, {n_k}), with "
            "heads or layers and heads before them"
        )
    if not ((maps >= -1e-3) & (maps <= 1 + 1e-3)).all():
        raise ValueError("viewing attention: weights lie between 0 and 1; these do not, are they scores?")
    if n_q * n_k > MAX_PAIRS or maps.size > MAX_WEIGHTS:
        raise ValueError(
            f"viewing attention: {maps.size} weights, {n_q * n_k} in a map; at most {MAX_WEIGHTS} and {MAX_PAIRS} can "
            "be shown, so choose some tokens, layers or heads"
        )
    return maps.reshape((1,) * (4 - maps.ndim) + maps.shape)


def _printable(token: str) -> str:
    """A token with line breaks and what else cannot be seen, or stand in XML, written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)


def _style(name: str) -> str:
    at = f'[data-view="{name}"]'
    return (
        f"{at}{{font:13px system-ui,sans-serif;overflow-x:auto}}{at} svg,{at} img{{max-width:none;display:block}}"
        f"{at} table{{border-collapse:collapse}}{at} td,{at} th{{padding:1px 5px;text-align:right}}"
        f"{at} select{{margin:0 1em 0 .3em}}{at}[data-live] .row{{min-height:1.5em;opacity:.8}}"
    )


def _style_of_picture(name: str) -> str:
    """Inside the SVG, where the page's style does not reach while it is an image; grey reads on light and dark."""
    at = f'[data-map="{name}"]'
    return (
        f"{at} text{{font:13px system-ui,sans-serif;fill:#808080}}{at} rect{{fill:none;pointer-events:all}}"
        f"{at} .q,{at} .k{{cursor:default;outline:none}}{at} .q>text{{fill:{QUERY}}}{at} .k>text{{fill:{KEY}}}"
        f"{at} .q:focus>text,{at} .k:focus>text{{text-decoration:underline;font-weight:bold}}"
        f"{at}:has(.q:hover,.q:focus) .q:not(:hover,:focus) path{{opacity:.04}}"
        f"{at}.by-key path:not(.on){{opacity:.04}}{at} path{{stroke:{QUERY};fill:none;pointer-events:none}}"
    )


def _picture(q_tokens: Tokens, k_tokens: Tokens, weights: np.ndarray, title: str, name: str) -> str:
    height, width = TOP + STEP * max(len(q_tokens), len(k_tokens)) + 6, RIGHT + LEFT + SIDE
    rows = "".join(_row(i, token, k_tokens, weights[i]) for i, token in enumerate(q_tokens))
    keys = "".join(
        f'<g class="k" tabindex="0" role="img" data-j="{j}" data-token="{escape(token)}" '
        f'aria-label="key {escape(token)}">'
        f'{_hit(RIGHT, j)}<text x="{RIGHT + 6}" y="{_y(j) + 4}">{escape(_cut(token))}</text></g>'
        f'<text class="n" x="{RIGHT + LEFT}" y="{_y(j) + 4}" text-anchor="end"></text>'
        for j, token in enumerate(k_tokens)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" data-map="{name}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" '
        f'role="group" aria-label="attention of {escape(title)}: queries on the left, keys on the right">'
        f"<style>{_style_of_picture(name)}</style>"
        f'<text x="{LEFT - 6}" y="14" text-anchor="end">query</text><text x="{RIGHT + 6}" y="14">key</text>'
        f"{keys}{rows}</svg>"
    )


def _row(i: int, token: str, k_tokens: Tokens, weights: np.ndarray) -> str:
    """A query with its lines: width and strength grow with the weight, on one scale from 0 to 1 for every map."""
    lines = "".join(
        f'<path d="M{LEFT},{_y(i)}L{RIGHT},{_y(j)}" stroke-width="{_width(w)}" stroke-opacity="{w:.3g}"/>'
        for j, w in enumerate(weights)
    )
    said = escape(_sentence(token, k_tokens, weights))
    return (
        f'<g class="q" tabindex="0" role="img" data-i="{i}" data-token="{escape(token)}" aria-label="{said}">'
        f"{_hit(0, i)}"
        f'<text x="{LEFT - 6}" y="{_y(i) + 4}" text-anchor="end">{escape(_cut(token))}</text>{lines}</g>'
    )


def _sentence(token: str, k_tokens: Tokens, weights: np.ndarray) -> str:
    """What a query reads most, in words: "it reads pan 0.44, hot 0.19, she 0.10"."""
    largest = np.argsort(-weights, kind="stable")[:MOST_NAMED]
    return f"{token} reads " + ", ".join(f"{k_tokens[j]} {weights[j]:.2f}" for j in largest)


def _table(q_tokens: Tokens, k_tokens: Tokens, weights: np.ndarray, title: str) -> str:
    head = "".join(f'<th scope="col">{escape(token)}</th>' for token in k_tokens)
    body = "".join(
        f'<tr><th scope="row">{escape(token)}</th>' + "".join(_cell(w) for w in row) + "</tr>"
        for token, row in zip(q_tokens, weights, strict=True)
    )
    return (
        f"<details><summary>as a table</summary><table><caption>weights of {escape(title)}: rows are queries, columns "
        f"keys</caption><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def _cell(weight: float) -> str:
    return f'<td style="background-color:rgba(0,114,178,{0.7 * weight:.2f})">{weight:.2f}</td>'


def _hit(left: int, place: int) -> str:
    """The whole space of a token, so that the pointer need not meet its letters."""
    return f'<rect x="{left}" y="{_y(place) - STEP // 2}" width="{LEFT}" height="{STEP}"/>'


def _y(place: int) -> int:
    return TOP + STEP * place + STEP // 2


def _width(weight: float) -> str:
    return f"{6 * weight:.2g}"


def _cut(token: str) -> str:
    return token if len(token) <= 18 else token[:17] + "…"
