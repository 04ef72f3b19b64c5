"""Notebook 12's functions for those who have not written them yet."""

import math

import torch


def sinusoidal_encoding(n, d, base=10000.0):
    """Sines and cosines of the position at d/2 rates, alternating, (n, d)."""
    if d % 2:
        raise ValueError(f"{d} columns: every sin needs its cos")
    pair = torch.arange(d // 2, dtype=torch.float64)
    angles = torch.outer(torch.arange(n, dtype=torch.float64), torch.exp(-math.log(base) * 2 * pair / d))
    encoding = torch.empty(n, d, dtype=torch.float64)
    encoding[:, 0::2], encoding[:, 1::2] = torch.sin(angles), torch.cos(angles)
    return encoding.float()


def add_positions(x, table):
    """Row t of the table added to token t of every sentence."""
    tokens, rows = x.shape[1], table.shape[0]
    if tokens > rows:
        raise ValueError(f"{tokens} tokens and only {rows} rows of positions")
    return torch.add(x, table.narrow(0, 0, tokens))


def apply_rope(x, positions, base=10000.0):
    """Every pair of neighbouring columns of x turned by position times its rate."""
    pair = torch.arange(x.shape[-1] // 2, dtype=x.dtype)
    angles = torch.outer(positions.to(x.dtype), torch.exp(-math.log(base) * 2 * pair / x.shape[-1]))
    a, b = x.unflatten(-1, (-1, 2)).unbind(dim=-1)
    cos, sin = torch.cos(angles), torch.sin(angles)
    return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)


def alibi_bias(h, n):
    """Minus slope times distance for keys before their query, (h, n, n), steepest head first."""
    back = torch.arange(n).unsqueeze(1) - torch.arange(n)
    slopes = torch.tensor([2.0 ** (-8.0 * (i + 1) / h) for i in range(h)])
    return -torch.einsum("h,qk->hqk", slopes, torch.relu(back.float()))


def t5_bucket(relative, bidirectional=True, num_buckets=32, max_distance=128):
    """The bucket of each distance, as in T5."""
    buckets = num_buckets // 2 if bidirectional else num_buckets
    distance = torch.abs(relative) if bidirectional else torch.relu(-relative)
    single = buckets // 2
    share = torch.log(distance.clamp(min=single).double() / single) / math.log(max_distance / single)
    wide = (single + torch.floor(share * (buckets - single)).long()).clamp(max=buckets - 1)
    found = torch.where(distance < single, distance, wide)
    return found + buckets * (relative > 0) if bidirectional else found
