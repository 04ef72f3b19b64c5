"""Notebook 03, the hidden half: references, accepted and wrong answers, cases.

Long, since scaled dot-product attention has more well-known wrong forms than any other exercise, and two of
them at once are as common as one.
"""

import math
from typing import Any

import numpy as np

from autograder.exercise import KEEPS_DTYPE, Case, Misconception, Reference, Seed
from autograder.references.scales import (
    by_axis_1,
    by_d,
    by_sqrt_d,
    by_sqrt_dv,
    by_sqrt_tk,
    by_sqrt_tq,
    by_width_of_model,
    no_scale,
    times_sqrt_d,
)

# --- dot_product_std -------------------------------------------------------------------------------------------------


def dot_product_std(d, trials, rng):
    q, k = rng.standard_normal((2, trials, d))
    return (q * k).sum(axis=-1).std()


def std_by_loop(d, trials, rng):
    products = [float(rng.normal(size=d) @ rng.normal(size=d)) for _ in range(trials)]
    mean = sum(products) / trials
    return math.sqrt(sum((x - mean) ** 2 for x in products) / trials)


def std_by_einsum(d, trials, rng):
    products = np.einsum("nd,nd->n", rng.normal(size=(trials, d)), rng.normal(size=(trials, d)))
    return float(np.sqrt(np.mean((products - products.mean()) ** 2)))


def variance(d, trials, rng):
    return dot_product_std(d, trials, rng) ** 2


def std_with_ddof_1(d, trials, rng):
    q, k = rng.standard_normal((2, trials, d))
    return (q * k).sum(axis=-1).std(ddof=1)


def root_mean_square(d, trials, rng):
    q, k = rng.standard_normal((2, trials, d))
    return np.sqrt(((q * k).sum(axis=-1) ** 2).mean())


def sum_of_squares(d, trials, rng):
    q, k = rng.standard_normal((2, trials, d))
    return ((q * k).sum(axis=-1) ** 2).sum()


def root_of_sum_of_squares(d, trials, rng):
    return np.sqrt(sum_of_squares(d, trials, rng))


def std_around_mean_summed(d, trials, rng):
    return dot_product_std(d, trials, rng) * np.sqrt(trials)


def _drawn_from(draw):
    def std(d, trials, rng):
        return (draw(rng, (trials, d)) * draw(rng, (trials, d))).sum(axis=-1).std()

    return std


def std_from_global_numbers(d, trials, rng):
    q, k = np.random.randn(2, trials, d)  # noqa: NPY002 the mistake itself
    return (q * k).sum(axis=-1).std()


def std_from_own_generator(d, trials, rng):
    return dot_product_std(d, trials, np.random.default_rng())


def std_from_own_seed(d, trials, rng):
    return dot_product_std(d, trials, np.random.default_rng(0))


def analytic(d, trials, rng):
    return math.sqrt(d)


def _always(number):
    return lambda d, trials, rng: dot_product_std(d, number, rng)


def one_query_for_all(d, trials, rng):
    return (rng.standard_normal((trials, d)) @ rng.standard_normal(d)).std()


def query_is_key(d, trials, rng):
    q = rng.standard_normal((trials, d))
    return (q * q).sum(axis=-1).std()


def every_query_with_every_key(d, trials, rng):
    q, k = rng.standard_normal((2, trials, d))
    return (q @ k.T).std()


def unsummed(d, trials, rng):
    q, k = rng.standard_normal((2, trials, d))
    return (q * k).std()


def summed_over_trials(d, trials, rng):
    q, k = rng.standard_normal((2, trials, d))
    return (q * k).sum(axis=0).std()


def already_scaled(d, trials, rng):
    return dot_product_std(d, trials, rng) / math.sqrt(d)


def mean_of_products(d, trials, rng):
    q, k = rng.standard_normal((2, trials, d))
    return (q * k).sum(axis=-1).mean()


def std_cases(rng):
    def seed():
        return Seed(int(rng.integers(2**31)))

    yield Case("grows_like_sqrt_d", (4, 40, seed(), 150))
    yield Case("grows_like_sqrt_d", (64, 40, seed(), 300))
    yield Case("few_trials", (25, 2, seed(), 500))
    yield Case("spread", (1, 10, seed(), 1200))
    yield Case("spread", (3, 20, seed(), 300))
    yield Case("one_trial", (64, 1, seed(), 600))
    yield Case("follows_rng", (8, 10, seed(), 4))


CHANCE = 1e-7  # that two samples of one distribution are told apart, a case
SIGMAS = 6.0  # the same for the difference of two means, in standard errors


def _draws(outcome):
    """The numbers that the calls gave, or what is wrong with one of them; rounded, so that 0 equals nearly 0."""
    for value in outcome["draws"]:
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if isinstance(value, np.ndarray):
            return f"the result has the shape {value.shape}; one number is wanted"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"the result is {value if value is None else type(value).__name__}; one number is wanted"
        if math.isnan(value):
            return "the result is NaN"
    return np.round([float(value) for value in outcome["draws"]], 7)


def _follows(outcome):
    """Whether a generator in the same state gives the same result, and in another state another."""
    first, again = np.asarray(outcome["draws"][0], float), np.asarray(outcome["again"], float)
    repeats = bool(np.allclose(first, again, rtol=1e-9, atol=1e-9, equal_nan=True))
    return repeats, len(set(_draws(outcome))) > 1


