"""Notebook 10, the hidden half: references, accepted and wrong answers, cases.

Long, since two attentions each have wrong numbers, wrong memory and wrong large scores. Where memory is measured
(n of `LIMITS`) a wrong answer computes only the rows that are compared, so that a diagnosis stays quick.
"""

import math

import numpy as np

from autograder.exercise import KEEPS_DTYPE, Case, Misconception, Reference
from autograder.exercises.nb10_quadratic_cost import LIMITS

# --- attention_flops, score_bytes ------------------------------------------------------------------------------------


def attention_flops(b, h, n_q, n_k, d, d_v):
    return 2 * b * h * n_q * n_k * (d + d_v)


def flops_product_by_product(b, h, n_q, n_k, d, d_v):
    scores = (n_q * n_k) * (2 * d)
    output = (n_q * d_v) * (2 * n_k)
    return sum(scores + output for _ in range(b * h))


def flops_in_numpy(b, h, n_q, n_k, d, d_v):
    return 2 * np.prod(np.array([b, h, n_q, n_k, d + d_v], dtype=np.int64))


def flops_cases(rng):
    for sizes in [(1, 1, 5, 5, 3, 4), (1, 1, 8, 8, 4, 4), (1, 1, 3, 3, 7, 2), (1, 1, 1, 1, 1, 1)]:
        yield Case("both_products", sizes)
    yield Case("both_products", (1, 1, 9, 9, 16, 8))
    for sizes in [(3, 1, 5, 5, 2, 4), (1, 4, 6, 6, 3, 2), (2, 5, 7, 7, 3, 8), (4, 4, 4, 4, 4, 4)]:
        yield Case("batch_and_heads", sizes)
    for sizes in [(1, 1, 3, 11, 2, 5), (2, 3, 13, 4, 6, 5), (1, 2, 1, 9, 4, 4)]:
        yield Case("other_lengths", sizes)
    yield Case("exact", (63, 31, 99_991, 100_003, 96, 128))
    yield Case("exact", (1, 97, 1_000_003, 999_983, 65, 64))


def countable(case, result):
    """A count as it is compared; one that no int64 holds, as a float."""
    if type(result) is not int or abs(result) < 2**63:
        return result
    return float(result) if abs(result) < 2**1000 else math.inf


