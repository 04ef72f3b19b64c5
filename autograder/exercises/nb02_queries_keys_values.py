"""Notebook 02, the visible half: projections, roles, and the two products that matter."""

from autograder.exercise import INPUTS_UNCHANGED, KEEPS_DTYPE, Check, Exercise, take_answer

NOTEBOOK = "02_queries_keys_values"

EXERCISES = (
    Exercise(
        id="project_qkv",
        kind="I",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=1,
        contract=(
            "project_qkv(x, w_q, w_k, w_v) → (q, k, v)\n"
            "x: (B, T, C) float, T vectors in each of B sentences\n"
            "w_q, w_k: (C, D) float, w_v: (C, Dv) float, used by every token of every sentence\n"
            "q, k: (B, T, D), v: (B, T, Dv), in the dtype of the inputs"
        ),
        section="Three matrices for the whole sentence",
        hints=(
            "Which axis of x is as long as the first axis of each matrix, and what stands in its place afterwards?",
            "Each result is one matrix product: (B, T, C) times (C, D) gives (B, T, D). The product runs over C alone; "
            "B and T are carried along as they are.",
            "v = x @ ____",
        ),
        checks=(
            Check("queries", 1, "q = x times w_q, the product running over C"),
            Check("keys", 1, "k = x times w_k"),
            Check("values", 1, "v = x times w_v, of width Dv, which need not be D"),
            Check("one_token", 1, "the same for one sentence of one token, with both leading axes kept"),
            Check(KEEPS_DTYPE, 1, "q, k and v in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "x and the three matrices as they were before the call"),
        ),
        axes={
            "x": "B T C",
            "w_q": "C D",
            "w_k": "C D",
            "w_v": "C Dv",
            "q": "B T D",
            "k": "B T D",
            "v": "B T Dv",
        },
        returns=("q", "k", "v"),
    ),
    Exercise(
        id="swapped_roles",
        kind="P",
        notebook=NOTEBOOK,
        minutes=2,
        difficulty=2,
        contract=(
            'swapped_roles = the set of those of "scores", "weights", "output" that are neither the same nor the '
            "transpose of what they were once q and k are swapped"
        ),
        section="Who asks, who is found",
        hints=(
            "Along which axis of the scores does the softmax run, and what is that axis after a transposition?",
            "Compare k qᵀ with q kᵀ first, then a softmax over the rows of a table with one over its columns, then "
            "what these weights give when they are multiplied with the same values.",
            "swapped_roles = {____}",
        ),
        checks=(Check("prediction", 1, "the names of all that changes other than by transposition"),),
        call=take_answer,
    ),
    Exercise(
        id="attend_to_previous",
        kind="I",
        notebook=NOTEBOOK,
        minutes=15,
        difficulty=2,
        contract=(
            "attend_to_previous(n) → (w_q, w_k)\n"
            "n: int ≥ 2, how many tokens there are; token i is the i-th row of the n × n identity\n"
            "w_q, w_k: (n, n), such that softmax(q kᵀ) without a scale has at least 0.99 at [i, i − 1] for every "
            "i ≥ 1, and at [0, 0]"
        ),
        section="Programming with two matrices",
        hints=(
            "For one-hot tokens q kᵀ is w_q w_kᵀ: which entry of each row of that table has to be the large one?",
            "Write the table of scores first: (n, n), a large number at [i, i − 1] and at [0, 0], 0 elsewhere. Then "
            "split it in two: one matrix may be the identity if the other holds the table, or its transpose. The large "
            "number c must give eᶜ / (eᶜ + n − 1) ≥ 0.99 for every n.",
            "table = c * np.eye(n, k=-1); table[0, 0] = c; return table, ____",
        ),
        checks=(
            Check("previous_token", 2, "at least 0.99 from token i to token i − 1, for every i ≥ 1"),
            Check("first_token", 1, "at least 0.99 from token 0 to itself, for it has no token before it"),
            Check("any_length", 1, "both for every n, from 2 to hundreds"),
        ),
        axes={"w_q": "n n", "w_k": "n n"},
        returns=("w_q", "w_k"),
    ),
    Exercise(
        id="qk_ov",
        kind="I",
        notebook=NOTEBOOK,
        minutes=10,
        difficulty=2,
        contract=(
            "qk_ov(w_q, w_k, w_v, w_o) → (QK, OV)\n"
            "w_q, w_k, w_v: (C, D) float; w_o: (D, C) float, from the width of a value back to the width of a token\n"
            "QK: (C, C), such that x QK xᵀ are the scores, without a scale\n"
            "OV: (C, C), such that weights x OV is the output"
        ),
        section="Four matrices, two products",
        hints=(
            "In (x w_q)(x w_k)ᵀ and in (x w_v) w_o, which matrices stand side by side once the brackets are opened?",
            "(x w_k)ᵀ = w_kᵀ xᵀ, so QK is what stands between x and xᵀ: (C, D) times (D, C). OV is what x is "
            "multiplied with on its right: (C, D) times (D, C) again.",
            "return w_q @ ____, w_v @ w_o",
        ),
        checks=(
            Check("qk", 2, "QK with x QK xᵀ = (x w_q)(x w_k)ᵀ"),
            Check("ov", 2, "OV with x OV = (x w_v) w_o"),
            Check(KEEPS_DTYPE, 1, "both in the dtype of the inputs"),
            Check(INPUTS_UNCHANGED, 1, "the four matrices as they were before the call"),
        ),
        axes={"w_q": "C D", "w_k": "C D", "w_v": "C D", "w_o": "D C", "QK": "C C", "OV": "C C"},
        returns=("QK", "OV"),
    ),
    Exercise(
        id="reflection_02",
        kind="R",
        notebook=NOTEBOOK,
        minutes=8,
        difficulty=2,
        contract="reflection_02 = your answer, a few sentences",
        section="In your own words",
        hints=(
            "What would go wrong for *hot* and *pan* if a word had to ask, be found and answer with one vector?",
            "Give each role its matrix, say what the shared matrix cannot do, and then what of q and k is determined.",
            "with w_q = w_k the score of (i, j) equals ____, so …",
        ),
        checks=(
            Check("three_roles", 1, "a query asks, a key is what a token is found by, a value is what it hands over"),
            Check("direction", 1, "one matrix for q and k makes scores symmetric: i suits j exactly as j suits i"),
            Check("handed_over", 1, "a value may hold what neither the question nor the key says"),
            Check("only_products", 1, "scores depend on w_q w_kᵀ alone, so one query vector has no meaning by itself"),
        ),
        call=take_answer,
    ),
)
