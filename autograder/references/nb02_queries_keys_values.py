"""Notebook 02, the hidden half: references, accepted and wrong answers, cases.

About 800 lines, since four exercises share the module and each has wrong answers in several natural shapes.
"""

import itertools
import math
import re

import numpy as np

from autograder.exercise import KEEPS_DTYPE, Case, Misconception, Reference


def parts(*names):
    """A view that reads a result of several parts as a dict; a check of one part sees that part alone.

    names: what each part is called, in the order in which it is returned.
    """
    seen = {"queries": "q", "keys": "k", "values": "v", "qk": "QK", "ov": "OV"}

    def view(case, result):
        if not isinstance(result, (tuple, list, np.ndarray)) or len(result) != len(names):
            raise ValueError(f"not {len(names)} results")
        named = dict(zip(names, result, strict=True))
        return {seen[case.check]: named[seen[case.check]]} if case.check in seen else named

    return view


# --- project_qkv -----------------------------------------------------------------------------------------------------


def project_qkv(x, w_q, w_k, w_v):
    return x @ w_q, x @ w_k, x @ w_v


def project_by_einsum(x, w_q, w_k, w_v):
    return tuple(np.einsum("btc,cd->btd", x, w) for w in (w_q, w_k, w_v))


def project_at_once(x, w_q, w_k, w_v):
    packed = x @ np.concatenate([w_q, w_k, w_v], axis=1)
    d = w_q.shape[1]
    return packed[..., :d], packed[..., d : 2 * d], packed[..., 2 * d :]


def project_by_loops(x, w_q, w_k, w_v):
    return [
        [[[sum(a * b for a, b in zip(t, c, strict=True)) for c in w.T] for t in s] for s in x] for w in (w_q, w_k, w_v)
    ]


def project_flat(x, w_q, w_k, w_v):
    b, t, c = x.shape
    return [np.dot(x.reshape(b * t, c), w).reshape(b, t, w.shape[1]) for w in (w_q, w_k, w_v)]


def _each(project):
    """An answer that treats the three matrices alike: `project(x, w)`."""
    return lambda x, w_q, w_k, w_v: (project(x, w_q), project(x, w_k), project(x, w_v))


def _picked(order):
    """An answer that uses matrix number `order[i]` for result number i."""

    def project(x, *matrices):
        return tuple(x @ matrices[i] for i in order)

    return project


def _far(order):
    """Whether these choices of matrices are not one of the four simple mistakes."""
    return order not in ((1, 1, 2), (0, 0, 2), (0, 1, 1), (0, 1, 0))


def _chained(x, w_q, w_k, w_v):
    q = x @ w_q
    k = q @ w_k
    return q, k, k @ w_v


def _keys_from_queries(x, w_q, w_k, w_v):
    q = x @ w_q
    return q, q @ w_k, q @ w_v


def _scaled_queries(x, w_q, w_k, w_v):
    return x @ w_q / math.sqrt(w_q.shape[1]), x @ w_k, x @ w_v


def _scaled_all(x, w_q, w_k, w_v):
    return tuple(part / math.sqrt(part.shape[-1]) for part in project_qkv(x, w_q, w_k, w_v))


def _into_float64(x, w_q, w_k, w_v):
    found = tuple(np.zeros((*x.shape[:2], w.shape[1])) for w in (w_q, w_k, w_v))
    for out, w in zip(found, (w_q, w_k, w_v), strict=True):
        out[:] = x @ w
    return found


def _in_place(x, w_q, w_k, w_v):
    q, k, v = project_qkv(x, w_q, w_k, w_v)
    if w_v.shape[1] == x.shape[2]:
        x[:] = v
    return q, k, v


def _in_place_always(x, w_q, w_k, w_v):
    results = project_qkv(x, w_q, w_k, w_v)
    x *= 2
    return results


