"""The comparison: each kind of difference is found, the first one is named, and what is right is let through."""

import numpy as np
import pytest

from autograder.compare import difference
from autograder.facts import facts
from autograder.plain import Unreadable

ROWS = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])

AGREE = [
    (ROWS, ROWS + 1e-9),
    (ROWS, ROWS.tolist()),
    (ROWS, tuple(map(tuple, ROWS))),
    (ROWS, [row for row in ROWS]),
    (ROWS, ROWS.astype(np.float32)),
    (np.array(0.5), 0.5),
    (0.5, np.array(0.5)),
    (0.5, np.array(0.5, dtype=np.float32)),
    (3, 3.0),
    (3, np.array(3)),
    (2.0, 2),
    (np.array([1.0, 0.0]), [1, 0]),
    (np.array([True, False]), [True, False]),
    (np.array([1, 2]), np.array([1, 2], dtype=np.int8)),
    ((0.2, 0.8), np.array([0.2, 0.8])),
    ((0.2, 0.8), [0.2, 0.8]),
    ((0.2, 0.8), np.array([0.2, 0.8], dtype=np.float32)),
    ((1, 2), np.array([1, 2])),
    ((1, 2), [np.array(1), np.array(2)]),
    ((ROWS, ROWS), [ROWS, ROWS]),
    ({"a": 1}, {"a": 1}),
    ({"x"}, ["x"]),
    (np.array([-np.inf, 0.0]), np.array([-np.inf, 0.0])),
    (np.array([np.nan]), np.array([np.nan])),
    (True, np.array(True)),
    (None, None),
    (2**70, 2**70),
    (2.0**70, 2**70),
]


@pytest.mark.parametrize(("wanted", "got"), AGREE)
def test_what_is_right_in_another_form_is_let_through(wanted, got):
    assert difference(wanted, got) is None


DIFFER = [
    (ROWS, None, "structure", "is a return missing?"),
    (ROWS, (ROWS, ROWS), "shape", "float64 (2, 2, 3)"),
    (ROWS, (ROWS, ROWS[0]), "structure", "a tuple of 2"),
    (ROWS, Unreadable("a generator"), "structure", "a generator"),
    (ROWS, "no", "structure", "'no'"),
    (ROWS, [[1.0], [1.0, 2.0]], "structure", "a list of 2"),
    (ROWS, ROWS.T, "shape", "float64 (3, 2)"),
    (ROWS, ROWS[None], "shape", "float64 (1, 2, 3)"),
    (ROWS, ROWS > 0, "dtype", "bool"),
    (ROWS > 0.3, (ROWS > 0.3).astype(float), "dtype", "float64"),
    (ROWS > 0.3, (ROWS > 0.3).astype(int), "dtype", "int64"),
    (np.array([1, 2]), np.array([1.0, 2.0]), "dtype", "float64"),
    (ROWS, ROWS + 0j, "dtype", "complex"),
    (ROWS, np.where(ROWS > 0.6, np.nan, ROWS), "finite", "[0, 2] = nan; 1 of 6 entries are not finite"),
    (ROWS, np.where(ROWS > 0.6, np.inf, ROWS), "finite", "inf"),
    (ROWS, np.where(ROWS > 0.6, 0.8, ROWS), "values", "[0, 2] = 0.8; 1 of 6 entries differ"),
    (ROWS > 0.3, ROWS < 0.3, "values", "6 of 6"),
    (np.array([-np.inf, 0.0]), np.array([-1e9, 0.0]), "values", "-1e+09"),
    ((ROWS, ROWS), ROWS, "structure", "float64 (2, 3)"),
    ((ROWS, ROWS), (ROWS,), "structure", "has 1"),
    ((ROWS, ROWS), (ROWS, ROWS, ROWS), "structure", "has 3"),
    ((ROWS, ROWS), (ROWS, 2 * ROWS), "values", "weights[0, 2]"),
    (0.5, np.array([0.5]), "shape", "float64 (1,)"),
    (0.5, True, "structure", "True"),
    (0.5, "0.5", "structure", "'0.5'"),
    (0.5, float("nan"), "finite", "nan"),
    (3, 4, "values", "4"),
    (3, 3.0000001, "values", "3"),
    (True, 1, "structure", "1"),
    (True, False, "values", "False"),
    ({"a": 1, "b": 2}, {"a": 1, "c": 2}, "structure", "missing: b; not asked for: c"),
    ({"a": 1}, {"a": 2}, "values", "a = 2"),
    ({"a": 1}, [1], "structure", "[1]"),
    ({"x"}, {"x", "y"}, "values", "'y'"),
    ({"x"}, "x", "structure", "'x'"),
]


