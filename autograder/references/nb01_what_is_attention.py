"""Notebook 01, the hidden half: references, accepted and wrong answers, cases.

About 1000 lines, since three functions share the module and each has wrong answers in several natural shapes.
"""

import math

import numpy as np

from autograder.exercise import KEEPS_DTYPE, Case, Misconception, Reference


def parts(first, second):
    """A view that reads a pair as a dict; the first check sees the weights alone, the second the average alone.

    first, second: what each part is called, in the order in which it is returned.
    """
    seen = {"weights": "weights", "output": "out", "prediction": "pred"}

    def view(case, result):
        pair = isinstance(result, (tuple, list)) or (isinstance(result, np.ndarray) and result.ndim > 1)
        if not pair or len(result) != 2:
            raise ValueError("not two results")
        named = {first: result[0], second: result[1]}
        return {seen[case.check]: named[seen[case.check]]} if case.check in seen else named

    return view


def _then(right, change):
    """A right answer whose results go through `change(average, weights)`."""
    return lambda *inputs, **keywords: change(*right(*inputs, **keywords))


def pair_mistakes(right, name, shapes):
    """What goes wrong with the two results of `right` once their numbers are right; `name` is that of the first."""
    return (
        Misconception(
            "weights_only",
            f"the weights come back alone: two results are wanted, ({name}, weights)",
            _then(right, lambda average, weights: weights),
        ),
        Misconception(
            f"{name}_only",
            f"the average comes back alone: two results are wanted, ({name}, weights)",
            _then(right, lambda average, weights: average),
        ),
        Misconception(
            "other_order",
            f"both results are right and come in the other order: ({name}, weights) is wanted",
            _then(right, lambda average, weights: (weights, average)),
        ),
        Misconception(
            "extra_axis",
            f"the numbers are right, with an axis of size 1 too many: {shapes} are wanted",
            [
                _then(right, lambda average, weights: (average[None], weights[None])),
                _then(right, lambda average, weights: (average[None], weights)),
                _then(right, lambda average, weights: (average[:, None], weights)),
                _then(right, lambda average, weights: (average, weights[:, None])),
            ],
        ),
        Misconception(
            "lost_float32",
            "the numbers are right but float32 became float64 on the way",
            [
                _then(right, lambda average, weights: (average.astype(np.float64), weights.astype(np.float64))),
                _then(right, lambda average, weights: (average.astype(np.float64), weights)),
                _then(right, lambda average, weights: (average, weights.astype(np.float64))),
            ],
        ),
        Misconception(
            "lost_float64",
            "the numbers are right to 7 digits, but float64 became float32 on the way",
            _then(right, lambda average, weights: (average.astype(np.float32), weights.astype(np.float32))),
        ),
    )


# --- softmax ---------------------------------------------------------------------------------------------------------


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_by_logsumexp(x, axis=-1):
    x = np.moveaxis(x, axis, -1)
    top = x.max(-1, keepdims=True)
    log_sum = top + np.log(np.exp(x - top).sum(-1, keepdims=True))
    return np.moveaxis(np.exp(x - log_sum), -1, axis)


def softmax_by_loops(x, axis=-1):
    out = np.empty_like(x)
    moved, result = np.moveaxis(x, axis, -1), np.moveaxis(out, axis, -1)
    for index in np.ndindex(moved.shape[:-1]):
        e = np.exp(moved[index] - max(moved[index]))
        result[index] = e / sum(e)
    return out


def softmax_in_plain_python(x, axis=-1):
    def of_slice(scores):
        top = max(scores)
        shares = [math.exp(score - top) for score in scores]
        return np.array([share / math.fsum(shares) for share in shares])

    return np.apply_along_axis(lambda scores: of_slice(scores.tolist()), axis, x).tolist()


def _shares(shift=None, how="sum", grow=np.exp, keep=True, axis_used=None):
    """A softmax with one step done in another way.

    shift:     what is subtracted first: `shift(x, axis)`; None is nothing.
    how:       which number of each slice the exponentials are divided by.
    grow:      what makes scores positive.
    keep:      whether that number keeps its axis.
    axis_used: `axis_used(x, axis)` → the axis that is used; None is the one that is named.
    """

    def shares(x, axis=-1):
        axis = axis if axis_used is None else axis_used(x, axis)
        e = grow(x - (0 if shift is None else shift(x, axis)))
        return e / getattr(e, how)(axis=axis, **({"keepdims": True} if keep else {}))

    return shares


def _largest(x, axis):
    return x.max(axis=axis, keepdims=True)


def _everywhere(x, axis):
    return None


def _always(number):
    return lambda x, axis: number


def _squared(x, axis=-1):
    return x**2 / (x**2).sum(axis=axis, keepdims=True)


def _without_exp(x, axis=-1):
    return x / x.sum(axis=axis, keepdims=True)


