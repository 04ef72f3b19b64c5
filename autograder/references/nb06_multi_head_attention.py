"""Notebook 06, the hidden half: references, accepted and wrong answers, cases.

Long, since attention has many well-known wrong forms, its heads add as many, and two mistakes at once are common.
"""

import itertools
import math
from typing import Any

import numpy as np
import torch

from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Built, Case, Misconception, Reference
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

CUT_OFF = (
    "the results are right and cut off from the inputs: no gradient flows back, as after .detach(), .item() or a copy "
    "through NumPy"
)
NO_NUMPY = "the call stops where a tensor requires gradients: NumPy cannot record them, torch's own operations can"
BECOMES_FLOAT32 = "float64 inputs gave float32 results"
BECOMES_FLOAT64 = "float32 inputs gave float64 results"

# --- batched_attention -----------------------------------------------------------------------------------------------


def batched_attention(q, k, v, mask=None):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ v, weights


def attention_by_hand(q, k, v, mask=None):
    scores = torch.einsum("...id,...jd->...ij", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf)
    top = scores.amax(dim=-1, keepdim=True)
    e = torch.exp(scores - torch.where(top.isinf(), 0.0, top))
    total = e.sum(dim=-1, keepdim=True)
    weights = e / torch.where(total == 0, 1.0, total)
    return torch.einsum("...ij,...je->...ie", weights, v), weights


def attention_nan_to_num(q, k, v, mask=None):
    scores = torch.matmul(q / math.sqrt(k.size(-1)), k.mT)
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), float("-inf"))
    weights = torch.nn.functional.softmax(scores, -1).nan_to_num(0.0)
    return torch.matmul(weights, v), weights


def attention_of_torch(q, k, v, mask=None):
    everywhere = torch.ones(1, 1, dtype=torch.bool) if mask is None else mask
    scores = (q @ k.swapaxes(-1, -2)).div(math.sqrt(q.shape[-1]))
    hidden = ~everywhere.expand(scores.shape)
    weights = scores.masked_fill(hidden, -1e30).softmax(-1) * everywhere
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask), weights


def attention_by_loops(q, k, v, mask=None):
    lead = q.shape[:-2]
    shape = (*lead, q.shape[-2], k.shape[-2])
    allowed = torch.ones(shape, dtype=torch.bool) if mask is None else mask.broadcast_to(shape)
    flat = zip(*(part.reshape(-1, *part.shape[-2:]) for part in (q, k, v, allowed)), strict=True)
    outs, rows = [], []
    for q1, k1, v1, may in flat:
        for i in range(len(q1)):
            row = q1.new_zeros(len(k1))
            if may[i].any():
                row = row.masked_scatter(may[i], torch.softmax((k1[may[i]] @ q1[i]) / len(q1[i]) ** 0.5, 0))
            rows.append(row)
            outs.append(row @ v1)
    return torch.stack(outs).reshape(*shape[:-1], v.shape[-1]), torch.stack(rows).reshape(shape)


def _products(q, k):
    return q @ k.mT


def _average(weights, v, k):
    return weights @ v


def _wrong(scale=by_sqrt_d, axis: Any = -1, mask_is=None, empty="zero", shift="row", pairs=_products, average=_average):
    """An attention with some of its parts replaced; without arguments it is a right one.

    scale:   `(q, k, v) -> factor` of the scores.
    axis:    of the softmax; None is all.
    mask_is: how the mask is used: inverted, after, zero, added or transposed.
    empty:   what a query without keys gets: zero, nan, or even shares; guarded: zero, wherever a sum is 0.
    shift:   what is subtracted before exp: row, all (one maximum for the tensor) or none.
    pairs:   `(q, k) -> scores`; average: `(weights, v, k) -> out`.
    """

    def attention(q, k, v, mask=None):
        scores = pairs(q, k) * scale(q, k, v)
        if mask is not None and mask_is in ("inverted", "transposed"):
            mask = ~mask if mask_is == "inverted" else mask.mT
        if mask is not None and mask_is in (None, "inverted", "transposed"):
            scores = torch.where(mask, scores, -1e9 if empty == "even" else -math.inf)
        elif mask is not None and mask_is in ("zero", "added"):
            scores = scores * mask if mask_is == "zero" else scores + mask
        weights = _softmax(scores, axis, shift, empty)
        if mask is not None and mask_is == "after":
            weights = weights * mask
        return average(weights, v, k), weights

    return attention


def _softmax(scores, axis, shift, empty):
    axes = tuple(range(scores.ndim)) if axis is None else (axis,)
    top = (
        scores.amax(axes, keepdim=True) if shift == "row" else scores.max() if shift == "all" else scores.new_zeros(())
    )
    if empty == "zero":
        top = top.masked_fill(top == -math.inf, 0)
    e = torch.exp(scores - top)
    total = e.sum(axes, keepdim=True)
    if empty == "guarded" or (empty == "zero" and shift != "none"):
        total = total.masked_fill(total == 0, 1)
    weights = e / total
    if empty == "zero" and shift == "none":  # 0/0 of an empty row is mended, that of an underflow is not
        weights = weights.masked_fill(scores.isneginf().all(axis if axis is not None else -1, keepdim=True), 0)
    return weights


def reshaped_keys(q, k):
    return q @ k.reshape(*k.shape[:-2], k.shape[-1], k.shape[-2])


def all_axes_reversed(q, k):
    return q @ k.permute(*range(k.ndim)[::-1])  # what .T does


def _only_for(ndim):
    """Attentions that count their axes from the front, right for tensors of so many."""

    def pairs(q, k):
        return q @ k.transpose(ndim - 2, ndim - 1)

    def unpacked(q, k, v, mask=None):
        if q.ndim != ndim:
            many = f"too many values to unpack (expected {ndim})"
            raise ValueError(many if q.ndim > ndim else f"not enough values to unpack (expected {ndim}, got {q.ndim})")
        return batched_attention(q, k, v, mask)

    def by_letters(q, k):
        lead = "abcd"[: ndim - 2]
        return torch.einsum(f"{lead}id,{lead}jd->{lead}ij", q, k)

    return [unpacked, _wrong(axis=ndim - 1), _wrong(pairs=pairs), _wrong(pairs=by_letters)]


def by_bmm(q, k, v, mask=None):
    return _wrong(pairs=lambda q, k: torch.bmm(q, k.mT))(q, k, v, mask)


def by_bmm_and_axes(q, k, v, mask=None):
    return _wrong(pairs=lambda q, k: torch.bmm(q, k.transpose(1, 2)))(q, k, v, mask)


def by_mm(q, k, v, mask=None):
    return _wrong(pairs=lambda q, k: torch.mm(q, k.mT))(q, k, v, mask)


def keys_ask(q, k, v, mask=None):
    return _wrong()(k, q, v, mask)