def _wider(answer, *which):
    """An answer whose results at the places `which` come as float64."""
    return lambda *inputs: tuple(
        part.astype(np.float64) if i in which else part for i, part in enumerate(answer(*inputs))
    )


def projection_cases(rng):
    shapes = [
        (2, 4, 5, 3, 6, np.float64),
        (2, 4, 5, 3, 6, np.float32),
        (2, 3, 4, 4, 4, np.float64),  # C = D = Dv: a transposed or wrong matrix fits
        (3, 3, 3, 3, 3, np.float64),  # nothing can be told by its size
    ]
    for check, count in {"queries": 4, "keys": 3, "values": 4}.items():
        for b, t, c, d, dv, dtype in shapes[:count]:
            yield Case(check, _projection(rng, b, t, c, d, dv, dtype))
        for scale in (1e-3, 1e3):  # where a small constant, rounding, float32 in between or clipping shows
            x, *matrices = _projection(rng, 1, 7, 6, 4, 4, np.float64)
            yield Case(check, (scale * x, *matrices), relative=True)
    yield Case("one_token", _projection(rng, 1, 1, 4, 2, 3, np.float64))
    yield Case("one_token", _projection(rng, 1, 1, 3, 3, 3, np.float64))
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, _projection(rng, 2, 3, 4, 2, 5, dtype))


def _projection(rng, b, t, c, d, dv, dtype):
    sizes = [(b, t, c), (c, d), (c, d), (c, dv)]
    return tuple(rng.normal(size=size).astype(dtype) for size in sizes)


