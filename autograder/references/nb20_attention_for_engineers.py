"""Notebook 20, the hidden half: what ails the functions of the clinic, repairs that only hide it, and weak tests.

Long, since every case of the clinic has its own wrong repairs and its own reasons against each wrong diagnosis.
"""

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Built, Case, Misconception, Reference, Seed
from autograder.exercises.nb20_attention_for_engineers import CLINIC_DIAGNOSES, TESTS_RIGHT, clinic_diagnosis
from autograder.references.nb20_toolbox import TOOLBOX

# --- what all cases of the clinic share -------------------------------------------------------------------------------

_CLINIC_FITS = "the one that fits what the data show"
_CLINIC_MASKS = (
    "mask inverted",
    "mask applied after the softmax",
    "mask broadcast along the wrong axis",
    "causal mask one place too wide",
)


def _clinic_view(right):
    """Reads flags as words, without the right diagnosis among them: a report must not give it away."""

    def view(case, value):
        if case.check != "diagnosis":
            return value
        flags = np.asarray(value)
        place = int(flags.argmax())
        if flags.shape != clinic_diagnosis("").shape or flags.sum() != 1:
            return "no readable diagnosis"
        if place >= len(CLINIC_DIAGNOSES):
            return ("no diagnosis", "a text that is not on the list")[place - len(CLINIC_DIAGNOSES)]
        return _CLINIC_FITS if CLINIC_DIAGNOSES[place] == right else CLINIC_DIAGNOSES[place]

    return view


def _clinic_reference(number, right, given, repairs, against, hidden, cases):
    """The hidden half of one case.

    right:   the diagnosis; given: the function as it was given.
    repairs: right functions, the reference first.
    against: pairs (wrong diagnoses, why the data speak against them); together with the right one, all of the list.
    hidden:  misconceptions about the repair, as (name, sentence, functions).
    """
    reference = repairs[0]
    named = [text for texts, _ in against for text in texts]
    if sorted([right, *named]) != sorted(CLINIC_DIAGNOSES):
        raise ValueError(f"clinic_{number}: every diagnosis but the right one needs one reason against it")
    return Reference(
        id=f"clinic_{number}",
        reference=(right, reference),
        accepted=(
            *((f"  {right.upper()} ", repair) for repair in repairs[1:2]),
            *([right, repair] for repair in repairs[2:3]),
            *(_clinic_as_function(right, repair) for repair in repairs[1:]),
        ),
        misconceptions=(
            Misconception("untouched", "this is the case as it was given", ("", given)),
            Misconception(
                "unrepaired", "the function gives what it gave before: its fault is still in it", (right, given)
            ),
            Misconception(
                "no_diagnosis",
                "no diagnosis is given: the answer is a pair, a text of the list and the repaired function",
                ("", reference),
            ),
            Misconception(
                "not_on_the_list",
                f"the text is none of CLINIC_DIAGNOSES, which are: {'; '.join(CLINIC_DIAGNOSES)}",
                [("it is slow", reference), (right + " somewhere", reference), (7, reference)],
            ),
            *(
                Misconception(f"diagnosis_{place}", why, [(text, reference) for text in texts])
                for place, (texts, why) in enumerate(against, 1)
            ),
            *(
                Misconception(
                    name, why, [(right, wrong) for wrong in (wrongs if isinstance(wrongs, list) else [wrongs])]
                )
                for name, why, wrongs in hidden
            ),
        ),
        cases=lambda rng: [*cases(rng), Case("diagnosis")],
        view=_clinic_view(right),
    )


def _clinic_as_function(right, repair):
    def answer():
        return right, repair

    return answer


def _clinic_qkv(rng, lead, tq, tk, d, dv, dtype=np.float64, factor=1.0):
    q, k, v = (rng.normal(size=(*lead, n, width)).astype(dtype) for n, width in ((tq, d), (tk, d), (tk, dv)))
    return q * dtype(factor), k, v


def _clinic_scores(q, k):
    return q @ k.mT / math.sqrt(q.shape[-1])


def _clinic_plain(q, k, v, mask=None):
    """Masked attention, 0 in rows without keys."""
    scores = _clinic_scores(q, k)
    if mask is None:
        return torch.softmax(scores, dim=-1) @ v
    weights = torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1)
    return weights.masked_fill(~mask, 0) @ v


def _clinic_as_float32(fn):
    """The same, but the result is float32 whatever comes in."""
    return lambda *args, **keywords: fn(*args, **keywords).float()


def _clinic_as_float64(fn):
    return lambda *args, **keywords: fn(*args, **keywords).double()


def _clinic_scales_in_place(fn):
    """The same, but the first input is written into on the way."""

    def changed(first, *args, **keywords):
        out = fn(first, *args, **keywords)
        first *= 0.5
        return out

    return changed


_CLINIC_DTYPES: tuple = (
    "another_dtype",
    "the numbers are right and their dtype is not that of the inputs",
    [],
)


def _clinic_usual(fn):
    """Mistakes that any repair can bring along."""
    return (
        ("becomes_float32", "the result is float32 also for inputs of another dtype", _clinic_as_float32(fn)),
        ("becomes_float64", "the result is float64 also for inputs of another dtype", _clinic_as_float64(fn)),
        (
            "changes_its_input",
            "the first input is another one after the call: it was written into",
            _clinic_scales_in_place(fn),
        ),
        (
            "returns_weights_too",
            "more than out came back; only out is wanted",
            lambda *args, **keywords: (fn(*args, **keywords), None),
        ),
    )


# --- clinic_1: running sums -------------------------------------------------------------------------------------------