FLOPS_MISCONCEPTIONS = (
    Misconception(
        "one_per_multiply_add",
        "half of what is wanted: a multiply-add is a multiplication and an addition, and counts 2",
        [
            lambda b, h, n_q, n_k, d, d_v: b * h * n_q * n_k * (d + d_v),
        ],
    ),
    Misconception(
        "heads_forgotten",
        "right for one head only: every head multiplies its own queries, keys and values",
        lambda b, h, n_q, n_k, d, d_v: 2 * b * n_q * n_k * (d + d_v),
    ),
    Misconception(
        "batch_forgotten",
        "right for one sequence only: each sequence of the batch has its own products",
        lambda b, h, n_q, n_k, d, d_v: 2 * h * n_q * n_k * (d + d_v),
    ),
    Misconception(
        "batch_and_heads_forgotten",
        "right for one head of one sequence only: neither b nor h changes the number",
        lambda b, h, n_q, n_k, d, d_v: 2 * n_q * n_k * (d + d_v),
    ),
    Misconception(
        "one_per_multiply_add+heads_forgotten",
        "half of what one head takes, whatever h is: a multiply-add counts 2, and every head has its own products",
        lambda b, h, n_q, n_k, d, d_v: b * n_q * n_k * (d + d_v),
    ),
    Misconception(
        "one_per_multiply_add+batch_forgotten",
        "half of what one sequence takes, whatever b is: a multiply-add counts 2, and each sequence has products",
        lambda b, h, n_q, n_k, d, d_v: h * n_q * n_k * (d + d_v),
    ),
    Misconception(
        "one_per_multiply_add+batch_and_heads_forgotten",
        "half of what one head of one sequence takes: a multiply-add counts 2, and b · h heads multiply",
        lambda b, h, n_q, n_k, d, d_v: n_q * n_k * (d + d_v),
    ),
    Misconception(
        "scores_only",
        "these are the FLOPs of q kᵀ alone: weights·v is a second product of the same kind",
        lambda b, h, n_q, n_k, d, d_v: 2 * b * h * n_q * n_k * d,
    ),
    Misconception(
        "output_only",
        "these are the FLOPs of weights·v alone: the scores q kᵀ are a product of their own",
        lambda b, h, n_q, n_k, d, d_v: 2 * b * h * n_q * n_k * d_v,
    ),
    Misconception(
        "one_per_multiply_add+scores_only",
        "this is the number of multiply-adds in q kᵀ alone: each counts 2, and weights·v is a second product",
        lambda b, h, n_q, n_k, d, d_v: b * h * n_q * n_k * d,
    ),
    Misconception(
        "d_twice",
        "both products are counted with d: a value has width d_v, and weights·v takes n_k multiply-adds for each of "
        "its n_q · d_v numbers",
        lambda b, h, n_q, n_k, d, d_v: 4 * b * h * n_q * n_k * d,
    ),
    Misconception(
        "d_v_twice",
        "both products are counted with d_v: a score is a sum over the d numbers of a query and a key",
        lambda b, h, n_q, n_k, d, d_v: 4 * b * h * n_q * n_k * d_v,
    ),
    Misconception(
        "widths_multiplied",
        "d and d_v are multiplied: the products run one after the other, so their counts add up",
        [
            lambda b, h, n_q, n_k, d, d_v: 2 * b * h * n_q * n_k * d * d_v,
            lambda b, h, n_q, n_k, d, d_v: 4 * b * h * n_q * n_k * d * d_v,
            lambda b, h, n_q, n_k, d, d_v: b * h * n_q * n_k * d * d_v,
        ],
    ),
    Misconception(
        "products_multiplied",
        "the counts of the two products are multiplied: they run one after the other, so they add up",
        [
            lambda b, h, n_q, n_k, d, d_v: b * h * (2 * n_q * n_k * d) * (2 * n_q * n_k * d_v),
            lambda b, h, n_q, n_k, d, d_v: (2 * b * h * n_q * n_k * d) * (2 * b * h * n_q * n_k * d_v),
        ],
    ),
    Misconception(
        "queries_squared",
        "n_k does not change the number: each query meets every key, which makes n_q · n_k pairs",
        lambda b, h, n_q, n_k, d, d_v: 2 * b * h * n_q * n_q * (d + d_v),
    ),
    Misconception(
        "keys_squared",
        "n_q does not change the number: each query meets every key, which makes n_q · n_k pairs",
        lambda b, h, n_q, n_k, d, d_v: 2 * b * h * n_k * n_k * (d + d_v),
    ),
    Misconception(
        "lengths_added",
        "n_q and n_k are added: each query meets every key, which makes n_q · n_k pairs",
        [
            lambda b, h, n_q, n_k, d, d_v: 2 * b * h * (n_q + n_k) * (d + d_v),
            lambda b, h, n_q, n_k, d, d_v: 2 * b * h * (n_q * d + n_k * d_v),
        ],
    ),
    Misconception(
        "linear_in_n",
        "n_k is missing: each query meets every key, so a query takes n_k times as much as one pair",
        lambda b, h, n_q, n_k, d, d_v: 2 * b * h * n_q * (d + d_v),
    ),
    Misconception(
        "one_addition_less",
        "a sum of d products is counted as d multiplications and d − 1 additions: the rule here counts 2 for each of "
        "its d multiply-adds",
        [
            lambda b, h, n_q, n_k, d, d_v: b * h * (n_q * n_k * (2 * d - 1) + n_q * d_v * (2 * n_k - 1)),
            lambda b, h, n_q, n_k, d, d_v: b * h * n_q * n_k * ((2 * d - 1) + (2 * d_v - 1)),
        ],
    ),
    Misconception(
        "softmax_counted",
        "a few operations more for every pair than the two products take: scale and softmax are not counted",
        [lambda b, h, n_q, n_k, d, d_v, e=extra: b * h * n_q * n_k * (2 * (d + d_v) + e) for extra in (1, 2, 3, 4, 5)],
    ),
    Misconception(
        "width_shared_by_heads",
        "the width is divided by the number of heads: d and d_v are the widths of one head already",
        lambda b, h, n_q, n_k, d, d_v: 2 * b * h * n_q * n_k * (d // h + d_v // h),
    ),
    Misconception(
        "not_exact",
        "right as far as a float64 can tell, with the last digits of a large count rounded away: Python's integers are "
        "exact, floats are not",
        [
            lambda b, h, n_q, n_k, d, d_v: float(2 * b * h * n_q * n_k * (d + d_v)),
            lambda b, h, n_q, n_k, d, d_v: int(2.0 * b * h * n_q * n_k * (d + d_v)),
        ],
    ),
    Misconception(
        "two_numbers",
        "the two products come as two numbers: one count is wanted, their sum",
        lambda b, h, n_q, n_k, d, d_v: (2 * b * h * n_q * n_k * d, 2 * b * h * n_q * n_k * d_v),
    ),
)


def score_bytes(b, h, n, bytes_per):
    return b * h * n**2 * bytes_per


def bytes_by_adding(b, h, n, bytes_per):
    table = n * (n * bytes_per)
    return sum(h * table for _ in range(b))


def bytes_in_numpy(b, h, n, bytes_per):
    return np.int64(b) * h * n * n * bytes_per


def bytes_cases(rng):
    for sizes in [(1, 1, 5, 4), (1, 1, 8, 2), (1, 1, 7, 8), (1, 1, 1, 1), (1, 1, 11, 2), (1, 1, 1030, 4)]:
        yield Case("one_head", sizes)
    for sizes in [(3, 1, 5, 4), (1, 6, 7, 2), (2, 5, 9, 8), (4, 4, 4, 4)]:
        yield Case("batch_and_heads", sizes)
    yield Case("exact", (7, 31, 10_000_001, 8))
    yield Case("exact", (1, 1, 100_000_001, 2))


BYTES_MISCONCEPTIONS = (
    Misconception(
        "n_for_n_squared",
        "n stands where n² is wanted: every query has a score with every key",
        lambda b, h, n, bytes_per: b * h * n * bytes_per,
    ),
    Misconception(
        "heads_forgotten",
        "right for one head only: every head has scores of its own",
        lambda b, h, n, bytes_per: b * n * n * bytes_per,
    ),
    Misconception(
        "batch_forgotten",
        "right for one sequence only: every sequence of the batch has scores of its own",
        lambda b, h, n, bytes_per: h * n * n * bytes_per,
    ),
    Misconception(
        "batch_and_heads_forgotten",
        "right for one head of one sequence only: neither b nor h changes the number",
        lambda b, h, n, bytes_per: n * n * bytes_per,
    ),
    Misconception(
        "n_for_n_squared+heads_forgotten",
        "neither the keys nor the heads are counted: every head has n scores for each of n queries",
        lambda b, h, n, bytes_per: b * n * bytes_per,
    ),
    Misconception(
        "numbers_not_bytes",
        "this is how many scores there are: each takes bytes_per bytes",
        lambda b, h, n, bytes_per: b * h * n * n,
    ),
    Misconception(
        "bits",
        "a factor of 8 too much or too little: bytes_per is bytes already, and bytes are wanted",
        [
            lambda b, h, n, bytes_per: 8 * b * h * n * n * bytes_per,
            lambda b, h, n, bytes_per: b * h * n * n * bytes_per / 8,
        ],
    ),
    Misconception(
        "scores_and_weights",
        "twice what is wanted, as where the weights are counted beside the scores: only the scores are asked for",
        lambda b, h, n, bytes_per: 2 * b * h * n * n * bytes_per,
    ),
    Misconception(
        "half_the_table",
        "about half of what is wanted, n (n ± 1) / 2 pairs: every query has a score with every key, later ones too",
        [
            lambda b, h, n, bytes_per: b * h * n * (n + 1) // 2 * bytes_per,
            lambda b, h, n, bytes_per: b * h * n * (n - 1) // 2 * bytes_per,
        ],
    ),
    Misconception(
        "another_unit",
        "the number is in a larger unit, kilobytes or megabytes: bytes are wanted",
        [
            lambda b, h, n, bytes_per, u=unit: b * h * n * n * bytes_per / u
            for unit in (1e3, 1024, 1e6, 2**20, 1e9, 2**30)
        ]
        + [lambda b, h, n, bytes_per, u=unit: b * h * n * n * bytes_per // u for unit in (1024, 2**20)],
    ),
    Misconception(
        "heads_squared",
        "the heads are squared along with the tokens: h tables of n × n scores are held",
        lambda b, h, n, bytes_per: b * (h * n) ** 2 * bytes_per,
    ),
    Misconception(
        "tokens_of_the_batch",
        "the tokens of all sequences meet each other, (b · n)²: a query has scores with keys of its own sequence alone",
        lambda b, h, n, bytes_per: h * (b * n) ** 2 * bytes_per,
    ),
    Misconception(
        "two_n",
        "n is doubled where it is to be squared",
        lambda b, h, n, bytes_per: b * h * 2 * n * bytes_per,
    ),
    Misconception(
        "cubed",
        "n is counted three times: a score belongs to one query and one key",
        lambda b, h, n, bytes_per: b * h * n**3 * bytes_per,
    ),
    Misconception(
        "not_exact",
        "right as far as a float64 can tell, with the last digits of a large count rounded away: Python's integers are "
        "exact, floats are not",
        [
            lambda b, h, n, bytes_per: float(b * h * n * n * bytes_per),
            lambda b, h, n, bytes_per: int(b * h * float(n) ** 2 * bytes_per),
        ],
    ),
)


# --- fit_exponent ----------------------------------------------------------------------------------------------------


def fit_exponent(ns, ys):
    return np.polyfit(np.log(ns), np.log(ys), 1)[0]


def exponent_by_hand(ns, ys):
    x, y = [math.log2(n) for n in ns], [math.log2(y) for y in ys]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - middle_x) ** 2 for a in x)


