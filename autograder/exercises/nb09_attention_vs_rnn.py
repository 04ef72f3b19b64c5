"""Notebook 09, the visible half: self-attention compared with recurrence, in path length, cost and gradient."""

import contextlib
import sys

from autograder.exercise import (
    DIFFERENTIABLE,
    INPUTS_UNCHANGED,
    KEEPS_DTYPE,
    Check,
    Exercise,
    call_answer,
    take_answer,
)

NOTEBOOK = "09_attention_vs_rnn"

MOST_LINES = 30_000  # lines of Python that the cost of a layer may take; a loop that never ends takes more
MOST_INPUTS = 64  # different tensors given to f that are kept


# --- the functions that gradient_reach is given: (B, n, d) → (B, n, d), in the dtype of their input ------------------


def _numbers(seed, *shapes):
    """Standard normal float32 tensors, the same for the same seed."""
    import numpy as np
    import torch

    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).requires_grad_() for shape in shapes]


def linear(n, d, seed):
    """Every output number is a weighted sum of all n · d input numbers; its derivative is the same at every x."""
    (weights,) = _numbers(seed, (n, d, n, d))

    def f(x):
        flat = x.reshape(x.shape[0], n * d) @ weights.to(x.dtype).reshape(n * d, n * d).T
        return flat.reshape(x.shape)

    return f


def recurrent(n, d, seed, gain=1.0):
    """A tanh recurrence; its derivative depends on x."""
    import torch

    w_x, w_h = _numbers(seed, (d, d), (d, d))

    def f(x):
        states, state = [], torch.zeros_like(x[:, 0])
        for t in range(n):
            state = torch.tanh(x[:, t] @ w_x.to(x.dtype) / d**0.5 + gain * state @ w_h.to(x.dtype) / d**0.5)
            states.append(state)
        return torch.stack(states, dim=1)

    return f


def attending(n, d, seed):
    """Self-attention of every position to every position; its derivative depends on x."""
    import torch

    matrices = _numbers(seed, (d, d), (d, d), (d, d))

    def f(x):
        q, k, v = (x @ w.to(x.dtype) / d**0.5 for w in matrices)
        return torch.softmax(q @ k.mT / d**0.5, dim=-1) @ v

    return f


def fading(n, d, seed, keep):
    """A recurrence without tanh that turns its state and shrinks it to `keep` of its length at each step."""
    import torch

    (start,) = _numbers(seed, (d, d))
    turn = torch.linalg.qr(start.detach()).Q

    def f(x):
        states, state = [], torch.zeros_like(x[:, 0])
        for t in range(n):
            state = x[:, t] + keep * state @ turn.to(x.dtype)
            states.append(state)
        return torch.stack(states, dim=1)

    return f


def convolving(n, d, seed, width):
    """A causal convolution: each output sees its own position and the `width - 1` before it."""
    import torch

    (kernel,) = _numbers(seed, (width, d, d))

    def f(x):
        padded = torch.cat([torch.zeros_like(x[:, :1]).expand(-1, width - 1, -1), x], dim=1)
        return sum(padded[:, j : j + n] @ kernel[j].to(x.dtype) for j in range(width))

    return f


# --- driving an answer -----------------------------------------------------------------------------------------------


def call_with_recorded_f(answer, inputs, keywords):
    """Drive gradient_reach and keep what it gave to f, since its result is judged at that x.

    inputs: (f, n, d, rng, again); with `again`, two more calls show where x comes from.
    Returns {"result", "x": the tensors f was given, "twin": those of a call with a copy of rng in its first state,
    "next": those of another call with rng itself}.
    """
    import copy

    f, n, d, rng, again = inputs
    twin = copy.deepcopy(rng)
    result, given = _recorded(answer, f, n, d, rng)
    found = {"result": result, "x": given, "twin": [], "next": []}
    if again:
        found["twin"] = _recorded(answer, f, n, d, twin)[1]
        found["next"] = _recorded(answer, f, n, d, rng)[1]
    return found


