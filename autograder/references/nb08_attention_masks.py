"""Notebook 08, the hidden half: references, accepted and wrong answers, cases.

About 1700 lines, since five exercises share the module and each mistake with a mask has several natural shapes.
"""

import math

import numpy as np
import torch
from torch.nn import functional

from autograder.exercise import DIFFERENTIABLE, KEEPS_DTYPE, Case, Misconception, Reference

INF = math.inf


# --- padding_mask ----------------------------------------------------------------------------------------------------


def padding_mask(lengths, n):
    return (torch.arange(n) < lengths[:, None])[:, None, None, :]


def padding_by_loops(lengths, n):
    return [[[[j < length for j in range(n)]]] for length in lengths.tolist()]


def padding_by_writing(lengths, n):
    mask = torch.zeros(len(lengths), 1, 1, n, dtype=torch.bool)
    for b, length in enumerate(lengths):
        mask[b, ..., : int(length)] = True
    return mask


def padding_by_counting(lengths, n):
    places = torch.ones(len(lengths), n).cumsum(dim=1)
    return ~(places > lengths.unsqueeze(1)).unsqueeze(1).unsqueeze(1)


def padding_in_numpy(lengths, n):
    return np.arange(n) < lengths.numpy().reshape(-1, 1, 1, 1)


def _real(lengths, n):
    """(B, n): where the tokens are real."""
    return torch.arange(n) < lengths[:, None]


def _four(mask):
    """(B, n) to (B, 1, 1, n)."""
    return mask[:, None, None, :]


def _additive(mask):
    return torch.zeros(mask.shape).masked_fill(~mask, -INF)


def _pairs(lengths, n):
    real = _real(lengths, n)
    return (real[:, :, None] & real[:, None, :])[:, None]


def _batch_last(lengths, n):
    return (torch.arange(n)[:, None] < lengths).reshape(len(lengths), 1, 1, n)


def padding_cases(rng):
    for inner, n in (((2, 4, 1), 5), ((3, 1), 4), ((1, 2, 3, 2), 4)):  # the last with B = n
        yield Case("real_tokens", (rng.permutation(np.array(inner)), n))
    yield Case("real_tokens", (np.append(rng.integers(1, 70, size=5), 69), 70))
    yield Case("full_and_empty", (np.array([0, 3, 6]), 6))
    yield Case("full_and_empty", (np.array([4, 0, 4, 0]), 4))
    yield Case("full_and_empty", (np.array([2, 3]), 5))  # no sentence is as long as the batch
    for length, n in ((2, 3), (1, 5), (1, 1), (0, 1)):
        yield Case("one_sentence", (np.array([length]), n))


PADDING_MISCONCEPTIONS = (
    Misconception(
        "inverted",
        "every entry is the opposite: True stands at the padding, and here True means may attend",
        lambda lengths, n: ~padding_mask(lengths, n),
    ),
    Misconception(
        "inclusive",
        "one key too many is True wherever there is room for it: positions count from 0, so those of a sentence of "
        "length L are 0 to L − 1",
        lambda lengths, n: _four(torch.arange(n) <= lengths[:, None]),
    ),
    Misconception(
        "one_too_few",
        "the last real token of every sentence is False: positions count from 0, so those of a sentence of length L "
        "are 0 to L − 1, and L − 1 is one of them",
        [
            lambda lengths, n: _four(torch.arange(n) < lengths[:, None] - 1),
            lambda lengths, n: _four(torch.arange(1, n + 1) < lengths[:, None]),
        ],
    ),
    Misconception(
        "masks_queries",
        "the shape is (B, 1, n, 1): the sentence lies along the queries, so whole rows are hidden and every other row "
        "still sees all padding",
        lambda lengths, n: _real(lengths, n)[:, None, :, None],
    ),
    Misconception(
        "pairs",
        "the shape is (B, 1, n, n), one entry for every pair: queries have an axis of their own here, and (B, 1, 1, n) "
        "says the same about keys for any number of queries",
        [
            _pairs,
            lambda lengths, n: padding_mask(lengths, n).expand(-1, 1, n, n),
        ],
    ),
    Misconception(
        "numbers",
        "the entries are numbers, 1 and 0: a mask is bool here, and ~ or masked_fill need one",
        [
            lambda lengths, n: padding_mask(lengths, n).float(),
            lambda lengths, n: padding_mask(lengths, n).long(),
            lambda lengths, n: padding_mask(lengths, n).to(torch.uint8),
        ],
    ),
    Misconception(
        "additive",
        "the entries are 0 and very negative numbers, to be added to scores: a mask is bool here, True = may attend",
        [
            lambda lengths, n: _additive(padding_mask(lengths, n)),
            lambda lengths, n: (1.0 - padding_mask(lengths, n).float()) * -1e9,
        ],
    ),
    Misconception(
        "axes_missing",
        "the right entries, but an axis of length 1 is missing: heads and queries each need one, (B, 1, 1, n)",
        [
            _real,
            lambda lengths, n: _real(lengths, n)[:, None],
        ],
    ),
    Misconception(
        "axes_elsewhere",
        "the axes of length 1 stand elsewhere: the order is batch, heads, queries, keys, and heads and queries have 1",
        [
            lambda lengths, n: _real(lengths, n)[:, :, None, None],
            lambda lengths, n: _real(lengths, n)[None, None],
            lambda lengths, n: _real(lengths, n)[None, :, None],
        ],
    ),
    Misconception(
        "reshaped",
        "the shape is right and the sentences are mixed: a table with positions as rows was read as one with "
        "sentences as rows, and reshape or view does not swap axes",
        _batch_last,
    ),
    Misconception(
        "left",
        "the last keys of a sentence are True instead of the first: the real tokens stand first, the padding behind",
        lambda lengths, n: _four(torch.arange(n) >= n - lengths[:, None]),
    ),
    Misconception(
        "width_from_data",
        "the last axis is as long as the longest sentence, not n: a batch may be padded further than its longest "
        "sentence",
        lambda lengths, n: padding_mask(lengths, int(lengths.max())),
    ),
    Misconception(
        "at_least_one",
        "a sentence of length 0 has one key that is True: it has no token, and every key is padding",
        lambda lengths, n: padding_mask(lengths.clamp(min=1), n),
    ),
    Misconception(
        "nothing_hidden",
        "every entry is True: nothing is hidden, whatever the lengths",
        lambda lengths, n: torch.ones(len(lengths), 1, 1, n, dtype=torch.bool),
    ),
    Misconception(
        "only_last_real",
        "a single key of a sentence is True, where all of the first lengths[b] are wanted",
        [
            lambda lengths, n: _four(torch.arange(n) == lengths[:, None] - 1),
            lambda lengths, n: _four(torch.arange(n) == lengths[:, None]),
        ],
    ),
    Misconception(
        "inverted+inclusive",
        "True stands at the padding but for its first position: the comparison is turned around, and one off",
        lambda lengths, n: _four(torch.arange(n) > lengths[:, None]),
    ),
    Misconception(
        "inverted+numbers",
        "1 stands at the padding and 0 at the real tokens: wanted is bool, True = may attend",
        [
            lambda lengths, n: (~padding_mask(lengths, n)).float(),
            lambda lengths, n: (~padding_mask(lengths, n)).long(),
        ],
    ),
    Misconception(
        "inverted+axes_missing",
        "the shape lacks an axis of length 1, and True stands at the padding, as nn.MultiheadAttention wants it; here "
        "the mask is (B, 1, 1, n) and True means may attend",
        lambda lengths, n: ~_real(lengths, n),
    ),
    Misconception(
        "inverted+masks_queries",
        "the shape is (B, 1, n, 1), with True at the padding: the sentence lies along the queries, and True is to mean "
        "may attend",
        lambda lengths, n: ~_real(lengths, n)[:, None, :, None],
    ),
    Misconception(
        "inclusive+axes_missing",
        "the shape lacks an axis of length 1, and one key too many is True",
        lambda lengths, n: torch.arange(n) <= lengths[:, None],
    ),
    Misconception(
        "numbers+axes_missing",
        "the shape lacks an axis of length 1, and the entries are numbers instead of bool",
        [
            lambda lengths, n: _real(lengths, n).float(),
            lambda lengths, n: _real(lengths, n).long(),
        ],
    ),
)


# --- causal_mask -----------------------------------------------------------------------------------------------------