def _by_length(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / np.sqrt((e**2).sum(axis=axis, keepdims=True))


def _logarithms(x, axis=-1):
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _sigmoid(x, axis=-1):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def _undivided(x, axis=-1):
    return np.exp(x - x.max(axis=axis, keepdims=True))


def _undivided_unshifted(x, axis=-1):
    return np.exp(x)


def _clipped(low, high):
    return lambda x, axis=-1: softmax(np.clip(x, low, high), axis)


def _repaired(x, axis=-1):
    return np.nan_to_num(_shares()(x, axis))


def _standardised(x, axis=-1):
    return softmax((x - x.mean(axis=axis, keepdims=True)) / x.std(axis=axis, keepdims=True), axis)


def _nan_for_one_score(x, axis=-1):
    return softmax(x, axis) if x.shape[axis] > 1 else np.full_like(x, np.nan)


def _put_back(place, largest=False):
    """A softmax whose sums, and largest scores if asked, lose their axis and get one from `place`."""

    def shares(x, axis=-1):
        e = np.exp(x - (place(x.max(axis=axis)) if largest else x.max(axis=axis, keepdims=True)))
        return e / place(e.sum(axis=axis))

    return shares


def _transposed_back(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return (e.T / e.sum(axis=axis).T).T


def _into_float64(x, axis=-1):
    return softmax(x.astype(np.float64), axis)


def _into_float32(x, axis=-1):
    return softmax(x, axis).astype(np.float32)


def _in_place(x, axis=-1):
    x -= x.max(axis=axis, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=axis, keepdims=True)
    return x


def _shifted_in_place(x, axis=-1):
    x -= x.max(axis=axis, keepdims=True)
    return _shares()(x, axis)


def softmax_cases(rng):
    for shape, dtype in [((2, 3, 4), np.float64), ((2, 3, 4), np.float32), ((4, 4), np.float64)]:
        yield Case("sums_to_one", (rng.normal(size=shape).astype(dtype),))
    yield Case("sums_to_one", (rng.normal(size=5),))
    yield Case("sums_to_one", (rng.normal(size=(3, 3, 3)),))
    # A shape seen before with other numbers, of which some get weights far below 0.001; then equal scores.
    yield Case("sums_to_one", (rng.normal(scale=4, size=(2, 3, 4)),))
    yield Case("sums_to_one", (np.full((2, 3), 1.5),))
    for shape, axis in [((2, 3, 4), 0), ((2, 3, 4), 1), ((2, 3, 4), 2), ((2, 3, 4), -2), ((4, 4), 0), ((3, 3, 3), 1)]:
        yield Case("any_axis", (rng.normal(size=shape),), {"axis": axis})
    yield Case("any_axis", (rng.normal(size=(2, 3, 2, 5)), 1))
    yield Case("any_axis", (rng.normal(size=6), 0))
    yield Case("one_score", (rng.normal(size=(3, 1)),))
    yield Case("one_score", (rng.normal(size=(1, 4)), 0))
    yield Case("large_scores", (np.array([[1e4, -1e4, 0.0], [9999.0, 1e4, 1e4], [-1e4, 9999.5, 1e4]]),))
    # Rows at both ends: what saves one of them by a number for the whole array loses the other.
    level = np.array([[9990.0], [-9990.0], [0.0], [-900.0]])
    yield Case("large_scores", (level + rng.normal(size=(4, 3)),))
    # The largest of these is subtracted whatever the number of axes, and along an axis that is named.
    yield Case("large_scores", (np.array([-1e4, 0.0, 9000.0, 9999.0, 1e4]),))
    yield Case("large_scores", (level.reshape(2, 1, 2) + rng.normal(size=(2, 3, 2)), 1))
    # float32 overflows from 89 on; near 10000 it holds too few digits to judge any way of computing by.
    yield Case("large_scores", ((level / 50 + rng.normal(size=(4, 4))).astype(np.float32),))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (rng.normal(size=(3, 4)).astype(dtype),))
    yield Case(KEEPS_DTYPE, (rng.normal(size=(2, 3, 2)).astype(np.float32), 1))


SOFTMAX_MISCONCEPTIONS = (
    Misconception(
        "no_max_subtraction",
        "large scores give NaN or infinite weights: exp overflows, or underflows to 0 for a whole slice, since nothing "
        "is subtracted from the scores first",
        _shares(),
        look_at="Scores too large for exp",
    ),
    Misconception(
        "one_max_for_all",
        "slices far below the largest score of the array are NaN: all their exponentials underflow to 0, since the "
        "number subtracted is the maximum of the whole array and not of each slice",
        _shares(lambda x, axis: x.max()),
        look_at="Scores too large for exp",
    ),
    Misconception(
        "not_the_max",
        "small scores come out right and large ones overflow: the number subtracted is not the largest of its slice, "
        "so that some exponents stay far above 0",
        [
            _shares(lambda x, axis: x.mean(axis=axis, keepdims=True)),
            _shares(lambda x, axis: x.min(axis=axis, keepdims=True)),
            _shares(lambda x, axis: x.take([0], axis=axis)),
        ],
        look_at="Scores too large for exp",
    ),
    Misconception(
        "clipped_scores",
        "large scores that differ get equal weights: scores are cut to a range before exp",
        [_clipped(-500, 500), _clipped(-700, 700), _clipped(-100, 100), _clipped(-88, 88), _clipped(None, 700)],
        look_at="Scores too large for exp",
    ),
    Misconception(
        "nan_made_zero",
        "large scores give weights of 0 that do not sum to 1: an overflow ends as NaN, and NaN is replaced by 0",
        _repaired,
        look_at="Scores too large for exp",
    ),
    Misconception(
        "sums_over_everything",
        "all weights of the array together sum to 1, not each slice along the axis",
        [
            lambda x, axis=-1: np.exp(x - x.max()) / np.exp(x - x.max()).sum(),
            _shares(lambda x, axis: x.max(), axis_used=_everywhere),
        ],
    ),
    Misconception(
        "axis_ignored",
        "the weights sum to 1 along another axis than the one asked for: `axis`, or the last where none is named",
        [_shares(_largest, axis_used=_always(number)) for number in (-1, 0, 1)],
    ),
    Misconception(
        "lost_keepdims",
        "an axis is lost: after a sum or max without keepdims the shapes (2, 3, 4) and (2, 3) do not fit, and where "
        "all sizes are equal the wrong slices are divided",
        [
            _shares(_largest, keep=False),
            _shares(lambda x, axis: x.max(axis=axis), keep=False),
            _shares(lambda x, axis: x.max(axis=axis)),
            _shares(keep=False),
        ],
    ),
    Misconception(
        "axis_put_elsewhere",
        "the shapes fit for some axes only, as when the axis that a sum or max loses is put back at a fixed place, by "
        "[..., None], [:, None] or .T: keepdims=True keeps it where it was",
        [
            _transposed_back,
            _put_back(lambda a: a[..., None]),
            _put_back(lambda a: a[..., None], largest=True),
            _put_back(lambda a: a[:, None]),
            _put_back(lambda a: a[:, None], largest=True),
            _put_back(lambda a: a.reshape(-1, 1)),
        ],
    ),
    Misconception(
        "divides_by_max",
        "the largest weight of each slice is 1: the exponentials are divided by their maximum, or by nothing once it "
        "is subtracted, where their sum is wanted",
        [_shares(_largest, "max"), _shares(None, "max")],
        look_at="From scores to weights",
    ),
    Misconception(
        "divides_by_mean",
        "each slice sums to its length: the exponentials are divided by their mean, not by their sum",
        [_shares(_largest, "mean"), _shares(None, "mean")],
        look_at="From scores to weights",
    ),
    Misconception(
        "unit_length",
        "the squares of each slice sum to 1: the exponentials are divided by their length as a vector, not their sum",
        _by_length,
        look_at="From scores to weights",
    ),
    Misconception(
        "undivided",
        "these are the exponentials of x: nothing divides them, so no slice sums to 1",
        _undivided_unshifted,
        look_at="From scores to weights",
    ),
    Misconception(
        "without_exp",
        "the slices sum to 1 but hold negative weights: the scores themselves are divided, without exp",
        _without_exp,
        look_at="From scores to weights",
    ),
    Misconception(
        "not_exp",
        "the slices sum to 1, but a score that is larger by 1 does not get e times the weight: the scores were made "
        "positive by something else than exp",
        [
            _squared,
            _shares(_largest, grow=np.exp2),
            _shares(_largest, grow=lambda x: np.power(x.dtype.type(10), x)),
            _shares(grow=np.abs),
        ],
        look_at="From scores to weights",
    ),
    Misconception(
        "minimum_to_zero",
        "the smallest score of each slice gets weight 0, and a single score 0 / 0: differences from the minimum are "
        "divided, without exp",
        _shares(lambda x, axis: x.min(axis=axis, keepdims=True), grow=lambda x: x),
        look_at="From scores to weights",
    ),
    Misconception(
        "smallest_gets_most",
        "the smallest score gets the largest weight: the sign of the scores is turned",
        _shares(lambda x, axis: x.min(axis=axis, keepdims=True), grow=lambda x: np.exp(-x)),
        look_at="From scores to weights",
    ),
    Misconception(
        "log_of_weights",
        "every number is below or at 0 and exp of it is the weight: these are the logarithms of the weights",
        _logarithms,
        look_at="From scores to weights",
    ),
    Misconception(
        "sigmoid",
        "each weight depends on its own score alone: this is the sigmoid of each score, and they need not sum to 1",
        _sigmoid,
        look_at="From scores to weights",
    ),
    Misconception(
        "standardised",
        "the weights are those of scores that were given mean 0 and standard deviation 1 along the axis: softmax takes "
        "the scores as they are",
        _standardised,
        look_at="From scores to weights",
    ),
    Misconception(
        "one_score_nan",
        "a slice with a single score gives NaN, as 0 / 0 does; alone in its slice, it gets weight 1",
        _nan_for_one_score,
        look_at="From scores to weights",
    ),
    Misconception(
        "one_score_zero",
        "a slice with a single score gets weight 0, though it is alone: weights sum to 1, so its weight is 1",
        lambda x, axis=-1: softmax(x, axis) if x.shape[axis] > 1 else np.zeros_like(x),
        look_at="From scores to weights",
    ),
    Misconception(
        "lost_float32",
        "the numbers are right but float32 became float64 on the way",
        [_into_float64, lambda x, axis=-1: softmax(x, axis) + np.zeros(x.shape)],
    ),
    Misconception(
        "lost_float64", "the numbers are right to 7 digits, but float64 became float32 on the way", _into_float32
    ),
    Misconception(
        "overwrites_x",
        "x itself is changed by the call: an operation such as -= or out= writes into the array it was given",
        [_in_place, _shifted_in_place],
    ),
)


# --- equal_scores ----------------------------------------------------------------------------------------------------

EQUAL_SCORES_MISCONCEPTIONS = (
    Misconception("all_ones", "these are the exponentials before dividing: they sum to 5, not to 1", (1.0,) * 5),
    Misconception(
        "one_hot",
        "one key gets everything, although nothing in the scores prefers it",
        [tuple(float(i == j) for j in range(5)) for i in range(5)],
    ),
    Misconception(
        "all_zeros", "weights of 0 would average nothing: whatever the scores are, weights sum to 1", (0.0,) * 5
    ),
    Misconception("per_cent", "as shares of 100 these are right; weights are shares of 1", (20.0,) * 5),
    Misconception(
        "halves",
        "equal, but they sum to 2.5: one half each is what two keys would get, or a sigmoid of 0",
        (0.5,) * 5,
    ),
    Misconception("one_number", "that is the weight of each key; there are five of them", [0.2, (0.2,)]),
)


# --- soft_lookup -----------------------------------------------------------------------------------------------------


def soft_lookup(query, keys, values, temperature=1.0):
    weights = softmax(keys @ query / temperature)
    return weights @ values, weights


def lookup_by_einsum(query, keys, values, temperature=1.0):
    scores = np.einsum("d,kd->k", query, keys) / temperature
    weights = np.exp(scores - np.logaddexp.reduce(scores))
    return np.einsum("k,kv->v", weights, values), weights


def lookup_by_loops(query, keys, values, temperature=1.0):
    scores = [sum(float(a) * float(b) for a, b in zip(query, key, strict=True)) / temperature for key in keys]
    shares = [math.exp(score - max(scores)) for score in scores]
    weights = [share / sum(shares) for share in shares]
    return [sum(w * float(v) for w, v in zip(weights, column, strict=True)) for column in values.T], weights


def lookup_of_a_cooled_query(query, keys, values, temperature=1.0):
    scores = (query[None] / temperature @ keys.T)[0]
    e = np.exp(scores - scores.max())
    return (e[:, None] * values).sum(axis=0) / e.sum(), e / e.sum()


def _lookup(weigh, combine=lambda weights, values: weights @ values):
    """A lookup that weighs or combines in another way: `weigh(query, keys, temperature)` → weights."""

    def lookup(query, keys, values, temperature=1.0):
        weights = weigh(query, keys, temperature)
        return combine(weights, values), weights

    return lookup


def _scored(score):
    """A lookup with other scores: `score(query, keys, temperature)`."""
    return _lookup(lambda query, keys, temperature: softmax(score(query, keys, temperature)))


def _weights(query, keys, temperature):
    return softmax(keys @ query / temperature)


def _unnormalised(query, keys, temperature):
    return np.exp(keys @ query / temperature)


def _unshifted(query, keys, temperature):
    return _shares()(keys @ query / temperature)


def _hard(query, keys, temperature):
    return np.eye(len(keys), dtype=keys.dtype)[(keys @ query).argmax()]


def _by_sum(query, keys, temperature):
    scores = keys @ query / temperature
    return scores / scores.sum()


def _after_softmax(query, keys, temperature):
    return softmax(keys @ query) / temperature


def _sharpened_after(query, keys, temperature):
    weights = softmax(keys @ query)
    return weights ** (1 / temperature)


def _over_width(query, keys, temperature):
    return softmax(keys * query / temperature, axis=-1).sum(axis=-1)


def _over_width_of_scores(query, keys, temperature):
    return (softmax(keys / temperature, axis=-1) * query).sum(axis=-1)


def _over_both(query, keys, temperature):
    products = keys * query / temperature
    e = np.exp(products - products.max())
    return (e / e.sum()).sum(axis=-1)


def _cosine(query, keys, temperature):
    lengths = np.linalg.norm(keys, axis=1) * np.linalg.norm(query)
    return keys @ query / lengths / temperature


def _distance(query, keys, temperature):
    return -((keys - query) ** 2).sum(axis=1) / temperature


def _keys_as_values(query, keys, values, temperature=1.0):
    weights = _weights(query, keys, temperature)
    return weights @ keys, weights


def _untransposed(query, keys, values, temperature=1.0):
    weights = _weights(query, keys, temperature)
    return values @ weights, weights


def _rescaled_output(power):
    def lookup(query, keys, values, temperature=1.0):
        out, weights = soft_lookup(query, keys, values, temperature)
        return out * temperature**power, weights

    return lookup


def _rows_unsummed(weights, values):
    return weights[:, None] * values


def _hard_output(weights, values):
    return values[weights.argmax()]


def _cools_keys_in_place(query, keys, values, temperature=1.0):
    keys /= temperature
    return soft_lookup(query, keys, values)


def _cools_query_in_place(query, keys, values, temperature=1.0):
    query /= temperature
    return soft_lookup(query, keys, values)


def _weighs_values_in_place(query, keys, values, temperature=1.0):
    weights = _weights(query, keys, temperature)
    values *= weights[:, None]
    return values.sum(axis=0), weights


def _items(rng, n, d, dv, dtype=np.float64):
    return tuple(rng.normal(size=size).astype(dtype) for size in ((d,), (n, d), (n, dv)))


def lookup_cases(rng):
    shapes = [(5, 4, 3), (5, 3, 7), (4, 4, 4), (3, 3, 5), (6, 1, 3)]
    for check in ("weights", "output"):
        for shape in shapes:
            yield Case(check, _items(rng, *shape))
    yield Case("weights", _items(rng, 5, 3, 7, np.float32))
    yield Case("output", _items(rng, 4, 3, 1))
    query, keys, values = _items(rng, 5, 4, 3)
    yield Case("weights", (4 * query, keys, values))  # weights far below 0.001 count as well
    yield Case("temperature", _items(rng, 5, 4, 3), {"temperature": 0.5})
    yield Case("temperature", (*_items(rng, 4, 4, 4), 3))
    yield Case("temperature", (*_items(rng, 3, 6, 5), 2.5))
    yield Case("extreme_temperatures", _items(rng, 5, 4, 3), {"temperature": 1e-4})
    # Not hotter: the weights are to differ from equal ones by more than the tolerance.
    yield Case("extreme_temperatures", _items(rng, 5, 4, 3), {"temperature": 1e4})
    # Scores of about ±5000 after dividing, which differ by about 1: finite only after a subtraction, and no one-hot.
    for sign in (1.0, -1.0):
        query, keys, values = _items(rng, 5, 4, 3)
        query = query / np.linalg.norm(query)
        yield Case("extreme_temperatures", (query, sign * query + 2e-4 * keys, values, 2e-4))
    yield Case("one_key", _items(rng, 1, 4, 3))
    yield Case("one_key", (*_items(rng, 1, 3, 3), 0.5))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (*_items(rng, 5, 6, 3, dtype), 1.5))  # √6 is no temperature that 1.5 is rounded to


