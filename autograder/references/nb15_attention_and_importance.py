"""Notebook 15, the hidden half: references, accepted and wrong answers, cases.

About 2000 lines, since seven exercises share the module, each mistake has several natural shapes, and a test of
shuffles is judged at the shuffles it made.
"""

import copy
import itertools
import math
import operator

import numpy as np
import torch

from autograder.compare import as_array
from autograder.exercise import KEEPS_DTYPE, Built, Case, Misconception, Reference, Seed
from autograder.exercises.nb15_attention_and_importance import EXERCISES, VOCABULARY
from autograder.plain import describe

# --- kendall_tau -----------------------------------------------------------------------------------------------------


def _signs(a):
    """(n, n): 1, 0 or −1 for each ordered pair."""
    return torch.sign(a[:, None] - a[None, :]).double()


def kendall_tau(a, b):
    s_a, s_b = _signs(a), _signs(b)
    untied = float((s_a**2).sum() * (s_b**2).sum())
    return float((s_a * s_b).sum()) / math.sqrt(untied) if untied else 0.0


def _counts(a, b):
    """Numbers of pairs: agreeing, opposed, tied in a alone, tied in b alone, tied in both."""
    agreeing = opposed = only_a = only_b = both = 0
    for i, j in itertools.combinations(range(len(a)), 2):
        x, y = float(a[i]) - float(a[j]), float(b[i]) - float(b[j])
        if x == 0 and y == 0:
            both += 1
        elif x == 0:
            only_a += 1
        elif y == 0:
            only_b += 1
        elif (x > 0) == (y > 0):
            agreeing += 1
        else:
            opposed += 1
    return agreeing, opposed, only_a, only_b, both


def tau_by_loops(a, b):
    agreeing, opposed, only_a, only_b, _ = _counts(a, b)
    product = (agreeing + opposed + only_a) * (agreeing + opposed + only_b)
    return (agreeing - opposed) / product**0.5 if product else 0.0


