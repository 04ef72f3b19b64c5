"""Notebook 18, the hidden half: references, accepted and wrong answers, cases.

About 2,500 lines, since a test of causality, a cache and a sampler can each be wrong in many ways of their own.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional

from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Built, Case, Misconception, Reference, Seed
from autograder.references import written_tests
from autograder.references.scales import by_d, by_sqrt_d, by_width_of_model, no_scale, times_sqrt_d

INF = math.inf

# --- causal_self_attention -------------------------------------------------------------------------------------------


def _split(x, h):
    return x.unflatten(-1, (h, -1)).transpose(1, 2)


def _merge(x):
    return x.transpose(1, 2).flatten(2)


def _tril(n_q, n_k, shift=0):
    """Bool (n_q, n_k), aligned bottom-right; `shift` moves the edge to later keys."""
    return torch.ones(n_q, n_k, dtype=torch.bool).tril(n_k - n_q + shift)


def causal_self_attention(x, w_q, w_k, w_v, w_o, h):
    q, k, v = (_split(x @ w, h) for w in (w_q, w_k, w_v))
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    scores = scores.masked_fill(~_tril(x.shape[1], x.shape[1]), -INF)
    return _merge(torch.softmax(scores, dim=-1) @ v) @ w_o


def causal_by_torch(x, w_q, w_k, w_v, w_o, h):
    q, k, v = (_split(x @ w, h) for w in (w_q, w_k, w_v))
    return _merge(functional.scaled_dot_product_attention(q, k, v, is_causal=True)) @ w_o


def causal_by_prefixes(x, w_q, w_k, w_v, w_o, h):
    """Every token by itself, over the tokens so far: there is nothing to hide."""
    d = w_q.shape[1] // h
    rows = []
    for i in range(x.shape[1]):
        seen, heads = x[:, : i + 1], []
        for n in range(h):
            of = slice(n * d, (n + 1) * d)
            scores = torch.einsum("bd,bjd->bj", x[:, i] @ w_q[:, of], seen @ w_k[:, of]) / d**0.5
            heads.append(torch.einsum("bj,bjd->bd", scores.softmax(dim=1), seen @ w_v[:, of]))
        rows.append(torch.cat(heads, dim=1) @ w_o)
    return torch.stack(rows, dim=1)


def causal_by_einsum(x, w_q, w_k, w_v, w_o, h):
    c, t = x.shape[2], x.shape[1]
    q, k, v = (torch.einsum("btc,chd->bhtd", x, w.reshape(c, h, -1)) for w in (w_q, w_k, w_v))
    scores = torch.einsum("bhid,bhjd->bhij", q, k) * q.shape[-1] ** -0.5
    later = torch.full((t, t), -INF, dtype=x.dtype).triu(1)
    weights = (scores + later).softmax(-1)
    return torch.einsum("bhij,bhjd,hdc->bic", weights, v, w_o.reshape(h, -1, c))


def causal_with_finite_fill(x, w_q, w_k, w_v, w_o, h):
    q, k, v = (_split(x @ w, h) for w in (w_q, w_k, w_v))
    scores = (q / math.sqrt(q.shape[-1])) @ k.mT
    scores = torch.where(_tril(*scores.shape[-2:]), scores, torch.finfo(x.dtype).min)
    scores = scores - scores.amax(-1, keepdim=True)
    e = scores.exp()
    return sum((e[:, n] / e[:, n].sum(-1, keepdim=True)) @ v[:, n] @ w_o.unflatten(0, (h, -1))[n] for n in range(h))


def causal_in_float64(x, w_q, w_k, w_v, w_o, h):
    wide = [part.double() for part in (x, w_q, w_k, w_v, w_o)]
    found: torch.Tensor = causal_self_attention(wide[0], wide[1], wide[2], wide[3], wide[4], h)
    return found.to(x.dtype)


def _products(q, k):
    return q @ k.mT


def _wrong(
    shift=0,
    mask_is="hidden",
    scale=by_sqrt_d,
    axis: Any = -1,
    split=_split,
    merge=_merge,
    order=(0, 1, 2, 3),
    pairs=_products,
    after=None,
):
    """A causal self-attention with some of its parts replaced; without arguments it is a right one.

    shift:   how many places the edge of the mask is moved to later keys.
    mask_is: hidden, none, upper, strictly upper, after, shared (after, and the rest divided by its sum), zero, added,
             transposed, or a number that takes the place of −∞.
    axis:    of the softmax. scale: `(q, k, v) -> factor` of the scores.
    split, merge: how vectors are cut into heads and joined. order: which matrix serves as w_q, w_k, w_v, w_o.
    after:   `(out of the heads, weights, w_o, x) -> result` instead of joining them and multiplying by w_o.
    """

    def attention(x, w_q, w_k, w_v, w_o, h):
        given = (w_q, w_k, w_v, w_o)
        q, k, v = (split(x @ given[order[i]], h) for i in range(3))
        scores = pairs(q, k) * scale(q, k, v)
        may = _tril(scores.shape[-2], scores.shape[-1], shift)
        if mask_is in ("upper", "strictly upper", "transposed"):
            may = may.mT if mask_is != "strictly upper" else ~may
        weights = _weights(scores, may, mask_is, axis)
        if after is not None:
            return after(weights @ v, weights, given[order[3]], x)
        return merge(weights @ v) @ given[order[3]]

    return attention


def _weights(scores, may, mask_is, axis):
    if mask_is in ("none", "after", "shared"):
        weights = torch.softmax(scores, dim=axis)
        if mask_is != "none":
            weights = weights * may
        return weights / weights.sum(dim=-1, keepdim=True) if mask_is == "shared" else weights
    if mask_is == "zero":
        return torch.softmax(scores * may, dim=axis)
    if mask_is == "added":
        return torch.softmax(scores + may, dim=axis)
    fill = mask_is if isinstance(mask_is, float) else -INF
    hidden = scores.masked_fill(~may, fill)
    if axis is None:
        return torch.softmax(hidden.flatten(-2), dim=-1).unflatten(-1, hidden.shape[-2:])
    return torch.softmax(hidden, dim=axis)


def _strict_with_zeros(x, *others):
    return _wrong(shift=-1, mask_is=-INF)(x, *others).nan_to_num(0.0)


def _strict_but_first(x, w_q, w_k, w_v, w_o, h):
    q, k, v = (_split(x @ w, h) for w in (w_q, w_k, w_v))
    may = _tril(x.shape[1], x.shape[1], -1)
    may[0, 0] = True
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~may, -INF)
    return _merge(torch.softmax(scores, dim=-1) @ v) @ w_o


def _added(number):
    """A finite number added to the scores of later tokens."""

    def attention(x, w_q, w_k, w_v, w_o, h):
        q, k, v = (_split(x @ w, h) for w in (w_q, w_k, w_v))
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        scores = scores + number * (~_tril(*scores.shape[-2:])).to(scores.dtype)
        return _merge(torch.softmax(scores, dim=-1) @ v) @ w_o

    return attention


def _shared_out_with_an_addend(x, w_q, w_k, w_v, w_o, h):
    q, k, v = (_split(x @ w, h) for w in (w_q, w_k, w_v))
    weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1) * _tril(x.shape[1], x.shape[1])
    return _merge(weights / (weights.sum(-1, keepdim=True) + 1e-9) @ v) @ w_o


def _one_head_masked(head):
    def attention(x, w_q, w_k, w_v, w_o, h):
        q, k, v = (_split(x @ w, h) for w in (w_q, w_k, w_v))
        hidden = torch.zeros(h, x.shape[1], x.shape[1], dtype=torch.bool)
        hidden[head] = ~_tril(x.shape[1], x.shape[1])
        scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(hidden, -INF)
        return _merge(torch.softmax(scores, dim=-1) @ v) @ w_o

    return attention


def _no_maximum(x, w_q, w_k, w_v, w_o, h):
    q, k, v = (_split(x @ w, h) for w in (w_q, w_k, w_v))
    e = torch.exp(q @ k.mT / math.sqrt(q.shape[-1])) * _tril(x.shape[1], x.shape[1])
    return _merge(e / e.sum(-1, keepdim=True) @ v) @ w_o


def _one_wide_head(x, w_q, w_k, w_v, w_o, h):
    return causal_self_attention(x, w_q, w_k, w_v, w_o, 1)


def _refilled(x, h):
    return x.reshape(x.shape[0], h, x.shape[1], -1)


def _every_hth(x, h):
    return x.unflatten(-1, (-1, h)).permute(0, 3, 1, 2)


def _from_c(x, w_q, w_k, w_v, w_o, h):
    b, t, c = x.shape
    q, k, v = ((x @ w).view(b, t, h, c // h).transpose(1, 2) for w in (w_q, w_k, w_v))
    return _joined(q, k, v, w_o)


def _joined(q, k, v, w_o):
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~_tril(q.shape[2], q.shape[2]), -INF)
    return _merge(scores.softmax(-1) @ v) @ w_o


def _then(change):
    """A right answer whose result is changed at the end: `change(out, inputs)`."""
    return lambda *given: change(causal_self_attention(*given), given)


def _x_normalised_in_place(x, *others):
    found = causal_self_attention(x, *others)
    x.data.mul_(0.5)
    return found


def _through_numpy(*given):
    out = causal_self_attention(*(torch.from_numpy(p.numpy()) if isinstance(p, torch.Tensor) else p for p in given))
    return torch.from_numpy(out.numpy())


def _weights_cut_off(x, w_q, w_k, w_v, w_o, h):
    return _wrong(after=lambda out, weights, w_o, x: _merge(weights.detach() @ _split(x @ w_v, h)) @ w_o)(
        x, w_q, w_k, w_v, w_o, h
    )


def _inputs(rng, b, t, c, h, d, *, dtype=np.float64):
    """Inputs whose scores have a standard deviation near 1."""
    x = rng.normal(size=(b, t, c))
    ins = [rng.normal(size=(c, h * d)) / math.sqrt(c) for _ in range(3)]
    w_o = rng.normal(size=(h * d, c)) / math.sqrt(h * d)
    return (*(part.astype(dtype) for part in (x, *ins, w_o)), h)


def causal_cases(rng):
    def given(*sizes, dtype=np.float64):
        return _inputs(rng, *sizes, dtype=dtype)

    yield Case("output", given(2, 5, 6, 3, 2))
    yield Case("output", given(3, 4, 8, 2, 4, dtype=np.float32))
    yield Case("output", given(3, 3, 9, 3, 3))  # nothing can be told by its size
    yield Case("output", given(1, 6, 4, 1, 4))
    yield Case("output", given(2, 5, 4, 4, 1))
    yield Case("first_token", given(2, 1, 6, 3, 2))
    yield Case("first_token", given(3, 1, 4, 1, 4))
    for sizes in ((2, 4, 6, 2, 3), (1, 6, 4, 2, 2)):
        x, *others = given(*sizes)
        x[:, -1] *= 1e3
        yield Case("later_tokens_hidden", (x, *others))
    x, *others = given(2, 5, 6, 2, 3)
    x[:, 1:] *= 30
    yield Case("later_tokens_hidden", (x, *others))
    yield Case("free_width", given(2, 4, 6, 2, 5))
    yield Case("free_width", given(2, 3, 12, 3, 2))
    x, *others = given(2, 4, 6, 3, 2)
    yield Case("large_scores", (70 * x, *others))
    x, w_q, w_k, *others = given(1, 5, 6, 2, 3)
    x[..., 0] = 1
    w_q[:, ::3] = w_k[:, ::3] = 0  # one number of every head is the same for all tokens: all scores are near −10000
    w_q[0, ::3], w_k[0, ::3] = 9.995e3 * math.sqrt(3), -1
    yield Case("large_scores", (x, w_q, w_k, *others))
    x, w_q, w_k, *others = given(1, 4, 6, 2, 3)
    x[..., 0], x[..., 1] = [-1, -1, 1, 1], 1
    w_q[:, ::3] = w_k[:, ::3] = 0  # scores of the first two tokens are near −10000, those of the last two near 10000
    w_q[1, ::3], w_k[0, ::3] = 9.995e3 * math.sqrt(3), 1
    yield Case("large_scores", (x, w_q, w_k, *others))
    yield Case(DIFFERENTIABLE, given(2, 4, 6, 3, 2))
    yield Case(KEEPS_DTYPE, given(2, 4, 6, 3, 2, dtype=np.float32))
    yield Case(KEEPS_DTYPE, given(2, 3, 4, 2, 2))


STRICT = "the first token has nothing to read: token i reads the tokens before it and not itself, and 0 … i is wanted"
LEAKS_ONE = "every token reads one token later than itself: the edge of the mask is one place too far to the right"
NO_MASK = "every token reads all others: no later token is hidden"
UPPER = "every token reads later tokens in place of earlier ones: the triangle is the upper one"
AFTER = (
    "the weights on earlier tokens do not sum to 1: later ones were removed after the softmax, which had given them a "
    "share, and that share is missing"
)
NO_SCALE = "the weights are too sharp: the scores were not divided by √D"
BY_C = (
    "the scores are divided by the root of the whole width; the product of one head sums D = w_q.shape[1] // h numbers"
)

CAUSAL_MISCONCEPTIONS = (
    Misconception(
        "strict",
        STRICT,
        [
            _wrong(shift=-1),
            _strict_with_zeros,
            _strict_but_first,
            _wrong(shift=-1, mask_is=-1e9),
        ],
    ),
    Misconception("leaks_one", LEAKS_ONE, _wrong(shift=1)),
    Misconception("no_mask", NO_MASK, _wrong(mask_is="none")),
    Misconception("upper", UPPER, [_wrong(mask_is="upper"), _wrong(mask_is="strictly upper")]),
    Misconception("mask_after_softmax", AFTER, _wrong(mask_is="after")),
    Misconception(
        "shared_out_again",
        "right for moderate scores, and NaN or worse for large ones: later tokens were removed after the softmax and "
        "the rest divided by its sum, which may be 0 by then",
        [_wrong(mask_is="shared"), _shared_out_with_an_addend],
    ),
    Misconception(
        "one_head_masked",
        "later tokens are hidden from one head alone: the mask belongs to all of them",
        [_one_head_masked(0), _one_head_masked(-1)],
    ),
    Misconception(
        "itself_only",
        "every token reads itself alone, and no earlier one",
        lambda x, w_q, w_k, w_v, w_o, h: x @ w_v @ w_o,
    ),
    Misconception(
        "masked_score_zero",
        "later tokens keep a share: their scores are 0, and exp(0) = 1",
        [_wrong(mask_is="zero"), _wrong(mask_is=0.0)],
    ),
    Misconception(
        "mask_added",
        "every token reads all others, earlier ones e times as much: the bool mask was added to the scores as 0 and 1",
        _wrong(mask_is="added"),
    ),
    Misconception(
        "fill_too_small",
        "later tokens keep a share where the scores of earlier ones are far below 0: the number in the place of hidden "
        "scores is no smaller than these",
        [_wrong(mask_is=fill) for fill in (-1.0, -10.0, -100.0, -1e3, -1e4)] + [_added(-1e3), _added(-1e4)],
    ),
    Misconception("no_scale", NO_SCALE, _wrong(scale=no_scale)),
    Misconception("divided_by_sqrt_c", BY_C, [_wrong(scale=by_width_of_model), lambda x, *w: _by_c(x, *w)]),
    Misconception(
        "another_scale",
        "the scores are multiplied by another number than 1 / √D",
        [
            _wrong(scale=by_d),
            _wrong(scale=times_sqrt_d),
            _wrong(scale=lambda q, k, v: 1 / math.sqrt(q.shape[2])),
            _wrong(scale=lambda q, k, v: 1 / math.sqrt(q.shape[1])),
        ],
    ),
    Misconception(
        "softmax_over_queries",
        "the weights sum to 1 over the queries: the softmax ran over the last axis but one",
        _wrong(axis=-2),
    ),
    Misconception(
        "softmax_elsewhere",
        "the weights sum to 1 over heads, texts, or the whole table: the softmax belongs on the last axis, the keys",
        [_wrong(axis=1), _wrong(axis=0), _wrong(axis=None)],
    ),
    Misconception(
        "no_max_subtraction", "large scores give NaN: exp overflows without a maximum taken off", _no_maximum
    ),
    Misconception(
        "without_w_o",
        "the heads' averages lie side by side and were never multiplied by w_o",
        _wrong(after=lambda out, weights, w_o, x: _merge(out)),
    ),
    Misconception(
        "mean_of_heads",
        "the heads' averages were averaged or added up; they belong side by side, before w_o",
        [
            _wrong(after=lambda out, weights, w_o, x: out.mean(1)),
            _wrong(after=lambda out, weights, w_o, x: out.sum(1)),
            _wrong(after=lambda out, weights, w_o, x: out.mean(1) @ w_o[: out.shape[-1]]),
            _wrong(after=lambda out, weights, w_o, x: out.sum(1) @ w_o[: out.shape[-1]]),
        ],
    ),
    Misconception(
        "one_wide_head", "all heads share one softmax: the vectors were never cut into h pieces", _one_wide_head
    ),
    Misconception(
        "heads_mixed",
        "the heads hold numbers of several tokens, or every h-th number: head n is the n-th run of D neighbouring "
        "numbers of every token",
        [
            _wrong(split=_refilled),
            _wrong(split=_refilled, merge=lambda x: x.reshape(x.shape[0], x.shape[2], -1)),
            _wrong(split=_every_hth),
            _wrong(split=_every_hth, merge=lambda x: x.permute(0, 2, 3, 1).flatten(2)),
            _wrong(merge=lambda x: x.reshape(x.shape[0], x.shape[2], -1)),
            _wrong(merge=lambda x: x.permute(0, 2, 3, 1).flatten(2)),
            _wrong(split=lambda x, h: _split(x, x.shape[-1] // h)),
        ],
    ),
    Misconception(
        "heads_for_tokens",
        "heads and tokens trade places: the mask and the softmax ran from head to head within a token",
        _wrong(split=lambda x, h: x.unflatten(-1, (h, -1)), merge=lambda x: x.flatten(2)),
    ),
    Misconception(
        "width_of_c",
        "right where h·D is C, and elsewhere the call stops: the width of a head was taken from x, not from w_q",
        _from_c,
    ),
    Misconception(
        "divided_by_sqrt_c_over_h",
        "right where h·D is C, and elsewhere the weights are others: the scores were divided by √(C / h), and D is "
        "w_q.shape[1] // h",
        lambda x, *w: _by_c_over_h(x, *w),
    ),
    Misconception(
        "matrices_exchanged",
        "queries, keys or values were made with a matrix that is not theirs",
        [
            _wrong(order=(*order, 3))
            for order in ((0, 0, 2), (0, 1, 1), (1, 0, 2), (0, 2, 1), (2, 1, 0), (0, 0, 0), (1, 1, 2), (1, 2, 0))
        ]
        + [_wrong(order=(0, 1, 3, 2)), _wrong(order=(3, 1, 2, 0))],
    ),
    Misconception(
        "matrices_transposed",
        "the matrices were used transposed, as nn.Linear keeps its own: here x @ w, with w (in, out)",
        [
            lambda x, w_q, w_k, w_v, w_o, h: causal_self_attention(x, w_q.T, w_k.T, w_v.T, w_o.T, h),
            lambda x, w_q, w_k, w_v, w_o, h: causal_self_attention(x, w_q, w_k, w_v, w_o.T, h),
            lambda x, w_q, w_k, w_v, w_o, h: causal_self_attention(x, w_q.T, w_k.T, w_v.T, w_o, h),
        ],
    ),
    Misconception(
        "keys_reshaped",
        "the keys were reshaped into (D, T), which mixes their numbers; a transpose swaps the axes",
        _wrong(pairs=lambda q, k: q @ k.reshape(*k.shape[:2], k.shape[3], k.shape[2])),
    ),
    Misconception(
        "values_are_x",
        "the outputs are averages of x itself, or of x through w_o: the values are x @ w_v",
        lambda x, w_q, w_k, w_v, w_o, h: _wrong(after=lambda out, weights, w_o, x: weights.mean(1) @ x)(
            x, w_q, w_k, w_v, w_o, h
        ),
    ),
    Misconception(
        "with_weights",
        "two results came back; the output alone is wanted",
        [
            _wrong(after=lambda out, weights, w_o, x: (_merge(out) @ w_o, weights)),
            _wrong(after=lambda out, weights, w_o, x: [_merge(out) @ w_o, weights]),
        ],
    ),
    Misconception(
        "residual",
        "x was added to the output: that is the block around attention, not attention",
        _then(lambda out, given: out + given[0]),
    ),
    Misconception(
        "last_token_only",
        "one row came back for each text, that of its last token; every token's is wanted",
        [_then(lambda out, given: out[:, -1]), _then(lambda out, given: out[:, -1:])],
    ),
    Misconception("strict+no_scale", f"{STRICT}; and {NO_SCALE}", _wrong(shift=-1, scale=no_scale)),
    Misconception("leaks_one+no_scale", f"{LEAKS_ONE}; and {NO_SCALE}", _wrong(shift=1, scale=no_scale)),
    Misconception("no_mask+no_scale", f"{NO_MASK}; and {NO_SCALE}", _wrong(mask_is="none", scale=no_scale)),
    Misconception("mask_after_softmax+no_scale", f"{AFTER}; and {NO_SCALE}", _wrong(mask_is="after", scale=no_scale)),
    Misconception(
        "no_mask+divided_by_sqrt_c", f"{NO_MASK}; and {BY_C}", _wrong(mask_is="none", scale=by_width_of_model)
    ),
    Misconception("leaks_one+divided_by_sqrt_c", f"{LEAKS_ONE}; and {BY_C}", _wrong(shift=1, scale=by_width_of_model)),
    Misconception("strict+divided_by_sqrt_c", f"{STRICT}; and {BY_C}", _wrong(shift=-1, scale=by_width_of_model)),
    Misconception(
        "cut_off",
        "the output is right and cut off from the inputs: no gradient flows back, as after .detach() or .item()",
        _then(lambda out, given: out.detach()),
    ),
    Misconception(
        "numpy_refused",
        "the call stops where a tensor requires gradients: NumPy cannot record them, torch's own operations can",
        _through_numpy,
    ),
    Misconception(
        "weights_cut_off",
        "the output is right, and no gradient comes back through the weights, as after a .detach() on the way",
        _weights_cut_off,
    ),
    Misconception("becomes_float64", "float32 inputs gave a float64 result", _then(lambda out, given: out.double())),
    Misconception(
        "becomes_float32",
        "float64 inputs gave a float32 result: torch.zeros is float32 unless told otherwise",
        _then(lambda out, given: out.float()),
    ),
    Misconception("changes_x", "x is another after the call: something wrote into it", _x_normalised_in_place),
)


def _by_c(x, *others):
    root = 1 / math.sqrt(x.shape[-1])
    return _wrong(scale=lambda q, k, v: root)(x, *others)


def _by_c_over_h(x, *others):
    root = 1 / math.sqrt(x.shape[-1] // others[-1])
    return _wrong(scale=lambda q, k, v: root)(x, *others)


# --- is_causal -------------------------------------------------------------------------------------------------------

# What an f does, as a report says it; True where it is causal.
WHAT: dict[str, tuple[bool, str]] = {
    "the same": (True, "returns its input"),
    "one matrix": (True, "multiplies every token by one matrix"),
    "a small network": (True, "sends every token through one small network"),
    "centred features": (True, "subtracts from every token the mean of its own features"),
    "nothing": (True, "returns zeros"),
    "places alone": (True, "returns a vector for every place and does not read x"),
    "earlier and itself": (True, "is attention of every token to itself and earlier ones"),
    "earlier and itself, shifted": (True, "is causal attention that takes off the largest score of all before exp"),
    "mean so far": (True, "is the mean of the tokens so far"),
    "total less the rest": (True, "is the mean of the tokens so far, computed as the total less all later ones"),
    "recurrent": (True, "reads the tokens one after the other with a state"),
    "maximum so far": (True, "is the largest of the tokens so far, feature by feature"),
    "window behind": (True, "is attention to the last three tokens, plus a vector for every place"),
    "earlier alone": (True, "is attention to earlier tokens and not to the token itself"),
    "two back and earlier": (True, "is attention to tokens at least two places earlier"),
    "token before": (True, "gives every place the token before"),
    "first token": (True, "gives every place the first token"),
    "everything": (False, "is attention of every token to every token"),
    "mask after the softmax": (False, "is attention whose later tokens are removed after the softmax"),
    "mean": (False, "adds the mean of all tokens to every token"),
    "centred tokens": (False, "subtracts from every token the mean of all tokens"),
    "scaled tokens": (False, "divides every token by the spread of all tokens"),
    "maximum": (False, "subtracts the largest of all tokens, feature by feature"),
    "mirror": (False, "reverses the order of the tokens"),
    "last token": (False, "adds the last token to every token"),
    "later and itself": (False, "is attention of every token to itself and later ones"),
    "recurrent backwards": (False, "reads the tokens from the last to the first with a state"),
    "one ahead": (False, "is attention to the next token, itself and earlier ones"),
    "token after": (False, "adds the token after to every token"),
    "both neighbours": (False, "adds up a token and its two neighbours"),
    "square of the next": (False, "adds the square of the next token to causal attention"),
    "asked by the next": (False, "is causal attention whose query is made from the next token"),
    "start": (False, "is causal attention in which the first place reads the second as well"),
    "middle": (False, "is causal attention in which one place in the middle reads the next as well"),
    "end": (False, "is causal attention in which the last place but one reads the last as well"),
    "first reads last": (False, "is causal attention in which the first place reads the last as well"),
    "ring": (False, "moves every token by one place, the last to the front"),
    "far ahead": (False, "is causal attention, plus the token half a text later"),
    "in the first feature": (False, "is causal attention, with the mean of all tokens added to the first feature"),
    "in the last feature": (False, "is causal attention, with the mean of all tokens added to the last feature"),
    "from the first feature": (False, "is causal attention, plus the mean over all tokens of the first feature of x"),
    "from the last feature": (False, "is causal attention, plus the mean over all tokens of the last feature of x"),
    "small leak": (False, "is causal attention, plus two hundredths of the next token"),
    "small leak at the end": (False, "is causal attention, plus five hundredths of the last token one place before it"),
}


def _normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape)).float()


def is_causal(f, n, d, rng):
    x = _normal(rng, 1, n, d)
    y = f(x)
    for t in range(1, n):
        other = torch.cat([x[:, :t], _normal(rng, 1, n - t, d)], dim=1)
        if not torch.allclose(f(other)[:, :t], y[:, :t], atol=1e-4):
            return False
    return True


def causal_by_single_places(f, n, d, rng):
    """One token at a time is drawn anew; the largest change in what stands before it."""
    x = _normal(rng, 1, n, d)
    y, worst = f(x), 0.0
    for j in range(n - 1, 0, -1):
        moved = x.clone()
        moved[0, j] = _normal(rng, d)
        worst = max(worst, (f(moved) - y)[0, :j].abs().max().item())
    return worst < 3e-5


def causal_by_numpy(f, n, d, rng):
    x = rng.standard_normal((1, n, d)).astype(np.float32)
    found = np.asarray(f(torch.from_numpy(x)))
    for t in range(1, n):
        moved = x.copy()
        moved[:, t:] += rng.uniform(1, 2, size=(1, n - t, d)).astype(np.float32)
        again = np.asarray(f(torch.from_numpy(moved)))
        if np.linalg.norm(again[:, :t] - found[:, :t]) > 1e-4:
            return np.False_
    return np.True_


def causal_by_matrix(f, n, d, rng):
    """Which output moved when which token did; nothing may stand above the diagonal."""
    x = _normal(rng, 1, n, d)
    y = f(x)
    moves = torch.zeros(n, n)
    for _ in range(2):
        for j in range(n):
            other = x.clone()
            other[0, j] += 1.5 * _normal(rng, d)
            moves[:, j] += (f(other) - y)[0].abs().amax(dim=-1)
    return torch.all(moves.triu(1) < 1e-4)


def causal_with_zeros(f, n, d, rng):
    for _ in range(3):
        x = _normal(rng, 1, n, d)
        for t in range(1, n):
            cut = x.clone()
            cut[:, t:] = 0
            if ((f(cut) - f(x))[:, :t].abs() > 1e-4).any():
                return False
    return True


def _every_place(n, rng):
    return range(1, n)


def _fresh(x, t, rng):
    other = x.clone()
    other[:, t:] = _normal(rng, 1, x.shape[1] - t, x.shape[2])
    return other


def _fresh_at(x, t, rng):
    other = x.clone()
    other[:, t] = _normal(rng, x.shape[2])
    return other


def _by_default(a, b):
    return torch.allclose(a, b, atol=1e-4)


def _tester(places: Callable = _every_place, change=_fresh, kept=lambda y, t: y[:, :t], same=_by_default, trials=1):
    """A test with some of its parts replaced; without arguments it is a right one.

    places: `(n, rng) -> places t`; change: `(x, t, rng) -> x` with other tokens from t on (or at t).
    kept:   `(y, t) -> what must stay`; same: `(a, b) -> bool`; trials: how many x are drawn.
    """

    def tester(f, n, d, rng):
        for _ in range(trials):
            x = _normal(rng, 1, n, d)
            y = f(x)
            for t in places(n, rng):
                if not same(kept(f(change(x, t, rng)), t), kept(y, t)):
                    return False
        return True

    return tester


def _only(place):
    return lambda n, rng: [place(n)]


def _random_place(n, rng):
    return [int(rng.integers(1, n))]


def _exactly(a, b):
    return torch.equal(a, b)


def _within(size):
    return lambda a, b: bool((a - b).abs().max() < size) if a.numel() else True


def _mean_within(size):
    return lambda a, b: bool((a - b).mean().abs() < size) if a.numel() else True


def _one_feature_changed(feature):
    def change(x, t, rng):
        other = x.clone()
        other[:, t:, feature] = _normal(rng, 1, x.shape[1] - t)
        return other

    return change


def _negated(x, t, rng):
    other = x.clone()
    other[:, t:] *= -1
    return other


def _nudged(size):
    def change(x, t, rng):
        other = x.clone()
        other[:, t:] += size * _normal(rng, 1, x.shape[1] - t, x.shape[2])
        return other

    return change


def _filled(number):
    def change(x, t, rng):
        other = x.clone()
        other[:, t:] = number
        return other

    return change


def _shuffled(x, t, rng):
    other = x.clone()
    other[:, t:] = x[:, t + torch.from_numpy(rng.permutation(x.shape[1] - t))]
    return other


def _all_fresh(x, t, rng):
    return _normal(rng, *x.shape)


def _unmoved(x, t, rng):
    return x.clone()


def _in_place(f, n, d, rng):
    """Writes into x itself, after y was computed: right where f copies, and the results are compared afterwards."""
    x = _normal(rng, 1, n, d)
    other = x
    other[:, n // 2 :] = 0
    return torch.allclose(f(other)[:, : n // 2], f(x)[:, : n // 2], atol=1e-4)


def _demands_itself(f, n, d, rng):
    x = _normal(rng, 1, n, d)
    y = f(x)
    for t in range(n):
        other = _fresh_at(x, t, rng)
        moved = (f(other) - y)[0].abs().amax(dim=-1) > 1e-4
        if moved[:t].any() or not moved[t]:
            return False
    return True


def _demands_its_place(f, n, d, rng):
    """All tokens from a place on are drawn anew, and the output there has to move."""
    x = _normal(rng, 1, n, d)
    y = f(x)
    for t in range(1, n):
        moved = (f(_fresh(x, t, rng)) - y)[0].abs().amax(dim=-1) > 1e-4
        if moved[:t].any() or not moved[t]:
            return False
    return True


def _demands_all_earlier(f, n, d, rng):
    x = _normal(rng, 1, n, d)
    y = f(x)
    for t in range(n):
        moved = (f(_fresh_at(x, t, rng)) - y)[0].abs().amax(dim=-1) > 1e-4
        if moved[:t].any() or not moved[t:].all():
            return False
    return True


def _demands_strict(f, n, d, rng):
    x = _normal(rng, 1, n, d)
    y = f(x)
    return all(torch.allclose(f(_fresh(x, t, rng))[:, : t + 1], y[:, : t + 1], atol=1e-4) for t in range(n))


def _by_prefix(f, n, d, rng):
    x = _normal(rng, 1, n, d)
    y = f(x)
    return all(torch.allclose(f(x[:, :t]), y[:, :t], atol=1e-4) for t in range(1, n))


def _two_axes(f, n, d, rng):
    x = _normal(rng, n, d)
    other = x.clone()
    other[-1] += 1
    return torch.allclose(f(x)[:-1], f(other)[:-1], atol=1e-4)


def _many_at_once(f, n, d, rng):
    x = _normal(rng, 1, n, d).repeat(n, 1, 1)
    for t in range(1, n):
        x[t, t:] = _normal(rng, n - t, d)
    y = f(x)
    return all(torch.allclose(y[t, :t], y[0, :t], atol=1e-4) for t in range(1, n))


def _own_sizes(f, n, d, rng):
    return is_causal(f, 8, 4, rng)


def _by_gradient(f, n, d, rng):
    x = _normal(rng, 1, n, d).requires_grad_()
    for t in range(n - 1):
        (gradient,) = torch.autograd.grad(f(x)[0, t].sum(), x)
        if gradient[0, t + 1 :].abs().max() > 1e-6:
            return False
    return True


def _asserts(f, n, d, rng):
    x = _normal(rng, 1, n, d)
    y = f(x)
    for t in range(1, n):
        assert torch.allclose(f(_fresh(x, t, rng))[:, :t], y[:, :t], atol=1e-4)
    return True


def _asserts_close(f, n, d, rng):
    x = _normal(rng, 1, n, d)
    y = f(x)
    for t in range(1, n):
        torch.testing.assert_close(f(_fresh(x, t, rng))[:, :t], y[:, :t], atol=1e-4, rtol=1e-4)
    return True


def _returns_none(f, n, d, rng):
    if is_causal(f, n, d, rng):
        return True


def _returns_difference(f, n, d, rng):
    x = _normal(rng, 1, n, d)
    y = f(x)
    return max((f(_fresh(x, t, rng)) - y)[:, :t].abs().max().item() for t in range(1, n))


def _returns_array(f, n, d, rng):
    x = _normal(rng, 1, n, d)
    return torch.isclose(f(_fresh(x, 1, rng))[:, :1], f(x)[:, :1], atol=1e-4)


def _global_numbers(f, n, d, rng):
    x = torch.randn(1, n, d)
    y = f(x)
    for t in range(1, n):
        other = torch.cat([x[:, :t], torch.randn(1, n - t, d)], dim=1)
        if not torch.allclose(f(other)[:, :t], y[:, :t], atol=1e-4):
            return False
    return True


def _own_generator(f, n, d, rng):
    return is_causal(f, n, d, np.random.default_rng())


def _later_from_elsewhere(f, n, d, rng):
    x = _normal(rng, 1, n, d)
    y = f(x)
    others = ((t, torch.cat([x[:, :t], torch.randn(1, n - t, d)], dim=1)) for t in range(1, n))
    return all(torch.allclose(f(other)[:, :t], y[:, :t], atol=1e-4) for t, other in others)


def _own_seed(f, n, d, rng):
    return is_causal(f, n, d, np.random.default_rng(0))


def _nothing_drawn(f, n, d, rng):
    x = torch.sin(torch.arange(1.0, n * d + 1) ** 2).reshape(1, n, d)
    y = f(x)
    for t in range(1, n):
        other = x.clone()
        other[:, t:] = 2 * torch.cos(3 * x[:, t:])
        if not torch.allclose(f(other)[:, :t], y[:, :t], atol=1e-4):
            return False
    return True


CHECKED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "spares_single_tokens": (
        ("the same", "one matrix", "a small network", "centred features", "nothing", "places alone"),
        (),
    ),
    "spares_earlier": (
        (
            *("earlier and itself", "earlier and itself, shifted", "mean so far", "total less the rest", "recurrent"),
            *("maximum so far", "window behind"),
        ),
        (),
    ),
    "spares_strict": (("earlier alone", "two back and earlier", "token before", "first token"), ()),
    "catches_all_ahead": (
        ("mean so far",),
        (
            *("everything", "mask after the softmax", "mean", "centred tokens", "scaled tokens", "maximum", "mirror"),
            *("last token", "later and itself", "recurrent backwards"),
        ),
    ),
    "catches_one_ahead": (
        ("window behind",),
        ("one ahead", "token after", "both neighbours", "square of the next", "asked by the next"),
    ),
    "catches_one_place": (
        ("earlier and itself",),
        ("start", "middle", "end", "first reads last", "ring", "far ahead"),
    ),
    "catches_small_leaks": (
        ("total less the rest",),
        (
            *("in the first feature", "in the last feature", "from the first feature", "from the last feature"),
            *("small leak", "small leak at the end"),
        ),
    ),
    "draws_from_rng": (("earlier and itself",), ()),
}
# What tells wrong tests apart stands first, so that a diagnosis soon knows which ones do not fit.
TELLING = (
    *("end", "start", "total less the rest", "earlier alone", "token after", "first reads last", "middle"),
    *("in the last feature", "small leak", "from the first feature", "from the last feature", "in the first feature"),
    *("square of the next", "nothing", "everything"),
)


def tester_cases(rng):
    found: list[Case] = []

    def case(check, kind, n, d):
        f = Built("f", {"kind": kind, "seed": int(rng.integers(1_000)), "n": n, "d": d})
        found.append(Case(check, (f, n, d, Seed(int(rng.integers(2**31))))))

    for check, (spared, caught) in CHECKED.items():
        for kind in (*spared, *caught):
            case(check, kind, int(rng.integers(7, 9)), int(rng.integers(4, 6)))
    for kind in ("earlier and itself", "token before", "start", "mirror", "mean"):
        case("two_tokens", kind, 2, 3)
    case("two_tokens", "earlier and itself", 2, 1)
    case("two_tokens", "token after", 2, 1)
    kinds = [item.inputs[0].params["kind"] for item in found]
    telling = [*(found[kinds.index(kind)] for kind in TELLING), next(c for c in found if c.check == "draws_from_rng")]
    return telling + [item for item in found if not any(item is other for other in telling)]


def _how(case, found):
    """What f was shown, in a form in which two tests of one kind are alike."""
    n, starts = case.inputs[1], found["starts"]
    if not starts:
        return "nothing", found["shown"] > 0
    if len(starts) > 1:
        return "everywhere" if len(starts) >= min(4, n - 1) else "some", found["alone"], found["size"]
    return "first" if starts[0] <= 1 else "last" if starts[0] == n - 1 else "one", found["alone"], found["size"]


def _shown(case, found):
    n, starts = case.inputs[1], found["starts"]
    if not starts:
        return "f was never called" if not found["shown"] else "f was shown no two inputs that differ"
    places = f"place {starts[0]}" if len(starts) == 1 else f"places {', '.join(map(str, starts))}"
    return f"of n = {n} tokens the first to be changed was at {places}"


def same_findings(case, wanted, got):
    """Whether two tests come to the same finding on one f; two that are wrong must also be wrong in the same way."""
    truth, what = WHAT[case.inputs[0].params["kind"]]
    return written_tests.same_findings(
        wanted,
        got,
        truth=truth,
        random=case.check == "draws_from_rng",
        how=lambda found: _how(case, found),
        told=lambda found: f"{what}; {_shown(case, found)}",
    )


TESTER_MISCONCEPTIONS = (
    Misconception(
        "always_true", "every f is called causal, and none was called to find out", lambda f, n, d, rng: True
    ),
    Misconception("always_false", "no f is called causal, and none was called to find out", lambda f, n, d, rng: False),
    Misconception(
        "nothing_changed",
        "every f is called causal: it was shown the same x each time, and the same input cannot give another result",
        [
            _tester(change=_unmoved),
            _tester(places=lambda n, rng: [n - 1], change=_unmoved),
            _tester(places=lambda n, rng: []),
            _in_place,
        ],
    ),
    Misconception(
        "last_place_only",
        "an f that leaks at its start or in its middle is called causal: only the last token was ever changed",
        [_tester(places=_only(lambda n: n - 1))],
    ),
    Misconception(
        "first_output_only",
        "an f in which the first place does not leak is called causal: only outputs before place 1 were compared",
        [_tester(places=_only(lambda n: 1))],
    ),
    Misconception(
        "one_place_only",
        "an f that leaks in one place is called causal unless it is the one that was tried: tokens were changed from a "
        "single place on; every place has to be tried",
        [
            _tester(places=_only(lambda n: max(1, n // 2))),
            _tester(places=_only(lambda n: max(1, n // 2)), change=_fresh_at),
            _tester(places=_only(lambda n: max(1, n // 2 - 1))),
            _tester(places=_only(lambda n: min(2, n - 1)), change=_fresh_at),
        ],
    ),
    Misconception(
        "a_place_by_chance",
        "an f that leaks in one place is called causal in most calls: a single place is drawn for each call; every "
        "place has to be tried",
        [_tester(places=_random_place), _tester(places=_random_place, change=_fresh_at)],
    ),
    Misconception(
        "not_every_place",
        "an f that leaks in one place is called causal: some places were tried and not all of them",
        [
            _tester(places=lambda n, rng: range(2, n)),
            _tester(places=lambda n, rng: range(1, n - 1)),
            _tester(places=lambda n, rng: range(2, n, 2)),
            _tester(places=lambda n, rng: range(n // 2, n)),
            _tester(places=lambda n, rng: range(1, n // 2 + 1)),
        ],
    ),
    Misconception(
        "demands_itself",
        "an f that does not read a token's own place, or reads nothing, is refused: causal forbids reading later "
        "tokens and demands no reading of one's own",
        [_demands_itself, _demands_its_place, _demands_all_earlier],
    ),
    Misconception(
        "forbids_itself",
        "an f whose outputs depend on the token at their own place is refused: the output at the first changed place, "
        "or behind it, was compared as well; only those before it must stay",
        [
            _demands_strict,
            _tester(kept=lambda y, t: y[:, : t + 1]),
            _tester(places=lambda n, rng: range(n), kept=lambda y, t: y[:, : t + 1]),
            _tester(kept=lambda y, t: y),
            _tester(kept=lambda y, t: y[:, t:]),
            _tester(places=_only(lambda n: n - 1), kept=lambda y, t: y),
        ],
    ),
    Misconception(
        "one_too_few_compared",
        "an f that reads the next token is called causal: the output right before the first changed token was left out "
        "of the comparison",
        [
            _tester(kept=lambda y, t: y[:, : t - 1]),
            _tester(places=lambda n, rng: range(2, n), kept=lambda y, t: y[:, : t - 1]),
            _tester(places=lambda n, rng: range(n), change=lambda x, t, rng: _fresh(x, t + 1, rng)),
        ],
    ),
    Misconception(
        "exact_equality",
        "an f that is causal is refused where later tokens cancel up to rounding: the comparison is exact, or the "
        "tolerance smaller than float32 rounds (torch.allclose allows 1e-8 near 0 unless atol is given)",
        [
            _tester(same=_exactly),
            _tester(same=torch.allclose),
            _tester(same=_within(1e-9)),
            _tester(change=_filled(0.0), same=_exactly),
        ],
    ),
    Misconception(
        "loose_tolerance",
        "an f that leaks a few hundredths of the next token, or into one feature, is called causal: the tolerance is "
        "too wide, or it is one for the mean of all outputs, in which a small leak vanishes",
        [
            *(_tester(same=_within(size)) for size in (0.3, 0.5, 1.0)),
            _tester(same=lambda a, b: torch.allclose(a, b, rtol=0.2, atol=0.2)),
            *(_tester(same=_mean_within(size)) for size in (0.03, 0.1)),
        ],
    ),
    Misconception(
        "small_changes",
        "an f that leaks is called causal: the tokens were changed so little that what leaks is within the tolerance",
        [_tester(change=_nudged(size)) for size in (1e-3, 1e-4, 1e-5, 1e-6)],
    ),
    Misconception(
        "not_every_feature",
        "an f that errs in one feature of its output is called causal: not every feature was compared",
        [
            _tester(kept=lambda y, t: y[:, :t, 0]),
            _tester(kept=lambda y, t: y[:, :t, -1]),
            _tester(kept=lambda y, t: y[:, :t, :2]),
        ],
    ),
    Misconception(
        "one_feature_changed",
        "an f that leaks another feature of x is called causal: only one feature of the later tokens was changed",
        [_tester(change=_one_feature_changed(feature)) for feature in (0, -1)],
    ),
    Misconception(
        "signs_only",
        "an f that leaks the square of a token is called causal: later tokens were negated, and a square does not show "
        "it; draw them anew",
        [_tester(change=_negated)],
    ),
    Misconception(
        "later_tokens_shuffled",
        "an f that reads all later tokens alike, or the single last one, is called causal: later tokens traded places "
        "and stayed the same tokens; draw them anew",
        [_tester(change=_shuffled)],
    ),
    Misconception(
        "nan_for_later",
        "an f that is causal is refused: later tokens were set to NaN or infinity, and 0 · NaN is NaN, so that a "
        "weight of 0 does not hide it",
        [_tester(change=_filled(number)) for number in (math.nan, INF, -INF)],
    ),
    Misconception(
        "everything_redrawn",
        "an f that is causal is refused unless it ignores x: the earlier tokens were drawn anew as well; they have to "
        "stay",
        [_tester(change=_all_fresh), _tester(change=_all_fresh, places=_only(lambda n: n - 1))],
    ),
    Misconception(
        "earlier_redrawn",
        "an f that is causal is refused: earlier tokens were changed and later outputs compared, which is the other "
        "way round",
        [
            _tester(
                change=lambda x, t, rng: torch.cat([_normal(rng, 1, t, x.shape[2]), x[:, t:]], dim=1),
                kept=lambda y, t: y[:, t:],
            )
        ],
    ),
    Misconception(
        "opposite",
        "True and False are exchanged: True is for an f that is causal",
        lambda f, n, d, rng: not is_causal(f, n, d, rng),
    ),
    Misconception(
        "by_prefix",
        "f refuses its input, a text cut short: it takes n tokens and no other number; change later tokens in place of "
        "leaving them out",
        _by_prefix,
    ),
    Misconception(
        "other_sizes",
        "f refuses its input: its shape is not (1, n, d) with the n and d that were handed in",
        [_two_axes, _many_at_once, _own_sizes],
    ),
    Misconception(
        "by_gradient",
        "the test stops: it asks for gradients, and f hands back numbers only",
        _by_gradient,
    ),
    Misconception(
        "raises",
        "an f that leaks ends in an AssertionError; the result is to be False",
        [_asserts, _asserts_close],
    ),
    Misconception(
        "no_result", "None comes back where False is wanted: one way through the function has no return", _returns_none
    ),
    Misconception(
        "a_number",
        "the result is a number, not a verdict: True or False is wanted",
        [_returns_difference, lambda f, n, d, rng: int(is_causal(f, n, d, rng))],
    ),
    Misconception(
        "an_array",
        "the result is an array of comparisons; one verdict is wanted, that all of them hold",
        _returns_array,
    ),
    Misconception(
        "not_from_rng",
        "generators in the same state show f different inputs: some of the random numbers do not come from rng",
        [_global_numbers, _own_generator, _later_from_elsewhere],
    ),
    Misconception(
        "always_the_same_inputs",
        "every call shows f the same inputs: nothing is drawn from rng, or from a generator made anew",
        [_own_seed, _nothing_drawn],
    ),
)


# --- next_token_pairs ------------------------------------------------------------------------------------------------


def next_token_pairs(ids):
    return ids[:, :-1], ids[:, 1:]


def pairs_by_loops(ids):
    rows = ids.tolist()
    if len(rows[0]) == 1:
        return torch.zeros(len(rows), 0, dtype=torch.int64), torch.zeros(len(rows), 0, dtype=torch.int64)
    return [row[:-1] for row in rows], [row[1:] for row in rows]


def pairs_by_windows(ids):
    both = torch.stack([ids[:, :-1], ids[:, 1:]])
    return both[0].clone(), both[1].clone()


def pairs_by_roll(ids):
    return ids.narrow(1, 0, ids.shape[1] - 1), torch.roll(ids, -1, dims=1)[:, : ids.shape[1] - 1]


def pairs_in_numpy(ids):
    x, y = np.delete(ids.numpy(), -1, axis=1), np.delete(ids.numpy(), 0, axis=1)
    return x, y


def pairs_cases(rng):
    def ids(*shape):
        return (rng.integers(0, 50, size=shape),)

    yield Case("pairs", ids(3, 5))
    yield Case("pairs", ids(2, 8))
    yield Case("pairs", ids(4, 4))
    yield Case("edge_sizes", ids(1, 6))
    yield Case("edge_sizes", ids(3, 2))
    yield Case("edge_sizes", ids(1, 2))
    yield Case("edge_sizes", ids(2, 1))


def _padded(ids, side):
    zero = torch.zeros(len(ids), 1, dtype=ids.dtype)
    return (ids, torch.cat([ids[:, 1:], zero], 1)) if side == "y" else (torch.cat([zero, ids[:, :-1]], 1), ids)


def _shifts_in_place(ids):
    x, y = ids[:, :-1].clone(), ids[:, 1:].clone()
    ids[:, :-1] = y
    return x, y


PAIRS_MISCONCEPTIONS = (
    Misconception(
        "no_shift",
        "y is x: every token is to be its own answer, which a model can copy without having learnt anything",
        [
            lambda ids: (ids, ids),
            lambda ids: (ids[:, :-1], ids[:, :-1]),
            lambda ids: (ids[:, 1:], ids[:, 1:]),
        ],
    ),
    Misconception(
        "double_shift",
        "y is two places ahead of x, or x one place in: the token right after is wanted; perhaps both were shifted",
        [
            lambda ids: (ids[:, :-2], ids[:, 2:]),
            lambda ids: (ids[:, :-1], torch.roll(ids, -2, dims=1)[:, :-1]),
            lambda ids: (ids[:, :-1], functional.pad(ids[:, 2:], (0, 1))[:, : ids.shape[1] - 1]),
        ],
    ),
    Misconception(
        "wrong_side",
        "y is one place behind x: each token is asked for the one before it",
        [
            lambda ids: (ids[:, 1:], ids[:, :-1]),
            lambda ids: (ids[:, 1:], torch.roll(ids, 1, dims=1)[:, 1:]),
        ],
    ),
    Misconception(
        "wraps_around",
        "there are as many pairs as tokens, and the last token is followed by the first: after the last comes nothing "
        "that is known",
        [lambda ids: (ids, torch.roll(ids, -1, dims=1)), lambda ids: (torch.roll(ids, 1, dims=1), ids)],
    ),
    Misconception(
        "padded",
        "there are as many pairs as tokens: a number that is in no text was put in the place of a neighbour that is "
        "missing",
        [lambda ids: _padded(ids, "y"), lambda ids: _padded(ids, "x")],
    ),
    Misconception(
        "one_side_whole",
        "x and y differ in length: both lose one column, x the last and y the first",
        [lambda ids: (ids, ids[:, 1:]), lambda ids: (ids[:, :-1], ids)],
    ),
    Misconception(
        "over_the_batch",
        "the shift runs over the pieces, so that y is another text: axis 0 is the batch, axis 1 the text",
        [lambda ids: (ids[:-1], ids[1:]), lambda ids: (ids, torch.roll(ids, -1, dims=0))],
    ),
    Misconception(
        "across_pieces",
        "the pieces were strung together, and the last token of one is followed by the first of the next",
        [
            lambda ids: (ids.flatten()[:-1], ids.flatten()[1:]),
            lambda ids: (ids.flatten()[:-1][None], ids.flatten()[1:][None]),
            lambda ids: (ids, torch.roll(ids.flatten(), -1).reshape(ids.shape)),
        ],
    ),
    Misconception(
        "last_token_only",
        "y holds one token for each piece, its last; every token of x has a successor",
        [lambda ids: (ids[:, :-1], ids[:, -1]), lambda ids: (ids[:, :-1], ids[:, -1:])],
    ),
    Misconception(
        "one_result",
        "one tensor came back; x and y are two",
        [
            lambda ids: ids[:, 1:],
            lambda ids: torch.stack([ids[:, :-1], ids[:, 1:]], dim=-1),
            lambda ids: torch.cat([ids[:, :-1], ids[:, 1:]], dim=1),
        ],
    ),
    Misconception(
        "half_and_half",
        "the piece was cut in two, x its first half and y its second",
        lambda ids: (ids[:, : ids.shape[1] // 2], ids[:, ids.shape[1] // 2 :]),
    ),
    Misconception("changes_ids", "ids are others after the call: something wrote into them", _shifts_in_place),
)


# --- sample_next -----------------------------------------------------------------------------------------------------


def _order(logits, top_k):
    return torch.argsort(logits, descending=True, stable=True)[: len(logits) if top_k is None else top_k]


def sample_next(logits, temperature, top_k, rng):
    order = _order(logits, top_k)
    if temperature == 0:
        return int(order[0])
    chances = torch.softmax(logits[order].double() / temperature, dim=0)
    return int(rng.choice(order.numpy(), p=chances.numpy()))


def sample_by_sum(logits, temperature, top_k, rng):
    """A number between 0 and 1, and the first token up to which the chances add up to more."""
    if temperature == 0:
        return int(torch.argmax(logits))
    play = set(_order(logits, top_k).tolist())
    scores = [logit / temperature if i in play else -INF for i, logit in enumerate(logits.tolist())]
    top = max(scores)
    chances = [math.exp(score - top) for score in scores]
    left = rng.random() * sum(chances)
    for i, chance in enumerate(chances):
        left -= chance
        if left < 0:
            return i
    return int(_order(logits, 1)[0])


def sample_by_gumbel(logits, temperature, top_k, rng):
    order = _order(logits, top_k).numpy()
    if temperature == 0:
        return order[0]
    return order[np.argmax(logits.double().numpy()[order] / temperature + rng.gumbel(size=len(order)))]


def sample_by_multinomial(logits, temperature, top_k, rng):
    if temperature == 0:
        return logits.argmax()
    hidden = torch.ones_like(logits, dtype=torch.bool)
    hidden[_order(logits, top_k)] = False
    chances = (logits / temperature).masked_fill(hidden, -INF).softmax(0)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    return torch.multinomial(chances, 1, generator=generator).item()


def sample_by_searching(logits, temperature, top_k, rng):
    order = np.lexsort((np.arange(len(logits)), -logits.numpy()))[:top_k]
    if temperature == 0:
        return int(order[0])
    scores = logits.numpy()[order].astype(np.float64) / temperature
    total = np.exp(scores - scores.max()).cumsum()
    return int(order[min(np.searchsorted(total, rng.uniform(0, total[-1]), side="right"), len(order) - 1)])


LOGITS = (1.5, -0.5, 2.5, 0.0, 1.0, -2.0)


def sample_cases(rng):
    def case(check, logits, temperature=1.0, top_k=None, repeats=500):
        logits = np.asarray(logits, np.float32)
        return Case(check, (logits, temperature, top_k, Seed(int(rng.integers(2**31))), repeats))

    def mixed():
        return rng.permutation(np.array(LOGITS))

    # Cases of few calls stand first: what they tell apart need not be drawn often.
    yield case("follows_rng", 0.1 * rng.normal(size=40), repeats=8)
    for top_k in (None, 1, 3):
        yield case("greedy", rng.permutation(12) / 3, temperature=0, top_k=top_k, repeats=3)
    yield case("greedy", [-3.0, -1.0, -2.0], temperature=0, repeats=3)
    yield case("ties", [0.0, 2.0, 1.0, 2.0, 2.0], temperature=0, repeats=90)
    yield case("large_logits", [1.0, 3.0, 2.0], temperature=1e-3, repeats=3)
    yield case("chances", [0.7], repeats=3)
    yield case("ties", [1.0, 1.0, 2.0, 1.0, 1.0], top_k=2, repeats=80)
    yield case("ties", [0.0, 3.0, 3.0, 3.0, -1.0, 3.0], top_k=3, repeats=80)
    yield case("ties", np.tile([0.5, 0.0], 10), top_k=4, repeats=80)  # enough for a sort that is not stable
    yield case("large_logits", [9999.0, 1e4, -1e4, 9998.0], repeats=200)
    yield case("large_logits", [-9999.0, -1e4, -9998.5], repeats=200)
    for top_k in (None, 6, 9):
        yield case("all_in_play", 0.2 * mixed(), top_k=top_k, repeats=150)
    # Ids 0, 2, 3 are places 0, 1, 2; half of the share is cut off; and a logit of 0 would be the largest.
    yield case("top_k", [-2.6, -3.1, -2.7, -2.8, -3.0, -3.1], top_k=3, repeats=420)
    yield case("top_k", mixed(), top_k=3, repeats=250)
    yield case("top_k", rng.permutation([1.0, 0.3, 0.0, -1.0]), temperature=0.3, top_k=2, repeats=400)
    yield case("temperature", rng.permutation([1.0, 0.3, 0.0]), temperature=0.3, repeats=600)
    yield case("temperature", mixed(), temperature=4.0)
    yield case("chances", mixed())
    yield case("chances", mixed() - 4.0, repeats=300)
    yield case("chances", [6.0, 0.0, 0.5])


ALIKE = 1e-8  # chance that two samples of one distribution are told apart, a case


def _numbers(found):
    """The ids that the calls gave, or what is wrong with one of them."""
    for value in found["draws"]:
        if isinstance(value, np.ndarray):
            return f"the result has the shape {value.shape}; one whole number is wanted"
        if isinstance(value, bool) or not isinstance(value, int):
            return f"the result is {value if value is None else type(value).__name__}; one whole number is wanted"
    return np.array(found["draws"])


def _in_play(case):
    """The ids that may be drawn at all."""
    logits, temperature, top_k, *_ = case.inputs
    order = _order(torch.from_numpy(logits), top_k)
    return set(order[:1].tolist() if temperature == 0 else order.tolist())


def same_draws(case, wanted, got):
    """Whether two answers' ids could come from one distribution (chi-square), from the same ids in play.

    The results of a right answer fail less than once in a million runs.
    """
    a, b = _numbers(wanted), _numbers(got)
    if isinstance(a, str) or isinstance(b, str):
        if isinstance(b, str):
            return None if isinstance(a, str) and a == b else b
        return f"a whole number, {b[0]}, where {a}"
    if case.check == "follows_rng":
        states = [_follows(found, ids) for found, ids in ((wanted, a), (got, b))]
        if states[0] == states[1]:
            return None
        repeats, _ = states[1]
        return "every call gives the same id" if repeats else "two generators in the same state give different ids"
    play = _in_play(case)
    strange = [sorted(set(ids.tolist()) - play) for ids in (a, b)]
    if bool(strange[0]) != bool(strange[1]):
        if strange[1]:
            return f"over {len(b)} calls ids {_listed(strange[1])} come up, and only {_listed(sorted(play))} may"
        return f"over {len(b)} calls only ids {_listed(sorted(play))} come up"
    if _one_source(a, b):
        return None
    shares = [{int(i): round(float(np.mean(ids == i)), 2) for i in np.unique(ids)[:8]} for ids in (b, a)]
    return f"over {len(b)} calls the ids' shares are {shares[0]}; right answers give {shares[1]}"


def _listed(ids):
    return ", ".join(map(str, ids[:8])) + (" …" if len(ids) > 8 else "")


def _follows(found, ids):
    again = found["again"]
    return list(again) == ids[: len(again)].tolist(), len(set(ids.tolist())) > 1


def _one_source(a, b):
    """Whether two lists of ids, of one length, could be draws from one distribution; rare ids count together."""
    ids = np.unique(np.concatenate([a, b]))
    counts = np.array([[(x == i).sum() for i in ids] for x in (a, b)], float)
    rare = counts.sum(axis=0) < 12
    if rare.any():
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    if counts.shape[1] == 1:
        return len(ids) == 1 or not (len(np.unique(a)) == 1 == len(np.unique(b)))
    statistic = ((counts[0] - counts[1]) ** 2 / np.maximum(counts.sum(axis=0), 1)).sum()
    free = counts.shape[1] - 1
    z = 5.73  # of ALIKE; Wilson and Hilferty's approximation of the chi-square quantile
    return bool(statistic <= free * (1 - 2 / (9 * free) + z * math.sqrt(2 / (9 * free))) ** 3)


def _sampler(score=None, cut=_order, pick=None, greedy=None, chances=None):
    """A sampler with some of its parts replaced; without arguments it is a right one.

    score:   `(logits, temperature) -> scores`. cut: `(logits, top_k) -> ids in play`.
    chances: `scores of those in play -> chances`. pick: `(ids, chances, rng) -> id`. greedy: `logits -> id`.
    """
    score = score or (lambda logits, temperature: logits / temperature)
    chances = chances or (lambda scores: torch.softmax(scores, 0))
    pick = pick or (lambda ids, p, rng: int(rng.choice(ids.numpy(), p=p.numpy())))
    greedy = greedy or (lambda logits: int(_order(logits, 1)[0]))

    def sample(logits, temperature, top_k, rng):
        if temperature == 0:
            return greedy(logits)
        ids = cut(logits, top_k)
        return pick(ids, chances(score(logits.double(), temperature)[ids]), rng)

    return sample


def _never_zero(logits, temperature, top_k, rng):
    """No case of its own for temperature 0: a division by 0."""
    order = _order(logits, top_k)
    chances = torch.softmax(logits[order].double() / temperature, dim=0)
    return int(rng.choice(order.numpy(), p=chances.numpy()))


def _nearly_zero(logits, temperature, top_k, rng):
    return _never_zero(logits, max(temperature, 1e-6), top_k, rng)


def _temperature_zero_is_one(logits, temperature, top_k, rng):
    return _never_zero(logits, temperature or 1.0, top_k, rng)


def _float32_chances(logits, temperature, top_k, rng):
    if temperature == 0:
        return int(_order(logits, 1)[0])
    order = _order(logits, top_k)
    return int(rng.choice(order, p=torch.softmax(logits[order] / temperature, dim=0)))


def _cut_after(pick):
    """top_k after the softmax, and what is left is not divided by its sum."""

    def sample(logits, temperature, top_k, rng):
        if temperature == 0:
            return int(_order(logits, 1)[0])
        chances = torch.softmax(logits.double() / temperature, dim=0)
        order = _order(logits, top_k)
        return pick(order, chances[order], len(logits), rng)

    return sample


def _choice_of_rest(order, chances, v, rng):
    return int(rng.choice(order.numpy(), p=chances.numpy()))


def _sum_of_rest(order, chances, v, rng):
    """The share that is missing falls to the last of those in play."""
    place = np.searchsorted(np.cumsum(chances.numpy()), rng.random(), side="right")
    return int(order[min(place, len(order) - 1)])


def _sum_of_all(order, chances, v, rng):
    """The share that is missing falls to the last id of all."""
    left = np.zeros(v)
    left[order.numpy()] = chances.numpy()
    return min(int(np.searchsorted(np.cumsum(left), rng.random(), side="right")), v - 1)


def _sum_or_first(order, chances, v, rng):
    place = np.searchsorted(np.cumsum(chances.numpy()), rng.random(), side="right")
    return int(order[place if place < len(order) else 0])


def _none_refused(logits, temperature, top_k, rng):
    order = torch.argsort(logits, descending=True, stable=True)[: min(top_k, len(logits))]
    return _sampler(cut=lambda logits, top_k: order)(logits, temperature, top_k, rng)


def _by_topk(logits, top_k):
    return torch.topk(logits, len(logits) if top_k is None else top_k).indices


def _by_threshold(logits, top_k):
    if top_k is None or top_k >= len(logits):
        return torch.arange(len(logits))
    return torch.nonzero(logits >= torch.sort(logits, descending=True).values[top_k - 1])[:, 0]


def _above_threshold(logits, top_k):
    if top_k is None or top_k >= len(logits):
        return torch.arange(len(logits))
    kept = torch.nonzero(logits > torch.sort(logits, descending=True).values[top_k - 1])[:, 0]
    return kept if len(kept) else _order(logits, 1)


def _last_of_equals(logits, top_k):
    order = np.argsort(logits.numpy(), kind="stable")[::-1]
    return torch.from_numpy(order[: len(logits) if top_k is None else top_k].copy())


def _one_more(logits, top_k):
    return _order(logits, top_k if top_k is None else top_k + 1)


def _one_less(logits, top_k):
    return _order(logits, top_k if top_k is None else max(top_k - 1, 1))


def _smallest(logits, top_k):
    return torch.argsort(logits, stable=True)[: len(logits) if top_k is None else top_k]


def _whole(logits, top_k):
    return torch.arange(len(logits))


def _first_ids(logits, top_k):
    return torch.arange(len(logits))[:top_k]


def _zeroed(logits, temperature, top_k, rng):
    """Logits that are out of play set to 0, not to −∞."""
    if temperature == 0:
        return int(_order(logits, 1)[0])
    kept = torch.zeros_like(logits)
    kept[_order(logits, top_k)] = logits[_order(logits, top_k)]
    return _never_zero(kept, temperature, None, rng)


def _place_among_kept(ids, p, rng):
    return int(rng.choice(len(ids), p=p.numpy()))


def _from(generator):
    def sample(logits, temperature, top_k, rng):
        return sample_next(logits, temperature, top_k, generator())

    return sample


def _numpys_numbers(ids, p, rng):
    return int(np.random.choice(ids.numpy(), p=p.numpy()))  # noqa: NPY002 the mistake itself


def _torch_numbers(ids, p, rng):
    return int(ids[torch.multinomial(p, 1)])


def _no_maximum_taken(scores):
    e = torch.exp(scores)
    return e / e.sum()


def _no_maximum_in_float32(scores):
    e = torch.exp(scores.float()).double()
    return e / e.sum()


def _divides_in_place(logits, temperature, top_k, rng):
    found = sample_next(logits, temperature, top_k, rng)
    if temperature:
        logits /= temperature if temperature != 1 else 2
    return found


def _hides_in_place(logits, temperature, top_k, rng):
    found = sample_next(logits, temperature, top_k, rng)
    order = _order(logits, top_k)
    hidden = torch.ones_like(logits, dtype=torch.bool)
    hidden[order] = False
    logits[hidden] = -INF
    return found


SAMPLE_MISCONCEPTIONS = (
    Misconception(
        "multiplies",
        "the shares are flatter below temperature 1 and sharper above it: the logits were multiplied by the "
        "temperature, not divided",
        _sampler(score=lambda logits, temperature: logits * temperature),
    ),
    Misconception(
        "temperature_ignored",
        "the shares are the same at every temperature",
        _sampler(score=lambda logits, temperature: logits),
    ),
    Misconception(
        "temperature_after_softmax",
        "the shares are flatter than they should be, or the same at every temperature: the temperature came after the "
        "softmax; it divides the logits",
        [
            _sampler(chances=lambda s: torch.softmax(torch.softmax(s, 0), 0)),
            _sampler(
                score=lambda logits, temperature: torch.softmax(logits, 0) / temperature,
                chances=lambda s: torch.softmax(s, 0),
            ),
        ],
    ),
    Misconception(
        "another_power",
        "the temperature shows, and not as much, or more, than it should: the logits are divided by its root or its "
        "square",
        [
            _sampler(score=lambda logits, temperature: logits / temperature**2),
            _sampler(score=lambda logits, temperature: logits / math.sqrt(temperature)),
        ],
    ),
    Misconception(
        "not_renormalised",
        "what top_k leaves in play is not drawn in proportion, or the call stops since the chances do not sum to 1: "
        "the cut came after the softmax, and the rest was not divided by its sum",
        [_cut_after(pick) for pick in (_choice_of_rest, _sum_of_rest, _sum_of_all, _sum_or_first)],
    ),
    Misconception("top_k_ignored", "ids outside the top_k largest come up: nothing was removed", _sampler(cut=_whole)),
    Misconception(
        "top_k_off_by_one",
        "one id too many or too few stays in play: exactly top_k are wanted",
        [_sampler(cut=_one_more), _sampler(cut=_one_less), _sampler(cut=_above_threshold)],
    ),
    Misconception(
        "smallest_kept",
        "the smallest logits stay in play, or the first ids: the largest are wanted",
        [_sampler(cut=_smallest), _sampler(cut=_first_ids)],
    ),
    Misconception(
        "zeroed",
        "ids that are out of play come up: their logits were set to 0, and exp(0) = 1; −∞ removes them",
        _zeroed,
    ),
    Misconception(
        "ties_kept",
        "of equal logits at the cut all stay in play, more than top_k: a threshold was used; exactly top_k are wanted, "
        "the lowest index first",
        _sampler(cut=_by_threshold),
    ),
    Misconception(
        "ties_at_random",
        "of equal logits at the cut or at temperature 0 another one than the lowest index is in play: the order of "
        "equals has to be the order of their indices",
        [
            _sampler(cut=_last_of_equals),
            _sampler(greedy=lambda logits: len(logits) - 1 - int(torch.argmax(logits.flip(0)))),
            _sampler(cut=_last_of_equals, greedy=lambda logits: int(_last_of_equals(logits, 1)[0])),
        ],
    ),
    Misconception(
        "place_among_the_kept",
        "the ids that come up are 0 to top_k − 1: they are places in the order from the largest logit down, not ids "
        "of the vocabulary",
        _sampler(pick=_place_among_kept),
    ),
    Misconception(
        "evenly_among_the_kept",
        "all ids in play come up equally often: their logits no longer count",
        _sampler(chances=lambda s: torch.ones_like(s) / len(s)),
    ),
    Misconception(
        "always_the_largest",
        "the same id comes up every time, that of the largest logit: only temperature 0 leaves no chance",
        lambda logits, temperature, top_k, rng: int(torch.argmax(logits)),
    ),
    Misconception(
        "chances_not_of_softmax",
        "the shares are not those of a softmax: the logits themselves, or their squares, were made to sum to 1",
        [
            _sampler(chances=lambda s: (s - s.min() + 1e-9) / (s - s.min() + 1e-9).sum()),
            _sampler(chances=lambda s: (s**2 + 1e-300) / (s**2 + 1e-300).sum()),
            _sampler(chances=lambda s: s.abs() / s.abs().sum() if s.abs().sum() > 0 else torch.ones_like(s) / len(s)),
        ],
    ),
    Misconception(
        "no_zero_temperature",
        "at temperature 0 the call stops or gives NaN: the logits were divided by 0; that case is the argmax",
        _never_zero,
    ),
    Misconception(
        "zero_is_a_small_number",
        "at temperature 0 equal logits come up at random: 0 was replaced by a small number; that case is the argmax, "
        "the lowest index first",
        _nearly_zero,
    ),
    Misconception(
        "zero_is_one",
        "at temperature 0 ids come up at random, as at temperature 1: 0 counts as no temperature given",
        _temperature_zero_is_one,
    ),
    Misconception(
        "none_refused",
        "with top_k None the call stops: None means that every token stays in play",
        _none_refused,
    ),
    Misconception(
        "more_than_all_refused",
        "with top_k larger than the vocabulary the call stops: then every token stays in play",
        _sampler(cut=_by_topk),
    ),
    Misconception(
        "sum_in_float32",
        "the call stops, since the chances do not sum to 1: in float32 they do so to seven digits, and rng.choice "
        "wants eight of a tensor; make the logits float64 before the softmax",
        _float32_chances,
    ),
    Misconception(
        "no_max_subtraction",
        "large logits give NaN or infinity: exp overflows, or all shares underflow to 0, without a maximum taken off",
        [_sampler(chances=_no_maximum_taken), _sampler(chances=_no_maximum_in_float32)],
    ),
    Misconception(
        "not_from_rng",
        "the shares are right, and generators in the same state give different ids: the numbers do not come from rng",
        [
            _from(np.random.default_rng),
            _sampler(pick=_numpys_numbers),
            _sampler(pick=_torch_numbers),
        ],
    ),
    Misconception(
        "own_seed",
        "every call gives the same id: the generator is made anew inside, with a seed of its own",
        [_from(lambda seed=seed: np.random.default_rng(seed)) for seed in (0, 42)],
    ),
    Misconception(
        "a_list",
        "the id came back inside a list, tuple or array of one; a plain whole number is wanted",
        [
            lambda *given: torch.tensor([sample_next(*given)]),
            lambda *given: [sample_next(*given)],
            lambda *given: np.array([sample_next(*given)]),
        ],
    ),
    Misconception(
        "chance_for_id",
        "a float came back, such as the chance of the id or its logit; the id itself is wanted",
        [
            lambda logits, temperature, top_k, rng: float(logits[sample_next(logits, temperature, top_k, rng)]),
            lambda logits, temperature, top_k, rng: float(torch.softmax(logits, 0)[0]),
        ],
    ),
    Misconception(
        "changes_logits",
        "the logits are others after the call: they were divided or hidden in place",
        [_divides_in_place, _hides_in_place],
    ),
)


# --- worth_keeping ---------------------------------------------------------------------------------------------------


def as_set(case, answer):
    """A set of words, also from a list, a tuple or one text with commas; singular and plural are alike."""
    if isinstance(answer, str):
        answer = answer.replace(" and ", ",").split(",")
    if not isinstance(answer, (set, list, tuple)) or not all(isinstance(word, str) for word in answer):
        raise ValueError("no set of words")
    found = {word.strip().lower().rstrip("s") + "s" for word in answer}
    if not found <= {"queries", "querys", "keys", "values", "scores"}:
        raise ValueError("a word that is not among the four")
    return {"queries" if word == "querys" else word for word in found}


KEEPING = (
    Misconception(
        "queries_too",
        "a query is used in its own row and never again: the new row has the query of the new token alone",
        [{"queries", "keys", "values"}, {"queries", "keys"}, {"queries", "values"}, {"queries"}],
    ),
    Misconception(
        "scores_too",
        "the scores of earlier rows are not in the new row: it has scores of its own, the new query with every key",
        [{"keys", "values", "scores"}, {"scores", "values"}, {"scores"}, {"scores", "keys"}],
    ),
    Misconception(
        "queries_and_scores",
        "queries and scores of earlier rows are both used up: the new row asks with its own query",
        [{"queries", "keys", "values", "scores"}, {"queries", "scores"}],
    ),
    Misconception("keys_alone", "keys give the weights; what is averaged with them are the values", {"keys"}),
    Misconception("values_alone", "values are what is averaged; without the keys there are no weights", {"values"}),
)


# --- KVCache ---------------------------------------------------------------------------------------------------------


class KVCache:
    """The reference, and a frame for wrong ones: each replaces one of its parts."""

    def __init__(self, w_q, w_k, w_v, w_o, h):
        self.w_q, self.w_k, self.w_v, self.w_o, self.h = w_q, w_k, w_v, w_o, h
        self.k: Any = None
        self.v: Any = None

    def reset(self):
        self.k = self.v = None

    def join(self, kept, new):
        return new if kept is None else torch.cat([kept, new], dim=2)

    def allowed(self, n, total):
        return _tril(n, total)

    def scale(self, q):
        return 1 / math.sqrt(q.shape[-1])

    def attend(self, q, k, v):
        scores = (q @ k.mT * self.scale(q)).masked_fill(~self.allowed(q.shape[2], k.shape[2]), -INF)
        return torch.softmax(scores, dim=-1) @ v

    def keep(self, k, v):
        self.k, self.v = self.join(self.k, k), self.join(self.v, v)
        return self.k, self.v

    def finish(self, heads):
        return _merge(heads) @ self.w_o

    def project(self, x_t):
        return (_split(x_t @ w, self.h) for w in (self.w_q, self.w_k, self.w_v))

    def step(self, x_t):
        q, k, v = self.project(x_t)
        return self.finish(self.attend(q, *self.keep(k, v)))


class CacheOfLists:
    """Keeps one key and one value for each token, and answers token by token."""

    def __init__(self, w_q, w_k, w_v, w_o, h):
        self.matrices, self.h = (w_q, w_k, w_v, w_o), h
        self.reset()

    def reset(self):
        self.keys, self.values = [], []
        return self

    def step(self, x_t):
        w_q, w_k, w_v, w_o = self.matrices
        rows = []
        for x in x_t.unbind(dim=1):
            q, k, v = ((x @ w).unflatten(-1, (self.h, -1)) for w in (w_q, w_k, w_v))  # (B, h, D)
            self.keys.append(k)
            self.values.append(v)
            scores = torch.stack([(q * key).sum(-1) for key in self.keys], dim=-1) / q.shape[-1] ** 0.5
            weights = scores.softmax(-1)
            rows.append(sum(weights[..., j, None] * value for j, value in enumerate(self.values)).flatten(1) @ w_o)
        return torch.stack(rows, dim=1)


class CacheInABuffer:
    """Memory is laid out beforehand and doubled where it does not suffice; keys before they are cut into heads."""

    def __init__(self, w_q, w_k, w_v, w_o, h):
        self.w_qkv, self.w_o, self.h = torch.cat([w_q, w_k, w_v], dim=1), w_o, h
        self.size = 0
        self.kept = None

    def reset(self):
        self.size = 0
        self.kept = None

    def step(self, x_t):
        b, n, _ = x_t.shape
        q, kv = (x_t @ self.w_qkv).split([self.w_o.shape[0], 2 * self.w_o.shape[0]], dim=-1)
        if self.kept is None:
            self.kept = kv.new_empty(b, 8, kv.shape[-1])
        while self.size + n > self.kept.shape[1]:
            self.kept = torch.cat([self.kept, torch.empty_like(self.kept)], dim=1)
        self.kept[:, self.size : self.size + n] = kv
        self.size += n
        k, v = self.kept[:, : self.size].chunk(2, dim=-1)
        q, k, v = (_split(part, self.h) for part in (q, k, v))
        may = torch.arange(self.size) <= torch.arange(self.size - n, self.size)[:, None]
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=may)
        return out.transpose(1, 2).reshape(b, n, -1) @ self.w_o


def cache_of_functions(w_q, w_k, w_v, w_o, h):
    """No class at all: two functions that share a list."""
    kept: list = []

    def step(x_t):
        q = _split(x_t @ w_q, h)
        kept.append((x_t @ w_k, x_t @ w_v))
        k, v = (_split(torch.cat(parts, dim=1), h) for parts in zip(*kept, strict=True))
        n, total = q.shape[2], k.shape[2]
        later = torch.ones(n, total).triu(total - n + 1).bool()
        weights = (q @ k.mT * (w_q.shape[1] // h) ** -0.5).masked_fill(later, -1e30).softmax(-1)
        return torch.einsum("bhij,bhjd,hdc->bic", weights, v, w_o.unflatten(0, (h, -1)))

    return SimpleNamespace(step=step, reset=kept.clear)


class StaticCache(KVCache):
    """A buffer of fixed length, attended to whole, with the places that are still empty hidden."""

    def __init__(self, *given):
        super().__init__(*given)
        self.size = 0

    def reset(self):
        super().reset()
        self.size = 0

    def keep(self, k, v):
        n = k.shape[2]
        if self.k is None:
            self.k, self.v = (torch.zeros(*k.shape[:2], 256, k.shape[3], dtype=k.dtype) for _ in range(2))
        self.k[:, :, self.size : self.size + n], self.v[:, :, self.size : self.size + n] = k, v
        self.size += n
        return self.k, self.v

    def allowed(self, n, total):
        return torch.arange(total) <= torch.arange(self.size - n, self.size)[:, None]


def _kept(**parts):
    """A cache with some of its methods replaced."""
    return type("KVCache", (KVCache,), parts)


def _without_maximum(self, q, k, v):
    e = torch.exp(q @ k.mT * self.scale(q)) * self.allowed(q.shape[2], k.shape[2])
    return e / e.sum(-1, keepdim=True) @ v


def _only_keys_reset(self):
    self.k = None


def _only_values_reset(self):
    self.v = None


def _nothing(self):
    pass


def _top_left(self, n, total):
    return _tril(n, total, n - total)


def _everything(self, n, total):
    return torch.ones(n, total, dtype=torch.bool)


def _strict(self, n, total):
    return _tril(n, total, -1)


def _one_ahead(self, n, total):
    return _tril(n, total, 1)


def _chunk_alone(self, n, total):
    may = torch.zeros(n, total, dtype=torch.bool)
    may[:, total - n :] = _tril(n, n)
    return may


def _past_alone(self, n, total):
    may = torch.zeros(n, total, dtype=torch.bool)
    may[:, : total - n] = True
    return may


def _by_is_causal(self, q, k, v):
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def _causal_unless_one(self, q, k, v):
    """is_causal where there is a chunk, nothing for a single token: right until a chunk follows something."""
    return functional.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1)


def _causal_at_first(self, q, k, v):
    return functional.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] == k.shape[2])


def _attends_first(self, x_t):
    q, k, v = self.project(x_t)
    if self.k is None:
        found = self.finish(torch.zeros_like(q @ k.mT @ v))
    else:
        scores = q @ self.k.mT * self.scale(q)
        found = self.finish(torch.softmax(scores, dim=-1) @ self.v)
    self.keep(k, v)
    return found


def _attends_first_or_itself(self, x_t):
    q, k, v = self.project(x_t)
    known = (k, v) if self.k is None else (self.k, self.v)
    scores = q @ known[0].mT * self.scale(q)
    if self.k is None:
        scores = scores.masked_fill(~_tril(q.shape[2], q.shape[2]), -INF)
    found = self.finish(torch.softmax(scores, dim=-1) @ known[1])
    self.keep(k, v)
    return found


def _attends_before_there_is_any(self, x_t):
    q, k, v = self.project(x_t)
    found = self.finish(torch.softmax(q @ self.k.mT * self.scale(q), dim=-1) @ self.v)
    self.keep(k, v)
    return found


def _forgets(self, k, v):
    self.k, self.v = k, v
    return k, v


def _never_keeps(self, k, v):
    return self.join(self.k, k), self.join(self.v, v)


def _first_only(self, k, v):
    if self.k is None:
        self.k, self.v = k, v
        return k, v
    return torch.cat([self.k, k], dim=2), torch.cat([self.v, v], dim=2)


def _in_front(self, kept, new):
    return new if kept is None else torch.cat([new, kept], dim=2)


def _joined_along(axis):
    return lambda self, kept, new: new if kept is None else torch.cat([kept, new], dim=axis)


def _kept_twice(self, k, v):
    KVCache.keep(self, k, v)
    return KVCache.keep(self, k, v)


def _keys_only(self, k, v):
    self.k = self.join(self.k, k)
    return self.k, v


def _window(size):
    def keep(self, k, v):
        self.k, self.v = (part[:, :, -size:] for part in (self.join(self.k, k), self.join(self.v, v)))
        return self.k, self.v

    return keep


def _window_allowed(self, n, total):
    return _tril(n, total) if total >= n else _tril(n, n)[:, n - total :]


class _Whole(KVCache):
    """Keeps the tokens and computes everything from them again: right numbers, no cache."""

    def keep_tokens(self, x_t):
        self.k = x_t if self.k is None else torch.cat([self.k, x_t], dim=1)
        return self.k

    def step(self, x_t):
        x = self.keep_tokens(x_t)
        out = causal_self_attention(x, self.w_q, self.w_k, self.w_v, self.w_o, self.h)
        return out[:, -x_t.shape[1] :]


class _ProjectedAgain(_Whole):
    def step(self, x_t):
        x = self.keep_tokens(x_t)
        q = _split(x_t @ self.w_q, self.h)
        return self.finish(self.attend(q, _split(x @ self.w_k, self.h), _split(x @ self.w_v, self.h)))


class _KeysAgain(_Whole):
    """The values are kept, the keys are made from all tokens anew."""

    def step(self, x_t):
        x = self.keep_tokens(x_t)
        self.v = self.join(self.v, _split(x_t @ self.w_v, self.h))
        return self.finish(self.attend(_split(x_t @ self.w_q, self.h), _split(x @ self.w_k, self.h), self.v))


class _AllRows(_Whole):
    def step(self, x_t):
        return causal_self_attention(self.keep_tokens(x_t), self.w_q, self.w_k, self.w_v, self.w_o, self.h)


class _QueriesKept(KVCache):
    """Queries are kept as well, and every row is computed and handed back."""

    q: Any = None

    def step(self, x_t):
        q, k, v = self.project(x_t)
        self.q = q if self.k is None else torch.cat([self.q, q], dim=2)
        return self.finish(self.attend(self.q, *self.keep(k, v)))


def _shared():
    """Keys and values kept on the class: every cache has the same ones."""

    class Shared(KVCache):
        kept: ClassVar[dict] = {}

        def __init__(self, w_q, w_k, w_v, w_o, h):
            self.w_q, self.w_k, self.w_v, self.w_o, self.h = w_q, w_k, w_v, w_o, h

        def reset(self):
            Shared.kept.clear()

        def keep(self, k, v):
            # Another text begins where the sizes no longer fit; otherwise the first cases would spoil all others.
            if "k" in Shared.kept and Shared.kept["w"] is not self.w_q:
                Shared.kept.clear()
            Shared.kept["k"] = self.join(Shared.kept.get("k"), k)
            Shared.kept["v"] = self.join(Shared.kept.get("v"), v)
            Shared.kept["w"] = self.w_q
            return Shared.kept["k"], Shared.kept["v"]

    return Shared


class _OnTheClass(KVCache):
    """Kept on the class, and forgotten by all whenever one begins."""

    def __init__(self, w_q, w_k, w_v, w_o, h):
        self.w_q, self.w_k, self.w_v, self.w_o, self.h = w_q, w_k, w_v, w_o, h
        self.reset()

    def reset(self):
        _OnTheClass.k = _OnTheClass.v = None

    def keep(self, k, v):
        _OnTheClass.k, _OnTheClass.v = self.join(self.k, k), self.join(self.v, v)
        return self.k, self.v


class _SharedList(KVCache):
    """The list is made once, with the class: the classical mutable default."""

    def __init__(self, w_q, w_k, w_v, w_o, h, kept=[]):  # noqa: B006 the mistake itself
        super().__init__(w_q, w_k, w_v, w_o, h)
        self.kept = kept

    def reset(self):
        self.kept.clear()

    def keep(self, k, v):
        self.kept.append((k, v))
        return tuple(torch.cat(parts, dim=2) for parts in zip(*self.kept, strict=True))


def _chunks_refused(self, x_t):
    if x_t.shape[1] != 1:
        raise ValueError(f"one token at a time is wanted, these are {x_t.shape[1]}")
    return KVCache.step(self, x_t)


def _last_row(self, x_t):
    return KVCache.step(self, x_t)[:, -1:]


def _row_without_axis(self, x_t):
    return KVCache.step(self, x_t)[:, -1]


def _with_cache(self, x_t):
    return KVCache.step(self, x_t), self.k, self.v


def _as_float32(self, x_t):
    return KVCache.step(self, x_t).float()


def _as_float64(self, x_t):
    return KVCache.step(self, x_t).double()


def _buffer_of_float32(self, kept, new):
    return new.float() if kept is None else torch.cat([kept, new.float()], dim=2)


def _mixed_step(self, x_t):
    q, k, v = self.project(x_t)
    return self.finish(self.attend(q.float(), *self.keep(k, v)).to(self.w_o.dtype)).float()


def _writes_into_x(self, x_t):
    found = KVCache.step(self, x_t)
    x_t.zero_()
    return found


def _scales_w_q(self, w_q, w_k, w_v, w_o, h):
    KVCache.__init__(self, w_q, w_k, w_v, w_o, h)
    self.w_q /= math.sqrt(w_q.shape[1] // h)


def _script(rng, b, c, h, d, chunks, dtype=np.float64, factor=1.0):
    """Matrices, and chunks of the given sizes for one cache."""
    x, *matrices, h = _inputs(rng, b, sum(chunks), c, h, d, dtype=dtype)
    return (*matrices, h), [("a", part) for part in np.split(x * dtype(factor), np.cumsum(chunks)[:-1], axis=1)]


def cache_cases(rng):
    def case(check, b, c, h, d, chunks, **others):
        given, script = _script(rng, b, c, h, d, chunks, **others)
        return Case(check, given, {"x_t": script})

    yield case("one_at_a_time", 2, 6, 3, 2, (1,) * 5)
    yield case("one_at_a_time", 3, 4, 2, 2, (1,) * 3)
    yield case("one_at_a_time", 2, 6, 2, 4, (1,) * 4, dtype=np.float32)
    yield case("one_at_a_time", 1, 5, 1, 3, (1,) * 3)
    yield case("chunks", 2, 6, 3, 2, (3, 1, 2))
    yield case("chunks", 3, 6, 2, 3, (5,))
    yield case("chunks", 2, 4, 2, 2, (2, 2, 2))
    yield case("chunks", 1, 6, 2, 4, (1, 4, 1, 3))
    yield case("chunks", 1, 4, 2, 2, (70, 1, 66))
    given, before = _script(rng, 2, 6, 3, 2, (3, 1))
    after = [("a", rng.normal(size=(2, n, 6))) for n in (2, 1)]
    yield Case("reset", given, {"x_t": [*before, ("a", "reset"), *after]})
    fewer = [("a", rng.normal(size=(1, n, 6))) for n in (1, 1, 2)]
    yield Case("reset", given, {"x_t": [*before, ("a", "reset"), *fewer]})
    yield Case("reset", given, {"x_t": [("a", "reset"), *before]})  # nothing to forget
    given, first = _script(rng, 2, 4, 2, 2, (2, 1, 1))
    second = [("b", rng.normal(size=(2, n, 4))) for n in (1, 3)]
    yield Case("apart", given, {"x_t": [first[0], second[0], first[1], second[1], first[2]]})
    again = [("b", "reset"), ("b", rng.normal(size=(2, 2, 4)))]
    yield Case("apart", given, {"x_t": [first[0], second[0], *again, first[1]]})
    given, script = _script(rng, 1, 512, 2, 2, (24, 1, 1, 1), dtype=np.float32)
    yield Case("keys_kept", given, {"x_t": [script[0], ("a", "count"), *script[1:]]})
    yield case("large_scores", 2, 6, 3, 2, (2, 1, 2), factor=70.0)
    yield case(KEEPS_DTYPE, 2, 6, 3, 2, (2, 1), dtype=np.float32)
    yield case(KEEPS_DTYPE, 2, 4, 2, 2, (1, 2))


OUTSIDE = 4  # times the multiply-adds of the new tokens' four projections that a step may take; far below all tokens'
WORK = "earlier tokens computed again"


def work_seen(case, value):
    """The rows, and instead of a number of multiply-adds whether they are too many for the new tokens alone."""
    if not isinstance(value, dict) or "multiply-adds" not in value:
        return value
    w_q = case.inputs[0]
    new = _counted([what for _, what in case.keywords["x_t"]])
    rows = {key: rows for key, rows in value.items() if key != "multiply-adds"}
    return rows | {WORK: bool(value["multiply-adds"] > OUTSIDE * 4 * w_q.size * new)}


def _counted(script):
    """How many tokens come after the mark from which on multiply-adds are counted."""
    marks = [isinstance(what, str) and what == "count" for what in script]
    return sum(what.shape[0] * what.shape[1] for what in script[marks.index(True) + 1 :] if not isinstance(what, str))


CACHE_MISCONCEPTIONS = (
    Misconception(
        "not_reset",
        "after reset the tokens of the text before are still read, or the sizes no longer fit: reset forgot nothing",
        _kept(reset=_nothing),
    ),
    Misconception(
        "half_reset",
        "after reset keys and values no longer fit together: one of the two was kept",
        [_kept(reset=_only_keys_reset), _kept(reset=_only_values_reset)],
    ),
    Misconception(
        "top_left",
        "a token that comes after others reads the oldest alone: the mask of n queries and all keys is aligned "
        "top-left, as is_causal=True of PyTorch is; the last query has to see every key",
        [_kept(allowed=_top_left), _kept(attend=_by_is_causal)],
    ),
    Misconception(
        "top_left_in_a_chunk",
        "right for single tokens and for a first chunk; a chunk that comes after others reads the oldest tokens, since "
        "its mask is aligned top-left",
        _kept(attend=_causal_unless_one),
    ),
    Misconception(
        "no_mask_in_a_chunk",
        "right for single tokens, and within a chunk every token reads those that come after it: n new queries need a "
        "causal mask among themselves",
        _kept(allowed=_everything),
    ),
    Misconception(
        "no_mask_in_a_later_chunk",
        "right for single tokens and for a first chunk; in a chunk that comes after others every token reads those "
        "after it: n new queries need a causal mask among themselves each time",
        _kept(attend=_causal_at_first),
    ),
    Misconception(
        "appends_after_attending",
        "a token does not read itself: its key and value were kept only after it had asked",
        [_kept(step=_attends_first), _kept(step=_attends_first_or_itself), _kept(step=_attends_before_there_is_any)],
    ),
    Misconception(
        "strict",
        "a token does not read itself: the mask leaves the last place out",
        [_kept(allowed=_strict), _kept(allowed=_past_alone)],
    ),
    Misconception(
        "one_ahead",
        "within a chunk a token reads the one after it: the edge of the mask is one place too far",
        _kept(allowed=_one_ahead),
    ),
    Misconception(
        "chunk_alone",
        "a step reads the new tokens alone: what came before is hidden or was overwritten",
        [_kept(allowed=_chunk_alone), _kept(keep=_forgets), _kept(keep=_never_keeps)],
    ),
    Misconception(
        "first_chunk_only",
        "the first step is remembered and no later one: each step joined its keys to the first ones and did not keep "
        "the result",
        _kept(keep=_first_only),
    ),
    Misconception(
        "joined_in_front",
        "new keys stand before the old ones, so that the mask hides the wrong ones in a chunk: time runs from first to "
        "last",
        _kept(join=_in_front),
    ),
    Misconception(
        "joined_along_another_axis",
        "keys and values were joined along the batch, the heads or the features; tokens are axis 2 of (B, h, T, D)",
        [_kept(join=_joined_along(axis)) for axis in (0, 1, 3)],
    ),
    Misconception(
        "kept_twice",
        "every key and value is there twice: they were joined to the cache two times",
        _kept(keep=_kept_twice),
    ),
    Misconception(
        "values_not_kept",
        "keys of all tokens meet values of the new ones alone: values have to be kept as well",
        _kept(keep=_keys_only),
    ),
    Misconception(
        "too_short",
        "right for short texts; in a long one the first tokens are forgotten: the cache is as long as the text",
        [_kept(keep=_window(size), allowed=_window_allowed) for size in (64, 100, 128)],
    ),
    Misconception(
        "shared_by_all",
        "two caches read each other's tokens: keys and values are kept on the class, or in a default argument, and not "
        "on the object",
        [_shared(), _SharedList, _OnTheClass],
    ),
    Misconception(
        "computed_again",
        "the rows are right, and a further token costs as much as all before it: keys or values of earlier tokens were "
        "computed again from tokens that were kept",
        [_Whole, _ProjectedAgain, _KeysAgain],
    ),
    Misconception(
        "all_rows",
        "rows of earlier tokens come back as well; only those of the new tokens are wanted",
        [_AllRows, _QueriesKept],
    ),
    Misconception(
        "chunks_refused", "a chunk of several tokens stops the call: any number may come", _kept(step=_chunks_refused)
    ),
    Misconception(
        "last_row_only",
        "of a chunk only the last row came back, or the axis of tokens is missing: one row for every new token, (B, n, "
        "C)",
        [_kept(step=_last_row), _kept(step=_row_without_axis)],
    ),
    Misconception(
        "with_the_cache",
        "step returned more than the rows; keys and values stay inside",
        [
            _kept(step=_with_cache),
            _kept(step=lambda self, x_t: (KVCache.step(self, x_t), self.k)),
            _kept(step=lambda self, x_t: (KVCache.step(self, x_t), (self.k, self.v))),
        ],
    ),
    Misconception(
        "without_w_o",
        "the heads' averages lie side by side and were never multiplied by w_o",
        _kept(finish=lambda self, heads: _merge(heads)),
    ),
    Misconception(
        "no_max_subtraction",
        "large scores give NaN: exp overflows without a maximum taken off",
        _kept(attend=_without_maximum),
    ),
    Misconception(
        "no_scale",
        "the weights are too sharp: the scores were not divided by √D",
        _kept(scale=lambda self, q: 1.0),
    ),
    Misconception(
        "divided_by_sqrt_c",
        "the scores are divided by the root of the whole width; D is the width of one head",
        [
            _kept(scale=lambda self, q: 1 / math.sqrt(self.w_q.shape[1])),
            _kept(scale=lambda self, q: 1 / math.sqrt(self.w_q.shape[0])),
        ],
    ),
    Misconception(
        "one_wide_head",
        "all heads share one softmax: the vectors were never cut into h pieces",
        _kept(project=lambda self, x_t: (_split(x_t @ w, 1) for w in (self.w_q, self.w_k, self.w_v))),
    ),
    Misconception(
        "heads_refilled",
        "the heads hold numbers of several tokens: they were poured into (B, h, n, D) without swapping axes",
        [
            _kept(project=lambda self, x_t: (_refilled(x_t @ w, self.h) for w in (self.w_q, self.w_k, self.w_v))),
            _kept(finish=lambda self, heads: heads.reshape(heads.shape[0], heads.shape[2], -1) @ self.w_o),
        ],
    ),
    Misconception(
        "becomes_float32",
        "float64 inputs gave float32 rows: torch.zeros is float32 unless told otherwise",
        _kept(step=_as_float32),
    ),
    Misconception("becomes_float64", "float32 inputs gave float64 rows", _kept(step=_as_float64)),
    Misconception("changes_x_t", "x_t is another after the step: something wrote into it", _kept(step=_writes_into_x)),
    Misconception(
        "changes_w_q",
        "the rows are wrong from the second cache on, or w_q is another afterwards: it was scaled in place",
        _kept(__init__=_scales_w_q, scale=lambda self, q: 1.0),
    ),
    Misconception(
        "not_reset+appends_after_attending",
        "a token does not read itself, and reset forgot nothing",
        _kept(reset=_nothing, step=_attends_first_or_itself),
    ),
    Misconception(
        "not_reset+no_mask_in_a_chunk",
        "within a chunk every token reads those after it, and reset forgot nothing",
        _kept(reset=_nothing, allowed=_everything),
    ),
    Misconception(
        "not_reset+top_left",
        "a token that comes after others reads the oldest alone, and reset forgot nothing",
        [_kept(reset=_nothing, allowed=_top_left)],
    ),
)


REFERENCES = (
    Reference(
        id="causal_self_attention",
        reference=causal_self_attention,
        accepted=(causal_by_torch, causal_by_prefixes, causal_by_einsum, causal_with_finite_fill, causal_in_float64),
        misconceptions=CAUSAL_MISCONCEPTIONS,
        cases=causal_cases,
    ),
    Reference(
        id="is_causal",
        reference=is_causal,
        accepted=(
            causal_by_single_places,
            causal_by_numpy,
            causal_by_matrix,
            causal_with_zeros,
            _tester(trials=2),
            _tester(same=_within(5e-4)),
        ),
        misconceptions=TESTER_MISCONCEPTIONS,
        cases=tester_cases,
        agree=same_findings,
    ),
    Reference(
        id="next_token_pairs",
        reference=next_token_pairs,
        accepted=(pairs_by_loops, pairs_by_windows, pairs_by_roll, pairs_in_numpy),
        misconceptions=PAIRS_MISCONCEPTIONS,
        cases=pairs_cases,
    ),
    Reference(
        id="sample_next",
        reference=sample_next,
        accepted=(sample_by_sum, sample_by_gumbel, sample_by_multinomial, sample_by_searching),
        misconceptions=SAMPLE_MISCONCEPTIONS,
        cases=sample_cases,
        agree=same_draws,
    ),
    Reference(
        id="worth_keeping",
        reference={"keys", "values"},
        accepted=(["values", "keys"], ("Keys", "Values"), "keys, values", {"key", "value"}),
        misconceptions=KEEPING,
        cases=lambda rng: [Case("prediction")],
        view=as_set,
    ),
    Reference(
        id="KVCache",
        reference=KVCache,
        accepted=(CacheOfLists, CacheInABuffer, cache_of_functions, StaticCache),
        misconceptions=CACHE_MISCONCEPTIONS,
        cases=cache_cases,
        view=work_seen,
    ),
)