PROJECTION_MISCONCEPTIONS = (
    Misconception(
        "transposed_matrices",
        "the numbers are those of x times the transposed matrices: the product ran over D, the second axis of each, "
        "which fits only where D = C",
        [_each(lambda x, w: x @ w.T), _each(lambda x, w: np.einsum("btc,dc->btd", x, w))],
    ),
    Misconception(
        "reshaped_matrices",
        "the shapes are right and the numbers are not: a matrix, transposed or read in another order, was fitted by "
        "reshape, which mixes its rows and columns",
        [
            _each(lambda x, w: x @ w.T.reshape(w.shape)),
            _each(lambda x, w: x @ w.reshape(w.shape[::-1]).T),
        ],
    ),
    Misconception(
        "reshaped_tokens",
        "the right numbers stand in the wrong places: reshape does not swap axes, it only reads the same numbers in "
        "rows of another length, so that tokens or sentences are mixed",
        [
            _each(lambda x, w: (x.reshape(-1, x.shape[2]) @ w).reshape(x.shape[1], x.shape[0], -1)),
            _each(lambda x, w: (x.swapaxes(0, 1).reshape(-1, x.shape[2]) @ w).reshape(*x.shape[:2], -1)),
            _each(lambda x, w: (w.T @ x.swapaxes(1, 2)).reshape(*x.shape[:2], -1)),
            _each(lambda x, w: (w.T @ x.reshape(-1, x.shape[2]).T).reshape(*x.shape[:2], -1)),
        ],
    ),
    Misconception(
        "reshaped_features",
        "the shapes are right and the numbers are not: x was brought to (B, C, T) by reshape, which does not swap axes "
        "and mixes the features of different tokens",
        _each(lambda x, w: x.reshape(x.shape[0], x.shape[2], -1).swapaxes(1, 2) @ w),
    ),
    Misconception(
        "flat_results",
        "the axes B and T come back as one: rows for all tokens of all sentences, not sentences of tokens",
        _each(lambda x, w: x.reshape(-1, x.shape[2]) @ w),
    ),
    Misconception(
        "tokens_last",
        "the last two axes of the results are swapped, (B, D, T) instead of (B, T, D)",
        [_each(lambda x, w: w.T @ x.swapaxes(1, 2)), _each(lambda x, w: (x @ w).swapaxes(1, 2))],
    ),
    Misconception(
        "first_sentence_only",
        "only the first sentence of the batch was projected",
        [
            _each(lambda x, w: x[0] @ w),
            _each(lambda x, w: (x[0] @ w)[None]),
            _each(lambda x, w: (x[0] @ w)[None] + 0 * x @ w),
        ],
    ),
    Misconception(
        "squeezed",
        "an axis of size 1 is gone: one sentence is still a batch, and one token is still a sentence",
        [
            _each(lambda x, w: (x @ w).squeeze()),
            _each(lambda x, w: (x @ w).squeeze(0) if len(x) == 1 else x @ w),
            _each(lambda x, w: (x @ w).squeeze(1) if x.shape[1] == 1 else x @ w),
        ],
    ),
    # A check sees its own result alone, so the sentences on mixed-up matrices hold for a single result as well.
    Misconception(
        "one_shared_matrix",
        "one matrix does the work of others, and q, k and v are meant to differ: q comes from w_q, k from w_k, v from "
        "w_v",
        [_picked((0, 0, 0)), _picked((1, 1, 1)), _picked((2, 2, 2))],
    ),
    Misconception("q_from_w_k", "q comes from w_k, the matrix of the keys, not from w_q", _picked((1, 1, 2))),
    Misconception("k_from_w_q", "k comes from w_q, the matrix of the queries, not from w_k", _picked((0, 0, 2))),
    Misconception("values_from_w_k", "the values come from w_k, not from w_v", _picked((0, 1, 1))),
    Misconception("values_from_w_q", "the values come from w_q, not from w_v", _picked((0, 1, 0))),
    Misconception(
        "another_order",
        "a result stands in the place of another: the order is (q, k, v)",
        [_picked(order) for order in ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))],
    ),
    Misconception(
        "another_matrix",
        "a result comes from the matrix of another role: q comes from w_q, k from w_k, v from w_v",
        [_picked(order) for order in itertools.product(range(3), repeat=3) if len(set(order)) == 2 and _far(order)],
    ),
    Misconception(
        "x_as_values",
        "v is x itself, of width C: the values were not projected",
        lambda x, w_q, w_k, w_v: (x @ w_q, x @ w_k, x),
    ),
    Misconception(
        "one_after_the_other",
        "a result is a projection of q or k, not of x: each matrix is meant to read the token itself",
        [_chained, _keys_from_queries],
    ),
    Misconception(
        "scaled",
        "there is a division by the root of a width: projections carry no scale, and if there is one it belongs to the "
        "scores",
        [_scaled_queries, _scaled_all, _each(lambda x, w: x @ w / math.sqrt(x.shape[-1]))],
    ),
    Misconception(
        "tokens_summed",
        "the axis T is gone: the tokens of a sentence were added up or averaged",
        [_each(lambda x, w: (x @ w).sum(axis=1)), _each(lambda x, w: (x @ w).mean(axis=1))],
    ),
    Misconception(
        "lost_float32",
        "float32 became float64: an array that np.zeros made, astype(float) or a float64 number in between does that",
        [_into_float64, _wider(project_qkv, 2), _wider(project_qkv, 0, 1)],
    ),
    Misconception(
        "always_float32",
        "float64 became float32: the dtype was set, not taken from the inputs",
        _each(lambda x, w: (x @ w).astype(np.float32)),
    ),
    Misconception(
        "overwrites_x",
        "x is another after the call: an operation in place, such as x[:] = … or x *= …, writes into the array given",
        [_in_place, _in_place_always],
    ),
)


# --- swapped_roles ---------------------------------------------------------------------------------------------------


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