def causal_mask(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    return torch.ones(n_q, n_k, dtype=torch.bool).tril(diagonal=n_k - n_q)


def causal_by_places(n_q, n_k=None):
    if n_k is None:
        n_k = n_q
    return torch.arange(n_k) <= torch.arange(n_k - n_q, n_k)[:, None]


def causal_by_loops(n_q, n_k=None):
    keys = n_k or n_q
    return [[j <= i + keys - n_q for j in range(keys)] for i in range(n_q)]


def causal_by_distance_from_the_end(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    back_q = np.arange(n_q)[::-1, None]
    back_k = np.arange(n_k)[::-1]
    return back_k >= back_q


def causal_by_triu(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    later = torch.triu(torch.full((n_q, n_k), -INF), diagonal=1 + n_k - n_q)
    return later == 0


def causal_from_a_large_square(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    n = max(n_q, n_k)
    return torch.ones(n, n).tril().bool()[n - n_q :, n - n_k :]


def _tri(shift, below=True):
    """An answer: the triangle on one side of the diagonal that `shift(n_q, n_k)` names."""

    def mask(n_q, n_k=None):
        n_k = n_q if n_k is None else n_k
        every = torch.ones(n_q, n_k, dtype=torch.bool)
        diagonal = shift(n_q, n_k)
        return every.tril(diagonal) if below else every.triu(diagonal)

    return mask


def _then(answer, change):
    return lambda *inputs, **keywords: change(answer(*inputs, **keywords))


def _square(n_q, n_k=None):
    return causal_mask(n_q)


def _square_of_keys(n_q, n_k=None):
    return causal_mask(n_q if n_k is None else n_k)


def _last_rows_of_a_square(n_q, n_k=None):
    n_k = n_q if n_k is None else n_k
    return causal_mask(n_k)[-n_q:]


def _default_forgotten(n_q, n_k=None):
    return torch.ones(n_q, n_k, dtype=torch.bool).tril(n_k - n_q)


def _default_forgotten_in_places(n_q, n_k=None):
    return torch.arange(n_k) <= torch.arange(n_q)[:, None] + (n_k - n_q)


top_left = _tri(lambda n_q, n_k: 0)
upper = _tri(lambda n_q, n_k: n_k - n_q, below=False)
strict = _tri(lambda n_q, n_k: n_k - n_q - 1)


def causal_cases(rng):
    for n in (4, 5, 2):
        yield Case("square", (n,))
    yield Case("square", (3, 3))
    yield Case("square", (4,), {"n_k": None})
    yield Case("square", (66 + int(rng.integers(0, 9)),))
    for n_q, n_k in ((3, 5), (2, 7), (4, 5)):
        yield Case("more_keys", (n_q, n_k))
    yield Case("more_keys", (2, 6 + int(rng.integers(0, 3))))
    for n_q, n_k in ((5, 3), (4, 3)):
        yield Case("more_queries", (n_q, n_k))
    yield Case("more_queries", (6,), {"n_k": 2})
    for sizes in ((1,), (1, 1), (1, 4), (4, 1), (2, 2), (2, 3)):
        yield Case("small", sizes)


CAUSAL_MISCONCEPTIONS = (
    Misconception(
        "strict",
        "a query does not see the key at its own place: the diagonal is False, and the first of equally many queries "
        "and keys is left with nothing",
        strict,
    ),
    Misconception(
        "upper",
        "a query sees its own place and what comes later: the triangle is the upper one",
        upper,
    ),
    Misconception(
        "inverted",
        "every entry is the opposite: True stands at later keys, and here True means may attend",
        _tri(lambda n_q, n_k: n_k - n_q + 1, below=False),
    ),
    Misconception(
        "top_left",
        "query 0 sees key 0 alone, whatever the sizes: the triangle starts at the top left, where the last query has "
        "to see every key",
        top_left,
    ),
    Misconception(
        "strict_top_left",
        "the triangle starts at the top left and leaves the diagonal out: query 0 sees nothing, whatever the sizes",
        _tri(lambda n_q, n_k: -1),
    ),
    Misconception(
        "one_ahead",
        "a query sees one key later than its own place",
        [
            _tri(lambda n_q, n_k: n_k - n_q + 1),
            _tri(lambda n_q, n_k: 1),
        ],
    ),
    Misconception(
        "shifted_backwards",
        "right for equally many queries and keys; otherwise the triangle is moved to the wrong side, by n_q − n_k "
        "instead of n_k − n_q",
        _tri(lambda n_q, n_k: n_q - n_k),
    ),
    Misconception(
        "never_empty",
        "with more queries than keys no row is empty: the first ones have to be, since the last query stands at the "
        "last key",
        [
            _tri(lambda n_q, n_k: max(n_k - n_q, 0)),
            _tri(lambda n_q, n_k: abs(n_k - n_q)),
        ],
    ),
    Misconception(
        "rows_missing",
        "with more queries than keys rows are missing, as where rows of a square of n_k are taken: (n_q, n_k) is "
        "wanted",
        _last_rows_of_a_square,
    ),
    Misconception(
        "square",
        "the mask is square where n_q and n_k differ: (n_q, n_k) is wanted",
        [_square, _square_of_keys],
    ),
    Misconception(
        "transposed",
        "the shape is (n_k, n_q): queries are rows, keys are columns",
        [
            _then(causal_mask, torch.t),
            lambda n_q, n_k=None: causal_mask(n_q if n_k is None else n_k, n_q),
        ],
    ),
    Misconception(
        "numbers",
        "the entries are numbers, 1 and 0: a mask is bool here, and ~ or masked_fill need one",
        [
            _then(causal_mask, torch.Tensor.float),
            _then(causal_mask, torch.Tensor.long),
        ],
    ),
    Misconception(
        "additive",
        "the entries are 0 and −∞, to be added to scores: a mask is bool here, True = may attend",
        [_then(causal_mask, _additive)],
    ),
    Misconception(
        "extra_axes",
        "the right entries with more axes than two: (n_q, n_k) broadcasts over batch and heads as it is",
        [
            _then(causal_mask, lambda mask: mask[None, None]),
            _then(causal_mask, lambda mask: mask[None]),
        ],
    ),
    Misconception(
        "default_forgotten",
        "with n_k left out the call fails: n_k is None then, and stands for n_q",
        [_default_forgotten, _default_forgotten_in_places],
    ),
    Misconception(
        "nothing_hidden",
        "every entry is True: later keys are seen",
        _then(causal_mask, torch.ones_like),
    ),
    Misconception(
        "itself_only",
        "a query sees the key at its own place and no earlier one",
        lambda n_q, n_k=None: causal_mask(n_q, n_k) & ~strict(n_q, n_k),
    ),
    Misconception(
        "upper+top_left",
        "a query sees later keys instead of earlier ones, and the triangle starts at the top left whatever the sizes",
        _tri(lambda n_q, n_k: 0, below=False),
    ),
    Misconception(
        "inverted+top_left",
        "every entry is the opposite of a triangle that starts at the top left: True is to mean may attend, and the "
        "last query has to see every key",
        _tri(lambda n_q, n_k: 1, below=False),
    ),
    Misconception(
        "numbers+top_left",
        "the entries are numbers instead of bool, and the triangle starts at the top left whatever the sizes",
        [
            _then(top_left, torch.Tensor.float),
            _then(top_left, torch.Tensor.long),
        ],
    ),
    Misconception(
        "numbers+square",
        "the entries are numbers instead of bool, and the mask is square where n_q and n_k differ",
        _then(_square, torch.Tensor.float),
    ),
    Misconception(
        "inverted+numbers",
        "1 stands at later keys and 0 at the others: wanted is bool, True = may attend",
        _then(_tri(lambda n_q, n_k: n_k - n_q + 1, below=False), torch.Tensor.float),
    ),
    Misconception(
        "upper+numbers",
        "the entries are numbers instead of bool, and the triangle is the upper one",
        [_then(upper, torch.Tensor.float), _then(_tri(lambda n_q, n_k: 0, below=False), torch.Tensor.float)],
    ),
)


# --- empty_rows ------------------------------------------------------------------------------------------------------

SPELLINGS = {"0": "zero", "0.0": "zero", "zeros": "zero", "0.25": "even", "1/4": "even", "uniform": "even"}


def as_words(case, answer):
    """Two of the words, however they are written: a tuple, a list, one string with a comma, or the numbers."""
    items = answer.replace(",", " ").split() if isinstance(answer, str) else answer
    if not isinstance(items, (tuple, list, np.ndarray)) or len(items) != 2:
        raise ValueError("two words are wanted")
    return tuple(_word(item) for item in items)


def _word(item):
    if isinstance(item, (np.ndarray, np.generic)):
        item = item.item()
    if isinstance(item, str):
        word = item.strip(" '\"()").lower()
        return SPELLINGS.get(word, word)
    if isinstance(item, (int, float)) and not isinstance(item, bool):
        return "nan" if item != item else {0: "zero", 0.25: "even"}.get(item, str(item))
    raise ValueError("two words are wanted")


ROWS = (
    Misconception(
        "both_nan",
        "two times nan: −1e9 is a number like any other, and four equal numbers minus their maximum are four times 0",
        ("nan", "nan"),
    ),
    Misconception(
        "both_even",
        "two times even: that holds for the finite number; but −∞ minus its maximum, −∞, is not a number",
        ("even", "even"),
    ),
    Misconception(
        "both_zero",
        "two times zero: a softmax divides by the sum of its row, so weights that exist add up to 1, and cannot all "
        "be 0",
        ("zero", "zero"),
    ),
    Misconception(
        "zero_and_nan",
        "nan is right for −∞; but weights that exist add up to 1, so those of four scores of −1e9 cannot all be 0",
        ("zero", "nan"),
    ),
    Misconception(
        "even_and_zero",
        "even is right for −1e9; for −∞ every exponential is 0, and so is their sum: what is 0 / 0?",
        ("even", "zero"),
    ),
    Misconception(
        "swapped",
        "these are the two right words in the other order: first comes −1e9, then −∞",
        ("nan", "even"),
    ),
    Misconception(
        "nan_and_zero",
        "neither row is as predicted: the finite scores are equal and share evenly, the infinite ones give 0 / 0",
        ("nan", "zero"),
    ),
    Misconception(
        "zero_and_even",
        "neither row is as predicted: weights that exist add up to 1, and −∞ minus −∞ is not 0",
        ("zero", "even"),
    ),
)


# --- masked_softmax --------------------------------------------------------------------------------------------------


def masked_softmax(scores, mask):
    scores = scores.masked_fill(~mask, -INF)
    empty = ~mask.any(dim=-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(empty, 0.0), dim=-1)
    return weights.masked_fill(empty, 0.0)


def softmax_by_hand(scores, mask):
    hidden = torch.where(mask, scores, -INF)
    top = hidden.amax(dim=-1, keepdim=True)
    e = torch.exp(hidden - torch.where(top == -INF, 0.0, top).to(scores.dtype))
    total = e.sum(-1, keepdim=True)
    return e / torch.where(total == 0, torch.ones_like(total), total)


def softmax_of_the_smallest(scores, mask):
    filled = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return torch.softmax(filled, dim=-1) * mask


def softmax_with_nan_replaced(scores, mask):
    return torch.nan_to_num(torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1), nan=0.0)


def softmax_by_rows(scores, mask):
    mask = mask.expand(scores.shape)
    weights = torch.zeros_like(scores)
    for index in np.ndindex(*scores.shape[:-1]):
        keys = mask[index].nonzero()[:, 0]
        if len(keys):
            row = torch.zeros_like(scores[index])
            row[keys] = functional.softmax(scores[index][keys], dim=0)
            weights[index] = row
    return weights


def softmax_in_float64(scores, mask):
    hidden = scores.double().masked_fill(mask.logical_not(), -INF)
    empty = hidden.isneginf().all(dim=-1, keepdim=True)
    weights = functional.softmax(hidden, dim=-1)
    return torch.where(empty, torch.zeros_like(weights), weights).to(scores.dtype)


def _filled(number, repair=False, by_where=False):
    """An answer that puts a finite number in place of hidden scores; `repair` sets hidden weights to 0 afterwards."""

    def answer(scores, mask):
        filled = torch.where(mask, scores, number) if by_where else scores.masked_fill(~mask, number)
        weights = torch.softmax(filled, dim=-1)
        return weights * mask if repair else weights

    return answer


def _added(number):
    """An answer that adds a finite number to hidden scores."""
    return lambda scores, mask: torch.softmax(scores + (~mask).to(scores.dtype) * number, dim=-1)


def nan_row(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, -INF), dim=-1)


def uniform_row(scores, mask):
    return torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=-1)


def multiply_after(scores, mask):
    return torch.softmax(scores, dim=-1) * mask


def _renormalised(epsilon=0.0, least=None, exact=False):
    """An answer that zeroes weights after the softmax and divides by what is left."""

    def answer(scores, mask):
        weights = torch.softmax(scores, dim=-1) * mask
        total = weights.sum(dim=-1, keepdim=True) + epsilon
        if exact:
            total = total.masked_fill(total == 0, 1.0)
        return weights / (total if least is None else total.clamp(min=least))

    return answer


def _by_hand_with(epsilon):
    """An answer that is right but for a constant added to the sum of each row."""

    def answer(scores, mask):
        hidden = scores.masked_fill(~mask, -INF)
        e = torch.exp(hidden - hidden.amax(dim=-1, keepdim=True).nan_to_num(neginf=0.0))
        return e / (e.sum(dim=-1, keepdim=True) + epsilon)

    return answer


def _without_maximum(repair):
    def answer(scores, mask):
        e = torch.exp(scores) * mask
        total = e.sum(dim=-1, keepdim=True)
        return e / (total.masked_fill(total == 0, 1.0) if repair else total)

    return answer


def _without_maximum_filled(scores, mask):
    e = torch.exp(scores.masked_fill(~mask, -INF))
    total = e.sum(dim=-1, keepdim=True)
    return e / total.masked_fill(total == 0, 1.0)


def _over(dim):
    """An answer whose softmax runs over another axis; rows without keys are 0."""

    def answer(scores, mask):
        weights = torch.softmax(scores.masked_fill(~mask, -INF), dim=dim)
        return weights.nan_to_num(0.0)

    return answer


def _over_with_nan(dim):
    return lambda scores, mask: torch.softmax(scores.masked_fill(~mask, -INF), dim=dim)


def _inverted(answer):
    return lambda scores, mask: answer(scores, ~mask)


def mutates(scores, mask):
    empty = ~mask.any(dim=-1, keepdim=True)
    scores.masked_fill_(~mask, -INF)
    return torch.softmax(scores.masked_fill(empty, 0.0), dim=-1).masked_fill(empty, 0.0)


def mutates_and_nan(scores, mask):
    scores.masked_fill_(~mask, -INF)
    return torch.softmax(scores, dim=-1)


def mutates_and_replaces(scores, mask):
    scores.masked_fill_(~mask, -INF)
    return torch.softmax(scores, dim=-1).nan_to_num(0.0)


def mutates_by_index(scores, mask):
    scores[~mask.expand(scores.shape)] = -INF
    return torch.softmax(scores, dim=-1).nan_to_num(0.0)


def nan_on_the_way_back(scores, mask):
    bias = torch.zeros(mask.shape, dtype=scores.dtype).masked_fill(~mask, -INF)
    return torch.softmax(scores + bias, dim=-1).nan_to_num(0.0)


def nan_replaced_by_where(scores, mask):
    bias = torch.where(mask, 0.0, -INF).to(scores.dtype)
    weights = torch.softmax(scores + bias, dim=-1)
    return torch.where(mask.any(dim=-1, keepdim=True), weights, torch.zeros_like(weights))


def overflow_on_the_way_back(scores, mask):
    top = scores.masked_fill(~mask, -INF).amax(dim=-1, keepdim=True).nan_to_num(neginf=0.0)
    e = torch.where(mask, torch.exp(scores - top), 0.0)
    total = e.sum(dim=-1, keepdim=True)
    return e / total.masked_fill(total == 0, 1.0)


def nan_row_unless_all_are(scores, mask):
    return nan_row(scores, mask) if mask.any() else torch.zeros_like(scores)


def cut_off(scores, mask):
    return masked_softmax(scores.detach(), mask)


def through_numpy(scores, mask):
    s = np.where(mask.numpy(), scores.detach().numpy(), -np.inf)
    top = s.max(axis=-1, keepdims=True)
    e = np.exp(s - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=-1, keepdims=True)
    return torch.from_numpy(e / np.where(total == 0, 1, total)).to(scores.dtype)


def maximum_of_all_keys(scores, mask):
    e = torch.exp(scores - scores.amax(dim=-1, keepdim=True)) * mask
    total = e.sum(dim=-1, keepdim=True)
    return e / total.masked_fill(total == 0, 1.0)


def by_boolean_index(scores, mask):
    hidden = scores.clone()
    hidden[~mask] = -INF
    return torch.softmax(hidden, dim=-1).nan_to_num(0.0)


def _cast(dtype):
    """An answer whose result is always of one dtype."""
    return lambda scores, mask: masked_softmax(scores, mask).to(dtype)


def half_as_single(scores, mask):
    found = masked_softmax(scores, mask)
    return found.float() if scores.dtype == torch.float16 else found


def double_as_single(scores, mask):
    found = masked_softmax(scores, mask)
    return found.float() if scores.dtype == torch.float64 else found


def softmax_cases(rng):
    shapes = [
        (2, 3, 4, 5, np.float64),
        (3, 2, 5, 4, np.float32),
        (3, 3, 3, 3, np.float64),
    ]
    for *sizes, dtype in shapes:  # relative: a hidden key weighs 0 exactly
        yield Case("weights", (_scores(rng, sizes, dtype), _mask(rng, sizes)), relative=True)
    yield Case("weights", (_scores(rng, (4, 6)), _mask(rng, (4, 6))), relative=True)
    yield Case("weights", (_scores(rng, (3, 2, 5), np.float32), _mask(rng, (3, 2, 5))))
    yield Case("weights", (_scores(rng, (2, 3, 4)), np.ones((2, 3, 4), dtype=bool)))
    yield Case("weights", (_scores(rng, (2, 1, 1, 1)), np.ones((2, 1, 1, 1), dtype=bool)))
    yield from _broadcast_cases(rng)
    yield from _empty_cases(rng)
    for shape, dtype in (((2, 3, 4, 5), np.float64), ((2, 4, 5), np.float32), ((4, 6), np.float16)):
        yield Case("large_scores", _large(rng, shape, dtype))
    alone = rng.permuted(np.tile(np.arange(4) == 0, (2, 3, 1)), axis=-1)  # one key left in every row
    yield Case("large_scores", (np.full((2, 3, 4), -1e4, np.float16), alone))
    yield Case("half_precision", (_scores(rng, (2, 3, 4, 5), np.float16), _mask(rng, (2, 3, 4, 5), empty=2)))
    yield Case("half_precision", (_scores(rng, (3, 2, 4, 6), np.float16), _lengths_mask([6, 0, 2], 6)))
    for dtype in (np.float16, np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (_scores(rng, (2, 3, 5), dtype), _mask(rng, (2, 3, 5), empty=1)))
    yield Case(DIFFERENTIABLE, (_scores(rng, (2, 3, 4, 5), np.float32), _mask(rng, (2, 3, 4, 5), empty=2)))
    yield Case(DIFFERENTIABLE, (_scores(rng, (3, 2, 4, 5)), _lengths_mask([5, 2, 0], 5)))
    yield Case(DIFFERENTIABLE, _large(rng, (2, 4, 5), np.float64))


def _broadcast_cases(rng):
    yield Case("mask_broadcasts", (_scores(rng, (2, 3, 4, 5)), _lengths_mask([2, 4], 5)))
    yield Case("mask_broadcasts", (_scores(rng, (5, 2, 3, 4), np.float32), _lengths_mask([4, 1, 2, 3, 2], 4)))
    yield Case("mask_broadcasts", (_scores(rng, (2, 3, 4, 4)), np.tri(4, dtype=bool)))
    for shape in ((4, 5), (2, 1, 4, 5), (1, 3, 4, 5), (3, 1, 5), (5,)):
        yield Case("mask_broadcasts", (_scores(rng, (2, 3, 4, 5)), _mask(rng, shape)))
    yield Case("mask_broadcasts", (_scores(rng, (2, 4, 5)), np.ones((1, 1), dtype=bool)))


def _empty_cases(rng):
    for shape, dtype in (((2, 3, 4, 5), np.float64), ((3, 2, 4, 4), np.float32)):
        yield Case("empty_rows", (_scores(rng, shape, dtype), _mask(rng, shape, empty=2)), relative=True)
    yield Case("empty_rows", (_scores(rng, (2, 3, 4, 5)), _lengths_mask([0, 3], 5)))
    queries = _lengths_mask([1, 3], 4).swapaxes(-1, -2)  # (2, 1, 4, 1): an axis of length 1 where the keys are
    yield Case("empty_rows", (_scores(rng, (2, 3, 4, 5), np.float32), queries))
    yield Case("empty_rows", (_scores(rng, (2, 5, 3)), np.tri(5, 3, -2, dtype=bool)))
    yield Case("empty_rows", (_scores(rng, (3, 4)), np.zeros((3, 4), dtype=bool)))
    yield Case("empty_rows", (_scores(rng, (1, 1)), np.zeros((1, 1), dtype=bool)))


def _scores(rng, shape, dtype=np.float64):
    return rng.normal(size=shape).astype(dtype)


def _mask(rng, shape, empty=0):
    """Random, with a key hidden and a key left in every row; then `empty` of the rows lose all of theirs."""
    mask = rng.random(shape) < 0.5
    rows = mask.reshape(-1, shape[-1])
    for row in rows:
        first, second = rng.permutation(shape[-1])[:2]
        row[first], row[second] = True, False
    rows[rng.permutation(len(rows))[:empty]] = False
    return rows.reshape(shape)


def _lengths_mask(lengths, n):
    return (np.arange(n) < np.array(lengths)[:, None])[:, None, None]


def _large(rng, shape, dtype):
    """Rows of four sorts, by where the scores lie that are left, and those that are hidden."""
    mask = _mask(rng, shape)
    left = np.array([-1e4, 1e4, 0.0, -1e4])[np.arange(shape[-2]) % 4, None]
    hidden = np.array([1e4, -1e4, 1e4, -1e4])[np.arange(shape[-2]) % 4, None]
    # In single and half precision one score of a row leads by so much that rounding near 10000 does not matter.
    spread = rng.normal(size=shape) if dtype == np.float64 else 32.0 * rng.permuted(_ranks(shape), axis=-1)
    return (np.where(mask, left, hidden) + spread).astype(dtype), mask


def _ranks(shape):
    return np.broadcast_to(np.arange(shape[-1]), shape).copy()


SOFTMAX_MISCONCEPTIONS = (
    Misconception(
        "nan_row",
        "a row without keys is NaN: every exponential is 0 there, and so is their sum; 0 / 0 needs a decision, which "
        "is weights of 0",
        [nan_row, nan_row_unless_all_are],
    ),
    Misconception(
        "uniform_row",
        "a row without keys shares evenly among all keys, as a softmax does where all scores are one and the same "
        "finite number; weights of 0 are wanted",
        uniform_row,
    ),
    Misconception(
        "multiply_after",
        "the weights that are left are too small, and their rows sum to less than 1: what the hidden keys took in the "
        "softmax is lost",
        multiply_after,
        "Not zero: minus infinity",
    ),
    Misconception(
        "fill_with_zero",
        "hidden keys keep a weight: their score is 0 or next to it, an ordinary score, and exp(0) = 1",
        [
            lambda scores, mask: torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).tiny), dim=-1),
            lambda scores, mask: torch.softmax(scores * mask, dim=-1),
            lambda scores, mask: torch.softmax(scores * mask, dim=-1).masked_fill(~mask.any(-1, keepdim=True), 0.0),
        ],
        "Not zero: minus infinity",
    ),
    Misconception(
        "fill_with_zero+multiply_after",
        "hidden keys weigh 0, and the rest sums to less than 1: with a score of 0 the hidden keys took a share in the "
        "softmax, which was then thrown away",
        lambda scores, mask: torch.softmax(scores * mask, dim=-1) * mask,
        "Not zero: minus infinity",
    ),
    Misconception(
        "minus_billion",
        "in float16 the call fails, or a row without keys is NaN: numbers such as −1e9 and 1e-9 do not exist there, "
        "the most negative one is −65504; −∞ exists in every dtype",
        [
            _filled(-1e9, repair=True),
            _filled(-1e9, repair=True, by_where=True),
            lambda scores, mask: masked_softmax(scores.masked_fill(~mask, -1e9), mask),
        ],
    ),
    Misconception(
        "minus_billion+uniform_row",
        "hidden scores are a large negative number that float16 does not have, and a row that holds nothing else "
        "shares evenly among all keys",
        [
            _filled(-1e9),
            _filled(-1e9, by_where=True),
        ],
    ),
    Misconception(
        "added_minus_billion",
        "a row without keys is a softmax of its bare scores, or an even one: a large finite number was added to each "
        "of them, which a softmax does not notice; and in float16 that number does not exist",
        [_added(-1e9), _added(-1e6), lambda scores, mask: torch.softmax(scores + (1.0 - mask.float()) * -1e9, dim=-1)],
    ),
    Misconception(
        "minus_ten_thousand",
        "where the scores that are left are near −10000, hidden keys take a share of the row, even if it is set to 0 "
        "afterwards: the number in their place is no smaller",
        [_filled(number, repair=repair) for number in (-1e4, -9999.0, -1e3, -100.0) for repair in (False, True)]
        + [_added(-1e4)],
    ),
    Misconception(
        "added_mask",
        "hidden keys keep their scores and those that are seen have 1 more: True and False were added as 1 and 0",
        lambda scores, mask: torch.softmax(scores + mask, dim=-1),
    ),
    Misconception(
        "unnormalised",
        "the weights are exponentials of the scores: rows do not sum to 1, since nothing was divided by their sum",
        [lambda scores, mask: scores.exp() * mask, lambda scores, mask: scores.masked_fill(~mask, -INF).exp()],
    ),
    Misconception(
        "clipped_scores",
        "scores far from 0 are cut off at a limit, so keys beyond it cannot be told apart",
        [
            lambda scores, mask, limit=limit: masked_softmax(scores.clamp(-limit, limit), mask)
            for limit in (50, 80, 100, 500)
        ],
    ),
    Misconception(
        "plus_infinity",
        "every row with a hidden key is NaN: +∞ in place of a score makes it the largest of its row",
        lambda scores, mask: torch.softmax(scores.masked_fill(~mask, INF), dim=-1),
        "Not zero: minus infinity",
    ),
    Misconception(
        "inverted",
        "the keys that are hidden should be seen, and those that are seen hidden: True means may attend, so the scores "
        "to be replaced stand where the mask is False",
        [_inverted(masked_softmax), _inverted(nan_row), _inverted(uniform_row), _inverted(_filled(-1e9))],
    ),
    Misconception(
        "no_mask",
        "hidden keys are seen: these are the softmax of all scores",
        lambda scores, mask: torch.softmax(scores, dim=-1),
        "Not zero: minus infinity",
    ),
    Misconception(
        "over_queries",
        "the columns sum to 1, or are without weight: the softmax ran over the queries, the axis before the last",
        [_over(-2), _over_with_nan(-2)],
    ),
    Misconception(
        "over_a_leading_axis",
        "the softmax ran over one and the same axis counted from the front, which is that of the keys only by "
        "accident: counted from behind it is always −1",
        [_over(1), _over_with_nan(1), _over(0), _over_with_nan(0)],
    ),
    Misconception(
        "renormalised",
        "right, except where a hidden key has by far the largest score or nothing is left: the softmax ran over hidden "
        "keys too, and what it gave the rest is too small to be divided by",
        [
            _renormalised(),
            _renormalised(exact=True),
            *(_renormalised(epsilon=e) for e in (1e-12, 1e-10, 1e-9, 1e-8)),
            *(_renormalised(least=e) for e in (1e-12, 1e-10, 1e-9, 1e-8)),
            maximum_of_all_keys,
        ],
    ),
    Misconception(
        "epsilon",
        "every row sums to a little less than 1: a small constant is added to the sum that the weights are divided by",
        [
            *(_renormalised(epsilon=e) for e in (1e-6, 1e-5, 1e-4, 1e-3)),
            *(_by_hand_with(e) for e in (1e-5, 1e-4, 1e-3)),
        ],
    ),
    Misconception(
        "no_maximum",
        "right for small scores, not for large ones: the exponential of 10000 is infinite and that of −10000 is 0; "
        "subtract the largest score that is left, or let torch.softmax do it",
        [_without_maximum(True), _without_maximum(False), _without_maximum_filled],
    ),
    Misconception(
        "only_full_masks",
        "right where the mask has the shape of the scores, an error where it has to be broadcast: a mask as an index "
        "must have their full shape, masked_fill and torch.where take it as it is",
        by_boolean_index,
    ),
    Misconception(
        "overwrites_scores",
        "scores are others after the call: an operation in place, such as masked_fill_ or scores[…] = …, writes into "
        "the tensor given",
        [mutates, mutates_and_replaces, mutates_by_index],
    ),
    Misconception(
        "overwrites_scores+nan_row",
        "scores are others after the call, since −∞ was written into the tensor given, and a row without keys is NaN",
        mutates_and_nan,
    ),
    Misconception(
        "nan_on_the_way_back",
        "the gradient of a row without keys is NaN: a NaN that is replaced after the softmax still meets the gradient "
        "on its way back; put finite scores into empty rows before it",
        [nan_on_the_way_back, nan_replaced_by_where],
    ),
    Misconception(
        "overflow_on_the_way_back",
        "the gradient is NaN where a hidden score is far above those that are left: its exponential is infinite, and "
        "torch.where hides it forwards, while backwards 0 · ∞ is NaN; replace the score before the exponential",
        [
            overflow_on_the_way_back,
            lambda scores, mask: overflow_on_the_way_back(scores, mask.expand(scores.shape)),
        ],
    ),
    Misconception(
        "cut_off",
        "no gradient flows back to the scores: detach, item, tolist, NumPy or a new tensor cut the result off from "
        "them",
        [cut_off, through_numpy],
    ),
    Misconception(
        "another_dtype",
        "the result has one and the same dtype, whatever that of the scores",
        [_cast(torch.float32), _cast(torch.float64), _cast(torch.float16)],
    ),
    Misconception(
        "half_as_single",
        "float16 became float32, the other dtypes are kept",
        [half_as_single],
    ),
    Misconception(
        "double_as_single",
        "float64 became float32, the other dtypes are kept",
        double_as_single,
    ),
)


