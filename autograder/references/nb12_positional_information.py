"""Notebook 12, the hidden half: references, accepted and wrong answers, cases.

Long, since six exercises share the module and each has wrong answers in several natural shapes.
"""

import itertools
import math
import re

import numpy as np
import torch

from autograder.compare import as_array
from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Case, Misconception, Reference

# --- sinusoidal_encoding ---------------------------------------------------------------------------------------------


def sinusoidal_encoding(n, d, base=10000.0):
    if d % 2:
        raise ValueError(f"a sin without its cos: d = {d} is odd")
    angles = torch.arange(n, dtype=torch.float64)[:, None] * _rates(d, base)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def _rates(d, base, dtype=torch.float64):
    return base ** (-torch.arange(0, d, 2, dtype=dtype) / d)


def sinusoids_by_loops(n, d, base=10000.0):
    if d % 2 == 1:
        raise ValueError
    table = [[0.0] * d for _ in range(n)]
    for position in range(n):
        for m in range(d // 2):
            angle = position / base ** (2 * m / d)
            table[position][2 * m], table[position][2 * m + 1] = math.sin(angle), math.cos(angle)
    return table


def sinusoids_written_into_zeros(n, d, base=10000.0):
    if d % 2 != 0:
        raise ValueError("d must be even")
    encoding = torch.zeros(n, d)
    place = torch.arange(0, n).unsqueeze(1)
    rate = torch.exp(torch.arange(0, d, 2) * (-math.log(base) / d))
    encoding[:, 0::2] = torch.sin(place * rate)
    encoding[:, 1::2] = torch.cos(place * rate)
    return encoding


def sinusoids_by_shifted_phase(n, d, base=10000.0):
    if d % 2:
        raise ValueError("odd")
    column = torch.arange(d, dtype=torch.float64)
    angle = torch.outer(torch.arange(n, dtype=torch.float64), base ** (-(column - column % 2) / d))
    return torch.sin(angle + column % 2 * math.pi / 2)


def sinusoids_in_numpy(n, d, base=10000.0):
    if d % 2:
        raise ValueError
    angles = np.arange(n)[:, np.newaxis] / np.power(base, np.arange(0, d, 2) / d)
    return np.stack((np.sin(angles), np.cos(angles)), axis=2).reshape(n, d)


def sinusoids_as_a_power_of_a_rotation(n, d, base=10000.0):
    if d % 2:
        raise ValueError
    step = torch.exp(1j * _rates(d, base))
    turned = step ** torch.arange(n)[:, None]
    return torch.stack([turned.imag, turned.real], dim=-1).reshape(n, d)


def _two_m(m, d):
    return 2 * m / d


def _sinusoids(
    exponent=_two_m,
    start=0,
    join="alternate",
    order=(torch.sin, torch.cos),
    base_used=None,
    odd="refused",
    unit=1.0,
    text="odd",
):
    """A right answer with some of its parts replaced.

    join: alternate, halves, or transposed; odd: refused, kept (the last column a sin), or the error raised, with its
    text; unit: what the angles are multiplied by.
    """

    def answer(n, d, base=10000.0):
        if d % 2 and odd == "refused":
            raise ValueError("odd")
        if d % 2 and odd != "kept":
            raise odd(text)
        base = base_used or base
        m = torch.arange((d + 1) // 2, dtype=torch.float64)
        angles = unit * torch.arange(start, n + start, dtype=torch.float64)[:, None] * base ** -exponent(m, d)
        parts = [function(angles) for function in order]
        if join == "halves":
            return torch.cat(parts, dim=1)[:, :d]
        table = torch.stack(parts, dim=-1).flatten(1)[:, :d]
        return table.T if join == "transposed" else table

    return answer


def _own_rate_per_column(n, d, base=10000.0):
    if d % 2:
        raise ValueError("odd")
    angles = torch.arange(n, dtype=torch.float64)[:, None] * base ** (-torch.arange(d, dtype=torch.float64) / d)
    table = angles.sin()
    table[:, 1::2] = angles[:, 1::2].cos()
    return table


def _crashes_on_odd(n, d, base=10000.0):
    table = torch.zeros(n, d, dtype=torch.float64)
    angles = torch.arange(n, dtype=torch.float64)[:, None] * _rates(d, base)
    table[:, 0::2], table[:, 1::2] = angles.sin(), angles.cos()
    return table


def _cut_on_odd(n, d, base=10000.0):
    return sinusoidal_encoding(n, d - d % 2, base)


def _padded_on_odd(n, d, base=10000.0):
    table = sinusoidal_encoding(n, d - d % 2, base)
    return torch.cat([table, torch.zeros(n, d % 2, dtype=table.dtype)], dim=1)


def sinusoid_cases(rng):
    # At most 45 positions, so that angles in float32 are as right as its tolerance.
    for n, d in ((7, 10), (12, 4), (6, 6), (45, 8)):
        yield Case("encoding", (n, d))
    for n, d, base in ((9, 6, 100.0), (5, 8, 10.0), (8, 8, 500000.0), (30, 4, 1000)):
        yield Case("other_base", (n, d), {"base": base})
    for n, d in ((1, 6), (5, 2), (1, 2), (2, 2)):
        yield Case("small", (n, d))
    for n, d in ((4, 5), (5, 1), (3, 3)):
        yield Case("odd_width", (n, d))


SINUSOIDS = (
    Misconception(
        "own_rate_per_column",
        "the two columns of a pair turn at different rates, base^(−i/d) for column i: sin and cos of one hand need the "
        "same angle, base^(−2m/d) for both columns of pair m",
        _own_rate_per_column,
    ),
    Misconception(
        "half_the_exponent",
        "the rates are base^(−m/d), so that the slowest hand turns far too fast: the exponent of pair m is 2m/d",
        _sinusoids(lambda m, d: m / d),
    ),
    Misconception(
        "twice_the_exponent",
        "the rates are base^(−4m/d): the even numbers 0, 2, 4, … are 2m already, and were doubled once more",
        _sinusoids(lambda m, d: 4 * m / d),
    ),
    Misconception(
        "slowest_at_the_base",
        "the slowest hand turns at exactly 1/base: the exponent runs to 1, as in tensor2tensor's code; 2m/d "
        "stops one step before",
        _sinusoids(lambda m, d: m / max(d / 2 - 1, 1)),
    ),
    Misconception(
        "rates_from_one_pair_on",
        "pair 0 turns already at base^(−2/d): m was counted from 1, so every pair has the rate of the next",
        _sinusoids(lambda m, d: 2 * (m + 1) / d),
    ),
    Misconception(
        "exponents_of_odd_columns",
        "pair 0 turns already at base^(−1/d): the exponents are (2m + 1)/d, where both columns of pair m have 2m/d",
        _sinusoids(lambda m, d: (2 * m + 1) / d),
    ),
    Misconception(
        "whole_turns",
        "pair 0 points the same way at every position: the angles were multiplied by 2π, a whole turn",
        _sinusoids(lambda m, d: 2 * m / d, unit=2 * math.pi),
    ),
    Misconception(
        "axis_too_many",
        "the result has an axis of length 1 in front: wanted is (n, d), it broadcasts over the batch as it is",
        lambda n, d, base=10000.0: sinusoidal_encoding(n, d, base)[None],
    ),
    Misconception(
        "one_rate",
        "all pairs turn at the same rate: the exponent was lost, as when 2m // d cuts it to 0",
        _sinusoids(lambda m, d: 0 * m),
    ),
    Misconception(
        "faster_and_faster",
        "later pairs turn faster, by base^(+2m/d): the exponent lacks its minus, or the position was multiplied where "
        "it is divided",
        _sinusoids(lambda m, d: -2 * m / d),
    ),
    Misconception(
        "halves",
        "all sines stand in the first half of the columns and all cosines in the second: here sin and cos alternate",
        _sinusoids(join="halves"),
    ),
    Misconception(
        "halves+cos_first",
        "all cosines stand in the first half of the columns, all sines in the second: the two alternate, sin first",
        _sinusoids(join="halves", order=(torch.cos, torch.sin)),
    ),
    Misconception(
        "cos_first",
        "even columns hold cos and odd ones sin: it is the other way round",
        _sinusoids(order=(torch.cos, torch.sin)),
    ),
    Misconception(
        "starts_at_one",
        "the first row is that of position 1: positions count from 0, where every sin is 0 and every cos is 1",
        _sinusoids(start=1),
    ),
    Misconception(
        "sines_only",
        "all columns are sines: a sin alone does not tell where its hand points, its cos belongs in the next column",
        _sinusoids(order=(torch.sin, torch.sin)),
    ),
    Misconception(
        "transposed",
        "the result has one row per column and one column per position: it is (n, d), positions by row",
        _sinusoids(join="transposed"),
    ),
    Misconception(
        "wrong_base",
        "the rates belong to another base than the one given, the same for every call",
        [_sinusoids(base_used=base) for base in (10000.0, 1000.0, 100000.0, 2.0, math.e)],
    ),
    Misconception(
        "odd_width_not_refused",
        "an odd d gives a table: its last sin has no cos, and a ValueError is wanted",
        [
            _sinusoids(odd="kept"),
            _cut_on_odd,
            _padded_on_odd,
            lambda n, d, base=10000.0: sinusoidal_encoding(n, d + d % 2, base),
            lambda n, d, base=10000.0: sinusoidal_encoding(n, d + d % 2, base)[:, :d],
            lambda n, d, base=10000.0: None if d % 2 else sinusoidal_encoding(n, d, base),
            _sinusoids(odd="kept", join="halves"),
        ],
    ),
    Misconception(
        "odd_width_ends_in_another_error",
        "an odd d ends in an error, though not in a ValueError that says what is wrong",
        [_crashes_on_odd, _sinusoids(odd=AssertionError), _sinusoids(odd=AssertionError, text="")],
    ),
)


# --- add_positions ---------------------------------------------------------------------------------------------------


def add_positions(x, table):
    if x.shape[1] > len(table):
        raise ValueError(f"{x.shape[1]} tokens, but the table has only {len(table)} rows")
    return x + table[: x.shape[1]]


def add_by_loops(x, table):
    t, n = x.shape[1], table.shape[0]
    if n < t:
        raise ValueError(f"T={t} > N={n}")
    return torch.stack([torch.stack([token + table[i] for i, token in enumerate(sentence)]) for sentence in x])


def add_by_looking_up(x, table):
    b, t, _ = x.shape
    if not t <= table.size(0):
        raise ValueError(f"no row for tokens {table.size(0)} to {t}")
    return x + torch.nn.functional.embedding(torch.arange(t).expand(b, t), table)


def add_by_one_hot(x, table):
    t, n = x.shape[1], len(table)
    if t > n:
        raise ValueError((t, n))
    return torch.einsum("tn,nc->tc", torch.eye(n, dtype=table.dtype)[:t], table).unsqueeze(0) + x


def add_in_place_on_a_copy(x, table):
    if len(table) < x.size(1):
        raise ValueError(f"{len(table)} < {x.size(1)}")
    out = x.clone()
    out += table.narrow(0, 0, x.size(1))
    return out


def _adding(rule, refuse=lambda t, n: t > n, error=ValueError, text="{t} {n}"):
    """An answer that refuses some sizes and else follows a rule."""

    def answer(x, table):
        t, n = x.shape[1], len(table)
        if refuse(t, n):
            raise error(text.format(t=t, n=n))
        return rule(x, table)

    return answer


def _sum(x, table):
    return x + table[: x.shape[1]]


def _wrapped(x, table):
    return x + table[torch.arange(x.shape[1]) % len(table)]


def _clamped(x, table):
    return x + table[torch.arange(x.shape[1]).clamp(max=len(table) - 1)]


def _zeros_behind(x, table):
    rows = torch.cat([table, table.new_zeros(max(0, x.shape[1] - len(table)), table.shape[1])])
    return x + rows[: x.shape[1]]


def _shortened(x, table):
    return x[:, : len(table)] + table[: x.shape[1]]


def _never(t, n):
    return False


def _translates_the_error(x, table):
    try:
        return x + table[: x.shape[1]]
    except RuntimeError:
        raise ValueError(f"{x.shape[1]} {len(table)}") from None


def _comparing(axis):
    """An answer that compares another axis of x with the number of rows."""

    def answer(x, table):
        if x.shape[axis] > len(table):
            raise ValueError(f"{x.shape[axis]} {len(table)}")
        return x + table[: x.shape[1]]

    return answer


def _in_place(x, table):
    if x.shape[1] > len(table):
        raise ValueError(f"{x.shape[1]} {len(table)}")
    x += table[: x.shape[1]]
    return x


def _in_place_afterwards(x, table):
    out = add_positions(x, table)
    x[:] = out
    return out


def _scales_table_in_place(x, table):
    out = add_positions(x, table)
    table.mul_(2)
    return out


def _tokens(rng, b, t, c, n, dtype=np.float64):
    return rng.normal(size=(b, t, c)).astype(dtype), rng.normal(size=(n, c)).astype(dtype)


def add_cases(rng):
    for sizes in ((2, 5, 3, 5), (4, 4, 4, 4), (3, 1, 4, 1), (1, 6, 2, 6)):
        yield Case("rows", _tokens(rng, *sizes))
    for sizes in ((2, 3, 4, 7), (3, 3, 3, 5), (2, 1, 3, 4), (5, 2, 3, 4)):
        yield Case("longer_table", _tokens(rng, *sizes))
    for b, t, c, n in ((2, 13, 3, 11), (4, 6, 4, 4), (1, 12, 2, 1), (3, 10, 3, 9)):
        yield Case("too_long", _tokens(rng, b, t, c, n), mentions=(str(t), str(n)))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, _tokens(rng, 2, 3, 4, 5, dtype))
    for sizes in ((2, 3, 4, 5), (3, 3, 3, 3)):
        yield Case(DIFFERENTIABLE, _tokens(rng, *sizes))


ADDITIONS = (
    Misconception(
        "rows_by_sentence",
        "every token of sentence b got row b of the table: the rows belong to positions, and are the same for every "
        "sentence",
        [
            _adding(lambda x, table: x + table[: len(x), None]),
            _adding(lambda x, table: x + table[: len(x)].unsqueeze(1)),
            lambda x, table: x + table[: len(x), None],
        ],
    ),
    Misconception(
        "concatenated",
        "the result is wider than x: the rows stand beside the tokens, where they are to be added to them",
        [
            _adding(lambda x, table: torch.cat([x, table[: x.shape[1]].expand_as(x)], dim=-1)),
            _adding(lambda x, table: torch.cat([x, table[: x.shape[1]].expand_as(x)], dim=1)),
        ],
    ),
    Misconception(
        "tokens_scaled",
        "the tokens were multiplied by √C before the sum, as the Transformer does with its embeddings (notebook 19); "
        "here they stay as they are",
        _adding(lambda x, table: x * math.sqrt(x.shape[-1]) + table[: x.shape[1]]),
    ),
    Misconception(
        "sum_scaled",
        "the result is the sum times a number: neither the rows nor the tokens are to be scaled",
        [
            _adding(lambda x, table: (x + table[: x.shape[1]]) / 2),
            _adding(lambda x, table: (x + table[: x.shape[1]]) / math.sqrt(2)),
            _adding(lambda x, table: (x + table[: x.shape[1]]) / math.sqrt(x.shape[-1])),
            _adding(lambda x, table: (x + table[: x.shape[1]]) * math.sqrt(x.shape[-1])),
        ],
    ),
    Misconception(
        "rows_scaled",
        "the rows of the table were multiplied by a number that depends on C; they are added as they are",
        [
            _adding(lambda x, table: x + table[: x.shape[1]] / math.sqrt(x.shape[-1])),
            _adding(lambda x, table: x + table[: x.shape[1]] * math.sqrt(x.shape[-1])),
        ],
    ),
    Misconception(
        "multiplied",
        "the tokens are multiplied by the rows of the table, where these are to be added",
        _adding(lambda x, table: x * table[: x.shape[1]]),
    ),
    Misconception(
        "whole_table",
        "a table with more rows than there are tokens ends in an error: only its first T rows are to be added",
        [_adding(lambda x, table: x + table), lambda x, table: x + table],
    ),
    Misconception(
        "last_rows",
        "of a longer table the last T rows were added: positions count from its first row",
        _adding(lambda x, table: x + table[-x.shape[1] :]),
    ),
    Misconception(
        "starts_at_row_one",
        "token t got row t + 1 of the table: positions count from 0",
        [
            _adding(lambda x, table: x + table[1 : x.shape[1] + 1]),
            _adding(lambda x, table: x + torch.roll(table, -1, 0)[: x.shape[1]]),
        ],
    ),
    Misconception(
        "same_row_everywhere",
        "every token got the same vector, so that the sum does not tell where a token stands",
        [
            _adding(lambda x, table: x + table[0]),
            _adding(lambda x, table: x + table[x.shape[1] - 1]),
            _adding(lambda x, table: x + table[: x.shape[1]].mean(0)),
            _adding(lambda x, table: x + table[: x.shape[1]].sum(0)),
        ],
    ),
    Misconception(
        "rows_reversed",
        "the last token got the first row, and so on backwards",
        _adding(lambda x, table: x + table[: x.shape[1]].flip(0)),
    ),
    Misconception(
        "nothing_added",
        "the result is x as it was given: nothing was added to it",
        [_adding(lambda x, table: x), _adding(lambda x, table: x.clone())],
    ),
    Misconception(
        "rows_alone",
        "the result is the rows of the table alone, for every sentence: the tokens are missing from it",
        [
            _adding(lambda x, table: table[: x.shape[1]].expand_as(x)),
            _adding(lambda x, table: table[: x.shape[1]]),
        ],
    ),
    Misconception(
        "not_refused",
        "with more tokens than rows it is PyTorch that complains, not this function, and a table of a single row goes "
        "through: that row broadcasts to every token",
        [_sum, _adding(_sum, error=RuntimeError), _adding(_sum, error=IndexError), _adding(_sum, error=AssertionError)],
    ),
    Misconception(
        "one_row_not_refused",
        "only a table of a single row goes through with more tokens: PyTorch's own error, which is turned into a "
        "ValueError here, does not come, since one row broadcasts to every token; compare T with N first",
        _translates_the_error,
    ),
    Misconception(
        "wrong_axis_compared",
        "the number of sentences or of columns is compared with the rows of the table: it is the number of tokens, "
        "x.shape[1], that must not be larger",
        [_comparing(0), _comparing(2)],
    ),
    Misconception(
        "rows_made_up",
        "with more tokens than rows there is a result all the same: tokens behind the table got a row that is not "
        "theirs, or none, or were dropped; a ValueError is wanted",
        [_wrapped, _clamped, _zeros_behind, _shortened, _adding(lambda x, table: x, _never)],
    ),
    Misconception(
        "as_many_tokens_as_rows_refused",
        "a table with exactly as many rows as tokens is refused: its last row is that of the last token",
        _adding(_sum, refuse=lambda t, n: t >= n),
    ),
    Misconception(
        "longer_table_refused",
        "a table with more rows than tokens is refused: only too few rows are an error",
        _adding(_sum, refuse=lambda t, n: t != n),
    ),
    Misconception(
        "another_dtype",
        "the result has one and the same dtype, whatever that of x",
        [lambda x, table: add_positions(x, table).double(), lambda x, table: add_positions(x, table).float()],
    ),
    Misconception(
        "table_cut_off",
        "no gradient reaches the table: a table that is cut off by detach, .data or .numpy() is never learned",
        lambda x, table: add_positions(x, table.detach()),
    ),
    Misconception(
        "tokens_cut_off",
        "no gradient reaches x: what stands before the sum, the embeddings, would never be learned",
        lambda x, table: add_positions(x.detach(), table),
    ),
    Misconception(
        "cut_off",
        "no gradient flows back through the result: it was cut off by detach, .data, .item() or a way through NumPy",
        lambda x, table: add_positions(x, table).detach(),
    ),
    Misconception(
        "overwrites_x",
        "x is another after the call: += and x[:] = … write into the tensor given, x + … makes a new one",
        [_in_place, _in_place_afterwards],
    ),
    Misconception(
        "overwrites_table",
        "the table is another after the call: an operation in place wrote into the tensor given",
        _scales_table_in_place,
    ),
)


# --- apply_rope ------------------------------------------------------------------------------------------------------


def apply_rope(x, positions, base=10000.0):
    d = x.shape[-1]
    angles = positions[:, None] * _rates(d, base)  # (T, D/2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def rope_by_complex_numbers(x, positions, base=10000.0):
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    angles = positions.to(x.dtype)[:, None] * _rates(x.shape[-1], base, x.dtype)
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).reshape(x.shape)