ROLES = (
    Misconception(
        "all_three",
        "the scores are in it, but k qᵀ is q kᵀ transposed: each score is still there, at [j, i] instead of [i, j]",
        [{"scores", "weights", "output"}, {"scores", "weights"}, {"scores", "output"}, {"scores"}],
    ),
    Misconception(
        "none",
        "the scores are only transposed, but the softmax runs over rows: after a transposition it normalises what was "
        "a column, so that the weights are others, and with them the output",
        set(),
    ),
    Misconception(
        "weights_only",
        "the output is weights times values: the values did not change, so other weights give another output",
        {"weights"},
    ),
    Misconception(
        "output_only",
        "if only the output changed, its weights would have stayed; but the softmax runs over rows, and transposed "
        "scores have other rows",
        {"output"},
    ),
)


# --- attend_to_previous ----------------------------------------------------------------------------------------------

ENOUGH = 0.99
SLACK = 1e-6  # whoever solves for exactly 0.99 is right


def attend_to_previous(n):
    w_q = np.zeros((n, n))
    w_q[0, 0] = w_q[np.arange(1, n), np.arange(n - 1)] = 100.0
    return w_q, np.eye(n)


def previous_by_keys(n):
    scale = math.log(200 * n)
    w_k = [[0] * n for _ in range(n)]
    for j in range(n):
        if j + 1 < n:
            w_k[j][j + 1] = 1
    w_k[0][0] = 1
    return [[scale * (i == j) for j in range(n)] for i in range(n)], w_k


def previous_by_distance(n):
    """Scores −25 (j − (i − 1))², a product of three numbers per token."""
    i, c = np.arange(n), 5.0
    w_q, w_k = np.zeros((n, max(n, 3))), np.zeros((n, max(n, 3)))
    w_q[:, :3] = np.stack([c * (i - 1.0) ** 2, c * (i - 1.0), np.full(n, c)], axis=1)
    w_k[:, :3] = np.stack([np.full(n, -c), 2 * c * i, -c * i**2.0], axis=1)
    return (w_q, w_k) if n >= 3 else attend_to_previous(n)


def previous_in_another_basis(n):
    basis = np.linalg.qr(np.random.default_rng(n).normal(size=(n, n)))[0]
    table = np.vstack([np.eye(n)[:1], np.eye(n)[:-1]]) * 30
    return table @ basis, basis


def previous_in_integers(n):
    table = np.eye(n, k=-1, dtype=int)
    table[0, 0] = 1
    return 6 * np.eye(n, dtype=int), 6 * table.T


def _table(n, scale, offset=-1, first=0):
    """Scores of `scale` at [i, i + offset] where there is such a token, and at [0, first] if that is not None."""
    table = np.eye(n, k=offset)
    if first is not None:
        table[0] = np.eye(n)[first]
    return scale * table


def _split(**how):
    """An answer with this table of scores."""
    return lambda n: (_table(n, **how), np.eye(n))


def _swapped(n):
    w_q, w_k = attend_to_previous(n)
    return w_k, w_q


def _next_and_last(n):
    table = _table(n, 100.0, offset=1, first=None)
    table[-1, -1] = 100.0
    return table, np.eye(n)


def _rolled(shift):
    return lambda n: (100.0 * np.roll(np.eye(n), shift, axis=1), np.eye(n))


def _only_for(size):
    return lambda n: attend_to_previous(size)


def _everything_but(n):
    return -_table(n, 100.0), np.eye(n)


def _two_back(n):
    table = 100.0 * np.eye(n, k=-2)
    table[0, 0] = table[1, 0] = 100.0
    return table, np.eye(n)


def _all_before(n):
    table = 100.0 * np.tril(np.ones((n, n)), k=-1)
    table[0, 0] = 100.0
    return table, np.eye(n)


def _up_to_itself(n):
    return 100.0 * np.tril(np.ones((n, n))), np.eye(n)


def previous_cases(rng):
    # Above 222 tokens a score of 10 no longer gives 0.99: e^10 / (e^10 + n − 1).
    short = (3, 4, 5, 8)
    for check, sizes in {"previous_token": short, "first_token": short, "any_length": (2, 33, 257)}.items():
        for n in sizes:
            yield Case(check, (n,))


