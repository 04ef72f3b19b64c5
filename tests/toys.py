"""A toy course whose exercises show every kind without any notebook."""

import numpy as np
import torch

from autograder.exercise import (
    DIFFERENTIABLE,
    INPUTS_UNCHANGED,
    KEEPS_DTYPE,
    Built,
    Case,
    Check,
    Exercise,
    Misconception,
    Reference,
    Seed,
    take_answer,
)

HINTS = ("what is it?", "plan", "line ____")


def toy(id, kind="I", checks=None, **rest):
    """A visible half with everything that a test does not care about filled in."""
    checks = checks or (Check("values", 2, "the right values"),)
    contract = rest.pop("contract", f"{id}(x) → result")
    return Exercise(id, kind, "00_toy", 1, 1, contract, "Toy section", HINTS, checks, **rest)


def _scaled(x):
    return x / x.sum(axis=-1, keepdims=True)


def _scaled_in_place(x):
    x /= x.sum(axis=-1, keepdims=True)
    return x


def _scaled_cases(rng):
    yield Case("values", (rng.uniform(1, 2, size=(2, 3)),))
    yield Case("values", (rng.uniform(1, 2, size=(3, 3)),))
    yield Case("ones", (np.ones((2, 2)),))
    yield Case(KEEPS_DTYPE, (rng.uniform(1, 2, size=(2, 3)).astype(np.float32),))


def _doubling(factor):
    return lambda x: factor * x


def _bank(answer, inputs, keywords):
    """A written test is handed implementations it cannot tell apart but by what they return."""
    return [bool(answer(implementation)) for implementation in inputs]


def _drawing(answer, inputs, keywords):
    """A drawing is read from its Axes."""
    ax = answer(*inputs)
    return {"labels": (ax.get_xlabel(), ax.get_ylabel()), "lines": [line.get_ydata() for line in ax.lines]}


def _draw(x):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    ax.plot(x)
    ax.set(xlabel="key", ylabel="weight")
    return ax


def _draw_unlabelled(x):
    ax = _draw(x)
    ax.set(xlabel="")
    return ax


def _mean_agrees(case, wanted, got):
    mean, want = float(np.mean(got)), float(np.mean(wanted))
    return None if abs(mean - want) < 0.2 else f"a mean of {mean:.2f}, wanted {want:.2f}"


def _mixes(x, w):
    return torch.tanh(x @ w), x.sum(-1)


def _mixes_detached(x, w):
    return tuple(part.detach() for part in _mixes(x, w))


def _mixes_w_detached(x, w):
    return _mixes(x, w.detach())


def _mixes_doubled(x, w):
    return torch.tanh(2 * x @ w), x.sum(-1)


def _mix_cases(rng):
    for shape in ((2, 3), (3, 3)):
        yield Case("values", (rng.normal(size=shape), rng.normal(size=(3, 4))))
    yield Case(DIFFERENTIABLE, (rng.normal(size=(2, 3)), rng.normal(size=(3, 4))))