LOOKUP_MISCONCEPTIONS = (
    Misconception(
        "times_temperature",
        "a high temperature sharpens the weights and a low one flattens them: the scores are multiplied by it, "
        "not divided",
        _scored(lambda query, keys, temperature: keys @ query * temperature),
        look_at="Temperature: from the best key to the mean",
    ),
    Misconception(
        "temperature_ignored",
        "the weights are those of temperature 1, whatever temperature is given",
        _scored(lambda query, keys, temperature: keys @ query),
        look_at="Temperature: from the best key to the mean",
    ),
    Misconception(
        "temperature_too_late",
        "at temperature 1 all is right; elsewhere the weights do not sum to 1: the temperature enters after the "
        "softmax, not before",
        [
            _lookup(_after_softmax),
            _lookup(_sharpened_after),
            _lookup(lambda query, keys, temperature: softmax(keys @ query) * temperature),
            lambda query, keys, values, temperature=1.0: tuple(
                p / temperature for p in soft_lookup(query, keys, values)
            ),
        ],
        look_at="Temperature: from the best key to the mean",
    ),
    Misconception(
        "output_by_temperature",
        "out is scaled by the temperature once more, after the average is taken",
        [_rescaled_output(-1), _rescaled_output(1)],
        look_at="Temperature: from the best key to the mean",
    ),
    Misconception(
        "temperature_squared",
        "at temperature 1 all is right, and elsewhere the scores are divided by the wrong power of the temperature",
        [
            _scored(lambda query, keys, temperature: keys @ query / temperature**2),
            _scored(lambda query, keys, temperature: keys @ query / math.sqrt(temperature)),
        ],
        look_at="Temperature: from the best key to the mean",
    ),
    Misconception(
        "scaled_by_width",
        "the weights are those of scores divided by √D as well: this lookup divides by the temperature alone",
        [
            _scored(lambda query, keys, temperature: keys @ query / math.sqrt(len(query)) / temperature),
            _scored(lambda query, keys, temperature: keys @ query / math.sqrt(len(query))),
        ],
    ),
    Misconception(
        "averaged_products",
        "the weights are those of scores divided by D: the products are averaged over the width, not summed",
        _scored(lambda query, keys, temperature: (keys * query).mean(axis=1) / temperature),
    ),
    Misconception(
        "unnormalised",
        "the shares do not sum to 1: they are exponentials that nothing divides",
        [
            _lookup(_unnormalised),
            _lookup(lambda query, keys, temperature: _undivided(keys @ query / temperature)),
        ],
    ),
    Misconception(
        "equal_weights",
        "every key gets the same weight, whatever the query is",
        _lookup(lambda query, keys, temperature: np.full(len(keys), 1 / len(keys), keys.dtype)),
    ),
    Misconception(
        "scores_as_weights",
        "the weights are the scores themselves, negative ones included: the softmax is missing",
        _lookup(lambda query, keys, temperature: keys @ query / temperature),
    ),
    Misconception(
        "scores_by_sum",
        "the weights sum to 1 but some are negative: scores are divided by their sum, without exp",
        _lookup(_by_sum),
        look_at="From scores to weights",
    ),
    Misconception(
        "argmax",
        "one weight is 1 and the others are 0: the best key answers alone, at every temperature",
        _lookup(_hard),
    ),
    Misconception(
        "argmax_output",
        "out is one row of values, that of the largest weight, not the average of all rows",
        _lookup(_weights, _hard_output),
    ),
    Misconception(
        "no_max_subtraction",
        "all is right until scores divided by the temperature are large; then exp overflows and the weights are NaN: "
        "nothing is subtracted before exp",
        _lookup(_unshifted),
        look_at="Scores too large for exp",
    ),
    Misconception(
        "softmax_over_width",
        "the numbers are those of a softmax over the D entries of each key, not over the keys: it has to run after "
        "the D products are summed to one score per key",
        [
            _lookup(_over_width),
            _lookup(_over_width_of_scores),
            _lookup(_over_both),
        ],
    ),
    Misconception(
        "cosine",
        "the weights are those of vectors of length 1: a length is divided out of the scores, as in a cosine, where "
        "the plain dot product is wanted",
        [
            _scored(_cosine),
            _scored(lambda query, keys, temperature: _cosine(query, keys, temperature) * np.linalg.norm(query)),
            _scored(lambda query, keys, temperature: keys @ query / np.linalg.norm(query) / temperature),
        ],
    ),
    Misconception(
        "distance",
        "the weights are those of negative squared distances, where the dot product is wanted",
        [
            _scored(_distance),
            _scored(lambda query, keys, temperature: _distance(query, keys, 2 * temperature)),
            _scored(lambda query, keys, temperature: -np.linalg.norm(keys - query, axis=1) / temperature),
        ],
    ),
    Misconception(
        "least_similar",
        "the key that suits the query least gets the most: the sign of the scores is turned",
        _scored(lambda query, keys, temperature: -(keys @ query) / temperature),
    ),
    Misconception(
        "keys_as_values",
        "out is the average of the keys, of width D, not of the values",
        _keys_as_values,
    ),
    Misconception(
        "values_transposed",
        "the weights meet the wrong axis of values: the average of its Tk rows is wanted",
        _untransposed,
    ),
    Misconception(
        "plain_sum",
        "out is the plain sum or mean of the values, the same for every query",
        [
            _lookup(_weights, lambda weights, values: values.sum(axis=0)),
            _lookup(_weights, lambda weights, values: values.mean(axis=0)),
        ],
    ),
    Misconception(
        "rows_not_summed",
        "out still has a row per key: the weighted values are not added up",
        _lookup(_weights, _rows_unsummed),
    ),
    Misconception(
        "mean_of_weighted",
        "out is too small by the number of keys: the weighted values are averaged once more, "
        "where a sum is enough since the weights sum to 1",
        _lookup(_weights, lambda weights, values: _rows_unsummed(weights, values).mean(axis=0)),
    ),
    Misconception(
        "scores_returned",
        "what comes back as weights are the scores, from before the softmax",
        lambda query, keys, values, temperature=1.0: (
            soft_lookup(query, keys, values, temperature)[0],
            keys @ query / temperature,
        ),
    ),
    Misconception(
        "overwrites_inputs",
        "an input is changed by the call: an operation such as /= or *= writes into the array it was given",
        [_cools_keys_in_place, _cools_query_in_place, _weighs_values_in_place],
    ),
    *pair_mistakes(soft_lookup, "out", "out (Dv,) and weights (Tk,)"),
)