def _recorded(answer, f, n, d, rng):
    import torch

    given: list = []

    def recorded(x):
        if isinstance(x, torch.Tensor) and len(given) < MOST_INPUTS:
            given.append(x.detach().clone())
        return f(x)

    result = call_answer(answer, (recorded, n, d, rng), {})
    distinct: list = []
    for x in given:
        x = x + 0  # what a transform of torch.func wrapped is an ordinary tensor again, now that the call is over
        if not any(x.shape == other.shape and x.dtype == other.dtype and torch.equal(x, other) for other in distinct):
            distinct.append(x)
    return result, distinct


def call_with_line_limit(answer, inputs, keywords):
    """Call an answer, and raise TimeoutError in a loop that does not end."""
    left = [MOST_LINES]

    def trace(frame, event, argument):
        left[0] -= 1
        if left[0] < 0:
            raise TimeoutError(f"still running after {MOST_LINES} lines of Python")
        return trace

    before = sys.gettrace()
    with contextlib.ExitStack() as stack:
        stack.callback(sys.settrace, before)
        sys.settrace(trace)
        return call_answer(answer, inputs, keywords)


EXERCISES = (
    Exercise(
        id="rnn_forward",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=1,
        contract=(
            "rnn_forward(x, w_x, w_h, b) → states\n"
            "x: (B, T, C) float tensor, T vectors in each of B sequences\n"
            "w_x: (C, h), w_h: (h, h), b: (h,) float tensors\n"
            "states: (B, T, h), all states in order, in the dtype of the inputs and differentiable in all four;\n"
            "state_t = tanh(x_t w_x + state_{t−1} w_h + b), and the state before the first step is 0"
        ),
        section="A note passed from word to word",
        hints=(
            "What does step t need that only step t − 1 can give it, and what stands there at the first step?",
            "Start with a state of zeros (B, h), with the dtype of x. For each t take x[:, t] (B, C), make the new "
            "state (B, h) from it and the old one, and collect all T of them. Stack them along axis 1: (B, T, h).",
            "state = torch.tanh(x[:, t] @ w_x + ____ @ w_h + b)",
        ),
        checks=(
            Check("states", 3, "tanh(x_t w_x + state_{t−1} w_h + b) at every step, from a state of 0"),
            Check("separate_sequences", 1, "each sequence of the batch as if it were alone"),
            Check("one_step", 1, "tanh(x w_x + b) where T = 1, since the state before it is 0"),
            Check("long_sequence", 1, "the same rule after many steps"),
            Check(DIFFERENTIABLE, 1, "results through which gradients flow to x, w_x, w_h and b, through all steps"),
            Check(KEEPS_DTYPE, 1, "states in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "x, w_x, w_h and b as they were before the call"),
        ),
        axes={"x": "B T C", "w_x": "C h", "w_h": "h h", "b": "h", "result": "B T h"},
        library="torch",
    ),
    Exercise(
        id="gradient_reach",
        kind="I",
        notebook=NOTEBOOK,
        minutes=20,
        difficulty=3,
        contract=(
            "gradient_reach(f, n, d, rng) → reach\n"
            "f: a function of a (1, n, d) float32 tensor that returns a (1, n, d) tensor; it may be called often\n"
            "n: how many positions, d: how many numbers each has\n"
            "rng: the numpy.random.Generator that draws x, (1, n, d) standard normal numbers as float32\n"
            "reach: (n,), entry i the Frobenius norm of the d × d matrix ∂ f(x)[0, n−1] / ∂ x[0, i], all at one x"
        ),
        section="How far does a gradient reach?",
        hints=(
            "The last output is d numbers. How many gradients are needed, each with respect to all of x, and what must "
            "not happen to them before they are squared?",
            "Draw x, make it require a gradient, out = f(x)[0, −1] (d,). For each j the gradient of out[j] by x is "
            "(1, n, d); stack them to (d, n, d). Square, sum over j and over the last axis, take the root: (n,).",
            "rows = [torch.autograd.grad(out[j], x, retain_graph=True)[0][0] for j in range(____)]",
        ),
        checks=(
            Check("norms", 3, "the Frobenius norm of ∂ f(x)[0, n−1] / ∂ x[0, i] for every i"),
            Check("where_x_matters", 2, "the same for an f whose derivative depends on x, at the x that f was given"),
            Check("almost_nothing", 1, "norms near 0 right to a relative error, and 0 where nothing arrives"),
            Check("sizes_of_1", 1, "n = 1 and d = 1 as well"),
            Check("input", 1, "f given (1, n, d) standard normal numbers as float32"),
            Check(
                "follows_rng", 1, "x drawn from rng: a generator in the same state gives the same x, later ones others"
            ),
        ),
        axes={"result": "n"},
        library="torch",
        builders={
            "linear": linear,
            "recurrent": recurrent,
            "attending": attending,
            "fading": fading,
            "convolving": convolving,
        },
        call=call_with_recorded_f,
    ),
    Exercise(
        id="layer_costs",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "layer_costs(kind, n, d, k=3, r=None) → costs\n"
            'kind: "self", "rnn", "conv" or "restricted"\n'
            "n: positions, d: width, k: width of the convolution's kernel\n"
            "r: how many positions restricted attention sees\n"
            'costs: a dict with the integers "operations", "sequential", "path", as in the table\n'
            '"restricted" without r raises ValueError, and so does "conv" with k < 2'
        ),
        section="The price list",
        hints=(
            "By how much does each stacked dilated convolution multiply the number of positions that are seen, and how "
            "many such layers until all n are?",
            "One branch per kind, three integers each, from the table. For the path of a convolution start with reach "
            "1 and multiply by k until it is at least n, counting. ceil(n / r) in integers is −(−n // r). First of all "
            "refuse what cannot be answered.",
            "while reach < n: reach, path = reach * ____, path + 1",
        ),
        checks=(
            Check("self_attention", 1, "n² d operations, 1 sequential step, path 1"),
            Check("recurrence", 1, "n d² operations, n sequential steps, path n"),
            Check("convolution", 2, "k n d² operations, 1 sequential step, path the smallest p with k^p ≥ n"),
            Check("powers_of_k", 1, "the exact path where n is a power of k, or one more"),
            Check("restricted_attention", 1, "r n d operations, 1 sequential step, path n / r rounded up"),
            Check("refuses_no_r", 1, "a ValueError for restricted attention without r"),
            Check("refuses_small_k", 1, "a ValueError for a convolution with k < 2, whose path would never end"),
        ),
        call=call_with_line_limit,
    ),
    Exercise(
        id="cheaper_layer",
        kind="P",
        notebook=NOTEBOOK,
        minutes=2,
        difficulty=1,
        contract=(
            'cheaper_layer = a pair of "self" or "rnn": which layer needs fewer operations at d = 512, for n = 64 '
            "and for n = 4096"
        ),
        section="The price list",
        hints=(
            "n² d against n d²: what is left when both are divided by n d?",
            "Compare n with d, once for n = 64 and once for n = 4096.",
            'cheaper_layer = ("____", "____")',
        ),
        checks=(Check("prediction", 1, "the layer with fewer operations for n = 64, then for n = 4096"),),
        call=take_answer,
    ),
    Exercise(
        id="reflection_09",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_09 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "Through how many multiplications does the gradient of the last word travel to reach the first?",
            "Path first, then what it does to learning, then the two prices: operations and sequential steps.",
            "over k steps a factor g per step becomes ____, so …",
        ),
        checks=(
            Check("path", 1, "k steps in a recurrence against one in attention, whatever the distance"),
            Check(
                "gradient",
                1,
                "over many steps a product of factors shrinks or grows exponentially; over one it does not",
            ),
            Check("price", 1, "n² d against n d² operations, equal at n = d, and n sequential steps against 1"),
            Check("limits", 1, "a limit of the comparison: gates, the task, the training, or generation step by step"),
        ),
        call=take_answer,
    ),
)
