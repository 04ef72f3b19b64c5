"""Notebook 16's functions for those who have not written them yet."""

import torch
from torch.nn import functional

EPS = 1e-12


def bert_embed(ids, type_ids, word, position, type_table, gamma, beta, eps=EPS):
    """The rows of piece, place and type added up, then layer norm over C."""
    rows = functional.embedding(ids, word) + functional.embedding(type_ids, type_table)
    return functional.layer_norm(rows + position[: ids.shape[1]], gamma.shape, gamma, beta, eps)


def bert_self_attention(x, p, h, attention_mask):
    """Self-attention of one layer by its checkpoint names, (out, weights); a sentence of padding alone gets 0."""
    q, k, v = (
        functional.linear(x, p[f"attention.self.{role}.weight"], p[f"attention.self.{role}.bias"])
        .unflatten(-1, (h, -1))
        .transpose(1, 2)
        for role in ("query", "key", "value")
    )
    real = attention_mask.bool()[:, None, None, :]
    scores = torch.einsum("bhid,bhjd->bhij", q, k) / q.shape[-1] ** 0.5
    # A finite fill keeps an empty row out of 0 / 0; the multiplication then makes it 0.
    weights = torch.softmax(scores.masked_fill(~real, torch.finfo(scores.dtype).min), dim=-1) * real
    return torch.einsum("bhij,bhjd->bihd", weights, v).flatten(2), weights


def bert_layer(x, p, h, attention_mask):
    """One layer of BERT: attention and feed-forward, a layer norm after each residual sum."""

    def dense(name, given):
        return functional.linear(given, p[f"{name}.weight"], p[f"{name}.bias"])

    def norm(name, given):
        return functional.layer_norm(given, given.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], EPS)

    attended, _ = bert_self_attention(x, p, h, attention_mask)
    x = norm("attention.output.LayerNorm", x + dense("attention.output.dense", attended))
    return norm("output.LayerNorm", x + dense("output.dense", functional.gelu(dense("intermediate.dense", x))))


def mlm_corrupt(ids, special, vocab_size, mask_id, rng, p=0.15):
    """BERT's corruption: (inputs, labels)."""
    chance, dice = (torch.from_numpy(rng.random(tuple(ids.shape))) for _ in range(2))
    words = torch.from_numpy(rng.integers(vocab_size, size=tuple(ids.shape)))
    chosen = (chance < p) & ~torch.isin(ids, torch.tensor(sorted(special), dtype=ids.dtype))
    inputs = torch.where(chosen & (dice < 0.8), mask_id, ids)
    return torch.where(chosen & (dice >= 0.9), words, inputs), torch.where(chosen, ids, -100)


def mlm_loss(logits, labels):
    """Mean −log probability of the labels, over the positions that have one; 0.0 if none has."""
    asked = labels != -100
    if not bool(asked.any()):
        return logits.sum() * 0.0
    return functional.cross_entropy(logits[asked], labels[asked])