# --- convert_mask ----------------------------------------------------------------------------------------------------


def convert_mask(keep, to):
    if to == "additive":
        return torch.zeros(keep.shape).masked_fill(~keep, -INF)
    if to == "torch_key_padding":
        return ~keep
    if to == "torch_sdpa":
        return keep
    raise ValueError(f"no convention is called {to!r}")


def convert_by_logarithm(keep, to):
    match to:
        case "additive":
            return keep.to(torch.float32).log()
        case "torch_key_padding":
            return keep == False  # noqa: E712 a learner's way to invert
        case "torch_sdpa":
            return keep.clone()
    raise ValueError(to)


def convert_by_table(keep, to):
    table = {
        "additive": lambda: torch.where(keep, torch.tensor(0.0), torch.tensor(float("-inf"))),
        "torch_key_padding": lambda: torch.logical_not(keep),
        "torch_sdpa": lambda: keep > 0,
    }
    if to not in table:
        raise ValueError("unknown")
    return table[to]()


def convert_in_numpy(keep, to):
    k = keep.numpy()
    if to == "additive":
        return np.where(k, 0, -np.inf).astype(np.float32)
    if to == "torch_key_padding":
        return np.logical_not(k)
    if to != "torch_sdpa":
        raise ValueError
    return k.copy()


