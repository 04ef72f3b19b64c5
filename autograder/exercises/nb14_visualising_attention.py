"""Notebook 14, the visible half: a map of attention drawn so that it can be read, and numbers that go with it."""

import copy
from typing import Any
from unittest import mock

import numpy as np

from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, call_answer, take_answer
from autograder.plain import Unreadable, dumps, to_plain

NOTEBOOK = "14_visualising_attention"

NEAR = 0.25  # of a cell: a tick this close to the middle of a row or column belongs to it
PROBES = (0.0, 0.25, 0.5, 0.75, 1.0)  # weights whose place on the colour scale is read

SIZE: Any = {
    "figure.figsize": (6.4, 4.8),
    "figure.dpi": 100,
    "font.size": 10,
}  # where automatic ticks fall depends on it

_last: dict = {}  # the last drawing that was read: several checks look at one


def axes_beside_another():
    """The left one of two Axes; the right one is pyplot's current Axes."""
    import matplotlib.pyplot as plt

    with plt.rc_context(SIZE):
        _, (left, right) = plt.subplots(1, 2)
    plt.sca(right)
    return left


def call_and_read(answer, inputs, keywords):
    """Let an answer draw, and read its picture as plain data; the figures are closed and never shown.

    inputs: (weights, q_tokens, k_tokens); keywords may hold `ax`. Several checks judge the same drawing, so that the
    same answer on the same inputs draws once.
    """
    import matplotlib.pyplot as plt

    drawn = None if keywords else dumps(to_plain(list(inputs)))
    if drawn is not None and _last.get("answer") is answer and _last["drawn"] == drawn:
        _leave_as_then(inputs, _last["after"])
        return _last["picture"]
    before, given = set(plt.get_fignums()), keywords.get("ax")
    try:
        with plt.rc_context(SIZE), plt.ioff(), mock.patch.object(plt, "show"):
            if given is None:
                plt.figure()  # so that nothing is drawn on a figure of the learner's that is still open
            picture = read_axes(call_answer(answer, inputs, keywords), given)
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
        if given is not None:
            plt.close(given.figure)
    if drawn is not None:
        _last.update(answer=answer, drawn=drawn, picture=picture, after=copy.deepcopy(inputs))
    return picture


def _leave_as_then(inputs, after):
    """Leave the inputs as the call whose drawing is used again left its own."""
    for item, left in zip(inputs, after, strict=True):
        if isinstance(item, (list, np.ndarray)):
            item[:] = left


def read_axes(ax, given=None):
    """What is seen on an Axes, as plain data.

    Returns a dict: `cells` (rows, columns), the image's numbers from top to bottom and left to right; `rows` and
    `columns`, the tick text beside each; `xlabel`, `ylabel`; `limits`, those of the colour scale, and `scale`, where on
    it the weights 0, ¼, ½, ¾ and 1 lie; `colourbars`, the limits of each; `where`, whether the Axes is
    the one given and the others stayed empty. What cannot be read so is `Unreadable`.
    """
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        if ax is None:
            return None
        return Unreadable(f"an object of type {type(ax).__name__}; return the Axes that was drawn on")
    bars = [found for panel in ax.figure.axes if (found := getattr(panel, "_colorbar", None)) is not None]
    found = {
        "xlabel": ax.get_xlabel(),
        "ylabel": ax.get_ylabel(),
        "colourbars": [tuple(map(float, bar.mappable.get_clim())) for bar in bars],
        "where": _where(ax, given),
    }
    return found | _image(ax)


def _where(ax, given):
    if given is None:
        return "a new Axes"
    if ax is not given:
        return "another Axes than the one given"
    others = [panel for panel in given.figure.axes if panel is not given and not hasattr(panel, "_colorbar")]
    written = (text for panel in others for text in (panel.get_xlabel(), panel.get_ylabel(), panel.get_title()))
    if any(panel.has_data() for panel in others):
        return "another Axes as well"
    return "a label or title on another Axes" if any(written) else "the Axes given"