def exponent_by_lstsq(ns, ys):
    x = np.log10(np.asarray(ns, dtype=float))
    design = np.stack([np.ones_like(x), x], axis=1)
    return np.linalg.lstsq(design, np.log10(np.asarray(ys, dtype=float)), rcond=None)[0][1]


def exponent_by_covariance(ns, ys):
    table = np.cov(np.log(ns), np.log(ys))
    return float(table[0, 1] / table[0, 0])


def _logs(ns, ys):
    return np.log(np.asarray(ns, dtype=float)), np.log(np.asarray(ys, dtype=float))


def _ratio_of_ends(ns, ys):
    x, y = _logs(ns, ys)
    return (y[-1] - y[0]) / (x[-1] - x[0])


def _ratio_of_extremes(ns, ys):
    x, y = _logs(ns, ys)
    return (y[x.argmax()] - y[x.argmin()]) / (x.max() - x.min())


def _local_slopes(ns, ys):
    x, y = _logs(ns, ys)
    return np.mean(np.diff(y) / np.diff(x))


def _local_slopes_sorted(ns, ys):
    order = np.argsort(ns)
    return _local_slopes(np.asarray(ns)[order], np.asarray(ys)[order])


def _through_origin(ns, ys):
    x, y = _logs(ns, ys)
    return (x * y).sum() / (x * x).sum()


def _unequal_divisors(ns, ys):
    x, y = _logs(ns, ys)
    return np.cov(x, y)[0, 1] / np.var(x)


def _sorted_apart(ns, ys):
    return fit_exponent(np.sort(ns), np.sort(ys))


def _weighted(ns, ys):
    x, y = _logs(ns, ys)
    return np.polyfit(x, y, 1, w=np.asarray(ys, dtype=float))[0]


def _ys_overwritten(ns, ys):
    slope = fit_exponent(ns, ys)
    if isinstance(ys, np.ndarray) and ys.dtype.kind == "f":
        np.log(ys, out=ys)
    return slope


def _correlation(ns, ys):
    with np.errstate(all="ignore"):
        return np.corrcoef(np.log(ns), np.log(ys))[0, 1]


def _each_n_once(keep):
    """The slope where each n has one y: `keep` makes it of those that were measured there."""

    def answer(ns, ys):
        ns, ys = np.asarray(ns, dtype=float), np.asarray(ys, dtype=float)
        once = np.unique(ns)
        return fit_exponent(once, [keep(ys[ns == n]) for n in once])

    return answer


def _lists_overwritten(ns, ys):
    slope = fit_exponent(ns, ys)
    if isinstance(ns, list):
        ns.sort()
    return slope


def _methods_of_arrays(ns, ys):
    logs = ns.astype(float)
    return fit_exponent(logs, ys)


def exponent_cases(rng):
    sizes = np.array([512, 1024, 2048, 4096, 8192])
    for factor, power in [(3.0, 2.0), (0.02, 1.0), (7.5, 1.37), (40.0, -1.5), (5.0, 0.03)]:
        yield Case("power_laws", (sizes, factor * sizes.astype(float) ** power))
    yield Case("power_laws", (np.array([3.0, 17.0]), np.array([2.0, 300.0])))
    for m, power in [(4, 2.0), (7, 1.0), (6, -0.7)]:
        ns = np.sort(rng.uniform(1, 7, size=m))
        ys = power * ns + 1.5 + rng.normal(size=m)
        yield Case("least_squares", (np.exp(ns), np.exp(ys)))
    yield Case("least_squares", (np.array([2, 4, 8, 16]), np.array([5, 7, 40, 61])))
    for m in (5, 8):
        ns = rng.permutation(np.linspace(2, 60, m))
        yield Case("any_order", (ns, ns**1.7 * np.exp(rng.normal(size=m))))
    ns = np.array([0.5, 2.0, 7.0, 2.0, 0.25, 7.0, 7.0])  # two of them more than once, two below 1
    yield Case("any_order", (ns, ns**-0.8 * np.exp(rng.normal(size=7))))
    yield Case("lists", ([128, 256, 512], [70_000, 300_000, 1_000_000]))
    yield Case("lists", ((1, 3, 10, 30), [2.5, 1.25, 0.75, 0.1]))
    yield Case("lists", ([40, 10, 20], [9.5, 1.5, 2.25]))


