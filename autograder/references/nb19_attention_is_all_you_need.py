"""Notebook 19, the hidden half: references, accepted and wrong answers, cases.

Far longer than most modules: seven exercises share it, every part of a transformer goes wrong in several ways, and beam
search needs cases on which all its usual readings agree.
"""

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Built, Case, Misconception, Reference
from autograder.exercises.nb19_attention_is_all_you_need import EXTRA_CALLS

CUT_OFF = (
    "the results are right and cut off from the inputs: no gradient flows back, as after .detach(), .item() or a copy "
    "through NumPy"
)
NO_NUMPY = "the call stops where a tensor requires gradients: NumPy cannot record them, torch's own operations can"
BECOMES_FLOAT32 = "float64 inputs gave float32 results"
BECOMES_FLOAT64 = "float32 inputs gave float64 results"


def _detached(answer):
    return lambda *inputs, **keywords: answer(*inputs, **keywords).detach()


def _no_grad(answer):
    return torch.no_grad()(answer)


def _through_numpy(answer):
    def through(*inputs, **keywords):
        for item in inputs:
            if isinstance(item, torch.Tensor):
                item.numpy()
        return answer(*inputs, **keywords).numpy()

    return through


def _as(answer, dtype):
    return lambda *inputs, **keywords: answer(*inputs, **keywords).to(dtype)


def _overwriting(answer, change):
    """The right result, and `change(*inputs)` writes into the inputs."""

    def overwrites(*inputs, **keywords):
        result = answer(*inputs, **keywords).clone()
        with torch.no_grad():
            change(*inputs)
        return result

    return overwrites


# --- layer_norm ------------------------------------------------------------------------------------------------------


def layer_norm(x, gamma, beta, eps=1e-5):
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = (centred**2).mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(variance + eps) * gamma + beta


def norm_of_torch(x, gamma, beta, eps=1e-5):
    return functional.layer_norm(x, gamma.shape, gamma, beta, eps)


def norm_by_var(x, gamma, beta, eps=1e-5):
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return torch.addcmul(beta, (x - mean) * torch.rsqrt(variance + eps), gamma)


def norm_by_loops(x, gamma, beta, eps=1e-5):
    rows = []
    for row in x.reshape(-1, x.shape[-1]):
        mean = sum(row) / len(row)
        variance = sum((number - mean) ** 2 for number in row) / len(row)
        numbers = [
            (number - mean) / (variance + eps) ** 0.5 * g + b for number, g, b in zip(row, gamma, beta, strict=True)
        ]
        rows.append(torch.stack(numbers))
    return torch.stack(rows).reshape(x.shape)


def norm_by_einsum(x, gamma, beta, eps=1e-5):
    c = x.size(-1)
    x = x - torch.einsum("...c->...", x).unsqueeze(-1) / c
    length = (torch.einsum("...c,...c->...", x, x) / c + eps).sqrt()
    return gamma * (x / length.unsqueeze(-1)) + beta


def norm_in_float64(x, gamma, beta, eps=1e-5):
    wide = x.double()
    wide = wide - wide.mean(-1, keepdim=True)
    return (wide * (wide.square().mean(-1, keepdim=True) + eps).pow(-0.5)).to(x.dtype) * gamma + beta


def _mean(x):
    return x.mean(dim=-1, keepdim=True)


def _variance(x):
    return x.var(dim=-1, correction=0, keepdim=True)


def _norm(
    mean=_mean,
    variance=_variance,
    root=lambda variance, eps: torch.sqrt(variance + eps),
    scale=lambda y, gamma, beta: y * gamma + beta,
):
    """A layer norm with one of its parts replaced."""

    def norm(x, gamma, beta, eps=1e-5):
        return scale((x - mean(x)) / root(variance(x), eps), gamma, beta)

    return norm


def _over(*axes):
    """Mean and variance over other axes, as far as x has them."""

    def norm(x, gamma, beta, eps=1e-5):
        own = tuple(axis for axis in axes if -x.ndim <= axis < x.ndim)
        mean = x.mean(dim=own, keepdim=True)
        variance = x.var(dim=own, correction=0, keepdim=True)
        return (x - mean) / torch.sqrt(variance + eps) * gamma + beta

    return norm


def _no_keepdim(x, gamma, beta, eps=1e-5):
    return (x - x.mean(-1)) / torch.sqrt(x.var(-1, correction=0) + eps) * gamma + beta


def norm_cases(rng):
    def case(check, shape, eps=None, *, dtype=np.float64, offset=0.0, spread=1.0):
        x = (offset + spread * rng.normal(size=shape)).astype(dtype)
        gamma, beta = (rng.normal(size=shape[-1]).astype(dtype) for _ in range(2))
        return Case(check, (x, gamma, beta) if eps is None else (x, gamma, beta, eps))

    yield case("normalised", (2, 4, 5))
    yield case("normalised", (3, 3, 3))
    yield case("normalised", (2, 3, 7), dtype=np.float32)
    yield case("any_axes", (6,))
    yield case("any_axes", (4, 3))
    yield case("any_axes", (4, 4))
    yield case("any_axes", (2, 3, 4, 5))
    yield case("any_axes", (1, 1, 2))
    yield case("eps", (2, 3, 4), 0.5)
    yield case("eps", (3, 2, 5), 1e-3, spread=0.02)
    yield case("eps", (3, 2, 6), spread=1e-3)
    constant = np.repeat(rng.normal(size=(2, 3, 1)), 4, axis=-1)
    yield Case("nothing_varies", (constant, rng.normal(size=4), rng.normal(size=4)))
    yield case("nothing_varies", (2, 3, 1))
    yield case("far_from_zero", (2, 3, 5), offset=1e6)
    yield case("far_from_zero", (3, 4), offset=-1e6)
    yield case(DIFFERENTIABLE, (2, 3, 4))
    yield case(DIFFERENTIABLE, (3, 5), 0.1)
    yield case(KEEPS_DTYPE, (2, 3, 4), dtype=np.float32)
    yield case(KEEPS_DTYPE, (2, 3, 4))


def _scaled_in_place(x, *rest):
    x.sub_(x.mean(-1, keepdim=True))


NORM_MISCONCEPTIONS = (
    Misconception(
        "sample_variance",
        "the variance is the sum of squares over C − 1: that estimates the variance of a population from a sample, "
        "and a layer norm takes the C numbers as they are, over C (torch's var and std divide by C − 1 unless told "
        "otherwise)",
        [
            _norm(variance=lambda x: x.var(-1, keepdim=True)),
            _norm(variance=lambda x: x.var(-1, keepdim=True), root=lambda v, eps: v.sqrt() + eps),
        ],
    ),
    Misconception(
        "eps_outside",
        "eps was added to the standard deviation, after the root: it belongs to the variance, inside the root, which "
        "is another number where the variance is small",
        [_norm(root=lambda v, eps: v.sqrt() + eps), _norm(root=lambda v, eps: v.clamp(min=1e-300).sqrt() + eps)],
    ),
    Misconception(
        "eps_squared",
        "the square of eps was added to the variance, or its root to the deviation: eps itself is added to the "
        "variance",
        [
            _norm(root=lambda v, eps: torch.sqrt(v + eps**2)),
            _norm(root=lambda v, eps: torch.sqrt(v) + eps**0.5),
        ],
    ),
    Misconception(
        "over_tokens",
        "the mean over the tokens is 0, number by number: mean and variance ran over the axis of tokens, and a token's "
        "result depends on the others",
        [_over(-2), _over(1), _norm(mean=lambda x: x.mean(-2 if x.ndim > 1 else -1, keepdim=True))],
    ),
    Misconception(
        "over_batch",
        "mean and variance ran over the first axis, as in a batch norm: a sentence's result depends on the others",
        [_over(0), _over(*(0, 1))],
    ),
    Misconception(
        "over_everything",
        "one mean and one variance were taken of several tokens together: each token has its own, over its C numbers "
        "alone",
        [
            _over(-1, -2),
            lambda x, gamma, beta, eps=1e-5: (x - x.mean()) / torch.sqrt(x.var(correction=0) + eps) * gamma + beta,
            _over(-1, -2, -3),
        ],
    ),
    Misconception(
        "no_root",
        "the differences are divided by the variance: its root belongs there",
        _norm(root=lambda v, eps: v + eps),
    ),
    Misconception(
        "no_mean",
        "the mean of the C numbers is still in the result: it was not subtracted, as in RMSNorm, or only in the "
        "variance",
        [
            _norm(mean=lambda x: 0.0),
            _norm(mean=lambda x: 0.0, variance=lambda x: (x**2).mean(-1, keepdim=True)),
        ],
    ),
    Misconception(
        "not_divided",
        "the numbers were centred and not divided: a vector twice as long gives a result twice as far from beta",
        _norm(root=lambda v, eps: 1.0),
    ),
    Misconception(
        "no_gamma",
        "the result does not depend on gamma: every normalised number is multiplied by its entry of gamma",
        _norm(scale=lambda y, gamma, beta: y + beta),
    ),
    Misconception(
        "no_beta",
        "the result does not depend on beta: it is added at the end",
        _norm(scale=lambda y, gamma, beta: y * gamma),
    ),
    Misconception(
        "neither_gamma_nor_beta",
        "gamma and beta play no part: the normalised numbers came back as they are",
        _norm(scale=lambda y, gamma, beta: y),
    ),
    Misconception(
        "gamma_and_beta_swapped",
        "gamma was added and beta multiplied: they stand in each other's place",
        _norm(scale=lambda y, gamma, beta: y * beta + gamma),
    ),
    Misconception(
        "beta_scaled",
        "beta was multiplied by gamma too: it is added after the product",
        _norm(scale=lambda y, gamma, beta: (y + beta) * gamma),
    ),
    Misconception(
        "gamma_from_one",
        "the normalised numbers were multiplied by 1 + gamma: here gamma is the factor itself",
        _norm(scale=lambda y, gamma, beta: y * (1 + gamma) + beta),
    ),
    Misconception(
        "no_eps",
        "a vector whose numbers are all equal gives NaN: nothing was added to its variance of 0",
        [
            _norm(root=lambda v, eps: v.sqrt()),
            _norm(variance=lambda x: x.var(-1, keepdim=True), root=lambda v, eps: v.sqrt()),
        ],
    ),
    Misconception(
        "fixed_eps",
        "eps is one and the same number, whatever is given",
        [
            _norm(root=lambda v, eps: torch.sqrt(v + 1e-5)),
            _norm(root=lambda v, eps: torch.sqrt(v + 1e-6)),
            _norm(root=lambda v, eps: torch.sqrt(v + 1e-12)),
        ],
    ),
    Misconception(
        "another_default",
        "right with the eps that is given; without one, another stands in: the default is 1e-5",
        [
            lambda x, gamma, beta, eps=1e-6: layer_norm(x, gamma, beta, eps),
            lambda x, gamma, beta, eps=1e-12: layer_norm(x, gamma, beta, eps),
            lambda x, gamma, beta, eps=1e-8: layer_norm(x, gamma, beta, eps),
        ],
    ),
    Misconception(
        "at_least_eps",
        "eps is the least variance (or deviation) here: it is added to every variance, not only to small ones",
        [
            _norm(root=lambda v, eps: torch.sqrt(v.clamp(min=eps))),
            _norm(root=lambda v, eps: v.sqrt().clamp(min=eps)),
        ],
    ),
    Misconception(
        "mean_of_squares",
        "right near 0, and wrong for vectors with a large mean: the mean of the squares minus the square of the mean "
        "is the small difference of two large numbers; subtract the mean first",
        [
            _norm(variance=lambda x: (x**2).mean(-1, keepdim=True) - x.mean(-1, keepdim=True) ** 2),
            _norm(variance=lambda x: ((x**2).mean(-1, keepdim=True) - x.mean(-1, keepdim=True) ** 2).clamp(min=0)),
            _norm(variance=lambda x: ((x**2).mean(-1, keepdim=True) - x.mean(-1, keepdim=True) ** 2).abs()),
        ],
    ),
    Misconception(
        "no_keepdim",
        "mean and variance lost their axis: (B, T) does not line up with (B, T, C), and where it happens to, it does "
        "so with the wrong tokens",
        _no_keepdim,
    ),
    Misconception(
        "mean_absolute",
        "the differences are divided by their mean absolute value: the root of the mean square belongs there",
        _norm(root=lambda v, eps: v + eps, variance=lambda x: (x - _mean(x)).abs().mean(-1, keepdim=True)),
    ),
    Misconception(
        "unit_length",
        "every vector has length 1 before gamma: the squares were summed, and their mean is wanted",
        _norm(variance=lambda x: ((x - _mean(x)) ** 2).sum(-1, keepdim=True)),
    ),
    Misconception("cut_off", CUT_OFF, [_detached(layer_norm), _no_grad(layer_norm)]),
    Misconception(
        "partly_cut_off",
        "the results are right, and only part of the gradient comes back: mean or variance, or a parameter, was cut "
        "off, as by .detach()",
        [
            _norm(mean=lambda x: _mean(x).detach()),
            _norm(variance=lambda x: _variance(x).detach()),
            _norm(mean=lambda x: _mean(x).detach(), variance=lambda x: _variance(x).detach()),
            lambda x, gamma, beta, eps=1e-5: layer_norm(x, gamma.detach(), beta.detach(), eps),
            lambda x, gamma, beta, eps=1e-5: layer_norm(x.detach(), gamma, beta, eps),
        ],
    ),
    Misconception("numpy_refused", NO_NUMPY, _through_numpy(layer_norm)),
    Misconception("becomes_float32", BECOMES_FLOAT32, _as(layer_norm, torch.float32)),
    Misconception("becomes_float64", BECOMES_FLOAT64, _as(layer_norm, torch.float64)),
    Misconception(
        "overwrites_inputs",
        "an input is another after the call: an operation in place, such as -= or mul_, writes into the tensor given",
        [
            _overwriting(layer_norm, _scaled_in_place),
            _overwriting(layer_norm, lambda x, gamma, *rest: gamma.add_(1.0)),
            _overwriting(layer_norm, lambda x, gamma, *rest: x.copy_(layer_norm(x, gamma, *rest))),
        ],
    ),
)


# --- feed_forward ----------------------------------------------------------------------------------------------------


def feed_forward(x, w1, b1, w2, b2):
    return torch.relu(x @ w1 + b1) @ w2 + b2


def network_of_torch(x, w1, b1, w2, b2):
    return functional.linear(functional.linear(x, w1.T, b1).relu(), w2.T, b2)


def network_by_einsum(x, w1, b1, w2, b2):
    hidden = torch.einsum("...c,cf->...f", x, w1) + b1
    return torch.einsum("...f,fc->...c", torch.where(hidden > 0, hidden, torch.zeros_like(hidden)), w2) + b2


def network_by_loops(x, w1, b1, w2, b2):
    rows = []
    for row in x.reshape(-1, x.shape[-1]):
        hidden = (row[:, None] * w1).sum(0) + b1
        out = b2
        for n in range(len(b1)):
            if hidden[n] > 0:
                out = out + hidden[n] * w2[n]
        rows.append(out)
    return torch.stack(rows).reshape(*x.shape[:-1], len(b2))


def network_by_clamp(x, w1, b1, w2, b2):
    return torch.matmul(torch.clamp(torch.matmul(x, w1).add(b1), min=0), w2).add(b2)


def _network(bend=torch.relu, first=lambda y, b1: y + b1, last=lambda y, b2, x: y + b2):
    """A feed-forward network with one of its parts replaced."""
    return lambda x, w1, b1, w2, b2: last(bend(first(x @ w1, b1)) @ w2, b2, x)