def _convert(additive=None, key_padding=None, sdpa=None, other=None):
    """An answer: the reference with one or more of its four parts replaced."""

    def answer(keep, to):
        part = {"additive": additive, "torch_key_padding": key_padding, "torch_sdpa": sdpa}.get(to, other)
        return convert_mask(keep, to) if part is None else part(keep)

    return answer


def _raises(error):
    """An answer that raises another error for a name it does not know."""

    def answer(keep, to):
        if to not in ("additive", "torch_key_padding", "torch_sdpa"):
            raise error(f"no convention is called {to!r}")
        return convert_mask(keep, to)

    return answer


def _by_dict(keep, to):
    return {
        "additive": torch.zeros(keep.shape).masked_fill(~keep, -INF),
        "torch_key_padding": ~keep,
        "torch_sdpa": keep,
    }[to]


def _asserts(keep, to):
    assert to in ("additive", "torch_key_padding", "torch_sdpa")
    return convert_mask(keep, to)


def _returns_an_error(keep, to):
    try:
        return convert_mask(keep, to)
    except ValueError:
        return "ValueError"


def _in_place(keep, to):
    return keep.logical_not_() if to == "torch_key_padding" else convert_mask(keep, to)


def _in_place_always(keep, to):
    result = convert_mask(keep.clone(), to)
    keep.logical_not_()
    return result