def rope_by_loops(x, positions, base=10000.0):
    columns: list = [None] * x.shape[-1]
    for m in range(x.shape[-1] // 2):
        angle = positions.to(torch.float64) / base ** (2 * m / x.shape[-1])
        cos, sin = torch.cos(angle).to(x.dtype), torch.sin(angle).to(x.dtype)
        a, b = x[..., 2 * m], x[..., 2 * m + 1]
        columns[2 * m], columns[2 * m + 1] = a * cos - b * sin, b * cos + a * sin
    return torch.stack(columns, dim=-1)


def rope_by_matrices(x, positions, base=10000.0):
    angles = positions[:, None] * _rates(x.shape[-1], base)
    blocks = torch.stack(
        [torch.stack([angles.cos(), -angles.sin()], -1), torch.stack([angles.sin(), angles.cos()], -1)], -2
    )
    matrices = torch.stack([torch.block_diag(*per_position) for per_position in blocks]).to(x.dtype)  # (T, D, D)
    return torch.einsum("tij,...tj->...ti", matrices, x)


def rope_by_turned_partner(x, positions, base=10000.0):
    angles = (positions[:, None].to(x.dtype) * _rates(x.shape[-1], base, x.dtype)).repeat_interleave(2, dim=-1)
    partner = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).reshape(x.shape)
    return x * angles.cos() + partner * angles.sin()


