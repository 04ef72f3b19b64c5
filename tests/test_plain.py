"""Plain data: what may cross the line, what is refused, and that a file in between changes nothing."""

import enum
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autograder.calling import CaughtError, Outcome, same
from autograder.exercise import Built, Seed
from autograder.plain import PLACEHOLDER, NotPlain, Unreadable, describe, dumps, loads, to_plain

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ARRAYS = arrays.arrays(
    st.sampled_from(["float16", "float32", "float64", "int8", "int64", "bool", "complex128"]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_a_plain_value_survives_the_journey_through_bytes(value):
    assert same(loads(dumps(value)), value)


@pytest.mark.parametrize(
    "value", [Seed(3), Built("shuffled", {"seed": 1, "w": np.eye(2)}), {"a", "b"}, Unreadable("x")]
)
def test_the_records_that_stand_for_something_else_survive_too(value):
    assert repr(loads(dumps(value))) == repr(value)


def test_an_outcome_with_an_error_survives():
    error = CaughtError("ValueError", ("ValueError",), "5 heads do not divide 7", ("line 2 in f: raise",))
    outcome = Outcome(error=error, mutated=("x",), printed="hello", warnings=("RuntimeWarning: overflow",))
    assert Outcome.from_plain(loads(dumps(outcome.to_plain()))) == outcome


@pytest.mark.parametrize("data", [b"", b"{", b'{"array":"AA","dtype":"O","shape":[1]}', b'{"what":1}', b'{"array":3}'])
def test_bytes_that_hold_no_plain_value_are_refused(data):
    with pytest.raises(NotPlain):
        loads(data)


class Color(enum.IntEnum):
    RED = 1


class Spiteful:
    def __eq__(self, other):
        raise RuntimeError("no comparing")

    def __array__(self, *args, **kwargs):
        raise RuntimeError("no reading")

    __hash__ = None


class Lying(np.ndarray):
    def __eq__(self, other):
        return True

    def __array_function__(self, *args, **kwargs):
        return True


Pair = namedtuple("Pair", "a b")

READ = [
    (np.float32(1.5), np.array(1.5, dtype=np.float32)),
    (torch.ones(2, requires_grad=True), np.ones(2, dtype=np.float32)),
    (torch.nn.Parameter(torch.zeros(1)), np.zeros(1, dtype=np.float32)),
    (torch.ones(2, dtype=torch.bfloat16), np.ones(2, dtype=np.float32)),
    (torch.eye(2).to_sparse(), np.eye(2, dtype=np.float32)),
    (np.arange(3.0).view(Lying), np.arange(3.0)),
    (np.matrix([[1.0, 2.0]]), np.array([[1.0, 2.0]])),
    (np.array([1, 2.5], dtype=object), np.array([1, 2.5])),
    (Pair(1, 2.0), (1, 2.0)),
    (OrderedDict(a=1), {"a": 1}),
    (Color.RED, 1),
    (True, True),
    (range(3), [0, 1, 2]),
    ({"a": 1}.keys(), ["a"]),
    (frozenset({"b"}), {"b"}),
]


@pytest.mark.parametrize(("value", "plain"), READ, ids=lambda value: type(value).__name__)
def test_what_a_learner_may_return_is_read_as_plain_data(value, plain):
    read = to_plain(value)
    assert type(read) is type(plain)
    assert same(read, plain)


UNREAD = [
    ((i for i in range(3)), "a generator"),
    (map(abs, [1]), "a map"),
    (np.ma.masked_array([1.0], [True]), "a masked array"),
    (np.array([object()]), "cannot be read|an array of object"),
    (Spiteful(), "an object of type Spiteful"),
    (len, "a function"),
    (int, "a function or class"),
    (np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64"),
]


@pytest.mark.parametrize(("value", "what"), UNREAD, ids=lambda value: type(value).__name__)
def test_what_cannot_be_read_is_said_and_never_raised(value, what):
    read = to_plain(value)
    assert isinstance(read, Unreadable)
    assert any(part in read.what for part in what.split("|"))


def test_the_placeholder_is_told_apart_from_everything_else():
    assert to_plain(...) == PLACEHOLDER


def test_a_list_that_contains_itself_is_refused_in_time():
    endless = []
    endless.append(endless)
    deepest = to_plain(endless)
    while isinstance(deepest, list):
        deepest = deepest[0]
    assert isinstance(deepest, Unreadable)


def test_a_result_is_copied_so_that_later_changes_do_not_reach_it():
    array = np.zeros(3)
    read = to_plain(array)
    array[:] = 1
    assert read.sum() == 0


@pytest.mark.parametrize(
    ("value", "axes", "words"),
    [
        (np.zeros((2, 3)), "", "float64 (2, 3)"),
        (np.zeros((2, 3), dtype=np.float32), "Tq Tk", "float32 (Tq=2, Tk=3)"),
        (np.zeros((2, 3, 4)), "... Tq D", "float64 (2, Tq=3, D=4)"),
        (np.zeros(3), "", "float64 (3,)"),
        (np.zeros((2, 3)), "B Tq D", "float64 (2, 3)"),
        ((1, 2.5), "", "(1, 2.5)"),
        ((np.zeros(2), np.zeros(3)), "", "a tuple of 2: float64 (2,), float64 (3,)"),
        (set(), "", "an empty set"),
        ({"b", "a"}, "", "{'a', 'b'}"),
        (None, "", "None"),
    ],
)
def test_a_value_is_described_by_dtype_and_axes(value, axes, words):
    assert describe(value, axes) == words
