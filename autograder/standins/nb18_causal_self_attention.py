"""Notebook 18's functions for those who have not written them yet."""

import math

import torch


def _heads(x, h):
    return x.unflatten(-1, (h, -1)).transpose(-3, -2)


def causal_self_attention(x, w_q, w_k, w_v, w_o, h):
    """Attention of every token to itself and those before it, (B, T, C)."""
    q, k, v = (_heads(x @ w, h) for w in (w_q, w_k, w_v))
    later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    weights = torch.softmax((q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(later, -math.inf), dim=-1)
    return (weights @ v).transpose(-3, -2).flatten(-2) @ w_o


def is_causal(f, n, d, rng):
    """Whether no later token of (1, n, d) changes an earlier output of f."""
    x = torch.from_numpy(rng.standard_normal((1, n, d))).float()
    before = f(x)
    for t in range(1, n):
        other = x.clone()
        other[:, t:] = torch.from_numpy(rng.standard_normal((n - t, d))).float()
        if (f(other) - before)[:, :t].abs().max() > 1e-4:
            return False
    return True


def next_token_pairs(ids):
    """Each token but the last, and the one after it."""
    return ids.narrow(1, 0, ids.shape[1] - 1), ids.narrow(1, 1, ids.shape[1] - 1)


def sample_next(logits, temperature, top_k, rng):
    """Draw a token's id from the top_k largest logits, sharper below temperature 1; 0 is the largest."""
    ids = logits.argsort(descending=True, stable=True)[:top_k]
    if temperature == 0:
        return ids[0].item()
    shares = torch.cumsum(torch.softmax(logits[ids].double() / temperature, dim=0), dim=0)
    place = torch.searchsorted(shares, rng.random() * shares[-1].item(), right=True)
    return ids[min(place.item(), len(ids) - 1)].item()


class KVCache:
    """Causal self-attention that is fed a text piece by piece and keeps its keys and values."""

    def __init__(self, w_q, w_k, w_v, w_o, h):
        self.w_q, self.w_k, self.w_v, self.w_o, self.h = w_q, w_k, w_v, w_o, h
        self.reset()

    def reset(self):
        """Forget the text."""
        self.keys, self.values = [], []

    def step(self, x_t):
        """The rows of the next tokens, (B, n, C)."""
        self.keys.append(_heads(x_t @ self.w_k, self.h))
        self.values.append(_heads(x_t @ self.w_v, self.h))
        k, v = torch.cat(self.keys, dim=2), torch.cat(self.values, dim=2)
        n, total = x_t.shape[1], k.shape[2]
        may = torch.ones(n, total, dtype=torch.bool).tril(total - n)
        scores = _heads(x_t @ self.w_q, self.h) @ k.mT / math.sqrt(k.shape[-1])
        weights = torch.softmax(scores.masked_fill(~may, -math.inf), dim=-1)
        return (weights @ v).transpose(1, 2).flatten(2) @ self.w_o