def rope_written_into_a_copy(x, positions, base=10000.0):
    out = torch.empty_like(x)
    rates = 1.0 / (base ** (torch.arange(0, x.shape[-1], 2).to(x.dtype) / x.shape[-1]))
    angles = torch.outer(positions.to(x.dtype), rates)
    out[..., 0::2] = x[..., 0::2] * angles.cos() - x[..., 1::2] * angles.sin()
    out[..., 1::2] = x[..., 0::2] * angles.sin() + x[..., 1::2] * angles.cos()
    return out


def _first_then_second(even, odd, cos, sin):
    return even * cos - odd * sin, even * sin + odd * cos


def _alternate(first, second):
    return torch.stack([first, second], dim=-1).flatten(-2)


def _behind(first, second):
    return torch.cat([first, second], dim=-1)


def _neighbours(x):
    return x[..., 0::2], x[..., 1::2]


def _halves(x):
    return x.chunk(2, dim=-1)


def _as_given(positions):
    return positions


def _rope(
    turn=_first_then_second,
    cut=_neighbours,
    join=_alternate,
    exponent=_two_m,
    where=_as_given,
    base_used=None,
    axis=-2,
    dtype=None,
):
    """A right answer with some of its parts replaced; axis: the axis of x along which the positions run."""

    def answer(x, positions, base=10000.0):
        base = base_used or base
        x = x.transpose(axis, -2)
        m = torch.arange(x.shape[-1] // 2, dtype=torch.float64)
        angles = where(positions)[:, None] * base ** -exponent(m, x.shape[-1])
        cos, sin = angles.cos().to(dtype or x.dtype), angles.sin().to(dtype or x.dtype)
        return join(*turn(*cut(x), cos, sin)).transpose(axis, -2)

    return answer


def _rates_in_halves(x, positions, base=10000.0):
    """Partners are neighbours, and the angles are repeated as for halves."""
    angles = positions[:, None] * _rates(x.shape[-1], base).repeat(2)
    partner = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).reshape(x.shape)
    return x * angles.cos().to(x.dtype) + partner * angles.sin().to(x.dtype)


def _partners_in_halves(x, positions, base=10000.0):
    """Partners are half a width apart, and the angles are repeated as for neighbours."""
    angles = positions[:, None] * _rates(x.shape[-1], base).repeat_interleave(2)
    first, second = _halves(x)
    return x * angles.cos().to(x.dtype) + torch.cat([-second, first], dim=-1) * angles.sin().to(x.dtype)


