"""Notebook 05, the hidden half: references, accepted and wrong answers, cases.

Long, since self-attention inherits the wrong forms of scaled dot-product attention and adds its own, and a test that a
learner writes can be wrong in as many ways.
"""

import itertools
import math
from typing import Any

import numpy as np

from autograder.exercise import KEEPS_DTYPE, Built, Case, Misconception, Reference, Seed
from autograder.references import written_tests

# --- self_attention --------------------------------------------------------------------------------------------------


def self_attention(x, w_q, w_k, w_v, mask=None):
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    e = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=-1, keepdims=True)
    weights = e / np.where(total == 0, 1, total)
    return weights @ v, weights


def by_loops(x, w_q, w_k, w_v, mask=None):
    (b, t, _), d = x.shape, w_q.shape[1]
    weights = np.zeros((b, t, t), x.dtype)
    out = np.zeros((b, t, w_v.shape[1]), x.dtype)
    allowed = np.broadcast_to(True if mask is None else mask, weights.shape)
    for s, i in np.ndindex(b, t):
        found = {j: float((x[s, i] @ w_q) @ (x[s, j] @ w_k)) / d**0.5 for j in range(t) if allowed[s, i, j]}
        total = sum(math.exp(score - max(found.values())) for score in found.values())
        for j, score in found.items():
            weights[s, i, j] = math.exp(score - max(found.values())) / total
            out[s, i] += weights[s, i, j] * (x[s, j] @ w_v)
    return out, weights


def one_sentence_at_a_time(x, w_q, w_k, w_v, mask=None):
    masks = [None] * len(x) if mask is None else np.broadcast_to(mask, (len(x), x.shape[1], x.shape[1]))
    pairs = [
        self_attention(sentence[None], w_q, w_k, w_v, one if one is None else one[None])
        for sentence, one in zip(x, masks, strict=True)
    ]
    return [out[0] for out, _ in pairs], [weights[0] for _, weights in pairs]


def by_einsum(x, w_q, w_k, w_v, mask=None):
    scores = np.einsum("bic,cd,ed,bje->bij", x, w_q, w_k, x) * float(w_q.shape[1]) ** -0.5
    hidden = np.zeros(scores.shape, bool) if mask is None else np.broadcast_to(~mask, scores.shape)
    scores[hidden] = -1e30
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores[hidden] = 0
    weights = scores / np.maximum(scores.sum(-1, keepdims=True), np.finfo(scores.dtype).tiny)
    return np.einsum("bij,bjc,cd->bid", weights, x, w_v), weights


def values_last(x, w_q, w_k, w_v, mask=None):
    """Averages the tokens first and projects the average: the same, since both are linear."""
    _, weights = self_attention(x, w_q, w_k, w_v, mask)
    return weights @ x @ w_v, weights


def _no_scale(x, q, v):
    return 1.0


def _by_sqrt_d(x, q, v):
    return 1 / math.sqrt(q.shape[-1])


def _by_d(x, q, v):
    return 1 / q.shape[-1]


def _times_sqrt_d(x, q, v):
    return math.sqrt(q.shape[-1])


def _by_sqrt_c(x, q, v):
    return 1 / math.sqrt(x.shape[-1])


def _by_sqrt_t(x, q, v):
    return 1 / math.sqrt(x.shape[1])


def _by_sqrt_dv(x, q, v):
    return 1 / math.sqrt(v.shape[-1])


def _project(x, w_q, w_k, w_v):
    return x @ w_q, x @ w_k, x @ w_v


def _products(q, k):
    return q @ k.swapaxes(-1, -2)


def _average(weights, v, x):
    return weights @ v


def _wrong(
    project=_project, scale=_by_sqrt_d, pairs=_products, mask_is=None, empty="zero", axis=-1, shift="row", give=_average
):
    """A self-attention with some of its parts replaced; without arguments it is a right one.

    project: `(x, w_q, w_k, w_v) -> q, k, v`; pairs: `(q, k) -> scores`; scale: `(x, q, v) -> factor` of the scores.
    mask_is: how the mask is used: inverted, transposed, after, zero or added.
    empty:   what a token that may attend to nothing gets: zero, nan, or even shares.
    axis:    of the softmax. shift: what is subtracted before exp: row, all (one maximum for the array) or none.
    give:    `(weights, v, x) -> out`.
    """

    def attention(x, w_q, w_k, w_v, mask=None):
        q, k, v = project(x, w_q, w_k, w_v)
        scores = pairs(q, k) * scale(x, q, v)
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
        return give(weights, v, x), weights

    return attention


def _softmax(scores, axis=-1, shift="row", empty="zero"):
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


def _picked(*order):
    """Projections in which result number i comes from matrix number `order[i]`; 3 is x itself."""

    def project(x, *matrices):
        return tuple(x if i == 3 else x @ matrices[i] for i in order)

    return project


def _reshaped_keys(q, k):
    return q @ k.reshape(*k.shape[:-2], k.shape[-1], k.shape[-2])


def _all_axes_reversed(q, k):
    return q @ k.T


def _first_sentence_found(q, k):
    return q @ k[0].T


def _first_sentence_asks(q, k):
    return q[:1] @ k.swapaxes(1, 2) + 0 * q @ k.swapaxes(1, 2)


def _mean_scores(q, k):
    return (q @ k.swapaxes(1, 2)).mean(axis=0, keepdims=True).astype(q.dtype) + 0 * q @ k.swapaxes(1, 2)


def across_the_batch(x, w_q, w_k, w_v, mask=None):
    """Every token attends to the tokens of all sentences; the weights are cut to those of its own."""
    b, t, _ = x.shape
    tokens = x.reshape(1, b * t, -1)
    scores = _products(tokens @ w_q, tokens @ w_k) / math.sqrt(w_q.shape[1])
    if mask is not None:
        own = np.broadcast_to(mask, (b, t, t))
        scores = scores.copy()
        for s in range(b):
            rows = slice(s * t, s * t + t)
            scores[0, rows, rows] = np.where(own[s], scores[0, rows, rows], -np.inf)
    weights = _softmax(scores)
    out = (weights @ (tokens @ w_v)).reshape(b, t, -1)
    return out, np.stack([weights[0, s * t : s * t + t, s * t : s * t + t] for s in range(b)])


def flat_across_the_batch(x, w_q, w_k, w_v, mask=None):
    b, t, _ = x.shape
    tokens = x.reshape(1, b * t, -1)
    out, weights = self_attention(tokens, w_q, w_k, w_v)
    return out.reshape(b, t, -1), weights[0]


def same_place_in_all_sentences(x, w_q, w_k, w_v, mask=None):
    out, weights = self_attention(x.swapaxes(0, 1), w_q, w_k, w_v, None)
    return out.swapaxes(0, 1), weights


def first_sentence_only(x, w_q, w_k, w_v, mask=None):
    out, weights = self_attention(x[:1], w_q, w_k, w_v, mask)
    return out[0], weights[0]


def _only_one_sentence(x, w_q, w_k, w_v, mask=None):
    q, k, v = x[0] @ w_q, x[0] @ w_k, x[0] @ w_v
    weights = _softmax(q @ k.T / math.sqrt(q.shape[1]))
    return (weights @ v)[None], weights[None]


def two_axes(x, w_q, w_k, w_v, mask=None):
    _, _ = x.shape
    return self_attention(x, w_q, w_k, w_v, mask)


def unnormalised(x, w_q, w_k, w_v, mask=None):
    q, k, v = _project(x, w_q, w_k, w_v)
    scores = _products(q, k) * _by_sqrt_d(x, q, v)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    with np.errstate(all="ignore"):
        e = np.exp(scores)
        return e @ v, e


def no_softmax(x, w_q, w_k, w_v, mask=None):
    q, k, v = _project(x, w_q, w_k, w_v)
    scores = _products(q, k) * _by_sqrt_d(x, q, v)
    if mask is not None:
        scores = np.where(mask, scores, 0).astype(scores.dtype)
    return scores @ v, scores


def returns_scores(x, w_q, w_k, w_v, mask=None):
    q, k, v = _project(x, w_q, w_k, w_v)
    scores = _products(q, k) * _by_sqrt_d(x, q, v)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf).astype(scores.dtype)
    return self_attention(x, w_q, w_k, w_v, mask)[0], scores


def softmax_twice(x, w_q, w_k, w_v, mask=None):
    _, once = self_attention(x, w_q, w_k, w_v, mask)
    weights = _softmax(once if mask is None else np.where(mask, once, -np.inf).astype(once.dtype))
    return weights @ (x @ w_v), weights


def scaled_after_softmax(x, w_q, w_k, w_v, mask=None):
    _, weights = _wrong(scale=_no_scale)(x, w_q, w_k, w_v, mask)
    weights = weights / math.sqrt(w_q.shape[1])
    return weights @ (x @ w_v), weights


