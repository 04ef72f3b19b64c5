"""Notebook 09, the hidden half: references, accepted and wrong answers, cases.

Long, since four exercises share the module and each has wrong answers in several natural shapes.
"""

import itertools
import math
from typing import Any

import numpy as np
import torch

from autograder.compare import as_array
from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Built, Case, Misconception, Reference, Seed
from autograder.exercises.nb09_attention_vs_rnn import EXERCISES
from autograder.plain import describe

# --- rnn_forward -----------------------------------------------------------------------------------------------------


def rnn_forward(x, w_x, w_h, b):
    state = torch.zeros(x.shape[0], w_h.shape[0], dtype=x.dtype)
    states = []
    for t in range(x.shape[1]):
        state = torch.tanh(x[:, t] @ w_x + state @ w_h + b)
        states.append(state)
    return torch.stack(states, dim=1)


def rnn_written_into_zeros(x, w_x, w_h, b):
    inputs = torch.einsum("btc,ch->bth", x, w_x) + b
    states = torch.zeros_like(inputs)
    for t in range(inputs.shape[1]):
        before = states[:, t - 1].clone() if t else 0
        states[:, t] = torch.tanh(inputs[:, t] + (before @ w_h if t else 0))
    return states


def rnn_as_one_product(x, w_x, w_h, b):
    both = torch.cat([w_x, w_h])
    found = [x.new_zeros(len(x), len(b))]
    for step in x.transpose(0, 1):
        found.append((torch.cat([step, found[-1]], dim=-1) @ both + b).tanh())
    return torch.stack(found[1:]).transpose(0, 1)


def rnn_one_sequence_at_a_time(x, w_x, w_h, b):
    sequences = []
    for sequence in x:
        state, states = torch.zeros_like(b), []
        for vector in sequence:
            state = torch.tanh(w_x.T @ vector + w_h.T @ state + b)
            states.append(state)
        sequences.append(torch.stack(states))
    return torch.stack(sequences)


def rnn_by_torch(x, w_x, w_h, b):
    rnn = torch.nn.RNN(*w_x.shape, batch_first=True, dtype=x.dtype)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights = dict(zip(names, (w_x.T, w_h.T, b, torch.zeros_like(b)), strict=True))
    return torch.func.functional_call(rnn, weights, (x,))[0]


def _zeros(x, w_x, w_h, b):
    return x.new_zeros(x.shape[0], w_h.shape[1])


def _rule(step, start=_zeros, order=lambda steps: list(range(steps))):
    """A recurrence with a rule of its own: `step(t, x, state, w_x, w_h, b)`, with all of x."""

    def forward(x, w_x, w_h, b):
        state = start(x, w_x, w_h, b)
        states = {}
        for t in order(x.shape[1]):
            state = step(t, x, state, w_x, w_h, b)
            states[t] = state
        return torch.stack([states[t] for t in sorted(states)], dim=1)

    return forward


def _right(t, x, state, w_x, w_h, b):
    return torch.tanh(x[:, t] @ w_x + state @ w_h + b)


def _after(change):
    """The right states, changed by `change(states, x, w_x, w_h, b)`."""
    return lambda x, w_x, w_h, b: change(rnn_forward(x, w_x, w_h, b), x, w_x, w_h, b)


def over_the_batch(x, w_x, w_h, b):
    state = x.new_zeros(x.shape[1], w_h.shape[0])
    states = []
    for i in range(x.shape[0]):
        state = torch.tanh(x[i] @ w_x + state @ w_h + b)
        states.append(state)
    return torch.stack(states)


def over_the_batch_from_one_state(x, w_x, w_h, b):
    state = x.new_zeros(w_h.shape[0])
    states = []
    for i in range(x.shape[0]):
        state = torch.tanh(x[i] @ w_x + state @ w_h + b)
        states.append(state)
    return torch.stack(states)


def never_reset(x, w_x, w_h, b):
    state, rows = torch.zeros_like(b), []
    for vector in x.reshape(-1, x.shape[-1]):
        state = torch.tanh(vector @ w_x + state @ w_h + b)
        rows.append(state)
    return torch.stack(rows).reshape(*x.shape[:2], -1)


def reshaped_to_time_first(x, w_x, w_h, b):
    states = rnn_forward(x.reshape(x.shape[1], x.shape[0], -1).transpose(0, 1), w_x, w_h, b)
    return states.transpose(0, 1).reshape(*x.shape[:2], -1)


def reshaped_at_the_end(x, w_x, w_h, b):
    return rnn_forward(x, w_x, w_h, b).transpose(0, 1).reshape(*x.shape[:2], -1)


def averaged_over_the_batch(x, w_x, w_h, b):
    def step(t, x, state, w_x, w_h, b):
        return torch.tanh(x[:, t] @ w_x + state.mean(dim=0, keepdim=True) @ w_h + b)

    return _rule(step)(x, w_x, w_h, b)


def first_sequence_for_all(x, w_x, w_h, b):
    def step(t, x, state, w_x, w_h, b):
        return torch.tanh(x[:, t] @ w_x + state[0] @ w_h + b)

    return _rule(step)(x, w_x, w_h, b)


def linear_then_tanh(x, w_x, w_h, b):
    return torch.tanh(_rule(lambda t, x, s, w_x, w_h, b: x[:, t] @ w_x + s @ w_h + b)(x, w_x, w_h, b))


def _tanh_by_exp(z):
    return (torch.exp(z) - torch.exp(-z)) / (torch.exp(z) + torch.exp(-z))


def default_float_start(x, w_x, w_h, b):
    state = torch.zeros(x.shape[0], w_h.shape[0])
    return _rule(_right, start=lambda *given: state)(x, w_x, w_h, b)


def default_float_result(x, w_x, w_h, b):
    states = torch.zeros(*x.shape[:2], w_h.shape[0])
    for t, state in enumerate(rnn_forward(x, w_x, w_h, b).unbind(1)):
        states[:, t] = state
    return states


def in_double(x, w_x, w_h, b):
    return rnn_forward(*(part.double() for part in (x, w_x, w_h, b)))


def _in_float32_and_back(x, w_x, w_h, b):
    return rnn_forward(*(part.float() for part in (x, w_x, w_h, b))).to(x.dtype)


def in_numpy(x, w_x, w_h, b):
    return torch.from_numpy(rnn_forward(*(part.detach() for part in (x, w_x, w_h, b))).numpy().copy())


def without_grad(x, w_x, w_h, b):
    with torch.no_grad():
        return rnn_forward(x, w_x, w_h, b)


def weights_detached(x, w_x, w_h, b):
    return rnn_forward(x, w_x.detach(), w_h.detach(), b.detach())


def _once(part, t):
    return part if t == 0 else torch.zeros_like(part)


def x_scaled_in_place(x, w_x, w_h, b):
    states = rnn_forward(x, w_x, w_h, b)
    with torch.no_grad():
        x.mul_(2)
    return states


def b_added_into_w(x, w_x, w_h, b):
    states = rnn_forward(x, w_x, w_h, b)
    with torch.no_grad():
        w_h += b
    return states


def x_overwritten_by_states(x, w_x, w_h, b):
    states = rnn_forward(x, w_x, w_h, b)
    if states.shape == x.shape:
        x.data[:] = states.detach()
    return states


def states_in_x_dtype_of_b(x, w_x, w_h, b):
    return rnn_forward(x, w_x, w_h, b).float()


