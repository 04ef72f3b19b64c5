"""Notebook 17's functions for those who have not written them yet."""

import torch

from autograder.standins.nb06_multi_head_attention import batched_attention, merge_heads, split_heads


def offset_score(weights, offset):
    """The mean weight on the token `offset` places further on, for each head: (h,)."""
    return torch.diagonal(weights, offset, -2, -1).mean(-1)


def link_accuracy(weights, links):
    """How often a dependent's head word is the strongest other word, by row or by column, whichever is better: (h,)."""
    n = weights.shape[-1]
    others = weights.masked_fill(torch.eye(n, dtype=torch.bool), -torch.inf)
    dependents, heads = torch.tensor(list(links)), torch.tensor(list(links.values()))
    found = [(others.argmax(axis)[:, dependents] == heads).float().mean(-1) for axis in (-1, -2)]
    return torch.maximum(*found)


def ablate_heads(x, w_q, w_k, w_v, w_o, h, heads):
    """Self-attention in which the outputs of some heads are 0, (B, T, C)."""
    out, _ = batched_attention(*(split_heads(x @ w, h) for w in (w_q, w_k, w_v)))
    on = torch.ones(h, dtype=out.dtype)
    on[list(heads)] = 0
    return merge_heads(out * on[:, None, None]) @ w_o


def prune_heads(w_q, w_k, w_v, w_o, h, keep):
    """The columns, and for w_o the rows, of the heads that stay."""
    places = torch.arange(w_q.shape[1]).unflatten(0, (h, -1))[list(keep)].flatten()
    return w_q[:, places], w_k[:, places], w_v[:, places], w_o[places]


def induction_score(weights, period):
    """The mean weight, over the second copy, on the token that came next the first time: (h,)."""
    return torch.diagonal(weights[:, period:], 1, -2, -1).mean(-1)