def reads(case, result):
    """What each judged row of softmax(q kᵀ) attends to, in a form that does not depend on how large the scores are.

    Returns {"reads": see `_attends`, or a text where there are no weights; "says": the first fault, or ""}.
    """
    n = case.inputs[0]
    matrices = _two_matrices(result)
    if isinstance(matrices, str):
        return {"reads": matrices, "says": matrices}
    for name, matrix in zip(("w_q", "w_k"), matrices, strict=True):
        if matrix.shape != (n, n):
            return {
                "reads": str([m.shape for m in matrices]),
                "says": f"{name} has the shape {matrix.shape}; for n = {n} it is ({n}, {n})",
            }
    with np.errstate(all="ignore"):
        scores = matrices[0] @ matrices[1].T  # the tokens are the rows of the identity: q = w_q, k = w_k
    if not np.isfinite(scores).all():
        return {"reads": "not finite", "says": f"for n = {n} some scores q·k are infinite or NaN"}
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = e / e.sum(axis=1, keepdims=True)
    rows = {"previous_token": range(1, n), "first_token": range(1)}.get(case.check, range(n))
    wrong = next((i for i in rows if weights[i, max(i - 1, 0)] < ENOUGH - SLACK), None)
    return {
        "reads": _attends(weights[rows.start : rows.stop]),
        "says": "" if wrong is None else _says(n, wrong, weights[wrong]),
    }


def _attends(weights):
    """(rows, 1 + n): 1 if one token has enough, else 0; then which tokens have the largest weight, ties included."""
    top = weights.max(axis=1, keepdims=True)
    return np.hstack([top >= ENOUGH - SLACK, weights >= top * (1 - 1e-6)])


def _two_matrices(result):
    if not isinstance(result, (tuple, list, np.ndarray)) or len(result) != 2:
        return "two matrices are wanted, (w_q, w_k)"
    try:
        matrices = [np.asarray(matrix) for matrix in result]
    except (ValueError, TypeError):
        return "a matrix is wanted, with rows of one length"
    if any(matrix.dtype.kind not in "biuf" for matrix in matrices):
        return "matrices of numbers are wanted"
    return [matrix.astype(np.float64) for matrix in matrices]


def _says(n, i, row):
    target, best = max(i - 1, 0), int(row.argmax())
    text = f"for n = {n}, token {i} gives {_share(row[target])} to token {target}"
    tied = math.isclose(row[best], row[target], rel_tol=1e-6)
    return text if tied else f"{text}; its largest weight, {_share(row[best])}, is on token {best}"


def _share(weight):
    """A weight to two digits, more where that would hide that it is too small."""
    return f"{weight:.2f}" if weight < 0.985 else f"{weight:.4f}"


def same_reading(case, wanted, got):
    same = type(wanted["reads"]) is type(got["reads"]) and np.array_equal(wanted["reads"], got["reads"])
    return None if same else got["says"] or "every row is as wanted"