def causal(x, w_q, w_k, w_v, mask=None):
    past = np.tri(x.shape[1], dtype=bool)
    return self_attention(x, w_q, w_k, w_v, past if mask is None else past & mask)


def others_only(x, w_q, w_k, w_v, mask=None):
    others = ~np.eye(x.shape[1], dtype=bool)
    return self_attention(x, w_q, w_k, w_v, others if mask is None else others & mask)


def only_out(x, w_q, w_k, w_v, mask=None):
    return self_attention(x, w_q, w_k, w_v, mask)[0]


def weights_first(x, w_q, w_k, w_v, mask=None):
    return self_attention(x, w_q, w_k, w_v, mask)[::-1]


def mask_ignored(x, w_q, w_k, w_v, mask=None):
    return self_attention(x, w_q, w_k, w_v)


def none_is_a_mask(x, w_q, w_k, w_v, mask=None):
    q, k, v = _project(x, w_q, w_k, w_v)
    scores = np.where(mask, _products(q, k) * _by_sqrt_d(x, q, v), -np.inf)
    with np.errstate(all="ignore"):
        weights = _softmax(scores, empty="nan")
    return weights @ v, weights


def none_is_a_mask_of_zeros(x, w_q, w_k, w_v, mask=None):
    return self_attention(x, w_q, w_k, w_v, np.zeros((), bool) if mask is None else mask)


def none_is_negated(x, w_q, w_k, w_v, mask=None):
    scores = _products(x @ w_q, x @ w_k) / math.sqrt(w_q.shape[1])
    scores[~mask] = -np.inf
    return scores @ (x @ w_v), scores


def truth_of_a_mask(x, w_q, w_k, w_v, mask=None):
    return self_attention(x, w_q, w_k, w_v, mask if mask else None)


def _indexed(empty="zero"):
    """A mask used as an index: it must have the full shape, or it is read along the first axes."""

    def attention(x, w_q, w_k, w_v, mask=None):
        q, k, v = _project(x, w_q, w_k, w_v)
        scores = _products(q, k) * _by_sqrt_d(x, q, v)
        if mask is not None:
            scores[~mask] = -np.inf
        with np.errstate(all="ignore"):
            weights = _softmax(scores, empty=empty)
        return weights @ v, weights

    return attention


def _padding_read(as_padding, empty="zero"):
    """A 2-D mask for which `as_padding(mask, x)` holds is read as (B, T): which tokens of each sentence are real."""

    def attention(x, w_q, w_k, w_v, mask=None):
        if mask is not None and mask.ndim == 2 and as_padding(mask, x):
            mask = mask[:, None, :]
        with np.errstate(all="ignore"):
            return _wrong(empty=empty)(x, w_q, w_k, w_v, mask)

    return attention


def _every(mask, x):
    return True


def _that_fits(mask, x):
    return mask.shape == x.shape[:2]


def _that_cannot_be_square(mask, x):
    return mask.shape == x.shape[:2] and mask.shape[0] != mask.shape[1]


def padding_read_as_queries(x, w_q, w_k, w_v, mask=None):
    if mask is not None and mask.ndim == 2 and mask.shape == x.shape[:2] and x.shape[0] != x.shape[1]:
        mask = mask[:, :, None]
    return self_attention(x, w_q, w_k, w_v, mask)


def padding_ignored(x, w_q, w_k, w_v, mask=None):
    if mask is not None and mask.ndim == 2 and mask.shape[0] not in (1, x.shape[1]):
        mask = None
    return self_attention(x, w_q, w_k, w_v, mask)


def other_error_for_padding(x, w_q, w_k, w_v, mask=None):
    if mask is not None and mask.ndim == 2:
        assert mask.shape[0] in (1, x.shape[1])
    return self_attention(x, w_q, w_k, w_v, mask)


def only_square(x, w_q, w_k, w_v, mask=None):
    if mask is not None and mask.ndim == 2 and mask.shape != (x.shape[1], x.shape[1]):
        raise ValueError(f"mask {mask.shape} is not (T, T)")
    return self_attention(x, w_q, w_k, w_v, mask)


def _kept_from_zero(x, w_q, w_k, w_v, mask=None):
    """No maximum subtracted, and a sum of 0 replaced by 1."""
    q, k, v = _project(x, w_q, w_k, w_v)
    with np.errstate(all="ignore"):
        e = np.exp(_products(q, k) * _by_sqrt_d(x, q, v))
        e = e if mask is None else e * mask
        total = e.sum(axis=-1, keepdims=True)
        weights = e / np.where(total == 0, 1, total).astype(x.dtype)
    return weights @ v, weights


def _filled_and_zeroed(number):
    """The same as `_filled_with`, and the weights of masked tokens set to 0 afterwards."""

    def attention(x, w_q, w_k, w_v, mask=None):
        _, weights = _filled_with(number)(x, w_q, w_k, w_v, mask)
        weights = weights if mask is None else weights * mask
        return weights @ (x @ w_v), weights

    return attention


def _filled_with(number):
    """A masked score set to a number that a real score can come near to."""

    def attention(x, w_q, w_k, w_v, mask=None):
        q, k, v = _project(x, w_q, w_k, w_v)
        scores = _products(q, k) * _by_sqrt_d(x, q, v)
        if mask is None:
            weights = _softmax(scores)
        else:
            weights = _softmax(np.where(mask, scores, number).astype(scores.dtype))
            weights = np.where(np.asarray(mask).any(axis=-1, keepdims=True), weights, 0).astype(weights.dtype)
        return weights @ v, weights

    return attention


def added_minus_1e9(x, w_q, w_k, w_v, mask=None):
    q, k, v = _project(x, w_q, w_k, w_v)
    scores = _products(q, k) * _by_sqrt_d(x, q, v)
    if mask is not None:
        scores = (scores + np.where(mask, 0.0, -1e9)).astype(scores.dtype)
    weights = _softmax(scores)
    return weights @ v, weights


def _shared_out_again(guarded):
    """The mask after the softmax, and what is left divided by its sum, which may have underflowed to 0."""

    def attention(x, w_q, w_k, w_v, mask=None):
        _, weights = self_attention(x, w_q, w_k, w_v)
        if mask is not None:
            weights = weights * mask
            total = weights.sum(axis=-1, keepdims=True)
            weights = weights / guarded(total).astype(x.dtype)
        return weights @ (x @ w_v), weights

    return attention


def nan_only_in_out(x, w_q, w_k, w_v, mask=None):
    out, weights = _wrong(empty="nan")(x, w_q, w_k, w_v, mask)
    return out, np.nan_to_num(weights)


def nan_only_in_weights(x, w_q, w_k, w_v, mask=None):
    out, weights = _wrong(empty="nan")(x, w_q, w_k, w_v, mask)
    return np.nan_to_num(out), weights


def _clipped_at(number):
    def pairs(q, k):
        limit = number * math.sqrt(q.shape[-1])
        return np.clip(_products(q, k), -limit, limit)

    return _wrong(pairs=pairs)


def _squeezed(x, w_q, w_k, w_v, mask=None):
    return tuple(part.squeeze() for part in self_attention(x, w_q, w_k, w_v, mask))


def _squeezed_batch(x, w_q, w_k, w_v, mask=None):
    return tuple(part[0] if len(part) == 1 else part for part in self_attention(x, w_q, w_k, w_v, mask))


def _cast(dtype, *which):
    def attention(x, w_q, w_k, w_v, mask=None):
        parts = self_attention(x, w_q, w_k, w_v, mask)
        return tuple(part.astype(dtype) if i in which else part for i, part in enumerate(parts))

    return attention


def _residual(weights, v, x):
    return x + weights @ v


def changes_x(x, w_q, w_k, w_v, mask=None):
    results = self_attention(x, w_q, w_k, w_v, mask)
    x *= 1 / math.sqrt(w_q.shape[1])
    return results


def writes_out_into_x(x, w_q, w_k, w_v, mask=None):
    out, weights = self_attention(x, w_q, w_k, w_v, mask)
    if out.shape == x.shape:
        x[:] = out
    return out, weights


def changes_w_q(x, w_q, w_k, w_v, mask=None):
    w_q /= math.sqrt(w_q.shape[1])
    return _wrong(scale=_no_scale)(x, w_q, w_k, w_v, mask)


def changes_mask(x, w_q, w_k, w_v, mask=None):
    if mask is not None:
        np.logical_not(mask, out=mask)
    return self_attention(x, w_q, w_k, w_v, None if mask is None else ~mask)


def random_mask(rng, *shape):
    """A mask in which every row has at least one True and at least one False."""
    allowed = rng.random(shape) < 0.55
    order = np.argsort(rng.random(shape), axis=-1)
    np.put_along_axis(allowed, order[..., :1], True, axis=-1)
    np.put_along_axis(allowed, order[..., 1:2], False, axis=-1)
    return allowed


