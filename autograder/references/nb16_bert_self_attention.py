"""Notebook 16, the hidden half: references, accepted and wrong answers, cases.

Over 2000 lines, since a layer has many parts that can be exchanged, and a corruption is judged by what it does to text.
"""

import math

import numpy as np
import torch
from torch.nn import functional

from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Case, Misconception, Reference, Seed

INF = math.inf
EPS = 1e-12


# --- bert_embed ------------------------------------------------------------------------------------------------------


def layer_norm(x, gamma, beta, eps=EPS):
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * gamma + beta


def bert_embed(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    x = word[ids] + position[: ids.shape[1]] + type_table[type_ids]
    return layer_norm(x, gamma, beta, eps)


def embed_by_library(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    places = torch.arange(ids.size(1)).expand_as(ids)
    rows = [functional.embedding(i, table) for i, table in ((ids, word), (places, position), (type_ids, type_table))]
    return functional.layer_norm(torch.stack(rows).sum(0), (word.shape[1],), gamma, beta, eps)


def embed_by_loops(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    sentences = []
    for b in range(ids.shape[0]):
        tokens = []
        for t in range(ids.shape[1]):
            row = word[int(ids[b, t])] + position[t] + type_table[int(type_ids[b, t])]
            row = row - row.mean()
            tokens.append(row / (row.var(unbiased=False) + eps) ** 0.5 * gamma + beta)
        sentences.append(torch.stack(tokens))
    return torch.stack(sentences)


def embed_by_one_hot(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    def pick(numbers, table):
        return torch.nn.functional.one_hot(numbers, len(table)).to(table.dtype) @ table

    x = pick(ids, word) + position.narrow(0, 0, ids.shape[1]).unsqueeze(0) + pick(type_ids, type_table)
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return torch.addcmul(beta, (x - mean) * torch.rsqrt(variance + eps), gamma)


def embed_in_float64(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    x = word.double()[ids] + position.double()[: ids.shape[1]] + type_table.double()[type_ids]
    return layer_norm(x, gamma.double(), beta.double(), eps).to(word.dtype)


def _places(ids, table):
    return table[: ids.shape[1]]


def _embed(word=lambda ids, table: table[ids], place=_places, kind=None, norm=layer_norm):
    """An embedding with some of its parts replaced; without arguments it is a right one.

    word, place: (ids, table) -> rows; kind: (type_ids, table) -> rows; norm: (x, gamma, beta, eps) -> x.
    """
    kind = kind or (lambda type_ids, table: table[type_ids])

    def answer(ids, type_ids, w, position, type_table, gamma, beta, eps=EPS):
        return norm(word(ids, w) + place(ids, position) + kind(type_ids, type_table), gamma, beta, eps)

    return answer


def _norm_over(*axes):
    def norm(x, gamma, beta, eps):
        mean = x.mean(dim=axes, keepdim=True)
        variance = ((x - mean) ** 2).mean(dim=axes, keepdim=True)
        return (x - mean) / torch.sqrt(variance + eps) * gamma + beta

    return norm


def _scaled(spread):
    """A norm whose divisor is `spread(x - mean, eps)`."""

    def norm(x, gamma, beta, eps):
        centred = x - x.mean(dim=-1, keepdim=True)
        return centred / spread(centred, eps) * gamma + beta

    return norm


def _variance(centred):
    return (centred**2).mean(dim=-1, keepdim=True)


sample_variance = _scaled(lambda c, eps: torch.sqrt((c**2).sum(-1, keepdim=True) / max(c.shape[-1] - 1, 1) + eps))
eps_outside = _scaled(lambda c, eps: torch.sqrt(_variance(c)) + eps)
eps_ignored = _scaled(lambda c, eps: torch.sqrt(_variance(c) + EPS))
no_eps = _scaled(lambda c, eps: torch.sqrt(_variance(c)))
no_root = _scaled(lambda c, eps: _variance(c) + eps)


def uncentred(x, gamma, beta, eps):
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + eps) * gamma + beta


def centred_variance_only(x, gamma, beta, eps):
    """The mean is taken off for the variance and left on in the numerator."""
    return x / torch.sqrt(x.var(-1, keepdim=True, correction=0) + eps) * gamma + beta


def _each_normed(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    rows = (word[ids], position[: ids.shape[1]], type_table[type_ids])
    return sum(layer_norm(row, gamma, beta, eps) for row in rows)


def _norm_of_words_only(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    return layer_norm(word[ids], gamma, beta, eps) + position[: ids.shape[1]] + type_table[type_ids]


def _torch_default_eps(ids, type_ids, word, position, type_table, gamma, beta, eps=1e-5):
    return bert_embed(ids, type_ids, word, position, type_table, gamma, beta, eps)


def _torch_default_eps_always(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    return bert_embed(ids, type_ids, word, position, type_table, gamma, beta, 1e-5)


def _tables_cut_off(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    return bert_embed(ids, type_ids, word.detach(), position.detach(), type_table.detach(), gamma, beta, eps)


def _words_cut_off(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    return bert_embed(ids, type_ids, word.detach(), position, type_table, gamma, beta, eps)


def _adds_to_table(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    found = bert_embed(ids, type_ids, word, position, type_table, gamma, beta, eps)
    position.data[: ids.shape[1]] += type_table.data[0]
    return found


def _all_float32(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    return bert_embed(
        ids, type_ids, word.float(), position.float(), type_table.float(), gamma.float(), beta, eps
    ).float()


def _embed_inputs(rng, b, t, c, *, v=9, places=None, types=True, size=1.0, dtype=np.float64):
    ids = rng.integers(v, size=(b, t))
    type_ids = np.sort(rng.integers(2, size=(b, t)), axis=1) if types else np.zeros((b, t), dtype=np.int64)
    tables = [rng.normal(size=(n, c)) * size for n in (v, places or t + 2, 2)]
    return (ids, type_ids, *(x.astype(dtype) for x in (*tables, 1 + rng.normal(size=c) / 2, rng.normal(size=c))))


def embed_cases(rng):
    yield Case("three_rows", _embed_inputs(rng, 2, 5, 6))
    yield Case("three_rows", _embed_inputs(rng, 3, 4, 7, places=4, types=False))
    yield Case("three_rows", _embed_inputs(rng, 4, 3, 5, v=11, places=11))
    for b, t in ((2, 6), (3, 5)):
        ids, _, *tables = _embed_inputs(rng, b, t, 4)
        type_ids = np.array([[(i * j + i + j) % 2 for j in range(t)] for i in range(b)])
        yield Case("types", (ids, type_ids, *tables))
    yield Case("edge_sizes", _embed_inputs(rng, 1, 4, 6))
    yield Case("edge_sizes", _embed_inputs(rng, 3, 1, 5))
    yield Case("edge_sizes", _embed_inputs(rng, 4, 4, 4, v=4, places=4))
    yield Case("eps", _embed_inputs(rng, 2, 4, 6, size=1e-5))
    yield Case("eps", (*_embed_inputs(rng, 2, 3, 5), 0.5))
    yield Case("eps", _embed_inputs(rng, 3, 4, 5), {"eps": 2.0})
    yield Case(DIFFERENTIABLE, _embed_inputs(rng, 2, 4, 5))
    yield Case(KEEPS_DTYPE, _embed_inputs(rng, 2, 3, 5, dtype=np.float32))
    yield Case(KEEPS_DTYPE, _embed_inputs(rng, 2, 3, 5))


EMBED_MISCONCEPTIONS = (
    Misconception(
        "no_type_row",
        "the numbers are those of two rows, the piece's and the place's: the row of the type is missing",
        _embed(kind=lambda type_ids, table: 0),
    ),
    Misconception(
        "no_position_row",
        "the numbers are those of two rows, the piece's and the type's: two equal pieces at different places get the "
        "same vector",
        _embed(place=lambda ids, table: 0),
    ),
    Misconception(
        "positions_from_ids",
        "the number of the piece picks the row of the position table, or there is an error where that table has no "
        "such row: it is the place in the sentence, 0 to T − 1, that picks it",
        _embed(place=lambda ids, table: table[ids]),
    ),
    Misconception(
        "positions_from_types",
        "the type picks the row of the position table: it is the place in the sentence, 0 to T − 1, that picks it",
        lambda ids, type_ids, word, position, type_table, gamma, beta, eps=EPS: layer_norm(
            word[ids] + position[type_ids] + type_table[type_ids], gamma, beta, eps
        ),
    ),
    Misconception(
        "positions_from_one",
        "each token has the row of the place after it: places count from 0",
        _embed(place=lambda ids, table: table[1 : ids.shape[1] + 1]),
    ),
    Misconception(
        "positions_from_the_end",
        "the last rows of the position table were taken, where the first T are wanted",
        _embed(place=lambda ids, table: table[-ids.shape[1] :]),
    ),
    Misconception(
        "positions_by_sentence",
        "all tokens of a sentence have one row of the position table: it is picked by the number of the sentence",
        _embed(place=lambda ids, table: table[: ids.shape[0]][:, None]),
    ),
    Misconception(
        "whole_position_table",
        "the whole position table was added, which fits only where a sentence is as long as the table: its first T "
        "rows are wanted",
        _embed(place=lambda ids, table: table),
    ),
    Misconception(
        "first_type_only",
        "every token has the row of type 0, also those of type 1",
        _embed(kind=lambda type_ids, table: table[0]),
    ),
    Misconception(
        "types_exchanged",
        "tokens of type 0 have the row of type 1, and the other way round",
        _embed(kind=lambda type_ids, table: table[1 - type_ids]),
    ),
    Misconception(
        "types_by_place",
        "rows 0, 1, … of the type table were taken by place, which fits only two tokens: type_ids picks them",
        _embed(kind=lambda type_ids, table: table[: type_ids.shape[1]]),
    ),
    Misconception(
        "types_of_first_sentence",
        "every sentence has the types of the first one",
        _embed(kind=lambda type_ids, table: table[type_ids[0]]),
    ),
    Misconception(
        "norm_over_tokens",
        "each column over T has mean 0 before gamma and beta: the layer norm ran over the tokens, where every token is "
        "normalised over its own C numbers",
        _embed(norm=_norm_over(1)),
    ),
    Misconception(
        "norm_over_batch",
        "the norm ran over the sentences of the batch: every token is normalised over its own C numbers",
        _embed(norm=_norm_over(0)),
    ),
    Misconception(
        "norm_over_everything",
        "one mean and one variance serve several tokens: every token is normalised over its own C numbers",
        [_embed(norm=_norm_over(1, 2)), _embed(norm=_norm_over(0, 1, 2))],
    ),
    Misconception(
        "norm_as_batch_norm",
        "mean and variance are taken over all tokens of the batch, one pair for each of the C columns, as batch norm "
        "does: every token is normalised over its own C numbers",
        _embed(norm=_norm_over(0, 1)),
    ),
    Misconception(
        "no_norm",
        "these are the sums of the three rows, not normalised",
        [
            _embed(norm=lambda x, gamma, beta, eps: x),
            _embed(norm=lambda x, gamma, beta, eps: x * gamma + beta),
        ],
    ),
    Misconception(
        "no_gamma_beta",
        "every vector has mean 0 and variance 1: gamma and beta were left out",
        _embed(norm=lambda x, gamma, beta, eps: layer_norm(x, 1.0, 0.0, eps)),
    ),
    Misconception(
        "no_gamma",
        "the normalised vectors were shifted by beta and not multiplied by gamma",
        _embed(norm=lambda x, gamma, beta, eps: layer_norm(x, 1.0, beta, eps)),
    ),
    Misconception(
        "no_beta",
        "the normalised vectors were multiplied by gamma and not shifted by beta",
        _embed(norm=lambda x, gamma, beta, eps: layer_norm(x, gamma, 0.0, eps)),
    ),
    Misconception(
        "gamma_and_beta_swapped",
        "beta multiplies and gamma is added: gamma is the factor, beta the summand",
        _embed(norm=lambda x, gamma, beta, eps: layer_norm(x, beta, gamma, eps)),
    ),
    Misconception(
        "beta_inside",
        "beta was added before the product with gamma, so it is multiplied too",
        _embed(norm=lambda x, gamma, beta, eps: (layer_norm(x, 1.0, 0.0, eps) + beta) * gamma),
    ),
    Misconception(
        "sample_variance",
        "the vectors are a little too short: the variance was divided by C − 1, as torch's var and std do unless told "
        "otherwise; layer norm divides by C",
        _embed(norm=sample_variance),
    ),
    Misconception(
        "no_root",
        "the vectors were divided by the variance, not by its root",
        _embed(norm=no_root),
    ),
    Misconception(
        "mean_not_subtracted",
        "the mean of the vectors is still in them: it is subtracted before the division",
        [_embed(norm=uncentred), _embed(norm=centred_variance_only)],
    ),
    Misconception(
        "eps_outside",
        "with a large eps the divisor is the root of the variance, plus eps: eps is added under the root",
        _embed(norm=eps_outside),
    ),
    Misconception(
        "eps_ignored",
        "a large eps changes nothing: it has to be added to the variance",
        [_embed(norm=eps_ignored), _embed(norm=no_eps)],
    ),
    Misconception(
        "torch_default_eps",
        "vectors of small numbers come out too short: eps seems to be 1e-5, the default of nn.LayerNorm, where BERT's "
        "is 1e-12",
        [_torch_default_eps, _torch_default_eps_always],
    ),
    Misconception(
        "each_normed",
        "the three rows were normalised one by one and then added: the sum is normalised, once",
        _each_normed,
    ),
    Misconception(
        "norm_before_the_sum",
        "a row or two were added after the norm: the sum of all three is normalised",
        [
            _norm_of_words_only,
            lambda ids, type_ids, word, position, type_table, gamma, beta, eps=EPS: (
                layer_norm(word[ids] + position[: ids.shape[1]], gamma, beta, eps) + type_table[type_ids]
            ),
        ],
    ),
    Misconception(
        "scaled_by_root_c",
        "the rows of the pieces are √C times too large before the sum, as in the first transformer: BERT does not "
        "scale them",
        _embed(word=lambda ids, table: table[ids] * math.sqrt(table.shape[1])),
    ),
    Misconception(
        "mean_of_rows",
        "the mean of the three rows was normalised instead of their sum: with a large eps the two differ",
        lambda ids, type_ids, word, position, type_table, gamma, beta, eps=EPS: layer_norm(
            (word[ids] + position[: ids.shape[1]] + type_table[type_ids]) / 3, gamma, beta, eps
        ),
    ),
    Misconception(
        "cut_off",
        "the numbers are right and no gradient reaches the tables, or one of them: they were detached, or left torch, "
        "on the way",
        [_tables_cut_off, _words_cut_off, lambda *inputs, **keywords: bert_embed(*inputs, **keywords).detach()],
    ),
    Misconception(
        "changes_the_table",
        "the position table is not as it was: something was added to it in place",
        _adds_to_table,
    ),
    Misconception(
        "always_float32",
        "the result is float32 also where word is float64",
        _all_float32,
    ),
    Misconception(
        "no_type_row+no_position_row",
        "these are the rows of the pieces alone, normalised: those of place and type are missing",
        _embed(kind=lambda type_ids, table: 0, place=lambda ids, table: 0),
    ),
    Misconception(
        "no_type_row+norm_over_tokens",
        "the row of the type is missing, and the layer norm ran over the tokens",
        _embed(kind=lambda type_ids, table: 0, norm=_norm_over(1)),
    ),
    Misconception(
        "no_type_row+positions_from_ids",
        "the row of the type is missing, and the number of the piece picks the row of the position table",
        _embed(kind=lambda type_ids, table: 0, place=lambda ids, table: table[ids]),
    ),
    Misconception(
        "no_type_row+sample_variance",
        "the row of the type is missing, and the variance was divided by C − 1",
        _embed(kind=lambda type_ids, table: 0, norm=sample_variance),
    ),
)


# --- bert_self_attention ---------------------------------------------------------------------------------------------

ROLES = ("query", "key", "value")


def split(x, h):
    return x.unflatten(-1, (h, x.shape[-1] // h)).transpose(1, 2)


def merge(x):
    return x.transpose(1, 2).flatten(2)


def linear(x, p, name):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def real_keys(attention_mask):
    """(B, T) to (B, 1, 1, T) bool."""
    return attention_mask.bool()[:, None, None, :]


def masked_softmax(scores, keep):
    scores = scores.masked_fill(~keep, -INF)
    empty = ~keep.any(dim=-1, keepdim=True)
    return torch.softmax(scores.masked_fill(empty, 0.0), dim=-1).masked_fill(empty, 0.0)


def bert_self_attention(x, p, h, attention_mask):
    q, k, v = (split(linear(x, p, f"attention.self.{role}"), h) for role in ROLES)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    weights = masked_softmax(scores, real_keys(attention_mask))
    return merge(weights @ v), weights


def attention_by_heads(x, p, h, attention_mask):
    """One head at a time, each on its own rows of the weights."""
    d = x.shape[-1] // h
    outs, maps = [], []
    for n in range(h):
        rows = slice(n * d, (n + 1) * d)
        q, k, v = (
            functional.linear(x, p[f"attention.self.{r}.weight"][rows], p[f"attention.self.{r}.bias"][rows])
            for r in ROLES
        )
        scores = torch.einsum("bid,bjd->bij", q, k) / d**0.5
        weights = torch.softmax(scores.masked_fill(attention_mask[:, None] == 0, -INF), dim=-1).nan_to_num(0.0)
        outs.append(weights @ v)
        maps.append(weights)
    return torch.cat(outs, dim=-1), torch.stack(maps, dim=1)


def attention_by_sentences(x, p, h, attention_mask):
    """Only the real tokens of each sentence are keys at all."""
    b, t, c = x.shape
    out, weights = [], []
    for i in range(b):
        real = [j for j in range(t) if attention_mask[i, j]]
        q, k, v = (linear(x[i], p, f"attention.self.{r}").reshape(t, h, c // h).permute(1, 0, 2) for r in ROLES)
        full = torch.zeros(h, t, t, dtype=x.dtype)
        if real:
            rows = ((q @ k[:, real].transpose(1, 2)) * (c // h) ** -0.5).softmax(-1)
            full = full.index_copy(2, torch.tensor(real), rows)
        weights.append(full)
        out.append((full @ v).permute(1, 0, 2).reshape(t, c))
    return torch.stack(out), torch.stack(weights)


def attention_additive(x, p, h, attention_mask):
    """As BERT's own code: a large negative number added to the scores; empty sentences mended afterwards."""
    q, k, v = (
        (torch.einsum("btc,oc->bto", x, p[f"attention.self.{r}.weight"]) + p[f"attention.self.{r}.bias"])
        .view(*x.shape[:2], h, -1)
        .permute(0, 2, 1, 3)
        for r in ROLES
    )
    real = attention_mask.to(x.dtype)[:, None, None, :]
    scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(x.shape[-1] // h)
    weights = torch.softmax(scores + (1 - real) * torch.finfo(x.dtype).min, dim=-1) * real
    return (weights @ v).permute(0, 2, 1, 3).reshape(x.shape), weights


def attention_by_library(x, p, h, attention_mask):
    q, k, v = (
        split(functional.linear(x, p[f"attention.self.{r}.weight"], p[f"attention.self.{r}.bias"]), h) for r in ROLES
    )
    keep = (attention_mask > 0)[:, None, None, :].expand(-1, h, x.shape[1], -1)
    eye = torch.eye(x.shape[1], dtype=x.dtype).expand(len(x), h, -1, -1)
    some = keep.any(-1, keepdim=True)
    weights = functional.scaled_dot_product_attention(q, k, eye, attn_mask=keep | ~some) * some
    return merge(weights @ v), weights


def attention_in_float64(x, p, h, attention_mask):
    tensors = {name: tensor.double() for name, tensor in p.items()}
    out, weights = bert_self_attention(x.double(), tensors, h, attention_mask)
    return out.to(x.dtype), weights.to(x.dtype)


def attention_as_lists(x, p, h, attention_mask):
    return list(bert_self_attention(x, p, h, attention_mask))


def view_split(x, h):
    return x.reshape(x.shape[0], h, x.shape[1], -1)


def stride_split(x, h):
    return x.reshape(*x.shape[:2], -1, h).permute(0, 3, 1, 2)


def plain_project(x, p, role):
    return linear(x, p, f"attention.self.{role}")


def no_transpose(x, p, role):
    return x @ p[f"attention.self.{role}.weight"] + p[f"attention.self.{role}.bias"]


def no_bias(x, p, role):
    return x @ p[f"attention.self.{role}.weight"].T


def _flipped_for(*roles):
    return lambda x, p, role: (no_transpose if role in roles else plain_project)(x, p, role)


def _without(dropped):
    return lambda x, p, role: (no_bias if role == dropped else plain_project)(x, p, role)


def _attention(
    project=plain_project,
    cut=split,
    join=merge,
    scale=lambda q, x, h: math.sqrt(q.shape[-1]),
    weigh=lambda scores, mask: masked_softmax(scores, real_keys(mask)),
    roles=ROLES,
    after=lambda out, weights, x, p, h: (out, weights),
):
    """A self-attention with some of its parts replaced; without arguments it is a right one."""

    def answer(x, p, h, attention_mask):
        q, k, v = (cut(project(x, p, role), h) for role in roles)
        weights = weigh(q @ k.mT / scale(q, x, h), attention_mask)
        return after(join(weights @ v), weights, x, p, h)

    return answer


def _keep_softmax(keep):
    """weigh: a softmax over the keys that `keep(scores, bool mask)` leaves."""
    return lambda scores, mask: masked_softmax(scores, keep(scores, mask.bool()))


def _causal(scores, mask):
    t = scores.shape[-1]
    return mask[:, None, None, :] & torch.ones(t, t, dtype=torch.bool).tril()


def _on_queries(scores, mask):
    return mask[:, None, :, None].expand(scores.shape)


def _on_both(scores, mask):
    return mask[:, None, :, None] & mask[:, None, None, :]


def _queries_after(scores, mask):
    return masked_softmax(scores, real_keys(mask)) * mask.bool()[:, None, :, None]


def _not_itself(scores, mask):
    return mask[:, None, None, :] & ~torch.eye(scores.shape[-1], dtype=torch.bool)


def _inverted(scores, mask):
    return ~mask[:, None, None, :]


def _nothing_hidden(scores, mask):
    return torch.ones_like(mask)[:, None, None, :]


def _first_sentence_mask(scores, mask):
    return mask[:1, None, None, :]


def nan_row(scores, mask):
    return torch.softmax(scores.masked_fill(~real_keys(mask), -INF), dim=-1)


def even_row(number):
    return lambda scores, mask: torch.softmax(scores.masked_fill(~real_keys(mask), number), dim=-1)


def added(number):
    return lambda scores, mask: torch.softmax(scores + (1 - real_keys(mask).to(scores.dtype)) * number, dim=-1)


def multiplied_after(scores, mask):
    return torch.softmax(scores, dim=-1) * real_keys(mask)


def score_zero(scores, mask):
    return torch.softmax(scores * real_keys(mask), dim=-1)


def mask_added(scores, mask):
    return torch.softmax(scores + real_keys(mask).to(scores.dtype), dim=-1)


def over_queries(scores, mask):
    return torch.softmax(scores.masked_fill(~real_keys(mask), -INF), dim=-2).nan_to_num(0.0)


def over_heads(scores, mask):
    return torch.softmax(scores.masked_fill(~real_keys(mask), -INF), dim=1).nan_to_num(0.0)


def _bool_only(scores, mask):
    """`~mask` on numbers gives −1 and −2; masked_fill wants a bool."""
    return masked_softmax(scores, ~(~mask[:, None, None, :]))


def _through_dense(out, weights, x, p, h):
    return linear(out, p, "attention.output.dense"), weights


def _whole_block(out, weights, x, p, h):
    x = x + linear(out, p, "attention.output.dense")
    return layer_norm(x, p["attention.output.LayerNorm.weight"], p["attention.output.LayerNorm.bias"]), weights


def _changes_x(x, p, h, attention_mask):
    found = bert_self_attention(x, p, h, attention_mask)
    x.data += found[0].data
    return found


def _changes_mask(x, p, h, attention_mask):
    found = bert_self_attention(x, p, h, attention_mask)
    attention_mask.copy_(~attention_mask.bool())
    return found


def _weights_cut_off(x, p, h, attention_mask):
    return bert_self_attention(x, {name: tensor.detach() for name, tensor in p.items()}, h, attention_mask)


def _values_cut_off(x, p, h, attention_mask):
    out, weights = bert_self_attention(x, p, h, attention_mask)
    return out.detach(), weights


def _outputs_of_real(x, p, h, attention_mask):
    out, weights = bert_self_attention(x, p, h, attention_mask)
    return out * attention_mask[..., None], weights


def _scores_too(x, p, h, attention_mask):
    out, _ = bert_self_attention(x, p, h, attention_mask)
    q, k = (split(linear(x, p, f"attention.self.{role}"), h) for role in ROLES[:2])
    return out, q @ k.mT / math.sqrt(q.shape[-1])


def _float32_out(x, p, h, attention_mask):
    out, weights = bert_self_attention(x, p, h, attention_mask)
    return out.float(), weights.float()


def layer_tensors(rng, c, inner, dtype=np.float64):
    """All sixteen tensors of a layer; scores and outputs have a spread near 1, biases count."""
    p = {}
    for name, c_out, c_in in (
        *((f"attention.self.{role}", c, c) for role in ROLES),
        ("attention.output.dense", c, c),
        ("intermediate.dense", inner, c),
        ("output.dense", c, inner),
    ):
        p[f"{name}.weight"] = (rng.normal(size=(c_out, c_in)) / math.sqrt(c_in)).astype(dtype)
        p[f"{name}.bias"] = (rng.normal(size=c_out) / 2).astype(dtype)
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        p[f"{name}.weight"] = (1 + rng.normal(size=c) / 2).astype(dtype)
        p[f"{name}.bias"] = (rng.normal(size=c) / 2).astype(dtype)
    return p


def _mask(rows, kind=bool):
    return np.array([[char == "x" for char in row] for row in rows]).astype(kind)


def _layer_inputs(rng, c, h, rows, *, inner=None, dtype=np.float64, kind=bool):
    """rows: one string a sentence, "xx.." for two real tokens and two of padding."""
    x = rng.normal(size=(len(rows), len(rows[0]), c)).astype(dtype)
    return x, layer_tensors(rng, c, inner or c + 3, dtype), h, _mask(rows, kind)


def attention_cases(rng):
    yield Case("attention", _layer_inputs(rng, 12, 3, ["xxxxx"] * 2))
    yield Case("attention", _layer_inputs(rng, 8, 2, ["xxxx", "xxxx", "xxxx"]))
    yield Case("attention", _layer_inputs(rng, 6, 3, ["xxxxxxx"]))
    yield Case("padding", _layer_inputs(rng, 12, 3, ["xxx..", "xxxxx"]))
    yield Case("padding", _layer_inputs(rng, 6, 2, ["x...", ".xx.", "xx.x"]))
    yield Case("numbers_as_mask", _layer_inputs(rng, 6, 2, ["xxx.", "xx..", "xxxx"], kind=np.int64))
    yield Case("numbers_as_mask", _layer_inputs(rng, 4, 2, ["xxx", "xxx"], kind=np.int64))
    yield Case("edge_sizes", _layer_inputs(rng, 5, 1, ["xxx", "xx."]))
    yield Case("edge_sizes", _layer_inputs(rng, 3, 3, ["xxxx", "xxx."]))
    yield Case("edge_sizes", _layer_inputs(rng, 6, 2, ["x", "x", "x"]))
    yield Case("edge_sizes", _layer_inputs(rng, 4, 4, ["xxxx", "xxx.", "xx..", "xxxx"], inner=4))
    yield Case("edge_sizes", _layer_inputs(rng, 9, 3, ["xxx", "x.x", ".xx"], inner=9))
    yield Case("no_real_token", _layer_inputs(rng, 6, 2, ["....", "xxx.", "xxxx"]))
    yield Case("no_real_token", _layer_inputs(rng, 4, 2, [".", "x"], kind=np.int64))
    yield Case(DIFFERENTIABLE, _layer_inputs(rng, 4, 2, ["xxx", "xx."]))
    yield Case(KEEPS_DTYPE, _layer_inputs(rng, 6, 2, ["xxx.", "xxxx"], dtype=np.float32))
    yield Case(KEEPS_DTYPE, _layer_inputs(rng, 6, 2, ["xxx.", "xxxx"]))


LATER = "a token reads none that stands after it: in BERT every token sees both sides, so no causal mask belongs here"
FLIPPED = (
    "one matrix or more stands the wrong way round: a checkpoint keeps W as (out, in), so a row vector is multiplied "
    "by its transpose, x @ W.T"
)
ON_QUERIES = (
    "whole rows of weights are hidden while the other rows still read the padding: attention_mask says which *keys* "
    "are real, so it lies along the last axis, (B, 1, 1, T)"
)
NO_BIASES = "the numbers are those of query, key and value without their biases"
UNMASKED = "real tokens read the padding: attention_mask changes nothing"
NAN = "a sentence without a real token gives NaN: there the softmax is 0 / 0, and weights of 0 are wanted"
EVEN = (
    "a sentence without a real token gets even weights on its padding: its scores are all equal, however low; weights "
    "of 0 are wanted"
)

ATTENTION_MISCONCEPTIONS = (
    Misconception(
        "no_transpose",
        FLIPPED,
        [
            _attention(project=no_transpose),
            _attention(project=_flipped_for("value")),
            _attention(project=_flipped_for("query", "key")),
            _attention(project=_flipped_for("query")),
            _attention(project=_flipped_for("key")),
        ],
    ),
    Misconception("causal", LATER, _attention(weigh=_keep_softmax(_causal))),
    Misconception("mask_on_queries", ON_QUERIES, _attention(weigh=_keep_softmax(_on_queries))),
    Misconception("biases_dropped", NO_BIASES, _attention(project=no_bias)),
    Misconception(
        "queries_hidden_too",
        "the keys are masked rightly, but padded queries get weights or outputs of 0 as well: nothing hides queries, "
        "they are left out later, at the mean or at the loss",
        [_attention(weigh=_keep_softmax(_on_both)), _attention(weigh=_queries_after), _outputs_of_real],
    ),
    Misconception(
        "one_bias_dropped",
        "one of the biases, of the query or of the value, is missing",
        [_attention(project=_without("query")), _attention(project=_without("value"))],
    ),
    Misconception(
        "scale_of_c",
        "the weights are too even: scores were divided by √C, the width of the model, where D = C / h is the width of "
        "one head",
        _attention(scale=lambda q, x, h: math.sqrt(x.shape[-1])),
    ),
    Misconception(
        "no_scale",
        "the weights are too sharp: the scores were not divided by √D",
        _attention(scale=lambda q, x, h: 1.0),
    ),
    Misconception(
        "divided_by_d",
        "the scores were divided by D, not by its root",
        _attention(scale=lambda q, x, h: q.shape[-1]),
    ),
    Misconception(
        "scale_of_h",
        "the scores were divided by √h, the root of the number of heads: it is the width of one head, C / h",
        _attention(scale=lambda q, x, h: math.sqrt(h)),
    ),
    Misconception(
        "softmax_over_queries",
        "the weights of a key sum to 1 over the queries: the softmax ran over the wrong axis",
        _attention(weigh=over_queries),
    ),
    Misconception(
        "softmax_over_heads",
        "the weights of a pair sum to 1 over the heads: the softmax ran over the wrong axis",
        _attention(weigh=over_heads),
    ),
    Misconception(
        "nothing_hidden",
        UNMASKED,
        _attention(weigh=_keep_softmax(_nothing_hidden)),
    ),
    Misconception(
        "inverted",
        "real tokens have weight 0 and padding has it all: 1 or True says that a token is real",
        _attention(weigh=_keep_softmax(_inverted)),
    ),
    Misconception(
        "one_mask_for_all",
        "every sentence is masked like the first one",
        _attention(weigh=_keep_softmax(_first_sentence_mask)),
    ),
    Misconception(
        "nothing_on_itself",
        "no token has weight on itself: in self-attention it may",
        _attention(weigh=_keep_softmax(_not_itself)),
    ),
    Misconception(
        "masked_after_the_softmax",
        "the weights on real keys no longer sum to 1 where there is padding: it was set to 0 after the softmax, not to "
        "−∞ before it",
        _attention(weigh=multiplied_after),
    ),
    Misconception(
        "score_zero",
        "padded keys have weights as of a score of 0, which is a score like any other: −∞ is wanted",
        _attention(weigh=score_zero),
    ),
    Misconception(
        "mask_added",
        "padded keys are only e times lighter: the mask itself, 1 and 0, was added to the scores",
        _attention(weigh=mask_added),
    ),
    Misconception("nan_row", NAN, _attention(weigh=nan_row)),
    Misconception(
        "even_row",
        EVEN,
        [_attention(weigh=even_row(-1e9)), _attention(weigh=added(-1e9)), _attention(weigh=added(-10000.0))],
    ),
    Misconception(
        "bool_only",
        "a mask of 1 and 0 ends in an error, or hides the wrong keys: ~ on whole numbers gives −2 and −1, so make it "
        "bool first",
        [
            _attention(weigh=lambda scores, mask: masked_softmax(scores, mask[:, None, None, :])),
            _attention(weigh=_bool_only),
        ],
    ),
    Misconception(
        "heads_by_view",
        "the heads mix tokens: (B, T, C) was read as (B, h, T, D) at once, and reshape or view does not swap axes",
        [_attention(cut=view_split), _attention(cut=view_split, join=lambda x: x.reshape(x.shape[0], x.shape[2], -1))],
    ),
    Misconception(
        "heads_by_stride",
        "a head has every h-th number of a token, where it owns a run of D neighbouring ones",
        [
            _attention(cut=stride_split),
            _attention(cut=stride_split, join=lambda x: x.permute(0, 2, 3, 1).flatten(2)),
        ],
    ),
    Misconception(
        "h_and_d_swapped",
        "there are as many heads as one should be wide: h is their number, C / h their width",
        _attention(cut=lambda x, h: split(x, x.shape[-1] // h)),
    ),
    Misconception(
        "merged_without_transpose",
        "the weights are right, and in the output tokens are mixed: heads and tokens were not swapped back before the "
        "reshape",
        _attention(join=lambda x: x.reshape(x.shape[0], x.shape[2], -1)),
    ),
    Misconception(
        "heads_kept_apart",
        "the output has four axes: the heads have to be put side by side, (B, T, C)",
        [_attention(join=lambda x: x), _attention(join=lambda x: x.transpose(1, 2))],
    ),
    Misconception(
        "mean_of_heads",
        "the weights have no axis of heads: they were averaged, or one head was taken",
        [
            _attention(after=lambda out, weights, x, p, h: (out, weights.mean(1))),
            _attention(after=lambda out, weights, x, p, h: (out, weights[:, 0])),
        ],
    ),
    Misconception(
        "one_head",
        "one softmax serves all heads: the vectors were never cut into heads of width D",
        [
            _attention(cut=lambda x, h: x[:, None], join=lambda x: x[:, 0]),
            _attention(
                cut=lambda x, h: x[:, None],
                join=lambda x: x[:, 0],
                after=lambda out, weights, x, p, h: (out, weights.expand(-1, h, -1, -1)),
            ),
        ],
    ),
    Misconception(
        "query_and_key_swapped",
        "the scores are transposed: the query's tensors made the keys, and the key's the queries",
        _attention(roles=("key", "query", "value")),
    ),
    Misconception(
        "value_from_key",
        "the weights are right, and what is handed over are the keys, not the values",
        _attention(roles=("query", "key", "key")),
    ),
    Misconception(
        "one_matrix",
        "queries and keys are the same vectors: each has its own tensors",
        [_attention(roles=("query", "query", "value")), _attention(roles=("key", "key", "value"))],
    ),
    Misconception(
        "x_as_values",
        "the weights are right, and what is handed over is x itself, not its values",
        _attention(project=lambda x, p, role: x if role == "value" else plain_project(x, p, role)),
    ),
    Misconception(
        "through_dense",
        "the weights are right, and the output went on through attention.output.dense: here it is wanted before that",
        _attention(after=_through_dense),
    ),
    Misconception(
        "whole_block",
        "the weights are right, and the output went on through the dense layer, the residual sum and the layer norm: "
        "here the heads alone are wanted",
        _attention(after=_whole_block),
    ),
    Misconception(
        "with_residual",
        "the weights are right, and x was added to the output: the residual sum comes later",
        _attention(after=lambda out, weights, x, p, h: (x + out, weights)),
    ),
    Misconception(
        "results_swapped",
        "the two results stand in the other order: first the output, then the weights",
        _attention(after=lambda out, weights, x, p, h: (weights, out)),
    ),
    Misconception(
        "output_only",
        "one result came back: the output and the weights are wanted",
        _attention(after=lambda out, weights, x, p, h: out),
    ),
    Misconception(
        "scores_returned",
        "the output is right, but the rows of the second result do not sum to 1: these are scores, not weights",
        _scores_too,
    ),
    Misconception(
        "cut_off",
        "the numbers are right and the gradients are not: something was detached, or left torch, on the way",
        [_weights_cut_off, _values_cut_off],
    ),
    Misconception("changes_x", "x is not as it was: something was added to it in place", _changes_x),
    Misconception("changes_mask", "attention_mask is not as it was: it was changed in place", _changes_mask),
    Misconception("always_float32", "the results are float32 also where x is float64", _float32_out),
    Misconception(
        "no_transpose+biases_dropped",
        "the matrices stand the wrong way round, (out, in) read as (in, out), and the biases are missing",
        _attention(project=lambda x, p, role: x @ p[f"attention.self.{role}.weight"]),
    ),
    Misconception(
        "causal+nan_row",
        "a token reads none that stands after it, where both sides are wanted; and a row without keys gives NaN",
        _attention(
            weigh=lambda scores, mask: torch.softmax(scores.masked_fill(~_causal(scores, mask.bool()), -INF), dim=-1)
        ),
    ),
    Misconception(
        "mask_on_queries+nan_row",
        "attention_mask hides queries, whose rows are NaN, while the others still read the padding: it says which keys "
        "are real",
        _attention(
            weigh=lambda scores, mask: torch.softmax(scores.masked_fill(~mask.bool()[:, None, :, None], -INF), dim=-1)
        ),
    ),
    Misconception(
        "mask_on_queries+even_row",
        "attention_mask hides queries, whose rows are even, while the others still read the padding: it says which "
        "keys are real",
        _attention(
            weigh=lambda scores, mask: torch.softmax(scores.masked_fill(~mask.bool()[:, None, :, None], -1e9), dim=-1)
        ),
    ),
    Misconception(
        "no_transpose+nan_row",
        "the matrices stand the wrong way round, (out, in) read as (in, out), and a sentence of padding gives NaN",
        _attention(project=no_transpose, weigh=nan_row),
    ),
    Misconception(
        "biases_dropped+nan_row",
        "the biases are missing, and a sentence of padding gives NaN",
        _attention(project=no_bias, weigh=nan_row),
    ),
    Misconception(
        "scale_of_c+nan_row",
        "scores were divided by √C instead of √D, and a sentence of padding gives NaN",
        _attention(scale=lambda q, x, h: math.sqrt(x.shape[-1]), weigh=nan_row),
    ),
    Misconception(
        "queries_hidden_too+nan_row",
        "padded queries are hidden as well as padded keys, and their rows are NaN: attention_mask is about keys",
        _attention(
            weigh=lambda scores, mask: torch.softmax(scores.masked_fill(~_on_both(scores, mask.bool()), -INF), dim=-1)
        ),
    ),
)


# --- bert_layer ------------------------------------------------------------------------------------------------------


def _norm(x, p, name, eps=EPS):
    return layer_norm(x, p[f"{name}.weight"], p[f"{name}.bias"], eps)


def gelu(x):
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def bert_layer(x, p, h, attention_mask):
    attended, _ = bert_self_attention(x, p, h, attention_mask)
    a = _norm(x + linear(attended, p, "attention.output.dense"), p, "attention.output.LayerNorm")
    f = linear(gelu(linear(a, p, "intermediate.dense")), p, "output.dense")
    return _norm(a + f, p, "output.LayerNorm")


def layer_by_library(x, p, h, attention_mask):
    attended = attention_by_heads(x, p, h, attention_mask)[0]
    c = x.shape[-1]
    x = x + functional.linear(attended, p["attention.output.dense.weight"], p["attention.output.dense.bias"])
    x = functional.layer_norm(
        x, (c,), p["attention.output.LayerNorm.weight"], p["attention.output.LayerNorm.bias"], eps=1e-12
    )
    wide = functional.gelu(functional.linear(x, p["intermediate.dense.weight"], p["intermediate.dense.bias"]))
    x = x + functional.linear(wide, p["output.dense.weight"], p["output.dense.bias"])
    return functional.layer_norm(x, (c,), p["output.LayerNorm.weight"], p["output.LayerNorm.bias"], eps=1e-12)


def layer_by_tokens(x, p, h, attention_mask):
    """Everything around the attention, one token at a time."""
    attended, _ = attention_by_sentences(x, p, h, attention_mask)

    def token(own, read):
        a = own + p["attention.output.dense.weight"] @ read + p["attention.output.dense.bias"]
        a = _norm(a, p, "attention.output.LayerNorm")
        wide = p["intermediate.dense.weight"] @ a + p["intermediate.dense.bias"]
        wide = wide * torch.special.ndtr(wide)
        return _norm(a + p["output.dense.weight"] @ wide + p["output.dense.bias"], p, "output.LayerNorm")

    return torch.stack(
        [torch.stack([token(*pair) for pair in zip(*both, strict=True)]) for both in zip(x, attended, strict=True)]
    )


def layer_by_modules(x, p, h, attention_mask):
    """torch's own layer, with the checkpoint's tensors put in; its mask is True = ignore."""
    made = torch.nn.TransformerEncoderLayer(
        x.shape[-1], h, len(p["intermediate.dense.bias"]), 0.0, functional.gelu, 1e-12, True, dtype=x.dtype
    )
    names = {
        "self_attn.in_proj_weight": torch.cat([p[f"attention.self.{role}.weight"] for role in ROLES]),
        "self_attn.in_proj_bias": torch.cat([p[f"attention.self.{role}.bias"] for role in ROLES]),
    }
    for theirs, ours in (
        ("self_attn.out_proj", "attention.output.dense"),
        ("norm1", "attention.output.LayerNorm"),
        ("linear1", "intermediate.dense"),
        ("linear2", "output.dense"),
        ("norm2", "output.LayerNorm"),
    ):
        names |= {f"{theirs}.{part}": p[f"{ours}.{part}"] for part in ("weight", "bias")}
    real = attention_mask.bool()
    some = real.any(1, keepdim=True)
    out = torch.func.functional_call(made, names, (x,), {"src_key_padding_mask": ~(real | ~some)})
    return torch.where(some[..., None], out, bert_layer(x, p, h, attention_mask))


def layer_in_float64(x, p, h, attention_mask):
    return bert_layer(x.double(), {name: tensor.double() for name, tensor in p.items()}, h, attention_mask).to(x.dtype)


def _layer(
    attend=bert_self_attention,
    dense=linear,
    norm=_norm,
    act=gelu,
    first=lambda x, f, n: n(x + f(x), "attention.output.LayerNorm"),
    second=lambda a, f, n, x: n(a + f(a), "output.LayerNorm"),
):
    """A layer with some of its parts replaced; without arguments it is a right one.

    first, second: how a block is put around its function: (input, f, norm by name) -> output.
    """

    def answer(x, p, h, attention_mask):
        def attention(y):
            return dense(attend(y, p, h, attention_mask)[0], p, "attention.output.dense")

        def feed_forward(y):
            return dense(act(dense(y, p, "intermediate.dense")), p, "output.dense")

        def normed(y, name):
            return norm(y, p, name)

        a = first(x, attention, normed)
        return second(a, feed_forward, normed, x)

    return answer


N1, N2 = "attention.output.LayerNorm", "output.LayerNorm"


def _dense_missing(name):
    return lambda x, p, wanted: x if wanted == name else linear(x, p, wanted)


def _bias_missing(*names):
    return lambda x, p, name: x @ p[f"{name}.weight"].T + (0 if name in names else p[f"{name}.bias"])


def _flipped(*names):
    return lambda x, p, name: x @ p[f"{name}.weight"] + p[f"{name}.bias"] if name in names else linear(x, p, name)


def _norm_with(eps=EPS, correction=0, dims=(-1,)):
    def norm(x, p, name):
        variance, mean = torch.var_mean(x, dim=dims, correction=correction, keepdim=True)
        return (x - mean) / torch.sqrt(variance + eps) * p[f"{name}.weight"] + p[f"{name}.bias"]

    return norm


def _names_exchanged(x, p, name):
    return _norm(x, p, N2 if name == N1 else N1)


def _no_affine(x, p, name):
    return layer_norm(x, 1.0, 0.0)


def _layer_changes_x(x, p, h, attention_mask):
    found = bert_layer(x, p, h, attention_mask)
    x.data += 1
    return found


def _layer_weights_cut_off(x, p, h, attention_mask):
    return bert_layer(x, {name: tensor.detach() for name, tensor in p.items()}, h, attention_mask)


def layer_cases(rng):
    yield Case("layer", _layer_inputs(rng, 12, 3, ["xxxxx"] * 2, inner=20))
    yield Case("layer", _layer_inputs(rng, 8, 2, ["xxxx", "xxxx", "xxxx"], inner=8))
    yield Case("layer", _layer_inputs(rng, 6, 3, ["xxxxxxx"], inner=5))
    yield Case("padding", _layer_inputs(rng, 6, 2, ["xxx..", "xxxxx", ".xx.x"]))
    yield Case("padding", _layer_inputs(rng, 4, 2, ["xx.", "xxx"], kind=np.int64))
    yield Case("padding", _layer_inputs(rng, 4, 2, ["...", "xx."]))
    yield Case("edge_sizes", _layer_inputs(rng, 5, 1, ["xxx", "xx."]))
    yield Case("edge_sizes", _layer_inputs(rng, 6, 2, ["x", "x", "x"]))
    yield Case("edge_sizes", _layer_inputs(rng, 4, 4, ["xxxx", "xxx.", "xx..", "xxxx"], inner=4))
    yield Case(DIFFERENTIABLE, _layer_inputs(rng, 4, 2, ["xxx", "xx."], inner=5))
    yield Case(KEEPS_DTYPE, _layer_inputs(rng, 6, 2, ["xxx.", "xxxx"], dtype=np.float32))
    yield Case(KEEPS_DTYPE, _layer_inputs(rng, 6, 2, ["xxx.", "xxxx"]))


LAYER_MISCONCEPTIONS = (
    Misconception(
        "pre_ln",
        "the last thing done is a sum, not a norm, as where each block normalises its input: BERT normalises after "
        "each residual sum",
        [
            _layer(first=lambda x, f, n: x + f(n(x, N1)), second=lambda a, f, n, x: a + f(n(a, N2))),
            _layer(first=lambda x, f, n: x + f(n(x, N1))),
            _layer(second=lambda a, f, n, x: a + f(n(a, N2))),
        ],
    ),
    Misconception(
        "norm_before_the_sum",
        "what a block gives was normalised before it was added: the norm is taken of the sum",
        [
            _layer(first=lambda x, f, n: x + n(f(x), N1), second=lambda a, f, n, x: a + n(f(a), N2)),
            _layer(first=lambda x, f, n: x + n(f(x), N1)),
            _layer(second=lambda a, f, n, x: a + n(f(a), N2)),
        ],
    ),
    Misconception(
        "tanh_gelu",
        "the numbers differ in the third or fourth digit: these are those of the tanh approximation of GELU, where the "
        "exact one, with the error function, is wanted",
        _layer(act=lambda x: functional.gelu(x, approximate="tanh")),
    ),
    Misconception(
        "sigmoid_gelu",
        "the numbers are those of x · sigmoid(1.702 x) or of x · sigmoid(x), rougher relatives of GELU: the exact one, "
        "with the error function, is wanted",
        [_layer(act=lambda x: x * torch.sigmoid(1.702 * x)), _layer(act=functional.silu)],
    ),
    Misconception("relu", "the numbers are those of ReLU, where GELU is wanted", _layer(act=torch.relu)),
    Misconception(
        "other_activation",
        "what stands between the two dense layers is tanh, or nothing at all: GELU is wanted",
        [_layer(act=torch.tanh), _layer(act=lambda x: x)],
    ),
    Misconception(
        "missing_residual",
        "one of the two sums, or both, lacks what the block was given: x is added to the attention, and the sum's norm "
        "to the feed-forward",
        [
            _layer(first=lambda x, f, n: n(f(x), N1)),
            _layer(second=lambda a, f, n, x: n(f(a), N2)),
            _layer(first=lambda x, f, n: n(f(x), N1), second=lambda a, f, n, x: n(f(a), N2)),
        ],
    ),
    Misconception(
        "residual_from_x",
        "to the feed-forward was added x, the input of the layer: the output of the first norm belongs there",
        _layer(second=lambda a, f, n, x: n(x + f(a), N2)),
    ),
    Misconception(
        "parallel",
        "the feed-forward was given x, as if both blocks stood side by side: it is given the output of the first norm",
        [
            _layer(second=lambda a, f, n, x: n(a + f(x), N2)),
        ],
    ),
    Misconception(
        "first_norm_missing",
        "the first sum was not normalised before the feed-forward",
        _layer(first=lambda x, f, n: x + f(x)),
    ),
    Misconception(
        "second_norm_missing",
        "the last sum was not normalised",
        _layer(second=lambda a, f, n, x: a + f(a)),
    ),
    Misconception(
        "no_norms",
        "neither sum was normalised",
        _layer(first=lambda x, f, n: x + f(x), second=lambda a, f, n, x: a + f(a)),
    ),
    Misconception(
        "attention_block_only",
        "the feed-forward block is missing: this is the output of the first norm",
        _layer(second=lambda a, f, n, x: a),
    ),
    Misconception(
        "attention_missing",
        "the vectors do not depend on other tokens: the attention is missing",
        [_layer(first=lambda x, f, n: x), _layer(first=lambda x, f, n: n(x, N1))],
    ),
    Misconception(
        "norms_exchanged",
        "the two norms have each other's weight and bias: the first is attention.output.LayerNorm, the second "
        "output.LayerNorm",
        _layer(norm=_names_exchanged),
    ),
    Misconception(
        "one_norm_twice",
        "both norms have the same weight and bias: each has its own",
        [
            _layer(norm=lambda x, p, name: _norm(x, p, N1)),
            _layer(norm=lambda x, p, name: _norm(x, p, N2)),
        ],
    ),
    Misconception(
        "norms_without_weights",
        "the norms' own weights and biases are missing",
        _layer(norm=_no_affine),
    ),
    Misconception(
        "torch_default_eps",
        "the numbers differ in the sixth digit: eps is 1e-5, the default of torch's layer norm, where BERT's is 1e-12",
        _layer(norm=_norm_with(eps=1e-5)),
    ),
    Misconception(
        "sample_variance",
        "the variance of a norm was divided by C − 1, as torch's var and std do unless told otherwise: layer norm "
        "divides by C",
        _layer(norm=_norm_with(correction=1)),
    ),
    Misconception(
        "norm_over_tokens",
        "the norms ran over the tokens or over a whole sentence: each token is normalised over its own C numbers",
        [_layer(norm=_norm_with(dims=(1,))), _layer(norm=_norm_with(dims=(1, 2)))],
    ),
    Misconception(
        "dense_after_attention_missing",
        "what the heads read was added to x as it is: it goes through attention.output.dense first",
        _layer(dense=_dense_missing("attention.output.dense")),
    ),
    Misconception(
        "biases_dropped",
        "the biases of one or more dense layers are missing",
        [
            _layer(dense=_bias_missing("attention.output.dense", "intermediate.dense", "output.dense")),
            _layer(dense=_bias_missing("attention.output.dense")),
            _layer(dense=_bias_missing("intermediate.dense")),
            _layer(dense=_bias_missing("output.dense")),
        ],
    ),
    Misconception(
        "no_transpose",
        "a matrix stands the wrong way round, or there is an error where it does not fit: a checkpoint keeps W as "
        "(out, in), so a row vector is multiplied by its transpose, x @ W.T",
        [
            _layer(dense=_flipped("attention.output.dense", "intermediate.dense", "output.dense")),
            _layer(dense=_flipped("attention.output.dense")),
            _layer(attend=_attention(project=no_transpose)),
            _layer(
                attend=_attention(project=no_transpose),
                dense=_flipped("attention.output.dense", "intermediate.dense", "output.dense"),
            ),
        ],
    ),
    Misconception(
        "activation_after_the_sum",
        "GELU stands after output.dense instead of before it, or in both places: it belongs between the two layers",
        [
            _layer(act=lambda x: x, second=lambda a, f, n, x: n(a + gelu(f(a)), N2)),
            _layer(second=lambda a, f, n, x: n(a + gelu(f(a)), N2)),
        ],
    ),
    Misconception("causal", LATER, _layer(attend=_attention(weigh=_keep_softmax(_causal)))),
    Misconception("mask_on_queries", ON_QUERIES, _layer(attend=_attention(weigh=_keep_softmax(_on_queries)))),
    Misconception("mask_ignored", UNMASKED, _layer(attend=_attention(weigh=_keep_softmax(_nothing_hidden)))),
    Misconception("attention_biases_dropped", NO_BIASES, _layer(attend=_attention(project=no_bias))),
    Misconception("nan_row", NAN, _layer(attend=_attention(weigh=nan_row))),
    Misconception("even_row", EVEN, _layer(attend=_attention(weigh=even_row(-1e9)))),
    Misconception(
        "scale_of_c",
        "in the attention, scores were divided by √C, the width of the model, where D = C / h is the width of one head",
        _layer(attend=_attention(scale=lambda q, x, h: math.sqrt(x.shape[-1]))),
    ),
    Misconception(
        "padding_zeroed",
        "the vectors of padding are 0: nothing in a layer sets them to 0, they are left out later",
        lambda x, p, h, attention_mask: bert_layer(x, p, h, attention_mask) * attention_mask[..., None],
    ),
    Misconception(
        "attention_weights_too",
        "two results came back: the vectors alone are wanted",
        [
            lambda x, p, h, attention_mask: (
                bert_layer(x, p, h, attention_mask),
                bert_self_attention(x, p, h, attention_mask)[1],
            )
        ],
    ),
    Misconception(
        "cut_off",
        "the numbers are right and the gradients are not: something was detached, or left torch, on the way",
        [_layer_weights_cut_off, lambda *inputs: bert_layer(*inputs).detach()],
    ),
    Misconception("changes_x", "x is not as it was: something was added to it in place", _layer_changes_x),
    Misconception(
        "always_float32",
        "the result is float32 also where x is float64",
        lambda *inputs: bert_layer(*inputs).float(),
    ),
    Misconception(
        "pre_ln+tanh_gelu",
        "each block normalises its input instead of its sum, and GELU is the tanh approximation",
        _layer(
            first=lambda x, f, n: x + f(n(x, N1)),
            second=lambda a, f, n, x: a + f(n(a, N2)),
            act=lambda x: functional.gelu(x, approximate="tanh"),
        ),
    ),
    Misconception(
        "pre_ln+torch_default_eps",
        "each block normalises its input instead of its sum, and eps is 1e-5 instead of 1e-12",
        _layer(
            first=lambda x, f, n: x + f(n(x, N1)),
            second=lambda a, f, n, x: a + f(n(a, N2)),
            norm=_norm_with(eps=1e-5),
        ),
    ),
    Misconception(
        "relu+torch_default_eps",
        "the numbers are those of ReLU instead of GELU, and of an eps of 1e-5 instead of 1e-12",
        _layer(act=torch.relu, norm=_norm_with(eps=1e-5)),
    ),
    Misconception(
        "tanh_gelu+torch_default_eps",
        "GELU is the tanh approximation, and eps is 1e-5 instead of 1e-12",
        _layer(act=lambda x: functional.gelu(x, approximate="tanh"), norm=_norm_with(eps=1e-5)),
    ),
)


# --- mlm_corrupt -----------------------------------------------------------------------------------------------------

NONE = -100
SPREAD = "the variance of the number chosen, as a multiple of what independent draws have,"
SIGMAS = 6.0  # of the difference of two shares; a right answer is refused less than once in a million runs


def mlm_corrupt(ids, special, vocab_size, mask_id, rng, p=0.15):
    shape = tuple(ids.shape)
    chosen = torch.from_numpy(rng.random(shape) < p) & ~torch.isin(ids, torch.tensor(sorted(special), dtype=ids.dtype))
    dice = torch.from_numpy(rng.random(shape))
    words = torch.from_numpy(rng.integers(vocab_size, size=shape))
    inputs = torch.where(chosen & (dice < 0.8), mask_id, ids)
    inputs = torch.where(chosen & (dice >= 0.8) & (dice < 0.9), words, inputs)
    return inputs, torch.where(chosen, ids, NONE)


def corrupt_by_loops(ids, special, vocab_size, mask_id, rng, p=0.15):
    inputs, labels = ids.clone(), torch.full_like(ids, NONE)
    for b, row in enumerate(ids.tolist()):
        for t, token in enumerate(row):
            if token in special or rng.random() >= p:
                continue
            labels[b, t] = token
            dice = rng.random()
            if dice < 0.8:
                inputs[b, t] = mask_id
            elif dice < 0.9:
                inputs[b, t] = int(rng.integers(0, vocab_size))
    return inputs, labels


def corrupt_in_numpy(ids, special, vocab_size, mask_id, rng, p=0.15):
    inputs, labels = ids.numpy().copy(), np.full(tuple(ids.shape), NONE)
    allowed = ~np.isin(inputs, list(special))
    places = np.argwhere(allowed)
    places = places[rng.binomial(1, p, size=len(places)).astype(bool)]
    labels[tuple(places.T)] = inputs[tuple(places.T)]
    fate = rng.choice(3, size=len(places), p=[0.8, 0.1, 0.1])
    masked, random = places[fate == 0], places[fate == 1]
    inputs[tuple(masked.T)] = mask_id
    inputs[tuple(random.T)] = rng.integers(0, vocab_size, size=len(random))
    return inputs, labels


def corrupt_with_one_number(ids, special, vocab_size, mask_id, rng, p=0.15):
    """One number decides both: below 0.8 p it is masked, below 0.9 p random, below p kept."""
    dice = torch.as_tensor(rng.random(ids.shape))
    for token in special:
        dice = dice.masked_fill(ids == token, 2.0)
    words = torch.as_tensor(rng.integers(0, vocab_size, ids.shape))
    inputs = ids.clone()
    inputs[dice < 0.9 * p] = words[dice < 0.9 * p]
    inputs[dice < 0.8 * p] = mask_id
    labels = ids.masked_fill(dice >= p, NONE)
    return inputs, labels


def corrupt_by_halves(ids, special, vocab_size, mask_id, rng, p=0.15):
    """As in Hugging Face's collator: 80 %, then half of the rest. torch draws, with a seed from rng."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    labels = ids.clone()
    chance = torch.full(ids.shape, float(p))
    chance.masked_fill_(sum((ids == token for token in special), torch.zeros_like(ids, dtype=torch.bool)), 0.0)
    chosen = torch.bernoulli(chance, generator=generator).bool()
    labels[~chosen] = NONE
    inputs = ids.clone()
    replaced = torch.bernoulli(torch.full(ids.shape, 0.8), generator=generator).bool() & chosen
    inputs[replaced] = mask_id
    random = torch.bernoulli(torch.full(ids.shape, 0.5), generator=generator).bool() & chosen & ~replaced
    inputs[random] = torch.randint(vocab_size, ids.shape, generator=generator)[random]
    return inputs, labels


def _corrupt(
    chance=lambda rng, shape, p: rng.random(shape) < p,
    guard=lambda ids, special: ~np.isin(ids, list(special)),
    shares=(0.8, 0.9),
    words=lambda rng, shape, v: rng.integers(0, v, shape),
    dice=lambda rng, shape: rng.random(shape),
    label=lambda chosen, ids, inputs: np.where(chosen, ids, NONE),
    generator=lambda rng: rng,
    after=lambda inputs, labels, ids: (inputs, labels),
):
    """A corruption with some of its parts replaced; without arguments it is a right one."""

    def answer(ids, special, vocab_size, mask_id, rng, p=0.15):
        given, rng = ids.numpy().copy(), generator(rng)
        chosen = chance(rng, given.shape, p) & guard(given, special)
        number, random = dice(rng, given.shape), words(rng, given.shape, vocab_size)
        inputs = np.where(chosen & (number < shares[0]), mask_id, given)
        inputs = np.where(chosen & (number >= shares[0]) & (number < shares[1]), random, inputs)
        labels = label(chosen, given, inputs)
        return after(torch.from_numpy(inputs), torch.from_numpy(np.asarray(labels)), ids)

    return answer


def _exact_number(rng, shape, p):
    """Always round(p T) positions of each row."""
    order = rng.random(shape).argsort(axis=1).argsort(axis=1)
    return order < round(p * shape[1])


def _exact_number_of_all(rng, shape, p):
    size = shape[0] * shape[1]
    return (rng.permutation(size) < round(p * size)).reshape(shape)


def _never_none(rng, shape, p):
    """At least one position in each row."""
    chosen = rng.random(shape) < p
    return chosen | ((rng.random(shape).argsort(1).argsort(1) == 0) & ~chosen.any(1, keepdims=True))


def _same_in_all_rows(rng, shape, p):
    return np.broadcast_to(rng.random((1, shape[1])) < p, shape)


def _whole_rows(rng, shape, p):
    return np.broadcast_to(rng.random((shape[0], 1)) < p, shape)


def _pairs_of_neighbours(rng, shape, p):
    starts = rng.random((shape[0], (shape[1] + 1) // 2)) < p
    return starts.repeat(2, axis=1)[:, : shape[1]]


def _with_replacement(rng, shape, p):
    """round(p T) draws of a place, some of which fall together."""
    chosen = np.zeros(shape, dtype=bool)
    for row in chosen:
        row[rng.integers(0, shape[1], round(p * shape[1]))] = True
    return chosen


def _in_place(ids, special, vocab_size, mask_id, rng, p=0.15):
    inputs, labels = mlm_corrupt(ids, special, vocab_size, mask_id, rng, p)
    ids.copy_(inputs)
    return ids, labels


def _in_place_labels_lost(ids, special, vocab_size, mask_id, rng, p=0.15):
    inputs, labels = mlm_corrupt(ids, special, vocab_size, mask_id, rng, p)
    ids.copy_(inputs)
    return ids, torch.where(labels == NONE, NONE, ids)


def _from_global(ids, special, vocab_size, mask_id, rng, p=0.15):
    return mlm_corrupt(ids, special, vocab_size, mask_id, np.random.default_rng(), p)


def _from_torch(ids, special, vocab_size, mask_id, rng, p=0.15):
    return mlm_corrupt(ids, special, vocab_size, mask_id, np.random.default_rng(int(torch.randint(2**40, ()))), p)


def _words_from_global(rng, shape, v):
    return np.random.default_rng().integers(0, v, shape)


def _random_but_special(ids, special, vocab_size, mask_id, rng, p=0.15):
    words = np.array([i for i in range(vocab_size) if i not in special])
    return _corrupt(words=lambda r, shape, v: r.choice(words, shape))(ids, special, vocab_size, mask_id, rng, p)


def _always_15(ids, special, vocab_size, mask_id, rng, p=0.15):
    return mlm_corrupt(ids, special, vocab_size, mask_id, rng)


def _first_special_only(ids, special):
    return ids != min(special)


def _position_ends(ids, special):
    """First and last position are left alone, whatever stands there; other specials are not."""
    guard = np.ones(ids.shape, dtype=bool)
    guard[:, [0, -1]] = False
    return guard


def _text(rng, b, t, v, special, power=1):
    """Ids with special ones sprinkled in, at the ends and elsewhere; with a power of 2 low ids are more frequent."""
    ids = (v * rng.random((b, t)) ** power).astype(np.int64)
    ids[:, 0], ids[:, -1] = special[0], special[1]
    return ids


def corrupt_cases(rng):
    def seed():
        return Seed(int(rng.integers(2**31)))

    v, special, mask_id = 23, (5, 9, 17), 12
    small = _text(rng, 5, 9, v, special)
    yield Case("labels", (small, {5, 9, 17}, v, mask_id, seed(), 0.5))
    yield Case("labels", (_text(rng, 32, 24, v, special), [5, 9, 17], v, mask_id, seed(), 0.4))
    yield Case("chosen", (_text(rng, 320, 24, 40, (1, 2, 0)), (1, 2, 0), 40, 3, seed()))
    yield Case("chosen", (_text(rng, 320, 16, 40, (1, 2, 0)), {0, 1, 2}, 40, 3, seed(), 0.5))
    yield Case("specials", (_text(rng, 24, 24, 8, (2, 3, 0)), {0, 2, 3}, 8, 4, seed(), 0.6))
    yield Case("eighty_ten_ten", (_text(rng, 160, 60, 90, (88, 89, 87)), {87, 88, 89}, 90, 0, seed(), 0.75))
    yield Case("uniform", (_text(rng, 160, 80, 12, (9, 10, 11), 2), (9, 10, 11), 12, 3, seed(), 0.95))
    for p in (0.0, 1.0):
        yield Case("none_and_all", (_text(rng, 12, 9, v, special), [5, 9, 17], v, mask_id, seed()), {"p": p})
    yield Case("follows_rng", (_text(rng, 12, 40, v, special), {5, 9, 17}, v, mask_id, seed(), 0.6))
    yield Case("follows_rng", (_text(rng, 24, 20, v, special), {5, 9, 17}, v, mask_id, seed()))
    # Last, since a diagnosis stops at the first case that tells two answers apart, and these take the longest.
    for p in (0.3, 0.05):
        yield Case("chosen", (np.array([[1, *rng.integers(4, 40, size=10), 2]]), (1, 2), 40, 3, seed(), p))


def _parts(result, shape):
    """(inputs, labels) as whole numbers of a shape, or what is wrong with them."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        return f"the result is {type(result).__name__}; two tensors are wanted, (inputs, labels)"
    found = []
    for name, part in zip(("inputs", "labels"), result, strict=True):
        try:
            array = np.asarray(part)
        except ValueError:
            return f"{name} is ragged"
        if array.dtype.kind not in "iu":
            what = "None" if part is None else array.dtype.name
            return f"{name} is {what}; whole numbers are wanted"
        if array.shape != shape:
            return f"{name} has the shape {array.shape}, ids has {shape}"
        found.append(array.astype(np.int64))
    return tuple(found)


def _share(hits, of):
    """(share, how many it is a share of)."""
    return float(np.mean(hits)) if of else 0.0, int(of)


def what_happened(case, outcome):
    """The shares that the case's check is about: {name: (share, of how many)}, exact ones with None; or a fault."""
    ids, special, v, mask_id = (case.inputs[i] for i in range(4))
    first = _parts(outcome["first"], ids.shape)
    if isinstance(first, str):
        return first
    inputs, labels = first
    special = np.isin(ids, sorted(special))
    asked, changed = labels != NONE, inputs != ids
    chosen = asked & ~special
    facts: dict = {}
    if case.check == "labels":
        facts[WRONG_LABELS] = _share(asked & (labels != ids), ids.size)
        facts[CHANGED_UNASKED] = _share(changed & ~asked, ids.size)
        facts["the share of labelled positions"] = _share(chosen[~special], (~special).sum())
    elif case.check == "chosen":
        if "labelled" in outcome:
            return _of_many(outcome["labelled"], int((~special).sum()))
        facts["the share of positions that were chosen"] = _share(chosen[~special], (~special).sum())
        facts |= _independence(chosen, ~special)
    elif case.check == "specials":
        facts["special ids with a label"] = (float((asked & special).sum()), None)
        facts["special ids that changed"] = (float((changed & special).sum()), None)
    elif case.check == "eighty_ten_ten":
        n = int(chosen.sum())
        masked, kept = inputs == mask_id, ~changed
        facts["of the chosen, the share of [MASK]"] = _share(masked[chosen], n)
        facts["of the chosen, the share that is unchanged"] = _share(kept[chosen], n)
        facts["of the chosen, the share of another id"] = _share((~masked & ~kept)[chosen], n)
        for name, a, b in (("in a row", np.s_[:, 1:], np.s_[:, :-1]), ("in a column", np.s_[1:], np.s_[:-1])):
            both = chosen[a] & chosen[b]
            facts[f"of neighbours {name}, the share that is [MASK] together"] = _share(
                (masked[a] & masked[b])[both], both.sum() / 3
            )
    elif case.check == "uniform":
        facts |= _random_ids(ids, inputs, chosen, v, mask_id)
    elif case.check == "none_and_all":
        facts["the number of labelled positions"] = (float(asked.sum()), None)
        facts["the number of special ids with a label"] = (float((asked & special).sum()), None)
        if case.keywords["p"] == 0:
            facts["the number of changed positions"] = (float(changed.sum()), None)
    elif case.check == "follows_rng":
        again, later = (_parts(outcome[name], ids.shape) for name in ("again", "later"))
        if isinstance(again, str) or isinstance(later, str):
            return again if isinstance(again, str) else later
        repeats = all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        moves = not all(np.array_equal(a, b) for a, b in zip(first, later, strict=True))
        facts["a generator in the same state gives the same result"] = (float(repeats), None)
        facts["a generator in another state gives another result"] = (float(moves), None)
    return facts


def _independence(chosen, allowed):
    """How much rows, columns and neighbours differ from independent draws; about 1, 1 and 0 for those."""
    p = chosen[allowed].mean() if allowed.any() else 0.0
    if not 0 < p < 1:
        return {}
    noise = np.where(allowed, chosen - p, 0.0) / math.sqrt(p * (1 - p))
    facts = {}
    for axis, name in ((1, "row"), (0, "column")):
        lines = noise.sum(axis) / np.sqrt(np.maximum(allowed.sum(axis), 1))
        lines = lines[allowed.sum(axis) > 5]
        # The mean of n squared normal numbers has the spread of a share of one half over n / 8 draws.
        facts[f"by {name}, {SPREAD}"] = (
            float((lines**2).mean()),
            max(len(lines) / 8, 1),
        )
    both = allowed[:, 1:] & allowed[:, :-1]
    pairs = (noise[:, 1:] * noise[:, :-1])[both]
    facts[CORRELATION] = (float(pairs.mean()), both.sum() / 4)
    return facts


def _of_many(counts, n):
    """Of many calls on one text with n words: the share that was chosen, and how its number varies."""
    if None in counts:
        return "some calls give no labels"
    share = np.mean(counts) / n
    facts = {"over many calls, the share of positions that were chosen": (float(share), n * len(counts))}
    if 0 < share < 1:
        spread = np.mean((np.array(counts) - n * share) ** 2) / (n * share * (1 - share))
        # A squared binomial number varies the more, the smaller p is.
        wide = 2 + max((1 - 6 * share * (1 - share)) / (n * share * (1 - share)), 0.0)
        facts[f"over many calls, {SPREAD}"] = (float(spread), len(counts) / (4 * wide))
    return facts


def _random_ids(ids, inputs, chosen, v, mask_id):
    """Of the chosen that became another id: where it lies in the vocabulary, and whether each is drawn anew."""
    other = chosen & (inputs != mask_id) & (inputs != ids)
    found = inputs[other]
    inside = (found >= 0) & (found < v)
    facts = {"random ids outside the vocabulary": (float((~inside).sum()), None)}
    facts["the number of random ids, of the chosen,"] = _share(other[chosen], chosen.sum())
    for word in range(v):
        if word != mask_id:
            facts[f"the share of id {word} among random ids"] = _share(found == word, len(found))
    both = other[:, 1:] & other[:, :-1]
    same = (inputs[:, 1:] == inputs[:, :-1])[both]
    facts["the share of neighbours with the same random id"] = _share(same, both.sum())
    columns = other[1:] & other[:-1]
    facts["the share of the same random id in neighbouring rows"] = _share(
        (inputs[1:] == inputs[:-1])[columns], columns.sum()
    )
    return facts


def same_corruption(case, wanted, got):
    """Whether two corruptions of one text do the same in what a check is about, up to chance."""
    if isinstance(wanted, str) or isinstance(got, str):
        if isinstance(wanted, str):
            return None if wanted == got else "another result"
        return got
    for name in wanted:
        if name not in got:
            return f"{name} cannot be told: all positions or none were chosen"
        (a, n), (b, m) = wanted[name], got[name]
        if n is None or m is None:
            if (a == 0) != (b == 0) or (case.check in EXACT and a != b):
                return f"{name}: {b:.4g}, not {a:.4g}"
            continue
        if name in NEVER and (a == 0) != (b == 0):
            return f"{name} is {b:.3f}, not {a:.3f}"
        # What is no share comes with a number of draws for which one half has its standard error.
        middle = 0.5 if SPREAD in name or name == CORRELATION else min(max((a + b) / 2, 0.02), 0.5)
        limit = SIGMAS * math.sqrt(middle * (1 - middle) * (1 / max(n, 1) + 1 / max(m, 1)))
        if abs(a - b) > limit:
            return f"{name} is {b:.3f}; right answers give {a:.3f}"
    return None


WRONG_LABELS = "the share of positions whose label is neither the original id nor −100"
CHANGED_UNASKED = "the share of positions that changed without a label"
CORRELATION = "the correlation of neighbours"
NEVER = (WRONG_LABELS, CHANGED_UNASKED)
EXACT = ("none_and_all", "follows_rng")

LABELS_EVERYWHERE = (
    "every position has a label, chosen or not: where nothing is asked the label is −100, which the loss leaves out"
)

CORRUPT_MISCONCEPTIONS = (
    Misconception(
        "specials_corrupted",
        "special ids such as [CLS] and [SEP] are chosen like words: they are never asked and never changed",
        _corrupt(guard=lambda ids, special: np.ones(ids.shape, dtype=bool)),
    ),
    Misconception(
        "some_specials_corrupted",
        "one kind of special id is spared, or only the first and last position: every id in `special` is, wherever it "
        "stands",
        [_corrupt(guard=_first_special_only), _corrupt(guard=_position_ends)],
    ),
    Misconception(
        "specials_changed_without_label",
        "special ids have no label and are changed all the same",
        lambda ids, special, vocab_size, mask_id, rng, p=0.15: (
            lambda inputs, labels: (
                inputs,
                torch.where(torch.isin(ids, torch.tensor(sorted(special))), torch.full_like(labels, NONE), labels),
            )
        )(*mlm_corrupt(ids, (), vocab_size, mask_id, rng, p)),
    ),
    Misconception(
        "labels_everywhere",
        LABELS_EVERYWHERE,
        [
            _corrupt(label=lambda chosen, ids, inputs: ids),
            _corrupt(label=lambda chosen, ids, inputs: ids, guard=lambda ids, special: np.ones(ids.shape, dtype=bool)),
        ],
    ),
    Misconception(
        "labels_on_every_word",
        "every position but the special ones has a label, chosen or not: where nothing is asked the label is −100",
        lambda ids, special, vocab_size, mask_id, rng, p=0.15: (
            mlm_corrupt(ids, special, vocab_size, mask_id, rng, p)[0],
            torch.where(torch.isin(ids, torch.tensor(sorted(special))), NONE, ids),
        ),
    ),
    Misconception(
        "all_mask",
        "every chosen position holds [MASK]: 80 % of them do, 10 % hold a random id, 10 % their own",
        _corrupt(shares=(1.0, 1.0)),
    ),
    Misconception(
        "mutates",
        "the right numbers, but ids is not as it was: it was corrupted in place, and whoever gave it has lost the text",
        _in_place,
    ),
    Misconception(
        "labels_from_changed_ids",
        "labels hold what stands in the input now, [MASK] most of the time: they are taken from ids before it is "
        "changed",
        [_corrupt(label=lambda chosen, ids, inputs: np.where(chosen, inputs, NONE)), _in_place_labels_lost],
    ),
    Misconception(
        "label_only_where_changed",
        "chosen positions that kept their word have no label: they are asked too, which is what they are kept for",
        [
            _corrupt(label=lambda chosen, ids, inputs: np.where(chosen & (inputs != ids), ids, NONE)),
        ],
    ),
    Misconception(
        "label_only_where_mask",
        "only positions with [MASK] have a label: those with a random id, and those left as they were, are asked too",
        lambda ids, special, vocab_size, mask_id, rng, p=0.15: (
            lambda inputs, labels: (inputs, torch.where(inputs == mask_id, labels, NONE))
        )(*mlm_corrupt(ids, special, vocab_size, mask_id, rng, p)),
    ),
    Misconception(
        "no_kept",
        "no chosen position keeps its word: of every ten, eight become [MASK], one a random id, and one stays",
        [_corrupt(shares=(0.8, 1.0)), _corrupt(shares=(0.9, 1.0))],
    ),
    Misconception(
        "no_random",
        "no chosen position holds a random id: of every ten, eight become [MASK], one a random id, and one stays",
        [_corrupt(shares=(0.8, 0.8)), _corrupt(shares=(0.9, 0.9))],
    ),
    Misconception(
        "tenth_of_the_rest",
        "too few chosen positions hold a random id and too many their own: 10 % of the remaining 20 % were drawn, "
        "where 10 % of all chosen is half of the rest",
        _corrupt(shares=(0.8, 0.82)),
    ),
    Misconception(
        "mask_over_random",
        "[MASK] has less than 80 % of the chosen: random ids were written over some of it",
        _corrupt(shares=(0.72, 0.82)),
    ),
    Misconception(
        "other_shares",
        "all three things happen to chosen positions, but their shares are not 80, 10 and 10 %",
        [
            _corrupt(shares=(0.85, 0.9)),
            _corrupt(shares=(0.75, 0.9)),
            _corrupt(shares=(0.8, 0.95)),
            _corrupt(shares=(0.8, 0.85)),
            _corrupt(shares=(0.1, 0.2)),
            _corrupt(shares=(0.15, 0.9)),
            _corrupt(shares=(0.5, 0.9)),
            _corrupt(shares=(0.1, 0.9)),
        ],
    ),
    Misconception(
        "one_number_for_both",
        "the number that chose a position also decides what becomes of it, without being scaled: with p = 0.5 all of "
        "the chosen lie below 0.8, so all hold [MASK]",
        lambda ids, special, vocab_size, mask_id, rng, p=0.15: (
            lambda number: _corrupt(chance=lambda r, s, q: number < q, dice=lambda r, s: number)(
                ids, special, vocab_size, mask_id, rng, p
            )
        )(rng.random(tuple(ids.shape))),
    ),
    Misconception(
        "one_fate_for_many",
        "the shares are right over many sentences, but all chosen positions of a sentence, or of a place, share one "
        "fate: the second random number is drawn for each position",
        [
            _corrupt(dice=lambda rng, shape: np.broadcast_to(rng.random((shape[0], 1)), shape)),
            _corrupt(dice=lambda rng, shape: np.broadcast_to(rng.random((1, shape[1])), shape)),
        ],
    ),
    Misconception(
        "exact_number",
        "the number of chosen positions varies too little, as where a fixed number of them is drawn: each position is "
        "chosen by itself",
        [_corrupt(chance=_exact_number), _corrupt(chance=_exact_number_of_all)],
    ),
    Misconception(
        "never_none",
        "every sentence has at least one chosen position: with few words or a small p some have none",
        _corrupt(chance=_never_none),
    ),
    Misconception(
        "drawn_with_replacement",
        "fewer positions are chosen than p says: places were drawn with replacement, and some fell together",
        _corrupt(chance=_with_replacement),
    ),
    Misconception(
        "same_places_in_all_rows",
        "the same places are chosen in every sentence: each needs a random number of its own",
        _corrupt(chance=_same_in_all_rows),
    ),
    Misconception(
        "whole_rows",
        "a sentence is chosen whole or not at all: each position needs a random number of its own",
        _corrupt(chance=_whole_rows),
    ),
    Misconception(
        "neighbours_together",
        "neighbours are chosen together: each position is chosen by itself",
        _corrupt(chance=_pairs_of_neighbours),
    ),
    Misconception(
        "inverted_choice",
        "a position is chosen with probability 1 − p",
        _corrupt(chance=lambda rng, shape, p: rng.random(shape) > p),
    ),
    Misconception("p_ignored", "the share of chosen positions is 15 % whatever p is", _always_15),
    Misconception(
        "one_random_word",
        "all random ids of a call are the same one: one is drawn for each position",
        _corrupt(words=lambda rng, shape, v: np.broadcast_to(rng.integers(0, v), shape)),
    ),
    Misconception(
        "one_random_word_per_row",
        "all random ids of a sentence, or of a place, are the same one: one is drawn for each position",
        [
            _corrupt(words=lambda rng, shape, v: np.broadcast_to(rng.integers(0, v, (shape[0], 1)), shape)),
            _corrupt(words=lambda rng, shape, v: np.broadcast_to(rng.integers(0, v, (1, shape[1])), shape)),
        ],
    ),
    Misconception(
        "vocabulary_from_one",
        "id 0, or the last id, never turns up among the random ones: rng.integers(0, V) gives 0 to V − 1",
        [
            _corrupt(words=lambda rng, shape, v: rng.integers(1, v, shape)),
            _corrupt(words=lambda rng, shape, v: rng.integers(0, v - 1, shape)),
        ],
    ),
    Misconception(
        "random_spares_specials",
        "special ids, or [MASK], never turn up among the random ones: these are drawn from all V of the vocabulary",
        _random_but_special,
    ),
    Misconception(
        "beyond_the_vocabulary",
        "a random id can be V, which no table of embeddings has: they end at V − 1",
        [
            _corrupt(words=lambda rng, shape, v: rng.integers(0, v + 1, shape)),
            _corrupt(words=lambda rng, shape, v: rng.integers(1, v + 1, shape)),
        ],
    ),
    Misconception(
        "random_word_of_the_text",
        "random ids are not uniform: they are other words of the text, or its own ids shuffled",
        lambda ids, special, vocab_size, mask_id, rng, p=0.15: _corrupt(
            words=lambda r, shape, v: r.permutation(ids.numpy().ravel()[~np.isin(ids.numpy().ravel(), list(special))])[
                r.integers(0, (~np.isin(ids.numpy(), list(special))).sum(), shape)
            ]
        )(ids, special, vocab_size, mask_id, rng, p),
    ),
    Misconception(
        "own_generator",
        "the shares are right, but generators in the same state give different results: some numbers do not come from "
        "rng",
        [_from_global, _from_torch, _corrupt(words=_words_from_global)],
    ),
    Misconception(
        "own_seed",
        "every call gives the same result: the generator is made anew inside, with a seed of its own",
        [
            _corrupt(generator=lambda rng: np.random.default_rng(0)),
            _corrupt(generator=lambda rng: np.random.default_rng(42)),
        ],
    ),
    Misconception(
        "zero_instead",
        "where nothing is asked the label is not −100 but 0, which is the number of a word, or another number",
        [
            _corrupt(label=lambda chosen, ids, inputs: np.where(chosen, ids, 0)),
            _corrupt(label=lambda chosen, ids, inputs: np.where(chosen, ids, -1)),
        ],
    ),
    Misconception(
        "labels_on_the_others",
        "labels stand where nothing was chosen, and −100 where something was: the other way round is wanted",
        _corrupt(label=lambda chosen, ids, inputs: np.where(chosen, NONE, ids)),
    ),
    Misconception(
        "results_swapped",
        "the two results stand in the other order: first the inputs, then the labels",
        _corrupt(after=lambda inputs, labels, ids: (labels, inputs)),
    ),
    Misconception(
        "inputs_only",
        "one result came back: inputs and labels are wanted",
        _corrupt(after=lambda inputs, labels, ids: inputs),
    ),
    Misconception(
        "mask_of_chosen",
        "labels are True and False, or 1 and 0: the original id is wanted where something is asked, and −100 elsewhere",
        [
            _corrupt(label=lambda chosen, ids, inputs: chosen),
            _corrupt(label=lambda chosen, ids, inputs: chosen.astype(int)),
        ],
    ),
    Misconception(
        "specials_corrupted+all_mask",
        "special ids are chosen like words, and every chosen position holds [MASK]",
        _corrupt(guard=lambda ids, special: np.ones(ids.shape, dtype=bool), shares=(1.0, 1.0)),
    ),
    Misconception(
        "labels_everywhere+all_mask",
        "every position has a label, chosen or not, and every chosen position holds [MASK]",
        _corrupt(label=lambda chosen, ids, inputs: ids, shares=(1.0, 1.0)),
    ),
)


# --- mlm_loss --------------------------------------------------------------------------------------------------------


def mlm_loss(logits, labels):
    asked = labels != NONE
    if not asked.any():
        return logits.sum() * 0.0
    log_probs = torch.log_softmax(logits[asked], dim=-1)
    return -log_probs.gather(-1, labels[asked][:, None]).mean()


def loss_by_library(logits, labels):
    if (labels == NONE).all():
        return 0.0
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=NONE)


def loss_by_loops(logits, labels):
    terms = []
    for b in range(labels.shape[0]):
        for t in range(labels.shape[1]):
            label = int(labels[b, t])
            if label >= 0:
                terms.append(torch.logsumexp(logits[b, t], dim=0) - logits[b, t, label])
    return sum(terms) / len(terms) if terms else torch.zeros((), dtype=logits.dtype)


def loss_by_sum(logits, labels):
    asked = (labels != NONE).to(logits.dtype)
    rows = functional.cross_entropy(logits.permute(0, 2, 1), labels.clamp(min=0), reduction="none")
    return (rows * asked).sum() / asked.sum().clamp(min=1)


def loss_by_hand(logits, labels):
    """The maximum off, one-hot labels, and a weight of 0 where nothing is asked."""
    asked = labels != NONE
    top = logits.amax(-1, keepdim=True).detach()
    normal = (logits - top).exp().sum(-1).log() + top[..., 0]
    hot = functional.one_hot(labels.masked_fill(~asked, 0), logits.shape[-1]).to(logits.dtype)
    terms = torch.where(asked, normal - (hot * logits).sum(-1), 0.0)
    return terms.sum() / max(int(asked.sum()), 1)


def loss_in_float64(logits, labels):
    return mlm_loss(logits.double(), labels)


def _terms(logits, labels):
    """(B, T): −log probability of the label, with 0 for −100."""
    return functional.cross_entropy(logits.transpose(1, 2), labels.clamp(min=0), reduction="none")


def _asked(labels):
    return labels != NONE


def mean_over_all(logits, labels):
    return (_terms(logits, labels) * _asked(labels)).mean()


def minus_100_as_zero(logits, labels):
    return _terms(logits, labels).mean()


def minus_100_as_index(logits, labels):
    """Indexing with −100 counts from the end, or fails where V is smaller."""
    log_probs = torch.log_softmax(logits, -1).flatten(0, 1)
    return -log_probs[torch.arange(len(log_probs)), labels.flatten()].mean()


def ignores_minus_1(logits, labels):
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1)


def nan_for_none(logits, labels):
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def nan_by_hand(logits, labels):
    asked = _asked(labels)
    return _terms(logits, labels)[asked].mean()


def summed(logits, labels):
    return (_terms(logits, labels) * _asked(labels)).sum()


def mean_of_rows(logits, labels):
    asked = _asked(labels)
    rows = (_terms(logits, labels) * asked).sum(1) / asked.sum(1).clamp(min=1)
    return rows.mean()


def mean_of_rows_that_ask(logits, labels):
    asked = _asked(labels)
    if not asked.any():
        return 0.0
    some = asked.any(1)
    return ((_terms(logits, labels) * asked).sum(1)[some] / asked.sum(1)[some]).mean()


def summed_over_words(logits, labels):
    return (_terms(logits, labels) * _asked(labels)).sum(1).mean()


def _of_asked(change):
    """A loss that is `change(rows of logits, labels)` where something is asked, 0.0 if nothing is."""

    def answer(logits, labels):
        asked = _asked(labels)
        return change(logits[asked], labels[asked]) if asked.any() else logits.sum() * 0.0

    return answer


def _picked(rows, labels):
    return rows.gather(-1, labels[:, None])[:, 0]


def softmax_then_library(logits, labels):
    return _of_asked(lambda rows, wanted: functional.cross_entropy(rows.softmax(-1), wanted))(logits, labels)


def over_tokens(logits, labels):
    asked = _asked(labels)
    if not asked.any():
        return logits.sum() * 0.0
    return -_picked(torch.log_softmax(logits, dim=1)[asked], labels[asked]).mean()


def shifted(logits, labels):
    return mlm_loss(logits[:, :-1], labels[:, 1:])


def zero_left_out(logits, labels):
    return mlm_loss(logits, torch.where(labels > 0, labels, NONE))


def reshaped_wrongly(logits, labels):
    """(B, V, T) by view: cross_entropy wants the classes second, and a view does not swap axes."""
    if not _asked(labels).any():
        return logits.sum() * 0.0
    b, t, v = logits.shape
    return functional.cross_entropy(logits.reshape(b, v, t), labels)


def classes_last(logits, labels):
    """cross_entropy on (B, T, V) as it stands reads T as the classes."""
    return functional.cross_entropy(logits, labels)


def _unstable(logits, labels):
    return _of_asked(
        lambda rows, wanted: -torch.log(_picked(rows.exp() / rows.exp().sum(-1, keepdim=True), wanted)).mean()
    )(logits, labels)


def _log_of_softmax(logits, labels):
    return _of_asked(lambda rows, wanted: -torch.log(_picked(rows.softmax(-1), wanted)).mean())(logits, labels)


def _log_with_epsilon(logits, labels):
    return _of_asked(lambda rows, wanted: -torch.log(_picked(rows.softmax(-1), wanted) + 1e-9).mean())(logits, labels)


def _changes_labels(logits, labels):
    found = mlm_loss(logits, labels)
    labels[labels == NONE] = 0
    return found


def _loss_inputs(rng, rows, v, *, size=1.0, dtype=np.float64):
    """rows: one string a sentence, "?" where a word is asked, "0" where the word is id 0, "." elsewhere."""
    labels = np.array([[{"?": int(rng.integers(1, v)), "0": 0, ".": NONE}[char] for char in row] for row in rows])
    return (rng.normal(size=(*labels.shape, v)) * size).astype(dtype), labels


def loss_cases(rng):
    yield Case("mean", _loss_inputs(rng, ["..?.?", "?...."], 7))
    yield Case("mean", _loss_inputs(rng, [".?..", "....", "????"], 6))
    yield Case("mean", _loss_inputs(rng, ["??.?", "?.?.", ".?.?", "??.."], 4))
    yield Case("mean", _loss_inputs(rng, ["?.?...?", "..?...."], 120))
    yield Case("mean", _loss_inputs(rng, ["???", "???"], 5))
    logits, labels = _loss_inputs(rng, [".?...", "?..?."], 6)
    logits[labels == NONE] *= 50
    yield Case("unlabelled", (logits, labels))
    yield Case("label_zero", _loss_inputs(rng, ["0.?0", ".0?."], 5))
    yield Case("label_zero", _loss_inputs(rng, ["0..", "...", "..0"], 4))
    yield Case("no_labels", _loss_inputs(rng, ["....", "...."], 5))
    yield Case("no_labels", _loss_inputs(rng, ["."], 3))
    yield Case("large_logits", _loss_inputs(rng, ["?.?.", "..??"], 6, size=4000.0))
    yield Case("large_logits", _loss_inputs(rng, ["?.?"], 5, size=4000.0, dtype=np.float32))
    yield Case(DIFFERENTIABLE, _loss_inputs(rng, [".?.", "?.?"], 4))


LOSS_MISCONCEPTIONS = (
    Misconception(
        "mean_over_all",
        "the loss is too small: the sum over the labelled positions was divided by the number of all positions",
        mean_over_all,
    ),
    Misconception(
        "minus_100_as_a_word",
        "positions with the label −100 are in the mean, as if the word there were id 0 or the id 100 from the end: "
        "they are left out",
        [minus_100_as_zero, minus_100_as_index],
    ),
    Misconception(
        "other_ignored_label",
        "it is another label than −100 that is left out, and −100 itself ends in an error",
        ignores_minus_1,
    ),
    Misconception(
        "nan_for_none",
        "without a label the loss is NaN, 0 / 0: 0.0 is wanted, so that one such batch does not spoil the training",
        [nan_for_none, nan_by_hand],
    ),
    Misconception(
        "summed",
        "the terms were added up and not divided by how many there are",
        [summed, summed_over_words],
    ),
    Misconception(
        "mean_of_rows",
        "each sentence has the same weight, whether it asks for one word or for many: the mean runs over the labelled "
        "positions of the whole batch",
        [mean_of_rows, mean_of_rows_that_ask],
    ),
    Misconception(
        "sign",
        "the loss is negative: log probabilities are below 0, and it is minus their mean that is wanted",
        lambda logits, labels: -mlm_loss(logits, labels),
    ),
    Misconception(
        "no_softmax",
        "the loss is minus the mean logit of the label, which grows without end: logits have to go through log_softmax "
        "first",
        _of_asked(lambda rows, labels: -_picked(rows, labels).mean()),
    ),
    Misconception(
        "probability_not_log",
        "the loss lies between −1 and 1: it is made of probabilities, not of their logarithms",
        [
            _of_asked(lambda rows, labels: -_picked(rows.softmax(-1), labels).mean()),
            _of_asked(lambda rows, labels: 1 - _picked(rows.softmax(-1), labels).mean()),
        ],
    ),
    Misconception(
        "log_of_the_mean",
        "the logarithm was taken of the mean probability: it is the mean of the logarithms that is wanted",
        _of_asked(lambda rows, labels: -torch.log(_picked(rows.softmax(-1), labels).mean())),
    ),
    Misconception(
        "softmax_twice",
        "the loss is far too even, near log V: cross_entropy takes logits, and was given probabilities",
        softmax_then_library,
    ),
    Misconception(
        "log2",
        "the loss is in bits, 1.44 times too large: natural logarithms are wanted",
        lambda logits, labels: mlm_loss(logits, labels) / math.log(2),
    ),
    Misconception(
        "softmax_over_tokens",
        "the probabilities of a word sum to 1 over the tokens: the softmax runs over the vocabulary",
        over_tokens,
    ),
    Misconception(
        "shifted",
        "labels and logits are one place apart, as in a model that predicts the next word: here the label of a "
        "position is what stood at this very position",
        shifted,
    ),
    Misconception(
        "zero_left_out",
        "a label of 0 is left out: 0 is the number of a word, only −100 asks nothing",
        zero_left_out,
    ),
    Misconception(
        "classes_by_view",
        "probabilities mix tokens: (B, T, V) was read as (B, V, T), and reshape or view does not swap axes",
        reshaped_wrongly,
    ),
    Misconception(
        "classes_last",
        "there is an error, or tokens are read as words: torch's cross_entropy wants the classes on the second axis, "
        "so flatten B and T first",
        classes_last,
    ),
    Misconception(
        "overflow",
        "large logits give inf or NaN: the exponential overflows, or the probability is rounded to 0 before its "
        "logarithm; log_softmax does neither",
        [_unstable, _log_of_softmax],
    ),
    Misconception(
        "epsilon_in_the_log",
        "for improbable words the loss stops near 20: a small number was added before the logarithm; log_softmax needs "
        "none",
        _log_with_epsilon,
    ),
    Misconception(
        "perplexity",
        "this is exp of the loss, the perplexity",
        _of_asked(lambda rows, labels: torch.exp(functional.cross_entropy(rows, labels))),
    ),
    Misconception(
        "per_position",
        "one number for each position came back: their mean is wanted",
        [
            lambda logits, labels: _terms(logits, labels) * _asked(labels),
            lambda logits, labels: _terms(logits, labels)[_asked(labels)],
        ],
    ),
    Misconception(
        "cut_off",
        "the numbers are right and no gradient reaches the logits: the loss was detached, or left torch",
        [
            lambda logits, labels: mlm_loss(logits.detach(), labels),
            lambda logits, labels: mlm_loss(logits, labels).item(),
        ],
    ),
    Misconception("changes_labels", "labels is not as it was: it was changed in place", _changes_labels),
    Misconception(
        "summed+sign",
        "the log probabilities were added up, neither divided by how many there are nor turned around",
        lambda logits, labels: -summed(logits, labels),
    ),
)


REFERENCES = (
    Reference(
        id="bert_embed",
        reference=bert_embed,
        accepted=(embed_by_library, embed_by_loops, embed_by_one_hot, embed_in_float64),
        misconceptions=EMBED_MISCONCEPTIONS,
        cases=embed_cases,
    ),
    Reference(
        id="bert_self_attention",
        reference=bert_self_attention,
        accepted=(
            attention_by_heads,
            attention_by_sentences,
            attention_additive,
            attention_by_library,
            attention_in_float64,
            attention_as_lists,
        ),
        misconceptions=ATTENTION_MISCONCEPTIONS,
        cases=attention_cases,
    ),
    Reference(
        id="bert_layer",
        reference=bert_layer,
        accepted=(layer_by_library, layer_by_tokens, layer_by_modules, layer_in_float64),
        misconceptions=LAYER_MISCONCEPTIONS,
        cases=layer_cases,
    ),
    Reference(
        id="mlm_corrupt",
        reference=mlm_corrupt,
        accepted=(corrupt_by_loops, corrupt_in_numpy, corrupt_with_one_number, corrupt_by_halves),
        misconceptions=CORRUPT_MISCONCEPTIONS,
        cases=corrupt_cases,
        view=what_happened,
        agree=same_corruption,
    ),
    Reference(
        id="mlm_loss",
        reference=mlm_loss,
        accepted=(loss_by_library, loss_by_loops, loss_by_sum, loss_by_hand, loss_in_float64),
        misconceptions=LOSS_MISCONCEPTIONS,
        cases=loss_cases,
    ),
)
