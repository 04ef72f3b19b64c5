"""Notebook 20, the second part of the hidden half, its toolbox: references, accepted and wrong answers, cases."""

import math

import numpy as np
import torch
from torch.nn import functional

from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Case, Misconception, Reference

# --- bytes_of_a_token, kv_cache_bytes --------------------------------------------------------------------------------


def as_count(case, answer):
    """One whole number, also written as a float, as text with commas or with its unit."""
    if isinstance(answer, (np.ndarray, np.generic)):
        answer = answer.item()
    if isinstance(answer, str):
        answer = float(
            answer.lower().removesuffix("bytes").strip().removesuffix("b").translate(str.maketrans("", "", ", _"))
        )
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        raise ValueError("a number is wanted")
    return int(answer) if answer == int(answer) else answer


BYTES_OF_A_TOKEN = (
    Misconception(
        "query_heads",
        "this counts keys and values for each of the 8 query heads: they share one head of keys and values, and a "
        "query is not kept",
        24 * 2 * 8 * 64 * 4,
    ),
    Misconception("keys_alone", "half of what is wanted: values are kept as well as keys", 24 * 64 * 4),
    Misconception(
        "query_heads+keys_alone",
        "this counts one vector for each of the 8 query heads: they share one key, and each key has a value beside it",
        24 * 8 * 64 * 4,
    ),
    Misconception(
        "one_layer", "this is what one layer keeps: each of the 24 has keys and values of its own", 2 * 64 * 4
    ),
    Misconception("numbers", "this is how many numbers are kept: float32 takes 4 bytes for each", 24 * 2 * 64),
    Misconception(
        "queries_kept",
        "a query, or eight, is counted beside key and value: a query has asked once its row is computed, and is not "
        "kept",
        [24 * 3 * 64 * 4, 24 * (8 + 2) * 64 * 4],
    ),
    Misconception(
        "shared_out",
        "the head is divided by 8: it is shared, not split, and stays 64 wide",
        24 * 2 * 8 * 4,
    ),
)


def kv_cache_bytes(layers, h_kv, d, n, batch, bytes_per):
    return 2 * layers * h_kv * d * n * batch * bytes_per


def _kv_by_adding(layers, h_kv, d, n, batch, bytes_per):
    keys = values = h_kv * d * n * bytes_per
    return sum((keys + values) * batch for _ in range(layers))


def _kv_by_product(layers, h_kv, d, n, batch, bytes_per):
    return math.prod((2, layers, batch, h_kv, n, d, bytes_per))


def _kv_in_numpy(layers, h_kv, d, n, batch, bytes_per):
    return np.int64(2) * layers * np.prod([batch, h_kv, n, d], dtype=np.int64) * bytes_per


def _kv_countable(case, result):
    """A count as it is compared; one that no int64 holds, as a float."""
    if type(result) is not int or abs(result) < 2**63:
        return result
    return float(result) if abs(result) < 2**1000 else math.inf


def kv_cases(rng):
    for sizes in ((1, 1, 5, 7, 1, 4), (1, 1, 64, 3, 1, 2), (1, 1, 6, 11, 1, 1), (1, 1, 1, 1, 1, 2), (1, 1, 9, 9, 1, 8)):
        yield Case("keys_and_values", sizes)
    for sizes in (
        (5, 1, 3, 7, 1, 2),
        (1, 6, 5, 7, 1, 4),
        (1, 1, 3, 11, 5, 2),
        (7, 3, 10, 13, 5, 2),
        (4, 4, 4, 4, 4, 4),
    ):
        yield Case("everything_held", sizes)
    yield Case("exact", (661, 7, 129, 1_000_003, 99_991, 2))
    yield Case("exact", (333, 11, 65, 999_983, 100_003, 1))


def _kv(change):
    """A wrong count from the right one's factors."""
    return lambda layers, h_kv, d, n, batch, bytes_per: change(layers, h_kv, d, n, batch, bytes_per)


KV_MISCONCEPTIONS = (
    Misconception(
        "forgets_2",
        "half of what is wanted: values are kept as well as keys",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: layers * h_kv * d * n * batch * bytes_per),
    ),
    Misconception(
        "uses_query_heads",
        "more heads are counted than h_kv: queries are not kept, and those of a group share one key and one value",
        [
            _kv(lambda layers, h_kv, d, n, batch, bytes_per, g=g: 2 * layers * g * h_kv * d * n * batch * bytes_per)
            for g in (3, 4, 8)
        ]
        + [
            _kv(lambda layers, h_kv, d, n, batch, bytes_per, h=h: 2 * layers * h * d * n * batch * bytes_per)
            for h in (8, 9, 12, 32)
        ],
    ),
    Misconception(
        "queries_kept",
        "half as much again as is wanted: a query is not kept, only keys and values",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: 3 * layers * h_kv * d * n * batch * bytes_per),
    ),
    Misconception(
        "layers_forgotten",
        "right for one layer only: each layer keeps keys and values of its own",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * h_kv * d * n * batch * bytes_per),
    ),
    Misconception(
        "heads_forgotten",
        "right for one head of keys and values only: h_kv does not change the number",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * d * n * batch * bytes_per),
    ),
    Misconception(
        "batch_forgotten",
        "right for one text only: each text of the batch has a cache",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * h_kv * d * n * bytes_per),
    ),
    Misconception(
        "tokens_forgotten",
        "this is what one token takes: n does not change the number",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * h_kv * d * batch * bytes_per),
    ),
    Misconception(
        "width_forgotten",
        "d does not change the number: a key is d numbers",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * h_kv * n * batch * bytes_per),
    ),
    Misconception(
        "numbers_not_bytes",
        "this is how many numbers there are: each takes bytes_per bytes",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * h_kv * d * n * batch),
    ),
    Misconception(
        "n_squared",
        "n is squared, as for scores: a cache keeps one key and one value of each token, and no scores",
        [
            _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * h_kv * d * n * n * batch * bytes_per),
            _kv(lambda layers, h_kv, d, n, batch, bytes_per: layers * h_kv * n * n * batch * bytes_per),
            _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * h_kv * n * n * batch * bytes_per),
        ],
    ),
    Misconception(
        "d_squared",
        "d is counted twice: a key is d numbers, and the matrices that make it are no part of the cache",
        [
            _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * h_kv * d * d * n * batch * bytes_per),
        ],
    ),
    Misconception(
        "width_shared_by_heads",
        "d is divided among the heads: it is the width of one head already",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * h_kv * (d // h_kv) * n * batch * bytes_per),
    ),
    Misconception(
        "counted_twice",
        "twice what is wanted: one key and one value for each token, head and layer",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: 4 * layers * h_kv * d * n * batch * bytes_per),
    ),
    Misconception(
        "bits",
        "a factor of 8 too much or too little: bytes_per is bytes already, and bytes are wanted",
        [
            _kv(lambda layers, h_kv, d, n, batch, bytes_per: 16 * layers * h_kv * d * n * batch * bytes_per),
            _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * h_kv * d * n * batch * bytes_per / 8),
            _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 * layers * h_kv * d * n * batch * bytes_per // 8),
        ],
    ),
    Misconception(
        "another_unit",
        "the number is in a larger unit, kilobytes to gigabytes: bytes are wanted",
        [
            _kv(lambda layers, h_kv, d, n, batch, bytes_per, u=u: 2 * layers * h_kv * d * n * batch * bytes_per / u)
            for u in (1e3, 1024, 1e6, 2**20, 1e9, 2**30)
        ]
        + [
            _kv(lambda layers, h_kv, d, n, batch, bytes_per, u=u: 2 * layers * h_kv * d * n * batch * bytes_per // u)
            for u in (1024, 2**20)
        ],
    ),
    Misconception(
        "keys_plus_values_of_one_number",
        "the 2 is added instead of multiplied: keys and values each take as much",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2 + layers * h_kv * d * n * batch * bytes_per),
    ),
    Misconception(
        "not_exact",
        "right as far as a float64 can tell, with the last digits of a large count rounded away: Python's integers are "
        "exact, floats are not",
        [
            _kv(lambda layers, h_kv, d, n, batch, bytes_per: 2.0 * layers * h_kv * d * n * batch * bytes_per),
            _kv(lambda layers, h_kv, d, n, batch, bytes_per: int(2.0 * layers * h_kv * d * n * batch * bytes_per)),
        ],
    ),
    Misconception(
        "two_numbers",
        "keys and values come as two numbers: their sum is wanted",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: (layers * h_kv * d * n * batch * bytes_per,) * 2),
    ),
    Misconception(
        "forgets_2+layers_forgotten",
        "this is what the keys of one layer take: values are kept as well, and in each layer",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: h_kv * d * n * batch * bytes_per),
    ),
    Misconception(
        "forgets_2+batch_forgotten",
        "this is what the keys of one text take: values are kept as well, and each text has a cache",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: layers * h_kv * d * n * bytes_per),
    ),
    Misconception(
        "forgets_2+heads_forgotten",
        "this is what the keys of one head take: values are kept as well, and h_kv heads of each",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: layers * d * n * batch * bytes_per),
    ),
    Misconception(
        "forgets_2+numbers_not_bytes",
        "this is how many numbers the keys are: values are kept as well, and a number takes bytes_per bytes",
        _kv(lambda layers, h_kv, d, n, batch, bytes_per: layers * h_kv * d * n * batch),
    ),
)


