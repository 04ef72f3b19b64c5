"""Stand-ins of notebook 02: what `mine` gives where a learner's own function is not there yet."""

import numpy as np


def project_qkv(x, w_q, w_k, w_v):
    """q, k and v of every token of a batch (B, T, C)."""
    return np.matmul(x, w_q), np.matmul(x, w_k), np.matmul(x, w_v)


def attend_to_previous(n):
    """(w_q, w_k) with which one-hot token i attends to i − 1, and token 0 to itself."""
    w_q = 20.0 * np.eye(n, k=-1)
    w_q[0, 0] = 20.0
    return w_q, np.identity(n)


def qk_ov(w_q, w_k, w_v, w_o):
    """(QK, OV): what decides the scores, and what is handed over."""
    return np.inner(w_q, w_k), np.matmul(w_v, w_o)