def rnn_cases(rng):
    def given(b, t, c, h, dtype=np.float32, carry=1.0):
        shapes = ((b, t, c), (c, h), (h, h), (h,))
        scales = (1.0, 0.7 / math.sqrt(c), carry / math.sqrt(h), 0.5)
        return tuple((s * rng.standard_normal(shape)).astype(dtype) for shape, s in zip(shapes, scales, strict=True))

    yield Case("states", given(1, 5, 4, 2))
    yield Case("states", given(1, 3, 2, 6))
    yield Case("states", given(1, 4, 4, 4))  # where a transposed or a wrong matrix fits, and an index of b does too
    x, *weights = given(1, 4, 3, 5)
    x[0, 1] *= 1000 / np.abs(x[0, 1]).max()
    yield Case("states", (x, *weights))
    yield Case("separate_sequences", given(5, 3, 4, 2))
    yield Case("separate_sequences", given(2, 4, 3, 6))
    yield Case("separate_sequences", given(3, 3, 3, 3))
    yield Case("one_step", given(3, 1, 4, 2))
    yield Case("one_step", given(1, 1, 1, 1))
    yield Case("long_sequence", given(2, 60, 3, 4, carry=0.9))
    yield Case(DIFFERENTIABLE, given(2, 5, 4, 3, np.float64))
    yield Case(DIFFERENTIABLE, given(3, 4, 3, 3, np.float64))
    yield Case(KEEPS_DTYPE, given(2, 3, 4, 5, np.float32))
    # So large a w_h makes rounding grow from step to step: float32 in between shows in a float64 result.
    yield Case(KEEPS_DTYPE, given(2, 30, 4, 5, np.float64, carry=2.5))


RNN_MISCONCEPTIONS = (
    Misconception(
        "state_not_carried",
        "every step gives tanh(x_t w_x + b), as if it were the first: the state of the step before has no effect",
        [
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + b)),
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + torch.zeros_like(s) @ w_h + b)),
        ],
    ),
    Misconception(
        "reads_x_twice",
        "the state before the first step is not 0: it already comes from x_0, which step 0 then reads a second time",
        [
            _rule(_right, start=lambda x, w_x, w_h, b: torch.tanh(x[:, 0] @ w_x + b)),
            _rule(_right, start=lambda x, w_x, w_h, b: torch.tanh(x[:, 0] @ w_x)),
            _rule(_right, start=lambda x, w_x, w_h, b: x[:, 0] @ w_x + b),
            _rule(_right, start=lambda x, w_x, w_h, b: x[:, 0] @ w_x),
        ],
    ),
    Misconception(
        "x_for_state",
        "with all sizes equal the numbers are those of an input times w_h: x stands where the state before should",
        [
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + x[:, t] @ w_h + b)),
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + _once(x[:, t - 1], 1 - t) @ w_h + b)),
            _rule(
                lambda t, x, s, w_x, w_h, b: torch.tanh(
                    x[:, t] @ w_x + (x[:, t - 1] @ w_h if t else torch.zeros_like(s)) + b
                )
            ),
        ],
    ),
    Misconception(
        "input_twice_in_sum",
        "the input counts double: x_t w_x stands twice in the sum of each step",
        _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(2 * (x[:, t] @ w_x) + s @ w_h + b)),
    ),
    Misconception(
        "over_the_batch",
        "the state travels from sequence to sequence instead of from step to step: the loop runs over axis 0",
        [over_the_batch, over_the_batch_from_one_state],
    ),
    Misconception(
        "never_reset",
        "each sequence starts from the last state of the one before it: a single state runs through the whole batch",
        never_reset,
    ),
    Misconception(
        "reshaped",
        "with several sequences, steps stand in the wrong rows: reshape does not swap the axes B and T, transpose does",
        [reshaped_to_time_first, reshaped_at_the_end],
    ),
    Misconception(
        "state_shared_in_batch",
        "with several sequences, all share one state before each step: a sequence hears of the others",
        [averaged_over_the_batch, first_sequence_for_all],
    ),
    Misconception(
        "w_h_transposed",
        "the states before are multiplied by the transpose of w_h: x @ W is meant, W (in, out)",
        _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + s @ w_h.T + b)),
    ),
    Misconception(
        "w_x_transposed",
        "with all sizes equal the inputs are multiplied by the transpose of w_x, and other sizes do not fit",
        _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x.T + s @ w_h + b)),
    ),
    Misconception(
        "both_transposed",
        "with all sizes equal both matrices are transposed, as torch.nn.Linear keeps them; here W is (in, out)",
        [
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x.T + s @ w_h.T + b)),
            _rule(
                lambda t, x, s, w_x, w_h, b: torch.tanh(
                    torch.nn.functional.linear(x[:, t], w_x, b) + torch.nn.functional.linear(s, w_h)
                )
            ),
        ],
    ),
    Misconception(
        "matrices_swapped",
        "with all sizes equal the inputs are multiplied by w_h and the states by w_x",
        _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_h + s @ w_x + b)),
    ),
    Misconception(
        "bias_by_step",
        "step t adds the single number b[t] to all its states: b has one number per state, the same at every step",
        [
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + s @ w_h + b[t])),
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + s @ w_h + b[t % len(b)])),
        ],
    ),
    Misconception(
        "bias_grows",
        "the bias grows from step to step: step t adds it t + 1 times",
        _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + s @ w_h + (t + 1) * b)),
    ),
    Misconception(
        "bias_times_t",
        "the bias grows from step to step: step t adds it t times, and the first step not at all",
        _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + s @ w_h + t * b)),
    ),
    Misconception(
        "bias_first_step_only",
        "the bias enters at the first step only",
        _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + s @ w_h + _once(b, t))),
    ),
    Misconception(
        "bias_not_at_first_step",
        "the bias is missing at the first step, and right at the others",
        _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + s @ w_h + b - _once(b, t))),
    ),
    Misconception(
        "bias_twice",
        "the bias is added twice, as if input and state each had one",
        _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + b + s @ w_h + b)),
    ),
    Misconception(
        "bias_through_w_h",
        "the bias goes through w_h: it was added to the state before, not to the sum",
        [
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + (s + b) @ w_h)),
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + (s + b) @ w_h + b)),
            _rule(
                lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + s @ w_h),
                start=lambda x, w_x, w_h, b: b.expand(x.shape[0], -1),
            ),
        ],
    ),
    Misconception(
        "bias_after_tanh",
        "states lie outside −1 to 1 by as much as the bias: it was added after tanh",
        [
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + s @ w_h) + b),
            _after(lambda states, x, w_x, w_h, b: rnn_forward(x, w_x, w_h, 0 * b) + b),
        ],
    ),
    Misconception(
        "no_bias",
        "the bias is missing",
        _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + s @ w_h)),
    ),
    Misconception(
        "no_tanh",
        "states are not held between −1 and 1: there is no tanh",
        _rule(lambda t, x, s, w_x, w_h, b: x[:, t] @ w_x + s @ w_h + b),
    ),
    Misconception(
        "tanh_only_on_output",
        "the first step is right and the next ones are not: tanh was taken of the result, not of what is carried on",
        linear_then_tanh,
    ),
    Misconception(
        "tanh_of_parts",
        "tanh was taken of a part of the sum before the rest was added",
        [
            _rule(lambda t, x, s, w_x, w_h, b: x[:, t] @ w_x + torch.tanh(s @ w_h + b)),
            _rule(lambda t, x, s, w_x, w_h, b: x[:, t] @ w_x + torch.tanh(s @ w_h) + b),
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + b) + s @ w_h),
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x) + s @ w_h + b),
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x) + torch.tanh(s @ w_h) + b),
        ],
    ),
    Misconception(
        "tanh_twice",
        "tanh was taken a second time, of each state",
        [
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(_right(t, x, s, w_x, w_h, b))),
            _after(lambda states, *given: torch.tanh(states)),
            _rule(lambda t, x, s, w_x, w_h, b: torch.tanh(x[:, t] @ w_x + torch.tanh(s) @ w_h + b)),
        ],
    ),
    Misconception(
        "sigmoid",
        "all states are positive and below 1: a sigmoid stands in the place of tanh",
        _rule(lambda t, x, s, w_x, w_h, b: torch.sigmoid(x[:, t] @ w_x + s @ w_h + b)),
    ),
    Misconception(
        "relu",
        "negative states are 0: a ReLU stands in the place of tanh",
        _rule(lambda t, x, s, w_x, w_h, b: torch.relu(x[:, t] @ w_x + s @ w_h + b)),
    ),
    Misconception(
        "tanh_overflows",
        "large inputs give NaN: exp overflows in a tanh written out, torch.tanh does not",
        _rule(lambda t, x, s, w_x, w_h, b: _tanh_by_exp(x[:, t] @ w_x + s @ w_h + b)),
    ),
    Misconception(
        "residual",
        "the old state is added to the new one outside tanh, so states add up over the steps",
        [
            _rule(lambda t, x, s, w_x, w_h, b: s + _right(t, x, s, w_x, w_h, b)),
            _after(lambda states, *given: states.cumsum(dim=1)),
        ],
    ),
    Misconception(
        "averaged_with_old",
        "each state is the mean of the new one and the old one: nothing of that kind is in the rule",
        _rule(lambda t, x, s, w_x, w_h, b: (s + _right(t, x, s, w_x, w_h, b)) / 2),
    ),
    Misconception(
        "only_last",
        "a single state came back, the last; all T are wanted, (B, T, h)",
        [_after(lambda states, *given: states[:, -1]), _after(lambda states, *given: states[:, -1:])],
    ),
    Misconception(
        "last_repeated",
        "all steps hold the same numbers, those of the last state",
        _after(lambda states, *given: states[:, -1:].expand_as(states)),
    ),
    Misconception(
        "states_and_last",
        "two results came back, all states and the last one, as torch.nn.RNN does; only the states are wanted",
        [
            _after(lambda states, *given: (states, states[:, -1])),
            _after(lambda states, *given: (states, states[:, -1:].transpose(0, 1))),
        ],
    ),
    Misconception(
        "time_first",
        "the result is (T, B, h), one step after the other; (B, T, h) is wanted, each sequence with its steps",
        [_after(lambda states, *given: states.transpose(0, 1)), _after(lambda states, *given: list(states.unbind(1)))],
    ),
    Misconception(
        "time_last",
        "the result is (B, h, T): the states were stacked along the last axis, axis 1 is wanted",
        _after(lambda states, *given: states.transpose(1, 2)),
    ),
    Misconception(
        "state_before",
        "the first state is 0 and every other one comes one step late: the state was kept before it was renewed",
        _after(lambda states, *given: torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)),
    ),
    Misconception(
        "with_start",
        "there are T + 1 states: the state of zeros before the first step is among them",
        _after(lambda states, *given: torch.cat([torch.zeros_like(states[:, :1]), states], dim=1)),
    ),
    Misconception(
        "last_step_missing",
        "the last step is missing",
        [
            _after(lambda states, *given: states[:, :-1]),
            _after(lambda states, *given: torch.cat([states[:, :-1], torch.zeros_like(states[:, :1])], dim=1)),
        ],
    ),
    Misconception(
        "first_step_missing",
        "the first step is missing: the recurrence starts with x_1",
        [
            lambda x, w_x, w_h, b: rnn_forward(x[:, 1:], w_x, w_h, b),
            lambda x, w_x, w_h, b: torch.nn.functional.pad(rnn_forward(x[:, 1:], w_x, w_h, b), (0, 0, 1, 0)),
        ],
    ),
    Misconception(
        "nothing_for_one_step",
        "where T = 1 the states are 0: the only step is missing",
        _after(lambda states, *given: states if states.shape[1] > 1 else torch.zeros_like(states)),
    ),
    Misconception(
        "backwards",
        "the last step is computed as if it were the first: the recurrence runs from the end to the beginning",
        _rule(_right, order=lambda steps: list(reversed(range(steps)))),
    ),
    Misconception(
        "reversed_result",
        "the states are right, and stand in reversed order",
        _after(lambda states, *given: states.flip(1)),
    ),
    Misconception(
        "start_not_0",
        "the first step is not tanh(x_0 w_x + b): the state before it is made of ones, not of zeros",
        _rule(_right, start=lambda x, w_x, w_h, b: torch.ones_like(_zeros(x, w_x, w_h, b))),
    ),
    Misconception(
        "state_detached",
        "the states are right, but gradients stop at the step they start from: the state was detached on its way",
        [
            _rule(lambda t, x, s, w_x, w_h, b: _right(t, x, s.detach(), w_x, w_h, b)),
            _rule(lambda t, x, s, w_x, w_h, b: _right(t, x, s.clone().detach(), w_x, w_h, b)),
        ],
    ),
    Misconception(
        "no_gradient",
        "the states are right, and no gradient flows from them to any input",
        [in_numpy, without_grad, _after(lambda states, *given: states.detach())],
    ),
    Misconception(
        "weights_detached",
        "the states are right, and gradients flow to x but not to w_x, w_h and b",
        weights_detached,
    ),
    Misconception(
        "start_in_float32",
        "float64 inputs stop with an error: torch.zeros is float32 unless told otherwise, and x is not",
        default_float_start,
    ),
    Misconception(
        "becomes_float32",
        "float64 inputs gave float32 states: torch.zeros is float32 unless told otherwise",
        [default_float_result, states_in_x_dtype_of_b],
    ),
    Misconception(
        "float32_in_between",
        "float64 states are right only to the precision of float32: they were computed in float32 and converted back",
        _in_float32_and_back,
    ),
    Misconception("becomes_float64", "float32 inputs gave float64 states", in_double),
    Misconception(
        "changes_inputs",
        "an input is another after the call: an operation in place, such as +=, writes into the tensor that was given",
        [x_scaled_in_place, b_added_into_w, x_overwritten_by_states],
    ),
)

