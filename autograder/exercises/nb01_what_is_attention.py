"""Notebook 01, the visible half: soft lookup as a weighted average."""

from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, take_answer

NOTEBOOK = "01_what_is_attention"

EXERCISES = (
    Exercise(
        id="equal_scores",
        kind="P",
        notebook=NOTEBOOK,
        minutes=1,
        difficulty=1,
        contract="equal_scores = the weights over 5 keys whose scores are all equal, a tuple of 5 floats",
        section="From scores to weights",
        hints=(
            "Does any key have a reason to get more than another?",
            "Five equal weights that sum to 1.",
            "equal_scores = (1 / ____,) * 5",
        ),
        checks=(Check("prediction", 1, "the five weights, in order"),),
        call=take_answer,
    ),
    Exercise(
        id="softmax",
        kind="I",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=1,
        contract=(
            "softmax(x, axis=-1) → weights\n"
            "x: array of float, scores of any shape\n"
            "axis: int, the axis along which the weights sum to 1\n"
            "weights: the shape and dtype of x; finite for scores as large as ±10000"
        ),
        section="Which axis sums to 1",
        hints=(
            "What must the weights along `axis` add up to, and which one number per slice makes that so?",
            "Subtract the largest score along `axis`, take exp, divide by the sum along the same axis. "
            "Keep that axis with size 1 both times, so that shapes broadcast: (2, 3, 4) gives (2, 1, 4) for axis 1.",
            "e = np.exp(x - largest); return e / e.sum(axis=axis, ____)",
        ),
        checks=(
            Check("sums_to_one", 2, "exp(x) divided by its sum along the last axis, so that every slice sums to 1"),
            Check("any_axis", 1, "the same along whichever axis is named"),
            Check("one_score", 1, "weight 1 wherever a slice holds a single score"),
            Check("large_scores", 1, "finite and exact weights for scores as large as ±10000"),
            Check(KEEPS_DTYPE, 1, "weights in the dtype of x"),
            Check(INPUTS_UNCHANGED, 1, "x as it was before the call"),
        ),
    ),
    Exercise(
        id="soft_lookup",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "soft_lookup(query, keys, values, temperature=1.0) → (out, weights)\n"
            "query: (D,) float, what is looked for\n"
            "keys: (Tk, D) float, what each item is found by; values: (Tk, Dv) float, what each item hands over\n"
            "temperature: a number > 0 that divides the scores query·key, which carry no other scale\n"
            "out: (Dv,), weights: (Tk,), in the dtype of the inputs; the weights sum to 1"
        ),
        section="A lookup that never misses",
        hints=(
            "One score per key: which axis of `keys` has to disappear when they meet the query?",
            "scores = keys times query, over D: (Tk,). Divide them by the temperature, then a softmax over all Tk of "
            "them: (Tk,). out = the weights times the values, over Tk: (Dv,).",
            "scores = keys @ query / temperature; weights = softmax(scores); return weights @ ____, weights",
        ),
        checks=(
            Check("weights", 2, "softmax over the keys of query·key"),
            Check("output", 1, "the average of the rows of values with these weights"),
            Check("temperature", 1, "scores divided by the temperature, before the softmax"),
            Check("extreme_temperatures", 1, "all weight on the best key near 0, equal weights near ∞, always finite"),
            Check("one_key", 1, "weight 1, and its value as it is, where there is a single key"),
            Check(KEEPS_DTYPE, 1, "out and weights in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "query, keys and values as they were before the call"),
        ),
        axes={"query": "D", "keys": "Tk D", "values": "Tk Dv", "out": "Dv", "weights": "Tk"},
        returns=("out", "weights"),
    ),
    Exercise(
        id="kernel_attention",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "kernel_attention(x_q, x_k, y, sigma) → (pred, weights)\n"
            "x_q: (m,) float, where a value is wanted\n"
            "x_k: (n,) float, where one was measured; y: (n,) float, what was measured there\n"
            "sigma: a number > 0, the width of the Gaussian, in the unit of x\n"
            "pred: (m,), weights: (m, n), in the dtype of the inputs; every row of weights sums to 1"
        ),
        section="Nearness as a score",
        hints=(
            "m queries meet n keys: what shape must the table of differences have, and which of its axes sums to 1?",
            "d = x_q as a column minus x_k: (m, n). scores = −d² / (2 sigma²). A softmax over the n keys of each row, "
            "with the row's largest score subtracted first: (m, n). pred = weights times y: (m,).",
            "scores = -((x_q[:, None] - x_k) ** 2) / (____)",
        ),
        checks=(
            Check("weights", 2, "exp(−d² / (2 sigma²)) divided by its sum over the keys"),
            Check("prediction", 1, "the average of y with these weights, one number per query"),
            Check("far_queries", 1, "rows that are finite and sum to 1 for queries far from every key"),
            Check("one_key", 1, "weight 1, and y itself, where there is a single key"),
            Check(KEEPS_DTYPE, 1, "pred and weights in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "x_q, x_k and y as they were before the call"),
        ),
        axes={"x_q": "m", "x_k": "n", "y": "n", "pred": "m", "weights": "m n"},
        returns=("pred", "weights"),
    ),
    Exercise(
        id="reflection_01",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_01 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "What would a dictionary return for a key that it does not hold?",
            "Name what is compared, how the comparison becomes weights, and what is averaged; then say what is lost "
            "when only the best key answers.",
            "attention is a weighted average of ____, with weights computed from …",
        ),
        checks=(
            Check("average", 1, "the result is a weighted average of the values, with weights that sum to 1"),
            Check("from_content", 1, "the weights are computed from query and keys, so other content gives others"),
            Check("softmax", 1, "exp makes every share positive, and dividing by the sum makes them weights"),
            Check("why_soft", 1, "a soft lookup changes smoothly with the query, so it can be learned by gradient"),
        ),
        call=take_answer,
    ),
)
