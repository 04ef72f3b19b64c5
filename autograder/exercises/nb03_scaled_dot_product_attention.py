"""Notebook 03, the visible half: scaled dot-product attention, and why it is scaled."""

import copy

from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, call_answer, take_answer

NOTEBOOK = "03_scaled_dot_product_attention"


def call_often(answer, inputs, keywords):
    """Drive a random answer: `repeats` calls that share one generator, and one with a twin of it.

    inputs: (d, trials, rng, repeats).
    Returns {"draws": the results in order, "again": what the twin, in the state of the first call, gives}.
    """
    *given, rng, repeats = inputs
    twin = copy.deepcopy(rng)
    draws = [call_answer(answer, (*given, rng), keywords) for _ in range(repeats)]
    return {"draws": draws, "again": call_answer(answer, (*given, twin), keywords)}


EXERCISES = (
    Exercise(
        id="dot_product_std",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "dot_product_std(d, trials, rng) → std\n"
            "d: how many numbers a vector has\n"
            "trials: how many pairs (q, k) of standard normal vectors are drawn\n"
            "rng: the numpy.random.Generator that draws them\n"
            "std: the population standard deviation of the `trials` products q·k, a number"
        ),
        section="How large is a product of two random vectors?",
        hints=(
            "For `trials` pairs there are `trials` products: which axis of q * k must be summed away to leave them?",
            "Draw q and k, each (trials, d). Multiply them entry by entry and sum over the last axis: (trials,), one "
            "product per pair. Then the standard deviation of these numbers around their own mean.",
            "return (q * k).sum(axis=____).std()",
        ),
        checks=(
            Check("grows_like_sqrt_d", 2, "a standard deviation near √d, whatever d is"),
            Check("few_trials", 1, "with 2 trials, half the distance between the two products"),
            Check("spread", 1, "results that vary from call to call as those of fresh pairs of normal vectors do"),
            Check("one_trial", 1, "0 for a single product, which is its own mean"),
            Check("follows_rng", 1, "every number drawn from rng: a generator in the same state gives the same result"),
        ),
        call=call_often,
    ),
    Exercise(
        id="saturation",
        kind="P",
        notebook=NOTEBOOK,
        minutes=1,
        difficulty=1,
        contract="saturation = the one of 4, 64 and 1024 for which the largest unscaled weight comes closest to 1",
        section="What wide vectors do to a softmax",
        hints=(
            "How far apart are scores whose standard deviation is √d?",
            "The softmax looks at differences of scores; find the d with the largest ones.",
            "saturation = ____",
        ),
        checks=(Check("prediction", 1, "the d whose largest weight is closest to 1"),),
        call=take_answer,
    ),
    Exercise(
        id="softmax_jacobian",
        kind="I",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=2,
        contract=(
            "softmax_jacobian(p) → jacobian\n"
            "p: (n,) float, the weights that a softmax gave; they sum to 1\n"
            "jacobian: (n, n) in the dtype of p, entry [i, j] = ∂p_i / ∂s_j, with s the scores"
        ),
        section="What is left to learn from",
        hints=(
            "When score j rises a little, what happens to weight j, and what to every other weight i?",
            "A matrix with p on its diagonal and 0 elsewhere, minus the matrix of all products p_i p_j: (n, n) both.",
            "return np.diag(p) - ____(p, p)",
        ),
        checks=(
            Check("entries", 2, "p_i (1 − p_i) on the diagonal and −p_i p_j off it"),
            Check("saturated", 1, "only zeros where one weight is 1: nothing moves any more"),
            Check(KEEPS_DTYPE, 1, "the dtype of p"),
            Check(INPUTS_UNCHANGED, 1, "p as it was before the call"),
        ),
        axes={"p": "n", "result": "n n"},
    ),
    Exercise(
        id="scaled_dot_product_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=20,
        difficulty=2,
        contract=(
            "scaled_dot_product_attention(q, k, v, mask=None) → (out, weights)\n"
            "q: (..., Tq, D) float, k: (..., Tk, D) float, v: (..., Tk, Dv) float; ... is any number of leading axes\n"
            "mask: bool, broadcastable to (..., Tq, Tk), True where query i may attend to key j; None is everywhere\n"
            "out: (..., Tq, Dv), weights: (..., Tq, Tk), in the dtype of the inputs\n"
            "a query that may attend to nothing gets weights of 0 and an output of 0"
        ),
        section="Hiding keys: the mask",
        hints=(
            "Which axis is gone after q·k, and along which of the two that are left must the weights sum to 1?",
            "scores = q times k with its last two axes swapped, divided by √D: (..., Tq, Tk). Where the mask is False, "
            "−∞. Subtract each row's maximum (0 where the row is empty), exp, divide by the row's sum (1 where it is "
            "0). out = weights times v: (..., Tq, Dv).",
            "scores = q @ k.swapaxes(____) / math.sqrt(q.shape[-1])",
        ),
        checks=(
            Check("weights_and_output", 3, "softmax(q kᵀ / √D) over the keys, and these weights times v"),
            Check("leading_axes", 2, "the same for every batch item and head, however many leading axes there are"),
            Check("mask", 2, "weight 0 on masked keys, and every row summing to 1 over the keys that are left"),
            Check("mask_broadcasts", 1, "a mask with fewer or shorter axes applied along the missing ones"),
            Check("empty_rows", 1, "weights and output 0, not NaN, for a query that may attend to nothing"),
            Check("large_scores", 1, "finite and exact weights for scores as large as ±10000"),
            Check(KEEPS_DTYPE, 1, "out and weights in the dtype of q, k and v"),
            Check(INPUTS_UNCHANGED, 1, "q, k, v and mask as they were before the call"),
        ),
        axes={
            "q": "... Tq D",
            "k": "... Tk D",
            "v": "... Tk Dv",
            "mask": "... Tq Tk",
            "out": "... Tq Dv",
            "weights": "... Tq Tk",
        },
        returns=("out", "weights"),
    ),
    Exercise(
        id="repaired_attention",
        kind="B",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=2,
        contract=(
            "repaired_attention(q, k, v) → (out, weights)\n"
            "q, k, v: (..., T, D) float\n"
            "out: (..., T, D), weights: (..., T, T), as scaled_dot_product_attention gives them without a mask"
        ),
        section="Two bugs that raise no error",
        hints=(
            "Sum the weights along each axis: which sums are 1? And should a score depend on how many keys there are?",
            "The divisor of the weights must be one sum per query, (..., T, 1). The divisor of the scores must be "
            "√D, the size of the axis that the product summed over.",
            "return e / e.sum(axis=____, keepdims=True)  # and look once more at the divisor of the scores",
        ),
        checks=(
            Check("weights_and_output", 3, "softmax(q kᵀ / √D) over the keys, and these weights times v"),
            Check("leading_axes", 1, "the same for every batch item and head"),
            Check("large_scores", 1, "finite weights for scores as large as ±10000, as before the repair"),
            Check(KEEPS_DTYPE, 1, "out and weights in the dtype of q, k and v"),
            Check(INPUTS_UNCHANGED, 1, "q, k and v as they were before the call"),
        ),
        axes={"q": "... T D", "k": "... T D", "v": "... T D", "out": "... T D", "weights": "... T T"},
        returns=("out", "weights"),
    ),
    Exercise(
        id="reflection_03",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_03 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "What does the softmax look at: the scores, or their differences?",
            "Go from width to spread, from spread to weights, from weights to gradient, then back with the scale.",
            "the scores' standard deviation grows like ____, so …",
        ),
        checks=(
            Check("spread", 1, "the product of D independent numbers has standard deviation √D"),
            Check("saturation", 1, "widely spread scores put nearly all weight on one key"),
            Check("gradient", 1, "there the softmax hardly reacts to the scores, so hardly any gradient comes back"),
            Check(
                "scale", 1, "dividing by √D keeps that standard deviation at 1 for every D, and the ranking of the keys"
            ),
        ),
        call=take_answer,
    ),
)