def _inputs(rng, b, t, c, d, dv, dtype=np.float64):
    """x and three matrices; the matrices keep q, k and v near variance 1, so that the weights are not saturated."""
    x = rng.normal(size=(b, t, c)).astype(dtype)
    return x, *((rng.normal(size=(c, width)) / math.sqrt(c)).astype(dtype) for width in (d, d, dv))


def attention_cases(rng):
    first, apart = "weights_and_output", "sentences_apart"
    yield Case(first, _inputs(rng, 2, 5, 6, 3, 4))
    yield Case(first, _inputs(rng, 1, 4, 4, 4, 4))
    yield Case(first, _inputs(rng, 2, 3, 7, 11, 5, np.float32))
    yield Case(first, _inputs(rng, 1, 2, 3, 1, 1))
    yield Case(apart, _inputs(rng, 4, 3, 5, 2, 6))
    yield Case(apart, _inputs(rng, 3, 3, 3, 3, 3))
    yield Case(apart, _inputs(rng, 7, 2, 4, 5, 1, np.float32))
    yield Case("one_token", _inputs(rng, 3, 1, 4, 2, 5))
    yield Case("one_token", _inputs(rng, 1, 1, 1, 1, 1))
    yield Case("mask", _inputs(rng, 2, 5, 6, 3, 4), {"mask": random_mask(rng, 5, 5)})
    yield Case("mask", (*_inputs(rng, 3, 3, 3, 3, 3, np.float32), np.tri(3, dtype=bool)))
    yield Case("mask", _inputs(rng, 2, 4, 3, 6, 5), {"mask": random_mask(rng, 2, 4, 4)})
    yield Case("mask_broadcasts", _inputs(rng, 2, 5, 6, 3, 4), {"mask": random_mask(rng, 2, 1, 5)})
    yield Case("mask_broadcasts", _inputs(rng, 3, 3, 3, 3, 3), {"mask": random_mask(rng, 3, 1, 3)})
    yield Case("mask_broadcasts", _inputs(rng, 3, 4, 5, 2, 6), {"mask": random_mask(rng, 1, 4, 4)})
    yield Case("mask_broadcasts", _inputs(rng, 2, 6, 5, 4, 3), {"mask": random_mask(rng, 6)})
    yield Case("mask_broadcasts", _inputs(rng, 1, 4, 3, 2, 5), {"mask": random_mask(rng, 1, 4)})
    yield Case("mask_broadcasts", _inputs(rng, 3, 5, 2, 4, 1), {"mask": random_mask(rng, 1, 5)})
    empty = random_mask(rng, 5, 5)
    empty[[1, 3]] = False
    yield Case("empty_rows", _inputs(rng, 2, 5, 6, 3, 4), {"mask": empty})
    padded = random_mask(rng, 3, 1, 4)
    padded[1] = False
    yield Case("empty_rows", _inputs(rng, 3, 4, 5, 2, 6, np.float32), {"mask": padded})
    yield Case("empty_rows", _inputs(rng, 2, 3, 4, 4, 2), {"mask": np.array([[[True], [False], [True]]] * 2)})
    yield Case("empty_rows", _inputs(rng, 2, 4, 3, 5, 2), {"mask": np.array([[True], [False], [True], [False]])})
    yield Case("empty_rows", _inputs(rng, 3, 1, 4, 2, 5), {"mask": np.array([[[True]], [[False]], [[True]]])})
    padding = np.arange(5) < np.array([[5], [3]])
    yield Case("refuses_padding_mask", _inputs(rng, 2, 5, 6, 3, 4), {"mask": padding})
    yield Case("refuses_padding_mask", _inputs(rng, 4, 3, 3, 3, 3), {"mask": random_mask(rng, 4, 3)})
    yield from _large(rng)
    yield Case(KEEPS_DTYPE, _inputs(rng, 2, 4, 6, 3, 5, np.float32))
    # B = T, where a 2-D mask that is misread gives numbers and no error, and a 3-D one: so that dtypes name no mask.
    yield Case(KEEPS_DTYPE, _inputs(rng, 5, 5, 6, 3, 4, np.float32), {"mask": empty})
    yield Case(KEEPS_DTYPE, _inputs(rng, 2, 4, 6, 3, 5), {"mask": random_mask(rng, 2, 4, 4)})


def _large(rng):
    """Scores near ±9900 that differ by little, scores on both sides, masks among these and among scores near −10000."""
    x, w_q, w_k, w_v = _inputs(rng, 1, 4, 6, 3, 5)
    x[..., 0], x[..., 1] = 1.0, [1, -1, 1, -1]  # q gets its large number from feature 1, k its 1 from feature 0
    w_q[:, 0] = w_k[:, 0] = 0
    w_q[1, 0], w_k[0, 0] = 9.9e3 * math.sqrt(3), 1.0
    w_q[:, 1], w_k[:, 1] = 5e3 * w_q[:, 1], w_k[:, 1] / 5e3  # the same products, from large queries and small keys
    yield Case("large_scores", (x, w_q, w_k, w_v))
    x, w_q, w_k, w_v = _inputs(rng, 2, 4, 6, 5, 3)  # another D: a wrong scale may be right for one
    yield Case("large_scores", (x, 3e3 * w_q, w_k, w_v))
    x, w_q, w_k, w_v = _inputs(rng, 2, 5, 6, 2, 3)  # masked tokens far above the others
    yield Case("large_scores", (x, 3e3 * w_q, w_k, w_v), {"mask": random_mask(rng, 5, 5)})
    x, w_q, w_k, w_v = _inputs(rng, 2, 4, 6, 5, 3)
    x[..., 0] = 1.0
    w_q[:, 0] = w_k[:, 0] = 0
    w_q[0, 0], w_k[0, 0] = -9.995e3 * math.sqrt(5), 1.0
    yield Case("large_scores", (x, w_q, w_k, w_v), {"mask": random_mask(rng, 2, 4, 4)})


# Mistakes in projections, scores or softmax, which may go with a mistake in the mask: sentence, and what is replaced.
SCORES: dict[str, tuple[str, dict[str, Any]]] = {
    "no_scale": (
        "the weights are those of q kᵀ undivided: every row is too sharp, since the scores were not divided by √D",
        {"scale": _no_scale},
    ),
    "divided_by_d": (
        "the weights are those of q kᵀ / D: every row is too even, since the scores were divided by D and not by √D",
        {"scale": _by_d},
    ),
    "divided_by_sqrt_c": (
        "the scores are divided by √C, from the width of the tokens; q and k have D numbers, and their product sums D",
        {"scale": _by_sqrt_c},
    ),
    "softmax_over_queries": (
        "every column sums to 1: the softmax ran over axis 1, the queries, not over the keys",
        {"axis": 1},
    ),
    "x_as_values": (
        "the weights are right, and the output is their average of x itself: the values were not projected by w_v",
        {"project": _picked(0, 1, 3)},
    ),
    "no_max_subtraction": (
        "scores of ±10000 give NaN or empty rows: exp overflowed or every exponential was 0, since no row had its "
        "maximum subtracted",
        {"shift": "none"},
    ),
}
MASKS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "inverted_mask": (
        "the tokens that the mask allows weigh 0 and the others share the 1: True was read as hidden",
        [{"mask_is": "inverted"}, {"mask_is": "inverted", "empty": "nan"}, {"mask_is": "inverted", "empty": "even"}],
    ),
    "mask_after_softmax": (
        "masked tokens weigh 0, and rows with a masked token sum to less than 1: the mask came after the softmax, and "
        "what it took away was not shared out again",
        [{"mask_is": "after"}],
    ),
    "masked_score_0": (
        "a masked token weighs as much as one with score 0, for exp(0) = 1; only exp(−∞) is 0",
        [{"mask_is": "zero"}],
    ),
    "added_mask": (
        "masked tokens keep their scores and allowed ones have 1 more: True and False were added as 1 and 0",
        [{"mask_is": "added"}],
    ),
    "nan_on_empty_row": (
        "a token that may attend to nothing gives NaN: its exponentials are all 0, and 0 was divided by 0",
        [{"empty": "nan"}],
    ),
    "even_on_empty_row": (
        "a token that may attend to nothing still gives out weights that sum to 1: a large negative number in every "
        "place is the same as 0 in every place",
        [{"empty": "even"}],
    ),
}


def _one_by_one():
    for name, (sentence, parts) in SCORES.items():
        others = [_kept_from_zero] if name == "no_max_subtraction" else []
        yield Misconception(name, sentence, [_wrong(**parts), *others])
    for name, (sentence, variants) in MASKS.items():
        yield Misconception(name, sentence, [_wrong(**parts) for parts in variants])


def _two_at_once():
    for (a, (first, parts)), (b, (second, variants)) in itertools.product(SCORES.items(), MASKS.items()):
        if a.startswith("divided"):
            continue  # rare together
        if a == "no_max_subtraction" and b == "even_on_empty_row":
            continue  # the same numbers as NaN there: exp(-1e9) is 0
        yield Misconception(f"{a}+{b}", f"{first}; and {second}", [_wrong(**parts, **others) for others in variants])
    for a, b in (("no_scale", "softmax_over_queries"), ("no_scale", "x_as_values"), ("no_scale", "no_max_subtraction")):
        yield Misconception(f"{a}+{b}", f"{SCORES[a][0]}; and {SCORES[b][0]}", _wrong(**SCORES[a][1], **SCORES[b][1]))


