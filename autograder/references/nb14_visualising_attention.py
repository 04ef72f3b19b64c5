"""Notebook 14, the hidden half: references, accepted and wrong answers, cases.

About 1300 lines, since a map can be drawn wrongly in many ways, each of which is put together here from small steps.
"""

import math
from functools import cache
from types import SimpleNamespace

import numpy as np

from autograder.exercise import KEEPS_DTYPE, Built, Case, Misconception, Reference
from autograder.plain import Unreadable


def weights_of(rng, *shape, dtype=np.float64):
    """Softmax of N(0, 1) scores over the last axis."""
    scores = np.exp(rng.normal(size=shape))
    return (scores / scores.sum(axis=-1, keepdims=True)).astype(dtype)


# --- plot_attention --------------------------------------------------------------------------------------------------


def _new_axes(ax):
    import matplotlib.pyplot as plt

    return plt.subplots()[1] if ax is None else ax


def _name_axes(ax):
    ax.set(xlabel="key", ylabel="query")


def _tokens(ax, q_tokens, k_tokens):
    ax.set_xticks(range(len(k_tokens)), k_tokens)
    ax.set_yticks(range(len(q_tokens)), q_tokens)


def _bar(ax, image):
    ax.figure.colorbar(image, ax=ax)


# An Axes and a colourbar take 20 ms to make, and a diagnosis draws some fifty wrong maps. So these share one Axes, made
# clean each time, and note what their colourbar would show where a reader looks for one.


@cache
def _board():
    from matplotlib.figure import Figure

    return Figure(figsize=(6.4, 4.8), dpi=100).add_subplot()


def _shared_axes(ax):
    from matplotlib.ticker import AutoLocator, ScalarFormatter

    if ax is not None:
        return ax
    ax = _board()
    for artist in (*ax.images, *ax.collections):
        artist.remove()
    for ruler in (ax.xaxis, ax.yaxis):
        ruler.set_major_locator(AutoLocator())
        ruler.set_major_formatter(ScalarFormatter())
    ax.relim()
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="", ylabel="", autoscale_on=True)
    ax._colorbar = None
    return ax


def _noted_bar(ax, image):
    ax._colorbar = SimpleNamespace(mappable=image)


def _unit(ax, weights):
    """The image as it should be."""
    return ax.imshow(weights, vmin=0, vmax=1, cmap="Blues")


def drawing(
    image=_unit, tokens=_tokens, names=_name_axes, bar=_noted_bar, axes=_shared_axes, returns=lambda ax, image: ax
):
    """A `plot_attention` put together from its steps, each of which may be another."""

    def plot(weights, q_tokens, k_tokens, ax=None):
        ax = axes(ax)
        drawn = image(ax, weights)
        tokens(ax, q_tokens, k_tokens)
        names(ax)
        bar(ax, drawn)
        return returns(ax, drawn)

    return plot


def changed(weights=None, q_tokens=None, k_tokens=None):
    """The right drawing of inputs that are changed first."""

    def plot(given, queries, keys, ax=None):
        return _quick(
            weights(given) if weights else given,
            q_tokens(queries) if q_tokens else queries,
            k_tokens(keys) if k_tokens else keys,
            ax,
        )

    return plot


plot_attention = drawing(bar=_bar, axes=_new_axes)
_quick = drawing()


def plot_by_matshow(weights, q_tokens, k_tokens, ax=None):
    import matplotlib.pyplot as plt

    ax = plt.gca() if ax is None else ax
    image = ax.matshow(np.array(weights, dtype=float))
    image.set_clim(0, 1)
    ax.set_xticks(np.arange(len(k_tokens)))
    ax.set_xticklabels(list(k_tokens), rotation=60)
    ax.set_yticks(np.arange(len(q_tokens)))
    ax.set_yticklabels(list(q_tokens))
    ax.set_xlabel("Keys (read from)")
    ax.set_ylabel("Queries (reading)")
    plt.colorbar(image, ax=ax, label="weight")
    return ax


def plot_from_below(weights, q_tokens, k_tokens, ax=None):
    """The origin at the bottom, and the axis turned around."""
    from matplotlib.colors import Normalize

    ax = _new_axes(ax)
    image = ax.imshow(weights, norm=Normalize(0, 1), origin="lower", aspect="auto", interpolation="nearest")
    ax.invert_yaxis()
    _tokens(ax, q_tokens, k_tokens)
    _name_axes(ax)
    _bar(ax, image)
    return ax


def plot_reversed(weights, q_tokens, k_tokens, ax=None):
    """Rows and texts reversed, and the origin at the bottom: the same to see."""
    ax = _new_axes(ax)
    image = ax.imshow(weights[::-1], vmin=0.0, vmax=1.0, origin="lower")
    _tokens(ax, list(q_tokens)[::-1], k_tokens)
    _name_axes(ax)
    _bar(ax, image)
    return ax


def plot_in_units(weights, q_tokens, k_tokens, ax=None):
    """An extent in whole cells, ticks in their middles, and a bar that has a mappable of its own."""
    import matplotlib.pyplot as plt
    from matplotlib.cm import ScalarMappable

    ax = _new_axes(ax)
    n_q, n_k = np.shape(weights)
    ax.imshow(weights, extent=(0, n_k, n_q, 0), clim=(0, 1), cmap="viridis")
    ax.set_xticks(np.arange(n_k) + 0.5, k_tokens)
    ax.set_yticks(np.arange(n_q) + 0.5, q_tokens)
    ax.set_xlabel("key position")
    ax.set_ylabel("query position")
    ax.figure.colorbar(ScalarMappable(plt.Normalize(0, 1), "viridis"), ax=ax)
    return ax


def plot_with_pyplot(weights, q_tokens, k_tokens, ax=None):
    import matplotlib.pyplot as plt

    if ax is None:
        plt.figure(figsize=(4, 3), layout="constrained")
        ax = plt.axes()
    plt.sca(ax)
    plt.imshow(weights, vmin=0, vmax=1)
    plt.xticks(range(len(k_tokens)), labels=k_tokens, rotation=90)
    plt.yticks(range(len(q_tokens)), labels=q_tokens)
    plt.xlabel("KEY")
    plt.ylabel("QUERY")
    plt.colorbar()
    plt.show()
    return ax