def _clinic_1_online(
    shrink=lambda before, now: torch.exp(before - now),
    total_shrinks=True,
    out_shrinks=True,
    now=torch.maximum,
    start=-math.inf,
    rest=True,
    least=1,
):
    """Attention block by block with some of its parts replaced; without arguments it is a right one."""

    def blockwise(q, k, v, block=64):
        block = max(block, least)
        top = torch.full_like(q[..., :1], start)
        total, out = torch.zeros_like(top), torch.zeros((*q.shape[:-1], v.shape[-1]), dtype=q.dtype)
        if not rest:
            whole = max(k.shape[-2] // block * block, min(block, k.shape[-2]))
            k, v = k[..., :whole, :], v[..., :whole, :]
        for keys, values in zip(k.split(block, dim=-2), v.split(block, dim=-2), strict=True):
            scores = _clinic_scores(q, keys)
            before, top = top, now(top, scores.amax(dim=-1, keepdim=True))
            e, factor = torch.exp(scores - top), shrink(before, top)
            total = total * (factor if total_shrinks else 1) + e.sum(dim=-1, keepdim=True)
            out = out * (factor if out_shrinks else 1) + e @ values
        return out / total

    return blockwise


def _clinic_1_whole(q, k, v, block=64):
    return functional.scaled_dot_product_attention(q, k, v)


def _clinic_1_two_passes(q, k, v, block=64):
    """The largest score of all blocks first, then the sums."""
    parts = k.split(block, dim=-2)
    top = torch.stack([_clinic_scores(q, part).amax(dim=-1) for part in parts]).amax(dim=0).unsqueeze(-1)
    e = [torch.exp(_clinic_scores(q, part) - top) for part in parts]
    total = sum(part.sum(dim=-1, keepdim=True) for part in e)
    return sum(a @ values for a, values in zip(e, v.split(block, dim=-2), strict=True)) / total


def _clinic_1_logs(q, k, v, block=64):
    """Each block by itself, joined by the logarithms of their totals."""
    outs, logs = [], []
    for keys, values in zip(k.split(block, dim=-2), v.split(block, dim=-2), strict=True):
        scores = _clinic_scores(q, keys)
        outs.append(torch.softmax(scores, dim=-1) @ values)
        logs.append(torch.logsumexp(scores, dim=-1, keepdim=True))
    shares = torch.softmax(torch.stack(logs), dim=0)
    return (shares * torch.stack(outs)).sum(dim=0)


def _clinic_1_einsum(q, k, v, block=64):
    weights = torch.einsum("...id,...jd->...ij", q, k).div(q.shape[-1] ** 0.5).double().softmax(dim=-1)
    return torch.einsum("...ij,...jd->...id", weights, v.double()).to(q.dtype)


def _clinic_1_blocks_apart(q, k, v, block=64):
    pieces = zip(k.split(block, dim=-2), v.split(block, dim=-2), strict=True)
    outs = [torch.softmax(_clinic_scores(q, keys), dim=-1) @ values for keys, values in pieces]
    return torch.stack(outs).mean(dim=0)


def _clinic_1_last_block(q, k, v, block=64):
    return _clinic_plain(q, k.split(block, dim=-2)[-1], v.split(block, dim=-2)[-1])


def _clinic_1_first_top(q, k, v, block=64):
    """All blocks are measured from the largest score of the first."""
    top = _clinic_scores(q, k[..., :block, :]).amax(dim=-1, keepdim=True)
    e = torch.exp(_clinic_scores(q, k) - top)
    return e @ v / e.sum(dim=-1, keepdim=True)


def _clinic_1_cases(rng):
    def case(check, lead, tq, tk, d, dv, block, **others):
        return Case(check, _clinic_qkv(rng, lead, tq, tk, d, dv, **others), {"block": block})

    yield case("all_keys", (2, 3), 4, 9, 6, 7, 4)
    yield case("all_keys", (), 3, 8, 5, 2, 2)
    yield case("all_keys", (2,), 6, 6, 6, 6, 3, dtype=np.float32)
    yield Case("all_keys", _clinic_qkv(rng, (1,), 2, 150, 4, 3))
    q, k, v = _clinic_qkv(rng, (), 1, 5000, 2, 1)
    k[:, 0], q[:] = np.linspace(-3, 3, 5000), 1.0  # every block has a larger score than the one before
    yield Case("all_keys", (q, k, v), {"block": 1000})
    for block in (1, 5, 7, 100):
        yield case("any_block", (2,), 3, 11, 4, 5, block)
    yield case("large_scores", (2,), 4, 9, 6, 5, 4, factor=4000.0)
    yield case("large_scores", (), 3, 6, 4, 3, 2, factor=4000.0, dtype=np.float32)
    yield case("one_block", (2, 3), 4, 5, 6, 7, 8)
    yield Case("one_block", _clinic_qkv(rng, (2,), 3, 7, 4, 5))
    yield case(KEEPS_DTYPE, (2,), 4, 9, 6, 5, 4, dtype=np.float32)
    yield case(KEEPS_DTYPE, (2,), 4, 9, 6, 5, 4)


_CLINIC_1 = _clinic_reference(
    1,
    "running sums not rescaled",
    _clinic_1_online(shrink=lambda before, now: 1.0),
    (_clinic_1_online(), _clinic_1_two_passes, _clinic_1_logs, _clinic_1_whole, _clinic_1_einsum),
    (
        (_CLINIC_MASKS, "the function has no mask, so no mask brings about what the data show"),
        (
            ("softmax over the wrong axis", "scale from the wrong width", "values taken from the keys"),
            "up to 64 keys every output is right; a wrong axis, width or source would show with five keys",
        ),
        (
            ("query positions counted from zero", "heads split without swapping axes"),
            "no position and no head is counted in this function, and up to 64 keys every output is right",
        ),
        (
            ("exponentials out of the range of the type",),
            "every output is finite and inside the values; an exponential out of range gives inf, NaN or 0 / 0",
        ),
        (
            ("gradient cut off from the scores",),
            "the outputs themselves are wrong beyond 64 keys; where only a gradient is lost they stay right",
        ),
        (
            ("inputs changed in place",),
            "a second call on the same tensors gives the same: nothing was written into them",
        ),
    ),
    (
        (
            "larger_block",
            "right for the block it comes with, wrong for smaller ones: the block was made larger, and the sums are as "
            "they were",
            [_clinic_1_online(shrink=lambda before, now: 1.0, least=least) for least in (256, 4096)],
        ),
        (
            "only_total_rescaled",
            "the outputs are too large: the running total is rescaled and the running output is not",
            _clinic_1_online(out_shrinks=False),
        ),
        (
            "only_out_rescaled",
            "the outputs are too small: the running output is rescaled and the running total is not",
            _clinic_1_online(total_shrinks=False),
        ),
        (
            "rescaled_the_other_way",
            "from the second block on the sums grow where they should shrink: the factor is exp of the new maximum "
            "less the old one",
            [
                _clinic_1_online(
                    shrink=lambda before, now: torch.where(before == -math.inf, 1.0, torch.exp(now - before))
                ),
            ],
        ),
        (
            "blocks_averaged",
            "every block has the same say, whatever its scores: each was normalised by itself, and then the mean taken",
            _clinic_1_blocks_apart,
        ),
        ("last_block_alone", "only the last block counts: what was summed before it is lost", _clinic_1_last_block),
        (
            "no_maximum",
            "right for small scores; large ones overflow, since no maximum is subtracted any more",
            _clinic_1_online(shrink=lambda before, now: 1.0, now=lambda a, b: a, start=0.0),
        ),
        (
            "first_maximum",
            "right unless the first block's scores lie far below a later one's: all are measured from the first "
            "block's maximum",
            _clinic_1_first_top,
        ),
        (
            "rest_dropped",
            "right where the block divides the number of keys; otherwise the last, shorter block is left out",
            _clinic_1_online(rest=False),
        ),
        *_clinic_usual(_clinic_1_online()),
    ),
    _clinic_1_cases,
)


# --- clinic_2: heads --------------------------------------------------------------------------------------------------


def _clinic_2_split(x, h):
    return x.unflatten(-1, (h, -1)).transpose(1, 2)


def _clinic_2_poured(x, h):
    return x.reshape(x.shape[0], h, x.shape[1], -1)


def _clinic_2_join(out):
    return out.transpose(1, 2).flatten(2)


def _clinic_2_attend(
    split=_clinic_2_split,
    join=_clinic_2_join,
    heads=lambda h: h,
    scale=lambda q, x, w: math.sqrt(q.shape[-1]),
    split_kv=None,
):
    """Attention with heads and some of its parts replaced; without arguments it is a right one."""

    def attend(x, w_q, w_k, w_v, w_o, h):
        h = heads(h)
        q, k, v = split(x @ w_q, h), (split_kv or split)(x @ w_k, h), (split_kv or split)(x @ w_v, h)
        weights = torch.softmax(q @ k.mT / scale(q, x, w_q), dim=-1)
        return join(weights @ v) @ w_o

    return attend


def _clinic_2_loops(x, w_q, w_k, w_v, w_o, h):
    d = w_q.shape[1] // h
    outs = []
    for n in range(h):
        part = slice(n * d, (n + 1) * d)
        outs.append(_clinic_plain(x @ w_q[:, part], x @ w_k[:, part], x @ w_v[:, part]))
    return torch.cat(outs, dim=-1) @ w_o


def _clinic_2_einsum(x, w_q, w_k, w_v, w_o, h):
    q, k, v = (torch.einsum("btc,chd->bhtd", x, w.unflatten(1, (h, -1))) for w in (w_q, w_k, w_v))
    out = functional.scaled_dot_product_attention(q, k, v)
    return torch.einsum("bhtd,hdc->btc", out, w_o.unflatten(0, (h, -1)))


def _clinic_2_views(x, w_q, w_k, w_v, w_o, h):
    b, t, _ = x.shape
    q, k, v = ((x @ w).view(b, t, h, -1).permute(0, 2, 1, 3) for w in (w_q, w_k, w_v))
    out = torch.softmax(q @ k.transpose(2, 3) / q.shape[-1] ** 0.5, -1) @ v
    return out.permute(0, 2, 1, 3).reshape(b, t, -1) @ w_o


def _clinic_2_cases(rng):
    def case(check, b, t, c, h, d, dtype=np.float64):
        x = rng.normal(size=(b, t, c)).astype(dtype)
        ws = [(rng.normal(size=size) / math.sqrt(size[0])).astype(dtype) for size in [(c, h * d)] * 3 + [(h * d, c)]]
        return Case(check, (x, *ws, h))

    yield case("every_token", 2, 5, 6, 3, 2)
    yield case("every_token", 2, 4, 8, 2, 4, dtype=np.float32)
    yield case("every_token", 2, 4, 4, 4, 1)
    yield case("every_token", 2, 8, 8, 2, 4)
    yield case("free_width", 2, 5, 7, 2, 3)
    yield case("free_width", 1, 3, 4, 3, 4)
    yield case("one_head", 2, 4, 6, 1, 6)
    yield case("batch", 3, 5, 6, 3, 2)
    yield case("batch", 3, 3, 6, 3, 2)
    yield case(KEEPS_DTYPE, 2, 4, 6, 3, 2, dtype=np.float32)
    yield case(KEEPS_DTYPE, 2, 4, 6, 3, 2)


_CLINIC_2 = _clinic_reference(
    2,
    "heads split without swapping axes",
    _clinic_2_attend(_clinic_2_poured, lambda out: out.reshape(out.shape[0], out.shape[2], -1)),
    (_clinic_2_attend(), _clinic_2_loops, _clinic_2_einsum, _clinic_2_views),
    (
        (
            (*_CLINIC_MASKS, "query positions counted from zero"),
            "the function has no mask and counts no positions; what is not read lies on both sides",
        ),
        (
            ("softmax over the wrong axis", "scale from the wrong width"),
            "with one head every output is right; and weights along another axis or of another size would still let "
            "every token read every other",
        ),
        (
            ("values taken from the keys", "inputs changed in place"),
            "with one head every output is right, which it could not be with other values or changed inputs",
        ),
        (
            ("running sums not rescaled",),
            "all scores of a row are there at once, and nothing is summed up piece by piece",
        ),
        (
            ("exponentials out of the range of the type",),
            "every output is finite and scores are small; what is wrong is who reads whom",
        ),
        (
            ("gradient cut off from the scores",),
            "the outputs themselves are wrong as soon as there are two heads; a lost gradient leaves them right",
        ),
    ),
    (
        (
            "swapped_on_the_way_in_alone",
            "every head is right, and its results are joined as they lie in memory: the axes have to be swapped back "
            "before w_o",
            _clinic_2_attend(join=lambda out: out.reshape(out.shape[0], out.shape[2], -1)),
        ),
        (
            "swapped_on_the_way_out_alone",
            "the results are joined token by token, and the heads are still cut from memory as it lies",
            _clinic_2_attend(split=_clinic_2_poured),
        ),
        (
            "queries_alone",
            "the queries are split rightly; keys and values are still poured into heads as they lie in memory",
            _clinic_2_attend(split_kv=_clinic_2_poured),
        ),
        (
            "one_wide_head",
            "every token reads every other, with one softmax for all heads: the heads are gone, not mended",
            _clinic_2_attend(heads=lambda h: 1),
        ),
        (
            "interleaved",
            "a head holds every h-th number of a token; it should hold the numbers that lie side by side",
            [
                _clinic_2_attend(
                    split=lambda x, h: x.reshape(*x.shape[:2], -1, h).permute(0, 3, 1, 2),
                    join=lambda out: out.permute(0, 2, 3, 1).flatten(2),
                ),
                _clinic_2_attend(split=lambda x, h: x.reshape(*x.shape[:2], -1, h).permute(0, 3, 1, 2)),
            ],
        ),
        (
            "heads_and_tokens_swapped_later",
            "the axes are swapped after the numbers were poured in: the shapes say (B, T, h, D), and heads attend to "
            "heads",
            _clinic_2_attend(
                split=lambda x, h: _clinic_2_poured(x, h).transpose(1, 2), join=lambda out: out.flatten(2)
            ),
        ),
        (
            "heads_attend_to_heads",
            "(B, T, h, D) without the swap: the softmax runs over the heads of one token, and no token reads another",
            _clinic_2_attend(split=lambda x, h: x.unflatten(-1, (h, -1)), join=lambda out: out.flatten(2)),
        ),
        (
            "scale_of_the_model",
            "the heads are right and the scores are divided by the root of the whole width; D is that of one head",
            [
                _clinic_2_attend(scale=lambda q, x, w: math.sqrt(w.shape[1])),
                _clinic_2_attend(scale=lambda q, x, w: math.sqrt(x.shape[-1])),
            ],
        ),
        (
            "without_w_o",
            "the heads' results lie side by side and are not multiplied by w_o",
            lambda x, w_q, w_k, w_v, w_o, h: _clinic_2_attend()(
                x, w_q, w_k, w_v, torch.eye(w_o.shape[0], dtype=x.dtype), h
            ),
        ),
        *_clinic_usual(_clinic_2_attend()),
    ),
    _clinic_2_cases,
)


# --- clinic_3: the padding of another sentence ------------------------------------------------------------------------


def _clinic_3_attend(
    mask_of=lambda real, q: real[:, None, None, :],
    fill=-math.inf,
    after=lambda weights, mask: weights.masked_fill(~mask, 0),
):
    """Attention with a padding mask and some of its parts replaced; without arguments it is a right one."""

    def attend(q, k, v, real):
        mask = mask_of(real, q)
        scores = _clinic_scores(q, k)
        if mask is None:
            return torch.softmax(scores, dim=-1) @ v
        weights = torch.softmax(scores.masked_fill(~mask, fill), dim=-1)
        return after(weights, mask) @ v

    return attend


def _clinic_3_one_by_one(q, k, v, real):
    """Each sentence alone, its padding cut off."""
    return torch.cat(
        [
            _clinic_plain(q[b : b + 1], k[b : b + 1][..., row, :], v[b : b + 1][..., row, :])
            if row.any()
            else torch.zeros_like(q[b : b + 1, :, :, :1]).expand(-1, -1, -1, v.shape[-1])
            for b, row in enumerate(real)
        ]
    )


def _clinic_3_library(q, k, v, real):
    mask = real[:, None, None, :].expand(-1, 1, q.shape[2], -1)
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return torch.where(real.any(dim=1)[:, None, None, None], out, torch.zeros((), dtype=out.dtype))


def _clinic_3_additive(q, k, v, real):
    bias = torch.zeros(real.shape, dtype=q.dtype).masked_fill(~real, -math.inf)
    scores = torch.einsum("bhid,bhjd->bhij", q, k) * q.shape[-1] ** -0.5 + bias.view(len(real), 1, 1, -1)
    return torch.einsum("bhij,bhjd->bhid", torch.softmax(scores, dim=-1).nan_to_num(0.0), v)


def _clinic_3_given_mask(real, q):
    return real[:, None, :]


def _clinic_3_if_equal(real, q):
    return real[:, None, None, :] if q.shape[0] == q.shape[1] else real[:, None, :]


def _clinic_3_where_it_fits(real, q):
    return real[:, None, :] if real.shape[0] in (1, q.shape[1]) else None


def _clinic_3_only_unequal(real, q):
    return real[:, None, :] if q.shape[0] == q.shape[1] else real[:, None, None, :]


def _clinic_3_cut(real, q):
    """As many rows as there are heads, so that the shapes fit."""
    h = q.shape[1]
    return real.repeat(math.ceil(h / len(real)), 1)[:h, None, :]


def _clinic_3_cases(rng):
    def case(check, b, h, tq, tk, d, dv, lengths, dtype=np.float64, factor=1.0):
        q, k, v = _clinic_qkv(rng, (b, h), tq, tk, d, dv, dtype, factor)
        real = np.arange(tk) < np.array(lengths)[:, None]
        return Case(check, (q, k, v, real))

    yield case("own_padding", 3, 3, 4, 5, 6, 7, (5, 2, 3))
    yield case("own_padding", 2, 2, 4, 4, 4, 4, (1, 4))
    yield case("own_padding", 4, 4, 5, 6, 3, 2, (6, 1, 3, 4), dtype=np.float32)
    yield case("any_batch", 2, 3, 4, 5, 6, 7, (5, 2))
    yield case("any_batch", 4, 1, 3, 5, 6, 2, (5, 2, 1, 4))
    yield case("any_batch", 3, 2, 3, 3, 4, 5, (1, 2, 3))
    yield case("no_words", 2, 2, 3, 4, 5, 6, (0, 3))
    yield case("no_words", 3, 2, 3, 4, 5, 6, (4, 0, 2))
    yield case("one_sentence", 1, 3, 4, 5, 6, 7, (3,))
    yield case("one_sentence", 1, 1, 4, 5, 6, 7, (5,))
    yield case("large_scores", 3, 3, 4, 5, 6, 7, (2, 5, 3), factor=4000.0)
    yield case("large_scores", 2, 3, 4, 5, 6, 7, (3, 5), factor=4000.0, dtype=np.float32)
    yield case(KEEPS_DTYPE, 2, 3, 4, 5, 6, 7, (5, 2), dtype=np.float32)
    yield case(KEEPS_DTYPE, 2, 3, 4, 5, 6, 7, (5, 2))


_CLINIC_3 = _clinic_reference(
    3,
    "mask broadcast along the wrong axis",
    _clinic_3_attend(_clinic_3_given_mask),
    (_clinic_3_attend(), _clinic_3_one_by_one, _clinic_3_library, _clinic_3_additive),
    (
        (
            ("mask inverted", "mask applied after the softmax", "causal mask one place too wide"),
            "a sentence alone is right with this very mask, so its polarity, its place and its edge are right",
        ),
        (
            ("softmax over the wrong axis", "scale from the wrong width", "values taken from the keys"),
            "a sentence alone is right; nothing about axes, widths or sources changes when others come beside it",
        ),
        (
            ("query positions counted from zero", "running sums not rescaled"),
            "no positions are counted and no sums are kept; a sentence alone is right at every place",
        ),
        (
            ("heads split without swapping axes",),
            "the heads arrive already split, and all of them are right when a sentence is alone",
        ),
        (
            ("exponentials out of the range of the type",),
            "every output is finite, and what is wrong depends on the other sentences, not on the size of the scores",
        ),
        (
            ("gradient cut off from the scores",),
            "outputs are wrong, and one batch ends in an error; a lost gradient does neither",
        ),
        (("inputs changed in place",), "the same batch gives the same twice, and its last one fails at the first call"),
    ),
    (
        (
            "only_where_equal",
            "right where there are as many sentences as heads, and an error elsewhere: it is detected, not mended",
            _clinic_3_attend(_clinic_3_if_equal),
        ),
        (
            "only_where_unequal",
            "right but where there are as many sentences as heads: there sentence b's words still decide about head b",
            _clinic_3_attend(_clinic_3_only_unequal),
        ),
        (
            "mask_dropped_where_it_does_not_fit",
            "the error is gone, and with it the mask: where the shapes do not fit, padding is read",
            _clinic_3_attend(_clinic_3_where_it_fits),
        ),
        (
            "rows_repeated_to_fit",
            "the rows of the mask are repeated or cut until there is one for every head, and head n goes by sentence n",
            _clinic_3_attend(_clinic_3_cut),
        ),
        (
            "first_sentence_for_all",
            "every sentence is masked like the first",
            [_clinic_3_attend(lambda real, q: real[:1, None, None, :]), _clinic_3_attend(lambda real, q: real[0])],
        ),
        (
            "one_mask_for_the_batch",
            "one mask stands for the whole batch: a place counts if it is a word in all sentences, or in any",
            [
                _clinic_3_attend(lambda real, q: real.all(dim=0)[None, None, None]),
                _clinic_3_attend(lambda real, q: real.any(dim=0)[None, None, None]),
            ],
        ),
        (
            "no_mask",
            "padding is read like words: there is no mask any more",
            _clinic_3_attend(lambda real, q: None),
        ),
        (
            "mask_on_queries",
            "the mask stands along the queries: it silences the padded rows and hides no key",
            [
                _clinic_3_attend(lambda real, q: real[:, None, :, None]),
                lambda q, k, v, real: _clinic_plain(q, k, v) * real[:, None, : q.shape[2], None],
            ],
        ),
        (
            "empty_sentences_nan",
            "a sentence without words gives NaN: its softmax divides 0 by 0",
            _clinic_3_attend(after=lambda weights, mask: weights),
        ),
        (
            "empty_sentences_averaged",
            "a sentence without words gives the mean of its padding: a large negative number hides nothing where all "
            "scores have it",
            [
                _clinic_3_attend(fill=-1e9, after=lambda weights, mask: weights),
                _clinic_3_attend(fill=-1e30, after=lambda weights, mask: weights),
            ],
        ),
        (
            "finite_mask",
            "padding leaks where scores are large: the number that hides it is not below all scores",
            [
                _clinic_3_attend(fill=-1e3, after=lambda weights, mask: weights.masked_fill(~mask.any(-1, True), 0)),
                _clinic_3_attend(fill=-100.0, after=lambda weights, mask: weights.masked_fill(~mask.any(-1, True), 0)),
            ],
        ),
        *_clinic_usual(_clinic_3_attend()),
    ),
    _clinic_3_cases,
)


# --- clinic_4: exponentials -------------------------------------------------------------------------------------------


def _clinic_4_attend(
    before=lambda scores: scores,
    shift=lambda scores, mask: _clinic_4_top(scores, mask),
    total_is=lambda total: total.masked_fill(total == 0, 1),
    after=lambda out: out,
):
    """Attention by hand-made exponentials with some of its parts replaced; without arguments it is a right one."""

    def attend(q, k, v, mask=None):
        scores = before(_clinic_scores(q, k))
        e = torch.exp(scores - shift(scores, mask))
        if mask is not None:
            e = e.masked_fill(~mask, 0)
        return after((e / total_is(e.sum(dim=-1, keepdim=True))) @ v)

    return attend


def _clinic_4_top(scores, mask):
    """The largest score that may be read, 0 in a row without any."""
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    top = scores.amax(dim=-1, keepdim=True)
    return top.masked_fill(top == -math.inf, 0)


def _clinic_4_softmax(q, k, v, mask=None):
    return _clinic_plain(q, k, v, mask)


def _clinic_4_single(q, k, v, mask=None):
    """In float32 or better inside."""
    wide = torch.promote_types(q.dtype, torch.float32)
    return _clinic_plain(q.to(wide), k.to(wide), v.to(wide), mask).to(q.dtype)


def _clinic_4_double(q, k, v, mask=None):
    return _clinic_plain(q.double(), k.double(), v.double(), mask).to(q.dtype)


def _clinic_4_library(q, k, v, mask=None):
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return out if mask is None else out.masked_fill(~mask.any(dim=-1, keepdim=True), 0)


def _clinic_4_unmasked_exp(q, k, v, mask=None):
    """exp in float64 without a maximum: right to ±700."""
    scores = _clinic_scores(q, k).double()
    e = torch.exp(scores)
    e = e if mask is None else e.masked_fill(~mask, 0)
    total = e.sum(dim=-1, keepdim=True)
    return ((e / total.masked_fill(total == 0, 1)).to(v.dtype)) @ v


def _clinic_4_wider(q, k, v, mask=None):
    scores = _clinic_scores(q, k).float()
    e = torch.exp(scores)
    e = e if mask is None else e.masked_fill(~mask, 0)
    total = e.sum(dim=-1, keepdim=True)
    return ((e / total.masked_fill(total == 0, 1)).to(v.dtype)) @ v


def _clinic_4_cases(rng):
    def whole(lead, tq, tk, d, dv, size, dtype, shift=0):
        """Whole numbers and D = 4, so that scores are exact also in float16, in a range of about ±size."""
        q, k = (rng.integers(-3, 4, size=(*lead, n, d)).astype(dtype) for n in (tq, tk))
        q[..., 0], k[..., 0] = 1.0, shift  # adds shift / 2 to every score of a row
        return q * dtype(size), k, rng.normal(size=(*lead, tk, dv)).astype(dtype)

    half, double = np.float16, np.float64
    yield Case("half_precision", whole((2, 3), 4, 5, 4, 7, 4, half))
    yield Case("half_precision", whole((), 3, 3, 4, 4, 8, half))
    yield Case("half_precision", (*whole((2,), 3, 5, 4, 6, 4, half), _clinic_mask(rng, 3, 5)))
    yield Case("far_below_zero", whole((2,), 3, 5, 4, 6, 1, half, shift=-80))
    yield Case("far_below_zero", whole((2,), 3, 5, 4, 6, 1, np.float32, shift=-400))
    yield Case("far_below_zero", whole((2,), 3, 5, 4, 6, 1, double, shift=-2400))
    q, k, v = whole((2,), 3, 5, 4, 6, 1, double)
    k[..., -1, 0] = 3000.0
    hides_last = np.broadcast_to(np.arange(5) < 4, (3, 5)).copy()
    yield Case("hidden_keys", (q, k, v, hides_last))
    q, k, v = whole((2,), 3, 5, 4, 6, 1, half)
    k[..., -1, 0] = 120.0
    yield Case("hidden_keys", (q, k, v, hides_last))
    mask = _clinic_mask(rng, 4, 5)
    mask[1] = False
    yield Case("empty_rows", (*_clinic_qkv(rng, (2, 3), 4, 5, 6, 7), mask))
    yield Case("empty_rows", (*_clinic_qkv(rng, (2,), 3, 3, 3, 3, np.float32), np.zeros((3, 3), bool)))
    yield Case("small_scores", _clinic_qkv(rng, (2, 3), 4, 5, 6, 7))
    yield Case("small_scores", _clinic_qkv(rng, (), 3, 3, 3, 3, np.float32))
    yield Case("small_scores", (*_clinic_qkv(rng, (2, 3), 4, 5, 6, 7), _clinic_mask(rng, 2, 1, 4, 5)))
    yield Case("half_precision", _clinic_qkv(rng, (2,), 4, 5, 6, 3, np.float32, 4000.0))
    yield Case("half_precision", _clinic_qkv(rng, (2,), 4, 5, 6, 3, double, 4000.0))
    for dtype in (half, np.float32, double):
        yield Case(KEEPS_DTYPE, whole((2,), 4, 5, 4, 3, 1, dtype))
    yield Case(KEEPS_DTYPE, (*whole((2,), 4, 5, 4, 3, 1, half), _clinic_mask(rng, 4, 5)))


def _clinic_mask(rng, *shape):
    """A random mask that leaves every query a key."""
    mask = rng.random(shape) < 0.6
    mask[..., 0] |= ~mask.any(axis=-1)
    return mask


_CLINIC_4 = _clinic_reference(
    4,
    "exponentials out of the range of the type",
    _clinic_4_attend(shift=lambda scores, mask: 0),
    (_clinic_4_attend(), _clinic_4_softmax, _clinic_4_single, _clinic_4_double, _clinic_4_library),
    (
        (
            _CLINIC_MASKS,
            "the rows are wrong without any mask; and a mask at fault would show in float32 as well",
        ),
        (
            ("softmax over the wrong axis", "scale from the wrong width", "values taken from the keys"),
            "the same inputs are right in float64; a wrong axis, width or source is as wrong there",
        ),
        (
            ("query positions counted from zero", "heads split without swapping axes", "running sums not rescaled"),
            "no position, head or running sum is in this function, and in float64 the same rows are right",
        ),
        (
            ("gradient cut off from the scores",),
            "nothing was trained here: the outputs themselves are NaN or 0",
        ),
        (("inputs changed in place",), "a second call gives the same, and a copy in float64 is right"),
    ),
    (
        (
            "nan_to_num",
            "the NaN are gone and the rows are 0 or something else: the symptom was painted over, the weights were "
            "lost before",
            [
                _clinic_4_attend(shift=lambda scores, mask: 0, after=lambda out: out.nan_to_num(0.0)),
                _clinic_4_attend(shift=lambda scores, mask: 0, after=lambda out: torch.where(out.isfinite(), out, 0.0)),
            ],
        ),
        (
            "clamped",
            "finite, and too even where scores are large: they are cut off at a limit, and above it all keys are alike",
            [
                _clinic_4_attend(before=lambda scores: scores.clamp(-10, 10), shift=lambda scores, mask: 0),
                _clinic_4_attend(before=lambda scores: scores.clamp(max=11), shift=lambda scores, mask: 0),
                _clinic_4_attend(before=lambda scores: scores.clamp(-10, 10)),
            ],
        ),
        (
            "clamped_total",
            "rows whose scores are far below 0 vanish or overflow as before: a number added to the total, or a least "
            "one, does not bring back what exp has lost",
            [
                _clinic_4_attend(shift=lambda scores, mask: 0, total_is=lambda total: total.clamp(1e-4, 6e4)),
                _clinic_4_attend(shift=lambda scores, mask: 0, total_is=lambda total: total + 1e-6),
            ],
        ),
        (
            "a_wider_type_alone",
            "right in the range where the wider type holds exp, and wrong beyond: scores may be ±10000",
            [_clinic_4_wider, _clinic_4_unmasked_exp],
        ),
        (
            "maximum_of_hidden_keys",
            "a hidden key with a large score empties its row: the maximum has to come from the keys that may be read",
            _clinic_4_attend(shift=lambda scores, mask: scores.amax(dim=-1, keepdim=True)),
        ),
        (
            "one_maximum_for_all",
            "rows far below the largest score vanish: one maximum was taken for the whole array, and each row needs "
            "its own",
            [
                _clinic_4_attend(shift=lambda scores, mask: scores.amax()),
                _clinic_4_attend(
                    shift=lambda scores, mask: (scores if mask is None else scores.masked_fill(~mask, -6e4)).amax()
                ),
            ],
        ),
        (
            "mean_subtracted",
            "rows overflow where one score lies far above the mean: what is subtracted has to be the largest",
            _clinic_4_attend(shift=lambda scores, mask: scores.mean(dim=-1, keepdim=True)),
        ),
        (
            "smaller_scores",
            "the weights are too even, also for small scores: the scores were made smaller to fit",
            [
                _clinic_4_attend(before=lambda scores: scores / 8, shift=lambda scores, mask: 0),
                _clinic_4_attend(before=lambda scores: scores / 10),
            ],
        ),
        (
            "empty_rows_nan",
            "a query that may read nothing gives NaN: the largest of no scores is −∞, and −∞ − (−∞) is NaN",
            [
                lambda q, k, v, mask=None: torch.softmax(_clinic_4_hidden(q, k, mask), dim=-1) @ v,
                _clinic_4_attend(total_is=lambda total: total),
            ],
        ),
        (
            "empty_rows_averaged",
            "a query that may read nothing gives the mean of the values: a finite number hides nothing where all "
            "scores have it",
            lambda q, k, v, mask=None: (
                torch.softmax(_clinic_4_hidden(q, k, mask, torch.finfo(q.dtype).min), dim=-1) @ v
            ),
        ),
        *_clinic_usual(_clinic_4_attend()),
    ),
    _clinic_4_cases,
)


def _clinic_4_hidden(q, k, mask, fill=-math.inf):
    scores = _clinic_scores(q, k)
    return scores if mask is None else scores.masked_fill(~mask, fill)


# --- clinic_5: a window and a cache -----------------------------------------------------------------------------------


def _clinic_5_attend(first=lambda tq, tk: tk - tq, reads=lambda i, j, window: (j <= i) & (i - j <= window), scale=1.0):
    """A window over the newest queries with some of its parts replaced; without arguments it is a right one.

    first: the place of the first query.
    """

    def attend(q, k, v, window):
        tq, tk = q.shape[-2], k.shape[-2]
        i, j = torch.arange(tq)[:, None] + first(tq, tk), torch.arange(tk)
        mask = reads(i, j, window)
        return torch.softmax(_clinic_scores(q, k).masked_fill(~mask, -math.inf), dim=-1) @ v

    return attend


def _clinic_5_rows(q, k, v, window):
    """One query after another, over the keys that it reads."""
    tq, tk = q.shape[-2], k.shape[-2]
    found = []
    for n in range(tq):
        i = tk - tq + n
        span = slice(max(0, i - window), i + 1)
        found.append(_clinic_plain(q[..., n : n + 1, :], k[..., span, :], v[..., span, :]))
    return torch.cat(found, dim=-2)


def _clinic_5_bands(q, k, v, window):
    tq, tk = q.shape[-2], k.shape[-2]
    ones = torch.ones(tq, tk, dtype=torch.bool)
    mask = ones.tril(tk - tq) & ones.triu(tk - tq - window)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _clinic_5_from_the_end(q, k, v, window):
    back_i = torch.arange(q.shape[-2] - 1, -1, -1)[:, None]
    back_j = torch.arange(k.shape[-2] - 1, -1, -1)
    gap = back_j - back_i
    hidden = (gap < 0) | (gap > window)
    e = torch.einsum("...id,...jd->...ij", q, k).div(math.sqrt(q.shape[-1])).masked_fill(hidden, -1e30)
    return torch.softmax(e, dim=-1) @ v


def _clinic_5_window_from_zero(q, k, v, window):
    """Causal from the end, the window from the beginning."""
    tq, tk = q.shape[-2], k.shape[-2]
    i, j = torch.arange(tq)[:, None], torch.arange(tk)
    mask = (j <= i + tk - tq) & (i - j <= window)
    return torch.softmax(_clinic_scores(q, k).masked_fill(~mask, -math.inf), dim=-1) @ v


def _clinic_5_causal_from_zero(q, k, v, window):
    tq, tk = q.shape[-2], k.shape[-2]
    i, j = torch.arange(tq)[:, None], torch.arange(tk)
    mask = (j <= i) & (i + tk - tq - j <= window)
    return _clinic_plain(q, k, v, mask)


def _clinic_5_single_step(q, k, v, window):
    """A branch for one new token, and the old way for the rest."""
    if q.shape[-2] == 1:
        return _clinic_plain(q, k[..., -window - 1 :, :], v[..., -window - 1 :, :])
    return _clinic_5_attend(first=lambda tq, tk: 0)(q, k, v, window)


def _clinic_5_no_mask_for_one(q, k, v, window):
    if q.shape[-2] == 1:
        return _clinic_plain(q, k, v)
    return _clinic_5_attend(first=lambda tq, tk: 0)(q, k, v, window)


def _clinic_5_no_mask_in_the_cache(q, k, v, window):
    if q.shape[-2] < k.shape[-2]:
        return _clinic_plain(q, k, v)
    return _clinic_5_attend()(q, k, v, window)


def _clinic_5_cut_for_all(q, k, v, window):
    """Keeps the window of the last query for all queries."""
    if q.shape[-2] == k.shape[-2]:
        return _clinic_5_attend()(q, k, v, window)
    return _clinic_plain(q, k[..., -window - 1 :, :], v[..., -window - 1 :, :])


def _clinic_5_cases(rng):
    def case(check, lead, tq, tk, d, dv, window, **others):
        return Case(check, (*_clinic_qkv(rng, lead, tq, tk, d, dv, **others), window))

    yield case("from_a_cache", (2, 3), 1, 7, 6, 5, 3)
    yield case("from_a_cache", (), 1, 5, 4, 4, 0)
    yield case("from_a_cache", (2,), 1, 6, 3, 2, 9, dtype=np.float32)
    yield case("chunks", (2, 3), 3, 7, 6, 5, 2)
    yield case("chunks", (2,), 2, 5, 4, 4, 1)
    yield case("chunks", (1,), 4, 6, 3, 2, 10)
    yield case("whole_text", (2, 3), 5, 5, 6, 7, 2)
    yield case("whole_text", (2,), 4, 4, 4, 4, 0)
    yield case("whole_text", (), 6, 6, 3, 5, 5)
    yield case("large_scores", (2,), 2, 7, 6, 5, 3, factor=4000.0)
    yield case("large_scores", (2,), 5, 5, 6, 5, 2, factor=4000.0, dtype=np.float32)
    yield case(KEEPS_DTYPE, (2,), 2, 5, 4, 3, 2, dtype=np.float32)
    yield case(KEEPS_DTYPE, (2,), 2, 5, 4, 3, 2)


_CLINIC_5 = _clinic_reference(
    5,
    "query positions counted from zero",
    _clinic_5_attend(first=lambda tq, tk: 0),
    (_clinic_5_attend(), _clinic_5_rows, _clinic_5_bands, _clinic_5_from_the_end),
    (
        (
            ("mask inverted", "mask applied after the softmax", "causal mask one place too wide"),
            "a text read at once is right with this very mask, so its polarity, its edge and its place are right",
        ),
        (
            ("mask broadcast along the wrong axis",),
            "the mask is (Tq, Tk) for every text and head, and a text read at once is right in all of them",
        ),
        (
            ("softmax over the wrong axis", "scale from the wrong width", "values taken from the keys"),
            "a text read at once is right; a wrong axis, width or source would be as wrong there",
        ),
        (
            ("heads split without swapping axes", "running sums not rescaled"),
            "neither heads nor running sums are in this function; a text read at once is right",
        ),
        (
            ("exponentials out of the range of the type",),
            "every output is finite: the new token's is, to the last digit, the value of one old token",
        ),
        (
            ("gradient cut off from the scores",),
            "nothing is trained when a text is written; the outputs themselves are wrong",
        ),
        (
            ("inputs changed in place",),
            "keys and values are the same after the step, and the step gives the same a second time",
        ),
    ),
    (
        (
            "only_single_steps",
            "right for one new token; a chunk of several still reads the oldest keys",
            [_clinic_5_single_step],
        ),
        (
            "no_mask_for_one_token",
            "one new token reads everything that was kept, whatever the window, and chunks are as they were",
            _clinic_5_no_mask_for_one,
        ),
        (
            "no_mask_in_the_cache",
            "with a cache there is no mask any more: the window is gone, and in a chunk tokens read later ones",
            _clinic_5_no_mask_in_the_cache,
        ),
        (
            "one_window_for_the_chunk",
            "all queries of a chunk read the window of the last: keys are cut off and nothing hides later tokens",
            _clinic_5_cut_for_all,
        ),
        (
            "all_at_the_last_place",
            "every query of a chunk stands at the last place, so that it reads tokens after its own",
            _clinic_5_attend(first=lambda tq, tk: tk - 1 - torch.arange(tq)[:, None]),
        ),
        (
            "window_from_zero",
            "no later token is read, and the window is gone once there is a cache: it is still counted from place 0",
            _clinic_5_window_from_zero,
        ),
        (
            "causal_edge_from_zero",
            "the window is counted from the end and the causal edge from place 0: hardly any key is left, or none",
            _clinic_5_causal_from_zero,
        ),
        (
            "one_place_off",
            "the newest token does not read itself, or reads one token more than the window: queries stand one place "
            "too early",
            [
                _clinic_5_attend(first=lambda tq, tk: tk - tq - 1),
                _clinic_5_attend(first=lambda tq, tk: max(tk - tq - 1, 0)),
            ],
        ),
        (
            "one_place_too_far",
            "a token reads the one after it, since queries stand one place too late",
            _clinic_5_attend(first=lambda tq, tk: tk - tq + 1),
        ),
        (
            "both_sides",
            "later tokens are read as well: the distance is taken without its sign",
            _clinic_5_attend(reads=lambda i, j, window: (i - j).abs() <= window),
        ),
        (
            "window_without_its_edge",
            "a token reads one token less than the window holds: the distance may be as large as the window",
            _clinic_5_attend(reads=lambda i, j, window: (j <= i) & ((i - j < window) | (i == j))),
        ),
        ("no_window", "right but for the window, which is gone", _clinic_5_attend(reads=lambda i, j, window: j <= i)),
        *_clinic_usual(_clinic_5_attend()),
    ),
    _clinic_5_cases,
)


# --- clinic_6: a gradient that is cut off -----------------------------------------------------------------------------


def _clinic_6_attend(of_q=lambda q: q, of_k=lambda k: k, of_v=lambda v: v, of_weights=lambda weights: weights):
    """Masked attention in which a way back may be cut; without arguments it is a right one."""

    def attend(q, k, v, mask=None):
        scores = _clinic_scores(of_q(q), of_k(k))
        if mask is None:
            weights = torch.softmax(scores, dim=-1)
        else:
            weights = torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1).masked_fill(~mask, 0)
        return of_weights(weights) @ of_v(v)

    return attend