# --- grouped_query_attention -----------------------------------------------------------------------------------------


def _gqa_divides(q, k):
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"{k.shape[1]} heads of keys do not divide {q.shape[1]} query heads")
    return q.shape[1] // k.shape[1]


def _gqa_attend(q, k, v, scale=None):
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    return torch.softmax(q @ k.mT * scale, dim=-1) @ v


def grouped_query_attention(q, k, v):
    g = _gqa_divides(q, k)
    return _gqa_attend(q, k.repeat_interleave(g, dim=1), v.repeat_interleave(g, dim=1))


def _gqa_by_torch(q, k, v):
    _gqa_divides(q, k)
    return functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)


def _gqa_by_groups(q, k, v):
    g = _gqa_divides(q, k)
    grouped = q.reshape(q.shape[0], k.shape[1], g, *q.shape[2:])
    return _gqa_attend(grouped, k[:, :, None], v[:, :, None]).flatten(1, 2)


def _gqa_by_loops(q, k, v):
    g = _gqa_divides(q, k)
    return torch.stack([_gqa_attend(q[:, h], k[:, h // g], v[:, h // g]) for h in range(q.shape[1])], dim=1)


def _gqa_by_chunks(q, k, v):
    _gqa_divides(q, k)
    parts = q.chunk(k.shape[1], dim=1)
    return torch.cat([_gqa_attend(p, k[:, i : i + 1], v[:, i : i + 1]) for i, p in enumerate(parts)], dim=1)


def _gqa_in_float64(q, k, v):
    g = _gqa_divides(q, k)
    index = torch.arange(q.shape[1]) // g
    return _gqa_attend(q.double(), k[:, index].double(), v[:, index].double()).to(q.dtype)


def _gqa_with(keys, values=None, attend=_gqa_attend, after=None):
    """A wrong answer: other heads of keys and values for the query heads, another attention, another end."""
    values = values or keys

    def answer(q, k, v):
        g = _gqa_divides(q, k)
        out = attend(q, keys(k, g), values(v, g))
        return out if after is None else after(out, g)

    return answer


def _gqa_right(part, g):
    return part.repeat_interleave(g, dim=1)


def _gqa_tile(part, g):
    return part.repeat(1, g, 1, 1)


def _gqa_mean(part, g):
    return part.mean(dim=1, keepdim=True)


def _gqa_first(part, g):
    return part[:, :1]


def _gqa_reversed(part, g):
    return part.flip(1).repeat_interleave(g, dim=1)


def _gqa_reshaped_groups(q, k, v):
    """Queries are cut as (g, Hkv): neighbouring query heads read different heads of keys."""
    g = _gqa_divides(q, k)
    grouped = q.reshape(q.shape[0], g, k.shape[1], *q.shape[2:])
    return _gqa_attend(grouped, k[:, None], v[:, None]).flatten(1, 2)


def _gqa_grouped_wrong_back(q, k, v):
    """The right groups, and heads put back as (g, Hkv)."""
    g = _gqa_divides(q, k)
    grouped = q.reshape(q.shape[0], k.shape[1], g, *q.shape[2:])
    return _gqa_attend(grouped, k[:, :, None], v[:, :, None]).transpose(1, 2).flatten(1, 2)


def _gqa_queries_averaged(again):
    def answer(q, k, v):
        g = _gqa_divides(q, k)
        means = q.reshape(q.shape[0], k.shape[1], g, *q.shape[2:]).mean(dim=2)
        out = _gqa_attend(means, k, v)
        return out.repeat_interleave(g, dim=1) if again else out

    return answer


def _gqa_outputs_combined(how, again):
    def answer(q, k, v):
        g = _gqa_divides(q, k)
        out = grouped_query_attention(q, k, v)
        out = getattr(out.reshape(out.shape[0], k.shape[1], g, *out.shape[2:]), how)(dim=2)
        return out.repeat_interleave(g, dim=1) if again else out

    return answer


def _gqa_scaled(scale):
    return _gqa_with(_gqa_right, attend=lambda q, k, v: _gqa_attend(q, k, v, scale(q, k, v)))


def _gqa_scaled_by_groups(q, k, v):
    g = _gqa_divides(q, k)
    return _gqa_attend(q, _gqa_right(k, g), _gqa_right(v, g), 1 / math.sqrt(q.shape[-1] * g))


def _gqa_softmax_over(dim):
    return _gqa_with(_gqa_right, attend=lambda q, k, v: torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=dim) @ v)


def _gqa_one_softmax(q, k, v):
    g = _gqa_divides(q, k)
    scores = q @ _gqa_right(k, g).mT / math.sqrt(q.shape[-1])
    flat = scores.reshape(q.shape[0], k.shape[1], g, *scores.shape[2:]).transpose(2, 3).flatten(-2)
    weights = torch.softmax(flat, dim=-1).unflatten(-1, (g, -1)).transpose(2, 3).flatten(1, 2)
    return weights @ _gqa_right(v, g)


def _gqa_causal(q, k, v):
    g = _gqa_divides(q, k)
    return functional.scaled_dot_product_attention(q, _gqa_right(k, g), _gqa_right(v, g), is_causal=True)


def _gqa_causal_bottom_right(q, k, v):
    g = _gqa_divides(q, k)
    mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(k.shape[2] - q.shape[2])
    return functional.scaled_dot_product_attention(q, _gqa_right(k, g), _gqa_right(v, g), attn_mask=mask).nan_to_num()


def _gqa_overflows(q, k, v):
    e = torch.exp(q @ k.mT / math.sqrt(q.shape[-1]))
    return e / e.sum(dim=-1, keepdim=True) @ v


def _gqa_unchecked(q, k, v):
    g = q.shape[1] // k.shape[1]
    return _gqa_attend(q, _gqa_right(k, g), _gqa_right(v, g))


def _gqa_unchecked_by_torch(q, k, v):
    return functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)


def _gqa_unchecked_by_index(q, k, v, kind):
    h, kv = q.shape[1], k.shape[1]
    index = {
        "floor": [i * kv // h for i in range(h)],
        "capped": [min(i // max(h // kv, 1), kv - 1) for i in range(h)],
    }[kind]
    return _gqa_attend(q, k[:, index], v[:, index])


def _gqa_unchecked_by_index_modulo(q, k, v):
    return (
        grouped_query_attention(q, k, v)
        if q.shape[1] % k.shape[1] == 0
        else _gqa_attend(
            q, k[:, [i % k.shape[1] for i in range(q.shape[1])]], v[:, [i % k.shape[1] for i in range(q.shape[1])]]
        )
    )


def _gqa_cut_short(q, k, v):
    """As many query heads as whole groups reach are answered."""
    g = max(q.shape[1] // k.shape[1], 1)
    kept = q[:, : g * k.shape[1]]
    return _gqa_attend(kept, _gqa_right(k, g)[:, : kept.shape[1]], _gqa_right(v, g)[:, : kept.shape[1]])


def _gqa_asserts(q, k, v):
    assert q.shape[1] % k.shape[1] == 0, "heads do not divide"
    return grouped_query_attention(q, k, v)


def _gqa_refuses_equal(q, k, v):
    if q.shape[1] <= k.shape[1]:
        raise ValueError("there have to be fewer heads of keys than of queries")
    return grouped_query_attention(q, k, v)


def _gqa_refuses_fewer_only(q, k, v):
    if q.shape[1] < k.shape[1]:
        raise ValueError("there are more heads of keys than of queries")
    return _gqa_unchecked_by_index(q, k, v, "capped")


def _gqa_scales_in_place(q, k, v):
    _gqa_divides(q, k)
    q /= math.sqrt(q.shape[-1])
    g = q.shape[1] // k.shape[1]
    return _gqa_attend(q, _gqa_right(k, g), _gqa_right(v, g), 1.0)


def _gqa_then(change):
    return lambda q, k, v: change(grouped_query_attention(q, k, v), q, k, v)


def _gqa_cases_of(rng, b, h, kv, t_q, t_k, d, d_v, dtype=np.float64, factor=1.0):
    return (
        rng.normal(size=(b, h, t_q, d)).astype(dtype) * dtype(factor),
        rng.normal(size=(b, kv, t_k, d)).astype(dtype),
        rng.normal(size=(b, kv, t_k, d_v)).astype(dtype),
    )


def gqa_cases(rng):
    for sizes in ((2, 6, 3, 4, 4, 5, 5), (1, 4, 2, 5, 5, 3, 3), (3, 6, 2, 4, 4, 4, 4), (2, 4, 2, 2, 2, 2, 2)):
        yield Case("groups", _gqa_cases_of(rng, *sizes))
    yield Case("groups", _gqa_cases_of(rng, 2, 8, 4, 3, 3, 5, 5, dtype=np.float32))
    for sizes in ((2, 3, 3, 4, 4, 5, 5), (2, 4, 1, 3, 3, 5, 5), (1, 1, 1, 4, 4, 3, 3)):
        yield Case("ends_of_the_scale", _gqa_cases_of(rng, *sizes))
    for sizes in ((2, 6, 3, 4, 5, 8, 7), (2, 4, 2, 1, 6, 3, 5), (1, 4, 2, 3, 1, 5, 2)):
        yield Case("other_lengths", _gqa_cases_of(rng, *sizes))
    for h, kv in ((6, 4), (5, 2), (2, 4)):
        yield Case("refuses", _gqa_cases_of(rng, 2, h, kv, 3, 3, 4, 4))
    yield Case("large_scores", _gqa_cases_of(rng, 2, 6, 3, 4, 4, 4, 4, factor=5e3))
    yield Case("large_scores", _gqa_cases_of(rng, 1, 4, 2, 3, 3, 5, 5, dtype=np.float32, factor=5e3))
    yield Case(KEEPS_DTYPE, _gqa_cases_of(rng, 2, 6, 3, 4, 4, 5, 5, dtype=np.float32))
    yield Case(KEEPS_DTYPE, _gqa_cases_of(rng, 2, 4, 2, 3, 3, 5, 5))


def _gqa_type_error(q, k, v):
    if q.shape[1] % k.shape[1]:
        raise TypeError("heads do not divide")
    return grouped_query_attention(q, k, v)


GQA_MISCONCEPTIONS = (
    Misconception(
        "another_error",
        "where Hkv does not divide Hq there is a TypeError: it is the number that is wrong, so a ValueError is wanted",
        _gqa_type_error,
    ),
    Misconception(
        "repeat_for_repeat_interleave",
        "query heads 0 and 1 read different heads of keys: all of them were laid side by side again and again (repeat, "
        "tile), where each is to be repeated g times in a row (repeat_interleave)",
        [_gqa_with(_gqa_tile), _gqa_reshaped_groups],
    ),
    Misconception(
        "keys_tiled",
        "the values are those of the right head, and the keys are laid out in another order: both need the same one",
        _gqa_with(_gqa_tile, _gqa_right),
    ),
    Misconception(
        "values_tiled",
        "the weights are right, and the values come from another head than the keys: both need the same order",
        _gqa_with(_gqa_right, _gqa_tile),
    ),
    Misconception(
        "order_lost",
        "every head is there and stands in another place: heads have to come back as (Hkv, g), not (g, Hkv)",
        _gqa_grouped_wrong_back,
    ),
    Misconception(
        "mean_over_heads_of_keys",
        "all query heads read the same keys and values, the mean of the Hkv heads: each group has a head of its own",
        _gqa_with(_gqa_mean),
    ),
    Misconception(
        "mean_over_groups",
        "the heads of a group are averaged or summed, queries or outputs: only keys and values are shared, and every "
        "query head has an output of its own",
        [
            _gqa_queries_averaged(True),
            _gqa_queries_averaged(False),
            _gqa_outputs_combined("mean", True),
            _gqa_outputs_combined("mean", False),
            _gqa_outputs_combined("sum", False),
        ],
    ),
    Misconception(
        "first_head_alone",
        "all query heads read head 0 of keys and values: with Hkv heads each group has its own",
        _gqa_with(_gqa_first),
    ),
    Misconception(
        "heads_reversed",
        "the first query heads read the last head of keys: groups go in order",
        _gqa_with(_gqa_reversed),
    ),
    Misconception(
        "wrong_axis",
        "the heads stayed as they were and another axis was repeated, so that the sizes do not fit: heads are axis 1 "
        "of (B, H, T, D)",
        [
            _gqa_with(lambda part, g: part.repeat_interleave(g, dim=2)),
            _gqa_with(lambda part, g: part.repeat_interleave(g, dim=0)),
        ],
    ),
    Misconception(
        "no_scale", "the weights are too sharp: the scores were not divided by √D", _gqa_scaled(lambda q, k, v: 1.0)
    ),
    Misconception(
        "divided_by_d",
        "the weights are too even: the scores are divided by D, not by √D",
        _gqa_scaled(lambda q, k, v: 1 / q.shape[-1]),
    ),
    Misconception(
        "times_sqrt_d",
        "the weights are far too sharp: the scores were multiplied by √D",
        _gqa_scaled(lambda q, k, v: math.sqrt(q.shape[-1])),
    ),
    Misconception(
        "divided_by_another_width",
        "the scores are divided by the root of something other than D, the width of one head: of the whole width, of "
        "the group, of the lengths, or of the values",
        [
            _gqa_scaled(lambda q, k, v: 1 / math.sqrt(q.shape[-1] * q.shape[1])),
            _gqa_scaled(lambda q, k, v: 1 / math.sqrt(q.shape[1])),
            _gqa_scaled(lambda q, k, v: 1 / math.sqrt(k.shape[-2])),
            _gqa_scaled(lambda q, k, v: 1 / math.sqrt(v.shape[-1])),
            _gqa_scaled_by_groups,
        ],
    ),
    Misconception(
        "softmax_over_queries",
        "the weights of each key sum to 1, not those of each query: the softmax ran over the queries",
        _gqa_softmax_over(-2),
    ),
    Misconception(
        "softmax_over_heads",
        "the weights of all heads sum to 1 for one pair of tokens: the softmax ran over the heads",
        _gqa_softmax_over(1),
    ),
    Misconception(
        "one_softmax_for_a_group",
        "the outputs of a group are too small: its heads share one softmax, where each needs its own",
        _gqa_one_softmax,
    ),
    Misconception(
        "causal",
        "the first queries read fewer keys: a causal mask was put on, and none is asked for",
        [_gqa_causal, _gqa_causal_bottom_right],
    ),
    Misconception(
        "values_from_keys",
        "the average is one of keys: the values are v",
        _gqa_with(_gqa_right, attend=lambda q, k, v: _gqa_attend(q, k, k)),
    ),
    Misconception(
        "overflows",
        "right for small scores; large ones give NaN or infinity: the largest score of a row has to be taken off "
        "before exp",
        _gqa_with(_gqa_right, attend=_gqa_overflows),
    ),
    Misconception(
        "not_refused",
        "heads that cannot be shared evenly were let through, or stopped later in an error about shapes: test first "
        "whether Hkv divides Hq, and raise a ValueError",
        [
            _gqa_unchecked,
            _gqa_unchecked_by_torch,
            lambda q, k, v: _gqa_unchecked_by_index(q, k, v, "floor"),
            lambda q, k, v: _gqa_unchecked_by_index(q, k, v, "capped"),
            _gqa_unchecked_by_index_modulo,
            _gqa_cut_short,
            _gqa_asserts,
            _gqa_refuses_fewer_only,
        ],
    ),
    Misconception(
        "equal_numbers_refused",
        "as many heads of keys as of queries are refused: that is ordinary attention, in groups of one",
        _gqa_refuses_equal,
    ),
    Misconception(
        "repeat_for_repeat_interleave+not_refused",
        "heads of keys are laid side by side again and again instead of repeated in a row, and heads that cannot be "
        "shared evenly are let through",
        [
            lambda q, k, v: _gqa_attend(q, *(_gqa_tile(p, q.shape[1] // k.shape[1]) for p in (k, v))),
            lambda q, k, v: _gqa_attend(q, *(p[:, [i % k.shape[1] for i in range(q.shape[1])]] for p in (k, v))),
        ],
    ),
    Misconception(
        "no_scale+not_refused",
        "the scores were not divided by √D, and heads that cannot be shared evenly are let through",
        lambda q, k, v: _gqa_attend(
            q, _gqa_right(k, q.shape[1] // k.shape[1]), _gqa_right(v, q.shape[1] // k.shape[1]), scale=1.0
        ),
    ),
    Misconception(
        "heads_last",
        "the axes of the result are in another order: (B, Hq, Tq, Dv) is wanted, heads before tokens, not merged",
        [
            _gqa_then(lambda out, *_: out.transpose(1, 2)),
            _gqa_then(lambda out, *_: out.transpose(1, 2).flatten(-2)),
        ],
    ),
    Misconception(
        "group_axis_left",
        "the result has an axis for the groups: (B, Hkv, g, …) has to be joined to (B, Hq, …)",
        _gqa_then(lambda out, q, k, v: out.unflatten(1, (k.shape[1], -1))),
    ),
    Misconception(
        "with_weights",
        "weights came back beside the output: only the output is wanted",
        _gqa_then(lambda out, *_: (out, out)),
    ),
    Misconception(
        "becomes_float32",
        "float64 inputs gave a float32 result",
        _gqa_then(lambda out, *_: out.float()),
    ),
    Misconception("becomes_float64", "float32 inputs gave a float64 result", _gqa_then(lambda out, *_: out.double())),
    Misconception("changes_q", "q is another after the call: it was scaled in place", _gqa_scales_in_place),
)


# --- first_to_move, lora_forward -------------------------------------------------------------------------------------


def as_letters(case, answer):
    """Names of matrices, however they are written: a set, a list, one string; in any case."""
    if isinstance(answer, str):
        answer = answer.strip("{}").replace("'", " ").replace('"', " ").replace(",", " ").replace("and", " ").split()
    if not isinstance(answer, (set, frozenset, tuple, list)) or not all(isinstance(item, str) for item in answer):
        raise ValueError("names are wanted")
    return {item.strip().lower() for item in answer}


FIRST_TO_MOVE = (
    Misconception("both", "a is named as well: its gradient is multiplied by b, and b is still 0", {"a", "b"}),
    Misconception(
        "a_alone",
        "a is named and b is not: what flows back to a is multiplied by b, which is 0; what flows back to b by x a, "
        "which is not",
        {"a"},
    ),
    Misconception(
        "neither",
        "neither is named: then nothing could ever be learnt; what flows back to b is multiplied by x a, which is not "
        "0",
        [set(), ["none"]],
    ),
)


def lora_forward(x, w, a, b, alpha):
    return x @ w + (alpha / a.shape[1]) * (x @ a @ b)


def _lora_merged(x, w, a, b, alpha):
    return x @ (w + alpha / b.shape[0] * (a @ b))


def _lora_by_einsum(x, w, a, b, alpha):
    low = torch.einsum("...i,ir->...r", x, a)
    return torch.einsum("...i,io->...o", x, w) + torch.einsum("...r,ro->...o", low * (alpha / a.size(-1)), b)


def _lora_by_linear(x, w, a, b, alpha):
    return functional.linear(x, w.T) + functional.linear(functional.linear(x, a.T), b.T) * alpha / len(b)


def _lora_by_ranks(x, w, a, b, alpha):
    out = torch.matmul(x, w.detach())
    for one, other in zip(a.T, b, strict=True):
        out = out + alpha * (x @ one)[..., None] * other / a.shape[-1]
    return out


def _lora_in_float64(x, w, a, b, alpha):
    x64, w64, a64, b64 = (t.double() for t in (x, w, a, b))
    return (x64 @ w64 + x64 @ a64 @ b64 * (alpha / a.shape[1])).to(x.dtype)


def _lora_factor(factor):
    """A wrong answer with another factor before x A B."""
    return lambda x, w, a, b, alpha: x @ w + factor(x, w, a, b, alpha) * (x @ a @ b)


def _lora_then(change):
    return lambda x, w, a, b, alpha: change(lora_forward(x, w, a, b, alpha), x, w, a, b, alpha)


def _lora_changes_w(x, w, a, b, alpha):
    w += alpha / a.shape[1] * (a @ b)
    return x @ w


def _lora_changes_w_data(x, w, a, b, alpha):
    with torch.no_grad():
        w.add_(alpha / a.shape[1] * (a @ b))
    return x @ w


def _lora_scales_b(x, w, a, b, alpha):
    with torch.no_grad():
        b *= alpha / a.shape[1]
    return x @ w + x @ a @ b


def _lora_inputs(rng, lead, n_in, n_out, r, dtype=np.float64, zero=False):
    b = np.zeros((r, n_out)) if zero else rng.normal(size=(r, n_out))
    shapes = (*lead, n_in), (n_in, n_out), (n_in, r)
    return (*(rng.normal(size=shape).astype(dtype) for shape in shapes), b.astype(dtype))


def lora_cases(rng):
    for lead, n_in, n_out, r, alpha in (
        ((2, 3), 5, 7, 2, 6.0),
        ((4, 2), 6, 6, 3, 5),
        ((2, 4), 4, 4, 4, 10.0),
        ((3, 2), 7, 5, 2, 1),
    ):
        yield Case("adapted", (*_lora_inputs(rng, lead, n_in, n_out, r), alpha))
    yield Case("adapted", (*_lora_inputs(rng, (2, 3), 6, 4, 3, np.float32), 7.0))
    for r, alpha in ((1, 3.0), (4, 1), (5, 16), (2, 0.5), (3, 0.0)):
        yield Case("ranks", (*_lora_inputs(rng, (2, 3), 5, 6, r), alpha))
    yield Case("untrained", (*_lora_inputs(rng, (2, 3), 5, 7, 2, zero=True), 4.0))
    yield Case("untrained", (*_lora_inputs(rng, (3, 2), 4, 4, 4, zero=True), 8))
    leading: tuple[tuple[int, ...], ...] = ((), (4,), (2, 3, 2))
    for axes in leading:
        yield Case("any_axes", (*_lora_inputs(rng, axes, 5, 4, 3), 7.0))
    yield Case(DIFFERENTIABLE, (*_lora_inputs(rng, (2, 3), 5, 7, 2), 6.0))
    yield Case(DIFFERENTIABLE, (*_lora_inputs(rng, (2, 3), 4, 4, 3, zero=True), 6.0))
    yield Case(KEEPS_DTYPE, (*_lora_inputs(rng, (2, 3), 5, 7, 2, np.float32), 6.0))
    yield Case(KEEPS_DTYPE, (*_lora_inputs(rng, (2, 3), 5, 7, 2), 6.0))


def _lora_scales_a(x, w, a, b, alpha):
    a *= alpha / a.shape[1]
    return x @ w + x @ a @ b


LORA_MISCONCEPTIONS = (
    Misconception("changes_a", "a was scaled in place: the next call scales it once more", _lora_scales_a),
    Misconception(
        "no_r",
        "the adapter's part is r times too large: alpha is divided by the rank",
        _lora_factor(lambda x, w, a, b, alpha: alpha),
    ),
    Misconception(
        "alpha_times_r",
        "the adapter's part grows with r twice over: alpha is divided by r, not multiplied",
        _lora_factor(lambda x, w, a, b, alpha: alpha * a.shape[1]),
    ),
    Misconception(
        "no_alpha",
        "alpha changes nothing: the adapter's part is multiplied by alpha / r",
        [_lora_factor(lambda x, w, a, b, alpha: 1 / a.shape[1]), _lora_factor(lambda x, w, a, b, alpha: 1.0)],
    ),
    Misconception(
        "root_of_r",
        "right for rank 1 only: alpha is divided by r here, not by its root",
        _lora_factor(lambda x, w, a, b, alpha: alpha / math.sqrt(a.shape[1])),
    ),
    Misconception(
        "r_over_alpha",
        "the factor stands upside down: alpha / r, not r / alpha",
        _lora_factor(lambda x, w, a, b, alpha: a.shape[1] / alpha if alpha else math.inf),
    ),
    Misconception(
        "whole_numbers",
        "right where r divides alpha; otherwise the factor became a whole number: / is wanted, not //",
        [
            _lora_factor(lambda x, w, a, b, alpha: alpha // a.shape[1]),
            _lora_factor(lambda x, w, a, b, alpha: int(alpha / a.shape[1])),
        ],
    ),
    Misconception(
        "factor_twice",
        "the factor is there twice, as where a and b are both multiplied by it: once is enough for their product",
        _lora_factor(lambda x, w, a, b, alpha: (alpha / a.shape[1]) ** 2),
    ),
    Misconception(
        "divided_by_a_width",
        "alpha is divided by in or out: r is the size that a and b have in common, a.shape[1]",
        [
            _lora_factor(lambda x, w, a, b, alpha: alpha / a.shape[0]),
            _lora_factor(lambda x, w, a, b, alpha: alpha / b.shape[1]),
        ],
    ),
    Misconception(
        "swapped",
        "x meets b before a: the product is x a b, in this order; with a square matrix no error tells",
        lambda x, w, a, b, alpha: x @ w + alpha / a.shape[1] * (x @ b @ a),
    ),
    Misconception(
        "transposed_adapter",
        "the adapter's matrices are transposed, as where they come from a library that stores (out, in): here a is "
        "(in, r) and b (r, out)",
        [
            lambda x, w, a, b, alpha: x @ w + alpha / a.shape[1] * (x @ (a @ b).T),
            lambda x, w, a, b, alpha: x @ w + alpha / b.shape[0] * (x @ a.T @ b.T),
        ],
    ),
    Misconception(
        "transposed_w",
        "w is transposed, as where a linear layer of PyTorch stores it: here w is (in, out), and x w is wanted; with a "
        "square matrix no error tells",
        [
            lambda x, w, a, b, alpha: x @ w.T + alpha / a.shape[1] * (x @ a @ b),
            lambda x, w, a, b, alpha: x @ (w.T + alpha / a.shape[1] * (a @ b)),
            lambda x, w, a, b, alpha: x @ (w + alpha / a.shape[1] * (a @ b)).T,
            lambda x, w, a, b, alpha: functional.linear(x, w) + alpha / a.shape[1] * (x @ a @ b),
        ],
    ),
    Misconception(
        "adapter_alone",
        "this is the adapter's part alone: x w is missing",
        lambda x, w, a, b, alpha: alpha / a.shape[1] * (x @ a @ b),
    ),
    Misconception(
        "frozen_alone",
        "this is x w alone: the adapter changes nothing",
        lambda x, w, a, b, alpha: x @ w,
    ),
    Misconception(
        "all_scaled",
        "x w is multiplied by alpha / r as well: only the adapter's part is",
        lambda x, w, a, b, alpha: alpha / a.shape[1] * (x @ w + x @ a @ b),
    ),
    Misconception(
        "subtracted",
        "the adapter's part has the other sign: it is added",
        _lora_factor(lambda x, w, a, b, alpha: -alpha / a.shape[1]),
    ),
    Misconception(
        "after_w",
        "the adapter is applied to what w gives, not to x: both read x, side by side",
        lambda x, w, a, b, alpha: x @ w + alpha / a.shape[1] * (x @ w @ a @ b),
    ),
    Misconception(
        "not_linear",
        "the adapter's part went through a relu or another function: it is two products and nothing else",
        [
            lambda x, w, a, b, alpha: x @ w + alpha / a.shape[1] * (torch.relu(x @ a) @ b),
            lambda x, w, a, b, alpha: x @ w + alpha / a.shape[1] * (torch.tanh(x @ a) @ b),
            lambda x, w, a, b, alpha: torch.relu(x @ w) + alpha / a.shape[1] * (x @ a @ b),
        ],
    ),
    Misconception(
        "cut_off",
        "the numbers are right, and no gradient reaches the adapter: something was detached, and b would stay 0",
        [
            lambda x, w, a, b, alpha: lora_forward(x, w, a.detach(), b.detach(), alpha),
            _lora_then(lambda out, *_: out.detach()),
            lambda x, w, a, b, alpha: x @ w + (alpha / a.shape[1] * (x @ a @ b)).detach(),
        ],
    ),
    Misconception(
        "b_alone_learns",
        "the numbers are right, and no gradient reaches a: both halves of the adapter learn",
        lambda x, w, a, b, alpha: lora_forward(x, w, a.detach(), b, alpha),
    ),
    Misconception(
        "x_cut_off",
        "the numbers are right, and the gradient of x lacks the adapter's part, or all of it: layers below learn "
        "through x",
        [
            lambda x, w, a, b, alpha: x @ w + alpha / a.shape[1] * (x.detach() @ a @ b),
            lambda x, w, a, b, alpha: x.detach() @ w + alpha / a.shape[1] * (x @ a @ b),
            lambda x, w, a, b, alpha: lora_forward(x.detach(), w, a, b, alpha),
        ],
    ),
    Misconception(
        "changes_w",
        "w is another after the call: the adapter was merged into it in place, and each further call adds it again",
        [_lora_changes_w, _lora_changes_w_data],
    ),
    Misconception("changes_b", "b is another after the call: it was scaled in place", _lora_scales_b),
    Misconception("becomes_float64", "float32 inputs gave a float64 result", _lora_then(lambda out, *_: out.double())),
    Misconception("becomes_float32", "float64 inputs gave a float32 result", _lora_then(lambda out, *_: out.float())),
    Misconception(
        "no_r+swapped",
        "x meets b before a, and alpha is not divided by the rank",
        lambda x, w, a, b, alpha: x @ w + alpha * (x @ b @ a),
    ),
    Misconception(
        "no_r+transposed_w",
        "w is transposed, and alpha is not divided by the rank",
        lambda x, w, a, b, alpha: x @ w.T + alpha * (x @ a @ b),
    ),
    Misconception(
        "no_r+adapter_alone",
        "x w is missing, and alpha is not divided by the rank",
        lambda x, w, a, b, alpha: alpha * (x @ a @ b),
    ),
)


# --- design_mask -----------------------------------------------------------------------------------------------------


def design_mask(rules, n):
    i, j = torch.arange(n)[:, None], torch.arange(n)
    mask = torch.ones(n, n, dtype=torch.bool)
    if rules.get("documents") is not None:
        documents = torch.as_tensor(rules["documents"])
        mask = mask & (documents[:, None] == documents)
    if rules.get("causal", False):
        mask = mask & ((j <= i) | (j < rules.get("prefix", 0)))
    if rules.get("window") is not None:
        mask = mask & (((i - j).abs() <= rules["window"]) | (j < rules.get("sinks", 0)))
    return mask


def _rules_by_loops(rules, n):
    documents = rules.get("documents", [0] * n)
    causal, window = rules.get("causal", False), rules.get("window")
    prefix, sinks = rules.get("prefix", 0), rules.get("sinks", 0)

    def may(i, j):
        if documents[i] != documents[j] or (causal and i < j and j >= prefix):
            return False
        return window is None or abs(i - j) <= window or j < sinks

    return [[bool(may(i, j)) for j in range(n)] for i in range(n)]


def _rules_in_numpy(rules, n):
    j, i = np.meshgrid(np.arange(n), np.arange(n))
    ids = np.asarray(rules.get("documents", np.zeros(n)))
    late = (j > i) & (j >= rules.get("prefix", 0)) & bool(rules.get("causal"))
    window = rules.get("window")
    far = np.abs(i - j) > (n if window is None else window)
    return (ids[:, None] == ids[None]) & ~late & ~(far & (j >= rules.get("sinks", 0)))


def _rules_by_columns(rules, n):
    """Start from what order and nearness say, then open columns, then close what other documents hold."""
    near, order = torch.ones(n, n).bool(), torch.ones(n, n).bool()
    if "window" in rules and rules["window"] is not None:
        near = near.triu(-rules["window"]).tril(rules["window"])
        near[:, : rules.get("sinks") or 0] = True
    if rules.get("causal"):
        order = order.tril()
        order[:, : rules.get("prefix") or 0] = True
    found = near & order
    for i, one in enumerate(rules.get("documents", ())):
        for j, other in enumerate(rules["documents"]):
            found[i, j] &= bool(one == other)
    return found


def _rules_by_distance(rules, n):
    far = (torch.arange(n)[:, None] - torch.arange(n)[None, :]).double()
    column = torch.arange(n).expand(n, n)
    may = torch.ones(n, n)
    if rules.get("causal"):
        may *= torch.maximum((far >= 0).double(), (column < rules.get("prefix", 0)).double())
    if rules.get("window") is not None:
        may *= torch.maximum((far.abs() <= rules["window"]).double(), (column < rules.get("sinks", 0)).double())
    if rules.get("documents") is not None:
        ids = torch.as_tensor(rules["documents"]).double()
        may *= (torch.cdist(ids[:, None], ids[:, None]) == 0).double()
    return may.bool()


class _Rules:
    """The parts of a mask, each of which a wrong answer may replace."""

    @staticmethod
    def document(rules, i, j, n):
        if rules.get("documents") is None:
            return _rules_all(n)
        ids = torch.as_tensor(rules["documents"])
        return ids[:, None] == ids

    @staticmethod
    def causal(rules, i, j, n):
        return j <= i if rules.get("causal") else _rules_all(n)

    @staticmethod
    def prefix(rules, i, j, n):
        return (j < rules.get("prefix", 0)) & (i >= 0)

    @staticmethod
    def window(rules, i, j, n):
        return _rules_all(n) if rules.get("window") is None else (i - j).abs() <= rules["window"]

    @staticmethod
    def sinks(rules, i, j, n):
        return (j < rules.get("sinks", 0)) & (i >= 0)

    @staticmethod
    def join(document, causal, prefix, window, sinks):
        return document & (causal | prefix) & (window | sinks)


def _rules_all(n):
    return torch.ones(n, n, dtype=torch.bool)


PARTS = ("document", "causal", "prefix", "window", "sinks")


def _rules(**changes):
    """A wrong answer: parts of the rule replaced, or the way they are joined."""
    join = changes.pop("join", _Rules.join)

    def answer(rules, n):
        i, j = torch.arange(n)[:, None], torch.arange(n)[None, :]
        return join(*(changes.get(part, getattr(_Rules, part))(rules, i, j, n) for part in PARTS))

    return answer


def _rules_none(rules, i, j, n):
    return ~_rules_all(n)


def _rules_everything(rules, i, j, n):
    return _rules_all(n)


def _rules_then(change):
    return lambda rules, n: change(design_mask(rules, n))


def _rules_runs(rules, i, j, n):
    """Documents as runs of equal neighbours."""
    if rules.get("documents") is None:
        return _rules_all(n)
    ids = torch.as_tensor(rules["documents"])
    run = torch.cat([torch.zeros(1, dtype=torch.long), (ids[1:] != ids[:-1]).long().cumsum(0)])
    return run[:, None] == run


def _rules_earlier_documents(rules, i, j, n):
    if rules.get("documents") is None:
        return _rules_all(n)
    ids = torch.as_tensor(rules["documents"])
    return ids[:, None] >= ids


def _rules_place_in_document(rules, i, j, n):
    """(1, n): how many tokens of the same document stand before each."""
    if rules.get("documents") is None:
        return j
    ids = torch.as_tensor(rules["documents"])
    return ((ids[:, None] == ids) & (j < i)).sum(dim=1)[None, :]


def _rules_first_only(rules, n):
    """Only the first rule that is given counts: if, elif, elif."""
    i, j = torch.arange(n)[:, None], torch.arange(n)[None, :]
    if rules.get("documents") is not None:
        return _Rules.document(rules, i, j, n)
    if rules.get("causal"):
        return _Rules.causal(rules, i, j, n) | _Rules.prefix(rules, i, j, n)
    return _Rules.window(rules, i, j, n) | _Rules.sinks(rules, i, j, n)


def _rules_any(rules, n):
    """A key that satisfies one of the rules that are given is read."""
    i, j = torch.arange(n)[:, None], torch.arange(n)[None, :]
    given = []
    if rules.get("documents") is not None:
        given.append(_Rules.document(rules, i, j, n))
    if rules.get("causal"):
        given.append(_Rules.causal(rules, i, j, n) | _Rules.prefix(rules, i, j, n))
    if rules.get("window") is not None:
        given.append(_Rules.window(rules, i, j, n) | _Rules.sinks(rules, i, j, n))
    return torch.stack(given).any(dim=0) if given else _rules_all(n)


def _rules_pops(rules, n):
    found = design_mask(rules, n)
    for name in ("causal", "prefix", "window", "sinks", "documents"):
        rules.pop(name, None)
    return found


def _rules_defaults(rules, n):
    found = design_mask(rules, n)
    for name, value in (("causal", False), ("prefix", 0), ("window", None), ("sinks", 0)):
        rules.setdefault(name, value)
    return found


def _rules_window_none(rules, n):
    """A window that is there and None stops the call."""
    if "window" in rules and rules["window"] is None:
        raise TypeError("'<=' not supported between instances of 'Tensor' and 'NoneType'")
    return design_mask(rules, n)


def _rules_all_needed(rules, n):
    return design_mask({name: rules[name] for name in ("causal", "prefix", "window", "sinks", "documents")}, n)


def _rules_causal_needed(rules, n):
    return design_mask(rules | {"causal": rules["causal"]}, n)


def _rules_window_implies(rules, i, j, n):
    """A window that looks back alone, also where nothing is causal."""
    if rules.get("window") is None:
        return _rules_all(n)
    return (i - j >= 0) & (i - j <= rules["window"])


def _rules_window_of(change):
    def window(rules, i, j, n):
        return _rules_all(n) if rules.get("window") is None else change(i - j, rules["window"])

    return window


def _rules_documents(rng, n, kinds=3):
    """n ids, not sorted, one of them in pieces, none of them its place."""
    names = [int(x) for x in rng.choice(np.arange(-9, 90), size=kinds, replace=False)]
    ids = [names[0], *(names[int(x)] for x in rng.integers(0, kinds, size=n - 3)), names[1], names[0]]
    return ids


def mask_cases(rng):
    yield Case("order", ({"causal": True}, 6))
    yield Case("order", ({"causal": True, "prefix": 3}, 7))
    yield Case("order", ({"prefix": 1, "causal": True}, 5))
    yield Case("order", ({"causal": True, "prefix": 5}, 5))
    yield Case("nearness", ({"window": 2}, 8))
    yield Case("nearness", ({"window": 3}, 9))
    yield Case("nearness", ({"window": 1, "sinks": 2}, 8))
    yield Case("nearness", ({"window": 2, "sinks": 1}, 7))
    yield Case("documents", ({"documents": [7, 7, 2, 2, 2, 5]}, 6))
    yield Case("documents", ({"documents": _rules_documents(rng, 8)}, 8))
    yield Case("documents", ({"documents": np.array(_rules_documents(rng, 7, 2))}, 7))
    yield Case("together", ({"causal": True, "window": 2, "sinks": 2}, 9))
    yield Case("together", ({"causal": True, "window": 1, "prefix": 3}, 8))
    yield Case("together", ({"causal": True, "documents": [4, 4, 4, 5, 5, 5, 5, 3], "prefix": 2}, 8))
    yield Case("together", ({"documents": [4, 4, 4, 5, 5, 5, 5, 3], "window": 1, "sinks": 2}, 8))
    yield Case("together", ({"causal": True, "documents": [3, 3, 3, 3, 6, 6, 6, 6, 6], "window": 1, "sinks": 1}, 9))
    for _ in range(2):
        rules = {"causal": True, "window": 2, "sinks": 2, "prefix": 4, "documents": _rules_documents(rng, 10, 2)}
        yield Case("together", (rules, 10))
    yield Case("together", ({"window": 0, "causal": True, "prefix": 2, "sinks": 1}, 5))
    yield Case("absent", ({}, 4))
    yield Case("absent", ({"causal": False, "window": None}, 4))
    yield Case("absent", ({"prefix": 2}, 4))
    yield Case("absent", ({"sinks": 2}, 5))
    yield Case("absent", ({"causal": True, "sinks": 2}, 5))
    yield Case("absent", ({"causal": False, "prefix": 2, "window": 1}, 5))
    yield Case("absent", ({"window": 0}, 5))
    yield Case("absent", ({"causal": True, "window": None, "prefix": 0}, 4))
    yield Case("absent", ({"causal": True, "window": 3, "documents": [9]}, 1))


def _rules_near_and_sink(rules, n):
    mask, j = design_mask({**rules, "window": None}, n), torch.arange(n)
    if rules.get("window") is not None:
        mask = mask & ((j[:, None] - j).abs() <= rules["window"]) & (j < (rules.get("sinks") or 0))
    return mask


def _rules_sinks_read_all(rules, n):
    """What a sink may read is left open by the window as well."""
    if rules.get("window") is None:
        return design_mask(rules, n)
    rows = (torch.arange(n) < (rules.get("sinks") or 0))[:, None]
    return torch.where(rows, design_mask({**rules, "window": None}, n), design_mask(rules, n))


def _rules_sinks_of_the_past(rules, n):
    """Sinks that came earlier can be read, also from another document."""
    mask, j = design_mask(rules, n), torch.arange(n)
    if rules.get("window") is None:
        return mask
    return mask | ((j < (rules.get("sinks") or 0)) & (j <= j[:, None]))


MASK_MISCONCEPTIONS = (
    Misconception(
        "documents_see_each_other",
        "tokens of different documents read each other: documents[i] == documents[j] has to hold for every pair",
        _rules(document=_rules_everything),
    ),
    Misconception(
        "documents_as_runs",
        "right where a document stands in one piece; where its id comes back later the pieces do not read each other: "
        "compare the ids, not the borders",
        _rules(document=_rules_runs),
    ),
    Misconception(
        "earlier_documents",
        "documents with a smaller id are read as well: an id is a name, and only equal ones read each other",
        [
            _rules(document=_rules_earlier_documents),
            _rules(document=lambda rules, i, j, n: _rules_earlier_documents(rules, i, j, n).T),
        ],
    ),
    Misconception(
        "sinks_inside_the_window_only",
        "sinks have no effect beyond the window: j < sinks is the other way to satisfy the window's rule, joined by or",
        [_rules(sinks=_rules_none), lambda rules, n: design_mask({k: v for k, v in rules.items() if k != "sinks"}, n)],
    ),
    Misconception(
        "sinks_required",
        "inside the window only sinks are read: a key has to be near or a sink, not both",
        _rules(join=lambda d, c, p, w, s: d & (c | p) & (w & s if s.any() else w)),
    ),
    Misconception(
        "sinks_escape_causality",
        "sinks are read by tokens that stand before them: j < sinks softens the window alone, and the causal rule "
        "still holds",
        [_rules(join=lambda d, c, p, w, s: d & (((c | p) & w) | s))],
    ),
    Misconception(
        "sinks_escape_documents",
        "sinks are read from other documents: j < sinks softens the window alone, and documents still keep apart",
        _rules(join=lambda d, c, p, w, s: (c | p) & ((d & w) | s)),
    ),
    Misconception(
        "sinks_escape_everything",
        "sinks are read by all, whatever documents and order say: j < sinks softens the window alone",
        _rules(join=lambda d, c, p, w, s: (d & (c | p) & w) | s),
    ),
    Misconception(
        "sinks_inclusive",
        "one sink too many: sinks are the keys j < sinks, counted from 0",
        _rules(sinks=lambda rules, i, j, n: (j <= rules["sinks"]) & (i >= 0) if "sinks" in rules else ~_rules_all(n)),
    ),
    Misconception(
        "sinks_as_queries",
        "the first tokens read everything instead of being read: a sink is a key, j < sinks",
        _rules(sinks=lambda rules, i, j, n: (i < rules.get("sinks", 0)) & (j >= 0)),
    ),
    Misconception(
        "sinks_of_each_document",
        "the first tokens of every document are sinks: here sinks are the first tokens of all, j < sinks",
        _rules(
            sinks=lambda rules, i, j, n: (_rules_place_in_document(rules, i, j, n) < rules.get("sinks", 0)) & (i >= 0)
        ),
    ),
    Misconception(
        "prefix_causal",
        "the prefix is read in order only: with causal, j < prefix opens its tokens to all, also to earlier ones",
        _rules(prefix=_rules_none),
    ),
    Misconception(
        "prefix_inclusive",
        "one token too many belongs to the prefix: it is the keys j < prefix, counted from 0",
        _rules(
            prefix=lambda rules, i, j, n: (j <= rules["prefix"]) & (i >= 0) if "prefix" in rules else ~_rules_all(n)
        ),
    ),
    Misconception(
        "prefix_as_queries",
        "tokens of the prefix read everything: the prefix is what is read, keys j < prefix",
        _rules(prefix=lambda rules, i, j, n: (i < rules.get("prefix", 0)) & (j >= 0)),
    ),
    Misconception(
        "prefix_closed",
        "tokens after the prefix do not read it: j < prefix opens it to every query",
        _rules(
            join=lambda d, c, p, w, s: d & ((c & (~p | p.T)) | (p & p.T)) & (w | s),
        ),
    ),
    Misconception(
        "prefix_escapes_window",
        "the prefix is read from beyond the window: j < prefix softens the causal rule alone; sinks are what softens "
        "the window",
        [
            _rules(join=lambda d, c, p, w, s: d & ((c & (w | s)) | p)),
            _rules(join=lambda d, c, p, w, s: d & (c | p) & (w | s | p)),
        ],
    ),
    Misconception(
        "prefix_escapes_documents",
        "the prefix is read from other documents: j < prefix softens the causal rule alone",
        _rules(join=lambda d, c, p, w, s: ((d & c) | p) & (w | s)),
    ),
    Misconception(
        "prefix_escapes_everything",
        "the prefix is read by all, whatever documents and window say: j < prefix softens the causal rule alone",
        _rules(join=lambda d, c, p, w, s: (d & c & (w | s)) | p),
    ),
    Misconception(
        "prefix_of_each_document",
        "every document has a prefix of its own: here it is the first tokens of all, j < prefix",
        _rules(
            prefix=lambda rules, i, j, n: (_rules_place_in_document(rules, i, j, n) < rules.get("prefix", 0)) & (i >= 0)
        ),
    ),
    Misconception(
        "window_halved",
        "the window reaches half as far on each side: it is one-sided, |i − j| ≤ window",
        [
            _rules(window=_rules_window_of(lambda far, w: far.abs() <= w // 2)),
            _rules(window=_rules_window_of(lambda far, w: far.abs() <= w / 2)),
        ],
    ),
    Misconception(
        "window_doubled",
        "the window reaches twice as far on each side: |i − j| ≤ window",
        _rules(window=_rules_window_of(lambda far, w: far.abs() <= 2 * w)),
    ),
    Misconception(
        "window_exclusive",
        "the window is one token too narrow on each side: |i − j| ≤ window, and equal counts",
        _rules(window=_rules_window_of(lambda far, w: far.abs() < w)),
    ),
    Misconception(
        "window_one_too_wide",
        "the window is one token too wide on each side: |i − j| ≤ window",
        _rules(window=_rules_window_of(lambda far, w: far.abs() <= w + 1)),
    ),
    Misconception(
        "window_looks_back_alone",
        "without causal the window hides later tokens: it is |i − j| ≤ window, on both sides",
        _rules(window=_rules_window_implies),
    ),
    Misconception(
        "window_looks_ahead_alone",
        "near tokens behind the query are hidden, or those far behind are not: |i − j| ≤ window holds on both sides",
        [
            _rules(window=_rules_window_of(lambda far, w: (far <= 0) & (far >= -w))),
            _rules(window=_rules_window_of(lambda far, w: far >= -w)),
        ],
    ),
    Misconception(
        "window_without_abs",
        "without causal all later tokens are read, however far: i − j is negative there, and the distance is |i − j|",
        _rules(window=_rules_window_of(lambda far, w: far <= w)),
    ),
    Misconception(
        "window_inverted",
        "far tokens are read and near ones are not: the window is what may be read",
        _rules(window=_rules_window_of(lambda far, w: far.abs() > w)),
    ),
    Misconception(
        "window_ignored",
        "far tokens are read: the window hides nothing",
        [
            _rules(window=_rules_everything),
            lambda rules, n: design_mask({k: v for k, v in rules.items() if k != "window"}, n),
        ],
    ),
    Misconception(
        "window_zero_is_none",
        "a window of 0 hides nothing: 0 is false in Python, and a window of 0 still says that a token reads itself "
        "alone; ask whether it is None",
        _rules(
            window=lambda rules, i, j, n: (i - j).abs() <= rules["window"] if rules.get("window") else _rules_all(n)
        ),
    ),
    Misconception(
        "window_none_stops",
        "the call stops where window is given as None: that is the same as no window",
        _rules_window_none,
    ),
    Misconception(
        "missing_rules_stop",
        "the call stops where a rule is missing: any of them may be, rules.get(name) asks for one",
        [_rules_all_needed, _rules_causal_needed],
    ),
    Misconception(
        "always_causal",
        "later tokens are hidden though nothing asks for it: without causal, or with False, order does not count",
        [
            _rules(causal=lambda rules, i, j, n: j <= i),
            _rules(causal=lambda rules, i, j, n: j <= i if rules.get("causal", True) else _rules_all(n)),
            _rules(causal=lambda rules, i, j, n: j <= i if "causal" in rules else _rules_all(n)),
        ],
    ),
    Misconception(
        "causal_ignored",
        "later tokens are read: with causal, j ≤ i or j < prefix",
        _rules(causal=_rules_everything),
    ),
    Misconception(
        "strict",
        "a token does not read itself: j ≤ i, and equal counts",
        _rules(causal=lambda rules, i, j, n: j < i if rules.get("causal") else _rules_all(n)),
    ),
    Misconception(
        "upper",
        "later tokens are read and earlier ones hidden: query i is a row, key j a column, and j ≤ i",
        _rules(causal=lambda rules, i, j, n: j >= i if rules.get("causal") else _rules_all(n)),
    ),
    Misconception(
        "transposed",
        "the mask is transposed: queries are rows, keys are columns",
        _rules_then(lambda mask: mask.T),
    ),
    Misconception(
        "inverted",
        "every entry is the opposite: True means may attend",
        _rules_then(lambda mask: ~mask),
    ),
    Misconception(
        "prefix_restricts",
        "without causal a prefix hides tokens: it softens the causal rule, and has nothing to soften there",
        [
            _rules(causal=lambda rules, i, j, n: j <= i if rules.get("causal") or "prefix" in rules else _rules_all(n)),
            lambda rules, n: (
                design_mask(rules, n)
                & (
                    ((torch.arange(n) < rules["prefix"]) & torch.ones(n, 1, dtype=torch.bool))
                    if "prefix" in rules and not rules.get("causal")
                    else _rules_all(n)
                )
            ),
        ],
    ),
    Misconception(
        "sinks_restrict",
        "without a window sinks hide tokens: they soften the window, and have nothing to soften there",
        lambda rules, n: (
            design_mask(rules, n)
            & (
                (torch.arange(n) < rules["sinks"]) & torch.ones(n, 1, dtype=torch.bool)
                if "sinks" in rules and rules.get("window") is None
                else _rules_all(n)
            )
        ),
    ),
    Misconception(
        "first_rule_only",
        "one rule is followed and the others are not: all that are given hold together",
        _rules_first_only,
    ),
    Misconception(
        "any_rule",
        "a key that satisfies one rule is read, whatever the others say: all that are given hold together",
        _rules_any,
    ),
    Misconception(
        "numbers",
        "the entries are numbers, 1 and 0: a mask is bool here, and ~ or masked_fill need one",
        [_rules_then(torch.Tensor.float), _rules_then(torch.Tensor.long)],
    ),
    Misconception(
        "additive",
        "the entries are 0 and −∞, to be added to scores: a mask is bool here, True = may attend",
        _rules_then(lambda mask: torch.zeros(mask.shape).masked_fill(~mask, -math.inf)),
    ),
    Misconception(
        "extra_axes",
        "the right entries with more axes than two: (n, n) broadcasts over batch and heads as it is",
        [_rules_then(lambda mask: mask[None, None]), _rules_then(lambda mask: mask[None])],
    ),
    Misconception(
        "changes_rules",
        "rules is another dict after the call: entries were taken out or put in",
        [_rules_pops, _rules_defaults],
    ),
    Misconception(
        "documents_see_each_other+prefix_causal",
        "tokens of different documents read each other, and the prefix is read in order only",
        _rules(document=_rules_everything, prefix=_rules_none),
    ),
    Misconception(
        "documents_see_each_other+sinks_inside_the_window_only",
        "tokens of different documents read each other, and sinks have no effect beyond the window",
        _rules(document=_rules_everything, sinks=_rules_none),
    ),
    Misconception(
        "prefix_causal+sinks_inside_the_window_only",
        "the prefix is read in order only, and sinks have no effect beyond the window",
        _rules(prefix=_rules_none, sinks=_rules_none),
    ),
    Misconception(
        "sinks_escape_everything+prefix_escapes_everything",
        "sinks and prefix are read by all, whatever the other rules say: each softens one rule alone",
        _rules(join=lambda d, c, p, w, s: (d & c & w) | p | s),
    ),
    Misconception(
        "near_and_a_sink",
        "with a window only sinks inside it can be read: near *or* a sink is enough",
        _rules_near_and_sink,
    ),
    Misconception(
        "sinks_read_all",
        "the sinks are read from anywhere and read everything themselves: the window softens for the key alone",
        _rules_sinks_read_all,
    ),
    Misconception(
        "sinks_of_the_past",
        "an earlier sink can be read from another document: it softens the window and no other rule",
        _rules_sinks_of_the_past,
    ),
)


TOOLBOX = (
    Reference(
        id="bytes_of_a_token",
        reference=12288,
        accepted=(12288.0, "12,288", "12288 bytes"),
        misconceptions=BYTES_OF_A_TOKEN,
        cases=lambda rng: [Case("prediction")],
        view=as_count,
    ),
    Reference(
        id="kv_cache_bytes",
        reference=kv_cache_bytes,
        accepted=(_kv_by_adding, _kv_by_product, _kv_in_numpy),
        misconceptions=KV_MISCONCEPTIONS,
        cases=kv_cases,
        view=_kv_countable,
    ),
    Reference(
        id="grouped_query_attention",
        reference=grouped_query_attention,
        accepted=(_gqa_by_torch, _gqa_by_groups, _gqa_by_loops, _gqa_by_chunks, _gqa_in_float64),
        misconceptions=GQA_MISCONCEPTIONS,
        cases=gqa_cases,
    ),
    Reference(
        id="first_to_move",
        reference={"b"},
        accepted=(["b"], "b", ("B",)),
        misconceptions=FIRST_TO_MOVE,
        cases=lambda rng: [Case("prediction")],
        view=as_letters,
    ),
    Reference(
        id="lora_forward",
        reference=lora_forward,
        accepted=(_lora_merged, _lora_by_einsum, _lora_by_linear, _lora_by_ranks, _lora_in_float64),
        misconceptions=LORA_MISCONCEPTIONS,
        cases=lora_cases,
    ),
    Reference(
        id="design_mask",
        reference=design_mask,
        accepted=(_rules_by_loops, _rules_in_numpy, _rules_by_columns, _rules_by_distance),
        misconceptions=MASK_MISCONCEPTIONS,
        cases=mask_cases,
    ),
)