def _transposed(weights, q_tokens, k_tokens, ax=None):
    ax = _quick(weights.T, k_tokens, q_tokens, ax)
    ax.set(xlabel="query", ylabel="key")
    return ax


def _no_tokens(ax, q_tokens, k_tokens):
    pass


def _tokens_swapped(ax, q_tokens, k_tokens):
    ax.set_xticks(range(len(q_tokens)), q_tokens)
    ax.set_yticks(range(len(k_tokens)), k_tokens)


def _automatic_ticks(ax, q_tokens, k_tokens):
    ax.set_xticklabels(k_tokens)
    ax.set_yticklabels(q_tokens)


def _automatic_ticks_from_edge(ax, q_tokens, k_tokens):
    ax.set_xticklabels(["", *k_tokens])
    ax.set_yticklabels(["", *q_tokens])


def _tokens_at_edges(ax, q_tokens, k_tokens):
    ax.set_xticks(np.arange(len(k_tokens)) + 0.5, k_tokens)
    ax.set_yticks(np.arange(len(q_tokens)) + 0.5, q_tokens)


def _tokens_of_keys_only(ax, q_tokens, k_tokens):
    ax.set_xticks(range(len(k_tokens)), k_tokens)


def _key_tokens_twice(ax, q_tokens, k_tokens):
    _tokens(ax, [*k_tokens, *q_tokens][: len(q_tokens)], k_tokens)


def _query_tokens_twice(ax, q_tokens, k_tokens):
    _tokens(ax, q_tokens, [*q_tokens, *k_tokens][: len(k_tokens)])


def _upside_down(ax, weights):
    return ax.imshow(weights, vmin=0, vmax=1, origin="lower")


def _turned(ax, weights):
    image = _unit(ax, weights)
    ax.invert_yaxis()
    return image


def _percent(ax, weights):
    return ax.imshow(100 * weights, vmin=0, vmax=100)


def _with_norm(name, *numbers):
    def image(ax, weights):
        from matplotlib import colors

        return ax.imshow(weights, norm=getattr(colors, name)(*numbers, vmin=0, vmax=1))

    return image


def _in_log(ax, weights):
    from matplotlib.colors import LogNorm

    return ax.imshow(weights, norm=LogNorm(1e-3, 1))


def _mesh(ax, weights):
    mesh = ax.pcolormesh(weights, vmin=0, vmax=1)
    ax.invert_yaxis()
    return mesh


def _colours(ax, weights):
    import matplotlib.pyplot as plt

    return ax.imshow(plt.get_cmap("Blues")(weights), vmin=0, vmax=1)


def _ignores_ax(ax):
    return _shared_axes(None)


def _current_axes(ax):
    import matplotlib.pyplot as plt

    return plt.gca()


def _also_elsewhere(weights, q_tokens, k_tokens, ax=None):
    import matplotlib.pyplot as plt

    plt.imshow(weights, vmin=0, vmax=1)
    return _quick(weights, q_tokens, k_tokens, ax)


def _stretched(weights):
    return (weights - weights.min()) / (weights.max() - weights.min())


def _over_row_sum(weights):
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total > 0, total, 1)


def _over_row_sum_unguarded(weights):
    with np.errstate(invalid="ignore"):
        return weights / weights.sum(axis=-1, keepdims=True)


def _names_the_current_axes(ax):
    import matplotlib.pyplot as plt

    plt.xlabel("key")
    plt.ylabel("query")


def _over_row_max(weights):
    top = weights.max(axis=-1, keepdims=True)
    return weights / np.where(top > 0, top, 1)


def _softmax_again(weights):
    return np.exp(weights) / np.exp(weights).sum(axis=-1, keepdims=True)


def _divides_in_place(weights, q_tokens, k_tokens, ax=None):
    weights /= np.where(weights.sum(axis=-1, keepdims=True) > 0, weights.sum(axis=-1, keepdims=True), 1)
    return _quick(weights, q_tokens, k_tokens, ax)


def _turns_the_list(weights, q_tokens, k_tokens, ax=None):
    q_tokens.reverse()
    return drawing(_upside_down)(weights[::-1], q_tokens, k_tokens, ax)


def _clipped(weights):
    return np.where(weights < 0.1, 0, weights)


def plot_cases(rng):
    words = ["la", "casa", "blanca", "es"]
    keys = ["the", "white", "house", "is", "the", "."]
    plain = (weights_of(rng, 3, 5), words[:3], keys[:5])
    for check in ("cells", "tick_texts", "axis_labels", "colourbar"):
        yield Case(check, plain)
    # Rows that do not sum to 1: hidden keys, an empty row, no weight above 0.3.
    faint = weights_of(rng, 4, 4) * rng.uniform(0.3, 0.6, size=(4, 1))
    faint[1] = 0.0
    faint = (0.3 * faint / faint.max()).astype(np.float32)
    square = (faint, ["it", "was", "it", "hot"], ["the", "pan", "was", "hot"])
    for check in ("cells", "tick_texts", "colour_scale"):
        yield Case(check, square)
    yield Case("given_axes", (weights_of(rng, 4, 2), words, keys[:2]), {"ax": Built("axes_beside_another")})


# What a check looks at, in a picture that `read_axes` read.
SEEN = {
    "cells": lambda picture: _parts(picture, "cells"),
    "tick_texts": lambda picture: _parts(picture, "rows", "columns"),
    "axis_labels": lambda picture: {
        "y label": _holds(picture["ylabel"], "quer"),
        "x label": _holds(picture["xlabel"], "key"),
    },
    "colour_scale": lambda picture: _parts(picture, "limits", "scale"),
    "colourbar": lambda picture: _only(picture["colourbars"]),
    "given_axes": lambda picture: picture["where"],
}


def _parts(picture, *names):
    """Some of what was read, by name, or why it could not be."""
    unread = [picture[name] for name in names if isinstance(picture[name], Unreadable)]
    return unread[0] if unread else {name: picture[name] for name in names}


def _only(bars):
    if len(bars) == 1:
        return bars[0]
    return Unreadable(f"a figure with {len(bars)} colourbars" if bars else "a figure without a colourbar")