def _own_angle_per_column(x, positions, base=10000.0):
    d = x.shape[-1]
    angles = positions[:, None] * base ** (-torch.arange(d, dtype=torch.float64) / d)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    first = even * cos[:, 0::2] - odd * sin[:, 0::2]
    return torch.stack([first, even * sin[:, 1::2] + odd * cos[:, 1::2]], dim=-1).flatten(-2)


def _added(x, positions, base=10000.0):
    angles = positions[:, None] * _rates(x.shape[-1], base)
    return x + torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).to(x.dtype)


def _half_overwritten(x, positions, base=10000.0):
    out = x.clone()
    angles = (positions[:, None] * _rates(x.shape[-1], base)).to(x.dtype)
    even, odd = out[..., 0::2], out[..., 1::2]
    out[..., 0::2] = even * angles.cos() - odd * angles.sin()
    out[..., 1::2] = even * angles.sin() + odd * angles.cos()
    return out


def _half_overwritten_in_x(x, positions, base=10000.0):
    angles = (positions[:, None] * _rates(x.shape[-1], base)).to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    x[..., 0::2] = even * angles.cos() - odd * angles.sin()
    x[..., 1::2] = even * angles.sin() + odd * angles.cos()
    return x


def _overwrites_x(x, positions, base=10000.0):
    turned = apply_rope(x, positions, base)
    x[:] = turned.detach()
    return turned


def _shifts_positions(x, positions, base=10000.0):
    turned = apply_rope(x, positions, base)
    positions -= positions[0] + 1
    return turned


def _rates_in_float32(x, positions, base=10000.0):
    """As `torch.arange(0, d, 2) / d` makes them: float32 whatever the dtype of x."""
    angles = positions[:, None] * base ** -(torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def _all_in_float32(x, positions, base=10000.0):
    return _rates_in_float32(x.float(), positions, base).to(x.dtype)


DOUBLE, SINGLE = "that of float64", "that of float32: about 7 digits"


def far_precision(case, result):
    """A view: far from 0 how precise the result is, in words, and the result itself where it is not even near.

    Answers with angles in float32 differ among themselves in the last digits, and the mistake is one and the same.
    """
    array = as_array(result)
    if case.check != "far_positions" or array is None:
        return result
    x, positions = map(torch.from_numpy, case.inputs)
    right = apply_rope(x, positions, **case.keywords).numpy()
    if array.shape == right.shape and np.allclose(array, right, rtol=1e-8, atol=1e-9):
        return {"precision": DOUBLE, "turned": right}
    if array.shape == right.shape and np.allclose(array, right, rtol=0, atol=2e-3):
        return {"precision": SINGLE, "turned": right}
    return {"precision": DOUBLE, "turned": result}


def _vectors(rng, *sizes, dtype=np.float32):
    return rng.normal(size=sizes).astype(dtype)


def _whole(*numbers):
    return np.array(numbers, dtype=np.int64)


def rope_cases(rng):
    for sizes in ((2, 3, 5, 6), (4, 8), (4, 4, 4, 4), (3, 6, 6)):
        yield Case("rotation", (_vectors(rng, *sizes), np.arange(sizes[-2])))
    yield Case("rotation", (_vectors(rng, 3, 1, 4), _whole(0)))
    yield Case("rotation", (_vectors(rng, 7, 2), np.arange(7)))
    yield Case("any_positions", (_vectors(rng, 2, 3, 4, 6), _whole(7, 8, 9, 10)))
    yield Case("any_positions", (_vectors(rng, 5, 4), _whole(3, -2, 0, 3, 11)))
    yield Case("any_positions", (_vectors(rng, 4, 4, 4, 4), _whole(-100, 100, 41, -7)))
    yield Case("any_positions", (_vectors(rng, 2, 1, 8), _whole(rng.integers(20, 60))))
    yield Case("any_positions", (_vectors(rng, 3, 6, 2), rng.permutation(np.arange(-40, 41))[:6]))
    for sizes, base in (((2, 5, 6), 100.0), ((3, 4, 3, 8), 500000.0), ((4, 4), 1000)):
        yield Case("other_base", (_vectors(rng, *sizes), np.arange(1, sizes[-2] + 1)), {"base": base})
    for sizes in ((2, 3, 4, 6), (4, 4, 8)):
        ends = np.append(rng.integers(-999, 1000, size=sizes[-2] - 2), (-1000, 1000))
        yield Case("far_positions", (_vectors(rng, *sizes, dtype=np.float64), ends))
    # At position 0 the precision of the angles does not show, only that of the result.
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (_vectors(rng, 2, 3, 1, 4, dtype=dtype), _whole(0)))
    yield Case(DIFFERENTIABLE, (_vectors(rng, 2, 3, 6), np.arange(3)))
    yield Case(DIFFERENTIABLE, (_vectors(rng, 2, 2, 4, 4), np.arange(4)))


def _no_minus(even, odd, cos, sin):
    return even * cos + odd * sin, even * sin + odd * cos


def _two_minuses(even, odd, cos, sin):
    return even * cos - odd * sin, even * sin - odd * cos


def _minus_in_front(even, odd, cos, sin):
    return odd * sin - even * cos, even * sin + odd * cos


def _backwards(even, odd, cos, sin):
    return even * cos + odd * sin, odd * cos - even * sin