ATTENTION_MISCONCEPTIONS = (
    *_one_by_one(),
    Misconception(
        "times_sqrt_d",
        "the weights are those of q kᵀ times √D: the scores were multiplied where they are to be divided",
        _wrong(scale=_times_sqrt_d),
    ),
    Misconception(
        "divided_by_sqrt_t",
        "the scores are divided by √T, from the number of tokens; their product sums over the D numbers of a key",
        _wrong(scale=_by_sqrt_t),
    ),
    Misconception(
        "divided_by_sqrt_dv",
        "the scores are divided by √Dv, from the width of the values, which has no part in the product of q and k",
        _wrong(scale=_by_sqrt_dv),
    ),
    Misconception(
        "softmax_over_batch",
        "the weights of one pair of places sum to 1 over the sentences: the softmax ran over axis 0, the batch",
        _wrong(axis=0),
    ),
    Misconception(
        "softmax_over_everything",
        "all weights of the array together sum to 1, not every row: the softmax ran over all axes",
        _wrong(axis=None),
    ),
    Misconception(
        "softmax_over_sentence",
        "all weights of one sentence together sum to 1, not every row: the softmax ran over queries and keys at once",
        _wrong(axis=(1, 2)),
    ),
    Misconception(
        "across_the_batch",
        "a token attends to the tokens of all sentences of the batch: its own sentence does not get all of its 1",
        [across_the_batch, flat_across_the_batch],
    ),
    Misconception(
        "same_place_in_all_sentences",
        "tokens at the same place of different sentences attend to each other: the axes B and T have changed roles",
        same_place_in_all_sentences,
    ),
    Misconception(
        "one_sentence_for_all",
        "the first sentence has a part in the scores of the others: its queries or keys stand in for theirs",
        [_wrong(pairs=_first_sentence_found), _wrong(pairs=_first_sentence_asks)],
    ),
    Misconception(
        "mean_over_sentences",
        "every sentence has the same weights: the scores were averaged over the batch",
        _wrong(pairs=_mean_scores),
    ),
    Misconception(
        "first_sentence_only",
        "the results are those of the first sentence alone: the others of the batch are missing",
        [first_sentence_only, _only_one_sentence],
    ),
    Misconception(
        "all_axes_reversed",
        "the call stops where the sizes of axes differ: .T turns all three axes round, and only the last two should "
        "trade places",
        _wrong(pairs=_all_axes_reversed),
    ),
    Misconception(
        "reshaped_keys",
        "the scores pair queries with numbers of different keys: reshape to (D, T) refills k row by row; it does not "
        "swap its axes",
        _wrong(pairs=_reshaped_keys),
    ),
    Misconception("two_axes", "the call stops at once: x has three axes, (B, T, C)", two_axes),
    Misconception(
        "nothing_projected",
        "where C = D the weights are those of x with itself: x was not projected to queries and keys",
        _wrong(project=_picked(3, 3, 2)),
    ),
    Misconception(
        "nothing_projected+x_as_values",
        "the output is an average of x itself, with the weights of x with itself where C = D: no matrix was used",
        _wrong(project=_picked(3, 3, 3)),
    ),
    Misconception(
        "transposed_matrices",
        "where C = D = Dv the matrices were used transposed, elsewhere the call stops: here x @ w, with w (in, out)",
        _wrong(project=lambda x, w_q, w_k, w_v: (x @ w_q.T, x @ w_k.T, x @ w_v.T)),
    ),
    Misconception(
        "queries_not_projected",
        "where C = D the scores are those of x itself with the keys, elsewhere the call stops: w_q was not used",
        _wrong(project=_picked(3, 1, 2)),
    ),
    Misconception(
        "keys_not_projected",
        "where C = D the scores are those of the queries with x itself, elsewhere the call stops: w_k was not used",
        _wrong(project=_picked(0, 3, 2)),
    ),
    Misconception(
        "keys_from_w_q",
        "the scores are q qᵀ: the keys come from w_q, so that every pair of tokens has one score for both directions",
        _wrong(project=_picked(0, 0, 2)),
    ),
    Misconception(
        "queries_from_w_k",
        "the scores are k kᵀ: the queries come from w_k, so that a pair of tokens has one score for both directions",
        _wrong(project=_picked(1, 1, 2)),
    ),
    Misconception(
        "q_and_k_swapped",
        "the weights are softmax(k qᵀ / √D): a token asks with its key and is found by its query",
        _wrong(project=_picked(1, 0, 2)),
    ),
    Misconception(
        "values_from_another_matrix",
        "the weights are right, and the output is their average of queries or keys: v comes from w_v",
        [_wrong(project=_picked(0, 1, 1)), _wrong(project=_picked(0, 1, 0))],
    ),
    Misconception(
        "one_matrix_for_all",
        "q, k and v are one and the same projection; each has a matrix of its own",
        [_wrong(project=_picked(i, i, i)) for i in range(3)],
    ),
    Misconception(
        "average_transposed",
        "the weights are right, and the output is their transpose times v: each value was handed to the wrong side",
        _wrong(give=lambda weights, v, x: weights.swapaxes(1, 2) @ v),
    ),
    Misconception(
        "x_added",
        "the weights are right, and the output has x added to it; that sum belongs to the layer around attention",
        _wrong(give=_residual),
    ),
    Misconception(
        "causal",
        "a token gives no weight to the tokens after it, though no mask says so",
        causal,
    ),
    Misconception(
        "others_only",
        "a token gives no weight to itself, though no mask says so: itself is one of the tokens it attends to",
        others_only,
    ),
    Misconception(
        "one_maximum_for_all",
        "rows whose scores are far below the largest of the array give NaN or 0: the maximum of all was subtracted, "
        "not that of each row",
        [_wrong(shift="all"), _wrong(shift="all", empty="nan")],
    ),
    Misconception(
        "clipped_scores",
        "scores far from 0 are cut off at a limit, so keys beyond it cannot be told apart",
        [_clipped_at(number) for number in (50, 80, 100, 500, 700)],
    ),
    Misconception(
        "fill_not_low_enough",
        "where the allowed scores are near −10000, masked tokens have weight or take a share: the number put in their "
        "place is not lower; −∞ is lower than every score",
        [build(number) for build in (_filled_with, _filled_and_zeroed) for number in (-1e4, -1e3, -100.0, -9999.0)],
    ),
    Misconception(
        "shared_out_too_late",
        "where masked tokens have by far the largest scores, the others weigh 0 too: the mask came after the softmax, "
        "in which their weights had vanished beside the masked ones",
        [
            _shared_out_again(lambda total: np.where(total == 0, 1, total)),
            *(_shared_out_again(lambda total, least=least: total + least) for least in (1e-9, 1e-12, 1e-20)),
            *(_shared_out_again(lambda total, least=least: np.maximum(total, least)) for least in (1e-9, 1e-12, 1e-20)),
        ],
    ),
    Misconception(
        "unmasked_on_empty_row",
        "a token that may attend to nothing attends as without a mask: one large number was added to all its scores",
        added_minus_1e9,
    ),
    Misconception(
        "nan_on_empty_row_in_one_result",
        "for a token that may attend to nothing, one of the two results is 0 and the other NaN",
        [nan_only_in_out, nan_only_in_weights],
    ),
    Misconception(
        "mask_transposed",
        "the mask works the wrong way round: its rows were read as keys and its columns as queries",
        _wrong(mask_is="transposed"),
    ),
    Misconception("mask_ignored", "with a mask the results are those without one", mask_ignored),
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
        "mask_as_index",
        "a mask of the full shape works, a smaller one stops with an error or hides whole queries: indexing with a "
        "mask does not broadcast, np.where does",
        [_indexed(), _indexed(empty="nan")],
    ),
    Misconception(
        "every_2d_mask_is_padding",
        "a mask of shape (B, T) is taken as (B, 1, T), and one of shape (T, T) is no longer understood",
        [_padding_read(_every), _padding_read(_every, empty="nan")],
    ),
    Misconception(
        "square_mask_read_as_padding",
        "a mask of shape (B, T) is accepted, and where B = T a mask of shape (T, T) is read as padding: the numbers "
        "cannot say which is meant, so a 2-D mask always means (T, T)",
        [_padding_read(_that_fits), _padding_read(_that_fits, empty="nan")],
    ),
    Misconception(
        "padding_mask_accepted",
        "a mask of shape (B, T) is accepted and hides keys: where B = T it could not be told from (T, T), so it is to "
        "be refused; (B, 1, T) is what it should be",
        [_padding_read(_that_cannot_be_square), _padding_read(_that_cannot_be_square, empty="nan")],
    ),
    Misconception(
        "padding_mask_hides_queries",
        "a mask of shape (B, T) is accepted and hides whole queries: it stands for tokens, and has no axis of queries",
        padding_read_as_queries,
    ),
    Misconception(
        "padding_mask_ignored",
        "a mask of shape (B, T) is accepted and hides nothing",
        padding_ignored,
    ),
    Misconception(
        "padding_mask_other_error",
        "a mask of shape (B, T) stops the call with an AssertionError; a ValueError is asked for",
        other_error_for_padding,
    ),
    Misconception(
        "only_square",
        "a mask of shape (1, T) or (T, 1) is refused; it broadcasts to (B, T, T), so it is allowed",
        only_square,
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
        "squeezed",
        "an axis of size 1 is gone: one sentence is still a batch, and one token is still a sentence",
        [_squeezed, _squeezed_batch],
    ),
    Misconception(
        "becomes_float64",
        "float32 inputs gave float64 results: in NumPy 2 dividing by np.sqrt(D), a float64, makes them so; math.sqrt "
        "gives a Python number, which does not",
        [_cast(np.float64, 0, 1), _cast(np.float64, 0), _cast(np.float64, 1)],
    ),
    Misconception("becomes_float32", "float64 inputs gave float32 results", _cast(np.float32, 0, 1)),
    Misconception(
        "changes_x",
        "x is another after the call: an operation in place writes into the array that was given",
        [changes_x, writes_out_into_x],
    ),
    Misconception(
        "changes_a_matrix",
        "w_q is another after the call: /= and *= write into the array that was given",
        changes_w_q,
    ),
    Misconception(
        "changes_mask",
        "the mask is another after the call: something wrote into the array that was given",
        changes_mask,
    ),
    *_two_at_once(),
)


