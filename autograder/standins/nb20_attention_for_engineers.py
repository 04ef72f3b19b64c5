"""Notebook 20's functions for those who have not written them yet; the clinic's without their diagnoses."""

import math

import torch
from torch.nn.functional import scaled_dot_product_attention


def _attend(q, k, v, mask=None):
    if mask is None:
        return scaled_dot_product_attention(q, k, v)
    empty = ~mask.any(dim=-1, keepdim=True)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask | empty).masked_fill(empty, 0)


def clinic_1():
    """No diagnosis, and attention to all keys at once."""
    return "", lambda q, k, v, block=64: _attend(q, k, v)


def clinic_2():
    """No diagnosis, and attention of h heads."""

    def attend(x, w_q, w_k, w_v, w_o, h):
        q, k, v = ((x @ w).unflatten(-1, (h, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
        return _attend(q, k, v).transpose(1, 2).flatten(2) @ w_o

    return "", attend


def clinic_3():
    """No diagnosis, and attention with a padding mask."""
    return "", lambda q, k, v, real: _attend(q, k, v, real[:, None, None])


def clinic_4():
    """No diagnosis, and attention in any precision."""

    def attend(q, k, v, mask=None):
        wide = torch.promote_types(q.dtype, torch.float32)
        return _attend(q.to(wide), k.to(wide), v.to(wide), mask).to(q.dtype)

    return "", attend


def clinic_5():
    """No diagnosis, and attention of the newest queries to a window."""

    def attend(q, k, v, window):
        ones = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
        last = k.shape[-2] - q.shape[-2]
        return _attend(q, k, v, ones.tril(last).triu(last - window))

    return "", attend


def clinic_6():
    """No diagnosis, and masked attention with its gradients."""
    return "", _attend


def attention_tests(fn):
    """The faults of an attention function, by comparison with one in float64; a list of texts."""
    draw, faults = torch.Generator().manual_seed(1), []
    for dtype in (torch.float32, torch.float64):
        mask = torch.rand(2, 1, 6, 8, generator=draw) < 0.5
        mask[0, 0, 3] = False
        for name, chosen, factor in (("no mask", None, 1.0), ("a mask", mask, 1.0), ("large scores", None, 4e3)):
            q, k, v = (torch.randn(2, 3, *size, generator=draw, dtype=dtype) for size in ((6, 4), (8, 4), (8, 5)))
            q[..., 0, :] *= factor
            atol = 1e-5 if factor == 1.0 else 1e-2  # large scores round by more
            before = [x.clone() for x in (q, k, v, mask)]
            scores = q.double() @ k.double().mT / math.sqrt(q.shape[-1])
            scores = scores if chosen is None else scores.masked_fill(~chosen, -math.inf)
            weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)
            for part, wanted in zip(fn(q, k, v, chosen), (weights @ v.double(), weights), strict=True):
                if part.dtype != dtype or not torch.allclose(part.double(), wanted, rtol=1e-3, atol=atol):
                    faults.append(f"{name}, {dtype}")
            if not all(map(torch.equal, (q, k, v, mask), before)):
                faults.append("inputs changed")
    return faults


def kv_cache_bytes(layers, h_kv, d, n, batch, bytes_per):
    """Bytes of the keys and values of all layers, heads, tokens and texts."""
    numbers = layers * h_kv * d * n * batch
    return 2 * numbers * bytes_per


def grouped_query_attention(q, k, v):
    """Attention in which neighbouring query heads share keys and values, (B, Hq, Tq, Dv)."""
    heads, shared = q.shape[1], k.shape[1]
    if heads % shared:
        raise ValueError(f"{shared} heads of keys do not divide {heads} query heads")
    grouped = q.unflatten(1, (shared, -1))  # (B, Hkv, g, Tq, D)
    weights = torch.softmax(torch.einsum("bhgqd,bhkd->bhgqk", grouped, k) / math.sqrt(q.shape[-1]), dim=-1)
    return torch.einsum("bhgqk,bhkv->bhgqv", weights, v).flatten(1, 2)


def lora_forward(x, w, a, b, alpha):
    """A frozen matrix and the adapter beside it, (..., out)."""
    return torch.add(x @ w, (x @ a) @ b, alpha=alpha / b.shape[0])


def design_mask(rules, n):
    """Where every rule that is given lets query i read key j, (n, n) bool."""
    place = torch.arange(n)
    ahead = place - place.unsqueeze(1)  # how far key j stands after query i
    may = torch.ones(n, n, dtype=torch.bool)
    if rules.get("documents") is not None:
        ids = torch.as_tensor(rules["documents"])
        may = may & torch.eq(ids, ids.unsqueeze(1))
    if rules.get("causal"):
        may = may & torch.logical_or(ahead <= 0, place < rules.get("prefix", 0))
    if rules.get("window") is not None:
        may = may & torch.logical_or(ahead.abs() <= rules["window"], place < rules.get("sinks", 0))
    return may