# --- gradient_reach --------------------------------------------------------------------------------------------------


def _drawn(n, d, rng):
    return torch.from_numpy(rng.standard_normal((1, n, d), dtype=np.float32))


def _derivatives(f, x, outputs=slice(-1, None)):
    """∂ f(x)[0, t, j] / ∂ x[0, i, c] for the positions t in `outputs`, as (t, j, i, c)."""
    x = x.clone().requires_grad_()
    out = f(x)[0, outputs]
    rows = [torch.autograd.grad(number, x, retain_graph=True)[0][0] for number in out.flatten()]
    return torch.stack(rows).reshape(*out.shape, *x.shape[1:])


def gradient_reach(f, n, d, rng):
    return _derivatives(f, _drawn(n, d, rng))[0].square().sum(dim=(0, 2)).sqrt()


def reach_by_jacobian(f, n, d, rng):
    x = torch.tensor(rng.standard_normal((1, n, d)), dtype=torch.float32)
    jacobian = torch.autograd.functional.jacobian(lambda x: f(x)[0, n - 1], x)  # (d, 1, n, d)
    return torch.stack([torch.linalg.matrix_norm(jacobian[:, 0, i]) for i in range(n)])


def reach_by_jacrev(f, n, d, rng):
    x = torch.from_numpy(rng.normal(size=(n, d)).astype(np.float32))
    return torch.func.jacrev(lambda x: f(x[None])[0, -1])(x).movedim(1, 0).flatten(1).norm(dim=1)


def reach_by_jacfwd(f, n, d, rng):
    x = torch.from_numpy(rng.standard_normal((1, n, d)).astype("float32"))
    jacobian = torch.func.jacfwd(lambda x: f(x)[0, -1])(x)
    return torch.linalg.norm(jacobian, dim=(0, 3))[0]


def _gradient(x: Any) -> Any:
    return x.grad