# --- kernel_attention ------------------------------------------------------------------------------------------------


def kernel_attention(x_q, x_k, y, sigma):
    weights = softmax(-((x_q[:, None] - x_k) ** 2) / (2 * sigma**2))
    return weights @ y, weights


def kernel_by_loops(x_q, x_k, y, sigma):
    preds, table = [], []
    for a in x_q.tolist():
        scores = [-((a - b) ** 2) / (2 * sigma * sigma) for b in x_k.tolist()]
        shares = [math.exp(score - max(scores)) for score in scores]
        table.append([share / sum(shares) for share in shares])
        preds.append(sum(w * v for w, v in zip(table[-1], y.tolist(), strict=True)))
    return preds, table


def kernel_by_nearest(x_q, x_k, y, sigma):
    squares = np.subtract.outer(x_q, x_k) ** 2
    e = np.exp((squares.min(axis=1, keepdims=True) - squares) / (2 * sigma**2))
    return np.einsum("qk,k->q", e, y) / e.sum(axis=1), e / e.sum(axis=1, keepdims=True)


def kernel_by_products(x_q, x_k, y, sigma):
    """The square of the query is the same for every key of a row, so the softmax cancels it."""
    scores = (np.outer(x_q, x_k) - x_k**2 / 2) / sigma**2
    weights = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
    return (weights * y).sum(axis=1), weights


