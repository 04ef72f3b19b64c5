"""Notebook 13's functions for those who have not written them yet."""

import math

import torch
from torch.nn import functional


def _heads(x, h):
    return x.unflatten(-1, (h, -1)).transpose(1, 2)


def _attend(q, k, v, mask):
    """(out, weights) of heads that lie side by side, (B, T, h·D) and (B, h, Tq, Tk); empty rows are 0."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0)
    return (weights @ v).transpose(1, 2).flatten(2), weights


def _for_keys(src_mask):
    return None if src_mask is None else src_mask[:, None, None, :]


def cross_attention(dec, enc, w_q, w_k, w_v, w_o, h, src_mask=None):
    """What target words read of the source, (out, weights)."""
    k, v = precompute_kv(enc, w_k, w_v, h)
    merged, weights = _attend(_heads(dec @ w_q, h), k, v, _for_keys(src_mask))
    return merged @ w_o, weights


def precompute_kv(enc, w_k, w_v, h):
    """The source's keys and values, each (B, h, Ts, D)."""
    return _heads(enc @ w_k, h), _heads(enc @ w_v, h)


def cross_attention_step(x_t, kv, w_q, w_o, h, src_mask=None):
    """The row of cross_attention for one target word."""
    return _attend(_heads(x_t @ w_q, h), kv[0], kv[1], _for_keys(src_mask))[0] @ w_o


def t5_attention(q, k, v, bias):
    """Attention without a scale, with a bias for every head and pair."""
    return torch.softmax(torch.add(q @ k.mT, bias), dim=-1) @ v


def decoder_layer(x, enc, p, h, norm, tgt_mask, src_mask):
    """Self-attention, cross-attention and feed-forward, with the norm behind each sum or before each part."""

    def ln(y, n):
        return functional.layer_norm(y, y.shape[-1:], p[f"norm{n}_gamma"], p[f"norm{n}_beta"], 1e-5)

    def attention(kind, y, read, mask):
        q, k, v = (_heads(part @ p[f"{kind}_{w}"], h) for part, w in ((y, "w_q"), (read, "w_k"), (read, "w_v")))
        return _attend(q, k, v, mask)[0] @ p[f"{kind}_w_o"]

    parts = (
        lambda y: attention("self", y, y, tgt_mask),
        lambda y: attention("cross", y, enc, _for_keys(src_mask)),
        lambda y: torch.relu(y @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"],
    )
    for n, part in enumerate(parts, 1):
        x = ln(x + part(x), n) if norm == "post" else x + part(ln(x, n))
    return x