def _clinic_6_given(q, k, v, mask=None):
    with torch.no_grad():
        scores = _clinic_scores(q, k)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        weights = torch.softmax(scores, dim=-1)
        if mask is not None:
            weights = weights.masked_fill(~mask, 0)
    return weights @ v


def _clinic_6_exp(q, k, v, mask=None):
    """With a maximum without gradient, which is as right."""
    scores = torch.einsum("...id,...jd->...ij", q, k) / q.shape[-1] ** 0.5
    top = (scores if mask is None else scores.masked_fill(~mask, -1e30)).detach().amax(dim=-1, keepdim=True)
    shifted = scores - top
    e = torch.exp(shifted if mask is None else shifted.masked_fill(~mask, -1e30))
    total = e.sum(dim=-1, keepdim=True)
    return e @ v / total.masked_fill(total == 0, 1)


def _clinic_6_library(q, k, v, mask=None):
    if mask is None:
        return functional.scaled_dot_product_attention(q, k, v)
    readable = mask.any(dim=-1, keepdim=True)
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask | ~readable)
    return torch.where(readable, out, torch.zeros((), dtype=out.dtype))


def _clinic_6_double(q, k, v, mask=None):
    return _clinic_6_attend()(q.double(), k.double(), v.double(), mask).to(q.dtype)