def unnormalised(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return torch.exp(scores) @ v, torch.exp(scores)


def no_softmax(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = scores.masked_fill(~mask, 0)
    return scores @ v, scores


def returns_scores(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return batched_attention(q, k, v, mask)[0], scores


def returns_scores_before_mask(q, k, v, mask=None):
    return batched_attention(q, k, v, mask)[0], _products(q, k) * by_sqrt_d(q, k, v)


def softmax_twice(q, k, v, mask=None):
    _, once = batched_attention(q, k, v, mask)
    if mask is not None:
        once = once.masked_fill(~mask, -math.inf)
    weights = _softmax(once, -1, "row", "zero")
    return weights @ v, weights


def scaled_after_softmax(q, k, v, mask=None):
    _, weights = _wrong(scale=no_scale)(q, k, v, mask)
    weights = weights / math.sqrt(q.shape[-1])
    return weights @ v, weights


def log_weights(q, k, v, mask=None):
    out, weights = batched_attention(q, k, v, mask)
    return out, weights.log()


def only_out(q, k, v, mask=None):
    return batched_attention(q, k, v, mask)[0]


def weights_first(q, k, v, mask=None):
    return batched_attention(q, k, v, mask)[::-1]


def mask_ignored(q, k, v, mask=None):
    return batched_attention(q, k, v)


def none_hides_all(q, k, v, mask=None):
    if mask is None:
        return q.new_zeros(*q.shape[:-1], v.shape[-1]), q.new_zeros(*q.shape[:-1], k.shape[-2])
    return batched_attention(q, k, v, mask)


def none_is_negated(q, k, v, mask=None):
    scores = _products(q, k).masked_fill(~mask, -math.inf)
    return scores @ v, scores


def truth_of_a_mask(q, k, v, mask=None):
    return batched_attention(q, k, v, mask if mask else None)


def axis_in_the_mask(q, k, v, mask=None):
    return batched_attention(q, k, v, mask.unsqueeze(1) if mask is not None and mask.ndim == 3 else mask)


def mask_must_fit(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores[~mask] = -math.inf
    weights = _softmax(scores, -1, "row", "zero")
    return weights @ v, weights


def _filled_with(number, mended=True):
    """A masked score set to a number that a real score can come near to.

    mended: whether the weights of empty rows are set to 0 afterwards; "all" is those of all masked keys.
    """

    def attention(q, k, v, mask=None):
        scores = _products(q, k) * by_sqrt_d(q, k, v)
        if mask is not None:
            scores = scores.masked_fill(~mask, number)
        weights = torch.softmax(scores, -1)
        if mask is not None and mended:
            weights = weights * (mask if mended == "all" else mask.any(-1, keepdim=True))
        return weights @ v, weights

    return attention


def clipped(q, k, v, mask=None):
    scores = (_products(q, k) * by_sqrt_d(q, k, v)).clamp(-100, 100)
    return _wrong(pairs=lambda q, k: scores, scale=no_scale)(q, k, v, mask)


def added_minus_1e9(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = scores + torch.where(mask, 0.0, -1e9).to(scores.dtype)
    weights = torch.softmax(scores, -1)
    return weights @ v, weights


def nan_only_in_out(q, k, v, mask=None):
    out, weights = _wrong(empty="nan")(q, k, v, mask)
    return out, weights.nan_to_num()


def nan_only_in_weights(q, k, v, mask=None):
    out, weights = _wrong(empty="nan")(q, k, v, mask)
    return out.nan_to_num(), weights


def infinity_added(q, k, v, mask=None):
    """Right numbers, but 0/0 stays on the way back: only masked_fill and where stop a NaN there."""
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = scores + torch.zeros(mask.shape, dtype=scores.dtype).masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, -1).nan_to_num()
    return weights @ v, weights


def infinity_added_and_filled(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = scores + torch.where(mask, 0.0, -math.inf).to(scores.dtype)
    weights = torch.softmax(scores, -1)
    if mask is not None:
        weights = weights.masked_fill(~mask.any(-1, keepdim=True), 0.0)
    return weights @ v, weights


def zero_counted(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = scores.masked_fill(~mask, 0)
    weights = torch.softmax(scores, -1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0)
    return weights @ v, weights


def queries_scaled_in_place(q, k, v, mask=None):
    q /= math.sqrt(q.shape[-1])
    return _wrong(scale=no_scale)(q, k, v, mask)


def keys_scaled_in_place(q, k, v, mask=None):
    k /= math.sqrt(k.shape[-1])
    return _wrong(scale=no_scale)(q, k, v, mask)


def mask_negated_in_place(q, k, v, mask=None):
    if mask is not None:
        mask.logical_not_()
    return batched_attention(q, k, v, None if mask is None else ~mask)


def _as(answer, dtype):
    """An answer whose results are cast."""

    def cast(*inputs, **keywords):
        found = answer(*inputs, **keywords)
        return tuple(part.to(dtype) for part in found) if isinstance(found, tuple) else found.to(dtype)

    return cast


def _detached(answer):
    """An answer whose results are right and have no gradient."""

    def unrecorded(*inputs, **keywords):
        with torch.no_grad():
            return answer(*inputs, **keywords)

    return unrecorded


def _through_numpy(answer):
    """An answer that asks for NumPy arrays, which torch refuses where gradients are recorded."""

    def converted(*inputs, **keywords):
        for part in inputs:
            if isinstance(part, torch.Tensor):
                part.numpy()
        return answer(*inputs, **keywords)

    return converted


def weights_detached(q, k, v, mask=None):
    out, weights = batched_attention(q, k, v, mask)
    return out, weights.detach()


def average_of_detached_weights(q, k, v, mask=None):
    _, weights = batched_attention(q, k, v, mask)
    return weights.detach() @ v, weights


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
    yield Case(first, _qkv(rng, (), 6, 3, 11, 7, np.float32))
    yield Case(first, _qkv(rng, (), 1, 2, 1, 3))
    yield Case("leading_axes", _qkv(rng, (2, 3), 4, 5, 6, 2))
    yield Case("leading_axes", _qkv(rng, (2,), 5, 4, 7, 3))
    yield Case("leading_axes", _qkv(rng, (3, 3), 3, 3, 3, 3, np.float32))
    yield Case("leading_axes", _qkv(rng, (1, 2, 1), 2, 3, 5, 4))
    yield Case("mask", _qkv(rng, (), 4, 5, 6, 9), {"mask": random_mask(rng, 4, 5)})
    yield Case("mask", (*_qkv(rng, (), 5, 5, 5, 5, np.float32), np.tril(np.ones((5, 5), bool))))
    yield Case("mask", _qkv(rng, (2, 3), 4, 5, 6, 2), {"mask": random_mask(rng, 2, 3, 4, 5)})
    yield Case("mask_broadcasts", _qkv(rng, (2, 3), 4, 5, 6, 9), {"mask": random_mask(rng, 4, 5)})
    yield Case("mask_broadcasts", _qkv(rng, (3,), 3, 3, 3, 3), {"mask": random_mask(rng, 3, 3)})
    yield Case("mask_broadcasts", _qkv(rng, (2, 3), 4, 5, 6, 2), {"mask": random_mask(rng, 3, 4, 5)})
    yield Case("mask_broadcasts", _qkv(rng, (2, 3), 4, 5, 6, 2), {"mask": random_mask(rng, 2, 1, 4, 5)})
    yield Case("mask_broadcasts", _qkv(rng, (), 4, 8, 6, 9), {"mask": random_mask(rng, 8)})
    empty, padded = random_mask(rng, 4, 5), random_mask(rng, 2, 1, 1, 5)
    empty[[1, 3]] = padded[1] = False
    yield Case("empty_rows", _qkv(rng, (), 4, 5, 6, 3), {"mask": empty})
    yield Case("empty_rows", _qkv(rng, (2, 3), 2, 5, 7, 9, np.float32), {"mask": padded})
    yield Case("empty_rows", _qkv(rng, (2,), 4, 5, 6, 3), {"mask": np.array([[True], [False], [True], [False]])})
    yield from _large(rng)
    yield Case(DIFFERENTIABLE, _qkv(rng, (2, 3), 4, 5, 6, 3))
    yield Case(DIFFERENTIABLE, _qkv(rng, (2,), 4, 5, 3, 2), {"mask": empty})
    yield Case(KEEPS_DTYPE, _qkv(rng, (2,), 4, 5, 6, 3, np.float32))
    yield Case(KEEPS_DTYPE, _qkv(rng, (), 4, 5, 6, 9, np.float32), {"mask": empty})
    yield Case(KEEPS_DTYPE, _qkv(rng, (), 4, 5, 6, 3), {"mask": random_mask(rng, 4, 5)})


def _large(rng):
    """Scores near +10000 or −10000 that differ by a little, rows with both, and a mask among low ones."""
    q, k, v = _qkv(rng, (), 3, 5, 6, 9)
    q[:, 0], k[:, 0] = 9.9e3 * math.sqrt(6) * np.array([1, -1, 1]), 1.0
    yield Case("large_scores", (q, k, v))
    q, k, v = _qkv(rng, (), 3, 5, 7, 6)
    q[:, 0], k[:, 0] = 7e3 * math.sqrt(7) * np.array([1, -1, 1]), np.array([1, -1, 1, 1, -1])
    yield Case("large_scores", (q, k, v))
    q, k, v = _qkv(rng, (2,), 3, 5, 6, 4)
    q[..., 0], k[..., 0] = -9.995e3 * math.sqrt(6), 1.0
    yield Case("large_scores", (q, k, v), {"mask": random_mask(rng, 3, 5)})


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
        "all weights of the tensor together sum to 1, not every row: the softmax ran over all axes",
        {"axis": None},
    ),
    "reshaped_keys": (
        "the scores pair queries with numbers of different keys: reshape or view to (D, Tk) refills k row by row; it "
        "does not swap its axes",
        {"pairs": reshaped_keys},
    ),
    "no_max_subtraction": (
        "scores of ±10000 give NaN or empty rows: exp overflowed or every exponential was 0, since no row had its "
        "maximum subtracted",
        {"shift": "none"},
    ),
}
# Mistakes in the mask.
MASKS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "inverted_mask": (
        "the keys that the mask allows weigh 0 and the others share the 1: True was read as hidden",
        [{"mask_is": "inverted", "empty": "nan"}, {"mask_is": "inverted"}],
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
        "a query that may attend to nothing takes an even share of every value: a large negative number in every "
        "place of its row is the same as 0 in every place",
        [{"empty": "even"}],
    ),
}


def _guarded(name, build=lambda core: core):
    """What else gives the numbers of a mistake in the scores: exponentials without a maximum, and a sum kept from 0."""
    if name != "no_max_subtraction":
        return []

    def multiplied(q, k, v, mask=None):
        e = torch.exp(_products(q, k) * by_sqrt_d(q, k, v))
        e = e if mask is None else e * mask
        total = e.sum(-1, keepdim=True)
        weights = e / total.masked_fill(total == 0, 1)
        return weights @ v, weights

    return [build(_wrong(shift="none", empty="guarded")), build(multiplied)]


def _one_by_one():
    for name, (sentence, parts) in SCORES.items():
        yield Misconception(name, sentence, [_wrong(**parts), *_guarded(name)])
    for name, (sentence, variants) in MASKS.items():
        yield Misconception(name, sentence, [_wrong(**parts) for parts in variants])


def _two_at_once():
    common = ("inverted_mask", "mask_after_softmax", "nan_on_empty_row", "even_on_empty_row")
    for a, others in (("no_scale", MASKS), ("divided_by_d", common), ("softmax_over_queries", common)):
        first, parts = SCORES[a]
        for b in others:
            second, variants = MASKS[b]
            yield Misconception(f"{a}+{b}", f"{first}; and {second}", _wrong(**parts, **variants[0]))
    for a in ("softmax_over_queries", "softmax_over_everything", "reshaped_keys", "no_max_subtraction"):
        wrong = _wrong(**SCORES[a][1], scale=no_scale)
        yield Misconception(f"no_scale+{a}", f"{SCORES['no_scale'][0]}; and {SCORES[a][0]}", wrong)


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
        "right for (Tq, D), and not with leading axes: axes 0 and 1 are the last two only in 2-D",
        [_wrong(pairs=all_axes_reversed), *_only_for(2), by_mm],
    ),
    Misconception(
        "only_3d",
        "right for (B, T, D), and not with more or fewer axes: axes 1 and 2 are the last two only in 3-D",
        [*_only_for(3), by_bmm, by_bmm_and_axes],
    ),
    Misconception(
        "only_4d",
        "right for (B, H, T, D), and not with more or fewer axes: axes 2 and 3 are the last two only in 4-D",
        _only_for(4),
    ),
    Misconception(
        "values_from_k",
        "the weights are right, and the output is their average of k, not of v",
        _wrong(average=lambda weights, v, k: weights @ k),
    ),
    Misconception(
        "q_and_k_swapped",
        "the weights are softmax(k qᵀ / √D): row i belongs to key i and sums over the queries",
        keys_ask,
    ),
    Misconception(
        "average_transposed",
        "the weights are right, and the output is their transpose times v: each value was handed to the wrong side",
        _wrong(average=lambda weights, v, k: weights.mT @ v),
    ),
    Misconception(
        "one_maximum_for_all",
        "rows whose scores are far below the largest of the tensor give NaN: the maximum of all was subtracted, not "
        "that of each row",
        [_wrong(shift="all"), _wrong(shift="all", empty="nan")],
    ),
    Misconception(
        "clipped_scores",
        "scores far from 0 are cut off at a limit, so keys beyond it cannot be told apart",
        clipped,
    ),
    Misconception(
        "fill_not_low_enough",
        "where the allowed scores are near −10000, masked keys have weight or take a share: the number put in their "
        "place is not lower; −∞ is lower than every score",
        [
            _filled_with(-1e4),
            _filled_with(-1e4, mended=False),
            _filled_with(-1e4, mended="all"),
            _filled_with(-1e3),
            _filled_with(-1e3, mended="all"),
        ],
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
        "nan_gradient",
        "the results are right, and for a query that may attend to nothing the gradients are NaN: −∞ was added to the "
        "scores, and the NaN of its softmax goes back through the addition; masked_fill or where would stop it",
        [infinity_added, infinity_added_and_filled],
    ),
    Misconception("cut_off", CUT_OFF, _detached(batched_attention)),
    Misconception(
        "partly_cut_off",
        "the results are right, and only part of the gradient comes back to q, k and v, as after a .detach() on the "
        "way or a write into one of them",
        [
            weights_detached,
            average_of_detached_weights,
            lambda q, k, v, mask=None: batched_attention(q, k.detach(), v, mask),
            lambda q, k, v, mask=None: batched_attention(q, k, v.detach(), mask),
        ],
    ),
    Misconception("numpy_refused", NO_NUMPY, _through_numpy(batched_attention)),
    Misconception(
        "mask_transposed",
        "the mask works the wrong way round: its rows were read as keys and its columns as queries",
        _wrong(mask_is="transposed"),
    ),
    Misconception("mask_ignored", "the results are those without a mask", mask_ignored),
    Misconception(
        "none_hides_all",
        "without a mask nothing may be attended to: None was read as a mask that is False everywhere",
        none_hides_all,
    ),
    Misconception(
        "none_is_negated",
        "without a mask the call stops: ~None has no meaning, so None needs a case of its own",
        none_is_negated,
    ),
    Misconception(
        "truth_of_a_mask",
        "with a mask the call stops: `if mask` asks whether a tensor is true; `mask is not None` is meant",
        truth_of_a_mask,
    ),
    Misconception(
        "mask_must_fit",
        "a mask of the full shape works and a smaller one stops with an error: indexing with a mask does not "
        "broadcast, masked_fill and where do",
        mask_must_fit,
    ),
    Misconception(
        "axis_in_the_mask",
        "a mask with three axes does not line up with the last three axes of the scores: it was given one more, in its "
        "middle",
        axis_in_the_mask,
    ),
    Misconception(
        "unnormalised",
        "the weights are exp(score): rows do not sum to 1, since nothing was divided by their sum",
        unnormalised,
    ),
    Misconception("no_softmax", "the weights are the scores themselves, without a softmax", no_softmax),
    Misconception(
        "returns_scores",
        "the output is right, and the scores stand in the place of the weights",
        [returns_scores, returns_scores_before_mask],
    ),
    Misconception("softmax_twice", "the weights are too even: they went through a second softmax", softmax_twice),
    Misconception(
        "log_weights", "the output is right, and the logarithms of the weights stand in their place", log_weights
    ),
    Misconception(
        "scaled_after_softmax",
        "every row sums to 1/√D: the weights were divided, and the scores were not",
        scaled_after_softmax,
    ),
    Misconception("only_out", "one tensor came back; (out, weights) are two", only_out),
    Misconception(
        "weights_first", "the two results are in the other order: out comes first, then weights", weights_first
    ),
    Misconception("becomes_float64", BECOMES_FLOAT64, _as(batched_attention, torch.float64)),
    Misconception("becomes_float32", BECOMES_FLOAT32, _as(batched_attention, torch.float32)),
    Misconception(
        "masked_score_0+mask_after_softmax",
        "masked keys weigh 0, and rows with a masked key sum to less than 1: a masked score of 0 still counts in the "
        "sum of the softmax, for exp(0) = 1, and its weight was taken away after it",
        zero_counted,
    ),
    Misconception(
        "changes_q_or_k",
        "the values of an input are others after the call: /= and *= write into the tensor that was given",
        [queries_scaled_in_place, keys_scaled_in_place],
    ),
    Misconception(
        "changes_mask",
        "the mask is another after the call: something wrote into the tensor that was given",
        mask_negated_in_place,
    ),
    *_two_at_once(),
)

# --- split_heads -----------------------------------------------------------------------------------------------------


def split_heads(x, h):
    b, t, c = x.shape
    if c % h:
        raise ValueError(f"{h} heads do not divide a width of {c}")
    return x.reshape(b, t, h, c // h).transpose(1, 2)


def split_by_chunks(x, h):
    if x.size(-1) % h != 0:
        raise ValueError(f"C = {x.size(-1)} is not a multiple of h = {h}")
    return torch.stack(x.chunk(h, dim=-1), dim=1)


def split_by_slices(x, h):
    d, rest = divmod(x.shape[2], h)
    if rest:
        raise ValueError(f"cannot cut {x.shape[2]} into {h}")
    out = x.new_zeros(x.shape[0], h, x.shape[1], d)
    for n in range(h):
        out[:, n] = x[:, :, n * d : (n + 1) * d]
    return out


def split_by_permute(x, h):
    if not (x.shape[-1] / h).is_integer():
        raise ValueError(f"{x.shape[-1]} / {h}")
    return x.unflatten(-1, (h, x.shape[-1] // h)).permute(0, 2, 1, 3).contiguous()


def split_by_einsum(x, h):
    if x.shape[-1] % h:
        raise ValueError(f"{h}, {x.shape[-1]}")
    return torch.einsum("bthd->bhtd", x.view(*x.shape[:2], h, -1))


def _checked(split):
    """A splitter that refuses what it should; `split(x, h, d)`."""

    def checked(x, h):
        if x.shape[-1] % h:
            raise ValueError(f"{h} heads do not divide a width of {x.shape[-1]}")
        return split(x, h, x.shape[-1] // h)

    return checked


def refilled(x, h, d):
    return x.reshape(x.shape[0], h, x.shape[1], d)


def every_hth(x, h, d):
    return x.reshape(*x.shape[:2], d, h).permute(0, 3, 1, 2)


def heads_last(x, h, d):
    return x.reshape(*x.shape[:2], h, d)


def _unchecked(x, h):
    return x.reshape(*x.shape[:2], h, x.shape[-1] // h).transpose(1, 2)


def _asserted(x, h):
    assert x.shape[-1] % h == 0
    return _unchecked(x, h)


def floor_by_slices(x, h):
    d = x.shape[-1] // h
    return torch.stack([x[..., n * d : (n + 1) * d] for n in range(h)], dim=1)


def rest_in_the_tokens(x, h):
    return x.reshape(x.shape[0], -1, h, x.shape[-1] // h).transpose(1, 2)


def into_zeros(x, h, d):
    out = torch.zeros(x.shape[0], h, x.shape[1], d)
    for n in range(h):
        out[:, n] = x[..., n * d : (n + 1) * d]
    return out


def _doubled(answer):
    """An answer that gives what it should and leaves another input behind."""

    def changing(x, *rest):
        out = answer(x, *rest).clone()
        x.data.mul_(2)
        return out

    return changing


def split_cases(rng):
    def x(b, t, c, dtype=np.float64):
        return rng.normal(size=(b, t, c)).astype(dtype)

    yield Case("heads", (x(2, 4, 6), 3))
    yield Case("heads", (x(3, 6, 14, np.float32), 2))
    yield Case("heads", (x(2, 3, 16), 8))
    yield Case("heads", (x(3, 3, 9), 3))  # nothing can be told by its size
    yield Case("heads", (x(2, 2, 4), 2))
    yield Case("heads", (x(4, 2, 6), 2))
    yield Case("edge_sizes", (x(2, 3, 4), 1))
    yield Case("edge_sizes", (x(2, 4, 3), 3))
    yield Case("edge_sizes", (x(3, 1, 6), 2))
    yield Case("edge_sizes", (x(1, 4, 6), 2))
    yield Case("edge_sizes", (x(1, 1, 1), 1))
    yield Case("refuses_uneven", (x(2, 4, 10), 4), mentions=("10", "4"))
    yield Case("refuses_uneven", (x(2, 3, 5), 7), mentions=("5", "7"))
    yield Case("refuses_uneven", (x(1, 6, 9), 2), mentions=("9", "2"))
    yield Case(DIFFERENTIABLE, (x(2, 4, 6), 3))
    yield Case(KEEPS_DTYPE, (x(2, 4, 6, np.float32), 2))
    yield Case(KEEPS_DTYPE, (x(2, 4, 6), 2))


SPLIT_MISCONCEPTIONS = (
    Misconception(
        "refilled",
        "the numbers of x stand in their old order, poured into (B, h, T, D): head 0 holds what the first tokens had "
        "in all places, where it should hold the first places of all tokens",
        _checked(refilled),
    ),
    Misconception(
        "every_hth_number",
        "head n holds every h-th number of a token; it should hold D neighbouring ones: the last axis was cut into "
        "(D, h), not (h, D)",
        _checked(every_hth),
    ),
    Misconception(
        "not_swapped",
        "the pieces are right, and lie as (B, T, h, D): the axes of tokens and heads were not swapped",
        _checked(heads_last),
    ),
    Misconception(
        "heads_first",
        "the pieces are right, and the heads stand in front of the batch: (h, B, T, D)",
        [
            _checked(lambda x, h, d: heads_last(x, h, d).permute(2, 0, 1, 3)),
            _checked(lambda x, h, d: list(x.chunk(h, dim=-1))),
        ],
    ),
    Misconception(
        "heads_in_the_batch",
        "heads and sentences share one axis, (B·h, T, D); they are two axes of the result",
        _checked(lambda x, h, d: heads_last(x, h, d).transpose(1, 2).flatten(0, 1)),
    ),
    Misconception(
        "turned_heads",
        "the last two axes are swapped: a head holds (D, T), and (T, D) is wanted",
        [
            _checked(lambda x, h, d: heads_last(x, h, d).permute(0, 2, 3, 1)),
            _checked(lambda x, h, d: x.mT.reshape(x.shape[0], h, d, x.shape[1])),
        ],
    ),
    Misconception(
        "h_as_width",
        "there are C // h heads of width h: h is how many heads there are, not how wide one is",
        [
            _checked(lambda x, h, d: heads_last(x, d, h).transpose(1, 2)),
            _checked(lambda x, h, d: refilled(x, d, h)),
        ],
    ),
    Misconception(
        "transposed_then_refilled",
        "the axes of x were swapped before the cut: a head holds numbers of one place after another, so tokens and "
        "places are mixed",
        [
            _checked(lambda x, h, d: x.mT.reshape(x.shape[0], h, x.shape[1], d)),
            _checked(lambda x, h, d: x.transpose(0, 1).reshape(x.shape[0], h, x.shape[1], d)),
        ],
    ),
    Misconception(
        "silent_floor",
        "where h does not divide C there is no error, and numbers at the end of every token are dropped",
        floor_by_slices,
    ),
    Misconception(
        "rest_in_the_tokens",
        "where h does not divide C there may be no error, and tokens that never were appear: the rest of the numbers "
        "was poured into the axis of the tokens",
        rest_in_the_tokens,
    ),
    Misconception(
        "no_check",
        "where h does not divide C the error comes from torch and speaks of a shape; a ValueError that names h and C "
        "is wanted",
        [
            _unchecked,
            lambda x, h: x.view(*x.shape[:2], h, -1).transpose(1, 2),
            lambda x, h: x.unflatten(-1, (h, -1)).transpose(1, 2),
            lambda x, h: x.unflatten(-1, (h, x.shape[-1] // h)).transpose(1, 2),
            lambda x, h: torch.stack(x.chunk(h, -1), 1),
            lambda x, h: torch.stack(x.tensor_split(h, -1), 1),
            lambda x, h: torch.stack(x.split(x.shape[-1] // h, -1), 1),
        ],
    ),
    Misconception(
        "assertion",
        "where h does not divide C there is an AssertionError without words; a ValueError that names h and C is wanted",
        _asserted,
    ),
    Misconception(
        "refilled+no_check",
        "the numbers of x stand in their old order, poured into (B, h, T, D), so heads hold whole tokens; and "
        "where h does not divide C no ValueError names h and C",
        [lambda x, h: refilled(x, h, x.shape[-1] // h), lambda x, h: x.view(x.shape[0], h, x.shape[1], -1)],
    ),
    Misconception(
        "every_hth_number+no_check",
        "head n holds every h-th number of a token, since the last axis was cut into (D, h); and where h does not "
        "divide C no ValueError names h and C",
        lambda x, h: every_hth(x, h, x.shape[-1] // h),
    ),
    Misconception(
        "not_swapped+no_check",
        "the pieces lie as (B, T, h, D), tokens and heads not swapped; and where h does not divide C no ValueError "
        "names h and C",
        lambda x, h: heads_last(x, h, x.shape[-1] // h),
    ),
    Misconception("cut_off", CUT_OFF, _detached(split_heads)),
    Misconception("numpy_refused", NO_NUMPY, _through_numpy(split_heads)),
    Misconception(
        "becomes_float32",
        f"{BECOMES_FLOAT32}: torch.zeros is float32 unless told otherwise",
        [_checked(into_zeros), _as(split_heads, torch.float32)],
    ),
    Misconception("becomes_float64", BECOMES_FLOAT64, _as(split_heads, torch.float64)),
    Misconception("changes_x", "the numbers in x are others after the call", _doubled(split_heads)),
)

# --- merge_heads -----------------------------------------------------------------------------------------------------


def merge_heads(x):
    b, h, t, d = x.shape
    return x.transpose(1, 2).reshape(b, t, h * d)


def merge_by_concatenation(x):
    return torch.cat(x.unbind(dim=1), dim=-1)


def merge_by_loops(x):
    rows = [[torch.cat([x[b, n, t] for n in range(x.shape[1])]) for t in range(x.shape[2])] for b in range(len(x))]
    return torch.stack([torch.stack(row) for row in rows])


def merge_by_permute(x):
    return x.permute(0, 2, 1, 3).contiguous().view(x.size(0), x.size(2), -1)


def merge_by_flatten(x):
    return x.swapaxes(-3, -2).flatten(start_dim=-2)


def merge_into(x):
    out = torch.empty(x.shape[0], x.shape[2], x.shape[1] * x.shape[3], dtype=x.dtype)
    for n, head in enumerate(x.unbind(1)):
        out[..., n * x.shape[3] : (n + 1) * x.shape[3]] = head
    return out


def merged_into_zeros(x):
    out = torch.zeros(x.shape[0], x.shape[2], x.shape[1] * x.shape[3])
    out[:] = merge_heads(x)
    return out


def merge_cases(rng):
    def x(*shape, dtype=np.float64):
        return rng.normal(size=shape).astype(dtype)

    yield Case("merged", (x(2, 3, 4, 5),))
    yield Case("merged", (x(3, 2, 6, 7, dtype=np.float32),))
    yield Case("merged", (x(2, 8, 2, 3),))
    yield Case("merged", (x(3, 3, 3, 3),))  # nothing can be told by its size
    yield Case("merged", (x(2, 2, 2, 2),))
    yield Case("edge_sizes", (x(2, 1, 3, 4),))
    yield Case("edge_sizes", (x(2, 3, 4, 1),))
    yield Case("edge_sizes", (x(3, 2, 1, 4),))
    yield Case("edge_sizes", (x(1, 2, 4, 3),))
    yield Case("edge_sizes", (x(1, 1, 1, 1),))
    yield Case(DIFFERENTIABLE, (x(2, 3, 4, 5),))
    yield Case(KEEPS_DTYPE, (x(2, 3, 4, 2, dtype=np.float32),))
    yield Case(KEEPS_DTYPE, (x(2, 3, 4, 2),))


MERGE_MISCONCEPTIONS = (
    Misconception(
        "not_swapped",
        "the numbers of x stand in their old order, poured into (B, T, h·D): the first rows hold head 0 of several "
        "tokens, where each should hold all heads of one token",
        [
            lambda x: x.reshape(x.shape[0], x.shape[2], -1),
            lambda x: x.reshape(x.shape[0], -1, x.shape[1] * x.shape[3]),
        ],
    ),
    Misconception(
        "interleaved",
        "the heads alternate number by number; head 0's D numbers should come first, then head 1's",
        lambda x: x.permute(0, 2, 3, 1).flatten(2),
    ),
    Misconception(
        "not_joined",
        "heads and tokens are swapped, and the result still has four axes: the last two are to become one",
        lambda x: x.transpose(1, 2),
    ),
    Misconception(
        "heads_one_after_another",
        "the heads follow one another along the tokens, (B, h·T, D); they belong side by side in each token",
        [lambda x: x.flatten(1, 2), lambda x: x.transpose(1, 2).flatten(1, 2)],
    ),
    Misconception(
        "mean_of_heads",
        "the result is as wide as one head and holds the mean of all heads; every head's numbers are to be kept",
        lambda x: x.mean(1),
    ),
    Misconception(
        "sum_of_heads",
        "the result is as wide as one head and holds the sum of all heads; every head's numbers are to be kept",
        lambda x: x.sum(1),
    ),
    Misconception(
        "turned_heads",
        "tokens and places are mixed: the last two axes were swapped before the heads were joined",
        [
            lambda x: x.mT.reshape(x.shape[0], x.shape[2], -1),
            lambda x: x.transpose(1, 3).reshape(x.shape[0], x.shape[2], -1),
        ],
    ),
    Misconception(
        "places_first",
        "the result is transposed: (B, h·D, T), and (B, T, h·D) is wanted",
        lambda x: merge_heads(x).mT,
    ),
    Misconception(
        "heads_reversed",
        "the last head comes first; head 0 is to be leftmost",
        lambda x: merge_heads(x.flip(1)),
    ),
    Misconception(
        "batch_in_the_heads",
        "the axes of sentences and heads were swapped, not those of heads and tokens: rows hold numbers of several "
        "sentences",
        lambda x: x.transpose(0, 1).reshape(x.shape[0], x.shape[2], -1),
    ),
    Misconception(
        "view_of_a_transpose",
        "the call stops: after a transpose neighbouring entries do not lie side by side in memory, and view never "
        "copies; reshape does where it must",
        [
            lambda x: x.transpose(1, 2).view(x.shape[0], x.shape[2], -1),
            lambda x: x.permute(0, 2, 1, 3).view(x.shape[0], x.shape[2], x.shape[1] * x.shape[3]),
        ],
    ),
    Misconception("cut_off", CUT_OFF, _detached(merge_heads)),
    Misconception("numpy_refused", NO_NUMPY, _through_numpy(merge_heads)),
    Misconception(
        "becomes_float32",
        f"{BECOMES_FLOAT32}: torch.zeros and torch.empty are float32 unless told otherwise",
        [merged_into_zeros, _as(merge_heads, torch.float32)],
    ),
    Misconception("becomes_float64", BECOMES_FLOAT64, _as(merge_heads, torch.float64)),
    Misconception("changes_x", "the numbers in x are others after the call", _doubled(merge_heads)),
)

# --- multi_head_attention --------------------------------------------------------------------------------------------


def _for_heads(mask):
    return mask.unsqueeze(1) if mask is not None and mask.ndim == 3 else mask


def multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    q, k, v = split_heads(x_q @ w_q, h), split_heads(x_kv @ w_k, h), split_heads(x_kv @ w_v, h)
    out, weights = batched_attention(q, k, v, _for_heads(mask))
    return merge_heads(out) @ w_o, weights


def heads_by_einsum(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    q, k, v = (
        torch.einsum("btc,chd->bhtd", x, w.unflatten(1, (h, -1))) for x, w in ((x_q, w_q), (x_kv, w_k), (x_kv, w_v))
    )
    out, weights = attention_by_hand(q, k, v, mask if mask is None or mask.ndim != 3 else mask[:, None])
    return torch.einsum("bhtd,hdc->btc", out, w_o.unflatten(0, (h, -1))), weights


def heads_by_loop(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    """Every head by itself; each adds what its rows of w_o make of its average."""
    d = w_q.shape[1] // h
    out, weights = 0, []
    for n in range(h):
        mine = slice(n * d, (n + 1) * d)
        allowed = mask if mask is None or mask.ndim < 4 else mask.expand(-1, h, -1, -1)[:, n]
        average, rows = attention_nan_to_num(x_q @ w_q[:, mine], x_kv @ w_k[:, mine], x_kv @ w_v[:, mine], allowed)
        out = out + average @ w_o[mine]
        weights.append(rows)
    return out, torch.stack(weights, dim=1)


def heads_in_the_batch(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    """Heads folded into the batch axis, as older code does."""
    b, d = len(x_q), w_q.shape[1] // h
    q, k, v = (
        (x @ w).reshape(b, -1, h, d).transpose(1, 2).reshape(b * h, -1, d)
        for x, w in ((x_q, w_q), (x_kv, w_k), (x_kv, w_v))
    )
    if mask is not None:
        mask = _for_heads(mask).broadcast_to(b, h, q.shape[1], k.shape[1]).reshape(b * h, q.shape[1], k.shape[1])
    out, weights = batched_attention(q, k, v, mask)
    out = out.reshape(b, h, -1, d).transpose(1, 2).reshape(b, -1, h * d)
    return out @ w_o, weights.reshape(b, h, *weights.shape[1:])


def _mha(
    core=batched_attention, split=split_heads, merge=merge_heads, fit=_for_heads, sources=(0, 1, 1), order=(0, 1, 2, 3)
):
    """A multi-head attention with some of its parts replaced; without arguments it is a right one.

    core:    `(q, k, v, mask) -> (out, weights)` of all heads.
    split:   `(x, h) -> heads`; merge: `heads -> x`.
    fit:     `mask -> mask` as core takes it.
    sources: which of x_q, x_kv the queries, keys and values come from.
    order:   which matrix serves as w_q, w_k, w_v, w_o.
    """

    def attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
        given, matrices = (x_q, x_kv), (w_q, w_k, w_v, w_o)
        q, k, v = (split(given[sources[i]] @ matrices[order[i]], h) for i in range(3))
        out, weights = core(q, k, v, fit(mask))
        return merge(out) @ matrices[order[3]], weights

    return attention


def _scaled_by(width):
    """All heads right but for the scale; `width(x_q, w_q, h) -> what stands under the root`."""

    def scaled(core_parts, x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
        factor = 1 / math.sqrt(width(x_q, w_q, h))
        return _mha(core=_wrong(**{"scale": lambda q, k, v: factor} | core_parts))(
            x_q, x_kv, w_q, w_k, w_v, w_o, h, mask
        )

    return scaled


def _bound(scaled, **core_parts):
    return lambda *inputs, **keywords: scaled(core_parts, *inputs, **keywords)


BY_WIDTHS = [_scaled_by(lambda x_q, w_q, h: x_q.shape[-1]), _scaled_by(lambda x_q, w_q, h: w_q.shape[1])]


def _each_view(x, h):
    return refilled(x, h, x.shape[-1] // h)


def _refilled_back(x):
    return x.reshape(x.shape[0], x.shape[2], -1)


def _every_hth(x, h):
    return every_hth(x, h, x.shape[-1] // h)


def _interleaved_back(x):
    return x.permute(0, 2, 3, 1).flatten(2)


def mha_in_order_of_h(x, h):
    """D and h swapped: as many heads as one should be wide."""
    return split_heads(x, x.shape[-1] // h)


def _after(change):
    """A right answer whose results are changed at the end: `change(out, weights, inputs)`."""

    def attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
        out, weights = multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)
        return change(out, weights, (x_q, x_kv, w_q, w_k, w_v, w_o, h, mask))

    return attention


def _heads_of(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    q, k, v = split_heads(x_q @ w_q, h), split_heads(x_kv @ w_k, h), split_heads(x_kv @ w_v, h)
    return batched_attention(q, k, v, _for_heads(mask))


def without_w_o(*inputs, **keywords):
    out, weights = _heads_of(*inputs, **keywords)
    return merge_heads(out), weights


def mean_head(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    out, weights = _heads_of(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)
    return out.mean(1), weights


def mean_head_repeated(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    out, weights = _heads_of(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)
    return out.mean(1).repeat(1, 1, h) @ w_o, weights


def mean_head_through_w_o(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    out, weights = _heads_of(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)
    return out.mean(1) @ w_o[: out.shape[-1]], weights


def sum_head(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    out, weights = _heads_of(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)
    return out.sum(1), weights


def sum_head_through_w_o(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    out, weights = _heads_of(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)
    return out.sum(1) @ w_o[: out.shape[-1]], weights


def averaged_over_heads(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    out, weights = multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)
    return out / h, weights


def one_wide_head(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    """Never split: one softmax over the products of whole vectors, shown once for every head."""
    allowed = mask[:, 0] if mask is not None and mask.ndim == 4 else mask
    out, weights = batched_attention(x_q @ w_q, x_kv @ w_k, x_kv @ w_v, allowed)
    return out @ w_o, weights.unsqueeze(1).expand(-1, h, -1, -1)


def one_wide_head_without_axis(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    out, weights = one_wide_head(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)
    return out, weights[:, 0]


def joint_softmax(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    """One softmax over the keys of all heads together: the weights of a query sum to 1 over heads and keys."""
    q, k, v = split_heads(x_q @ w_q, h), split_heads(x_kv @ w_k, h), split_heads(x_kv @ w_v, h)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~_for_heads(mask), -math.inf)
    rows = scores.transpose(1, 2).flatten(2)
    weights = torch.softmax(rows, -1).nan_to_num().unflatten(-1, (h, -1)).transpose(1, 2)
    return merge_heads(weights @ v) @ w_o, weights


def first_head_masked(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    """The mask reaches head 0 only."""
    b, tq, tk = len(x_q), x_q.shape[1], x_kv.shape[1]
    if mask is not None:
        allowed = torch.ones(b, h, tq, tk, dtype=torch.bool)
        allowed[:, 0] = _for_heads(mask).broadcast_to(b, h, tq, tk)[:, 0]
        mask = allowed
    return multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)


def first_mask_for_all_heads(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    if mask is not None and mask.ndim == 4:
        mask = mask[:, :1]
    return multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)


def first_mask_for_all_sentences(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    if mask is not None and mask.ndim == 3:
        mask = mask[:1]
    return multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)


def queries_only(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    return multi_head_attention(x_q, x_q, w_q, w_k, w_v, w_o, h, mask)


def transposed_projections(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    """The convention of nn.Linear; fits only where h·D = C."""
    return multi_head_attention(x_q, x_kv, w_q.T, w_k.T, w_v.T, w_o.T, h, mask)


def transposed_w_o(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    return multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o.T, h, mask)


def transposed_inputs_only(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    return multi_head_attention(x_q, x_kv, w_q.T, w_k.T, w_v.T, w_o, h, mask)


def width_of_c(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    """The width of a head from C, with a reshape that fits only where h·D = C."""
    b, d = x_q.shape[0], x_q.shape[-1] // h

    def split(x, _):
        return x.reshape(b, x.shape[1], h, d).transpose(1, 2)

    return _mha(split=split)(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)


def merged_to_c(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    return _mha(merge=lambda x: x.transpose(1, 2).reshape(x_q.shape))(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)


def scaled_by_c_over_h(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    factor = 1 / math.sqrt(x_q.shape[-1] / h)
    return _mha(core=_wrong(scale=lambda q, k, v: factor))(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)


def _as_given(mask):
    return mask


def _always_unsqueezed(mask):
    return mask if mask is None else mask.unsqueeze(1)


def _two_axes_unsqueezed(mask):
    return mask[:, None, None, :] if mask is not None and mask.ndim == 2 else _for_heads(mask)


def _only_fours(mask):
    return None if mask is not None and mask.ndim < 4 else mask


def _per_head_3d(mask):
    return mask[None] if mask is not None and mask.ndim == 3 else mask


def x_changed(x_q, *others, **keywords):
    out, weights = multi_head_attention(x_q, *others, **keywords)
    x_q.data.add_(out.detach())
    return out, weights


def mask_negated_for_torch(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    found = multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)
    if mask is not None:
        mask.logical_not_()
    return found


def average_cut_off(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    out, weights = _heads_of(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask)
    return merge_heads(out).detach() @ w_o, weights


def matrices_cut_off(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    return multi_head_attention(x_q, x_kv, w_q.detach(), w_k.detach(), w_v.detach(), w_o.detach(), h, mask)


def _mha_inputs(rng, b, tq, tk, c, h, d, *, dtype=np.float64):
    """Inputs whose scores have a standard deviation near 1."""
    x_q, x_kv = rng.normal(size=(b, tq, c)), rng.normal(size=(b, tk, c))
    ins = [rng.normal(size=(c, h * d)) / math.sqrt(c) for _ in range(3)]
    w_o = rng.normal(size=(h * d, c)) / math.sqrt(h * d)
    return (*(part.astype(dtype) for part in (x_q, x_kv, *ins, w_o)), h)


def mha_cases(rng):
    def given(*sizes, mask=None, dtype=np.float64):
        return _mha_inputs(rng, *sizes, dtype=dtype), {} if mask is None else {"mask": mask}

    first = "weights_and_output"
    yield Case(first, *given(2, 4, 5, 6, 3, 2))
    yield Case(first, *given(3, 2, 4, 8, 2, 4, dtype=np.float32))
    yield Case(first, *given(3, 3, 3, 9, 3, 3))  # nothing can be told by its size
    yield Case(first, *given(1, 1, 3, 4, 1, 4))
    yield Case(first, *given(2, 5, 4, 4, 4, 1))
    yield Case("free_width", *given(2, 4, 5, 6, 2, 5))
    yield Case("free_width", *given(2, 3, 4, 12, 3, 2))
    yield Case("free_width", *given(1, 2, 2, 3, 4, 6, dtype=np.float32))
    yield Case("mask_for_all", *given(1, 4, 5, 6, 3, 2, mask=random_mask(rng, 4, 5)))
    yield Case("mask_for_all", *given(3, 3, 3, 9, 3, 3, mask=np.tril(np.ones((3, 3), bool))))
    yield Case("mask_for_all", *given(4, 4, 2, 6, 2, 3, mask=random_mask(rng, 4, 2)))
    yield Case("mask_per_sentence", *given(2, 4, 5, 6, 3, 2, mask=random_mask(rng, 2, 4, 5)))
    yield Case("mask_per_sentence", *given(3, 4, 5, 12, 3, 4, mask=random_mask(rng, 3, 4, 5)))
    yield Case("mask_per_sentence", *given(2, 2, 2, 4, 2, 2, mask=random_mask(rng, 2, 2, 2)))
    yield Case("mask_per_head", *given(2, 4, 5, 6, 3, 2, mask=random_mask(rng, 2, 3, 4, 5)))
    yield Case("mask_per_head", *given(2, 4, 5, 6, 3, 2, mask=random_mask(rng, 1, 3, 4, 5)))
    yield Case("mask_per_head", *given(3, 3, 3, 9, 3, 3, mask=random_mask(rng, 3, 3, 3, 3)))
    yield Case("mask_per_head", *given(2, 4, 5, 6, 3, 2, mask=random_mask(rng, 2, 3, 1, 5)))
    yield Case("mask_per_head", *given(2, 4, 5, 6, 3, 2, mask=random_mask(rng, 2, 1, 4, 5)))
    yield Case("mask_per_head", *given(2, 4, 5, 6, 3, 2, mask=random_mask(rng, 1, 1, 4, 5)))
    padded, empty = random_mask(rng, 2, 1, 1, 5), random_mask(rng, 2, 4, 5)
    padded[1], empty[0, [1, 3]] = False, False
    yield Case("empty_rows", *given(2, 4, 5, 6, 3, 2, mask=padded))
    yield Case("empty_rows", *given(2, 4, 5, 6, 3, 2, mask=empty, dtype=np.float32))
    some_heads = np.indices((2, 3, 4, 1)).sum(0) % 2 == 0  # of every query some heads read nothing
    yield Case("empty_rows", *given(2, 4, 5, 6, 3, 2, mask=some_heads))
    x_q, x_kv, *matrices, h = _mha_inputs(rng, 2, 3, 4, 6, 3, 2)
    yield Case("large_scores", (60 * x_q, 60 * x_kv, *matrices, h))
    x_q, x_kv, w_q, w_k, *matrices, h = _mha_inputs(rng, 2, 4, 5, 6, 2, 3)
    x_q[..., 0] = x_kv[..., 0] = 1
    w_q[:, ::3] = w_k[:, ::3] = 0  # one number of every head is the same for all tokens: all scores are near −10000
    w_q[0, ::3], w_k[0, ::3] = 9.995e3 * math.sqrt(3), -1
    yield Case("large_scores", (x_q, x_kv, w_q, w_k, *matrices, h), {"mask": random_mask(rng, 4, 5)})
    yield Case(DIFFERENTIABLE, *given(2, 3, 4, 6, 3, 2))
    yield Case(DIFFERENTIABLE, *given(2, 4, 5, 4, 2, 3, mask=empty))
    yield Case(KEEPS_DTYPE, *given(2, 4, 5, 6, 3, 2, mask=empty[0], dtype=np.float32))
    yield Case(KEEPS_DTYPE, *given(2, 3, 4, 6, 2, 3))


NO_SCALE = "the weights are those of q kᵀ undivided: every row is too sharp, since the scores were not divided by √D"
BY_C = "the scores are divided by the root of the whole width, as for one head; the product of a head sums D numbers"
MASK_3D = (
    "a mask (B, Tq, Tk) reaches the wrong axis or stops the call: it needs an axis of size 1 for the heads, in second "
    "place; otherwise its sentences line up with something else"
)


def _in_heads():
    """Mistakes of one head, made in all of them."""
    chosen = ("divided_by_d", "times_sqrt_d", "divided_by_sqrt_tk", "softmax_over_everything", "reshaped_keys")
    for name in (*chosen, "softmax_over_queries", "no_max_subtraction"):
        sentence, parts = SCORES[name]
        yield Misconception(name, sentence, [_mha(core=_wrong(**parts)), *_guarded(name, _mha)])
    for name, (sentence, variants) in MASKS.items():
        yield Misconception(name, sentence, [_mha(core=_wrong(**parts)) for parts in variants])


def _heads_two_at_once():
    """A wrong scale or a misplaced mask, together with a mistake in the use of the mask."""
    for name in ("inverted_mask", "mask_after_softmax", "nan_on_empty_row", "even_on_empty_row"):
        sentence, variants = MASKS[name]
        parts = variants[0]
        plain = _mha(core=_wrong(**parts, scale=no_scale))
        yield Misconception(f"no_scale+{name}", f"{NO_SCALE}; and {sentence}", plain)
        wide = _bound(BY_WIDTHS[0], **parts)
        yield Misconception(f"divided_by_sqrt_c+{name}", f"{BY_C}; and {sentence}", wide)
        lined_up = _mha(core=_wrong(**parts), fit=_as_given)
        yield Misconception(f"mask_3d_as_it_is+{name}", f"{MASK_3D}; and {sentence}", lined_up)
    yield Misconception(
        "no_scale+mask_3d_as_it_is", f"{NO_SCALE}; and {MASK_3D}", _mha(_wrong(no_scale), fit=_as_given)
    )


MHA_MISCONCEPTIONS = (
    Misconception("divided_by_sqrt_c", BY_C, [_bound(scaled) for scaled in BY_WIDTHS]),
    Misconception("no_scale", NO_SCALE, _mha(core=_wrong(scale=no_scale))),
    Misconception(
        "scaled_by_c_over_h",
        "right where h·D is C, and elsewhere the scores are divided by √(C / h): the width of a head is that of its "
        "columns, w_q.shape[1] // h",
        scaled_by_c_over_h,
    ),
    Misconception(
        "width_of_c",
        "right where h·D is C, and elsewhere the call stops: the width of a head was taken from x, not from w_q",
        [width_of_c, merged_to_c],
    ),
    Misconception(
        "scaled_by_h",
        "the scores are divided by √h, from the number of heads; the product of a head sums D numbers",
        _bound(_scaled_by(lambda x_q, w_q, h: h)),
    ),
    Misconception("without_w_o", "the heads' averages lie side by side, and were never multiplied by w_o", without_w_o),
    Misconception(
        "mean_of_heads",
        "the output holds the mean of the heads' averages: what one head found can no longer be told from what another "
        "did; they belong side by side, before w_o",
        [mean_head, mean_head_repeated, mean_head_through_w_o],
    ),
    Misconception(
        "sum_of_heads",
        "the heads' averages were added up; they belong side by side, before w_o",
        [sum_head, sum_head_through_w_o],
    ),
    Misconception(
        "divided_by_h", "the weights are right, and the output is the wanted one divided by h", averaged_over_heads
    ),
    Misconception(
        "weights_averaged",
        "the output is right, and the weights are a mean over the heads, (B, Tq, Tk); every head's are wanted",
        [
            _after(lambda out, weights, given: (out, weights.mean(1))),
            _after(lambda out, weights, given: (out, weights.mean(1, keepdim=True))),
        ],
    ),
    Misconception(
        "one_softmax_for_all_heads",
        "all heads have the same weights: there is one softmax, over scores that sum over all heads",
        [one_wide_head, one_wide_head_without_axis],
    ),
    Misconception(
        "joint_softmax",
        "the weights of a query sum to 1 over all heads together: one softmax ran over the keys of every head",
        joint_softmax,
    ),
    Misconception(
        "softmax_over_heads",
        "for each pair of query and key the weights sum to 1 over the heads: the softmax ran over axis 1",
        _mha(core=_wrong(axis=1)),
    ),
    Misconception(
        "softmax_over_batch",
        "along the first axis the weights sum to 1: the softmax ran over the sentences",
        _mha(core=_wrong(axis=0)),
    ),
    Misconception(
        "heads_refilled",
        "the heads hold numbers of several tokens: q, k and v were poured into (B, h, T, D) without swapping axes",
        [
            _mha(split=_each_view, merge=_refilled_back),
            _mha(split=_each_view),
        ],
    ),
    Misconception(
        "merged_without_swapping",
        "the weights are right, and the output mixes tokens: the averages were poured into (B, Tq, h·D) without "
        "swapping heads and tokens back",
        [_mha(merge=_refilled_back), _mha(merge=lambda x: x.reshape(x.shape[0], -1, x.shape[1] * x.shape[3]))],
    ),
    Misconception(
        "every_hth_column",
        "head n was given columns n, n + h, … of the matrices; its D columns are neighbours",
        [_mha(split=_every_hth, merge=_interleaved_back), _mha(split=_every_hth)],
    ),
    Misconception(
        "merged_alternating",
        "the weights are right, and the heads' numbers alternate before w_o; head 0's D numbers should come first",
        _mha(merge=_interleaved_back),
    ),
    Misconception(
        "h_as_width",
        "there are as many heads as one should be wide, and each is h wide: h counts the heads",
        _mha(split=mha_in_order_of_h),
    ),
    Misconception(
        "heads_on_one_side",
        "heads and tokens trade places: a token attended from head to head, not from token to token",
        _mha(
            split=lambda x, h: heads_last(x, h, x.shape[-1] // h), merge=lambda x: x.flatten(2), fit=lambda mask: mask
        ),
    ),
    Misconception(
        "keys_and_values_from_x_q",
        "the output does not depend on x_kv: keys and values were made from x_q",
        queries_only,
    ),
    Misconception(
        "everything_from_x_kv",
        "the output does not depend on x_q: queries were made from x_kv",
        _mha(sources=(1, 1, 1)),
    ),
    Misconception(
        "sources_swapped",
        "the tokens that ask and those that are read trade places: queries come from x_kv, keys and values from x_q",
        _mha(sources=(1, 0, 0)),
    ),
    Misconception(
        "scores_transposed",
        "the scores are k qᵀ: the row of weights belongs to a token that is read, where it should to one that asks",
        _mha(core=keys_ask),
    ),
    Misconception(
        "keys_from_x_q", "the keys were made from x_q; both keys and values come from x_kv", _mha(sources=(0, 0, 1))
    ),
    Misconception(
        "values_from_x_q",
        "the weights are right, and what is averaged was made from x_q; values come from x_kv",
        _mha(sources=(0, 1, 0)),
    ),
    Misconception(
        "keys_with_w_q", "keys were made with w_q, as if asking and being found were one job", _mha(order=(0, 0, 2, 3))
    ),
    Misconception("values_with_w_k", "the weights are right, and values were made with w_k", _mha(order=(0, 1, 1, 3))),
    Misconception(
        "another_matrix",
        "queries, keys or values were made with a matrix that is not theirs",
        [_mha(order=(*order, 3)) for order in ((0, 0, 0), (2, 1, 0), (1, 2, 0), (2, 0, 1), (0, 2, 2))],
    ),
    Misconception("w_q_and_w_k_swapped", "queries were made with w_k and keys with w_q", _mha(order=(1, 0, 2, 3))),
    Misconception("w_k_and_w_v_swapped", "keys were made with w_v and values with w_k", _mha(order=(0, 2, 1, 3))),
    Misconception(
        "transposed_matrices",
        "the matrices were used transposed, as nn.Linear keeps its own: here x @ w, with w (in, out)",
        [transposed_projections, transposed_w_o, transposed_inputs_only],
    ),
    Misconception("mask_3d_as_it_is", MASK_3D, [_mha(fit=_as_given), _mha(fit=_per_head_3d)]),
    Misconception(
        "mask_2d_unsqueezed",
        "a mask (Tq, Tk) reaches the wrong axis or stops the call: it was given an axis in the middle, where only a "
        "mask (B, Tq, Tk) needs one",
        _mha(fit=_always_unsqueezed),
    ),
    Misconception(
        "mask_2d_as_padding",
        "a mask (Tq, Tk) was read as (B, Tk), a mask of padding; here two axes always are queries and keys",
        _mha(fit=_two_axes_unsqueezed),
    ),
    Misconception("only_4d_masks", "a mask with fewer than four axes changed nothing here", _mha(fit=_only_fours)),
    Misconception(
        "mask_for_the_first_head",
        "the mask hides keys from head 0 alone; the other heads see everything",
        first_head_masked,
    ),
    Misconception(
        "first_mask_for_all_heads",
        "with a mask for each head, all heads use that of head 0",
        first_mask_for_all_heads,
    ),
    Misconception(
        "first_mask_for_all_sentences",
        "with a mask for each sentence, all sentences use that of the first",
        first_mask_for_all_sentences,
    ),
    Misconception(
        "mask_transposed",
        "the mask works the wrong way round: its rows were read as keys and its columns as queries",
        _mha(core=_wrong(mask_is="transposed")),
    ),
    Misconception(
        "mask_ignored",
        "the results are those without a mask",
        lambda x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None: multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h),
    ),
    Misconception(
        "truth_of_a_mask",
        "with a mask the call stops: `if mask` asks whether a tensor is true",
        _mha(core=truth_of_a_mask),
    ),
    Misconception(
        "averages_transposed",
        "the weights are right, and the output is their transpose times v: each value was handed to the wrong side",
        _mha(core=_wrong(average=lambda weights, v, k: weights.mT @ v)),
    ),
    Misconception(
        "residual",
        "x_q was added to the output: that is the layer around attention, not attention",
        _after(lambda out, weights, given: (out + given[0], weights)),
    ),
    Misconception("only_out", "one tensor came back; (out, weights) are two", _after(lambda out, weights, given: out)),
    Misconception(
        "weights_first",
        "the two results are in the other order: out comes first, then weights",
        _after(lambda out, weights, given: (weights, out)),
    ),
    Misconception("cut_off", CUT_OFF, _detached(multi_head_attention)),
    Misconception(
        "partly_cut_off",
        "the results are right, and only part of the gradient comes back to the inputs, as after a .detach() on the "
        "way or a write into one of them",
        [
            _mha(core=average_of_detached_weights),
            average_cut_off,
            matrices_cut_off,
        ],
    ),
    Misconception("numpy_refused", NO_NUMPY, _through_numpy(multi_head_attention)),
    Misconception(
        "nan_gradient",
        "the results are right, and for a query that may attend to nothing the gradients are NaN: −∞ was added to the "
        "scores; masked_fill or where would stop the NaN on its way back",
        _mha(core=infinity_added),
    ),
    Misconception("becomes_float64", BECOMES_FLOAT64, _as(multi_head_attention, torch.float64)),
    Misconception("becomes_float32", BECOMES_FLOAT32, _as(multi_head_attention, torch.float32)),
    Misconception(
        "masked_score_0+mask_after_softmax",
        "masked keys weigh 0, and rows with a masked key sum to less than 1: a masked score of 0 still counts in the "
        "sum of the softmax, for exp(0) = 1, and its weight was taken away after it",
        _mha(core=zero_counted),
    ),
    Misconception("changes_x_q", "x_q is another after the call: something wrote into it", x_changed),
    Misconception(
        "changes_mask", "the mask is another after the call: something wrote into it", mask_negated_for_torch
    ),
    Misconception(
        "fill_not_low_enough",
        "where the allowed scores are near −10000, masked keys have weight or take a share: the number put in their "
        "place is not lower; −∞ is lower than every score",
        [_mha(core=_filled_with(-1e4, mended=mended)) for mended in (True, False, "all")],
    ),
    *_in_heads(),
    *_heads_two_at_once(),
)

# --- from_torch_mha --------------------------------------------------------------------------------------------------


def from_torch_mha(mha):
    w_q, w_k, w_v = mha.in_proj_weight.detach().chunk(3)
    return {"w_q": w_q.T, "w_k": w_k.T, "w_v": w_v.T, "w_o": mha.out_proj.weight.detach().T}


def weights_by_slices(mha):
    c = mha.embed_dim
    packed = mha.in_proj_weight
    return dict(
        w_q=packed[:c].T, w_k=packed[c : 2 * c].T, w_v=packed[2 * c :].T.clone(), w_o=mha.out_proj.weight.T.contiguous()
    )


def weights_by_columns(mha):
    columns = mha.in_proj_weight.t()
    names = ("w_q", "w_k", "w_v")
    return dict(zip(names, columns.tensor_split(3, dim=1), strict=True)) | {"w_o": mha.out_proj.weight.t()}


def weights_as_arrays(mha):
    state = {name: tensor.numpy() for name, tensor in mha.state_dict().items()}
    w_q, w_k, w_v = state["in_proj_weight"].reshape(3, mha.embed_dim, -1).transpose(0, 2, 1)
    return {"w_o": state["out_proj.weight"].T, "w_v": w_v, "w_k": w_k, "w_q": w_q}


def weights_by_probing(mha):
    """What the maps make of the unit vectors is their matrix."""
    eye = torch.eye(mha.embed_dim, dtype=mha.in_proj_weight.dtype)
    parts = (torch.nn.functional.linear(eye, w) for w in mha.in_proj_weight.split(mha.embed_dim))
    return dict(zip(("w_q", "w_k", "w_v", "w_o"), (*parts, mha.out_proj(eye)), strict=True))


def _weights(order=(0, 1, 2), turn=(True, True, True, True), packed=None):
    """The four matrices with some of them in another's place or left as they are kept."""

    def weights(mha):
        c = mha.embed_dim
        full = mha.in_proj_weight.detach()
        parts = (packed or (lambda w, c: [w[:c], w[c : 2 * c], w[2 * c :]]))(full, c)
        found = [*(parts[i] for i in order), mha.out_proj.weight.detach()]
        return {
            name: w.T if turned else w
            for name, w, turned in zip(("w_q", "w_k", "w_v", "w_o"), found, turn, strict=True)
        }

    return weights


def _per_head(w, c):
    """As some other models pack them: for each head its q, k and v."""
    return [w.reshape(-1, 3, c)[:, i] for i in range(3)]


def _given_back(change):
    def weights(mha):
        return change(from_torch_mha(mha), mha)

    return weights


def transposed_in_place(mha):
    with torch.no_grad():
        mha.out_proj.weight.t_()
        w_q, w_k, w_v = (w.T for w in mha.in_proj_weight.chunk(3))
    return {"w_q": w_q, "w_k": w_k, "w_v": w_v, "w_o": mha.out_proj.weight}


def scaled_in_place(mha):
    found = {name: w.clone() for name, w in from_torch_mha(mha).items()}
    mha.in_proj_weight.data.zero_()
    return found


def torch_cases(rng):
    def mha(c, h, dtype=np.float64, **others):
        in_proj, out_proj = rng.normal(size=(3 * c, c)).astype(dtype), rng.normal(size=(c, c)).astype(dtype)
        return (Built("mha", {"in_proj": in_proj, "out_proj": out_proj, "h": h, **others}),)

    yield Case("weights", mha(6, 2))
    yield Case("weights", mha(4, 4, np.float32))
    yield Case("weights", mha(8, 2))
    yield Case("weights", mha(3, 3))
    yield Case("one_head", mha(5, 1))
    yield Case("one_head", mha(1, 1))
    yield Case("module_unchanged", mha(6, 3, watched=True))
    yield Case(KEEPS_DTYPE, mha(4, 2, np.float32))
    yield Case(KEEPS_DTYPE, mha(4, 2))


TORCH_MISCONCEPTIONS = (
    Misconception(
        "not_transposed",
        "all four matrices are as torch keeps them, (out, in); x @ w needs (in, out)",
        _weights(turn=(False,) * 4),
    ),
    Misconception(
        "w_o_not_transposed",
        "w_o is as torch keeps it, (out, in); it needs the same transpose as the other three",
        _weights(turn=(True, True, True, False)),
    ),
    Misconception(
        "only_w_o_transposed",
        "w_q, w_k and w_v are as torch keeps them, (out, in); they need the same transpose as w_o",
        _weights(turn=(False, False, False, True)),
    ),
    Misconception(
        "some_not_transposed",
        "some of w_q, w_k and w_v are as torch keeps them, (out, in); x @ w needs (in, out) of all four",
        [
            _weights(turn=(*turn, True))
            for turn in itertools.product((True, False), repeat=3)
            if any(turn) and not all(turn)
        ],
    ),
    Misconception(
        "order_k_q_v", "w_q and w_k have traded places: torch packs queries first, then keys", _weights(order=(1, 0, 2))
    ),
    Misconception(
        "order_of_the_three",
        "w_q, w_k and w_v hold the right matrices in another order; torch packs queries, keys, values",
        [_weights(order=order) for order in ((0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1))],
    ),
    Misconception(
        "order_k_q_v+not_transposed",
        "w_q and w_k have traded places, and all four matrices are (out, in) where (in, out) is wanted",
        _weights(order=(1, 0, 2), turn=(False,) * 4),
    ),
    Misconception(
        "order_of_the_three+not_transposed",
        "w_q, w_k and w_v stand in another order than torch packs them, and all four matrices are (out, in) where (in, "
        "out) is wanted",
        [_weights(order=order, turn=(False,) * 4) for order in ((0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1))],
    ),
    Misconception(
        "one_matrix_three_times",
        "w_q, w_k and w_v are the same matrix; in_proj_weight holds three, one below the other",
        [_weights(order=(0, 0, 0)), _weights(order=(0, 0, 0), turn=(False,) * 4)],
    ),
    Misconception(
        "packed",
        "w_q, w_k and w_v are not (C, C): all of in_proj_weight, or a piece of another size, stands in the place of a "
        "third of it",
        [
            _weights(packed=lambda w, c: [w] * 3),
            _weights(packed=lambda w, c: [w] * 3, turn=(False,) * 4),
            _weights(packed=lambda w, c: w.tensor_split(3, dim=1)),
            _weights(packed=lambda w, c: w.tensor_split(3, dim=1), turn=(False,) * 4),
        ],
    ),
    Misconception(
        "every_third_row",
        "w_q, w_k and w_v hold every third row of in_proj_weight; torch packs each of them in one piece",
        [_weights(packed=_per_head), _weights(packed=_per_head, turn=(False,) * 4)],
    ),
    Misconception(
        "refilled",
        "rows and columns of the matrices are mixed: in_proj_weight was poured into (C, 3·C) or (C, C, 3), not "
        "transposed",
        [
            _weights(packed=lambda w, c: w.reshape(c, 3 * c).split(c, dim=1), turn=(False, False, False, True)),
            _weights(packed=lambda w, c: w.reshape(c, 3 * c).split(c, dim=1), turn=(True, True, True, True)),
            _weights(packed=lambda w, c: w.reshape(c, c, 3).unbind(-1), turn=(False, False, False, True)),
        ],
    ),
    Misconception(
        "no_out_projection",
        "w_o is not the module's out_proj.weight; multi_head_attention needs it as the last of the four",
        [
            _given_back(lambda w, mha: w | {"w_o": torch.eye(mha.embed_dim, dtype=mha.in_proj_weight.dtype)}),
            _given_back(lambda w, mha: w | {"w_o": w["w_v"]}),
        ],
    ),
    Misconception(
        "w_o_missing",
        "the dict has no w_o: the module's out_proj.weight was left out",
        _given_back(lambda w, mha: {name: w[name] for name in ("w_q", "w_k", "w_v")}),
    ),
    Misconception(
        "a_tuple",
        "the matrices came back without names; a dict with w_q, w_k, w_v and w_o is wanted",
        [_given_back(lambda w, mha: tuple(w.values())), _given_back(lambda w, mha: list(w.values()))],
    ),
    Misconception(
        "with_the_heads",
        "the dict has more than the four matrices",
        [
            _given_back(lambda w, mha: w | {"h": mha.num_heads}),
            _given_back(lambda w, mha: w | {"mask": None}),
        ],
    ),
    Misconception(
        "names_of_torch",
        "the dict is the module's own state_dict; in_proj_weight holds w_q, w_k and w_v, each (out, in)",
        lambda mha: dict(mha.state_dict()),
    ),
    Misconception(
        "scaled_w_q",
        "w_q is divided by the root of a width: the scale belongs to the scores, and multi_head_attention applies it",
        [
            _given_back(lambda w, mha: w | {"w_q": w["w_q"] / math.sqrt(mha.head_dim)}),
            _given_back(lambda w, mha: w | {"w_q": w["w_q"] / math.sqrt(mha.embed_dim)}),
        ],
    ),
    Misconception(
        "split_into_heads",
        "the matrices have an axis for the heads; multi_head_attention wants them (C, C) and splits by itself",
        [
            _given_back(lambda w, mha: w | {n: w[n].unflatten(1, (mha.num_heads, -1)) for n in ("w_q", "w_k", "w_v")}),
            _given_back(
                lambda w, mha: (
                    w | {n: w[n].unflatten(1, (mha.num_heads, -1)).transpose(0, 1) for n in ("w_q", "w_k", "w_v")}
                )
            ),
        ],
    ),
    Misconception(
        "changes_the_module",
        "the module has other weights after the call: something wrote into them",
        [transposed_in_place, scaled_in_place],
    ),
)

# --- the table -------------------------------------------------------------------------------------------------------

REFERENCES = (
    Reference(
        id="batched_attention",
        reference=batched_attention,
        accepted=(attention_by_hand, attention_nan_to_num, attention_of_torch, attention_by_loops),
        misconceptions=ATTENTION_MISCONCEPTIONS,
        cases=attention_cases,
    ),
    Reference(
        id="split_heads",
        reference=split_heads,
        accepted=(split_by_chunks, split_by_slices, split_by_permute, split_by_einsum),
        misconceptions=SPLIT_MISCONCEPTIONS,
        cases=split_cases,
    ),
    Reference(
        id="merge_heads",
        reference=merge_heads,
        accepted=(merge_by_concatenation, merge_by_loops, merge_by_permute, merge_by_flatten, merge_into),
        misconceptions=MERGE_MISCONCEPTIONS,
        cases=merge_cases,
    ),
    Reference(
        id="multi_head_attention",
        reference=multi_head_attention,
        accepted=(heads_by_einsum, heads_by_loop, heads_in_the_batch),
        misconceptions=MHA_MISCONCEPTIONS,
        cases=mha_cases,
    ),
    Reference(
        id="from_torch_mha",
        reference=from_torch_mha,
        accepted=(weights_by_slices, weights_by_columns, weights_as_arrays, weights_by_probing),
        misconceptions=TORCH_MISCONCEPTIONS,
        cases=torch_cases,
    ),
    Reference(
        id="parameters_vs_heads",
        reference=1,
        accepted=(1.0, np.int64(1)),
        misconceptions=(
            Misconception(
                "times_h",
                "8 times as many would be eight heads as wide as the one; here each is an eighth of that width",
                8,
            ),
            Misconception(
                "divided_by_h",
                "each of the eight heads has an eighth of the columns, and there are eight of them",
                [1 / 8, 0.125],
            ),
            Misconception("times_h_squared", "neither the number of heads nor their width enters twice", [64, 1 / 64]),
            Misconception(
                "w_o_grows",
                "w_o has one row for each of the h·D numbers of all heads, and h·D stays C: it does not grow either",
                [(3 + 8) / 4, 2],
            ),
        ),
        cases=lambda rng: [Case("prediction")],
    ),
)