def _image(ax):
    """What the one image shows, or why there is none to read."""
    if len(ax.images) != 1:
        mesh = [type(item).__name__ for item in ax.collections]
        what = f"an Axes with {len(ax.images)} images"
        if mesh and not ax.images:
            what = f"an Axes without an image: what was drawn is a {mesh[0]}, as of pcolormesh or scatter"
        problem = Unreadable(f"{what}; draw the weights once, with imshow")
        return dict.fromkeys(("cells", "rows", "columns", "limits", "scale"), problem)
    image = ax.images[0]
    low, high = map(float, image.get_clim())
    cells: np.ndarray = np.ma.filled(np.ma.asarray(image.get_array(), dtype=float), np.nan)
    if cells.ndim != 2:
        problem = Unreadable(f"an image of colours, {cells.shape}; give imshow the weights, (Tq, Tk)")
        return dict.fromkeys(("cells", "rows", "columns", "limits", "scale"), problem)
    scale: np.ndarray = np.ma.filled(np.ma.asarray(image.norm(np.array(PROBES)), dtype=float), np.nan)
    y, x = (_centres(ax, image, axis, cells.shape) for axis in (0, 1))
    down = sorted(y, key=lambda place: -_on_screen(ax, y[place], 0))
    right = sorted(x, key=lambda place: _on_screen(ax, x[place], 1))
    near_y, near_x = (NEAR * abs(end - start) / n for start, end, n in _spans(image, cells.shape))
    return {
        "cells": cells[np.ix_(down, right)] if down and right else np.zeros((len(down), len(right))),
        "rows": _texts_at([y[place] for place in down], near_y, ax.yaxis),
        "columns": _texts_at([x[place] for place in right], near_x, ax.xaxis),
        "limits": (low, high),
        "scale": scale,
    }


def _spans(image, shape):
    """Where row 0 begins and the last row ends, in data units, and how many there are; then the same of columns."""
    left, right, bottom, top = image.get_extent()
    rows = (bottom, top) if image.origin == "lower" else (top, bottom)
    return (*rows, shape[0]), (left, right, shape[1])


def _centres(ax, image, axis, shape):
    """Where the rows (axis 0) or columns (axis 1) of an image lie, {index: middle in data units}, if they are seen."""
    start, end, n = _spans(image, shape)[axis]
    low, high = sorted(ax.get_xlim() if axis else ax.get_ylim())
    middles = {i: start + (i + 0.5) * (end - start) / n for i in range(n)}
    return {i: middle for i, middle in middles.items() if low <= middle <= high}


def _on_screen(ax, middle, axis):
    return ax.transData.transform((middle, 0) if axis else (0, middle))[0 if axis else 1]


def _texts_at(middles, near, ruler):
    """For each middle of a row or column, the nearest tick text on its axis; "" if none is near."""
    labels = (*ruler.get_majorticklabels(), *(ruler.get_minorticklabels() if len(ruler.get_minorticklocs()) else ()))
    along = 0 if ruler.axis_name == "x" else 1
    texts = [(label.get_position()[along], label.get_text()) for label in labels if label.get_visible()]
    found = []
    for middle in middles:
        close = [(abs(place - middle), text) for place, text in texts if text and abs(place - middle) <= near]
        found.append(min(close)[1] if close else "")
    return found