def _holds(label, word):
    """The label, by the first of the words it holds, the wanted one before the other."""
    return next((f"…{part}…" for part in (word, "quer", "key") if part in label.lower()), label)


def seen(case, picture):
    """What the check of a case judges in a picture; what is no picture, as it is."""
    return SEEN[case.check](picture) if isinstance(picture, dict) else picture


PLOT_MISCONCEPTIONS = (
    Misconception(
        "transposed",
        "queries run to the right and keys downwards: each row of weights stands as a column, so that columns sum to 1",
        [
            _transposed,
            drawing(lambda ax, weights: _unit(ax, weights.T)),
            drawing(lambda ax, weights: _unit(ax, weights.T), _tokens_swapped),
            drawing(lambda ax, weights: _unit(ax, weights.T), names=lambda ax: ax.set(xlabel="query", ylabel="key")),
        ],
    ),
    Misconception(
        "labels_swapped",
        "the names of the two axes are exchanged: row i of weights is what query i reads, so queries run downwards, "
        "along y",
        drawing(names=lambda ax: ax.set(xlabel="query", ylabel="key")),
    ),
    Misconception(
        "tokens_swapped",
        "query tokens stand under the columns and key tokens beside the rows: columns are keys",
        [
            drawing(tokens=_tokens_swapped),
            drawing(tokens=_tokens_swapped, names=lambda ax: ax.set(xlabel="query", ylabel="key")),
        ],
    ),
    Misconception(
        "same_tokens_on_both",
        "both axes have the tokens of one side: queries and keys may be two different texts",
        [drawing(tokens=_key_tokens_twice), drawing(tokens=_query_tokens_twice)],
    ),
    Misconception(
        "autoscaled",
        "the colours begin or end where these weights do, not at 0 and 1: a map whose largest weight is 0.3 then looks "
        "as dark as one that reaches 1",
        [
            drawing(lambda ax, weights: ax.imshow(weights)),
            drawing(lambda ax, weights: ax.imshow(weights, vmin=0)),
            drawing(lambda ax, weights: ax.imshow(weights, vmax=1)),
            drawing(lambda ax, weights: ax.imshow(weights, vmin=0, vmax=weights.max())),
        ],
    ),
    Misconception(
        "below_zero",
        "the colour scale is symmetric around 0: weights are never below it, and half of the colours stay unused",
        drawing(lambda ax, weights: ax.imshow(weights, vmin=-1, vmax=1, cmap="RdBu")),
    ),
    Misconception(
        "uneven_scale",
        "equal steps of weight are unequal steps of colour: a logarithm or a power lifts small weights or hides them, "
        "and the limits alone do not show it",
        [
            drawing(_with_norm("PowerNorm", 0.5)),
            drawing(_with_norm("PowerNorm", 2)),
            drawing(_with_norm("SymLogNorm", 0.1)),
            drawing(_in_log),
        ],
    ),
    Misconception(
        "percent",
        "the weights were multiplied by 100, and the scale ends at 100: a weight is a share of 1 here",
        [drawing(_percent), drawing(lambda ax, weights: _unit(ax, 100 * weights))],
    ),
    Misconception(
        "rows_renormalised",
        "every row was divided by its sum: a row that sums to less than 1, as under a mask or with part of the keys "
        "left out, now looks like any other",
        [changed(_over_row_sum), changed(_over_row_sum_unguarded)],
    ),
    Misconception(
        "rows_over_their_largest",
        "every row was divided by its largest weight: the flattest row now looks as sharp as the sharpest",
        changed(_over_row_max),
    ),
    Misconception(
        "stretched",
        "the numbers of the image were stretched so that they begin at 0 or end at 1: the colourbar no longer tells a "
        "weight",
        [changed(_stretched), changed(lambda weights: weights / weights.max())],
    ),
    Misconception(
        "softmax_again",
        "a softmax was taken of what is a softmax already: the rows are flatter than the weights",
        changed(_softmax_again),
    ),
    Misconception(
        "rounded",
        "the weights were rounded before they were drawn",
        [changed(lambda weights: weights.round(1)), changed(lambda weights: weights.round(2))],
    ),
    Misconception(
        "small_ones_hidden",
        "small weights were set to 0: what is left out of a map cannot be seen missing",
        [changed(_clipped), changed(lambda weights: np.where(weights < 0.05, np.nan, weights))],
    ),
    Misconception(
        "upside_down",
        "the first query stands at the bottom: an image is read from top to bottom like the text, and origin or "
        "invert_yaxis turned it around",
        [drawing(_upside_down), drawing(_turned)],
    ),
    Misconception(
        "rows_against_tokens",
        "the rows are in the opposite order of the tokens beside them: the weights were turned around and the texts "
        "were not",
        [changed(lambda weights: weights[::-1]), drawing(_upside_down, lambda ax, q, k: _tokens(ax, q[::-1], k))],
    ),
    Misconception(
        "mirrored",
        "the keys run from right to left, or stand in the opposite order of the tokens under them",
        [
            changed(lambda weights: weights[:, ::-1]),
            changed(lambda weights: weights[:, ::-1], k_tokens=lambda keys: keys[::-1]),
        ],
    ),
    Misconception(
        "no_tokens",
        "the ticks are numbers: the places of tokens, not the tokens",
        [
            drawing(tokens=_no_tokens, bar=_bar, axes=_new_axes),
            drawing(tokens=_tokens_of_keys_only, bar=_bar, axes=_new_axes),
        ],
    ),
    Misconception(
        "automatic_ticks",
        "the texts were given to ticks that matplotlib had placed by itself, also between cells: a token stands beside "
        "another's row, and places have to be set together with texts",
        [
            drawing(tokens=_automatic_ticks, bar=_bar, axes=_new_axes),
            drawing(tokens=_automatic_ticks_from_edge, bar=_bar, axes=_new_axes),
        ],
    ),
    Misconception(
        "tokens_at_edges",
        "the texts stand at the edges of cells: imshow puts the middle of cell j at j, not at j + 0.5",
        drawing(tokens=_tokens_at_edges),
    ),
    Misconception(
        "tokens_once",
        "a token that occurs twice has one tick: every position is a row or column of its own",
        changed(None, lambda tokens: [*dict.fromkeys(tokens), *[""] * len(tokens)][: len(tokens)]),
    ),
    Misconception(
        "no_axis_names",
        "an axis has no name: from the picture alone nobody could tell which side asks and which is read",
        [
            drawing(names=lambda ax: None),
            drawing(names=lambda ax: ax.set(ylabel="query")),
            drawing(names=lambda ax: ax.set(xlabel="key")),
        ],
    ),
    Misconception(
        "no_colourbar",
        "there is no colourbar: no colour can be read as a number",
        drawing(bar=lambda ax, image: None),
    ),
    Misconception(
        "two_colourbars",
        "the map has two colourbars: one is enough to read it, and a second one is of another drawing",
        drawing(axes=_new_axes, bar=lambda ax, image: (_bar(ax, image), _bar(ax, image))),
    ),
    Misconception(
        "taken_from_one",
        "each cell is 1 minus the weight: dark is where little is read",
        changed(lambda weights: 1 - weights),
    ),
    Misconception(
        "tokens_shortened",
        "the tokens were cut, and different ones can look the same",
        [changed(None, lambda q, n=n: [t[:n] for t in q], lambda k, n=n: [t[:n] for t in k]) for n in (1, 2, 3)],
    ),
    Misconception(
        "mesh",
        "what was drawn is a mesh, whose rows begin at the bottom and whose cells have corners at whole numbers: "
        "imshow draws an image, whose row 0 is on top",
        [
            drawing(_mesh, _tokens_at_edges),
            drawing(lambda ax, weights: ax.pcolormesh(weights, vmin=0, vmax=1), _tokens_at_edges),
            drawing(lambda ax, weights: ax.pcolor(weights, vmin=0, vmax=1), _tokens_at_edges),
        ],
    ),
    Misconception(
        "colours_for_numbers",
        "imshow was given colours instead of weights: then limits and colourbar have nothing to do with them",
        drawing(_colours),
    ),
    Misconception(
        "ignores_ax",
        "with an Axes given, the map is drawn somewhere else: on a new figure, or on pyplot's current Axes",
        [drawing(axes=_ignores_ax), drawing(axes=_current_axes), _also_elsewhere],
    ),
    Misconception(
        "labels_elsewhere",
        "with an Axes given, a label or title lands on another one: plt.xlabel and its like write on pyplot's current "
        "Axes",
        drawing(names=_names_the_current_axes),
    ),
    Misconception(
        "returns_something_else",
        "the figure or the image is returned: wanted is the Axes, on which a caller can draw more",
        [
            drawing(returns=lambda ax, image: ax.figure),
            drawing(returns=lambda ax, image: image),
            drawing(returns=lambda ax, image: (ax.figure, ax)),
        ],
    ),
    Misconception(
        "returns_nothing",
        "the map is drawn and nothing is returned: the caller needs the Axes",
        drawing(returns=lambda ax, image: None),
    ),
    Misconception(
        "changes_inputs",
        "the weights or tokens given are others after the call: an operation in place, such as /= or reverse",
        [_divides_in_place, _turns_the_list],
    ),
    Misconception(
        "autoscaled+no_colourbar",
        "the colours end where these weights do, and no colourbar says so: nobody could tell 0.3 from 1",
        drawing(lambda ax, weights: ax.imshow(weights), bar=lambda ax, image: None),
    ),
)


