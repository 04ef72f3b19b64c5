"""What a wrong array shows by itself, when no known mistake gives its numbers."""

from __future__ import annotations

import numpy as np

MOST = 3


def facts(wanted: np.ndarray, got: np.ndarray) -> tuple[str, ...]:
    """Return up to three true sentences on how two arrays of one shape relate; the most telling first."""
    if wanted.shape != got.shape or wanted.size < 2:
        return ()
    if wanted.dtype.kind == "b" and got.dtype.kind == "b":
        return _boolean(wanted, got)
    if wanted.dtype.kind not in "fiu" or got.dtype.kind not in "fiu" or not np.isfinite(wanted).all():
        return ()
    wanted, got = wanted.astype(float), got.astype(float)
    if not np.isfinite(got).all():
        return _not_finite(got)
    found = [*_scaling(wanted, got), *_rearranged(wanted, got), *_sums(wanted, got)]
    return tuple(found[:MOST])


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-4, atol=1e-6))


def _boolean(wanted: np.ndarray, got: np.ndarray) -> tuple[str, ...]:
    if (got == ~wanted).all():
        return ("every entry is the opposite of what is wanted",)
    if got.ndim >= 2 and got.shape[-1] == got.shape[-2] and (got.swapaxes(-1, -2) == wanted).all():
        return ("transposed, it is what is wanted",)
    return (f"{int(got.sum())} entries are True, wanted {int(wanted.sum())}",)


def _not_finite(got: np.ndarray) -> tuple[str, ...]:
    counts = {"NaN": int(np.isnan(got).sum()), "infinite": int(np.isinf(got).sum())}
    return tuple(f"{n} of {got.size} entries are {name}" for name, n in counts.items() if n)


def _scaling(wanted: np.ndarray, got: np.ndarray) -> list[str]:
    nonzero = np.abs(wanted) > 1e-12
    if nonzero.all():
        ratio = got / wanted
        same = _close(ratio, np.full_like(ratio, ratio.flat[0]))
        if same and abs(ratio.flat[0]) > 1e-9 and abs(ratio.flat[0] - 1) > 1e-3:
            return [f"every entry is {ratio.flat[0]:.5g} times the wanted one"]
    offset = got - wanted
    if _close(offset, np.full_like(offset, offset.flat[0])) and abs(offset.flat[0]) > 1e-5:
        return [f"every entry is the wanted one plus {offset.flat[0]:.5g}"]
    if np.abs(got).max() == 0:
        return ["every entry is 0"]
    if _close(got, np.full_like(got, got.flat[0])):
        return ["all entries are equal"]
    return []


def _rearranged(wanted: np.ndarray, got: np.ndarray) -> list[str]:
    if got.ndim >= 2 and got.shape[-1] == got.shape[-2] and _close(got.swapaxes(-1, -2), wanted):
        return ["with its last two axes swapped, it is what is wanted"]
    for axis in range(got.ndim):
        if got.shape[axis] > 1 and _close(np.flip(got, axis), wanted):
            return [f"reversed along axis {axis}, it is what is wanted"]
    if _close(np.sort(got, axis=None), np.sort(wanted, axis=None)):
        return ["it holds the wanted numbers in another order"]
    if got.shape[0] > 1 and (same := [i for i in range(got.shape[0]) if _close(got[i], wanted[i])]):
        return [f"along the first axis, entries {', '.join(map(str, same[:6]))} are right"]
    return []


def _sums(wanted: np.ndarray, got: np.ndarray) -> list[str]:
    """Sums along axes, told where the wanted array sums to 1 along one."""
    ones = [axis for axis in range(wanted.ndim) if _close(wanted.sum(axis), np.ones_like(wanted.sum(axis)))]
    if not ones or wanted.shape[ones[-1]] == 1:
        return []
    sums = got.sum(ones[-1])
    place = "it sums" if got.ndim == 1 else f"along axis {ones[-1]} it sums"
    if _close(sums, np.ones_like(sums)):
        return [f"{place} to 1, as it should"]
    low, high = f"{sums.min():.4g}", f"{sums.max():.4g}"
    found = f"{place} to {low}, not to 1" if low == high else f"{place} to between {low} and {high}, not to 1"
    others = [a for a in range(got.ndim) if a not in ones and _close(got.sum(a), np.ones_like(got.sum(a)))]
    return [found] + [f"it sums to 1 along axis {a} instead" for a in others[:1]]