def _plus_where_true(keep):
    return torch.zeros(keep.shape).masked_fill(keep, -INF)


def _finite(number):
    return lambda keep: torch.zeros(keep.shape).masked_fill(~keep, number)


def convert_cases(rng):
    shapes = {
        "additive": [(4, 5), (2, 1, 1, 6), (3,), (4, 4), (2, 1, 3, 1, 4)],
        "torch_sdpa": [(3, 5), (2, 1, 4, 4), (4,), (1, 2, 2, 3, 2)],
    }
    for to, sizes in shapes.items():  # relative: 0 exactly
        for shape in sizes:
            yield Case(to, (_mask(rng, shape), to), relative=True)
    for to in ("additive", "torch_sdpa"):
        for everywhere in (True, False):
            yield Case(to, (np.full((2, 3), everywhere), to), relative=True)
            yield Case(to, (np.array(everywhere), to), relative=True)
    for shape in ((3, 5), (4, 4), (1, 6)):
        yield Case("torch_key_padding", (_mask(rng, shape), "torch_key_padding"))
    yield Case("torch_key_padding", (np.ones((2, 3), dtype=bool), "torch_key_padding"))
    yield Case("torch_key_padding", (_mask(rng, (2, 4)),), {"to": "torch_key_padding"})
    names = ("torch", "additive_mask", "sdpa", "", "bert", "torch_key_padding_mask")
    for other in (*names, "Additive", " torch_sdpa", "torch-key-padding", "bool", "huggingface", "torch_mha", None):
        yield Case("other_names", (_mask(rng, (2, 3)), other))
    for shape in ((2, 3), (2, 1, 3, 4)):
        yield Case(KEEPS_DTYPE, (_mask(rng, shape), "additive"))


