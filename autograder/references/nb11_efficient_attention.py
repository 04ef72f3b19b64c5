"""Notebook 11, the hidden half: references, accepted and wrong answers, cases.

Long, since eleven exercises share the module and each has wrong answers in several natural shapes.
"""

import math

import numpy as np

from autograder.exercise import KEEPS_DTYPE, Case, Misconception, Reference, Seed
from autograder.exercises.nb11_efficient_attention import SHARE

# --- shared ----------------------------------------------------------------------------------------------------------


class Measured(str):
    """How much memory a long call took, in words; two are equal when both keep within the budget or both do not."""

    fits: bool

    def __new__(cls, peak: int, budget: int, n: int, fits: bool) -> "Measured":
        limit = "within" if fits else "more than"
        made = super().__new__(cls, f"{peak / 1e6:.0f} MB at n = {n}, {limit} the {budget / 1e6:.0f} MB allowed")
        made.fits = fits
        return made

    def __eq__(self, other):
        return isinstance(other, Measured) and self.fits == other.fits

    def __hash__(self):
        return hash(self.fits)


def memory_and_rows(case, result):
    """A view: of a long call the memory, and the rows of its output only if the memory was kept within the budget."""
    if case.check != "memory":
        return result
    if result["unseen"]:
        return {"memory": f"not measured: {result['unseen']}", "rows": 0}
    n = case.keywords["n"]
    budget = 4 * n * n // SHARE
    memory = Measured(result["peak"], budget, result["n"], result["n"] == n and result["peak"] <= budget)
    return {"memory": memory, "rows": result["rows"] if memory.fits else 0}


def _softmax(scores, axis=-1, shift="row"):
    """shift: what is subtracted before exp: the maximum of each row, of all, or nothing."""
    top = scores.max(axis=axis, keepdims=True) if shift == "row" else scores.max() if shift == "all" else 0
    if shift == "row":
        top = np.where(np.isneginf(top), 0, top).astype(scores.dtype)
    with np.errstate(all="ignore"):
        e = np.exp(scores - top)
        total = e.sum(axis=axis, keepdims=True)
        if shift == "row":
            total = np.where(total == 0, 1, total).astype(scores.dtype)
        return e / total


def _by_sqrt_d(q, k, v):
    return 1 / math.sqrt(q.shape[-1])


SCALES = {
    "no_scale": lambda q, k, v: 1.0,
    "by_d": lambda q, k, v: 1 / q.shape[-1],
    "times_sqrt_d": lambda q, k, v: math.sqrt(q.shape[-1]),
    "by_sqrt_dv": lambda q, k, v: 1 / math.sqrt(v.shape[-1]),
    "by_sqrt_n": lambda q, k, v: 1 / math.sqrt(len(k)),
}


def attend(q, k, v, mask=None, scale=_by_sqrt_d, hide="before", axis=-1, shift="row", empty="zero"):
    """Full attention with some of its parts replaced; without options it is a right one.

    hide: how the mask is used: before, after (without sharing out again) or as a score of 0.
    empty: what a query without keys gets: zero, nan, or even shares.
    """
    scores = (q @ k.T * scale(q, k, v)).astype(q.dtype)
    if mask is not None and hide == "before":
        scores = np.where(mask, scores, -1e9 if empty == "even" else -np.inf).astype(q.dtype)
    elif mask is not None and hide == "zero":
        scores = np.where(mask, scores, 0).astype(q.dtype)
    weights = _softmax(scores, axis, shift)
    if mask is not None and hide == "after":
        weights = weights * mask
    if empty == "nan" and mask is not None:
        weights = np.where(mask.any(axis=-1, keepdims=True), weights, np.nan).astype(q.dtype)
    return weights @ v


def _with_a_table(answer):
    """A right answer that also holds n × n entries, twice: cheaper to run than one that fills them."""

    def wasteful(q, *rest, **keywords):
        table = np.empty((2, len(q), len(q)), q.dtype)
        out = answer(q, *rest, **keywords)
        return out + 0 * table.size

    return wasteful


def _wider(answer):
    return lambda *inputs, **keywords: np.asarray(answer(*inputs, **keywords)).astype(np.float64)


def _narrower(answer):
    return lambda *inputs, **keywords: np.asarray(answer(*inputs, **keywords)).astype(np.float32)


def _qkv(rng, n, d, dv, dtype=np.float64):
    return tuple(rng.normal(size=size).astype(dtype) for size in ((n, d), (n, d), (n, dv)))


def _large(rng, n, d, dv):
    """Queries and keys whose scores reach about ±10000; the first query's and the last one's are all far below 0."""
    q, k, v = _qkv(rng, n, d, dv)
    q, k = 60 * (1 + np.abs(q)), 60 * (1 + np.abs(k))
    signs = np.where(np.arange(n) % 2, 1.0, -1.0)
    signs[-1] = -1.0
    factor = math.sqrt(9500 / (q @ k.T / math.sqrt(d)).max())
    q, k = q * signs[:, None] * factor, k * factor
    # Neighbours in pairs whose scores lie about 1 apart, so that weights other than 0 and 1 tell the scale.
    k[1::2] = k[0 : n - 1 : 2] + rng.normal(size=k[1::2].shape) / np.abs(q).mean()
    return q, k, v


LOST = (
    "float32 became float64: np.sqrt of a number, an array that np.zeros made, or a float64 number in between does that"
)
ALWAYS_32 = "float64 became float32: the dtype was set, not taken from the inputs"


# --- window_mask -----------------------------------------------------------------------------------------------------


def window_mask(n, w):
    place = np.arange(n)
    return np.abs(place[:, None] - place) <= w


def window_by_loops(n, w):
    return [[abs(i - j) <= w for j in range(n)] for i in range(n)]


def window_by_triangles(n, w):
    return np.tri(n, k=w, dtype=bool) & np.tri(n, k=w, dtype=bool).T


def window_by_rows(n, w):
    mask = np.zeros((n, n), dtype=bool)
    for i in range(n):
        mask[i, max(0, i - w) : i + w + 1] = True
    return mask


def window_by_diagonals(n, w):
    mask = np.zeros((n, n), dtype=bool)
    for offset in range(-w, w + 1):
        mask |= np.eye(n, k=offset, dtype=bool)
    return mask


def _distance(rule):
    """A mask from a rule on i − j, a column minus a row: `rule(i_minus_j, n, w)`."""
    return lambda n, w: np.asarray(rule(np.arange(n)[:, None] - np.arange(n), n, w))


def _window_cut_at_0(n, w):
    mask = np.zeros((n, n), dtype=bool)
    for i in range(n):
        mask[i, i - w : i + w + 1] = True
    return mask


def window_cases(rng):
    for n, w in ((7, 2), (6, 1), (9, 3), (12, 4)):
        yield Case("within_w", (n, w))
    for n, w in ((5, 0), (1, 0), (1, 3), (4, 3), (4, 4), (3, 9)):
        yield Case("narrow_and_wide", (n, w))


