"""Notebook 10, the visible half: what full self-attention costs, and exact attention without the n × n matrix."""

import warnings

from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, call_answer, take_answer
from autograder.memory import measure

NOTEBOOK = "10_quadratic_cost"

# For how many tokens the memory of a call is measured, and the share of the n × n scores that it may take.
LIMITS = {4096: 0.25, 512: 0.1875}


def call_measured(answer, inputs, keywords):
    """Drive an attention, and measure the memory it takes where q has as many tokens as `LIMITS` says.

    inputs: (q, k, v, size of a piece), NumPy arrays (T, D), (T, D), (T, Dv).
    Returns the result as it is, or, where the memory is measured, {"out": the result, "peak": most bytes held at once
    during the call on top of what was there before, "unseen": why the peak does not count, or ""}.
    """
    n = len(inputs[0]) if inputs else 0
    if n not in LIMITS:
        return call_answer(answer, inputs, keywords)
    taken = measure(lambda: call_answer(answer, inputs, keywords))
    scores = n * n * inputs[0].itemsize
    if taken.peak > LIMITS[n] * scores:
        words = f"the call held up to {taken.peak / 1e6:.1f} MB at once; all {n} × {n} scores are {scores / 1e6:.1f} MB"
        warnings.warn(words, ResourceWarning, stacklevel=2)
    return {"out": taken.out, "peak": taken.peak, "unseen": taken.unseen}


_MEMORY = Check(
    "memory",
    2,
    "with NumPy alone, at n = 4096, D = 16 and pieces of 64, at most a quarter of the memory of all n × n scores",
)
_FOLLOWS = Check(
    "memory_follows_the_size",
    1,
    "with pieces of 4, at n = 512 and D = 2, at most three sixteenths of the memory of all n × n scores",
)
_AXES = {"q": "T D", "k": "T D", "v": "T Dv", "result": "T Dv", "out": "T Dv"}

