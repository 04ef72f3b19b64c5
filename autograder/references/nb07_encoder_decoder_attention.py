"""Notebook 07, the hidden half: references, accepted and wrong answers, cases.

About 900 lines, since six exercises share the module and each has wrong answers in several natural shapes.
"""

import math

import numpy as np
import torch

from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Built, Case, Misconception, Reference
from autograder.exercises.nb07_encoder_decoder_attention import EXTRA_CALLS

# --- attention_step --------------------------------------------------------------------------------------------------


def attention_step(s_prev, enc, src_mask, w_s, w_h, w):
    scores = torch.tanh((s_prev @ w_s)[:, None] + enc @ w_h) @ w  # (B, T)
    return attend(scores, enc, src_mask)


def attend(scores, enc, src_mask):
    """Scores (B, T) to (context, weights), zeros for a sentence without words."""
    scores = scores.masked_fill(~src_mask, -torch.inf)
    top = scores.amax(dim=-1, keepdim=True)
    e = torch.exp(scores - torch.where(top.isinf(), 0.0, top))
    total = e.sum(dim=-1, keepdim=True)
    weights = e / torch.where(total == 0, 1.0, total)
    return (weights[:, None] @ enc)[:, 0], weights


def step_by_einsum(s_prev, enc, src_mask, w_s, w_h, w):
    hidden = torch.tanh(torch.einsum("bd,dh->bh", s_prev, w_s).unsqueeze(1) + torch.einsum("btd,dh->bth", enc, w_h))
    scores = torch.einsum("bth,h->bt", hidden, w)
    weights = torch.softmax(torch.where(src_mask, scores, -math.inf), dim=1).nan_to_num(0.0)
    return torch.einsum("bt,btd->bd", weights, enc), weights


def step_by_loops(s_prev, enc, src_mask, w_s, w_h, w):
    contexts, rows = [], []
    for b in range(len(enc)):
        asks = s_prev[b] @ w_s
        words = [t for t in range(enc.shape[1]) if src_mask[b, t]]
        row = [enc.new_zeros(())] * enc.shape[1]
        if words:
            shares = torch.stack([w @ torch.tanh(asks + enc[b, t] @ w_h) for t in words]).softmax(0)
            for t, share in zip(words, shares, strict=True):
                row[t] = share
        rows.append(torch.stack(row))
        contexts.append(sum(share * vector for share, vector in zip(row, enc[b], strict=True)))
    return [torch.stack(contexts), torch.stack(rows)]


def step_with_finite_fill(s_prev, enc, src_mask, w_s, w_h, w):
    query, keys = s_prev.matmul(w_s), torch.nn.functional.linear(enc, w_h.T)
    scores = (torch.tanh(query[:, None, :].expand_as(keys) + keys) * w).sum(-1)
    weights = scores.masked_fill(src_mask.logical_not(), torch.finfo(scores.dtype).min).softmax(-1)
    weights = weights * src_mask.to(weights.dtype)
    return (weights.unsqueeze(-1) * enc).sum(dim=1), weights


def step_by_bmm(s_prev, enc, src_mask, w_s, w_h, w):
    both = torch.cat([s_prev[:, None].repeat(1, enc.shape[1], 1), enc], dim=-1)
    scores = (both @ torch.cat([w_s, w_h])).tanh().matmul(w[:, None]).squeeze(-1)
    additive = torch.zeros_like(scores).masked_fill(~src_mask, -1e30 if scores.dtype == torch.float32 else -1e300)
    weights = torch.where(src_mask.any(-1, keepdim=True), (scores + additive).softmax(-1), torch.zeros_like(scores))
    return torch.bmm(weights[:, None], enc).squeeze(1), weights


def _scored(score, attend=attend):
    """An answer with another score: `score(s_prev, enc, w_s, w_h, w)` → (B, T)."""
    return lambda s_prev, enc, src_mask, w_s, w_h, w: attend(score(s_prev, enc, w_s, w_h, w), enc, src_mask)


def _right_score(s_prev, enc, w_s, w_h, w):
    return torch.tanh((s_prev @ w_s)[:, None] + enc @ w_h) @ w


def _attending(attend):
    """An answer with the right scores and `attend(scores, enc, src_mask)`."""
    return _scored(_right_score, attend)


def _weighted(weigh):
    """An answer with the right scores and `weigh(scores, src_mask)` → weights."""

    def attend(scores, enc, src_mask):
        weights = weigh(scores, src_mask)
        return (weights[:, None] @ enc)[:, 0], weights

    return _attending(attend)


def _filled(value, mask=lambda src_mask: src_mask, dim=-1):
    return lambda scores, src_mask: scores.masked_fill(~mask(src_mask), value).softmax(dim)


def _zeros_for_no_words(weigh):
    """The same weights, but zeros for a sentence without words."""
    return lambda scores, src_mask: torch.where(src_mask.any(-1, keepdim=True), weigh(scores, src_mask), 0.0)


def _of_right(change):
    """An answer whose results go through `change(context, weights, enc, s_prev, src_mask)`."""

    def answer(s_prev, enc, src_mask, w_s, w_h, w):
        context, weights = attention_step(s_prev, enc, src_mask, w_s, w_h, w)
        return change(context, weights, enc, s_prev, src_mask)

    return answer


def _context(read):
    """An answer with the right weights and another context: `read(weights, s_prev, enc, w_s, w_h)`."""

    def answer(s_prev, enc, src_mask, w_s, w_h, w):
        _, weights = attention_step(s_prev, enc, src_mask, w_s, w_h, w)
        return read(weights, s_prev, enc, w_s, w_h), weights

    return answer


def _both(score, read):
    """An answer with other weights and another context."""

    def answer(s_prev, enc, src_mask, w_s, w_h, w):
        _, weights = attend(score(s_prev, enc, w_s, w_h, w), enc, src_mask)
        return read(weights, s_prev, enc, w_s, w_h), weights

    return answer


def _naive(scores, src_mask):
    e = torch.exp(scores) * src_mask
    total = e.sum(-1, keepdim=True)
    return e / torch.where(total == 0, 1.0, total)


def _naive_undefined(scores, src_mask):
    e = torch.exp(scores) * src_mask
    return e / e.sum(-1, keepdim=True)


def _small_constant(scores, src_mask):
    e = torch.exp(scores) * src_mask
    return e / (e.sum(-1, keepdim=True) + 1e-8)


def _clipped(scores, src_mask):
    return _naive(scores.clamp(-50, 50), src_mask)


def _masks_score_with_product(scores, src_mask):
    return (scores * src_mask).softmax(-1)


def _after_softmax(scores, src_mask):
    return scores.softmax(-1) * src_mask


def _masked_in_place(s_prev, enc, src_mask, w_s, w_h, w):
    results = attention_step(s_prev, enc, src_mask, w_s, w_h, w)
    enc.mul_(src_mask.unsqueeze(-1))
    return results


def _state_in_place(s_prev, enc, src_mask, w_s, w_h, w):
    results = attention_step(s_prev, enc, src_mask, w_s, w_h, w)
    s_prev.add_(1)
    return results


def _weights_in_place(s_prev, enc, src_mask, w_s, w_h, w):
    results = attention_step(s_prev, enc, src_mask, w_s, w_h, w)
    w.tanh_()
    return results


def _mask_in_place(s_prev, enc, src_mask, w_s, w_h, w):
    results = attention_step(s_prev, enc, src_mask, w_s, w_h, w)
    src_mask.logical_not_()
    return results


def _through_numpy(*inputs):
    context, weights = attention_step(*(part.detach() for part in inputs))
    return torch.from_numpy(context.numpy()), torch.from_numpy(weights.numpy())


def _no_grad(*inputs):
    with torch.no_grad():
        return attention_step(*inputs)


def _cut_at(*which):
    """The right answer with some of its inputs cut off from the gradient."""
    return lambda *inputs: attention_step(*(part.detach() if i in which else part for i, part in enumerate(inputs)))


def _over_features(s_prev, enc, src_mask, w_s, w_h, w):
    hidden = torch.tanh((s_prev @ w_s)[:, None] + enc @ w_h).softmax(-1)
    return attend(hidden @ w, enc, src_mask)


def _crossed(s_prev, enc, w_s, w_h, w):
    """w_s and w_h trade places, which fits only where both widths are equal."""
    return torch.tanh((s_prev @ w_h)[:, None] + enc @ w_s) @ w


def _transposed_matrices(s_prev, enc, w_s, w_h, w):
    return torch.tanh((s_prev @ w_s.T)[:, None] + enc @ w_h.T) @ w