def reach_by_backward(f, n, d, rng):
    numbers = rng.standard_normal((1, n, d)).astype(np.float32)
    total = np.zeros(n)
    for j in range(d):  # a new graph for each output
        x = torch.tensor(numbers, requires_grad=True)
        f(x)[0, -1, j].backward()
        total += (_gradient(x)[0].numpy().astype(float) ** 2).sum(axis=-1)
    return np.sqrt(total).tolist()


def reach_by_zeroing(f, n, d, rng):
    x = torch.as_tensor(rng.standard_normal((1, n, d)).astype(np.float32)).requires_grad_(True)
    out, total = f(x), torch.zeros(n)
    for j in range(d):
        x.grad = None
        out[0, -1, j].backward(retain_graph=True)
        total = total + _gradient(x)[0].pow(2).sum(-1)
    return total**0.5


def reach_batched(f, n, d, rng):
    f(torch.zeros(1, n, d))  # a look at what f gives, at another x
    x = _drawn(n, d, rng).requires_grad_()
    (rows,) = torch.autograd.grad(f(x)[0, -1], x, torch.eye(d), is_grads_batched=True)  # (d, 1, n, d)
    return rows[:, 0].transpose(0, 1).reshape(n, -1).norm(dim=-1)


_ROWS: dict[tuple, torch.Tensor] = {}


def _kept_derivatives(f, x):
    """The derivatives of the last output, kept by x and what f gives there, since many wrong answers read them."""
    if (x == x.flatten()[0]).all():
        return _derivatives(f, x)[0]  # nothing was drawn, and at 0 many f give the same
    with torch.no_grad():
        key = (x.dtype, x.shape, x.numpy().tobytes(), f(x).numpy().tobytes())
    if key not in _ROWS:
        if len(_ROWS) > 200:
            _ROWS.clear()
        _ROWS[key] = _derivatives(f, x)[0]
    return _ROWS[key].clone()


def _reach(measure, draw=_drawn):
    """An answer that reads the derivatives of the last output, (j, i, c), in its own way."""
    return lambda f, n, d, rng: measure(_kept_derivatives(f, draw(n, d, rng)))


def _frobenius(rows):
    return rows.square().sum(dim=(0, 2)).sqrt()


def _at_output(position):
    return lambda f, n, d, rng: _frobenius(_derivatives(f, _drawn(n, d, rng), slice(position, position + 1))[0])


def every_output(f, n, d, rng):
    rows = _derivatives(f, _drawn(n, d, rng), slice(None))
    return rows.square().sum(dim=(0, 1, 3)).sqrt()


def every_output_summed(f, n, d, rng):
    return _derivatives(f, _drawn(n, d, rng), slice(None)).sum(dim=(0, 1)).norm(dim=-1)


def from_the_last_input(f, n, d, rng):
    rows = _derivatives(f, _drawn(n, d, rng), slice(None))
    return rows[:, :, -1].square().sum(dim=(1, 2)).sqrt()


def from_the_first_input(f, n, d, rng):
    rows = _derivatives(f, _drawn(n, d, rng), slice(None))
    return rows[:, :, 0].square().sum(dim=(1, 2)).sqrt()


def gradient_of_length(f, n, d, rng):
    x = _drawn(n, d, rng).requires_grad_()
    return torch.autograd.grad(f(x)[0, -1].norm(), x)[0][0].norm(dim=-1)


def gradient_of_squares(f, n, d, rng):
    x = _drawn(n, d, rng).requires_grad_()
    return torch.autograd.grad(f(x)[0, -1].square().sum(), x)[0][0].norm(dim=-1)


def drawn_for_each_output(f, n, d, rng):
    rows = [_derivatives(f, _drawn(n, d, rng))[0, j] for j in range(d)]
    return _frobenius(torch.stack(rows))


def graph_gone(f, n, d, rng):
    x = _drawn(n, d, rng).requires_grad_()
    out = f(x)[0, -1]
    return _frobenius(torch.stack([torch.autograd.grad(out[j], x)[0][0] for j in range(d)]))


def graph_gone_backward(f, n, d, rng):
    x = _drawn(n, d, rng).requires_grad_()
    out, total = f(x)[0, -1], torch.zeros(n)
    for j in range(d):
        x.grad = None
        out[j].backward()
        total += x.grad[0].square().sum(-1)
    return total.sqrt()


def no_requires_grad(f, n, d, rng):
    x = _drawn(n, d, rng)
    out = f(x)[0, -1]
    return _frobenius(torch.stack([torch.autograd.grad(out[j], x, retain_graph=True)[0][0] for j in range(d)]))


def no_requires_grad_backward(f, n, d, rng):
    x = _drawn(n, d, rng)
    out, total = f(x)[0, -1], torch.zeros(n)
    for j in range(d):
        out[j].backward(retain_graph=True)
        total += x.grad[0].square().sum(-1)
    return total.sqrt()


def _floored(eps):
    return _reach(lambda rows: (rows.square().sum(dim=(0, 2)) + eps).sqrt())


def _accumulated(measure):
    return _reach(lambda rows: measure(rows.cumsum(dim=0)))


def _global_draw(n, d, rng):
    return torch.randn(1, n, d)


def _own_seed_draw(n, d, rng):
    return _drawn(n, d, np.random.default_rng(0))


def _copied_draw(n, d, rng):
    import copy

    return _drawn(n, d, copy.deepcopy(rng))


def reach_cases(rng):
    def seed():
        return int(rng.integers(2**31))

    def case(check, name, n, d, again=False, **params):
        built = Built(name, {"n": n, "d": d, "seed": seed(), **params})
        return Case(check, (built, n, d, Seed(seed()), again))

    yield case("norms", "linear", 5, 3)
    yield case("norms", "linear", 2, 4)
    yield case("norms", "linear", 3, 3)
    yield case("norms", "convolving", 4, 6, width=2)
    yield case("where_x_matters", "recurrent", 5, 3)
    yield case("where_x_matters", "attending", 3, 4)
    yield case("where_x_matters", "attending", 4, 4)
    yield case("almost_nothing", "fading", 13, 2, keep=0.1)
    yield case("almost_nothing", "convolving", 6, 3, width=2)
    yield case("sizes_of_1", "linear", 1, 4)
    yield case("sizes_of_1", "linear", 4, 1)
    yield case("sizes_of_1", "attending", 1, 1)
    yield case("input", "convolving", 20, 16, width=1)
    yield case("follows_rng", "linear", 3, 2, again=True)


CLOSE = 1e-4  # relative error of a right norm
_BUILDERS = next(exercise for exercise in EXERCISES if exercise.id == "gradient_reach").builders
_NORMS: dict[tuple, np.ndarray] = {}  # what was computed for the x of a case, since several rules ask for it


def _norms_at(case, x):
    """The wanted numbers at an x that f was given; None where x has not the shape that f takes."""
    built, n, d = case.inputs[:3]
    if x.dtype.kind != "f" or x.ndim != 3 or x.shape[1:] != (n, d) or not (x == x[:1]).all():
        return None
    key = (built.name, tuple(built.params.items()), x[0].tobytes())
    if key not in _NORMS:
        if len(_NORMS) > 200:
            _NORMS.clear()
        f = _BUILDERS[built.name](**built.params)
        _NORMS[key] = _frobenius(_derivatives(f, torch.from_numpy(x[:1].astype(np.float64)))[0]).numpy()
    return _NORMS[key]