# --- trace_token -----------------------------------------------------------------------------------------------------


def trace_token(weights, tokens, i):
    order = sorted(range(len(tokens)), key=lambda j: -weights[i, j])
    return [(tokens[j], float(weights[i, j])) for j in order]


def trace_by_argsort(weights, tokens, i):
    order = np.argsort(weights[i])[::-1]
    return list(zip(np.array(tokens)[order], weights[i][order], strict=True))


def trace_by_pairs(weights, tokens, i):
    return sorted(zip(tokens, weights[i], strict=True), key=lambda pair: pair[1], reverse=True)


def trace_by_picking(weights, tokens, i):
    row = weights[i].tolist()
    found: list = []
    while len(found) < len(tokens):
        j = int(np.argmax(row))
        found.append([tokens[j], weights[i][j].item()])
        row[j] = -math.inf
    return found


def _column(weights, tokens, i):
    return trace_token(weights.T, tokens, i)


def _ascending(weights, tokens, i):
    return trace_token(weights, tokens, i)[::-1]


def _last_wins(weights, tokens, i):
    return trace_by_pairs(weights[:, _kept(tokens)], [tokens[j] for j in _kept(tokens)], i)


def _kept(tokens):
    return sorted({word: j for j, word in enumerate(tokens)}.values())


def _summed(weights, tokens, i):
    found: dict[str, float] = {}
    for word, weight in zip(tokens, weights[i], strict=True):
        found[word] = found.get(word, 0.0) + float(weight)
    return sorted(found.items(), key=lambda pair: -pair[1])


def _first_found(weights, tokens, i):
    """Looks a word's place up by the word: equal words all get the weight of the first."""
    found = [(word, float(weights[i][tokens.index(word)])) for word in tokens]
    return sorted(found, key=lambda pair: -pair[1])


def _by_weight(weights, tokens, i):
    """Looks tokens up by their weight: of equal weights only one is kept."""
    found = {float(weight): word for word, weight in zip(tokens, weights[i], strict=True)}
    return [(found[weight], weight) for weight in sorted(found, reverse=True)]


def _as_dict(weights, tokens, i):
    return dict(trace_token(weights, tokens, i))


def _unsorted(weights, tokens, i):
    return [(word, float(weight)) for word, weight in zip(tokens, weights[i], strict=True)]


def _weights_sorted_alone(weights, tokens, i):
    return list(zip(tokens, np.sort(weights[i])[::-1].tolist(), strict=True))


def _tokens_sorted_alone(weights, tokens, i):
    order = np.argsort(-weights[i])
    return [(tokens[j], float(weight)) for j, weight in zip(order, weights[i], strict=True)]


def _by_rank(weights, tokens, i):
    rank = np.argsort(np.argsort(-weights[i]))
    return [(tokens[j], float(weights[i, j])) for j in rank]


def _alphabetical(weights, tokens, i):
    return sorted(zip(tokens, weights[i].tolist(), strict=True))


def _from_z(weights, tokens, i):
    return sorted(zip(tokens, weights[i].tolist(), strict=True), reverse=True)


def _without_unread(weights, tokens, i):
    return [pair for pair in trace_token(weights, tokens, i) if pair[1] > 0]


def _without_itself(weights, tokens, i):
    pairs = [(j, tokens[j], float(weights[i, j])) for j in range(len(tokens)) if j != i]
    return [(word, weight) for _, word, weight in sorted(pairs, key=lambda pair: -pair[2])]


def _top(count):
    return lambda weights, tokens, i: trace_token(weights, tokens, i)[:count]


def _positions(weights, tokens, i):
    return [(j, float(weights[i, j])) for j in sorted(range(len(tokens)), key=lambda j: -weights[i, j])]


def _other_way_round(weights, tokens, i):
    return [(weight, word) for word, weight in trace_token(weights, tokens, i)]


def _words_alone(weights, tokens, i):
    return [word for word, _ in trace_token(weights, tokens, i)]


def _rounded(digits):
    return lambda weights, tokens, i: [(word, round(w, digits)) for word, w in trace_token(weights, tokens, i)]


def _two_lists(weights, tokens, i):
    words, numbers = zip(*trace_token(weights, tokens, i), strict=True)
    return list(words), list(numbers)


def _row(shift):
    return lambda weights, tokens, i: trace_token(weights, tokens, (i + shift) % len(tokens))


def _whole_map(weights, tokens, i):
    received = weights.sum(axis=0)
    return sorted(zip(tokens, received.tolist(), strict=True), key=lambda pair: -pair[1])


def _percent(weights, tokens, i):
    return [(word, 100 * weight) for word, weight in trace_token(weights, tokens, i)]


def _sorts_tokens_in_place(weights, tokens, i):
    pairs = trace_token(weights, tokens, i)
    tokens[:] = [word for word, _ in pairs]
    return pairs


def _sorts_row_in_place(weights, tokens, i):
    pairs = trace_token(weights, tokens, i)
    weights[i].sort()
    return pairs


def _strikes_out(weights, tokens, i):
    pairs = trace_token(weights, tokens, i)
    weights[i] = -1.0
    return pairs


VOCABULARY = ("river", "bank", "she", "swam", "owed", "money", "from", "boat", "deep", "cold", "far", "old")


def _map(rng, t, dtype=np.float64, unread=False):
    """(T, T) weights; with `unread`, one weight of 0 in every row and every column, never on the diagonal."""
    e = np.exp(rng.normal(size=(t, t)))
    if unread:
        e[np.arange(t), (np.arange(t) + 1) % t] = 0
    return (e / e.sum(axis=1, keepdims=True)).astype(dtype)


def _words(rng, t):
    return [str(word) for word in rng.permutation(VOCABULARY)[:t]]


def trace_cases(rng):
    first = "row_largest_first"
    yield Case(first, (_map(rng, 5), _words(rng, 5), 1))
    yield Case(first, (_map(rng, 8), _words(rng, 8), 5))
    yield Case(first, (_map(rng, 6, np.float32), _words(rng, 6), 2))
    yield Case("every_token", (_map(rng, 7), _words(rng, 7), 0))
    yield Case("every_token", (_map(rng, 4), _words(rng, 4), 3))
    yield Case("every_token", (np.ones((1, 1)), ["alone"], 0))
    yield Case("every_token", (_map(rng, 6, unread=True), _words(rng, 6), 4))
    for t, places in ((7, (0, 3)), (8, (2, 5, 7))):
        words = _words(rng, t)
        for place in places:
            words[place] = "the"
        yield Case("repeated_words", (_map(rng, t), words, int(rng.integers(1, t - 1))))
    yield Case("repeated_words", (_map(rng, 3), ["no", "no", "no"], 1))
    tied = np.full((4, 4), 0.25)  # only tokens of one word have equal weights, so the pairs have one order
    tied[2] = 0.3, 0.3, 0.1, 0.3
    yield Case("repeated_words", (tied, ["so", "so", "far", "so"], 2))


