"""Notebook 10's functions for those who have not written them yet."""

import math

import numpy as np


def attention_flops(b, h, n_q, n_k, d, d_v):
    """FLOPs of the two products of attention, 2 for a multiply-add."""
    return math.prod((2, b, h, n_q, n_k, d + d_v))


def score_bytes(b, h, n, bytes_per):
    """Bytes of all scores of b sequences with h heads."""
    return math.prod((b, h, n, n, bytes_per))


def fit_exponent(ns, ys):
    """Slope of the least-squares line through (log n, log y)."""
    line = np.polynomial.Polynomial.fit(np.log(ns), np.log(ys), deg=1)
    return float(line.convert().coef[1])


def chunked_attention(q, k, v, chunk):
    """Exact attention of `chunk` queries at a time."""
    out = np.empty((len(q), v.shape[1]), dtype=v.dtype)
    for start in range(0, len(q), chunk):
        scores = np.matmul(q[start : start + chunk], k.T)
        scores *= 1 / math.sqrt(q.shape[1])
        scores -= np.max(scores, axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= np.sum(scores, axis=1, keepdims=True)
        np.matmul(scores, v, out=out[start : start + chunk])
    return out


def online_attention(q, k, v, block):
    """Exact attention in one pass over blocks of keys, with a running maximum and sum per query."""
    top = np.full((len(q), 1), -np.inf, dtype=q.dtype)
    total = np.zeros_like(top)
    out = np.zeros((len(q), v.shape[1]), dtype=v.dtype)
    for start in range(0, len(k), block):
        scores = np.matmul(q, k[start : start + block].T)
        scores *= 1 / math.sqrt(q.shape[1])
        higher = np.maximum(top, np.max(scores, axis=1, keepdims=True))
        scores -= higher
        np.exp(scores, out=scores)
        shrink = np.exp(top - higher)
        total *= shrink
        total += np.sum(scores, axis=1, keepdims=True)
        out *= shrink
        out += np.matmul(scores, v[start : start + block])
        top = higher
    out /= total
    return out
