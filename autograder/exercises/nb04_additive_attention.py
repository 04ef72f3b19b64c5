"""Notebook 04, the visible half: two ways to compare a query with a key, and what each of them costs."""

from autograder.exercise import DIFFERENTIABLE, INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, take_answer

NOTEBOOK = "04_additive_attention"

EXERCISES = (
    Exercise(
        id="additive_scores",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "additive_scores(q, k, w_q, w_k, w) → scores\n"
            "q: (B, Tq, Dq) float tensor, k: (B, Tk, Dk) float tensor, entries as large as ±10000\n"
            "w_q: (Dq, h), w_k: (Dk, h), w: (h,), float tensors\n"
            "scores: (B, Tq, Tk) in the dtype of the inputs, scores[b, i, j] = w · tanh(q_i w_q + k_j w_k), no softmax"
        ),
        section="All pairs at once",
        hints=(
            "How many hidden vectors are there in all: one per query, one per key, or one per pair?",
            "Project each side once: (B, Tq, h) and (B, Tk, h). Give the first an axis of size 1 where the keys belong "
            "and the second one where the queries belong, so that their sum is (B, Tq, Tk, h). Then tanh, then the sum "
            "over h with w.",
            "hidden = torch.tanh((q @ w_q)[:, :, None, :] + (k @ w_k)[____])",
        ),
        checks=(
            Check("scores", 3, "w · tanh(q_i w_q + k_j w_k) at [b, i, j], for every query and every key of a sentence"),
            Check("sizes_of_one", 2, "three axes (B, Tq, Tk) also where B, Tq, Tk, h or a width is 1"),
            Check("large_inputs", 1, "finite and exact scores for entries of q and k as large as ±10000"),
            Check(DIFFERENTIABLE, 1, "results through which gradients flow to q, k, w_q, w_k and w"),
            Check(KEEPS_DTYPE, 1, "the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "all inputs as they were before the call"),
        ),
        axes={
            "q": "B Tq Dq",
            "k": "B Tk Dk",
            "w_q": "Dq h",
            "w_k": "Dk h",
            "w": "h",
            "result": "B Tq Tk",
        },
        library="torch",
    ),
    Exercise(
        id="bilinear_scores",
        kind="I",
        notebook=NOTEBOOK,
        minutes=6,
        difficulty=1,
        contract=(
            "bilinear_scores(q, k, w) → scores\n"
            "q: (B, Tq, Dq) float tensor, k: (B, Tk, Dk) float tensor, w: (Dq, Dk) float tensor\n"
            "scores: (B, Tq, Tk) in the dtype of the inputs, scores[b, i, j] = q_i w k_jᵀ, no scale and no softmax"
        ),
        section="A matrix in between",
        hints=(
            "After q w, which width do the queries have, and with which axis of k does it fit?",
            "q w is (B, Tq, Dk): the queries, brought to the width of the keys. Multiply by k with its last two axes "
            "swapped, (B, Dk, Tk).",
            "return q @ w @ k.transpose(____)",
        ),
        checks=(
            Check("scores", 3, "q_i w k_jᵀ at [b, i, j], for every query and every key of a sentence"),
            Check("sizes_of_one", 1, "three axes (B, Tq, Tk) also where B, Tq, Tk or a width is 1"),
            Check(DIFFERENTIABLE, 1, "results through which gradients flow to q, k and w"),
            Check(KEEPS_DTYPE, 1, "the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "q, k and w as they were before the call"),
        ),
        axes={"q": "B Tq Dq", "k": "B Tk Dk", "w": "Dq Dk", "result": "B Tq Tk"},
        library="torch",
    ),
    Exercise(
        id="which_saturates",
        kind="P",
        notebook=NOTEBOOK,
        minutes=1,
        difficulty=1,
        contract='which_saturates = "dot" or "additive", the one whose unscaled scores saturate the softmax at d = 512',
        section="How far apart do the scores lie?",
        hints=(
            "A score is a sum of d terms either way: how large is one term of q·k, and how large one of w · tanh(…)?",
            "Add up variances as in notebook 03: d terms of variance 1 on one side; on the other d terms, each a "
            "number between −1 and 1 times an entry of w, whose variance is 1/d.",
            'which_saturates = "____"',
        ),
        checks=(Check("prediction", 1, "the score whose largest weight comes closer to 1"),),
        call=take_answer,
    ),
    Exercise(
        id="scoring_cost",
        kind="I",
        notebook=NOTEBOOK,
        minutes=12,
        difficulty=2,
        contract=(
            "scoring_cost(kind, n_q, n_k, d, h) → cost\n"
            'kind: "dot", all q·k; or "additive", all w · tanh(q w_q + k w_k) with h hidden numbers\n'
            "n_q, n_k: how many queries and keys; d: the width of both; h is not used by dot\n"
            "cost: a dict of three whole numbers\n"
            '  "multiply_adds": a product added to a sum counts 1, sums and tanh alone 0; a vector is projected once\n'
            '  "parameters": numbers that are learned\n'
            '  "largest_tensor": elements of the largest tensor made on the way or returned, inputs not counted'
        ),
        section="What a score costs",
        hints=(
            "Which of the steps is done once for each vector, and which once for each pair?",
            "A (n, d) matrix times a (d, h) matrix takes n·d·h multiply-adds. Additive: two such products, one on each "
            "side, then h per pair for the sum with w. Its tensors are (n_q, h), (n_k, h), (n_q, n_k, h), (n_q, n_k).",
            "multiply_adds = (n_q + n_k) * d * h + ____",
        ),
        checks=(
            Check("dot", 1, "the three counts of the dot product, and no further key"),
            Check("multiply_adds", 2, "every vector projected once, and h multiply-adds for each pair"),
            Check("parameters", 1, "the entries of w_q, w_k and w"),
            Check("largest_tensor", 2, "the elements of the tensor that holds every hidden number of every pair"),
        ),
    ),
    Exercise(
        id="reflection_04",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_04 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "For one query and one key, what does each score compute, and which numbers of it are learned?",
            "First what they share, then what the tanh is for, then spread and width, then why a product is faster.",
            "both are a learned ____ of two vectors; the difference is …",
        ),
        checks=(
            Check("shared", 1, "both are learned similarities, and trained with a suitable scale they learn the task"),
            Check("tanh", 1, "without the tanh the query's part cancels in the softmax, and all queries read alike"),
            Check("spread", 1, "unscaled products spread like √d; additive scores are bounded through w and tanh"),
            Check("speed", 1, "dot is a matrix product; additive makes a tensor of n_q·n_k·h and a tanh of each entry"),
        ),
        call=take_answer,
    ),
)