def _clinic_6_leaf(weights):
    """A weight that asks for a gradient of its own, which ends there."""
    return weights.detach().requires_grad_()


def _clinic_6_nan(q, k, v, mask=None):
    """Right numbers, and NaN as gradients where a row is empty."""
    scores = _clinic_scores(q, k)
    if mask is None:
        return torch.softmax(scores, dim=-1) @ v
    e = torch.exp(scores - scores.detach().amax(dim=-1, keepdim=True)) * mask
    total = e.sum(dim=-1, keepdim=True)
    return torch.where(total == 0, torch.zeros((), dtype=q.dtype), e @ v / total)


def _clinic_6_cases(rng):
    mask = _clinic_mask(rng, 4, 5)
    empty = mask.copy()
    empty[2] = False
    yield Case("output", _clinic_qkv(rng, (2, 3), 4, 5, 6, 7))
    yield Case("output", (*_clinic_qkv(rng, (2, 3), 4, 5, 6, 7), mask))
    yield Case("output", (*_clinic_qkv(rng, (2,), 3, 3, 3, 3, np.float32), _clinic_mask(rng, 2, 3, 3)))
    yield Case(DIFFERENTIABLE, _clinic_qkv(rng, (2, 3), 4, 5, 6, 7))
    yield Case(DIFFERENTIABLE, (*_clinic_qkv(rng, (2, 3), 4, 5, 6, 7), mask))
    yield Case(DIFFERENTIABLE, (*_clinic_qkv(rng, (2,), 4, 5, 3, 3), empty))
    yield Case("empty_rows", (*_clinic_qkv(rng, (2, 3), 4, 5, 6, 7), empty))
    yield Case("large_scores", _clinic_qkv(rng, (2,), 4, 5, 6, 7, factor=4000.0))
    yield Case("large_scores", (*_clinic_qkv(rng, (2,), 4, 5, 6, 7, np.float32, 4000.0), mask))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (*_clinic_qkv(rng, (2,), 4, 5, 6, 7, dtype), mask))