EXERCISES = (
    Exercise(
        id="attention_flops",
        kind="I",
        notebook=NOTEBOOK,
        minutes=6,
        difficulty=1,
        contract=(
            "attention_flops(b, h, n_q, n_k, d, d_v) → flops\n"
            "b: sequences, h: heads, n_q: queries, n_k: keys of one sequence\n"
            "d: width of a query and a key of one head, d_v: width of a value\n"
            "flops: int, floating-point operations of the two products q kᵀ and weights·v, a multiply-add counting 2; "
            "softmax, scale and projections are not counted"
        ),
        section="Two products, counted",
        hints=(
            "How many numbers does each of the two products yield, and how many multiply-adds does one of them take?",
            "q kᵀ yields n_q · n_k numbers of d multiply-adds each, weights·v yields n_q · d_v of n_k each. Add "
            "the two, then count every head of every sequence, and 2 for a multiply-add.",
            "return 2 * b * h * n_q * n_k * (____)",
        ),
        checks=(
            Check("both_products", 2, "the FLOPs of q kᵀ and of weights·v together, 2 for each multiply-add"),
            Check("batch_and_heads", 1, "the same again for every head of every sequence"),
            Check("other_lengths", 1, "n_q and n_k each in its own place, where they differ"),
            Check("exact", 1, "every digit right, also of counts that a float64 would round"),
        ),
    ),
    Exercise(
        id="score_bytes",
        kind="I",
        notebook=NOTEBOOK,
        minutes=4,
        difficulty=1,
        contract=(
            "score_bytes(b, h, n, bytes_per) → bytes\n"
            "b: sequences, h: heads, n: tokens of one sequence, each query and key at once\n"
            "bytes_per: bytes of one number, 4 for float32\n"
            "bytes: int, what all scores take together, every head of every sequence held at once"
        ),
        section="What has to be held",
        hints=(
            "How many scores does one head make of n queries and n keys?",
            "The numbers in one table of scores, times the heads, times the sequences, times the bytes of one number.",
            "return b * h * ____ * bytes_per",
        ),
        checks=(
            Check("one_head", 2, "the bytes of the n × n scores of one head"),
            Check("batch_and_heads", 1, "the same again for every head of every sequence"),
            Check("exact", 1, "every digit right, also of counts that a float64 would round"),
        ),
    ),
    Exercise(
        id="fit_exponent",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract=(
            "fit_exponent(ns, ys) → p\n"
            "ns, ys: arrays or lists of m ≥ 2 positive numbers, in any order; an n may come again, not all alike\n"
            "p: a number, the slope of the least-squares line through the points (log n, log y): y grows like n^p"
        ),
        section="Reading an exponent",
        hints=(
            "If y = c · n^p, what is log y, and what is the slope of log y against log n?",
            "Take the logarithm of both. The slope of the best line with an intercept: the mean product of the "
            "deviations of log n and log y from their means, over the mean square of the deviations of log n.",
            "slope, intercept = np.polyfit(np.log(ns), ____, 1)",
        ),
        checks=(
            Check("power_laws", 2, "the power of n, whatever factor stands before it"),
            Check("least_squares", 2, "for points that lie off the line, the slope with the least squared distance"),
            Check("any_order", 1, "the same slope whatever the order, and each point counted where an n comes again"),
            Check("lists", 1, "lists of Python numbers taken like arrays"),
            Check(INPUTS_UNCHANGED, 1, "ns and ys as they were before the call"),
        ),
        axes={"ns": "m", "ys": "m"},
    ),
    Exercise(
        id="chunked_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "chunked_attention(q, k, v, chunk) → out\n"
            "q, k: (T, D) float, v: (T, Dv) float, NumPy arrays; chunk: int ≥ 1, how many queries are taken at a time\n"
            "out: (T, Dv) in the dtype of the inputs, exactly softmax(q kᵀ / √D) v\n"
            "extra memory O(chunk · T + T · (D + Dv)), with NumPy alone; chunk need not divide T and may be larger"
        ),
        section="A row needs only its own scores",
        hints=(
            "Which scores does the softmax of one query need, and which can be forgotten once its output is there?",
            "Go through the queries, `chunk` at a time. Scores of this piece with all keys: (chunk, T). Softmax over "
            "the keys, times v: (chunk, Dv). Keep only that. A slice that runs past the end is simply shorter.",
            "scores = q[start : start + chunk] @ ____ / math.sqrt(q.shape[-1])",
        ),
        checks=(
            Check("exact", 3, "softmax(q kᵀ / √D) v, the same numbers as without pieces"),
            Check("ragged_last_chunk", 2, "a row for every query where chunk does not divide T"),
            Check("any_size", 1, "the same for chunk = 1, chunk = T, a chunk longer than T, and a single token"),
            Check("large_scores", 1, "finite and exact for scores beyond ±10000"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of q, k and v"),
            Check(INPUTS_UNCHANGED, 1, "q, k and v as they were before the call"),
            _MEMORY,
            _FOLLOWS,
        ),
        axes=_AXES,
        call=call_measured,
        measures=("memory",),
    ),
    Exercise(
        id="online_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=20,
        difficulty=3,
        contract=(
            "online_attention(q, k, v, block) → out\n"
            "q, k: (T, D) float, v: (T, Dv) float, NumPy arrays; block: int ≥ 1, how many keys are taken at a time\n"
            "out: (T, Dv) in the dtype of the inputs, exactly softmax(q kᵀ / √D) v, in one pass over blocks of keys\n"
            "and values with a running maximum and a running sum for each query\n"
            "extra memory O(T · (block + D + Dv)), with NumPy alone; block need not divide T and may be larger"
        ),
        section="A softmax that never sees the whole row",
        hints=(
            "When a later block brings a larger maximum, by which factor is all that was summed before too large?",
            "Per query keep a maximum (T, 1), starting at −∞, a sum (T, 1) and an output (T, Dv), starting at 0. For "
            "each block: scores (T, block); the new maximum; the factor exp(old − new); sum and output times the "
            "factor plus what the block adds, with e = exp(scores − new maximum). After the last block, output / sum.",
            "total = total * ____ + e.sum(axis=-1, keepdims=True)",
        ),
        checks=(
            Check("exact", 3, "softmax(q kᵀ / √D) v, the same numbers as without blocks"),
            Check("ragged_last_block", 2, "every key counted where block does not divide T"),
            Check("any_size", 1, "the same for block = 1, block = T, a block longer than T, and a single token"),
            Check("large_scores", 2, "finite and exact for scores beyond ±10000, wherever the maximum comes"),
            Check(KEEPS_DTYPE, 1, "out in the dtype of q, k and v"),
            Check(INPUTS_UNCHANGED, 1, "q, k and v as they were before the call"),
            _MEMORY,
            _FOLLOWS,
        ),
        axes=_AXES,
        call=call_measured,
        measures=("memory",),
    ),
    Exercise(
        id="doubling",
        kind="P",
        notebook=NOTEBOOK,
        minutes=2,
        difficulty=2,
        contract="doubling = three factors, (memory of full attention, memory of online, FLOPs of online)",
        section="Twice as long",
        hints=(
            "What does online attention not hold, and is there any score that it does not compute?",
            "Full: one number per pair. Online: what is kept per query, with block fixed. FLOPs: one product per pair.",
            "doubling = (____, …)",
        ),
        checks=(Check("prediction", 1, "the three factors for twice as many tokens"),),
        call=take_answer,
    ),
    Exercise(
        id="reflection_10",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_10 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "What of the n × n matrix is needed at one moment, and for how long?",
            "What is kept per query; what happens when a larger score comes; what is saved; what is not.",
            "each query keeps ____, so …",
        ),
        checks=(
            Check("state", 1, "each query keeps a running maximum, a running sum and an unfinished output, no row"),
            Check(
                "rescaling",
                1,
                "after a new maximum one factor, exp(old − new), corrects everything summed before",
            ),
            Check("exact", 1, "the result is the same softmax, no approximation: only the order of the sums changes"),
            Check("what_stays", 1, "every pair is still scored: FLOPs and time still grow with n², only memory with n"),
        ),
        call=take_answer,
    ),
)
