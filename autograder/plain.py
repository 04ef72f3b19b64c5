"""Plain data: what crosses the line between a learner's code and the judge, in memory or through a file.

A plain value is None, a bool, int, float, complex or str, a NumPy array of numbers, booleans or text, a tuple, list,
dict or set of plain values, or one of the three records that stand for something else: `Seed`, `Built`, `Unreadable`.
Nothing here calls a method that a learner could have overridden, and nothing is pickled.
"""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograder.exercise import Built, Seed

MAX_DEPTH = 12
MAX_ITEMS = 200_000  # Python objects in nested lists; arrays count as one
MAX_ARRAY = 1 << 28  # bytes of one array
MAX_BITS = 4096  # of one whole number; Python refuses to write out much larger ones


@dataclass(frozen=True)
class Unreadable:
    """A result that is not plain data: what it is, and what to return instead."""

    what: str


_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))

PLACEHOLDER = Unreadable("..., the placeholder")


class NotPlain(ValueError):
    """Bytes that do not hold a plain value."""


def to_plain(value: Any) -> Any:
    """Copy a value into plain data; whatever cannot be read becomes `Unreadable`, never an exception."""
    try:
        return _to_plain(value, 0, [0])
    except Exception as error:  # a learner's class may fail in any way while it is read
        return Unreadable(f"an object of type {type(value).__name__} that cannot be read ({type(error).__name__})")


def _to_plain(value: Any, depth: int, count: list[int]) -> Any:
    kind = type(value)
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MAX_ITEMS:
        return Unreadable("nested lists too deep or too long to read; return an array")
    if kind is int and int.bit_length(value) > MAX_BITS:
        return Unreadable(f"a whole number of {int.bit_length(value)} bits")
    if value is None or kind in (bool, int, float, complex, str, Seed, Built, Unreadable):
        return value
    if issubclass(kind, np.generic):
        return _plain_array(np.asarray(value))
    if issubclass(kind, np.ma.MaskedArray):
        return Unreadable("a masked array; return a plain array, with .filled(…)")
    if issubclass(kind, np.ndarray):
        return _plain_array(np.ndarray.view(value, np.ndarray))
    torch = sys.modules.get("torch")
    if torch is not None and issubclass(kind, torch.Tensor):
        return _plain_tensor(value, torch)
    if issubclass(kind, tuple):
        return tuple(_to_plain(item, depth + 1, count) for item in tuple.__iter__(value))
    if issubclass(kind, list):
        return [_to_plain(item, depth + 1, count) for item in list.__iter__(value)]
    if issubclass(kind, dict):
        return {_plain_key(key): _to_plain(item, depth + 1, count) for key, item in dict.items(value)}
    if issubclass(kind, (set, frozenset)):
        read = set.__iter__ if issubclass(kind, set) else frozenset.__iter__
        items = [_scalar(_to_plain(item, depth + 1, count)) for item in read(value)]
        return {item if isinstance(item, (str, int, float, tuple)) else str(item) for item in items}
    if value is Ellipsis:
        return PLACEHOLDER
    if kind in (range, *_VIEWS):
        return [_to_plain(item, depth + 1, count) for item in value]
    if issubclass(kind, str):  # these three: subclasses, such as enumerations
        return str.__str__(value)
    if issubclass(kind, int):
        return int.__int__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    return Unreadable(_what_it_is(value, kind))


def _what_it_is(value: Any, kind: type) -> str:
    name = kind.__name__
    if name in ("generator", "map", "filter", "zip", "enumerate", "reversed"):
        return f"a {name}; collect its items in an array or a list"
    if name in ("function", "builtin_function_or_method", "method", "type"):
        return "a function or class; was it meant to be called?"
    return f"an object of type {name}; return arrays, numbers, strings, or tuples, lists and dicts of them"


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _plain_key(key: Any) -> Any:
    if type(key) in (str, int, bool, float) or key is None:
        return key
    if issubclass(type(key), str):
        return str.__str__(key)
    return type(key).__name__