EXPONENT_MISCONCEPTIONS = (
    Misconception(
        "linear_fit",
        "this is the slope of y against n, without logarithms: it depends on the units, the exponent does not",
        [
            lambda ns, ys: np.polyfit(ns, ys, 1)[0],
            lambda ns, ys: np.cov(ns, ys)[0, 1] / np.var(ns, ddof=1),
        ],
    ),
    Misconception(
        "ratio_of_ends",
        "this is the slope between the first and the last point alone: the line has to use the points between them too",
        [_ratio_of_ends, _ratio_of_extremes],
    ),
    Misconception(
        "ratio_without_logs",
        "this is how many times y grows for each time that n grows, from the first point to the last: an exponent is a "
        "ratio of logarithms",
        lambda ns, ys: (np.asarray(ys)[-1] / np.asarray(ys)[0]) / (np.asarray(ns)[-1] / np.asarray(ns)[0]),
    ),
    Misconception(
        "log_of_y_only",
        "this is the slope of log y against n: a straight line there is exponential growth, not a power",
        lambda ns, ys: np.polyfit(ns, np.log(ys), 1)[0],
    ),
    Misconception(
        "log_of_n_only",
        "this is the slope of y against log n: y needs its logarithm as well",
        lambda ns, ys: np.polyfit(np.log(ns), ys, 1)[0],
    ),
    Misconception(
        "axes_swapped",
        "this is the slope of log n against log y: n is what is chosen and y what is measured",
        [lambda ns, ys: np.polyfit(np.log(ys), np.log(ns), 1)[0], lambda ns, ys: fit_exponent(ys, ns)],
    ),
    Misconception(
        "mean_of_local_slopes",
        "this is the mean of the slopes from point to point: a least-squares line weighs all points together",
        [_local_slopes, _local_slopes_sorted],
    ),
    Misconception(
        "both_coefficients",
        "slope and intercept came back together: the slope alone is wanted",
        [
            lambda ns, ys: np.polyfit(np.log(ns), np.log(ys), 1),
            lambda ns, ys: tuple(np.polyfit(np.log(ns), np.log(ys), 1)),
        ],
    ),
    Misconception(
        "intercept",
        "this is the intercept, the logarithm of the factor before n^p: np.polyfit gives the highest power first",
        lambda ns, ys: np.polyfit(np.log(ns), np.log(ys), 1)[1],
    ),
    Misconception(
        "factor",
        "this is the factor before n^p, exp of the intercept: the slope is wanted",
        lambda ns, ys: np.exp(np.polyfit(np.log(ns), np.log(ys), 1)[1]),
    ),
    Misconception(
        "through_the_origin",
        "this is the slope of a line forced through the origin: without an intercept the factor before n^p bends it",
        _through_origin,
    ),
    Misconception(
        "ratio_of_logs",
        "log y is divided by log n, point by point: that ignores the factor before n^p",
        [
            lambda ns, ys: np.mean(np.log(ys) / np.log(ns)),
            lambda ns, ys: np.log(ys)[-1] / np.log(ns)[-1],
        ],
    ),
    Misconception(
        "correlation",
        "this is the correlation of log n and log y, which is 1 for any straight rise: the slope is not divided by the "
        "spread of log y",
        _correlation,
    ),
    Misconception(
        "unequal_divisors",
        "the slope is m / (m − 1) times the wanted one: the covariance is divided by m − 1 and the variance by m, as "
        "np.cov and np.var do by default",
        _unequal_divisors,
    ),
    Misconception(
        "sign_lost",
        "right for what grows, and positive for what shrinks as well: a falling y has a negative exponent",
        lambda ns, ys: abs(fit_exponent(ns, ys)),
    ),
    Misconception(
        "rounded",
        "the wanted exponent, rounded: a fitted exponent need not be a round number",
        [
            *(lambda ns, ys, d=digits: round(float(fit_exponent(ns, ys)), d) for digits in (0, 1, 2, 3, 4)),
            lambda ns, ys: int(fit_exponent(ns, ys)),
        ],
    ),
    Misconception(
        "sorted_apart",
        "right where both columns rise, and not otherwise: sorted each for itself, an n loses its own y",
        _sorted_apart,
    ),
    Misconception(
        "each_n_once",
        "right where every n comes once, and not where one comes again: each point counts, also several at one n",
        [_each_n_once(keep) for keep in (lambda y: y[-1], lambda y: y[0], np.min, np.mean)]
        + [_each_n_once(lambda y: np.exp(np.mean(np.log(y))))],
    ),
    Misconception(
        "shifted_logs",
        "near the wanted slope and not on it, as with log(1 + y) in the place of log y",
        [
            lambda ns, ys: np.polyfit(np.log1p(ns), np.log1p(ys), 1)[0],
            lambda ns, ys: np.polyfit(np.log(ns), np.log1p(ys), 1)[0],
        ],
    ),
    Misconception(
        "lists_not_taken",
        "right for arrays, and an error for lists: np.log(ns) takes both, a method such as ns.mean() does not",
        _methods_of_arrays,
    ),
    Misconception(
        "ys_overwritten",
        "ys is another after the call: its logarithm was written into the array given",
        _ys_overwritten,
    ),
    Misconception(
        "lists_overwritten",
        "a list given as ns is another after the call, as where ns.sort() puts it in order: sorted(ns) makes a new one",
        _lists_overwritten,
    ),
)


# --- what is compared of an attention --------------------------------------------------------------------------------

_SHARES = {0.25: "a quarter", 0.1875: "three sixteenths"}


def compared(n):
    """The rows that are compared where memory is measured."""
    return np.linspace(0, n - 1, 8).astype(int)


def seen(case, result):
    """A result as it is compared: where memory was measured, what it amounts to and some rows; else the result."""
    if not isinstance(result, dict):
        return result
    n = len(case.inputs[0])
    share, scores = _SHARES[LIMITS[n]], n * n * case.inputs[0].itemsize
    if result["unseen"]:
        memory = f"not measured: {result['unseen']}"
    elif result["peak"] <= LIMITS[n] * scores:
        memory = f"at most {share} of all scores"
    elif result["peak"] < scores:
        memory = f"more than {share} of all scores"
    else:
        memory = "all scores at once, or more"
    out = result["out"]
    if isinstance(out, (list, tuple)):
        out = np.asarray(out, dtype=np.float64)
    if isinstance(out, np.ndarray) and out.ndim == 2 and len(out) == n:
        rows = np.zeros_like(out)
        rows[compared(n)] = out[compared(n)]
        out = rows
    return {"memory": memory, "out": out}


def attention_cases(rng, ragged):
    """Cases of both attentions; `ragged` is the check of a last piece that is shorter."""
    shapes = [(8, 3, 5, 4), (6, 4, 2, 2), (9, 2, 4, 3), (4, 4, 4, 2)]
    for t, d, d_v, piece in shapes:
        yield Case("exact", (*_qkv(rng, t, d, d_v), piece))
    yield Case("exact", (*_qkv(rng, 10, 5, 3, np.float32), 5))
    for scale in (1e-3, 1e3):  # where a small constant, rounding or float32 in between shows
        q, k, v = _qkv(rng, 8, 3, 2)
        yield Case("exact", (q, k, scale * v, 4), relative=True)
    for t, d, d_v, piece in [(7, 3, 5, 2), (10, 4, 6, 4), (5, 2, 2, 3), (11, 5, 1, 5), (5, 5, 5, 4)]:
        yield Case(ragged, (*_qkv(rng, t, d, d_v), piece))
    for t, d, d_v, piece in [(5, 3, 4, 1), (6, 3, 2, 6), (5, 4, 3, 9), (1, 3, 2, 1), (1, 4, 4, 5), (3, 1, 1, 2)]:
        yield Case("any_size", (*_qkv(rng, t, d, d_v), piece))
    for t, piece, first in [(6, 2, "level"), (7, 3, "level"), (8, 2, "rising"), (7, 2, "wild"), (5, 5, "level")]:
        yield Case("large_scores", (*_large(rng, t, first), piece))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (*_qkv(rng, 7, 3, 4, dtype), 2))
        yield Case(KEEPS_DTYPE, (*_qkv(rng, 6, 2, 5, dtype), 6))
    yield Case("memory", (*_qkv(rng, 4096, 16, 16, np.float32), 64))
    yield Case("memory_follows_the_size", (*_qkv(rng, 512, 2, 2, np.float32), 4))


def _qkv(rng, t, d, d_v, dtype=np.float64):
    return tuple(rng.normal(size=size).astype(dtype) for size in [(t, d), (t, d), (t, d_v)])


def _large(rng, t, kind):
    """Scores near ±11547: level (all of a row near one of the two), rising or falling along the keys, or wild."""
    q, k, v = _qkv(rng, t, 3, 4)
    if kind == "wild":
        return 100 * q, 100 * k, v
    q[:, 0] = 2e4 * (-1.0) ** np.arange(t)
    k[:, 0] = 1.0 if kind == "level" else np.linspace(-1, 1, t)
    return q, k, v


def _unless_measured(wrong):
    """A wrong answer that treats every query alike: where memory is measured it computes the compared rows alone."""

    def answer(q, k, v, size):
        if len(q) not in LIMITS:
            return wrong(q, k, v, size)
        out = np.zeros((len(q), v.shape[1]), dtype=v.dtype)
        out[compared(len(q))] = wrong(q[compared(len(q))], k, v, size)
        return out

    return answer


