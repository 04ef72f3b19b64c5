"""Stand-ins of notebook 01: what `mine` gives where a learner's own function is not there yet."""

import numpy as np


def softmax(x, axis=-1):
    """Weights that sum to 1 along an axis, from scores."""
    return np.exp(x - np.logaddexp.reduce(x, axis=axis, keepdims=True))


def soft_lookup(query, keys, values, temperature=1.0):
    """(out, weights): the average of the values, weighted by how well each key suits the query."""
    weights = softmax(np.inner(keys, query) / temperature)
    return np.dot(weights, values), weights


def kernel_attention(x_q, x_k, y, sigma):
    """(pred, weights): the average of y around each x_q, weighted by a Gaussian of width sigma."""
    weights = softmax(-0.5 * np.square(np.subtract.outer(x_q, x_k) / sigma))
    return np.dot(weights, y), weights
