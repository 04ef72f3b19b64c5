"""Notebook 13, the hidden half: references, accepted and wrong answers, cases.

Long, about 2300 lines: five functions share the module, each can go wrong in the attention itself, in its heads, in its
mask and in which of two sequences it reads, and a layer around it adds as many ways again.
"""

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Case, Misconception, Reference
from autograder.references.scales import by_d, by_sqrt_d, by_sqrt_tk, no_scale, times_sqrt_d

INF = math.inf
CUT_OFF = (
    "the results are right and cut off from the inputs: no gradient flows back, as after .detach(), .item() or a copy "
    "through NumPy"
)
PARTLY_CUT_OFF = (
    "the results are right, and only part of the gradient comes back to the inputs, as after a .detach() on the way"
)
NO_NUMPY = "the call stops where a tensor requires gradients: NumPy cannot record them, torch's own operations can"
BECOMES_FLOAT32 = "float64 inputs gave float32 results"
BECOMES_FLOAT64 = "float32 inputs gave float64 results"


# --- parts of an attention, right and wrong --------------------------------------------------------------------------


def attend(q, k, v, mask=None):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is None:
        weights = torch.softmax(scores, dim=-1)
    else:
        weights = torch.softmax(scores.masked_fill(~mask, -INF), dim=-1).masked_fill(~mask, 0.0)
    return weights @ v, weights


def split_heads(x, h):
    return x.unflatten(-1, (h, -1)).transpose(1, 2)


def merge_heads(x):
    return x.transpose(1, 2).flatten(2)


def for_keys(src_mask):
    return None if src_mask is None else src_mask[:, None, None, :]


def _products(q, k):
    return q @ k.mT


def _average(weights, v, k):
    return weights @ v


def _wrong(scale=by_sqrt_d, axis=-1, mask_is=None, empty="zero", shift="row", pairs=_products, average=_average):
    """An attention with some of its parts replaced; without arguments it is a right one.

    scale:   `(q, k, v) -> factor` of the scores.
    axis:    of the softmax.
    mask_is: how the mask is used: None is rightly; inverted, after, zero, added.
    empty:   what a query without keys gets: zero, nan, even shares.
    shift:   what is subtracted before exp: row or none.
    pairs:   `(q, k) -> scores`; average: `(weights, v, k) -> out`.
    """

    def attention(q, k, v, mask=None):
        scores = pairs(q, k) * scale(q, k, v)
        if mask is not None and mask_is == "inverted":
            mask = ~mask
        if mask is not None and mask_is in (None, "inverted"):
            scores = torch.where(mask, scores, -1e9 if empty == "even" else -INF)
        elif mask is not None and mask_is in ("zero", "added"):
            scores = scores * mask if mask_is == "zero" else scores + mask
        if shift == "none":
            weights = torch.exp(scores)
            weights = weights / weights.sum(axis, keepdim=True)
        else:
            weights = torch.softmax(scores, axis)
        if mask is not None and mask_is == "after":
            weights = weights * mask
        elif mask is not None and empty == "zero" and mask_is in (None, "inverted"):
            weights = weights.masked_fill(~mask, 0.0)
        return average(weights, v, k), weights

    return attention


def clipped(q, k, v, mask=None):
    scores = (_products(q, k) * by_sqrt_d(q, k, v)).clamp(-100, 100)
    return _wrong(pairs=lambda q, k: scores, scale=no_scale)(q, k, v, mask)


def _filled_with(number):
    def attention(q, k, v, mask=None):
        scores = _products(q, k) * by_sqrt_d(q, k, v)
        if mask is not None:
            scores = scores.masked_fill(~mask, number)
        weights = torch.softmax(scores, -1)
        if mask is not None:
            weights = weights * mask.any(-1, keepdim=True)
        return weights @ v, weights

    return attention


def minus_billion_added(q, k, v, mask=None):
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = scores + torch.where(mask, 0.0, -1e9).to(scores.dtype)
    weights = torch.softmax(scores, -1)
    return weights @ v, weights


def no_maximum_and_epsilon(q, k, v, mask=None):
    e = torch.exp(_products(q, k) * by_sqrt_d(q, k, v)) * (1 if mask is None else mask)
    weights = e / (e.sum(-1, keepdim=True) + 1e-9)
    return weights @ v, weights


def _renormalised(epsilon):
    """The mask after the softmax, and what is left divided by its sum."""

    def attention(q, k, v, mask=None):
        weights = torch.softmax(_products(q, k) * by_sqrt_d(q, k, v), -1)
        if mask is not None:
            weights = weights * mask
            total = weights.sum(-1, keepdim=True)
            weights = weights / (total + epsilon if epsilon else total.masked_fill(total == 0, 1.0))
        return weights @ v, weights

    return attention


def infinity_added(q, k, v, mask=None):
    """Right numbers, but 0/0 stays on the way back: only masked_fill and where stop a NaN there."""
    scores = _products(q, k) * by_sqrt_d(q, k, v)
    if mask is not None:
        scores = scores + torch.zeros(mask.shape, dtype=scores.dtype).masked_fill(~mask, -INF)
    weights = torch.softmax(scores, -1).nan_to_num()
    return weights @ v, weights


def nan_only_in_weights(q, k, v, mask=None):
    out, weights = _wrong(empty="nan")(q, k, v, mask)
    return out.nan_to_num(), weights


def average_of_detached_weights(q, k, v, mask=None):
    _, weights = attend(q, k, v, mask)
    return weights.detach() @ v, weights


def of_torch(q, k, v, mask=None):
    """PyTorch's own, for the output; the weights by hand."""
    everywhere = torch.ones(1, 1, dtype=torch.bool) if mask is None else mask
    scores = (q @ k.swapaxes(-1, -2)).div(math.sqrt(q.shape[-1]))
    weights = scores.masked_fill(~everywhere, -1e30).softmax(-1) * everywhere
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask), weights


def refilled(x, h):
    return x.reshape(x.shape[0], h, x.shape[1], -1)


def every_hth(x, h):
    return x.unflatten(-1, (-1, h)).permute(0, 3, 1, 2)


def h_as_width(x, h):
    return split_heads(x, x.shape[-1] // h)


def refilled_back(x):
    return x.reshape(x.shape[0], x.shape[2], -1)


def interleaved_back(x):
    return x.permute(0, 2, 3, 1).flatten(2)


def _as(answer, dtype):
    """An answer whose results are cast."""

    def cast(*inputs, **keywords):
        found = answer(*inputs, **keywords)
        return tuple(part.to(dtype) for part in found) if isinstance(found, tuple) else found.to(dtype)

    return cast


def _detached(answer):
    def unrecorded(*inputs, **keywords):
        with torch.no_grad():
            return answer(*inputs, **keywords)

    return unrecorded


def _through_numpy(answer):
    """An answer that asks for NumPy arrays, which torch refuses where gradients are recorded."""

    def converted(first, *inputs, **keywords):
        first.numpy()
        return answer(first, *inputs, **keywords)

    return converted


def _casts(answer):
    return (
        Misconception("cut_off", CUT_OFF, _detached(answer)),
        Misconception("numpy_refused", NO_NUMPY, _through_numpy(answer)),
        Misconception("becomes_float64", BECOMES_FLOAT64, _as(answer, torch.float64)),
        Misconception("becomes_float32", BECOMES_FLOAT32, _as(answer, torch.float32)),
    )


# Mistakes in the scores or the softmax. Each: sentence, and what is replaced.
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
    "divided_by_sqrt_ts": (
        "the scores are divided by √Ts, from the number of source words; the product sums over the D numbers of a key",
        {"scale": by_sqrt_tk},
    ),
    "softmax_over_heads": (
        "for each pair of words the weights sum to 1 over the heads: the softmax ran over axis 1",
        {"axis": 1},
    ),
    "softmax_over_batch": (
        "along the first axis the weights sum to 1: the softmax ran over the sentences",
        {"axis": 0},
    ),
    "no_max_subtraction": (
        "scores of ±10000 give NaN: exp overflowed or every exponential was 0, since no row had its maximum subtracted",
        {"shift": "none"},
    ),
    "values_from_k": (
        "the weights are right, and the average is taken of the keys, not of the values",
        {"average": lambda weights, v, k: weights @ k},
    ),
}
BY_WIDTH = "the scores are divided by √(h·D), from the whole width; the product of a head sums D numbers"
# Mistakes in the mask.
MASKS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "inverted_mask": (
        "padding is read and words are not: True was read as hidden, and here it means a word",
        [{"mask_is": "inverted", "empty": "nan"}, {"mask_is": "inverted"}, {"mask_is": "inverted", "empty": "even"}],
    ),
    "mask_after_softmax": (
        "padding weighs 0, and rows of a padded sentence sum to less than 1: the mask came after the softmax, and what "
        "it took away was not shared out again",
        [{"mask_is": "after"}],
    ),
    "masked_score_0": (
        "padding weighs as much as a word with score 0, for exp(0) = 1; only exp(−∞) is 0",
        [{"mask_is": "zero"}],
    ),
    "added_mask": (
        "padding keeps its scores and words have 1 more: True and False were added as 1 and 0",
        [{"mask_is": "added"}],
    ),
    "nan_on_empty_row": (
        "a sentence without a source word gives NaN: its exponentials are all 0, and 0 was divided by 0",
        [{"empty": "nan"}],
    ),
    "even_on_empty_row": (
        "a sentence without a source word takes an even share of all padding: a large negative number in every place "
        "of a row is the same as 0 in every place",
        [{"empty": "even"}],
    ),
}
AXES_OF_THE_MASK = (
    "the mask (B, Ts) lines up with other axes or stops the call: it needs axes of length 1 for heads and queries, "
    "(B, 1, 1, Ts), otherwise its sentences fall on something else"
)
MASK_CHANGED = "the mask is another after the call: something wrote into it"


def _as_it_is(mask):
    return mask


def _one_axis(mask):
    return None if mask is None else mask[:, None]


def _axes_in_front(mask):
    return None if mask is None else mask[None, None]


def _for_queries(mask):
    return None if mask is None else mask[:, None, :, None]


def _first_sentence(mask):
    return None if mask is None else mask[:1, None, None]


def _any_sentence(mask):
    return None if mask is None else mask.any(0)


def _ignored(mask):
    return None


def _of_truth(mask):
    return mask[:, None, None] if mask else None


def _none_negated(mask):
    return ~(~mask)[:, None, None]


def _in_the_attention(build, told_otherwise=()):
    """Mistakes of one attention, in an answer that `build(core=…, fit=…)` makes; some have a sentence of their own."""
    for name, (sentence, parts) in SCORES.items():
        if name in told_otherwise:
            continue
        yield Misconception(name, sentence, build(core=_wrong(**parts)))
    for name, (sentence, variants) in MASKS.items():
        yield Misconception(name, sentence, [build(core=_wrong(**parts)) for parts in variants])
    for name in ("inverted_mask", "mask_after_softmax", "nan_on_empty_row", "even_on_empty_row"):
        both = build(core=_wrong(scale=no_scale, **MASKS[name][1][0]))
        yield Misconception(f"no_scale+{name}", f"{SCORES['no_scale'][0]}; and {MASKS[name][0]}", both)
    yield Misconception(
        "clipped_scores",
        "scores far from 0 are cut off at a limit, so keys beyond it cannot be told apart",
        build(clipped),
    )
    yield Misconception(
        "no_max_subtraction+epsilon",
        "scores of ±10000 give weights of 0 or NaN: no row had its maximum subtracted, and a small constant stands "
        "beside the sum that the weights are divided by",
        build(no_maximum_and_epsilon),
    )
    yield Misconception(
        "renormalised",
        "right but where padding has by far the largest score: the softmax ran over padding too, and what it left to "
        "the words is too small to be divided by",
        [build(_renormalised(epsilon)) for epsilon in (0.0, 1e-12, 1e-10, 1e-9, 1e-8)],
    )
    yield Misconception(
        "fill_not_low_enough",
        "where the scores of words are near −10000, padding has weight: the number put in its place is not lower; −∞ "
        "is lower than every score",
        [build(_filled_with(-1e4)), build(_filled_with(-1e3))],
    )
    yield Misconception(
        "unmasked_on_empty_row",
        "a sentence without a source word is read as without a mask: one large number was added to all its scores",
        build(minus_billion_added),
    )
    yield Misconception(
        "nan_gradient",
        "the results are right, and for a sentence without a source word the gradients are NaN: −∞ was added to the "
        "scores; masked_fill or where would stop the NaN on its way back",
        build(infinity_added),
    )
    yield Misconception(
        "mask_without_axes", AXES_OF_THE_MASK, [build(fit=fit) for fit in (_as_it_is, _one_axis, _axes_in_front)]
    )
    yield Misconception("mask_ignored", "the results are those without a mask", build(fit=_ignored))
    yield Misconception(
        "first_mask_for_all",
        "padding is hidden in the places of another sentence: one row of the mask serves for all",
        [build(fit=_first_sentence), build(fit=_any_sentence)],
    )
    yield Misconception(
        "truth_of_a_mask",
        "with a mask the call stops: `if mask` asks whether a tensor is true; `mask is not None` is meant",
        build(fit=_of_truth),
    )
    yield Misconception(
        "none_is_negated",
        "without a mask the call stops: None has no axes and no opposite, so it needs a case of its own",
        [build(fit=_none_negated), build(fit=lambda mask: mask[:, None, None])],
    )