_CLINIC_6 = _clinic_reference(
    6,
    "gradient cut off from the scores",
    _clinic_6_given,
    (_clinic_6_attend(), _clinic_6_exp, _clinic_6_library, _clinic_6_double),
    (
        (
            (*_CLINIC_MASKS, "query positions counted from zero"),
            "every output is exactly right, with a mask and without; a mask or a position at fault would show in them",
        ),
        (
            (
                "softmax over the wrong axis",
                "scale from the wrong width",
                "values taken from the keys",
                "heads split without swapping axes",
                "running sums not rescaled",
            ),
            "every output is exactly right, and each of these makes outputs wrong",
        ),
        (
            ("exponentials out of the range of the type",),
            "every output is finite and exactly right, and so is the loss at the first step",
        ),
        (("inputs changed in place",), "q, k and v are the same after the call, to the last bit"),
    ),
    (
        (
            "queries_learn_nothing",
            "no gradient comes back to q: it is still cut off there",
            _clinic_6_attend(of_q=lambda q: q.detach()),
        ),
        (
            "keys_learn_nothing",
            "no gradient comes back to k: it is still cut off there",
            _clinic_6_attend(of_k=lambda k: k.detach()),
        ),
        (
            "values_learn_nothing",
            "q and k learn now, and no gradient comes back to v any more",
            _clinic_6_attend(of_v=lambda v: v.detach()),
        ),
        (
            "nothing_learns",
            "the numbers are right and no gradient comes back to anything: the whole result is cut off",
            [
                lambda q, k, v, mask=None: _clinic_6_attend()(q, k, v, mask).detach(),
                lambda q, k, v, mask=None: _clinic_6_attend()(q, k, v, mask).detach().requires_grad_(),
            ],
        ),
        (
            "a_leaf_of_its_own",
            "the weights ask for a gradient and pass none on: detached, they are a beginning of their own, and q and k "
            "get nothing",
            _clinic_6_attend(of_weights=_clinic_6_leaf),
        ),
        (
            "gradient_as_if_linear",
            "gradients reach q and k and are not those of the softmax: the scores' own were passed by it",
            lambda q, k, v, mask=None: (
                _clinic_6_given(q, k, v, mask) + (_clinic_scores(q, k) - _clinic_scores(q, k).detach()) @ v.detach()
            ),
        ),
        (
            "nan_in_empty_rows",
            "the numbers are right, and one row without keys turns all gradients into NaN: 0 / 0 stands in the branch "
            "that is not taken, and 0 · NaN is NaN",
            _clinic_6_nan,
        ),
        (
            "empty_rows_nan",
            "a query that may read nothing gives NaN: its softmax divides 0 by 0",
            lambda q, k, v, mask=None: torch.softmax(_clinic_4_hidden(q, k, mask), dim=-1) @ v,
        ),
        (
            "empty_rows_averaged",
            "a query that may read nothing gives the mean of the values: a finite number hides nothing where all "
            "scores have it",
            lambda q, k, v, mask=None: torch.softmax(_clinic_4_hidden(q, k, mask, -1e9), dim=-1) @ v,
        ),
        *_clinic_usual(_clinic_6_attend()),
    ),
    _clinic_6_cases,
)