NAMES = ("additive", "torch_key_padding", "torch_sdpa")

CONVERT_MISCONCEPTIONS = (
    Misconception(
        "key_padding_not_inverted",
        "for torch_key_padding the mask is as it was: nn.MultiheadAttention ignores the keys that are True there",
        _convert(key_padding=lambda keep: keep.clone()),
    ),
    Misconception(
        "additive_reversed",
        "the additive mask is −∞ where keep is True: it is added to the scores, and hides the keys that should be seen",
        _convert(additive=_plus_where_true),
    ),
    Misconception(
        "sdpa_inverted",
        "for torch_sdpa the mask is inverted: scaled_dot_product_attention attends where it is True, as here",
        _convert(sdpa=torch.logical_not),
    ),
    Misconception(
        "true_is_ignore",
        "every form is that of the opposite mask: keep is True where a query may attend",
        [
            lambda keep, to: convert_mask(~keep, to),
            _convert(_plus_where_true, lambda keep: keep.clone(), torch.logical_not),
        ],
    ),
    Misconception(
        "key_padding_not_inverted+additive_reversed",
        "two forms are reversed: the additive mask is −∞ where keep is True, and the key padding mask is keep itself",
        _convert(_plus_where_true, lambda keep: keep.clone()),
    ),
    Misconception(
        "finite_fill",
        "the additive mask holds a finite number where keep is False: added to a whole row it hides nothing, and in "
        "float16 a large one does not exist",
        [
            _convert(additive=_finite(number))
            for number in (-1e9, -1e4, -1e6, -1e5, -1e20, -1e30, torch.finfo(torch.float32).min, -65504.0)
        ],
    ),
    Misconception(
        "ones_and_zeros",
        "the additive mask is 1 where keep is True and 0 elsewhere: these are factors; added to the scores they hide "
        "nothing",
        [
            _convert(additive=lambda keep: keep.float()),
            _convert(additive=lambda keep: (~keep).float()),
        ],
    ),
    Misconception(
        "one_for_zero",
        "the additive mask is 1 where keep is True: 0 is wanted, which leaves a score as it is",
        _convert(additive=lambda keep: torch.ones(keep.shape).masked_fill(~keep, -INF)),
    ),
    Misconception(
        "zero_times_infinity",
        "the additive mask is NaN in places: 0 · −∞ is not a number; choose between the two numbers instead",
        [
            _convert(additive=lambda keep: (1 - keep.float()) * -INF),
            _convert(additive=lambda keep: keep.float() * -INF),
            _convert(additive=lambda keep: (~keep) * -INF),
        ],
    ),
    Misconception(
        "additive_is_bool",
        "for additive the result is bool: 0 and −∞ are wanted, numbers to be added to the scores",
        [
            _convert(additive=lambda keep: keep.clone()),
            _convert(additive=torch.logical_not),
        ],
    ),
    Misconception(
        "numbers_for_bool",
        "where bool is wanted the result holds numbers: these conventions tell a bool mask from a number to be added",
        [
            _convert(sdpa=lambda keep: keep.float()),
            _convert(key_padding=lambda keep: (~keep).float()),
            _convert(key_padding=lambda keep: (~keep).float(), sdpa=lambda keep: keep.float()),
            _convert(key_padding=lambda keep: (~keep).long(), sdpa=lambda keep: keep.long()),
            _convert(key_padding=lambda keep: 1 - keep.long()),
        ],
    ),
    Misconception(
        "additive_for_all",
        "where bool is wanted the result is 0 and −∞: both functions of PyTorch take such a mask too, but the one "
        "asked for is bool",
        [
            lambda keep, to: convert_mask(keep, "additive" if to in NAMES else to),
            _convert(sdpa=_additive),
            _convert(key_padding=_additive),
        ],
    ),
    Misconception(
        "no_error",
        "a name that is none of the three raises nothing: a misspelt one would go unnoticed",
        [
            _convert(other=lambda keep: keep),
            _convert(other=lambda keep: None),
            _convert(other=torch.logical_not),
            _convert(other=_additive),
            _returns_an_error,
        ],
    ),
    Misconception(
        "another_error",
        "a name that is none of the three raises an error of another kind: ValueError says that an argument has a "
        "value which is not allowed",
        [_by_dict, _raises(KeyError), _raises(TypeError), _raises(NotImplementedError), _asserts],
    ),
    Misconception(
        "matched_in_part",
        "a name that only contains one of the three is taken for it: names are compared whole",
        [
            lambda keep, to: convert_mask(keep, next((name for name in NAMES if name in to), to)),
            lambda keep, to: convert_mask(keep, next((name for name in NAMES if name in str(to)), to)),
        ],
    ),
    Misconception(
        "spelling_ignored",
        "a name in capitals, or with blanks around it, is taken for one of the three: names are compared as they are",
        [
            lambda keep, to: convert_mask(keep, to.lower()),
            lambda keep, to: convert_mask(keep, str(to).lower()),
            lambda keep, to: convert_mask(keep, to.strip()),
            lambda keep, to: convert_mask(keep, str(to).strip()),
            lambda keep, to: convert_mask(keep, to.strip().lower()),
            lambda keep, to: convert_mask(keep, str(to).strip().lower()),
        ],
    ),
    Misconception(
        "more_axes",
        "the shape changed: axes for heads and queries were put in, and the same shape out is wanted",
        [
            _convert(key_padding=lambda keep: ~keep[:, None, None]),
            _convert(additive=lambda keep: _additive(keep)[:, None, None]),
            lambda keep, to: convert_mask(keep[:, None, None], to),
        ],
    ),
    Misconception(
        "another_dtype",
        "the additive mask is not float32: np.where gives float64, and half precision has to be converted",
        [
            _convert(additive=lambda keep: _additive(keep).double()),
            _convert(additive=lambda keep: _additive(keep).half()),
        ],
    ),
    Misconception(
        "overwrites_keep",
        "keep is another after the call: an operation in place, such as logical_not_, writes into the tensor given",
        [_in_place, _in_place_always],
    ),
)


# --- repaired_batch --------------------------------------------------------------------------------------------------