TRACE_MISCONCEPTIONS = (
    Misconception(
        "column_for_row",
        "the weights are those of column i: they say who reads token i, not what token i reads",
        _column,
    ),
    Misconception("ascending", "the smallest weight comes first: the order is the other way round", _ascending),
    Misconception(
        "column_ascending",
        "the weights are those of column i, and the smallest comes first",
        lambda weights, tokens, i: _column(weights, tokens, i)[::-1],
    ),
    Misconception(
        "repeats_merged",
        "a word that occurs more than once has one pair only: looking weights up by word keeps one entry per word, and "
        "two positions are two tokens",
        [_last_wins, _summed, lambda weights, tokens, i: list(dict(trace_token(weights, tokens, i)).items())],
    ),
    Misconception(
        "first_occurrence",
        "equal words all have the weight of the first of them: their position was looked up by the word",
        _first_found,
    ),
    Misconception(
        "equal_weights_merged",
        "of tokens with equal weights only one has a pair: looking tokens up by weight keeps one entry per weight",
        _by_weight,
    ),
    Misconception("a_dict", "a dict came back; a list of pairs is wanted, since a word may occur twice", _as_dict),
    Misconception("unsorted", "the pairs are in the order of the sentence, not by weight", _unsorted),
    Misconception(
        "weights_sorted_alone",
        "the weights are sorted and the tokens are not, so that weights stand beside other tokens than theirs",
        _weights_sorted_alone,
    ),
    Misconception(
        "tokens_sorted_alone",
        "the tokens are in the right order and the weights are not: each stands beside another's weight",
        _tokens_sorted_alone,
    ),
    Misconception(
        "rank_for_order",
        "the pairs belong together but their order is that of ranks: the rank of each position is not the position at "
        "each rank",
        _by_rank,
    ),
    Misconception(
        "alphabetical",
        "the pairs are in the order of the alphabet, or its reverse: sorting pairs looks at the first item, the token",
        [_alphabetical, _from_z],
    ),
    Misconception(
        "unread_dropped", "tokens with a weight of 0 are missing; every position has a pair", _without_unread
    ),
    Misconception("itself_dropped", "token i itself is missing; it reads itself as well", _without_itself),
    Misconception(
        "top_only",
        "only the largest weights are there; every position has a pair",
        [_top(1), _top(3), _top(5), lambda weights, tokens, i: trace_token(weights, tokens, i)[0]],
    ),
    Misconception("positions", "the pairs name positions where they should name tokens", _positions),
    Misconception(
        "weight_first", "the items of each pair are in the other order: the token comes first", _other_way_round
    ),
    Misconception("words_alone", "the tokens came back without their weights", _words_alone),
    Misconception("two_lists", "tokens and weights came back as two sequences; a list of pairs is wanted", _two_lists),
    Misconception(
        "rounded", "the weights are rounded; rounding belongs to printing", [_rounded(n) for n in (1, 2, 3, 4)]
    ),
    Misconception("percent", "the weights are 100 times too large", _percent),
    Misconception(
        "row_beside",
        "the weights are those of the row before or after: positions count from 0",
        [_row(1), _row(-1)],
    ),
    Misconception(
        "whole_map",
        "the weights are sums over all rows: what the whole sentence reads, not what token i reads",
        _whole_map,
    ),
    Misconception("changes_tokens", "the list of tokens is in another order after the call", _sorts_tokens_in_place),
    Misconception(
        "changes_weights",
        "the weights are others after the call: sorting or striking out in place writes into the array that was given",
        [_sorts_row_in_place, _strikes_out],
    ),
)


# --- order_matters ---------------------------------------------------------------------------------------------------

TRUTH = {"false": False, "no": False, "0": False, "true": True, "yes": True, "1": True}


def as_truth(case, answer):
    """True or False, also as a text, a number 0 or 1, or a NumPy scalar."""
    if isinstance(answer, np.ndarray) and answer.ndim == 0:
        answer = answer.item()
    if isinstance(answer, (bool, str, int, float)) and (word := str(answer).strip().lower()) in TRUTH:
        return TRUTH[word]
    raise ValueError("neither True nor False")


# --- check_permutation_equivariant -----------------------------------------------------------------------------------

# What an f does, as a report says it; True where it is equivariant.
WHAT: dict[str, tuple[bool, str]] = {
    "the same": (True, "returns its input"),
    "one matrix": (True, "multiplies every token by one matrix"),
    "a small network": (True, "sends every token through one small network"),
    "centred features": (True, "subtracts from every token the mean of its own features"),
    "nothing": (True, "returns zeros"),
    "attention": (True, "is attention of every token to every token"),
    "attention without a scale": (True, "is attention of every token to every token, without a scale"),
    "attention to others": (True, "is attention of every token to all others, added to the token"),
    "mean": (True, "adds the mean of all tokens to every token"),
    "mean alone": (True, "gives every token the mean of all tokens"),
    "maximum": (True, "subtracts the largest of all tokens, feature by feature"),
    "shares": (True, "is a softmax over the tokens, feature by feature"),
    "sentences together": (True, "is attention plus, for every place, the mean of its tokens over all sentences"),
    "places added": (False, "adds a vector of its own to every place"),
    "places multiplied": (False, "multiplies every place by a vector of its own"),
    "places in the scores": (False, "lowers the scores of attention with the distance of two tokens"),
    "earlier tokens": (False, "is attention of every token to itself and those before it"),
    "running sum": (False, "adds up all tokens so far"),
    "recurrent": (False, "reads the tokens one after the other with a state"),
    "token before": (False, "adds the token before to every token"),
    "ring": (False, "moves every token by one place, the last to the front"),
    "both neighbours": (False, "adds up the two neighbours of every token, the last place being beside the first"),
    "window": (False, "is attention to tokens at most 2 places away"),
    "mirror": (False, "reverses the order of the tokens"),
    "fixed table": (False, "mixes the places by a fixed table"),
    "sorted": (False, "sorts the numbers of every feature, so that no order of the tokens changes its result"),
    "first token": (False, "adds the first token to every token"),
    "first row": (False, "treats the first token unlike the others"),
    "one number": (False, "treats one number of the token in the middle unlike the others"),
    "last row": (False, "treats the last token unlike the others"),
    "first feature": (False, "is attention, with a number of its own for every place added to the first feature"),
    "last feature": (False, "is attention, with a number of its own for every place added to the last feature"),
    "small leak": (False, "is attention, with 0.001 added or subtracted according to the place"),
}


def check_permutation_equivariant(f, rng):
    for _ in range(3):
        x = rng.standard_normal((2, 7, 5))
        p = rng.permutation(7)
        if not np.allclose(f(x[:, p]), f(x)[:, p]):
            return False
    return True


def tester_with_one_order(f, rng):
    x = rng.normal(size=(1, 6, 3))
    p = rng.permutation(6)
    return np.abs(f(x[:, p]) - f(x)[:, p]).max() < 1e-6


def tester_by_inverse(f, rng):
    x = rng.normal(size=(3, 9, 4))
    p = rng.permutation(9)
    back = np.argsort(p)
    return bool(np.allclose(f(x[:, p, :])[:, back, :], f(x), atol=1e-9))


def tester_by_all_orders(f, rng):
    x = rng.normal(size=(1, 4, 2))
    y = f(x)
    return all(np.allclose(f(x[:, list(p)]), y[:, list(p)]) for p in itertools.permutations(range(4)))


def tester_by_swaps(f, rng):
    x = rng.normal(size=(2, 6, 4))
    y = f(x)
    for i, j in itertools.combinations(range(6), 2):
        swapped, wanted = x.copy(), y.copy()
        swapped[:, [i, j]], wanted[:, [i, j]] = x[:, [j, i]], y[:, [j, i]]
        if np.linalg.norm(f(swapped) - wanted) > 1e-5:
            return np.False_
    return np.True_


def _tester(t=7, order=None, b=2, c=5, same=None, trials=1, draw=None, left=None, right=None):
    """A tester with some of its parts replaced; without arguments it is a right one.

    t, b, c: sizes of x; trials: how many orders are tried; draw: `(rng, shape) -> x`; order: `(rng, t) -> p`.
    left:    `(f, x, p) -> result` of the reordered input; right: the same of what it is compared with.
    same:    `(a, b) -> bool`.
    """

    def tester(f, rng):
        for _ in range(trials):
            x = rng.normal(size=(b, t, c)) if draw is None else draw(rng, (b, t, c))
            p = rng.permutation(t) if order is None else order(rng, t)
            found = f(x[:, p]) if left is None else left(f, x, p)
            wanted = f(x)[:, p] if right is None else right(f, x, p)
            if not (np.allclose if same is None else same)(found, wanted):
                return False
        return True

    return tester


def _unchanged(f, x, p):
    return f(x)


def _features(f, x, p):
    return f(x[:, :, p])


def _features_of_result(f, x, p):
    return f(x)[:, :, p]


def _exactly(a, b):
    return bool((a == b).all())


def _within(tolerance):
    return lambda a, b: bool(np.abs(a - b).max() <= tolerance)


def _relative(tolerance):
    return lambda a, b: bool(np.allclose(a, b, rtol=tolerance, atol=tolerance))