PREVIOUS_MISCONCEPTIONS = (
    Misconception(
        "next_token",
        "a token attends to the one after it: in the table of scores the row asks and the column is found, so "
        "[i, i − 1] is below the diagonal",
        [
            _next_and_last,
            _split(scale=100.0, offset=1, first=None),
            lambda n: (_table(n, 100.0, offset=1, first=0), np.eye(n)),
            _rolled(1),
        ],
    ),
    Misconception(
        "transposed",
        "this is how the transpose of the wanted table reads: perhaps what is meant for w_q stands in w_k, or the "
        "second matrix is not transposed in w_q w_kᵀ",
        _swapped,
    ),
    Misconception(
        "first_token_even",
        "token 0 gives every token the same weight: no token is before it, so no score of its row leads",
        _split(scale=100.0, first=None),
    ),
    Misconception(
        "first_token_wraps",
        "token 0 attends to the last token: the shift runs around the end, as np.roll does and index −1 does",
        _rolled(-1),
    ),
    Misconception(
        "first_token_reads_second",
        "token 0 attends to token 1 instead of to itself",
        lambda n: (_table(n, 100.0, first=1), np.eye(n)),
    ),
    Misconception(
        "scores_too_small",
        "the largest weight is where it should be but below 0.99: scores are not weights, and a lead of 1 in the "
        "scores multiplies a weight only by e; the lead has to be larger",
        [_split(scale=scale) for scale in (1.0, 5.0, 5.5, 5.8, 6.2)],
    ),
    Misconception(
        "scores_too_small_for_long",
        "right for few tokens and below 0.99 for many: each further token takes its share of the softmax, and against "
        "enough of them this lead in the scores is too small",
        [_split(scale=8.0), _split(scale=9.5)],
    ),
    Misconception(
        "only_one_length",
        "the matrices have one and the same size, whatever n is",
        [_only_for(size) for size in (2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 33, 256, 257)],
    ),
    Misconception(
        "itself",
        "every token attends to itself: the large scores are on the diagonal, not one below it",
        _split(scale=100.0, offset=0),
    ),
    Misconception(
        "same_matrix_twice",
        "a token is a best match of its own question, as happens where w_q and w_k are one matrix",
        lambda n: (_table(n, 10.0), _table(n, 10.0)),
    ),
    Misconception(
        "all_even",
        "a token gives every token the same weight: the scores in its row are all equal",
        lambda n: (np.zeros((n, n)), np.eye(n)),
    ),
    Misconception(
        "first_for_all",
        "token 0 is read by all: the large scores are in one column, not one below the diagonal",
        lambda n: (100.0 * np.eye(n)[[0] * n], np.eye(n)),
    ),
    Misconception(
        "everything_but",
        "the wanted token has the smallest weight of its row, as with the sign of the scores reversed",
        _everything_but,
    ),
    Misconception("two_back", "token i attends to i − 2: the table is shifted by two", _two_back),
    Misconception(
        "all_before",
        "the weight is shared evenly among several tokens: their scores are equal, where one has to be larger than the "
        "rest",
        [_all_before, _up_to_itself, lambda n: (_table(n, 100.0) + 100.0 * np.eye(n), np.eye(n))],
    ),
)


# --- qk_ov -----------------------------------------------------------------------------------------------------------


def qk_ov(w_q, w_k, w_v, w_o):
    return w_q @ w_k.T, w_v @ w_o


def circuits_by_einsum(w_q, w_k, w_v, w_o):
    return np.einsum("ad,bd->ab", w_q, w_k), np.einsum("ad,db->ab", w_v, w_o)


def circuits_by_outer(w_q, w_k, w_v, w_o):
    qk = sum(np.outer(w_q[:, d], w_k[:, d]) for d in range(w_q.shape[1]))
    ov = sum(np.outer(w_v[:, d], w_o[d]) for d in range(w_v.shape[1]))
    return [qk, ov]


def circuits_transposed_twice(w_q, w_k, w_v, w_o):
    return np.dot(w_k, w_q.T).T, (w_o.T @ w_v.T).T


def circuits_by_loops(w_q, w_k, w_v, w_o):
    c, d = w_q.shape
    qk = [[sum(w_q[a, e] * w_k[b, e] for e in range(d)) for b in range(c)] for a in range(c)]
    return qk, [[sum(w_v[a, e] * w_o[e, b] for e in range(d)) for b in range(c)] for a in range(c)]


def _circuits_scaled(w_q, w_k, w_v, w_o):
    return w_q @ w_k.T / math.sqrt(w_q.shape[1]), w_v @ w_o


def _circuits_into_float64(w_q, w_k, w_v, w_o):
    return tuple(np.array(part, dtype=np.float64) for part in qk_ov(w_q, w_k, w_v, w_o))