def same_distribution(case, wanted, got):
    """Whether two answers' results could come from one distribution: means, and the whole curve (Kolmogorov-Smirnov).

    The results of a right answer fail less than once in a million runs.
    """
    a, b = _draws(wanted), _draws(got)
    if isinstance(a, str) or isinstance(b, str):
        if isinstance(b, str):
            return None if isinstance(a, str) and a == b else b
        return f"a number, {b[0]:.4g}, where {a}"
    if case.check == "follows_rng":
        if _follows(wanted) == _follows(got):
            return None
        repeats, _ = _follows(got)
        return f"every call gives {b[0]:.5g}" if repeats else "two generators in the same state give different results"
    if case.check == "one_trial":
        return None if np.allclose(a, b, atol=1e-6) or _overlap(a, b) else f"{b[0]:.4g} for one product, not {a[0]:.4g}"
    calls = f"over {len(b)} calls"
    error = math.hypot(a.std(), b.std()) / math.sqrt(len(a))
    if abs(a.mean() - b.mean()) > SIGMAS * error + 1e-9 * abs(a.mean()):
        return f"{calls} the mean is {b.mean():.4g}; right answers give {a.mean():.4g}"
    if _overlap(a, b):
        return None
    return (
        f"{calls} the mean is right, but results lie between {b.min():.4g} and {b.max():.4g} with a standard deviation "
        f"of {b.std():.3g}; right answers lie between {a.min():.4g} and {a.max():.4g}, with {a.std():.3g}"
    )


def _overlap(a, b):
    """Whether the largest distance between the two empirical distributions is one that chance gives."""
    points = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(x), points, side="right") / len(x) for x in (a, b)]
    limit = math.sqrt(-math.log(CHANCE / 2) / 2 * (len(a) + len(b)) / (len(a) * len(b)))
    return bool(np.abs(below[0] - below[1]).max() <= limit)


STD_MISCONCEPTIONS = (
    Misconception("variance", "the results grow like d, not like √d: this is the variance, not its root", variance),
    Misconception(
        "ddof_1",
        "with 2 trials the results are √2 times too large and with 1 there is none: the sum of squares was divided by "
        "trials − 1, not by trials",
        std_with_ddof_1,
    ),
    Misconception(
        "mean_not_subtracted",
        "one product alone has a spread above 0: the distances are taken from 0, not from the mean of the products",
        root_mean_square,
    ),
    Misconception(
        "sum_of_squares",
        "the results grow with the number of trials: squares are added up and never divided by how many there are",
        [sum_of_squares, root_of_sum_of_squares, std_around_mean_summed],
    ),
    Misconception(
        "not_unit_variance",
        "the results grow like √d, but times a factor: the numbers in q and k do not have variance 1",
        [
            _drawn_from(lambda rng, shape: rng.random(shape)),
            _drawn_from(lambda rng, shape: rng.uniform(-1, 1, shape)),
            _drawn_from(lambda rng, shape: rng.normal(0, 2, shape)),
            _drawn_from(lambda rng, shape: rng.normal(0, 0.5, shape)),
        ],
    ),
    Misconception(
        "not_normal",
        "at d = 1 the results vary less than those of products of two normal numbers: what was drawn has variance 1 "
        "but is not standard normal",
        [
            _drawn_from(lambda rng, shape: rng.uniform(-math.sqrt(3), math.sqrt(3), shape)),
            _drawn_from(lambda rng, shape: rng.choice([-1.0, 1.0], shape)),
        ],
    ),
    Misconception(
        "global_generator",
        "the distribution is right, but generators in the same state give different results: the numbers do not come "
        "from rng",
        [std_from_global_numbers, std_from_own_generator],
    ),
    Misconception(
        "own_seed",
        "every call gives the same number: the generator is made anew inside, with a seed of its own",
        std_from_own_seed,
    ),
    Misconception("analytic", "every result is exactly √d: nothing was drawn and measured", analytic),
    Misconception(
        "trials_ignored",
        "the results do not vary more when trials is small: the number of pairs does not follow trials",
        [_always(number) for number in (1_000, 100, 500, 200)],
    ),
    Misconception(
        "one_query",
        "the results vary far too much: all keys of a call meet the same query, so its length decides",
        one_query_for_all,
    ),
    Misconception("query_is_key", "the results are √2 times too large: every vector meets itself", query_is_key),
    Misconception(
        "all_pairs",
        "with 2 trials the results spread over more than 2 products: q @ k.T pairs every query with every key",
        every_query_with_every_key,
    ),
    Misconception(
        "not_summed",
        "the results are near 1 whatever d is: the products of single numbers were never summed over d",
        unsummed,
    ),
    Misconception(
        "wrong_axis",
        "the results grow with trials, not with d: the sum ran over the trials",
        summed_over_trials,
    ),
    Misconception(
        "already_scaled", "the results are near 1 whatever d is: the products were divided by √d", already_scaled
    ),
    Misconception("mean", "the results are near 0: this is the mean of the products", mean_of_products),
)

# --- softmax_jacobian ------------------------------------------------------------------------------------------------


def softmax_jacobian(p):
    return np.diag(p) - np.outer(p, p)


def jacobian_by_loops(p):
    return [[float(p[i]) * ((i == j) - float(p[j])) for j in range(len(p))] for i in range(len(p))]


def jacobian_by_broadcast(p):
    return p[:, None] * (np.eye(len(p), dtype=p.dtype) - p)


def jacobian_in_place(p):
    out = -p[:, None] @ p[None, :]
    out[np.arange(len(p)), np.arange(len(p))] += p
    return out


