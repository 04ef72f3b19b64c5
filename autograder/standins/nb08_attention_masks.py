"""Notebook 08's functions for those who have not written them yet."""

import math

import torch


def padding_mask(lengths, n):
    """Where the keys are words of their sentence and not padding, (B, 1, 1, n) bool."""
    lengths = torch.as_tensor(lengths)
    return torch.lt(torch.arange(n), lengths.reshape(-1, 1, 1, 1))


def causal_mask(n_q, n_k=None):
    """Where a key is not later than its query, (n_q, n_k) bool; the last query sees every key."""
    n_k = n_q if n_k is None else n_k
    return torch.ones(n_q, n_k, dtype=torch.bool).tril(n_k - n_q)


def masked_softmax(scores, mask):
    """Softmax over the keys that may be attended to; rows without any are 0."""
    hidden = scores.masked_fill(~mask, -math.inf)
    top = hidden.amax(dim=-1, keepdim=True).detach()
    shares = torch.exp(hidden - top.masked_fill(top.isneginf(), 0.0))
    total = shares.sum(dim=-1, keepdim=True)
    return shares / total.masked_fill(total == 0, 1.0)


def convert_mask(keep, to):
    """A mask in the convention of another library."""
    if to == "additive":
        return torch.where(keep, 0.0, -math.inf).float()
    if to == "torch_key_padding":
        return torch.logical_not(keep)
    if to == "torch_sdpa":
        return keep.clone()
    raise ValueError(f"no convention is called {to!r}; there are additive, torch_key_padding and torch_sdpa")


def repaired_batch(hidden, lengths, w_q, w_k, w_v):
    """The mean over real tokens of a self-attention that sees no padding, (B, Dv)."""
    real = padding_mask(lengths, hidden.shape[1])[:, 0, 0]
    scores = torch.einsum("bqd,bkd->bqk", hidden @ w_q, hidden @ w_k) / math.sqrt(w_q.shape[1])
    out = masked_softmax(scores, real[:, None]) @ (hidden @ w_v)
    return torch.einsum("bt,btd->bd", real.to(out.dtype), out) / lengths.clamp(min=1)[:, None].to(out.dtype)
