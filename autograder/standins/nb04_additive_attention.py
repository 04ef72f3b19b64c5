"""Notebook 04's functions for those who have not written them yet."""

import torch


def additive_scores(q, k, w_q, w_k, w):
    """Scores of every query with every key by a network of one hidden layer, (B, Tq, Tk)."""
    hidden = torch.add(torch.matmul(q, w_q).unsqueeze(-2), torch.matmul(k, w_k).unsqueeze(-3))  # (B, Tq, Tk, h)
    return torch.matmul(hidden.tanh(), w)


def bilinear_scores(q, k, w):
    """Scores of every query with every key through one matrix, (B, Tq, Tk)."""
    return torch.matmul(torch.matmul(q, w), k.transpose(-1, -2))


def scoring_cost(kind, n_q, n_k, d, h):
    """What scoring n_q queries with n_k keys takes, counted: a dict of three whole numbers."""
    pairs = n_q * n_k
    if kind == "dot":
        counts = (pairs * d, 0, pairs)
    else:
        counts = ((n_q + n_k) * d * h + pairs * h, 2 * d * h + h, pairs * h)
    return dict(zip(("multiply_adds", "parameters", "largest_tensor"), counts, strict=True))