# --- attention_tests --------------------------------------------------------------------------------------------------

_TESTS_WHAT = {
    "plain": "with masked_fill and softmax",
    "einsum": "by einsum and exponentials",
    "double": "in float64 inside",
    "torch": "by torch's own function",
    "rows": "one query after another",
    "logs": "by logarithms",
    "blocks": "a few keys at a time",
    "no scale": "does not divide the scores",
    "by D": "divides by D",
    "by the width of v": "divides by the root of the width of v",
    "by the number of keys": "divides by the root of the number of keys",
    "over the queries": "has columns that sum to 1",
    "over everything": "has weights that sum to 1 over the whole table",
    "roles swapped": "lets keys ask and queries answer",
    "one set of keys": "uses the first item's keys for the whole batch",
    "batch joined": "divides by a total that is shared by the batch",
    "one mask for all": "uses the first item's mask for the whole batch",
    "mask ignored": "ignores the mask",
    "mask inverted": "hides what may be read",
    "mask after": "masks after the softmax",
    "scores of zero": "gives hidden keys the score 0",
    "empty rows NaN": "gives NaN where nothing may be read",
    "empty rows even": "gives the mean of v where nothing may be read",
    "empty rows in the weights": "gives even weights, and an output of 0, where nothing may be read",
    "no maximum": "overflows where scores are large",
    "one maximum": "loses rows whose scores lie far below the largest of the array",
    "clamped": "cuts scores off at ±30",
    "last key lost": "never reads the last key",
    "three largest": "keeps the three largest weights of a row",
    "dropout": "drops a weight of each row by chance",
    "three places": "reads at most three places to each side",
    "changes q": "writes into q",
    "changes the mask": "writes into the mask",
    "always float32": "gives float32 for float64",
    "always float64": "gives float64 for float32",
    "returns scores": "returns scores instead of weights",
}
_TESTS_CHECKED = {
    "catches_scales": ("no scale", "by D", "by the width of v", "by the number of keys"),
    "catches_axes": ("over the queries", "over everything", "roles swapped"),
    "catches_mixed_batches": ("one set of keys", "batch joined", "one mask for all"),
    "catches_masks": ("mask ignored", "mask inverted", "mask after", "scores of zero"),
    "catches_empty_rows": ("empty rows NaN", "empty rows even", "empty rows in the weights"),
    "catches_large_scores": ("no maximum", "one maximum", "clamped"),
    "catches_lost_keys": ("last key lost", "three largest", "dropout", "three places"),
    "catches_side_effects": ("changes q", "changes the mask", "always float32", "always float64", "returns scores"),
}


def _tests_cases(rng):
    """Every group stands with all right functions beside it, so that nothing counts once one of these is refused."""

    def case(check, kinds):
        order = rng.permutation(len(kinds))
        functions = (Built("fn", {"kind": kinds[place]}) for place in order)
        # With a seed among the inputs a mistake is named by what it gives in all checks: of one check alone it is too
        # little, since many tests find the same three functions.
        return Case(check, (*functions, Seed(int(rng.integers(2**31)))))

    # From the last on, since there most wrong tests show that they are wrong, and a diagnosis needs few cases.
    for check, wrong in reversed(_TESTS_CHECKED.items()):
        yield case(check, (*wrong, *TESTS_RIGHT))
    yield case("refuses_no_right_one", tuple(TESTS_RIGHT))


def _tests_errors_found(kinds, found):
    """What was found, where an error that only wrong functions bring about counts as a fault.

    Tests that add a float32 to a float64 which a wrong function handed back may stop there: it has been caught. An
    AssertionError has not: faults are to be returned.
    """
    if any(kind in TESTS_RIGHT and isinstance(said, str) for kind, said in zip(kinds, found, strict=True)):
        return found
    return [
        True if isinstance(said, str) and said.endswith("Error") and said != "AssertionError" else said
        for said in found
    ]


def _tests_agree(case, wanted, got):
    """None if two tests that are right, or wrong in the same way; else what the second one found."""
    kinds = [item.params["kind"] for item in case.inputs if isinstance(item, Built)]
    wanted, got = ({**each, "found": _tests_errors_found(kinds, each["found"])} for each in (wanted, got))
    odd = next((said for said in got["found"] if not isinstance(said, bool)), None)
    if odd == "list" or odd is None:
        odd = next((said for said in got["found"] if isinstance(said, str)), None)
    truths = [kind not in TESTS_RIGHT for kind in kinds]
    if got["found"] == truths and wanted["found"] == truths:
        return None
    if wanted["found"] != truths and wanted == got:
        return None
    if odd is not None:
        raised = odd.endswith(("Error", "Exception"))
        return f"the tests themselves raised {odd}" if raised else f"the result is {odd}; a list of texts is wanted"
    pairs = list(zip(kinds, truths, got["found"], strict=True))
    refused = [kind for kind, wrong, found in pairs if found and not wrong]
    missed = [kind for kind, wrong, found in pairs if wrong and not found]
    if refused:
        which = f"attention {_TESTS_WHAT[refused[0]]}"
        return f"faults in {len(refused)} of {len(TESTS_RIGHT)} right functions, such as {which}; so nothing counts"
    if missed:
        return f"no fault found in an fn that {_TESTS_WHAT[missed[0]]}; {len(missed)} of {sum(truths)} slipped through"
    return "other findings"