def random_mask(rng, *shape):
    """A mask with at least one True and one False along the last axis."""
    allowed = rng.random(shape) < 0.55
    order = np.argsort(rng.random(shape), axis=-1)
    np.put_along_axis(allowed, order[..., :1], True, axis=-1)
    np.put_along_axis(allowed, order[..., 1:2], False, axis=-1)
    return allowed


def words_first(lengths, n):
    return np.arange(n) < np.array(lengths)[:, None]


# --- who_is_query ----------------------------------------------------------------------------------------------------

SIDES = {"s": "source", "src": "source", "enc": "source", "encoder": "source", "the source": "source"}
SIDES |= {"t": "target", "tgt": "target", "dec": "target", "decoder": "target", "the target": "target"}
WHO = (("source", "source"), ("target", "target"), ("target", "source"))


def as_pairs(case, answer):
    """Three pairs of the two words, in tuples, lists or one flat row of six."""
    items = answer.tolist() if isinstance(answer, np.ndarray) else answer
    if isinstance(items, (tuple, list)) and len(items) == 6 and all(isinstance(item, str) for item in items):
        items = [items[0:2], items[2:4], items[4:6]]
    if not isinstance(items, (tuple, list)) or len(items) != 3:
        raise ValueError("three pairs are wanted")
    return tuple(_pair(item) for item in items)


def _pair(item):
    item = item.tolist() if isinstance(item, np.ndarray) else item
    if not isinstance(item, (tuple, list)) or len(item) != 2 or not all(isinstance(side, str) for side in item):
        raise ValueError("a pair of words is wanted")
    sides = (side.strip().lower() for side in item)
    return tuple(SIDES.get(side, side) for side in sides)


def _with(encoder=WHO[0], decoder=WHO[1], cross=WHO[2]):
    return (encoder, decoder, cross)


S, T = "source", "target"
WHO_MISCONCEPTIONS = (
    Misconception(
        "cross_swapped",
        "in cross-attention the roles are the other way round: one output is wanted for each target word, there is one "
        "output for each query, and where the queries come from stands first",
        _with(cross=(S, T)),
    ),
    Misconception(
        "cross_all_from_source",
        "with queries from the source as well, the third would be the encoder's self-attention again: nothing of the "
        "target would ask",
        _with(cross=(S, S)),
    ),
    Misconception(
        "cross_all_from_target",
        "with keys and values from the target as well, the third would be the decoder's self-attention again: nothing "
        "of the source would be read",
        _with(cross=(T, T)),
    ),
    Misconception(
        "decoder_reads_source",
        "the decoder's self-attention reads the target: self means that queries, keys and values come from one and the "
        "same sequence",
        [_with(decoder=(T, S)), _with(decoder=(S, T)), _with(decoder=(S, S))],
    ),
    Misconception(
        "encoder_sees_target",
        "the encoder never sees the target: when it runs, not a word of it is written",
        [_with(encoder=(T, T)), _with(encoder=(T, S)), _with(encoder=(S, T))],
    ),
)


# --- cross_attention -------------------------------------------------------------------------------------------------