def _first_fault(case, outcome):
    """What is wrong with an outcome, or None."""
    n, d = case.inputs[1:3]
    array = as_array(outcome["result"])
    given = outcome["x"]
    if array is None or array.dtype.kind not in "fiu":
        return f"the result is {describe(outcome['result'])}; {n} numbers are wanted, shape ({n},)"
    if array.shape != (n,):
        return f"the result has the shape {array.shape}; ({n},) is wanted"
    if not given:
        return "f was never called"
    wanted = [_norms_at(case, x) for x in given]
    known = [x for x, norms in zip(given, wanted, strict=True) if norms is not None]
    if not known:
        return f"f was given a {describe(given[0])}; a float32 (1, {n}, {d}) is wanted"
    right = [norms is not None and np.allclose(array, norms, rtol=CLOSE, atol=0) for norms in wanted]
    if case.check == "input":
        faults = [_input_fault(x, n, d) for x in given]
        return None if None in faults else faults[0]
    if case.check == "follows_rng":
        return _rng_fault(outcome)
    if any(right):
        return None
    norms = next(norms for norms in wanted if norms is not None)
    return _values_fault(array, norms, len(known))


def _values_fault(array, norms, different):
    """Name the entry that is furthest off, and what all have in common."""
    bad = ~np.isclose(array, norms, rtol=CLOSE, atol=0)
    off = np.where(bad, np.nan_to_num(np.abs(array - norms) / np.maximum(norms, 1e-30), nan=np.inf), -1)
    i = int(off.argmax())
    text = f"reach[{i}] = {array[i]:.5g}; at the x that f was given it is {norms[i]:.5g}"
    if len(array) > 1:
        text += f"; {bad.sum()} of {len(array)} entries differ"
    with np.errstate(all="ignore"):
        ratios = array / norms
    if (
        len(array) > 1
        and np.isfinite(ratios).all()
        and np.allclose(ratios, ratios[0], rtol=1e-3)
        and abs(ratios[0] - 1) > 5e-3
    ):
        text += f", each {ratios[0]:.4g} times what is wanted"
    return text + (f"; f was given {different} different x" if different > 1 else "")


def _input_fault(x, n, d):
    if x.shape != (1, n, d):
        return f"f was given a tensor of shape {x.shape}; (1, {n}, {d}) is wanted"
    if x.dtype != np.float32:
        return f"f was given {x.dtype.name} numbers; float32 is wanted"
    size, mean, std, top = x.size, float(x.mean()), float(x.std()), float(np.abs(x).max())
    # Each bound is missed by standard normal numbers less than once in ten million draws.
    if abs(mean) > 5.5 / math.sqrt(size) or abs(std - 1) > 5.5 / math.sqrt(2 * size):
        return f"the {size} numbers of x have mean {mean:.3g} and standard deviation {std:.3g}; 0 and 1 are wanted"
    if not 1.75 < top < 6.5:
        return f"the largest of {size} numbers of x is {top:.3g}, unlike standard normal ones"
    return None


def _rng_fault(outcome):
    first, twin, after = (outcome[name] for name in ("x", "twin", "next"))
    if not (len(first) == len(twin) == len(after)):
        return "calls with the same f, n and d gave f different numbers of inputs"
    repeats = [a.shape == b.shape and np.array_equal(a, b) for a, b in zip(first, twin, strict=True)]
    moves = [a.shape == b.shape and not np.array_equal(a, b) for a, b in zip(first, after, strict=True)]
    if any(a and b for a, b in zip(repeats, moves, strict=True)):
        return None
    if all(repeats):
        return "every call gives f the same x"
    return "with generators in the same state f is given different x"


def reach_agrees(case, wanted, got):
    """Judge an outcome at the x that its f was given; two wrong ones agree if they show the same numbers there."""
    faults = _first_fault(case, wanted), _first_fault(case, got)
    if None in faults:
        return None if faults == (None, None) else faults[1] or "right, where a wrong answer is not"
    a, b = as_array(wanted["result"]), as_array(got["result"])
    alike = (a is None) == (b is None) and len(wanted["x"]) == len(got["x"])
    if not alike or (a is not None and b is not None and a.shape != b.shape):
        return faults[1]
    if case.check in ("input", "follows_rng"):
        return None if _same_input_fault(case, *faults) else faults[1]
    if a is None or b is None:
        return None
    depends = case.check == "where_x_matters"
    if depends and not all(np.array_equal(x, y) for x, y in zip(wanted["x"], got["x"], strict=True)):
        return None  # wrong at two different x: the numbers cannot be compared
    return None if np.allclose(a, b, rtol=1e-3, atol=1e-30, equal_nan=True) else faults[1]


def _same_input_fault(case, one, other):
    """Whether two sentences say the same apart from their numbers."""
    if case.check == "follows_rng":
        return one == other
    words = [text.split("; ")[-1] if "numbers of x have" not in text else text for text in (one, other)]
    if all("numbers of x have" in text for text in (one, other)):
        found = [[float(word.rstrip(";,")) for word in text.split() if _is_number(word)] for text in (one, other)]
        return np.allclose(found[0], found[1], atol=0.25)
    if all("the largest of" in text for text in (one, other)):
        return True
    return words[0] == words[1]


def _is_number(word):
    try:
        float(word.rstrip(";,"))
    except ValueError:
        return False
    return True


