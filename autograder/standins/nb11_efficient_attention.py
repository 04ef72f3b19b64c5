"""Notebook 11's functions for those who have not written them yet."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def window_mask(n, w):
    """Which keys lie within w positions of each query: bool (n, n)."""
    place = np.arange(n)
    return np.abs(np.subtract.outer(place, place)) <= w


def longformer_mask(n, w, global_idx):
    """A window, and some positions that see all and are seen by all: bool (n, n)."""
    special = np.isin(np.arange(n), global_idx)
    return window_mask(n, w) | np.logical_or.outer(special, special)


def layers_to_connect(mask):
    """Layers until every token can have heard of every other; None if never."""
    step = mask | np.eye(len(mask), dtype=bool)
    reach, layers = np.eye(len(mask), dtype=bool), 0
    while not reach.all():
        further = np.matmul(step, reach)
        if (further == reach).all():
            return None
        reach, layers = further, layers + 1
    return layers


def local_attention(q, k, v, w):
    """Attention within w positions on each side, without an n × n array: (n, Dv)."""
    n, span = len(q), min(w, len(q) - 1)
    padded = [np.pad(part, ((span, span), (0, 0))) for part in (k, v)]
    near_k, near_v = (sliding_window_view(part, 2 * span + 1, axis=0) for part in padded)
    scores = np.einsum("nd,ndj->nj", q, near_k) / math.sqrt(q.shape[-1])
    place = np.arange(n)[:, None] + np.arange(-span, span + 1)
    scores[(place < 0) | (place >= n)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("nj,ndj->nd", weights / weights.sum(axis=-1, keepdims=True), near_v)


def block_sparse_mask(layout, block):
    """A mask in which every entry of the layout stands for block × block entries."""
    return np.kron(layout, np.ones((block, block), bool))


def block_sparse_attention(q, k, v, layout, block):
    """Attention on the active blocks of a layout only: (n, Dv)."""
    out = np.zeros((len(q), v.shape[-1]), np.result_type(q, v))
    keys, values = (part.reshape(-1, block, part.shape[-1]) for part in (k, v))
    for row, active in enumerate(layout):
        if active.any():
            queries = slice(row * block, (row + 1) * block)
            near_k, near_v = (np.concatenate(part[active]) for part in (keys, values))
            scores = np.matmul(q[queries], near_k.T) / math.sqrt(q.shape[-1])
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            out[queries] = np.matmul(weights / weights.sum(axis=-1, keepdims=True), near_v)
    return out


def bigbird_mask(n, block, n_random, n_global, rng):
    """Window, global and random blocks: bool (n, n)."""
    if n % block:
        raise ValueError(f"{block} does not divide {n}")
    count = n // block
    layout = longformer_mask(count, 1, np.arange(min(n_global, count)))
    for row in layout:
        left = np.flatnonzero(~row)
        row[rng.permutation(left)[:n_random]] = True
    return block_sparse_mask(layout, block)


def linformer_attention(q, k, v, e, f):
    """Attention to m mixtures of keys and values: (n, Dv)."""
    scores = np.linalg.multi_dot([q, k.T, e.T]) / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.linalg.multi_dot([weights / weights.sum(axis=-1, keepdims=True), f, v])


def linear_attention(q, k, v, causal=False):
    """Attention with weights φ(q)·φ(k) over their sum, φ = elu + 1; never an n × n array."""
    q, k = (np.exp(np.minimum(x, 0)) + np.maximum(x, 0) for x in (q, k))
    if not causal:
        return np.matmul(q, np.matmul(k.T, v)) / np.matmul(q, k.sum(axis=0))[:, None]
    states = np.cumsum(np.einsum("nd,ne->nde", k, v), axis=0)
    return np.einsum("nd,nde->ne", q, states) / np.vecdot(q, np.cumsum(k, axis=0))[:, None]


def rank_k_error(a, k):
    """Relative Frobenius error of the best approximation of rank k."""
    s = np.linalg.svd(a, compute_uv=False)
    total = np.linalg.norm(s)
    return float(np.linalg.norm(s[k:]) / total) if total else 0.0