# --- sharper_head ----------------------------------------------------------------------------------------------------


def as_option(case, answer):
    """The option as a word: "head a" and " A" are "A", NEITHER is "neither"."""
    if isinstance(answer, np.ndarray) and answer.ndim == 0:
        answer = answer.item()
    if not isinstance(answer, str):
        raise ValueError("not an option")
    words = answer.lower().strip(" '\".").removeprefix("head").strip()
    return {"a": "A", "b": "B"}.get(words, words)


SHARPER = (
    Misconception(
        "by_the_picture",
        "B is the picture with more contrast, and its darkest colour is its largest weight, little above an eighth: "
        "its own smallest and largest weight are the ends of its scale",
        "B",
    ),
    Misconception(
        "no_difference",
        "the two differ in their numbers: in one of them the largest weight of a row is several times an eighth",
        "neither",
    ),
)


# --- head_stats ------------------------------------------------------------------------------------------------------


def head_stats(weights):
    places = np.arange(weights.shape[-1])
    apart = abs(places[:, None] - places).astype(weights.dtype)
    logs = np.log(np.where(weights > 0, weights, 1))
    return {
        "entropy": -(weights * logs).sum(axis=-1).mean(axis=-1),
        "distance": (weights * apart).sum(axis=-1).mean(axis=-1),
    }


def stats_by_loops(weights):
    h, n, _ = weights.shape
    entropy, distance = np.zeros(h, weights.dtype), np.zeros(h, weights.dtype)
    for head in range(h):
        for i in range(n):
            for j in range(n):
                w = float(weights[head, i, j])
                if w > 0:
                    entropy[head] -= w * math.log(w) / n
                    distance[head] += w * abs(i - j) / n
    return {"distance": distance, "entropy": entropy}


def stats_by_einsum(weights):
    n = weights.shape[1]
    apart = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    with np.errstate(all="ignore"):
        parts = np.nan_to_num(weights * np.log(weights), nan=0.0)
    distance = np.einsum("hij,ij->h", weights, apart) / n
    return {"entropy": -parts.sum((1, 2)) / n, "distance": distance.astype(weights.dtype)}


def stats_by_masked_log(weights):
    h, n, _ = weights.shape
    logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
    apart = [[float(abs(i - j)) for j in range(n)] for i in range(n)]
    return {
        "entropy": [-float((weights[head] * logs[head]).sum()) / n for head in range(h)],
        "distance": [float((weights[head] * np.array(apart)).sum(1).mean()) for head in range(h)],
    }


def stats_with_epsilon(weights):
    entropy = -np.sum(weights * np.log(weights + np.finfo(np.float32).tiny), axis=2)
    n = weights.shape[-1]
    apart = np.fromfunction(lambda i, j: np.abs(i - j), (n, n))
    distance = np.tensordot(weights, apart.astype(weights.dtype), axes=((1, 2), (0, 1))) / n
    return {"entropy": entropy.mean(axis=1), "distance": np.asarray(distance, dtype=weights.dtype)}


