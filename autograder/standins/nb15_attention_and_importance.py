"""Notebook 15's functions for those who have not written them yet."""

import statistics

import torch


def kendall_tau(a, b):
    """Kendall's tau-b of two lists of scores, 0.0 where one of them is constant."""
    a, b = torch.as_tensor(a).double(), torch.as_tensor(b).double()
    i, j = torch.combinations(torch.arange(len(a))).unbind(1) if len(a) > 1 else (slice(0), slice(0))
    over_a, over_b = (torch.sign(x[i] - x[j]) for x in (a, b))
    norm = float(over_a.norm() * over_b.norm())
    return float(over_a @ over_b) / norm if norm else 0.0


def leave_one_out(f, ids, mask_id):
    """How much f falls when each token is masked, (T,)."""
    alone = torch.eye(len(ids), dtype=torch.bool)
    return torch.tensor([f(ids) - f(ids.masked_fill(place, mask_id)) for place in alone], dtype=torch.float64)


def grad_x_input(f, x):
    """Each token's gradient times its vector, (T,)."""
    leaf = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(f(leaf), leaf)
    return torch.linalg.vecdot(gradient, leaf.detach())


def attention_permutation_test(f, weights, rng, trials):
    """Median total variation between f(weights) and f of shuffled weights."""
    before = f(weights)
    orders = [torch.from_numpy(rng.permutation(len(weights))) for _ in range(trials)]
    return statistics.median(float((f(weights[order]) - before).abs().sum() / 2) for order in orders)


def comprehensiveness(f, ids, scores, k, mask_id):
    """How much f falls when the k highest-scored tokens are masked."""
    return f(ids) - f(ids.index_fill(0, scores.topk(k).indices, mask_id))


def sufficiency(f, ids, scores, k, mask_id):
    """How much f falls when all but the k highest-scored tokens are masked."""
    lowest = scores.topk(len(ids) - k, largest=False).indices
    return f(ids) - f(ids.index_fill(0, lowest, mask_id))