ROPES = (
    Misconception(
        "half_split",
        "column m is turned together with column m + D/2, the layout of Llama's code at Hugging Face: here neighbours "
        "2m and 2m + 1 form a pair; the two are not interchangeable on the same weights",
        _rope(cut=_halves, join=_behind),
    ),
    Misconception(
        "joined_as_halves",
        "the numbers are right and stand elsewhere: all first columns of the pairs, then all second ones; they are to "
        "alternate again, as in x",
        _rope(join=_behind),
    ),
    Misconception(
        "cut_as_halves",
        "column m is turned together with column m + D/2, and the results stand as neighbours: pairs are neighbours "
        "before and after",
        _rope(cut=_halves),
    ),
    Misconception(
        "rates_in_halves",
        "the two columns of a pair are turned by different angles: cos and sin were repeated as m = 0, 1, …, 0, 1, …, "
        "where neighbours share one, 0, 0, 1, 1, …",
        _rates_in_halves,
    ),
    Misconception(
        "partners_in_halves",
        "cos and sin are those of neighbours, 0, 0, 1, 1, …, and the partner is taken from half a width away: two "
        "layouts are mixed",
        _partners_in_halves,
    ),
    Misconception(
        "backwards",
        "every pair is turned the other way, by minus its angle: a cos − b sin comes first, a sin + b cos second",
        _rope(_backwards),
    ),
    Misconception(
        "not_a_rotation",
        "one of the four signs is wrong, and the vectors change their length: a rotation keeps it; the one minus "
        "stands before b sin",
        [_rope(_no_minus), _rope(_two_minuses), _rope(_minus_in_front)],
    ),
    Misconception(
        "sin_and_cos_swapped",
        "at position 0 the vectors are not what they were: sin stands where cos belongs, and cos where sin does",
        [
            _rope(lambda even, odd, cos, sin: _first_then_second(even, odd, sin, cos)),
            _rope(lambda even, odd, cos, sin: _no_minus(even, odd, sin, cos)),
        ],
    ),
    Misconception(
        "columns_swapped",
        "the two columns of every pair stand in the wrong order: first a cos − b sin, then a sin + b cos",
        [
            _rope(lambda *parts: _first_then_second(*parts)[::-1]),
            _rope(lambda even, odd, cos, sin: _first_then_second(odd, even, cos, sin)),
        ],
    ),
    Misconception(
        "not_mixed",
        "each column is scaled by itself: a number was multiplied by cos or sin, and its partner had no part in it",
        [
            _rope(lambda even, odd, cos, sin: (even * cos, odd * sin)),
            _rope(lambda even, odd, cos, sin: (even * sin, odd * cos)),
            _rope(lambda even, odd, cos, sin: (even * cos, odd * cos)),
            _rope(lambda even, odd, cos, sin: (even * (cos - sin), odd * (cos + sin))),
            _rope(lambda even, odd, cos, sin: (even * (cos + sin), odd * (cos + sin))),
        ],
    ),
    Misconception(
        "half_overwritten",
        "the even columns are right and the odd ones are not: a slice is a view, so when the second half was computed "
        "the first half had been overwritten already",
        [_half_overwritten, _half_overwritten_in_x],
    ),
    Misconception(
        "added",
        "sin and cos were added to x: that is a sinusoidal encoding; RoPE adds nothing, it turns x by its angle",
        [_added, _rope(lambda even, odd, cos, sin: (even + cos, odd + sin))],
    ),
    Misconception(
        "own_angle_per_column",
        "the two columns of a pair have different angles, with base^(−i/D) for column i: a pair is turned as one, by "
        "base^(−2m/D)",
        _own_angle_per_column,
    ),
    Misconception(
        "half_the_exponent",
        "the rates are base^(−m/D): the exponent of pair m is 2m/D, so that the last pair turns slowly",
        _rope(exponent=lambda m, d: m / d),
    ),
    Misconception(
        "twice_the_exponent",
        "the rates are base^(−4m/D): the even numbers 0, 2, 4, … are 2m already, and were doubled once more",
        _rope(exponent=lambda m, d: 4 * m / d),
    ),
    Misconception(
        "faster_and_faster",
        "later pairs turn faster, by base^(+2m/D): the exponent lacks its minus",
        _rope(exponent=lambda m, d: -2 * m / d),
    ),
    Misconception(
        "slowest_at_the_base",
        "the slowest pair turns at exactly 1/base: the exponent runs to 1, where 2m/D stops one step before",
        _rope(exponent=lambda m, d: m / max(d / 2 - 1, 1)),
    ),
    Misconception(
        "rates_from_one_pair_on",
        "pair 0 turns already at base^(−2/D): m was counted from 1, so every pair has the rate of the next",
        _rope(exponent=lambda m, d: 2 * (m + 1) / d),
    ),
    Misconception(
        "one_rate",
        "all pairs turn at the same rate, as in the plane: with D > 2 each has its own, base^(−2m/D)",
        _rope(exponent=lambda m, d: 0 * m),
    ),
    Misconception(
        "positions_ignored",
        "the vectors are turned as if they stood at 0, 1, 2, …, whatever positions says; a single new word with kept "
        "keys would always stand at 0",
        _rope(where=lambda positions: torch.arange(len(positions))),
    ),
    Misconception(
        "counted_from_the_first",
        "every position is counted from the first one given: that leaves scores between these vectors alone, and no "
        "longer fits vectors turned in another call",
        _rope(where=lambda positions: positions - positions[0]),
    ),
    Misconception(
        "one_position_further",
        "every vector is turned as if it stood one position further: at position 0 nothing turns",
        _rope(where=lambda positions: positions + 1),
    ),
    Misconception(
        "sorted_positions",
        "the positions were put in order, and no longer belong to their vectors",
        _rope(where=lambda positions: positions.sort().values),
    ),
    Misconception(
        "counted_on_from_the_first",
        "the vectors are turned as if their positions followed the first one without a gap: each has a position of its "
        "own",
        _rope(where=lambda positions: torch.arange(len(positions)) + positions[0]),
    ),
    Misconception(
        "sign_of_the_position_lost",
        "negative positions turn the way of positive ones: their sign was lost",
        [_rope(where=torch.abs), _rope(where=lambda positions: positions.clamp(min=0))],
    ),
    Misconception(
        "positions_run_over_heads",
        "the positions run along the axis before T: in (B, H, T, D) over heads, in (B, T, D) over sentences",
        [_rope(axis=-3), lambda x, positions, base=10000.0: _rope(axis=-min(x.ndim, 4) + 0)(x, positions, base)],
    ),
    Misconception(
        "wrong_base",
        "the rates belong to another base than the one given, the same for every call",
        [_rope(base_used=base) for base in (10000.0, 1000.0, 100000.0, 500000.0)],
    ),
    Misconception(
        "not_turned",
        "the result is x as it was given: nothing was turned",
        [lambda x, positions, base=10000.0: x, lambda x, positions, base=10000.0: x.clone()],
    ),
    Misconception(
        "angles_in_float32",
        "right to the precision of float32 alone, also where x is float64: torch.arange(0, D, 2) / D is float32, and a "
        "small error of a rate grows with the position; make the rates in the dtype of x",
        [_rates_in_float32, _all_in_float32],
    ),
    Misconception(
        "another_dtype",
        "the result has one and the same dtype, whatever that of x",
        [
            _rope(dtype=torch.float64),
            lambda x, positions, base=10000.0: apply_rope(x.double(), positions, base),
            lambda x, positions, base=10000.0: apply_rope(x, positions, base).float(),
            lambda x, positions, base=10000.0: _rates_in_float32(x, positions, base).float(),
        ],
    ),
    Misconception(
        "cut_off",
        "no gradient flows back to x: the result was cut off by detach, .data or a way through NumPy, and the "
        "projection before it would never be learned",
        lambda x, positions, base=10000.0: apply_rope(x.detach(), positions, base),
    ),
    Misconception(
        "overwrites_x",
        "x is another after the call: the turned vectors were written into the tensor given",
        _overwrites_x,
    ),
    Misconception(
        "overwrites_positions",
        "positions are others after the call: an operation in place wrote into the tensor given",
        _shifts_positions,
    ),
)


# --- alibi_bias ------------------------------------------------------------------------------------------------------


def alibi_bias(h, n):
    slopes = 2.0 ** (-8 * torch.arange(1, h + 1) / h)
    places = torch.arange(n)
    return -slopes[:, None, None] * (places[:, None] - places).clamp(min=0)


def alibi_by_loops(h, n):
    return [
        [[-(2 ** (-8 * (i + 1) / h)) * (q - k) if k < q else 0.0 for k in range(n)] for q in range(n)] for i in range(h)
    ]


def alibi_by_triangle(h, n):
    back = torch.arange(n).unsqueeze(0) - torch.arange(n).unsqueeze(1)
    first = 2 ** (-8 / h)
    slopes = torch.tensor([first ** (i + 1) for i in range(h)], dtype=torch.float64)
    return torch.einsum("h,qk->hqk", slopes, torch.tril(back).double())


def alibi_by_cumulating(h, n):
    ones = torch.ones(n, n, dtype=torch.float64).tril(-1)
    far = ones.flip(-1).cumsum(-1).flip(-1) * ones
    return torch.stack([-far / 2 ** (8 * i / h) for i in range(1, h + 1)])


def alibi_in_numpy(h, n):
    q, k = np.indices((n, n))
    slope = np.logspace(-8 / h, -8, h, base=2) if h > 1 else np.array([2.0**-8])
    return -slope.reshape(-1, 1, 1) * np.maximum(q - k, 0)


def _back(n):
    """(n, n): how far before its query a key stands; negative for a later key."""
    return (torch.arange(n)[:, None] - torch.arange(n)).double()


def _slopes(h):
    return 2.0 ** (-8 * torch.arange(1, h + 1, dtype=torch.float64) / h)


def _alibi(slopes=_slopes, distances=lambda n: _back(n).clamp(min=0), sign=-1.0):
    """A right answer with its slopes or its distances replaced."""
    return lambda h, n: sign * slopes(h)[:, None, None] * distances(n)


def _future_hidden(h, n):
    return alibi_bias(h, n).masked_fill(_back(n) < 0, -math.inf)


def alibi_cases(rng):
    for h, n in ((4, 6), (2, 5), (8, 3)):
        yield Case("bias", (h, n))
        yield Case("not_before", (h, n))
    for h, n in ((1, 4), (16, 7), (4, 4), (2, 1), (32, 2), (1, 1), (8, 8)):
        yield Case("sizes", (h, n))


def not_before(case, result):
    """A view: of the check on keys that are not before their query, only those."""
    array = as_array(result)
    if case.check != "not_before" or array is None or array.ndim != 3 or array.shape[1] != array.shape[2]:
        return result
    return np.triu(array)


def _powers(start, step):
    return lambda h: 2.0 ** torch.tensor([start + step * i for i in range(h)], dtype=torch.float64)


