"""The first difference between a wanted and a received result: structure, shape, dtype, finite, values.

Results are compared whole; then the first wrong place is named. Tolerances come from one table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autograder.plain import Unreadable, describe

# (rtol, atol) for comparing floats of each precision; two precisions are compared as the coarser one.
TOLERANCES = {
    np.dtype(np.float16): (2e-3, 1e-3),
    np.dtype(np.float32): (1e-4, 1e-5),
    np.dtype(np.float64): (1e-6, 1e-8),
}


@dataclass(frozen=True)
class Difference:
    """Where two results first differ.

    kind:   structure, shape, dtype, finite or values.
    wanted: what should be there, in words; got: what is there.
    arrays: the wanted and the received array, when both exist with one shape.
    """

    kind: str
    wanted: str
    got: str
    arrays: tuple[np.ndarray, np.ndarray] | None = None


def difference(
    wanted: Any,
    got: Any,
    *,
    names: tuple[str, ...] = (),
    axes: dict[str, str] | None = None,
    relative: bool = False,
    dtypes: bool = False,
    path: str = "",
) -> Difference | None:
    """Return the first difference of two plain values, or None when they agree.

    names:    names of the parts of a tuple result.
    axes:     axis names by part name.
    relative: judge by relative error alone.
    dtypes:   whether float32 where float64 is wanted (or the reverse) is a difference; the kind of number always is.
    """
    label = path or "the result"
    axes = axes or {}
    if isinstance(got, Unreadable):
        return Difference("structure", describe(wanted), f"{label} is {got.what}")
    if got is None and wanted is not None:
        return Difference("structure", _ask(wanted, names, axes), f"{label} is None; is a return missing?")
    options = {"axes": axes, "relative": relative, "dtypes": dtypes}
    if isinstance(wanted, np.ndarray):
        return _array(wanted, got, label, axes.get(path or "result", ""), relative, dtypes)
    if isinstance(wanted, dict):
        return _dict(wanted, got, label, options)
    if isinstance(wanted, set):
        if not isinstance(got, (set, tuple, list)) or any(isinstance(item, (list, dict, np.ndarray)) for item in got):
            return Difference("structure", describe(wanted), f"{label} is {describe(got)}")
        return None if set(got) == wanted else Difference("values", describe(wanted), f"{label} is {describe(got)}")
    if isinstance(wanted, (tuple, list)):
        return _sequence(wanted, got, label, names, path, options)
    return _scalar(wanted, got, label, relative)


def _ask(wanted: Any, names: tuple[str, ...], axes: dict[str, str]) -> str:
    if isinstance(wanted, tuple) and len(names) == len(wanted):
        return "(" + ", ".join(names) + ")"
    return describe(wanted, axes.get("result", ""))


def _dict(wanted: dict, got: Any, label: str, options: dict) -> Difference | None:
    keys = ", ".join(map(str, wanted))
    if not isinstance(got, dict):
        return Difference("structure", f"a dict with {keys}", f"{label} is {describe(got)}")
    missing = [str(key) for key in wanted if key not in got]
    extra = [str(key) for key in got if key not in wanted]
    if missing or extra:
        lacking = f"; missing: {', '.join(missing)}" if missing else ""
        surplus = f"; not asked for: {', '.join(extra)}" if extra else ""
        return Difference("structure", f"a dict with {keys}", f"{label} is {describe(got)}{lacking}{surplus}")
    for key, item in wanted.items():
        found_here = difference(item, got[key], path=str(key), **options)
        if found_here:
            return found_here
    return None


def _sequence(wanted: Any, got: Any, label: str, names: tuple[str, ...], path: str, options: dict) -> Difference | None:
    named = names if isinstance(wanted, tuple) and len(names) == len(wanted) else ()
    if isinstance(got, np.ndarray) and not named and got.ndim >= 1:
        got = got.tolist() if got.ndim == 1 else list(got)
    if not isinstance(got, (tuple, list)):
        ask = f"({', '.join(named)})" if named else f"{len(wanted)} items"
        return Difference("structure", ask, f"{label} is {describe(got)}")
    if len(got) != len(wanted):
        ask = f"{len(wanted)} results: ({', '.join(named)})" if named else f"{len(wanted)} items"
        return Difference("structure", ask, f"{label} has {len(got)}: {describe(got)}")
    for index, (a, b) in enumerate(zip(wanted, got, strict=True)):
        here = named[index] if named else f"{path or 'result'}[{index}]"
        found = difference(a, b, path=here, **options)
        if found:
            return found
    return None


def _scalar(wanted: Any, got: Any, label: str, relative: bool) -> Difference | None:
    if isinstance(got, np.ndarray):
        if got.ndim:
            return Difference("shape", f"{label} a single value", f"{label} {describe(got)}")
        got = got.item()
    if wanted is None or isinstance(wanted, (bool, str)):
        if type(got) is not type(wanted):
            return Difference("structure", f"{label} {describe(wanted)}", f"{label} {describe(got)}")
        return (
            None if got == wanted else Difference("values", f"{label} {describe(wanted)}", f"{label} {describe(got)}")
        )
    if isinstance(got, bool) or not isinstance(got, (int, float, complex)):
        return Difference("structure", f"{label} a number", f"{label} is {describe(got)}")
    if isinstance(wanted, int) and isinstance(got, (int, float)):
        if got == wanted:
            return None
    else:
        got = _as_float(got)
        rtol, atol = TOLERANCES[np.dtype(np.float64)]
        if np.isclose(got, wanted, rtol=rtol, atol=0.0 if relative else atol, equal_nan=True):
            return None
    kind = "values" if np.isfinite(_as_float(got)) or not np.isfinite(_as_float(wanted)) else "finite"
    return Difference(kind, f"{label} = {_number(wanted)}", f"{label} = {_number(got)}")


def _as_float(number: Any) -> Any:
    """A whole number as a float, for NumPy, which knows none beyond 64 bits."""
    try:
        return float(number) if isinstance(number, int) else number
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def as_array(got: Any) -> np.ndarray | None:
    """Read nested lists, tuples and numbers as an array of numbers; None if they are not one."""
    if isinstance(got, np.ndarray):
        return got
    if isinstance(got, (set, dict, str, Unreadable)) or got is None:
        return None
    try:
        array = np.asarray(got)
    except (ValueError, TypeError):  # ragged
        return None
    return array if array.dtype.kind in "biufc" else None


def _array(wanted: np.ndarray, got: Any, label: str, axes: str, relative: bool, dtypes: bool) -> Difference | None:
    array = as_array(got)
    if array is None:
        return Difference("structure", f"{label} {describe(wanted, axes)}", f"{label} is {describe(got)}")
    ask = f"{label} {describe(wanted, axes)}"
    if array.shape != wanted.shape:
        return Difference("shape", ask, f"{label} {describe(array)}")
    if not _kinds_fit(wanted, array) and array.size:
        return Difference("dtype", ask, f"{label} {describe(array)}")
    if dtypes and isinstance(got, np.ndarray) and array.dtype != wanted.dtype:
        return Difference("dtype", ask, f"{label} {describe(array)}")
    if wanted.dtype.kind in "biuUS":
        wrong = array != wanted
    else:
        rtol, atol = tolerance(wanted.dtype, array.dtype)
        with np.errstate(all="ignore"):
            wrong = ~np.isclose(array, wanted, rtol=rtol, atol=0.0 if relative else atol, equal_nan=True)
    if not wrong.any():
        return None
    return _first_wrong(wanted, array, wrong, label)


def _kinds_fit(wanted: np.ndarray, got: np.ndarray) -> bool:
    allowed = {"b": "b", "i": "iu", "u": "iu", "f": "fiu", "c": "cfiu"}
    return got.dtype.kind in allowed.get(wanted.dtype.kind, wanted.dtype.kind)


def tolerance(*dtypes: np.dtype) -> tuple[float, float]:
    """(rtol, atol) of the coarsest of some float dtypes; others count as float64."""
    return max(TOLERANCES.get(dtype, TOLERANCES[np.dtype(np.float64)]) for dtype in dtypes)


def _first_wrong(wanted: np.ndarray, got: np.ndarray, wrong: np.ndarray, label: str) -> Difference:
    broken = ~np.isfinite(got) & np.isfinite(wanted) if wanted.dtype.kind == "f" else np.zeros_like(wrong)
    kind = "finite" if broken.any() else "values"
    if kind == "finite":
        index = tuple(int(i) for i in np.argwhere(broken)[0])
    elif wanted.dtype.kind in "bUS":
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
    else:
        with np.errstate(all="ignore"):
            error = np.abs(got.astype(complex) - wanted)
        error = np.where(wrong, np.where(np.isnan(error), np.inf, error), -1)
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape))
    place = f"{label}[{', '.join(map(str, index))}]" if index else label
    counted, what = (broken, "are not finite") if kind == "finite" else (wrong, "differ")
    count = f"; {int(counted.sum())} of {wrong.size} entries {what}" if wrong.size > 1 else ""
    return Difference(
        kind,
        f"{place} = {_number(wanted[index])}",
        f"{place} = {_number(got[index])}{count}",
        (wanted, got),
    )


def _number(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    return f"{value:.5g}" if isinstance(value, float) else str(value)