def _another_state(s_prev, enc, w_s, w_h, w):
    """The states run along T instead of along the batch, which fits only where B and T are equal (or one is 1)."""
    return torch.tanh(s_prev @ w_s + enc @ w_h) @ w


def step_cases(rng):
    """The cases; first those on which the most mistakes show, so that a diagnosis is soon done with each."""
    first = ("mask", "no_words", "large_scores", DIFFERENTIABLE, "sizes_of_one")
    cases = list(_step_cases(rng))
    leading = [next(case for case in cases if case.check == check) for check in first]
    leading += [case for case in cases if case.check == KEEPS_DTYPE]
    return leading + [case for case in cases if not any(case is one for one in leading)]


def _step_cases(rng):
    everything = [((2, 5, 3, 4, 6), np.float64), ((4, 2, 6, 3, 5), np.float32), ((3, 3, 3, 3, 3), np.float64)]
    for check in ("weights", "context"):
        for sizes, dtype in everything:
            yield Case(check, _step(rng, sizes, dtype))
    for kind, sizes in {
        "right": (4, 5, 3, 6, 2),
        "left": (3, 4, 2, 5, 7),
        "holes": (4, 4, 4, 4, 4),
        "one": (3, 6, 5, 2, 4),
    }.items():
        yield Case("mask", _step(rng, sizes, np.float32 if kind == "left" else np.float64, mask=kind))
    yield Case("mask", _loud_padding(rng, (3, 5, 2, 6, 3)))
    for sizes in ((1, 4, 3, 5, 2), (3, 1, 2, 4, 5), (2, 3, 1, 4, 3), (2, 3, 4, 1, 3), (2, 4, 3, 5, 1)):
        yield Case("sizes_of_one", _step(rng, sizes, np.float64))
    yield Case("sizes_of_one", _step(rng, (1, 5, 2, 3, 4), np.float64, mask="right"))
    for sign in (1, -1):
        yield Case("large_scores", _far(rng, (3, 5, 2, 4, 6), 1e4 * sign, "all"))
        yield Case("large_scores", _far(rng, (3, 4, 2, 3, 5), 1e4 * sign, "right"))
    for sizes, dtype in (((3, 4, 2, 5, 6), np.float64), ((1, 3, 4, 2, 5), np.float32)):
        yield Case("no_words", _step(rng, sizes, dtype, mask="none"))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, _step(rng, (2, 4, 3, 5, 6), dtype, mask="right"))
    yield Case(DIFFERENTIABLE, _step(rng, (3, 5, 4, 2, 6), np.float64, mask="right"))
    yield Case(DIFFERENTIABLE, _step(rng, (2, 3, 2, 5, 4), np.float64))


def _step(rng, sizes, dtype, mask="all"):
    """Inputs of the sizes (B, T, Ds, De, h)."""
    b, t, ds, de, h = sizes
    shapes = ((b, ds), (b, t, de), (ds, h), (de, h), (h,))
    s_prev, enc, w_s, w_h, w = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    return s_prev, enc, _mask(rng, b, t, mask), w_s, w_h, w


def _mask(rng, b, t, kind):
    """(b, t) bool; no two kinds alike, and in each at least one sentence has padding ("all" aside)."""
    place = np.arange(t)[None]
    lengths = np.array([t - 1 - i % (t - 1) for i in range(b)])[:, None] if t > 1 else np.ones((b, 1), int)
    if kind == "right":
        return place < lengths if b > 1 else place < t - 1
    if kind == "left":
        return place >= t - lengths
    if kind == "holes":
        mask = rng.permuted(np.repeat(place < t - 1, b, axis=0), axis=1)
        mask[0, :3] = True, False, True
        return mask
    if kind == "one":
        return place == rng.integers(t, size=(b, 1))
    mask = np.ones((b, t), bool)
    if kind == "none":
        mask[0] = False
    return mask


def _loud_padding(rng, sizes):
    """Padding whose scores are larger than those of words: it takes nearly all where the mask comes too late."""
    s_prev, enc, src_mask, w_s, w_h, w = _step(rng, sizes, np.float64, "right")
    w[:] = 8 * np.sign(w) + w
    loud = np.linalg.lstsq(w_h.T, 20 * np.sign(w), rcond=None)[0]  # loud @ w_h is 20 · sign(w), so tanh is sign(w)
    enc[~src_mask] = loud
    return s_prev, enc, src_mask, w_s, w_h, w


def _far(rng, sizes, size, mask):
    """Scores near `size` that differ by a few units: an exp without a shift gives inf / inf or 0 / 0."""
    s_prev, enc, src_mask, w_s, w_h, w = _step(rng, sizes, np.float64, mask)
    enc[..., 0] = 1.0
    w_h[:, 0], w_s[:, 0] = 0.0, 0.0
    w_h[0, 0] = 50.0  # tanh is 1 there, for every word
    w[0] = size
    return s_prev, enc, src_mask, w_s, w_h, w