def network_cases(rng):
    def case(check, lead, c, f, dtype=np.float64, spread=1.0):
        shapes = ((*lead, c), (c, f), (f,), (f, c), (c,))
        x, *parameters = (rng.normal(size=shape).astype(dtype) for shape in shapes)
        return Case(check, (spread * x, *parameters))

    yield case("network", (2, 3), 4, 5)
    yield case("network", (4, 5), 3, 6, spread=8.0)  # a relu that ends at 6, as relu6 does, shows here
    yield case("network", (3, 3), 3, 3)
    yield case("network", (3, 2), 5, 7, np.float32)
    yield case("sizes_of_one", (1, 1), 4, 5)
    yield case("sizes_of_one", (2, 3), 1, 4)
    yield case("sizes_of_one", (2, 3), 4, 1)
    yield case("sizes_of_one", (), 3, 4)
    yield case("sizes_of_one", (4,), 3, 5)
    yield case("sizes_of_one", (2, 1, 3), 2, 5)
    yield case(DIFFERENTIABLE, (2, 3), 4, 5)
    yield case(KEEPS_DTYPE, (2, 3), 4, 5, np.float32)
    yield case(KEEPS_DTYPE, (2, 3), 4, 5)


NETWORK_MISCONCEPTIONS = (
    Misconception(
        "no_relu",
        "nothing bends between the two products: together they are then a single linear map, w1 w2",
        _network(bend=lambda y: y),
    ),
    Misconception(
        "relu_at_the_end",
        "no number of the result is negative: the relu came at the end, or there too; it belongs between the two "
        "products alone",
        [
            _network(bend=lambda y: y, last=lambda y, b2, x: torch.relu(y + b2)),
            _network(last=lambda y, b2, x: torch.relu(y + b2)),
            _network(last=lambda y, b2, x: torch.relu(y) + b2),
        ],
    ),
    Misconception(
        "relu_of_the_input",
        "the negative numbers of x were cut, not those between the two products",
        [
            lambda x, w1, b1, w2, b2: (torch.relu(x) @ w1 + b1) @ w2 + b2,
            lambda x, w1, b1, w2, b2: feed_forward(torch.relu(x), w1, b1, w2, b2),
        ],
    ),
    Misconception(
        "another_curve",
        "another function stands in the place of relu, such as gelu, tanh, a sigmoid or a leaky relu",
        [
            *map(
                lambda bend: _network(bend=bend),
                (functional.gelu, torch.tanh, torch.sigmoid, functional.silu, functional.leaky_relu, torch.abs),
            ),
            _network(bend=lambda y: functional.gelu(y, approximate="tanh")),
            _network(bend=functional.softplus),
            _network(bend=functional.elu),
            _network(bend=functional.relu6),
            _network(bend=lambda y: torch.relu(y) ** 2),
            _network(bend=lambda y: y.softmax(-1)),
        ],
    ),
    Misconception("no_b1", "b1 plays no part: it is added before the relu", _network(first=lambda y, b1: y)),
    Misconception("no_b2", "b2 plays no part: it is added at the end", _network(last=lambda y, b2, x: y)),
    Misconception(
        "no_biases",
        "neither b1 nor b2 plays a part: each is added to its product",
        _network(first=lambda y, b1: y, last=lambda y, b2, x: y),
    ),
    Misconception(
        "b1_after_relu",
        "b1 was added after the relu: it belongs before, since it says where each number starts to count",
        lambda x, w1, b1, w2, b2: (torch.relu(x @ w1) + b1) @ w2 + b2,
    ),
    Misconception(
        "subtracts_biases",
        "a bias was subtracted: both are added",
        [
            _network(first=lambda y, b1: y - b1),
            _network(last=lambda y, b2, x: y - b2),
            _network(first=lambda y, b1: y - b1, last=lambda y, b2, x: y - b2),
        ],
    ),
    Misconception(
        "residual_inside",
        "x was added to the result: that happens in the layer around the network, once",
        _network(last=lambda y, b2, x: y + b2 + x),
    ),
    Misconception(
        "transposed_weights",
        "w1 or w2 was used transposed, which fits only where C = F: they are (in, out), x @ w",
        [
            lambda x, w1, b1, w2, b2: torch.relu(x @ w1.T + b1) @ w2.T + b2,
            lambda x, w1, b1, w2, b2: functional.linear(torch.relu(functional.linear(x, w1, b1)), w2, b2),
            lambda x, w1, b1, w2, b2: torch.relu(x @ w1.T + b1) @ w2 + b2,
            lambda x, w1, b1, w2, b2: torch.relu(x @ w1 + b1) @ w2.T + b2,
        ],
    ),
    Misconception(
        "weights_swapped",
        "w1 and w2, or b1 and b2, stand in each other's place, which fits only where C = F",
        [
            lambda x, w1, b1, w2, b2: feed_forward(x, w2, b1, w1, b2),
            lambda x, w1, b1, w2, b2: feed_forward(x, w1, b2, w2, b1),
            lambda x, w1, b1, w2, b2: feed_forward(x, w2, b2, w1, b1),
        ],
    ),
    Misconception(
        "hidden",
        "the F numbers between the products came back: they go through w2 and b2",
        lambda x, w1, b1, w2, b2: torch.relu(x @ w1 + b1),
    ),
    Misconception("cut_off", CUT_OFF, [_detached(feed_forward), _no_grad(feed_forward)]),
    Misconception(
        "partly_cut_off",
        "the results are right, and only part of the gradient comes back: x or a parameter was cut off, as by "
        ".detach()",
        [
            lambda x, w1, b1, w2, b2: feed_forward(x.detach(), w1, b1, w2, b2),
            lambda x, w1, b1, w2, b2: feed_forward(x, w1.detach(), b1.detach(), w2, b2),
            lambda x, w1, b1, w2, b2: torch.relu(x @ w1 + b1).detach() @ w2 + b2,
        ],
    ),
    Misconception("numpy_refused", NO_NUMPY, _through_numpy(feed_forward)),
    Misconception("becomes_float32", BECOMES_FLOAT32, _as(feed_forward, torch.float32)),
    Misconception("becomes_float64", BECOMES_FLOAT64, _as(feed_forward, torch.float64)),
    Misconception(
        "overwrites_inputs",
        "an input is another after the call: an operation in place, such as += or relu_, writes into the tensor given",
        [
            _overwriting(feed_forward, lambda x, *rest: x.relu_()),
            _overwriting(feed_forward, lambda x, w1, b1, w2, b2: x.add_(b2)),
            _overwriting(feed_forward, lambda x, w1, b1, w2, b2: b1.add_(1)),
        ],
    ),
)


# --- the layers, as references and with parts replaced ---------------------------------------------------------------


def _attention(x_q, x_kv, p, name, h, mask, **how):
    """Multi-head attention with the matrices of `name` in p; `how` replaces a part, by name.

    scale, split, merge, masked: see the wrong answers; without_o leaves out the last product.
    """
    q, k, v = (x @ p[f"{name}_w_{part}"] for x, part in ((x_q, "q"), (x_kv, "k"), (x_kv, "v")))
    split = how.get("split", _split)
    q, k, v = split(q, h), split(k, h), split(v, h)
    if how.get("swap"):
        q, k = k, q
    scores = q @ k.transpose(-1, -2) * how.get("scale", _one_head)(q, h)
    weights = how.get("masked", _masked)(scores, mask)
    out = how.get("merge", _merge)(weights @ v)
    return out if how.get("without_o") else out @ p[f"{name}_w_o"]


def _one_head(q, h):
    return 1 / math.sqrt(q.shape[-1])


def _split(x, h):
    return x.unflatten(-1, (h, -1)).transpose(1, 2)


def _merge(x):
    return x.transpose(1, 2).flatten(2)


def _masked(scores, mask):
    scores = torch.where(mask, scores, -torch.inf)
    top = scores.amax(-1, keepdim=True).detach()
    e = torch.exp(scores - torch.where(top.isinf(), 0.0, top))
    total = e.sum(-1, keepdim=True)
    return e / torch.where(total == 0, 1.0, total)


def _by_name(p, n, norm=layer_norm, eps=1e-5):
    return lambda x: norm(x, p[f"norm{n}_gamma"], p[f"norm{n}_beta"], eps)


def _post(x, f, norm):
    return norm(x + f(x))


# How something made of x, f(x), is put together with x; wrong ways by name.
WAYS: dict[str, Any] = {
    "post": _post,
    "no_residual": lambda x, f, norm: norm(f(x)),
    "pre": lambda x, f, norm: x + f(norm(x)),
    "inner": lambda x, f, norm: x + norm(f(x)),
    "no_norm": lambda x, f, norm: x + f(x),
    "skipped": lambda x, f, norm: norm(x),
    "twice": lambda x, f, norm: norm(2 * x + f(x)),
    "normed_residual": lambda x, f, norm: norm(x) + f(norm(x)),
    "both": lambda x, f, norm: norm(x + f(norm(x))),
    "after": lambda x, f, norm: norm(x) + f(x),
}


def _network_of(p, bend=torch.relu, biases=True):
    if biases:
        return lambda y: bend(y @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
    return lambda y: bend(y @ p["w1"]) @ p["w2"]


def _encoder(ways=("post", "post"), norms=(1, 2), norm=layer_norm, eps=1e-5, bend=torch.relu, biases=True, **how):
    """An encoder layer with some of its parts replaced; without arguments it is a right one."""

    def encoder(x, p, h, mask):
        first, second = (_by_name(p, n, norm, eps) for n in norms)
        y = WAYS[ways[0]](x, lambda z: _attention(z, z, p, "self", h, mask, **how), first)
        return WAYS[ways[1]](y, _network_of(p, bend, biases), second)

    return encoder


def encoder_layer(x, p, h, mask):
    y = layer_norm(x + _attention(x, x, p, "self", h, mask), p["norm1_gamma"], p["norm1_beta"])
    return layer_norm(y + feed_forward(y, p["w1"], p["b1"], p["w2"], p["b2"]), p["norm2_gamma"], p["norm2_beta"])


def layer_of_torch(x, p, h, mask):
    """By torch's own layer norm and scaled dot-product attention."""
    c = x.shape[-1]
    q, k, v = (functional.linear(x, p[f"self_w_{n}"].T).view(*x.shape[:2], h, -1).transpose(1, 2) for n in "qkv")
    heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    heads = torch.where(mask.any(-1, keepdim=True), heads, 0.0)
    x = x + heads.transpose(1, 2).reshape(x.shape) @ p["self_w_o"]
    x = functional.layer_norm(x, (c,), p["norm1_gamma"], p["norm1_beta"])
    hidden = functional.relu(torch.addmm(p["b1"], x.reshape(-1, c), p["w1"]))
    return functional.layer_norm(x + (hidden @ p["w2"] + p["b2"]).view_as(x), (c,), p["norm2_gamma"], p["norm2_beta"])


def layer_by_loops(x, p, h, mask):
    b, t, c = x.shape
    d = c // h
    allowed = mask.expand(b, h, t, t)
    out = []
    for sentence, may in zip(x, allowed, strict=True):
        heads = []
        for n in range(h):
            q, k, v = (sentence @ p[f"self_w_{part}"][:, n * d : (n + 1) * d] for part in "qkv")
            scores = q @ k.T / d**0.5
            weights = torch.softmax(scores.masked_fill(~may[n], -1e30), dim=-1) * may[n]
            heads.append(weights @ v)
        y = norm_by_var(sentence + torch.cat(heads, dim=-1) @ p["self_w_o"], p["norm1_gamma"], p["norm1_beta"])
        z = torch.clamp(y @ p["w1"] + p["b1"], min=0) @ p["w2"] + p["b2"] + y
        out.append(norm_by_var(z, p["norm2_gamma"], p["norm2_beta"]))
    return torch.stack(out)


def layer_by_einsum(x, p, h, mask):
    w_q, w_k, w_v = (p[f"self_w_{n}"].unflatten(1, (h, -1)) for n in "qkv")  # (C, h, D)
    scores = torch.einsum("bic,chd,bje,ehd->bhij", x, w_q, x, w_k) * w_q.shape[-1] ** -0.5
    weights = torch.softmax(torch.where(mask, scores, -torch.inf), dim=-1).nan_to_num(0.0)
    w_o = p["self_w_o"].unflatten(0, (h, -1))  # (h, D, C)
    mixed = torch.einsum("bhij,bje,ehd,hdc->bic", weights, x, w_v, w_o)
    y = norm_by_einsum(x + mixed, p["norm1_gamma"], p["norm1_beta"])
    z = y + network_by_einsum(y, p["w1"], p["b1"], p["w2"], p["b2"])
    return norm_by_einsum(z, p["norm2_gamma"], p["norm2_beta"])


# --- encoder_layer ---------------------------------------------------------------------------------------------------


def _softmax_then_mask(scores, mask):
    return torch.softmax(scores, -1) * mask


def _filled_with_0(scores, mask):
    return torch.softmax(scores * mask, -1)


def _finite_fill(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, -1e9), -1)


def _nan_on_empty(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), -1)


def _mixed_heads(x, h):
    return x.reshape(x.shape[0], h, x.shape[1], -1)


def _interleaved(x, h):
    return x.unflatten(-1, (-1, h)).permute(0, 3, 1, 2)


def _merged_across(x):
    return x.flatten(1).unflatten(1, (x.shape[2], -1))


def _merged_interleaved(x):
    return x.permute(0, 2, 3, 1).flatten(2)


def _less_10000(scores, mask):
    return torch.softmax(scores - 10000.0 * ~mask, -1)


def _bool_added(scores, mask):
    return torch.softmax(scores + mask, -1)


def _transposed(*names):
    """An encoder layer in which some of the four matrices of the attention are used transposed."""

    def encoder(x, p, h, mask):
        return encoder_layer(x, p | {f"self_w_{name}": p[f"self_w_{name}"].T for name in names}, h, mask)

    return encoder


def _ff_of_x(x, p, h, mask):
    y = _by_name(p, 1)(x + _attention(x, x, p, "self", h, mask))
    return _by_name(p, 2)(y + _network_of(p)(x))


def _residual_of_x(x, p, h, mask):
    y = _by_name(p, 1)(x + _attention(x, x, p, "self", h, mask))
    return _by_name(p, 2)(x + _network_of(p)(y))


def _ff_first(x, p, h, mask):
    y = _by_name(p, 1)(x + _network_of(p)(x))
    return _by_name(p, 2)(y + _attention(y, y, p, "self", h, mask))


def _both_at_once(x, p, h, mask):
    return _by_name(p, 2)(x + _attention(x, x, p, "self", h, mask) + _network_of(p)(x))


def _one_norm_at_the_end(x, p, h, mask):
    y = x + _attention(x, x, p, "self", h, mask)
    return _by_name(p, 2)(y + _network_of(p)(y))


def _pre_with_final(x, p, h, mask):
    return _by_name(p, 2)(_encoder(ways=("pre", "pre"))(x, p, h, mask))


def _cut_in_p(answer, *names):
    """The right answer with some of p's tensors cut off from the gradient, in every layer."""

    def cut(p):
        if isinstance(p, dict):
            return {key: item.detach() if key in names else cut(item) for key, item in p.items()}
        return [cut(item) for item in p] if isinstance(p, list) else p

    return lambda *inputs: answer(*(cut(item) if isinstance(item, dict) else item for item in inputs))


def layer_parameters(rng, c, f, sides=("self",), dtype=np.float64):
    """The parameters of a layer, all N(0, 1) up to a factor that keeps the attention from saturating."""
    p = {f"{side}_w_{part}": rng.normal(size=(c, c)) / math.sqrt(c) for side in sides for part in "qkvo"}
    p |= {
        "w1": rng.normal(size=(c, f)),
        "b1": rng.normal(size=f),
        "w2": rng.normal(size=(f, c)),
        "b2": rng.normal(size=c),
    }
    for n in range(1, len(sides) + 2):
        p |= {f"norm{n}_gamma": 1 + rng.normal(size=c) / 2, f"norm{n}_beta": rng.normal(size=c)}
    return {name: item.astype(dtype) for name, item in p.items()}