def _rows(weights):
    """The entropy and the distance of every query, each (h, n)."""
    places = np.arange(weights.shape[-1])
    apart = abs(places[:, None] - places).astype(weights.dtype)
    logs = np.log(np.where(weights > 0, weights, 1))
    return -(weights * logs).sum(axis=-1), (weights * apart).sum(axis=-1)


def stats_from(entropy=None, distance=None, over=None):
    """A `head_stats` with one of its numbers, or the way over queries, another."""

    def stats(weights):
        h_rows, d_rows = _rows(weights)
        mean = over or (lambda rows, weights: rows.mean(axis=-1))
        return {
            "entropy": entropy(weights) if entropy else mean(h_rows, weights),
            "distance": distance(weights) if distance else mean(d_rows, weights),
        }

    return stats


def _naive_entropy(weights):
    with np.errstate(all="ignore"):
        return -(weights * np.log(weights)).sum(axis=-1).mean(axis=-1)


def _apart(weights):
    places = np.arange(weights.shape[-1])
    return np.abs(places[:, None] - places).astype(weights.dtype)


def _signed(sign):
    def distance(weights):
        places = np.arange(weights.shape[-1], dtype=weights.dtype)
        return (weights * sign * (places - places[:, None])).sum(axis=-1).mean(axis=-1)

    return distance


def _of_the_mean(weights):
    found = head_stats(weights.mean(axis=0, keepdims=True))
    return {name: np.repeat(value, len(weights)) for name, value in found.items()}


def _one_number(weights):
    return {name: value.mean() for name, value in head_stats(weights).items()}


def _heads_first(weights):
    return {name: value[0] for name, value in head_stats(weights.mean(axis=0, keepdims=True)).items()}


def _over_filled_rows(rows, weights):
    filled = (weights > 0).any(axis=-1)
    return (rows * filled).sum(axis=-1) / np.maximum(filled.sum(axis=-1), 1)


def _empty_rows_even(weights):
    n = weights.shape[-1]
    return head_stats(np.where((weights > 0).any(axis=-1, keepdims=True), weights, np.array(1 / n, weights.dtype)))


def _empty_rows_lost(weights):
    total = weights.sum(axis=-1, keepdims=True)
    with np.errstate(all="ignore"):
        return head_stats(weights / total) | {"distance": stats_from()(weights / total)["distance"]}


def _per_query(weights):
    return dict(zip(("entropy", "distance"), _rows(weights), strict=True))


def _of_the_largest(weights):
    places = np.arange(weights.shape[-1])
    return np.abs(weights.argmax(axis=-1) - places).mean(axis=-1).astype(weights.dtype)


def _distance_of_mean_place(weights):
    places = np.arange(weights.shape[-1], dtype=weights.dtype)
    return np.abs((weights * places).sum(axis=-1) - places).mean(axis=-1)


def _overwrites_zeros(weights):
    weights[weights == 0] = 1e-12
    return head_stats(weights)


def _doubles(stats):
    return {name: np.asarray(value, dtype=np.float64) for name, value in stats.items()}


def stats_cases(rng):
    for h, n in ((3, 5), (4, 4), (2, 6)):
        maps = weights_of(rng, h, n, n)
        yield Case("entropy", (maps,))
        yield Case("distance", (maps,))
    causal = np.tril(np.exp(rng.normal(size=(3, 4, 4))))
    yield Case("zero_weights", (causal / causal.sum(axis=-1, keepdims=True),))
    yield Case(
        "zero_weights", (np.stack([np.eye(5), np.eye(5)[rng.permutation(5)], np.eye(5, k=1) + np.eye(5, k=-4)]),)
    )
    holes = weights_of(rng, 3, 5, 5)
    holes[0, 2], holes[1, [0, 3]], holes[2, 4] = 0.0, 0.0, 0.0
    yield Case("empty_rows", (holes,))
    nothing = weights_of(rng, 2, 4, 4)
    nothing[1] = 0.0
    yield Case("empty_rows", (nothing,))
    for h, n in ((1, 4), (3, 1), (1, 1)):
        yield Case("small", (weights_of(rng, h, n, n),))
    yield Case(KEEPS_DTYPE, (weights_of(rng, 3, 5, 5, dtype=np.float32),))


def one_statistic(case, result):
    """The whole dict; a check of one number sees that number alone."""
    if not isinstance(result, dict):
        raise ValueError("not a dict")
    if case.check in ("entropy", "distance") and case.check in result:
        return result[case.check]
    return result