def cross_attention(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    q, k, v = split_heads(dec @ w_q, h), split_heads(enc @ w_k, h), split_heads(enc @ w_v, h)
    out, weights = attend(q, k, v, for_keys(src_mask))
    return merge_heads(out) @ w_o, weights


def cross_by_einsum(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    q, k, v = (
        torch.einsum("btc,chd->bhtd", x, w.unflatten(1, (h, -1))) for x, w in ((dec, w_q), (enc, w_k), (enc, w_v))
    )
    scores = torch.einsum("bhid,bhjd->bhij", q, k) * q.shape[-1] ** -0.5
    if src_mask is not None:
        scores = torch.where(src_mask[:, None, None], scores, -torch.inf)
    top = scores.amax(dim=-1, keepdim=True)
    e = torch.exp(scores - torch.where(top.isinf(), 0.0, top))
    total = e.sum(dim=-1, keepdim=True)
    weights = e / torch.where(total == 0, 1.0, total)
    return torch.einsum("bhij,bhjd,hdc->bic", weights, v, w_o.unflatten(0, (h, -1))), weights


def cross_by_loops(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    """Each sentence by itself, its padding cut off; each head adds what its rows of w_o make of its average."""
    outs, rows = [], []
    for b in range(len(dec)):
        words = torch.arange(enc.shape[1]) if src_mask is None else src_mask[b].nonzero()[:, 0]
        out, heads = torch.zeros_like(dec[b]), []
        for own in torch.arange(w_q.shape[1]).chunk(h):
            weights = dec.new_zeros(dec.shape[1], enc.shape[1])
            if len(words):
                k, v = enc[b, words] @ w_k[:, own], enc[b, words] @ w_v[:, own]
                found = torch.softmax(dec[b] @ w_q[:, own] @ k.T / len(own) ** 0.5, dim=1)
                out = out + found @ v @ w_o[own]
                weights = weights.index_copy(1, words, found)
            heads.append(weights)
        outs.append(out)
        rows.append(torch.stack(heads))
    return torch.stack(outs), torch.stack(rows)


def cross_by_torch(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    q, k, v = (split_heads(x, h) for x in (dec @ w_q, enc @ w_k, enc @ w_v))
    out, weights = of_torch(q, k, v, for_keys(src_mask))
    return [merge_heads(out) @ w_o, weights]


def cross_with_heads_in_the_batch(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    b = len(dec)
    q, k, v = (split_heads(x, h).flatten(0, 1) for x in (dec @ w_q, enc @ w_k, enc @ w_v))
    mask = None if src_mask is None else src_mask.repeat_interleave(h, dim=0)[:, None, :]
    out, weights = attend(q, k, v, mask)
    return merge_heads(out.unflatten(0, (b, h))) @ w_o, weights.unflatten(0, (b, h))


def _cross(core=attend, split=split_heads, merge=merge_heads, fit=for_keys, sources=(0, 1, 1), order=(0, 1, 2, 3)):
    """A cross-attention with some of its parts replaced; without arguments it is a right one.

    sources: which of dec, enc the queries, keys and values come from; order: which matrix serves as w_q, w_k, w_v, w_o.
    """

    def answer(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
        given, matrices = (dec, enc), (w_q, w_k, w_v, w_o)
        q, k, v = (split(given[sources[i]] @ matrices[order[i]], h) for i in range(3))
        out, weights = core(q, k, v, fit(src_mask))
        return merge(out) @ matrices[order[3]], weights

    return answer


def _cross_after(change):
    """A right answer whose results are changed at the end: `change(out, weights, dec)`."""

    def answer(dec, *others, **keywords):
        return change(*cross_attention(dec, *others, **keywords), dec)

    return answer


def _whole_width(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    core = _wrong(scale=lambda q, k, v: 1 / math.sqrt(w_q.shape[1]))
    return _cross(core)(dec, enc, w_q, w_k, w_v, w_o, h, src_mask)


def _width_of_dec(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    core = _wrong(scale=lambda q, k, v: 1 / math.sqrt(dec.shape[2]))
    return _cross(core)(dec, enc, w_q, w_k, w_v, w_o, h, src_mask)


def scaled_by_c_over_h(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    core = _wrong(scale=lambda q, k, v: 1 / math.sqrt(dec.shape[2] / h))
    return _cross(core)(dec, enc, w_q, w_k, w_v, w_o, h, src_mask)


def _into_width(c):
    """Splits into heads as if all of them together had the width of the model."""
    return lambda x, h: x.reshape(*x.shape[:2], h, c // h).transpose(1, 2)


def width_of_c(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    return _cross(split=_into_width(dec.shape[2]))(dec, enc, w_q, w_k, w_v, w_o, h, src_mask)


def _causal(shift, with_mask=True):
    """Cross-attention that also hides later source words; `shift(Tt, Ts)` places the diagonal."""

    def answer(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
        tt, ts = dec.shape[1], enc.shape[1]
        order = torch.ones(tt, ts, dtype=torch.bool).tril(shift(tt, ts))
        seen = order if src_mask is None or not with_mask else order & for_keys(src_mask)
        return _cross(fit=lambda mask: seen)(dec, enc, w_q, w_k, w_v, w_o, h, src_mask)

    return answer


def padding_zeroed(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    if src_mask is not None:
        enc = enc * src_mask[:, :, None]
    return cross_attention(dec, enc, w_q, w_k, w_v, w_o, h)


def _values_bare(dec, enc, w_q, w_k, w_o, h, src_mask):
    q, k, v = split_heads(dec @ w_q, h), split_heads(enc @ w_k, h), split_heads(enc, h)
    out, weights = attend(q, k, v, for_keys(src_mask))
    return merge_heads(out) @ w_o, weights


def without_w_o(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    q, k, v = split_heads(dec @ w_q, h), split_heads(enc @ w_k, h), split_heads(enc @ w_v, h)
    out, weights = attend(q, k, v, for_keys(src_mask))
    return merge_heads(out), weights


def mean_of_heads(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    q, k, v = split_heads(dec @ w_q, h), split_heads(enc @ w_k, h), split_heads(enc @ w_v, h)
    out, weights = attend(q, k, v, for_keys(src_mask))
    return out.mean(1).repeat(1, 1, h) @ w_o, weights


def one_wide_head(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    mask = None if src_mask is None else src_mask[:, None]
    out, weights = attend(dec @ w_q, enc @ w_k, enc @ w_v, mask)
    return out @ w_o, weights[:, None].expand(-1, h, -1, -1)


def target_among_keys(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    both = torch.cat([enc, dec], 1)
    if src_mask is not None:
        src_mask = functional.pad(src_mask, (0, dec.shape[1]), value=True)
    return cross_attention(dec, both, w_q, w_k, w_v, w_o, h, src_mask)


def transposed_matrices(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    return cross_attention(dec, enc, w_q.T, w_k.T, w_v.T, w_o.T, h, src_mask)


def _first_changed(answer):
    def changed(first, *others, **keywords):
        found = answer(first.clone(), *others, **keywords)
        with torch.no_grad():
            first *= 2
        return found

    return changed


def _mask_changed(answer):
    """An answer that negates the mask in place, as for PyTorch's convention, and works with the negation."""

    def changed(*inputs, **keywords):
        mask = keywords.get("src_mask")
        if mask is not None:
            keywords["src_mask"] = mask.clone()
            mask.logical_not_()
        return answer(*inputs, **keywords)

    return changed


def enc_zeroed_in_place(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    found = cross_attention(dec, enc, w_q, w_k, w_v, w_o, h, src_mask)
    if src_mask is not None:
        enc[~src_mask] = 0
    return found


def _matrices(rng, c, h, d, dtype=np.float64):
    ins = [rng.normal(size=(c, h * d)) / math.sqrt(c) for _ in range(3)]
    return [w.astype(dtype) for w in (*ins, rng.normal(size=(h * d, c)) / math.sqrt(h * d))]


def _cross_inputs(rng, sizes, dtype=np.float64):
    b, tt, ts, c, h, d = sizes
    dec, enc = (rng.normal(size=(b, t, c)).astype(dtype) for t in (tt, ts))
    return (dec, enc, *_matrices(rng, c, h, d, dtype), h)


def cross_cases(rng):
    def given(*sizes, mask=None, dtype=np.float64):
        return _cross_inputs(rng, sizes, dtype), {} if mask is None else {"src_mask": mask}

    first = "weights_and_output"
    yield Case(first, *given(2, 4, 5, 6, 3, 2))
    yield Case(first, *given(3, 5, 2, 8, 2, 4, dtype=np.float32))
    yield Case(first, *given(3, 3, 3, 9, 3, 3))  # nothing can be told by its size
    yield Case(first, *given(1, 1, 3, 4, 1, 4))
    yield Case(
        first,
        *given(2, 4, 3, 4, 4, 1),
    )
    yield Case("padding", *given(2, 4, 5, 6, 3, 2, mask=words_first((5, 2), 5)))
    yield Case("padding", *given(3, 2, 4, 8, 2, 4, mask=random_mask(rng, 3, 4), dtype=np.float32))
    yield Case("padding", *given(4, 4, 4, 8, 4, 2, mask=words_first((1, 4, 2, 3), 4)))
    yield Case("padding", *given(3, 4, 6, 6, 3, 2, mask=random_mask(rng, 3, 6)))
    inputs, _ = given(2, 2, 3, 4, 2, 2)
    yield Case("padding", (*inputs, words_first((1, 3), 3)))
    yield Case("free_width", *given(2, 4, 5, 6, 2, 5))
    yield Case("free_width", *given(2, 3, 4, 12, 3, 2, mask=words_first((2, 4), 4)))
    yield Case("no_source", *given(2, 4, 5, 12, 3, 4, mask=words_first((0, 3), 5)))
    yield Case("no_source", *given(3, 3, 3, 8, 2, 4, mask=words_first((3, 0, 0), 3), dtype=np.float32))
    yield Case("large_scores", *_large(rng))
    yield Case("large_scores", *_large(rng, padding_leads=True))
    yield Case(DIFFERENTIABLE, *given(2, 3, 4, 6, 3, 2))
    yield Case(DIFFERENTIABLE, *given(3, 2, 4, 4, 2, 3, mask=words_first((2, 0, 4), 4)))
    yield Case(KEEPS_DTYPE, *given(2, 4, 5, 6, 3, 2, mask=words_first((5, 2), 5), dtype=np.float32))
    yield Case(KEEPS_DTYPE, *given(2, 3, 4, 6, 3, 2))


def _large(rng, padding_leads=False):
    """The scores of words are near −10000, those of padding as well, or near 10000."""
    dec, enc, w_q, w_k, *others = _cross_inputs(rng, (4, 3, 5, 6, 2, 3))
    mask = random_mask(rng, 4, 5)
    dec[..., 0], enc[..., 0] = 1, np.where(mask, 1, -1 if padding_leads else 1)
    w_q[:, ::3] = w_k[:, ::3] = 0  # this one number is all that the first number of every head comes from
    w_q[0, ::3], w_k[0, ::3] = 9.995e3 * math.sqrt(3), -1
    return (dec, enc, w_q, w_k, *others), {"src_mask": mask}


CROSS_MISCONCEPTIONS = (
    Misconception(
        "sources_swapped",
        "there is one output for each source word: the queries come from enc, keys and values from dec, and it is the "
        "other way round",
        _cross(sources=(1, 0, 0), fit=_ignored),
    ),
    Misconception(
        "sources_swapped+mask",
        "the queries come from enc, keys and values from dec, and the mask of the source is laid on the target; the "
        "target asks, the source is read",
        _cross(sources=(1, 0, 0)),
    ),
    Misconception(
        "queries_from_enc",
        "the results do not depend on dec: queries were made from enc, so the source reads itself",
        _cross(sources=(1, 1, 1)),
    ),
    Misconception(
        "keys_and_values_from_dec",
        "the results do not depend on enc: keys and values were made from dec, so the target reads itself",
        [_cross(sources=(0, 0, 0)), _cross(sources=(0, 0, 0), fit=_ignored)],
    ),
    Misconception(
        "keys_from_dec", "the keys were made from dec; keys and values both come from enc", _cross(sources=(0, 0, 1))
    ),
    Misconception(
        "without_w_v",
        "the values are enc itself, cut into heads: they are to be projected by w_v",
        lambda dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None: _values_bare(dec, enc, w_q, w_k, w_o, h, src_mask),
    ),
    Misconception(
        "even_weights",
        "every word of the source has the same share: the query plays no part",
        lambda dec, *rest, **named: cross_attention(0 * dec, *rest, **named),
    ),
    Misconception(
        "values_from_dec",
        "the values were made from dec; keys and values both come from enc",
        _cross(sources=(0, 1, 0)),
    ),
    Misconception(
        "masks_queries",
        "the mask lies along the target: rows of queries were hidden, and every other row still reads the padding of "
        "the source, or the call stops because the lengths differ",
        _cross(fit=_for_queries),
    ),
    Misconception(
        "causal",
        "a target word sees only the source words up to some place: a causal mask is at work, and the source is known "
        "as a whole before the first word is written",
        [
            _causal(lambda tt, ts: 0),
            _causal(lambda tt, ts: ts - tt),
            _causal(lambda tt, ts: 0, with_mask=False),
            _causal(lambda tt, ts: ts - tt, with_mask=False),
        ],
    ),
    Misconception(
        "weights_transposed",
        "the output is right, and the weights are (B, h, Ts, Tt): a row belongs to a target word, a column to a source "
        "word",
        _cross_after(lambda out, weights, dec: (out, weights.mT)),
    ),
    Misconception(
        "weights_averaged",
        "the output is right, and the weights are a mean over the heads, (B, Tt, Ts); every head's are wanted",
        [
            _cross_after(lambda out, weights, dec: (out, weights.mean(1))),
            _cross_after(lambda out, weights, dec: (out, weights.mean(1, keepdim=True))),
        ],
    ),
    Misconception(
        "softmax_over_target",
        "every column sums to 1: the softmax ran over the target words, and each target word shares 1 among the source",
        [_cross(_wrong(axis=-2)), _cross(_wrong(axis=-2, empty="nan"))],
    ),
    Misconception(
        "padding_zeroed",
        "padding keeps a weight: its vector was set to 0, its score is then 0, and exp(0) = 1",
        padding_zeroed,
    ),
    Misconception("divided_by_sqrt_c", BY_WIDTH, [_whole_width, _width_of_dec]),
    Misconception(
        "scaled_by_c_over_h",
        "right where h·D is C, and elsewhere the scores are divided by √(C / h): the width of a head is that of its "
        "columns, w_q.shape[1] // h",
        scaled_by_c_over_h,
    ),
    Misconception(
        "width_of_c",
        "right where h·D is C, and elsewhere the call stops: the width of a head was taken from dec, not from w_q",
        width_of_c,
    ),
    Misconception("without_w_o", "the heads' averages lie side by side, and were never multiplied by w_o", without_w_o),
    Misconception(
        "mean_of_heads",
        "the output is made of the mean of the heads' averages; they belong side by side, before w_o",
        mean_of_heads,
    ),
    Misconception(
        "one_softmax_for_all_heads",
        "all heads have the same weights: there is one softmax, over scores that sum over all heads",
        one_wide_head,
    ),
    Misconception(
        "heads_refilled",
        "the heads hold numbers of several words: q, k and v were poured into (B, h, T, D) without swapping axes",
        [_cross(split=refilled, merge=refilled_back), _cross(split=refilled)],
    ),
    Misconception(
        "merged_without_swapping",
        "the weights are right, and the output mixes words: the averages were poured into (B, Tt, h·D) without "
        "swapping heads and words back",
        [_cross(merge=refilled_back), _cross(merge=lambda x: x.reshape(x.shape[0], -1, x.shape[1] * x.shape[3]))],
    ),
    Misconception(
        "every_hth_column",
        "head n was given columns n, n + h, … of the matrices; its D columns are neighbours",
        [_cross(split=every_hth, merge=interleaved_back), _cross(split=every_hth)],
    ),
    Misconception(
        "h_as_width",
        "there are as many heads as one should be wide, and each is h wide: h counts the heads",
        _cross(split=h_as_width),
    ),
    Misconception(
        "keys_with_w_q",
        "keys were made with w_q, as if asking and being found were one job",
        _cross(order=(0, 0, 2, 3)),
    ),
    Misconception(
        "values_with_w_k",
        "the weights are right, and values were made with w_k: they are the keys",
        _cross(order=(0, 1, 1, 3)),
    ),
    Misconception("w_q_and_w_k_swapped", "queries were made with w_k and keys with w_q", _cross(order=(1, 0, 2, 3))),
    Misconception("w_k_and_w_v_swapped", "keys were made with w_v and values with w_k", _cross(order=(0, 2, 1, 3))),
    Misconception(
        "transposed_matrices",
        "matrices were used transposed, as nn.Linear keeps its own: here x @ w, with w (in, out)",
        [
            transposed_matrices,
            lambda dec, enc, w_q, w_k, w_v, w_o, *rest, **named: cross_attention(
                dec, enc, w_q, w_k, w_v, w_o.T, *rest, **named
            ),
        ],
    ),
    Misconception(
        "target_among_keys",
        "the target's words are among what is read: there is a column for each of them behind those of the source",
        target_among_keys,
    ),
    Misconception(
        "average_transposed",
        "the weights are right, and the output is their transpose times v: each value was handed to the wrong side",
        _cross(_wrong(average=lambda weights, v, k: weights.mT @ v)),
    ),
    Misconception(
        "residual",
        "dec was added to the output: that is the layer around attention, not attention",
        _cross_after(lambda out, weights, dec: (out + dec, weights)),
    ),
    Misconception(
        "only_out", "one tensor came back; (out, weights) are two", _cross_after(lambda out, weights, dec: out)
    ),
    Misconception(
        "weights_first",
        "the two results are in the other order: out comes first, then weights",
        _cross_after(lambda out, weights, dec: (weights, out)),
    ),
    Misconception(
        "nan_in_the_weights",
        "for a sentence without a source word the output is 0 and the weights are NaN",
        _cross(nan_only_in_weights),
    ),
    Misconception(
        "partly_cut_off",
        PARTLY_CUT_OFF,
        [
            _cross(average_of_detached_weights),
            lambda dec, enc, *others, **keywords: cross_attention(dec, enc.detach(), *others, **keywords),
            _cross_after(lambda out, weights, dec: (out, weights.detach())),
        ],
    ),
    *_casts(cross_attention),
    Misconception(
        "changes_dec", "dec is another after the call: something wrote into it", _first_changed(cross_attention)
    ),
    Misconception("changes_enc", "enc is another after the call: its padding was overwritten", enc_zeroed_in_place),
    Misconception("changes_mask", MASK_CHANGED, _mask_changed(cross_attention)),
    *_in_the_attention(_cross, told_otherwise=("values_from_k",)),
)


# --- precompute_kv ---------------------------------------------------------------------------------------------------


def precompute_kv(enc, w_k, w_v, h):
    return split_heads(enc @ w_k, h), split_heads(enc @ w_v, h)


def kv_by_einsum(enc, w_k, w_v, h):
    return tuple(torch.einsum("btc,chd->bhtd", enc, w.reshape(len(w), h, -1)) for w in (w_k, w_v))


def kv_by_columns(enc, w_k, w_v, h):
    return [torch.stack([enc @ part for part in w.chunk(h, dim=1)], dim=1) for w in (w_k, w_v)]


def kv_in_one_product(enc, w_k, w_v, h):
    both = enc @ torch.cat([w_k, w_v], dim=1)
    both = both.reshape(*enc.shape[:2], 2, h, w_k.shape[1] // h).permute(2, 0, 3, 1, 4)
    return both[0], both[1].contiguous()


def _kv(split=split_heads, order=(0, 1), change=lambda k, v: (k, v), enc_is=lambda enc: enc):
    def answer(enc, w_k, w_v, h):
        matrices, read = (w_k, w_v), enc_is(enc)
        return change(split(read @ matrices[order[0]], h), split(read @ matrices[order[1]], h))

    return answer


def kv_width_of_c(enc, w_k, w_v, h):
    return _kv(_into_width(enc.shape[2]))(enc, w_k, w_v, h)


def _kv_inputs(rng, b, ts, c, h, d, dtype=np.float64):
    _, w_k, w_v, _ = _matrices(rng, c, h, d, dtype)
    return (rng.normal(size=(b, ts, c)).astype(dtype), w_k, w_v, h)


def kv_cases(rng):
    for sizes in ((2, 5, 6, 3, 2), (3, 4, 8, 2, 4), (3, 3, 9, 3, 3), (2, 2, 4, 2, 2)):
        yield Case("keys_and_values", _kv_inputs(rng, *sizes))
    yield Case("free_width", _kv_inputs(rng, 2, 4, 6, 2, 5))
    yield Case("free_width", _kv_inputs(rng, 2, 3, 12, 3, 2, np.float32))
    for sizes in ((1, 5, 6, 3, 2), (2, 1, 6, 2, 3), (2, 4, 5, 1, 5), (2, 3, 4, 4, 1), (1, 1, 2, 1, 2)):
        yield Case("edge_sizes", _kv_inputs(rng, *sizes))
    yield Case(DIFFERENTIABLE, _kv_inputs(rng, 2, 3, 6, 3, 2))
    yield Case(KEEPS_DTYPE, _kv_inputs(rng, 2, 5, 6, 3, 2, np.float32))
    yield Case(KEEPS_DTYPE, _kv_inputs(rng, 2, 5, 6, 3, 2))


KV_MISCONCEPTIONS = (
    Misconception("swapped", "the two results are in the other order: k comes first, then v", _kv(order=(1, 0))),
    Misconception(
        "one_matrix_for_both",
        "k and v are the same: both were made with one matrix, and being found is another job than being handed over",
        [_kv(order=(0, 0)), _kv(order=(1, 1))],
    ),
    Misconception(
        "not_split",
        "the results are (B, Ts, h·D): the heads still lie side by side; (B, h, Ts, D) is wanted",
        _kv(split=lambda x, h: x),
    ),
    Misconception(
        "axes_not_swapped",
        "the results are (B, Ts, h, D): heads and words are to be swapped, (B, h, Ts, D)",
        _kv(split=lambda x, h: x.unflatten(-1, (h, -1))),
    ),
    Misconception(
        "heads_refilled",
        "the shape is right and the heads hold numbers of several words: they were poured into (B, h, Ts, D) "
        "without swapping axes",
        _kv(split=refilled),
    ),
    Misconception(
        "every_hth_column",
        "head n was given columns n, n + h, … of the matrices; its D columns are neighbours",
        _kv(split=every_hth),
    ),
    Misconception(
        "h_as_width",
        "there are as many heads as one should be wide, and each is h wide: h counts the heads",
        _kv(split=h_as_width),
    ),
    Misconception(
        "keys_transposed",
        "the keys are (B, h, D, Ts), turned for the product already: k and v have the same axes, (B, h, Ts, D)",
        _kv(change=lambda k, v: (k.mT, v)),
    ),
    Misconception(
        "keys_scaled",
        "the keys are 1/√D times the wanted ones: the scale belongs to the scores, where the step applies it",
        _kv(change=lambda k, v: (k / math.sqrt(k.shape[-1]), v)),
    ),
    Misconception(
        "heads_first",
        "the results are (h, B, Ts, D): the batch comes first, (B, h, Ts, D)",
        _kv(change=lambda k, v: (k.transpose(0, 1), v.transpose(0, 1))),
    ),
    Misconception(
        "shared_across_the_batch",
        "every sentence has the keys and values of one and the same source: each has a source of its own",
        [
            _kv(enc_is=lambda enc: enc[:1].expand_as(enc)),
            _kv(enc_is=lambda enc: enc[:1]),
            _kv(enc_is=lambda enc: enc.mean(0, keepdim=True).expand_as(enc)),
            _kv(enc_is=lambda enc: enc.mean(0, keepdim=True)),
            _kv(change=lambda k, v: (k[0], v[0])),
        ],
    ),
    Misconception(
        "one_summary",
        "a single key and value stand for the whole source: there is one of each for every source word",
        [
            _kv(enc_is=lambda enc: enc.mean(1, keepdim=True)),
            _kv(enc_is=lambda enc: enc[:, -1:]),
        ],
    ),
    Misconception(
        "transposed_matrices",
        "matrices were used transposed, as nn.Linear keeps its own: here x @ w, with w (in, out)",
        lambda enc, w_k, w_v, h: precompute_kv(enc, w_k.T, w_v.T, h),
    ),
    Misconception(
        "width_of_c",
        "right where h·D is C, and elsewhere the call stops: the width of a head was taken from enc, not from w_k",
        kv_width_of_c,
    ),
    Misconception(
        "not_projected",
        "k and v are enc itself, cut into heads: each is to be projected by its matrix first",
        lambda enc, w_k, w_v, h: (split_heads(enc, h), split_heads(enc, h)),
    ),
    Misconception(
        "one_not_projected",
        "k or v is enc itself, cut into heads: each is to be projected by its matrix first",
        [
            lambda enc, w_k, w_v, h: (split_heads(enc @ w_k, h), split_heads(enc, h)),
            lambda enc, w_k, w_v, h: (split_heads(enc, h), split_heads(enc @ w_v, h)),
        ],
    ),
    Misconception("only_keys", "one tensor came back; (k, v) are two", _kv(change=lambda k, v: k)),
    Misconception(
        "partly_cut_off",
        PARTLY_CUT_OFF,
        [_kv(change=lambda k, v: (k.detach(), v)), _kv(change=lambda k, v: (k, v.detach()))],
    ),
    Misconception(
        "swapped+axes_not_swapped",
        "the results are (B, Ts, h, D), and in the other order: k comes first, then v, each (B, h, Ts, D)",
        _kv(split=lambda x, h: x.unflatten(-1, (h, -1)), order=(1, 0)),
    ),
    *_casts(precompute_kv),
    Misconception(
        "changes_enc", "enc is another after the call: something wrote into it", _first_changed(precompute_kv)
    ),
)


# --- cross_attention_step --------------------------------------------------------------------------------------------


def cross_attention_step(x_t, kv, w_q, w_o, h, src_mask=None):
    out, _ = attend(split_heads(x_t @ w_q, h), kv[0], kv[1], for_keys(src_mask))
    return merge_heads(out) @ w_o


def step_by_einsum(x_t, kv, w_q, w_o, h, src_mask=None):
    k, v = kv
    q = torch.einsum("bc,chd->bhd", x_t[:, 0], w_q.unflatten(1, (h, -1)))
    scores = torch.einsum("bhd,bhjd->bhj", q, k) / k.shape[-1] ** 0.5
    if src_mask is not None:
        scores = torch.where(src_mask[:, None], scores, -torch.inf)
        scores = torch.where(src_mask.any(1)[:, None, None], scores, 0.0)
    weights = scores.softmax(-1)
    if src_mask is not None:
        weights = weights * src_mask[:, None]
    return torch.einsum("bhj,bhjd,hdc->bc", weights, v, w_o.unflatten(0, (h, -1)))[:, None]


def step_by_torch(x_t, kv, w_q, w_o, h, src_mask=None):
    q = (x_t @ w_q).reshape(len(x_t), h, 1, -1)  # with one word there is nothing to swap
    out, _ = of_torch(q, kv[0], kv[1], None if src_mask is None else src_mask[:, None, None])
    return out.reshape(len(x_t), 1, -1) @ w_o


def step_by_loops(x_t, kv, w_q, w_o, h, src_mask=None):
    k, v = kv
    rows = []
    for b in range(len(x_t)):
        q, total = x_t[b] @ w_q, torch.zeros_like(x_t[b])
        words = torch.arange(k.shape[2]) if src_mask is None else src_mask[b].nonzero()[:, 0]
        for n, own in enumerate(torch.arange(q.shape[1]).chunk(h)):
            if len(words):
                weights = torch.softmax(q[:, own] @ k[b, n, words].T / math.sqrt(len(own)), dim=1)
                total = total + weights @ v[b, n, words] @ w_o[own]
        rows.append(total)
    return torch.stack(rows)


def _step(core=attend, split=split_heads, merge=merge_heads, fit=for_keys, kv_is=lambda k, v, q: (k, v), matrix=0):
    """A step with some of its parts replaced. kv_is: `(k, v, q) -> (k, v)`; matrix: 1 uses w_o, transposed, for w_q."""

    def answer(x_t, kv, w_q, w_o, h, src_mask=None):
        q = split(x_t @ (w_o.T if matrix else w_q), h)
        out, _ = core(q, *kv_is(*kv, q), fit(src_mask))
        return merge(out) @ w_o

    return answer


def _step_after(change):
    """A right answer whose result is changed at the end: `change(out, x_t)`."""
    return lambda x_t, *others, **keywords: change(cross_attention_step(x_t, *others, **keywords), x_t)


def step_with_weights(x_t, kv, w_q, w_o, h, src_mask=None):
    out, weights = attend(split_heads(x_t @ w_q, h), kv[0], kv[1], for_keys(src_mask))
    return merge_heads(out) @ w_o, weights


def step_without_w_o(x_t, kv, w_q, w_o, h, src_mask=None):
    out, _ = attend(split_heads(x_t @ w_q, h), kv[0], kv[1], for_keys(src_mask))
    return merge_heads(out)


def step_without_w_q(x_t, kv, w_q, w_o, h, src_mask=None):
    out, _ = attend(split_heads(x_t, h), kv[0], kv[1], for_keys(src_mask))
    return merge_heads(out) @ w_o


def step_whole_width(x_t, kv, w_q, w_o, h, src_mask=None):
    core = _wrong(scale=lambda q, k, v: 1 / math.sqrt(w_q.shape[1]))
    return _step(core)(x_t, kv, w_q, w_o, h, src_mask)


def step_width_of_x(x_t, kv, w_q, w_o, h, src_mask=None):
    core = _wrong(scale=lambda q, k, v: 1 / math.sqrt(x_t.shape[2]))
    return _step(core)(x_t, kv, w_q, w_o, h, src_mask)


def step_scaled_by_c_over_h(x_t, kv, w_q, w_o, h, src_mask=None):
    core = _wrong(scale=lambda q, k, v: 1 / math.sqrt(x_t.shape[2] / h))
    return _step(core)(x_t, kv, w_q, w_o, h, src_mask)


def step_width_of_c(x_t, kv, w_q, w_o, h, src_mask=None):
    return _step(split=_into_width(x_t.shape[2]))(x_t, kv, w_q, w_o, h, src_mask)


def step_appends(x_t, kv, w_q, w_o, h, src_mask=None):
    """As a cache of self-attention grows: the new word joins what is read."""
    if src_mask is not None:
        src_mask = functional.pad(src_mask, (0, 1), value=True)
    grown = _step(kv_is=lambda k, v, q: (torch.cat([k, q], 2), torch.cat([v, q], 2)))
    return grown(x_t, kv, w_q, w_o, h, src_mask)


def step_padding_zeroed(x_t, kv, w_q, w_o, h, src_mask=None):
    if src_mask is not None:
        kv = tuple(part * src_mask[:, None, :, None] for part in kv)
    return cross_attention_step(x_t, kv, w_q, w_o, h)


def step_keys_scaled_in_place(x_t, kv, w_q, w_o, h, src_mask=None):
    k, v = kv
    k /= math.sqrt(k.shape[-1])
    return _step(_wrong(scale=no_scale))(x_t, (k, v), w_q, w_o, h, src_mask)


def step_values_zeroed_in_place(x_t, kv, w_q, w_o, h, src_mask=None):
    found = cross_attention_step(x_t, kv, w_q, w_o, h, src_mask)
    if src_mask is not None:
        kv[1].masked_fill_(~src_mask[:, None, :, None], 0)
    return found


def first_key_only(q, k, v, mask=None):
    """PyTorch's is_causal, which counts from the top left: the only query sees the first key."""
    seen = torch.arange(k.shape[-2]) == 0
    return attend(q, k, v, seen if mask is None else seen & mask)


def first_key_only_without_mask(q, k, v, mask=None):
    return first_key_only(q, k, v)


def _step_inputs(rng, sizes, dtype=np.float64):
    b, ts, c, h, d = sizes
    x_t = rng.normal(size=(b, 1, c)).astype(dtype)
    kv = tuple(rng.normal(size=(b, h, ts, d)).astype(dtype) for _ in range(2))
    w_q, _, _, w_o = _matrices(rng, c, h, d, dtype)
    return (x_t, kv, w_q, w_o, h)


def step_cases(rng):
    def given(*sizes, mask=None, dtype=np.float64):
        return _step_inputs(rng, sizes, dtype), {} if mask is None else {"src_mask": mask}

    first = "row_of_the_full_pass"
    yield Case(first, *given(2, 5, 6, 3, 2))
    yield Case(first, *given(3, 4, 8, 2, 4, dtype=np.float32))
    yield Case(first, *given(3, 3, 9, 3, 3))
    yield Case(first, *given(1, 3, 4, 1, 4))
    yield Case(first, *given(2, 1, 4, 4, 1))
    yield Case("padding", *given(2, 5, 6, 3, 2, mask=words_first((5, 2), 5)))
    yield Case("padding", *given(3, 4, 8, 2, 4, mask=random_mask(rng, 3, 4), dtype=np.float32))
    yield Case("padding", *given(4, 4, 8, 4, 2, mask=words_first((1, 4, 2, 3), 4)))
    yield Case("padding", *given(3, 6, 6, 3, 2, mask=random_mask(rng, 3, 6)))
    inputs, _ = given(2, 3, 4, 2, 2)
    yield Case("padding", (*inputs, words_first((1, 3), 3)))
    yield Case("free_width", *given(2, 5, 6, 2, 5))
    yield Case("free_width", *given(2, 4, 12, 3, 2, mask=words_first((2, 4), 4)))
    yield Case("no_source", *given(2, 5, 6, 3, 2, mask=words_first((0, 3), 5)))
    yield Case("no_source", *given(3, 3, 9, 3, 3, mask=words_first((3, 0, 0), 3), dtype=np.float32))
    for of_padding in (-1, 1):
        x_t, (k, v), w_q, w_o, h = _step_inputs(rng, (4, 5, 6, 2, 3))
        mask = random_mask(rng, 4, 5)
        x_t[..., 0], w_q[:, ::3], k[..., 0] = 1, 0, np.where(mask, -1, of_padding)[:, None]
        w_q[0, ::3] = 9.995e3 * math.sqrt(3)
        yield Case("large_scores", (x_t, (k, v), w_q, w_o, h), {"src_mask": mask})
    yield Case(DIFFERENTIABLE, *given(2, 4, 6, 3, 2))
    yield Case(DIFFERENTIABLE, *given(3, 4, 4, 2, 3, mask=words_first((2, 0, 4), 4)))
    yield Case(KEEPS_DTYPE, *given(2, 5, 6, 3, 2, mask=words_first((5, 2), 5), dtype=np.float32))
    yield Case(KEEPS_DTYPE, *given(2, 4, 6, 3, 2))


STEP_MISCONCEPTIONS = (
    Misconception(
        "recomputed_from_x_t",
        "the result does not depend on k and v: the new word was projected once more and reads itself; what is read "
        "is the source, and it lies in kv",
        [
            _step(kv_is=lambda k, v, q: (q, q), fit=_ignored),
            _step(kv_is=lambda k, v, q: (q, q)),
        ],
    ),
    Misconception(
        "shared_across_the_batch",
        "every sentence reads one and the same source: each has keys and values of its own, along the first axis of kv",
        [
            _step(kv_is=lambda k, v, q: (k[:1], v[:1])),
            _step(kv_is=lambda k, v, q: (k[:1].expand_as(k), v[:1].expand_as(v))),
            _step(kv_is=lambda k, v, q: (k.mean(0, keepdim=True), v.mean(0, keepdim=True))),
        ],
    ),
    Misconception(
        "appends",
        "the new word is among what is read: a cache of self-attention grows with every word, but the source does not",
        [
            step_appends,
            _step(kv_is=lambda k, v, q: (torch.cat([k, q], 2), torch.cat([v, q], 2))),
        ],
    ),
    Misconception("k_and_v_swapped", "keys and values are swapped: kv is (k, v)", _step(kv_is=lambda k, v, q: (v, k))),
    Misconception(
        "first_key_only",
        "only the first source word is read: a causal mask counted from the top left, as is_causal=True does, and "
        "there is none in cross-attention",
        [_step(first_key_only), _step(first_key_only_without_mask)],
    ),
    Misconception(
        "softmax_over_queries",
        "every source word has weight 1 and the values are added up: the softmax ran over the queries, and there is "
        "one",
        [_step(_wrong(axis=-2)), _step(_wrong(axis=-2, empty="nan"))],
    ),
    Misconception("with_weights", "two tensors came back; out alone is wanted", step_with_weights),
    Misconception(
        "without_the_axis",
        "the result is (B, C): the target's axis of length 1 is missing, (B, 1, C)",
        [_step_after(lambda out, x_t: out[:, 0]), _step_after(lambda out, x_t: out.squeeze())],
    ),
    Misconception(
        "without_w_o", "the heads' averages lie side by side, and were never multiplied by w_o", step_without_w_o
    ),
    Misconception(
        "even_weights",
        "every word of the source has the same share: the query plays no part",
        lambda x_t, *rest, **named: cross_attention_step(0 * x_t, *rest, **named),
    ),
    Misconception("without_w_q", "the query is x_t itself: it is to be projected by w_q", step_without_w_q),
    Misconception("another_matrix", "the query was made with w_o, transposed: w_q makes queries", _step(matrix=1)),
    Misconception(
        "transposed_matrices",
        "matrices were used transposed, as nn.Linear keeps its own: here x @ w, with w (in, out)",
        [
            lambda x_t, kv, w_q, w_o, *rest, **named: cross_attention_step(x_t, kv, w_q.T, w_o.T, *rest, **named),
            lambda x_t, kv, w_q, w_o, *rest, **named: cross_attention_step(x_t, kv, w_q, w_o.T, *rest, **named),
        ],
    ),
    Misconception(
        "padding_zeroed",
        "padding keeps a weight: its keys were set to 0, its scores are then 0, and exp(0) = 1",
        step_padding_zeroed,
    ),
    Misconception("divided_by_sqrt_c", BY_WIDTH, [step_whole_width, step_width_of_x]),
    Misconception(
        "scaled_by_c_over_h",
        "right where h·D is C, and elsewhere the scores are divided by √(C / h): the width of a head is that of its "
        "keys, k.shape[-1]",
        step_scaled_by_c_over_h,
    ),
    Misconception(
        "width_of_c",
        "right where h·D is C, and elsewhere the call stops: the width of a head was taken from x_t, not from w_q",
        step_width_of_c,
    ),
    Misconception(
        "every_hth_number",
        "head n was given numbers n, n + h, … of the query; its D numbers are neighbours",
        [_step(split=every_hth, merge=interleaved_back), _step(split=every_hth)],
    ),
    Misconception(
        "merged_alternating",
        "the heads' numbers alternate before w_o; head 0's D numbers come first",
        _step(merge=interleaved_back),
    ),
    Misconception(
        "h_as_width",
        "the query has as many heads as one should be wide, and each is h wide: h counts the heads",
        _step(split=h_as_width),
    ),
    Misconception(
        "residual",
        "x_t was added to the output: that is the layer around attention, not attention",
        _step_after(lambda out, x_t: out + x_t),
    ),
    Misconception(
        "masks_queries",
        "the mask lies along the target, which has one word here: nothing that is read was hidden, or the call stops",
        [_step(fit=_for_queries), _step(fit=lambda mask: None if mask is None else mask[:, :1, None, None])],
    ),
    Misconception(
        "partly_cut_off",
        PARTLY_CUT_OFF,
        [
            _step(average_of_detached_weights),
            _step(kv_is=lambda k, v, q: (k.detach(), v.detach())),
            _step(kv_is=lambda k, v, q: (k.detach(), v)),
            _step(kv_is=lambda k, v, q: (k, v.detach())),
        ],
    ),
    *_casts(cross_attention_step),
    Misconception(
        "changes_kv",
        "k or v is another after the call: something wrote into it, and the next word would read the change",
        [step_keys_scaled_in_place, step_values_zeroed_in_place],
    ),
    Misconception(
        "changes_x_t", "x_t is another after the call: something wrote into it", _first_changed(cross_attention_step)
    ),
    Misconception("changes_mask", MASK_CHANGED, _mask_changed(cross_attention_step)),
    *_in_the_attention(_step),
)


# --- t5_attention ----------------------------------------------------------------------------------------------------


def t5_attention(q, k, v, bias):
    return torch.softmax(q @ k.mT + bias, dim=-1) @ v


def t5_by_einsum(q, k, v, bias):
    scores = torch.einsum("bhid,bhjd->bhij", q, k) + bias[None]
    e = (scores - scores.max(dim=-1, keepdim=True).values).exp()
    return torch.einsum("bhij,bhjd->bhid", e, v) / e.sum(-1, keepdim=True)


def t5_by_torch(q, k, v, bias):
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], scale=1.0)


def t5_by_loops(q, k, v, bias):
    outs = [
        [torch.softmax(q[b, n] @ k[b, n].T + bias[n], -1) @ v[b, n] for n in range(len(bias))] for b in range(len(q))
    ]
    return torch.stack([torch.stack(heads) for heads in outs])


def t5_scale_undone(q, k, v, bias):
    """Right by undoing: the scale of the usual attention is put into q beforehand."""
    scores = (q * math.sqrt(q.shape[-1])) @ k.mT / math.sqrt(q.shape[-1])
    return torch.matmul(functional.log_softmax(scores + bias, dim=-1).exp(), v)


def _t5(scores=lambda q, k, bias: q @ k.mT + bias, axis=-1, average=lambda weights, v, k: weights @ v, shift="row"):
    """A T5 attention with some of its parts replaced; without arguments it is a right one."""

    def answer(q, k, v, bias):
        found = scores(q, k, bias)
        if shift == "none":
            e = torch.exp(found)
            return average(e / e.sum(axis, keepdim=True), v, k)
        return average(torch.softmax(found, axis), v, k)

    return answer


def _biased(change):
    """Scores with a changed bias: `change(bias, batch)`."""
    return _t5(lambda q, k, bias: q @ k.mT + change(bias, len(q)))


def _scaled(q, k, bias):
    return q @ k.mT / math.sqrt(q.shape[-1]) + bias


def _bias_after(renormalised):
    def answer(q, k, v, bias):
        weights = torch.softmax(q @ k.mT, -1) + bias
        return (weights / weights.sum(-1, keepdim=True) if renormalised else weights) @ v

    return answer


def _rows_of_one(weights):
    return weights / weights.sum(-1, keepdim=True)


def t5_bias_times_weights(q, k, v, bias):
    return (torch.softmax(q @ k.mT, -1) * bias) @ v


def t5_both_softmaxed(q, k, v, bias):
    return (torch.softmax(q @ k.mT, -1) + torch.softmax(bias, -1).expand(len(q), -1, -1, -1)) @ v


def t5_scaled_bias_after(q, k, v, bias):
    return (torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1) + bias) @ v


def t5_with_weights(q, k, v, bias):
    weights = torch.softmax(q @ k.mT + bias, -1)
    return weights @ v, weights


def t5_bias_changed(q, k, v, bias):
    found = t5_attention(q, k, v, bias)
    bias += 1
    return found


def t5_bias_grown(q, k, v, bias):
    """The sum is written where the bias stood, as far as it fits: one sentence after the other."""
    outs = []
    for b in range(len(q)):
        outs.append(torch.softmax(q[b] @ k[b].mT + bias, -1) @ v[b])
        bias += q[b] @ k[b].mT
    return torch.stack(outs)


def _t5_inputs(rng, b, h, tq, tk, d, dtype=np.float64, bias=None):
    q, k, v = (rng.normal(size=(b, h, t, d)).astype(dtype) for t in (tq, tk, tk))
    q /= math.sqrt(d) / 2  # scores of a spread of 2, so that no row is saturated
    return (
        q,
        k,
        v,
        (rng.normal(size=(h, tq, tk)) if bias is None else np.broadcast_to(bias, (h, tq, tk))).astype(dtype),
    )


def t5_cases(rng):
    yield Case("bias_zero", _t5_inputs(rng, 2, 3, 4, 5, 6, bias=0.0))
    yield Case("bias_zero", _t5_inputs(rng, 3, 2, 5, 4, 7, np.float32, bias=0.0))
    yield Case("bias_zero", _t5_inputs(rng, 3, 3, 3, 3, 3, bias=0.0))
    yield Case("with_bias", _t5_inputs(rng, 2, 3, 4, 5, 6))
    yield Case("with_bias", _t5_inputs(rng, 4, 2, 5, 3, 7, np.float32))
    yield Case("with_bias", _t5_inputs(rng, 3, 3, 3, 3, 3))
    yield Case("with_bias", _t5_inputs(rng, 1, 1, 2, 4, 5))
    causal = np.where(np.tri(4, dtype=bool), rng.normal(size=(3, 4, 4)), -INF)
    yield Case("hidden_pairs", _t5_inputs(rng, 2, 3, 4, 4, 6, bias=causal))
    hidden = np.where(random_mask(rng, 2, 3, 5), rng.normal(size=(2, 3, 5)), -INF)
    yield Case("hidden_pairs", _t5_inputs(rng, 3, 2, 3, 5, 4, np.float32, bias=hidden))
    q, k, v, bias = _t5_inputs(rng, 2, 3, 4, 5, 6)
    q[..., 0], k[..., 0] = 9.9e3 * np.array([1, -1, 1, -1]), 1.0
    yield Case("large_scores", (q, k, v, bias))
    far = 9e3 * np.array([1, -1, 1, -1])[:, None]
    yield Case("large_scores", _t5_inputs(rng, 2, 3, 4, 5, 6, bias=far + rng.normal(size=(3, 4, 5))))
    q, k, v, _ = _t5_inputs(rng, 2, 3, 4, 5, 6)
    leads = np.array([False, True, False, False, True])  # hidden keys whose products lead by far
    q[..., 0], k[..., 0] = 9.9e3, np.where(leads, 1.0, -1.0)
    yield Case("large_scores", (q, k, v, np.where(leads, -INF, rng.normal(size=(3, 4, 5)))))
    yield Case(DIFFERENTIABLE, _t5_inputs(rng, 2, 3, 3, 4, 5))
    yield Case(KEEPS_DTYPE, _t5_inputs(rng, 2, 3, 4, 5, 6, np.float32))
    yield Case(KEEPS_DTYPE, _t5_inputs(rng, 2, 3, 4, 5, 6))


SCALED = "the scores were divided by √D: T5 has no scale, q kᵀ enters the softmax as it is"
BIAS_AFTER = (
    "the bias was added to the weights, after the softmax: it belongs to the scores, so that rows still sum to 1"
)
T5_MISCONCEPTIONS = (
    Misconception(
        "exponential_of_the_bias",
        "right for small biases, and with biases near ±9000 not finite or 0: exp(bias) multiplies the weights, and "
        "overflows; added to the scores the bias has its place under the maximum that a softmax subtracts",
        lambda q, k, v, bias: _rows_of_one(torch.softmax(q @ k.mT, -1) * torch.exp(bias)) @ v,
    ),
    Misconception(
        "hidden_not_low_enough",
        "where the scores of visible keys are near −10000, hidden pairs have weight: a number stands in place of their "
        "−∞, and it is not lower than every score",
        [lambda q, k, v, bias, low=low: torch.softmax(q @ k.mT + bias.clamp_min(low), -1) @ v for low in (-1e3, -1e4)]
        + [
            lambda q, k, v, bias, low=low: (
                torch.softmax(torch.where(bias == -INF, torch.full_like(bias, low), q @ k.mT + bias), -1) @ v
            )
            for low in (-1e3,)
        ],
    ),
    Misconception("scaled", SCALED, _t5(_scaled)),
    Misconception(
        "all_scaled",
        "scores and bias together were divided by √D: T5 has no scale, q kᵀ + bias enters the softmax as it is",
        _t5(lambda q, k, bias: (q @ k.mT + bias) / math.sqrt(q.shape[-1])),
    ),
    Misconception(
        "bias_after_softmax",
        BIAS_AFTER,
        [_bias_after(False), _bias_after(True), t5_both_softmaxed],
    ),
    Misconception("scaled+bias_after_softmax", f"{SCALED}; and {BIAS_AFTER}", t5_scaled_bias_after),
    Misconception(
        "bias_dropped", "the result is the one without a bias", _biased(lambda bias, b: 0 * bias.nan_to_num())
    ),
    Misconception(
        "scaled+bias_dropped",
        "the result is that of ordinary attention, with 1/√D and without the bias; here it is the other way round",
        _t5(lambda q, k, bias: q @ k.mT / math.sqrt(q.shape[-1])),
    ),
    Misconception(
        "bias_subtracted", "the bias was subtracted from the scores: it is added", _biased(lambda bias, b: -bias)
    ),
    Misconception(
        "bias_multiplied",
        "the bias multiplies where it is to be added: with a bias of 0 nothing is left",
        [_t5(lambda q, k, bias: q @ k.mT * bias), t5_bias_times_weights],
    ),
    Misconception(
        "bias_transposed",
        "the bias works the wrong way round: its rows, the queries, were read as keys",
        _biased(lambda bias, b: bias.mT),
    ),
    Misconception(
        "bias_of_one_head",
        "all heads have the same bias: each has its own",
        [
            _biased(lambda bias, b: bias[:1]),
            _biased(lambda bias, b: bias[0]),
            _biased(lambda bias, b: bias.mean(0)),
            _biased(lambda bias, b: bias.sum(0)),
        ],
    ),
    Misconception(
        "bias_along_the_batch",
        "the first axis of the bias lines up with the sentences, or stops the call: it is that of the heads",
        _biased(lambda bias, b: bias[:, None]),
    ),
    Misconception(
        "bias_for_the_first_sentence",
        "the bias reaches the first sentence alone: it holds for all",
        _biased(lambda bias, b: torch.cat([bias[None], torch.zeros_like(bias)[None].expand(b - 1, -1, -1, -1)])),
    ),
    Misconception(
        "times_sqrt_d",
        "the scores were multiplied by √D: they are q kᵀ as it is",
        _t5(lambda q, k, bias: q @ k.mT * math.sqrt(q.shape[-1]) + bias),
    ),
    Misconception(
        "divided_by_d",
        "the scores were divided by D: they are q kᵀ as it is",
        _t5(lambda q, k, bias: q @ k.mT / q.shape[-1] + bias),
    ),
    Misconception(
        "softmax_over_queries",
        "every column sums to 1: the softmax ran over the queries, not over the keys",
        _t5(axis=-2),
    ),
    Misconception(
        "softmax_over_heads",
        "for each pair of query and key the weights sum to 1 over the heads: the softmax ran over axis 1",
        _t5(axis=1),
    ),
    Misconception(
        "softmax_over_batch",
        "along the first axis the weights sum to 1: the softmax ran over the sentences",
        _t5(axis=0),
    ),
    Misconception(
        "no_softmax",
        "scores, not weights, were multiplied with v: there was no softmax",
        lambda q, k, v, bias: (q @ k.mT + bias) @ v,
    ),
    Misconception(
        "no_max_subtraction",
        "scores of ±10000 give NaN: exp overflowed or every exponential was 0, since no row had its maximum subtracted",
        _t5(shift="none"),
    ),
    Misconception(
        "values_from_k",
        "the average is taken of the keys, not of the values",
        _t5(average=lambda weights, v, k: weights @ k),
    ),
    Misconception(
        "average_transposed",
        "the weights were transposed before they met v: each value was handed to the wrong side",
        _t5(average=lambda weights, v, k: weights.mT @ v),
    ),
    Misconception(
        "clipped_scores",
        "scores far from 0 are cut off at a limit, so keys beyond it cannot be told apart",
        _t5(lambda q, k, bias: (q @ k.mT + bias).clamp(min=-1e9).clamp(-100, 100)),
    ),
    Misconception("with_weights", "two tensors came back; out alone is wanted", t5_with_weights),
    Misconception(
        "only_weights",
        "the weights came back: they are still to be multiplied with v",
        _t5(average=lambda weights, v, k: weights),
    ),
    Misconception(
        "partly_cut_off",
        PARTLY_CUT_OFF,
        [
            lambda q, k, v, bias: t5_attention(q, k, v, bias.detach()),
            lambda q, k, v, bias: torch.softmax(q @ k.mT + bias, -1).detach() @ v,
            lambda q, k, v, bias: t5_attention(q, k.detach(), v, bias),
        ],
    ),
    *_casts(t5_attention),
    Misconception(
        "changes_bias",
        "bias is another after the call: += wrote into it, and every sentence and step shares it",
        t5_bias_changed,
    ),
    Misconception(
        "bias_grows",
        "from the second sentence on the scores of others are in the bias: += wrote into it",
        t5_bias_grown,
    ),
    Misconception("changes_q", "q is another after the call: something wrote into it", _first_changed(t5_attention)),
)


# --- decoder_layer ---------------------------------------------------------------------------------------------------

CROSS_NAMES = ("w_q", "w_k", "w_v", "w_o")


def normalised(y, p, n):
    return functional.layer_norm(y, y.shape[-1:], p[f"norm{n}_gamma"], p[f"norm{n}_beta"], 1e-5)


def attention_of(kind, x_q, x_kv, p, h, mask):
    q, k, v = (split_heads(x @ p[f"{kind}_{w}"], h) for x, w in ((x_q, "w_q"), (x_kv, "w_k"), (x_kv, "w_v")))
    return merge_heads(attend(q, k, v, mask)[0]) @ p[f"{kind}_w_o"]


def feed_forward(y, p):
    return functional.relu(y @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]


def decoder_layer(x, enc, p, h, norm, tgt_mask, src_mask):
    parts = (
        lambda y: attention_of("self", y, y, p, h, tgt_mask),
        lambda y: attention_of("cross", y, enc, p, h, for_keys(src_mask)),
        lambda y: feed_forward(y, p),
    )
    for n, part in enumerate(parts, 1):
        x = normalised(x + part(x), p, n) if norm == "post" else x + part(normalised(x, p, n))
    return x


def layer_line_by_line(x, enc, p, h, norm, tgt_mask, src_mask):
    """Layer norm and heads by hand, one branch for each kind."""

    def ln(y, n):
        centred = y - y.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * p[f"norm{n}_gamma"] + p[f"norm{n}_beta"]
        )

    def attention(kind, y, read, mask):
        w_q, w_k, w_v, w_o = (p[f"{kind}_{name}"] for name in CROSS_NAMES)
        return cross_with_mask(y, read, w_q, w_k, w_v, w_o, h, mask)

    allowed = src_mask[:, None, None, :]
    if norm == "post":
        x = ln(x + attention("self", x, x, tgt_mask), 1)
        x = ln(x + attention("cross", x, enc, allowed), 2)
        return ln(x + (torch.clamp(x @ p["w1"] + p["b1"], min=0) @ p["w2"] + p["b2"]), 3)
    y = ln(x, 1)
    x = x + attention("self", y, y, tgt_mask)
    x = x + attention("cross", ln(x, 2), enc, allowed)
    return x + (torch.clamp(ln(x, 3) @ p["w1"] + p["b1"], min=0) @ p["w2"] + p["b2"])


def cross_with_mask(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask):
    """Any attention of heads, by einsum, under a mask that broadcasts to (B, h, Tq, Tk)."""
    q, k, v = (
        torch.einsum("btc,chd->bhtd", x, w.unflatten(1, (h, -1))) for x, w in ((x_q, w_q), (x_kv, w_k), (x_kv, w_v))
    )
    scores = torch.where(mask, torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(q.shape[-1]), -INF)
    top = scores.amax(-1, keepdim=True)
    e = torch.exp(scores - torch.where(top.isinf(), 0.0, top))
    total = e.sum(-1, keepdim=True)
    weights = e / torch.where(total == 0, 1.0, total)
    return torch.einsum("bhij,bhjd,hdc->bic", weights, v, w_o.unflatten(0, (h, -1)))


def layer_by_loops(x, enc, p, h, norm, tgt_mask, src_mask):
    """One sentence at a time."""
    full = tgt_mask.expand(len(x), h, x.shape[1], x.shape[1])
    rows = [
        layer_line_by_line(x[b, None], enc[b, None], p, h, norm, full[b, None], src_mask[b, None])
        for b in range(len(x))
    ]
    return torch.cat(rows)


SUBLAYERS = ("self", "cross", "ffn")


def _post(x, f, n, ln):
    return ln(x + f(x), n)


def _pre(x, f, n, ln):
    return x + f(ln(x, n))


def _layer(
    order=SUBLAYERS,
    post=_post,
    pre=_pre,
    ln=normalised,
    norms=(1, 2, 3),
    sources=("enc", "enc"),
    matrices=("self", "cross"),
    ffn=feed_forward,
    core=attend,
    masks=lambda tgt_mask, src_mask: (tgt_mask, for_keys(src_mask)),
    read=lambda enc, p, norm: enc,
    last=lambda x, p, norm: x,
):
    """A decoder layer with some of its parts replaced; without arguments it is a right one.

    order:    of the three; post, pre: `(x, f, n, ln) -> x` around one of them; norms: the number of each one's norm.
    ln:       `(y, p, n) -> y`, the layer norm; ffn: `(y, p) -> y`; core: the attention.
    sources:  what cross-attention takes keys and values from: enc or x; matrices: whose serve for self and cross.
    masks:    `(tgt_mask, src_mask) ->` those of self- and cross-attention.
    read:     `(enc, p, norm) -> enc`; last: `(x, p, norm) -> x`, what happens at the end.
    """

    def answer(x, enc, p, h, norm, tgt_mask, src_mask):
        of_self, of_cross = masks(tgt_mask, src_mask)
        seen = read(enc, p, norm)

        def attention(kind, x_q, x_k, x_v, mask):
            q, k, v = (split_heads(x @ p[f"{kind}_{w}"], h) for x, w in ((x_q, "w_q"), (x_k, "w_k"), (x_v, "w_v")))
            return merge_heads(core(q, k, v, mask)[0]) @ p[f"{kind}_w_o"]

        parts = {
            "self": lambda y: attention(matrices[0], y, y, y, of_self),
            "cross": lambda y: attention(
                matrices[1], y, seen if sources[0] == "enc" else y, seen if sources[1] == "enc" else y, of_cross
            ),
            "ffn": lambda y: ffn(y, p),
        }
        around = {"post": post, "pre": pre}[norm]
        for name in order:
            n = norms[SUBLAYERS.index(name)]
            x = around(x, parts[name], n, lambda y, n: ln(y, p, n))
        return last(x, p, norm)

    return answer


def _residual_from_the_input(which):
    """The residual of some of the three comes from the layer's own input instead of from what went into them."""

    def answer(x, enc, p, h, norm, tgt_mask, src_mask):
        start = x
        parts = (
            lambda y: attention_of("self", y, y, p, h, tgt_mask),
            lambda y: attention_of("cross", y, enc, p, h, for_keys(src_mask)),
            lambda y: feed_forward(y, p),
        )
        for n, part in enumerate(parts, 1):
            kept = start if n in which else x
            x = normalised(kept + part(x), p, n) if norm == "post" else kept + part(normalised(x, p, n))
        return x

    return answer


def _without_norm(norm, *bare):
    """With one of the two kinds, some of the three have no norm."""
    post = (lambda x, f, n, ln: x + f(x) if n in bare else ln(x + f(x), n)) if norm == "post" else _post
    pre = (lambda x, f, n, ln: x + f(x if n in bare else ln(x, n))) if norm == "pre" else _pre
    return _layer(post=post, pre=pre)


def keys_without_norm(x, enc, p, h, norm, tgt_mask, src_mask):
    if norm == "post":
        return decoder_layer(x, enc, p, h, norm, tgt_mask, src_mask)
    x = x + attention_of("self", normalised(x, p, 1), x, p, h, tgt_mask)
    x = x + attention_of("cross", normalised(x, p, 2), enc, p, h, for_keys(src_mask))
    return x + feed_forward(normalised(x, p, 3), p)


def causal_cross_layer(x, enc, p, h, norm, tgt_mask, src_mask):
    earlier = torch.ones(x.shape[1], enc.shape[1], dtype=torch.bool).tril()
    layer = _layer(masks=lambda of_self, words: (of_self, for_keys(words) & earlier))
    return layer(x, enc, p, h, norm, tgt_mask, src_mask)


def attentions_in_parallel(x, enc, p, h, norm, tgt_mask, src_mask):
    y1, y2 = (x, x) if norm == "post" else (normalised(x, p, n) for n in (1, 2))
    x = x + attention_of("self", y1, y1, p, h, tgt_mask) + attention_of("cross", y2, enc, p, h, for_keys(src_mask))
    x = normalised(x, p, 2) if norm == "post" else x
    return normalised(x + feed_forward(x, p), p, 3) if norm == "post" else x + feed_forward(normalised(x, p, 3), p)


def _stale_norm(*late):
    """With "pre", those with these norms read the y that was normalised for self-attention."""

    def answer(x, enc, p, h, norm, tgt_mask, src_mask):
        if norm == "post":
            return decoder_layer(x, enc, p, h, norm, tgt_mask, src_mask)
        first = normalised(x, p, 1)
        x = x + attention_of("self", first, first, p, h, tgt_mask)
        y = first if 2 in late else normalised(x, p, 2)
        x = x + attention_of("cross", y, enc, p, h, for_keys(src_mask))
        y = first if 3 in late else y if 4 in late else normalised(x, p, 3)
        return x + feed_forward(y, p)

    return answer


def parallel_layer(x, enc, p, h, norm, tgt_mask, src_mask):
    """All three read the layer's input, and their results are added up."""
    y1, y2, y3 = (x, x, x) if norm == "post" else (normalised(x, p, n) for n in (1, 2, 3))
    total = x + attention_of("self", y1, y1, p, h, tgt_mask) + attention_of("cross", y2, enc, p, h, for_keys(src_mask))
    total = total + feed_forward(y3, p)
    return normalised(total, p, 3) if norm == "post" else total


def _without(names):
    """A layer in which some of the three are missing."""
    return _layer(order=[name for name in SUBLAYERS if name not in names])


def _skip_residual(*skipped):
    """Around those with these norms nothing is added."""

    def post(x, f, n, ln):
        return ln(f(x) if n in skipped else x + f(x), n)

    def pre(x, f, n, ln):
        return f(ln(x, n)) if n in skipped else x + f(ln(x, n))

    return _layer(post=post, pre=pre)


def _ln(eps=1e-5, correction=0, axis=-1, outside=False, centre=True, gamma=True, beta=True, swapped=False):
    """A layer norm with some of its parts replaced."""

    def ln(y, p, n):
        mean = y.mean(axis, keepdim=True) if centre else torch.zeros_like(y[..., :1])
        width = y.shape[axis] - correction
        variance = (y - mean).square().sum(axis, keepdim=True) / width
        found = (y - mean) / (variance.sqrt() + eps if outside else (variance + eps).sqrt())
        scale, shift = p[f"norm{n}_gamma"], p[f"norm{n}_beta"]
        if swapped:
            scale, shift = shift, scale
        return found * (scale if gamma else 1) + (shift if beta else 0)

    return ln


def _always(norm):
    return lambda x, enc, p, h, _, tgt_mask, src_mask: decoder_layer(x, enc, p, h, norm, tgt_mask, src_mask)


def _exchanged(kind, a, b):
    """Two matrices of an attention in each other's place."""
    names = {f"{kind}_w_{a}": f"{kind}_w_{b}", f"{kind}_w_{b}": f"{kind}_w_{a}"}
    return lambda x, enc, p, *rest: decoder_layer(x, enc, {name: p[names.get(name, name)] for name in p}, *rest)


def norms_exchanged(x, enc, p, h, norm, tgt_mask, src_mask):
    return decoder_layer(x, enc, p, h, "pre" if norm == "post" else "post", tgt_mask, src_mask)


def _own_causal(tgt_mask, src_mask):
    return torch.ones(tgt_mask.shape[-1], tgt_mask.shape[-1], dtype=torch.bool).tril(), for_keys(src_mask)


def _ffn(active=functional.relu, b1=True, b2=True):
    def ffn(y, p):
        inner = active(y @ p["w1"] + (p["b1"] if b1 else 0))
        return inner @ p["w2"] + (p["b2"] if b2 else 0)

    return ffn


def cross_queries_from_enc(x, enc, p, h, norm, tgt_mask, src_mask):
    """The source asks and the target is read; fits only where they are of one length."""
    if x.shape != enc.shape:
        raise RuntimeError(f"shapes {tuple(x.shape)} and {tuple(enc.shape)} do not fit")
    parts = (
        lambda y: attention_of("self", y, y, p, h, tgt_mask),
        lambda y: attention_of("cross", enc, y, p, h, None),
        lambda y: feed_forward(y, p),
    )
    for n, part in enumerate(parts, 1):
        x = normalised(x + part(x), p, n) if norm == "post" else x + part(normalised(x, p, n))
    return x


def x_added_in_place(x, enc, p, h, norm, tgt_mask, src_mask):
    if norm == "post":
        return decoder_layer(x, enc, p, h, norm, tgt_mask, src_mask)
    parts = (
        lambda y: attention_of("self", y, y, p, h, tgt_mask),
        lambda y: attention_of("cross", y, enc, p, h, for_keys(src_mask)),
        lambda y: feed_forward(y, p),
    )
    for n, part in enumerate(parts, 1):
        x += part(normalised(x, p, n))
    return x


def x_added_in_place_also_post(x, enc, p, h, norm, tgt_mask, src_mask):
    if norm == "post":
        x += attention_of("self", x, x, p, h, tgt_mask)
        rest = _layer(order=SUBLAYERS[1:])
        return rest(normalised(x, p, 1), enc, p, h, norm, tgt_mask, src_mask)
    return x_added_in_place(x, enc, p, h, norm, tgt_mask, src_mask)


def p_changed(x, enc, p, h, norm, tgt_mask, src_mask):
    found = decoder_layer(x, enc, p, h, norm, tgt_mask, src_mask)
    p["b1"] = p["b1"] + 1
    return found


def p_emptied(x, enc, p, h, norm, tgt_mask, src_mask):
    own = dict(p)
    for name in list(p):
        p.pop(name)
    return decoder_layer(x, enc, own, h, norm, tgt_mask, src_mask)


def _layer_inputs(rng, b, tt, ts, c, h, f, norm, tgt_mask=None, src_mask=None, dtype=np.float64):
    x, enc = (rng.normal(size=(b, t, c)) for t in (tt, ts))
    p = {f"{kind}_{w}": rng.normal(size=(c, c)) / math.sqrt(c) for kind in ("self", "cross") for w in CROSS_NAMES}
    p |= {"w1": rng.normal(size=(c, f)) / math.sqrt(c), "b1": rng.normal(size=f)}
    p |= {"w2": rng.normal(size=(f, c)) / math.sqrt(f), "b2": rng.normal(size=c)}
    for n in (1, 2, 3):
        p |= {f"norm{n}_gamma": rng.normal(size=c) + 1, f"norm{n}_beta": rng.normal(size=c)}
    tgt_mask = np.ones((tt, tt), bool) if tgt_mask is None else tgt_mask
    src_mask = np.ones((b, ts), bool) if src_mask is None else src_mask
    x, enc = x.astype(dtype), enc.astype(dtype)
    return (x, enc, {name: w.astype(dtype) for name, w in p.items()}, h, norm, tgt_mask, src_mask)


def layer_cases(rng):
    def given(*sizes, **others):
        return _layer_inputs(rng, *sizes, **others)

    for norm in ("post", "pre"):
        check = f"{norm}_norm"
        yield Case(check, given(2, 4, 5, 6, 3, 7, norm))
        yield Case(check, given(3, 3, 3, 4, 2, 4, norm))  # nothing can be told by its size
        yield Case(check, given(1, 1, 3, 8, 2, 5, norm, dtype=np.float32))
    causal = np.tri(4, dtype=bool)
    yield Case("target_masks", given(2, 4, 5, 6, 3, 7, "post", causal))
    yield Case("target_masks", given(2, 4, 4, 6, 3, 7, "pre", random_mask(rng, 4, 4)))
    yield Case("target_masks", given(2, 4, 5, 6, 2, 7, "pre", random_mask(rng, 2, 1, 1, 4)))
    yield Case("target_masks", given(2, 3, 5, 4, 2, 3, "post", random_mask(rng, 1, 2, 3, 3)))
    yield Case("target_masks", given(3, 3, 3, 6, 3, 4, "post", random_mask(rng, 3, 3, 3, 3)))
    yield Case("source_masks", given(2, 4, 5, 6, 3, 7, "post", src_mask=words_first((5, 2), 5)))
    yield Case("source_masks", given(4, 4, 4, 4, 2, 4, "pre", src_mask=random_mask(rng, 4, 4)))
    yield Case("source_masks", given(3, 3, 3, 6, 3, 4, "post", np.tri(3, dtype=bool), random_mask(rng, 3, 3)))
    yield Case("empty_rows", given(2, 4, 5, 6, 3, 7, "post", causal, words_first((0, 3), 5)))
    strict = np.tri(3, k=-1, dtype=bool)
    yield Case("empty_rows", given(2, 3, 4, 6, 3, 5, "pre", strict, words_first((4, 0), 4)))
    for norm in ("post", "pre"):
        yield Case(DIFFERENTIABLE, given(2, 3, 4, 4, 2, 5, norm, np.tri(3, dtype=bool), words_first((2, 4), 4)))
        yield Case(KEEPS_DTYPE, given(2, 3, 4, 6, 3, 5, norm, dtype=np.float32))
    yield Case(KEEPS_DTYPE, given(2, 3, 4, 6, 3, 5, "post"))


NORM_PLACE = "the norm stands in another place than wanted: "
RESIDUAL = "the residual comes from the wrong tensor: "
LAYER_MISCONCEPTIONS = (
    Misconception(
        "cross_before_self",
        "cross-attention came before self-attention: the target first gathers what it has said, then asks the source",
        [_layer(order=("cross", "self", "ffn"), norms=norms) for norms in ((2, 1, 3), (1, 2, 3))],
    ),
    Misconception(
        "keys_not_normalised",
        'with "pre" the self-attention asks with normalised vectors and reads x as it is: the same norm(x) asks and is '
        "read",
        keys_without_norm,
    ),
    Misconception(
        "causal_cross",
        "a target word sees only the source words up to some place: a causal mask is at work in cross-attention, and "
        "the source is known as a whole before the first word is written",
        causal_cross_layer,
    ),
    Misconception(
        "first_source_mask",
        "padding of the source is hidden in the places of another sentence: the first row of src_mask serves for all",
        _layer(masks=lambda tgt_mask, src_mask: (tgt_mask, for_keys(src_mask[:1]))),
    ),
    Misconception(
        "ffn_not_last",
        "the feed-forward came before an attention: it works on what both attentions have brought",
        [
            _layer(order=("self", "ffn", "cross"), norms=(1, 3, 2)),
            _layer(order=("ffn", "self", "cross"), norms=(2, 3, 1)),
            _layer(order=("self", "ffn", "cross")),
            _layer(order=("ffn", "self", "cross")),
        ],
    ),
    Misconception(
        "residual_from_the_input",
        RESIDUAL + "to the second or third was added what went into the layer, not what went into that sublayer",
        [_residual_from_the_input((2,)), _residual_from_the_input((2, 3)), _residual_from_the_input((3,))],
    ),
    Misconception(
        "residual_from_the_norm",
        RESIDUAL + 'with "pre" the normalised y was added, y + f(y); the sum goes past the norm, x + f(norm(x))',
        _layer(pre=lambda x, f, n, ln: ln(x, n) + f(ln(x, n))),
    ),
    Misconception(
        "parallel",
        "two or all of the three read what went into the layer; each is to read what the one before has left",
        [parallel_layer, attentions_in_parallel],
    ),
    Misconception(
        "no_residual",
        "around one of the three, or all, what went in was not added to what came out",
        [_skip_residual(1, 2, 3), _skip_residual(1), _skip_residual(2), _skip_residual(3)],
    ),
    Misconception(
        "always_post",
        NORM_PLACE + 'with "pre" the result is that of "post", the norm of the sum; "pre" normalises what goes into f',
        _always("post"),
    ),
    Misconception(
        "always_pre",
        NORM_PLACE + 'with "post" the result is that of "pre"; "post" normalises the sum, norm(x + f(x))',
        _always("pre"),
    ),
    Misconception(
        "norms_exchanged",
        NORM_PLACE + 'the two are exchanged; "post" is norm(x + f(x)), "pre" is x + f(norm(x))',
        norms_exchanged,
    ),
    Misconception(
        "norm_inside_the_sum",
        NORM_PLACE + 'with "post" it is x + norm(f(x)), and the sum itself is to be normalised, norm(x + f(x))',
        [
            _layer(post=lambda x, f, n, ln: x + ln(f(x), n)),
            _layer(post=lambda x, f, n, ln: x + ln(f(x), n), pre=lambda x, f, n, ln: x + ln(f(x), n)),
        ],
    ),
    Misconception(
        "norm_before_in_post",
        NORM_PLACE + 'with "post" something is normalised before it goes into f; only the sum is, norm(x + f(x))',
        [
            _layer(post=lambda x, f, n, ln: ln(x, n) + f(ln(x, n))),
            _layer(post=lambda x, f, n, ln: ln(x + f(ln(x, n)), n)),
        ],
    ),
    Misconception(
        "norm_after_in_pre",
        NORM_PLACE + 'with "pre" the sum or f\'s result is normalised; only what goes into f is, x + f(norm(x))',
        [
            _layer(pre=lambda x, f, n, ln: x + ln(f(x), n)),
            _layer(pre=lambda x, f, n, ln: ln(x + f(ln(x, n)), n)),
            _layer(pre=lambda x, f, n, ln: x + ln(f(ln(x, n)), n)),
        ],
    ),
    Misconception(
        "norm_at_the_end",
        'with "pre" there is one norm too many, at the end: T5 has that one once, behind its last layer, not in each',
        _layer(last=lambda x, p, norm: normalised(x, p, 3) if norm == "pre" else x),
    ),
    Misconception(
        "stale_norm",
        'with "pre" a sublayer reads what was normalised for an earlier one: each normalises x anew, after the sum',
        [_stale_norm(2), _stale_norm(3), _stale_norm(2, 3), _stale_norm(4)],
    ),
    Misconception(
        "norm_missing",
        "with one of the two kinds one or two of the three have no norm: each has its own",
        [_without_norm(norm, *bare) for norm in ("post", "pre") for bare in ((1,), (2,), (3,), (2, 3), (1, 2))],
    ),
    Misconception(
        "no_norm",
        "nothing was normalised",
        [
            _layer(ln=lambda y, p, n: y),
            _layer(post=lambda x, f, n, ln: x + f(x)),
            _layer(pre=lambda x, f, n, ln: x + f(x)),
        ],
    ),
    Misconception(
        "enc_normalised",
        "enc was normalised as well: the encoder has done that behind its last layer; here it is read as it is",
        [
            _layer(read=lambda enc, p, norm: normalised(enc, p, 2) if norm == "pre" else enc),
            *(_layer(read=lambda enc, p, norm, n=n: normalised(enc, p, n)) for n in (1, 2, 3)),
        ],
    ),
    Misconception(
        "norms_mixed_up",
        "a sublayer has the gamma and beta of another: norm1 goes with self-attention, norm2 with cross-attention, "
        "norm3 with the feed-forward",
        [_layer(norms=norms) for norms in ((1, 1, 1), (1, 3, 2), (2, 1, 3), (3, 2, 1), (1, 2, 2), (2, 3, 1))],
    ),
    Misconception(
        "gamma_and_beta_swapped",
        "gamma and beta are swapped: gamma multiplies, beta is added",
        _layer(ln=_ln(swapped=True)),
    ),
    Misconception(
        "plain_norm",
        "the norm has no gamma or no beta: it is normalised(y) · gamma + beta",
        [
            _layer(ln=_ln(gamma=False, beta=False)),
            _layer(ln=_ln(gamma=False)),
            _layer(ln=_ln(beta=False)),
        ],
    ),
    Misconception(
        "sample_variance",
        "the norm divides by the root of the sample variance, as torch.std and torch.var do by themselves: it is the "
        "population's, the mean of the squares",
        [_layer(ln=_ln(correction=1)), _layer(ln=_ln(correction=1, outside=True))],
    ),
    Misconception(
        "another_eps",
        "the results are a little off everywhere: the norm's eps is another than 1e-5, or stands outside the root",
        [_layer(ln=_ln(eps=eps)) for eps in (1e-6, 1e-12, 0.0, 1e-3)] + [_layer(ln=_ln(outside=True))],
    ),
    Misconception(
        "norm_over_words",
        "the norm ran over the words, or over words and numbers together: it runs over the C numbers of each word",
        [
            _layer(ln=_ln(axis=1)),
            _layer(ln=lambda y, p, n: functional.layer_norm(y, y.shape[1:]) * p[f"norm{n}_gamma"] + p[f"norm{n}_beta"]),
        ],
    ),
    Misconception(
        "root_mean_square",
        "the norm does not subtract the mean, as T5's own does not: a layer norm is wanted here for both",
        [
            _layer(ln=_ln(centre=False)),
            _layer(ln=lambda y, p, n: functional.rms_norm(y, y.shape[-1:], p[f"norm{n}_gamma"]) + p[f"norm{n}_beta"]),
        ],
    ),
    Misconception(
        "cross_reads_target",
        "the result does not depend on enc, or not in full: cross-attention took keys or values from the target",
        [
            _layer(sources=("x", "x"), masks=lambda tgt_mask, src_mask: (tgt_mask, None)),
            _layer(sources=("x", "x"), masks=lambda tgt_mask, src_mask: (tgt_mask, tgt_mask)),
            _layer(sources=("x", "x")),
            _layer(sources=("x", "enc")),
            _layer(sources=("enc", "x")),
            lambda x, enc, p, h, norm, t, s: decoder_layer(
                x, x, p, h, norm, t, torch.ones(x.shape[:2], dtype=torch.bool)
            ),
        ],
    ),
    Misconception(
        "source_asks",
        "in cross-attention the source asks and the target is read: it is the other way round",
        cross_queries_from_enc,
    ),
    Misconception(
        "matrices_mixed_up",
        "an attention uses the matrices of the other: self_… are for self-attention, cross_… for cross-attention",
        [
            *(_layer(matrices=names) for names in (("self", "self"), ("cross", "self"), ("cross", "cross"))),
        ],
    ),
    Misconception(
        "another_matrix",
        "in one of the attentions queries, keys or values were made with a matrix that is not theirs",
        [_exchanged(kind, a, b) for kind in ("self", "cross") for a, b in (("k", "v"), ("q", "k"), ("q", "v"))],
    ),
    Misconception(
        "transposed_matrices",
        "the matrices were used transposed, as nn.Linear keeps its own: here x @ w, with w (in, out)",
        [
            lambda x, enc, p, *rest: decoder_layer(
                x, enc, {name: w.T if "_w_" in name else w for name, w in p.items()}, *rest
            )
        ],
    ),
    Misconception(
        "one_head",
        "there is one head in place of h: each head has a softmax of its own",
        lambda x, enc, p, h, *rest: decoder_layer(x, enc, p, 1, *rest),
    ),
    Misconception("no_cross", "the result does not depend on enc: there is no cross-attention", _without(["cross"])),
    Misconception("no_self", "there is no self-attention: target words do not see each other", _without(["self"])),
    Misconception("no_feed_forward", "there is no feed-forward after the two attentions", _without(["ffn"])),
    Misconception(
        "another_activation",
        "the feed-forward has no ReLU between its two products, or another function, or one behind the second",
        [
            _layer(ffn=_ffn(lambda y: y)),
            _layer(ffn=_ffn(functional.gelu)),
            _layer(ffn=_ffn(lambda y: functional.gelu(y, approximate="tanh"))),
            _layer(ffn=_ffn(functional.silu)),
            _layer(ffn=_ffn(torch.tanh)),
            _layer(ffn=lambda y, p: functional.relu(_ffn(lambda y: y)(y, p))),
            _layer(ffn=lambda y, p: functional.relu(feed_forward(y, p))),
        ],
    ),
    Misconception(
        "biases_missing",
        "b1 or b2 was left out of the feed-forward",
        [_layer(ffn=_ffn(b1=False)), _layer(ffn=_ffn(b2=False)), _layer(ffn=_ffn(b1=False, b2=False))],
    ),
    Misconception(
        "target_mask_ignored",
        "tgt_mask hides nothing: target words see later ones",
        _layer(masks=lambda tgt_mask, src_mask: (None, for_keys(src_mask))),
    ),
    Misconception(
        "own_causal_mask",
        "a causal mask is at work where another tgt_mask was given: the one that is given is to be used",
        [_layer(masks=_own_causal), _layer(masks=lambda t, s: (_own_causal(t, s)[0] & t, for_keys(s)))],
    ),
    Misconception(
        "source_mask_ignored",
        "src_mask hides nothing: padding of the source is read",
        _layer(masks=lambda tgt_mask, src_mask: (tgt_mask, None)),
    ),
    Misconception(
        "masks_ignored",
        "neither mask hides anything",
        _layer(masks=lambda tgt_mask, src_mask: (None, None)),
    ),
    Misconception(
        "masks_swapped",
        "each mask is laid on the other attention, or the call stops: tgt_mask is for self-, src_mask for "
        "cross-attention",
        _layer(masks=lambda tgt_mask, src_mask: (for_keys(src_mask), tgt_mask)),
    ),
    Misconception(
        "target_mask_in_cross",
        "tgt_mask hides source words as well, or stops the call: the source is known as a whole",
        [
            _layer(masks=lambda tgt_mask, src_mask: (tgt_mask, tgt_mask & for_keys(src_mask))),
            _layer(masks=lambda tgt_mask, src_mask: (tgt_mask, tgt_mask)),
        ],
    ),
    Misconception(
        "source_mask_in_self",
        "src_mask hides target words as well, or stops the call: it belongs to cross-attention alone",
        _layer(masks=lambda tgt_mask, src_mask: (tgt_mask & for_keys(src_mask), for_keys(src_mask))),
    ),
    Misconception(
        "target_mask_inverted",
        "target words see what tgt_mask hides, and not what it shows: True means may attend",
        [
            _layer(masks=lambda tgt_mask, src_mask: (~tgt_mask, for_keys(src_mask))),
            _layer(masks=lambda tgt_mask, src_mask: (~tgt_mask, ~for_keys(src_mask))),
        ],
    ),
    Misconception(
        "target_mask_transposed",
        "target words see the words that are to see them: the rows of tgt_mask, queries, were read as keys",
        _layer(masks=lambda tgt_mask, src_mask: (tgt_mask.mT, for_keys(src_mask))),
    ),
    Misconception(
        "source_mask_inverted",
        "padding of the source is read and its words are not: True means a word",
        _layer(masks=lambda tgt_mask, src_mask: (tgt_mask, ~for_keys(src_mask))),
    ),
    Misconception(
        "only_two_axes",
        "a tgt_mask with four axes stops the call: two axes in front were added to it in every case",
        _layer(masks=lambda tgt_mask, src_mask: (tgt_mask[None, None], for_keys(src_mask))),
    ),
    Misconception(
        "target_mask_of_one",
        "with a tgt_mask for each sentence or head, that of the first serves for all",
        [
            _layer(masks=lambda t, s: (t if t.ndim == 2 else t[:1], for_keys(s))),
            _layer(masks=lambda t, s: (t if t.ndim == 2 else t[:, :1], for_keys(s))),
            _layer(masks=lambda t, s: (t if t.ndim == 2 else t[0, 0], for_keys(s))),
        ],
    ),
    Misconception(
        "source_mask_without_axes",
        AXES_OF_THE_MASK,
        [
            _layer(masks=lambda tgt_mask, src_mask: (tgt_mask, src_mask)),
            _layer(masks=lambda tgt_mask, src_mask: (tgt_mask, src_mask[:, None])),
            _layer(masks=lambda tgt_mask, src_mask: (tgt_mask, src_mask[:, None, :, None])),
        ],
    ),
    Misconception("no_scale", SCORES["no_scale"][0], _layer(core=_wrong(scale=no_scale))),
    Misconception(
        "divided_by_sqrt_c",
        BY_WIDTH,
        _layer(core=_wrong(scale=lambda q, k, v: 1 / math.sqrt(q.shape[1] * q.shape[3]))),
    ),
    Misconception(
        "nan_on_empty_row",
        "a word that may read nothing gives NaN: 0 was divided by 0 in an attention, and NaN spreads from there",
        _layer(core=_wrong(empty="nan")),
    ),
    Misconception(
        "even_on_empty_row",
        "a word that may read nothing takes an even share of everything hidden: a large negative number in every place "
        "of a row is the same as 0 in every place",
        _layer(core=_wrong(empty="even")),
    ),
    Misconception(
        "with_more",
        "several things came back; out alone is wanted",
        lambda *inputs: (decoder_layer(*inputs), None),
    ),
    Misconception(
        "partly_cut_off",
        PARTLY_CUT_OFF,
        [
            lambda x, enc, *others: decoder_layer(x, enc.detach(), *others),
            lambda x, enc, p, *others: decoder_layer(x, enc, {name: w.detach() for name, w in p.items()}, *others),
            _layer(core=average_of_detached_weights),
        ],
    ),
    *_casts(decoder_layer),
    Misconception(
        "changes_x",
        "x is another after the call: x += … writes into the tensor that was given, x = x + … does not",
        [x_added_in_place, x_added_in_place_also_post],
    ),
    Misconception(
        "changes_p",
        "p is another after the call: something was written into it or taken out",
        [p_changed, p_emptied],
    ),
)


REFERENCES = (
    Reference(
        id="who_is_query",
        reference=WHO,
        accepted=(
            [list(pair) for pair in WHO],
            (("Source", "source"), ("Target", "target"), ("target", " Source ")),
            tuple(side for pair in WHO for side in pair),
            (("encoder", "encoder"), ("decoder", "decoder"), ("decoder", "encoder")),
        ),
        misconceptions=WHO_MISCONCEPTIONS,
        cases=lambda rng: [Case("prediction")],
        view=as_pairs,
    ),
    Reference(
        id="cross_attention",
        reference=cross_attention,
        accepted=(cross_by_einsum, cross_by_loops, cross_by_torch, cross_with_heads_in_the_batch),
        misconceptions=CROSS_MISCONCEPTIONS,
        cases=cross_cases,
    ),
    Reference(
        id="precompute_kv",
        reference=precompute_kv,
        accepted=(kv_by_einsum, kv_by_columns, kv_in_one_product),
        misconceptions=KV_MISCONCEPTIONS,
        cases=kv_cases,
    ),
    Reference(
        id="cross_attention_step",
        reference=cross_attention_step,
        accepted=(step_by_einsum, step_by_torch, step_by_loops),
        misconceptions=STEP_MISCONCEPTIONS,
        cases=step_cases,
    ),
    Reference(
        id="t5_attention",
        reference=t5_attention,
        accepted=(t5_by_einsum, t5_by_torch, t5_by_loops, t5_scale_undone),
        misconceptions=T5_MISCONCEPTIONS,
        cases=t5_cases,
    ),
    Reference(
        id="decoder_layer",
        reference=decoder_layer,
        accepted=(layer_line_by_line, layer_by_loops),
        misconceptions=LAYER_MISCONCEPTIONS,
        cases=layer_cases,
    ),
)
