"""Notebook 14's functions for those who have not written them yet."""

import numpy as np


def plot_attention(weights, q_tokens, k_tokens, ax=None):
    """A map of attention on an Axes: queries down, keys to the right, colours from 0 to 1, a colourbar."""
    import matplotlib.pyplot as plt

    axes = plt.figure().add_subplot() if ax is None else ax
    picture = axes.imshow(np.asarray(weights), cmap="Blues", clim=(0.0, 1.0))
    axes.set(xticks=np.arange(len(k_tokens)), yticks=np.arange(len(q_tokens)), xlabel="key", ylabel="query")
    axes.set_xticklabels(k_tokens, rotation=90)
    axes.set_yticklabels(q_tokens)
    axes.figure.colorbar(picture, ax=axes)
    return axes


def head_stats(weights):
    """Entropy in nats and expected distance in tokens of each head, a dict of two (h,)."""
    weights = np.asarray(weights)
    n = weights.shape[-1]
    i, j = np.indices((n, n))
    logs = np.log(weights, out=np.zeros_like(weights), where=weights != 0)
    far = np.absolute(i - j).astype(weights.dtype)
    return {
        "entropy": -np.einsum("hij,hij->h", weights, logs) / n,
        "distance": np.einsum("hij,ij->h", weights, far) / n,
    }


def attention_rollout(layers, residual=0.5):
    """What each token is made of after several layers, if each layer keeps a share of the token, (n, n)."""
    kept = None
    for layer in layers:
        step = np.mean(layer, axis=0) * (1 - residual)
        np.fill_diagonal(step, step.diagonal() + residual)
        kept = step if kept is None else np.matmul(step, kept)
    return kept