STATS_MISCONCEPTIONS = (
    Misconception(
        "zero_log_zero",
        "a weight of 0 makes the entropy NaN: ln 0 is −∞, and 0 · −∞ is NaN, where the limit of w ln w is 0",
        stats_from(entropy=_naive_entropy),
    ),
    Misconception(
        "signed_distance",
        "steps to the left and to the right cancel: the distance is |i − j|, without its sign",
        [stats_from(distance=_signed(1)), stats_from(distance=_signed(-1))],
    ),
    Misconception(
        "distance_of_the_mean_place",
        "the distance is that of the average place that is read: a query that reads its two neighbours equally then "
        "has distance 0",
        stats_from(distance=_distance_of_mean_place),
    ),
    Misconception(
        "averages_heads_first",
        "the heads were averaged before anything was measured: one number for all, and the entropy of an average is at "
        "least the average of the entropies",
        [_of_the_mean, _heads_first],
    ),
    Misconception(
        "one_number",
        "one number for all heads: wanted is one per head, (h,)",
        _one_number,
    ),
    Misconception(
        "per_query",
        "one number per query: the mean over the queries of a head is left out",
        _per_query,
    ),
    Misconception(
        "sum_over_queries",
        "the sum over queries instead of their mean: n times too large, so longer sentences look less sharp",
        stats_from(over=lambda rows, weights: rows.sum(axis=-1)),
    ),
    Misconception(
        "median",
        "the middle one of the queries instead of their mean",
        stats_from(over=lambda rows, weights: np.median(rows, axis=-1)),
    ),
    Misconception(
        "no_minus",
        "the entropy is below 0: ln of a number below 1 is negative, so the sum takes a minus",
        stats_from(entropy=lambda weights: -_rows(weights)[0].mean(axis=-1)),
    ),
    Misconception(
        "bits",
        "the entropy is 1.4427 times too large: the logarithm has base 2, and nats are wanted",
        stats_from(entropy=lambda weights: _rows(weights)[0].mean(axis=-1) / np.array(math.log(2), weights.dtype)),
    ),
    Misconception(
        "decimal",
        "the entropy is 0.4343 times the wanted one: the logarithm has base 10, and nats are wanted",
        stats_from(entropy=lambda weights: _rows(weights)[0].mean(axis=-1) / np.array(math.log(10), weights.dtype)),
    ),
    Misconception(
        "share_of_the_most",
        "the entropy was divided by ln n, the most it can be: nats are wanted",
        stats_from(
            entropy=lambda weights: (
                _rows(weights)[0].mean(axis=-1) / np.array(max(math.log(weights.shape[-1]), 1e-9), weights.dtype)
            )
        ),
    ),
    Misconception(
        "effective_number",
        "the exponential of the entropy, a number of keys: wanted is the entropy itself, in nats",
        [
            stats_from(entropy=lambda weights: np.exp(_rows(weights)[0].mean(axis=-1))),
            stats_from(entropy=lambda weights: np.exp(_rows(weights)[0]).mean(axis=-1)),
        ],
    ),
    Misconception(
        "sum_of_logs",
        "the logarithms were added without their weights: each counts with its weight, w ln w",
        stats_from(entropy=lambda weights: -np.log(np.where(weights > 0, weights, 1)).sum(axis=-1).mean(axis=-1)),
    ),
    Misconception(
        "place_for_distance",
        "the distance is the average place that is read, counted from the first token: wanted is how far that is from "
        "the query, |i − j|",
        stats_from(
            distance=lambda weights: (
                (weights * np.arange(weights.shape[-1], dtype=weights.dtype)).sum(axis=-1).mean(axis=-1)
            )
        ),
    ),
    Misconception(
        "per_position",
        "one number per query, a mean over heads: wanted is one per head, a mean over queries",
        lambda weights: {name: value.mean(axis=0) for name, value in _per_query(weights).items()},
    ),
    Misconception(
        "large_epsilon",
        "every entropy is a little too small: the number added inside the logarithm is large enough to show",
        [
            stats_from(entropy=lambda weights: -(weights * np.log(weights + 1e-3)).sum(-1).mean(-1)),
            stats_from(entropy=lambda weights: -(weights * np.log(weights + 1e-5)).sum(-1).mean(-1)),
            stats_from(entropy=lambda weights: -(weights * np.log(weights + 1e-6)).sum(-1).mean(-1)),
        ],
    ),
    Misconception(
        "of_the_largest",
        "the distance is that of the largest weight alone: wanted is the mean over all keys, each with its weight",
        stats_from(distance=_of_the_largest),
    ),
    Misconception(
        "squared",
        "the distance is squared, (i − j)²",
        stats_from(distance=lambda weights: (weights * _apart(weights) ** 2).sum(-1).mean(-1)),
    ),
    Misconception(
        "root_of_squares",
        "the distance is the root of a mean square, which far keys pull up: wanted is the mean of |i − j|",
        stats_from(distance=lambda weights: np.sqrt((weights * _apart(weights) ** 2).sum(-1)).mean(-1)),
    ),
    Misconception(
        "unweighted",
        "the distance is the same for every head: the weights do not come into it",
        stats_from(distance=lambda weights: np.full(len(weights), _apart(weights).mean(), weights.dtype)),
    ),
    Misconception(
        "share_of_the_length",
        "the distance was divided by the length: it is wanted in tokens",
        [
            stats_from(distance=lambda weights: _rows(weights)[1].mean(-1) / weights.shape[-1]),
            stats_from(distance=lambda weights: _rows(weights)[1].mean(-1) / max(weights.shape[-1] - 1, 1)),
        ],
    ),
    Misconception(
        "mean_over_keys",
        "each number is a mean over keys too, n times too small: the weights of a row are an average already, so that "
        "the sum over keys is wanted",
        [
            lambda weights: {name: value / weights.shape[-1] for name, value in head_stats(weights).items()},
            stats_from(entropy=lambda weights: _rows(weights)[0].mean(-1) / weights.shape[-1]),
        ],
    ),
    Misconception(
        "empty_rows_left_out",
        "where a row is empty the numbers are too large: its query counts 0 and belongs to the n queries of the mean",
        stats_from(over=_over_filled_rows),
    ),
    Misconception(
        "empty_rows_even",
        "an empty row counts as n equal weights: it reads nothing, and counts 0",
        _empty_rows_even,
    ),
    Misconception(
        "empty_rows_nan",
        "an empty row makes NaN: its sum is 0, and it was divided by that",
        _empty_rows_lost,
    ),
    Misconception(
        "tuple",
        "two arrays are returned, and not a dict with the names entropy and distance",
        [lambda weights: tuple(head_stats(weights).values()), lambda weights: list(head_stats(weights).values())],
    ),
    Misconception(
        "float64",
        "float32 weights give float64 numbers: a table of whole numbers, or a constant of NumPy's, widened them",
        [
            lambda weights: _doubles(head_stats(weights)),
            lambda weights: head_stats(weights) | {"distance": head_stats(weights)["distance"].astype(np.float64)},
        ],
    ),
    Misconception(
        "overwrites_zeros",
        "weights of 0 are another number after the call: they were replaced in the array given",
        _overwrites_zeros,
    ),
    Misconception(
        "zero_log_zero+signed_distance",
        "a weight of 0 makes the entropy NaN, since 0 · −∞ is NaN; and steps to the left and to the right cancel, "
        "where |i − j| is wanted",
        [stats_from(_naive_entropy, _signed(1)), stats_from(_naive_entropy, _signed(-1))],
    ),
    Misconception(
        "zero_log_zero+float64",
        "a weight of 0 makes the entropy NaN, since 0 · −∞ is NaN; and float32 weights give a float64 number",
        stats_from(_naive_entropy, lambda weights: _rows(weights)[1].mean(-1).astype(np.float64)),
    ),
)


# --- attention_rollout -----------------------------------------------------------------------------------------------