def attention_tests(fn):
    faults = []
    draw = torch.Generator().manual_seed(0)

    def near(a, b):
        return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, atol=1e-4)

    def expect(name, holds):
        try:
            ok = holds()
        except Exception as error:
            name, ok = f"{name} ({type(error).__name__})", False
        if not ok:
            faults.append(name)

    def drawn(lead, tq, tk, d, dv, dtype=torch.float64):
        return [torch.randn(*lead, n, w, generator=draw, dtype=dtype) for n, w in ((tq, d), (tk, d), (tk, dv))]

    def usual(q, k, v, mask=None):
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        weights = torch.nan_to_num(torch.softmax(scores, dim=-1))
        return weights @ v, weights

    def agrees(*given):
        before: list = [item if item is None else item.clone() for item in given]
        found = fn(*given)
        unchanged = all(a is b or torch.equal(a, b) for a, b in zip(given, before, strict=True))
        return unchanged and all(map(near, found, usual(*before)))

    mask = torch.rand(2, 1, 6, 7, generator=draw) < 0.5
    mask[1, 0, 2] = False
    for dtype in (torch.float32, torch.float64):
        q, k, v = drawn((2, 3), 6, 7, 4, 5, dtype)
        expect("plain", lambda q=q, k=k, v=v: agrees(q, k, v))
        expect("mask", lambda q=q, k=k, v=v: agrees(q, k, v, mask))
        expect("one sentence", lambda q=q, k=k, v=v: agrees(q[0, 0], k[0, 0], v[0, 0], mask[1, 0]))
    q, k, v = drawn((2,), 5, 5, 5, 5)
    expect("square", lambda: agrees(q, k, v, None))
    q[:, 0] *= 4e3
    expect("large", lambda: agrees(q, k, v, None))
    return faults


def _tests_by_properties(fn):
    """Without any other attention to compare with: what must not change, what must, and one case by hand."""
    draw = torch.Generator().manual_seed(3)
    faults = []

    def near(a, b):
        return a.shape == b.shape and bool(((a - b).abs() <= 1e-4).all())

    def new(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    def run():
        q, k, v = new(2, 3, 6, 4), new(2, 3, 7, 4), new(2, 3, 7, 5)
        mask = torch.rand(2, 3, 6, 7, generator=draw) < 0.6
        mask[..., 0] |= ~mask.any(-1)
        kept = [t.clone() for t in (q, k, v, mask)]
        out, weights = fn(q, k, v, mask)
        yield "inputs", all(map(torch.equal, kept, (q, k, v, mask)))
        q, k, v, mask = (t.clone() for t in kept)
        yield "out is weights times v", near(out, weights @ v)
        yield "rows", near(weights.sum(-1), torch.ones(2, 3, 6, dtype=torch.float64)) and bool((weights >= 0).all())
        for b, h, i in ((0, 0, 0), (1, 2, 5), (1, 0, 3), (0, 1, 2)):
            keys = mask[b, h, i]
            alone, _ = fn(q[b, h, i : i + 1], k[b, h, keys], v[b, h, keys])
            yield "alone", near(alone[0], out[b, h, i])
        order = torch.randperm(7, generator=draw)
        free, shares = fn(q, k, v)
        moved, others = fn(q, k[..., order, :], v[..., order, :])
        yield "order of keys", near(moved, free) and near(others, shares[..., order])
        yield "all keys", bool((shares > 0).all())
        yield "all may be read", near(fn(q, k, v, torch.ones(6, 7, dtype=torch.bool))[0], free)
        two = torch.zeros(2, 9, dtype=torch.float64)
        two[0, 0] = 3 * math.log(3)  # a score of ln 3 once divided by √9
        one = torch.zeros(1, 9, dtype=torch.float64)
        one[0, 0] = 1
        _, known = fn(one, two, new(2, 3))
        yield "three quarters", near(known, torch.tensor([[0.75, 0.25]], dtype=torch.float64))
        nothing = torch.ones(6, 7, dtype=torch.bool)
        nothing[2] = False
        out, weights = fn(q, k, v, nothing)
        yield "nothing to read", not out[..., 2, :].any() and not weights[..., 2, :].any()
        large = torch.tensor([[1.0], [1e4]], dtype=torch.float64)
        out, weights = fn(large, torch.tensor([[-1.0], [-1.1], [-0.9]], dtype=torch.float64), new(3, 2))
        rows = torch.softmax(torch.tensor([[-1.0, -1.1, -0.9], [-1e4, -1.1e4, -9e3]], dtype=torch.float64), -1)
        yield "large", near(weights, rows) and bool(out.isfinite().all())
        large[0] = 300
        rows = torch.softmax(torch.tensor([[-300.0, -330.0, -270.0], [-1e4, -1.1e4, -9e3]], dtype=torch.float64), -1)
        yield (
            "large in both",
            near(fn(large, torch.tensor([[-1.0], [-1.1], [-0.9]], dtype=torch.float64), new(3, 2))[1], rows),
        )
        for dtype in (torch.float32, torch.float64):
            given = [t.to(dtype) for t in (q, k, v)]
            yield "dtype", all(found.dtype == dtype for found in fn(*given))

    try:
        faults += [name for name, holds in run() if not holds]
    except Exception as error:
        faults.append(type(error).__name__)
    return faults


def _tests_with_asserts(fn):
    """Assertions of torch.testing, gathered; and errors of fn let through."""
    draw = torch.Generator().manual_seed(11)
    faults = set()
    for tq, tk, d, dv, lead in ((3, 8, 4, 9, (3, 2)), (6, 6, 6, 6, (2,)), (7, 5, 16, 2, ())):
        for dtype in (torch.float32, torch.float64):
            q, k, v = (torch.randn(*lead, *s, generator=draw).to(dtype) for s in ((tq, d), (tk, d), (tk, dv)))
            some = torch.rand(*lead, tq, tk, generator=draw) < 0.4
            masks: list[Any] = [None, some, torch.rand(tk, generator=draw) < 0.5]
            for mask in (*masks, torch.zeros(tq, tk, dtype=torch.bool)):
                for factor in (1.0, 3000.0):
                    kept = None if mask is None else mask.clone()
                    big = q.clone()
                    big[..., -1, :] *= factor
                    same = big.clone()
                    found = fn(big, k, v, mask)
                    wanted = _tests_reference(same, k, v, kept)
                    try:
                        torch.testing.assert_close(tuple(found), wanted, rtol=1e-3, atol=1e-3)
                        torch.testing.assert_close(big, same)
                        assert kept is None or torch.equal(mask, kept)
                    except AssertionError as error:
                        faults.add(str(error)[:40])
    return faults


def _tests_reference(q, k, v, mask) -> Any:
    scores = q.double() @ k.double().mT / math.sqrt(q.shape[-1])
    scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)
    return (weights @ v.double()).to(q.dtype), weights.to(q.dtype)


def _tests_like(
    sizes=(6, 7, 4, 5),
    lead=(2, 3),
    dtypes=(torch.float32, torch.float64),
    masks=("none", "some", "empty"),
    large=True,
    near=lambda a, b: a.dtype == b.dtype and torch.allclose(a, b, atol=1e-3),
    look=lambda found: found,
    factor=1.0,
    inputs=True,
    say=lambda faults: faults,
):
    """Tests by comparison with some of their parts left out; without arguments they are right ones."""

    def attention_tests(fn):
        faults = []
        draw = torch.Generator().manual_seed(5)
        tq, tk, d, dv = sizes
        for dtype in dtypes:
            for how in (*masks, *(["large"] if large else [])):
                q, k, v = (
                    torch.randn(*lead, *s, generator=draw).to(dtype) * factor for s in ((tq, d), (tk, d), (tk, dv))
                )
                mask: Any = None if how in ("none", "large") else torch.rand(*lead, tq, tk, generator=draw) < 0.6
                if how == "some":
                    mask[..., 0] |= ~mask.any(-1)
                if how == "empty":
                    mask[..., 1, :] = False
                if how == "all":
                    mask[:] = True
                if how == "large":
                    q[..., :1, :] *= 4e3
                before: list = [t if t is None else t.clone() for t in (q, k, v, mask)]
                try:
                    found = look(tuple(fn(q, k, v, mask)))
                    wanted = look(_tests_reference(*before))
                    same = all(map(near, found, wanted))
                    kept = all(a is b or torch.equal(a, b) for a, b in zip((q, k, v, mask), before, strict=True))
                    if not same or (inputs and not kept):
                        faults.append(how)
                except Exception as error:
                    faults.append(type(error).__name__)
        return say(faults)

    return attention_tests


def _tests_only(holds, **how):
    """Tests that ask one thing of (out, weights): `holds(q, k, v, out, weights)`."""

    def attention_tests(fn):
        draw = torch.Generator().manual_seed(9)
        tq, tk, d, dv = how.get("sizes", (6, 7, 4, 5))
        q, k, v = (torch.randn(2, 3, *s, generator=draw) for s in ((tq, d), (tk, d), (tk, dv)))
        mask = torch.rand(2, 3, tq, tk, generator=draw) < 0.6
        mask[..., 0] |= ~mask.any(-1)
        faults = []
        for given in ((q, k, v), (q, k, v, mask))[: how.get("calls", 2)]:
            try:
                if not holds(*given[:3], *fn(*(t.clone() for t in given))):
                    faults.append("a fault")
            except Exception as error:
                faults.append(type(error).__name__)
        return faults

    return attention_tests


def _tests_of_shapes(q, k, v, out, weights):
    return out.shape == (*q.shape[:-1], v.shape[-1]) and weights.shape == (*q.shape[:-1], k.shape[-2])