WINDOW_MISCONCEPTIONS = (
    Misconception(
        "total_width",
        "the window is half as wide as asked for: w counts the positions on each side, not those of the whole window",
        [
            _distance(lambda d, n, w: np.abs(d) <= w // 2),
            _distance(lambda d, n, w: np.abs(d) <= (w - 1) // 2),
            _distance(lambda d, n, w: np.abs(d) <= w / 2),
            _distance(lambda d, n, w: 2 * np.abs(d) < w),
            _distance(lambda d, n, w: (-(w // 2) <= d) & (d < w - w // 2)),
        ],
    ),
    Misconception(
        "strictly_less",
        "positions exactly w apart are left out: |i − j| ≤ w includes them",
        _distance(lambda d, n, w: np.abs(d) < w),
    ),
    Misconception(
        "one_too_far",
        "positions w + 1 apart are let in on both sides",
        _distance(lambda d, n, w: np.abs(d) <= w + 1),
    ),
    Misconception("twice_as_wide", "the window reaches 2w to each side", _distance(lambda d, n, w: np.abs(d) <= 2 * w)),
    Misconception(
        "last_one_missing",
        "the key w places after the query is left out and the one w places before it is not: a slice a:b ends before b",
        _distance(lambda d, n, w: (d <= w) & (-d < w)),
    ),
    Misconception(
        "past_only",
        "only keys up to the query's own position are on: the window has another side",
        [_distance(lambda d, n, w: (d >= 0) & (d <= w)), _distance(lambda d, n, w: (d >= 0) & (d < w))],
    ),
    Misconception(
        "future_only",
        "only keys from the query's own position on are on: the window has another side",
        [_distance(lambda d, n, w: (d <= 0) & (-d <= w)), _distance(lambda d, n, w: (d <= 0) & (-d < w))],
    ),
    Misconception(
        "no_absolute_value",
        "one side of the window has no end: i − j without the absolute value is negative there, and always at most w",
        [_distance(lambda d, n, w: d <= w), _distance(lambda d, n, w: -d <= w)],
    ),
    Misconception(
        "wraps_around",
        "the window goes round the end: the last positions see the first ones, and a sentence is no ring",
        [
            _distance(lambda d, n, w: np.minimum(np.abs(d), n - np.abs(d)) <= w),
            _distance(lambda d, n, w: (d % n <= w) | (-d % n <= w)),
        ],
    ),
    Misconception(
        "first_rows_lost",
        "the first w rows are not what they should be: i − w is below 0 there, which in a slice counts from the end",
        _window_cut_at_0,
    ),
    Misconception(
        "blocks",
        "positions of one block see each other and nothing beyond it, so that neighbours on two sides of a border do "
        "not meet: a window moves along with the query",
        [
            _distance(lambda d, n, w: (np.arange(n)[:, None] // max(w, 1)) == (np.arange(n) // max(w, 1))),
            _distance(lambda d, n, w: (np.arange(n)[:, None] // (w + 1)) == (np.arange(n) // (w + 1))),
            _distance(lambda d, n, w: (np.arange(n)[:, None] // (2 * w + 1)) == (np.arange(n) // (2 * w + 1))),
        ],
    ),
    Misconception(
        "border_only", "only the positions exactly w apart are on", _distance(lambda d, n, w: np.abs(d) == w)
    ),
    Misconception(
        "without_itself",
        "the diagonal is off: a position is at distance 0 from itself",
        _distance(lambda d, n, w: (np.abs(d) <= w) & (d != 0)),
    ),
    Misconception(
        "inverted",
        "every entry is the opposite: True means may attend",
        _distance(lambda d, n, w: np.abs(d) > w),
    ),
    Misconception(
        "numbers",
        "the entries are numbers 0 and 1, where True and False are wanted: a mask of numbers picks rows when it "
        "indexes",
        [
            _distance(lambda d, n, w: (np.abs(d) <= w).astype(int)),
            _distance(lambda d, n, w: (np.abs(d) <= w).astype(float)),
        ],
    ),
    Misconception(
        "scores_instead",
        "the entries are 0 and −∞, something to add to scores: the mask wanted is True where the key may be seen",
        _distance(lambda d, n, w: np.where(np.abs(d) <= w, 0.0, -np.inf)),
    ),
)


# --- layers_to_connect -----------------------------------------------------------------------------------------------


def layers_to_connect(mask):
    n = len(mask)
    step = mask | np.eye(n, dtype=bool)
    known = np.eye(n, dtype=bool)
    for layers in range(n):
        if known.all():
            return layers
        known = step @ known
    return None


def layers_by_search(mask):
    """From each token backwards along the arrows, breadth first."""
    n, worst = len(mask), 0
    for start in range(n):
        seen, border, steps = {start}, [start], 0
        while border:
            border = list(dict.fromkeys(j for i in border for j in range(n) if mask[i, j] and j not in seen))
            seen |= set(border)
            steps += bool(border)
        if len(seen) < n:
            return None
        worst = max(worst, steps)
    return worst


def layers_by_distances(mask):
    """Floyd and Warshall's shortest paths."""
    d = np.where(np.asarray(mask), 1.0, np.inf)
    np.fill_diagonal(d, 0)
    for m in range(len(d)):
        d = np.minimum(d, d[:, m, None] + d[None, m])
    return None if np.isinf(d).any() else int(d.max())


def layers_by_powers(mask):
    step = (mask + np.eye(len(mask))) > 0
    for layers in range(len(mask)):
        if (np.linalg.matrix_power(step.astype(float), layers) > 0).all():
            return np.int64(layers)
    return None


def layers_the_other_way(mask):
    known, layers = np.eye(len(mask), dtype=int), 0
    while not known.all():
        further = ((known @ mask.T.astype(int) + known) > 0).astype(int)
        if np.array_equal(further, known):
            return None
        known, layers = further, layers + 1
    return layers


def _layers(prepare=lambda mask: mask | np.eye(len(mask), dtype=bool), done=np.all, never=None, add=0, start=0):
    """A count with some parts replaced: what one layer is, when it ends, what never is, and what is added."""

    def count(mask):
        step, known = prepare(mask), np.eye(len(mask), dtype=bool)
        for _ in range(start):
            known = step @ known
        for layers in range(start, 2 * len(mask) + 2):
            if done(known):
                return layers + add
            known = step @ known
        return never

    return count


def _squared(mask):
    known = mask | np.eye(len(mask), dtype=bool)
    for layers in range(1, len(mask) + 1):
        if known.all():
            return 0 if len(mask) == 1 else layers
        known = known @ known
    return None


def _diagonal_set(mask):
    np.fill_diagonal(mask, True)
    return layers_to_connect(mask)


def _mask_grown(mask):
    mask |= np.eye(len(mask), dtype=bool)
    return layers_to_connect(mask)


def _gives_up(limit):
    def count(mask):
        found = layers_to_connect(mask)
        return found if found is None or found <= limit(len(mask)) else None

    return count


def _ring(n):
    """Token i attends to i − 1, token 0 to the last."""
    return np.roll(np.eye(n, dtype=bool), -1, axis=1)


def _path(n):
    return window_mask(n, 1) & ~np.eye(n, dtype=bool)


def _star(n, centre):
    mask = np.zeros((n, n), dtype=bool)
    mask[centre] = mask[:, centre] = True
    mask[centre, centre] = False
    return mask


def _random_ways(rng, n):
    """A ring in random order and a few more arrows: everyone reaches everyone, by ways that differ back and forth."""
    order = rng.permutation(n)
    mask = np.eye(n, dtype=bool)
    mask[order, np.roll(order, 1)] = True
    for _ in range(2):
        mask[rng.integers(n), rng.integers(n)] = True
    return mask


def layers_cases(rng):
    for n, w in ((8, 1), (9, 2), (11, 3), (5, 4), (33, 1)):
        yield Case("windows", (window_mask(n, w),))
    for n in (6, 9):
        yield Case("directions", (_ring(n) | np.eye(n, dtype=bool),))
        yield Case("directions", (_random_ways(rng, n),))
    near = np.eye(7, dtype=bool) | _ring(7)
    yield Case("directions", (near @ near @ near,))  # steps of 0 to 3 one way round
    yield Case("residual", (_path(6),))
    yield Case("residual", (_star(5, 2),))
    yield Case("residual", (~np.eye(2, dtype=bool),))
    yield Case("residual", (~np.eye(4, dtype=bool),))
    yield Case("residual", (_ring(7),))
    two = np.zeros((5, 5), dtype=bool)
    two[:2, :2] = two[2:, 2:] = True
    for mask in (
        np.eye(3, dtype=bool),
        np.tri(5, dtype=bool),
        np.zeros((2, 2), dtype=bool),
        two,
        np.tri(4, dtype=bool).T,
    ):
        yield Case("never", (mask,))
    for value in (True, False):
        yield Case("one_token", (np.array([[value]]),))


LAYERS_MISCONCEPTIONS = (
    Misconception(
        "directions_ignored",
        "an arrow is also followed backwards: where a causal mask never lets the first word hear the last, there is a "
        "number",
        _layers(lambda mask: mask | mask.T | np.eye(len(mask), dtype=bool)),
    ),
    Misconception(
        "no_residual",
        "where the diagonal of the mask is False the number is too large or missing: powers of the bare mask forget "
        "what a token already has",
        [_layers(lambda mask: mask), _layers(lambda mask: mask, start=1)],
    ),
    Misconception("one_more", "the numbers here are one too large", [_layers(add=1), _layers(add=1, never=-1)]),
    Misconception("one_less", "the numbers here are one too small", _layers(add=-1)),
    Misconception(
        "doubled",
        "the number grows like the logarithm of the length: the matrix was squared, and one more squaring is worth as "
        "many layers as all before it",
        _squared,
    ),
    Misconception(
        "one_source",
        "the count stops once a single token is heard by all, or hears all: every token has to hear of every other",
        [
            _layers(done=lambda known: known[:, 0].all()),
            _layers(done=lambda known: known[0].all()),
            _layers(done=lambda known: known[:, -1].all()),
            _layers(done=lambda known: known[-1].all()),
            _layers(done=lambda known: known.all(axis=1).any()),
            _layers(done=lambda known: known.all(axis=0).any()),
        ],
    ),
    Misconception(
        "ends_only",
        "the count stops once the first and the last token have met: others may still be apart",
        [
            _layers(done=lambda known: known[-1, 0]),
            _layers(done=lambda known: known[0, -1]),
            _layers(done=lambda known: known[0, -1] and known[-1, 0]),
        ],
    ),
    Misconception(
        "never_is_a_number",
        "where some token can never hear of another there is a number instead of None",
        [
            _layers(never=-1),
            _layers(never=0),
            _layers(never=float("inf")),
            lambda mask: layers_to_connect(mask) or len(mask),
        ],
    ),
    Misconception(
        "first_layer_always_counted",
        "a single token needs 1 layer here: it knows everything before any layer, so the count begins at 0",
        _layers(start=1),
    ),
    Misconception(
        "gives_up_early",
        "long chains give None although they are connected: a window of 1 over n tokens needs n − 1 layers",
        [
            _gives_up(lambda n: max(n - 2, 1)),
            _gives_up(lambda n: n // 2),
            _gives_up(lambda n: 10),
            _gives_up(lambda n: 20),
        ],
    ),
    Misconception(
        "changes_mask",
        "mask is another after the call: np.fill_diagonal(mask, …) and mask |= … write into the array given",
        [_diagonal_set, _mask_grown],
    ),
)


# --- layers_with_a_global --------------------------------------------------------------------------------------------


def as_number(case, answer):
    """A whole number, also from a text, an array of one, or a float."""
    if isinstance(answer, np.ndarray):
        answer = answer.item()
    if isinstance(answer, (tuple, list)) and len(answer) == 1:
        answer = answer[0]
    number = float(answer)
    if isinstance(answer, bool) or number != int(number):
        raise ValueError("not a whole number")
    return int(number)


GLOBAL_LAYERS = (
    Misconception(
        "one",
        "1 would need every word to see every other: *hot* and *dropped* do not, so what one knows takes a stop on the "
        "way to the other",
        1,
    ),
    Misconception(
        "still_seven", "7 is the number without the global word: no word has to hand on what *she* passes at once", 7
    ),
    Misconception(
        "halved",
        "the way from word to word along the row is not the shortest any more: every word hears *she*, and *she* hears "
        "every word",
        [3, 4, 5, 6],
    ),
)


# --- longformer_mask -------------------------------------------------------------------------------------------------


def longformer_mask(n, w, global_idx):
    mask = window_mask(n, w)
    chosen = np.asarray(global_idx, dtype=int)
    mask[chosen] = True
    mask[:, chosen] = True
    return mask


def longformer_by_loops(n, w, global_idx):
    chosen = set(int(g) for g in global_idx)
    return [[abs(i - j) <= w or i in chosen or j in chosen for j in range(n)] for i in range(n)]


def longformer_by_union(n, w, global_idx):
    special = np.zeros(n, dtype=bool)
    special[list(global_idx)] = True
    return window_mask(n, w) | special[:, None] | special[None, :]


def longformer_by_isin(n, w, global_idx):
    special = np.isin(np.arange(n), global_idx)
    return np.where(special[:, None] | special, True, window_mask(n, w))


def longformer_one_by_one(n, w, global_idx):
    mask = np.array(window_mask(n, w))
    for g in global_idx:
        mask[g, :] = mask[:, g] = True
    return mask


def _special(n, global_idx):
    special = np.zeros(n, dtype=bool)
    special[[int(g) for g in global_idx]] = True
    return special


def _longformer(combine, window=window_mask):
    """A mask from the window and from which positions are global: `combine(near, rows, columns)`."""

    def mask(n, w, global_idx):
        special = _special(n, global_idx)
        near = np.asarray(window(n, w))
        return combine(near, np.repeat(special[:, None], n, axis=1), np.repeat(special[None], n, axis=0))

    return mask


def _either(near, rows, columns):
    return near | rows | columns


def _first_global(n, w, global_idx):
    return longformer_mask(n, w, list(global_idx)[:1])


def _last_global(n, w, global_idx):
    return longformer_mask(n, w, list(global_idx)[-1:])


def _count_of_globals(n, w, global_idx):
    return longformer_mask(n, w, range(len(global_idx)))


def _from_to(n, w, global_idx):
    if len(global_idx) == 0:
        return window_mask(n, w)
    return longformer_mask(n, w, range(min(global_idx), max(global_idx) + 1))


def _as_float_index(n, w, global_idx):
    mask = window_mask(n, w)
    chosen = np.array(global_idx)
    mask[chosen] = True
    mask[:, chosen] = True
    return mask


def _needs_a_global(n, w, global_idx):
    _first, *_ = global_idx
    return longformer_mask(n, w, global_idx)


def _sorts_in_place(n, w, global_idx):
    if isinstance(global_idx, (list, np.ndarray)):
        global_idx.sort()
    return longformer_mask(n, w, global_idx)


def _consumes(n, w, global_idx):
    if not isinstance(global_idx, list):
        return longformer_mask(n, w, global_idx)
    mask = window_mask(n, w)
    while global_idx:
        g = global_idx.pop()
        mask[g] = mask[:, g] = True
    return mask


def _as_one_index(n, w, global_idx):
    """A tuple as an index names one entry of several axes, not several rows."""
    mask = window_mask(n, w)
    mask[global_idx] = True
    mask[:, global_idx] = True
    return mask


def longformer_cases(rng):
    far, near = int(rng.integers(5, 8)), int(rng.integers(1, 4))
    yield Case("rows_and_columns", (10, 1, [near]))
    yield Case("rows_and_columns", (10, 2, [0, far]))
    yield Case("rows_and_columns", (8, 0, [7, near]))
    yield Case("rows_and_columns", (13, 1, np.array([10, far, near])))
    yield Case("forms_of_global_idx", (9, 1, (near, far)))
    yield Case("forms_of_global_idx", (9, 1, (near + 2,)))
    yield Case("forms_of_global_idx", (9, 2, [8, 0, 8, near]))
    yield Case("forms_of_global_idx", (9, 1, np.array([far, 0])))
    yield Case("forms_of_global_idx", (3, 9, [1]))
    yield Case("forms_of_global_idx", (1, 0, [0]))
    yield Case("no_global", (6, 1, []))
    yield Case("no_global", (6, 1, ()))
    yield Case("no_global", (6, 1, np.array([], dtype=int)))


LONGFORMER_MISCONCEPTIONS = (
    Misconception(
        "rows_only",
        "global positions attend everywhere, but nobody beyond the window attends to them: their columns are missing",
        _longformer(lambda near, rows, columns: near | rows),
    ),
    Misconception(
        "columns_only",
        "everyone attends to the global positions, but they see no further than the window: their rows are missing",
        _longformer(lambda near, rows, columns: near | columns),
    ),
    Misconception(
        "crossings_only",
        "global positions see each other and no further: only the entries where a global row meets a global column are "
        "on",
        _longformer(lambda near, rows, columns: near | (rows & columns)),
    ),
    Misconception(
        "window_lost",
        "only rows and columns of global positions are on: the window is missing",
        _longformer(lambda near, rows, columns: rows | columns),
    ),
    Misconception(
        "window_and_global",
        "an entry is on only where it is near and global at once: either is enough",
        _longformer(lambda near, rows, columns: near & (rows | columns)),
    ),
    Misconception(
        "first_global_only",
        "only one of the positions in global_idx is global",
        [_first_global, _last_global],
    ),
    Misconception(
        "count_instead_of_positions",
        "the first positions are global, as many as global_idx has entries: it lists which ones",
        _count_of_globals,
    ),
    Misconception(
        "range_between", "all positions between the smallest and the largest in global_idx are global", _from_to
    ),
    Misconception(
        "total_width",
        "the window is half as wide as asked for: w counts the positions on each side",
        [
            _longformer(_either, window=lambda n, w: window_mask(n, w // 2)),
            _longformer(_either, window=lambda n, w: window_mask(n, (w - 1) // 2)),
        ],
    ),
    Misconception(
        "total_width+rows_only",
        "the window is half as wide as asked for, and the columns of the global positions are missing",
        _longformer(lambda near, rows, columns: near | rows, window=lambda n, w: window_mask(n, w // 2)),
    ),
    Misconception(
        "strictly_less",
        "positions exactly w apart are left out: |i − j| ≤ w includes them",
        _longformer(_either, window=lambda n, w: window_mask(n, w - 1)),
    ),
    Misconception(
        "past_only",
        "outside the global rows and columns only keys up to the query's own position are on",
        _longformer(_either, window=lambda n, w: window_mask(n, w) & np.tri(n, dtype=bool)),
    ),
    Misconception(
        "wraps_around",
        "the window goes round the end: the last positions see the first ones, and a sentence is no ring",
        _longformer(_either, window=WINDOW_MISCONCEPTIONS[8].variants[0]),
    ),
    Misconception("inverted", "every entry is the opposite: True means may attend", lambda *a: ~longformer_mask(*a)),
    Misconception(
        "numbers",
        "the entries are numbers 0 and 1, where True and False are wanted",
        [lambda *a: longformer_mask(*a).astype(int), lambda *a: longformer_mask(*a).astype(float)],
    ),
    Misconception(
        "float_index",
        "an empty list fails: np.array([]) holds float64, and floats cannot index; np.asarray(global_idx, dtype=int) "
        "can",
        _as_float_index,
    ),
    Misconception("needs_a_global", "an empty global_idx fails: then the window alone is wanted", _needs_a_global),
    Misconception(
        "tuple_as_one_index",
        "a list works and a tuple does not: as an index, a tuple names one entry by several axes, not several rows",
        _as_one_index,
    ),
    Misconception(
        "changes_global_idx",
        "global_idx is another after the call: it was sorted or emptied in place",
        [_sorts_in_place, _consumes],
    ),
)


# --- local_attention -------------------------------------------------------------------------------------------------


def local_attention(q, k, v, w):
    n = len(q)
    near = np.arange(n)[:, None] + np.arange(-w, w + 1)
    inside = (near >= 0) & (near < n)
    near = near.clip(0, n - 1)
    scores = np.einsum("nd,njd->nj", q, k[near]) / math.sqrt(q.shape[-1])
    scores = np.where(inside, scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("nj,njd->nd", e / e.sum(axis=-1, keepdims=True), v[near])


def local_by_loop(q, k, v, w):
    out = np.empty((len(q), v.shape[1]), v.dtype)
    for i in range(len(q)):
        near = slice(max(0, i - w), i + w + 1)
        scores = k[near] @ q[i] / math.sqrt(q.shape[1])
        e = np.exp(scores - scores.max())
        out[i] = e @ v[near] / e.sum()
    return out


def local_by_chunks(q, k, v, w):
    n, chunk, parts = len(q), 256, []
    for a in range(0, n, chunk):
        b = min(n, a + chunk)
        low, high = max(0, a - w), min(n, b + w)
        allowed = np.abs(np.arange(a, b)[:, None] - np.arange(low, high)) <= w
        parts.append(attend(q[a:b], k[low:high], v[low:high], allowed))
    return np.concatenate(parts)


def local_by_offsets(q, k, v, w):
    n, w = len(q), min(w, len(q) - 1)
    scores = np.full((n, 2 * w + 1), -np.inf, q.dtype)
    for o in range(-w, w + 1):
        a, b = max(0, -o), min(n, n - o)
        scores[a:b, o + w] = np.einsum("nd,nd->n", q[a:b], k[a + o : b + o]) * q.shape[1] ** -0.5
    weights = _softmax(scores)
    out = np.zeros_like(v)
    for o in range(-w, w + 1):
        a, b = max(0, -o), min(n, n - o)
        out[a:b] += weights[a:b, o + w, None] * v[a + o : b + o]
    return out


def local_padded(q, k, v, w):
    from numpy.lib.stride_tricks import sliding_window_view

    n = len(q)
    views = [sliding_window_view(np.pad(x, ((w, w), (0, 0))), 2 * w + 1, axis=0) for x in (k, v)]
    exists = sliding_window_view(np.pad(np.ones(n, dtype=bool), w), 2 * w + 1)
    scores = np.einsum("nd,ndj->nj", q, views[0]) / math.sqrt(q.shape[1])
    scores = np.where(exists, scores, np.finfo(q.dtype).min)
    return np.einsum("nj,ndj->nd", _softmax(scores), views[1])


def _windowed(rule, **options):
    """Full attention under a mask from a rule on i − j."""
    return lambda q, k, v, w: attend(q, k, v, _distance(rule)(len(q), w), **options)


def _near(d, n, w):
    return np.abs(d) <= w


def _gathered(place="clip", exists="hidden", shift="row"):
    """Gathers 2w + 1 keys of every query, with some parts replaced.

    place:  what stands at positions outside: clip (the end again), wrap or zeros.
    exists: what happens to their scores: hidden before the softmax, after it, or nothing.
    """

    def answer(q, k, v, w):
        n = len(q)
        near = np.arange(n)[:, None] + np.arange(-w, w + 1)
        inside = (near >= 0) & (near < n)
        if place == "zeros":
            keys, values = (np.where(inside[..., None], x[near.clip(0, n - 1)], 0).astype(x.dtype) for x in (k, v))
        else:
            index = near % n if place == "wrap" else near.clip(0, n - 1)
            keys, values = k[index], v[index]
        scores = np.einsum("nd,njd->nj", q, keys) / math.sqrt(q.shape[-1])
        if exists == "hidden":
            scores = np.where(inside, scores, -np.inf).astype(q.dtype)
        weights = _softmax(scores, shift=shift)
        if exists == "after":
            weights = weights * inside
        return np.einsum("nj,njd->nd", weights, values)

    return answer


def _inner_rows_only(q, k, v, w):
    return local_attention(q, k, v, w)[w : len(q) - w]


def _inner_rows_and_zeros(q, k, v, w):
    out = np.zeros((len(q), v.shape[1]), v.dtype)
    out[w : len(q) - w] = _inner_rows_only(q, k, v, w)
    return out


def _slices_from_the_end(q, k, v, w):
    """i − w below 0 counts from the end in a slice, and the slice is empty where n > 2w."""
    if len(q) > 2 * w:
        out = local_attention(q, k, v, w)
        out[:w] = 0
        return out
    out = np.zeros((len(q), v.shape[1]), v.dtype)
    for i in range(len(q)):
        keys = k[i - w : i + w + 1]
        if len(keys):
            out[i] = attend(q[i : i + 1], keys, v[i - w : i + w + 1])[0]
    return out


def _offsets_too_far(q, k, v, w):
    n = len(q)
    scores = np.full((n, 2 * w + 1), -np.inf, q.dtype)
    for o in range(-w, w + 1):
        a, b = max(0, -o), min(n, n - o)
        scores[a:b, o + w] = (q[a:b] * k[a + o : b + o]).sum(-1) / math.sqrt(q.shape[1])
    weights = _softmax(scores)
    out = np.zeros_like(v)
    for o in range(-w, w + 1):
        a, b = max(0, -o), min(n, n - o)
        out[a:b] += weights[a:b, o + w, None] * v[a + o : b + o]
    return out


def local_by_slices(q, k, v, w):
    """Offset by offset, with slices that are empty beyond n."""
    n = len(q)
    scores = np.full((n, 2 * w + 1), -np.inf, q.dtype)
    scores[:, w] = (q * k).sum(-1)
    for o in range(1, w + 1):
        scores[o:, w - o] = (q[o:] * k[:-o]).sum(-1)
        scores[:-o, w + o] = (q[:-o] * k[o:]).sum(-1)
    weights = _softmax(scores / math.sqrt(q.shape[1]))
    out = weights[:, w, None] * v
    for o in range(1, w + 1):
        out[o:] += weights[o:, w - o, None] * v[:-o]
        out[:-o] += weights[:-o, w + o, None] * v[o:]
    return out


def _unnormalised(q, k, v, w):
    scores = q @ k.T / math.sqrt(q.shape[-1])
    with np.errstate(all="ignore"):
        return np.where(window_mask(len(q), w), np.exp(scores), 0) @ v


def _local_with_weights(q, k, v, w):
    return local_attention(q, k, v, w), np.zeros((len(q), 2 * w + 1), q.dtype)


def _queries_scaled_in_place(q, k, v, w):
    q /= math.sqrt(q.shape[-1])
    return local_attention(q * math.sqrt(q.shape[-1]), k, v, w)


def local_cases(rng):
    first = "as_masked_full"
    yield Case(first, (*_qkv(rng, 8, 3, 5, np.float64), 2))
    yield Case(first, (*_qkv(rng, 6, 6, 6), 1))
    yield Case(first, (*_qkv(rng, 11, 4, 2, np.float32), 3))
    yield Case(first, (*_qkv(rng, 9, 9, 4), 4))
    yield Case(first, (*_qkv(rng, 7, 7, 7), 2))
    for n, w in ((5, 0), (5, 4), (4, 6), (6, 6), (1, 0), (1, 2), (2, 1), (3, 9)):
        yield Case("narrow_and_wide", (*_qkv(rng, n, 3, 2), w))
    yield Case("large_scores", (*_large(rng, 9, 4, 3), 2))
    yield Case("large_scores", (*_large(rng, 8, 3, 3), 3))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, (*_qkv(rng, 7, 5, 3, dtype), 2))
    yield Case("memory", (Seed(int(rng.integers(2**31))),), {"n": 20000, "D": 16, "w": 32})


DENSE = (
    "at n = {n} it holds more than a quarter of what n × n scores take: usually an array of n × n entries (scores, "
    "weights or a mask) is made on the way"
)

LOCAL_MISCONCEPTIONS = (
    Misconception("dense", DENSE.format(n=20000), _with_a_table(local_attention)),
    Misconception(
        "total_width",
        "the window is half as wide as asked for: w counts the positions on each side",
        [
            _windowed(lambda d, n, w: np.abs(d) <= w // 2),
            _windowed(lambda d, n, w: np.abs(d) <= (w - 1) // 2),
            _windowed(lambda d, n, w: (-(w // 2) <= d) & (d < w - w // 2)),
        ],
    ),
    Misconception(
        "strictly_less",
        "keys exactly w apart get no weight: |i − j| ≤ w includes them",
        _windowed(lambda d, n, w: np.abs(d) < w),
    ),
    Misconception(
        "last_one_missing",
        "the key w places after the query gets no weight and the one w places before it does: a range or a slice a:b "
        "ends before b",
        _windowed(lambda d, n, w: (d <= w) & (-d < w)),
    ),
    Misconception("one_too_far", "keys w + 1 apart get weight", _windowed(lambda d, n, w: np.abs(d) <= w + 1)),
    Misconception(
        "past_only",
        "only keys up to the query's own position get weight: the window has another side",
        [_windowed(lambda d, n, w: (d >= 0) & (d <= w)), _windowed(lambda d, n, w: (d >= 0) & (d < w))],
    ),
    Misconception(
        "future_only",
        "only keys from the query's own position on get weight: the window has another side",
        [_windowed(lambda d, n, w: (d <= 0) & (-d <= w)), _windowed(lambda d, n, w: (d <= 0) & (-d < w))],
    ),
    Misconception(
        "wraps_around",
        "the first queries average values of the last positions: the window goes round the end, as positions modulo n "
        "or np.roll do",
        [
            _gathered(place="wrap", exists="shown"),
            _windowed(lambda d, n, w: np.minimum(np.abs(d), n - np.abs(d)) <= w),
        ],
    ),
    Misconception(
        "negative_positions",
        "queries near the start are wrong and those near the end are not: positions below 0 count from the end",
        [_slices_from_the_end, _windowed(lambda d, n, w: (np.abs(d) <= w) | (n - np.abs(d) <= w) & (d < 0))],
    ),
    Misconception(
        "zeros_take_part",
        "near both ends the outputs are too small: zeros stand where there is no position, their score is 0, and "
        "exp(0) = 1 takes a share",
        [_gathered(place="zeros", exists="shown"), _gathered(place="zeros", exists="after")],
    ),
    Misconception(
        "ends_repeated",
        "near both ends the first or last position counts several times: clipped positions repeat it, and nothing "
        "hides the copies",
        _gathered(place="clip", exists="shown"),
    ),
    Misconception(
        "hidden_after_softmax",
        "near both ends the weights that are left do not sum to 1: positions that do not exist were removed after the "
        "softmax, and what they had is lost",
        [_gathered(place="clip", exists="after"), _gathered(place="wrap", exists="after")],
    ),
    Misconception(
        "masked_after_softmax",
        "the weights inside the window sum to less than 1 everywhere: the softmax ran over all keys, and those outside "
        "were removed afterwards",
        _windowed(_near, hide="after"),
    ),
    Misconception(
        "score_zero",
        "keys outside the window keep a share: their score was set to 0, and exp(0) = 1",
        _windowed(_near, hide="zero"),
    ),
    Misconception(
        "blocks",
        "queries see the keys of their own block and nothing beyond it: a window moves along with the query",
        [
            _windowed(lambda d, n, w: np.arange(n)[:, None] // max(w, 1) == np.arange(n) // max(w, 1)),
            _windowed(lambda d, n, w: np.arange(n)[:, None] // (w + 1) == np.arange(n) // (w + 1)),
            _windowed(lambda d, n, w: np.arange(n)[:, None] // (2 * w + 1) == np.arange(n) // (2 * w + 1)),
        ],
    ),
    Misconception(
        "window_ignored",
        "every key gets weight, however far away: this is full attention",
        lambda q, k, v, w: attend(q, k, v),
    ),
    Misconception(
        "inverted",
        "only keys outside the window get weight",
        _windowed(lambda d, n, w: np.abs(d) > w),
    ),
    Misconception("no_scale", "the scores are not divided by √D", _windowed(_near, scale=SCALES["no_scale"])),
    Misconception("by_d", "the scores are divided by D, not by its root", _windowed(_near, scale=SCALES["by_d"])),
    Misconception("times_sqrt_d", "the scores are multiplied by √D", _windowed(_near, scale=SCALES["times_sqrt_d"])),
    Misconception(
        "by_another_size",
        "the scores are divided by the root of another size than D: of Dv, of n, or of the 2w + 1 keys of a window",
        [
            _windowed(_near, scale=SCALES["by_sqrt_dv"]),
            _windowed(_near, scale=SCALES["by_sqrt_n"]),
            lambda q, k, v, w: attend(q * math.sqrt(q.shape[1] / (2 * w + 1)), k, v, window_mask(len(q), w)),
        ],
    ),
    Misconception(
        "over_queries",
        "the weights sum to 1 over the queries, not over the keys of a window",
        _windowed(_near, axis=0),
    ),
    Misconception("unnormalised", "the exponentials are not divided by their sum", _unnormalised),
    Misconception(
        "overflow",
        "large scores give NaN or zeros: exp was taken of a score itself, not of its distance to the largest one",
        [_gathered(shift="none"), _windowed(_near, shift="none")],
    ),
    Misconception(
        "one_maximum",
        "where scores differ much between queries, some rows are NaN: one maximum for all was subtracted, not one for "
        "each query",
        [_gathered(shift="all"), _windowed(_near, shift="all")],
    ),
    Misconception(
        "ends_dropped",
        "the rows near both ends are missing or 0: a window that is cut off is still a window",
        [_inner_rows_only, _inner_rows_and_zeros],
    ),
    Misconception(
        "wide_windows_fail",
        "a window wider than the sequence fails or gives other numbers, and narrower ones do not: offsets beyond n − 1 "
        "have no keys at all",
        _offsets_too_far,
    ),
    Misconception(
        "keys_averaged",
        "the keys are averaged, not the values",
        lambda q, k, v, w: attend(q, k, k, window_mask(len(q), w)),
    ),
    Misconception(
        "keys_ask",
        "the keys ask and the queries are found: q and k are swapped",
        lambda q, k, v, w: attend(k, q, v, window_mask(len(q), w)),
    ),
    Misconception("more_than_out", "more than out comes back: only out is wanted", _local_with_weights),
    Misconception("lost_float32", LOST, _wider(local_attention)),
    Misconception("always_float32", ALWAYS_32, _narrower(local_attention)),
    Misconception(
        "changes_inputs", "q is another after the call: q /= … writes into the array given", _queries_scaled_in_place
    ),
)


# --- block_sparse_mask -----------------------------------------------------------------------------------------------


def block_sparse_mask(layout, block):
    return layout.repeat(block, axis=0).repeat(block, axis=1)


def blocks_by_kron(layout, block):
    return np.kron(layout, np.ones((block, block), dtype=bool))


def blocks_by_index(layout, block):
    place = np.arange(len(layout) * block) // block
    return layout[place[:, None], place]


def blocks_by_loops(layout, block):
    n = len(layout) * block
    return [[bool(layout[i // block][j // block]) for j in range(n)] for i in range(n)]


def blocks_by_broadcast(layout, block):
    count = len(layout)
    wide = np.broadcast_to(layout[:, None, :, None], (count, block, count, block))
    return wide.reshape(count * block, count * block)


def _layout(rng, count, density=0.5):
    """A layout that is not symmetric, in which every block row has an active and an inactive block."""
    layout = rng.random((count, count)) < density
    order = np.argsort(rng.random((count, count)), axis=-1)
    np.put_along_axis(layout, order[:, :1], True, axis=-1)
    np.put_along_axis(layout, order[:, 1:2], False, axis=-1)
    if count > 1 and (layout == layout.T).all():
        layout[0, -1] = not layout[0, -1]
        layout[0, 0] = not layout[0, -1]
    return layout


def block_mask_cases(rng):
    for count, block in ((3, 2), (2, 5), (4, 4), (5, 3), (6, 2)):
        yield Case("blocks", (_layout(rng, count), block))
    layout = _layout(rng, 4)
    layout[1, 1:3] = False, True
    yield Case("sizes_of_one", (layout, 1))
    for value in (True, False):
        yield Case("sizes_of_one", (np.array([[value]]), 3))
    yield Case("sizes_of_one", (np.array([[True]]), 1))


def _sets_in_place(layout, block):
    found = block_sparse_mask(layout, block)
    np.logical_not(layout, out=layout)
    return found


BLOCK_MASK_MISCONCEPTIONS = (
    Misconception(
        "tiled",
        "the whole layout stands there block × block times, side by side: np.tile repeats the pattern, not its entries",
        lambda layout, block: np.tile(layout, (block, block)),
    ),
    Misconception(
        "tiled_on_one_axis",
        "along one axis entries are repeated and along the other the whole pattern is",
        [
            lambda layout, block: np.tile(layout.repeat(block, axis=0), (1, block)),
            lambda layout, block: np.tile(layout.repeat(block, axis=1), (block, 1)),
        ],
    ),
    Misconception(
        "one_axis_only",
        "one axis has n entries and the other has still n / block: both are to be widened",
        [lambda layout, block: layout.repeat(block, axis=0), lambda layout, block: layout.repeat(block, axis=1)],
    ),
    Misconception(
        "transposed",
        "the mask belongs to the transposed layout",
        lambda layout, block: block_sparse_mask(layout.T, block),
    ),
    Misconception(
        "inverted",
        "every entry is the opposite: True means may attend",
        lambda layout, block: ~block_sparse_mask(layout, block),
    ),
    Misconception(
        "numbers",
        "the entries are numbers 0 and 1, where True and False are wanted, as np.kron with np.ones gives them",
        [
            lambda layout, block: np.kron(layout, np.ones((block, block))),
            lambda layout, block: np.kron(layout, np.ones((block, block), dtype=int)),
        ],
    ),
    Misconception(
        "flattened",
        "the result has one axis: repeat without an axis flattens first",
        lambda layout, block: layout.repeat(block * block),
    ),
    Misconception(
        "reshaped",
        "the shape is right and the blocks are not whole: entries repeated in a row and then read in rows of n are not "
        "blocks",
        [
            lambda layout, block: layout.repeat(block * block).reshape(2 * (len(layout) * block,)),
            lambda layout, block: np.broadcast_to(layout[:, :, None, None], (*layout.shape, block, block)).reshape(
                2 * (len(layout) * block,)
            ),
        ],
    ),
    Misconception(
        "corners_only",
        "one entry of each block is on, not all block × block: the layout was spread out, not widened",
        lambda layout, block: np.kron(layout, np.eye(1, block * block, dtype=bool).reshape(block, block)),
    ),
    Misconception(
        "block_diagonals",
        "in each active block only the diagonal is on",
        lambda layout, block: np.kron(layout, np.eye(block, dtype=bool)),
    ),
    Misconception(
        "block_by_count",
        "block and the number of blocks are mixed up: the entries are repeated as often as layout has rows",
        lambda layout, block: block_sparse_mask(layout, len(layout)),
    ),
    Misconception(
        "diagonal_added",
        "the blocks on the diagonal are all on, also where layout says False",
        lambda layout, block: block_sparse_mask(layout | np.eye(len(layout), dtype=bool), block),
    ),
    Misconception(
        "layout_unchanged", "this is the layout itself, (n / block, n / block)", lambda layout, block: layout.copy()
    ),
    Misconception("changes_layout", "layout is another after the call: it was written into", _sets_in_place),
)


# --- block_sparse_attention ------------------------------------------------------------------------------------------


def block_sparse_attention(q, k, v, layout, block):
    out = np.zeros((len(q), v.shape[-1]), v.dtype)
    for row in range(len(layout)):
        near = np.flatnonzero(layout[row].repeat(block))
        if near.size:
            queries = slice(row * block, (row + 1) * block)
            out[queries] = attend(q[queries], k[near], v[near])
    return out


def blocks_online(q, k, v, layout, block):
    """Block by block with a running maximum and sum."""
    out = np.zeros((len(q), v.shape[-1]), v.dtype)
    for row in range(len(layout)):
        mine = slice(row * block, (row + 1) * block)
        top = np.full((block, 1), -np.inf, q.dtype)
        total, mixed = np.zeros((block, 1), q.dtype), np.zeros((block, v.shape[-1]), v.dtype)
        for column in np.flatnonzero(layout[row]):
            theirs = slice(column * block, (column + 1) * block)
            scores = q[mine] @ k[theirs].T / math.sqrt(q.shape[-1])
            higher = np.maximum(top, scores.max(axis=-1, keepdims=True))
            e, keep = np.exp(scores - higher), np.exp(top - higher)
            total, mixed, top = total * keep + e.sum(-1, keepdims=True), mixed * keep + e @ v[theirs], higher
        if layout[row].any():
            out[mine] = mixed / total
    return out


def blocks_query_by_query(q, k, v, layout, block):
    rows = []
    for i in range(len(q)):
        columns = [j for j, on in enumerate(layout[i // block]) if on]
        if not columns:
            rows.append(np.zeros(v.shape[-1], v.dtype))
            continue
        near = np.concatenate([np.arange(j * block, j * block + block) for j in columns])
        s = np.einsum("d,jd->j", q[i], k[near]) * float(q.shape[-1]) ** -0.5
        e = np.exp(s - s.max())
        rows.append(np.einsum("j,je->e", e / e.sum(), v[near]))
    return np.stack(rows)


def blocks_padded(q, k, v, layout, block):
    """All block rows at once, each with as many places as the fullest one has."""
    count, most = len(layout), int(layout.sum(axis=1).max())
    if most == 0:
        return np.zeros((len(q), v.shape[-1]), v.dtype)
    order = np.argsort(~layout, axis=1, kind="stable")[:, :most]
    there = np.take_along_axis(layout, order, axis=1)
    keys, values = (x.reshape(count, block, -1)[order].reshape(count, most * block, -1) for x in (k, v))
    scores = np.einsum("rid,rjd->rij", q.reshape(count, block, -1), keys) / math.sqrt(q.shape[-1])
    scores = np.where(there.repeat(block, axis=1)[:, None], scores, -np.inf).astype(q.dtype)
    return np.einsum("rij,rje->rie", _softmax(scores), values).reshape(len(q), -1)


def _blocked(mask=block_sparse_mask, **options):
    """Full attention under a mask of the layout, with some parts replaced."""
    return lambda q, k, v, layout, block: attend(q, k, v, np.asarray(mask(layout, block)), **options)


def _combined(combine):
    """Attention inside each active block by itself, and then the results of a block row combined."""

    def answer(q, k, v, layout, block):
        out = np.zeros((len(q), v.shape[-1]), v.dtype)
        for row in range(len(layout)):
            mine = slice(row * block, (row + 1) * block)
            found = []
            for column in np.flatnonzero(layout[row]):
                theirs = slice(column * block, (column + 1) * block)
                found.append(attend(q[mine], k[theirs], v[theirs]))
            if found:
                out[mine] = combine(np.stack(found))
        return out

    return answer


def _max_of_each_block(q, k, v, layout, block):
    """Sums exponentials over blocks that were shifted by different maxima."""
    out = np.zeros((len(q), v.shape[-1]), v.dtype)
    for row in range(len(layout)):
        mine = slice(row * block, (row + 1) * block)
        total, mixed = 0, 0
        for column in np.flatnonzero(layout[row]):
            theirs = slice(column * block, (column + 1) * block)
            scores = q[mine] @ k[theirs].T / math.sqrt(q.shape[-1])
            e = np.exp(scores - scores.max(axis=-1, keepdims=True))
            total, mixed = total + e.sum(axis=-1, keepdims=True), mixed + e @ v[theirs]
        if layout[row].any():
            out[mine] = mixed / total
    return out


def _max_so_far(q, k, v, layout, block):
    """A running maximum, but what was summed before it rose is not scaled down."""
    out = np.zeros((len(q), v.shape[-1]), v.dtype)
    for row in range(len(layout)):
        mine = slice(row * block, (row + 1) * block)
        total, mixed, top = 0, 0, -np.inf
        for column in np.flatnonzero(layout[row]):
            theirs = slice(column * block, (column + 1) * block)
            scores = q[mine] @ k[theirs].T / math.sqrt(q.shape[-1])
            top = np.maximum(top, scores.max(axis=-1, keepdims=True))
            e = np.exp(scores - top)
            total, mixed = total + e.sum(axis=-1, keepdims=True), mixed + e @ v[theirs]
        if layout[row].any():
            out[mine] = mixed / total
    return out


def _nan_rows(q, k, v, layout, block):
    return attend(q, k, v, block_sparse_mask(layout, block), empty="nan")


def _empty_fails(q, k, v, layout, block):
    out = np.zeros((len(q), v.shape[-1]), v.dtype)
    for row in range(len(layout)):
        near = np.flatnonzero(layout[row].repeat(block))
        queries = slice(row * block, (row + 1) * block)
        scores = q[queries] @ k[near].T / math.sqrt(q.shape[-1])
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[queries] = e / e.sum(axis=-1, keepdims=True) @ v[near]
    return out


def _empty_concatenation(q, k, v, layout, block):
    out = np.zeros((len(q), v.shape[-1]), v.dtype)
    for row in range(len(layout)):
        parts = [slice(c * block, (c + 1) * block) for c in range(len(layout)) if layout[row, c]]
        keys, values = np.concatenate([k[p] for p in parts]), np.concatenate([v[p] for p in parts])
        queries = slice(row * block, (row + 1) * block)
        out[queries] = attend(q[queries], keys, values)
    return out


def _shifted(shift):
    def answer(q, k, v, layout, block):
        out = np.zeros((len(q), v.shape[-1]), v.dtype)
        for row in range(len(layout)):
            near = np.flatnonzero(layout[row].repeat(block))
            if near.size:
                queries = slice(row * block, (row + 1) * block)
                scores = q[queries] @ k[near].T / math.sqrt(q.shape[-1])
                out[queries] = _softmax(scores, shift=shift) @ v[near]
        return out

    return answer


def _layout_as_positions(q, k, v, layout, block):
    """Takes the numbers of blocks for positions of keys."""
    out = np.zeros((len(q), v.shape[-1]), v.dtype)
    for row in range(len(layout)):
        near = np.flatnonzero(layout[row])
        if near.size:
            queries = slice(row * block, (row + 1) * block)
            out[queries] = attend(q[queries], k[near], v[near])
    return out


def _first_row_of_block(q, k, v, layout, block):
    right = block_sparse_attention(q, k, v, layout, block)
    out = np.zeros_like(right)
    out[::block] = right[::block]
    return out


def _blocks_with_weights(q, k, v, layout, block):
    return block_sparse_attention(q, k, v, layout, block), layout.repeat(block, axis=0).astype(q.dtype)


def _scaled_in_place(q, k, v, layout, block):
    q *= 0.5
    return block_sparse_attention(q * 2, k, v, layout, block)


def _layout_grown(q, k, v, layout, block):
    found = block_sparse_attention(q, k, v, layout, block)
    layout |= np.eye(len(layout), dtype=bool)
    return found


def block_attention_cases(rng):
    def case(check, count, block, d, dv, dtype=np.float64, layout=None, large=False):
        n = count * block
        q, k, v = _large(rng, n, d, dv) if large else _qkv(rng, n, d, dv, dtype)
        return Case(check, (q, k, v, _layout(rng, count) if layout is None else layout, block))

    first = "as_masked_full"
    yield case(first, 4, 3, 5, 2)
    yield case(first, 3, 3, 9, 9)
    yield case(first, 5, 2, 4, 3, np.float32)
    yield case(first, 3, 5, 4, 15, layout=np.array([[1, 0, 1], [1, 1, 1], [0, 1, 0]], dtype=bool))
    for count, block, row in ((4, 2, 1), (3, 3, 2)):
        layout = _layout(rng, count)
        layout[row] = False
        yield case("empty_rows", count, block, 3, 4, layout=layout)
    yield case("empty_rows", 2, 2, 3, 3, layout=np.zeros((2, 2), dtype=bool))
    yield case("sizes_of_one", 5, 1, 3, 2)
    yield case("sizes_of_one", 1, 4, 3, 2, layout=np.array([[True]]))
    yield case("sizes_of_one", 1, 1, 2, 3, layout=np.array([[True]]))
    yield case("large_scores", 4, 2, 3, 4, large=True)
    yield case("large_scores", 3, 3, 4, 3, large=True)
    for dtype in (np.float32, np.float64):
        yield case(KEEPS_DTYPE, 3, 2, 5, 4, dtype)
    yield Case("memory", (Seed(int(rng.integers(2**31))),), {"n": 8192, "D": 16, "block": 64})


BLOCK_ATTENTION_MISCONCEPTIONS = (
    Misconception("dense", DENSE.format(n=8192), _with_a_table(block_sparse_attention)),
    Misconception(
        "blocks_summed",
        "each query's weights sum to 1 in every active block by itself, and the results are added up: the softmax has "
        "to run over all active blocks at once",
        _combined(lambda found: found.sum(axis=0)),
    ),
    Misconception(
        "blocks_averaged",
        "each query's weights sum to 1 in every active block by itself, and the results are averaged: a block with a "
        "good key should get more than one without",
        _combined(lambda found: found.mean(axis=0)),
    ),
    Misconception(
        "last_block_only",
        "only the last active block of each row shows in the output: what the earlier ones gave was overwritten",
        _combined(lambda found: found[-1]),
    ),
    Misconception(
        "first_block_only",
        "only the first active block of each row shows in the output",
        _combined(lambda found: found[0]),
    ),
    Misconception(
        "maxima_mixed",
        "exponentials of different blocks do not compare: each block, or each maximum so far, has its own shift, and "
        "what was summed with another one is not rescaled",
        [_max_of_each_block, _max_so_far],
    ),
    Misconception(
        "transposed", "the output belongs to the transposed layout", _blocked(lambda x, b: block_sparse_mask(x.T, b))
    ),
    Misconception(
        "inverted",
        "the inactive blocks are used and the active ones left out",
        _blocked(lambda x, b: ~block_sparse_mask(x, b)),
    ),
    Misconception(
        "layout_ignored",
        "every block is used: this is full attention",
        _blocked(lambda x, b: np.ones((len(x) * b,) * 2, bool)),
    ),
    Misconception(
        "tiled",
        "the layout is laid out side by side block times, where each entry stands for a whole block",
        _blocked(lambda x, b: np.tile(x, (b, b))),
    ),
    Misconception(
        "numbers_of_blocks_as_positions",
        "the keys come from the positions 0, 1, 2, … up to the number of blocks: the number of a block is not the "
        "position of its keys",
        _layout_as_positions,
    ),
    Misconception(
        "diagonal_only",
        "every block row sees its own block only",
        _blocked(lambda x, b: block_sparse_mask(np.eye(len(x), dtype=bool), b)),
    ),
    Misconception(
        "diagonal_added",
        "every block row also sees its own block, where layout says False",
        _blocked(lambda x, b: block_sparse_mask(x | np.eye(len(x), dtype=bool), b)),
    ),
    Misconception("one_query_per_block", "only the first query of each block has an output", _first_row_of_block),
    Misconception(
        "masked_after_softmax",
        "the weights of the active blocks sum to less than 1: the softmax ran over all keys, and the others were "
        "removed afterwards",
        _blocked(hide="after"),
    ),
    Misconception(
        "score_zero",
        "inactive blocks keep a share: their scores were set to 0, and exp(0) = 1",
        _blocked(hide="zero"),
    ),
    Misconception(
        "empty_rows_nan",
        "a block row without active blocks gives NaN: 0 / 0, or −∞ minus −∞",
        _nan_rows,
    ),
    Misconception(
        "empty_rows_even",
        "a block row without active blocks averages all values: with the same finite number everywhere, the softmax "
        "gives even weights",
        _blocked(empty="even"),
    ),
    Misconception(
        "empty_rows_fail",
        "a block row without active blocks ends in an error: there is no key to take a maximum of or to put together",
        [_empty_fails, _empty_concatenation],
    ),
    Misconception("no_scale", "the scores are not divided by √D", _blocked(scale=SCALES["no_scale"])),
    Misconception("by_d", "the scores are divided by D, not by its root", _blocked(scale=SCALES["by_d"])),
    Misconception(
        "by_another_size",
        "the scores are divided by the root of another size than D: of Dv, of n, or of block",
        [
            _blocked(scale=SCALES["by_sqrt_dv"]),
            _blocked(scale=SCALES["by_sqrt_n"]),
            lambda q, k, v, x, b: attend(q * math.sqrt(q.shape[1] / b), k, v, block_sparse_mask(x, b)),
        ],
    ),
    Misconception("over_queries", "the weights sum to 1 over the queries, not over the keys", _blocked(axis=0)),
    Misconception(
        "overflow",
        "large scores give NaN or zeros: exp was taken of a score itself, not of its distance to the largest one",
        [_shifted("none"), _blocked(shift="none")],
    ),
    Misconception(
        "one_maximum",
        "where scores differ much between queries, some rows are NaN: one maximum for several queries was subtracted, "
        "not one for each",
        [_shifted("all"), _blocked(shift="all")],
    ),
    Misconception(
        "keys_averaged",
        "the keys are averaged, not the values",
        lambda q, k, v, x, b: block_sparse_attention(q, k, k, x, b),
    ),
    Misconception("more_than_out", "more than out comes back: only out is wanted", _blocks_with_weights),
    Misconception("lost_float32", LOST, _wider(block_sparse_attention)),
    Misconception("always_float32", ALWAYS_32, _narrower(block_sparse_attention)),
    Misconception(
        "changes_inputs",
        "an argument is another after the call: q *= … and layout |= … write into the array given",
        [_scaled_in_place, _layout_grown],
    ),
)


# --- bigbird_mask ----------------------------------------------------------------------------------------------------


def bigbird_layout(count, n_global):
    layout = window_mask(count, 1)
    layout[:n_global] = True
    layout[:, :n_global] = True
    return layout


def bigbird_mask(n, block, n_random, n_global, rng):
    if n % block:
        raise ValueError(f"{n} positions do not fall into blocks of {block}")
    layout = bigbird_layout(n // block, n_global)
    for row in layout:
        left = np.flatnonzero(~row)
        row[rng.choice(left, size=min(n_random, len(left)), replace=False)] = True
    return block_sparse_mask(layout, block)


def bigbird_by_permutation(n, block, n_random, n_global, rng):
    count, ragged = divmod(n, block)
    if ragged:
        raise ValueError("block does not divide n")
    mask = np.zeros((n, n), dtype=bool)
    for i in range(count):
        fixed = {j for j in range(count) if abs(i - j) <= 1 or i < n_global or j < n_global}
        left = rng.permutation([j for j in range(count) if j not in fixed])
        for j in fixed | {int(j) for j in left[:n_random]}:
            mask[i * block : (i + 1) * block, j * block : (j + 1) * block] = True
    return mask


def bigbird_by_ranks(n, block, n_random, n_global, rng):
    """Every block gets a random number, those already on a number above all; the lowest of each row are on."""
    if n % block != 0:
        raise ValueError
    layout = bigbird_layout(n // block, n_global)
    ranks = np.argsort(np.argsort(rng.random(layout.shape) + layout, axis=1), axis=1)
    return np.kron(layout | (ranks < n_random), np.ones((block, block), dtype=bool))


def bigbird_by_trying(n, block, n_random, n_global, rng):
    if n / block != n // block:
        raise ValueError("no")
    layout = bigbird_layout(n // block, n_global)
    for i in range(len(layout)):
        wanted = min(len(layout), int(layout[i].sum()) + n_random)
        while layout[i].sum() < wanted:
            layout[i, rng.integers(len(layout))] = True
    return block_sparse_mask(layout, block).tolist()


def _bigbird(fixed=bigbird_layout, draw=None, refuse=True, whole=block_sparse_mask):
    """A mask with some parts replaced.

    fixed: `(count, n_global) -> layout` before anything is drawn.
    draw:  `(layout, i, n_random, rng) -> blocks` of block row i.
    """

    def mask(n, block, n_random, n_global, rng):
        if refuse and n % block:
            raise ValueError(f"{block} does not divide {n}")
        layout = fixed(n // block, n_global)
        before = layout.copy()
        for i in range(len(layout)):
            layout[i, (draw or _draw)(before, i, n_random, rng)] = True
        return whole(layout, block)

    return mask


def _draw(layout, i, n_random, rng):
    left = np.flatnonzero(~layout[i])
    return rng.choice(left, size=min(n_random, len(left)), replace=False)


def _draw_with_replacement(layout, i, n_random, rng):
    left = np.flatnonzero(~layout[i])
    return rng.choice(left, size=n_random) if len(left) else []


def _draw_with_replacement_up_to(layout, i, n_random, rng):
    left = np.flatnonzero(~layout[i])
    return rng.choice(left, size=min(n_random, len(left))) if len(left) else []


def _draw_from_all(layout, i, n_random, rng):
    return rng.choice(len(layout), size=min(n_random, len(layout)), replace=False)


def _draw_from_all_with_replacement(layout, i, n_random, rng):
    return rng.integers(len(layout), size=n_random)


def _draw_outside(own):
    """From all blocks but some: the block itself, or the window, so that global ones are hit."""

    def draw(layout, i, n_random, rng):
        left = np.flatnonzero(np.abs(np.arange(len(layout)) - i) > own)
        return rng.choice(left, size=min(n_random, len(left)), replace=False)

    return draw


def _draw_outside_global(layout, i, n_random, rng):
    """From all blocks outside the global columns, so that the window is hit."""
    left = np.flatnonzero(~layout[-1]) if len(layout) > 3 else np.arange(0)
    left = np.union1d(left, [len(layout) - 1, len(layout) - 2]).astype(int)
    return rng.choice(left, size=min(n_random, len(left)), replace=False)


def _draw_without_min(layout, i, n_random, rng):
    left = np.flatnonzero(~layout[i])
    return rng.choice(left, size=n_random, replace=False)


def _draw_without_min_nor_empty(layout, i, n_random, rng):
    left = np.flatnonzero(~layout[i])
    return rng.choice(left, size=n_random, replace=False) if len(left) else []


def _draw_if_enough(layout, i, n_random, rng):
    left = np.flatnonzero(~layout[i])
    return rng.choice(left, size=n_random, replace=False) if len(left) >= n_random else []


def _draw_first(layout, i, n_random, rng):
    return np.flatnonzero(~layout[i])[:n_random]


def _draw_last(layout, i, n_random, rng):
    return np.flatnonzero(~layout[i])[::-1][:n_random]


def _draw_at_start(layout, i, n_random, rng):
    left = np.flatnonzero(~layout[i])
    size = min(n_random, len(left))
    return left[(rng.integers(len(left)) if len(left) else 0) - np.arange(size)]


def _draw_one_more(layout, i, n_random, rng):
    left = np.flatnonzero(~layout[i])
    return rng.choice(left, size=min(n_random + 1, len(left)), replace=False) if n_random else []


def _draw_one_less(layout, i, n_random, rng):
    left = np.flatnonzero(~layout[i])
    return rng.choice(left, size=min(max(n_random - 1, 0), len(left)), replace=False)


def _with_rng(make):
    """A right answer whose numbers come from another generator."""
    return lambda n, block, n_random, n_global, rng: bigbird_mask(n, block, n_random, n_global, make())


def _shared_order(n, block, n_random, n_global, rng):
    """One random order of the blocks serves all rows."""
    if n % block:
        raise ValueError
    layout = bigbird_layout(n // block, n_global)
    order = rng.permutation(len(layout))
    for row in layout:
        row[[j for j in order if not row[j]][:n_random]] = True
    return block_sparse_mask(layout, block)


def _symmetric(n, block, n_random, n_global, rng):
    mask = bigbird_mask(n, block, n_random, n_global, rng)
    return mask | mask.T


def _per_token(n, block, n_random, n_global, rng):
    """Random single keys for each query, in the place of blocks for each block row."""
    if n % block:
        raise ValueError
    mask = block_sparse_mask(bigbird_layout(n // block, n_global), block)
    for row in mask:
        left = np.flatnonzero(~row)
        row[rng.choice(left, size=min(n_random, len(left)), replace=False)] = True
    return mask


def _blocks_per_token(n, block, n_random, n_global, rng):
    """Random blocks for each single query."""
    if n % block:
        raise ValueError
    masks = [bigbird_mask(n, block, n_random, n_global, rng) for _ in range(block)]
    return np.stack([masks[i % block][i] for i in range(n)])


def _all_of_tokens(n, block, n_random, n_global, rng):
    """As if every block had one position."""
    if n % block:
        raise ValueError
    return bigbird_mask(n, 1, n_random, n_global, rng)


def _in_total(n, block, n_random, n_global, rng):
    if n % block:
        raise ValueError
    layout = bigbird_layout(n // block, n_global)
    left = np.argwhere(~layout)
    for i, j in left[rng.permutation(len(left))[:n_random]]:
        layout[i, j] = True
    return block_sparse_mask(layout, block)


def _tokens_near(n, block, n_random, n_global, rng):
    """The window is one block of positions wide on each side of every single position."""
    if n % block:
        raise ValueError
    mask = window_mask(n, block)
    mask[: n_global * block] = True
    mask[:, : n_global * block] = True
    count = n // block
    for i in range(count):
        left = np.flatnonzero(~bigbird_layout(count, n_global)[i])
        for j in rng.choice(left, size=min(n_random, len(left)), replace=False):
            mask[i * block : (i + 1) * block, j * block : (j + 1) * block] = True
    return mask


def _tokens_global(n, block, n_random, n_global, rng):
    """The first n_global positions are global, not the first n_global blocks."""
    if n % block:
        raise ValueError
    layout = bigbird_layout(n // block, 0)
    for row in layout:
        left = np.flatnonzero(~row)
        row[rng.choice(left, size=min(n_random, len(left)), replace=False)] = True
    mask = block_sparse_mask(layout, block)
    mask[:n_global] = True
    mask[:, :n_global] = True
    return mask


def _fixed(window=lambda count: window_mask(count, 1), rows=True, columns=True, last=False):
    def layout(count, n_global):
        found = window(count).copy()
        chosen = slice(max(count - n_global, 0), None) if last else slice(None, n_global)
        if rows:
            found[chosen] = True
        if columns:
            found[:, chosen] = True
        return found

    return layout


def _wrong_error(error):
    def mask(n, block, n_random, n_global, rng):
        if n % block:
            raise error("block must divide n")
        return bigbird_mask(n, block, n_random, n_global, rng)

    return mask


def _by_assert(n, block, n_random, n_global, rng):
    assert n % block == 0, "block must divide n"
    return bigbird_mask(n, block, n_random, n_global, rng)


def _padded(n, block, n_random, n_global, rng):
    if n % block:
        return bigbird_mask(n + block - n % block, block, n_random, n_global, rng)[:n, :n]
    return bigbird_mask(n, block, n_random, n_global, rng)


def bigbird_cases(rng):
    def case(check, n, block, n_random, n_global, repeats=1):
        return Case(check, (n, block, n_random, n_global, Seed(int(rng.integers(2**31))), repeats))

    yield case("window_and_global", 15, 3, 0, 1)
    yield case("window_and_global", 16, 2, 0, 0)
    yield case("window_and_global", 12, 2, 0, 2)
    yield case("window_and_global", 28, 4, 0, 1)
    yield case("window_and_global", 5, 1, 0, 1)
    yield case("window_and_global", 6, 6, 0, 0)
    yield case("window_and_global", 6, 3, 0, 5)
    yield case("random_blocks", 24, 3, 2, 1, 6)
    yield case("random_blocks", 16, 2, 3, 0, 6)
    yield case("random_blocks", 9, 1, 1, 2, 6)
    yield case("random_blocks", 40, 4, 4, 1, 6)
    for numbers in ((12, 2, 5, 1), (10, 2, 9, 0), (8, 2, 50, 1), (7, 7, 2, 0), (4, 2, 1, 0)):
        yield case("few_left", *numbers)
    yield case("drawn_evenly", 8, 1, 2, 1, 200)
    yield case("follows_rng", 24, 2, 2, 1, 4)
    for numbers in ((10, 3, 1, 1), (9, 2, 0, 0), (3, 4, 1, 1)):
        yield case("refuses", *numbers)


FIXED = ("window_and_global", "few_left")  # nothing is left to chance: the masks are compared
APART = 6.0  # standard errors; a right answer fails less than once in a million


def bigbird_reading(case, result):
    """What a check looks at: the mask where nothing is left to chance, else properties in words."""
    n, block, n_random, n_global, *_ = case.inputs
    if case.check == "refuses":
        return result
    if case.check in FIXED:
        return result["masks"][0]
    masks = [np.asarray(mask) for mask in result["masks"]]
    if any(mask.shape != (n, n) or mask.dtype.kind != "b" for mask in masks):
        return {"mask": result["masks"][0]}
    if case.check == "follows_rng":
        again = np.asarray(result["again"])
        return {
            "in the same state": "the same mask" if np.array_equal(again, masks[0]) else "another mask",
            "in other states": "others" if any((mask != masks[0]).any() for mask in masks) else "always this mask",
        }
    count, fixed = n // block, bigbird_layout(n // block, n_global)
    tiles = np.stack([mask.reshape(count, block, count, block).swapaxes(1, 2) for mask in masks])
    on = tiles.all(axis=(-1, -2))  # (repeats, count, count)
    if case.check == "drawn_evenly":
        return {"draws": _evenness(on, fixed, n_random)}
    return {
        "blocks": "whole" if (on == tiles.any(axis=(-1, -2))).all() else "some are on in part",
        "window and global blocks": "on" if np.asarray(on)[:, fixed].all() else "not all on",
        "random blocks in a block row": _amount((on & ~fixed).sum(axis=-1), (~fixed).sum(axis=-1), n_random),
    }


def _amount(more, left, n_random):
    """How many random blocks there are, in words; `more` is (repeats, count), `left` how many there could be."""
    asked = np.minimum(n_random, left)
    beyond = (more - asked)[:, left > n_random + 1]
    if (more == asked).all():
        return "as many as asked for"
    if not more.any():
        return "none"
    if beyond.size and beyond[0, 0] and (beyond == beyond[0, 0]).all():
        return f"always {abs(beyond[0, 0])} too {'many' if beyond[0, 0] > 0 else 'few'}"
    return " or ".join(word for word, seen in (("too few", more < asked), ("too many", more > asked)) if seen.any())


def _evenness(on, fixed, n_random):
    """Whether each block that is left is drawn equally often, and each block row without regard to the others."""
    drawn = on & ~fixed
    left = np.maximum((~fixed).sum(axis=-1, keepdims=True), 1)
    share = np.asarray(~fixed * np.minimum(n_random / left, 1.0))
    error = np.sqrt(share * (1 - share) / len(on)) + 1e-9
    if (np.abs(drawn.mean(axis=0) - share) > APART * error).any():
        return "some blocks more often than others"
    together = np.einsum("tic,tjc->ij", drawn.astype(float), drawn.astype(float)) / len(on)
    by_chance = share @ share.T
    far = np.abs(together - by_chance) > APART * np.sqrt((by_chance + 0.02) / len(on))
    if far[~np.eye(len(fixed), dtype=bool)].any():
        return "block rows depend on each other"
    return "even" if _pairs_are_even(drawn, fixed) else "some blocks of a row together more often than others"


def _pairs_are_even(drawn, fixed):
    """Pearson's test, over all block rows with draws of two: every pair of blocks that are left is as likely."""
    statistic, freedom = 0.0, 0
    for row, left in zip(drawn.swapaxes(0, 1), ~fixed, strict=True):  # row: (repeats, count)
        places = np.flatnonzero(left)
        if len(places) > 2:
            chosen = row[:, places].astype(float)
            counts = (chosen.T @ chosen)[np.triu_indices(len(places), 1)]
            if not counts.any():
                return False
            statistic += ((counts - counts.mean()) ** 2 / counts.mean()).sum()
            freedom += len(counts) - 1
    return statistic < freedom + APART * math.sqrt(2 * freedom) + 20


BIGBIRD_MISCONCEPTIONS = (
    Misconception(
        "drawn_with_replacement",
        "block rows have too few random blocks, also where every block that is left should be on: a block that is "
        "drawn twice is one block",
        [
            _bigbird(draw=_draw_with_replacement),
            _bigbird(draw=_draw_with_replacement_up_to),
            _bigbird(draw=_draw_from_all_with_replacement),
        ],
    ),
    Misconception(
        "hits_what_is_on",
        "some block rows have too few random blocks, as it happens where draws fall on blocks of the window or on "
        "global ones, which are on already",
        [
            _bigbird(draw=_draw_from_all),
            _bigbird(draw=_draw_outside(0)),
            _bigbird(draw=_draw_outside(1)),
            _bigbird(draw=_draw_outside_global),
        ],
    ),
    Misconception(
        "per_token",
        "random keys or blocks were drawn for every single position, so that blocks are on in part: one draw holds for "
        "all positions of a block row, and for whole blocks",
        [_per_token, _blocks_per_token],
    ),
    Misconception(
        "positions_instead_of_blocks",
        "the mask is that of blocks of 1: window, global and random entries are single positions",
        _all_of_tokens,
    ),
    Misconception(
        "window_of_positions",
        "the window follows every single position, block positions to each side: it consists of whole blocks, the "
        "query's own and one on each side",
        _tokens_near,
    ),
    Misconception(
        "global_positions",
        "the first n_global positions are global, and the first n_global blocks should be",
        _tokens_global,
    ),
    Misconception(
        "global_rows_only",
        "the first n_global blocks see everything, but are not seen by everything: their columns are missing",
        _bigbird(fixed=_fixed(columns=False)),
    ),
    Misconception(
        "global_columns_only",
        "the first n_global blocks are seen by everything, but do not see everything: their rows are missing",
        _bigbird(fixed=_fixed(rows=False)),
    ),
    Misconception(
        "last_blocks_global", "the last n_global blocks are global, not the first", _bigbird(fixed=_fixed(last=True))
    ),
    Misconception(
        "no_window_beyond_itself",
        "a block row sees its own block only, not the one on each side",
        _bigbird(fixed=_fixed(window=lambda count: np.eye(count, dtype=bool))),
    ),
    Misconception(
        "window_too_wide",
        "a block row sees more than one block on each side",
        [
            _bigbird(fixed=_fixed(window=lambda count: window_mask(count, 2))),
            _bigbird(fixed=_fixed(window=lambda count: window_mask(count, 3))),
        ],
    ),
    Misconception(
        "window_of_the_past",
        "a block row does not see the block after its own, or not the one before",
        [
            _bigbird(fixed=_fixed(window=lambda count: window_mask(count, 1) & np.tri(count, dtype=bool))),
            _bigbird(fixed=_fixed(window=lambda count: window_mask(count, 1) & np.tri(count, dtype=bool).T)),
        ],
    ),
    Misconception(
        "wraps_around",
        "the window goes round the end: the first block row sees the last block, or the last row the first block",
        [
            _bigbird(
                fixed=_fixed(
                    window=lambda c: window_mask(c, 1) | np.eye(c, k=c - 1, dtype=bool) | np.eye(c, k=1 - c, dtype=bool)
                )
            ),
            _bigbird(fixed=_fixed(window=lambda c: window_mask(c, 1) | np.eye(c, k=c - 1, dtype=bool))),
        ],
    ),
    Misconception(
        "fails_if_few_left",
        "an error comes where fewer blocks are left than asked for: rng.choice without replacement cannot give more "
        "than there are",
        [_bigbird(draw=_draw_without_min), _bigbird(draw=_draw_without_min_nor_empty)],
    ),
    Misconception(
        "none_if_few_left",
        "block rows with fewer blocks left than asked for get none: they should get all of them",
        _bigbird(draw=_draw_if_enough),
    ),
    Misconception(
        "always_the_same",
        "every call gives the same mask, whatever the state of rng, so that some blocks are never on: nothing was "
        "drawn, or a generator is made inside with a seed of its own",
        [
            _bigbird(draw=_draw_first),
            _bigbird(draw=_draw_last),
            _with_rng(lambda: np.random.default_rng(0)),
            _with_rng(lambda: np.random.default_rng(42)),
        ],
    ),
    Misconception(
        "neighbours_drawn",
        "the random blocks of a row lie next to each other: only where they begin was drawn",
        _bigbird(draw=_draw_at_start),
    ),
    Misconception(
        "one_draw_for_all",
        "block rows depend on each other: one draw serves them all, where each has its own",
        _shared_order,
    ),
    Misconception(
        "symmetric",
        "some block rows have too many random blocks: what a row has drawn was also set in the column, and random "
        "blocks hold for the query alone",
        _symmetric,
    ),
    Misconception(
        "in_total",
        "n_random blocks were drawn for the whole mask, not for each block row",
        _in_total,
    ),
    Misconception(
        "one_more", "every block row has one random block more than asked for", _bigbird(draw=_draw_one_more)
    ),
    Misconception(
        "one_less", "every block row has one random block less than asked for", _bigbird(draw=_draw_one_less)
    ),
    Misconception("random_ignored", "no random block is on", _bigbird(draw=lambda *a: [])),
    Misconception(
        "global_generator",
        "a generator in the same state gives another mask: the numbers do not come from rng",
        _with_rng(np.random.default_rng),
    ),
    Misconception(
        "layout_returned",
        "this is the layout, (n / block, n / block): the mask has a row and a column for every position",
        _bigbird(whole=lambda layout, block: layout),
    ),
    Misconception(
        "numbers",
        "the entries are numbers 0 and 1, where True and False are wanted",
        [
            _bigbird(whole=lambda layout, block: np.kron(layout, np.ones((block, block)))),
            _bigbird(whole=lambda layout, block: np.kron(layout, np.ones((block, block), dtype=int))),
        ],
    ),
    Misconception(
        "inverted",
        "every entry is the opposite: True means may attend",
        _bigbird(whole=lambda x, b: ~block_sparse_mask(x, b)),
    ),
    Misconception(
        "tiled",
        "the layout is laid out side by side block times, where each entry stands for a whole block",
        _bigbird(whole=lambda x, b: np.tile(x, (b, b))),
    ),
    Misconception(
        "not_refused",
        "a block that does not divide n gives a result or another error, where a ValueError is wanted",
        [_bigbird(refuse=False), _wrong_error(TypeError), _by_assert, _padded],
    ),
)


# --- rank_k_error ----------------------------------------------------------------------------------------------------


def rank_k_error(a, k):
    s = np.linalg.svd(a, compute_uv=False)
    total = (s**2).sum()
    return math.sqrt((s[k:] ** 2).sum() / total) if total > 0 else 0.0


def error_by_rebuilding(a, k):
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    b = (u[:, :k] * s[:k]) @ vt[:k]
    size = np.linalg.norm(a)
    return np.linalg.norm(a - b) / size if size else 0.0


def error_by_rest(a, k):
    s = np.linalg.svd(a, compute_uv=False)
    kept = (s[:k] ** 2).sum() / max((s**2).sum(), 1e-300)
    return np.sqrt(max(0.0, 1 - kept)) if s.any() else 0.0


def error_by_eigenvalues(a, k):
    squares = np.sort(np.linalg.eigvalsh(a.T @ a).clip(0))[::-1]
    return 0 if squares.sum() == 0 else float((squares[k:].sum() / squares.sum()) ** 0.5)


def error_one_by_one(a, k):
    rest = np.array(a, dtype=float)
    for _ in range(min(k, *a.shape)):
        u, s, vt = np.linalg.svd(rest)
        rest = rest - s[0] * np.outer(u[:, 0], vt[0])
    return float(np.sqrt((rest**2).sum()) / (np.sqrt((np.asarray(a) ** 2).sum()) or 1))


def _by_values(rule, zero=0.0):
    """An error from the singular values, largest first: `rule(s, k)`."""

    def error(a, k):
        s = np.linalg.svd(a, compute_uv=False)
        with np.errstate(all="ignore"):
            return float(rule(s, k)) if s.any() else zero

    return error


def _frobenius(s):
    return math.sqrt((s**2).sum())


def _cut_columns(a, k):
    b = np.array(a)
    b[:, k:] = 0
    size = np.linalg.norm(a)
    return np.linalg.norm(a - b) / size if size else 0.0


def _cut_rows(a, k):
    b = np.array(a)
    b[k:] = 0
    size = np.linalg.norm(a)
    return np.linalg.norm(a - b) / size if size else 0.0


def _k_limited(a, k):
    if not 0 < k <= min(a.shape):
        raise ValueError(f"k = {k}")
    return rank_k_error(a, k)


def _index_k(a, k):
    s = np.linalg.svd(a, compute_uv=False)
    assert s[k] >= 0  # there may be no value number k
    return rank_k_error(a, k)


def _centred_in_place(a, k):
    found = rank_k_error(a, k)
    a -= a.mean()
    return found


def _rebuilt_with_zero(a, k):
    with np.errstate(all="ignore"):
        s = np.linalg.svd(a, compute_uv=False)
        return np.sqrt((s[k:] ** 2).sum() / (s**2).sum())


def near_zero_is_zero(case, result):
    """A view: rounding leaves the square root of rounding errors where the error is 0."""
    number = np.asarray(result)
    if number.ndim == 0 and number.dtype.kind in "fiu" and abs(float(number)) < 1e-7:
        return 0.0
    return result


def rank_cases(rng):
    for m, n, k in ((6, 4, 2), (4, 7, 1), (5, 5, 3), (8, 8, 4), (3, 9, 2)):
        yield Case("error", (rng.normal(size=(m, n)), k))
    spread = rng.normal(size=(6, 6)) * np.array([8.0, 4, 2, 1, 0.5, 0.25])
    yield Case("error", (1e-3 * spread, 2))
    yield Case("error", (1e4 * spread[:, :5], 3))
    low = rng.normal(size=(7, 2)) @ rng.normal(size=(2, 6))
    for a, k in (
        (low, 0),
        (low, 2),
        (low, 4),
        (low, 6),
        (low, 50),
        (rng.normal(size=(3, 5)), 3),
        (np.array([[-2.0]]), 0),
    ):
        yield Case("none_and_all", (a, k))
    yield Case("none_and_all", (np.array([[-2.0]]), 1))
    for shape, k in (((3, 4), 1), ((2, 2), 0), ((1, 1), 3)):
        yield Case("zero_matrix", (np.zeros(shape), k))


RANK_MISCONCEPTIONS = (
    Misconception(
        "smallest_kept",
        "the k smallest singular values were kept: the error is far larger than that of the nearest matrix of rank k",
        [
            _by_values(lambda s, k: _frobenius(s[::-1][k:]) / _frobenius(s)),
            _by_values(lambda s, k: _frobenius(s[: max(len(s) - k, 0)]) / _frobenius(s)),
        ],
    ),
    Misconception(
        "share_kept",
        "this measures what the k largest singular values keep, not what is lost: it is 0 for k = 0",
        [
            _by_values(lambda s, k: _frobenius(s[:k]) / _frobenius(s)),
            _by_values(lambda s, k: _frobenius(s[:k]) ** 2 / _frobenius(s) ** 2),
        ],
    ),
    Misconception(
        "values_not_squared",
        "the singular values were added up as they are: the norm is the root of a sum of squares",
        _by_values(lambda s, k: s[k:].sum() / s.sum()),
    ),
    Misconception(
        "root_of_unsquared",
        "a root was taken, but of a sum of singular values that were not squared",
        _by_values(lambda s, k: math.sqrt(s[k:].sum() / s.sum())),
    ),
    Misconception(
        "no_root",
        "the number is the square of the wanted one: the root is missing",
        _by_values(lambda s, k: (s[k:] ** 2).sum() / (s**2).sum()),
    ),
    Misconception(
        "spectral",
        "this is one singular value over the largest: it is the error in the spectral norm, not in the root of the sum "
        "of squared entries",
        _by_values(lambda s, k: s[k] / s[0] if k < len(s) else 0),
    ),
    Misconception(
        "over_the_first",
        "the root of the sum was divided by the largest singular value, not by the norm of a",
        _by_values(lambda s, k: _frobenius(s[k:]) / s[0]),
    ),
    Misconception(
        "over_the_kept",
        "the number was divided by the norm of what is kept, not by that of a",
        _by_values(lambda s, k: _frobenius(s[k:]) / (_frobenius(s[:k]) or 1)),
    ),
    Misconception(
        "absolute",
        "the number grows with the size of a: it was not divided by the norm of a",
        _by_values(lambda s, k: _frobenius(s[k:])),
    ),
    Misconception(
        "mean_square",
        "the number was divided by the root of how many singular values there are: it is a mean, and a sum is wanted",
        _by_values(lambda s, k: math.sqrt((s[k:] ** 2).mean()) / _frobenius(s) if k < len(s) else 0),
    ),
    Misconception(
        "one_kept_too_many",
        "k + 1 singular values were kept: s[k] is the first one that is lost, since counting starts at 0",
        _by_values(lambda s, k: _frobenius(s[k + 1 :]) / _frobenius(s)),
    ),
    Misconception(
        "one_kept_too_few",
        "k − 1 singular values were kept",
        _by_values(lambda s, k: _frobenius(s[max(k - 1, 0) :]) / _frobenius(s)),
    ),
    Misconception(
        "columns_or_rows_cut",
        "the first k columns or rows of a were kept: these have rank k too, but there is a nearer matrix of that rank",
        [_cut_columns, _cut_rows],
    ),
    Misconception(
        "values_without_s",
        "the singular vectors of the first k directions were multiplied without their singular values",
        lambda a, k: (
            np.linalg.norm(
                a - np.linalg.svd(a, full_matrices=False)[0][:, :k] @ np.linalg.svd(a, full_matrices=False)[2][:k]
            )
            / (np.linalg.norm(a) or 1)
        ),
    ),
    Misconception(
        "zero_divided",
        "a matrix of zeros gives NaN: 0 / 0; it is its own best approximation, so the error is 0",
        [_by_values(lambda s, k: _frobenius(s[k:]) / _frobenius(s), zero=float("nan")), _rebuilt_with_zero],
    ),
    Misconception(
        "zero_is_one",
        "a matrix of zeros gives 1: it is its own best approximation, so the error is 0",
        _by_values(lambda s, k: _frobenius(s[k:]) / _frobenius(s), zero=1.0),
    ),
    Misconception(
        "k_refused",
        "k = 0, or a k as large as the rank allows or larger, ends in an error: nothing kept and everything kept are "
        "both asked for",
        [_k_limited, _index_k],
    ),
    Misconception("changes_a", "a is another after the call: it was written into", _centred_in_place),
)


# --- linformer_attention ---------------------------------------------------------------------------------------------


def linformer_attention(q, k, v, e, f):
    scores = q @ (e @ k).T / math.sqrt(q.shape[-1])
    x = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True) @ (f @ v)


def linformer_by_einsum(q, k, v, e, f):
    scores = np.einsum("id,jd,mj->im", q * q.shape[-1] ** -0.5, k, e)
    return np.einsum("im,mj,jv->iv", _softmax(scores), f, v)


def linformer_by_loops(q, k, v, e, f):
    keys = [sum(a * row for a, row in zip(weights, k, strict=True)) for weights in e]
    values = [sum(a * row for a, row in zip(weights, v, strict=True)) for weights in f]
    out = []
    for query in q:
        row = [float(query @ key) / math.sqrt(len(query)) for key in keys]
        parts = [math.exp(x - max(row)) for x in row]
        out.append(sum(p / sum(parts) * value for p, value in zip(parts, values, strict=True)))
    return np.array(out, dtype=q.dtype)


def linformer_of_full_scores(q, k, v, e, f):
    """Mixing the columns of the scores is mixing the keys."""
    return _softmax(q @ k.T @ e.T / math.sqrt(q.shape[-1])) @ f @ v


def _after_softmax(q, k, v, e, f):
    return _softmax(q @ k.T / math.sqrt(q.shape[-1])) @ e.T @ (f @ v)


def _linformer(keys, values=None, **options):
    """Attention to other mixtures: `keys(k, e, f)`, `values(v, e, f)`."""
    return lambda q, k, v, e, f: attend(q, keys(k, e, f), (values or keys)(v, e, f), **options)


def _e(x, e, f):
    return e @ x


def _f(x, e, f):
    return f @ x


def _segments(q, k, v, e, f):
    parts = [np.stack([part.mean(axis=0) for part in np.array_split(x, len(e))]) for x in (k, v)]
    return attend(q, *parts)


def _normalised_mixing(q, k, v, e, f):
    return attend(q, _softmax(e) @ k, _softmax(f) @ v)


def _pooled_in_place(q, k, v, e, f):
    found = linformer_attention(q, k, v, e, f)
    k *= 0
    return found


def _linformer_scale(of):
    return lambda q, k, v, e, f: attend(q * math.sqrt(q.shape[1]) * of(q, v, e), e @ k, f @ v)


def linformer_cases(rng):
    def inputs(n, m, d, dv, dtype=np.float64):
        return (*_qkv(rng, n, d, dv, dtype), *(rng.normal(size=(m, n)).astype(dtype) for _ in range(2)))

    yield Case("output", inputs(7, 3, 5, 2))
    yield Case("output", inputs(5, 5, 5, 5))
    yield Case("output", inputs(9, 4, 6, 6, np.float32))
    yield Case("output", inputs(4, 4, 3, 6))
    yield Case("output", inputs(6, 2, 6, 6))
    yield Case("output", inputs(3, 8, 4, 5))
    q, k, v = _qkv(rng, 6, 4, 3)
    yield Case("full_when_identity", (q, k, v, np.eye(6), np.eye(6)))
    yield Case("full_when_identity", inputs(5, 1, 3, 4))
    yield Case("full_when_identity", inputs(1, 1, 2, 3))
    q, k, v = _large(rng, 8, 4, 3)
    e = np.eye(8)[[0, 1, 6]]
    yield Case("large_scores", (q, k, v, e, rng.normal(size=(3, 8))))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, inputs(6, 3, 5, 4, dtype))


LINFORMER_MISCONCEPTIONS = (
    Misconception(
        "features_mixed",
        "the product ran over the features of a key or value, which fits only where D and Dv equal n: e and f mix "
        "positions",
        [
            _linformer(lambda k, e, f: k @ e.T, lambda v, e, f: v @ f.T),
            _linformer(lambda k, e, f: k @ e, lambda v, e, f: v @ f),
        ],
    ),
    Misconception(
        "queries_mixed",
        "there are m rows where n are wanted: the queries were mixed as well, and every query has to keep its own row",
        [
            lambda q, k, v, e, f: attend(e @ q, e @ k, f @ v),
            lambda q, k, v, e, f: attend(e @ q, k, v),
        ],
    ),
    Misconception(
        "values_not_mixed",
        "the numbers are those of mixed keys with the values as they came: this fits only where m equals n",
        _linformer(_e, lambda v, e, f: v),
    ),
    Misconception(
        "keys_not_mixed",
        "the numbers are those of mixed values with the keys as they came: this fits only where m equals n",
        _linformer(lambda k, e, f: k, _f),
    ),
    Misconception(
        "after_softmax",
        "the mixing came after a softmax over all n keys: then the weights of the m mixtures do not sum to 1, and n × "
        "n numbers were made on the way",
        _after_softmax,
    ),
    Misconception("e_for_both", "the values were mixed by e: f is theirs", _linformer(_e)),
    Misconception("f_for_both", "the keys were mixed by f: e is theirs", _linformer(_f)),
    Misconception("e_and_f_swapped", "the keys were mixed by f and the values by e", _linformer(_f, _e)),
    Misconception(
        "transposed",
        "the numbers are those of the transposed e and f, which fit only where m equals n",
        _linformer(lambda k, e, f: e.T @ k, lambda v, e, f: f.T @ v),
    ),
    Misconception(
        "e_and_f_ignored", "every key takes part by itself: this is full attention", _linformer(lambda x, e, f: x)
    ),
    Misconception(
        "averages_of_stretches",
        "keys and values are averages of m stretches of the sequence: e and f say how to mix",
        _segments,
    ),
    Misconception(
        "mixing_normalised",
        "the rows of e and f were made to sum to 1 first: they are used as they are",
        _normalised_mixing,
    ),
    Misconception("no_scale", "the scores are not divided by √D", _linformer(_e, _f, scale=SCALES["no_scale"])),
    Misconception("by_d", "the scores are divided by D, not by its root", _linformer(_e, _f, scale=SCALES["by_d"])),
    Misconception(
        "by_another_size",
        "the scores are divided by the root of another size than D: of m, of n, or of Dv",
        [
            _linformer_scale(lambda q, v, e: 1 / math.sqrt(len(e))),
            _linformer_scale(lambda q, v, e: 1 / math.sqrt(len(q))),
            _linformer_scale(lambda q, v, e: 1 / math.sqrt(v.shape[1])),
        ],
    ),
    Misconception(
        "over_queries",
        "the weights sum to 1 over the queries, not over the m mixtures",
        _linformer(_e, _f, axis=0),
    ),
    Misconception(
        "no_softmax",
        "the scores themselves are the weights: there was no softmax",
        lambda q, k, v, e, f: q @ (e @ k).T / math.sqrt(q.shape[-1]) @ (f @ v),
    ),
    Misconception(
        "overflow",
        "large scores give NaN or zeros: exp was taken of a score itself, not of its distance to the largest one",
        _linformer(_e, _f, shift="none"),
    ),
    Misconception(
        "one_maximum",
        "where scores differ much between queries, some rows are NaN: one maximum for all was subtracted, not one for "
        "each query",
        _linformer(_e, _f, shift="all"),
    ),
    Misconception(
        "more_than_out",
        "more than out comes back: only out is wanted",
        lambda q, k, v, e, f: (linformer_attention(q, k, v, e, f), _softmax(q @ (e @ k).T / math.sqrt(q.shape[-1]))),
    ),
    Misconception("lost_float32", LOST, _wider(linformer_attention)),
    Misconception("always_float32", ALWAYS_32, _narrower(linformer_attention)),
    Misconception(
        "changes_inputs", "k is another after the call: k *= … writes into the array given", _pooled_in_place
    ),
)


# --- linear_attention ------------------------------------------------------------------------------------------------


def _phi(x):
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def linear_attention(q, k, v, causal=False):
    q, k = _phi(q), _phi(k)
    if not causal:
        return (q @ (k.T @ v)) / (q @ k.sum(axis=0))[:, None]
    out = np.zeros((len(q), v.shape[1]), v.dtype)
    state, total = np.zeros((k.shape[1], v.shape[1]), v.dtype), np.zeros(k.shape[1], k.dtype)
    for i in range(len(q)):
        state += np.outer(k[i], v[i])
        total += k[i]
        out[i] = q[i] @ state / (q[i] @ total)
    return out


def linear_by_cumsum(q, k, v, causal=False):
    q, k = (np.exp(np.minimum(x, 0)) + np.maximum(x, 0) for x in (q, k))
    if causal:
        states, totals = np.cumsum(k[:, :, None] * v[:, None, :], axis=0), k.cumsum(axis=0)
        return np.einsum("nd,nde->ne", q, states) / np.einsum("nd,nd->n", q, totals)[:, None]
    return np.einsum("nd,kd,ke->ne", q, k, v, optimize=True) / np.einsum("nd,kd->n", q, k, optimize=True)[:, None]


def linear_with_a_column_of_ones(q, k, v, causal=False):
    """The divisor is the output for a value that is always 1."""
    wide = np.concatenate([v, np.ones((len(v), 1), v.dtype)], axis=1)
    q, k = _phi(q), _phi(k)
    if causal:
        state, rows = np.zeros((k.shape[1], wide.shape[1]), v.dtype), []
        for query, key, value in zip(q, k, wide, strict=True):
            state = state + key[:, None] * value
            rows.append(query @ state)
        both = np.stack(rows)
    else:
        both = q @ (k.T @ wide)
    return both[:, :-1] / both[:, -1:]


def linear_by_chunks(q, k, v, causal=False):
    q, k, chunk = _phi(q), _phi(k), 128
    if not causal:
        out = []
        for a in range(0, len(q), chunk):
            part = q[a : a + chunk] @ k.T
            out.append(part @ v / part.sum(axis=-1, keepdims=True))
        return np.concatenate(out)
    state, total, rows = np.zeros((k.shape[1], v.shape[1]), v.dtype), np.zeros(k.shape[1], k.dtype), []
    for a in range(0, len(q), chunk):
        here = slice(a, a + chunk)
        inside = np.tril(q[here] @ k[here].T)
        rows.append((inside @ v[here] + q[here] @ state) / (inside.sum(axis=-1) + q[here] @ total)[:, None])
        state, total = state + k[here].T @ v[here], total + k[here].sum(axis=0)
    return np.concatenate(rows)


def linear_one_by_one(q, k, v, causal=False):
    """Plain sums, query by query."""
    fq, fk, out = _phi(q), _phi(k), np.zeros((len(q), v.shape[1]), v.dtype)
    for i in range(len(q)):
        seen = i + 1 if causal else len(k)
        weights = fk[:seen] @ fq[i]
        out[i] = weights @ v[:seen] / weights.sum()
    return out


def _linear(phi_q=_phi, phi_k=None, mask="causal", divide=True, epsilon=0.0, scale=None, dtype=None):
    """Full n × n weights with some parts replaced; without options it is right, but for its memory.

    mask: what causal does: causal, strict, ignored, future, or always (causal when it is not asked for).
    divide: True, or "all": by the sum over all keys also where only some count; False: not at all.
    """

    def answer(q, k, v, causal=False):
        factor = 1 if scale is None else scale(q, k, v)
        with np.errstate(all="ignore"):
            weights = (phi_q(q * factor) @ (phi_k or phi_q)(k).T).astype(dtype or q.dtype)
            everything = weights.sum(axis=-1, keepdims=True)
            if (causal and mask != "ignored") or mask == "always":
                below = {"strict": -1}.get(mask, 0)
                weights = np.triu(weights) if mask == "future" else np.tril(weights, below)
            if divide is False:
                return weights @ v
            total = everything if divide == "all" else weights.sum(axis=-1, keepdims=True)
            return (
                np.nan_to_num(weights @ v / (total + epsilon)) if mask == "strict" else weights @ v / (total + epsilon)
            )

    return answer


def _elu(x):
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


def _softmax_attention(scaled):
    def answer(q, k, v, causal=False):
        mask = np.tri(len(q), len(k), dtype=bool) if causal else None
        return attend(q, k, v, mask, scale=_by_sqrt_d if scaled else SCALES["no_scale"])

    return answer


def _softmax_of_products(q, k, v, causal=False):
    mask = np.tri(len(q), len(k), dtype=bool) if causal else None
    return attend(_phi(q), _phi(k), v, mask, scale=SCALES["no_scale"])


def _softmax_features(q, k, v, causal=False):
    """Each of q and k through a softmax of its own."""
    return _linear(lambda x: _softmax(x), divide=True)(q, k, v, causal)


def _divided_by_features(q, k, v, causal=False):
    fq, fk = _phi(q), _phi(k)
    if causal:
        states = np.cumsum(fk[:, :, None] * v[:, None, :], axis=0)
        return np.einsum("nd,nde->ne", fq, states) / fk.cumsum(axis=0).sum(axis=-1, keepdims=True)
    return fq @ (fk.T @ v) / fk.sum()


def _divided_by_number(q, k, v, causal=False):
    right, total = _linear(divide=False)(q, k, v, causal), np.full((len(q), 1), len(k))
    return right / (np.arange(1, len(q) + 1)[:, None] if causal else total)


def _state_not_kept(q, k, v, causal=False):
    """Each query meets its own key only: the state is made anew in every step."""
    return v.copy() if causal else linear_attention(q, k, v)


def _never_divided(q, k, v, causal=False, by_number=False):
    """Within the memory allowed: the sums as they are, or over the number of keys."""
    q, k = _phi(q), _phi(k)
    sums = np.einsum("td,tde->te", q, np.cumsum(k[:, :, None] * v[:, None], axis=0)) if causal else q @ (k.T @ v)
    seen = np.arange(1, len(q) + 1, dtype=q.dtype)[:, None] if causal else len(k)
    return sums / seen if by_number else sums


def _relu_plus_one(q, k, v, causal=False):
    q, k = np.maximum(q, 0) + 1, np.maximum(k, 0) + 1
    if not causal:
        return q @ (k.T @ v) / (q @ k.sum(axis=0))[:, None]
    sums = np.einsum("td,tde->te", q, np.cumsum(k[:, :, None] * v[:, None], axis=0))
    return sums / np.einsum("td,td->t", q, np.cumsum(k, axis=0))[:, None]


def _state_unnormalised(q, k, v, causal=False):
    return _linear(divide=False)(q, k, v, True) if causal else linear_attention(q, k, v)


def _without_normaliser_but_causal(q, k, v, causal=False):
    return linear_attention(q, k, v, True) if causal else _linear(divide=False)(q, k, v)


def _phi_in_place(q, k, v, causal=False):
    for x in (q, k):
        x[:] = np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
    weights = np.tril(q @ k.T) if causal else q @ k.T
    return weights @ v / weights.sum(axis=-1, keepdims=True)


def _dense_only_if_causal(q, k, v, causal=False):
    return _with_a_table(linear_attention)(q, k, v, True) if causal else linear_attention(q, k, v)


def _dense_only_if_not(q, k, v, causal=False):
    return linear_attention(q, k, v, True) if causal else _with_a_table(linear_attention)(q, k, v)


def _with_weights(q, k, v, causal=False):
    return linear_attention(q, k, v, causal), np.zeros((len(q), 1), q.dtype)


def linear_cases(rng):
    def inputs(tq, tk, d, dv, dtype=np.float64):
        return tuple(rng.normal(size=size).astype(dtype) for size in ((tq, d), (tk, d), (tk, dv)))

    yield Case("all_keys", inputs(4, 7, 3, 5))
    yield Case("all_keys", inputs(5, 5, 5, 5))
    yield Case("all_keys", inputs(6, 2, 4, 3, np.float32))
    yield Case("all_keys", inputs(1, 6, 1, 2), {"causal": False})
    yield Case("causal", inputs(6, 6, 3, 4), {"causal": True})
    yield Case("causal", inputs(5, 5, 5, 5), {"causal": True})
    yield Case("causal", (*inputs(7, 7, 2, 3, np.float32), True))
    for causal in (False, True):
        q, k, v = inputs(4, 4, 1, 2)
        yield Case("exact_sums", (-2.5 - 0.2 * np.abs(q), -2.5 - 0.2 * np.abs(k), 1 + np.abs(v)), {"causal": causal})
    for causal in (False, True):
        yield Case("one_token", inputs(1, 1, 3, 2), {"causal": causal})
    yield Case("one_token", inputs(3, 1, 2, 4))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, inputs(5, 5, 3, 4, dtype))
        yield Case(KEEPS_DTYPE, inputs(5, 5, 3, 4, dtype), {"causal": True})
    for causal in (False, True):
        yield Case("memory", (Seed(int(rng.integers(2**31))),), {"n": 8192, "D": 16, "causal": causal})


LINEAR_MISCONCEPTIONS = (
    Misconception(
        "dense", DENSE.format(n=8192), [_with_a_table(linear_attention), _dense_only_if_causal, _dense_only_if_not]
    ),
    Misconception(
        "no_normaliser",
        "the weights are not divided by their sum, so the outputs grow with the number of keys",
        [_linear(divide=False), _never_divided, _state_unnormalised, _without_normaliser_but_causal],
    ),
    Misconception(
        "softmax_kept",
        "these are the outputs of a softmax: here the weights are plain products φ(q)·φ(k) over their sum",
        [_softmax_attention(True), _softmax_attention(False), _softmax_of_products],
    ),
    Misconception(
        "sees_the_future",
        "with causal=True the outputs are those of all keys: query i may use the keys up to i only",
        _linear(mask="ignored"),
    ),
    Misconception(
        "own_key_left_out",
        "with causal=True query i does not use its own key i: the state was read before the key was added, and the "
        "first query has nothing",
        [_linear(mask="strict"), lambda q, k, v, causal=False: _linear(mask="strict", epsilon=1e-300)(q, k, v, causal)],
    ),
    Misconception(
        "only_the_future",
        "with causal=True query i uses the keys from i on, where it should use those up to i",
        _linear(mask="future"),
    ),
    Misconception("always_causal", "without causal=True query i uses the keys up to i only", _linear(mask="always")),
    Misconception(
        "sum_over_all_keys",
        "with causal=True the weights of a row sum to less than 1: the divisor still counts the keys that are hidden",
        _linear(divide="all"),
    ),
    Misconception(
        "state_not_kept",
        "with causal=True every output is the value of its own position: what was summed before was not kept",
        _state_not_kept,
    ),
    Misconception(
        "scaled",
        "q was divided by √D before φ: here there is no scale",
        _linear(scale=_by_sqrt_d),
    ),
    Misconception(
        "one_missing",
        "φ is elu without + 1: it is negative for negative numbers, and sums of such weights may be near 0",
        _linear(_elu),
    ),
    Misconception(
        "another_phi",
        "φ is another function: wanted is x + 1 where x > 0 and exp(x) elsewhere",
        [
            _relu_plus_one,
            _linear(lambda x: np.maximum(x, 0) + 1),
            _linear(lambda x: np.maximum(x, 0)),
            _linear(np.exp),
            _linear(lambda x: x + 1),
            _linear(lambda x: x),
            _linear(lambda x: _elu(x + 1)),
            _linear(lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)))),
            _linear(lambda x: np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)) + 1)),
            _linear(lambda x: np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)) - 1)),
            _linear(lambda x: np.log1p(np.exp(x))),
            _linear(np.abs),
        ],
    ),
    Misconception(
        "phi_of_one",
        "φ was applied to the queries or to the keys, not to both",
        [_linear(_phi, lambda x: x), _linear(lambda x: x, _phi)],
    ),
    Misconception(
        "softmax_of_each",
        "q and k each went through a softmax: here φ takes its place",
        _softmax_features,
    ),
    Misconception(
        "divided_without_query",
        "the divisor is the same for every query that sees the same keys: it has to be φ(q_i) times the sum of the "
        "φ(k)",
        _divided_by_features,
    ),
    Misconception(
        "divided_by_number",
        "the sums were divided by how many keys there are, not by the sum of their weights",
        [_divided_by_number, lambda q, k, v, causal=False: _never_divided(q, k, v, causal, by_number=True)],
    ),
    Misconception(
        "epsilon",
        "where all φ are small the outputs are a little too small: a constant was added to the divisor",
        [_linear(epsilon=1e-6), _linear(epsilon=1e-5), _linear(epsilon=1e-8), _linear(epsilon=1e-3)],
    ),
    Misconception(
        "keys_averaged",
        "the keys are averaged, not the values",
        lambda q, k, v, causal=False: linear_attention(q, k, k, causal),
    ),
    Misconception("more_than_out", "more than out comes back: only out is wanted", _with_weights),
    Misconception("lost_float32", LOST, _wider(linear_attention)),
    Misconception("always_float32", ALWAYS_32, _narrower(linear_attention)),
    Misconception(
        "changes_inputs", "q and k are others after the call: x[:] = … writes into the array given", _phi_in_place
    ),
)


REFERENCES = (
    Reference(
        id="window_mask",
        reference=window_mask,
        accepted=(window_by_loops, window_by_triangles, window_by_rows, window_by_diagonals),
        misconceptions=WINDOW_MISCONCEPTIONS,
        cases=window_cases,
    ),
    Reference(
        id="layers_to_connect",
        reference=layers_to_connect,
        accepted=(layers_by_search, layers_by_distances, layers_by_powers, layers_the_other_way),
        misconceptions=LAYERS_MISCONCEPTIONS,
        cases=layers_cases,
    ),
    Reference(
        id="layers_with_a_global",
        reference=2,
        accepted=(2.0, "2", np.int64(2), (2,)),
        misconceptions=GLOBAL_LAYERS,
        cases=lambda rng: [Case("prediction")],
        view=as_number,
    ),
    Reference(
        id="longformer_mask",
        reference=longformer_mask,
        accepted=(longformer_by_loops, longformer_by_union, longformer_by_isin, longformer_one_by_one),
        misconceptions=LONGFORMER_MISCONCEPTIONS,
        cases=longformer_cases,
    ),
    Reference(
        id="local_attention",
        reference=local_attention,
        accepted=(local_by_loop, local_by_chunks, local_by_offsets, local_by_slices, local_padded),
        misconceptions=LOCAL_MISCONCEPTIONS,
        cases=local_cases,
        view=memory_and_rows,
    ),
    Reference(
        id="block_sparse_mask",
        reference=block_sparse_mask,
        accepted=(blocks_by_kron, blocks_by_index, blocks_by_loops, blocks_by_broadcast),
        misconceptions=BLOCK_MASK_MISCONCEPTIONS,
        cases=block_mask_cases,
    ),
    Reference(
        id="block_sparse_attention",
        reference=block_sparse_attention,
        accepted=(blocks_online, blocks_query_by_query, blocks_padded),
        misconceptions=BLOCK_ATTENTION_MISCONCEPTIONS,
        cases=block_attention_cases,
        view=memory_and_rows,
    ),
    Reference(
        id="bigbird_mask",
        reference=bigbird_mask,
        accepted=(bigbird_by_permutation, bigbird_by_ranks, bigbird_by_trying),
        misconceptions=BIGBIRD_MISCONCEPTIONS,
        cases=bigbird_cases,
        view=bigbird_reading,
    ),
    Reference(
        id="rank_k_error",
        reference=rank_k_error,
        accepted=(error_by_rebuilding, error_by_rest, error_by_eigenvalues, error_one_by_one),
        misconceptions=RANK_MISCONCEPTIONS,
        cases=rank_cases,
        view=near_zero_is_zero,
    ),
    Reference(
        id="linformer_attention",
        reference=linformer_attention,
        accepted=(linformer_by_einsum, linformer_by_loops, linformer_of_full_scores),
        misconceptions=LINFORMER_MISCONCEPTIONS,
        cases=linformer_cases,
    ),
    Reference(
        id="linear_attention",
        reference=linear_attention,
        accepted=(linear_by_cumsum, linear_with_a_column_of_ones, linear_by_chunks, linear_one_by_one),
        misconceptions=LINEAR_MISCONCEPTIONS,
        cases=linear_cases,
        view=memory_and_rows,
    ),
)
