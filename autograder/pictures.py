"""A small picture of a wanted and a received array, as inline SVG: one slice of each, on one colour scale."""

from __future__ import annotations

import numpy as np

CELL, MOST, GAP = 14, 12, 40


def side_by_side(wanted: np.ndarray, got: np.ndarray) -> str:
    """Return SVG of the 2-D slice where two arrays differ most, or "" where a picture would not help."""
    if wanted.shape != got.shape or wanted.ndim == 0 or wanted.size < 4 or wanted.dtype.kind not in "biuf":
        return ""
    if got.dtype.kind not in "biuf":
        return ""
    wanted, got = np.atleast_2d(wanted.astype(float)), np.atleast_2d(got.astype(float))
    while wanted.ndim > 2:
        worst = _worst_first(wanted, got)
        wanted, got = wanted[worst], got[worst]
    wanted, got = wanted[:MOST, :MOST], got[:MOST, :MOST]
    top = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)) or 1.0
    rows, columns = wanted.shape
    width, height = 2 * columns * CELL + GAP, rows * CELL + 16
    right = columns * CELL + GAP
    return (
        f'<svg role="img" aria-label="wanted and got, one slice of {rows} by {columns}, on one colour scale" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-size="11" '
        'style="margin:.3em 0 .1em 5.3em;display:block;max-width:100%" fill="currentColor">'
        f'<text x="0" y="11">wanted</text><text x="{right}" y="11">got</text>'
        + _cells(wanted, 0, top)
        + _cells(got, right, top)
        + "</svg>"
    )


def _worst_first(wanted: np.ndarray, got: np.ndarray) -> int:
    with np.errstate(all="ignore"):
        error = np.abs(wanted - got)
    error = np.where(np.isfinite(error), error, np.inf).reshape(len(error), -1).max(axis=1)
    return int(np.argmax(error))


def _cells(matrix: np.ndarray, left: int, top: float) -> str:
    drawn = []
    for (i, j), value in np.ndenumerate(matrix):
        x, y = left + j * CELL, 16 + i * CELL
        if not np.isfinite(value):
            drawn.append(f'<text x="{x + 3}" y="{y + 11}">×</text>')
            fill, strength = "#8A8A8A", 0.15
        else:
            fill = "#0072B2" if value >= 0 else "#D55E00"
            strength = 0.06 + 0.94 * min(abs(value) / top, 1.0)
        size = f'width="{CELL - 1}" height="{CELL - 1}"'
        drawn.append(f'<rect x="{x}" y="{y}" {size} fill="{fill}" fill-opacity="{strength:.2f}"/>')
    return "".join(drawn)