def _soft(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def jacobian_overwriting_p(p):
    out = -np.outer(p, p)
    p *= 1 - p
    np.fill_diagonal(out, p)
    return out


def jacobian_in_float32(p):
    return softmax_jacobian(p).astype(np.float32)


def jacobian_cases(rng):
    def weights(n, dtype=np.float64):
        return _soft(rng.normal(size=n)).astype(dtype)

    yield Case("entries", (weights(5),))
    yield Case("entries", (weights(3, np.float32),))
    yield Case("entries", (weights(8),))
    yield Case("entries", (np.full(4, 0.25),))
    for n, hot in ((4, 2), (1, 0)):
        yield Case("saturated", (np.eye(n)[hot],))
    yield Case(KEEPS_DTYPE, (weights(6, np.float32),))
    yield Case(KEEPS_DTYPE, (weights(6),))


JACOBIAN_MISCONCEPTIONS = (
    Misconception(
        "diagonal_only",
        "everything off the diagonal is 0, as if a score moved only its own weight; the weights sum to 1, so what one "
        "gains the others lose",
        lambda p: np.diag(p * (1 - p)),
    ),
    Misconception("just_diag_p", "this is diag(p) alone; the products p_i p_j are not subtracted", np.diag),
    Misconception(
        "diagonal_as_vector",
        "these are the n numbers p_i (1 − p_i), the diagonal; the (n, n) matrix also says how each score moves every "
        "other weight",
        lambda p: p * (1 - p),
    ),
    Misconception(
        "sign",
        "every entry has the opposite sign: a higher score would lower its own weight",
        lambda p: -softmax_jacobian(p),
    ),
    Misconception(
        "plus", "the products p_i p_j are added where they are to be subtracted", lambda p: np.diag(p) + np.outer(p, p)
    ),
    Misconception(
        "no_diagonal",
        "the diagonal holds −p_i² instead of p_i (1 − p_i): diag(p) is missing",
        lambda p: -np.outer(p, p),
    ),
    Misconception(
        "off_diagonal_kept_p",
        "the diagonal is right, but off it stands p_i (1 − p_j), which has the wrong sign and no δ_ij",
        lambda p: np.outer(p, 1 - p),
    ),
    Misconception(
        "uses_scores",
        "the matrix belongs to softmax(p): p already is the weights, and the softmax was taken once more",
        lambda p: softmax_jacobian(_soft(p)),
    ),
    Misconception(
        "scalar_product",
        "the same number is subtracted everywhere: p @ p is the sum of the p_i², the matrix of all products is "
        "np.outer(p, p)",
        [lambda p: np.diag(p) - p @ p, lambda p: np.diag(p) - p @ p.T],
    ),
    Misconception(
        "squares",
        "column j has p_j² subtracted from every entry: p * p multiplies p entry by entry and makes no matrix",
        [lambda p: np.diag(p) - p * p, lambda p: np.diag(p) - (p * p)[:, None]],
    ),
    Misconception(
        "identity",
        "the diagonal holds 1 − p_i²: the identity stands where diag(p) should",
        lambda p: np.eye(len(p), dtype=p.dtype) - np.outer(p, p),
    ),
    Misconception(
        "loses_dtype",
        "float32 weights gave a float64 matrix: np.eye(n) and np.zeros((n, n)) are float64 unless told otherwise",
        lambda p: np.eye(len(p)) * p - np.outer(p, p),
    ),
    Misconception("becomes_float32", "float64 weights gave a float32 matrix", jacobian_in_float32),
    Misconception("changes_p", "the values in p are others after the call", jacobian_overwriting_p),
)
# --- scaled_dot_product_attention ------------------------------------------------------------------------------------


def scaled_dot_product_attention(q, k, v, mask=None):
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    e = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=-1, keepdims=True)
    weights = e / np.where(total == 0, 1, total)
    return weights @ v, weights


def attention_by_loops(q, k, v, mask=None):
    tq, tk, width = q.shape[-2], k.shape[-2], q.shape[-1]
    weights = np.zeros((*q.shape[:-1], tk), q.dtype)
    out = np.zeros((*q.shape[:-1], v.shape[-1]), v.dtype)
    allowed = np.ones(weights.shape, bool) if mask is None else np.broadcast_to(mask, weights.shape)
    for lead in np.ndindex(q.shape[:-2]):
        for i in range(tq):
            keys = [j for j in range(tk) if allowed[(*lead, i, j)]]
            if not keys:
                continue
            row = [sum(float(a) * float(b) for a, b in zip(q[lead][i], k[lead][j], strict=True)) for j in keys]
            row = [x / width**0.5 for x in row]
            total = sum(math.exp(x - max(row)) for x in row)
            for x, j in zip(row, keys, strict=True):
                weights[(*lead, i, j)] = math.exp(x - max(row)) / total
                out[(*lead, i)] += weights[(*lead, i, j)] * v[lead][j]
    return out, weights


def attention_by_einsum(q, k, v, mask=None):
    scores = np.einsum("...id,...jd->...ij", q * float(q.shape[-1]) ** -0.5, k)
    hidden = np.zeros(scores.shape, bool) if mask is None else np.broadcast_to(~mask, scores.shape)
    scores[hidden] = -1e30
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores[hidden] = 0
    weights = scores / np.maximum(scores.sum(-1, keepdims=True), np.finfo(scores.dtype).tiny)
    return np.einsum("...ij,...je->...ie", weights, v), weights