ALIBIS = (
    Misconception(
        "symmetric",
        "later keys are biased as earlier ones are, by |q − k|: the bias is 0 on and above the diagonal",
        _alibi(distances=lambda n: _back(n).abs()),
    ),
    Misconception(
        "later_keys_rewarded",
        "later keys have a positive bias: a distance q − k below 0 counts as 0",
        _alibi(distances=_back),
    ),
    Misconception(
        "transposed",
        "the bias falls on keys after the query: queries are rows and keys are columns",
        _alibi(distances=lambda n: _back(n).clamp(min=0).T),
    ),
    Misconception(
        "slopes_reversed",
        "the heads stand in reverse: head 0 is the steepest, 2^(−8/h), the last one the flattest, 2^(−8)",
        _alibi(lambda h: _slopes(h).flip(0)),
    ),
    Misconception(
        "positive",
        "the bias grows with the distance, so that far keys are preferred: it lacks its minus",
        _alibi(sign=1.0),
    ),
    Misconception(
        "slopes_from_zero",
        "head 0 has a slope of 1: the exponent is −8 (i + 1) / h, counted from 1, so that head 0 has 2^(−8/h)",
        _alibi(lambda h: 2.0 ** (-8 * torch.arange(h, dtype=torch.float64) / h)),
    ),
    Misconception(
        "slopes_for_eight_heads",
        "the slopes are 1/2, 1/4, 1/8, … for any number of heads: that is right for 8 of them; with h heads "
        "the exponent goes down by 8/h from one to the next",
        _alibi(_powers(-1, -1)),
    ),
    Misconception(
        "slopes_by_eight",
        "the slopes are 2^(−8), 2^(−16), …: the exponent lacks its division by h",
        _alibi(_powers(-8, -8)),
    ),
    Misconception(
        "eight_forgotten",
        "the slopes are 2^(−1/h), 2^(−2/h), …, all of them steep: the exponent lacks its factor 8",
        _alibi(lambda h: 2.0 ** (-torch.arange(1, h + 1, dtype=torch.float64) / h)),
    ),
    Misconception(
        "whole_exponents",
        "with more than 8 heads neighbours share a slope: the exponent was cut to a whole number, as // does",
        [
            _alibi(lambda h: 2.0 ** torch.tensor([-8 * (i + 1) // h for i in range(h)], dtype=torch.float64)),
            _alibi(lambda h: 2.0 ** -torch.tensor([8 * (i + 1) // h for i in range(h)], dtype=torch.float64)),
            _alibi(lambda h: 2.0 ** torch.tensor([-(8 // h) * (i + 1) for i in range(h)], dtype=torch.float64)),
        ],
    ),
    Misconception(
        "slopes_with_h_upside_down",
        "the exponents are −h (i + 1) / 8: 8 and h changed places, and with h = 8 nothing shows",
        _alibi(lambda h: 2.0 ** (-h * torch.arange(1, h + 1, dtype=torch.float64) / 8)),
    ),
    Misconception(
        "natural_exponential",
        "the slopes are powers of e: they are powers of 2",
        _alibi(lambda h: torch.exp(-8 * torch.arange(1, h + 1, dtype=torch.float64) / h)),
    ),
    Misconception(
        "slopes_linear",
        "the slopes go down in equal steps: it is their exponent that does",
        [
            _alibi(lambda h: 8 * torch.arange(1, h + 1, dtype=torch.float64) / h),
            _alibi(lambda h: 1 / torch.arange(1, h + 1, dtype=torch.float64)),
        ],
    ),
    Misconception(
        "one_slope",
        "all heads have the same slope: each has its own, so that some look far",
        [
            _alibi(lambda h: torch.full((h,), 2.0 ** (-8 / h), dtype=torch.float64)),
            _alibi(lambda h: torch.full((h,), 2.0**-8, dtype=torch.float64)),
            _alibi(lambda h: torch.ones(h, dtype=torch.float64)),
        ],
    ),
    Misconception(
        "by_key_alone",
        "every row is the wanted one plus a constant: slope · k has the same weights after a softmax, as in the first "
        "code of ALiBi; wanted is the bias itself, 0 on the diagonal",
        [
            lambda h, n: (_slopes(h)[:, None, None] * torch.arange(n)).expand(h, n, n),
            lambda h, n: (_slopes(h)[:, None, None] * (torch.arange(n) - (n - 1))).expand(h, n, n),
        ],
    ),
    Misconception(
        "future_hidden",
        "later keys have −∞: hiding them is the causal mask's part, the bias is 0 there",
        [_future_hidden, lambda h, n: alibi_bias(h, n).masked_fill(_back(n) < 0, -1e9)],
    ),
    Misconception(
        "one_too_far",
        "the bias is off by one slope: the diagonal, a query's own key, is at distance 0",
        [
            _alibi(distances=lambda n: (_back(n) + 1).clamp(min=0)),
            _alibi(distances=lambda n: (_back(n) - 1).clamp(min=0)),
        ],
    ),
    Misconception(
        "not_linear",
        "the bias does not grow in proportion to the distance: it is a number per key, or a power or a logarithm of "
        "the distance",
        [
            _alibi(distances=lambda n: (_back(n) > 0).double()),
            _alibi(distances=lambda n: _back(n).clamp(min=0) ** 2),
            _alibi(distances=lambda n: torch.log1p(_back(n).clamp(min=0))),
        ],
    ),
    Misconception(
        "heads_last",
        "the heads are the last axis: wanted is (h, n, n), so that it adds to scores of (B, h, n, n)",
        lambda h, n: alibi_bias(h, n).permute(1, 2, 0),
    ),
    Misconception(
        "axis_too_many",
        "the result has an axis of length 1 in front: wanted is (h, n, n), it broadcasts over the batch as it is",
        lambda h, n: alibi_bias(h, n)[None],
    ),
    Misconception(
        "one_row",
        "there is one row per head, as for a single query: wanted is a row for every query, (h, n, n)",
        [lambda h, n: alibi_bias(h, n)[:, -1], lambda h, n: alibi_bias(h, n)[:, -1:]],
    ),
    Misconception(
        "heads_ignored",
        "there is no axis of heads: wanted is (h, n, n), one slope per head",
        lambda h, n: alibi_bias(h, n)[0],
    ),
)


# --- t5_bucket -------------------------------------------------------------------------------------------------------


def t5_bucket(relative, bidirectional=True, num_buckets=32, max_distance=128):
    bucket = torch.zeros_like(relative)
    n = num_buckets
    if bidirectional:
        n //= 2
        bucket = bucket + (relative > 0) * n
        distance = relative.abs()
    else:
        distance = (-relative).clamp(min=0)
    exact = n // 2
    ratio = torch.log(distance.clamp(min=1).double() / exact) / math.log(max_distance / exact)
    large = (exact + (ratio * (n - exact)).long()).clamp(max=n - 1)
    return bucket + torch.where(distance < exact, distance, large)


def bucket_by_numbers(relative, bidirectional=True, num_buckets=32, max_distance=128):
    def one(r):
        n, offset, distance = num_buckets, 0, max(-r, 0)
        if bidirectional:
            n, offset, distance = n // 2, (n // 2 if r > 0 else 0), abs(r)
        e = n // 2
        if distance < e:
            return offset + distance
        return offset + min(n - 1, e + int(math.log(distance / e) / math.log(max_distance / e) * (n - e)))

    return torch.tensor([one(r) for r in relative.flatten().tolist()]).reshape(relative.shape)


def bucket_as_in_t5(relative, bidirectional=True, num_buckets=32, max_distance=128):
    """In float32 throughout, as T5's own code has it."""
    ret = 0
    n = -relative
    if bidirectional:
        num_buckets //= 2
        ret = (n < 0).to(torch.int32) * num_buckets
        n = torch.abs(n)
    else:
        n = torch.max(n, torch.zeros_like(n))
    max_exact = num_buckets // 2
    if_large = max_exact + (
        torch.log(n.float() / max_exact) / math.log(max_distance / max_exact) * (num_buckets - max_exact)
    ).to(torch.int32)
    if_large = torch.min(if_large, torch.full_like(if_large, num_buckets - 1))
    return ret + torch.where(n < max_exact, n.to(torch.int32), if_large)


def bucket_by_edges(relative, bidirectional=True, num_buckets=32, max_distance=128):
    n = num_buckets // 2 if bidirectional else num_buckets
    e = n // 2
    grow = [e * (max_distance / e) ** (k / (n - e)) for k in range(1, n - e)]
    edges = torch.tensor([*range(1, e + 1), *(edge - 1e-9 for edge in grow)], dtype=torch.float64)
    distance = relative.abs() if bidirectional else relative.neg().relu()
    found = torch.bucketize(distance.double(), edges, right=True)
    return found + n * (relative > 0) if bidirectional else found


def bucket_in_numpy(relative, bidirectional=True, num_buckets=32, max_distance=128):
    r = relative.numpy()
    n = num_buckets // 2 if bidirectional else num_buckets
    distance = np.abs(r) if bidirectional else np.maximum(-r, 0)
    e = n // 2
    with np.errstate(divide="ignore"):
        far = e + np.floor(np.log(distance / e) * (n - e) / np.log(max_distance / e))
    found = np.where(distance < e, distance, np.minimum(far, n - 1)).astype(int)
    return found + (r > 0) * n if bidirectional else found


def _cut(number):
    return number.long()


def _near_log(distance, exact, max_distance):
    return torch.log(distance / exact) / math.log(max_distance / exact)


def _bucket(
    halves=True,
    exact=lambda n, num_buckets: n // 2,
    share=_near_log,
    whole=_cut,
    last=lambda n: n - 1,
    later=lambda r: r > 0,
    both=torch.abs,
    behind=lambda r: (-r).clamp(min=0),
    offset=lambda n, num_buckets: n,
    one_way=lambda num_buckets: num_buckets,
    options=lambda bidirectional, num_buckets, max_distance: (bidirectional, num_buckets, max_distance),
):
    """A right answer with some of its parts replaced."""

    def answer(relative, bidirectional=True, num_buckets=32, max_distance=128):
        bidirectional, num_buckets, max_distance = options(bidirectional, num_buckets, max_distance)
        n = (num_buckets // 2 if halves else num_buckets) if bidirectional else one_way(num_buckets)
        start = later(relative).long() * offset(n, num_buckets) if bidirectional else 0
        distance = both(relative) if bidirectional else behind(relative)
        e = exact(n, num_buckets)
        large = e + whole(share(distance.clamp(min=1).double(), e, max_distance) * (n - e))
        limit = last(n)
        large = large if limit is None else large.clamp(max=limit)
        return start + torch.where(distance < e, distance, large)

    return answer


def _negated(answer):
    return lambda relative, *options, **named: answer(-relative, *options, **named)


def _only_small(limit):
    """No logarithm: one bucket for each distance, up to the last."""

    def answer(relative, bidirectional=True, num_buckets=32, max_distance=128):
        n = num_buckets // 2 if bidirectional else num_buckets
        distance = relative.abs() if bidirectional else (-relative).clamp(min=0)
        return distance.clamp(max=limit(n)) + ((relative > 0) * n if bidirectional else 0)

    return answer


def _rounded(number):
    return number.round().long()


def _up(number):
    return number.ceil().long()


def _as_float(relative, bidirectional=True, num_buckets=32, max_distance=128):
    return t5_bucket(relative, bidirectional, num_buckets, max_distance).float()


def _cut_late(relative, bidirectional=True, num_buckets=32, max_distance=128):
    """As the formula says, but the buckets of large distances are not cut to whole numbers."""
    n = num_buckets // 2 if bidirectional else num_buckets
    e = n // 2
    distance = relative.abs() if bidirectional else (-relative).clamp(min=0)
    large = e + _near_log(distance.clamp(min=1).double(), e, max_distance) * (n - e)
    found = torch.where(distance < e, distance.double(), large.clamp(max=n - 1))
    return found + n * (relative > 0) if bidirectional else found


def _abs_in_place(relative, bidirectional=True, num_buckets=32, max_distance=128):
    found = t5_bucket(relative, bidirectional, num_buckets, max_distance)
    relative.abs_() if bidirectional else relative.neg_()
    return found


def _square(n_q, n_k):
    return (np.arange(n_k)[None, :] - np.arange(n_q)[:, None]).astype(np.int64)


def _clear(numbers, bidirectional, num_buckets, max_distance):
    """Without the distances that lie on the edge of a bucket, where rounding decides."""
    n = num_buckets // 2 if bidirectional else num_buckets
    e = n // 2
    edges = [e * (max_distance / e) ** (k / (n - e)) for k in range(1, n - e)]
    return np.array([r for r in numbers if all(abs(abs(r) - edge) > 1e-6 for edge in edges)], dtype=np.int64)


def bucket_cases(rng):
    yield Case("near", (_square(5, 7),))
    yield Case("near", (_square(4, 4),))
    yield Case("near", (_whole(-7, 7, 0, 1, -1),))
    far = np.delete(np.arange(-200, 201), (200 - 64, 200 + 64))  # 64 lies on an edge that not every order of steps hits
    yield Case("far", (far,))
    yield Case("far", (rng.permutation(far)[:24].reshape(2, 3, 4),))
    yield Case("far", (_whole(-128, 128, -1000, 5000, 16, -32, 11, 12),))
    yield Case("one_direction", (_square(5, 7), False))
    yield Case("one_direction", (np.arange(-200, 41),), {"bidirectional": False})
    yield Case("one_direction", (_whole(-128, -127, -1000, 500, 0, -15, -16), False))
    for bidirectional, num_buckets, max_distance in (
        (True, 16, 64),
        (False, 16, 64),
        (True, 64, 128),
        (False, 8, 20),
        (True, 32, 256),
        (False, 32, 500),
    ):
        numbers = _clear(range(-300, 301, 3), bidirectional, num_buckets, max_distance)
        yield Case("other_sizes", (numbers, bidirectional, num_buckets, max_distance))
    numbers = _clear(range(-60, 61), True, 12, 50)
    yield Case("other_sizes", (numbers,), {"num_buckets": 12, "max_distance": 50})


def kind_and_bucket(case, result):
    """A view: whether the buckets are whole numbers by their dtype, and which they are."""
    array = as_array(result)
    if array is None:
        return result
    return {"dtype": {"i": "int", "u": "int", "f": "float"}.get(array.dtype.kind, array.dtype.name), "bucket": array}


BUCKETS = (
    Misconception(
        "sign",
        "later and earlier keys are exchanged: relative is key − query, so it is positive for a later key",
        [
            _negated(t5_bucket),
            _bucket(later=lambda r: r < 0, behind=lambda r: r.clamp(min=0)),
        ],
    ),
    Misconception(
        "later_in_the_lower_half",
        "with both directions the two halves are exchanged: the upper half is for later keys, relative > 0",
        _bucket(later=lambda r: r < 0),
    ),
    Misconception(
        "one_direction_looks_ahead",
        "with bidirectional=False later keys are told apart and all earlier ones are not: it is −relative that counts, "
        "at least 0",
        _bucket(behind=lambda r: r.clamp(min=0)),
    ),
    Misconception(
        "no_logarithm",
        "every distance has a bucket of its own until they run out: from half of the buckets on they get wider, with "
        "the logarithm of the distance",
        [_only_small(lambda n: n - 1), _only_small(lambda n: n // 2 - 1), _only_small(lambda n: n // 2)],
    ),
    Misconception(
        "linear_instead_of_logarithm",
        "the wide buckets are all equally wide: their edges grow by a factor, so it is the logarithm of the distance "
        "that is cut into equal parts",
        [
            _bucket(share=lambda distance, e, far: (distance - e) / (far - e)),
            _bucket(share=lambda distance, e, far: distance / far),
        ],
    ),
    Misconception(
        "one_sided_halves",
        "with both directions the distances run through all buckets: only half of them, num_buckets/2, are left for "
        "each direction",
        [
            _bucket(halves=False, offset=lambda n, num_buckets: num_buckets // 2),
            _bucket(halves=False, offset=lambda n, num_buckets: num_buckets),
            _bucket(halves=False, later=lambda r: r != r),
        ],
    ),
    Misconception(
        "direction_ignored",
        "with both directions a key three places before and one three places behind share a bucket: later keys belong "
        "in the upper half",
        _bucket(later=lambda r: r != r),
    ),
    Misconception(
        "own_place_counts_as_later",
        "distance 0 is in the upper half: only relative > 0 is",
        _bucket(later=lambda r: r >= 0),
    ),
    Misconception(
        "exact_part_too_long",
        "the wide buckets begin too late: of the buckets of a direction the first half takes single distances",
        [
            _bucket(exact=lambda n, num_buckets: n - 1),
            _bucket(exact=lambda n, num_buckets: 3 * n // 4),
        ],
    ),
    Misconception(
        "exact_part_too_short",
        "the wide buckets begin too early: of the buckets of a direction the first half takes single distances, not "
        "the first quarter",
        _bucket(exact=lambda n, num_buckets: n // 4),
    ),
    Misconception(
        "rounded",
        "the edges of the wide buckets lie elsewhere: the number is cut to the whole number below, not rounded",
        [_bucket(whole=_rounded), _bucket(whole=_up)],
    ),
    Misconception(
        "not_limited",
        "distances beyond max_distance run past the last bucket: it takes all that is further away",
        [_bucket(last=lambda n: None), _bucket(last=lambda n: n)],
    ),
    Misconception(
        "last_bucket_unused",
        "the last bucket of a direction stays empty: buckets count from 0, so it is n − 1",
        _bucket(last=lambda n: n - 2),
    ),
    Misconception(
        "logarithm_not_scaled",
        "the wide buckets do not end at max_distance: ln(r / e) is to be divided by ln(max_distance / e)",
        [
            _bucket(share=lambda distance, e, far: torch.log(distance / e) / math.log(far)),
            _bucket(share=lambda distance, e, far: torch.log(distance) / math.log(far)),
            _bucket(share=lambda distance, e, far: torch.log(distance / e)),
            _bucket(share=lambda distance, e, far: torch.log2(distance / e) / math.log(far / e)),
            _bucket(share=lambda distance, e, far: torch.log(distance) / math.log(far / e)),
            _bucket(share=lambda distance, e, far: torch.log(distance / e) / math.log(far - e)),
        ],
    ),
    Misconception(
        "later_mirrored",
        "with bidirectional=False later keys get the buckets of earlier ones: they are all at distance 0",
        _bucket(behind=torch.abs),
    ),
    Misconception(
        "later_below_zero",
        "with bidirectional=False later keys get negative numbers: they are all at distance 0",
        _bucket(behind=torch.neg),
    ),
    Misconception(
        "halved_for_one_direction",
        "with bidirectional=False half of the buckets stay empty: there is one direction, and it gets all of them",
        _bucket(one_way=lambda num_buckets: num_buckets // 2),
    ),
    Misconception(
        "bidirectional_ignored",
        "bidirectional=False changes nothing",
        _bucket(options=lambda bidirectional, num_buckets, max_distance: (True, num_buckets, max_distance)),
    ),
    Misconception(
        "bidirectional_inverted",
        "True and False are exchanged: with bidirectional=True later keys have buckets of their own",
        _bucket(
            options=lambda bidirectional, num_buckets, max_distance: (not bidirectional, num_buckets, max_distance)
        ),
    ),
    Misconception(
        "always_one_direction",
        "with both directions later keys are all in one bucket, as they are with bidirectional=False",
        _bucket(options=lambda bidirectional, num_buckets, max_distance: (False, num_buckets, max_distance)),
    ),
    Misconception(
        "number_of_buckets_ignored",
        "another num_buckets changes nothing: the results are those of 32",
        [
            _bucket(options=lambda bidirectional, num_buckets, max_distance: (bidirectional, 32, max_distance)),
            _bucket(options=lambda bidirectional, num_buckets, max_distance: (bidirectional, 32, 128)),
        ],
    ),
    Misconception(
        "largest_distance_ignored",
        "another max_distance changes nothing: the results are those of 128",
        _bucket(options=lambda bidirectional, num_buckets, max_distance: (bidirectional, num_buckets, 128)),
    ),
    Misconception(
        "not_whole_numbers",
        "the buckets are floats: they are rows of a table, and a table is asked by whole numbers",
        [_as_float, _cut_late],
    ),
    Misconception(
        "overwrites_relative",
        "relative is another after the call: abs_ and neg_ write into the tensor given, abs and − make a new one",
        _abs_in_place,
    ),
)


# --- relative_only ---------------------------------------------------------------------------------------------------

SCHEMES = ("learned", "sinusoidal", "rope", "alibi", "t5")


def as_names(case, answer):
    """The names in a set, tuple, list or array of texts, or in one text; in lower case, without quotes and "and"."""
    if isinstance(answer, (str, np.ndarray)):
        answer = np.ravel(answer).tolist()
    if not isinstance(answer, (set, tuple, list)):
        raise ValueError("not names")
    texts = [item.item() if isinstance(item, np.ndarray) and item.ndim == 0 else item for item in answer]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("not names")
    return {name for text in texts for name in re.split(r"[\s,;{}()\[\]'\"]+", text.lower())} - {"", "and"}


def _sets(rule):
    """Every set of schemes, but the right one, that a rule holds for."""
    every = (set(s) for size in range(6) for s in itertools.combinations(SCHEMES, size))
    return [chosen for chosen in every if chosen != {"rope", "alibi", "t5"} and rule(chosen)]


ONLY = (
    Misconception(
        "all_of_them",
        "all five are named: a row that is added to the token goes through the projections with it, and what comes out "
        "knows i and j, not only their difference",
        _sets(lambda s: len(s) == 5),
    ),
    Misconception(
        "learned_among_them",
        "learned is among them: its rows are any numbers, so that rows 0 and 3 have no more in common with rows "
        "5 and 8 than with any others",
        _sets(lambda s: "learned" in s and len(s) < 5),
    ),
    Misconception(
        "sinusoidal_among_them",
        "sinusoidal is among them: p · p does depend on i − j alone, but w_q and w_k stand between, and the products "
        "of a token with a position know i or j",
        _sets(lambda s: "sinusoidal" in s and "learned" not in s),
    ),
    Misconception(
        "rope_left_out",
        "rope is not among them: queries are turned by i and keys by j, and a product of two turned vectors sees only "
        "by how much one is turned against the other",
        _sets(lambda s: s == {"alibi", "t5"}),
    ),
    Misconception(
        "a_bias_left_out",
        "a bias is missing: alibi and t5 look up or compute a number from j − i and add it to the score, behind all "
        "projections",
        _sets(lambda s: s and not {"alibi", "t5"} <= s and not {"learned", "sinusoidal"} & s),
    ),
    Misconception(
        "none_of_them",
        "none is named: a bias that is computed from j − i depends on nothing else",
        set(),
    ),
)


REFERENCES = (
    Reference(
        id="sinusoidal_encoding",
        reference=sinusoidal_encoding,
        accepted=(
            sinusoids_by_loops,
            sinusoids_written_into_zeros,
            sinusoids_by_shifted_phase,
            sinusoids_in_numpy,
            sinusoids_as_a_power_of_a_rotation,
        ),
        misconceptions=SINUSOIDS,
        cases=sinusoid_cases,
    ),
    Reference(
        id="add_positions",
        reference=add_positions,
        accepted=(add_by_loops, add_by_looking_up, add_by_one_hot, add_in_place_on_a_copy),
        misconceptions=ADDITIONS,
        cases=add_cases,
    ),
    Reference(
        id="apply_rope",
        reference=apply_rope,
        accepted=(
            rope_by_complex_numbers,
            rope_by_loops,
            rope_by_matrices,
            rope_by_turned_partner,
            rope_written_into_a_copy,
        ),
        misconceptions=ROPES,
        cases=rope_cases,
        view=far_precision,
    ),
    Reference(
        id="alibi_bias",
        reference=alibi_bias,
        accepted=(alibi_by_loops, alibi_by_triangle, alibi_by_cumulating, alibi_in_numpy),
        misconceptions=ALIBIS,
        cases=alibi_cases,
        view=not_before,
    ),
    Reference(
        id="t5_bucket",
        reference=t5_bucket,
        accepted=(bucket_by_numbers, bucket_as_in_t5, bucket_by_edges, bucket_in_numpy),
        misconceptions=BUCKETS,
        cases=bucket_cases,
        view=kind_and_bucket,
    ),
    Reference(
        id="relative_only",
        reference={"rope", "alibi", "t5"},
        accepted=(
            ("t5", "alibi", "rope"),
            ["RoPE", "ALiBi", "T5"],
            frozenset({"rope", "alibi", "t5"}),
            "rope, alibi and t5",
        ),
        misconceptions=ONLY,
        cases=lambda rng: [Case("prediction")],
        view=as_names,
    ),
)