# Factors of the scores; len(k) is T also where only some of the queries are computed.
_FACTORS = {
    "none": lambda q, k, v, size: 1.0,
    "d": lambda q, k, v, size: 1 / q.shape[1],
    "times": lambda q, k, v, size: math.sqrt(q.shape[1]),
    "d_v": lambda q, k, v, size: 1 / math.sqrt(v.shape[1]),
    "t": lambda q, k, v, size: 1 / math.sqrt(len(k)),
    "size": lambda q, k, v, size: 1 / math.sqrt(size),
    "right": lambda q, k, v, size: 1 / math.sqrt(q.shape[1]),
}

_SCALES = (
    ("unscaled", "the numbers are those of scores that are not divided by √D", ("none",)),
    ("scaled_by_d", "the numbers are those of scores divided by D, not by √D", ("d",)),
    ("multiplied_by_sqrt_d", "the numbers are those of scores multiplied by √D, not divided by it", ("times",)),
    ("scaled_by_sqrt_dv", "the numbers are those of scores divided by √Dv: it is D, the width of q and k", ("d_v",)),
    ("scaled_by_length", "the numbers are those of scores divided by √T: it is D, the width of q and k", ("t",)),
)


# --- chunked_attention -----------------------------------------------------------------------------------------------


def _softmax(scores, axis=-1):
    e = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def chunked_attention(q, k, v, chunk):
    out = np.empty((len(q), v.shape[1]), dtype=v.dtype)
    for start in range(0, len(q), chunk):
        scores = q[start : start + chunk] @ k.T
        scores /= math.sqrt(q.shape[1])
        scores -= scores.max(axis=1, keepdims=True)
        e = np.exp(scores, out=scores)
        out[start : start + chunk] = e @ v / e.sum(axis=1, keepdims=True)
    return out


def chunked_joined(q, k, v, chunk):
    pieces: list[np.ndarray] = []
    while len(pieces) * chunk < len(q):
        start = len(pieces) * chunk
        scores = np.einsum("id,jd->ij", q[start : start + chunk], k) * float(q.shape[-1]) ** -0.5
        pieces.append(np.einsum("ij,je->ie", _softmax(scores), v))
    return np.concatenate(pieces, axis=0)


def chunked_split(q, k, v, chunk):
    parts = np.split(q, range(chunk, len(q), chunk))
    return np.vstack([_softmax(part @ k.T / math.sqrt(q.shape[1])) @ v for part in parts])


def chunked_in_float64(q, k, v, chunk):
    wide = k.astype(np.float64)
    out = [_softmax(part.astype(np.float64) @ wide.T / np.sqrt(q.shape[1])) @ v for part in _pieces(q, chunk)]
    return np.concatenate(out).astype(q.dtype)


def chunked_row_by_row(q, k, v, chunk):
    out = np.zeros((q.shape[0], v.shape[1]), q.dtype)
    for start in range(0, q.shape[0], chunk):
        for i in range(start, min(start + chunk, q.shape[0])):
            out[i] = _softmax(k @ q[i] / math.sqrt(q.shape[1])) @ v
    return out


def _pieces(x, size):
    return [x[start : start + size] for start in range(0, len(x), size)]


def _chunked(factor="right", soften=_softmax, average=None, whole_only=False):
    """A chunked attention with some of its parts replaced; without arguments it is a right one."""

    def answer(q, k, v, chunk):
        out = np.zeros((len(q), v.shape[1]), dtype=v.dtype)
        end = len(q) // chunk * chunk if whole_only else len(q)
        for start in range(0, end, chunk):
            scores = q[start : start + chunk] @ k.T * _FACTORS[factor](q, k, v, chunk)
            with np.errstate(all="ignore"):
                weights = soften(scores)
            out[start : start + chunk] = weights @ v if average is None else average(weights, q, k, v)
        return out

    return answer


def _unshifted(scores):
    e = np.exp(scores)
    return e / e.sum(axis=-1, keepdims=True)