EXERCISES = (
    Exercise(
        id="plot_attention",
        kind="V",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "plot_attention(weights, q_tokens, k_tokens, ax=None) → Axes\n"
            "weights: (Tq, Tk) float between 0 and 1; a row need not sum to 1\n"
            "q_tokens, k_tokens: lists of Tq and Tk texts; a text may occur twice\n"
            "ax: the Axes to draw on; None makes a new figure\n"
            "Axes: the one drawn on, with one image (imshow) of the weights as they are: queries down, the first on "
            'top, keys to the right; every token as a tick text; a y label that contains "quer" and an x label that '
            'contains "key"; an even colour scale from 0 to 1, and a colourbar'
        ),
        section="What a map must say by itself",
        hints=(
            "Of a picture without words, which four things could nobody know: about rows, columns, tokens, colours?",
            "One imshow with vmin and vmax on ax (plt.subplots() gives a new one); set_xticks and set_yticks take "
            "places and texts, Tk and Tq of them; set_xlabel, set_ylabel; ax.figure.colorbar(image, ax=ax); return ax.",
            "image = ax.imshow(weights, vmin=0, vmax=____)",
        ),
        checks=(
            Check("cells", 2, "one image: weights[i, j] in row i from the top and column j from the left, unchanged"),
            Check("tick_texts", 2, "each query token beside its row and each key token under its column"),
            Check("axis_labels", 1, 'a y label that contains "quer" and an x label that contains "key"'),
            Check("colour_scale", 2, "an even colour scale from 0 to 1, whatever the weights are"),
            Check("colourbar", 1, "one colourbar, from 0 to 1"),
            Check("given_axes", 1, "the Axes given drawn on and returned, the other Axes left as they were"),
            Check(INPUTS_UNCHANGED, 1, "weights and both lists as they were before the call"),
        ),
        axes={"weights": "Tq Tk", "cells": "Tq Tk"},
        builders={"axes_beside_another": axes_beside_another},
        call=call_and_read,
    ),
    Exercise(
        id="sharper_head",
        kind="P",
        notebook=NOTEBOOK,
        minutes=1,
        difficulty=1,
        contract='sharper_head = "A", "B" or "neither": which of the two heads puts its weight on fewer keys',
        section="A puzzle: which head is sharper?",
        hints=(
            "What is the largest weight in each picture, read from its own colourbar?",
            "A head is sharp if its rows hold a few large weights and many small ones. Read the darkest colour of each "
            "picture as a number; a row of eight equal weights has 0.125 everywhere.",
            'sharper_head = "____"',
        ),
        checks=(Check("prediction", 1, "the head whose rows have the lower entropy"),),
        call=take_answer,
    ),
    Exercise(
        id="head_stats",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "head_stats(weights) → stats\n"
            "weights: (h, n, n) float; a row sums to 1, or is all 0 if its query may attend to nothing\n"
            'stats: a dict of "entropy" and "distance", each (h,) in the dtype of weights, the mean over all n queries '
            "of a head\n"
            "entropy of a query: −Σ_j w_j ln w_j, in nats, where a weight of 0 adds 0\n"
            "distance of a query: Σ_j w_j |i − j|, in tokens\n"
            "an empty row counts as 0 in both"
        ),
        section="How sharp, and how far",
        hints=(
            "A row (½, ½, 0) has entropy ln 2. What does your line give for the term of its 0?",
            "Both are sums over keys, the last axis, and then means over queries: (h, n, n) → (h, n) → (h,). For the "
            "entropy put 1 in place of weights of 0 inside the logarithm. The table |i − j|, (n, n), broadcasts over "
            "heads.",
            "entropy = -(weights * np.log(np.where(weights > 0, weights, ____))).sum(axis=-1).mean(axis=-1)",
        ),
        checks=(
            Check("entropy", 2, "for each head, the mean over queries of the entropy of its row, in nats"),
            Check("distance", 2, "for each head, the mean over queries of the expected |i − j|"),
            Check("zero_weights", 1, "weights of 0 that add nothing, to either number"),
            Check("empty_rows", 1, "a row without keys counted as 0, and its query counted in the mean"),
            Check("small", 1, "the same for one head and for one token"),
            Check(KEEPS_DTYPE, 1, "both in the dtype of weights"),
            Check(INPUTS_UNCHANGED, 1, "weights as they were before the call"),
        ),
        axes={"weights": "h n n", "entropy": "h", "distance": "h"},
    ),
    Exercise(
        id="attention_rollout",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "attention_rollout(layers, residual=0.5) → rollout\n"
            "layers: a list of (h, n, n) float, the weights of each layer, the first layer first; each row sums to 1\n"
            "residual: r, the share that a token keeps of itself in each layer, a number from 0 to 1\n"
            "rollout: (n, n) in the dtype of the weights; in each layer A' = (1 − r) A + r I, with A the mean over "
            "heads; then the matrix product of all layers, the first one rightmost"
        ),
        section="Through several layers",
        hints=(
            "Row i of the last layer says which tokens of the layer below are read. Which factor says what those read?",
            "Per layer: the mean over heads, (n, n), mixed with the identity. Keep a running product that starts as "
            "the identity, and multiply each later layer from the left: (n, n) @ (n, n).",
            "rollout = ((1 - residual) * weights.mean(axis=0) + residual * ____) @ rollout",
        ),
        checks=(
            Check("one_layer", 1, "for one layer, the mean over heads mixed with the identity"),
            Check("product", 3, "for several layers, their matrix product, the first layer rightmost"),
            Check("residual", 2, "the share of the identity as given, from 0 to 1"),
            Check("small", 1, "the same for one head and for one token"),
            Check(KEEPS_DTYPE, 1, "the dtype of the weights"),
            Check(INPUTS_UNCHANGED, 1, "the list and its arrays as they were before the call"),
        ),
        axes={"result": "n n"},
    ),
    Exercise(
        id="reflection_14",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_14 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "Which numbers stand in a map, and which other numbers does a head multiply them by?",
            "Go through the sentence to be judged word by word: what was drawn and on which scale; what the row sums "
            "to; what happens to the weights afterwards: values, the output matrix, the residual, further layers.",
            "the map shows how much of ____ is taken, and not ____",
        ),
        checks=(
            Check("reads", 1, "a map shows where a head reads, not what is read there nor what is done with it"),
            Check("value", 1, "a large weight on a small value vector moves little; equal maps can have other effects"),
            Check("scale", 1, "names the scale: without limits or a colourbar two maps cannot be compared"),
            Check("test", 1, "says what else to measure: the norm of what is read, or the output without that head"),
        ),
        call=take_answer,
    ),
)