@pytest.mark.parametrize(("wanted", "got", "kind", "words"), DIFFER)
def test_each_kind_of_difference_is_found_and_named(wanted, got, kind, words):
    found = difference(wanted, got, names=("out", "weights"))
    assert found is not None
    assert found.kind == kind
    assert words in found.got


@pytest.mark.parametrize("got", [10**300, -(10**400), float("inf"), 0])
@pytest.mark.parametrize("wanted", [2**70, 1.0])
def test_a_whole_number_too_large_for_numpy_differs_and_breaks_nothing(wanted, got):
    assert difference(wanted, got).kind in ("values", "finite")


def test_a_change_of_precision_is_a_difference_only_where_it_is_judged():
    single = ROWS.astype(np.float32)
    assert difference(single, single.astype(np.float64)) is None
    found = difference(single, single.astype(np.float64), dtypes=True)
    assert found is not None and found.kind == "dtype"
    assert difference(single, single.tolist(), dtypes=True) is None


@pytest.mark.parametrize(
    ("dtype", "close", "far"), [(np.float64, 1e-7, 1e-5), (np.float32, 1e-5, 1e-3), (np.float16, 1e-4, 1e-2)]
)
def test_the_tolerance_is_that_of_the_precision(dtype, close, far):
    wanted = np.ones(3, dtype=dtype)
    assert difference(wanted, wanted.astype(np.float64) + close, relative=True) is None
    assert difference(wanted, wanted.astype(np.float64) + far) is not None


def test_tiny_values_are_told_apart_by_relative_error_alone():
    tiny = np.array([1e-12, 2e-12])
    assert difference(tiny, 3 * tiny) is None
    assert difference(tiny, 3 * tiny, relative=True) is not None


def test_the_largest_difference_is_named_not_the_first():
    got = ROWS.copy()
    got[0, 0] += 0.01
    got[1, 1] += 0.2
    found = difference(ROWS, got)
    assert found is not None and "[1, 1]" in found.got


FACTS = [
    (ROWS, 2.5 * ROWS, "every entry is 2.5 times the wanted one"),
    (ROWS, ROWS + 3, "every entry is the wanted one plus 3"),
    (ROWS, 0 * ROWS, "every entry is 0"),
    (ROWS, 0 * ROWS + 0.3, "all entries are equal"),
    (ROWS, ROWS[:, ::-1], "reversed along axis 1"),
    (ROWS, ROWS / ROWS.sum(0) / 1.0, "it sums to 1 along axis 0 instead"),
    (ROWS, ROWS * [[1.0], [2.0]], "along the first axis, entries 0 are right"),
    (ROWS, ROWS**2, "along axis 1 it sums to between 0.375 and 0.54, not to 1"),
    (np.arange(9.0).reshape(3, 3), np.arange(9.0).reshape(3, 3).T, "with its last two axes swapped"),
    (np.arange(4.0), np.arange(4.0)[[1, 0, 3, 2]], "the wanted numbers in another order"),
    (ROWS, ROWS * np.nan, "6 of 6 entries are NaN"),
    (ROWS > 0.3, ROWS <= 0.3, "the opposite"),
    (np.tri(3) > 0, np.tri(3).T > 0, "transposed"),
    (np.tri(3) > 0, np.ones((3, 3)) > 0, "9 entries are True, wanted 6"),
]


@pytest.mark.parametrize(("wanted", "got", "words"), FACTS)
def test_the_facts_say_what_the_numbers_show(wanted, got, words):
    assert any(words in fact for fact in facts(wanted, got)), facts(wanted, got)


def test_arrays_that_have_nothing_in_common_get_no_made_up_fact():
    rng = np.random.default_rng(0)
    assert facts(rng.normal(size=(3, 4)), rng.normal(size=(3, 4))) == ()
