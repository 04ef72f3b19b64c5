"""Notebook 19's functions for those who have not written them yet."""

import math

import torch
from torch.nn import functional


def layer_norm(x, gamma, beta, eps=1e-5):
    """Every vector with mean 0 and variance 1, times gamma, plus beta."""
    return functional.layer_norm(x, gamma.shape, gamma, beta, eps)


def feed_forward(x, w1, b1, w2, b2):
    """The same two-layer network with a relu for every token."""
    return functional.linear(functional.relu(functional.linear(x, w1.T, b1)), w2.T, b2)


def _attention(kind, x, read, p, h, mask):
    """Multi-head attention with the matrices of one kind in p; rows with nothing to attend to are 0."""
    q, k, v = (
        (part @ p[f"{kind}_w_{name}"]).unflatten(-1, (h, -1)).transpose(1, 2)
        for part, name in ((x, "q"), (read, "k"), (read, "v"))
    )
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1).masked_fill(~mask, 0)
    return (weights @ v).transpose(1, 2).flatten(2) @ p[f"{kind}_w_o"]


def _added(x, change, p, n):
    return layer_norm(x + change, p[f"norm{n}_gamma"], p[f"norm{n}_beta"])


def _network(x, p):
    return feed_forward(x, p["w1"], p["b1"], p["w2"], p["b2"])


def encoder_layer(x, p, h, mask):
    """Self-attention and a feed-forward network, each added to what went in and normalised."""
    x = _added(x, _attention("self", x, x, p, h, mask), p, 1)
    return _added(x, _network(x, p), p, 2)


def _embedded(ids, table):
    """Rows of the table times √C, plus sines and cosines of the positions."""
    c = table.shape[1]
    rates = torch.exp(-math.log(10000.0) * torch.arange(0, c, 2) / c)
    angles = torch.outer(torch.arange(ids.shape[1], dtype=rates.dtype), rates)
    return functional.embedding(ids, table) * math.sqrt(c) + torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def transformer(src, tgt_in, p, h, src_mask, tgt_mask):
    """Logits (B, Tt, V) of a post-norm encoder–decoder with one embedding for both sides and the output."""
    words = src_mask[:, None, None]
    x, y = _embedded(src, p["embedding"]), _embedded(tgt_in, p["embedding"])
    for layer in p["encoder"]:
        x = encoder_layer(x, layer, h, words)
    for layer in p["decoder"]:
        y = _added(y, _attention("self", y, y, layer, h, tgt_mask), layer, 1)
        y = _added(y, _attention("cross", y, x, layer, h, words), layer, 2)
        y = _added(y, _network(y, layer), layer, 3)
    return functional.linear(y, p["embedding"])


def noam_rate(step, d_model, warmup):
    """A rate that rises in proportion to step until warmup, then falls with its root."""
    return 1 / math.sqrt(d_model * warmup) * min(step / warmup, math.sqrt(warmup / step))


def label_smoothed_loss(logits, y, eps, pad):
    """Cross-entropy with eps of the target spread over all ids, mean over what is not padding."""
    total = functional.cross_entropy(
        logits.flatten(0, -2), y.flatten(), ignore_index=pad, label_smoothing=eps, reduction="sum"
    )
    return total / (y != pad).sum().clamp(min=1)


def beam_search(step, state, bos, eos, k, max_len, alpha=0.6):
    """The best finished sequence that k live beams find, by total / ((5 + length) / 6)^alpha."""
    live: list = [(0.0, [], state)]
    best, found = -math.inf, None
    for length in range(1, max_len + 1):
        grown = []
        for total, ids, own in live:
            logs, after = step(ids[-1] if ids else bos, own)
            totals = (torch.as_tensor(logs).double() + total).tolist()
            score = totals[eos] / ((5 + length) / 6) ** alpha
            if score > best:
                best, found = score, ids
            grown += [(value, [*ids, token], after) for token, value in enumerate(totals) if token != eos]
        live = sorted(grown, key=lambda beam: beam[0], reverse=True)[:k]
    return live[0][1] if found is None else found