def _kernel(score, weigh=softmax):
    """A smoother with other scores of the differences, `score(d, sigma)`, or another way to weights."""

    def smooth(x_q, x_k, y, sigma):
        weights = weigh(score(x_q[:, None] - x_k, sigma))
        return weights @ y, weights

    return smooth


def _gaussian(d, sigma):
    return -(d**2) / (2 * sigma**2)


def _kernel_then(change):
    """The right smoother, with `change(pred, weights, y)` done to its results."""
    return lambda x_q, x_k, y, sigma: change(*kernel_attention(x_q, x_k, y, sigma), y)


def _with_eps(scores):
    e = np.exp(scores)
    return e / (e.sum(axis=1, keepdims=True) + 1e-12)


def _equal_if_empty(scores):
    e = np.exp(scores)
    total = e.sum(axis=1, keepdims=True)
    return np.where(total > 0, e / np.where(total > 0, total, 1), 1 / e.shape[1]).astype(scores.dtype)


def _one_hot_nearest(scores):
    return np.eye(scores.shape[1], dtype=scores.dtype)[scores.argmax(axis=1)]


def _over_table(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


def _over_queries(scores):
    return softmax(scores, axis=0)


def _keys_as_rows(x_q, x_k, y, sigma):
    """Weights (n, m), every column of which sums to 1."""
    weights = softmax(_gaussian(x_k[:, None] - x_q, sigma), axis=0)
    return y @ weights, weights


def _keys_as_queries(x_q, x_k, y, sigma):
    weights = softmax(_gaussian(x_k[:, None] - x_q, sigma))
    return weights.T @ y, weights.T


def _density(d, sigma):
    return np.exp(_gaussian(d, sigma)) / (sigma * math.sqrt(2 * math.pi))


def _smooth_in_place(x_q, x_k, y, sigma):
    x_q /= sigma
    x_k /= sigma
    return kernel_attention(x_q, x_k, y, 1)


def _sorted_in_place(x_q, x_k, y, sigma):
    result = kernel_attention(x_q, x_k, y, sigma)
    x_k.sort()
    return result


def _curve(rng, m, n, dtype=np.float64):
    return tuple(rng.normal(size=size).astype(dtype) for size in (m, n, n))


def kernel_cases(rng):
    for check in ("weights", "prediction"):
        for m, n, sigma in [(3, 5, 0.4), (6, 4, 1.7), (4, 4, 0.6), (1, 5, 1.4)]:
            yield Case(check, (*_curve(rng, m, n), sigma))
    yield Case("weights", (*_curve(rng, 3, 5, np.float32), 0.7))
    yield Case("prediction", _curve(rng, 5, 3), {"sigma": 2})
    # Queries at a reading, and two readings at one time; then a small unit, in which nothing may be added to sigma.
    _, x_k, y = _curve(rng, 3, 5)
    x_k[4] = x_k[1]
    yield Case("weights", (x_k[:3], x_k, y, 0.7))
    x_q, x_k, y = _curve(rng, 3, 5)
    yield Case("weights", (x_q / 100, x_k / 100, y, 0.006))
    # Here every exponential underflows, and yet the weights are no one-hot.
    x_q, x_k, y = _curve(rng, 4, 5)
    yield Case("far_queries", (x_q + np.array([900.0, -900.0, 1200.0, 0.0]), x_k, y, 20.0))
    x_q, x_k, y = _curve(rng, 4, 4)
    yield Case("far_queries", (x_q + np.array([-50.0, 50.0, 50.0, -50.0]), x_k, y, 0.1))
    yield Case("one_key", (*_curve(rng, 4, 1), 0.5))
    yield Case("one_key", (*_curve(rng, 1, 1), 0.5))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (*_curve(rng, 3, 4, dtype), 0.8))