def _mean_within(tolerance):
    return lambda a, b: bool(abs((a - b).mean()) < tolerance)


def _sorted_rows(a, b):
    return bool(np.allclose(np.sort(a, axis=1), np.sort(b, axis=1)))


def _totals(a, b):
    return bool(np.allclose(a.sum(axis=1), b.sum(axis=1)))


def _row_alone(place):
    return lambda a, b: bool(np.allclose(a[:, place], b[:, place]))


def _feature_alone(feature):
    return lambda a, b: bool(np.allclose(a[..., feature], b[..., feature]))


def _shapes(a, b):
    return a.shape == b.shape


def shuffled_in_place(f, rng):
    """Shuffles x itself before f sees it the first time, so that both calls get the same x."""
    x = rng.normal(size=(2, 7, 5))
    moved = x
    rng.shuffle(moved, axis=1)
    return bool(np.allclose(f(moved), f(x)))


def batch_permuted(f, rng):
    x = rng.normal(size=(6, 7, 5))
    p = rng.permutation(6)
    return bool(np.allclose(f(x[p]), f(x)[p]))


def _asserts(f, rng):
    x = rng.normal(size=(2, 7, 5))
    p = rng.permutation(7)
    assert np.allclose(f(x[:, p]), f(x)[:, p])
    return True


def _asserts_without_return(f, rng):
    _asserts(f, rng)


def _asserts_with_numpy(f, rng):
    x = rng.normal(size=(2, 7, 5))
    p = rng.permutation(7)
    np.testing.assert_allclose(f(x[:, p]), f(x)[:, p], atol=1e-9)
    return True


def _returns_none(f, rng):
    if check_permutation_equivariant(f, rng):
        return True


def _returns_difference(f, rng):
    x = rng.normal(size=(2, 7, 5))
    p = rng.permutation(7)
    return float(np.abs(f(x[:, p]) - f(x)[:, p]).max())


def _returns_array(f, rng):
    x = rng.normal(size=(2, 7, 5))
    p = rng.permutation(7)
    return np.isclose(f(x[:, p]), f(x)[:, p])


def _returns_opposite(f, rng):
    return not check_permutation_equivariant(f, rng)


def _own_generator(f, rng):
    return check_permutation_equivariant(f, np.random.default_rng())


def _global_numbers(f, rng):
    x = np.random.randn(2, 7, 5)  # noqa: NPY002 the mistake itself
    p = np.random.permutation(7)  # noqa: NPY002 the mistake itself
    return bool(np.allclose(f(x[:, p]), f(x)[:, p]))


def _global_order(f, rng):
    x = rng.normal(size=(2, 7, 5))
    p = np.random.permutation(7)  # noqa: NPY002 the mistake itself
    return bool(np.allclose(f(x[:, p]), f(x)[:, p]))


def _own_seed(f, rng):
    return check_permutation_equivariant(f, np.random.default_rng(0))


def _nothing_drawn(f, rng):
    x = np.sin(np.arange(2 * 6 * 4.0)).reshape(2, 6, 4)
    return all(np.allclose(f(x[:, p]), f(x)[:, p]) for p in ([3, 0, 5, 1, 4, 2], [5, 4, 3, 0, 1, 2]))


def _same_width(f, rng):
    x = rng.normal(size=(2, 7, 5))
    p = rng.permutation(7)
    wanted = np.zeros_like(x)
    wanted[:] = f(x)[:, p]
    return bool(np.allclose(f(x[:, p]), wanted))


def _two_dimensional(f, rng):
    x = rng.normal(size=(7, 5))
    p = rng.permutation(7)
    return bool(np.allclose(f(x[p]), f(x)[p]))


def _another_order_in_every_sentence(f, rng):
    x = rng.normal(size=(2, 7, 5))
    p = np.argsort(rng.random((2, 7, 1)), axis=1)
    return bool(np.allclose(f(np.take_along_axis(x, p, 1)), np.take_along_axis(f(x), p, 1)))


def _demands_change(f, rng):
    x = rng.normal(size=(2, 7, 5))
    p = rng.permutation(7)
    return bool(np.allclose(f(x[:, p]), f(x)[:, p]) and not np.allclose(f(x[:, p]), f(x)))


def _fixed(order):
    return lambda rng, t: np.array(order(t))


def _swap(i, j):
    def order(t):
        p = list(range(t))
        p[i], p[j] = p[j], p[i]
        return p

    return _fixed(order)


def _rotated(rng, t):
    return np.roll(np.arange(t), int(rng.integers(1, t)))


CHECKED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "spares_single_tokens": (("one matrix", "a small network", "the same", "nothing"), ()),
    "spares_mixing": (
        ("attention", "mean", "maximum", "shares", "attention to others", "mean alone", "sentences together"),
        (),
    ),
    "catches_positions": (("attention",), ("places added", "places multiplied", "places in the scores")),
    "catches_direction": (("attention to others",), ("earlier tokens", "running sum", "recurrent")),
    "catches_neighbours": (("attention",), ("token before", "ring", "both neighbours", "window")),
    "catches_places": (("mean",), ("mirror", "fixed table", "first token", "sorted")),
    "catches_small_faults": (
        ("attention without a scale",),
        ("first row", "one number", "last row", "first feature", "last feature", "small leak"),
    ),
    "draws_from_rng": (("attention",), ()),
}


# What tells wrong testers apart stands first, so that a diagnosis soon knows which ones do not fit.
TELLING = (
    *("last row", "one number", "attention", "window", "mirror", "first row", "last feature", "first feature"),
    *("small leak", "ring", "sorted", "mean alone", "sentences together"),
)


def tester_cases(rng):
    found: list[Case] = []
    for check, (spared, caught) in CHECKED.items():
        for kind in (*spared, *caught):
            f = Built("f", {"kind": kind, "seed": int(rng.integers(1_000))})
            found.append(Case(check, (f, Seed(int(rng.integers(2**31))))))
    kinds = [case.inputs[0].params["kind"] for case in found]
    telling = [found[-1], *(found[kinds.index(kind)] for kind in TELLING)]
    return telling + [case for case in found if not any(case is other for other in telling)]


def _how(found):
    """What f was shown, in a form in which two testers of one kind are alike."""
    return min(found["tokens"], 4), found["moved"], found["still"]


SHOWN = {
    "tokens": "the tokens were reordered",
    "apart": "every sentence had an order of its own",
    "features": "the features were reordered, the tokens were not",
    "sentences": "whole sentences were reordered, their tokens were not",
    "otherwise": "its inputs were not reorderings of one another",
    "nothing": "every call showed it the same x",
    "": "it was never shown two inputs",
}


def same_findings(case, wanted, got):
    """Whether two testers come to the same finding on one f; two that are wrong must also be wrong in the same way."""
    truth, what = WHAT[case.inputs[0].params["kind"]]

    def told(found):
        shown = SHOWN.get(found["moved"], "its inputs differ")
        return f"{what}; the longest sentence f was shown has {found['tokens']} tokens, and {shown}"

    random = case.check == "draws_from_rng"
    return written_tests.same_findings(wanted, got, truth=truth, random=random, how=_how, told=told)