def attention_rollout(layers, residual=0.5):
    n = layers[0].shape[-1]
    identity = np.eye(n, dtype=layers[0].dtype)
    rollout = identity
    for weights in layers:
        rollout = ((1 - residual) * weights.mean(axis=0) + residual * identity) @ rollout
    return rollout


def rollout_from_the_top(layers, residual=0.5):
    mixed = _mixed(layers, residual)
    product = mixed[-1]
    for matrix in mixed[-2::-1]:
        product = product @ matrix
    return product


def rollout_by_multi_dot(layers, residual=0.5):
    mixed = _mixed(layers, residual)[::-1]
    return np.linalg.multi_dot(mixed) if len(mixed) > 1 else mixed[0]


def rollout_by_vectors(layers, residual=0.5):
    """Row by row, keeping what the residual keeps and handing on the rest."""
    n = layers[0].shape[-1]
    found = []
    for start in range(n):
        share = [1.0 if i == start else 0.0 for i in range(n)]
        for weights in reversed(layers):
            mean = weights.mean(0)
            down = [sum(share[i] * float(mean[i, j]) for i in range(n)) for j in range(n)]
            share = [residual * share[j] + (1 - residual) * down[j] for j in range(n)]
        found.append(share)
    return found


def rollout_renormalised(layers, residual=0.5):
    """Rows divided by their sums, as in the paper's code; they sum to 1 already."""
    result = None
    for weights in np.array(layers):
        matrix = np.mean(weights, axis=0) * (1 - residual)
        matrix[np.diag_indices_from(matrix)] += residual
        matrix = matrix / matrix.sum(axis=-1, keepdims=True)
        result = matrix if result is None else np.einsum("ij,jk->ik", matrix, result)
    return result


def _mixed(layers, residual, heads=lambda weights: weights.mean(axis=0)):
    identity = np.eye(layers[0].shape[-1], dtype=layers[0].dtype)
    return [(1 - residual) * heads(weights) + residual * identity for weights in layers]


def _rows_to_one(matrix):
    return matrix / matrix.sum(axis=-1, keepdims=True)


def rolled(mix=_mixed, last_left=True, after=lambda matrix: matrix):
    """An `attention_rollout` with another matrix per layer, another order, or something done afterwards."""

    def rollout(layers, residual=0.5):
        product = None
        for matrix in mix(layers, residual):
            if product is None:
                product = matrix
            else:
                product = matrix @ product if last_left else product @ matrix
        return after(product)

    return rollout


def _without_identity(layers, residual):
    return [weights.mean(axis=0) for weights in layers]


def _by_heads(reduce):
    return lambda layers, residual: _mixed(layers, residual, reduce)


def _added_identity(layers, residual):
    identity = np.eye(layers[0].shape[-1], dtype=layers[0].dtype)
    return [weights.mean(axis=0) + residual * identity for weights in layers]


def _identity_added_whole(layers, residual):
    identity = np.eye(layers[0].shape[-1], dtype=layers[0].dtype)
    return [weights.mean(axis=0) + identity for weights in layers]


def _added_and_rescaled(layers, residual):
    return [_rows_to_one(matrix) for matrix in _added_identity(layers, residual)]


def _first_without(layers, residual):
    return [layers[0].mean(axis=0), *_mixed(layers, residual)[1:]]


def _each_head_alone(layers, residual=0.5):
    heads = [attention_rollout([weights[h : h + 1] for weights in layers], residual) for h in range(len(layers[0]))]
    return np.mean(heads, axis=0).astype(layers[0].dtype)


def _identity_at_the_end(layers, residual=0.5):
    return (1 - residual) * rolled(_without_identity)(layers) + residual * np.eye(
        layers[0].shape[-1], dtype=layers[0].dtype
    )


def _identity_added_to_the_product(layers, residual=0.5):
    identity = product = np.eye(layers[0].shape[-1], dtype=layers[0].dtype)
    for weights in layers:
        product = (1 - residual) * weights.mean(axis=0) @ product + residual * identity
    return product


def _mean_of_layers(layers, residual=0.5):
    return np.mean(_mixed(layers, residual), axis=0, dtype=layers[0].dtype)


def _elementwise(layers, residual=0.5):
    return np.prod(_mixed(layers, residual), axis=0)


def _reverses_the_list(layers, residual=0.5):
    layers.reverse()
    return rolled(last_left=False)(layers, residual)


def _pops_the_list(layers, residual=0.5):
    product = _mixed([layers.pop(0)], residual)[0]
    while layers:
        product = _mixed([layers.pop(0)], residual)[0] @ product
    return product


def _every_step(layers, residual=0.5):
    return [attention_rollout(layers[: count + 1], residual) for count in range(len(layers))]


def _default_only(layers, residual=0.5):
    return attention_rollout(layers)


def rollout_cases(rng):
    def maps(count, h, n, dtype=np.float64):
        return [weights_of(rng, h, n, n, dtype=dtype) for _ in range(count)]

    yield Case("one_layer", (maps(1, 3, 4),))
    yield Case("one_layer", (maps(1, 4, 4),))
    for count, h, n in ((2, 3, 4), (3, 2, 5), (4, 4, 4)):
        yield Case("product", (maps(count, h, n),))
    for residual in (0.0, 0.2, 0.9, 1.0):
        yield Case("residual", (maps(3, 2, 4), residual))
    yield Case("residual", (maps(2, 3, 3),), {"residual": 0.3})
    for count, h, n in ((3, 1, 4), (2, 3, 1), (1, 1, 1)):
        yield Case("small", (maps(count, h, n),))
    yield Case(KEEPS_DTYPE, (maps(3, 2, 4, np.float32), 0.4))