REACH_MISCONCEPTIONS = (
    Misconception(
        "sums_signed",
        "entries of opposite sign cancel: signed derivatives were added up before they were squared, as the gradient "
        "of a sum of outputs does",
        [
            _reach(lambda rows: rows.sum(dim=0).norm(dim=-1)),
            _reach(lambda rows: rows.sum(dim=(0, 2)).abs()),
            _reach(lambda rows: rows.sum(dim=2).norm(dim=0)),
            _reach(lambda rows: rows.mean(dim=0).norm(dim=-1)),
            _reach(lambda rows: rows.sum(dim=0).abs().sum(dim=-1)),
            _reach(lambda rows: rows.sum(dim=(0, 2))),
        ],
    ),
    Misconception(
        "accumulates",
        "derivatives of several outputs were added together before they were squared: x.grad adds up from one backward "
        "to the next until it is set to None",
        [
            _accumulated(_frobenius),
            _accumulated(lambda rows: rows.norm(dim=-1).sum(dim=0)),
            _reach(lambda rows: rows.sum(dim=0).norm(dim=-1) * math.sqrt(len(rows))),
            _accumulated(lambda rows: rows.square().sum(dim=(0, 2))),
        ],
    ),
    Misconception("first_output", "these are the derivatives of the first output, not of the last", _at_output(0)),
    Misconception(
        "every_output",
        "these are the derivatives of the outputs at all positions together; only the last is asked for",
        [every_output, every_output_summed],
    ),
    Misconception(
        "wrong_way",
        "entry i says how the last input moves output i; asked is how input i moves the last output",
        from_the_last_input,
    ),
    Misconception("from_first_input", "entry i says how the first input moves output i", from_the_first_input),
    Misconception(
        "squared",
        "each entry is the square of what is wanted: the root is missing",
        _reach(lambda rows: rows.square().sum(dim=(0, 2))),
    ),
    Misconception(
        "averaged",
        "the squares were averaged, not added up, over the outputs, the inputs or both",
        [
            _reach(lambda rows: rows.square().mean(dim=(0, 2)).sqrt()),
            _reach(lambda rows: rows.square().sum(dim=2).mean(dim=0).sqrt()),
            _reach(lambda rows: rows.norm(dim=2).mean(dim=0)),
            _reach(lambda rows: rows.square().mean(dim=(0, 2))),
        ],
    ),
    Misconception(
        "lengths_added",
        "the lengths of the d gradients were added up; their squares are to be added, and the root taken at the end",
        _reach(lambda rows: rows.norm(dim=2).sum(dim=0)),
    ),
    Misconception(
        "absolute_values",
        "absolute values were added up or averaged; the Frobenius norm adds squares and takes the root",
        [
            _reach(lambda rows: rows.abs().sum(dim=(0, 2))),
            _reach(lambda rows: rows.abs().mean(dim=(0, 2))),
            _reach(lambda rows: rows.abs().sum(dim=0).norm(dim=-1)),
        ],
    ),
    Misconception(
        "largest",
        "this is the largest singular value or the largest entry of each matrix, not the Frobenius norm, the root of "
        "the sum of all squares",
        [
            _reach(lambda rows: torch.linalg.matrix_norm(rows.movedim(1, 0), 2)),
            _reach(lambda rows: rows.abs().amax(dim=(0, 2))),
            _reach(lambda rows: rows.norm(dim=2).amax(dim=0)),
        ],
    ),
    Misconception(
        "one_number_of_output",
        "this is the gradient of a single number of the last output; all d of them count",
        [
            _reach(lambda rows: rows[-1].norm(dim=-1)),
            _reach(lambda rows: rows[0].norm(dim=-1)),
        ],
    ),
    Misconception(
        "diagonal_only",
        "only the derivative of output j by input j counts here; the Frobenius norm takes all d · d entries",
        _reach(lambda rows: rows.diagonal(dim1=0, dim2=2).norm(dim=-1)),
    ),
    Misconception(
        "gradient_of_length",
        "this is the gradient of the length of the last output, or of its square: a single number was made of the d "
        "outputs before the derivative",
        [gradient_of_length, gradient_of_squares],
    ),
    Misconception(
        "relative_to_others",
        "the entries were divided by their sum, their largest or their last; the norms themselves are wanted",
        [
            _reach(lambda rows: _frobenius(rows) / _frobenius(rows).sum()),
            _reach(lambda rows: _frobenius(rows) / _frobenius(rows).max()),
            _reach(lambda rows: _frobenius(rows) / _frobenius(rows)[-1]),
            _reach(lambda rows: _frobenius(rows) / _frobenius(rows).norm()),
        ],
    ),
    Misconception(
        "by_distance",
        "the norms are right and in reversed order: entry i belongs to position i, not to distance i",
        _reach(lambda rows: _frobenius(rows).flip(0)),
    ),
    Misconception("logarithm", "these are the logarithms of the norms", _reach(lambda rows: _frobenius(rows).log())),
    Misconception(
        "one_number",
        "a single number came back, for all positions together; n are wanted",
        [
            _reach(lambda rows: rows.norm()),
            _reach(lambda rows: _frobenius(rows).sum()),
            _reach(lambda rows: rows[:, 0].norm()),
        ],
    ),
    Misconception(
        "not_reduced",
        "one axis too many is left: both the d outputs and the d numbers of a position belong into each norm",
        [
            _reach(lambda rows: rows.norm(dim=2)),
            _reach(lambda rows: rows.norm(dim=0)),
            _reach(lambda rows: rows.norm(dim=2).T),
        ],
    ),
    Misconception(
        "leading_axis",
        "the result has a leading axis of size 1, that of the batch; (n,) is wanted",
        _reach(lambda rows: _frobenius(rows)[None]),
    ),
    Misconception(
        "floored",
        "norms near 0 come out too large: something small was added under the root or to the result",
        [_floored(10.0**-e) for e in (6, 8, 10, 12, 16, 20)]
        + [_reach(lambda rows, e=e: _frobenius(rows) + 10.0**-e) for e in (6, 8, 10, 12)],
    ),
    Misconception(
        "x_drawn_again",
        "right where the derivative is the same at every x, and wrong elsewhere: f was given a new x for each output",
        drawn_for_each_output,
    ),
    Misconception(
        "graph_gone",
        "the second gradient stops with an error: the graph is freed by the first unless retain_graph=True",
        [graph_gone, graph_gone_backward],
    ),
    Misconception(
        "no_requires_grad",
        "there is no gradient by x: x was not told to require one before f was called",
        [no_requires_grad, no_requires_grad_backward],
    ),
    Misconception(
        "float64_x",
        "the norms are right, but x is float64: standard_normal gives float64 unless told otherwise",
        [
            _reach(_frobenius, draw=lambda n, d, rng: torch.from_numpy(rng.standard_normal((1, n, d)))),
        ],
    ),
    Misconception(
        "x_not_normal",
        "the norms are right, but the numbers of x are not standard normal",
        [
            _reach(_frobenius, draw=lambda n, d, rng: torch.from_numpy(rng.random((1, n, d), dtype=np.float32))),
            _reach(_frobenius, draw=lambda n, d, rng: 0.1 * _drawn(n, d, rng)),
            _reach(_frobenius, draw=lambda n, d, rng: _drawn(n, d, rng) / math.sqrt(d)),
            _reach(_frobenius, draw=lambda n, d, rng: _drawn(n, d, rng) * 0.02),
            _reach(
                _frobenius,
                draw=lambda n, d, rng: torch.from_numpy(rng.uniform(-1, 1, (1, n, d)).astype(np.float32)),
            ),
        ],
    ),
    Misconception(
        "x_constant",
        "f was given the same number everywhere, so nothing was drawn",
        [
            _reach(_frobenius, draw=lambda n, d, rng: torch.ones(1, n, d)),
            _reach(_frobenius, draw=lambda n, d, rng: torch.zeros(1, n, d)),
        ],
    ),
    Misconception(
        "global_generator",
        "the norms are right, but generators in the same state give different x: its numbers do not come from rng",
        _reach(_frobenius, draw=_global_draw),
    ),
    Misconception(
        "own_seed",
        "the norms are right, but x is the same in every call: rng does not move on",
        [_reach(_frobenius, draw=_own_seed_draw), _reach(_frobenius, draw=_copied_draw)],
    ),
)

# --- layer_costs -----------------------------------------------------------------------------------------------------

NAMES = ("operations", "sequential", "path")