def tau_by_groups(a, b):
    """Ties are counted by the sizes of groups of equal scores, as in textbooks."""
    n = len(a)
    pairs = n * (n - 1) // 2
    tied = [sum(c * (c - 1) // 2 for c in torch.unique(x, return_counts=True)[1].tolist()) for x in (a, b)]
    if pairs in tied:
        return torch.tensor(0.0)
    i, j = torch.triu_indices(n, n, offset=1)
    balance = (torch.sign(a[i] - a[j]) * torch.sign(b[i] - b[j])).sum()
    return balance / math.sqrt((pairs - tied[0]) * (pairs - tied[1]))


def tau_by_correlation(a, b):
    """Kendall's tau-b is the correlation of the signs of all ordered pairs, whose means are 0."""
    s_a, s_b = _signs(a).flatten().numpy(), _signs(b).flatten().numpy()
    if not s_a.any() or not s_b.any():
        return 0
    return np.corrcoef(s_a, s_b)[0, 1]


def tau_in_numpy(a, b):
    a, b = a.numpy(), b.numpy()
    over = (a[:, None] > a).astype(int) - (a[:, None] < a), (b[:, None] > b).astype(int) - (b[:, None] < b)
    norm = np.linalg.norm(over[0]) * np.linalg.norm(over[1])
    return np.float64(0.0) if norm == 0 else np.sum(over[0] * over[1]) / norm


def tau_by_ranks(a, b):
    """Dense ranks first, which keep ties and forget sizes."""
    a, b = (torch.unique(x, return_inverse=True)[1].double() for x in (a, b))
    return tau_by_loops(a, b)


def _from_counts(rule):
    """A wrong answer as a rule on the counts of pairs, with 0.0 where a or b is constant."""

    def answer(a, b):
        counts = _counts(a, b)
        agreeing, opposed, only_a, only_b, _ = counts
        if not (agreeing + opposed + only_a) * (agreeing + opposed + only_b):
            return 0.0
        return rule(*counts)

    return answer


def _correlation(a, b):
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm else 0.0


def _constant(x):
    return bool((x == x[0]).all())


def _mean_ranks(x):
    return ((x[:, None] > x).double() + 0.5 * (x[:, None] == x).double()).sum(dim=1)


def _order(x):
    return torch.argsort(x, stable=True).double()


def _ordinal(x):
    return torch.argsort(torch.argsort(x, stable=True), stable=True).double()


def _on(change, guard=True):
    """Tau-b of scores that were changed first; with guard, 0.0 where they were constant before."""

    def answer(a, b):
        if guard and (_constant(a) or _constant(b)):
            return 0.0
        return kendall_tau(change(a), change(b))

    return answer


def _if_constant(value):
    def answer(a, b):
        return value if _constant(a) or _constant(b) else kendall_tau(a, b)

    return answer


def _raises_for_constant(a, b):
    s_a, s_b = _signs(a), _signs(b)
    return float((s_a * s_b).sum()) / math.sqrt(float((s_a**2).sum() * (s_b**2).sum()))


def _gamma_raises(a, b):
    agreeing, opposed, *_ = _counts(a, b)
    return (agreeing - opposed) / (agreeing + opposed)


def _tau_a_raises(a, b):
    agreeing, opposed, *_ = _counts(a, b)
    return (agreeing - opposed) / (len(a) * (len(a) - 1) / 2)


def _sorts_in_place(a, b):
    tau = kendall_tau(a, b)
    order = torch.argsort(a)
    a[:], b[:] = a[order].clone(), b[order].clone()
    return tau


def _by_comparison(compare, guard):
    """Pairs agree where one comparison gives the same truth in a and in b, so that a tie falls on one side."""

    def answer(a, b):
        if len(a) == 1 or (guard and (_constant(a) or _constant(b))):
            return 0.0
        pairs = list(itertools.combinations(range(len(a)), 2))
        agreeing = sum(compare(float(a[i]), float(a[j])) == compare(float(b[i]), float(b[j])) for i, j in pairs)
        return (2 * agreeing - len(pairs)) / len(pairs)

    return answer


def _neighbours(a, b):
    s_a, s_b = torch.sign(a.diff()).double(), torch.sign(b.diff()).double()
    norm = math.sqrt(float((s_a**2).sum() * (s_b**2).sum()))
    return float((s_a * s_b).sum()) / norm if norm else 0.0


def _tau_c(a, b):
    if _constant(a) or _constant(b):
        return 0.0
    agreeing, opposed, *_ = _counts(a, b)
    least = min(len(a.unique()), len(b.unique()))
    return 2 * (agreeing - opposed) / (len(a) ** 2 * (least - 1) / least)


def tau_cases(rng):
    def scores(n):
        return rng.normal(size=n)

    def levels(n, count, least=2):
        """n scores of few levels, at least `least` of which occur."""
        table = np.sort(rng.normal(size=count))
        picks = np.concatenate([np.arange(least), rng.integers(count, size=n - least)])
        return table[rng.permutation(picks)]

    def skewed(n):
        """An order near that of another, with sizes that say little about it."""
        order = np.arange(n) + rng.normal(size=n) * 1.5
        return np.exp(0.6 * np.arange(n))[rng.permutation(n)], order

    for n in (5, 8):
        yield Case("no_ties", (scores(n), scores(n)))
    a, b = skewed(9)
    yield Case("no_ties", (a, b))
    yield Case("no_ties", (scores(7).astype(np.float32), scores(7).astype(np.float32)))
    a = scores(8)
    yield Case("no_ties", (a, a + rng.normal(size=8)))  # mostly agreeing
    yield Case("ties_in_one", (levels(8, 3), scores(8)))
    yield Case("ties_in_one", (scores(6), levels(6, 2)))
    yield Case("ties_in_one", (np.repeat(scores(3), 2), np.sort(scores(6))))
    yield Case("ties_in_both", (levels(9, 3), levels(9, 4)))
    yield Case("ties_in_both", (levels(7, 2), levels(7, 3)))
    a = levels(10, 4, 4)
    yield Case("ties_in_both", (a, np.where(rng.random(10) < 0.3, a.max(), a)))  # many pairs are tied in both
    yield Case("ties_in_both", (levels(12, 5).astype(np.float32), levels(12, 2).astype(np.float32)))
    a = scores(6)
    yield Case("same_or_reversed", (a, np.exp(2 * a)))
    yield Case("same_or_reversed", (a, -(a**3)))
    a = levels(6, 3)
    yield Case("same_or_reversed", (a, 2 * a + 1))
    yield Case("same_or_reversed", (np.array([0.3, 0.1]), np.array([-2.0, 5.0])))
    yield Case("constant", (np.full(5, 0.2), scores(5)))
    yield Case("constant", (scores(4), np.zeros(4)))
    yield Case("constant", (np.full(3, -1.0), np.full(3, 0.5)))
    yield Case("constant", (scores(1), scores(1)))
    for size in (1e-9, 1e-6):
        a = scores(7) * size
        yield Case("small_scores", (a, scores(7)))
        yield Case("small_scores", (1e3 * scores(6), size * scores(6)))
    yield Case("small_scores", (1e-200 * scores(6), 1e-200 * scores(6)))  # products of differences are 0 here


def _sign_of_product(a, b):
    """Right but for underflow."""
    x, y = a[:, None] - a, b[:, None] - b
    untied = math.sqrt(int((x != 0).sum()) * int((y != 0).sum()))
    return float((x * y).sign().sum()) / untied if untied else 0.0


TAU_MISCONCEPTIONS = (
    Misconception(
        "pearson",
        "this is Pearson's correlation of the scores: it asks how large the differences are, and tau asks for the sign "
        "of each alone",
        [
            _correlation,
            lambda a, b: (
                float(torch.corrcoef(torch.stack([a, b]))[0, 1]) if not (_constant(a) or _constant(b)) else 0.0
            ),
        ],
    ),
    Misconception(
        "spearman",
        "this is Spearman's correlation, that of the ranks: a pair that is far apart counts more than a close one, and "
        "in tau every pair counts the same",
        lambda a, b: _correlation(_mean_ranks(a), _mean_ranks(b)),
    ),
    Misconception(
        "tau_a",
        "this is tau-a: the balance is divided by the number of all pairs, tied ones among them, so that two equal "
        "rankings with ties do not reach 1",
        [
            _from_counts(lambda c, d, x, y, z: (c - d) / (c + d + x + y + z)),
            _tau_a_raises,
            lambda a, b: _tau_a_raises(a, b) if len(a) > 1 else 0.0,
            lambda a, b: _tau_a_raises(a, b) if len(a) > 1 else math.nan,
        ],
    ),
    Misconception(
        "ties_ignored",
        "tied pairs are left out of the count altogether, so a ranking that ties nearly everything can still reach 1: "
        "this is Goodman and Kruskal's gamma, (agreeing − opposed) / (agreeing + opposed)",
        [
            _from_counts(lambda c, d, x, y, z: (c - d) / (c + d) if c + d else 0.0),
            lambda a, b: _gamma_raises(a, b) if sum(_counts(a, b)[:2]) else 0.0,
            _gamma_raises,
        ],
    ),
    Misconception(
        "ties_agree",
        "pairs that are tied count as agreeing",
        [
            _from_counts(lambda c, d, x, y, z: (c - d + x + y + z) / (c + d + x + y + z)),
            _from_counts(lambda c, d, x, y, z: (c - d + x + y + z) / math.sqrt((c + d + x) * (c + d + y))),
            _from_counts(lambda c, d, x, y, z: (c + z - d) / (c + d + x + y + z)),
            _from_counts(lambda c, d, x, y, z: (c + z - d) / math.sqrt((c + d + x) * (c + d + y))),
        ],
    ),
    Misconception(
        "ties_opposed",
        "pairs that are tied count as opposed",
        [
            _from_counts(lambda c, d, x, y, z: (c - d - x - y - z) / (c + d + x + y + z)),
            _from_counts(lambda c, d, x, y, z: (c - d - x - y - z) / math.sqrt((c + d + x) * (c + d + y))),
            _from_counts(lambda c, d, x, y, z: (c - d - x - y) / (c + d + x + y + z)),
        ],
    ),
    Misconception(
        "tie_as_order",
        "a pair that is tied in one of the two counts as agreeing or opposed all the same: a comparison like a_i < a_j "
        "is False for a tie as for the reversed order",
        [
            _by_comparison(compare, guard)
            for compare in (operator.lt, operator.gt, operator.le, operator.ge)
            for guard in (True, False)
        ],
    ),
    Misconception(
        "both_ties_counted",
        "the divisor counts pairs that are tied in a and in b at once; such a pair is tied in each of the two, and "
        "belongs to neither number",
        _from_counts(lambda c, d, x, y, z: (c - d) / math.sqrt((c + d + x + z) * (c + d + y + z))),
    ),
    Misconception(
        "only_untied_in_one",
        "the divisor takes the ties of one ranking into account and not those of the other",
        [
            _from_counts(lambda c, d, x, y, z: (c - d) / (c + d + x)),
            _from_counts(lambda c, d, x, y, z: (c - d) / (c + d + y)),
            _from_counts(lambda c, d, x, y, z: (c - d) / math.sqrt((c + d + x) * (c + d + x + y + z))),
            _from_counts(lambda c, d, x, y, z: (c - d) / math.sqrt((c + d + y) * (c + d + x + y + z))),
        ],
    ),
    Misconception(
        "tau_c",
        "this is Stuart's tau-c, made for tables with different numbers of levels; it is right for none of the cases "
        "with ties, and tau-b is asked for",
        _tau_c,
    ),
    Misconception(
        "no_root",
        "the divisor is the product of the two numbers of untied pairs, without its root: the result shrinks with n",
        _from_counts(lambda c, d, x, y, z: (c - d) / ((c + d + x) * (c + d + y))),
    ),
    Misconception(
        "arithmetic_mean",
        "the balance is divided by the mean of the two numbers of untied pairs; tau-b has the root of their product",
        _from_counts(lambda c, d, x, y, z: 2 * (c - d) / (2 * (c + d) + x + y)),
    ),
    Misconception(
        "pairs_twice",
        "every number is twice, or half, what it should be: on one side of the fraction each pair counts once, on the "
        "other twice",
        [
            lambda a, b: 2 * kendall_tau(a, b),
            lambda a, b: kendall_tau(a, b) / 2,
        ],
    ),
    Misconception(
        "pairs_with_themselves",
        "the divisor counts each thing paired with itself: n² in place of n (n − 1)",
        lambda a, b: float((_signs(a) * _signs(b)).mean()),
    ),
    Misconception(
        "not_divided",
        "the number of agreeing minus opposed pairs comes back, without a division: it grows with n",
        [
            lambda a, b: _counts(a, b)[0] - _counts(a, b)[1],
            lambda a, b: float((_signs(a) * _signs(b)).sum()),
        ],
    ),
    Misconception(
        "share_of_agreeing",
        "the result lies between 0 and 1: it is the share of agreeing pairs, from which that of opposed ones was not "
        "taken away",
        [
            _from_counts(lambda c, d, x, y, z: c / (c + d + x + y + z)),
            _from_counts(lambda c, d, x, y, z: c / (c + d) if c + d else 0.0),
            _from_counts(lambda c, d, x, y, z: c / math.sqrt((c + d + x) * (c + d + y))),
        ],
    ),
    Misconception(
        "distance",
        "the result grows with disagreement: it is Kendall's distance, a count or a share of opposed pairs",
        [
            lambda a, b: _counts(a, b)[1],
            _from_counts(lambda c, d, x, y, z: d / (c + d + x + y + z)),
        ],
    ),
    Misconception(
        "reversed_sign",
        "the sign is the other way round: the same order gives −1",
        lambda a, b: -kendall_tau(a, b),
    ),
    Misconception(
        "magnitude",
        "the result is never negative: a reversed order gives 1 like the same one",
        lambda a, b: abs(kendall_tau(a, b)),
    ),
    Misconception(
        "argsort_for_ranks",
        "the result compares argsort(a) with argsort(b), the lists of which thing comes first, second, third; the rank "
        "of each thing is argsort of argsort, and tau needs no ranks",
        [_on(_order), _on(lambda x: torch.argsort(-x, stable=True).double())],
    ),
    Misconception(
        "ties_broken_by_place",
        "ties are gone: ranks from argsort of argsort are all different, and break each tie by the place in the list",
        [_on(_ordinal), _on(_ordinal, guard=False)],
    ),
    Misconception(
        "absolute_scores",
        "the magnitudes of the scores are ranked: a large negative score is among the highest",
        [
            _on(torch.abs),
            _on(torch.abs, guard=False),
            lambda a, b: 0.0 if _constant(b) else kendall_tau(a.abs(), b),
        ],
    ),
    Misconception(
        "neighbours_only",
        "only things that stand side by side were compared: n − 1 pairs of n (n − 1) / 2",
        _neighbours,
    ),
    Misconception(
        "small_differences_tied",
        "scores near 0 count as equal: two scores are tied if they are equal, not if they are close",
        [
            _on(lambda x: torch.round(x, decimals=8)),
            _on(lambda x: torch.round(x, decimals=8), guard=False),
            _on(lambda x: torch.round(x, decimals=6)),
            _on(lambda x: torch.round(x, decimals=5)),
            _on(lambda x: torch.round(x, decimals=4)),
        ],
    ),
    Misconception(
        "nan_for_constant",
        "right, but NaN or an error where a or b is constant: nothing is left to divide by, and 0.0 is wanted there",
        [_if_constant(math.nan), _raises_for_constant],
    ),
    Misconception(
        "product_underflows",
        "right for scores of ordinary size, and 0 for tiny ones: the product of two tiny differences is 0 in floating "
        "point; take the sign of each difference first",
        _sign_of_product,
    ),
    Misconception(
        "one_for_constant",
        "1 where a or b is constant: such scores rank nothing, so they agree with nothing; 0.0 is wanted",
        [
            _if_constant(1.0),
            lambda a, b: 1.0 if _constant(a) and _constant(b) else kendall_tau(a, b),
            lambda a, b: 1.0 if len(a) == 1 else kendall_tau(a, b),
        ],
    ),
    Misconception(
        "sorted_in_place",
        "a and b are in another order after the call: the tensors given were sorted in place",
        _sorts_in_place,
    ),
)


# --- leave_one_out ---------------------------------------------------------------------------------------------------


def leave_one_out(f, ids, mask_id):
    whole, changes = f(ids), []
    for i in range(len(ids)):
        masked = ids.clone()
        masked[i] = mask_id
        changes.append(whole - f(masked))
    return torch.tensor(changes, dtype=torch.float64)


def loo_by_where(f, ids, mask_id):
    places = torch.arange(len(ids))
    return [f(ids) - f(torch.where(places == i, mask_id, ids)) for i in range(len(ids))]


def loo_by_table(f, ids, mask_id):
    table = ids.repeat(len(ids), 1).fill_diagonal_(mask_id)  # (T, T)
    return f(ids) - np.array([f(row) for row in table])


def loo_by_lists(f, ids, mask_id):
    words = ids.tolist()
    return torch.tensor([f(ids) - f(torch.tensor([*words[:i], mask_id, *words[i + 1 :]])) for i in range(len(words))])


def loo_with_restoring(f, ids, mask_id):
    work, whole = ids.clone(), f(ids)
    change = torch.zeros(len(ids))
    for i in range(len(ids)):
        kept = int(work[i])
        work[i] = mask_id
        change[i] = whole - f(work)
        work[i] = kept
    return change


def _loo(erase=None, combine=None, finish=None):
    """An answer in parts: how a token is erased, how the two numbers meet, what happens to the list."""

    def masked(ids, i, mask_id):
        ids = ids.clone()
        ids[i] = mask_id
        return ids

    def answer(f, ids, mask_id):
        whole = f(ids.clone())
        changes = []
        for i in range(len(ids)):
            without = f((erase or masked)(ids, i, mask_id))
            changes.append((combine or (lambda a, b: a - b))(whole, without))
        found = torch.tensor(changes, dtype=torch.float64)
        return (finish or (lambda x: x))(found)

    return answer


def _deleted(ids, i, mask_id):
    return torch.cat([ids[:i], ids[i + 1 :]])


def _shifted(ids, i, mask_id):
    return torch.cat([ids[:i], ids[i + 1 :], torch.tensor([mask_id])])


def _shifted_back(ids, i, mask_id):
    return torch.cat([torch.tensor([mask_id]), ids[:i], ids[i + 1 :]])


def _all_alike(ids, i, mask_id):
    return torch.where(ids == ids[i], mask_id, ids)


def _others(ids, i, mask_id):
    kept = torch.full_like(ids, mask_id)
    kept[i] = ids[i]
    return kept


def _up_to(ids, i, mask_id):
    masked = ids.clone()
    masked[: i + 1] = mask_id
    return masked


def _from_here(ids, i, mask_id):
    masked = ids.clone()
    masked[i:] = mask_id
    return masked


def _fixed(number):
    def erase(ids, i, mask_id):
        masked = ids.clone()
        masked[i] = number
        return masked

    return erase


def _with_mask_inserted(ids, i, mask_id):
    return torch.cat([ids[:i], torch.tensor([mask_id]), ids[i:]])


def _loo_in_place(f, ids, mask_id):
    whole, changes = f(ids), []
    for i in range(len(ids)):
        ids[i] = mask_id
        changes.append(whole - f(ids))
    return torch.tensor(changes)


def _loo_one_copy(f, ids, mask_id):
    return _loo_in_place(f, ids.clone(), mask_id)


def _loo_whole_after(f, ids, mask_id):
    """The copy is a view, so the sentence itself is masked before f sees it."""
    changes = []
    for i in range(len(ids)):
        masked = ids
        masked[i] = mask_id
        changes.append(f(ids) - f(masked))
    return torch.tensor(changes)


def _loo_restored_in_place(f, ids, mask_id):
    change = leave_one_out(f, ids, mask_id)
    ids[-1] = mask_id
    return change


def _loo_step_by_step(f, ids, mask_id):
    masked, before, changes = ids.clone(), f(ids), []
    for i in range(len(ids)):
        masked[i] = mask_id
        after = f(masked)
        changes.append(before - after)
        before = after
    return torch.tensor(changes)


def _loo_alone(f, ids, mask_id):
    """What token i adds to a sentence of nothing but masks."""
    nothing = torch.full_like(ids, mask_id)
    return torch.tensor([f(_others(ids, i, mask_id)) - f(nothing) for i in range(len(ids))])


def _loo_into_ids(f, ids, mask_id):
    change = torch.zeros_like(ids)
    for i, number in enumerate(leave_one_out(f, ids, mask_id).tolist()):
        change[i] = number
    return change


def _sentence(rng, length, low=3):
    """Ids of one sentence, no two the same."""
    return rng.permutation(np.arange(low, VOCABULARY))[:length]


def _score(rng, **params):
    return Built("sentence_score", {"seed": int(rng.integers(2**31)), **params})


def loo_cases(rng):
    for length in (5, 8):
        yield Case("signed_change", (_score(rng), _sentence(rng, length), 1))
    yield Case("signed_change", (_score(rng, offset=20.0), _sentence(rng, 6), 1))
    yield Case("signed_change", (_score(rng, offset=-30.0), _sentence(rng, 4), 2))
    for mask_id in (0, 2, 103, 57):
        ids = _sentence(rng, 5)
        ids = np.where(ids == mask_id, 4, ids)
        yield Case("any_mask_id", (_score(rng), ids, mask_id))
    ids = _sentence(rng, 7)
    ids[[2, 5]] = ids[0]
    yield Case("repeated_words", (_score(rng), ids, 1))
    ids = _sentence(rng, 6)
    ids[[1, 4]] = 1
    yield Case("repeated_words", (_score(rng), ids, 1))
    yield Case("repeated_words", (_score(rng), np.array([9, 9, 9, 9]), 0))
    yield Case("short_sentences", (_score(rng), _sentence(rng, 1), 1))
    yield Case("short_sentences", (_score(rng, offset=5.0), _sentence(rng, 1), 0))
    yield Case("short_sentences", (_score(rng), _sentence(rng, 2), 1))
    yield Case("short_sentences", (_score(rng), _sentence(rng, 3), 1))  # the ends alone do not explain this one


LOO_MISCONCEPTIONS = (
    Misconception(
        "absolute",
        "no entry is negative: the sign, which says whether a word speaks for or against, is lost",
        _loo(finish=torch.abs),
    ),
    Misconception(
        "sign",
        "every entry has the opposite sign: f without the word minus f with it, where f(ids) comes first",
        _loo(combine=lambda a, b: b - a),
    ),
    Misconception(
        "deletes_and_shifts",
        "the word is taken out and those behind it move up, so each of them changes its place as well; a mask keeps "
        "every other word where it was",
        [_loo(_deleted), _loo(_shifted), _loo(_shifted_back)],
    ),
    Misconception(
        "masks_pile_up",
        "entry i is the change when the tokens 0 to i are all masked: one and the same copy is masked further and "
        "further",
        [_loo(_up_to), _loo_one_copy],
    ),
    Misconception(
        "masks_pile_up_in_place",
        "entry i is the change when the tokens 0 to i are all masked, and ids itself is all masks after the call: it "
        "was written into, not copied",
        _loo_in_place,
    ),
    Misconception(
        "not_a_copy",
        "every entry is 0, and ids is all masks after the call: a second name for a tensor is no copy of it, so f sees "
        "the same thing twice",
        _loo_whole_after,
    ),
    Misconception(
        "masks_the_rest",
        "entry i is the change when every token but i is masked",
        _loo(_others),
    ),
    Misconception(
        "step_by_step",
        "entry i is the change from one masked sentence to the next: masks pile up, and each is compared with the one "
        "before, where f(ids) is the measure for all",
        _loo_step_by_step,
    ),
    Misconception(
        "word_alone",
        "the entries are about token i alone among masks, what f gives for it or what it adds there; the other tokens "
        "are to stay as they are",
        [_loo_alone, _loo(_others, combine=lambda a, b: b)],
    ),
    Misconception(
        "order",
        "the entries are places, an order of the tokens; asked for are the changes themselves",
        [_loo(finish=lambda x: x.argsort(descending=True)), _loo(finish=torch.argsort)],
    ),
    Misconception(
        "masks_from_here_on",
        "entry i is the change when token i and all behind it are masked",
        _loo(_from_here),
    ),
    Misconception(
        "by_word",
        "every place where the word stands is masked at once: ids equal to ids[i], where place i alone is meant",
        _loo(_all_alike),
    ),
    Misconception(
        "fixed_mask",
        "the id in place of the token is always the same number, whatever mask_id is",
        [_loo(_fixed(number)) for number in (0, 1, 103)],
    ),
    Misconception(
        "mask_inserted",
        "the mask stands before the word, not in place of it: the sentence is one longer",
        _loo(_with_mask_inserted),
    ),
    Misconception(
        "without_the_word",
        "these are the values of f without each word; from f(ids) they have to be taken away",
        _loo(combine=lambda a, b: b),
    ),
    Misconception(
        "relative",
        "each change is divided by f(ids)",
        _loo(combine=lambda a, b: (a - b) / a),
    ),
    Misconception(
        "normalised",
        "the changes are rescaled, to sum to 1 or to a largest of 1; asked for are the changes themselves",
        [
            _loo(finish=lambda x: x / x.abs().sum()),
            _loo(finish=lambda x: x / x.sum()),
            _loo(finish=lambda x: x / x.abs().max()),
            _loo(finish=lambda x: torch.softmax(x, dim=0)),
        ],
    ),
    Misconception(
        "squared",
        "the changes are squared",
        _loo(finish=lambda x: x**2),
    ),
    Misconception(
        "whole_numbers",
        "the changes are whole numbers: they were written into a tensor of int64, made like ids",
        [_loo_into_ids, lambda f, ids, mask_id: leave_one_out(f, ids, mask_id).long()],
    ),
    Misconception(
        "positive_part",
        "negative changes are 0: a word that speaks against counts as one that says nothing",
        _loo(finish=lambda x: x.clamp(min=0)),
    ),
    Misconception(
        "off_by_one",
        "the entries stand one place off: entry i belongs to the token before or after token i",
        [_loo(finish=lambda x: x.roll(1)), _loo(finish=lambda x: x.roll(-1))],
    ),
    Misconception(
        "summed",
        "one number comes back, where there is one for each token",
        [_loo(finish=lambda x: x.sum()), _loo(finish=lambda x: x.mean()), _loo(finish=lambda x: x.abs().max())],
    ),
    Misconception(
        "ids_overwritten",
        "the changes are right, and ids is another after the call: its copy was none",
        _loo_restored_in_place,
    ),
)


# --- grad_x_input ----------------------------------------------------------------------------------------------------


def _gradient(f, x):
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(f(leaf), leaf)[0]


def grad_x_input(f, x):
    return (_gradient(f, x) * x.detach()).sum(dim=-1)


def gxi_by_backward(f, x):
    leaf = x.detach().clone().requires_grad_(True)
    f(leaf).backward()
    return torch.einsum("tc,tc->t", leaf.grad, leaf.detach())


def gxi_by_loops(f, x):
    gradient = torch.func.grad(f)(x.detach())
    return [sum(float(g) * float(n) for g, n in zip(*rows, strict=True)) for rows in zip(gradient, x, strict=True)]


def gxi_by_scaling(f, x):
    """The derivative of f when row t is multiplied by 1 + s_t, at s = 0."""
    scale = torch.ones(len(x), 1, dtype=x.dtype, requires_grad=True)
    return torch.autograd.grad(f(scale * x.detach()), scale)[0][:, 0]


def gxi_cleared(f, x):
    x.requires_grad_(True)
    x.grad = None
    f(x).backward()
    scores = (x.grad * x).sum(-1).detach()
    x.requires_grad_(False)
    return scores


def gxi_with_graph(f, x):
    x = x.clone().requires_grad_() if not x.requires_grad else x
    (gradient,) = torch.autograd.grad(f(x), [x], create_graph=True)
    return torch.diagonal(gradient @ x.T)


def gxi_by_jvp(f, x):
    x = x.detach()
    rows = torch.eye(len(x), dtype=x.dtype)[:, :, None] * x  # (T, T, C): row t of x, zeros elsewhere
    return torch.stack([torch.func.jvp(f, (x,), (row,))[1].detach() for row in rows])


def _gxi(rule):
    return lambda f, x: rule(_gradient(f, x), x.detach())


def _adds_to_old(f, x):
    """backward() on x itself adds to what x.grad holds."""
    x.requires_grad_()
    f(x).backward()
    return (x.grad * x).sum(dim=-1).detach()


def _per_token_adding(f, x):
    """One backward pass per token, none of them cleared."""
    leaf, scores = x.detach().clone().requires_grad_(), []
    for t in range(len(x)):
        f(leaf).backward()
        scores.append((leaf.grad[t] * leaf[t]).sum().detach())
    return torch.stack(scores)


def _occlusion(f, x):
    x, changes = x.detach(), []
    for t in range(len(x)):
        without = x.clone()
        without[t] = 0
        changes.append((f(x) - f(without)).detach())
    return torch.stack(changes)


def _at_zero(f, x):
    return (_gradient(f, torch.zeros_like(x)) * x.detach()).sum(-1)


def _integrated(f, x):
    steps = 32
    total = sum(_gradient(f, (s + 0.5) / steps * x) for s in range(steps)) / steps
    return (total * x.detach()).sum(-1)


def _requires_no_gradient(f, x):
    (gradient,) = torch.autograd.grad(f(x), x)
    return (gradient * x).sum(-1)


def _backward_without(f, x):
    f(x).backward()
    return (x.grad * x).sum(-1)


def _x_multiplied(f, x):
    gradient = _gradient(f, x)
    with torch.no_grad():
        x *= gradient
    return x.detach().sum(dim=-1)


def gxi_cases(rng):
    def f(name, tokens, width, **params):
        return Built(name, {"tokens": tokens, "width": width, "seed": int(rng.integers(2**31)), **params})

    def case(check, name, tokens, width, dtype=np.float64, old=False, size=1.0, **params):
        x = size * rng.normal(size=(tokens, width))
        inputs = (f(name, tokens, width, **params), x.astype(dtype))
        return Case(check, (*inputs, True) if old else inputs)

    yield case("signed_dot", "linear", 5, 3)
    yield case("signed_dot", "linear", 4, 4)
    yield case("signed_dot", "bent", 3, 6)
    yield case("where_x_matters", "bent", 6, 4)
    yield case("where_x_matters", "bent", 4, 4)
    yield case("where_x_matters", "pooling", 5, 3, reads=5)
    yield case("where_x_matters", "bent", 5, 3, size=1.7)
    yield case("unread_tokens", "pooling", 6, 4, reads=2)
    yield case("unread_tokens", "pooling", 5, 5, reads=1)
    for tokens, width in ((1, 4), (4, 1), (1, 1)):
        yield case("sizes_of_1", "bent", tokens, width)
    yield case("old_gradient", "linear", 4, 3, old=True)
    yield case("old_gradient", "bent", 5, 2, old=True)
    for dtype in (np.float32, np.float64):
        yield case(KEEPS_DTYPE, "bent", 4, 3, dtype)


GXI_MISCONCEPTIONS = (
    Misconception(
        "gradient_norm",
        "these are the lengths of the gradients: the input is not in them, and they are never negative",
        [
            _gxi(lambda g, x: g.norm(dim=-1)),
            _gxi(lambda g, x: g.abs().sum(dim=-1)),
            _gxi(lambda g, x: g.square().sum(dim=-1)),
        ],
    ),
    Misconception(
        "gradient_alone",
        "this is the gradient, or its sum over the width, without the input",
        [_gxi(lambda g, x: g), _gxi(lambda g, x: g.sum(dim=-1)), _gxi(lambda g, x: g.mean(dim=-1))],
    ),
    Misconception(
        "not_summed",
        "there is a number for every entry of x, (T, C): the products have to be summed over the width, to one per "
        "token",
        _gxi(lambda g, x: g * x),
    ),
    Misconception(
        "summed_over_tokens",
        "the products are summed over the tokens: there is one number per column of x, (C,), not one per token",
        _gxi(lambda g, x: (g * x).sum(dim=0)),
    ),
    Misconception(
        "summed_over_everything",
        "one number comes back: the products are summed over the tokens as well",
        _gxi(lambda g, x: (g * x).sum()),
    ),
    Misconception(
        "mean_over_width",
        "the products are averaged over the width: a dot product is their sum",
        _gxi(lambda g, x: (g * x).mean(dim=-1)),
    ),
    Misconception(
        "absolute",
        "no entry is negative: the sign, which says whether a token pushes f up or down, is lost",
        [
            _gxi(lambda g, x: (g * x).sum(dim=-1).abs()),
            _gxi(lambda g, x: (g * x).sum(dim=-1).square()),
            _gxi(lambda g, x: (g * x).sum(dim=-1).clamp(min=0)),
        ],
    ),
    Misconception(
        "product_norm",
        "no entry is negative: lengths or magnitudes were multiplied or taken of each product, where products with "
        "their signs are added up",
        [
            _gxi(lambda g, x: (g * x).norm(dim=-1)),
            _gxi(lambda g, x: (g * x).abs().sum(dim=-1)),
            _gxi(lambda g, x: g.norm(dim=-1) * x.norm(dim=-1)),
            _gxi(lambda g, x: (g.abs() * x.abs()).sum(dim=-1)),
        ],
    ),
    Misconception(
        "half_signed",
        "one factor of each product has lost its sign",
        [_gxi(lambda g, x: (g.abs() * x).sum(dim=-1)), _gxi(lambda g, x: (g * x.abs()).sum(dim=-1))],
    ),
    Misconception(
        "sign",
        "every entry has the opposite sign",
        _gxi(lambda g, x: -(g * x).sum(dim=-1)),
    ),
    Misconception(
        "accumulates",
        "right for a fresh x, but an older gradient of x is added in: backward adds to x.grad, torch.autograd.grad or "
        "a copy of x starts from nothing",
        _adds_to_old,
    ),
    Misconception(
        "accumulates_over_tokens",
        "entry t is t + 1 times what is wanted: one backward pass per token, each adding to the gradient of the passes "
        "before",
        _per_token_adding,
    ),
    Misconception(
        "occlusion",
        "these are the changes of f when a token's vector is set to zeros: the same for a linear f, and not for one "
        "that bends; a gradient looks at x alone",
        _occlusion,
    ),
    Misconception(
        "at_zero",
        "the gradient was taken at an input of zeros, not at x",
        _at_zero,
    ),
    Misconception(
        "integrated",
        "the gradient is averaged on the way from zeros to x: these are integrated gradients, another method",
        _integrated,
    ),
    Misconception(
        "no_requires_grad",
        "the gradient by x was asked for before x was told to record one: requires_grad_() comes before f",
        [_requires_no_gradient, _backward_without],
    ),
    Misconception(
        "normalised",
        "the scores are rescaled, to a sum, a length or a largest of 1",
        [
            _gxi(lambda g, x: (g * x).sum(-1) / (g * x).sum(-1).abs().sum()),
            _gxi(lambda g, x: (g * x).sum(-1) / (g * x).sum()),
            _gxi(lambda g, x: (g * x).sum(-1) / (g * x).sum(-1).norm()),
            _gxi(lambda g, x: (g * x).sum(-1) / (g * x).sum(-1).abs().max()),
            _gxi(lambda g, x: torch.softmax((g * x).sum(-1), dim=0)),
            _gxi(lambda g, x: torch.cosine_similarity(g, x, dim=-1)),
        ],
    ),
    Misconception(
        "input_alone",
        "the gradient is not in these numbers: they are sums or lengths of the vectors in x",
        [_gxi(lambda g, x: x.sum(dim=-1)), _gxi(lambda g, x: x.norm(dim=-1)), _gxi(lambda g, x: (x * x).sum(-1))],
    ),
    Misconception(
        "all_pairs",
        "there is a number for every pair of tokens, (T, T): the gradient of one token times the vector of another; "
        "wanted are the pairs of a token with itself",
        [_gxi(lambda g, x: g @ x.T), _gxi(lambda g, x: x @ g.T)],
    ),
    Misconception(
        "another_dtype",
        "the scores have one and the same dtype, whatever that of x",
        [lambda f, x: grad_x_input(f, x).float(), lambda f, x: grad_x_input(f, x).double()],
    ),
    Misconception(
        "x_multiplied_in_place",
        "x is another after the call: it was multiplied by the gradient in place",
        _x_multiplied,
    ),
)


# --- attention_permutation_test --------------------------------------------------------------------------------------


def attention_permutation_test(f, weights, rng, trials):
    p = f(weights)
    distances = sorted(
        float((p - f(weights[torch.from_numpy(rng.permutation(len(weights)))])).abs().sum()) / 2 for _ in range(trials)
    )
    return (distances[(trials - 1) // 2] + distances[trials // 2]) / 2


def permutation_in_numpy(f, weights, rng, trials):
    before = np.asarray(f(weights), dtype=float)
    found = [np.abs(before - np.asarray(f(rng.permutation(weights.numpy())))).sum() / 2 for _ in range(trials)]
    return np.median(found)


def permutation_by_shuffle(f, weights, rng, trials):
    """One copy is shuffled further and further, and f(weights) is asked for anew each time."""
    work, found = weights.numpy().copy(), []
    for _ in range(trials):
        rng.shuffle(work)
        gone = (f(weights) - f(torch.from_numpy(work.copy()))).clamp(min=0)
        found.append(gone.sum())  # what one loses the other gains
    return torch.quantile(torch.stack(found), 0.5)


def permutation_by_keys(f, weights, rng, trials):
    """All orders at once, by sorting random keys."""
    orders = torch.from_numpy(rng.random((trials, len(weights))).argsort(axis=1))
    shuffled = torch.stack([f(row) for row in weights[orders]])  # (trials, K)
    distances = 0.5 * (shuffled - f(weights)).abs().sum(dim=1)
    ordered = distances.sort().values
    return ordered[[(trials - 1) // 2, trials // 2]].mean()


def permutation_by_vmap(f, weights, rng, trials):
    table = np.tile(np.arange(len(weights)), (trials, 1))
    rows = weights[torch.from_numpy(rng.permuted(table, axis=1))]
    distances = torch.vmap(f)(rows).sub(f(weights)).abs().sum(dim=-1) / 2
    return float(np.median(distances.numpy()))


def permutation_by_torch_generator(f, weights, rng, trials):
    """torch's own generator, seeded from rng."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    p, found = f(weights), []
    for _ in range(trials):
        order = torch.randperm(len(weights), generator=generator)
        found.append(torch.cdist(p[None], f(weights[order])[None], p=1).item() / 2)
    return float(np.median(found))


def permutation_by_swaps(f, weights, rng, trials):
    """Fisher and Yates by hand."""
    numbers, found, p = weights.tolist(), [], f(weights)
    for _ in range(trials):
        row = list(numbers)
        for i in range(len(row) - 1, 0, -1):
            j = int(rng.integers(i + 1))
            row[i], row[j] = row[j], row[i]
        q = f(torch.tensor(row, dtype=weights.dtype))
        found.append(sum(abs(float(a) - float(b)) for a, b in zip(p, q, strict=True)) / 2)
    found.sort()
    middle = len(found) // 2
    return found[middle] if len(found) % 2 else 0.5 * (found[middle - 1] + found[middle])


def _tv(p, q):
    return float((p - q).abs().sum()) / 2


def _shuffle_of(weights, rng):
    return weights[torch.from_numpy(rng.permutation(len(weights)))]


def _test(summary=np.median, distance=_tv, shuffle=_shuffle_of, count=lambda trials: trials):
    """An answer in four parts: the summary, the distance, the shuffle, how many there are."""

    def answer(f, weights, rng, trials):
        p = f(weights)
        found = [distance(p, f(shuffle(weights, rng))) for _ in range(count(trials))]
        return float(summary(found)) if found else 0.0

    return answer


def _lower(found):
    return sorted(found)[(len(found) - 1) // 2]


def _upper(found):
    return sorted(found)[len(found) // 2]


def _l1(p, q):
    return 2 * _tv(p, q)


def _permutes_values(f, weights, rng, trials):
    p = f(weights)
    return float(np.median([_tv(p, _shuffle_of(p, rng)) for _ in range(trials)]))


def _permutes_values_numpy(f, weights, rng, trials):
    p = np.asarray(f(weights))
    return float(np.median([0.5 * np.abs(p - rng.permutation(p)).sum() for _ in range(trials)]))


def _tensor_shuffled(f, weights, rng, trials):
    """rng.shuffle swaps views of a tensor's entries, so that numbers are copied over each other."""
    p, found = f(weights), []
    for _ in range(trials):
        row = weights.clone()
        rng.shuffle(row)
        found.append(_tv(p, f(row)))
    return float(np.median(found))


def _random_weights(weights, rng):
    return torch.from_numpy(rng.dirichlet(np.ones(len(weights)))).to(weights.dtype)


def _uniform_weights(weights, rng):
    rng.random()
    return torch.full_like(weights, 1 / len(weights))


def _rolled(weights, rng):
    return weights.roll(int(rng.integers(len(weights))))


def _one_swap(weights, rng):
    i, j = rng.choice(len(weights), 2, replace=False)
    row = weights.clone()
    row[i], row[j] = weights[j], weights[i]
    return row


def _with_replacement(weights, rng):
    return weights[torch.from_numpy(rng.integers(len(weights), size=len(weights)))]


def _always_another(weights, rng):
    while True:
        order = rng.permutation(len(weights))
        if not (order == np.arange(len(weights))).any():
            return weights[torch.from_numpy(order)]


def _never_the_same(weights, rng):
    while True:
        order = rng.permutation(len(weights))
        if (order != np.arange(len(weights))).any():
            return weights[torch.from_numpy(order)]


def _from_torch(weights, rng):
    return weights[torch.randperm(len(weights))]


def _from_numpy(weights, rng):
    return weights[torch.from_numpy(np.random.default_rng().permutation(len(weights)))]


def _own_generator(f, weights, rng, trials):
    return attention_permutation_test(f, weights, np.random.default_rng(0), trials)


def _copied_generator(f, weights, rng, trials):
    return attention_permutation_test(f, weights, copy.deepcopy(rng), trials)


def _same_generator(weights, rng):
    return _shuffle_of(weights, np.random.default_rng(0))


def _one_order(f, weights, rng, trials):
    order = torch.from_numpy(rng.permutation(len(weights)))
    p = f(weights)
    return float(np.median([_tv(p, f(weights[order])) for _ in range(trials)]))


def _no_shuffle(weights, rng):
    rng.permutation(len(weights))
    return weights


def _successive(f, weights, rng, trials):
    rows = [f(weights), *(f(_shuffle_of(weights, rng)) for _ in range(trials))]
    return float(np.median([_tv(a, b) for a, b in itertools.pairwise(rows)]))


def _of_median_output(f, weights, rng, trials):
    q = torch.stack([f(_shuffle_of(weights, rng)) for _ in range(trials)])
    return _tv(f(weights), torch.from_numpy(np.median(q.numpy(), axis=0)))


def _of_mean_output(f, weights, rng, trials):
    q = torch.stack([f(_shuffle_of(weights, rng)) for _ in range(trials)])
    return _tv(f(weights), q.mean(dim=0))


def _shuffled_in_place(f, weights, rng, trials):
    p, found = f(weights), []
    for _ in range(trials):
        weights[:] = _shuffle_of(weights, rng)
        found.append(_tv(p, f(weights)))
    return float(np.median(found))


def _view_shuffled(f, weights, rng, trials):
    """.numpy() shares its memory with the tensor, so f(weights) is of the shuffled weights too."""
    row, found = weights.numpy(), []
    for _ in range(trials):
        rng.shuffle(row)
        found.append(_tv(f(weights), f(torch.from_numpy(row))))
    return float(np.median(found))


def permutation_cases(rng):
    def case(check, tokens, count, trials, *, dtype=np.float64, again=False, sharpness=3.0, weights=None):
        built = Built(
            "classes", {"tokens": tokens, "count": count, "seed": int(rng.integers(2**31)), "sharpness": sharpness}
        )
        if weights is None:
            weights = rng.dirichlet(np.ones(tokens))
            while np.diff(np.sort(weights)).min() < 0.01 / tokens:
                weights = rng.dirichlet(np.ones(tokens))
        return Case(check, (built, weights.astype(dtype), Seed(int(rng.integers(2**31))), trials, again))

    yield case("median_distance", 7, 3, 9)
    yield case("median_distance", 6, 5, 11)
    yield case("median_distance", 9, 4, 7, dtype=np.float32)
    yield case("median_distance", 8, 2, 5)
    yield case("median_distance", 5, 5, 15)
    yield case("median_distance", 8, 3, 1)
    yield case("even_trials", 7, 3, 8)
    yield case("even_trials", 6, 4, 2)
    yield case("no_change", 6, 3, 5, sharpness=0.0)
    yield case("no_change", 4, 3, 6, weights=np.full(4, 0.25))
    yield case("follows_rng", 8, 3, 5, again=True)
    yield case("fair_shuffles", 4, 2, 480)


_CLASSES = next(e for e in EXERCISES if e.id == "attention_permutation_test").builders["classes"]
ENOUGH = 5  # trials after which none but the order given is no accident any more


def _output(case, row):
    """What f gives for a row, computed here."""
    return _CLASSES(**case.inputs[0].params)(torch.from_numpy(np.asarray(row, dtype=np.float64))).numpy()


def _rows_fault(case, given):
    """What is wrong with the weights that f was given, as (kind, sentence); or None."""
    weights, trials = case.inputs[1].astype(float), case.inputs[3]
    if len(given) == 0:
        return "uncalled", "f was never called"
    if not isinstance(given, np.ndarray) or given.shape[1:] != weights.shape:
        return "shape", f"f was given {describe(given[0])}; a row of {len(weights)} weights is wanted"
    same = np.isclose(given, weights, rtol=0, atol=1e-6).all(axis=1)
    kept = np.isclose(np.sort(given, axis=1), np.sort(weights), rtol=0, atol=1e-6).all(axis=1)
    if not kept.all():
        row = given[~kept][0]
        known = np.isclose(row[:, None], weights, rtol=0, atol=1e-6).any(axis=1).all()
        if known:
            return "repeats", f"f was given {_row(row)}, in which some weights occur twice and others not at all"
        return "others", f"f was given {_row(row)}, which is not a shuffle of weights, {_row(weights)}"
    if not same.any():
        return "no_base", "f was never given weights in the order in which they came"
    alike = np.ptp(weights) < 1e-9
    if same.all() and not alike and (trials >= ENOUGH or len(given) == 1):
        if len(given) == 1:
            return "asked_once", "f was asked once, about weights in the order in which they came"
        return "unshuffled", "f was given weights in the order in which they came, and in no other"
    distinct = len(np.unique(np.round(given[~same], 9), axis=0))
    if trials >= ENOUGH and distinct == 1 and not alike and case.check != "fair_shuffles":
        return "one_order", "f was given a single shuffled order, each time the same"
    extra = len(given) - trials
    if extra < 1 or extra > same.sum():
        return "count", f"f was called {len(given)} times; {trials} shuffles and at least one f(weights) are wanted"
    return None


def _row(numbers):
    return "[" + ", ".join(f"{number:.3g}" for number in numbers[:6]) + (", …]" if len(numbers) > 6 else "]")


def _distances(case, given):
    """Base, outputs of the shuffles in their order, and total variation of each to the base."""
    weights, trials = case.inputs[1].astype(float), case.inputs[3]
    same = np.isclose(given, weights, rtol=0, atol=1e-6).all(axis=1)
    drop = np.flatnonzero(same)[: len(given) - trials]  # calls of f(weights) itself
    base = _output(case, weights)
    outputs = np.stack([_output(case, row) for row in np.delete(given, drop, axis=0)])
    return base, outputs, np.abs(outputs - base).sum(axis=1) / 2


# Summaries that give another number than the median total variation, the likeliest first.
_OTHERS = {
    "lower": lambda p, q, tv: _lower(tv),
    "upper": lambda p, q, tv: _upper(tv),
    "not_halved": lambda p, q, tv: 2 * np.median(tv),
    "mean": lambda p, q, tv: tv.mean(),
    "not_halved_lower": lambda p, q, tv: 2 * _lower(tv),
    "mean_not_halved": lambda p, q, tv: 2 * tv.mean(),
    "largest": lambda p, q, tv: tv.max(),
    "smallest": lambda p, q, tv: tv.min(),
    "largest_class": lambda p, q, tv: np.median(np.abs(q - p).max(axis=1)),
    "mean_over_classes": lambda p, q, tv: np.median(np.abs(q - p).mean(axis=1)),
    "euclidean": lambda p, q, tv: np.median(np.linalg.norm(q - p, axis=1)),
    "squares": lambda p, q, tv: np.median(np.square(q - p).sum(axis=1)),
    "half_squares": lambda p, q, tv: np.median(np.square(q - p).sum(axis=1)) / 2,
    "first_class": lambda p, q, tv: np.median(np.abs(q - p)[:, 0]),
    "half_first_class": lambda p, q, tv: np.median(np.abs(q - p)[:, 0]) / 2,
    "last_class": lambda p, q, tv: np.median(np.abs(q - p)[:, -1]),
    "top_class": lambda p, q, tv: np.median(np.abs(q - p)[:, p.argmax()]),
    "signed_sum": lambda p, q, tv: np.median((p - q).sum(axis=1) / 2),
    "of_median_output": lambda p, q, tv: np.abs(np.median(q, axis=0) - p).sum() / 2,
    "of_mean_output": lambda p, q, tv: np.abs(q.mean(axis=0) - p).sum() / 2,
    "last_trial": lambda p, q, tv: tv[-1],
    "first_trial": lambda p, q, tv: tv[0],
    "sum": lambda p, q, tv: tv.sum(),
    "std": lambda p, q, tv: tv.std(),
    "kept": lambda p, q, tv: 1 - np.median(tv),
    "successive": lambda p, q, tv: np.median(np.abs(np.diff(np.vstack([p, q]), axis=0)).sum(axis=1) / 2),
}


def _close(a, b):
    """Whether two distances are the same, also if one was computed in float32."""
    return np.isclose(a, b, rtol=1e-4, atol=2e-6)


def _value_fault(case, result, given):
    base, outputs, tv = _distances(case, given)
    wanted = np.median(tv)
    if _close(result, wanted):
        return None
    kind = next((name for name, rule in _OTHERS.items() if _close(result, rule(base, outputs, tv))), "another")
    text = f"the result is {result:.5g}; for the shuffles that f was given the median distance is {wanted:.5g}"
    return kind, text


# Each is exceeded by fair shuffles less than once in a million draws.
MOST_CHI = 85.0  # of 24 orders, 23 degrees of freedom


def _fairness_fault(case, given):
    weights = case.inputs[1].astype(float)
    fault = _rows_fault(case, given)
    if fault and fault[0] != "count":
        return fault
    same = np.isclose(given, weights, rtol=0, atol=1e-6).all(axis=1)
    extra = len(given) - case.inputs[3]
    rows = np.delete(given, np.flatnonzero(same)[:extra], axis=0) if extra > 0 else given
    places = np.argmin(np.abs(rows[:, :, None] - weights), axis=2)  # which weight stands where
    counts = {order: 0 for order in itertools.permutations(range(len(weights)))}
    for order in places.tolist():
        if tuple(order) in counts:
            counts[tuple(order)] += 1
    never = sum(count == 0 for count in counts.values())
    if never:  # each is expected 20 times
        return f"never_{never}", f"of {len(counts)} orders of the weights {never} never occur in {len(rows)} shuffles"
    expected = len(rows) / len(counts)
    chi = sum((count - expected) ** 2 for count in counts.values()) / expected
    if chi < MOST_CHI:
        return None
    return "uneven", f"in {len(rows)} shuffles some of {len(counts)} orders occur far more often than others"


def _rng_fault(outcome):
    first, twin, after = (_flat(outcome[name]) for name in ("given", "twin", "next"))
    if not (first.shape == twin.shape == after.shape):
        return "calls", "calls with the same arguments gave f different numbers of rows"
    if not np.array_equal(first, twin):
        return "elsewhere", "with two generators in the same state f is given different shuffles"
    if np.array_equal(first, after):
        return "repeats", "every call gives f the same shuffles: rng has not moved on"
    return None


def _flat(given):
    return given if isinstance(given, np.ndarray) else np.concatenate([[0.0], *map(np.ravel, given)])


def _permutation_fault(case, outcome):
    """What is wrong with an outcome, as (kind, sentence); or None."""
    result, given = as_array(outcome["result"]), outcome["given"]
    if result is None or result.dtype.kind not in "fiu" or result.shape != ():
        return "structure", f"the result is {describe(outcome['result'])}; a number is wanted"
    if case.check == "fair_shuffles":
        return _fairness_fault(case, given)
    if case.check == "follows_rng":
        fault = _rows_fault(case, given)
        return fault if fault and fault[0] in ("uncalled", "shape", "unshuffled", "asked_once") else _rng_fault(outcome)
    if not np.isfinite(result):
        return "finite", f"the result is {float(result)}"
    return _rows_fault(case, given) or _value_fault(case, float(result), given)


def permutation_agrees(case, wanted, got):
    """Judge an outcome at the shuffles that its f was given; two wrong ones agree if they are wrong in the same way."""
    expected, found = _permutation_fault(case, wanted), _permutation_fault(case, got)
    if found is None:
        return None if expected is None else "right, where a wrong answer is not"
    if expected is None or expected[0] != found[0]:
        return found[1]
    return found[1] if found[0] == "another" else None


PERMUTATION_MISCONCEPTIONS = (
    Misconception(
        "permutes_values",
        "f is asked once, about weights as they are; shuffling its probabilities is something else: the weights are to "
        "be shuffled and f asked again",
        [_permutes_values, _permutes_values_numpy],
    ),
    Misconception(
        "not_halved",
        "each distance is twice what it should be: the total variation is half the sum of |p − q|, since what one "
        "class loses another one gains",
        _test(distance=_l1),
    ),
    Misconception("mean", "this is the mean of the distances, and the median is asked for", _test(summary=np.mean)),
    Misconception(
        "mean+not_halved",
        "this is the mean of the sums of |p − q|: neither halved nor the median",
        _test(summary=np.mean, distance=_l1),
    ),
    Misconception(
        "lower_median",
        "right for an odd number of trials; for an even one this is the lower of the middle two, as torch.median gives "
        "it, and their mean is wanted",
        [
            _test(summary=_lower),
            lambda f, w, rng, trials: torch.median(
                torch.stack([0.5 * (f(w) - f(_shuffle_of(w, rng))).abs().sum() for _ in range(trials)])
            ),
        ],
    ),
    Misconception(
        "upper_median",
        "right for an odd number of trials; for an even one this is the upper of the middle two, and their mean is "
        "wanted",
        _test(summary=_upper),
    ),
    Misconception(
        "lower_median+not_halved",
        "each distance is twice what it should be, and for an even number of trials the lower of the middle two",
        _test(summary=_lower, distance=_l1),
    ),
    Misconception("largest", "this is the largest of the distances", _test(summary=max)),
    Misconception("smallest", "this is the smallest of the distances", _test(summary=min)),
    Misconception("sum", "this is the sum of the distances", _test(summary=sum)),
    Misconception("spread", "this is how far the distances spread, their standard deviation", _test(summary=np.std)),
    Misconception(
        "last_trial",
        "this is the distance of one trial alone, the last or the first",
        [_test(summary=lambda found: found[-1]), _test(summary=lambda found: found[0])],
    ),
    Misconception(
        "largest_class",
        "each distance is that of the class that changes most, the same as the total variation for two classes only",
        _test(distance=lambda p, q: float((p - q).abs().max())),
    ),
    Misconception(
        "one_class",
        "the distances look at a single class: with more than two, the others change as well",
        [
            _test(distance=lambda p, q: float((p - q).abs()[0])),
            _test(distance=lambda p, q: float((p - q).abs()[-1])),
            _test(distance=lambda p, q: float((p - q).abs()[p.argmax()])),
            _test(distance=lambda p, q: float((p - q).abs()[0]) / 2),
        ],
    ),
    Misconception(
        "mean_over_classes",
        "the differences are averaged over the classes: the total variation has half their sum, however many there are",
        _test(distance=lambda p, q: float((p - q).abs().mean())),
    ),
    Misconception(
        "squares",
        "the differences are squared: the total variation adds up their magnitudes",
        [
            _test(distance=lambda p, q: float((p - q).norm())),
            _test(distance=lambda p, q: float((p - q).square().sum())),
            _test(distance=lambda p, q: float((p - q).square().sum()) / 2),
        ],
    ),
    Misconception(
        "signed",
        "the result is 0, whatever the shuffles do: the differences are added with their signs, and both p and q sum "
        "to 1",
        _test(distance=lambda p, q: float((p - q).sum()) / 2),
    ),
    Misconception(
        "averages_first",
        "the shuffled probabilities were averaged, or their median taken class by class, before they were compared: "
        "changes in opposite directions cancel",
        [_of_mean_output, _of_median_output],
    ),
    Misconception(
        "successive",
        "each shuffle is compared with the one before; all of them are to be compared with f(weights)",
        _successive,
    ),
    Misconception(
        "similarity",
        "the result falls as the probabilities move: it is 1 minus the median distance",
        _test(summary=lambda found: 1 - np.median(found)),
    ),
    Misconception(
        "shuffles_a_tensor",
        "in what f was given some weights occur twice and others not at all: they were drawn with replacement, or "
        "rng.shuffle swapped the entries of a tensor through views of itself, which loses one; rng.permutation(T) "
        "gives an order to index with",
        [_tensor_shuffled, _test(shuffle=_with_replacement)],
    ),
    Misconception(
        "other_weights",
        "what f was given is no shuffle of weights: new weights were made, even or random ones",
        [
            _test(shuffle=_random_weights),
            _test(shuffle=_uniform_weights),
            _test(shuffle=lambda w, rng: torch.softmax(_shuffle_of(w, rng), dim=0)),
        ],
    ),
    Misconception(
        "not_shuffled",
        "f was given weights in one order only, the one in which they came",
        _test(shuffle=_no_shuffle),
    ),
    Misconception(
        "one_order",
        "all trials have the same order: it was drawn once, or from a generator that starts anew each time",
        [_one_order, _test(shuffle=_same_generator)],
    ),
    Misconception(
        "wrong_number",
        "the number of shuffles is not trials",
        [
            _test(count=lambda trials: trials - 1),
            _test(count=lambda trials: trials + 1),
            _test(count=lambda trials: 1),
        ],
    ),
    Misconception(
        "few_orders",
        "some orders never occur: weights are moved round in a circle, two of them swapped, or an order is drawn anew "
        "because all or one of them stayed where they were",
        [_test(shuffle=shuffle) for shuffle in (_rolled, _one_swap, _always_another, _never_the_same)],
    ),
    Misconception(
        "another_generator",
        "the shuffles do not come from rng: a generator in the same state gives others, so nobody can repeat the test",
        [_test(shuffle=_from_torch), _test(shuffle=_from_numpy)],
    ),
    Misconception(
        "own_seed",
        "every call makes the same shuffles, whatever rng is: a generator was made or copied inside, and rng never "
        "moves on",
        [_own_generator, _copied_generator],
    ),
    Misconception(
        "shuffled_in_place",
        "weights are in another order after the call: the tensor given was shuffled itself",
        _shuffled_in_place,
    ),
    Misconception(
        "view_shuffled",
        "weights are in another order after the call, and the result is 0: .numpy() shares its memory with the tensor, "
        "so f(weights) saw the shuffled ones as well",
        _view_shuffled,
    ),
)


# --- comprehensiveness and sufficiency -------------------------------------------------------------------------------


def _top(scores, k):
    return torch.argsort(scores, descending=True)[:k]


def comprehensiveness(f, ids, scores, k, mask_id):
    masked = ids.clone()
    masked[_top(scores, k)] = mask_id
    return f(ids) - f(masked)


def sufficiency(f, ids, scores, k, mask_id):
    kept = torch.full_like(ids, mask_id)
    kept[_top(scores, k)] = ids[_top(scores, k)]
    return f(ids) - f(kept)


def comprehensiveness_by_topk(f, ids, scores, k, mask_id):
    return f(ids) - f(ids.index_fill(0, scores.topk(k).indices, mask_id))


def comprehensiveness_by_rank(f, ids, scores, k, mask_id):
    above = (scores[:, None] < scores).sum(dim=1)  # how many are higher
    return torch.tensor(f(ids) - f(torch.where(above < k, mask_id, ids)), dtype=torch.float64)


def comprehensiveness_by_lists(f, ids, scores, k, mask_id):
    order = sorted(range(len(ids)), key=lambda i: -float(scores[i]))
    words = [mask_id if i in order[:k] else int(word) for i, word in enumerate(ids)]
    return np.float64(f(ids)) - f(torch.tensor(words))


def sufficiency_by_the_rest(f, ids, scores, k, mask_id):
    """Mask the T − k lowest."""
    kept = ids.clone()
    kept[scores.argsort()[: len(ids) - k]] = mask_id
    return f(ids) - f(kept)


def sufficiency_by_scatter(f, ids, scores, k, mask_id):
    keep = torch.zeros(len(ids), dtype=torch.bool).scatter(0, torch.topk(scores, k).indices, True)
    return f(ids) - f(ids.masked_fill(~keep, mask_id))


def sufficiency_in_numpy(f, ids, scores, k, mask_id):
    words = np.full(len(ids), mask_id)
    top = np.argsort(-scores.numpy())[:k]
    words[top] = ids.numpy()[top]
    return np.array(f(ids) - f(torch.from_numpy(words)))


def _erasure(keep, choose=None, erase=None, combine=None):
    """An answer in parts: whether the chosen stay or go, how they are chosen, how the rest is erased, the result."""

    def answer(f, ids, scores, k, mask_id):
        chosen = torch.zeros(len(ids), dtype=torch.bool)
        chosen[(choose or _top)(scores, k)] = True
        gone = ~chosen if keep else chosen
        after = (erase or _mask)(ids, gone, mask_id)
        return (combine or (lambda a, b: a - b))(f(ids.clone()), f(after))

    return answer


def _mask(ids, gone, mask_id):
    return torch.where(gone, mask_id, ids)


def _delete(ids, gone, mask_id):
    return ids[~gone]


def _mask_words(ids, gone, mask_id):
    return torch.where(torch.isin(ids, ids[gone]), mask_id, ids)


def _keep_words(ids, gone, mask_id):
    return torch.where(torch.isin(ids, ids[~gone]), ids, mask_id)


def _fill(number):
    return lambda ids, gone, mask_id: torch.where(gone, number, ids)


def _lowest(scores, k):
    return torch.argsort(scores)[:k]


def _largest(scores, k):
    return torch.argsort(scores.abs(), descending=True)[:k]


def _first(scores, k):
    return torch.arange(k)


def _order_for_rank(scores, k):
    return torch.nonzero(torch.argsort(scores, descending=True) < k)[:, 0]


def _order_for_rank_ascending(scores, k):
    return torch.nonzero(torch.argsort(scores) >= len(scores) - k)[:, 0]


def _just_the_kth(scores, k):
    return torch.argsort(scores, descending=True)[k - 1 : k] if k else torch.arange(0)


def _one_more(scores, k):
    return _top(scores, k + 1)


def _one_less(scores, k):
    return _top(scores, max(k - 1, 0))


def _top_but_all_for_0(scores, k):
    return torch.argsort(scores)[-k:]


def _positive_top(scores, k):
    top = _top(scores, k)
    return top[scores[top] > 0]


def _at_least(scores, k):
    """Above a threshold that is the k-th score itself, which is then left out."""
    return torch.nonzero(scores > scores.sort(descending=True).values[k - 1])[:, 0] if k else torch.arange(0)


def _averaged(measure):
    """Over 1 … k, as ERASER averages over shares."""

    def answer(f, ids, scores, k, mask_id):
        return float(np.mean([measure(f, ids, scores, j, mask_id) for j in range(1, k + 1)])) if k else 0.0

    return answer


def _comprehensiveness_in_place(f, ids, scores, k, mask_id):
    before = f(ids)
    ids[_top(scores, k)] = mask_id
    return before - f(ids)


def _sufficiency_in_place(f, ids, scores, k, mask_id):
    before = f(ids)
    ids[torch.argsort(scores)[: len(ids) - k]] = mask_id
    return before - f(ids)


def _same_tensor(measure):
    def answer(f, ids, scores, k, mask_id):
        measure(f, ids, scores, k, mask_id)
        return f(ids) - f(ids)

    return answer


def _scores_sorted(measure):
    def answer(f, ids, scores, k, mask_id):
        found = measure(f, ids, scores, k, mask_id)
        scores[:] = scores.sort(descending=True).values
        return found

    return answer


def _erasure_cases(first):
    def cases(rng):
        def scores(n, low=None):
            numbers = rng.normal(size=n)
            return np.abs(numbers) if low is None else numbers

        for length, k in ((6, 2), (8, 3), (5, 1)):
            yield Case(first, (_score(rng), _sentence(rng, length), scores(length), k, 1))
        yield Case(first, (_score(rng, offset=9.0), _sentence(rng, 7), scores(7).astype(np.float32), 4, 0))
        yield Case(first, (_score(rng, offset=-9.0), _sentence(rng, 9), 1e-6 * scores(9), 2, 103))
        for k in (0, 5):
            yield Case("none_or_all", (_score(rng), _sentence(rng, 5), scores(5), k, 2))
        yield Case("none_or_all", (_score(rng), _sentence(rng, 1), scores(1), 1, 1))
        numbers = scores(7)
        numbers[rng.permutation(7)[:4]] *= -4
        yield Case("negative_scores", (_score(rng), _sentence(rng, 7), numbers, 2, 1))
        yield Case("negative_scores", (_score(rng), _sentence(rng, 6), -scores(6), 3, 1))
        for places, k in (((0, 3, 4), 2), ((1, 2), 1)):
            ids, numbers = _sentence(rng, 7), scores(7)
            ids[list(places)] = ids[places[0]]
            numbers[places[0]] += 5  # one of those that stand twice is at the top, another is not
            yield Case("repeated_words", (_score(rng), ids, numbers, k, 1))

    return cases


def _erasure_misconceptions(keep):
    """Both measures go wrong in the same ways; keep says which of the two it is."""
    own, other = (sufficiency, comprehensiveness) if keep else (comprehensiveness, sufficiency)
    chosen, rest = ("kept", "masked") if keep else ("masked", "kept")
    meant = "sufficiency" if keep else "comprehensiveness"
    mistaken = "comprehensiveness" if keep else "sufficiency"
    return (
        Misconception(
            "swapped",
            f"this is {mistaken}: the k highest-scored tokens are {rest}, where for {meant} they are {chosen}",
            [other, _erasure(not keep, erase=_mask_words if not keep else _keep_words)],
        ),
        Misconception(
            "ascending",
            f"the k lowest-scored tokens are {chosen}, not the highest: argsort is ascending unless told otherwise",
            [_erasure(keep, _lowest)],
        ),
        Misconception(
            "swapped+ascending",
            f"the k lowest-scored tokens are {rest}: the order is ascending, and this is {mistaken}",
            _erasure(not keep, _lowest),
        ),
        Misconception(
            "deletes",
            "tokens are taken out of the sentence, so those behind them move up; masked means that mask_id stands in "
            "their place",
            _erasure(keep, erase=_delete),
        ),
        Misconception(
            "absolute",
            "the result is never negative: the sign of the change is lost",
            _erasure(keep, combine=lambda a, b: abs(a - b)),
        ),
        Misconception(
            "sign",
            "the sign is the other way round: f(ids) comes first, and f of the masked sentence is taken away from it",
            _erasure(keep, combine=lambda a, b: b - a),
        ),
        Misconception(
            "after_alone",
            "this is f of the masked sentence; it has to be taken away from f(ids)",
            _erasure(keep, combine=lambda a, b: b),
        ),
        Misconception(
            "relative",
            "the change is divided by f(ids), or is a quotient",
            [_erasure(keep, combine=lambda a, b: (a - b) / a), _erasure(keep, combine=lambda a, b: b / a)],
        ),
        Misconception(
            "largest_magnitude",
            "tokens are chosen by the magnitude of their scores: a strongly negative one counts among the highest",
            _erasure(keep, _largest),
        ),
        Misconception(
            "positive_only",
            "of the k highest-scored tokens those with a negative score are left out",
            _erasure(keep, _positive_top),
        ),
        Misconception(
            "first_k",
            f"the first k tokens of the sentence are {chosen}, whatever their scores",
            _erasure(keep, _first),
        ),
        Misconception(
            "argsort_for_ranks",
            "the tokens are chosen by comparing argsort with k: entry j of argsort is the place of the j-th token in "
            "order, not the rank of token j; its first k entries are the places that count",
            [_erasure(keep, _order_for_rank), _erasure(keep, _order_for_rank_ascending)],
        ),
        Misconception(
            "only_the_kth",
            f"a single token is {chosen}, the k-th highest; all of the k highest are meant",
            _erasure(keep, _just_the_kth),
        ),
        Misconception(
            "one_too_many",
            f"k + 1 tokens are {chosen}",
            _erasure(keep, _one_more),
        ),
        Misconception(
            "one_too_few",
            f"k − 1 tokens are {chosen}: the k-th highest is among those that count",
            [_erasure(keep, _one_less), _erasure(keep, _at_least)],
        ),
        Misconception(
            "none_is_all",
            "right, but for k = 0 every token is taken: a slice [-0:] is the whole list",
            _erasure(keep, _top_but_all_for_0),
        ),
        Misconception(
            "by_word",
            "a word that stands at several places goes or stays at all of them at once; single places were scored",
            [_erasure(keep, erase=_keep_words if keep else _mask_words)],
        ),
        Misconception(
            "fixed_mask",
            "the id in place of a token is always the same number, whatever mask_id is",
            [_erasure(keep, erase=_fill(number)) for number in (0, 1, 103)],
        ),
        Misconception(
            "averaged",
            "the change is averaged over 1 to k tokens, as ERASER averages over several shares; one k is asked for",
            _averaged(own),
        ),
        Misconception(
            "in_place",
            "the change is right, and ids is masked after the call: it was written into, not copied",
            _sufficiency_in_place if keep else _comprehensiveness_in_place,
        ),
        Misconception(
            "not_a_copy",
            "the result is 0, and ids is masked after the call: both values of f are of the masked sentence",
            _same_tensor(_sufficiency_in_place if keep else _comprehensiveness_in_place),
        ),
        Misconception(
            "scores_sorted",
            "the change is right, and scores are in another order after the call: they were sorted in place",
            _scores_sorted(own),
        ),
    )


# --- plausible_or_faithful -------------------------------------------------------------------------------------------


def as_words(case, answer):
    """Four words, whatever they stand in: a tuple, a list, a text with commas."""
    if isinstance(answer, str):
        answer = answer.replace(",", " ").split()
    if isinstance(answer, np.ndarray):
        answer = answer.tolist()
    return tuple(str(word).strip().strip("()[]\"'.,:").lower() for word in answer)


SCENARIOS = ("faithful", "plausible", "neither", "both")

WORDS = (
    Misconception(
        "swapped",
        "plausible and faithful have changed places: plausible is what convinces a reader, faithful what was used",
        ("plausible", "faithful", "neither", "both"),
    ),
    Misconception(
        "looks_right",
        "B is taken for faithful because the marked words look right; masking them changed nothing, so the prediction "
        "does not rest on them",
        [("faithful", "both", "neither", "both"), ("faithful", "faithful", "neither", "both")],
    ),
    Misconception(
        "model_knows",
        "A is taken for plausible because the prediction rests on it; whether a reader would mark a serial number is "
        "another question",
        [("both", "plausible", "neither", "both"), ("plausible", "plausible", "neither", "both")],
    ),
    Misconception(
        "computed_so_faithful",
        "C is taken for faithful: that the weights are part of the computation does not make the prediction depend on "
        "the words they stand on, and masking them changed nothing",
        [("faithful", "plausible", "faithful", "both"), ("faithful", "faithful", "faithful", "both")],
    ),
    Misconception(
        "one_excludes_the_other",
        "D is given one of the two words; a reader would mark the words and the prediction rests on them: that is both",
        [("faithful", "plausible", "neither", "faithful"), ("faithful", "plausible", "neither", "plausible")],
    ),
)


REFERENCES = (
    Reference(
        id="kendall_tau",
        reference=kendall_tau,
        accepted=(tau_by_loops, tau_by_groups, tau_by_correlation, tau_in_numpy, tau_by_ranks),
        misconceptions=TAU_MISCONCEPTIONS,
        cases=tau_cases,
    ),
    Reference(
        id="leave_one_out",
        reference=leave_one_out,
        accepted=(loo_by_where, loo_by_table, loo_by_lists, loo_with_restoring),
        misconceptions=LOO_MISCONCEPTIONS,
        cases=loo_cases,
    ),
    Reference(
        id="grad_x_input",
        reference=grad_x_input,
        accepted=(gxi_by_backward, gxi_by_loops, gxi_by_scaling, gxi_cleared, gxi_with_graph, gxi_by_jvp),
        misconceptions=GXI_MISCONCEPTIONS,
        cases=gxi_cases,
    ),
    Reference(
        id="attention_permutation_test",
        reference=attention_permutation_test,
        accepted=(
            permutation_in_numpy,
            permutation_by_shuffle,
            permutation_by_keys,
            permutation_by_vmap,
            permutation_by_torch_generator,
            permutation_by_swaps,
        ),
        misconceptions=PERMUTATION_MISCONCEPTIONS,
        cases=permutation_cases,
        agree=permutation_agrees,
    ),
    Reference(
        id="comprehensiveness",
        reference=comprehensiveness,
        accepted=(comprehensiveness_by_topk, comprehensiveness_by_rank, comprehensiveness_by_lists),
        misconceptions=_erasure_misconceptions(keep=False),
        cases=_erasure_cases("without_the_top"),
    ),
    Reference(
        id="sufficiency",
        reference=sufficiency,
        accepted=(sufficiency_by_the_rest, sufficiency_by_scatter, sufficiency_in_numpy),
        misconceptions=_erasure_misconceptions(keep=True),
        cases=_erasure_cases("only_the_top"),
    ),
    Reference(
        id="plausible_or_faithful",
        reference=SCENARIOS,
        accepted=(list(SCENARIOS), ", ".join(SCENARIOS), np.array(SCENARIOS), tuple(w.title() for w in SCENARIOS)),
        misconceptions=WORDS,
        cases=lambda rng: [Case("prediction")],
        view=as_words,
    ),
)
