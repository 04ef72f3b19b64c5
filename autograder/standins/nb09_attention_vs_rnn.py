"""Notebook 09's functions for those who have not written them yet."""

import itertools

import numpy as np
import torch


def rnn_forward(x, w_x, w_h, b):
    """All states (B, T, h) of a tanh recurrence that starts from 0."""
    inputs = x @ w_x + b
    state = inputs.new_zeros(inputs.shape[0], inputs.shape[-1])
    states = []
    for step in inputs.unbind(1):
        state = torch.tanh(torch.addmm(step, state, w_h))
        states.append(state)
    return torch.stack(states, 1)


def gradient_reach(f, n, d, rng):
    """Frobenius norm of the derivative of the last output by each position of a random input, (n,)."""
    x = torch.from_numpy(rng.standard_normal((1, n, d)).astype(np.float32))
    jacobian = torch.autograd.functional.jacobian(lambda x: f(x)[0, -1], x)  # (d, 1, n, d)
    return torch.linalg.matrix_norm(jacobian[:, 0].movedim(1, 0))


def layer_costs(kind, n, d, k=3, r=None):
    """Operations, sequential steps and path of a layer, leading terms only."""
    if kind == "restricted" and r is None:
        raise ValueError("restricted attention needs r, how many positions each one sees")
    if kind == "conv" and k < 2:
        raise ValueError(f"a kernel of width {k} never reaches further; k must be at least 2")
    if kind == "conv":
        layers = next(p for p in itertools.count() if k**p >= n)
        numbers = k * n * d**2, 1, layers
    elif kind == "restricted":
        numbers = r * n * d, 1, -(-n // r)
    elif kind == "rnn":
        numbers = n * d**2, n, n
    elif kind == "self":
        numbers = n**2 * d, 1, 1
    else:
        raise ValueError(f"no kind of layer is called {kind!r}")
    return dict(zip(("operations", "sequential", "path"), numbers, strict=True))