def repaired_batch(hidden, lengths, w_q, w_k, w_v):
    real = torch.arange(hidden.shape[1]) < lengths[:, None]
    q, k, v = hidden @ w_q, hidden @ w_k, hidden @ w_v
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    out = masked_softmax(scores, real[:, None, :]) @ v
    total = (out * real[:, :, None]).sum(dim=1)
    return total / lengths.clamp(min=1)[:, None]


def batch_by_sentences(hidden, lengths, w_q, w_k, w_v):
    pooled = torch.zeros(len(hidden), w_v.shape[1], dtype=hidden.dtype)
    for b, length in enumerate(lengths.tolist()):
        if length:
            x = hidden[b, :length]
            scores = (x @ w_q) @ (x @ w_k).T / w_q.shape[1] ** 0.5
            pooled[b] = (torch.softmax(scores, dim=-1) @ (x @ w_v)).mean(dim=0)
    return pooled


def batch_by_mean_weights(hidden, lengths, w_q, w_k, w_v):
    real = _real(lengths, hidden.shape[1])
    scores = torch.einsum("bqc,cd,ed,bke->bqk", hidden, w_q, w_k, hidden) / math.sqrt(w_q.shape[1])
    scores = scores.masked_fill(~real[:, None, :], torch.finfo(hidden.dtype).min)
    weights = torch.softmax(scores, dim=-1) * (real[:, None, :] & real[:, :, None])
    return torch.einsum("bqk,bkc,cd->bd", weights, hidden, w_v) / lengths.clamp(min=1).to(hidden.dtype)[:, None]


def batch_by_torch(hidden, lengths, w_q, w_k, w_v):
    real = _real(lengths, hidden.shape[1])
    out = functional.scaled_dot_product_attention(hidden @ w_q, hidden @ w_k, hidden @ w_v, real[:, None, :])
    out = out.masked_fill(~real[:, :, None], 0.0)
    return torch.nan_to_num(out.sum(dim=1) / lengths[:, None], nan=0.0)


def _mean_over_n(out, real, lengths):
    return out.mean(dim=1)


def _mean_over_real(out, real, lengths):
    return (out * real[:, :, None]).sum(dim=1) / lengths.clamp(min=1)[:, None]


def _sum_over_all(out, real, lengths):
    return out.sum(dim=1) / lengths.clamp(min=1)[:, None]


def _real_over_n(out, real, lengths):
    return (out * real[:, :, None]).mean(dim=1)


def _no_division(out, real, lengths):
    return (out * real[:, :, None]).sum(dim=1)


def _divided_by_longest(out, real, lengths):
    return (out * real[:, :, None]).sum(dim=1) / lengths.max().clamp(min=1)


def _nan_for_none(out, real, lengths):
    return (out * real[:, :, None]).sum(dim=1) / lengths[:, None]


def _one_more(out, real, lengths):
    return (out * real[:, :, None]).sum(dim=1) / (lengths[:, None] + 1)


def _first_token(out, real, lengths):
    return out[:, 0] * real[:, :1]


def _keys_hidden(scores, real):
    return masked_softmax(scores, real[:, None, :])


def _pairs_hidden(scores, real):
    return masked_softmax(scores, real[:, None, :] & real[:, :, None])


def _queries_hidden(scores, real):
    return torch.softmax(scores, dim=-1) * real[:, :, None]


def _nothing_hidden(scores, real):
    return torch.softmax(scores, dim=-1)


def _keys_hidden_after(scores, real):
    return torch.softmax(scores, dim=-1) * real[:, None, :]


def _keys_zero_score(scores, real):
    return torch.softmax(scores * real[:, None, :], dim=-1)


def _padding_seen(scores, real):
    return masked_softmax(scores, ~real[:, None, :])


def _keys_hidden_with_nan(scores, real):
    return torch.softmax(scores.masked_fill(~real[:, None, :], -INF), dim=-1)


def _queries_hidden_before(scores, real):
    return masked_softmax(scores, real[:, :, None])


def _queries_hidden_with_nan(scores, real):
    return torch.softmax(scores.masked_fill(~real[:, :, None], -INF), dim=-1)


def _both_hidden_with_nan(scores, real):
    hidden = real[:, None, :] & real[:, :, None]
    return torch.softmax(scores.masked_fill(~hidden, -INF), dim=-1)


def _pooling(attend=_keys_hidden, mean=_mean_over_real, scale=None, real=_real, zeroed=False):
    """An answer in four parts: how the weights are masked, how tokens are averaged, the scale, which are real."""

    def answer(hidden, lengths, w_q, w_k, w_v):
        where = real(lengths, hidden.shape[1])
        if zeroed:
            hidden = hidden * where[:, :, None]
        q, k, v = hidden @ w_q, hidden @ w_k, hidden @ w_v
        divisor = math.sqrt(q.shape[-1]) if scale is None else scale(hidden, w_q)
        weights = attend(q @ k.transpose(-2, -1) / divisor, where)
        return mean(weights @ v, where, lengths)

    return answer


def _inclusive(lengths, n):
    return torch.arange(n) <= lengths[:, None]


def _pooled_in_float32(*inputs):
    return repaired_batch(*inputs).float()


def _pooled_in_float64(*inputs):
    return repaired_batch(*inputs).double()


def _zeroes_hidden(hidden, lengths, w_q, w_k, w_v):
    pooled = repaired_batch(hidden, lengths, w_q, w_k, w_v)
    hidden[~_real(lengths, hidden.shape[1])] = 0
    return pooled


def _clamps_lengths(hidden, lengths, w_q, w_k, w_v):
    pooled = repaired_batch(hidden, lengths, w_q, w_k, w_v)
    lengths.clamp_(min=1)
    return pooled


def batch_cases(rng):
    for sizes, lengths in (((3, 5, 4, 2, 6), (4, 2, 3)), ((4, 4, 4, 4, 4), (1, 3, 2, 3)), ((2, 3, 5, 4, 3), (3, 1))):
        yield Case("real_tokens_only", _batch(rng, sizes, lengths))
    yield Case("real_tokens_only", _batch(rng, (2, 70, 3, 5, 2), (69, 5)))
    hidden, lengths, w_q, w_k, w_v = _batch(rng, (1, 4, 3, 5, 2), (1,))
    yield Case("real_tokens_only", (100 * hidden, lengths, w_q, w_k, w_v))
    hidden *= 400 / np.linalg.norm(hidden[0, 0] @ w_q)
    yield Case("real_tokens_only", (hidden, lengths, w_q, -w_q, w_v))  # the only score left is far below −10000
    for base, lengths in (((3, 4, 5, 3, 2), (4, 1, 2)), ((2, 3, 3, 3, 3), (2, 3))):
        for width, content in ((base[1] + 1, 0.0), (base[1] + 4, 1.0), (base[1] + 4, 1000.0)):
            hidden, *rest = _batch(rng, base, lengths)
            more = content * rng.normal(size=(base[0], width - base[1], base[2]))
            yield Case("longer_padding", (np.concatenate([hidden, more], axis=1), *rest))
    yield Case("no_tokens", _batch(rng, (3, 4, 3, 2, 5), (2, 0, 4)))
    yield Case("no_tokens", _batch(rng, (1, 1, 2, 3, 2), (0,)))
    yield Case("full_sentences", _batch(rng, (2, 4, 3, 5, 2), (4, 4)))
    yield Case("full_sentences", _batch(rng, (2, 1, 3, 2, 4), (1, 1)))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, _batch(rng, (2, 4, 3, 2, 3), (3, 0), dtype))


def _batch(rng, sizes, lengths, dtype=np.float64):
    b, t, c, d, dv = sizes
    hidden, *matrices = (rng.normal(size=size).astype(dtype) for size in ((b, t, c), (c, d), (c, d), (c, dv)))
    return hidden, np.array(lengths), *matrices


