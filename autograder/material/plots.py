"""Figures that look alike in every notebook: colours, heatmaps, and PNG output with alt text."""

import io

import matplotlib.pyplot as plt
from IPython.display import Image, display

# Okabe and Ito's palette, told apart by colour-blind readers. The same thing has the same colour in every notebook.
COLOURS = {
    "query": "#0072B2",
    "key": "#D55E00",
    "value": "#009E73",
    "output": "#CC79A7",
    "truth": "#000000",
    "data": "#999999",
    "other": "#E69F00",
}

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.figsize": (7.5, 3.2),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "font.size": 10,
        "legend.frameon": False,
    }
)


def heatmap(matrix, rows, columns, ax=None, *, title="", limits=(0.0, 1.0), numbers=True, cmap="Blues"):
    """Draw a matrix with its entries written in, queries as rows and keys as columns.

    matrix:  (len(rows), len(columns)) numbers.
    limits:  (low, high) of the colour scale; weights keep 0 to 1, so that two maps can be compared.
    numbers: whether to write each entry, to two decimals.
    Returns the Axes.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(1.2 + 0.62 * len(columns), 0.9 + 0.45 * len(rows)))
    low, high = limits
    ax.imshow(matrix, cmap=cmap, vmin=low, vmax=high, aspect="auto")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=10)
    if numbers:
        for i in range(len(rows)):
            for j in range(len(columns)):
                dark = (matrix[i][j] - low) / (high - low) > 0.6
                ax.text(j, i, f"{matrix[i][j]:.2f}", ha="center", va="center", fontsize=8, color="w" if dark else "k")
    return ax


def show(figure, alt):
    """Display a figure as PNG with alternative text for screen readers, and close it.

    figure: a matplotlib Figure, or an Axes of it.
    alt:    one or two sentences that say what the figure shows.
    """
    figure = getattr(figure, "figure", figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    display(Image(buffer.getvalue(), format="png", alt=alt))