KERNEL_MISCONCEPTIONS = (
    Misconception(
        "plus_in_exponent",
        "the farthest key of each row gets the largest weight: the exponent has a plus where a minus is wanted",
        _kernel(lambda d, sigma: d**2 / (2 * sigma**2)),
    ),
    Misconception(
        "sigma_not_squared",
        "the weights are those of an exponent divided by 2 sigma, where 2 sigma² is wanted",
        _kernel(lambda d, sigma: -(d**2) / (2 * sigma)),
    ),
    Misconception(
        "missing_two",
        "the weights are narrower by a factor √2: the exponent is divided by sigma², where 2 sigma² is wanted",
        _kernel(lambda d, sigma: -(d**2) / sigma**2),
    ),
    Misconception(
        "two_squared_too",
        "the weights are wider by a factor √2: the exponent is divided by (2 sigma)², where 2 sigma² is wanted",
        _kernel(lambda d, sigma: -(d**2) / (2 * sigma) ** 2),
    ),
    Misconception(
        "times_sigma_squared",
        "a wider sigma gives narrower weights: sigma² multiplies the exponent, as `/ 2 * sigma**2` does without "
        "brackets around the divisor",
        [_kernel(lambda d, sigma: -(d**2) / 2 * sigma**2), _kernel(lambda d, sigma: -(d**2) * sigma**2)],
    ),
    Misconception(
        "missing_two_and_square",
        "two things at once: the exponent is divided by sigma alone, where 2 sigma² is wanted",
        _kernel(lambda d, sigma: -(d**2) / sigma),
    ),
    Misconception(
        "sigma_ignored",
        "the weights are the same for every sigma",
        [_kernel(lambda d, sigma: -(d**2) / 2), _kernel(lambda d, sigma: -(d**2))],
    ),
    Misconception(
        "distance_not_squared",
        "the weights fall off like exp(−|d|), with a peak at every key: the distance in the exponent is not squared",
        [
            _kernel(lambda d, sigma: -np.abs(d) / (2 * sigma**2)),
            _kernel(lambda d, sigma: -np.abs(d) / sigma),
            _kernel(lambda d, sigma: -np.abs(d) / (2 * sigma)),
        ],
    ),
    Misconception(
        "signed_difference",
        "keys on one side of a query get ever larger weights the farther they are: the difference has kept its sign",
        [
            _kernel(lambda d, sigma: -d / (2 * sigma**2)),
            _kernel(lambda d, sigma: d / (2 * sigma**2)),
        ],
    ),
    Misconception(
        "product_as_score",
        "the weights are those of the products x_q · x_k: nearness is wanted here, and a far key has a large product",
        [
            lambda x_q, x_k, y, sigma: (
                softmax(np.outer(x_q, x_k) / (2 * sigma**2)) @ y,
                softmax(np.outer(x_q, x_k) / (2 * sigma**2)),
            ),
            lambda x_q, x_k, y, sigma: (softmax(np.outer(x_q, x_k)) @ y, softmax(np.outer(x_q, x_k))),
            lambda x_q, x_k, y, sigma: (
                softmax(np.outer(x_q, x_k) / sigma**2) @ y,
                softmax(np.outer(x_q, x_k) / sigma**2),
            ),
        ],
    ),
    Misconception(
        "normalised_over_queries",
        "every column of the weights sums to 1, not every row: the sum runs over the queries, not over the keys",
        [
            _kernel(_gaussian, _over_queries),
            _kernel(_gaussian, lambda scores: _shares()(scores, 0)),
            _keys_as_queries,
        ],
        look_at="Which axis sums to 1",
    ),
    Misconception(
        "normalised_over_everything",
        "all weights of the table together sum to 1, not every row",
        [_kernel(_gaussian, _over_table), _kernel(_gaussian, lambda scores: np.exp(scores) / np.exp(scores).sum())],
        look_at="Which axis sums to 1",
    ),
    Misconception(
        "lost_keepdims",
        "the sum of each row has lost its axis: it does not fit the table, or where m = n it divides the columns",
        [
            _kernel(_gaussian, lambda scores: np.exp(scores) / np.exp(scores).sum(axis=1)),
            _kernel(_gaussian, _shares(_largest, keep=False)),
        ],
        look_at="Which axis sums to 1",
    ),
    Misconception(
        "transposed_weights",
        "the weights come back with keys as rows, (n, m), where queries are the rows, (m, n)",
        [_keys_as_rows, _kernel_then(lambda pred, weights, y: (pred, weights.T))],
    ),
    Misconception(
        "unnormalised",
        "the rows do not sum to 1: the exponentials are not divided by their sum",
        [
            _kernel(_gaussian, np.exp),
            _kernel(_gaussian, lambda scores: _undivided(scores)),
            _kernel(_density, lambda scores: scores),
        ],
    ),
    Misconception(
        "underflow",
        "rows of queries far from every key are NaN: all their exponentials are 0, and 0 is divided by 0; the largest "
        "score of each row has to be subtracted first",
        [
            _kernel(_gaussian, lambda scores: _shares()(scores)),
            _kernel(_gaussian, _shares(lambda x, axis: x.max())),
        ],
        look_at="Scores too large for exp",
    ),
    Misconception(
        "zero_when_far",
        "queries far from every key get no weight at all: 0 divided by 0 is avoided by a small number or by replacing "
        "NaN, where subtracting the row's largest score gives the right weights",
        [_kernel(_gaussian, _with_eps), _kernel(_gaussian, lambda scores: np.nan_to_num(_shares()(scores)))],
        look_at="Scores too large for exp",
    ),
    Misconception(
        "equal_when_far",
        "queries far from every key get equal weights, where subtracting the row's largest score gives the right ones",
        [_kernel(_gaussian, _equal_if_empty), _kernel(_gaussian, _clipped(-700, None))],
        look_at="Scores too large for exp",
    ),
    Misconception(
        "nearest_only",
        "the nearest key answers alone, as if its weight were 1 and all others 0",
        _kernel(_gaussian, _one_hot_nearest),
    ),
    Misconception(
        "plain_mean",
        "every prediction is the same, the mean of y: weights play no part in it",
        _kernel_then(lambda pred, weights, y: (np.full_like(pred, y.mean()), weights)),
    ),
    Misconception(
        "prediction_by_n",
        "the predictions are too small by the number of keys: a sum is enough, since the weights sum to 1",
        _kernel_then(lambda pred, weights, y: (pred / len(y), weights)),
    ),
    Misconception(
        "prediction_not_summed",
        "the prediction still has a column per key: the products are not added up",
        _kernel_then(lambda pred, weights, y: (weights * y, weights)),
    ),
    Misconception(
        "prediction_over_queries",
        "y meets the queries, not the keys: the products are summed over the wrong axis",
        [
            _kernel_then(lambda pred, weights, y: (y @ weights, weights)),
            _kernel_then(lambda pred, weights, y: ((weights * y).sum(axis=0), weights)),
        ],
    ),
    Misconception(
        "overwrites_inputs",
        "an input is changed by the call: an operation such as /= or a sort in place writes into the given array",
        [_smooth_in_place, _sorted_in_place],
    ),
    *pair_mistakes(kernel_attention, "pred", "pred (m,) and weights (m, n)"),
)