def _splits(x, h):
    if x.shape[-1] % h:
        raise ValueError(f"{h} heads do not divide a width of {x.shape[-1]}")
    return x.reshape(*x.shape[:-1], h, x.shape[-1] // h)


TOYS = {
    "toy_scale": (
        toy(
            "toy_scale",
            checks=(
                Check("values", 2, "each row divided by its sum"),
                Check("ones", 1, "rows of ones become equal shares"),
                Check(KEEPS_DTYPE, 1, "the dtype of x"),
                Check(INPUTS_UNCHANGED, 1, "x as it was"),
            ),
            axes={"x": "Tq Tk", "result": "Tq Tk"},
        ),
        Reference(
            "toy_scale",
            _scaled,
            (lambda x: np.stack([row / sum(row) for row in x]), lambda x: (x.T / x.sum(1)).T),
            (
                Misconception("columns", "every column sums to 1", lambda x: x / x.sum(axis=0, keepdims=True)),
                Misconception("max", "the largest entry of each row is 1", lambda x: x / x.max(-1, keepdims=True)),
                Misconception("doubles", "float32 became float64", lambda x: _scaled(x).astype(np.float64)),
                Misconception("in_place", "x itself now holds the result", _scaled_in_place, look_at="Copies"),
                Misconception(
                    "columns+refuses_ones",
                    "every column sums to 1, and rows of ones give an error",
                    lambda x: 1 / 0 if (x == 1).all() else x / x.sum(axis=0, keepdims=True),
                ),
                Misconception(
                    "refuses_ones", "rows of ones give an error", lambda x: 1 / 0 if (x == 1).all() else _scaled(x)
                ),
            ),
            _scaled_cases,
        ),
    ),
    "toy_guess": (
        toy("toy_guess", "P", contract="toy_guess = a number", call=take_answer),
        Reference(
            "toy_guess",
            3,
            (3.0, np.int64(3)),
            (Misconception("two", "that is one too few", 2),),
            lambda rng: [Case("values")],
        ),
    ),
    "toy_test": (
        toy("toy_test", "T", contract="toy_test(f) → bool", call=_bank, builders={"times": _doubling}),
        Reference(
            "toy_test",
            lambda f: f(1.0) == 2.0,
            (lambda f: abs(f(3.0) - 6.0) < 1e-9, lambda f: np.isclose(f(2.0), 4.0)),
            (Misconception("always", "a wrong implementation is let through", lambda f: True),),
            lambda rng: [
                Case("values", tuple(Built("times", {"factor": n}) for n in rng.permutation([1.0, 2.0, 3.0])))
            ],
        ),
    ),
    "toy_plot": (
        toy("toy_plot", "V", contract="toy_plot(x) → Axes", call=_drawing),
        Reference(
            "toy_plot",
            _draw,
            (lambda x: _draw(list(x)), lambda x: _draw(tuple(x))),
            (Misconception("unlabelled", "the key axis has no name", _draw_unlabelled),),
            lambda rng: [Case("values", (rng.normal(size=4),))],
        ),
    ),
    "toy_random": (
        toy("toy_random", contract="toy_random(n, rng) → sample"),
        Reference(
            "toy_random",
            lambda n, rng: rng.normal(1.0, 1.0, size=n),
            (lambda n, rng: 1.0 + rng.standard_normal(n), lambda n, rng: [rng.normal(1.0) for _ in range(n)]),
            (Misconception("centred", "the mean is 0", lambda n, rng: rng.normal(size=n)),),
            lambda rng: [Case("values", (4000, Seed(int(rng.integers(1000)))))],
            agree=_mean_agrees,
        ),
    ),
    "toy_mix": (
        toy(
            "toy_mix",
            contract="toy_mix(x, w) → (out, sums)",
            checks=(
                Check("values", 2, "tanh(x w), and the sum of each row of x"),
                Check(DIFFERENTIABLE, 1, "results through which gradients flow to x and w"),
            ),
            returns=("out", "sums"),
            library="torch",
        ),
        Reference(
            "toy_mix",
            _mixes,
            (
                lambda x, w: (torch.einsum("ij,jk->ik", x, w).tanh(), x @ torch.ones(3, dtype=x.dtype)),
                lambda x, w: [torch.stack([torch.tanh(row @ w) for row in x]), x.sum(1)],
                lambda x, w: ([torch.tanh(row @ w) for row in x], [row.sum() for row in x]),
            ),
            (
                Misconception("detached", "the results are cut off from x and w", _mixes_detached),
                Misconception("constant", "the gradient of w is 0 everywhere", _mixes_w_detached),
                Misconception("doubled", "the argument of tanh is twice as large", _mixes_doubled),
            ),
            _mix_cases,
        ),
    ),
    "toy_split": (
        toy("toy_split", contract="toy_split(x, h) → parts", library="torch"),
        Reference(
            "toy_split",
            _splits,
            (lambda x, h: _splits(x, h) + 0, lambda x, h: _splits(x, h).clone()),
            (
                Misconception(
                    "floor",
                    "the last columns are lost",
                    lambda x, h: x[:, : x.shape[1] // h * h].reshape(len(x), h, -1),
                ),
            ),
            lambda rng: [
                Case("values", (rng.normal(size=(2, 6)), 3)),
                Case("values", (rng.normal(size=(2, 7)), 3), mentions=("3", "7")),
            ],
        ),
    ),
}
