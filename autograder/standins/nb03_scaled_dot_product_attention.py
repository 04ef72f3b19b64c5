"""Notebook 03's functions for those who have not written them yet."""

import math

import numpy as np


def dot_product_std(d, trials, rng):
    """Standard deviation of q·k over pairs of standard normal vectors."""
    pairs = rng.standard_normal((2, trials, d))
    return float(np.std(np.vecdot(*pairs)))


def softmax_jacobian(p):
    """How each score moves each weight of a softmax: diag(p) − p pᵀ."""
    return np.diagflat(p) - np.multiply.outer(p, p)


def scaled_dot_product_attention(q, k, v, mask=None):
    """Attention of queries to keys, (out, weights); rows with nothing to attend to are 0."""
    scores = np.matmul(q, k.swapaxes(-1, -2)) / math.sqrt(q.shape[-1])
    allowed = np.ones((), bool) if mask is None else mask
    scores = np.where(allowed, scores, -np.inf)
    top = np.max(scores, axis=-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = np.sum(weights, axis=-1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return np.matmul(weights, v), weights


def repaired_attention(q, k, v):
    """Attention without a mask, (out, weights)."""
    return scaled_dot_product_attention(q, k, v)