def _plain_array(array: np.ndarray) -> Any:
    if array.dtype == object:
        array = np.array(array.tolist())
    if array.dtype.kind not in "biufcUS":
        return Unreadable(f"an array of {array.dtype}; return one of numbers")
    if array.nbytes > MAX_ARRAY:
        return Unreadable(f"an array of {array.nbytes} bytes, more than {MAX_ARRAY}")
    return np.array(array, order="C", copy=True)


def _plain_tensor(tensor: Any, torch: Any) -> Any:
    tensor = torch.Tensor.detach(tensor)
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype == torch.bfloat16:  # NumPy has none; float32 holds every value of it
        tensor = tensor.float()
    return _plain_array(tensor.cpu().resolve_conj().resolve_neg().numpy())


def dumps(value: Any) -> bytes:
    """Write a plain value as UTF-8 JSON; arrays as dtype, shape and base64."""
    return json.dumps(_encode(value), separators=(",", ":")).encode()


def loads(data: bytes) -> Any:
    """Read what `dumps` wrote; raises NotPlain for anything else."""
    try:
        return _decode(json.loads(data), 0)
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise NotPlain(f"not a plain value: {error}") from None


def _encode(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, dict):
        return {"dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if isinstance(value, (set, frozenset)):
        return {"set": [_encode(item) for item in sorted(value, key=repr)]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item) for item in value]}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, Seed):
        return {"seed": value.value}
    if isinstance(value, Built):
        return {"built": value.name, "params": _encode(dict(value.params))}
    if isinstance(value, Unreadable):
        return {"unreadable": value.what}
    raise TypeError(f"{type(value).__name__} is not plain data")


def _decode(node: Any, depth: int) -> Any:
    if depth > 4 * MAX_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(node, list):
        return [_decode(item, depth + 1) for item in node]
    if not isinstance(node, dict):
        return node
    if "array" in node:
        dtype = np.dtype(node["dtype"])
        if dtype.kind not in "biufcUS":
            raise ValueError(f"an array of {dtype}")
        array = np.frombuffer(base64.b64decode(node["array"], validate=True), dtype=dtype)
        return array.reshape([int(size) for size in node["shape"]]).copy()
    if "complex" in node:
        return complex(*node["complex"])
    if "dict" in node:
        return {_decode(key, depth + 1): _decode(item, depth + 1) for key, item in node["dict"]}
    if "set" in node:
        return {_decode(item, depth + 1) for item in node["set"]}
    if "tuple" in node:
        return tuple(_decode(item, depth + 1) for item in node["tuple"])
    if "seed" in node:
        return Seed(int(node["seed"]))
    if "built" in node:
        return Built(str(node["built"]), _decode(node["params"], depth + 1))
    return Unreadable(str(node["unreadable"]))


def describe(value: Any, axes: str = "") -> str:
    """Say in a few words what a plain value is: dtype and shape of an array, the value of a number.

    axes: names of an array's axes, `"B Tq D"` or `"... Tq D"`; used when they fit.
    """
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name} {_shape(value.shape, axes)}"
    if isinstance(value, Unreadable):
        return value.what
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        if len(value) <= 6 and all(_is_short(item) for item in value):
            return repr(value)
        if len(value) <= 4:
            return f"a {kind} of {len(value)}: " + ", ".join(describe(item) for item in value)
        return f"a {kind} of {len(value)}"
    if isinstance(value, dict):
        return "a dict with " + (", ".join(map(str, list(value)[:8])) or "no keys")
    if isinstance(value, set):
        return "{" + ", ".join(sorted(map(repr, value))) + "}" if value else "an empty set"
    if isinstance(value, str) and len(value) > 80:
        return repr(value[:77] + "…")
    return repr(value)


def _is_short(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= 20)


def _shape(shape: tuple[int, ...], axes: str) -> str:
    names = axes.split()
    if names[:1] == ["..."]:
        names = [""] * (len(shape) - len(names) + 1) + names[1:]
    if len(names) != len(shape):
        names = [""] * len(shape)
    sizes = [f"{name}={size}" if name else str(size) for name, size in zip(names, shape, strict=True)]
    return "(" + ", ".join(sizes) + ("," if len(sizes) == 1 and not names[0] else "") + ")"