TESTER_MISCONCEPTIONS = (
    Misconception(
        "always_true",
        "every f is called equivariant, and none was called to find out",
        lambda f, rng: True,
    ),
    Misconception("always_false", "no f is called equivariant, and none was called to find out", lambda f, rng: False),
    Misconception(
        "identity",
        "every f is called equivariant: f was shown the same x each time, and the same input cannot give another "
        "result; the tokens have to change places between the calls",
        [_tester(order=_fixed(range)), shuffled_in_place, _tester(right=lambda f, x, p: f(x[:, p]))],
    ),
    Misconception(
        "one_token",
        "every f is called equivariant: the sentences had one token, and one token has only one order",
        [_tester(t=1), _tester(t=1, trials=3)],
    ),
    Misconception(
        "two_tokens",
        "with two tokens there is one other order, and an f that mirrors, goes round in a ring or looks only at "
        "neighbours gives the swapped result: sentences need more tokens",
        [_tester(t=2, trials=6), _tester(t=2, order=_fixed(lambda t: [1, 0]))],
    ),
    Misconception(
        "three_tokens",
        "an f that reads no further than 2 places cannot show it in sentences of three tokens: they need more",
        [_tester(t=3, trials=6), _tester(t=3, trials=12)],
    ),
    Misconception(
        "invariance",
        "an f that is equivariant is refused unless its rows are all alike: the result of the reordered x was compared "
        "row by row with f(x); the rows of f(x), and only those, have to be put in the new order",
        [_tester(right=_unchanged), _tester(right=_unchanged, trials=6)],
    ),
    Misconception(
        "another_order",
        "an f that is equivariant is refused unless its rows are all alike: the rows of the result were put in another "
        "order than the tokens, perhaps in its inverse",
        [
            _tester(t=8, trials=6, right=lambda f, x, p: f(x)[:, np.argsort(p)]),
            _tester(t=7, trials=3, right=lambda f, x, p: f(x)[:, np.argsort(p)]),
            _tester(t=7, trials=3, left=lambda f, x, p: f(x[:, p])[:, p], right=_unchanged),
            _tester(right=lambda f, x, p: f(x)[:, np.roll(p, 1)], trials=2),
        ],
    ),
    Misconception(
        "features_permuted",
        "the features traded places and the tokens did not: the order was applied to the last axis, and the tokens "
        "are axis 1",
        [
            _tester(t=7, c=7, left=_features, right=_features_of_result),
            _tester(t=7, c=7, left=_features, right=_features_of_result, trials=5),
            _tester(t=7, c=5, order=lambda rng, t: rng.permutation(5), left=_features, right=_features_of_result),
        ],
    ),
    Misconception(
        "batch_permuted",
        "every f is called equivariant: whole sentences traded places, and their tokens kept their order; the tokens "
        "are axis 1",
        batch_permuted,
    ),
    Misconception(
        "exact_equality",
        "an f that is equivariant is refused where it sums over tokens: a sum in another order differs in its last "
        "bits, so results have to be compared up to rounding",
        [
            _tester(same=_exactly, trials=6),
            _tester(same=_exactly),
            _tester(same=_exactly, t=10, trials=3),
            _tester(same=_within(1e-17), trials=6),
        ],
    ),
    Misconception(
        "loose_tolerance",
        "an f that depends on order by about 0.1 % of its values is called equivariant: the tolerance is too wide",
        [_tester(same=rule(size), trials=2) for rule in (_within, _relative) for size in (0.005, 0.02, 0.1, 0.5)],
    ),
    Misconception(
        "reversal_only",
        "a mirror is called equivariant: the only order tried is the reverse, in which a mirrored sentence is mirrored "
        "as well; orders have to be drawn",
        [_tester(t=t, order=_fixed(lambda t: range(t)[::-1])) for t in (4, 6, 7, 8)],
    ),
    Misconception(
        "rotation_only",
        "a ring is called equivariant: the only orders tried turn the sentence round, and a ring does not change when "
        "it is turned; orders have to be drawn",
        [
            _tester(order=_fixed(lambda t: np.roll(np.arange(t), 1))),
            _tester(order=_fixed(lambda t: np.roll(np.arange(t), 2))),
            _tester(order=_rotated, trials=5),
        ],
    ),
    Misconception(
        "one_pair_swapped",
        "an f that treats the first or the last token unlike the others is called equivariant: that place kept its "
        "token in every call; orders have to be drawn",
        [_tester(t=t, order=_swap(i, i + 1)) for t, i in ((5, 0), (7, 0), (6, -2), (8, -2), (6, 2), (8, 3))],
    ),
    Misconception(
        "ends_swapped",
        "a mirror is called equivariant, and not where places enter otherwise: only the first and the last token ever "
        "trade places; orders have to be drawn",
        [_tester(t=t, order=_swap(0, -1)) for t in (5, 6, 7, 8)],
    ),
    Misconception(
        "compared_as_sets",
        "an f that only moves tokens is called equivariant: what was compared, such as sorted rows, the largest "
        "entries or a norm, is the same wherever a row stands",
        [_tester(same=_sorted_rows), _tester(same=_sorted_rows, trials=6)],
    ),
    Misconception(
        "compared_by_totals",
        "an f is called equivariant whose results have the same total as before: only sums or means were compared, in "
        "which differences of opposite signs cancel",
        [
            _tester(same=_totals),
            _tester(same=lambda a, b: bool(np.allclose(a.mean(axis=1), b.mean(axis=1))), trials=3),
            _tester(same=_mean_within(1e-6)),
            _tester(same=lambda a, b: bool(np.isclose(a.sum(), b.sum()))),
        ],
    ),
    Misconception(
        "not_every_row",
        "an f that errs in one row only is called equivariant: not every row of the results was compared, or not every "
        "one had to agree, or the orders that were tried leave a place alone",
        [*(_tester(same=_row_alone(place)) for place in (0, -1, 1)), _tester(same=_row_alone([0, -1]))],
    ),
    Misconception(
        "not_every_feature",
        "an f that errs in one feature only is called equivariant: not every feature of the results was compared, or "
        "not every one had to agree",
        [_tester(same=_feature_alone(feature)) for feature in (0, -1, slice(2), slice(3))],
    ),
    Misconception(
        "another_order_in_every_sentence",
        "an f that is equivariant is refused where it mixes sentences: every sentence was put in an order of its own, "
        "and the same order in all is meant",
        _another_order_in_every_sentence,
    ),
    Misconception(
        "nothing_compared",
        "every f is called equivariant though the tokens traded places: the comparison lets everything through, as one "
        "of shapes does, or one that is content with a single entry that agrees",
        [
            _tester(same=_shapes),
            _tester(same=lambda a, b: bool((a - b).min() < 1e-6)),
            _tester(same=lambda a, b: True),
        ],
    ),
    Misconception(
        "fresh_input",
        "an f that is equivariant is refused: the two results belong to two different x, not to one in two orders",
        [
            lambda f, rng: bool(np.allclose(f(rng.normal(size=(2, 7, 5))), f(rng.normal(size=(2, 7, 5))))),
            _drawn_twice := (
                lambda f, rng: bool(
                    np.allclose(
                        f(rng.normal(size=(2, 7, 5))[:, p := rng.permutation(7)]), f(rng.normal(size=(2, 7, 5)))[:, p]
                    )
                )
            ),
        ],
    ),
    Misconception(
        "demands_change",
        "an f whose rows are all alike, or all 0, is refused: a reordering need not change the result",
        _demands_change,
    ),
    Misconception(
        "equal_tokens",
        "all tokens of x are equal, so that reordering them changes nothing: only what depends on the place itself is "
        "found out",
        [
            _tester(draw=lambda rng, shape: np.ones(shape)),
            _tester(draw=lambda rng, shape: np.zeros(shape)),
            _tester(draw=lambda rng, shape: np.full(shape, rng.normal())),
            _tester(draw=lambda rng, shape: np.broadcast_to(rng.normal(size=(shape[0], 1, shape[2])), shape)),
        ],
    ),
    Misconception(
        "raises",
        "an f that is not equivariant ends in an AssertionError; the result is to be False",
        [_asserts, _asserts_without_return, _asserts_with_numpy],
    ),
    Misconception(
        "no_result",
        "None comes back where False is wanted: one way through the function has no return",
        _returns_none,
    ),
    Misconception(
        "opposite",
        "True and False are exchanged: True is for an f that is equivariant",
        _returns_opposite,
    ),
    Misconception(
        "a_number", "the result is a number, not a verdict: a difference of 0 is to be True", _returns_difference
    ),
    Misconception(
        "an_array",
        "the result is an array of comparisons; one verdict is wanted, that all of them hold",
        _returns_array,
    ),
    Misconception(
        "same_width",
        "an f of another width than C stops the test: the result was put into an array like x",
        _same_width,
    ),
    Misconception(
        "two_dimensional",
        "f refuses its input: it takes x with three axes, (B, T, C)",
        _two_dimensional,
    ),
    Misconception(
        "not_from_rng",
        "generators in the same state show f different inputs: some of the random numbers do not come from rng",
        [_own_generator, _global_numbers, _global_order],
    ),
    Misconception(
        "always_the_same_inputs",
        "every call shows f the same inputs: nothing is drawn from rng, or from a generator made anew",
        [_own_seed, _nothing_drawn],
    ),
)


REFERENCES = (
    Reference(
        id="self_attention",
        reference=self_attention,
        accepted=(by_loops, one_sentence_at_a_time, by_einsum, values_last),
        misconceptions=ATTENTION_MISCONCEPTIONS,
        cases=attention_cases,
    ),
    Reference(
        id="trace_token",
        reference=trace_token,
        accepted=(trace_by_argsort, trace_by_pairs, trace_by_picking),
        misconceptions=TRACE_MISCONCEPTIONS,
        cases=trace_cases,
    ),
    Reference(
        id="order_matters",
        reference=False,
        accepted=(np.False_, "False", 0),
        misconceptions=(
            Misconception(
                "true",
                "the output of a token is a sum of one term for each token of the sentence; where the others trade "
                "places the terms stay the same, each with its weight, and a sum does not depend on their order",
                True,
            ),
        ),
        cases=lambda rng: [Case("prediction")],
        view=as_truth,
    ),
    Reference(
        id="check_permutation_equivariant",
        reference=check_permutation_equivariant,
        accepted=(
            tester_with_one_order,
            tester_by_inverse,
            tester_by_all_orders,
            tester_by_swaps,
            _tester(t=5, c=1),
            _tester(t=4, trials=2),
            _tester(t=20, b=1, c=8, trials=20),
        ),
        misconceptions=TESTER_MISCONCEPTIONS,
        cases=tester_cases,
        agree=same_findings,
    ),
)