def _circuits_in_place(w_q, w_k, w_v, w_o):
    qk, ov = qk_ov(w_q, w_k, w_v, w_o)
    if w_q.shape[0] == w_q.shape[1]:
        w_q[:] = qk
    return qk, ov


def _circuits_in_place_always(w_q, w_k, w_v, w_o):
    results = qk_ov(w_q, w_k, w_v, w_o)
    w_q *= 2
    return results


def circuit_cases(rng):
    shapes = [(5, 3), (4, 4), (3, 5), (6, 1), (2, 2)]
    for check in ("qk", "ov"):
        for c, d in shapes:
            yield Case(check, _circuit(rng, c, d, np.float64))
        yield Case(check, _circuit(rng, 6, 4, np.float32))
        for scale in (1e-3, 1e3):  # where a small constant, rounding, float32 in between or clipping shows
            w_q, w_k, w_v, w_o = _circuit(rng, 7, 5, np.float64)
            yield Case(check, (scale * w_q, w_k, scale * w_v, w_o), relative=True)
    for dtype in (np.float32, np.float64):
        yield Case(KEEPS_DTYPE, _circuit(rng, 5, 2, dtype))


def _circuit(rng, c, d, dtype):
    return tuple(rng.normal(size=size).astype(dtype) for size in [(c, d)] * 3 + [(d, c)])