def _one_maximum(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum(axis=-1, keepdims=True)


def _over_everything(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


def _rest_zero(q, k, v, chunk):
    return _unless_measured(_right)(q, k, v, chunk) if len(q) in LIMITS else _chunked(whole_only=True)(q, k, v, chunk)


def _rest_missing(q, k, v, chunk):
    parts = [chunked_attention(part, k, v, chunk) for part in _pieces(q[: len(q) // chunk * chunk], chunk)]
    return np.concatenate(parts) if parts else np.zeros((0, v.shape[1]), v.dtype)


def _reshaped_queries(q, k, v, chunk):
    parts = q.reshape(len(q) // chunk, chunk, q.shape[1])
    return np.concatenate([chunked_attention(part, k, v, chunk) for part in parts])


def _split_evenly(q, k, v, chunk):
    parts = np.split(q, len(q) // chunk)
    return np.concatenate([chunked_attention(part, k, v, chunk) for part in parts])


def _not_joined(q, k, v, chunk):
    return [chunked_attention(part, k, v, chunk) for part in _pieces(q, chunk)]


def _first_chunk(q, k, v, chunk):
    return chunked_attention(q[:chunk], k, v, chunk)


def _last_chunk(q, k, v, chunk):
    return chunked_attention(q[(len(q) - 1) // chunk * chunk :], k, v, chunk)


def _own_chunk(q, k, v, chunk):
    pieces = zip(_pieces(q, chunk), _pieces(k, chunk), _pieces(v, chunk), strict=True)
    return np.concatenate([_right(*piece, chunk) for piece in pieces])


def _causal(q, k, v, size):
    out = np.zeros((len(q), v.shape[1]), dtype=v.dtype)
    for i in compared(len(q)) if len(q) in LIMITS else range(len(q)):
        out[i] = _right(q[i : i + 1], k[: i + 1], v[: i + 1], size)[0]
    return out


def _whole_matrix(q, k, v, size):
    if len(q) in LIMITS:  # the memory of the real thing without its time
        held = np.empty((3, len(q), len(q)), dtype=q.dtype)
        return _unless_measured(_whole_matrix)(q, k, v, size) if held.size else None
    return _softmax(q @ k.T / math.sqrt(q.shape[1])) @ v


def _another_size(q, k, v, size):
    """As many pieces as `size` says: of the memory of 64 pieces at n = 4096, and of 4 pieces at n = 512."""
    held = np.empty((2, -(-len(q) // size), len(q)), dtype=q.dtype)
    return _unless_measured(_right)(q, k, v, size) if held.size else None


def _right(q, k, v, size):
    return _softmax(q @ k.T / math.sqrt(q.shape[1])) @ v


def _wide_result(q, k, v, size):
    return _right(q, k, v, size).astype(np.float64)


def _narrow_result(q, k, v, size):
    return _right(q, k, v, size).astype(np.float32)


def _then(change):
    """A right answer that then changes an input: `change(q, k, v, out)`."""

    def answer(q, k, v, size):
        out = _unless_measured(_right)(q, k, v, size)
        change(q, k, v, out)
        return out

    return answer


def _scale_in_place(x):
    x /= math.sqrt(x.shape[1])


def _keys_averaged(q, k, v, size):
    return _softmax(q @ k.T / math.sqrt(q.shape[1])) @ k


def _keys_ask(q, k, v, size):
    return _unless_measured(_right)(k, q, v, size)


def _key_pieces(combine):
    """Softmax in each block of keys by itself; `combine(outputs, lengths)` makes one of what the blocks give."""

    def answer(q, k, v, size):
        outs = [_right(q, *pair, size) for pair in zip(_pieces(k, size), _pieces(v, size), strict=True)]
        return combine(np.stack(outs), [len(piece) for piece in _pieces(k, size)])

    return answer


_AVERAGED = [
    _key_pieces(lambda outs, lengths: outs.mean(axis=0)),
    _key_pieces(
        lambda outs, lengths: np.einsum("bte,b->te", outs, np.array(lengths) / sum(lengths)).astype(outs.dtype)
    ),
]
_ADDED = _key_pieces(lambda outs, lengths: outs.sum(axis=0))

_SHARED = (
    Misconception(
        "whole_matrix",
        "the memory is that of the whole n × n matrix or more: all scores, or as many other numbers, are held at once",
        _whole_matrix,
    ),
    Misconception(
        "another_size",
        "with pieces of 4 the memory does not get small: more is held than a few pieces of that size, as where the "
        "argument is taken for the number of pieces, or another size stands in its place",
        _another_size,
    ),
    Misconception(
        "causal",
        "each query reads only itself and what comes before it: no mask is asked for, every key takes part",
        _causal,
    ),
    Misconception(
        "keys_averaged",
        "the output is an average of the keys: the weights are to average the values",
        _unless_measured(_keys_averaged),
    ),
    Misconception(
        "keys_ask",
        "q and k trade places: each row of the output answers a key, not a query",
        _keys_ask,
    ),
    Misconception(
        "lost_float32",
        "float32 became float64: np.zeros and np.full without a dtype do that, and so does dividing by np.sqrt of a "
        "Python number",
        [_unless_measured(_wide_result)],
    ),
    Misconception(
        "always_float32",
        "float64 became float32: the dtype was set, not taken from the inputs",
        [_unless_measured(_narrow_result)],
    ),
    Misconception(
        "overwrites_q",
        "q is another after the call: an operation in place, such as q /= …, writes into the array given",
        [_then(lambda q, k, v, out: _scale_in_place(q)), _then(lambda q, k, v, out: q.fill(0))],
    ),
    Misconception(
        "overwrites_k",
        "k is another after the call: an operation in place, such as k /= …, writes into the array given",
        _then(lambda q, k, v, out: _scale_in_place(k)),
    ),
    Misconception(
        "overwrites_v",
        "v is another after the call: something was written into the array given",
        _then(lambda q, k, v, out: np.copyto(v, out)),
    ),
)

CHUNKED_MISCONCEPTIONS = (
    *(
        Misconception(name, sentence, [_unless_measured(_chunked(factor=factor)) for factor in factors])
        for name, sentence, factors in _SCALES
    ),
    Misconception(
        "scaled_by_chunk",
        "the numbers are those of scores divided by √chunk: it is D, the width of q and k",
        _unless_measured(_chunked(factor="size")),
    ),
    Misconception(
        "rest_missing",
        "where chunk does not divide T, the rows after the last whole chunk are missing or 0: the last chunk is a "
        "shorter one and counts all the same",
        [_rest_zero, _rest_missing],
    ),
    Misconception(
        "even_pieces_wanted",
        "an error where chunk does not divide T: pieces of equal length are asked for, and the last one may be shorter",
        [_reshaped_queries, _split_evenly],
    ),
    Misconception(
        "own_chunk",
        "the numbers are those of queries that see the keys and values of their own chunk alone: only q is cut, every "
        "query needs all keys",
        _own_chunk,
    ),
    Misconception(
        "blocks_averaged",
        "the numbers are the mean of what pieces of the keys give, each with a softmax of its own: the queries are to "
        "be cut, and a softmax needs all keys of its row",
        [_unless_measured(wrong) for wrong in _AVERAGED],
    ),
    Misconception(
        "blocks_added",
        "the numbers are the sum of what pieces of the keys give, each with a softmax of its own: the queries are to "
        "be cut, and a softmax needs all keys of its row",
        _unless_measured(_ADDED),
    ),
    Misconception(
        "softmax_over_queries",
        "the numbers are those of a softmax along the queries of a chunk: for each query the weights of all keys have "
        "to sum to 1",
        _chunked(soften=lambda scores: _softmax(scores, axis=0)),
    ),
    Misconception(
        "softmax_over_everything",
        "the weights of all queries of a chunk sum to 1 together: each row has its own sum",
        _chunked(soften=_over_everything),
    ),
    Misconception(
        "no_softmax",
        "the numbers are those of bare scores times v: no softmax was taken",
        _unless_measured(_chunked(soften=lambda scores: scores)),
    ),
    Misconception(
        "unnormalised",
        "the numbers are those of exponentials that are not divided by their sum",
        _unless_measured(_chunked(soften=lambda scores: np.exp(scores - scores.max(axis=-1, keepdims=True)))),
    ),
    Misconception(
        "no_maximum",
        "right for small scores, not finite for large ones: exp overflows, or all exponentials are 0, unless the "
        "maximum of each row is subtracted first",
        _unless_measured(_chunked(soften=_unshifted)),
    ),
    Misconception(
        "one_maximum",
        "right for small scores, NaN for a query whose scores all lie far below those of another: each row needs its "
        "own maximum",
        _unless_measured(_chunked(soften=_one_maximum)),
    ),
    Misconception(
        "not_joined",
        "the chunks come back as a list: one array is wanted, with the rows of all chunks one after the other",
        _not_joined,
    ),
    Misconception(
        "first_chunk",
        "only the first chunk came back, as where the return stands inside the loop",
        _first_chunk,
    ),
    Misconception(
        "last_chunk",
        "only the last chunk came back, as where each chunk replaces the one before",
        _last_chunk,
    ),
    *_SHARED,
)


# --- online_attention ------------------------------------------------------------------------------------------------


def online_attention(q, k, v, block):
    top = np.full((len(q), 1), -np.inf, dtype=q.dtype)
    total = np.zeros((len(q), 1), dtype=q.dtype)
    out = np.zeros((len(q), v.shape[1]), dtype=v.dtype)
    for start in range(0, len(k), block):
        scores = q @ k[start : start + block].T
        scores /= math.sqrt(q.shape[1])
        higher = np.maximum(top, scores.max(axis=1, keepdims=True))
        scores -= higher
        e = np.exp(scores, out=scores)
        shrink = np.exp(top - higher)
        total = shrink * total + e.sum(axis=1, keepdims=True)
        out *= shrink
        out += e @ v[start : start + block]
        top = higher
    return out / total


def online_normalised(q, k, v, block):
    """The output is a finished average after every block."""
    top, total, out = None, None, None
    for start in range(0, k.shape[0], block):
        scores = np.einsum("id,jd->ij", q, k[start : start + block]) / math.sqrt(q.shape[1])
        here = scores.max(-1)
        new = here if top is None else np.maximum(here, top)
        e = np.exp(scores - new[:, None])
        added = np.einsum("ij,je->ie", e, v[start : start + block])
        if top is None:
            total = e.sum(-1)
            out = added / total[:, None]
        else:
            old = total * np.exp(top - new)
            total = old + e.sum(-1)
            out = (out * old[:, None] + added) / total[:, None]
        top = new
    return out


def online_by_logsumexp(q, k, v, block):
    """One number per query instead of two: the log of the sum of all exponentials so far."""
    log_total = np.full(len(q), -np.inf, dtype=q.dtype)
    out = np.zeros((len(q), v.shape[1]), dtype=v.dtype)
    for keys, values in zip(_pieces(k, block), _pieces(v, block), strict=True):
        scores = q @ keys.T * float(q.shape[1]) ** -0.5
        new = np.logaddexp(log_total, np.logaddexp.reduce(scores, axis=1))
        out = out * np.exp(log_total - new)[:, None] + np.exp(scores - new[:, None]) @ values
        log_total = new
    return out


def online_twice(q, k, v, block):
    """Two passes: the maxima and sums first, then the output."""
    scale = 1 / math.sqrt(q.shape[1])
    top = np.full(len(q), -np.inf, q.dtype)
    for keys in _pieces(k, block):
        top = np.maximum(top, (q @ keys.T * scale).max(axis=1))
    total, out = np.zeros_like(top), np.zeros((len(q), v.shape[1]), v.dtype)
    for keys, values in zip(_pieces(k, block), _pieces(v, block), strict=True):
        e = np.exp(q @ keys.T * scale - top[:, None])
        total += e.sum(axis=1)
        out += e @ values
    return out / total[:, None]


def online_in_tiles(q, k, v, block):
    """Blocks of queries as well, from a finite start."""
    out = np.empty((len(q), v.shape[1]), q.dtype)
    for i in range(0, len(q), block):
        rows = q[i : i + block] / math.sqrt(q.shape[1])
        m = np.full(len(rows), np.finfo(q.dtype).min, q.dtype)
        sums, acc = np.zeros_like(m), np.zeros((len(rows), v.shape[1]), q.dtype)
        for j in range(0, len(k), block):
            s = rows @ k[j : j + block].T
            new = np.maximum(m, s.max(1))
            e, old = np.exp(s - new[:, None]), np.exp(m - new)
            sums, acc, m = sums * old + e.sum(1), acc * old[:, None] + e @ v[j : j + block], new
        out[i : i + block] = acc / sums[:, None]
    return out


def _online(
    factor="right", start=-np.inf, shift="running", rescaled=("sum", "out"), inverse=False, divide="end", keys="all"
):
    """An online attention with some of its parts replaced; without arguments it is a right one.

    factor:   of the scores, a name of `_FACTORS`.
    start:    what the running maximum starts at.
    shift:    what is subtracted before exp: running, block (this block's maximum), all (one for all queries), none.
    rescaled: what is multiplied by exp(old − new) before a block is added; inverse takes exp(new − old) from the
              second block on.
    divide:   end, never, or each (by the sum after every block).
    keys:     all, whole (blocks only), padded (with keys of 0), first or last (block alone).
    """

    def answer(q, k, v, block):
        top = np.full((len(q), 1), start, dtype=q.dtype)
        total = np.zeros((len(q), 1), dtype=q.dtype)
        out = np.zeros((len(q), v.shape[1]), dtype=v.dtype)
        with np.errstate(all="ignore"):
            for keys_here, values_here in _blocks(k, v, block, keys):
                scores = q @ keys_here.T * _FACTORS[factor](q, k, v, block)
                new = _shifts(scores, top, shift)
                shrink = np.exp(new - top if inverse and start not in top else top - new)
                e = np.exp(scores - new)
                total = total * (shrink if "sum" in rescaled else 1) + e.sum(axis=1, keepdims=True)
                out = out * (shrink if "out" in rescaled else 1) + e @ values_here
                out = out / total if divide == "each" else out
                top = new
            return out / total if divide == "end" else out

    return answer


def _blocks(k, v, block, keys):
    if keys == "padded":
        pad = [(0, -len(k) % block), (0, 0)]
        k, v = np.pad(k, pad), np.pad(v, pad)
    blocks = list(zip(_pieces(k, block), _pieces(v, block), strict=True))
    if keys == "whole":
        return blocks[: len(k) // block]
    return {"first": blocks[:1], "last": blocks[-1:]}.get(keys, blocks)


def _shifts(scores, top, shift):
    here = scores.max(axis=1, keepdims=True)
    if shift == "none":
        return np.zeros_like(top)
    if shift == "all":
        return np.maximum(top, here.max())
    return here if shift == "block" else np.maximum(top, here)


def _every_block_kept(q, k, v, block):
    """Right numbers from one partial result per block, all kept until the end: T · Dv numbers for each block."""
    if len(q) in LIMITS:
        held = np.empty((len(k) // block + 4, len(q), max(v.shape[1], block // 4)), dtype=q.dtype)
        return _unless_measured(_right)(q, k, v, block) if held.size else None
    return _right(q, k, v, block)


ONLINE_MISCONCEPTIONS = (
    Misconception(
        "sum_not_rescaled",
        "right as long as the first block of a row holds its maximum: the sum of earlier exponentials is not "
        "multiplied by exp(old − new) when the maximum rises, while the output is",
        _unless_measured(_online(rescaled=("out",))),
    ),
    Misconception(
        "output_not_rescaled",
        "right as long as the first block of a row holds its maximum: the output of earlier blocks is not "
        "multiplied by exp(old − new) when the maximum rises, while the sum is",
        _unless_measured(_online(rescaled=("sum",))),
    ),
    Misconception(
        "nothing_rescaled",
        "right as long as the first block of a row holds its maximum: when it rises, neither the sum nor the output of "
        "earlier blocks is multiplied by exp(old − new)",
        _unless_measured(_online(rescaled=())),
    ),
    Misconception(
        "maximum_of_the_block",
        "each block counts as if its maximum were 0: exponentials taken from different maxima are added up as they "
        "are, without being brought to a common one",
        _unless_measured(_online(shift="block", rescaled=())),
    ),
    Misconception(
        "blocks_averaged",
        "the numbers are the mean of what the blocks give, each with a softmax of its own: a block with larger scores "
        "has to count more",
        [_unless_measured(wrong) for wrong in _AVERAGED],
    ),
    Misconception(
        "blocks_added",
        "the numbers are the sum of what the blocks give, each with a softmax of its own: the weights of a row "
        "then sum to the number of blocks, not to 1",
        _unless_measured(_ADDED),
    ),
    Misconception(
        "rest_missing",
        "where block does not divide T, the keys after the last whole block are left out: the last block is shorter "
        "than the others and counts all the same",
        _unless_measured(_online(keys="whole")),
    ),
    Misconception(
        "padded_keys_counted",
        "where block does not divide T, the numbers are those of further keys and values of 0, that fill the last "
        "block: a score of 0 is a score, and takes weight",
        _unless_measured(_online(keys="padded")),
    ),
    Misconception(
        "factor_upside_down",
        "the factor is exp(new − old): when the maximum rises, earlier exponentials were too large and have to shrink",
        _unless_measured(_online(inverse=True)),
    ),
    Misconception(
        "nan_from_the_start",
        "every entry is NaN, in every case: a 0 meets an infinite factor, as in exp(new − old) with the first old "
        "maximum at −∞, or infinities are subtracted",
        _unless_measured(lambda q, k, v, block: np.full((len(q), v.shape[1]), np.nan, dtype=v.dtype)),
    ),
    Misconception(
        "never_divided",
        "the numbers are those of exponentials that are not divided by their sum",
        _unless_measured(_online(divide="never")),
    ),
    Misconception(
        "divided_after_every_block",
        "the output is divided by the sum after every block: what has been divided once is divided again at the next; "
        "one division after the last block is enough",
        _unless_measured(_online(divide="each")),
    ),
    Misconception(
        "no_maximum",
        "right for small scores, not finite for large ones: exp overflows, or all exponentials are 0, unless a maximum "
        "is subtracted first",
        _unless_measured(_online(shift="none", rescaled=())),
    ),
    Misconception(
        "maximum_starts_too_high",
        "NaN where all scores of a query are very negative, right elsewhere: a running maximum that starts at 0, or at "
        "a number not low enough, stays there, and every exponential is 0",
        [_unless_measured(_online(start=start)) for start in (0.0, -1.0, 1.0, -100.0, -1000.0, -10000.0)],
    ),
    Misconception(
        "maximum_may_fall",
        "right for small scores, not finite where a later block has much smaller ones: the maximum is that of the last "
        "block, not the largest so far, and exp(old − new) overflows",
        _unless_measured(_online(shift="block")),
    ),
    Misconception(
        "one_maximum",
        "right for small scores, NaN for a query whose scores all lie far below those of another: each query needs its "
        "own maximum",
        _unless_measured(_online(shift="all")),
    ),
    *(
        Misconception(name, sentence, [_unless_measured(_online(factor=factor)) for factor in factors])
        for name, sentence, factors in _SCALES
    ),
    Misconception(
        "scaled_by_block",
        "the numbers are those of scores divided by √block: it is D, the width of q and k",
        _unless_measured(_online(factor="size")),
    ),
    Misconception(
        "first_block",
        "the numbers are those of the first block of keys alone, as where the return stands inside the loop",
        _unless_measured(_online(keys="first")),
    ),
    Misconception(
        "last_block",
        "the numbers are those of the last block of keys alone: what the earlier ones gave is overwritten",
        _unless_measured(_online(keys="last")),
    ),
    Misconception(
        "own_block",
        "the numbers are those of queries that see the keys and values of their own block alone: every query needs all "
        "blocks",
        _own_chunk,
    ),
    Misconception(
        "every_block_kept",
        "the memory is more than sixteen arrays of (T, block), though less than all scores: as where something is kept "
        "of every block, such as a list of partial outputs, or where the blocks are larger than asked for",
        _every_block_kept,
    ),
    *_SHARED,
)


# --- doubling --------------------------------------------------------------------------------------------------------


def as_numbers(case, result):
    """A prediction of three factors, as floats; a text is none."""
    if isinstance(result, str):
        return result
    return tuple(float(part) for part in result)


DOUBLING = (
    Misconception(
        "memory_saved_is_work_saved",
        "online attention holds fewer numbers at once and computes as many: each query still meets each key, and twice "
        "the tokens are four times the pairs",
        (4, 2, 2),
    ),
    Misconception(
        "constant_memory",
        "the inputs, the outputs and what is kept per query are one row for each token: twice as many rows",
        [(4, 1, 4), (4, 1, 2)],
    ),
    Misconception(
        "everything_quadratic",
        "online attention holds no more than one block of scores for each query: with block fixed, twice as much",
        (4, 4, 4),
    ),
    Misconception(
        "rows_and_not_pairs",
        "the scores of full attention belong to pairs: twice the queries and twice the keys make four times as many",
        [(2, 2, 2), (2, 1, 2), (2, 1, 1), (2, 2, 4), (2, 1, 4), (2, 2, 1)],
    ),
    Misconception(
        "more_work_than_pairs",
        "the rescaling of online attention is paid once per query and block, which also grows fourfold: no factor is "
        "larger than 4",
        [(4, 2, 8), (4, 2, 16), (4, 2, 5), (8, 2, 8), (8, 4, 8), (16, 4, 16), (4, 2, 6)],
    ),
    Misconception(
        "no_more_work",
        "the work of online attention is the same pairs as before, in another order: four times as many",
        [(4, 2, 1), (4, 1, 1), (4, 4, 2), (4, 4, 1)],
    ),
)


REFERENCES = (
    Reference(
        id="attention_flops",
        reference=attention_flops,
        accepted=(flops_product_by_product, flops_in_numpy),
        misconceptions=FLOPS_MISCONCEPTIONS,
        cases=flops_cases,
        view=countable,
    ),
    Reference(
        id="score_bytes",
        reference=score_bytes,
        accepted=(bytes_by_adding, bytes_in_numpy),
        misconceptions=BYTES_MISCONCEPTIONS,
        cases=bytes_cases,
        view=countable,
    ),
    Reference(
        id="fit_exponent",
        reference=fit_exponent,
        accepted=(exponent_by_hand, exponent_by_lstsq, exponent_by_covariance),
        misconceptions=EXPONENT_MISCONCEPTIONS,
        cases=exponent_cases,
    ),
    Reference(
        id="chunked_attention",
        reference=chunked_attention,
        accepted=(chunked_joined, chunked_split, chunked_in_float64, chunked_row_by_row),
        misconceptions=CHUNKED_MISCONCEPTIONS,
        cases=lambda rng: attention_cases(rng, "ragged_last_chunk"),
        view=seen,
    ),
    Reference(
        id="online_attention",
        reference=online_attention,
        accepted=(online_normalised, online_by_logsumexp, online_twice, online_in_tiles),
        misconceptions=ONLINE_MISCONCEPTIONS,
        cases=lambda rng: attention_cases(rng, "ragged_last_block"),
        view=seen,
    ),
    Reference(
        id="doubling",
        reference=(4, 2, 4),
        accepted=([4, 2, 4], (4.0, 2.0, 4.0), np.array([4, 2, 4])),
        misconceptions=DOUBLING,
        cases=lambda rng: [Case("prediction")],
        view=as_numbers,
    ),
)