def _ceil(a, b):
    return -(-a // b)


def _layers(n, k):
    """The smallest p with k^p ≥ n."""
    return next(p for p in itertools.count() if k**p >= n)


def _costs(check_k=True, check_r=True, wrap=None, **changed):
    """The table, with rules of its own: `self_=(operations, sequential, path)`, each a function of n, d, k, r."""
    table: dict[str, tuple] = {
        "self": (lambda n, d, k, r: n * n * d, lambda n, d, k, r: 1, lambda n, d, k, r: 1),
        "rnn": (lambda n, d, k, r: n * d * d, lambda n, d, k, r: n, lambda n, d, k, r: n),
        "conv": (lambda n, d, k, r: k * n * d * d, lambda n, d, k, r: 1, lambda n, d, k, r: _layers(n, k)),
        "restricted": (lambda n, d, k, r: r * n * d, lambda n, d, k, r: 1, lambda n, d, k, r: _ceil(n, r)),
    }
    for place, rule in changed.items():
        kind, _, name = place.partition("_")
        rules = list(table[kind])
        rules[NAMES.index(name)] = rule
        table[kind] = tuple(rules)

    def costs(kind, n, d, k=3, r=None):
        if check_r and kind == "restricted" and r is None:
            raise ValueError("restricted attention needs r")
        if check_k and kind == "conv" and k < 2:
            raise ValueError("k must be at least 2")
        numbers = dict(zip(NAMES, (rule(n, d, k, r) for rule in table[kind]), strict=True))
        return wrap(numbers) if wrap else numbers

    return costs


layer_costs = _costs()


def costs_by_branches(kind, n, d, k=3, r=None):
    if k < 2:
        raise ValueError("k < 2")
    if kind == "self":
        return {"path": 1, "sequential": 1, "operations": n**2 * d}
    if kind == "rnn":
        return {"operations": n * d**2, "sequential": n, "path": n}
    if kind == "conv":
        path, reach = 0, 1
        while reach < n:
            path, reach = path + 1, reach * k
        return {"operations": k * n * d**2, "sequential": 1, "path": path}
    if kind == "restricted" and r is not None:
        return {"operations": r * n * d, "sequential": 1, "path": math.ceil(n / r)}
    raise ValueError(f"{kind} cannot be answered")


def costs_by_match(kind, n, d, k=3, r=None):
    match kind:
        case "self":
            found = (np.int64(n) ** 2 * d, 1, 1)
        case "rnn":
            found = (n * np.square(d), n, n)
        case "conv" if k >= 2:
            path = max(0, round(math.log(n, k)) - 1)
            while k**path < n:
                path += 1
            found = (k * n * d * d, 1, path)
        case "restricted" if r:
            found = (float(r * n * d), 1, (n + r - 1) // r)
        case _:
            raise ValueError(kind, k, r)
    return dict(zip(NAMES, found, strict=True))


def costs_raising_a_child_of_value_error(kind, n, d, k=3, r=None):
    class BadLayer(ValueError):
        pass

    try:
        return layer_costs(kind, n, d, k, r)
    except ValueError as error:
        raise BadLayer(str(error)) from error


def _of(text):
    """A rule as an expression of n, d, k, r."""
    return eval(f"lambda n, d, k, r: {text}", {"math": math, "_ceil": _ceil, "_layers": _layers, "round": round})


def costs_cases(rng):
    for n, d in ((7, 5), (12, 40), (30, 6)):
        yield Case("self_attention", ("self", n, d))
        yield Case("recurrence", ("rnn", n, d))
    yield Case("self_attention", ("self", 1, 3, 4, 2))
    yield Case("recurrence", ("rnn", 1, 4))
    for n, d, k in ((10, 7, 4), (100, 3, 5), (20, 11, 2), (3, 4, 6)):
        yield Case("convolution", ("conv", n, d, k))
    yield Case("convolution", ("conv", 50, 6))  # k is 3 unless it is given
    for n, k in ((243, 3), (125, 5), (1000, 10), (4096, 2), (6**3, 6), (17**3, 17), (14**3, 14), (7, 7)):
        yield Case("powers_of_k", ("conv", n, 2), {"k": k})
    for n, k in ((244, 3), (1001, 10), (5**5 + 1, 5), (3**8 + 1, 3)):
        yield Case("powers_of_k", ("conv", n, 2), {"k": k})
    for n, d, r in ((20, 7, 6), (12, 5, 4), (9, 9, 9), (50, 3, 7)):
        yield Case("restricted_attention", ("restricted", n, d), {"r": r})
    yield Case("restricted_attention", ("restricted", 11, 4, 5, 2))
    yield Case("restricted_attention", ("restricted", 8, 6), {"r": 1})
    yield Case("refuses_no_r", ("restricted", 20, 7))
    yield Case("refuses_no_r", ("restricted", 9, 5), {"k": 4})
    for n, k in ((10, 1), (10, 0), (6, -2)):
        yield Case("refuses_small_k", ("conv", n, 5), {"k": k})


def _never_reaches(n, d, k, r):
    path, reach = 0, 1
    while reach < n:
        path, reach = path + 1, reach * k
    return path


def _powers_never_reach(n, d, k, r):
    path = 0
    while k**path < n:
        path += 1
    return path


def _lets_k_1_through(path):
    return lambda kind, n, d, k=3, r=None: _costs(check_k=k < 1, conv_path=path)(kind, n, d, k, r)


COSTS_MISCONCEPTIONS = (
    Misconception(
        "rnn_path_1",
        'the path of "rnn" is 1: from the first position to the last a signal passes through every state between them, '
        "n in all",
        _costs(rnn_path=_of("1")),
    ),
    Misconception(
        "rnn_not_sequential",
        'the sequential steps of "rnn" are 1: no state can be computed before the one before it, so there are n',
        [_costs(rnn_sequential=_of("1")), _costs(rnn_sequential=_of("1"), rnn_path=_of("1"))],
    ),
    Misconception(
        "rnn_n_minus_1",
        'for "rnn" n − 1 stands where the table has n: constants are dropped',
        [
            _costs(rnn_path=_of("n - 1")),
            _costs(rnn_sequential=_of("n - 1")),
            _costs(rnn_path=_of("n - 1"), rnn_sequential=_of("n - 1")),
        ],
    ),
    Misconception(
        "conv_path_linear",
        'the path of "conv" grows like n / k: these convolutions are dilated, each layer multiplies what is seen by k',
        [
            _costs(conv_path=_of("_ceil(n, k)")),
            _costs(conv_path=_of("n // k")),
            _costs(conv_path=_of("n / k")),
            _costs(conv_path=_of("_ceil(n - 1, k - 1)")),
            _costs(conv_path=_of("round(n / k)")),
        ],
    ),
    Misconception(
        "conv_path_1",
        'the path of "conv" is 1: one layer reaches k positions, not n',
        _costs(conv_path=_of("1")),
    ),
    Misconception(
        "conv_path_float",
        'the path of "conv" is off by one where n is a power of k: a quotient of logarithms is not exact',
        [
            _costs(conv_path=_of("math.ceil(math.log(n) / math.log(k))")),
            _costs(conv_path=_of("math.ceil(math.log(n, k))")),
        ],
    ),
    Misconception(
        "conv_path_rounded_down",
        'the path of "conv" was rounded down or to the nearest: so many layers do not reach all n positions',
        [
            _costs(conv_path=_of("_layers(n + 1, k) - 1")),
            _costs(conv_path=_of("int(math.log(n, k))")),
            _costs(conv_path=_of("int(math.log(n) / math.log(k))")),
            _costs(conv_path=_of("round(math.log(n, k))")),
        ],
    ),
    Misconception(
        "conv_path_one_too_many",
        'the path of "conv" is one layer too long where n is a power of k: k^p may be equal to n',
        [_costs(conv_path=_of("_layers(n + 1, k)")), _costs(conv_path=_of("int(math.log(n, k)) + 1"))],
    ),
    Misconception(
        "conv_path_plus_1",
        'the path of "conv" is one layer too long, also where n is no power of k',
        _costs(conv_path=_of("_layers(n, k) + 1")),
    ),
    Misconception(
        "conv_path_not_rounded",
        'the path of "conv" is no whole number: layers are counted, so the logarithm is to be rounded up',
        [_costs(conv_path=_of("math.log(n, k)")), _costs(conv_path=_of("math.log(n) / math.log(k)"))],
    ),
    Misconception(
        "conv_path_other_base",
        'the path of "conv" does not follow k: the logarithm is to the base k',
        [
            _costs(conv_path=_of("_layers(n, 2)")),
            _costs(conv_path=_of("_layers(n, 3)")),
            _costs(conv_path=_of("math.ceil(math.log(n))")),
            _costs(conv_path=_of("math.ceil(math.log2(n))")),
            _costs(conv_path=_of("math.log(n)")),
            _costs(conv_path=_of("math.log2(n)")),
        ],
    ),
    Misconception(
        "conv_sequential_is_path",
        'the sequential steps of "conv" are its path: the steps are those of one layer, all positions at once',
        [_costs(conv_sequential=_of("_layers(n, k)")), _costs(conv_sequential=_of("n"))],
    ),
    Misconception(
        "conv_operations",
        'the operations of "conv" are not k n d²: at each of n positions, k vectors meet a d × d matrix each',
        [
            _costs(conv_operations=_of("n * d * d")),
            _costs(conv_operations=_of("k * n * d")),
            _costs(conv_operations=_of("k * n * n * d")),
            _costs(conv_operations=_of("k * k * n * d * d")),
            _costs(conv_operations=_of("3 * n * d * d")),
            _costs(conv_operations=_of("k * n * d * d * _layers(n, k)")),
        ],
    ),
    Misconception(
        "n_and_d_swapped",
        "n and d are swapped: self-attention compares n² pairs of d numbers, a recurrence multiplies n times by d × d",
        [
            _costs(self_operations=_of("n * d * d"), rnn_operations=_of("n * n * d")),
            _costs(self_operations=_of("n * d * d")),
            _costs(rnn_operations=_of("n * n * d")),
            _costs(
                self_operations=_of("n * d * d"),
                rnn_operations=_of("n * n * d"),
                conv_operations=_of("k * n * n * d"),
            ),
            _costs(
                self_operations=_of("n * d * d"),
                rnn_operations=_of("n * n * d"),
                conv_operations=_of("k * n * n * d"),
                restricted_operations=_of("r * d * d"),
            ),
        ],
    ),
    Misconception(
        "width_forgotten",
        'the operations of "self" do not grow with d, or those of "rnn" only like d: each of the n² products sums over '
        "d numbers, and a d × d matrix has d² entries",
        [
            _costs(self_operations=_of("n * n")),
            _costs(rnn_operations=_of("n * d")),
            _costs(self_operations=_of("n * n"), rnn_operations=_of("n * d")),
        ],
    ),
    Misconception(
        "constants_kept",
        "a factor of 2 is left in the operations: leading terms are wanted without constants",
        [
            _costs(
                self_operations=_of("2 * n * n * d"),
                rnn_operations=_of("2 * n * d * d"),
                conv_operations=_of("2 * k * n * d * d"),
                restricted_operations=_of("2 * r * n * d"),
            ),
            _costs(self_operations=_of("2 * n * n * d"), rnn_operations=_of("2 * n * d * d")),
            _costs(self_operations=_of("2 * n * n * d")),
            _costs(rnn_operations=_of("2 * n * d * d")),
            _costs(self_operations=_of("2 * n * n * d"), restricted_operations=_of("2 * r * n * d")),
        ],
    ),
    Misconception(
        "self_path_n",
        'the path of "self" is not 1: any position reads any other directly',
        [_costs(self_path=_of("n")), _costs(self_path=_of("2")), _costs(self_path=_of("0"))],
    ),
    Misconception(
        "self_sequential",
        'the sequential steps of "self" are not 1: no position waits for another',
        [_costs(self_sequential=_of("n")), _costs(self_sequential=_of("0")), _costs(self_sequential=_of("2"))],
    ),
    Misconception(
        "restricted_operations",
        'the operations of "restricted" are not r n d: each of n positions meets r others, d numbers each',
        [
            _costs(restricted_operations=_of("n * n * d")),
            _costs(restricted_operations=_of("r * n * d * d")),
            _costs(restricted_operations=_of("r * r * d")),
            _costs(restricted_operations=_of("r * d")),
            _costs(restricted_operations=_of("r * n")),
            _costs(restricted_operations=_of("r * r * n * d")),
            _costs(restricted_operations=_of("(2 * r + 1) * n * d")),
        ],
    ),
    Misconception(
        "restricted_path_1",
        'the path of "restricted" is 1: a position sees r others, so the last needs n / r layers to hear of the first',
        _costs(restricted_path=_of("1")),
    ),
    Misconception(
        "restricted_path_rounded_down",
        'the path of "restricted" was rounded down: what is left over needs a layer as well',
        [_costs(restricted_path=_of("n // r")), _costs(restricted_path=_of("max(1, n // r)"))],
    ),
    Misconception(
        "restricted_path_not_rounded",
        'the path of "restricted" is no whole number: layers are counted, so n / r is to be rounded up',
        _costs(restricted_path=_of("n / r")),
    ),
    Misconception(
        "restricted_path_one_too_many",
        'the path of "restricted" is one too long where r divides n',
        _costs(restricted_path=_of("n // r + 1")),
    ),
    Misconception(
        "restricted_path_log",
        'the path of "restricted" is a logarithm: a window is not dilated, each layer adds r positions',
        _costs(restricted_path=_of("math.ceil(math.log(n) / math.log(r)) if r > 1 else n")),
    ),
    Misconception(
        "restricted_sequential",
        'the sequential steps of "restricted" are not 1: within one layer no position waits for another',
        [_costs(restricted_sequential=_of("_ceil(n, r)")), _costs(restricted_sequential=_of("n"))],
    ),
    Misconception(
        "no_refusal_of_no_r",
        "restricted attention without r is not refused by a ValueError: None goes into the formula, or a number is put "
        "in its place",
        [
            _costs(check_r=False),
            *(
                lambda kind, n, d, k=3, r=None, own=own: _costs()(kind, n, d, k, own(n, k) if r is None else r)
                for own in (lambda n, k: n, lambda n, k: k, lambda n, k: 1, lambda n, k: 3)
            ),
            lambda kind, n, d, k=3, r=None: (
                None if kind == "restricted" and r is None else layer_costs(kind, n, d, k, r)
            ),
        ],
    ),
    Misconception(
        "no_refusal_of_small_k",
        "a convolution with k < 2 is not refused by a ValueError: such a kernel never sees further, whatever the "
        "number of layers",
        [
            _costs(check_k=False, conv_path=_never_reaches),
            _costs(check_k=False, conv_path=_powers_never_reach),
            _costs(check_k=False, conv_path=_of("_layers(n, k) if k > 1 else n")),
            _costs(check_k=False, conv_path=_of("_layers(n, max(k, 2))")),
        ],
    ),
    Misconception(
        "allows_k_1",
        "k = 1 is not refused, and smaller k are: a kernel of width 1 sees only its own position",
        [
            _lets_k_1_through(_never_reaches),
            _lets_k_1_through(_of("_layers(n, k) if k > 1 else n")),
            _lets_k_1_through(_of("math.ceil(round(math.log(n) / math.log(k), 9))")),
            _costs(check_k=False, conv_path=_of("math.ceil(round(math.log(n, k), 9))")),
        ],
    ),
    Misconception(
        "a_tuple",
        "the three numbers came back without their names; a dict is wanted",
        [_costs(wrap=lambda found: tuple(found.values())), _costs(wrap=lambda found: list(found.values()))],
    ),
    Misconception(
        "only_operations",
        "one number came back, the operations; a dict of three is wanted",
        _costs(wrap=lambda found: found["operations"]),
    ),
)

# --- the table -------------------------------------------------------------------------------------------------------

REFERENCES = (
    Reference(
        id="rnn_forward",
        reference=rnn_forward,
        accepted=(rnn_written_into_zeros, rnn_as_one_product, rnn_one_sequence_at_a_time, rnn_by_torch),
        misconceptions=RNN_MISCONCEPTIONS,
        cases=rnn_cases,
    ),
    Reference(
        id="gradient_reach",
        reference=gradient_reach,
        accepted=(
            reach_by_jacobian,
            reach_by_jacrev,
            reach_by_jacfwd,
            reach_by_backward,
            reach_by_zeroing,
            reach_batched,
        ),
        misconceptions=REACH_MISCONCEPTIONS,
        cases=reach_cases,
        agree=reach_agrees,
    ),
    Reference(
        id="layer_costs",
        reference=layer_costs,
        accepted=(costs_by_branches, costs_by_match, costs_raising_a_child_of_value_error),
        misconceptions=COSTS_MISCONCEPTIONS,
        cases=costs_cases,
    ),
    Reference(
        id="cheaper_layer",
        reference=("self", "rnn"),
        accepted=(["self", "rnn"], np.array(["self", "rnn"])),
        misconceptions=(
            Misconception(
                "self_always_dearer",
                "n² d is less than n d² as long as n < d: at n = 64 and d = 512 attention needs fewer operations",
                ("rnn", "rnn"),
            ),
            Misconception(
                "self_always_cheaper",
                "n² d is more than n d² as soon as n > d: at n = 4096 and d = 512 the recurrence needs fewer",
                ("self", "self"),
            ),
            Misconception(
                "the_other_way_round",
                "both are the wrong way round: the ratio of n² d to n d² is n / d, below 1 for the short sequence",
                ("rnn", "self"),
            ),
        ),
        cases=lambda rng: [Case("prediction")],
    ),
)