CIRCUIT_MISCONCEPTIONS = (
    Misconception(
        "qk_transposed",
        "QK is transposed: it is w_k w_qᵀ, whose rows are found and whose columns ask",
        lambda w_q, w_k, w_v, w_o: (w_k @ w_q.T, w_v @ w_o),
    ),
    Misconception(
        "ov_reversed",
        "OV is (D, D): w_o stands before w_v, so the product ran over C; a token x meets w_v first",
        lambda w_q, w_k, w_v, w_o: (w_q @ w_k.T, w_o @ w_v),
    ),
    Misconception(
        "ov_transposed",
        "OV is transposed: its rows are what is written and its columns what is read",
        lambda w_q, w_k, w_v, w_o: (w_q @ w_k.T, w_o.T @ w_v.T),
    ),
    Misconception(
        "qk_over_the_model_width",
        "QK is (D, D): the product ran over C, as in formulas for tokens that are columns, W x; here they are rows, "
        "x w, and the D numbers of a query and a key are what has to meet",
        [
            lambda w_q, w_k, w_v, w_o: (w_q.T @ w_k, w_v @ w_o),
            lambda w_q, w_k, w_v, w_o: (w_k.T @ w_q, w_v @ w_o),
        ],
    ),
    Misconception(
        "elementwise",
        "the entries are products of single entries: no axis was summed over",
        [
            lambda w_q, w_k, w_v, w_o: (w_q * w_k, w_v * w_o.T),
            lambda w_q, w_k, w_v, w_o: (w_q * w_k, w_v @ w_o),
            lambda w_q, w_k, w_v, w_o: (w_q * w_k, w_v * w_o),
            lambda w_q, w_k, w_v, w_o: (w_q * w_k.T, w_v * w_o),
            lambda w_q, w_k, w_v, w_o: (w_q @ w_k.T, w_v * w_o.T),
            lambda w_q, w_k, w_v, w_o: (w_q @ w_k.T, w_v * w_o),
        ],
    ),
    Misconception(
        "qk_not_transposed",
        "where C = D the numbers are those of w_q w_k, elsewhere the product does not fit: w_k has to be transposed, "
        "so that the D numbers of a query meet those of a key",
        lambda w_q, w_k, w_v, w_o: (w_q @ w_k, w_v @ w_o),
    ),
    Misconception(
        "reshaped",
        "the shape is right and the numbers are not: reshape(D, C) reads the numbers of a matrix in rows of another "
        "length, it does not transpose",
        [
            lambda w_q, w_k, w_v, w_o: (w_q @ w_k.reshape(w_k.shape[::-1]), w_v @ w_o),
        ],
    ),
    Misconception(
        "w_o_transposed",
        "where C = D the numbers are those of w_v w_oᵀ, elsewhere the product does not fit: w_o is (D, C) already",
        lambda w_q, w_k, w_v, w_o: (w_q @ w_k.T, w_v @ w_o.T),
    ),
    Misconception(
        "another_order",
        "one result stands in the place of the other: the order is (QK, OV)",
        lambda w_q, w_k, w_v, w_o: (w_v @ w_o, w_q @ w_k.T),
    ),
    Misconception(
        "other_pairs",
        "the wrong matrices meet: queries meet keys, and values meet the output matrix",
        [
            lambda w_q, w_k, w_v, w_o: (w_q @ w_v.T, w_k @ w_o),
            lambda w_q, w_k, w_v, w_o: (w_q @ w_k.T, w_k @ w_o),
            lambda w_q, w_k, w_v, w_o: (w_q @ w_k.T, w_q @ w_o),
            lambda w_q, w_k, w_v, w_o: (w_q @ w_v.T, w_v @ w_o),
            lambda w_q, w_k, w_v, w_o: (w_k @ w_v.T, w_v @ w_o),
            lambda w_q, w_k, w_v, w_o: (w_q @ w_q.T, w_v @ w_o),
            lambda w_q, w_k, w_v, w_o: (w_k @ w_k.T, w_v @ w_o),
        ],
    ),
    Misconception(
        "scaled",
        "QK is divided by √D: it is wanted without a scale",
        _circuits_scaled,
    ),
    Misconception(
        "scaled_by_model_width",
        "QK is divided by √C, the root of the width of a token: it is wanted without a scale",
        lambda w_q, w_k, w_v, w_o: (w_q @ w_k.T / math.sqrt(w_q.shape[0]), w_v @ w_o),
    ),
    Misconception(
        "lost_float32",
        "float32 became float64: an array that np.zeros made, astype(float) or a float64 number in between does that",
        [_circuits_into_float64, _wider(qk_ov, 0), _wider(qk_ov, 1)],
    ),
    Misconception(
        "always_float32",
        "float64 became float32: the dtype was set, not taken from the inputs",
        lambda *matrices: tuple(part.astype(np.float32) for part in qk_ov(*matrices)),
    ),
    Misconception(
        "overwrites_w_q",
        "w_q is another after the call: an operation in place, such as w_q[:] = … or w_q *= …, writes into the array "
        "given",
        [_circuits_in_place, _circuits_in_place_always],
    ),
)


REFERENCES = (
    Reference(
        id="project_qkv",
        reference=project_qkv,
        accepted=(project_by_einsum, project_at_once, project_by_loops, project_flat),
        misconceptions=PROJECTION_MISCONCEPTIONS,
        cases=projection_cases,
        view=parts("q", "k", "v"),
    ),
    Reference(
        id="swapped_roles",
        reference={"weights", "output"},
        accepted=(("output", "weights"), ["Weights", "Output"], frozenset({"weights", "output"}), "weights, output"),
        misconceptions=ROLES,
        cases=lambda rng: [Case("prediction")],
        view=as_names,
    ),
    Reference(
        id="attend_to_previous",
        reference=attend_to_previous,
        accepted=(previous_by_keys, previous_by_distance, previous_in_another_basis, previous_in_integers),
        misconceptions=PREVIOUS_MISCONCEPTIONS,
        cases=previous_cases,
        view=reads,
        agree=same_reading,
    ),
    Reference(
        id="qk_ov",
        reference=qk_ov,
        accepted=(circuits_by_einsum, circuits_by_outer, circuits_transposed_twice, circuits_by_loops),
        misconceptions=CIRCUIT_MISCONCEPTIONS,
        cases=circuit_cases,
        view=parts("QK", "OV"),
    ),
)