def weights_or_context(case, result):
    """A view that reads both results; the first two checks see one each."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise ValueError("not two results")
    named = {"context": result[0], "weights": result[1]}
    return {case.check: named[case.check]} if case.check in named else named


STEP_MISCONCEPTIONS = (
    Misconception(
        "ignores_enc",
        "every word of a sentence has the same weight: the scores do not depend on enc, so that the state has nothing "
        "to choose from",
        [
            _scored(lambda s, enc, w_s, w_h, w: (torch.tanh(s @ w_s) @ w)[:, None].expand(enc.shape[:2])),
        ],
    ),
    Misconception(
        "ignores_state",
        "the weights do not depend on s_prev: it is missing from the scores, or it adds the same to the score of every "
        "word, which the softmax takes away again; it has to be inside the tanh",
        [
            _scored(lambda s, enc, w_s, w_h, w: torch.tanh(enc @ w_h) @ w),
            _scored(lambda s, enc, w_s, w_h, w: (torch.tanh(s @ w_s)[:, None] + torch.tanh(enc @ w_h)) @ w),
        ],
    ),
    Misconception(
        "no_tanh",
        "these are the weights without tanh: the scores are then linear, s_prev adds the same to every word, and the "
        "softmax takes it away again",
        _scored(lambda s, enc, w_s, w_h, w: ((s @ w_s)[:, None] + enc @ w_h) @ w),
    ),
    Misconception(
        "tanh_at_the_end",
        "the tanh was taken of the finished score: it belongs before the product with w, on the h numbers",
        _scored(lambda s, enc, w_s, w_h, w: torch.tanh(((s @ w_s)[:, None] + enc @ w_h) @ w)),
    ),
    Misconception(
        "another_curve",
        "another function stands in the place of tanh: these are the numbers of a relu or a sigmoid",
        [
            _scored(lambda s, enc, w_s, w_h, w: torch.relu((s @ w_s)[:, None] + enc @ w_h) @ w),
            _scored(lambda s, enc, w_s, w_h, w: torch.sigmoid((s @ w_s)[:, None] + enc @ w_h) @ w),
        ],
    ),
    Misconception(
        "without_w",
        "the h numbers were summed or averaged as they are: each has to be multiplied by its own weight in w first",
        [
            _scored(lambda s, enc, w_s, w_h, w: torch.tanh((s @ w_s)[:, None] + enc @ w_h).sum(-1)),
        ],
    ),
    Misconception(
        "product_of_projections",
        "the score is a product of the two projections: additive attention adds them, takes tanh, and multiplies by w",
        [
            _scored(lambda s, enc, w_s, w_h, w: ((s @ w_s)[:, None] * (enc @ w_h)).sum(-1)),
            _scored(lambda s, enc, w_s, w_h, w: ((s @ w_s)[:, None] * (enc @ w_h)) @ w),
        ],
    ),
    Misconception(
        "subtracted",
        "the projected state is subtracted from the projected words, or they from it: the two are added",
        [
            _scored(lambda s, enc, w_s, w_h, w: torch.tanh(enc @ w_h - (s @ w_s)[:, None]) @ w),
            _scored(lambda s, enc, w_s, w_h, w: torch.tanh((s @ w_s)[:, None] - enc @ w_h) @ w),
        ],
    ),
    Misconception(
        "multiplied",
        "inside the tanh the projections of the state and of a word were multiplied: the two are added",
        _scored(lambda s, enc, w_s, w_h, w: torch.tanh((s @ w_s)[:, None] * (enc @ w_h)) @ w),
    ),
    Misconception(
        "scaled",
        "the scores are divided by a root of a width, or by the width: additive attention has no scale",
        [
            _scored(lambda s, enc, w_s, w_h, w: _right_score(s, enc, w_s, w_h, w) / math.sqrt(len(w))),
            _scored(lambda s, enc, w_s, w_h, w: _right_score(s, enc, w_s, w_h, w) / math.sqrt(enc.shape[-1])),
        ],
    ),
    Misconception(
        "matrices_crossed",
        "where Ds = De the numbers are those with w_s and w_h in each other's place, elsewhere the product does not "
        "fit: w_s belongs to the state, w_h to the encoder vectors",
        _scored(_crossed),
    ),
    Misconception(
        "matrices_transposed",
        "where Ds = De = h the numbers are those with w_s and w_h transposed, elsewhere the product does not fit: they "
        "are (Ds, h) and (De, h) already",
        _scored(_transposed_matrices),
    ),
    Misconception(
        "states_along_the_words",
        "where B = T the state of sentence i meets word i of every sentence, elsewhere the sum does not fit: the "
        "states (B, h) need an axis of size 1 in the place of T",
        _scored(_another_state),
    ),
    Misconception(
        "softmax_over_h",
        "a softmax ran over the h numbers of a word: it belongs after the product with w, over the words",
        _over_features,
    ),
    Misconception(
        "over_the_batch",
        "the weights of each word sum to 1 over the sentences of the batch: the softmax ran over axis 0, and the rows "
        "do not sum to 1 over the words",
        [
            _weighted(_filled(-torch.inf, dim=0)),
            _weighted(lambda scores, src_mask: scores.softmax(0)),
            _weighted(lambda scores, src_mask: scores.softmax(0) * src_mask),
            _weighted(lambda scores, src_mask: _filled(-torch.inf, dim=0)(scores, src_mask).nan_to_num()),
        ],
    ),
    Misconception(
        "over_everything",
        "the weights of all sentences together sum to 1: each sentence has to have its own 1",
        [
            _weighted(
                lambda scores, src_mask: (
                    scores.masked_fill(~src_mask, -torch.inf).flatten().softmax(0).reshape(scores.shape)
                )
            ),
            _weighted(lambda scores, src_mask: scores.flatten().softmax(0).reshape(scores.shape)),
            _weighted(
                lambda scores, src_mask: (
                    scores.masked_fill(~src_mask, -torch.inf).flatten().softmax(0).reshape(scores.shape).nan_to_num()
                )
            ),
        ],
    ),
    Misconception(
        "no_mask",
        "padding has weights above 0: the mask plays no part, and these are the weights over all T places",
        _weighted(lambda scores, src_mask: scores.softmax(-1)),
    ),
    Misconception(
        "mask_inverted",
        "the words have weight 0 and the padding has it all: True in src_mask means a word",
        [
            _weighted(_filled(-torch.inf, lambda mask: ~mask)),
            _attending(lambda scores, enc, src_mask: attend(scores, enc, ~src_mask)),
        ],
    ),
    Misconception(
        "mask_after",
        "the weights of the words are right in proportion but do not sum to 1: padding took a share in the softmax and "
        "lost it afterwards",
        _weighted(_after_softmax),
    ),
    Misconception(
        "mask_as_zero",
        "padding has the weight of a score of 0: exp(0) is 1, not 0; a masked score has to be −∞",
        [
            _weighted(_filled(0.0)),
            _weighted(_masks_score_with_product),
            _weighted(_zeros_for_no_words(_filled(0.0))),
        ],
    ),
    Misconception(
        "mask_as_zero+mask_after",
        "padding weighs 0, and the weights of the words sum to less than 1: a score of 0 took a share in the softmax, "
        "for exp(0) is 1, and lost it afterwards",
        _weighted(lambda scores, src_mask: _filled(0.0)(scores, src_mask) * src_mask),
    ),
    Misconception(
        "fill_not_low_enough",
        "where the scores of words are near −10000, padding has weight or takes a share: the number in the place of "
        "its scores is no lower; −∞ is lower than every score",
        [
            *(_weighted(_zeros_for_no_words(_filled(fill))) for fill in (-1e4, -1e3, -100.0)),
            *(_weighted(lambda scores, src_mask, f=f: _filled(f)(scores, src_mask) * src_mask) for f in (-1e4, -1e3)),
        ],
    ),
    Misconception(
        "context_over_padding",
        "the weights are right, and the context was averaged with others, in which padding has a share",
        lambda s_prev, enc, src_mask, w_s, w_h, w: (
            attention_step(s_prev, enc, torch.ones_like(src_mask), w_s, w_h, w)[0],
            attention_step(s_prev, enc, src_mask, w_s, w_h, w)[1],
        ),
    ),
    Misconception(
        "mask_added",
        "the mask was added to the scores as 0 and 1: a word is then ahead of padding by a factor of e only",
        _weighted(lambda scores, src_mask: (scores + src_mask).softmax(-1)),
    ),
    Misconception(
        "fill_too_small",
        "padding has a weight where the scores are near −10000: the number put in its place is no smaller than scores "
        "can be, as −∞ is",
        [_weighted(_zeros_for_no_words(_filled(value))) for value in (-1e4, -1e3)]
        + [_weighted(_filled(value)) for value in (-1e4, -1e3)],
    ),
    Misconception(
        "no_words_nan",
        "a sentence without words gives NaN: all its scores are −∞, and the softmax divides 0 by 0",
        _weighted(_filled(-torch.inf)),
    ),
    Misconception(
        "no_words_even",
        "a sentence without words gets weights that sum to 1: against a large finite number in every place all scores "
        "are equal",
        [
            _weighted(_filled(-1e9)),
            _weighted(lambda scores, src_mask: (scores + torch.where(src_mask, 0.0, -1e9)).softmax(-1)),
        ],
    ),
    Misconception(
        "no_shift",
        "scores near ±10000 give NaN, infinity or 0: exp of 10000 is infinite and exp of −10000 is 0; the largest "
        "score has to be subtracted first, which torch.softmax does",
        [_weighted(_naive), _weighted(_naive_undefined), _weighted(_small_constant)],
    ),
    Misconception(
        "clipped",
        "scores near ±10000 give weights that are all equal: the scores were clipped, and what they differ in is gone",
        [
            _weighted(_clipped),
        ],
    ),
    Misconception(
        "scores_for_weights",
        "the second result are scores: they do not sum to 1 over the words; the softmax is missing",
        [
            _attending(lambda scores, enc, src_mask: (attend(scores, enc, src_mask)[0], scores)),
            _attending(
                lambda scores, enc, src_mask: (
                    attend(scores, enc, src_mask)[0],
                    scores.masked_fill(~src_mask, -torch.inf),
                )
            ),
            _attending(lambda scores, enc, src_mask: ((scores[:, None] @ enc)[:, 0], scores)),
            _attending(lambda scores, enc, src_mask: (((scores * src_mask)[:, None] @ enc)[:, 0], scores * src_mask)),
        ],
    ),
    Misconception(
        "context_from_the_state",
        "the context is made of the state: it is s_prev, or a projection or multiple of it, where the encoder vectors "
        "are to be averaged",
        [
            _context(lambda weights, s, enc, w_s, w_h: s),
            _context(lambda weights, s, enc, w_s, w_h: s @ w_s),
            _context(lambda weights, s, enc, w_s, w_h: s * weights.sum(-1, keepdim=True)),
        ],
    ),
    Misconception(
        "context_of_projections",
        "the context has h numbers: what was averaged are the projected vectors, not the encoder vectors themselves",
        [
            _context(lambda weights, s, enc, w_s, w_h: (weights[:, None] @ (enc @ w_h))[:, 0]),
            _context(
                lambda weights, s, enc, w_s, w_h: (weights[:, None] @ torch.tanh((s @ w_s)[:, None] + enc @ w_h))[:, 0]
            ),
        ],
    ),
    Misconception(
        "context_divided_by_length",
        "every number of the context is too small by a factor T: weights that sum to 1 already average, and a mean "
        "divides once more",
        _context(lambda weights, s, enc, w_s, w_h: (weights[..., None] * enc).mean(1)),
    ),
    Misconception(
        "plain_average",
        "the context is the plain average or sum of the encoder vectors, whatever the weights say",
        [
            _context(lambda weights, s, enc, w_s, w_h: enc.mean(1)),
            _context(lambda weights, s, enc, w_s, w_h: enc.sum(1)),
        ],
    ),
    Misconception(
        "best_word_only",
        "the context is the one encoder vector with the largest weight: all of them are to be averaged",
        _context(lambda weights, s, enc, w_s, w_h: enc[torch.arange(len(enc)), weights.argmax(-1)]),
    ),
    Misconception(
        "not_summed",
        "the context still has the axis T: the weighted encoder vectors have to be added up over it",
        _context(lambda weights, s, enc, w_s, w_h: weights[..., None] * enc),
    ),
    Misconception(
        "other_order",
        "both results are there, in the other order: (context, weights) is wanted",
        _of_right(lambda context, weights, *_: (weights, context)),
    ),
    Misconception(
        "context_alone",
        "the context comes back alone: two results are wanted, (context, weights)",
        _of_right(lambda context, weights, *_: context),
    ),
    Misconception(
        "weights_alone",
        "the weights come back alone: two results are wanted, (context, weights)",
        _of_right(lambda context, weights, *_: weights),
    ),
    Misconception(
        "extra_axis",
        "the numbers are right, with an axis of size 1 too many: (B, De) and (B, T) are wanted",
        [
            _of_right(lambda context, weights, *_: (context[:, None], weights)),
            _of_right(lambda context, weights, *_: (context[:, None], weights[:, None])),
            _of_right(lambda context, weights, *_: (context, weights[..., None])),
            _of_right(lambda context, weights, *_: (context[:, None], weights[..., None])),
        ],
    ),
    Misconception(
        "squeezed",
        "an axis of size 1 is gone: one sentence is still a batch, one word still a sentence, and one number a vector",
        [
            _of_right(lambda context, weights, *_: (context.squeeze(), weights.squeeze())),
            _of_right(lambda context, weights, *_: (context.squeeze(), weights)),
            _of_right(lambda context, weights, *_: (context, weights.squeeze())),
            _of_right(lambda context, weights, *_: (context[:, None].squeeze(), weights[..., None].squeeze())),
        ],
    ),
    Misconception(
        "lost_float64",
        "the numbers are right to 7 digits, but float64 became float32 on the way",
        [
            _of_right(lambda context, weights, *_: (context.float(), weights.float())),
            _of_right(lambda context, weights, *_: (context, weights.float())),
            _of_right(lambda context, weights, *_: (context.float(), weights)),
        ],
    ),
    Misconception(
        "lost_float32",
        "the numbers are right but float32 became float64 on the way",
        [
            _of_right(lambda context, weights, *_: (context.double(), weights.double())),
            _of_right(lambda context, weights, *_: (context, weights.double())),
            _of_right(lambda context, weights, *_: (context.double(), weights)),
        ],
    ),
    Misconception(
        "cut_off",
        "no gradient flows back from the results: detach(), torch.no_grad(), a new tensor or a trip through NumPy cuts "
        "them off, and the model cannot learn from what it read",
        [_through_numpy, _no_grad, _of_right(lambda context, weights, *_: (context.detach(), weights.detach()))],
    ),
    Misconception(
        "partly_cut_off",
        "the numbers are right, but some inputs get no gradient, or not all of it: a detach() or a copy of the data "
        "stands between them and a result",
        [
            _of_right(lambda context, weights, enc, *_: ((weights.detach()[:, None] @ enc)[:, 0], weights)),
            _of_right(lambda context, weights, *_: (context, weights.detach())),
            _of_right(lambda context, weights, enc, *_: ((weights[:, None] @ enc.detach())[:, 0], weights)),
            _cut_at(0),
            _cut_at(1),
            *(_cut_at(i) for i in (3, 4, 5)),
            _cut_at(3, 4, 5),
        ],
    ),
    Misconception(
        "overwrites_inputs",
        "an input is another after the call: an operation in place, such as enc *= … or masked_fill_, writes into the "
        "tensor given",
        [_masked_in_place, _state_in_place, _weights_in_place, _mask_in_place],
    ),
)


# --- shift_right -----------------------------------------------------------------------------------------------------


def shift_right(target, bos):
    return torch.cat([torch.full_like(target[:, :1], bos), target[:, :-1]], dim=1)


def shift_by_copy(target, bos):
    inputs = target.new_empty(target.shape)
    inputs[:, 0] = bos
    inputs[:, 1:] = target[:, :-1]
    return inputs


def shift_by_roll(target, bos):
    inputs = target.roll(1, dims=1)
    inputs[:, 0] = bos
    return inputs


def shift_by_padding(target, bos):
    return torch.nn.functional.pad(target, (1, -1), value=bos)


def shift_by_lists(target, bos):
    return [[bos, *row[:-1]] for row in target.tolist()]


def _rolled_batch(target, bos):
    inputs = target.roll(1, dims=0)
    inputs[0] = bos
    return inputs


def _shift_in_place(target, bos):
    target[:, 1:] = target[:, :-1].clone()
    target[:, 0] = bos
    return target


def _shift_in_place_by_roll(target, bos):
    target.copy_(shift_right(target, bos))
    return target.clone()


def _first_set_in_place(target, bos):
    target[:, 0] = bos
    return target


def _beside(*parts):
    return torch.cat(parts, dim=1)


def _column(target, token):
    return torch.full_like(target[:, :1], token)


def shift_cases(rng):
    for b, t, bos in ((2, 5, 1), (5, 3, 1), (4, 4, 8), (1, 6, 1), (3, 2, 0)):
        yield Case("shifted", (_ids(rng, b, t, bos), bos))
    padded = _ids(rng, 3, 5, bos=1)
    padded[0, 3:], padded[1, 1:] = 0, 0
    padded[:, -1] = (0, 0, 2)
    yield Case("shifted", (padded, 1))
    for b, bos in ((4, 1), (1, 9)):
        yield Case("one_position", (_ids(rng, b, 1, bos), bos))
    for b, t, bos in ((2, 4, 0), (3, 3, 7), (2, 5, 40)):
        target = _ids(rng, b, t, bos=bos)
        target[-1, 1] = bos
        yield Case("any_token", (target, bos))
    yield Case(KEEPS_DTYPE, (_ids(rng, 2, 4, bos=1), 1))


def _ids(rng, b, t, bos):
    """(b, t) int64, all different, so that every place can be told; never bos."""
    return rng.permutation(np.delete(np.arange(3, 60), bos - 3 if bos >= 3 else []))[: b * t].reshape(b, t)


SHIFT_MISCONCEPTIONS = (
    Misconception(
        "unshifted",
        "the inputs are the targets: at each position the decoder is given the very word it has to give, and learns "
        "to copy it",
        [lambda target, bos: target, lambda target, bos: target.clone()],
    ),
    Misconception(
        "first_target_for_bos",
        "bos is missing: the targets moved to the right, and the first of them stands in its place",
        lambda target, bos: _beside(target[:, :1], target[:, :-1]),
    ),
    Misconception(
        "single_position_kept",
        "right for two positions or more; a single one keeps its target, where bos alone is wanted",
        lambda target, bos: shift_right(target, bos) if target.shape[1] > 1 else target,
    ),
    Misconception(
        "first_replaced",
        "bos stands in the place of the first target, which is lost, and nothing is shifted: from the second position "
        "on the decoder is given the word it has to give",
        [lambda target, bos: _beside(_column(target, bos), target[:, 1:]), _first_set_in_place],
    ),
    Misconception(
        "shifted_left",
        "the targets moved the other way, and what was added stands on the right: position t is given target t + 1, "
        "which is not known yet",
        [
            lambda target, bos: _beside(target[:, 1:], _column(target, bos)),
            lambda target, bos: _beside(target[:, 1:], _column(target, 0)),
            lambda target, bos: _beside(_column(target, bos), target[:, 2:], _column(target, 0))[:, : target.shape[1]],
        ],
    ),
    Misconception(
        "bos_on_the_right",
        "bos stands at the end: it opens a sentence, so it belongs before the first target",
        [
            lambda target, bos: _beside(target[:, :-1], _column(target, bos)),
            lambda target, bos: _beside(target, _column(target, bos)),
        ],
    ),
    Misconception(
        "one_too_long",
        "the inputs are one longer than the targets: the last target is never given to the decoder, since nothing is "
        "to come after it",
        lambda target, bos: _beside(_column(target, bos), target),
    ),
    Misconception(
        "one_too_short",
        "the inputs are one shorter than the targets: there is an input for each target, the first of them bos",
        [lambda target, bos: target[:, :-1], lambda target, bos: target[:, 1:]],
    ),
    Misconception(
        "wrapped",
        "bos is missing, and what fell out at one end came back at the other, as roll does",
        [lambda target, bos: target.roll(1, dims=1), lambda target, bos: target.roll(-1, dims=1)],
    ),
    Misconception(
        "over_the_batch",
        "the sentences were shifted, not the words: a row holds the targets of another sentence",
        [
            _rolled_batch,
            lambda target, bos: target.roll(1, dims=0),
            lambda target, bos: torch.cat([torch.full_like(target[:1], bos), target[:-1]], dim=0),
        ],
    ),
    Misconception(
        "another_opening",
        "the first input is always the same number, whatever bos is",
        [
            lambda target, bos: _beside(_column(target, 1), target[:, :-1]),
            lambda target, bos: _beside(_column(target, 0), target[:, :-1]),
            lambda target, bos: _beside(_column(target, 2), target[:, :-1]),
        ],
    ),
    Misconception(
        "shifted_twice",
        "the targets moved by two positions: at each the word before the last one is given",
        lambda target, bos: _beside(_column(target, bos), _column(target, bos), target)[:, : target.shape[1]],
    ),
    Misconception(
        "flipped",
        "the targets stand in reverse order",
        [
            lambda target, bos: _beside(_column(target, bos), target[:, :-1].flip(1)),
            lambda target, bos: _beside(_column(target, bos), target.flip(1)[:, :-1]),
            lambda target, bos: _beside(_column(target, bos), target.flip(1)[:, 1:]),
        ],
    ),
    Misconception(
        "smaller_integers",
        "the numbers are right, but int64 became a smaller integer",
        [lambda target, bos: shift_right(target, bos).int(), lambda target, bos: shift_right(target, bos).short()],
    ),
    Misconception(
        "overwrites_target",
        "target is another after the call: the shift was written into the tensor given, which the loss still needs",
        [_shift_in_place, _shift_in_place_by_roll],
    ),
)


# --- greedy_translate ------------------------------------------------------------------------------------------------


def greedy_translate(step, state, bos, eos, max_len):
    ids: list[int] = []
    token = bos
    for _ in range(max_len):
        logits, state = step(token, state)
        token = int(logits.argmax())
        if token == eos:
            break
        ids.append(token)
    return ids


def greedy_by_while(step, state, bos, eos, max_len):
    tokens = [bos]
    while len(tokens) <= max_len:
        scores, state = step(tokens[-1], state)
        best = max(range(len(scores)), key=lambda i: scores[i].item())
        if best == eos:
            return tokens[1:]
        tokens.append(best)
    return tokens[1:]


def greedy_by_probabilities(step, state, bos, eos, max_len):
    found = torch.empty(0, dtype=torch.int64)
    token = torch.tensor(bos)
    while found.numel() < max_len:
        logits, state = step(token, state)
        token = torch.log_softmax(logits.double(), dim=-1).topk(1).indices[0]
        if token.item() == eos:
            break
        found = torch.cat([found, token[None]])
    return found


def greedy_by_recursion(step, state, bos, eos, max_len):
    if max_len == 0:
        return []
    logits, state = step(token=bos, state=state)
    token = int(np.argmax(logits.numpy()))
    return [] if token == eos else [token, *greedy_by_recursion(step, state, token, eos, max_len - 1)]


def greedy_cut_afterwards(step, state, bos, eos, max_len):
    tokens: list[int] = []
    for i in range(max_len):
        logits, state = step(tokens[i - 1] if i else bos, state)
        tokens.append(logits.argmax().item())
    return tuple(tokens[: tokens.index(eos)] if eos in tokens else tokens)


def _greedy(
    feed=lambda token, bos: token,
    carry=lambda new, first: new,
    pick=lambda logits: int(logits.argmax()),
    ends=lambda token, bos, eos: token == eos,
    limit=lambda max_len: max_len,
    first=lambda bos, eos: bos,
    keeps=lambda token, ids: True,
    after=lambda ids, bos, eos, token: ids,
):
    """A greedy decoder with one thing done in another way.

    feed, carry: what step is given next; pick: the next token; ends: when to stop; limit: how many steps;
    first: what step is given first; keeps: whether a token goes into the list; after: what becomes of the list.
    """

    def greedy(step, state, bos, eos, max_len):
        ids: list[int] = []
        start, token = state, first(bos, eos)
        for _ in range(limit(max_len)):
            logits, new = step(token, state)
            state = carry(new, start)
            token = pick(logits)
            if ends(token, bos, eos):
                break
            if keeps(token, ids):
                ids.append(token)
            token = feed(token, bos)
        return after(ids, bos, eos, token)

    return greedy


def _with_eos(step, state, bos, eos, max_len):
    ids: list[int] = []
    token = bos
    for _ in range(max_len):
        logits, state = step(token, state)
        token = int(logits.argmax())
        ids.append(token)
        if token == eos:
            break
    return ids


def _drops_last(step, state, bos, eos, max_len):
    return _with_eos(step, state, bos, eos, max_len)[:-1]


def _bos_and_eos(step, state, bos, eos, max_len):
    return [bos, *_with_eos(step, state, bos, eos, max_len)]


def _counts_bos(step, state, bos, eos, max_len):
    ids = [bos]
    while len(ids) < max_len:
        logits, state = step(ids[-1], state)
        token = int(logits.argmax())
        if token == eos:
            break
        ids.append(token)
    return ids[1:]


def _at_least_one(step, state, bos, eos, max_len):
    ids: list[int] = []
    token = bos
    while True:
        logits, state = step(token, state)
        token = int(logits.argmax())
        if token == eos:
            return ids
        ids.append(token)
        if len(ids) == max_len:
            return ids


def _no_limit(step, state, bos, eos, max_len):
    ids: list[int] = []
    token = bos
    while True:
        logits, state = step(token, state)
        token = int(logits.argmax())
        if token == eos:
            return ids
        ids.append(token)


def _no_limit_cut(step, state, bos, eos, max_len):
    return _no_limit(step, state, bos, eos, max_len)[:max_len]


def _loses_first(step, state, bos, eos, max_len):
    return greedy_translate(step, state, bos, eos, max_len)[1:]


def _lags(step, state, bos, eos, max_len):
    """The state goes on only after it was used twice."""
    ids, token, before = [], bos, state
    for _ in range(max_len):
        logits, new = step(token, before)
        before, state = state, new
        token = int(logits.argmax())
        if token == eos:
            break
        ids.append(token)
    return ids


def _stops_at_a_repeat(step, state, bos, eos, max_len):
    ids: list[int] = []
    token = bos
    for _ in range(max_len):
        logits, state = step(token, state)
        if int(logits.argmax()) in (eos, token):
            break
        token = int(logits.argmax())
        ids.append(token)
    return ids


def _smallest(logits):
    return int(logits.argmin())


def _by_naive_exp(logits):
    e = torch.exp(logits)
    return int((e / e.sum()).argmax())


def _from_zero(logits):
    best, most = 0, 0.0
    for i, score in enumerate(logits.tolist()):
        if score > most:
            best, most = i, score
    return best


def _second(logits):
    return int(logits.topk(2).indices[1])


def greedy_cases(rng):
    def case(check, n, max_len, *, bos=1, eos=2, v=25, ends=True, path=None, **how):
        return Case(check, (_script(rng, n, max_len, bos, eos, v, ends, path, **how), _START, bos, eos, max_len))

    other = {"bos": 6, "eos": 4}
    for n, max_len, how in (
        (5, 9, {}),
        (4, 7, {"shift": 3, **other}),
        (6, 8, {"offset": -50.0, "v": 12}),
        (5, 6, {"scale": 1000.0, "dtype": np.float32}),
        (5, 9, {"path": (5, 5, 7, 5, 5)}),
        (4, 6, {"scale": 1e-3}),
    ):
        yield case("follows_its_own_words", n, max_len, **how)
    for n, max_len, how in ((3, 20, {}), (1, 5, other), (4, 5, {}), (4, 30, other), (45, 60, {})):
        yield case("stops_at_eos", n, max_len, **how)
    for max_len, how in ((6, {}), (1, other), (3, {})):
        yield case("stops_at_max_len", max_len + 3, max_len, ends=False, **how)
    yield case("stops_at_max_len", 5, 5)  # eos would come next
    for max_len, how in ((4, {}), (1, other), (3, {})):
        yield case("nothing_to_say", 0, max_len, **how)
    yield case("nothing_to_say", 3, 0, ends=False)
    for bos, eos, v in ((0, 15, 18), (17, 0, 18), (2, 1, 17), (3, 16, 17)):
        words = [i for i in range(v) if i not in (bos, eos)]  # the first is 0 where that is a word
        path = (words[0], *rng.choice(words, size=3))
        yield case("any_ids", 4, 7, bos=bos, eos=eos, v=v, path=path)


_START = np.array([0.0, -1.0])


def _script(rng, n, max_len, bos, eos, v, ends, path, *, shift=1, offset=0.0, scale=1.0, dtype=np.float64):
    """A decoder that says n words and then eos (if `ends`), when it is followed as it should be.

    Elsewhere its logits are random, and neither eos nor bos is the largest or the smallest, so that a wrong turn leads
    to other words. 0 is said only where `path` names it.
    """
    words = [i for i in range(1, v) if i not in (bos, eos)]
    path = list(path or rng.choice(words, size=n))
    phases = n + 2 if shift == 1 else 11  # no phase comes twice before the end
    tables = rng.normal(size=(phases, v, v))
    np.put_along_axis(tables, rng.choice(words, size=(phases, v, 1)), -8.0, axis=-1)
    tables[..., [bos, eos]] = -4.0 - rng.random((phases, v, 2))
    for k, (token, following) in enumerate(zip([bos, *path], [*path, eos if ends else words[0]], strict=True)):
        row = tables[(k * shift) % phases, token]
        row[following] = row.max() + 1.0
    tables = (scale * tables + offset).astype(dtype)
    return Built("scripted_step", {"tables": tables, "shift": shift, "limit": max_len + EXTRA_CALLS})


GREEDY_MISCONCEPTIONS = (
    Misconception(
        "no_feedback",
        "the words are those that follow bos at every step: the decoder is never given the word it has just said",
        _greedy(feed=lambda token, bos: bos),
    ),
    Misconception(
        "state_not_kept",
        "the words are those of the first state at every step: the state that step returns has to be given to the next "
        "call",
        _greedy(carry=lambda new, first: first),
    ),
    Misconception(
        "state_one_behind",
        "step is given the state from one call earlier than the last",
        _lags,
    ),
    Misconception(
        "keeps_eos",
        "eos stands at the end of the result: it ends the sentence and is not a word of it",
        _with_eos,
    ),
    Misconception(
        "keeps_bos",
        "bos stands at the beginning of the result: it opens the sentence and is not a word of it",
        [_greedy(after=lambda ids, bos, eos, token: [bos, *ids]), _bos_and_eos],
    ),
    Misconception(
        "never_stops",
        "the result goes on after eos, up to max_len: nothing ends the loop when eos comes",
        [
            _greedy(ends=lambda token, bos, eos: False),
            _greedy(ends=lambda token, bos, eos: token == bos),  # no script says bos
            _greedy(
                ends=lambda token, bos, eos: False, after=lambda ids, bos, eos, token: [i for i in ids if i != eos]
            ),
        ],
    ),
    Misconception(
        "no_limit",
        "where no eos comes the loop does not end by itself: max_len has to end it",
        [_no_limit, _no_limit_cut],
    ),
    Misconception(
        "one_too_few",
        "at most max_len − 1 ids come back: bos was counted as one of them, the loop ends one call early, or the last "
        "item is dropped whether it is eos or not",
        [
            _counts_bos,
            _greedy(limit=lambda max_len: max(max_len - 1, 0)),
            _drops_last,
            _greedy(after=lambda ids, bos, eos, token: ids if token == eos else ids[:-1]),
        ],
    ),
    Misconception(
        "one_too_many",
        "as many as max_len + 1 ids come back: the loop runs once more after max_len words",
        _greedy(limit=lambda max_len: max_len + 1),
    ),
    Misconception(
        "at_least_one",
        "with max_len = 0 words come back: the limit has to hold before the first call as well",
        [_at_least_one, _greedy(limit=lambda max_len: max(max_len, 1))],
    ),
    Misconception(
        "first_word_lost",
        "the first word is missing: what step gives after bos is a word of the sentence",
        _loses_first,
    ),
    Misconception(
        "opens_with_eos",
        "the words are those after another token than bos: step has to be called with bos first",
        [_greedy(first=lambda bos, eos: eos), _greedy(first=lambda bos, eos: 0), _greedy(first=lambda bos, eos: 3)],
    ),
    Misconception(
        "ends_at_a_fixed_id",
        "the result ends, or does not end, at one and the same id, whatever eos is",
        [_greedy(ends=lambda token, bos, eos, fixed=fixed: token == fixed) for fixed in (2, 3)],
    ),
    Misconception(
        "zero_ends",
        "the result ends at id 0 or leaves it out: 0 is an id like any other, though `if token` reads it as False",
        [
            _greedy(ends=lambda token, bos, eos: token == eos or not token),
            _greedy(keeps=lambda token, ids: bool(token)),
        ],
    ),
    Misconception(
        "opens_with_a_fixed_id",
        "step is first called with one and the same id, whatever bos is",
        [_greedy(first=lambda bos, eos: 1), _greedy(first=lambda bos, eos: 2)],
    ),
    Misconception(
        "smallest",
        "the words are those with the smallest logit: the largest is the most probable",
        _greedy(pick=_smallest),
    ),
    Misconception(
        "second_best",
        "the words are those with the second largest logit",
        _greedy(pick=_second),
    ),
    Misconception(
        "overflow",
        "large logits lead to other words: on the way they became equal, infinite or NaN, as exp makes them; an argmax "
        "needs no exp",
        _greedy(pick=_by_naive_exp),
    ),
    Misconception(
        "only_positive_logits",
        "where all logits are negative the words are wrong: the search for the largest starts at 0",
        _greedy(pick=_from_zero),
    ),
    Misconception(
        "repeats_dropped",
        "a word that comes twice is missing the second time: sentences may repeat words",
        [
            _greedy(keeps=lambda token, ids: token not in ids),
            _greedy(keeps=lambda token, ids: not ids or token != ids[-1]),
            _greedy(after=lambda ids, bos, eos, token: list(dict.fromkeys(ids))),
        ],
    ),
    Misconception(
        "stops_at_a_repeat",
        "the result ends where a word follows itself: only eos and max_len end it",
        _stops_at_a_repeat,
    ),
    Misconception(
        "last_word_only",
        "only the last word comes back: every word has to be collected",
        _greedy(after=lambda ids, bos, eos, token: ids[-1:]),
    ),
    Misconception(
        "one_step",
        "one word comes back, as if max_len were 1: the loop ends after its first round",
        _greedy(limit=lambda max_len: min(max_len, 1)),
    ),
)


# --- longer_sentences ------------------------------------------------------------------------------------------------


def as_letter(case, answer):
    """The letter of an answer: "b", "B", "(b)", "b)"; anything else stays as it is."""
    if not isinstance(answer, str):
        raise ValueError("not a letter")
    return answer.strip().strip("()[].: ").lower()


LONGER = (
    Misconception(
        "attention_solves_length",
        "the way back to every word does not wear out, but the rest of the model has never met such sentences: the "
        "encoder, the states and the scores all work outside what they were trained on",
        "a",
    ),
    Misconception(
        "alike",
        "both leave what they were trained on, but one of them also has to keep more words in a vector of the same "
        "size",
        "c",
    ),
)


# --- hard_alignment --------------------------------------------------------------------------------------------------


def hard_alignment(weights):
    return weights.argmax(dim=-1)


def alignment_by_max(weights):
    return torch.max(weights, 1)[1]


def alignment_by_loops(weights):
    return [max(range(len(row)), key=row.__getitem__) for row in weights.tolist()]


def alignment_by_sorting(weights):
    return torch.argsort(weights, dim=1, descending=True, stable=True)[:, 0]


def alignment_by_numpy(weights):
    return torch.from_numpy(np.argmax(weights.numpy(), axis=1))


def alignment_cases(rng):
    for tt, ts in ((5, 3), (4, 7), (2, 6)):
        yield Case("largest", (_rows(rng, tt, ts),))
    yield Case("largest", (0.02 * _rows(rng, 6, 4) + 0.245,))  # nearly even: the differences are small
    yield Case("largest", (_rows(rng, 3, 5).astype(np.float32),))
    for size in (4, 3):
        yield Case("square", (_rows(rng, size, size),))
    for tt, ts in ((4, 1), (1, 5), (1, 1)):
        yield Case("one_word", (_rows(rng, tt, ts),))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (_rows(rng, 3, 4).astype(dtype),))


def _rows(rng, tt, ts):
    """(tt, ts) weights; the largest of the last row is in the last place, that of the first row is not.

    The smallest of the last row is in place 1, where no answer lands by chance.
    """
    scores = rng.normal(size=(tt, ts))
    if ts > 2:
        scores[-1, 1] = scores[-1].min() - 0.5
    scores[-1, -1] = scores[-1].max() + 0.5
    if tt > 1 and ts > 1:
        scores[0, ts // 2 - 1] = scores[0].max() + 0.5
    weights = np.exp(scores)
    return weights / weights.sum(axis=1, keepdims=True)


def _argmax_in_place(weights):
    weights.sub_(weights.amax(-1, keepdim=True))
    return weights.argmax(-1)


ALIGNMENT_MISCONCEPTIONS = (
    Misconception(
        "over_targets",
        "there is one number for each source word: the largest weight of every column was sought, not of every row",
        [lambda weights: weights.argmax(dim=0), lambda weights: weights.T.argmax(dim=-1)],
    ),
    Misconception(
        "over_everything",
        "one number comes back: the place of the largest of all weights, in a row of Tt · Ts",
        [
            lambda weights: weights.argmax(),
            lambda weights: int(weights.argmax()),
            lambda weights: divmod(int(weights.argmax()), weights.shape[1]),
        ],
    ),
    Misconception(
        "weights_not_places",
        "the numbers are the largest weights themselves: wanted are their places",
        [lambda weights: weights.max(dim=-1).values, lambda weights: weights.amax(dim=-1)],
    ),
    Misconception(
        "both_of_max",
        "two results come back, weights and places, as torch.max gives them: wanted are the places alone",
        lambda weights: weights.max(dim=-1),
    ),
    Misconception(
        "smallest",
        "the numbers are the places of the smallest weights",
        lambda weights: weights.argmin(dim=-1),
    ),
    Misconception(
        "one_hot",
        "a table of the shape of weights comes back, with a mark at each row's largest: wanted is the place, one "
        "number for each row",
        [
            lambda weights: torch.nn.functional.one_hot(weights.argmax(-1), weights.shape[1]),
            lambda weights: weights == weights.amax(-1, keepdim=True),
            lambda weights: (weights == weights.amax(-1, keepdim=True)).int(),
            lambda weights: (weights == weights.amax(-1, keepdim=True)).to(weights.dtype),
            lambda weights: weights.round(),
        ],
    ),
    Misconception(
        "pairs",
        "pairs (t, s) come back: wanted are the source words alone, in the order of the target words",
        [
            lambda weights: list(enumerate(weights.argmax(-1).tolist())),
            lambda weights: set(enumerate(weights.argmax(-1).tolist())),
            lambda weights: torch.stack([torch.arange(len(weights)), weights.argmax(-1)], dim=1),
            lambda weights: dict(enumerate(weights.argmax(-1).tolist())),
        ],
    ),
    Misconception(
        "axis_kept",
        "the places are right, with an axis of size 1 left: (Tt,) is wanted",
        [lambda weights: weights.argmax(-1, keepdim=True), lambda weights: weights.argmax(-1)[None]],
    ),
    Misconception(
        "axis_lost",
        "for a single target word a bare number comes back: (1,) is wanted",
        lambda weights: weights.argmax(-1).squeeze(),
    ),
    Misconception(
        "from_one",
        "the places are counted from 1: the first source word is 0",
        lambda weights: weights.argmax(-1) + 1,
    ),
    Misconception(
        "ranking",
        "every row is ranked in full: wanted is the place of the largest alone",
        [lambda weights: weights.argsort(-1, descending=True), lambda weights: weights.argsort(-1)],
    ),
    Misconception(
        "flat_places",
        "the places are counted through the whole table: row t starts anew from 0",
        lambda weights: weights.argmax(-1) + torch.arange(len(weights)) * weights.shape[1],
    ),
    Misconception(
        "smaller_integers",
        "the places are right, but int64 became a smaller integer",
        lambda weights: weights.argmax(-1).int(),
    ),
    Misconception(
        "overwrites_weights",
        "weights are others after the call: they were changed in place",
        _argmax_in_place,
    ),
)


# --- alignment_error_rate --------------------------------------------------------------------------------------------


def alignment_error_rate(predicted, sure, possible):
    if not predicted and not sure:
        return 0.0
    return 1 - (len(predicted & sure) + len(predicted & possible)) / (len(predicted) + len(sure))


def rate_by_loops(predicted, sure, possible):
    found = 0
    for pair in predicted:
        found += (pair in sure) + (pair in possible)
    total = len(predicted) + len(sure)
    return 0.0 if total == 0 else (total - found) / total


def rate_by_errors(predicted, sure, possible):
    errors = len(predicted - possible) + len(sure - predicted)  # since |A∩S| = |S| − |S − A|, |A∩P| = |A| − |A − P|
    return errors / max(len(predicted) + len(sure), 1)


def rate_in_torch(predicted, sure, possible):
    counts = [len(predicted.intersection(sure)), len(predicted.intersection(possible)), len(predicted), len(sure)]
    a_s, a_p, a, s = torch.tensor(counts, dtype=torch.float64)
    return torch.where(a + s > 0, 1 - (a_s + a_p) / (a + s), torch.zeros(()))


def rate_by_f_measure(predicted, sure, possible):
    """From precision and recall, each weighted by the size of its own set."""
    precision = len(predicted & possible) / len(predicted) if predicted else 0.0
    recall = len(sure & predicted) / len(sure) if sure else 0.0
    total = len(predicted) + len(sure)
    return 1.0 - (precision * len(predicted) + recall * len(sure)) / total if total else 0.0


def _rate(quotient, empty=lambda: 0.0):
    """An answer `quotient(A, S, P)`, with `empty()` where nothing is predicted and nothing is sure."""

    def rate(predicted, sure, possible):
        return quotient(predicted, sure, possible) if predicted or sure else empty()

    return rate


def _fails(quotient):
    """The same without a look at empty sets."""
    return lambda predicted, sure, possible: quotient(predicted, sure, possible)


def _natural(quotient):
    """A quotient in three shapes: left to fail on empty sets, 0.0 where all is empty, 0.0 wherever it divides by 0."""

    def guarded(predicted, sure, possible):
        try:
            return quotient(predicted, sure, possible)
        except ZeroDivisionError:
            return 0.0

    return [_rate(quotient), _fails(quotient), guarded]


def _rate_in_place(predicted, sure, possible):
    total = len(predicted) + len(sure)
    right = len(predicted & sure)
    predicted &= possible
    return 1 - (right + len(predicted)) / total if total else 0.0


def _union_in_place(predicted, sure, possible):
    rate = alignment_error_rate(predicted, sure, possible)
    possible |= predicted
    return rate


def rate_cases(rng):
    for sizes in ((4, 5, 7), (6, 3, 2), (3, 3, 5), (5, 6, 0), (2, 7, 4), (9, 2, 3)):
        yield Case("rate", _links(rng, *sizes))
    yield Case("rate", ({(0, 3), (1, 1), (2, 0)}, {(1, 1), (3, 0)}, {(1, 1), (3, 0), (0, 3), (0, 2)}))
    yield Case("rate", ({(1, 0), (0, 2)}, {(0, 1), (2, 0)}, {(0, 1), (2, 0), (1, 0)}))  # reversed pairs are others
    _, sure, possible = _links(rng, 3, 5, 6)
    extra = sorted(possible - sure)[:3]
    yield Case("perfect", (set(sure), set(sure), set(possible)))
    yield Case("perfect", (set(sure) | set(extra), set(sure), set(possible)))
    yield Case("nothing_found", (set(), set(sure), set(possible)))
    apart = {(t, s + 40) for t, s in sure}
    yield Case("nothing_found", (set(), set(sure), set(sure)))
    predicted = {*sorted(possible)[:3], *sorted(apart)[:2]}
    yield Case("nothing_sure", (predicted, set(), set(possible)))
    yield Case("nothing_sure", (set(sorted(apart)[:2]), set(), set(possible)))
    yield Case("nothing_sure", (set(), set(), set(possible)))
    yield Case("nothing_at_all", (set(), set(), set()))


def _links(rng, predicted, sure, possible):
    """Sets of pairs: some of the predicted links are sure, some only possible, some neither."""
    places = [(int(t), int(s)) for t, s in zip(*np.divmod(rng.permutation(90), 9), strict=True)]
    true, more, rest = places[:sure], places[sure : sure + possible], places[sure + possible :]
    right = max(1, min(sure, predicted // 2) - 1)
    near = min(possible, max(1, (predicted - right) // 2)) if possible else 0
    found = {*true[:right], *more[:near], *rest[: predicted - right - near]}
    return found, set(true), {*true, *more}


def _counts(function):
    """A quotient of counts: function(|A ∩ S|, |A ∩ P|, |A|, |S|, |P|)."""
    return lambda A, S, P: function(len(A & S), len(A & P), len(A), len(S), len(P))


RATE_MISCONCEPTIONS = (
    Misconception(
        "precision",
        "this is the share of predictions that are possible links, or one minus it: sure links that were missed do not "
        "count in it",
        [
            *_natural(_counts(lambda a_s, a_p, a, s, p: 1 - a_p / a)),
            *_natural(_counts(lambda a_s, a_p, a, s, p: a_p / a)),
        ],
    ),
    Misconception(
        "sure_precision",
        "this is the share of predictions that are sure links, or one minus it: a possible link is no error, and a "
        "sure link that was missed is one",
        [
            *_natural(_counts(lambda a_s, a_p, a, s, p: 1 - a_s / a)),
            *_natural(_counts(lambda a_s, a_p, a, s, p: a_s / a)),
        ],
    ),
    Misconception(
        "recall",
        "this is the share of sure links that were found, or one minus it: predictions that are wrong do not count in "
        "it",
        [
            *_natural(_counts(lambda a_s, a_p, a, s, p: 1 - a_s / s)),
            *_natural(_counts(lambda a_s, a_p, a, s, p: a_s / s)),
        ],
    ),
    Misconception(
        "swapped",
        "sure and possible stand in each other's place: |P| was added below, where |S| belongs, so that possible links "
        "have to be found",
        _natural(_counts(lambda a_s, a_p, a, s, p: 1 - (a_s + a_p) / (a + p))),
    ),
    Misconception(
        "sure_only",
        "the possible links play no part: a prediction that is possible but not sure counts as an error",
        _natural(_counts(lambda a_s, a_p, a, s, p: 1 - 2 * a_s / (a + s))),
    ),
    Misconception(
        "sure_only+not_subtracted",
        "this is the F-measure of the sure links, 1 for a perfect alignment: the possible links play no part, and an "
        "error rate is 0 there",
        _natural(_counts(lambda a_s, a_p, a, s, p: 2 * a_s / (a + s))),
    ),
    Misconception(
        "possible_only",
        "the sure links are treated as all other possible ones: what was found of them is not counted apart",
        [
            *_natural(_counts(lambda a_s, a_p, a, s, p: 1 - 2 * a_p / (a + p))),
            *_natural(_counts(lambda a_s, a_p, a, s, p: 1 - 2 * a_p / (a + s))),
        ],
    ),
    Misconception(
        "not_subtracted",
        "this is one minus the rate: a perfect alignment gets 1 here, and an error rate is 0 for it",
        [
            *_natural(_counts(lambda a_s, a_p, a, s, p: (a_s + a_p) / (a + s))),
            lambda predicted, sure, possible: 1 - alignment_error_rate(predicted, sure, possible),
        ],
    ),
    Misconception(
        "one_count_missing",
        "only one of the two counts is on top: a sure link that was predicted is both sure and possible, and counts "
        "twice, since it is counted twice below as well",
        [
            *_natural(_counts(lambda a_s, a_p, a, s, p: 1 - a_p / (a + s))),
            *_natural(_counts(lambda a_s, a_p, a, s, p: 1 - a_s / (a + s))),
        ],
    ),
    Misconception(
        "mean_of_two",
        "this is one minus the mean of precision and recall: both counts go over one common sum, |A| + |S|",
        [
            *_natural(_counts(lambda a_s, a_p, a, s, p: 1 - (a_p / a + a_s / s) / 2)),
        ],
    ),
    Misconception(
        "f_measure",
        "this is one minus the harmonic mean of precision and recall: the rate weighs the two by the sizes of their "
        "sets",
        [
            *_natural(
                _counts(lambda a_s, a_p, a, s, p: 1 - 2 * (a_p / a) * (a_s / s) / (a_p / a + a_s / s)),
            ),
        ],
    ),
    Misconception(
        "sizes_of_a_union",
        "the lower number is the size of a union: |A| + |S| counts a pair in both sets twice",
        [
            *_natural(lambda A, S, P: 1 - (len(A & S) + len(A & P)) / len(A | S)),
            *_natural(lambda A, S, P: 1 - len(A & P) / len(A | S)),
            *_natural(lambda A, S, P: 1 - len(A & S) / len(A | S)),
            *_natural(lambda A, S, P: 1 - len(A & P) / len(A | P)),
        ],
    ),
    Misconception(
        "reversed_pairs",
        "the pairs were turned round before they were compared: (t, s) is not (s, t)",
        _natural(lambda A, S, P: alignment_error_rate({(s, t) for t, s in A}, S, P)),
    ),
    Misconception(
        "predicted_for_sure",
        "predicted and sure stand in each other's place: |S ∩ P| was counted, which is all of S, so that a prediction "
        "that is only possible helps nothing",
        _natural(lambda A, S, P: 1 - (len(A & S) + len(S & P)) / (len(A) + len(S))),
    ),
    Misconception(
        "one_word_of_two",
        "links were compared by one of their two words alone: a link is right if both its words are",
        [
            lambda A, S, P: alignment_error_rate({t for t, _ in A}, {t for t, _ in S}, {t for t, _ in P}),
            lambda A, S, P: alignment_error_rate({s for _, s in A}, {s for _, s in S}, {s for _, s in P}),
        ],
    ),
    Misconception(
        "percent",
        "every number is 100 times the wanted one: a share from 0 to 1 is wanted, not percent",
        _natural(_counts(lambda a_s, a_p, a, s, p: 100 * (1 - (a_s + a_p) / (a + s)))),
    ),
    Misconception(
        "whole_division",
        "every number is 0 or 1: // divides without a remainder",
        _natural(_counts(lambda a_s, a_p, a, s, p: float(1 - (a_s + a_p) // (a + s)))),
    ),
    Misconception(
        "rounded",
        "the numbers are rounded to a few digits",
        [
            _rate(_counts(lambda a_s, a_p, a, s, p, digits=digits: round(1 - (a_s + a_p) / (a + s), digits)))
            for digits in (1, 2, 3, 4)
        ],
    ),
    Misconception(
        "empty_is_one",
        "nothing predicted and nothing sure gives 1: there is nothing to find and nothing wrong, so that the rate is 0",
        _rate(alignment_error_rate, lambda: 1.0),
    ),
    Misconception(
        "empty_is_nan",
        "nothing predicted and nothing sure gives NaN: 0 / 0 has to be decided, and the rate is 0 there",
        _rate(alignment_error_rate, lambda: math.nan),
    ),
    Misconception(
        "empty_fails",
        "nothing predicted and nothing sure divides by zero: the lower sum is 0 there, and 0.0 is wanted",
        _fails(_counts(lambda a_s, a_p, a, s, p: 1 - (a_s + a_p) / (a + s))),
    ),
    Misconception(
        "nothing_predicted_is_zero",
        "where nothing is predicted the rate is 0, though sure links were missed: every one of them is an error",
        [
            lambda predicted, sure, possible: alignment_error_rate(predicted, sure, possible) if predicted else 0.0,
            lambda predicted, sure, possible: (
                alignment_error_rate(predicted, sure, possible) if predicted and sure else 0.0
            ),
        ],
    ),
    Misconception(
        "nothing_sure_is_fixed",
        "where nothing is sure the rate does not depend on what was predicted: a prediction that is not possible is an "
        "error there too",
        [
            lambda predicted, sure, possible: alignment_error_rate(predicted, sure, possible) if sure else 0.0,
            lambda predicted, sure, possible: (
                alignment_error_rate(predicted, sure, possible) if sure or not predicted else 1.0
            ),
        ],
    ),
    Misconception(
        "overwrites_sets",
        "a set is another after the call: an operation in place, such as &= or add, changes the set given",
        [_rate_in_place, _union_in_place],
    ),
)


REFERENCES = (
    Reference(
        id="attention_step",
        reference=attention_step,
        accepted=(step_by_einsum, step_by_loops, step_with_finite_fill, step_by_bmm),
        misconceptions=STEP_MISCONCEPTIONS,
        cases=step_cases,
        view=weights_or_context,
    ),
    Reference(
        id="shift_right",
        reference=shift_right,
        accepted=(shift_by_copy, shift_by_roll, shift_by_padding, shift_by_lists),
        misconceptions=SHIFT_MISCONCEPTIONS,
        cases=shift_cases,
    ),
    Reference(
        id="greedy_translate",
        reference=greedy_translate,
        accepted=(greedy_by_while, greedy_by_probabilities, greedy_by_recursion, greedy_cut_afterwards),
        misconceptions=GREEDY_MISCONCEPTIONS,
        cases=greedy_cases,
    ),
    Reference(
        id="longer_sentences",
        reference="b",
        accepted=("B", " b ", "(b)"),
        misconceptions=LONGER,
        cases=lambda rng: [Case("prediction")],
        view=as_letter,
    ),
    Reference(
        id="hard_alignment",
        reference=hard_alignment,
        accepted=(alignment_by_max, alignment_by_loops, alignment_by_sorting, alignment_by_numpy),
        misconceptions=ALIGNMENT_MISCONCEPTIONS,
        cases=alignment_cases,
    ),
    Reference(
        id="alignment_error_rate",
        reference=alignment_error_rate,
        accepted=(rate_by_loops, rate_by_errors, rate_in_torch, rate_by_f_measure),
        misconceptions=RATE_MISCONCEPTIONS,
        cases=rate_cases,
    ),
)