def _allowed(rng, *shape):
    """A random mask whose rows all have a key that may be attended to, and most one that may not."""
    mask = rng.random(shape) < 0.6
    order = rng.random(shape).argsort(axis=-1)
    np.put_along_axis(mask, order[..., :1], True, axis=-1)
    np.put_along_axis(mask, order[..., 1:2], False, axis=-1)
    return mask


def encoder_cases(rng):
    def case(check, b, t, c, f, h, mask, dtype=np.float64):
        x = rng.normal(size=(b, t, c)).astype(dtype)
        return Case(check, (x, layer_parameters(rng, c, f, dtype=dtype), h, mask))

    every = np.ones((1, 1), bool)
    padding = np.arange(5) < np.array([3, 5])[:, None]  # (B, T)
    yield case("layer", 2, 4, 6, 5, 3, np.ones((4, 4), bool))
    yield case("layer", 4, 4, 4, 4, 4, np.ones((4, 4), bool))
    yield case("layer", 3, 2, 8, 6, 2, every, np.float32)
    yield case("masks", 2, 5, 6, 4, 3, padding[:, None, None])
    yield case("masks", 3, 3, 4, 3, 2, _allowed(rng, 3, 3))
    yield case("masks", 2, 4, 6, 7, 2, _allowed(rng, 2, 1, 4, 4))
    yield case("masks", 2, 3, 4, 5, 2, np.tril(np.ones((3, 3), bool)))
    yield case("heads", 2, 3, 5, 4, 1, np.ones((3, 3), bool))
    yield case("heads", 2, 3, 4, 6, 4, np.ones((3, 3), bool))
    yield case("heads", 2, 4, 4, 3, 2, _allowed(rng, 1, 2, 4, 4))
    empty = _allowed(rng, 4, 4)
    empty[[0, 2]] = False
    yield case("empty_rows", 2, 4, 6, 5, 2, empty)
    padded = padding.copy()
    padded[1] = False
    yield case("empty_rows", 2, 5, 4, 6, 2, padded[:, None, None])
    yield case(DIFFERENTIABLE, 2, 3, 4, 5, 2, _allowed(rng, 3, 3))
    yield case(KEEPS_DTYPE, 2, 3, 4, 5, 2, np.ones((3, 3), bool), np.float32)
    yield case(KEEPS_DTYPE, 2, 3, 4, 5, 2, np.ones((3, 3), bool))


def _both_ways(**parts):
    """A wrong encoder layer."""
    return _encoder(**parts)


ENCODER_MISCONCEPTIONS = (
    Misconception(
        "no_residual",
        "neither sum has its first half: these are norm(attention(x)) and norm(feed_forward(y)), so what a token was "
        "is lost except for what the attention carries",
        _both_ways(ways=("no_residual", "no_residual")),
    ),
    Misconception(
        "no_residual_attention",
        "x is missing from the first sum: norm1 is of x + attention(x)",
        _both_ways(ways=("no_residual", "post")),
    ),
    Misconception(
        "no_residual_feed_forward",
        "y is missing from the second sum: norm2 is of y + feed_forward(y)",
        _both_ways(ways=("post", "no_residual")),
    ),
    Misconception(
        "pre_norm",
        "each norm was applied to what goes into the attention or the network, and not to the sum: that is pre-norm; "
        "here the norm comes last",
        [
            _both_ways(ways=("pre", "pre")),
            _pre_with_final,
            _both_ways(ways=("pre", "post")),
            _both_ways(ways=("post", "pre")),
        ],
    ),
    Misconception(
        "norm_inside_the_sum",
        "only what the attention or the network gave was normalised, and x was added afterwards: the norm is of the "
        "sum",
        [
            _both_ways(ways=("inner", "inner")),
            _both_ways(ways=("inner", "post")),
            _both_ways(ways=("post", "inner")),
            _both_ways(ways=("after", "after")),
        ],
    ),
    Misconception(
        "no_norm",
        "a norm is missing: each of the two sums has its own",
        [
            _both_ways(ways=("no_norm", "no_norm")),
            _both_ways(ways=("post", "no_norm")),
            _both_ways(ways=("no_norm", "post")),
            _one_norm_at_the_end,
        ],
    ),
    Misconception(
        "norms_before_and_after",
        "what goes into the attention and the network was normalised as well as the sum: the norm comes once, at the "
        "end",
        [_both_ways(ways=("both", "both")), _both_ways(ways=("normed_residual", "normed_residual"))],
    ),
    Misconception(
        "norms_swapped",
        "norm1 and norm2 stand in each other's place",
        _both_ways(norms=(2, 1)),
    ),
    Misconception(
        "one_norm_for_both",
        "one gamma and one beta served both norms: norm1 has its own and norm2 has its own",
        [_both_ways(norms=(1, 1)), _both_ways(norms=(2, 2))],
    ),
    Misconception(
        "sample_variance",
        "the numbers are those of norms whose variance is divided by C − 1: here it is over C",
        [
            _both_ways(norm=_norm(variance=lambda x: x.var(-1, keepdim=True))),
            _both_ways(norm=_norm(variance=lambda x: x.var(-1, keepdim=True), root=lambda v, eps: v.sqrt() + eps)),
        ],
    ),
    Misconception(
        "no_gamma_no_beta",
        "the norms' gammas and betas play no part",
        _both_ways(norm=_norm(scale=lambda y, gamma, beta: y)),
    ),
    Misconception(
        "another_eps",
        "the numbers are those of another eps in the norms: here it is 1e-5, inside the root",
        [
            *(_both_ways(eps=eps) for eps in (1e-6, 1e-12, 1e-3)),
            _both_ways(norm=_norm(root=lambda v, eps: v.sqrt() + eps)),
            _both_ways(norm=_norm(root=lambda v, eps: v.sqrt() + eps), eps=1e-6),
        ],
    ),
    Misconception(
        "norm_over_tokens",
        "the norms ran over the tokens, or over all numbers of a sentence: each token is normalised by itself",
        [_both_ways(norm=_over(-2)), _both_ways(norm=_over(-1, -2))],
    ),
    Misconception(
        "network_reads_x",
        "the feed-forward network was given x: it reads y, what the attention and norm1 made of it",
        _ff_of_x,
    ),
    Misconception(
        "residual_from_x",
        "x was added to what the network gave: the second sum is of y, which went into the network",
        _residual_of_x,
    ),
    Misconception(
        "network_first",
        "the feed-forward network came before the attention",
        _ff_first,
    ),
    Misconception(
        "side_by_side",
        "attention and network both read x and were added together: the network comes after the attention",
        _both_at_once,
    ),
    Misconception(
        "no_network",
        "w1, b1, w2 and b2 play no part: after the attention comes the feed-forward network",
        [
            _both_ways(ways=("post", "skipped")),
            lambda x, p, h, mask: _by_name(p, 1)(x + _attention(x, x, p, "self", h, mask)),
        ],
    ),
    Misconception(
        "no_attention",
        "no token depends on another: the attention is missing",
        _both_ways(ways=("skipped", "post")),
    ),
    Misconception(
        "mask_ignored",
        "the results are those without a mask",
        _both_ways(masked=lambda scores, mask: torch.softmax(scores, -1)),
    ),
    Misconception(
        "inverted_mask",
        "the keys that the mask allows weigh 0 and the others share the 1: True was read as hidden",
        [
            _both_ways(masked=lambda scores, mask: _masked(scores, ~mask)),
            _both_ways(masked=lambda scores, mask: _nan_on_empty(scores, ~mask)),
        ],
    ),
    Misconception(
        "masks_queries",
        "the mask hides queries, not keys: its last two axes were swapped",
        [
            _both_ways(masked=lambda scores, mask: _masked(scores, mask.mT)),
            _both_ways(masked=lambda scores, mask: _nan_on_empty(scores, mask.mT)),
        ],
    ),
    Misconception(
        "mask_after_softmax",
        "weights of hidden keys were set to 0 after the softmax, and what they took was not shared out again",
        _both_ways(masked=_softmax_then_mask),
    ),
    Misconception(
        "masked_score_0",
        "a hidden key weighs as much as a key with score 0: only the exponential of −∞ is 0",
        _both_ways(masked=_filled_with_0),
    ),
    Misconception(
        "bool_added",
        "1 was added to the scores of the keys that may be read: the others still weigh, by a factor of e less",
        _both_ways(masked=_bool_added),
    ),
    Misconception(
        "even_on_empty_row",
        "a token that may attend to nothing takes an even share of every value: its attention is 0",
        [_both_ways(masked=_finite_fill)],
    ),
    Misconception(
        "all_on_empty_row",
        "a token that may attend to nothing reads all words as if nothing were hidden: one and the same number was "
        "taken from all its scores, which a softmax does not feel, and its attention is to be 0",
        _both_ways(masked=_less_10000),
    ),
    Misconception(
        "nan_on_empty_row",
        "a token that may attend to nothing gives NaN: its softmax is 0 / 0, and the attention is to be 0",
        _both_ways(masked=_nan_on_empty),
    ),
    Misconception(
        "always_causal",
        "no token attends to a later one, whatever the mask says: in the encoder every word may read every word",
        _both_ways(
            masked=lambda scores, mask: _masked(scores, mask & torch.ones(scores.shape[-2:], dtype=torch.bool).tril())
        ),
    ),
    Misconception(
        "one_head",
        "the numbers are those of a single head: h plays no part",
        _both_ways(split=lambda x, h: x[:, None]),
    ),
    Misconception(
        "heads_mixed",
        "the heads are not runs of D columns of a token: they were cut across tokens, or every h-th column was taken",
        [
            _both_ways(split=_mixed_heads),
            _both_ways(split=_mixed_heads, merge=_merged_across),
            _both_ways(split=_interleaved),
            _both_ways(split=_interleaved, merge=_merged_interleaved),
        ],
    ),
    Misconception(
        "heads_joined_wrongly",
        "the heads were cut rightly and not put side by side again for each token: the axes of heads and tokens change "
        "places before the reshape",
        [_both_ways(merge=_merged_across), _both_ways(merge=_merged_interleaved)],
    ),
    Misconception(
        "transposed_matrices",
        "matrices of the attention were used transposed: they are (in, out), x @ w",
        [_transposed(*"qkvo"), _transposed(*"qkv"), _transposed("o")],
    ),
    Misconception(
        "wrong_scale",
        "the scores are not divided by √D, D = C / h the width of one head: without it, or by √C, the weights are "
        "others",
        [
            _both_ways(scale=lambda q, h: 1.0),
            _both_ways(scale=lambda q, h: 1 / math.sqrt(q.shape[-1] * h)),
            _both_ways(scale=lambda q, h: 1 / q.shape[-1]),
        ],
    ),
    Misconception(
        "q_and_k_swapped",
        "queries and keys stand in each other's place",
        _both_ways(swap=True),
    ),
    Misconception(
        "no_output_matrix",
        "the joined heads were added as they are: they go through self_w_o first",
        _both_ways(without_o=True),
    ),
    Misconception(
        "no_relu",
        "nothing bends in the feed-forward network: relu stands between its products",
        _both_ways(bend=lambda y: y),
    ),
    Misconception(
        "another_curve",
        "another function stands in the place of relu, such as gelu or tanh",
        [_both_ways(bend=functional.gelu), _both_ways(bend=torch.tanh), _both_ways(bend=functional.silu)],
    ),
    Misconception("no_biases", "b1 and b2 play no part: each is added to its product", _both_ways(biases=False)),
    Misconception("cut_off", CUT_OFF, [_detached(encoder_layer), _no_grad(encoder_layer)]),
    Misconception(
        "partly_cut_off",
        "the results are right, and only part of the gradient comes back: something on the way was cut off, as by "
        ".detach()",
        [
            lambda x, p, h, mask: encoder_layer(x.detach(), p, h, mask),
            _cut_in_p(encoder_layer, *(f"self_w_{n}" for n in "qkvo")),
            _cut_in_p(encoder_layer, "self_w_q", "self_w_k"),
            _encoder(masked=lambda scores, mask: _masked(scores, mask).detach()),
            _cut_in_p(encoder_layer, "w1", "b1", "w2", "b2"),
            _cut_in_p(encoder_layer, "norm1_gamma", "norm1_beta", "norm2_gamma", "norm2_beta"),
        ],
    ),
    Misconception("numpy_refused", NO_NUMPY, _through_numpy(encoder_layer)),
    Misconception("becomes_float32", BECOMES_FLOAT32, _as(encoder_layer, torch.float32)),
    Misconception("becomes_float64", BECOMES_FLOAT64, _as(encoder_layer, torch.float64)),
    Misconception(
        "overwrites_inputs",
        "an input is another after the call: an operation in place, such as x += …, or a new entry of p, changes what "
        "was given",
        [
            _overwriting(encoder_layer, lambda x, p, h, mask: x.add_(1.0)),
            _overwriting(encoder_layer, lambda x, p, h, mask: x.copy_(encoder_layer(x, p, h, mask))),
            _overwriting(encoder_layer, lambda x, p, h, mask: p.update(h=h)),
            _overwriting(encoder_layer, lambda x, p, h, mask: mask.logical_not_()),
        ],
    ),
)


# --- transformer -----------------------------------------------------------------------------------------------------


def sinusoids(t, c, base=10000.0, start=0):
    angles = (start + torch.arange(t))[:, None] * base ** (-torch.arange(0, c, 2) / c)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # sin in even columns, cos in odd ones


def _decoder(order=("self", "cross", "network"), ways=("post",) * 3, norm=layer_norm, cross=lambda y, enc: enc, **how):
    """A decoder layer with some of its parts replaced; without arguments it is a right one.

    order: of the three parts; each keeps its own norm.
    cross: `(y, enc) -> what is read` in cross-attention.
    """

    def decoder(y, enc, p, h, tgt_mask, src_mask):
        parts = {
            "self": lambda z: _attention(z, z, p, "self", h, tgt_mask, **how),
            "cross": lambda z: _attention(z, cross(y, enc), p, "cross", h, src_mask, **how),
            "network": _network_of(p),
        }
        for name, way in zip(order, ways, strict=True):
            n = ("self", "cross", "network").index(name) + 1
            y = WAYS[way](y, parts[name], _by_name(p, n, norm))
        return y

    return decoder


def _transformer(
    scale=math.sqrt,
    positions=sinusoids,
    tgt_positions=None,
    encode=None,
    decode=None,
    encoder=None,
    decoder=None,
    enc_mask=lambda src_mask, tgt_mask: src_mask[:, None, None],
    self_mask=lambda src_mask, tgt_mask: tgt_mask,
    cross_mask=lambda src_mask, tgt_mask: src_mask[:, None, None],
    project=lambda y, e: y @ e.T,
    add=lambda x, table: x + table,
):
    """A transformer with some of its parts replaced; without arguments it is a right one.

    scale:          the factor of the embeddings, of C; positions, tgt_positions: `(T, C) -> table`.
    encode, decode: which layers run, from the list; encoder, decoder: a layer.
    enc_mask, self_mask, cross_mask: the masks of the three kinds of attention, from src_mask and tgt_mask.
    project:        `(y, embedding) -> logits`; add: how positions join the embeddings.
    """
    encoder, decoder = encoder or _encoder(), decoder or _decoder()

    def transformer(src, tgt_in, p, h, src_mask, tgt_mask):
        e = p["embedding"]
        c = e.shape[1]
        x = add(e[src] * scale(c), positions(src.shape[1], c))
        y = add(e[tgt_in] * scale(c), (tgt_positions or positions)(tgt_in.shape[1], c))
        for layer in encode(p["encoder"]) if encode else p["encoder"]:
            x = encoder(x, layer, h, enc_mask(src_mask, tgt_mask))
        for layer in decode(p["decoder"]) if decode else p["decoder"]:
            y = decoder(y, x, layer, h, self_mask(src_mask, tgt_mask), cross_mask(src_mask, tgt_mask))
        return project(y, e)

    return transformer