BATCH_MISCONCEPTIONS = (
    Misconception("untouched", "this is the code as it was given", _pooling(_queries_hidden, _mean_over_n)),
    Misconception(
        "mean_over_n",
        "the attention is right and the mean is not: it runs over all T positions, so the answer changes with the "
        "padding",
        [
            _pooling(mean=_mean_over_n),
            _pooling(_pairs_hidden, _mean_over_n),
            _pooling(_keys_hidden_with_nan, _mean_over_n),
        ],
    ),
    Misconception(
        "queries_masked",
        "the mean is over real tokens, and these tokens still read padding: to leave out the rows of padded queries "
        "does not hide the columns of padded keys",
        [
            _pooling(_queries_hidden),
            _pooling(_queries_hidden_before),
            _pooling(_queries_hidden, _nan_for_none),
            _pooling(_nothing_hidden),
            _pooling(_nothing_hidden, _nan_for_none),
        ],
    ),
    Misconception(
        "nothing_hidden",
        "padding is read and averaged like any token: nothing is hidden from the softmax, and the mean runs over all T "
        "positions",
        _pooling(_nothing_hidden, _mean_over_n),
    ),
    Misconception(
        "padded_queries_counted",
        "the sum runs over the outputs of padded queries too, and is divided by the number of real ones: a padded "
        "query reads real tokens as any other does, and has to be left out",
        _pooling(mean=_sum_over_all),
    ),
    Misconception(
        "padded_queries_counted+queries_masked",
        "nothing is hidden from the softmax, and the sum runs over the outputs of padded queries too",
        _pooling(_nothing_hidden, _sum_over_all),
    ),
    Misconception(
        "nan_for_no_tokens",
        "right, but NaN for a sentence without tokens: 0 / 0 at the mean, or an empty row at the softmax",
        [
            _pooling(mean=_nan_for_none),
            _pooling(_keys_hidden_with_nan),
            _pooling(_keys_hidden_with_nan, _nan_for_none),
        ],
    ),
    Misconception(
        "padding_set_to_zero",
        "padded tokens are vectors of zeros and still keys: their scores are 0, and exp(0) = 1 takes a share of every "
        "row",
        [
            _pooling(_nothing_hidden, zeroed=True),
            _pooling(_queries_hidden, zeroed=True),
            _pooling(_queries_hidden, _nan_for_none, zeroed=True),
            _pooling(_keys_zero_score, zeroed=True),
        ],
    ),
    Misconception(
        "padding_set_to_zero+mean_over_n",
        "padded tokens are vectors of zeros and still take a share of every row, since exp(0) = 1; and the mean runs "
        "over all T positions",
        [
            _pooling(_nothing_hidden, _mean_over_n, zeroed=True),
            _pooling(_queries_hidden, _mean_over_n, zeroed=True),
        ],
    ),
    Misconception(
        "keys_hidden_after",
        "the weights of padding are 0, and the others are too small: they were taken away after the softmax, so the "
        "rows no longer sum to 1",
        [
            _pooling(_keys_hidden_after),
            _pooling(_keys_hidden_after, _nan_for_none),
        ],
    ),
    Misconception(
        "keys_hidden_after+mean_over_n",
        "the weights of padding are taken away after the softmax, so the rows no longer sum to 1, and the mean runs "
        "over all T positions",
        [
            _pooling(_keys_hidden_after, _mean_over_n),
            _pooling(lambda s, real: torch.softmax(s, -1) * real[:, None, :] * real[:, :, None], _mean_over_n),
        ],
    ),
    Misconception(
        "score_of_zero",
        "padded keys have a score of 0 and keep a weight: exp(0) = 1",
        [
            _pooling(_keys_zero_score),
            _pooling(lambda scores, real: torch.softmax(scores * real[:, None, :] * real[:, :, None], dim=-1)),
        ],
    ),
    Misconception(
        "inverted",
        "real tokens read the padding alone: the mask hides the keys that should be seen",
        [
            _pooling(_padding_seen),
            _pooling(lambda s, real: torch.softmax(s.masked_fill(real[:, None, :], -INF), dim=-1)),
        ],
    ),
    Misconception(
        "nan_in_padding",
        "a batch with padding gives NaN: rows of padded queries were left without keys, and NaN · 0 is NaN in the sum",
        [
            _pooling(_both_hidden_with_nan),
            _pooling(_both_hidden_with_nan, _nan_for_none),
            _pooling(_queries_hidden_with_nan),
            _pooling(_both_hidden_with_nan, _mean_over_n),
            _pooling(_queries_hidden_with_nan, _mean_over_n),
        ],
    ),
    Misconception(
        "fill_too_small",
        "where the score of a real token is far below 0, padding takes a share: the number in the place of its scores "
        "is no smaller",
        [
            _pooling(lambda s, real, fill=fill: torch.softmax(s.masked_fill(~real[:, None, :], fill), dim=-1))
            for fill in (-100.0, -1e3, -1e4)
        ],
    ),
    Misconception(
        "at_least_one_token",
        "a sentence of length 0 is given the answer of its first position: it has no token, and the answer is 0",
        lambda hidden, lengths, w_q, w_k, w_v: repaired_batch(hidden, lengths.clamp(min=1), w_q, w_k, w_v),
    ),
    Misconception(
        "divided_by_n",
        "real tokens alone are added up, and the sum is divided by T: the longer the padding, the smaller the answer",
        _pooling(mean=_real_over_n),
    ),
    Misconception(
        "divided_by_longest",
        "the sum over real tokens is divided by the length of the longest sentence: each has its own",
        _pooling(mean=_divided_by_longest),
    ),
    Misconception(
        "sum_for_mean",
        "these are sums over the real tokens, not means",
        _pooling(mean=_no_division),
    ),
    Misconception(
        "one_too_many_in_the_mean",
        "the sum over real tokens is divided by one more than their number, for full sentences as well: the largest of "
        "1 and the length is wanted, not the length plus 1",
        _pooling(mean=_one_more),
    ),
    Misconception(
        "first_token",
        "these are the outputs of the first token, where the mean over all real ones is wanted",
        _pooling(mean=_first_token),
    ),
    Misconception(
        "inclusive",
        "one position of padding counts as real wherever there is one: positions count from 0, so those of a sentence "
        "of length L are 0 to L − 1",
        _pooling(real=_inclusive),
    ),
    Misconception(
        "no_scale",
        "the scores lack their scale, 1 / √D, which the given code had",
        _pooling(scale=lambda hidden, w_q: 1.0),
    ),
    Misconception(
        "scaled_by_model_width",
        "the scores are divided by √C, the root of the width of a token; D is that of a query",
        _pooling(scale=lambda hidden, w_q: math.sqrt(hidden.shape[-1])),
    ),
    Misconception(
        "another_dtype",
        "the result has one and the same dtype, whatever that of hidden",
        [_pooled_in_float32, _pooled_in_float64],
    ),
    Misconception(
        "overwrites_hidden",
        "hidden is another after the call: numbers were written into the padding of the tensor given",
        _zeroes_hidden,
    ),
    Misconception(
        "overwrites_lengths",
        "lengths are others after the call: clamp_ writes into the tensor given, clamp makes a new one",
        _clamps_lengths,
    ),
)


REFERENCES = (
    Reference(
        id="padding_mask",
        reference=padding_mask,
        accepted=(padding_by_loops, padding_by_writing, padding_by_counting, padding_in_numpy),
        misconceptions=PADDING_MISCONCEPTIONS,
        cases=padding_cases,
    ),
    Reference(
        id="causal_mask",
        reference=causal_mask,
        accepted=(
            causal_by_places,
            causal_by_loops,
            causal_by_distance_from_the_end,
            causal_by_triu,
            causal_from_a_large_square,
        ),
        misconceptions=CAUSAL_MISCONCEPTIONS,
        cases=causal_cases,
    ),
    Reference(
        id="empty_rows",
        reference=("even", "nan"),
        accepted=(["Even", "NaN"], "even, nan", (0.25, math.nan), ("even", float("nan"))),
        misconceptions=ROWS,
        cases=lambda rng: [Case("prediction")],
        view=as_words,
    ),
    Reference(
        id="masked_softmax",
        reference=masked_softmax,
        accepted=(
            softmax_by_hand,
            softmax_of_the_smallest,
            softmax_with_nan_replaced,
            softmax_by_rows,
            softmax_in_float64,
        ),
        misconceptions=SOFTMAX_MISCONCEPTIONS,
        cases=softmax_cases,
    ),
    Reference(
        id="convert_mask",
        reference=convert_mask,
        accepted=(convert_by_logarithm, convert_by_table, convert_in_numpy),
        misconceptions=CONVERT_MISCONCEPTIONS,
        cases=convert_cases,
    ),
    Reference(
        id="repaired_batch",
        reference=repaired_batch,
        accepted=(batch_by_sentences, batch_by_mean_weights, batch_by_torch),
        misconceptions=BATCH_MISCONCEPTIONS,
        cases=batch_cases,
    ),
)