def _tests_of_rows(q, k, v, out, weights):
    return torch.allclose(weights.sum(-1), torch.ones(weights.shape[:-1], dtype=weights.dtype), atol=1e-3)


def _tests_let_assertions_out(fn):
    faults = attention_tests(fn)
    assert not faults, faults
    return faults


def _tests_by_their_errors(fn):
    """Everything is a fault that does not look like the usual code: it asks for a gradient, which no fn hands back."""
    q = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    out, _ = fn(q, q, q)
    return [] if out.requires_grad else ["no gradient"]


_TESTS_MISCONCEPTIONS = (
    Misconception("accepts_everything", "no fn has a fault, and none was called to find out", lambda fn: []),
    Misconception(
        "refuses_everything",
        "every fn has a fault, right ones too, and none was called to find out",
        [lambda fn: ["a fault"], lambda fn: ["not tested"]],
    ),
    Misconception(
        "shapes_only",
        "only what is wrong in its shape, or ends in an error, is found: wrong attention has right shapes",
        [_tests_only(_tests_of_shapes), _tests_only(_tests_of_shapes, calls=2, sizes=(5, 7, 3, 6))],
    ),
    Misconception(
        "row_sums_only",
        "what is found are rows that do not sum to 1; most mistakes keep that sum, which a softmax makes of any scores",
        [_tests_only(_tests_of_rows), _tests_only(lambda *a: _tests_of_shapes(*a) and _tests_of_rows(*a))],
    ),
    Misconception(
        "finite_only",
        "only NaN, infinities and errors would be found, in inputs that hardly lead to them",
        _tests_only(lambda q, k, v, out, weights: bool(out.isfinite().all() and weights.isfinite().all())),
    ),
    Misconception(
        "square",
        "all sizes are equal, Tq = Tk = D = Dv: a wrong width or number of keys under the root is then the right one",
        [_tests_like(sizes=(6, 6, 6, 6)), _tests_like(sizes=(4, 4, 4, 4))],
    ),
    Misconception(
        "square_width_and_keys",
        "D, Dv or the number of keys is the same, so that a root of one is the root of the other",
        [_tests_like(sizes=(6, 7, 5, 5)), _tests_like(sizes=(6, 5, 5, 7))],
    ),
    Misconception(
        "saturated",
        "scores are so large that nearly every weight is 0 or 1: another scale, or smaller weights left out, hardly "
        "change it",
        [
            _tests_like(
                factor=100.0, near=lambda a, b: a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-2, atol=3.0)
            ),
            _tests_like(
                factor=300.0,
                near=lambda a, b: a.dtype == b.dtype and (a.argmax(-1) == b.argmax(-1)).double().mean() > 0.999,
                look=lambda found: found[1:],
            ),
        ],
    ),
    Misconception(
        "exact",
        "right functions are refused since their last digits differ: sums in another order round otherwise, and the "
        "comparison has to allow it",
        [
            _tests_like(near=torch.equal),
            _tests_like(near=lambda a, b: a.dtype == b.dtype and torch.allclose(a, b, rtol=0.0, atol=1e-9)),
        ],
    ),
    Misconception(
        "never_a_mask",
        "fn never gets a mask, so nothing that is wrong about masks and empty rows can show",
        [_tests_like(masks=("none",)), _tests_like(masks=("none",), sizes=(5, 9, 3, 4))],
    ),
    Misconception(
        "a_mask_that_hides_nothing",
        "the mask is True everywhere: ignoring it, or using it late, changes nothing",
        [_tests_like(masks=("none", "all")), _tests_like(masks=("all",))],
    ),
    Misconception(
        "always_a_key",
        "every row of every mask has a key, so what happens in empty rows is not seen",
        [_tests_like(masks=("none", "some"))],
    ),
    Misconception(
        "one_sentence",
        "there is one item in every batch, so that nothing can mix with another",
        [_tests_like(lead=()), _tests_like(lead=(1,))],
    ),
    Misconception(
        "small_scores",
        "scores are never large: what overflows, is cut off, or loses small rows passes",
        [_tests_like(large=False), _tests_like(large=False, sizes=(5, 9, 3, 4))],
    ),
    Misconception(
        "float32_demanded",
        "right functions are refused: they hand back float64 for float64, and float32 is demanded of all",
        [
            _tests_like(near=lambda a, b: a.dtype == torch.float32 and torch.allclose(a, b.float(), atol=1e-3)),
            _tests_like(
                dtypes=(torch.float64,),
                near=lambda a, b: a.dtype == torch.float32 and torch.allclose(a, b.float(), atol=1e-3),
            ),
        ],
    ),
    Misconception(
        "float32_alone",
        "only float32 goes in, so that a function which always answers in float32 looks right",
        [_tests_like(dtypes=(torch.float32,))],
    ),
    Misconception(
        "float64_alone",
        "only float64 goes in, so that a function which always answers in float64 looks right",
        [_tests_like(dtypes=(torch.float64,))],
    ),
    Misconception(
        "dtypes_not_compared",
        "numbers are compared and dtypes are not",
        [_tests_like(near=lambda a, b: torch.allclose(a.double(), b.double(), atol=1e-3))],
    ),
    Misconception(
        "only_out",
        "out is compared and weights are not, so wrong weights beside a right output pass",
        [_tests_like(look=lambda found: found[:1])],
    ),
    Misconception(
        "only_weights",
        "weights are compared and out is not",
        [_tests_like(look=lambda found: found[1:], masks=("none", "some"), large=False)],
    ),
    Misconception(
        "inputs_not_compared",
        "results are compared, and whether q, k, v and the mask are as they were is not looked at",
        [_tests_like(inputs=False)],
    ),
    Misconception(
        "too_few_keys",
        "three keys and three queries are too few: a function that reads only near or only large ones reads them all",
        [_tests_like(sizes=(2, 3, 4, 5))],
    ),
    Misconception(
        "coarse",
        "differences of several tenths pass as rounding, and with them a wrong scale",
        [_tests_like(near=lambda a, b: a.dtype == b.dtype and torch.allclose(a, b, atol=0.6, rtol=0.0))],
    ),
    Misconception(
        "other_contract",
        "right functions are refused: they are asked for something that was not agreed on, such as NaN in empty rows",
        [
            _tests_like(look=lambda found: tuple(torch.where(part == 0, torch.inf, part) for part in found[:1])),
        ],
    ),
    Misconception(
        "gradients_demanded",
        "every fn is refused, right ones too: gradients are asked for, and fn hands back numbers only",
        _tests_by_their_errors,
    ),
    Misconception(
        "assertions_let_out",
        "the tests stop with an AssertionError where a fault is found; the faults are to be returned, in a list",
        _tests_let_assertions_out,
    ),
    Misconception(
        "yes_or_no",
        "the answer is True or False; a list of faults is wanted, empty where there are none",
        [_tests_like(say=bool), _tests_like(say=lambda faults: not faults)],
    ),
    Misconception(
        "a_text",
        "the answer is one text; a list of texts is wanted, empty where there are no faults",
        [_tests_like(say=", ".join)],
    ),
    Misconception(
        "nothing_returned", "the result is None: is a return missing?", [_tests_like(say=lambda faults: None)]
    ),
    Misconception(
        "how_many",
        "the answer is a number; a list of texts is wanted, one for each fault",
        [_tests_like(say=len)],
    ),
)


# --- finds_the_leak ---------------------------------------------------------------------------------------------------


def _leak_as_set(case, answer):
    """A set of lower-case words, from a set, a list, a tuple or a text with commas."""
    if isinstance(answer, np.ndarray):
        answer = answer.tolist()
    if isinstance(answer, str):
        answer = answer.strip("{}[]()").split(",")
    words = {str(word).strip(" '\"").lower() for word in answer} - {""}
    return {
        {"held-out": "held-out loss", "held out loss": "held-out loss", "seeds": "other seeds"}.get(w, w) for w in words
    }


_LEAK = (
    Misconception(
        "held_out_loss",
        "the leak is in the model and not in the data: on new text it reads ahead as well, and its held-out loss is as "
        "low as the other",
        [
            {"held-out loss"},
            {"held-out loss", "later tokens"},
            {"held-out loss", "other seeds"},
            {"held-out loss", "batch"},
            {"held-out loss", "batch", "later tokens"},
            {"held-out loss", "other seeds", "batch"},
            {"held-out loss", "other seeds", "later tokens"},
        ],
    ),
    Misconception(
        "other_seeds",
        "every seed finds the leak, since it is the quickest way down; the losses agree, and agreement looks like "
        "reliability",
        [
            {"other seeds"},
            {"other seeds", "later tokens"},
            {"other seeds", "batch"},
            {"other seeds", "batch", "later tokens"},
        ],
    ),
    Misconception(
        "batch",
        "each text is read by itself in both models; what is read too early stands in that text, not in another",
        [{"batch"}, {"batch", "later tokens"}],
    ),
    Misconception(
        "all_of_them",
        "three of the four come out alike for both models: a leak is in every text, every seed and every split",
        {"held-out loss", "other seeds", "batch", "later tokens"},
    ),
    Misconception("none_of_them", "one of them does: what stands later must not move what stands earlier", ("none",)),
)


REFERENCES = (
    _CLINIC_1,
    _CLINIC_2,
    _CLINIC_3,
    _CLINIC_4,
    _CLINIC_5,
    _CLINIC_6,
    Reference(
        id="finds_the_leak",
        reference={"later tokens"},
        accepted=(["later tokens"], "Later tokens", ("later tokens",)),
        misconceptions=_LEAK,
        cases=lambda rng: [Case("prediction")],
        view=_leak_as_set,
    ),
    Reference(
        id="attention_tests",
        reference=attention_tests,
        accepted=(
            _tests_by_properties,
            _tests_with_asserts,
            _tests_like(),
            _tests_like(say=set),
            _tests_like(say=tuple),
        ),
        misconceptions=_TESTS_MISCONCEPTIONS,
        cases=_tests_cases,
        agree=_tests_agree,
    ),
    *TOOLBOX,
)