def attention_renormalised(q, k, v, mask=None):
    """Masks after the softmax and shares out again: the same numbers, unless a masked key outweighs all others."""
    scores = np.matmul(q, np.moveaxis(k, -1, -2)) / q.shape[-1] ** 0.5
    e = np.exp(scores - scores.max(-1, keepdims=True))
    weights = e / e.sum(-1, keepdims=True)
    if mask is not None:
        weights = weights * mask
        total = weights.sum(-1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return weights @ v, weights


def _wrong(scale=by_sqrt_d, axis=-1, mask_is=None, empty="zero", shift="row", pairs=None, average=None):
    """An attention with some of its parts replaced; without arguments it is a right one.

    scale:   `(q, k, v) -> factor` of the scores.
    axis:    of the softmax.
    mask_is: how the mask is used: inverted, after, zero, added or transposed.
    empty:   what a query without keys gets: zero, nan, or even shares.
    shift:   what is subtracted before exp: row, all (one maximum for the array) or none.
    pairs:   `(q, k) -> scores`; average: `(weights, v, k) -> out`.
    """

    def attention(q, k, v, mask=None):
        scores = (pairs or _products)(q, k) * scale(q, k, v)
        if mask is not None and mask_is == "inverted":
            mask = ~mask
        if mask is not None and mask_is == "transposed":
            mask = mask.swapaxes(-1, -2)
        if mask is not None and mask_is in (None, "inverted", "transposed"):
            scores = np.where(mask, scores, -1e9 if empty == "even" else -np.inf).astype(scores.dtype)
        elif mask is not None and mask_is == "zero":
            scores = scores * mask
        elif mask is not None and mask_is == "added":
            scores = scores + mask
        with np.errstate(all="ignore"):
            weights = _softmax(scores, axis, shift, empty)
        if mask is not None and mask_is == "after":
            weights = weights * mask
        return (weights @ v if average is None else average(weights, v, k)), weights

    return attention


def _products(q, k):
    return q @ k.swapaxes(-1, -2)


def _softmax(scores, axis, shift, empty):
    keep = axis is not None
    top = scores.max(axis=axis, keepdims=keep) if shift == "row" else scores.max() if shift == "all" else 0
    if empty == "zero":
        top = np.where(np.isneginf(top), 0, top).astype(scores.dtype)
    e = np.exp(scores - top)
    total = e.sum(axis=axis, keepdims=keep)
    if empty == "zero" and shift != "none":
        total = np.where(total == 0, 1, total).astype(scores.dtype)
    weights = e / total
    if empty == "zero" and shift == "none":  # 0/0 of an empty row is mended, that of an underflow is not
        weights = np.where(np.isneginf(scores).all(axis=axis, keepdims=keep), 0, weights).astype(scores.dtype)
    return weights


def reshaped_keys(q, k):
    return q @ k.reshape(*k.shape[:-2], k.shape[-1], k.shape[-2])


def all_axes_reversed(q, k):
    return q @ k.T


def last_axis_is_1(q, k, v, mask=None):
    """Softmax along axis 1, the keys of a 2-D array and of no other."""
    return _wrong(axis=1)(q, k, v, mask)


def two_axes_unpacked(q, k, v, mask=None):
    _, _ = q.shape
    return scaled_dot_product_attention(q, k, v, mask)


def three_axes_unpacked(q, k, v, mask=None):
    _, _, _ = q.shape
    return scaled_dot_product_attention(q, k, v, mask)


def four_axes_unpacked(q, k, v, mask=None):
    _, _, _, _ = q.shape
    return scaled_dot_product_attention(q, k, v, mask)


def transposed_as_3d(q, k, v, mask=None):
    return _wrong(pairs=lambda q, k: q @ k.transpose(0, 2, 1))(q, k, v, mask)


def transposed_as_4d(q, k, v, mask=None):
    return _wrong(pairs=lambda q, k: q @ k.transpose(0, 1, 3, 2))(q, k, v, mask)


def keys_ask(q, k, v, mask=None):
    return _wrong()(k, q, v, mask)


def transposed_average(weights, v, k):
    return weights.swapaxes(-1, -2) @ v


def keys_averaged(weights, v, k):
    return weights @ k


def unnormalised(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    with np.errstate(all="ignore"):
        e = np.exp(scores)
    return e @ v, e


def no_softmax(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = np.where(mask, scores, 0).astype(scores.dtype)
    return scores @ v, scores


def returns_scores(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf).astype(scores.dtype)
    return scaled_dot_product_attention(q, k, v, mask)[0], scores


def softmax_twice(q, k, v, mask=None):
    _, once = scaled_dot_product_attention(q, k, v, mask)
    once = once if mask is None else np.where(mask, once, -np.inf)
    weights = _softmax(once, -1, "row", "zero").astype(q.dtype)
    return weights @ v, weights


def scaled_after_softmax(q, k, v, mask=None):
    _, weights = _wrong(scale=no_scale)(q, k, v, mask)
    weights = weights / math.sqrt(q.shape[-1])
    return weights @ v, weights


def only_out(q, k, v, mask=None):
    return scaled_dot_product_attention(q, k, v, mask)[0]


def weights_first(q, k, v, mask=None):
    return scaled_dot_product_attention(q, k, v, mask)[::-1]


def mask_ignored(q, k, v, mask=None):
    return scaled_dot_product_attention(q, k, v)


def none_is_a_mask(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    scores = np.where(mask, scores, -np.inf)
    with np.errstate(all="ignore"):
        weights = _softmax(scores, -1, "row", "nan")
    return weights @ v, weights


def none_is_a_mask_of_zeros(q, k, v, mask=None):
    if mask is None:
        return np.zeros((*q.shape[:-1], v.shape[-1]), q.dtype), np.zeros((*q.shape[:-1], k.shape[-2]), q.dtype)
    return scaled_dot_product_attention(q, k, v, mask)


def none_is_negated(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    scores[~mask] = -np.inf
    return scores @ v, scores


def truth_of_a_mask(q, k, v, mask=None):
    if mask:
        return scaled_dot_product_attention(q, k, v, mask)
    return scaled_dot_product_attention(q, k, v)


def mask_must_fit(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores[~mask] = -np.inf
    weights = _softmax(scores, -1, "row", "zero")
    return weights @ v, weights


def _filled_with(number):
    """A masked score set to a number that a real score can come near to."""

    def attention(q, k, v, mask=None):
        scores = _products(q, k) * by_sqrt_d(q, k, v)
        if mask is not None:
            scores = np.where(mask, scores, number).astype(scores.dtype)
        weights = _softmax(scores, -1, "row", "zero")
        if mask is not None:
            weights = np.where(mask.any(axis=-1, keepdims=True), weights, 0).astype(weights.dtype)
        return weights @ v, weights

    return attention


def _clipped_at(number):
    def attention(q, k, v, mask=None):
        scores = np.clip(_products(q, k) * by_sqrt_d(q, k, v), -number, number)
        if mask is not None:
            scores = np.where(mask, scores, -np.inf).astype(scores.dtype)
        weights = _softmax(scores, -1, "row", "zero")
        return weights @ v, weights

    return attention


def added_minus_1e9(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = (scores + np.where(mask, 0.0, -1e9)).astype(scores.dtype)
    weights = _softmax(scores, -1, "row", "nan")
    return weights @ v, weights


def nan_only_in_out(q, k, v, mask=None):
    with np.errstate(all="ignore"):
        out, weights = _wrong(empty="nan")(q, k, v, mask)
    return out, np.nan_to_num(weights)


def nan_only_in_weights(q, k, v, mask=None):
    with np.errstate(all="ignore"):
        out, weights = _wrong(empty="nan")(q, k, v, mask)
    return np.nan_to_num(out), weights


def queries_scaled_in_place(q, k, v, mask=None):
    q *= 1 / math.sqrt(q.shape[-1])
    return _wrong(scale=no_scale)(q, k, v, mask)


def keys_scaled_in_place(q, k, v, mask=None):
    k /= math.sqrt(k.shape[-1])
    return _wrong(scale=no_scale)(q, k, v, mask)


def mask_negated_in_place(q, k, v, mask=None):
    if mask is not None:
        np.logical_not(mask, out=mask)
    return scaled_dot_product_attention(q, k, v, None if mask is None else ~mask)


def in_float64(q, k, v, mask=None):
    out, weights = scaled_dot_product_attention(q, k, v, mask)
    return out.astype(np.float64), weights.astype(np.float64)


def weights_in_float64(q, k, v, mask=None):
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    out, weights = scaled_dot_product_attention(q, k, v, mask)
    return out, weights.astype(scores.dtype)


def in_float32(q, k, v, mask=None):
    return tuple(part.astype(np.float32) for part in scaled_dot_product_attention(q, k, v, mask))


def random_mask(rng, *shape):
    """A mask in which every query may attend to at least one key and may not attend to at least one."""
    allowed = rng.random(shape) < 0.55
    order = np.argsort(rng.random(shape), axis=-1)
    np.put_along_axis(allowed, order[..., :1], True, axis=-1)
    np.put_along_axis(allowed, order[..., 1:2], False, axis=-1)
    return allowed


def _qkv(rng, lead, tq, tk, d, dv, dtype=np.float64):
    return tuple(rng.normal(size=(*lead, *axes)).astype(dtype) for axes in ((tq, d), (tk, d), (tk, dv)))


def attention_cases(rng):
    first = "weights_and_output"
    yield Case(first, _qkv(rng, (), 4, 5, 6, 9))
    yield Case(first, _qkv(rng, (), 5, 5, 5, 5))
    yield Case(first, _qkv(rng, (), 6, 3, 11, 11, np.float32))
    yield Case(first, _qkv(rng, (), 1, 2, 1, 3))
    yield Case("leading_axes", _qkv(rng, (2, 3), 4, 5, 6, 3))
    yield Case("leading_axes", _qkv(rng, (2,), 5, 4, 7, 3))
    yield Case("leading_axes", _qkv(rng, (3, 3), 3, 3, 3, 3, np.float32))
    yield Case("leading_axes", _qkv(rng, (3,), 3, 3, 3, 3))
    yield Case("leading_axes", _qkv(rng, (1, 2, 1), 2, 3, 5, 4))
    yield Case("mask", _qkv(rng, (), 4, 5, 6, 9), {"mask": random_mask(rng, 4, 5)})
    yield Case("mask", (*_qkv(rng, (), 5, 5, 5, 5, np.float32), np.tril(np.ones((5, 5), bool))))
    yield Case("mask", _qkv(rng, (2, 3), 4, 5, 6, 3), {"mask": random_mask(rng, 2, 3, 4, 5)})
    yield Case("mask_broadcasts", _qkv(rng, (2, 3), 4, 5, 6, 9), {"mask": random_mask(rng, 4, 5)})
    yield Case("mask_broadcasts", _qkv(rng, (3,), 3, 3, 3, 3), {"mask": random_mask(rng, 3, 3)})
    yield Case("mask_broadcasts", _qkv(rng, (2, 3), 4, 5, 6, 3), {"mask": random_mask(rng, 2, 1, 1, 5)})
    yield Case("mask_broadcasts", _qkv(rng, (), 4, 8, 6, 9), {"mask": random_mask(rng, 8)})
    empty = random_mask(rng, 4, 5)
    empty[[1, 3]] = False
    yield Case("empty_rows", _qkv(rng, (), 4, 5, 6, 3), {"mask": empty})
    padded = random_mask(rng, 2, 1, 1, 5)
    padded[1] = False
    yield Case("empty_rows", _qkv(rng, (2, 3), 3, 5, 7, 9, np.float32), {"mask": padded})
    yield from _large(rng)
    yield Case(KEEPS_DTYPE, _qkv(rng, (2,), 4, 5, 6, 3, np.float32))
    yield Case(KEEPS_DTYPE, _qkv(rng, (), 4, 5, 6, 9, np.float32), {"mask": empty})
    yield Case(KEEPS_DTYPE, _qkv(rng, (), 4, 5, 6, 3), {"mask": random_mask(rng, 4, 5)})


def _large(rng):
    """Scores near +10000 and near −10000 that differ by a little, scores on both sides, and a mask among low ones."""
    q, k, v = _qkv(rng, (), 4, 5, 6, 9)
    q[:, 0], k[:, 0] = 9.9e3 * math.sqrt(6) * np.array([1, -1, 1, -1]), 1.0
    yield Case("large_scores", (q, k, v))
    q, k, v = _qkv(rng, (), 3, 5, 6, 7)
    yield Case("large_scores", (q, 3e3 * k, v))
    q, k, v = _qkv(rng, (2,), 4, 5, 6, 3)
    q[..., 0], k[..., 0] = -9.995e3 * math.sqrt(6), 1.0
    yield Case("large_scores", (q, k, v), {"mask": random_mask(rng, 4, 5)})


# Mistakes in the scores or the softmax, which may go with a mistake in the mask. Each: sentence, and what is replaced.
SCORES: dict[str, tuple[str, dict[str, Any]]] = {
    "no_scale": (
        "the weights are those of q kᵀ undivided: every row is too sharp, since the scores were not divided by √D",
        {"scale": no_scale},
    ),
    "divided_by_d": (
        "the weights are those of q kᵀ / D: every row is too even, since the scores were divided by D and not by √D",
        {"scale": by_d},
    ),
    "times_sqrt_d": (
        "the weights are those of q kᵀ times √D: the scores were multiplied where they are to be divided",
        {"scale": times_sqrt_d},
    ),
    "divided_by_sqrt_dv": (
        "the scores are divided by √Dv, from the width of the values, which has no part in the product of q and k",
        {"scale": by_sqrt_dv},
    ),
    "divided_by_sqrt_tk": (
        "the scores are divided by √Tk, from the number of keys; the product sums over the D numbers of a key",
        {"scale": by_sqrt_tk},
    ),
    "softmax_over_queries": (
        "every column sums to 1: the softmax ran over the queries, not over the keys",
        {"axis": -2},
    ),
    "softmax_over_everything": (
        "all weights of the array together sum to 1, not every row: the softmax ran over all axes",
        {"axis": None},
    ),
    "reshaped_keys": (
        "the scores pair queries with numbers of different keys: reshape to (D, Tk) refills k row by row; it does not "
        "swap its axes",
        {"pairs": reshaped_keys},
    ),
    "no_max_subtraction": (
        "scores of ±10000 give NaN: exp overflowed or every exponential was 0, since no row had its maximum subtracted",
        {"shift": "none"},
    ),
}
# Mistakes in the mask.
MASKS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "inverted_mask": (
        "the keys that the mask allows weigh 0 and the others share the 1: True was read as hidden",
        [{"mask_is": "inverted"}, {"mask_is": "inverted", "empty": "nan"}, {"mask_is": "inverted", "empty": "even"}],
    ),
    "mask_after_softmax": (
        "masked keys weigh 0, and rows with a masked key sum to less than 1: the mask came after the softmax, and what "
        "it took away was not shared out again",
        [{"mask_is": "after"}],
    ),
    "masked_score_0": (
        "a masked key weighs as much as a key with score 0, for exp(0) = 1; only exp(−∞) is 0",
        [{"mask_is": "zero"}],
    ),
    "added_mask": (
        "masked keys keep their scores and allowed ones have 1 more: True and False were added as 1 and 0",
        [{"mask_is": "added"}],
    ),
    "nan_on_empty_row": (
        "a query that may attend to nothing gives NaN: its exponentials are all 0, and 0 was divided by 0",
        [{"empty": "nan"}],
    ),
    "even_on_empty_row": (
        "a query that may attend to nothing still gives out weights that sum to 1: a large negative number in every "
        "place is the same as 0 in every place",
        [{"empty": "even"}],
    ),
}


def _one_by_one():
    for name, (sentence, parts) in SCORES.items():
        yield Misconception(name, sentence, _wrong(**parts))
    for name, (sentence, variants) in MASKS.items():
        yield Misconception(name, sentence, [_wrong(**parts) for parts in variants])


def _two_at_once():
    for a, (first, parts) in SCORES.items():
        for b, (second, variants) in MASKS.items():
            if a == "softmax_over_everything" and b.endswith("_on_empty_row"):
                continue  # the same numbers as without it: an empty row leaves other rows to divide by
            if a == "no_max_subtraction" and b == "even_on_empty_row":
                continue  # the same numbers as NaN there: exp(-1e9) is 0
            wrong = [_wrong(**parts, **others) for others in variants]
            yield Misconception(f"{a}+{b}", f"{first}; and {second}", wrong)
    for a in ("softmax_over_queries", "softmax_over_everything", "reshaped_keys", "no_max_subtraction"):
        for b in ("no_scale", "divided_by_d"):
            wrong = _wrong(**SCORES[a][1], **SCORES[b][1])
            yield Misconception(f"{b}+{a}", f"{SCORES[b][0]}; and {SCORES[a][0]}", wrong)


ATTENTION_MISCONCEPTIONS = (
    *_one_by_one(),
    Misconception(
        "divided_by_model_width",
        "with heads, the scores are divided by √(H·D): the scale is that of one head, √D",
        _wrong(scale=by_width_of_model),
    ),
    Misconception(
        "divided_by_sqrt_tq",
        "the scores are divided by √Tq, from the number of queries; the product sums over the D numbers of a key",
        _wrong(scale=by_sqrt_tq),
    ),
    Misconception(
        "width_from_axis_1",
        "right for 2-D inputs; with leading axes the scores are divided by the root of the size of axis 1, which is "
        "then not the width: it is the last axis, shape[-1]",
        _wrong(scale=by_axis_1),
    ),
    Misconception(
        "softmax_over_batch",
        "along the first axis the weights sum to 1: the softmax ran over the queries of a 2-D input and over the batch "
        "of a larger one",
        _wrong(axis=0),
    ),
    Misconception(
        "only_2d",
        "right for (Tq, D), and not with leading axes: .T turns all axes round and axis 1 is the last only in 2-D",
        [_wrong(pairs=all_axes_reversed), last_axis_is_1, two_axes_unpacked],
    ),
    Misconception(
        "only_3d",
        "right for (B, T, D), and stopped by an error with more or fewer axes",
        [three_axes_unpacked, transposed_as_3d],
    ),
    Misconception(
        "only_4d",
        "right for (B, H, T, D), and stopped by an error with more or fewer axes",
        [four_axes_unpacked, transposed_as_4d],
    ),
    Misconception(
        "values_from_k",
        "the weights are right, and the output is their average of k, not of v",
        _wrong(average=keys_averaged),
    ),
    Misconception(
        "q_and_k_swapped",
        "the weights are softmax(k qᵀ / √D): row i belongs to key i and sums over the queries",
        keys_ask,
    ),
    Misconception(
        "average_transposed",
        "the weights are right, and the output is their transpose times v: each value was handed to the wrong side",
        _wrong(average=transposed_average),
    ),
    Misconception(
        "one_maximum_for_all",
        "rows whose scores are far below the largest of the array give NaN: the maximum of all was subtracted, not "
        "that of each row",
        [_wrong(shift="all"), _wrong(shift="all", empty="nan")],
    ),
    Misconception(
        "clipped_scores",
        "scores far from 0 are cut off at a limit, so keys beyond it cannot be told apart",
        [_clipped_at(number) for number in (50, 80, 100, 500, 700)],
    ),
    Misconception(
        "fill_not_low_enough",
        "where the allowed scores are near −10000, masked keys have weight: the number put in their place is not "
        "lower; −∞ is lower than every score",
        [_filled_with(number) for number in (-1e4, -1e3, -100.0, -9999.0)],
    ),
    Misconception(
        "unmasked_on_empty_row",
        "a query that may attend to nothing attends as without a mask: one large number was added to all its scores",
        added_minus_1e9,
    ),
    Misconception(
        "nan_on_empty_row_in_one_result",
        "for a query that may attend to nothing, one of the two results is 0 and the other NaN",
        [nan_only_in_out, nan_only_in_weights],
    ),
    Misconception(
        "mask_transposed",
        "the mask works the wrong way round: its rows were read as keys and its columns as queries",
        _wrong(mask_is="transposed"),
    ),
    Misconception("mask_ignored", "the results are those without a mask", mask_ignored),
    Misconception(
        "none_is_a_mask",
        "without a mask nothing may be attended to: None was used as a mask, and NumPy reads it as False",
        [none_is_a_mask, none_is_a_mask_of_zeros],
    ),
    Misconception(
        "none_is_negated",
        "without a mask the call stops: ~None has no meaning, so None needs a case of its own",
        none_is_negated,
    ),
    Misconception(
        "truth_of_a_mask",
        "with a mask the call stops: `if mask` asks whether an array is true; `mask is not None` is meant",
        truth_of_a_mask,
    ),
    Misconception(
        "mask_must_fit",
        "a mask of the full shape works and a smaller one stops with an error: indexing with a mask does not "
        "broadcast, np.where does",
        mask_must_fit,
    ),
    Misconception(
        "unnormalised",
        "the weights are exp(score): rows do not sum to 1, since nothing was divided by their sum",
        unnormalised,
    ),
    Misconception("no_softmax", "the weights are the scores themselves, without a softmax", no_softmax),
    Misconception(
        "returns_scores", "the output is right, and the scores stand in the place of the weights", returns_scores
    ),
    Misconception("softmax_twice", "the weights are too even: they went through a second softmax", softmax_twice),
    Misconception(
        "scaled_after_softmax",
        "every row sums to 1/√D: the weights were divided, and the scores were not",
        scaled_after_softmax,
    ),
    Misconception("only_out", "one array came back; (out, weights) are two", only_out),
    Misconception(
        "weights_first", "the two results are in the other order: out comes first, then weights", weights_first
    ),
    Misconception(
        "becomes_float64",
        "float32 inputs gave float64 results: in NumPy 2 dividing by np.sqrt(D), a float64, makes them so; math.sqrt "
        "gives a Python number, which does not",
        [in_float64, weights_in_float64],
    ),
    Misconception("becomes_float32", "float64 inputs gave float32 results", in_float32),
    Misconception(
        "changes_q_or_k",
        "the values of an input are others after the call: /= and *= write into the array that was given",
        [queries_scaled_in_place, keys_scaled_in_place],
    ),
    Misconception(
        "changes_mask",
        "the mask is another after the call: something wrote into the array that was given",
        mask_negated_in_place,
    ),
    *_two_at_once(),
)

# --- repaired_attention ----------------------------------------------------------------------------------------------


def repaired_attention(q, k, v):
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(k.shape[-1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    return weights @ v, weights


def _half_repaired(scale=by_sqrt_d, axis=-1, shift=-1):
    """The given function with its own shift and divisor, either of which may be as broken as before."""

    def attention(q, k, v):
        scores = q @ k.swapaxes(-1, -2) * scale(q, k, v)
        e = np.exp(scores - scores.max(axis=shift, keepdims=True))
        with np.errstate(all="ignore"):
            weights = e / e.sum(axis=axis, keepdims=True)
        return weights @ v, weights

    return attention


as_given = _half_repaired(scale=by_sqrt_tk, axis=-2)


def repaired_with_softmax(q, k, v):
    return attention_by_einsum(q, k, v)


def repaired_and_float64(q, k, v):
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(k.shape[-1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    return weights @ v, weights


def repaired_in_place(q, k, v):
    q *= 1 / math.sqrt(q.shape[-1])
    return _half_repaired(scale=no_scale)(q, k, v)


def repair_cases(rng):
    def qkv(lead, t, d, dtype=np.float64):
        return _qkv(rng, lead, t, t, d, d, dtype)

    yield Case("weights_and_output", qkv((), 4, 6))
    yield Case("weights_and_output", qkv((), 7, 3, np.float32))
    yield Case("weights_and_output", qkv((), 5, 5))
    yield Case("leading_axes", qkv((2, 3), 4, 6))
    yield Case("leading_axes", qkv((5,), 2, 3))
    q, k, v = qkv((), 4, 6)
    q[:, 0], k[:, 0] = 9.9e3 * math.sqrt(6) * np.array([1, -1, 1, -1]), 1.0
    yield Case("large_scores", (q, k, v))
    yield Case(KEEPS_DTYPE, qkv((2,), 4, 6, np.float32))


_COLUMNS = "every column sums to 1, not every row: the sum of the softmax still runs over the queries"
_BY_T = "the scores are still divided by √T, from the length of the sentence, not by √D"

REPAIR_MISCONCEPTIONS = (
    Misconception("untouched", "both bugs are still there", as_given),
    Misconception(
        "columns_left",
        _COLUMNS,
        [_half_repaired(axis=-2), _half_repaired(axis=-2, shift=-2)],
    ),
    Misconception("scale_left", _BY_T, _half_repaired(scale=by_sqrt_tk)),
    Misconception(
        "scale_left_and_shift_moved", f"{_BY_T}; and {_COLUMNS}", _half_repaired(scale=by_sqrt_tk, axis=-2, shift=-2)
    ),
    Misconception(
        "scale_removed",
        "the scores are not divided at all: the divisor was to be corrected, not dropped",
        [_half_repaired(scale=no_scale), _half_repaired(scale=no_scale, axis=-2)],
    ),
    Misconception(
        "divided_by_d",
        "the scores are divided by D, not by √D",
        [_half_repaired(scale=by_d), _half_repaired(scale=by_d, axis=-2)],
    ),
    Misconception(
        "first_axis",
        "the sum of the softmax runs over the first axis: over the queries of a 2-D input, over the batch of a larger "
        "one",
        [_half_repaired(axis=0), _half_repaired(axis=0, scale=by_sqrt_tk)],
    ),
    Misconception(
        "over_everything",
        "all weights together sum to 1: the sum of the softmax runs over all axes",
        [_half_repaired(axis=None), _half_repaired(axis=None, scale=by_sqrt_tk)],
    ),
    Misconception(
        "axis_1",
        "right for 2-D inputs; with leading axes the sum of the softmax runs over axis 1, which is then not the keys",
        _half_repaired(axis=1),
    ),
    Misconception(
        "width_from_axis_1",
        "right for 2-D inputs; with leading axes the divisor is the root of the size of axis 1, which is then not D",
        _half_repaired(scale=by_axis_1),
    ),
    Misconception(
        "shift_over_queries",
        "scores near ±10000 give NaN: the maximum of each column was subtracted, so a whole row can underflow",
        [_half_repaired(shift=-2), _half_repaired(shift=None)],
    ),
    Misconception(
        "becomes_float64", "float32 inputs gave float64 results: np.sqrt(D) is a float64", repaired_and_float64
    ),
    Misconception(
        "changes_q", "q is another after the call: operations such as *= write into the array given", repaired_in_place
    ),
)

# --- the table -------------------------------------------------------------------------------------------------------

REFERENCES = (
    Reference(
        id="dot_product_std",
        reference=dot_product_std,
        accepted=(std_by_loop, std_by_einsum),
        misconceptions=STD_MISCONCEPTIONS,
        cases=std_cases,
        agree=same_distribution,
    ),
    Reference(
        id="saturation",
        reference=1024,
        accepted=(1024.0, np.int64(1024)),
        misconceptions=(
            Misconception(
                "the_narrowest",
                "4 numbers make the scores least spread of the three, so the weights stay the most even",
                4,
            ),
            Misconception(
                "the_middle",
                "the spread grows with every number a vector gets and has no best width in between",
                64,
            ),
        ),
        cases=lambda rng: [Case("prediction")],
    ),
    Reference(
        id="softmax_jacobian",
        reference=softmax_jacobian,
        accepted=(jacobian_by_loops, jacobian_by_broadcast, jacobian_in_place),
        misconceptions=JACOBIAN_MISCONCEPTIONS,
        cases=jacobian_cases,
    ),
    Reference(
        id="scaled_dot_product_attention",
        reference=scaled_dot_product_attention,
        accepted=(attention_by_loops, attention_by_einsum, attention_renormalised),
        misconceptions=ATTENTION_MISCONCEPTIONS,
        cases=attention_cases,
    ),
    Reference(
        id="repaired_attention",
        reference=repaired_attention,
        accepted=(repaired_with_softmax, lambda q, k, v: scaled_dot_product_attention(q, k, v), attention_by_loops),
        misconceptions=REPAIR_MISCONCEPTIONS,
        cases=repair_cases,
    ),
)
