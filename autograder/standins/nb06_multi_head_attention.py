"""Notebook 06's functions for those who have not written them yet."""

import math

import torch


def batched_attention(q, k, v, mask=None):
    """Attention over any leading axes, (out, weights); rows with nothing to attend to are 0."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is None:
        weights = torch.softmax(scores, dim=-1)
    else:
        weights = torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1).masked_fill(~mask, 0)
    return weights @ v, weights


def split_heads(x, h):
    """Cut every vector into h neighbouring pieces: (B, T, C) to (B, h, T, C // h)."""
    if x.shape[-1] % h:
        raise ValueError(f"{h} heads do not divide a width of {x.shape[-1]}")
    return x.unflatten(-1, (h, -1)).transpose(-3, -2)


def merge_heads(x):
    """Put the pieces side by side again: (B, h, T, D) to (B, T, h·D)."""
    return x.transpose(-3, -2).flatten(-2)


def multi_head_attention(x_q, x_kv, w_q, w_k, w_v, w_o, h, mask=None):
    """Attention of h heads on their own slices of the projections, (out, weights)."""
    q, k, v = split_heads(x_q @ w_q, h), split_heads(x_kv @ w_k, h), split_heads(x_kv @ w_v, h)
    if mask is not None and mask.ndim == 3:
        mask = mask.unsqueeze(1)
    out, weights = batched_attention(q, k, v, mask)
    return merge_heads(out) @ w_o, weights


def from_torch_mha(mha):
    """The four matrices of an nn.MultiheadAttention without bias, for `x @ w`."""
    w_q, w_k, w_v = (w.T for w in mha.in_proj_weight.detach().chunk(3))
    return {"w_q": w_q, "w_k": w_k, "w_v": w_v, "w_o": mha.out_proj.weight.detach().T}