ROLLOUT_MISCONCEPTIONS = (
    Misconception(
        "first_layer_left",
        "right for one layer; for several the product is in the opposite order: a row of the last layer has to be read "
        "first, so the last layer stands leftmost",
        rolled(last_left=False),
    ),
    Misconception(
        "no_identity",
        "the product of the mean maps alone: what a token keeps of itself past each layer is left out",
        rolled(_without_identity),
    ),
    Misconception(
        "no_identity+first_layer_left",
        "no token keeps anything of itself, and the product is in the opposite order",
        rolled(_without_identity, last_left=False),
    ),
    Misconception(
        "largest_over_heads",
        "the largest weight over heads was taken, where their mean is wanted: rows then sum to more than 1",
        rolled(_by_heads(lambda weights: weights.max(axis=0))),
    ),
    Misconception(
        "largest_over_heads_rescaled",
        "the largest weight over heads was taken and rows brought back to 1: another map than the mean over heads",
        [
            rolled(_by_heads(lambda weights: _rows_to_one(weights.max(axis=0)))),
            rolled(lambda layers, r: [_rows_to_one(m) for m in _mixed(layers, r, lambda w: w.max(axis=0))]),
            rolled(_by_heads(lambda weights: weights.max(axis=0)), after=_rows_to_one),
        ],
    ),
    Misconception(
        "smallest_over_heads",
        "the smallest weight over heads was taken, where their mean is wanted",
        [
            rolled(_by_heads(lambda weights: weights.min(axis=0))),
            rolled(_by_heads(lambda weights: _rows_to_one(weights.min(axis=0)))),
        ],
    ),
    Misconception(
        "sum_over_heads",
        "the heads were added, where their mean is wanted: the numbers grow with the number of heads and layers",
        rolled(_by_heads(lambda weights: weights.sum(axis=0))),
    ),
    Misconception(
        "one_head",
        "one head alone was followed, where the mean over heads is wanted",
        [rolled(_by_heads(lambda weights: weights[0])), rolled(_by_heads(lambda weights: weights[-1]))],
    ),
    Misconception(
        "residual_swapped",
        "right for r = 0.5; otherwise the two shares are exchanged: r belongs to the identity, 1 − r to the map",
        rolled(lambda layers, residual: _mixed(layers, 1 - residual)),
    ),
    Misconception(
        "residual_ignored",
        "the share of the identity is one half whatever r is",
        [_default_only, rolled(lambda layers, r: [_rows_to_one(m) for m in _identity_added_whole(layers, r)])],
    ),
    Misconception(
        "added_identity",
        "the identity was added to the whole map, so rows sum to more than 1 and the product grows with every layer: "
        "the two are shares, 1 − r and r",
        [rolled(_added_identity), rolled(_identity_added_whole)],
    ),
    Misconception(
        "added_and_rescaled",
        "r I was added to the whole map and the rows brought back to 1: the token then keeps r / (1 + r) of itself, "
        "not r",
        rolled(_added_and_rescaled),
    ),
    Misconception(
        "first_layer_keeps_nothing",
        "the first layer went in without the identity: it too mixes, (1 − r) A + r I",
        rolled(_first_without),
    ),
    Misconception(
        "identity_at_the_end",
        "the identity was mixed in once, after the product: every layer keeps its own share",
        _identity_at_the_end,
    ),
    Misconception(
        "identity_added_to_the_product",
        "the identity was mixed with the product of the layers so far, not with this layer's map: a token then keeps "
        "itself as it was at the very beginning, not what it holds by now",
        _identity_added_to_the_product,
    ),
    Misconception(
        "first_layer_twice",
        "the first layer is in the product twice: once at the start, and once more in the loop",
        lambda layers, residual=0.5: attention_rollout([layers[0], *layers], residual),
    ),
    Misconception(
        "heads_apart",
        "each head was followed through all layers by itself and the average taken at the end: a layer reads what all "
        "heads of the layer below wrote together",
        _each_head_alone,
    ),
    Misconception(
        "mean_of_layers",
        "the layers were averaged: what layer 2 reads has been mixed by layer 1, which is a product",
        [_mean_of_layers, lambda layers, residual=0.5: np.sum(_mixed(layers, residual), axis=0)],
    ),
    Misconception(
        "elementwise",
        "the maps were multiplied entry by entry: a path from i over m to j is a sum over m, the matrix product",
        _elementwise,
    ),
    Misconception(
        "last_layer_only",
        "the last layer alone: what it reads has been mixed by the layers below",
        lambda layers, residual=0.5: _mixed(layers, residual)[-1],
    ),
    Misconception(
        "transposed",
        "rows and columns are exchanged: row i says what token i is made of, and sums to 1",
        [rolled(after=np.transpose), rolled(lambda layers, r: [m.T for m in _mixed(layers, r)])],
    ),
    Misconception(
        "every_step",
        "one matrix per layer is returned: wanted is the last one, (n, n)",
        [_every_step, lambda layers, residual=0.5: np.stack(_every_step(layers, residual))],
    ),
    Misconception(
        "without_diagonal",
        "what a token keeps of itself was taken out of the result",
        [
            rolled(after=lambda matrix: matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))),
            rolled(after=lambda matrix: matrix - np.eye(len(matrix), dtype=matrix.dtype)),
        ],
    ),
    Misconception(
        "float64",
        "float32 weights give a float64 matrix: np.eye and np.zeros make float64 unless told otherwise",
        rolled(after=lambda matrix: matrix.astype(np.float64)),
    ),
    Misconception(
        "changes_the_list",
        "the list given is another after the call: reverse and pop change it in place",
        [_reverses_the_list, _pops_the_list],
    ),
)


REFERENCES = (
    Reference(
        id="plot_attention",
        reference=plot_attention,
        accepted=(plot_by_matshow, plot_from_below, plot_reversed, plot_in_units, plot_with_pyplot),
        misconceptions=PLOT_MISCONCEPTIONS,
        cases=plot_cases,
        view=seen,
    ),
    Reference(
        id="sharper_head",
        reference="A",
        accepted=("a", "head A", np.str_("A")),
        misconceptions=SHARPER,
        cases=lambda rng: [Case("prediction")],
        view=as_option,
    ),
    Reference(
        id="head_stats",
        reference=head_stats,
        accepted=(stats_by_loops, stats_by_einsum, stats_by_masked_log, stats_with_epsilon),
        misconceptions=STATS_MISCONCEPTIONS,
        cases=stats_cases,
        view=one_statistic,
    ),
    Reference(
        id="attention_rollout",
        reference=attention_rollout,
        accepted=(rollout_from_the_top, rollout_by_multi_dot, rollout_by_vectors, rollout_renormalised),
        misconceptions=ROLLOUT_MISCONCEPTIONS,
        cases=rollout_cases,
    ),
)