def transformer(src, tgt_in, p, h, src_mask, tgt_mask):
    e, seen = p["embedding"], src_mask[:, None, None]
    x = e[src] * math.sqrt(e.shape[1]) + sinusoids(src.shape[1], e.shape[1])
    for layer in p["encoder"]:
        x = encoder_layer(x, layer, h, seen)
    y = e[tgt_in] * math.sqrt(e.shape[1]) + sinusoids(tgt_in.shape[1], e.shape[1])
    decoder = _decoder()
    for layer in p["decoder"]:
        y = decoder(y, x, layer, h, tgt_mask, seen)
    return y @ e.T


def _heads_of_torch(x_q, x_kv, p, name, h, mask):
    """Multi-head attention by torch's own function."""
    q, k, v = (x @ p[f"{name}_w_{n}"] for x, n in ((x_q, "q"), (x_kv, "k"), (x_kv, "v")))
    q, k, v = (part.view(*part.shape[:2], h, -1).transpose(1, 2) for part in (q, k, v))
    found = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return found.transpose(1, 2).reshape(x_q.shape) @ p[f"{name}_w_o"]


def _table_by_loops(t, c):
    rows = [
        [math.sin(i / 10000 ** (2 * (j // 2) / c) + (math.pi / 2 if j % 2 else 0)) for j in range(c)] for i in range(t)
    ]
    return torch.tensor(rows)


def transformer_of_torch(src, tgt_in, p, h, src_mask, tgt_mask):
    c = p["embedding"].shape[1]

    def norm(x, layer, n):
        return functional.layer_norm(x, (c,), layer[f"norm{n}_gamma"], layer[f"norm{n}_beta"])

    def network(x, layer):
        return functional.linear(functional.linear(x, layer["w1"].T, layer["b1"]).relu(), layer["w2"].T, layer["b2"])

    x, y = (
        functional.embedding(ids, p["embedding"] * c**0.5) + _table_by_loops(ids.shape[1], c) for ids in (src, tgt_in)
    )
    seen = src_mask.unsqueeze(1).unsqueeze(1)
    for layer in p["encoder"]:
        x = norm(x + _heads_of_torch(x, x, layer, "self", h, seen), layer, 1)
        x = norm(x + network(x, layer), layer, 2)
    for layer in p["decoder"]:
        y = norm(y + _heads_of_torch(y, y, layer, "self", h, tgt_mask), layer, 1)
        y = norm(y + _heads_of_torch(y, x, layer, "cross", h, seen), layer, 2)
        y = norm(y + network(y, layer), layer, 3)
    return functional.linear(y, p["embedding"])


def transformer_by_sentence(src, tgt_in, p, h, src_mask, tgt_mask):
    """One sentence after the other, its padding cut away before anything is computed."""
    out = []
    for b in range(len(src)):
        words = src[b][src_mask[b]][None]
        places = src_mask[b].nonzero()[:, 0]
        mask = tgt_mask[b : b + 1] if tgt_mask.ndim == 4 and len(tgt_mask) > 1 else tgt_mask

        def own_places(t, c, places=places):
            return sinusoids(src.shape[1], c)[places]

        whole = _transformer(positions=own_places, tgt_positions=sinusoids)
        out.append(whole(words, tgt_in[b : b + 1], p, h, torch.ones_like(words, dtype=torch.bool), mask))
    return torch.cat(out)


def transformer_by_one_hot(src, tgt_in, p, h, src_mask, tgt_mask):
    e = p["embedding"]
    ids = [functional.one_hot(side, len(e)).to(e.dtype) for side in (src, tgt_in)]
    x, y = (
        math.sqrt(e.shape[1]) * (one_hot @ e) + sinusoids(one_hot.shape[1], e.shape[1]).to(e.dtype) for one_hot in ids
    )
    for layer in p["encoder"]:
        x = layer_by_einsum(x, layer, h, src_mask[:, None, None, :].expand(-1, h, src.shape[1], -1))
    for layer in p["decoder"]:
        y = _decoder(norm=norm_by_loops)(y, x, layer, h, tgt_mask, src_mask[:, None, None])
    return torch.einsum("btc,vc->btv", y, e)


def transformer_cases(rng):
    def case(check, b, ts, tt, v, c, f, h, layers, *, src_mask="all", tgt_mask="causal", repeat=False):
        src, tgt_in = rng.integers(v, size=(b, ts)), rng.integers(v, size=(b, tt))
        if repeat:
            src[:], tgt_in[:] = src[:, :1], tgt_in[:, :1]
        p = {
            "embedding": (rng.normal(size=(v, c)) / math.sqrt(c)).astype(np.float32),
            "encoder": [layer_parameters(rng, c, f, dtype=np.float32) for _ in range(layers[0])],
            "decoder": [layer_parameters(rng, c, f, ("self", "cross"), np.float32) for _ in range(layers[1])],
        }
        seen = np.ones((b, ts), bool)
        if src_mask == "padding":
            seen = np.arange(ts) < (ts - 1 - np.arange(b) % (ts - 1))[:, None]
        elif src_mask == "left":
            seen = np.arange(ts) >= (1 + np.arange(b) % (ts - 1))[:, None]
        masks = {"causal": np.tril(np.ones((tt, tt), bool)), "all": np.ones((tt, tt), bool)}
        mask = (
            masks[tgt_mask]
            if tgt_mask in masks
            else _allowed(rng, *((b, 1, tt, tt) if tgt_mask == "each" else (tt, tt)))
        )
        return Case(check, (src, tgt_in, p, h, seen, mask))

    yield case("source_mask", 2, 5, 3, 7, 4, 5, 2, (1, 1), src_mask="padding")
    yield case("target_mask", 2, 3, 4, 6, 4, 5, 2, (1, 1), tgt_mask="drawn")
    yield case("layers", 2, 4, 3, 7, 6, 4, 3, (2, 2))
    yield case("logits", 2, 5, 4, 9, 6, 7, 3, (1, 1))
    yield case("logits", 4, 4, 4, 4, 4, 4, 4, (1, 1))
    yield case("logits", 1, 3, 2, 5, 8, 3, 1, (1, 1))
    yield case("layers", 2, 3, 4, 6, 4, 5, 2, (1, 3))
    yield case("layers", 3, 4, 2, 5, 4, 3, 1, (3, 1), src_mask="padding")
    yield case("positions", 1, 12, 9, 5, 6, 4, 2, (1, 1))
    yield case("positions", 2, 5, 6, 7, 4, 5, 2, (1, 1), repeat=True)
    yield case("source_mask", 3, 4, 4, 6, 6, 5, 2, (1, 2), src_mask="left", tgt_mask="all")
    yield case("source_mask", 3, 3, 3, 5, 4, 3, 1, (2, 1), src_mask="padding")
    yield case("target_mask", 2, 3, 4, 6, 6, 5, 3, (1, 2), tgt_mask="each", src_mask="padding")
    yield case("target_mask", 2, 3, 5, 6, 4, 5, 2, (1, 1), tgt_mask="all")
    yield case("target_mask", 2, 4, 4, 5, 4, 3, 2, (1, 1), tgt_mask="drawn")
    yield case(DIFFERENTIABLE, 2, 3, 4, 6, 4, 5, 2, (1, 2), src_mask="padding")
    yield case(KEEPS_DTYPE, 2, 4, 3, 6, 4, 5, 2, (1, 1))


def _read(number):
    """A decoder whose layers read another than the last encoder layer's output."""

    def transformer(src, tgt_in, p, h, src_mask, tgt_mask):
        e, seen = p["embedding"], src_mask[:, None, None]
        x = e[src] * math.sqrt(e.shape[1]) + sinusoids(src.shape[1], e.shape[1])
        outputs = [x]
        for layer in p["encoder"]:
            outputs.append(encoder_layer(outputs[-1], layer, h, seen))
        y = e[tgt_in] * math.sqrt(e.shape[1]) + sinusoids(tgt_in.shape[1], e.shape[1])
        for n, layer in enumerate(p["decoder"]):
            y = _decoder()(y, outputs[number(n, len(outputs))], layer, h, tgt_mask, seen)
        return y @ e.T

    return transformer


def _one_side_scaled(source):
    def transformer(src, tgt_in, p, h, src_mask, tgt_mask):
        c = p["embedding"].shape[1]
        half = {**p, "embedding": p["embedding"] / math.sqrt(c)}
        e = p["embedding"]
        x = (half if source else p)["embedding"][src] * math.sqrt(c) + sinusoids(src.shape[1], c)
        y = (p if source else half)["embedding"][tgt_in] * math.sqrt(c) + sinusoids(tgt_in.shape[1], c)
        for layer in p["encoder"]:
            x = encoder_layer(x, layer, h, src_mask[:, None, None])
        for layer in p["decoder"]:
            y = _decoder()(y, x, layer, h, tgt_mask, src_mask[:, None, None])
        return y @ e.T

    return transformer


def _sides_swapped(src, tgt_in, p, h, src_mask, tgt_mask):
    return _transformer(
        enc_mask=lambda s, t: torch.ones(1, 1, dtype=torch.bool),
        cross_mask=lambda s, t: torch.ones(1, 1, dtype=torch.bool),
    )(tgt_in, src, p, h, src_mask, torch.ones(src.shape[1], src.shape[1], dtype=torch.bool).tril())


def _doubled_exponent(t, c):
    angles = torch.arange(t)[:, None] * 10000.0 ** (-2 * torch.arange(0, c, 2) / c)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def _own_exponents(t, c):
    """Every column with an exponent of its own."""
    angles = torch.arange(t)[:, None] * 10000.0 ** (-torch.arange(c) / c)
    return torch.where(torch.arange(c) % 2 == 0, angles.sin(), angles.cos())


def _half_split(t, c):
    angles = torch.arange(t)[:, None] * 10000.0 ** (-torch.arange(0, c, 2) / c)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _cos_first(t, c):
    angles = torch.arange(t)[:, None] * 10000.0 ** (-torch.arange(0, c, 2) / c)
    return torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)


def _none(t, c):
    return torch.zeros(t, c)


def _every(src_mask, tgt_mask):
    return torch.ones(1, 1, dtype=torch.bool)


def _built_causal(src_mask, tgt_mask):
    return torch.ones(tgt_mask.shape[-2:], dtype=torch.bool).tril()


def _embedding_through_numpy(src, tgt_in, p, *rest):
    return transformer(src, tgt_in, p | {"embedding": torch.from_numpy(p["embedding"].numpy())}, *rest)


def _as_float64(answer):
    def wide(src, tgt_in, p, h, src_mask, tgt_mask):
        table = {key: item.double() for key, item in p.items() if key == "embedding"}
        sides = {s: [{k: t.double() for k, t in layer.items()} for layer in p[s]] for s in ("encoder", "decoder")}
        return answer(src, tgt_in, table | sides, h, src_mask, tgt_mask)

    return wide


TRANSFORMER_MISCONCEPTIONS = (
    Misconception(
        "no_sqrt_c",
        "the numbers are those of embeddings that were not multiplied by √C: beside positions of size 1 the words are "
        "too quiet",
        [_transformer(scale=lambda c: 1.0), _one_side_scaled(True), _one_side_scaled(False)],
    ),
    Misconception(
        "wrong_sqrt_c",
        "the embeddings have another factor than √C: they were multiplied by C, or divided",
        [_transformer(scale=lambda c: c), _transformer(scale=lambda c: 1 / math.sqrt(c))],
    ),
    Misconception(
        "positions_scaled_too",
        "the positions were multiplied by √C as well, or before it: only the embedding is, and the positions are "
        "added as they are",
        _transformer(positions=lambda t, c: math.sqrt(c) * sinusoids(t, c)),
    ),
    Misconception(
        "no_positions",
        "no positions were added, on one side or on both: a sentence of one repeated word then has one and the same "
        "vector everywhere",
        [
            _transformer(positions=_none),
            _transformer(tgt_positions=_none),
            _transformer(positions=_none, tgt_positions=sinusoids),
        ],
    ),
    Misconception(
        "other_positions",
        "the positions are others than the sinusoidal encoding: counted from 1, cosine first, halves side by side, or "
        "another exponent or base",
        [
            _transformer(positions=lambda t, c: sinusoids(t, c, start=1)),
            _transformer(tgt_positions=lambda t, c: sinusoids(t, c, start=1)),
            _transformer(positions=_half_split),
            _transformer(positions=_cos_first),
            _transformer(positions=lambda t, c: sinusoids(t, c, base=1000.0)),
            _transformer(positions=_doubled_exponent),
            _transformer(positions=_own_exponents),
        ],
    ),
    Misconception(
        "target_continues_positions",
        "the target's positions go on where the source's end: each side counts from 0",
        lambda src, tgt_in, *rest: _transformer(tgt_positions=lambda t, c: sinusoids(t, c, start=src.shape[1]))(
            src, tgt_in, *rest
        ),
    ),
    Misconception(
        "positions_multiplied",
        "the positions were multiplied with the embeddings: they are added",
        _transformer(add=lambda x, table: x * table),
    ),
    Misconception(
        "softmax_at_the_end",
        "each position's numbers went through a softmax or its logarithm: logits are wanted, the loss does the rest",
        [
            _transformer(project=lambda y, e: (y @ e.T).softmax(-1)),
            _transformer(project=lambda y, e: (y @ e.T).log_softmax(-1)),
        ],
    ),
    Misconception(
        "scaled_logits",
        "the logits are multiplied or divided by √C: the output takes the rows of embedding as they are",
        [
            _transformer(project=lambda y, e: math.sqrt(e.shape[1]) * (y @ e.T)),
            _transformer(project=lambda y, e: y @ e.T / math.sqrt(e.shape[1])),
        ],
    ),
    Misconception(
        "no_projection",
        "the decoder's vectors came back, (B, Tt, C): each is multiplied with all V rows of embedding",
        _transformer(project=lambda y, e: y),
    ),
    Misconception(
        "projection_not_transposed",
        "embedding was used as it is at the output, which fits only where V = C: each logit is a product with a row "
        "of it",
        _transformer(project=lambda y, e: y @ e),
    ),
    Misconception(
        "last_position_only",
        "the logits of the last position alone came back: training needs those of every position",
        [_transformer(project=lambda y, e: y[:, -1] @ e.T), _transformer(project=lambda y, e: y[:, -1:] @ e.T)],
    ),
    Misconception(
        "first_layer_only",
        "the numbers are those of one layer where there are several: every layer of the list runs once",
        [
            _transformer(encode=lambda layers: layers[:1], decode=lambda layers: layers[:1]),
            _transformer(encode=lambda layers: layers[:1]),
            _transformer(decode=lambda layers: layers[:1]),
            _transformer(encode=lambda layers: layers[-1:], decode=lambda layers: layers[-1:]),
        ],
    ),
    Misconception(
        "same_layer_again",
        "one layer's parameters served for all layers of its side",
        _transformer(encode=lambda ls: [ls[0]] * len(ls), decode=lambda ls: [ls[0]] * len(ls)),
    ),
    Misconception(
        "layers_reversed",
        "the layers ran from the last to the first",
        [
            _transformer(encode=lambda layers: layers[::-1], decode=lambda layers: layers[::-1]),
            _transformer(encode=lambda layers: layers[::-1]),
            _transformer(decode=lambda layers: layers[::-1]),
        ],
    ),
    Misconception(
        "pairs_of_layers",
        "decoder layer n read encoder layer n: every decoder layer reads what the last encoder layer gave",
        _read(lambda n, count: min(n + 1, count - 1)),
    ),
    Misconception(
        "zipped_layers",
        "where one side has more layers than the other, the surplus ones did not run",
        lambda src, tgt_in, p, *rest: transformer(
            src,
            tgt_in,
            p | {side: p[side][: min(len(p["encoder"]), len(p["decoder"]))] for side in ("encoder", "decoder")},
            *rest,
        ),
    ),
    Misconception(
        "reads_the_embedded_source",
        "cross-attention reads the source's embeddings, not what the encoder made of them",
        [_read(lambda n, count: 0), _transformer(encode=lambda layers: [])],
    ),
    Misconception(
        "source_not_read",
        "the logits do not depend on the source: cross-attention reads the target",
        [
            _transformer(decoder=_decoder(cross=lambda y, enc: y), cross_mask=_every),
            _transformer(decoder=_decoder(cross=lambda y, enc: y), cross_mask=lambda s, t: t),
        ],
    ),
    Misconception(
        "no_cross_attention",
        "the logits do not depend on the source: the decoder has no cross-attention",
        _transformer(decoder=_decoder(order=("self", "network"), ways=("post",) * 2)),
    ),
    Misconception(
        "sides_swapped",
        "source and target stand in each other's place: src goes through the encoder, tgt_in through the decoder",
        _sides_swapped,
    ),
    Misconception(
        "masks_swapped",
        "each mask is in the other's place: padding of the source was hidden in the decoder's self-attention, "
        "tgt_mask in the attention to the source or within it",
        [
            _transformer(enc_mask=lambda s, t: t, self_mask=lambda s, t: s[:, None, None], cross_mask=lambda s, t: t),
            _transformer(self_mask=lambda s, t: s[:, None, None], cross_mask=lambda s, t: t),
            _transformer(self_mask=lambda s, t: t & s[:, None, None]),
            _transformer(enc_mask=lambda s, t: t, cross_mask=lambda s, t: s[:, None, None]),
        ],
    ),
    Misconception(
        "source_padding_read",
        "padding of the source was read: src_mask belongs in the encoder's self-attention and in cross-attention",
        [
            _transformer(enc_mask=_every, cross_mask=_every),
            _transformer(enc_mask=_every),
            _transformer(cross_mask=_every),
        ],
    ),
    Misconception(
        "source_mask_inverted",
        "the words of the source were hidden and its padding was read: True is a word",
        _transformer(enc_mask=lambda s, t: ~s[:, None, None], cross_mask=lambda s, t: ~s[:, None, None]),
    ),
    Misconception(
        "masks_source_queries",
        "src_mask hides words that ask, not words that are read: it belongs on the axis of keys, (B, 1, 1, Ts)",
        [
            _transformer(enc_mask=lambda s, t: s[:, None, :, None]),
        ],
    ),
    Misconception(
        "target_mask_ignored",
        "the decoder reads every position of the target, whatever tgt_mask says",
        _transformer(self_mask=_every),
    ),
    Misconception(
        "target_mask_inverted",
        "tgt_mask was read the other way round: True may attend",
        _transformer(self_mask=lambda s, t: ~t),
    ),
    Misconception(
        "target_mask_transposed",
        "tgt_mask was read with queries as columns: its rows are the positions that ask",
        _transformer(self_mask=lambda s, t: t.mT),
    ),
    Misconception(
        "own_causal_mask",
        "right for a causal tgt_mask and not for another: the mask was built inside, or a triangle added to it",
        [_transformer(self_mask=_built_causal), _transformer(self_mask=lambda s, t: t & _built_causal(s, t))],
    ),
    Misconception(
        "causal_encoder",
        "no word of the source attends to a later one: the encoder reads in both directions",
        _transformer(
            enc_mask=lambda s, t: s[:, None, None] & torch.ones(s.shape[1], s.shape[1], dtype=torch.bool).tril()
        ),
    ),
    Misconception(
        "pre_norm",
        "the layers are pre-norm, x + f(norm(x)), on one side or on both: here each norm comes after its sum",
        [
            _transformer(encoder=_encoder(ways=("pre",) * 2), decoder=_decoder(ways=("pre",) * 3)),
            _transformer(decoder=_decoder(ways=("pre",) * 3)),
            _transformer(encoder=_encoder(ways=("pre",) * 2)),
        ],
    ),
    Misconception(
        "no_residual",
        "the sums of the layers have lost their first half: what came in is added to what attention and network made "
        "of it",
        [
            _transformer(encoder=_encoder(ways=("no_residual",) * 2), decoder=_decoder(ways=("no_residual",) * 3)),
            _transformer(encoder=_encoder(ways=("no_residual",) * 2)),
            _transformer(decoder=_decoder(ways=("no_residual",) * 3)),
        ],
    ),
    Misconception(
        "cross_before_self",
        "in the decoder cross-attention came before self-attention",
        _transformer(decoder=_decoder(order=("cross", "self", "network"))),
    ),
    Misconception(
        "no_self_attention",
        "no position of the target depends on another: the decoder has no self-attention",
        _transformer(decoder=_decoder(order=("cross", "network"), ways=("post",) * 2)),
    ),
    Misconception(
        "no_networks",
        "the feed-forward networks play no part, on one side or on both",
        [
            _transformer(
                encoder=_encoder(ways=("post", "skipped")),
                decoder=_decoder(order=("self", "cross"), ways=("post",) * 2),
            ),
            _transformer(decoder=_decoder(order=("self", "cross"), ways=("post",) * 2)),
        ],
    ),
    Misconception(
        "norm_at_the_end",
        "a norm stands between the last layer and the logits: post-norm layers already end with theirs",
        [
            _transformer(project=lambda y, e: functional.layer_norm(y, y.shape[-1:]) @ e.T),
            lambda src, tgt_in, p, *rest: _transformer(
                project=lambda y, e: (
                    layer_norm(y, p["decoder"][-1]["norm3_gamma"], p["decoder"][-1]["norm3_beta"]) @ e.T
                )
            )(src, tgt_in, p, *rest),
        ],
    ),
    Misconception(
        "one_head",
        "the numbers are those of a single head: h plays no part",
        _transformer(encoder=_encoder(split=lambda x, h: x[:, None]), decoder=_decoder(split=lambda x, h: x[:, None])),
    ),
    Misconception("cut_off", CUT_OFF, [_detached(transformer), _no_grad(transformer)]),
    Misconception(
        "partly_cut_off",
        "the results are right, and only part of the gradient comes back to p: something on the way was cut off, as by "
        ".detach() or .data",
        [
            _cut_in_p(transformer, "embedding"),
            _transformer(project=lambda y, e: y @ e.detach().T),
            _transformer(decoder=_decoder(cross=lambda y, enc: enc.detach())),
            _transformer(project=lambda y, e: y.detach() @ e.T),
            _transformer(add=lambda x, table: x.detach() + table),
            _cut_in_p(transformer, *(f"{side}_w_{n}" for side in ("self", "cross") for n in "qkvo")),
        ],
    ),
    Misconception("numpy_refused", NO_NUMPY, _embedding_through_numpy),
    Misconception(
        "becomes_float64",
        "parameters in float32 gave logits in float64, as happens where positions in float64 are added",
        [_as(transformer, torch.float64), _as_float64(transformer)],
    ),
    Misconception(
        "overwrites_inputs",
        "an input is another after the call: an operation in place, such as *= or a new entry of p, changes what was "
        "given",
        [
            _overwriting(transformer, lambda src, tgt_in, p, *rest: p["embedding"].mul_(2.0)),
            _overwriting(transformer, lambda src, tgt_in, p, *rest: p.update(width=1)),
            _overwriting(transformer, lambda src, tgt_in, p, *rest: p["encoder"].clear()),
            _overwriting(transformer, lambda src, tgt_in, p, h, s, t: s.logical_not_()),
            _overwriting(transformer, lambda src, tgt_in, p, h, s, t: t.logical_not_()),
            _overwriting(transformer, lambda src, *rest: src.zero_()),
        ],
    ),
)


# --- noam_rate -------------------------------------------------------------------------------------------------------


def noam_rate(step, d_model, warmup):
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def rate_by_cases(step, d_model, warmup):
    if step < warmup:
        return step / (warmup * math.sqrt(warmup) * math.sqrt(d_model))
    return 1 / math.sqrt(step * d_model)


def rate_by_numpy(step, d_model, warmup):
    return np.minimum(np.power(float(step), -0.5), step * np.power(float(warmup), -1.5)) / np.sqrt(d_model)


def rate_in_torch(step, d_model, warmup):
    step = torch.tensor(step, dtype=torch.float64)
    return torch.minimum(step.rsqrt(), step / warmup**1.5) * d_model**-0.5


def _rate(
    left=lambda step, warmup: step**-0.5,
    right=lambda step, warmup: step * warmup**-1.5,
    width=lambda d: d**-0.5,
    of=min,
):
    return lambda step, d_model, warmup: width(d_model) * of(left(step, warmup), right(step, warmup))


def rate_cases(rng):
    for check, steps in {"rises": (1, 7, 60, 399), "falls": (401, 1000, 40000), "peak": (400,)}.items():
        for step in steps:
            yield Case(check, (step, int(rng.integers(20, 600)), 400), relative=True)
    yield Case("rises", (int(rng.integers(2, 900)), 512, 4000), relative=True)
    yield Case("falls", (int(rng.integers(30, 90)), 7, 12), relative=True)
    for step in (24, 25, 26):
        yield Case("peak", (step, 64, 25), relative=True)
    yield Case("no_warmup", (1, 16, 1), relative=True)
    yield Case("no_warmup", (9, 64, 1), relative=True)


RATE_MISCONCEPTIONS = (
    Misconception(
        "max",
        "the larger of the two candidates was taken: the rate is then largest in the first steps and grows without end",
        _rate(of=max),
    ),
    Misconception(
        "step_from_0",
        "every number is that of the step before: step counts from 1 here",
        [
            lambda step, d_model, warmup: noam_rate(step - 1, d_model, warmup),
            lambda step, d_model, warmup: noam_rate(max(step - 1, 1e-30), d_model, warmup),
        ],
    ),
    Misconception(
        "step_too_late",
        "every number is that of the step after",
        lambda step, d_model, warmup: noam_rate(step + 1, d_model, warmup),
    ),
    Misconception(
        "no_width",
        "the numbers do not depend on d_model: they are divided by its root",
        _rate(width=lambda d: 1.0),
    ),
    Misconception(
        "wrong_power_of_width",
        "d_model has another power than −1/2: the rate falls with the root of the width",
        [_rate(width=lambda d: d**0.5), _rate(width=lambda d: 1 / d), _rate(width=lambda d: d**-1.5)],
    ),
    Misconception(
        "wrong_power_of_warmup",
        "the rise has another power of warmup than −3/2: only with that one does it meet the fall at step = warmup",
        [
            _rate(right=lambda step, warmup: step * warmup**-0.5),
            _rate(right=lambda step, warmup: step / warmup),
            _rate(right=lambda step, warmup: step * warmup**-2),
        ],
    ),
    Misconception(
        "wrong_power_of_step",
        "the fall has another power of step than −1/2",
        [
            _rate(left=lambda step, warmup: 1 / step),
            _rate(left=lambda step, warmup: step**-1.5),
            _rate(left=lambda step, warmup: step**0.5),
        ],
    ),
    Misconception(
        "only_falls",
        "the rate is largest in the first step and falls from there: the rise is missing, or it is never the smaller "
        "of the two since its power of warmup is not −3/2",
        [
            lambda step, d_model, warmup: (d_model * step) ** -0.5,
            _rate(right=lambda step, warmup: step * warmup**1.5),
        ],
    ),
    Misconception(
        "only_rises",
        "the rate never falls: after warmup the other candidate, one over the root of step, is the smaller",
        [
            lambda step, d_model, warmup: d_model**-0.5 * step * warmup**-1.5,
            lambda step, d_model, warmup: d_model**-0.5 * min(step, warmup) * warmup**-1.5,
        ],
    ),
    Misconception(
        "peak_of_one",
        "the numbers are those wanted times the root of warmup, or also of d_model: at step = warmup the rate is "
        "1 / √(d_model · warmup)",
        [
            lambda step, d_model, warmup: noam_rate(step, d_model, warmup) * warmup**0.5,
            lambda step, d_model, warmup: noam_rate(step, d_model, warmup) * (d_model * warmup) ** 0.5,
        ],
    ),
    Misconception(
        "sum_of_both",
        "the two candidates were added, or multiplied: the smaller one is wanted",
        [_rate(of=lambda a, b: a + b), _rate(of=lambda a, b: a * b)],
    ),
    Misconception(
        "falls_in_a_line",
        "after warmup the rate falls in a straight line: here it falls with the root of step",
        lambda step, d_model, warmup: (
            noam_rate(step, d_model, warmup)
            if step <= warmup
            else noam_rate(warmup, d_model, warmup) * max(0.0, 2 - step / warmup)
        ),
    ),
    Misconception(
        "width_and_warmup_swapped",
        "d_model and warmup stand in each other's place",
        lambda step, d_model, warmup: noam_rate(step, warmup, d_model),
    ),
    Misconception(
        "zero_rate",
        "the rate is 0 where it is only to be small: a division left no remainder, or it was set to 0",
        [
            lambda step, d_model, warmup: d_model**-0.5 * min(step**-0.5, step // warmup**1.5),
            lambda step, d_model, warmup: noam_rate(step, d_model, warmup) if step <= warmup else 0.0,
        ],
    ),
    Misconception(
        "rounded",
        "the numbers were rounded: the rates are far below 1, and every digit counts",
        [
            lambda step, d_model, warmup: round(noam_rate(step, d_model, warmup), 3),
            lambda step, d_model, warmup: round(noam_rate(step, d_model, warmup), 4),
        ],
    ),
)


# --- certain_model ---------------------------------------------------------------------------------------------------


def as_word(case, answer):
    """The answer as one of the words, whatever quotes, case or spaces; anything else stays as it is."""
    if isinstance(answer, float) and math.isinf(answer) and answer > 0:
        return "infinite"
    if not isinstance(answer, str):
        return answer
    word = answer.strip().strip("\"'.").lower()
    return {"inf": "infinite", "infinity": "infinite", "∞": "infinite"}.get(word, word)


CERTAIN = (
    Misconception(
        "zero_loss",
        "0 is what plain cross-entropy gives a model that is certain and right; here the other words have a share of "
        "the target, and −log 0 is infinite",
        "zero",
    ),
    Misconception(
        "small_loss",
        "the share of the other words is small, and it multiplies −log 0: there is no small loss with a probability "
        "of 0",
        "small",
    ),
)


# --- label_smoothed_loss ---------------------------------------------------------------------------------------------


def label_smoothed_loss(logits, y, eps, pad):
    logs = torch.log_softmax(logits, dim=-1)
    each = -(1 - eps) * logs.gather(-1, y[..., None])[..., 0] - eps * logs.mean(dim=-1)
    keep = y != pad
    return (each * keep).sum() / keep.sum().clamp(min=1)


def loss_of_torch(logits, y, eps, pad):
    flat, right = logits.flatten(0, -2), y.flatten()
    total = functional.cross_entropy(flat, right, ignore_index=pad, label_smoothing=eps, reduction="sum")
    return total / max(int((y != pad).sum()), 1)


def loss_by_target(logits, y, eps, pad):
    v = logits.shape[-1]
    target = torch.full_like(logits, eps / v).scatter(-1, y.unsqueeze(-1), 1 - eps + eps / v)
    each = -(target * (logits - logits.logsumexp(-1, keepdim=True))).sum(-1)
    kept = each[y != pad]
    return kept.mean() if len(kept) else logits.sum() * 0.0


def loss_by_loops(logits, y, eps, pad):
    losses = []
    for row, right in zip(logits.flatten(0, 1), y.flatten().tolist(), strict=True):
        if right == pad:
            continue
        logs = row.log_softmax(0)
        spread = sum(-log for log in logs) / len(logs)
        losses.append((1 - eps) * -logs[right] + eps * spread)
    return torch.stack(losses).mean() if losses else logits.new_zeros(())


def loss_by_one_hot(logits, y, eps, pad):
    v = logits.shape[-1]
    target = functional.one_hot(y, v).to(logits.dtype) * (1 - eps) + eps / v
    keep = (y != pad).to(logits.dtype)
    each = torch.einsum("btv,btv->bt", target, logits).neg() + torch.logsumexp(logits, -1)
    return (each * keep).sum() / keep.sum().clamp_min(1.0)


def loss_by_divergence(logits, y, eps, pad):
    v = logits.shape[-1]
    target = torch.full_like(logits, eps / v).scatter(-1, y[..., None], 1 - eps + eps / v)
    total = functional.kl_div(logits.log_softmax(-1), target, reduction="none").sum(-1) - torch.special.xlogy(
        target, target
    ).sum(-1)
    keep = y.ne(pad)
    return torch.where(keep, total, 0.0).sum() / keep.sum().clamp(min=1)


def _target(logits, y, eps, on, off):
    """A target with `on(eps, v)` at the right id and `off(eps, v)` elsewhere."""
    v = logits.shape[-1]
    return torch.full_like(logits, off(eps, v)).scatter(-1, y.unsqueeze(-1), on(eps, v))


def _loss(
    on=lambda eps, v: 1 - eps + eps / v,
    off=lambda eps, v: eps / v,
    logs=lambda logits: logits.log_softmax(-1),
    reduce=lambda each, keep: (each * keep).sum() / keep.sum().clamp(min=1),
    change=lambda target, pad: target,
):
    """A smoothed loss with one of its parts replaced."""

    def loss(logits, y, eps, pad):
        target = change(_target(logits, y, eps, on, off), pad)
        each = -(target * logs(logits)).sum(-1)
        return reduce(each, y != pad)

    return loss


def _no_pad_share(target, pad):
    """The share of the padding id set to 0."""
    column = torch.zeros(target.shape[-1], dtype=torch.bool)
    column[pad] = True
    return target.masked_fill(column, 0.0)


def _without_pad(logits, y, eps, pad):
    """eps spread over all ids but the right one and the padding: eps / (V − 2), as in a well-known tutorial."""
    target = _no_pad_share(_target(logits, y, eps, lambda e, v: 1 - e, lambda e, v: e / max(v - 2, 1)), pad)
    keep = y != pad
    return -((target * logits.log_softmax(-1)).sum(-1) * keep).sum() / keep.sum().clamp(min=1)


def _of_each_sentence(each, keep):
    return ((each * keep).sum(-1) / keep.sum(-1).clamp(min=1)).mean()


def loss_cases(rng):
    def case(check, b, t, v, eps, pad, *, padded=(), dtype=np.float64, size=1.0):
        logits = (size * rng.normal(size=(b, t, v))).astype(dtype)
        y = rng.integers(v - 1, size=(b, t))
        y += y >= pad  # never pad
        for i, length in enumerate(padded):
            y[i, length:] = pad
        return Case(check, (logits, y, eps, pad))

    yield case("smoothed", 2, 3, 5, 0.1, 0)
    yield case("smoothed", 3, 3, 3, 0.3, 2)
    yield case("smoothed", 2, 4, 6, 0.5, 1, dtype=np.float32)
    yield case("smoothed", 1, 1, 2, 0.25, 1)
    yield case("no_smoothing", 2, 4, 5, 0.0, 0, padded=(3, 2))
    yield case("padding", 3, 4, 5, 0.1, 0, padded=(4, 2, 1))
    yield case("padding", 2, 5, 7, 0.2, 3, padded=(1, 4))
    yield case("padding", 2, 4, 6, 0.1, 5, padded=(0, 3))
    yield case("padding", 3, 3, 3, 0.4, 1, padded=(1, 3, 2))
    yield case("all_padding", 2, 3, 5, 0.1, 0, padded=(0, 0))
    yield case("all_padding", 1, 2, 4, 0.3, 2, padded=(0,))
    yield case("large_logits", 2, 3, 5, 0.1, 0, padded=(3, 2), size=1e4)
    large = case("large_logits", 2, 3, 4, 0.2, 1)
    large.inputs[0][:] += 1e4
    yield large
    yield case("large_logits", 2, 3, 4, 0.0, 1, size=1e4)
    yield case(DIFFERENTIABLE, 2, 3, 5, 0.1, 0, padded=(3, 1))
    yield case(DIFFERENTIABLE, 2, 2, 4, 0.3, 3)
    yield case(KEEPS_DTYPE, 2, 3, 5, 0.1, 0, padded=(3, 2), dtype=np.float32)
    yield case(KEEPS_DTYPE, 2, 3, 5, 0.1, 0)


LOSS_MISCONCEPTIONS = (
    Misconception(
        "counts_padding",
        "the number is the sum over real positions divided by the number of all: the mean is over positions whose y "
        "is not pad",
        _loss(reduce=lambda each, keep: (each * keep).sum() / keep.numel()),
    ),
    Misconception(
        "padding_not_left_out",
        "positions of padding count like words: what the model says there is of no interest",
        [
            _loss(reduce=lambda each, keep: each.mean()),
            lambda logits, y, eps, pad: label_smoothed_loss(logits, y, eps, -100),
            lambda logits, y, eps, pad: functional.cross_entropy(
                logits.flatten(0, -2), y.flatten(), label_smoothing=eps
            ),
        ],
    ),
    Misconception(
        "padding_fixed",
        "the same id counts as padding, whatever pad is",
        [
            lambda logits, y, eps, pad: label_smoothed_loss(logits, y, eps, 0),
            lambda logits, y, eps, pad: label_smoothed_loss(logits, y, eps, 1),
        ],
    ),
    Misconception(
        "shares_of_v_minus_1",
        "eps was spread over V − 1 ids: here it is spread over all V, the right one included, so that it has "
        "1 − eps + eps / V",
        [
            _loss(on=lambda eps, v: 1 - eps, off=lambda eps, v: eps / max(v - 1, 1)),
            _loss(on=lambda eps, v: 1 - eps + eps / max(v - 1, 1), off=lambda eps, v: eps / max(v - 1, 1)),
        ],
    ),
    Misconception(
        "shares_without_pad",
        "the padding id has no share of eps: it is spread over all V ids, pad included",
        [_without_pad, _loss(change=_no_pad_share)],
    ),
    Misconception(
        "right_id_without_share",
        "the target sums to less than 1: the right id has 1 − eps and not its share eps / V on top",
        [_loss(on=lambda eps, v: 1 - eps)],
    ),
    Misconception(
        "right_id_keeps_1",
        "the target sums to more than 1: the right id keeps 1 while eps is spread as well",
        [
            _loss(on=lambda eps, v: 1.0),
            _loss(on=lambda eps, v: 1.0 + eps / v),
        ],
    ),
    Misconception(
        "eps_not_divided",
        "every other id has eps whole: they share it, eps / V each",
        [
            _loss(on=lambda eps, v: 1 - eps, off=lambda eps, v: eps),
            _loss(on=lambda eps, v: 1 - eps + eps, off=lambda eps, v: eps),
        ],
    ),
    Misconception(
        "one_term_missing",
        "the target sums to 1 − eps, or to eps: the loss has two terms, the right id's and the mean over all ids",
        [_loss(on=lambda eps, v: 1 - eps, off=lambda eps, v: 0.0), _loss(on=lambda eps, v: eps / v)],
    ),
    Misconception(
        "eps_fixed",
        "the share that is spread is the same whatever eps is given",
        [lambda logits, y, eps, pad: label_smoothed_loss(logits, y, 0.1, pad)],
    ),
    Misconception(
        "no_smoothing",
        "the loss does not depend on eps: it is plain cross-entropy",
        _loss(on=lambda eps, v: 1.0, off=lambda eps, v: 0.0),
    ),
    Misconception(
        "shares_swapped",
        "eps and 1 − eps stand in each other's place: most of the target is spread evenly",
        _loss(on=lambda eps, v: eps + (1 - eps) / v, off=lambda eps, v: (1 - eps) / v),
    ),
    Misconception(
        "sum",
        "the losses of all positions were added: their mean is wanted",
        _loss(reduce=lambda each, keep: (each * keep).sum()),
    ),
    Misconception(
        "mean_of_sentences",
        "each sentence has the same weight, however long it is: the mean is over all positions of the batch together",
        _loss(reduce=_of_each_sentence),
    ),
    Misconception(
        "sum_over_batch_size",
        "the sum was divided by the number of sentences, not of positions",
        [
            _loss(reduce=lambda each, keep: (each * keep).sum() / len(each)),
            _loss(reduce=lambda each, keep: (each * keep).sum(-1).mean()),
        ],
    ),
    Misconception(
        "not_reduced",
        "one number for each position came back: their mean over real positions is wanted",
        [
            _loss(reduce=lambda each, keep: each * keep),
            _loss(reduce=lambda each, keep: each),
            _loss(reduce=lambda each, keep: each[keep]),
        ],
    ),
    Misconception(
        "sign",
        "the loss has the wrong sign: it is minus the mean logarithm, at least 0",
        [_loss(reduce=lambda each, keep: -(each * keep).sum() / keep.sum().clamp(min=1))],
    ),
    Misconception(
        "no_softmax",
        "logits were taken for log-probabilities: log_softmax comes first",
        _loss(logs=lambda logits: logits),
    ),
    Misconception(
        "no_logarithm",
        "probabilities stand where their logarithms belong",
        _loss(logs=lambda logits: logits.softmax(-1)),
    ),
    Misconception(
        "softmax_over_positions",
        "the softmax ran over the positions, or over the batch: it is over the V ids of one position",
        [_loss(logs=lambda logits: logits.log_softmax(-2)), _loss(logs=lambda logits: logits.log_softmax(0))],
    ),
    Misconception(
        "log_of_softmax",
        "large logits give a loss that is not finite or too small: the softmax was exactly 0 before its logarithm was "
        "taken; log_softmax never makes that 0",
        [
            _loss(logs=lambda logits: torch.log(logits.softmax(-1))),
            _loss(logs=lambda logits: torch.log(logits.softmax(-1) + 1e-12)),
            _loss(logs=lambda logits: torch.log(logits.softmax(-1).clamp(min=1e-12))),
            _loss(logs=lambda logits: torch.log(logits.softmax(-1) + 1e-9)),
            _loss(logs=lambda logits: torch.log(logits.softmax(-1) + 1e-10)),
            _loss(logs=lambda logits: torch.log(logits.softmax(-1) + 1e-8)),
        ],
    ),
    Misconception(
        "exp_overflows",
        "large logits give NaN or an infinite loss: exp was taken before the maximum was subtracted",
        [_loss(logs=lambda logits: logits - logits.exp().sum(-1, keepdim=True).log())],
    ),
    Misconception(
        "log_2",
        "the loss is in bits: the course takes natural logarithms",
        _loss(logs=lambda logits: logits.log_softmax(-1) / math.log(2)),
    ),
    Misconception(
        "nan_without_words",
        "a batch of nothing but padding gives NaN: 0 was divided by 0 positions",
        [
            _loss(reduce=lambda each, keep: (each * keep).sum() / keep.sum()),
            _loss(reduce=lambda each, keep: each[keep].mean()),
            lambda logits, y, eps, pad: functional.cross_entropy(
                logits.flatten(0, -2), y.flatten(), ignore_index=pad, label_smoothing=eps
            ),
        ],
    ),
    Misconception(
        "one_more_position",
        "the sum was divided by one more than there are positions: 1 stands in only where there are none",
        [_loss(reduce=lambda each, keep: (each * keep).sum() / (keep.sum() + 1))],
    ),
    Misconception(
        "gradient_cut_off",
        "the number is right and cut off from logits: no gradient flows back, as after .item() or .detach()",
        [
            _detached(label_smoothed_loss),
            lambda *inputs: label_smoothed_loss(*inputs).item(),
            _no_grad(label_smoothed_loss),
        ],
    ),
    Misconception(
        "partly_cut_off",
        "the number is right, and only part of the gradient comes back to logits: one of the two terms was cut off, "
        "or the normaliser",
        [
            _loss(logs=lambda logits: logits - logits.logsumexp(-1, keepdim=True).detach()),
            lambda logits, y, eps, pad: (
                label_smoothed_loss(logits, y, eps, pad).detach()
                + (1 - eps)
                * (label_smoothed_loss(logits, y, 0.0, pad) - label_smoothed_loss(logits, y, 0.0, pad).detach())
            ),
        ],
    ),
    Misconception("numpy_refused", NO_NUMPY, _through_numpy(label_smoothed_loss)),
    Misconception("becomes_float32", BECOMES_FLOAT32, _as(label_smoothed_loss, torch.float32)),
    Misconception("becomes_float64", BECOMES_FLOAT64, _as(label_smoothed_loss, torch.float64)),
    Misconception(
        "overwrites_inputs",
        "an input is another after the call: an operation in place changes what was given",
        [
            _overwriting(label_smoothed_loss, lambda logits, *rest: logits.copy_(logits.log_softmax(-1))),
            _overwriting(label_smoothed_loss, lambda logits, y, *rest: y.fill_(0)),
            _overwriting(label_smoothed_loss, lambda logits, y, eps, pad: logits[y == pad].zero_() and logits.mul_(2)),
        ],
    ),
)


# --- beam_search -----------------------------------------------------------------------------------------------------


def beam_search(step, state, bos, eos, k, max_len, alpha=0.6):
    live: list[Any] = [(0.0, [], state, bos)]
    done: list[Any] = []
    for _ in range(max_len):
        others = []
        for total, ids, own, token in live:
            logs, after = step(token, own)
            for i, log in enumerate(_numbers(logs)):
                if i == eos:
                    done.append(((total + log) / ((5 + len(ids) + 1) / 6) ** alpha, ids))
                else:
                    others.append((total + log, [*ids, i], after, i))
        live = sorted(others, key=lambda beam: -beam[0])[:k]
    return max(done or live, key=lambda beam: beam[0])[1]


def _numbers(logs):
    return logs if isinstance(logs, list) else logs.tolist()


def _rule(total, length, alpha):
    return total / ((5 + length) / 6) ** alpha


def _search(
    rank="all",
    stop=None,
    rule=_rule,
    add=lambda total, log: total + log,
    count=lambda ids: len(ids) + 1,
    beams=lambda k: k,
    rounds=lambda max_len: max_len,
    first=lambda bos, eos: bos,
    feed=lambda own, others, start: own,
    tell=lambda token, bos: token,
    order=lambda beam: -beam[0],
    finish=lambda done, live: max(done or live, key=lambda beam: beam[0])[1],
    eos_adds=True,
    ends=lambda i, bos, eos: i == eos,
    give=lambda ids, bos, eos: ids,
    power=lambda alpha: alpha,
    reset=False,
):
    """A beam search with one of its parts done in another way; without arguments it is a right one.

    rank: which finished continuations are set aside: all of them; those among the best k, beside which the
          rest of these ("top") or the best k others ("aside") live on, or as many fewer from then on ("shrink"); those
          among the best 2k ("double"); those before the k-th other ("walk").
    stop: when to end early: with k finished ("k"), with one ("first"), or when no live beam is better now ("now").
    """

    def search(step, state, bos, eos, k, max_len, alpha=0.6):
        width, start, alpha = beams(k), state, power(alpha)
        live: list[Any] = [(0.0, [], state, first(bos, eos))]
        done: list[Any] = []
        for _ in range(rounds(max_len)):
            found = []
            for number, (total, ids, own, token) in enumerate(live):
                logs, after = step(tell(token, bos), feed(own, [beam[2] for beam in live[number:]], start))
                for i, log in enumerate(_numbers(logs)):
                    added = total if ends(i, bos, eos) and not eos_adds else add(0.0 if reset else total, log)
                    found.append((added, [*ids, i], after, i))
            found.sort(key=order)
            keep = {"top": width, "aside": width, "shrink": width, "double": 2 * width}.get(rank, len(found))
            if rank == "walk":
                others = [n for n, beam in enumerate(found) if not ends(beam[3], bos, eos)]
                keep = others[width - 1] + 1 if len(others) >= width else len(found)
            ended = [beam for beam in found[:keep] if ends(beam[3], bos, eos)]
            done += [(rule(beam[0], count(beam[1][:-1]), alpha), beam[1][:-1]) for beam in ended]
            going_on = found if rank == "aside" else found[:keep]
            live = [beam for beam in going_on if not ends(beam[3], bos, eos)][:width]
            width -= len(ended) if rank == "shrink" else 0
            if not live or width < 1 or (stop == "k" and len(done) >= k) or (stop == "first" and done):
                break
            if stop == "now" and done and max(done)[0] > max(rule(beam[0], len(beam[1]), alpha) for beam in live):
                break
        return give(finish(done, live), bos, eos)

    return search


# What a careful reader may build from the usual descriptions. A case is used only if they all agree on it.
READINGS = tuple(
    _search(rank=rank, stop=stop)
    for rank, stop in (
        ("all", None),
        ("shrink", None),
        ("aside", "k"),
        ("top", "k"),
        ("double", "k"),
        ("top", "now"),
        ("walk", "k"),
        ("all", "now"),
        ("top", None),
        ("aside", None),
        ("walk", None),
        ("double", None),
    )
)


def _in_all_ranks(**parts):
    """A wrong search in the shapes of three readings."""
    return [_search(rank=rank, **parts) for rank in ("all", "top", "aside")]


def search_in_tensors(step, state, bos, eos, k, max_len, alpha=0.6):
    """All totals of a round in one table (beams, V), and topk."""
    totals, finished = torch.zeros(1, dtype=torch.float64), []
    beams: list[Any] = [((), state)]
    for turn in range(1, max_len + 1):
        stepped = [step(ids[-1] if ids else bos, own) for ids, own in beams]
        table = totals[:, None] + torch.stack([logs.double() for logs, _ in stepped])
        penalty = ((5 + turn) / 6) ** alpha
        finished += [(score / penalty, ids) for score, (ids, _) in zip(table[:, eos].tolist(), beams, strict=True)]
        table[:, eos] = -torch.inf
        count = min(k, table.numel() - len(table))
        totals, places = table.flatten().topk(count)
        parents = [divmod(int(place), table.shape[1]) for place in places]
        beams = [((*beams[row][0], token), stepped[row][1]) for row, token in parents]
    return list(max(finished)[1])


def search_by_heap(step, state, bos, eos, k, max_len, alpha=0.6):
    import heapq

    alive: list[Any] = [(0.0, (bos,), state)]
    best: tuple[float, Any] = (-math.inf, None)
    for _ in range(max_len):
        following = []
        for total, ids, own in alive:
            logs, own = step(torch.tensor(ids[-1]), own)
            for token in range(len(logs)):
                score = total + float(logs[token])
                if token == eos:
                    best = max(best, (score / ((5 + len(ids)) / 6) ** alpha, ids[1:]))
                else:
                    following.append((score, (*ids, token), own))
        alive = heapq.nlargest(k, following, key=lambda beam: beam[0])
    return list(alive[0][1][1:] if best[1] is None else best[1])


def search_stopping_early(step, state, bos, eos, k, max_len, alpha=0.6):
    """Ends once no live beam can still win: its total only falls, and its length is at most max_len."""
    live: list[Any] = [{"total": 0.0, "ids": [], "state": state}]
    best, answer = -math.inf, None
    for length in range(1, max_len + 1):
        grown = []
        for beam in live:
            logs, after = step(beam["ids"][-1] if beam["ids"] else bos, beam["state"])
            for token, log in enumerate(logs):
                total = beam["total"] + log.item()
                score = total / ((5 + length) / 6) ** alpha
                if token != eos:
                    grown.append({"total": total, "ids": beam["ids"] + [token], "state": after})
                elif score > best:
                    best, answer = score, beam["ids"]
        live = sorted(grown, key=lambda beam: beam["total"], reverse=True)[:k]
        if answer is not None and live[0]["total"] / ((5 + max_len) / 6) ** alpha < best:
            break
    return live[0]["ids"] if answer is None else answer


class _Script:
    """Tables of log-probabilities and their step on plain lists, for choosing cases quickly."""

    def __init__(self, tables):
        self.tables = tables.tolist()

    def __call__(self, token, state):
        return self.tables[state[0] % len(self.tables)][state[1]][token], (state[0] + 1, token)


_BEGIN = (0, 0)
MOST_ROUNDS = 3  # through the settings, until each wrong answer is caught
PATIENCE = 12  # tries after which the best decoder so far is taken


def _drawn_tables(rng, v, rounds, bos, eos, ends, sharp):
    """Log-probabilities (rounds, V, V, V); eos grows more probable by the round, or is hardly ever said, as bos."""
    tables = sharp * rng.normal(size=(rounds, v, v, v))
    slope = np.linspace(-3.0, 2.5, rounds) if ends else np.full(rounds, -60.0)
    tables[..., bos] -= 9.0  # some programs drop every bos from the result
    tables[..., eos] += slope[:, None, None]
    beyond = np.eye(v)[rng.integers(v, size=(rounds, v))]
    tables[:, :, eos] += 9.0 * beyond  # whoever goes on after eos finds words at hardly any cost
    return tables - np.log(np.exp(tables).sum(-1, keepdims=True))


def _readings(tables, inputs, most=99):
    """The results of all readings; not of all, if there are more than `most` different ones."""
    script, found = _Script(tables), set()
    for reading in READINGS:
        found.add(tuple(reading(script, _BEGIN, *inputs)))
        if len(found) > most:
            break
    return found


def _cases_for(rng, check, wrongs, settings, *, ends=True, tries=150):
    """Cases on which all readings agree, and together every one of `wrongs` gives another result than any of them.

    settings: dicts of bos, eos, k, max_len, v and, where it is given, alpha; each yields a case, and more if they are
              needed for some of `wrongs`.
    ends:     False for decoders that hardly ever say eos: there the readings differ, and each of them is right.
    """
    missing, chosen = list(wrongs), []
    for number, setting in enumerate(settings * MOST_ROUNDS):
        if number >= len(settings) and not missing:
            break
        k, max_len, eos = setting["k"], setting["max_len"], setting["eos"]
        inputs = (setting["bos"], eos, k, max_len) + ((setting["alpha"],) if "alpha" in setting else ())
        best = None
        for attempt in range(tries):
            tables = _drawn_tables(rng, setting["v"], max_len + 1, setting["bos"], eos, ends, setting.get("sharp", 1.2))
            right = _readings(tables, inputs, 1 if ends else 99)
            if (ends and len(right) > 1) or min(map(len, right)) < setting.get("least", 1):
                continue
            caught = [wrong for wrong in missing if _result(wrong, tables, inputs) not in right]
            if best is None or len(caught) > len(best[1]):
                best = tables, caught
            if len(best[1]) == len(missing) or attempt > setting.get("patience", PATIENCE):
                break
        if best is None:
            continue
        if number >= len(settings) and not best[1]:
            continue
        missing = [wrong for wrong in missing if wrong not in best[1]]
        built = Built("scripted_beams", {"tables": best[0], "limit": k * max_len + EXTRA_CALLS})
        chosen.append(Case(check, (built, np.array(_BEGIN, dtype=float), *inputs)))
    return chosen  # in rare draws one of `wrongs` is right on all; other checks catch it


def _result(wrong, tables, inputs):
    try:
        return tuple(wrong(_Script(tables), _BEGIN, *inputs))
    except Exception:
        return None


def beam_cases(rng):
    for alpha, ratio, lengths in RACES:
        yield _race(rng, alpha, ratio, lengths)
    for k in (3, 2, 4):
        yield _pruned(rng, k)
    for check, wrongs, settings, ends in (
        (
            "own_state",
            STATE_WRONGS,
            [(3, 5, 6, 3), (2, 6, 6, 3), (4, 4, 6, 2, {"bos": 4, "eos": 0}), (3, 6, 5, 3)],
            True,
        ),
        ("looks_ahead", AHEAD_WRONGS, [(3, 5, 7, 2), (4, 6, 7, 2), (2, 5, 6, 2)], True),
        ("looks_ahead", (), [(1, 5, 6, 2, {"sharp": 2.5}), (1, 6, 5, 1, {"sharp": 2.5})], True),
        ("length_rule", (), [(3, 6, 6, 2), (2, 5, 6, 2, {"alpha": 1.0})], True),
        ("max_len", LENGTH_WRONGS, [(3, 3, 6, 1), (2, 4, 6, 2), (3, 2, 6, 0)], True),
        ("max_len", ENDLESS_WRONGS, [(3, 4, 9, 1), (2, 2, 8, 1), (1, 3, 6, 1)], False),
        ("many_beams", (), [(9, 4, 5, 1), (12, 3, 4, 1, {"bos": 0, "eos": 3}), (7, 5, 5, 2), (20, 3, 5, 1)], True),
        (
            "any_ids",
            (),
            [
                (2, 5, 6, 1, {"bos": 3, "eos": 5}),
                (3, 4, 6, 1, {"bos": 5, "eos": 0}),
                (3, 5, 6, 2, {"bos": 2, "eos": 1}),
                (2, 6, 7, 2, {"bos": 0, "eos": 4}),
            ],
            True,
        ),
    ):
        yield from _cases_for(rng, check, wrongs, [_setting(*one) for one in settings], ends=ends)


# Two sequences race: (alpha or None, how many times as far below 0 the longer one's total is, their lengths with eos).
RACES = (
    (None, 1.12, (2, 5)),
    (None, 1.3, (3, 6)),
    (2.0, 1.5, (2, 5)),
    (2.0, 1.96, (2, 5)),  # the shorter wins if bos counts too
    (2.0, 2.14, (2, 5)),  # the longer wins if eos does not count
    (0.0, 1.1, (3, 5)),
    (0.0, 0.93, (2, 6)),
    (1.0, 1.3, (2, 5)),
    (2.0, 0.7, (2, 5)),
    (2.0, 0.92, (2, 5)),  # the shorter wins if it is continued after eos
)


def _quiet_tables(rng, rounds, v, eos):
    """Log-probabilities at which nothing is likely, eos least."""
    tables = -14.0 + rng.normal(size=(rounds, v, v, v))
    tables[..., eos] -= 20.0
    # Whoever goes on after eos finds a word, and eos once more, at hardly any cost.
    tables[:, :, eos, v - 1] = tables[:, eos, v - 1, eos] = -0.01
    return tables


def _race(rng, alpha, ratio, lengths):
    """A short and a long sequence, and nothing else: who wins depends on the rule alone."""
    bos, eos, v, k = 1, 2, 9, 2
    tables = _quiet_tables(rng, lengths[1] + 2, v, eos)
    words = rng.permutation([0, *range(3, v)])
    paths = ([bos, *words[: lengths[0] - 1], eos], [bos, *words[lengths[0] - 1 :][: lengths[1] - 1], eos])
    if len(paths[1]) < lengths[1] + 1:  # not enough words: the long one repeats some
        paths[1][-1:-1] = rng.choice(words[lengths[0] :], size=lengths[1] + 1 - len(paths[1])).tolist()
    start = 0.7
    for path, total in zip(paths, (2 * start, 2 * start * ratio), strict=True):
        for turn, (token, following) in enumerate(itertools.pairwise(path)):
            before = path[turn - 1] if turn else 0
            cost = start if turn == 0 else total - start if following == eos else 0.0
            tables[turn, before, token, following] = -cost
    inputs = (bos, eos, k, lengths[1] + 1) + (() if alpha is None else (alpha,))
    built = Built("scripted_beams", {"tables": tables, "limit": k * inputs[3] + EXTRA_CALLS})
    return Case("length_rule", (built, np.array(_BEGIN, dtype=float), *inputs))


def _pruned(rng, k):
    """The best of what k beams can find begins with the k-th word; one that begins with the next would be better."""
    bos, eos, v = 1, 2, k + 6
    tables = _quiet_tables(rng, 5, v, eos)
    words = rng.permutation([0, *range(3, v)])
    for n, word in enumerate(words[: k + 1]):
        then = words[rng.integers(k + 1, len(words))]
        tables[0, 0, bos, word] = -1.0 - 0.2 * n
        tables[1, bos, word, then] = -2.5 if n < k - 1 else -0.5 if n == k - 1 else -0.1
        tables[2, word, then, eos] = -0.1
    built = Built("scripted_beams", {"tables": tables, "limit": k * 4 + EXTRA_CALLS})
    return Case("looks_ahead", (built, np.array(_BEGIN, dtype=float), bos, eos, k, 4))


def _setting(k, max_len, v, least, more=None):
    return {"k": k, "max_len": max_len, "v": v, "least": least, "bos": 1, "eos": 2, **(more or {})}


def any_reading(case, result):
    """A view that takes every reading's result for the reference's where no sequence finishes by itself."""
    tables, (bos, eos, *rest) = case.inputs[0].params["tables"], case.inputs[2:]
    if tables[0, 0, bos, eos] > -50 or not isinstance(result, (tuple, list, np.ndarray)):
        return result
    if tuple(int(i) for i in result) in _readings(tables, (bos, eos, *rest)):
        return list(beam_search(_Script(tables), _BEGIN, bos, eos, *rest))
    return result


def _extends_finished(step, state, bos, eos, k, max_len, alpha=0.6):
    """Finished beams stay among the live ones and are continued after eos."""
    live: list[Any] = [(0.0, [], state, bos)]
    for _ in range(max_len):
        found = []
        for total, ids, own, token in live:
            logs, after = step(token, own)
            found += [(total + log, [*ids, i], after, i) for i, log in enumerate(_numbers(logs))]
        live = sorted(found, key=lambda beam: -beam[0])[:k]
    return _cut(live[0][1], eos)


def _extending(ending):
    """Finished beams are noted, and continued after eos as well; `ending(ids, eos)` is what comes back of the best."""

    def extends(step, state, bos, eos, k, max_len, alpha=0.6):
        live: list[Any] = [(0.0, [], state, bos)]
        done: list[Any] = []
        for _ in range(max_len):
            found = []
            for total, ids, own, token in live:
                logs, after = step(token, own)
                found += [(total + log, [*ids, i], after, i) for i, log in enumerate(_numbers(logs))]
            live = sorted(found, key=lambda beam: -beam[0])[:k]
            done += [(_rule(total, len(ids), alpha), ids) for total, ids, _, token in live if token == eos]
        return ending(max(done or live, key=lambda beam: beam[0])[1], eos)

    return extends


def _cut(ids, eos):
    return ids[: ids.index(eos)] if eos in ids else ids


def _keeps_finished_in_beam(step, state, bos, eos, k, max_len, alpha=0.6):
    """Finished beams take up places among the k, compared with live ones by their totals."""
    live: list[Any] = [(0.0, [], state, bos)]
    for _ in range(max_len):
        found = []
        for total, ids, own, token in live:
            if ids and token == eos:
                found.append((total, ids, own, token))
                continue
            logs, after = step(token, own)
            found += [(total + log, [*ids, i], after, i) for i, log in enumerate(_numbers(logs))]
        live = sorted(found, key=lambda beam: -beam[0])[:k]
    best = max(live, key=lambda beam: _rule(beam[0], len(beam[1]), alpha))
    return _cut(best[1], eos)


def _separate_beams(step, state, bos, eos, k, max_len, alpha=0.6):
    """Each beam keeps the best continuation of its own: after the first round nothing is compared across beams."""
    logs, after = step(bos, state)
    ranked = sorted(enumerate(_numbers(logs)), key=lambda pair: -pair[1])
    done: list[Any] = [(_rule(log, 1, alpha), []) for i, log in ranked if i == eos]
    live = [(log, [i], after, i) for i, log in ranked if i != eos][:k]
    for _ in range(max_len - 1):
        kept = []
        for total, ids, own, token in live:
            logs, after = step(token, own)
            numbers = _numbers(logs)
            done.append((_rule(total + numbers[eos], len(ids) + 1, alpha), ids))
            numbers = [-math.inf if i == eos else log for i, log in enumerate(numbers)]
            best = max(range(len(numbers)), key=numbers.__getitem__)
            kept.append((total + numbers[best], [*ids, best], after, best))
        live = kept
    return max(done or live, key=lambda beam: beam[0])[1]


def _every_beam_widens(step, state, bos, eos, k, max_len, alpha=0.6):
    """Each beam keeps k continuations of its own; nothing is pruned across beams for the first rounds."""
    live: list[Any] = [(0.0, [], state, bos)]
    done: list[Any] = []
    for _ in range(max_len):
        found = []
        for total, ids, own, token in live:
            logs, after = step(token, own)
            for i, log in sorted(enumerate(_numbers(logs)), key=lambda pair: -pair[1])[:k]:
                if i == eos:
                    done.append((_rule(total + log, len(ids) + 1, alpha), ids))
                else:
                    found.append((total + log, [*ids, i], after, i))
        live = sorted(found, key=lambda beam: -beam[0])[: k * k]
    return max(done or live, key=lambda beam: beam[0])[1]


def _greedy_search(step, state, bos, eos, k, max_len, alpha=0.6):
    ids: list[int] = []
    token = bos
    for _ in range(max_len):
        logs, state = step(token, state)
        numbers = _numbers(logs)
        token = max(range(len(numbers)), key=numbers.__getitem__)
        if token == eos:
            break
        ids.append(token)
    return ids


def _shared_state(step, state, bos, eos, k, max_len, alpha=0.6):
    """One variable holds the state for all beams: each call starts from what the last one left."""
    live: list[Any] = [(0.0, [], bos)]
    done: list[Any] = []
    for _ in range(max_len):
        found = []
        for total, ids, token in live:
            logs, state = step(token, state)
            for i, log in enumerate(_numbers(logs)):
                if i == eos:
                    done.append((_rule(total + log, len(ids) + 1, alpha), ids))
                else:
                    found.append((total + log, [*ids, i], i))
        live = sorted(found, key=lambda beam: -beam[0])[:k]
    return max(done or live, key=lambda beam: beam[0])[1]


def _last_step_for_all(step, state, bos, eos, k, max_len, alpha=0.6):
    """Each round's new beams all carry the state that the round's last call gave."""
    live: list[Any] = [(0.0, [], bos)]
    done: list[Any] = []
    for _ in range(max_len):
        found, after = [], state
        for total, ids, token in live:
            logs, after = step(token, state)
            for i, log in enumerate(_numbers(logs)):
                if i == eos:
                    done.append((_rule(total + log, len(ids) + 1, alpha), ids))
                else:
                    found.append((total + log, [*ids, i], i))
        state = after
        live = sorted(found, key=lambda beam: -beam[0])[:k]
    return max(done or live, key=lambda beam: beam[0])[1]


def _topk_of_beam(step, state, bos, eos, k, max_len, alpha=0.6):
    """Right, by topk(k) of a table that may have fewer entries."""
    live: list[Any] = [(0.0, [], state, bos)]
    done: list[Any] = []
    for _ in range(max_len):
        found = []
        for total, ids, own, token in live:
            logs, after = step(token, own)
            logs = torch.as_tensor(logs, dtype=torch.float64)
            done.append((_rule(total + float(logs[eos]), len(ids) + 1, alpha), ids))
            logs[eos] = -math.inf
            values, places = logs.topk(k)
            found += [
                (total + log, [*ids, i], after, i) for log, i in zip(values.tolist(), places.tolist(), strict=True)
            ]
        live = sorted(found, key=lambda beam: -beam[0])[:k]
    return max(done or live, key=lambda beam: beam[0])[1]


_extends_and_scores = _extending(_cut)
_extends_uncut = _extending(lambda ids, eos: ids[:-1] if ids[-1] == eos else ids)
_any_best = _search(finish=lambda done, live: max(done + live, key=lambda beam: beam[0])[1])
_unfinished_wins = _search(finish=lambda done, live: max(live or done, key=lambda beam: beam[0])[1])
_nothing = _search(rank="top", finish=lambda done, live: max(done, key=lambda beam: beam[0])[1] if done else [])
_fails = _search(rank="top", finish=lambda done, live: max(done, key=lambda beam: beam[0])[1])
_none = _search(rank="top", finish=lambda done, live: max(done, key=lambda beam: beam[0])[1] if done else None)
_live_cut = _search(
    rank="top",
    finish=lambda done, live: max(done, key=lambda b: b[0])[1] if done else max(live, key=lambda b: b[0])[1][:-1],
)
_first_state = _search(feed=lambda own, others, start: start)
_last_state = _search(feed=lambda own, others, start: others[-1])
_last_log_only = _search(reset=True)

STATE_WRONGS = (_shared_state, _first_state, _last_state)
AHEAD_WRONGS = (
    _greedy_search,
    _last_log_only,
    _separate_beams,
    _extends_finished,
    _extends_and_scores,
    _unfinished_wins,
)
ENDLESS_WRONGS = (_nothing, _fails, _none, _live_cut)
LENGTH_WRONGS = (
    _any_best,
    _search(rounds=lambda max_len: max_len + 1),
    _search(rounds=lambda max_len: max_len - 1),
    _search(rounds=lambda max_len: 3 * max_len),
)

BEAM_MISCONCEPTIONS = (
    Misconception(
        "no_length_rule",
        "the finished sequence with the largest total won: totals fall with every word, so that short ones are "
        "preferred; divide by ((5 + length) / 6)^alpha first",
        _in_all_ranks(rule=lambda total, length, alpha: total),
    ),
    Misconception(
        "another_length_rule",
        "finished sequences were compared by another rule than total / ((5 + length) / 6)^alpha",
        [
            *_in_all_ranks(rule=lambda total, length, alpha: total / length),
            *_in_all_ranks(rule=lambda total, length, alpha: total / length**alpha),
            *_in_all_ranks(rule=lambda total, length, alpha: total + alpha * length),
        ],
    ),
    Misconception(
        "rule_multiplies",
        "long finished sequences are punished twice: totals are negative, and they were multiplied by the rule where "
        "they are to be divided",
        _in_all_ranks(rule=lambda total, length, alpha: total * ((5 + length) / 6) ** alpha),
    ),
    Misconception(
        "alpha_fixed",
        "the same power stands in the rule, whatever alpha is given",
        [*_in_all_ranks(power=lambda alpha: 0.6), *_in_all_ranks(power=lambda alpha: 1.0)],
    ),
    Misconception(
        "another_default",
        "right with the alpha that is given; without one another stands in: the default is 0.6",
        [
            *_in_all_ranks(power=lambda alpha: 1.0 if alpha == 0.6 else alpha),
            *_in_all_ranks(power=lambda alpha: 0.0 if alpha == 0.6 else alpha),
        ],
    ),
    Misconception(
        "length_without_eos",
        "the length of a finished sequence is one too small: eos counts as well",
        _in_all_ranks(count=len),
    ),
    Misconception(
        "length_with_bos",
        "the length of a finished sequence is one too large: bos does not count, the ids and eos do",
        _in_all_ranks(count=lambda ids: len(ids) + 2),
    ),
    Misconception(
        "extends_finished",
        "sequences that had ended in eos were continued: set them aside, and let others live on in their place",
        [_extends_finished, _extends_and_scores, _extends_uncut],
    ),
    Misconception(
        "finished_take_places",
        "finished sequences hold places among the k live ones: set aside, they take none, so that k others live on",
        [_keeps_finished_in_beam],
    ),
    Misconception(
        "multiplies_logs",
        "the log-probabilities were multiplied: probabilities multiply, their logarithms add",
        [
            *_in_all_ranks(add=lambda total, log: total * log if total else log),
            *_in_all_ranks(add=lambda total, log: -abs(total * log) if total else log),
        ],
    ),
    Misconception(
        "adds_probabilities",
        "probabilities were added: a sequence's probability is their product, and the logarithms add",
        _in_all_ranks(add=lambda total, log: total + math.exp(log)),
    ),
    Misconception(
        "last_log_only",
        "only the last word's log-probability counts in the ranking: the totals of what came before were not carried "
        "along",
        _in_all_ranks(reset=True),
    ),
    Misconception(
        "greedy",
        "the result is the greedy one, whatever k is: the most probable word at each step",
        _greedy_search,
    ),
    Misconception(
        "beams_not_compared",
        "each beam was continued by its own best word: the continuations of all beams compete for the k places",
        _separate_beams,
    ),
    Misconception(
        "too_many_beams",
        "more than k beams lived on",
        [
            *_in_all_ranks(beams=lambda k: k + 1),
            *_in_all_ranks(beams=lambda k: 2 * k),
            *_in_all_ranks(beams=lambda k: 4 * k),
        ],
    ),
    Misconception(
        "too_few_beams",
        "fewer than k beams lived on",
        [*_in_all_ranks(beams=lambda k: max(k - 1, 1)), *_in_all_ranks(beams=lambda k: min(k, 2))],
    ),
    Misconception(
        "shared_state",
        "a beam was continued from another beam's state: each carries its own",
        [_shared_state, _last_state, _last_step_for_all],
    ),
    Misconception(
        "first_state",
        "every call of step was given the first state",
        _in_all_ranks(feed=lambda own, others, start: start),
    ),
    Misconception(
        "no_feedback",
        "step was given bos in every round: each beam gives its own last word",
        _in_all_ranks(tell=lambda token, bos: bos),
    ),
    Misconception(
        "opens_with_another",
        "step was first called with another token than bos",
        [
            *_in_all_ranks(first=lambda bos, eos: eos),
            *_in_all_ranks(first=lambda bos, eos: 0),
            *_in_all_ranks(first=lambda bos, eos: 1),
        ],
    ),
    Misconception(
        "first_finished",
        "the first sequence to finish, or the shortest, came back, though one that finishes later has a better score",
        [
            _search(rank="top", stop="first"),
            _search(rank="top", finish=lambda done, live: (done or live)[0][1]),
            _search(rank="top", finish=lambda done, live: min(done or live, key=lambda beam: len(beam[1]))[1]),
        ],
    ),
    Misconception(
        "stops_too_early",
        "the search was over before better sequences could end: eos is a continuation of every live beam in every "
        "round, so that k finished ones are there after a round or two",
        _search(rank="all", stop="k"),
    ),
    Misconception(
        "worst_finished",
        "the finished sequence with the smallest score came back, or the last one to finish",
        [
            *_in_all_ranks(finish=lambda done, live: min(done or live, key=lambda beam: beam[0])[1]),
            *_in_all_ranks(finish=lambda done, live: (done or live)[-1][1]),
        ],
    ),
    Misconception(
        "unfinished_competes",
        "a sequence without eos came back though others had finished: live ones count only where none has",
        [_any_best, _unfinished_wins],
    ),
    Misconception(
        "longest_finished",
        "the longest of the finished sequences came back, whatever its score",
        [
            *_in_all_ranks(finish=lambda done, live: max(done or live, key=lambda beam: len(beam[1]))[1]),
            _search(rank="top", finish=lambda done, live: max(done or live, key=lambda beam: len(beam[1]))[1]),
        ],
    ),
    Misconception(
        "always_empty",
        "the result is empty whatever the decoder says: the sequence that ends at once is preferred, as where the "
        "first or the shortest one to finish wins, or where eos costs nothing",
        [*_in_all_ranks(eos_adds=False), _search(stop="first"), lambda *inputs: []],
    ),
    Misconception(
        "nothing_without_eos",
        "where no sequence finishes nothing comes back, or an error: then the best live one is wanted",
        [_nothing, _fails, _none],
    ),
    Misconception(
        "one_round_too_many",
        "there was a round more than max_len",
        _in_all_ranks(rounds=lambda max_len: max_len + 1),
    ),
    Misconception(
        "one_round_too_few",
        "there was a round fewer than max_len: the last of them may bring eos",
        _in_all_ranks(rounds=lambda max_len: max_len - 1),
    ),
    Misconception(
        "no_limit",
        "the search goes on after max_len rounds",
        _in_all_ranks(rounds=lambda max_len: 3 * max_len),
    ),
    Misconception(
        "keeps_eos_or_bos",
        "bos or eos is in the result: they open and end a sentence and are not words of it",
        [
            *_in_all_ranks(give=lambda ids, bos, eos: [*ids, eos]),
            *_in_all_ranks(give=lambda ids, bos, eos: [bos, *ids]),
            *_in_all_ranks(give=lambda ids, bos, eos: [bos, *ids, eos]),
        ],
    ),
    Misconception(
        "last_word_lost",
        "the last word is missing from the result",
        [
            *_in_all_ranks(give=lambda ids, bos, eos: ids[:-1]),
            _live_cut,
        ],
    ),
    Misconception(
        "smallest",
        "the least probable continuations lived on: the largest totals are wanted",
        [
            *_in_all_ranks(order=lambda beam: beam[0]),
            *_in_all_ranks(
                order=lambda beam: beam[0], finish=lambda done, live: min(done or live, key=lambda beam: beam[0])[1]
            ),
        ],
    ),
    Misconception(
        "ends_at_a_fixed_id",
        "the search ends sequences at one and the same id, whatever eos is",
        [
            _search(rank=rank, ends=lambda i, bos, eos, fixed=fixed: i == fixed)
            for fixed in (2, 0)
            for rank in ("all", "top")
        ],
    ),
    Misconception(
        "more_than_there_are",
        "with k larger than the number of continuations the call stops: topk asks for more than there are",
        _topk_of_beam,
    ),
    Misconception(
        "with_score",
        "a score came back beside the ids, or a list of sequences: the best one's ids alone are wanted",
        [
            lambda *inputs: (beam_search(*inputs), 0.0),
            lambda *inputs: [beam_search(*inputs)],
        ],
    ),
)


REFERENCES = (
    Reference(
        id="layer_norm",
        reference=layer_norm,
        accepted=(norm_of_torch, norm_by_var, norm_by_loops, norm_by_einsum, norm_in_float64),
        misconceptions=NORM_MISCONCEPTIONS,
        cases=norm_cases,
    ),
    Reference(
        id="feed_forward",
        reference=feed_forward,
        accepted=(network_of_torch, network_by_einsum, network_by_loops, network_by_clamp),
        misconceptions=NETWORK_MISCONCEPTIONS,
        cases=network_cases,
    ),
    Reference(
        id="encoder_layer",
        reference=encoder_layer,
        accepted=(_encoder(), layer_of_torch, layer_by_loops, layer_by_einsum),
        misconceptions=ENCODER_MISCONCEPTIONS,
        cases=encoder_cases,
    ),
    Reference(
        id="transformer",
        reference=transformer,
        accepted=(_transformer(), transformer_of_torch, transformer_by_sentence, transformer_by_one_hot),
        misconceptions=TRANSFORMER_MISCONCEPTIONS,
        cases=transformer_cases,
    ),
    Reference(
        id="noam_rate",
        reference=noam_rate,
        accepted=(rate_by_cases, rate_by_numpy, rate_in_torch),
        misconceptions=RATE_MISCONCEPTIONS,
        cases=rate_cases,
    ),
    Reference(
        id="certain_model",
        reference="infinite",
        accepted=("Infinite", "infinity", math.inf),
        misconceptions=CERTAIN,
        cases=lambda rng: [Case("prediction")],
        view=as_word,
    ),
    Reference(
        id="label_smoothed_loss",
        reference=label_smoothed_loss,
        accepted=(loss_of_torch, loss_by_target, loss_by_loops, loss_by_one_hot, loss_by_divergence),
        misconceptions=LOSS_MISCONCEPTIONS,
        cases=loss_cases,
    ),
    Reference(
        id="beam_search",
        reference=beam_search,
        accepted=(_search(), search_in_tensors, search_by_heap, search_stopping_early, *READINGS[1:]),
        misconceptions=BEAM_MISCONCEPTIONS,
        cases=beam_cases,
        view=any_reading,
    ),
)
