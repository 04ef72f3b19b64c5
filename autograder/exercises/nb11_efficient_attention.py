"""Notebook 11, the visible half: attention that computes only part of the n × n scores.

About 400 lines: twelve exercises, and the driver that measures the memory of three of them.
"""

import copy
import math

import numpy as np

from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, call_answer, take_answer
from autograder.memory import measure

NOTEBOOK = "11_efficient_attention"
SHARE = 4  # an answer may use 1 / SHARE of the memory of n × n float32 scores
SHOWN = 25  # rows of a long result that are compared, besides some near both ends


def normal(rng, *shape):
    """Standard normal float32 numbers."""
    return rng.standard_normal(shape, dtype=np.float32)


def long_window(rng, n, D, w):
    """A long problem for `local_attention`."""
    return (*(normal(rng, n, D) for _ in range(3)), w), {}


def long_sequence(rng, n, D, causal):
    """A long problem for `linear_attention`."""
    return tuple(normal(rng, n, D) for _ in range(3)), {"causal": causal}


def long_layout(rng, n, D, block):
    """A long problem for `block_sparse_attention`: each block row sees its neighbours and two blocks far away."""
    count = n // block
    place = np.arange(count)
    layout = np.abs(place[:, None] - place) <= 1
    layout[place, (place + count // 2) % count] = layout[place, (place + count // 3) % count] = True
    return (*(normal(rng, n, D) for _ in range(3)), layout, block), {}


def measured(problem):
    """Make a driver: it calls an answer as usual, but on a generator alone it measures a long problem.

    problem: `(rng, **sizes) -> (inputs, keywords)` of the long call; `n` is one of the sizes.
    The driver then returns {"n": the length measured last, "peak": the most bytes that were held there beyond the
    inputs, "unseen": why that does not count, or "", "rows": some rows of the result, None where the budget was broken
    or the peak does not count}.
    Two short problems come first. If they look as if memory grew like n², lengths at which that would break the budget
    are tried before the whole one, so that a machine is not asked for gigabytes; only what was measured counts.
    """

    def call(answer, inputs, keywords):
        if not (len(inputs) == 1 and isinstance(inputs[0], np.random.Generator)):
            return call_answer(answer, inputs, keywords)

        def run(size):
            long_inputs, long_keywords = problem(copy.deepcopy(inputs[0]), **keywords | {"n": size})
            return measure(lambda: call_answer(answer, long_inputs, long_keywords))

        n = keywords["n"]
        part, budget = n // 16, 4 * n * n // SHARE
        short, double = run(part).peak, run(2 * part).peak
        per_pair = (double - 2 * short) / (2 * part**2)  # bytes that a pair of positions takes, if any
        sizes = [n]
        if 8 * double + per_pair * n * n > budget:
            enough = math.sqrt(1.2 * budget / max(per_pair, 1e-9))
            sizes = sorted({min(8, max(3, math.ceil(enough / part))) * part, 8 * part, n})
        for size in sizes:
            taken = run(size)
            found = {"n": size, "peak": taken.peak, "unseen": taken.unseen, "rows": None}
            if taken.unseen or taken.peak > budget:
                return found
        return found | {"rows": some_rows(taken.out, n)}

    return call


def some_rows(out, n):
    """Some rows of a long result, among them both ends; a text if it is no array of n rows."""
    try:
        out = np.asarray(out)
    except (ValueError, TypeError):
        return "no array"
    if out.ndim != 2 or len(out) != n:
        return f"an array of shape {out.shape}"
    return out[np.unique([*np.linspace(0, n - 1, SHOWN).astype(int), 1, 2, 3, n - 4, n - 3, n - 2])]


def call_often(answer, inputs, keywords):
    """Drive a random answer: `repeats` calls that share one generator, and one with a twin of it.

    inputs: (n, block, n_random, n_global, rng, repeats).
    Returns {"masks": the results in order, "again": what the twin, in the state of the first call, gives}.
    """
    *given, rng, repeats = inputs
    twin = copy.deepcopy(rng)
    masks = [call_answer(answer, (*given, rng), keywords) for _ in range(repeats)]
    return {"masks": masks, "again": call_answer(answer, (*given, twin), keywords)}


EXERCISES = (
    Exercise(
        id="window_mask",
        kind="I",
        notebook=NOTEBOOK,
        minutes=5,
        difficulty=1,
        contract=(
            "window_mask(n, w) → mask\n"
            "n: how many positions there are, 1 or more\n"
            "w: how far a query sees on each side, 0 or more, and it may be n or more\n"
            "mask: (n, n) bool, True where |i − j| ≤ w"
        ),
        section="A window, by hand",
        hints=(
            "For which distances |i − j| is the entry of row i and column j True?",
            "Positions 0 … n − 1 once as a column (n, 1) and once as a row (n,): their difference is (n, n), and its "
            "absolute value is compared with w.",
            "return np.abs(place[:, None] - place) ____ w  # with place = np.arange(n)",
        ),
        checks=(
            Check("within_w", 2, "True where query and key lie at most w apart, on either side, and nowhere else"),
            Check("narrow_and_wide", 1, "the diagonal for w = 0, everything for w ≥ n − 1, and a result for n = 1"),
        ),
        axes={"result": "n n"},
    ),
    Exercise(
        id="layers_to_connect",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "layers_to_connect(mask) → layers\n"
            "mask: (n, n) bool, True where token i attends to token j, the same in every layer\n"
            "every layer has a residual path: a token always keeps what it has, whatever the mask says\n"
            "layers: int, the fewest layers after which every token can have heard of every other; 0 for n = 1; None "
            "if no number of layers is enough"
        ),
        section="What does a token hear of after several layers?",
        hints=(
            "If token 5 hears token 4 in this layer, and token 4 had heard of token 2 before it, what does token 5 "
            "know?",
            "Keep a bool matrix (n, n): known[i, j] says that i has heard of j. It starts as the identity. One layer "
            "is known = (mask, with True on its diagonal) times known, as bools. Count the layers until all are True; "
            "stop with None when a layer changes nothing.",
            "further = ____ @ known  # and compare it with known before going on",
        ),
        checks=(
            Check("windows", 2, "the number of layers of a window"),
            Check("directions", 2, "information that runs only from the key to the query, as the mask says"),
            Check("residual", 1, "a token that keeps what it has, also where the mask is False on the diagonal"),
            Check("never", 1, "None where some token can never hear of another"),
            Check("one_token", 1, "0 for a single token: nothing is left to hear"),
            Check(INPUTS_UNCHANGED, 1, "mask as it was before the call"),
        ),
        axes={"mask": "n n"},
    ),
    Exercise(
        id="layers_with_a_global",
        kind="P",
        notebook=NOTEBOOK,
        minutes=1,
        difficulty=1,
        contract="layers_with_a_global = the layers after which every word can have heard of every other, an int",
        section="One word that everyone hears",
        hints=(
            "Which word hears of *hot* in the first layer, and who hears that word in the next?",
            "Follow what *hot* knows to *dropped*, the shortest way there is, and count the steps.",
            "layers_with_a_global = ____",
        ),
        checks=(Check("prediction", 1, "the layers that a window of 1 and one global word need"),),
        call=take_answer,
    ),
    Exercise(
        id="longformer_mask",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "longformer_mask(n, w, global_idx) → mask\n"
            "n: how many positions there are; w: how far a query sees on each side\n"
            "global_idx: list, tuple or int array of positions from 0 to n − 1; may be empty, may name one twice\n"
            "mask: (n, n) bool, True where |i − j| ≤ w, or i is global, or j is global"
        ),
        section="One word that everyone hears",
        hints=(
            "A global position g hears everyone and is heard by everyone: which row and which column is that?",
            "Begin with the window (n, n). Set the rows in global_idx to True, then the columns in global_idx.",
            "mask[____, global_idx] = True  # the columns; the rows likewise",
        ),
        checks=(
            Check("rows_and_columns", 3, "the window, and every global position's whole row and whole column"),
            Check("forms_of_global_idx", 1, "the same from a list, a tuple or an array, in any order, with repeats"),
            Check("no_global", 1, "the window alone for an empty global_idx"),
            Check(INPUTS_UNCHANGED, 1, "global_idx as it was before the call"),
        ),
        axes={"result": "n n"},
    ),
    Exercise(
        id="local_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=20,
        difficulty=3,
        contract=(
            "local_attention(q, k, v, w) → out\n"
            "q, k: (n, D) float, v: (n, Dv) float\n"
            "w: how far a query sees on each side, 0 or more, and it may be n or more\n"
            "out: (n, Dv) in the dtype of the inputs, what softmax(q kᵀ / √D) v gives under window_mask(n, w)\n"
            "memory: O(n · w · D); never an array of n × n entries\n"
            "scores may be as large as ±10000; NumPy alone, since the memory of other libraries is not measured"
        ),
        section="A mask saves nothing by itself",
        hints=(
            "Which 2w + 1 positions does query i look at, and what must happen to those before 0 or after n − 1?",
            "Make the positions i − w … i + w of every query, (n, 2w + 1), and remember which of them exist. Clip them "
            "into 0 … n − 1 and gather keys, (n, 2w + 1, D). Scores (n, 2w + 1): −∞ where the position does not exist. "
            "Softmax over the last axis, then the weighted sum of the gathered values.",
            'scores = np.einsum("nd,njd->____", q, k[near]) / math.sqrt(q.shape[-1])',
        ),
        checks=(
            Check("as_masked_full", 3, "what full attention gives under a mask that is True where |i − j| ≤ w"),
            Check("narrow_and_wide", 1, "v itself for w = 0, full attention for w ≥ n − 1, and a result for n = 1"),
            Check("large_scores", 1, "finite and exact results for scores as large as ±10000"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of q, k and v"),
            Check(INPUTS_UNCHANGED, 1, "q, k and v as they were before the call"),
            Check("memory", 2, "at n = 20000 the right output, within a quarter of the memory of n × n scores"),
        ),
        axes={"q": "n D", "k": "n D", "v": "n Dv", "result": "n Dv"},
        call=measured(long_window),
        measures=("memory",),
    ),
    Exercise(
        id="block_sparse_mask",
        kind="I",
        notebook=NOTEBOOK,
        minutes=6,
        difficulty=1,
        contract=(
            "block_sparse_mask(layout, block) → mask\n"
            "layout: (n / block, n / block) bool, True where the queries of block row I see the keys of block column "
            "J\n"
            "block: how many positions a block has, 1 or more\n"
            "mask: (n, n) bool, every entry of layout as block × block equal entries"
        ),
        section="Blocks: what a machine likes to read",
        hints=(
            "Which entry of layout does the entry [i, j] of the mask come from?",
            "Every row of layout is repeated block times in a row, and then every column: (n/b, n/b) → (n, n/b) → (n, "
            "n).",
            "return layout.repeat(block, axis=0).____(block, axis=1)",
        ),
        checks=(
            Check("blocks", 2, "mask[i, j] = layout[i // block, j // block]"),
            Check("sizes_of_one", 1, "the layout itself for block = 1, and one value throughout for a single block"),
            Check(INPUTS_UNCHANGED, 1, "layout as it was before the call"),
        ),
        axes={"layout": "n/b n/b", "result": "n n"},
    ),
    Exercise(
        id="block_sparse_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=20,
        difficulty=3,
        contract=(
            "block_sparse_attention(q, k, v, layout, block) → out\n"
            "q, k: (n, D) float, v: (n, Dv) float, n = block · len(layout)\n"
            "layout: (n / block, n / block) bool, True where the queries of block row I see the keys of block column "
            "J\n"
            "out: (n, Dv) in the dtype of the inputs, what softmax(q kᵀ / √D) v gives under "
            "block_sparse_mask(layout, block); 0 for a block row without any active block\n"
            "memory: only active blocks are computed; never an array of n × n entries\n"
            "scores may be as large as ±10000; NumPy alone, since the memory of other libraries is not measured"
        ),
        section="Blocks: what a machine likes to read",
        hints=(
            "Over which keys do the weights of one query sum to 1: those of one block, or of all active blocks of its "
            "row?",
            "Go through the block rows. Queries of the row: (b, D). Its active blocks' keys and values, one after the "
            "other: (a·b, D) and (a·b, Dv). Ordinary attention between them gives (b, Dv), these rows of out. A row "
            "without active blocks stays 0.",
            "near = np.flatnonzero(layout[row].repeat(____))  # the positions of all keys that this block row sees",
        ),
        checks=(
            Check("as_masked_full", 3, "what full attention gives under the mask of the layout"),
            Check("empty_rows", 1, "0, not NaN, for the queries of a block row without active blocks"),
            Check("sizes_of_one", 1, "the same for blocks of 1, and for a single block"),
            Check("large_scores", 1, "finite and exact results for scores as large as ±10000"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of q, k and v"),
            Check(INPUTS_UNCHANGED, 1, "q, k, v and layout as they were before the call"),
            Check("memory", 2, "at n = 8192 the right output, within a quarter of the memory of n × n scores"),
        ),
        axes={"q": "n D", "k": "n D", "v": "n Dv", "layout": "n/b n/b", "result": "n Dv"},
        call=measured(long_layout),
        measures=("memory",),
    ),
    Exercise(
        id="bigbird_mask",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "bigbird_mask(n, block, n_random, n_global, rng) → mask\n"
            "n: how many positions there are; block: how many a block has; ValueError if block does not divide n\n"
            "window: every block row sees its own block and one block on each side\n"
            "n_global: the first n_global blocks see every block and are seen by every block\n"
            "n_random: every block row also sees n_random distinct blocks, drawn evenly and for each row anew from "
            "those it does not see yet; all of them if fewer are left\n"
            "rng: the numpy.random.Generator that draws them\n"
            "mask: (n, n) bool"
        ),
        section="Near, global, and a few at random",
        hints=(
            "How many blocks are there, and which of them does a block row not see before anything is drawn?",
            "Refuse an n that block does not divide. Make a layout (n/b, n/b): the window of 1, the first n_global "
            "rows and columns. In every row, draw without replacement from the blocks that are still off, at most as "
            "many as there are. Then widen the layout to (n, n).",
            "chosen = rng.choice(left, size=____, replace=False)  # left: the blocks of this row that are still off",
        ),
        checks=(
            Check("window_and_global", 3, "without random blocks, the blocks of the window and the global ones"),
            Check(
                "random_blocks", 3, "n_random more blocks in every block row, whole ones, none of them counted twice"
            ),
            Check("few_left", 1, "everything on where n_random is at least as many blocks as are left"),
            Check("drawn_evenly", 1, "every block that is left drawn equally often, in each block row by itself"),
            Check("follows_rng", 1, "every number drawn from rng: a generator in the same state gives the same mask"),
            Check("refuses", 1, "a ValueError where block does not divide n"),
        ),
        axes={"result": "n n"},
        call=call_often,
    ),
    Exercise(
        id="rank_k_error",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract=(
            "rank_k_error(a, k) → error\n"
            "a: (m, n) float64\n"
            "k: the rank allowed, 0 or more, and it may be more than m or n\n"
            "error: ‖a − b‖ / ‖a‖, a number, with b the matrix of rank k or less that is nearest to a, and ‖·‖ the "
            "root of the sum of the squared entries; 0.0 for a matrix of zeros"
        ),
        section="Few directions: is the table of weights simpler than it looks?",
        hints=(
            "The best b keeps the k largest singular values. What is left over, in terms of singular values?",
            "np.linalg.svd(a, compute_uv=False) gives the singular values, largest first. ‖a‖² is the sum of all their "
            "squares; ‖a − b‖² is the sum of the squares from number k on. A zero matrix would divide by 0.",
            "error = math.sqrt((s[____:] ** 2).sum() / (s**2).sum())",
        ),
        checks=(
            Check("error", 2, "the root of the share of squared singular values that are cut off"),
            Check("none_and_all", 1, "1 for k = 0, and 0 once k reaches the rank"),
            Check("zero_matrix", 1, "0.0, not NaN, for a matrix of zeros"),
            Check(INPUTS_UNCHANGED, 1, "a as it was before the call"),
        ),
        axes={"a": "m n"},
    ),
    Exercise(
        id="linformer_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract=(
            "linformer_attention(q, k, v, e, f) → out\n"
            "q, k: (n, D) float, v: (n, Dv) float\n"
            "e, f: (m, n) float; e mixes the n keys into m, f mixes the n values into m\n"
            "out: (n, Dv) in the dtype of the inputs, attention of the n queries to the m mixtures, scale 1/√D\n"
            "scores may be as large as ±10000"
        ),
        section="Few directions: is the table of weights simpler than it looks?",
        hints=(
            "Which axis gets shorter, the one of features or the one of positions?",
            "Mixed keys e k: (m, D); mixed values f v: (m, Dv). Scores of the queries with the mixed keys, over √D: "
            "(n, m). Softmax over the m, times the mixed values: (n, Dv).",
            "scores = q @ (____).T / math.sqrt(q.shape[-1])",
        ),
        checks=(
            Check("output", 3, "softmax(q (e k)ᵀ / √D) (f v)"),
            Check("full_when_identity", 1, "full attention where e and f are the identity, and one mixture for m = 1"),
            Check("large_scores", 1, "finite and exact results for scores as large as ±10000"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "all five inputs as they were before the call"),
        ),
        axes={"q": "n D", "k": "n D", "v": "n Dv", "e": "m n", "f": "m n", "result": "n Dv"},
    ),
    Exercise(
        id="linear_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=20,
        difficulty=3,
        contract=(
            "linear_attention(q, k, v, causal=False) → out\n"
            "q: (Tq, D) float, k: (Tk, D) float, v: (Tk, Dv) float; Tq = Tk if causal\n"
            "weight of key j for query i: φ(q_i)·φ(k_j) over the sum of that over all keys, with φ(x) = elu(x) + 1, "
            "that is x + 1 where x > 0 and exp(x) elsewhere; no 1/√D, and nothing added to the divisor\n"
            "causal: query i has only the keys j ≤ i\n"
            "out: (Tq, Dv) in the dtype of the inputs\n"
            "memory: O(n · D · Dv); never an array of Tq × Tk entries; NumPy alone, since other memory is not measured"
        ),
        section="No softmax: let the keys go first",
        hints=(
            "In φ(q) φ(k)ᵀ v, which of the two products can be done first, so that nothing of size Tq × Tk appears?",
            "S = φ(k)ᵀ v: (D, Dv), and z = the sum of φ(k) over the keys: (D,). Row i of out is φ(q_i) S / (φ(q_i)·z). "
            "Causal: S and z grow by one key at a time, and row i uses them as they are after key i.",
            "out[i] = (fq[i] @ S) / (fq[i] @ ____)",
        ),
        checks=(
            Check("all_keys", 3, "the values averaged with weights φ(q_i)·φ(k_j) over their sum, all keys in sight"),
            Check("causal", 2, "the same over the keys up to the query's own"),
            Check("exact_sums", 1, "weights that sum to 1 also where all φ are small: nothing added to the divisor"),
            Check("one_token", 1, "the only value there is, for a single key"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of q, k and v"),
            Check(INPUTS_UNCHANGED, 1, "q, k and v as they were before the call"),
            Check("memory", 2, "at n = 8192 the right output, within a quarter of the memory of n × n scores"),
        ),
        axes={"q": "Tq D", "k": "Tk D", "v": "Tk Dv", "result": "Tq Dv"},
        call=measured(long_sequence),
        measures=("memory",),
    ),
    Exercise(
        id="reflection_11",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_11 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "What does each variant assume about the entries that it leaves out?",
            "Take the document's two needs one by one: the near words, the one clause far away. Then cost, then "
            "layers.",
            "a window is right if ____, and fails when …",
        ),
        checks=(
            Check("bets", 1, "each variant assumes which entries matter: near, chosen, few directions, or a product"),
            Check(
                "failure", 1, "the window cannot see the clause in one layer; global words or layers pass on a mixture"
            ),
            Check("cost", 1, "the cost grows like n times something fixed instead of n²"),
            Check("choice", 1, "a choice for this document, and what to measure before trusting it"),
        ),
        call=take_answer,
    ),
)