REFERENCES = (
    Reference(
        id="equal_scores",
        reference=(0.2, 0.2, 0.2, 0.2, 0.2),
        accepted=((1 / 5,) * 5, [0.2] * 5, np.full(5, 0.2)),
        misconceptions=EQUAL_SCORES_MISCONCEPTIONS,
        cases=lambda rng: [Case("prediction")],
        # An array of float32 as well: its items are no Python floats.
        view=lambda case, result: result.tolist() if isinstance(result, np.ndarray) else result,
    ),
    Reference(
        id="softmax",
        reference=softmax,
        accepted=(softmax_by_logsumexp, softmax_by_loops, softmax_in_plain_python),
        misconceptions=SOFTMAX_MISCONCEPTIONS,
        cases=softmax_cases,
    ),
    Reference(
        id="soft_lookup",
        reference=soft_lookup,
        accepted=(lookup_by_einsum, lookup_by_loops, lookup_of_a_cooled_query),
        misconceptions=LOOKUP_MISCONCEPTIONS,
        cases=lookup_cases,
        view=parts("out", "weights"),
    ),
    Reference(
        id="kernel_attention",
        reference=kernel_attention,
        accepted=(kernel_by_loops, kernel_by_nearest, kernel_by_products),
        misconceptions=KERNEL_MISCONCEPTIONS,
        cases=kernel_cases,
        view=parts("pred", "weights"),
    ),
)
